"""Knows what one small change of an entry of a policy can be, and what it does to the calls that the entry decides about.

An entry is data as a policy file holds it.  Changes make new data and leave the old alone; whether a policy with them loads is not
known here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from mcpguard.policy.canonical import canonical
from mcpguard.policy.entries import pointer
from mcpguard.policy.limits import CALENDAR_WINDOWS
from mcpguard.policy.operators import Op, ValueProblem, prepare
from mcpguard.policy.paths import ABSENT, BLOCKED, MANY, Path, Step, parse_path
from mcpguard.policy.places import host_of
from mcpguard.policy.schemas import inner_schemas, tightened
from mcpguard.policy.values import YES, is_number

Data: TypeAlias = dict[str, Any]
Steps: TypeAlias = tuple[str | int, ...]
Direction: TypeAlias = Literal["looser", "stricter", "either"]
"""What a change can do: let more calls pass, or fewer, or nobody has worked it out."""

_OPPOSITES: Final[Mapping[str, str]] = {
    a: b
    for one, other in (
        ("eq", "neq"),
        ("in", "not_in"),
        ("lt", "gte"),
        ("lte", "gt"),
        ("under", "not_under"),
        ("host_in", "not_host_in"),
    )
    for a, b in ((one, other), (other, one))
}
_SETS: Final = frozenset(("in", "not_in", "under", "not_under", "host_in", "not_host_in"))
_UPPER: Final = frozenset(
    ("lt", "lte", "maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties", "maxContains")
)
_LOWER: Final = frozenset(
    ("gt", "gte", "minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties", "minContains")
)
_COUNTS: Final = frozenset(f"{which}{what}" for which in ("min", "max") for what in ("Length", "Items", "Properties"))
_NUMBERS: Final = frozenset(("eq", "neq")) | _UPPER | _LOWER
_WORDLESS: Final = frozenset(
    (
        "$comment",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$schema",
        "$defs",
    )
)
_INNER: Final = frozenset(("properties", "patternProperties", "dependentSchemas"))
_TURNED: Final = frozenset(("not", "if", "then", "else", "oneOf", "contains"))
_OPEN: Final = frozenset(("prefixItems", "minContains", "maxContains"))
_SEEN: Final = frozenset(("unevaluatedProperties", "unevaluatedItems"))
_ACTIONS: Final[Mapping[str, tuple[tuple[str, Direction], ...]]] = {
    "allow": (("require_approval", "stricter"), ("deny", "stricter")),
    "require_approval": (("allow", "looser"), ("deny", "stricter")),
    "deny": (("allow", "looser"), ("hide", "stricter")),
    "hide": (("allow", "looser"), ("deny", "looser")),
}
_UNITS: Final = {604_800: "week", 86_400: "day", 3600: "hour", 60: "minute", 1: "second"}
_STRANGER: Final = "stranger"
_SHOWN: Final = 60
_TOLD: Final[Mapping[Direction, Direction]] = {"looser": "stricter", "stricter": "looser", "either": "either"}


@dataclass(frozen=True, slots=True)
class Shared:
    """A key of a limit that every limit of its counter has to agree on, and what it becomes; ABSENT: it is taken out."""

    counter: str
    key: str
    value: object


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an entry: where, in words, the entry with it, and what it can do.

    `moved` says under which pointer, from the entry, a rule stood that now stands elsewhere.
    """

    steps: Steps
    said: str
    data: Data
    direction: Direction
    moved: Mapping[str, str] = field(default_factory=dict)
    shared: Shared | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """The arguments of the calls that an entry decides about, as far as any are known, and where paths lead.

    A set that is made wider takes in what was tried: nobody but a call with that very value could notice.
    """

    arguments: Sequence[Mapping[str, object]] = ()
    resolve: Callable[[str], str | None] = lambda _: None

    def at(self, path: Path) -> list[object]:
        """Give what stands at a path."""
        found = [value for arguments in self.arguments for _, value in path.find_all(arguments)]
        return [value for value in found if value is not ABSENT and value is not BLOCKED]


