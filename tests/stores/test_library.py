"""Checks what is taken for a policy of the library, and what is read of its description."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcpguard.errors import GuardError
from mcpguard.stores.library import library


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Make the directory that holds the library of a package."""
    directory = tmp_path / "library"
    directory.mkdir()
    return directory


def put(directory: Path, name: str, **document: object) -> None:
    (directory / f"{name}.json").write_text(json.dumps({"version": "1"} | document))


@pytest.mark.parametrize(
    ("document", "server", "version", "about"),
    [
        pytest.param(
            {"description": "Reads one thing. Reviewed for @acme/server-a.b 1.2.30. Put your thing in."},
            "@acme/server-a.b",
            "1.2.30",
            "Reads one thing.",
            id="the sentences as they are meant to be",
        ),
        pytest.param(
            {"description": "For acme-server 2.0, started with --one: The agent reads. It writes."},
            "acme-server",
            "2.0",
            "The agent reads.",
            id="the server first",
        ),
        pytest.param(
            {"$comment": "For acme-server 2.0.", "description": "Reads i.e. looks."},
            "acme-server",
            "2.0",
            "Reads i.e. looks.",
            id="the server in the comment",
        ),
        pytest.param({"description": "Reads."}, "", "", "Reads.", id="no server"),
        pytest.param({}, "", "", "", id="no description"),
    ],
)
def test_a_description_says_for_which_server_it_is(
    shelf: Path, document: dict[str, object], server: str, version: str, about: str
) -> None:
    put(shelf, "a", **document)
    (shelf / "a.test.json").write_text("{}")
    (found,) = library(shelf.parent)
    assert (found.server, found.version, found.about) == (server, version, about)


def test_a_policy_without_cases_is_no_part_of_it_and_neither_are_cases_without_a_policy(shelf: Path) -> None:
    for name in ("b", "a", "example"):
        put(shelf, name)
    for name in ("b", "a", "alone"):
        (shelf / f"{name}.test.json").write_text("{}")
    assert [each.name for each in library(shelf.parent)] == ["a", "b"]
    assert [each.cases.name for each in library(shelf.parent)] == ["a.test.json", "b.test.json"]


def test_a_checkout_has_it_in_its_directory_of_policies() -> None:
    place = Path(__file__).parents[2] / "policies"
    assert {each.path.parent for each in library()} == {place}


def test_an_installation_without_a_library_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="has no library"):
        library(tmp_path / "lib" / "mcpguard")
