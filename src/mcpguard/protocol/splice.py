"""Changes single values inside a line of JSON and leaves every other byte as it was sent.

Works on lines that `wire.decode` has accepted: strict JSON, so a lenient reader sees the same values at the same places.
"""

from __future__ import annotations

# The scanner behind `json.loads`, without the package around it: that would import `re`, on the way to a server's first answer.
from _json import make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    Change: TypeAlias = "str | Changes | None"
    """What becomes of a value: other JSON text, what is changed inside it, or nothing (None)."""
    Changes: TypeAlias = "Mapping[str, Change] | Mapping[int, Change]"
    """What becomes of the members of an object, by their names, or of the elements of an array, by their places."""


class _Plain:
    """How the scanner is to read: as `json.JSONDecoder` does by default."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's own, cleared by it


_scan = make_scanner(_Plain)  # type: ignore[arg-type]  # it reads the attributes of any object


def rewrite_line(line: bytes, changes: Changes) -> bytes:
    """Change members of the object that a line holds; the line keeps its LF."""
    text = line.decode()
    return rewrite(text, _past(text, 0), changes)[0].encode() + b"\n"


def rewrite(text: str, start: int, changes: Changes) -> tuple[str, int]:
    """Write the object or array at `start` with `changes` made; give that and the place where the value ends.

    A name that an object does not have is appended if its change is text; changes inside a value that is no container are none.
    """
    left: dict[object, Change] = dict(changes.items())
    opening = text[start]
    closing = "}" if opening == "{" else "]"
    written = []
    index = 0
    at = _past(text, start + 1)
    while text[at] != closing:
        begin = value = at
        key: object = index
        if closing == "}":
            key, value = _scan(text, at)
            value = _past(text, _past(text, value) + 1)
        change = left.pop(key, "") if left else ""
        if change and not isinstance(change, str) and text[value] in "{[":
            new, at = rewrite(text, value, change)
            written.append(text[begin:value] + new)
        else:
            at = _scan(text, value)[1]
            if isinstance(change, str) and change:
                written.append(text[begin:value] + change)
            elif change is not None:
                written.append(text[begin:at])
        index += 1
        at = _past(text, at)
        if text[at] == ",":
            at = _past(text, at + 1)
    if closing == "}":
        written += [f'"{name}":{change}' for name, change in left.items() if isinstance(change, str)]
    return opening + ",".join(written) + closing, at + 1


def elements(text: str, start: int) -> list[tuple[int, int]]:
    """Give the place (start, end) of each element of the array at `start`."""
    places = []
    at = _past(text, start + 1)
    while text[at] != "]":
        end = _scan(text, at)[1]
        places.append((at, end))
        at = _past(text, end)
        if text[at] == ",":
            at = _past(text, at + 1)
    return places


def find(text: str, *path: str) -> int:
    """Give the place of the value at `path`, members of nested objects, starting at the object the text begins with.

    Raises:
        KeyError: there is no such member.
    """
    at = _past(text, 0)
    for step in path:
        for name, value in _members(text, at):
            if name == step:
                at = value
                break
        else:
            raise KeyError(step)
    return at


def names(text: str, start: int) -> list[str]:
    """Give the names of the members of the object at `start`."""
    return [name for name, _ in _members(text, start)]


def _members(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Give the name of each member of the object at `start`, and the place of its value, which is read only to go on."""
    at = _past(text, start + 1)
    while text[at] != "}":
        name, key_end = _scan(text, at)
        value = _past(text, _past(text, key_end) + 1)
        yield name, value
        at = _past(text, _scan(text, value)[1])
        if text[at] == ",":
            at = _past(text, at + 1)


def _past(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
