"""Checks how a policy of Intercept is read, and what makes it one that Intercept refuses."""

from __future__ import annotations

import pytest

from mcpguard.convert.source import Condition, Rule, Source, SourceError, State, read_source
from mcpguard.stores.yaml_text import read_yaml


def read(text: str) -> Source:
    return read_source(read_yaml(text))


def rule(text: str) -> str:
    return f'version: "1"\ntools:\n  t:\n    rules:\n      - {text}\n'


def condition(text: str) -> str:
    return rule(f"{{name: r, conditions: [{text}]}}")


WRONG = {
    "nothing": ("null", "", "it has nothing in it"),
    "a list": ("[]", "", "must be an object"),
    "no version": ("tools: {}", "/version", 'add version: "1"'),
    "another version": ('version: "2"', "/version", '`version` must be "1", not `2`'),
    "a version that is no text of one": ("version: 1.0", "/version", "not `1.0`"),
    "another default": ("version: 1\ndefault: block", "/default", "not `block`"),
    "an object as text": ("version: {}", "/version", "must be text"),
    "a name for a list": ("version: 1\nhide: x", "/hide", "must be a list"),
    "an empty name": ("version: 1\nhide: [' ']", "/hide/0", "must not be empty"),
    "null as a name": ("version: 1\nhide: [~]", "/hide/0", "must not be empty"),
    "a name twice": ("version: 1\nhide: [a, a]", "/hide/1", "stands in `hide` twice"),
    "a list of tools": ("version: 1\ntools: [a]", "/tools", "must be an object"),
    "a list as a tool": ("version: 1\ntools: {t: []}", "/tools/t", "must be an object"),
    "no name": (rule("{action: deny}"), "/tools/t/rules/0", "must have a `name`"),
    "another action": (rule("{name: r, action: allow}"), "/tools/t/rules/0/action", "not `allow`"),
    "no conditions": (rule("{name: r}"), "/tools/t/rules/0", "must have conditions"),
    "a denial with conditions": (
        rule("{name: r, action: deny, conditions: [{path: args.a, op: eq}]}"),
        "/tools/t/rules/0/conditions",
        "must not have conditions",
    ),
    "another path": (condition("{path: a, op: eq}"), "/tools/t/rules/0/conditions/0", "not be `a`"),
    "another operator": (condition("{path: args.a, op: is}"), "/tools/t/rules/0/conditions/0", "no operator `is`"),
    "no list": (condition("{path: args.a, op: in, value: a}"), "/tools/t/rules/0/conditions/0", "needs a list"),
    "no number": (condition("{path: args.a, op: lt, value: a}"), "/tools/t/rules/0/conditions/0", "needs a number"),
    "no truth": (condition("{path: args.a, op: exists, value: 1}"), "/tools/t/rules/0/conditions/0", "`true` or"),
    "no pattern": (condition("{path: args.a, op: regex, value: 1}"), "/tools/t/rules/0/conditions/0", "needs text"),
    "no counter": (
        rule("{name: r, conditions: [{path: args.a, op: eq}], state: {window: day}}"),
        "/tools/t/rules/0/state",
        "`counter` must not be empty",
    ),
    "another window": (
        rule("{name: r, conditions: [{path: args.a, op: eq}], state: {counter: c, window: week}}"),
        "/tools/t/rules/0/state",
        "not `week`",
    ),
    "another source": (
        rule("{name: r, conditions: [{path: args.a, op: eq}], state: {counter: c, window: day, increment_from: a}}"),
        "/tools/t/rules/0/state",
        "must begin with `args.`",
    ),
    "half an increment": (
        rule("{name: r, conditions: [{path: args.a, op: eq}], state: {counter: c, window: day, increment: 0.5}}"),
        "/tools/t/rules/0/state/increment",
        "must be a whole number",
    ),
    "a rate of nothing": (rule("{name: r, rate_limit: 0/day}"), "/tools/t/rules/0/rate_limit", "not `0/day`"),
    "a rate without a window": (rule("{name: r, rate_limit: 5}"), "/tools/t/rules/0/rate_limit", "not `5`"),
    "a rate by the week": (rule("{name: r, rate_limit: 5/week}"), "/tools/t/rules/0/rate_limit", "not `5/week`"),
    "a rate that denies": (rule("{name: r, rate_limit: 5/day, action: deny}"), "/tools/t/rules/0", "neither"),
    "a counter of nobody": (
        condition("{path: state.t.c, op: lt, value: 1}"),
        "/tools/t/rules/0/conditions/0",
        "is counted by no `state`",
    ),
    "a counter of nobody at all": (
        condition("{path: state._global.c, op: lt, value: 1}"),
        "/tools/t/rules/0/conditions/0",
        "is counted by no `state`",
    ),
    "two rules with one counter": (
        "version: 1\ntools: {t: {rules: [{name: a, rate_limit: 1/day}, {name: b, rate_limit: 2/day}]}}",
        "/tools/t/rules/1",
        "two rules of this tool",
    ),
    "two tools with one counter": (
        "version: 1\ntools: {_global: {rules: [{name: a, rate_limit: 1/day}]}, '*': {rules: [{name: b, rate_limit: 2/day}]}}",
        "/tools/*/rules/0",
        "are both called `_global._rate_day`",
    ),
    "an anchor": ("version: &v 1", "/version", "anchors"),
    "half a file": ("version: [", "", "wrong YAML"),
}
AMBIGUOUS = [
    "0777",
    "1_000",
    "+5",
    "0x1F",
    "0b11",
    "0o17",
    "08",
    "1.",
    ".5",
    "9223372036854775808",
    "1e400",
    "-0o7",
    "1_0.5",
]
PLAIN = {
    "5": 5,
    "-1": -1,
    "5/hour": "5/hour",
    "v1_0": "v1_0",
    "_1": "_1",
    "1.2.3": "1.2.3",
    "-x": "-x",
    "'0777'": "0777",
}


