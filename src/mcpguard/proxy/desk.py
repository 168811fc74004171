"""Answers other terminals of the same user about the calls that wait for a person: a unix socket, and a thread of its own.

Knows who asks, and how a question and an answer travel; what waits and what an answer does, only the clerk knows.  Imported at the first
question of a run, by a pump, so it imports little.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from contextlib import suppress
from json import dumps
from typing import TYPE_CHECKING, Any, Final, Protocol

import jiter

from mcpguard.stores.desks import SUFFIX, DeskError, address_in, open_private, peer_uid, reason_problem

if TYPE_CHECKING:
    from pathlib import Path

MAX_REQUEST_BYTES: Final = 64 * 1024
MOST_VISITS: Final = 16
"""How many may be connected at once; the others wait in the kernel's queue."""
VISIT_S: Final = 5.0
"""How long a visitor may take to ask, and again to read the answer."""
_QUEUE: Final = 64
_PAUSE_S: Final = 0.2
"""How long nobody is let in after that has failed: descriptors may have run out."""
_CLOSE_S: Final = 0.5
_PIECE_BYTES: Final = 1 << 16


class Clerk(Protocol):
    """Knows what waits, and takes the answers.  Called from the desk's thread, so it takes its own locks; every value is ready for JSON."""

    def pending(self) -> list[dict[str, Any]]:
        """Describe the calls that wait: `stores.desks.Item` says how."""

    def approve(self, approval_id: str, *, whole_tool: bool) -> dict[str, Any]:
        """Allow a call, or this and later ones of its tool; give `{"granted": item}` or `{"error": sentence}`."""

    def deny(self, approval_id: str, reason: str) -> dict[str, Any]:
        """Refuse a call; give `{"denied": item}` or `{"error": sentence}`."""


def open_desk(directory: Path, name: str, clerk: Clerk) -> Desk:
    """Make the socket `name.sock` in `directory`, which is made if need be, and answer there from now on.

    Raises:
        DeskError: the directory is not ours alone, or there can be no socket in it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory_fd = open_private(directory)
    except OSError as error:
        raise _cannot_open(directory, error) from None
    # Only what listens already gets the name that others look for: a socket that refuses them would be taken for a dead run's.
    draft, final = f".{name}.new", name + SUFFIX
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        os.close(directory_fd)
        raise _cannot_open(directory, error) from None
    try:
        # The directory lets nobody else in meanwhile.
        listener.bind(address_in(directory, directory_fd, draft))
        os.chmod(draft, 0o600, dir_fd=directory_fd)
        listener.listen(_QUEUE)
        listener.setblocking(False)  # noqa: FBT003
        os.rename(draft, final, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        return Desk(listener, directory_fd, final, clerk)
    except (OSError, RuntimeError, DeskError) as error:
        listener.close()
        for left in (draft, final):
            with suppress(OSError):
                os.unlink(left, dir_fd=directory_fd)
        os.close(directory_fd)
        if isinstance(error, DeskError):
            raise
        raise _cannot_open(directory, error) from None


def _cannot_open(directory: Path, error: Exception) -> DeskError:
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    return DeskError(f"cannot listen for answers of other terminals in `{directory}`: {reason}")


class Desk:
    """An open desk; made by `open_desk`."""

    def __init__(self, listener: socket.socket, directory_fd: int, name: str, clerk: Clerk) -> None:
        self._listener = listener
        self._directory_fd = directory_fd
        self._name = name
        self._clerk = clerk
        self._closing = threading.Lock()
        self._visits: dict[socket.socket, _Visit] = {}
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._serve, name="mcpguard desk", daemon=True)
        made: list[selectors.BaseSelector | socket.socket] = [self._selector]
        try:
            self._alarm, self._wake = socket.socketpair()
            made += [self._alarm, self._wake]
            self._selector.register(self._alarm, selectors.EVENT_READ)
            self._thread.start()
        except (OSError, RuntimeError):
            for each in made:
                each.close()
            raise

    def close(self) -> None:
        """Remove the socket and let nobody in any more.  Harmless when done twice."""
        if not self._closing.acquire(blocking=False):
            return
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self._directory_fd)
        # Its thread closes everything else, or else the end of the process does: a clerk may be busy.
        self._wake.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_S)

    def _serve(self) -> None:
        try:
            self._receive_visits()
        finally:
            for visit in list(self._visits.values()):
                visit.connection.close()
            for each in (self._selector, self._listener, self._alarm):
                each.close()
            os.close(self._directory_fd)

    def _receive_visits(self) -> None:
        selector = self._selector
        is_open, open_from_s = False, 0.0
        while True:
            now_s = time.monotonic()
            may_open = len(self._visits) < MOST_VISITS and now_s >= open_from_s
            if may_open != is_open:
                is_open = may_open
                if is_open:
                    selector.register(self._listener, selectors.EVENT_READ)
                else:
                    selector.unregister(self._listener)
            deadlines = [visit.until_s for visit in self._visits.values()]
            if open_from_s > now_s:
                deadlines.append(open_from_s)
            wait_s = max(0.0, min(deadlines) - now_s) if deadlines else None
            for key, _ in selector.select(wait_s):
                if key.fileobj is self._alarm:
                    return
                if key.fileobj is self._listener:
                    if not self._let_in():
                        open_from_s = time.monotonic() + _PAUSE_S
                elif isinstance(key.data, _Visit):
                    self._go_on(key.data)
            now_s = time.monotonic()
            for visit in [each for each in self._visits.values() if now_s >= each.until_s]:
                self._end(visit)

    def _let_in(self) -> bool:
        """Take one visitor in, if it is one of ours; False if nobody can be taken in for the moment."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return True
        except OSError:
            return False
        if peer_uid(connection) != os.geteuid():
            connection.close()
            return True
        visit = _Visit(connection, self._clerk)
        try:
            connection.setblocking(False)  # noqa: FBT003
            self._selector.register(connection, selectors.EVENT_READ, visit)
        except OSError:
            connection.close()
            return False
        self._visits[connection] = visit
        return True

    def _go_on(self, visit: _Visit) -> None:
        was_heard = visit.is_heard
        try:
            over = visit.say() if was_heard else visit.hear()
            if visit.is_heard and not was_heard:
                self._selector.modify(visit.connection, selectors.EVENT_WRITE, visit)
        except BlockingIOError:
            return
        except Exception:  # noqa: BLE001 - whatever it is, it ends this visit and no other
            over = True
        if over:
            self._end(visit)

    def _end(self, visit: _Visit) -> None:
        del self._visits[visit.connection]
        self._selector.unregister(visit.connection)
        visit.connection.close()


