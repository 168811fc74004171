"""Is one run without a process: a client, the guard's own session, policy and approvals, and a server, with a clock that a test turns.

Does what the relay does with a session's commands, line by line; what is said to either side stays for a test to look at.  Knows both
eras: an `Attempt` is one call from its first request on, whatever the era makes a client send for it.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mcpguard.policy.evaluate import compile_policy
from mcpguard.policy.model import PolicyFile
from mcpguard.protocol.commands import Abandon, Answered, Consult, Forward, Listed, Note, Replied, Settled, Waiting
from mcpguard.protocol.session import Session
from mcpguard.protocol.wire import CLIENT, UPSTREAM, encode
from mcpguard.proxy.approval import Approvals
from mcpguard.proxy.enforce import Enforcer
from mcpguard.proxy.records import Journal
from mcpguard.stores.audit import Recorder
from mcpguard.stores.counters import MemoryCounters
from support.conversation import DECISION, modern, notice, request, result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpguard.policy.decision import Verdict
    from mcpguard.policy.evaluate import Policy
    from mcpguard.protocol.commands import Command, InFlight
    from mcpguard.protocol.wire import Side
    from mcpguard.proxy.question import Question
    from support.conversation import Json

Era: TypeAlias = Literal["handshake", "2026-07-28"]
QUESTION: Final = "mcpguard/approval"
ELICITATION: Final = "elicitation/create"
_NS: Final = 1_000_000_000
_START_NS: Final = 10**15


def policy_of(parts: Mapping[str, object]) -> Policy:
    """Compile a policy that need not name its version."""
    return compile_policy(PolicyFile.model_validate({"version": "1"} | dict(parts)))


class Run:
    """One run in memory.

    `elicitation` is what the client declares of that name, None for nothing.  `terminal` says whether another terminal can answer.
    `server_got` and `client_got` hold every line sent there, `records` the decision log, `announced` what terminals were told, `desk_is_open` whether
    they could ask by now.
    """

    def __init__(
        self,
        policy: Mapping[str, object],
        *,
        era: Era = "handshake",
        elicitation: object = (),
        terminal: bool = True,
        id_of_next: Callable[[], str] | None = None,
    ) -> None:
        self.era = era
        self.now_ns = _START_NS
        self.server_got: list[Json] = []
        self.client_got: list[Json] = []
        self.client_said: list[Json] = []
        self.claims: dict[str, Attempt] = {}
        """Whose call each dialog is about."""
        self.announced: list[Json] = []
        self.complaints: list[str] = []
        self.terminal = terminal
        self.desk_is_open = False
        self.announcing_fails = False
        self.session = Session(now_ns=self.now_ns)
        self.journal = Journal()
        self.counters = MemoryCounters()
        self._lines: list[bytes] = []
        self._ids = itertools.count(1)
        # An empty object is what most clients declare: forms.
        self.capabilities: Json = (
            {} if elicitation is None else {"elicitation": {} if elicitation == () else elicitation}
        )

        approvals = Approvals(
            self.session,
            prepare_terminal=self._prepare_terminal,
            announce=self._announce,
            record=self._record,
            **({} if id_of_next is None else {"id_of_next": id_of_next}),
        )
        self.enforcer = Enforcer(
            policy_of(policy),
            self.counters,
            clock=lambda: self.now_ns,
            wall_clock=lambda: self.now_ns,
            session_id="s",
            parties=self.session,
            recorder=Recorder(bytes(32), {}, command=[]),
            complain=self.complaints.append,
            approvals=approvals,
        )
        assert self.enforcer.records is not None
        self._log = self.enforcer.records
        self.session.open(self.enforcer)
        if era == "handshake":
            self.client(request("hello", "initialize", protocolVersion="2025-11-25", capabilities=self.capabilities))
            self.server(result("hello", capabilities={"tools": {}}, serverInfo={"name": "s"}))
            self.server_got.clear()
            self.client_got.clear()

    # Who says something

    def client(self, message: Json) -> None:
        """Let the client say a line."""
        self.client_said.append(message)
        self._hear(CLIENT, encode(message))

    def server(self, message: Json) -> None:
        """Let the server say a line."""
        self._hear(UPSTREAM, encode(message))

    def attempt(self, tool: str, arguments: Json | None = None, *, token: object = None, id_: Any = None) -> Attempt:
        """Let the client call a tool."""
        return self.attempt_of("tools/call", token=token, id_=id_, name=tool, arguments=arguments or {})

    def attempt_of(self, method: str, *, token: object = None, id_: Any = None, **params: Any) -> Attempt:
        """Let the client make a request of any kind."""
        return Attempt(self, method, params, token=token, id_=id_)

    def list_tools(self, *tools: Json) -> None:
        """Let the client ask for the tools, and the server answer with these."""
        id_ = self.next_id()
        message = request(id_, "tools/list")
        self.client(modern(message, **self.capabilities) if self.era != "handshake" else message)
        self.server(result(id_, tools=list(tools)))

    def wait(self, seconds: float) -> None:
        """Let time pass, and the supervisor do what is due at every instant in it."""
        until_ns = self.now_ns + round(seconds * _NS)
        while (due_ns := self.enforcer.deadline_ns) is not None and due_ns <= until_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self.carry_out(self.enforcer.tick(self.journal))
            later_ns = self.enforcer.deadline_ns
            assert later_ns is None or later_ns > self.now_ns, "what was due is still due"
        self.now_ns = until_ns

    def approve(self, id_: str, *, tool: bool = False) -> Json:
        """Say yes in another terminal; give what that is told."""
        answer, commands = self.enforcer.approve(id_, self.journal, whole_tool=tool)
        self.carry_out(commands)
        return answer

    def deny(self, id_: str, reason: str = "") -> Json:
        """Say no in another terminal; give what that is told."""
        answer, commands = self.enforcer.deny(id_, reason, self.journal)
        self.carry_out(commands)
        return answer

    def reload(self, policy: Mapping[str, object]) -> None:
        """Put another policy in force."""
        self.carry_out(self.enforcer.replace(policy_of(policy), self.journal))
        self.carry_out(self.session.announce_lists())

    def lose_client(self) -> None:
        """Let the client be gone."""
        for ticket in self.session.withdraw_waiting():
            self.carry_out([Abandon(ticket)])

    def lose_server(self) -> None:
        """Let the server be gone."""
        self.carry_out(self.session.end("the server exited with status 3"))

    # What there is to see

    @property
    def ran(self) -> list[Json]:
        """The parameters of every tool call that reached the server, without `_meta`."""
        calls = (said["params"] for said in self.server_got if said.get("method") == "tools/call")
        return [{name: value for name, value in params.items() if name != "_meta"} for params in calls]

    @property
    def records(self) -> list[Json]:
        """Give the decision log so far."""
        self._lines += self.journal.lines
        self.journal.lines.clear()
        return [json.loads(line) for line in self._lines]

    @property
    def log_text(self) -> bytes:
        """Give the bytes of the decision log so far."""
        assert self.records is not None
        return b"".join(self._lines)

    @property
    def statuses(self) -> list[str]:
        """What became of questions, in the order of the log."""
        return [f"{record['status']} ({record['by']})" for record in self.records if record["kind"] == "approval"]

    @property
    def decisions(self) -> list[Json]:
        """The log's records of decisions on requests of the client."""
        return [record for record in self.records if record["kind"] == "decision"]

    @property
    def charged(self) -> int:
        """How many admissions were charged, by the log."""
        return sum(1 for record in self.decisions if record["charges"])

    @property
    def waiting_ids(self) -> list[str]:
        """The ids under which something can be approved."""
        return [item["id"] for item in self.enforcer.pending()]

    def the_id(self) -> str:
        """Give the one id under which something can be approved."""
        (id_,) = self.waiting_ids
        return id_

    def open_dialogs(self) -> list[Json]:
        """Give the requests of the guard's own that its client shows right now."""
        dialogs: dict[Any, Json] = {}
        for said in self.client_got:
            if said.get("method") == ELICITATION and str(said["id"]).startswith("mcpguard-"):
                dialogs[said["id"]] = said
            elif said.get("method") == "notifications/cancelled":
                dialogs.pop(said["params"]["requestId"], None)
        return list(dialogs.values())

    def next_id(self) -> int:
        """Give an id that the client has not used."""
        return next(self._ids)

    def _record(self, question: Question, status: str, now_ns: int, by: str) -> None:
        self.enforcer.record_approval(question, status, now_ns, by)

    def _prepare_terminal(self) -> bool:
        self.desk_is_open = self.terminal
        return self.terminal

    def _announce(self, item: Json) -> None:
        if self.announcing_fails:
            raise OSError
        self.announced.append(item)

    # What the relay does

    def _hear(self, side: Side, line: bytes) -> None:
        session, enforcer, journal = self.session, self.enforcer, self.journal
        if side == CLIENT:
            entry = session.carry_call(line, self.now_ns, enforcer.admit, journal)
        else:
            entry = session.carry_answer(line)
            if entry is not None:
                self._log.end_call(entry, entry.extra, len(line), self.now_ns, journal)
        if entry is None:
            self.carry_out(session.receive(side, line, self.now_ns))
        else:
            line, entry.line = entry.line, b""
            self._send(UPSTREAM if side == CLIENT else CLIENT, line)

    def carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Forward():
                    self._send(command.to, command.line)
                case Consult():
                    verdict = self.enforcer.consult(command, self.journal)
                    if isinstance(verdict, Waiting):
                        self.carry_out(verdict.commands)
                    else:
                        self._settle(command.ticket, verdict)
                case Settled():
                    self._settle(command.ticket, command.verdict)
                case Listed():
                    self.carry_out(self.enforcer.listed(command.tickets, self.journal))
                case Replied():
                    self.carry_out(self.enforcer.replied(command, self.journal))
                case Abandon():
                    self.carry_out(self.enforcer.abandon(command.ticket, self.journal))
                case Answered():
                    self._log.end(command, self.journal)
                case Note():
                    self._log.note(command, self.journal)

    def _settle(self, ticket: InFlight, verdict: Verdict) -> None:
        self.carry_out(self.session.resolve(ticket, verdict))

    def _send(self, to: Side, line: bytes) -> None:
        assert line.endswith(b"\n")
        assert len(line.decode().splitlines()) == 1
        (self.client_got if to == CLIENT else self.server_got).append(json.loads(line))


