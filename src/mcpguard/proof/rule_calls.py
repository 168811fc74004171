"""Finds calls at the boundary of a rule: for each of its conditions some that it lets pass, and some that it refuses or asks about.

Knows the conditions of one rule and one tool; which tools meet it, and how cases are written, it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mcpguard.proof.borders import values_for
from mcpguard.proof.placing import put, put_elements, removed
from mcpguard.proof.reading import ABSENT, condition_says, says, steps_of
from mcpguard.proof.search import Target

if TYPE_CHECKING:
    from mcpguard.policy.model import Condition
    from mcpguard.proof.opinion import ReadRule
    from mcpguard.proof.search import Arguments
    from mcpguard.proof.subjects import Subject

_MOST_EACH_SIDE: Final = 6
_MOST_JOINED: Final = 6
_LISTS: Final = frozenset(("in", "not_in"))


def calls_at_rule(subject: Subject, rule: ReadRule) -> Iterator[tuple[bool, Arguments]]:
    """Yield arguments that a rule alone decides about, and whether it is why they do not simply pass."""
    start = subject.base or subject.start
    if not rule.rule.conditions:
        found = subject.around(start, Target(rule.pointer))
        if found is not None and subject.fires(rule.pointer, found) is not None:
            yield True, found
        return
    for index, condition in enumerate(rule.rule.conditions):
        target = Target(rule.pointer, index, steps_of(condition.path))
        most = len(_border(condition)) if condition.op in _LISTS else _MOST_EACH_SIDE
        written = {True: 0, False: 0}
        for placed in _placed(subject, condition, start):
            said = condition_says(condition, rule.kind, placed)
            if said is None or written[said != ("yes" if rule.kind == "require" else "no")] >= most:
                continue
            found = subject.around(placed, target) or placed
            fires = subject.fires(rule.pointer, found)
            if fires is not None and written[fires] < most:
                written[fires] += 1
                yield fires, found


def why_none(rule: ReadRule) -> str:
    """Say why a rule has no calls at one of its sides: no values are known for a condition, or other rules are in the way."""
    for condition in rule.rule.conditions:
        values = [each for each in _border(condition) if each is not ABSENT]
        answers = {says(condition.op, condition.value, each) for each in values}
        if not {"yes", "no"} <= answers and condition.op != "exists":
            return f"no values are known for which `{condition.op}` on {condition.path} surely says yes and no"
    return "other rules stop those that were tried"


def _placed(subject: Subject, condition: Condition, start: Arguments) -> Iterator[Arguments]:
    """Yield arguments with values at the border of a condition; with `*`, with one of them, two, or none."""
    steps = steps_of(condition.path)
    values = subject.search.border(condition)
    others = subject.search.others_at(steps)
    if None in steps:
        elements = [each for each in values if each is not ABSENT]
        inside = [each for each in elements if says(condition.op, condition.value, each) == "yes"]
        outside = [each for each in elements if says(condition.op, condition.value, each) == "no"]
        if inside and outside:
            yield put_elements(start, steps, [inside[0], outside[0]])
            yield put_elements(start, steps, [inside[0], inside[-1]])
    for value in (*values, *_joined(condition, values, others), *others):
        yield removed(start, steps) if value is ABSENT else put(start, steps, value)


def _joined(condition: Condition, values: Sequence[object], others: Iterable[object]) -> Iterator[str]:
    """Join texts in which a condition finds something with such as other rules look for."""
    if condition.op in ("regex", "contains"):
        known = [each for each in values if isinstance(each, str)]
        found = [each for each in known if says(condition.op, condition.value, each) == "yes"]
        texts = [each for each in others if isinstance(each, str) and each and each not in known]
        yield from (f"{other} {each}" for each in found[:2] for other in texts[:_MOST_JOINED])


def _border(condition: Condition) -> list[object]:
    """List the values at the border of a condition as far as the policy alone says them."""
    return values_for(condition.op, condition.value)
