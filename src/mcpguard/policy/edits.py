"""Says what one change of the arguments of a call is, where it can be made, and what they are after it.

Knows no policy: which change is worth making, others say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from mcpguard.policy.paths import ABSENT, MANY, Place, index_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpguard.policy.examples import Steps

EditKind: TypeAlias = Literal["set", "add", "remove", "rename"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of the arguments at `place`.  `value` is what is set or added, `name` the new name of a key."""

    kind: EditKind
    place: Place
    value: object = None
    name: str = ""


def edited(arguments: Mapping[str, object], edit: Edit) -> Mapping[str, object]:
    """Return the arguments with an edit made; what it does not touch is shared."""
    changed = _edited(arguments, edit.place, edit)
    assert isinstance(changed, dict)
    return changed


def slot_for(arguments: object, steps: Steps) -> tuple[Place, Steps, object]:
    """Find where something can be put so that it stands at `steps`.

    Gives the place, the steps that what is put there has to contain, and what stands in the place now.  The place is empty
    if there is none.
    """
    here = arguments
    place: Place = ()
    for step in steps:
        key: str | int | None = step
        if isinstance(here, list):
            key = len(here) if step is MANY else index_of(step)
        if key is None or not isinstance(here, (dict, list)) or (isinstance(key, int) and key > len(here)):
            break
        is_there = key < len(here) if isinstance(key, int) else key in here
        here = here[key] if is_there else ABSENT  # type: ignore[index]
        place = (*place, key)
    return place, steps[len(place) :], here


def wrapped(value: object, steps: Steps) -> object:
    """Put a value where these steps lead, from nothing on."""
    for step in reversed(steps):
        value = [value] if step is MANY else {step: value}
    return value


def _edited(value: object, place: Place, edit: Edit) -> object:
    step, *rest = place
    if isinstance(value, list):
        index = step if isinstance(step, int) else index_of(step)
        assert index is not None
        items = list(value)
        if rest:
            items[index] = _edited(items[index], tuple(rest), edit)
        elif edit.kind == "remove":
            del items[index]
        else:
            items[index : index + 1] = [edit.value]
        return items
    assert isinstance(value, dict)
    key = str(step)
    if rest:
        return value | {key: _edited(value[key], tuple(rest), edit)}
    match edit.kind:
        case "remove":
            return {name: item for name, item in value.items() if name != key}
        case "rename":
            return {edit.name if name == key else name: item for name, item in value.items()}
        case _:
            return value | {key: edit.value}
