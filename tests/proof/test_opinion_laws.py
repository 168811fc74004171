"""Checks that the second opinion, where it has one, is what the guard does: two readings of one language."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fuzz.policies import ARGUMENTS, POLICIES, names_for
from mcpguard.errors import PolicyError
from mcpguard.inventory.cases import expectation_of, lexical
from mcpguard.policy.decision import Category, PromptUse, ResourceUse, ToolCall
from mcpguard.policy.evaluate import Policy, compile_policy, evaluate
from mcpguard.policy.model import PolicyFile
from mcpguard.proof.names import CATEGORIES
from mcpguard.proof.opinion import Opinion, meeting_of, use_opinion
from mcpguard.stores.counters import Exhausted, MemoryCounters

Json = dict[str, Any]


def compiled(policy: Json) -> Policy | None:
    try:
        return compile_policy(PolicyFile.model_validate(policy))
    except (ValidationError, PolicyError):
        return None


def disagreement(opinion: Opinion | None, policy: Policy, call: ToolCall | ResourceUse | PromptUse) -> str:
    """Say where the opinion is not what the guard does; empty if there is none."""
    if opinion is None:
        return ""
    decision = evaluate(policy, call)
    rules, effect = {reason.rule for reason in decision.reasons}, expectation_of(decision)
    charged = MemoryCounters().charge(decision.charges, 0)
    if effect in ("allow", "approve") and isinstance(charged, Exhausted):
        rules, effect = {charged.charge.rule}, "deny"
    agrees = effect == opinion.effect and rules.issuperset(opinion.because)
    return "" if agrees else f"{opinion} but {decision}"


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.data())
def test_an_opinion_about_a_call_is_what_becomes_of_it(data: st.DataObject) -> None:
    document = data.draw(POLICIES)
    categories = data.draw(st.dictionaries(st.sampled_from([f"@{each}" for each in CATEGORIES]), st.sampled_from([{}, {"action": "deny"}, {"action": "require_approval"}, {"action": "hide"}]), max_size=2))  # fmt: skip
    document = document | {"tools": document["tools"] | categories}
    policy = compiled(document)
    if policy is None:
        return
    name, category = data.draw(names_for({"tools": {k: v for k, v in document["tools"].items() if k[0] != "@"}})), data.draw(st.none() | st.sampled_from(get_args(Category)))  # fmt: skip
    arguments = data.draw(ARGUMENTS)
    meeting = meeting_of(policy.document, name, category)
    if meeting is not None:
        call = ToolCall(name, arguments, lexical, category)
        assert disagreement(meeting.judge(arguments), policy, call) == ""


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(POLICIES, st.data())
def test_an_opinion_about_resources_and_prompts_is_what_becomes_of_them(document: Json, data: st.DataObject) -> None:
    policy = compiled(document)
    if policy is None:
        return
    name = data.draw(names_for({"tools": {**document.get("resources", {}), **document.get("prompts", {})}}))
    assert disagreement(use_opinion(policy.document, "resources", name), policy, ResourceUse(name)) == ""
    assert disagreement(use_opinion(policy.document, "prompts", name), policy, PromptUse(name)) == ""
