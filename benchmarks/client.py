"""Talks MCP to one process over its stdio, and takes the time.

Every wait is bounded and every answer is checked, both without costing anything while the clock runs: an alarm ends a
wait that takes too long, and answers are looked at when the last of them has come.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from errors import BenchError

from mcpguard.proxy.linux import find_descendants, memory_of, title_of

EXCHANGE_TIMEOUT_S = 30
"""For one block of requests; the longest takes about a second."""

END_TIMEOUT_S = 5
PIPE_BYTES = 1 << 16
SENTENCE = 'Ward 4 asks whether "P-1001" may have a second café au lait.\n'
"""What texts are made of: like most texts, it has something to escape and something beyond ASCII."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its id: what comes before it in the line, and what after."""

    head: bytes
    tail: bytes

    @classmethod
    def of(cls, method: str, params: Mapping[str, object]) -> Request:
        """Write a request for `method`."""
        text = json.dumps(params, ensure_ascii=False, separators=(",", ":"))
        return cls(b'{"jsonrpc":"2.0","id":', f',"method":"{method}","params":{text}}}\n'.encode())

    def line(self, number: int) -> bytes:
        """Give the whole line with `number` as its id."""
        return b"%b%d%b" % (self.head, number, self.tail)


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request without its id and without a key, which follows from the id: one of `keys`."""

    request: Request
    keys: int

    @classmethod
    def of(cls, method: str, params: Mapping[str, object], keys: int) -> KeyedRequest:
        """Write a request for `method`; the key stands where the value `KEY` does."""
        return cls(Request.of(method, params), keys)

    def line(self, number: int) -> bytes:
        """Give the whole line with `number` as its id."""
        return self.request.line(number).replace(b'"KEY"', b'"c_%d"' % (number % self.keys))


INITIALIZE = Request.of(
    "initialize",
    {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "mcpguard-bench", "version": "1"}},
)
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
LIST_TOOLS = Request.of("tools/list", {})


def text_of(size_bytes: int) -> str:
    """Give a text that takes exactly `size_bytes` in a JSON line, without the quotes around it."""
    sentences, rest = divmod(size_bytes, len(json.dumps(SENTENCE, ensure_ascii=False).encode()) - 2)
    return SENTENCE * sentences + "." * rest


def call_of(text: str) -> Request:
    """Write a call of the first tool, which gives `text` back."""
    return Request.of("tools/call", {"name": "echo_0", "arguments": {"text": text}})


class Conversation:
    """A process that was just started, from its first byte to its end; to be used in a `with` statement."""

    __slots__ = ("_errors", "_last_id", "_name", "_process", "_reads", "_started_ns", "_writes")

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], errors: Path) -> None:
        """Start `command` for the contender `name`; what it writes to stderr goes to the file `errors`."""
        self._name = name
        self._errors = errors
        self._last_id = 0
        self._started_ns = time.perf_counter_ns()
        with errors.open("wb") as stderr:
            # A session of its own, so that the whole tree can be ended and Ctrl-C is ours alone.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                env=environment,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._writes = self._process.stdin.fileno()
        self._reads = self._process.stdout.fileno()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_TIMEOUT_S if error is None else 0)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(END_TIMEOUT_S)
        self._process.stdout.close()

    def open(self) -> float:
        """Do the handshake; give the time from the start of the process to its answer."""
        taken_ns = self._find_answer(INITIALIZE) - self._started_ns
        with self._deadline():
            self._write(INITIALIZED)
        return taken_ns

    def age_ns(self) -> float:
        """Give the time since the process was started."""
        return time.perf_counter_ns() - self._started_ns

    def check_echo(self, text: str) -> None:
        """Send `text`, and see that it comes back.

        Raises:
            BenchError: something else comes back.
        """
        line, _ = self._exchange_once(call_of(text))
        content = self._result(line, self._last_id).get("content")
        if content != [{"type": "text", "text": text}]:
            raise BenchError(f"{self._name}: a text of {len(text.encode())} bytes came back changed")

    def check_call(self, request: Request | KeyedRequest) -> None:
        """Make a call, and see that it is answered.

        Raises:
            BenchError: it is refused.
        """
        self.times_ns(request, 1)

    def list_once(self) -> None:
        """Ask for the tools, however many they are."""
        self._find_answer(LIST_TOOLS)

    def check_list(self, tools: int) -> None:
        """Ask for the tools, and see that they are that many.

        Raises:
            BenchError: they are more or fewer.
        """
        line, _ = self._exchange_once(LIST_TOOLS)
        items = self._result(line, self._last_id).get("tools")
        if not isinstance(items, list) or len(items) != tools:
            raise BenchError(f"{self._name}: tools/list does not have {tools} tools")

    def times_ns(self, request: Request | KeyedRequest, count: int) -> list[float]:
        """Send `request` that often, each time when the last answer has come; give how long each answer took."""
        first = self._last_id + 1
        with self._deadline():
            exchanges = [self._exchange(request) for _ in range(count)]
        for number, (line, _) in enumerate(exchanges, first):
            self._result(line, number)
        return [taken_ns for _, taken_ns in exchanges]

    def per_second(self, request: Request | KeyedRequest, count: int, in_flight: int) -> float:
        """Send `request` that often, always `in_flight` at once; give how many were answered per second.

        INVARIANT: all requests in flight, and all their answers, fit into a pipe, so writing never waits for reading.
        """
        first = self._last_id + 1
        self._last_id += count
        lines = [request.line(number) for number in range(first, first + count)]
        assert 2 * in_flight * len(lines[-1]) < PIPE_BYTES
        chunks = []
        answered, sent = 0, min(in_flight, count)
        with self._deadline():
            begin_ns = time.perf_counter_ns()
            self._write(b"".join(lines[:sent]))
            while answered < count:
                chunk = self._read()
                chunks.append(chunk)
                complete = chunk.count(b"\n")
                answered += complete
                if due := lines[sent : sent + complete]:
                    self._write(b"".join(due))
                    sent += len(due)
            taken_ns = time.perf_counter_ns() - begin_ns
        seen = set()
        for line in b"".join(chunks).splitlines():
            number = _id(line)
            self._result(line, number)
            seen.add(number)
        if answered != count or seen != set(range(first, first + count)):
            raise BenchError(f"{self._name}: of {count} calls in flight, answers are lost or come twice")
        return count * 1e9 / taken_ns

    def pss_bytes(self) -> int | None:
        """Give the memory of the process and of a guard's supervisor, without the server; None where the system does not say."""
        guard = self._process.pid
        supervisors = [pid for pid in find_descendants(guard) if title_of(pid) == "mcpg-supervisor"]
        kind, size = memory_of([guard, *supervisors]) or ("", 0)
        return size if kind == "pss" else None

    def _find_answer(self, request: Request) -> int:
        """Send a request once to a server that may say other things, too; give the time when its answer was found."""
        self._last_id += 1
        rest = b""
        with self._deadline():
            self._write(request.line(self._last_id))
            while True:
                *lines, rest = (rest + self._read()).split(b"\n")
                for line in lines:
                    if _id(line) == self._last_id:
                        found_ns = time.perf_counter_ns()
                        self._result(line, self._last_id)
                        return found_ns

    def _exchange_once(self, request: Request) -> tuple[bytes, int]:
        with self._deadline():
            return self._exchange(request)

    def _exchange(self, request: Request | KeyedRequest) -> tuple[bytes, int]:
        self._last_id += 1
        line = request.line(self._last_id)
        begin_ns = time.perf_counter_ns()
        self._write(line)
        answer = self._read()
        if not answer.endswith(b"\n"):
            chunks = [answer]
            while not chunks[-1].endswith(b"\n"):
                chunks.append(self._read())
            answer = b"".join(chunks)
        return answer, time.perf_counter_ns() - begin_ns

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._writes, data)
            while written < len(data):
                data = data[written:]
                written = os.write(self._writes, data)
        except BrokenPipeError as error:
            raise self._gone() from error

    def _read(self) -> bytes:
        chunk = os.read(self._reads, PIPE_BYTES)
        if not chunk:
            raise self._gone()
        return chunk

    def _result(self, line: bytes, number: int) -> dict[str, object]:
        answer = _parsed(line)
        result = answer.get("result")
        # The type counts as well: True == 1.
        if type(answer.get("id")) is not int or answer["id"] != number or not isinstance(result, dict):
            raise BenchError(f"{self._name}: request {number} was answered with {line[:200]!r}")
        if result.get("isError", False) is not False:
            raise BenchError(f"{self._name}: call {number} was refused: {line[:200]!r}")
        return result

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        def expire(_number: int, _frame: FrameType | None) -> None:
            raise BenchError(f"{self._name}: no answer within {EXCHANGE_TIMEOUT_S} s{self._last_words()}")

        before = signal.signal(signal.SIGALRM, expire)
        signal.alarm(EXCHANGE_TIMEOUT_S)
        try:
            yield
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    def _gone(self) -> BenchError:
        return BenchError(f"{self._name}: it has ended{self._last_words()}")

    def _last_words(self) -> str:
        words = self._errors.read_text(errors="replace").strip()
        return f"; its stderr ends with: {words[-500:]}" if words else ""


def _id(line: bytes) -> int:
    number = _parsed(line).get("id")
    return number if type(number) is int else 0


def _parsed(line: bytes) -> dict[str, object]:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    return message if isinstance(message, dict) else {}