@pytest.mark.parametrize(("text", "pointer", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_intercept_refuses_is_refused_with_its_place(text: str, pointer: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(text)
    assert [remark.rule for remark in caught.value.remarks if said in remark.message] == [pointer]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SourceError) as caught:
        read("version: 2\ndefault: x\nhide: [a, a]\n")
    assert [remark.position.line for remark in caught.value.remarks] == [1, 2, 3]


@pytest.mark.parametrize("scalar", AMBIGUOUS)
def test_a_scalar_that_is_another_value_for_intercept_is_refused(scalar: str) -> None:
    for text in (scalar, f"[{scalar}]", f"{{a: {scalar}}}"):
        with pytest.raises(SourceError, match="not read alike by all"):
            read(condition(f"{{path: args.a, op: eq, value: {text}}}"))


@pytest.mark.parametrize(("scalar", "value"), PLAIN.items(), ids=PLAIN.keys())
def test_other_scalars_are_what_they_look_like(scalar: str, value: object) -> None:
    source = read(condition(f"{{path: args.a, op: eq, value: {scalar}}}"))
    assert source.tools["t"][0].conditions[0].value == value


def test_absent_and_null_are_empty_and_a_number_is_its_text() -> None:
    source = read("version: 1\ndescription: 2.50\nhide: [0x1F, yes]\ntools: {a: , b: {rules: ~}, c: {rules: []}}\n")
    assert source == Source("2.50", False, ("0x1F", "yes"), {"a": (), "b": (), "c": ()}, ())
    assert read("version: 1").tools == {}


def test_unknown_keys_are_kept_for_a_remark() -> None:
    source = read("version: 1\nowner: me\ntools: {t: {rule: [], rules: [{name: r, action: deny, when: 1}]}}")
    assert source.ignored == ("/owner", "/tools/t/rule", "/tools/t/rules/0/when")


def test_a_rate_limit_is_what_it_is_short_for() -> None:
    (made,) = read("version: 1\ntools: {'*': {rules: [{name: r, rate_limit: +05/hour, on_deny: no}]}}").tools["*"]
    limit = Condition("state._global._rate_hour", "lte", 5, "/tools/*/rules/0/rate_limit")
    assert made == Rule("r", False, (limit,), "no", State("_rate_hour", "hour", 1, ""), "/tools/*/rules/0")


def test_an_increment_of_nothing_is_one() -> None:
    text = "{name: r, conditions: [{path: args.a, op: eq}], state: {counter: c, window: day, increment: 0}}"
    state = read(rule(text)).tools["t"][0].state
    assert state == State("c", "day", 1, "")
