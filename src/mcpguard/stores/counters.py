"""Keeps the counters that limits are charged on.

Knows the obligations of a decision and nothing of policies or calls.  Reads no clock: `now_ns` is an argument, in
nanoseconds of a clock that never goes back and counts sleep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mcpguard.policy.limits import NS_PER_S, Log, open_log

if TYPE_CHECKING:
    from mcpguard.policy.decision import Charge


@dataclass(frozen=True, slots=True)
class Charged:
    """Every charge fits, and was made if it was to be made."""


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Nothing was charged, because `charge` does not fit; if several do not, it is the one that fits last.

    `retry_after_ns` is the time after which it fits if nobody else comes, None for never.  `remaining` is what is left
    for it now.
    """

    charge: Charge
    retry_after_ns: int | None
    remaining: int


CHARGED = Charged()


class CounterStore(Protocol):
    """What every store of counters promises.

    Counters live by name and scope.  They survive a policy that changes: where the window or the maximum of a counter
    differs from what it was, the limit that is asked about now is applied to what is remembered.
    """

    def charge(self, charges: tuple[Charge, ...], now_ns: int) -> Charged | Exhausted:
        """Make all of `charges` or none; those of one counter are one, against the smallest maximum."""
        ...

    def peek(self, charges: tuple[Charge, ...], now_ns: int) -> Charged | Exhausted:
        """Answer what `charge` would, and spend nothing."""
        ...


class MemoryCounters:
    """Counters that live as long as this object.

    Not safe for threads by itself: one thread charges, or a lock is held by whoever calls.
    """

    __slots__ = ("_logs",)

    def __init__(self) -> None:
        self._logs: dict[tuple[str, str], Log] = {}

    def charge(self, charges: tuple[Charge, ...], now_ns: int) -> Charged | Exhausted:
        """Make all of `charges` or none; those of one counter are one, against the smallest maximum."""
        if len(charges) == 1:
            charge = charges[0]
            window_ns = charge.window_s * NS_PER_S
            log = self._log(charge, window_ns)
            if log.fits(now_ns, window_ns, charge.max):
                log.add(now_ns)
                return CHARGED
            return _exhausted(charge, log, now_ns)
        due = self._due(charges)
        answer = _judged(due, now_ns)
        if answer is CHARGED:
            for _, log in due:
                log.add(now_ns)
        return answer

    def peek(self, charges: tuple[Charge, ...], now_ns: int) -> Charged | Exhausted:
        """Answer what `charge` would, and spend nothing."""
        return _judged(self._due(charges), now_ns)

    def _log(self, charge: Charge, window_ns: int) -> Log:
        key = (charge.scope, charge.counter)
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = open_log(window_ns, charge.max)
        elif not log.serves(window_ns, charge.max):
            log = self._logs[key] = log.widened(window_ns, charge.max)
        return log

    def _due(self, charges: tuple[Charge, ...]) -> list[tuple[Charge, Log]]:
        strictest: dict[tuple[str, str], Charge] = {}
        for charge in charges:
            key = (charge.scope, charge.counter)
            known = strictest.get(key)
            if known is None or charge.max < known.max:
                strictest[key] = charge
        return [(charge, self._log(charge, charge.window_s * NS_PER_S)) for charge in strictest.values()]


def _judged(due: list[tuple[Charge, Log]], now_ns: int) -> Charged | Exhausted:
    failed = [
        _exhausted(charge, log, now_ns)
        for charge, log in due
        if not log.fits(now_ns, charge.window_s * NS_PER_S, charge.max)
    ]
    return max(failed, key=_wait) if failed else CHARGED


def _exhausted(charge: Charge, log: Log, now_ns: int) -> Exhausted:
    window_ns = charge.window_s * NS_PER_S
    retry_after_ns = log.retry_after(now_ns, window_ns, charge.max)
    return Exhausted(charge, retry_after_ns, log.remaining(now_ns, window_ns, charge.max))


def _wait(exhausted: Exhausted) -> tuple[bool, int]:
    return exhausted.retry_after_ns is None, exhausted.retry_after_ns or 0
