"""Keeps what persons are asked about the calls of one run, and what they have answered; says by which way they are asked.

Judges no call and charges nothing: an approval is handed to the enforcement point, which judges the call again from the start.  Reads no
clock, writes to nobody: what is to be said comes back as commands.  Calls must not overlap.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mcpguard.protocol import replies
from mcpguard.protocol.commands import Forward, Waiting
from mcpguard.protocol.seals import binding_of
from mcpguard.protocol.wire import CLIENT
from mcpguard.proxy.question import (
    ALLOW_ONCE,
    ALLOW_TOOL,
    PROGRESS_EVERY_NS,
    TOO_MANY,
    Question,
    Refused,
    choose_id,
    denied_because,
    describe,
    form_of,
    may_come_back,
    may_cover_tool,
    nobody_answered,
    nobody_asked,
    still_waiting,
)
from mcpguard.proxy.rounds import Rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcpguard.policy.decision import ApprovalTerms, Code, Decision, Reason
    from mcpguard.policy.evaluate import Policy
    from mcpguard.protocol.commands import Command, Consult, InFlight
    from mcpguard.protocol.session import Session
    from mcpguard.proxy.question import Rung
    from mcpguard.proxy.rounds import Round

ASKED_METHODS: Final = frozenset(("tools/call", "resources/read", "resources/subscribe", "prompts/get"))
"""What a person can be asked about; whatever else needs an approval is refused."""
MAX_QUESTIONS: Final = 1000
MAX_QUESTION_BYTES: Final = 32 << 20
"""How many questions are kept, and how long the calls are together that they are about."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A call may pass; `question` is None where an earlier answer covers the tool."""

    question: Question | None


