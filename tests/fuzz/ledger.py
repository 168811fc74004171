"""Keeps the books of a conversation: who waits for whom, and what may therefore be said to whom.

Hears what goes into a session and what comes out of it, reads both with the second strict reader, and raises `Breach` where one does
not follow from the other.  Its tables of methods are those of the wire's rules; it looks into the session only to measure it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from fuzz.shown import LIST_MEMBERS, LISTED_IN, UNSEEN, Shown, texts_of
from fuzz.strict_json import (
    HIDDEN_LINE_ENDS,
    Reading,
    Refused,
    are_same,
    examine,
    is_id,
    number,
    plain_id,
    read,
    readable,
)
from mcpguard.policy.decision import Verdict
from mcpguard.protocol import catalogue, drift, repeats, session
from mcpguard.protocol.commands import Abandon, Answered, Consult, Forward, Hold, InFlight, Note
from mcpguard.protocol.framing import Overlong
from mcpguard.protocol.wire import CLIENT, UPSTREAM
from support.conversation import DECISION, Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpguard.protocol.commands import Command
    from mcpguard.protocol.wire import Side

    Key: TypeAlias = tuple[type, Any]
    """An id by type and value."""

TASKS: Final = {"tasks/get", "tasks/result", "tasks/list", "tasks/cancel", "tasks/update"}
PASSING: Final = {"initialize", "server/discover", "ping", "logging/setLevel", *TASKS}
LISTEN: Final = "subscriptions/listen"
SUBJECTS: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "resources/subscribe": "uri",
    "resources/unsubscribe": "uri",
}
CLIENT_NOTICES: Final = {
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
}
SERVER_NOTICES: Final = {
    "notifications/message",
    "notifications/progress",
    "notifications/tasks/status",
    "notifications/tasks",
    "notifications/elicitation/complete",
    "notifications/subscriptions/acknowledged",
    "notifications/resources/updated",
}
INTRODUCTIONS: Final = {"initialize", "server/discover"}
CANCELLED: Final = "notifications/cancelled"
VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
FEATURES: Final = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
"""What a server may ask of a client, and what the client must have declared for it."""
SECOND_NS: Final = 1_000_000_000
UNWRITTEN: Final = Verdict(admitted=False, code="internal", text="mcpguard: the log cannot be written")


class Breach(AssertionError):  # noqa: N818 - it names what was broken
    """A session did what no rule of the wire lets it do."""


@dataclass(slots=True)
class Asked:
    """A request that waits for its one answer.  It is new, then waiting for a verdict or sent."""

    reading: Reading
    since_ns: int
    state: str = "new"

    @property
    def is_modern(self) -> bool:
        """Whether it is one of the 2026-07-28 revision."""
        meta = self.reading.body.get("_meta")
        return isinstance(meta, dict) and VERSION in meta


@dataclass(slots=True)
class Doing:
    """What is being done at the moment: who caused it, and what may come of it.

    `cause` is client, server, resolve, clock, reload or end.  `said` is the message that was just received, `shown` are the ids that an
    unreadable line shows, None if it could be any.  `ticket` is being resolved.
    """

    cause: str
    said: Reading | None = None
    shown: list[Key] | None = field(default_factory=list)
    ticket: InFlight | None = None
    answered: int = 0


class Ledger:
    """One session, driven, and what it owes."""

    def __init__(self, rules: Policy, *, opened: bool, most: int, patient: bool) -> None:
        self.session = session.Session(now_ns=0, max_in_flight=most)
        self.rules = rules
        self.opened = opened
        self.most = most
        self.patient = patient
        """Verdicts are given later, not at once."""
        self.now_ns = 0
        self.open: dict[Key, Asked] = {}
        self.reserved: dict[Key, int] = {}
        """Ids that wait for a late answer, and after how many requests they were left to it."""
        self.asked: dict[Key, Asked] = {}
        """Requests of the server."""
        self.waiting: list[Consult] = []
        self.withdrawn: list[InFlight] = []
        self.held: dict[Side, list[bytes | Overlong]] = {CLIENT: [], UPSTREAM: []}
        self.capabilities: Any = None
        self.modern: Any = None
        """What the client's `initialize` has declared, and its last request of the 2026-07-28 revision."""
        self.shown = Shown()
        self.admitted: list[InFlight] = []
        self.outcomes: Counter[InFlight] = Counter()
        self.seen: Counter[str] = Counter()
        if opened:
            self.session.open(rules)

    # What is done to the session

    def hear(self, side: Side, line: bytes | Overlong) -> None:
        """Let a side say a line."""
        if isinstance(line, bytes) and is_unsettled(line):
            return
        if self.held[side]:
            self.held[side].append(line)
            return
        ended = bool(self.session.ended)
        commands = self.session.receive(side, line, self.now_ns)
        if commands and type(commands[0]) is Hold:
            check(len(commands) == 1 and not self.opened and not ended, "held without need", line)
            self.held[side].append(line)
            return
        if ended and side == UPSTREAM:
            check(not commands, "listened to after its end", line)
            return
        reading = None if isinstance(line, Overlong) else read_or_none(line, side)
        match side, reading:
            case _, None:
                self._unread(side, line, commands)
            case "client", Reading(kind="request"):
                self._client_request(reading, commands, ended=ended)
            case "client", Reading(kind="notification"):
                self._client_notice(reading, commands)
            case "client", _:
                self._client_answer(reading, commands)
            case _, Reading(kind="request"):
                self._server_request(reading, commands)
            case _, Reading(kind="notification"):
                self._obey(commands, Doing("server", reading))
            case _:
                self._server_answer(reading, commands)
        self.check_tables()

    def resolve(self, index: int, how: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Give a verdict on something that was asked about: as the rules say, or `admit`, `refuse`, `unwritten`.

        What is admitted and cannot be written down is taken back; `meanwhile` happens before that.
        """
        if not self.waiting:
            return
        consult = self.waiting.pop(index % len(self.waiting))
        verdict = (
            self.rules.judge(consult) if how == "rules" else Verdict(admitted=how != "refuse", text="mcpguard: no")
        )
        self._resolve(consult, verdict, meanwhile if how == "unwritten" else None)
        self.check_tables()

    def _resolve(self, consult: Consult, verdict: Verdict, meanwhile: Callable[[], None] | None = None) -> None:
        ticket = consult.ticket
        gone = any(ticket is one for one in self.withdrawn) or bool(self.session.ended)
        commands = self.session.resolve(ticket, verdict)
        check(
            forwards_in(commands) == (0 if gone else 1),
            "a verdict of a request that is gone, or no answer to one",
            ticket.id,
        )
        if meanwhile is not None and verdict.admitted and not gone:
            self._take_back(ticket, meanwhile)
            return
        if verdict.admitted:
            self.admitted.append(ticket)
        self._obey(commands, Doing("resolve", ticket=ticket))

    def _take_back(self, ticket: InFlight, meanwhile: Callable[[], None]) -> None:
        """What could not be written down is not sent, and is refused after all, unless it was answered by now."""
        key, entries = key_of(ticket.id), self.open if ticket.origin == CLIENT else self.asked
        asked = entries[key]
        asked.state = "sent"
        reserved = self.reserved.get(key)
        meanwhile()
        cancelled = ticket.origin == CLIENT and self.reserved.get(key) != reserved
        commands = self.session.take_back(ticket, UNWRITTEN)
        check(
            forwards_in(commands) == (entries.get(key) is asked or cancelled),
            "taken back twice, or not at all",
            ticket.id,
        )
        if cancelled:
            del self.reserved[key]
        self._obey(commands, Doing("resolve", ticket=ticket))

    def reload(self, rules: Policy) -> None:
        """Put rules in force, the first ones or others."""
        self.rules = rules
        self.session.open(rules)
        if self.opened:
            self._obey(self.session.announce_lists(), Doing("reload"))
        self.opened = True
        self._let_go()

    def tick(self, seconds: float, *, sign: bool) -> None:
        """Let time pass, and the server perhaps show a sign of life first."""
        if sign:
            self.session.see_sign_of_life(self.now_ns)
        self.now_ns += int(seconds * SECOND_NS)
        probes = [asked.since_ns for asked in self.open.values() if asked.reading.method == "server/discover"]
        commands = self.session.tick(self.now_ns)
        early = bool(probes) and self.now_ns - min(probes) < 2 * SECOND_NS
        check(not (early and forwards_in(commands)), "probes were answered too early", self.now_ns)
        self._obey(commands, Doing("clock"))
        self.check_tables()

    def know_silent(self) -> None:
        """Say that the server is known to leave probes unanswered."""
        self._obey(self.session.know_silent(), Doing("silence"))

    def end(self) -> None:
        """Let the server be gone."""
        if not self.session.ended:
            self._obey(self.session.end("the server has ended"), Doing("end"))
        self._ended()
        self._let_go()

    def finish(self) -> None:
        """Let everything end; see that nobody waits and nothing is kept."""
        self.end()
        while self.waiting:
            self.resolve(0, "admit")
        check(not self.open, "left without an answer", list(self.open))
        for ticket in self.admitted:
            check(self.outcomes[ticket] == 1, f"{self.outcomes[ticket]} outcomes of one call", ticket.id)
        one = self.session
        check(
            not (one._requests or one._reserved or one._asked.entries or one._probes),
            "something is kept after the end",
            "",
        )
        check(one.in_flight == 0 and one.deadline_ns is None, "something is awaited after the end", "")

    # What comes of it

    def _client_request(self, reading: Reading, commands: list[Command], *, ended: bool) -> None:
        key = key_of(reading.id)
        if key in self.open or key in self.reserved:
            self.seen["duplicate"] += 1
            check(
                [type(each) for each in commands] == [Note],
                "an id in flight was used again, and not ignored",
                reading.id,
            )
            return
        doing = Doing("client", reading)
        if not ended:
            seen = self.session.seen_requests
            self.reserved = {each: at for each, at in self.reserved.items() if at + session.RESERVED_FOR > seen}
        asked = self.open[key] = Asked(reading, self.now_ns)
        if asked.is_modern and not ended:
            self.modern = reading.body["_meta"].get(CAPABILITIES)
        self._obey(commands, doing)
        if self.open.get(key) is asked:
            check(asked.state != "new", "neither answered nor sent nor judged", reading.value)

    def _client_notice(self, reading: Reading, commands: list[Command]) -> None:
        doing = Doing("client", reading)
        if reading.method != CANCELLED:
            self._obey(commands, doing)
            return
        key = key_of(named_id(reading))
        asked = self.open.pop(key, None)
        abandoned = [command for command in commands if type(command) is Abandon]
        if asked is None:
            check(not commands, "a cancellation of nothing was listened to", reading.value)
        elif asked.state == "sent":
            self.seen["cancelled"] += 1
            self.reserved[key] = self.session.seen_requests
            check(forwards_in(commands) == 1, "a cancellation was not passed on", reading.value)
        else:
            self.seen["withdrawn"] += 1
            check(
                not forwards_in(commands) and len(abandoned) == 1, "a withdrawn request is still judged", reading.value
            )
        self._obey(commands, doing)

    def _client_answer(self, reading: Reading, commands: list[Command]) -> None:
        asked = self.asked.get(key_of(reading.id))
        due = asked is not None and asked.state == "sent"
        check(forwards_in(commands) == due, "an answer of the client was lost, or made up", reading.value)
        self._obey(commands, Doing("client", reading))

    def _server_answer(self, reading: Reading, commands: list[Command]) -> None:
        key = key_of(reading.id)
        asked = self.open.get(key)
        due = asked is not None and asked.state == "sent"
        self.reserved.pop(key, None)
        self._obey(commands, Doing("server", reading))
        if due:
            self.seen["answered"] += 1
            check(key not in self.open, "an answer was lost", reading.value)

    def _server_request(self, reading: Reading, commands: list[Command]) -> None:
        key = key_of(reading.id)
        if key in self.asked:
            check(
                [type(each) for each in commands] == [Note], "an id of the server in flight was not ignored", reading.id
            )
            return
        asked = self.asked[key] = Asked(reading, self.now_ns)
        self._obey(commands, Doing("server", reading))
        if self.asked.get(key) is asked:
            check(asked.state != "new", "a server's request was lost", reading.value)

    def _unread(self, side: Side, line: bytes | Overlong, commands: list[Command]) -> None:
        shown = ids_shown(line)
        answers_due = 0
        if side == CLIENT and isinstance(line, bytes) and shown and is_meant_as_call(line):
            answers_due = int(shown[0] not in self.open and shown[0] not in self.reserved)
        doing = Doing("client" if side == CLIENT else "server", shown=shown)
        was_ended = bool(self.session.ended) and side == UPSTREAM
        self.seen["unread"] += 1
        if was_ended:
            doing.cause = "end"
        self._obey(commands, doing)
        check(doing.answered >= answers_due, "a refused request has no answer", line)
        if was_ended:
            self._ended()
            self._let_go()
        elif side == UPSTREAM:
            for key in [key for key in self.reserved if key[1] not in self.session._requests]:
                check(shown is None or key in shown, "a reserved id was given free without need", line)
                del self.reserved[key]

    def _ended(self) -> None:
        check(not self.open, "left without an answer at the end", list(self.open))
        self.reserved.clear()
        self.asked.clear()

    def _let_go(self) -> None:
        for side in self.held:
            lines, self.held[side] = self.held[side], []
            for line in lines:
                self.hear(side, line)

    def _obey(self, commands: list[Command], doing: Doing) -> None:
        for command in commands:
            match command:
                case Forward(to="client", line=line):
                    self._client_hears(read_or_fail(line, UPSTREAM), doing)
                case Forward(line=line):
                    self._server_hears(read_or_fail(line, CLIENT), doing)
                case Consult():
                    self._consult(command, doing)
                case Abandon(ticket=ticket):
                    check(
                        any(each.ticket is ticket for each in self.waiting),
                        "what nobody judges was abandoned",
                        ticket.id,
                    )
                    self.withdrawn.append(ticket)
                    if ticket.origin == UPSTREAM:
                        self.asked.pop(key_of(ticket.id))
                case Answered(ticket=ticket):
                    self.outcomes[ticket] += 1
                    check(ticket.verdict is not None, "an outcome without a verdict", ticket.id)
                case Hold():
                    check(False, "held in the middle", doing)
                case _:
                    pass

    def _consult(self, consult: Consult, doing: Doing) -> None:
        """See that what is asked about is what was said; give the verdict now or keep the question."""
        ticket = consult.ticket
        check(doing.said is not None and doing.said.kind == "request", "a question about no request", consult.subject)
        assert doing.said is not None
        reading = doing.said
        check(
            key_of(ticket.id) == key_of(reading.id) and ticket.method == readable(reading.method or ""),
            "another question",
            ticket.id,
        )
        entries = self.open if ticket.origin == CLIENT else self.asked
        entries[key_of(ticket.id)].state = "waiting"
        params = reading.body
        if consult.fault is not None:
            self._resolve(consult, Verdict(admitted=False, code=consult.fault[0], text=f"mcpguard: {consult.fault[1]}"))
            return
        subject = params.get(SUBJECTS[ticket.method]) if ticket.method in SUBJECTS else consult.subject
        check(consult.subject == subject, "judged under another name", reading.value)
        if consult.arguments is not None:
            check(
                are_same(params.get("arguments") or {}, consult.arguments), "judged by other arguments", reading.value
            )
        shown = self.shown
        if ticket.method == "tools/call":
            refused = ("tools/list", subject) in shown.refused
            check(not refused, "a name that could be taken for another was judged", reading.value)
            changed = subject in shown.changed and not self.rules.permits_drift()
            check(not changed, "a tool that has changed was judged", reading.value)
        if self.patient:
            self.waiting.append(consult)
        else:
            self._resolve(consult, self.rules.judge(consult))

    # What is said

    def _client_hears(self, heard: Reading, doing: Doing) -> None:
        match heard.kind:
            case "request":
                asked = self.asked.get(key_of(heard.id))
                check(
                    asked is not None and asked.reading.value == heard.value,
                    "the client is asked what nobody asks",
                    heard.value,
                )
                assert asked is not None
                passed = asked.state == "new" and heard.method == "ping" and doing.cause == "server"
                judged = asked.state == "waiting" and is_admitted(doing, heard)
                check(passed or judged, "a request of the server came unjudged", heard.value)
                asked.state = "sent"
            case "notification":
                self._client_is_told(heard, doing)
            case _:
                self._client_is_answered(heard, doing)

    def _client_is_told(self, heard: Reading, doing: Doing) -> None:
        method = heard.method or ""
        if method == CANCELLED:
            key = key_of(named_id(heard))
            asked = self.asked.pop(key, None)
            if asked is None:
                asked = self.open.pop(key, None)
                check(
                    asked is not None and asked.reading.method == LISTEN,
                    "a cancellation of nothing was passed on",
                    heard.value,
                )
            assert asked is not None
            check(asked.state == "sent", "a request was cancelled that was not sent", heard.value)
        elif method.endswith("/list_changed"):
            check(not heard.body.keys() - {"_meta"}, "a change of a list holds more than that", heard.value)
        else:
            check(
                doing.said is not None and doing.said.value == heard.value,
                "the client was told what nobody said",
                heard.value,
            )
            check(
                method in SERVER_NOTICES or self.rules.permits_method(method),
                "a notification that may not pass",
                heard.value,
            )
            if method == "notifications/resources/updated":
                permitted = self.rules.permits_resource(heard.body["uri"])
                check(permitted, "a change of a resource that may not be read", heard.value)
            if method == "notifications/tasks":
                self._check_inputs(heard.body, self.capabilities if self.modern is None else self.modern)

    def _client_is_answered(self, heard: Reading, doing: Doing) -> None:
        key = key_of(heard.id)
        doing.answered += 1
        asked = self.open.pop(key, None)
        if asked is None:
            fresh = (
                key not in self.reserved and doing.cause == "client" and doing.answered == 1 and heard.kind == "error"
            )
            shown = doing.shown is None or key in doing.shown
            taken_back = doing.ticket is not None and key_of(doing.ticket.id) == key
            check((fresh and shown) or taken_back, "an answer to nobody", heard.value)
            return
        said = key_of(doing.said.id) if doing.said is not None and doing.said.kind != "notification" else None
        match doing.cause:
            case "client":
                check(
                    key == said or asked.reading.method == "server/discover",
                    "another request was answered",
                    heard.value,
                )
            case "resolve":
                check(
                    doing.ticket is not None and key_of(doing.ticket.id) == key,
                    "another call was answered",
                    heard.value,
                )
            case "server" if key == said or (doing.said is None and (doing.shown is None or key in doing.shown)):
                check(asked.state == "sent", "the server answered what it was not asked", heard.value)
                self._check_answer(heard, asked, doing)
            case "server" | "clock" | "silence":
                self._is_spoken_for(heard, asked)
            case cause:
                check(cause == "end" and heard.kind == "error", "an answer out of nothing", heard.value)
        if heard.kind == "result" and is_ours(heard):
            told = heard.body.get("resultType") == "complete"
            check(
                told is asked.is_modern and heard.body.get("isError") is True, "a refusal of the other era", heard.value
            )

    def _is_spoken_for(self, heard: Reading, asked: Asked) -> None:
        """A probe that the server is silent to was answered in its name."""
        self.seen["spoken for"] += 1
        check(
            asked.reading.method == "server/discover" and asked.state == "sent",
            "an answer to another request",
            heard.value,
        )
        check(heard.body.get("code") == number("-32601"), "a probe was answered wrongly", heard.value)
        self.reserved[key_of(heard.id)] = self.session.seen_requests

    def _check_answer(self, heard: Reading, asked: Asked, doing: Doing) -> None:
        """See that an answer is the server's own, but for what may not reach the client."""
        method, said = asked.reading.method or "", doing.said
        if heard.kind == "error":
            return
        check(said is not None, "a result was made of an unreadable line", heard.value)
        assert said is not None
        result = heard.body
        meta = asked.reading.body["_meta"] if asked.is_modern else {CAPABILITIES: self.capabilities}
        self._check_inputs(result, meta.get(CAPABILITIES))
        if method == "tools/call":
            alike = {name.casefold() for name in said.body}
            check(heard.value == said.value or "inputrequests" in alike, "a result was changed", heard.value)
            return
        member = LISTED_IN[method][0] if method in LISTED_IN else ""
        for name in result:
            check(name == member or name.casefold() not in LIST_MEMBERS, "a list came where none belongs", heard.value)
        if member:
            self.seen["listed"] += 1
            for problem in self.shown.problems(method, said.body, result, self.rules):
                check(False, problem, heard.value)
        if method in INTRODUCTIONS:
            info = result.get("serverInfo")
            texts = [result.get("instructions"), *(texts_of(info) if isinstance(info, dict) else ())]
            check(all(map(is_plain, texts)), "characters that nobody sees", heard.value)

    def _check_inputs(self, body: dict[str, Any], capabilities: Any) -> None:
        """See that a server asks for no input that it may not ask for, or that the client has not declared."""
        for asks in (body.get("inputRequests") or {}).values():
            method = asks.get("method")
            declared = isinstance(capabilities, dict) and isinstance(capabilities.get(FEATURES.get(method, "")), dict)
            check(declared and self.rules.permits_server_request(method), "input is asked for that may not be", asks)

    def _server_hears(self, heard: Reading, doing: Doing) -> None:
        method = heard.method or ""
        match heard.kind:
            case "request":
                asked = self.open.get(key_of(heard.id))
                check(
                    asked is not None and asked.reading.method == method,
                    "a request that nobody made was sent",
                    heard.value,
                )
                assert asked is not None
                if method in PASSING or method in LISTED_IN or method == LISTEN:
                    check(asked.state == "new" and doing.cause == "client", "a request was sent twice", heard.value)
                    check(method in PASSING or self.opened, "sent before there was a policy", heard.value)
                else:
                    check(asked.state == "waiting" and is_admitted(doing, heard), "sent without a verdict", heard.value)
                if method == LISTEN:
                    uris = (heard.body.get("notifications") or {}).get("resourceSubscriptions") or []
                    check(
                        all(
                            self.rules.permits_resource(uri) and ("resources/list", uri) not in self.shown.refused
                            for uri in uris
                        ),
                        "a subscription that may not be",
                        heard.value,
                    )
                else:
                    check(asked.reading.value == heard.value, "a request was changed on its way", heard.value)
                asked.state = "sent"
                self.seen["sent"] += 1
                if method == "initialize":
                    self.capabilities = heard.body.get("capabilities")
            case "notification":
                check(
                    doing.said is not None and doing.said.value == heard.value,
                    "the server was told what nobody said",
                    heard.value,
                )
                known = method in CLIENT_NOTICES | {CANCELLED}
                check(known or self.rules.permits_method(method), "a notification that may not pass", heard.value)
            case _:
                self._server_is_answered(heard, doing)

    def _server_is_answered(self, heard: Reading, doing: Doing) -> None:
        asked = self.asked.pop(key_of(heard.id), None)
        check(asked is not None, "the server got an answer to nothing", heard.value)
        assert asked is not None
        if doing.cause == "client" and doing.said is not None:
            check(
                asked.state == "sent" and doing.said.value == heard.value, "the server got another answer", heard.value
            )
        else:
            check(heard.kind == "error", "the server got a result out of nothing", heard.value)

    # How much is kept

    def check_tables(self) -> None:
        """See that a session keeps no more than what is in flight, and ids for late answers."""
        one = self.session
        check(
            {key_of(id_) for id_ in one._requests} <= self.open.keys() | self.reserved.keys(),
            "a request is kept",
            one._requests,
        )
        check(
            {key_of(id_) for id_ in one._asked.entries} == self.asked.keys(),
            "a server's request is kept or lost",
            one._asked.entries,
        )
        check(len(one._requests) <= self.most + 1, "more requests in flight than may be", len(one._requests))
        check(len(self.asked) <= self.most, "more requests of the server in flight than may be", len(self.asked))
        check(
            len(one._reserved) <= session.RESERVED_FOR + self.most,
            "more ids are reserved than may be",
            len(one._reserved),
        )
        check(
            one._audience.subscribed.keys() <= one._requests.keys(), "subscriptions are kept", one._audience.subscribed
        )
        shelf = one._catalogue
        check(len(shelf._open) <= catalogue.MAX_OPEN_LISTINGS, "more listings are open than may be", len(shelf._open))
        check(
            len(shelf.repeats._kept) <= repeats.MAX_LINES, "more lists are kept than may be", len(shelf.repeats._kept)
        )
        check(
            len(shelf._definitions._known) <= drift.MAX_TOOLS,
            "more tools are watched than may be",
            shelf._definitions._known,
        )
        for refused in shelf._refused.values():
            check(len(refused._reasons) <= catalogue.MAX_REFUSED, "more names are kept than may be", refused._reasons)
        check(len(one._probes._waiting) <= len(self.open), "probes are kept", len(one._probes._waiting))
        check(one.in_flight == len(self.open), "the number in flight is wrong", one.in_flight)


def check(holds: object, problem: str, shown: object) -> None:
    """Raise if something does not hold."""
    if not holds:
        raise Breach(f"{problem}: {shown!r}"[:1500])


def key_of(id_: Any) -> Key:
    return type(id_), id_


def read_or_none(line: bytes, side: Side) -> Reading | None:
    try:
        return read(line, side)
    except Refused:
        return None


def read_or_fail(line: bytes, side: Side) -> Reading:
    """Read what the session sends: one strict message on one line, whoever reads it."""
    hidden = [end for end in HIDDEN_LINE_ENDS if end.encode() in line]
    check(not hidden and line.endswith(b"\n") and line.count(b"\n") == 1, "not one line was sent", line)
    try:
        return read(line, side)
    except Refused as refused:
        raise Breach(f"what is no message was sent ({refused}): {line!r}") from refused


def ids_shown(line: bytes | Overlong) -> list[Key] | None:
    """Give the ids that a line shows which is no message; None if it is not even JSON and any may be read out of it."""
    try:
        text = examine(line if isinstance(line, bytes) else b"")
    except Refused:
        return None
    return [key_of(plain_id(value)) for name, value in text.top if name == "id" and is_id(value)]


def is_unsettled(line: bytes) -> bool:
    """Whether no rule says what becomes of a line, so that it is left out: it has an exponent that exact arithmetic cannot hold."""
    try:
        return examine(line).strange_exponents
    except Refused:
        return False


def is_meant_as_call(line: bytes) -> bool:
    """Whether a line is a request but for one thing that makes it none, and shows its id plainly."""
    text = examine(line)
    good = not (text.faults or text.client_faults) and text.depth <= 128
    return good and isinstance(text.value, dict) and "method" in text.value


def forwards_in(commands: list[Command]) -> int:
    return sum(type(command) is Forward for command in commands)


def is_plain(text: Any) -> bool:
    """Whether what people read shows all that it holds."""
    return not isinstance(text, str) or UNSEEN.isdisjoint(text)


def named_id(reading: Reading) -> Any:
    """Give the id that a cancellation names."""
    value = reading.body.get("requestId")
    return plain_id(value) if is_id(value) else None


def is_admitted(doing: Doing, heard: Reading) -> bool:
    """Whether this very request has just been admitted."""
    ticket = doing.ticket
    if ticket is None or ticket.verdict is None or not ticket.verdict.admitted:
        return False
    return key_of(ticket.id) == key_of(heard.id) and ticket.method == readable(heard.method or "")


def is_ours(heard: Reading) -> bool:
    """Whether the guard itself made a result."""
    meta = heard.body.get("_meta")
    return isinstance(meta, dict) and DECISION in meta
