"""Adds cases to those of a policy until its small changes are noticed, or nothing more is found that would notice them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mcpguard.proof.cases import AnyCase, CasesFile
from mcpguard.proof.judge import NOWHERE, Surroundings
from mcpguard.proof.noticing import Suggestions, Written
from mcpguard.proof.survivors import notices, survey

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.evaluate import Policy

_MOST_ROUNDS: Final = 3
"""What cases try, mutants let pass: so more cases make other mutants."""


def completed(
    policy: Policy, cases: Sequence[Written], tools: Sequence[Tool] = (), surroundings: Surroundings = NOWHERE
) -> list[Written]:
    """Return the cases, which all hold, and behind them as few more as it takes to notice what can be noticed."""
    suggestions = Suggestions(policy, tools, surroundings)
    written = list(cases)
    read = _read(written)
    for _ in range(_MOST_ROUNDS):
        added: list[AnyCase] = []
        for mutant in survey(policy.document, read, surroundings).survivors:
            if notices(mutant, added, surroundings):
                continue
            suggested = suggestions.for_mutant(mutant)
            if suggested is not None:
                written.append(suggested)
                added += _read([suggested])
        if not added:
            break
        read += added
    return written


def _read(written: Sequence[Written]) -> list[AnyCase]:
    return list(CasesFile.model_validate({"cases": list(written)}).cases)
