"""Starts the real server, and sees to it that nothing of it is left behind.

Knows pipes, processes and signals, and nothing of what is said.  Imported before the server is started, so it imports next to
nothing itself.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

_DEFAULTED_SIGNALS: Final = (13, 25)
"""SIGPIPE and SIGXFSZ, which Python ignores and a child would inherit as ignored; by number, for `signal` is slow to import."""

_COERCED_LOCALES: Final = ("C.UTF-8", "C.utf8", "UTF-8")


class Upstream:
    """One running server: its process, and our ends of its pipes.

    `status` is None while it runs, then its exit status as a shell has it: 128 + n for signal n.
    """

    __slots__ = ("command", "pid", "status", "stderr_fd", "stdin_fd", "stdout_fd")

    def __init__(self, command: tuple[str, ...], pid: int, stdin_fd: int, stdout_fd: int, stderr_fd: int) -> None:
        self.command = command
        self.pid = pid
        self.stdin_fd = stdin_fd
        self.stdout_fd = stdout_fd
        self.stderr_fd = stderr_fd
        self.status: int | None = None


def start(command: Sequence[str]) -> Upstream:
    """Start `command` with pipes, in a process group of its own.

    It gets the environment and the working directory as they are, descriptors 0 to 2 and no other.  `occupy_standard_descriptors`
    comes before.

    Raises:
        CommandNotFoundError: there is no such command, or its interpreter is missing.
        CommandNotExecutableError: it is there and cannot be executed.
    """
    _keep_descriptors_to_ourselves()
    stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
    theirs = (stdin[0], stdout[1], stderr[1])
    ours = (stdin[1], stdout[0], stderr[0])
    try:
        pid = os.posix_spawnp(
            command[0],
            list(command),
            _environment(),
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(theirs)],
            setpgroup=0,
            setsigdef=_DEFAULTED_SIGNALS,
        )
    except FileNotFoundError as error:
        from mcpguard.errors import CommandNotFoundError

        raise CommandNotFoundError(f"cannot find the server's command `{command[0]}`", _hint(command)) from error
    except (OSError, ValueError) as error:
        from mcpguard.errors import CommandNotExecutableError

        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandNotExecutableError(
            f"cannot execute the server's command `{command[0]}`: {reason.lower()}", _hint(command)
        ) from error
    finally:
        for fd in theirs:
            os.close(fd)
    os.set_blocking(ours[0], False)
    return Upstream(tuple(command), pid, *ours)


def _hint(command: Sequence[str]) -> str:
    if " " in command[0] and len(command) == 1:
        return "the command and its arguments are separate words: leave out the quotes around them"
    return "clients may start programs with a short PATH: try the command's absolute path"


def _environment() -> Mapping[str, str]:
    """Give the environment as it was before Python set LC_CTYPE in it, which it does in the C locale (PEP 538)."""
    if os.environ.get("LC_CTYPE") not in _COERCED_LOCALES:
        return os.environ
    try:
        with open("/proc/self/environ", "rb") as file:
            ours = b"\0LC_CTYPE=" not in b"\0" + file.read()
    except OSError:
        return os.environ
    return {name: value for name, value in os.environ.items() if not (ours and name == "LC_CTYPE")}


def occupy_standard_descriptors() -> None:
    """Open /dev/null in the place of a standard stream that we were started without, so that no pipe takes its number."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _keep_descriptors_to_ourselves() -> None:
    """Mark every descriptor that we inherited, the first three excepted, as close-on-exec."""
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        numbers = list(range(256))
    for fd in numbers:
        if fd > 2:
            try:
                os.set_inheritable(fd, False)  # noqa: FBT003
            except OSError:
                continue


def collect(upstream: Upstream) -> bool:
    """Reap every child that has ended; say whether the server is among those that have, now or before."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        if pid == upstream.pid:
            code = os.waitstatus_to_exitcode(status)
            upstream.status = code if code >= 0 else 128 - code
    return upstream.status is not None


def signal_tree(upstream: Upstream, number: int) -> bool:
    """Send a signal to the server and everything it has started, also to what has left its process group; say if anything lives."""
    collect(upstream)
    descendants = find_descendants(os.getpid())
    # Once the server is reaped, its pid and with it the number of its group may be somebody else's.
    if upstream.status is None or any(_group(pid) == upstream.pid for pid in descendants):
        try:
            os.killpg(upstream.pid, number)
        except (ProcessLookupError, PermissionError):
            pass
    for pid in descendants:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue
    return upstream.status is None or bool(descendants)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return 0


def find_descendants(ancestor: int) -> list[int]:
    """Give the pids of all descendants of a process, from `/proc`; where there is none, nothing."""
    children: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue
        state, parent = stat[stat.rindex(b")") + 2 :].split(maxsplit=2)[:2]
        if state != b"Z":
            children.setdefault(int(parent), []).append(int(name))
    found: list[int] = []
    queue = [ancestor]
    while queue:
        mine = children.get(queue.pop(), [])
        found += mine
        queue += mine
    return found


def adopt_orphans() -> bool:
    """Make this process the parent of every descendant whose own parent ends (Linux; `prctl(2)`); say whether it worked.

    So whatever a server leaves behind stays within `find_descendants`; for what it leaves at once, this comes before `start`.
    """
    import ctypes

    set_child_subreaper = 36
    try:
        return bool(ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0) == 0)
    except (AttributeError, OSError):
        return False


def keep_freed_memory() -> None:
    """Let the allocator keep what long messages used, up to 16 MiB (glibc: `mallopt(3)`).

    By default it gives every megabyte back at once and has it zeroed by the kernel again for the next message, which costs more
    than to read and judge it.
    """
    import ctypes

    mmap_threshold, trim_threshold = -3, -1
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 4 << 20)
        libc.mallopt(trim_threshold, 16 << 20)
    except (AttributeError, OSError):
        return  # another allocator, with habits of its own
