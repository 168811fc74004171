"""Finds calls that two policies judge differently, and names what is different where no call shows it.

The calls are those at the boundaries of every rule of both.  What calls cannot show at all (requests of the server, methods, lists, drift,
approvals, the log) is compared by what is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mcpguard.inventory.cases import example_arguments
from mcpguard.inventory.risk import classify
from mcpguard.policy.entries import pointer
from mcpguard.policy.evaluate import evaluate
from mcpguard.proof.boundaries import boundaries_of
from mcpguard.proof.cases import Case, CasesFile, Step
from mcpguard.proof.judge import NOWHERE, Session
from mcpguard.proof.units import Side, changed_units, described_changes, told_apart_by_texts

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.evaluate import Policy
    from mcpguard.proof.boundaries import Boundaries
    from mcpguard.proof.cases import AnyCase, Expectation
    from mcpguard.proof.judge import Outcome, Surroundings
    from mcpguard.proof.units import Change
    from mcpguard.proof.writing import Choice

Kind: TypeAlias = Literal[
    "newly allowed",
    "no longer asked about",
    "now asked about, was refused",
    "no longer hidden",
    "now hidden",
    "now asked about",
    "newly refused",
]
"""What has become of a call, from what loosens most to what tightens most."""

KINDS: Final[tuple[Kind, ...]] = (
    "newly allowed",
    "no longer asked about",
    "now asked about, was refused",
    "no longer hidden",
    "now hidden",
    "now asked about",
    "newly refused",
)
_RANK: Final = {"allow": 0, "approve": 1, "deny": 2, "hide": 3}
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Witness:
    """A call that two policies judge differently, with what becomes of it by the `old` and by the `new` one.

    `number` is that of the call in a sequence, from 1, `elapsed_ns` the time since the first; 0 and 0 if it is a call by itself.
    """

    case: Case
    old: Outcome
    new: Outcome
    sequence: tuple[Step, ...] = ()
    number: int = 0
    elapsed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """Calls that are judged differently because of one rule, which stands in the `side` policy."""

    kind: Kind
    rule: str
    side: Side
    witnesses: tuple[Witness, ...]


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A part of a policy that the other has not, and that no call was found to show."""

    rule: str
    side: Side
    why: str


@dataclass(frozen=True, slots=True)
class Differences:
    """What is different between two policies: shown by calls, only written, not to be shown, and texts for people."""

    shown: tuple[Difference, ...]
    written: tuple[Change, ...]
    not_compared: tuple[NotCompared, ...]
    texts: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether the policies differ in anything but texts for people."""
        return bool(self.shown or self.written or self.not_compared)


def differences(
    old: Policy, new: Policy, tools: Sequence[Tool] = (), surroundings: Surroundings = NOWHERE
) -> Differences:
    """Compare two policies; with the server's `tools`, by calls of these where there are some."""
    texts = tuple(told_apart_by_texts(old.document, new.document))
    if old.digest == new.digest:
        return Differences((), (), (), texts)
    about = _worth_a_look(old, new)
    mine, theirs = (boundaries_of(each.document, tools, about=about) for each in (old, new))
    shown = _grouped(
        witnesses(old, new, [*mine.cases, *theirs.cases, *_listed(tools, old, new)], surroundings),
        old,
        new,
        surroundings,
    )
    covered = {each.rule for each in shown}
    why = {"old": _reasons(mine), "new": _reasons(theirs)}
    not_compared = tuple(
        NotCompared(
            each.rule, each.side, why[each.side].get(each.rule, "no call was found that the two judge differently")
        )
        for each in changed_units(old.document, new.document)
        if not any(rule == each.rule or rule.startswith(f"{each.rule}/") for rule in covered)
    )
    return Differences(shown, tuple(described_changes(old.document, new.document)), not_compared, texts)


