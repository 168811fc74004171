"""Explains what a policy makes of one call: what is looked at, what becomes of it, and what would let it pass."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mcpguard.errors import ExitCode, PolicyError
from mcpguard.inventory.risk import Risk, classify
from mcpguard.inventory.tools import ToolListError, parse_tools
from mcpguard.policy.compile import pointer
from mcpguard.policy.decision import ApprovalTerms, Charge, Effect, Reason, ToolCall
from mcpguard.policy.mend import Change, Edit, NoChange, edited, mend
from mcpguard.policy.operators import UNSET
from mcpguard.policy.paths import ABSENT, BLOCKED, Place, place_text
from mcpguard.policy.trace import ConditionTrace, LimitTrace, Look, NameTrace, Outcome, RuleTrace, Trace, trace
from mcpguard.policy.values import UNSURE, YES
from mcpguard.stores.files import load_policy
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from mcpguard.stores.files import LoadedPolicy

MAX_BYTES: Final = 64 * 1024 * 1024
FEWEST_COLUMNS, MOST_COLUMNS = 40, 100
_MOST_LOOKS: Final = 5
_MOST_LOOKS_AS_JSON: Final = 100
_MOST_UNMATCHED: Final = 5
_SHOWN: Final = 120
_FIT: Final = 60
_EXACT_EXPONENT: Final = 30
_COLOURS: Final[Mapping[Effect, str]] = {"allow": "bold green", "deny": "bold red", "hide": "bold red"}
_EFFECTS: Final[Mapping[Effect, str]] = {"allow": "allowed", "deny": "denied", "hide": "hidden"}
_OUTCOMES: Final[Mapping[Outcome, str]] = {"yes": "green", "no": "none", "unsure": "yellow", "absent": "yellow"}
_SAID: Final = {YES: "yes", UNSURE: "unsure"}
_WINDOWS: Final = {1: "second", 60: "minute", 3600: "hour", 86_400: "day", 604_800: "week"}
_MS: Final = 1_000_000
_UNITS_NS: Final = {"hour": 3_600_000_000_000, "minute": 60_000_000_000, "second": 1_000_000_000}
_WAYS: Final[Mapping[frozenset[str], str]] = {
    frozenset(("client", "terminal")): "In a dialog of the client, or in another terminal: mcpguard approve.",
    frozenset(
        ("client",)
    ): "In a dialog of the client, and nowhere else: under a client without dialogs nobody can approve.",
    frozenset(("terminal",)): "In another terminal: mcpguard approve.",
}
_VERBS: Final = {"require": ("holds", "does not hold"), "deny_if": ("does not fire", "fires")}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("tool")
@click.option(
    "--args",
    "arguments_text",
    metavar="JSON|@FILE",
    help="The arguments of the call: a JSON object, or a file that holds one; @- reads stdin. Absent: {}.",
)
@click.option(
    "--tools",
    "tools_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The server's tools: the result of tools/list, or the list in it; says whether TOOL is one of them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def explain(
    context: click.Context,
    file: Path,
    tool: str,
    arguments_text: str | None,
    tools_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Say what the policy FILE makes of a call of TOOL, and why.

    Shows every entry and rule that is looked at, what was found in the arguments, what the call would be charged, and how a
    person would be asked about it. For a call that does not pass it looks for the smallest change of the arguments with which
    it would. Nothing is started, nobody is asked and nothing is charged: every counter is taken as empty. Relative paths are
    looked up from the present directory.

    Exit status: 0 if the call is allowed, 1 if it is refused or needs a person's approval, 3 if the policy cannot be used.
    """
    arguments = _arguments(arguments_text)
    listed = None if tools_file is None else _listed(tools_file)
    try:
        loaded = load_policy(file)
    except PolicyError as error:
        for finding in error.findings:
            click.echo(str(finding), err=True)
        context.exit(ExitCode.POLICY)
    from mcpguard.proxy.links import resolver

    risk = _risk(listed.get(tool), tools_file) if listed and loaded.policy.categories else None
    call = ToolCall(tool, arguments, resolver(str(Path.cwd())), None if risk is None else risk.category)
    found = trace(loaded.policy, loaded.document, call)
    change = None if found.effect == "allow" else mend(loaded.policy, loaded.document, call)
    similar = _similar(tool, loaded, listed)
    if as_json:
        category = {"category": call.category} if loaded.policy.categories else {}
        click.echo(_json(_as_json(found, loaded.policy.approval, change, listed, similar) | category))
    else:
        _Report(_console(), arguments, risk).tell(found, change, listed, similar, loaded)
    context.exit(ExitCode.OK if found.effect == "allow" else ExitCode.FINDINGS)


