"""Reads one line as a guard has to: strict JSON, one object, nothing that two readers could read in two ways.

Numbers stay as they were written, so that `1.10` and `1.1` are two things here.
"""

from __future__ import annotations

import json
from typing import Any

MAX_NUMBER_CHARS = 400
LARGEST_DOUBLE = 2**1024 - 2**971


class Loose(Exception):  # noqa: N818 - it says what the line is
    """A line that some reader could read in another way, and how."""


class Number:
    """A number as it was written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return self.text


def parse(text: str) -> Any:
    """Read JSON text.

    Raises:
        Loose: it is no strict JSON.
    """
    try:
        return json.loads(
            text, parse_int=_number, parse_float=_number, parse_constant=_no_number, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as error:
        raise Loose(f"no strict JSON: {str(error)[:100]}") from error


def read(line: bytes, max_depth: int, *, lone_surrogates: bool) -> dict[str, Any]:
    """Read a line without its LF; `lone_surrogates` says that escapes of them may stand in it.

    Raises:
        Loose: it is not one message for every reader.
    """
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise Loose("invalid UTF-8") from error
    if len(text.splitlines()) != 1:
        raise Loose("something in it ends a line for some readers")
    message = parse(text)
    if not isinstance(message, dict):
        raise Loose("not one object")
    _demand_shape(message)
    if _is_deeper(message, max_depth):
        raise Loose(f"deeper than {max_depth} levels")
    if not lone_surrogates and "\\ud" in text.lower():
        try:
            json.dumps(message, ensure_ascii=False, default=repr).encode()
        except UnicodeEncodeError as error:
            raise Loose("a lone surrogate") from error
    return message


def key(value: object) -> str:
    """Write an id so that ids are equal when their type and value are."""
    return value.text if isinstance(value, Number) else json.dumps(value, default=repr)


def texts(value: object) -> list[str]:
    """Give every text in a value, names of members included."""
    found: list[str] = []
    level = [value]
    while level:
        each = level.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, dict):
            found += each
            level += each.values()
        elif isinstance(each, list):
            level += each
    return found


def _demand_shape(message: dict[str, Any]) -> None:
    """Demand one of a request, a notification, a result and an error."""
    if message.get("jsonrpc") != "2.0":
        raise Loose("`jsonrpc` is not 2.0")
    id_ = message.get("id")
    is_id = isinstance(id_, str) or (isinstance(id_, Number) and id_.text.lstrip("-").isdecimal())
    if "id" in message and not is_id:
        raise Loose("`id` is neither a text nor an integer")
    shape = message.keys() & {"method", "result", "error"}
    if len(shape) != 1 or ("id" not in message and "method" not in message):
        raise Loose("not exactly one of request, notification, result and error")
    if not isinstance(message.get("method", ""), str):
        raise Loose("`method` is no text")
    if not all(isinstance(message.get(name, {}), dict) for name in ("result", "error")):
        raise Loose("`result` or `error` is no object")
    if not isinstance(message.get("params"), dict | None):
        raise Loose("`params` is no object")


def _number(text: str) -> Number:
    if len(text) > MAX_NUMBER_CHARS:
        raise ValueError(f"a number of {len(text)} characters")
    number = int(text) if text.lstrip("-").isdecimal() else float(text)
    if not -LARGEST_DOUBLE <= number <= LARGEST_DOUBLE:
        raise ValueError("a number beyond the largest double")
    return Number(text)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a member that comes twice")
    return found


def _is_deeper(value: object, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        deeper: list[object] = []
        for each in level:
            if isinstance(each, dict):
                deeper += each.values()
            elif isinstance(each, list):
                deeper += each
        level = [each for each in deeper if isinstance(each, dict | list)]
        if not level:
            return False
    return True
