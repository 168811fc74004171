"""Keeps the counters that limits are charged on.

Knows the obligations of a decision and nothing of policies or calls.  Reads no clock: `now_ns` is an argument, in
nanoseconds of a clock that never goes back and counts sleep.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from mcpguard.policy.limits import NS_PER_S, BucketLog, ExactLog, Log, open_log
from mcpguard.policy.sums import Amount, CalendarSum, exact, summing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from mcpguard.policy.decision import Charge


@dataclass(frozen=True, slots=True)
class Charged:
    """Every charge fits, and was made if it was to be made."""


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Nothing was charged, because `charge` does not fit; if several do not, it is the one that fits last.

    `retry_after_ns` is the time after which it fits if nobody else comes, None for never.  `remaining` is what is left
    for it now, rounded down.  `full` says that the counter has too many keys to take a new one.
    """

    charge: Charge
    retry_after_ns: int | None
    remaining: int
    full: bool = False


CHARGED = Charged()
MAX_KEYS: Final = 1_000_000
_MAX_PLAIN: Final = 4096


class CounterStore(Protocol):
    """What every store of counters promises.

    Counters live by name, scope and key.  They survive a policy that changes: where the window or the maximum of a counter
    differs from what it was, the limit that is asked about now is applied to what is remembered.  `wall_ns` is the time of
    day, in nanoseconds since 1970 (UTC), for charges that follow the calendar.  Keys that count are never forgotten: where
    there are too many, new ones are refused.
    """

    def charge(self, charges: tuple[Charge, ...], now_ns: int, wall_ns: int = 0) -> Charged | Exhausted:
        """Make all of `charges` or none; those of one counter are one, the larger amount against the smaller maximum."""
        ...

    def peek(self, charges: tuple[Charge, ...], now_ns: int, wall_ns: int = 0) -> Charged | Exhausted:
        """Answer what `charge` would, and spend nothing."""
        ...

    def refund(self, charges: tuple[Charge, ...], now_ns: int, wall_ns: int = 0) -> None:
        """Take back what `charge` made of these very arguments; in doubt something stays charged, never the other way round."""
        ...


