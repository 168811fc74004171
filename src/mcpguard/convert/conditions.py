"""Turns conditions of Intercept on arguments into ours, which never hold where the original does not.

Knows nothing of counters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, cast

from mcpguard.convert.go_patterns import PatternProblem, translate
from mcpguard.convert.go_values import Equals, equals
from mcpguard.convert.notes import NoTwinError
from mcpguard.convert.source import ARGS, EVERY_TOOL, STATE, Condition
from mcpguard.policy.canonical import canonical
from mcpguard.policy.paths import index_of
from mcpguard.stores.text import quoted, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpguard.convert.notes import Notes

Json: TypeAlias = dict[str, object]

COMMENT: Final = "$comment"


def conditions_for(condition: Condition, notes: Notes) -> list[Json]:
    """Give what has to hold for a condition to hold; nothing for one on a counter.

    Raises:
        NoTwinError: nothing of ours says this.
    """
    if condition.path.startswith(STATE):
        return []
    value = condition.value
    match condition.op:
        case "eq":
            found = equals(value)
            if found is None:
                raise NoTwinError(condition, "Intercept compares such lists and objects by how Go prints them")
            return [_equal(condition, (found,), notes)]
        case "in":
            assert isinstance(value, list)
            pairs = [(item, equals(item)) for item in value]
            lost = [item for item, found in pairs if found is None]
            comment = f"left out: {_shown(lost[0])}, which Intercept compares by how Go prints it" if lost else ""
            if lost:
                notes.stricter(condition, comment)
            return [_equal(condition, [found for _, found in pairs if found is not None], notes, comment)]
        case "neq":
            return _unequal(condition, [value], notes)
        case "not_in":
            assert isinstance(value, list)
            return _unequal(condition, value, notes)
        case "lt" | "gt":
            # As a double, what is just below 5 is 5; `neq` is in doubt about it, and refuses.
            remark = "what rounds to this number is this number, for Intercept"
            return [_test(condition), {COMMENT: remark, **_test(condition, op="neq")}]
        case "regex":
            return [_regex(condition)]
        case "contains":
            return [_contains(condition, notes)]
        case "exists":
            return [_exists(condition, notes)]
        case _:
            return [_test(condition)]


def path_of(condition: Condition) -> str:
    """Write the path of an argument, where `*` and digits are keys of objects and nothing else.

    Raises:
        NoTwinError: it cannot be written.
    """
    steps = condition.path.removeprefix(ARGS).split(".")
    for each in steps[1:]:
        if index_of(each) is not None:
            raise NoTwinError(condition, f"digits in a path, as in {quoted(condition.path)}, would be an index here")
    if all(steps) and EVERY_TOOL not in steps:
        return condition.path
    return "".join(step("", each) for each in steps)


def _equal(condition: Condition, found: Sequence[Equals], notes: Notes, comment: str = "") -> Json:
    values = list({canonical(value): value for each in found for value in each.values}.values())
    if not comment and not all(each.complete for each in found):
        comment = "Intercept also takes what Go prints alike, such as a list for its text; that is refused here"
        notes.stricter(condition, comment)
    one = condition.op == "eq" and len(values) == 1
    test = _test(condition, op="eq" if one else "in", value=values[0] if one else values)
    return _commented(test, comment)


def _unequal(condition: Condition, values: list[object], notes: Notes) -> list[Json]:
    if any(isinstance(value, (dict, list)) for value in values):
        raise NoTwinError(condition, f"`{condition.op}` with a list or an object compares how Go prints them")
    tests: list[Json] = []
    if None in values:
        tests.append(_test(condition, op="exists", value=True))
        values = [*(value for value in values if value is not None), "<nil>"]
    one = condition.op == "neq"
    comment = ""
    if values:
        comment = "also refused here: null, lists, objects, and what a server could take for such a value"
        notes.stricter(condition, comment)
    test = _test(condition, op="neq" if one else "not_in", value=values[0] if one else values)
    return [*tests, _commented(test, comment)]


def _regex(condition: Condition) -> Json:
    pattern = cast("str", condition.value)
    try:
        written = translate(pattern)
    except PatternProblem as problem:
        raise NoTwinError(condition, f"the pattern {quoted(pattern)} has no counterpart here ({problem})") from None
    return _commented(_test(condition, value=written), "" if written == pattern else f"in Go: {pattern}")


def _contains(condition: Condition, notes: Notes) -> Json:
    found = equals(condition.value)
    if found is None:
        raise NoTwinError(condition, "`contains` with such a value compares how Go prints it")
    comment = ""
    if len(found.values) > 1 or not found.complete:
        comment = "Intercept also takes an element that Go prints alike; here only this very value is one"
        notes.stricter(condition, comment)
    return _commented(_test(condition), comment)


def _exists(condition: Condition, notes: Notes) -> Json:
    comment = ""
    if condition.value is False and "." in condition.path.removeprefix(ARGS):
        comment = "also refused here: text, a number or a list where the path goes on, for a server may look into it"
        notes.stricter(condition, comment)
    return _commented(_test(condition), comment)


def _test(condition: Condition, *, op: str | None = None, value: object = ...) -> Json:
    return {"path": path_of(condition), "op": op or condition.op, "value": condition.value if value is ... else value}


def _commented(test: Json, comment: str) -> Json:
    return {COMMENT: comment, **test} if comment else test


def _shown(value: object) -> str:
    return quoted(canonical(value))