def changes_of_rules(data: Data, tried: Tried) -> Iterator[Change]:
    """Yield the changes of the rules of an entry, or of `all_tools`."""
    for kind in ("require", "deny_if", "approve_if"):
        for index, rule in enumerate(data.get(kind, ())):
            here = (kind, index)
            gone = _without(data, here)
            moved = _moved(kind, index, len(data[kind]))
            yield Change(here, "without this rule", gone, "looser", moved)
            if kind != "approve_if":
                other = "deny_if" if kind == "require" else "require"
                turned = gone | {other: [*gone.get(other, ()), rule]}
                end = pointer(other, len(turned[other]) - 1)
                yield Change(
                    here, f'in "{other}" instead of "{kind}"', turned, "either", {**moved, end: pointer(*here)}
                )
            for number, condition in enumerate(rule["conditions"]):
                place = (*here, "conditions", number)
                if len(rule["conditions"]) > 1:
                    said = f"without the condition on {condition['path']}"
                    # Without it, keys that could be taken for its argument may pass.
                    yield Change(place, said, _without(data, place), "looser" if kind == "require" else "either")
                for said, changed, wider in _of_condition(condition, tried):
                    direction = _told(wider, turned=kind != "require")
                    yield Change(place, said, _put(data, place, changed), direction)


def changes_of_limits(data: Data) -> Iterator[Change]:
    """Yield the changes of the limits of an entry, or of `all_tools`."""
    limits = data.get("limits", ())
    for index, limit in enumerate(limits):
        here: Steps = ("limits", index)
        yield Change(here, "without this limit", _without(data, here), "looser", _moved("limits", index, len(limits)))
        for key, said, changed, direction in _of_limit(limit):
            counter = limit.get("counter")
            shared = (
                Shared(counter, key, changed.get(key, ABSENT))
                if counter and key in {"window", "align", "per"}
                else None
            )
            yield Change(here, said, _put(data, here, changed), direction, shared=shared)
    if "rate_limit" in data:
        here = ("rate_limit",)
        yield Change(here, "without this limit", _without(data, here), "looser")
        for _, said, changed, direction in _of_limit(data["rate_limit"]):
            yield Change(here, said, _put(data, here, changed), direction)


def changes_of_action(data: Data) -> Iterator[Change]:
    """Yield the other actions that an entry might have."""
    action = data.get("action", "allow")
    for other, direction in _ACTIONS[action]:
        yield Change(("action",), f'"{other}" instead of "{action}"', data | {"action": other}, direction)


def changes_of_arguments(data: Data, tried: Tried) -> Iterator[Change]:
    """Yield the changes of the JSON Schema of an entry."""
    if "arguments" in data:
        for steps, said, changed, direction in _of_schema(data["arguments"], (), (), tried):
            yield Change(("arguments", *steps), said, data | {"arguments": changed}, direction)


def form_of(data: Data) -> str:
    """Write an entry so that two of the same text surely mean the same: some that mean the same have another text."""
    data = dict(data)
    data.setdefault("action", "allow")
    if data["action"] in {"deny", "hide"}:
        # What is never let through is never charged.
        data = {key: value for key, value in data.items() if key not in {"limits", "rate_limit"}}
    if data["action"] == "hide":
        data = {key: value for key, value in data.items() if key in {"action", "reason"}}
    if "arguments" in data:
        data["arguments"] = tightened(data["arguments"])
    for kind in ("require", "deny_if", "approve_if"):
        if kind in data:
            data[kind] = [rule | {"conditions": [_form(each) for each in rule["conditions"]]} for rule in data[kind]]
    return canonical(data)


def _form(condition: Data) -> Data:
    value = condition.get("value", True)
    if condition["op"] in _SETS:
        members = value if isinstance(value, list) else [value]
        value = sorted({canonical(member): member for member in members})
    return condition | {"value": value}


# Conditions


def _of_condition(condition: Data, tried: Tried) -> Iterator[tuple[str, Data, bool | None]]:
    """Yield words, the condition, and whether it says yes more often then; None if that is open."""
    op, value = condition["op"], condition.get("value", True)
    if op == "exists":
        yield f'"exists" {_text(value is False)} instead of {_text(value)}', condition | {"value": value is False}, None
    if op in _OPPOSITES:
        yield f'"{_OPPOSITES[op]}" instead of "{op}"', condition | {"op": _OPPOSITES[op]}, None
    if op in _NUMBERS and is_number(value):
        for more, number in _beside(value):
            wider = None if op not in _UPPER | _LOWER else more is (op in _UPPER)
            yield f'"{op}" {_text(number)} instead of {_text(value)}', condition | {"value": number}, wider
    if op in _SETS:
        members = value if isinstance(value, list) else [value]
        negated = op.startswith("not_")
        strangers = _strangers(op, members, tried, parse_path(condition["path"]))
        yield (
            f'"{op}" {_text(members)} with {_list(strangers)}',
            condition | {"value": [*members, *strangers]},
            not negated,
        )
        for left, member in _each_out(members):
            yield f'"{op}" {_text(members)} without {_text(member)}', condition | {"value": left}, negated
    if op == "regex":
        for said, pattern in _wider_patterns(value):
            yield f'"regex" {_text(value)} {said}', condition | {"value": pattern}, True


