"""Cuts a stream of bytes into lines, never holding more of one than it may be long.

Knows LF, and nothing of what a line says.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_CLIENT_LINE_BYTES: Final = 8 * 1024 * 1024
MAX_UPSTREAM_LINE_BYTES: Final = 64 * 1024 * 1024
KEPT_BYTES: Final = 4096
"""How much of each end of an over-long line is kept: enough to find an id to answer."""


class Overlong:
    """What is kept of a line that exceeded the limit: its first and last bytes, and its length in bytes."""

    __slots__ = ("head", "length", "tail")

    def __init__(self, head: bytes, tail: bytes, length: int) -> None:
        self.head = head
        self.tail = tail
        self.length = length


class LineReader:
    """Cuts a byte stream into lines that end at LF, never holding more than one limit's worth of bytes.

    `feed` takes a chunk and gives the lines it completes, each with its LF, and `Overlong` in place of a line of more than
    `max_line_bytes` bytes (LF not counted). White-space-only lines are left out. What `pending` counts at the end of the
    stream is a line without LF: no message (MCP, stdio transport: messages are delimited by newlines).
    """

    __slots__ = ("_head", "_kept", "_max", "_skipping", "_tail", "pending")

    def __init__(self, max_line_bytes: int) -> None:
        self._max = max_line_bytes
        self._kept = bytearray()
        self._head = self._tail = b""
        self._skipping = False
        self.pending = 0

    def feed(self, chunk: bytes) -> list[bytes | Overlong]:
        """Take a chunk; give the lines that end in it."""
        if not self.pending and 0 <= chunk.find(b"\n") == len(chunk) - 1 <= self._max:
            return [] if chunk.isspace() else [chunk]
        lines: list[bytes | Overlong] = []
        start = 0
        if self.pending:
            start = chunk.find(b"\n") + 1
            self._keep(chunk[:start] if start else chunk)
            if not start:
                return lines
            lines.append(self._finish())
        end = chunk.rfind(b"\n") + 1
        if end > start:
            lines += self._cut(chunk[start:end])
        if end < len(chunk):
            self._keep(chunk[end:])
        return [line for line in lines if type(line) is Overlong or not line.isspace()]  # type: ignore[union-attr]

    def _cut(self, whole: bytes) -> list[bytes | Overlong]:
        if b"\r" not in whole and len(whole) <= self._max:
            # It holds no other line end that `splitlines` of bytes knows.
            return whole.splitlines(keepends=True)  # type: ignore[return-value]  # bytes are bytes or Overlong
        lines: list[bytes | Overlong] = []
        start = 0
        while end := whole.find(b"\n", start) + 1:
            self._keep(whole[start:end])
            lines.append(self._finish())
            start = end
        return lines

    def _keep(self, part: bytes) -> None:
        self.pending += len(part)
        if self._skipping:
            self._head += part[: KEPT_BYTES - len(self._head)]
            self._tail = (self._tail + part[-KEPT_BYTES:])[-KEPT_BYTES:]
            return
        self._kept += part
        if self.pending > self._max + 1 or (self.pending > self._max and not part.endswith(b"\n")):
            self._head, self._tail = bytes(self._kept[:KEPT_BYTES]), bytes(self._kept[-KEPT_BYTES:])
            self._kept = bytearray()
            self._skipping = True

    def _finish(self) -> bytes | Overlong:
        length, self.pending = self.pending, 0
        if self._skipping:
            self._skipping = False
            return Overlong(self._head, self._tail, length - 1)
        line = bytes(self._kept)
        self._kept = bytearray()
        return line
