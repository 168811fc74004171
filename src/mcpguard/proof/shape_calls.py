"""Finds calls at the boundary of the JSON Schema of an entry: for each of its keywords just inside and just outside.

Knows one schema and one tool, of which some calls pass; how cases are written, it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mcpguard.proof.borders import examples_for, places_in, values_for_keyword
from mcpguard.proof.placing import put, removed
from mcpguard.proof.reading import Missing, find_all
from mcpguard.proof.search import Target

if TYPE_CHECKING:
    from mcpguard.proof.reading import Step
    from mcpguard.proof.search import Arguments
    from mcpguard.proof.subjects import Subject


def calls_at_schema(
    subject: Subject, base: Arguments, place: str, schema: Mapping[str, Any]
) -> Iterator[tuple[bool, Arguments]]:
    """Yield arguments that the schema at `place` alone decides about, and whether it refuses them; `base` are some that pass."""
    for steps, arguments in _shaped(subject, base, schema):
        found = subject.around(arguments, Target(place, steps=steps)) or arguments
        fires = subject.fires(place, found)
        if fires is not None:
            yield fires, found


def _shaped(
    subject: Subject, base: Arguments, schema: Mapping[str, Any]
) -> Iterator[tuple[tuple[Step, ...], Arguments]]:
    """Yield arguments at the border of each keyword, and the place that it is about."""
    for steps, inner in places_in(schema, schema):
        good = _with(subject, base, steps, inner, schema)
        if good is None:
            continue
        yield steps, good
        for name in inner.get("required", ()):
            yield (*steps, name), removed(good, (*steps, name))
        if inner.get("additionalProperties") is False:
            yield (*steps, "example_other"), put(good, (*steps, "example_other"), 1)
        if steps:
            for keyword, said in inner.items():
                for value in values_for_keyword(keyword, said):
                    yield steps, put(good, steps, _as_long(next(find_all(good, steps)), value))


def _with(
    subject: Subject, base: Arguments, steps: tuple[Step, ...], inner: Mapping[str, Any], schema: Mapping[str, Any]
) -> Arguments | None:
    """Find arguments that pass with something at `steps`, which the schema `inner` judges."""
    if not any(isinstance(each, Missing) for each in find_all(base, steps)):
        return base
    for example in examples_for(inner, schema):
        found = subject.around(put(base, steps, example), Target(steps=steps))
        if found is not None:
            return found
    return None


def _as_long(present: object, value: object) -> object:
    """Give a list that is as long as a value with elements of the one that is there, for those meet the other rules."""
    if isinstance(present, list) and present and isinstance(value, list):
        return [*present, *[present[-1]] * len(value)][: len(value)]
    return value
