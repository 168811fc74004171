"""Reads JSON slowly, to say where everything stands and what is wrong with it.

For texts that something is wrong with: a good one never comes here.  Refuses what RFC 8259 does not allow, and
duplicate keys.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from json.decoder import JSONDecodeError, JSONDecoder
from typing import Final, NoReturn

from mcpguard.stores.text import MAX_DEPTH, Place, Position, Reading, exact_number, quoted, step

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD: Final = re.compile(r"[^\s,:{}\[\]\"']+")
_CONSTANTS: Final[dict[str, object]] = {"true": True, "false": False, "null": None}
_MEANT: Final = {"true": "true", "false": "false", "null": "null", "none": "null", "undefined": "null"}
_MAX_DIGITS: Final = 4300
_STRINGS: Final = JSONDecoder()


def read_json(text: str, noun: str = "policy") -> Reading:
    """Read `text`; what is wrong is in the `remarks`, and syntax ends the reading at the first error.

    `noun` is how remarks call what is written there.
    """
    return _Reader(text, noun).read()


class _BrokenError(Exception):
    """The text is no JSON from here on; it has been reported."""


class _Reader:
    def __init__(self, text: str, noun: str) -> None:
        self._text = text
        self._noun = noun
        self._at = 0
        self._line_starts = [0, *accumulate(len(line) for line in text.split("\n"))]
        self._line_starts = [start + index for index, start in enumerate(self._line_starts)]
        self._reading = Reading()

    def read(self) -> Reading:
        try:
            if self._text.startswith("\ufeff"):
                self._fail("the file begins with a byte order mark; save it as UTF-8 without one")
            self._reading.data = self._value("", None, 0)
            if self._next():
                self._fail_at_word("expected the end of the file")
        except _BrokenError:
            self._reading.complete = False
        return self._reading

    def _value(self, pointer: str, key: Position | None, depth: int) -> object:
        character = self._next()
        start = self._at
        if depth > MAX_DEPTH:
            self._fail(f"this is nested too deeply for a {self._noun}")
        match character:
            case "{":
                value, what = self._object(pointer, depth), "an object"
            case "[":
                value, what = self._list(pointer, depth), "a list"
            case '"':
                value = self._string(pointer)
                what = f"the string {quoted(self._text[start : self._at])}"
            case _:
                value = self._constant() if character.isalpha() else self._number(pointer)
                word = quoted(self._text[start : self._at])
                what = word if value is None or isinstance(value, bool) else f"the number {word}"
        self._reading.places[pointer] = Place(self._position(start), key, what)
        return value

    def _object(self, pointer: str, depth: int) -> object:
        opened = self._at
        found: dict[str, object] = {}
        first_at: dict[str, Position] = {}
        closed = self._opened("}")
        while not closed:
            key_at = self._position(self._at)
            if self._next() != '"':
                self._fail_at_word("a key must stand in double quotes")
            key = self._string(pointer)
            inner = step(pointer, key)
            if key in found:
                message = f"duplicate key {quoted(key)}; the first is at line {first_at[key].line}; keep one of them"
                self._reading.report(key_at, message, inner)
            first_at.setdefault(key, key_at)
            if self._next() != ":":
                self._fail_at_word(f"expected `:` after the key {quoted(key)}")
            self._at += 1
            found[key] = self._value(inner, key_at, depth + 1)
            closed = self._closed("}", opened)
        return found

    def _list(self, pointer: str, depth: int) -> object:
        opened = self._at
        found: list[object] = []
        closed = self._opened("]")
        while not closed:
            found.append(self._value(step(pointer, len(found)), None, depth + 1))
            closed = self._closed("]", opened)
        return found

    def _opened(self, bracket: str) -> bool:
        self._at += 1
        if self._next() != bracket:
            return False
        self._at += 1
        return True

    def _closed(self, bracket: str, opened: int) -> bool:
        character = self._next()
        comma = self._at
        if character == bracket:
            self._at += 1
            return True
        if character != ",":
            line = self._position(opened).line
            self._fail_at_word(f"expected `,` or the `{bracket}` that closes `{self._text[opened]}` of line {line}")
        self._at += 1
        if self._next() == bracket:
            self._at = comma
            self._fail(f"trailing comma; take out the `,` before `{bracket}`")
        return False

    def _string(self, pointer: str) -> str:
        start = self._at
        try:
            decoded, self._at = _STRINGS.raw_decode(self._text, start)
        except JSONDecodeError as error:
            self._at = min(error.pos, len(self._text))
            if error.msg.startswith("Invalid control character"):
                self._fail('a line break or control character in a string; is a closing `"` missing?')
            if error.msg.startswith("Unterminated"):
                self._at = start
                self._fail('this string has no closing `"`')
            self._fail('wrong escape in a string; `\\` goes before `" \\ / b f n r t` or `u` and four hex digits')
        return self._reading.whole(str(decoded), self._position(start), pointer)

    def _constant(self) -> object:
        found = _WORD.match(self._text, self._at)
        word = found.group() if found else ""
        if word not in _CONSTANTS:
            self._fail_at_word("expected a value")
        self._at += len(word)
        return _CONSTANTS[word]

    def _number(self, pointer: str) -> object:
        found = _NUMBER.match(self._text, self._at)
        if not found:
            self._fail_at_word("expected a value")
        start, self._at = self._at, found.end()
        if self._text[self._at : self._at + 1].isalnum():
            self._at = start
            self._fail_at_word("expected a number as JSON writes it")
        if found.group(1) or found.group(2):
            return exact_number(found.group())
        if len(found.group()) > _MAX_DIGITS:
            self._reading.report(self._position(start), "this number has too many digits", pointer)
            return 0
        return int(found.group())

    def _next(self) -> str:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def _fail_at_word(self, expected: str) -> NoReturn:
        rest = self._text[self._at : self._at + 2]
        if not rest:
            self._fail(f"{expected}, and the file ends here")
        if rest in {"//", "/*"} or rest[0] == "#":
            self._fail(f"JSON has no comments; use a `$comment` key, or write the {self._noun} as YAML")
        if rest[0] in "'\u2018\u2019\u201c\u201d":
            self._fail('strings stand in double quotes (`"`), not in other ones')
        found = _WORD.match(self._text, self._at)
        word = found.group() if found else rest[0]
        meant = _MEANT.get(word.lower())
        self._fail(f"{expected}, not {quoted(word)}" + (f"; did you mean `{meant}`?" if meant else ""))

    def _fail(self, message: str) -> NoReturn:
        self._reading.report(self._position(self._at), message)
        raise _BrokenError

    def _position(self, at: int) -> Position:
        line = bisect_right(self._line_starts, at, hi=len(self._line_starts) - 1)
        return Position(line, at - self._line_starts[line - 1] + 1)