class MemoryCounters:
    """Counters that live as long as this object.

    Not safe for threads by itself: one thread charges, or a lock is held by whoever calls.  A call without `wall_ns` is
    refused sooner than it should be by limits that follow the calendar, never later.
    """

    __slots__ = ("_calendars", "_keyed", "_logs", "_max_keys", "_plain", "keys")

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self.keys = 0
        """How many keys are remembered."""
        self._max_keys = max_keys
        self._logs: dict[tuple[str, str], Log] = {}
        self._calendars: dict[tuple[str, str], Log] = {}
        self._keyed: dict[tuple[str, str, bool], _Keyed] = {}
        self._plain: dict[int, tuple[ExactLog | BucketLog, int, Charge]] = {}

    def charge(self, charges: tuple[Charge, ...], now_ns: int, wall_ns: int = 0) -> Charged | Exhausted:
        """Make all of `charges` or none; those of one counter are one, the larger amount against the smaller maximum."""
        if len(charges) == 1:
            charge = charges[0]
            known = self._plain.get(id(charge))
            if known is None:
                known = self._remembered(charge)
            if known is not None and known[0].take(now_ns, known[1], charge.max):
                return CHARGED
        due = self._due(charges, now_ns, wall_ns)
        answer = self._judged(due)
        if answer is CHARGED:
            for each in due:
                each.add()
                if each.new_in is not None:
                    self.keys += 1
                    each.new_in.keep_new(each)
        return answer

    def peek(self, charges: tuple[Charge, ...], now_ns: int, wall_ns: int = 0) -> Charged | Exhausted:
        """Answer what `charge` would, and spend nothing."""
        return self._judged(self._due(charges, now_ns, wall_ns))

    def refund(self, charges: tuple[Charge, ...], now_ns: int, wall_ns: int = 0) -> None:
        """Take back what `charge` made of these very arguments; in doubt something stays charged, never the other way round."""
        for charge, most in _joined(charges):
            now, amount = wall_ns if charge.calendar else now_ns, exact(most)
            if charge.key is not None:
                keyed = self._keyed.get((charge.scope, charge.counter, charge.calendar))
                if keyed is not None:
                    self.keys -= keyed.take_back(charge, charge.key, now, amount)
                continue
            log = (self._calendars if charge.calendar else self._logs).get((charge.scope, charge.counter))
            if log is not None:
                _take_back(log, charge, now, amount)

    def _remembered(self, charge: Charge) -> tuple[ExactLog | BucketLog, int, Charge] | None:
        """Give the log and the window (ns) of a charge that is one of one for all; None if it is another kind.

        Most charges are the same object, call for call, so what is found is kept by it, and the charge with it: an address is not
        used again while somebody holds what lives there.
        """
        if charge.key is not None or charge.amount != 1 or charge.calendar:
            return None
        window_ns = charge.window_s * NS_PER_S
        log = self._log(charge, window_ns)
        if not isinstance(log, ExactLog | BucketLog):
            return None
        if len(self._plain) >= _MAX_PLAIN:
            self._plain.clear()
        found = self._plain[id(charge)] = (log, window_ns, charge)
        return found

    def _log(self, charge: Charge, window_ns: int) -> Log:
        key = (charge.scope, charge.counter)
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = open_log(window_ns, charge.max)
        elif not log.serves(window_ns, charge.max):
            log = self._logs[key] = log.widened(window_ns, charge.max)
            self._plain.clear()
        return log

    def _due(self, charges: tuple[Charge, ...], now_ns: int, wall_ns: int) -> list[_Due]:
        return [
            self._place(charge, exact(amount), wall_ns if charge.calendar else now_ns)
            for charge, amount in _joined(charges)
        ]

    def _place(self, charge: Charge, amount: Amount, now: int) -> _Due:
        window_ns = charge.window_s * NS_PER_S
        if charge.key is not None:
            name = (charge.scope, charge.counter, charge.calendar)
            keyed = self._keyed.get(name)
            if keyed is None:
                keyed = self._keyed[name] = _Keyed()
            # Two go for each that comes, so that what is dead does not pile up.
            self.keys -= keyed.drop_dead(charge, now, 2)
            log = keyed.find(charge, charge.key)
            if log is not None:
                return _Due(charge, keyed.summing(charge.key, log, amount, window_ns), now, amount, None)
            log = _open(charge, window_ns)
            return _Due(charge, log if amount == 1 else summing(log, window_ns), now, amount, keyed)
        if charge.calendar:
            return _Due(
                charge, self._calendars.setdefault((charge.scope, charge.counter), CalendarSum()), now, amount, None
            )
        log = self._log(charge, window_ns)
        if amount != 1:
            log = self._logs[charge.scope, charge.counter] = summing(log, window_ns)
            self._plain.clear()
        return _Due(charge, log, now, amount, None)

    def _judged(self, due: list[_Due]) -> Charged | Exhausted:
        failed = [each.exhausted() for each in due if not each.fits()]
        new = [each for each in due if each.new_in is not None]
        if new and not failed and self.keys + len(new) > self._max_keys:
            for each in new:
                assert each.new_in is not None
                self.keys -= each.new_in.drop_dead(each.charge, each.now, self._max_keys)
            if self.keys + len(new) > self._max_keys:
                failed = [Exhausted(new[0].charge, new[0].charge.window_s * NS_PER_S, 0, full=True)]
        return max(failed, key=_wait) if failed else CHARGED


