r"""Takes out of what people and models read the characters that they do not see: terminal sequences, controls, invisible letters.

Says what is to be changed, and changes nothing itself; knows of titles, descriptions and JSON Schema, and of no method. Names, URIs
and everything else that programs compare are only judged (`is_clean`).
"""

from __future__ import annotations

# Not `json`, which would import `re`, on the way to a server's first answer.
from _json import encode_basestring_ascii as _quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final, TypeAlias, TypeVar

    from mcpguard.protocol.splice import Change

    Cleaned: TypeAlias = tuple[Change, int]
    """What becomes of a value, and how many characters that takes away: with 0 it stays."""
    Members: TypeAlias = tuple[dict[str, Change], int]
    """The same for those members of an object that do not stay."""
    Reader: TypeAlias = Callable[[object], Cleaned]
    Key = TypeVar("Key", str, int)

_REMOVED: Final = frozenset(
    chr(code)
    for codes in (
        (*range(0x09), *range(0x0B, 0x20), *range(0x80, 0xA0)),
        (0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF),
        range(0xE0000, 0xE01F0),
    )
    for code in codes
)
"""C0 and C1 controls except TAB and LF, what has no width or turns the direction of text, tags and variation selectors.

U+200C and U+200D, which join letters or keep them apart, are text.
"""
_GONE: Final = dict.fromkeys(map(ord, _REMOVED))
_ASCII: Final = bytes(range(128))
_PLANE_14_LEAD: Final = 0xF3
_PLANE_14_SURROGATE: Final = 0xDB40
"""What tags and variation selectors begin with, in UTF-8 and in a JSON escape."""

_ESC: Final = "\x1b"
_STRINGS: Final = "]PX^_"
"""What follows ESC where a string follows that a terminator ends: OSC (BEL ends it too), DCS, SOS, PM, APC (ECMA-48, 5.6)."""
_SINGLE: Final = {"\x90": "P", "\x98": "X", "\x9b": "[", "\x9c": "\\", "\x9d": "]", "\x9e": "^", "\x9f": "_"}
"""The same as single characters, and CSI and ST, with what follows ESC in their longer form."""


def may_need_cleaning(line: bytes) -> bool:
    r"""Whether a line of JSON could hold a character that is to be removed, raw or escaped; False is certain.

    Looks at bytes: nearly every list holds none, and a long one must not be walked through to know it.
    """
    if not line.isascii():
        rest = line.translate(None, _ASCII)
        text = rest.decode()
        # All of them are unprintable, except variation selectors.
        if (_PLANE_14_LEAD in rest or not text.isprintable()) and not _REMOVED.isdisjoint(text):
            return True
    if b"\\" not in line:
        return False
    escapes = line.split(b"\\")
    kinds = {escape[:1] for escape in escapes}
    if not kinds.isdisjoint((b"b", b"f", b"r")):
        return True
    return b"u" in kinds and any(map(_is_removed, {escape[1:5] for escape in escapes if escape[:1] == b"u"}))


def _is_removed(digits: bytes) -> bool:
    try:
        code = int(digits, 16)
    except ValueError:
        return False  # after a backslash that is escaped itself
    return code == _PLANE_14_SURROGATE or chr(code) in _REMOVED


def is_clean(text: str) -> bool:
    """Whether a text holds none of the characters that are removed from what people read."""
    return (text.isascii() and text.isprintable()) or _REMOVED.isdisjoint(text)


def clean_text(text: str) -> str:
    """Take them away, whole terminal sequences at once."""
    if is_clean(text):
        return text
    for single, final in _SINGLE.items():
        text = text.replace(single, _ESC + final)
    return _without_sequences(text).translate(_GONE)


def _without_sequences(text: str) -> str:
    """Take away what begins with ESC (ECMA-48, ECMA-35); of a sequence that does not end, what there is of it.

    A string without its terminator loses its introduction only, and is seen.
    """
    kept = []
    at = bell = terminator = 0
    while (start := text.find(_ESC, at)) >= 0:
        kept.append(text[at:start])
        introduced = text[start + 1 : start + 2]
        at = start + 2
        if introduced == "[":
            at = _past(text, _past(text, at, "0", "?"), " ", "/")
            at += "@" <= text[at : at + 1] <= "~"
        elif introduced and introduced in _STRINGS:
            # Each is looked for again only once it lies behind: a text full of beginnings is read once.
            if 0 <= bell < at:
                bell = text.find("\x07", at)
            if 0 <= terminator < at:
                terminator = text.find(_ESC + "\\", at)
            end, length = terminator, 2
            if introduced == "]" and bell >= 0 and not 0 <= terminator < bell:
                end, length = bell, 1
            if end >= 0:
                at = end + length
        else:
            at = _past(text, start + 1, " ", "/")
            at += "0" <= text[at : at + 1] <= "~"
    return "".join(kept) + text[at:]


