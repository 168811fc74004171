"""Checks rules as a whole: how conditions are joined, in which order checks are made, and what is said."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from mcpguard.policy.decision import Decision, Reason, ToolCall
from mcpguard.policy.evaluate import Policy, Rules, compile_policy, decide, evaluate, visible
from mcpguard.policy.model import PolicyFile

Parts = dict[str, object]


def compiled(parts: Parts) -> Policy:
    return compile_policy(PolicyFile.model_validate({"version": "1"} | parts))


def condition(path: str, op: str, *value: object) -> Parts:
    return {"path": path, "op": op} | ({"value": value[0]} if value else {})


def rule(*conditions: Parts, **more: object) -> Parts:
    return {"conditions": list(conditions), **more}


def judge(tool: Mapping[str, object], arguments: Parts, **parts: object) -> Decision:
    return evaluate(compiled({"tools": {"t": tool}, **parts}), ToolCall("t", arguments))


def told(tool: Mapping[str, object], arguments: Parts) -> str:
    return judge(tool, arguments).reasons[0].message


MAIN = condition("args.branch", "eq", "main")
LARGE = condition("args.amount", "gt", 10000)


@pytest.mark.parametrize(
    ("arguments", "fires"),
    [
        ({"branch": "main", "amount": 20000}, True),
        ({"branch": "main", "amount": 5}, False),
        ({"branch": "dev", "amount": "?"}, False),
        ({"branch": "main", "amount": "?"}, True),
        ({"branch": "Main", "amount": "?"}, True),
        ({}, False),
    ],
)
def test_a_rule_is_no_if_one_condition_is_no_and_else_unsure_if_one_is(arguments: Parts, fires: bool) -> None:
    assert (judge({"deny_if": [rule(MAIN, LARGE)]}, arguments).effect == "deny") is fires


def test_an_absent_argument_does_not_fire_a_rule_that_asks_whether_it_exists() -> None:
    tool = {"deny_if": [rule(condition("args.a", "exists"), condition("args.a", "not_in", [1]))]}
    assert judge(tool, {}).effect == "allow"
    assert judge(tool, {"a": 1}).effect == "allow"
    assert judge(tool, {"a": 2}).effect == "deny"


@pytest.mark.parametrize(
    ("kind", "items", "passes"),
    [
        ("require", [1, 1], True),
        ("require", [1, 2], False),
        ("require", [1, "1"], False),
        ("require", [], False),
        ("deny_if", [2, 3], True),
        ("deny_if", [2, 1], False),
        ("deny_if", [2, "1"], False),
        ("deny_if", [], True),
    ],
)
def test_a_star_takes_the_weakest_answer_to_require_and_the_strongest_to_refuse(
    kind: str, items: list[object], passes: bool
) -> None:
    tool = {kind: [rule(condition("args.items.*", "eq", 1))]}
    assert (judge(tool, {"items": items}).effect == "allow") is passes


def test_a_rule_without_conditions_is_yes() -> None:
    assert judge({"require": [rule()]}, {}).effect == "allow"
    decision = judge({"deny_if": [rule(on_deny="not today")]}, {})
    assert [(reason.rule, reason.message) for reason in decision.reasons] == [("/tools/t/deny_if/0", "not today")]
    assert told({"deny_if": [rule()]}, {}) == "the policy has a rule for every call of this tool"


@pytest.mark.parametrize("where", ["tools", "all_tools"])
def test_what_is_always_refused_is_not_listed(where: str) -> None:
    never = {"deny_if": [rule()]}
    policy = compiled(
        {"tools": {"t": never if where == "tools" else {}}} | ({"all_tools": never} if where != "tools" else {})
    )
    assert not visible(policy, "t")
    sometimes = compiled({"tools": {"t": {"deny_if": [rule(MAIN)]}, "u": {"approve_if": [rule()]}}})
    assert visible(sometimes, "t")
    assert visible(sometimes, "u")
    assert visible(compiled({"list": "all", "tools": {"t": never}}), "t")


def test_every_check_that_fails_is_a_reason_and_the_order_of_checks_is_theirs() -> None:
    tool = {
        "action": "require_approval",
        "require": [rule(MAIN, on_deny="only main")],
        "deny_if": [rule(LARGE)],
        "arguments": {"required": ["memo"]},
        "approve_if": [rule()],
        "limits": [{"window": 1, "max": 1, "cost": "args.amount"}],
    }
    common = {"require": [rule(condition("args.user", "exists"))], "deny_if": [rule()]}
    decision = judge(tool, {"branch": "dev", "amount": "lots"}, all_tools=common)
    assert [(reason.code, reason.rule) for reason in decision.reasons] == [
        ("require", "/tools/t/require/0"),
        ("require", "/all_tools/require/0"),
        ("deny_if", "/tools/t/deny_if/0"),
        ("deny_if", "/all_tools/deny_if/0"),
        ("arguments", "/tools/t/arguments"),
        ("arguments", "/tools/t/limits/0"),
    ]
    assert decision.reasons[0].message == "only main"


def test_what_only_a_person_may_allow_says_so_for_every_rule() -> None:
    tool = {"action": "require_approval", "approve_if": [rule(LARGE, reason="it costs"), rule(MAIN)], "reason": "why"}
    decision = judge(tool, {"amount": 20000})
    assert [(reason.code, reason.rule) for reason in decision.reasons] == [
        ("approval_required", "/tools/t/action"),
        ("approval_required", "/tools/t/approve_if/0"),
    ]
    assert [reason.message for reason in decision.reasons] == ["why", "it costs"]
    assert decision.awaits_approval
    assert visible(compiled({"tools": {"t": tool}}), "t")


@pytest.mark.parametrize(
    ("asks", "arguments", "message"),
    [
        pytest.param(
            rule(LARGE),
            {"amount": 20000},
            "args.amount is 20000; the rule wants a person to approve more than 10000",
            id="plain",
        ),
        pytest.param(
            rule(LARGE), {"amount": "1"}, 'args.amount is "1"; the rule compares numbers, with 10000', id="in doubt"
        ),
        pytest.param(
            rule(LARGE, reason="it costs"),
            {"amount": "1"},
            'it costs (args.amount is "1"; the rule compares numbers, with 10000)',
            id="in doubt, with a reason",
        ),
        pytest.param(
            rule(condition("args.branch", "neq", "main")),
            {},
            'args.branch is not given; the rule wants a person to approve anything but "main"',
            id="absent",
        ),
        pytest.param(
            rule(condition("args.memo", "exists", False)),
            {},
            "args.memo is not given; the rule wants a person to approve its absence",
            id="absent, as the rule says",
        ),
        pytest.param(rule(), {}, "the policy wants a person to approve every call of this tool", id="every call"),
    ],
)
def test_a_rule_that_asks_says_why(asks: Parts, arguments: Parts, message: str) -> None:
    decision = judge({"approve_if": [asks]}, arguments)
    assert decision.awaits_approval
    assert decision.reasons == (Reason("approval_required", "/tools/t/approve_if/0", message),)


@pytest.mark.parametrize(
    ("stands", "code"),
    [
        pytest.param({"require": [rule(MAIN)]}, "require", id="require"),
        pytest.param({"deny_if": [rule()]}, "deny_if", id="deny_if"),
        pytest.param({"arguments": {"required": ["memo"]}}, "arguments", id="the schema"),
        pytest.param({"limits": [{"window": 1, "max": 1, "cost": "args.n"}]}, "arguments", id="an unclear charge"),
    ],
)
@pytest.mark.parametrize("asks", [{"action": "require_approval"}, {"approve_if": [rule()]}], ids=["action", "rule"])
def test_nobody_is_asked_about_a_call_that_is_refused_anyway(asks: Parts, stands: Parts, code: str) -> None:
    decision = judge(asks | stands | {"rate_limit": "1/minute"}, {})
    assert [reason.code for reason in decision.reasons] == [code]
    assert not decision.awaits_approval
    assert decision.charges == ()


def test_a_call_that_awaits_approval_says_what_it_owes() -> None:
    limits = [{"counter": "spend", "window": 60, "max": 10, "cost": "args.amount"}]
    decision = judge({"approve_if": [rule()], "limits": limits}, {"amount": 7})
    assert decision.awaits_approval
    assert [(charge.counter, charge.amount) for charge in decision.charges] == [("spend", 7)]


def test_an_entry_that_refuses_says_what_else_would_and_meets_no_rule_of_every_tool() -> None:
    common = {"deny_if": [rule()]}
    decision = judge({"action": "deny", "require": [rule(MAIN)]}, {}, all_tools=common)
    assert [reason.rule for reason in decision.reasons] == ["/tools/t/action", "/tools/t/require/0"]
    assert not visible(compiled({"tools": {"t": {"action": "deny", "require": [rule(MAIN)]}}}), "t")
    assert len(judge({"action": "deny"}, {}, all_tools=common).reasons) == 1
    assert judge({"action": "hide", "require": [rule(MAIN)]}, {}).effect == "hide"
    assert decide(compiled({"tools": {"t": {"action": "deny"}}, "all_tools": common}), "t").entry == "/tools/t"


def test_rules_of_every_tool_hold_for_what_the_default_allows() -> None:
    policy = compiled({"default": "allow", "all_tools": {"require": [rule(MAIN)]}})
    assert isinstance(decide(policy, "x"), Rules)
    assert evaluate(policy, ToolCall("x", {"branch": "main"})) == Decision("allow", "/default")
    assert evaluate(policy, ToolCall("x", {})).reasons[0].rule == "/all_tools/require/0"


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        pytest.param(
            {"require": [rule(MAIN)]},
            {"branch": "Main"},
            'args.branch is "Main"; the rule compares exactly with "main"',
            id="unsure",
        ),
        pytest.param(
            {"require": [rule(MAIN, on_deny="only main")]},
            {"branch": "Main"},
            'only main (args.branch is "Main"; the rule compares exactly with "main")',
            id="unsure, with words of the author",
        ),
        pytest.param(
            {"require": [rule(MAIN, on_deny="only main")]}, {"branch": "dev"}, "only main", id="words of the author"
        ),
        pytest.param(
            {"require": [rule(condition("args.currency", "in", ["usd", "eur"]))]},
            {"currency": "gbp"},
            'args.currency is "gbp"; the rule asks for one of "usd", "eur"',
            id="no",
        ),
        pytest.param(
            {"require": [rule(MAIN, on_deny="only main")]},
            {},
            'only main (args.branch is not given; the rule asks for "main")',
            id="absent",
        ),
        pytest.param(
            {"deny_if": [rule(condition("args.branch", "neq", "main"))]},
            {},
            'args.branch is not given; the rule refuses anything but "main"',
            id="absent, where that is unsure",
        ),
        pytest.param(
            {"deny_if": [rule(LARGE)]},
            {"amount": 20000},
            "args.amount is 20000; the rule refuses more than 10000",
            id="yes",
        ),
        pytest.param(
            {"deny_if": [rule(LARGE)]},
            {"amount": "1"},
            'args.amount is "1"; the rule compares numbers, with 10000',
            id="no number",
        ),
        pytest.param(
            {"deny_if": [rule(condition("args.a.b", "eq", 1))]},
            {"a": "{}"},
            "args.a is nothing that the rule can look into for args.a.b",
            id="nothing to look into",
        ),
        pytest.param(
            {"require": [rule(condition("args.items.*.id", "exists"))]},
            {"items": [{"id": 1}, {}]},
            "args.items.1.id is not given; the rule asks for a value",
            id="one of many",
        ),
        pytest.param(
            {"deny_if": [rule(condition("args.a", "exists", False))]},
            {},
            "args.a is not given; the rule refuses its absence",
            id="what has to be there",
        ),
        pytest.param(
            {"require": [rule(condition("args.a", "in", list("abcdefg")))]},
            {"a": "\x1b[2J" + "x" * 100},
            f'args.a is "\\u001b[2J{"x" * 56}\\u2026"; the rule asks for one of "a", "b", "c", "d", "e", 2 more',
            id="long and unprintable",
        ),
        pytest.param(
            {"require": [rule(condition("args.a", "eq", {"x": 1}))]},
            {"a": [1, 2]},
            "args.a is a list of 2; the rule compares exactly with an object",
            id="containers",
        ),
        pytest.param(
            {"require": [rule(condition("args.a", "in", []))]},
            {"a": Decimal("1.50")},
            "args.a is 1.50; the rule asks for one of nothing",
            id="a fraction",
        ),
        pytest.param(
            {"require": [rule(condition("/" + "k" * 100 + "\x07", "exists"))]},
            {},
            f"args.{'k' * 75}\u2026 is not given; the rule asks for a value",
            id="a long path",
        ),
        pytest.param(
            {"require": [rule(condition("/\x07", "exists"))]},
            {},
            '"args.\\u0007" is not given; the rule asks for a value',
            id="an unprintable path",
        ),
        pytest.param(
            {"require": [rule(condition("args.user_id", "exists"))]},
            {"userId": 1},
            'args.userId could be taken for "user_id", which the policy is about',
            id="an alias",
        ),
    ],
)
def test_a_refusal_says_what_was_found_and_what_was_wanted(tool: Parts, arguments: Parts, message: str) -> None:
    assert told(tool, arguments) == message


@pytest.mark.parametrize(
    ("tool", "code", "place"),
    [
        pytest.param({"require": [rule(condition("args.user_id", "exists"))]}, "require", "require/0", id="require"),
        pytest.param({"deny_if": [rule(condition("args.user_id", "eq", 1))]}, "deny_if", "deny_if/0", id="deny_if"),
        pytest.param(
            {"approve_if": [rule(condition("args.user_id", "eq", 1))]}, "arguments", "approve_if/0", id="approve_if"
        ),
        pytest.param({"limits": [{"window": 1, "max": 9, "cost": "args.user_id"}]}, "arguments", "limits/0", id="cost"),
        pytest.param({"limits": [{"window": 1, "max": 9, "per": "args.user_id"}]}, "arguments", "limits/0", id="per"),
        pytest.param({"arguments": {"properties": {"user_id": {}}}}, "arguments", "arguments", id="a property"),
    ],
)
def test_a_key_that_could_be_taken_for_one_of_the_policy_is_refused(tool: Parts, code: str, place: str) -> None:
    decision = judge(tool, {"user_id": 5, "User-ID": 1})
    assert decision.reasons[-1].message == 'args.User-ID could be taken for "user_id", which the policy is about'
    assert (decision.reasons[-1].code, decision.reasons[-1].rule) == (code, f"/tools/t/{place}")
    assert judge(tool, {"user_id": 5, "other": 1}).effect == "allow"


def test_an_alias_is_told_for_the_rules_that_name_it_alone() -> None:
    tool = {
        "require": [rule(condition("args.a", "exists")), rule(condition("args.b", "exists"))],
        "approve_if": [rule(condition("args.b", "eq", 1))],
    }
    decision = judge(tool, {"A": 1})
    assert [reason.rule for reason in decision.reasons] == ["/tools/t/require/0", "/tools/t/require/1"]
    assert decision.reasons[1].message.startswith("args.b is not given")


def test_rules_are_made_ready_once() -> None:
    policy = compiled({"tools": {"t*": {"require": [rule(MAIN)]}}})
    assert decide(policy, "ta") is decide(policy, "tb")
