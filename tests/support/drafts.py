"""Judges drafts of policies as their owners would: do they load, fit the tools, and do what their cases say?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jiter
from jsonschema_rs import Draft202012Validator

from mcpguard.cli.json_lines import json_lines
from mcpguard.errors import PolicyError
from mcpguard.inventory.cases import draft_cases, lexical
from mcpguard.inventory.check import check_tools
from mcpguard.policy.check import check_policy
from mcpguard.proof.cases import Sequence, load_cases
from mcpguard.proof.judge import Surroundings, judge
from mcpguard.stores.files import load_policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as Many
    from pathlib import Path

    from mcpguard.inventory.draft import Draft, DraftedTool
    from mcpguard.inventory.tools import Tool
    from mcpguard.stores.files import LoadedPolicy

Case = dict[str, Any]


def faults_of(draft: Draft, tools: Many[Tool], file: Path) -> list[str]:
    """List what is wrong with a draft for `tools`, written to `file` and read again: none if it is as it should be."""
    file.write_text(json_lines(draft.document) + "\n", encoding="utf-8")
    try:
        loaded = load_policy(file)
    except PolicyError as error:
        return [str(finding) for finding in error.findings]
    assert loaded.policy == draft.policy
    found = [*check_policy(loaded.document), *check_tools(loaded.document, loaded.policy, tools)]
    return [
        *(f"{each.code} {each.rule}: {each.message}" for each in found),
        *wrong_cases(loaded, draft, {tool.name: tool for tool in tools}),
    ]


def read_cases(draft: Draft) -> list[Case]:
    """Write the cases of a draft and read them again, as another program would."""
    cases: list[Case] = jiter.from_json(json_lines(draft_cases(draft)).encode(), float_mode="decimal")["cases"]
    return cases


def wrong_cases(policy: LoadedPolicy, draft: Draft, tools: dict[str, Tool]) -> Iterator[str]:
    """Yield the cases that do not hold once they were written and read again, or that the server itself would not take."""
    file = policy.path.with_suffix(".test.json")
    file.write_text(json_lines(draft_cases(draft)) + "\n", encoding="utf-8")
    for case in load_cases(file, policy.document).cases:
        for call in case.sequence if isinstance(case, Sequence) else (case,):
            validator = Draft202012Validator(dict(tools[call.tool].input_schema), offline=True)
            if not validator.is_valid(call.arguments):
                yield f"no valid arguments: {call}"
        result = judge(policy.policy, case, Surroundings(lexical))
        if not result.holds:
            yield f"judged {result.outcomes[-1]}: {case}"


def without_cases(draft: Draft) -> list[str]:
    """Name the tools with rules of which no case shows what passes, or none what does not."""
    cases = [case for case in read_cases(draft) if "sequence" not in case]
    return [each.tool.name for each in draft.tools if each.guards and not _is_shown(each, cases)]


def _is_shown(each: DraftedTool, cases: Many[Case]) -> bool:
    rules = {rule for rule, _ in each.guards}
    stopped = [not rules.isdisjoint(case.get("because", ())) for case in cases if case["tool"] == each.tool.name]
    return any(stopped) and not all(stopped)
