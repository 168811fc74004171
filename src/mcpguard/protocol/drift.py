"""Notices when a tool is not any more what a list of the same session first showed.

A definition is the canonical JSON of the whole item, as it was received. Knows no policy but whether a change is permitted.
"""

from __future__ import annotations

# Not where it is used: a pump that imports waits for the main thread, which imports for a long time at the start.
from mcpguard.protocol import splice
from mcpguard.protocol.wire import Malformed, decode_exactly, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_TOOLS: Final = 10_000
MAX_BYTES: Final = 16 << 20
"""How many tools are remembered, and how much of their text: a tool beyond that is one that could change unseen."""
_MAX_NAMED: Final = 8
_NAME_CHARS: Final = 40


class _Page:
    """A page of a list of which every item is new: it is cut up only when one of them is seen again."""

    __slots__ = ("line", "names")

    def __init__(self, line: bytes, names: list[str | None]) -> None:
        self.line = line
        self.names = names


class Definitions:
    """What the tools of one session are, by their names.

    `state` is another number after each change of what is known: a page in which `see` found nothing new holds nothing new
    as long as it stays the same.
    """

    __slots__ = ("_changed", "_is_full", "_known", "_known_bytes", "_permitted", "state")

    def __init__(self) -> None:
        self.state = 0
        self._known: dict[str, bytes | _Page] = {}
        self._known_bytes = 0
        self._is_full = False
        self._changed: dict[str, str] = {}
        self._permitted = False

    def permit(self, *, permitted: bool) -> None:
        """Say whether tools may change from now on: then what a list shows is what is known."""
        if permitted is not self._permitted:
            self._permitted = permitted
            self.state += 1

    def see(self, line: bytes, names: list[str | None]) -> list[tuple[str, str]]:
        """Compare a page with what is known, and learn what is new; `names` are those of its items, None for one to be passed over.

        Give the names of the tools that have changed since, each with the members that did.
        """
        known, changed = self._known, self._changed
        if known.keys().isdisjoint(names):
            fresh = [name for name in names if name is not None]
            if fresh and self._has_room(len(fresh), len(line)):
                known.update(dict.fromkeys(fresh, _Page(line, names)))
            return []
        found = []
        text = line.decode()
        places = splice.elements(text, splice.find(text, "result", "tools"))
        for name, (start, end) in zip(names, places, strict=True):
            if name is None or (name in changed and not self._permitted):
                continue
            item = text[start:end].encode()
            if name not in known:
                if self._has_room(1, len(item)):
                    known[name] = item
                continue
            first = self._item(name)
            members = _changed_members(first, item)
            if members:
                found.append((name, members))
            if self._permitted:
                changed.pop(name, None)
                if members and self._has_room(0, len(item) - len(first)):
                    known[name] = item
                    self.state += 1
            elif members:
                changed[name] = members
        return found

    def fault(self, name: str) -> str:
        """Say why a tool is not to be trusted to be what it was; empty if it is, or nothing is known about it."""
        members = self._changed.get(name)
        if members is not None:
            return (
                f"the server has changed its definition during this session ({members}), so it may not do any more what it "
                "said it does; ask the user to look at it and to start a new session"
            )
        if self._is_full and name not in self._known:
            return "the server lists more tools than can be watched for changes during one session"
        return ""

    def text_of(self, name: str) -> bytes | None:
        """Give the definition that is known of a tool, None if none is."""
        return self._item(name) if name in self._known else None

    @property
    def has_faults(self) -> bool:
        """Whether `fault` finds any."""
        return self._is_full or bool(self._changed)

    def _has_room(self, tools: int, size: int) -> bool:
        if len(self._known) + tools > MAX_TOOLS or self._known_bytes + size > MAX_BYTES:
            self._is_full = True
            return False
        self._known_bytes += size
        return True

    def _item(self, name: str) -> bytes:
        """Give the text of a known tool; its page is cut up now, if it was not yet."""
        known = self._known[name]
        if isinstance(known, bytes):
            return known
        text = known.line.decode()
        places = splice.elements(text, splice.find(text, "result", "tools"))
        for other, (start, end) in zip(known.names, places, strict=True):
            if other is not None:
                self._known[other] = text[start:end].encode()
        item = self._known[name]
        assert isinstance(item, bytes)
        return item


def _changed_members(old: bytes, new: bytes) -> str:
    """Name the members in which two items differ by their exact values; empty if they are one definition."""
    if old == new:
        return ""
    from mcpguard.policy.canonical import canonical

    try:
        before, after = decode_exactly(old), decode_exactly(new)
    except Malformed:
        # Numbers that no decimal can hold: what cannot be compared has changed.
        return "values that cannot be compared"
    names = [
        name
        for name in sorted(before.keys() | after.keys())
        if name not in before or name not in after or canonical(before[name]) != canonical(after[name])
    ]
    shown = ", ".join(printable(name, _NAME_CHARS).strip("`") for name in names[:_MAX_NAMED])
    return shown if len(names) <= _MAX_NAMED else f"{shown} and {len(names) - _MAX_NAMED} more"
