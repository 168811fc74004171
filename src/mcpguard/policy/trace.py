"""Shows how a call is judged: every entry and rule that is looked at, what was found, and what each made of it.

Judges nothing itself: the effect and the reasons are those of `evaluate`, and this adds what they were made from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mcpguard.policy.charging import Levy, due, levy
from mcpguard.policy.decision import Charge, Decision, Effect, Reason, ToolCall
from mcpguard.policy.entries import (
    Common,
    Entry,
    approvals_of,
    checks_of,
    compile_rules,
    in_force,
    levies_of,
    pointer,
    shapes_of,
)
from mcpguard.policy.evaluate import Policy, deciding, denied_unseen, evaluate
from mcpguard.policy.model import Tool
from mcpguard.policy.paths import ABSENT, BLOCKED, Found, Path, Place
from mcpguard.policy.rules import Kind, ReadyCondition, ReadyRule, alias_sentence, names_of
from mcpguard.policy.values import NO, UNSURE, YES, Answer, shown

if TYPE_CHECKING:
    from mcpguard.policy.arguments import Shape
    from mcpguard.policy.decision import Category
    from mcpguard.policy.match import Pattern
    from mcpguard.policy.model import Action, PolicyFile
    from mcpguard.policy.operators import Op

Outcome: TypeAlias = Literal["yes", "no", "unsure", "absent"]
NameKind: TypeAlias = Literal["hide", "exact", "glob", "category", "strange", "default"]
SubjectKind: TypeAlias = Literal["tool", "resource", "prompt"]

_WORDS: Final[dict[Answer, Outcome]] = {YES: "yes", UNSURE: "unsure", NO: "no"}
_EXACT_ALONE: Final = "it matches too, and the exact name decides alone"
_UNSEEN: Final = "nobody knows the tool's risk category"


@dataclass(frozen=True, slots=True)
class NameTrace:
    """A name or pattern of the policy beside the name of what is used.  `why` is said of one that decides or could have."""

    rule: str
    text: str
    kind: NameKind
    matches: bool
    decides: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """One value that a condition looked at: where it stands, and what it counts as; an absent one counts as something, too."""

    place: Place
    found: Found
    outcome: Outcome
    counts: Answer


@dataclass(frozen=True, slots=True)
class ConditionTrace:
    """One condition: all that its path found, and what came of it.  `decisive` is the first look that made the answer."""

    path: str
    op: Op
    value: object
    looks: tuple[Look, ...]
    decisive: Look

    @property
    def outcome(self) -> Outcome:
        """What the condition says: `absent` if it was decided by an argument that is not there."""
        return self.decisive.outcome

    @property
    def counts(self) -> Answer:
        """What the condition adds to its rule."""
        return self.decisive.counts


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """One rule: its conditions, joined, and whether it stands in the way.

    `alias` is said of a key that could be taken for one that the rule names: then the conditions do not matter.
    """

    rule: str
    kind: Kind
    conditions: tuple[ConditionTrace, ...]
    answer: Answer
    refuses: bool
    alias: str = ""


@dataclass(frozen=True, slots=True)
class SchemaTrace:
    """A JSON Schema for the arguments, and what it has against them; empty if nothing."""

    rule: str
    problem: str


@dataclass(frozen=True, slots=True)
class LimitTrace:
    """A limit, and what the call owes to it.

    `owed` is a reason if nobody can say, and None if a key of the arguments could be taken for another.
    """

    rule: str
    owed: Charge | Reason | None


@dataclass(frozen=True, slots=True)
class Trace:
    """How a call is judged while every counter is empty; `subject` is the name or URI of what is used, a `kind`.

    `decision` is what `evaluate` says.  `over` are the charges of an otherwise good call that not even empty counters
    admit; such a call is refused, and nobody is asked about it. `charges` is what a call is charged that is allowed, or
    would be once a person has approved it.
    """

    subject: str
    decision: Decision
    names: tuple[NameTrace, ...]
    action: Action | None
    rules: tuple[RuleTrace, ...]
    schema: SchemaTrace | None
    limits: tuple[LimitTrace, ...]
    over: tuple[Reason, ...]
    charges: tuple[Charge, ...]
    kind: SubjectKind = "tool"

    @property
    def effect(self) -> Effect:
        """What becomes of the call."""
        return "deny" if self.over else self.decision.effect

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Every reason for which it is refused; limits are looked at before a person is asked."""
        return self.over + self.decision.reasons

    @property
    def asks(self) -> tuple[Reason, ...]:
        """Why a person would be asked, by each rule that wants it; empty unless an approval is all that the call lacks."""
        return self.decision.reasons if self.decision.awaits_approval and not self.over else ()


