"""Checks that the smallest change passes, is small, and is not made up where the policy says what it wants."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.policy.decision import ToolCall
from mcpguard.policy.edits import Edit, edited
from mcpguard.policy.evaluate import compile_policy, evaluate
from mcpguard.policy.mend import MAX_EDITS, Change, NoChange, mend
from mcpguard.policy.model import PolicyFile

Json = dict[str, Any]


def mended(tool: Json, arguments: Json, **parts: object) -> Change | NoChange:
    document = PolicyFile.model_validate({"version": "1", "tools": {"t": tool}, **parts})
    policy = compile_policy(document)
    call = ToolCall("t", arguments, lambda path: path if path.startswith("/") else f"/home/{path}".removesuffix("/."))
    found = mend(policy, document, call)
    if isinstance(found, Change):
        decision = evaluate(policy, ToolCall("t", found.arguments, call.resolve))
        assert decision.awaits_approval if found.asked else decision.effect == "allow"
        made: Any = arguments
        for edit in found.edits:
            made = edited(made, edit)
        assert made == found.arguments
        assert len(found.edits) <= MAX_EDITS
    return found


def edits(tool: Json, arguments: Json, **parts: object) -> list[tuple[object, ...]]:
    """Give the edits of the change, without what an edit of its kind does not use."""
    found = mended(tool, arguments, **parts)
    assert isinstance(found, Change), found
    return [short(edit) for edit in found.edits]


def short(edit: Edit) -> tuple[object, ...]:
    match edit.kind:
        case "set" | "add":
            return (edit.kind, *edit.place, edit.value)
        case "remove":
            return (edit.kind, *edit.place)
        case "rename":
            return (edit.kind, *edit.place, edit.name)


def condition(path: str, op: str, *value: object) -> Json:
    return {"path": path, "op": op} | ({"value": value[0]} if value else {})


def require(path: str, op: str, *value: object) -> Json:
    return {"require": [{"conditions": [condition(path, op, *value)]}]}


def deny_if(path: str, op: str, *value: object) -> Json:
    return {"deny_if": [{"conditions": [condition(path, op, *value)]}]}


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        pytest.param(require("args.c", "in", ["usd", "eur"]), {"c": "EUR"}, ("set", "c", "eur"), id="the nearest name"),
        pytest.param(require("args.c", "eq", "usd"), {}, ("add", "c", "usd"), id="an argument that is asked for"),
        pytest.param(require("args.a.b", "eq", 1), {}, ("add", "a", {"b": 1}), id="one inside an absent object"),
        pytest.param(require("args.a.b", "eq", 1), {"a": None}, ("set", "a", {"b": 1}), id="one inside null"),
        pytest.param(require("args.a.b", "eq", 1), {"a": '{"b":1}'}, ("set", "a", {"b": 1}), id="one inside JSON text"),
        pytest.param(require("args.a.*", "eq", 1), {}, ("add", "a", [1]), id="a list of one"),
        pytest.param(require("args.a.*", "eq", 1), {"a": []}, ("add", "a", 0, 1), id="one for an empty list"),
        pytest.param(require("args.a.1", "eq", 1), {"a": [0]}, ("add", "a", 1, 1), id="one at the end of a list"),
        pytest.param(require("args.a.5", "eq", 1), {"a": {}}, ("add", "a", "5", 1), id="digits that are a key"),
        pytest.param(require("args.a.*.b", "eq", 1), {"a": [{"b": 2}]}, ("set", "a", 0, "b", 1), id="deep in a list"),
        pytest.param(require("args.n", "lte", 10), {"n": "7"}, ("set", "n", 7), id="text that is a number"),
        pytest.param(require("args.n", "lt", 10), {"n": 70}, ("set", "n", 9), id="just less"),
        pytest.param(require("args.n", "eq", "5"), {"n": 5}, ("set", "n", "5"), id="a number that is to be text"),
        pytest.param(
            require("args.n", "eq", "true"), {"n": True}, ("set", "n", "true"), id="a truth that is to be text"
        ),
        pytest.param(
            require("args.n", "eq", "x"), {"n": ["x"]}, ("set", "n", "x"), id="a list that is to be its element"
        ),
        pytest.param(require("args.n", "eq", "x y"), {"n": " x y"}, ("set", "n", "x y"), id="white space"),
        pytest.param(require("args.x", "exists"), {}, ("add", "x", "other"), id="anything"),
        pytest.param(require("args.x", "exists", False), {"x": 1}, ("remove", "x"), id="nothing"),
        pytest.param(require("args.x", "contains", "ab"), {"x": "q"}, ("set", "x", "q ab"), id="a word more"),
        pytest.param(
            require("args.x", "contains", "ab"), {"x": ["q"]}, ("set", "x", ["q", "ab"]), id="an element more"
        ),
        pytest.param(require("args.x", "contains", "ab"), {}, ("add", "x", "ab"), id="something that contains"),
        pytest.param(require("args.p", "under", "/srv"), {"p": "/etc/x"}, ("set", "p", "/srv/x"), id="a directory"),
        pytest.param(require("args.p", "under", ["/srv"]), {}, ("add", "p", "/srv"), id="a directory itself"),
        pytest.param(require("args.p", "not_under", "/etc"), {"p": "/etc/x"}, ("set", "p", "x"), id="elsewhere"),
        pytest.param(
            require("args.u", "host_in", "*.example.com"),
            {"u": "https://example.org/a?b"},
            ("set", "u", "https://www.example.com/a?b"),
            id="another host",
        ),
        pytest.param(
            require("args.u", "host_in", ["a.test"]), {"u": "q"}, ("set", "u", "https://a.test/"), id="a whole URL"
        ),
        pytest.param(
            require("args.u", "not_host_in", "a.test"),
            {"u": "https://a.test/"},
            ("set", "u", "https://example.com/"),
            id="any other host",
        ),
        pytest.param(deny_if("args.n", "gt", 10), {"n": 70}, ("set", "n", 10), id="the bound itself"),
        pytest.param(
            deny_if("args.n", "gt", Decimal("1e308")), {"n": 10**308 * 2}, ("set", "n", 10**308), id="huge numbers"
        ),
        pytest.param(deny_if("args.l.*", "eq", 1), {"l": [2, 1]}, ("remove", "l", 1), id="an element too many"),
        pytest.param(deny_if("args.o.k", "exists"), {"o": {"k": 1, "l": 2}}, ("remove", "o", "k"), id="a key too many"),
        pytest.param(deny_if("args.s", "regex", "x"), {"s": "x"}, ("remove", "s"), id="a pattern"),
        pytest.param(deny_if("args.s", "contains", ""), {"s": "x"}, ("remove", "s"), id="what every text contains"),
        pytest.param(deny_if("args.a", "neq", 1), {"A": 1}, ("rename", "A", "a"), id="a key in another case"),
        pytest.param(
            deny_if("args.l.*.a", "eq", 2), {"l": [{"A": 1}]}, ("rename", "l", 0, "A", "a"), id="such a key, deep"
        ),
        pytest.param(deny_if("args.a", "eq", 2), {"A": 1, "a": 1}, ("remove", "A"), id="a key in both cases"),
        pytest.param(
            {"approve_if": deny_if("args.n", "gt", 10)["deny_if"]}, {"n": 11}, ("set", "n", 10), id="no need to ask"
        ),
    ],
)
def test_one_edit_answers_one_rule(tool: Json, arguments: Json, expected: tuple[object, ...]) -> None:
    assert edits(tool, arguments) == [expected]


def test_a_value_between_two_bounds_is_found() -> None:
    tool = {"require": [*require("args.n", "gt", 0)["require"], *require("args.n", "lt", 1)["require"]]}
    assert edits(tool, {"n": 5}) == [("set", "n", Decimal("0.5"))]


def test_a_value_that_another_rule_asks_for_is_tried_too() -> None:
    tool = require("args.b", "in", ["main", "dev"]) | deny_if("args.b", "eq", "main")
    assert edits(tool, {"b": "main"}) == [("set", "b", "dev")]


def test_two_and_three_edits_answer_as_many_rules() -> None:
    tool = {"require": [*require("args.a", "eq", 1)["require"], *require("args.b", "eq", 2)["require"]]}
    assert sorted(edits(tool, {})) == [("add", "a", 1), ("add", "b", 2)]
    assert len(edits(tool | deny_if("args.c", "neq", 3), {})) == 3


def test_what_takes_more_edits_is_not_found() -> None:
    tool = require("args.l.*", "eq", 1)
    assert edits(tool, {"l": [2, 2, 2]}) != []
    found = mended({"require": [one for key in "abcd" for one in require(f"args.{key}", "eq", 1)["require"]]}, {})
    assert isinstance(found, NoChange)
    assert not found.by_name
    assert found.tried > 0
    assert not found.gave_up


def test_a_search_gives_up_sooner_the_larger_the_arguments_are() -> None:
    tool = {"require": [one for key in "abcd" for one in require(f"args.{key}", "in", list(range(30)))["require"]]}
    assert mended(tool, {}) == NoChange(by_name=False, tried=3000, gave_up=True)
    large = {"text": "x" * 10_000_000, "list": [{}] * 10}
    assert mended(tool, large) == NoChange(by_name=False, tried=30, gave_up=True)


@pytest.mark.parametrize(
    ("tool", "parts"),
    [
        pytest.param({"action": "deny"}, {}, id="denied"),
        pytest.param({"action": "hide"}, {}, id="hidden by its action"),
        pytest.param({}, {"hide": ["t"]}, id="hidden"),
        pytest.param({}, {"tools": {}}, id="not named"),
        pytest.param({"action": "require_approval"}, {}, id="in need of a person"),
        pytest.param({"deny_if": [{"conditions": []}]}, {}, id="always denied"),
        pytest.param({"rate_limit": "0/day"}, {}, id="never"),
    ],
)
def test_no_arguments_help_where_the_tool_is_refused(tool: Json, parts: Json) -> None:
    assert mended(tool, {"a": 1}, **parts) == NoChange(by_name=True)


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param({"action": "require_approval"}, id="by its action"),
        pytest.param({"approve_if": [{"conditions": []}]}, id="by a rule"),
        pytest.param({"action": "require_approval", "approve_if": deny_if("args.n", "gt", 1)["deny_if"]}, id="by both"),
    ],
)
def test_where_every_call_is_asked_about_a_change_leaves_that_alone(asks: Json) -> None:
    limit = {"limits": [{"window": 60, "max": 9, "cost": "args.n"}]}
    for more in (deny_if("args.n", "gt", 5), limit):
        found = mended(asks | more, {"n": 11})
        assert isinstance(found, Change)
        assert found.asked
        assert [short(edit) for edit in found.edits] == [("set", "n", 5 if "deny_if" in more else 9)]
        assert mended(asks | more, {"n": 1}) == NoChange(by_name=True)


def test_where_some_calls_are_asked_about_a_change_avoids_it() -> None:
    tool = deny_if("args.n", "gt", 10) | {"approve_if": deny_if("args.n", "gt", 5)["deny_if"]}
    found = mended(tool, {"n": 11})
    assert isinstance(found, Change)
    assert not found.asked
    assert found.arguments == {"n": 5}


def test_a_call_that_passes_needs_no_change() -> None:
    assert mended({}, {"a": 1}) == Change((), {"a": 1})


SPEND: Json = {"window": 60, "max": 10, "counter": "spend"}


@pytest.mark.parametrize(
    ("limits", "arguments", "expected"),
    [
        pytest.param([SPEND | {"cost": "args.n"}], {"n": 70}, ("set", "n", 10), id="less than the maximum"),
        pytest.param([SPEND | {"cost": "args.n"}], {"n": "7"}, ("set", "n", 7), id="a number"),
        pytest.param([SPEND | {"cost": "args.n"}], {}, ("add", "n", 10), id="a cost"),
        pytest.param(
            [SPEND | {"max": 5}, SPEND | {"cost": "args.n"}], {"n": 7}, ("set", "n", 5), id="a shared counter"
        ),
        pytest.param([SPEND | {"per": "args.who"}], {}, ("add", "who", "other"), id="a key"),
        pytest.param([SPEND | {"cost": "args.n"}], {"N": 7}, ("rename", "N", "n"), id="a key in another case"),
    ],
)
def test_one_edit_answers_a_limit(limits: list[Json], arguments: Json, expected: tuple[object, ...]) -> None:
    assert edits({"limits": limits}, arguments) == [expected]


@pytest.mark.parametrize(
    ("schema", "arguments", "expected"),
    [
        pytest.param({"required": ["m"], "properties": {"m": {"enum": [3, 4]}}}, {}, ("add", "m", 3), id="required"),
        pytest.param({"properties": {"m": {"const": 3}}}, {"m": 4}, ("set", "m", 3), id="const"),
        pytest.param({"properties": {"m": {"minimum": 3}}}, {"m": 1}, ("set", "m", 3), id="minimum"),
        pytest.param({"properties": {"m": {"maximum": 3}}}, {"m": 9}, ("set", "m", 3), id="maximum"),
        pytest.param({"properties": {"m": {"exclusiveMinimum": 3}}}, {"m": 1}, ("set", "m", 4), id="exclusive minimum"),
        pytest.param({"properties": {"m": {"multipleOf": 5}}}, {"m": 13}, ("set", "m", 10), id="a multiple"),
        pytest.param({"properties": {"m": {"multipleOf": 5}}}, {"m": "x"}, ("set", "m", 5), id="a multiple, not text"),
        pytest.param({"properties": {"m": {"minLength": 9}}}, {"m": "paid"}, ("set", "m", "paid exam"), id="longer"),
        pytest.param({"properties": {"m": {"maxLength": 2}}}, {"m": "paid"}, ("set", "m", "pa"), id="shorter"),
        pytest.param({"properties": {"m": {"format": "date"}}}, {"m": "x"}, ("set", "m", "2026-01-31"), id="a format"),
        pytest.param({"properties": {"m": {"type": "integer"}}}, {"m": "5"}, ("set", "m", 5), id="a type, from text"),
        pytest.param({"properties": {"m": {"type": ["boolean", "null"]}}}, {"m": 7}, ("set", "m", True), id="types"),
        pytest.param({"properties": {"m": {"minItems": 2}}}, {"m": [7]}, ("set", "m", [7, "example"]), id="more items"),
        pytest.param({"properties": {"m": {"minItems": 2}}}, {"m": 3}, ("set", "m", ["example"] * 2), id="some items"),
        pytest.param({"properties": {"m": {"maxItems": 1}}}, {"m": [7, 8]}, ("set", "m", [7]), id="fewer items"),
        pytest.param(
            {"properties": {"m": {"uniqueItems": True}}}, {"m": [7, 7]}, ("remove", "m", 0), id="unique items"
        ),
        pytest.param({"properties": {"m": {"items": {"const": 1}}}}, {"m": [1, 2]}, ("set", "m", 1, 1), id="an item"),
        pytest.param(
            {"properties": {"m": {"prefixItems": [{"const": 1}]}}}, {"m": [2]}, ("set", "m", 0, 1), id="the first item"
        ),
        pytest.param(
            {"properties": {"m": {"required": ["k"], "properties": {"k": {"type": "integer"}}}}},
            {"m": 3},
            ("set", "m", {"k": 1}),
            id="an object",
        ),
        pytest.param(
            {"properties": {"m": {"required": ["k"]}}}, {"m": {}}, ("set", "m", {"k": "example"}), id="a key, deep"
        ),
        pytest.param({"additionalProperties": False}, {"q": 3}, ("remove", "q"), id="a key too many"),
        pytest.param({"additionalProperties": {"const": 2}}, {"q": 3}, ("set", "q", 2), id="any key"),
        pytest.param({"dependentRequired": {"a": ["b"]}}, {"a": 1}, ("remove", "a"), id="a key that needs another"),
        pytest.param(
            {"properties": {"m": {"$ref": "#/$defs/x/allOf/0"}}, "$defs": {"x": {"allOf": [{"const": 3}]}}},
            {"m": 4},
            ("set", "m", 3),
            id="a reference",
        ),
        pytest.param({"anyOf": [{"properties": {"m": {"const": 3}}}]}, {"m": 4}, ("set", "m", 3), id="a choice"),
        pytest.param(
            {"if": {"required": ["a"]}, "then": {"properties": {"m": {"const": 3}}}},
            {"a": 1, "m": 4},
            ("set", "m", 3),
            id="a consequence",
        ),
        pytest.param({"properties": {"memo": {}}}, {"Memo": 1}, ("rename", "Memo", "memo"), id="a key in another case"),
        pytest.param(
            {"properties": {"l": {"items": {"properties": {"memo": {}}}}}},
            {"l": [{"x": []}, {"Memo": 1}]},
            ("rename", "l", 1, "Memo", "memo"),
            id="such a key, deep",
        ),
    ],
)
def test_one_edit_answers_a_schema(schema: Json, arguments: Json, expected: tuple[object, ...]) -> None:
    assert edits({"arguments": schema}, arguments) == [expected]


def test_a_schema_and_a_rule_about_one_place_are_answered_by_one_value() -> None:
    schema = {"required": ["c"], "properties": {"c": {"enum": ["usd", "eur"]}}}
    assert edits({"arguments": schema} | deny_if("args.c", "eq", "usd"), {}) == [("add", "c", "eur")]


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        pytest.param({"required": ["m"], "properties": {"m": {"pattern": "^[0-9]{7}$"}}}, {}, id="a pattern"),
        pytest.param({"required": ["m"], "properties": {"m": {"minLength": 20_000}}}, {}, id="a very long text"),
        pytest.param({"not": {}}, {}, id="a schema that refuses everything"),
        pytest.param(
            {
                "required": ["m"],
                "properties": {"m": {"$ref": "#/$defs/x"}},
                "$defs": {"x": {"required": ["m"], "properties": {"m": {"$ref": "#/$defs/x"}}}},
            },
            {},
            id="an object without end",
        ),
    ],
)
def test_what_nobody_can_make_up_is_not_found(schema: Json, arguments: Json) -> None:
    found = mended({"arguments": schema}, arguments)
    assert isinstance(found, NoChange)
    assert not found.by_name


def test_no_key_is_made_up_where_any_would_do() -> None:
    assert mended(require("args.*", "eq", 1), {}) == NoChange(by_name=False)


def test_text_that_is_no_unicode_is_left_alone() -> None:
    assert isinstance(mended({"arguments": {"required": ["q"]}}, {"a": "\ud800"}), NoChange)


VALUES = st.sampled_from(["main", "Main", "5", 5, 6, Decimal("0.5"), True, None, [5], {"b": 5}])
CONDITIONS = st.one_of(
    st.fixed_dictionaries(
        {
            "path": st.sampled_from(["args.a", "args.a.b", "args.a.*"]),
            "op": st.sampled_from(["eq", "neq"]),
            "value": VALUES,
        }
    ),
    st.fixed_dictionaries({"path": st.just("args.c"), "op": st.sampled_from(["gt", "lt"]), "value": st.integers(0, 9)}),
)
RULES = st.lists(st.fixed_dictionaries({"conditions": st.lists(CONDITIONS, max_size=2)}), max_size=2)
TOOLS = st.fixed_dictionaries({}, optional={"require": RULES, "deny_if": RULES, "approve_if": RULES})


@settings(max_examples=50, deadline=None)
@given(TOOLS, st.dictionaries(st.sampled_from(["a", "A", "c"]), VALUES, max_size=2))
def test_a_change_always_passes_and_one_edit_is_never_overlooked(tool: Json, arguments: Json) -> None:
    policy = compile_policy(PolicyFile.model_validate({"version": "1", "tools": {"t": tool}}))

    always = any(not rule["conditions"] for rule in tool.get("approve_if", []))

    def passes(changed: Any) -> bool:
        decision = evaluate(policy, ToolCall("t", changed))
        return decision.effect == "allow" or (always and decision.awaits_approval)

    found = mended(tool, arguments)
    if passes(arguments):
        assert found == (NoChange(by_name=True) if always else Change((), arguments))
        return
    if isinstance(found, Change):
        assert found.asked is always
        made: Any = arguments
        for edit in found.edits:
            assert not passes(made)
            made = edited(made, edit)
    if isinstance(found, NoChange) or len(found.edits) > 1:
        rules = [rule for kind in tool.values() for rule in kind]
        tests = [one for rule in rules for one in rule["conditions"]]
        named = {one["path"].split(".")[1]: one["value"] for one in tests if one["path"].count(".") == 1}
        assert not any(passes(arguments | {key: value}) for key, value in named.items())
        assert not any(passes({k: v for k, v in arguments.items() if k != key}) for key in arguments)
