"""Finds patterns about paths that path traversal (CWE-22) gets past: `^/srv/docs/.*` fits `/srv/docs/../x`.

Knows no policies: a pattern alone, and what it is written for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mcpguard.policy.patterns import compile_regex
from mcpguard.policy.weak_patterns import after_class

_PATH: Final = re.compile(r"/.*[^/]", re.DOTALL)
"""What a path begins with that is not the root, which nobody could leave."""


def path_out_of(pattern: str) -> str | None:
    """Give a path that the pattern fits and that leads out of the place which it names; None if none is known."""
    begin, end = _literal_ends(pattern)
    found = _PATH.match(begin)
    if not found:
        return None
    return next(filter(compile_regex(pattern), (f"{found.group()}{way}{end}" for way in ("/../x", "/x/../../x"))), None)


def path_into(pattern: str) -> str | None:
    """Give a path that the pattern does not fit and that leads into the place which it names; None if none is known."""
    begin, end = _literal_ends(pattern)
    found = _PATH.match(begin)
    if not found:
        return None
    fits = compile_regex(pattern)
    inside = f"{found.group()}/x{end}"
    around = f"/x/..{inside}"
    return around if fits(inside) and not fits(around) else None


def _literal_ends(pattern: str) -> tuple[str, str]:
    """Give the text that a pattern's matches begin with, and the one that they end with, as far as it is plain."""
    pieces = list(_pieces(pattern.removeprefix("^").removesuffix("$")))
    if None not in pieces:
        return "".join(filter(None, pieces)), ""
    begin = pieces[: pieces.index(None)]
    end = pieces[len(pieces) - pieces[::-1].index(None) :]
    return "".join(filter(None, begin)), "".join(filter(None, end))


def _pieces(pattern: str) -> Iterator[str | None]:
    """Yield a pattern's characters that stand for themselves, and None for everything else."""
    at = 0
    while at < len(pattern):
        character, following = pattern[at], pattern[at + 1 : at + 2]
        if character == "\\":
            at += 2
            found = following if following and not following.isalnum() else None
        elif character == "[":
            at, found = after_class(pattern, at), None
        else:
            at, found = at + 1, None if character in ".^$*+?{}()|" else character
        # What may be left out, or come again, is not plain.
        yield None if pattern[at : at + 1] in {"*", "+", "?", "{"} else found
