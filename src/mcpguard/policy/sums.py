"""Adds up what was admitted: any amounts in a sliding window, and amounts or calls in the present window of a calendar.

Sums are exact.  Reads no clock: `now` is an argument, monotonic nanoseconds for what slides, wall-clock nanoseconds since
1970 for calendars.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from mcpguard.policy.limits import EXACT_UP_TO, NS_PER_S, Log

if TYPE_CHECKING:
    from fractions import Fraction

Amount: TypeAlias = "int | Fraction"

_WEEK_NS = 604_800 * NS_PER_S
_MONDAY_NS = 4 * 86_400 * NS_PER_S
"""The first Monday after 1970-01-01, which was a Thursday."""


def exact(amount: int | Decimal) -> Amount:
    """Turn an amount into a number whose sums are exact, however long they get."""
    if isinstance(amount, int):
        return amount
    from fractions import Fraction

    return Fraction(amount)


def summing(log: Log, window_ns: int) -> Log:
    """Return a log with the same events that takes any amounts."""
    if isinstance(log, (SlidingSum, CalendarSum)):
        return log
    sliding = SlidingSum(window_ns)
    for instant, amount in log.events():
        sliding.add(instant, amount)
    return sliding


class SlidingSum:
    """Amounts in a sliding window.

    As in a log of many calls, arrivals within the window's 65,536th part count as if they had come with the latest of
    them: memory is bounded, and an amount may count that much too long, never too short.
    """

    __slots__ = ("_entries", "_forgotten", "_horizon_ns", "_total")

    def __init__(self, window_ns: int) -> None:
        self._horizon_ns = window_ns
        self._entries: deque[_Entry] = deque()
        self._forgotten: Amount = 0
        self._total: Amount = 0

    def serves(self, window_ns: int, max_calls: int) -> bool:  # noqa: ARG002 - it serves any maximum
        """Whether the log remembers enough for such a limit."""
        return window_ns <= self._horizon_ns

    def widened(self, window_ns: int, max_calls: int) -> SlidingSum:  # noqa: ARG002 - it serves any maximum
        """Return this very log, which looks back as far as such a limit asks from now on."""
        self._horizon_ns = max(window_ns, self._horizon_ns)
        return self

    def events(self) -> Iterator[tuple[int, Amount]]:
        """Yield when what still counts came, and how much it was."""
        before = self._forgotten
        for entry in self._entries:
            yield entry.latest, entry.total - before
            before = entry.total

    def fits(self, now: int, window_ns: int, max_calls: int, amount: Amount = 1) -> bool:
        """Whether `amount` more at `now` keeps the limit."""
        return self._live(now, window_ns) + amount <= max_calls

    def add(self, now: int, amount: Amount = 1) -> None:
        """Record an amount at `now`."""
        self._total += amount
        entries = self._entries
        if entries and now - entries[-1].start <= self._horizon_ns // EXACT_UP_TO:
            entries[-1].latest = now
            entries[-1].total = self._total
        else:
            entries.append(_Entry(now, self._total))

    def take_back(self, now: int, window_ns: int, amount: Amount = 1) -> None:  # noqa: ARG002 - a place is one in any window
        """Undo one `add` at `now`; what shared its place counts as if it had come with it."""
        entries = self._entries
        at = bisect_right(entries, now, key=_start) - 1
        if at < 0 or entries[at].latest < now:
            return
        for index in range(at, len(entries)):
            entries[index].total -= amount
        self._total -= amount
        if entries[at].total == (entries[at - 1].total if at else self._forgotten):
            del entries[at]

    def is_empty(self) -> bool:
        """Whether nothing is remembered."""
        return not self._entries

    def retry_after(self, now: int, window_ns: int, max_calls: int, amount: Amount = 1) -> int | None:
        """Nanoseconds until `amount` more fits: 0 if it fits now, None if it never will."""
        if amount > max_calls:
            return None
        if self.fits(now, window_ns, max_calls, amount):
            return 0
        last_to_go = self._entries[bisect_left(self._entries, self._total + amount - max_calls, key=_total)]
        return last_to_go.latest + window_ns - now

    def remaining(self, now: int, window_ns: int, max_calls: int) -> int:
        """How many whole units more fit at `now`."""
        return int(max(0, max_calls - self._live(now, window_ns)))

    def _live(self, now: int, window_ns: int) -> Amount:
        entries = self._entries
        while entries and entries[0].latest <= now - self._horizon_ns:
            self._forgotten = entries.popleft().total
        if not entries:
            # Nothing counts: start anew, or the digits of a long run of fractions would add up.
            self._forgotten = self._total = 0
            return 0
        gone = bisect_right(entries, now - window_ns, key=_latest)
        return self._total - (entries[gone - 1].total if gone else self._forgotten)


class CalendarSum:
    """Amounts in the present window of the calendar; a wall clock that is set back keeps the window."""

    __slots__ = ("_index", "_sum")

    def __init__(self) -> None:
        self._index = -1
        self._sum: Amount = 0

    def fits(self, now: int, window_ns: int, max_calls: int, amount: Amount = 1) -> bool:
        """Whether `amount` more at `now` keeps the limit."""
        return self._live(now, window_ns) + amount <= max_calls

    def add(self, now: int, amount: Amount = 1) -> None:  # noqa: ARG002 - whoever adds has asked whether it fits
        """Record an amount in the window that was last asked about."""
        self._sum += amount

    def take_back(self, now: int, window_ns: int, amount: Amount = 1) -> None:
        """Undo one `add` at `now`, unless that was not in the present window, as far as one can tell."""
        if _index_of(now, window_ns) == self._index:
            self._sum -= amount

    def is_empty(self) -> bool:
        """Whether nothing is remembered."""
        return not self._sum

    def retry_after(self, now: int, window_ns: int, max_calls: int, amount: Amount = 1) -> int | None:
        """Nanoseconds until `amount` more fits: 0 if it fits now, None if it never will."""
        if amount > max_calls:
            return None
        if self.fits(now, window_ns, max_calls, amount):
            return 0
        return _start_of(self._index + 1, window_ns) - now

    def remaining(self, now: int, window_ns: int, max_calls: int) -> int:
        """How many whole units more fit at `now`."""
        return int(max(0, max_calls - self._live(now, window_ns)))

    def serves(self, window_ns: int, max_calls: int) -> bool:  # noqa: ARG002 - it serves any limit
        """Whether it remembers enough for such a limit."""
        return True

    def widened(self, window_ns: int, max_calls: int) -> CalendarSum:  # noqa: ARG002 - it serves any limit
        """Return this very sum."""
        return self

    def events(self) -> Iterator[tuple[int, Amount]]:
        """Yield nothing: a calendar's sum never becomes another."""
        yield from ()

    def _live(self, now: int, window_ns: int) -> Amount:
        index = _index_of(now, window_ns)
        if index > self._index:
            self._index = index
            self._sum = 0
        return self._sum


def _index_of(now: int, window_ns: int) -> int:
    return (now - _offset(window_ns)) // window_ns


def _start_of(index: int, window_ns: int) -> int:
    return index * window_ns + _offset(window_ns)


def _offset(window_ns: int) -> int:
    return _MONDAY_NS if window_ns == _WEEK_NS else 0


class _Entry:
    """Amounts that share one place: when the first and the last came, and the sum of all until then."""

    __slots__ = ("latest", "start", "total")

    def __init__(self, start: int, total: Amount) -> None:
        self.start = start
        self.latest = start
        self.total = total


_start = attrgetter("start")
_latest = attrgetter("latest")
_total = attrgetter("total")
