"""The short way of judging a call decides, charges and records what the long way does."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.protocol.commands import Answered, Consult, InFlight
from mcpguard.protocol.session import Session
from mcpguard.protocol.wire import CLIENT, UPSTREAM
from mcpguard.proxy.enforce import Enforcer
from mcpguard.proxy.records import MAX_REMEMBERED, Journal
from mcpguard.stores.audit import Recorder
from mcpguard.stores.counters import MemoryCounters
from mcpguard.stores.files import load_policy
from support import write_policy
from support.verdicts import at_once

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW_NS = 5_000_000_000
POLICY: dict[str, Any] = {
    "default": "deny",
    "audit": {"arguments": "full"},
    "tools": {
        "open": {},
        "few": {"limits": [{"counter": "c", "window": "minute", "max": 2}]},
        "sum": {"limits": [{"counter": "d", "window": "hour", "max": 10, "cost": "args.n"}]},
        "daily": {"limits": [{"counter": "e", "window": "day", "max": 1, "align": "calendar"}]},
        "rule": {"require": [{"conditions": [{"path": "args.a", "op": "eq", "value": "x"}]}]},
        "shut": {"action": "deny"},
    },
}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("open", {}),
    ("open", {"a": "x", "b": [1, None, {"c": Decimal("1.50")}]}),
    ("unnamed", {}),
    ("shut", {}),
    *[("few", {})] * 3,
    *[("sum", {"n": 4})] * 3,
    ("sum", {}),
    *[("daily", {})] * 2,
    ("rule", {"a": "x"}),
    ("rule", {"a": "y"}),
]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Enforcer]:
    loaded = load_policy(write_policy(tmp_path, POLICY))

    def enforcer(*, recorded: bool = True, counters: MemoryCounters | None = None) -> Enforcer:
        return Enforcer(
            loaded.policy,
            counters or MemoryCounters(),
            clock=lambda: NOW_NS,
            wall_clock=lambda: NOW_NS,
            session_id="s",
            parties=Session(now_ns=0),
            recorder=Recorder(bytes(32), {}, command=[]) if recorded else None,
        )

    return enforcer


def entry(id_: int, tool: str) -> InFlight:
    made = InFlight(CLIENT, id_, "tools/call", b"", id_)
    made.subject = tool
    return made


def test_what_is_admitted_and_what_is_written_is_the_same_either_way(make: Callable[..., Enforcer]) -> None:
    long, short = make(), make()
    long_journal, short_journal = Journal(), Journal()
    for id_, (tool, arguments) in enumerate(CALLS):
        judged = at_once(long.consult(Consult(entry(id_, tool), "tool", tool, arguments), long_journal))
        ticket = entry(id_, tool)
        before = len(short_journal.lines)
        admitted = short.admit(ticket, arguments, NOW_NS, short_journal)
        assert admitted is judged.admitted
        if admitted:
            assert ticket.verdict == judged
            assert ticket.decided_ns == NOW_NS
        else:
            # Nothing has happened, so the long way comes to its own end.
            assert len(short_journal.lines) == before
            assert short.consult(Consult(entry(id_, tool), "tool", tool, arguments), short_journal) == judged
    assert short_journal.lines == long_journal.lines
    admitted_calls = [json.loads(line) for line in short_journal.lines if json.loads(line)["effect"] == "allow"]
    assert [record["request_id"] for record in admitted_calls] == [0, 1, 4, 5, 7, 8, 11, 13]


@pytest.mark.parametrize("result", [{"content": []}, {"content": [], "isError": True}], ids=["well", "badly"])
def test_an_end_is_written_the_same_either_way(make: Callable[..., Enforcer], result: dict[str, Any]) -> None:
    enforcer, journal = make(), Journal()
    ticket = entry(1, "open")
    assert enforcer.admit(ticket, {}, NOW_NS - 1_500_000, journal)
    status = "tool_error" if result.get("isError") else "ok"
    journal.lines.clear()
    assert enforcer.records is not None
    enforcer.records.end_call(ticket, result, 77, NOW_NS, journal)
    enforcer.records.end(Answered(ticket, status, 77), journal)
    first, second = map(json.loads, journal.lines)
    assert first == second
    assert (first["status"], first["duration_ms"], first["result_bytes"]) == (status, 1.5, 77)


def test_without_a_log_nothing_is_written(make: Callable[..., Enforcer]) -> None:
    enforcer, journal = make(recorded=False), Journal()
    assert enforcer.admit(entry(1, "few"), {}, NOW_NS, journal)
    assert enforcer.records is None
    assert journal.lines == []


def test_what_cannot_be_written_down_is_neither_admitted_nor_charged(make: Callable[..., Enforcer]) -> None:
    counters = MemoryCounters()
    enforcer, journal = make(counters=counters), Journal()
    assert not enforcer.admit(entry(1, "few"), {"a": object()}, NOW_NS, journal)
    assert [enforcer.admit(entry(id_, "few"), {}, NOW_NS, journal) for id_ in (2, 3, 4)] == [True, True, False]
    assert len(journal.lines) == 2


@pytest.mark.parametrize("short", [False, True], ids=["the long way", "the short way"])
def test_a_call_that_never_went_out_costs_nothing(make: Callable[..., Enforcer], *, short: bool) -> None:
    enforcer, journal = make(recorded=not short), Journal()

    def passes(tool: str, **arguments: object) -> InFlight | None:
        ticket = entry(1, tool)
        if short:
            return ticket if enforcer.admit(ticket, arguments, NOW_NS, journal) else None
        verdict = at_once(enforcer.consult(Consult(ticket, "tool", tool, arguments), journal))
        return ticket if verdict.admitted else None

    for tool, arguments, fit in (("few", {}, 2), ("sum", {"n": 4}, 2), ("daily", {}, 1), ("open", {}, 3)):
        for _ in range(3):
            tickets = [passes(tool, **arguments) for _ in range(fit)]
            for ticket in tickets:
                assert ticket is not None
                enforcer.refund(ticket)
                enforcer.refund(ticket)
        assert all(passes(tool, **arguments) for _ in range(fit))
        assert (passes(tool, **arguments) is None) == (tool != "open")


def test_a_call_that_is_charged_and_cannot_be_written_down_costs_nothing(
    make: Callable[..., Enforcer], monkeypatch: pytest.MonkeyPatch
) -> None:
    enforcer, journal = make(), Journal()
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "line", None)
        for id_ in range(5):
            verdict = at_once(enforcer.consult(Consult(entry(id_, "few"), "tool", "few", {}), journal))
            assert verdict.code == "internal"
    assert [enforcer.admit(entry(id_, "few"), {}, NOW_NS, journal) for id_ in (7, 8, 9)] == [True, True, False]


def test_a_call_over_its_limit_is_told_which_it_is_and_when_to_come_again(make: Callable[..., Enforcer]) -> None:
    enforcer, journal = make(), Journal()
    calls = [Consult(entry(id_, "sum"), "tool", "sum", {"n": 4}) for id_ in range(3)]
    verdict = [at_once(enforcer.consult(call, journal)) for call in calls][-1]
    assert (verdict.admitted, verdict.code, verdict.rule) == (False, "rate_limited", "/tools/sum/limits/0")
    assert (verdict.retry_after_ms, verdict.remaining) == (3_600_000, 2)
    assert verdict.text.endswith(". Try again in 3600 s.")
    never = at_once(enforcer.consult(Consult(entry(3, "sum"), "tool", "sum", {"n": 11}), journal))
    assert (never.code, never.retry_after_ms, never.text.endswith(". Do not retry.")) == ("rate_limited", None, True)


def test_a_call_over_its_limit_that_cannot_be_written_down_gives_nothing_back(
    make: Callable[..., Enforcer], monkeypatch: pytest.MonkeyPatch
) -> None:
    enforcer, journal = make(), Journal()
    assert [enforcer.admit(entry(id_, "few"), {}, NOW_NS, journal) for id_ in (1, 2)] == [True, True]
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "line", None)
        verdict = at_once(enforcer.consult(Consult(entry(3, "few"), "tool", "few", {}), journal))
        assert verdict.code == "internal"
    assert not enforcer.admit(entry(4, "few"), {}, NOW_NS, journal)


def test_of_the_refused_requests_of_a_server_a_hundred_a_minute_are_written_down(make: Callable[..., Enforcer]) -> None:
    enforcer, journal = make(), Journal()

    def ask(id_: int, method: str) -> bool:
        ticket = InFlight(UPSTREAM, id_, method, b"", 0)
        return at_once(enforcer.consult(Consult(ticket, "server_request", method), journal)).admitted

    assert not any(ask(id_, f"made/up{id_}") for id_ in range(150))
    assert enforcer.records is not None
    enforcer.records.write_counts(journal)
    *refused, counted = map(json.loads, journal.lines)
    assert [record["request_id"] for record in refused] == list(range(100))
    assert {record["effect"] for record in refused} == {"deny"}
    assert (counted["event"], counted["suppressed"]) == ("refused_request", 50)


def test_tool_names_that_a_client_makes_up_do_not_fill_the_memory(make: Callable[..., Enforcer]) -> None:
    enforcer, journal = make(), Journal()
    for number in range(3000):
        enforcer.consult(Consult(entry(number, f"made up {number}"), "tool", f"made up {number}", {}), journal)
    assert enforcer.records is not None
    assert len(enforcer.records._tool_calls) <= MAX_REMEMBERED
    assert json.loads(journal.lines[2500])["tool"] == "made up 2500"
