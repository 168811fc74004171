"""Decides what becomes of each line: who gets it, who must be asked, what is said in its place.

Sans-IO: lines and instants in, commands out.  Knows no policy but through `Rules`, no process and no clock.  Calls must not overlap;
whoever pumps two directions at once holds a lock.
"""

from __future__ import annotations

from _collections import deque  # all that is needed of `collections`, which takes a millisecond to import

from mcpguard.protocol import announcements, answers, methods, replies, requests
from mcpguard.protocol.asking import Asked
from mcpguard.protocol.catalogue import Catalogue
from mcpguard.protocol.commands import (
    CANCELLED,
    HOLD,
    SENT,
    SPOKEN_FOR,
    WAITING,
    WITHDRAWN,
    Abandon,
    Answered,
    Consult,
    Forward,
    InFlight,
    Note,
    Remember,
)
from mcpguard.protocol.framing import Overlong
from mcpguard.protocol.lists import LISTS
from mcpguard.protocol.plain import read_answer, read_call
from mcpguard.protocol.probes import Probes
from mcpguard.protocol.repeats import MIN_BYTES
from mcpguard.protocol.wire import (
    CLIENT,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    UPSTREAM,
    Malformed,
    Message,
    decode,
    printable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Final

    from mcpguard.policy.decision import Code, Verdict
    from mcpguard.protocol.commands import Command
    from mcpguard.protocol.inquiry import Inquiry
    from mcpguard.protocol.rules import Admit, Journal, Rules
    from mcpguard.protocol.wire import Id, Side

MAX_IN_FLIGHT: Final = 65_536
RESERVED_FOR: Final = 10_000
"""For how many later requests the id of a cancelled one stays reserved."""

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"


class Session:
    """One client, one server: everything in flight between them, and what each may say next.

    Made without a policy; `open` gives it one. Until then only what the policy does not govern gets through, and `receive` answers
    `Hold` for everything else. `client`, `server` and `deadline_ns` are there to be read.
    """

    def __init__(self, *, now_ns: int, max_in_flight: int = MAX_IN_FLIGHT) -> None:
        self.client: dict[str, Any] | None = None
        self.server: dict[str, Any] | None = None
        self._rules: Rules | None = None
        self._now_ns = now_ns
        self._ended = ""
        self._max_in_flight = max_in_flight
        self._seq = 0
        self._requests: dict[Id, InFlight] = {}
        self._reserved: deque[InFlight] = deque()
        self._probes = Probes()
        self._asked = Asked(max_in_flight)
        self._inquiry: Inquiry | None = None
        self._parsed: dict[str, Any] | None = None
        """What the short way has read of the line that comes next."""
        self._modern_version: object = None
        self._modern_capabilities: object = None
        """What the client's last request of the 2026-07-28 revision declared."""
        self._catalogue = Catalogue()
        self._audience = announcements.Audience()

    # What the owner of the session tells it

    def open(self, rules: Rules) -> None:
        """From now on, judge by `rules`; called again, by other ones."""
        self._rules = rules

    def know_silent(self) -> list[Command]:
        """Earlier runs found that this server says nothing to `server/discover`."""
        self._probes.silent = True
        return self._speak_for_probes()

    def see_sign_of_life(self, now_ns: int) -> None:
        """The server wrote its first byte, to stdout or to stderr."""
        self._probes.see_sign(now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` wants to be called; None: never."""
        dues = (self._probes.deadline_ns, None if self._inquiry is None else self._inquiry.deadline_ns)
        return min((due for due in dues if due is not None), default=None)

    def tick(self, now_ns: int) -> list[Command]:
        """Answer the probes that a server has left unanswered for too long."""
        self._now_ns = now_ns
        commands: list[Command] = []
        inquiry = self._inquiry
        if inquiry is not None and inquiry.deadline_ns is not None and now_ns >= inquiry.deadline_ns:
            commands += inquiry.end()
        if self._probes.deadline_ns is not None and now_ns >= self._probes.deadline_ns:
            commands += self._speak_for_probes()
        return commands

    def announce_lists(self) -> list[Command]:
        """Tell the client that what lists show may have changed, where it can hear that."""
        return [Forward(CLIENT, line) for line in self._audience.announce()]

    def end(self, reason: str) -> list[Command]:
        """The server is gone: every request in flight gets its one error, and so will every later one."""
        self._ended = reason
        commands: list[Command] = []
        for entry in self._requests.values():
            if entry.state in (SENT, WAITING):
                text = f"mcpguard: {reason}"
                if entry.verdict is not None:
                    text += f"; whether {printable(entry.subject or entry.method)} took effect is unknown"
                    commands.append(Answered(entry, "lost", 0))
                commands.append(Forward(CLIENT, replies.error(entry.id, INTERNAL_ERROR, text)))
                if entry.state is WAITING:
                    commands.append(Abandon(entry))
                entry.state = WITHDRAWN
        commands += self._asked.end()
        if self._inquiry is not None:
            self._inquiry.forget()
        self._requests.clear()
        self._audience.subscribed.clear()
        self._reserved.clear()
        self._probes.take()
        return commands

    @property
    def in_flight(self) -> int:
        """How many requests of the client wait for an answer."""
        return sum(1 for entry in self._requests.values() if entry.state in (SENT, WAITING))

    @property
    def ended(self) -> str:
        """Why no server answers any more; empty as long as one may."""
        return self._ended

    @property
    def seen_requests(self) -> int:
        """How many requests the client has made so far."""
        return self._seq

    # Lines

    def carry_call(self, line: bytes, now_ns: int, admit: Admit[Journal], journal: Journal) -> InFlight | None:
        """Take a line of the client the short way: if it is a plain tool call that `admit` admits, note it as sent, and give it.

        The entry's `line` is what goes to the server; whoever sends it takes it away.  None: nothing has happened, the line is
        one for `receive`.
        """
        call = read_call(line)
        if not isinstance(call, tuple):
            self._parsed = call
            return None
        if self._rules is None or self._ended:
            return None
        id_, name, arguments, meta, line = call
        requests = self._requests
        if id_ in requests or len(requests) >= self._max_in_flight or self._catalogue.fault("tool", name, self._rules):
            return None
        entry = InFlight(CLIENT, id_, "tools/call", line, self._seq + 1)
        entry.subject = name
        if not admit(entry, arguments, now_ns, journal):
            return None
        self._now_ns = now_ns
        self._seq += 1
        if meta is not None:
            self._read_meta(entry, meta)
            if entry.modern:
                entry.arguments = arguments
        if self._reserved:
            self._release()
        requests[id_] = entry
        return entry

    def carry_answer(self, line: bytes) -> InFlight | None:
        """Take a line of the server the short way: if it is the plain answer to a tool call in flight, give that.

        The entry's `line` is what goes to the client, its `extra` the result.

        None: nothing has happened, the line is one for `receive`.
        """
        answer = read_answer(line)
        if not isinstance(answer, tuple):
            self._parsed = answer
            return None
        if self._probes.deadline_ns is not None or self._ended:
            return None
        id_ = answer[0]
        entry = self._requests.get(id_)
        if entry is None or entry.state is not SENT or entry.method != "tools/call":
            return None
        del self._requests[id_]
        entry.extra, entry.line = answer[1], answer[2]
        return entry

    def receive(self, side: Side, line: bytes | Overlong, now_ns: int) -> list[Command]:
        """Take one line from `side` and say what is to be done; never raises, whatever the line."""
        self._now_ns = now_ns
        parsed, self._parsed = self._parsed, None
        if self._ended and side is UPSTREAM:
            return []
        if isinstance(line, Overlong):
            return self._overlong(side, line)
        known = self._catalogue.repeats.recall(line) if side is UPSTREAM and len(line) >= MIN_BYTES else None
        try:
            message = known or decode(line, side, parsed)
        except Malformed as refused:
            return self._malformed(side, line, refused)
        if side is UPSTREAM:
            if message.method is None:
                return self._upstream_answer(message)
            if message.id is None:
                return self._upstream_notification(message)
            return self._asked.receive(message, opened=self._rules is not None)
        if message.method is None:
            return self._asked.answer(message)
        return self._client_notification(message) if message.id is None else self._client_request(message)

    def resolve(self, ticket: InFlight, verdict: Verdict) -> list[Command]:
        """Do what was decided about a request that `Consult` asked about."""
        ticket.verdict = verdict
        entries = self._requests if ticket.origin is CLIENT else self._asked.entries
        if ticket.state is not WAITING:
            if ticket.state is WITHDRAWN and verdict.admitted:
                return [Answered(ticket, "cancelled", 0)]
            return []
        line, ticket.line = ticket.line, b""
        if verdict.admitted:
            ticket.state = SENT
            return [Forward(UPSTREAM if ticket.origin is CLIENT else CLIENT, line)]
        ticket.state = WITHDRAWN
        del entries[ticket.id]
        if ticket.origin is UPSTREAM:
            return [Forward(UPSTREAM, replies.capability_refused(ticket.id, ticket.method, verdict.text))]
        answer = replies.refusal(
            ticket.id, ticket.method, ticket.subject, verdict, modern=ticket.modern, task=ticket.task
        )
        return [Forward(CLIENT, answer)]

    def ask(self, ticket: InFlight, question_id: str, line: bytes) -> list[Command]:
        """Ask the client something about a request of its own that waits; `Replied` says what it answers, and nobody else hears it."""
        return self._asked.ask(ticket, question_id, line)

    def withdraw_question(self, question_id: str) -> list[Command]:
        """Take a question back that the client has not answered."""
        return self._asked.withdraw(question_id)

    def inquire(self, ticket: InFlight) -> list[Command]:
        """Ask the server for its tools on the guard's own account; `Listed` says when that is over, and gives the tickets back."""
        if self._inquiry is None:
            # Few runs make one.
            from mcpguard.protocol.inquiry import Inquiry

            self._inquiry = Inquiry()
        meta = {VERSION_KEY: self._modern_version, CAPABILITIES_KEY: {}} if ticket.modern else None
        return self._inquiry.begin(ticket, meta, self._now_ns)

    def withdraw_waiting(self) -> list[InFlight]:
        """Forget the client's requests that wait for a verdict, for nobody is there to be answered; give them."""
        waiting = [entry for entry in self._requests.values() if entry.state is WAITING]
        for entry in waiting:
            entry.state = WITHDRAWN
            del self._requests[entry.id]
        return waiting

    def answer(self, ticket: InFlight, line: bytes) -> list[Command]:
        """Answer a request that waits with a line of the guard's own."""
        if ticket.state is not WAITING:
            return []
        del self._requests[ticket.id]
        ticket.state = WITHDRAWN
        ticket.line = b""
        return [Forward(CLIENT, line)]

    def declares(self, ticket: InFlight, method: str) -> bool:
        """Whether the client that made a request can be asked this, as far as it has said."""
        return methods.declares(ticket.capabilities if ticket.modern else self._asked.capabilities, method, {})

    def definition(self, tool: str) -> bytes | None:
        """Give the text of a tool's definition as a list of this session showed it; None if none has."""
        return self._catalogue.definition(tool)

    def fault(self, request: Consult) -> tuple[Code, str] | None:
        """Say what the lists of this session have shown by now that stands against a request; None: nothing."""
        return self._catalogue.fault(request.kind, request.subject, self._rules)

    def take_back(self, ticket: InFlight, verdict: Verdict) -> list[Command]:
        """Refuse a request after all that `resolve` has admitted, and whose line was not sent yet."""
        entries = self._requests if ticket.origin is CLIENT else self._asked.entries
        if entries.get(ticket.id) is not ticket:
            return []
        ticket.state = WAITING
        return self.resolve(ticket, verdict)

    # Lines that are no messages

    def _malformed(self, side: Side, line: bytes, refused: Malformed) -> list[Command]:
        from mcpguard.protocol.salvage import find_id, guess_shape, is_object_like

        id_, shape, kind = refused.id, refused.shape, "noise"
        if is_object_like(line):
            kind = "malformed"
            if shape is None:
                id_, shape = find_id(line, line), guess_shape(line, line)
        note = Note(kind, side, refused.reason, id_=id_)
        return [note, *self._answer_unread(side, id_, f"mcpguard: {refused.reason}", refused.code, shape or "")]

    def _overlong(self, side: Side, line: Overlong) -> list[Command]:
        from mcpguard.protocol.salvage import find_id, guess_shape, is_object_like

        id_ = find_id(line.head, line.tail) if is_object_like(line.head) else None
        reason = f"a line of {line.length} bytes is over the limit"
        shape = guess_shape(line.head, line.tail) or ("call" if side is CLIENT else "answer")
        note = Note("overlong", side, reason, id_=id_)
        if side is UPSTREAM:
            entry = self._requests.get(id_) if id_ is not None else None
            if entry is None or entry.state is WAITING or shape == "call":
                return [note, *self.end(f"the server sent {reason}, and it shows no id to answer")]
        return [note, *self._answer_unread(side, id_, f"mcpguard: {reason}", INVALID_REQUEST, shape)]

    def _answer_unread(self, side: Side, id_: Id | None, text: str, code: int, shape: str) -> list[Command]:
        """Leave nobody waiting for a line that was refused: answer it, or the request that it seems to answer."""
        if id_ is None:
            return []
        if side is UPSTREAM:
            entry = self._requests.get(id_)
            if entry is None or shape != "answer":
                return []
            if entry.state is SENT:
                return self._fail(entry, f"{text} (in the server's answer)", 0)
            self._forget_reserved(entry)
            return []
        if shape == "answer":
            return self._asked.answer_unread(id_, text)
        return [] if id_ in self._requests else [Forward(CLIENT, replies.error(id_, code, text))]

    def _fail(self, entry: InFlight, text: str, result_bytes: int) -> list[Command]:
        """Answer a request in flight with an error in its server's place."""
        self._forget(entry)
        self._probes.drop(entry)
        commands: list[Command] = [Forward(CLIENT, replies.error(entry.id, INTERNAL_ERROR, text))]
        if entry.verdict is not None:
            commands.append(Answered(entry, "error", result_bytes))
        return commands

    # Client to server

    def _client_request(self, message: Message) -> list[Command]:
        method, id_ = message.method or "", message.id
        assert id_ is not None
        if id_ in self._requests:
            return [Note("duplicate_id", CLIENT, "a request with an id in flight was dropped", method, id_)]
        handler = self._REQUESTS.get(method)
        if handler is None or method in methods.GOVERNED_REQUESTS or len(self._requests) >= self._max_in_flight:
            if self._rules is None and not self._ended:
                return [HOLD]
            handler = handler or Session._unknown_request
        self._seq += 1
        if self._ended:
            return [Forward(CLIENT, replies.error(id_, INTERNAL_ERROR, f"mcpguard: {self._ended}"))]
        self._release()
        entry = InFlight(CLIENT, id_, method, message.line, self._seq)
        meta = message.params.get("_meta")
        if meta is not None:
            self._read_meta(entry, meta)
        if len(self._requests) >= self._max_in_flight:
            fault = (
                "busy",
                f"more than {self._max_in_flight} requests are in flight; try again when some are answered",
            )
            entry.task = method == "tools/call" and "task" in message.params and not entry.modern
            return [self._consult(entry, "method", method, fault=fault)]
        try:
            commands = handler(self, entry, message)
        except Malformed as refused:
            self._requests.pop(id_, None)
            note = Note("malformed", CLIENT, refused.reason, method, id_)
            return [note, Forward(CLIENT, replies.error(id_, INVALID_PARAMS, f"mcpguard: {refused.reason}"))]
        return commands

    def _read_meta(self, entry: InFlight, meta: object) -> None:
        if type(meta) is not dict or VERSION_KEY not in meta:
            return
        entry.modern = True
        self._modern_version = meta[VERSION_KEY]
        entry.capabilities = self._modern_capabilities = meta.get(CAPABILITIES_KEY)
        info = meta.get(CLIENT_INFO_KEY)
        if self.client is None and type(info) is dict:
            self.client = info

    def _pass(self, entry: InFlight, message: Message) -> list[Command]:
        entry.line = b""
        self._requests[entry.id] = entry
        return [Forward(UPSTREAM, message.line)]

    def _initialize(self, entry: InFlight, message: Message) -> list[Command]:
        self._asked.capabilities = message.params.get("capabilities")
        info = message.params.get("clientInfo")
        self.client = info if type(info) is dict else None
        return self._pass(entry, message)

    def _discover(self, entry: InFlight, message: Message) -> list[Command]:
        if self._probes.silent:
            return [Forward(CLIENT, replies.no_probe_answer(entry.id))]
        self._probes.add(entry, self._now_ns)
        return self._pass(entry, message)

    def _judged(self, entry: InFlight, message: Message) -> list[Command]:
        kind, subject, arguments = requests.JUDGED[entry.method](message.params)
        entry.task = kind == "tool" and "task" in message.params and not entry.modern
        consult = self._consult(entry, kind, subject, arguments)
        if entry.modern:
            entry.arguments = arguments
            consult.retry = requests.retry_of(message.params)
        consult.progress_token = requests.progress_token_of(message.params)
        return [consult]

    def _list(self, entry: InFlight, message: Message) -> list[Command]:
        cursor = message.params.get("cursor")
        if cursor is not None and type(cursor) is not str:
            raise Malformed("`cursor` must be a string")
        listing = self._catalogue.continued(entry.method, cursor) if cursor is not None else None
        if listing is not None:
            entry.extra = (listing, cursor)
        return self._pass(entry, message)

    def _listen(self, entry: InFlight, message: Message) -> list[Command]:
        assert self._rules is not None
        rules, catalogue = self._rules, self._catalogue
        line, taken = announcements.keep_subscriptions(
            message, lambda uri: rules.permits_resource(uri) and catalogue.fault("resource", uri, rules) is None
        )
        message.line = line
        entry.extra = announcements.wanted_lists(message)
        commands = self._pass(entry, message)
        if taken:
            commands.append(
                Note("subscriptions_cut", CLIENT, f"{taken} refused URIs were taken out", entry.method, entry.id)
            )
        return commands

    def _unknown_request(self, entry: InFlight, _: Message) -> list[Command]:
        fault = None
        if methods.resembles_known(entry.method):
            fault = ("malformed", "the method is one of the protocol's in another spelling")
        elif entry.method in methods.KNOWN and entry.method.startswith("notifications/"):
            fault = ("malformed", "a notification has no id")
        return [self._consult(entry, "method", entry.method, fault=fault)]

    def _consult(
        self,
        entry: InFlight,
        kind: str,
        subject: str,
        arguments: dict[str, Any] | None = None,
        fault: tuple[Any, str] | None = None,
    ) -> Consult:
        entry.state = WAITING
        entry.subject = subject
        self._requests[entry.id] = entry
        if fault is None:
            fault = self._catalogue.fault(kind, subject, self._rules)
        return Consult(entry, kind, subject, arguments, fault)

    def _client_notification(self, message: Message) -> list[Command]:
        method = message.method or ""
        if method in methods.CLIENT_NOTIFICATIONS:
            return [Forward(UPSTREAM, message.line)]
        if method == "notifications/cancelled":
            return self._client_cancels(message)
        if method in methods.KNOWN and not method.startswith("notifications/"):
            return [Note("dropped_notification", CLIENT, "a request without an id was dropped", method)]
        if self._rules is None:
            return [] if self._ended else [HOLD]
        if methods.resembles_known(method) or not self._rules.permits_method(method):
            return [
                Note(
                    "dropped_notification", CLIENT, "a notification that the policy does not allow was dropped", method
                )
            ]
        return [Forward(UPSTREAM, message.line)]

    def _client_cancels(self, message: Message) -> list[Command]:
        id_ = _named_id(message)
        entry = self._requests.get(id_) if id_ is not None else None
        if entry is None or entry.state not in (SENT, WAITING):
            return []
        if entry.state is WAITING:
            entry.state = WITHDRAWN
            del self._requests[entry.id]
            return [Abandon(entry)]
        entry.state = CANCELLED
        self._audience.subscribed.pop(entry.id, None)
        entry.seq = self._seq
        self._reserved.append(entry)
        commands: list[Command] = [Forward(UPSTREAM, message.line)]
        self._probes.drop(entry)
        if entry.verdict is not None:
            commands.append(Answered(entry, "cancelled", 0))
        return commands

    # Server to client

    def _upstream_answer(self, message: Message) -> list[Command]:
        assert message.id is not None
        entry = self._requests.get(message.id)
        if entry is None and self._inquiry is not None and message.id == self._inquiry.id:
            return self._inquiry.read(message, self._rules, self._catalogue)
        if entry is None or entry.state is not SENT:
            if entry is not None:
                self._forget_reserved(entry)
            return [Note("unmatched_answer", UPSTREAM, "an answer to no request in flight was dropped", id_=message.id)]
        if self._rules is None and message.result is not None and "inputRequests" in message.result:
            return [HOLD]
        commands: list[Command] = []
        if self._probes and self._probes.show_silence(entry):
            commands = [Remember(silent=True), *self._speak_for_probes()]
        self._forget(entry)
        try:
            reading = answers.read(entry, message, self._rules, self._catalogue, self._asked.capabilities)
            if reading.status == "input_required" and self._rules is not None:
                reading.line = answers.sealed(reading.line, message.result or {}, self._rules, entry)
        except Malformed as refused:
            note = Note("malformed", UPSTREAM, refused.reason, entry.method, entry.id)
            return [
                *commands,
                note,
                *self._fail(entry, f"mcpguard: {refused.reason} (in the server's answer)", len(message.line)),
            ]
        if entry.method in answers.INTRODUCTIONS and message.result is not None:
            self.server = answers.server_info(message.result) or self.server
            if entry.method == "initialize":
                self._audience.see_introduction(message.result)
            commands.append(Remember(silent=False))
        commands += reading.notes
        commands.append(Forward(CLIENT, reading.line))
        if entry.verdict is not None:
            commands.append(Answered(entry, reading.status, len(message.line)))
        return commands

    def _upstream_notification(self, message: Message) -> list[Command]:
        method = message.method or ""
        if method in methods.UPSTREAM_NOTIFICATIONS:
            if method == "notifications/subscriptions/acknowledged":
                self._subscribe(message)
            return [Forward(CLIENT, message.line)]
        if self._rules is None:
            return [HOLD]
        if method == "notifications/cancelled":
            return self._upstream_cancels(message)
        try:
            declared = self._asked.capabilities if self._modern_capabilities is None else self._modern_capabilities
            line = answers.read_notification(message, self._rules, declared)
        except Malformed as refused:
            return [Note("dropped_notification", UPSTREAM, refused.reason, method)]
        return [Forward(CLIENT, line)]

    def _subscribe(self, message: Message) -> None:
        id_ = announcements.subscription_of(message)
        entry = self._requests.get(id_) if id_ is not None else None
        if entry is not None and entry.method == "subscriptions/listen" and entry.state is SENT:
            self._audience.subscribed[entry.id] = entry.extra

    def _upstream_cancels(self, message: Message) -> list[Command]:
        """A server withdraws a request of its own, or ends a subscription (2026-07-28, patterns/cancellation)."""
        id_ = _named_id(message)
        if id_ is None:
            return []
        asked = self._asked.entries.get(id_)
        if asked is not None:
            return self._asked.cancel(asked, message.line)
        subscribed = self._requests.get(id_)
        if subscribed is None or subscribed.method != "subscriptions/listen" or subscribed.state is not SENT:
            return []
        self._forget(subscribed)
        return [Forward(CLIENT, message.line)]

    # What both sides share

    def _forget(self, entry: InFlight) -> None:
        if self._requests.get(entry.id) is entry:
            del self._requests[entry.id]
            self._audience.subscribed.pop(entry.id, None)

    def _release(self) -> None:
        """Free the ids that have been reserved for long enough."""
        while self._reserved and self._reserved[0].seq + RESERVED_FOR <= self._seq:
            self._forget(self._reserved.popleft())

    def _forget_reserved(self, entry: InFlight) -> None:
        """The late answer has come, or something in its place: the id is free again."""
        if entry.state in (CANCELLED, SPOKEN_FOR):
            self._forget(entry)

    def _speak_for_probes(self) -> list[Command]:
        commands: list[Command] = []
        for probe in self._probes.take():
            probe.state = SPOKEN_FOR
            probe.seq = self._seq
            self._reserved.append(probe)
            commands.append(Forward(CLIENT, replies.no_probe_answer(probe.id)))
            commands.append(
                Note("silent_server", UPSTREAM, "server/discover was answered for the server", probe.method, probe.id)
            )
        return commands

    _REQUESTS: ClassVar[dict[str, Callable[[Session, InFlight, Message], list[Command]]]] = {
        **dict.fromkeys(methods.PASSING_REQUESTS, _pass),
        **dict.fromkeys(LISTS, _list),
        "initialize": _initialize,
        "server/discover": _discover,
        **dict.fromkeys(requests.JUDGED, _judged),
        "subscriptions/listen": _listen,
    }


def _named_id(message: Message) -> Id | None:
    """Give the id that a `notifications/cancelled` names; never a boolean, which Python would take for 0 or 1."""
    id_ = message.params.get("requestId")
    return id_ if type(id_) is str or type(id_) is int else None
