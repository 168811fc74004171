"""Checks rules before mcp-server-git: one repository may be read, as the library's policy says, and none may be changed.

The server itself takes any repository.  Git tells whether one is as it was: commits, branches, index and working tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import pytest

from support import StdioPeer, guard_argv, write_policy
from support.answers import code_of, text_of
from support.library import library_policy
from support.sdk_client import sdk_client
from support.servers import git, git_command, new_repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.sdk_client import Mode
    from support.servers import ServerCommand

MESSAGE = "a commit that is none of the agent's business"
READING = ("git_status", "git_diff_unstaged", "git_diff_staged", "git_diff", "git_log", "git_show", "git_branch")
CHANGING: Mapping[str, Mapping[str, object]] = {
    "git_add": {"files": ["notes.txt"]},
    "git_commit": {"message": "mine"},
    "git_reset": {},
    "git_create_branch": {"branch_name": "mine"},
    "git_checkout": {"branch_name": "side"},
}
VARIABLES = {"NOTHING": "", "ROOTED": "/root"}


@dataclass(frozen=True, slots=True)
class Detour:
    """A way to the other repository; `{}` stands for the directory of both.  `leads`: the server alone follows it."""

    claim: str
    path: object
    leads: bool = True


DETOURS = (
    Detour("the plain path", "{}/other"),
    Detour("dots", "{}/mine/../other"),
    Detour("more dots", "{}/mine/below/../../other/."),
    Detour("a name that begins alike", "{}/mine-too"),
    Detour("a link", "{}/mine/link"),
    Detour("a link with a slash behind", "{}/mine/link/"),
    Detour("its inside", "{}/other/.git"),
    Detour("a relative path", "other"),
    Detour("a relative path with dots", "mine/../other"),
    Detour("doubled slashes", "//{}//other"),
    Detour("percent signs", "{}/mine/%2e%2e/other", leads=False),
    Detour("backslashes", "{}\\other", leads=False),
    Detour("a URL", "file://{}/other", leads=False),
    Detour("white space", " {}/other", leads=False),
    Detour("a list", ["{}/other"], leads=False),
    Detour("null", None, leads=False),
)


@pytest.fixture(scope="module")
def place(git_and_fetch: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two repositories, `mine` and `other`."""
    assert git_and_fetch.is_dir()
    place = tmp_path_factory.mktemp("repositories").resolve()
    for name in ("mine", "other"):
        new_repository(place / name)
    git(place / "other", "commit", "--quiet", "--message", MESSAGE)
    (place / "mine-too").symlink_to("other")
    (place / "mine" / "below").mkdir()
    (place / "mine" / "link").symlink_to("../other")
    return place


@pytest.fixture(scope="module")
def policy(place: Path) -> Path:
    tools = library_policy("git", {"/path/to/your/repositories": str(place / "mine")})["tools"]
    denied = {tool: {"action": "deny", "reason": "changes are made by people"} for tool in CHANGING}
    return write_policy(place, {"default": "deny", "tools": tools | denied})


@pytest.fixture(scope="module")
def server(git_and_fetch: Path) -> ServerCommand:
    return git_command(git_and_fetch)


