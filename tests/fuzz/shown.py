"""Keeps what the lists of a conversation have shown, and says what may not be shown any more, or never.

From the wire's rules about lists: nothing that the policy hides, no name for two things, no tool that has changed, nothing that nobody
sees in what people read, and everything else as the server said it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fuzz.strict_json import Number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.conversation import Policy

LISTED_IN: Final = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
"""Each method that lists, the member that holds the items, and the member that names one."""

LIST_MEMBERS: Final = {"tools", "prompts", "resources", "resourcetemplates"}
TEXTS: Final = {"title", "description"}
_RANGES: Final = (
    *((0x00, 0x08), (0x0B, 0x1F), (0x80, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200B)),
    *((0x200E, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xE0000, 0xE01EF)),
)
UNSEEN: Final = frozenset(chr(code) for start, end in _RANGES for code in range(start, end + 1))


class Shown:
    """What the lists of one conversation have shown so far.

    `refused` are names that a page has used for two things, or that nobody sees as they are, by method; `changed` are tools that have
    changed since they were shown.
    """

    def __init__(self) -> None:
        self.refused: set[tuple[str, str]] = set()
        self.changed: set[str] = set()
        self._tools: dict[str, Any] = {}
        """Each tool as it was first shown, but for spelling."""

    def problems(self, method: str, said: dict[str, Any], heard: dict[str, Any], rules: Policy) -> Iterator[str]:
        """Say what is wrong with a page that the client hears, of what the server said."""
        member, name_key = LISTED_IN[method]
        items = said[member]
        self.refused |= {(method, name) for name in used_twice(items, name_key)}
        self.refused |= {(method, name) for name in names_in(items, name_key) if not UNSEEN.isdisjoint(name)}
        if method == "tools/list":
            self._compare(items, rules)
        for item in heard[member]:
            name = item.get(name_key) if isinstance(item, dict) else None
            if not isinstance(name, str):
                yield "an item without a name"
                continue
            if any(other != name_key and other.casefold() == name_key.casefold() for other in item):
                yield "an item with two names"
            if not rules.shows(method, name):
                yield f"a list shows {name!a}"
            if (method, name) in self.refused:
                yield f"a list shows {name!a}, which could be taken for another"
            if method == "tools/list" and name in self.changed:
                yield f"a list shows {name!a}, which has changed"
            if not UNSEEN.isdisjoint(str(item.get("name"))):
                yield f"a list shows a name that nobody sees as it is: {name!a}"
            if not all(UNSEEN.isdisjoint(text) for text in texts_of(item)):
                yield f"characters that nobody sees are left in {name!a}"
            if without_texts(item) not in map(without_texts, items):
                yield f"{name!a} was changed on its way"
            if method == "tools/list" and not rules.permits_drift():
                self._tools.setdefault(name, next(meaning(one) for one in items if is_named(one, name)))

    def _compare(self, items: list[Any], rules: Policy) -> None:
        """Find the tools that are not any more what was shown; where they may change, what was shown does not matter."""
        if rules.permits_drift():
            self._tools.clear()
            self.changed.clear()
        self.changed |= {
            name
            for name, first in self._tools.items()
            for item in items
            if is_named(item, name) and meaning(item) != first
        }


def is_named(item: Any, name: str) -> bool:
    return isinstance(item, dict) and item.get("name") == name


def names_in(items: Any, name_key: str) -> Iterator[str]:
    for item in items:
        name = item.get(name_key) if isinstance(item, dict) else None
        if isinstance(name, str):
            yield name


def used_twice(items: Any, name_key: str) -> set[str]:
    """Find the names that a page uses for two different things."""
    known: dict[str, Any] = {}
    found = set()
    for item in items:
        name = item.get(name_key) if isinstance(item, dict) else None
        if isinstance(name, str) and known.setdefault(name, item) != item:
            found.add(name)
    return found


def texts_of(item: dict[str, Any]) -> Iterator[str]:
    """Give what people read of an item: its own texts, not those inside it."""
    return (value for name, value in item.items() if name in TEXTS and isinstance(value, str))


def without_texts(value: Any) -> Any:
    """Give a value without what people read in it; names of properties look the same and are left out with it."""
    match value:
        case dict():
            return {name: without_texts(item) for name, item in value.items() if name.casefold() not in TEXTS}
        case list():
            return [without_texts(item) for item in value]
        case _:
            return value


def meaning(value: Any) -> Any:
    """Give a value but for the spelling of its numbers and the order of its members."""
    match value:
        case dict():
            return {name: meaning(item) for name, item in value.items()}
        case list():
            return [meaning(item) for item in value]
        case Number():
            return value.negative and bool(value.digits), value.digits, value.exponent
        case _:
            return value
