"""Asks a server for its tools on the guard's own account, where a policy must know a tool that no list has shown yet.

The server's answers go to nobody.  Reads no clock.
"""

from __future__ import annotations

from mcpguard.protocol.commands import Forward, Listed
from mcpguard.protocol.lists import Listing
from mcpguard.protocol.wire import UPSTREAM, Malformed, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from mcpguard.protocol.catalogue import Catalogue
    from mcpguard.protocol.commands import Command, InFlight
    from mcpguard.protocol.rules import Rules
    from mcpguard.protocol.wire import Message

PATIENCE_NS: Final = 10_000_000_000
"""How long a server may take for all pages."""
MAX_PAGES: Final = 100


class Inquiry:
    """One inquiry at a time, for every request that waits for it.  `id` is that of the guard's request to the server, None if there is none."""

    __slots__ = ("_cursor", "_listing", "_meta", "_pages", "_tickets", "deadline_ns", "id")

    def __init__(self) -> None:
        self.id: str | None = None
        self.deadline_ns: int | None = None
        self._listing = Listing("tools/list")
        self._cursor: str | None = None
        self._meta: dict[str, Any] | None = None
        self._pages = 0
        self._tickets: list[InFlight] = []

    def begin(self, ticket: InFlight, meta: dict[str, Any] | None, now_ns: int) -> list[Command]:
        """Ask, unless it is being asked; `meta` is what requests of the 2026-07-28 revision carry."""
        self._tickets.append(ticket)
        if self.id is not None:
            return []
        self.deadline_ns = now_ns + PATIENCE_NS
        self._listing, self._meta, self._pages = Listing("tools/list"), meta, 0
        return [self._ask(None)]

    def read(self, message: Message, rules: Rules | None, catalogue: Catalogue) -> list[Command]:
        """Take a page, and ask for the next if there is one."""
        if message.result is None or rules is None:
            return self.end()
        try:
            page = catalogue.read(message, self._listing, self._cursor, rules)
        except Malformed:
            return self.end()
        rules.see_tools(message.result.get("tools"), [name for name, _ in page.changed])
        cursor = page.sheet.next_cursor
        self._pages += 1
        return self.end() if cursor is None or self._pages >= MAX_PAGES else [self._ask(cursor)]

    def end(self) -> list[Command]:
        """It is over, one way or the other."""
        tickets = self._tickets
        self.forget()
        return [Listed(tickets)]

    def forget(self) -> None:
        """Nobody waits for it any more."""
        self.id = None
        self.deadline_ns = None
        self._tickets = []

    def _ask(self, cursor: str | None) -> Forward:
        # Nobody else's id, also if the server makes some up (128 random bits).
        from secrets import token_hex

        self.id, self._cursor = f"mcpguard-{token_hex(16)}", cursor
        params: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        if self._meta is not None:
            params["_meta"] = self._meta
        return Forward(UPSTREAM, encode({"jsonrpc": "2.0", "id": self.id, "method": "tools/list", "params": params}))
