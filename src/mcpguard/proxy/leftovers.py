"""Sees that a command which starts servers leaves none of them behind, whatever interrupts it and whenever."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

from mcpguard.proxy.linux import adopt_orphans, find_descendants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Where there is no fork(2), this module is imported all the same; some signals are missing there.
_ENDING: Final = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_REAP_S: Final = 2.0
_PAUSE_S: Final = 0.01


@contextmanager
def no_leftovers() -> Iterator[None]:
    """End, at the end of the block, every process that was started in it, also what has left its process group.

    Nothing of it is asked to end first: whoever is to end in good order is ended within the block.  Where descendants cannot be found
    (`linux.FINDS_DESCENDANTS`), nothing is ended.  For the main thread, since signals are heard there: meanwhile SIGINT, SIGTERM and
    SIGHUP end what was started at once and raise SystemExit with 128 and their number, unless they were ignored or handled already.
    """
    others = set(find_descendants(os.getpid()))
    adopt_orphans()

    def end(number: int, _: object) -> NoReturn:
        # No second one disturbs what the first has begun.
        _ignore(before)
        # Nobody need wait for what is being ended.  It is reaped by whoever has started it, or below.
        _kill_all_but(others)
        raise SystemExit(128 + number)

    before = {number: handler for number in _ENDING if (handler := signal.getsignal(number)) is not None}
    for number, handler in before.items():
        if handler in {signal.SIG_DFL, signal.default_int_handler}:
            signal.signal(number, end)
    try:
        yield
    finally:
        _ignore(before)
        _end_all_but(others)
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(numbers: Iterable[int]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _kill_all_but(others: set[int]) -> set[int]:
    """Kill every descendant that is not one of `others`; give the pids of those that lived."""
    lived = set(find_descendants(os.getpid())) - others
    for pid in lived:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    return lived


def _end_all_but(others: set[int]) -> None:
    """Kill and reap every descendant that is not one of `others`."""
    until = time.monotonic() + _REAP_S
    killed: set[int] = set()
    while time.monotonic() < until:
        lived = _kill_all_but(others)
        killed = {pid for pid in killed | lived if not _is_reaped(pid)}
        if not killed and not lived:
            return
        time.sleep(_PAUSE_S)


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
