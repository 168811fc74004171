"""Checks that a short soak finds nothing wrong, and that it would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).parent.parent / "benchmarks" / "soak.py"


def soak(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SOAK), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_thousands_of_calls_of_every_kind_come_back_once_and_right_and_leave_no_descriptor() -> None:
    ended = soak("--calls", 5000)
    assert ended.stderr == ""
    assert "5000 calls, nothing wrong" in ended.stdout
    assert ended.returncode == 0


def test_a_wrong_answer_is_noticed() -> None:
    ended = soak("--calls", 3000, "--spoil", "wrong")
    assert "1 x wrong answer" in ended.stderr
    assert ended.returncode == 1


def test_an_answer_that_never_comes_is_noticed() -> None:
    ended = soak("--calls", 3000, "--spoil", "lost", "--patience", 1)
    assert "lost" in ended.stderr
    assert ended.returncode == 1
