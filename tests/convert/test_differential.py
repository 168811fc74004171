"""Checks against a model of Intercept that a converted policy admits nothing which the original refuses, and all that it has a twin for."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jiter
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.convert.source import SourceError, read_source
from mcpguard.convert.translate import convert
from mcpguard.policy.decision import ToolCall
from mcpguard.policy.evaluate import Policy, compile_policy, evaluate
from mcpguard.policy.model import PolicyFile
from mcpguard.stores.counters import CHARGED, MemoryCounters
from mcpguard.stores.yaml_text import read_yaml
from support.intercept import Intercept

if TYPE_CHECKING:
    from mcpguard.convert.notes import Note

Json = dict[str, Any]
S = 1_000_000_000
EXACT = {"counting", "text", "name", "sections", "ignored"}
"""Kinds of notes about things that change nothing within one run in which no call fails."""

# Few names and values, so that they meet.  What is odd is a number that only a double takes for another.
PLAIN = [
    "main",
    "Main",
    "a b",
    "5",
    "05",
    "0.5",
    "true",
    "<nil>",
    "",
    "1000000",
    5,
    1,
    7,
    12,
    0.5,
    1000000,
    True,
    False,
    None,
]
ODD = ["0", "-0", "1e+06", "[a b]", "[5]", "map[a:5]", 0, 49999.0, 1e21, 2**53]
LISTS = [[], ["a", "b"], ["a b"], [5], [1000000], [[5]], {"a": 5}, {}, [0], [None], ["5", True]]
SENT = [
    *(json.dumps(value) for value in [*PLAIN, *ODD, *LISTS]),
    *(
        "-0",
        "-0.0",
        "5.0",
        "5e0",
        "6",
        "4.99999999999999999999",
        "5.00000000000000000001",
        "9007199254740993",
        "-3",
        "0.1",
    ),
]
PATTERNS = ["^main$", "m", "5", r"^\s*a\sb$", r"\bb\b", "^[a-z5]+$", "(?i)MAIN", r"^\d+$", "a.b|main"]
STEPS = ["a", "b", "c", "0", "*"]
PATHS = ["args.a", "args.b", "args.c", "args.a.b", "args.a.c", "args.0", "args.*", "args.a.0"]
TOOLS = ["t", "u", "*"]
VALUES = st.sampled_from([*PLAIN, *ODD, *LISTS])
NUMBERS = st.sampled_from([5, 1, 7, 0.5, 0, -2, 1000000, 2**53, 9007199254740993])
WINDOWS = st.sampled_from(["minute", "hour", "day"])


def conditions(paths: st.SearchStrategy[str]) -> st.SearchStrategy[Json]:
    return st.one_of(
        st.fixed_dictionaries({"path": paths, "op": st.sampled_from(["eq", "neq", "contains"]), "value": VALUES}),
        st.fixed_dictionaries(
            {"path": paths, "op": st.sampled_from(["in", "not_in"]), "value": st.lists(VALUES, max_size=3)}
        ),
        st.fixed_dictionaries({"path": paths, "op": st.sampled_from(["lt", "lte", "gt", "gte"]), "value": NUMBERS}),
        st.fixed_dictionaries({"path": paths, "op": st.just("exists"), "value": st.booleans()}),
        st.fixed_dictionaries({"path": paths, "op": st.just("regex"), "value": st.sampled_from(PATTERNS)}),
    )


LIMITS = st.sampled_from([-1, 0, 0.5, 1, 2, 3, 3.5, 5, 20])
ON_ARGUMENTS = conditions(st.sampled_from(PATHS))
ON_COUNTERS = st.one_of(
    *[
        st.fixed_dictionaries(
            {
                "path": st.sampled_from([f"state.{scope}.{name}" for scope in ("t", "u", "_global") for name in "xy"]),
                "op": ops,
                "value": value,
            }
        )
        for ops, value in (
            (st.sampled_from(["lt", "lte", "lt", "lte", "lte", "gte", "eq"]), LIMITS),
            (st.just("exists"), st.booleans()),
        )
    ]
)
STATES = st.fixed_dictionaries(
    {"counter": st.sampled_from(["x", "y"]), "window": WINDOWS},
    optional={"increment": st.sampled_from([0, 1, 2, -1]), "increment_from": st.sampled_from(["args.a", "args.a.b"])},
)
RULES = st.one_of(
    st.fixed_dictionaries({"conditions": st.lists(ON_ARGUMENTS, min_size=1, max_size=2)}),
    st.fixed_dictionaries(
        {
            "conditions": st.lists(st.one_of(ON_ARGUMENTS, ON_COUNTERS, ON_COUNTERS), min_size=1, max_size=3),
            "state": STATES,
        }
    ),
    st.fixed_dictionaries({"conditions": st.lists(ON_COUNTERS, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"rate_limit": st.builds("{}/{}".format, st.integers(1, 3), WINDOWS)}),
    st.fixed_dictionaries({"action": st.just("deny")}),
).map(lambda rule: {"name": "r", **rule})
POLICIES = st.fixed_dictionaries(
    {
        "version": st.just("1"),
        "tools": st.dictionaries(
            st.sampled_from(TOOLS), st.fixed_dictionaries({"rules": st.lists(RULES, max_size=2)}), max_size=3
        ),
    },
    optional={
        "default": st.sampled_from(["allow", "deny"]),
        "hide": st.lists(st.sampled_from(["t", "x*", "u"]), max_size=1),
    },
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "0", "*"]),
    st.one_of(
        st.sampled_from(SENT),
        st.dictionaries(st.sampled_from(["b", "c", "0"]), st.sampled_from(SENT), max_size=2).map(
            lambda members: "{" + ", ".join(f'"{key}": {text}' for key, text in members.items()) + "}"
        ),
    ),
    max_size=3,
).map(lambda members: "{" + ", ".join(f'"{key}": {text}' for key, text in members.items()) + "}")
CALLS = st.lists(
    st.tuples(st.sampled_from(["t", "t", "u", "xx", "x*"]), ARGUMENTS, st.sampled_from([0, 0, 1, 30, 4000])),
    min_size=1,
    max_size=12,
)


def converted(policy: Json) -> tuple[Policy, tuple[Note, ...]] | None:
    """Convert a policy written as JSON, which is YAML; None if Intercept would refuse it."""
    try:
        written, notes = convert(read_source(read_yaml(json.dumps(policy))))
    except SourceError:
        return None
    return compile_policy(PolicyFile.model_validate(written)), notes


class Ours:
    """A converted policy and its counters."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._counters = MemoryCounters()

    def admits(self, tool: str, arguments: Any, now_s: int) -> bool:
        decision = evaluate(self._policy, ToolCall(tool, arguments))
        if decision.effect != "allow":
            return False
        return self._counters.charge(decision.charges, now_s * S, now_s * S) is CHARGED


