"""Talks to a server as a client does, in bytes, one request at a time, and takes the time of every answer.

Knows pipes and lines, and of MCP only how a session is opened.  Knows nothing of what is compared: a server behind a guard is a server.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import jiter

from mcpguard.errors import GuardError
from mcpguard.proxy.upstream import start
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

MODERN: Final = "2026-07-28"
HANDSHAKE: Final = "2025-11-25"
"""What is offered in `initialize`; servers answer with what they have."""
EOF_GRACE_S: Final = 1.5
"""How long what was started may take to end once its input has ended."""
MOST_LINE_BYTES: Final = 64 * 1024 * 1024
_SUPERVISOR_S: Final = 15.0
_LAST_WORDS_S: Final = 0.5
_FLOOD_S: Final = 0.2
"""How long somebody is listened to who does not stop, when patience has ended."""
_LAST_LINES: Final = 3
_LAST_BYTES: Final = 4096
_MOST_LAST_LINES: Final = 1000
_SHOWN: Final = 300
_PIPE_BYTES: Final = 1 << 16


class StopwatchError(GuardError):
    """A server did not do its part."""


class EndedError(StopwatchError):
    """A server ended, or closed its end, before it had answered."""


class Request:
    """One request, without the id that each sending of it gets."""

    __slots__ = ("_tail", "method")

    def __init__(self, method: str, params: Mapping[str, object], *, modern: bool = False) -> None:
        """Write a request; a `modern` one carries its revision along, as every one does from 2026-07-28 on."""
        self.method = method
        text = json.dumps(dict(params) | ({"_meta": _META} if modern else {}), separators=(",", ":"))
        self._tail = f',"method":{json.dumps(method)},"params":{text}}}\n'.encode()

    def line(self, number: int) -> bytes:
        """Give the line with `number` as its id."""
        return b'{"jsonrpc":"2.0","id":%d%b' % (number, self._tail)


_WHO: Final = {"name": "mcpguard-bench", "version": "1"}
_META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": _WHO,
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE: Final = Request("initialize", {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": dict(_WHO)})
DISCOVER: Final = Request("server/discover", {}, modern=True)
INITIALIZED: Final = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'


class Answer:
    """One answer: the whole message, and how long after its request, and after the start of the process, it had come."""

    __slots__ = ("age_ns", "message", "took_ns")

    def __init__(self, message: dict[str, Any], took_ns: int, age_ns: int) -> None:
        self.message = message
        self.took_ns = took_ns
        self.age_ns = age_ns

    @property
    def result(self) -> dict[str, Any] | None:
        """The result, or None for an error."""
        result = self.message.get("result")
        return result if isinstance(result, dict) else None

    @property
    def problem(self) -> str:
        """What an error says, safe to print; empty for a result."""
        error = self.message.get("error")
        said = error.get("message") if isinstance(error, dict) else None
        return "" if self.result is not None else _short(str(said or "an answer without a result"))


class Conversation:
    """A process that is started here and ended here, with all that it has started; to be used in a `with` statement.

    `name` is what errors call it.  Every wait ends after `timeout_s` seconds; while one lasts, `waiting` is told about once a second
    for how long already.
    """

    __slots__ = (
        "_eof_grace_s",
        "_hears",
        "_last_id",
        "_name",
        "_poll",
        "_rest",
        "_said",
        "_started_ns",
        "_timeout_s",
        "_upstream",
        "_waiting",
    )

    def __init__(
        self,
        command: Sequence[str],
        name: str,
        timeout_s: float,
        *,
        eof_grace_s: float = EOF_GRACE_S,
        waiting: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Start `command`.

        Raises:
            CommandNotFoundError: there is no such command.
            CommandNotExecutableError: it cannot be executed.
        """
        self._name = name
        self._timeout_s = timeout_s
        self._eof_grace_s = eof_grace_s
        self._waiting = waiting
        self._last_id = 0
        self._rest: list[bytes] = []
        self._said = b""
        self._hears = True
        self._started_ns = time.perf_counter_ns()
        self._upstream = start(command)
        self._poll = select.poll()
        for fd in (self._upstream.stdout_fd, self._upstream.stderr_fd, self._upstream.report_fd):
            self._poll.register(fd, select.POLLIN)
        try:
            self._upstream.confirm_start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(patient=error is None)

    @property
    def pid(self) -> int:
        """The pid of the process that was started."""
        return self._upstream.pid

    def ask(self, request: Request) -> Answer:
        """Send a request and wait for its answer; what else comes is passed over.

        Raises:
            EndedError: there will be no answer.
            StopwatchError: there was none in time.
        """
        self._last_id += 1
        wanted = self._last_id
        line = request.line(wanted)
        begin_ns = time.perf_counter_ns()
        self._write(line, begin_ns)
        while True:
            lines, come_ns = self._read(request.method, begin_ns)
            answer = None
            for message in filter(None, map(_parsed, lines)):
                if "method" in message:
                    self._oblige(message, come_ns)
                # The type counts as well: True == 1.
                elif type(message.get("id")) is int and message["id"] == wanted:
                    answer = Answer(message, come_ns - begin_ns, come_ns - self._started_ns)
            if answer is not None:
                return answer

    def tell(self, line: bytes) -> None:
        """Send a line that has no answer."""
        self._write(line, time.perf_counter_ns())

    def close(self, *, patient: bool = True) -> None:
        """End the process and its whole tree: by the end of its input, and whoever does not go by that by force."""
        upstream = self._upstream
        os.close(upstream.stdin_fd)
        try:
            self._drain(self._eof_grace_s if patient else 0, lambda: upstream.status is not None or upstream.is_lost)
        finally:
            upstream.let_go()
            self._drain(_SUPERVISOR_S, lambda: upstream.report_fd < 0)
            if upstream.report_fd < 0:
                os.waitpid(upstream.supervisor, 0)
            else:
                os.close(upstream.report_fd)
            os.close(upstream.stdout_fd)
            os.close(upstream.stderr_fd)

    def _write(self, data: bytes, begin_ns: int) -> None:
        written = 0
        while True:
            try:
                written += os.write(self._upstream.stdin_fd, data[written:] if written else data)
            except BlockingIOError:
                pass
            except OSError:
                self._refuse_gone()
            if written == len(data):
                return
            poll = select.poll()
            poll.register(self._upstream.stdin_fd, select.POLLOUT)
            if self._hears:
                poll.register(self._upstream.stderr_fd, select.POLLIN)
            for fd, _ in poll.poll(self._left_ms(begin_ns, "reading a message")):
                if fd == self._upstream.stderr_fd:
                    self._hear()

    def _read(self, method: str, begin_ns: int) -> tuple[list[bytes], int]:
        """Wait until at least one line is whole; give all that are, and when the last of them was."""
        upstream = self._upstream
        while upstream.status is None and not upstream.is_lost:
            events = self._poll.poll(self._left_ms(begin_ns, f"answering `{method}`"))
            if not events:
                self._waiting((time.perf_counter_ns() - begin_ns) / 1e9)
            for fd, _ in events:
                if fd == upstream.stdout_fd:
                    chunk = os.read(fd, _PIPE_BYTES)
                    come_ns = time.perf_counter_ns()
                    if not chunk:
                        self._refuse_gone()
                    lines = self._cut(chunk)
                    if lines:
                        return lines, come_ns
                elif fd == upstream.stderr_fd:
                    self._hear()
                else:
                    upstream.collect()
        # What it has written last may still be in the pipe, and an heir may hold that open for good, or go on writing.
        self._left_ms(begin_ns, f"answering `{method}`")
        lines = self._what_is_left()
        if not lines:
            self._refuse_gone()
        return lines, time.perf_counter_ns()

    def _cut(self, chunk: bytes) -> list[bytes]:
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            self._rest.append(head)
            lines = b"".join(self._rest).split(b"\n")
            self._rest = [tail] if tail else []
            return lines
        self._rest.append(chunk)
        if sum(map(len, self._rest)) > MOST_LINE_BYTES:
            raise StopwatchError(f"{self._name} wrote a line of more than {MOST_LINE_BYTES >> 20} MiB", self._hint())
        return []

    def _what_is_left(self) -> list[bytes]:
        os.set_blocking(self._upstream.stdout_fd, False)
        lines: list[bytes] = []
        try:
            while len(lines) < _MOST_LAST_LINES and (chunk := os.read(self._upstream.stdout_fd, _PIPE_BYTES)):
                lines += self._cut(chunk)
        except BlockingIOError:
            pass
        return lines

    def _oblige(self, message: dict[str, Any], now_ns: int) -> None:
        """Answer what the server asks of us: we are there, and have declared that we can do nothing else."""
        if "id" not in message:
            return
        answer: dict[str, object] = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        self._write(json.dumps(answer, separators=(",", ":")).encode() + b"\n", now_ns)

    def _left_ms(self, begin_ns: int, doing: str) -> float:
        left_s = self._timeout_s - (time.perf_counter_ns() - begin_ns) / 1e9
        if left_s <= 0:
            raise StopwatchError(
                f"{self._name} took longer than {self._timeout_s:g} s for {doing}",
                self._hint() or "a server that needs longer can have it: --timeout SECONDS",
            )
        return min(left_s, 1.0) * 1000 + 1

    def _hear(self) -> bool:
        """Keep the last of what comes on stderr; False if nothing will come any more."""
        part = os.read(self._upstream.stderr_fd, _PIPE_BYTES)
        self._said = (self._said + part)[-_LAST_BYTES:]
        if not part and self._hears:
            self._hears = False
            self._poll.unregister(self._upstream.stderr_fd)
        return bool(part)

    def _refuse_gone(self) -> NoReturn:
        upstream = self._upstream
        self._drain(_LAST_WORDS_S, lambda: upstream.status is not None or upstream.is_lost)
        self._drain(0, lambda: False)  # what it has said while it ended
        if upstream.status is None:
            what = "closed its input or output"
        elif upstream.status > 128:
            what = f"was ended by signal {upstream.status - 128}"
        else:
            what = f"ended with status {upstream.status}"
        raise EndedError(f"{self._name} {what} before it had answered", self._hint())

    def _drain(self, patience_s: float, done: Callable[[], bool]) -> None:
        """Take whatever comes, so that nobody waits for us to read it, until `done` or out of patience."""
        upstream = self._upstream
        poll = select.poll()
        for fd in (upstream.stdout_fd, upstream.stderr_fd, upstream.report_fd):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        end = time.monotonic() + patience_s
        while not done():
            left_s = end - time.monotonic()
            events = poll.poll(max(left_s, 0) * 1000)
            if left_s < -_FLOOD_S or (left_s <= 0 and not events):
                return
            for fd, _ in events:
                if fd == upstream.report_fd:
                    upstream.collect()
                    ended = upstream.report_fd < 0
                elif fd == upstream.stderr_fd:
                    ended = not self._hear()
                else:
                    ended = not os.read(fd, _PIPE_BYTES)
                if ended:
                    poll.unregister(fd)

    def _hint(self) -> str:
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines() if line.strip()]
        return f"its last words: {' | '.join(map(_short, lines[-_LAST_LINES:]))}" if lines else ""


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Read a line; None for noise, which some servers write to stdout."""
    try:
        message = jiter.from_json(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