# Reading what is given


def _arguments(text: str | None) -> dict[str, Any]:
    """Read the arguments as strictly as they are read from a client."""
    if text is None:
        return {}
    content = _content(text[1:], "--args") if text.startswith("@") else text.encode(errors="surrogateescape")
    where = f"--args {printable(text)}" if text.startswith("@") else "--args"
    _parsed(content, where)
    from mcpguard.protocol.wire import CLIENT, Malformed, decode

    head = b'{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"","arguments":'
    try:
        arguments = decode(head + content + b"}}", CLIENT).params["arguments"]
    except Malformed as malformed:
        raise click.UsageError(f"{where}: the guard refuses to read this: {printable(malformed.reason)}.") from None
    if arguments is not None and not isinstance(arguments, dict):
        raise click.UsageError(f"{where}: the arguments of a call are a JSON object, like '{{\"amount\": 5}}'.")
    return arguments or {}


def _listed(path: Path) -> dict[str, object]:
    """Read a server's tools, by name."""
    where = f"--tools {printable(str(path))}"
    value = _parsed(_content(str(path), "--tools"), where)
    for key in ("result", "tools"):
        if isinstance(value, dict):
            value = value.get(key, value)
    tools = [tool for tool in value if _is_tool(tool)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(tools) < len(value):
        raise click.UsageError(f'{where}: expected the result of tools/list: {{"tools": [{{"name": ...}}, ...]}}.')
    return {tool["name"]: tool for tool in reversed(tools)}


def _risk(tool: object, path: Path | None) -> Risk | None:
    """Say what a listed tool can do at worst."""
    if tool is None:
        return None
    try:
        (one,) = parse_tools([tool])
    except ToolListError as error:
        raise click.UsageError(f"--tools {printable(str(path))}: {printable(error.message)}.") from None
    return classify(one)


def _is_tool(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def _content(name: str, option: str) -> bytes:
    try:
        if name == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "no file can have this name"
        raise click.UsageError(f"{option}: `{printable(name)}` cannot be read: {why.lower()}.") from None
    if len(content) > MAX_BYTES:
        raise click.UsageError(f"{option}: `{printable(name)}` is bigger than {MAX_BYTES // 1024 // 1024} MiB.")
    return content


def _parsed(content: bytes, where: str) -> object:
    import jiter

    try:
        return jiter.from_json(content, catch_duplicate_keys=True, allow_inf_nan=False, float_mode="decimal")
    except ValueError as error:
        raise click.UsageError(
            f"{where}: this is no JSON that everybody reads alike: {printable(str(error))}."
        ) from None


def _similar(tool: str, loaded: LoadedPolicy, listed: Mapping[str, object] | None) -> list[str]:
    """Find names that may be meant: of the server's tools, or of those that the policy names."""
    names = list(loaded.policy.tools.exact if listed is None else listed)
    if tool in names or (listed is None and loaded.policy.tools.find(tool) is not None):
        return []
    by_fold = {name.casefold(): name for name in reversed(names)}
    return [by_fold[found] for found in get_close_matches(tool.casefold(), list(by_fold), n=3)]


# For programs


def _as_json(
    found: Trace,
    terms: ApprovalTerms,
    change: Change | NoChange | None,
    listed: Mapping[str, object] | None,
    similar: list[str],
) -> dict[str, object]:
    return {
        "tool": found.tool,
        "effect": found.effect,
        "entry": found.decision.entry,
        "reasons": [{"rule": reason.rule, "code": reason.code, "message": reason.message} for reason in found.reasons],
        "ask": _ask_as_json(found.asks[0], terms) if found.asks else None,
        "charges": [_charge_as_json(charge) for charge in found.charges],
        "looked_at": {
            "names": [_name_as_json(name) for name in found.names],
            "rules": [_rule_as_json(rule) for rule in found.rules],
            "arguments": None
            if found.schema is None
            else {"rule": found.schema.rule, "problem": found.schema.problem or None},
            "limits": [_limit_as_json(limit) for limit in found.limits],
        },
        "smallest_change": _change_as_json(change),
        **({} if listed is None else {"listed": found.tool in listed}),
        "did_you_mean": similar,
    }


def _ask_as_json(first: Reason, terms: ApprovalTerms) -> dict[str, object]:
    return {
        "rule": first.rule,
        "reason": first.message,
        "via": sorted(terms.via),
        "timeout_ms": terms.timeout_ns // _MS,
        "ttl_ms": terms.ttl_ns // _MS,
        "remember": terms.remember,
    }


def _charge_as_json(charge: Charge) -> dict[str, object]:
    return {
        "counter": charge.counter,
        "window_s": charge.window_s,
        "max": charge.max,
        "cost": charge.amount,
        "per": charge.key,
    }


def _name_as_json(name: NameTrace) -> dict[str, object]:
    return {
        "rule": name.rule,
        "name": name.text,
        "kind": name.kind,
        "matches": name.matches,
        "decides": name.decides,
        "why": name.why or None,
    }


def _rule_as_json(rule: RuleTrace) -> dict[str, object]:
    return {
        "rule": rule.rule,
        "kind": rule.kind,
        "answer": rule.answer.name.lower(),
        "refuses": rule.refuses,
        "alias": rule.alias or None,
        "conditions": [_condition_as_json(condition) for condition in rule.conditions],
    }


def _condition_as_json(condition: ConditionTrace) -> dict[str, object]:
    looks = condition.looks[:_MOST_LOOKS_AS_JSON]
    return {
        "path": condition.path,
        "op": condition.op,
        **({} if condition.value is UNSET else {"value": condition.value}),
        "outcome": condition.outcome,
        "counts_as": condition.counts.name.lower(),
        "found": [
            {
                "path": pointer(*look.place),
                **({} if look.found is ABSENT or look.found is BLOCKED else {"value": look.found}),
                "outcome": look.outcome,
            }
            for look in looks
        ],
        "more": len(condition.looks) - len(looks),
    }


def _limit_as_json(limit: LimitTrace) -> dict[str, object]:
    match limit.owed:
        case Charge():
            return {"rule": limit.rule, "charge": _charge_as_json(limit.owed), "problem": None}
        case Reason():
            return {"rule": limit.rule, "charge": None, "problem": limit.owed.message}
        case None:
            return {"rule": limit.rule, "charge": None, "problem": None}


def _change_as_json(change: Change | NoChange | None) -> dict[str, object] | None:
    if not isinstance(change, Change):
        return None
    edits = [_edit_as_json(edit) for edit in change.edits]
    return {"edits": edits, "arguments": change.arguments, "asked": change.asked}


def _edit_as_json(edit: Edit) -> dict[str, object]:
    place = {"edit": edit.kind, "path": pointer(*edit.place)}
    match edit.kind:
        case "set" | "add":
            return {**place, "value": edit.value}
        case "remove":
            return {**place}
        case "rename":
            return {**place, "to": edit.name}


def _json(value: object, indent: str = "") -> str:
    """Write a value with every digit of its numbers, objects and lists of some length on lines of their own."""
    flat = _flat(value)
    if len(flat) <= _FIT or not isinstance(value, (dict, list, tuple)):
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_json(item, deeper)}" for key, item in value.items()]
        opening, closing = "{", "}"
    else:
        items = [_json(item, deeper) for item in value]
        opening, closing = "[", "]"
    lines = ",".join(f"\n{deeper}{item}" for item in items)
    return f"{opening}{lines}\n{indent}{closing}"


def _flat(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)}: {_flat(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flat, value)) + "]"
        case Decimal():
            return f"{value:f}" if abs(value.adjusted()) < _EXACT_EXPONENT else str(value)
        case _:
            return json.dumps(value)


