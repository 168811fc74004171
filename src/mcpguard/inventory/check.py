"""Finds where a policy and a server's tools do not fit together: names, and who decides about which tool.

What rules say about arguments is looked at next door, in `fit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING, Final

from mcpguard.inventory.fit import check_holder
from mcpguard.inventory.risk import classify
from mcpguard.policy.check import covers
from mcpguard.policy.compile import Policy, pointer
from mcpguard.policy.evaluate import deciding
from mcpguard.policy.findings import CheckFinding, named, tick
from mcpguard.policy.match import Pattern, compile_pattern
from mcpguard.policy.model import RISK_CATEGORIES
from mcpguard.policy.values import folded_key

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.decision import Category
    from mcpguard.policy.model import PolicyFile

_GRAVE: Final = ("destructive", "financial")
"""Categories of which a default should allow nothing."""
_CUTOFF: Final = 0.8


def check_tools(document: PolicyFile, policy: Policy, tools: Sequence[Tool]) -> tuple[CheckFinding, ...]:
    """Return every finding about a policy and the tools that a server offers; `policy` is `document`, compiled."""
    decided: dict[str, list[Tool]] = {}
    unnamed: list[Tool] = []
    for tool in tools:
        if not any(pattern.matches(tool.name) for pattern, _ in policy.hidden):
            entries = deciding(policy, tool.name, category_of(policy, tool))
            if not entries:
                unnamed.append(tool)
            for entry in entries:
                decided.setdefault(entry.pointer, []).append(tool)
    return tuple(
        chain(
            _names(document, tools, decided),
            _unnamed(document, unnamed),
            _open_to_all(document, decided),
            _arguments(document, decided, unnamed),
        )
    )


def category_of(policy: Policy, tool: Tool) -> Category | None:
    """Return the category of a tool if the policy has entries for any; else it does not matter."""
    return classify(tool).category if policy.categories else None


def guess(name: str, names: Iterable[str]) -> str:
    """Return the name that was probably meant; empty if none is like it."""
    by_fold = {folded_key(each): each for each in names}
    found = get_close_matches(folded_key(name)[:100], by_fold, n=1, cutoff=_CUTOFF)
    return by_fold[found[0]] if found else ""


def _names(document: PolicyFile, tools: Sequence[Tool], decided: dict[str, list[Tool]]) -> Iterator[CheckFinding]:
    names = [text for text in document.tools if text not in RISK_CATEGORIES]
    patterns = {text: compile_pattern(text) for text in (*names, *document.hide)}
    spoken_for = {pattern.prefix for pattern in patterns.values() if pattern.is_exact}
    free = [tool.name for tool in tools if tool.name not in spoken_for]
    for index, text in enumerate(document.hide):
        yield from _unmatched(pointer("hide", index), patterns[text], tools, free, opens=False)
    hide = [patterns[text] for text in document.hide]
    yield from _categories(document, tools, decided)
    for text in names:
        entry, pattern, place = document.tools[text], patterns[text], pointer("tools", text)
        if any(covers(other, pattern) for other in hide):
            continue
        opens = entry.action in {"allow", "require_approval"}
        yield from _unmatched(place, pattern, tools, free, opens=opens)
        matched = [tool.name for tool in tools if pattern.matches(tool.name)]
        if matched and place not in decided and not pattern.is_everything:
            why = f"{tick(text)} decides about no tool: {named(matched)} {_are(matched)} hidden, or decided by closer entries"
            yield CheckFinding("shadowed-pattern", place, why)


def _categories(document: PolicyFile, tools: Sequence[Tool], decided: dict[str, list[Tool]]) -> Iterator[CheckFinding]:
    """Find entries for categories that decide about nothing."""
    shown = {classify(tool).category for tool in tools} if not RISK_CATEGORIES.keys().isdisjoint(document.tools) else ()
    for text, category in RISK_CATEGORIES.items():
        entry, place = document.tools.get(text), pointer("tools", text)
        if entry is None or place in decided:
            continue
        if category in shown:
            why = f"{tick(text)} decides about no tool: those of this category are hidden, or decided by their names"
            yield CheckFinding("shadowed-pattern", place, why)
        else:
            opens = entry.action in {"allow", "require_approval"}
            why = f"no tool of the server has the risk category {tick(category)}"
            yield CheckFinding("unmatched-pattern" if opens else "absent-tool", place, why)


def _unmatched(
    place: str, pattern: Pattern, tools: Sequence[Tool], free: Sequence[str], *, opens: bool
) -> Iterator[CheckFinding]:
    if pattern.is_everything or any(pattern.matches(tool.name) for tool in tools):
        return
    if not pattern.is_exact:
        why = f"no tool of the server matches {tick(pattern.text)}"
        yield CheckFinding("unmatched-pattern" if opens else "absent-tool", place, why)
        return
    meant = guess(pattern.prefix, free)
    why = f"the server has no tool {tick(pattern.prefix)}" + (f"; did you mean {tick(meant)}?" if meant else "")
    yield CheckFinding("unknown-tool" if opens or meant else "absent-tool", place, why)


def _unnamed(document: PolicyFile, unnamed: Sequence[Tool]) -> Iterator[CheckFinding]:
    names = [tool.name for tool in unnamed]
    if not names:
        return
    if document.default == "deny":
        why = f"nothing names {named(names)}: denied by default"
        yield CheckFinding("unnamed-denied", "/default", why)
        return
    yield from _grave("/default", unnamed, "`default` allows what nothing names")
    others = [tool.name for tool in unnamed if classify(tool).category not in _GRAVE]
    if others:
        yield CheckFinding("unnamed-allowed", "/default", f"nothing names {named(others)}: allowed by default")


def _open_to_all(document: PolicyFile, decided: dict[str, list[Tool]]) -> Iterator[CheckFinding]:
    """Find destructive tools that a `*` allows, as a default would."""
    for text, entry in document.tools.items():
        if text not in RISK_CATEGORIES and compile_pattern(text).is_everything and entry.action == "allow":
            place = pointer("tools", text)
            yield from _grave(place, decided.get(place, ()), f"nothing but {tick(text)} decides")


def _grave(place: str, tools: Sequence[Tool], but: str) -> Iterator[CheckFinding]:
    """Find tools that destroy or move money where something allows whatever there is."""
    for category in _GRAVE:
        names = [tool.name for tool in tools if classify(tool).category == category]
        if names:
            yield CheckFinding("destructive-allowed", place, f"{named(names)} {_are(names)} {category}, and {but}")


def _arguments(document: PolicyFile, decided: dict[str, list[Tool]], unnamed: Sequence[Tool]) -> Iterator[CheckFinding]:
    everywhere = document.all_tools
    passing = list(unnamed) if document.default == "allow" else []
    for text, entry in document.tools.items():
        tools = decided.get(pointer("tools", text), [])
        if tools and entry.action in {"allow", "require_approval"}:
            passing += tools
            yield from check_holder(pointer("tools", text), entry, tools, everywhere)
    if passing:
        yield from check_holder("/all_tools", everywhere, passing, None)


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
