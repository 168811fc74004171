"""Checks that what is called tightening never lets more pass."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcpguard.errors import PolicyError
from mcpguard.policy.compare import loosened
from mcpguard.policy.compile import Policy, compile_policy
from mcpguard.policy.decision import Decision, ResourceUse, ToolCall
from mcpguard.policy.evaluate import evaluate, method_effect, server_request_effect, visible
from mcpguard.policy.model import PolicyFile

Parts = dict[str, Any]

BIG = {"conditions": [{"path": "args.n", "op": "gt", "value": 10}]}
OTHER = {"conditions": [{"path": "args.n", "op": "gt", "value": 20}]}
LIMIT = {"counter": "c", "window": 60, "max": 10}
OWN = {"window": 60, "max": 10}


def policy(parts: Parts) -> PolicyFile:
    return PolicyFile.model_validate({"version": "1", **parts})


def tool(**parts: object) -> Parts:
    return {"tools": {"x": parts}}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param({"default": "allow"}, {"default": "deny"}, id="what is not named is denied now"),
        pytest.param({}, {"hide": ["x"]}, id="more is hidden"),
        pytest.param({"tools": {"x": {}}}, {}, id="an entry is gone under deny"),
        pytest.param({"tools": {"x": {}}}, {"tools": {"x": {"action": "deny"}}}, id="a stricter action"),
        pytest.param({"tools": {"x": {}}}, {"tools": {"x": {"action": "require_approval"}}}, id="a person is asked"),
        pytest.param(
            {"tools": {"*": {}}}, {"tools": {"*": {}, "x": {"action": "hide"}}}, id="an exception from a glob"
        ),
        pytest.param(
            {"tools": {"*": {}}}, {"tools": {"*": {}, "a*": tool(limits=[OWN])["tools"]["x"]}}, id="a narrower glob"
        ),
        pytest.param(
            {"tools": {"a*": {}, "ab": {}}}, {"tools": {"a*": {}}}, id="an exact entry that a like glob takes over"
        ),
        pytest.param(
            {"default": "allow"}, {"default": "allow", "tools": {"x": {"deny_if": [BIG]}}}, id="a rule for one"
        ),
        pytest.param(tool(), tool(require=[BIG], deny_if=[BIG], limits=[LIMIT]), id="added rules and limits"),
        pytest.param(tool(deny_if=[BIG]), tool(deny_if=[OTHER, BIG]), id="rules in another order"),
        pytest.param(
            tool(deny_if=[{**BIG, "on_deny": "a"}]), tool(deny_if=[{**BIG, "on_deny": "b"}]), id="other words"
        ),
        pytest.param(tool(limits=[LIMIT]), tool(limits=[OWN, {**LIMIT, "max": 3}]), id="a lower maximum, elsewhere"),
        pytest.param(tool(limits=[OWN]), tool(limits=[{**OWN, "max": 3}, LIMIT]), id="a lower maximum, same place"),
        pytest.param(tool(rate_limit="10/minute"), tool(rate_limit={"max": 9, "window": 60}), id="a lower rate"),
        pytest.param(tool(deny_if=[BIG]), tool(action="deny"), id="denied: its rules do not matter any more"),
        pytest.param(
            tool(approve_if=[OTHER]), tool(action="require_approval", approve_if=[OTHER]), id="asked about every call"
        ),
        pytest.param(tool(), tool(arguments={"required": ["a"]}), id="a schema"),
        pytest.param({"tools": {"*": {}}}, {"tools": {"*": {}, "@write": {"deny_if": [BIG]}}}, id="a category"),
        pytest.param({"default": "allow"}, {"default": "allow", "tools": {"@read": {}}}, id="one that was allowed"),
        pytest.param({"tools": {"@read": {}}}, {"tools": {"@read": {"action": "deny"}}}, id="a stricter category"),
        pytest.param({"tools": {"@read": {}}}, {"tools": {"@read": {}, "a": {"action": "deny"}}}, id="an exception"),
        pytest.param({"tools": {"@read": {}}}, {}, id="a category is gone under deny"),
        pytest.param(
            {"tools": {"@read": {}, "a": {}}}, {"tools": {"@read": {}}}, id="a name that a like category takes over"
        ),
        pytest.param({"methods": {"skills/*": "allow"}}, {}, id="a method is gone under deny"),
        pytest.param({"resources": {"a:*": {}}}, {"resources": {"a:*": {"limits": [OWN]}}}, id="a limit on resources"),
        pytest.param({"prompts": {"p": {}}}, {"prompts": {}}, id="a prompt is gone under deny"),
        pytest.param({}, {"server_requests": {"elicitation/create": "deny"}}, id="a server may ask less"),
        pytest.param({"list": "all"}, {"list": "callable"}, id="less is shown"),
        pytest.param({"drift": "allow"}, {"drift": "refuse"}, id="tools may not change any more"),
        pytest.param({"drift": "allow"}, {}, id="nor where nothing is said"),
        pytest.param({}, {"drift": "refuse"}, id="what is so anyway"),
        pytest.param({"description": "a"}, {"description": "b", "$comment": "c"}, id="words"),
        pytest.param({}, {"approval": {"ttl": "9m"}}, id="an approval holds for less long"),
        pytest.param({}, {"approval": {"via": ["terminal"]}}, id="fewer may answer"),
        pytest.param({}, {"approval": {"via": ["terminal", "client", "client"]}}, id="the same may, in other words"),
        pytest.param({"approval": {"remember": "tool"}}, {}, id="nothing is remembered any more"),
        pytest.param({}, {"approval": {"min_answer": "1s"}}, id="an answer has to take longer"),
        pytest.param({}, {"approval": {"timeout": "2h"}}, id="a call waits longer"),
        pytest.param({}, {"approval": {"timeout": "0s"}}, id="a call does not wait"),
        pytest.param(
            {"approval": {"remember": "tool"}, **tool(approve_if=[OTHER])},
            {"approval": {"remember": "tool"}, **tool(action="require_approval", approve_if=[OTHER, BIG])},
            id="asked about every call, by more rules",
        ),
    ],
)
def test_what_only_tightens_is_found_so(old: Parts, new: Parts) -> None:
    assert loosened(policy(old), policy(new)) == ()


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        pytest.param({}, {"default": "allow"}, "/default", id="what is not named is allowed now"),
        pytest.param({"hide": ["x"]}, {}, "/hide", id="less is hidden"),
        pytest.param({}, {"tools": {"x": {}}}, "/tools/x", id="an entry under deny"),
        pytest.param(tool(action="hide"), tool(action="deny"), "/tools/x", id="hidden, now denied"),
        pytest.param(
            {"tools": {"*": {}, "x": {"action": "deny"}}}, {"tools": {"*": {}}}, "/tools/*", id="the exception is gone"
        ),
        pytest.param(
            {"tools": {"a*": {"action": "deny"}}, "default": "allow"},
            {"default": "allow"},
            "/tools/a*",
            id="a glob is gone",
        ),
        pytest.param(
            {"tools": {"a*": {"deny_if": [BIG]}}},
            {"tools": {"a*": {"deny_if": [BIG]}, "ab*": {}}},
            "/tools/ab*/deny_if",
            id="a narrower glob without the rule",
        ),
        pytest.param({}, {"tools": {"@read": {}}}, "/tools/@read", id="a category under deny"),
        pytest.param(
            {"tools": {"*": {"deny_if": [BIG]}}},
            {"tools": {"*": {"deny_if": [BIG]}, "@read": {}}},
            "/tools/@read/deny_if",
            id="a category in place of `*`",
        ),
        pytest.param(
            {"tools": {"@write": {"deny_if": [BIG]}, "*": {}}},
            {"tools": {"*": {}}},
            "/tools/*/deny_if",
            id="`*` in its place",
        ),
        pytest.param(
            {"default": "allow", "tools": {"@write": {"action": "deny"}}},
            {"default": "allow"},
            "/tools/@write",
            id="it is gone",
        ),
        pytest.param(
            {"tools": {"@write": {}, "a*": {"rate_limit": "1/minute"}}},
            {"tools": {"@write": {}}},
            "/tools/a*/rate_limit",
            id="a glob that a category takes over",
        ),
        pytest.param(
            {"default": "allow", "tools": {"@write": {"action": "deny"}}},
            {"default": "allow", "tools": {"@write": {"action": "deny"}, "x": {}}},
            "/tools/x",
            id="a name that a category decided about",
        ),
        pytest.param(
            {"tools": {"@read": {}, "a*": {}}}, {"tools": {"a*": {}}}, "/tools/@read", id="tools that no list has shown"
        ),
        pytest.param(
            {"tools": {"@read": {}, "*": {}}},
            {"tools": {"@read": {}, "*": {}, "a": {}}},
            "/tools/a",
            id="the name of a tool that no list has shown",
        ),
        pytest.param(tool(deny_if=[BIG]), tool(deny_if=[OTHER]), "/tools/x/deny_if", id="another rule"),
        pytest.param(tool(require=[BIG]), tool(), "/tools/x/require", id="a requirement is gone"),
        pytest.param(tool(approve_if=[BIG]), tool(), "/tools/x/approve_if", id="nobody is asked"),
        pytest.param(
            tool(arguments={"required": ["a"]}),
            tool(arguments={"required": ["b"]}),
            "/tools/x/arguments",
            id="a schema",
        ),
        pytest.param(tool(limits=[LIMIT]), tool(), "/tools/x/limits/0", id="a limit is gone"),
        pytest.param(
            tool(limits=[LIMIT]), tool(limits=[{**LIMIT, "max": 11}]), "/tools/x/limits/0", id="a larger maximum"
        ),
        pytest.param(
            tool(limits=[LIMIT]), tool(limits=[{**LIMIT, "window": 30}]), "/tools/x/limits/0", id="another window"
        ),
        pytest.param(tool(limits=[OWN]), tool(limits=[LIMIT, OWN]), "/tools/x/limits/0", id="a limit that counts anew"),
        pytest.param(tool(rate_limit="10/minute"), tool(), "/tools/x/rate_limit", id="the rate is gone"),
        pytest.param(
            {"tools": {"a*": {"rate_limit": "1/minute"}}},
            {"tools": {"a*": {"rate_limit": "1/minute"}, "ab": {"rate_limit": "1/minute"}}},
            "/tools/ab/rate_limit",
            id="a rate that counts anew",
        ),
        pytest.param({"all_tools": {"deny_if": [BIG]}}, {}, "/all_tools/deny_if", id="a rule for all is gone"),
        pytest.param({"all_tools": {"limits": [LIMIT]}}, {}, "/all_tools/limits/0", id="a limit for all is gone"),
        pytest.param({}, {"methods": {"skills/*": "allow"}}, "/methods/skills~1*", id="a method"),
        pytest.param(
            {"resources": {"a:*": {"action": "deny"}, "*": {}}},
            {"resources": {"*": {}}},
            "/resources/*",
            id="a resource",
        ),
        pytest.param(
            {"default": "allow", "resources": {"a:*": {}}}, {"default": "allow"}, "/resources", id="the section is gone"
        ),
        pytest.param(
            {"prompts": {"p": {"limits": [OWN]}}}, {"prompts": {"p": {}}}, "/prompts/p/limits/0", id="a prompt's limit"
        ),
        pytest.param({}, {"server_requests": {"sampling/createMessage": "allow"}}, "/server_requests", id="sampling"),
        pytest.param({"list": "callable"}, {"list": "all"}, "/list", id="more is shown"),
        pytest.param({}, {"drift": "allow"}, "/drift", id="tools may change"),
        pytest.param({}, {"audit": {"arguments": "full"}}, "/audit", id="another log"),
        pytest.param({}, {"approval": {"ttl": "601s"}}, "/approval/ttl", id="an approval holds for longer"),
        pytest.param(
            {"approval": {"via": ["terminal"]}},
            {"approval": {"via": ["client"]}},
            "/approval/via",
            id="somebody else may answer",
        ),
        pytest.param({"approval": {"via": ["client"]}}, {}, "/approval/via", id="more may answer"),
        pytest.param({}, {"approval": {"remember": "tool"}}, "/approval/remember", id="answers are remembered"),
        pytest.param({}, {"approval": {"min_answer": "149ms"}}, "/approval/min_answer", id="a quicker answer counts"),
        pytest.param(
            tool(approve_if=[OTHER]),
            tool(action="require_approval"),
            "/tools/x/approve_if",
            id="other spellings of the argument are not refused any more",
        ),
        pytest.param(tool(action="require_approval"), tool(), "/tools/x", id="nobody is asked about the tool"),
        pytest.param(
            tool(action="deny"), tool(action="require_approval"), "/tools/x", id="what was denied may be approved"
        ),
        pytest.param(
            {"resources": {"a:*": {"action": "require_approval"}}},
            {"resources": {"a:*": {}}},
            "/resources/a:*",
            id="nobody is asked about a resource",
        ),
    ],
)
def test_what_loosens_is_named_with_its_place(old: Parts, new: Parts, place: str) -> None:
    found = loosened(policy(old), policy(new))
    assert found
    assert found[0].startswith(f"{place}:") or found[0].startswith(f"{place}/")


names = st.sampled_from(["a", "ab", "abc", "b", "x", "list_a"])
patterns = st.sampled_from(["a", "ab", "abc", "b", "*", "a*", "ab*", "*b", "?b", "x"])
tool_names = patterns | st.sampled_from(["@read", "@write", "@destructive", "**"])
rules = st.lists(st.sampled_from([BIG, OTHER]), max_size=2)
limits = st.lists(st.sampled_from([LIMIT, {**LIMIT, "max": 3}, OWN, {**OWN, "max": 3}]), max_size=2)
actions = st.sampled_from(["allow", "deny", "hide", "require_approval"])
entries = st.fixed_dictionaries(
    {},
    optional={
        "action": actions,
        "deny_if": rules,
        "require": rules,
        "approve_if": rules,
        "limits": limits,
        "rate_limit": st.sampled_from(["1/minute", "2/minute"]),
    },
)
effects = st.sampled_from(["allow", "deny"])
approvals = st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.sampled_from(["0s", "45s"]),
        "ttl": st.sampled_from(["0s", "9m", "10m", "600s", "1h"]),
        "remember": st.sampled_from(["call", "tool"]),
        "via": st.lists(st.sampled_from(["client", "terminal"]), min_size=1, max_size=3),
        "min_answer": st.sampled_from(["0ms", "150ms", "1s"]),
    },
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "default": effects,
        "hide": st.lists(patterns, max_size=1),
        "all_tools": st.fixed_dictionaries({}, optional={"deny_if": rules, "limits": limits}),
        "tools": st.dictionaries(tool_names, entries, max_size=4),
        "resources": st.dictionaries(patterns, st.fixed_dictionaries({}, optional={"action": actions}), max_size=2),
        "methods": st.dictionaries(patterns, effects, max_size=2),
        "server_requests": st.fixed_dictionaries({}, optional={"sampling/createMessage": effects}),
        "approval": approvals,
    },
)


@settings(max_examples=400, deadline=None)
@given(
    old=documents,
    change=documents,
    kept=st.sets(st.sampled_from(["default", "hide", "all_tools", "tools", "methods", "approval"])),
)
def test_what_is_found_to_tighten_lets_nothing_more_pass(old: Parts, change: Parts, kept: set[str]) -> None:
    # Most random pairs have nothing to do with each other: the new policy keeps some parts of the old one.
    new = {**change, **{key: old[key] for key in kept if key in old}}
    if "tools" in old and "tools" in change and "tools" not in kept:
        new["tools"] = {**old["tools"], **change["tools"]}
    try:
        was, now = compile_policy(policy(old)), compile_policy(policy(new))
    except PolicyError:
        assume(condition=False)
    assume(not loosened(policy(old), policy(new)))
    for name in ("a", "ab", "abc", "b", "x", "zb", "list_a"):
        for category in (None, "read", "write", "destructive", "financial"):
            for arguments in ({"n": 1}, {"n": 15}, {"n": 25}, {"n": 1, "N": 25}):
                call = ToolCall(name, arguments, category=category)
                before, after = evaluate(was, call), evaluate(now, call)
                assert openness(after) <= openness(before)
                if after.effect == "allow" or after.awaits_approval:
                    owed = {(charge.counter, charge.window_s): charge.max for charge in after.charges}
                    assert all(owed[charge.counter, charge.window_s] <= charge.max for charge in before.charges)
            assert visible(was, name, category) or not visible(now, name, category)
        assert method_effect(was, name) == "allow" or method_effect(now, name) == "deny"
        assert openness(evaluate(now, ResourceUse(name))) <= openness(evaluate(was, ResourceUse(name)))
    sampling = "sampling/createMessage"
    assert server_request_effect(was, sampling) == "allow" or server_request_effect(now, sampling) == "deny"
    assert now.approval.via <= was.approval.via
    assert now.approval.ttl_ns <= was.approval.ttl_ns
    assert now.approval.min_answer_ns >= was.approval.min_answer_ns
    assert now.approval.remember == "call" or was.approval.remember == "tool"


def openness(decision: Decision) -> int:
    return {"hide": 0, "deny": 1, "allow": 3}[decision.effect] + decision.awaits_approval


asking_tools = st.fixed_dictionaries(
    {}, optional={"action": st.sampled_from(["allow", "require_approval"]), "approve_if": rules}
)


@settings(max_examples=200, deadline=None)
@given(old=asking_tools, new=asking_tools)
def test_an_answer_that_is_remembered_is_for_no_more_calls_after_what_tightens(old: Parts, new: Parts) -> None:
    remembering = {"approval": {"remember": "tool"}}
    was, now = policy(tool(**old) | remembering), policy(tool(**new) | remembering)
    assume(not loosened(was, now))
    before, after = compile_policy(was), compile_policy(now)
    calls = [ToolCall("x", {"n": number}) for number in (1, 15, 25)]
    for one, other in itertools.permutations(calls, 2):
        if asking(after, one) == asking(after, other) != []:
            assert asking(before, other) in ([], asking(before, one))


def asking(policy: Policy, call: ToolCall) -> list[str]:
    return [reason.rule for reason in evaluate(policy, call).reasons]


@given(parts=documents)
@settings(max_examples=100, deadline=None)
def test_the_same_policy_loosens_nothing(parts: Parts) -> None:
    assert loosened(policy(parts), policy(parts)) == ()
