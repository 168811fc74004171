"""Compiles regular expressions for an engine that takes linear time whatever the pattern and the text.

The engine is the one of `jsonschema-rs`, so that `regex` and the `pattern` of a JSON Schema mean the same: ECMA-262 without
look-around and back-references, unanchored.  It is imported when a policy has a pattern, and not before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

_MAX_BYTES: Final = 1 << 20
"""How large one compiled pattern may be: a policy may hold thousands."""


class RegexError(ValueError):
    """A text is no pattern for this engine."""


@lru_cache(maxsize=1024)
def compile_regex(pattern: str) -> Callable[[str], bool]:
    """Return a function that says whether the pattern is found in a text.

    Raises:
        RegexError: it is no pattern, needs look-around or back-references, or grows too large.
    """
    from jsonschema_rs import Draft202012Validator, RegexOptions

    try:
        schema = {"type": "string", "pattern": pattern}
        return Draft202012Validator(schema, pattern_options=RegexOptions(size_limit=_MAX_BYTES), offline=True).is_valid
    except ValueError:
        raise RegexError(
            "this is no pattern of the linear engine, which has no look-around and no back-references"
        ) from None
