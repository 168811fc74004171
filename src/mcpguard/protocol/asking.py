"""Decides about what is asked of a client, by its server or by the guard itself, and about the client's answers.

The ids of a server are a space of their own: servers start at 0, as clients do.  Those of the guard are random texts in it.
"""

from __future__ import annotations

from mcpguard.protocol import methods, replies
from mcpguard.protocol.commands import (
    HOLD,
    SENT,
    WAITING,
    WITHDRAWN,
    Abandon,
    Answered,
    Consult,
    Forward,
    InFlight,
    Note,
    Replied,
)
from mcpguard.protocol.wire import CLIENT, INTERNAL_ERROR, UPSTREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mcpguard.policy.decision import Code
    from mcpguard.protocol.commands import Command
    from mcpguard.protocol.wire import Id, Message


class Asked:
    """The requests to a client that it has not answered: `entries` are its server's, the others the guard's own.

    `capabilities` are what the client has declared in `initialize`; without that a server may ask nothing but `ping`.
    """

    __slots__ = ("_max_in_flight", "_questions", "capabilities", "entries")

    def __init__(self, max_in_flight: int) -> None:
        self.capabilities: object = None
        self.entries: dict[Id, InFlight] = {}
        self._questions: dict[str, InFlight] = {}
        """Of each question of the guard's own, the request of the client's that it is about, which waits for the answer."""
        self._max_in_flight = max_in_flight

    def ask(self, ticket: InFlight, question_id: str, line: bytes) -> list[Command]:
        """Ask the client something about a request of its own that waits; `Replied` says what it answers, and nobody else hears it."""
        self._questions[question_id] = ticket
        return [Forward(CLIENT, line)]

    def withdraw(self, question_id: str) -> list[Command]:
        """Take a question of the guard's own back that the client has not answered."""
        if self._questions.pop(question_id, None) is None:
            return []
        return [Forward(CLIENT, replies.cancelled(question_id, "it was answered elsewhere, or too late"))]

    def receive(self, message: Message, *, opened: bool) -> list[Command]:
        """Take a request of the server; `opened` says that there is a policy to judge it by."""
        method, id_ = message.method or "", message.id
        assert id_ is not None
        if id_ in self.entries:
            return [Note("duplicate_id", UPSTREAM, "a request with an id in flight was dropped", method, id_)]
        if len(self.entries) >= self._max_in_flight:
            text = f"mcpguard: more than {self._max_in_flight} requests are in flight"
            note = Note("busy", UPSTREAM, "a request above the number that may be in flight was refused", method, id_)
            return [note, Forward(UPSTREAM, replies.error(id_, INTERNAL_ERROR, text))]
        if not opened and method != "ping":
            return [HOLD]
        entry = InFlight(UPSTREAM, id_, method, message.line, 0)
        if method == "ping":
            entry.line = b""
            self.entries[id_] = entry
            return [Forward(CLIENT, message.line)]
        entry.state = WAITING
        entry.subject = method
        self.entries[id_] = entry
        return [Consult(entry, "server_request", method, fault=self._fault(method, message.params))]

    def _fault(self, method: str, params: dict[str, object]) -> tuple[Code, str] | None:
        if method in methods.CLIENT_FEATURES or method in methods.CLIENT_TASKS:
            if methods.declares(self.capabilities, method, params):
                return None
            return ("denied", "the client has not declared this capability")
        if method in methods.KNOWN or methods.resembles_known(method):
            return ("malformed", "no server asks this of a client")
        return None

    def answer(self, message: Message) -> list[Command]:
        """Take an answer of the client: it passes only if its id, by type and value, is in flight."""
        assert message.id is not None
        if message.id in self._questions:
            return [Replied(self._questions.pop(str(message.id)), message.result)]
        entry = self.entries.get(message.id)
        if entry is None or entry.state is not SENT:
            return [Note("unmatched_answer", CLIENT, "an answer to no request in flight was dropped", id_=message.id)]
        status = "ok" if message.result is not None else "error"
        return self._close(entry, Forward(UPSTREAM, message.line), status, len(message.line))

    def answer_unread(self, id_: Id, text: str) -> list[Command]:
        """Answer the request that an unreadable line of the client seems to answer, so that nobody need wait for ever."""
        if id_ in self._questions:
            return [Replied(self._questions.pop(str(id_)), None)]
        entry = self.entries.get(id_)
        if entry is None or entry.state is not SENT:
            return []
        return self._close(entry, Forward(UPSTREAM, replies.error(id_, INTERNAL_ERROR, text)), "error", 0)

    def cancel(self, entry: InFlight, line: bytes) -> list[Command]:
        """The server withdraws a request."""
        if entry.state is WAITING:
            entry.state = WITHDRAWN
            del self.entries[entry.id]
            return [Abandon(entry)]
        return self._close(entry, Forward(CLIENT, line), "cancelled", 0)

    def end(self) -> list[Command]:
        """The server is gone; nobody waits for these answers any more."""
        commands: list[Command] = []
        for entry in self.entries.values():
            if entry.verdict is not None:
                commands.append(Answered(entry, "lost", 0))
            entry.state = WITHDRAWN
        self.entries.clear()
        for question_id in list(self._questions):
            commands += self.withdraw(question_id)
        return commands

    def _close(self, entry: InFlight, forward: Forward, status: str, result_bytes: int) -> list[Command]:
        del self.entries[entry.id]
        return [forward] if entry.verdict is None else [forward, Answered(entry, status, result_bytes)]