class _Keyed:
    """The logs of one counter, key by key.

    Those charged last stand last, so whatever is dead stands at the front.  A key that was charged once is only the instant:
    most keys never are more, and a million of them should fit.
    """

    __slots__ = ("_logs",)

    def __init__(self) -> None:
        self._logs: OrderedDict[str, int | Log] = OrderedDict()

    def find(self, charge: Charge, key: str) -> Log | None:
        """Give the log of a key, able to serve the charge."""
        known = self._logs.get(key)
        window_ns = charge.window_s * NS_PER_S
        if known is None:
            return None
        if isinstance(known, int):
            log = _open(charge, window_ns)
            log.add(known)
        elif known.serves(window_ns, charge.max):
            log = known
        else:
            log = known.widened(window_ns, charge.max)
        self._logs[key] = log
        return log

    def summing(self, key: str, log: Log, amount: Amount, window_ns: int) -> Log:
        """Give a log of a key that can add up the amount, and let the key stand last."""
        if amount != 1:
            log = self._logs[key] = summing(log, window_ns)
        self._logs.move_to_end(key)
        return log

    def keep_new(self, due: _Due) -> None:
        """Remember a key that was charged for the first time."""
        assert due.charge.key is not None
        brief = due.amount == 1 and not due.charge.calendar
        self._logs[due.charge.key] = due.now if brief else due.log

    def take_back(self, charge: Charge, key: str, now: int, amount: Amount) -> int:
        """Undo what was charged on a key at `now`; give how many keys are forgotten because nothing else is known of them."""
        known = self._logs.get(key)
        if known is None or (isinstance(known, int) and known != now):
            return 0
        if not isinstance(known, int):
            _take_back(known, charge, now, amount)
            if not known.is_empty():
                return 0
        del self._logs[key]
        return 1

    def drop_dead(self, charge: Charge, now: int, most: int) -> int:
        """Forget up to `most` keys that count no more; give how many it were."""
        window_ns = charge.window_s * NS_PER_S
        dropped = 0
        while self._logs and dropped < most:
            first = next(iter(self._logs.values()))
            if now < first + window_ns if isinstance(first, int) else first.remaining(now, window_ns, 1) < 1:
                break
            self._logs.popitem(last=False)
            dropped += 1
        return dropped


@dataclass(slots=True)
class _Due:
    """One charge and the log that it is to be made on; `new_in` is where the key belongs if nobody knows it yet."""

    charge: Charge
    log: Log
    now: int
    amount: Amount
    new_in: _Keyed | None

    def fits(self) -> bool:
        charge = self.charge
        return self.log.fits(self.now, charge.window_s * NS_PER_S, charge.max, *self._more())

    def add(self) -> None:
        self.log.add(self.now, *self._more())

    def exhausted(self) -> Exhausted:
        charge, window_ns = self.charge, self.charge.window_s * NS_PER_S
        wait_ns = self.log.retry_after(self.now, window_ns, charge.max, *self._more())
        return Exhausted(charge, wait_ns, int(self.log.remaining(self.now, window_ns, charge.max)))

    def _more(self) -> tuple[()] | tuple[Amount]:
        return () if self.amount == 1 else (self.amount,)


def _open(charge: Charge, window_ns: int) -> Log:
    return CalendarSum() if charge.calendar else open_log(window_ns, charge.max)


def _joined(charges: tuple[Charge, ...]) -> Iterable[tuple[Charge, int | Decimal]]:
    """Give each counter that is charged once, with the smallest maximum and the largest amount that it was named with."""
    joined: dict[tuple[str, str, str | None], tuple[Charge, int | Decimal]] = {}
    for charge in charges:
        place = (charge.scope, charge.counter, charge.key)
        known, amount = joined.get(place, (charge, charge.amount))
        joined[place] = (charge if charge.max < known.max else known, max(amount, charge.amount))
    return joined.values()


def _take_back(log: Log, charge: Charge, now: int, amount: Amount) -> None:
    log.take_back(now, charge.window_s * NS_PER_S, *(() if amount == 1 else (amount,)))


def _wait(exhausted: Exhausted) -> tuple[bool, int]:
    return exhausted.retry_after_ns is None, exhausted.retry_after_ns or 0
