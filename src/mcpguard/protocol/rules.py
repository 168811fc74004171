"""Says what a session asks of the policy in force: the one way in which the wire and the policy know each other.

Types alone, for whoever reads or checks them: the running guard never loads this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mcpguard.protocol.commands import InFlight

Journal = TypeVar("Journal")
Admit: TypeAlias = "Callable[[InFlight, dict[str, Any], int, Journal], bool]"
"""Judges a tool call (its entry, its arguments) at an instant, and writes it down in a journal: True admits it, False leaves it to be
judged at length."""


class Rules(Protocol):
    """What a session must know of the policy in force."""

    def shows(self, method: str, name: str) -> bool:
        """Whether the list that `method` gives may show the item of this name."""

    def permits_resource(self, uri: str) -> bool:
        """Whether the policy lets this resource be read, limits aside."""

    def permits_method(self, method: str) -> bool:
        """Whether a method that the protocol does not know may pass."""

    def permits_server_request(self, method: str) -> bool:
        """Whether a server may ask this of the client."""

    def permits_drift(self) -> bool:
        """Whether a tool may change during a session."""

    needs_categories: bool
    """Whether the policy has entries for risk categories."""

    def see_tools(self, tools: object, changed: list[str]) -> None:
        """Learn from a list of tools what can be done with each; `changed` names those whose definitions have changed."""

    def seal(self, ticket: InFlight, state: str | None) -> str:
        """Give the state under which the client may bring a request's next round; `state` is the server's own, if it gave one."""
