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
            self._ruling = _ruling(self)
        return self._ruling


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
        "_shape",
        "callable",
        "entry",
    )

    def __init__(self, entry: Entry) -> None:
        tool = entry.tool
        self.entry = entry.pointer
        self._denied = _denied(entry.pointer, tool, "tool")
        self._asked = _asked(entry.pointer, tool, "tool")
        # What the entry refuses on its own does not meet the rules of every tool.
        common = entry.common if self._denied is None else NOTHING
        self._shape = entry.shape
        self._checks = (
            *compile_rules("require", f"{entry.pointer}/require", tool.require),
            *common.require,
            *compile_rules("deny_if", f"{entry.pointer}/deny_if", tool.deny_if),
            *common.deny_if,
        )
        self._approvals = tuple(
            compile_rule("approve_if", f"{entry.pointer}/approve_if/{index}", rule.conditions, rule.reason)
            for index, rule in enumerate(tool.approve_if)
        )
        self._levies = (*own_levies(entry.pointer, tool), *common.levies)
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
        if self._shape is not None:
            problem = self._shape.problem_in(arguments)
            if problem:
                yield Reason("arguments", f"{self.entry}/arguments", problem)
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


NOTHING: Final = Common((), (), ())


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


def _ruling(entry: Entry) -> Ruling:
    tool, common = entry.tool, entry.common
    own_rules = tool.require or tool.deny_if or tool.approve_if or tool.arguments is not None
    refused = tool.action in {"deny", "hide"}
    common_rules = not refused and (common.require or common.deny_if)
    levies = () if refused else (*own_levies(entry.pointer, tool), *common.levies)
    if tool.action == "hide" or not (own_rules or common_rules or any(isinstance(each, Levy) for each in levies)):
        return constant_decision(
            entry.pointer, tool, "tool", (each for each in common.levies if isinstance(each, Charge))
        )
    return Rules(entry)


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
