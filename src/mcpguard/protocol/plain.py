"""Reads what nearly every line is: a plain tool call, and its plain answer.

Both functions are shortcuts through `wire.decode` and what the session asks of its message: they read less, so they give nothing for
whatever is not plain, and then `decode` has the say.  What they do give, `decode` gives too (a law, and tested as one).
"""

from __future__ import annotations

import jiter

from mcpguard.protocol.wire import LONG_RUN, MAX_CLIENT_DEPTH, OUTLINE, SHORT_LINE_BYTES, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from mcpguard.protocol.wire import Id

    PlainCall = tuple[Id, str, dict[str, Any], object, bytes]
    """Its id, the tool's name, the arguments, `_meta` (None if there is none), and the line as it may be forwarded."""
    PlainAnswer = tuple[Id, dict[str, Any], bytes]
    """Its id, the result, and the line as it may be forwarded."""

_MAX_ID: Final = 2**53
_OPENING_BYTES: Final = 200
"""Where a long line says what it is; one that says it later goes the long way."""
_RESULT: Final = frozenset(("content", "isError", "structuredContent", "_meta"))
_from_json = jiter.from_json


def read_call(line: bytes) -> PlainCall | dict[str, Any] | None:
    """Read a `tools/call` that has a name, arguments, perhaps `_meta`, and nothing that needs a second look.

    Of a long line that is something else, what the parser made of it is given back: it need not be parsed again.
    """
    is_long = len(line) > SHORT_LINE_BYTES
    if is_long and line.find(b'"tools/call"', 0, _OPENING_BYTES) < 0:
        return None
    message: Any = None
    try:
        message = _from_json(
            line, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys", float_mode="decimal"
        )
        params = message["params"]
        id_ = message["id"]
        name = params["name"]
        arguments = params["arguments"]
        # These numbers of members leave room for no others.
        meta = None
        if len(params) != 2:
            meta = params["_meta"]
        if message["method"] != "tools/call" or message["jsonrpc"] != "2.0" or len(message) != 4 or len(params) > 3:
            return message if is_long and type(message) is dict else None
        # Strings are neither deep nor large.
        moderate = meta is None
        for value in arguments.values():
            if type(value) is not str:
                moderate = False
    except Exception:  # noqa: BLE001 - whatever it is, it is not plain
        return message if is_long and type(message) is dict else None
    if not moderate:
        moderate = not is_long and _is_moderate(line)
    if (
        not moderate
        or type(name) is not str
        or type(arguments) is not dict
        or not ((type(id_) is int and -_MAX_ID < id_ < _MAX_ID) or type(id_) is str)
    ):
        return message if is_long else None
    if 13 in line or not (line.isascii() or (0x85 not in line and 0xE2 not in line)):
        line = clean(line)
    return id_, name, arguments, meta, line


def read_answer(line: bytes) -> PlainAnswer | dict[str, Any] | None:
    """Read a result that has the members of a finished tool call and nothing that needs a second look.

    Of a long line that is something else, what the parser made of it is given back.
    """
    is_long = len(line) > SHORT_LINE_BYTES
    if is_long and line.find(b'"content"', 0, _OPENING_BYTES) < 0:
        return None
    message: Any = None
    try:
        message = _from_json(line, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
        result = message["result"]
        id_ = message["id"]
        # Strings and booleans are neither deep nor large.
        moderate = len(result) == 1 or (len(result) == 2 and type(result.get("isError")) is bool)
        for block in result["content"]:
            for value in block.values():
                if type(value) is not str:
                    moderate = False
        if message["jsonrpc"] != "2.0" or len(message) != 3 or (len(result) != 1 and not _RESULT.issuperset(result)):
            return message if is_long and type(message) is dict else None
    except Exception:  # noqa: BLE001 - as above
        return message if is_long and type(message) is dict else None
    if not moderate:
        moderate = not is_long and _is_moderate(line)
    if not moderate or type(result) is not dict or (type(id_) is not int and type(id_) is not str):
        return message if is_long else None
    if 13 in line or not (line.isascii() or (0x85 not in line and 0xE2 not in line)):
        line = clean(line)
    return id_, result, line


def _is_moderate(line: bytes) -> bool:
    outline = line.translate(OUTLINE)
    return b"0e" not in outline and LONG_RUN not in outline and outline.count(b"[") <= MAX_CLIENT_DEPTH
