"""Nothing of a server outlives its guard, however the guard ends; and nothing of a guard's supervisor shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import StdioPeer, allow_everything, guard_argv
from support.answers import text_of
from support.fake_server import fake_server
from support.processes import descendants, is_alive, wait_until_gone

if TYPE_CHECKING:
    from support.guards import StartGuard

GONE_S = 20.0
STUBBORN = ("ignore-eof", "ignore-term")


def supervisor_of(guard: int) -> int:
    (found,) = (pid for pid in descendants(guard) if command_line(pid).startswith("mcpg-supervisor"))
    return found


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


def kill_outright(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


# SIGKILL of the guard


@pytest.mark.parametrize(
    "words", [(), STUBBORN], ids=["an obedient server", "one that ignores the end of input and TERM"]
)
def test_nothing_outlives_a_guard_that_is_killed(start: StartGuard, words: tuple[str, ...]) -> None:
    peer = start(*words)
    peer.initialize()
    child = int(text_of(peer.call("spawn")))
    tree = descendants(peer.pid)
    assert child in tree
    kill_outright(peer.pid)
    assert wait_until_gone(tree, GONE_S) == set()
    assert peer.wait() == -signal.SIGKILL


def test_nothing_outlives_a_guard_that_is_killed_with_its_whole_group(start: StartGuard) -> None:
    peer = start(*STUBBORN)
    peer.initialize()
    peer.call("spawn")
    tree = descendants(peer.pid)
    os.killpg(peer.pid, signal.SIGKILL)
    assert wait_until_gone(tree, GONE_S) == set()


def test_what_a_server_left_behind_does_not_outlive_a_guard_that_is_killed(start: StartGuard, tmp_path: Path) -> None:
    pid_file = tmp_path / "orphan"
    os.mkfifo(pid_file)
    peer = start(f"orphan={pid_file}", *STUBBORN)
    orphan = int(pid_file.read_text())
    assert is_alive(orphan)
    kill_outright(peer.pid)
    assert wait_until_gone([orphan], GONE_S) == set()


def test_a_server_that_goes_on_starting_processes_does_not_outlive_a_guard_that_is_killed(
    start: StartGuard, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    peer = start(*STUBBORN)
    peer.initialize()
    peer.call("breed", {"path": str(pids)})
    tree = descendants(peer.pid)
    kill_outright(peer.pid)
    assert wait_until_gone(tree, GONE_S) == set()
    assert wait_until_gone(map(int, pids.read_text().split()), GONE_S) == set()


def test_a_guard_that_is_killed_while_its_server_boots_leaves_nothing(start: StartGuard, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    os.mkfifo(mark)
    peer = start(f"mark={mark}", *STUBBORN)
    assert mark.read_bytes() == b"started\n"
    tree = descendants(peer.pid)
    kill_outright(peer.pid)
    assert wait_until_gone(tree, GONE_S) == set()


KILLED_EARLY = """
import os, signal
from mcpguard.proxy import supervisor
start = supervisor._start
def start_when_the_guard_is_gone(command, streams, report_fd):
    os.kill(os.getppid(), signal.SIGKILL)
    while os.getppid() == guard:
        pass
    return start(command, streams, report_fd)
