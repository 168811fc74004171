"""Checks what entries for risk categories decide, alone, together with globs, and about tools that no list has shown."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.errors import PolicyError
from mcpguard.policy.check import check_policy
from mcpguard.policy.compile import Policy, compile_policy
from mcpguard.policy.decision import Category, Effect, ToolCall
from mcpguard.policy.evaluate import evaluate, visible
from mcpguard.policy.mend import Change, NoChange, mend
from mcpguard.policy.model import RISK_CATEGORIES, PolicyFile
from mcpguard.policy.standing import Standing, standing_of_tool
from mcpguard.policy.trace import grounds_of, trace

Json = dict[str, Any]

EFFECTS: list[Effect] = ["allow", "deny", "hide"]
SMALL = {"conditions": [{"path": "args.n", "op": "lt", "value": 10}]}
EVEN = {"conditions": [{"path": "args.n", "op": "in", "value": [2, 20]}]}
DENY: Json = {"action": "deny"}
APPROVAL: Json = {"action": "require_approval"}


def document(tools: Json, **parts: Any) -> PolicyFile:
    return PolicyFile.model_validate({"version": "1", "tools": tools, **parts})


def policy(tools: Json, **parts: Any) -> Policy:
    return compile_policy(document(tools, **parts))


def judged(given: Policy, name: str, category: Category | None, **arguments: Any) -> tuple[Effect, str]:
    decision = evaluate(given, ToolCall(name, arguments, category=category))
    return decision.effect, decision.entry


def test_the_names_are_those_of_the_categories() -> None:
    assert tuple(RISK_CATEGORIES.values()) == get_args(Category)
    assert all(name == f"@{category}" for name, category in RISK_CATEGORIES.items())


def test_no_entry_decides_twice_about_a_tool_that_nobody_has_seen() -> None:
    given = policy({"*": {"deny_if": [SMALL]}, "@read": {"deny_if": [SMALL]}}, default="allow")
    decision = evaluate(given, ToolCall("t", {"n": 1}))
    assert [reason.rule for reason in decision.reasons] == ["/tools/*/deny_if/0", "/tools/@read/deny_if/0"]


WHO_DECIDES: dict[str, tuple[Json, Category | None, tuple[Effect, str]]] = {
    "its category": ({"@read": {}}, "read", ("allow", "/tools/@read")),
    "another category": ({"@read": {}}, "write", ("deny", "/default")),
    "the exact name alone": ({"@read": DENY, "get_x": {}}, "read", ("allow", "/tools/get_x")),
    "the exact name of a tool that nobody has seen": ({"@read": DENY, "get_x": {}}, None, ("allow", "/tools/get_x")),
    "a glob and the stricter category": ({"get_*": {}, "@read": DENY}, "read", ("deny", "/tools/@read")),
    "a stricter glob and the category": ({"get_*": DENY, "@read": {}}, "read", ("deny", "/tools/get_*")),
    "a glob that hides": ({"get_*": {"action": "hide"}, "@read": DENY}, "read", ("hide", "/tools/get_*")),
    "a category that hides": ({"get_*": DENY, "@read": {"action": "hide"}}, "read", ("hide", "/tools/@read")),
    "both alike": ({"get_*": {}, "@read": {}}, "read", ("allow", "/tools/get_*")),
    "the most specific glob": ({"get_*": DENY, "get_x*": {}, "@read": {}}, "read", ("allow", "/tools/get_x*")),
    "a category before `*`": ({"*": DENY, "@read": {}}, "read", ("allow", "/tools/@read")),
    "`*` for another category": ({"*": {}, "@write": DENY}, "read", ("allow", "/tools/*")),
    "approval before allow": ({"get_*": {}, "@read": APPROVAL}, "read", ("deny", "/tools/@read")),
    "the default for what nobody has seen": ({"@read": {}, "*": {}, "get_*": {}}, None, ("deny", "/default")),
    "a refusal before the default": ({"@read": {}, "@write": DENY}, None, ("deny", "/tools/@write")),
    "what hides before the default": ({"@write": {"action": "hide"}}, None, ("hide", "/tools/@write")),
}


@pytest.mark.parametrize(("tools", "category", "expected"), WHO_DECIDES.values(), ids=WHO_DECIDES.keys())
def test_who_decides(tools: Json, category: Category | None, expected: tuple[Effect, str]) -> None:
    assert judged(policy(tools), "get_x", category) == expected


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        pytest.param({"@read": {}}, ("allow", "/tools/@read"), id="nothing against it"),
        pytest.param({"@read": {}, "@write": DENY}, ("deny", "/tools/@write"), id="the strictest category"),
        pytest.param({"@read": {}, "get_*": DENY}, ("deny", "/tools/get_*"), id="its glob"),
        pytest.param({"@read": {}, "get_*": {}, "*": DENY}, ("deny", "/tools/*"), id="what it could be decided by"),
        pytest.param({"@read": {}, "*": DENY}, ("deny", "/tools/*"), id="the glob of everything alone"),
    ],
)
def test_what_no_list_has_shown_meets_everything_where_the_default_allows(
    tools: Json, expected: tuple[Effect, str]
) -> None:
    assert judged(policy(tools, default="allow"), "get_x", None) == expected


def test_hide_comes_first() -> None:
    assert judged(policy({"@read": {}}, hide=["get_*"]), "get_x", "read") == ("hide", "/hide/0")


def test_rules_schemas_and_limits_of_both_hold() -> None:
    both = policy(
        {
            "get_*": {"require": [SMALL], "arguments": {"required": ["a"]}, "rate_limit": "5/minute"},
            "@read": {
                "require": [EVEN],
                "deny_if": [{"conditions": [{"path": "args.b", "op": "exists"}]}],
                "arguments": {"required": ["c"]},
                "limits": [{"counter": "reads", "window": 60, "max": 9, "cost": "args.n"}],
            },
        },
        all_tools={"limits": [{"counter": "all", "window": 60, "max": 7}]},
    )
    good = evaluate(both, ToolCall("get_x", {"n": 2, "a": 1, "c": 1}, category="read"))
    assert good.effect == "allow"
    assert {(charge.counter, charge.amount) for charge in good.charges} == {
        ("/tools/get_*/rate_limit", 1),
        ("reads", 2),
        ("all", 1),
    }
    bad = evaluate(both, ToolCall("get_x", {"n": 21, "b": 1}, category="read"))
    assert [reason.rule for reason in bad.reasons] == [
        "/tools/get_*/require/0",
        "/tools/@read/require/0",
        "/tools/@read/deny_if/0",
        "/tools/get_*/arguments",
        "/tools/@read/arguments",
    ]


def test_limits_of_both_hold_where_nothing_depends_on_arguments() -> None:
    both = policy({"get_*": {"rate_limit": "5/minute"}, "@read": {"rate_limit": "9/minute"}})
    decision = evaluate(both, ToolCall("get_x", {}, category="read"))
    assert [charge.rule for charge in decision.charges] == ["/tools/get_*/rate_limit", "/tools/@read/rate_limit"]


def test_limits_that_name_one_counter_must_agree_also_with_those_of_a_category() -> None:
    limits = [{"limits": [{"counter": "c", "window": window, "max": 1}]} for window in (1, 2)]
    with pytest.raises(PolicyError, match="limits that name one counter must agree"):
        policy({"get_*": limits[0], "@read": limits[1]})


def test_lists_show_what_could_be_called() -> None:
    given = policy({"@read": {}, "@write": DENY, "@execute": APPROVAL})
    shown = {category: visible(given, "x", category) for category in (None, *get_args(Category))}
    assert shown == {
        None: False,
        "read": True,
        "write": False,
        "execute": True,
        "destructive": False,
        "financial": False,
    }


def test_the_category_matters_only_where_the_policy_has_entries_for_some() -> None:
    given = policy({"get_*": {}})
    assert {judged(given, "get_x", category) for category in (None, *get_args(Category))} == {("allow", "/tools/get_*")}
    assert [*given.memo] == ["get_x"]


def test_a_name_that_looks_like_a_category_is_an_ordinary_name() -> None:
    given = policy({"@read": {}, "\\@read": DENY})
    assert judged(given, "@read", "read") == ("deny", "/tools/\\@read")
    assert judged(given, "x", "read") == ("allow", "/tools/@read")


def test_a_standing_knows_the_category() -> None:
    file = document({"get_*": {"require": [SMALL]}, "@read": {"rate_limit": "1/minute"}})
    assert standing_of_tool(compile_policy(file), file, "get_x", "read") == Standing(
        "limited", "/tools/get_*", visible=True, rules=1, limits=1
    )
    assert standing_of_tool(compile_policy(file), file, "get_x").state == "denied"


def test_a_change_is_looked_for_in_the_same_category() -> None:
    file = document({"get_*": {"require": [SMALL]}, "@read": {"require": [EVEN]}})
    change = mend(compile_policy(file), file, ToolCall("get_x", {"n": 21}, category="read"))
    assert isinstance(change, Change)
    assert change.arguments == {"n": 2}
    nothing = mend(compile_policy(file), file, ToolCall("get_x", {"n": 21}))
    assert isinstance(nothing, NoChange)
    assert nothing.by_name


def names_of(file: PolicyFile, name: str, category: Category | None) -> list[tuple[str, bool, bool, str]]:
    found = trace(compile_policy(file), file, ToolCall(name, {}, category=category))
    return [(each.text, each.matches, each.decides, each.why) for each in found.names]


def test_a_trace_shows_the_categories() -> None:
    file = document({"get_*": {}, "*": {}, "@read": {}, "@write": {}})
    assert names_of(file, "get_x", "read") == [
        ("get_*", True, True, "`*` decides only where nothing else matches"),
        ("*", True, False, 'it matches too, and "get_*" is more specific'),
        ("@read", True, True, "it is the tool's risk category"),
        ("@write", False, False, ""),
    ]
    assert names_of(file, "x", "read") == [
        ("get_*", False, False, ""),
        ("*", True, False, "`*` decides only where nothing else matches"),
        ("@read", True, True, "it is the tool's risk category"),
        ("@write", False, False, ""),
    ]
    unseen = "nobody knows the tool's risk category"
    assert names_of(file, "x", None) == [
        ("get_*", False, False, ""),
        ("*", True, False, unseen),
        ("@read", True, False, unseen),
        ("@write", True, False, unseen),
        ("deny", True, True, unseen),
    ]
    assert names_of(document({"@read": {}, "x": {}}), "x", "read") == [
        ("x", True, True, "the exact name decides alone"),
        ("@read", True, False, "it matches too, and the exact name decides alone"),
    ]
    assert names_of(document({"@read": {}}), "x", "write")[-1][3] == "no name and no pattern matches"


def test_a_trace_shows_the_schema_that_has_something_against_the_arguments() -> None:
    file = document({"get_*": {"arguments": {"required": ["a"]}}, "@read": {"arguments": {"required": ["b"]}}})
    compiled = compile_policy(file)

    def schema_of(arguments: Json) -> tuple[str, bool]:
        shown = trace(compiled, file, ToolCall("get_x", arguments, category="read")).schema
        assert shown is not None
        return shown.rule, bool(shown.problem)

    assert schema_of({"a": 1}) == ("/tools/@read/arguments", True)
    assert schema_of({"a": 1, "b": 1}) == ("/tools/get_*/arguments", False)
    assert grounds_of(compiled, file, "get_x", "read").schema == {"required": ["a"]}


def test_a_check_looks_at_the_entries_of_categories_too() -> None:
    file = document({"@read": {"action": "deny", "rate_limit": "1/minute"}}, hide=["*"])
    assert [finding.rule for finding in check_policy(file)] == ["/tools/@read/rate_limit"]


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["allow", "deny", "hide", "require_approval"]),
        "require": st.lists(st.sampled_from([SMALL, EVEN]), max_size=2),
        "rate_limit": st.sampled_from(["1/minute", "2/minute"]),
    },
)
TEXTS = st.sampled_from(["x", "x*", "xy*", "*", *RISK_CATEGORIES])
CATEGORIES = st.sampled_from(get_args(Category))


def strictness(given: Policy, call: ToolCall) -> tuple[int, set[str]]:
    decision = evaluate(given, call)
    return EFFECTS.index(decision.effect), {charge.rule for charge in decision.charges}


@given(st.dictionaries(TEXTS, ENTRIES, max_size=5), CATEGORIES, st.sampled_from(["x", "xy", "z"]), st.sampled_from([2, 15, 20]), st.sampled_from(["allow", "deny"]))  # fmt: skip
def test_what_nobody_has_seen_is_judged_at_least_as_strictly_as_in_any_category(
    tools: Json, category: Category, name: str, number: int, default: str
) -> None:
    compiled = policy(tools, default=default)
    known = strictness(compiled, ToolCall(name, {"n": number}, category=category))
    unseen = strictness(compiled, ToolCall(name, {"n": number}))
    assert unseen[0] >= known[0]
    assert unseen[0] > 0 or unseen[1] >= known[1]


@given(st.dictionaries(TEXTS, ENTRIES, max_size=5), ENTRIES, CATEGORIES, st.sampled_from(["x", "xy", "z"]), st.sampled_from([2, 15, 20]))  # fmt: skip
def test_what_decides_together_is_at_least_as_strict_as_each(
    tools: Json, entry: Json, category: Category, name: str, number: int
) -> None:
    text = f"@{category}"
    tools = {key: tools[key] for key in tools if key != name} | {text: entry}
    call = ToolCall(name, {"n": number}, category=category)
    both, alone = (strictness(policy(each), call) for each in (tools, {text: tools[text]}))
    assert both[0] >= alone[0]
    assert both[0] > 0 or both[1] >= alone[1]


@given(st.dictionaries(TEXTS, ENTRIES, max_size=5), st.none() | CATEGORIES, st.sampled_from(["x", "xy", "z"]), st.sampled_from([2, 15, 20]), st.sampled_from(["allow", "deny"]))  # fmt: skip
def test_a_trace_says_what_is_judged(
    tools: Json, category: Category | None, name: str, number: int, default: str
) -> None:
    file = document(tools, default=default)
    compiled = compile_policy(file)
    call = ToolCall(name, {"n": number}, category=category)
    found = trace(compiled, file, call)
    assert found.decision == evaluate(compiled, call)
    deciding = [each.rule for each in found.names if each.decides]
    assert found.decision.entry in deciding
    standing = standing_of_tool(compiled, file, name, category)
    assert (standing.state in {"denied", "needs approval", "hidden"}) <= (found.effect != "allow")
    assert standing.visible == visible(compiled, name, category)
