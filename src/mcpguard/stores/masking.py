"""Hides secrets in a command line before it is written down."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK: Final = "***"

_SECRET_NAME = re.compile(
    r"(?i)(^|[-_.])(api[-_]?key|access[-_]?key|secret|token|password|passwd|passphrase|pwd|auth|authorization|credentials?|"
    r"private[-_]?key|bearer|cookie|session[-_]?id|pat|dsn|connection[-_]?string)($|[-_.s])"
)
_SECRET_VALUE = re.compile(
    r"""(?x) \b(?:
      sk-[A-Za-z0-9_-]{8,} | gh[pousr]_[A-Za-z0-9]{8,} | github_pat_\w{8,} | glpat-[\w-]{8,} | xox[abprs]-[\w-]{8,}
      | A[KS]IA[A-Z0-9]{12,} | AIza[\w-]{20,} | eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]* | (?:sk|rk|pk)_(?:live|test)_\w{8,}
      | npm_[A-Za-z0-9]{20,} | pypi-[\w-]{20,} | hf_[A-Za-z0-9]{16,}
    )"""
)
_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")
_ASSIGNMENT = re.compile(r"(?s)^(-{0,2}[A-Za-z][\w.-]*)([=:])(.+)$")


def mask_command(words: Iterable[str]) -> list[str]:
    """Give the words of a command line with every value replaced by `***` that its name or its own look calls a secret.

    A value counts as secret after an option of a telling name (`--api-key X`, `--token=X`, `PASSWORD=X`, `Authorization: X`), as the
    user part of a URL, and when it looks like a well-known kind of key.
    """
    masked: list[str] = []
    after_secret_option = False
    for word in words:
        if after_secret_option and not word.startswith("-"):
            masked.append(MASK)
            after_secret_option = False
            continue
        after_secret_option = word.startswith("-") and bool(_SECRET_NAME.search(word.lstrip("-"))) and "=" not in word
        assignment = _ASSIGNMENT.match(word)
        if assignment and _SECRET_NAME.search(assignment[1].lstrip("-")):
            masked.append(f"{assignment[1]}{assignment[2]}{MASK}")
        else:
            masked.append(_SECRET_VALUE.sub(MASK, _USER_INFO.sub(f"{MASK}@", word)))
    return masked
