"""Checks that a case is found for changes that no case has noticed, that it tells the two apart, and that no more are added than it takes."""

from __future__ import annotations

from typing import Any

import pytest

from mcpguard.policy.compile import compile_policy
from mcpguard.policy.model import PolicyFile
from mcpguard.proof.boundaries import boundaries_of
from mcpguard.proof.cases import CasesFile
from mcpguard.proof.judge import judge
from mcpguard.proof.mutants import mutants_of
from mcpguard.proof.noticing import Suggestions, completed, neighbours_of
from mcpguard.proof.survivors import Survey, notices, survey

Json = dict[str, Any]


def conditions(*conditions: Json) -> list[Json]:
    return [{"conditions": list(conditions)}]


POLICIES: dict[str, Json] = {
    "numbers": {"tools": {"t": {"require": conditions({"path": "args.n", "op": "lte", "value": 10})}}},
    "a set": {"tools": {"t": {"deny_if": conditions({"path": "args.c", "op": "in", "value": ["a", "b"]})}}},
    "anchors": {"tools": {"t": {"require": conditions({"path": "args.s", "op": "regex", "value": "^a\\.b$"})}}},
    "hosts": {"tools": {"t": {"require": conditions({"path": "args.u", "op": "host_in", "value": ["a.com", "b.com"]})}}},
    "two conditions": {
        "tools": {
            "t": {
                "deny_if": conditions(
                    {"path": "args.f", "op": "eq", "value": True}, {"path": "args.n", "op": "gt", "value": 5}
                )
            }
        }
    },
    "limits": {"tools": {"t": {"limits": [{"window": "minute", "max": 3}, {"window": "hour", "max": 5}]}}},
    "a limit for each key": {"tools": {"t": {"limits": [{"window": "hour", "max": 3, "per": "args.who"}]}}},
    "actions and names": {"hide": ["x_*"], "tools": {"get_*": {}, "t": {"action": "require_approval"}, "u": {"action": "deny"}}},
    "resources": {"resources": {"file:///a/*": {}}, "prompts": {"p": {"action": "require_approval"}}},
}  # fmt: skip


@pytest.mark.parametrize("keys", POLICIES.values(), ids=POLICIES.keys())
def test_every_change_that_the_boundaries_leave_is_told_apart_or_said(keys: Json) -> None:
    policy = compile_policy(PolicyFile.model_validate({"version": "1", **keys}))
    own = CasesFile.model_validate({"cases": boundaries_of(policy.document).cases}).cases
    assert all(judge(policy, case).holds for case in own)
    left = survey(policy.document, own).survivors
    assert len(left) <= 2, [str(mutant) for mutant in left]


@pytest.mark.parametrize("keys", POLICIES.values(), ids=POLICIES.keys())
def test_a_suggested_case_holds_for_the_policy_and_not_for_the_change(keys: Json) -> None:
    policy = compile_policy(PolicyFile.model_validate({"version": "1", **keys}))
    suggestions = Suggestions(policy)
    found = 0
    for mutant in mutants_of(policy.document):
        written = suggestions.for_mutant(mutant)
        if written is not None:
            found += 1
            (case,) = CasesFile.model_validate({"cases": [written]}).cases
            assert judge(policy, case).holds
            assert not judge(compile_policy(mutant.document()), case, place_of=mutant.place_of).holds
    assert found


def test_a_limit_behind_another_of_the_tool_is_used_up_by_others_who_share_it() -> None:
    policy = compile_policy(
        PolicyFile.model_validate(
            {
                "version": "1",
                "tools": {
                    "light": {"limits": [{"counter": "c", "window": "minute", "max": 30}]},
                    "heavy": {
                        "limits": [{"counter": "c", "window": "minute", "max": 30}, {"window": "minute", "max": 10}]
                    },
                },
            }
        )
    )
    found = boundaries_of(policy.document)
    (case,) = [each["sequence"] for each in found.cases if each["name"].startswith("/tools/heavy/limits/0")]
    calls = [(step["tool"], step.get("times", 1), step["expect"]) for step in case[:3]]
    assert calls == [("light", 29, "allow"), ("heavy", 1, "allow"), ("heavy", 1, "deny")]
    assert found.left_out == ()


