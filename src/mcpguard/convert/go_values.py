"""Says which JSON values Go would call equal when it compares numbers as doubles, and everything else by its printed text.

That is how Intercept compares: `%v` of both sides.  So the number 5 equals the string "5", `true` equals "true", and a list
equals a string that looks like it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from mcpguard.policy.values import is_number

_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_EXPONENT: Final = re.compile(r"[-+]?[0-9](?:\.[0-9]+)?e[-+][0-9]{2,3}")
_LISTED: Final = re.compile(r"(?:\[|map\[).*\]", re.DOTALL)
_SHORT: Final = 17
_SMALLEST: Final = 1e-4
_LARGEST: Final = 1e6
"""Outside of these Go writes a double with an exponent."""


@dataclass(frozen=True, slots=True)
class Equals:
    """Values that Go takes for equal to one of a policy.  `complete` says that there are no others."""

    values: tuple[object, ...]
    complete: bool = True


def equals(value: object) -> Equals | None:
    """Give what equals a value of a policy for Go; None if not even the value itself is sure to."""
    match value:
        case None:
            return Equals((None, "<nil>"))
        case bool():
            return Equals((value, "true" if value else "false"))
        case str():
            return _equal_to_text(value)
        case int():
            return Equals((value, str(value)))
        case Decimal():
            text = printed(value)
            return Equals((value,), complete=False) if text is None else Equals((value, text))
        case _:
            return Equals((value,), complete=False) if all(map(_prints_as_sent, _numbers_in(value))) else None


def printed(number: Decimal) -> str | None:
    """Write a double as Go prints it; None where that takes an exponent."""
    double = float(number)
    if double == 0:
        return "-0" if number.is_signed() else "0"
    if not _SMALLEST <= abs(double) < _LARGEST:
        return None
    return repr(double).removesuffix(".0")


def _equal_to_text(text: str) -> Equals:
    if text in {"true", "false"}:
        return Equals((text, text == "true"))
    if text == "<nil>":
        return Equals((text, None))
    if text in {"0", "-0"}:
        return Equals((text,), complete=False)  # Go tells 0 from -0 in print, and nobody else does
    if _DECIMAL.fullmatch(text) and len(text) <= _SHORT + 3 and printed(Decimal(text)) == text:
        number = Decimal(text)
        return Equals((text, int(number) if number == number.to_integral_value() else number))
    return Equals((text,), complete=not _EXPONENT.fullmatch(text) and not _LISTED.fullmatch(text))


def _numbers_in(value: object) -> Iterator[int | Decimal]:
    match value:
        case dict():
            for item in value.values():
                yield from _numbers_in(item)
        case list():
            for item in value:
                yield from _numbers_in(item)
        case _ if is_number(value):
            yield value


def _prints_as_sent(number: int | Decimal) -> bool:
    """Whether the same number in a call, where each is a double, prints like this one."""
    return number != 0 and (isinstance(number, Decimal) or abs(number) < _LARGEST)
