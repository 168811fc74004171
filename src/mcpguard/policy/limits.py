"""Counts what was admitted, and says whether one more fits into a sliding window.

Reads no clock: `now` is an argument, in nanoseconds of a clock that never goes back.  Knows no policy: a window and a
maximum are arguments too, so one log serves every limit that names its counter, before and after a policy changes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Protocol

NS_PER_S = 1_000_000_000
EXACT_UP_TO = 65_536
CALENDAR_WINDOWS = (60, 3600, 86_400, 604_800)
"""The windows in seconds that may follow the calendar: minute, hour, day, week."""


class Log(Protocol):
    """The instants at which calls were admitted on one counter.

    An event at `t` counts while `now < t + window_ns`, so no half-open stretch of that length ever holds more than
    `max_calls` of them.  INVARIANT: `now` never decreases from call to call, and `serves` holds for the limits that
    are asked about.
    """

    def serves(self, window_ns: int, max_calls: int) -> bool:
        """Whether the log remembers enough for such a limit."""
        ...

    def widened(self, window_ns: int, max_calls: int) -> Log:
        """Return a log with the same events that serves such a limit too, from now on."""
        ...

    def events(self) -> Iterator[tuple[int, Any]]:
        """Yield when what is remembered came, and how much it was."""
        ...

    def fits(self, now: int, window_ns: int, max_calls: int) -> bool:
        """Whether one more event at `now` keeps the limit."""
        ...

    def add(self, now: int) -> None:
        """Record an event at `now`."""
        ...

    def take_back(self, now: int, window_ns: int) -> None:
        """Undo one `add` at `now`; what is not remembered any more counts for nothing and stays as it is."""
        ...

    def is_empty(self) -> bool:
        """Whether nothing is remembered."""
        ...

    def retry_after(self, now: int, window_ns: int, max_calls: int) -> int | None:
        """Nanoseconds until one more fits if nothing else comes: 0 if it fits now, None if it never will."""
        ...

    def remaining(self, now: int, window_ns: int, max_calls: int) -> int:
        """How many more fit at `now`."""
        ...


class ExactLog:
    """Keeps the instants of the last `capacity` events, however old.

    That is enough for every limit of at most `capacity` calls: one more fits if there were fewer than `max_calls`
    events ever, or if the `max_calls`-th newest has left the window.  So memory is bounded by the maximum, every step
    takes constant time, and nothing is allocated but the instant.
    """

    __slots__ = ("_capacity", "_dropped", "_horizon_ns", "_instants")

    def __init__(self, horizon_ns: int, capacity: int) -> None:
        self._horizon_ns = horizon_ns
        self._capacity = capacity
        self._instants: deque[int] = deque(maxlen=capacity)
        self._dropped: int | None = None
        """The latest instant that had to make room; from the first on, there is always a full `capacity` of them."""

    def serves(self, window_ns: int, max_calls: int) -> bool:
        """Whether the log remembers enough for such a limit."""
        return max_calls <= self._capacity and window_ns <= self._horizon_ns

    def widened(self, window_ns: int, max_calls: int) -> Log:
        """Return a log with the same events that serves such a limit too, from now on."""
        wider = open_log(max(window_ns, self._horizon_ns), max(max_calls, self._capacity))
        for instant in self._instants:
            wider.add(instant)
        return wider

    def events(self) -> Iterator[tuple[int, int]]:
        """Yield when what is remembered came, and how much it was."""
        return ((instant, 1) for instant in self._instants)

    def fits(self, now: int, window_ns: int, max_calls: int) -> bool:
        """Whether one more event at `now` keeps the limit."""
        instants = self._instants
        if len(instants) < max_calls:
            return True
        return max_calls > 0 and instants[-max_calls] + window_ns <= now

    def add(self, now: int) -> None:
        """Record an event at `now`."""
        instants = self._instants
        if instants and len(instants) == self._capacity:
            self._dropped = instants[0]
        instants.append(now)

    def take(self, now: int, window_ns: int, max_calls: int) -> bool:
        """Record an event at `now` if that keeps the limit; say whether it does."""
        instants = self._instants
        if len(instants) < max_calls:
            instants.append(now)
            return True
        if max_calls > 0 and instants[-max_calls] + window_ns <= now:
            if len(instants) == self._capacity:
                self._dropped = instants[0]
            instants.append(now)
            return True
        return False

    def take_back(self, now: int, window_ns: int) -> None:  # noqa: ARG002 - an instant is one in any window
        """Undo one `add` at `now`; what is not remembered any more counts for nothing and stays as it is."""
        instants = self._instants
        at = bisect_right(instants, now) - 1
        if at < 0 or instants[at] != now:
            return
        del instants[at]
        if self._dropped is not None:
            # What had to make room counts again; of several that had to, none came later than this one.
            instants.appendleft(self._dropped)

    def is_empty(self) -> bool:
        """Whether nothing is remembered."""
        return not self._instants

    def retry_after(self, now: int, window_ns: int, max_calls: int) -> int | None:
        """Nanoseconds until one more fits: 0 if it fits now, None if it never will."""
        if max_calls == 0:
            return None
        if self.fits(now, window_ns, max_calls):
            return 0
        return self._instants[-max_calls] + window_ns - now

    def remaining(self, now: int, window_ns: int, max_calls: int) -> int:
        """How many more fit at `now`."""
        live = len(self._instants) - bisect_right(self._instants, now - window_ns)
        return max(0, max_calls - live)


class BucketLog:
    """Keeps a bounded summary, for limits of more calls than are worth remembering one by one.

    Arrivals within `horizon_ns` / 65,536 of a bucket's start share that bucket, and all of them count as if they had
    come with the latest one.  So about 65,536 buckets exist at most, and an event may count for that fraction of the
    horizon too long but never too short: the log can refuse what would just fit and never admits too much.
    `horizon_ns` is the longest window it serves.
    """

    __slots__ = ("_buckets", "_forgotten", "_grain_ns", "_horizon_ns", "_total")

    def __init__(self, horizon_ns: int) -> None:
        self._horizon_ns = horizon_ns
        self._grain_ns = horizon_ns // EXACT_UP_TO
        self._buckets: deque[_Bucket] = deque()
        self._forgotten = 0
        self._total = 0

    def serves(self, window_ns: int, max_calls: int) -> bool:  # noqa: ARG002 - it serves any maximum
        """Whether the log remembers enough for such a limit."""
        return window_ns <= self._horizon_ns

    def widened(self, window_ns: int, max_calls: int) -> Log:  # noqa: ARG002 - it serves any maximum
        """Return this very log, which looks back as far as such a limit asks from now on."""
        self._horizon_ns = max(window_ns, self._horizon_ns)
        self._grain_ns = self._horizon_ns // EXACT_UP_TO
        return self

    def events(self) -> Iterator[tuple[int, int]]:
        """Yield when what is remembered came, and how much it was."""
        before = self._forgotten
        for bucket in self._buckets:
            yield bucket.latest, bucket.total - before
            before = bucket.total

    def fits(self, now: int, window_ns: int, max_calls: int) -> bool:
        """Whether one more event at `now` keeps the limit."""
        return self._live(now, window_ns) < max_calls

    def add(self, now: int) -> None:
        """Record an event at `now`."""
        self._total += 1
        buckets = self._buckets
        if buckets and now - buckets[-1].start <= self._grain_ns:
            buckets[-1].latest = now
            buckets[-1].total = self._total
        else:
            buckets.append(_Bucket(now, self._total))

    def take(self, now: int, window_ns: int, max_calls: int) -> bool:
        """Record an event at `now` if that keeps the limit; say whether it does."""
        buckets = self._buckets
        if buckets and buckets[0].latest > now - window_ns:
            # Everything that is remembered counts, as nearly always.
            live = self._total - self._forgotten
        else:
            live = self._live(now, window_ns)
        if live >= max_calls:
            return False
        self._total = total = self._total + 1
        if buckets:
            last = buckets[-1]
            if now - last.start <= self._grain_ns:
                last.latest = now
                last.total = total
                return True
        buckets.append(_Bucket(now, total))
        return True

    def take_back(self, now: int, window_ns: int) -> None:  # noqa: ARG002 - an instant is one in any window
        """Undo one `add` at `now`; what shared its bucket counts as if it had come with it."""
        buckets = self._buckets
        at = bisect_right(buckets, now, key=_start) - 1
        if at < 0 or buckets[at].latest < now:
            return
        for index in range(at, len(buckets)):
            buckets[index].total -= 1
        self._total -= 1
        if buckets[at].total == (buckets[at - 1].total if at else self._forgotten):
            del buckets[at]

    def is_empty(self) -> bool:
        """Whether nothing is remembered."""
        return not self._buckets

    def retry_after(self, now: int, window_ns: int, max_calls: int) -> int | None:
        """Nanoseconds until one more fits: 0 if it fits now, None if it never will."""
        if max_calls == 0:
            return None
        if self.fits(now, window_ns, max_calls):
            return 0
        last_to_go = self._buckets[bisect_left(self._buckets, self._total - max_calls + 1, key=_total)]
        return last_to_go.latest + window_ns - now

    def remaining(self, now: int, window_ns: int, max_calls: int) -> int:
        """How many more fit at `now`."""
        return max(0, max_calls - self._live(now, window_ns))

    def _live(self, now: int, window_ns: int) -> int:
        buckets = self._buckets
        while buckets and buckets[0].latest <= now - self._horizon_ns:
            self._forgotten = buckets.popleft().total
        border = now - window_ns
        if not buckets or buckets[0].latest > border:
            return self._total - self._forgotten
        # Only a limit whose window has become shorter since comes here: the log still looks back further.
        return self._total - buckets[bisect_right(buckets, border, key=_latest) - 1].total


class _Bucket:
    """Arrivals that share one place: when the first and the last came, and how many came until then in all."""

    __slots__ = ("latest", "start", "total")

    def __init__(self, start: int, total: int) -> None:
        self.start = start
        self.latest = start
        self.total = total


_start = attrgetter("start")
_latest = attrgetter("latest")
_total = attrgetter("total")


def open_log(window_ns: int, max_calls: int) -> Log:
    """Return an empty log that serves such a limit."""
    return ExactLog(window_ns, max_calls) if max_calls <= EXACT_UP_TO else BucketLog(window_ns)
