"""Knows the risk categories of the tools that lists of this session have shown.

A category is the worst that a tool's definition has shown during the session.  Imported only where a policy asks for categories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcpguard.inventory.risk import classify
from mcpguard.inventory.tools import ToolListError, parse_tools
from mcpguard.inventory.words import RANK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mcpguard.policy.decision import Category

MAX_TOOLS: Final = 10_000
"""How many tools are remembered; nobody knows the category of one more."""


class Categories:
    """The categories of tools by their names."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, Category | None] = {}

    def see(self, items: Iterable[object], changed: Collection[str]) -> None:
        """Learn from the tools of a list as their server sent them; of those seen before, only from the `changed`."""
        known = self._known
        for item in items:
            name = item.get("name") if isinstance(item, dict) else None
            if not isinstance(name, str) or (name in known and name not in changed):
                continue
            if name not in known and len(known) >= MAX_TOOLS:
                continue
            found = _category(item)
            before = known.get(name)
            known[name] = found if before is None or (found is not None and RANK[found] > RANK[before]) else before

    def of(self, tool: str) -> Category | None:
        """Give the category of a tool; None if no list has shown it, or nothing can be said of what it showed."""
        return self._known.get(tool)

    def has_seen(self, tool: str) -> bool:
        """Whether a list has shown it."""
        return tool in self._known


def _category(item: object) -> Category | None:
    try:
        (tool,) = parse_tools([item])
    except ToolListError:
        return None
    return classify(tool).category
