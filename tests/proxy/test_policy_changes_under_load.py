"""What is done to a policy file under a running guard, by hands, editors and tools: no call is judged by half a policy."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from support import StdioPeer, guard_argv
from support.fake_server import fake_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from support import Message

DEADLINE_S = 20.0

WATCHING = """
import os, select, sys
from mcpguard.proxy import reload
asked, looked = (os.open(path, os.O_RDWR) for path in sys.argv.pop(1).split(":"))
look = reload.Reloader.look

def look_when_asked(self):
    if select.select([asked], [], [], 0)[0]:
        os.read(asked, 1)
        look(self)
        os.write(looked, b"x")

reload.Reloader.look = look_when_asked
reload.LOOK_EVERY_S = 0.01
reload.REST_S = 0
from mcpguard.__main__ import main
main()
"""
"""A guard that looks at its policy file when it is told to."""

WITHOUT_PRIVILEGE = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    if os.geteuid() == 0
    else []
)
"""Words before a command that has to keep to the permissions of files."""

OLD = {"version": "1", "tools": {"echo": {}, "other": {}, "third": {}}}
TIGHTER = {"version": "1", "tools": {"echo": {}, "other": {}}}
LOOSER = {"version": "1", "default": "allow"}


class Watching:
    """A guard, its policy file, and the say about when it looks at it."""

    def __init__(self, peer: StdioPeer, path: Path, asked: int, looked: int) -> None:
        self.peer = peer
        self.path = path
        self._asked = asked
        self._looked = looked

    def look(self) -> None:
        """Let the guard look at the file once; return when it has dealt with what it found."""
        os.write(self._asked, b"x")
        assert select.select([self._looked], [], [], DEADLINE_S)[0], "the guard does not look"
        os.read(self._looked, 1)

    def look_until_told(self) -> None:
        """Let the guard look until it has told its client of a change."""
        before = self.peer.post("ping")
        for _ in range(100):
            self.look()
            message = self.peer.receive()
            if message.get("method") == "notifications/tools/list_changed":
                self.peer.receive(id=before)
                return
            assert message["id"] == before
            before = self.peer.post("ping")
        pytest.fail("no change was told")

    def allows(self, tool: str) -> bool:
        """Say whether a call passes just now."""
        answer: Message = self.peer.call(tool)
        return "isError" not in answer["result"]

    def passing(self) -> list[str]:
        """Return which tools may be called just now."""
        return [tool for tool in ("echo", "other", "third", "danger") if self.allows(tool)]

    def said(self) -> list[str]:
        return self.peer.stderr_text().splitlines()


class Watch(Protocol):
    """Starts a guard over a policy file of this name and content."""

    def __call__(self, name: str, content: str, *, options: Sequence[str] = (), script: str = WATCHING) -> Watching: ...


@pytest.fixture
def watch(home: Path, tmp_path: Path, log: Path) -> Iterator[Watch]:
    with ExitStack() as stack:

        def watched(name: str, content: str, *, options: Sequence[str] = (), script: str = WATCHING) -> Watching:
            path = tmp_path / name
            path.write_text(content)
            fifos = [tmp_path / "asked", tmp_path / "looked"]
            ends = []
            for fifo in fifos:
                os.mkfifo(fifo)
                ends.append(os.open(fifo, os.O_RDWR))
                stack.callback(os.close, ends[-1])
            argv = guard_argv(path, *fake_server(), options=["--log", str(log), *options])
            words = [sys.executable, "-c", script, ":".join(map(str, fifos)), *argv[argv.index("run") :]]
            peer = stack.enter_context(StdioPeer([*WITHOUT_PRIVILEGE, *words], cwd=home))
            peer.initialize()
            # What is governed is answered once the policy is loaded.
            peer.request("tools/list")
            return Watching(peer, path, *ends)

        yield watched


def text(policy: dict[str, Any]) -> str:
    return json.dumps(policy)


def replace(path: Path, content: str) -> None:
    """Put another file in the place of one, as most editors do."""
    draft = path.with_name("draft")
    draft.write_text(content)
    draft.replace(path)


# What leaves the policy in force as it was


def truncate(path: Path) -> None:
    path.write_text("")


def write_half(path: Path) -> None:
    path.write_text(text(TIGHTER)[:-12])


def remove(path: Path) -> None:
    path.unlink()


def forbid(path: Path) -> None:
    path.chmod(0)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nothing.json"))


def link_to_what_gives_an_error(path: Path) -> None:
    path.unlink()
    path.symlink_to("/proc/self/mem")


def link_to_what_never_ends(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def replace_by_garbage(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"\x00\xff" * 100)


UNUSABLE = {
    "truncated": (truncate, "the file is empty"),
    "half written": (write_half, ":1:"),
    "removed": (remove, "there is no such file"),
    "made unreadable": (forbid, "permission denied"),
    "a directory in its place": (make_directory, "this is a directory"),
    "a link to itself in its place": (link_to_itself, "too many levels of symbolic links"),
    "a link to nothing in its place": (link_to_nothing, "there is no such file"),
    "a link to what cannot be read": (link_to_what_gives_an_error, "input/output error"),
    "a link to what never ends": (link_to_what_never_ends, "this is a pipe or a device"),
    "garbage in its place": (replace_by_garbage, "the file is not UTF-8"),
}


@pytest.mark.parametrize(("spoil", "reason"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_file_that_is_spoilt_leaves_the_policy_in_force_and_one_line_says_so(
    watch: Watch, log: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    # The mode that puts most in force.
    guard = watch("policy.json", text(OLD), options=["--reload", "any"])
    spoil(guard.path)
    for _ in range(3):
        guard.look()
        assert guard.passing() == ["echo", "other", "third"]
    guard.peer.close_stdin()
    assert guard.peer.wait() == 0
    complaints = [line for line in guard.said() if "stays in force" in line]
    assert len(complaints) == 1
    assert complaints[0].startswith(f"mcpguard: {guard.path}")
    assert reason in complaints[0]
    events = [json.loads(line).get("event") for line in log.read_text().splitlines()]
    assert [event for event in events if event] == ["policy_unusable"]


def test_a_file_that_is_whole_again_is_in_force_again(watch: Watch) -> None:
    guard = watch("policy.json", text(OLD))
    guard.path.unlink()
    guard.look()
    guard.path.mkdir()
    guard.look()
    guard.path.rmdir()
    replace(guard.path, text(TIGHTER))
    guard.look_until_told()
    assert guard.passing() == ["echo", "other"]


def test_a_link_in_the_place_of_the_file_is_followed_also_when_it_leads_elsewhere_later(watch: Watch) -> None:
    guard = watch("policy.json", text(OLD))
    first, second, third = (guard.path.with_name(f"{number}.json") for number in range(3))
    first.write_text(text(TIGHTER))
    second.write_text(text({"version": "1", "tools": {"echo": {}}}))
    third.write_text(text(LOOSER))
    for target, passing in ((first, ["echo", "other"]), (second, ["echo"])):
        link = guard.path.with_name("link")
        link.symlink_to(target)
        link.replace(guard.path)
        guard.look_until_told()
        assert guard.passing() == passing
    guard.path.unlink()
    guard.path.symlink_to(third)
    guard.look()
    guard.look()
    assert guard.passing() == ["echo"]
    guard.peer.expect_stderr("waits for the next run because it may loosen the policy")
    second.write_text(text({"version": "1", "tools": {}}))
    guard.path.unlink()
    guard.path.symlink_to(second)
    guard.look_until_told()
    assert guard.passing() == []


def test_a_fifo_in_the_place_of_the_file_keeps_the_run_from_nothing(watch: Watch) -> None:
    guard = watch("policy.json", text(OLD), script=IMPATIENT)
    guard.path.unlink()
    os.mkfifo(guard.path)
    guard.peer.expect_stderr("stays in force")
    guard.peer.close_stdin()
    assert guard.peer.wait() == 0


# Half a policy

YAML = """\
version: "1"
default: deny
tools:
  echo: {}
  other: {}
  third: {}
