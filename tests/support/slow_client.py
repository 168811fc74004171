"""Is a client that reads and writes only when told to, so that a test can stop reading.

Every wait is bounded; nothing happens behind the test's back.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from support.processes import kill_tree
from support.stdio import PeerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

DEADLINE_S = 20.0
QUIET_S = 0.5
"""After how long without room a pipe counts as full."""


class SlowClient:
    """A process, and the client's end of its pipes or, with `sockets`, of the socket pairs that Node.js would use.

    `stderr` is the descriptor of a pipe that nobody reads but the test.
    """

    def __init__(self, argv: Sequence[str], *, cwd: Path, sockets: bool = False) -> None:
        theirs: list[int]
        if sockets:
            ends = [socket.socketpair() for _ in range(2)]
            theirs = [ends[0][1].detach(), ends[1][1].detach()]
            self.stdin, self.stdout = ends[0][0].detach(), ends[1][0].detach()
        else:
            (in_0, self.stdin), (self.stdout, out_1) = os.pipe(), os.pipe()
            theirs = [in_0, out_1]
        self.stderr, err_1 = os.pipe()
        self.process = subprocess.Popen(
            argv, stdin=theirs[0], stdout=theirs[1], stderr=err_1, cwd=cwd, start_new_session=True
        )
        for fd in (*theirs, err_1):
            os.close(fd)
        os.set_blocking(self.stdin, False)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        kill_tree(self.process.pid)
        self.process.wait(DEADLINE_S)
        for fd in (self.stdin, self.stdout, self.stderr):
            with suppress(OSError):
                os.close(fd)

    def write_until_full(self, data: bytes, quiet_s: float = QUIET_S) -> int:
        """Write until all is written or the pipe has no room for a while; return how many bytes were written."""
        rest = memoryview(data)
        while rest and _ready(self.stdin, select.POLLOUT, quiet_s):
            with suppress(BlockingIOError):
                rest = rest[os.write(self.stdin, rest[:65536]) :]
        return len(data) - len(rest)

    def write(self, data: bytes) -> None:
        """Write all of `data`."""
        if self.write_until_full(data, DEADLINE_S) < len(data):
            raise PeerError("nobody reads what the client writes")

    def send(self, id_: int | str, method: str, params: dict[str, Any] | None = None) -> None:
        """Send a request."""
        self.write(request(id_, method, params))

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        while b"\n" not in self._rest:
            if not _ready(self.stdout, select.POLLIN, DEADLINE_S):
                raise PeerError("no message came in time")
            chunk = os.read(self.stdout, 1 << 20)
            if not chunk:
                raise PeerError("stdout ended")
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def ids(self, count: int) -> list[object]:
        """Return the ids of the next messages, as quickly as they come."""
        found: list[object] = []
        while len(found) < count:
            found.append(self.receive().get("id"))
            *lines, self._rest = self._rest.split(b"\n")
            found += [json.loads(line).get("id") for line in lines]
        return found

    def call(self, tool: str, arguments: dict[str, Any] | None = None, id_: int | str = "call") -> str:
        """Call a tool and return the text of the answer, which is the next message but for notifications."""
        self.send(id_, "tools/call", {"name": tool, "arguments": arguments or {}})
        while (answer := self.receive()).get("id") != id_:
            assert "method" in answer
        text = answer["result"]["content"][0]["text"]
        assert isinstance(text, str)
        return text

    def wait(self) -> int:
        """Wait for the end of the process; return its status."""
        return self.process.wait(DEADLINE_S)


def request(id_: int | str, method: str, params: dict[str, Any] | None = None) -> bytes:
    """Return the line of a request."""
    message = {"jsonrpc": "2.0", "id": id_, "method": method} | ({} if params is None else {"params": params})
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _ready(fd: int, event: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, event)
    end = time.monotonic() + timeout_s
    return bool(poll.poll(max(0.0, end - time.monotonic()) * 1000))