def _strangers(op: Op, members: list[Any], tried: Tried, path: Path) -> list[Any]:
    """Give what a set may be made wider by: all that was tried outside of it, else something that nobody has tried."""
    positive: Any = op.removeprefix("not_")
    try:
        is_in = prepare(positive, members)
    except ValueProblem:
        return []
    outside = [value for value in tried.at(path) if is_in(value, tried.resolve) is not YES]
    found: dict[str, Any] = {}
    for value in outside:
        stranger = _member_for(positive, value, tried)
        if stranger is not None:
            found.setdefault(canonical(stranger), stranger)
    return list(found.values()) or [_unknown(positive, members)]


def _member_for(op: str, value: object, tried: Tried) -> object:
    """Give what a set must hold so that a value is in it; None if nothing does."""
    match op:
        case "in":
            return value if isinstance(value, (str, int, Decimal)) else None
        case "host_in":
            return host_of(value) if isinstance(value, str) else None
        case _:
            home = tried.resolve(".") if isinstance(value, str) else None
            return None if home is None else tried.resolve(posixpath.join(home, str(value)))


def _unknown(op: str, members: Sequence[Any]) -> object:
    match op:
        case "under":
            return f"/{_STRANGER}"
        case "host_in":
            return f"{_STRANGER}.example"
        case _ if members and all(is_number(member) for member in members):
            return max(members) + 1
        case _:
            return _STRANGER


def _wider_patterns(pattern: str) -> Iterator[tuple[str, str]]:
    if pattern.startswith("^"):
        yield 'without "^"', pattern[1:]
    if re.search(r"(?<!\\)(?:\\\\)*\$\Z", pattern):
        yield 'without "$"', pattern[:-1]
    unescaped = re.sub(r"(?<!\\)((?:\\\\)*)\\\.(?![^\[\]]*\])", r"\1.", pattern)
    if unescaped != pattern:
        yield "with every dot for any character", unescaped


# Limits


def _of_limit(limit: Data) -> Iterator[tuple[str, str, Data, Direction]]:
    most = limit["max"]
    for more, number in _beside(most):
        if number >= 0:
            yield "max", f'"max" {number} instead of {most}', limit | {"max": number}, "looser" if more else "stricter"
    window = limit["window"]
    for other in _other_windows(window, aligned="align" in limit):
        said = f'"window" of {_time(other)} instead of {_time(window)}'
        yield "window", said, limit | {"window": other}, "looser" if other < window else "stricter"
    for key in ("cost", "per", "align"):
        if key in limit:
            yield key, f'without "{key}"', _without(limit, (key,)), "either"


def _other_windows(window: int, *, aligned: bool) -> Iterator[int]:
    if not aligned:
        if window > 1:
            yield window // 2
        yield window * 2
        return
    at = CALENDAR_WINDOWS.index(window)
    yield from CALENDAR_WINDOWS[max(0, at - 1) : at]
    yield from CALENDAR_WINDOWS[at + 1 : at + 2]


def _time(seconds: int) -> str:
    unit = next(unit for unit in _UNITS if seconds % unit == 0)
    count = seconds // unit
    return f"{count} {_UNITS[unit]}{'s' * (count > 1)}"


# JSON Schema


def _of_schema(
    schema: object, steps: Steps, at: tuple[Step, ...], tried: Tried, *, open_: bool = False
) -> Iterator[tuple[Steps, str, Data, Direction]]:
    """Yield the changes of a schema and of those in it; the data is the whole of the outermost one.

    `at` leads to the values that it judges.  `open_` says that nobody has worked out what a change here does.
    """
    if not isinstance(schema, dict):
        return
    open_ = open_ or not _SEEN.isdisjoint(schema)
    for keyword, value in schema.items():
        here = (*steps, keyword)
        if keyword not in _WORDLESS and keyword not in _INNER:
            # What is left implies a type, or judges more than it did.
            is_open = open_ or keyword in _OPEN or (keyword == "type" and isinstance(value, list))
            yield (
                here,
                f"without {_text(keyword)}: {_text(value)}",
                _without(schema, (keyword,)),
                _if(is_open, "looser"),
            )
        for said, changed, direction in _of_keyword(schema, keyword, value, at, tried):
            yield here, said, schema | {keyword: changed}, _if(open_, direction)
        for step, inner in inner_schemas(keyword, value):
            place = (keyword, *step)
            yield from (
                (where, said, _put(schema, place, changed), direction)
                for where, said, changed, direction in _of_schema(
                    inner, (*steps, *place), _at(at, keyword, step), tried, open_=open_ or keyword in _TURNED
                )
            )


