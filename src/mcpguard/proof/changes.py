"""Knows what one small change of an entry of a policy can be, and what it does to the calls that the entry decides about.

An entry is data as a policy file holds it.  Changes make new data and leave the old alone; whether a policy with them loads is not
known here. What a value can be instead, `other_values` knows, and what a schema, `other_schemas`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mcpguard.policy.canonical import canonical
from mcpguard.policy.entries import pointer
from mcpguard.policy.limits import CALENDAR_WINDOWS
from mcpguard.policy.notation import span_words
from mcpguard.policy.paths import ABSENT, parse_path
from mcpguard.policy.schemas import tightened
from mcpguard.policy.values import is_number
from mcpguard.proof.other_schemas import other_schemas
from mcpguard.proof.other_values import (
    each_left_out,
    numbers_beside,
    replaced,
    strangers_for,
    text_of,
    texts_of,
    wider_patterns,
    without,
)

if TYPE_CHECKING:
    from mcpguard.proof.other_values import Data, Direction, Steps, Tried

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
_UPPER: Final = frozenset(("lt", "lte"))
_NUMBERS: Final = frozenset(("eq", "neq", "lt", "lte", "gt", "gte"))
_ACTIONS: Final[Mapping[str, tuple[tuple[str, Direction], ...]]] = {
    "allow": (("require_approval", "stricter"), ("deny", "stricter")),
    "require_approval": (("allow", "looser"), ("deny", "stricter")),
    "deny": (("allow", "looser"), ("hide", "stricter")),
    "hide": (("allow", "looser"), ("deny", "looser")),
}
_REVERSED: Final[Mapping[Direction, Direction]] = {"looser": "stricter", "stricter": "looser", "either": "either"}


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


def changes_of_rules(data: Data, tried: Tried) -> Iterator[Change]:
    """Yield the changes of the rules of an entry, or of `all_tools`."""
    for kind in ("require", "deny_if", "approve_if"):
        for index, rule in enumerate(data.get(kind, ())):
            here = (kind, index)
            gone = without(data, here)
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
                    yield Change(place, said, without(data, place), "looser" if kind == "require" else "either")
                for said, changed, wider in _of_condition(condition, tried):
                    direction = _direction_of(wider, turned=kind != "require")
                    yield Change(place, said, replaced(data, place, changed), direction)


def changes_of_limits(data: Data) -> Iterator[Change]:
    """Yield the changes of the limits of an entry, or of `all_tools`."""
    limits = data.get("limits", ())
    for index, limit in enumerate(limits):
        here: Steps = ("limits", index)
        yield Change(here, "without this limit", without(data, here), "looser", _moved("limits", index, len(limits)))
        for key, said, changed, direction in _of_limit(limit):
            counter = limit.get("counter")
            shared = (
                Shared(counter, key, changed.get(key, ABSENT))
                if counter and key in {"window", "align", "per"}
                else None
            )
            yield Change(here, said, replaced(data, here, changed), direction, shared=shared)
    if "rate_limit" in data:
        here = ("rate_limit",)
        yield Change(here, "without this limit", without(data, here), "looser")
        for _, said, changed, direction in _of_limit(data["rate_limit"]):
            yield Change(here, said, replaced(data, here, changed), direction)


def changes_of_action(data: Data) -> Iterator[Change]:
    """Yield the other actions that an entry might have."""
    action = data.get("action", "allow")
    for other, direction in _ACTIONS[action]:
        yield Change(("action",), f'"{other}" instead of "{action}"', data | {"action": other}, direction)


def changes_of_arguments(data: Data, tried: Tried) -> Iterator[Change]:
    """Yield the changes of the JSON Schema of an entry."""
    if "arguments" in data:
        for steps, said, changed, direction in other_schemas(data["arguments"], (), (), tried):
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
        yield (
            f'"exists" {text_of(value is False)} instead of {text_of(value)}',
            condition | {"value": value is False},
            None,
        )
    if op in _OPPOSITES:
        yield f'"{_OPPOSITES[op]}" instead of "{op}"', condition | {"op": _OPPOSITES[op]}, None
    if op in _NUMBERS and is_number(value):
        for more, number in numbers_beside(value):
            wider = None if op in ("eq", "neq") else more is (op in _UPPER)
            yield f'"{op}" {text_of(number)} instead of {text_of(value)}', condition | {"value": number}, wider
    if op in _SETS:
        members = value if isinstance(value, list) else [value]
        negated = op.startswith("not_")
        strangers = strangers_for(op, members, tried, parse_path(condition["path"]))
        yield (
            f'"{op}" {text_of(members)} with {texts_of(strangers)}',
            condition | {"value": [*members, *strangers]},
            not negated,
        )
        for left, member in each_left_out(members):
            yield f'"{op}" {text_of(members)} without {text_of(member)}', condition | {"value": left}, negated
    if op == "regex":
        for said, pattern in wider_patterns(value):
            yield f'"regex" {text_of(value)} {said}', condition | {"value": pattern}, True


# Limits


def _of_limit(limit: Data) -> Iterator[tuple[str, str, Data, Direction]]:
    """Yield the key that is changed, words, the limit, and what the change can do."""
    most = limit["max"]
    for more, number in numbers_beside(most):
        if number >= 0:
            yield "max", f'"max" {number} instead of {most}', limit | {"max": number}, "looser" if more else "stricter"
    window = limit["window"]
    for other in _other_windows(window, aligned="align" in limit):
        said = f'"window" of {span_words(other)} instead of {span_words(window)}'
        yield "window", said, limit | {"window": other}, "looser" if other < window else "stricter"
    for key in ("cost", "per", "align"):
        if key in limit:
            yield key, f'without "{key}"', without(limit, (key,)), "either"


def _other_windows(window: int, *, aligned: bool) -> Iterator[int]:
    if not aligned:
        if window > 1:
            yield window // 2
        yield window * 2
        return
    at = CALENDAR_WINDOWS.index(window)
    yield from CALENDAR_WINDOWS[max(0, at - 1) : at]
    yield from CALENDAR_WINDOWS[at + 1 : at + 2]


def _direction_of(wider: bool | None, *, turned: bool) -> Direction:  # noqa: FBT001 - it turns one into a word
    """Say what a change of a condition does; `turned`: more calls are refused if it says yes more often."""
    direction: Direction = "either" if wider is None else "looser" if wider else "stricter"
    return _REVERSED[direction] if turned else direction


def _moved(kind: str, gone: int, count: int) -> dict[str, str]:
    """Say where those of a list stood that stand one place earlier without the one that is `gone`."""
    return {pointer(kind, index): pointer(kind, index + 1) for index in range(gone, count - 1)}
