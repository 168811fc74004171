"""Judges the arguments of a call by the JSON Schema of a policy.

The library that does so is imported when a policy has such a schema, and not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from mcpguard.policy.paths import Place, alias_among, place_text
from mcpguard.policy.rules import alias_sentence, shortened
from mcpguard.policy.schemas import (
    LIST_HERE,
    ONE_FOR_ITEMS,
    ONE_FOR_KEYS,
    ONE_HERE,
    Problem,
    Schema,
    misplaced_in,
    problems_in,
    tightened,
)
from mcpguard.policy.values import folded_key

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

_MAX_REGEX_BYTES: Final = 1 << 20
_SHOWN: Final = 160
_OF_OTHER_VALUES: Final = frozenset(
    ("$defs", "properties", "patternProperties", "propertyNames", "prefixItems", *ONE_FOR_KEYS, *ONE_FOR_ITEMS)
)
"""Keywords below which a schema speaks of another value, or of one that is not known yet."""


class SchemaError(ValueError):
    """A schema cannot be used; `problems` says why."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


class Shape:
    """A schema, ready to judge."""

    __slots__ = ("_keys", "_schema", "_validator")

    def __init__(self, validator: Draft202012Validator, schema: dict[str, Any], keys: _Keys) -> None:
        self._validator = validator
        self._schema = schema
        self._keys = keys

    def problem_in(self, arguments: Mapping[str, object]) -> str:
        """Say what the schema has against the arguments; empty if nothing."""
        alias = _alias_in(self._keys, arguments, ())
        if alias is not None:
            return alias_sentence(*alias)
        from jsonschema_rs import ValidationError

        try:
            self._validator.validate(arguments)
        except ValidationError as error:
            return _sentence(error, self._schema)
        except UnicodeEncodeError:  # half of a surrogate pair, which no text from the wire holds
            return "the arguments are no Unicode text"
        return ""


def compile_schema(schema: dict[str, Any]) -> Shape:
    """Make a schema ready to judge.

    Raises:
        SchemaError: it cannot be used.
    """
    problems = (*misplaced_in(schema), *problems_in(schema))
    if problems:
        raise SchemaError(problems)
    _validator(schema)
    tight = tightened({"type": "object"} | schema)
    assert isinstance(tight, dict)
    return Shape(_validator(tight), tight, _Keys((schema,), schema))


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

    try:
        return Draft202012Validator(
            schema,
            pattern_options=RegexOptions(size_limit=_MAX_REGEX_BYTES),
            offline=True,
            validate_formats=True,
            ignore_unknown_formats=False,
        )
    except ValidationError as error:
        raise SchemaError((Problem(tuple(error.instance_path), f"`arguments`: {error.message}"),)) from None


def _sentence(error: ValidationError, schema: dict[str, Any]) -> str:
    """Say what is wrong where: in the words of the schema, if it describes what it wants there, else in those of the library."""
    place = tuple(error.instance_path)
    where = place_text(place) if place else "the arguments"
    wanted = _description_at(schema, error.schema_path)
    return f"{shortened(where)}: {wanted or shortened(error.message, _SHOWN)}"


def _description_at(schema: object, path: Iterable[str | int]) -> str:
    """Give the description of what is wanted of the value that the keyword judges to which a path leads; empty if there is none."""
    found = said = ""
    for step in path:
        if isinstance(schema, list):
            schema = schema[int(step)]
            continue
        assert isinstance(schema, dict)
        described = schema.get("description")  # or a property of that name
        found = described if isinstance(described, str) else found
        # The library gives a property's name as a number if it can be read as one: "0", but "01" as well.
        key = step if step in schema else str(step)
        if key not in schema:
            return ""
        said, schema = found, schema[key]
        if step in _OF_OTHER_VALUES:
            found = ""
    return said


class _Keys:
    """The schemas that judge one value, and so the names that its keys have there.

    `known` holds every one that was ever asked for: as many as a schema has places, however deep the arguments are.
    """

    __slots__ = ("_children", "_here", "_known", "_root", "by_fold")

    def __init__(
        self, schemas: tuple[Schema, ...], root: Schema, known: dict[frozenset[int], _Keys] | None = None
    ) -> None:
        self._root = root
        self._known = {} if known is None else known
        self._children: dict[str | int | None, _Keys | None] = {}
        self._here: list[dict[str, Any]] = []
        waiting = list(schemas)
        while waiting:
            schema = waiting.pop()
            if isinstance(schema, dict) and not any(schema is one for one in self._here):
                self._here.append(schema)
                waiting += _beside(schema, root)
        self.by_fold: dict[str, set[str]] = {}
        for schema in self._here:
            for name in _named(schema):
                self.by_fold.setdefault(folded_key(name), set()).add(name)

    def below(self, key: str | int) -> _Keys | None:
        """Give what judges the value under a key or at an index."""
        place = key if any(_has_own(schema, key) for schema in self._here) else None
        general = place is None and isinstance(key, int)
        if (cached := -1 if general else place) not in self._children:
            schemas = tuple(inner for schema in self._here for inner in _inner(schema, key))
            name = frozenset(map(id, schemas))
            if schemas and name not in self._known:
                self._known[name] = _Keys(schemas, self._root, self._known)
            self._children[cached] = self._known[name] if schemas else None
        return self._children[cached]


def _alias_in(keys: _Keys, value: Mapping[str, object] | list[object], place: Place) -> tuple[Place, str] | None:
    items: Iterable[tuple[str | int, object]]
    if isinstance(value, list):
        items = enumerate(value)
    else:
        items = value.items()
        found = alias_among(value, keys.by_fold)
        if found is not None:
            return (*place, found[0]), found[1]
    for key, item in items:
        if isinstance(item, (dict, list)) and (below := keys.below(key)) is not None:
            deeper = _alias_in(below, item, (*place, key))
            if deeper is not None:
                return deeper
    return None


def _beside(schema: dict[str, Any], root: Schema) -> Iterator[Schema]:
    """Yield the schemas that judge the same value."""
    for keyword in ONE_HERE:
        if keyword in schema:
            yield schema[keyword]
    for keyword in LIST_HERE:
        yield from schema.get(keyword, ())
    yield from schema.get("dependentSchemas", {}).values()
    if "$ref" in schema:
        target: Any = root
        for step in schema["$ref"][1:].split("/")[1:]:
            inner = step.replace("~1", "/").replace("~0", "~")
            target = target[int(inner) if isinstance(target, list) else inner]
        yield target


def _named(schema: dict[str, Any]) -> Iterator[str]:
    yield from schema.get("properties", ())
    yield from schema.get("required", ())
    yield from schema.get("dependentSchemas", ())
    for name, others in schema.get("dependentRequired", {}).items():
        yield name
        yield from others


def _has_own(schema: dict[str, Any], key: str | int) -> bool:
    if isinstance(key, int):
        return key < len(schema.get("prefixItems", ()))
    return key in schema.get("properties", ())


def _inner(schema: dict[str, Any], key: str | int) -> Iterator[Schema]:
    if isinstance(key, int):
        yield from schema.get("prefixItems", ())[key : key + 1]
        general: tuple[str, ...] = ONE_FOR_ITEMS
    else:
        if key in schema.get("properties", ()):
            yield schema["properties"][key]
        yield from schema.get("patternProperties", {}).values()
        general = ONE_FOR_KEYS
    for keyword in general:
        if keyword in schema:
            yield schema[keyword]
