"""Lists the values at which an operator, or a keyword of a schema, changes its mind: just inside and just outside.

What they are judged as is not said here: the readings do that.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from mcpguard.policy.examples import examples_of
from mcpguard.policy.paths import ABSENT as NO_VALUE
from mcpguard.proof.patterns import texts_beside, texts_for
from mcpguard.proof.reading import ABSENT, is_number, sibling_of, texts_in
from mcpguard.proof.shapes import kinds_of, referred

if TYPE_CHECKING:
    from mcpguard.proof.reading import Step

_MOST_MEMBERS: Final = 40
_MOST_BESIDE: Final = 5
_MOST_TEXTS: Final = 12
_LONGEST: Final = 2000
_DEEPEST: Final = 6
_LARGEST: Final = 10**300
_LENGTHS: Final = frozenset(("minLength", "maxLength", "minItems", "maxItems"))
_EXAMPLES: Final[Mapping[str, object]] = {
    "string": "example",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": ["example"],
    "object": {"example": 1},
    "null": None,
}


@dataclass(frozen=True, slots=True)
class Hints:
    """What the server's own schema says about an argument: its types, and its values if it lists them."""

    types: frozenset[str] = frozenset()
    values: tuple[object, ...] = ()

    @property
    def example(self) -> object:
        """A value that may stand there."""
        if self.values:
            return self.values[0]
        return next((value for kind, value in _EXAMPLES.items() if kind in self.types), "example")


ANYTHING: Final = Hints()


def values_for(op: str, value: object, hints: Hints = ANYTHING) -> list[object]:
    """List values at the border of a condition; `ABSENT` among them means that there is none."""
    return _distinct([*_values(op, value, hints), ABSENT])


def _values(op: str, value: object, hints: Hints) -> list[object]:
    match op:
        case "eq" | "neq":
            return [value, *_near(value), *hints.values[:_MOST_BESIDE]]
        case "in" | "not_in":
            return _members(value, hints)
        case "lt" | "lte" | "gt" | "gte" if isinstance(value, (int, Decimal)):
            return [value, value - 1, value + 1]
        case "regex" if isinstance(value, str):
            found = texts_for(value)
            return [*found, *(f"x{text}x" for text in found[:1]), *texts_beside(value)[:_MOST_TEXTS]]
        case "contains":
            return _containing(value, hints)
        case "exists":
            return [hints.example, None]
        case "under" | "not_under":
            return [path for directory in texts_in(value) for path in _paths(directory)]
        case "host_in" | "not_host_in":
            return [f"https://{host}/" for each in texts_in(value) for host in _hosts(each)]
        case _:
            return []


def _near(value: object) -> list[object]:
    match value:
        case bool():
            return [not value]
        case int() | Decimal():
            return [value - 1, value + 1]
        case str():
            return [f"{value}x", f"x{value}", value[:-1], f"{value}-other"]
        case list():
            return [[*value, "example"], value[:-1]] if value else [["example"]]
        case None:
            return ["example"]
        case _:
            return [{}]


def _members(value: object, hints: Hints) -> list[object]:
    members = list(value) if isinstance(value, (list, tuple)) else []
    strangers: list[object] = [each for each in hints.values if each not in members][:2]
    numbers = [each for each in members if isinstance(each, (int, Decimal)) and is_number(each)]
    if numbers:
        strangers += [max(numbers) + 1, min(numbers) - 1]
    texts = [each for each in members if isinstance(each, str)]
    for text in [*texts[:1], *texts[-1:]]:
        strangers += _near(text)
    strangers += [not each for each in members if isinstance(each, bool)]
    return [*members[:_MOST_MEMBERS], *strangers, *([] if strangers else ["example"])]


def _containing(value: object, hints: Hints) -> list[object]:
    if isinstance(value, str) and not ("array" in hints.types and "string" not in hints.types):
        return [value, f"x{value}x", *(text for text in (value[:-1], value[1:]) if text), ""]
    near = _near(value)
    return [[value], [*near[:1], value], near[:1], []]


def _paths(directory: str) -> Iterator[str]:
    tidy = posixpath.normpath(directory)
    yield posixpath.join(tidy, "example.txt")
    yield f"{sibling_of(tidy)}/example.txt"
    yield posixpath.join(tidy, "../example.txt")
    yield posixpath.join(tidy, "a/../../example.txt")
    yield posixpath.join(tidy, "a/../example.txt")
    yield "/example.txt"


