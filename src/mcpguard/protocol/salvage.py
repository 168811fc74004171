"""Finds out whom to answer about a line that could not be read.

A guess here never lets anything pass: all that hangs on it is who gets an error.
"""

from __future__ import annotations

import re

import jiter

from mcpguard.protocol.framing import KEPT_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from mcpguard.protocol.wire import Id

_LONG_SEARCH_BYTES: Final = 1 << 20


def find_id(head: bytes, tail: bytes) -> Id | None:
    r"""Find the id of a line that could not be read, from its first and its last bytes.

    The id is looked for among the members that open the line, then in the one that closes it. A line that shows two, or
    none with certainty, has none: an answer under a wrong id would be taken for another request's. Whoever has the line whole
    passes it twice; if its braces do not match, what closes it may be an inner object.
    """
    number_or_string = rb'(-?(?:0|[1-9][0-9]{0,99})(?=[\s,}])|"(?:[^"\\\x00-\x1f]|\\.){0,1000}")'
    scalar = rb'(?:"(?:[^"\\\x00-\x1f]|\\.){0,4000}"|[-+.0-9a-zA-Z]{1,400})'
    opening = re.match(
        rb'(?:\xef\xbb\xbf)?\s*\{\s*(?:"(?!id")[a-zA-Z]{1,20}"\s*:\s*'
        + scalar
        + rb'\s*,\s*){0,6}"id"\s*:\s*'
        + number_or_string,
        head,
    )
    closing = re.search(
        rb'[,{]\s*"id"\s*:\s*'
        + number_or_string
        + rb'(?:\s*,\s*"(?!id")[a-zA-Z]{1,20}"\s*:\s*'
        + scalar
        + rb"){0,6}\s*\}\s*$",
        tail,
    )
    if opening and closing and opening.group(1) != closing.group(1):
        return None
    found = opening or closing
    if found is None or (found is closing and head == tail and not _is_balanced(head)):
        return None
    try:
        value = jiter.from_json(found.group(1))
    except ValueError:
        return None
    return value if type(value) in (str, int) else None


def _is_balanced(line: bytes) -> bool:
    if len(line) > _LONG_SEARCH_BYTES:
        return True
    outside = re.sub(rb'"(?:[^"\\]++|\\.)*+"', b"", line, flags=re.DOTALL)
    return outside.count(b"{") == outside.count(b"}") and outside.count(b"[") == outside.count(b"]")


def guess_shape(head: bytes, tail: bytes) -> str:
    """Say whether a line that could not be read is meant as a "call" or an "answer", from the first member that tells; else empty."""
    for part in (head[:KEPT_BYTES], tail[-KEPT_BYTES:]):
        telling = re.search(rb'"(method|params|result|error)"\s*:', part, re.IGNORECASE)
        if telling:
            return "call" if telling.group(1).lower() in (b"method", b"params") else "answer"
    return ""


def is_object_like(line: bytes) -> bool:
    """Whether a line looks like the attempt at a message, and not like a log line or a batch."""
    return line.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")[:1] == b"{"
