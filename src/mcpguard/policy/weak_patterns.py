"""Says where a regular expression is weaker than it looks.

Reads patterns, matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mcpguard.policy.findings import Code

_ANY, _ESCAPED, _BEGIN, _END = "\0", "\1", "\2", "\3"
_OPENERS: Final = re.compile(r"\((?:\?(?:[a-zA-Z-]*:|P?<[A-Za-z_]\w*>))?|\)|\|")
_MULTILINE: Final = re.compile(r"\(\?[a-ln-z]*m[a-z]*(?:-[a-z]+)?[:)]")
_QUANTIFIERS: Final = frozenset("*+?{")
_ENDINGS: Final = (
    "com|org|net|edu|gov|io|dev|app|ai|cloud|internal|local|localhost|corp|example|test|info|co|eu|de|uk|us"
)
_HOST: Final = re.compile(rf"[a-z0-9-]{_ANY}(?:[a-z0-9-]+[.{_ANY}])*(?:{_ENDINGS})(?![a-z0-9-])", re.IGNORECASE)
_ANYTHING: Final = (f"{_ANY}*", f"{_ANY}+")


def weaknesses(pattern: str, *, accepts: bool) -> Iterator[tuple[Code, str]]:
    """Yield what is weak about a pattern, as code and sentence; `accepts`: what it finds is let through."""
    marked = _marked(pattern)
    branches = list(_branches(marked))
    begun = [_has(branch, _BEGIN, branch[:2]) for branch in branches]
    ended = [_has(branch, _END, branch[-2:]) for branch in branches]
    if _MULTILINE.search(marked) and (_BEGIN in marked or _END in marked):
        yield (
            "regex-multiline",
            "under `(?m)` the marks `^` and `$` stand for every line of a text, and not for all of it",
        )
    if len(set(begun)) > 1 or len(set(ended)) > 1:
        yield (
            "regex-alternation",
            "`|` parts the pattern in two, and an anchor holds for one part only: write `^(…|…)$`",
        )
    elif accepts and not (all(begun) and all(ended)):
        where = "how a text begins" if any(ended) else "how a text ends" if any(begun) else "what is around it"
        yield (
            "regex-unanchored",
            f"the pattern is looked for anywhere in the text and does not say {where}: use `^` and `$`",
        )
    if _HOST.search(marked):
        yield "regex-dot", "`.` stands for any character here, so other hosts fit too: write `\\.`, or use `host_in`"


def _has(branch: str, anchor: str, end: str) -> bool:
    # `.*` at an end says that anything may stand there; an anchor inside a group is taken on trust.
    return anchor in branch or end in _ANYTHING


def _marked(pattern: str) -> str:
    """Replace what means something else than itself by one character each, so that the rest can be searched."""
    marked: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        following = pattern[at + 1 : at + 2]
        if character == "\\":
            marked.append(_escaped(following))
            at += 2
            continue
        if character == "[":
            at = after_class(pattern, at)
            marked.append(_ESCAPED)
            continue
        match character:
            case ".":
                marked.append(_ANY if not (following and following in _QUANTIFIERS) else _ANY + following)
                at += len(marked[-1]) - 1
            case "^":
                marked.append(_BEGIN)
            case "$":
                marked.append(_END)
            case _:
                marked.append(character)
        at += 1
    return "".join(marked)


def _escaped(character: str) -> str:
    match character:
        case "." | "-":
            return character
        case "A":
            return _BEGIN
        case "z" | "Z":
            return _END
        case _:
            return _ESCAPED


def after_class(pattern: str, start: int) -> int:
    """Give the place after the character class that begins at `start`."""
    at = start + 1
    if pattern[at : at + 1] == "^":
        at += 1
    if pattern[at : at + 1] == "]":
        at += 1
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1


def _branches(marked: str) -> Iterator[str]:
    """Yield the alternatives at the top of a marked pattern."""
    depth, start = 0, 0
    for found in _OPENERS.finditer(marked):
        match found.group()[0]:
            case "(":
                depth += 1
            case ")":
                depth -= 1
            case _ if depth == 0:
                yield marked[start : found.start()]
                start = found.end()
    yield marked[start:]