"""
OPEN_YAML = """\
version: "1"
default: allow
tools:
  echo: {}
  danger: {action: deny}
"""
HALVES = pytest.mark.parametrize(
    ("name", "old", "new", "cut"),
    [
        pytest.param("policy.json", text(OLD), text(TIGHTER), -12, id="JSON"),
        pytest.param(
            "policy.yaml",
            YAML,
            YAML.replace("  third: {}\n", "  # no third\n"),
            YAML.index("  other"),
            id="YAML",
        ),
    ],
)


@HALVES
def test_a_file_that_is_looked_at_while_it_is_written_is_only_in_force_when_it_is_whole(
    watch: Watch, name: str, old: str, new: str, cut: int
) -> None:
    guard = watch(name, old)
    with guard.path.open("w") as file:
        file.write(new[:cut])
        file.flush()
        guard.look()
        assert guard.passing() == ["echo", "other", "third"]
        file.write(new[cut:])
    guard.look_until_told()
    assert guard.passing() == ["echo", "other"]


def test_what_the_second_half_of_a_file_denies_is_denied_while_it_is_written(watch: Watch) -> None:
    guard = watch("policy.yaml", OPEN_YAML, options=["--reload", "any"])
    new, cut = OPEN_YAML + "# saved again\n", OPEN_YAML.index("  danger")
    with guard.path.open("w") as file:
        file.write(new[:cut])
        file.flush()
        guard.look()
        assert not guard.allows("danger")
        file.write(new[cut:])
    guard.look()
    assert not guard.allows("danger")


# All of it while calls run

IMPATIENT = """
import sys
from mcpguard.proxy import reload
sys.argv.pop(1)
reload.LOOK_EVERY_S = 0.01
reload.REST_S = 0
from mcpguard.__main__ import main
main()
"""
"""A guard that looks at its policy file a hundred times a second."""


def test_calls_that_run_while_the_file_changes_are_each_judged_by_one_whole_policy(watch: Watch, log: Path) -> None:
    guard = watch("policy.json", text(OLD), script=IMPATIENT)
    peer = guard.peer
    posted: list[int] = []

    def calls() -> None:
        posted.extend(peer.post("tools/call", {"name": tool, "arguments": {}}) for tool in ("echo", "third") * 50)

    def while_calls_run(change: Callable[[], object], told: str) -> None:
        assert told not in peer.stderr_text()
        calls()
        change()
        end = time.monotonic() + DEADLINE_S
        while told not in peer.stderr_text():
            assert time.monotonic() < end, f"{told!r} was never said"
            calls()
            peer.receive(id=posted[-1])
            peer.drain()
        calls()

    with guard.path.open("wb", buffering=0) as file:
        while_calls_run(lambda: file.write(text(TIGHTER)[:-12].encode()), ":1:")
        while_calls_run(lambda: file.write(text(TIGHTER)[-12:].encode()), "is in force\n")
    while_calls_run(guard.path.unlink, "there is no such file")
    while_calls_run(lambda: replace(guard.path, text(LOOSER)), "waits for the next run")
    while_calls_run(lambda: truncate(guard.path), "the file is empty")
    peer.close_stdin()
    assert peer.wait() == 0
    records = [json.loads(line) for line in log.read_text().splitlines()]
    decisions = [record for record in records if record["kind"] == "decision"]
    assert [record["request_id"] for record in decisions] == posted
    digests = list(dict.fromkeys(record["policy"]["digest"] for record in decisions))
    assert len(digests) == 2
    by_policy = [digests.index(record["policy"]["digest"]) for record in decisions]
    assert by_policy == sorted(by_policy)
    effects = {(record["tool"], policy, record["effect"]) for record, policy in zip(decisions, by_policy, strict=True)}
    assert effects == {("echo", 0, "allow"), ("third", 0, "allow"), ("echo", 1, "allow"), ("third", 1, "deny")}
    ran = {record["request_id"] for record in records if record["kind"] == "outcome"}
    assert ran == {record["request_id"] for record in decisions if record["effect"] == "allow"}
