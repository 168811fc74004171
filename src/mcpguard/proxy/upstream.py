"""Starts the real server by way of its supervisor, hears how it fares, and sees to it that nothing of it is left behind.

Knows pipes, processes and signals, and nothing of what is said.  Imported before the server is started, so it imports next to
nothing itself.
"""

from __future__ import annotations

import os

from mcpguard.proxy import linux
from mcpguard.proxy.supervisor import signal_all, supervise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, NoReturn

_SHORT_PATH: Final = "clients may start programs with a short PATH: try the command's absolute path"


class Upstream:
    """One running server: our ends of its pipes, and what its supervisor has reported.

    `pid` is 0 until `confirm_start`.  `status` is None while the server runs, then its exit status as a shell has it: 128 + n for
    signal n.  `report_fd` becomes readable when there is news for `collect`; it is -1 when there will be none any more.
    """

    __slots__ = (
        "_lifeline_fd",
        "_news",
        "command",
        "pid",
        "report_fd",
        "status",
        "stderr_fd",
        "stdin_fd",
        "stdout_fd",
        "supervisor",
    )

    def __init__(
        self, command: tuple[str, ...], supervisor: int, ours: tuple[int, int, int], lifeline_fd: int, report_fd: int
    ) -> None:
        self.command = command
        self.supervisor = supervisor
        self.stdin_fd, self.stdout_fd, self.stderr_fd = ours
        self.report_fd = report_fd
        self.pid = 0
        self.status: int | None = None
        self._lifeline_fd = lifeline_fd
        self._news = b""

    @property
    def is_lost(self) -> bool:
        """Whether nothing will be heard of the server any more, though it was never said to have ended: somebody ended its supervisor."""
        return self.report_fd < 0 and self.status is None

    def confirm_start(self) -> None:
        """Wait until the server is started.

        Raises:
            CommandNotFoundError: there is no such command, or its interpreter is missing.
            CommandNotExecutableError: it is there and cannot be executed.
        """
        while b"\n" not in self._news and self._read():
            pass
        first, _, self._news = self._news.partition(b"\n")
        if first.startswith(b"+"):
            self.pid = int(first)
            os.set_blocking(self.report_fd, False)
            return
        self.let_go()
        _refuse(self.command, -int(first or b"0"))

    def collect(self) -> bool:
        """Take the news of the supervisor; say whether the server has ended."""
        while self.report_fd >= 0 and self._read():
            pass
        if self.status is None and b"\n" in self._news:
            self.status = int(self._news)
        return self.status is not None

    def let_go(self) -> None:
        """Release the supervisor: it ends whatever is left of the server, and then itself."""
        if self._lifeline_fd >= 0:
            os.close(self._lifeline_fd)
            self._lifeline_fd = -1

    def signal(self, number: int) -> bool:
        """Send a signal to the server and everything it has started, also to what has left its process group; say if anything lives."""
        self.collect()
        lives = signal_all(os.getpid(), self.pid, number, spared=self.supervisor)
        return lives or (self.status is None and not self.is_lost)

    def has_descendants(self) -> bool:
        """Whether the server or anything it has started lives, where that can be found out."""
        return any(pid != self.supervisor for pid in linux.find_descendants(os.getpid()))

    def _read(self) -> bool:
        """Read on in the supervisor's report; False if there is nothing now."""
        try:
            part = os.read(self.report_fd, 256)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        if not part:
            os.close(self.report_fd)
            self.report_fd = -1
            return False
        self._news += part
        return True


def start(command: Sequence[str]) -> Upstream:
    """Let a supervisor start `command` with pipes, in a process group of its own; call `confirm_start` soon.

    The server gets the environment and the working directory as they are, descriptors 0 to 2 and no other.
    `occupy_standard_descriptors` comes before, and no thread: this forks.

    Raises:
        CommandNotExecutableError: this system starts no more processes, or is none that can fork.
    """
    _keep_descriptors_to_ourselves()
    stdin, stdout, stderr, lifeline, report = (os.pipe() for _ in range(5))
    theirs = (stdin[0], stdout[1], stderr[1])
    try:
        supervisor = os.fork()
    except (OSError, AttributeError) as error:
        from mcpguard.errors import CommandNotExecutableError

        reason = (
            os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else "there is no fork(2)"
        )
        raise CommandNotExecutableError(
            f"cannot start a process on this system: {reason}",
            "mcpguard runs servers on Linux; see the README for others",
        ) from error
    if supervisor == 0:
        supervise(command, theirs, lifeline[0], report[1])
    for fd in (*theirs, lifeline[0], report[1]):
        os.close(fd)
    os.set_blocking(stdin[1], False)
    return Upstream(tuple(command), supervisor, (stdin[1], stdout[0], stderr[0]), lifeline[1], report[0])


def _refuse(command: tuple[str, ...], number: int) -> NoReturn:
    import errno

    from mcpguard.errors import CommandNotExecutableError, CommandNotFoundError

    if number == errno.ENOENT:
        raise CommandNotFoundError(f"cannot find the server's command `{command[0]}`", hint_on(command) or _SHORT_PATH)
    reason = os.strerror(number).lower() if number else "its supervisor was ended"
    raise CommandNotExecutableError(f"cannot execute the server's command `{command[0]}`: {reason}", hint_on(command))


def hint_on(command: Sequence[str]) -> str:
    """Say what is wrong with a command that cannot be started, if that shows; else nothing."""
    if " " in command[0] and len(command) == 1:
        return "the command and its arguments are separate words: leave out the quotes around them"
    return ""


def occupy_standard_descriptors() -> None:
    """Open /dev/null in the place of a standard stream that we were started without, so that no pipe takes its number."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _keep_descriptors_to_ourselves() -> None:
    """Mark every descriptor that we inherited, the first three excepted, as close-on-exec."""
    for fd in linux.open_descriptors():
        if fd > 2:
            try:
                os.set_inheritable(fd, False)  # noqa: FBT003
            except OSError:
                continue
