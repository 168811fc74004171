"""Names the methods of every revision of the protocol, and how the guard treats each.

From the schemas 2024-11-05 to 2026-07-28 of the specification and its tasks extension (SEP-2663).
"""

from __future__ import annotations

from mcpguard.policy.methods import KNOWN_METHODS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

PASSING_REQUESTS: Final = frozenset(
    ("ping", "logging/setLevel", "tasks/get", "tasks/result", "tasks/list", "tasks/cancel", "tasks/update")
)
"""Requests of a client that pass unjudged."""

GOVERNED_REQUESTS: Final = frozenset(
    (
        "tools/call",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "subscriptions/listen",
    )
)
"""Requests of a client that the policy judges, or whose answers it filters."""

CLIENT_NOTIFICATIONS: Final = frozenset(
    (
        "notifications/initialized",
        "notifications/progress",
        "notifications/roots/list_changed",
        "notifications/tasks/status",
    )
)
"""Notifications of a client that pass; `notifications/cancelled` passes only for a request in flight."""

LIST_CHANGED: Final = frozenset(
    (
        "notifications/tools/list_changed",
        "notifications/resources/list_changed",
        "notifications/prompts/list_changed",
    )
)
UPSTREAM_NOTIFICATIONS: Final = frozenset(
    (
        "notifications/message",
        "notifications/progress",
        "notifications/tasks/status",
        "notifications/elicitation/complete",
        "notifications/subscriptions/acknowledged",
    )
)
"""Notifications of a server that pass as they are."""

CLIENT_FEATURES: Final = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
"""Requests of a server that the policy judges, and the capability that the client must have declared for each."""

CLIENT_TASKS: Final = frozenset(("tasks/get", "tasks/result", "tasks/list", "tasks/cancel"))
"""Requests of a server about tasks of the client (2025-11-25)."""

KNOWN: Final = frozenset(KNOWN_METHODS)


def resembles_known(method: str) -> bool:
    """Whether a method is not one of the protocol's and would be, once trimmed, NFKC-normalised and case-folded."""
    import unicodedata

    def plain(name: str) -> str:
        return unicodedata.normalize("NFKC", name).strip(_TRIMMED).casefold()

    folded = plain(method)
    return method not in KNOWN and any(folded == plain(known) for known in KNOWN)


_TRIMMED: Final = "".join(
    map(
        chr,
        [*range(0x21), *range(0x7F, 0xA1), 0xAD, 0x61C, 0x1680, 0x180E, *range(0x2000, 0x2010), *range(0x2028, 0x2030)],
    )
) + "".join(map(chr, [*range(0x205F, 0x2070), 0x3000, 0xFEFF]))


def declares(capabilities: object, method: str, params: dict[str, object]) -> bool:
    """Whether a client with these capabilities can be sent this request of a server.

    An `elicitation` without modes means forms only, a URL needs `elicitation.url` (2025-11-25, client/elicitation);
    sampling with tools needs `sampling.tools`.
    """
    if type(capabilities) is not dict:
        return False
    if method in CLIENT_TASKS:
        return type(capabilities.get("tasks")) is dict
    feature = capabilities.get(CLIENT_FEATURES.get(method, ""))
    if type(feature) is not dict:
        return False
    if method == "elicitation/create":
        mode = params.get("mode", "form")
        if any(name.casefold() == "mode" != name for name in params):
            return False
        return type(mode) is str and (mode in feature or (mode == "form" and "url" not in feature))
    if method == "sampling/createMessage" and any(name.casefold() in ("tools", "toolchoice") for name in params):
        return "tools" in feature
    return True
