"""Turns a policy of Intercept into one of ours that admits nothing which the original would refuse.

Where our language has an exact twin, that is written.  Where it has none, something stricter is, and a note says what.  Knows
the two languages; reads no files and prints nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from mcpguard.convert.conditions import COMMENT, Json, conditions_for
from mcpguard.convert.counters import Counters
from mcpguard.convert.notes import Never, Note, Notes, NoTwinError
from mcpguard.convert.source import EVERY_TOOL, Rule, Source
from mcpguard.stores.text import quoted, step

_HEAD: Final = "Converted from a policy of Intercept by `mcpguard convert`; see docs/convert.md."


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
        self._notes = Notes()
        self._counters = Counters(source, self._notes)

    def policy(self) -> tuple[Json, tuple[Note, ...]]:
        source = self._source
        policy: Json = {COMMENT: _HEAD, "version": "1"}
        if source.description:
            policy["description"] = source.description
        policy["default"] = "deny" if source.denies_by_default else "allow"
        entries = {tool: self._entry(tool, rules) for tool, rules in source.tools.items()}
        everywhere = entries.pop(EVERY_TOOL, _Entry(EVERY_TOOL))
        hide = [self._pattern(name, step("/hide", index)) for index, name in enumerate(source.hide)]
        if COMMENT in entries and COMMENT not in source.hide:
            # Here that key is a remark, so no entry can have this name; in `hide` it is one.
            del entries[COMMENT]
            hide.append(COMMENT)
            self._notes.add(step("/tools", COMMENT), "name", "no entry can be called `$comment` here; it is hidden")
        if hide:
            policy["hide"] = hide
        if everywhere.require or everywhere.deny_if or everywhere.limits:
            policy["all_tools"] = _without_empty(everywhere)
        tools: Json = {}
        for tool, entry in entries.items():
            if tool != COMMENT:
                name = self._pattern(tool, step("/tools", tool), is_key=True)
                remark = {COMMENT: "one name, and no pattern"} if name != tool and tool[0] != "@" else {}
                tools[name] = {**remark, **self._tool(entry)}
        policy["tools"] = tools
        if source.denies_by_default:
            remark = {COMMENT: "Intercept governs tools alone"}
            policy |= {
                "resources": {**remark, "*": {}},
                "prompts": {**remark, "*": {}},
                "server_requests": {**remark, "sampling/createMessage": "allow"},
                "methods": {**remark, "*": "allow"},
            }
            self._notes.add(
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
            self._notes.add(pointer, "ignored", f"{quoted(key)} means nothing to Intercept; it is left out")
        return policy, self._notes.all()

    def _tool(self, entry: _Entry) -> Json:
        tool: Json = {}
        if entry.denied_by is not None:
            rule = entry.denied_by
            tool = {
                COMMENT: rule.name,
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
        before = self._notes.mark()
        try:
            wanted = [each for condition in rule.conditions for each in conditions_for(condition, self._notes)]
            limits = self._counters.limits(entry.tool, rule)
        except Never:
            self._notes.forget_since(before)
            entry.deny_if.append(_refusing(rule, f"{rule.name}: no count is ever below this limit"))
            return
        except NoTwinError as problem:
            self._notes.forget_since(before)
            what = "every call of any tool" if entry.tool == EVERY_TOOL else f"every call of {quoted(entry.tool)}"
            self._notes.add(problem.condition.pointer, "refused", f"{problem.message}; {what} is refused instead")
            entry.deny_if.append(_refusing(rule, f"{rule.name}: {problem.message}"))
            return
        if wanted:
            counts = "" if rule.state is None or limits else " (its `state` counts nothing and is left out)"
            entry.require.append(_said(rule, {COMMENT: f"{rule.name}{counts}", "conditions": wanted}))
        entry.limits += limits

    def _pattern(self, name: str, pointer: str, *, is_key: bool = False) -> str:
        if not is_key and name == EVERY_TOOL:
            return name
        text = re.sub(r"([*?\\]|^@)", r"\\\1", name)
        if text != name and not name.startswith("@"):
            message = f"Intercept takes {quoted(name)} for one name, and no pattern; here that is {quoted(text)}"
            self._notes.add(pointer, "name", message)
        return text


def _said(rule: Rule, made: Json) -> Json:
    return {**made, "on_deny": rule.on_deny} if rule.on_deny else made


def _refusing(rule: Rule, comment: str) -> Json:
    return _said(rule, {COMMENT: comment, "conditions": []})


def _without_empty(entry: _Entry) -> Json:
    parts = {"require": entry.require, "deny_if": entry.deny_if, "limits": entry.limits}
    return {key: part for key, part in parts.items() if part}
