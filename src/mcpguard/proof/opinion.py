"""Says what a policy means for a whole call: the second opinion, which never asks `evaluate`.

Joins what the readings of names, conditions and schemas say, in the words of a case: allow, deny, approve or hide, and the rules that
must be among the reasons. Where one of them does not say and it could matter, neither does this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mcpguard.policy.entries import pointer
from mcpguard.policy.model import Limit, Tool
from mcpguard.proof.dues import AnyLimit, can_be_charged, dues_of
from mcpguard.proof.names import best_match, decides_about_tool, strictest
from mcpguard.proof.reading import Kind, Said, rule_says, steps_of
from mcpguard.proof.shapes import arguments_accepted, names_in

if TYPE_CHECKING:
    from typing import Any

    from mcpguard.policy.model import AllTools, ApprovalRule, PolicyFile, Rule, Use

Effect: TypeAlias = Literal["allow", "deny", "approve", "hide"]
Section: TypeAlias = Literal["resources", "prompts"]

_PLAIN_URI: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-@{}?=&#+,~*!$'()")


@dataclass(frozen=True, slots=True)
class Opinion:
    """What becomes of a call, and the rules that are surely among the reasons."""

    effect: Effect
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadRule:
    """A rule that calls meet, with its pointer."""

    pointer: str
    kind: Kind
    rule: Rule | ApprovalRule

    def says(self, arguments: Mapping[str, object]) -> Said:
        """Say what the rule answers."""
        return rule_says(self.rule.conditions, self.kind, arguments)


@dataclass(frozen=True, slots=True)
class Meeting:
    """Everything that the calls of one tool meet.

    `entries` point at what decides. `constant` is what becomes of every call, if that is known without its arguments; `asked` says that a
    person is asked about every call, by the actions `asks` point at.
    """

    entries: tuple[str, ...]
    constant: Opinion | None = None
    asked: bool = False
    asks: tuple[str, ...] = ()
    rules: tuple[ReadRule, ...] = ()
    shapes: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    limits: tuple[tuple[str, AnyLimit], ...] = ()

    def judge(self, arguments: Mapping[str, object]) -> Opinion | None:
        """Say what becomes of a call with these arguments; None if it is not for this reading to say."""
        if self.constant is not None:
            return self.constant
        if self._has_alias(arguments):
            return None
        refused, doubt = self._refused(arguments)
        if refused:
            return Opinion("deny", refused)
        asks = {rule.pointer: rule.says(arguments) for rule in self.rules if rule.kind == "approve_if"}
        asking = tuple(place for place, said in asks.items() if said in ("yes", "unsure"))
        if doubt or (None in asks.values() and not asking and not self.asked):
            return None
        dear = too_dear(self.limits, arguments)
        if dear is not None:
            return dear
        if asking or self.asked:
            return Opinion("approve", (*self.asks, *asking))
        return Opinion("allow")

    def _refused(self, arguments: Mapping[str, object]) -> tuple[tuple[str, ...], bool]:
        """Give the rules that refuse, and whether another one may."""
        refused: list[str] = []
        doubt = False
        for rule in self.rules:
            if rule.kind == "approve_if":
                continue
            said = rule.says(arguments)
            if said is None:
                doubt = True
            elif (said == "yes") is (rule.kind == "deny_if") or said == "unsure":
                refused.append(rule.pointer)
        for place, schema in self.shapes:
            accepted = arguments_accepted(schema, arguments)
            if accepted is False:
                refused.append(place)
            doubt = doubt or accepted is None
        refused += [place for place, limit in self.limits if not can_be_charged(limit, arguments)]
        return tuple(refused), doubt

    def _has_alias(self, arguments: Mapping[str, object]) -> bool:
        """Whether some key could be taken for one that the policy is about; wherever it stands, to be sure."""
        named = {step for path in self.paths() for step in path if step is not None}
        for _, schema in self.shapes:
            named |= set(names_in(schema))
        by_fold: dict[str, set[str]] = {}
        for name in named:
            by_fold.setdefault(_bare(name), set()).add(name)
        return any(name != key for key in _keys_in(arguments) for name in by_fold.get(_bare(key), ()))

    def paths(self) -> Iterator[tuple[str | None, ...]]:
        """Yield every path that is looked at."""
        for rule in self.rules:
            for condition in rule.rule.conditions:
                yield steps_of(condition.path)
        for _, limit in self.limits:
            if isinstance(limit, Limit):
                if limit.cost is not None:
                    yield steps_of(limit.cost)
                if limit.per not in (None, "tool"):
                    yield steps_of(str(limit.per))


def meeting_of(document: PolicyFile, name: str, category: str | None) -> Meeting | None:
    """Say what the calls of a tool meet; None if the description of the language leaves it open."""
    whose = decides_about_tool(document, name, category)
    if whose is None:
        return None
    if whose.hidden_by:
        places = tuple(pointer("hide", index) for index in whose.hidden_by)
        return Meeting(places, Opinion("hide", places if len(places) == 1 else ()))
    places = tuple(pointer("tools", text) for text in whose.entries)
    first = strictest(document.tools, whose.entries)
    action = document.tools[first[0]].action if first else "allow"
    because = (pointer("tools", first[0], "action"),) if len(first) == 1 else ()
    if action == "hide":
        return Meeting(places, Opinion("hide", because))
    if action == "deny":
        return Meeting(places, Opinion("deny", because))
    if document.default == "deny" and (whose.unseen or not whose.entries):
        return Meeting(places or ("/default",), Opinion("deny", ("/default",)))
    if whose.unseen and (len(whose.entries) > 1):
        return None
    tools = [(pointer("tools", text), document.tools[text]) for text in whose.entries]
    return Meeting(
        places or ("/default",),
        asked=action == "require_approval",
        asks=because if action == "require_approval" else (),
        rules=tuple(_rules(document, tools)),
        shapes=tuple((f"{place}/arguments", tool.arguments) for place, tool in tools if tool.arguments is not None),
        limits=tuple(_limits(document, tools)),
    )


def use_opinion(document: PolicyFile, section: Section, name: str) -> Opinion | None:
    """Say what becomes of the use of a resource or a prompt."""
    uses: Mapping[str, Use] = getattr(document, section) or {}
    found = best_match(uses, name)
    if found is None:
        return None
    if section == "resources" and not (found and name == found[0]) and not is_plain_uri(name):
        return None
    if not found:
        return Opinion("allow") if document.default == "allow" else Opinion("deny", ("/default",))
    place = (pointer(section, found[0], "action"),)
    dear = too_dear(use_limits(document, section, name), {})
    if dear is not None and uses[found[0]].action in ("allow", "require_approval"):
        return dear
    match uses[found[0]].action:
        case "allow":
            return Opinion("allow")
        case "require_approval":
            return Opinion("approve", place)
        case "deny":
            return Opinion("deny", place)
        case "hide":
            return Opinion("hide", place)


def use_limits(document: PolicyFile, section: Section, name: str) -> tuple[tuple[str, AnyLimit], ...]:
    """Give the limits that the use of a resource or a prompt is charged on."""
    uses: Mapping[str, Use] = getattr(document, section) or {}
    found = best_match(uses, name) or ()
    return tuple(
        (pointer(section, text, "limits", index), limit)
        for text in found
        for index, limit in enumerate(uses[text].limits)
    )


def too_dear(limits: Sequence[tuple[str, AnyLimit]], arguments: Mapping[str, object]) -> Opinion | None:
    """Say that a call is refused because it alone is more than a limit allows; None if it is not."""
    dear = [due.rule for due in dues_of(limits, arguments, "") if due.amount > due.max]
    return Opinion("deny", tuple(dear) if len(dear) == 1 else ()) if dear else None


def is_plain_uri(uri: str) -> bool:
    """Whether servers read a URI in one way only."""
    scheme, colon, _ = uri.partition(":")
    is_lower = not colon or scheme == scheme.lower()
    names = uri.replace(":", "/").replace("?", "/").replace("#", "/").split("/")
    return is_lower and _PLAIN_URI.issuperset(uri) and not {".", ".."}.intersection(names)


def _rules(document: PolicyFile, tools: Sequence[tuple[str, Tool]]) -> Iterator[ReadRule]:
    holders: list[tuple[str, Tool | AllTools]] = [*tools, ("/all_tools", document.all_tools)]
    for place, holder in holders:
        for index, rule in enumerate(holder.require):
            yield ReadRule(f"{place}/require/{index}", "require", rule)
        for index, rule in enumerate(holder.deny_if):
            yield ReadRule(f"{place}/deny_if/{index}", "deny_if", rule)
        for index, asking in enumerate(holder.approve_if if isinstance(holder, Tool) else ()):
            yield ReadRule(f"{place}/approve_if/{index}", "approve_if", asking)


def _limits(document: PolicyFile, tools: Sequence[tuple[str, Tool]]) -> Iterator[tuple[str, AnyLimit]]:
    for place, tool in tools:
        for index, limit in enumerate(tool.limits):
            yield f"{place}/limits/{index}", limit
        if tool.rate_limit is not None:
            yield f"{place}/rate_limit", tool.rate_limit
    for index, limit in enumerate(document.all_tools.limits):
        yield f"/all_tools/limits/{index}", limit


def _bare(key: str) -> str:
    return key.replace("_", "").replace("-", "").casefold()


def _keys_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys_in(item)
