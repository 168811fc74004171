"""Checks what is found in a policy taken alone."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.policy.check import check_policy, covers, left_out
from mcpguard.policy.findings import SEVERITIES, CheckFinding, Code, named
from mcpguard.policy.match import compile_pattern
from mcpguard.policy.model import PolicyFile
from mcpguard.policy.witness import contradicting

Parts = dict[str, Any]


def found(parts: Parts) -> list[tuple[str, str]]:
    document = PolicyFile.model_validate({"version": "1"} | parts)
    return [(each.code, each.rule) for each in (*check_policy(document), *left_out(document))]


def of_tool(tool: Parts, **parts: Any) -> list[tuple[str, str]]:
    return [(code, rule.removeprefix("/tools/a")) for code, rule in found({"tools": {"a": tool}} | parts)]


def rule(*conditions: tuple[Any, ...]) -> Parts:
    keys = ("path", "op", "value")
    return {"conditions": [dict(zip(keys, (f"args.{path}", *rest), strict=False)) for path, *rest in conditions]}


def limit(**keys: Any) -> Parts:
    return {"window": "minute", "max": 10} | keys


def test_every_code_has_a_severity() -> None:
    assert set(SEVERITIES) == set(get_args(Code))
    assert CheckFinding("dead-rule", "", "").severity == "warning"


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"tools": {"a": {"action": "deny", "reason": "no"}}}, id="a denial"),
        pytest.param({"hide": ["admin_*"], "tools": {"admin": {}, "*": {}}}, id="a pattern that hides others"),
        pytest.param(
            {"tools": {"a": {"require": [rule(("x", "eq", 1))], "deny_if": [rule(("y", "gt", 1))]}}}, id="rules"
        ),
        pytest.param(
            {"tools": {"a": {"deny_if": [rule(("x", "exists"), ("x", "not_in", [1, 2]))]}}},
            id="an argument that may be absent",
        ),
        pytest.param(
            {
                "all_tools": {"limits": [limit(max=100)]},
                "tools": {"a": {"limits": [limit(), limit(window="hour", max=50)]}},
            },
            id="limits from narrow to wide",
        ),
        pytest.param(
            {"tools": {"a": {"limits": [limit(counter="c")]}, "b": {"limits": [limit(counter="c", max=20)]}}},
            id="two shares of one counter",
        ),
        pytest.param(
            {"tools": {"a": {"action": "require_approval", "deny_if": [rule(("x", "gt", 1))]}}}, id="approval"
        ),
        pytest.param({"tools": {"a": {"arguments": {"properties": {"x": {"pattern": "^a$"}}}}}}, id="a schema"),
        pytest.param(
            {"approval": {"via": ["terminal"]}, "tools": {"a": {"approve_if": [rule(("x", "gt", 1))]}}},
            id="approval in a terminal",
        ),
        pytest.param({"approval": {}, "prompts": {"a": {"action": "require_approval"}}}, id="approval of a prompt"),
        pytest.param(
            {
                "approval": {"remember": "tool"},
                "tools": {"a": {"action": "require_approval", "approve_if": [rule(("x", "gt", 1))]}},
            },
            id="rules that part what is remembered",
        ),
    ],
)
def test_a_sensible_policy_has_no_findings(parts: Parts) -> None:
    assert not found(parts)


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        pytest.param(
            {"action": "deny", "require": [rule(("x", "exists"))], "limits": [limit()], "rate_limit": "1/second"},
            [("dead-rule", "/require"), ("dead-limit", "/limits"), ("dead-limit", "/rate_limit")],
            id="under a denial",
        ),
        pytest.param({"action": "hide", "arguments": {"required": ["x"]}}, [("dead-rule", "/arguments")], id="hidden"),
        pytest.param(
            {"action": "require_approval", "approve_if": [{"conditions": []}]},
            [("dead-rule", "/approve_if")],
            id="asked about anyway",
        ),
        pytest.param({"require": [{"conditions": []}]}, [("empty-rule", "/require/0")], id="a demand of nothing"),
        pytest.param({"deny_if": [{"conditions": []}]}, [("empty-rule", "/deny_if/0")], id="a refusal of everything"),
        pytest.param(
            {"require": [rule(("x", "exists"), ("y", "eq", 1.0)), rule(("y", "eq", 1), ("x", "exists"))]},
            [("duplicate-rule", "/require/1")],
            id="one rule in two orders",
        ),
        pytest.param(
            {"deny_if": [rule(("x", "eq", 1), ("x", "eq", 2))]},
            [("contradicting-conditions", "/deny_if/0")],
            id="two values",
        ),
        pytest.param(
            {"approve_if": [rule(("x", "gt", 9), ("x", "lt", 1))]},
            [("contradicting-conditions", "/approve_if/0")],
            id="no number",
        ),
        pytest.param(
            {"deny_if": [rule(("x", "exists", False), ("x", "gt", 1))]},
            [("contradicting-conditions", "/deny_if/0")],
            id="absent and greater",
        ),
        pytest.param(
            {"require": [rule(("x", "in", ["a", "b"])), rule(("x", "regex", "^[c-z]$"))]},
            [("impossible-require", "/require/1")],
            id="a demand in two rules",
        ),
        pytest.param({"require": [rule(("x", "in", []))]}, [("impossible-require", "/require/0")], id="one of nothing"),
        pytest.param(
            {"require": [rule(("x", "eq", 1), ("y", "exists"))], "deny_if": [rule(("x", "eq", 1))]},
            [("impossible-require", "/require")],
            id="asked for and refused",
        ),
        pytest.param(
            {"deny_if": [rule(("x", "neq", 1))]},
            [("fires-when-absent", "/deny_if/0/conditions/0")],
            id="not this one value",
        ),
        pytest.param(
            {"limits": [limit(), limit(window="second")]},
            [("shadowed-limit", "/limits/1")],
            id="a wider limit of a shorter window",
        ),
        pytest.param({"limits": [limit(), limit()]}, [("shadowed-limit", "/limits/1")], id="the same limit twice"),
        pytest.param(
            {"limits": [limit(max=20)], "rate_limit": "10/minute"},
            [("shadowed-limit", "/limits/0")],
            id="a limit and a rate limit",
        ),
        pytest.param({"rate_limit": "10/week"}, [("long-window", "/rate_limit")], id="a week in memory"),
        pytest.param(
            {"require": [rule(("x", "regex", "^a|b$"))]},
            [("regex-alternation", "/require/0/conditions/0/value")],
            id="a weak pattern",
        ),
        pytest.param(
            {"arguments": {"properties": {"x": {"anyOf": [{"pattern": "^a|b$"}, {"not": {"pattern": "a"}}]}}}},
            [("regex-alternation", "/arguments/properties/x/anyOf/0/pattern")],
            id="a weak pattern in a schema",
        ),
    ],
)
def test_what_cannot_do_what_it_says_is_found(tool: Parts, expected: list[tuple[str, str]]) -> None:
    assert of_tool(tool) == expected


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({}, id="of nothing"),
        pytest.param({"tools": {"a": {}}, "resources": {"b:*": {}}}, id="where everything is allowed"),
        pytest.param({"tools": {"a": {"action": "deny"}}, "prompts": {"b": {"action": "hide"}}}, id="or refused"),
    ],
)
def test_terms_of_approvals_that_nothing_asks_for_are_found(parts: Parts) -> None:
    assert found({"approval": {}} | parts) == [("unused-approval", "/approval")]
    assert not found(parts)


def test_a_rule_under_a_denial_asks_nobody() -> None:
    tool = {"action": "deny", "approve_if": [rule(("x", "gt", 1))]}
    assert of_tool(tool, approval={}) == [("dead-rule", "/approve_if"), ("unused-approval", "/approval")]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"tools": {"a": {"approve_if": [rule(("x", "gt", 1))]}}}, id="a rule"),
        pytest.param({"tools": {"a": {"action": "require_approval"}}}, id="a tool"),
        pytest.param({"resources": {"a:*": {"action": "require_approval"}}}, id="a resource"),
    ],
)
def test_approvals_that_a_client_without_dialogs_can_never_get_are_found(parts: Parts) -> None:
    assert found({"approval": {"via": ["client"]}} | parts) == [("client-only-approval", "/approval/via")]


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"timeout": "0s"}, "impossible-approval"),
        ({"timeout": "2s", "min_answer": "2s"}, "impossible-approval"),
        ({"timeout": "2s", "min_answer": "1999ms"}, "client-only-approval"),
        ({"timeout": "0s", "via": ["terminal"]}, None),
        ({"timeout": "0s", "via": ["client", "terminal"]}, None),
    ],
)
def test_approvals_that_nobody_can_give_are_found(terms: Parts, code: str | None) -> None:
    parts: Parts = {"approval": {"via": ["client"]} | terms, "tools": {"a": {"action": "require_approval"}}}
    assert [seen for seen, _ in found(parts)] == ([code] if code else [])


def docs(op: str = "regex", value: object = "^/srv/docs/.*") -> Parts:
    return rule(("path", op, value))


@pytest.mark.parametrize(
    ("tool", "places"),
    [
        pytest.param({"require": [docs()]}, ["/tools/a/require/0/conditions/0/value"], id="accepting"),
        pytest.param({"deny_if": [docs()]}, ["/tools/a/deny_if/0/conditions/0/value"], id="refusing"),
        pytest.param({"approve_if": [docs()]}, ["/tools/a/approve_if/0/conditions/0/value"], id="asking"),
        pytest.param({"require": [docs(), docs("under", "/srv/docs")]}, [], id="with a rule that knows paths"),
        pytest.param({"require": [docs()], "deny_if": [docs("contains", "..")]}, [], id="with dots refused"),
        pytest.param(
            {"require": [docs()], "deny_if": [rule(("path", "contains", ".."), ("other", "eq", 1))]},
            ["/tools/a/require/0/conditions/0/value"],
            id="with dots refused sometimes",
        ),
        pytest.param(
            {"require": [docs()], "deny_if": [rule(("other", "contains", ".."))]},
            ["/tools/a/require/0/conditions/0/value"],
            id="with dots refused elsewhere",
        ),
        pytest.param(
            {"arguments": {"properties": {"path": {"pattern": "^/srv/docs/.*"}}}},
            ["/tools/a/arguments/properties/path/pattern"],
            id="in a schema",
        ),
        pytest.param(
            {
                "arguments": {"properties": {"path": {"pattern": "^/srv/docs/.*"}}},
                "require": [docs("under", "/srv/docs")],
            },
            [],
            id="in a schema, with a rule that knows paths",
        ),
    ],
)
def test_patterns_about_paths_that_dots_get_past_are_found(tool: Parts, places: list[str]) -> None:
    assert [place for code, place in found({"tools": {"a": tool}}) if code == "regex-traversal"] == places


def test_a_rule_about_every_tool_covers_a_pattern_about_a_path() -> None:
    parts = {"all_tools": {"deny_if": [docs("contains", "..")]}, "tools": {"a": {"require": [docs()]}}}
    assert found(parts) == []


def test_a_rule_of_every_tool_is_not_said_again() -> None:
    common = {"require": [rule(("x", "exists"))], "limits": [limit(max=5)]}
    tool = {"require": [rule(("x", "exists"))], "limits": [limit()]}
    assert of_tool(tool, all_tools=common) == [("duplicate-rule", "/require/0"), ("shadowed-limit", "/limits/0")]


def test_a_rule_of_every_tool_contradicts_that_of_one() -> None:
    common = {"require": [rule(("x", "eq", 1))], "deny_if": [rule(("y", "eq", 1))]}
    assert of_tool({"require": [rule(("x", "gt", 1))]}, all_tools=common) == [("impossible-require", "/require/0")]
    assert of_tool({"require": [rule(("y", "eq", 1))]}, all_tools=common) == [("impossible-require", "/require")]


def test_what_every_tool_contradicts_on_its_own_is_said_once() -> None:
    common = {"require": [rule(("x", "eq", 1), ("x", "eq", 2))]}
    assert of_tool({"require": [rule(("y", "exists"))]}, all_tools=common) == [
        ("impossible-require", "/all_tools/require/0")
    ]


@pytest.mark.parametrize(
    "demand",
    [
        pytest.param({"require": [rule(("x", "exists"))]}, id="required by a rule"),
        pytest.param({"arguments": {"required": ["x"]}}, id="required by the schema"),
    ],
)
def test_an_argument_that_is_required_is_never_absent(demand: Parts) -> None:
    assert not of_tool({"deny_if": [rule(("x", "neq", 1))]} | demand)


def test_what_another_argument_must_be_says_nothing_of_this_one() -> None:
    tool = {"require": [rule(("y", "eq", 1))], "deny_if": [rule(("x", "not_in", [1]))]}
    assert of_tool(tool) == [("fires-when-absent", "/deny_if/0/conditions/0")]


def test_a_refusal_of_what_is_absent_requires_it() -> None:
    assert not of_tool({"deny_if": [rule(("x", "exists", False)), rule(("x", "neq", 1))]})


def test_what_hide_makes_pointless_is_found() -> None:
    parts = {"hide": ["a_*", "a_b*", "c", "c"], "tools": {"a_x": {}, "a_b?": {"action": "deny"}, "b": {}}}
    assert found(parts) == [
        ("shadowed-hide", "/hide/1"),
        ("shadowed-hide", "/hide/3"),
        ("hidden-entry", "/tools/a_x"),
        ("hidden-entry", "/tools/a_b?"),
    ]


def test_limits_of_a_denied_resource_are_found() -> None:
    parts = {"resources": {"x": {"action": "deny", "limits": [limit()]}}, "prompts": {"y": {"limits": [limit()]}}}
    assert found(parts) == [("dead-limit", "/resources/x/limits")]


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        pytest.param(limit(), limit(window="hour", max=11), id="a longer window"),
        pytest.param(limit(cost="args.x"), limit(max=20), id="another cost"),
        pytest.param(limit(per="args.x"), limit(max=20), id="every value for itself"),
        pytest.param(limit(), limit(counter="shared", max=20), id="a counter that others share"),
        pytest.param(limit(align="calendar"), limit(max=20), id="two calendar windows in one that slides"),
        pytest.param(limit(), limit(max=20, scope="grant"), id="what other runs count, too"),
    ],
)
def test_limits_that_both_matter_are_left_alone(narrow: Parts, wide: Parts) -> None:
    assert not of_tool({"limits": [narrow, wide]})
    assert not of_tool({"limits": [wide, narrow]})


def test_a_shared_counter_is_judged_by_the_smaller_maximum() -> None:
    tool = {"limits": [limit(counter="c", max=20), limit(counter="c")]}
    assert of_tool(tool) == [("shadowed-limit", "/limits/0")]


NAMES = st.text("ab*?", max_size=6)


@given(NAMES, NAMES, st.text("ab", max_size=6))
def test_a_pattern_that_covers_another_matches_all_that_it_matches(wide: str, narrow: str, name: str) -> None:
    left, right = compile_pattern(wide), compile_pattern(narrow)
    assert not (covers(left, right) and right.matches(name)) or left.matches(name)


CONDITIONS = st.tuples(
    st.sampled_from(["lt", "lte", "gt", "gte", "eq", "neq"]), st.integers(-3, 3) | st.sampled_from([0.5, 1.5])
)


@given(st.lists(CONDITIONS, min_size=1, max_size=5))
def test_numbers_that_contradict_each_other_have_no_number(conditions: list[tuple[str, float]]) -> None:
    text = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "eq": "==", "neq": "!="}
    values = [number / 20 for number in range(-100, 101)]
    possible = any(all(eval(f"{value} {text[op]} {bound}") for op, bound in conditions) for value in values)  # noqa: S307
    document = {"version": "1", "tools": {"a": {"require": [rule(*(("x", op, bound) for op, bound in conditions))]}}}
    (ready,) = PolicyFile.model_validate(document).tools["a"].require
    assert (contradicting(ready.conditions, "require") is None) is possible


def test_conditions_on_many_elements_do_not_contradict_in_a_refusal() -> None:
    assert not of_tool({"deny_if": [rule(("x.*", "eq", 1), ("x.*", "eq", 2))]})
    assert of_tool({"require": [rule(("x.*", "eq", 1), ("x.*", "eq", 2))]}) == [("impossible-require", "/require/0")]


def test_a_place_is_never_held_to_be_impossible() -> None:
    assert not of_tool({"require": [rule(("x", "under", "/a"), ("x", "in", ["/a/b"]))]})


def test_names_are_written_shortly() -> None:
    assert named(["b", "a", "a"]) == "`a`, `b`"
    assert named(f"t{n}" for n in range(9)).endswith("`t5` and 3 more")
