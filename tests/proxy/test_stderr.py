"""Stderr: passed on, and never waited for."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from mcpguard.proxy.stderr import Stderr

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S = 20.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        try:
            os.close(fd)
        except OSError:
            pass


def drain(fd: int) -> bytes:
    """Read what is in a pipe right now."""
    os.set_blocking(fd, False)
    data = b""
    try:
        while chunk := os.read(fd, 1 << 20):
            data += chunk
    except BlockingIOError:
        pass
    return data


def feed(stderr: Stderr, data: bytes) -> list[str]:
    """Let `stderr` pass `data` on, as if a server had written it; return what was said of its first byte."""
    read, write = os.pipe()
    events: list[str] = []

    def write_all() -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(write, rest) :]
        os.close(write)

    writer = threading.Thread(target=write_all)
    writer.start()
    stderr.pass_on(read, lambda: events.append("alive"))
    writer.join(DEADLINE_S)
    os.close(read)
    return events


def test_our_own_words_are_one_line_each(pipe: tuple[int, int]) -> None:
    stderr = Stderr(pipe[1])
    stderr.say("one")
    stderr.say("caf\u00e9 \udce9")
    assert drain(pipe[0]) == "mcpguard: one\nmcpguard: caf\u00e9 \\udce9\n".encode()


def test_bytes_are_passed_on_as_they_are_and_the_first_is_a_sign_of_life(pipe: tuple[int, int]) -> None:
    data = bytes(range(256)) * 100
    assert feed(Stderr(pipe[1]), data) == ["alive"]
    assert drain(pipe[0]) == data


def test_a_server_that_says_nothing_gives_no_sign(pipe: tuple[int, int]) -> None:
    assert feed(Stderr(pipe[1]), b"") == []


def test_what_nobody_reads_is_dropped_and_counted(pipe: tuple[int, int]) -> None:
    stderr = Stderr(pipe[1])
    flood = b"e" * 5_000_000
    feed(stderr, flood)
    kept = drain(pipe[0])
    assert flood.startswith(kept)
    assert stderr.dropped == len(flood) - len(kept)
    stderr.say("still here")
    assert drain(pipe[0]) == (
        b"\nmcpguard: %d bytes of stderr were dropped: nobody read them\nmcpguard: still here\n" % stderr.dropped
    )


def test_a_reader_who_is_back_at_the_end_is_told_how_much_was_dropped(pipe: tuple[int, int]) -> None:
    stderr = Stderr(pipe[1])
    feed(stderr, b"e" * 5_000_000)
    assert set(drain(pipe[0])) == set(b"e"), "nobody could be told yet"
    feed(stderr, b"")
    assert drain(pipe[0]) == b"\nmcpguard: %d bytes of stderr were dropped: nobody read them\n" % stderr.dropped
    stderr.say("still here")
    assert drain(pipe[0]) == b"mcpguard: still here\n"


def test_a_reader_that_leaves_does_no_harm(pipe: tuple[int, int]) -> None:
    stderr = Stderr(pipe[1])
    os.close(pipe[0])
    stderr.say("anybody?")
    feed(stderr, b"x" * 100_000)
    assert stderr.dropped == len("mcpguard: anybody?\n") + 100_000
