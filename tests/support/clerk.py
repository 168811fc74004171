"""Stands in for a run that has calls waiting: a clerk that keeps the contract, and items to put before it.

Knows nothing of policies: what waits is what a test has put there.
"""

from __future__ import annotations

import json
from typing import Any


def item(id_: str = "k3f9m2xq", **changed: Any) -> dict[str, Any]:
    """Describe a call that waits; `arguments` may be any JSON value, and is written as the guard writes it."""
    arguments = changed.pop("arguments", {"amount": 900, "currency": "usd"})
    return {
        "id": id_,
        "kind": "tool",
        "subject": "create_charge",
        "arguments": json.dumps(arguments, sort_keys=True, separators=(",", ":")),
        "rules": [{"rule": "/tools/create_charge/approve_if/0", "message": "charges over 5.00 need a person"}],
        "policy": "/home/me/policy.json",
        "server": ["uvx", "acme-mcp", "--region", "eu west"],
        "client": "claude-code 2.1",
        "grant": None,
        "waited_s": 3.2,
        "state": "held",
        "expires_in_s": 41.8,
        "remember": "call",
    } | changed


class FakeClerk:
    """Answers about the items it was given; `heard` holds what it was told."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = {each["id"]: each for each in items}
        self.heard: list[tuple[object, ...]] = []

    def pending(self) -> list[dict[str, Any]]:
        """Describe what waits."""
        return list(self.items.values())

    def approve(self, approval_id: str, *, whole_tool: bool) -> dict[str, Any]:
        """Allow what waits, and let it wait no more."""
        self.heard.append(("approve", approval_id, whole_tool))
        found = self.items.pop(approval_id, None)
        if found is None:
            return {"error": f"nothing waits for an approval `{approval_id}`"}
        return {"granted": found | {"expires_in_s": 600.0}}

    def deny(self, approval_id: str, reason: str) -> dict[str, Any]:
        """Refuse what waits, and let it wait no more."""
        self.heard.append(("deny", approval_id, reason))
        found = self.items.pop(approval_id, None)
        return {"denied": found} if found else {"error": f"nothing waits for an approval `{approval_id}`"}
