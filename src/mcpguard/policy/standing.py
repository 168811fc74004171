"""Says what a policy does with the things that a server offers, before any of them is used.

A call may still be refused by its arguments, or because a limit is used up: how much there is of that is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from mcpguard.policy.decision import Decision, PromptUse, ResourceUse, TemplateUse
from mcpguard.policy.evaluate import Policy, decide, evaluate, visible
from mcpguard.policy.trace import grounds_of

if TYPE_CHECKING:
    from mcpguard.policy.decision import Category
    from mcpguard.policy.model import PolicyFile
    from mcpguard.policy.trace import Grounds

State: TypeAlias = Literal["callable", "limited", "needs approval", "denied", "hidden"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a policy does with one thing.

    `entry` is a JSON Pointer to what decided, `visible` says whether lists show it, `reason` why it is refused.  `rules`, `asks` and
    `limits` count what a call has to meet: rules on its arguments, rules by which a person is asked, limits.
    """

    state: State
    entry: str
    visible: bool
    reason: str = ""
    rules: int = 0
    asks: int = 0
    limits: int = 0


def standing_of_tool(policy: Policy, document: PolicyFile, name: str, category: Category | None = None) -> Standing:
    """Say what a policy does with a tool; `policy` is what `document` was compiled to."""
    ruling, shown = decide(policy, name, category), visible(policy, name, category)
    if isinstance(ruling, Decision):
        return _constant(ruling, visible=shown)
    grounds = grounds_of(policy, document, name, category)
    if not ruling.callable:
        return Standing("denied", ruling.entry, shown, _why(grounds))
    asked = grounds.tool is not None and grounds.tool.action == "require_approval"
    state: State = "needs approval" if asked else "limited" if grounds.levies else "callable"
    rules = len(grounds.checks) + len(grounds.shapes)
    return Standing(state, ruling.entry, shown, "", rules, len(grounds.approvals), len(grounds.levies))


def standing_of(policy: Policy, use: ResourceUse | TemplateUse | PromptUse) -> Standing:
    """Say what a policy does with a resource, a template or a prompt."""
    decision = evaluate(policy, use)
    return _constant(decision, visible=decision.effect == "allow" or decision.reasons[0].code == "approval_required")


def _constant(decision: Decision, *, visible: bool) -> Standing:
    match decision.effect:
        case "allow":
            state: State = "limited" if decision.charges else "callable"
            return Standing(state, decision.entry, visible, limits=len(decision.charges))
        case "hide":
            return Standing("hidden", decision.entry, visible, decision.reasons[0].message)
        case "deny":
            reason = decision.reasons[0]
            state = "needs approval" if reason.code == "approval_required" else "denied"
            return Standing(state, decision.entry, visible, reason.message)
        case _:
            assert_never(decision.effect)


def _why(grounds: Grounds) -> str:
    """Say why no call can ever pass: the action, or a rule without conditions."""
    if grounds.tool is not None and grounds.tool.action == "deny":
        return grounds.tool.reason or "the policy refuses this tool"
    always = next(rule for rule in grounds.checks if rule.kind == "deny_if" and not rule.conditions)
    return always.said or "the policy has a rule that refuses every call of this tool"
