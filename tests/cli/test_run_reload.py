"""Checks what a change of the policy file does to a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support import write_policy

if TYPE_CHECKING:
    from pathlib import Path

    from support.guards import StartGuard

TWO: dict[str, Any] = {"tools": {"echo": {"rate_limit": "2/hour"}, "other": {}}}


def put(directory: Path, policy: dict[str, Any]) -> None:
    """Replace the policy's file, as an editor does."""
    path = write_policy(directory, policy)
    draft = path.with_suffix(".draft")
    draft.write_bytes(path.read_bytes())
    draft.replace(path)


def test_a_tightened_policy_is_in_force_at_once_and_the_client_is_told(
    start: StartGuard, tmp_path: Path, log: Path
) -> None:
    with start(policy=TWO) as peer:
        peer.initialize()
        assert "isError" not in peer.call("echo", {"n": 1})["result"]
        put(tmp_path, {"tools": {"echo": {"rate_limit": "2/hour"}}})
        peer.receive(method="notifications/tools/list_changed")
        assert peer.call("other", {})["result"]["isError"] is True
        assert "isError" not in peer.call("echo", {"n": 2})["result"]
        assert peer.call("echo", {"n": 3})["result"]["isError"] is True, "counters survive a change"
        peer.close_stdin()
        peer.wait()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert "policy_reloaded" in [record.get("event") for record in records]
    digests = [record["policy"]["digest"] for record in records if record["kind"] == "decision"]
    assert digests[0] != digests[-1]


def test_a_policy_that_loosens_or_is_broken_waits_and_is_said(start: StartGuard, tmp_path: Path) -> None:
    with start(policy={"tools": {"echo": {}}}) as peer:
        peer.initialize()
        assert "isError" not in peer.call("echo", {})["result"]
        put(tmp_path, {"default": "allow"})
        peer.expect_stderr("waits for the next run because it may loosen the policy: /default")
        assert peer.call("other", {})["result"]["isError"] is True
        put(tmp_path, {"defalt": "deny"})
        peer.expect_stderr("did you mean `default`?; the policy that was in force stays in force")
        assert "isError" not in peer.call("echo", {})["result"]


def test_any_change_is_applied_when_asked_for(start: StartGuard, tmp_path: Path) -> None:
    with start(policy={"tools": {}}, options=["--reload", "any"]) as peer:
        peer.initialize()
        assert peer.call("echo", {})["result"]["isError"] is True
        put(tmp_path, {"tools": {"echo": {}}})
        peer.receive(method="notifications/tools/list_changed")
        assert "isError" not in peer.call("echo", {})["result"]
