"""Checks that cases are added until small changes of a policy are noticed, and no more of them than it takes."""

from __future__ import annotations

from typing import Any

import pytest

from mcpguard.policy.compile import compile_policy
from mcpguard.policy.model import PolicyFile
from mcpguard.proof.cases import CasesFile
from mcpguard.proof.completing import completed
from mcpguard.proof.survivors import Survey, survey

CAPPED = {
    "require": [{"conditions": [{"path": "args.to", "op": "in", "value": ["a", "b"]}]}],
    "rate_limit": "10/minute",
}
POLICIES: dict[str, dict[str, Any]] = {
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


def surveyed(document: PolicyFile, written: list[dict[str, Any]]) -> Survey:
    return survey(document, CasesFile.model_validate({"cases": written}).cases)


@pytest.mark.parametrize("parts", POLICIES.values(), ids=POLICIES)
def test_what_is_completed_notices_every_change(parts: dict[str, Any]) -> None:
    document = PolicyFile.model_validate({"version": "1", **parts})
    written = completed(compile_policy(document), [])
    assert surveyed(document, []).noticed == 0
    assert [str(mutant) for mutant in surveyed(document, written).survivors] == []


def test_cases_that_are_there_stay_first_and_are_not_repeated() -> None:
    document = PolicyFile.model_validate({"version": "1", **POLICIES["what is not named is denied"]})
    policy = compile_policy(document)
    whole = completed(policy, [])
    own = {"tool": "send", "arguments": {"to": "c"}, "expect": "deny", "because": ["/tools/send/require/0"]}
    assert completed(policy, [own])[0] == own
    assert completed(policy, whole) == whole


def test_every_added_case_notices_something() -> None:
    document = PolicyFile.model_validate({"version": "1", **POLICIES["what is not named is denied"]})
    written = completed(compile_policy(document), [])
    noticed = surveyed(document, written).noticed
    redundant = [
        case
        for case in written
        if surveyed(document, [each for each in written if each is not case]).noticed == noticed
    ]
    assert len(redundant) < len(written) / 2