@dataclass(frozen=True, slots=True)
class Grounds:
    """What the calls of one tool are judged by, beside its name.

    `tool` is the entry with the strictest action of those that decide, and `entry` points at it; there is no `tool` without one.
    `schema` is the first of the JSON Schemas for the arguments, as it stands in the policy.
    """

    entry: str = ""
    tool: Tool | None = None
    checks: tuple[ReadyRule, ...] = ()
    approvals: tuple[ReadyRule, ...] = ()
    shapes: tuple[tuple[str, Shape], ...] = ()
    levies: tuple[Charge | Levy, ...] = ()
    schema: dict[str, Any] | None = None

    @property
    def rules(self) -> tuple[ReadyRule, ...]:
        """Every rule with conditions."""
        return self.checks + self.approvals

    @property
    def asks_always(self) -> bool:
        """Whether a person is asked about every call, whatever its arguments."""
        by_action = self.tool is not None and self.tool.action == "require_approval"
        return by_action or any(not rule.conditions for rule in self.approvals)

    @property
    def levied(self) -> tuple[tuple[str, tuple[Path, ...]], ...]:
        """The limits that look at arguments: their pointers and paths."""
        return tuple((each.charge.rule, each.paths) for each in self.levies if isinstance(each, Levy))

    @property
    def named(self) -> tuple[tuple[str, tuple[Path, ...]], ...]:
        """Everything that looks at arguments by paths: pointers and paths."""
        return (*((rule.pointer, tuple(rule.paths)) for rule in self.rules), *self.levied)


def trace(policy: Policy, document: PolicyFile, call: ToolCall) -> Trace:
    """Judge a call and keep what was looked at; `policy` is what `document` was compiled to."""
    decision = evaluate(policy, call)
    grounds = grounds_of(policy, document, call.name, call.category)
    arguments = call.arguments
    aliased = any(names_of(paths).alias_in(arguments) is not None for _, paths in grounds.named)
    dues = [None if aliased else each for each in due(grounds.levies, call)]
    limits = tuple(LimitTrace(_rule_of(each), owed) for each, owed in zip(grounds.levies, dues, strict=True))
    over = over_limit(decision.charges)
    return Trace(
        subject=call.name,
        decision=decision,
        names=tuple(_names(policy, call.name, call.category)),
        action=None if grounds.tool is None else grounds.tool.action,
        rules=tuple(_rule(rule, call) for rule in grounds.rules),
        schema=_schema(grounds, arguments),
        limits=limits,
        over=over,
        charges=() if over else decision.charges,
    )


def grounds_of(policy: Policy, document: PolicyFile, name: str, category: Category | None = None) -> Grounds:
    """Collect what the calls of a tool are judged by; what no call of it ever meets is left out."""
    if any(pattern.matches(name) for pattern, _ in policy.hidden):
        return Grounds()
    entries = deciding(policy, name, category)
    if denied_unseen(policy, name, category, entries) or (not entries and policy.default == "deny"):
        return Grounds()
    entries = in_force(entries) or (Entry("/default", Tool(), _common(document)),)
    first = entries[0]
    if first.refuses and isinstance(first.ruling(), Decision):
        return Grounds(first.pointer, first.tool)
    return Grounds(
        first.pointer,
        first.tool,
        checks=checks_of(entries),
        approvals=approvals_of(entries),
        shapes=shapes_of(entries),
        levies=levies_of(entries),
        schema=next((each.tool.arguments for each in entries if each.shape is not None), None),
    )


def over_limit(charges: Iterable[Charge]) -> tuple[Reason, ...]:
    """Give the charges that not even an empty counter admits, as reasons."""
    return tuple(
        Reason(
            "rate_limited",
            charge.rule,
            f"counter {shown(charge.counter)} allows {charge.max} and this call takes {_amount(charge.amount)}, "
            "so it never passes",
        )
        for charge in charges
        if charge.amount > charge.max
    )


def globs_beside(
    name: str, globs: Sequence[tuple[Pattern, str]], decide: Collection[str], passed_over: str, *, exact: bool
) -> Iterator[NameTrace]:
    """Yield the globs of a section as they are looked at for a name; each comes with the pointer of its entry.

    `decide` are the pointers of the entries that do, `exact` says whether one of them has this very name, and
    `passed_over` why a glob that matches does not decide where nothing more specific does.
    """
    first: NameTrace | None = None
    rivals = [pattern for pattern, _ in globs if pattern.matches(name)]
    for pattern, entry in globs:
        if not pattern.matches(name):
            if not exact and first is None:
                yield NameTrace(entry, pattern.text, "glob", matches=False, decides=False)
        elif exact or first is not None:
            winner = name if first is None else first.text
            why = f"it matches too, and {shown(winner)} is more specific"
            yield NameTrace(entry, pattern.text, "glob", matches=True, decides=entry in decide, why=why)
        elif entry in decide:
            first = NameTrace(entry, pattern.text, "glob", matches=True, decides=True)
            yield replace(first, why=_why(*rivals[:2]))
        else:
            yield NameTrace(entry, pattern.text, "glob", matches=True, decides=False, why=passed_over)


