"""Finds the small changes of a policy that none of its cases would notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from mcpguard.errors import PolicyError
from mcpguard.policy.compile import compile_policy
from mcpguard.proof.cases import calls_of
from mcpguard.proof.judge import NOWHERE, Surroundings, judge
from mcpguard.proof.mutants import Mutant, mutants_of

if TYPE_CHECKING:
    from mcpguard.policy.model import PolicyFile
    from mcpguard.proof.cases import AnyCase

_ORDER: Final = ("looser", "either", "stricter")


@dataclass(frozen=True, slots=True)
class Survey:
    """What became of the mutants of a policy.

    `total` of them load, and `skipped` do not.  The survivors are those that no case noticed: what may let more calls pass comes first.
    """

    total: int
    skipped: int
    survivors: tuple[Mutant, ...]

    @property
    def noticed(self) -> int:
        """How many made a case fail."""
        return self.total - len(self.survivors)


def survey(policy: PolicyFile, cases: Sequence[AnyCase], surroundings: Surroundings = NOWHERE) -> Survey:
    """Judge the cases, which all hold, by every mutant of a policy until one does not hold."""
    total, skipped = 0, 0
    survivors: list[Mutant] = []
    # Those of one entry come one after the other, and touch the same cases.
    for _, mutants in groupby(mutants_of(policy, cases, surroundings.resolve), attrgetter("touches")):
        touched: list[AnyCase] | None = None
        for mutant in mutants:
            touched = [case for case in cases if mutant.concerns(case)] if touched is None else touched
            noticed = _notice(mutant, touched, surroundings)
            if noticed is None:
                skipped += 1
                continue
            total += 1
            if not noticed:
                survivors.append(mutant)
    survivors.sort(key=lambda mutant: _ORDER.index(mutant.direction))
    return Survey(total, skipped, tuple(survivors))


def notices(mutant: Mutant, cases: Sequence[AnyCase], surroundings: Surroundings = NOWHERE) -> bool | None:
    """Whether a case does not hold any more; None if the mutant is no policy."""
    return _notice(mutant, [case for case in cases if mutant.concerns(case)], surroundings)


def _notice(mutant: Mutant, touched: Sequence[AnyCase], surroundings: Surroundings) -> bool | None:
    try:
        policy = compile_policy(mutant.document([call for case in touched for call in calls_of(case)]))
    except (ValidationError, PolicyError):
        return None
    # Those that name the rule know most about it.
    likely_first = sorted(
        touched,
        key=lambda case: not any(rule.startswith(mutant.rule) for call in calls_of(case) for rule in call.because),
    )
    return any(not judge(policy, case, surroundings, mutant.place_of).holds for case in likely_first)
