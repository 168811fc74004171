"""Runs a session's commands: two pumps between a client and a server, and a third for the server's stderr.

Looks into no line.  What a pump reads together it hands on together, after the records of all of it are written.
"""

from __future__ import annotations

import _thread
import os
import select

from mcpguard.protocol.commands import (
    HOLD,
    Abandon,
    Answered,
    Consult,
    Forward,
    Listed,
    Note,
    Remember,
    Replied,
    Settled,
    Waiting,
)
from mcpguard.protocol.framing import MAX_UPSTREAM_LINE_BYTES, LineReader
from mcpguard.protocol.wire import CLIENT, UPSTREAM
from mcpguard.proxy.outlet import Outlet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final, Literal, TypeAlias, TypeVar

    from mcpguard.policy.decision import Verdict
    from mcpguard.protocol.commands import Command, InFlight
    from mcpguard.protocol.framing import Overlong
    from mcpguard.protocol.session import Session
    from mcpguard.protocol.wire import Side
    from mcpguard.proxy.enforce import Enforcer
    from mcpguard.proxy.records import Journal

    Answer = TypeVar("Answer")
    Sender: TypeAlias = "Side | Literal['guard']"

GUARD: Final = "guard"
"""The sender of what the guard says on its own account, from the supervising thread."""
_READ_BYTES: Final = 65_536
_LONG_READ_BYTES: Final = 1 << 20
_MAX_EARLY: Final = 10_000
"""How many notes are kept until there is a log to write them to."""


