"""Writes JSON values for people: exact, over several lines, and so that nothing in them hides or looks like something else."""

from __future__ import annotations

import re
import unicodedata
from _json import encode_basestring_ascii
from decimal import Decimal
from typing import Final

from mcpguard.policy.canonical import canonical

_MOST_MARKS: Final = 3
_RIGHT_TO_LEFT: Final = frozenset(("R", "AL", "AN"))
_OTHER_WAY: Final = frozenset(("L", "EN", "AN"))
# What has no width, or no ink, and is a letter, a mark or a symbol all the same; Unicode calls most of it default-ignorable.
_BLANK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)


def readable(value: object, indent: str = "") -> str:
    """Write a JSON value whose numbers are `int` or `Decimal`; lines after the first begin with `indent`."""
    deeper = indent + "  "
    match value:
        case dict() if value:
            members = (f"{deeper}{_quoted(key, is_name=True)}: {readable(item, deeper)}" for key, item in value.items())
            return "{\n" + ",\n".join(members) + f"\n{indent}}}"
        case list() | tuple() if value:
            return "[\n" + ",\n".join(f"{deeper}{readable(item, deeper)}" for item in value) + f"\n{indent}]"
        case dict():
            return "{}"
        case list() | tuple():
            return "[]"
        case str():
            return _quoted(value)
        case Decimal():
            return str(value)
        case _:
            return canonical(value)


def visible_text(text: str) -> str:
    """Escape, as JSON does, whatever of a text nobody sees or would read in another order, and what would begin another line."""
    return escaped(text, quoted=False, is_name=False)


def escaped(text: str, *, quoted: bool, is_name: bool) -> str:
    """Escape what of a text hides or misleads: characters without width or ink, stacks of marks, and words that run from right to left
    beside others, in a name in any case.  `quoted` escapes quotation marks as well.
    """
    if text.isascii() and text.isprintable() and "\\" not in text and not (quoted and '"' in text):
        return text
    directions = {unicodedata.bidirectional(character) for character in text}
    # Where both directions meet, terminals show things in another order than they are in.
    is_mixed = is_name or bool(directions & _OTHER_WAY)
    parts: list[str] = []
    marks, on_letter = 0, False
    for character in text:
        category = unicodedata.category(character)
        if category in {"Mn", "Mc"}:
            marks += 1
            visible = on_letter and marks <= _MOST_MARKS
        else:
            marks, on_letter = 0, category.startswith("L")
            visible = character.isprintable() and category != "Me"
        if (
            not visible
            or _BLANK.match(character)
            or (is_mixed and unicodedata.bidirectional(character) in _RIGHT_TO_LEFT)
            or character == "\\"
            or (quoted and character == '"')
        ):
            character = encode_basestring_ascii(character)[1:-1]  # noqa: PLW2901 - the same one, written otherwise
        parts.append(character)
    return "".join(parts)


def _quoted(text: str, *, is_name: bool = False) -> str:
    return f'"{escaped(text, quoted=True, is_name=is_name)}"'
