"""The way to one side, which never makes the other side wait."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

from mcpguard.proxy.outlet import MAX_BUFFERED_BYTES, MAX_BUFFERED_MESSAGES, Outlet, is_writable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 20.0


class Ends(Protocol):
    """Gives the reading and the writing end of something."""

    def __call__(self) -> tuple[int, int]: ...


def pipe_ends() -> tuple[int, int]:
    return os.pipe()


def non_blocking_pipe_ends() -> tuple[int, int]:
    read, write = os.pipe()
    os.set_blocking(write, False)
    return read, write


def socket_ends() -> tuple[int, int]:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def unopenable_pipe_ends() -> tuple[int, int]:
    return os.pipe()


KINDS = {"a pipe": pipe_ends, "a non-blocking pipe": non_blocking_pipe_ends, "a socket": socket_ends}


@pytest.fixture(params=[*KINDS.values(), unopenable_pipe_ends], ids=[*KINDS, "a pipe that cannot be opened anew"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    if request.param is unopenable_pipe_ends:
        monkeypatch.setattr(os, "open", _refuse)
    read, write = request.param()
    with ExitStack() as stack:
        for fd in (read, write):
            stack.callback(_close, fd)
        yield read, write


def _refuse(*_: object) -> int:
    raise PermissionError(errno.EACCES, "Permission denied")


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass


def read_exactly(fd: int, count: int) -> bytes:
    data = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while len(data) < count:
        assert poll.poll(DEADLINE_S * 1000), "nothing came"
        chunk = os.read(fd, min(1 << 20, count - len(data)))
        assert chunk, "ended"
        data += chunk
    return data


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_what_is_sent_arrives_at_once(ends: tuple[int, int]) -> None:
    outlet = Outlet(ends[1])
    outlet.send(b"one\n", "a")
    outlet.send(b"two\n", "b")
    assert read_exactly(ends[0], 8) == b"one\ntwo\n"
    assert outlet.close(DEADLINE_S)


def test_sending_never_waits_and_order_is_kept(ends: tuple[int, int]) -> None:
    outlet = Outlet(ends[1])
    lines = [b"%06d" % number + b"x" * 1000 + b"\n" for number in range(5000)]
    for line in lines:
        outlet.send(line, "a")
    whole = b"".join(lines)
    assert read_exactly(ends[0], len(whole)) == whole
    assert outlet.close(DEADLINE_S)


@pytest.mark.parametrize("size", [4096, 4097, 65_536, 65_537, 1 << 20, 3_000_000])
def test_one_message_larger_than_any_pipe_arrives_whole(ends: tuple[int, int], size: int) -> None:
    outlet = Outlet(ends[1])
    data = bytes(range(256)) * (size // 256) + b"e" * (size % 256)
    outlet.send(data, "a")
    assert read_exactly(ends[0], size) == data


def test_the_flags_of_a_descriptor_that_others_share_stay_as_they_are() -> None:
    for make in (pipe_ends, socket_ends):
        read, write = make()
        outlet = Outlet(write)
        outlet.send(b"x" * (1 << 20), "a")
        assert os.get_blocking(write)
        outlet.close(0)
        os.close(read)
        os.close(write)


def test_who_sends_too_much_waits_until_there_is_room_and_others_do_not(ends: tuple[int, int]) -> None:
    outlet = Outlet(ends[1])
    flood = b"f" * (MAX_BUFFERED_BYTES + (1 << 20))
    outlet.send(flood, "flooding")
    waiting = in_thread(lambda: outlet.wait_for_room("flooding"))
    outlet.send(b"x", "other")
    outlet.wait_for_room("other")
    assert waiting.is_alive()
    assert read_exactly(ends[0], len(flood) + 1) == flood + b"x"
    waiting.join(DEADLINE_S)
    assert not waiting.is_alive()


def test_many_small_messages_are_too_much_as_well(ends: tuple[int, int]) -> None:
    outlet = Outlet(ends[1])
    outlet.send(b"x" * (1 << 20), "a")
    outlet.wait_for_room("a")
    outlet.send(b"y" * MAX_BUFFERED_MESSAGES, "a", MAX_BUFFERED_MESSAGES)
    waiting = in_thread(lambda: outlet.wait_for_room("a"))
    read_exactly(ends[0], (1 << 20) + MAX_BUFFERED_MESSAGES)
    waiting.join(DEADLINE_S)
    assert not waiting.is_alive()


def test_a_reader_that_leaves_is_told_and_frees_who_waits(ends: tuple[int, int]) -> None:
    told = threading.Event()
    outlet = Outlet(ends[1], told.set)
    outlet.send(b"f" * (MAX_BUFFERED_BYTES * 2), "a")
    waiting = in_thread(lambda: outlet.wait_for_room("a"))
    os.close(ends[0])
    assert told.wait(DEADLINE_S)
    waiting.join(DEADLINE_S)
    assert not waiting.is_alive()
    assert outlet.broken
    outlet.send(b"more", "a")
    outlet.wait_for_room("a")
    assert outlet.close(0)


def test_closing_waits_for_what_is_left(ends: tuple[int, int]) -> None:
    outlet = Outlet(ends[1])
    data = b"x" * 3_000_000
    outlet.send(data, "a")
    closed: list[bool] = []
    closing = in_thread(lambda: closed.append(outlet.close(DEADLINE_S)))
    assert read_exactly(ends[0], len(data)) == data
    closing.join(DEADLINE_S)
    assert closed == [True]


def test_closing_gives_up_on_a_reader_that_does_not_read_and_frees_who_waits(ends: tuple[int, int]) -> None:
    outlet = Outlet(ends[1])
    outlet.send(b"x" * (MAX_BUFFERED_BYTES * 2), "a")
    waiting = in_thread(lambda: outlet.wait_for_room("a"))
    assert not outlet.close(0.01)
    waiting.join(DEADLINE_S)
    assert not waiting.is_alive()
    outlet.send(b"too late", "a")


def test_nothing_sent_by_several_threads_is_torn(ends: tuple[int, int]) -> None:
    outlet = Outlet(ends[1])
    lines = [bytes([name]) * 3000 + b"\n" for name in b"abcd"]

    def send(line: bytes) -> None:
        for _ in range(100):
            outlet.send(line, "a")

    threads = [threading.Thread(target=send, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    received = read_exactly(ends[0], 3001 * 400).splitlines(keepends=True)
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(received) == sorted(lines * 100)


def test_a_pipe_is_writable_until_it_is_full() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    assert is_writable(write)
    size = fcntl.fcntl(write, 1032)
    os.write(write, b"x" * size)
    assert not is_writable(write)
    os.close(read)
    os.close(write)


def test_a_file_and_nothing_are_ways_too() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    outlet = Outlet(null)
    outlet.send(b"x" * 10_000_000, "a")
    assert outlet.close(DEADLINE_S)
    os.close(null)