class _Visit:
    """One connection: a line is heard, a line is said, and it is over."""

    __slots__ = ("_answer", "_clerk", "_heard", "connection", "until_s")

    def __init__(self, connection: socket.socket, clerk: Clerk) -> None:
        self.connection = connection
        self.until_s = time.monotonic() + VISIT_S
        self._clerk = clerk
        self._heard = bytearray()
        self._answer: memoryview | None = None

    @property
    def is_heard(self) -> bool:
        """Whether the request is there, and an answer to it."""
        return self._answer is not None

    def hear(self) -> bool:
        """Read on; True if the visitor left without having asked."""
        part = self.connection.recv(_PIECE_BYTES)
        line, end, _ = part.partition(b"\n")
        self._heard += line
        if len(self._heard) > MAX_REQUEST_BYTES:
            self._reply(_error(f"a request has at most {MAX_REQUEST_BYTES} bytes"))
        elif end:
            self._reply(answer(bytes(self._heard), self._clerk))
        return not part

    def _reply(self, message: dict[str, Any]) -> None:
        try:
            text = dumps(message, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            text = dumps(_error(f"a bug in mcpguard: {error}"))
        self._answer = memoryview(text.encode("ascii") + b"\n")
        self.until_s = time.monotonic() + VISIT_S

    def say(self) -> bool:
        """Write on; True if all is said."""
        assert self._answer is not None
        self._answer = self._answer[self.connection.send(self._answer) :]
        return not self._answer


def answer(line: bytes, clerk: Clerk) -> dict[str, Any]:
    """Give the answer to one request."""
    try:
        request = jiter.from_json(line, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        return _error("a request is a JSON object on one line")
    try:
        match request:
            case {"op": "pending", **rest} if not rest:
                return {"pending": clerk.pending()}
            case {"op": "approve", "id": str(id_), "tool": bool(whole_tool), **rest} if not rest:
                return clerk.approve(id_, whole_tool=whole_tool)
            case {"op": "deny", "id": str(id_), "reason": str(reason), **rest} if not rest:
                problem = reason_problem(reason)
                return _error(problem) if problem else clerk.deny(id_, reason)
            case _:
                return _error("unknown request; this run may be of another version of mcpguard")
    except Exception as error:  # noqa: BLE001 - a bug in the clerk must not end the desk
        return _error(f"a bug in mcpguard: {type(error).__name__}: {error}")


def _error(sentence: str) -> dict[str, Any]:
    return {"error": sentence}
