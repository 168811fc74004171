"""Reads one line as strictly as the wire asks, apart from the product: for comparing the two.

Written from RFC 8259 and the rules of the wire alone, in plain Python, on neither `json` nor the product's parser.  Goes into
nothing by recursion, so nothing can be nested too deeply to be read.  Knows no methods.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from math import isinf
from typing import Any, Final, Literal, TypeAlias

Side: TypeAlias = Literal["client", "upstream"]
Kind: TypeAlias = Literal["request", "notification", "result", "error"]

HIDDEN_LINE_ENDS: Final = "\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029"
"""What some reader takes for the end of a line; LF is the only one."""

MAX_DEPTH: Final = {"client": 128, "upstream": 200}
MAX_NUMBER_CHARS: Final = 400
STRANGE_EXPONENT_DIGITS: Final = 18
"""From so many digits on, exact decimal arithmetic cannot hold an exponent, and a client's number may be refused for that."""
MAX_DOUBLE: Final = str(2**1024 - 2**971)
ENVELOPE: Final = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
PARAMS: Final = frozenset(
    {
        "name",
        "arguments",
        "uri",
        "_meta",
        "task",
        "inputResponses",
        "requestState",
        "cursor",
        "ref",
        "argument",
        "context",
        "requestId",
        "progressToken",
        "notifications",
        "taskId",
        "level",
        "protocolVersion",
        "capabilities",
        "clientInfo",
    }
)

LONE_SURROGATE: Final = "lone surrogate"

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPE: Final = re.compile(r'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4}))')
_ESCAPED: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS: Final = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_LONE: Final = re.compile("[\ud800-\udfff]")


class Refused(Exception):  # noqa: N818 - it says what becomes of a line
    """The line is not exactly one message; the text says by which rule."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number by its exact value: `digits` without zeros at either end, times ten to the power of `exponent`."""

    text: str
    negative: bool
    digits: str
    exponent: int

    @property
    def is_integer(self) -> bool:
        """Whether it is written as JSON writes integers."""
        return self.text.lstrip("-").isdigit()

    @property
    def is_too_large(self) -> bool:
        """Whether it lies beyond the largest double, by its exact value."""
        size = len(self.digits) + self.exponent
        whole = self.digits.ljust(len(MAX_DOUBLE), "0")
        return bool(self.digits) and (size > len(MAX_DOUBLE) or (size == len(MAX_DOUBLE) and whole > MAX_DOUBLE))

    def is_value(self, value: object) -> bool:
        """Whether a parser that gave `value` has read this number: an integer as `int`, any other exactly or as its double."""
        if type(value) is float:
            return not self.is_integer and float(self.text) == value
        if type(value) is not (int if self.is_integer else Decimal):
            return False
        other = number(str(value).replace("E+", "E"))
        return (self.negative and bool(self.digits), self.digits, self.exponent) == (
            other.negative and bool(other.digits),
            other.digits,
            other.exponent,
        )


