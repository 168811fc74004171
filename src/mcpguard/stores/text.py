"""Holds what a careful reading of a policy's text gives: the data, and where each part of it stands.

Knows neither JSON nor YAML, and nothing of policies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

MAX_DEPTH: Final = 64
_SHOWN: Final = 60
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Position(NamedTuple):
    """A place in a text; both numbers count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, where its key does if it has one, and how to speak of it: ``the string `"7"` ``.

    `plain` is what a value without quotes was written as, in YAML.
    """

    value: Position
    key: Position | None
    what: str
    plain: str | None = None


class Remark(NamedTuple):
    """One thing that is wrong with a text."""

    position: Position
    rule: str
    message: str


@dataclass(slots=True)
class Reading:
    """The result of a reading: places by JSON Pointer, and what is wrong.

    `complete` is false if the text broke off at an error, so that `data` means nothing.
    """

    data: object = None
    places: dict[str, Place] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)
    complete: bool = True

    def whole(self, text: str, position: Position, rule: str) -> str:
        """Return `text`; halves of surrogate pairs, which only an escape can write, are reported and replaced."""
        if not _SURROGATE.search(text):
            return text
        self.report(position, "half of a surrogate pair is no character; write both or neither", rule)
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)

    def report(self, position: Position, message: str, rule: str = "") -> None:
        """Note one thing that is wrong."""
        self.remarks.append(Remark(position, rule, message))


def step(pointer: str, key: str | int) -> str:
    """Return the JSON Pointer that goes one step further."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def exact_number(text: str) -> Decimal:
    """Read a number with all of its digits; infinite where its exponent is beyond all bounds."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")


def quoted(text: str) -> str:
    """Put words of the user into backticks, shortened where they are long."""
    return f"`{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}`"


def printable(text: str) -> str:
    """Write out every character that a terminal would not show as it is, or would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
