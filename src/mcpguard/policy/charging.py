"""Says what a call owes to the limits that it meets: on which counter, how much, and under which key; and how it is said that one is used up.

Counts nothing itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mcpguard.policy.canonical import canonical
from mcpguard.policy.decision import Charge, Reason
from mcpguard.policy.model import Limit, PlainLimit, RateLimit
from mcpguard.policy.notation import window_words
from mcpguard.policy.paths import ABSENT, BLOCKED, Found, Path, parse_path
from mcpguard.policy.values import folded, is_number, shown

if TYPE_CHECKING:
    from mcpguard.policy.decision import ToolCall

AnyLimit: TypeAlias = PlainLimit | RateLimit

_FINEST: Final = 400
_MAX_KEY: Final = 100
_MAX_NUMBER: Final = 400
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]{1,4})?")


@dataclass(frozen=True, slots=True)
class Levy:
    """A limit whose charge depends on the call."""

    charge: Charge
    cost: Path | None
    per: Path | Literal["tool"] | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The arguments that it looks at."""
        return tuple(path for path in (self.cost, self.per) if isinstance(path, Path))

    def due(self, call: ToolCall) -> Charge | Reason:
        """Return what the call owes, or why nobody can say."""
        amount: int | Decimal = 1
        key: str | None = None
        if self.cost is not None:
            found = self.cost.find(call.arguments)
            problem = _cost_problem(found)
            if problem:
                return self._refusal(self.cost, found, problem)
            assert isinstance(found, (int, Decimal))
            amount = int(found) if found == found.__trunc__() else found
        match self.per:
            case "tool":
                key = _short(call.name)
            case Path():
                found = self.per.find(call.arguments)
                key = folded_key_of(found)
                if key is None:
                    return self._refusal(self.per, found, "must be text, a number, `true` or `false`")
        due = self.charge
        return Charge(due.counter, due.rule, due.window_s, due.max, due.scope, due.calendar, key, amount)

    def _refusal(self, path: Path, found: Found, problem: str) -> Reason:
        is_there = found is not ABSENT and found is not BLOCKED
        what = f"{path.text} is {shown(found) if is_there else 'not given'}"
        return Reason("arguments", self.charge.rule, f"{what}, and for the limit on it it {problem}")


def levy(rule: str, limit: AnyLimit) -> Charge | Levy:
    """Return what a limit asks of every call, or what it asks depending on the call."""
    if isinstance(limit, RateLimit):
        return Charge(rule, rule, limit.window, limit.max, "session")
    charge = Charge(
        limit.counter or rule, rule, limit.window, limit.max, limit.scope, calendar=limit.align == "calendar"
    )
    if not isinstance(limit, Limit) or (limit.cost is None and limit.per is None):
        return charge
    cost = None if limit.cost is None else parse_path(limit.cost)
    match limit.per:
        case None:
            return Levy(charge, cost, None)
        case "tool":
            return Levy(charge, cost, "tool")
        case _:
            return Levy(charge, cost, parse_path(limit.per))


def due(levies: Iterable[Charge | Levy], call: ToolCall) -> Iterator[Charge | Reason]:
    """Yield what a call owes to each limit, or why nobody can say."""
    for each in levies:
        yield each if isinstance(each, Charge) else each.due(call)


def merged(charges: Iterable[Charge]) -> tuple[Charge, ...]:
    """Join the charges of one counter: the larger amount against the smaller maximum."""
    joined: dict[tuple[str, str | None], Charge] = {}
    for charge in charges:
        place = (charge.counter, charge.key)
        known = joined.get(place)
        if known is None:
            joined[place] = charge
        else:
            strict = charge if charge.max < known.max else known
            amount = max(charge.amount, known.amount)
            joined[place] = strict if strict.amount == amount else replace(strict, amount=amount)
    return tuple(joined.values())


def used_up(charge: Charge, *, full: bool = False, never: bool = False) -> str:
    """Say that a limit does not take a charge, for whoever is refused; it is no whole sentence, and ends without a stop.

    `full`: the counter takes no more keys.  `never`: waiting does not help.
    """
    allows = f"allows {charge.max} per {window_words(charge.window_s)}"
    said = f"counter {charge.counter} {'has as many different keys as it can hold' if full else allows}"
    return f"{said}, so it never passes" if never else said


def folded_key_of(found: Found) -> str | None:
    """Return the name of the counter for a value, the same for every spelling of it; None if it is no scalar."""
    match found:
        case bool():
            return "true" if found else "false"
        case int() | Decimal():
            return canonical(found)
        case str():
            text = folded(found)
            if len(text) <= _MAX_NUMBER and _NUMBER.fullmatch(text):
                return canonical(Decimal(text))
            return _short(text)
        case _:
            return None


def _cost_problem(found: Found) -> str:
    if not is_number(found):
        return "must be a number"
    if isinstance(found, Decimal) and not found.is_finite():
        return "must be finite"
    if found < 0:
        return "must not be negative"
    if isinstance(found, Decimal) and found and abs(found.adjusted()) > _FINEST:
        return "must be a number that can be added up exactly"
    return ""


def _short(text: str) -> str:
    if len(text) <= _MAX_KEY:
        return text
    return "sha256:" + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
