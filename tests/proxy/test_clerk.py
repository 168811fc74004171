"""A run's clerk says what waits and takes the answers, at a real socket, of a run in memory."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.proxy.clerk import RunClerk
from mcpguard.stores.desks import DeskError, look, runs_directory, tell
from support.in_memory import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTEXT = {"policy": "/p.json", "server": ["acme"], "grant": None}
POLICY = {"tools": {"pay": {"action": "require_approval"}}, "approval": {"via": ["terminal"], "remember": "tool"}}


class Parties:
    """Who speaks with whom."""

    client: dict[str, Any] | None = None
    server: dict[str, Any] | None = None


class Office:
    """A clerk of a run in memory, with all that it has complained of."""

    def __init__(self, *program: str) -> None:
        self.run: Run | None = Run(POLICY)
        self.parties = Parties()
        self.complaints: list[str] = []
        self.clerk = self.another(*program)

    def another(self, *program: str) -> RunClerk:
        """Give a clerk that has not opened yet."""
        return RunClerk(self, self.parties, CONTEXT, name="run", program=program, complain=self.complaints.append)  # type: ignore[arg-type]

    def act(self, on: Any) -> Any:
        """Stand in for the relay."""
        if self.run is None:
            return None
        answer, commands = on(self.run.enforcer, self.run.journal)
        self.run.carry_out(commands)
        return answer


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = Office()
    yield made
    made.clerk.close()


def said(office: Office) -> dict[str, Any]:
    """Give the one call that waits, as a terminal is told."""
    (item,) = office.clerk.pending()
    return item


def test_a_yes_and_a_no_reach_the_run_and_say_what_they_were_about(office: Office) -> None:
    run = office.run
    assert run is not None
    office.parties.client = {"name": "code", "version": 2, "title": "Code"}
    assert office.clerk.open()
    directory = runs_directory()
    first = run.attempt("pay", {"n": 1})
    asked = said(office)
    assert asked == run.enforcer.pending()[0] | CONTEXT | {"client": "code 2"}
    answer = tell(directory, "run", {"op": "approve", "id": asked["id"], "tool": False})
    assert (answer, first.outcome) == ({"granted": asked}, "ran")
    second = run.attempt("pay", {"n": 2})
    asked = said(office)
    answer = tell(directory, "run", {"op": "deny", "id": asked["id"], "reason": "no money"})
    assert (answer, second.outcome) == ({"denied": asked}, "approval_denied")
    assert "no money" in second.text
    third = run.attempt("pay", {"n": 3})
    tell(directory, "run", {"op": "approve", "id": said(office)["id"], "tool": True})
    assert [third.outcome, run.attempt("pay", {"n": 4}).outcome] == ["ran", "ran"]
    with pytest.raises(DeskError, match=r"^nothing waits for an approval `abcdefgh`$"):
        tell(directory, "run", {"op": "deny", "id": "abcdefgh", "reason": ""})
    assert office.complaints == []


@pytest.mark.parametrize(
    ("client", "shown"),
    [(None, None), ({}, None), ("code", None), ({"name": "code"}, "code"), ({"name": "x" * 200}, "x" * 100)],
)
def test_whatever_a_client_calls_itself_is_shown_in_short(office: Office, client: Any, shown: str | None) -> None:
    assert office.run is not None
    office.parties.client = client
    office.run.attempt("pay")
    assert said(office)["client"] == shown


def test_before_there_is_a_policy_nothing_waits(office: Office) -> None:
    office.run = None
    none = {"error": "this run has no policy yet"}
    assert office.clerk.pending() == []
    assert office.clerk.approve("abcdefgh", whole_tool=False) == office.clerk.deny("abcdefgh", "") == none


def test_a_desk_is_opened_once_and_closed_for_good(office: Office) -> None:
    assert list(runs_directory().parent.glob("*")) == []
    assert [office.clerk.open(), office.clerk.open()] == [True, True]
    assert [path.name for path in runs_directory().iterdir()] == ["run.sock"]
    assert [thread.name for thread in threading.enumerate()].count("mcpguard desk") == 1
    assert look(runs_directory()) == ([], [])
    office.clerk.close()
    office.clerk.close()
    assert list(runs_directory().iterdir()) == []


def test_a_clerk_that_has_opened_no_desk_closes_none(office: Office) -> None:
    office.clerk.close()
    assert office.complaints == []


def test_a_desk_that_cannot_be_opened_is_told_once_and_tried_once(office: Office) -> None:
    runs_directory().parent.mkdir(parents=True)
    runs_directory().write_text("in the way")
    assert [office.clerk.open(), office.clerk.open()] == [False, False]
    (complaint,) = office.complaints
    assert complaint.startswith("nobody can approve calls from another terminal: ")
    runs_directory().unlink()
    assert (office.clerk.open(), len(office.complaints)) == (False, 1)


def test_a_call_that_waits_is_told_on_stderr_and_to_the_user_s_program(office: Office, tmp_path: Path) -> None:
    def announce(*program: str, ids: tuple[str, ...]) -> None:
        clerk = office.another(*program)
        for id_ in ids:
            clerk.announce({"id": id_})
        for thread in threading.enumerate():
            if thread.name == "mcpguard notify":
                thread.join(10)

    waits = "a call waits for approval {}: `mcpguard pending` shows it"
    announce(ids=("a",))
    assert office.complaints == [waits.format("a")]
    announce("tee", str(tmp_path / "told"), ids=("b",))
    assert json.loads((tmp_path / "told").read_text()) == {"id": "b", **CONTEXT, "client": None}
    assert office.complaints == [waits.format("a"), waits.format("b")]
    announce(str(tmp_path / "missing"), ids=("c", "d"))
    problem = f"--notify: `{tmp_path / 'missing'}` cannot be started: no such file or directory"
    assert sorted(office.complaints[2:]) == sorted([waits.format("c"), waits.format("d"), problem])
