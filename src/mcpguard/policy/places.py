"""Says whether a path lies in a directory, and whether a URL leads to a host.

Judges texts as servers may read them: what two programs could read in two ways is unsure.  The only thing that it asks of
the file system is where symbolic links lead, and it is given the way to ask.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Final, TypeAlias
from unicodedata import normalize

from mcpguard.policy.values import NO, UNSURE, YES, Answer

Resolve: TypeAlias = Callable[[str], str | None]
"""Gives the absolute path without symbolic links that a path leads to, from the working directory; None if nobody can say."""

_STRANGE: Final = ("\0", "%", "\\", "$")
_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.-]*"
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_NUMERIC: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_URL: Final = re.compile(rf"{_SCHEME}://(\[[0-9A-Fa-f:.]*\]|[A-Za-z0-9_.-]+)(?::[0-9]{{1,5}})?(?:[/?#].*)?", re.DOTALL)
_MAX_NAME: Final = 253


def path_problem(text: str) -> str:
    """Say why nobody can tell where a path leads; empty if one can."""
    if any(mark in text for mark in _STRANGE):
        return "NUL, `%`, `$` and backslashes are read in different ways"
    if text.startswith("~"):
        return "`~` means somebody's home to some"
    if text[:5].lower() == "file:":
        return "a `file:` URL is a path to some"
    if text != text.strip():
        return "surrounding white space is taken away by some"
    return ""


def lies_under(path: str, directories: tuple[str, ...], resolve: Resolve) -> Answer:
    """Say whether a path lies in one of the directories, by its letters and by where its symbolic links lead.

    Unsure is what cannot be resolved, and what lies inside by one reading and outside by another. A server may look for a name in
    another of its Unicode forms than it was given.
    """
    if path_problem(path):
        return UNSURE
    answer = _lies_under(path, directories, resolve)
    if not path.isascii():
        for form in ("NFC", "NFD"):
            composed = tuple(normalize(form, directory) for directory in directories)
            if _lies_under(normalize(form, path), composed, resolve) is not answer:
                return UNSURE
    return answer


def _lies_under(path: str, directories: tuple[str, ...], resolve: Resolve) -> Answer:
    home = resolve(".")
    if home is None:
        return UNSURE
    whole = posixpath.join(home, path)
    lexical = _normal(whole)
    # A server may tidy the path before it opens it, or leave that to the system, which follows links before `..`.
    real, tidied = resolve(whole), resolve(lexical)
    if real is None or tidied is None:
        return UNSURE
    inside = set()
    outside = set()
    for directory in directories:
        root = _normal(posixpath.join(home, directory))
        real_root = resolve(root)
        if real_root is None:
            return UNSURE
        readings = (_within(lexical, root), _within(real, real_root), _within(tidied, real_root))
        inside.add(all(readings))
        outside.add(not any(readings))
    if True in inside:
        return YES
    return UNSURE if False in outside else NO


def host_of(url: str) -> str | None:
    """Return the host of a URL, in lower case; None if it is not written in the one way that everybody reads alike."""
    found = _URL.fullmatch(url)
    return normal_host(found.group(1)) if found else None


def normal_host(text: str) -> str | None:
    """Return a host name or address in lower case; None if it is not written in the usual way."""
    if text.startswith("["):
        return _ipv6(text)
    if len(text) > _MAX_NAME or not _NAME.fullmatch(text):
        return None
    labels = text.split(".")
    if not _NUMERIC.fullmatch(labels[-1]):
        return text.lower()
    is_ipv4 = len(labels) == 4 and all(
        label.isdigit() and str(int(label[:4])) == label and int(label) < 256 for label in labels
    )
    return text if is_ipv4 else None


def is_host(host: str, wanted: str) -> bool:
    """Whether a host is the wanted one; `*.example.com` wants every host below `example.com`."""
    return host.endswith(wanted[1:]) if wanted.startswith("*.") else host == wanted


def _ipv6(text: str) -> str | None:
    import ipaddress

    try:
        address = ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        return None
    lower = text.lower()
    return lower if f"[{address}]" == lower and address.ipv4_mapped is None else None


def _normal(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


def _within(path: str, directory: str) -> bool:
    return directory in {"/", path} or path.startswith(directory + "/")
