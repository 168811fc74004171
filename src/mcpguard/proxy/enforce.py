"""The enforcement point: judges a request, discharges what the judgement asks for, and has it written down.

Fails closed: whatever goes wrong while judging is a refusal.  Knows no pipes, and not what a record holds.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcpguard.policy.decision import (
    Decision,
    PromptUse,
    Reason,
    ResourceUse,
    TemplateUse,
    ToolCall,
    Verdict,
    unresolvable,
)
from mcpguard.policy.evaluate import (
    decide,
    evaluate,
    method_effect,
    server_request_effect,
    visible,
    visible_prompt,
    visible_resource,
    visible_template,
)
from mcpguard.protocol.commands import WAITING, Note, Settled, Waiting
from mcpguard.protocol.wire import CLIENT
from mcpguard.proxy.approval import ASKED_METHODS, Granted
from mcpguard.proxy.question import Refused, denied_because, describe
from mcpguard.proxy.records import Introduced, Journal, Records
from mcpguard.proxy.rounds import Round
from mcpguard.proxy.verdicts import ADMITTED, exhausted, not_approved, not_judged, refused
from mcpguard.stores.audit import LogError
from mcpguard.stores.counters import CHARGED, Charged, CounterStore, Exhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mcpguard.policy.decision import Category, Charge, Code, Effect
    from mcpguard.policy.evaluate import Policy
    from mcpguard.protocol.commands import Command, Consult, InFlight, Replied
    from mcpguard.proxy.approval import Approvals
    from mcpguard.proxy.categories import Categories
    from mcpguard.proxy.question import Question
    from mcpguard.stores.audit import DecisionLog, Recorder

_MAX_UNLISTED: Final = 1000
"""How many names of tools are remembered that the server was asked for, and has not shown."""
_ALLOW: Final = Decision("allow", "/default")
_NOBODY_WAITS: Final = "no call of this run waits for an approval"
_FORGED: Final = "a `requestState` that is not as this run has given it out was taken away, and made a new call of it"


class Parties(Introduced, Protocol):
    """Who speaks with whom, and can be asked."""

    def inquire(self, ticket: InFlight) -> list[Command]:
        """Ask the server for its tools, for a request that waits for that."""


class Enforcer:
    """Enforces one policy for one run.  Answers what a session must know of the policy (`Rules`).

    `recorder` and `log` are None for a run without a log. With `log_optional`, a log that cannot be written stops nothing. Calls of
    `consult` must not overlap.
    """

    def __init__(
        self,
        policy: Policy,
        counters: CounterStore,
        *,
        clock: Callable[[], int],
        wall_clock: Callable[[], int],
        session_id: str,
        parties: Parties,
        recorder: Recorder | None = None,
        log: DecisionLog | None = None,
        log_optional: bool = False,
        complain: Callable[[str], None] = lambda _: None,
        resolve: Callable[[str], str | None] = unresolvable,
        approvals: Approvals | None = None,
    ) -> None:
        self._policy = policy
        self._approvals = approvals
        self._journal = Journal()
        self._categories: Categories | None = None
        self._unlisted: set[str] = set()
        self._awaiting_list: dict[int, Consult] = {}
        self._know_categories()
        self._counters = counters
        self._clock = clock
        self._wall_clock = wall_clock
        self._parties = parties
        self.records = (
            None
            if recorder is None
            else Records(recorder, parties, policy, clock=clock, wall_clock=wall_clock, session_id=session_id)
        )
        """What is written down of this run; None for a run without a log."""
        self._log = log
        self._log_optional = log_optional
        self._complain = complain
        self._resolve = resolve
        self._complained = False
        self._decisions = 0

    def replace(self, policy: Policy, journal: Journal) -> list[Command]:
        """Judge by another policy from now on; what was counted under a name stays counted, and what waits for a person is judged anew."""
        self._journal = journal
        self._policy = policy
        self._know_categories()
        if self.records is not None:
            self.records.put_in_force(policy)
        if self._approvals is None:
            return []
        waiting, commands = self._approvals.void(self._clock())
        for question in waiting:
            commands += self._again(question.request, journal)
        return commands

    # What a session must know

    def shows(self, method: str, name: str) -> bool:
        """Whether the list that `method` gives may show the item of this name."""
        match method:
            case "tools/list":
                return visible(self._policy, name, self._category_of(name))
            case "prompts/list":
                return visible_prompt(self._policy, name)
            case "resources/templates/list":
                return visible_template(self._policy, name)
            case _:
                return visible_resource(self._policy, name)

    def permits_resource(self, uri: str) -> bool:
        """Whether the policy lets this resource be read, limits aside."""
        return evaluate(self._policy, ResourceUse(uri)).effect == "allow"

    def permits_method(self, method: str) -> bool:
        """Whether a method that the protocol does not know may pass."""
        return method_effect(self._policy, method) == "allow"

    def permits_server_request(self, method: str) -> bool:
        """Whether a server may ask this of the client."""
        return server_request_effect(self._policy, method) == "allow"

    def permits_drift(self) -> bool:
        """Whether a tool may change during a session."""
        return self._policy.drift == "allow"

    # Judging

    def admit(self, ticket: InFlight, arguments: dict[str, Any], now_ns: int, journal: Journal) -> bool:
        """Admit a tool call that nothing stands against, and charge it; False has done nothing: `consult` has the say."""
        policy = self._policy
        try:
            category = None
            if self.needs_categories:
                category = self._category_of(ticket.subject)
                if category is None and self._is_unlisted(ticket.subject):
                    return False
            decision = policy.memo.get((ticket.subject, category) if self.needs_categories else ticket.subject)
            if type(decision) is not Decision:
                decision = evaluate(policy, ToolCall(ticket.subject, arguments, self._resolve, category))
            if decision.effect != "allow":
                return False
            charges = decision.charges
            line = None
            if self.records is not None:
                # Before anything is charged: what cannot be written is not admitted.
                ticket.decision = self._decisions + 1
                line = self.records.decision(ticket, arguments, decision, ADMITTED)
            if charges:
                wall_ns = self._wall_clock()
                if self._counters.charge(charges, now_ns, wall_ns) is not CHARGED:
                    return False
                ticket.charged = (charges, now_ns, wall_ns)
        except Exception:  # noqa: BLE001 - `consult` will find it, too, and refuse
            return False
        if line is not None:
            self._decisions += 1
            ticket.decided_ns = now_ns
            journal.lines.append(line)
        ticket.verdict = ADMITTED
        return True

    def consult(self, request: Consult, journal: Journal) -> Verdict | Waiting:
        """Judge a request and discharge its obligations, or have a person asked; never raises."""
        ticket = request.ticket
        self._journal = journal
        self._decisions += 1
        ticket.decision = self._decisions
        ticket.decided_ns = now_ns = self._clock()
        try:
            if request.kind == "tool" and request.fault is None and self._is_unlisted(request.subject):
                self._awaiting_list[id(ticket)] = request
                return Waiting(self._parties.inquire(ticket))
            decision, verdict = self._discharge(request, self._decide(request), now_ns)
            if isinstance(verdict, Waiting):
                return verdict
            records = self.records
            if records is not None and records.is_worth_a_line(ticket, verdict, now_ns, journal):
                journal.lines.append(records.decision(ticket, request.arguments, decision, verdict))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong while judging is a refusal
            self.refund(ticket)
            self._complain(f"internal error while judging a call: {type(error).__name__}; the call was refused")
            return not_judged(request.subject)
        return verdict

    def _discharge(self, request: Consult, decision: Decision, now_ns: int) -> tuple[Decision, Verdict | Waiting]:
        """Do what a decision asks for: peek, ask, charge.  Gives the decision that stands in the end."""
        approvals, round_ = self._approvals, Round()
        if approvals is not None:
            round_ = approvals.open_round(request, self._policy, now_ns)
            request.retry = None
            if round_.forged and self.records is not None:
                self.records.note(
                    Note("forged_state", CLIENT, _FORGED, request.method, request.ticket.id), self._journal
                )
        asks = approvals is not None and decision.awaits_approval and request.method in ASKED_METHODS
        if not asks and decision.effect != "allow":
            return decision, refused(request.subject, decision)
        if round_.admitted:
            return Decision("allow", decision.entry), ADMITTED
        granted = None
        if asks:
            assert approvals is not None
            found: Granted | Refused | Waiting | None
            found = approvals.find(request, decision, round_, self._policy, now_ns)
            if found is None:
                # No person is asked about a call that could not pass.
                peeked = self._counters.peek(decision.charges, now_ns, self._wall_clock())
                if not isinstance(peeked, Charged):
                    return decision, exhausted(request.subject, peeked)
                found = approvals.ask(request, decision, round_, self._policy, now_ns)
            if isinstance(found, Waiting):
                return decision, found
            if isinstance(found, Refused):
                return decision, not_approved(request.subject, decision.reasons[0].rule, found)
            granted, decision = found, Decision("allow", decision.entry, charges=decision.charges)
        outcome = self._charge(request.ticket, decision.charges, now_ns) if decision.charges else CHARGED
        if not isinstance(outcome, Charged):
            return decision, exhausted(request.subject, outcome)
        if granted is not None and approvals is not None:
            request.ticket.approval = approvals.use_up(granted)
        return decision, ADMITTED

    # Categories of tools

    def _know_categories(self) -> None:
        self.needs_categories = bool(self._policy.categories)
        """Whether the policy has entries for risk categories."""
        if self.needs_categories and self._categories is None:
            # Only where they are asked for: to say what a tool can do takes its words.
            from mcpguard.proxy.categories import Categories

            self._categories = Categories()

    def _category_of(self, tool: str) -> Category | None:
        return self._categories.of(tool) if self._categories is not None else None

    def _is_unlisted(self, tool: str) -> bool:
        """Whether the server has to be asked for a tool before it can be judged: it was not yet, and no list has shown it."""
        return (
            self.needs_categories
            and self._categories is not None
            and not self._categories.has_seen(tool)
            and tool not in self._unlisted
            and tool not in self._policy.tools.exact
        )

    def see_tools(self, tools: object, changed: Collection[str]) -> None:
        """Learn from a list of tools what can be done with each; `changed` names those whose definitions have changed."""
        if self._categories is not None and isinstance(tools, list):
            self._categories.see(tools, changed)

    def listed(self, tickets: list[InFlight], journal: Journal) -> list[Command]:
        """The server was asked for its tools: what waited for that is judged, whether a list shows its tool now or not."""
        commands: list[Command] = []
        for ticket in tickets:
            request = self._awaiting_list.pop(id(ticket), None)
            if request is None:
                continue
            if len(self._unlisted) >= _MAX_UNLISTED:
                self._unlisted.clear()
            self._unlisted.add(request.subject)
            if ticket.state is WAITING:
                commands += self._again(request, journal)
        return commands

    # Asking persons

    def seal(self, ticket: InFlight, state: str | None) -> str:
        """Give the state under which the client may bring a request's next round."""
        assert self._approvals is not None
        return self._approvals.seal(ticket, state, self._policy, self._clock())

    def replied(self, replied: Replied, journal: Journal) -> list[Command]:
        """Take a client's answer to a question about one of its requests."""
        self._journal = journal
        if self._approvals is None:
            return []
        request = self._approvals.request_of(replied.ticket)
        found = self._approvals.reply(replied.ticket, replied.result, self._policy, self._clock())
        if request is None or found is None:
            return []
        if isinstance(found, Waiting):
            return found.commands
        return self._again(request, journal) if isinstance(found, Granted) else self._refuse(request, found, journal)

    def approve(self, id_: str, journal: Journal, *, whole_tool: bool) -> tuple[dict[str, Any], list[Command]]:
        """Take a terminal's yes; give what it is told, and what is to be done."""
        self._journal = journal
        if self._approvals is None:
            return {"error": _NOBODY_WAITS}, []
        now_ns = self._clock()
        question, problem = self._approvals.approve(id_, whole_tool=whole_tool, policy=self._policy, now_ns=now_ns)
        if question is None:
            return {"error": problem}, []
        item = describe(question, now_ns, self._policy.approval)
        commands = self._approvals.close_dialog(question)
        if question.waits:
            commands += self._again(question.request, journal)
        return {"error": problem} if problem else {"granted": item}, commands

    def deny(self, id_: str, reason: str, journal: Journal) -> tuple[dict[str, Any], list[Command]]:
        """Take a terminal's no; give what it is told, and what is to be done."""
        self._journal = journal
        now_ns = self._clock()
        question = None if self._approvals is None else self._approvals.deny(id_, now_ns)
        if question is None or self._approvals is None:
            return {"error": f"nothing waits for an approval `{id_}`"}, []
        item = describe(question, now_ns, self._policy.approval)
        commands = self._approvals.close_dialog(question)
        if question.waits:
            commands += self._refuse(question.request, denied_because(reason), journal)
        return {"denied": item}, commands

    def pending(self) -> list[dict[str, Any]]:
        """Describe what can still be approved."""
        if self._approvals is None:
            return []
        now_ns = self._clock()
        return [describe(question, now_ns, self._policy.approval) for question in self._approvals.pending(now_ns)]

    def abandon(self, ticket: InFlight, journal: Journal) -> list[Command]:
        """A request that may wait for a person is gone."""
        self._journal = journal
        self._awaiting_list.pop(id(ticket), None)
        return [] if self._approvals is None else self._approvals.withdraw(ticket, self._clock())

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` wants to be called; None: never."""
        return None if self._approvals is None else self._approvals.deadline_ns

    def tick(self, journal: Journal) -> list[Command]:
        """Refuse what nobody has answered in time, and tell the other clients that their calls still wait."""
        deadline_ns = self.deadline_ns
        now_ns = self._clock()
        if self._approvals is None or deadline_ns is None or now_ns < deadline_ns:
            return []
        self._journal = journal
        commands: list[Command] = []
        for question, refusal in self._approvals.overdue(self._policy, now_ns):
            commands += self._approvals.close_dialog(question)
            commands += self._refuse(question.request, refusal, journal)
        return commands + self._approvals.progress(now_ns)

    def _again(self, request: Consult, journal: Journal) -> list[Command]:
        """Judge a request that waited from the start, by what is known now."""
        if self._approvals is not None and request.fault is None:
            request.fault = self._approvals.fault(request)
        verdict = self.consult(request, journal)
        return verdict.commands if isinstance(verdict, Waiting) else [Settled(request.ticket, verdict)]

    def _refuse(self, request: Consult, refusal: Refused, journal: Journal) -> list[Command]:
        ticket = request.ticket
        decision = self._decide(request)
        rule = decision.reasons[0].rule if decision.reasons else ""
        verdict = not_approved(request.subject, rule, refusal)
        self._decisions += 1
        ticket.decision = self._decisions
        if self.records is not None:
            journal.lines.append(self.records.decision(ticket, request.arguments, decision, verdict))
        return [Settled(ticket, verdict)]

    def record_approval(self, question: Question, status: str, now_ns: int, by: str) -> None:
        """Write down what became of a question."""
        if self.records is not None:
            self._journal.lines.append(self.records.approval(question, status, now_ns, by))

    def _charge(self, ticket: InFlight, charges: tuple[Charge, ...], now_ns: int) -> Charged | Exhausted:
        wall_ns = self._wall_clock()
        outcome = self._counters.charge(charges, now_ns, wall_ns)
        if outcome is CHARGED:
            ticket.charged = (charges, now_ns, wall_ns)
        return outcome

    def refund(self, ticket: InFlight) -> None:
        """Take back what an admitted request was charged, for it never went out; once, and nothing if nothing was charged."""
        charged = getattr(ticket, "charged", None)
        if charged is not None:
            del ticket.charged
            with suppress(Exception):  # then it stays charged
                self._counters.refund(*charged)

    def _decide(self, request: Consult) -> Decision:
        if request.fault is not None:
            # What does not exist for the client has nothing wrong with it.
            return self._concealing(request) or _fault(*request.fault)
        match request.kind:
            case "tool":
                category = self._category_of(request.subject)
                ruling = decide(self._policy, request.subject, category)
                if type(ruling) is Decision:
                    return ruling
                return evaluate(
                    self._policy, ToolCall(request.subject, request.arguments or {}, self._resolve, category)
                )
            case "resource" | "prompt":
                return evaluate(self._policy, _use(request))
            case "server_request":
                return _decision_on(server_request_effect(self._policy, request.subject), "server_requests")
            case _:
                return _decision_on(method_effect(self._policy, request.subject), "methods")

    def _concealing(self, request: Consult) -> Decision | None:
        """Give the decision that conceals a thing; None if it is not concealed.

        A template is not hidden by its own name: one of which nothing may be read is not shown.
        """
        if request.kind == "tool":
            ruling = decide(self._policy, request.subject, self._category_of(request.subject))
            return ruling if isinstance(ruling, Decision) and ruling.effect == "hide" else None
        if request.kind not in ("resource", "prompt"):
            return None
        use = _use(request)
        decision = evaluate(self._policy, use)
        return (
            decision if decision.effect == "hide" or (type(use) is TemplateUse and decision.effect == "deny") else None
        )

    # Writing down

    def write(self, records: Sequence[bytes]) -> bool:
        """Write records to the log; False if that failed and so nothing that they tell of may happen."""
        if self._log is None:
            return True
        try:
            self._log.write(b"".join(records))
        except LogError as error:
            if not self._complained:
                self._complained = True
                consequence = "going on without it" if self._log_optional else "calls are refused until it can be"
                self._complain(f"{error.message}; {consequence}")
            return self._log_optional
        self._complained = False
        return True


def _fault(code: Code, message: str) -> Decision:
    return Decision("deny", "", (Reason(code, "/drift" if code == "drift" else "", message),))


def _use(request: Consult) -> PromptUse | TemplateUse | ResourceUse:
    if request.kind == "prompt":
        return PromptUse(request.subject)
    if request.method == "completion/complete" and "{" in request.subject:
        return TemplateUse(request.subject)
    return ResourceUse(request.subject)


def _decision_on(effect: Effect, section: str) -> Decision:
    if effect == "allow":
        return _ALLOW
    message = f'the policy does not open this method; ask the user to add it under "{section}"'
    return Decision("deny", f"/{section}", (Reason("denied", f"/{section}", message),))
