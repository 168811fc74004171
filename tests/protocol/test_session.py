"""Holds conversations: who gets to hear what, who is asked, and who answers when something breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.policy.decision import Verdict
from mcpguard.protocol import lists, session
from mcpguard.protocol.commands import Answered, Consult, Forward, Note
from mcpguard.protocol.framing import Overlong
from mcpguard.protocol.replies import SUBSCRIPTION_KEY
from mcpguard.protocol.session import CLIENT_INFO_KEY, RESERVED_FOR, VERSION_KEY, Session
from mcpguard.protocol.wire import CLIENT, SHORT_LINE_BYTES, UPSTREAM, encode
from support.conversation import (
    HELD,
    Conversation,
    Policy,
    call,
    ended,
    error,
    failure,
    modern,
    noted,
    notice,
    refused,
    request,
    result,
    shortened,
    to_client,
    to_server,
)

if TYPE_CHECKING:
    from mcpguard.protocol.wire import Side
    from support.conversation import Happening, Json

SAMPLING, ELICITATION, ROOTS = "sampling/createMessage", "elicitation/create", "roots/list"
ALL: Json = {"sampling": {}, "elicitation": {}, "roots": {}}
KNOWN_TO_PASS = ["ping", "logging/setLevel", "tasks/get", "tasks/result", "tasks/list", "tasks/cancel", "tasks/update"]


def initialize(id_: Any = 0, **capabilities: Any) -> Json:
    return request(id_, "initialize", protocolVersion="2025-11-25", capabilities=capabilities, clientInfo={"name": "c"})


def shaken(policy: Policy | None = None, *, waiting: bool = False, **capabilities: Any) -> Conversation:
    """Give a conversation after its handshake."""
    talk = Conversation(policy, waiting=waiting)
    talk.client(initialize(**capabilities))
    talk.server(result(0, capabilities={}, serverInfo={"name": "s"}))
    return talk


def noticed(method: str, **params: Any) -> Json:
    return notice(f"notifications/{method}", **params)


def cancelled(id_: Any) -> Json:
    return noticed("cancelled", requestId=id_)


def overlong(head: bytes, tail: bytes = b'"}}\n') -> Overlong:
    return Overlong(head, tail, 99_999_999)


# Judged by method, whatever the shape and the moment


def test_an_allowed_call_is_asked_about_and_forwarded_and_its_answer_ends_it() -> None:
    talk = Conversation()
    said = call(1, "t")
    assert talk.client(said) == [to_server(said)]
    assert [(asked.kind, asked.subject, asked.arguments) for asked in talk.judged] == [("tool", "t", {})]
    assert talk.server(result(1, content=[])) == [to_client(result(1, content=[])), ended("ok")]
    assert talk.session.in_flight == 0


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (result(1, content=[], isError=True), "tool_error"),
        (result(1, content=[], isError="true"), "ok"),
        (result(1, resultType="task", taskId="t"), "task"),
        (result(1, task={"taskId": "t"}), "task"),
        (failure(1, -32000), "error"),
    ],
)
def test_how_a_call_ended_is_told(answer: Json, status: str) -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    assert talk.server(answer)[-1] == ended(status)


def test_nothing_depends_on_a_handshake_and_a_refusal_never_reaches_the_server() -> None:
    assert Conversation(Policy(denied={"t"})).client(call("first", "t")) == [to_client(refused("first"))]


def test_the_handshake_says_who_speaks() -> None:
    talk = shaken()
    assert (talk.session.client, talk.session.server) == ({"name": "c"}, {"name": "s"})
    assert talk.session.seen_requests == 1


def test_a_request_of_the_newer_revision_says_who_speaks_too() -> None:
    talk = Conversation()
    meta = {VERSION_KEY: "2026-07-28", CLIENT_INFO_KEY: {"name": "c"}}
    talk.client(request(1, "ping", _meta=meta))
    talk.client(request(2, "ping", _meta=meta | {CLIENT_INFO_KEY: {"name": "other"}}))
    assert talk.session.client == {"name": "c"}


@pytest.mark.parametrize("info", ["c", None, ["c"], True])
def test_a_client_that_introduces_itself_as_no_object_is_nobody(info: Any) -> None:
    talk = Conversation()
    talk.client(request(1, "ping", _meta={VERSION_KEY: "2026-07-28", CLIENT_INFO_KEY: info}))
    assert talk.session.client is None
    talk.client(request(2, "initialize", clientInfo=info))
    assert talk.session.client is None


@pytest.mark.parametrize("meta", [None, 1, [VERSION_KEY], {}, {"progressToken": 1}])
def test_a_meta_without_a_version_belongs_to_the_older_era(meta: Any) -> None:
    talk = Conversation(Policy(denied={"no"}))
    assert talk.client(call(1, "no", _meta=meta)) == [to_client(refused(1))]


@pytest.mark.parametrize("method", KNOWN_TO_PASS)
def test_what_the_protocol_needs_passes_unasked(method: str) -> None:
    talk = Conversation(Policy(denied={method}))
    assert talk.client(request(1, method)) == [to_server(request(1, method))]
    assert talk.judged == []
    assert talk.server(result(1)) == [to_client(result(1))]


@pytest.mark.parametrize(
    ("said", "kind", "subject"),
    [
        (call(1, "x"), "tool", "x"),
        (request(1, "resources/read", uri="x"), "resource", "x"),
        (request(1, "resources/subscribe", uri="x"), "resource", "x"),
        (request(1, "resources/unsubscribe", uri="x"), "resource", "x"),
        (request(1, "prompts/get", name="x"), "prompt", "x"),
        (request(1, "completion/complete", ref={"type": "ref/prompt", "name": "x"}), "prompt", "x"),
        (request(1, "completion/complete", ref={"type": "ref/resource", "uri": "x"}), "resource", "x"),
    ],
)
def test_governed_requests_are_judged_by_what_they_name(said: Json, kind: str, subject: str) -> None:
    talk = Conversation()
    assert talk.client(said) == [to_server(said)]
    assert [(asked.kind, asked.subject) for asked in talk.judged] == [(kind, subject)]
    (kept_back,) = Conversation(Policy(denied={"x"})).client(said)
    assert kept_back == to_client(refused(1) if kind == "tool" else error(1, -32602))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(request(1, "tools/call"), id="no name"),
        pytest.param(request(1, "tools/call", name=7), id="the name is a number"),
        pytest.param(request(1, "tools/call", name=None), id="the name is null"),
        pytest.param(request(1, "tools/call", name="t", arguments=[]), id="the arguments are a list"),
        pytest.param(request(1, "tools/call", name="t", arguments="{}"), id="the arguments are a string"),
        pytest.param(request(1, "tools/list", cursor=1), id="the cursor is a number"),
        pytest.param(request(1, "resources/read"), id="no URI"),
        pytest.param(request(1, "resources/subscribe", uri=["x"]), id="the URI is a list"),
        pytest.param(request(1, "prompts/get", name={}), id="the prompt is an object"),
        pytest.param(request(1, "prompts/get", name="x", arguments=[]), id="the arguments of a prompt are a list"),
        pytest.param(request(1, "completion/complete"), id="no reference"),
        pytest.param(request(1, "completion/complete", ref={"type": "ref/prompt"}), id="nothing referred to"),
        pytest.param(
            request(1, "completion/complete", ref={"type": "ref/prompt", "name": "p", "uri": "u"}), id="two references"
        ),
        pytest.param(
            request(1, "completion/complete", ref={"type": "ref/prompt", "name": "p", "NAME": "q"}),
            id="a reference in another case",
        ),
        pytest.param(request(1, "subscriptions/listen", notifications=[]), id="the filter is a list"),
        pytest.param(
            request(1, "subscriptions/listen", notifications={"resourceSubscriptions": ["a", 1]}), id="no URIs"
        ),
        pytest.param(
            request(1, "subscriptions/listen", notifications={"ResourceSubscriptions": ["a"]}), id="the filter's case"
        ),
    ],
)
def test_a_governed_request_that_does_not_say_what_it_is_about_is_refused(said: Json) -> None:
    talk = Conversation()
    assert talk.client(said) == [noted("malformed"), to_client(error(1, -32602))]
    assert talk.client(call(1, "t")) == [to_server(call(1, "t"))]


def test_arguments_that_are_null_are_none() -> None:
    talk = Conversation()
    talk.client(request(1, "tools/call", name="t", arguments=None))
    assert talk.judged[0].arguments == {}


@pytest.mark.parametrize(
    "method",
    [
        *("tools/call", "tools/list", "resources/read", "prompts/get", "completion/complete", "subscriptions/listen"),
        *("initialize", "server/discover", "ping", "tasks/cancel", SAMPLING),
    ],
)
def test_a_request_without_an_id_is_dropped_and_recorded(method: str) -> None:
    policy = Policy(methods={method})
    assert Conversation(policy).client(notice(method, name="t")) == [noted("dropped_notification")]


@pytest.mark.parametrize("method", ["initialized", "progress", "roots/list_changed", "tasks/status"])
def test_known_notifications_of_a_client_pass(method: str) -> None:
    assert Conversation().client(noticed(method)) == [to_server(noticed(method))]


@pytest.mark.parametrize("method", ["skills/list", "notifications/skills", "notifications/message", "x"])
def test_what_the_protocol_does_not_know_follows_the_policy(method: str) -> None:
    open_, closed = Policy(methods={method}), Policy()
    assert Conversation(open_).client(notice(method)) == [to_server(notice(method))]
    assert Conversation(closed).client(notice(method)) == [noted("dropped_notification")]
    if not method.endswith("message"):
        assert Conversation(open_).client(request(1, method)) == [to_server(request(1, method))]
        assert Conversation(closed).client(request(1, method)) == [to_client(error(1, -32601))]


@pytest.mark.parametrize(
    "method",
    [
        *("tools/Call", " tools/call", "tools/call\u200b", "tools\uff0fcall", "tool\u017f/call", "resources/\u1d63ead"),
        *("NOTIFICATIONS/cancelled", "tools/call\u1680", "Initialize"),
    ],
)
def test_a_method_in_another_spelling_is_refused_even_where_everything_is_allowed(method: str) -> None:
    policy = Policy(methods={method})
    talk = Conversation(policy)
    assert talk.client(request(1, method)) == [to_client(error(1, -32601))]
    assert talk.judged[0].fault is not None
    assert talk.judged[0].fault[0] == "malformed"
    assert talk.client(notice(method)) == [noted("dropped_notification")]
    assert talk.server(notice(method)) == [noted("dropped_notification")]


@pytest.mark.parametrize("method", ["notifications/cancelled", "notifications/initialized", "notifications/message"])
def test_a_notification_with_an_id_is_refused_even_where_everything_is_allowed(method: str) -> None:
    talk = Conversation(Policy(methods={method}))
    assert talk.client(request(1, method, requestId=5)) == [to_client(error(1, -32601))]
    assert talk.judged[0].fault == ("malformed", "a notification has no id")


def test_a_subscription_passes_without_the_resources_that_are_refused() -> None:
    talk = Conversation(Policy(denied={"secret:"}))
    said = request(
        1, "subscriptions/listen", notifications={"resourceSubscriptions": ["a:", "secret:", "b:"], "x": 1.0}
    )
    left = request(1, "subscriptions/listen", notifications={"resourceSubscriptions": ["a:", "b:"], "x": 1.0})
    assert talk.client(said) == [to_server(left), noted("subscriptions_cut")]
    assert talk.client(request(2, "subscriptions/listen")) == [to_server(request(2, "subscriptions/listen"))]


# Before the policy is there


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        (initialize(), True),
        (request(1, "server/discover"), True),
        (request(1, "ping"), True),
        (noticed("initialized"), True),
        (cancelled(1), None),
        (call(1, "t"), False),
        (request(1, "tools/list"), False),
        (request(1, "unknown"), False),
        (notice("unknown"), False),
    ],
)
def test_before_the_policy_only_what_it_does_not_govern_passes(said: Json, passes: bool | None) -> None:
    talk = Conversation(held=True)
    assert talk.client(said) == ([to_server(said)] if passes else [HELD] if passes is False else [])
    talk.session.open(talk.policy)
    assert HELD not in talk.client(said)


def test_what_a_server_asks_before_the_policy_waits_for_it_but_a_ping_and_a_message_do_not() -> None:
    talk = Conversation(held=True)
    assert talk.server(request(0, "ping")) == [to_client(request(0, "ping"))]
    assert talk.server(noticed("message")) == [to_client(noticed("message"))]
    for said in (
        request(1, ROOTS),
        noticed("tools/list_changed"),
        noticed("resources/updated", uri="a:"),
        cancelled(0),
    ):
        assert talk.server(said) == [HELD]


def test_answers_do_not_wait_for_the_policy_unless_they_ask_for_something() -> None:
    talk = Conversation(held=True)
    for method in ("initialize", "ping", "tasks/get"):
        talk.client(request(1, method))
        assert talk.server(result(1, capabilities={}))[-1] == to_client(result(1, capabilities={}))
    talk.client(request(1, "tasks/get"))
    assert talk.server(result(1, inputRequests={})) == [HELD]


def test_a_call_that_was_held_is_judged_once_the_policy_is_there() -> None:
    talk = Conversation(Policy(denied={"t"}), held=True)
    assert talk.client(call(1, "t")) == [HELD]
    talk.session.open(talk.policy)
    assert talk.client(call(1, "t")) == [to_client(refused(1))]
    assert talk.session.seen_requests == 1


def test_if_the_end_comes_before_the_policy_nobody_is_held() -> None:
    talk = Conversation(held=True)
    assert talk.client(call(1, "t")) == [HELD]
    talk.ends()
    assert talk.client(call(1, "t")) == [to_client(error(1, -32603))]
    assert talk.client(notice("unknown")) == []


# Ids


@pytest.mark.parametrize("again", [call(1, "t"), call(1, "denied"), request(1, "ping"), request(1, "unknown")])
def test_a_request_whose_id_is_in_flight_is_dropped_and_not_answered(again: Json) -> None:
    talk = Conversation(Policy(denied={"denied"}))
    talk.client(call(1, "t"))
    assert talk.client(again) == [noted("duplicate_id")]
    assert talk.server(result(1)) == [to_client(result(1)), ended("ok")]
    assert noted("duplicate_id") not in talk.client(again)


def test_ids_are_told_apart_by_type_and_value() -> None:
    talk = Conversation()
    for id_ in (1, "1", -1, "", 0, 2**53, 2**53 + 1):
        assert talk.client(call(id_, "t")) == [to_server(call(id_, "t"))]
    for wrong in ("0", "-1", 2, str(2**53)):
        assert talk.server(result(wrong)) == [noted("unmatched_answer")]
    for id_ in (2**53 + 1, "1", 0, 1, "", -1, 2**53):
        assert talk.server(result(id_, n=id_)) == [to_client(result(id_, n=id_)), ended("ok")]


@pytest.mark.parametrize("id_", ["true", "1.0", "1e0", "null", "[1]"])
def test_an_answer_whose_id_is_no_id_is_dropped(id_: str) -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    assert talk.server(b'{"jsonrpc":"2.0","id":' + id_.encode() + b',"result":{}}\n') == [noted("malformed")]


def test_an_answer_comes_once_and_only_to_what_was_asked() -> None:
    talk = Conversation()
    assert talk.server(result(1, tools=[{"name": "hidden"}])) == [noted("unmatched_answer")]
    talk.client(call(1, "t"))
    assert len(talk.server(result(1))) == 2
    assert talk.server(result(1)) == [noted("unmatched_answer")]


def test_an_answer_to_what_is_still_being_judged_is_dropped() -> None:
    talk = Conversation(waiting=True)
    talk.client(call(1, "t"))
    assert talk.server(result(1)) == [noted("unmatched_answer")]
    assert talk.decide() == [to_server(call(1, "t"))]
    assert talk.server(result(1)) == [to_client(result(1)), ended("ok")]


def test_a_cancelled_request_keeps_its_id_until_its_late_answer_which_is_dropped() -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    assert talk.client(cancelled(1)) == [to_server(cancelled(1)), ended("cancelled")]
    assert talk.client(cancelled(1)) == []
    assert talk.client(call(1, "t")) == [noted("duplicate_id")]
    assert talk.server(result(1)) == [noted("unmatched_answer")]
    assert talk.client(call(1, "t")) == [to_server(call(1, "t"))]


def test_a_cancelled_request_keeps_its_id_for_10_000_later_requests() -> None:
    talk = Conversation()
    talk.client(call("c", "t"))
    talk.client(cancelled("c"))
    for id_ in range(RESERVED_FOR):
        assert talk.client(request("c", "ping")) == [noted("duplicate_id")]
        talk.client(request(id_, "ping"))
        talk.server(result(id_))
    assert talk.client(request("c", "ping")) == [to_server(request("c", "ping"))]
    assert not talk.session._reserved
    assert talk.server(result("c")) == [to_client(result("c"))]


@pytest.mark.parametrize("probe", [False, True])
def test_an_id_is_reserved_from_when_its_answer_is_late_and_not_from_when_it_was_asked(
    monkeypatch: pytest.MonkeyPatch, probe: bool
) -> None:
    monkeypatch.setattr(session, "RESERVED_FOR", 3)
    talk = Conversation()
    said = request("c", "server/discover") if probe else call("c", "t")
    talk.client(said)
    for id_ in range(5):
        talk.client(request(id_, "ping"))
    if probe:
        assert talk.after(10)[-1] == noted("silent_server")
    else:
        talk.client(cancelled("c"))
    for id_ in range(5, 8):
        assert talk.client(request("c", "ping")) == [noted("duplicate_id")]
        talk.client(request(id_, "ping"))
        # Those that come after it keep no id from being free.
        talk.client(cancelled(id_))
    assert talk.client(request("c", "ping")) == [to_server(request("c", "ping"))]


def test_the_end_of_a_reservation_spares_a_newer_request_of_that_id() -> None:
    talk = Conversation()
    talk.client(call("c", "t"))
    talk.client(cancelled("c"))
    talk.server(result("c"))
    talk.client(request("c", "ping"))
    for id_ in range(RESERVED_FOR):
        talk.client(request(id_, "unknown"))
    assert talk.server(result("c")) == [to_client(result("c"))]


@pytest.mark.parametrize("id_", [2, "1", True, 1.0, None, [1], {}])
def test_a_cancellation_of_nothing_in_flight_is_ignored(id_: Any) -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    assert talk.client(cancelled(id_)) == []
    assert talk.client(noticed("cancelled")) == []


def test_a_late_cancellation_is_ignored() -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    talk.server(result(1))
    assert talk.client(cancelled(1)) == []


def test_what_is_cancelled_while_it_is_judged_never_runs() -> None:
    talk = Conversation(waiting=True)
    talk.client(call(1, "t"))
    assert talk.client(cancelled(1)) == [("abandoned", 1)]
    assert talk.client(call(1, "t")) == []
    assert talk.decide() == [ended("cancelled")]
    assert talk.decide() == [to_server(call(1, "t"))]
    talk.client(call(2, "t"))
    talk.client(cancelled(2))
    assert talk.decide(Verdict(admitted=False)) == []


def test_what_was_admitted_can_be_taken_back_once() -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    ticket = talk.ticket()
    assert talk.told(talk.session.take_back(ticket, Verdict(admitted=False, code="internal"))) == [
        to_client(refused(1, "internal"))
    ]
    assert talk.session.take_back(ticket, Verdict(admitted=False)) == []
    assert talk.server(result(1)) == [noted("unmatched_answer")]


def test_what_a_server_asked_can_be_taken_back_too_under_an_id_that_its_client_uses() -> None:
    talk = shaken(roots={})
    talk.client(call(7, "t"))
    talk.server(request(7, ROOTS))
    commands = talk.session.take_back(talk.ticket(), Verdict(admitted=False))
    assert talk.told(commands) == [to_server(error(7, -32601))]
    assert talk.client(result(7)) == [noted("unmatched_answer")]
    assert talk.server(result(7)) == [to_client(result(7)), ended("ok")]


def test_a_second_verdict_changes_nothing() -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    assert talk.told(talk.session.resolve(talk.ticket(), Verdict(admitted=True))) == []
    assert talk.told(talk.session.resolve(talk.ticket(), Verdict(admitted=False))) == []


# Refused lines of a client


@pytest.mark.parametrize(
    ("line", "happens"),
    [
        pytest.param(b'{"jsonrpc":"1.0","id":5,"method":"m"}', to_client(error(5, -32600)), id="wrong version"),
        pytest.param(b'{"jsonrpc":"2.0","id":5,"method":"m","NAME":NaN}', to_client(error(5, -32700)), id="no JSON"),
        pytest.param(
            b'{"jsonrpc":"2.0","method":"m","params":{"a":1,"a":2},"id":5}',
            to_client(error(5, -32700)),
            id="id at the end",
        ),
        pytest.param(
            b'{"jsonrpc":"2.0","id":5,"method":"m","result":{}}', to_client(error(5, -32600)), id="two shapes"
        ),
        pytest.param(b'{"jsonrpc":"2.0","id":5}', to_client(error(5, -32600)), id="no shape"),
        pytest.param(b'{"id":5}', to_client(error(5, -32600)), id="nothing but an id"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"m","x":NaN}', None, id="its id is in flight"),
        pytest.param(b'{"jsonrpc":"2.0","id":true,"method":"m"}', None, id="no valid id"),
        pytest.param(b'{"jsonrpc":"2.0","method":"m","params":[5]}', None, id="a notification"),
        pytest.param(b'{"jsonrpc":"2.0","method":"m","params":{"x":NaN,"id":5}}', None, id="an id inside"),
        pytest.param(b'{"jsonrpc":"2.0","id":5,"result":[]}', None, id="an answer to nothing"),
    ],
)
def test_a_refused_line_of_a_client_gets_one_error_where_it_shows_an_id(line: bytes, happens: Happening | None) -> None:
    talk = Conversation()
    talk.client(request(1, "ping"))
    assert talk.client(line + b"\n") == [noted("malformed"), *([happens] if happens else [])]
    assert talk.server(result(1)) == [to_client(result(1))]


@pytest.mark.parametrize("line", [b"hello\n", b'[{"jsonrpc":"2.0","id":5,"method":"ping"}]\n', b"\xff\xfe\n", b"5\n"])
def test_what_is_no_object_is_noise(line: bytes) -> None:
    talk = Conversation()
    talk.client(request(5, "ping"))
    assert talk.client(line) == [noted("noise")]
    assert talk.server(line) == [noted("noise")]


def test_an_overlong_line_of_a_client_gets_one_error_where_it_shows_an_id() -> None:
    talk = Conversation()
    assert talk.client(overlong(b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"a":"')) == [
        noted("overlong"),
        to_client(error(5, -32600)),
    ]
    assert talk.client(overlong(b'{"a":"', b'","id":6}\n')) == [noted("overlong"), to_client(error(6, -32600))]
    assert talk.client(overlong(b'{"a":"')) == [noted("overlong")]
    assert talk.client(overlong(b'[{"id":5')) == [noted("overlong")]


def test_a_broken_answer_of_a_client_is_answered_for_it_once() -> None:
    talk = shaken(roots={})
    talk.server(request(7, ROOTS))
    assert talk.client(b'{"jsonrpc":"2.0","id":7,"result":{"roots":NaN,"method":1}}\n') == [
        noted("malformed"),
        to_server(error(7, -32603)),
        ended("error"),
    ]
    assert talk.client(result(7)) == [noted("unmatched_answer")]
    talk.server(request(8, "ping"))
    assert talk.client(overlong(b'{"jsonrpc":"2.0","id":8,"result":{"x":"')) == [
        noted("overlong"),
        to_server(error(8, -32603)),
    ]
    assert talk.client(overlong(b'{"jsonrpc":"2.0","id":8,"result":{"x":"')) == [noted("overlong")]


def test_an_answer_of_a_client_to_what_it_has_not_been_asked_yet_is_dropped() -> None:
    talk = shaken(waiting=True, roots={})
    talk.server(request(7, ROOTS))
    assert talk.client(b'{"jsonrpc":"2.0","id":7,"result":[]}\n') == [noted("malformed")]
    assert talk.client(result(7, roots=[])) == [noted("unmatched_answer")]
    assert talk.decide() == [to_client(request(7, ROOTS))]


# Refused lines of a server


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"jsonrpc":"2.0","id":1,"result":{"x":NaN}}\n', id="no JSON"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"result":[{"method":"m"}]}\n', id="a list that holds a method"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"result":{"a":{"method":1},"a":2}}\n', id="twice, with a method inside"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"Result":{}}\n', id="in another case"),
        pytest.param(b'{"jsonrpc":"2.0","id":1}\n', id="nothing in it"),
        pytest.param(b'{"id":1,"result":{}}\n', id="no version"),
        pytest.param(b'{"jsonrpc":"2.0","a b":[],"id":1,"result":null}\n', id="an id in the middle"),
        pytest.param(b'{"jsonrpc":"2.0","result":{"a":"\xff"},"id":1}\n', id="no UTF-8, id at the end"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"result":' + b'{"a":' * 300 + b"1" + b"}" * 301 + b"\n", id="too deep"),
        pytest.param(overlong(b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"method":"x'), id="too long"),
        pytest.param(overlong(b'{"jsonrpc":"2.0","result":{"x":"', b'x"},"id":1}\n'), id="too long, id at the end"),
        pytest.param(overlong(b'{"id":1,"x":"'), id="too long and of no shape"),
    ],
)
def test_a_refused_answer_is_answered_once_in_the_servers_place(line: bytes | Overlong) -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    talk.client(call(2, "t"))
    kind = "overlong" if isinstance(line, Overlong) else "malformed"
    assert talk.server(line) == [noted(kind), to_client(error(1, -32603)), ended("error")]
    assert talk.server(result(1)) == [noted("unmatched_answer")]
    assert talk.server(result(2)) == [to_client(result(2)), ended("ok")]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"ping","x":NaN}\n', id="a broken request of its own"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}\n', id="a request that is none"),
        pytest.param(b'{"id":1,"level":"info","text":"started"}\n', id="a log line"),
        pytest.param(b'{"jsonrpc":"2.0","id":"1","result":[]}\n', id="another id"),
        pytest.param(b'{"jsonrpc":"2.0","id":3,"result":[]}\n', id="the id of what is being judged"),
        pytest.param(b'{"jsonrpc":"2.0","result":{"x":NaN}}\n', id="no id"),
    ],
)
def test_a_refused_line_that_answers_nobody_is_dropped(line: bytes) -> None:
    talk = Conversation(waiting=True)
    talk.client(request(1, "ping"))
    talk.client(call(3, "t"))
    assert talk.server(line) == [noted("malformed")]
    assert talk.server(result(1)) == [to_client(result(1))]
    assert talk.decide() == [to_server(call(3, "t"))]


@pytest.mark.parametrize(
    "late",
    [b'{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}\n', overlong(b'{"jsonrpc":"2.0","id":1,"result":{"x":"')],
)
def test_a_late_answer_that_is_broken_frees_its_id_too(late: bytes | Overlong) -> None:
    talk = shaken(roots={})
    talk.client(request(1, "ping"))
    talk.client(cancelled(1))
    talk.server(request(1, ROOTS))
    assert len(talk.server(late)) == 1
    assert talk.client(result(1)) == [to_server(result(1)), ended("ok")]
    assert talk.client(request(1, "ping")) == [to_server(request(1, "ping"))]
    assert not talk.session.ended


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(overlong(b'{"jsonrpc":"2.0","result":{"x":"'), id="an answer without id"),
        pytest.param(overlong(b'{"jsonrpc":"2.0","id":9,"result":{"x":"'), id="an unknown id"),
        pytest.param(overlong(b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":"'), id="a request of its own"),
        pytest.param(overlong(b'{"jsonrpc":"2.0","id":3,"result":{"x":"'), id="the id of what is being judged"),
        pytest.param(overlong(b"noise"), id="noise"),
        pytest.param(overlong(b'DEBUG sent {"x":"', b'","id":1}\n'), id="a log line that holds an object"),
    ],
)
def test_an_overlong_line_that_shows_no_id_in_flight_ends_the_session(line: Overlong) -> None:
    talk = Conversation(waiting=True)
    talk.client(request(1, "ping"))
    talk.client(call(3, "t"))
    errors = [to_client(error(1, -32603)), to_client(error(3, -32603))]
    assert talk.server(line) == [noted("overlong"), *errors, ("abandoned", 3)]
    assert talk.session.ended
    assert talk.decide() == [ended("cancelled")]
    assert talk.server(result(1)) == []


# Answers are read as the method they answer


LIST_MEMBERS = [
    "tools",
    "Tools",
    "TOOLS",
    "resources",
    "resourceTemplates",
    "RESOURCETEMPLATES",
    "prompts",
    "prompt\u017f",
]


@pytest.mark.parametrize("member", LIST_MEMBERS)
@pytest.mark.parametrize("method", ["ping", "resources/read", "prompts/get", "unknown", "completion/complete"])
def test_a_list_in_an_answer_that_is_no_list_is_removed(method: str, member: str) -> None:
    talk = Conversation(Policy(methods={"unknown"}))
    talk.client(request(1, method, uri="u:", name="n", ref={"type": "ref/prompt", "name": "n"}))
    answer = result(1, a=1, **{member: [{"name": "hidden"}]}, _meta={"tools": 1})
    happened = talk.server(answer)
    assert happened[:2] == [noted("removed_member"), to_client(result(1, a=1, _meta={"tools": 1}))]


def test_a_tools_result_may_hold_anything() -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    answer = result(1, content=[], tools=[1], PROMPTS={}, structuredContent={"resources": []})
    assert talk.server(answer) == [to_client(answer), ended("ok")]


def test_a_large_result_passes_as_it_came() -> None:
    session = Session(now_ns=0)
    session.open(Policy())
    (asked,) = session.receive(CLIENT, encode(call(1, "t")), 0)
    assert isinstance(asked, Consult)
    session.resolve(asked.ticket, Verdict(admitted=True))
    line = b'{ "id":1, "result" : {"content":[{"text":"' + b"x1.0" * 300_000 + b'"}]},"jsonrpc":"2.0"}\n'
    forward = session.receive(UPSTREAM, line, 0)[0]
    assert isinstance(forward, Forward)
    assert forward.line is line


@pytest.mark.parametrize("kind", ["tools", "resources", "prompts"])
def test_a_changed_list_is_announced_with_its_meta_alone(kind: str) -> None:
    talk = Conversation()
    said = noticed(f"{kind}/list_changed", tools=[{"name": "hidden"}], _meta={"n": 1}) | {"tools": [1]}
    assert talk.server(said) == [to_client(noticed(f"{kind}/list_changed", _meta={"n": 1}))]


def test_other_notifications_of_a_server_pass_if_they_are_known_or_allowed() -> None:
    talk = Conversation(Policy(denied={"secret:"}, methods={"notifications/skills"}))
    passing = [noticed(name) for name in ("message", "progress", "tasks/status", "elicitation/complete", "skills")]
    for said in [*passing, noticed("subscriptions/acknowledged"), noticed("resources/updated", uri="a:")]:
        assert talk.server(said) == [to_client(said)]
    refused_ones = [noticed("initialized"), notice("tools/call"), notice("unknown"), noticed("resources/updated")]
    for said in [*refused_ones, noticed("resources/updated", uri="secret:")]:
        assert talk.server(said) == [noted("dropped_notification")]


def test_both_introductions_announce_that_lists_change_and_are_remembered() -> None:
    for asking in (initialize(1), request(1, "server/discover")):
        talk = Conversation()
        talk.client(asking)
        said = {
            "capabilities": {"tools": {}, "prompts": {"listChanged": False}, "resources": {"subscribe": True}, "x": {}}
        }
        meta = {"io.modelcontextprotocol/serverInfo": {"name": "s"}}
        told: Json = {
            "tools": {"listChanged": True},
            "prompts": {"listChanged": True},
            "resources": {"subscribe": True, "listChanged": True},
            "x": {},
        }
        assert talk.server(result(1, **said, _meta=meta)) == [
            ("silent", False),
            to_client(result(1, capabilities=told, _meta=meta)),
        ]
        assert talk.session.server == {"name": "s"}
        talk.client(request(2, "server/discover"))
        talk.server(result(2))
        assert talk.session.server == {"name": "s"}


def test_an_error_to_an_introduction_tells_nothing() -> None:
    talk = Conversation()
    talk.client(initialize(1))
    assert talk.server(failure(1)) == [to_client(error(1, -1))]


# Lists


def tools(*names: str, **members: Any) -> Json:
    return {"tools": [{"name": name, "inputSchema": {}} for name in names], **members}


def asked(talk: Conversation, id_: int, answer: Json, method: str = "tools/list", **params: Any) -> list[Happening]:
    said = request(id_, method, **params)
    assert talk.client(said) == [to_server(said)]
    return talk.server(result(id_, **answer))


def test_a_list_is_filtered_and_all_else_survives() -> None:
    talk = Conversation(Policy(denied={"b"}, hidden={"d"}))
    answer = tools("a", "b", "c", "d", nextCursor="", _meta={"x": 1}, other=[1])
    assert asked(talk, 1, answer) == [to_client(result(1, **tools("a", "c", nextCursor="", _meta={"x": 1}, other=[1])))]


@pytest.mark.parametrize(
    ("method", "member", "key"),
    [
        ("tools/list", "tools", "name"),
        ("prompts/list", "prompts", "name"),
        ("resources/list", "resources", "uri"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate"),
    ],
)
def test_every_kind_of_list_is_filtered(method: str, member: str, key: str) -> None:
    talk = Conversation(Policy(denied={"b"}))
    items = [{key: "a"}, {key: "b"}]
    assert asked(talk, 1, {member: items}, method) == [to_client(result(1, **{member: items[:1]}))]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="no list"),
        pytest.param({"tools": {}}, id="an object"),
        pytest.param({"tools": [], "Tools": [{"name": "b"}]}, id="another one in another case"),
        pytest.param({"tools": [], "NextCursor": "c"}, id="a cursor in another case"),
        pytest.param({"tools": [], "nextCursor": 1}, id="a cursor that is a number"),
        pytest.param({"tools": [{"name": "a", "NAME": "b"}]}, id="a tool with two names"),
    ],
)
def test_a_list_that_cannot_be_read_is_an_error_to_the_client(answer: Json) -> None:
    assert asked(Conversation(), 1, answer) == [noted("malformed"), to_client(error(1, -32603))]


def test_a_lone_surrogate_in_a_list_is_an_error_to_the_client() -> None:
    talk = Conversation()
    talk.client(request(1, "tools/list"))
    line = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","description":"\\ud800"}]}}\n'
    assert talk.server(line) == [noted("malformed"), to_client(error(1, -32603))]


def test_a_foreign_list_beside_a_list_is_removed() -> None:
    happened = asked(Conversation(), 1, tools("a") | {"prompts": [1]})
    assert happened == [noted("removed_member"), to_client(result(1, **tools("a")))]


def test_a_name_for_two_tools_is_left_out_across_pages_and_refused_from_then_on() -> None:
    talk = Conversation()
    asked(talk, 1, tools("a", "b", nextCursor="2"))
    second = {"tools": [{"name": "a", "inputSchema": {}, "title": "other"}, {"name": "c"}]}
    assert asked(talk, 2, second, cursor="2") == [noted("ambiguous"), to_client(result(2, tools=[{"name": "c"}]))]
    assert talk.client(call(3, "a")) == [to_client(refused(3, "malformed"))]
    assert talk.client(call(4, "b")) == [to_server(call(4, "b"))]
    assert asked(talk, 5, tools("a", "b")) == [to_client(result(5, **tools("b")))]


def test_an_ambiguous_resource_or_template_cannot_be_read_subscribed_to_or_completed() -> None:
    talk = Conversation()
    asked(talk, 1, {"resources": [{"uri": "a:", "name": "1"}, {"uri": "a:", "name": "2"}]}, "resources/list")
    listed = [{"uriTemplate": "t:{x}"}, {"uriTemplate": "t:{x}", "name": "2"}]
    asked(talk, 2, {"resourceTemplates": listed}, "resources/templates/list")
    assert talk.client(request(3, "resources/read", uri="a:")) == [to_client(error(3, -32602))]
    ref = {"type": "ref/resource", "uri": "t:{x}"}
    assert talk.client(request(4, "completion/complete", ref=ref)) == [to_client(error(4, -32602))]
    wanted = request(5, "subscriptions/listen", notifications={"resourceSubscriptions": ["a:"]})
    assert talk.client(wanted)[1] == noted("subscriptions_cut")


def test_a_page_that_is_asked_for_again_shows_the_same_again() -> None:
    talk = Conversation()
    asked(talk, 1, tools("a", nextCursor="2"))
    page = tools("b", "a", "c", "b", nextCursor="3")
    shown = tools("b", "c", nextCursor="3")
    assert asked(talk, 2, page, cursor="2") == [to_client(result(2, **shown))]
    assert asked(talk, 3, page, cursor="2") == [to_client(result(3, **shown))]
    assert asked(talk, 4, tools("b", "d"), cursor="3") == [to_client(result(4, **tools("d")))]


def test_what_was_left_out_is_for_this_client_and_not_for_long() -> None:
    talk = Conversation(Policy(denied={"b"}))
    answer = tools("a", "b", cacheScope="public", ttlMs=3_600_000)
    assert asked(talk, 1, answer) == [to_client(result(1, **tools("a", cacheScope="private", ttlMs=60_000)))]
    whole = tools("a", cacheScope="public", ttlMs=3_600_000)
    assert asked(talk, 2, whole) == [to_client(result(2, **whole))]


# What a server asks


@pytest.mark.parametrize(
    ("said", "declared", "passes"),
    [
        pytest.param(request(0, SAMPLING), ALL, True, id="sampling"),
        pytest.param(request(0, ELICITATION), ALL, True, id="a form"),
        pytest.param(request(0, ELICITATION, mode="form"), ALL, True, id="a form by its name"),
        pytest.param(request(0, ELICITATION, mode="url"), ALL, False, id="a URL, not declared"),
        pytest.param(request(0, ELICITATION, mode="url"), {"elicitation": {"url": {}}}, True, id="a URL"),
        pytest.param(request(0, ELICITATION), {"elicitation": {"url": {}}}, False, id="a form to one who takes URLs"),
        pytest.param(request(0, ELICITATION, mode="form", Mode="url"), ALL, False, id="a mode in another case"),
        pytest.param(request(0, ROOTS), ALL, True, id="roots"),
        pytest.param(request(0, ROOTS), {"roots": True}, False, id="roots that are no object"),
        pytest.param(request(0, SAMPLING), {}, False, id="sampling, not declared"),
        pytest.param(request(0, SAMPLING, tools=[]), ALL, False, id="sampling with tools, not declared"),
        pytest.param(request(0, SAMPLING, tools=[]), {"sampling": {"tools": {}}}, True, id="sampling with tools"),
        pytest.param(request(0, "tasks/get"), ALL, False, id="a task, not declared"),
        pytest.param(request(0, "tasks/get"), {"tasks": {}}, True, id="a task"),
        pytest.param(request(0, "ping"), {}, True, id="ping"),
        pytest.param(request(0, "skills/ask"), {}, True, id="unknown, and allowed"),
        pytest.param(request(0, "unknown"), ALL, False, id="unknown"),
        pytest.param(request(0, "tools/call"), ALL, False, id="what only a client asks"),
        pytest.param(request(0, "Roots/list"), ALL, False, id="in another case"),
    ],
)
def test_what_a_server_asks_needs_the_policy_and_the_clients_capability(
    said: Json, declared: Json, passes: bool
) -> None:
    allowed = {SAMPLING, ELICITATION, ROOTS, "skills/ask", "tasks/get", "tools/call", "Roots/list"}
    talk = shaken(Policy(server_requests=allowed), **declared)
    if passes:
        assert talk.server(said) == [to_client(said)]
        assert talk.client(result(0, a=1))[0] == to_server(result(0, a=1))
    else:
        assert talk.server(said) == [to_server(error(0, -32601))]
        assert talk.client(result(0)) == [noted("unmatched_answer")]
    assert talk.session._asked.entries == {}


@pytest.mark.parametrize(
    ("method", "code"), [(ROOTS, "denied"), ("tasks/get", "denied"), ("tools/call", "malformed"), ("PING", "malformed")]
)
def test_what_stands_against_a_server_s_request_is_named(method: str, code: str) -> None:
    talk = shaken()
    talk.server(request(0, method))
    (consult,) = talk.judged
    assert consult.fault is not None
    assert (consult.fault[0], "capability" in consult.fault[1]) == (code, code == "denied")


def test_what_the_policy_refuses_to_a_server_is_answered_to_it() -> None:
    talk = shaken(Policy(server_requests=set()), roots={})
    assert talk.server(request(0, ROOTS)) == [to_server(error(0, -32601))]


def test_without_declared_capabilities_nothing_is_asked() -> None:
    assert Conversation().server(request(0, ROOTS)) == [to_server(error(0, -32601))]


def test_a_client_answers_only_what_it_was_asked_by_type_and_value() -> None:
    talk = shaken(roots={})
    talk.server(request(0, ROOTS))
    talk.client(request(1, "ping"))
    for wrong in (result("0"), result(1), failure(5)):
        assert talk.client(wrong) == [noted("unmatched_answer")]
    assert talk.client(failure(0)) == [to_server(error(0, -1)), ended("error")]
    assert talk.client(result(0)) == [noted("unmatched_answer")]


def test_both_sides_may_use_the_same_ids() -> None:
    talk = shaken(roots={})
    talk.client(call(1, "t"))
    assert talk.server(request(1, ROOTS)) == [to_client(request(1, ROOTS))]
    assert talk.server(request(1, ROOTS)) == [noted("duplicate_id")]
    assert talk.server(result(1, a=1)) == [to_client(result(1, a=1)), ended("ok")]
    assert talk.client(result(1, b=1)) == [to_server(result(1, b=1)), ended("ok")]


def test_a_server_may_withdraw_what_it_asked_and_nothing_else() -> None:
    talk = shaken(roots={})
    talk.client(call(1, "t"))
    talk.server(request(7, ROOTS))
    talk.server(request(8, "ping"))
    for wrong in (cancelled(1), cancelled("7"), cancelled(True), noticed("cancelled")):
        assert talk.server(wrong) == []
    assert talk.server(cancelled(7)) == [to_client(cancelled(7)), ended("cancelled")]
    assert talk.server(cancelled(8)) == [to_client(cancelled(8))]
    assert talk.server(cancelled(7)) == []
    assert talk.client(result(7)) == [noted("unmatched_answer")]


def test_what_a_server_withdraws_while_it_is_judged_never_reaches_the_client() -> None:
    talk = shaken(waiting=True, roots={})
    talk.server(request(7, ROOTS))
    assert talk.server(cancelled(7)) == [("abandoned", 7)]
    assert talk.decide() == [ended("cancelled")]
    talk.server(request(7, ROOTS))
    assert talk.decide() == [to_client(request(7, ROOTS))]


def test_a_server_may_end_a_subscription() -> None:
    talk = Conversation()
    said = request(1, "subscriptions/listen")
    talk.client(said)
    assert talk.server(cancelled(1)) == [to_client(cancelled(1))]
    assert talk.client(said) == [to_server(said)]


def input_required(id_: Any, method: str = ROOTS, **params: Any) -> Json:
    asks = {"one": {"method": method, "params": params}}
    return result(id_, resultType="input_required", inputRequests=asks, requestState="opaque")


def test_a_modern_server_asks_through_its_results() -> None:
    talk = Conversation()
    talk.client(modern(call(1, "t"), roots={}))
    sealed = input_required(1)
    sealed["result"]["requestState"] = "sealed t opaque"
    assert talk.server(input_required(1)) == [to_client(sealed), ended("input_required")]
    again = modern(call(2, "t", inputResponses={"one": {}}, requestState="sealed t opaque"), roots={})
    assert talk.client(again) == [to_server(again)]
    assert len(talk.judged) == 2
    assert talk.judged[1].retry is not None
    assert (talk.judged[1].retry.state, talk.judged[1].retry.responses) == ("sealed t opaque", {"one": {}})


def test_every_answer_that_asks_for_another_round_has_a_state_even_if_the_server_gave_none() -> None:
    talk = Conversation()
    talk.client(modern(request(1, "prompts/get", name="p"), roots={}))
    answer = result(1, resultType="input_required", inputRequests={"one": {"method": ROOTS, "params": {}}})
    sealed = result(1, **answer["result"], requestState="sealed p None")
    assert talk.server(answer) == [to_client(sealed), ended("input_required")]


ROUNDS = [call(1, "t"), request(1, "prompts/get", name="t"), request(1, "resources/read", uri="t")]


@pytest.mark.parametrize("said", ROUNDS)
@pytest.mark.parametrize("sign", [{"resultType": "input_required"}, {"inputRequests": {}}, {"requestState": "s"}])
def test_each_sign_of_another_round_is_enough_for_a_seal(said: Json, sign: Json) -> None:
    talk = Conversation()
    talk.client(modern(said))
    state = f"sealed t {sign.get('requestState')}"
    sealed = to_client(result(1, **{**sign, "requestState": state}))
    assert talk.server(result(1, **sign)) == [sealed, ended("input_required")]


@pytest.mark.parametrize("said", [*ROUNDS, request(1, "ping")])
def test_an_answer_of_the_newer_revision_without_such_a_sign_passes_as_it_came(said: Json) -> None:
    talk = Conversation()
    talk.client(modern(said))
    answer = result(1, resultType="complete", content=[], x=1)
    assert talk.server(answer)[0] == to_client(answer)


def test_a_state_that_is_no_text_is_an_error_to_the_client() -> None:
    talk = Conversation()
    talk.client(modern(call(1, "t")))
    answer = result(1, resultType="input_required", requestState={"a": 1})
    assert talk.server(answer) == [noted("malformed"), to_client(error(1, -32603)), ended("error")]


@pytest.mark.parametrize("params", [{"requestState": 7}, {"inputResponses": []}])
def test_a_round_of_another_shape_is_refused(params: Json) -> None:
    talk = Conversation()
    assert talk.client(modern(call(1, "t", **params))) == [noted("malformed"), to_client(error(1, -32602))]
    assert talk.session.in_flight == 0
    assert talk.client(modern(call(1, "t"))) == [to_server(modern(call(1, "t")))]


def test_before_the_2026_revision_an_answer_is_not_sealed() -> None:
    talk = shaken()
    talk.client(call(1, "t"))
    answer = result(1, content=[], requestState="s")
    assert talk.server(answer) == [to_client(answer), ended("ok")]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(input_required(1, SAMPLING), id="not declared"),
        pytest.param(input_required(1, "tools/call"), id="what no server asks"),
        pytest.param(input_required(1, ELICITATION), id="refused by the policy"),
        pytest.param(result(1, content=[], inputRequests={"a": {"method": SAMPLING}}), id="under another result type"),
    ],
)
def test_a_modern_server_that_asks_too_much_is_stopped(answer: Json) -> None:
    policy = Policy(server_requests={SAMPLING, ROOTS})
    talk = Conversation(policy)
    talk.client(modern(call(1, "t"), roots={}, elicitation={}))
    stopped = [noted("input_refused"), to_client(refused(1, modern=True)), ended("error")]
    assert talk.server(answer) == stopped
    talk.client(modern(request(1, "prompts/get", name="p"), roots={}, elicitation={}))
    assert talk.server(answer) == [noted("input_refused"), to_client(error(1, -32603)), ended("error")]


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param({"inputRequests": []}, id="a list"),
        pytest.param({"inputRequests": {"a": 1}}, id="a number"),
        pytest.param({"inputRequests": {"a": {"method": 1}}}, id="a method that is a number"),
        pytest.param({"inputRequests": {"a": {"method": ROOTS, "params": []}}}, id="parameters that are a list"),
        pytest.param({"inputRequests": {"a": {"method": ROOTS, "Method": SAMPLING}}}, id="two methods"),
        pytest.param({"InputRequests": {"a": {"method": ROOTS}}}, id="in another case"),
    ],
)
def test_input_that_cannot_be_judged_is_an_error_to_the_client(asks: Json) -> None:
    talk = Conversation()
    talk.client(modern(call(1, "t"), **ALL))
    happened = talk.server(result(1, resultType="input_required", **asks))
    assert happened == [noted("malformed"), to_client(error(1, -32603)), ended("error")]


@pytest.mark.parametrize("asks", [{}, {"inputRequests": {}}, {"inputRequests": None}])
def test_a_modern_server_may_ask_for_nothing(asks: Json) -> None:
    talk = Conversation()
    talk.client(modern(call(1, "t")))
    answer = result(1, resultType="input_required", requestState="s", **asks)
    sealed = result(1, resultType="input_required", requestState="sealed t s", **asks)
    assert talk.server(answer)[0] == to_client(sealed)


@pytest.mark.parametrize("of_the_newer_revision", [False, True])
def test_a_task_that_asks_is_judged_in_its_answers_and_in_its_notifications(of_the_newer_revision: bool) -> None:
    talk = Conversation() if of_the_newer_revision else shaken(roots={})
    polls = request(1, "tasks/get", taskId="t")
    if of_the_newer_revision:
        polls = modern(polls, roots={})
    for method, passes in ((ROOTS, True), (SAMPLING, False)):
        talk.client(polls)
        state = {"status": "input_required", "inputRequests": {"one": {"method": method}}}
        answered, told = talk.server(result(1, **state)), talk.server(noticed("tasks", **state))
        if passes:
            assert (answered, told) == ([to_client(result(1, **state))], [to_client(noticed("tasks", **state))])
        else:
            assert answered == [noted("input_refused"), to_client(error(1, -32603))]
            assert told == [noted("dropped_notification")]
            # Whatever it ended with, and if only that asks.
            for more in ({**state, "result": {"content": []}}, {"result": state}):
                talk.client(polls)
                assert talk.server(result(1, **more)) == answered
                assert talk.server(noticed("tasks", **more)) == told


@pytest.mark.parametrize("method", ["tasks/get", "ping", "tools/call", "unknown"])
def test_no_answer_asks_for_what_is_no_feature_of_a_client(method: str) -> None:
    talk = Conversation(Policy(server_requests={method}))
    talk.client(modern(call(1, "t"), tasks={}, **{"": {}}))
    assert to_client(refused(1, modern=True)) in talk.server(result(1, inputRequests={"one": {"method": method}}))


@pytest.mark.parametrize("said", ROUNDS)
def test_a_request_that_stops_because_its_server_asks_too_much_names_what_stands_against_that(said: Json) -> None:
    talk = Conversation()
    talk.client(modern(said))
    commands = talk.session.receive(UPSTREAM, encode(result(1, inputRequests={"one": {"method": ROOTS}})), 0)
    (line,) = (command.line for command in commands if isinstance(command, Forward))
    assert b'"mcpguard/decision":{"code":"denied","rule":"/server_requests"}' in line


@pytest.mark.parametrize("method", ["notifications/initialized", "notifications/roots/list_changed", "tools/call"])
def test_what_a_client_says_is_no_notification_of_a_server_even_where_everything_is_allowed(method: str) -> None:
    assert Conversation(Policy(methods={method})).server(notice(method)) == [noted("dropped_notification")]


# Probes of servers that say nothing to them


PROBE = request("probe", "server/discover")


def probed() -> Conversation:
    talk = Conversation()
    assert talk.client(PROBE) == [to_server(PROBE)]
    return talk


def due_s(talk: Conversation) -> float | None:
    """Say when the session wants to be called again."""
    return None if talk.session.deadline_ns is None else talk.session.deadline_ns / 1e9


SPOKEN = [to_client(error("probe", -32601)), noted("silent_server")]


def test_a_probe_that_is_answered_was_no_probe() -> None:
    talk = probed()
    assert due_s(talk) == 8
    assert to_client(result("probe")) in talk.server(result("probe"))
    assert due_s(talk) is None
    assert talk.after(100) == []


def test_a_server_that_answers_something_later_is_silent_and_its_late_answer_is_dropped() -> None:
    talk = probed()
    talk.client(initialize(1))
    happened = talk.server(result(1))
    assert happened == [("silent", True), *SPOKEN, ("silent", False), to_client(result(1))]
    assert talk.client(PROBE) == [noted("duplicate_id")]
    assert talk.client(cancelled("probe")) == []
    assert talk.server(result("probe")) == [noted("unmatched_answer")]
    assert talk.client(PROBE) == [to_client(error("probe", -32601))]


def test_an_answer_to_something_earlier_says_nothing_about_a_probe() -> None:
    talk = Conversation()
    talk.client(request(1, "ping"))
    talk.client(PROBE)
    assert talk.server(result(1)) == [to_client(result(1))]
    assert due_s(talk) is not None


def test_a_probe_waits_8_s_for_a_sign_of_life() -> None:
    talk = probed()
    assert talk.after(7.9) == []
    assert talk.after(0.2) == SPOKEN
    assert talk.after(10) == []
    assert talk.client(request("next", "server/discover")) == [to_server(request("next", "server/discover"))]


def test_a_probe_waits_2_s_after_the_first_sign_of_life() -> None:
    talk = probed()
    talk.session.see_sign_of_life(3_000_000_000)
    talk.session.see_sign_of_life(4_000_000_000)
    assert due_s(talk) == 5
    assert talk.after(4.9) == []
    assert talk.after(0.1) == SPOKEN


def test_a_probe_to_a_server_that_is_alive_waits_2_s() -> None:
    talk = Conversation()
    talk.session.see_sign_of_life(0)
    talk.now_s = 50
    talk.client(PROBE)
    assert due_s(talk) == 52


def test_a_server_known_to_be_silent_is_answered_for_at_once() -> None:
    talk = probed()
    assert talk.told(talk.session.know_silent()) == SPOKEN
    assert talk.client(request(2, "server/discover")) == [to_client(error(2, -32601))]


def test_a_cancelled_probe_is_not_answered_for() -> None:
    talk = probed()
    assert talk.client(cancelled("probe")) == [to_server(cancelled("probe"))]
    assert due_s(talk) is None
    assert talk.after(100) == []


def test_a_probe_with_a_broken_answer_is_answered_once() -> None:
    talk = probed()
    talk.client(request("second", "server/discover"))
    broken = b'{"jsonrpc":"2.0","id":"probe","result":{"a":NaN}}\n'
    assert talk.server(broken) == [noted("malformed"), to_client(error("probe", -32603))]
    assert talk.after(100) == [to_client(error("second", -32601)), noted("silent_server")]


def test_a_probe_whose_answer_cannot_be_read_is_answered_once() -> None:
    talk = probed()
    assert talk.server(result("probe", inputRequests=[])) == [noted("malformed"), to_client(error("probe", -32603))]
    assert talk.after(100) == []


def test_an_answer_that_shows_a_server_silent_does_so_also_if_it_cannot_be_read() -> None:
    talk = probed()
    talk.client(request(1, "tools/list"))
    assert talk.server(result(1, tools=7)) == [
        ("silent", True),
        *SPOKEN,
        noted("malformed"),
        to_client(error(1, -32603)),
    ]


# Ends


def test_at_the_end_every_request_gets_exactly_one_error() -> None:
    talk = shaken(Policy(denied={"denied"}), roots={})
    talk.client(call(1, "t"))
    talk.client(request("two", "ping"))
    talk.client(call(3, "denied"))
    talk.client(call(4, "t"))
    talk.client(cancelled(4))
    talk.client(PROBE)
    talk.server(request(0, ROOTS))
    talk.server(request(1, "ping"))
    assert talk.session.in_flight == 3
    happened = talk.ends()
    assert happened == [
        ended("lost"),
        to_client(error(1, -32603)),
        to_client(error("two", -32603)),
        to_client(error("probe", -32603)),
        ended("lost"),
    ]
    assert talk.session.in_flight == 0
    assert talk.ends() == []
    assert talk.server(result(1)) == []
    for id_ in (5, 1, 4):
        assert talk.client(call(id_, "t")) == [to_client(error(id_, -32603))]
    assert talk.client(result(0)) == [noted("unmatched_answer")]
    assert talk.after(100) == []


def test_the_end_says_why_and_that_the_effect_is_unknown() -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    texts = [command.line.decode() for command in talk.session.end("it died") if isinstance(command, Forward)]
    assert len(texts) == 1
    assert "it died" in texts[0]
    assert "`t` took effect is unknown" in texts[0]


def test_what_is_being_judged_at_the_end_is_answered_once_and_never_sent() -> None:
    talk = shaken(waiting=True, roots={})
    talk.client(call(1, "t"))
    talk.server(request(7, ROOTS))
    assert talk.ends() == [to_client(error(1, -32603)), ("abandoned", 1)]
    assert talk.decide() == [ended("cancelled")]
    assert talk.decide() == [ended("cancelled")]


def test_what_has_no_answer_has_no_bytes_and_what_has_one_those_of_its_line() -> None:
    line = encode(result(1))
    cancel, broken = encode(cancelled(1)), b'{"jsonrpc":"2.0","id":1,"result":{"x":NaN}}\n'
    cases: list[tuple[Side | None, bytes, tuple[str, int]]] = [
        (UPSTREAM, line, ("ok", len(line))),
        (UPSTREAM, broken, ("error", 0)),
        (CLIENT, cancel, ("cancelled", 0)),
        (None, b"it died", ("lost", 0)),
    ]
    for side, heard, expected in cases:
        talk = Conversation()
        talk.client(call(1, "t"))
        commands = talk.session.end(heard.decode()) if side is None else talk.session.receive(side, heard, 0)
        assert [(one.status, one.result_bytes) for one in commands if isinstance(one, Answered)] == [expected]
    talk = Conversation(waiting=True)
    talk.client(call(1, "t"))
    talk.client(cancelled(1))
    (late,) = talk.session.resolve(talk.ticket(), Verdict(admitted=True))
    assert isinstance(late, Answered)
    assert (late.status, late.result_bytes) == ("cancelled", 0)
    cases = [
        (CLIENT, line, ("ok", len(line))),
        (CLIENT, broken, ("error", 0)),
        (UPSTREAM, cancel, ("cancelled", 0)),
        (None, b"it died", ("lost", 0)),
    ]
    for side, heard, expected in cases:
        talk = shaken(roots={})
        talk.server(request(1, ROOTS))
        commands = talk.session.end(heard.decode()) if side is None else talk.session.receive(side, heard, 0)
        assert [(one.status, one.result_bytes) for one in commands if isinstance(one, Answered)] == [expected]


@pytest.mark.parametrize("side", [CLIENT, UPSTREAM])
def test_a_note_about_a_line_names_its_id(side: Side) -> None:
    for line in (
        overlong(b'{"jsonrpc":"2.0","id":5,"result":{"x":"'),
        b'{"jsonrpc":"2.0","id":5,"result":[]}\n',
        encode(result(5)),
    ):
        note = Conversation().session.receive(side, line, 0)[0]
        assert isinstance(note, Note)
        assert note.id == 5


# What the guard asks the client itself

OURS = "mcpguard-1"
OUR_QUESTION = request(OURS, ELICITATION, message="may it pass?")


def wondering() -> Conversation:
    """Give a conversation in which the guard asks its client about the call 1."""
    talk = shaken(waiting=True, elicitation={})
    talk.client(call(1, "t"))
    commands = talk.session.ask(talk.ticket(), OURS, encode(OUR_QUESTION))
    assert talk.told(commands) == [to_client(OUR_QUESTION)]
    return talk


def test_the_answer_to_a_question_of_the_guard_s_own_is_for_the_guard_alone_and_comes_once() -> None:
    talk = wondering()
    answer = result(OURS, action="accept", content={})
    assert talk.client(answer) == [("replied", 1, {"action": "accept", "content": {}})]
    assert talk.client(answer) == [noted("unmatched_answer")]
    assert talk.decide() == [to_server(call(1, "t"))]


def test_an_error_is_an_answer_without_a_result() -> None:
    assert wondering().client(failure(OURS)) == [("replied", 1, None)]


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":"mcpguard-1","result":{"action":"accept","action":"decline"}}\n',
        b'{"jsonrpc":"2.0","id":"mcpguard-1","result":7}\n',
        b'{"jsonrpc":"2.0","id":"mcpguard-1","result":{},"error":{}}\n',
    ],
)
def test_an_answer_that_cannot_be_read_is_one_without_a_result(line: bytes) -> None:
    talk = wondering()
    assert talk.client(line) == [noted("malformed"), ("replied", 1, None)]
    assert talk.client(result(OURS)) == [noted("unmatched_answer")]


def test_an_answer_that_is_too_long_is_one_without_a_result() -> None:
    line = overlong(b'{"jsonrpc":"2.0","id":"mcpguard-1","result":{"x":"')
    assert wondering().client(line) == [noted("overlong"), ("replied", 1, None)]


@pytest.mark.parametrize("id_", ["mcpguard-2", "mcpguard-", "MCPGUARD-1", 1])
def test_an_answer_under_another_id_is_dropped(id_: Any) -> None:
    talk = wondering()
    assert talk.client(result(id_, action="accept")) == [noted("unmatched_answer")]
    assert talk.client(result(OURS)) == [("replied", 1, {})]


def test_a_question_is_withdrawn_once_and_its_late_answer_dropped() -> None:
    talk = wondering()
    (happened,) = talk.told(talk.session.withdraw_question(OURS))
    assert happened == to_client(noticed("cancelled", requestId=OURS, reason="it was answered elsewhere, or too late"))
    assert talk.session.withdraw_question(OURS) == []
    assert talk.client(result(OURS, action="accept")) == [noted("unmatched_answer")]


def test_a_server_can_neither_answer_nor_cancel_a_question_of_the_guard_s_own() -> None:
    talk = wondering()
    assert talk.server(result(OURS, action="accept")) == [noted("unmatched_answer")]
    assert talk.server(cancelled(OURS)) == []
    asked = request(OURS, ELICITATION)
    assert talk.server(asked) == []
    assert talk.client(result(OURS)) == [("replied", 1, {})]


def test_at_the_end_a_question_is_withdrawn() -> None:
    talk = wondering()
    withdrawn = noticed("cancelled", requestId=OURS, reason="it was answered elsewhere, or too late")
    assert talk.ends() == [to_client(error(1, -32603)), ("abandoned", 1), to_client(withdrawn)]
    assert talk.client(result(OURS, action="accept")) == [noted("unmatched_answer")]


def test_a_request_that_waits_can_be_answered_with_a_line_of_the_guard_s_own_once() -> None:
    talk = Conversation(waiting=True)
    talk.client(modern(call(1, "t")))
    asked = result(1, resultType="input_required")
    assert talk.told(talk.session.answer(talk.ticket(), encode(asked))) == [to_client(asked)]
    assert talk.ticket().line == b""
    assert talk.session.answer(talk.ticket(), encode(asked)) == []
    assert talk.decide() == [ended("cancelled")]
    assert talk.client(call(1, "t")) == []
    assert talk.session.in_flight == 1


def test_when_the_client_is_gone_what_waits_for_a_verdict_is_forgotten_and_what_is_sent_is_not() -> None:
    talk = Conversation(waiting=True)
    talk.client(call(1, "t"))
    talk.decide()
    talk.client(call(2, "t"))
    assert [entry.id for entry in talk.session.withdraw_waiting()] == [2]
    assert talk.session.withdraw_waiting() == []
    assert list(talk.session._requests) == [1]
    assert talk.decide() == [ended("cancelled")]
    assert talk.server(result(1)) == [to_client(result(1)), ended("ok")]


def test_what_was_refused_waits_no_more_and_another_verdict_about_it_spares_its_id() -> None:
    talk = Conversation(waiting=True)
    talk.client(call(1, "t"))
    (first,) = talk.asked
    assert talk.decide(Verdict(admitted=False)) == [to_client(refused(1))]
    talk.client(request(1, "ping"))
    for admitted in (False, True):
        commands = talk.session.resolve(first.ticket, Verdict(admitted=admitted))
        assert talk.told(commands) == ([ended("cancelled")] if admitted else [])
    assert talk.session.answer(first.ticket, b"{}\n") == []
    assert talk.server(result(1)) == [to_client(result(1))]


@pytest.mark.parametrize(
    ("capabilities", "declared"),
    [
        ({"elicitation": {}}, True),
        ({"elicitation": {"form": {}}}, True),
        ({"elicitation": {"url": {}, "form": {}}}, True),
        ({"elicitation": {"url": {}}}, False),
        ({"elicitation": True}, False),
        ({"roots": {}}, False),
        ({}, False),
    ],
)
def test_whether_a_client_can_be_asked_is_said_in_its_handshake_or_in_the_request(
    capabilities: Json, declared: bool
) -> None:
    early, late = shaken(waiting=True, **capabilities), Conversation(waiting=True)
    early.client(call(1, "t"))
    late.client(modern(call(1, "t"), **capabilities))
    assert early.session.declares(early.ticket(), ELICITATION) is declared
    assert late.session.declares(late.ticket(), ELICITATION) is declared
    # What the handshake said is nothing to a request of the newer revision, and the other way round.
    early.client(modern(call(2, "t")))
    late.client(call(2, "t"))
    assert early.session.declares(early.ticket(), ELICITATION) is False
    assert late.session.declares(late.ticket(), ELICITATION) is False


def test_a_tool_s_definition_is_what_a_list_showed_first_or_last_where_it_may_change() -> None:
    for drift, known in ((False, b'{"name":"t"}'), (True, b'{"name":"t","x":1}')):
        talk = Conversation(Policy(drift=drift))
        assert talk.session.definition("t") is None
        for number, item in enumerate(({"name": "t"}, {"name": "t", "x": 1})):
            talk.client(request(number, "tools/list"))
            talk.server(result(number, tools=[item]))
        assert talk.session.definition("t") == known
        assert talk.session.definition("u") is None


def test_what_lists_show_against_a_request_is_known_while_it_waits() -> None:
    talk = Conversation(waiting=True)
    talk.client(call(1, "t"))
    (consult,) = talk.asked
    assert consult.fault is None
    assert talk.session.fault(consult) is None
    talk.client(request(2, "tools/list"))
    talk.server(result(2, tools=[{"name": "t"}, {"name": "t", "x": 1}]))
    fault = talk.session.fault(consult)
    assert fault is not None
    assert fault[0] == "malformed"


@pytest.mark.parametrize("token", ["t", 0, -1])
def test_where_a_client_wants_to_hear_of_progress_is_told(token: Any) -> None:
    talk = Conversation()
    talk.client(call(1, "t", _meta={"progressToken": token}))
    assert talk.judged[0].progress_token == token


@pytest.mark.parametrize(
    "meta", [None, 1, {}, {"progressToken": None}, {"progressToken": True}, {"progressToken": 1.5}]
)
def test_what_is_no_token_is_none(meta: Any) -> None:
    talk = Conversation()
    talk.client(call(1, "t", _meta=meta))
    assert talk.judged[0].progress_token is None


def test_a_round_of_a_call_of_the_newer_revision_is_never_taken_the_short_way() -> None:
    talk = Conversation(shortcuts=True)
    talk.client(modern(call(1, "t")))
    assert talk.carried == 1
    answer = result(1, resultType="input_required", requestState="s")
    assert talk.server(answer) == [
        to_client(result(1, resultType="input_required", requestState="sealed t s")),
        ended("input_required"),
    ]
    talk.client(modern(call(2, "t", requestState="sealed t s")))
    talk.client(modern(call(3, "t", inputResponses={})))
    assert talk.carried == 1
    assert [(consult.retry.state, consult.retry.responses) for consult in talk.judged if consult.retry] == [
        ("sealed t s", {}),
        (None, {}),
    ]


def test_a_call_of_the_older_era_that_takes_the_short_way_keeps_no_arguments() -> None:
    talk = Conversation(shortcuts=True)
    talk.client(call(1, "t", _meta={"progressToken": 1}))
    assert talk.carried == 1
    assert not hasattr(talk.session._requests[1], "arguments")


def plain_call_at(talk: Conversation) -> list[Happening]:
    """Say a call that is as plain as can be, and see that it is not taken the short way."""
    before = talk.carried
    happened = talk.client(call(1, "t"))
    assert talk.carried == before
    return happened


def test_a_plain_call_is_held_dropped_or_refused_where_any_other_would_be() -> None:
    assert plain_call_at(Conversation(held=True, shortcuts=True)) == [HELD]
    over = Conversation(shortcuts=True)
    over.ends()
    assert plain_call_at(over) == [to_client(error(1, -32603))]
    twice = Conversation(shortcuts=True)
    twice.client(call(1, "t"))
    assert plain_call_at(twice) == [noted("duplicate_id")]
    full = Conversation(most=1, shortcuts=True)
    full.client(request(2, "ping"))
    assert plain_call_at(full) == [to_client(refused(1, "busy"))]
    ambiguous = Conversation(shortcuts=True)
    asked(ambiguous, 2, {"tools": [{"name": "t"}, {"name": "t", "title": "other"}]})
    assert plain_call_at(ambiguous) == [to_client(refused(1, "malformed"))]
    assert plain_call_at(Conversation(Policy(denied={"t"}), shortcuts=True)) == [to_client(refused(1))]


def test_a_plain_answer_to_what_is_no_call_in_flight_is_read_as_any_other() -> None:
    talk = Conversation(shortcuts=True)
    answer = result(1, content=[])
    assert talk.server(answer) == [noted("unmatched_answer")]
    talk.client(call(1, "t"))
    talk.client(cancelled(1))
    assert talk.server(answer) == [noted("unmatched_answer")]
    talk.client(request(1, "tools/list"))
    assert talk.server(answer) == [noted("malformed"), to_client(error(1, -32603))]
    talk.client(call(1, "t"))
    talk.ends()
    assert talk.server(answer) == []
    assert talk.carried == 2


def test_a_plain_answer_comes_once() -> None:
    talk = Conversation(shortcuts=True)
    talk.client(call(1, "t"))
    answer = result(1, content=[], isError=True)
    assert talk.server(answer) == [to_client(answer), ended("tool_error")]
    assert talk.carried == 2
    assert talk.server(answer) == [noted("unmatched_answer")]
    assert talk.client(call(1, "t")) == [to_server(call(1, "t"))]


@pytest.mark.parametrize("long", [True, False])
def test_what_the_short_way_has_read_of_a_line_is_not_taken_for_the_next_one(long: bool) -> None:
    talk = Conversation(shortcuts=True)
    padding = "x" * (SHORT_LINE_BYTES if long else 1)
    talk.client(call(1, "t", more=padding))
    talk.server(result(1, content=[], more=padding))
    talk.shortcuts = False
    assert talk.client(call(2, "u")) == [to_server(call(2, "u"))]
    assert talk.server(result(2)) == [to_client(result(2)), ended("ok")]
    assert (talk.carried, [consult.subject for consult in talk.judged]) == (0, ["t", "u"])


def test_a_plain_answer_to_a_call_after_a_probe_shows_the_server_silent() -> None:
    talk = Conversation(shortcuts=True)
    talk.client(PROBE)
    talk.client(call(1, "t"))
    answer = result(1, content=[])
    assert talk.server(answer) == [("silent", True), *SPOKEN, to_client(answer), ended("ok")]


def test_plain_calls_count_among_the_later_requests_for_which_an_id_is_reserved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "RESERVED_FOR", 3)
    talk = Conversation(shortcuts=True)
    talk.client(call("c", "t"))
    talk.client(cancelled("c"))
    for id_ in range(3):
        assert talk.client(call("c", "t")) == [noted("duplicate_id")]
        talk.client(call(id_, "t"))
    assert talk.client(call("c", "t")) == [to_server(call("c", "t"))]
    assert (talk.carried, talk.session.seen_requests) == (5, 5)


def test_before_the_2026_revision_nothing_is_a_round() -> None:
    talk = shaken()
    talk.client(call(1, "t", requestState="s", inputResponses={}))
    assert talk.judged[0].retry is None


# Too much at once


def test_above_the_maximum_everything_is_refused_as_busy_until_something_is_answered() -> None:
    talk = Conversation(most=2)
    talk.client(call(1, "t"))
    talk.client(request(2, "ping"))
    assert talk.client(call(3, "t")) == [to_client(refused(3, "busy"))]
    assert talk.client(modern(call(3, "t"))) == [to_client(refused(3, "busy", modern=True))]
    assert talk.client(call(3, "t", task={})) == [to_client(error(3, -32602))]
    assert talk.client(modern(call(3, "t", task={}))) == [to_client(refused(3, "busy", modern=True))]
    assert talk.client(request(3, "ping")) == [to_client(error(3, -32603))]
    assert talk.client(request(3, "tools/list")) == [to_client(error(3, -32603))]
    talk.server(result(2))
    assert talk.client(call(3, "t")) == [to_server(call(3, "t"))]


def test_above_the_maximum_even_a_ping_waits_for_the_policy() -> None:
    talk = Conversation(held=True, most=1)
    talk.client(request(1, "ping"))
    assert talk.client(request(2, "ping")) == [HELD]


def test_above_the_maximum_a_server_is_told_so() -> None:
    talk = Conversation(most=1)
    talk.server(request(1, "ping"))
    assert talk.server(request(2, "ping")) == [noted("busy"), to_server(error(2, -32603))]


def test_what_was_sent_is_not_kept() -> None:
    talk = Conversation()
    talk.client(call(1, "t"))
    talk.client(request(2, "tools/list"))
    talk.server(request(3, "ping"))
    assert {entry.line for entry in (*talk.session._requests.values(), talk.session._asked.entries[3])} == {b""}


# How refusals are told


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        pytest.param(call(1, "no"), refused(1), id="a call"),
        pytest.param(modern(call(1, "no")), refused(1, modern=True), id="a call of the newer revision"),
        pytest.param(call(1, "no", task={"ttl": 1}), error(1, -32602), id="a call as a task"),
        pytest.param(modern(call(1, "no", task={})), refused(1, modern=True), id="a task of the newer revision"),
        pytest.param(call(1, "gone"), error(1, -32602), id="a hidden tool"),
        pytest.param(modern(call(1, "gone")), error(1, -32602), id="a hidden tool of the newer revision"),
        pytest.param(request(1, "resources/read", uri="no"), error(1, -32602), id="a resource"),
        pytest.param(request(1, "prompts/get", name="no"), error(1, -32602), id="a prompt"),
        pytest.param(request(1, "unknown"), error(1, -32601), id="a method"),
    ],
)
def test_a_refusal_takes_the_form_that_reaches_the_model(said: Json, answer: Json) -> None:
    assert Conversation(Policy(denied={"no"}, hidden={"gone"})).client(said) == [to_client(answer)]


def test_a_hidden_tool_is_one_that_does_not_exist() -> None:
    session = Session(now_ns=0)
    session.open(Policy(hidden={"x"}))
    (consult,) = session.receive(CLIENT, encode(call(1, "x")), 0)
    assert isinstance(consult, Consult)
    (told,) = session.resolve(consult.ticket, Verdict(admitted=False, hidden=True, text="secret"))
    assert isinstance(told, Forward)
    assert told.line == b'{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: x"}}\n'
    assert shortened(told.line) == error(1, -32602)


# What a changed policy changes


def announced(talk: Conversation) -> list[Happening]:
    return talk.told(talk.session.announce_lists())


def on_subscription(id_: Any, kind: str) -> Happening:
    meta = {"io.modelcontextprotocol/subscriptionId": id_}
    return to_client(noticed(f"{kind}/list_changed", _meta=meta))


def changed(kind: str) -> Happening:
    return to_client({"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"})


def test_a_client_that_shook_hands_hears_of_changed_lists_that_its_server_has() -> None:
    talk = Conversation()
    assert announced(talk) == []
    talk.client(initialize())
    talk.server(result(0, capabilities={"tools": {}, "prompts": {}, "logging": {}}))
    assert announced(talk) == [changed("prompts"), changed("tools")]


@pytest.mark.parametrize("capabilities", [None, [], {"tools": True}], ids=["none", "a list", "no object"])
def test_a_server_without_lists_has_none_that_change(capabilities: object) -> None:
    talk = Conversation()
    talk.client(initialize())
    talk.server(result(0, capabilities=capabilities))
    assert announced(talk) == []


def test_a_client_of_the_2026_revision_hears_of_changed_lists_on_its_subscriptions_alone() -> None:
    talk = Conversation()
    wanted = {"toolsListChanged": True, "promptsListChanged": False, "resourceSubscriptions": ["a:"]}
    talk.client(modern(request(7, "subscriptions/listen", notifications=wanted)))
    talk.client(modern(request("8", "subscriptions/listen", notifications={"resourcesListChanged": True})))
    assert announced(talk) == [], "nothing may come before the acknowledgment"
    for id_ in (7, "8", "7", 9, True, None):
        talk.server(noticed("subscriptions/acknowledged", _meta={"io.modelcontextprotocol/subscriptionId": id_}))
    talk.server(noticed("subscriptions/acknowledged"))
    assert announced(talk) == [on_subscription(7, "tools"), on_subscription("8", "resources")]
    talk.client(cancelled(7))
    assert announced(talk) == [on_subscription("8", "resources")]
    talk.server(result("8"))
    assert announced(talk) == []
    assert not talk.session._audience.subscribed


def test_what_a_server_can_do_in_a_discovery_announces_nothing_to_a_client_that_did_not_shake_hands() -> None:
    talk = Conversation()
    talk.client(modern(request(1, "server/discover")))
    talk.server(result(1, capabilities={"tools": {}}))
    assert announced(talk) == []


def test_only_the_acknowledgment_of_a_subscription_in_flight_begins_it() -> None:
    talk = Conversation()
    listen = modern(request(1, "subscriptions/listen", notifications={"toolsListChanged": True}))
    talk.client(call(2, "t"))
    talk.client(listen)
    talk.server(noticed("message", _meta={SUBSCRIPTION_KEY: 1}))
    talk.server(noticed("subscriptions/acknowledged", _meta={SUBSCRIPTION_KEY: 2}))
    assert announced(talk) == []
    talk.client(cancelled(1))
    talk.server(noticed("subscriptions/acknowledged", _meta={SUBSCRIPTION_KEY: 1}))
    assert announced(talk) == []
    # It is over already, and its id is free once the late answer is there.
    assert talk.server(cancelled(1)) == []
    assert talk.client(listen) == [noted("duplicate_id")]


# What shows no more than whom it would keep waiting


@pytest.mark.parametrize(
    "line",
    [
        '{"jsonrpc":"2.0","id":1,"result":{},"method":"sampling/createMessage","params":{}}',
        '{"jsonrpc":"2.0","id":1,"result":{},"METHOD":"x"}',
        '\ufeff{"jsonrpc":"2.0","id":1,"result":{}}',
    ],
    ids=["an answer with a method", "with one in capitals", "after a byte order mark"],
)
def test_a_refused_line_that_may_be_an_answer_leaves_nobody_waiting(line: str) -> None:
    talk = shaken()
    talk.client(call(1, "ok"))
    happened = talk.server(line.encode() + b"\n")
    assert to_client(error(1, -32603)) in happened
    assert talk.session.in_flight == 0


def test_an_id_that_no_answer_could_bear_gets_none() -> None:
    line = b'{"jsonrpc":"2.0","id":' + b"9" * 309 + b',"method":"ping"}\n'
    assert Conversation().client(line) == [noted("malformed")]


def test_what_a_task_asks_for_waits_for_the_policy() -> None:
    talk = Conversation(held=True)
    asked = modern(request(1, "tasks/get", taskId="1"), elicitation={})
    talk.client(asked)
    answer = result(1, status="input_required", inputRequests={"a": {"method": ELICITATION, "params": {}}})
    assert talk.server(answer) == [HELD]
    talk.session.open(talk.policy)
    assert talk.server(answer) == [to_client(answer)]


URL_WANTED = {"code": -32042, "message": "sign in", "data": {"elicitations": [{"url": "https://example.com/"}]}}


@pytest.mark.parametrize(
    ("allowed", "declared", "passes"),
    [
        ([ELICITATION], {"elicitation": {"url": {}}}, True),
        ([ELICITATION], {"elicitation": {}}, False),
        ([ELICITATION], {}, False),
        ([], {"elicitation": {"url": {}}}, False),
    ],
)
def test_an_error_that_wants_a_url_opened_is_a_request_of_the_server(
    allowed: list[str], declared: Json, passes: bool
) -> None:
    talk = shaken(Policy(server_requests=set(allowed)), **declared)
    talk.client(call(1, "ok"))
    wanted = {"jsonrpc": "2.0", "id": 1, "error": URL_WANTED}
    expected = error(1, -32042) if passes else refused(1)
    assert to_client(expected) in talk.server(wanted)
    # A request of the newer revision declares for itself.
    late = Conversation(talk.policy)
    late.client(modern(call(1, "ok"), **declared))
    expected = error(1, -32042) if passes else refused(1, modern=True)
    assert to_client(expected) in late.server(wanted)


def test_an_error_that_wants_a_url_opened_is_refused_before_there_is_a_policy() -> None:
    talk = Conversation(held=True)
    talk.client(initialize(elicitation={"url": {}}))
    talk.client(request(1, "ping"))
    assert to_client(error(1, -32603)) in talk.server({"jsonrpc": "2.0", "id": 1, "error": URL_WANTED})


@pytest.mark.parametrize("how", ["answered", "cancelled", "cancelled by the server", "the end"])
def test_a_subscription_that_is_over_is_forgotten(how: str) -> None:
    talk = Conversation()
    talk.client(modern(request(1, "subscriptions/listen", notifications={"toolsListChanged": True})))
    talk.server(noticed("subscriptions/acknowledged", _meta={SUBSCRIPTION_KEY: 1}))
    assert talk.told(talk.session.announce_lists())
    match how:
        case "answered":
            talk.server(result(1))
        case "cancelled":
            talk.client(cancelled(1))
        case "cancelled by the server":
            talk.server(cancelled(1))
        case _:
            talk.ends()
    assert talk.session._audience.subscribed == {}
    assert talk.told(talk.session.announce_lists()) == []


def test_a_listing_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MAX_NAMES", 3)
    talk = Conversation()
    shown = []
    for page in range(4):
        cursor = {} if page == 0 else {"cursor": str(page)}
        talk.client(request(page, "prompts/list", **cursor))
        prompts = [{"name": f"{page}-{number}"} for number in range(2)]
        ((_, answer), *_) = talk.server(result(page, prompts=prompts, nextCursor=str(page + 1)))
        shown += [prompt["name"] for prompt in answer["result"]["prompts"]]
    assert shown == ["0-0", "0-1", "1-0"]
