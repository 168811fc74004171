"""Loads policies good and bad from files, judges calls of any kind by them, and looks at what holds for every policy."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.fuzzing import chance, laws
from fuzz.lines import damaged
from fuzz.policies import ANYTHING, ARGUMENTS, POLICIES, Json, json_text, means, names_for, spoiled
from mcpguard.errors import PolicyError
from mcpguard.policy.canonical import canonical
from mcpguard.policy.decision import Decision, PromptUse, ResourceUse, TemplateUse, ToolCall
from mcpguard.policy.evaluate import (
    compile_policy,
    evaluate,
    method_effect,
    server_request_effect,
    visible,
    visible_prompt,
    visible_resource,
    visible_template,
)
from mcpguard.policy.rendering import render_arguments
from mcpguard.policy.trace import trace
from mcpguard.policy.trace_uses import trace_use
from mcpguard.stores.counters import Charged, Exhausted, MemoryCounters
from mcpguard.stores.files import LoadedPolicy, load_policy

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

NEEDS_NO_TEXT = st.sampled_from(
    [
        "{",
        "version: 1",
        "\ufeff{}",
        "[]",
        "null",
        '{"version":"1","version":"1"}',
        "a: &a [*a]",
        "%YAML 1.3\n---\n",
        "- \t-",
        "?",
    ]
)


FOLDED = frozenset("\x85\u2028\u2029")
"""What the YAML reader takes for line breaks, as YAML 1.1 does."""
SEEDS = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policies")


def loaded(place: Path, text: str | bytes, suffix: str) -> LoadedPolicy | PolicyError:
    """Load a policy the way a run does."""
    path = place / f"policy{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        return load_policy(path)
    except PolicyError as error:
        refused = error
    assert refused.findings
    assert all(str(finding).isprintable() for finding in refused.findings)
    return refused


def resolve(path: str) -> str | None:
    """Say where a path leads, as if some could not be followed."""
    return None if "x" in path else path


def test_every_policy_loads_or_is_refused_with_reasons_and_judges_every_call(place: Path) -> None:
    seen: Counter[str] = Counter()

    @laws(130)
    @given(st.data(), POLICIES)
    def law(data: st.DataObject, document: Json) -> None:
        text = json_text(document)
        found = loaded(place, text, ".json")
        seen[type(found).__name__] += 1
        if isinstance(found, PolicyError):
            return
        if data.draw(SEEDS) % 3 == 0:
            check_yaml(place, text, found)
        counters = MemoryCounters()
        for _ in range(3):
            call = ToolCall(data.draw(names_for(document)), data.draw(ARGUMENTS), resolve)
            check_call(found, document, call, chance(data.draw(SEEDS)))
            decision = evaluate(found.policy, call)
            seen["ask" if decision.awaits_approval else decision.effect] += 1
            charged = counters.charge(decision.charges, data.draw(st.integers(10**9, 10**15)), 10**18)
            assert isinstance(charged, Charged | Exhausted)
        check_others(found, data.draw(names_for(document)))

    law()
    for what in ("LoadedPolicy", "PolicyError", "allow", "ask", "deny", "hide"):
        assert seen[what] > 2, f"the fuzzer has gone blind: {seen}"


def check_yaml(place: Path, text: str, found: LoadedPolicy) -> None:
    """See that the same text, which is YAML too, is the same policy or none."""
    if not FOLDED.isdisjoint(text):
        return
    as_yaml = loaded(place, text, ".yaml")
    assert isinstance(as_yaml, PolicyError) or as_yaml.policy.digest == found.policy.digest


def check_call(found: LoadedPolicy, document: Json, call: ToolCall, random: Random) -> None:
    policy = found.policy
    decision = evaluate(policy, call)
    assert evaluate(policy, call) == decision
    assert (decision.effect == "allow") is (not decision.reasons)
    assert decision.effect == "allow" or decision.awaits_approval or not decision.charges
    asked = [reason.code == "approval_required" for reason in decision.reasons]
    assert all(asked) if decision.awaits_approval else not any(asked)

    # Another reading of the file, with its keys in another order, and of the call.
    mixed = compile_policy(type(found.document).model_validate(shuffled(document, random)))
    again = evaluate(mixed, ToolCall(call.name, shuffled(call.arguments, random), resolve))
    assert mixed.digest == policy.digest
    # What a sentence names first of several keys may differ.
    assert (again.effect, again.entry, again.charges) == (decision.effect, decision.entry, decision.charges)
    assert grounds_of(again) == grounds_of(decision)
    assert visible(mixed, call.name) is visible(policy, call.name)

    named = any(means(pattern, call.name) for pattern in document.get("tools", {}))
    hidden = any(means(pattern, call.name) for pattern in document.get("hide", []))
    assert (decision.effect == "hide") or not hidden
    if not named and document.get("default", "deny") == "deny":
        assert decision.effect != "allow"
        assert not visible(policy, call.name) or document.get("list") == "all"
    if decision.effect == "allow" or decision.awaits_approval:
        assert visible(policy, call.name)

    check_trace(found, call, decision)
    assert canonical(call.arguments) == canonical(shuffled(call.arguments, random))
    for mode in ("digest", "keys", "masked", "full"):
        written = render_arguments(dict(call.arguments), mode)
        assert written is None or (written.isascii() and "\n" not in written)


def check_trace(found: LoadedPolicy, call: ToolCall, decision: Decision) -> None:
    """See that what `explain` shows leads to what was decided."""
    shown = trace(found.policy, found.document, call)
    assert shown.decision == decision
    standing = {rule.rule for rule in shown.rules if rule.refuses}
    assert bool(shown.asks) is (decision.awaits_approval and not shown.over)
    if decision.awaits_approval:
        standing -= {reason.rule for reason in decision.reasons}
    if decision.effect == "allow" or decision.awaits_approval:
        assert not standing
        assert shown.schema is None or not shown.schema.problem
        assert all(limit.owed is not None and not hasattr(limit.owed, "code") for limit in shown.limits)
    for reason in decision.reasons:
        if reason.code in {"require", "deny_if"}:
            assert reason.rule in standing


def check_others(found: LoadedPolicy, name: str) -> None:
    """Ask everything else that a run asks of a policy."""
    policy = found.policy
    for use, shows in (
        (ResourceUse(name), visible_resource),
        (TemplateUse(name), visible_template),
        (PromptUse(name), visible_prompt),
    ):
        decision = evaluate(policy, use)
        assert evaluate(policy, use) == decision
        assert not (decision.effect == "allow" or decision.awaits_approval) or shows(policy, name)
        assert decision.effect != "hide" or not shows(policy, name)
        if not isinstance(use, TemplateUse):
            assert trace_use(policy, found.document, use).decision == decision
        section = found.document.prompts if isinstance(use, PromptUse) else found.document.resources
        if (
            not isinstance(use, TemplateUse)
            and policy.default == "deny"
            and not any(means(pattern, name) for pattern in section or {})
        ):
            assert decision.effect != "allow"
    methods = found.document.methods
    if policy.default == "deny" and not any(means(pattern, name) for pattern in methods):
        assert method_effect(policy, name) == "deny"
        assert server_request_effect(policy, name) == "deny" or name in {"elicitation/create", "roots/list"}


def grounds_of(decision: Decision) -> list[tuple[str, str]]:
    return [(reason.code, reason.rule) for reason in decision.reasons]


def shuffled(value: Any, random: Random) -> Any:
    if isinstance(value, list):
        return [shuffled(item, random) for item in value]
    if not isinstance(value, dict):
        return value
    names = list(value)
    random.shuffle(names)
    return {name: shuffled(value[name], random) for name in names}


def test_whatever_a_file_holds_it_is_a_policy_or_a_policy_error(place: Path) -> None:
    seen: Counter[str] = Counter()

    @laws(200)
    @given(
        st.one_of(spoiled(), spoiled(), ANYTHING).map(json_text) | NEEDS_NO_TEXT,
        st.sampled_from([".json", ".json", ".yaml"]),
        SEEDS,
    )
    def law(text: str, suffix: str, seed: int) -> None:
        data = text.encode("utf-8", "surrogatepass") + b"\n"
        if seed % 3 == 0:
            data = damaged(chance(seed), data, data)
        found = loaded(place, data, suffix)
        seen[type(found).__name__] += 1
        if isinstance(found, LoadedPolicy):
            evaluate(found.policy, ToolCall("t", {"a": 1}, resolve))

    law()
    assert seen["PolicyError"] > 50
    assert seen["LoadedPolicy"] > 10