def doubles(text: str) -> Any:
    return json.loads(text, parse_int=float)


def exactly(text: str) -> Any:
    return jiter.from_json(text.encode(), float_mode="decimal")


def is_odd(value: Any) -> bool:
    """Whether a value holds a number that is not exactly a double with few digits, or a zero with a sign."""
    match value:
        case dict():
            return any(map(is_odd, value.values()))
        case list():
            return any(map(is_odd, value))
        case Decimal():
            return Decimal(repr(float(value))) != value or (value == 0 and value.is_signed())
        case int() if not isinstance(value, bool):
            return int(float(value)) != value
        case _:
            return False


@settings(max_examples=600, deadline=None)
@given(POLICIES, CALLS)
def test_what_a_converted_policy_admits_the_original_admits(policy: Json, calls: list[tuple[str, str, int]]) -> None:
    made = converted(policy)
    if made is None:
        return
    ours, theirs, now = Ours(made[0]), Intercept(policy), 1_000_000_000
    for tool, text, passed in calls:
        now += passed
        if ours.admits(tool, exactly(text), now):
            assert theirs.admits(tool, doubles(text), now), (policy, tool, text)


@settings(max_examples=600, deadline=None)
@given(POLICIES, CALLS)
def test_what_has_an_exact_twin_is_judged_alike(policy: Json, calls: list[tuple[str, str, int]]) -> None:
    made = converted(policy)
    if made is None or any(note.kind not in EXACT for note in made[1]) or is_odd(exactly(json.dumps(policy))):
        return
    ours, theirs, now = Ours(made[0]), Intercept(policy), 1_000_000_000
    for tool, text, passed in calls:
        now += passed
        if not is_odd(exactly(text)):
            assert ours.admits(tool, exactly(text), now) == theirs.admits(tool, doubles(text), now), (
                policy,
                tool,
                text,
            )


ALL = [*PLAIN, *ODD, *LISTS]
TABLE: dict[str, list[Any]] = {
    **dict.fromkeys(("eq", "neq", "contains"), ALL),
    **{
        op: [[], *([value] for value in ALL), ["main", 5], [None, "a b"], [["a"], "x", True]] for op in ("in", "not_in")
    },
    **{op: [5, 1, 7, 0.5, 0, -2, 1000000, 2**53, 9007199254740993] for op in ("lt", "lte", "gt", "gte")},
    "exists": [True, False],
    "regex": PATTERNS,
}
SHAPES = {
    "args.a": ['{"a": %s}', '{"b": %s}', '{"a": [%s]}'],
    "args.a.b": ['{"a": {"b": %s}}', '{"a": %s}', '{"a": {"c": %s}}', '{"a": [%s]}', "{}"],
    "args.*": ['{"*": %s}', '{"a": %s}', "{}"],
    "args.0": ['{"0": %s}', '{"a": %s}'],
    "args.a.0": ['{"a": {"0": %s}}', '{"a": [%s]}'],
    "args.a.": ['{"a": {"": %s}}', '{"a": %s}'],
}


