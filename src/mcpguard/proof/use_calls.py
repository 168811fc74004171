"""Writes the calls at the boundaries of the entries for resources and prompts: names they only just mean or do not mean, and their limits.

Such uses have no arguments, and no rules but an action and limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpguard.policy.entries import pointer
from mcpguard.proof.names import best_match, names_beside, names_for, wanted_beside
from mcpguard.proof.opinion import Opinion, use_limits, use_opinion
from mcpguard.proof.spending import Spender, sequence_for
from mcpguard.proof.subjects import STRANGERS
from mcpguard.proof.writing import step_of, use_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpguard.policy.model import PolicyFile, Use
    from mcpguard.proof.opinion import Section
    from mcpguard.proof.writing import Choice, Sheet


class UseCalls:
    """Writes those of one section on a sheet, for the rules for which `about` their pointer says yes."""

    def __init__(self, document: PolicyFile, section: Section, sheet: Sheet, about: Choice) -> None:
        self._document = document
        self._section: Section = section
        self._sheet = sheet
        self._about = about
        self._uses: Mapping[str, Use] = getattr(document, section) or {}

    def write(self) -> None:
        """Write all of them."""
        for text, use in self._uses.items():
            place = pointer(self._section, text)
            if self._about(place):
                self._names(place, text)
            for index in range(len(use.limits)):
                if self._about(f"{place}/limits/{index}"):
                    self._limit(text, f"{place}/limits/{index}")
        if self._about("/default"):
            self._default()

    def _default(self) -> None:
        for name in (f"file:///{name}" if self._section == "resources" else name for name in STRANGERS):
            opinion = self._opinion(name)
            if opinion is not None and (opinion.effect == "allow" or opinion.because == ("/default",)):
                self._sheet.write("/default", use_call(self._section, name), opinion)
                return

    def _names(self, place: str, text: str) -> None:
        found = self._decided_by(text)
        if found is None:
            self._sheet.leave_out(place, "no name was found about which it decides")
        else:
            name, opinion = found
            self._sheet.write(place, use_call(self._section, name), opinion)
        wanted = wanted_beside(text)
        for name in names_beside(text):
            beside = self._opinion(name)
            if wanted and beside is not None:
                self._sheet.write(place, use_call(self._section, name), beside, beside=True)
                wanted -= 1

    def _limit(self, text: str, place: str) -> None:
        found = self._decided_by(text)
        if found is None or pointer(self._section, text, "action") in found[1].because:
            self._sheet.leave_out(place, "no name was found that is charged on it")
            return
        name, opinion = found
        limits = use_limits(self._document, self._section, name)
        planned = sequence_for(Spender(name, {}, limits, lambda _: None, lambda: None), place)
        if isinstance(planned, str):
            self._sheet.leave_out(place, planned)
            return
        call, refused = use_call(self._section, name), Opinion("deny", (place,))
        self._sheet.write_used_up(place, [step_of(step, call, opinion if step.passes else refused) for step in planned])

    def _decided_by(self, text: str) -> tuple[str, Opinion] | None:
        """Find a name about which an entry decides, charged on no limits but its own; give what becomes of its use, too."""
        here, action = pointer(self._section, text), pointer(self._section, text, "action")
        is_open = self._uses[text].action == "allow"
        for name in names_for(text):
            opinion = self._opinion(name)
            if opinion is None:
                continue
            decides = action in opinion.because or (
                is_open and opinion.effect == "allow" and best_match(self._uses, name) == (text,)
            )
            limits = use_limits(self._document, self._section, name)
            if decides and all(place.startswith(here) for place, _ in limits):
                return name, opinion
        return None

    def _opinion(self, name: str) -> Opinion | None:
        return use_opinion(self._document, self._section, name)
