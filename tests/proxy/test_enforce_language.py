"""Checks that the enforcement point asks the policy about everything that the language governs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.policy.evaluate import compile_policy
from mcpguard.policy.model import PolicyFile
from mcpguard.protocol.commands import Consult, InFlight
from mcpguard.protocol.wire import CLIENT
from mcpguard.proxy.enforce import Enforcer
from mcpguard.proxy.records import Journal
from mcpguard.stores.audit import Recorder
from mcpguard.stores.counters import MemoryCounters
from support.verdicts import at_once

if TYPE_CHECKING:
    from mcpguard.policy.decision import Code, Verdict

DAY_NS = 86_400 * 10**9


class Clocks:
    now_ns = 0
    wall_ns = 0


def enforcer(parts: dict[str, Any], clocks: Clocks, *, max_keys: int = 10) -> Enforcer:
    return Enforcer(
        compile_policy(PolicyFile.model_validate({"version": "1"} | parts)),
        MemoryCounters(max_keys),
        clock=lambda: clocks.now_ns,
        wall_clock=lambda: clocks.wall_ns,
        session_id="s",
        parties=SimpleNamespace(client=None, server=None),
        recorder=Recorder(bytes(32), {}, command=[]),
        resolve=lambda path: path if path.startswith("/") else "/home/me",
    )


def consult(guard: Enforcer, kind: str, method: str, subject: str, arguments: dict[str, Any] | None = None) -> Verdict:
    ticket = InFlight(CLIENT, 1, method, b"", 1)
    ticket.subject = subject
    return at_once(guard.consult(Consult(ticket, kind, subject, arguments), Journal()))


def test_lists_of_each_kind_follow_their_section() -> None:
    policy: dict[str, Any] = {"tools": {"t": {}}, "resources": {"file:///a/*": {}}, "prompts": {"p": {}}}
    guard = enforcer(policy, Clocks())
    assert guard.shows("tools/list", "t")
    assert guard.shows("resources/list", "file:///a/b")
    assert guard.shows("resources/templates/list", "file:///{x}")
    assert guard.shows("prompts/list", "p")
    assert not guard.shows("tools/list", "p")
    assert not guard.shows("resources/list", "file:///{x}")
    assert not guard.shows("resources/templates/list", "mem://{x}")
    assert not guard.shows("prompts/list", "t")
    assert guard.permits_resource("file:///a/b")
    assert not guard.permits_resource("file:///b")


@pytest.mark.parametrize(
    ("kind", "method", "subject", "admitted"),
    [
        ("resource", "resources/read", "file:///a/b", True),
        ("resource", "resources/read", "file:///{x}", False),
        ("resource", "resources/subscribe", "file:///b", False),
        ("resource", "completion/complete", "file:///{x}", True),
        ("resource", "completion/complete", "mem://{x}", False),
        ("prompt", "prompts/get", "p", True),
        ("prompt", "completion/complete", "q", False),
    ],
)
def test_uses_of_each_kind_follow_their_section(kind: str, method: str, subject: str, *, admitted: bool) -> None:
    guard = enforcer({"resources": {"file:///a/*": {}}, "prompts": {"p": {}}}, Clocks())
    assert consult(guard, kind, method, subject).admitted is admitted


def test_a_calendar_limit_follows_the_wall_clock_and_a_sliding_one_does_not() -> None:
    clocks = Clocks()
    limits = {
        "aligned": {"limits": [{"window": "day", "max": 1, "align": "calendar"}]},
        "sliding": {"limits": [{"window": "day", "max": 1}]},
    }
    guard = enforcer({"tools": limits}, clocks)
    for tool in limits:
        assert consult(guard, "tool", "tools/call", tool).admitted
        assert consult(guard, "tool", "tools/call", tool).code == "rate_limited"
    clocks.wall_ns = DAY_NS
    assert consult(guard, "tool", "tools/call", "aligned").admitted
    assert not consult(guard, "tool", "tools/call", "sliding").admitted


def test_a_counter_with_too_many_keys_says_so() -> None:
    limits = [{"counter": "c", "window": "minute", "max": 5, "per": "args.who"}]
    guard = enforcer({"tools": {"t": {"limits": limits}}}, Clocks(), max_keys=1)
    assert consult(guard, "tool", "tools/call", "t", {"who": "ann"}).admitted
    refused = consult(guard, "tool", "tools/call", "t", {"who": "bob"})
    assert refused.code == "rate_limited"
    assert "counter c has as many different keys as it can hold. Try again in 60 s." in refused.text


def test_paths_are_judged_through_what_the_guard_was_given() -> None:
    rule = {"conditions": [{"path": "args.path", "op": "under", "value": "/srv"}]}
    guard = enforcer({"tools": {"t": {"require": [rule]}}}, Clocks())
    assert consult(guard, "tool", "tools/call", "t", {"path": "/srv/a"}).admitted
    assert not consult(guard, "tool", "tools/call", "t", {"path": "/etc/a"}).admitted
    assert not consult(guard, "tool", "tools/call", "t").admitted


@pytest.mark.parametrize(
    ("mode", "part"),
    [
        ("digest", None),
        ("keys", b'"arguments":{"n":null,"who":null}'),
        ("masked", b'"arguments":{"n":"number","who":"string(3)"}'),
        ("full", b'"arguments":{"n":3,"who":"ann"}'),
    ],
)
def test_the_log_holds_what_the_policy_asks_for(mode: str, part: bytes | None) -> None:
    limits = [{"window": "minute", "max": 5, "cost": "args.n", "per": "args.who"}]
    guard = enforcer({"tools": {"t": {"limits": limits}}, "audit": {"arguments": mode}}, Clocks())
    ticket = InFlight(CLIENT, 1, "tools/call", b"", 1)
    ticket.subject = "t"
    journal = Journal()
    assert at_once(guard.consult(Consult(ticket, "tool", "t", {"n": 3, "who": "ann"}), journal)).admitted
    (line,) = journal.lines
    assert (b'"arguments":' in line) is (part is not None)
    assert part is None or part in line
    assert (b'"amount":3.0' in line) is (mode == "full")


def test_whether_tools_may_change_follows_the_policy_in_force() -> None:
    guard = enforcer({}, Clocks())
    assert not guard.permits_drift()
    guard.replace(compile_policy(PolicyFile.model_validate({"version": "1", "drift": "allow"})), Journal())
    assert guard.permits_drift()


FAULTY: dict[str, Any] = {
    "tools": {"open": {}, "ruled": {"require": [{"conditions": []}]}, "shut": {"action": "deny"}},
    "hide": ["gone"],
    "prompts": {"open": {}, "gone": {"action": "hide"}},
    "resources": {"open:*": {}, "gone:*": {"action": "hide"}},
}


def faulty(kind: str, method: str, subject: str, code: Code) -> Verdict:
    ticket = InFlight(CLIENT, 1, method, b"", 1)
    ticket.subject = subject
    return at_once(
        enforcer(FAULTY, Clocks()).consult(Consult(ticket, kind, subject, None, (code, "because")), Journal())
    )


@pytest.mark.parametrize("code", ["drift", "malformed"])
@pytest.mark.parametrize("tool", ["open", "ruled", "shut", "not named"])
def test_a_tool_with_a_fault_is_refused_for_that_whatever_the_policy_says(code: Code, tool: str) -> None:
    verdict = faulty("tool", "tools/call", tool, code)
    assert (verdict.admitted, verdict.hidden, verdict.code) == (False, False, code)
    assert verdict.rule == ("/drift" if code == "drift" else "")
    assert verdict.text == f"mcpguard: {tool} denied: because. Do not retry unchanged."


@pytest.mark.parametrize(
    ("kind", "method", "subject"),
    [
        ("tool", "tools/call", "gone"),
        ("prompt", "prompts/get", "gone"),
        ("resource", "resources/read", "gone:a"),
        ("resource", "completion/complete", "gone:{x}"),
    ],
)
def test_what_is_hidden_has_no_fault_that_anybody_hears_of(kind: str, method: str, subject: str) -> None:
    assert faulty(kind, method, subject, "malformed") == consult(enforcer(FAULTY, Clocks()), kind, method, subject)


@pytest.mark.parametrize(
    ("kind", "method", "subject"),
    [
        ("prompt", "prompts/get", "open"),
        ("resource", "resources/read", "open:a"),
        ("resource", "completion/complete", "open:{x}"),
        ("method", "tools/call", "tools/call"),
    ],
)
def test_what_has_a_fault_is_refused_for_that(kind: str, method: str, subject: str) -> None:
    verdict = faulty(kind, method, subject, "busy")
    assert (verdict.admitted, verdict.hidden, verdict.code) == (False, False, "busy")
