"""Finds the smallest change of the arguments with which a refused call would pass, if it can be without asking a person.

Proposes nothing that was not judged: what it gives, `evaluate` allows, or would ask a person about, as about every call of
the tool.  It tries the values that the policy itself names, those next to them, keys left out, and keys added; so it may find
nothing where a person who knows the tool would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from mcpguard.policy.canonical import canonical
from mcpguard.policy.charging import Levy
from mcpguard.policy.edits import Edit, EditKind, edited, slot_for, wrapped
from mcpguard.policy.evaluate import Policy, evaluate
from mcpguard.policy.examples import (
    Schema,
    Steps,
    alias_by_schema,
    examples_of,
    names_in,
    nearest,
    respelled,
    schemas_at,
    values_of,
)
from mcpguard.policy.paths import ABSENT, MANY, Place
from mcpguard.policy.rules import ReadyRule, names_of
from mcpguard.policy.schemas import tightened
from mcpguard.policy.trace import Grounds, grounds_of, look_at, over_limit
from mcpguard.policy.values import NO, YES

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

    from mcpguard.policy.decision import Reason, ToolCall
    from mcpguard.policy.model import PolicyFile

MAX_EDITS: Final = 3
MAX_TRIES: Final = 3000
_FEWEST_TRIES: Final = 30
_MAX_WORK: Final = 300_000
"""How many values all tries together may look at: large arguments are tried less often."""
_MAX_VALUES: Final = 24
_MAX_ITEMS: Final = 10
_EXAMPLES: Final = ("other", 1, 0, True, False)
# How much an edit assumes: nothing but another spelling, what the policy asks for, nothing at all, anything.
_SPELLED, _NAMED, _LEFT_OUT, _INVENTED = range(4)


@dataclass(frozen=True, slots=True)
class Change:
    """Edits, in the order in which they are made, after which the call is allowed; and the arguments that they make.

    `asked` says that even then a person has to approve the call, because every call of the tool needs it.
    """

    edits: tuple[Edit, ...]
    arguments: Mapping[str, object]
    asked: bool = False


@dataclass(frozen=True, slots=True)
class NoChange:
    """No change was found.

    `by_name` says that none can help, because the refusal, or what asks a person, is about every call of the tool.  `tried` counts
    what was judged, and `gave_up` says that there was more to try.
    """

    by_name: bool
    tried: int = 0
    gave_up: bool = False


_Ranked: TypeAlias = tuple[int, Edit]


@dataclass(frozen=True, slots=True)
class _State:
    """Arguments on the way: the edits that made them, how much these assume, and what still stands against them."""

    arguments: Mapping[str, object]
    edits: tuple[Edit, ...]
    assumed: int
    reasons: tuple[Reason, ...]


def mend(policy: Policy, document: PolicyFile, call: ToolCall) -> Change | NoChange:
    """Find the fewest edits with which a call passes while every counter is empty; none for one that passes as it is.

    Passes without asking a person, unless every call of the tool is asked about.
    """
    grounds = grounds_of(policy, document, call.name, call.category)
    asked = grounds.asks_always

    def against(arguments: Mapping[str, object]) -> tuple[Reason, ...]:
        decision = evaluate(policy, replace(call, arguments=arguments))
        asks = () if asked and decision.awaits_approval else decision.reasons
        return over_limit(decision.charges) + asks

    start = _State(call.arguments, (), 0, against(call.arguments))
    if not start.reasons:
        return NoChange(by_name=True) if asked else Change((), call.arguments)
    if any(_is_by_name(reason, grounds) for reason in start.reasons):
        return NoChange(by_name=True)
    found = _Search(call, grounds, against).run(start)
    return replace(found, asked=asked) if isinstance(found, Change) else found


def _is_by_name(reason: Reason, grounds: Grounds) -> bool:
    """Whether a reason holds for every call of the tool."""
    if reason.code in {"denied", "default_deny"}:
        return True
    if any(rule.pointer == reason.rule and not rule.conditions for rule in grounds.rules):
        return True
    return reason.code == "rate_limited" and not _costs(grounds, reason.rule)


def _costs(grounds: Grounds, rule: str) -> list[Levy]:
    """List the limits that decide how much is charged where the limit at `rule` is: those that share its counter."""
    charges = [each.charge if isinstance(each, Levy) else each for each in grounds.levies]
    counters = {charge.counter for charge in charges if charge.rule == rule}
    levies = [each for each in grounds.levies if isinstance(each, Levy)]
    return [each for each in levies if each.cost is not None and each.charge.counter in counters]


class _Search:
    """A search from few edits to many, in which every edit answers the first reason that is left.

    INVARIANT: whatever makes a call pass has to answer that reason, so nothing is missed by looking at no other; and what
    is tried in a place depends on the place alone, so a value is found there that a later reason asks for.
    """

    def __init__(
        self, call: ToolCall, grounds: Grounds, against: Callable[[Mapping[str, object]], tuple[Reason, ...]]
    ) -> None:
        self._call = call
        self._grounds = grounds
        self._against = against
        self._schema: Schema | None = None
        if grounds.schema is not None:
            tight = tightened({"type": "object"} | grounds.schema)
            assert isinstance(tight, dict)
            self._schema = tight
        self._validator: Draft202012Validator | None = None
        self._max: dict[str, int] = {}
        for each in grounds.levies:
            charge = each.charge if isinstance(each, Levy) else each
            self._max[charge.counter] = min(charge.max, self._max.get(charge.counter, charge.max))

    def run(self, start: _State) -> Change | NoChange:
        tries = max(_FEWEST_TRIES, min(MAX_TRIES, _MAX_WORK // _size(start.arguments)))
        seen = {canonical(start.arguments)}
        states = [start]
        tried = 0
        for _ in range(MAX_EDITS):
            deeper: list[_State] = []
            for state in states:
                for rank, edit in self._edits(state):
                    arguments = edited(state.arguments, edit)
                    name = canonical(arguments)
                    if name in seen:
                        continue
                    if tried == tries:
                        return NoChange(by_name=False, tried=tried, gave_up=True)
                    tried += 1
                    seen.add(name)
                    edits = (*state.edits, edit)
                    reasons = self._against(arguments)
                    if not reasons:
                        return Change(edits, arguments)
                    deeper.append(_State(arguments, edits, state.assumed + rank, reasons))
            states = sorted(deeper, key=lambda state: (len(state.reasons), state.assumed))
        return NoChange(by_name=False, tried=tried)

    def _edits(self, state: _State) -> list[_Ranked]:
        """List what could answer the first reason, what assumes least first."""
        reason, arguments = state.reasons[0], state.arguments
        found: list[_Ranked] = []
        for place, paths in self._grounds.named:
            if place == reason.rule:
                found += _unaliased(names_of(paths).alias_in(arguments), arguments)
        for rule in self._grounds.rules:
            if rule.pointer == reason.rule:
                found += self._by_rule(rule, arguments)
        if reason.code == "rate_limited":
            for each in _costs(self._grounds, reason.rule):
                assert each.cost is not None
                found += self._at(each.cost.steps, arguments)
        for place, paths in self._grounds.levied:
            if place == reason.rule:
                for path in paths:
                    found += self._at(path.steps, arguments)
        if reason.rule == f"{self._grounds.entry}/arguments":
            found += self._by_schema(arguments)
        return sorted(found, key=lambda ranked: ranked[0])

    def _by_rule(self, rule: ReadyRule, arguments: Mapping[str, object]) -> Iterator[_Ranked]:
        """Answer a rule: each value that `require` is not sure of, each that another rule fires on."""
        call = replace(self._call, arguments=arguments)
        good = YES if rule.kind == "require" else NO
        for condition in rule.conditions:
            for look in look_at(condition, call):
                if look.counts is good:
                    continue
                where: Steps = tuple(str(step) for step in look.place)
                if look.place and condition.path.steps[len(where) - 1] is MANY and look.place[-1] == "*":
                    where = (*where[:-1], MANY)
                yield from self._at((*where, *condition.path.steps[len(where) :]), arguments)

    def _at(self, steps: Steps, arguments: Mapping[str, object]) -> Iterator[_Ranked]:
        """Change what stands at `steps`, or put something there."""
        slot, rest, current = slot_for(arguments, steps)
        if not slot:
            return
        if rest:
            # No step can be taken in what stands there, or a server would take one in what it decodes; and other rules may want
            # something of the whole.
            yield from _put(slot, (), current, self._values(steps[: len(steps) - len(rest)], current))
        yield from _put(slot, rest, current, self._values(steps, ABSENT if rest else current))
        if current is not ABSENT:
            yield from _removals(slot)

    def _values(self, steps: Steps, current: object) -> Iterator[tuple[int, object]]:
        """Yield what to try at `steps`, by everything that the policy says about that place."""
        named: list[object] = []
        for rule in self._grounds.rules:
            for condition in rule.conditions:
                if _same_place(condition.path.steps, steps):
                    named += values_of(condition, current)
        for each in self._grounds.levies:
            if isinstance(each, Levy) and each.cost is not None and _same_place(each.cost.steps, steps):
                named += [self._max[each.charge.counter], 1, 0]
        if self._schema is not None:
            for schema in schemas_at(self._schema, steps):
                named += examples_of(schema, self._schema, current)
        yield from ((_SPELLED, value) for value in respelled(current))
        yield from ((_NAMED, value) for value in nearest(named, current, _MAX_VALUES))
        yield from ((_INVENTED, value) for value in _EXAMPLES)

    def _by_schema(self, arguments: Mapping[str, object]) -> Iterator[_Ranked]:
        """Answer the first error of the schema."""
        assert self._schema is not None
        yield from _unaliased(alias_by_schema(self._schema, arguments), arguments)
        if self._validator is None:
            from jsonschema_rs import Draft202012Validator

            self._validator = Draft202012Validator(self._schema, offline=True, validate_formats=True)
        try:
            error = next(self._validator.iter_errors(arguments), None)
        except UnicodeEncodeError:  # half of a surrogate pair, which no text from the wire holds
            error = None
        if error is None:
            return
        place: Place = tuple(error.instance_path)
        value: object = arguments
        for step in place:
            assert isinstance(value, (dict, list))
            value = value[step]  # type: ignore[index]
        if isinstance(value, dict):
            yield from self._members(place, value)
        elif isinstance(value, list):
            yield from self._items(place, value)
        if place:
            yield from self._put_at(place, value)
            yield from _removals(place)

    def _members(self, place: Place, value: dict[str, object]) -> Iterator[_Ranked]:
        """Change, add and take away the keys of an object that the schema refuses."""
        assert self._schema is not None
        names: dict[str, None] = {}
        for schema in schemas_at(self._schema, tuple(map(str, place))):
            names |= dict.fromkeys(names_in(schema))
        for name in names:
            yield from self._put_at((*place, name), value.get(name, ABSENT))
        for name in value:
            yield _LEFT_OUT, Edit("remove", (*place, name))

    def _items(self, place: Place, value: list[object]) -> Iterator[_Ranked]:
        """Add to a list that the schema refuses, and take from it."""
        yield from self._put_at((*place, len(value)), ABSENT)
        for index in range(min(len(value), _MAX_ITEMS)):
            yield _LEFT_OUT, Edit("remove", (*place, index))

    def _put_at(self, place: Place, current: object) -> Iterator[_Ranked]:
        yield from _put(place, (), current, self._values(tuple(map(str, place)), current))


def _put(place: Place, rest: Steps, current: object, values: Iterable[tuple[int, object]]) -> Iterator[_Ranked]:
    kind: EditKind = "add" if current is ABSENT else "set"
    for rank, value in values:
        yield rank, Edit(kind, place, wrapped(value, rest))


def _removals(place: Place) -> Iterator[_Ranked]:
    """Take away a value, or what it stands in."""
    for length in range(len(place), 0, -1):
        yield _LEFT_OUT, Edit("remove", place[:length])


def _unaliased(alias: tuple[Place, str] | None, arguments: object) -> Iterator[_Ranked]:
    if alias is None:
        return
    place, name = alias
    for step in place[:-1]:
        assert isinstance(arguments, (dict, list))
        arguments = arguments[step]  # type: ignore[index]
    assert isinstance(arguments, dict)
    if name not in arguments:
        yield _SPELLED, Edit("rename", place, name=name)
    yield _LEFT_OUT, Edit("remove", place)


def _same_place(pattern: Steps, steps: Steps) -> bool:
    return len(pattern) == len(steps) and all(
        mine is MANY or theirs is MANY or mine == theirs for mine, theirs in zip(pattern, steps, strict=True)
    )


def _size(value: object) -> int:
    """Count the values in a value, long texts for more than one."""
    match value:
        case dict():
            return 1 + sum(map(_size, value.values()))
        case list():
            return 1 + sum(map(_size, value))
        case str():
            return 1 + len(value) // 1000
        case _:
            return 1
