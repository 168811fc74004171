"""Says what is strange about a URI, and whether a URI template could make one that a pattern means.

Texts only: nothing is resolved or fetched.
"""

from __future__ import annotations

import re
from typing import Final

from mcpguard.policy.match import Pattern, join_literals, overlap

_STRANGE: Final = (
    (re.compile(r"[a-z0-9+.-]*[A-Z][A-Za-z0-9+.-]*:"), "an upper-case scheme"),
    (re.compile(r"(?:.*[/:\\])?\.{1,2}(?:[/?#\\]|\Z)", re.DOTALL), "a dot segment"),
    (re.compile(r".*%(?:2e|2f|5c)", re.DOTALL | re.IGNORECASE), "an encoded dot, slash or backslash"),
    (re.compile(r"[^\\]*\\", re.DOTALL), "a backslash"),
    (re.compile(r"\S*\s"), "white space"),
    (re.compile(r"[^\0-\x1f\x7f-\x9f]*[\0-\x1f\x7f-\x9f]"), "a control character"),
)
_EXPRESSION: Final = re.compile(r"\{[^{}]*\}")
_LONGEST: Final = 2000


def strange_in(uri: str) -> str:
    """Name what servers read in different ways; empty if there is nothing."""
    return next((what for pattern, what in _STRANGE if pattern.match(uri)), "")


def made_by(template: str) -> Pattern | None:
    """Return a pattern of the URIs that a template (RFC 6570) makes, and of some more; None if it is too long."""
    return None if len(template) > _LONGEST else join_literals(_EXPRESSION.split(template))


def share_a_name(left: Pattern, right: Pattern) -> bool:
    """Say whether some URI matches both patterns."""
    begin_alike = left.prefix.startswith(right.prefix) or right.prefix.startswith(left.prefix)
    return begin_alike and overlap(left, right)
