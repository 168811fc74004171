"""Takes a JSON Schema apart into the ways in which it can hold, and says what each of them allows.

What is not understood, or says too much to be looked through, is taken to allow anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Final, TypeAlias

from mcpguard.policy.paths import index_of
from mcpguard.policy.values import YES, Number, equal, is_number

Schema: TypeAlias = Mapping[str, object]
Alternative: TypeAlias = tuple[Schema, ...]
"""Schemas that hold together."""

TYPES: Final = frozenset(("null", "boolean", "number", "integer", "string", "array", "object"))
_OPEN: Final[Schema] = {"additionalProperties": True}
_MOST: Final = 64
_MOST_SCHEMAS: Final = 1000
_UNREAD: Final = ("then", "else", "dependentSchemas", "$dynamicRef", "$recursiveRef", "dependencies")


def expanded(schema: object, root: Schema) -> Iterator[Alternative]:
    """Yield the ways in which a schema can hold, with its references followed and its combinations multiplied out."""
    return _expanded(schema, root, frozenset(), iter(range(_MOST_SCHEMAS)))


def _expanded(schema: object, root: Schema, seen: frozenset[str], budget: Iterator[int]) -> Iterator[Alternative]:
    if next(budget, None) is None:
        yield (_OPEN,)
        return
    if schema is False:
        return
    if not isinstance(schema, Mapping):
        yield (_OPEN,)
        return
    factors: list[list[Alternative]] = [[(schema,)]]
    if any(keyword in schema for keyword in _UNREAD):
        factors.append([(_OPEN,)])
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target = None if reference in seen else _resolved(reference, root)
        factors.append([(_OPEN,)] if target is None else list(_expanded(target, root, seen | {reference}, budget)))
    factors += [list(_expanded(part, root, seen, budget)) for part in list_in(schema.get("allOf"))]
    factors += [
        [each for part in list_in(schema[keyword]) for each in _expanded(part, root, seen, budget)]
        for keyword in ("anyOf", "oneOf")
        if isinstance(schema.get(keyword), list)
    ]
    count = 1
    for factor in factors:
        count *= len(factor)
    if count > _MOST:
        yield (_OPEN,)
        return
    for choice in product(*factors):
        alternative = tuple(part for each in choice for part in each)
        if types_of(alternative):
            yield alternative


def types_of(alternative: Alternative) -> frozenset[str]:
    """Return the JSON types that schemas allow together."""
    types = TYPES
    for part in alternative:
        given = part.get("type")
        named = {given} if isinstance(given, str) else set(strings_in(given))
        if named:
            types &= named | ({"integer"} if "number" in named else set())
        values = _values(part)
        if values is not None:
            types &= frozenset().union(*map(_types_of_value, values))
    return types


def allows(alternative: Alternative, value: object) -> bool:
    """Whether some value that the schemas allow together equals this one."""
    if not _types_of_value(value) & types_of(alternative):
        return False
    values = listed(alternative)
    if values is not None:
        return any(equal(each, value) is YES for each in values)
    if not is_number(value):
        return True
    low, high = low_of(alternative), high_of(alternative)
    return (low is None or low <= value) and (high is None or value <= high)


def listed(alternative: Alternative) -> list[object] | None:
    """Return the values that the schemas list; None if they do not."""
    lists = [values for part in alternative if (values := _values(part)) is not None]
    if not lists:
        return None
    first, *others = lists
    return [value for value in first if all(any(equal(each, value) is YES for each in other) for other in others)]


def low_of(alternative: Alternative) -> Number | None:
    """Return the least number that the schemas allow; None if nothing bounds it."""
    return max(_bounds(alternative, "minimum", "exclusiveMinimum"), default=None)


def high_of(alternative: Alternative) -> Number | None:
    """Return the greatest number that the schemas allow; None if nothing bounds it."""
    return min(_bounds(alternative, "maximum", "exclusiveMaximum"), default=None)


def properties_of(part: Schema) -> Schema:
    """Return the properties that a schema names."""
    properties = part.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def strings_in(value: object) -> list[str]:
    """Return the strings of a list; none of anything else."""
    return [each for each in list_in(value) if isinstance(each, str)]


def list_in(value: object) -> list[object]:
    """Return a list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def _bounds(alternative: Alternative, *keywords: str) -> list[Number]:
    return [bound for part in alternative for keyword in keywords if is_number(bound := part.get(keyword))]


def _values(part: Schema) -> list[object] | None:
    if "const" in part:
        return [part["const"]]
    values = part.get("enum")
    return values if isinstance(values, list) else None


def _types_of_value(value: object) -> frozenset[str]:
    match value:
        case None:
            return frozenset(("null",))
        case bool():
            return frozenset(("boolean",))
        case str():
            return frozenset(("string",))
        case list():
            return frozenset(("array",))
        case Mapping():
            return frozenset(("object",))
        case _ if is_number(value) and value == int(value):
            return frozenset(("integer", "number"))
        case _:
            return frozenset(("number",))


def _resolved(reference: str, root: Schema) -> object:
    """Follow a reference inside the document; None if it leads elsewhere or nowhere."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    target: object = root
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        match target:
            case Mapping() if key in target:
                target = target[key]
            case list() if (index := index_of(key)) is not None and index < len(target):
                target = target[index]
            case _:
                return None
    return target
