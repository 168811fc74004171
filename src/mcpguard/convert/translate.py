"""Turns a policy of Intercept into one of ours that admits nothing which the original would refuse.

Where our language has an exact twin, that is written.  Where it has none, something stricter is, and a note says what.  Knows
the two languages; reads no files and prints nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, trunc
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from mcpguard.convert.go_patterns import PatternProblem
from mcpguard.convert.go_patterns import translate as translate_pattern
from mcpguard.convert.go_values import Equals, equals
from mcpguard.convert.source import (
    ARGS,
    EVERY_TOOL,
    GLOBAL,
    STATE,
    Condition,
    Rule,
    Source,
    State,
    counter_of,
    scope_of,
)
from mcpguard.policy.canonical import canonical
from mcpguard.policy.paths import index_of
from mcpguard.stores.text import quoted, step

if TYPE_CHECKING:
    from mcpguard.policy.values import Number

Kind: TypeAlias = Literal["counting", "counters", "comparison", "refused", "text", "name", "sections", "ignored"]
"""What a note is about; docs/convert.md explains each."""

Json: TypeAlias = dict[str, object]

_HEAD: Final = "Converted from a policy of Intercept by `mcpguard convert`; see docs/convert.md."
_COMMENT: Final = "$comment"
_MOST: Final = 2**53 - 1
"""The largest maximum that is written: up to here, doubles and exact numbers add up alike."""
_MOST_INT64: Final = 2**63
_COUNTING: Final = (
    "is a limit in windows of the calendar, as there, but counts anew with every run, while Intercept keeps its counts on "
    "disk for all runs; calls that fail count, too"
)
_COUNTING_HERE: Final = "counts anew with every run; calls that fail count, too"


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that has no exact twin.  `pointer` says where it stands in the original."""

    pointer: str
    kind: Kind
    message: str


class _NoTwinError(Exception):
    """A condition cannot be expressed; every call that it governs has to be refused."""

    def __init__(self, condition: Condition, message: str) -> None:
        super().__init__(message)
        self.condition = condition
        self.message = message


class _Never(Exception):  # noqa: N818 - it is no error: a rule holds for no call at all, in both languages
    """A condition on a counter can never hold."""


@dataclass(frozen=True, slots=True)
class _Owner:
    """The rule that counts on a counter.  `is_limited` says whether it has a limit on it; else Intercept's count stays zero."""

    scope: str
    state: State
    is_limited: bool


@dataclass(slots=True)
class _Entry:
    """What comes out of the rules of one tool, or of every tool."""

    tool: str
    denied_by: Rule | None = None
    require: list[Json] = field(default_factory=list)
    deny_if: list[Json] = field(default_factory=list)
    limits: list[Json] = field(default_factory=list)


def convert(source: Source) -> tuple[Json, tuple[Note, ...]]:
    """Return a policy of ours, as JSON with numbers as `int` and `Decimal`, and a note for each thing without an exact twin."""
    return _Converter(source).policy()


