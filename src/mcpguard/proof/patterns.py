"""Reads the plainer regular expressions: whether one is found in a text, and texts at its borders.

A second opinion, which shares nothing with the engine that the guard judges by: a pattern is a tree, and what it matches is a set
of places in the text. Knows printable ASCII alone, and says nothing about patterns with anything but literals, classes, groups,
alternatives, counts, `^` and `$`.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Final, TypeAlias

_ALPHABET: Final = frozenset(map(chr, range(32, 127)))
_CLASSES: Final = {
    "d": frozenset(string.digits),
    "w": frozenset(string.ascii_letters + string.digits + "_"),
    "s": frozenset(" "),
}
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t"}
_LIKED: Final = "ax1A0-_./"
"""What is put where a class leaves a choice."""
_MOST_REPEATS: Final = 1000
_MOST_EXAMPLES: Final = 6
_LONGEST: Final = 2000
_MARKS: Final = "x []();/\"'$<,-"
"""What may break a pattern that takes letters at its ends."""
_MOST_REPLACED: Final = 20


@dataclass(frozen=True, slots=True)
class _OneOf:
    """One character."""

    characters: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Anchor:
    """The start of the text, or its end."""

    at_end: bool


@dataclass(frozen=True, slots=True)
class _WordEdge:
    """A place between a character of words and another one, or none; or no such place."""

    is_edge: bool


@dataclass(frozen=True, slots=True)
class _Sequence:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    ways: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeated:
    item: _Node
    fewest: int
    most: int | None


_Node: TypeAlias = "_OneOf | _Anchor | _WordEdge | _Sequence | _Choice | _Repeated"


class _NotReadError(ValueError):
    """The pattern holds what is not read here."""


@lru_cache(maxsize=8192)
def found_in(pattern: str, text: str) -> bool | None:
    """Say whether a pattern is found in a text; None where it is not for this reading to say."""
    tree = _tree(pattern)
    if tree is None or len(text) > _LONGEST or not _ALPHABET.issuperset(text):
        return None
    return bool(_ends(tree, text, set(range(len(text) + 1))))


@lru_cache(maxsize=512)
def texts_for(pattern: str) -> tuple[str, ...]:
    """List short texts in which a pattern is found, one for each of its alternatives; none if the pattern is not read here."""
    tree = _tree(pattern)
    texts = [] if tree is None else _examples(tree)
    return tuple(text for text in dict.fromkeys(texts) if found_in(pattern, text))


@lru_cache(maxsize=512)
def texts_beside(pattern: str) -> tuple[str, ...]:
    """List texts in which a pattern is only just not found: more before it, more after it, one character less or another."""
    by_text = [list(_beside(pattern, text)) for text in texts_for(pattern)]
    mixed = [text for several in zip_longest(*by_text) for text in several if text is not None]
    return tuple(text for text in dict.fromkeys([*mixed, ""]) if found_in(pattern, text) is False)


def _beside(pattern: str, text: str) -> Iterator[str]:
    before = next((mark for mark in _MARKS if found_in(pattern, f"{mark}{text}") is False), "x")
    after = next((mark for mark in _MARKS if found_in(pattern, f"{text}{mark}") is False), "x")
    yield from (f"{before}{text}", f"{text}{after}", text[:-1])
    marks = [at for at, character in enumerate(text) if not character.isalnum()]
    yield from (f"{text[:at]}x{text[at + 1 :]}" for at in reversed(marks))
    yield from (f"x {text}", f"{text} x", text[1:], text.swapcase())
    yield from (f"{text[:at]}{text[at + 1 :]}" for at in marks)
    yield from (f"{text[:at]}~{text[at + 1 :]}" for at in range(min(len(text), _MOST_REPLACED)))


# Reading a pattern


@lru_cache(maxsize=512)
def _tree(pattern: str) -> _Node | None:
    if not _ALPHABET.issuperset(pattern) or len(pattern) > _LONGEST:
        return None
    folds = pattern.startswith("(?i)")
    reader = _Reader(pattern[4:] if folds else pattern, folds=folds)
    try:
        tree = reader.choice()
    except (_NotReadError, IndexError, ValueError, RecursionError):
        return None
    return None if reader.rest else tree


class _Reader:
    """Reads a pattern from left to right; `rest` is what is left of it."""

    def __init__(self, pattern: str, *, folds: bool) -> None:
        self.rest = pattern
        self._folds = folds

    def choice(self) -> _Node:
        ways = [self._sequence()]
        while self.rest.startswith("|"):
            self.rest = self.rest[1:]
            ways.append(self._sequence())
        return ways[0] if len(ways) == 1 else _Choice(tuple(ways))

    def _sequence(self) -> _Node:
        items: list[_Node] = []
        while self.rest and self.rest[0] not in "|)":
            items.append(self._counted(self._atom()))
        return items[0] if len(items) == 1 else _Sequence(tuple(items))

    def _taken(self) -> str:
        first, self.rest = self.rest[0], self.rest[1:]
        return first

    def _atom(self) -> _Node:
        match self._taken():
            case "^":
                return _Anchor(at_end=False)
            case "$":
                return _Anchor(at_end=True)
            case ".":
                return _OneOf(_ALPHABET)
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\" if self.rest[0] in "bB":
                return _WordEdge(self._taken() == "b")
            case "\\":
                return self._one(self._escaped())
            case "*" | "+" | "?" | "{" | "}" | "]":
                raise _NotReadError
            case character:
                return self._one(frozenset(character))

    def _one(self, characters: frozenset[str]) -> _OneOf:
        if self._folds:
            characters |= {each.swapcase() for each in characters}
        return _OneOf(characters)

    def _group(self) -> _Node:
        if self.rest.startswith("?:"):
            self.rest = self.rest[2:]
        elif self.rest.startswith("?"):
            raise _NotReadError
        inner = self.choice()
        if self._taken() != ")":
            raise _NotReadError
        return inner

    def _escaped(self) -> frozenset[str]:
        character = self._taken()
        if character.lower() in _CLASSES:
            members = _CLASSES[character.lower()]
            return _ALPHABET - members if character.isupper() else members
        if character in _CONTROLS:
            return frozenset(_CONTROLS[character])
        if character.isalnum():
            raise _NotReadError
        return frozenset(character)

    def _class(self) -> _Node:
        is_negated = self.rest.startswith("^")
        if is_negated:
            self.rest = self.rest[1:]
        members: set[str] = set()
        while self.rest[0] != "]":
            # Sets within sets, and operations on them, are read in more than one way.
            if self.rest[0] == "[" or self.rest[:2] in ("&&", "--", "~~"):
                raise _NotReadError
            low = self._escaped() if (first := self._taken()) == "\\" else frozenset(first)
            if self.rest[0] == "-" and self.rest[1] != "]":
                self.rest = self.rest[1:]
                high = self._escaped() if (last := self._taken()) == "\\" else frozenset(last)
                if len(low) != 1 or len(high) != 1 or (self.rest[:1] == "-" and self.rest[1] != "]"):
                    raise _NotReadError
                members |= set(map(chr, range(ord(*low), ord(*high) + 1)))
            else:
                members |= low
        self.rest = self.rest[1:]
        if not members:
            raise _NotReadError
        wanted = self._one(frozenset(members)).characters
        return _OneOf(_ALPHABET - wanted if is_negated else wanted)

    def _counted(self, item: _Node) -> _Node:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if not self.rest or self.rest[0] not in "*+?{":
            return item
        if isinstance(item, (_Anchor, _WordEdge)):
            raise _NotReadError
        mark = self._taken()
        if mark in simple:
            fewest, most = simple[mark]
        else:
            text, _, self.rest = self.rest.partition("}")
            low, comma, high = text.partition(",")
            fewest = int(low)
            most = int(high) if high else None if comma else fewest
        if max(fewest, most or 0) > _MOST_REPEATS or (most is not None and most < fewest):
            raise _NotReadError
        # How much it likes to take makes no difference to whether it is found.
        self.rest = self.rest.removeprefix("?")
        if self.rest and self.rest[0] in "*+?{":
            raise _NotReadError
        return _Repeated(item, fewest, most)


# What a pattern matches


def _ends(node: _Node, text: str, starts: set[int]) -> set[int]:
    """Give every place at which the pattern can end that begins at one of `starts`."""
    match node:
        case _OneOf(characters):
            return {at + 1 for at in starts if at < len(text) and text[at] in characters}
        case _Anchor(at_end):
            return starts & {len(text) if at_end else 0}
        case _WordEdge(is_edge):
            return {at for at in starts if _is_edge(text, at) is is_edge}
        case _Sequence(items):
            for item in items:
                starts = _ends(item, text, starts)
            return starts
        case _Choice(ways):
            return set().union(*(_ends(way, text, starts) for way in ways))
        case _Repeated(item, fewest, most):
            return _repeated(item, fewest, most, text, starts)


def _is_edge(text: str, at: int) -> bool:
    words = _CLASSES["w"]
    return (at > 0 and text[at - 1] in words) is not (at < len(text) and text[at] in words)


def _repeated(item: _Node, fewest: int, most: int | None, text: str, starts: set[int]) -> set[int]:
    for _ in range(fewest):
        starts = _ends(item, text, starts)
        if not starts:
            return starts
    reached, rounds = set(starts), 0
    while starts and (most is None or rounds < most - fewest):
        starts = _ends(item, text, starts) - reached
        reached |= starts
        rounds += 1
    return reached


def _examples(node: _Node) -> list[str]:
    match node:
        case _OneOf(characters):
            liked = next((each for each in _LIKED if each in characters), None)
            return [liked or min(characters, key=lambda each: (each.isupper(), each))] if characters else []
        case _Anchor() | _WordEdge():
            return [""]
        case _Choice(ways):
            return [text for way in ways for text in _examples(way)[:2]][:_MOST_EXAMPLES]
        case _Repeated(item, fewest, _):
            return [text * fewest for text in _examples(item)] if fewest else [""]
        case _Sequence(items):
            texts = [""]
            for item in items:
                found = _examples(item)
                if not found:
                    return []
                # The first example of everything else goes with each of this one: alternatives show one at a time.
                texts = [text + found[0] for text in texts] + [texts[0] + other for other in found[1:]]
            return texts[:_MOST_EXAMPLES]
