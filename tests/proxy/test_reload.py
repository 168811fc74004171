"""Checks what becomes of a policy file that changes under a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.proxy.reload import REST_S, Reloader, signature
from mcpguard.stores.files import load_policy

if TYPE_CHECKING:
    from pathlib import Path

    from mcpguard.stores.files import LoadedPolicy

OPEN = {"version": "1", "tools": {"a": {}, "b": {}}}
TIGHTER = {"version": "1", "tools": {"a": {}}}
LOOSER = {"version": "1", "tools": {"a": {}, "b": {}, "c": {}}}


class Watched:
    """A policy file, and what its reloader did."""

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        self.put(OPEN)
        self.now_s = 0.0
        self.applied: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.reloader = Reloader(
            load_policy(path),
            mode,
            seen=signature(path),
            apply=lambda loaded: self.applied.append(loaded.policy.digest),
            tell=lambda event, sentence: self.told.append((event, sentence)),
            clock=lambda: self.now_s,
        )

    def put(self, policy: dict[str, Any] | str) -> None:
        """Replace the file, as an editor does."""
        draft = self.path.with_suffix(".draft")
        draft.write_text(policy if isinstance(policy, str) else json.dumps(policy), encoding="utf-8")
        draft.replace(self.path)

    def look(self) -> None:
        """Let the reloader find what there is, and look again when it has come to rest."""
        self.reloader.look()
        self.now_s += REST_S
        self.reloader.look()

    def events(self) -> list[str]:
        return [event for event, _ in self.told]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "policy.json", "tighten")


def test_what_only_tightens_is_in_force_once_it_rests(watched: Watched) -> None:
    watched.put(TIGHTER)
    watched.look()
    assert watched.applied == [load_policy(watched.path).policy.digest]
    assert watched.events() == ["policy_reloaded"]


def test_what_may_loosen_waits_and_is_said_with_its_place(watched: Watched) -> None:
    watched.put(LOOSER)
    watched.look()
    watched.look()
    assert watched.applied == []
    assert watched.events() == ["policy_waits"]
    assert "/tools/c: the action is less strict" in watched.told[0][1]


def test_what_waited_is_compared_with_what_is_in_force(watched: Watched) -> None:
    watched.put(TIGHTER)
    watched.look()
    watched.put(OPEN)
    watched.look()
    assert watched.events() == ["policy_reloaded", "policy_waits"]


def test_any_change_is_applied_when_asked_for(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "policy.json", "any")
    watched.put(LOOSER)
    watched.look()
    assert watched.applied == [load_policy(watched.path).policy.digest]


def test_nothing_is_applied_when_reloading_is_off(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "policy.json", "off")
    watched.put(TIGHTER)
    watched.look()
    assert (watched.applied, watched.told) == ([], [])


@pytest.mark.parametrize("content", ["", '{"version": "1", "tols": {}}', '{"version"'], ids=["empty", "typo", "cut"])
def test_a_bad_file_leaves_the_old_policy_in_force(watched: Watched, content: str) -> None:
    watched.put(content)
    watched.look()
    assert watched.applied == []
    assert watched.events() == ["policy_unusable"]
    assert watched.told[0][1].startswith(str(watched.path))
    watched.put(TIGHTER)
    watched.look()
    assert watched.events() == ["policy_unusable", "policy_reloaded"]


def test_a_file_that_is_gone_leaves_the_old_policy_in_force(watched: Watched) -> None:
    watched.path.unlink()
    watched.look()
    watched.look()
    assert watched.events() == ["policy_unusable"]


def test_the_same_policy_in_other_words_is_no_change(watched: Watched) -> None:
    watched.put(json.dumps({**OPEN, "$comment": "seen"}, indent=2))
    watched.look()
    assert (watched.applied, watched.told) == ([], [])


def test_nothing_is_read_while_the_file_keeps_changing(watched: Watched) -> None:
    for number in range(5):
        watched.put({**TIGHTER, "$comment": str(number)})
        watched.reloader.look()
        watched.now_s += REST_S
    assert (watched.applied, watched.told) == ([], [])
    watched.reloader.look()
    assert watched.events() == ["policy_reloaded"]


def test_looks_that_follow_each_other_at_once_find_no_rest(watched: Watched) -> None:
    watched.put(TIGHTER)
    for _ in range(5):
        watched.reloader.look()
        watched.now_s += REST_S / 5
    assert watched.events() == []
    watched.reloader.look()
    assert watched.events() == ["policy_reloaded"]


@pytest.mark.parametrize("content", [json.dumps(TIGHTER), '{"version"'], ids=["a policy", "half a policy"])
def test_what_was_read_while_the_file_changed_is_neither_applied_nor_complained_of(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    def load_and_write(path: Path, *, regular_only: bool) -> LoadedPolicy:
        try:
            return load_policy(path, regular_only=regular_only)
        finally:
            watched.put({**TIGHTER, "tools": {}})

    watched.put(content)
    with monkeypatch.context() as patch:
        patch.setattr("mcpguard.proxy.reload.load_policy", load_and_write)
        watched.look()
    assert (watched.applied, watched.told) == ([], [])
    watched.look()
    assert watched.applied == [load_policy(watched.path).policy.digest]


def test_what_is_no_regular_file_has_no_signature(tmp_path: Path) -> None:
    assert signature(tmp_path) is None
    assert signature(tmp_path / "nothing") is None
