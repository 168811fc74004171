"""Writes JSON for people to read and edit: short things on one line, long ones on several, nothing that a terminal would obey."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Final

WIDTH: Final = 110


def json_lines(value: object, indent: str = "", before: int = 0) -> str:
    """Write a value; `before` is how much of its first line is taken."""
    flat = json_line(value)
    if len(indent) + before + len(flat) <= WIDTH or not isinstance(value, (dict, list, tuple)) or not value:
        return flat
    deeper = f"{indent}  "
    if isinstance(value, dict):
        opening, closing = "{", "}"
        items = []
        for key, item in value.items():
            name = f"{_text(key)}: "
            items.append(name + json_lines(item, deeper, len(name)))
    elif all(isinstance(item, str) for item in value):
        return f"[\n{_filled([_text(item) for item in value], deeper)}\n{indent}]"
    else:
        opening, closing = "[", "]"
        items = [json_lines(item, deeper) for item in value]
    lines = ",".join(f"\n{deeper}{item}" for item in items)
    return f"{opening}{lines}\n{indent}{closing}"


def json_line(value: object) -> str:
    """Write a value on one line."""
    match value:
        case dict():
            inner = ", ".join(f"{_text(key)}: {json_line(item)}" for key, item in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(json_line, value))}]"
        case str():
            return _text(value)
        case Decimal():
            return str(value)
        case _:
            return json.dumps(value)


def _filled(texts: list[str], indent: str) -> str:
    """Put short texts side by side."""
    lines = [indent]
    for index, text in enumerate(texts):
        word = text + "," * (index + 1 < len(texts))
        if len(lines[-1]) + len(word) >= WIDTH and lines[-1].strip():
            lines.append(indent)
        lines[-1] += (" " if lines[-1].strip() else "") + word
    return "\n".join(lines)


def _text(text: str) -> str:
    """Write a string; what is not printable is escaped, for it may come from a server."""
    if text.isprintable():
        return json.dumps(text, ensure_ascii=False)
    return "".join(
        character if character.isprintable() else json.dumps(character)[1:-1]
        for character in json.dumps(text, ensure_ascii=False)
    )
