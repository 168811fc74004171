"""Talks to a process over stdio line by line, as a client that trusts nothing would.

Knows JSON-RPC ids and lines, and no MCP beyond the handshake.  Every wait ends: with what was asked for, or with a
`PeerError` that shows what came instead.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import threading
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from support.processes import kill_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

Message: TypeAlias = dict[str, Any]
"""One JSON object of the wire.  Tests look into it freely, so its values are not typed."""

FIRST_REPLY_S = 60.0
"""How long a server may take to boot and answer, on a machine that does other things too."""

REPLY_S = 20.0
EXIT_S = 15.0
_SHOWN = 40
_Found = TypeVar("_Found")


class PeerError(AssertionError):
    """The process did not do in time what a test waits for."""


class StdioPeer:
    r"""A process and the client's end of its three pipes.

    ```python
    with StdioPeer(argv) as peer:
        peer.initialize()
        answer = peer.request("tools/list")
        peer.close_stdin()
        assert peer.wait() == 0
    ```

    `env` is the whole environment, as for `subprocess`.  `lines` holds every line received, `noise` those that are
    not a JSON object; both keep a line's bytes without the `\n`.  Sending never blocks: what the process does not read
    waits here.  Leaving the `with` block kills the process and everything that descends from it.
    """

    def __init__(
        self, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.lines: list[bytes] = []
        self.noise: list[bytes] = []
        self._argv = [str(word) for word in argv]
        self._fresh: list[Message] = []
        self._stderr = bytearray()
        self._open = {"stdout", "stderr"}
        self._changed = threading.Condition()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._next_id = 1001
        self._process = subprocess.Popen(
            self._argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        pumps = (self._write_stdin, self._read_stdout, self._read_stderr)
        self._threads = [threading.Thread(target=pump, daemon=True) for pump in pumps]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        """Use the peer; the process runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Kill whatever still runs and let go of the pipes."""
        self.close()

    @property
    def pid(self) -> int:
        """The process id, which is also that of its process group."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal, or None while the process runs."""
        return self._process.poll()

    def send(self, message: Mapping[str, object] | bytes) -> None:
        r"""Send one line: a JSON object with its `jsonrpc` member added, or the bytes as they are.

        Bytes get no `\n`: a test that sends bytes decides where lines end.
        """
        if not isinstance(message, bytes):
            text = json.dumps({"jsonrpc": "2.0"} | dict(message), ensure_ascii=False, separators=(",", ":"))
            message = text.encode() + b"\n"
        self._outbox.put(message)

    def expect(
        self, wanted: Callable[[Message], bool], deadline_s: float = REPLY_S, what: str = "a message"
    ) -> Message:
        """Wait for a message for which `wanted` holds, take it out of those received, and return it.

        Others stay for later calls, in their order.
        """

        def look() -> Message | None:
            for position, message in enumerate(self._fresh):
                if wanted(message):
                    return self._fresh.pop(position)
            return None

        return self._wait_for(look, "stdout", deadline_s, what)

    def receive(
        self,
        *,
        id: str | int | None = None,  # noqa: A002 - as on the wire
        method: str | None = None,
        deadline_s: float = REPLY_S,
    ) -> Message:
        """Wait for the answer to `id` (equal in type and value), or for the request or notification `method`.

        With neither, for the next message of any kind.
        """
        if id is not None:
            return self.expect(lambda message: _answers(message, id), deadline_s, f"the answer to id {id!r}")
        if method is not None:
            return self.expect(lambda message: message.get("method") == method, deadline_s, f"`{method}`")
        return self.expect(lambda _: True, deadline_s)

    def request(
        self, method: str, params: Mapping[str, object] | None = None, *, deadline_s: float = REPLY_S
    ) -> Message:
        """Send a request under an id of its own, from 1001 upwards, and return the whole answer."""
        number = self.post(method, params)
        return self.receive(id=number, deadline_s=deadline_s)

    def post(self, method: str, params: Mapping[str, object] | None = None) -> int:
        """Send a request without waiting for the answer, and return its id."""
        number, self._next_id = self._next_id, self._next_id + 1
        self.send({"id": number, "method": method} | ({} if params is None else {"params": params}))
        return number

    def notify(self, method: str, params: Mapping[str, object] | None = None) -> None:
        """Send a notification."""
        self.send({"method": method} | ({} if params is None else {"params": params}))

    def initialize(
        self,
        *,
        version: str = "2025-11-25",
        capabilities: Mapping[str, object] | None = None,
        deadline_s: float = FIRST_REPLY_S,
    ) -> Message:
        """Do the handshake of the revisions up to 2025-11-25 and return the server's answer to `initialize`."""
        info = {"name": "raw-peer", "version": "1"}
        params = {"protocolVersion": version, "capabilities": dict(capabilities or {}), "clientInfo": info}
        answer = self.request("initialize", params, deadline_s=deadline_s)
        self.notify("notifications/initialized")
        return answer

    def call(self, tool: str, arguments: Mapping[str, object] | None = None, *, deadline_s: float = REPLY_S) -> Message:
        """Call a tool and return the whole answer."""
        return self.request("tools/call", {"name": tool, "arguments": dict(arguments or {})}, deadline_s=deadline_s)

    def drain(self) -> list[Message]:
        """Take every message that has arrived and that nobody took; after `wait()` these are all there will be."""
        with self._changed:
            taken, self._fresh = self._fresh, []
            return taken

    def close_stdin(self) -> None:
        """Let the process see the end of its input, after everything sent before."""
        self._outbox.put(None)

    def wait(self, deadline_s: float = EXIT_S) -> int:
        """Wait until the process has ended and its stdout and stderr are read to their ends; return its status."""
        end = time.monotonic() + deadline_s
        try:
            status = self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise PeerError(self._report(f"the process still runs after {deadline_s} s")) from None
        with self._changed:
            if not self._changed.wait_for(lambda: not self._open, max(0.0, end - time.monotonic())):
                held = " and ".join(sorted(self._open))
                raise PeerError(self._report(f"the process ended, and something still holds its {held} open"))
        return status

    def signal(self, number: int) -> None:
        """Send a signal to the process alone, not to its group."""
        self._process.send_signal(number)

    def stderr_text(self) -> str:
        """Return what the process wrote to stderr so far."""
        with self._changed:
            return self._stderr.decode(errors="replace")

    def expect_stderr(self, text: str, deadline_s: float = REPLY_S) -> str:
        """Wait until stderr holds `text`; return all of stderr so far."""
        wanted = text.encode()
        self._wait_for(lambda: wanted in self._stderr or None, "stderr", deadline_s, f"stderr with {text!r}")
        return self.stderr_text()

    def close(self) -> None:
        """Kill what still runs.  Harmless when done twice."""
        kill_tree(self.pid)
        self._outbox.put(None)
        self._process.wait(EXIT_S)
        for thread in self._threads:
            thread.join(EXIT_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None and not any(thread.is_alive() for thread in self._threads):
                pipe.close()

    def _wait_for(self, look: Callable[[], _Found | None], stream: str, deadline_s: float, what: str) -> _Found:
        end = time.monotonic() + deadline_s
        with self._changed:
            while True:
                ended = stream not in self._open
                if (found := look()) is not None:
                    return found
                if ended:
                    raise PeerError(self._report(f"{stream} ended before {what} came"))
                if not self._changed.wait(max(0.0, end - time.monotonic())):
                    raise PeerError(self._report(f"{what} did not come within {deadline_s} s"))

    def _report(self, problem: str) -> str:
        """Say what happened instead; the condition's lock is held."""
        shown = [_shortened(line) for line in self.lines[-_SHOWN:]]
        hidden = [f"... {len(self.lines) - _SHOWN} earlier lines"] if len(self.lines) > _SHOWN else []
        said = self._stderr[-2000:].decode(errors="replace").splitlines()
        status = "still running" if self.status is None else f"ended with status {self.status}"
        command = f"{problem}; `{shlex.join(self._argv)}` is {status}"
        return "\n".join([command, "stdout:", *_indented(hidden + shown), "stderr:", *_indented(said)])

    def _write_stdin(self) -> None:
        pipe = _opened(self._process.stdin)
        with suppress(OSError):
            while (data := self._outbox.get()) is not None:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(pipe.fileno(), rest) :]
        with suppress(OSError):
            pipe.close()

    def _read_stdout(self) -> None:
        rest = bytearray()
        for chunk in _chunks(_opened(self._process.stdout)):
            rest += chunk
            if b"\n" in chunk:
                *lines, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
                self._take(lines)
        self._take([bytes(rest)] if rest else [])
        self._end("stdout")

    def _read_stderr(self) -> None:
        for chunk in _chunks(_opened(self._process.stderr)):
            with self._changed:
                self._stderr += chunk
                self._changed.notify_all()
        self._end("stderr")

    def _take(self, lines: Sequence[bytes]) -> None:
        parsed = [(line, _parsed(line)) for line in lines]
        with self._changed:
            for line, message in parsed:
                self.lines.append(line)
                if message is None:
                    self.noise.append(line)
                else:
                    self._fresh.append(message)
            self._changed.notify_all()

    def _end(self, stream: str) -> None:
        with self._changed:
            self._open.discard(stream)
            self._changed.notify_all()


def _answers(message: Message, id_: str | int) -> bool:
    given = message.get("id")
    return "method" not in message and given == id_ and type(given) is type(id_)


def _parsed(line: bytes) -> Message | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _chunks(pipe: IO[bytes]) -> Iterator[bytes]:
    while chunk := os.read(pipe.fileno(), 1 << 16):
        yield chunk


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        problem = "the process was started without this pipe"
        raise PeerError(problem)
    return pipe


def _shortened(line: bytes, most: int = 300) -> str:
    text = line[:most].decode(errors="backslashreplace")
    return text if len(line) <= most else f"{text}... ({len(line)} bytes)"


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines] or ["  (nothing)"]