class Approvals:
    """What persons are asked during one run, and what they have answered.

    `prepare_terminal` makes it possible that another terminal answers; False if that cannot be done.  `announce` is told of every
    question that a terminal may answer.  `record` writes an approval's line into the log.
    """

    def __init__(
        self,
        session: Session,
        *,
        prepare_terminal: Callable[[], bool] = lambda: False,
        announce: Callable[[dict[str, Any]], None] = lambda _: None,
        record: Callable[[Question, str, int, str], None] = lambda *_: None,
        id_of_next: Callable[[], str] = choose_id,
    ) -> None:
        self._session = session
        self._prepare_terminal = prepare_terminal
        self._announce = announce
        self._record = record
        self._id_of_next = id_of_next
        self._questions: dict[str, Question] = {}
        self._remembered: set[tuple[str, str, bytes | None]] = set()
        self._rounds = Rounds(self._questions.get)

    # What the enforcement point asks

    def fault(self, request: Consult) -> tuple[Code, str] | None:
        """Say what the session has found by now that stands against a request which waits; None: nothing."""
        return self._session.fault(request)

    def open_round(self, request: Consult, policy: Policy, now_ns: int) -> Round:
        """Take up what a request carries of an earlier round, and write its line as the server is to get it."""
        return self._rounds.open(request, lambda binding: binding in self._bindings(request, policy), now_ns)

    def seal(self, ticket: InFlight, state: str | None, policy: Policy, now_ns: int) -> str:
        """Give the state for the next round of an admitted request, with the server's own inside."""
        binding = self._binding(ticket, ticket.arguments, policy, self._definition(ticket))
        return self._rounds.seal_admitted(ticket, state, binding, now_ns + policy.approval.ttl_ns, now_ns)

    def find(
        self, request: Consult, decision: Decision, round_: Round, policy: Policy, now_ns: int
    ) -> Granted | Refused | None:
        """Find the answer about a call that needs one; None: somebody has to be asked, or is being asked."""
        for definition in self._definitions(request, policy):
            if _remembering(request, decision.reasons, definition) in self._remembered:
                return Granted(None)
        if round_.question is not None:
            found = self._weigh(round_.question, round_.reply, policy, now_ns)
            if found is not None:
                return found
        bindings = self._bindings(request, policy)
        for question in self._questions.values():
            if question.binding not in bindings or question.granted_by is None:
                continue
            if now_ns < question.expires_ns or question.ticket is request.ticket:
                return Granted(question)
        return None

    def ask(
        self, request: Consult, decision: Decision, round_: Round, policy: Policy, now_ns: int
    ) -> Waiting | Refused:
        """Ask a person about a call, by the first way that there is."""
        terms, ticket = policy.approval, request.ticket
        self._drop_expired(now_ns)
        bindings = self._bindings(request, policy)
        question = round_.question or self._left_over(bindings)
        # It is asked about anew: what was asked about it before is about something that has changed.
        for old in [each for each in self._questions.values() if each.ticket is ticket and each is not question]:
            self._void(old, now_ns)
        if question is None:
            kept_bytes = len(ticket.line) + sum(each.size for each in self._questions.values())
            if len(self._questions) >= MAX_QUESTIONS or kept_bytes > MAX_QUESTION_BYTES:
                return TOO_MANY
            question = Question(
                self._new_id(), request, decision.reasons, binding=bindings[0], asked_ns=now_ns, terms=terms
            )
            self._questions[question.id] = question
            # Without time to answer, a dialog would only be in the way.
            if terms.timeout_ns and "client" in terms.via and self._session.declares(ticket, "elicitation/create"):
                form = form_of(question, terms)
                if form is not None:
                    return self._ask_client(question, form, terms, now_ns)
        else:
            question.request, question.ticket = request, ticket
            if round_.question is None:
                question.held_until_ns = now_ns + terms.timeout_ns
        return self._ask_terminal(question, terms, now_ns)

    def use_up(self, granted: Granted) -> str:
        """An approved call was charged and passes: its approval is used up.  Give what the log says of it."""
        question = granted.question
        if question is None:
            return '"remembered"'
        del self._questions[question.id]
        waited_ms = (question.granted_ns - question.asked_ns) // 1_000_000
        return f'{{"id":"{question.id}","by":"{question.granted_by}","waited_ms":{waited_ms}}}'

    # What comes back

    def request_of(self, ticket: InFlight) -> Consult | None:
        """Give the request that a ticket is about, if a person is asked about it."""
        return next((each.request for each in self._questions.values() if each.ticket is ticket), None)

    def reply(
        self, ticket: InFlight, result: dict[str, Any] | None, policy: Policy, now_ns: int
    ) -> Granted | Refused | Waiting | None:
        """Take a client's answer to a dialog about a request that waits; None if nobody waits any more."""
        question = next((each for each in self._questions.values() if each.ticket is ticket), None)
        if question is None or not question.waits:
            return None
        question.dialog = ""
        return self._weigh(question, result, policy, now_ns) or self._ask_terminal(question, policy.approval, now_ns)

    def approve(self, id_: str, *, whole_tool: bool, policy: Policy, now_ns: int) -> tuple[Question | None, str]:
        """Take a terminal's yes: the question that it answers, and what is wrong with it.  What waits is to be judged again."""
        self._drop_expired(now_ns)
        question = self._questions.get(id_)
        if question is None or "terminal" not in policy.approval.via:
            return None, f"nothing waits for an approval `{id_}`"
        if question.granted_by is not None:
            return None, f"`{id_}` is approved already, and waits for the call"
        if whole_tool and not may_cover_tool(question, policy.approval):
            return (
                None,
                'this policy lets an approval cover one call only; `"approval": {"remember": "tool"}` would let it cover the tool',
            )
        request = question.request
        if question.binding not in self._bindings(request, policy) or self.fault(request) is not None:
            self._void(question, now_ns)
            return question, f"`{id_}` is void, for the tool has changed meanwhile; a call that waits is judged anew"
        self._grant(question, "terminal", whole_tool=whole_tool, policy=policy, now_ns=now_ns)
        return question, ""

    def deny(self, id_: str, now_ns: int) -> Question | None:
        """Take a terminal's no: the question is gone.  None if there is none."""
        self._drop_expired(now_ns)
        question = self._questions.pop(id_, None)
        if question is not None:
            self._record(question, "denied", now_ns, "terminal")
        return question

    def close_dialog(self, question: Question) -> list[Command]:
        """Take back what the client still shows of a question that is answered."""
        dialog, question.dialog = question.dialog, ""
        return self._session.withdraw_question(dialog) if dialog else []

    def withdraw(self, ticket: InFlight, now_ns: int) -> list[Command]:
        """A request that waited is gone: nobody need answer for it."""
        by = "server" if self._session.ended else "client"
        commands: list[Command] = []
        for question in [each for each in self._questions.values() if each.ticket is ticket]:
            commands += self.close_dialog(question)
            del self._questions[question.id]
            self._record(question, "withdrawn", now_ns, by)
        return commands

    def void(self, now_ns: int) -> tuple[list[Question], list[Command]]:
        """The policy has changed: nothing that was asked or answered counts any more.  Give what waited, to be judged anew."""
        self._remembered.clear()
        waiting = [each for each in self._questions.values() if each.waits]
        commands: list[Command] = []
        for question in self._questions.values():
            commands += self.close_dialog(question)
            self._record(question, "void", now_ns, "policy")
        self._questions.clear()
        return waiting, commands

    # What is due

    @property
    def deadline_ns(self) -> int | None:
        """When something is due about a request that waits; None: never."""
        dues = [min(each.held_until_ns, each.next_progress_ns) for each in self._questions.values() if each.waits]
        return min(dues, default=None)

    def overdue(self, policy: Policy, now_ns: int) -> list[tuple[Question, Refused]]:
        """Give what nobody has answered in time: each is to be refused now, and may be approved for a while yet."""
        found = []
        for question in list(self._questions.values()):
            if question.waits and now_ns >= question.held_until_ns:
                self._record(question, "expired", now_ns, "client" if question.place == "client" else "terminal")
                found.append((question, self._come_back(question, policy.approval, now_ns)))
        return found

    def progress(self, now_ns: int) -> list[Command]:
        """Tell the clients that want to know that their calls still wait."""
        commands: list[Command] = []
        for question in self._questions.values():
            if question.waits and now_ns >= question.next_progress_ns:
                question.next_progress_ns = now_ns + PROGRESS_EVERY_NS
                token = question.request.progress_token
                if token is not None:
                    question.progress += 1
                    commands.append(
                        Forward(CLIENT, replies.progress(token, question.progress, still_waiting(question)))
                    )
        return commands

    def pending(self, now_ns: int) -> Iterator[Question]:
        """Give the questions that can still be answered."""
        self._drop_expired(now_ns)
        return (each for each in list(self._questions.values()) if each.granted_by is None)

    # The ways to ask

    def _ask_client(self, question: Question, form: dict[str, Any], terms: ApprovalTerms, now_ns: int) -> Waiting:
        question.place = "client"
        if "terminal" in terms.via:
            self._prepare_terminal()
        ticket = question.request.ticket
        self._record(question, "asked", now_ns, "client")
        if not ticket.modern:
            question.dialog = f"mcpguard-{secrets.token_hex(16)}"
            line = replies.ask_client(question.dialog, form)
            commands = self._session.ask(ticket, question.dialog, line)
        else:
            question.ticket = None
            state = self._rounds.seal_asked(question, now_ns)
            commands = self._session.answer(ticket, replies.ask_in_result(ticket.id, form, state))
        return Waiting(commands)

    def _ask_terminal(self, question: Question, terms: ApprovalTerms, now_ns: int) -> Waiting | Refused:
        if "terminal" not in terms.via or not self._prepare_terminal():
            self._questions.pop(question.id, None)
            self._record(question, "unasked", now_ns, "client")
            return nobody_asked(question)
        question.place = "held"
        self._record(question, "asked", now_ns, "terminal")
        self._announce(describe(question, now_ns, terms))
        if now_ns >= question.held_until_ns:
            return self._come_back(question, terms, now_ns)
        return Waiting([])

    def _come_back(self, question: Question, terms: ApprovalTerms, now_ns: int) -> Refused:
        if "terminal" not in terms.via or not self._prepare_terminal():
            self._questions.pop(question.id, None)
            return nobody_answered(question)
        question.place, question.ticket = "later", None
        # From now on, however late that is: the machine may have slept.
        question.expires_ns = now_ns + terms.ttl_ns
        return may_come_back(question)

    def _weigh(self, question: Question, reply: object, policy: Policy, now_ns: int) -> Granted | Refused | None:
        """Say what a client's answer is worth; None if it is none of a person."""
        terms = policy.approval
        if now_ns - question.asked_ns < terms.min_answer_ns or not isinstance(reply, dict):
            self._record(question, "no person", now_ns, "client")
            return None
        content = reply.get("content")
        choice = content.get(replies.CHOICE) if isinstance(content, dict) else None
        if reply.get("action") == "accept" and (
            choice == ALLOW_ONCE or (choice == ALLOW_TOOL and may_cover_tool(question, terms))
        ):
            self._grant(question, "client", whole_tool=choice == ALLOW_TOOL, policy=policy, now_ns=now_ns)
            return Granted(question)
        self._questions.pop(question.id, None)
        self._record(question, "denied", now_ns, "client")
        return denied_because("")

    def _grant(self, question: Question, by: Rung, *, whole_tool: bool, policy: Policy, now_ns: int) -> None:
        question.granted_by, question.granted_ns = by, now_ns
        question.expires_ns = now_ns + policy.approval.ttl_ns
        # What has changed since it was shown to a person is not what they have allowed.
        request = question.request
        if whole_tool and question.binding in self._bindings(request, policy):
            definition = self._definition(request.ticket)
            self._remembered.add(_remembering(request, question.reasons, definition))
        self._record(question, "granted for the tool" if whole_tool else "granted", now_ns, by)

    # Bookkeeping

    def _definition(self, ticket: InFlight) -> bytes | None:
        return self._session.definition(ticket.subject) if ticket.method == "tools/call" else None

    def _definitions(self, request: Consult, policy: Policy) -> tuple[bytes | None, ...]:
        """Give what a tool may have been known to be while it was what it is now: nothing, before a list had shown it.

        Not where tools may change: there nobody says that it was the same before.  Elsewhere, one that changes is refused anyway.
        """
        definition = self._definition(request.ticket)
        return (definition,) if definition is None or policy.drift == "allow" else (definition, None)

    def _bindings(self, request: Consult, policy: Policy) -> tuple[str, ...]:
        """Give what an approval may be bound by that is for this very call; the first is what it is bound by now."""
        parts = request.ticket, request.arguments, policy
        return tuple(self._binding(*parts, definition) for definition in self._definitions(request, policy))

    def _binding(self, ticket: InFlight, arguments: object, policy: Policy, definition: bytes | None) -> str:
        return binding_of(ticket.method, ticket.subject, arguments, definition, policy.digest)

    def _left_over(self, bindings: tuple[str, ...]) -> Question | None:
        """Give the question about the same call that nobody waits for any more: it is asked again, under its id."""
        found = (each for each in self._questions.values() if each.place == "later" and each.binding in bindings)
        return next(found, None)

    def _drop_expired(self, now_ns: int) -> None:
        for question in [each for each in self._questions.values() if not each.waits and now_ns >= each.expires_ns]:
            del self._questions[question.id]

    def _void(self, question: Question, now_ns: int) -> None:
        """Forget a question: what it is about is not what it was."""
        self._questions.pop(question.id, None)
        self._record(question, "void", now_ns, "server")

    def _new_id(self) -> str:
        while (id_ := self._id_of_next()) in self._questions:
            pass
        return id_


def _remembering(
    request: Consult, reasons: tuple[Reason, ...], definition: bytes | None
) -> tuple[str, str, bytes | None]:
    return request.subject, " ".join(sorted(reason.rule for reason in reasons)), definition