guard = os.getpid()
supervisor._start = start_when_the_guard_is_gone
from mcpguard.__main__ import main
main()
"""
"""A guard that is killed after its supervisor was forked, and before that has started anything."""


def test_a_guard_that_is_killed_before_its_server_is_started_leaves_nothing(home: Path, tmp_path: Path) -> None:
    assert home.is_dir()
    before = descendants(os.getpid())
    argv = guard_argv(allow_everything(tmp_path), "sleep", "300")
    with StdioPeer([sys.executable, "-c", KILLED_EARLY, *argv[argv.index("run") :]]) as peer:
        assert peer.wait() == -signal.SIGKILL
        # The supervisor is ours now; when it has gone, so has all that it has started.
        assert wait_until_gone(descendants(os.getpid()) - before, GONE_S) == set()
        assert descendants(os.getpid()) - before == set()


def test_the_client_of_a_guard_that_is_killed_sees_its_end(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    kill_outright(peer.pid)
    # It waits for the end of both pipes, too.
    assert peer.wait() == -signal.SIGKILL
    assert is_alive(os.getpid())


PATIENT = """
from mcpguard.proxy import supervisor
supervisor.GRACE_S = 600.0
from mcpguard.__main__ import main
main()
"""
"""A guard whose supervisor gives a server ten minutes for everything."""


def test_a_server_may_end_in_its_own_way_when_its_guard_is_killed(home: Path, tmp_path: Path) -> None:
    assert home.is_dir()
    last_words = tmp_path / "last words"
    script = f"echo ready >&2; cat >/dev/null; echo tidied up >'{last_words}'"
    argv = guard_argv(allow_everything(tmp_path), "sh", "-c", script)
    with StdioPeer([sys.executable, "-c", PATIENT, *argv[argv.index("run") :]]) as peer:
        peer.expect_stderr("ready")
        tree = descendants(peer.pid)
        kill_outright(peer.pid)
        assert wait_until_gone(tree, GONE_S) == set()
    assert last_words.read_text() == "tidied up\n"


WRAPPERS = {
    "sh -c": ["sh", "-c", '"$@"; true', "sh"],
    "sh -c in the background": ["sh", "-c", 'exec 3<&0; "$@" <&3 3<&- & wait', "sh"],
    "a shell of its own session": ["setsid", "--wait"],
}


@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_nothing_of_a_wrapped_server_outlives_a_guard_that_is_killed(start: StartGuard, wrapper: list[str]) -> None:
    peer = start(server=[*wrapper, *fake_server(*STUBBORN)])
    peer.initialize()
    peer.call("spawn")
    tree = descendants(peer.pid)
    assert len(tree) >= 3
    kill_outright(peer.pid)
    assert wait_until_gone(tree, GONE_S) == set()


@pytest.mark.parametrize("wrapper", [WRAPPERS["sh -c"]], ids=["sh -c"])
def test_nothing_outlives_a_wrapped_guard_that_is_killed(home: Path, tmp_path: Path, wrapper: list[str]) -> None:
    assert home.is_dir()
    argv = guard_argv(allow_everything(tmp_path), *fake_server(*STUBBORN))
    with StdioPeer([*wrapper, *argv]) as peer:
        peer.initialize()
        peer.call("spawn")
        tree = descendants(peer.pid)
        (guard,) = (pid for pid in tree if "mcpguard" in command_line(pid))
        kill_outright(guard)
        assert wait_until_gone(tree, GONE_S) == set()


# The supervisor itself


def test_the_supervisor_goes_by_a_name_of_its_own(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    supervisor = supervisor_of(peer.pid)
    assert command_line(supervisor) == f"mcpg-supervisor of {peer.pid}"
    assert Path(f"/proc/{supervisor}/comm").read_text() == "mcpg-supervisor\n"


def test_the_supervisor_holds_no_pipe_of_client_or_server(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    supervisor = supervisor_of(peer.pid)
    held = sorted(str(entry.readlink()) for entry in Path(f"/proc/{supervisor}/fd").iterdir())
    assert held[:3] == [os.devnull] * 3
    assert len(held) == 5


def test_when_the_supervisor_is_killed_the_guard_ends_the_server_and_says_so(start: StartGuard) -> None:
    peer = start(*STUBBORN)
    peer.initialize()
    peer.call("spawn")
    peer.send({"id": 1, "method": "tools/call", "params": {"name": "mute", "arguments": {}}})
    peer.call("echo")
    tree = descendants(peer.pid)
    kill_outright(supervisor_of(peer.pid))
    assert peer.wait() == 1
    assert wait_until_gone(tree, GONE_S) == set()
    assert "the server's supervisor was ended" in peer.stderr_text()
    answers = [message for message in peer.drain() if message.get("id") == 1]
    assert ["whether `mute` took effect is unknown" in answer["error"]["message"] for answer in answers] == [True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_the_supervisor_outlasts_what_is_meant_for_the_guard(start: StartGuard, number: signal.Signals) -> None:
    peer = start()
    peer.initialize()
    os.kill(supervisor_of(peer.pid), number)
    assert text_of(peer.call("echo", {"a": 1})) == '{"a": 1}'
    peer.close_stdin()
    assert peer.wait() == 0


def test_after_a_normal_end_the_supervisor_is_gone_before_the_guard(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    supervisor = supervisor_of(peer.pid)
    peer.close_stdin()
    assert peer.wait() == 0
    assert not is_alive(supervisor)


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)])
def test_a_status_is_what_a_shell_would_say(start: StartGuard, script: str, status: int) -> None:
    assert start(server=["sh", "-c", script]).wait() == status


IN_ONE_PROCESS = """
import sys
from mcpguard.errors import CommandNotExecutableError, CommandNotFoundError
from mcpguard.proxy.upstream import start
for word in sys.argv[1:]:
    try:
        start([word.replace("NUL", chr(0))]).confirm_start()
    except (CommandNotFoundError, CommandNotExecutableError) as error:
        print(int(error.exit_code), error.message.rpartition(": ")[2])
"""


def test_a_command_that_cannot_be_started_is_an_error_with_a_shells_status(tmp_path: Path) -> None:
    missing, plain = tmp_path / "missing", tmp_path / "plain"
    plain.write_text("echo")
    argv = [sys.executable, "-c", IN_ONE_PROCESS, str(missing), str(plain), "NUL"]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("127 cannot find the server's command")
    assert lines[1:] == ["126 permission denied", "126 invalid argument"]


ELSEWHERE = """
import os, sys
del os.fork
import _signal
for name in ("SIGPIPE", "SIGXFSZ", "SIGHUP"):
    delattr(_signal, name)
from mcpguard.__main__ import main
sys.exit(main())
"""
"""A system without fork(2), as far as the guard can see."""


def test_where_there_is_no_fork_a_run_says_so(home: Path, tmp_path: Path) -> None:
    argv = guard_argv(allow_everything(tmp_path), *fake_server())
    words = [sys.executable, "-c", ELSEWHERE, *argv[argv.index("run") :]]
    result = subprocess.run(words, cwd=home, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 126
    assert "cannot start a process on this system: there is no fork(2)" in result.stderr
    assert "Traceback" not in result.stderr