def _past(text: str, at: int, first: str, last: str) -> int:
    while first <= text[at : at + 1] <= last:
        at += 1
    return at


# What is read of an item, of a schema, of who a server is. A member of another case may be read as the known one (Go does), so
# case is folded: what is cleaned too much was read by nobody.


def clean_item(item: object) -> Members:
    """Clean a tool, a resource, a template or a prompt: its texts, those in its schemas, those of its arguments."""
    return _object(item, _ITEM.get)


def clean_introduction(result: object) -> Members:
    """Clean the result of `initialize` or `server/discover`: the instructions, and what the server says it is."""
    return _object(result, _INTRODUCTION.get)


def clean_description(result: object) -> Members:
    """Clean the description in a result of `prompts/get`."""
    return _object(result, _DESCRIBED.get)


def _object(value: object, reader_of: Callable[[str], Reader | None]) -> Members:
    if not isinstance(value, dict):
        return {}, 0
    return _all((name, member, reader_of(name.casefold())) for name, member in value.items())


def _array(value: object, reader: Reader) -> Cleaned:
    if not isinstance(value, list):
        return {}, 0
    return _all((index, element, reader) for index, element in enumerate(value))


def _all(parts: Iterable[tuple[Key, object, Reader | None]]) -> tuple[dict[Key, Change], int]:
    changes: dict[Key, Change] = {}
    removed = 0
    for key, value, reader in parts:
        if reader is not None:
            change, count = reader(value)
            if count:
                changes[key] = change
                removed += count
    return changes, removed


def _text(value: object) -> Cleaned:
    if not isinstance(value, str):
        return None, 0
    cleaned = clean_text(value)
    return (None, 0) if cleaned is value else (_quoted(cleaned), len(value) - len(cleaned))


def _texts(value: object) -> Cleaned:
    return _object(value, _TEXTS.get)


def _title(value: object) -> Cleaned:
    return _object(value, _TITLE.get)


def _arguments(value: object) -> Cleaned:
    return _array(value, _texts)


def _meta(value: object) -> Cleaned:
    return _object(value, {"io.modelcontextprotocol/serverinfo": _texts}.get)


def _schema(value: object) -> Cleaned:
    """Clean a JSON Schema: the texts in it and in the schemas inside it, but not what it holds as data or as names."""
    return _array(value, _schema) if isinstance(value, list) else _object(value, _reader_in_schema)


def _reader_in_schema(folded: str) -> Reader | None:
    if folded in _DATA:
        return None
    if folded in _TEXTS:
        return _text_or_schema
    return _schemas_by_name if folded in _NAMED else _schema


def _text_or_schema(value: object) -> Cleaned:
    return _text(value) if isinstance(value, str) else _schema(value)


def _schemas_by_name(value: object) -> Cleaned:
    return _object(value, lambda _: _schema)


_TITLE: Final[dict[str, Reader]] = {"title": _text}
_TEXTS: Final[dict[str, Reader]] = {"title": _text, "description": _text}
_DESCRIBED: Final[dict[str, Reader]] = {"description": _text}
_ITEM: Final[dict[str, Reader]] = {
    **_TEXTS,
    "annotations": _title,
    "arguments": _arguments,
    "inputschema": _schema,
    "outputschema": _schema,
}
_INTRODUCTION: Final[dict[str, Reader]] = {"instructions": _text, "serverinfo": _texts, "_meta": _meta}
_NAMED: Final = frozenset(
    ("properties", "patternproperties", "$defs", "definitions", "dependentschemas", "dependencies")
)
"""Keywords whose members are schemas by names, not keywords (JSON Schema 2020-12; `dependencies`: draft 7)."""
_DATA: Final = frozenset(("enum", "const", "default", "examples"))
"""Keywords that hold values of arguments."""