def witnesses(
    old: Policy, new: Policy, cases: Sequence[dict[str, object]], surroundings: Surroundings = NOWHERE
) -> Iterator[Witness]:
    """Yield the calls among some cases that two policies judge differently; of a sequence the first such call.

    Each says the category by which its tool was judged, if either policy has entries for categories.
    """
    categories = surroundings.categories if old.categories or new.categories else {}
    seen: set[str] = set()
    for case in CasesFile.model_validate({"cases": list(cases)}).cases:
        witness = _witness(old, new, case, surroundings)
        if witness is None:
            continue
        call = witness.case
        if call.category is None and call.tool in categories:
            call = call.model_copy(update={"category": categories[call.tool]})
            witness = replace(witness, case=call)
        name = repr((call.subject, call.arguments, call.category, witness.number, witness.elapsed_ns))
        if name not in seen:
            seen.add(name)
            yield witness


def _witness(old: Policy, new: Policy, case: AnyCase, surroundings: Surroundings) -> Witness | None:
    before, after = Session(old, surroundings), Session(new, surroundings)
    if isinstance(case, Case):
        (was, _), (is_now, _) = before.call(case), after.call(case)
        return None if was.effect == is_now.effect else Witness(case, was, is_now)
    number = elapsed_ns = 0
    for step in case.sequence:
        before.wait(step.after)
        after.wait(step.after)
        elapsed_ns += step.after
        for _ in range(step.times):
            number += 1
            (was, _), (is_now, _) = before.call(step), after.call(step)
            if was.effect != is_now.effect:
                alone = number == 1
                return Witness(step, was, is_now, *(() if alone else (case.sequence, number, elapsed_ns)))
    return None


def kind_of(old: Expectation, new: Expectation) -> Kind:
    """Say what has become of a call that is judged in two ways."""
    match old, new:
        case _, "allow":
            return "no longer asked about" if old == "approve" else "newly allowed"
        case "hide", "deny":
            return "no longer hidden"
        case "deny", "hide":
            return "now hidden"
        case "allow", "approve":
            return "now asked about"
        case _, "approve":
            return "now asked about, was refused"
        case _:
            return "newly refused"


def _grouped(found: Iterator[Witness], old: Policy, new: Policy, surroundings: Surroundings) -> tuple[Difference, ...]:
    groups: dict[tuple[Kind, str, Side], list[Witness]] = {}
    for witness in found:
        kind = kind_of(witness.old.effect, witness.new.effect)
        rule, side = _made_by(witness, old, new, surroundings)
        groups.setdefault((kind, rule, side), []).append(witness)
    ordered = sorted(groups.items(), key=lambda item: (KINDS.index(item[0][0]), -len(item[1])))
    return tuple(Difference(*key, tuple(several)) for key, several in ordered)


def _made_by(witness: Witness, old: Policy, new: Policy, surroundings: Surroundings) -> tuple[str, Side]:
    """Give the rule that made the difference: the one that refuses or asks; if that is the default, the entry that does not."""
    tightens = _RANK[witness.new.effect] > _RANK[witness.old.effect]
    outcome, side, other = (witness.new, "new", old) if tightens else (witness.old, "old", new)
    rule = outcome.reasons[0].rule if outcome.reasons else ""
    if rule != "/default":
        return rule, "new" if side == "new" else "old"
    entry = evaluate(other, witness.case.call(surroundings.resolve, surroundings.categories)).entry
    return entry, "old" if tightens else "new"


def _listed(tools: Sequence[Tool], old: Policy, new: Policy) -> Iterator[dict[str, object]]:
    """Yield a plain call of every tool of a list."""
    by_category = old.categories or new.categories
    for tool in tools:
        category = {"category": classify(tool).category} if by_category else {}
        arguments = example_arguments(tool.input_schema) or {}
        yield {"tool": tool.name, "arguments": arguments, "expect": "allow", **category}


def _worth_a_look(old: Policy, new: Policy) -> Choice:
    """Leave out what surely makes no difference: an exact name decides alone, so the same entry for it in both judges alike."""
    before, after = old.document, new.document
    if before.hide != after.hide or before.all_tools != after.all_tools:
        return lambda _: True
    same = {
        pointer("tools", name)
        for name, entry in before.tools.items()
        if name in old.tools.exact and after.tools.get(name) == entry
    }
    return lambda rule: "/".join(rule.split("/")[:3]) not in same


def _reasons(found: Boundaries) -> dict[str, str]:
    return {each.rule: each.why for each in found.left_out}
