"""How another terminal reaches a run: who gets in, what is understood, and what no visitor can do to the others."""

from __future__ import annotations

import errno
import json
import os
import select
import selectors
import socket
import stat
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.proxy import desk as desk_module
from mcpguard.proxy.desk import MAX_REQUEST_BYTES, MOST_VISITS, Desk, open_desk
from mcpguard.stores import desks
from mcpguard.stores.desks import DeskError, look, tell
from support.clerk import FakeClerk, item

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S = 20.0
FOR_EVER_S = 1e6


@pytest.fixture(autouse=True)
def long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever pauses without need is noticed."""
    monkeypatch.setattr(desk_module, "_PAUSE_S", FOR_EVER_S)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "state" / "runs"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def clerk() -> FakeClerk:
    return FakeClerk(item())


@pytest.fixture
def desk(runs: Path, clerk: FakeClerk, stack: ExitStack) -> Desk:
    opened = open_desk(runs, "run", clerk)
    stack.callback(opened.close)
    return opened


class Visitor:
    """A raw connection to a desk."""

    def __init__(self, runs: Path, stack: ExitStack, name: str = "run") -> None:
        self.socket = stack.enter_context(socket.socket(socket.AF_UNIX))
        self.socket.settimeout(DEADLINE_S)
        fd = os.open(runs, os.O_RDONLY)
        try:
            self.socket.connect(f"/proc/self/fd/{fd}/{name}.sock")
        finally:
            os.close(fd)

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has heard enough

    def ask(self, data: bytes) -> Any:
        self.send(data)
        return self.answer()

    def answer(self) -> Any:
        received = self.rest()
        assert received.endswith(b"\n")
        assert received.count(b"\n") == 1
        assert received.isascii()
        return json.loads(received)

    def rest(self) -> bytes:
        received = b""
        try:
            while part := self.socket.recv(1 << 16):
                received += part
        except ConnectionResetError:
            pass  # as good as the end
        return received


def descriptors() -> set[int]:
    # The one that lists them is gone by the time they are looked at.
    return {int(path.name) for path in list(Path("/proc/self/fd").iterdir()) if path.is_symlink()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


PENDING = b'{"op":"pending"}\n'


# What is said


def test_a_desk_says_what_waits(runs: Path, desk: Desk, clerk: FakeClerk, stack: ExitStack) -> None:
    assert desk
    assert Visitor(runs, stack).ask(PENDING) == {"pending": clerk.pending()}


def test_a_desk_takes_approvals(runs: Path, desk: Desk, clerk: FakeClerk, stack: ExitStack) -> None:
    assert desk
    answer = Visitor(runs, stack).ask(b'{"op":"approve","id":"k3f9m2xq","tool":true}\n')
    assert answer["granted"]["id"] == "k3f9m2xq"
    assert clerk.heard == [("approve", "k3f9m2xq", True)]


def test_a_desk_takes_denials(runs: Path, desk: Desk, clerk: FakeClerk, stack: ExitStack) -> None:
    assert desk
    answer = Visitor(runs, stack).ask('{"op":"deny","id":"k3f9m2xq","reason":"too muché"}\n'.encode())
    assert answer["denied"]["id"] == "k3f9m2xq"
    assert clerk.heard == [("deny", "k3f9m2xq", "too much\u00e9")]


def test_a_request_may_come_byte_by_byte(runs: Path, desk: Desk, stack: ExitStack) -> None:
    assert desk
    visitor = Visitor(runs, stack)
    for byte in PENDING:
        visitor.send(bytes([byte]))
    assert len(visitor.answer()["pending"]) == 1


def test_a_request_may_be_as_long_as_is_said(runs: Path, desk: Desk, stack: ExitStack) -> None:
    assert desk
    assert "pending" in Visitor(runs, stack).ask(PENDING[:-1].ljust(MAX_REQUEST_BYTES) + b"\n")


def test_one_connection_is_one_request(runs: Path, desk: Desk, clerk: FakeClerk, stack: ExitStack) -> None:
    assert desk
    deny = b'{"op":"deny","id":"k3f9m2xq","reason":""}\n'
    assert "pending" in Visitor(runs, stack).ask(PENDING + deny)
    assert clerk.heard == []


MALFORMED = {
    "no JSON": b"pending\n",
    "no object": b'["pending"]\n',
    "an empty line": b"\n",
    "invalid UTF-8": b'{"op":"pend\xffing"}\n',
    "a member twice": b'{"op":"approve","id":"a","id":"k3f9m2xq","tool":false}\n',
    "another operation": b'{"op":"approve all"}\n',
    "no operation": b"{}\n",
    "an operation that is no text": b'{"op":1}\n',
    "a member too many": b'{"op":"pending","id":"k3f9m2xq"}\n',
    "a member too few": b'{"op":"approve","id":"k3f9m2xq"}\n',
    "an id that is no text": b'{"op":"approve","id":1,"tool":false}\n',
    "a number for true": b'{"op":"approve","id":"k3f9m2xq","tool":1}\n',
    "no reason": b'{"op":"deny","id":"k3f9m2xq"}\n',
    "a reason that is null": b'{"op":"deny","id":"k3f9m2xq","reason":null}\n',
    "a reason of two lines": b'{"op":"deny","id":"k3f9m2xq","reason":"a\\nb"}\n',
    "a reason with an escape sequence": b'{"op":"deny","id":"k3f9m2xq","reason":"\\u001b[2J"}\n',
    "a reason too long": b'{"op":"deny","id":"k3f9m2xq","reason":"%s"}\n' % (b"x" * 301),
    "very deep": b'{"op":' + b"[" * 30_000 + b"]" * 30_000 + b"}\n",
    "too long": b'{"op":"deny","id":"k3f9m2xq","reason":"%s"}\n' % (b"x" * MAX_REQUEST_BYTES),
    "too long, without an end": b"x" * (MAX_REQUEST_BYTES + 1),
    "much too long": b"x" * (1 << 22),
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_not_understood_is_an_error_and_changes_nothing(
    runs: Path, desk: Desk, clerk: FakeClerk, stack: ExitStack, request_: bytes
) -> None:
    assert desk
    answer = Visitor(runs, stack).ask(request_)
    assert list(answer) == ["error"]
    assert "bug" not in answer["error"]
    assert clerk.heard == []
    assert "pending" in Visitor(runs, stack).ask(PENDING)


def test_a_visitor_who_leaves_without_a_line_gets_nothing(
    runs: Path, desk: Desk, clerk: FakeClerk, stack: ExitStack
) -> None:
    assert desk
    for said in (b"", b'{"op":"deny","id":"k3f9m2xq","reason":""}'):
        visitor = Visitor(runs, stack)
        visitor.send(said)
        visitor.socket.shutdown(socket.SHUT_WR)
        assert visitor.rest() == b""
    assert clerk.heard == []


class BrokenClerk(FakeClerk):
    def pending(self) -> list[dict[str, Any]]:
        raise LookupError("a bug\x1b")

    def approve(self, approval_id: str, *, whole_tool: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {"granted": {approval_id, whole_tool}}
        if whole_tool:
            answer["granted"] = answer
        return answer


def test_a_clerk_that_fails_ends_one_visit_alone(runs: Path, stack: ExitStack) -> None:
    stack.callback(open_desk(runs, "run", BrokenClerk(item())).close)
    assert "a bug in mcpguard" in Visitor(runs, stack).ask(PENDING)["error"]
    for whole_tool in (b"false", b"true"):
        approve = b'{"op":"approve","id":"a","tool":%s}\n' % whole_tool
        assert "a bug in mcpguard" in Visitor(runs, stack).ask(approve)["error"]
    assert "denied" in Visitor(runs, stack).ask(b'{"op":"deny","id":"k3f9m2xq","reason":""}\n')


# Who gets in


def test_nobody_else_can_reach_the_socket_whatever_the_umask(runs: Path, clerk: FakeClerk, stack: ExitStack) -> None:
    before = os.umask(0)
    try:
        stack.callback(open_desk(runs, "run", clerk).close)
    finally:
        os.umask(before)
    assert mode(runs) == 0o700
    assert mode(runs / "run.sock") == 0o600
    assert [path.name for path in runs.iterdir()] == ["run.sock"]


def test_another_user_gets_nothing(
    runs: Path, desk: Desk, clerk: FakeClerk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk
    for other in (os.geteuid() + 1, None):
        monkeypatch.setattr(desk_module, "peer_uid", lambda _, other=other: other)
        visitor = Visitor(runs, stack)
        visitor.send(b'{"op":"deny","id":"k3f9m2xq","reason":""}\n')
        assert visitor.rest() == b""
    assert clerk.heard == []
    monkeypatch.undo()
    assert "pending" in Visitor(runs, stack).ask(PENDING)


def test_the_user_at_the_other_end_is_known() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert desks.peer_uid(one) == os.geteuid()
    assert desks.peer_uid(one) is None


def test_who_cannot_be_known_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    one, other = socket.socketpair()
    with one, other:
        # Where neither is, as here: glibc has no getpeereid(3).
        assert desks.peer_uid(one) is None


@pytest.mark.parametrize("given", [0o755, 0o750, 0o710, 0o707, 0o770, 0o1777])
def test_a_directory_that_others_may_enter_is_refused(runs: Path, clerk: FakeClerk, given: int) -> None:
    runs.mkdir(parents=True)
    runs.chmod(given)
    with pytest.raises(DeskError, match=f"others may use it \\(mode {given:04o}\\)"):
        open_desk(runs, "run", clerk)
    with pytest.raises(DeskError, match="others may use it"):
        look(runs)
    assert list(runs.iterdir()) == []


def test_a_directory_of_another_user_is_refused(runs: Path, clerk: FakeClerk, monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(DeskError, match="belongs to another user"):
        open_desk(runs, "run", clerk)


def test_what_is_no_directory_is_refused(runs: Path, tmp_path: Path, clerk: FakeClerk) -> None:
    runs.parent.mkdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    runs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeskError, match="no directory"):
        open_desk(runs, "run", clerk)
    runs.unlink()
    runs.write_text("")
    with pytest.raises(DeskError, match="file exists"):
        open_desk(runs, "run", clerk)


def test_no_child_inherits_a_descriptor_of_the_desk(runs: Path, clerk: FakeClerk, stack: ExitStack) -> None:
    before = descriptors()
    stack.callback(open_desk(runs, "run", clerk).close)
    assert "pending" in Visitor(runs, stack).ask(PENDING)
    new = descriptors() - before
    assert new
    assert [fd for fd in new if os.get_inheritable(fd)] == []


def test_a_long_path_is_reached_through_its_directory(tmp_path: Path, clerk: FakeClerk, stack: ExitStack) -> None:
    runs = tmp_path / ("a" * 100) / ("b" * 100) / "runs"
    stack.callback(open_desk(runs, "run", clerk).close)
    assert [each.item["id"] for each in look(runs).waiting] == ["k3f9m2xq"]
    assert tell(runs, "run", {"op": "approve", "id": "k3f9m2xq", "tool": False})["granted"]


def test_without_proc_a_path_is_an_address(clerk: FakeClerk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "_PROC", "/proc/none")
    # Not `tmp_path`, which may be longer than an address.
    place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.callback(open_desk(place / "runs", "run", clerk).close)
    assert len(look(place / "runs").waiting) == 1
    long = place / ("a" * 100)
    with pytest.raises(DeskError, match=r"too long for a socket: 103 bytes at most"):
        open_desk(long, "run", clerk)
    assert list(long.iterdir()) == []


def test_a_name_that_is_too_long_is_refused(runs: Path, clerk: FakeClerk) -> None:
    before = descriptors()
    with pytest.raises(DeskError, match="too long for a socket") as raised:
        open_desk(runs, "x" * 200, clerk)
    assert "cannot listen" not in str(raised.value)
    assert descriptors() == before


# What no visitor can do to the others


def test_silent_visitors_hold_up_nobody(
    runs: Path, desk: Desk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk
    monkeypatch.setattr(desk_module, "VISIT_S", FOR_EVER_S)
    for said in (b"", b"{", b"x" * 1000) * (MOST_VISITS // 3):
        Visitor(runs, stack).send(said)
    assert "pending" in Visitor(runs, stack).ask(PENDING)


def test_silent_visitors_are_shown_out(
    runs: Path, desk: Desk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk
    monkeypatch.setattr(desk_module, "VISIT_S", 0.05)
    visitors = [Visitor(runs, stack) for _ in range(3 * MOST_VISITS)]
    visitors[0].send(b"{")
    assert [visitor.rest() for visitor in visitors] == [b""] * len(visitors)


def test_a_desk_sleeps_until_somebody_comes_or_the_first_visitor_has_to_go(
    runs: Path, clerk: FakeClerk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float | None] = []
    select_ = selectors.DefaultSelector.select

    def select(selector: selectors.DefaultSelector, timeout: float | None = None) -> Any:
        waits.append(timeout)
        return select_(selector, timeout)

    monkeypatch.setattr(selectors.DefaultSelector, "select", select)
    stack.callback(open_desk(runs, "run", clerk).close)
    for visit_s in (1000.0, FOR_EVER_S):
        monkeypatch.setattr(desk_module, "VISIT_S", visit_s)
        Visitor(runs, stack)
        assert "pending" in Visitor(runs, stack).ask(PENDING)
    assert waits[0] is None
    assert [wait for wait in waits[1:] if wait is not None and not 0 < wait <= 1000] == []


def test_a_visitor_who_has_not_asked_yet_is_listened_to_and_nothing_else(
    runs: Path, desk: Desk, stack: ExitStack
) -> None:
    Visitor(runs, stack).send(b"{")
    assert "pending" in Visitor(runs, stack).ask(PENDING)
    assert [key.events for key in desk._selector.get_map().values()] == [selectors.EVENT_READ] * 3


def test_a_visitor_who_cannot_be_listened_to_is_shown_out_and_ends_no_desk(
    runs: Path, desk: Desk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk
    monkeypatch.setattr(desk_module, "_PAUSE_S", 0.01)
    register = selectors.DefaultSelector.register
    refusals = [OSError(errno.ENOSPC, "No space left on device")]

    def poor(selector: selectors.DefaultSelector, fileobj: Any, events: int, data: Any = None) -> Any:
        if data is not None and refusals:
            raise refusals.pop()
        return register(selector, fileobj, events, data)

    monkeypatch.setattr(selectors.DefaultSelector, "register", poor)
    assert Visitor(runs, stack).rest() == b""
    assert "pending" in Visitor(runs, stack).ask(PENDING)


def test_no_more_than_sixteen_are_let_in_at_once(
    runs: Path, desk: Desk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "VISIT_S", FOR_EVER_S)
    counts = []
    full = threading.Event()
    let_in = desk._let_in

    def counted() -> bool:
        done = let_in()
        counts.append(len(desk._visits))
        if counts[-1] == MOST_VISITS:
            full.set()
        return done

    monkeypatch.setattr(desk, "_let_in", counted)
    silent = [Visitor(runs, stack) for _ in range(MOST_VISITS + 5)]
    assert full.wait(DEADLINE_S)
    last = Visitor(runs, stack)
    last.send(PENDING)
    for visitor in silent:
        visitor.socket.close()
    assert "pending" in last.answer()
    assert max(counts) == MOST_VISITS


def test_a_visitor_who_does_not_read_holds_up_nobody(
    runs: Path, clerk: FakeClerk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "VISIT_S", FOR_EVER_S)
    clerk.items["big"] = item("big", arguments={"text": "x" * (4 << 20)})
    stack.callback(open_desk(runs, "run", clerk).close)
    slow = Visitor(runs, stack)
    slow.send(PENDING)
    select.select([slow.socket], [], [], DEADLINE_S)
    assert len(Visitor(runs, stack).ask(PENDING)["pending"]) == 2
    assert len(slow.answer()["pending"]) == 2


def test_a_visitor_has_as_long_again_to_read_as_to_ask(
    runs: Path, clerk: FakeClerk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    clerk.items["big"] = item("big", arguments={"text": "x" * (4 << 20)})
    desk = open_desk(runs, "run", clerk)
    stack.callback(desk.close)
    monkeypatch.setattr(desk_module, "VISIT_S", 1000.0)
    slow = Visitor(runs, stack)
    assert "error" in Visitor(runs, stack).ask(b"{}\n")
    (visit,) = desk._visits.values()
    until_s = visit.until_s
    monkeypatch.setattr(desk_module, "VISIT_S", FOR_EVER_S)
    slow.send(PENDING)
    select.select([slow.socket], [], [], DEADLINE_S)
    assert visit.until_s > until_s + FOR_EVER_S / 2


def test_a_visitor_who_never_reads_is_shown_out(
    runs: Path, clerk: FakeClerk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "VISIT_S", 0.05)
    clerk.items["big"] = item("big", arguments={"text": "x" * (4 << 20)})
    stack.callback(open_desk(runs, "run", clerk).close)
    slow = Visitor(runs, stack)
    slow.send(PENDING)
    poll = select.poll()
    poll.register(slow.socket, 0)
    ((_, events),) = poll.poll(DEADLINE_S * 1000)
    assert events & select.POLLHUP
    assert not slow.rest().endswith(b"\n")


def test_a_visitor_who_leaves_in_the_middle_of_an_answer_ends_no_desk(
    runs: Path, clerk: FakeClerk, stack: ExitStack
) -> None:
    clerk.items["big"] = item("big", arguments={"text": "x" * (4 << 20)})
    desk = open_desk(runs, "run", clerk)
    stack.callback(desk.close)
    leaving = Visitor(runs, stack)
    leaving.send(PENDING)
    assert leaving.socket.recv(1)
    leaving.socket.close()
    assert len(Visitor(runs, stack).ask(PENDING)["pending"]) == 2
    assert desk._visits == {}


def test_a_system_without_descriptors_ends_no_desk(
    runs: Path, desk: Desk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk
    monkeypatch.setattr(desk_module, "_PAUSE_S", 0.01)
    accept = socket.socket.accept
    refusals = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ENOBUFS, "No buffer space available")]

    def poor(listening: socket.socket) -> tuple[socket.socket, Any]:
        if refusals:
            raise refusals.pop()
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", poor)
    visitor = Visitor(runs, stack)
    assert "pending" in visitor.ask(PENDING)
    assert refusals == []


def test_nobody_is_let_in_for_a_while_after_that_has_failed_and_who_is_in_is_answered(
    runs: Path, desk: Desk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk
    failed = threading.Event()
    accept = socket.socket.accept
    accepted: list[int] = []

    def poor(listening: socket.socket) -> tuple[socket.socket, Any]:
        accepted.append(len(accepted))
        if len(accepted) == 1:
            return accept(listening)
        failed.set()
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "accept", poor)
    inside = Visitor(runs, stack)
    Visitor(runs, stack)
    assert failed.wait(DEADLINE_S)
    assert "pending" in inside.ask(PENDING)
    assert accepted == [0, 1]


@pytest.mark.parametrize("error", [BlockingIOError, ConnectionAbortedError])
def test_a_visitor_who_has_left_before_he_was_let_in_delays_nobody(
    runs: Path, desk: Desk, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    assert desk
    accept = socket.socket.accept
    errors = [error()]

    def gone(listening: socket.socket) -> tuple[socket.socket, Any]:
        if errors:
            raise errors.pop()
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", gone)
    assert desk._listener.getblocking() is False
    assert "pending" in Visitor(runs, stack).ask(PENDING)


# Its end


def test_a_closed_desk_leaves_nothing_behind(runs: Path, clerk: FakeClerk, stack: ExitStack) -> None:
    before = descriptors()
    desk = open_desk(runs, "run", clerk)
    visitor = Visitor(runs, stack)
    with ExitStack() as another:
        # It is behind the other one, who is inside by the time it is answered.
        assert "pending" in Visitor(runs, another).ask(PENDING)
    assert desk._thread.daemon, "whatever its clerk does, it keeps no process alive"
    desk.close()
    assert visitor.rest() == b""
    visitor.socket.close()
    assert list(runs.iterdir()) == []
    assert not desk._thread.is_alive()
    assert descriptors() == before


def test_a_desk_that_is_closed_again_removes_nothing(runs: Path, clerk: FakeClerk) -> None:
    desk = open_desk(runs, "run", clerk)
    desk.close()
    (runs / "run.sock").write_text("of somebody else")
    fd = os.open(runs, os.O_RDONLY)
    try:
        # As if the number of the desk's own descriptor had come to mean the directory again.
        desk._directory_fd = fd
        desk.close()
    finally:
        os.close(fd)
    assert (runs / "run.sock").exists()


def test_a_clerk_may_close_its_desk(runs: Path, stack: ExitStack) -> None:
    class Leaving(FakeClerk):
        desk: Desk

        def pending(self) -> list[dict[str, Any]]:
            self.desk.close()
            self.heard.append(("closed",))
            return []

    clerk = Leaving()
    clerk.desk = open_desk(runs, "run", clerk)
    visitor = Visitor(runs, stack)
    visitor.send(PENDING)
    visitor.rest()
    clerk.desk._thread.join(DEADLINE_S)
    assert not clerk.desk._thread.is_alive()
    assert clerk.heard == [("closed",)]


FAILURES = {
    "no thread": ("threading.Thread.start", RuntimeError("can't start new thread"), "can't start new thread"),
    "not one descriptor": (
        "socket.socket.__init__",
        OSError(errno.EMFILE, "Too many open files"),
        "too many open files",
    ),
    "no descriptors": ("socket.socketpair", OSError(errno.EMFILE, "Too many open files"), "too many open files"),
    "a full disk": ("socket.socket.bind", OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
    "a name that cannot be given": ("os.rename", OSError(errno.EIO, "Input/output error"), "input/output error"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_a_desk_that_cannot_be_opened_says_why_and_leaves_nothing(
    runs: Path, clerk: FakeClerk, monkeypatch: pytest.MonkeyPatch, failure: tuple[str, Exception, str]
) -> None:
    where, error, said = failure
    before = descriptors()

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, fail)
        with pytest.raises(DeskError, match=f"`: {said}"):
            open_desk(runs, "run", clerk)
    assert descriptors() == before
    assert list(runs.iterdir()) == []


# The other side


def listener(runs: Path, name: str, stack: ExitStack) -> socket.socket:
    """Make a socket that is no desk; it is not listened at yet."""
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = stack.enter_context(socket.socket(socket.AF_UNIX))
    fd = os.open(runs, os.O_RDONLY)
    try:
        made.bind(f"/proc/self/fd/{fd}/{name}.sock")
    finally:
        os.close(fd)
    return made


def impostor(runs: Path, name: str, answer: bytes, stack: ExitStack) -> None:
    """Answer one visitor with these bytes."""
    made = listener(runs, name, stack)
    made.listen()

    def serve() -> None:
        connection, _ = made.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    stack.callback(thread.join, DEADLINE_S)


def test_without_any_run_nothing_waits(runs: Path) -> None:
    assert look(runs) == ([], [])
    runs.mkdir(mode=0o700, parents=True)
    assert look(runs) == ([], [])


def test_all_runs_are_asked_and_who_waits_longest_comes_first(runs: Path, stack: ExitStack) -> None:
    for name, waited_s in (("one", 1.0), ("two", 9.5), ("three", 3)):
        stack.callback(open_desk(runs, name, FakeClerk(item(name, waited_s=waited_s))).close)
    found = look(runs)
    assert [(each.run, each.item["id"]) for each in found.waiting] == [
        ("two", "two"),
        ("three", "three"),
        ("one", "one"),
    ]
    assert found.silent == []


def test_sockets_of_dead_runs_are_removed_and_nothing_else(runs: Path, desk: Desk, stack: ExitStack) -> None:
    assert desk
    listener(runs, "dead", stack).close()
    (runs / "file.sock").write_text("")
    (runs / "link.sock").symlink_to("run.sock")
    (runs / "directory.sock").mkdir()
    found = look(runs)
    assert ([each.run for each in found.waiting], found.silent) == (["run"], [])
    assert sorted(path.name for path in runs.iterdir()) == ["directory.sock", "file.sock", "link.sock", "run.sock"]


def test_a_run_that_does_not_answer_is_named_and_keeps_no_other_from_answering(
    runs: Path, desk: Desk, stack: ExitStack
) -> None:
    assert desk
    listener(runs, "hangs", stack).listen()
    found = look(runs, 0.2)
    assert [each.run for each in found.waiting] == ["run"]
    assert found.silent == [("hangs", "it did not answer within 0.2 s")]
    assert (runs / "hangs.sock").exists()


def test_a_run_of_another_user_is_not_asked(runs: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk
    monkeypatch.setattr(desks, "peer_uid", lambda _: os.geteuid() + 1)
    assert look(runs).silent == [("run", "it belongs to another user")]


GOOD = item()
ANSWERS = {
    "nothing": (b"", "it ended without an answer"),
    "no JSON": (b"hello\n", "its answer is not understood"),
    "no object": (b"[]\n", "its answer is not understood"),
    "another object": (b"{}\n", "its answer is not understood"),
    "an error": (b'{"error":"no policy yet"}\n', "it says: no policy yet"),
    "an item that is none": (b'{"pending":[7]}\n', "its answer is not understood"),
    **{
        f"an item with {key} {value!r}": (
            json.dumps({"pending": [GOOD, GOOD | {key: value}]}).encode() + b"\n",
            "its answer is not understood",
        )
        for key, value in [
            ("id", "a; rm -rf ~"),
            ("id", ""),
            ("id", "a" * 65),
            ("id", "\u0661"),
            ("arguments", {}),
            ("rules", [{}]),
            ("rules", [{"rule": "/a", "message": None}]),
            ("server", "uvx"),
            ("server", [1]),
            ("client", 1),
            ("waited_s", True),
            ("waited_s", -1),
            ("expires_in_s", float("nan")),
            ("expires_in_s", float("inf")),
            ("state", None),
        ]
    },
}


@pytest.mark.parametrize(("answer", "why"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_that_is_none_is_told_and_not_shown(runs: Path, stack: ExitStack, answer: bytes, why: str) -> None:
    impostor(runs, "odd", answer, stack)
    assert look(runs) == ([], [("odd", why)])


def test_an_answer_without_end_is_cut_short(runs: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "MAX_ANSWER_BYTES", 1000)
    impostor(runs, "odd", b"x" * 2000, stack)
    assert look(runs).silent == [("odd", "its answer is too long")]


def test_more_of_an_item_than_is_known_is_kept(runs: Path, stack: ExitStack) -> None:
    stack.callback(open_desk(runs, "run", FakeClerk(item(more=[1]))).close)
    (found,) = look(runs).waiting
    assert dict(found.item)["more"] == [1]


def test_a_run_that_has_ended_meanwhile_is_told(runs: Path, stack: ExitStack) -> None:
    request = {"op": "pending"}
    with pytest.raises(DeskError, match="has ended"):
        tell(runs, "run", request)
    listener(runs, "run", stack).close()
    with pytest.raises(DeskError, match="has ended"):
        tell(runs, "run", request)
    (runs / "run.sock").unlink()
    with pytest.raises(DeskError, match="has ended"):
        tell(runs, "run", request)


def test_what_a_run_refuses_is_an_error(runs: Path, desk: Desk) -> None:
    assert desk
    with pytest.raises(DeskError, match="nothing waits for an approval `none`"):
        tell(runs, "run", {"op": "approve", "id": "none", "tool": False})
