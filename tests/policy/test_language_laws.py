"""Checks laws that hold for every policy and call, and that a slow, obvious model of the language agrees.

The model is written from the description of the language alone and shares no code with what it checks.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.policy.decision import Decision, ToolCall
from mcpguard.policy.evaluate import compile_policy, evaluate, visible
from mcpguard.policy.model import PolicyFile

Json = dict[str, Any]

# What policies and calls are made of: few names and values, so that they meet

SCALARS = st.sampled_from(
    [
        *("main", "Main", " main", "dev", "5", "true", "no", "", '["main"]'),
        *(5, 6, 0, 1, 2**53, 2**53 + 1, Decimal("5.0"), Decimal("0.5")),
        *(True, False, None),
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b_c", "bC"]), inner, max_size=2),
    max_leaves=4,
)
NUMBERS = st.sampled_from([0, 1, 5, Decimal("0.5"), 2**53])
PATHS = st.sampled_from(["args.a", "args.b_c", "args.a.b_c", "args.a.0", "args.a.*", "args.*", "args.a.*.a", "/a/a"])
CONDITIONS = st.one_of(
    st.fixed_dictionaries({"path": PATHS, "op": st.sampled_from(["eq", "neq", "contains"]), "value": VALUES}),
    st.fixed_dictionaries(
        {"path": PATHS, "op": st.sampled_from(["in", "not_in"]), "value": st.lists(SCALARS, max_size=3)}
    ),
    st.fixed_dictionaries({"path": PATHS, "op": st.sampled_from(["lt", "lte", "gt", "gte"]), "value": NUMBERS}),
    st.fixed_dictionaries({"path": PATHS, "op": st.just("exists")}, optional={"value": st.booleans()}),
    st.fixed_dictionaries({"path": PATHS, "op": st.just("regex"), "value": st.sampled_from(["^main$", "m", "5"])}),
)
RULES = st.lists(st.fixed_dictionaries({"conditions": st.lists(CONDITIONS, max_size=2)}), max_size=2)
LIMITS = st.lists(
    st.fixed_dictionaries(
        {"window": st.just(60), "max": st.integers(0, 3)},
        optional={"cost": st.sampled_from(["args.a", "args.b_c"]), "per": st.sampled_from(["args.a", "tool"])},
    ),
    max_size=2,
)
TOOLS = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["allow", "require_approval", "deny", "hide"]),
        "require": RULES,
        "deny_if": RULES,
        "approve_if": RULES,
        "limits": LIMITS,
    },
)
POLICIES = st.fixed_dictionaries(
    {"version": st.just("1")},
    optional={
        "default": st.sampled_from(["allow", "deny"]),
        "list": st.sampled_from(["callable", "all"]),
        "hide": st.lists(st.sampled_from(["t", "*u"]), max_size=1),
        "tools": st.dictionaries(st.sampled_from(["t", "t*", "*"]), TOOLS, max_size=2),
        "all_tools": st.fixed_dictionaries({}, optional={"require": RULES, "deny_if": RULES, "limits": LIMITS}),
    },
)
NAMES = st.sampled_from(["t", "tu", "v"])
ARGUMENTS = st.dictionaries(st.sampled_from(["a", "A", "b_c", "bC"]), VALUES, max_size=2)


def judge(policy: Json, name: str, arguments: Json) -> Decision:
    return evaluate(compile_policy(PolicyFile.model_validate(policy)), ToolCall(name, arguments))


# The model

YES, UNSURE, NO = "yes", "unsure", "no"
STRENGTH = [NO, UNSURE, YES]


def plain(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def bare(key: str) -> str:
    return "".join(character for character in key if character not in "_-").casefold()


def kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", Decimal: "number", str: "string", list: "list", dict: "object"}
    return names[type(value)]


def parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return ...


def parts(value: object) -> list[object]:
    if isinstance(value, dict):
        return [part for key, item in value.items() for part in [key, *parts(item)]]
    if isinstance(value, list):
        return [part for item in value for part in parts(item)]
    return [value]


def same(mine: Any, theirs: Any) -> str:
    kinds = {kind(mine), kind(theirs)}
    if len(kinds) == 1:
        match kind(mine):
            case "null":
                return YES
            case "number":
                return YES if mine == theirs else UNSURE if float(mine) == float(theirs) else NO
            case "boolean":
                return YES if mine == theirs else NO
            case "string":
                if mine == theirs:
                    return YES
                told = parsed(mine)
                hidden = told is not ... and kind(told) in {"list", "object", "string"}
                occurs = hidden and any(part is not None and same(part, theirs) != NO for part in parts(told))
                return UNSURE if plain(mine) == plain(theirs) or occurs else NO
            case "list":
                answers = [same(a, b) for a, b in zip(mine, theirs, strict=False)]
                return NO if len(mine) != len(theirs) else weakest(answers, YES)
            case _:
                return same_objects(mine, theirs)
    if kinds & {"list", "object", "null"}:
        return UNSURE
    text, other = (mine, theirs) if isinstance(mine, str) else (theirs, mine)
    if kinds == {"number", "string"}:
        return UNSURE if any(character.isdigit() for character in text) else NO
    if kinds == {"boolean", "number"}:
        number = theirs if kind(theirs) == "number" else mine
        return UNSURE if number in (0, 1) else NO
    assert kinds == {"boolean", "string"}
    if plain(text) in ["true", "false", "1", "0", "yes", "no", "on", "off", "y", "n", "t", "f"]:
        return UNSURE
    told = parsed(mine) if text is mine else ...
    hidden = kind(told) in {"list", "object", "string"} if told is not ... else False
    return UNSURE if hidden and any(part is not None and same(part, other) != NO for part in parts(told)) else NO


def same_objects(mine: Json, theirs: Json) -> str:
    if set(mine) == set(theirs):
        return weakest([same(mine[key], theirs[key]) for key in mine], YES)
    if {bare(key) for key in mine} != {bare(key) for key in theirs}:
        return NO
    if len({bare(key) for key in theirs}) < len(theirs):
        return UNSURE
    found = [same(mine[key], theirs[name]) for key in mine for name in theirs if bare(key) == bare(name)]
    return weakest([UNSURE, *found], YES)


def weakest(answers: list[str], otherwise: str) -> str:
    return min(answers, key=STRENGTH.index, default=otherwise)


def strongest(answers: list[str], otherwise: str) -> str:
    return max(answers, key=STRENGTH.index, default=otherwise)


def turned(answer: str) -> str:
    return {YES: NO, NO: YES, UNSURE: UNSURE}[answer]


def sure(holds: bool) -> str:
    return YES if holds else NO


def answer_of(op: str, value: Any, found: Any) -> str:  # noqa: PLR0912 - one row for each operator
    number = kind(found) == "number"
    match op:
        case "eq":
            return same(found, value)
        case "neq":
            return turned(same(found, value))
        case "in":
            return strongest([same(found, one) for one in value], NO)
        case "not_in":
            return turned(strongest([same(found, one) for one in value], NO))
        case "lt":
            return sure(found < value) if number else UNSURE
        case "lte":
            return sure(found <= value) if number else UNSURE
        case "gt":
            return sure(found > value) if number else UNSURE
        case "gte":
            return sure(found >= value) if number else UNSURE
        case "regex":
            if not isinstance(found, str):
                return UNSURE
            return sure(found == "main" if value == "^main$" else value in found)
        case "contains":
            if isinstance(found, list):
                return strongest([same(one, value) for one in found], NO)
            return sure(value in found) if isinstance(found, str) and isinstance(value, str) else UNSURE
        case _:
            return sure((found is not None) == value)


ABSENT, BLOCKED = object(), object()


def steps_of(path: str) -> list[str]:
    return path.removeprefix("/").split("/") if path.startswith("/") else path.split(".")[1:]


def walk(value: Any, steps: list[str], star: bool) -> list[object]:
    if not steps:
        return [value]
    step, rest = steps[0], steps[1:]
    if value is None:
        return [ABSENT]
    if star and step == "*":
        if not isinstance(value, dict | list):
            return [BLOCKED]
        items = list(value.values()) if isinstance(value, dict) else value
        return [found for item in items for found in walk(item, rest, star)] or [ABSENT]
    if isinstance(value, dict):
        return walk(value[step], rest, star) if step in value else [ABSENT]
    if isinstance(value, list) and step.isdigit():
        return walk(value[int(step)], rest, star) if int(step) < len(value) else [ABSENT]
    return [BLOCKED]


def condition_answer(condition: Json, arguments: Json, pick: Callable[[list[str], str], str]) -> str:
    op, value = condition["op"], condition.get("value", True)
    absent = {"neq": UNSURE, "not_in": UNSURE, "exists": sure(value is False)}.get(op, NO)
    path = condition["path"]
    found = walk(arguments, steps_of(path), not path.startswith("/"))
    return pick(
        [absent if one is ABSENT else UNSURE if one is BLOCKED else answer_of(op, value, one) for one in found], NO
    )


def rule_answer(rule: Json, arguments: Json, pick: Callable[[list[str], str], str]) -> str:
    return weakest([condition_answer(condition, arguments, pick) for condition in rule["conditions"]], YES)


def aliased(path: str, value: Any) -> bool:
    def look(value: Any, steps: list[str]) -> bool:
        if not steps:
            return False
        step, rest = steps[0], steps[1:]
        if step == "*" and not path.startswith("/"):
            items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
            return any(look(item, rest) for item in items)
        if isinstance(value, dict):
            alike = any(key != step and bare(key) == bare(step) for key in value)
            return alike or (step in value and look(value[step], rest))
        index = int(step) if isinstance(value, list) and step.isdigit() else None
        return index is not None and index < len(value) and look(value[index], rest)

    return look(value, steps_of(path))


def owed(limits: list[Json], name: str, arguments: Json) -> bool:
    """Say whether it is clear what a call owes."""
    for limit in limits:
        if "cost" in limit:
            found: Any
            (found,) = walk(arguments, steps_of(limit["cost"]), star=False)
            if found in (ABSENT, BLOCKED) or kind(found) != "number" or found < 0:
                return False
        if limit.get("per", "tool") != "tool":
            (found,) = walk(arguments, steps_of(limit["per"]), star=False)
            if found in (ABSENT, BLOCKED) or kind(found) not in {"number", "string", "boolean"}:
                return False
    return bool(name)


def model(policy: Json, name: str, arguments: Json) -> str:
    hidden = {"t": name == "t", "*u": name.endswith("u")}
    if any(hidden[pattern] for pattern in policy.get("hide", [])):
        return "hide"
    matching = {"t": name == "t", "t*": name.startswith("t"), "*": True}
    tools = policy.get("tools", {})
    entry = next((tools[pattern] for pattern in ("t", "t*", "*") if pattern in tools and matching[pattern]), None)
    if entry is None:
        if policy.get("default", "deny") == "deny":
            return "deny"
        entry = {}
    action = entry.get("action", "allow")
    if action in ("deny", "hide"):
        return str(action)
    common = policy.get("all_tools", {})
    require = entry.get("require", []) + common.get("require", [])
    refuse = entry.get("deny_if", []) + common.get("deny_if", [])
    ask = entry.get("approve_if", [])
    limits = entry.get("limits", []) + common.get("limits", [])
    paths = [condition["path"] for rule in require + refuse + ask for condition in rule["conditions"]]
    paths += [limit[key] for limit in limits for key in ("cost", "per") if limit.get(key, "tool") != "tool"]
    if any(aliased(path, arguments) for path in paths):
        return "deny"
    if any(rule_answer(rule, arguments, weakest) != YES for rule in require):
        return "deny"
    if any(rule_answer(rule, arguments, strongest) != NO for rule in refuse):
        return "deny"
    if not owed(limits, name, arguments):
        return "deny"
    fires = any(rule_answer(rule, arguments, strongest) != NO for rule in ask)
    return "ask" if fires or action == "require_approval" else "allow"


# The laws


@settings(deadline=None)
@given(POLICIES, NAMES, ARGUMENTS)
def test_the_slow_model_agrees(policy: Json, name: str, arguments: Json) -> None:
    decision = judge(policy, name, arguments)
    assert ("ask" if decision.awaits_approval else decision.effect) == model(policy, name, arguments)
    assert (decision.effect == "allow") is (not decision.reasons)
    assert decision.effect == "allow" or decision.awaits_approval or not decision.charges
    codes = {reason.code for reason in decision.reasons}
    assert codes == {"approval_required"} if decision.awaits_approval else "approval_required" not in codes


@settings(deadline=None)
@given(POLICIES, NAMES, ARGUMENTS)
def test_without_what_asks_a_call_that_awaits_approval_passes_for_the_same_charges(
    policy: Json, name: str, arguments: Json
) -> None:
    asking = judge(policy, name, arguments)
    tools = policy.get("tools", {})
    calm = {
        text: {
            key: "allow" if value == "require_approval" else value for key, value in tool.items() if key != "approve_if"
        }
        for text, tool in tools.items()
    }
    decision = judge(policy | {"tools": calm}, name, arguments)
    if asking.awaits_approval:
        assert (decision.effect, decision.charges) == ("allow", asking.charges)
    elif asking.effect == "allow":
        assert decision == asking


@settings(deadline=None)
@given(CONDITIONS, ARGUMENTS, st.sampled_from(["require", "deny_if"]))
def test_the_slow_model_agrees_about_one_condition(condition: Json, arguments: Json, where: str) -> None:
    policy = {"version": "1", "tools": {"t": {where: [{"conditions": [condition]}]}}}
    assert judge(policy, "t", arguments).effect == model(policy, "t", arguments)


@settings(deadline=None)
@given(VALUES, VALUES, st.sampled_from(["require", "deny_if"]), st.sampled_from(["eq", "neq"]))
def test_the_slow_model_agrees_about_what_is_equal(mine: object, theirs: object, where: str, op: str) -> None:
    condition = {"path": "args.x", "op": op, "value": theirs}
    policy = {"version": "1", "tools": {"t": {where: [{"conditions": [condition]}]}}}
    assert judge(policy, "t", {"x": mine}).effect == model(policy, "t", {"x": mine})


def shuffled(value: Any, random: Random) -> Any:
    if isinstance(value, list):
        return [shuffled(item, random) for item in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    random.shuffle(keys)
    return {key: shuffled(value[key], random) for key in keys}


@settings(deadline=None)
@given(POLICIES, NAMES, ARGUMENTS, st.randoms(use_true_random=False))
def test_the_order_of_keys_never_matters(policy: Json, name: str, arguments: Json, random: Random) -> None:
    mixed, turned_arguments = shuffled(policy, random), shuffled(arguments, random)
    one, other = (compile_policy(PolicyFile.model_validate(each)) for each in (policy, mixed))
    assert one.digest == other.digest
    assert visible(one, name) == visible(other, name)
    mine, theirs = evaluate(one, ToolCall(name, arguments)), evaluate(other, ToolCall(name, turned_arguments))
    assert (mine.effect, mine.charges) == (theirs.effect, theirs.charges)
    assert [(reason.code, reason.rule) for reason in mine.reasons] == [
        (reason.code, reason.rule) for reason in theirs.reasons
    ]


@settings(deadline=None)
@given(POLICIES, NAMES, ARGUMENTS, st.sampled_from(["require", "deny_if", "approve_if", "limits"]), st.data())
def test_one_more_rule_or_limit_never_allows_more(
    policy: Json, name: str, arguments: Json, key: str, data: st.DataObject
) -> None:
    tools = policy.get("tools", {})
    if not tools:
        return
    entry = data.draw(st.sampled_from(sorted(tools)))
    more = data.draw(LIMITS if key == "limits" else RULES)
    before = tools[entry].get(key, [])
    at = data.draw(st.integers(0, len(before)))
    tighter = policy | {"tools": tools | {entry: tools[entry] | {key: before[:at] + more + before[at:]}}}
    if judge(tighter, name, arguments).effect == "allow":
        assert judge(policy, name, arguments).effect == "allow"


@settings(deadline=None)
@given(POLICIES, NAMES, ARGUMENTS, st.data())
def test_a_stricter_action_never_allows_more(policy: Json, name: str, arguments: Json, data: st.DataObject) -> None:
    tools = policy.get("tools", {})
    if not tools:
        return
    entry = data.draw(st.sampled_from(sorted(tools)))
    actions = ["allow", "require_approval", "deny", "hide"]
    loose, strict = sorted(data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3))))
    before, after = (
        policy | {"tools": tools | {entry: tools[entry] | {"action": actions[level]}}} for level in (loose, strict)
    )
    if judge(after, name, arguments).effect == "allow":
        assert judge(before, name, arguments).effect == "allow"


@settings(deadline=None)
@given(POLICIES, NAMES, ARGUMENTS)
def test_what_is_hidden_is_refused_and_what_passes_is_listed(policy: Json, name: str, arguments: Json) -> None:
    compiled = compile_policy(PolicyFile.model_validate(policy))
    decision = evaluate(compiled, ToolCall(name, arguments))
    if decision.effect == "hide":
        assert decision.reasons
        assert not visible(compiled, name)
    if decision.effect == "allow":
        assert visible(compiled, name)


COERCED: list[Callable[[Any], list[object]]] = [
    lambda value: [str(value)] if kind(value) == "number" else [],
    lambda value: [str(value).lower(), "yes", 1, 0] if kind(value) == "boolean" else [],
    lambda value: [value.upper(), f" {value}\n", value.replace("m", "\uff4d")] if kind(value) == "string" else [],
    lambda value: [[value], {"a": value}, None] if value is not None else [],
    lambda value: [json.dumps([value]), json.dumps({"a": value})] if kind(value) in {"string", "boolean"} else [],
]


@settings(deadline=None)
@given(
    st.sampled_from(["eq", "neq", "in", "not_in", "lt", "lte", "gt", "gte"]),
    st.sampled_from(["main", "true", True, False, 0, 5]),
    st.sampled_from(["require", "deny_if"]),
    st.sampled_from(["main", "true", "dev", True, False, 0, 5, 6]),
)
def test_what_a_server_would_turn_into_a_refused_value_is_refused_too(
    op: str, value: Any, where: str, argument: Any
) -> None:
    if op in {"lt", "lte", "gt", "gte"}:
        value = 5
    condition = {"path": "args.x", "op": op, "value": [value] if op in {"in", "not_in"} else value}
    policy = {"version": "1", "tools": {"t": {where: [{"conditions": [condition]}]}}}
    # Where the kinds differ, the plain value is refused in doubt, and another spelling may be just what was asked for.
    if kind(argument) == kind(value) and judge(policy, "t", {"x": argument}).effect == "deny":
        for coerce in COERCED:
            for other in coerce(argument):
                assert judge(policy, "t", {"x": other}).effect == "deny", other
