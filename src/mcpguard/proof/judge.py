"""Says what a policy makes of a case, and whether that is what the case expects.

Peeks, asks and charges as the guard does, under a clock that starts with every case and moves only where the case says so.  A person who
is asked approves at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mcpguard.policy.charging import used_up
from mcpguard.policy.decision import Decision, Reason, unresolvable
from mcpguard.policy.evaluate import evaluate
from mcpguard.proof.cases import Step, calls_of
from mcpguard.stores.counters import Exhausted, MemoryCounters

if TYPE_CHECKING:
    from mcpguard.policy.decision import Category, Charge
    from mcpguard.policy.evaluate import Policy
    from mcpguard.proof.cases import AnyCase, Case, Expectation

START_NS: Final = 1_767_571_200 * 1_000_000_000
"""Monday, 2026-01-05, 00:00 UTC: every window that follows the calendar begins here."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one call, and every reason against it."""

    effect: Expectation
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case.

    `outcomes` has one for each step that was judged (a case that is no sequence is one step): of its last call, or of the first that
    was not judged as expected.  Nothing is judged after such a one; `call` is its number in the sequence, from 1, and 0 if
    there is none.
    """

    outcomes: tuple[Outcome, ...]
    call: int = 0

    @property
    def holds(self) -> bool:
        """Whether everything was judged as expected."""
        return not self.call


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a judgement asks of the world: where paths lead, and the risk categories that a list shows."""

    resolve: Callable[[str], str | None] = unresolvable
    categories: Mapping[str, Category] = field(default_factory=dict)


NOWHERE: Final = Surroundings()


def judge(
    policy: Policy,
    case: AnyCase,
    surroundings: Surroundings = NOWHERE,
    place_of: Callable[[str], str] = lambda rule: rule,
) -> Result:
    """Judge a case, with empty counters at the beginning.

    `place_of` gives the pointer under which a case knows a rule of the policy.
    """
    session = Session(policy, surroundings)
    outcomes: list[Outcome] = []
    calls = 0
    for step in calls_of(case):
        times, after_ns = (step.times, step.after) if isinstance(step, Step) else (1, 0)
        session.wait(after_ns)
        outcome, made = session.call(step, times, place_of)
        calls += made
        outcomes.append(outcome)
        if not is_expected(step, outcome, place_of):
            return Result(tuple(outcomes), calls)
    return Result(tuple(outcomes))


def is_expected(case: Case, outcome: Outcome, place_of: Callable[[str], str] = lambda rule: rule) -> bool:
    """Whether a call was judged as its case says: the effect, and every rule that it names."""
    if outcome.effect != case.expect:
        return False
    return not case.because or {place_of(reason.rule) for reason in outcome.reasons}.issuperset(case.because)


class Session:
    """A run of the guard with counters of its own: what was charged stays charged."""

    def __init__(self, policy: Policy, surroundings: Surroundings = NOWHERE) -> None:
        self._policy = policy
        self._surroundings = surroundings
        self._counters: MemoryCounters | None = None
        self._passed_ns = 0

    def wait(self, time_ns: int) -> None:
        """Let time pass, on the clock of windows that slide and on that of the calendar."""
        self._passed_ns += time_ns

    def call(
        self, case: Case, times: int = 1, place_of: Callable[[str], str] = lambda rule: rule
    ) -> tuple[Outcome, int]:
        """Make equal calls until one is not judged as expected; give the outcome of the last, and how many were made."""
        decision = evaluate(self._policy, case.call(self._surroundings.resolve, self._surroundings.categories))
        effect = _effect_of(decision)
        if effect in {"deny", "hide"} or not decision.charges:
            outcome = Outcome(effect, decision.reasons)
            return outcome, times if is_expected(case, outcome, place_of) else 1
        passing, made = Outcome(effect, decision.reasons), 0
        outcome = passing
        while made < times and (not made or is_expected(case, outcome, place_of)):
            made += 1
            refused = self._charge(decision.charges)
            # What does not fit is not asked about.
            outcome = passing if refused is None else Outcome("deny", (refused, *decision.reasons))
        return outcome, made

    def _charge(self, charges: tuple[Charge, ...]) -> Reason | None:
        """Make all charges or none; give the limit that does not allow them."""
        if self._counters is None:
            self._counters = MemoryCounters()
        outcome = self._counters.charge(charges, START_NS + self._passed_ns, START_NS + self._passed_ns)
        if not isinstance(outcome, Exhausted):
            return None
        said = used_up(outcome.charge, full=outcome.full, never=outcome.retry_after_ns is None)
        return Reason("rate_limited", outcome.charge.rule, said)


def _effect_of(decision: Decision) -> Expectation:
    return "approve" if decision.awaits_approval else decision.effect