class Attempt:
    """One call of a client's, from its first request to its last answer.

    `id` is the id of its latest request.
    """

    def __init__(self, run: Run, method: str, params: Json, *, token: object, id_: Any) -> None:
        self.run = run
        self.method = method
        self.params = params
        self._token = token
        self.send(id_=id_)

    def send(self, *, id_: Any = None, **params: Any) -> None:
        """Make the request, anew or with more parameters."""
        run = self.run
        self.id = run.next_id() if id_ is None else id_
        self._from = len(run.client_got), len(run.server_got)
        message = request(self.id, self.method, **self.params, **params)
        if run.era != "handshake":
            message = modern(message, **run.capabilities)
        if self._token is not None:
            message["params"].setdefault("_meta", {})["progressToken"] = self._token
        run.client(message)
        self._dialog()

    @property
    def answer(self) -> Json | None:
        """The answer to the latest request, if it has one; there is never another one."""
        since = self.run.client_got[self._from[0] :]
        found = [said for said in since if "method" not in said and said["id"] == self.id]
        assert len(found) <= 1
        return found[0] if found else None

    @property
    def outcome(self) -> str:
        """Say what became of it so far: "ran", "asked" (the client shows a dialog), "waits" (and shows none), or the refusal's code."""
        answer = self.answer
        forwarded = [
            said for said in self.run.server_got[self._from[1] :] if said.get("id") == self.id and "method" in said
        ]
        if answer is not None and self._decision(answer) is not None:
            assert not forwarded
            code = self._decision(answer)
            assert isinstance(code, str)
            return code
        if forwarded:
            assert len(forwarded) == 1
            return "ran"
        if answer is not None:
            return "asked" if QUESTION in answer.get("result", {}).get("inputRequests", {}) else "answered"
        return "asked" if self._dialog() is not None else "waits"

    @property
    def text(self) -> str:
        """What the agent is told by a refusal."""
        answer = self.answer
        assert answer is not None
        if "error" in answer:
            text = answer["error"]["message"]
        else:
            assert answer["result"]["isError"] is True
            (block,) = answer["result"]["content"]
            text = block["text"]
        assert isinstance(text, str)
        return text

    @property
    def form(self) -> Json:
        """The parameters of the question that the client shows."""
        if self.run.era == "handshake":
            dialog = self._dialog()
            assert dialog is not None
            return dict(dialog["params"])
        assert self.answer is not None
        (asked,) = self.answer["result"]["inputRequests"].values()
        assert asked["method"] == ELICITATION
        return dict(asked["params"])

    @property
    def state(self) -> str:
        """The state that the answer to the latest request gave."""
        assert self.answer is not None
        state = self.answer["result"]["requestState"]
        assert isinstance(state, str)
        return state

    def reply(self, reply: object) -> None:
        """Answer the dialog with a result of any shape; None for an error, which the newer revision has no place for."""
        run = self.run
        if run.era == "handshake":
            dialog = self._dialog()
            assert dialog is not None
            message = {"jsonrpc": "2.0", "id": dialog["id"]}
            run.client(message | ({"error": {"code": -1, "message": "no"}} if reply is None else {"result": reply}))
            return
        self.send(inputResponses={} if reply is None else {QUESTION: reply}, requestState=self.state)

    def accept(self, choice: str = "allow once", *, after_s: float = 1.0) -> None:
        """Choose something in the dialog, as a person does: not at once."""
        self.run.wait(after_s)
        self.reply({"action": "accept", "content": {"decision": choice}})

    def finish(self, **members: Any) -> None:
        """Let the server answer the latest request."""
        self.run.server(result(self.id, **(members or {"content": []})))

    def next_round(self, **responses: Any) -> None:
        """Bring what the server has asked for in its latest answer."""
        self.send(inputResponses=responses, requestState=self.state)

    def cancel(self) -> None:
        """Let the client withdraw it."""
        self.run.client(notice("notifications/cancelled", requestId=self.id))

    def _dialog(self) -> Json | None:
        run = self.run
        answered = {said["id"] for said in run.client_said if "method" not in said}
        for said in run.open_dialogs():
            is_new = said in run.client_got[self._from[0] :]
            if is_new and said["id"] not in answered and run.claims.setdefault(said["id"], self) is self:
                return said
        return None

    @staticmethod
    def _decision(answer: Json) -> object:
        if "error" in answer:
            return (answer["error"].get("data") or {}).get(DECISION, {}).get("code")
        return answer["result"].get("_meta", {}).get(DECISION, {}).get("code")
