"""Judges arguments by rules: the conditions of a rule, joined, and the sentence about what they found.

What cannot be judged is refused in both directions: `require` holds on yes alone, every other rule fires on yes and on unsure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mcpguard.policy.operators import Judge, Op, answer_absent, doubt, prepare, wants
from mcpguard.policy.paths import ABSENT, BLOCKED, Found, Names, Path, Place, parse_path, place_text
from mcpguard.policy.values import NO, UNSURE, YES, Answer, shown

if TYPE_CHECKING:
    from mcpguard.policy.decision import Code
    from mcpguard.policy.model import Condition
    from mcpguard.policy.places import Resolve

Arguments: TypeAlias = Mapping[str, object]
Kind: TypeAlias = Literal["require", "deny_if", "approve_if"]

_EVERY_CALL: Final[Mapping[Kind, str]] = {
    "require": "the policy has a rule for every call of this tool",
    "deny_if": "the policy has a rule for every call of this tool",
    "approve_if": "the policy wants a person to approve every call of this tool",
}
_ASKS: Final[Mapping[Kind, str]] = {
    "require": "the rule asks for",
    "deny_if": "the rule refuses",
    "approve_if": "the rule wants a person to approve",
}


@dataclass(frozen=True, slots=True)
class ReadyCondition:
    """One condition, ready to judge.  `absent` is its answer about an argument that is not there."""

    path: Path
    op: Op
    value: object
    judge: Judge
    absent: Answer
    many: bool
    weakest: bool

    def answer(self, arguments: Arguments, resolve: Resolve) -> Answer:
        """Answer about the arguments of a call."""
        if not self.many:
            return self._answer_about(self.path.find(arguments), resolve)
        answers = [self._answer_about(found, resolve) for _, found in self.path.find_all(arguments)]
        return min(answers) if self.weakest else max(answers)

    def describe(self, kind: Kind, arguments: Arguments, resolve: Resolve) -> tuple[str, bool]:
        """Say what made the answer, and whether that is plain: neither a doubt nor an argument that is not there."""
        answer = self.answer(arguments, resolve)
        place, found = next(
            (place, found)
            for place, found in self.path.find_all(arguments)
            if self._answer_about(found, resolve) is answer
        )
        if found is BLOCKED:
            inner = shortened(place_text(place[:-1]))
            return f"{inner} is nothing that the rule can look into for {shortened(self.path.text)}", False
        name = shortened(place_text(place))
        if found is ABSENT:
            return f"{name} is not given; {self._asks(kind)}", False
        said = f"{name} is {shown(found)}"
        if answer is UNSURE:
            return f"{said}; {doubt(self.op, self.value)}", False
        return f"{said}; {self._asks(kind)}", True

    def _asks(self, kind: Kind) -> str:
        return f"{_ASKS[kind]} {wants(self.op, self.value)}"

    def _answer_about(self, found: Found, resolve: Resolve) -> Answer:
        if found is ABSENT:
            return self.absent
        return UNSURE if found is BLOCKED else self.judge(found, resolve)


@dataclass(frozen=True, slots=True)
class ReadyRule:
    """One rule, ready to judge.  `said` is what the policy's author wants to be told, if anything."""

    kind: Kind
    pointer: str
    said: str | None
    conditions: tuple[ReadyCondition, ...]

    @property
    def code(self) -> Code:
        """What a refusal by the rule is called."""
        return "approval_required" if self.kind == "approve_if" else self.kind

    @property
    def paths(self) -> Iterator[Path]:
        """The arguments that the rule looks at."""
        return (condition.path for condition in self.conditions)

    def answer(self, arguments: Arguments, resolve: Resolve) -> Answer:
        """Join the answers of the conditions: the weakest."""
        weakest = YES
        for condition in self.conditions:
            answer = condition.answer(arguments, resolve)
            if answer is NO:
                return NO
            if answer is UNSURE:
                weakest = UNSURE
        return weakest

    def refuses(self, arguments: Arguments, resolve: Resolve) -> bool:
        """Whether the rule stands in the way of a call."""
        return self.answer(arguments, resolve) is not (YES if self.kind == "require" else NO)

    def explain(self, arguments: Arguments, resolve: Resolve) -> str:
        """Say why the rule stands in the way; a doubt and a missing argument are always said."""
        answer = self.answer(arguments, resolve)
        condition = next(
            (condition for condition in self.conditions if condition.answer(arguments, resolve) is answer), None
        )
        if condition is None:
            return self.said or _EVERY_CALL[self.kind]
        because, plain = condition.describe(self.kind, arguments, resolve)
        if not self.said:
            return because
        return self.said if plain else f"{self.said} ({because})"


def compile_rule(kind: Kind, pointer: str, conditions: tuple[Condition, ...], said: str | None) -> ReadyRule:
    """Make a rule ready to judge; its conditions have been found to be good."""
    return ReadyRule(
        kind, pointer, said, tuple(_test(condition, weakest=kind == "require") for condition in conditions)
    )


def alias_sentence(place: Place, name: str) -> str:
    """Say that a key could be taken for another."""
    return f"{shortened(place_text(place))} could be taken for {shown(name)}, which the policy is about"


def shortened(text: str, most: int = 80) -> str:
    """Make a place safe to tell: printable, and not long."""
    short = text if len(text) <= most else text[:most] + "…"
    return short if short.isprintable() else shown(short)


def names_of(paths: Iterable[Path]) -> Names:
    """Collect the keys that paths name."""
    names = Names()
    for path in paths:
        names.add(path)
    return names


def _test(condition: Condition, *, weakest: bool) -> ReadyCondition:
    path = parse_path(condition.path)
    judge = prepare(condition.op, condition.value)
    absent = answer_absent(condition.op, condition.value)
    return ReadyCondition(path, condition.op, condition.value, judge, absent, path.has_many, weakest)
