"""Finds cases that would notice a small change of a policy which none of its cases has noticed, and completes lists of cases by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic import ValidationError

from mcpguard.errors import PolicyError
from mcpguard.policy.compile import compile_policy
from mcpguard.proof.boundaries import boundaries_of
from mcpguard.proof.cases import Case, CasesFile, Step, calls_of
from mcpguard.proof.judge import NOWHERE, Session, Surroundings, judge
from mcpguard.proof.survivors import notices, survey

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.evaluate import Policy
    from mcpguard.proof.cases import AnyCase
    from mcpguard.proof.judge import Outcome
    from mcpguard.proof.mutants import Mutant
    from mcpguard.proof.writing import Choice, Written

Suggest: TypeAlias = Callable[["Mutant"], "Written | None"]
"""Gives a case that holds for a policy and not for a mutant of it; None if none was found."""

_MOST_SEARCHED: Final = 60
"""For so many changes the boundaries of the changed policy are looked at, too: each takes as long as those of the policy."""
_MOST_NEIGHBOURS: Final = 20
"""Of so many calls the neighbours are looked at, for each change."""
_MOST_ROUNDS: Final = 3
"""What cases try, mutants let pass: so more cases make other mutants."""


class Suggestions:
    """Looks for cases that tell a policy from its mutants.

    Among the calls at its own boundaries; then among the neighbours of the calls of `cases`, which somebody has found where no other
    call is known; then among those at the boundaries of the mutants.
    """

    def __init__(
        self,
        policy: Policy,
        tools: Sequence[Tool] = (),
        surroundings: Surroundings = NOWHERE,
        cases: Sequence[AnyCase] = (),
    ) -> None:
        self._policy = policy
        self._tools = tools
        self._surroundings = surroundings
        self._calls: list[Case] = []
        self._searched = 0
        self.know(cases)

    def know(self, cases: Sequence[AnyCase]) -> None:
        """Look beside these cases, too, from now on."""
        self._calls += [call for case in cases for call in calls_of(case) if call.tool and call.arguments]

    def for_mutant(self, mutant: Mutant) -> Written | None:
        """Give a case, as a cases file has it, that holds for the policy and not for the mutant; None if none was found."""
        concerned = [(written, case) for written, case in self._own if mutant.concerns(case)]
        concerned += self._beside([call for call in self._calls if mutant.concerns(call)])
        try:
            part = compile_policy(mutant.document([call for _, case in concerned for call in calls_of(case)]))
            for written, case in concerned:
                if not self._holds(part, case, mutant):
                    return written
            self._searched += 1
            if self._searched > _MOST_SEARCHED:
                return None
            changed = compile_policy(mutant.document())
        except (ValidationError, PolicyError):
            return None
        for written, case in self._holding(lambda rule: _is_near(mutant.place_of(rule), mutant.rule), changed):
            if not self._holds(changed, case, mutant):
                return written
        return None

    def _beside(self, calls: Sequence[Case]) -> Iterator[tuple[Written, AnyCase]]:
        """Yield neighbours of calls, with what the policy makes of them as what is expected."""
        for call in calls[:_MOST_NEIGHBOURS]:
            category = {} if call.category is None else {"category": call.category}
            for arguments in neighbours_of(call.arguments):
                written = {"tool": call.tool, "arguments": arguments, **category}
                asked = Case.model_validate({**written, "expect": "deny"})
                outcome, _ = Session(self._policy, self._surroundings).call(asked)
                told = _expecting(written, outcome)
                yield told, Case.model_validate(told)

    @cached_property
    def _own(self) -> list[tuple[Written, AnyCase]]:
        """The cases of the boundaries of the policy itself: sequences, which are longer to read, behind all others."""
        return sorted(self._holding(lambda _: True, self._policy), key=lambda each: "sequence" in each[0])

    def _holding(self, about: Choice, policy: Policy) -> Iterator[tuple[Written, AnyCase]]:
        """Yield cases of the boundaries of `policy`, with what the policy itself makes of them as what is expected."""
        for written in boundaries_of(policy.document, self._tools, about=about).cases:
            (case,) = _read([written])
            if judge(self._policy, case, self._surroundings).holds:
                yield written, case
                continue
            retold = self._retold(written, case)
            (case,) = _read([retold])
            if judge(self._policy, case, self._surroundings).holds:
                yield retold, case

    def _holds(self, changed: Policy, case: AnyCase, mutant: Mutant) -> bool:
        return judge(changed, case, self._surroundings, mutant.place_of).holds

    def _retold(self, written: Written, case: AnyCase) -> Written:
        """Write a case with what the policy makes of it."""
        session = Session(self._policy, self._surroundings)
        if isinstance(case, Case):
            outcome, _ = session.call(case)
            return _expecting(written, outcome)
        steps: list[Written] = []
        for step, told in zip(case.sequence, written["sequence"], strict=True):
            steps += self._retold_step(session, step, told)
        return {
            "sequence": [{key: value for key, value in step.items() if (key, value) != ("times", 1)} for step in steps]
        }

    def _retold_step(self, session: Session, step: Step, told: Written) -> list[Written]:
        """Write a step as steps of calls that are judged alike."""
        session.wait(step.after)
        steps: list[Written] = []
        for _ in range(step.times):
            outcome, _ = session.call(step)
            now = _expecting(told, outcome)
            if steps and {**steps[-1], "times": 1, "after": ""} == {**now, "times": 1, "after": ""}:
                steps[-1]["times"] += 1
            else:
                if steps:
                    now.pop("after", None)
                steps.append({**now, "times": 1})
        return steps


def completed(
    policy: Policy, cases: Sequence[Written], tools: Sequence[Tool] = (), surroundings: Surroundings = NOWHERE
) -> list[Written]:
    """Return the cases, which all hold, and behind them as few more as it takes to notice what can be noticed."""
    written = list(cases)
    read = _read(written)
    suggestions = Suggestions(policy, tools, surroundings, read)
    for _ in range(_MOST_ROUNDS):
        added: list[AnyCase] = []
        for mutant in survey(policy.document, read, surroundings).survivors:
            if notices(mutant, added, surroundings):
                continue
            suggested = suggestions.for_mutant(mutant)
            if suggested is not None:
                written.append(suggested)
                added += _read([suggested])
        if not added:
            break
        read += added
        suggestions.know(added)
    return written


def _read(written: Sequence[Written]) -> list[AnyCase]:
    return list(CasesFile.model_validate({"cases": list(written)}).cases)


def _expecting(written: Written, outcome: Outcome) -> Written:
    """Write a call with its outcome as what is expected."""
    told = {key: value for key, value in written.items() if key not in ("name", "because", "expect")}
    because = {} if outcome.effect == "allow" else {"because": [outcome.reasons[0].rule]}
    return {**told, "expect": outcome.effect, **because}


def neighbours_of(value: Any) -> Iterator[Any]:  # noqa: ANN401 - JSON
    """Yield values that differ from a value in one text: one that is longer or shorter at an end, or stands in a list."""
    match value:
        case str():
            yield from (f"x{value}", f"x {value}", f"{value}x", f"{value} x", f"{value}; x", f"{value}\nx")
            yield from (value[1:], value[:-1])
            yield [value]
        case dict():
            for key, inner in value.items():
                yield from ({**value, key: other} for other in neighbours_of(inner))
        case list():
            for index, inner in enumerate(value):
                yield from ([*value[:index], other, *value[index + 1 :]] for other in neighbours_of(inner))
        case _:
            pass


def _is_near(rule: str, changed: str) -> bool:
    """Whether one of two pointers points into what the other points at."""
    return f"{changed}/".startswith(f"{rule}/") or f"{rule}/".startswith(f"{changed}/")
