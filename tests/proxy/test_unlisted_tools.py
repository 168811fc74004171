"""A tool that no list has shown is asked for before a policy by category judges its call: in memory, in both eras."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from mcpguard.proxy import enforce
from support.conversation import result
from support.in_memory import Era, Run

if TYPE_CHECKING:
    from support.conversation import Json

READS: Json = {"name": "get_page", "description": "Reads a page", "annotations": {"readOnlyHint": True}}
DELETES: Json = {"name": "delete_page", "description": "Deletes a page", "annotations": {"destructiveHint": True}}
POLICY: Json = {
    "default": "deny",
    "tools": {"@read": {}, "@destructive": {"action": "require_approval"}, "named": {}},
    "approval": {"via": ["terminal"]},
}


@pytest.fixture(params=get_args(Era))
def run(request: pytest.FixtureRequest) -> Run:
    """Give a run in each era."""
    return Run(POLICY, era=request.param)


def asked(run: Run) -> list[Json]:
    """Give the guard's own requests for the tools."""
    return [said for said in run.server_got if said["method"] == "tools/list"]


def show(run: Run, *tools: Json) -> None:
    """Answer the latest of them."""
    run.server(result(asked(run)[-1]["id"], tools=list(tools)))


def test_a_call_of_a_tool_that_no_list_has_shown_waits_for_one(run: Run) -> None:
    call = run.attempt("get_page")
    assert (call.outcome, len(asked(run))) == ("waits", 1)
    show(run, READS, DELETES)
    assert (call.outcome, run.ran) == ("ran", [{"name": "get_page", "arguments": {}}])
    # From now on it is known, and nobody is asked again, also not under the same policy loaded again.
    assert run.attempt("get_page").outcome == "ran"
    run.reload(POLICY)
    assert [run.attempt("get_page").outcome, run.attempt("delete_page").outcome] == ["ran", "waits"]
    assert (len(asked(run)), run.statuses) == (1, ["asked (terminal)"])
    assert run.complaints == []


def test_calls_of_several_tools_are_each_judged_by_what_the_list_shows(run: Run) -> None:
    calls = [run.attempt(name) for name in ("get_page", "delete_page", "get_nothing", "get_page")]
    assert {call.outcome for call in calls} == {"waits"}
    show(run, READS, DELETES)
    assert [call.outcome for call in calls] == ["ran", "waits", "default_deny", "ran"]
    run.approve(run.the_id())
    assert calls[1].outcome == "ran"
    assert len(asked(run)) == 1


@pytest.mark.parametrize("era", get_args(Era))
def test_what_is_allowed_by_default_runs_only_once_a_list_has_shown_what_it_is(era: Era) -> None:
    run = Run({"default": "allow", "tools": {"@destructive": {"action": "deny"}}}, era=era)
    reads, deletes, unknown = (run.attempt(name) for name in ("get_page", "delete_page", "get_nothing"))
    assert ([reads.outcome, deletes.outcome, unknown.outcome], run.ran) == (["waits"] * 3, [])
    show(run, READS, DELETES)
    assert [reads.outcome, deletes.outcome, unknown.outcome] == ["ran", "denied", "denied"]
    assert [run.attempt(name).outcome for name in ("get_page", "delete_page")] == ["ran", "denied"]
    assert len(run.ran) == 2


@pytest.mark.parametrize("era", get_args(Era))
def test_a_call_before_any_list_is_not_charged_for_a_category_that_its_tool_is_not_of(era: Era) -> None:
    entry = {"rate_limit": {"max": 1, "window": 60}}
    run = Run({"default": "allow", "tools": {"@destructive": entry}}, era=era)
    call = run.attempt("get_page")
    assert call.outcome == "waits"
    show(run, READS, DELETES)
    assert (call.outcome, run.charged) == ("ran", 0)
    assert [run.attempt("delete_page").outcome for _ in range(2)] == ["ran", "rate_limited"]


def test_a_list_without_the_tool_is_asked_for_once(run: Run) -> None:
    call = run.attempt("get_nothing")
    show(run, READS)
    assert [call.outcome, run.attempt("get_nothing").outcome] == ["default_deny"] * 2
    assert (len(asked(run)), run.ran) == (1, [])


def test_a_tool_of_the_policy_s_own_is_asked_for_by_nobody(run: Run) -> None:
    assert (run.attempt("named").outcome, asked(run)) == ("ran", [])


def test_names_that_a_client_makes_up_are_remembered_up_to_a_number(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enforce, "_MAX_UNLISTED", 2)
    for name in ("a", "b", "a", "b"):
        if run.attempt(name).outcome == "waits":
            show(run, READS)
    assert len(asked(run)) == 2
    for number, name in enumerate(("c", "a")):
        assert run.attempt(name).outcome == "waits"
        show(run, READS)
        assert len(asked(run)) == 3 + number


def test_a_call_that_is_cancelled_while_a_list_is_asked_for_never_runs(run: Run) -> None:
    call, other = run.attempt("get_page"), run.attempt("get_page")
    call.cancel()
    show(run, READS)
    assert (call.answer, other.outcome, len(run.ran)) == (None, "ran", 1)


def test_a_list_of_no_kind_shows_nothing_and_breaks_nothing(run: Run) -> None:
    call = run.attempt("get_page")
    run.server(result(asked(run)[-1]["id"], tools="get_page"))
    assert (call.outcome, run.ran, run.complaints) == ("default_deny", [], [])


def test_what_is_no_tool_is_not_asked_for_as_one(run: Run) -> None:
    call = run.attempt_of("prompts/get", name="get_page")
    assert (call.outcome, asked(run)) == ("default_deny", [])


@pytest.mark.parametrize("era", get_args(Era))
def test_a_policy_that_has_categories_only_later_has_a_list_asked_for_then(era: Era) -> None:
    run = Run({"default": "deny"}, era=era)
    run.list_tools(READS)
    assert (run.attempt("get_page").outcome, asked(run)[1:]) == ("default_deny", [])
    run.reload(POLICY)
    call = run.attempt("get_page")
    assert call.outcome == "waits"
    show(run, READS)
    assert call.outcome == "ran"
    run.reload({"default": "deny"})
    assert (run.attempt("get_page").outcome, run.attempt("get_nothing").outcome) == ("default_deny", "default_deny")
