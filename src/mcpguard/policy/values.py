"""Says whether two JSON values are equal: yes, no, or unsure, because a server may well take one for the other.

Servers turn `"5"` into 5, `"Main"` into `main`, and JSON text into what it says.  What would be equal after that is unsure.
Numbers are `int` or `decimal.Decimal` and are compared by their exact value.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import IntEnum
from typing import Final, TypeGuard

import jiter

from mcpguard.policy.canonical import canonical

Number = int | Decimal


class Answer(IntEnum):
    """The answer of a condition, from weak to strong: `min` joins the conditions of a rule."""

    NO = 0
    UNSURE = 1
    YES = 2


NO: Final = Answer.NO
UNSURE: Final = Answer.UNSURE
YES: Final = Answer.YES

_TRUTHS: Final = frozenset(("true", "false", "1", "0", "yes", "no", "on", "off", "y", "n", "t", "f"))
_SHOWN: Final = 60


def opposite(answer: Answer) -> Answer:
    """Turn yes into no and no into yes; unsure stays."""
    return _OPPOSITES[answer]


_OPPOSITES: Final = (YES, UNSURE, NO)


def is_number(value: object) -> TypeGuard[Number]:
    """Whether a value is a JSON number; `true` is none."""
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def equal(argument: object, value: object) -> Answer:  # noqa: PLR0912 - one row for each pair of types
    """Compare an argument with the value of a rule."""
    match argument, value:
        case str(), str():
            if argument == value:
                return YES
            return UNSURE if folded(argument) == folded(value) or _tells(argument, value) else NO
        case bool(), bool():
            return YES if argument is value else NO
        case (bool(), other) | (other, bool()) if is_number(other):
            return UNSURE if other in (0, 1) else NO
        case str(), bool():
            return UNSURE if folded(argument) in _TRUTHS or _tells(argument, value) else NO
        case bool(), str():
            return UNSURE if folded(value) in _TRUTHS else NO
        case (str() as text, number) | (number, str() as text) if is_number(number):
            return UNSURE if any(map(str.isdigit, text)) else NO
        case dict(), dict():
            return _objects(argument, value)
        case list(), list() | tuple():
            return _lists(argument, value)
        case None, None:
            return YES
        case _ if is_number(argument) and is_number(value):
            if argument == value:
                return YES
            return UNSURE if _double(argument) == _double(value) else NO
        case _:
            return UNSURE


def equal_to_any(argument: object, values: Iterable[object]) -> Answer:
    """Compare an argument with each of the values of a rule; the strongest answer counts."""
    return max((equal(argument, value) for value in values), default=NO)


def folded(text: str) -> str:
    """Take away what people do not see: case, surrounding white space, and Unicode's other ways to write a character."""
    if text.isascii():
        return text.strip().lower()
    # Upper case first: U+0131, the i without a dot, is folded by nothing else, and a server that calls `upper` makes an I of it.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).upper().casefold()).strip()


def folded_key(key: str) -> str:
    """Take away from a key what servers overlook when they bind it to a name of theirs: `_`, `-` and case."""
    return key.replace("_", "").replace("-", "").upper().casefold()


def shown(value: object) -> str:
    """Write a value for the sentence that is told about it: short, and safe on a terminal."""
    match value:
        case str():
            text = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
            return f'"{text}"' if text.isprintable() else canonical(text)
        case dict() if value:
            return "an object"
        case list() | tuple() if value:
            return f"a list of {len(value)}"
        case _:
            text = (
                f"{value:f}" if isinstance(value, Decimal) and -_SHOWN < value.adjusted() < _SHOWN else canonical(value)
            )
            return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _objects(argument: Mapping[str, object], value: Mapping[str, object]) -> Answer:
    if argument.keys() == value.keys():
        return min((equal(item, value[key]) for key, item in argument.items()), default=YES)
    wanted = {folded_key(key): item for key, item in value.items()}
    if {folded_key(key) for key in argument} != wanted.keys():
        return NO
    if len(wanted) < len(value):
        return UNSURE
    return min(UNSURE, *(equal(item, wanted[folded_key(key)]) for key, item in argument.items()))


def _lists(argument: list[object], value: list[object] | tuple[object, ...]) -> Answer:
    if len(argument) != len(value):
        return NO
    return min((equal(mine, theirs) for mine, theirs in zip(argument, value, strict=True)), default=YES)


def _double(number: Number) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _tells(text: str, value: object) -> bool:
    """Whether a text is JSON in which a value occurs that is, or may be, this one."""
    if text.lstrip()[:1] not in {"[", "{", '"'}:
        return False
    try:
        told = jiter.from_json(text.encode(errors="replace"), float_mode="decimal", catch_duplicate_keys=True)
    except ValueError as error:
        # Others go deeper than this parser, and take duplicate keys.
        return "recursion" in str(error) or "uplicate key" in str(error)
    waiting = [told]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif item is not None and equal(item, value) is not NO:
            return True
    return False
