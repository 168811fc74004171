"""Replaces what differs between two runs of a server by its kind, so that the rest can be compared."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

_VARYING_MEMBERS = {"createdAt", "elicitationId", "lastUpdatedAt", "progressToken", "taskId"}
_VARYING_TEXT = (
    (re.compile(r"\b\d{1,2}:\d{2}:\d{2}( ?[AP]M)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
)


def masked(value: Any) -> Any:
    """Return the JSON `value` with times, random ids and progress tokens replaced, also within base64-encoded text."""
    match value:
        case dict():
            return {name: f"<{name}>" if name in _VARYING_MEMBERS else masked(each) for name, each in value.items()}
        case list():
            return [masked(each) for each in value]
        case str():
            return _masked_text(_decoded(value))
        case _:
            return value


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode() if len(text) % 4 == 0 else text
    except (binascii.Error, ValueError):
        return text


def _masked_text(text: str) -> str:
    for pattern, kind in _VARYING_TEXT:
        text = pattern.sub(kind, text)
    return text
