"""Hides secrets in a command line before it is written down."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK: Final = "***"

_TELLING_PARTS: Final = (
    "apikey",
    "accesskey",
    "privatekey",
    "secret",
    "token",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "credential",
    "bearer",
    "cookie",
    "sessionid",
    "connectionstring",
)
_TELLING_WORDS: Final = frozenset(("auth", "dsn", "key", "pass", "pat", "pwd"))
_SECRET_VALUE = re.compile(
    r"""(?x) \b(?:
      sk-[A-Za-z0-9_-]{8,} | gh[pousr]_[A-Za-z0-9]{8,} | github_pat_\w{8,} | glpat-[\w-]{8,} | xox[abprs]-[\w-]{8,}
      | A[KS]IA[A-Z0-9]{12,} | AIza[\w-]{20,} | eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]* | (?:sk|rk|pk)_(?:live|test)_\w{8,}
      | npm_[A-Za-z0-9]{20,} | pypi-[\w-]{20,} | hf_[A-Za-z0-9]{16,} | (?i:bearer|basic)\s+[^\s"']{4,}
    )"""
)
_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")
_OPTION = re.compile(r"-{1,2}[A-Za-z_][\w.-]*")
_ASSIGNMENT = re.compile(r"(?s)(-{0,2}[A-Za-z_][\w.-]*)([=:])(.+)")
_NAMED = re.compile(r"""(?<![\w.-])(-{0,2}[A-Za-z_][\w.-]*)[\\"']*(\s*[=:]\s*|\s+)""")
_QUOTED_VALUE = r"""\\?"[^"]*"|'[^']*'|"""
_VALUES: Final = {
    "=": re.compile(_QUOTED_VALUE + r"""[^\s&;"']+"""),
    ":": re.compile(_QUOTED_VALUE + r"""[^"'\n]+"""),
    "": re.compile(_QUOTED_VALUE + r"""[^\s"'-][^\s"']*"""),
}


def mask_command(words: Iterable[str]) -> list[str]:
    """Give the words of a command line with every value replaced by `***` that its name or its own look calls a secret.

    A value counts as secret after an option of a telling name (`--api-key X`, `--token=X`, `PASSWORD=X`, `Authorization: X`), also
    within a word (`sh -c "TOKEN=X server"`, `?api_key=X`, `{"apiKey": "X"}`), as the user part of a URL, and when it looks like a
    well-known kind of key. Rather too much is hidden than too little.
    """
    masked: list[str] = []
    after_secret_option = False
    for word in words:
        if after_secret_option and not word.startswith("--"):
            masked.append(MASK)
            after_secret_option = False
            continue
        after_secret_option = bool(_OPTION.fullmatch(word)) and _is_telling(word)
        assignment = _ASSIGNMENT.fullmatch(word)
        if assignment and _is_telling(assignment[1]):
            masked.append(f"{assignment[1]}{assignment[2]}{MASK}")
        else:
            masked.append(_SECRET_VALUE.sub(MASK, _USER_INFO.sub(f"{MASK}@", _mask_within(word))))
    return masked


def _is_telling(name: str) -> bool:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
    words = re.split(r"[^a-z0-9]+", spaced)
    joined = "".join(words)
    return not _TELLING_WORDS.isdisjoint(words) or any(part in joined for part in _TELLING_PARTS)


def _mask_within(word: str) -> str:
    pieces: list[str] = []
    at = 0
    for name in _NAMED.finditer(word):
        sign = name[2].strip()
        if name.start() < at or not _is_telling(name[1]) or not (sign or name[1].startswith("-")):
            continue
        value = _VALUES[sign].match(word, name.end())
        if value:
            pieces += [word[at : name.end()], MASK]
            at = value.end()
    return "".join(pieces) + word[at:]
