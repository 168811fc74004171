"""What a server is started with, and how its tree is found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.proxy.linux import find_descendants
from support import StdioPeer, allow_everything, guard_argv
from support.fake_server import fake_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.guards import StartGuard

C_LIBRARYS_OWN = {32, 33}
"""Signals that glibc ignores in whatever it spawns: it uses them between its own threads."""


def reported(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_bytes())
    assert isinstance(value, dict)
    return value


@pytest.fixture
def stray() -> Iterator[list[int]]:
    """Open descriptors that whatever is started here inherits."""
    with ExitStack() as stack:
        found = []
        for fd in (*os.pipe(), os.open(os.devnull, os.O_RDONLY)):
            os.set_inheritable(fd, True)
            stack.callback(os.close, fd)
            found.append(fd)
        yield found


def test_a_server_gets_three_descriptors_and_no_other(home: Path, tmp_path: Path, stray: list[int]) -> None:
    report = tmp_path / "report"
    argv = guard_argv(allow_everything(tmp_path), *fake_server(f"report={report}"))
    result = subprocess.run(argv, input=b"", pass_fds=stray, cwd=home, capture_output=True, timeout=20, check=False)
    assert result.returncode == 0
    assert sorted(reported(report)["descriptors"]) == ["0", "1", "2"]


def test_a_server_gets_the_working_directory_as_it_is_and_a_group_of_its_own(start: StartGuard, tmp_path: Path) -> None:
    report = tmp_path / "report"
    peer = start(f"report={report}")
    peer.initialize()
    found = reported(report)
    assert found["cwd"] == str(tmp_path)
    assert found["group"] == found["pid"] != peer.pid


ENVIRONMENTS: dict[str, Mapping[str, str]] = {
    "no locale": {"PATH": "/usr/bin:/bin", "ODD": "a=b=c", "EMPTY": ""},
    "the C locale": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    "a locale of its own": {"PATH": "/usr/bin:/bin", "LC_CTYPE": "C.UTF-8", "LANG": "C"},
    "not UTF-8": {"PATH": "/usr/bin:/bin", "LATIN": "\udce9"},
}


@pytest.mark.parametrize("given", ENVIRONMENTS.values(), ids=ENVIRONMENTS.keys())
def test_a_server_gets_the_environment_as_it_is(
    start: StartGuard, tmp_path: Path, home: Path, given: Mapping[str, str]
) -> None:
    report = tmp_path / "report"
    env = {**given, "HOME": str(home)}
    peer = start(f"report={report}", env=env)
    peer.initialize()
    assert sorted(reported(report)["environment"]) == sorted(f"{name}={value}" for name, value in env.items())


def test_a_server_ignores_no_signal_that_it_would_not_have_ignored(start: StartGuard, tmp_path: Path) -> None:
    status = tmp_path / "status"
    peer = start(server=["sh", "-c", f"cat /proc/self/status > {status}; exec cat"])
    peer.close_stdin()
    assert peer.wait() == 0
    masks = dict(line.split(":\t") for line in status.read_text().splitlines() if line.startswith("Sig"))
    ignored = {number for number in range(1, signal.SIGRTMIN) if int(masks["SigIgn"], 16) >> (number - 1) & 1}
    assert ignored <= C_LIBRARYS_OWN
    assert int(masks["SigBlk"], 16) == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_guard_that_is_started_without_a_standard_stream_still_ends(home: Path, tmp_path: Path, closed: str) -> None:
    report = tmp_path / "report"
    argv = guard_argv(allow_everything(tmp_path), *fake_server(f"report={report}"))
    result = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {closed}', "sh", *argv],
        stdin=subprocess.DEVNULL,
        cwd=home,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    found = reported(report)["descriptors"]
    assert sorted(found) == ["0", "1", "2"]
    assert all(target.startswith("pipe:") for target in found.values())


# Commands that cannot be run


@pytest.fixture
def unusable(tmp_path: Path) -> Path:
    """Return a directory with files that are no commands."""
    for name, content, mode in (
        ("plain", "echo", 0o644),
        ("garbage", "no program", 0o755),
        ("orphaned", "#!/no/such/interpreter\n", 0o755),
    ):
        path = tmp_path / name
        path.write_text(content)
        path.chmod(mode)
    (tmp_path / "directory").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "status"),
    [("missing", 127), ("orphaned", 127), ("plain", 126), ("garbage", 126), ("directory", 126)],
)
def test_a_command_that_cannot_be_run_is_told_with_a_shells_status(
    start: StartGuard, unusable: Path, name: str, status: int
) -> None:
    peer = start(server=[str(unusable / name), "argument"])
    assert peer.wait() == status
    assert peer.lines == []
    verb = "find" if status == 127 else "execute"
    assert f"mcpguard: cannot {verb} the server's command `{unusable / name}`" in peer.stderr_text()
    assert "argument" not in peer.stderr_text()
    assert "Traceback" not in peer.stderr_text()


def test_a_quoted_command_line_is_explained(start: StartGuard) -> None:
    peer = start(server=["npx -y some-server"])
    assert peer.wait() == 127
    assert "leave out the quotes" in peer.stderr_text()


# Processes


def test_descendants_are_found_however_deep_and_zombies_are_none(tmp_path: Path) -> None:
    script = f"setsid sh -c 'sleep 300 & echo $! > {tmp_path}/pid; echo ready >&2; wait' & read line"
    with StdioPeer(["sh", "-c", script]) as peer:
        peer.expect_stderr("ready")
        assert int((tmp_path / "pid").read_text()) in find_descendants(peer.pid)
        assert len(find_descendants(peer.pid)) == 2
    child = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.pid not in find_descendants(os.getpid())
    child.wait()
