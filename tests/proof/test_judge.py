"""Checks that cases are judged as the guard would judge the calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.policy.compile import compile_policy
from mcpguard.policy.decision import ToolCall
from mcpguard.policy.model import PolicyFile
from mcpguard.proof.cases import AnyCase, CasesFile
from mcpguard.proof.judge import NOWHERE, Result, Surroundings, judge

if TYPE_CHECKING:
    from mcpguard.policy.evaluate import Policy

MINUTE = {"window": "minute", "max": 2}
AMOUNT = {"counter": "spend", "window": "hour", "max": 100, "cost": "args.amount", "per": "args.who"}


def policy(**keys: Any) -> Policy:
    return compile_policy(PolicyFile.model_validate({"version": "1", **keys}))


def case(value: dict[str, Any]) -> AnyCase:
    (found,) = CasesFile.model_validate({"cases": [value]}).cases
    return found


def judged(holder: Policy, value: dict[str, Any], surroundings: Surroundings = NOWHERE) -> Result:
    return judge(holder, case(value), surroundings)


def sequence(holder: Policy, *steps: dict[str, Any]) -> Result:
    return judged(holder, {"sequence": [{"tool": "t", **step} for step in steps]})


RULED = policy(
    hide=["secret_*"],
    tools={
        "t": {"require": [{"conditions": [{"path": "args.a", "op": "eq", "value": 1}]}]},
        "ask": {"approve_if": [{"conditions": [{"path": "args.a", "op": "eq", "value": 1}]}]},
        "big": {"action": "require_approval", "limits": [AMOUNT]},
        "at": {"require": [{"conditions": [{"path": "args.path", "op": "under", "value": ["/data"]}]}]},
        "@read": {},
    },
    resources={"x://a": {}, "x://b": {"action": "require_approval"}},
    prompts={"p": {"action": "hide"}},
)


@pytest.mark.parametrize(
    ("value", "effect", "rules"),
    [
        ({"tool": "t", "arguments": {"a": 1}}, "allow", []),
        ({"tool": "t", "arguments": {"a": 2}}, "deny", ["/tools/t/require/0"]),
        ({"tool": "u"}, "deny", ["/default"]),
        ({"tool": "u", "category": "read"}, "allow", []),
        ({"tool": "v"}, "allow", []),
        ({"tool": "v", "category": "write"}, "deny", ["/default"]),
        ({"tool": "secret_x"}, "hide", ["/hide/0"]),
        ({"tool": "ask", "arguments": {"a": 1}}, "approve", ["/tools/ask/approve_if/0"]),
        ({"tool": "at", "arguments": {"path": "here"}}, "allow", []),
        ({"tool": "at", "arguments": {"path": "/etc"}}, "deny", ["/tools/at/require/0"]),
        ({"tool": "big", "arguments": {"amount": 100, "who": "me"}}, "approve", ["/tools/big/action"]),
        (
            {"tool": "big", "arguments": {"amount": 101, "who": "me"}},
            "deny",
            ["/tools/big/limits/0", "/tools/big/action"],
        ),
        ({"resource": "x://a"}, "allow", []),
        ({"resource": "x://b"}, "approve", ["/resources/x:~1~1b/action"]),
        ({"resource": "x://c"}, "deny", ["/default"]),
        ({"prompt": "p"}, "hide", ["/prompts/p/action"]),
    ],
    ids=str,
)
def test_a_call_is_judged_with_every_reason(value: dict[str, Any], effect: str, rules: list[str]) -> None:
    around = Surroundings(lambda path: path if path.startswith("/") else f"/data/{path}", {"v": "read"})
    because = {} if effect == "allow" else {"because": rules}
    found = judged(RULED, {**value, "expect": effect, **because}, around)
    assert found.holds
    assert (found.outcomes[0].effect, [reason.rule for reason in found.outcomes[0].reasons]) == (effect, rules)
    for other in {"allow", "deny", "approve", "hide"} - {effect}:
        assert judged(RULED, {**value, "expect": other}, around).call == 1


def test_a_rule_that_is_not_among_the_reasons_is_missed() -> None:
    value = {"tool": "t", "expect": "deny", "because": ["/tools/t/require/0"]}
    assert judged(RULED, value).holds
    assert not judged(RULED, {**value, "because": ["/tools/t/require/0", "/default"]}).holds
    assert judge(RULED, case({**value, "because": ["/old"]}), NOWHERE, lambda _: "/old").holds


def test_every_case_begins_with_empty_counters() -> None:
    once = policy(tools={"t": {"limits": [{"window": 60, "max": 1}]}})
    assert [judged(once, {"tool": "t", "expect": "allow"}).holds for _ in range(3)] == [True] * 3


def test_the_limit_refuses_the_call_that_is_too_many_until_the_window_has_passed() -> None:
    limited = policy(tools={"t": {"limits": [MINUTE]}})
    refused = {"expect": "deny", "because": ["/tools/t/limits/0"]}
    steps: list[dict[str, Any]] = [
        {"expect": "allow"},
        {"expect": "allow", "after": "10s"},
        {**refused, "times": 3},
        {**refused, "after": "49999ms"},
        {"expect": "allow", "after": "1ms"},
        refused,
        {"expect": "allow", "after": "10s"},
    ]
    assert sequence(limited, *steps).holds


def test_the_call_that_breaks_a_sequence_is_counted_and_nothing_is_judged_after_it() -> None:
    limited = policy(tools={"t": {"limits": [MINUTE]}})
    found = sequence(limited, {"expect": "allow"}, {"expect": "allow", "times": 5}, {"expect": "deny"})
    assert (found.call, len(found.outcomes)) == (3, 2)
    assert found.outcomes[1].reasons[0].message == "counter /tools/t/limits/0 allows 2 per minute"
    assert sequence(limited, {"expect": "deny"}).call == 1
    assert sequence(limited, {"expect": "allow", "times": 2}, {"expect": "approve"}).call == 3


def test_what_is_refused_is_not_charged() -> None:
    limited = policy(tools={"t": {"limits": [{"window": 60, "max": 1}, {"window": 60, "max": 9, "cost": "args.n"}]}})
    found = sequence(
        limited,
        {"arguments": {"n": 10}, "expect": "deny", "times": 5, "because": ["/tools/t/limits/1"]},
        {"arguments": {}, "expect": "deny", "times": 5},
        {"arguments": {"n": 9}, "expect": "allow"},
    )
    assert found.holds
    never = sequence(limited, {"arguments": {"n": 10}, "expect": "allow"}).outcomes[0].reasons[0]
    assert never.message.endswith("allows 9 per minute, so it never passes")


def test_what_is_approved_is_charged_and_what_does_not_fit_is_not_asked_about() -> None:
    spend = [{"arguments": {"amount": 60, "who": who}} for who in ("me", "ME", "you")]
    found = judged(
        RULED,
        {
            "sequence": [
                {"tool": "big", **spend[0], "expect": "approve"},
                {"tool": "big", **spend[1], "expect": "deny", "because": ["/tools/big/limits/0"]},
                {"tool": "big", **spend[2], "expect": "approve"},
            ]
        },
    )
    assert found.holds


def test_calendar_windows_begin_with_the_case() -> None:
    for window, whole in {"minute": "59999ms", "hour": "3599s", "day": "86399s", "week": "604799s"}.items():
        limited = policy(tools={"t": {"limits": [{"window": window, "max": 1, "align": "calendar"}]}})
        steps = [{"expect": "allow", "after": whole}, {"expect": "deny"}, {"expect": "allow", "after": "1s"}]
        assert sequence(limited, *steps).holds, window


def test_nothing_is_charged_where_one_limit_does_not_fit() -> None:
    shared = policy(
        all_tools={"limits": [{"counter": "all", "window": 60, "max": 2}]},
        tools={"t": {"limits": [{"window": 60, "max": 1}]}, "u": {}},
    )
    steps = [
        {"tool": "t", "expect": "allow"},
        {"tool": "t", "expect": "deny", "times": 4},
        {"tool": "u", "expect": "allow"},
        {"tool": "u", "expect": "deny", "because": ["/all_tools/limits/0"]},
    ]
    assert judged(shared, {"sequence": steps}).holds


def test_what_a_case_asks_is_a_call_of_the_guard() -> None:
    first = CasesFile.model_validate({"cases": [{"tool": "t", "expect": "deny"}]}).cases[0]
    assert first.call(NOWHERE.resolve, {}) == ToolCall("t", {})  # type: ignore[union-attr]