class Relay:
    """Carries lines both ways until a side ends.  `wake` is called, from any thread, when something changes that a supervisor waits for.

    `client_ended` and `upstream_ended` say that a side has closed its end.
    """

    def __init__(
        self,
        session: Session,
        client: tuple[int, int],
        upstream: tuple[int, int],
        *,
        max_client_line_bytes: int,
        clock: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        self.session = session
        self.to_client = Outlet(client[1], wake)
        self.to_upstream = Outlet(upstream[1], wake)
        self.client_ended = False
        self.client_busy = False
        """Lines of the client were read, and not all of them are dealt with yet."""
        self.upstream_ended = False
        self.heard_upstream = False
        """The first of what the server said has been dealt with: what there was to pass on is on its way."""
        self.silent = False
        """The server was found to be silent to `server/discover`."""
        self._sources = {CLIENT: client[0], UPSTREAM: upstream[0]}
        self._readers = {CLIENT: LineReader(max_client_line_bytes), UPSTREAM: LineReader(MAX_UPSTREAM_LINE_BYTES)}
        self._clock = clock
        self._wake = wake
        self._lock = _thread.allocate_lock()
        self._opened = Gate()
        self._enforcer: Enforcer | None = None
        self._journal: Journal | None = None
        self._early: list[Command] = []
        self._uncounted: dict[str, int] = {}

    def start(self) -> None:
        """Start both pumps."""
        for side in (CLIENT, UPSTREAM):
            _thread.start_new_thread(self._pump, (side,))

    def open(self, enforcer: Enforcer, journal: Journal) -> None:
        """Give the policy: what was held goes on."""
        batch = Batch()
        with self._lock:
            self._enforcer = enforcer
            self._journal = journal
            self.session.open(enforcer)
            for command in self._early:
                self._log(command)
            self._early.clear()
            if enforcer.records is not None:
                for kind, count in self._uncounted.items():
                    enforcer.records.count(kind, count)
            self._uncounted.clear()
            batch.records = self._take_records()
        self._carry_out(batch, GUARD)
        self._opened.open()

    def replace(self, apply: Callable[[Journal], list[Command]]) -> None:
        """Let `apply` put another policy in force between two lines, and tell the client that lists may have changed."""
        batch = Batch()
        with self._lock:
            assert self._journal is not None
            self._collect(apply(self._journal), batch)
            self._collect(self.session.announce_lists(), batch)
            batch.records = self._take_records()
        self._carry_out(batch, GUARD)

    def act(self, on: Callable[[Enforcer, Journal], tuple[Answer, list[Command]]]) -> Answer | None:
        """Let somebody who is no party of the session act on what waits, between two lines; None if there is no policy yet."""
        batch = Batch()
        with self._lock:
            if self._enforcer is None or self._journal is None:
                return None
            answer, commands = on(self._enforcer, self._journal)
            self._collect(commands, batch)
            batch.records = self._take_records()
        self._carry_out(batch, GUARD)
        self._wake()
        return answer

    def withdraw_waiting(self) -> None:
        """The client is gone: whatever waits for a person is withdrawn."""
        batch = Batch()
        with self._lock:
            for ticket in self.session.withdraw_waiting():
                self._collect([Abandon(ticket)], batch)
            batch.records = self._take_records()
        self._carry_out(batch, GUARD)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` wants to be called; None: never."""
        with self._lock:
            dues = [self.session.deadline_ns, None if self._enforcer is None else self._enforcer.deadline_ns]
        return min((due for due in dues if due is not None), default=None)

    def note(self, note: Note) -> None:
        """Write down something that happened to the guard itself."""
        batch = Batch()
        with self._lock:
            self._log(note)
            batch.records = self._take_records()
        self._carry_out(batch, GUARD)

    def see_sign_of_life(self) -> None:
        """The server wrote its first byte somewhere."""
        with self._lock:
            self.session.see_sign_of_life(self._clock())
        self._wake()

    def tick(self) -> None:
        """Let the session do what is due by now."""
        batch = Batch()
        with self._lock:
            self._collect(self.session.tick(self._clock()), batch)
            if self._enforcer is not None and self._journal is not None:
                self._collect(self._enforcer.tick(self._journal), batch)
            batch.records = self._take_records()
        self._carry_out(batch, GUARD)

    def know_silent(self) -> None:
        """Earlier runs found that the server says nothing to `server/discover`."""
        batch = Batch()
        with self._lock:
            self._collect(self.session.know_silent(), batch)
            batch.records = self._take_records()
        self._carry_out(batch, GUARD)

    def end(self, reason: str) -> None:
        """The server is gone: answer everything in flight."""
        batch = Batch()
        with self._lock:
            self._collect(self.session.end(reason), batch)
            batch.records = self._take_records()
        self._opened.open()
        self._carry_out(batch, GUARD)

    def write_counts(self) -> None:
        """Write down how much was only counted."""
        records = None if self._enforcer is None else self._enforcer.records
        if records is not None and self._journal is not None:
            batch = Batch()
            with self._lock:
                records.write_counts(self._journal)
                batch.records = self._take_records()
            self._carry_out(batch, GUARD)

    @property
    def in_flight(self) -> int:
        """How many requests of the client wait for an answer."""
        with self._lock:
            return self.session.in_flight

    def _pump(self, side: Side) -> None:
        try:
            self._copy(side, self._sources[side], self._readers[side])
        except OSError:
            pass  # the descriptor is of no more use: as good as its end
        finally:
            # Also after a bug: a side that nobody listens to any more is over, and the run with it.
            if side is CLIENT:
                self.client_ended = True
            else:
                self.upstream_ended = True
            self._wake()

    def _copy(self, side: Side, source: int, reader: LineReader) -> None:
        size = _READ_BYTES
        alive = side is CLIENT
        while chunk := _read(source, size):
            if not alive:
                self.see_sign_of_life()
                alive = True
            # A long message is read in larger pieces; small pieces spare the allocator otherwise.
            size = _LONG_READ_BYTES if len(chunk) == size else _READ_BYTES
            lines = reader.feed(chunk)
            if lines:
                self._handle(side, lines)

    def _handle(self, side: Side, lines: list[bytes | Overlong]) -> None:
        if side is CLIENT:
            self.client_busy = True
        alone = len(lines) == 1
        if alone and self._carry(side, lines[0]):
            if side is CLIENT:
                self.client_busy = False
            return
        start = 0
        while start < len(lines):
            batch = Batch()
            with self._lock:
                start = self._take(side, lines, start, batch, maybe_plain=not alone)
                batch.records = self._take_records()
            self._carry_out(batch, side)
            if start < len(lines):
                self._opened.pass_through()
        if side is CLIENT:
            self.client_busy = False
            if self.session.ended:
                self._wake()
        elif not self.heard_upstream:
            self.heard_upstream = True
            self._wake()

    def _carry(self, side: Side, line: bytes | Overlong) -> bool:
        """Carry a line that came alone, if it is a plain call or the plain answer to one; False: nothing has happened.

        What most lines are, most of the time, done without a batch around it.
        """
        enforcer, journal = self._enforcer, self._journal
        if enforcer is None or journal is None or type(line) is not bytes:
            return False
        with self._lock:
            now_ns = self._clock()
            if side is CLIENT:
                entry = self.session.carry_call(line, now_ns, enforcer.admit, journal)
            else:
                entry = self.session.carry_answer(line)
                if entry is not None and enforcer.records is not None:
                    enforcer.records.end_call(entry, entry.extra, len(line), now_ns, journal)
            if entry is None:
                return False
            records = self._take_records()
        line, entry.line = entry.line, b""
        outlet = self.to_upstream if side is CLIENT else self.to_client
        if records:
            batch = Batch()
            batch.records = records
            if side is CLIENT:
                batch.to_upstream.append(line)
                batch.admitted.append((entry, batch.to_upstream, 0))
            else:
                batch.to_client.append(line)
            self._carry_out(batch, side)
        elif outlet.send(line, side):
            outlet.wait_for_room(side)
        return True

    def _take(self, side: Side, lines: list[bytes | Overlong], start: int, batch: Batch, *, maybe_plain: bool) -> int:
        """Take the lines from the one at `start` on; give the place of the first that has to wait for the policy, else their number."""
        session, enforcer, journal = self.session, self._enforcer, self._journal
        now_ns = self._clock()
        carried = batch.to_upstream if side is CLIENT else batch.to_client
        for index in range(start, len(lines)):
            line = lines[index]
            if maybe_plain and enforcer is not None and journal is not None and type(line) is bytes:
                if side is CLIENT:
                    entry = session.carry_call(line, now_ns, enforcer.admit, journal)
                    if entry is not None:
                        batch.admitted.append((entry, carried, len(carried)))
                        carried.append(entry.line)
                        entry.line = b""
                        continue
                else:
                    entry = session.carry_answer(line)
                    if entry is not None:
                        if enforcer.records is not None:
                            enforcer.records.end_call(entry, entry.extra, len(line), now_ns, journal)
                        carried.append(entry.line)
                        continue
            deadline_ns = session.deadline_ns
            commands = session.receive(side, line, now_ns)
            if commands and commands[0] is HOLD:
                return index
            self._collect(commands, batch)
            if session.deadline_ns != deadline_ns or session.ended:
                self._wake()
        return len(lines)

    def _collect(self, commands: list[Command], batch: Batch) -> None:
        """Do what is to be done within the process, and collect what is to be sent."""
        for command in commands:
            kind = type(command)
            if kind is Forward:
                (batch.to_client if command.to is CLIENT else batch.to_upstream).append(command.line)  # type: ignore[union-attr]
            elif kind is Consult:
                assert self._enforcer is not None
                assert self._journal is not None
                ticket = command.ticket  # type: ignore[union-attr]
                verdict = self._enforcer.consult(command, self._journal)  # type: ignore[arg-type]
                if type(verdict) is Waiting:
                    self._collect(verdict.commands, batch)
                    self._wake()
                else:
                    self._settle(ticket, verdict, batch)  # type: ignore[arg-type]
            elif kind is Settled:
                self._settle(command.ticket, command.verdict, batch)  # type: ignore[union-attr]
            elif kind is Replied and self._enforcer is not None and self._journal is not None:
                self._collect(self._enforcer.replied(command, self._journal), batch)  # type: ignore[arg-type]
            elif kind is Listed and self._enforcer is not None and self._journal is not None:
                self._collect(self._enforcer.listed(command.tickets, self._journal), batch)  # type: ignore[union-attr]
            elif kind is Abandon:
                if self._enforcer is not None and self._journal is not None:
                    self._collect(self._enforcer.abandon(command.ticket, self._journal), batch)  # type: ignore[union-attr]
            elif kind is Remember:
                self.silent = self.silent or command.silent  # type: ignore[union-attr]
                self._wake()
            else:
                self._log(command)

    def _settle(self, ticket: InFlight, verdict: Verdict, batch: Batch) -> None:
        outgoing = batch.to_upstream if ticket.origin is CLIENT else batch.to_client
        at = len(outgoing)
        self._collect(self.session.resolve(ticket, verdict), batch)
        if verdict.admitted and len(outgoing) > at:
            batch.admitted.append((ticket, outgoing, at))

    def _log(self, command: Command) -> None:
        if self._enforcer is None or self._journal is None:
            if len(self._early) < _MAX_EARLY:
                self._early.append(command)
            elif type(command) is Note:
                self._uncounted[command.kind] = self._uncounted.get(command.kind, 0) + 1
        elif self._enforcer.records is None:
            return
        elif type(command) is Answered:
            self._enforcer.records.end(command, self._journal)
        elif type(command) is Note:
            self._enforcer.records.note(command, self._journal)

    def _take_records(self) -> Sequence[bytes]:
        """Give what is not written down yet: whoever takes it writes it, once the lock is free."""
        journal = self._journal
        if journal is None or not journal.lines:
            return ()
        records, journal.lines = journal.lines, []
        return records

    def _carry_out(self, batch: Batch, side: Sender) -> None:
        """Send a batch, with everything in it that was admitted written down first; else it is refused after all."""
        records = batch.records
        if records and batch.admitted:
            if not self._write(records):
                self._take_back(batch)
            records = ()
        client_behind = upstream_behind = False
        # Whoever spoke first: what is refused of a side is heard before what the other says or does after the rest.
        if batch.to_upstream and side is UPSTREAM:
            upstream_behind = _send(self.to_upstream, batch.to_upstream, side)
        if batch.to_client:
            client_behind = _send(self.to_client, batch.to_client, side)
        if batch.to_upstream and side is not UPSTREAM:
            upstream_behind = _send(self.to_upstream, batch.to_upstream, side)
        # What only tells of the past keeps nobody waiting; but it is not kept waiting itself by a side that does not read.
        if records:
            self._write(records)
        if side is GUARD:
            return  # it supervises, and never waits; what it says is bounded by what is in flight
        if upstream_behind:
            self.to_upstream.wait_for_room(side)
        if client_behind:
            self.to_client.wait_for_room(side)

    def _write(self, records: Sequence[bytes]) -> bool:
        return self._enforcer is None or self._enforcer.write(records)

    def _take_back(self, batch: Batch) -> None:
        from mcpguard.proxy.verdicts import UNRECORDED

        refused = Batch()
        with self._lock:
            for ticket, outgoing, index in batch.admitted:
                # Whatever has become of its ticket, what is not written down is not sent.
                outgoing[index] = b""
                if self._enforcer is not None:
                    self._enforcer.refund(ticket)
                self._collect(self.session.take_back(ticket, UNRECORDED), refused)
        batch.to_client += refused.to_client
        batch.to_upstream += refused.to_upstream


class Gate:
    """Closed until it is opened, once and for all.  An event, without the module that has them, which is slow to import."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let everybody through from now on."""
        try:
            self._lock.release()
        except RuntimeError:
            return  # it is open

    def pass_through(self) -> None:
        """Wait until it is open."""
        with self._lock:
            return


class Batch:
    """What is to be sent once the records of all of it are written.

    `admitted` has, for each request that was admitted in it, the ticket and where its line stands.
    """

    __slots__ = ("admitted", "records", "to_client", "to_upstream")

    def __init__(self) -> None:
        self.records: Sequence[bytes] = ()
        self.to_client: list[bytes] = []
        self.to_upstream: list[bytes] = []
        self.admitted: list[tuple[InFlight, list[bytes], int]] = []


def _read(fd: int, size: int) -> bytes:
    while True:
        try:
            return os.read(fd, size)
        except BlockingIOError:
            # Whoever shares our stdin has made it non-blocking.
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll()


def _send(outlet: Outlet, lines: list[bytes], sender: Sender) -> bool:
    return outlet.send(lines[0] if len(lines) == 1 else b"".join(lines), sender, len(lines))
