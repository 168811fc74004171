"""Says whether conditions on one argument can hold together, by looking for a value for which they do.

Claims that there is none only where the values it tries are all that could be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from mcpguard.policy.decision import unresolvable
from mcpguard.policy.operators import answer_absent, prepare
from mcpguard.policy.paths import ABSENT, Path, Step, parse_path
from mcpguard.policy.values import NO, YES, Answer

if TYPE_CHECKING:
    from mcpguard.policy.model import Condition
    from mcpguard.policy.rules import Kind

ORDERED: Final = frozenset(("lt", "lte", "gt", "gte"))
NEGATIVE: Final = frozenset(("neq", "not_in", "not_under", "not_host_in"))
PLACES: Final = frozenset(("under", "not_under"))
_EXCLUDING: Final = frozenset(("neq", "not_in", "exists"))


def path_of(condition: Condition) -> Path:
    """Return where a condition looks."""
    return parse_path(condition.path)


def answer_about(condition: Condition, value: object) -> Answer:
    """Answer about one value, or about `ABSENT`; what only the file system could tell is unsure."""
    if value is ABSENT:
        return answer_absent(condition.op, condition.value)
    return prepare(condition.op, condition.value)(value, unresolvable)


def contradicting(conditions: Iterable[Condition], kind: Kind) -> tuple[Condition, ...] | None:
    """Return conditions on one argument that no value meets together; None if none are known to be such.

    The rules that refuse fire also where they are unsure, which is not what they are written for; with `*` they may fire because of
    different elements.
    """
    by_path: dict[tuple[Step, ...], list[Condition]] = {}
    for condition in conditions:
        path = path_of(condition)
        if kind == "require" or not path.has_many:
            by_path.setdefault(path.steps, []).append(condition)
    for together in by_path.values():
        values = _candidates(together)
        if values is not None and not any(_holds(together, value, kind) for value in values):
            return tuple(together)
    return None


def _holds(conditions: Sequence[Condition], value: object, kind: Kind) -> bool:
    answers = [YES if each.op in PLACES and value is not ABSENT else answer_about(each, value) for each in conditions]
    # `neq` and its like are unsure of an argument that is left out, and are meant to fire there.
    return NO not in answers if kind != "require" and value is ABSENT else all(answer is YES for answer in answers)


def _candidates(conditions: Sequence[Condition]) -> list[object] | None:
    """Return values among which there is one that meets the conditions if there is any at all; None: nobody knows."""
    pinned = [values for each in conditions if (values := _pinned(each)) is not None]
    if pinned:
        return min(pinned, key=len)
    ops = {each.op for each in conditions}
    if not ops & ORDERED or not ops <= ORDERED | _EXCLUDING:
        return None
    bounds = sorted({each.value for each in conditions if each.op in ORDERED})
    excluded = sum(len(each.value) if isinstance(each.value, list) else 1 for each in conditions)
    return list(_around(bounds, excluded + 1))


def _pinned(condition: Condition) -> list[object] | None:
    match condition.op, condition.value:
        case "eq", value:
            return [value]
        case "in", list() as values:
            return values
        case "exists", False:
            return [ABSENT, None]
        case _:
            return None


def _around(bounds: Sequence[int | Decimal], between: int) -> Iterator[object]:
    """Yield the bounds, and so many numbers between each two and beyond the ends."""
    yield from bounds
    for low, high in zip([bounds[0] - between - 1, *bounds], [*bounds, bounds[-1] + between + 1], strict=True):
        width = (Decimal(high) - Decimal(low)) / (between + 1)
        yield from (Decimal(low) + width * step for step in range(1, between + 1))
