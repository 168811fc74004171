"""Decides when a server has been silent to `server/discover` for long enough to be answered for.

Clients of both eras probe with it first, and some older servers never answer a method that they do not know.  Reads no clock.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from mcpguard.protocol.commands import InFlight

AFTER_SIGN_NS: Final = 2_000_000_000
"""How long a server that has written anything, to stdout or to stderr, may take to answer a probe."""
WITHOUT_SIGN_NS: Final = 8_000_000_000
"""The same for a server that has not written a byte: it may still be on its way up."""


class Probes:
    """The probes that wait for a server's answer.

    `silent` says that this server is known not to answer; `deadline_ns` is when the oldest probe has waited long enough, None if none
    waits.
    """

    __slots__ = ("_asked_ns", "_sign_ns", "_waiting", "deadline_ns", "silent")

    def __init__(self) -> None:
        self.silent = False
        self.deadline_ns: int | None = None
        self._waiting: list[InFlight] = []
        self._asked_ns: list[int] = []
        self._sign_ns: int | None = None

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._waiting)

    def add(self, probe: InFlight, now_ns: int) -> None:
        """A probe was forwarded."""
        self._waiting.append(probe)
        self._asked_ns.append(now_ns)
        self._set_deadline()

    def see_sign(self, now_ns: int) -> None:
        """The server wrote its first byte."""
        if self._sign_ns is None:
            self._sign_ns = now_ns
            self._set_deadline()

    def drop(self, entry: InFlight) -> bool:
        """A request was answered or cancelled: if it is a probe, it waits no longer; say whether it is one."""
        if entry not in self._waiting:
            return False
        at = self._waiting.index(entry)
        del self._waiting[at], self._asked_ns[at]
        self._set_deadline()
        return True

    def show_silence(self, answered: InFlight) -> bool:
        """The server answered a request: whether that was made after a probe that still waits, which shows it silent."""
        if not self.drop(answered) and any(probe.seq < answered.seq for probe in self._waiting):
            self.silent = True
            return True
        return False

    def take(self) -> list[InFlight]:
        """Give the probes that wait, to be answered for."""
        taken, self._waiting = self._waiting, []
        self._asked_ns.clear()
        self.deadline_ns = None
        return taken

    def _set_deadline(self) -> None:
        if not self._waiting:
            self.deadline_ns = None
        elif self._sign_ns is None:
            self.deadline_ns = self._asked_ns[0] + WITHOUT_SIGN_NS
        else:
            self.deadline_ns = max(self._asked_ns[0], self._sign_ns) + AFTER_SIGN_NS