def _of_keyword(
    schema: Data,
    keyword: str,
    value: Any,  # noqa: ANN401 - JSON
    at: tuple[Step, ...],
    tried: Tried,
) -> Iterator[tuple[str, Any, Direction]]:
    if keyword in _NUMBERS and is_number(value):
        for more, number in _beside(value):
            if number >= 0 or keyword not in _COUNTS:
                direction: Direction = "looser" if more is (keyword in _UPPER) else "stricter"
                yield f"{_text(keyword)}: {_text(number)} instead of {_text(value)}", number, direction
    if keyword == "pattern":
        for said, pattern in _wider_patterns(value):
            yield f'"pattern": {_text(value)} {said}', pattern, "looser"
    if keyword == "enum":
        strangers = _strangers("in", value, tried, Path("", at)) if _scalars(value) else []
        if strangers:
            yield f'"enum": {_text(value)} with {_list(strangers)}', [*value, *strangers], "looser"
    if keyword in {"enum", "required", "type", "allOf", "anyOf", "oneOf"} and isinstance(value, list):
        direction = "looser" if keyword in {"required", "allOf"} else "either" if keyword == "oneOf" else "stricter"
        for left, member in _each_out(value):
            yield f"{_text(keyword)}: {_text(value)} without {_text(member)}", left, direction
    if (
        keyword == "properties"
        and {"additionalProperties", "unevaluatedProperties", "patternProperties"} & schema.keys()
    ):
        for name in value:
            yield f'"properties" without {_text(name)}', _without(value, (name,)), "either"


def _at(at: tuple[Step, ...], keyword: str, step: Steps) -> tuple[Step, ...]:
    match keyword:
        case "properties" | "prefixItems":
            return (*at, *map(str, step))
        case "items" | "additionalProperties":
            return (*at, MANY)
        case _:
            return at


def _if(open_: bool, direction: Direction) -> Direction:  # noqa: FBT001 - it turns one into a word
    return "either" if open_ else direction


def _scalars(values: Iterable[object]) -> bool:
    return all(isinstance(value, (str, int, Decimal)) for value in values)


# Data


def _beside(number: Any) -> Iterator[tuple[bool, Any]]:  # noqa: ANN401 - a number of JSON
    """Yield the next larger and the next smaller number, in its last digit."""
    exponent = number.as_tuple().exponent if isinstance(number, Decimal) else 0
    unit = Decimal(1).scaleb(exponent) if isinstance(exponent, int) and exponent < 0 else 1
    yield True, number + unit
    yield False, number - unit


def _each_out(members: list[Any]) -> Iterator[tuple[list[Any], Any]]:
    if len(members) > 1:
        for index, member in enumerate(members):
            yield [*members[:index], *members[index + 1 :]], member


def _told(wider: bool | None, *, turned: bool) -> Direction:  # noqa: FBT001 - it turns one into a word
    direction: Direction = "either" if wider is None else "looser" if wider else "stricter"
    return _TOLD[direction] if turned else direction


def _moved(kind: str, gone: int, count: int) -> dict[str, str]:
    return {pointer(kind, index): pointer(kind, index + 1) for index in range(gone, count - 1)}


def _put(value: Any, steps: Steps, new: object) -> Any:  # noqa: ANN401 - JSON
    """Return the data with something else at `steps`."""
    if not steps:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[steps[0]] = _put(value[steps[0]], steps[1:], new)  # type: ignore[index]
    return copy


def _without(value: Any, steps: Steps) -> Any:  # noqa: ANN401 - JSON
    """Return the data without what stands at `steps`."""
    copy = list(value) if isinstance(value, list) else dict(value)
    if len(steps) == 1:
        del copy[steps[0]]  # type: ignore[arg-type]
    else:
        copy[steps[0]] = _without(value[steps[0]], steps[1:])  # type: ignore[index]
    return copy


def _text(value: object) -> str:
    text = canonical(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _list(values: Sequence[object]) -> str:
    return " and ".join(_text(value) for value in values[:3]) + (" and more" if len(values) > 3 else "")
