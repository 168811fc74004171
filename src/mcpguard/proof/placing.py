"""Puts values into arguments at a path, and takes them out; the arguments themselves are left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mcpguard.proof.reading import Step, is_index

_MOST_PADDING: Final = 5
_NAME: Final = "example"


def put(arguments: Mapping[str, object], steps: Sequence[Step], value: object) -> dict[str, object]:
    """Return the arguments with a value at `steps`; for every `*`, in each element that is there, or in a new one."""
    changed = _put(dict(arguments), steps, [value])
    assert isinstance(changed, dict)
    return changed


def put_elements(arguments: Mapping[str, object], steps: Sequence[Step], values: Sequence[object]) -> dict[str, object]:
    """Return the arguments with a list at the first `*`, and one of the values in each of its elements."""
    first = steps.index(None)
    elements = [_put(None, steps[first + 1 :], [value]) for value in values]
    if not first:  # the arguments themselves are an object
        return {f"{_NAME}{number or ''}": element for number, element in enumerate(elements)}
    changed = _put(dict(arguments), steps[:first], [elements])
    assert isinstance(changed, dict)
    return changed


def removed(arguments: Mapping[str, object], steps: Sequence[Step]) -> dict[str, object]:
    """Return the arguments without what stands at `steps`: without the key, or with nothing to range over."""
    changed = _removed(dict(arguments), steps)
    assert isinstance(changed, dict)
    return changed


def _put(value: object, steps: Sequence[Step], leaf: list[object]) -> object:
    if not steps:
        return leaf[0]
    step, *rest = steps
    if step is None:
        if isinstance(value, dict):
            return {key: _put(item, rest, leaf) for key, item in (value or {_NAME: None}).items()}
        items = value if isinstance(value, list) and value else [None]
        return [_put(item, rest, leaf) for item in items]
    if is_index(step) and not isinstance(value, dict) and int(step) <= _MOST_PADDING:
        items = list(value) if isinstance(value, list) else []
        made = _put(items[int(step)] if int(step) < len(items) else None, rest, leaf)
        items += [made] * (int(step) + 1 - len(items))
        items[int(step)] = made
        return items
    inner = value if isinstance(value, dict) else {}
    return inner | {step: _put(inner.get(step), rest, leaf)}


def _removed(value: object, steps: Sequence[Step]) -> object:
    step, *rest = steps
    match value:
        case dict() if step is None:
            return {key: _removed(item, rest) for key, item in value.items()} if rest else {}
        case list() if step is None:
            return [_removed(item, rest) for item in value] if rest else []
        case dict() if step in value:
            assert step is not None
            if rest:
                return value | {step: _removed(value[step], rest)}
            return {key: item for key, item in value.items() if key != step}
        case list() if step is not None and is_index(step) and int(step) < len(value):
            index = int(step)
            return [*value[:index], _removed(value[index], rest), *value[index + 1 :]] if rest else value[:index]
        case _:
            return value
