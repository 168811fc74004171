"""Tells people what was found about one call: `mcpguard explain`.

Finds nothing out itself.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from mcpguard.cli.console import counted, report_console
from mcpguard.cli.explain_json import flat
from mcpguard.policy.decision import ApprovalTerms, Charge, Effect, Reason
from mcpguard.policy.edits import Edit, edited
from mcpguard.policy.mend import Change, NoChange
from mcpguard.policy.notation import window_words
from mcpguard.policy.operators import UNSET
from mcpguard.policy.paths import ABSENT, BLOCKED, Place, place_text
from mcpguard.policy.values import UNSURE, YES
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mcpguard.policy.decision import Category
    from mcpguard.policy.trace import ConditionTrace, Look, Outcome, RuleTrace, SubjectKind, Trace
    from mcpguard.stores.files import LoadedPolicy

FEWEST_COLUMNS, MOST_COLUMNS = 40, 100
_MOST_LOOKS: Final = 5
_MOST_UNMATCHED: Final = 5
_SHOWN: Final = 120
_COLOURS: Final[Mapping[Effect, str]] = {"allow": "bold green", "deny": "bold red", "hide": "bold red"}
_EFFECTS: Final[Mapping[Effect, str]] = {"allow": "allowed", "deny": "denied", "hide": "hidden"}
_OUTCOMES: Final[Mapping[Outcome, str]] = {"yes": "green", "no": "none", "unsure": "yellow", "absent": "yellow"}
_SAID: Final = {YES: "yes", UNSURE: "unsure"}
_MS: Final = 1_000_000
_UNITS_NS: Final = {"hour": 3_600_000_000_000, "minute": 60_000_000_000, "second": 1_000_000_000}
_WAYS: Final[Mapping[frozenset[str], str]] = {
    frozenset(("client", "terminal")): "In a dialog of the client, or in another terminal: mcpguard approve.",
    frozenset(
        ("client",)
    ): "In a dialog of the client, and nowhere else: under a client without dialogs nobody can approve.",
    frozenset(("terminal",)): "In another terminal: mcpguard approve.",
}
_REQUESTS: Final[Mapping[SubjectKind, str]] = {"tool": "call", "resource": "request", "prompt": "request"}
_VERBS: Final = {"require": ("holds", "does not hold"), "deny_if": ("does not fire", "fires")}


class Report:
    """Writes what was found for people.  Whatever a policy, a call or a server says goes through `_safe`.

    `category` is the tool's risk category, if known, and `evidence` what shows that it is of it.
    """

    def __init__(
        self, arguments: Mapping[str, object] | None = None, category: Category | None = None, evidence: str = ""
    ) -> None:
        self._console = report_console(columns=(FEWEST_COLUMNS, MOST_COLUMNS))
        self._arguments = arguments or {}
        self._category = category
        self._evidence = evidence

    def tell(
        self,
        found: Trace,
        change: Change | NoChange | None,
        listed: Mapping[str, object] | None,
        similar: list[str],
        loaded: LoadedPolicy,
    ) -> None:
        """Tell everything.  `listed` are the server's tools, if known, `similar` names that may be meant."""
        named = _safe(found.subject if found.kind == "tool" else f"{found.kind} {found.subject}")
        if found.asks:
            self._line(f"{named} needs a person's approval", style="bold yellow")
        else:
            self._line(f"{named} is {_EFFECTS[found.effect]}", style=_COLOURS[found.effect])
        self._line(f"decided by {_safe(found.decision.entry)}", indent=3)
        self._tell_listed(found.subject, listed, similar)
        for reason in found.reasons:
            self._line(f"{reason.code}: {_safe(reason.message)}", indent=3)
            self._line(_safe(reason.rule), indent=6, style="dim")
        self._tell_names(found, loaded)
        self._tell_rules(found)
        self._tell_limits(found)
        if found.asks:
            self._heading("How a person is asked")
            self._tell_terms(loaded.policy.approval, found.kind)
        if change is not None:
            self._heading(f"The smallest change with which {'nobody is asked' if found.asks else 'it passes'}")
            self._tell_change(change, asks=bool(found.asks))

    def _tell_listed(self, subject: str, listed: Mapping[str, object] | None, similar: list[str]) -> None:
        meant = f"; did you mean {' or '.join(f'`{_safe(name)}`' for name in similar)}?" if similar else ""
        if listed is not None:
            is_there = (
                "is in the list of tools"
                if subject in listed
                else f"is not in the list of {counted(len(listed), 'tool')}"
            )
            self._line(f"`{_safe(subject)}` {is_there}{meant}", indent=3, style="" if subject in listed else "yellow")
        elif meant:
            self._line(f"the policy does not name `{_safe(subject)}`{meant}", indent=3, style="yellow")

    def _tell_names(self, found: Trace, loaded: LoadedPolicy) -> None:
        self._heading("Which entry decides")
        unmatched = [name for name in found.names if not name.matches]
        rows: list[tuple[str, ...]] = []
        for name in found.names:
            if name.matches or name in unmatched[:_MOST_UNMATCHED]:
                said = "decides" if name.decides else "matches" if name.matches else "no match"
                if found.kind == "tool":
                    rows.append((name.rule, name.text if name.kind == "hide" else "", said, name.why))
                else:
                    # A pointer to a URI is hard to read.
                    rows.append((name.text if name.kind in {"exact", "glob"} else name.rule, said, name.why))
        self._table(rows)
        if len(unmatched) > _MOST_UNMATCHED:
            self._line(f"and {len(unmatched) - _MOST_UNMATCHED} more that do not match", indent=3)
        if found.kind == "tool":
            self._tell_category(by_category=bool(loaded.policy.categories))
        if found.action not in {None, "allow"}:
            self._line(f"its action is {found.action}", indent=3)
        if found.kind == "tool":
            self._tell_all_tools(found, loaded)

    def _tell_category(self, *, by_category: bool) -> None:
        if self._category is not None:
            self._line(f"its risk category is {self._category}: {_safe(self._evidence)}", indent=3)
            if not by_category:
                self._line("the policy has no entries for risk categories: it makes no difference", indent=3)
        elif by_category:
            said = "its risk category is not known: --tools LIST.json names it, --category says it"
            self._line(said, indent=3, style="yellow")

    def _tell_all_tools(self, found: Trace, loaded: LoadedPolicy) -> None:
        everywhere = loaded.document.all_tools
        if (everywhere.require or everywhere.deny_if or everywhere.limits) and not any(
            rule.startswith("/all_tools/")
            for rule in (each.rule for part in (found.rules, found.limits) for each in part)
        ):
            self._line("all_tools is not looked at: the call is refused without it", indent=3)

    def _tell_rules(self, found: Trace) -> None:
        if not found.rules and found.schema is None:
            return
        self._heading("Rules")
        for rule in found.rules:
            self._tell_rule(rule)
        if found.schema is not None:
            problem = found.schema.problem
            said = "refuses the arguments" if problem else "accepts the arguments"
            self._verdict(found.schema.rule, said, stands=bool(problem))
            if problem:
                self._line(_safe(problem), indent=6)

    def _tell_rule(self, rule: RuleTrace) -> None:
        good, bad = _VERBS.get(rule.kind, ("asks nobody", "asks a person"))
        unsure = ", in doubt" if rule.refuses and rule.answer is UNSURE and not rule.alias else ""
        self._verdict(rule.rule, (bad if rule.refuses else good) + unsure, stands=rule.refuses)
        if rule.alias:
            self._line(_safe(rule.alias), indent=6)
        if not rule.conditions:
            self._line("it has no conditions: it is about every call", indent=6)
        rows: list[tuple[str, str, str]] = []
        for condition in rule.conditions:
            value = "" if condition.value is UNSET else f" {flat(condition.value)}"
            rows.append((f"{condition.path} {condition.op}{value}", _told(condition), condition.outcome))
            looks = [look for look in condition.looks if look is not condition.decisive]
            rows += [("", _seen(look, condition.path), look.outcome) for look in looks[: _MOST_LOOKS - 1]]
            if len(looks) >= _MOST_LOOKS:
                rows.append(("", f"and {len(looks) - _MOST_LOOKS + 1} more", ""))
        self._table(rows, indent=6)

    def _tell_limits(self, found: Trace) -> None:
        if not found.limits:
            return
        self._heading("Limits, with empty counters")
        over = {reason.rule for reason in found.over}
        for limit in found.limits:
            match limit.owed:
                case Charge() as charge:
                    key = "" if charge.key is None else f", for {_value(charge.key)}"
                    said = f"takes {flat(charge.amount)} of {charge.max} per {window_words(charge.window_s)}{key}"
                    self._verdict(limit.rule, said, stands=limit.rule in over)
                    if charge.counter != limit.rule:
                        self._line(f"counter {_safe(charge.counter)}", indent=6)
                case Reason() as reason:
                    self._verdict(limit.rule, "nobody can say what it takes", stands=True)
                    self._line(_safe(reason.message), indent=6)
                case None:
                    self._verdict(limit.rule, "not looked at: a key could be taken for another", stands=True)
        if found.asks:
            said = f"Looked at before a person is asked, and charged once the {_REQUESTS[found.kind]} is approved."
            self._line(said, indent=3)
        elif found.effect != "allow":
            self._line(f"A refused {_REQUESTS[found.kind]} is not charged.", indent=3)

    def _tell_terms(self, terms: ApprovalTerms, kind: SubjectKind) -> None:
        self._line(_WAYS[terms.via], indent=3)
        if terms.timeout_ns:
            waits = f"waits {_time(terms.timeout_ns)} for an answer, and is refused without one"
        else:
            waits = "does not wait for an answer: it is refused at once"
        self._line(f"The {_REQUESTS[kind]} {waits}.", indent=3)
        if terms.ttl_ns:
            same = f"the same {_REQUESTS[kind]}, made again within {_time(terms.ttl_ns)}"
            self._line(f"A later approval is for {same}.", indent=3)
        if terms.remember == "tool" and kind == "tool":
            self._line("The answer may be about later calls that the same rules ask about, too.", indent=3)

    def _tell_change(self, change: Change | NoChange, *, asks: bool) -> None:
        match change:
            case Change():
                arguments: Mapping[str, object] = self._arguments
                for edit in change.edits:
                    self._line(_said(edit, arguments), indent=3, style="green")
                    arguments = edited(arguments, edit)
                outcome = "only a person's approval is missing" if change.asked else "allowed"
                self._line(f"Judged again: {outcome}. Whether it is what you want, only you can say.", indent=3)
            case NoChange(by_name=True) if asks:
                self._line("None: a person is asked about every call of this tool, whatever its arguments.", indent=3)
            case NoChange(by_name=True):
                self._line("None: the policy refuses every call of this tool, whatever its arguments.", indent=3)
            case NoChange():
                more = ", and gave up" if change.gave_up else ""
                tried = counted(change.tried, "change")
                self._line(
                    f"None was found. Tried {tried} of up to 3 edits, with what the policy names{more}.", indent=3
                )

    def _heading(self, title: str) -> None:
        self._console.print(f"\n{title}", style="bold")

    def _line(self, text: str, *, indent: int = 0, style: str = "") -> None:
        lines = textwrap.wrap(
            text,
            self._console.width,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + 2),
            break_on_hyphens=False,
        )
        for line in lines:
            self._console.print(line, style=style, soft_wrap=True)

    def _verdict(self, rule: str, said: str, *, stands: bool) -> None:
        self._table([(rule, said)], style="red" if stands else "green")

    def _table(self, rows: Iterable[Sequence[str]], *, indent: int = 3, style: str = "") -> None:
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for row in rows:
            for _ in row[len(table.columns) :]:
                table.add_column(overflow="fold")
            cells = [Text(_safe(cell), style=_OUTCOMES.get(cell, "")) for cell in row]  # type: ignore[call-overload]
            cells[-1].stylize(style)
            table.add_row(*cells)
        if table.row_count:
            # A table fills its last column with spaces, which are a nuisance to whoever copies the text.
            with self._console.capture() as captured:
                self._console.print(Padding.indent(table, indent))
            lines = captured.get().split("\n")
            self._console.file.write("\n".join(line.rstrip(" ") for line in lines))
            self._console.file.flush()


