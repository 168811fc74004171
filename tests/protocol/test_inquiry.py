"""The guard's own question for a server's tools: one at a time, page by page, answered to nobody, and never for ever."""

from __future__ import annotations

from typing import Any

import pytest

from mcpguard.protocol.commands import Forward, InFlight, Listed
from mcpguard.protocol.inquiry import MAX_PAGES, PATIENCE_NS
from mcpguard.protocol.probes import WITHOUT_SIGN_NS
from mcpguard.protocol.session import CAPABILITIES_KEY, VERSION_KEY
from mcpguard.protocol.wire import UPSTREAM, encode
from support.conversation import Conversation, Policy, call, error, modern, noted, request, result, shortened

Json = dict[str, Any]


class Inquiring(Conversation):
    """A session in which one call waits for the server's list."""

    def __init__(self, *, of_the_newer_revision: bool = False, policy: Policy | None = None) -> None:
        super().__init__(policy, waiting=True)
        self.client(modern(call(1, "t"), roots={}) if of_the_newer_revision else call(1, "t"))
        self.waits = self.asked[0].ticket
        self.question = self.inquire(self.waits)

    def inquire(self, ticket: InFlight) -> Json | None:
        """Return what the server is asked, if it is."""
        commands = self.session.inquire(ticket)
        if not commands:
            return None
        (forward,) = commands
        assert isinstance(forward, Forward)
        assert forward.to == UPSTREAM
        return shortened(forward.line)

    @property
    def asked_under(self) -> str | None:
        inquiry = self.session._inquiry
        assert inquiry is not None
        return inquiry.id

    def answers(self, **body: Any) -> list[Any]:
        """Give the server's answer to the question that is open."""
        line = {"jsonrpc": "2.0", "id": self.asked_under, "result": body}
        return self.session.receive(UPSTREAM, encode(line), self.now_ns)


def due(talk: Conversation) -> int | None:
    return talk.session.deadline_ns


def tool(name: str) -> Json:
    return {"name": name, "inputSchema": {"type": "object"}}


def listed(commands: list[Any]) -> list[InFlight]:
    (command,) = commands
    assert isinstance(command, Listed)
    return command.tickets


def test_before_the_2026_revision_it_is_asked_without_parameters_and_from_then_on_with_the_clients_version() -> None:
    old, new = Inquiring().question, Inquiring(of_the_newer_revision=True).question
    assert old is not None
    assert new is not None
    assert (old["method"], old["params"]) == ("tools/list", {})
    assert new["params"] == {"_meta": {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: {}}}
    assert old["id"].startswith("mcpguard-")
    assert len(old["id"]) == len("mcpguard-") + 32
    assert old["id"] != new["id"]


def test_what_it_shows_is_learnt_and_reaches_nobody() -> None:
    talk = Inquiring()
    assert listed(talk.answers(tools=[tool("a"), tool("t")])) == [talk.waits]
    assert talk.policy.seen == [([tool("a"), tool("t")], [])]
    assert talk.session.definition("t") is not None
    assert due(talk) is None


def test_it_goes_on_from_page_to_page_under_another_id() -> None:
    talk = Inquiring()
    first = talk.asked_under
    (forward,) = talk.answers(tools=[tool("a")], nextCursor="2")
    following = shortened(forward.line)
    assert following["params"] == {"cursor": "2"}
    assert following["id"] != first
    assert listed(talk.answers(tools=[tool("t")])) == [talk.waits]
    assert [name for tools, _ in talk.policy.seen for name in tools] == [tool("a"), tool("t")]  # type: ignore[attr-defined]


def test_a_list_without_an_end_has_one() -> None:
    talk = Inquiring()
    for number in range(MAX_PAGES - 1):
        (forward,) = talk.answers(tools=[tool(f"t{number}")], nextCursor=str(number))
        assert isinstance(forward, Forward)
    assert listed(talk.answers(tools=[], nextCursor="more")) == [talk.waits]


def test_whoever_comes_meanwhile_waits_for_the_same_answer() -> None:
    talk = Inquiring()
    talk.client(call(2, "u"))
    other = talk.asked[1].ticket
    assert talk.inquire(other) is None
    assert listed(talk.answers(tools=[])) == [talk.waits, other]
    assert talk.inquire(other) is not None


@pytest.mark.parametrize("body", [{"tools": "none"}, {"tools": [tool("t")], "nextCursor": 7}])
def test_an_answer_that_is_no_list_ends_it(body: Json) -> None:
    talk = Inquiring()
    assert listed(talk.answers(**body)) == [talk.waits]
    assert talk.policy.seen == []


def test_as_long_as_nobody_asks_no_answer_is_taken_for_one() -> None:
    talk = Conversation()
    for id_ in ("", 0, "mcpguard-"):
        assert talk.server(result(id_, tools=[tool("t")])) == [noted("unmatched_answer")]
    assert talk.policy.seen == []


def test_an_error_ends_it() -> None:
    talk = Inquiring()
    line = {"jsonrpc": "2.0", "id": talk.asked_under, "error": {"code": -32601, "message": "no"}}
    assert listed(talk.session.receive(UPSTREAM, encode(line), 0)) == [talk.waits]


def test_a_server_that_says_nothing_is_not_waited_for_for_ever() -> None:
    talk = Inquiring()
    id_ = talk.asked_under
    assert due(talk) == PATIENCE_NS
    assert talk.session.tick(PATIENCE_NS - 1) == []
    assert listed(talk.session.tick(PATIENCE_NS)) == [talk.waits]
    assert due(talk) is None
    late = {"jsonrpc": "2.0", "id": id_, "result": {"tools": [tool("t")]}}
    assert talk.server(late) == [noted("unmatched_answer")]
    assert talk.policy.seen == []


def test_the_next_one_has_all_its_time_also_at_the_very_end_of_the_last() -> None:
    talk = Inquiring()
    talk.session.tick(PATIENCE_NS)
    talk.inquire(talk.waits)
    assert due(talk) == 2 * PATIENCE_NS


def test_a_probe_and_it_are_each_waited_for_as_long_as_they_may_take() -> None:
    for probe_at_s in (0.0, 9.0):
        talk = Inquiring()
        talk.now_s = probe_at_s
        talk.client(request("probe", "server/discover"))
        dues = sorted([PATIENCE_NS, talk.now_ns + WITHOUT_SIGN_NS])
        for due_ns in dues:
            assert due(talk) == due_ns
            assert talk.session.tick(due_ns - 1) == []
            assert talk.session.tick(due_ns) != []
        assert due(talk) is None


def test_the_server_s_end_ends_it() -> None:
    talk = Inquiring()
    assert ("to client", error(1, -32603)) in talk.ends()
    assert due(talk) is None


def test_a_list_that_the_client_asks_for_is_learnt_from_where_the_policy_needs_it() -> None:
    for needs in (False, True):
        talk = Conversation(Policy(needs_categories=needs))
        talk.client({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        talk.server(result(1, tools=[tool("t")]))
        assert talk.policy.seen == ([([tool("t")], [])] if needs else [])