class _Converter:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._notes: list[Note] = []
        self._owners: dict[str, _Owner] = {}
        for tool, rules in source.tools.items():
            for rule in rules:
                if rule.state is not None:
                    counter = counter_of(tool, rule.state)
                    limited = _own_limit(rule, counter) is not None
                    self._owners[counter] = _Owner(scope_of(tool), rule.state, limited)
        self._read: set[str] = set()
        """The counters that rules look at without counting on them."""
        for tool, rules in source.tools.items():
            for rule in rules:
                own = None if rule.state is None else counter_of(tool, rule.state)
                found = (_counter_in(condition) for condition in rule.conditions)
                self._read |= {each for each in found if each is not None and each != own}

    def policy(self) -> tuple[Json, tuple[Note, ...]]:
        source = self._source
        policy: Json = {_COMMENT: _HEAD, "version": "1"}
        if source.description:
            policy["description"] = source.description
        policy["default"] = "deny" if source.denies_by_default else "allow"
        entries = {tool: self._entry(tool, rules) for tool, rules in source.tools.items()}
        everywhere = entries.pop(EVERY_TOOL, _Entry(EVERY_TOOL))
        hide = [self._pattern(name, step("/hide", index)) for index, name in enumerate(source.hide)]
        if _COMMENT in entries and _COMMENT not in source.hide:
            # Here that key is a remark, so no entry can have this name; in `hide` it is one.
            del entries[_COMMENT]
            hide.append(_COMMENT)
            self._note(step("/tools", _COMMENT), "name", "no entry can be called `$comment` here; it is hidden")
        if hide:
            policy["hide"] = hide
        if everywhere.require or everywhere.deny_if or everywhere.limits:
            policy["all_tools"] = _without_empty(everywhere)
        tools: Json = {}
        for tool, entry in entries.items():
            if tool != _COMMENT:
                name = self._pattern(tool, step("/tools", tool), is_key=True)
                remark = {_COMMENT: "one name, and no pattern"} if name != tool and tool[0] != "@" else {}
                tools[name] = {**remark, **self._tool(entry)}
        policy["tools"] = tools
        if source.denies_by_default:
            remark = {_COMMENT: "Intercept governs tools alone"}
            policy |= {
                "resources": {**remark, "*": {}},
                "prompts": {**remark, "*": {}},
                "server_requests": {**remark, "sampling/createMessage": "allow"},
                "methods": {**remark, "*": "allow"},
            }
            self._note(
                "/default",
                "sections",
                "Intercept governs tools alone, so resources, prompts, sampling and unknown methods are opened here; "
                "resources whose URI servers read in different ways are refused all the same",
            )
        if (
            source.denies_by_default
            or everywhere.deny_if
            or any(entry.denied_by or entry.deny_if for entry in entries.values())
        ):
            policy["list"] = "all"
        for pointer in source.ignored:
            key = pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
            self._note(pointer, "ignored", f"{quoted(key)} means nothing to Intercept; it is left out")
        return policy, tuple(self._notes)

    def _tool(self, entry: _Entry) -> Json:
        tool: Json = {}
        if entry.denied_by is not None:
            rule = entry.denied_by
            tool = {
                _COMMENT: rule.name,
                "action": "deny",
                "reason": rule.on_deny or f'denied by the rule "{rule.name}"',
            }
        return tool | _without_empty(entry)

    def _entry(self, tool: str, rules: Iterable[Rule]) -> _Entry:
        entry = _Entry(tool)
        for rule in rules:
            if not rule.denies:
                self._take(entry, rule)
            elif tool == EVERY_TOOL:
                entry.deny_if.append(_refusing(rule, rule.name))
            else:
                entry.denied_by = entry.denied_by or rule
        return entry

    def _take(self, entry: _Entry, rule: Rule) -> None:
        """Add what a rule asks for: conditions on arguments as a rule, those on counters as limits."""
        before = len(self._notes)
        try:
            wanted = [each for condition in rule.conditions for each in self._on_arguments(condition)]
            limits = self._limits(entry.tool, rule)
        except _Never:
            del self._notes[before:]
            entry.deny_if.append(_refusing(rule, f"{rule.name}: no count is ever below this limit"))
            return
        except _NoTwinError as problem:
            del self._notes[before:]
            what = "every call of any tool" if entry.tool == EVERY_TOOL else f"every call of {quoted(entry.tool)}"
            self._note(problem.condition.pointer, "refused", f"{problem.message}; {what} is refused instead")
            entry.deny_if.append(_refusing(rule, f"{rule.name}: {problem.message}"))
            return
        if wanted:
            counts = "" if rule.state is None or limits else " (its `state` counts nothing and is left out)"
            entry.require.append(_said(rule, {_COMMENT: f"{rule.name}{counts}", "conditions": wanted}))
        entry.limits += limits

    def _on_arguments(self, condition: Condition) -> list[Json]:
        if condition.path.startswith(STATE):
            return []
        value = condition.value
        match condition.op:
            case "eq":
                found = equals(value)
                if found is None:
                    raise _NoTwinError(condition, "Intercept compares such lists and objects by how Go prints them")
                return [self._equal(condition, (found,))]
            case "in":
                assert isinstance(value, list)
                pairs = [(item, equals(item)) for item in value]
                lost = [item for item, found in pairs if found is None]
                comment = f"left out: {_shown(lost[0])}, which Intercept compares by how Go prints it" if lost else ""
                if lost:
                    self._stricter(condition, comment)
                return [self._equal(condition, [found for _, found in pairs if found is not None], comment)]
            case "neq":
                return self._unequal(condition, [value])
            case "not_in":
                assert isinstance(value, list)
                return self._unequal(condition, value)
            case "lt" | "gt":
                # As a double, what is just below 5 is 5; `neq` is in doubt about it, and refuses.
                remark = "what rounds to this number is this number, for Intercept"
                return [_test(condition), {_COMMENT: remark, **_test(condition, op="neq")}]
            case "regex":
                return [self._regex(condition)]
            case "contains":
                return [self._contains(condition)]
            case "exists":
                return [self._exists(condition)]
            case _:
                return [_test(condition)]

    def _equal(self, condition: Condition, found: Sequence[Equals], comment: str = "") -> Json:
        values = list({canonical(value): value for each in found for value in each.values}.values())
        if not comment and not all(each.complete for each in found):
            comment = "Intercept also takes what Go prints alike, such as a list for its text; that is refused here"
            self._stricter(condition, comment)
        one = condition.op == "eq" and len(values) == 1
        test = _test(condition, op="eq" if one else "in", value=values[0] if one else values)
        return _commented(test, comment)

    def _unequal(self, condition: Condition, values: list[object]) -> list[Json]:
        if any(isinstance(value, (dict, list)) for value in values):
            raise _NoTwinError(condition, f"`{condition.op}` with a list or an object compares how Go prints them")
        tests: list[Json] = []
        if None in values:
            tests.append(_test(condition, op="exists", value=True))
            values = [*(value for value in values if value is not None), "<nil>"]
        one = condition.op == "neq"
        comment = ""
        if values:
            comment = "also refused here: null, lists, objects, and what a server could take for such a value"
            self._stricter(condition, comment)
        test = _test(condition, op="neq" if one else "not_in", value=values[0] if one else values)
        return [*tests, _commented(test, comment)]

    def _regex(self, condition: Condition) -> Json:
        pattern = cast("str", condition.value)
        try:
            written = translate_pattern(pattern)
        except PatternProblem as problem:
            raise _NoTwinError(
                condition, f"the pattern {quoted(pattern)} has no counterpart here ({problem})"
            ) from None
        return _commented(_test(condition, value=written), "" if written == pattern else f"in Go: {pattern}")

    def _contains(self, condition: Condition) -> Json:
        found = equals(condition.value)
        if found is None:
            raise _NoTwinError(condition, "`contains` with such a value compares how Go prints it")
        comment = ""
        if len(found.values) > 1 or not found.complete:
            comment = "Intercept also takes an element that Go prints alike; here only this very value is one"
            self._stricter(condition, comment)
        return _commented(_test(condition), comment)

    def _exists(self, condition: Condition) -> Json:
        comment = ""
        if condition.value is False and "." in condition.path.removeprefix(ARGS):
            comment = (
                "also refused here: text, a number or a list where the path goes on, for a server may look into it"
            )
            self._stricter(condition, comment)
        return _commented(_test(condition), comment)

    def _limits(self, tool: str, rule: Rule) -> list[Json]:
        """Give the limits for the conditions of a rule on counters, one for each counter."""
        limits: dict[str, Json] = {}
        limited = None
        if rule.state is not None:
            own = counter_of(tool, rule.state)
            limited = _own_limit(rule, own)
            if _counts_backwards(rule.state):
                raise _NoTwinError(rule.conditions[0], "nothing here counts backwards")
            if limited is not None:
                limits[own] = self._limit(own, _most(limited, rule.state), rule)
            elif rule.state.increment_from or own in self._read:
                limits[own] = self._limit(own, _MOST, rule)
            if limited is None:
                what = "calls are counted here" if own in limits else "its `state` is left out"
                message = f"without `lt` or `lte` on its own counter a rule of Intercept counts nothing; {what}"
                self._note(rule.pointer, "counters", message)
        for condition in rule.conditions:
            counter = _counter_in(condition)
            if counter is None or condition is limited:
                continue
            checked = self._checked(tool, condition, counter, rule)
            if checked is None:
                continue
            known = limits.get(counter)
            if known is None:
                limits[counter] = checked
            else:
                known["max"] = min(cast("int", known["max"]), cast("int", checked["max"]))
        for limit in limits.values():
            self._note(rule.pointer, "counting", f"{quoted(str(limit['counter']))} {_COUNTING}")
        if limits and rule.on_deny:
            self._note(rule.pointer, "text", "a limit has no `on_deny` here: the agent is told when the next call fits")
        return list(limits.values())

    def _checked(self, tool: str, condition: Condition, counter: str, rule: Rule) -> Json | None:
        """Give a limit for a condition that only looks at a counter; None if the condition always holds."""
        if condition.op == "exists":
            if condition.value is True:
                return None
            raise _Never
        owner = self._owners.get(counter)
        if condition.op not in {"lt", "lte"} or owner is None or _counts_backwards(owner.state):
            raise _NoTwinError(condition, f"nothing here looks at a counter with `{condition.op}`")
        value = _compared(condition)
        most = floor(value) if condition.op == "lte" else ceil(value) - 1
        if most < 0:
            raise _impossible(condition, owner.state)
        is_own = owner.scope in {scope_of(tool), GLOBAL}
        if owner.state.increment_from:
            exact = False
            limit = self._limit(counter, most if is_own else most + 1, rule, charges=is_own)
        else:
            exact = is_own and owner.is_limited
            limit = self._limit(counter, most // owner.state.increment + 1, rule, charges=False)
        if not exact:
            what = (
                "the call itself is added before it is compared" if is_own else "the call itself is counted on it, too"
            )
            self._note(condition.pointer, "counters", f"Intercept only looks at {quoted(counter)}; here {what}")
            limit[_COMMENT] = f"{limit[_COMMENT]}; {what}"
        return limit

    def _limit(self, counter: str, most: int, rule: Rule, *, charges: bool = True) -> Json:
        """Write a limit.  `charges` says whether it adds the argument that its counter adds up, if it does."""
        state = self._owners[counter].state
        if most > _MOST:
            self._note(
                rule.pointer, "counters", f"doubles are added up exactly up to {_MOST}; that is the maximum here"
            )
            most = _MOST
        limit: Json = {
            _COMMENT: f"{rule.name}{f': {rule.on_deny}' if rule.on_deny else ''} ({_COUNTING_HERE})",
            "counter": counter.replace("/", "./", 1) if counter.startswith("/") else counter,
            "window": state.window,
            "max": most,
            "align": "calendar",
            "scope": "grant",
        }
        if state.increment_from and charges:
            limit["cost"] = _path(Condition(state.increment_from, "", None, rule.pointer))
            self._note(
                rule.pointer,
                "counters",
                f"{quoted(state.increment_from)} is added up exactly; Intercept drops fractions, and a negative one is "
                "refused here",
            )
            limit[_COMMENT] = f"{limit[_COMMENT]}; adds up exactly, and refuses what is negative"
        return limit

    def _pattern(self, name: str, pointer: str, *, is_key: bool = False) -> str:
        if not is_key and name == EVERY_TOOL:
            return name
        text = re.sub(r"([*?\\]|^@)", r"\\\1", name)
        if text != name and not name.startswith("@"):
            message = f"Intercept takes {quoted(name)} for one name, and no pattern; here that is {quoted(text)}"
            self._note(pointer, "name", message)
        return text

    def _stricter(self, condition: Condition, comment: str) -> None:
        self._note(condition.pointer, "comparison", f"`{condition.op}` is kept, and is stricter: {comment}")

    def _note(self, pointer: str, kind: Kind, message: str) -> None:
        self._notes.append(Note(pointer, kind, message))


def _counter_in(condition: Condition) -> str | None:
    return condition.path.removeprefix(STATE) if condition.path.startswith(STATE) else None


def _own_limit(rule: Rule, counter: str) -> Condition | None:
    """Find the condition that limits what the rule itself counts."""
    return next((each for each in rule.conditions if _counter_in(each) == counter and each.op in {"lt", "lte"}), None)


def _counts_backwards(state: State) -> bool:
    return state.increment < 0 and not state.increment_from


def _impossible(condition: Condition, state: State) -> Exception:
    """Return what to raise for a condition that no count of calls can meet, and a sum only once it has become negative."""
    if state.increment_from:
        return _NoTwinError(condition, "only negative amounts could get below this limit")
    return _Never()


def _compared(condition: Condition) -> float:
    """Return what a counter is compared with, as Intercept has it: a double."""
    value = float(cast("Number", condition.value))
    if value >= _MOST_INT64:
        raise _NoTwinError(condition, "no counter is compared with so large a number")
    return value


def _most(condition: Condition, state: State) -> int:
    """Say how many calls, or how much of an argument, a limit lets pass."""
    value = _compared(condition)
    most = trunc(value) - (condition.op == "lt")
    if value < 0 or most < 0:
        raise _impossible(condition, state)
    return most if state.increment_from else most // state.increment


def _path(condition: Condition) -> str:
    """Write the path of an argument, where `*` and digits are keys of objects and nothing else."""
    steps = condition.path.removeprefix(ARGS).split(".")
    for each in steps[1:]:
        if index_of(each) is not None:
            raise _NoTwinError(condition, f"digits in a path, as in {quoted(condition.path)}, would be an index here")
    if all(steps) and EVERY_TOOL not in steps:
        return condition.path
    return "".join(step("", each) for each in steps)


def _test(condition: Condition, *, op: str | None = None, value: object = ...) -> Json:
    return {"path": _path(condition), "op": op or condition.op, "value": condition.value if value is ... else value}


def _commented(test: Json, comment: str) -> Json:
    return {_COMMENT: comment, **test} if comment else test


def _said(rule: Rule, made: Json) -> Json:
    return {**made, "on_deny": rule.on_deny} if rule.on_deny else made


def _refusing(rule: Rule, comment: str) -> Json:
    return _said(rule, {_COMMENT: comment, "conditions": []})


def _without_empty(entry: _Entry) -> Json:
    parts = {"require": entry.require, "deny_if": entry.deny_if, "limits": entry.limits}
    return {key: part for key, part in parts.items() if part}


def _shown(value: object) -> str:
    return quoted(canonical(value))