def _hosts(host: str) -> Iterator[str]:
    name = host.removeprefix("*.")
    if host != name:
        yield f"a.{name}"
        yield f"a.b.{name}"
    yield name
    yield f"other.{name}"
    yield f"{name}.example.net"
    yield f"other-{name}"
    yield "example.net"


def _distinct(values: list[object]) -> list[object]:
    found: dict[str, object] = {}
    for value in values:
        if not (isinstance(value, (int, Decimal)) and not -_LARGEST <= value <= _LARGEST):
            found.setdefault(repr(value), value)
    return list(found.values())


# Schemas


def places_in(
    schema: object, root: Mapping[str, Any], depth: int = 0
) -> Iterator[tuple[tuple[Step, ...], Mapping[str, Any]]]:
    """Yield every place of the arguments that a schema says something about, and the schema that stands there."""
    if isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str) and depth <= _DEEPEST:
        schema = referred(schema["$ref"], root)
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    yield (), schema
    for each in (*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ()), schema.get("not")):
        yield from places_in(each, root, depth + 1)
    for name, inner in schema.get("properties", {}).items():
        for steps, deeper in places_in(inner, root, depth + 1):
            yield (name, *steps), deeper
    for steps, deeper in places_in(schema.get("items", True), root, depth + 1):
        yield (None, *steps), deeper


def values_for_keyword(keyword: str, said: Any, hints: Hints = ANYTHING) -> list[object]:  # noqa: ANN401 - of any type
    """List values at the border of a keyword that judges a value by itself."""
    found: list[object] = []
    match keyword:
        case "minLength" | "maxLength" if said <= _LONGEST:
            found = ["a" * length for length in (said, said - 1, said + 1) if length >= 0]
        case "minItems" | "maxItems" if said <= _LONGEST:
            found = [["example"] * length for length in (said, said - 1, said + 1) if length >= 0]
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            found = [said, said - 1, said + 1]
        case "multipleOf":
            found = [said, said + 1]
        case "enum":
            found = _members(said, hints)
        case "const":
            found = [said, *_near(said)]
        case "pattern":
            found = _values("regex", said, hints)
        case "type":
            kinds = [said] if isinstance(said, str) else list(said)
            others = [value for kind, value in _EXAMPLES.items() if kind not in kinds]
            if "number" in kinds:
                others = [value for value in others if not is_number(value)]
            found = [value for kind, value in _EXAMPLES.items() if kind in kinds] + others[:2]
        case _:
            pass
    return _distinct(found)


def examples_for(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[object]:
    """List values that a schema may accept."""
    found: list[object] = []
    if isinstance(schema.get("pattern"), str):
        found += texts_for(schema["pattern"])
    found += _built(schema, root, 0)
    try:
        kinds = kinds_of(schema)
        found += examples_of(({"type": kinds} if kinds else {}) | dict(schema), dict(root), NO_VALUE)
    except (TypeError, ValueError, ArithmeticError, LookupError):  # a server's schema may hold anything
        pass
    for keyword, said in schema.items():
        if keyword in _LENGTHS and isinstance(said, int):
            found += values_for_keyword(keyword, said)
    return _distinct([*found, *([] if found else ["example"])])


def _built(schema: object, root: Mapping[str, Any], depth: int) -> list[object]:
    """Build a list or an object with what a schema asks for in it; nothing for other schemas."""
    kinds = kinds_of(schema) if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or depth > _DEEPEST or not kinds or "enum" in schema or "const" in schema:
        return []
    if "array" in kinds:
        inner = schema.get("items", True)
        return [[_one(inner, root, depth)] * min(max(int(schema.get("minItems", 1)), 1), _MOST_MEMBERS)]
    if "object" in kinds:
        properties = schema.get("properties", {})
        return [{name: _one(properties.get(name, True), root, depth) for name in schema.get("required", ())}]
    return []


def _one(schema: object, root: Mapping[str, Any], depth: int) -> object:
    if not isinstance(schema, Mapping):
        return "example"
    return (_built(schema, root, depth + 1) or examples_for(schema, root))[0]
