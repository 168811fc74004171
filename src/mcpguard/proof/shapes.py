"""Says whether a JSON Schema of a policy accepts a value, for the keywords that everybody reads alike.

A second opinion, from the description of the language alone: a keyword that judges one type implies that type unless `type` is there. About other
keywords it does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from mcpguard.proof.patterns import found_in
from mcpguard.proof.reading import is_number

_WORDS: Final = frozenset(("title", "description", "default", "examples", "$comment", "$defs", "deprecated"))
_TYPE_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
    **dict.fromkeys(("minItems", "maxItems", "items", "uniqueItems", "prefixItems", "contains"), "array"),
    **dict.fromkeys(("minContains", "maxContains", "unevaluatedItems"), "array"),
    **dict.fromkeys(("required", "properties", "additionalProperties", "minProperties", "maxProperties"), "object"),
    **dict.fromkeys(("patternProperties", "propertyNames", "dependentRequired", "dependentSchemas"), "object"),
    **dict.fromkeys(("unevaluatedProperties",), "object"),
}
_DEEPEST: Final = 12


def accepts(schema: object, value: object, root: Mapping[str, Any], depth: int = 0) -> bool | None:
    """Say whether a schema accepts a value; None where it is not for this reading to say."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    return _all(_verdicts(schema, value, root, depth))


def arguments_accepted(schema: Mapping[str, Any], arguments: Mapping[str, object]) -> bool | None:
    """Say whether `arguments` of an entry accepts those of a call; nothing is said of keywords that judge no objects."""
    if not {_TYPE_OF.get(keyword, "object") for keyword in schema} <= {"object"}:
        return None
    return accepts(schema, arguments, schema)


def names_in(schema: object) -> Iterator[str]:
    """Yield every property that a schema names, at whatever place."""
    if isinstance(schema, list):
        for item in schema:
            yield from names_in(item)
    if not isinstance(schema, Mapping):
        return
    yield from (name for name in schema.get("required", ()) if isinstance(name, str))
    for keyword in ("properties", "dependentRequired", "dependentSchemas"):
        yield from schema.get(keyword, {}) if isinstance(schema.get(keyword), Mapping) else ()
    for keyword, inner in schema.items():
        if keyword not in ("enum", "const", "default", "examples", "required"):
            yield from names_in(inner)


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    known = True
    for verdict in verdicts:
        if verdict is False:
            return False
        known = known and verdict is not None
    return True if known else None


def _any(verdicts: list[bool | None]) -> bool | None:
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _verdicts(schema: Mapping[str, Any], value: object, root: Mapping[str, Any], depth: int) -> Iterator[bool | None]:
    kinds = kinds_of(schema)
    if kinds is not None:
        yield any(is_kind(value, kind) for kind in kinds)
    for keyword, said in schema.items():
        kind = _TYPE_OF.get(keyword)
        if kind is not None:
            if is_kind(value, kind):
                judge = _JUDGES.get(keyword)
                yield judge(value, said) if judge else _inner(keyword, value, schema, root, depth)
            continue
        match keyword:
            case "enum":
                yield any(_same(value, each) for each in said)
            case "const":
                yield _same(value, said)
            case "allOf":
                yield _all(accepts(each, value, root, depth + 1) for each in said)
            case "anyOf":
                yield _any([accepts(each, value, root, depth + 1) for each in said])
            case "not":
                yield _refuses(said, value, root, depth)
            case "$ref":
                yield accepts(referred(said, root), value, root, depth + 1)
            case "type":
                pass
            case _ if keyword not in _WORDS:
                yield None


def _refuses(schema: object, value: object, root: Mapping[str, Any], depth: int) -> bool | None:
    """Say whether a schema under `not` refuses a value; about one of another type than it judges there is doubt."""
    if not isinstance(schema, Mapping) or not schema:
        return None
    judged = {_TYPE_OF.get(keyword, "") for keyword in schema if keyword not in _WORDS}
    if len(judged) != 1 or not judged <= {"string", "number"} or not is_kind(value, *judged):
        return None
    accepted = accepts(schema, value, root, depth + 1)
    return None if accepted is None else not accepted


def kinds_of(schema: Mapping[str, Any]) -> list[str] | None:
    """List the types that a value may have; None: any."""
    if "type" in schema:
        return [schema["type"]] if isinstance(schema["type"], str) else list(schema["type"])
    implied = {_TYPE_OF[keyword] for keyword in schema if keyword in _TYPE_OF}
    return sorted(implied) or None


def is_kind(value: object, kind: str) -> bool:
    """Whether a value is of a type of JSON Schema."""
    match kind:
        case "string":
            return isinstance(value, str)
        case "number":
            return is_number(value)
        case "integer":
            return is_number(value) and value == int(value)  # type: ignore[call-overload]
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case _:
            return value is None


def _inner(keyword: str, value: object, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> bool | None:
    """Judge by a keyword that holds schemas for what is inside of a value."""
    match keyword, schema[keyword], value:
        case "properties", dict() as said, dict():
            return _all(accepts(inner, value[name], root, depth + 1) for name, inner in said.items() if name in value)
        case "additionalProperties", said, dict() if "patternProperties" not in schema:
            others = [item for name, item in value.items() if name not in schema.get("properties", {})]
            return _all(accepts(said, item, root, depth + 1) for item in others)
        case "items", said, list() if "prefixItems" not in schema:
            return _all(accepts(said, item, root, depth + 1) for item in value)
        case _:
            return None


_JUDGES: Final[Mapping[str, Callable[[Any, Any], bool | None]]] = {
    "minLength": lambda value, said: len(value) >= said,
    "maxLength": lambda value, said: len(value) <= said,
    "pattern": lambda value, said: found_in(said, value),
    "minimum": lambda value, said: bool(value >= said),
    "maximum": lambda value, said: bool(value <= said),
    "exclusiveMinimum": lambda value, said: bool(value > said),
    "exclusiveMaximum": lambda value, said: bool(value < said),
    "multipleOf": lambda value, said: _is_multiple(value, said),  # noqa: PLW0108 - it stands below
    "minItems": lambda value, said: len(value) >= said,
    "maxItems": lambda value, said: len(value) <= said,
    "uniqueItems": lambda value, said: not said or not _repeats(value),
    "minProperties": lambda value, said: len(value) >= said,
    "maxProperties": lambda value, said: len(value) <= said,
    "required": lambda value, said: all(name in value for name in said),
    "dependentRequired": lambda value, said: all(
        name not in value or all(each in value for each in others) for name, others in said.items()
    ),
}


def _repeats(items: list[object]) -> bool:
    return any(_same(one, other) for at, one in enumerate(items) for other in items[at + 1 :])


def _is_multiple(value: int | Decimal, unit: int | Decimal) -> bool | None:
    if isinstance(value, int) and isinstance(unit, int):
        return value % unit == 0
    return None


def _same(one: object, other: object) -> bool:
    """Whether two JSON values are equal; numbers by their value."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    match one, other:
        case list(), list():
            return len(one) == len(other) and all(map(_same, one, other))
        case dict(), dict():
            return one.keys() == other.keys() and all(_same(item, other[key]) for key, item in one.items())
        case _:
            return (
                type(one) is type(other) and one == other if not is_number(one) else is_number(other) and one == other
            )


def referred(reference: str, root: Mapping[str, Any]) -> object:
    """Give what a `$ref` into the same schema (`#/...`) points at; None if that is nothing."""
    target: Any = root
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and key.isdigit() and int(key) < len(target):
            target = target[int(key)]
        elif isinstance(target, Mapping) and key in target:
            target = target[key]
        else:
            return None
    return target
