"""Writes arguments for the decision log: their keys, their types and lengths, or all of them.

What is written is canonical JSON, ASCII only.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias, assert_never

from mcpguard.policy.canonical import canonical

Mode: TypeAlias = Literal["digest", "keys", "masked", "full"]


def render_arguments(arguments: dict[str, object], mode: Mode) -> str | None:
    """Write arguments as a policy asks for it (`audit.arguments`); None where only their digest is wanted."""
    match mode:
        case "digest":
            return None
        case "keys":
            return canonical(_keys(arguments))
        case "masked":
            return canonical(_masked(arguments))
        case "full":
            return canonical(arguments)
        case _:
            assert_never(mode)


def _keys(value: object) -> object:
    """Keep the names of keys; a list shows each shape of its elements once, and every other value is null."""
    match value:
        case dict():
            return {key: _keys(item) for key, item in value.items()}
        case list():
            shapes = {canonical(shape): shape for shape in map(_keys, value)}
            return [shapes[text] for text in sorted(shapes)]
        case _:
            return None


def _masked(value: object) -> object:
    match value:
        case dict():
            return {key: _masked(item) for key, item in value.items()}
        case list():
            return [_masked(item) for item in value]
        case str():
            return f"string({len(value)})"
        case bool():
            return "boolean"
        case int() | Decimal():
            return "number"
        case _:
            return "null"
