"""Says which processes belong together, whether they live, and ends them.

Linux only: reads /proc and waits on pidfds, so no wait is a guess.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def descendants(pid: int) -> set[int]:
    """Return the living children of `pid`, their children and so on; not `pid` itself."""
    children: dict[int, set[int]] = {}
    for child, parent in _parents().items():
        children.setdefault(parent, set()).add(child)
    found: set[int] = set()
    fresh = {pid}
    while fresh:
        fresh = set().union(*(children.get(each, set()) for each in fresh)) - found
        found |= fresh
    return found


def is_alive(pid: int) -> bool:
    """Say whether `pid` still runs; a zombie does not."""
    return pid in _parents()


def wait_until_gone(pids: Iterable[int], deadline_s: float) -> set[int]:
    """Wait until every process of `pids` has ended; return those that had not after `deadline_s`."""
    end = time.monotonic() + deadline_s
    left: set[int] = set()
    with ExitStack() as stack:
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            stack.callback(os.close, descriptor)
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                left.add(pid)
    return left


def kill_tree(pid: int) -> None:
    """Kill `pid`, its process group if it leads one, and whatever descends from it, also outside that group."""
    doomed = descendants(pid) | {pid}
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for each in doomed:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def _parents() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                # The command name stands in parentheses and may hold any character, also a parenthesis.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in {"Z", "X"}:
                    parents[int(entry.name)] = int(parent)
    return parents
