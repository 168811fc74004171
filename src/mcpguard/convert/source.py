"""Reads what a policy of Intercept says, and everything for which Intercept itself would refuse it.

Intercept decodes YAML with Go's yaml.v3 into typed fields: absent and null are empty, unknown keys mean nothing, and a number
where text belongs is its text.  Some plain scalars mean another value there than here (`0777`, `1_000`): they are errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mcpguard.policy.values import is_number
from mcpguard.stores.text import Remark, quoted, step
from mcpguard.stores.wording import position_of

if TYPE_CHECKING:
    from mcpguard.stores.text import Reading

Window: TypeAlias = Literal["minute", "hour", "day"]
GLOBAL: Final = "_global"
"""The scope of counters in rules for every tool."""
EVERY_TOOL: Final = "*"
STATE: Final = "state."
ARGS: Final = "args."

_WINDOWS: Final[dict[str, Window]] = {"minute": "minute", "hour": "hour", "day": "day"}
_OPS: Final = frozenset(("eq", "neq", "in", "not_in", "lt", "lte", "gt", "gte", "regex", "contains", "exists"))
_NUMERIC: Final = frozenset(("lt", "lte", "gt", "gte"))
_PLAIN: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_GO_NUMBER: Final = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
)
_NUMBER_STARTS: Final = frozenset("+-.0123456789")
_RATE: Final = re.compile(r"\+?([0-9]+)")
_MOST: Final = 2**63 - 1
_MAX_DIGITS: Final = 400
_MAX_DOUBLE: Final = 2**1024 - 2**971
_KEYS: Final = {
    "a policy": ("version", "description", "default", "hide", "tools"),
    "a tool": ("rules",),
    "a rule": ("name", "action", "rate_limit", "conditions", "on_deny", "state"),
    "a condition": ("path", "op", "value"),
    "`state`": ("counter", "window", "increment", "increment_from"),
}


class SourceError(ValueError):
    """Intercept would refuse the policy, or reads it in another way than we do; `remarks` has every reason."""

    def __init__(self, remarks: tuple[Remark, ...]) -> None:
        super().__init__(remarks[0].message)
        self.remarks = remarks


@dataclass(frozen=True, slots=True)
class Condition:
    """A test on an argument, or on a counter.  `pointer` says where it stands."""

    path: str
    op: str
    value: object
    pointer: str


@dataclass(frozen=True, slots=True)
class State:
    """What a rule counts: `increment` for each call, or the argument at `increment_from`."""

    counter: str
    window: Window
    increment: int
    increment_from: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; all of its conditions have to hold, unless it denies every call."""

    name: str
    denies: bool
    conditions: tuple[Condition, ...]
    on_deny: str
    state: State | None
    pointer: str


@dataclass(frozen=True, slots=True)
class Source:
    """What a policy of Intercept says.  `ignored` are the pointers of keys that mean nothing to Intercept."""

    description: str
    denies_by_default: bool
    hide: tuple[str, ...]
    tools: dict[str, tuple[Rule, ...]]
    ignored: tuple[str, ...]


def scope_of(tool: str) -> str:
    """Return the first part of the names of a tool's counters."""
    return GLOBAL if tool == EVERY_TOOL else tool


def counter_of(tool: str, state: State) -> str:
    """Return the full name of a counter, as paths have it behind `state.`."""
    return f"{scope_of(tool)}.{state.counter}"


def read_source(reading: Reading) -> Source:
    """Read a policy of Intercept.

    Raises:
        SourceError: with everything that is wrong with it.
    """
    reader = _Reader(reading)
    source = reader.policy() if reading.complete and not reading.remarks else None
    if source is None or reader.remarks:
        raise SourceError((*reading.remarks, *reader.remarks))
    return source


