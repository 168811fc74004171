"""Says what measured times mean: figures, and sentences.

Pure.  Knows that something was timed twice, without a guard and behind one, in alternating rounds; not how.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

P99_NEEDS: Final = 100
"""Of fewer times, the 99th percentile would just be the longest."""
CERTAIN_FROM: Final = 6
"""Of fewer values, no difference could be said to be larger than the noise with 95 % certainty."""
REQUEST_NOTICED_MS: Final = 10.0
"""What is added to one request, and is more than this, may be noticed: agents make many of them in a row."""
START_NOTICED_MS: Final = 100.0
"""The same for a start, which a person waits for once; up to here an answer seems to come at once."""
_DOUBT: Final = 0.05
_DIGITS: Final = ((10, 0), (1, 1), (0.01, 2))
_IN_SECONDS_MS: Final = 10_000
_WHOLE_PERCENT: Final = 10
_MUCH_MORE: Final = 1.5
_AGAIN: Final = "try again when this machine has less to do."


@dataclass(frozen=True, slots=True)
class Compared:
    """One thing that was measured without a guard and behind it, in milliseconds.

    `direct` and `guarded` are medians of the rounds, `added` is the median of the rounds' differences.  The true one lies between
    `low` and `high`, with 95 % certainty from six rounds on.  `samples` is how many times were taken, each way.
    """

    direct: float
    guarded: float
    added: float
    low: float
    high: float
    rounds: int
    samples: int

    @property
    def is_measurable(self) -> bool:
        """Whether the difference is larger than the noise, for certain."""
        return self.rounds >= CERTAIN_FROM and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Cost:
    """All that a sentence is about.  `request` is named by `what`; `ready` is the start up to the first list of tools."""

    what: str
    request: Compared
    start: Compared
    ready: Compared | None
    memory_bytes: int | None


def compare(direct: Sequence[float], guarded: Sequence[float], samples: int) -> Compared:
    """Compare the values of rounds, in the order of the rounds; there is at least one."""
    added = [behind - alone for alone, behind in zip(direct, guarded, strict=True)]
    low, high = interval(added)
    middle = statistics.median
    return Compared(middle(direct), middle(guarded), middle(added), low, high, len(added), samples)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Give two of the values between which the median of all that could have been measured lies, with 95 % certainty.

    That is the sign test turned round, which takes nothing for granted about how noise is distributed.  Up to five values cannot
    be that certain: of them it is the least and the greatest.
    """
    ordered, count = sorted(values), len(values)
    outside, tail = 0, 1 / 2**count  # how likely it is that all values lie on one side, then all but one, ...
    while tail + math.comb(count, outside + 1) / 2**count <= _DOUBT / 2:
        outside += 1
        tail += math.comb(count, outside) / 2**count
    return ordered[outside], ordered[-1 - outside]


def merge_rounds(rounds: Sequence[Sequence[float]]) -> list[list[float]]:
    """Join rounds that follow each other until each has enough times for a p99; what is left over goes to the last."""
    merged: list[list[float]] = []
    for times in rounds:
        if not merged or len(merged[-1]) >= P99_NEEDS:
            merged.append([])
        merged[-1] += times
    if len(merged) > 1 and len(merged[-1]) < P99_NEEDS:
        last = merged.pop()
        merged[-1] += last
    return merged


def p99(times: Sequence[float]) -> float:
    """Give the time that 99 in 100 did not exceed, of at least `P99_NEEDS`."""
    return sorted(times)[math.ceil(len(times) * 0.99) - 1]


