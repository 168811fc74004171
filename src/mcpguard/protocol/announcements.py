"""Decides who hears that a list or a resource has changed, and what they hear.

Up to 2025-11-25 a client hears of changed lists at any time after `initialize`; from 2026-07-28 only on a subscription of its own,
named by its id (patterns/subscriptions).  Knows no policy: which URIs may be subscribed to, it is told.
"""

from __future__ import annotations

from mcpguard.protocol import splice
from mcpguard.protocol.replies import SUBSCRIPTION_KEY, list_changed
from mcpguard.protocol.wire import Malformed, refuse_lookalikes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from mcpguard.protocol.splice import Change
    from mcpguard.protocol.wire import Id, Message

LISTED: Final = ("prompts", "resources", "tools")
"""The capabilities that have lists, whose changes can be announced."""


class Audience:
    """Who hears of changed lists.  `subscribed` has the subscriptions that the server has acknowledged, each with its lists."""

    __slots__ = ("_offered", "subscribed")

    def __init__(self) -> None:
        self._offered: frozenset[str] = frozenset()
        self.subscribed: dict[Id, frozenset[str]] = {}

    def see_introduction(self, result: dict[str, Any]) -> None:
        """Learn from a server's `initialize` result which lists it has."""
        capabilities = result.get("capabilities")
        if type(capabilities) is dict:
            self._offered = frozenset(kind for kind in LISTED if type(capabilities.get(kind)) is dict)
        else:
            self._offered = frozenset()

    def announce(self) -> list[bytes]:
        """Say to everybody who hears it that lists may have changed."""
        lines = [list_changed(kind) for kind in sorted(self._offered)]
        for id_, kinds in self.subscribed.items():
            lines += [list_changed(kind, id_) for kind in sorted(kinds)]
        return lines


def keep_subscriptions(message: Message, permits: Callable[[str], bool]) -> tuple[bytes, int]:
    """Take the URIs out of a `subscriptions/listen` that may not be read; give the line and how many were taken.

    Raises:
        Malformed: `notifications` is no object, or `resourceSubscriptions` no list of strings.
    """
    wanted = message.params.get("notifications")
    if wanted is None:
        return message.line, 0
    if type(wanted) is not dict:
        raise Malformed("`notifications` must be an object")
    refuse_lookalikes(wanted, frozenset(("resourceSubscriptions",)))
    uris = wanted.get("resourceSubscriptions")
    if uris is None:
        return message.line, 0
    if type(uris) is not list or not all(type(uri) is str for uri in uris):
        raise Malformed("`resourceSubscriptions` must be a list of strings")
    kept = frozenset(index for index, uri in enumerate(uris) if permits(uri))
    if len(kept) == len(uris):
        return message.line, 0
    taken: dict[int, Change] = dict.fromkeys(index for index in range(len(uris)) if index not in kept)
    changes: Change = {"notifications": {"resourceSubscriptions": taken}}
    return splice.rewrite_line(message.line, {"params": changes}), len(taken)


def wanted_lists(message: Message) -> frozenset[str]:
    """Name the lists whose changes a `subscriptions/listen` asks for."""
    wanted = message.params.get("notifications") or {}
    return frozenset(kind for kind in LISTED if wanted.get(f"{kind}ListChanged") is True)


def subscription_of(message: Message) -> Id | None:
    """Give the id of the subscription that a notification names; None if it names none."""
    meta = message.params.get("_meta")
    id_ = meta.get(SUBSCRIPTION_KEY) if type(meta) is dict else None
    return id_ if type(id_) is str or type(id_) is int else None


def announced(result: dict[str, Any]) -> dict[str, Change]:
    """Say what sets `listChanged` in each of the capabilities that have lists: what a client may see changes with the policy."""
    capabilities = result.get("capabilities")
    if type(capabilities) is not dict:
        return {}
    told: dict[str, Change] = {
        name: {"listChanged": "true"}
        for name in LISTED
        if type(capabilities.get(name)) is dict and capabilities[name].get("listChanged") is not True
    }
    return {"capabilities": told} if told else {}


def only_meta(message: Message) -> bytes:
    """Write a `list_changed` notification anew, with its `_meta` alone."""
    text = message.line.decode()
    changes: dict[str, Change] = {
        name: None for name in splice.names(text, splice.find(text)) if name not in ("jsonrpc", "method")
    }
    if type(message.params.get("_meta")) is dict:
        others: dict[str, Change] = dict.fromkeys(
            name for name in splice.names(text, splice.find(text, "params")) if name != "_meta"
        )
        if not others and len(changes) == 1:
            return message.line
        changes["params"] = others
    return splice.rewrite_line(message.line, changes) if changes else message.line
