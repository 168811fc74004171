"""Finds the policies that come along: reviewed ones for real servers, each with its cases beside it.

In an installed package they lie in its own directory `library/`, in a checkout in `policies/`.  Knows nothing of what they say but
for the first words of their descriptions.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpguard.errors import GuardError

CASES: Final = ".test.json"
_PACKAGE: Final = Path(__file__).resolve().parents[1]
_REVIEWED: Final = re.compile(r"(?P<server>@?[a-z][\w./-]*[\w]) (?P<version>\d+(?:\.\d+)+)")
_SENTENCE_END: Final = re.compile(r"(?<=[.:]) +(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class LibraryPolicy:
    """One policy of the library: its name, its two files, and what its description says.

    `server` and `version` are what it was reviewed for; both are empty if it does not say.  `about` is one sentence.
    """

    name: str
    path: Path
    cases: Path
    server: str
    version: str
    about: str
    description: str


def library(package: Path = _PACKAGE) -> tuple[LibraryPolicy, ...]:
    """Return the policies that come with a package of mcpguard, by their names; policies without cases are none of them.

    Raises:
        GuardError: there is no library.
    """
    place = _directory(package)
    found = ((cases, place / f"{cases.name.removesuffix(CASES)}.json") for cases in sorted(place.glob(f"*{CASES}")))
    return tuple(_described(path, cases) for cases, path in found if path.is_file())


def _directory(package: Path) -> Path:
    inside, checkout = package / "library", package.parents[1]
    if inside.is_dir():
        return inside
    if (checkout / "pyproject.toml").is_file() and (checkout / "policies").is_dir():
        return checkout / "policies"
    problem = f"this installation has no library: there is no directory {inside}"
    raise GuardError(problem, "install mcpguard again, from a wheel or a checkout")


def _described(path: Path, cases: Path) -> LibraryPolicy:
    document = json.loads(path.read_bytes())
    description = str(document.get("description", ""))
    sentences = _SENTENCE_END.split(description)
    reviewed = _REVIEWED.search(f"{description} {document.get('$comment', '')}")
    about = next((each for each in sentences if not _REVIEWED.search(each)), sentences[0])
    return LibraryPolicy(
        name=path.stem,
        path=path,
        cases=cases,
        server=reviewed["server"] if reviewed else "",
        version=reviewed["version"] if reviewed else "",
        about=about,
        description=description,
    )
