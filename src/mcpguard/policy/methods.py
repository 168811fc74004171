"""Lists the methods that the protocol knows, and which key of a policy governs each.

Names only: what a method does to a session is the protocol's part.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

SERVER_REQUESTS: Final = ("sampling/createMessage", "elicitation/create", "roots/list")

_TOOLS: Final = 'it is governed by "tools"'
_RESOURCES: Final = 'it is governed by "resources"'
_PROMPTS: Final = 'it is governed by "prompts"'
_SERVER: Final = 'it is governed by "server_requests"'
_PROTOCOL: Final = "it belongs to the protocol itself, and no key governs it"

KNOWN_METHODS: Final[dict[str, str]] = {
    "tools/list": _TOOLS,
    "tools/call": _TOOLS,
    "resources/list": _RESOURCES,
    "resources/templates/list": _RESOURCES,
    "resources/read": _RESOURCES,
    "resources/subscribe": _RESOURCES,
    "resources/unsubscribe": _RESOURCES,
    "subscriptions/listen": _RESOURCES,
    "prompts/list": _PROMPTS,
    "prompts/get": _PROMPTS,
    "completion/complete": 'what it completes is governed by "prompts" and "resources"',
    **dict.fromkeys(SERVER_REQUESTS, _SERVER),
    **dict.fromkeys(
        (
            "initialize",
            "server/discover",
            "ping",
            "logging/setLevel",
            "tasks/get",
            "tasks/result",
            "tasks/list",
            "tasks/cancel",
            "tasks/update",
            "notifications/initialized",
            "notifications/cancelled",
            "notifications/progress",
            "notifications/message",
            "notifications/roots/list_changed",
            "notifications/tools/list_changed",
            "notifications/resources/list_changed",
            "notifications/resources/updated",
            "notifications/prompts/list_changed",
            "notifications/tasks/status",
            "notifications/tasks",
            "notifications/elicitation/complete",
            "notifications/subscriptions/acknowledged",
        ),
        _PROTOCOL,
    ),
}
