"""Says how many examples a fuzzer tries, where its chance comes from, and what the smallest example of a failure is.

`make test` tries the same few thousand each time.  `make fuzz` sets FUZZ_TIMES, how many times as many it is to be, and
FUZZ_SEED, whose every value is other examples.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING, Final, TypeVar

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Parts = TypeVar("Parts", bound=Sequence[object])

TIMES: Final = int(os.environ.get("FUZZ_TIMES", "0"))
SEED: Final = os.environ.get("FUZZ_SEED", "0")
_MAX_TRIES: Final = 3000


def examples(count: int) -> Iterator[Random]:
    """Yield the source of chance of each example."""
    for number in range(count * max(TIMES, 1)):
        yield chance(f"{SEED} {number}")


def chance(seed: str | int) -> Random:
    """Give a source of chance that can be had again."""
    return Random(seed)  # noqa: S311 - nothing here is a secret


def laws(count: int) -> settings:
    """Give hypothesis so many examples: always the same ones, or in `make fuzz` new ones, of which it keeps the failing."""
    return settings(
        max_examples=count * max(TIMES, 1),
        deadline=None,
        derandomize=not TIMES,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def smallest(found: Parts, fails: Callable[[Parts], bool]) -> Parts:
    """Take away from a failing example whatever it also fails without: halves of it first, single parts last."""
    size, tries = max(1, len(found) // 2), 0
    while tries < _MAX_TRIES:
        at, shorter = 0, False
        while at < len(found) and tries < _MAX_TRIES:
            less = found[:at] + found[at + size :]  # type: ignore[operator]
            tries += 1
            if fails(less):
                found, shorter = less, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return found