# Completing lists of cases

CAPPED = {
    "require": [{"conditions": [{"path": "args.to", "op": "in", "value": ["a", "b"]}]}],
    "rate_limit": "10/minute",
}
COMPLETED: dict[str, Json] = {
    "what is not named is denied": {"tools": {"get": {}, "send": CAPPED, "drop": {"action": "deny"}}},
    "what is not named is allowed": {
        "default": "allow",
        "tools": {"get": {}, "send": CAPPED, "drop_*": {"action": "deny"}},
    },
    "categories": {"tools": {"@read": {}, "@destructive": {"action": "require_approval"}}},
    "resources and prompts": {
        "resources": {"file:///docs/*": {}},
        "prompts": {"hello": {"limits": [{"window": "minute", "max": 2}]}},
    },
}


def surveyed(document: PolicyFile, written: list[Json]) -> Survey:
    return survey(document, CasesFile.model_validate({"cases": written}).cases)


@pytest.mark.parametrize("parts", COMPLETED.values(), ids=COMPLETED)
def test_what_is_completed_notices_every_change(parts: Json) -> None:
    document = PolicyFile.model_validate({"version": "1", **parts})
    written = completed(compile_policy(document), [])
    assert surveyed(document, []).noticed == 0
    assert [str(mutant) for mutant in surveyed(document, written).survivors] == []


def test_cases_that_are_there_stay_first_and_are_not_repeated() -> None:
    document = PolicyFile.model_validate({"version": "1", **COMPLETED["what is not named is denied"]})
    policy = compile_policy(document)
    whole = completed(policy, [])
    own = {"tool": "send", "arguments": {"to": "c"}, "expect": "deny", "because": ["/tools/send/require/0"]}
    assert completed(policy, [own])[0] == own
    assert completed(policy, whole) == whole


@pytest.mark.parametrize("parts", COMPLETED.values(), ids=COMPLETED)
def test_every_added_case_notices_a_change_that_those_before_it_do_not(parts: Json) -> None:
    document = PolicyFile.model_validate({"version": "1", **parts})
    cases = CasesFile.model_validate({"cases": completed(compile_policy(document), [])}).cases
    # What cases try, sets are made wider by: so some changes are there only before, and some only with the cases.
    mutants = {str(mutant): mutant for known in ((), cases) for mutant in mutants_of(document, known)}
    noticed = [sum(bool(notices(each, cases[:count])) for each in mutants.values()) for count in range(len(cases) + 1)]
    assert noticed == sorted(set(noticed))


@pytest.mark.parametrize(
    ("value", "neighbours"),
    [
        ("ab", ["xab", "x ab", "abx", "ab x", "ab; x", "ab\nx", "b", "a", ["ab"]]),
        ({"n": 1, "t": [""]}, [{"n": 1, "t": [each]} for each in ("x", "x ", "x", " x", "; x", "\nx", "", "", [""])]),
        (5, []),
    ],
)
def test_the_neighbours_of_a_value_differ_in_one_text(value: Any, neighbours: list[Any]) -> None:
    assert [*neighbours_of(value)] == neighbours


def test_where_no_call_is_known_those_beside_the_cases_are_looked_at() -> None:
    unreadable = {"conditions": [{"path": "args.q", "op": "regex", "value": r"(?i)^\s*select\b[^;]*;?\s*$"}]}
    document = PolicyFile.model_validate({"version": "1", "tools": {"ask": {"require": [unreadable]}}})
    own = {"tool": "ask", "arguments": {"q": "SELECT 1"}, "expect": "allow"}
    assert surveyed(document, [own]).survivors
    assert not surveyed(document, completed(compile_policy(document), [own])).survivors
