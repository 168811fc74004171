"""What becomes of the program that is to tell the user: it hears of every call, and can do nothing to the run."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.proxy.notify import MOST_AT_ONCE, Notifier
from support.clerk import item
from support.processes import is_alive, wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 30.0


def python(script: str, *words: object) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", script, *map(str, words)]


@pytest.fixture
def complaints() -> queue.SimpleQueue[str]:
    return queue.SimpleQueue()


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """Give a named pipe: who reads from it waits for what a program writes."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    yield path
    # Whoever still waits for a reader or a writer is let go.
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


def heard(pipe: Path, flags: int = os.O_RDONLY, enough: int | None = None) -> str:
    """Read what programs write, until the last of them has closed the pipe or `enough` lines are there."""
    fd = os.open(pipe, flags | os.O_NONBLOCK)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        received = b""
        while enough is None or received.count(b"\n") < enough:
            assert poll.poll(DEADLINE_S * 1000), "nothing was written in time"
            part = os.read(fd, 1 << 16)
            if not part:
                break
            received += part
        return received.decode("ascii")
    finally:
        os.close(fd)


def finish() -> None:
    """Wait until no program runs any more."""
    for thread in threading.enumerate():
        if thread.name == "mcpguard notify":
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


def told(complaints: queue.SimpleQueue[str]) -> list[str]:
    finish()
    said = []
    with suppress(queue.Empty):
        while True:
            said.append(complaints.get_nowait())
    return said


HEAR = """
import sys
line = sys.stdin.buffer.read()
with open(sys.argv[1], "wb") as file:
    file.write(line)
"""


def test_the_program_reads_the_call_as_one_line_of_json(pipe: Path, complaints: queue.SimpleQueue[str]) -> None:
    call = item(subject="caf\u00e9\u2028", arguments={"text": "a\nb\u202e"})
    Notifier(python(HEAR, pipe), complaints.put).notify(call)
    line = heard(pipe)
    assert (line.count("\n"), line[-1:]) == (1, "\n")
    assert json.loads(line) == call
    assert told(complaints) == []


def test_a_large_call_arrives_whole(pipe: Path, complaints: queue.SimpleQueue[str]) -> None:
    call = item(arguments={"text": "x" * (2 << 20)})
    Notifier(python(HEAR, pipe), complaints.put).notify(call)
    assert json.loads(heard(pipe)) == call
    assert told(complaints) == []


def test_a_program_that_reads_nothing_is_no_problem(complaints: queue.SimpleQueue[str]) -> None:
    Notifier(python("pass"), complaints.put).notify(item(arguments={"text": "x" * (2 << 20)}))
    assert told(complaints) == []


WHERE = """
import json, os, sys
found = {
    "null": [os.path.realpath(f"/proc/self/fd/{fd}") for fd in (1, 2)],
    "fds": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    "leads": os.getsid(0) == os.getpgrp() == os.getpid(),
    "cwd": os.getcwd(),
    "words": sys.argv[2:],
    "environment": os.environ.get("MARK"),
}
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""


def test_the_program_has_no_shell_and_nothing_of_ours(
    pipe: Path, tmp_path: Path, complaints: queue.SimpleQueue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARK", "here")
    monkeypatch.chdir(tmp_path)
    words = ["$MARK", "*", "; echo", "`id`", ""]
    Notifier(python(WHERE, pipe, *words), complaints.put).notify(item())
    found = json.loads(heard(pipe))
    # The last of the descriptors is that of the look.
    assert (found["null"], len(found["fds"])) == ([os.devnull] * 2, 4)
    assert (found["leads"], found["cwd"], found["words"], found["environment"]) == (True, str(tmp_path), words, "here")
    assert told(complaints) == []


HANG = """
import os, sys, time
child = os.fork()
if child:
    with open(sys.argv[1], "w") as file:
        file.write(f"{os.getpid()} {child}")
while True:
    time.sleep(60)
