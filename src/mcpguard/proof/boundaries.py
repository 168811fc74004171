"""Writes the calls at the boundaries of a policy: just inside and just outside of every rule, with what is expected of each.

Goes through the policy, entry by entry; what calls a rule, a schema or a limit has, others find.  What is expected comes from a second
reading of the rules (`opinion`), never from `evaluate`; so a case that the guard judges otherwise shows that one of the two is wrong. Where
no call is found, that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mcpguard.policy.entries import pointer
from mcpguard.proof.limit_calls import LimitCalls
from mcpguard.proof.names import names_beside, wanted_beside
from mcpguard.proof.opinion import Opinion
from mcpguard.proof.rule_calls import calls_at_rule, why_none
from mcpguard.proof.shape_calls import calls_at_schema
from mcpguard.proof.subjects import MOST_SUBJECTS, Subjects
from mcpguard.proof.use_calls import UseCalls
from mcpguard.proof.writing import Sheet

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.model import PolicyFile
    from mcpguard.proof.dues import AnyLimit
    from mcpguard.proof.opinion import ReadRule
    from mcpguard.proof.search import Arguments
    from mcpguard.proof.subjects import Subject
    from mcpguard.proof.writing import Boundary, Choice, LeftOut, Written

_NONE_PASSES: Final = "no call was found that every rule lets pass"


@dataclass(frozen=True, slots=True)
class Boundaries:
    """The calls at the boundaries of a policy, and what has none."""

    found: tuple[Boundary, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def cases(self) -> list[Written]:
        """The cases, as a cases file holds them."""
        return [boundary.case for boundary in self.found]


def boundaries_of(
    document: PolicyFile, tools: Sequence[Tool] | None = None, *, about: Choice = lambda _: True
) -> Boundaries:
    """Find the calls at the boundaries of every rule of a policy for which `about` its pointer says yes.

    With the server's `tools`, calls are of these where there are some, and begin with arguments that their schemas accept.
    """
    sheet = Sheet()
    _ToolCalls(document, Subjects(document, tools or ()), sheet, about).write()
    for section in ("resources", "prompts"):
        UseCalls(document, section, sheet, about).write()
    return Boundaries(tuple(sheet.found), sheet.left_out)


class _ToolCalls:
    """Writes the calls at the boundaries of everything that is about tools on a sheet."""

    def __init__(self, document: PolicyFile, subjects: Subjects, sheet: Sheet, about: Choice) -> None:
        self._document = document
        self._subjects = subjects
        self._sheet = sheet
        self._about = about

    def write(self) -> None:
        for index, text in enumerate(self._document.hide):
            self._hidden(pointer("hide", index), text)
        for text in self._document.tools:
            self._entry(text)
        self._everywhere()
        if self._about("/default"):
            for subject in self._subjects.by_entry("")[:1]:
                self._action("/default", subject)

    # Names and actions

    def _hidden(self, place: str, text: str) -> None:
        if not self._about(place):
            return
        for subject in self._subjects.hidden_by(text):
            if subject.meeting.constant == Opinion("hide", (place,)):
                self._write(place, subject, {})
                break
        else:
            self._sheet.leave_out(place, "no name was found that it hides and nothing else does")
        self._beside(place, text)

    def _entry(self, text: str) -> None:
        place = pointer("tools", text)
        if not self._about(place):
            return
        subjects = self._subjects.by_entry(text)
        if not subjects:
            self._sheet.leave_out(place, "no name was found about which it decides")
            return
        self._action(place, subjects[0])
        if text[:1] != "@":
            self._beside(place, text)
        passing = [each for each in subjects if each.can_pass]
        # What never passes still has what its rules refuse.
        subject = passing[0] if passing else subjects[0]
        for rule in subject.meeting.rules:
            if rule.pointer.startswith(f"{place}/") and self._about(rule.pointer):
                self._rule([subject], rule)
        for shape_place, schema in subject.meeting.shapes:
            if shape_place == f"{place}/arguments" and self._about(shape_place):
                self._shape(subject, shape_place, schema)
        for limit_place, limit in subject.meeting.limits:
            if limit_place.startswith(f"{place}/") and self._about(limit_place):
                self._limit(passing, limit_place, limit)

    def _action(self, place: str, subject: Subject) -> None:
        arguments = subject.start if subject.meeting.constant is not None else subject.base
        if arguments is None:
            self._sheet.leave_out(place, _NONE_PASSES)
        else:
            self._write(place, subject, arguments)

    def _beside(self, place: str, text: str) -> None:
        """Write calls of tools whose names a pattern only just does not mean."""
        wanted = wanted_beside(text)
        for name in names_beside(text):
            subject = self._subjects.of(name)
            if subject is None or place in subject.meeting.entries:
                continue
            arguments = subject.start if subject.meeting.constant is not None else subject.base
            if arguments is not None and self._write(place, subject, arguments, beside=True):
                wanted -= 1
                if not wanted:
                    return

    def _everywhere(self) -> None:
        """Write calls at the rules and limits of all tools, of the tools that meet the fewest others; listed ones first."""
        everywhere = self._document.all_tools
        rules = [pointer("all_tools", "require", index) for index in range(len(everywhere.require))]
        rules += [pointer("all_tools", "deny_if", index) for index in range(len(everywhere.deny_if))]
        rules = [place for place in rules if self._about(place)]
        limits = [(pointer("all_tools", "limits", index), limit) for index, limit in enumerate(everywhere.limits)]
        limits = [(place, limit) for place, limit in limits if self._about(place)]
        if not rules and not limits:
            return
        subjects = sorted(self._subjects.passing(), key=lambda each: (each.tool is None, len(each.meeting.rules)))
        for place in rules:
            rule = _rule_at(place, subjects)
            if rule is None:
                self._sheet.leave_out(place, "no call was found that every other rule lets pass")
            else:
                self._rule(subjects[:MOST_SUBJECTS], rule)
        # Limits of a tool's own would stop its calls before.
        subjects.sort(key=lambda each: len(each.meeting.limits))
        for place, limit in limits:
            self._limit(subjects[:MOST_SUBJECTS], place, limit)

    # Rules, schemas and limits

    def _rule(self, subjects: Sequence[Subject], rule: ReadRule) -> None:
        """Write calls that a rule refuses (or asks about) and calls that it lets pass, until one of the tools has had both."""
        sides: set[bool] = set()
        for subject in subjects:
            for fires, arguments in calls_at_rule(subject, rule):
                self._write(rule.pointer, subject, arguments)
                sides.add(fires)
            if len(sides) == 2:
                return
        if rule.kind == "require" and not rule.rule.conditions:
            return
        if True not in sides:
            verb = "asks about" if rule.kind == "approve_if" else "refuses"
            self._sheet.leave_out(rule.pointer, f"no call was found that it {verb}: {why_none(rule)}")
        if False not in sides and rule.rule.conditions:
            self._sheet.leave_out(rule.pointer, f"no call was found that it lets pass: {why_none(rule)}")

    def _shape(self, subject: Subject, place: str, schema: Mapping[str, Any]) -> None:
        if not subject.can_pass or subject.base is None:
            self._sheet.leave_out(place, _NONE_PASSES)
            return
        sides: set[bool] = set()
        for fires, arguments in calls_at_schema(subject, subject.base, place, schema):
            self._write(place, subject, arguments)
            sides.add(fires)
        if True not in sides:
            self._sheet.leave_out(place, "no call was found that it refuses")
        if False not in sides:
            self._write(place, subject, subject.base)

    def _limit(self, subjects: Sequence[Subject], place: str, limit: AnyLimit) -> None:
        """Write a sequence that uses a limit up, of the first of some tools that has one, and calls that do not give what it needs."""
        why = _NONE_PASSES
        sharing = self._subjects.sharing(limit)
        for subject in subjects:
            if place not in dict(subject.meeting.limits):
                continue
            calls = LimitCalls(subject, place, limit, subjects, sharing)
            steps = calls.sequence()
            if isinstance(steps, str):
                why = steps
            elif steps is not None:
                self._sheet.write_used_up(place, steps)
                for arguments in calls.not_payable():
                    self._write(place, subject, arguments)
                return
        self._sheet.leave_out(place, why)

    def _write(self, place: str, subject: Subject, arguments: Arguments, *, beside: bool = False) -> bool:
        """Write a call; False if nobody knows what becomes of it."""
        opinion = subject.meeting.judge(arguments)
        if opinion is None:
            return False
        self._sheet.write(place, subject.call(arguments), opinion, beside=beside)
        return True


def _rule_at(place: str, subjects: Iterable[Subject]) -> ReadRule | None:
    return next((rule for each in subjects for rule in each.meeting.rules if rule.pointer == place), None)
