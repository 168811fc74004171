"""Plans sequences of calls that use a limit up, and what comes after: refused, then passing again.

Counts by itself, from the description of the language, and plans only steps about which there is no doubt: what happens just at the end
of a window is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

from mcpguard.policy.model import Limit
from mcpguard.proof.dues import AnyLimit, Due, cost_of, dues_of

if TYPE_CHECKING:
    from mcpguard.proof.search import Arguments

Number: TypeAlias = int | Decimal
MOST_CALLS: Final = 1000
_MOST_WAITS: Final = 60
_LONGEST_S: Final = 900_000_000
_FINEST: Final = 60_000
"""Large sums are counted in steps of about this part of their window."""


@dataclass(frozen=True, slots=True)
class Step:
    """So many equal calls after a time: all of them pass, or all are refused because of the limit."""

    name: str
    arguments: Arguments
    times: int
    after_s: int
    passes: bool


@dataclass(frozen=True, slots=True)
class Helper:
    """Calls of this tool under another key, or of another tool, that are charged on the same counter."""

    name: str
    arguments: Arguments
    limits: Sequence[tuple[str, AnyLimit]]

    def dues(self) -> list[Due]:
        """Say what such a call owes."""
        return dues_of(self.limits, self.arguments, self.name)


@dataclass(frozen=True, slots=True)
class Spender:
    """The calls of a tool (or the uses of a resource or prompt) as limits see them.

    `costing(amount)` gives arguments of calls that pass all rules and cost so much on the limit in question, `keyed()` some that are counted
    apart from `base`; None where there are none.  `helpers` are other calls that are charged on the same counters.
    """

    name: str
    base: Arguments
    limits: Sequence[tuple[str, AnyLimit]]
    costing: Callable[[Number], Arguments | None]
    keyed: Callable[[], tuple[str, Arguments] | None]
    helpers: Callable[[], Sequence[Helper]] = tuple


@dataclass(slots=True)
class _Ledger:
    """What was spent when, in seconds."""

    spent: dict[tuple[str, str], dict[int, Number]] = field(default_factory=dict)

    def add(self, due: Due, now: int) -> None:
        times = self.spent.setdefault(due.counter, {})
        times[now] = times.get(now, 0) + due.amount

    def surely_fits(self, due: Due, now: int) -> bool:
        used = sum(amount for at, amount in self._of(due) if now - at <= due.window_s + slack_s(due.window_s))
        return used + due.amount <= due.max

    def surely_exceeds(self, due: Due, now: int) -> bool:
        return self.used(due, now) + due.amount > due.max

    def used(self, due: Due, now: int) -> Number:
        """Give what surely counts now."""
        counting = 1 if due.calendar else due.window_s
        return sum(amount for at, amount in self._of(due) if now - at < counting)

    def _of(self, due: Due) -> Sequence[tuple[int, Number]]:
        return [*self.spent.get(due.counter, {}).items()]


def slack_s(window_s: int) -> int:
    """Give how long after the end of its window a call may still count."""
    return window_s // _FINEST


def sequence_for(spender: Spender, place: str) -> list[Step] | str:
    """Plan calls of which the last but few is refused because of the limit at `place` alone; or say why that cannot be."""
    plan = _Plan(spender, place)
    problem = plan.use_up()
    if problem:
        # Where another limit of the tool is in the way, other calls may use this one up.
        plan = _Plan(spender, place)
        if not plan.use_up_with(spender.helpers()):
            return problem
    plan.look_afterwards()
    return plan.steps


class _Plan:
    """A sequence in the making."""

    def __init__(self, spender: Spender, place: str) -> None:
        self.steps: list[Step] = []
        self._spender = spender
        self._place = place
        self._limit = dict(spender.limits)[place]
        self._ledger = _Ledger()
        self._now = 0

    def use_up(self) -> str:
        """Plan the calls up to the first that is refused; or say why there is none."""
        large = self._largest()
        if large is None:
            return "no call was found that costs something and that every rule lets pass"
        wait = waits = 0
        for _ in range(MOST_CALLS + _MOST_WAITS):
            arguments = self._next(large)
            dues = dues_of(self._spender.limits, arguments, self._spender.name)
            target = next((due for due in dues if due.rule == self._place), None)
            if target is None:
                return "another limit of the same counter is stricter, or as strict"
            full = [due for due in dues if not self._ledger.surely_fits(due, self._now)]
            if not full:
                self._spend(dues)
                self._append(Step(self._spender.name, arguments, 1, wait, passes=True))
                wait = 0
            elif full == [target] and self._ledger.surely_exceeds(target, self._now):
                self._append(Step(self._spender.name, arguments, 1, wait, passes=False))
                return ""
            else:
                window = max((due.window_s for due in full if due is not target), default=0)
                waits += 1
                if not window or waits > _MOST_WAITS or wait + window > _LONGEST_S:
                    break
                wait += window + slack_s(window) + 1
                self._now += window + slack_s(window) + 1
        return f"it takes more than {MOST_CALLS} calls to use it up, or other limits stop them before"

    def use_up_with(self, helpers: Sequence[Helper]) -> bool:
        """Plan calls of others up to the first of this tool that is refused; or say that there is no such plan."""
        own = Helper(self._spender.name, self._spender.base, self._spender.limits)
        last = [own, *(each for each in helpers if each.name == own.name)]
        for _ in range(MOST_CALLS):
            for final in last:
                dues = final.dues()
                full = [due for due in dues if not self._ledger.surely_fits(due, self._now)]
                if [due.rule for due in full] == [self._place] and self._ledger.surely_exceeds(full[0], self._now):
                    self._append(Step(final.name, final.arguments, 1, 0, passes=False))
                    return True
            target = next((due for due in own.dues() if due.rule == self._place), None)
            if target is None:
                return False
            # The last call that fits is of this tool, too: it shows that the limit is no smaller.
            is_last = self._ledger.used(target, self._now) + 2 * target.amount > target.max
            for helper in [own, *helpers] if is_last else helpers:
                dues = helper.dues()
                charges = any(due.counter == target.counter for due in dues)
                if charges and all(self._ledger.surely_fits(due, self._now) for due in dues):
                    self._spend(dues)
                    self._append(Step(helper.name, helper.arguments, 1, 0, passes=True))
                    break
            else:
                return False
        return False

    def look_afterwards(self) -> None:
        """Add that other keys still pass, that the window is not over before its end, and that it is over after it."""
        refused, window = self.steps[-1], self._limit.window
        other = self._spender.keyed()
        if other is not None:
            name, arguments = other
            dues = dues_of(self._spender.limits, arguments, name)
            if all(self._ledger.surely_fits(due, self._now) for due in dues):
                self.steps.append(Step(name, arguments, 1, 0, passes=True))
                self._spend(dues)
        dues = dues_of(self._spender.limits, refused.arguments, refused.name)
        waited = 0
        for after, passes in ((window - 1, False), (window + slack_s(window) + 1, True)):
            full = {due.rule for due in dues if not self._ledger.surely_fits(due, self._now + after)}
            exceeds = [due.rule for due in dues if self._ledger.surely_exceeds(due, self._now + after)]
            as_wished = not full if passes else full == {self._place} and exceeds == [self._place]
            if waited < after <= _LONGEST_S and as_wished:
                self.steps.append(Step(refused.name, refused.arguments, 1, after - waited, passes=passes))
                waited = after

    def _spend(self, dues: Sequence[Due]) -> None:
        for due in dues:
            self._ledger.add(due, self._now)

    def _append(self, step: Step) -> None:
        last = self.steps[-1] if self.steps else None
        is_same = last is not None and (last.name, last.arguments) == (step.name, step.arguments)
        if last is not None and is_same and not step.after_s and last.passes is step.passes:
            self.steps[-1] = Step(last.name, last.arguments, last.times + 1, last.after_s, last.passes)
        else:
            self.steps.append(step)

    def _largest(self) -> Arguments | None:
        """Give the call that costs most and still fits, or any call if calls are counted; None if nothing that costs passes."""
        limit = self._limit
        if not isinstance(limit, Limit) or limit.cost is None:
            return self._spender.base
        own = cost_of(limit, self._spender.base) or 0
        for amount in sorted({limit.max, *_parts(limit.max), own, 1}, reverse=True):
            if 0 < amount <= max(limit.max, 1) and (found := self._spender.costing(amount)) is not None:
                return found
        return None

    def _next(self, large: Arguments) -> Arguments:
        """Give the call that is to come: as large as what is left, if such a one passes."""
        if not isinstance(self._limit, Limit) or self._limit.cost is None:
            return large
        due = next(
            (due for due in dues_of(self._spender.limits, large, self._spender.name) if due.rule == self._place), None
        )
        if due is None:
            return large
        left = due.max - self._ledger.used(due, self._now)
        if left >= due.amount:
            return large
        return self._spender.costing(left if left > 0 else 1) or large


def _parts(most: int) -> Iterator[int]:
    """Give round parts of a maximum."""
    for count in (2, 3, 5, 10, 20, 50, 100, 200, 500, MOST_CALLS):
        yield most // count
