"""Writes down what one run has decided, seen and asked: which fields of it the decision log holds.

Judges nothing, and writes no file: the lines wait in a `Journal`, which the relay commits before it forwards anything.
"""

from __future__ import annotations

from json import dumps
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcpguard.policy.canonical import packed
from mcpguard.policy.rendering import render_arguments
from mcpguard.protocol.wire import CLIENT
from mcpguard.proxy.verdicts import ADMITTED
from mcpguard.stores.audit import cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpguard.policy.decision import Charge, Decision, Verdict
    from mcpguard.policy.evaluate import Policy
    from mcpguard.protocol.commands import Answered, InFlight, Note
    from mcpguard.proxy.question import Question
    from mcpguard.stores.audit import Recorder

MAX_REMEMBERED: Final = 1000
"""For how many tools what every record says of them is kept."""
_REFUSED_REQUEST: Final = "refused_request"
_NS_PER_MS: Final = 1_000_000


class Introduced(Protocol):
    """Who speaks with whom: `clientInfo` and `serverInfo`, None until they are known."""

    client: dict[str, Any] | None
    server: dict[str, Any] | None


class Journal:
    """The records that are not written yet."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: list[bytes] = []


class Records:
    """The records of one run under `policy`."""

    def __init__(
        self,
        recorder: Recorder,
        parties: Introduced,
        policy: Policy,
        *,
        clock: Callable[[], int],
        wall_clock: Callable[[], int],
        session_id: str,
    ) -> None:
        self._recorder = recorder
        self._parties = parties
        self._audit = policy.audit
        self._clock = clock
        self._wall_clock = wall_clock
        self._session_id = session_id
        self._introduced: tuple[object, object] = (None, None)
        self._admitted_grounds: dict[str, tuple[Decision, str]] = {}
        self._tool_calls: dict[str, str] = {}

    def put_in_force(self, policy: Policy) -> None:
        """Name another policy in every later record, and hold of arguments what it wants held."""
        self._audit = policy.audit
        self._admitted_grounds.clear()
        self._recorder.put_in_force(policy.digest)

    def decision(
        self, ticket: InFlight, arguments: dict[str, Any] | None, decision: Decision, verdict: Verdict
    ) -> bytes:
        """Write down what was decided about a request."""
        # Written piece by piece: this is on the way of every call, and the pieces seldom change.
        recorder = self._recorder
        if self._parties.client is not self._introduced[0] or self._parties.server is not self._introduced[1]:
            self._introduce()
        digest = "null"
        if arguments is not None:
            digest = f'"{recorder.digest(packed(arguments))}"'
            if self._audit != "digest":
                digest += f',"arguments":{render_arguments(arguments, self._audit)}'
        effect = "allow" if verdict.admitted else "hide" if verdict.hidden else "deny"
        approval = f',"approval":{ticket.approval}' if hasattr(ticket, "approval") else ""
        return recorder.line(
            "decision",
            self._wall_clock(),
            f'{self._identity(ticket)},"args_digest":{digest},"effect":"{effect}",{self._grounds(decision, verdict)}{approval}',
        )

    def is_worth_a_line(self, ticket: InFlight, verdict: Verdict, now_ns: int, journal: Journal) -> bool:
        """Whether a verdict is to be written down: refused requests of a server, above so many in a minute, are only counted."""
        return (
            verdict.admitted
            or ticket.origin == CLIENT
            or self._recorder.is_worth_a_line(_REFUSED_REQUEST, self._wall_clock(), now_ns, journal.lines)
        )

    def approval(self, question: Question, status: str, now_ns: int, by: str) -> bytes:
        """Write down what became of a question: asked, granted, denied, expired and so on, by whom, after how long."""
        request = question.request
        return self._recorder.record(
            "approval",
            self._wall_clock(),
            approval_id=question.id,
            request_id=cut(request.ticket.id) if isinstance(request.ticket.id, str) else request.ticket.id,
            method=request.method,
            tool=cut(request.subject) if request.kind == "tool" else None,
            subject=cut(request.subject),
            rules=[reason.rule for reason in question.reasons],
            status=status,
            by=by,
            waited_ms=(now_ns - question.asked_ns) // _NS_PER_MS,
        )

    def end(self, answered: Answered, journal: Journal) -> None:
        """Write down how a request ended, if it was admitted."""
        ticket = answered.ticket
        if ticket.verdict is not None and ticket.verdict.admitted:
            self._end(ticket, answered.status, answered.result_bytes, self._clock(), journal)

    def end_call(
        self, ticket: InFlight, result: dict[str, Any], result_bytes: int, now_ns: int, journal: Journal
    ) -> None:
        """Write down how an admitted tool call ended whose result was passed on."""
        self._end(ticket, "tool_error" if result.get("isError") is True else "ok", result_bytes, now_ns, journal)

    def _end(self, ticket: InFlight, status: str, result_bytes: int, now_ns: int, journal: Journal) -> None:
        journal.lines.append(
            self._recorder.line(
                "outcome",
                self._wall_clock(),
                f'{self._identity(ticket)},"status":"{status}","duration_ms":{(now_ns - ticket.decided_ns) / _NS_PER_MS:.3f},'
                f'"result_bytes":{result_bytes}',
            )
        )

    def note(self, note: Note, journal: Journal) -> None:
        """Write down what was dropped, cut or changed."""
        journal.lines += self._recorder.event(
            note.kind,
            self._wall_clock(),
            self._clock(),
            detail=cut(note.detail),
            direction=None if note.side is None else _direction(note.side),
            method=None if note.method is None else cut(note.method),
            request_id=cut(note.id) if isinstance(note.id, str) else note.id,
        )

    def count(self, kind: str, times: int) -> None:
        """Count what was dropped, cut or changed before there was a log, and is too much to be told one by one."""
        self._recorder.count(kind, times)

    def write_counts(self, journal: Journal) -> None:
        """Write down how many events of each kind were only counted."""
        journal.lines += self._recorder.suppressed(self._wall_clock())

    def _introduce(self) -> None:
        client, server = self._introduced = (self._parties.client, self._parties.server)
        self._recorder.introduce(client, server)

    def _identity(self, ticket: InFlight) -> str:
        """Name a decision and the request that it was about."""
        id_ = ticket.id if type(ticket.id) is int else quoted(cut(str(ticket.id)))
        if ticket.method == "tools/call":
            what = self._tool_calls.get(ticket.subject)
            if what is None:
                if len(self._tool_calls) >= MAX_REMEMBERED:
                    self._tool_calls.clear()
                what = f'"direction":"client_to_server","method":"tools/call","tool":{quoted(cut(ticket.subject))}'
                self._tool_calls[ticket.subject] = what
            return f'"decision_id":"{self._session_id}-{ticket.decision}","request_id":{id_},{what}'
        subject = quoted(cut(ticket.subject))
        match ticket.method:
            case (
                "resources/read"
                | "resources/subscribe"
                | "resources/unsubscribe"
                | "prompts/get"
                | "completion/complete"
            ):
                what = f'"tool":null,"subject":{subject}'
            case _:
                what = '"tool":null'
        return (
            f'"decision_id":"{self._session_id}-{ticket.decision}","request_id":{id_},'
            f'"direction":"{_direction(ticket.origin)}","method":{quoted(cut(ticket.method))},{what}'
        )

    def _grounds(self, decision: Decision, verdict: Verdict) -> str:
        """Give the rules behind a verdict, and what was charged."""
        if verdict is ADMITTED:
            known = self._admitted_grounds.get(decision.entry)
            # Decisions by rules are made anew for each call, and each may be charged otherwise.
            if known is None or known[0] is not decision:
                full = self._audit == "full"
                charges = [_charge_record(charge, with_amount=full) for charge in decision.charges]
                known = (decision, f'"code":null,"reasons":[],"charges":{dumps(charges, separators=(",", ":"))}')
                self._admitted_grounds[decision.entry] = known
            return known[1]
        rules = [reason.rule for reason in decision.reasons] or [verdict.rule]
        return f'"code":"{verdict.code}","reasons":{dumps(rules, separators=(",", ":"))},"charges":[]'


def _charge_record(charge: Charge, *, with_amount: bool) -> dict[str, object]:
    # An amount comes from the arguments, and so does a key: the log holds the one only with all of them, the other never.
    return {
        "counter": charge.counter,
        "rule": charge.rule,
        "window_s": charge.window_s,
        "max": charge.max,
        "scope": charge.scope,
        **({"amount": float(charge.amount)} if with_amount and charge.amount != 1 else {}),
    }


def _direction(origin: str) -> str:
    return "client_to_server" if origin == CLIENT else "server_to_client"
