"""Says what a question about one call is, and how it reads: in a client's dialog, in a terminal, and to the agent that waits.

Knows nothing of who is asked when, and takes no answer.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mcpguard.policy.canonical import canonical
from mcpguard.policy.display import readable, visible_text
from mcpguard.protocol import replies
from mcpguard.protocol.commands import WAITING

if TYPE_CHECKING:
    from mcpguard.policy.decision import ApprovalTerms, Code, Reason
    from mcpguard.protocol.commands import Consult, InFlight

Rung: TypeAlias = Literal["client", "terminal"]

MAX_FORM_CHARS: Final = 2000
"""How long what a call is about and its arguments may be, written out, to be shown in a client's form."""
PROGRESS_EVERY_NS: Final = 5_000_000_000
ALLOW_ONCE: Final = "allow once"
ALLOW_TOOL: Final = "allow this tool"
DENY: Final = "deny"
_ID_CHARS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Letters and digits that nobody mistakes for one another."""
_ID_LENGTH: Final = 8
_NS_PER_S: Final = 1_000_000_000


def choose_id() -> str:
    """Give the id of a question: short enough to be typed, and one of 850 billion, so that two runs do not meet."""
    return "".join(secrets.choice(_ID_CHARS) for _ in range(_ID_LENGTH))


class Question:
    """One call that a person is asked about.

    `place` says who has it: the "client" in a dialog, a terminal while the call is "held", or nobody any more who waits ("later").
    `ticket` is the request that waits for the answer; None if the client is to come again.
    """

    __slots__ = (
        "asked_ns",
        "binding",
        "dialog",
        "expires_ns",
        "granted_by",
        "granted_ns",
        "held_until_ns",
        "id",
        "next_progress_ns",
        "place",
        "progress",
        "reasons",
        "request",
        "size",
        "ticket",
    )

    def __init__(
        self,
        id_: str,
        request: Consult,
        reasons: tuple[Reason, ...],
        *,
        binding: str,
        asked_ns: int,
        terms: ApprovalTerms,
    ) -> None:
        self.id = id_
        self.request = request
        self.reasons = reasons
        self.binding = binding
        self.size = len(request.ticket.line)
        self.asked_ns = asked_ns
        self.held_until_ns = asked_ns + terms.timeout_ns
        self.expires_ns = self.held_until_ns + terms.ttl_ns
        self.place: Literal["client", "held", "later"] = "held"
        self.ticket: InFlight | None = request.ticket
        self.dialog = ""
        self.granted_by: Rung | None = None
        self.granted_ns = 0
        self.progress = 0
        self.next_progress_ns = asked_ns + PROGRESS_EVERY_NS

    @property
    def waits(self) -> bool:
        """Whether a request waits for the answer."""
        return self.ticket is not None and self.ticket.state is WAITING


def may_cover_tool(question: Question, terms: ApprovalTerms) -> bool:
    """Whether the answer may be about later calls of the tool, too."""
    return terms.remember == "tool" and question.request.kind == "tool"


# For a person


def form_of(question: Question, terms: ApprovalTerms) -> dict[str, Any] | None:
    """Write the question for a client's dialog; None if the call does not fit in one."""
    request = question.request
    # A URI is as good as an argument: who sees its beginning has not seen what they allow.
    subject, arguments = readable(request.subject), readable(request.arguments or {})
    if len(subject) + len(arguments) > MAX_FORM_CHARS:
        return None
    reasons = "\n".join(f"- {visible_text(f'{each.message} ({each.rule})')}" for each in question.reasons)
    what = f"{request.kind} {subject}"
    if request.kind != "resource":
        what += f"\narguments: {arguments}"
    message = f"mcpguard: may this call pass?\n\n{what}\n\nA person is asked because:\n{reasons}"
    choices = [DENY, ALLOW_ONCE]
    if may_cover_tool(question, terms):
        choices.append(ALLOW_TOOL)
    return replies.question(message, choices)


def describe(question: Question, now_ns: int, terms: ApprovalTerms) -> dict[str, Any]:
    """Describe a question for whoever may answer it in a terminal: JSON, with the arguments as canonical JSON text."""
    until_ns = question.held_until_ns if question.waits else question.expires_ns
    return {
        "id": question.id,
        "kind": question.request.kind,
        "subject": question.request.subject,
        "arguments": canonical(question.request.arguments or {}),
        "rules": [{"rule": reason.rule, "message": reason.message} for reason in question.reasons],
        "waited_s": round((now_ns - question.asked_ns) / _NS_PER_S, 1),
        "state": question.place,
        "expires_in_s": round(max(0, until_ns - now_ns) / _NS_PER_S, 1),
        "remember": terms.remember,
    }


# For the agent


@dataclass(frozen=True, slots=True)
class Refused:
    """A call may not pass; `text` is what its client is told, after the name of the tool."""

    code: Code
    text: str


TOO_MANY: Final = Refused("busy", "refused: too many calls wait for approval. Try again when some are answered.")


def denied_because(reason: str) -> Refused:
    """Say that a person said no, and why, if they gave a reason."""
    return Refused(
        "approval_denied",
        f"denied: the user did not approve it{f': {reason}' if reason else ''}. Do not retry unchanged.",
    )


def nobody_asked(question: Question) -> Refused:
    """Say that there is no way to ask a person."""
    return Refused(
        "approval_required",
        f"needs approval: {_why(question)}; nobody could be asked, for the client shows no dialog to a person. "
        "Do not retry unchanged.",
    )


def nobody_answered(question: Question) -> Refused:
    """Say that it is too late for an answer."""
    return Refused("approval_expired", f"needs approval: {_why(question)}; nobody answered in time.")


def may_come_back(question: Question) -> Refused:
    """Say that nobody has answered yet, and that the same call may pass once somebody has."""
    return Refused(
        "approval_expired",
        f"needs approval {question.id}: {_why(question)}. Ask the user to run `mcpguard approve {question.id}`, then call again "
        "with the same arguments.",
    )


def still_waiting(question: Question) -> str:
    """Say that a call waits on."""
    return (
        f"waiting for approval: mcpguard approve {question.id}" if question.place == "held" else "waiting for approval"
    )


def _why(question: Question) -> str:
    return question.reasons[0].message.rstrip(".")