"""


def test_a_program_that_takes_too_long_is_killed_with_its_group(pipe: Path, complaints: queue.SimpleQueue[str]) -> None:
    Notifier(python(HANG, pipe), complaints.put, patience_s=3.0).notify(item())
    pids = [int(word) for word in heard(pipe).split()]
    assert len(pids) == 2
    assert wait_until_gone(pids, DEADLINE_S) == set()
    assert told(complaints) == [f"`{sys.executable}` was killed, for it took longer than 3 s"]


FAILURES = {
    "there is none": (["/none/such"], "`/none/such` cannot be started: no such file or directory"),
    "it is a directory": (["/"], "`/` cannot be started: permission denied"),
    "it fails": (python("raise SystemExit(3)"), f"`{sys.executable}` ended with status 3"),
    "it is killed": (
        python("import os; os.kill(os.getpid(), 9)"),
        f"`{sys.executable}` was ended by signal {signal.SIGKILL}",
    ),
    "its name is odd": (["/none/\x1b[2J\n"], r"`/none/\x1b[2J\n` cannot be started: no such file or directory"),
    "its name is impossible": (["a\0b"], r"`a\x00b` cannot be started: embedded null byte"),
}


@pytest.mark.parametrize(("command", "said"), FAILURES.values(), ids=FAILURES.keys())
def test_what_goes_wrong_is_said_once(command: list[str], said: str, complaints: queue.SimpleQueue[str]) -> None:
    notifier = Notifier(command, complaints.put)
    for _ in range(3):
        notifier.notify(item())
        finish()
    assert told(complaints) == [said]


def test_each_kind_of_failure_is_said(complaints: queue.SimpleQueue[str], tmp_path: Path) -> None:
    program = tmp_path / "program"
    notifier = Notifier([str(program)], complaints.put)
    notifier.notify(item())
    finish()
    program.write_text("#!/bin/sh\nexit 5\n")
    program.chmod(0o700)
    notifier.notify(item())
    assert [sentence.removeprefix(f"`{program}` ") for sentence in told(complaints)] == [
        "cannot be started: no such file or directory",
        "ended with status 5",
    ]


def test_what_is_no_json_is_said_and_not_raised(complaints: queue.SimpleQueue[str]) -> None:
    Notifier(python("pass"), complaints.put).notify({"id": object()})
    (sentence,) = told(complaints)
    assert "not json serializable" in sentence


WAIT = """
import os, sys
with open(sys.argv[2]) as gate:
    with open(sys.argv[1], "w") as file:
        file.write(f"{os.getpid()}\\n")
    gate.read()
"""


def test_no_more_than_four_run_at_once_and_the_rest_is_said(
    pipe: Path, tmp_path: Path, complaints: queue.SimpleQueue[str]
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    notifier = Notifier(python(WAIT, pipe, gate), complaints.put, patience_s=DEADLINE_S)
    open_gate = os.open(gate, os.O_RDWR)
    for _ in range(MOST_AT_ONCE):
        notifier.notify(item())
    pids = [int(line) for line in heard(pipe, os.O_RDWR, MOST_AT_ONCE).splitlines()]
    assert len(pids) == MOST_AT_ONCE
    assert all(map(is_alive, pids))
    for _ in range(3):
        notifier.notify(item())
    assert complaints.get(timeout=DEADLINE_S) == (
        f"`{sys.executable}` is not started for every call, for it runs 4 times already; `mcpguard pending` shows them all"
    )
    os.close(open_gate)
    assert told(complaints) == []
    assert wait_until_gone(pids, DEADLINE_S) == set()
    for _ in range(2 * MOST_AT_ONCE):
        # There is room again.
        open_gate = os.open(gate, os.O_RDWR)
        notifier.notify(item())
        assert heard(pipe)
        os.close(open_gate)
        finish()
    assert told(complaints) == []


def test_without_threads_nothing_is_raised(complaints: queue.SimpleQueue[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread:
        def __init__(self, **_: Any) -> None: ...

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    notifier = Notifier(["true"], complaints.put)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", NoThread)
        for _ in range(2 * MOST_AT_ONCE):
            notifier.notify(item())
    notifier.notify(item())
    assert told(complaints) == ["`true` cannot be started: there can be no more threads"]