@dataclass(slots=True)
class Text:
    """What a text of JSON holds, and by which rules of the wire, though it is JSON, it is refused.

    `client_faults` count from a client only.  `depth` counts levels of containers.  `top` are the
    members of the outermost object as they were written, also those that came twice.  `strange_exponents` is for what a client may be
    refused and need not be.
    """

    value: Any = None
    faults: set[str] = field(default_factory=set)
    client_faults: set[str] = field(default_factory=set)
    depth: int = 0
    strange_exponents: bool = False
    top: list[tuple[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reading:
    """One message: numbers in it are `Number`, and lone surrogates stand in its text."""

    kind: Kind
    id: Any
    method: str | None
    body: dict[str, Any]
    value: dict[str, Any]


def read(line: bytes, side: Side) -> Reading:
    """Read one line, LF included, that `side` has sent.

    Raises:
        Refused: it is not one message.
    """
    return classify(examine(line), side)


def examine(line: bytes) -> Text:
    """Read a line as JSON.

    Raises:
        Refused: it is none.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise Refused("no UTF-8") from error
    return _Reader(text).read()


def classify(text: Text, side: Side) -> Reading:
    """Say which message a text of JSON is.

    Raises:
        Refused: it is none.
    """
    if text.depth > MAX_DEPTH[side]:
        raise Refused("depth")
    faults = text.faults | (text.client_faults if side == "client" else set())
    if faults:
        raise Refused(", ".join(sorted(faults)))
    value = text.value
    if not isinstance(value, dict):
        raise Refused("no object")
    if LONE_SURROGATE in text.client_faults and "\ufffd" in readable(str(value.get("id"))):
        # Read with U+FFFD in the place of lone surrogates, the id could be any.
        raise Refused("lone surrogate in an id")
    _refuse_lookalikes(value, ENVELOPE)
    id_ = value.get("id")
    if "id" in value and not is_id(id_):
        raise Refused("id")
    if value.get("jsonrpc") != "2.0":
        raise Refused("jsonrpc")
    id_ = plain_id(id_)
    if "method" in value:
        params = value.get("params")
        if type(value["method"]) is not str or "result" in value or "error" in value:
            raise Refused("shape")
        if params is not None and not isinstance(params, dict):
            raise Refused("params")
        _refuse_lookalikes(params or {}, PARAMS)
        return Reading("request" if "id" in value else "notification", id_, value["method"], params or {}, value)
    kinds: list[Kind] = [name for name in ("result", "error") if name in value]
    if "id" not in value or "params" in value or len(kinds) != 1 or not isinstance(value[kinds[0]], dict):
        raise Refused("shape")
    return Reading(kinds[0], id_, None, value[kinds[0]], value)


def is_id(value: object) -> bool:
    """Whether a value can be the id of a request."""
    return type(value) is str or (type(value) is Number and value.is_integer)


def plain_id(value: object) -> Any:
    """Give an id as other programs would: a `str`, an `int`, or None."""
    return int(value.text) if isinstance(value, Number) else value


def readable(text: str) -> str:
    """Write U+FFFD in the place of each lone surrogate."""
    return _LONE.sub("\ufffd", text)


def number(text: str) -> Number:
    """Read a number that is written as JSON writes numbers."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise Refused(f"no number: {text[:50]}")
    sign, whole, part, power = found.groups(default="")
    digits = (whole + part).lstrip("0")
    exponent = int(power or "0") - len(part) + len(digits) - len(digits.rstrip("0"))
    digits = digits.rstrip("0")
    return Number(text, sign == "-", digits, exponent if digits else 0)


def are_same(mine: object, theirs: object) -> bool:
    """Whether another parser has read what this one has: numbers exactly, or as doubles; text with U+FFFD for lone surrogates."""
    pairs = [(mine, theirs)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, dict):
            if type(other) is not dict or [readable(name) for name in one] != list(other):
                return False
            pairs += zip(one.values(), other.values(), strict=True)
        elif isinstance(one, list):
            if type(other) is not list or len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif isinstance(one, Number):
            if not one.is_value(other):
                return False
        elif isinstance(one, str):
            if type(other) is not str or readable(one) != other:
                return False
        elif one is not other:
            return False
    return True


def strings_in(value: object) -> set[str]:
    """Give every string in a value, names of members included."""
    found, waiting = set(), [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                found.add(text)
            case dict() as members:
                found |= members.keys()
                waiting += members.values()
            case list() as items:
                waiting += items
    return found


def _refuse_lookalikes(members: dict[str, Any], names: frozenset[str]) -> None:
    folded = {name.casefold() for name in names}
    for member in members:
        if member not in names and member.casefold() in folded:
            raise Refused(f"lookalike {member!a}")


class _Reader:
    """Reads a text from its first character to its last; what is open stands on a stack."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[dict[str, Any] | list[Any]] = []
        self._names: list[str] = []
        """The name that the next value of each open object belongs to."""
        self._seen: list[set[str]] = []
        self._read = Text()

    def read(self) -> Text:
        """Read it all.

        Raises:
            Refused: it is not one JSON value.
        """
        value, closed = self._value()
        while self._open or not closed:
            if not closed:
                value, closed = self._value()
                continue
            self._put(value)
            character = self._next()
            if character == ",":
                self._at += 1
                self._before_value()
                closed = False
            elif character == ("}" if isinstance(self._open[-1], dict) else "]"):
                self._at += 1
                value = self._close()
            else:
                raise Refused("syntax")
        if self._next():
            raise Refused("more than one value")
        self._read.value = value
        return self._read

    def _value(self) -> tuple[Any, bool]:
        """Read a value; or open a container that holds something, which is then not closed."""
        character = self._next()
        match character:
            case "{" | "[":
                self._at += 1
                self._open.append({} if character == "{" else [])
                self._read.depth = max(self._read.depth, len(self._open))
                if character == "{":
                    self._names.append("")
                    self._seen.append(set())
                if self._next() == ("}" if character == "{" else "]"):
                    self._at += 1
                    return self._close(), True
                self._before_value()
                return None, False
            case '"':
                return self._string(), True
            case "t" | "f" | "n":
                word, value = _WORDS[character]
                if not self._text.startswith(word, self._at):
                    raise Refused("syntax")
                self._at += len(word)
                return value, True
            case _:
                return self._number(), True

    def _before_value(self) -> None:
        """Read the name of the next member, if an object is open."""
        if not isinstance(self._open[-1], dict):
            return
        if self._next() != '"':
            raise Refused("syntax")
        name = self._names[-1] = self._string()
        if readable(name) in self._seen[-1]:
            self._read.faults.add("duplicate")
        self._seen[-1].add(readable(name))
        if self._next() != ":":
            raise Refused("syntax")
        self._at += 1

    def _put(self, value: Any) -> None:
        container = self._open[-1]
        if isinstance(container, list):
            container.append(value)
            return
        container[self._names[-1]] = value
        if len(self._open) == 1:
            self._read.top.append((self._names[-1], value))

    def _close(self) -> dict[str, Any] | list[Any]:
        container = self._open.pop()
        if isinstance(container, dict):
            self._names.pop()
            self._seen.pop()
        return container

    def _string(self) -> str:
        parts = []
        self._at += 1
        while True:
            plain = _PLAIN.match(self._text, self._at)
            assert plain is not None
            parts.append(plain.group())
            self._at = plain.end()
            if self._text[self._at : self._at + 1] == '"':
                self._at += 1
                break
            escape = _ESCAPE.match(self._text, self._at)
            if escape is None:
                raise Refused("string")
            short, code = escape.groups()
            parts.append(_ESCAPED[short] if short else chr(int(code, 16)))
            self._at = escape.end()
        text = "".join(parts)
        if _LONE.search(text):
            # Two escapes that make one character become it; what is left is alone.
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
            if _LONE.search(text):
                self._read.client_faults.add(LONE_SURROGATE)
        return text

    def _number(self) -> Number:
        found = _NUMBER.match(self._text, self._at)
        if found is None:
            raise Refused("syntax")
        self._at = found.end()
        if len(found.group()) > MAX_NUMBER_CHARS:
            self._read.faults.add("long number")
            return Number(found.group(), negative=False, digits="", exponent=0)
        value = number(found.group())
        if len((found.group(4) or "").lstrip("+-0")) >= STRANGE_EXPONENT_DIGITS:
            self._read.strange_exponents = True
        if value.is_too_large:
            # A server's fraction counts as the double that it is rounded to.
            rounded = not value.is_integer and not isinf(float(value.text))
            (self._read.client_faults if rounded else self._read.faults).add("large number")
        return value

    def _next(self) -> str:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return self._text[self._at : self._at + 1]
