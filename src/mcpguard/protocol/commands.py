"""Names what a session asks to be done, and what it says has happened."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeAlias

    from mcpguard.policy.decision import Charge, Code, Verdict
    from mcpguard.protocol.wire import Id, Side

    Command: TypeAlias = "Forward | Consult | Abandon | Replied | Settled | Listed | Answered | Note | Hold | Remember"


class Forward:
    """Send `line` to the side `to`."""

    __slots__ = ("line", "to")

    def __init__(self, to: Side, line: bytes) -> None:
        self.to = to
        self.line = line


class Consult:
    """Judge a request, then call `Session.resolve(ticket, verdict)`.

    `subject` is the tool's or prompt's name or the resource's URI, empty for other methods. `fault` is set where the session itself
    found a reason to refuse (code and sentence): then the judgement is only to be recorded. `progress_token` is where the client wants to
    hear of progress, None if it does not; `retry` what it carries of an earlier round of this request (2026-07-28), if anything.
    """

    __slots__ = ("arguments", "fault", "kind", "method", "progress_token", "retry", "subject", "ticket")

    def __init__(
        self,
        ticket: InFlight,
        kind: str,
        subject: str = "",
        arguments: dict[str, Any] | None = None,
        fault: tuple[Code, str] | None = None,
    ) -> None:
        self.ticket = ticket
        self.kind = kind
        self.method = ticket.method
        self.subject = subject
        self.arguments = arguments
        self.fault = fault
        self.progress_token: Id | None = None
        self.retry: Retry | None = None


class Retry:
    """What a request carries of an earlier round: the state that the answer to that gave, and the responses that it asked for."""

    __slots__ = ("responses", "state")

    def __init__(self, state: str | None, responses: dict[str, Any]) -> None:
        self.state = state
        self.responses = responses


class Abandon:
    """A request that is still being judged was withdrawn by its client, or its server is gone: stop asking; resolve its ticket all the same."""

    __slots__ = ("ticket",)

    def __init__(self, ticket: InFlight) -> None:
        self.ticket = ticket


class Replied:
    """The client has answered a question of the guard's own, about the request of `ticket`; `result` is None for an error."""

    __slots__ = ("result", "ticket")

    def __init__(self, ticket: InFlight, result: dict[str, Any] | None) -> None:
        self.ticket = ticket
        self.result = result


class Waiting:
    """In place of a verdict: a person is asked, and `commands` say how.  Said by whoever judges."""

    __slots__ = ("commands",)

    def __init__(self, commands: list[Command]) -> None:
        self.commands = commands


class Settled:
    """What a request waited for has come: `verdict` is for `Session.resolve`.  Said by whoever judges, not by a session."""

    __slots__ = ("ticket", "verdict")

    def __init__(self, ticket: InFlight, verdict: Verdict) -> None:
        self.ticket = ticket
        self.verdict = verdict


class Listed:
    """The server was asked for its tools, and what it has shown is known by now: these requests waited for that."""

    __slots__ = ("tickets",)

    def __init__(self, tickets: list[InFlight]) -> None:
        self.tickets = tickets


class Answered:
    """A request that had a verdict has ended: `status` is ok, tool_error, error, lost, cancelled or task."""

    __slots__ = ("result_bytes", "status", "ticket")

    def __init__(self, ticket: InFlight, status: str, result_bytes: int) -> None:
        self.ticket = ticket
        self.status = status
        self.result_bytes = result_bytes


class Note:
    """Something that was dropped, cut or changed: for the decision log, counted by `kind`.

    `side` is where it came from, None for what happened to the guard itself.
    """

    __slots__ = ("detail", "id", "kind", "method", "side")

    def __init__(
        self, kind: str, side: Side | None, detail: str, method: str | None = None, id_: Id | None = None
    ) -> None:
        self.kind = kind
        self.side = side
        self.detail = detail
        self.method = method
        self.id = id_


class Hold:
    """The line needs the policy, which is not there yet: give it to `receive` again once the session is open."""

    __slots__ = ()


class Remember:
    """The server was found to be silent to `server/discover`, or has introduced itself: worth keeping between runs."""

    __slots__ = ("silent",)

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent


HOLD: Final = Hold()

WAITING: Final = 0
SENT: Final = 1
CANCELLED: Final = 2
"""Sent and then cancelled: the id stays reserved for the late answer, which is dropped."""
SPOKEN_FOR: Final = 3
"""Sent, and answered by the guard: the id stays reserved likewise."""
WITHDRAWN: Final = 4


class InFlight:
    """One request on its way: from the line that brought it to the line that answers it.

    `line` is kept only until it is sent or refused.
    """

    charged: tuple[tuple[Charge, ...], int, int]
    """For whoever judges, and there only if something was charged: what, and at which instant of both clocks."""
    arguments: dict[str, Any] | None
    """Of a request of the 2026-07-28 revision, whose answer may ask for another round; there only on those."""
    rounds: int
    """How many rounds this request has had without being judged as a new one; there only if it has had any."""
    approval: str
    """For whoever judges: what the log says of the approval that this request was admitted with; there only if there is one."""

    __slots__ = (
        "approval",
        "arguments",
        "capabilities",
        "charged",
        "decided_ns",
        "decision",
        "extra",
        "id",
        "line",
        "method",
        "modern",
        "origin",
        "rounds",
        "seq",
        "state",
        "subject",
        "task",
        "verdict",
    )

    def __init__(self, origin: Side, id_: Id, method: str, line: bytes, seq: int) -> None:
        self.origin = origin
        self.id = id_
        self.method = method
        self.line = line
        self.seq = seq
        self.state = SENT
        self.modern = False
        self.task = False
        self.capabilities: object = None
        self.subject = ""
        self.extra: Any = None
        self.verdict: Verdict | None = None
        self.decision = 0
        """For whoever judges: the number of the decision, and the instant it was made."""
        self.decided_ns = 0
