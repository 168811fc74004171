"""Writes to one side without ever making the other side wait for it.

What a reader does not take at once is kept, in order, up to a bound; who wants to add more waits for room.
"""

from __future__ import annotations

import _thread
import os
import select
import stat
from _collections import deque  # all that is needed of `collections`, which takes a millisecond to import

from mcpguard.proxy import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from typing import Final

MAX_BUFFERED_BYTES: Final = 16 * 1024 * 1024
MAX_BUFFERED_MESSAGES: Final = 10_000
_SAFE_PIPE_BYTES: Final = 4096
"""What a pipe that polls as writable takes without blocking (POSIX: PIPE_BUF; Linux: a free page)."""


class Outlet:
    """The way to one side, for several threads: order is kept, `send` returns at once, `wait_for_room` bounds what is kept.

    `sender` names who sends: each may have `MAX_BUFFERED_BYTES` and `MAX_BUFFERED_MESSAGES` waiting, so a side that is flooded with
    one sender's messages still takes another's.  `on_broken` is called when it turns out that nobody reads any more.
    """

    def __init__(self, fd: int, on_broken: Callable[[], None] = lambda: None) -> None:
        self._on_broken = on_broken
        self._fd, self._owned = unblocked(fd)
        self._write_now = _writer(self._fd, waits=not self._owned)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._lock = _thread.allocate_lock()
        self._condition: threading.Condition | None = None
        self._queue: deque[tuple[memoryview, str, int]] = deque()
        self._bytes: dict[str, int] = {}
        self._messages: dict[str, int] = {}
        self._flushing = False
        self._closing = False
        self.broken = False
        """Nobody reads any more; whatever is sent is dropped."""

    def send(self, data: bytes, sender: str, messages: int = 1) -> bool:
        """Write `data`, whole lines, now or as soon as the reader takes it; say whether any of it waits."""
        with self._lock:
            if self.broken or self._closing:
                return False
            if not self._queue:
                try:
                    # All at once, as nearly always; a reader that is behind, or gone, is dealt with below.
                    written = self._write_now(data)
                except OSError:
                    written = 0
                if written == len(data):
                    return False
                written += self._write(memoryview(data)[written:])
                if written == len(data) or self.broken:
                    return False
                data = data[written:]
            self._queue.append((memoryview(data), sender, messages))
            self._bytes[sender] = self._bytes.get(sender, 0) + len(data)
            self._messages[sender] = self._messages.get(sender, 0) + messages
            self._changed.notify_all()
            if not self._flushing:
                self._flushing = True
                _thread.start_new_thread(self._flush, ())
            return True

    def wait_for_room(self, sender: str) -> None:
        """Wait until less than the bound of this sender's data waits."""
        with self._changed:
            while not self.broken and self._is_full(sender):
                self._changed.wait()

    def close(self, timeout_s: float) -> bool:
        """Write what is left, then close; False if the reader did not take it in time (then it is dropped)."""
        with self._lock:
            changed = self._changed
        with changed:
            self._closing = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._queue or self.broken, timeout_s)
            self._drop()
            self._changed.notify_all()
            if self._owned and self._fd >= 0:
                os.close(self._fd)
            self._fd = -1
        return done

    @property
    def _changed(self) -> threading.Condition:
        """The condition that `_lock` guards; made under it, when somebody has to wait: it takes a module that is slow to import."""
        if self._condition is None:
            import threading

            self._condition = threading.Condition(self._lock)
        return self._condition

    def _is_full(self, sender: str) -> bool:
        return self._bytes.get(sender, 0) > MAX_BUFFERED_BYTES or self._messages.get(sender, 0) > MAX_BUFFERED_MESSAGES

    def _flush(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if not self._queue or self.broken:
                    return
            self._poll.poll(1000)
            with self._changed:
                self._write_queue()
                self._changed.notify_all()

    def _write_queue(self) -> None:
        while self._queue:
            data, sender, messages = self._queue[0]
            written = self._write(data)
            if not self._queue:
                return
            self._bytes[sender] -= written
            if written < len(data):
                self._queue[0] = (data[written:], sender, messages)
                return
            self._messages[sender] -= messages
            self._queue.popleft()

    def _write(self, data: bytes | memoryview) -> int:
        """Write as much as goes without waiting; give the number of bytes."""
        written = 0
        try:
            while written < len(data):
                written += self._write_now(memoryview(data)[written:])
        except BlockingIOError:
            pass
        except OSError:
            self._drop()
            self.broken = True
            if self._condition is not None:
                self._condition.notify_all()
            self._on_broken()
        return written

    def _drop(self) -> None:
        self._queue.clear()
        self._bytes.clear()
        self._messages.clear()


def _writer(fd: int, *, waits: bool) -> Callable[[bytes | memoryview], int]:
    """Give what writes to a descriptor as much as goes without waiting; it raises BlockingIOError if nothing does."""
    if not waits:
        return lambda data: os.write(fd, data)
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        # All that `socket` is without the module around it, which takes milliseconds to import while a client waits.
        import _socket

        def send(data: bytes | memoryview) -> int:
            # The descriptor stays whose it is: nothing of ours closes it, or keeps it open.
            borrowed = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
            try:
                return borrowed.send(data, _socket.MSG_DONTWAIT)
            finally:
                borrowed.detach()

        return send
    poll = select.poll()
    poll.register(fd, select.POLLOUT)

    def write(data: bytes | memoryview) -> int:
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(fd, data[:_SAFE_PIPE_BYTES])

    return write


def is_writable(fd: int, timeout_ms: int = 0) -> bool:
    """Whether a write of up to 4,096 bytes would go through without waiting."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(timeout_ms))


def unblocked(fd: int) -> tuple[int, bool]:
    """Give a descriptor for the same pipe that does not block, and True; or `fd` itself, and False.

    O_NONBLOCK belongs to the open file description, which an inherited descriptor shares with others; so a pipe or a terminal is opened
    anew, where that can be done. What cannot be is polled before each write.
    """
    if not os.get_blocking(fd):
        return fd, True
    mode = os.fstat(fd).st_mode
    if not stat.S_ISFIFO(mode) and not (stat.S_ISCHR(mode) and os.isatty(fd)):
        return fd, False
    try:
        return linux.open_anew(fd), True
    except OSError:
        return fd, False
