"""Finds limits that other limits make pointless.

A limit is pointless if every call that it counts is counted by another that is never wider.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcpguard.policy.entries import pointer
from mcpguard.policy.findings import CheckFinding
from mcpguard.policy.model import Limit, RateLimit

if TYPE_CHECKING:
    from mcpguard.policy.model import AllTools, PolicyFile, Tool


@dataclass(frozen=True, slots=True)
class _Cap:
    """One limit with every key said.  `counter` is empty for a counter of its own."""

    place: str
    counter: str
    window_s: int
    max: int
    scope: str
    calendar: bool
    cost: str
    per: str


def shadowed_limits(document: PolicyFile) -> Iterator[CheckFinding]:
    """Find limits that could be taken away and nothing would change."""
    common = _caps("/all_tools", document.all_tools)
    yield from _shadowed(common, [])
    for name, tool in document.tools.items():
        if tool.action not in {"deny", "hide"}:
            yield from _shadowed(_caps(pointer("tools", name), tool), common)


def _shadowed(caps: list[_Cap], common: list[_Cap]) -> Iterator[CheckFinding]:
    for index, cap in enumerate(caps):
        rivals = [*common, *caps[:index], *(each for each in caps[index + 1 :] if not _implies(cap, each))]
        other = next((each for each in rivals if _implies(each, cap)), None)
        if other is not None:
            why = f"this limit is never reached: `{other.place}` allows no more, and counts every call that this one counts"
            yield CheckFinding("shadowed-limit", cap.place, why)


def _implies(strict: _Cap, wide: _Cap) -> bool:
    """Whether a call that passes the first, and meets both, passes the second too."""
    if strict.max > wide.max or strict.cost != wide.cost:
        return False
    if strict.counter and strict.counter == wide.counter:
        return True
    return (
        not wide.counter  # what a shared counter holds comes from other entries, too
        and strict.per in {"", wide.per}
        and strict.window_s >= wide.window_s
        and (wide.calendar or not strict.calendar)
        and (strict.scope == "grant" or wide.scope == "session")
    )


def _caps(here: str, holder: Tool | AllTools) -> list[_Cap]:
    caps = [_cap(f"{here}/limits/{index}", limit) for index, limit in enumerate(holder.limits)]
    rate_limit = getattr(holder, "rate_limit", None)
    return caps if rate_limit is None else [*caps, _cap(f"{here}/rate_limit", rate_limit)]


def _cap(place: str, limit: Limit | RateLimit) -> _Cap:
    if isinstance(limit, RateLimit):
        return _Cap(place, "", limit.window, limit.max, "session", calendar=False, cost="", per="")
    counter, calendar = limit.counter or "", limit.align is not None
    return _Cap(
        place, counter, limit.window, limit.max, limit.scope, calendar, cost=limit.cost or "", per=limit.per or ""
    )