# For people


def _console() -> Console:
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR"))
    console = Console(color_system=None if plain else "auto", highlight=False, markup=False, emoji=False)
    console.width = min(max(console.width, FEWEST_COLUMNS), MOST_COLUMNS)
    return console


class _Report:
    """Writes what was found for people.  Whatever a policy, a call or a server says goes through `_safe`."""

    def __init__(self, console: Console, arguments: Mapping[str, object], risk: Risk | None) -> None:
        self._console = console
        self._arguments = arguments
        self._risk = risk

    def tell(
        self,
        found: Trace,
        change: Change | NoChange | None,
        listed: Mapping[str, object] | None,
        similar: list[str],
        loaded: LoadedPolicy,
    ) -> None:
        if found.asks:
            self._line(f"{_safe(found.tool)} needs a person's approval", style="bold yellow")
        else:
            self._line(f"{_safe(found.tool)} is {_EFFECTS[found.effect]}", style=_COLOURS[found.effect])
        self._line(f"decided by {_safe(found.decision.entry)}", indent=3)
        self._tell_listed(found.tool, listed, similar)
        for reason in found.reasons:
            self._line(f"{reason.code}: {_safe(reason.message)}", indent=3)
            self._line(_safe(reason.rule), indent=6, style="dim")
        self._tell_names(found, loaded)
        self._tell_rules(found)
        self._tell_limits(found)
        if found.asks:
            self._heading("How a person is asked")
            self._tell_terms(loaded.policy.approval)
        if change is not None:
            self._heading(f"The smallest change with which {'nobody is asked' if found.asks else 'it passes'}")
            self._tell_change(change, asks=bool(found.asks))

    def _tell_listed(self, tool: str, listed: Mapping[str, object] | None, similar: list[str]) -> None:
        meant = f"; did you mean {' or '.join(f'`{_safe(name)}`' for name in similar)}?" if similar else ""
        if listed is not None:
            is_there = (
                "is in the list of tools"
                if tool in listed
                else f"is not in the list of {_counted(len(listed), 'tool')}"
            )
            self._line(f"`{_safe(tool)}` {is_there}{meant}", indent=3, style="" if tool in listed else "yellow")
        elif meant:
            self._line(f"the policy does not name `{_safe(tool)}`{meant}", indent=3, style="yellow")

    def _tell_names(self, found: Trace, loaded: LoadedPolicy) -> None:
        self._heading("Which entry decides")
        unmatched = [name for name in found.names if not name.matches]
        rows = []
        for name in found.names:
            if name.matches or name in unmatched[:_MOST_UNMATCHED]:
                said = "decides" if name.decides else "matches" if name.matches else "no match"
                pattern = name.text if name.kind == "hide" else ""
                rows.append((name.rule, pattern, said, name.why))
        self._table(rows)
        if len(unmatched) > _MOST_UNMATCHED:
            self._line(f"and {len(unmatched) - _MOST_UNMATCHED} more that do not match", indent=3)
        if self._risk is not None:
            self._line(f"its risk category is {self._risk.category}: {_safe(self._risk.evidence[0])}", indent=3)
        elif loaded.policy.categories:
            self._line("its risk category is not known: --tools LIST.json names it", indent=3, style="yellow")
        if found.action not in {None, "allow"}:
            self._line(f"its action is {found.action}", indent=3)
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
            value = "" if condition.value is UNSET else f" {_flat(condition.value)}"
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
                    window = _WINDOWS.get(charge.window_s, f"{charge.window_s} seconds")
                    said = f"takes {_flat(charge.amount)} of {charge.max} per {window}{key}"
                    self._verdict(limit.rule, said, stands=limit.rule in over)
                    if charge.counter != limit.rule:
                        self._line(f"counter {_safe(charge.counter)}", indent=6)
                case Reason() as reason:
                    self._verdict(limit.rule, "nobody can say what it takes", stands=True)
                    self._line(_safe(reason.message), indent=6)
                case None:
                    self._verdict(limit.rule, "not looked at: a key could be taken for another", stands=True)
        if found.asks:
            self._line("Looked at before a person is asked, and charged once the call is approved.", indent=3)
        elif found.effect != "allow":
            self._line("A refused call is not charged.", indent=3)

    def _tell_terms(self, terms: ApprovalTerms) -> None:
        self._line(_WAYS[terms.via], indent=3)
        if terms.timeout_ns:
            waits = f"waits {_time(terms.timeout_ns)} for an answer, and is refused without one"
        else:
            waits = "does not wait for an answer: it is refused at once"
        self._line(f"The call {waits}.", indent=3)
        if terms.ttl_ns:
            self._line(f"A later approval is for the same call, made again within {_time(terms.ttl_ns)}.", indent=3)
        if terms.remember == "tool":
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
                tried = _counted(change.tried, "change")
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
    text = _safe(_flat(value))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _safe(text: str) -> str:
    return printable(text)


def _time(nanoseconds: int) -> str:
    """Write a time in its largest unit that is whole."""
    for noun, unit in _UNITS_NS.items():
        if nanoseconds % unit == 0:
            return _counted(nanoseconds // unit, noun)
    return f"{nanoseconds // _MS} ms"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
