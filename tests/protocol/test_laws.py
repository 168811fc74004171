"""Checks what holds in every conversation, however the two sides talk across each other and whatever they break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.protocol.framing import Overlong
from mcpguard.protocol.wire import CLIENT, UPSTREAM, encode
from support.conversation import (
    Conversation,
    Policy,
    call,
    failure,
    modern,
    noted,
    notice,
    request,
    result,
)

if TYPE_CHECKING:
    from support.conversation import Happening, Json, Line

IDS = (1, "1", 2)
ROOTS, SAMPLING = "roots/list", "sampling/createMessage"
PASSING = {"initialize", "server/discover", "ping", "tasks/get", "tools/list", "known"}
ALLOWED_NOTICES = {"notifications/initialized", "notifications/cancelled", "known"}


class Ledger:
    """Counts who owes an answer to whom, from what is said and what becomes of it alone."""

    def __init__(self, *, waiting: bool, most: int, shortcuts: bool = False) -> None:
        policy = Policy(denied={"no"}, hidden={"gone"}, methods={"known"}, server_requests={ROOTS})
        self.talk = Conversation(policy, waiting=waiting, most=most, shortcuts=shortcuts)
        self.happened: list[list[Happening]] = []
        self.said: list[Json] = []
        self.open: set[Any] = set()
        """Requests of the client that wait for their one answer."""
        self.reserved: set[Any] = set()
        """Ids that nobody may use, for a late answer may come."""
        self.asked: set[Any] = set()
        """Requests of the server that wait for their one answer."""

    def client_asks(self, id_: Any, line: Line, *, broken: bool = False) -> None:
        taken = id_ in self.open | self.reserved
        if isinstance(line, dict):
            self.said.append(line)
        if not taken:
            self.open.add(id_)
        happened = self.talk.client(line)
        if taken:
            assert [what for what, _ in happened] == ["noted"]
        self.settle(happened, CLIENT)
        assert not broken or taken or id_ not in self.open

    def client_says(self, line: Line) -> None:
        if isinstance(line, dict):
            self.said.append(line)
        self.settle(self.talk.client(line), CLIENT)

    def server_asks(self, id_: Any, method: str) -> None:
        happened = self.talk.server(request(id_, method))
        if noted("duplicate_id") not in happened and not self.talk.session.ended:
            self.asked.add(id_)
        self.settle(happened, UPSTREAM)

    def server_answers(self, id_: Any, line: Line) -> None:
        was_open = id_ in self.open and all(consult.ticket.id != id_ for consult in self.talk.asked)
        self.settle(self.talk.server(line), UPSTREAM)
        self.reserved.discard(id_)
        assert not was_open or id_ not in self.open

    def server_says(self, line: Line) -> None:
        self.settle(self.talk.server(line), UPSTREAM)

    def decide(self) -> None:
        if self.talk.asked:
            self.settle(self.talk.decide(), "guard")

    def wait(self, seconds: float, *, sign: bool) -> None:
        if sign:
            self.talk.session.see_sign_of_life(self.talk.now_ns)
        self.settle(self.talk.after(seconds), "guard")

    def settle(self, happened: list[Happening], side: str) -> None:
        self.happened.append(happened)
        answered: Any = None
        for what, *details in happened:
            if what == "to client":
                answered = self.client_hears(details[0])
            elif what == "to server":
                self.server_hears(details[0])
            elif what == "abandoned":
                (self.open if side == CLIENT else self.asked).discard(details[0])
            elif (what, *details) == noted("silent_server"):
                self.reserved.add(answered)
        if self.talk.session.ended:
            assert not self.open
            self.asked.clear()
            self.reserved.clear()

    def client_hears(self, heard: Json) -> Any:
        method = heard.get("method")
        if method is None:
            # The one answer to a request that waits for one, and nothing in it that the policy hides.
            assert heard["id"] in self.open
            self.open.remove(heard["id"])
            assert "'no'" not in str(heard)
            assert "'gone'" not in str(heard)
        elif "id" in heard:
            assert heard["id"] in self.asked
            assert method in (ROOTS, "ping")
        elif method == "notifications/cancelled":
            assert heard["params"]["requestId"] in self.asked
            self.asked.remove(heard["params"]["requestId"])
        else:
            assert method in ("notifications/message", "notifications/tools/list_changed")
        return heard.get("id")

    def server_hears(self, heard: Json) -> None:
        method = heard.get("method")
        if method is None:
            assert heard["id"] in self.asked
            self.asked.remove(heard["id"])
            return
        assert heard in self.said
        if method == "notifications/cancelled":
            assert heard["params"]["requestId"] in self.open
            self.open.remove(heard["params"]["requestId"])
            self.reserved.add(heard["params"]["requestId"])
        elif "id" not in heard:
            assert method in ALLOWED_NOTICES
        else:
            assert heard["id"] in self.open
            assert method in PASSING or (method == "tools/call" and heard["params"]["name"] == "ok")

    def finish(self) -> None:
        session = self.talk.session
        self.settle(self.talk.ends(), "guard")
        while self.talk.asked:
            assert all(what == "ended" for what, _ in self.talk.decide())
        assert (session._requests, session._asked.entries) == ({}, {})
        assert not session._probes
        assert not session._reserved
        assert session.in_flight == 0


ids = st.sampled_from(IDS)


def text_of(id_: Any) -> bytes:
    return b'"1"' if id_ == "1" else str(id_).encode()


client_requests = st.builds(
    lambda id_, make: (Ledger.client_asks, id_, make(id_)),
    ids,
    st.sampled_from(
        [
            lambda id_: call(id_, "ok"),
            lambda id_: modern(call(id_, "ok"), roots={}),
            lambda id_: call(id_, "no"),
            lambda id_: call(id_, "gone"),
            lambda id_: request(id_, "tools/call", name=1),
            lambda id_: request(id_, "tools/list"),
            lambda id_: request(id_, "tools/list", cursor="c"),
            lambda id_: request(id_, "server/discover"),
            lambda id_: request(id_, "server/discover"),
            lambda id_: request(id_, "initialize", capabilities={"roots": {}}),
            lambda id_: request(id_, "ping"),
            lambda id_: request(id_, "tasks/get"),
            lambda id_: request(id_, "known"),
            lambda id_: request(id_, "unknown"),
            lambda id_: request(id_, "Tools/call", name="ok"),
            lambda id_: request(id_, "notifications/cancelled", requestId=id_),
        ]
    ),
)


def break_request(id_: Any, how: str) -> bytes | Overlong:
    start = b'{"jsonrpc":"2.0","id":' + text_of(id_) + b',"method":"tools/call","params":{"name":"ok"'
    if how == "too long":
        return Overlong(start, b'"}}\n', 10**9)
    if how == "version":
        return start.replace(b"2.0", b"1.0") + b"}}\n"
    return start + how.encode() + b"}\n"


broken_requests = st.builds(
    lambda id_, how: (Ledger.client_asks, id_, break_request(id_, how), True),
    ids,
    st.sampled_from(['},"x":NaN', ',"name":"no"}', ',"NAME":"no"}', '},"result":{}', "too long", "version"]),
)
client_words = st.builds(
    lambda id_, make: (Ledger.client_says, make(id_)),
    ids,
    st.sampled_from(
        [
            lambda id_: notice("notifications/cancelled", requestId=id_),
            lambda id_: notice("notifications/cancelled", requestId=id_),
            lambda _: notice("tools/call", name="ok"),
            lambda _: notice("notifications/initialized"),
            lambda _: notice("known"),
            lambda _: notice("unknown"),
            lambda id_: result(id_, roots=[]),
            failure,
            lambda id_: b'{"jsonrpc":"2.0","id":' + text_of(id_) + b',"result":[]}\n',
            lambda _: b"noise\n",
            lambda _: b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]\n',
        ]
    ),
)
server_answers = st.builds(
    lambda id_, make: (Ledger.server_answers, id_, make(id_)),
    ids,
    st.sampled_from(
        [
            lambda id_: result(id_, content=[]),
            lambda id_: result(id_, tools=[{"name": "ok"}, {"name": "fine"}]),
            lambda id_: result(id_, tools=[{"name": "ok", "x": 1}], nextCursor="c"),
            lambda id_: result(id_, capabilities={"tools": {}}, serverInfo={"name": "s"}),
            lambda id_: result(id_, resultType="input_required", inputRequests={"a": {"method": ROOTS}}),
            lambda id_: result(id_, inputRequests={"a": {"method": SAMPLING}}),
            failure,
            lambda id_: b'{"jsonrpc":"2.0","id":' + text_of(id_) + b',"result":[{"method":1}]}\n',
            lambda id_: b'{"jsonrpc":"2.0","id":' + text_of(id_) + b',"result":{"a":1,"a":2,"method":1}}\n',
            lambda id_: b'{"jsonrpc":"2.0","id":' + text_of(id_) + b',"Result":{}}\n',
        ]
    ),
)
server_words = st.one_of(
    st.builds(
        lambda id_, method: (Ledger.server_asks, id_, method), ids, st.sampled_from([ROOTS, SAMPLING, "ping", "x"])
    ),
    st.builds(
        lambda id_, make: (Ledger.server_says, make(id_)),
        ids,
        st.sampled_from(
            [
                lambda id_: notice("notifications/cancelled", requestId=id_),
                lambda _: notice("notifications/message", level="info"),
                lambda _: notice("notifications/tools/list_changed", tools=[{"name": "no"}]),
                lambda _: notice("unknown"),
                lambda id_: b'{"jsonrpc":"2.0","id":' + text_of(id_) + b',"method":"ping","params":[]}\n',
                lambda id_: {"id": id_, "level": "info"},
                lambda _: b"started\n",
                lambda _: b"\xff\n",
            ]
        ),
    ),
)
endings = st.builds(
    lambda id_: (Ledger.server_says, Overlong(b'{"id":' + text_of(id_) + b',"x":"', b'"}\n', 10**9)), ids
)
others = st.one_of(
    st.just((Ledger.decide,)),
    st.builds(lambda seconds, sign: (Ledger.wait, seconds, sign), st.sampled_from([0.5, 2.1, 8.1]), st.booleans()),
)
steps = st.one_of(
    client_requests,
    client_requests,
    server_answers,
    server_answers,
    broken_requests,
    client_words,
    server_words,
    others,
)


def live(ledger: Ledger, conversation: list[Any]) -> None:
    for act, *details in conversation:
        if act is Ledger.client_asks:
            ledger.client_asks(details[0], details[1], broken=len(details) > 2)
        elif act is Ledger.wait:
            ledger.wait(details[0], sign=details[1])
        else:
            act(ledger, *details)


@given(st.lists(steps, max_size=40), st.booleans(), st.sampled_from([1, 2, 65_536]))
@settings(max_examples=400, deadline=None)
def test_every_request_gets_one_answer_and_nothing_unjudged_passes(
    conversation: list[Any], waiting: bool, most: int
) -> None:
    ledger = Ledger(waiting=waiting, most=most)
    live(ledger, conversation)
    ledger.finish()


@given(st.lists(steps, max_size=40), st.sampled_from([1, 2, 65_536]))
@settings(max_examples=400, deadline=None)
def test_the_short_way_leads_where_the_long_one_does(conversation: list[Any], most: int) -> None:
    long, short = (Ledger(waiting=False, most=most, shortcuts=shortcuts) for shortcuts in (False, True))
    for ledger in (long, short):
        live(ledger, conversation)
        ledger.finish()
    assert short.happened == long.happened


@given(st.lists(steps, max_size=15), st.lists(endings, min_size=1, max_size=2), st.lists(steps, max_size=15))
@settings(max_examples=150, deadline=None)
def test_an_end_in_the_middle_leaves_nobody_waiting(before: list[Any], ends: list[Any], after: list[Any]) -> None:
    ledger = Ledger(waiting=False, most=65_536)
    live(ledger, [*before, *ends])
    if not ledger.talk.session.ended:
        ledger.settle(ledger.talk.ends(), "guard")
    live(ledger, [step for step in after if step[0] in (Ledger.client_asks, Ledger.client_says)])
    ledger.finish()


messages = st.one_of(
    st.binary(max_size=50),
    st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "Id", "x"]),
        st.recursive(
            st.one_of(
                st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["2.0", "tools/call", "ping", "1"])
            ),
            lambda inner: st.one_of(
                st.lists(inner, max_size=2),
                st.dictionaries(st.sampled_from(["name", "uri", "_meta", "tools", "inputRequests", "method"]), inner),
            ),
            max_leaves=5,
        ),
    ).map(lambda members: encode({"jsonrpc": "2.0"} | members)),
)


@given(st.lists(st.tuples(st.sampled_from([CLIENT, UPSTREAM]), messages), max_size=12), st.booleans(), st.data())
@settings(max_examples=300, deadline=None)
def test_nothing_that_is_said_raises(said: list[tuple[Any, bytes]], opened: bool, data: st.DataObject) -> None:
    talk = Conversation(Policy(methods={"x"}), held=not opened)
    methods = [
        "tools/list",
        "completion/complete",
        "subscriptions/listen",
        "server/discover",
        "initialize",
        "tools/call",
    ]
    for id_ in data.draw(st.lists(st.integers(-2, 2), max_size=3)):
        talk.client(request(id_, data.draw(st.sampled_from(methods)), name="t"))
    for side, line in said:
        talk.hear(side, line + b"\n" if not line.endswith(b"\n") else line)
    talk.ends()


def test_memory_does_not_grow_with_the_number_of_requests() -> None:
    talk = Conversation()
    for index in range(30_000):
        talk.client(request(index, "ping"))
        if index % 3 == 0:
            talk.client(notice("notifications/cancelled", requestId=index))
        if index % 3 != 1 or index % 2:
            talk.server(result(index))
        else:
            talk.server(b'{"jsonrpc":"2.0","id":' + str(index).encode() + b',"result":[]}\n')
    session = talk.session
    assert len(session._requests) == 0
    assert len(session._reserved) <= 10_001
