"""Checks rules about paths before npm's server-filesystem: what lies in one directory may be read, and nothing may be written.

What may be read is for the library's policy to say.
The server itself is let into the directory above, so that what it leaves alone is the guard's work.  The kernel tells which files are
opened.
"""

from __future__ import annotations

import ctypes
import os
import unicodedata
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import pytest

from support import StdioPeer, guard_argv, write_policy
from support.answers import code_of
from support.library import library_policy
from support.servers import filesystem_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import Message
    from support.servers import ServerCommand

HIDDEN = "nobody's business"
WRITING = ("write_file", "edit_file", "create_directory", "move_file")
COMPOSED = unicodedata.normalize("NFC", "caf\u00e9")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@dataclass(frozen=True, slots=True)
class Detour:
    """A way to a file outside; `{}` stands for the directory above.  `opens`: the server alone opens it."""

    claim: str
    path: str
    opens: bool = True


DETOURS = (
    Detour("the plain path", "{}/outside/secret.txt"),
    Detour("dots in the path", "{}/inside/../outside/secret.txt"),
    Detour("more dots than needed", "{}/inside/below/../../outside/./secret.txt"),
    Detour("doubled slashes", "{}//outside//secret.txt"),
    Detour("a directory whose name begins alike", "{}/inside-out/secret.txt"),
    Detour("a link to a directory", "{}/inside/link/secret.txt"),
    Detour("a link to a file", "{}/inside/link.txt"),
    Detour("a link to a link", "{}/inside/twice/secret.txt"),
    Detour("dots behind a link", "{}/inside/link/../outside/secret.txt", opens=False),
    Detour("a link with a name in Unicode", f"{{}}/inside/{COMPOSED}/secret.txt"),
    Detour("a relative path", "outside/secret.txt"),
    Detour("a relative path with dots", "inside/../outside/secret.txt"),
    Detour("another case", "{}/INSIDE/../outside/secret.txt"),
    Detour("a directory that does not exist", "{}/nothing/../outside/secret.txt"),
    Detour("a file for a directory", "{}/inside/notes.txt/../../outside/secret.txt"),
    Detour("percent signs", "{}/inside/%2e%2e/outside/secret.txt", opens=False),
    Detour("backslashes", "{}/inside\\..\\outside\\secret.txt", opens=False),
    Detour("a URL", "file://{}/outside/secret.txt", opens=False),
    Detour("white space before", " {}/outside/secret.txt", opens=False),
    Detour("quotes", '"{}/outside/secret.txt"', opens=False),
    Detour("nothing at all", "", opens=False),
)


