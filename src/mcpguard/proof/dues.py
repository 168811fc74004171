"""Says what a call owes to the limits that it meets, from the description of the language alone.

Counts nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from mcpguard.policy.model import Limit, PlainLimit, RateLimit
from mcpguard.proof.reading import ABSENT, BLOCKED, find_all, is_number, steps_of

AnyLimit: TypeAlias = PlainLimit | RateLimit


@dataclass(frozen=True, slots=True)
class Due:
    """What a call owes on one counter."""

    counter: tuple[str, str]
    rule: str
    max: int
    amount: int | Decimal
    window_s: int
    calendar: bool


def can_be_charged(limit: AnyLimit, arguments: Mapping[str, object]) -> bool:
    """Whether a call gives what a limit needs of it."""
    if not isinstance(limit, Limit):
        return True
    if limit.cost is not None and cost_of(limit, arguments) is None:
        return False
    return limit.per in (None, "tool") or key_of(limit, arguments) is not None


def cost_of(limit: AnyLimit, arguments: Mapping[str, object]) -> int | Decimal | None:
    """Give what a call costs on a limit; None if it gives no number for it."""
    if not isinstance(limit, Limit) or limit.cost is None:
        return 1
    (found,) = find_all(arguments, steps_of(limit.cost))
    if not is_number(found):
        return None
    assert isinstance(found, (int, Decimal))
    return found if found >= 0 else None


def key_of(limit: AnyLimit, arguments: Mapping[str, object]) -> str | None:
    """Give the value that a limit counts apart, written so that spelling makes no difference; None if there is none."""
    if not isinstance(limit, Limit) or limit.per in (None, "tool"):
        return ""
    (found,) = find_all(arguments, steps_of(str(limit.per)))
    if found in (ABSENT, BLOCKED) or not isinstance(found, (str, int, Decimal)):
        return None
    return str(found).strip().lower()


def dues_of(limits: Sequence[tuple[str, AnyLimit]], arguments: Mapping[str, object], name: str) -> list[Due]:
    """Say what a call of a tool owes: what meets one counter twice is one, the larger cost against the smaller maximum."""
    joined: dict[tuple[str, str], Due] = {}
    for place, limit in limits:
        cost, key = cost_of(limit, arguments), key_of(limit, arguments)
        assert cost is not None
        assert key is not None
        if isinstance(limit, Limit) and limit.per == "tool":
            key = name
        counter = (limit.counter or place if isinstance(limit, PlainLimit) else place, key)
        calendar = isinstance(limit, PlainLimit) and limit.align == "calendar"
        due = Due(counter, place, limit.max, cost, limit.window, calendar)
        known = joined.get(counter, due)
        strict = due if due.max < known.max else known
        amount = max(due.amount, known.amount)
        joined[counter] = Due(counter, strict.rule, strict.max, amount, strict.window_s, strict.calendar)
    return list(joined.values())
