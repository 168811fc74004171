"""Cuts streams of bytes into chunks in every way: the lines are always the same, and no more is kept of them than promised."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fuzz.fuzzing import examples, smallest
from fuzz.lines import any_line
from mcpguard.protocol.framing import KEPT_BYTES, LineReader, Overlong

if TYPE_CHECKING:
    from random import Random

    Line: TypeAlias = bytes | tuple[bytes, bytes, int]

LIMITS = (0, 1, 8, 100, 5000, 8192)
PARTS = (
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b" ",
    b"\t",
    b"\x0b\x0c",
    b"\x00",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"{}",
    b"12345678",
    b"\xff",
)


def test_lines_are_the_same_however_they_arrive_and_little_is_kept_of_them() -> None:
    for random in examples(2000):
        limit = random.choice(LIMITS)
        chunks = cut(stream(random), random)
        if problem(chunks, limit):
            chunks = smallest(chunks, lambda some, limit=limit: bool(problem(some, limit)))  # type: ignore[misc]
            pytest.fail(f"LineReader({limit}), fed {chunks!r}: {problem(chunks, limit)}")


def stream(random: Random) -> bytes:
    """Write something to be cut: messages whole and damaged, white space, runs about as long as the limits."""
    parts: list[bytes] = []
    for _ in range(random.randrange(12)):
        match random.randrange(4):
            case 0:
                parts.append(any_line(random, "client", []))
            case 1:
                parts.append(random.choice((b"x", b" ", b"\r")) * (random.choice(LIMITS) + random.randrange(-2, 3)))
            case 2:
                parts.append(random.randbytes(random.randrange(20)))
            case _:
                parts += random.choices(PARTS, k=random.randrange(6))
    return b"".join(parts)


def cut(data: bytes, random: Random) -> list[bytes]:
    """Cut data into chunks, some of which are empty."""
    size = random.choice((1, 2, 7, 100, 4096, 10_000))
    if size == 1:
        data = data[:2000]
    chunks, at = [], 0
    while at < len(data):
        step = random.randrange(2 * size)
        chunks.append(data[at : at + step])
        at += step
    return chunks


def problem(chunks: list[bytes], limit: int) -> str:
    """Say what is wrong with what comes of these chunks; empty if nothing."""
    reader, data, fed = LineReader(limit), b"".join(chunks), 0
    wanted = expected(data, limit)
    due = [end for end, _ in wanted]
    given: list[Line] = []
    for chunk in chunks:
        fed += len(chunk)
        given += [shown(line) for line in reader.feed(chunk)]
        if len(given) != bisect_right(due, fed):
            return f"gives {len(given)} lines after {fed} bytes"
        kept = len(reader._kept) + len(reader._head) + len(reader._tail)
        if kept > limit + 1 + 2 * KEPT_BYTES:
            return f"{kept} bytes are kept"
        if reader.pending != fed - data.rfind(b"\n", 0, fed) - 1:
            return f"{reader.pending} bytes are pending after {fed}"
    return "" if given == [line for _, line in wanted] else f"gives {given!r}"


def expected(data: bytes, limit: int) -> list[tuple[int, Line]]:
    """Find the lines of a whole stream, the plain way, each with the place where it ends."""
    lines: list[tuple[int, Line]] = []
    end = 0
    for text in data.split(b"\n")[:-1]:
        line = text + b"\n"
        end += len(line)
        if len(text) > limit:
            lines.append((end, (line[:KEPT_BYTES], line[-KEPT_BYTES:], len(text))))
        elif text.strip(b" \t\n\r\x0b\x0c"):
            lines.append((end, line))
    return lines


def shown(line: bytes | Overlong) -> Line:
    return (line.head, line.tail, line.length) if isinstance(line, Overlong) else line
