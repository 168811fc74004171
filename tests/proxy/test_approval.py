"""Approvals hold: what a person has not allowed does not run, and what they have runs once, in both eras."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpguard.policy.decision import Verdict
from mcpguard.protocol.commands import Consult, Replied
from mcpguard.protocol.session import Session
from mcpguard.protocol.wire import CLIENT, encode
from mcpguard.proxy import approval, rounds
from mcpguard.proxy.enforce import Enforcer
from mcpguard.proxy.records import Journal
from mcpguard.stores.counters import MemoryCounters
from support.conversation import call as call_of
from support.conversation import notice, request, result
from support.in_memory import ELICITATION, QUESTION, Attempt, Era, Run, policy_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.conversation import Json

ALPHABET = set("abcdefghjkmnpqrstuvwxyz23456789")
PAY: Json = {"amount": 7, "to": "bob"}
NO_PERSON = pytest.mark.parametrize(
    "elicitation",
    [pytest.param(None, id="no elicitation"), pytest.param({"url": {}}, id="elicitation of URLs alone")],
)


@pytest.fixture(params=get_args(Era))
def era(request: pytest.FixtureRequest) -> Era:
    """Give each era."""
    found: Era = request.param
    return found


def asking(tools: Json | None = None, *, policy: Json | None = None, **terms: Any) -> Json:
    """Give a policy under which `pay` and `send` need a person; `terms` are those of approvals."""
    return {
        "tools": {
            "pay": {"action": "require_approval", "reason": "payments need a person"},
            "send": {"action": "require_approval"},
            "read": {},
            **(tools or {}),
        },
        "approval": terms,
        **(policy or {}),
    }


def limited(most: int) -> Json:
    """Give an entry of a tool that needs a person and has a limit."""
    return {"action": "require_approval", "limits": [{"window": "minute", "max": most}]}


def granted_for_later(run: Run, **arguments: Any) -> Attempt:
    """Let a call of `pay` time out, and a terminal approve it then."""
    call = run.attempt("pay", arguments or PAY)
    if run.era == "handshake" or call.outcome == "waits":
        run.wait(46)
        assert call.outcome == "approval_expired"
    answer = run.approve(run.the_id())
    assert "granted" in answer
    assert (run.waiting_ids, run.ran) == ([], [])
    return call


# What a person answers


def test_a_call_that_a_person_allows_runs_once_and_its_answer_comes_back(era: Era) -> None:
    run = Run(asking(), era=era)
    call = run.attempt("pay", PAY)
    assert (call.outcome, run.ran, run.announced) == ("asked", [], [])
    id_ = run.the_id()
    call.accept(after_s=2)
    assert call.outcome == "ran"
    assert run.ran == [{"name": "pay", "arguments": PAY}]
    call.finish(content=[{"type": "text", "text": "paid"}])
    assert call.answer == result(call.id, content=[{"type": "text", "text": "paid"}])
    assert run.statuses == ["asked (client)", "granted (client)"]
    assert [record["approval"] for record in run.decisions] == [{"id": id_, "by": "client", "waited_ms": 2000}]
    assert (run.waiting_ids, run.open_dialogs() if era != "handshake" else []) == ([], [])
    again = run.attempt("pay", PAY)
    assert (again.outcome, len(run.ran)) == ("asked", 1)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param({"action": "accept", "content": {"decision": "deny"}}, id="deny"),
        pytest.param({"action": "decline"}, id="decline"),
        pytest.param({"action": "cancel"}, id="cancel"),
        pytest.param({"action": "decline", "content": {"decision": "allow once"}}, id="decline with a choice"),
        pytest.param({"action": "accept"}, id="no content"),
        pytest.param({"action": "accept", "content": None}, id="content that is null"),
        pytest.param({"action": "accept", "content": {}}, id="no choice"),
        pytest.param({"action": "accept", "content": ["allow once"]}, id="a list"),
        pytest.param({"action": "accept", "content": {"decision": "yes"}}, id="another choice"),
        pytest.param({"action": "accept", "content": {"decision": "Allow once"}}, id="another spelling"),
        pytest.param({"action": "accept", "content": {"decision": ["allow once"]}}, id="a choice in a list"),
        pytest.param({"action": "accept", "content": {"decision": True}}, id="a boolean"),
        pytest.param({"action": "Accept", "content": {"decision": "allow once"}}, id="another action"),
        pytest.param({"content": {"decision": "allow once"}}, id="no action"),
        pytest.param({}, id="nothing"),
    ],
)
@pytest.mark.parametrize("remember", ["call", "tool"])
def test_whatever_is_not_the_word_for_allowing_denies(era: Era, reply: Json, remember: str) -> None:
    run = Run(asking(remember=remember), era=era)
    call = run.attempt("pay", PAY)
    run.wait(1)
    call.reply(reply)
    assert (call.outcome, run.ran, run.waiting_ids) == ("approval_denied", [], [])
    assert call.text == "mcpguard: pay denied: the user did not approve it. Do not retry unchanged."
    assert run.statuses == ["asked (client)", "denied (client)"]
    assert run.attempt("pay", PAY).outcome == "asked"
    assert run.ran == []


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(None, id="an error, or nothing"),
        pytest.param({"action": "accept", "content": {"decision": "allow once"}}, id="yes, too soon"),
        pytest.param({"action": "decline"}, id="no, too soon"),
    ],
)
@pytest.mark.parametrize("via", [["client", "terminal"], ["client"]])
def test_what_is_no_person_s_answer_goes_to_a_terminal_or_is_refused(era: Era, reply: Json | None, via: Any) -> None:
    run = Run(asking(via=via), era=era)
    call = run.attempt("pay", PAY)
    run.wait(1 if reply is None else 0.149)
    call.reply(reply)
    assert run.ran == []
    if "terminal" in via:
        assert (call.outcome, run.statuses[1:]) == ("waits", ["no person (client)", "asked (terminal)"])
        (item,) = run.announced
        assert (item["id"], item["state"], item["kind"], item["subject"]) == (run.the_id(), "held", "tool", "pay")
        assert json.loads(item["arguments"]) == PAY
        assert "granted" in run.approve(item["id"])
        assert (call.outcome, len(run.ran)) == ("ran", 1)
        assert run.decisions[-1]["approval"]["by"] == "terminal"
    else:
        assert call.outcome == "approval_required"
        assert "nobody could be asked" in call.text
        assert run.waiting_ids == []
        assert "error" in run.approve("abcdefgh")


def test_a_word_for_allowing_that_was_not_offered_denies(era: Era) -> None:
    run = Run(asking(), era=era)
    call = run.attempt("pay", PAY)
    assert call.form["requestedSchema"]["properties"]["decision"]["enum"] == ["deny", "allow once"]
    call.accept("allow this tool")
    assert (call.outcome, run.ran, run.waiting_ids) == ("approval_denied", [], [])


def test_an_answer_as_late_as_a_person_s_counts(era: Era) -> None:
    run = Run(asking(), era=era)
    call = run.attempt("pay", PAY)
    call.accept(after_s=0.15)
    assert call.outcome == "ran"


def test_an_answer_at_once_counts_if_the_policy_says_so(era: Era) -> None:
    run = Run(asking(min_answer="0s"), era=era)
    call = run.attempt("pay", PAY)
    call.accept(after_s=0)
    assert call.outcome == "ran"


@NO_PERSON
def test_a_client_that_shows_no_forms_is_not_asked(era: Era, elicitation: object) -> None:
    run = Run(asking(), era=era, elicitation=elicitation)
    call = run.attempt("pay", PAY)
    assert (call.outcome, run.client_got, run.statuses) == ("waits", [], ["asked (terminal)"])
    assert json.loads(run.announced[0]["arguments"]) == PAY
    run.wait(30)
    run.approve(run.the_id())
    assert call.outcome == "ran"
    assert run.decisions[-1]["approval"]["waited_ms"] == 30_000


@NO_PERSON
@pytest.mark.parametrize("terminal", [True, False])
def test_where_nobody_can_be_asked_a_call_is_refused(era: Era, elicitation: object, terminal: bool) -> None:
    policy = asking(via=["client"]) if terminal else asking()
    run = Run(policy, era=era, elicitation=elicitation, terminal=terminal)
    call = run.attempt("pay", PAY)
    assert (call.outcome, run.ran, run.announced, run.waiting_ids) == ("approval_required", [], [], [])
    assert run.statuses == ["unasked (client)"]
    assert call.text == (
        "mcpguard: pay needs approval: payments need a person; nobody could be asked, for the client shows no dialog to a "
        "person. Do not retry unchanged."
    )


def test_a_client_that_shows_forms_among_others_is_asked(era: Era) -> None:
    assert Run(asking(), era=era, elicitation={"form": {}, "url": {}}).attempt("pay", PAY).outcome == "asked"


def test_where_only_a_terminal_may_answer_the_client_is_not_asked(era: Era) -> None:
    run = Run(asking(via=["terminal"]), era=era)
    call = run.attempt("pay", PAY)
    assert (call.outcome, run.client_got, len(run.announced)) == ("waits", [], 1)
    run.deny(run.the_id(), "not today")
    assert call.outcome == "approval_denied"
    assert call.text == "mcpguard: pay denied: the user did not approve it: not today. Do not retry unchanged."
    assert (run.ran, run.statuses) == ([], ["asked (terminal)", "denied (terminal)"])


def test_where_only_the_client_may_answer_a_terminal_s_yes_is_none(era: Era) -> None:
    run = Run(asking(via=["client"]), era=era)
    call = run.attempt("pay", PAY)
    id_ = run.the_id()
    assert run.approve(id_) == {"error": f"nothing waits for an approval `{id_}`"}
    assert (call.outcome, run.ran) == ("asked", [])
    call.accept()
    assert run.decisions[-1]["approval"]["by"] == "client"


# What a person is shown


def test_a_dialog_shows_what_is_asked_and_why(era: Era) -> None:
    run = Run(asking(), era=era)
    call = run.attempt("pay", {"to": "b\u202eob", "amount": 1})
    assert call.form["message"] == (
        'mcpguard: may this call pass?\n\ntool "pay"\narguments: {\n'
        '  "to": "b\\u202eob",\n  "amount": 1\n}\n\n'
        "A person is asked because:\n- payments need a person (/tools/pay/action)"
    )
    assert "mode" not in call.form


def test_arguments_that_do_not_fit_a_dialog_go_to_a_terminal_in_full(era: Era) -> None:
    run = Run(asking(), era=era)
    arguments = {"text": "x" * 2000, "to": "bob"}
    call = run.attempt("pay", arguments)
    assert (call.outcome, run.client_got) == ("waits", [])
    assert json.loads(run.announced[0]["arguments"]) == arguments
    run.approve(run.the_id())
    assert run.ran == [{"name": "pay", "arguments": arguments}]


def test_arguments_that_do_not_fit_a_dialog_are_refused_where_there_is_nothing_else(era: Era) -> None:
    run = Run(asking(via=["client"]), era=era)
    assert run.attempt("pay", {"text": "x" * 2000}).outcome == "approval_required"
    assert run.ran == []


@pytest.mark.parametrize(
    ("method", "parameter", "section"),
    [("tools/call", "name", "tools"), ("resources/read", "uri", "resources"), ("prompts/get", "name", "prompts")],
)
def test_what_a_call_is_about_is_shown_to_its_last_character_or_not_in_a_dialog(
    era: Era, method: str, parameter: str, section: str
) -> None:
    for length in (150, 2000):
        name = "file:///srv/docs/" + "a" * length + "/../secret"
        run = Run({section: {name: {"action": "require_approval"}}}, era=era)
        call = run.attempt_of(method, **{parameter: name})
        if length > 1000:
            assert (call.outcome, run.announced[0]["subject"]) == ("waits", name)
        else:
            assert call.outcome == "asked"
            assert f' "{name}"\n' in call.form["message"]


def test_a_terminal_is_told_what_is_asked_and_why(era: Era) -> None:
    run = Run(asking(remember="tool"), era=era, elicitation=None)
    run.attempt("pay", {"to": "bob", "amount": 1.0})
    (told,) = run.announced
    run.wait(3)
    (item,) = run.enforcer.pending()
    assert told == item | {"waited_s": 0, "expires_in_s": 45}
    assert item == {
        "id": item["id"],
        "kind": "tool",
        "subject": "pay",
        "arguments": '{"amount":1,"to":"bob"}',
        "rules": [{"rule": "/tools/pay/action", "message": "payments need a person"}],
        "waited_s": 3,
        "state": "held",
        "expires_in_s": 42,
        "remember": "tool",
    }


@pytest.mark.parametrize("method", ["resources/read", "prompts/get"])
def test_a_terminal_is_told_of_what_has_no_arguments_that_it_has_none(era: Era, method: str) -> None:
    needs = {"*": {"action": "require_approval"}}
    run = Run({"resources": needs, "prompts": needs}, era=era, elicitation=None)
    run.attempt_of(method, **{"uri" if method == "resources/read" else "name": "x:1"})
    assert [(item["subject"], item["arguments"]) for item in run.announced] == [("x:1", "{}")]


def test_what_nobody_would_see_in_a_name_is_written_out(era: Era) -> None:
    name = "pay\u200b\u202e"
    run = Run({"tools": {name: {"action": "require_approval"}}}, era=era)
    message = run.attempt(name).form["message"]
    assert '"pay\\u200b\\u202e"\n' in message
    assert all(character.isprintable() or character == "\n" for character in message)


# Nobody answers in time


def test_a_dialog_that_nobody_answers_is_withdrawn_and_the_client_told_to_come_back() -> None:
    run = Run(asking())
    call = run.attempt("pay", PAY)
    run.wait(44.9)
    assert (call.outcome, len(run.open_dialogs())) == ("asked", 1)
    (dialog,) = run.open_dialogs()
    run.wait(0.1)
    assert (call.outcome, run.open_dialogs(), run.ran) == ("approval_expired", [], [])
    id_ = run.the_id()
    assert call.text == (
        f"mcpguard: pay needs approval {id_}: payments need a person. Ask the user to run `mcpguard approve {id_}`, then call "
        "again with the same arguments."
    )
    # The late answer of the client is nobody's.
    run.client(result(dialog["id"], action="accept", content={"decision": "allow once"}))
    assert (run.ran, run.server_got) == ([], [])
    assert run.statuses == ["asked (client)", "expired (client)"]


@pytest.mark.parametrize("elicitation", [(), None])
def test_who_comes_back_after_a_yes_passes_once_and_a_second_time_asks_again(era: Era, elicitation: object) -> None:
    run = Run(asking(), era=era, elicitation=elicitation)
    granted_for_later(run)
    run.wait(599)
    again = run.attempt("pay", PAY)
    assert (again.outcome, len(run.ran)) == ("ran", 1)
    assert run.decisions[-1]["approval"]["by"] == "terminal"
    assert run.attempt("pay", PAY).outcome in ("asked", "waits")
    assert len(run.ran) == 1


@pytest.mark.parametrize("elicitation", [(), None])
def test_without_time_to_wait_nobody_is_shown_a_dialog_and_the_call_comes_back_after_a_yes(
    era: Era, elicitation: object
) -> None:
    run = Run(asking(timeout="0s"), era=era, elicitation=elicitation)
    call = run.attempt("pay", PAY)
    run.wait(0)
    assert (call.outcome, run.open_dialogs(), run.ran) == ("approval_expired", [], [])
    run.approve(run.the_id())
    assert (run.attempt("pay", PAY).outcome, len(run.ran)) == ("ran", 1)


def test_a_yes_that_comes_after_the_call_was_told_to_come_back_runs_nothing_by_itself(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    run.attempt("pay", PAY)
    run.wait(50)
    item = run.approve(run.the_id())["granted"]
    assert (item["state"], item["expires_in_s"], run.ran) == ("later", 600, [])
    run.wait(3600)
    assert run.ran == []


def test_a_call_that_comes_back_before_the_yes_waits_under_the_same_id(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    run.attempt("pay", PAY)
    run.wait(50)
    id_ = run.the_id()
    again = run.attempt("pay", PAY)
    assert (again.outcome, run.the_id()) == ("waits", id_)
    run.wait(44)
    assert again.outcome == "waits"
    run.approve(id_)
    assert (again.outcome, len(run.ran)) == ("ran", 1)


def test_a_call_that_comes_back_before_the_yes_can_be_answered_for_as_long_as_a_new_one(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    run.attempt("pay", PAY)
    run.wait(50)
    id_ = run.the_id()
    again = run.attempt("pay", PAY)
    run.wait(644)
    assert (again.outcome, run.waiting_ids) == ("approval_expired", [id_])
    run.wait(1)
    assert run.waiting_ids == []


def test_a_yes_holds_no_longer_than_its_time_and_the_call_needs_another(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    granted_for_later(run)
    run.wait(600)
    call = run.attempt("pay", PAY)
    assert (call.outcome, run.ran) == ("waits", [])
    run.approve(run.the_id())
    assert (call.outcome, len(run.ran)) == ("ran", 1)


def test_a_yes_that_holds_for_no_time_is_for_the_call_that_waits(era: Era) -> None:
    run = Run(asking(ttl="0s"), era=era, elicitation=None)
    call = run.attempt("pay", PAY)
    run.approve(run.the_id())
    assert (call.outcome, len(run.ran)) == ("ran", 1)


def test_a_question_can_be_answered_no_longer_than_its_time(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    run.attempt("pay", PAY)
    run.wait(45)
    id_ = run.the_id()
    run.wait(599)
    assert run.waiting_ids == [id_]
    run.wait(1)
    assert run.waiting_ids == []
    assert run.approve(id_) == run.deny(id_) == {"error": f"nothing waits for an approval `{id_}`"}
    assert run.attempt("pay", PAY).outcome == "waits"


@pytest.mark.parametrize("answer", [Run.approve, Run.deny], ids=lambda it: it.__name__)
def test_an_answer_of_a_terminal_that_comes_too_late_is_none(era: Era, answer: Callable[[Run, str], Json]) -> None:
    run = Run(asking(), era=era, elicitation=None)
    run.attempt("pay", PAY)
    id_ = run.the_id()
    run.wait(645)
    assert answer(run, id_) == {"error": f"nothing waits for an approval `{id_}`"}
    assert run.statuses == ["asked (terminal)", "expired (terminal)"]


def test_a_dialog_s_answer_that_is_none_after_the_time_is_over_is_followed_by_a_coming_back() -> None:
    run, call = sealed()
    id_ = run.the_id()
    run.wait(45)
    call.reply(None)
    assert (call.outcome, run.the_id()) == ("approval_expired", id_)
    assert f"mcpguard approve {id_}" in call.text
    run.approve(id_)
    again = run.attempt("pay", PAY)
    assert (again.outcome, len(run.ran)) == ("ran", 1)


@pytest.mark.parametrize("terminal", [True, False])
def test_where_nobody_else_can_answer_a_late_call_is_refused_for_good(terminal: bool) -> None:
    run = Run(asking(via=["client"]) if terminal else asking(), terminal=terminal)
    call = run.attempt("pay", PAY)
    run.wait(45)
    assert (call.outcome, run.waiting_ids, run.open_dialogs()) == ("approval_expired", [], [])
    assert call.text == "mcpguard: pay needs approval: payments need a person; nobody answered in time."
    assert run.attempt("pay", PAY).outcome == "asked"


def test_a_yes_that_is_taken_back_in_time_is_none(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    call = run.attempt("pay", PAY)
    run.wait(45)
    id_ = run.the_id()
    run.approve(id_)
    assert run.approve(id_) == {"error": f"`{id_}` is approved already, and waits for the call"}
    assert "denied" in run.deny(id_)
    assert [record["code"] for record in run.decisions] == ["approval_expired"]
    assert run.attempt("pay", PAY).outcome == "waits"
    assert (call.outcome, run.ran) == ("approval_expired", [])


# A yes is for one call


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"amount": 8, "to": "bob"}, id="another value"),
        pytest.param({"amount": "7", "to": "bob"}, id="another type"),
        pytest.param({"amount": 7}, id="one less"),
        pytest.param({"amount": 7, "to": "bob", "cc": None}, id="one more"),
        pytest.param({}, id="none"),
    ],
)
def test_a_yes_is_for_no_other_arguments(era: Era, arguments: Json) -> None:
    run = Run(asking(), era=era)
    granted_for_later(run)
    assert run.attempt("pay", arguments).outcome == "asked"
    assert run.ran == []


def test_a_yes_is_for_the_same_arguments_however_they_are_written(era: Era) -> None:
    run = Run(asking(), era=era)
    granted_for_later(run)
    assert run.attempt("pay", {"to": "bob", "amount": 7.0}).outcome == "ran"


def test_a_yes_is_for_no_other_tool(era: Era) -> None:
    run = Run(asking(), era=era)
    granted_for_later(run)
    assert run.attempt("send", PAY).outcome == "asked"
    assert run.ran == []


def test_a_yes_is_for_the_tool_as_it_was(era: Era) -> None:
    run = Run(asking(policy={"drift": "allow"}), era=era)
    run.list_tools({"name": "pay", "description": "pays"})
    granted_for_later(run)
    run.list_tools({"name": "pay", "description": "pays twice"})
    assert run.attempt("pay", PAY).outcome == "asked"
    assert run.ran == []


def test_a_yes_is_no_use_for_a_tool_that_may_not_change_and_has(era: Era) -> None:
    run = Run(asking(), era=era)
    run.list_tools({"name": "pay", "description": "pays"})
    granted_for_later(run)
    run.list_tools({"name": "pay", "description": "pays twice"})
    assert run.attempt("pay", PAY).outcome == "drift"
    assert run.ran == []


@pytest.mark.parametrize("drift", ["refuse", "allow"])
@pytest.mark.parametrize("by", ["client", "terminal"])
@pytest.mark.parametrize("choice", ["allow once", "allow this tool"])
def test_a_tool_that_changes_while_a_person_thinks_does_not_run_by_that_yes(
    era: Era, drift: str, by: str, choice: str
) -> None:
    run = Run(asking(policy={"drift": drift}, remember="tool"), era=era, elicitation=() if by == "client" else None)
    run.list_tools({"name": "pay", "description": "pays"})
    call = run.attempt("pay", PAY)
    id_ = run.the_id()
    run.list_tools({"name": "pay", "description": "pays twice"})
    if by == "client":
        call.accept(choice)
    else:
        run.wait(1)
        assert "the tool has changed meanwhile" in run.approve(id_, tool=choice == "allow this tool")["error"]
    assert (call.outcome, run.ran) == ("drift" if drift == "refuse" else "asked" if by == "client" else "waits", [])
    if drift == "allow":
        # It is asked about anew, and only the new answer counts; whatever is left of the old question allows nothing.
        assert run.waiting_ids[-1] != id_
        assert "error" in run.approve(id_)
        if by == "client":
            call.accept()
        else:
            run.approve(run.the_id())
        assert call.outcome == "ran"
    run.wait(3600)
    assert len(run.ran) == (drift == "allow")


@pytest.mark.parametrize("drift", ["refuse", "allow"])
def test_a_yes_for_a_tool_that_has_changed_ends_the_question(era: Era, drift: str) -> None:
    run = Run(asking(policy={"drift": drift}), era=era, elicitation=None)
    run.list_tools({"name": "pay", "description": "pays"})
    run.attempt("pay", PAY)
    run.wait(45)
    run.list_tools({"name": "pay", "description": "pays twice"})
    assert "the tool has changed meanwhile" in run.approve(run.the_id())["error"]
    assert (run.waiting_ids, run.statuses[-1], run.ran) == ([], "void (server)", [])


@pytest.mark.parametrize("when", ["asked", "told to come back", "granted"])
def test_a_tool_that_is_listed_only_after_the_question_is_the_same_tool(era: Era, when: str) -> None:
    # Clients of the SDK list the tools after their first call.
    run = Run(asking(), era=era, elicitation=None)
    call = run.attempt("pay", PAY)
    id_ = run.the_id()
    if when != "asked":
        run.wait(45)
    if when == "granted":
        run.approve(id_)
    run.list_tools({"name": "pay", "description": "pays"})
    if when != "granted":
        assert "granted" in run.approve(id_)
    if when != "asked":
        call = run.attempt("pay", PAY)
    assert (call.outcome, len(run.ran)) == ("ran", 1)
    assert run.attempt("pay", PAY).outcome == "waits"


@pytest.mark.parametrize("by", ["client", "terminal"])
@pytest.mark.parametrize("when", ["before the yes", "after the yes"])
def test_a_tool_that_is_listed_only_later_stays_allowed(era: Era, by: str, when: str) -> None:
    run = Run(asking(remember="tool"), era=era, elicitation=() if by == "client" else None)
    call = run.attempt("pay", PAY)
    if when == "before the yes":
        run.list_tools({"name": "pay", "description": "pays"})
    if by == "client":
        call.accept("allow this tool")
    else:
        run.approve(run.the_id(), tool=True)
    if when == "after the yes":
        run.list_tools({"name": "pay", "description": "pays"})
    assert [call.outcome, run.attempt("pay", {}).outcome] == ["ran", "ran"]
    run.list_tools({"name": "pay", "description": "pays twice"})
    assert run.attempt("pay", {}).outcome == "drift"


@pytest.mark.parametrize("when", ["asked", "granted", "remembered"])
def test_where_tools_may_change_one_that_is_listed_only_later_may_be_another(era: Era, when: str) -> None:
    run = Run(asking(policy={"drift": "allow"}, remember="tool"), era=era, elicitation=None)
    call = run.attempt("pay", PAY)
    id_ = run.the_id()
    if when == "remembered":
        run.approve(id_, tool=True)
    elif when == "granted":
        run.wait(45)
        run.approve(id_)
    run.list_tools({"name": "pay", "description": "pays"})
    if when == "asked":
        assert "the tool has changed meanwhile" in run.approve(id_)["error"]
        assert call.outcome == "waits"
    else:
        assert run.attempt("pay", PAY).outcome == "waits"
    assert len(run.ran) == (when == "remembered")


@pytest.mark.parametrize("when", ["asked", "granted"])
def test_a_yes_is_for_the_policy_under_which_it_was_given(era: Era, when: str) -> None:
    run = Run(asking(), era=era)
    if when == "granted":
        granted_for_later(run)
    else:
        run.attempt("pay", PAY)
    id_ = run.waiting_ids
    run.reload(asking({"other": {}}))
    assert run.statuses[-1] in ("void (policy)", "asked (client)")
    assert not id_ or "error" in run.approve(id_[0])
    call = run.attempt("pay", PAY)
    assert (call.outcome, run.ran) == ("asked", [])


def test_a_reload_to_the_same_policy_voids_a_yes_all_the_same(era: Era) -> None:
    run = Run(asking(), era=era)
    granted_for_later(run)
    run.reload(asking())
    assert run.attempt("pay", PAY).outcome == "asked"
    assert run.ran == []


@pytest.mark.parametrize(
    ("entry", "outcome"),
    [({}, "ran"), ({"action": "deny"}, "denied"), (limited(0), "rate_limited"), (limited(1), "asked")],
)
def test_what_waits_is_judged_by_the_policy_that_comes_into_force(entry: Json, outcome: str) -> None:
    run = Run(asking())
    call = run.attempt("pay", PAY)
    (dialog,) = run.open_dialogs()
    run.wait(1)
    run.reload(asking({"pay": entry}))
    assert call.outcome == outcome
    assert dialog not in run.open_dialogs()
    # The old dialog's answer is for a question that is void.
    run.client(result(dialog["id"], action="accept", content={"decision": "allow once"}))
    assert call.outcome == outcome
    if outcome == "asked":
        call.accept()
        assert call.outcome == "ran"
    run.wait(3600)
    assert len(run.ran) == (outcome in ("ran", "asked"))


@pytest.mark.parametrize(("entry", "outcome"), [({}, "ran"), ({"action": "deny"}, "denied"), (None, "default_deny")])
def test_what_a_terminal_holds_is_judged_by_the_policy_that_comes_into_force(
    era: Era, entry: Json | None, outcome: str
) -> None:
    run = Run(asking(), era=era, elicitation=None)
    call = run.attempt("pay", PAY)
    policy = asking({"pay": entry or {}})
    if entry is None:
        del policy["tools"]["pay"]
    run.reload(policy)
    assert (call.outcome, run.waiting_ids) == (outcome, [])
    assert run.statuses == ["asked (terminal)", "void (policy)"]


# A seal is for one presentation (2026-07-28)


def sealed(policy: Json | None = None) -> tuple[Run, Attempt]:
    run = Run(policy or asking(), era="2026-07-28")
    call = run.attempt("pay", PAY)
    assert call.outcome == "asked"
    run.wait(1)
    return run, call


YES: Json = {QUESTION: {"action": "accept", "content": {"decision": "allow once"}}}


def test_a_yes_that_is_presented_again_is_a_new_call() -> None:
    run, call = sealed()
    state = call.state
    call.send(inputResponses=YES, requestState=state)
    assert call.outcome == "ran"
    for _ in range(2):
        call.send(inputResponses=YES, requestState=state)
        assert call.outcome == "asked"
    assert len(run.ran) == 1


def forged(run: Run) -> list[str]:
    """Give the methods of the requests that the log says have come with a forged state."""
    return [record["method"] for record in run.records if record.get("event") == "forged_state"]


@pytest.mark.parametrize("at", [0, 63, 64, -1])
def test_a_seal_that_was_changed_is_worth_nothing_and_the_log_says_so(at: int) -> None:
    run, call = sealed()
    letters = list(call.state)
    letters[at] = "A" if letters[at] != "A" else "B"
    call.send(inputResponses=YES, requestState="".join(letters))
    assert (call.outcome, run.ran, forged(run)) == ("asked", [], ["tools/call"])


@pytest.mark.parametrize(
    "state", ["", "mine", pytest.param("\u00e9" * 100, id="no ASCII"), pytest.param("0" * 64, id="a digest")]
)
def test_a_state_that_the_guard_did_not_give_is_worth_nothing(state: str) -> None:
    run, call = sealed()
    call.send(inputResponses=YES, requestState=state)
    assert (call.outcome, run.ran, forged(run)) == ("asked", [], ["tools/call"])


def test_a_forged_state_is_logged_once_however_often_its_call_is_judged() -> None:
    run = Run(asking(), era="2026-07-28", elicitation=None)
    call = run.attempt("pay", PAY)
    call.send(requestState="forged")
    run.reload(asking({"other": {}}))
    run.approve(run.waiting_ids[-1])
    assert (call.outcome, len(run.ran), forged(run)) == ("ran", 1, ["tools/call"])


def test_the_seal_of_another_run_is_worth_nothing() -> None:
    (_, other), (run, call) = sealed(), sealed()
    call.send(inputResponses=YES, requestState=other.state)
    assert (call.outcome, run.ran, forged(run)) == ("asked", [], ["tools/call"])


def test_a_forged_state_and_what_comes_with_it_reach_no_server() -> None:
    run = Run(asking(), era="2026-07-28")
    read = run.attempt("read")
    read.send(requestState="forged", inputResponses={"one": {"action": "accept"}})
    assert (read.outcome, run.ran, forged(run)) == ("ran", [{"name": "read", "arguments": {}}] * 2, ["tools/call"])


def test_a_seal_does_not_carry_over_to_other_arguments_or_another_tool() -> None:
    run, call = sealed()
    state = call.state
    for params in ({"name": "pay", "arguments": {"amount": 8}}, {"name": "send", "arguments": PAY}):
        other = run.attempt_of("tools/call", **params, inputResponses=YES, requestState=state)
        assert other.outcome == "asked"
    # And once it was presented, it is used up.
    call.send(inputResponses=YES, requestState=state)
    assert (call.outcome, run.ran) == ("asked", [])


def test_a_seal_ends_with_the_question_that_it_is_about() -> None:
    run, call = sealed()
    run.wait(645)
    call.send(inputResponses=YES, requestState=call.state)
    assert (call.outcome, run.ran) == ("asked", [])


def test_a_seal_under_another_policy_is_a_new_call() -> None:
    run, call = sealed()
    run.reload(asking({"other": {}}))
    call.send(inputResponses=YES, requestState=call.state)
    assert (call.outcome, run.ran) == ("asked", [])


def test_a_seal_under_the_same_policy_loaded_again_is_a_new_call() -> None:
    run, call = sealed()
    run.reload(asking())
    call.send(inputResponses=YES, requestState=call.state)
    assert (call.outcome, run.ran) == ("asked", [])


def test_seals_that_are_too_many_are_forgotten_from_the_oldest_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MAX_SEALS", 3)
    run = Run(asking(), era="2026-07-28")
    calls = [run.attempt("pay", {"n": number}) for number in range(4)]
    states = [call.state for call in calls]
    run.wait(1)
    for call, state in reversed(list(zip(calls, states, strict=True))):
        call.send(inputResponses=YES, requestState=state)
    assert [call.outcome for call in calls] == ["asked", "ran", "ran", "ran"]


def test_seals_that_have_expired_make_room_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MAX_SEALS", 2)
    run = Run(asking(), era="2026-07-28")
    first = run.attempt("pay", {"n": 0})
    # The seal of a round is good for a shorter time than that of a question, which may be answered for 45 s more.
    needs_input(run.attempt("read"))
    run.wait(601)
    third = run.attempt("pay", {"n": 1})
    run.wait(1)
    for call in (first, third):
        call.accept()
        assert call.outcome == "ran"


def test_what_was_not_asked_for_goes_to_nobody() -> None:
    run, call = sealed()
    call.send(inputResponses=YES | {"more": {"action": "accept"}}, requestState=call.state)
    assert call.outcome == "ran"
    assert run.ran == [{"name": "pay", "arguments": PAY}]
    read = run.attempt_of("tools/call", name="read", arguments={}, inputResponses={"more": {"action": "accept"}})
    assert read.outcome == "ran"
    assert run.ran[-1] == {"name": "read", "arguments": {}}


# Two who answer


@pytest.mark.parametrize("via", [["client", "terminal"], ["client"]])
def test_while_a_client_shows_a_dialog_a_terminal_can_ask_if_it_may_answer(era: Era, via: list[str]) -> None:
    run = Run(asking(via=via), era=era)
    assert run.attempt("pay", PAY).outcome == "asked"
    assert run.desk_is_open == ("terminal" in via)


def test_a_terminal_that_is_quicker_closes_the_client_s_dialog() -> None:
    run = Run(asking())
    call = run.attempt("pay", PAY)
    (dialog,) = run.open_dialogs()
    assert run.approve(run.the_id())["granted"]["state"] == "client"
    assert (call.outcome, run.open_dialogs()) == ("ran", [])
    run.client(result(dialog["id"], action="decline"))
    assert len(run.ran) == 1
    assert len(run.server_got) == 1


def test_a_no_in_a_terminal_closes_the_client_s_dialog() -> None:
    run = Run(asking())
    call = run.attempt("pay", PAY)
    (dialog,) = run.open_dialogs()
    run.deny(run.the_id())
    assert (call.outcome, run.open_dialogs()) == ("approval_denied", [])
    run.client(result(dialog["id"], action="accept", content={"decision": "allow once"}))
    assert run.ran == []


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        pytest.param({"action": "accept", "content": {"decision": "allow once"}}, "ran", id="yes and yes"),
        pytest.param({"action": "decline"}, "approval_denied", id="yes and no"),
        pytest.param(None, "ran", id="yes and nothing"),
    ],
)
def test_in_the_newer_revision_a_no_outweighs_the_yes_of_a_terminal(reply: Json | None, outcome: str) -> None:
    run, call = sealed()
    run.approve(run.the_id())
    assert run.ran == []
    call.reply(reply)
    assert call.outcome == outcome
    run.attempt("pay", PAY)
    assert len(run.ran) == (outcome == "ran")


def test_in_the_newer_revision_a_dialog_is_of_no_use_after_a_terminal_s_no() -> None:
    run, call = sealed()
    run.deny(run.the_id())
    call.accept()
    assert (call.outcome, run.ran) == ("asked", [])


# Whole tools


def test_a_person_may_allow_a_tool_until_something_changes(era: Era) -> None:
    run = Run(asking(policy={"drift": "allow"}, remember="tool"), era=era)
    run.list_tools({"name": "pay", "description": "pays"})
    call = run.attempt("pay", PAY)
    assert call.form["requestedSchema"]["properties"]["decision"]["enum"] == ["deny", "allow once", "allow this tool"]
    call.accept("allow this tool")
    assert run.statuses == ["asked (client)", "granted for the tool (client)"]
    other = run.attempt("pay", {"amount": 9})
    assert (call.outcome, other.outcome) == ("ran", "ran")
    assert run.decisions[-1]["approval"] == "remembered"
    assert run.attempt("send", PAY).outcome == "asked"
    run.list_tools({"name": "pay", "description": "pays twice"})
    assert run.attempt("pay", PAY).outcome == "asked"
    run.list_tools({"name": "pay", "description": "pays"})
    assert run.attempt("pay", PAY).outcome == "ran"
    run.reload(asking(policy={"drift": "allow"}, remember="tool"))
    assert run.attempt("pay", PAY).outcome == "asked"
    assert len(run.ran) == 3


def test_a_terminal_may_allow_a_tool(era: Era) -> None:
    run = Run(asking(remember="tool"), era=era, elicitation=None)
    call = run.attempt("pay", PAY)
    run.approve(run.the_id(), tool=True)
    assert [call.outcome, run.attempt("pay", {}).outcome, run.attempt("send", PAY).outcome] == ["ran", "ran", "waits"]


@pytest.mark.parametrize("by", ["client", "terminal"])
def test_one_yes_among_many_under_a_policy_that_remembers_tools_is_for_one_call(era: Era, by: str) -> None:
    run = Run(asking(remember="tool"), era=era, elicitation=() if by == "client" else None)
    call = run.attempt("pay", PAY)
    if by == "client":
        call.accept("allow once")
    else:
        run.approve(run.the_id())
    assert call.outcome == "ran"
    assert run.attempt("pay", PAY).outcome in ("asked", "waits")


def test_a_terminal_may_not_allow_a_tool_where_the_policy_does_not_say_so(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    call = run.attempt("pay", PAY)
    assert "one call only" in run.approve(run.the_id(), tool=True)["error"]
    assert (call.outcome, run.ran) == ("waits", [])


def test_a_tool_that_was_allowed_for_one_rule_is_asked_about_for_another(era: Era) -> None:
    large = {"conditions": [{"path": "args.amount", "op": "gt", "value": 100}], "reason": "large"}
    abroad = {"conditions": [{"path": "args.to", "op": "eq", "value": "eve"}], "reason": "abroad"}
    run = Run(asking({"pay": {"approve_if": [large, abroad]}}, remember="tool"), era=era)
    call = run.attempt("pay", {"amount": 101, "to": "bob"})
    call.accept("allow this tool")
    outcomes = [
        run.attempt("pay", arguments).outcome
        for arguments in (
            {"amount": 102, "to": "bob"},
            {"amount": 1, "to": "bob"},
            {"amount": 1, "to": "eve"},
            {"amount": 102, "to": "eve"},
        )
    ]
    assert [call.outcome, *outcomes] == ["ran", "ran", "ran", "asked", "asked"]


@pytest.mark.parametrize("by", ["client", "terminal"])
def test_a_tool_that_is_allowed_leaves_others_of_the_same_rule_to_be_asked_about(era: Era, by: str) -> None:
    policy = {"tools": {"pay_*": {"action": "require_approval"}}, "approval": {"remember": "tool"}}
    run = Run(policy, era=era, elicitation=() if by == "client" else None)
    call = run.attempt("pay_bill")
    if by == "client":
        call.accept("allow this tool")
    else:
        run.approve(run.the_id(), tool=True)
    assert [call.outcome, run.attempt("pay_bill", PAY).outcome] == ["ran", "ran"]
    assert run.attempt("pay_rent").outcome in ("asked", "waits")
    assert len(run.ran) == 2


@pytest.mark.parametrize("method", ["resources/read", "prompts/get"])
def test_what_is_no_tool_is_never_allowed_as_one(era: Era, method: str) -> None:
    section, parameter = ("resources", "uri") if method == "resources/read" else ("prompts", "name")
    run = Run({section: {"*": {"action": "require_approval"}}, "approval": {"remember": "tool"}}, era=era)
    call = run.attempt_of(method, **{parameter: "x:1"})
    assert call.form["requestedSchema"]["properties"]["decision"]["enum"] == ["deny", "allow once"]
    call.accept("allow this tool")
    assert call.outcome == "approval_denied"
    other = run.attempt_of(method, **{parameter: "x:1"})
    assert other.outcome == "asked"
    assert "one call only" in run.approve(run.the_id(), tool=True)["error"]
    assert run.server_got == []


# Limits


def test_nobody_is_asked_about_a_call_that_could_not_pass(era: Era) -> None:
    run = Run(asking({"pay": limited(1)}), era=era)
    run.attempt("pay", PAY).accept()
    second = run.attempt("pay", PAY)
    assert (second.outcome, len(run.ran), len(run.statuses)) == ("rate_limited", 1, 2)
    assert run.waiting_ids == []


def test_to_ask_costs_nothing_and_to_pass_costs_once(era: Era) -> None:
    run = Run(asking({"pay": limited(1)}), era=era)
    calls = [run.attempt("pay", {"n": number}) for number in range(3)]
    assert [call.outcome for call in calls] == ["asked"] * 3
    calls[1].accept()
    assert [call.outcome for call in calls] == ["asked", "ran", "asked"]
    assert (run.charged, len(run.ran)) == (1, 1)


@pytest.mark.parametrize("by", ["client", "terminal"])
def test_a_yes_to_a_call_whose_limit_is_used_up_meanwhile_is_kept(era: Era, by: str) -> None:
    run = Run(asking({"pay": limited(1)}), era=era, elicitation=() if by == "client" else None)

    def allow(call: Attempt, id_: str) -> None:
        if by == "client":
            call.accept()
        else:
            run.approve(id_)

    first, second = run.attempt("pay", {"n": 1}), run.attempt("pay", {"n": 2})
    ids = run.waiting_ids
    allow(first, ids[0])
    allow(second, ids[1])
    assert (first.outcome, second.outcome, run.charged) == ("ran", "rate_limited", 1)
    # Whatever was due about the refused call is not due any more, and its id is free.
    run.client(request(second.id, "ping"))
    run.wait(61)
    assert [said for said in run.client_got if "method" not in said and said["id"] == second.id] == [second.answer]
    assert [status for status in run.statuses if "expired" in status] == []
    assert len(run.decisions) == 2
    assert run.attempt("pay", {"n": 2}).outcome == "ran"
    assert (len(run.ran), run.charged) == (2, 2)
    run.wait(61)
    assert run.attempt("pay", {"n": 2}).outcome in ("asked", "waits")


# Withdrawn, gone, dead


def test_a_call_that_is_cancelled_while_a_dialog_is_open_never_runs() -> None:
    run = Run(asking())
    call = run.attempt("pay", PAY)
    (dialog,) = run.open_dialogs()
    id_ = run.the_id()
    call.cancel()
    assert (run.open_dialogs(), run.waiting_ids, call.answer) == ([], [], None)
    run.wait(1)
    run.client(result(dialog["id"], action="accept", content={"decision": "allow once"}))
    assert "error" in run.approve(id_)
    run.wait(3600)
    assert (run.server_got, call.answer) == ([], None)
    assert run.statuses == ["asked (client)", "withdrawn (client)"]
    assert run.attempt("pay", PAY).outcome == "asked"


def test_a_call_that_is_cancelled_while_a_terminal_holds_it_never_runs(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    call = run.attempt("pay", PAY)
    id_ = run.the_id()
    call.cancel()
    assert "error" in run.approve(id_)
    run.wait(3600)
    assert (run.server_got, call.answer, run.waiting_ids) == ([], None, [])
    assert run.statuses == ["asked (terminal)", "withdrawn (client)"]


def test_a_call_that_is_cancelled_takes_no_other_call_along(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    first, second, third = (run.attempt("pay", {"n": number}) for number in range(3))
    ids = run.waiting_ids
    second.cancel()
    assert run.waiting_ids == [ids[0], ids[2]]
    for id_ in run.waiting_ids:
        run.approve(id_)
    assert [first.outcome, second.answer, third.outcome] == ["ran", None, "ran"]


@pytest.mark.parametrize("elicitation", [(), None])
def test_when_the_client_is_gone_whatever_waits_is_withdrawn(era: Era, elicitation: object) -> None:
    run = Run(asking(), era=era, elicitation=elicitation)
    run.attempt("pay", PAY)
    run.attempt("send", PAY)
    ids = run.waiting_ids
    run.lose_client()
    if era == "handshake" or elicitation is None:
        assert run.waiting_ids == []
        assert run.statuses[-2:] == ["withdrawn (client)"] * 2
        assert all("error" in run.approve(id_) for id_ in ids)
    else:
        for id_ in ids:
            run.approve(id_)
    run.wait(3600)
    assert run.server_got == []


@pytest.mark.parametrize("elicitation", [(), None])
def test_when_the_server_dies_what_waits_is_answered_and_withdrawn(elicitation: object) -> None:
    run = Run(asking(), elicitation=elicitation)
    call = run.attempt("pay", PAY)
    id_ = run.the_id()
    run.lose_server()
    assert call.answer is not None
    assert call.answer["error"]["message"] == "mcpguard: the server exited with status 3"
    assert (run.open_dialogs(), run.waiting_ids) == ([], [])
    assert run.statuses[-1] == "withdrawn (server)"
    assert "error" in run.approve(id_)
    run.wait(3600)
    assert call.answer["error"]["code"] == -32603
    assert run.server_got == []


def test_an_answer_after_the_server_s_death_runs_nothing() -> None:
    run, call = sealed()
    run.lose_server()
    call.send(inputResponses=YES, requestState=call.state)
    assert call.answer is not None
    assert call.answer["error"]["code"] == -32603
    assert run.ran == []


# Several at once


@pytest.mark.parametrize("elicitation", [(), None])
def test_two_calls_with_the_same_arguments_need_two_answers(era: Era, elicitation: object) -> None:
    run = Run(asking(), era=era, elicitation=elicitation)
    first, second = run.attempt("pay", PAY), run.attempt("pay", PAY)
    ids = run.waiting_ids
    assert len(set(ids)) == 2
    if elicitation is None:
        run.approve(ids[1])
    else:
        second.accept()
    assert (first.outcome, second.outcome, len(run.ran)) == ("waits" if elicitation is None else "asked", "ran", 1)
    assert run.waiting_ids == ids[:1]
    if elicitation is None:
        run.approve(ids[0])
    else:
        first.accept()
    assert (first.outcome, len(run.ran)) == ("ran", 2)


def test_an_id_that_is_used_again_is_another_request(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    first = run.attempt("pay", PAY, id_="same")
    run.wait(45)
    assert first.outcome == "approval_expired"
    second = run.attempt("send", PAY, id_="same")
    ids = run.waiting_ids
    run.approve(ids[0])
    assert (second.outcome, run.ran) == ("waits", [])
    run.approve(ids[1])
    assert run.ran == [{"name": "send", "arguments": PAY}]
    run.wait(3600)
    assert len(run.ran) == 1


def test_more_questions_than_anybody_answers_are_refused(era: Era, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "MAX_QUESTIONS", 3)
    run = Run(asking(), era=era)
    calls = [run.attempt("pay", {"n": number}) for number in range(4)]
    assert [call.outcome for call in calls] == ["asked"] * 3 + ["busy"]
    assert "too many calls wait" in calls[3].text
    calls[0].accept()
    assert run.attempt("pay", {"n": 9}).outcome == "asked"


def test_more_of_questions_than_memory_is_for_them_is_refused(era: Era, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "MAX_QUESTION_BYTES", 3000)
    run = Run(asking(), era=era, elicitation=None)
    first = run.attempt("pay", {"text": "x" * 2000})
    assert [first.outcome, run.attempt("pay", {"text": "y" * 2000}).outcome] == ["waits", "busy"]
    run.deny(run.the_id())
    assert run.attempt("pay", {"text": "y" * 2000}).outcome == "waits"


def test_questions_that_nobody_can_answer_any_more_make_room(era: Era, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "MAX_QUESTIONS", 1)
    run = Run(asking(), era=era, elicitation=None)
    run.attempt("pay", {"n": 1})
    run.wait(644)
    assert run.attempt("pay", {"n": 2}).outcome == "busy"
    run.wait(1)
    assert run.attempt("pay", {"n": 3}).outcome == "waits"


def test_what_is_due_about_each_call_that_waits_is_done_in_time_and_once(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    first = run.attempt("pay", {"n": 1}, token=1)
    run.wait(3)
    second = run.attempt("pay", {"n": 2}, token=2)
    run.wait(42)
    assert (first.outcome, second.outcome) == ("approval_expired", "waits")
    # Every 5 s of the 45 and of the 42, and an answer.
    assert len(run.client_got) == 8 + 8 + 1
    run.client_got.clear()
    run.wait(2.9)
    assert (second.outcome, run.client_got) == ("waits", [])
    run.wait(0.1)
    assert (second.outcome, len(run.client_got)) == ("approval_expired", 1)
    assert run.statuses == ["asked (terminal)"] * 2 + ["expired (terminal)"] * 2


@pytest.mark.parametrize("ttl", ["0s", "10m"])
def test_a_call_that_waits_is_answered_whoever_is_first_after_its_time(era: Era, ttl: str) -> None:
    run = Run(asking(ttl=ttl), era=era, elicitation=None)
    call = run.attempt("pay", PAY)
    # The machine has slept, and a terminal is quicker than the supervisor.
    run.now_ns += 700_000_000_000
    assert "error" in run.approve("zzzzzzzz")
    run.wait(0)
    assert (call.outcome, run.ran) == ("approval_expired", [])
    # What the agent is told to have approved can be, for as long as ever.
    run.wait(599)
    assert [f"mcpguard approve {id_}" in call.text for id_ in run.waiting_ids] == ([] if ttl == "0s" else [True])


def test_a_dialog_that_is_an_answer_does_not_expire_before_its_time() -> None:
    run = Run(asking(), era="2026-07-28")
    shown = run.attempt("pay", PAY)
    long = run.attempt("pay", {"text": "x" * 2000})
    run.wait(60)
    assert (long.outcome, run.statuses[2:]) == ("approval_expired", ["expired (terminal)"])
    shown.accept()
    assert (shown.outcome, len(run.ran)) == ("ran", 1)


def test_other_calls_go_on_while_one_waits(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    call = run.attempt("pay", PAY)
    other = run.attempt("read")
    assert (call.outcome, other.outcome) == ("waits", "ran")
    other.finish()
    assert other.answer == result(other.id, content=[])
    third = run.attempt("pay", {"n": 3})
    run.deny(run.waiting_ids[1])
    run.wait(45)
    assert (call.outcome, third.outcome) == ("approval_expired", "approval_denied")
    assert len({record["decision_id"] for record in run.decisions}) == 3


# Progress


@pytest.mark.parametrize("token", ["t", 0])
@pytest.mark.parametrize("elicitation", [(), None])
def test_who_wants_to_know_hears_every_five_seconds_that_a_call_waits(
    era: Era, token: object, elicitation: object
) -> None:
    run = Run(asking(), era=era, elicitation=elicitation)
    call = run.attempt("pay", PAY, token=token)
    id_ = run.the_id()
    run.wait(16)
    progress = [said["params"] for said in run.client_got if said.get("method") == "notifications/progress"]
    if call.outcome == "asked" and era != "handshake":
        assert progress == []  # the call has its answer, a question
        return
    assert [each["progressToken"] for each in progress] == [token] * 3
    # In its own dialog, the client's user need not be told of another way.
    way = f": mcpguard approve {id_}" if elicitation is None else ""
    assert {each["message"] for each in progress} == {f"waiting for approval{way}"}
    counts = [each["progress"] for each in progress]
    assert counts == sorted(set(counts))
    assert counts[-1] < 1
    run.approve(id_)
    run.client_got.clear()
    run.wait(60)
    assert run.client_got == []


def test_who_does_not_want_to_know_hears_nothing(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    run.attempt("pay", PAY)
    run.wait(44)
    assert run.client_got == []


@pytest.mark.parametrize("token", [None, True, 1.5, ["t"]])
def test_a_token_of_no_kind_is_none(era: Era, token: object) -> None:
    run = Run(asking(), era=era, elicitation=None)
    run.attempt("pay", PAY, token=token)
    run.wait(44)
    assert run.client_got == []


# Ids


def test_an_id_is_eight_characters_that_nobody_mistakes(era: Era) -> None:
    run = Run(asking(), era=era)
    for number in range(20):
        run.attempt("pay", {"n": number})
    ids = run.waiting_ids
    assert len(set(ids)) == 20
    assert all(len(id_) == 8 and set(id_) <= ALPHABET for id_ in ids)


def test_no_two_questions_of_a_run_share_an_id(era: Era) -> None:
    made = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])
    run = Run(asking(), era=era, id_of_next=lambda: next(made))
    run.attempt("pay", {"n": 1})
    run.attempt("pay", {"n": 2})
    assert run.waiting_ids == ["aaaaaaaa", "bbbbbbbb"]


def test_an_id_that_is_none_is_answered_so(era: Era) -> None:
    run = Run(asking(), era=era)
    run.attempt("pay", PAY)
    assert run.approve("zzzzzzzz") == run.deny("zzzzzzzz") == {"error": "nothing waits for an approval `zzzzzzzz`"}


# Where the server asks for input itself (2026-07-28)

COLOUR: Json = {"method": ELICITATION, "params": {"message": "colour?", "requestedSchema": {"type": "object"}}}


def needs_input(call: Attempt, state: str | None = "s") -> None:
    members: Json = {} if state is None else {"requestState": state}
    call.finish(resultType="input_required", inputRequests={"one": COLOUR}, **members)


def painting(most: int = 100, entry: Json | None = None) -> Json:
    limit = {"limits": [{"window": "minute", "max": most}]}
    return asking({"paint": (entry or {}) | limit})


def test_the_rounds_of_an_admitted_call_are_charged_once_up_to_ten() -> None:
    run = Run(painting(), era="2026-07-28")
    call = run.attempt("paint", PAY)
    for number in range(10):
        needs_input(call, f"s{number}")
        assert f"s{number}" != call.state
        call.next_round(one={"action": "accept", "content": {"n": number}})
        assert call.outcome == "ran"
        assert run.ran[-1] == {
            "name": "paint",
            "arguments": PAY,
            "inputResponses": {"one": {"action": "accept", "content": {"n": number}}},
            "requestState": f"s{number}",
        }
        assert run.charged == 1
    needs_input(call)
    call.next_round(one={"action": "accept"})
    assert (call.outcome, run.charged) == ("ran", 2)
    needs_input(call)
    call.next_round(one={"action": "accept"})
    assert run.charged == 2


def test_a_round_without_a_state_of_the_server_s_goes_back_without_one() -> None:
    run = Run(painting(), era="2026-07-28")
    call = run.attempt("paint", PAY)
    needs_input(call, None)
    call.next_round(one={"action": "accept"})
    assert run.ran[-1] == {"name": "paint", "arguments": PAY, "inputResponses": {"one": {"action": "accept"}}}
    assert run.charged == 1


def test_a_round_goes_on_where_the_limit_is_used_up() -> None:
    run = Run(painting(1), era="2026-07-28")
    call = run.attempt("paint", PAY)
    needs_input(call)
    assert run.attempt("paint", PAY).outcome == "rate_limited"
    call.next_round(one={"action": "accept"})
    assert call.outcome == "ran"


def after_ttl(run: Run, call: Attempt) -> None:
    assert call.outcome == "ran"
    run.wait(600)


def presented_before(run: Run, call: Attempt) -> None:
    state = call.state
    call.next_round(one={"action": "accept"})
    assert (call.outcome, run.charged) == ("ran", 1)
    call.send(inputResponses={"one": {"action": "accept"}}, requestState=state)


def other_policy(run: Run, call: Attempt) -> None:
    assert call.outcome == "ran"
    run.reload(painting(99) | {"drift": "allow"})


def other_definition(run: Run, call: Attempt) -> None:
    assert call.outcome == "ran"
    run.list_tools({"name": "paint", "description": "paints twice"})


def other_arguments(run: Run, call: Attempt) -> None:
    assert run.ran[-1]["arguments"] == PAY
    call.params = {"name": "paint", "arguments": PAY | {"amount": 8}}


@pytest.mark.parametrize(
    "meanwhile",
    [after_ttl, presented_before, other_policy, other_definition, other_arguments],
    ids=lambda it: it.__name__,
)
def test_any_other_round_is_a_new_call_whose_state_and_responses_go_to_nobody(
    meanwhile: Callable[[Run, Attempt], None],
) -> None:
    run = Run(painting() | {"drift": "allow"}, era="2026-07-28")
    run.list_tools({"name": "paint", "description": "paints"})
    call = run.attempt("paint", PAY)
    needs_input(call)
    state = call.state
    meanwhile(run, call)
    if meanwhile is not presented_before:
        call.send(inputResponses={"one": {"action": "accept"}}, requestState=state)
    assert (call.outcome, run.charged) == ("ran", 2)
    assert run.ran[-1] == {"name": "paint", "arguments": call.params["arguments"]}


def test_a_round_goes_on_where_the_tool_was_listed_only_meanwhile() -> None:
    run = Run(painting(), era="2026-07-28")
    call = run.attempt("paint", PAY)
    needs_input(call)
    run.list_tools({"name": "paint", "description": "paints"})
    call.next_round(one={"action": "accept"})
    assert (call.outcome, run.charged, run.ran[-1]["requestState"]) == ("ran", 1, "s")


def test_a_round_of_another_tool_is_a_new_call() -> None:
    run = Run(painting(), era="2026-07-28")
    call = run.attempt("paint", PAY)
    needs_input(call)
    other = run.attempt_of(
        "tools/call", name="read", arguments=PAY, inputResponses={"one": {}}, requestState=call.state
    )
    assert run.ran[-1] == {"name": "read", "arguments": PAY}
    assert other.outcome == "ran"


def test_a_round_that_was_changed_is_a_new_call() -> None:
    run = Run(painting(), era="2026-07-28")
    call = run.attempt("paint", PAY)
    needs_input(call)
    call.send(inputResponses={"one": {}}, requestState=call.state[:-1])
    assert (call.outcome, run.charged, forged(run)) == ("ran", 2, ["tools/call"])
    assert run.ran[-1] == {"name": "paint", "arguments": PAY}


def test_a_round_of_a_call_that_the_policy_refuses_now_is_refused() -> None:
    run = Run(painting(), era="2026-07-28")
    call = run.attempt("paint", PAY)
    needs_input(call)
    run.reload(asking({"paint": {"action": "deny"}}))
    call.next_round(one={})
    assert (call.outcome, len(run.ran)) == ("denied", 1)


def test_a_round_of_a_tool_that_has_changed_is_refused() -> None:
    run = Run(painting(), era="2026-07-28")
    run.list_tools({"name": "paint", "description": "paints"})
    call = run.attempt("paint", PAY)
    needs_input(call)
    run.list_tools({"name": "paint", "description": "burns"})
    call.next_round(one={})
    assert (call.outcome, len(run.ran)) == ("drift", 1)


def test_a_call_that_needs_a_person_and_input_is_asked_about_once_and_charged_once() -> None:
    run = Run(painting(1, {"action": "require_approval"}), era="2026-07-28")
    call = run.attempt("paint", PAY)
    assert call.outcome == "asked"
    call.accept()
    assert run.ran == [{"name": "paint", "arguments": PAY}]
    for _ in range(3):
        needs_input(call)
        assert set(call.answer["result"]["inputRequests"]) == {"one"} if call.answer else False
        call.next_round(one={"action": "accept"})
        assert call.outcome == "ran"
    assert run.statuses == ["asked (client)", "granted (client)"]
    assert run.charged == 1
    assert ["approval" in record for record in run.decisions] == [True, False, False, False]


def test_the_answer_to_the_guard_s_question_goes_to_no_server_in_a_later_round_either() -> None:
    run = Run(painting(1, {"action": "require_approval"}), era="2026-07-28")
    call = run.attempt("paint", PAY)
    call.accept()
    needs_input(call)
    # A client that keeps all the answers that it has given so far.
    call.next_round(one={"action": "accept"}, **YES)
    assert run.ran[-1]["inputResponses"] == {"one": {"action": "accept"}}


def test_a_call_that_was_approved_is_asked_about_again_after_ten_rounds() -> None:
    run = Run(painting(5, {"action": "require_approval"}), era="2026-07-28")
    call = run.attempt("paint", PAY)
    call.accept()
    for _ in range(10):
        needs_input(call)
        call.next_round(one={})
        assert call.outcome == "ran"
    needs_input(call)
    call.next_round(one={})
    assert (call.outcome, run.charged) == ("asked", 1)


@pytest.mark.parametrize(("method", "params"), [("resources/read", {"uri": "x:1"}), ("prompts/get", {"name": "p"})])
def test_what_is_no_tool_has_rounds_too(method: str, params: Json) -> None:
    limit = {"limits": [{"window": "minute", "max": 1}]}
    run = Run({"resources": {"*": limit}, "prompts": {"*": limit}}, era="2026-07-28")
    call = run.attempt_of(method, **params)
    needs_input(call)
    call.next_round(one={"action": "accept"})
    assert (call.outcome, run.charged) == ("ran", 1)
    assert run.server_got[-1]["params"]["requestState"] == "s"


# What else can be asked about


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/read", {"uri": "x:1"}),
        ("resources/subscribe", {"uri": "x:1"}),
        ("prompts/get", {"name": "x:1", "arguments": {"a": "b"}}),
    ],
)
def test_resources_and_prompts_are_asked_about(era: Era, method: str, params: Json) -> None:
    needs = {"*": {"action": "require_approval"}}
    run = Run({"resources": needs, "prompts": needs}, era=era)
    call = run.attempt_of(method, **params)
    assert (call.outcome, run.server_got) == ("asked", [])
    assert f'{method.partition("s/")[0]} "x:1"\n' in call.form["message"]
    assert ("arguments" in call.form["message"]) == ("arguments" in params)
    call.accept()
    assert call.outcome == "ran"
    assert run.server_got[0]["method"] == method
    other = run.attempt_of(method, **params)
    other.accept("deny")
    assert other.outcome == "approval_denied"
    assert len(run.server_got) == 1


def test_an_approval_of_a_prompt_is_for_its_arguments(era: Era) -> None:
    run = Run({"prompts": {"*": {"action": "require_approval"}}}, era=era)
    first = run.attempt_of("prompts/get", name="p", arguments={"topic": "milk"})
    assert '"topic": "milk"' in first.form["message"]
    first.accept()
    assert first.outcome == "ran"
    other = run.attempt_of("prompts/get", name="p", arguments={"topic": "rm -rf"})
    assert other.outcome == "asked"
    assert len(run.server_got) == 1


@pytest.mark.parametrize("ref", [{"type": "ref/prompt", "name": "x"}, {"type": "ref/resource", "uri": "x:1"}])
def test_nobody_is_asked_about_a_completion(era: Era, ref: Json) -> None:
    needs = {"*": {"action": "require_approval"}}
    run = Run({"resources": needs, "prompts": needs}, era=era)
    call = run.attempt_of("completion/complete", ref=ref, argument={"name": "a", "value": "b"})
    assert (call.outcome, run.server_got, run.statuses) == ("approval_required", [], [])
    assert call.text.startswith(f"mcpguard: {'x' if 'name' in ref else 'x:1'} needs approval: ")


def test_a_call_that_was_to_be_a_task_is_asked_about_and_a_refusal_is_an_error() -> None:
    run = Run(asking())
    call = run.attempt_of("tools/call", name="pay", arguments=PAY, task={"ttl": 1})
    assert call.outcome == "asked"
    call.accept("deny")
    assert call.outcome == "approval_denied"
    assert call.answer is not None
    assert call.answer["error"]["code"] == -32602


# What reaches whom


def test_the_client_s_answer_to_the_guard_s_question_reaches_no_server(era: Era) -> None:
    for choice in ("allow once", "deny"):
        run = Run(asking(), era=era)
        call = run.attempt("pay", PAY)
        call.accept(choice)
        text = json.dumps(run.server_got)
        assert choice not in text
        assert "mcpguard" not in text
        assert "inputResponses" not in text
        assert "requestState" not in text


@pytest.mark.parametrize("id_", ["mcpguard-" + "0" * 32, "mcpguard-", 0])
def test_an_answer_to_what_the_guard_did_not_ask_is_dropped(era: Era, id_: object) -> None:
    run = Run(asking(), era=era)
    call = run.attempt("pay", PAY)
    run.wait(1)
    run.client(result(id_, action="accept", content={"decision": "allow once"}))
    assert (run.server_got, call.outcome) == ([], "asked")
    assert run.records[-1]["event"] == "unmatched_answer"


def test_a_dialog_s_id_has_128_random_bits() -> None:
    run = Run(asking())
    for number in range(10):
        run.attempt("pay", {"n": number})
    ids = {said["id"] for said in run.open_dialogs()}
    assert len(ids) == 10
    assert all(len(id_) == len("mcpguard-") + 32 for id_ in ids)
    assert all(set(id_.removeprefix("mcpguard-")) <= set("0123456789abcdef") for id_ in ids)


def test_a_server_that_asks_under_id_0_hears_its_own_answer_and_not_the_guard_s() -> None:
    run = Run(asking())
    call = run.attempt("pay", PAY)
    call.accept()
    run.server(request(0, ELICITATION, **COLOUR["params"]))
    assert run.client_got[-1]["id"] == 0
    other = run.attempt("send", PAY)
    run.client(result(0, action="accept", content={"name": "red"}))
    assert run.server_got[-1] == result(0, action="accept", content={"name": "red"})
    assert other.outcome == "asked"


def test_a_server_can_neither_cancel_the_guard_s_question_nor_answer_for_what_waits() -> None:
    run = Run(asking())
    call = run.attempt("pay", PAY)
    (dialog,) = run.open_dialogs()
    run.server(notice("notifications/cancelled", requestId=dialog["id"]))
    run.server(result(call.id, content=[]))
    assert (call.outcome, len(run.client_got)) == ("asked", 1)


# The log


def test_the_log_tells_of_every_question_and_of_no_argument(era: Era) -> None:
    run = Run(asking(), era=era)
    call = run.attempt("pay", {"secret-key": "secret-value", "n": 424242})
    id_ = run.the_id()
    call.accept(after_s=3)
    asked, granted, decided = run.records
    assert asked == {
        "time": asked["time"],
        "kind": "approval",
        "approval_id": id_,
        "request_id": asked["request_id"],
        "method": "tools/call",
        "tool": "pay",
        "subject": "pay",
        "rules": ["/tools/pay/action"],
        "status": "asked",
        "by": "client",
        "waited_ms": 0,
        "server": asked["server"],
        "client": None,
    }
    assert (granted["status"], granted["by"], granted["waited_ms"]) == ("granted", "client", 3000)
    assert (decided["kind"], decided["effect"], decided["approval"]["id"]) == ("decision", "allow", id_)
    for word in (b"secret-key", b"secret-value", b"424242", b"allow once"):
        assert word not in run.log_text


@pytest.mark.parametrize("elicitation", [(), None])
def test_a_run_without_a_log_asks_and_answers_all_the_same(era: Era, elicitation: object) -> None:
    run = Run(asking(), era=era, elicitation=elicitation)
    run.enforcer.records = None
    first, second = run.attempt("pay", PAY), run.attempt("pay", {})
    if elicitation is None:
        run.approve(run.waiting_ids[0])
        run.deny(run.the_id())
    else:
        first.accept()
        second.accept("deny")
    assert (first.outcome, second.outcome, len(run.ran)) == ("ran", "approval_denied", 1)
    third = run.attempt_of("tools/call", name="read", requestState="forged")
    assert (third.outcome, run.complaints, run.records) == ("ran", [], [])


def test_of_several_rules_the_first_is_named_to_the_agent_and_each_in_the_log(era: Era) -> None:
    large = {"conditions": [{"path": "args.amount", "op": "gt", "value": 5}], "reason": "large"}
    abroad = {"conditions": [{"path": "args.to", "op": "eq", "value": "bob"}], "reason": "abroad"}
    both = ["/tools/pay/approve_if/0", "/tools/pay/approve_if/1"]
    for way in ("denied", "nobody"):
        run = Run(asking({"pay": {"approve_if": [large, abroad]}}), era=era, elicitation=None, terminal=way == "denied")
        call = run.attempt("pay", PAY)
        if way == "denied":
            run.deny(run.the_id())
        (decided,) = run.decisions
        assert (decided["effect"], decided["reasons"]) == ("deny", both)
        assert call.answer is not None
        assert call.answer["result"]["_meta"]["mcpguard/decision"]["rule"] == both[0]
        assert ("large" in call.text, "abroad" in call.text) == (way == "nobody", False)


def test_an_id_of_any_length_stays_short_in_the_log(era: Era) -> None:
    run = Run(asking(), era=era)
    run.attempt("pay", PAY, id_="x" * 100_000)
    assert len(run.log_text) < 2000


def test_a_refusal_after_a_question_is_logged_with_its_code_and_rule(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    run.attempt("pay", PAY)
    run.wait(45)
    (decided,) = run.decisions
    assert (decided["effect"], decided["code"], decided["reasons"]) == (
        "deny",
        "approval_expired",
        ["/tools/pay/action"],
    )
    assert "approval" not in decided
    assert run.statuses == ["asked (terminal)", "expired (terminal)"]


# When something breaks


def test_a_call_whose_question_cannot_be_announced_is_refused_once(era: Era) -> None:
    run = Run(asking(), era=era, elicitation=None)
    run.announcing_fails = True
    call = run.attempt("pay", PAY)
    assert call.outcome == "internal"
    run.wait(3600)
    assert run.ran == []


def test_counters_that_break_after_the_yes_refuse_the_call_once(era: Era, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(asking({"pay": limited(5)}), era=era)
    call = run.attempt("pay", PAY)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(run.counters.__class__, "charge", broken)
    call.accept()
    assert (call.outcome, run.ran) == ("internal", [])
    run.wait(3600)
    assert run.ran == []


def test_where_there_is_nobody_to_keep_questions_whatever_needs_a_person_is_refused() -> None:
    session, journal = Session(now_ns=0), Journal()
    alone = Enforcer(
        policy_of(asking()),
        MemoryCounters(),
        clock=lambda: 1,
        wall_clock=lambda: 1,
        session_id="s",
        parties=session,
    )
    session.open(alone)
    (consult,) = session.receive(CLIENT, encode(call_of(1, "pay")), 1)
    assert isinstance(consult, Consult)
    verdict = alone.consult(consult, journal)
    assert isinstance(verdict, Verdict)
    assert (verdict.admitted, verdict.code) == (False, "approval_required")
    assert "error" in alone.approve("abcdefgh", journal, whole_tool=False)[0]
    assert "error" in alone.deny("abcdefgh", "", journal)[0]
    assert (alone.pending(), alone.deadline_ns, alone.tick(journal)) == ([], None, [])
    assert alone.abandon(consult.ticket, journal) == alone.replace(policy_of(asking()), journal) == []
    assert alone.replied(Replied(consult.ticket, {"action": "accept"}), journal) == []


# Whatever happens in whatever order

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("call", "call", "accept", "accept", "approve", "approve"),
                *("decline", "early", "nothing", "cancel", "deny", "replay", "short", "long", "reload", "list"),
            )
        ),
        st.integers(0, 7),
        st.integers(0, 1),
    ),
    min_size=15,
    max_size=40,
)


@pytest.mark.parametrize("elicitation", [(), None])
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, drift=st.sampled_from(("refuse", "allow")))
def test_whatever_happens_each_run_has_a_yes_of_its_own_to_just_these_arguments(
    era: Era, elicitation: object, steps: list[tuple[str, int, int]], drift: str
) -> None:
    policy = asking({"pay": limited(3)}, policy={"drift": drift}, timeout="20s", ttl="60s")
    run = Run(policy, era=era, elicitation=elicitation)
    calls: list[Attempt] = []
    states: list[str] = []
    asked: dict[str, str] = {}
    definitions = 0
    for step, which, value in steps:
        call = calls[which % len(calls)] if calls else None
        ids = run.waiting_ids
        match step:
            case "call":
                calls.append(run.attempt("pay", {"n": value}, token="t" if which == 0 else None))
            case "accept" | "decline" | "early" | "nothing" if call is not None and call.outcome == "asked":
                run.wait(0.1 if step == "early" else 1)
                if call.outcome == "asked":
                    if era != "handshake":
                        states.append(call.state)
                    yes = YES[QUESTION]
                    call.reply(None if step == "nothing" else {"action": "decline"} if step == "decline" else yes)
            case "replay" if call is not None and states:
                call.params = {"name": "pay", "arguments": {"n": value}}
                call.send(inputResponses=YES, requestState=states[which % len(states)])
            case "cancel" if call is not None and call.outcome in ("asked", "waits") and call.answer is None:
                call.cancel()
            case "approve" if ids:
                run.approve(ids[which % len(ids)])
            case "deny" if ids:
                run.deny(ids[which % len(ids)])
            case "short" | "long":
                run.wait(which + 1 if step == "short" else 10 * which)
            case "reload":
                run.reload(policy)
            case "list":
                definitions += value
                run.list_tools({"name": "pay", "description": "pays" * definitions})
        asked |= {item["id"]: item["arguments"] for item in run.enforcer.pending()}
    run.wait(3600)
    assert run.complaints == []
    allowed = [record for record in run.decisions if record["effect"] == "allow"]
    used = [record["approval"]["id"] for record in allowed]
    granted = [
        record["approval_id"]
        for record in run.records
        if record["kind"] == "approval" and record["status"] == "granted"
    ]
    assert len(set(used)) == len(used)
    assert set(used) <= set(granted)
    assert [json.loads(asked[id_]) for id_ in used] == [params["arguments"] for params in run.ran]
    answered = [said["id"] for said in run.client_got if "method" not in said]
    assert len(set(answered)) == len(answered)
    assert run.enforcer.deadline_ns is None
    replied = [said["id"] for said in run.client_said if "method" not in said]
    assert [said for said in run.open_dialogs() if said["id"] not in replied] == []
