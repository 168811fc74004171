"""Changes single values inside a line of JSON and leaves every other byte as it was sent.

Works on lines that `wire.decode` has accepted: strict JSON, so a lenient reader sees the same values at the same places.
"""

from __future__ import annotations

# The scanner behind `json.loads`, without the package around it: that would import `re`, on the way to a server's first answer.
from _json import make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import TypeAlias

    Change: TypeAlias = str | Callable[[str, int], str] | None
    """What becomes of a member: other JSON text, nothing (None), or what a function of (text, start) makes of it."""


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


def rewrite_line(line: bytes, changes: Mapping[str, Change]) -> bytes:
    """Change members of the object that a line holds; the line keeps its LF."""
    return rewrite_object(line.decode(), 0, changes).encode() + b"\n"


def rewrite_object(text: str, start: int, changes: Mapping[str, Change]) -> str:
    """Write the object at `start` with `changes` made; a name it does not have is appended, unless its change is None."""
    members = []
    missing = dict(changes)
    for name, key_start, value_start, value_end in _members(text, start):
        if name not in changes:
            members.append(text[key_start:value_end])
            continue
        change = missing.pop(name)
        if change is not None:
            new = change if isinstance(change, str) else change(text, value_start)
            members.append(text[key_start:value_start] + new)
    members += [f'"{name}":{change}' for name, change in missing.items() if isinstance(change, str)]
    return "{" + ",".join(members) + "}"


def rewrite_array(text: str, start: int, kept: Collection[int]) -> str:
    """Write the array at `start` with only those elements whose index is in `kept`."""
    return "[" + ",".join(text[a:b] for i, (a, b) in enumerate(elements(text, start)) if i in kept) + "]"


def elements(text: str, start: int) -> list[tuple[int, int]]:
    """Give the place (start, end) of each element of the array at `start`."""
    places = []
    at = _past(text, start) + 1
    while text[(at := _past(text, at))] != "]":
        end = _scan(text, at)[1]
        places.append((at, end))
        at = _past(text, end)
        at += text[at] == ","
    return places


def find(text: str, *path: str) -> int:
    """Give the place of the value at `path`, members of nested objects, starting at the object the text begins with.

    Raises:
        KeyError: there is no such member.
    """
    at = 0
    for step in path:
        for name, _, value_start, _ in _members(text, at):
            if name == step:
                at = value_start
                break
        else:
            raise KeyError(step)
    return at


def names(text: str, start: int) -> list[str]:
    """Give the names of the members of the object at `start`."""
    return [member[0] for member in _members(text, start)]


def _members(text: str, start: int) -> list[tuple[str, int, int, int]]:
    members = []
    at = _past(text, start) + 1
    while text[(at := _past(text, at))] != "}":
        name, key_end = _scan(text, at)
        value_start = _past(text, _past(text, key_end) + 1)
        value_end = _scan(text, value_start)[1]
        members.append((name, at, value_start, value_end))
        at = _past(text, value_end)
        at += text[at] == ","
    return members


def _past(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
