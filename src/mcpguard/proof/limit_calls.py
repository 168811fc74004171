"""Finds the calls of a tool at the boundary of a limit: a sequence that uses it up, and calls that do not give what it needs.

Says to `spending`, which plans the sequence and counts, what calls there are; knows no windows itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mcpguard.policy.model import Limit
from mcpguard.proof.dues import key_of
from mcpguard.proof.opinion import Opinion
from mcpguard.proof.placing import put, removed
from mcpguard.proof.reading import find_all, steps_of
from mcpguard.proof.search import Target
from mcpguard.proof.spending import Helper, Spender, sequence_for
from mcpguard.proof.writing import step_of

if TYPE_CHECKING:
    from mcpguard.proof.dues import AnyLimit
    from mcpguard.proof.search import Arguments
    from mcpguard.proof.spending import Number, Step
    from mcpguard.proof.subjects import Subject
    from mcpguard.proof.writing import Written

_MOST_KEYS: Final = 12


class LimitCalls:
    """The calls of a tool at the boundary of the limit at `place`.

    Some calls of the tool pass.  `fellows` are the tools that meet the limit, too, as far as they are looked at, and `sharing` those
    that are charged on its counter because it has the same name.
    """

    def __init__(
        self, subject: Subject, place: str, limit: AnyLimit, fellows: Sequence[Subject], sharing: Sequence[Subject]
    ) -> None:
        assert subject.base is not None
        self._subject = subject
        self._base = subject.base
        self._place = place
        self._limit = limit
        self._fellows = fellows
        self._sharing = sharing

    def sequence(self) -> list[Written] | str | None:
        """Give the steps of a sequence that uses the limit up; or say why there is none. None: it is in doubt what becomes of a step."""
        subject = self._subject
        spender = Spender(
            subject.name, self._base, subject.meeting.limits, self._costing, self._counted_apart, self._helpers
        )
        planned = sequence_for(spender, self._place)
        if isinstance(planned, str):
            return planned
        callers = {each.name: each for each in (*self._sharing, *self._fellows, subject)}
        written: list[Written] = []
        for step in planned:
            case = self._written(step, callers[step.name])
            if case is None:
                return None
            written.append(case)
        return written

    def not_payable(self) -> Iterator[Arguments]:
        """Yield arguments of calls that are refused because they do not give what the limit needs."""
        limit = self._limit
        if not isinstance(limit, Limit):
            return
        for path in (limit.cost, limit.per):
            if path is None or path == "tool":
                continue
            steps = steps_of(path)
            bad: list[Arguments] = [removed(self._base, steps)]
            if path == limit.cost:
                bad.append(put(self._base, steps, -1))
            for arguments in bad:
                found = self._subject.around(arguments, Target(self._place, steps=steps)) or arguments
                if self._subject.fires(self._place, found):
                    yield found

    def _written(self, step: Step, caller: Subject) -> Written | None:
        opinion = caller.meeting.judge(step.arguments)
        if opinion is None or (step.passes and opinion.effect in ("deny", "hide")):
            return None
        return step_of(step, caller.call(step.arguments), opinion if step.passes else Opinion("deny", (self._place,)))

    # What the plan asks for

    def _passing(self, path: str, value: object) -> Arguments | None:
        steps = steps_of(path)
        return self._subject.around(put(self._base, steps, value), Target(steps=steps))

    def _costing(self, amount: Number) -> Arguments | None:
        assert isinstance(self._limit, Limit)
        return self._passing(self._limit.cost or "", amount)

    def _counted_apart(self) -> tuple[str, Arguments] | None:
        limit, subject = self._limit, self._subject
        if not isinstance(limit, Limit) or limit.per is None:
            return None
        if limit.per == "tool":
            same = [each for each in self._fellows if each.meeting.limits == subject.meeting.limits]
            others = [each for each in same if each.name != subject.name and each.base is not None]
            return (others[0].name, others[0].base or {}) if others else None
        mine = key_of(limit, self._base)
        for value in ("example-other", "other", *subject.search.hints_at(steps_of(limit.per)).values, 2):
            found = self._passing(limit.per, value)
            if found is not None and key_of(limit, found) != mine:
                return subject.name, found
        return None

    def _helpers(self) -> list[Helper]:
        """List other calls that are charged on the limit: of other tools, or such as other limits count apart."""
        subject, limits = self._subject, self._subject.meeting.limits
        found = [
            Helper(each.name, each.base or {}, each.meeting.limits)
            for each in self._sharing
            if each.name != subject.name
        ]
        for _, other in limits:
            if other is self._limit or not isinstance(other, Limit) or other.per is None or other.per == "tool":
                continue
            (value,) = find_all(self._base, steps_of(other.per))
            for number in range(_MOST_KEYS if isinstance(value, str) else 0):
                arguments = self._passing(other.per, f"{value}{number}")
                if arguments is not None:
                    found.append(Helper(subject.name, arguments, limits))
        return found
