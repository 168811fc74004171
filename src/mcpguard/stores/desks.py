"""Finds the running guards that have calls waiting for a person, and asks them: one unix socket for each run, in a directory of ours.

Knows where those sockets are, who may be at their other end, and how a question and an answer travel: one JSON object on a line each
way, one question a connection.  Knows nothing of calls and of policies.  Every run imports it, so it imports little.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, cast

from mcpguard.errors import GuardError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

MAX_REASON_CHARS: Final = 300
PATIENCE_S: Final = 3.0
"""How long a run may take to answer."""
MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
SUFFIX: Final = ".sock"
_MOST_AT_ONCE: Final = 16
_PROC: Final = "/proc/self/fd"
_CREDENTIALS: Final = struct.Struct("3i")
_MOST_ADDRESS_BYTES: Final = 103
"""What every system takes as the address of a socket (`sun_path`), its end not counted."""
_MOST_ID_CHARS: Final = 64
_MOST_S: Final = 1e9
_REFUSED_IS_DEAD: Final = sys.platform.startswith("linux")
"""Elsewhere, a run that is asked by too many at once refuses as well."""


class DeskError(GuardError):
    """A run cannot be asked, or nobody can ask this one."""


class AskingRule(TypedDict):
    """A rule that wants a person to be asked: a JSON Pointer into the policy, and its sentence."""

    rule: str
    message: str


class Item(TypedDict):
    """One call that waits for a person.

    `arguments` is canonical JSON text.  `state` is "held" (a call waits right now), "later" (it was told to come back, and may be
    approved until then) or "client" (the client's own dialog has it).
    """

    id: str
    kind: str
    subject: str
    arguments: str
    rules: list[AskingRule]
    policy: str
    server: list[str]
    client: str | None
    grant: str | None
    waited_s: float
    state: str
    expires_in_s: float
    remember: str


class Waiting(NamedTuple):
    """A call that waits, and the run that asks about it."""

    item: Item
    run: str


class Silent(NamedTuple):
    """A run that could not be asked, and why."""

    run: str
    why: str


class Look(NamedTuple):
    """What waits in all runs, longest first, and the runs of which that is not known."""

    waiting: list[Waiting]
    silent: list[Silent]


class _DeadError(Exception):
    """Nobody listens at a socket any more."""


def runs_directory() -> Path:
    """Give the directory with the sockets of this user's runs."""
    import platformdirs

    return Path(platformdirs.user_state_dir("mcpguard", appauthor=False)) / "runs"


def open_private(directory: Path) -> int:
    """Open a directory that belongs to us and that nobody else may enter; give its descriptor.

    Raises:
        FileNotFoundError: there is none.
        DeskError: it is another's, open to others, or no directory.
    """
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DeskError(f"cannot use the directory `{directory}` for approvals: {_reason(error)}") from None
    found = os.fstat(fd)
    problem = ""
    if found.st_uid != os.geteuid():
        problem = "it belongs to another user"
    elif stat.S_IMODE(found.st_mode) & 0o077:
        problem = f"others may use it (mode {stat.S_IMODE(found.st_mode):04o})"
    if problem:
        os.close(fd)
        raise DeskError(
            f"cannot use the directory `{directory}` for approvals: {problem}",
            "only you may have access to it: chmod 700, or remove it and it is made anew",
        )
    return fd


def address_in(directory: Path, directory_fd: int, name: str) -> str:
    """Give the address of a socket in an open directory.

    It leads through the descriptor where there is `/proc`: then the directory cannot be exchanged in between, and its path may be
    longer than an address.

    Raises:
        DeskError: it is too long for an address.
    """
    address = f"{_PROC}/{directory_fd}/{name}" if Path(_PROC).is_dir() else str(directory / name)
    if len(os.fsencode(address)) > _MOST_ADDRESS_BYTES:
        raise DeskError(
            f"the path `{address}` is too long for a socket: {_MOST_ADDRESS_BYTES} bytes at most",
            "XDG_STATE_HOME may name a shorter one",
        )
    return address


def peer_uid(connection: socket.socket) -> int | None:
    """Give the user at the other end of a connection (`unix(7)`; `getpeereid(3)` elsewhere); None if that cannot be known."""
    import socket

    option = getattr(socket, "SO_PEERCRED", None)
    try:
        if option is not None:
            uid: int = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))[1]
            return uid
        import ctypes

        user, group = ctypes.c_uint32(), ctypes.c_uint32()
        found = ctypes.CDLL(None).getpeereid(connection.fileno(), ctypes.byref(user), ctypes.byref(group))
    except (ImportError, AttributeError, OSError, struct.error):
        return None
    return user.value if found == 0 else None


def reason_problem(reason: str) -> str:
    """Say what keeps a person's reason from being shown to an agent; empty if nothing does."""
    if len(reason) > MAX_REASON_CHARS:
        return f"a reason has at most {MAX_REASON_CHARS} characters; this one has {len(reason)}"
    if not reason.isprintable():
        return "a reason is one line of characters that can be seen"
    return ""


