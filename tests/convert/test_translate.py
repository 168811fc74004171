"""Checks what each part of a policy of Intercept becomes, and what is said where it has no exact twin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.convert.source import read_source
from mcpguard.convert.translate import convert
from mcpguard.policy.compile import compile_policy
from mcpguard.policy.model import PolicyFile
from mcpguard.stores.yaml_text import read_yaml

if TYPE_CHECKING:
    from mcpguard.convert.notes import Note

Json = dict[str, Any]


def converted(policy: Json) -> tuple[Json, tuple[Note, ...]]:
    """Convert what stands behind the version, and make sure that it can be used."""
    made, notes = convert(read_source(read_yaml(json.dumps({"version": "1", **policy}))))
    compile_policy(PolicyFile.model_validate(made))
    return made, notes


def without_comments(value: Any) -> Any:
    match value:
        case dict():
            return {key: without_comments(item) for key, item in value.items() if key != "$comment"}
        case list():
            return [without_comments(item) for item in value]
        case _:
            return value


def tool(*rules: Json, name: str = "t") -> Json:
    return {"tools": {name: {"rules": [{"name": "r", **rule} for rule in rules]}}}


def kinds(notes: tuple[Note, ...]) -> list[tuple[str, str]]:
    return [(note.kind, note.pointer) for note in notes]


CONDITIONS: dict[str, tuple[Json, list[Json], str]] = {
    "eq": ({"op": "eq", "value": "x"}, [{"op": "eq", "value": "x"}], ""),
    "eq of a number": ({"op": "eq", "value": 5}, [{"op": "in", "value": [5, "5"]}], ""),
    "eq of digits": ({"op": "eq", "value": "5"}, [{"op": "in", "value": ["5", 5]}], ""),
    "eq of null": ({"op": "eq"}, [{"op": "in", "value": [None, "<nil>"]}], ""),
    "eq of a list": ({"op": "eq", "value": ["a"]}, [{"op": "eq", "value": ["a"]}], "list for its text"),
    "neq": ({"op": "neq", "value": "x"}, [{"op": "neq", "value": "x"}], "null, lists, objects"),
    "neq of null": (
        {"op": "neq"},
        [{"op": "exists", "value": True}, {"op": "neq", "value": "<nil>"}],
        "null, lists, objects",
    ),
    "in": ({"op": "in", "value": ["a", "5"]}, [{"op": "in", "value": ["a", "5", 5]}], ""),
    "in of nothing": ({"op": "in", "value": []}, [{"op": "in", "value": []}], ""),
    "in with a value like no other": (
        {"op": "in", "value": ["a", [0]]},
        [{"op": "in", "value": ["a"]}],
        "left out: `[0]`",
    ),
    "not_in": ({"op": "not_in", "value": ["a", 1]}, [{"op": "not_in", "value": ["a", 1]}], "null, lists, objects"),
    "not_in of nothing": ({"op": "not_in", "value": []}, [{"op": "not_in", "value": []}], ""),
    "lt": ({"op": "lt", "value": 5}, [{"op": "lt", "value": 5}, {"op": "neq", "value": 5}], ""),
    "gt": ({"op": "gt", "value": 5}, [{"op": "gt", "value": 5}, {"op": "neq", "value": 5}], ""),
    "lte": ({"op": "lte", "value": 5}, [{"op": "lte", "value": 5}], ""),
    "gte": ({"op": "gte", "value": 5}, [{"op": "gte", "value": 5}], ""),
    "regex": ({"op": "regex", "value": "^a"}, [{"op": "regex", "value": "^a"}], ""),
    "regex in another dialect": ({"op": "regex", "value": r"\Aa"}, [{"op": "regex", "value": "^a"}], ""),
    "contains": ({"op": "contains", "value": "x"}, [{"op": "contains", "value": "x"}], ""),
    "contains of a number": ({"op": "contains", "value": 5}, [{"op": "contains", "value": 5}], "only this very value"),
    "exists": ({"op": "exists", "value": True}, [{"op": "exists", "value": True}], ""),
    "absent": ({"op": "exists", "value": False}, [{"op": "exists", "value": False}], ""),
}
REFUSED: dict[str, tuple[Json, str]] = {
    "eq": ({"path": "args.a", "op": "eq", "value": [0]}, "how Go prints them"),
    "neq": ({"path": "args.a", "op": "neq", "value": ["a"]}, "`neq` with a list"),
    "contains": ({"path": "args.a", "op": "contains", "value": [0]}, "`contains` with such a value"),
    "a pattern": ({"path": "args.a", "op": "regex", "value": r"\pL"}, r"the pattern `\pL` has no counterpart"),
    "an index": ({"path": "args.a.0", "op": "eq", "value": 1}, "would be an index here"),
}
PATHS = {
    "args.a.b": "args.a.b",
    "args.0": "args.0",
    "args.a/b": "args.a/b",
    "args.*": "/*",
    "args.": "/",
    "args.a..b": "/a//b",
}


@pytest.mark.parametrize(("written", "made", "said"), CONDITIONS.values(), ids=CONDITIONS.keys())
def test_each_operator_becomes_this(written: Json, made: list[Json], said: str) -> None:
    policy, notes = converted(tool({"conditions": [{"path": "args.a", **written}], "on_deny": "no"}))
    (rule,) = policy["tools"]["t"]["require"]
    assert rule["$comment"] == "r"
    assert rule["on_deny"] == "no"
    assert without_comments(rule["conditions"]) == [{"path": "args.a", **each} for each in made]
    assert kinds(notes) == ([("comparison", "/tools/t/rules/0/conditions/0")] if said else [])
    assert all(said in note.message for note in notes)
    if said and len(made) == 1:
        assert said in rule["conditions"][0]["$comment"]


@pytest.mark.parametrize(("condition", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_a_condition_without_a_twin_refuses_every_call_and_says_so(condition: Json, why: str) -> None:
    kept = {"path": "args.b", "op": "neq", "value": "x"}
    policy, notes = converted(tool({"conditions": [kept, condition], "on_deny": "no"}))
    (rule,) = policy["tools"]["t"].pop("deny_if")
    assert policy["tools"]["t"] == {}
    assert without_comments(rule) == {"conditions": [], "on_deny": "no"}
    assert why in rule["$comment"]
    assert kinds(notes) == [("refused", "/tools/t/rules/0/conditions/1")]
    assert why in notes[0].message
    assert notes[0].message.endswith("every call of `t` is refused instead")
    _, notes = converted(tool({"conditions": [condition]}, name="*"))
    assert notes[0].message.endswith("every call of any tool is refused instead")


@pytest.mark.parametrize(("path", "made"), PATHS.items(), ids=PATHS.keys())
def test_a_path_names_the_same_argument(path: str, made: str) -> None:
    policy, _ = converted(tool({"conditions": [{"path": path, "op": "lte", "value": 1}]}))
    assert policy["tools"]["t"]["require"][0]["conditions"][0]["path"] == made


def test_an_absence_further_down_is_stricter() -> None:
    _, notes = converted(tool({"conditions": [{"path": "args.a.b", "op": "exists", "value": False}]}))
    assert kinds(notes) == [("comparison", "/tools/t/rules/0/conditions/0")]


def test_what_is_not_named_is_allowed_unless_the_default_denies() -> None:
    policy, notes = converted({"description": "d", "tools": {"t": None}})
    assert without_comments(policy) == {"version": "1", "description": "d", "default": "allow", "tools": {"t": {}}}
    assert notes == ()


def test_a_default_that_denies_opens_what_intercept_does_not_govern() -> None:
    policy, notes = converted({"default": "deny", "tools": {"t": None}})
    assert without_comments(policy) == {
        "version": "1",
        "default": "deny",
        "tools": {"t": {}},
        "resources": {"*": {}},
        "prompts": {"*": {}},
        "server_requests": {"sampling/createMessage": "allow"},
        "methods": {"*": "allow"},
        "list": "all",
    }
    assert kinds(notes) == [("sections", "/default")]


def test_a_denial_is_an_action_with_its_reason_and_the_tool_stays_listed() -> None:
    policy, notes = converted(tool({"action": "deny", "on_deny": "no"}, {"action": "deny", "on_deny": "nor this"}))
    assert policy["tools"]["t"] == {"$comment": "r", "action": "deny", "reason": "no"}
    assert policy["list"] == "all"
    assert notes == ()
    policy, _ = converted(tool({"action": "deny"}))
    assert policy["tools"]["t"]["reason"] == 'denied by the rule "r"'


def test_rules_for_every_tool_hold_for_all_tools() -> None:
    limit = {"rate_limit": "5/minute"}
    condition = {"conditions": [{"path": "args.a", "op": "lte", "value": 1}]}
    policy, _ = converted(tool(limit, condition, {"action": "deny"}, name="*"))
    assert policy["tools"] == {}
    assert without_comments(policy["all_tools"]) == {
        "require": [{"conditions": [{"path": "args.a", "op": "lte", "value": 1}]}],
        "deny_if": [{"conditions": []}],
        "limits": [
            {"counter": "_global._rate_minute", "window": "minute", "max": 5, "align": "calendar", "scope": "grant"}
        ],
    }


def test_names_are_no_patterns() -> None:
    policy, notes = converted({"hide": ["a*", "@b", "*", "plain"], "tools": {"c?": None, "@read": None, "\\": None}})
    assert policy["hide"] == [r"a\*", r"\@b", "*", "plain"]
    assert list(policy["tools"]) == [r"c\?", r"\@read", "\\\\"]
    assert policy["tools"][r"c\?"] == {"$comment": "one name, and no pattern"}
    assert kinds(notes) == [("name", "/hide/0"), ("name", "/tools/c?"), ("name", "/tools/\\")]


def test_a_tool_called_like_a_comment_is_hidden() -> None:
    policy, notes = converted({"tools": {"$comment": None}})
    assert policy["hide"] == ["$comment"]
    assert policy["tools"] == {}
    assert kinds(notes) == [("name", "/tools/$comment")]
    assert converted({"hide": ["$comment"], "tools": {"$comment": None}})[0]["hide"] == ["$comment"]


def test_a_key_that_means_nothing_is_named() -> None:
    _, notes = converted({"own/er": "me", "tools": {}})
    assert [(note.kind, note.pointer, note.message) for note in notes] == [
        ("ignored", "/own~1er", "`own/er` means nothing to Intercept; it is left out")
    ]


def test_a_rate_limit_is_a_limit_in_the_same_windows() -> None:
    policy, notes = converted(tool({"rate_limit": "5/hour", "on_deny": "slow down"}))
    assert policy["tools"]["t"]["limits"] == [
        {
            "$comment": "r: slow down (counts anew with every run; calls that fail count, too)",
            "counter": "t._rate_hour",
            "window": "hour",
            "max": 5,
            "align": "calendar",
            "scope": "grant",
        }
    ]
    assert kinds(notes) == [("counting", "/tools/t/rules/0"), ("text", "/tools/t/rules/0")]


def counted(*conditions: Json, scope: str = "t", **state: Any) -> Json:
    """Return a rule that counts on `x` of its tool."""
    made = [{"path": f"state.{scope}.x", **each} for each in conditions]
    return {"conditions": made, "state": {"counter": "x", "window": "day", **state}}


def limits(policy: Json, name: str = "t") -> list[tuple[str, int, str | None]]:
    return [(each["counter"], each["max"], each.get("cost")) for each in policy["tools"][name]["limits"]]


def test_a_limit_by_lt_is_one_less() -> None:
    assert limits(converted(tool(counted({"op": "lt", "value": 5})))[0]) == [("t.x", 4, None)]
    assert limits(converted(tool(counted({"op": "lt", "value": 5.5})))[0]) == [("t.x", 4, None)]
    assert limits(converted(tool(counted({"op": "lte", "value": 5.5})))[0]) == [("t.x", 5, None)]


def test_a_limit_is_rounded_to_a_double_first_as_there() -> None:
    text = json.dumps({"version": "1", **tool(counted({"op": "lte", "value": 9}, {"op": "lt", "value": 5.5}))})
    made, _ = convert(read_source(read_yaml(text.replace("5.5", "5.00000000000000000001"))))
    assert limits(made) == [("t.x", 5, None)]


def test_a_fixed_increment_divides_the_limit() -> None:
    assert limits(converted(tool(counted({"op": "lte", "value": 5}, increment=2)))[0]) == [("t.x", 2, None)]


def test_what_is_spent_is_added_up() -> None:
    rule = counted({"op": "lte", "value": 500}, increment_from="args.amount")
    policy, notes = converted(tool(rule))
    assert limits(policy) == [("t.x", 500, "args.amount")]
    assert {note.kind for note in notes} == {"counting", "counters"}


def test_conditions_on_arguments_and_on_the_counter_part() -> None:
    rule = counted({"op": "lte", "value": 5})
    rule["conditions"].append({"path": "args.a", "op": "lte", "value": 1})
    policy, _ = converted(tool(rule))
    assert limits(policy) == [("t.x", 5, None)]
    assert without_comments(policy["tools"]["t"]["require"]) == [
        {"conditions": [{"path": "args.a", "op": "lte", "value": 1}]}
    ]


def test_a_second_condition_on_the_own_counter_can_lower_the_limit() -> None:
    policy, notes = converted(
        tool(counted({"op": "lte", "value": 5}, {"op": "lt", "value": 3}, {"op": "exists", "value": True}))
    )
    assert limits(policy) == [("t.x", 3, None)]
    assert kinds(notes) == [("counting", "/tools/t/rules/0")]


def test_a_limit_that_can_never_hold_refuses_every_call_and_needs_no_note() -> None:
    for rule in (
        counted({"op": "lt", "value": 0}),
        counted({"op": "lte", "value": -0.5}),
        counted({"op": "lte", "value": 5}, {"op": "lte", "value": -1}),
        counted({"op": "lte", "value": 5}, {"op": "exists", "value": False}),
    ):
        policy, notes = converted(tool(rule))
        assert without_comments(policy["tools"]["t"]) == {"deny_if": [{"conditions": []}]}
        assert policy["list"] == "all"
        assert notes == ()


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (counted({"op": "gte", "value": 1}), "looks at a counter with `gte`"),
        (counted({"op": "lt", "value": 0.5}, increment_from="args.n"), "only negative amounts"),
        (counted({"op": "lte", "value": -0.5}, increment_from="args.n"), "only negative amounts"),
        (
            counted({"op": "lte", "value": 5}, {"op": "lt", "value": -1}, increment_from="args.n"),
            "only negative amounts",
        ),
        (counted({"op": "lte", "value": 5}, increment=-1), "counts backwards"),
        (counted({"op": "lte", "value": 1e300}), "so large a number"),
        (counted({"op": "lte", "value": 5}, {"op": "lt", "value": 1e300}), "so large a number"),
        ({"conditions": [{"path": "state.x", "op": "lt", "value": 5}]}, "looks at a counter with `lt`"),
    ],
)
def test_what_no_limit_can_say_refuses_every_call(rule: Json, why: str) -> None:
    policy, notes = converted(tool(rule))
    assert without_comments(policy["tools"]["t"])["deny_if"] == [{"conditions": []}]
    assert ("refused", why) in [(note.kind, why) for note in notes if why in note.message]


def test_a_look_at_the_counter_of_another_tool_counts_there_too() -> None:
    look = {"name": "s", "conditions": [{"path": "state.t.x", "op": "lt", "value": 3}]}
    policy, notes = converted(
        {"tools": {"t": {"rules": [{"name": "r", **counted({"op": "lte", "value": 5})}]}, "u": {"rules": [look]}}}
    )
    assert limits(policy, "u") == [("t.x", 3, None)]
    assert kinds(notes) == [
        ("counting", "/tools/t/rules/0"),
        ("counters", "/tools/u/rules/0/conditions/0"),
        ("counting", "/tools/u/rules/0"),
    ]
    assert "counted on it, too" in policy["tools"]["u"]["limits"][0]["$comment"]


def test_a_look_at_what_another_tool_spends_counts_one_there() -> None:
    look = {"name": "s", "conditions": [{"path": "state.t.x", "op": "lte", "value": 300}]}
    spend = counted({"op": "lte", "value": 500}, increment_from="args.n")
    policy, _ = converted({"tools": {"t": {"rules": [{"name": "r", **spend}, look]}, "u": {"rules": [look]}}})
    assert limits(policy, "u") == [("t.x", 301, None)]
    assert limits(policy) == [("t.x", 500, "args.n"), ("t.x", 300, "args.n")]


def test_a_look_at_a_counter_that_the_call_is_counted_on_is_exact() -> None:
    look = {"name": "s", "conditions": [{"path": "state._global.x", "op": "lt", "value": 3}]}
    count = {"name": "r", **counted({"op": "lte", "value": 5}, scope="_global")}
    policy, notes = converted({"tools": {"t": {"rules": [look]}, "*": {"rules": [count]}}})
    assert limits(policy) == [("_global.x", 3, None)]
    assert {note.kind for note in notes} == {"counting"}


def test_a_counter_without_a_limit_counts_only_if_somebody_looks_at_it() -> None:
    rule: Json = {
        "name": "r",
        "conditions": [{"path": "args.a", "op": "lte", "value": 1}],
        "state": {"counter": "x", "window": "day"},
    }
    policy, notes = converted({"tools": {"t": {"rules": [rule]}}})
    assert "limits" not in policy["tools"]["t"]
    assert policy["tools"]["t"]["require"][0]["$comment"] == "r (its `state` counts nothing and is left out)"
    assert kinds(notes) == [("counters", "/tools/t/rules/0")]
    look = {"name": "s", "conditions": [{"path": "state.t.x", "op": "lt", "value": 3}]}
    policy, _ = converted({"tools": {"t": {"rules": [rule]}, "u": {"rules": [look]}}})
    assert limits(policy) == [("t.x", 2**53 - 1, None)]
    rule["state"]["increment_from"] = "args.n"
    assert limits(converted({"tools": {"t": {"rules": [rule]}}})[0]) == [("t.x", 2**53 - 1, "args.n")]


def test_a_maximum_that_doubles_cannot_tell_from_its_neighbour_is_lowered() -> None:
    policy, notes = converted(tool(counted({"op": "lte", "value": 2**60})))
    assert limits(policy) == [("t.x", 2**53 - 1, None)]
    assert ("counters", "/tools/t/rules/0") in kinds(notes)


def test_a_counter_of_a_tool_whose_name_begins_with_a_slash_has_a_name() -> None:
    policy, _ = converted(tool({"rate_limit": "1/day"}, name="/t"))
    assert limits(policy, "/t") == [("./t._rate_day", 1, None)]