class _Reader:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.remarks: list[Remark] = []
        self._ignored: list[str] = []

    def policy(self) -> Source:
        top = self._object(self._reading.data, "", "a policy")
        version = self._text(top, "", "version")
        if version != "1":
            self._wrong("/version", f'`version` must be "1", not {quoted(version)}' if version else 'add version: "1"')
        default = self._text(top, "", "default") or "allow"
        if default not in {"allow", "deny"}:
            self._wrong("/default", f'`default` must be "allow" or "deny", not {quoted(default)}')
        tools = {
            name: tuple(self._rules(name, tool)) for name, tool in self._mapping(top.get("tools"), "/tools").items()
        }
        self._check_counters(tools)
        return Source(
            self._text(top, "", "description"), default == "deny", tuple(self._hide(top)), tools, tuple(self._ignored)
        )

    def _hide(self, top: dict[str, object]) -> Iterator[str]:
        seen: set[str] = set()
        for index, item in enumerate(self._list(top.get("hide"), "/hide")):
            pointer = step("/hide", index)
            name = self._as_text(item, pointer)
            if not name.strip():
                self._wrong(pointer, "an entry of `hide` must not be empty")
            elif name in seen:
                self._wrong(pointer, f"{quoted(name)} stands in `hide` twice; Intercept refuses that")
            seen.add(name)
            yield name

    def _rules(self, tool: str, value: object) -> Iterator[Rule]:
        pointer = step("/tools", tool)
        rules = self._list(self._object(value, pointer, "a tool").get("rules"), f"{pointer}/rules")
        counters: set[str] = set()
        for index, item in enumerate(rules):
            rule = self._rule(tool, item, step(f"{pointer}/rules", index))
            if rule is None:
                continue
            if rule.state is not None:
                if rule.state.counter in counters:
                    self._wrong(rule.pointer, f"two rules of this tool count on {quoted(rule.state.counter)}")
                counters.add(rule.state.counter)
            yield rule

    def _rule(self, tool: str, value: object, pointer: str) -> Rule | None:
        data = self._object(value, pointer, "a rule")
        name, action = self._text(data, pointer, "name"), self._text(data, pointer, "action") or "evaluate"
        on_deny = self._text(data, pointer, "on_deny")
        conditions = tuple(self._conditions(data, pointer))
        state = self._state(data, pointer)
        rate = self._text(data, pointer, "rate_limit")
        if not name:
            self._wrong(pointer, "a rule must have a `name`")
        if rate:
            if conditions or data.get("state") is not None or action == "deny":
                self._wrong(pointer, "`rate_limit` goes neither with `conditions` nor `state`, nor with a deny")
                return None
            return self._short(tool, name, rate, on_deny, pointer)
        if action not in {"evaluate", "deny"}:
            self._wrong(f"{pointer}/action", f'`action` must be "evaluate" or "deny", not {quoted(action)}')
        elif action == "deny" and conditions:
            self._wrong(f"{pointer}/conditions", "a rule that denies must not have conditions")
        elif action == "evaluate" and not conditions:
            self._wrong(pointer, "a rule that does not deny must have conditions")
        return Rule(name, action == "deny", conditions, on_deny, state, pointer)

    def _short(self, tool: str, name: str, rate: str, on_deny: str, pointer: str) -> Rule | None:
        count, _, word = rate.partition("/")
        digits, window = _RATE.fullmatch(count), _WINDOWS.get(word)
        if digits is None or window is None or not 0 < int(digits[1]) <= _MOST:
            self._wrong(f"{pointer}/rate_limit", f"`rate_limit` must be like `5/hour` or `100/day`, not {quoted(rate)}")
            return None
        state = State(f"_rate_{window}", window, 1, "")
        path = f"{STATE}{counter_of(tool, state)}"
        condition = Condition(path, "lte", int(digits[1]), f"{pointer}/rate_limit")
        return Rule(name, denies=False, conditions=(condition,), on_deny=on_deny, state=state, pointer=pointer)

    def _conditions(self, rule: dict[str, object], pointer: str) -> Iterator[Condition]:
        pointer = f"{pointer}/conditions"
        for index, item in enumerate(self._list(rule.get("conditions"), pointer)):
            place = step(pointer, index)
            data = self._object(item, place, "a condition")
            path, op, value = self._text(data, place, "path"), self._text(data, place, "op"), data.get("value")
            self._check_scalars(value, f"{place}/value")
            problem = _problem(path, op, value)
            if problem:
                self._wrong(place, problem)
            yield Condition(path, op, value, place)

    def _state(self, rule: dict[str, object], pointer: str) -> State | None:
        if rule.get("state") is None:
            return None
        pointer = f"{pointer}/state"
        data = self._object(rule["state"], pointer, "`state`")
        counter, word = self._text(data, pointer, "counter"), self._text(data, pointer, "window")
        source, increment = self._text(data, pointer, "increment_from"), data.get("increment")
        self._check_scalars(increment, f"{pointer}/increment")
        if not counter:
            self._wrong(pointer, "`counter` must not be empty")
        if word not in _WINDOWS:
            self._wrong(pointer, f'`window` must be "minute", "hour" or "day", not {quoted(word)}')
        if source and not source.startswith(ARGS):
            self._wrong(pointer, f"`increment_from` must begin with `args.`, not be {quoted(source)}")
        if increment is not None and (isinstance(increment, bool) or not isinstance(increment, int)):
            self._wrong(f"{pointer}/increment", "`increment` must be a whole number")
            increment = None
        assert increment is None or isinstance(increment, int)
        return State(counter, _WINDOWS.get(word, "day"), increment or 1, source)

    def _check_counters(self, tools: dict[str, tuple[Rule, ...]]) -> None:
        """Report counters that nobody counts on, which Intercept refuses, and those that two tools make by chance."""
        made: dict[str, str] = {}
        for tool, rules in tools.items():
            for rule in rules:
                if rule.state is not None:
                    counter = counter_of(tool, rule.state)
                    if made.setdefault(counter, tool) != tool:
                        message = f"this counter and one of {quoted(made[counter])} are both called {quoted(counter)}"
                        self._wrong(rule.pointer, f"{message}; rename one of them")
        for rule in (rule for rules in tools.values() for rule in rules):
            for condition in rule.conditions:
                _, _, rest = condition.path.partition(STATE)
                scope, dot, counter = rest.partition(".")
                if not condition.path.startswith(STATE) or not dot:
                    continue
                owner = tools.get(scope, tools.get(EVERY_TOOL, ()) if scope == GLOBAL else ())
                if not any(each.state is not None and each.state.counter == counter for each in owner):
                    path = quoted(condition.path)
                    self._wrong(condition.pointer, f"{path} is counted by no `state`; Intercept refuses that")

    def _check_scalars(self, value: object, pointer: str) -> None:
        """Report every plain scalar that is another value for Intercept's parser."""
        match value:
            case dict():
                for key, item in value.items():
                    self._check_scalars(item, step(pointer, key))
            case list():
                for index, item in enumerate(value):
                    self._check_scalars(item, step(pointer, index))
            case _:
                place = self._reading.places.get(pointer)
                plain = place.plain if place is not None else None
                if plain is not None and not _reads_alike(plain, value):
                    message = f"{quoted(plain)} is not read alike by all; write a plain decimal number, or put quotes"
                    self._wrong(pointer, f"{message} around text")

    def _object(self, value: object, pointer: str, what: str) -> dict[str, object]:
        data = self._mapping(value, pointer)
        self._ignored += [step(pointer, key) for key in data if key not in _KEYS[what]]
        return data

    def _mapping(self, value: object, pointer: str) -> dict[str, object]:
        if isinstance(value, dict):
            return value
        if value is not None:
            self._wrong(pointer, "this must be an object")
        elif not pointer:
            self._wrong(pointer, "this is no policy of Intercept: it has nothing in it")
        return {}

    def _list(self, value: object, pointer: str) -> list[object]:
        if isinstance(value, list):
            return value
        if value is not None:
            self._wrong(pointer, "this must be a list")
        return []

    def _text(self, data: dict[str, object], pointer: str, key: str) -> str:
        return self._as_text(data.get(key), step(pointer, key))

    def _as_text(self, value: object, pointer: str) -> str:
        match value:
            case None:
                return ""
            case str():
                return value
            case dict() | list():
                self._wrong(pointer, "this must be text")
                return ""
            case _:
                return self._reading.places[pointer].plain or ""

    def _wrong(self, pointer: str, message: str) -> None:
        self.remarks.append(Remark(position_of(pointer, self._reading, key=False), pointer, message))


def _problem(path: str, op: str, value: object) -> str:
    if not path.startswith((ARGS, STATE)):
        return f"`path` must begin with `args.` or `state.`, not be {quoted(path)}"
    if op not in _OPS:
        return f"there is no operator {quoted(op)}"
    if op in {"in", "not_in"} and not isinstance(value, list):
        return f"`{op}` needs a list"
    if op in _NUMERIC and not is_number(value):
        return f"`{op}` needs a number"
    if op == "exists" and not isinstance(value, bool):
        return "`exists` needs `true` or `false`"
    if op == "regex" and not isinstance(value, str):
        return "`regex` needs text"
    return ""


def _reads_alike(plain: str, value: object) -> bool:
    if is_number(value):
        within = -_MOST - 1 <= value <= _MOST if isinstance(value, int) else abs(value) <= _MAX_DOUBLE
        return within and len(plain) <= _MAX_DIGITS and _PLAIN.fullmatch(plain) is not None
    return plain[:1] not in _NUMBER_STARTS or _GO_NUMBER.fullmatch(plain.replace("_", "")) is None
