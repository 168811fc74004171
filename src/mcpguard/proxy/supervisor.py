"""Stands between the guard and its server, so that nothing of the server outlives a guard that is killed.

A process of its own, forked from the guard before it has imported much: the parent of the server, and of whatever the server leaves
behind.  It hears of the guard's end, however that comes, by a pipe that closes.  Says over another pipe what became of the server:
`+PID` or `-ERRNO` at its start, then its exit status, a line each.  Knows nothing of messages.
"""

from __future__ import annotations

import _signal
import errno
import os
import time

from mcpguard.proxy import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, NoReturn

# Where there is no fork(2), these modules are imported all the same, to say so: some signals are missing there.
_DEFAULTED_SIGNALS: Final = [getattr(_signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(_signal, name)]
"""What Python ignores, and a child would inherit as ignored."""
_STOPPING: Final = [getattr(_signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(_signal, name)]

GRACE_S: Final = 0.25
"""How long a server may take to notice that the guard is gone, and again after TERM, before it is killed."""
_KILLING_S: Final = 10.0
_PAUSE_S: Final = 0.01


def supervise(command: Sequence[str], streams: tuple[int, int, int], lifeline_fd: int, report_fd: int) -> NoReturn:
    """Start `command` on the descriptors `streams`, see it through, and exit.  For a process that was just forked.

    `lifeline_fd` ends when the guard does.
    """
    guard = os.getppid()
    pid = 0
    try:
        # Out of reach of what is sent to the guard's whole group or session.
        os.setsid()
        linux.adopt_orphans()
        pid = _start(command, streams, report_fd)
        if pid:
            _leave_everything_else(lifeline_fd, report_fd)
            import _thread

            _thread.start_new_thread(_end_with_the_guard, (pid, lifeline_fd))
            linux.rename(f"mcpg-supervisor of {guard}")
            _reap(pid, report_fd)
    except BaseException:
        # A bug: without a supervisor the server must not go on.
        signal_all(os.getpid(), pid, _signal.SIGKILL)
        raise
    finally:
        os._exit(0)


def _start(command: Sequence[str], streams: tuple[int, int, int], report_fd: int) -> int:
    try:
        pid = os.posix_spawnp(
            command[0],
            list(command),
            linux.inherited_environment(),
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)],
            setpgroup=0,
            setsigdef=_DEFAULTED_SIGNALS,
        )
    except (OSError, ValueError) as error:
        _report(report_fd, b"-%d\n" % (getattr(error, "errno", None) or errno.EINVAL))
        return 0
    _report(report_fd, b"+%d\n" % pid)
    return pid


def _report(report_fd: int, news: bytes) -> None:
    """Tell the guard.  It may be gone by now, and then the lifeline says so, too: what has been started is ended by that."""
    try:
        os.write(report_fd, news)
    except OSError:
        return


def _leave_everything_else(*kept: int) -> None:
    """Hold nothing open whose end somebody waits for, and outlive what is meant for the guard."""
    for number in _STOPPING:
        _signal.signal(number, _signal.SIG_IGN)
    for fd in linux.open_descriptors():
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                continue
    for _ in range(3):
        os.open(os.devnull, os.O_RDWR)


def _reap(server: int, report_fd: int) -> None:
    """Collect whatever ends, until nothing of the server is left; report the server's own end."""
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return
        if pid == server:
            code = os.waitstatus_to_exitcode(status)
            _report(report_fd, b"%d\n" % (code if code >= 0 else 128 - code))


def _end_with_the_guard(server: int, lifeline_fd: int) -> None:
    """Wait until the guard is gone, then end everything.  The server has lost its input by then, and may go by itself."""
    try:
        while os.read(lifeline_fd, 1):
            pass
        me = os.getpid()
        if _lives(me, server, GRACE_S):
            signal_all(me, server, _signal.SIGTERM)
            _lives(me, server, GRACE_S)
            end = time.monotonic() + _KILLING_S
            # Again and again: what dies may have started something just before.
            while signal_all(me, server, _signal.SIGKILL) and time.monotonic() < end:
                time.sleep(_PAUSE_S)
    finally:
        os._exit(0)


def _lives(ancestor: int, group: int, patience_s: float) -> bool:
    end = time.monotonic() + patience_s
    while signal_all(ancestor, group, 0):
        if time.monotonic() >= end:
            return True
        time.sleep(_PAUSE_S)
    return False


def signal_all(ancestor: int, group: int, number: int, spared: int = 0) -> bool:
    """Send a signal to a process group and to all descendants of `ancestor` but `spared`; say if anything of them lives.

    The group is where a server is found on systems that cannot find descendants; its number may be somebody else's once it is empty,
    so where descendants are known and none is in it, it is left alone.
    """
    descendants = [pid for pid in linux.find_descendants(ancestor) if pid != spared]
    lives = bool(descendants)
    if group > 0 and (not linux.FINDS_DESCENDANTS or any(_group(pid) == group for pid in descendants)):
        try:
            os.killpg(group, number)
            lives = True
        except (ProcessLookupError, PermissionError):
            pass
    for pid in descendants:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue
    return lives


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return -1
