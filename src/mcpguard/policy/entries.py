"""Judges calls by one entry of a policy: its action, its rules and those of every tool, and what a call then owes.

The entry of a name is found elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, assert_never

from mcpguard.policy.charging import Levy, due, levy, merged
from mcpguard.policy.decision import Charge, Decision, Reason, ToolCall
from mcpguard.policy.model import Rule, Tool, Use
from mcpguard.policy.rules import ReadyRule, alias_sentence, compile_rule, names_of

if TYPE_CHECKING:
    from mcpguard.policy.arguments import Shape

Ruling: TypeAlias = "Decision | Rules"

REFUSED: Final = "the policy refuses this {0}"
HIDDEN: Final = "the policy hides this {0}"
_ASKED: Final = "the policy wants a person to approve this {0}"


def pointer(*steps: str | int) -> str:
    """Return the JSON Pointer (RFC 6901) that takes `steps`."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


@dataclass(frozen=True, slots=True)
class Common:
    """What holds for every tool, ready to judge."""

    require: tuple[ReadyRule, ...]
    deny_if: tuple[ReadyRule, ...]
    levies: tuple[Charge | Levy, ...]


@dataclass(slots=True)
class Entry:
    """What holds for the tools that one name or pattern decides; made ready to judge when it is first asked for.

    Entries are equal if they say the same.
    """

    pointer: str
    tool: Tool
    common: Common = field(compare=False, repr=False)
    shape: Shape | None = field(default=None, compare=False, repr=False)
    _ruling: Ruling | None = field(default=None, compare=False, repr=False)

    def ruling(self) -> Ruling:
        """Return the decision about every call of such a tool, or what decides about each."""
        if self._ruling is None:
            self._ruling = _ruling((self,))
        return self._ruling

    @property
    def refuses(self) -> bool:
        """Whether its action refuses every call."""
        return self.tool.action in {"deny", "hide"}


class Rules:
    """What decides about the calls of a tool by their arguments, or by its name.

    `entry` points at where this stands in the policy; `callable` says whether any call could ever pass.
    """

    __slots__ = (
        "_approvals",
        "_asked",
        "_checks",
        "_constant",
        "_denied",
        "_levies",
        "_names",
        "_shapes",
        "callable",
        "entry",
    )

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        first = entries[0]
        self.entry = first.pointer
        self._denied = _denied(first.pointer, first.tool, "tool")
        self._asked = _asked(first.pointer, first.tool, "tool")
        self._shapes = shapes_of(entries)
        self._checks = checks_of(entries)
        self._approvals = approvals_of(entries)
        self._levies = levies_of(entries)
        varying = any(isinstance(each, Levy) for each in self._levies)
        self._constant = None if varying else merged(each for each in self._levies if isinstance(each, Charge))
        self._names = names_of(path for rule in (*self._checks, *self._approvals) for path in rule.paths)
        for each in self._levies:
            for path in each.paths if isinstance(each, Levy) else ():
                self._names.add(path)
        always = any(rule.kind == "deny_if" and not rule.conditions for rule in self._checks)
        self.callable = self._denied is None and not always

    def judge(self, call: ToolCall) -> Decision:
        """Judge one call by everything that it meets."""
        aliased = self._names.alias_in(call.arguments) is not None
        refused = list(self._refused(call, aliased=aliased))
        charges = self._constant
        if charges is None:
            dues = [] if aliased else list(due(self._levies, call))
            refused += [reason for reason in dues if isinstance(reason, Reason)]
            charges = merged(charge for charge in dues if isinstance(charge, Charge))
        if refused:
            return Decision("deny", self.entry, tuple(refused))
        asked = tuple(self._asks(call))
        return Decision("deny" if asked else "allow", self.entry, asked, charges)

    def _refused(self, call: ToolCall, *, aliased: bool) -> Iterator[Reason]:
        """Yield every reason for which no limit need be looked at, and no person asked."""
        arguments, resolve = call.arguments, call.resolve
        if self._denied:
            yield self._denied
        for rule in self._checks:
            alias = names_of(rule.paths).alias_in(arguments) if aliased else None
            if alias is not None:
                yield Reason(rule.code, rule.pointer, alias_sentence(*alias))
            elif rule.refuses(arguments, resolve):
                yield Reason(rule.code, rule.pointer, rule.explain(arguments, resolve))
        for place, shape in self._shapes:
            problem = shape.problem_in(arguments)
            if problem:
                yield Reason("arguments", place, problem)
        if aliased:
            yield from self._other_aliases(call)

    def _other_aliases(self, call: ToolCall) -> Iterator[Reason]:
        """Yield the keys that could be taken for those of approvals and limits."""
        levies = [(each.charge.rule, each.paths) for each in self._levies if isinstance(each, Levy)]
        for rule, paths in [*((each.pointer, each.paths) for each in self._approvals), *levies]:
            alias = names_of(paths).alias_in(call.arguments)
            if alias is not None:
                yield Reason("arguments", rule, alias_sentence(*alias))

    def _asks(self, call: ToolCall) -> Iterator[Reason]:
        if self._asked:
            yield self._asked
        for rule in self._approvals:
            if rule.refuses(call.arguments, call.resolve):
                yield Reason(rule.code, rule.pointer, rule.explain(call.arguments, call.resolve))


