"""Checks which policies contradict themselves, and what their digest depends on."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mcpguard.errors import Finding, PolicyError
from mcpguard.policy.compile import compile_policy, limits_of, pointer, rules_of
from mcpguard.policy.model import PolicyFile


def document(parts: dict[str, object]) -> PolicyFile:
    return PolicyFile.model_validate({"version": "1"} | parts)


def findings(parts: dict[str, object]) -> list[Finding]:
    with pytest.raises(PolicyError) as raised:
        compile_policy(document(parts))
    return list(raised.value.findings)


def limit(**changes: object) -> dict[str, object]:
    return {"counter": "c", "window": "minute", "max": 1} | changes


@pytest.mark.parametrize("section", ["tools", "methods"])
def test_globs_that_tie_on_a_common_name_are_refused(section: str) -> None:
    entry: object = {} if section == "tools" else "allow"
    (found,) = findings({section: {"a/*c?": entry, "a/*?d": entry}})
    assert found.rule == f"/{section}/a~1*?d"
    assert found.message.startswith("`a/*?d` and `a/*c?` can match one name and neither is more specific")


def test_one_name_in_two_spellings_is_refused() -> None:
    (found,) = findings({"tools": {"a@b": {}, "a\\@b": {}}})
    assert found.message == "`a\\@b` and `a@b` mean the same name; keep one of them"


@pytest.mark.parametrize(
    ("second", "what"),
    [
        pytest.param(limit(window="hour"), "the window `3600 seconds` here and `60 seconds`", id="window"),
        pytest.param(limit(scope="grant"), "the scope `grant` here and `session`", id="scope"),
    ],
)
def test_limits_that_disagree_about_their_counter_are_refused_at_the_second(
    second: dict[str, object], what: str
) -> None:
    (found,) = findings({"tools": {"a": {"limits": [limit()]}, "b": {"limits": [second]}}})
    assert found.rule == "/tools/b/limits/0"
    assert found.message.startswith(f"counter `c` has {what} at `/tools/a/limits/0`; limits that name one counter must")


def test_every_contradiction_is_found() -> None:
    found = findings({"tools": {"a*": {}, "a**": {}, "b": {"limits": [limit(), limit(window=1, scope="grant")]}}})
    assert [finding.rule for finding in found] == ["/tools/a**", "/tools/b/limits/1", "/tools/b/limits/1"]


def test_limits_that_agree_may_have_different_maxima_and_windows_in_other_words() -> None:
    compile_policy(document({"tools": {"a": {"limits": [limit(), limit(max=5), limit(window=60)]}}}))


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        pytest.param({"tools": {"a": {}, "b": {}}}, {"tools": {"b": {}, "a": {}}}, True, id="the order of keys"),
        pytest.param({}, {"$comment": "x", "$schema": "y"}, True, id="comments and the schema"),
        pytest.param({"tools": {}}, {"tools": {"$comment": "x"}}, True, id="a comment among the tools"),
        pytest.param({"tools": {"a": {}}}, {"tools": {"a": {"$comment": "x"}}}, True, id="a comment in a tool"),
        pytest.param({"hide": ["a", "b"]}, {"hide": ["b", "a"]}, False, id="the order of a list"),
        pytest.param({"tools": {"a": {}}}, {"tools": {"b": {}}}, False, id="another name"),
        pytest.param({"default": "deny"}, {"default": "allow"}, False, id="another value"),
        pytest.param({"approval": {"ttl": "1m"}}, {"approval": {"ttl": "60s"}}, True, id="a time in another unit"),
        pytest.param({"approval": {"ttl": "1m"}}, {"approval": {"ttl": "61s"}}, False, id="another time"),
    ],
)
def test_the_digest_depends_on_what_a_policy_says(
    left: dict[str, object], right: dict[str, object], same: bool
) -> None:
    assert (compile_policy(document(left)).digest == compile_policy(document(right)).digest) is same


def test_the_digest_is_stable_across_releases() -> None:
    policy = compile_policy(document({}))
    assert policy.digest == policy.digest == "aa5bc61f44d5f633935d04cbccf2654c56806fc924b0083a6cb6b7545369ad64"


def test_every_limit_has_its_pointer() -> None:
    parts = {"all_tools": {"limits": [limit()]}, "tools": {"a": {"limits": [limit()], "rate_limit": "1/minute"}}}
    rules = [rule for rule, _ in limits_of(document(parts))]
    assert rules == ["/all_tools/limits/0", "/tools/a/limits/0", "/tools/a/rate_limit"]


def test_every_rule_has_its_pointer() -> None:
    rules: list[object] = [{"conditions": []}]
    tool = {"require": rules, "deny_if": rules, "approve_if": rules, "arguments": {}}
    found = list(rules_of(document({"all_tools": {"require": rules, "deny_if": rules}, "tools": {"a": tool, "b": {}}})))
    assert found == [
        ("/all_tools/require/0", "require"),
        ("/all_tools/deny_if/0", "deny_if"),
        ("/tools/a/require/0", "require"),
        ("/tools/a/deny_if/0", "deny_if"),
        ("/tools/a/approve_if/0", "approve_if"),
        ("/tools/a/arguments", "arguments"),
    ]


@pytest.mark.parametrize(("one", "other"), [("1.5", Decimal("1.5")), ("null", None), ("[]", []), (5, "5")])
def test_values_of_other_types_have_other_digests(one: object, other: object) -> None:
    def digest(value: object) -> str:
        condition = {"path": "args.a", "op": "eq", "value": value}
        return compile_policy(document({"tools": {"a": {"require": [{"conditions": [condition]}]}}})).digest

    assert digest(one) != digest(other)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": Decimal("1.0")})


def test_pointers_escape_what_they_must() -> None:
    assert pointer("tools", "a/b~1", 0) == "/tools/a~1b~01/0"


@pytest.mark.parametrize(
    ("parts", "mode"), [({}, "refuse"), ({"drift": "refuse"}, "refuse"), ({"drift": "allow"}, "allow")]
)
def test_tools_may_change_only_where_a_policy_says_so(parts: dict[str, object], mode: str) -> None:
    assert compile_policy(document(parts)).drift == mode


def test_whether_tools_may_change_is_part_of_the_digest() -> None:
    digests = [compile_policy(document({"drift": mode})).digest for mode in ("allow", "refuse")]
    assert len({*digests, compile_policy(document({})).digest}) == 3
