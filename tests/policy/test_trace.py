"""Checks that a trace shows what was looked at, and that it never says anything but what `evaluate` says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.errors import PolicyError
from mcpguard.policy.decision import Charge, Reason, ToolCall
from mcpguard.policy.evaluate import compile_policy, evaluate
from mcpguard.policy.model import PolicyFile
from mcpguard.policy.paths import ABSENT, BLOCKED
from mcpguard.policy.trace import Trace, trace
from mcpguard.policy.values import NO, UNSURE, YES

Json = dict[str, Any]

PATHS = st.sampled_from(["args.a", "args.b_c", "args.a.b", "args.a.*", "args.*", "/a/0"])
SCALARS = st.sampled_from(["main", "Main", "5", 5, 6, 0, Decimal("0.5"), True, None])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["b", "b_c", "bC"]), inner, max_size=2),
    max_leaves=4,
)
CONDITIONS = st.one_of(
    st.fixed_dictionaries({"path": PATHS, "op": st.sampled_from(["eq", "neq", "contains"]), "value": SCALARS}),
    st.fixed_dictionaries({"path": PATHS, "op": st.sampled_from(["gt", "lte"]), "value": st.sampled_from([0, 5])}),
    st.fixed_dictionaries({"path": PATHS, "op": st.just("exists")}, optional={"value": st.booleans()}),
)
RULES = st.lists(st.fixed_dictionaries({"conditions": st.lists(CONDITIONS, max_size=2)}), max_size=2)
LIMITS = st.lists(
    st.fixed_dictionaries(
        {"window": st.just(60), "max": st.integers(0, 6)},
        optional={"counter": st.just("shared"), "cost": st.just("args.a")},
    ),
    max_size=2,
)
ACTIONS = st.sampled_from(["allow", "require_approval", "deny", "hide"])
SCHEMAS = st.sampled_from([{"required": ["a"]}, {"properties": {"a": {"maximum": 5}}}, {"additionalProperties": False}])
TOOLS = st.fixed_dictionaries(
    {},
    optional={
        "action": ACTIONS,
        "require": RULES,
        "deny_if": RULES,
        "approve_if": RULES,
        "limits": LIMITS,
        "arguments": SCHEMAS,
    },
)
POLICIES = st.fixed_dictionaries(
    {"version": st.just("1")},
    optional={
        "default": st.sampled_from(["allow", "deny"]),
        "hide": st.lists(st.sampled_from(["t", "*u"]), max_size=2),
        "tools": st.dictionaries(st.sampled_from(["t", "t*", "*"]), TOOLS, max_size=3),
        "all_tools": st.fixed_dictionaries({}, optional={"require": RULES, "deny_if": RULES, "limits": LIMITS}),
    },
)
NAMES = st.sampled_from(["t", "tu", "v"])
ARGUMENTS = st.dictionaries(st.sampled_from(["a", "A", "b_c", "bC"]), VALUES, max_size=2)


def traced(parts: Json, arguments: Json, name: str = "t") -> Trace:
    document = PolicyFile.model_validate({"version": "1"} | parts)
    return trace(compile_policy(document), document, ToolCall(name, arguments))


def of_tool(tool: Json, arguments: Json) -> Trace:
    return traced({"tools": {"t": tool}}, arguments)


def condition(path: str, op: str, *value: object) -> Json:
    return {"path": path, "op": op} | ({"value": value[0]} if value else {})


def ruled(kind: str, *conditions: Json) -> Json:
    return {kind: [{"conditions": list(conditions)}]}


@given(POLICIES, NAMES, ARGUMENTS)
def test_a_trace_agrees_with_the_judgement(policy: Json, name: str, arguments: Json) -> None:
    document = PolicyFile.model_validate(policy)
    try:
        compiled = compile_policy(document)
    except PolicyError:  # limits that disagree about their counter
        return
    call = ToolCall(name, arguments)
    decision = evaluate(compiled, call)
    found = trace(compiled, document, call)
    assert found.decision == decision
    assert found.reasons == found.over + decision.reasons
    assert (found.effect == "allow") is (not found.reasons)
    assert found.charges == (() if found.over else decision.charges)
    assert bool(found.asks) is (decision.awaits_approval and not found.over)
    assert decision.effect == "allow" or decision.awaits_approval or not (found.charges or found.over)
    (decides,) = [each for each in found.names if each.decides]
    assert decides.rule == decision.entry
    # What stands in the way by the trace is just what is refused with, each in its turn.
    codes = {"require", "deny_if", "arguments"}
    standing = [each.rule for each in found.rules if each.refuses and each.kind in codes]
    if found.schema and found.schema.problem:
        standing.append(found.schema.rule)
    standing += [each.rule for each in found.limits if isinstance(each.owed, Reason)]
    asking = [each.rule for each in found.rules if each.refuses and each.kind == "approve_if"]
    reasons = [reason.rule for reason in decision.reasons if reason.code in codes]
    aliased = [each.rule for each in found.rules if each.kind == "approve_if" and each.alias]
    assert set(standing) <= set(reasons)
    assert set(reasons) <= {*standing, *aliased, *(each.rule for each in found.limits if each.owed is None)}
    if decision.effect == "allow":
        assert not asking
    if decision.awaits_approval:
        assert not standing
        assert [reason.rule for reason in decision.reasons if reason.rule != f"{decision.entry}/action"] == asking


@given(CONDITIONS, ARGUMENTS, st.sampled_from(["require", "deny_if"]))
def test_the_looks_of_a_condition_make_its_answer(one: Json, arguments: Json, kind: str) -> None:
    (rule,) = of_tool(ruled(kind, one), arguments).rules
    (shown,) = rule.conditions
    pick = min if kind == "require" else max
    assert pick(look.counts for look in shown.looks) is shown.counts is rule.answer
    assert shown.decisive in shown.looks


@pytest.mark.parametrize(
    ("one", "arguments", "outcome", "counts", "value"),
    [
        pytest.param(condition("args.a", "eq", 5), {"a": 5}, "yes", YES, 5, id="equal"),
        pytest.param(condition("args.a", "eq", 5), {"a": 6}, "no", NO, 6, id="not equal"),
        pytest.param(condition("args.a", "eq", 5), {"a": "5"}, "unsure", UNSURE, "5", id="in doubt"),
        pytest.param(condition("args.a", "eq", 5), {}, "absent", NO, ABSENT, id="absent"),
        pytest.param(condition("args.a", "neq", 5), {}, "absent", UNSURE, ABSENT, id="absent, which is a doubt"),
        pytest.param(condition("args.a", "exists", False), {}, "yes", YES, ABSENT, id="absent, as asked"),
        pytest.param(condition("args.a.b", "eq", 5), {"a": "x"}, "unsure", UNSURE, BLOCKED, id="nothing to look into"),
        pytest.param(condition("args.a.*", "eq", 5), {"a": [6, 5]}, "yes", YES, 5, id="the element that decides"),
    ],
)
def test_a_condition_shows_what_it_found(one: Json, arguments: Json, outcome: str, counts: int, value: object) -> None:
    ((shown,),) = [rule.conditions for rule in of_tool(ruled("deny_if", one), arguments).rules]
    assert (shown.path, shown.op, shown.outcome, shown.counts) == (one["path"], one["op"], outcome, counts)
    assert shown.decisive.found == value


NAMED: Json = {"hide": ["x*", "?z"], "tools": {"get_a": {}, "get_*": {}, "*_b": {}, "g*": {}, "*": {"action": "deny"}}}
LITERALS = 'it has the most literal characters: 4, and "*_b" has 2'


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("xy", [("/hide/0", True, "what `hide` matches does not exist for the agent")], id="hidden"),
        pytest.param(
            "get_a",
            [
                ("/tools/get_a", True, "the exact name decides alone"),
                ("/tools/get_*", False, 'it matches too, and "get_a" is more specific'),
                ("/tools/g*", False, 'it matches too, and "get_a" is more specific'),
                ("/tools/*", False, 'it matches too, and "get_a" is more specific'),
            ],
            id="an exact name",
        ),
        pytest.param(
            "get_b",
            [
                ("/tools/get_*", True, LITERALS),
                ("/tools/*_b", False, 'it matches too, and "get_*" is more specific'),
                ("/tools/g*", False, 'it matches too, and "get_*" is more specific'),
                ("/tools/*", False, 'it matches too, and "get_*" is more specific'),
            ],
            id="more literal characters",
        ),
        pytest.param(
            "go",
            [
                ("/tools/g*", True, "`*` decides only where nothing else matches"),
                ("/tools/*", False, 'it matches too, and "g*" is more specific'),
            ],
            id="a glob before the star",
        ),
        pytest.param("q", [("/tools/*", True, "no other name or pattern matches")], id="the star"),
    ],
)
def test_a_trace_says_why_an_entry_decides(name: str, expected: list[tuple[str, bool, str]]) -> None:
    found = traced(NAMED, {}, name)
    assert [(each.rule, each.decides, each.why) for each in found.names if each.matches] == expected
    assert [each.rule for each in found.names if not each.matches and each.kind == "hide"] == (
        [] if name == "xy" else ["/hide/0", "/hide/1"]
    )


def test_of_equals_the_longer_prefix_decides() -> None:
    found = traced({"tools": {"ab*": {}, "a*b": {}}}, {}, "abb")
    assert found.names[0].why == (
        'it has as many literal characters as "a*b", and more of them stand before its first wildcard'
    )


def test_a_name_that_nothing_names_meets_the_default() -> None:
    found = traced({}, {}, "x")
    assert [(each.rule, each.text, each.kind) for each in found.names] == [("/default", "deny", "default")]
    assert (found.action, found.rules, found.limits, found.schema) == (None, (), (), None)


def test_an_open_default_meets_the_rules_of_every_tool() -> None:
    everywhere = ruled("deny_if", condition("args.a", "eq", 5)) | {"limits": [{"window": 60, "max": 3}]}
    found = traced({"default": "allow", "all_tools": everywhere}, {"a": 5})
    assert [rule.rule for rule in found.rules if rule.refuses] == ["/all_tools/deny_if/0"]
    assert [limit.rule for limit in found.limits] == ["/all_tools/limits/0"]


def test_what_refuses_on_its_own_is_not_traced_further() -> None:
    everywhere = ruled("deny_if")
    assert traced({"tools": {"t": {"action": "deny"}}, "all_tools": everywhere}, {}).rules == ()
    denied = {"action": "deny"} | ruled("require", condition("args.a", "exists"))
    found = traced({"tools": {"t": denied}, "all_tools": everywhere}, {})
    assert [rule.rule for rule in found.rules] == ["/tools/t/require/0"]
    assert found.action == "deny"


SPENDING: Json = {"limits": [{"window": 60, "max": 10, "counter": "spend", "cost": "args.a"}]}


def test_a_limit_shows_what_is_owed_and_under_which_key() -> None:
    found = of_tool({"limits": [SPENDING["limits"][0] | {"per": "args.who"}]}, {"a": 3, "who": "Me"})
    charge = Charge("spend", "/tools/t/limits/0", 60, 10, "session", key="me", amount=3)
    assert [limit.owed for limit in found.limits] == [charge]
    assert found.charges == (charge,)


def test_a_limit_shows_why_nobody_can_say_what_is_owed() -> None:
    found = of_tool(SPENDING, {"a": "3"})
    assert isinstance(found.limits[0].owed, Reason)
    assert found.effect == "deny"


def test_a_limit_is_not_looked_at_beside_an_alias() -> None:
    found = of_tool(SPENDING | ruled("deny_if", condition("args.b", "eq", 1)), {"A": 3, "B": 1})
    assert [limit.owed for limit in found.limits] == [None]
    assert found.rules[0].alias == 'args.B could be taken for "b", which the policy is about'
    assert found.rules[0].refuses


@pytest.mark.parametrize(
    ("tool", "arguments", "takes"),
    [
        pytest.param(
            SPENDING, {"a": 11}, 'counter "spend" allows 10 and this call takes 11', id="more than the maximum"
        ),
        pytest.param(
            {"rate_limit": "0/day"},
            {},
            'counter "/tools/t/rate_limit" allows 0 and this call takes one call',
            id="never",
        ),
    ],
)
def test_what_not_even_an_empty_counter_admits_is_refused(tool: Json, arguments: Json, takes: str) -> None:
    found = of_tool(tool, arguments)
    assert found.decision.effect == "allow"
    assert found.effect == "deny"
    assert [(reason.code, reason.message) for reason in found.reasons] == [
        ("rate_limited", f"{takes}, so it never passes")
    ]
    assert found.charges == ()


@pytest.mark.parametrize(
    ("tool", "asks"),
    [
        pytest.param(
            {"action": "require_approval", "reason": "a person looks"},
            [("/tools/t/action", "a person looks")],
            id="why",
        ),
        pytest.param(
            {"action": "require_approval"},
            [("/tools/t/action", "the policy wants a person to approve this tool")],
            id="no word of why",
        ),
        pytest.param(
            {"approve_if": [{"conditions": [condition("args.a", "gt", one)]} for one in (9, 1, 2)]},
            [
                ("/tools/t/approve_if/1", "args.a is 5; the rule wants a person to approve more than 1"),
                ("/tools/t/approve_if/2", "args.a is 5; the rule wants a person to approve more than 2"),
            ],
            id="rules",
        ),
    ],
)
def test_a_call_that_lacks_only_an_approval_shows_who_asks_and_what_it_will_be_charged(
    tool: Json, asks: list[tuple[str, str]]
) -> None:
    found = of_tool(tool | {"rate_limit": "3/minute"}, {"a": 5})
    assert found.effect == "deny"
    assert [(reason.rule, reason.message) for reason in found.asks] == asks
    assert [charge.rule for charge in found.charges] == ["/tools/t/rate_limit"]


def test_nobody_is_asked_about_a_call_that_could_not_pass() -> None:
    found = of_tool({"action": "require_approval", "rate_limit": "0/minute"}, {})
    assert [reason.code for reason in found.reasons] == ["rate_limited", "approval_required"]
    assert (found.asks, found.charges) == ((), ())
    refused = of_tool({"action": "require_approval", "rate_limit": "1/minute"} | ruled("deny_if"), {})
    assert [reason.code for reason in refused.reasons] == ["deny_if"]
    assert (refused.asks, refused.charges) == ((), ())


def test_a_schema_shows_its_problem() -> None:
    schema = {"required": ["memo"]}
    refused, fine = of_tool({"arguments": schema}, {}).schema, of_tool({"arguments": schema}, {"memo": 1}).schema
    assert refused
    assert fine
    assert (refused.rule, fine.rule, fine.problem) == ("/tools/t/arguments", "/tools/t/arguments", "")
    assert "memo" in refused.problem