_NOTHING: Final = Common((), (), ())
_STRICTNESS: Final = {"allow": 0, "require_approval": 1, "deny": 2, "hide": 3}


def in_force(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Put the entries that decide together in order, the one with the strictest action first; it is alone if it refuses every call."""
    ordered = sorted(entries, key=lambda entry: -_STRICTNESS[entry.tool.action])
    return tuple(ordered[:1] if ordered and ordered[0].refuses else ordered)


def joined(entries: tuple[Entry, ...]) -> Ruling:
    """Let several entries decide together: the stricter action, all rules, all limits."""
    entries = in_force(entries)
    return entries[0].ruling() if len(entries) == 1 else _ruling(entries)


def checks_of(entries: tuple[Entry, ...]) -> tuple[ReadyRule, ...]:
    """Return the rules that the calls meet which entries decide about, and those of every tool."""
    common = _common_of(entries)
    return (
        *(rule for each in entries for rule in compile_rules("require", f"{each.pointer}/require", each.tool.require)),
        *common.require,
        *(rule for each in entries for rule in compile_rules("deny_if", f"{each.pointer}/deny_if", each.tool.deny_if)),
        *common.deny_if,
    )


def approvals_of(entries: tuple[Entry, ...]) -> tuple[ReadyRule, ...]:
    """Return the rules by which a person is asked."""
    return tuple(
        compile_rule("approve_if", f"{each.pointer}/approve_if/{index}", rule.conditions, rule.reason)
        for each in entries
        for index, rule in enumerate(each.tool.approve_if)
    )


def shapes_of(entries: tuple[Entry, ...]) -> tuple[tuple[str, Shape], ...]:
    """Return the JSON Schemas that the arguments meet, each with its pointer."""
    return tuple((f"{each.pointer}/arguments", each.shape) for each in entries if each.shape is not None)


def levies_of(entries: tuple[Entry, ...]) -> tuple[Charge | Levy, ...]:
    """Return what the calls owe, also to the limits of every tool."""
    own = (levied for each in entries for levied in own_levies(each.pointer, each.tool))
    return (*own, *_common_of(entries).levies)


def _common_of(entries: tuple[Entry, ...]) -> Common:
    # What an entry refuses on its own does not meet the rules of every tool.
    return _NOTHING if entries[0].refuses else entries[0].common


def compile_rules(kind: Literal["require", "deny_if"], place: str, rules: Iterable[Rule]) -> tuple[ReadyRule, ...]:
    """Make the rules of a list ready to judge; `place` points at the list."""
    return tuple(
        compile_rule(kind, f"{place}/{index}", rule.conditions, rule.on_deny) for index, rule in enumerate(rules)
    )


def own_levies(place: str, holder: Tool | Use) -> Iterator[Charge | Levy]:
    """Yield what the limits of an entry ask for; `place` points at the entry."""
    for index, limit in enumerate(holder.limits):
        yield levy(f"{place}/limits/{index}", limit)
    if isinstance(holder, Tool) and holder.rate_limit is not None:
        yield levy(f"{place}/rate_limit", holder.rate_limit)


def constant_decision(place: str, holder: Tool | Use, noun: str, common: Iterable[Charge] = ()) -> Decision:
    """Decide about every use of something at once, by its action and its limits."""
    denied = _denied(place, holder, noun)
    if holder.action == "hide":
        assert denied is not None
        return Decision("hide", place, (denied,))
    if denied:
        return Decision("deny", place, (denied,))
    own = [each for each in own_levies(place, holder) if isinstance(each, Charge)]
    asked = _asked(place, holder, noun)
    return Decision("deny" if asked else "allow", place, (asked,) if asked else (), merged([*own, *common]))


def _ruling(entries: tuple[Entry, ...]) -> Ruling:
    first, *others = entries
    common = first.common
    tools = [each.tool for each in entries]
    own_rules = any(tool.require or tool.deny_if or tool.approve_if or tool.arguments is not None for tool in tools)
    common_rules = not first.refuses and (common.require or common.deny_if)
    levies = () if first.refuses else levies_of(entries)
    varies = own_rules or common_rules or any(isinstance(each, Levy) for each in levies)
    if first.tool.action == "hide" or not varies:
        more = (*(levied for each in others for levied in own_levies(each.pointer, each.tool)), *common.levies)
        return constant_decision(first.pointer, first.tool, "tool", (each for each in more if isinstance(each, Charge)))
    return Rules(entries)


def _denied(place: str, holder: Tool | Use, noun: str) -> Reason | None:
    match holder.action:
        case "allow" | "require_approval":
            return None
        case "deny":
            return Reason("denied", f"{place}/action", holder.reason or REFUSED.format(noun))
        case "hide":
            return Reason("denied", f"{place}/action", holder.reason or HIDDEN.format(noun))
        case _:
            assert_never(holder.action)


def _asked(place: str, holder: Tool | Use, noun: str) -> Reason | None:
    if holder.action != "require_approval":
        return None
    return Reason("approval_required", f"{place}/action", holder.reason or _ASKED.format(noun))
