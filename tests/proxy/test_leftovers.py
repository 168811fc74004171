"""Commands that start a server for a moment leave nothing of it behind, whatever ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcpguard.proxy.leftovers import no_leftovers
from mcpguard.proxy.linux import adopt_orphans
from support.processes import descendants, is_alive, kill_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S = 60.0

STUBBORN = """\
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
with open(sys.argv[1], "w") as heard:
    heard.write("started")
while True:
    signal.pause()
"""
"""Answers nothing, notices nothing, and has a child in a session of its own; both say through a named pipe that they are there."""


@pytest.fixture
def nothing_left() -> Iterator[None]:
    adopt_orphans()
    before = descendants(os.getpid())
    yield
    left = descendants(os.getpid()) - before
    for pid in left:
        kill_tree(pid)
    assert left == set()


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["scan"], signal.SIGINT),
        (["scan"], signal.SIGTERM),
        (["scan"], signal.SIGHUP),
        (["tool", "x"], signal.SIGTERM),
        (["init", "-o", "new.json"], signal.SIGTERM),
        (["check", "policy.json"], signal.SIGTERM),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value.name,
)
def test_an_interrupted_question_leaves_nothing_behind(
    tmp_path: Path, words: list[str], number: signal.Signals
) -> None:
    (tmp_path / "policy.json").write_text('{"version": "1", "default": "deny"}')
    told = tmp_path / "told"
    os.mkfifo(told)
    heard = os.open(told, os.O_RDWR)
    process = subprocess.Popen(
        [sys.executable, "-m", "mcpguard", *words, "--", sys.executable, "-c", STUBBORN, str(told)],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        started = b""
        while started != b"startedstarted":
            started += os.read(heard, 100)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        os.close(heard)
    assert (process.returncode, stdout) == (128 + number, "")
    assert "Traceback" not in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.json", "told"]


def test_signals_mean_what_they_meant_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with no_leftovers():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with no_leftovers():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_was_there_before_is_left_alone() -> None:
    sleeper = [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]
    older = subprocess.Popen(sleeper)
    try:
        with no_leftovers():
            newer = subprocess.Popen(sleeper)
        assert not is_alive(newer.pid)
        assert older.poll() is None
    finally:
        older.kill()
        older.wait(DEADLINE_S)
        newer.wait(DEADLINE_S)