@pytest.mark.parametrize("path", SHAPES)
@pytest.mark.parametrize("op", TABLE)
def test_each_operator_admits_what_the_original_admits_and_nothing_more(op: str, path: str) -> None:
    sent = SENT if path == "args.a" else ["5", '"main"', '"x"', "null", "4.5", "[5]", '{"b": 5}', '{"0": 5}']
    arguments = [shape.replace("%s", text) for shape in SHAPES[path] for text in sent]
    calls = [(exactly(text), doubles(text)) for text in arguments]
    for value in TABLE[op]:
        condition = {"path": path, "op": op, "value": value}
        policy = {"version": "1", "tools": {"t": {"rules": [{"name": "r", "conditions": [condition]}]}}}
        made = converted(policy)
        assert made is not None
        has_twin = all(note.kind in EXACT for note in made[1]) and not is_odd(exactly(json.dumps(policy)))
        ours, theirs = Ours(made[0]), Intercept(policy)
        for here, there in calls:
            admitted = ours.admits("t", here, 0)
            would_be = theirs.admits("t", there, 0)
            assert would_be or not admitted, (condition, there)
            if has_twin and not is_odd(here):
                assert admitted == would_be, (condition, there)


def counting(scope: str) -> st.SearchStrategy[Json]:
    """Give rules that count on `x` of a scope."""
    state = st.fixed_dictionaries(
        {"counter": st.just("x"), "window": st.sampled_from(["minute", "hour"])},
        optional={"increment": st.sampled_from([0, 1, 2, 3, -1]), "increment_from": st.just("args.n")},
    )
    limit = looking(scope)
    return st.builds(
        lambda conditions, state: {"name": "r", "conditions": conditions, "state": state},
        st.lists(limit, min_size=1, max_size=2) | st.just([{"path": "args.n", "op": "gte", "value": -3}]),
        state,
    )


def looking(scope: str) -> st.SearchStrategy[Json]:
    """Give conditions on the counter of a scope."""
    return st.fixed_dictionaries(
        {
            "path": st.just(f"state.{scope}.x"),
            "op": st.sampled_from(["lt", "lte", "lte", "lt", "lte", "gte"]),
            "value": st.sampled_from([-1, -0.5, 0, 0.5, 1, 2, 2.5, 3, 4, 5, 7]),
        }
    )


@st.composite
def counters(draw: st.DrawFn) -> Json:
    """Give a policy whose rules count, and look at what others count."""
    tools: Json = {}
    scopes = draw(st.lists(st.sampled_from(["t", "u", "_global"]), min_size=1, max_size=2, unique=True))
    for scope in scopes:
        tools["*" if scope == "_global" else scope] = {"rules": [draw(counting(scope))]}
    if draw(st.booleans()):
        reader = tools.setdefault(draw(st.sampled_from(["t", "u", "*"])), {"rules": []})
        reader["rules"].append({"name": "s", "conditions": [draw(looking(draw(st.sampled_from(scopes))))]})
    return {"version": "1", "tools": tools}


AMOUNTS = st.sampled_from(["1", "1", "2", "3", "0", "0.5", "1.9", "-1", "2.0", '"2"', "null", "1e300"])
COUNTED = st.lists(
    st.tuples(st.sampled_from(["t", "u"]), AMOUNTS, st.sampled_from([0, 0, 0, 30, 60, 3000])), min_size=3, max_size=14
)


@settings(max_examples=800, deadline=None)
@given(counters(), COUNTED)
def test_counts_admit_what_the_original_admits_and_nothing_more(
    policy: Json, calls: list[tuple[str, str, int]]
) -> None:
    made = converted(policy)
    assert made is not None
    has_twin = all(note.kind in EXACT for note in made[1])
    ours, theirs, now = Ours(made[0]), Intercept(policy), 1_000_000_000
    for tool, amount, passed in calls:
        now += passed
        text = f'{{"n": {amount}}}'
        admitted = ours.admits(tool, exactly(text), now)
        if admitted or has_twin:
            assert theirs.admits(tool, doubles(text), now) == admitted


@pytest.mark.parametrize("scope", ["t", "*"])
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["lt", "lte"]),
    LIMITS,
    st.sampled_from([1, 2, 3]),
    st.lists(st.tuples(st.sampled_from(["t", "u"]), st.sampled_from([0, 1, 59, 3600, 86_400])), max_size=20),
)
def test_a_count_with_a_fixed_increment_ends_at_the_same_call(
    scope: str, op: str, limit: float, increment: int, calls: list[tuple[str, int]]
) -> None:
    name = "_global" if scope == "*" else scope
    rule = {
        "name": "r",
        "conditions": [{"path": f"state.{name}.x", "op": op, "value": limit}],
        "state": {"counter": "x", "window": "hour", "increment": increment},
    }
    policy: Json = {"version": "1", "tools": {scope: {"rules": [rule]}}}
    made = converted(policy)
    assert made is not None
    ours, theirs, now = Ours(made[0]), Intercept(policy), 1_000_000_000
    for tool, passed in calls:
        now += passed
        assert ours.admits(tool, {}, now) == theirs.admits(tool, {}, now)
