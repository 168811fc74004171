"""Keeps the decision log: one JSON line for each decision, each outcome and each thing that was dropped.

A line is ASCII and holds no argument: neither can it forge another line or paint a terminal, nor give away what was asked, for
patient numbers can be guessed and so only a keyed digest of the arguments is written.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import select
import stat
import threading
import time
from contextlib import suppress
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcpguard.errors import GuardError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEPT_DAYS: Final = 30
EVENTS_PER_MINUTE: Final = 100
_KEPT_CHARS: Final = 1000
_LONG_INFO_CHARS: Final = 2000
_KEY_BYTES: Final = 32
_BLOCK_BYTES: Final = 64
_NS_PER_S: Final = 1_000_000_000
_PATIENCE_S: Final = 0.5
"""How long the reader of a pipe may take for what is more than the pipe holds at once."""


class LogError(GuardError):
    """The decision log cannot be opened or written."""


class DecisionLog:
    """An append-only file that only its owner can read.  `write` hands whole lines to write(2); nothing is buffered.

    A pipe or a terminal that takes nothing for a moment is one that cannot be written; then nobody waits for it again until it has
    taken something whole.  While a file is open, a shared lock (flock) on it tells other runs that it is in use.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`, mode 0600.

        Raises:
            LogError: it cannot be opened.
        """
        self.path = path
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise LogError(f"cannot open the decision log `{path}`: {_reason(error)}") from error
        try:
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.set_blocking(self._fd, True)
                os.fchmod(self._fd, 0o600)
                _hold(self._fd)
        except OSError as error:
            os.close(self._fd)
            raise LogError(f"cannot open the decision log `{path}`: {_reason(error)}") from error
        self._lock = threading.Lock()
        self._torn = False
        self._patient = True

    def write(self, lines: bytes) -> None:
        """Append whole lines.

        Raises:
            LogError: they are not in the file, or not all; a torn line is closed before the next one is written.
        """
        with self._lock:
            data = b"\n" + lines if self._torn else lines
            until_s = time.monotonic() + _PATIENCE_S if self._patient else 0.0
            self._patient = False
            written = 0
            try:
                while written < len(data):
                    written += self._put(data[written:], until_s)
                    self._torn = written < len(data)
            except OSError as error:
                raise LogError(f"cannot write the decision log `{self.path}`: {_reason(error)}") from error
            self._patient = True

    def _put(self, data: bytes, until_s: float) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise
        # More than a pipe holds at once takes a reader its time.
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll(left_s * 1000)
        return os.write(self._fd, data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def default_log_path(directory: Path, session_id: str, now_ns: int) -> Path:
    """Give the path of a new run's log in `directory`, which is made if need be, and forget what is 30 days old.

    The clock may be wrong, so where it is ahead of the newest log, ages are counted from that one; what a run holds open stays.

    Raises:
        LogError: the directory cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LogError(f"cannot make the log directory `{directory}`: {_reason(error)}") from error
    _forget_old(directory, now_ns)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ns // _NS_PER_S))
    return directory / f"decisions-{stamp}-{session_id}.jsonl"


def _forget_old(directory: Path, now_ns: int) -> None:
    changed_ns: dict[Path, int] = {}
    for path in directory.glob("decisions-*.jsonl"):
        with suppress(OSError):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                changed_ns[path] = found.st_mtime_ns
    oldest_ns = min(now_ns, max(changed_ns.values(), default=0)) - KEPT_DAYS * 86_400 * _NS_PER_S
    for path, at_ns in changed_ns.items():
        if at_ns < oldest_ns:
            with suppress(OSError):
                _forget(path, oldest_ns)


def _forget(path: Path, oldest_ns: int) -> None:
    """Remove a log that nobody holds and that is still as old as it was.

    Raises:
        OSError: it cannot be looked into or removed, or somebody holds it.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_mtime_ns < oldest_ns:
            path.unlink()
    finally:
        os.close(fd)


def _hold(fd: int) -> None:
    """Keep others from removing a log.

    Raises:
        OSError: somebody is removing it, or has done so.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks, on which nothing is removed either
    if not os.fstat(fd).st_nlink:
        raise FileNotFoundError(errno.ENOENT, "it was removed at this moment")


def installation_key(directory: Path) -> bytes:
    """Give the key of this installation for digests of arguments; 32 random bytes, made when first asked for.

    Raises:
        LogError: the key can be neither read nor made.
    """
    path = directory / "digest.key"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            draft = directory / f".digest.key.{os.getpid()}"
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(os.urandom(_KEY_BYTES))
            try:
                # A link appears whole or not at all, and never replaces the key that another run has just made.
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        key = path.read_bytes()
    except OSError as error:
        raise LogError(f"cannot keep the key for digests in `{path}`: {_reason(error)}") from error
    if len(key) < _KEY_BYTES:
        raise LogError(f"the key for digests in `{path}` is too short; delete the file, and a new one is made")
    return key


class Recorder:
    """Writes records as lines.  `common` holds the fields that every record of the run bears, `command` the masked command line."""

    def __init__(self, key: bytes, common: Mapping[str, object], *, command: list[str]) -> None:
        self._common = dict(common)
        self._command = command
        self._tail = b""
        self._millisecond = self._second = -1
        self._stamp = self._time_text = ""
        # The two halves of HMAC (RFC 2104, 2), each with its key taken in: to copy them costs half of starting anew.
        block = hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key
        block = block.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
        self._events: dict[str, int] = {}
        self._minute = -1
        self.introduce(None, None)

    def put_in_force(self, policy_digest: str) -> None:
        """Name another policy in every later record."""
        policy = self._common.get("policy")
        self._common["policy"] = {**(policy if isinstance(policy, dict) else {}), "digest": policy_digest}
        self._write_tail()

    def introduce(self, client: object, server: object) -> None:
        """Name the client and the server (`clientInfo`, `serverInfo`) in every later record; of long ones, the name and the version."""
        self._common["server"] = {"command": self._command, "info": _bounded(server)}
        self._common["client"] = _bounded(client)
        self._write_tail()

    def _write_tail(self) -> None:
        self._tail = ("," + dumps(self._common, separators=(",", ":"))[1:] + "\n").encode("ascii")

    def digest(self, packed_arguments: bytes) -> str:
        """HMAC-SHA-256 (RFC 2104) with the installation's key over arguments as `policy.canonical.packed` writes them, in hex."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(packed_arguments)
        outer.update(inner.digest())
        return outer.hexdigest()

    def record(self, kind: str, time_ns: int, **fields: object) -> bytes:
        """Write one line: `time` (RFC 3339, UTC), `kind`, the given fields, then the common ones."""
        return self.line(kind, time_ns, dumps(fields, separators=(",", ":"))[1:-1])

    def line(self, kind: str, time_ns: int, fields: str) -> bytes:
        """Write one line from fields that are JSON already: `"a":1,"b":[]`, pure ASCII."""
        comma = "," if fields else ""
        return f'{{"time":"{self._time(time_ns)}","kind":"{kind}"{comma}{fields}'.encode("ascii") + self._tail

    def event(self, name: str, time_ns: int, now_ns: int, **fields: object) -> list[bytes]:
        """Write one event, or, above 100 of a name in a minute, only count it; the count is written with the next minute.

        Minutes are those of `now_ns`, of a clock that never goes back: whatever the time of day does, a flood is one.
        """
        lines: list[bytes] = []
        if self.is_worth_a_line(name, time_ns, now_ns, lines):
            lines.append(self.record("event", time_ns, event=name, **fields))
        return lines

    def is_worth_a_line(self, name: str, time_ns: int, now_ns: int, lines: list[bytes]) -> bool:
        """Count one more of a name; say whether it is to be written.  The counts of a minute that is over are added to `lines`."""
        minute = now_ns // (60 * _NS_PER_S)
        if minute != self._minute:
            lines += self.suppressed(time_ns)
            self._minute = minute
        seen = self._events[name] = self._events.get(name, 0) + 1
        return seen <= EVENTS_PER_MINUTE

    def count(self, name: str, times: int) -> None:
        """Count events of a name of which none is to be written."""
        self._events[name] = self._events.get(name, 0) + times

    def suppressed(self, time_ns: int) -> Iterable[bytes]:
        """Write how many events of each name were only counted since this was last asked."""
        for name, seen in self._events.items():
            if seen > EVENTS_PER_MINUTE:
                count = seen - EVENTS_PER_MINUTE
                yield self.record("event", time_ns, event=name, suppressed=count)
        self._events.clear()

    def _time(self, time_ns: int) -> str:
        millisecond = time_ns // 1_000_000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            second, rest = divmod(millisecond, 1000)
            if second != self._second:
                self._second = second
                self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._time_text = f"{self._stamp}{rest:03d}Z"
        return self._time_text


def cut(text: str) -> str:
    """Shorten what a client or a server has made up, so that it cannot fill the disk."""
    return text if len(text) <= _KEPT_CHARS else f"{text[:_KEPT_CHARS]}… ({len(text)} characters)"


def _bounded(info: object) -> object:
    # A client's numbers come as `Decimal`, which `json` does not know.
    text = dumps(info, default=str)
    if len(text) <= _LONG_INFO_CHARS or not isinstance(info, dict):
        return loads(text)
    return {name: cut(str(info[name])) for name in ("name", "version") if name in info}


def _reason(error: OSError) -> str:
    if error.errno == errno.ENXIO:
        return "nobody reads from it"
    if error.errno == errno.EAGAIN:
        return "whoever reads from it, or holds a lock on it, is not ready"
    return (error.strerror or str(error)).lower()