@pytest.fixture(scope="module")
def guarded(policy: Path, place: Path, server: ServerCommand) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server."""
    argv = guard_argv(policy, *server.argv, options=["--no-log"])
    with StdioPeer(argv, env={**server.env, **VARIABLES}, cwd=place) as peer:
        peer.initialize()
        yield peer


@pytest.fixture(scope="module")
def alone(place: Path, server: ServerCommand) -> Iterator[StdioPeer]:
    """Yield a peer of the server without a guard."""
    with StdioPeer(server.argv, env=server.env, cwd=place) as peer:
        peer.initialize()
        yield peer


@pytest.mark.parametrize("detour", [each for each in DETOURS if each.leads], ids=attrgetter("claim"))
def test_the_server_alone_reads_the_other_repository(alone: StdioPeer, place: Path, detour: Detour) -> None:
    assert MESSAGE in text_of(alone.call("git_log", {"repo_path": filled(detour.path, place)}))


@pytest.mark.parametrize("detour", DETOURS, ids=attrgetter("claim"))
def test_no_way_leads_to_the_other_repository(guarded: StdioPeer, place: Path, detour: Detour) -> None:
    path = filled(detour.path, place)
    for tool, more in (("git_log", {}), ("git_show", {"revision": "HEAD"}), ("git_branch", {"branch_type": "all"})):
        answer = guarded.call(tool, {"repo_path": path, **more})
        assert code_of(answer) == "require"
        assert MESSAGE not in str(answer)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"repo_path": "{}/mine", "repoPath": "{}/other"}, id="a second key"),
        pytest.param({"repo_path": "{}/mine", "Repo-Path": "{}/other"}, id="a second key with a hyphen"),
        pytest.param({"REPO_PATH": "{}/mine"}, id="a key in capitals"),
        pytest.param({}, id="no key"),
    ],
)
def test_a_path_that_others_may_read_otherwise_is_refused(
    guarded: StdioPeer, place: Path, arguments: dict[str, object]
) -> None:
    answer = guarded.call("git_log", {name: filled(path, place) for name, path in arguments.items()})
    assert code_of(answer) == "require"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("{}/mine/.$NOTHING./other", id="a variable that is empty"),
        pytest.param("{}/mine/.${NOTHING}./other", id="a variable that is empty, in braces"),
        pytest.param("{}/mine/..$ROOTED/../other", id="a variable that begins with a slash"),
    ],
)
def test_a_variable_in_a_path_is_no_way_out(guarded: StdioPeer, place: Path, path: str) -> None:
    answer = guarded.call("git_log", {"repo_path": filled(path, place)})
    assert MESSAGE not in str(answer)
    assert code_of(answer) == "require"


@pytest.mark.parametrize("repository", ["mine", "other"])
@pytest.mark.parametrize("tool", CHANGING)
def test_nothing_is_changed(guarded: StdioPeer, place: Path, tool: str, repository: str) -> None:
    before = state_of(place / repository)
    answer = guarded.call(tool, {"repo_path": str(place / repository), **CHANGING[tool]})
    assert state_of(place / repository) == before
    assert code_of(answer) == "denied"


@pytest.mark.parametrize("tool", [tool for tool in CHANGING if tool != "git_checkout"])
def test_the_server_alone_changes(alone: StdioPeer, tmp_path: Path, tool: str) -> None:
    repository = new_repository(tmp_path / "repository")
    before = state_of(repository)
    text_of(alone.call(tool, {"repo_path": str(repository), **CHANGING[tool]}))
    assert state_of(repository) != before


@pytest.mark.parametrize(
    ("tool", "more", "found"),
    [
        pytest.param("git_status", {}, "On branch main", id="the status"),
        pytest.param("git_diff_unstaged", {}, "+note 3", id="what is not staged"),
        pytest.param("git_diff_staged", {}, "+staged", id="what is staged"),
        pytest.param("git_diff", {"target": "side"}, "-note 1", id="a difference"),
        pytest.param("git_log", {"max_count": 1}, "note 2", id="the history"),
        pytest.param("git_show", {"revision": "HEAD:notes.txt"}, "note 2", id="a file"),
        pytest.param("git_branch", {"branch_type": "local"}, "side", id="the branches"),
    ],
)
def test_the_repository_is_read(
    guarded: StdioPeer, place: Path, tool: str, more: dict[str, object], found: str
) -> None:
    before = state_of(place / "mine")
    assert found in text_of(guarded.call(tool, {"repo_path": str(place / "mine"), **more}))
    assert state_of(place / "mine") == before


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_sdk_client_is_held_to_the_same(
    policy: Path, place: Path, server: ServerCommand, tmp_path: Path, mode: Mode
) -> None:
    before = state_of(place / "mine")
    argv = guard_argv(policy, *server.argv, options=["--no-log"])
    async with sdk_client(argv, mode=mode, stderr=tmp_path / "stderr.txt", env=server.env) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == list(READING)
        assert not (await client.call_tool("git_log", {"repo_path": str(place / "mine")})).is_error
        assert (await client.call_tool("git_log", {"repo_path": str(place / "other")})).is_error
        for tool, more in CHANGING.items():
            assert (await client.call_tool(tool, {"repo_path": str(place / "mine"), **more})).is_error
    assert state_of(place / "mine") == before


def state_of(repository: Path) -> list[str]:
    """Return what tells any change of a repository."""
    questions = (
        ("rev-parse", "HEAD"),
        ("symbolic-ref", "HEAD"),
        ("for-each-ref",),
        ("ls-files", "--stage"),
        ("status", "--porcelain"),
    )
    return [git(repository, *words) for words in questions]


def filled(path: object, place: Path) -> object:
    """Return a path with the directory of both in the place of `{}`."""
    match path:
        case str():
            return path.replace("{}", str(place))
        case list():
            return [filled(each, place) for each in path]
        case _:
            return path