def look_at(condition: ReadyCondition, call: ToolCall) -> tuple[Look, ...]:
    """Give everything that the path of a condition finds in a call, and what the condition says of each."""
    return tuple(_look(condition, place, found, call) for place, found in condition.path.find_all(call.arguments))


def _rule_of(each: Charge | Levy) -> str:
    return each.charge.rule if isinstance(each, Levy) else each.rule


def _common(document: PolicyFile) -> Common:
    everywhere = document.all_tools
    return Common(
        compile_rules("require", "/all_tools/require", everywhere.require),
        compile_rules("deny_if", "/all_tools/deny_if", everywhere.deny_if),
        tuple(levy(pointer("all_tools", "limits", index), limit) for index, limit in enumerate(everywhere.limits)),
    )


def _amount(amount: int | Decimal) -> str:
    return "one call" if amount == 1 else shown(amount)


def _schema(grounds: Grounds, arguments: Mapping[str, object]) -> SchemaTrace | None:
    """Show the first schema that has something against the arguments, else the first."""
    looked_at = [SchemaTrace(place, shape.problem_in(arguments)) for place, shape in grounds.shapes]
    return next((each for each in looked_at if each.problem), looked_at[0] if looked_at else None)


def _rule(rule: ReadyRule, call: ToolCall) -> RuleTrace:
    alias = names_of(rule.paths).alias_in(call.arguments)
    return RuleTrace(
        rule.pointer,
        rule.kind,
        tuple(_condition(condition, call) for condition in rule.conditions),
        rule.answer(call.arguments, call.resolve),
        refuses=alias is not None or rule.refuses(call.arguments, call.resolve),
        alias="" if alias is None else alias_sentence(*alias),
    )


def _condition(condition: ReadyCondition, call: ToolCall) -> ConditionTrace:
    looks = look_at(condition, call)
    answer = condition.answer(call.arguments, call.resolve)
    decisive = next(look for look in looks if look.counts is answer)
    return ConditionTrace(condition.path.text, condition.op, condition.value, looks, decisive)


def _look(condition: ReadyCondition, place: Place, found: Found, call: ToolCall) -> Look:
    if found is ABSENT:
        outcome: Outcome = _WORDS[condition.absent] if condition.op == "exists" else "absent"
        return Look(place, found, outcome, condition.absent)
    answer = UNSURE if found is BLOCKED else condition.judge(found, call.resolve)
    return Look(place, found, _WORDS[answer], answer)


def _names(policy: Policy, name: str, category: Category | None) -> Iterator[NameTrace]:
    """Yield the names and patterns in the order in which they are looked at, and what else would match."""
    for pattern, decision in policy.hidden:
        matches = pattern.matches(name)
        why = "what `hide` matches does not exist for the agent" if matches else ""
        yield NameTrace(decision.entry, pattern.text, "hide", matches, matches, why)
        if matches:
            return
    exact = policy.tools.exact.get(name)
    if exact is not None:
        yield NameTrace(exact.pointer, name, "exact", matches=True, decides=True, why="the exact name decides alone")
    entries = deciding(policy, name, category)
    unseen = denied_unseen(policy, name, category, entries)
    decide = set() if unseen else {entry.pointer for entry in entries}
    globs = [(pattern, entry.pointer) for pattern, entry in policy.tools.globs]
    passed_over = _UNSEEN if unseen else "`*` decides only where nothing else matches"
    yield from globs_beside(name, globs, decide, passed_over, exact=exact is not None)
    for known, entry in policy.categories.items():
        if category is not None and known != category:
            yield NameTrace(entry.pointer, f"@{known}", "category", matches=False, decides=False)
            continue
        why = _UNSEEN if category is None else "it is the tool's risk category"
        decides = entry.pointer in decide
        yield NameTrace(
            entry.pointer,
            f"@{known}",
            "category",
            matches=True,
            decides=decides,
            why=why if decides or unseen else _EXACT_ALONE,
        )
    if unseen or not entries:
        why = _UNSEEN if unseen else "no name and no pattern matches"
        yield NameTrace("/default", policy.default, "default", matches=True, decides=True, why=why)


def _why(winner: Pattern, second: Pattern | None = None) -> str:
    """Say why a pattern decides; `second` would without it."""
    if second is None:
        return "no other name or pattern matches"
    if second.is_everything:
        return "`*` decides only where nothing else matches"
    if winner.literals > second.literals:
        return f"it has the most literal characters: {winner.literals}, and {shown(second.text)} has {second.literals}"
    return (
        f"it has as many literal characters as {shown(second.text)}, and more of them stand before its first wildcard"
    )
