"""Writes calls, and what is expected of them, as a cases file has them: each once, under the pointer of a rule; and keeps which rules have none.

What becomes of a call is not known here: it comes as an opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from mcpguard.proof.opinion import Opinion, Section
    from mcpguard.proof.search import Arguments
    from mcpguard.proof.spending import Step

Written: TypeAlias = "dict[str, Any]"
"""A case, or a step of a sequence, as JSON of a cases file; a call without what is expected of it lacks those keys."""
Choice: TypeAlias = Callable[[str], bool]
"""Says of the pointer of a rule whether calls at its boundary are wanted; if so, it says yes of the rule's entry, too."""

_SIDES: Final = {"allow": "passes", "deny": "is refused", "approve": "is asked about", "hide": "is hidden"}


@dataclass(frozen=True, slots=True)
class Boundary:
    """A case at the boundary of the rule at `rule`, as a cases file has it."""

    rule: str
    case: Written


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A rule without a call at one of its sides, and why."""

    rule: str
    why: str


class Sheet:
    """What is written in the making: every case once, however many rules it is at the boundary of."""

    def __init__(self) -> None:
        self.found: list[Boundary] = []
        self._left_out: dict[LeftOut, None] = {}
        self._seen: set[str] = set()

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What has no cases, each once, in the order in which it was said."""
        return tuple(self._left_out)

    def write(self, place: str, call: Written, opinion: Opinion, *, beside: bool = False) -> None:
        """Write a call at the boundary of the rule at `place`; `beside`: of a name that its pattern does not mean."""
        title = f"{place}{', but another name' if beside else ''}: {_SIDES[opinion.effect]}"
        self._add(place, title, call | _expected(opinion))

    def write_used_up(self, place: str, steps: Sequence[Written]) -> None:
        """Write a sequence that uses up the limit at `place`."""
        self._add(place, f"{place}: used up", {"sequence": list(steps)})

    def leave_out(self, place: str, why: str) -> None:
        """Say that the rule at `place` has no call at one of its sides."""
        self._left_out[LeftOut(place, why)] = None

    def _add(self, place: str, title: str, case: Written) -> None:
        text = repr(case)
        if text not in self._seen:
            self._seen.add(text)
            self.found.append(Boundary(place, {"name": title} | case))


def tool_call(name: str, category: str | None, arguments: Arguments) -> Written:
    """Write a call of a tool; `category` is what a list showed of it, None if nothing has to be known of that."""
    case: Written = {"tool": name}
    if arguments:
        case["arguments"] = arguments
    if category is not None:
        case["category"] = category
    return case


def use_call(section: Section, name: str) -> Written:
    """Write the use of a resource or a prompt."""
    return {section.removesuffix("s"): name}


def step_of(step: Step, call: Written, opinion: Opinion) -> Written:
    """Write so many equal calls of a sequence, with what is expected of each."""
    case = dict(call)
    if step.after_s:
        case["after"] = f"{step.after_s}s"
    if step.times > 1:
        case["times"] = step.times
    return case | _expected(opinion)


def _expected(opinion: Opinion) -> Written:
    because = {"because": list(opinion.because)} if opinion.because and opinion.effect != "allow" else {}
    return {"expect": opinion.effect, **because}
