"""Decides whether a call may pass.

Total, pure and independent of the order of keys.  Knows nothing of JSON-RPC.  Reads no clock: what a limit costs is an
obligation in the answer, and somebody else's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from mcpguard.policy.compile import Policy, compile_policy
from mcpguard.policy.decision import Decision, PromptUse, ResourceUse, ToolCall

if TYPE_CHECKING:
    from mcpguard.policy.model import Effect

__all__ = [
    "Call",
    "Policy",
    "closed_sections",
    "compile_policy",
    "decide",
    "evaluate",
    "method_effect",
    "server_request_effect",
    "visible",
    "visible_prompt",
    "visible_resource",
]

Call: TypeAlias = ToolCall | ResourceUse | PromptUse

# Names come from clients that nobody vouches for: neither their number nor their length may fill the memory.
_MAX_REMEMBERED: Final = 4096
_MAX_REMEMBERED_LENGTH: Final = 256


def evaluate(policy: Policy, call: Call) -> Decision:
    """Judge one call."""
    match call:
        case ToolCall():
            return decide(policy, call.name)
        case ResourceUse():
            return policy.resources
        case PromptUse():
            return policy.prompts
        case _:
            assert_never(call)


def decide(policy: Policy, name: str) -> Decision:
    """Judge a call of the tool `name`, whatever its arguments: no rule of this release looks at them."""
    decision = policy.memo.get(name)
    return _remembered(policy, name) if decision is None else decision


def visible(policy: Policy, tool_name: str) -> bool:
    """Say whether a list may show the tool: it could be called some day, or the policy lists denied tools too."""
    decision = decide(policy, tool_name)
    match decision.effect:
        case "allow":
            return True
        case "deny":
            return policy.list_mode == "all" or decision.reasons[0].code == "approval_required"
        case "hide":
            return False
        case _:
            assert_never(decision.effect)


def visible_resource(policy: Policy, uri: str) -> bool:
    """Say whether a list may show the resource or template."""
    return evaluate(policy, ResourceUse(uri)).effect == "allow"


def visible_prompt(policy: Policy, name: str) -> bool:
    """Say whether a list may show the prompt."""
    return evaluate(policy, PromptUse(name)).effect == "allow"


def method_effect(policy: Policy, method: str) -> Effect:
    """Say whether a method may pass that the protocol does not know; one that it knows is not governed here."""
    return policy.methods.find(method) or policy.default


def server_request_effect(policy: Policy, method: str) -> Effect:
    """Say whether the server may ask this of the client."""
    return policy.server_requests.get(method, policy.default)


def closed_sections(policy: Policy) -> tuple[str, ...]:
    """Name what the policy closes without a word, because its default is deny: `tools resources prompts sampling`."""
    return policy.closed_sections


def _remembered(policy: Policy, name: str) -> Decision:
    decision = _decided(policy, name)
    if len(name) <= _MAX_REMEMBERED_LENGTH:
        if len(policy.memo) >= _MAX_REMEMBERED:
            policy.memo.clear()
        policy.memo[name] = decision
    return decision


def _decided(policy: Policy, name: str) -> Decision:
    for pattern, decision in policy.hidden:
        if pattern.matches(name):
            return decision
    return policy.tools.find(name) or policy.otherwise
