"""Checks what a policy is said to do with a thing before it is used."""

from __future__ import annotations

from typing import Any

import pytest

from mcpguard.policy.compile import compile_policy
from mcpguard.policy.decision import PromptUse, ResourceUse, TemplateUse
from mcpguard.policy.model import PolicyFile
from mcpguard.policy.standing import Standing, State, standing_of, standing_of_tool

RULE = {"conditions": [{"path": "args.a", "op": "exists"}]}
ALWAYS: dict[str, Any] = {"conditions": []}
ENTRY = "/tools/t"


def standing(document: dict[str, Any], name: str = "t") -> Standing:
    file = PolicyFile.model_validate({"version": "1"} | document)
    return standing_of_tool(compile_policy(file), file, name)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({}, Standing("callable", ENTRY, visible=True), id="allowed"),
        pytest.param({"rate_limit": "1/minute"}, Standing("limited", ENTRY, visible=True, limits=1), id="a limit"),
        pytest.param(
            {"action": "deny"}, Standing("denied", ENTRY, visible=False, reason="the policy refuses this tool"), id="denied"
        ),
        pytest.param({"action": "deny", "reason": "no"}, Standing("denied", ENTRY, visible=False, reason="no"), id="why"),
        pytest.param({"action": "hide"}, Standing("hidden", ENTRY, visible=False, reason="the policy hides this tool"), id="hidden"),
        pytest.param({"require": [RULE]}, Standing("callable", ENTRY, visible=True, rules=1), id="a rule"),
        pytest.param(
            {"require": [RULE], "deny_if": [RULE], "approve_if": [RULE], "arguments": {"required": ["a"]}, "rate_limit": "1/minute"},
            Standing("limited", ENTRY, visible=True, rules=3, asks=1, limits=1),
            id="everything",
        ),
        pytest.param(
            {"limits": [{"window": "day", "max": 1, "cost": "args.a"}]},
            Standing("limited", ENTRY, visible=True, limits=1),
            id="a limit on arguments",
        ),
        pytest.param(
            {"action": "require_approval", "require": [RULE]},
            Standing("needs approval", ENTRY, visible=True, rules=1),
            id="approval and a rule",
        ),
        pytest.param(
            {"action": "deny", "reason": "no", "require": [RULE]}, Standing("denied", ENTRY, visible=False, reason="no"), id="denied with a rule"
        ),
        pytest.param(
            {"action": "deny", "require": [RULE]},
            Standing("denied", ENTRY, visible=False, reason="the policy refuses this tool"),
            id="denied with a rule and no reason",
        ),
        pytest.param(
            {"deny_if": [ALWAYS | {"on_deny": "never"}]}, Standing("denied", ENTRY, visible=False, reason="never"), id="always refused"
        ),
        pytest.param(
            {"deny_if": [ALWAYS]},
            Standing("denied", ENTRY, visible=False, reason="the policy has a rule that refuses every call of this tool"),
            id="always refused without a word",
        ),
    ],
)  # fmt: skip
def test_an_entry_says_what_becomes_of_a_tool(entry: dict[str, Any], expected: Standing) -> None:
    assert standing({"tools": {"t": entry}}) == expected


def test_approval_of_every_call_says_what_is_missing() -> None:
    found = standing({"tools": {"t": {"action": "require_approval", "reason": "ask me"}}})
    assert (found.state, found.visible) == ("needs approval", True)
    assert found.reason == "ask me"


def test_what_nothing_names_follows_the_default() -> None:
    assert standing({}).state == "denied"
    assert standing({"default": "allow"}) == Standing("callable", "/default", visible=True)
    assert standing({"default": "allow", "all_tools": {"require": [RULE]}}).rules == 1
    assert standing({"default": "allow", "all_tools": {"deny_if": [ALWAYS | {"on_deny": "closed"}]}}).reason == "closed"


def test_a_list_of_all_shows_denied_tools() -> None:
    found = standing({"list": "all", "tools": {"t": {"action": "deny"}}})
    assert (found.state, found.visible) == ("denied", True)


@pytest.mark.parametrize(
    ("use", "state", "entry"),
    [
        pytest.param(ResourceUse("file:///a"), "limited", "/resources/file:~1~1~1*", id="a limited resource"),
        pytest.param(ResourceUse("x:/b"), "denied", "/resources/*", id="a denied one"),
        pytest.param(TemplateUse("file:///{path}"), "limited", "/resources/file:~1~1~1*", id="a template"),
        pytest.param(PromptUse("p"), "callable", "/prompts/p", id="a prompt"),
        pytest.param(PromptUse("q"), "hidden", "/prompts/q", id="a hidden one"),
        pytest.param(PromptUse("r"), "needs approval", "/prompts/r", id="one to approve"),
        pytest.param(PromptUse("s"), "denied", "/default", id="one that nothing names"),
    ],
)
def test_resources_templates_and_prompts_have_a_standing(
    use: ResourceUse | TemplateUse | PromptUse, state: State, entry: str
) -> None:
    policy = compile_policy(
        PolicyFile.model_validate(
            {
                "version": "1",
                "resources": {"file:///*": {"limits": [{"window": 1, "max": 1}]}, "*": {"action": "deny"}},
                "prompts": {"p": {}, "q": {"action": "hide"}, "r": {"action": "require_approval"}},
            }
        )
    )
    found = standing_of(policy, use)
    assert (found.state, found.entry) == (state, entry)
    assert found.visible == (state not in {"denied", "hidden"})
