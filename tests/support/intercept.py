"""A slow, obvious model of how Intercept judges calls, written from its documentation, and from its sources where that is silent.

It shares no code with what it checks.  Numbers of calls are `float`, as Go decodes JSON; numbers of policies are `int` or `float`,
as Go decodes YAML.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
MISSING: Any = object()


def printed(value: Any) -> str:
    """What Go's `%v` prints."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return printed_double(value)
        case list():
            return "[" + " ".join(map(printed, value)) + "]"
        case dict():
            return "map[" + " ".join(f"{key}:{printed(value[key])}" for key in sorted(value)) + "]"
        case _:
            return str(value)


def printed_double(number: float) -> str:
    """The shortest digits that mean this number, with an exponent below 1e-4 and from 1e6 on."""
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    shortest = next(text for text in (f"{number:.{digits}e}" for digits in range(18)) if float(text) == number)
    mantissa, _, power = shortest.partition("e")
    exponent = int(power)
    if exponent < -4 or exponent >= 6:
        return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    return f"{number:.{max(0, len(mantissa.lstrip('-').replace('.', '')) - 1 - exponent)}f}"


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def equal(actual: Any, expected: Any) -> bool:
    if is_number(actual) and is_number(expected):
        return float(actual) == float(expected)
    return printed(actual) == printed(expected)


def holds(op: str, actual: Any, expected: Any) -> bool:
    """Whether an operator accepts a value that is there."""
    match op:
        case "eq":
            return equal(actual, expected)
        case "neq":
            return not equal(actual, expected)
        case "in":
            return any(equal(actual, item) for item in expected)
        case "not_in":
            return not any(equal(actual, item) for item in expected)
        case "regex":
            return isinstance(actual, str) and found(expected, actual)
        case "contains" if isinstance(actual, str):
            return isinstance(expected, str) and expected in actual
        case "contains":
            return isinstance(actual, list) and any(equal(item, expected) for item in actual)
        case _ if not is_number(actual):
            return False
    mine, theirs = float(actual), float(expected)
    return {"lt": mine < theirs, "lte": mine <= theirs, "gt": mine > theirs, "gte": mine >= theirs}[op]


def found(pattern: str, text: str) -> bool:
    """Whether Go finds a pattern in a text; only what Python writes alike, but for two signs."""
    return re.search(pattern.replace("$", r"\Z").replace(r"\s", r"[\t\n\f\r ]"), text, re.ASCII) is not None


def at(arguments: Any, path: str) -> Any:
    """What a path finds: it goes through objects only."""
    here = arguments
    for step in path.removeprefix("args.").split("."):
        if not isinstance(here, dict) or step not in here:
            return MISSING
        here = here[step]
    return here


@dataclass
class Intercept:
    """A policy, and what was counted: by counter, the window and its sum."""

    policy: dict[str, Any]
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def admits(self, tool: str, arguments: dict[str, Any], now_s: int) -> bool:
        """Judge a call at a time of day, and count it if it may pass."""
        hide, tools = self.policy.get("hide") or [], self.policy.get("tools") or {}
        if tool in hide or "*" in hide:
            return False
        if self.policy.get("default") == "deny" and tool not in tools:
            return False
        rules = [(name, rule) for name in (tool, "*") for rule in (tools.get(name) or {}).get("rules") or []]
        if not all(self._passes(name, rule, arguments, now_s) for name, rule in rules):
            return False
        return self._reserve(rules, arguments, now_s)

    def _passes(self, name: str, rule: dict[str, Any], arguments: dict[str, Any], now_s: int) -> bool:
        if rule.get("action") == "deny":
            return False
        for condition in self._conditions(name, rule):
            path, op, expected = condition["path"], condition["op"], condition.get("value")
            if path.startswith("state."):
                actual: Any = self._count(path.removeprefix("state."), now_s)
            else:
                actual = at(arguments, path)
            if op == "exists":
                if (actual is not MISSING and actual is not None) != expected:
                    return False
            elif actual is MISSING or not holds(op, actual, expected):
                return False
        return True

    def _reserve(self, rules: list[tuple[str, dict[str, Any]]], arguments: dict[str, Any], now_s: int) -> bool:
        before = dict(self.counts)
        for name, rule in rules:
            state = self._state(rule)
            if state is None:
                continue
            amount: Any = state.get("increment") or 1
            if state.get("increment_from"):
                amount = at(arguments, state["increment_from"])
                if not is_number(amount):
                    self.counts = before
                    return False
            key = f"{'_global' if name == '*' else name}.{state['counter']}"
            limit = self._limit(name, rule, f"state.{key}")
            if limit is None:
                continue
            total = self._count(key, now_s) + math.trunc(amount)
            if total > limit:
                self.counts = before
                return False
            self.counts[key] = (now_s // SECONDS[state["window"]], total)
        return True

    def _limit(self, name: str, rule: dict[str, Any], path: str) -> int | None:
        for condition in self._conditions(name, rule):
            if condition["path"] == path and condition["op"] in {"lt", "lte"}:
                most: int = math.trunc(condition["value"])
                return most - bool(condition["op"] == "lt")
        return None

    def _count(self, key: str, now_s: int) -> int:
        index, total = self.counts.get(key, (-1, 0))
        return total if index == now_s // self._window(key) else 0

    def _window(self, key: str) -> int:
        for name, tool in (self.policy.get("tools") or {}).items():
            for rule in tool.get("rules") or []:
                state = self._state(rule)
                if state is not None and f"{'_global' if name == '*' else name}.{state['counter']}" == key:
                    return SECONDS[state["window"]]
        return 1

    def _state(self, rule: dict[str, Any]) -> dict[str, Any] | None:
        if rule.get("rate_limit"):
            window = rule["rate_limit"].partition("/")[2]
            return {"counter": f"_rate_{window}", "window": window}
        return rule.get("state")

    def _conditions(self, name: str, rule: dict[str, Any]) -> list[dict[str, Any]]:
        if rule.get("rate_limit"):
            count, _, window = rule["rate_limit"].partition("/")
            scope = "_global" if name == "*" else name
            return [{"path": f"state.{scope}._rate_{window}", "op": "lte", "value": int(count)}]
        return rule.get("conditions") or []
