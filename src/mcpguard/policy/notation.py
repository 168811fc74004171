"""Says how single values are written in a policy file: windows, times, rates, names of counters, paths and JSON values.

Knows no key and no object of the file; which of these stands where, the model says.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from mcpguard.policy.paths import PathError, parse_path

MAX_DIGITS: Final = 18
"""How many digits the count of a rate may have."""
WINDOW_TEXT: Final = "second|minute|hour|day|week|0*[1-9][0-9]{0,8}[smhd]"
DURATION_TEXT: Final = "[0-9]{1,9}(ms|s|m|h)"
_WINDOWS: Final = (
    "`second`, `minute`, `hour`, `day`, `week`, a whole number of seconds, or text like `90s`, `15m`, `6h`, `7d`"
)
_WINDOW_WORDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_WINDOW_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_WINDOW_DIGITS: Final = 9
_UNITS_NS: Final = {"ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_MAX_NUMBER: Final = 400
_MAX_DOUBLE: Final = 2**1024 - 2**971


class NotationError(ValueError):
    """A value is not written as it has to be.  With `shows_value`, what it is belongs to the message."""

    def __init__(self, message: str, *, shows_value: bool = False) -> None:
        super().__init__(message)
        self.shows_value = shows_value


def window_seconds(text: str) -> int | None:
    """Read a window: `second minute hour day week`, or a number of `s`, `m`, `h` or `d`; None if it is neither."""
    if text in _WINDOW_WORDS:
        return _WINDOW_WORDS[text]
    digits, unit = text[:-1], text[-1:]
    if unit not in _WINDOW_UNITS or not digits.isascii() or not digits.isdigit() or len(digits) > _MAX_WINDOW_DIGITS:
        return None
    return int(digits) * _WINDOW_UNITS[unit] or None


def window_words(seconds: int) -> str:
    """Write a window as one reads it after "per"."""
    return next((word for word, length in _WINDOW_WORDS.items() if length == seconds), f"{seconds} seconds")


def span_words(seconds: int) -> str:
    """Write a stretch of time, of at least a second, in the largest unit of which it is a whole number: `2 hours`."""
    unit, length = next((unit, length) for unit, length in reversed(_WINDOW_WORDS.items()) if seconds % length == 0)
    count = seconds // length
    return f"{count} {unit}{'s' * (count > 1)}"


def read_window(value: object) -> int:
    """Give a window in seconds.

    Raises:
        NotationError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    seconds = window_seconds(value) if isinstance(value, str) else None
    if seconds is None:
        raise NotationError(f"`window` must be {_WINDOWS}", shows_value=True)
    return seconds


def duration_ns(value: object) -> int | None:
    """Give a time in nanoseconds; None if it is none."""
    found = re.fullmatch(DURATION_TEXT, value) if isinstance(value, str) else None
    return None if found is None else int(found[0].removesuffix(found[1])) * _UNITS_NS[found[1]]


def read_rate(value: object) -> object:
    """Give a rate like `10/minute` as the object that it is short for; what is no text, as it is.

    Raises:
        NotationError: it is text, and no rate.
    """
    if not isinstance(value, str):
        return value
    count, _, window = value.partition("/")
    seconds = window_seconds(window) or window_seconds(f"{window}s")
    if seconds is None or not (count.isascii() and count.isdigit() and len(count) <= MAX_DIGITS):
        raise NotationError("`rate_limit` must be an object or text like `10/minute` or `10/15m`", shows_value=True)
    return {"max": int(count), "window": seconds}


def read_counter(value: str) -> str:
    """Give the name of a counter.

    Raises:
        NotationError: it is none.
    """
    if not value or value.startswith("/"):
        raise NotationError(
            "`counter` must be a name that does not begin with `/`; leave it out for a counter of the limit's own"
        )
    return value


def read_path(value: str) -> str:
    """Give the path of an argument.

    Raises:
        NotationError: it is none.
    """
    try:
        parse_path(value)
    except PathError as error:
        raise NotationError(str(error), shows_value=True) from None
    return value


def read_single_path(value: str) -> str:
    """Give a path that leads to one place at most.

    Raises:
        NotationError: it is none.
    """
    if parse_path(read_path(value)).has_many:
        raise NotationError("a limit is charged once for each call, so this path takes no `*`")
    return value


def read_json(value: object) -> object:
    """Give a JSON value with numbers as `int` and `Decimal`, which compare by their exact value.

    Raises:
        NotationError: it holds a number that no JSON parser could give to a server.
    """
    match value:
        case dict():
            return {key: read_json(item) for key, item in value.items()}
        case list():
            return [read_json(item) for item in value]
        case float():
            return read_json(Decimal(repr(value)))
        case Decimal() if (
            not value.is_finite() or abs(value) > _MAX_DOUBLE or len(value.as_tuple().digits) > _MAX_NUMBER
        ):
            raise NotationError("a number here is finite, at most the largest double, and has at most 400 digits")
        case int() if abs(value) > _MAX_DOUBLE:
            raise NotationError("a number here is at most the largest double, as in a call")
        case _:
            return value
