"""Takes policies apart into what can be compared: rules, limits, names, and what no call shows.

Compares what is written, not what it means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mcpguard.policy.canonical import canonical
from mcpguard.policy.entries import pointer
from mcpguard.policy.model import Part, Tool

if TYPE_CHECKING:
    from mcpguard.policy.model import AllTools, PolicyFile, Use

Side: TypeAlias = Literal["old", "new"]
SECTIONS: Final = ("tools", "resources", "prompts")
_LEFT_OUT: Final = frozenset(("reason", "on_deny", "comment", "scope"))
_LISTS: Final = ("require", "deny_if", "approve_if")


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of the policy on one side that the other has not."""

    rule: str
    side: Side


@dataclass(frozen=True, slots=True)
class Change:
    """Something that no call shows, and what is written of it in both."""

    rule: str
    old: str
    new: str


def changed_units(old: PolicyFile, new: PolicyFile) -> Iterator[Unit]:
    """Yield what one of two policies has and the other has not, as calls could show it.

    Rules and limits count as the same wherever they stand in the list of their entry.
    """
    if old.default != new.default:
        yield Unit("/default", "new")
    yield from _listed("/hide", old.hide, new.hide)
    yield from _held("/all_tools", old.all_tools, new.all_tools)
    for section in SECTIONS:
        before, after = _entries(old, section), _entries(new, section)
        for name in dict.fromkeys([*before, *after]):
            place = pointer(section, name)
            if name not in after:
                yield Unit(place, "old")
            elif name not in before:
                yield Unit(place, "new")
            else:
                if before[name].action != after[name].action:
                    yield Unit(f"{place}/action", "new")
                yield from _held(place, before[name], after[name])


def described_changes(old: PolicyFile, new: PolicyFile) -> Iterator[Change]:
    """Yield what differs that no call of a tool, resource or prompt shows."""
    asked, asks = _asked(old), _asked(new)
    for method, effect in asked.items():
        if effect != asks[method]:
            yield Change(pointer("server_requests", method), effect, asks[method])
    for method in dict.fromkeys([*old.methods, *new.methods]):
        was, is_now = old.methods.get(method, "not named"), new.methods.get(method, "not named")
        if was != is_now:
            yield Change(pointer("methods", method), was, is_now)
    for rule, was, is_now in (
        ("/list", old.listing, new.listing),
        ("/drift", old.drift, new.drift),
        ("/audit/arguments", old.audit.arguments, new.audit.arguments),
    ):
        if was != is_now:
            yield Change(rule, was, is_now)
    terms, later = old.approval.model_dump(), new.approval.model_dump()
    for key, value in terms.items():
        if value != later[key]:
            yield Change(f"/approval/{key}", _term(value), _term(later[key]))
    yield from _scopes(old, new)


def told_apart_by_texts(old: PolicyFile, new: PolicyFile) -> Iterator[str]:
    """Yield the pointers of entries and rules whose texts for people differ, where nothing else does."""
    for section in SECTIONS:
        before, after = _entries(old, section), _entries(new, section)
        for name in before:
            if name in after and before[name] != after[name] and _form(before[name]) == _form(after[name]):
                yield pointer(section, name)
    if old.all_tools != new.all_tools and _form(old.all_tools) == _form(new.all_tools):
        yield "/all_tools"


def _entries(document: PolicyFile, section: str) -> Mapping[str, Tool | Use]:
    entries: Mapping[str, Tool | Use] | None = getattr(document, section)
    return entries or {}


def _held(place: str, old: Tool | Use | AllTools, new: Tool | Use | AllTools) -> Iterator[Unit]:
    """Yield the rules and limits of an entry that the other has not."""
    for kind in _LISTS:
        yield from _listed(f"{place}/{kind}", _forms(getattr(old, kind, ())), _forms(getattr(new, kind, ())))
    yield from _listed(f"{place}/limits", _forms(old.limits), _forms(new.limits))
    if isinstance(old, Tool) and isinstance(new, Tool):
        for key in ("rate_limit", "arguments"):
            was, is_now = _form(old, only=key), _form(new, only=key)
            if was != is_now:
                yield Unit(f"{place}/{key}", "old" if getattr(new, key) is None else "new")


def _listed(place: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Unit]:
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    places = {f"{place}/{index}": "old" for index, text in enumerate(old) if text in gone}
    for index, text in enumerate(new):
        if text in come:
            places[f"{place}/{index}"] = "new"
    for rule, side in places.items():
        yield Unit(rule, "old" if side == "old" else "new")


def _forms(parts: Sequence[Part]) -> list[str]:
    return [_form(part) for part in parts]


def _form(part: object, only: str | None = None) -> str:
    """Write a part of a policy without its texts for people; equal parts are written alike.  `scope` is compared apart."""
    match part:
        case Part():
            names = [name for name in type(part).model_fields if name not in _LEFT_OUT and only in (None, name)]
            return str([(name, _form(getattr(part, name))) for name in names])
        case tuple():
            return str([_form(each) for each in part])
        case None | str() | int() | dict() | list() | Decimal():
            return canonical(part)
        case _:  # a value that is not given
            return ""


def _asked(document: PolicyFile) -> dict[str, str]:
    asked = document.server_requests
    return {
        "sampling/createMessage": asked.sampling or document.default,
        "elicitation/create": asked.elicitation or "allow",
        "roots/list": asked.roots or "allow",
    }


def _scopes(old: PolicyFile, new: PolicyFile) -> Iterator[Change]:
    before, after = dict(_scoped(old)), dict(_scoped(new))
    for rule, scope in before.items():
        if rule in after and after[rule] != scope:
            yield Change(f"{rule}/scope", scope, after[rule])


def _scoped(document: PolicyFile) -> Iterator[tuple[str, str]]:
    holders: list[tuple[str, Tool | Use | AllTools]] = [("/all_tools", document.all_tools)]
    holders += [
        (pointer(section, name), each) for section in SECTIONS for name, each in _entries(document, section).items()
    ]
    for place, holder in holders:
        for index, limit in enumerate(holder.limits):
            yield f"{place}/limits/{index}", limit.scope


def _term(value: object) -> str:
    if isinstance(value, int):
        return f"{value // 1_000_000}ms" if value % 1_000_000_000 else f"{value // 1_000_000_000}s"
    return " and ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
