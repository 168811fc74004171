"""Checks which calls are found at the boundaries of a policy, and that the guard judges each of them as was expected without asking it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import jiter
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from fuzz.policies import POLICIES
from mcpguard.cli.json_lines import json_lines
from mcpguard.errors import PolicyError
from mcpguard.inventory.cases import lexical
from mcpguard.inventory.draft import Posture, draft_policy
from mcpguard.inventory.risk import classify
from mcpguard.inventory.tools import Tool
from mcpguard.policy.compile import compile_policy
from mcpguard.policy.model import PolicyFile
from mcpguard.proof.boundaries import Boundaries, boundaries_of
from mcpguard.proof.cases import CasesFile
from mcpguard.proof.judge import Surroundings, judge
from mcpguard.stores.files import load_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpguard.policy.decision import Category
    from mcpguard.policy.evaluate import Policy

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


def document(**keys: Any) -> PolicyFile:
    return PolicyFile.model_validate({"version": "1", **keys})


def boundaries(**keys: Any) -> Boundaries:
    return boundaries_of(document(**keys))


def misjudged(policy: Policy, cases: Sequence[Json], tools: Sequence[Tool] = ()) -> list[str]:
    """Write cases to text, read them again, and list those that the guard does not judge as expected."""
    read = jiter.from_json(json_lines({"cases": cases}).encode(), float_mode="decimal")
    categories: dict[str, Category] = {tool.name: classify(tool).category for tool in tools}
    results = [
        (case, judge(policy, case, Surroundings(lexical, categories))) for case in CasesFile.model_validate(read).cases
    ]
    return [f"{case}: {result}" for case, result in results if not result.holds]


def plain(value: object) -> object:
    return json.loads(json.dumps(value, default=str))


CONDITIONS: dict[str, tuple[Json, list[Any], list[Any]]] = {
    "numbers": ({"op": "lte", "value": 10}, [10, 9], [11]),
    "fractions": ({"op": "gt", "value": 5}, [6], [5, 4]),
    "members of a set": ({"op": "in", "value": ["usd", "eur"]}, ["usd", "eur"], ["usdx", "us", "eurx"]),
    "numbers of a set": ({"op": "in", "value": [4, 7]}, [4, 7], [3, 8]),
    "not a member": ({"op": "not_in", "value": ["main"]}, ["mainx", "mai"], ["main"]),
    "a text": ({"op": "eq", "value": "main"}, ["main"], ["mainx", "xmain", "mai"]),
    "another text": ({"op": "neq", "value": "main"}, ["mainx", "mai"], ["main"]),
    "true": ({"op": "eq", "value": True}, [True], [False]),
    "a directory": (
        {"op": "under", "value": "/srv/docs"},
        ["/srv/docs/example.txt"],
        ["/srv/docs-other/example.txt", "/srv/docs/../example.txt"],
    ),
    "a host": (
        {"op": "host_in", "value": ["example.com"]},
        ["https://example.com/"],
        ["https://other.example.com/", "https://example.com.example.net/", "https://other-example.com/"],
    ),
    "hosts below": (
        {"op": "host_in", "value": ["*.example.com"]},
        ["https://a.example.com/", "https://a.b.example.com/"],
        ["https://example.com/", "https://other-example.com/"],
    ),
    "an anchored pattern": ({"op": "regex", "value": "^P-[0-9]+$"}, ["P-1"], ["xP-1", "P-1x", "P-"]),
    "a dot that means itself": (
        {"op": "regex", "value": r"@example\.com$"},
        ["@example.com"],
        ["@example.comx", "@examplexcom"],
    ),
    "alternatives": ({"op": "regex", "value": "^(get|list)$"}, ["get", "list"], ["ge", "getx"]),
    "a text inside": ({"op": "contains", "value": "abc"}, ["abc", "xabcx"], ["ab", "bc"]),
}


@pytest.mark.parametrize(("condition", "inside", "outside"), CONDITIONS.values(), ids=CONDITIONS.keys())
def test_values_just_inside_and_just_outside_of_a_condition(
    condition: Json, inside: list[Any], outside: list[Any]
) -> None:
    rule = [{"conditions": [{"path": "args.x", **condition}]}]
    for kind, effect, passes in (("require", "deny", inside), ("deny_if", "deny", outside), ("approve_if", "approve", outside)):  # fmt: skip
        policy = document(tools={"t": {kind: rule}})
        cases = boundaries_of(policy).cases
        about = [case for case in cases if case.get("tool") == "t"]
        found: dict[str, list[Any]] = {"allow": [], effect: []}
        for case in about:
            found[case["expect"]].append(case.get("arguments", {}).get("x"))
            assert case.get("because", []) == ([] if case["expect"] == "allow" else [f"/tools/t/{kind}/0"])
        stopped = outside if passes is inside else inside
        assert [value for value in passes if value not in found["allow"]] == [], kind
        assert [value for value in stopped if value not in found[effect]] == [], kind
        assert misjudged(compile_policy(policy), cases) == []
        assert boundaries_of(policy).left_out == ()


def test_an_argument_that_is_left_out_is_a_boundary_of_its_own() -> None:
    cases = boundaries(tools={"t": {"require": [{"conditions": [{"path": "args.x", "op": "exists"}]}]}}).cases
    assert {"tool": "t", "expect": "deny", "because": ["/tools/t/require/0"]} in [
        {key: value for key, value in case.items() if key != "name"} for case in cases
    ]


def test_elements_are_tried_alone_in_company_and_not_at_all() -> None:
    rule = {"conditions": [{"path": "args.ids.*", "op": "lt", "value": 5}]}
    cases = boundaries(tools={"t": {"require": [rule]}}).cases
    calls = [(case["expect"], case.get("arguments")) for case in cases]
    assert ("allow", {"ids": [4]}) in calls
    assert ("deny", {"ids": [4, 5]}) in calls
    assert any(arguments in (None, {"ids": []}) for expect, arguments in calls if expect == "deny")


SCHEMAS: dict[str, tuple[Json, list[Json], list[Json]]] = {
    "required": ({"required": ["a"]}, [{"a": "example"}], [{}]),
    "lengths": (
        {"properties": {"a": {"minLength": 2, "maxLength": 3}}},
        [{"a": "aa"}, {"a": "aaa"}],
        [{"a": "a"}, {"a": "aaaa"}],
    ),
    "bounds": (
        {"properties": {"a": {"minimum": 1, "exclusiveMaximum": 3}}},
        [{"a": 1}, {"a": 2}],
        [{"a": 0}, {"a": 3}],
    ),
    "values": ({"properties": {"a": {"enum": ["x", "y"]}}}, [{"a": "x"}, {"a": "y"}], [{"a": "xx"}]),
    "a pattern": ({"properties": {"a": {"pattern": "^b$"}}}, [{"a": "b"}], [{"a": "bx"}, {"a": "xb"}]),
    "a type": ({"properties": {"a": {"type": "string"}}}, [{"a": "example"}], [{"a": 1}]),
    "items": (
        {"properties": {"a": {"minItems": 1, "maxItems": 1}}},
        [{"a": ["example"]}],
        [{"a": []}, {"a": ["example", "example"]}],
    ),
    "no others": ({"properties": {"a": {}}, "additionalProperties": False}, [], [{"example_other": 1}]),
    "lists of objects": (
        {"properties": {"a": {"maxItems": 1, "items": {"required": ["b"]}}}},
        [{"a": [{"b": "example"}]}],
        [{"a": [{}]}, {"a": [{"b": "example"}, {"b": "example"}]}],
    ),
    "deeper": ({"properties": {"a": {"required": ["b"]}}}, [{"a": {"b": "example"}}], [{"a": {}}]),
}


@pytest.mark.parametrize(("schema", "inside", "outside"), SCHEMAS.values(), ids=SCHEMAS.keys())
def test_arguments_just_inside_and_just_outside_of_a_schema(
    schema: Json, inside: list[Json], outside: list[Json]
) -> None:
    policy = document(tools={"t": {"arguments": schema}})
    cases = boundaries_of(policy).cases
    calls = [(case["expect"], case.get("arguments", {})) for case in cases if case.get("tool") == "t"]
    for arguments in inside:
        assert ("allow", arguments) in calls
    for arguments in outside:
        assert ("deny", arguments) in calls
    assert misjudged(compile_policy(policy), cases) == []


def steps(entry: Json, **keys: Any) -> list[tuple[Any, ...]]:
    """Give the sequence for the only limit of a tool: arguments, times, after, what is expected."""
    found = [case["sequence"] for case in boundaries(tools={"t*": entry}, **keys).cases if "sequence" in case]
    return [
        (step.get("arguments", {}), step.get("times", 1), step.get("after", ""), step["expect"]) for step in found[0]
    ]


def test_a_limit_is_used_up_by_one_call_more_and_free_again_after_its_window() -> None:
    assert steps({"rate_limit": "10/minute"}) == [
        ({}, 10, "", "allow"),
        ({}, 1, "", "deny"),
        ({}, 1, "59s", "deny"),
        ({}, 1, "2s", "allow"),
    ]


def test_costs_are_added_up_to_the_maximum_and_one_more_is_refused() -> None:
    amount = {"conditions": [{"path": "args.n", "op": "lte", "value": 40}]}
    found = steps({"require": [amount], "limits": [{"window": "day", "max": 100, "cost": "args.n"}]})
    assert found[:3] == [({"n": 40}, 2, "", "allow"), ({"n": 20}, 1, "", "allow"), ({"n": 1}, 1, "", "deny")]


def test_another_key_passes_when_one_is_used_up() -> None:
    found = steps({"limits": [{"window": "day", "max": 2, "per": "args.who"}]})
    assert [(arguments["who"], expect) for arguments, _, _, expect in found[:3]] == [
        ("example", "allow"),
        ("example", "deny"),
        ("example-other", "allow"),
    ]


def test_a_long_limit_behind_a_short_one_is_reached_by_waiting() -> None:
    policy = document(tools={"t": {"limits": [{"window": "minute", "max": 2}, {"window": "hour", "max": 5}]}})
    cases = boundaries_of(policy).cases
    (slow,) = [case for case in cases if case["name"].startswith("/tools/t/limits/1")]
    assert [(step.get("times", 1), step.get("after"), step["expect"]) for step in slow["sequence"][:4]] == [
        (2, None, "allow"),
        (2, "61s", "allow"),
        (1, "61s", "allow"),
        (1, None, "deny"),
    ]
    assert misjudged(compile_policy(policy), cases) == []


def test_limits_that_are_full_at_the_same_time_are_told_apart_by_waiting() -> None:
    found = boundaries(tools={"t": {"limits": [{"window": "minute", "max": 2}, {"window": "hour", "max": 4}]}})
    (slow,) = [case for case in found.cases if case["name"].startswith("/tools/t/limits/1")]
    assert [(step.get("times", 1), step.get("after"), step["expect"]) for step in slow["sequence"][:3]] == [
        (2, None, "allow"),
        (2, "61s", "allow"),
        (1, "61s", "deny"),
    ]
    assert found.left_out == ()


def test_a_limit_that_no_calls_can_use_up_is_named() -> None:
    (left,) = boundaries(tools={"t": {"rate_limit": "5000/day"}}).left_out
    assert left.rule == "/tools/t/rate_limit"
    assert "1000 calls" in left.why
    assert boundaries(tools={"t": {"limits": [{"window": "day", "max": 5000, "cost": "args.n"}]}}).left_out == ()


def test_a_rule_without_a_call_is_named_with_the_reason() -> None:
    rule = {"conditions": [{"path": "args.x", "op": "regex", "value": "^\\p{L}$"}]}
    left = boundaries(tools={"t": {"require": [rule]}}).left_out
    assert any(each.rule == "/tools/t/require/0" and "args.x" in each.why for each in left)


def test_names_at_the_borders_of_patterns() -> None:
    found = boundaries(hide=["admin_*"], tools={"get_*": {}, "get_x": {"action": "deny"}, "wipe": {"action": "hide"}})
    expected = {case.get("tool"): (case["expect"], case.get("because")) for case in found.cases}
    assert expected["get_example"] == ("allow", None)
    assert expected["get_x"] == ("deny", ["/tools/get_x/action"])
    assert expected["admin_example"] == ("hide", ["/hide/0"])
    assert expected["wipe"] == ("hide", ["/tools/wipe/action"])
    assert expected["wipex"] == expected["xget_a"] == ("deny", ["/default"])


def test_resources_and_prompts_have_boundaries_too() -> None:
    policy = document(
        resources={
            "file:///srv/docs/*": {"limits": [{"window": "minute", "max": 2}]},
            "file:///srv/docs/x": {"action": "deny"},
        },
        prompts={"*": {}, "p": {"action": "require_approval"}},
    )
    found = boundaries_of(policy)
    calls = {(case.get("resource"), case.get("prompt")): case["expect"] for case in found.cases if "expect" in case}
    assert calls["file:///srv/docs/example", None] == "allow"
    assert calls["file:///srv/docs/x", None] == "deny"
    assert calls[None, "p"] == "approve"
    assert misjudged(compile_policy(policy), found.cases) == []


def test_risk_categories_are_called_with_the_category_or_as_the_servers_tools() -> None:
    policy = document(tools={"@read": {}, "@destructive": {"action": "require_approval"}, "get_*": {"rate_limit": "1/minute"}})  # fmt: skip
    alone = boundaries_of(policy)
    assert {case.get("category") for case in alone.cases if case["name"].startswith("/tools/@")} == {"read", "destructive"}  # fmt: skip
    tools = [Tool("get_rows"), Tool("delete_rows")]
    listed = boundaries_of(policy, tools)
    assert {"get_rows", "delete_rows"} <= {case.get("tool") for case in listed.cases}
    for found in (alone, listed):
        assert misjudged(compile_policy(policy), found.cases, tools) == []


def test_calls_begin_with_arguments_that_the_server_accepts() -> None:
    tool = Tool("t", input_schema={"type": "object", "properties": {"id": {"type": "integer"}, "x": {"enum": ["a", "b", "c"]}}, "required": ["id"]})  # fmt: skip
    policy = document(tools={"t": {"require": [{"conditions": [{"path": "args.x", "op": "in", "value": ["a"]}]}]}})
    cases = [case for case in boundaries_of(policy, [tool]).cases if case.get("tool") == "t"]
    assert all(case["arguments"]["id"] == 1 for case in cases)
    assert {"id": 1, "x": "b"} in [case["arguments"] for case in cases if case["expect"] == "deny"]


def test_rules_of_every_tool_are_met_by_every_call() -> None:
    everywhere = {"require": [{"conditions": [{"path": "args.ward", "op": "in", "value": [4]}]}]}
    rule = {"conditions": [{"path": "args.n", "op": "gt", "value": 3}]}
    found = boundaries(all_tools=everywhere, tools={"t": {"deny_if": [rule]}, "u": {}})
    allowed = [case["arguments"] for case in found.cases if case["expect"] == "allow"]
    assert allowed
    assert all(arguments["ward"] == 4 for arguments in allowed)
    assert any(case.get("because") == ["/all_tools/require/0"] for case in found.cases)
    assert found.left_out == ()


def test_the_same_policy_has_the_same_cases() -> None:
    policy = load_policy(ROOT / "policies" / "prometheus.json").document
    assert boundaries_of(policy) == boundaries_of(policy)


@pytest.mark.parametrize("path", sorted((ROOT / "policies").glob("**/*.json")), ids=lambda path: path.name)
def test_policies_of_the_repository_do_what_a_second_reading_says(path: Path) -> None:
    if not path.name.endswith(".test.json"):
        loaded = load_policy(path)
        assert misjudged(loaded.policy, boundaries_of(loaded.document).cases) == []


SERVER = [
    Tool("read_file", input_schema={"properties": {"path": {"type": "string"}}, "required": ["path"]}),
    Tool(
        "run_query",
        input_schema={
            "properties": {"sql": {"type": "string", "description": "SQL query to run"}},
            "required": ["sql"],
        },
    ),
    Tool("fetch", input_schema={"properties": {"url": {"type": "string", "format": "uri"}}, "required": ["url"]}),
    Tool("tag", input_schema={"properties": {"resource_arn": {"type": "string"}, "role_arn": {"type": "string"}}}),
    Tool(
        "pay",
        input_schema={"properties": {"amount": {"type": "number"}, "to": {"type": "string"}}, "required": ["amount"]},
    ),
    Tool("wipe_store", input_schema={"properties": {"action": {"enum": ["list", "drop"]}}, "required": ["action"]}),
]


@pytest.mark.parametrize("posture", get_args(Posture))
def test_drafts_do_what_a_second_reading_says(posture: Posture) -> None:
    draft = draft_policy(SERVER, posture)
    for tools in (SERVER, []):
        found = boundaries_of(draft.file, tools)
        assert misjudged(draft.policy, found.cases, tools) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(POLICIES)
def test_the_guard_judges_every_boundary_as_a_second_reading_says(policy: Json) -> None:
    try:
        compiled = compile_policy(PolicyFile.model_validate(policy))
    except (ValidationError, PolicyError):
        return
    assert misjudged(compiled, boundaries_of(compiled.document).cases) == []
