"""Says whether a comparison can mean anything for the values that an input schema allows.

Knows one comparison and one argument; which rule they belong to is somebody else's knowledge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from mcpguard.policy.findings import tick
from mcpguard.policy.paths import ABSENT
from mcpguard.policy.values import NO, YES, is_number, shown
from mcpguard.policy.witness import ORDERED, answer_about

if TYPE_CHECKING:
    from mcpguard.inventory.inputs import Argument
    from mcpguard.policy.findings import Code
    from mcpguard.policy.model import Condition
    from mcpguard.policy.rules import Kind

Remark: TypeAlias = "tuple[Code, str]"

NUMBERS: Final = frozenset(("number", "integer"))
SCALARS: Final = frozenset(("string", "boolean")) | NUMBERS
_TEXT: Final = frozenset(("string",))
_HOLDERS: Final = frozenset(("string", "array"))
_JUDGED: Final = {
    **dict.fromkeys(ORDERED, (NUMBERS, "compares numbers")),
    **dict.fromkeys(("regex", "under", "not_under", "host_in", "not_host_in"), (_TEXT, "looks at strings")),
    "contains": (_HOLDERS, "looks into strings and arrays"),
}
_UNSURE: Final = {
    "require": "the rule never holds",
    "deny_if": "the rule is never sure and refuses every call that gives it",
    "approve_if": "the rule is never sure and asks about every call that gives it",
}
_PLACES: Final = frozenset(("under", "not_under"))
_MOST: Final = 8


def remarks_on_comparison(condition: Condition, kind: Kind, argument: Argument, items: Argument) -> Iterator[Remark]:
    """Yield what makes a comparison impossible; `items` are the elements of the argument, if it can be an array."""
    name, types = tick(condition.path), argument.types
    judged = _JUDGED.get(condition.op)
    if judged is not None and not types & judged[0]:
        yield "type-mismatch", f"`{condition.op}` {judged[1]}, and {name} is {type_text(types)}: {_UNSURE[kind]}"
        return
    match condition.op:
        case "eq" | "neq" | "in" | "not_in":
            many = isinstance(condition.value, list) and condition.op in {"in", "not_in"}
            yield from remarks_on_values(name, condition.value if many else [condition.value], argument)
        case "lt" | "lte" | "gt" | "gte":
            yield from _about_order(condition, argument)
        case "contains" if types & _HOLDERS == {"array"}:
            if items.exists and condition.value is not None and not items.allows(condition.value):
                yield from remarks_on_values(f"an element of {name}", [condition.value], items)
        case "contains" if "array" not in types and not isinstance(condition.value, str):
            yield (
                "type-mismatch",
                f"{name} is {type_text(types)} and cannot contain {shown(condition.value)}: {_UNSURE[kind]}",
            )
        case "regex" | "contains" | "host_in" | "not_host_in":
            values = argument.values
            positive = condition.op != "not_host_in"
            if values is not None and positive and not any(answer_about(condition, value) is YES for value in values):
                yield "outside-enum", f"`{condition.op}` fits none of the values of {name}: {_some(values)}"
        case _:
            pass


def remarks_on_values(name: str, values: Sequence[object], argument: Argument) -> Iterator[Remark]:
    """Yield what is wrong with values that an argument is compared with."""
    wrong = [value for value in values if value is not None and not argument.allows(value)]
    if not wrong:
        return
    listed = argument.values
    what = _some(wrong)
    if len(wrong) < len(values):
        yield "partly-outside-enum", f"{name} is never {what}{_allowed(argument)}"
    elif listed is not None:
        yield "outside-enum", f"{name} is never {what}{_allowed(argument)}"
    elif any(_type_of(value) & argument.types for value in wrong):
        low, high = argument.bounds
        yield "outside-range", f"{name} is never {what}: the schema allows {_range(low, high)}"
    else:
        yield "type-mismatch", f"{name} is {type_text(argument.types)} and never {what}"


def remarks_on_default(
    condition: Condition, kind: Kind, argument: Argument, *, handles_absence: bool
) -> Iterator[Remark]:
    """Yield what a default of the server does to a rule: what is left out is not what the rule sees."""
    value = argument.default
    if value is ABSENT or value is None or argument.is_required or condition.op == "exists" or condition.op in _PLACES:
        return
    if answer_about(condition, value) is not YES:
        return
    name, absent = tick(condition.path), answer_about(condition, ABSENT)
    if kind == "require":
        if absent is not YES:
            why = f"a call that leaves {name} out is refused, although the server's default {shown(value)} would hold"
            yield "default-refused", why
    elif absent is NO and not handles_absence:
        done = "refuses" if kind == "deny_if" else "asks about"
        why = (
            f"a call that leaves {name} out passes, and the server's default is {shown(value)}, which the rule {done}; "
            f'require it: {{"path": "{condition.path}", "op": "exists"}}'
        )
        yield "default-escapes", why


def type_text(types: frozenset[str]) -> str:
    """Write types: `a string`, `an array or null`."""
    names = sorted(types - ({"integer"} if "number" in types else set()) - ({"null"} if len(types) > 1 else set()))
    return " or ".join(f"{'an' if name[0] in 'aio' else 'a'} {name}" for name in names) or "nothing"


def _about_order(condition: Condition, argument: Argument) -> Iterator[Remark]:
    values = argument.values
    low, high = argument.bounds
    limit = condition.value
    if values is not None:
        if not any(answer_about(condition, value) is YES for value in values):
            yield (
                "outside-enum",
                f"`{condition.op}` {shown(limit)} fits none of the values of {tick(condition.path)}: {_some(values)}",
            )
        return
    match condition.op:
        case "gt":
            never = high is not None and limit >= high
        case "gte":
            never = high is not None and limit > high
        case "lt":
            never = low is not None and limit <= low
        case _:
            never = low is not None and limit < low
    if never:
        why = f"{tick(condition.path)} is never `{condition.op}` {shown(limit)}: the schema allows {_range(low, high)}"
        yield "outside-range", why


def _allowed(argument: Argument) -> str:
    listed = argument.values
    if listed is not None:
        return f": the schema allows {_some(listed)}"
    return f": it is {type_text(argument.types)}"


def _range(low: object, high: object) -> str:
    if low is None:
        return f"at most {shown(high)}"
    return f"at least {shown(low)}" if high is None else f"{shown(low)} to {shown(high)}"


def _some(values: Sequence[object]) -> str:
    texts = [shown(value) for value in values[:_MOST]]
    return ", ".join(texts) + (f" and {len(values) - _MOST} more" if len(values) > _MOST else "")


def _type_of(value: object) -> frozenset[str]:
    if isinstance(value, bool):
        return frozenset(("boolean",))
    if is_number(value):
        return NUMBERS
    return _TEXT if isinstance(value, str) else frozenset(("array" if isinstance(value, list) else "object",))