def sentences(cost: Cost) -> str:
    """Say in words what the guard costs, and whether anybody would notice; claims nothing that was not measured."""
    added: list[str] = []
    apart: list[str] = []
    request, start, subject = cost.request, cost.start, cost.what
    if not request.is_measurable:
        apart.append(_unmeasurable(request, f"to {subject} that takes your server"))
    elif request.added < 0:
        apart.append(_quicker(request, subject))
    else:
        added.append(
            f"{duration(request.added)} to {subject} that takes your server {duration(request.direct)} ({percent(request)})"
        )
    if not start.is_measurable:
        apart.append(_unmeasurable(start, "to a start of"))
    elif start.added < 0:
        apart.append(_quicker(start, "the start"))
    else:
        added.append(
            f"{duration(start.added)} to a start of {duration(start.direct)} ({percent(start)}{_until_ready(cost)})"
        )
    if cost.memory_bytes is not None:
        added.append(f"{cost.memory_bytes / (1 << 20):.0f} MiB of memory")
    said = [f"The guard adds {_listed(added)}."] if added else []
    return " ".join([*said, *apart, _verdict(cost)])


def duration(ms: float) -> str:
    """Write a time with two or three digits that mean something."""
    size = abs(ms)
    for least, digits in _DIGITS:
        if size >= least:
            return f"{ms:.{digits}f} ms" if size < _IN_SECONDS_MS else f"{ms / 1000:.1f} s"
    return f"{ms:.3f} ms"


def span(low_ms: float, high_ms: float) -> str:
    """Write two times, of which the longer one says how exactly: `-0.2 to +1.3 ms`."""
    size = max(abs(low_ms), abs(high_ms))
    if size >= _IN_SECONDS_MS:
        return f"{low_ms / 1000:+.1f} to {high_ms / 1000:+.1f} s"
    digits = next((digits for least, digits in _DIGITS if size >= least), 3)
    return f"{low_ms:+.{digits}f} to {high_ms:+.{digits}f} ms"


def percent(compared: Compared) -> str:
    """Write the added time as a share of the time without a guard."""
    share = 100 * compared.added / compared.direct
    return f"{share:.1f} %" if abs(share) < _WHOLE_PERCENT else f"{share:,.0f} %"


def _unmeasurable(each: Compared, where: str) -> str:
    if each.rounds < CERTAIN_FROM:
        why = f"{each.rounds} round{'' if each.rounds == 1 else 's'} cannot tell it from noise, {CERTAIN_FROM} could"
    else:
        why = f"the difference is smaller than the noise ({span(each.low, each.high)})"
    return f"What it adds {where} {duration(each.direct)} is not measurable here: {why}."


def _quicker(each: Compared, what: str) -> str:
    return (
        f"{what[0].upper()}{what[1:]} was {duration(-each.added)} quicker behind the guard, which says more about this machine than "
        "about the guard."
    )


def _until_ready(cost: Cost) -> str:
    """Name what is added until tools are listed, if that is more: the guard opens sessions before its policy is loaded."""
    ready = cost.ready
    if ready is None or not ready.is_measurable or ready.added < _MUCH_MORE * max(cost.start.added, 1):
        return ""
    return f"; {duration(ready.added)} until tools are listed"


def _verdict(cost: Cost) -> str:
    request = _noticed(cost.request, REQUEST_NOTICED_MS)
    starts = [_noticed(each, START_NOTICED_MS) for each in (cost.start, cost.ready) if each is not None]
    start = True if True in starts else None if None in starts else False
    match request, start:
        case None, _:
            return f"There is too much noise to say whether anybody would notice: {_AGAIN}"
        case True, True:
            return "That is enough to be noticed, in many such requests as well as at the start."
        case True, _:
            return "That is enough to be noticed by who makes many such requests."
        case _, True:
            return "A person may notice that at the start, once in a session, and in no request after it."
        case _, None:
            return f"Nobody notices that in a request; at the start there is too much noise to say: {_AGAIN}"
        case _:
            return "Below what a person or an agent notices."


def _noticed(compared: Compared, threshold_ms: float) -> bool | None:
    """Say whether somebody would notice; None if that is within the noise."""
    if compared.rounds < CERTAIN_FROM:
        return None
    if compared.high < threshold_ms:
        return False
    return True if compared.low >= threshold_ms else None


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}{',' if len(parts) > 2 else ''} and {parts[-1]}"