def look(directory: Path, patience_s: float = PATIENCE_S) -> Look:
    """Ask every run what waits, all at once; sockets that dead runs have left are removed.

    Raises:
        DeskError: the directory is not ours alone.
    """
    try:
        fd = open_private(directory)
    except FileNotFoundError:
        return Look([], [])
    from concurrent.futures import ThreadPoolExecutor

    def ask_one(name: str) -> Look:
        run = name.removesuffix(SUFFIX)
        try:
            found = _pending(_exchange(address_in(directory, fd, name), {"op": "pending"}, patience_s))
        except _DeadError:
            _remove(fd, name)
            return Look([], [])
        except DeskError as error:
            return Look([], [Silent(run, error.message)])
        return Look([Waiting(item, run) for item in found], [])

    try:
        # The directory that was looked at, whatever has its name by now.
        names = [name for name in sorted(os.listdir(fd)) if name.endswith(SUFFIX) and _is_socket(fd, name)]  # noqa: PTH208
        with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
            looks = list(pool.map(ask_one, names))
    finally:
        os.close(fd)
    waiting = [each for one in looks for each in one.waiting]
    waiting.sort(key=lambda each: -each.item["waited_s"])
    return Look(waiting, [each for one in looks for each in one.silent])


def tell(directory: Path, run: str, request: Mapping[str, object], patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Send a request to one run, and give its answer.

    Raises:
        DeskError: it has ended, does not answer in time, or says that it cannot be done.
    """
    gone = "the run has ended in the meantime"
    try:
        fd = open_private(directory)
    except FileNotFoundError:
        raise DeskError(gone) from None
    try:
        answer = _exchange(address_in(directory, fd, run + SUFFIX), request, patience_s)
    except _DeadError:
        raise DeskError(gone) from None
    finally:
        os.close(fd)
    if isinstance(answer.get("error"), str):
        raise DeskError(answer["error"])
    return answer


def as_item(value: object) -> Item | None:
    """Take a description of a call for what it is; None if it is none.  There may be more in it."""
    if not isinstance(value, dict) or not all(isinstance(value.get(key), kind) for key, kind in _KINDS.items()):
        return None
    rules, server = value["rules"], value["server"]
    good = (
        # Ids are printed into command lines that people copy.
        len(value["id"]) <= _MOST_ID_CHARS
        and value["id"].isascii()
        and value["id"].isalnum()
        and all(isinstance(rule, dict) and isinstance(rule.get("rule"), str) for rule in rules)
        and all(isinstance(rule.get("message"), str) for rule in rules)
        and all(isinstance(word, str) for word in server)
        and all(0 <= value[key] < _MOST_S and not isinstance(value[key], bool) for key in ("waited_s", "expires_in_s"))
    )
    return cast("Item", value) if good else None


_KINDS: Final[Mapping[str, Any]] = {
    "id": str,
    "kind": str,
    "subject": str,
    "arguments": str,
    "rules": list,
    "policy": str,
    "server": list,
    "client": str | None,
    "grant": str | None,
    "waited_s": int | float,
    "state": str,
    "expires_in_s": int | float,
    "remember": str,
}


def _is_socket(directory_fd: int, name: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _remove(directory_fd: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory_fd)
    except OSError:
        return


def _pending(answer: dict[str, Any]) -> list[Item]:
    found = answer.get("pending")
    items = [as_item(each) for each in found] if isinstance(found, list) else [None]
    if None in items:
        why = answer.get("error")
        raise DeskError(f"it says: {why}" if isinstance(why, str) else "its answer is not understood")
    return [item for item in items if item is not None]


def _exchange(address: str, request: Mapping[str, object], patience_s: float) -> dict[str, Any]:
    """Connect, ask, and read the answer.

    Raises:
        _DeadError: nobody listens there.
        DeskError: whoever listens is not us, does not answer in time or not in our words.
    """
    import json
    import socket

    until_s = time.monotonic() + patience_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience_s)
        try:
            connection.connect(address)
            if peer_uid(connection) != os.geteuid():
                raise DeskError("it belongs to another user")
            line = _ask(connection, json.dumps(request).encode("ascii") + b"\n", until_s)
        except TimeoutError:
            raise DeskError(f"it did not answer within {patience_s:g} s") from None
        except FileNotFoundError:
            raise _DeadError from None
        except OSError as error:
            if error.errno == errno.ECONNREFUSED and _REFUSED_IS_DEAD:
                raise _DeadError from None
            raise DeskError(_reason(error)) from None
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise DeskError("its answer is not understood" if line else "it ended without an answer")
    return answer


def _ask(connection: socket.socket, request: bytes, until_s: float) -> bytes:
    try:
        connection.sendall(request)
        return _read_line(connection, until_s)
    except (BrokenPipeError, ConnectionResetError):
        # It ends, or has heard enough.
        return b""


def _read_line(connection: socket.socket, until_s: float) -> bytes:
    received = bytearray()
    while len(received) <= MAX_ANSWER_BYTES:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        part = connection.recv(1 << 18)
        received += part
        if not part or part.endswith(b"\n"):
            return bytes(received)
    raise DeskError("its answer is too long")


def _reason(error: OSError) -> str:
    if error.errno in {errno.ENOTDIR, errno.ELOOP}:
        return "it is no directory"
    return (error.strerror or str(error)).lower()
