"""Remembers what the lists of one session have shown, and which names are refused for that.

Three things make a name one that nobody may use: two items of one listing bear it, it holds characters that nobody sees, or its
tool has changed. Knows no policy but whether tools may change.
"""

from __future__ import annotations

from mcpguard.protocol import lists
from mcpguard.protocol.drift import Definitions
from mcpguard.protocol.repeats import Repeats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from mcpguard.policy.decision import Code
    from mcpguard.protocol.lists import Listing, Sheet
    from mcpguard.protocol.rules import Rules
    from mcpguard.protocol.wire import Message

MAX_OPEN_LISTINGS: Final = 1000
MAX_REFUSED: Final = 10_000
MAX_REFUSED_CHARS: Final = 1 << 20
"""How many refused names of a kind are remembered, and how long they are together: beyond that the whole kind is refused."""
_KINDS: Final = {
    "tools/list": "tool",
    "prompts/list": "prompt",
    "resources/list": "resource",
    "resources/templates/list": "resource",
}
_AMBIGUOUS: Final = "the server lists more than one under this name, so a call could mean either"
_UNCLEAN: Final = "its name holds characters that nobody sees, so it could be taken for another one"
_TOO_MANY: Final = "too many of the names that the server lists cannot be told apart"


class Page:
    """One page as a session has read it: what may be shown of it by its name, and what about it is new.

    `names` has None for what is left out whatever the policy says; `changed` names tools, and which of their members did.
    """

    __slots__ = ("ambiguous", "changed", "names", "sheet")

    def __init__(
        self, sheet: Sheet, names: list[str | None], ambiguous: list[str], changed: list[tuple[str, str]]
    ) -> None:
        self.sheet = sheet
        self.names = names
        self.ambiguous = ambiguous
        self.changed = changed


class Catalogue:
    """What the lists of one session have shown: listings that go on at a cursor, refused names, definitions, whole lines."""

    __slots__ = ("_definitions", "_open", "_refused", "repeats")

    def __init__(self) -> None:
        self.repeats = Repeats()
        self._open: dict[tuple[str, str], Listing] = {}
        self._refused: dict[str, _Refused] = {}
        self._definitions = Definitions()

    def continued(self, method: str, cursor: str) -> Listing | None:
        """Give the listing whose last page ended with this cursor."""
        return self._open.get((method, cursor))

    def read(self, message: Message, listing: Listing, cursor: str | None, rules: Rules) -> Page:
        """Read a page of `listing` that was asked for with `cursor`, and learn what it shows.

        Raises:
            Malformed: it is no such page.
        """
        method, result = listing.method, message.result or {}
        known = self.repeats.find(result, method)
        sheet = lists.read_sheet(message, method) if known is None else known.sheet
        names, ambiguous = lists.show_once(listing, cursor, message.line, sheet)
        self._continue(listing, sheet.next_cursor)
        kind = _KINDS[method]
        self._refuse(kind, ambiguous, _AMBIGUOUS)
        self._refuse(kind, sheet.unclean, _UNCLEAN)
        refused = self._refused.get(kind)
        if refused is not None:
            names = [None if name is not None and refused.why(name) else name for name in names]
        changed: list[tuple[str, str]] = []
        if known is None:
            known = self.repeats.keep(message, sheet)
        if kind == "tool":
            definitions, permitted = self._definitions, rules.permits_drift()
            definitions.permit(permitted=permitted)
            if known is None or known.checked != definitions.state:
                changed = definitions.see(message.line, names)
                if known is not None:
                    known.checked = definitions.state
            if definitions.has_faults and not permitted:
                names = [None if name is not None and definitions.fault(name) else name for name in names]
        return Page(sheet, names, ambiguous, changed)

    def fault(self, kind: str, name: str, rules: Rules | None) -> tuple[Code, str] | None:
        """Say why a `kind` (tool, prompt or resource) of this name may not be used, whatever the policy says; None: nothing is known."""
        refused = self._refused.get(kind)
        if refused is not None and (why := refused.why(name)):
            return "malformed", why
        if kind == "tool" and self._definitions.has_faults:
            why = self._definitions.fault(name)
            if why and not (rules is not None and rules.permits_drift()):
                return "drift", why
        return None

    def definition(self, tool: str) -> bytes | None:
        """Give the text of a tool's definition as a list showed it first; None if none has."""
        return self._definitions.text_of(tool)

    def _continue(self, listing: Listing, next_cursor: str | None) -> None:
        if next_cursor is None:
            return
        self._open.pop((listing.method, next_cursor), None)
        if len(self._open) >= MAX_OPEN_LISTINGS:
            del self._open[next(iter(self._open))]
        self._open[listing.method, next_cursor] = listing

    def _refuse(self, kind: str, names: list[str], why: str) -> None:
        if names:
            refused = self._refused.setdefault(kind, _Refused())
            for name in names:
                refused.add(name, why)


class _Refused:
    """The refused names of one kind, each with the reason; once they are too many to remember, every name."""

    __slots__ = ("_chars", "_is_full", "_reasons")

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._chars = 0
        self._is_full = False

    def add(self, name: str, why: str) -> None:
        if name in self._reasons:
            return
        if len(self._reasons) >= MAX_REFUSED or self._chars + len(name) > MAX_REFUSED_CHARS:
            self._is_full = True
            return
        self._chars += len(name)
        self._reasons[name] = why

    def why(self, name: str) -> str:
        """Say why a name is refused; empty if it is not."""
        return self._reasons.get(name) or (_TOO_MANY if self._is_full else "")
