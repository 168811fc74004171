"""Lets people answer in another terminal what one run asks: opens the desk with the first question, and has the user's program told.

Knows neither policies nor lines: it hands on what it is told, under the relay's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpguard.errors import GuardError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcpguard.proxy.desk import Desk
    from mcpguard.proxy.notify import Notifier
    from mcpguard.proxy.records import Introduced
    from mcpguard.proxy.relay import Relay


class RunClerk:
    """Answers for one run, as `desk.Clerk`.  `context` is what every pending call is described with: policy, server, grant."""

    def __init__(
        self,
        relay: Relay,
        parties: Introduced,
        context: dict[str, Any],
        *,
        name: str,
        program: Sequence[str],
        complain: Callable[[str], None],
    ) -> None:
        self._relay = relay
        self._parties = parties
        self._context = context
        self._name = name
        self._program = program
        self._complain = complain
        self._desk: Desk | None = None
        self._failed = False
        self._notifier: Notifier | None = None

    def open(self) -> bool:
        """Make it possible that a terminal answers; False if that cannot be done, which is said once."""
        if self._desk is None and not self._failed:
            # Not needed by a run that asks nobody.
            from mcpguard.proxy.desk import open_desk
            from mcpguard.stores.desks import runs_directory

            try:
                self._desk = open_desk(runs_directory(), self._name, self)
            except (GuardError, OSError) as error:
                self._failed = True
                self._complain(f"nobody can approve calls from another terminal: {error}")
        return self._desk is not None

    def announce(self, item: dict[str, Any]) -> None:
        """Tell the user of a call that waits: on stderr, and by their program if they have named one."""
        self._complain(f"a call waits for approval {item['id']}: `mcpguard pending` shows it")
        if self._program:
            if self._notifier is None:
                from mcpguard.proxy.notify import Notifier

                self._notifier = Notifier(self._program, lambda problem: self._complain(f"--notify: {problem}"))
            self._notifier.notify(self._described(item))

    def close(self) -> None:
        """Answer nobody any more."""
        if self._desk is not None:
            self._desk.close()

    # What the desk asks, in a thread of its own

    def pending(self) -> list[dict[str, Any]]:
        """Describe what can still be approved."""
        items = self._relay.act(lambda enforcer, _: (enforcer.pending(), [])) or []
        return [self._described(item) for item in items]

    def approve(self, approval_id: str, *, whole_tool: bool) -> dict[str, Any]:
        """Take a yes."""
        return self._answer(
            self._relay.act(lambda enforcer, journal: enforcer.approve(approval_id, journal, whole_tool=whole_tool))
        )

    def deny(self, approval_id: str, reason: str) -> dict[str, Any]:
        """Take a no."""
        return self._answer(self._relay.act(lambda enforcer, journal: enforcer.deny(approval_id, reason, journal)))

    def _answer(self, answer: dict[str, Any] | None) -> dict[str, Any]:
        if answer is None:
            return {"error": "this run has no policy yet"}
        return {key: self._described(value) if isinstance(value, dict) else value for key, value in answer.items()}

    def _described(self, item: dict[str, Any]) -> dict[str, Any]:
        client = self._parties.client
        known = [str(client[key]) for key in ("name", "version") if key in client] if isinstance(client, dict) else []
        return {**item, **self._context, "client": " ".join(known)[:100] or None}
