"""Judges drafts of policies as their owners would: do they load, fit the tools, and do what their cases say?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jiter
from jsonschema_rs import Draft202012Validator

from mcpguard.cli.json_lines import json_lines
from mcpguard.errors import PolicyError
from mcpguard.inventory.cases import draft_cases, expectation_of, lexical
from mcpguard.inventory.check import check_tools
from mcpguard.policy.check import check_policy
from mcpguard.policy.decision import ToolCall
from mcpguard.policy.evaluate import Policy, evaluate
from mcpguard.stores.counters import Charged, MemoryCounters
from mcpguard.stores.files import load_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mcpguard.inventory.draft import Draft, DraftedTool
    from mcpguard.inventory.tools import Tool

Case = dict[str, Any]


def faults_of(draft: Draft, tools: Sequence[Tool], file: Path) -> list[str]:
    """List what is wrong with a draft for `tools`, written to `file` and read again: none if it is as it should be."""
    file.write_text(json_lines(draft.document) + "\n", encoding="utf-8")
    try:
        loaded = load_policy(file)
    except PolicyError as error:
        return [str(finding) for finding in error.findings]
    assert loaded.policy == draft.policy
    found = [*check_policy(loaded.document), *check_tools(loaded.document, loaded.policy, tools)]
    cases = read_cases(draft)
    return [
        *(f"{each.code} {each.rule}: {each.message}" for each in found),
        *wrong_cases(loaded.policy, cases, {tool.name: tool for tool in tools}),
    ]


def read_cases(draft: Draft) -> list[Case]:
    """Write the cases of a draft and read them again, as another program would."""
    cases: list[Case] = jiter.from_json(json_lines(draft_cases(draft)).encode(), float_mode="decimal")["cases"]
    return cases


def wrong_cases(policy: Policy, cases: Sequence[Case], tools: dict[str, Tool]) -> Iterator[str]:
    """Yield the cases that are not judged as they say, or that the server itself would not take."""
    for case in cases:
        steps = case.get("sequence", [case])
        counters = MemoryCounters()
        for step in steps:
            validator = Draft202012Validator(dict(tools[step["tool"]].input_schema), offline=True)
            if not validator.is_valid(step["arguments"]):
                yield f"no valid arguments: {step}"
            expect, rules = _judged(policy, step, counters)
            if expect != step["expect"] or not set(step.get("because", ())) <= rules:
                yield f"judged {expect} by {rules}: {step}"


def _judged(policy: Policy, step: Case, counters: MemoryCounters) -> tuple[str, set[str]]:
    decision = evaluate(policy, ToolCall(step["tool"], step["arguments"], lexical))
    expect = expectation_of(decision)
    if expect == "allow":
        charged = counters.charge(decision.charges, 0)
        if not isinstance(charged, Charged):
            return "deny", {charged.charge.rule}
    return expect, {reason.rule for reason in decision.reasons}


def without_cases(draft: Draft) -> list[str]:
    """Name the tools with rules of which no case shows what passes, or none what does not."""
    cases = [case for case in read_cases(draft) if "sequence" not in case]
    return [each.tool.name for each in draft.tools if each.guards and not _is_shown(each, cases)]


def _is_shown(each: DraftedTool, cases: Sequence[Case]) -> bool:
    rules = {rule for rule, _ in each.guards}
    stopped = [not rules.isdisjoint(case.get("because", ())) for case in cases if case["tool"] == each.tool.name]
    return any(stopped) and not all(stopped)
