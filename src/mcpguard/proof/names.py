"""Says which entry of a policy decides about a name, and makes names at the borders of patterns.

A second opinion, from the description of the language alone: it has a matcher and a count of its own. Where the description leaves a
doubt, it does not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from mcpguard.policy.model import PolicyFile, Tool, Use

T = TypeVar("T")

CATEGORIES: Final = ("read", "write", "execute", "destructive", "financial")
_STRICTNESS: Final = ("allow", "require_approval", "deny", "hide")
_MARKS: Final = frozenset("*?\\")
_MOST_BESIDE: Final = 3
_FILLS: Final = ("example", "a", "x1", "", "other", "/a")


@dataclass(frozen=True, slots=True)
class Glob:
    """A name or pattern, read: its characters, None for `*` and False for `?`."""

    parts: tuple[str | bool | None, ...]

    @property
    def is_exact(self) -> bool:
        """Whether it means one name."""
        return all(isinstance(part, str) for part in self.parts)

    @property
    def is_everything(self) -> bool:
        """Whether it is `*`."""
        return bool(self.parts) and all(part is None for part in self.parts)

    @property
    def rank(self) -> tuple[int, int]:
        """How specific it is: its literal characters, and those before the first wildcard."""
        literals = [isinstance(part, str) for part in self.parts]
        return sum(literals), [*literals, False].index(False)

    def means(self, name: str) -> bool:
        """Whether it means a name, found out the slow way: place by place."""
        places = {0}
        for part in self.parts:
            if part is None:
                places = set(range(min(places), len(name) + 1)) if places else places
            else:
                places = {at + 1 for at in places if at < len(name) and part in (False, name[at])}
        return len(name) in places

    def filled(self, many: str, one: str = "a") -> str:
        """Write a name that it means."""
        return "".join(many if part is None else one if part is False else str(part) for part in self.parts)


@lru_cache(maxsize=4096)
def read_glob(text: str) -> Glob:
    """Read a name or pattern."""
    parts: list[str | bool | None] = []
    rest = iter(text)
    for character in rest:
        if character == "\\":
            parts.append(next(rest))
        elif character == "*":
            parts.append(None)
        else:
            parts.append(False if character == "?" else character)
    return Glob(tuple(parts))


@dataclass(frozen=True, slots=True)
class Whose:
    """What decides about a name: the pattern of `hide` with this index, or entries together, or with none the default.

    `unseen`: nobody knows the tool's category, so the default has a say besides the entries.
    """

    hidden_by: tuple[int, ...] = ()
    entries: tuple[str, ...] = ()
    unseen: bool = False


def decides_about_tool(document: PolicyFile, name: str, category: str | None) -> Whose | None:
    """Say what decides about a tool; None if the description leaves it open."""
    hidden = tuple(index for index, text in enumerate(document.hide) if read_glob(text).means(name))
    if hidden:
        return Whose(hidden_by=hidden)
    named = {text: tool for text, tool in document.tools.items() if text[:1] != "@"}
    found = best_match(named, name)
    if found is None:
        return None
    by_category = [text for text in document.tools if text[:1] == "@"]
    if (found and read_glob(found[0]).is_exact) or not by_category:
        return Whose(entries=found)
    if category is None:
        together = (*found, *by_category)
        if "*" in named and found != ("*",):
            together = (*together, "*")
        return Whose(entries=together, unseen=True)
    own = f"@{category}"
    if own not in document.tools:
        return Whose(entries=found)
    return Whose(entries=(own,) if found and read_glob(found[0]).is_everything else (*found, own))


def best_match(entries: Mapping[str, object], name: str) -> tuple[str, ...] | None:
    """Give the entry whose name or pattern means a name best, as a list of one or none; None if two are equal."""
    matching = [text for text in entries if (text == name if _MARKS.isdisjoint(text) else read_glob(text).means(name))]
    exact = [text for text in matching if read_glob(text).is_exact]
    if exact:
        return tuple(exact) if len(exact) == 1 else None
    others = [text for text in matching if not read_glob(text).is_everything] or matching
    ranked = sorted(others, key=lambda text: read_glob(text).rank, reverse=True)
    if len(ranked) > 1 and read_glob(ranked[0]).rank == read_glob(ranked[1]).rank:
        return None
    return tuple(ranked[:1])


def strictest(entries: Mapping[str, Tool] | Mapping[str, Use], texts: Sequence[str]) -> tuple[str, ...]:
    """Give those of the entries whose action is the strictest."""
    most = max((_STRICTNESS.index(entries[text].action) for text in texts), default=0)
    return tuple(text for text in texts if _STRICTNESS.index(entries[text].action) == most)


def names_for(text: str) -> Iterator[str]:
    """Yield names that a pattern means, the most telling first."""
    glob = read_glob(text)
    if glob.is_exact:
        if text:
            yield glob.filled("")
        return
    for fill in _FILLS:
        if name := glob.filled(fill):
            yield name
    yield glob.filled("b", "b")


def names_beside(text: str) -> Iterator[str]:
    """Yield names that a pattern only just does not mean: more before or after it, or a character less."""
    glob = read_glob(text)
    if glob.is_everything:
        return
    name = glob.filled("a")
    for near in (f"{name}x", f"x{name}", name[:-1], name[1:], *_without_a_literal(glob), name.swapcase()):
        if near and not glob.means(near):
            yield near


def wanted_beside(text: str) -> int:
    """Say how many names beside a pattern are worth a call: one beside an exact name."""
    return 1 if read_glob(text).is_exact else _MOST_BESIDE


def _without_a_literal(glob: Glob) -> Iterator[str]:
    for at, part in enumerate(glob.parts):
        if isinstance(part, str):
            yield Glob((*glob.parts[:at], *glob.parts[at + 1 :])).filled("a")
