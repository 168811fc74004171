"""Checks what a cases file may hold, and that every bad one says what is wrong with it and where."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.errors import PolicyError
from mcpguard.policy.compile import compile_policy
from mcpguard.policy.decision import ToolCall, unresolvable
from mcpguard.policy.evaluate import evaluate
from mcpguard.policy.model import PolicyFile
from mcpguard.proof.cases import Case, Sequence, load_cases, reasons_of

if TYPE_CHECKING:
    from pathlib import Path

    from mcpguard.proof.cases import AnyCase

RULE = {"conditions": [{"path": "args.a", "op": "eq", "value": 1}]}
POLICY = PolicyFile.model_validate(
    {
        "version": "1",
        "hide": ["admin_*"],
        "all_tools": {"require": [RULE], "deny_if": [RULE], "limits": [{"window": 1, "max": 1}]},
        "tools": {
            "free": {},
            "send": {
                "require": [RULE, RULE],
                "deny_if": [RULE],
                "approve_if": [RULE],
                "arguments": {"required": ["a"]},
                "limits": [{"window": 60, "max": 2}],
                "rate_limit": "5/hour",
            },
            "a/b~c": {"action": "deny"},
        },
        "resources": {"x://*": {"action": "require_approval"}},
        "prompts": {"p": {"limits": [{"window": 60, "max": 2}]}},
    }
)


def load(folder: Path, text: str, name: str = "policy.test.json") -> tuple[AnyCase, ...]:
    path = folder / name
    path.write_text(text)
    return load_cases(path, POLICY).cases


def errors(folder: Path, text: str, name: str = "policy.test.json") -> list[str]:
    with pytest.raises(PolicyError) as raised:
        load(folder, text, name)
    return [str(finding).removeprefix(f"{folder}/{name}:") for finding in raised.value.findings]


def one(**keys: object) -> str:
    return json.dumps({"cases": [{"tool": "t", "expect": "deny"} | keys]})


def steps(*each: object) -> str:
    return json.dumps({"cases": [{"sequence": list(each)}]})


def test_a_file_holds_cases_and_sequences(tmp_path: Path) -> None:
    text = """{"$comment": "all of it", "cases": [
      {"$comment": "one", "name": "n", "tool": "send", "arguments": {"$comment": 1, "a": 5.0, "b": 1}, "category": "write",
       "expect": "deny", "because": ["/tools/send/require/1", "/tools/a~1b~0c/action"]},
      {"resource": "x://1", "expect": "approve"},
      {"name": "m", "sequence": [{"prompt": "p", "expect": "allow", "times": 2},
                                 {"prompt": "p", "expect": "deny", "after": "61s", "because": ["/prompts/p/limits/0"]}]}]}"""
    first, second, third = load(tmp_path, text)
    assert isinstance(first, Case)
    assert isinstance(second, Case)
    assert isinstance(third, Sequence)
    call = first.call(unresolvable, {"send": "read"})
    assert call == ToolCall("send", {"$comment": 1, "a": Decimal("5.0"), "b": 1}, category="write")
    assert isinstance(call, ToolCall)
    assert [type(value) for value in call.arguments.values()] == [int, Decimal, int]
    assert (first.subject, second.subject, third.sequence[0].subject) == ("send", "x://1", "p")
    assert [(step.times, step.after) for step in third.sequence] == [(2, 0), (1, 61_000_000_000)]


def test_a_category_that_a_list_shows_is_that_of_a_case_without_one(tmp_path: Path) -> None:
    (case,) = load(tmp_path, one())
    assert isinstance(case, Case)
    assert case.call(unresolvable, {"t": "read"}) == ToolCall("t", {}, category="read")
    assert case.call(unresolvable, {}) == ToolCall("t", {})


def test_yaml_says_the_same(tmp_path: Path) -> None:
    text = "cases:\n- tool: send\n  arguments: {n: 1.50}\n  expect: allow\n"
    assert load(tmp_path, text, "c.yaml") == load(tmp_path, one(tool="send", arguments={"n": 1.5}, expect="allow"))


BAD = {
    "no cases": ("{}", ["1:1: `cases` is missing in a cases file"]),
    "a policy": ('{"version": "1"}', ["1:1: this is a policy and no cases file"]),
    "another key at the top": (
        '{"case": []}',
        ["1:1: `cases` is missing", "1:2: unknown key `case` in a cases file; did"],
    ),
    "a list": ("[]", ["1:1: a cases file must be an object, not a list"]),
    "nothing": ("", ["1:1: the file is empty; the smallest cases file is {"]),
    "a case that is none": ('{"cases": [\n 1]}', ["2:2: an entry of `cases` must be an object, not the number `1`"]),
    "a key nearly right": (one(becuase=[]), ["1:44: unknown key `becuase` in a case; did you mean `because`?"]),
    "a key of a step": (one(times=2), ["1:44: unknown key `times` in a case; it belongs in a step"]),
    "a case with steps": (
        '{"cases": [{"tool": "t", "sequence": [{"tool": "t", "expect": "allow"}]}]}',
        ["1:13: unknown key `tool` in a sequence; it belongs in a case or a step"],
    ),
    "no expectation": ('{"cases": [{"tool": "t"}]}', ["1:12: `expect` is missing in a case"]),
    "no expectation of a step": (steps({"tool": "t"}), ["1:26: `expect` is missing in a step"]),
    "another expectation": (one(expect="alow"), ["1:36: unknown expect `alow`; did you mean `allow`?"]),
    "another category": (one(category="writes"), ["1:56: unknown category `writes`; did you mean `write`?"]),
    "no category": (one(category=None), ["1:56: `category` is left out where none is known"]),
    "nothing to call": (
        '{"cases": [{"expect": "deny"}]}',
        ["1:12: a case names exactly one of `tool`, `resource` and"],
    ),
    "two things to call": (one(prompt="p"), ["1:12: a case names exactly one of `tool`, `resource` and `prompt`"]),
    "a step that calls nothing": (steps({"expect": "deny"}), ["1:26: a step names exactly one of"]),
    "arguments of a resource": (
        '{"cases": [{"resource": "r", "arguments": {}, "expect": "deny"}]}',
        ["1:43: a resource has no `arguments`; only a tool has"],
    ),
    "category of a prompt": (
        '{"cases": [{"prompt": "r", "category": "read", "expect": "deny"}]}',
        ["1:40: a prompt has no `category`; only a tool has"],
    ),
    "arguments that are a list": (one(arguments=[]), ["1:57: `arguments` must be an object, not a list"]),
    "a number that no call can hold": (
        '{"cases": [{"tool": "t", "arguments": {"n": [1e400]}, "expect": "deny"}]}',
        ["1:39: a number here is finite"],
    ),
    "a reason to allow": (
        one(expect="allow", because=["/default"]),
        ["1:56: nothing stands against a call that is allowed; take `because` out"],
    ),
    "a rule that is no pointer": (
        one(because=["send"]),
        ["1:56: a rule is a JSON Pointer into the policy, like `/tools"],
    ),
    "a rule that is not there": (
        one(because=["/tools/send/require/2"]),
        [
            "1:56: the policy has nothing at `/tools/send/require/2` that could be a reason; near it: `/tools/send/require/0`"
        ],
    ),
    "an entry without a reason": (
        steps({"tool": "t", "expect": "deny"}, {"tool": "t", "expect": "deny", "because": ["/tools/send"]}),
        ["1:103: the policy has nothing at `/tools/send` that could be a reason; near it: `/tools/send/require/0`, "],
    ),
    "an entry that is not there": (
        one(because=["/tools/sned/require/0"]),
        [
            "1:56: the policy has nothing at `/tools/sned/require/0` that could be a reason; did you mean `/tools/send/req"
        ],
    ),
    "a name that is not escaped": (one(because=["/tools/a/b~c/action"]), ["1:56: the policy has nothing"]),
    "no calls": (steps({"tool": "t", "expect": "deny", "times": 0}), ["1:67: `times` must be from 1 to 100000, not"]),
    "too many calls": (steps({"tool": "t", "expect": "deny", "times": 100_001}), ["1:67: `times` must be from 1"]),
    "half a call": (steps({"tool": "t", "expect": "deny", "times": 1.5}), ["1:67: `times` must be a whole number"]),
    "no time": (steps({"tool": "t", "expect": "deny", "after": "1 day"}), ["1:67: `after` must be text like `150ms`"]),
    "an empty sequence": (steps(), ["1:25: a sequence has at least one step"]),
    "a duplicate key": (
        '{"cases": [{"tool": "t", "tool": "u", "expect": "deny"}]}',
        ["1:26: duplicate key `tool`; the first is at line 1; keep one of them"],
    ),
    "a duplicate argument": (
        '{"cases": [{"tool": "t", "arguments": {"a": 1, "a": 2}, "expect": "deny"}]}',
        ["1:48: duplicate key `a`"],
    ),
    "a comment of JavaScript": (
        '{"cases": [] // none\n}',
        ["1:14: JSON has no comments; use a `$comment` key, or write the"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_says_what_is_wrong_and_where(case: str, tmp_path: Path) -> None:
    text, said = BAD[case]
    found = errors(tmp_path, text)
    assert len(found) == len(said)
    for line, start in zip(found, said, strict=True):
        assert line.startswith(start)


def test_bad_yaml_is_no_policy_either(tmp_path: Path) -> None:
    (said,) = errors(tmp_path, "cases: &a []\n", "c.yml")
    assert said == "1:8: anchors have no place in a cases file; write the value out"
    with pytest.raises(PolicyError, match="a cases file ends in "):
        load(tmp_path, "", "cases.txt")


def test_every_reason_that_a_policy_gives_can_be_named() -> None:
    known = set(reasons_of(POLICY))
    policy = compile_policy(POLICY)
    arguments: list[dict[str, Any]] = [{}, {"a": 1}, {"a": 2}]
    calls = [ToolCall(name, each) for name in ("free", "send", "a/b~c", "admin_x", "other") for each in arguments]
    given = {reason.rule for call in calls for reason in evaluate(policy, call).reasons}
    assert given == known - {
        rule for rule in known if "limit" in rule or rule.startswith(("/resources", "/prompts"))
    } - {"/tools/send/approve_if/0"}