def _told(condition: ConditionTrace) -> str:
    """Say what decided a condition, and what an absent argument counts as."""
    seen = _seen(condition.decisive, condition.path)
    if condition.outcome != "absent":
        return seen
    return f"{seen}: counts as {_SAID.get(condition.counts, 'no')}"


def _seen(look: Look, path: str) -> str:
    name = place_text(look.place)
    if look.found is BLOCKED:
        return f"{place_text(look.place[:-1])} has nothing below it"
    if look.found is ABSENT:
        return "not given" if name == path else f"{name} not given"
    return _value(look.found) if name == path else f"{name} is {_value(look.found)}"


def _said(edit: Edit, arguments: Mapping[str, object]) -> str:
    """Write an edit as an order."""
    place = _safe(place_text(edit.place))
    match edit.kind:
        case "set":
            return f"set {place} to {_value(edit.value)} (it is {_value(_at(arguments, edit.place))})"
        case "add":
            return f"add {place}: {_value(edit.value)}"
        case "remove":
            return f"leave out {place}"
        case "rename":
            return f"rename {place} to {_safe(edit.name)}"


def _at(value: object, place: Place) -> object:
    for step in place:
        assert isinstance(value, (dict, list))
        value = value[step]  # type: ignore[index]
    return value


def _value(value: object) -> str:
    text = _safe(flat(value))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _safe(text: str) -> str:
    return printable(text)


def _time(nanoseconds: int) -> str:
    """Write a time in its largest unit that is whole."""
    for noun, unit in _UNITS_NS.items():
        if nanoseconds % unit == 0:
            return counted(nanoseconds // unit, noun)
    return f"{nanoseconds // _MS} ms"
