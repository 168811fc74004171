r"""Says which names a pattern means, and which of many patterns decides about a name.

A pattern is a whole, case-sensitive name in which `*` stands for any characters and `?` for one; `\` takes the meaning
from `*`, `?`, `@` and `\`.  A pattern without `*` and `?` is an exact name.  Knows nothing of tools or effects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

_MANY = "*"
_ONE = "?"
_ESCAPABLE = frozenset("*?@\\")


class PatternError(ValueError):
    """A text is no pattern; the message says why, in words for the one who wrote it."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern.

    `tokens` are the characters a name must have, with `"*"` and `"?"` for the wildcards, and `"=*"` and `"=?"` for
    these characters themselves.  `literals` counts what is no wildcard, `prefix` is what stands before the first wildcard.
    """

    text: str
    tokens: tuple[str, ...]
    literals: int
    prefix: str
    matches: Callable[[str], bool] = field(compare=False, repr=False)

    @property
    def is_exact(self) -> bool:
        """Whether it means one name only, which is then its `prefix`."""
        return self.literals == len(self.tokens)

    @property
    def is_everything(self) -> bool:
        """Whether it is the glob `*`, which means every name."""
        return self.tokens == (_MANY,)


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """What to find for which name: exact names first, then globs from the most to the least specific."""

    exact: Mapping[str, T]
    globs: tuple[tuple[Pattern, T], ...]

    def glob(self, name: str) -> tuple[Pattern, T] | None:
        """Return the most specific glob that matches `name`, and what it decides."""
        return next(((pattern, value) for pattern, value in self.globs if pattern.matches(name)), None)

    def find(self, name: str) -> T | None:
        """Return what decides about `name`: its exact entry alone, else the most specific glob, else None."""
        entry = self.exact.get(name)
        if entry is not None:
            return entry
        for pattern, value in self.globs:
            if pattern.matches(name):
                return value
        return None


def compile_pattern(text: str) -> Pattern:
    r"""Read a pattern.

    Time to match is bounded by the length of the name times the length of the pattern: every `*` but the last settles
    for the first place where what follows it fits, and never comes back.

    Raises:
        PatternError: a `\` before anything but `*`, `?`, `@` or `\`, or a leading `@` without one.
    """
    if _ESCAPABLE.isdisjoint(text):
        return Pattern(text, tuple(text), len(text), text, text.__eq__)
    tokens = tuple(_collapsed(_tokens(text)))
    wild = next((i for i, token in enumerate(tokens) if token in {_MANY, _ONE}), len(tokens))
    prefix = "".join(token[-1] for token in tokens[:wild])
    literals = sum(token not in {_MANY, _ONE} for token in tokens)
    matches = prefix.__eq__ if wild == len(tokens) else _glob_matcher(tokens)
    return Pattern(text, tokens, literals, prefix, matches)


def join_literals(parts: Iterable[str]) -> Pattern:
    """Return the pattern of names that consist of `parts`, with anything between them."""
    return compile_pattern("*".join(re.sub(r"([*?@\\])", r"\\\1", part) for part in parts))


def build_table(entries: Iterable[tuple[Pattern, T]]) -> Table[T]:
    """Order `entries` by who decides: most literal characters first, then the longer literal prefix, `*` last.

    INVARIANT: the order of `entries` does not matter once `conflicts` finds nothing in them.
    """
    exact: dict[str, T] = {}
    globs: list[tuple[Pattern, T]] = []
    for pattern, value in entries:
        if pattern.is_exact:
            exact[pattern.prefix] = value
        else:
            globs.append((pattern, value))
    globs.sort(key=lambda entry: (entry[0].is_everything, -entry[0].literals, -len(entry[0].prefix)))
    return Table(exact, tuple(globs))


def conflicts(patterns: Iterable[Pattern]) -> list[tuple[Pattern, Pattern]]:
    """Find the pairs of which none is more specific and that can match one name, the later one second."""
    # Two patterns of one rank share a name only if their literal prefixes, equally long, are the same text.
    rivals: dict[tuple[bool, bool, int, str], list[Pattern]] = {}
    found = []
    for pattern in patterns:
        group = rivals.setdefault((pattern.is_exact, pattern.is_everything, pattern.literals, pattern.prefix), [])
        found += [(earlier, pattern) for earlier in group if overlap(earlier, pattern)]
        group.append(pattern)
    return found


def overlap(a: Pattern, b: Pattern) -> bool:
    """Say whether some name matches both; time is the product of the lengths."""
    # possible[j]: the rest of `a` from i and the rest of `b` from j have a common name.  Filled from the ends.
    possible = _only_stars(b.tokens)
    for i in range(len(a.tokens) - 1, -1, -1):
        below, left = possible, a.tokens[i]
        possible = [False] * len(below)
        possible[-1] = left == _MANY and below[-1]
        for j in range(len(b.tokens) - 1, -1, -1):
            right = b.tokens[j]
            if _MANY in {left, right}:
                # The star means nothing here, or it takes in the other side's token: the same two cases on both sides.
                possible[j] = below[j] or possible[j + 1]
            else:
                possible[j] = below[j + 1] and (left == right or _ONE in {left, right})
    return possible[0]


def _only_stars(tokens: tuple[str, ...]) -> list[bool]:
    """Say for every place in `tokens`, and for its end, whether what is left matches the empty name."""
    rest = [True]
    for token in reversed(tokens):
        rest.append(rest[-1] and token == _MANY)
    return rest[::-1]


def _tokens(text: str) -> Iterator[str]:
    if text.startswith("@"):
        raise PatternError(f"a name that begins with `@` is a risk category; for a tool of that name write `\\{text}`")
    characters = iter(text)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if not escaped or escaped not in _ESCAPABLE:
                raise PatternError(f"`\\{escaped}` escapes nothing; `\\` goes before `*`, `?`, `@` or `\\`")
            yield "=" + escaped if escaped in {_MANY, _ONE} else escaped
        else:
            yield character


def _collapsed(tokens: Iterable[str]) -> Iterator[str]:
    previous = ""
    for token in tokens:
        if not token == previous == _MANY:
            yield token
        previous = token


def _glob_matcher(tokens: tuple[str, ...]) -> Callable[[str], bool]:
    pieces = [[]]  # type: list[list[str]]
    for token in tokens:
        if token == _MANY:
            pieces.append([])
        else:
            pieces[-1].append("." if token == _ONE else re.escape(token[-1]))
    first, *rest = ("".join(piece) for piece in pieces)
    # An atomic group gives back nothing: the leftmost fit of a middle piece leaves the most room for the others.
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1])
    last = f".*{rest[-1]}" if rest else ""
    fullmatch = re.compile(first + middle + last, re.DOTALL).fullmatch
    return lambda name: fullmatch(name) is not None
