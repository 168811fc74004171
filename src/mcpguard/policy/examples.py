"""Says which values are worth trying in a place of the arguments, by what conditions and schemas say about it.

Judges nothing: a value given here may still be refused.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from difflib import SequenceMatcher
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import jiter

from mcpguard.policy.canonical import canonical
from mcpguard.policy.paths import ABSENT, MANY, Place, Step, alias_among, index_of
from mcpguard.policy.values import folded_key, is_number

if TYPE_CHECKING:
    from mcpguard.policy.rules import ReadyCondition

Schema: TypeAlias = dict[str, Any]
Steps: TypeAlias = tuple[Step, ...]

_MAX_ITEMS: Final = 10
_MAX_DEPTH: Final = 3
_MAX_LENGTH: Final = 10_000
_COMPARED: Final = 200
"""How much of two texts is compared: the time is the product of their lengths."""
_EXAMPLE: Final = "example"
_FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_PLAINEST: Final[Mapping[str, tuple[object, ...]]] = {
    "integer": (1, 0),
    "number": (1, 0),
    "boolean": (True, False),
    "null": (None,),
}
_AUTHORITY: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*(.*)", re.DOTALL)


def values_of(condition: ReadyCondition, current: object) -> list[object]:
    """List what could satisfy a condition, or only just not; `current` stands in the place now."""
    value = condition.value
    match condition.op:
        case "eq" | "neq":
            return [value]
        case "in" | "not_in":
            assert isinstance(value, list)
            return value
        case "lt" | "lte" | "gt" | "gte":
            assert is_number(value)
            return [value, value - 1, value + 1]
        case "contains":
            return _containing(value, current)
        case "under":
            name = posixpath.basename(current.rstrip("/")) if isinstance(current, str) else ""
            directories = _texts(value)
            return [*(posixpath.join(one, name) for one in directories if name), *directories]
        case "not_under":
            return [posixpath.basename(current.rstrip("/"))] if isinstance(current, str) else []
        case "host_in":
            return [_with_host(text, current) for text in _texts(value)]
        case "not_host_in":
            return ["https://example.com/"]
        case _:
            return []


def respelled(current: object) -> list[object]:
    """List what a server may take a value for."""
    match current:
        case str():
            found: list[object] = [current.strip()]
            try:
                found.append(jiter.from_json(current.strip().encode(), float_mode="decimal", allow_inf_nan=False))
            except ValueError:
                pass
            return [value for value in found if value is not None and (not is_number(value) or _is_small(value))]
        case bool():
            return [str(current).lower()]
        case int() | Decimal():
            return [canonical(current)]
        case list() if len(current) == 1:
            return current
        case _:
            return []


def nearest(values: list[object], current: object, most: int) -> list[object]:
    """Order values by how near they are to the present one, then what lies between two numbers among them."""
    numbers = sorted({value for value in values if is_number(value)})
    between = [(Decimal(low) + Decimal(high)) / 2 for low, high in pairwise(numbers)]
    return [*sorted(values, key=lambda value: _distance(value, current))[:most], *between[:most]]


def schemas_at(root: Schema, steps: Steps) -> list[Schema]:
    """List the schemas that say what may stand at `steps`."""
    found = _expanded(root, root)
    for step in steps:
        found = [deeper for schema in found for inner in _inner(schema, step) for deeper in _expanded(inner, root)]
    return found


def names_in(schema: Schema) -> Iterator[str]:
    """Yield the keys that a schema names, those first that it asks for."""
    yield from schema.get("required", ())
    for others in schema.get("dependentRequired", {}).values():
        yield from others
    yield from schema.get("properties", ())


def examples_of(schema: Schema, root: Schema, current: object, depth: int = 0) -> list[object]:
    """List values that a schema may accept: what it names itself, its bounds, and the plainest of its types."""
    found: list[object] = [*schema.get("enum", ())]
    if "const" in schema:
        found.append(schema["const"])
    if found:
        return found
    for bound, step in (("minimum", 1), ("maximum", -1), ("exclusiveMinimum", 1), ("exclusiveMaximum", -1)):
        if bound in schema:
            found += [schema[bound], schema[bound] + step]
    if "multipleOf" in schema:
        unit = Decimal(schema["multipleOf"])
        if is_number(current) and _is_small(current) and abs(Decimal(current) / unit) < 10**20:
            found.append(Decimal(current) // unit * unit)
        found.append(schema["multipleOf"])
    types = schema.get("type", ())
    for kind in [types] if isinstance(types, str) else types:
        found += _plain(kind, schema, root, current, depth)
    return found


def alias_by_schema(root: Schema, value: object, place: Place = ()) -> tuple[Place, str] | None:
    """Find a key that could be taken for one that the schema names."""
    if isinstance(value, dict):
        by_fold: dict[str, set[str]] = {}
        for schema in schemas_at(root, tuple(map(str, place))):
            for name in names_in(schema):
                by_fold.setdefault(folded_key(name), set()).add(name)
        found = alias_among(value, by_fold)
        if found is not None:
            return (*place, found[0]), found[1]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if isinstance(item, (dict, list)):
            deeper = alias_by_schema(root, item, (*place, key))
            if deeper is not None:
                return deeper
    return None


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(map(str, value)) if isinstance(value, list) else []


def _containing(value: object, current: object) -> list[object]:
    match current:
        case list():
            return [[*current, value], [item for item in current if item != value]]
        case str() if isinstance(value, str):
            return [f"{current} {value}".strip(), current.replace(value, "").strip()] if value else []
        case _:
            return [value, [value]]


def _with_host(host: str, current: object) -> str:
    host = host.replace("*.", "www.")
    found = _AUTHORITY.fullmatch(current) if isinstance(current, str) else None
    return f"{found[1]}{host}{found[2]}" if found else f"https://{host}/"


def _distance(value: object, current: object) -> tuple[int, float]:
    """Order values by how near they are to the present one: of its type first."""
    if is_number(value) and is_number(current):
        return 0, abs(float(value - current)) if _is_small(value) and _is_small(current) else 0.0
    if isinstance(value, str) and isinstance(current, str):
        return 0, 1 - SequenceMatcher(None, value[:_COMPARED].casefold(), current[:_COMPARED].casefold()).ratio()
    return 0 if type(value) is type(current) else 1, 0.0


def _is_small(number: int | Decimal) -> bool:
    return -(10**300) < number < 10**300


def _expanded(schema: object, root: Schema) -> list[Schema]:
    """List the schemas that say what one value may be."""
    found: list[Schema] = []
    waiting = [schema]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, dict) or any(one is known for known in found):
            continue
        found.append(one)
        for keyword in ("allOf", "anyOf", "oneOf"):
            waiting += one.get(keyword, ())
        waiting += [one[keyword] for keyword in ("then", "else") if keyword in one]
        waiting += one.get("dependentSchemas", {}).values()
        if "$ref" in one:
            target: Any = root
            for step in one["$ref"][1:].split("/")[1:]:
                inner = step.replace("~1", "/").replace("~0", "~")
                target = target[int(inner) if isinstance(target, list) else inner]
            waiting.append(target)
    return found


def _inner(schema: Schema, step: Step) -> Iterator[object]:
    if step is not MANY and step in schema.get("properties", ()):
        yield schema["properties"][step]
        return
    index = None if step is MANY else index_of(step)
    prefix = schema.get("prefixItems", ())
    if index is not None and index < len(prefix):
        yield prefix[index]
        return
    yield from schema.get("patternProperties", {}).values()
    for keyword in ("additionalProperties", "items", "contains"):
        if keyword in schema:
            yield schema[keyword]


def _plain(kind: str, schema: Schema, root: Schema, current: object, depth: int) -> list[object]:
    match kind:
        case "string":
            shortest, longest = int(schema.get("minLength", 0)), int(schema.get("maxLength", _MAX_LENGTH))
            if shortest > _MAX_LENGTH:
                return []
            formatted = _FORMATS.get(schema.get("format", ""))
            text = current if isinstance(current, str) else formatted or _EXAMPLE
            if len(text) < shortest:
                text = f"{text} {f'{_EXAMPLE} ' * shortest}".strip()[:shortest]
            return [text[:longest], *([formatted] if formatted else [])]
        case "array":
            fewest, most = int(schema.get("minItems", 0)), int(schema.get("maxItems", _MAX_LENGTH))
            items = current if isinstance(current, list) else []
            examples = _first_example(schema.get("items", True), root, depth)
            return [[*items, *examples * (min(fewest, _MAX_ITEMS) - len(items))][:most]]
        case "object":
            wanted = {name: schema.get("properties", {}).get(name, True) for name in schema.get("required", ())}
            given = current if isinstance(current, dict) else {}
            made = {name: example for name, inner in wanted.items() for example in _first_example(inner, root, depth)}
            return [made | given]
        case _:
            return [*_PLAINEST[kind]]


def _first_example(schema: object, root: Schema, depth: int) -> list[object]:
    """Give one value that a schema may accept, as a list; anything for one that says nothing."""
    if depth == _MAX_DEPTH:
        return []
    for one in _expanded(schema, root):
        examples = examples_of(one, root, ABSENT, depth + 1)
        if examples:
            return examples[:1]
    return [_EXAMPLE]
