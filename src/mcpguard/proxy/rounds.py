"""Knows with which states this run lets a request's next round come, and takes each of them once (2026-07-28, patterns/mrtr).

Judges nothing and asks nobody: to which call a state belongs, it is told.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mcpguard.protocol.replies import QUESTION_KEY
from mcpguard.protocol.seals import ForgedError, Seal, next_round, read_seal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpguard.protocol.commands import Consult, InFlight
    from mcpguard.proxy.question import Question

MAX_ROUNDS: Final = 10
"""How many rounds of an admitted call in a row are no new calls."""
MAX_SEALS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Round:
    """What a request carries of an earlier round.

    `forged` says that this run has not given it out, `admitted` that it goes on with a call that was admitted, `question` that it
    brings the answer to one that is still open, with `reply` for it.
    """

    forged: bool = False
    admitted: bool = False
    question: Question | None = None
    reply: object = None


class Rounds:
    """The states that are out.  `question_of` finds a question by its id."""

    def __init__(self, question_of: Callable[[str], Question | None]) -> None:
        self._question_of = question_of
        self._key = secrets.token_bytes(32)
        self._seals: dict[str, int] = {}

    def open(self, request: Consult, belongs: Callable[[str], bool], now_ns: int) -> Round:
        """Take up what a request carries of an earlier round, and write its line as the server is to get it.

        `belongs` says whether a binding is one of this call. What was not given out by this run, does not belong to this call, has
        been presented before or has expired makes it a new call, and goes to nobody.
        """
        retry, ticket = request.retry, request.ticket
        if retry is None:
            return Round()
        if retry.state is None:
            # The guard gives a state with every question, its own and the server's: nobody has asked for these.
            ticket.line = next_round(ticket.line, None, others=False)
            return Round()
        try:
            seal = read_seal(self._key, retry.state)
        except ForgedError:
            ticket.line = next_round(ticket.line, None, others=False)
            return Round(forged=True)
        fresh = self._seals.pop(seal.nonce, None) is not None and now_ns < seal.expires_ns
        if not fresh or not belongs(seal.binding):
            ticket.line = next_round(ticket.line, None, others=False)
            return Round()
        if seal.kind == "admitted":
            ticket.line = next_round(ticket.line, seal.state, others=True)
            if seal.rounds > MAX_ROUNDS:
                return Round()
            ticket.rounds = seal.rounds
            return Round(admitted=True)
        ticket.line = next_round(ticket.line, None, others=False)
        return Round(question=self._question_of(seal.question), reply=retry.responses.get(QUESTION_KEY))

    def seal_admitted(self, ticket: InFlight, state: str | None, binding: str, expires_ns: int, now_ns: int) -> str:
        """Give the state for the next round of an admitted request, with the server's own inside."""
        rounds = getattr(ticket, "rounds", 0) + 1
        nonce = self._nonce(expires_ns, now_ns)
        return Seal("admitted", binding, nonce, expires_ns, rounds, state=state).write(self._key)

    def seal_asked(self, question: Question, now_ns: int) -> str:
        """Give the state with which a client brings the answer to a question."""
        nonce = self._nonce(question.expires_ns, now_ns)
        return Seal("ask", question.binding, nonce, question.expires_ns, question=question.id).write(self._key)

    def _nonce(self, expires_ns: int, now_ns: int) -> str:
        """Give the nonce of a seal that may be presented once until `expires_ns`."""
        if len(self._seals) >= MAX_SEALS:
            self._seals = {nonce: end for nonce, end in self._seals.items() if now_ns < end}
            while len(self._seals) >= MAX_SEALS:
                del self._seals[next(iter(self._seals))]
        nonce = secrets.token_hex(16)
        self._seals[nonce] = expires_ns
        return nonce
