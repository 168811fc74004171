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
_RESULT: Final = frozenset(("content", "isError", "structuredContent", "_meta"))
_from_json = jiter.from_json


def read_call(line: bytes) -> PlainCall | None:
    """Read a short `tools/call` that has a name, arguments, perhaps `_meta`, and nothing that needs a second look."""
    if len(line) > SHORT_LINE_BYTES:
        return None
    try:
        message = _from_json(
            line, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys", float_mode="decimal"
        )
        params = message["params"]
        id_ = message["id"]
        name = params["name"]
        arguments = params["arguments"]
        if message["method"] != "tools/call" or message["jsonrpc"] != "2.0" or type(name) is not str:
            return None
        # These numbers of members leave room for no others.
        meta = None
        if len(params) != 2:
            meta = params["_meta"]
        if len(message) != 4 or len(params) > 3:
            return None
        strings = meta is None
        for value in arguments.values():
            if type(value) is not str:
                strings = False
    except Exception:  # noqa: BLE001 - whatever it is, it is not plain
        return None
    if type(id_) is int:
        if not -_MAX_ID < id_ < _MAX_ID:
            return None
    elif type(id_) is not str:
        return None
    # Strings are neither deep nor large.
    if type(arguments) is not dict or not (strings or _is_moderate(line)):
        return None
    if 13 in line or not (line.isascii() or (0x85 not in line and 0xE2 not in line)):
        line = clean(line)
    return id_, name, arguments, meta, line


def read_answer(line: bytes) -> PlainAnswer | None:
    """Read a short result that has the members of a finished tool call and nothing that needs a second look."""
    if len(line) > SHORT_LINE_BYTES:
        return None
    try:
        message = _from_json(line, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
        result = message["result"]
        id_ = message["id"]
        if message["jsonrpc"] != "2.0" or len(message) != 3:
            return None
        strings = True
        for block in result["content"]:
            for value in block.values():
                if type(value) is not str:
                    strings = False
        if len(result) != 1:
            if not _RESULT.issuperset(result):
                return None
            strings = strings and len(result) == 2 and type(result.get("isError")) is bool
    except Exception:  # noqa: BLE001 - as above
        return None
    if type(id_) is not int and type(id_) is not str:
        return None
    if type(result) is not dict or not (strings or _is_moderate(line)):
        return None
    if 13 in line or not (line.isascii() or (0x85 not in line and 0xE2 not in line)):
        line = clean(line)
    return id_, result, line


def _is_moderate(line: bytes) -> bool:
    outline = line.translate(OUTLINE)
    return b"0e" not in outline and LONG_RUN not in outline and outline.count(b"[") <= MAX_CLIENT_DEPTH
