"""Checks what a call owes: how much, on which counter, and under which key."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from mcpguard.errors import PolicyError
from mcpguard.policy.charging import used_up
from mcpguard.policy.compile import compile_policy
from mcpguard.policy.decision import Charge, Decision, ToolCall
from mcpguard.policy.evaluate import evaluate
from mcpguard.policy.model import PolicyFile

Json = dict[str, object]
ABSENT = object()


def compiled(parts: Json) -> object:
    return compile_policy(PolicyFile.model_validate({"version": "1"} | parts))


def judge(limits: list[Json], arguments: Json, name: str = "t", **parts: object) -> Decision:
    document = {"version": "1", "tools": {"t*": {"limits": limits}}, **parts}
    return evaluate(compile_policy(PolicyFile.model_validate(document)), ToolCall(name, arguments))


def limit(**more: object) -> Json:
    return {"counter": "c", "window": "minute", "max": 100} | more


@pytest.mark.parametrize(
    ("cost", "amount"),
    [
        (5, 5),
        (Decimal("5.00"), 5),
        (Decimal("0.1"), Decimal("0.1")),
        (0, 0),
        (Decimal("-0.0"), 0),
        (Decimal("0e-999999"), 0),
        (10**300, 10**300),
        (Decimal("1e400"), 10**400),
    ],
)
def test_a_cost_is_what_the_argument_says(cost: object, amount: object) -> None:
    (charge,) = judge([limit(cost="args.a.b")], {"a": {"b": cost}}).charges
    assert charge.amount == amount
    assert (charge.counter, charge.rule, charge.key) == ("c", "/tools/t*/limits/0", None)


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (ABSENT, "args.a is not given, and for the limit on it it must be a number"),
        ("5", 'args.a is "5", and for the limit on it it must be a number'),
        (
            Decimal("1e401"),
            "args.a is 1e401, and for the limit on it it must be a number that can be added up exactly",
        ),
        (True, "args.a is true, and for the limit on it it must be a number"),
        (None, "args.a is null, and for the limit on it it must be a number"),
        (-1, "args.a is -1, and for the limit on it it must not be negative"),
        (Decimal("-0.1"), "args.a is -0.1, and for the limit on it it must not be negative"),
        (
            Decimal("1e-999999"),
            "args.a is 1e-999999, and for the limit on it it must be a number that can be added up exactly",
        ),
    ],
)
def test_a_cost_that_nobody_can_add_up_is_refused(cost: object, message: str) -> None:
    decision = judge([limit(cost="args.a")], {} if cost is ABSENT else {"a": cost})
    assert [(reason.code, reason.rule, reason.message) for reason in decision.reasons] == [
        ("arguments", "/tools/t*/limits/0", message)
    ]


def test_a_cost_below_what_holds_nothing_is_not_given() -> None:
    (reason,) = judge([limit(cost="args.a.b")], {"a": 5}).reasons
    assert reason.message == "args.a.b is not given, and for the limit on it it must be a number"


@pytest.mark.parametrize(
    ("value", "short"),
    [("x" * 100, True), ("x" * 101, False), ("\ud800" * 101, False), ("1" * 400, True), ("1" * 401, False)],
    ids=["100 characters", "101", "surrogates", "400 digits", "401"],
)
def test_a_long_text_is_counted_under_its_digest(value: str, short: bool) -> None:
    key = judge([limit(per="args.a")], {"a": value}).charges[0].key
    assert key is not None
    assert (key == value) is short
    assert short or (key.startswith("sha256:") and len(key) == 71)


def test_a_cost_that_is_not_finite_is_refused() -> None:
    for cost in (Decimal("Infinity"), Decimal("NaN")):
        assert "must be finite" in judge([limit(cost="args.a")], {"a": cost}).reasons[0].message


@pytest.mark.parametrize(
    "spellings",
    [
        pytest.param(["Ann", " ann ", "ANN", "\uff21nn"], id="text"),
        pytest.param([5, Decimal("5.0"), "5", "5.0", " 05", "+5", "5e0", "\uff15"], id="numbers"),
        pytest.param([Decimal("0.5"), ".5", "0.50", "5E-1"], id="fractions"),
        pytest.param([True, "true", " TRUE"], id="true"),
        pytest.param([False, "false"], id="false"),
        pytest.param(["x" * 1000, "X" * 1000], id="long text"),
    ],
)
def test_another_spelling_is_no_other_counter(spellings: list[object]) -> None:
    keys = {judge([limit(per="args.a")], {"a": value}).charges[0].key for value in spellings}
    assert len(keys) == 1
    assert len(str(keys.pop())) <= 100


def test_other_values_have_other_counters() -> None:
    values = ["a", "b", "", 0, 1, "1e99999", True, "x" * 1000, "x" * 1001]
    assert len({judge([limit(per="args.a")], {"a": value}).charges[0].key for value in values}) == len(values)


@pytest.mark.parametrize("value", [ABSENT, None, [1], {"a": 1}], ids=["absent", "null", "a list", "an object"])
def test_a_key_that_is_no_scalar_is_refused(value: object) -> None:
    decision = judge([limit(per="args.a")], {} if value is ABSENT else {"a": value})
    assert decision.reasons[0].code == "arguments"
    assert decision.reasons[0].message.endswith("it must be text, a number, `true` or `false`")


def test_each_tool_may_have_a_counter_of_its_own() -> None:
    assert [judge([limit(per="tool")], {}, name).charges[0].key for name in ("ta", "tA")] == ["ta", "tA"]


def test_a_counter_that_is_met_twice_is_charged_once_the_larger_cost_against_the_smaller_maximum() -> None:
    limits = [limit(max=10), limit(max=7, cost="args.a"), limit(max=9, cost="args.b")]
    assert judge(limits, {"a": 3, "b": 5}).charges == (Charge("c", "/tools/t*/limits/1", 60, 7, "session", amount=5),)
    assert judge(limits, {"a": 3, "b": 2}).charges == (Charge("c", "/tools/t*/limits/1", 60, 7, "session", amount=3),)


def test_limits_of_every_tool_are_charged_too() -> None:
    common = {"limits": [{"window": "day", "max": 3, "align": "calendar", "per": "tool"}]}
    assert judge([], {}, all_tools=common).charges == (
        Charge("/all_tools/limits/0", "/all_tools/limits/0", 86_400, 3, "session", calendar=True, key="t"),
    )


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"align": "calendar"}, "the align `calendar` here and `none`"),
        ({"per": "tool"}, "the per `tool` here and `none`"),
        ({"per": "args.a"}, "the per `args.a` here and `none`"),
    ],
)
def test_limits_of_one_counter_agree(other: Json, what: str) -> None:
    with pytest.raises(PolicyError) as raised:
        compiled({"tools": {"a": {"limits": [limit(), limit(**other)]}}})
    assert what in raised.value.message


def test_resources_share_counters_with_tools_and_agree_with_them() -> None:
    with pytest.raises(PolicyError):
        compiled({"tools": {"a": {"limits": [limit(per="tool")]}}, "resources": {"*": {"limits": [limit()]}}})
    compiled({"tools": {"a": {"limits": [limit(cost="args.a")]}}, "resources": {"*": {"limits": [limit()]}}})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"cost": "args.*"}, "cost"),
        ({"cost": "amount"}, "cost"),
        ({"cost": "tool"}, "cost"),
        ({"per": "args.a.*.b"}, "per"),
        ({"per": "tools"}, "per"),
        ({"align": "calender"}, "align"),
        ({"align": "calendar", "window": "second"}, "align"),
        ({"align": "calendar", "window": "15m"}, "align"),
    ],
)
def test_what_a_limit_cannot_be_charged_by_does_not_load(changes: Json, key: str) -> None:
    with pytest.raises(ValidationError) as raised:
        compiled({"tools": {"a": {"limits": [limit(**changes)]}}})
    (error,) = raised.value.errors()
    assert error["loc"] == ("tools", "a", "limits", 0, key)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "counter c allows 3 per 90 seconds"),
        ({"never": True}, "counter c allows 3 per 90 seconds, so it never passes"),
        ({"full": True}, "counter c has as many different keys as it can hold"),
    ],
    ids=["for now", "for ever", "no room for another key"],
)
def test_a_limit_that_is_used_up_is_named_with_what_it_allows(how: dict[str, bool], said: str) -> None:
    assert used_up(Charge("c", "/tools/t/limits/0", 90, 3, "session"), **how) == said