class Opened:
    """Tells, with inotify(7), which files in a directory were opened, changed or made."""

    _EVENTS = (
        0x2 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200
    )  # IN_MODIFY, IN_OPEN, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE
    _HEADER = 16

    def __init__(self, *directories: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self.descriptor >= 0, os.strerror(ctypes.get_errno())
        for directory in directories:
            watch = libc.inotify_add_watch(self.descriptor, str(directory).encode(), self._EVENTS)
            assert watch >= 0, os.strerror(ctypes.get_errno())

    def close(self) -> None:
        os.close(self.descriptor)

    def names(self) -> set[str]:
        """Return the names of the files since the last time; they are queued when it happens."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return set()
        found = set()
        while data:
            length = int.from_bytes(data[self._HEADER - 4 : self._HEADER], "little")
            found.add(os.fsdecode(data[self._HEADER : self._HEADER + length].rstrip(b"\0")))
            data = data[self._HEADER + length :]
        return found


@pytest.fixture(scope="module")
def above(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the directory that the server is let into, with a directory inside and what is none of the agent's business."""
    above = tmp_path_factory.mktemp("above").resolve()
    for name in ("inside/below", "outside", "inside-out"):
        (above / name).mkdir(parents=True)
    for name in ("outside", "inside-out"):
        (above / name / "secret.txt").write_text(HIDDEN)
    (above / "inside" / "notes.txt").write_text("one\ntwo\n")
    (above / "inside" / "below" / "more.txt").write_text("more")
    (above / "inside" / "link").symlink_to(above / "outside")
    (above / "inside" / "link.txt").symlink_to("../outside/secret.txt")
    (above / "inside" / "twice").symlink_to("link")
    (above / "inside" / COMPOSED).symlink_to("../outside")
    (above / "inside" / "home").symlink_to(".")
    return above


@pytest.fixture(scope="module")
def server(files_and_memory: Path, above: Path) -> ServerCommand:
    return filesystem_command(files_and_memory, above)


@pytest.fixture(scope="module")
def policy(above: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tools = library_policy("filesystem", {"/path/to/your/directory": str(above / "inside")})["tools"]
    del tools["list_allowed_directories"]
    denied = {name: {"action": "deny", "reason": "files are for reading"} for name in WRITING}
    written = {"default": "deny", "tools": tools | denied, "server_requests": {"roots/list": "deny"}}
    return write_policy(tmp_path_factory.mktemp("policy"), written)


@pytest.fixture(scope="module")
def guarded(policy: Path, server: ServerCommand) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server, which was started where no rule looks."""
    argv = guard_argv(policy, *server.argv, options=["--no-log"])
    with StdioPeer(argv, env=server.env, cwd=policy.parent) as peer:
        peer.initialize()
        yield peer


@pytest.fixture(scope="module")
def alone(server: ServerCommand) -> Iterator[StdioPeer]:
    """Yield a peer of the server without a guard."""
    with StdioPeer(server.argv, env=server.env) as peer:
        peer.initialize()
        yield peer


@pytest.fixture
def opened(above: Path) -> Iterator[Opened]:
    """Watch what is outside."""
    watch = Opened(above / "outside", above / "inside-out")
    yield watch
    watch.close()


@pytest.mark.parametrize("detour", [each for each in DETOURS if each.opens], ids=attrgetter("claim"))
def test_the_server_alone_reads_what_is_outside(alone: StdioPeer, above: Path, opened: Opened, detour: Detour) -> None:
    answer = alone.call("read_text_file", {"path": detour.path.format(above)})
    assert text_of(answer) == HIDDEN
    assert opened.names() == {"secret.txt"}


@pytest.mark.parametrize("tool", ["read_text_file", "read_multiple_files", "get_file_info"])
@pytest.mark.parametrize("detour", DETOURS, ids=attrgetter("claim"))
def test_no_way_leads_outside(guarded: StdioPeer, above: Path, opened: Opened, detour: Detour, tool: str) -> None:
    path = detour.path.format(above)
    notes = str(above / "inside" / "notes.txt")
    answer = guarded.call(tool, {"paths": [notes, path]} if tool == "read_multiple_files" else {"path": path})
    assert opened.names() == set()
    assert code_of(answer) == "require"


@pytest.mark.parametrize("tool", ["list_directory", "list_directory_with_sizes", "directory_tree", "search_files"])
@pytest.mark.parametrize("path", ["{}", "{}/", "{}/outside", "{}/inside/..", "{}/inside/link", "/", ".", "~"])
def test_nothing_outside_is_listed(guarded: StdioPeer, above: Path, opened: Opened, tool: str, path: str) -> None:
    answer = guarded.call(tool, {"path": path.format(above), "pattern": "**"})
    assert opened.names() == set()
    assert code_of(answer) == "require"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param({"path": "{}/inside/notes.txt", "Path": "{}/outside/secret.txt"}, "require", id="a second key"),
        pytest.param({"path": "{}/inside/notes.txt", "pa_th": "{}/outside/secret.txt"}, "require", id="a broken key"),
        pytest.param({"PATH": "{}/inside/notes.txt"}, "require", id="a key in capitals"),
        pytest.param({"path": ["{}/inside/notes.txt"]}, "require", id="a list"),
        pytest.param({"path": {"path": "{}/inside/notes.txt"}}, "require", id="an object"),
        pytest.param({"path": None}, "require", id="null"),
        pytest.param({}, "require", id="nothing"),
    ],
)
def test_an_argument_that_others_may_read_otherwise_is_refused(
    guarded: StdioPeer, above: Path, opened: Opened, arguments: dict[str, object], code: str
) -> None:
    answer = guarded.call("read_text_file", filled(arguments, above))
    assert opened.names() == set()
    assert code_of(answer) == code


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        pytest.param("write_file", {"path": "{}/inside/notes.txt", "content": "gone"}, id="overwriting"),
        pytest.param("write_file", {"path": "{}/inside/new.txt", "content": "new"}, id="writing"),
        pytest.param("write_file", {"path": "{}/inside/link/secret.txt", "content": ""}, id="writing through a link"),
        pytest.param(
            "edit_file",
            {"path": "{}/inside/notes.txt", "edits": [{"oldText": "one", "newText": "1"}], "dryRun": False},
            id="editing",
        ),
        pytest.param("create_directory", {"path": "{}/inside/new"}, id="making a directory"),
        pytest.param(
            "move_file", {"source": "{}/outside/secret.txt", "destination": "{}/inside/secret.txt"}, id="moving in"
        ),
        pytest.param(
            "move_file", {"source": "{}/inside/notes.txt", "destination": "{}/outside/notes.txt"}, id="moving out"
        ),
    ],
)
def test_nothing_is_written_anywhere(guarded: StdioPeer, above: Path, tool: str, arguments: dict[str, object]) -> None:
    before = everything_below(above)
    watch = Opened(above / "inside", above / "outside")
    answer = guarded.call(tool, filled(arguments, above))
    names = watch.names()
    watch.close()
    assert names == set()
    assert everything_below(above) == before
    assert code_of(answer) == "denied"


def test_the_server_alone_writes(files_and_memory: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("one")
    server = filesystem_command(files_and_memory, tmp_path)
    with StdioPeer(server.argv, env=server.env) as alone:
        alone.initialize()
        watch = Opened(tmp_path)
        alone.call("write_file", {"path": str(tmp_path / "notes.txt"), "content": "gone"})
        alone.call("create_directory", {"path": str(tmp_path / "new")})
        assert "new" in watch.names()
        watch.close()
    assert (tmp_path / "notes.txt").read_text() == "gone"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("{}/inside/notes.txt", id="the plain path"),
        pytest.param("{}/inside/below/../notes.txt", id="dots that stay inside"),
        pytest.param("{}/inside//notes.txt", id="a doubled slash"),
        pytest.param("{}/inside/home/notes.txt", id="a link that stays inside"),
    ],
)
def test_what_is_inside_is_read(guarded: StdioPeer, above: Path, path: str) -> None:
    assert text_of(guarded.call("read_text_file", {"path": path.format(above)})) == "one\ntwo\n"


def test_directories_inside_are_listed(guarded: StdioPeer, above: Path) -> None:
    assert "[FILE] more.txt" in text_of(guarded.call("list_directory", {"path": str(above / "inside" / "below")}))
    paths = [str(above / "inside" / "notes.txt"), str(above / "inside" / "below" / "more.txt")]
    assert "more" in text_of(guarded.call("read_multiple_files", {"paths": paths}))


def test_only_what_could_be_called_is_listed(guarded: StdioPeer) -> None:
    tools = {tool["name"] for tool in guarded.request("tools/list")["result"]["tools"]}
    assert len(tools) == 9
    assert not tools & {*WRITING, "list_allowed_directories"}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(f"{{}}/inside/{DECOMPOSED}/secret.txt", id="a link whose name Unicode takes for the same"),
        pytest.param("outside/secret.txt", id="a relative path, which the server begins in its own directory"),
    ],
)
def test_a_path_that_the_server_reads_otherwise_is_refused(
    policy: Path, server: ServerCommand, above: Path, opened: Opened, path: str
) -> None:
    argv = guard_argv(policy, *server.argv, options=["--no-log"])
    with StdioPeer(argv, env=server.env, cwd=above / "inside") as peer:
        peer.initialize()
        peer.call("read_text_file", {"path": path.format(above)})
        assert opened.names() == set()


@pytest.mark.parametrize("may_ask", [True, False])
def test_the_client_widens_what_the_server_is_let_into_only_if_the_server_may_ask(
    files_and_memory: Path, above: Path, tmp_path: Path, may_ask: bool
) -> None:
    action = "allow" if may_ask else "deny"
    policy = write_policy(
        tmp_path, {"tools": {"list_allowed_directories": {}}, "server_requests": {"roots/list": action}}
    )
    server = filesystem_command(files_and_memory, above / "inside")
    with StdioPeer(guard_argv(policy, *server.argv, options=["--no-log"]), env=server.env) as peer:
        peer.initialize(capabilities={"roots": {"listChanged": True}})
        if may_ask:
            asked = peer.receive(method="roots/list")
            peer.send({"id": asked["id"], "result": {"roots": [{"uri": above.as_uri()}]}})
        peer.expect_stderr("Updated allowed directories" if may_ask else "Failed to request initial roots")
        assert "roots/list" not in {message.get("method") for message in peer.drain()}
        directories = text_of(peer.call("list_allowed_directories")).splitlines()[1:]
    assert directories == [str(above if may_ask else above / "inside")]


def filled(arguments: object, above: Path) -> dict[str, object]:
    """Return arguments with the directory in the place of `{}`."""

    def fill(value: object) -> object:
        match value:
            case str():
                return value.replace("{}", str(above))
            case list():
                return [fill(each) for each in value]
            case dict():
                return {name: fill(each) for name, each in value.items()}
            case _:
                return value

    made = fill(arguments)
    assert isinstance(made, dict)
    return made


def everything_below(directory: Path) -> dict[str, object]:
    """Return every file with its content and the time of its last change."""
    paths = sorted(directory.rglob("*"))
    return {str(path): (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths}


def text_of(answer: Message) -> str:
    """Return the text of an answer that is no refusal."""
    assert "_meta" not in answer["result"], answer
    text = answer["result"]["content"][0]["text"]
    assert isinstance(text, str)
    return text
