"""Holds a conversation with a session: each line in, and in plain tuples what became of it.

What the guard says is shortened to what matters: `error(id, code)` for an error of whoever, `refused(id, code)` for the
refusal of a tool call. Every line that is sent anywhere is checked to be one line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from mcpguard.policy.decision import Verdict
from mcpguard.protocol.commands import Abandon, Answered, Consult, Forward, Hold, InFlight, Note, Remember, Replied
from mcpguard.protocol.rules import Rules
from mcpguard.protocol.session import CAPABILITIES_KEY, VERSION_KEY, Session
from mcpguard.protocol.wire import CLIENT, UPSTREAM, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from mcpguard.protocol.commands import Command
    from mcpguard.protocol.framing import Overlong
    from mcpguard.protocol.wire import Side

    Json: TypeAlias = dict[str, Any]
    Line: TypeAlias = Json | bytes | Overlong
    Happening: TypeAlias = tuple[Any, ...]

DECISION = "mcpguard/decision"
HELD: Happening = ("held",)


# What is said


def request(id_: Any, method: str, **params: Any) -> Json:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def notice(method: str, **params: Any) -> Json:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def call(id_: Any, tool: str, **params: Any) -> Json:
    return request(id_, "tools/call", name=tool, arguments={}, **params)


def modern(message: Json, **capabilities: Any) -> Json:
    """Say the same on the 2026-07-28 revision."""
    meta = {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: capabilities}
    return message | {"params": message["params"] | {"_meta": meta}}


def result(id_: Any, **members: Any) -> Json:
    return {"jsonrpc": "2.0", "id": id_, "result": members}


def failure(id_: Any, code: int = -1) -> Json:
    return {"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": "no"}}


# What becomes of it


def to_server(message: Json) -> Happening:
    return ("to server", message)


def to_client(message: Json) -> Happening:
    return ("to client", message)


def error(id_: Any, code: int) -> Json:
    return {"error": code, "id": id_}


def refused(id_: Any, code: str = "denied", *, modern: bool = False) -> Json:
    return {"refused": code, "id": id_, "modern": modern}


def noted(kind: str) -> Happening:
    return ("noted", kind)


def ended(status: str) -> Happening:
    return ("ended", status)


@dataclass
class Policy(Rules):
    """A fake of what a session asks of the policy: everything is allowed that is not named here."""

    denied: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)
    drift: bool = False
    server_requests: set[str] = field(
        default_factory=lambda: {"sampling/createMessage", "elicitation/create", "roots/list"}
    )
    needs_categories: bool = False
    seen: list[tuple[object, list[str]]] = field(default_factory=list)
    """The tools that a list has shown, and the names of those that changed."""

    def shows(self, method: str, name: str) -> bool:
        assert method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
        return name not in self.denied | self.hidden

    def permits_resource(self, uri: str) -> bool:
        return uri not in self.denied

    def permits_method(self, method: str) -> bool:
        return method in self.methods

    def permits_server_request(self, method: str) -> bool:
        return method in self.server_requests

    def permits_drift(self) -> bool:
        return self.drift

    def see_tools(self, tools: object, changed: list[str]) -> None:
        self.seen.append((tools, changed))

    def seal(self, ticket: InFlight, state: str | None) -> str:
        assert ticket.arguments is None or isinstance(ticket.arguments, dict), "a seal is bound to them"
        return f"sealed {ticket.subject} {state}"

    def judge(self, consult: Consult) -> Verdict:
        if consult.fault is not None:
            return Verdict(admitted=False, code=consult.fault[0], text=f"mcpguard: {consult.fault[1]}")
        if consult.subject in self.hidden:
            return Verdict(admitted=False, text="mcpguard: hidden", hidden=True)
        allowed = {
            "method": self.permits_method(consult.subject),
            "server_request": self.permits_server_request(consult.subject),
        }.get(consult.kind, consult.subject not in self.denied)
        return Verdict(admitted=allowed, text="" if allowed else "mcpguard: denied", rule="" if allowed else "/x")


class Conversation:
    """One session and both who speak through it.

    With `waiting`, what the session asks about is not judged at once: `asked` holds it, and `decide` judges the oldest. With
    `shortcuts`, plain lines go the short way.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        waiting: bool = False,
        held: bool = False,
        most: int = 65_536,
        shortcuts: bool = False,
    ) -> None:
        self.shortcuts = shortcuts
        self.carried = 0
        self.policy = policy or Policy()
        self.session = Session(now_ns=0, max_in_flight=most)
        self.asked: list[Consult] = []
        self.judged: list[Consult] = []
        self.now_s = 0.0
        self.waiting = waiting
        if not held:
            self.session.open(self.policy)

    def client(self, line: Line) -> list[Happening]:
        return self.hear(CLIENT, line)

    def server(self, line: Line) -> list[Happening]:
        return self.hear(UPSTREAM, line)

    def hear(self, side: Side, line: Line) -> list[Happening]:
        received = encode(line) if isinstance(line, dict) else line
        if self.shortcuts and isinstance(received, bytes):
            entry = (
                self.session.carry_call(received, self.now_ns, self.admit, None)
                if side == CLIENT
                else self.session.carry_answer(received)
            )
            if entry is not None:
                self.carried += 1
                if side == CLIENT:
                    return [("to server", shortened(entry.line))]
                status = "tool_error" if entry.extra.get("isError") is True else "ok"
                return [("to client", shortened(entry.line)), ended(status)]
        return self.told(self.session.receive(side, received, self.now_ns))

    def admit(self, ticket: InFlight, arguments: Json, now_ns: int, journal: None) -> bool:
        assert (now_ns, journal) == (self.now_ns, None)
        verdict = self.policy.judge(Consult(ticket, "tool", ticket.subject, arguments))
        if verdict.admitted:
            ticket.verdict = verdict
        return verdict.admitted

    @property
    def now_ns(self) -> int:
        return int(self.now_s * 1e9)

    def decide(self, verdict: Verdict | None = None) -> list[Happening]:
        consult = self.asked.pop(0)
        return self.told(self.session.resolve(consult.ticket, verdict or self.policy.judge(consult)))

    def after(self, seconds: float) -> list[Happening]:
        self.now_s += seconds
        return self.told(self.session.tick(self.now_ns))

    def ends(self, reason: str = "the server exited with status 3") -> list[Happening]:
        return self.told(self.session.end(reason))

    def told(self, commands: list[Command]) -> list[Happening]:
        """Carry out what the session wants, and say what happened."""
        happened: list[Happening] = []
        for command in commands:
            match command:
                case Forward():
                    happened.append(("to client" if command.to == CLIENT else "to server", shortened(command.line)))
                case Consult():
                    self.judged.append(command)
                    if self.waiting:
                        self.asked.append(command)
                    else:
                        happened += self.told(self.session.resolve(command.ticket, self.policy.judge(command)))
                case Abandon():
                    happened.append(("abandoned", command.ticket.id))
                case Replied():
                    happened.append(("replied", command.ticket.id, command.result))
                case Answered():
                    happened.append(ended(command.status))
                case Note():
                    happened.append(noted(command.kind))
                case Remember():
                    happened.append(("silent", command.silent))
                case Hold():
                    happened.append(HELD)
        return happened

    def ticket(self) -> InFlight:
        """Give the ticket of what was asked last."""
        return self.judged[-1].ticket


def shortened(line: bytes) -> Json:
    """Read a line that was sent."""
    assert line.endswith(b"\n")
    assert len(line.decode().splitlines()) == 1
    message: Json = json.loads(line)
    if "error" in message:
        return error(message["id"], message["error"]["code"])
    if DECISION in message.get("result", {}).get("_meta", {}):
        said = message["result"]
        assert said["isError"] is True
        assert "structuredContent" not in said
        assert [block["type"] for block in said["content"]] == ["text"]
        return refused(message["id"], said["_meta"][DECISION]["code"], modern=said.get("resultType") == "complete")
    return message
