"""Finds in the arguments of a call what a path of a rule names, and keys that a server may take for the named ones.

Knows nothing of rules or operators.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from mcpguard.policy.values import folded_key

MANY: Final = None
"""The step `*`: every element of a list, every value of an object."""

Step: TypeAlias = str | None
Place: TypeAlias = tuple[str | int, ...]


class PathError(ValueError):
    """A text is no path; the message says why, in words for the one who wrote it."""


class Nothing(Enum):
    """What a path finds where there is no value."""

    ABSENT = "absent"
    BLOCKED = "blocked"
    """A value in which no step can be taken: a server may decode it and take the step all the same."""


ABSENT: Final = Nothing.ABSENT
BLOCKED: Final = Nothing.BLOCKED
Found: TypeAlias = object | Literal[Nothing.ABSENT, Nothing.BLOCKED]


@dataclass(frozen=True, slots=True)
class Path:
    """A way into the arguments."""

    text: str
    steps: tuple[Step, ...]

    @property
    def has_many(self) -> bool:
        """Whether it may find several values."""
        return MANY in self.steps

    def find(self, arguments: object) -> Found:
        """Return what a path without `*` finds."""
        found = arguments
        for step in self.steps:
            assert step is not None
            found = _step(found, step)
            if found is ABSENT or found is BLOCKED:
                return found
        return found

    def find_all(self, arguments: object) -> Iterator[tuple[Place, Found]]:
        """Yield everything that the path finds, with where it stands; nothing to range over is an absent value."""
        return _all(arguments, self.steps, ())


def parse_path(text: str) -> Path:
    """Read a path: `args.a.b`, or a JSON Pointer (RFC 6901) from the arguments.

    Raises:
        PathError: it is neither.
    """
    return _parsed(text)


def place_text(place: Place) -> str:
    """Write where a value stands the way a path would."""
    return ".".join(("args", *map(str, place)))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Path:
    if text.startswith("/"):
        if "~" in text.replace("~0", "").replace("~1", ""):
            raise PathError("in a JSON Pointer `~` is written `~0` and a `/` in a key `~1`")
        return Path(text, tuple(step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")))
    first, *steps = text.split(".")
    if first != "args" or not steps:
        raise PathError('a path begins with `args.`, like `args.amount`, or is a JSON Pointer, like `"/amount"`')
    if "" in steps:
        raise PathError('a path has no empty steps; for a key with a dot write a JSON Pointer, like `"/a.b"`')
    return Path(text, tuple(MANY if step == "*" else step for step in steps))


def _step(value: object, step: str) -> Found:
    if isinstance(value, dict):
        found: Found = value.get(step, ABSENT)
        return found
    if isinstance(value, list):
        index = index_of(step)
        if index is None:
            return BLOCKED
        return value[index] if index < len(value) else ABSENT
    return ABSENT if value is None else BLOCKED


def index_of(step: str) -> int | None:
    """Read a step as an index of a list; None if it is none."""
    if not (step.isascii() and step.isdigit()) or (step[0] == "0" and step != "0"):
        return None
    return int(step[:19])


def _all(value: object, steps: tuple[Step, ...], place: Place) -> Iterator[tuple[Place, Found]]:
    while steps and steps[0] is not MANY:
        step, *rest = steps
        assert step is not None
        value, steps, place = _step(value, step), tuple(rest), (*place, step)
        if value is ABSENT or value is BLOCKED:
            yield place, value
            return
    if not steps:
        yield place, value
        return
    items: Iterable[tuple[str | int, object]]
    match value:
        case dict():
            items = value.items()
        case list():
            items = enumerate(value)
        case _:
            yield (*place, "*"), ABSENT if value is None else BLOCKED
            return
    if not value:
        yield (*place, "*"), ABSENT
    for key, item in items:
        yield from _all(item, steps[1:], (*place, key))


@dataclass(slots=True)
class Names:
    """The keys that rules name, as a tree: what to look for in the arguments, object by object.

    `by_fold` holds the exact names under their folded form, `below` what is named inside, None for every element.
    """

    by_fold: dict[str, set[str]] = field(default_factory=dict)
    below: dict[Step, Names] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Add every step of `path`."""
        here = self
        for step in path.steps:
            if step is not MANY:
                here.by_fold.setdefault(folded_key(step), set()).add(step)
            here = here.below.setdefault(step, Names())

    def alias_in(self, value: object, place: Place = ()) -> tuple[Place, str] | None:
        """Find a key that is not a named one and may be taken for it; say where, and for which."""
        if isinstance(value, dict):
            found = alias_among(value, self.by_fold)
            if found is not None:
                return (*place, found[0]), found[1]
        for step, names in self.below.items():
            for key, item in _taken(value, step):
                deeper = names.alias_in(item, (*place, key)) if names.below else None
                if deeper is not None:
                    return deeper
        return None


def alias_among(keys: Mapping[str, object], by_fold: Mapping[str, Iterable[str]]) -> tuple[str, str] | None:
    """Return the first key, in the order of the alphabet, that is an alias of a named one, and that name."""
    found = [(key, name) for key in keys for name in by_fold.get(folded_key(key), ()) if name != key]
    return min(found) if found else None


def _taken(value: object, step: Step) -> Iterable[tuple[str | int, object]]:
    match value:
        case dict() if step is MANY:
            return value.items()
        case list() if step is MANY:
            return enumerate(value)
        case dict() if step is not MANY and step in value:
            return ((step, value[step]),)
        case list() if step is not MANY and (index := index_of(step)) is not None and index < len(value):
            return ((index, value[index]),)
        case _:
            return ()
