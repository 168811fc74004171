"""Looks for arguments that meet every rule of a tool, or every rule but one.

A bounded search: what is wrong is put right, one value after the other, with values at the borders of the conditions. Whether a rule
holds is for the readings to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcpguard.inventory.inputs import find_argument
from mcpguard.policy.model import Limit
from mcpguard.proof.borders import ANYTHING, Hints, examples_for, values_for
from mcpguard.proof.dues import can_be_charged, cost_of
from mcpguard.proof.placing import put, removed
from mcpguard.proof.reading import ABSENT, condition_says, find_all, says, steps_of
from mcpguard.proof.shapes import accepts, arguments_accepted

if TYPE_CHECKING:
    from mcpguard.policy.model import Condition
    from mcpguard.proof.opinion import Meeting, ReadRule
    from mcpguard.proof.reading import Answer, Kind, Step

Arguments: TypeAlias = "dict[str, object]"

_MOST_TRIES: Final = 300
_DEEPEST: Final = 12
_MOST_FIXES: Final = 16


@dataclass(frozen=True, slots=True)
class Target:
    """What a search leaves alone: the rule with this pointer, but for its other conditions, and what stands at `steps`.

    `condition` is the one of the rule's conditions that is at its border; all others are wanted to answer yes.
    """

    rule: str = ""
    condition: int = -1
    steps: tuple[Step, ...] = ()


NOTHING: Final = Target()


class Search:
    """Finds arguments for the calls of one tool; `schema` is the server's own, if it is known."""

    def __init__(self, meeting: Meeting, schema: Mapping[str, object] | None) -> None:
        self._meeting = meeting
        self._schema = schema
        self._hints: dict[tuple[Step, ...], Hints] = {}
        self._borders: dict[int, list[object]] = {}
        self._pools: dict[tuple[Step, ...], list[object]] = {}
        for rule in meeting.rules:
            for condition in rule.rule.conditions:
                steps = steps_of(condition.path)
                pool = self._pools.setdefault(steps, [])
                pool += [each for each in self.border(condition) if each is not ABSENT]
        self._tries = 0

    def hints_at(self, steps: tuple[Step, ...]) -> Hints:
        """Say what the server's schema says about an argument."""
        if self._schema is None:
            return ANYTHING
        if steps not in self._hints:
            found = find_argument(dict(self._schema), steps)
            known = not found.is_open and found.exists
            self._hints[steps] = Hints(found.types, tuple(found.values or ())) if known else ANYTHING
        return self._hints[steps]

    def border(self, condition: Condition) -> list[object]:
        """List the values at the border of a condition."""
        # By identity: what a condition holds cannot be a key, and the meeting keeps it alive.
        if id(condition) not in self._borders:
            hints = self.hints_at(steps_of(condition.path))
            self._borders[id(condition)] = values_for(condition.op, condition.value, hints)
        return self._borders[id(condition)]

    def others_at(self, steps: tuple[Step, ...]) -> list[object]:
        """List the values at the borders of all conditions on one argument."""
        return self._pools.get(steps, [])

    @property
    def may_ask(self) -> bool:
        """Whether rules can have a person asked."""
        return any(rule.kind == "approve_if" for rule in self._meeting.rules)

    def find(self, start: Mapping[str, object], target: Target = NOTHING, *, asks: bool = False) -> Arguments | None:
        """Return arguments that meet every rule but the target, with what `start` has at the target's place; None if none are found.

        With `asks`, rules by which a person is asked may fire.
        """
        self._tries = 0
        return self._repaired(dict(start), target, list(find_all(start, target.steps)), asks=asks, seen=set(), depth=0)

    def _repaired(
        self,
        arguments: Arguments,
        target: Target,
        kept: list[object],
        *,
        asks: bool,
        seen: set[str],
        depth: int,
    ) -> Arguments | None:
        fixes = self._fixes(arguments, target, asks=asks)
        if fixes is None:
            return arguments
        self._tries += 1
        if depth == _DEEPEST:
            return None
        fits = 0
        for fixed in fixes:
            name = repr(fixed)
            if name in seen or (target.steps and list(find_all(fixed, target.steps)) != kept):
                continue
            seen.add(name)
            fits += 1
            if self._tries >= _MOST_TRIES or fits > _MOST_FIXES:
                return None
            found = self._repaired(fixed, target, kept, asks=asks, seen=seen, depth=depth + 1)
            if found is not None:
                return found
        return None

    def _fixes(self, arguments: Arguments, target: Target, *, asks: bool) -> Iterator[Arguments] | None:
        """Give changed arguments in which the first thing is right that is wrong now; None if nothing is."""
        for rule in self._meeting.rules:
            if rule.kind == "approve_if" and asks and rule.pointer != target.rule:
                continue
            fixes = self._of_target(rule, arguments, target) if rule.pointer == target.rule else None
            if fixes is None and rule.pointer != target.rule:
                fixes = self._of_rule(rule, arguments)
            if fixes is not None:
                return fixes
        for place, schema in self._meeting.shapes:
            if place != target.rule and arguments_accepted(schema, arguments) is not True:
                return _shaped(schema, arguments, schema)
        for place, limit in self._meeting.limits:
            if place != target.rule and isinstance(limit, Limit) and not can_be_charged(limit, arguments):
                return self._payable(limit, arguments)
        return None

    def _of_target(self, rule: ReadRule, arguments: Arguments, target: Target) -> Iterator[Arguments] | None:
        for index, condition in enumerate(rule.rule.conditions):
            if index != target.condition and condition_says(condition, rule.kind, arguments) != "yes":
                return self._answering(condition, rule.kind, "yes", arguments)
        return None

    def _of_rule(self, rule: ReadRule, arguments: Arguments) -> Iterator[Arguments] | None:
        said = rule.says(arguments)
        if said == ("yes" if rule.kind == "require" else "no"):
            return None
        if rule.kind == "require":
            for condition in rule.rule.conditions:
                if condition_says(condition, rule.kind, arguments) != "yes":
                    return self._answering(condition, rule.kind, "yes", arguments)
        return (
            fixed
            for condition in rule.rule.conditions
            for fixed in self._answering(condition, rule.kind, "no", arguments)
        )

    def _answering(self, condition: Condition, kind: Kind, wanted: Answer, arguments: Arguments) -> Iterator[Arguments]:
        """Yield arguments about which a condition answers as wanted."""
        steps = steps_of(condition.path)
        values = [*self.border(condition), *self._pools.get(steps, ()), *self.hints_at(steps).values]
        for value in values:
            if says(condition.op, condition.value, value) != wanted:
                continue
            fixed = removed(arguments, steps) if value is ABSENT else put(arguments, steps, value)
            if condition_says(condition, kind, fixed) == wanted:
                yield fixed

    def _payable(self, limit: Limit, arguments: Arguments) -> Iterator[Arguments]:
        if limit.cost is not None and cost_of(limit, arguments) is None:
            steps = steps_of(limit.cost)
            for value in (*self._pools.get(steps, ()), 1, limit.max, 0):
                yield put(arguments, steps, value)
        elif limit.per is not None:
            steps = steps_of(limit.per)
            for value in (*self._pools.get(steps, ()), self.hints_at(steps).example, "example", 1):
                yield put(arguments, steps, value)


def _shaped(schema: Mapping[str, Any], value: object, root: Mapping[str, Any]) -> Iterator[Arguments]:
    """Yield arguments that are nearer to what a schema accepts."""
    for fixed in _nearer(schema, value, root, 0):
        if isinstance(fixed, dict):
            yield fixed


def _nearer(schema: object, value: object, root: Mapping[str, Any], depth: int) -> Iterator[object]:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                for example in _examples(properties.get(name, True), root):
                    yield value | {name: example}
        for name, inner in properties.items():
            if name in value and accepts(inner, value[name], root) is not True:
                for nearer in _nearer(inner, value[name], root, depth + 1):
                    yield value | {name: nearer}
                if name not in schema.get("required", ()):
                    yield {key: item for key, item in value.items() if key != name}
        if schema.get("additionalProperties") is False and set(value) - set(properties):
            yield {key: item for key, item in value.items() if key in properties}
        for each in schema.get("allOf", ()):
            yield from _nearer(each, value, root, depth + 1)
    if depth:
        yield from _examples(schema, root)


def _examples(schema: object, root: Mapping[str, Any]) -> Sequence[object]:
    return examples_for(schema, root) if isinstance(schema, Mapping) else ["example"]
