"""Decides which bytes are one JSON-RPC message, and which of them may travel on as they came.

Knows the shapes of JSON-RPC 2.0 and nothing of methods, policies or processes.  Only this module touches the JSON
parser: whatever it raises becomes `Malformed`.  Classes are plain and slotted because this module is imported before a
server's first answer, and `dataclasses` alone would double the import time.
"""

from __future__ import annotations

import jiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal
    from typing import Any, Final, Literal, TypeAlias

    Id: TypeAlias = str | int
    Side: TypeAlias = Literal["client", "upstream"]

CLIENT: Final = "client"
UPSTREAM: Final = "upstream"

MAX_CLIENT_DEPTH: Final = 128
MAX_UPSTREAM_DEPTH: Final = 200
MAX_NUMBER_CHARS: Final = 400

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

ENVELOPE: Final = frozenset(("jsonrpc", "id", "method", "params", "result", "error"))
PARAMS: Final = frozenset(
    (
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
    )
)
_FOLDED_ENVELOPE: Final = frozenset(name.casefold() for name in ENVELOPE)
_FOLDED_PARAMS: Final = frozenset(name.casefold() for name in PARAMS)
_ANY_DEPTH: Final = 1 << 40
_MAX_DOUBLE: Final = 2**1024 - 2**971
SHORT_LINE_BYTES: Final = 1024
OUTLINE: Final = bytes(
    48 if 48 <= c < 58 else 101 if c in b"eE" else 91 if c in b"[{" else 43 if c == 43 else 32 for c in range(256)
)
"""For `bytes.translate`: a digit becomes 0, e and E become e, [ and { become [, + stays, all else becomes a space."""
LONG_RUN: Final = b"0" * (MAX_NUMBER_CHARS // 3)
"""What the outline of a number shows that is too long, or too large without an exponent: a run of digits, among at most three."""
_NO_BRACKETS: Final = bytes(c for c in range(256) if c not in b"[]{}")
_PEELINGS: Final = 16
_NUMBER_CHARS: Final = bytes(48 if c in b"-+.0123456789eE" else 32 for c in range(256))
_LONG_NUMBER: Final = b"0" * (MAX_NUMBER_CHARS + 1)


_from_json = jiter.from_json


class Malformed(Exception):  # noqa: N818 - it names what the line is; an error is what JSON-RPC answers with
    """A line that is no message.

    `code` is the JSON-RPC error code that its sender is answered with. `id` and `shape` are what could be read of a line
    that is JSON: its id, and whether it is meant as a "call" or an "answer"; empty if neither.
    """

    def __init__(self, reason: str, code: int = INVALID_REQUEST) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.id: Id | None = None
        self.shape: str | None = None


class Message:
    """One decoded JSON-RPC message: a request, a notification, a result or an error.

    `id` is None exactly for notifications, `method` is None exactly for answers. `params` holds the parameters of a
    request or notification ({} if absent or null) or the error object of an error; `result` is the result object, None for an
    error. `line` is what may be forwarded: the bytes as they came, or cleaned where they held a character that some
    reader takes for a line end.
    """

    __slots__ = ("id", "line", "method", "params", "result")

    def __init__(
        self, id_: Id | None, method: str | None, params: dict[str, Any], result: dict[str, Any] | None, line: bytes
    ) -> None:
        self.id = id_
        self.method = method
        self.params = params
        self.result = result
        self.line = line


def decode(line: bytes, side: Side, parsed: dict[str, Any] | None = None) -> Message:  # noqa: PLR0912, PLR0915 - one straight path for every message
    """Read one line, strictly (RFC 8259, and the JSON-RPC 2.0 envelope by its exact names).

    Numbers of client messages come as `int` or `Decimal`, of upstream messages as `int` or `float`. `parsed` is what `plain` has made
    of this very line, if it has.

    Raises:
        Malformed: the line is not exactly one message, or holds something that two parsers could read in two ways.
    """
    # This runs for every message, so what is common is decided here, and only what is not is handed to a function.
    try:
        if side is CLIENT:
            message = parsed or _from_json(
                line, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys", float_mode="decimal"
            )
            max_depth = MAX_CLIENT_DEPTH
        else:
            # jiter's own limit is 200 levels of containers, and an empty one in the last.
            message = parsed or _from_json(line, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
            max_depth = MAX_UPSTREAM_DEPTH if _may_be_deep(line) else _ANY_DEPTH
    except Exception as error:  # noqa: BLE001 - whatever a parser raises, the line is refused
        message = _second_reading(line, side, error)
        max_depth = MAX_UPSTREAM_DEPTH
    if type(message) is not dict:
        raise Malformed("a batch is not supported: one message a line" if type(message) is list else "not an object")
    # Nearly every short line shows in its outline that it holds nothing extreme, and need not be walked through.
    outline = line.translate(OUTLINE) if len(line) <= SHORT_LINE_BYTES else b"0e"
    walk = b"0e" in outline or LONG_RUN in outline or outline.count(b"[") > MAX_CLIENT_DEPTH
    if walk and len(line) > len(LONG_RUN) and line[::64].translate(OUTLINE).find(b"00") >= 0:
        _refuse_long_numbers(line)
    # The last byte of NEL, U+2028 and U+2029, or CR: cheap to look for, and seldom there.
    clean_line = clean(line) if 13 in line or (not line.isascii() and (0x85 in line or 0xE2 in line)) else line
    id_ = message.get("id")
    try:
        if type(id_) is int:
            if not -_MAX_DOUBLE <= id_ <= _MAX_DOUBLE:
                id_ = None
                raise Malformed("a number beyond the largest double", PARSE_ERROR)
        elif type(id_) is not str and (id_ is not None or "id" in message):
            id_ = None
            raise Malformed("`id` must be a string or an integer")
        if not ENVELOPE.issuperset(message):
            _refuse_lookalikes(message, ENVELOPE, _FOLDED_ENVELOPE)
            if walk:
                _refuse_extremes(message, line, max_depth)
        if message.get("jsonrpc") != "2.0":
            raise Malformed('`jsonrpc` must be "2.0"')
        if "method" not in message:
            return _answer(message, id_, line, clean_line, max_depth, walk=walk)
        method = message["method"]
        if type(method) is not str:
            raise Malformed("`method` must be a string")
        if "result" in message or "error" in message:
            raise Malformed("a message has `method` or one of `result` and `error`, never both")
        params = message.get("params")
        if type(params) is dict:
            if not PARAMS.issuperset(params):
                _refuse_lookalikes(params, PARAMS, _FOLDED_PARAMS)
            if walk:
                _refuse_extremes(params, line, max_depth - 1)
            return Message(id_, method, params, None, clean_line)
        if params is not None:
            raise Malformed("`params` must be an object")
        return Message(id_, method, {}, None, clean_line)
    except Malformed as error:
        error.id = id_
        error.shape = _shape({name.casefold() for name in message}, side)
        raise


def _shape(members: set[str], side: Side) -> str:
    answers = not members.isdisjoint(("result", "error"))
    if answers and side is UPSTREAM:
        # Whatever else it may be: somebody may wait for it.
        return "answer"
    if "method" in members:
        return "call"
    if answers:
        return "answer"
    return ("call" if side is CLIENT else "answer") if "jsonrpc" in members else ""


def _second_reading(line: bytes, side: Side, error: Exception) -> Any:
    """Read a server's line that holds lone surrogates (JavaScript servers that cut text make them), with U+FFFD in their place.

    Raises:
        Malformed: that is not what is wrong with it.
    """
    if side is UPSTREAM:
        shadow = without_lone_surrogates(line)
        if shadow != line:
            try:
                message = _from_json(shadow, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
            except Exception as second:  # noqa: BLE001 - as in decode
                error = second
            else:
                if type(message) is dict and "\ufffd" in str(message.get("id")):
                    raise Malformed("a lone surrogate in `id`", PARSE_ERROR)
                return message
    raise Malformed(f"not strict JSON: {_words(error)}", PARSE_ERROR) from error


def _answer(
    message: dict[str, Any], id_: Id | None, line: bytes, clean_line: bytes, max_depth: int, *, walk: bool
) -> Message:
    if id_ is None:
        raise Malformed("a message needs a `method` or an `id`")
    if ("result" in message) == ("error" in message) or "params" in message:
        raise Malformed("an answer has exactly one of `result` and `error`")
    name = "result" if "result" in message else "error"
    body = message[name]
    if type(body) is not dict:
        raise Malformed(f"`{name}` must be an object")
    if walk:
        _refuse_extremes(body, line, max_depth - 1)
    if name == "result":
        return Message(id_, None, {}, body, clean_line)
    return Message(id_, None, body, None, clean_line)


def refuse_lookalikes(members: Iterable[str], names: frozenset[str]) -> None:
    """Refuse a member that equals one of `names` after case folding and is not it.

    Go's `encoding/json` binds such members (CVE-2026-27896), so a guard that reads `name` and a server that reads `NAME` would
    see two different calls.

    Raises:
        Malformed: with the member's name.
    """
    _refuse_lookalikes(members, names, frozenset(name.casefold() for name in names))


def _refuse_lookalikes(members: Iterable[str], names: frozenset[str], folded: frozenset[str]) -> None:
    for member in members:
        if member not in names and member.casefold() in folded:
            raise Malformed(f"the member {printable(member)} is one of the protocol's in another case")


def clean(line: bytes) -> bytes:
    """Take away everything in a valid JSON line that some reader could take for the end of a line.

    CR may stand between tokens of JSON, NEL, U+2028 and U+2029 may stand in strings, and Python's text streams and
    `str.splitlines` end a line there. Other such characters cannot stand in valid JSON at all (RFC 8259, 2 and 7).
    """
    if line.find(b"\r") >= 0:
        line = line.replace(b"\r\n", b"\n").replace(b"\r", b" ")
    if line.isascii():
        return line
    if line.find(b"\x85") >= 0:
        line = line.replace(b"\xc2\x85", b"\\u0085")
    if line.find(b"\xe2") >= 0:
        line = line.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return line


def without_lone_surrogates(line: bytes) -> bytes:
    r"""Write `\ufffd` over every escape of a lone surrogate; every other byte keeps its place."""
    if line.find(b"\\ud") < 0 and line.find(b"\\uD") < 0:
        return line
    import re

    def pair_or_replacement(match: re.Match[bytes]) -> bytes:
        return b"\\ufffd" if match.group(1) else match.group(0)

    return re.sub(
        rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
        pair_or_replacement,
        line,
        flags=re.DOTALL,
    )


def _refuse_long_numbers(line: bytes) -> None:
    """Refuse a run of more characters of numbers than one may have, outside of strings.

    Without regular expressions: they need gigabytes and seconds for a string of some megabytes.
    """
    text = line.translate(_NUMBER_CHARS)
    at = text.find(_LONG_NUMBER)
    if at < 0:
        return
    quotes = line.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    counted = 0
    while at >= 0:
        if quotes.count(b'"', counted, at) % 2 == 0:
            raise Malformed(f"a number of more than {MAX_NUMBER_CHARS} characters", PARSE_ERROR)
        counted = quotes.find(b'"', at) + 1
        at = text.find(_LONG_NUMBER, counted)


def _refuse_extremes(body: dict[str, Any], line: bytes, max_depth: int) -> None:
    """Refuse numbers beyond the largest double, and more than `max_depth` levels of containers.

    A walk over the values, level by level. Many containers mean a long walk: then, where depth is not asked for, a look at the
    text is quicker, and the walk is made only if the text shows a number that could be too large.
    """
    level: list[Any] = [body]
    walked = 0
    for _ in range(max_depth):
        deeper: list[Any] = []
        for container in level:
            for value in container.values() if type(container) is dict else container:
                kind = type(value)
                if kind is str:
                    continue
                if kind is dict or kind is list:
                    deeper.append(value)
                elif kind is not bool and value is not None and not _is_a_double(value):
                    raise Malformed("a number beyond the largest double", PARSE_ERROR)
        if not deeper:
            return
        level = deeper
        walked += len(deeper)
        if walked > 256 and max_depth > MAX_UPSTREAM_DEPTH:
            if not _may_hold_huge_numbers(line):
                return
            walked = -_ANY_DEPTH
    raise Malformed("nested too deeply", PARSE_ERROR)


def _may_be_deep(line: bytes) -> bool:
    """Whether a line could have more levels of containers than a server's line may; False is certain.

    Looks at its brackets alone: every pair of them that holds none is taken away, again and again. What is wide is gone soon.
    """
    if line.count(b"[") + line.count(b"{") <= MAX_UPSTREAM_DEPTH:
        return False
    brackets = line.translate(None, _NO_BRACKETS)
    for _ in range(_PEELINGS):
        # One or two levels go each time.
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return len(brackets) > 2 * (MAX_UPSTREAM_DEPTH - 2 * _PEELINGS)


def _may_hold_huge_numbers(line: bytes) -> bool:
    outline = line.translate(OUTLINE)
    return b"0e000" in outline or b"0e+000" in outline or LONG_RUN in outline


def _is_a_double(number: int | float | Decimal) -> bool:
    if type(number) is float:
        return number - number == 0
    if type(number) is int:
        return -_MAX_DOUBLE <= number <= _MAX_DOUBLE
    return number.adjusted() < 308 or -_MAX_DOUBLE <= number <= _MAX_DOUBLE  # type: ignore[union-attr]


def decode_exactly(value: bytes) -> Any:
    """Read a part of a line that `decode` has accepted, its numbers as `int` or `Decimal`.

    Raises:
        Malformed: it holds a number that a decimal cannot hold, and a double rounds.
    """
    try:
        return _from_json(value, float_mode="decimal")
    except ValueError as error:
        raise Malformed(_words(error)) from error


def encode(message: dict[str, Any]) -> bytes:
    """Write a message of our own: compact, one line, pure ASCII, the members in the order given."""
    import json

    return json.dumps(message, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def printable(text: str, limit: int = 100) -> str:
    """Somebody else's words, safe to print and to log: escaped, quoted and cut to `limit` characters."""
    shown = text if len(text) <= limit else text[:limit] + "…"
    return ascii(shown) if not shown.isprintable() else f"`{shown}`"


def _words(error: Exception) -> str:
    text = str(error).removeprefix("Internal error: ")
    if text.startswith("Detected duplicate key"):
        # The key itself is an argument, which has no place in a log.
        return "duplicate key" + text[text.rfind(" at line ") :]
    return text[:120]
