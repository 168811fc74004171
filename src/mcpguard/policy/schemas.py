"""Checks the JSON Schema (2020-12) of a policy, and makes it as strict as it looks.

In the standard `{"minLength": 10}` accepts the number 5, because the keyword judges strings only.  Here such a keyword
implies its type.  What would say something without effect is refused: unknown keywords, references to elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from mcpguard.policy.patterns import RegexError, compile_regex

Schema: TypeAlias = dict[str, Any] | bool
Steps: TypeAlias = tuple[str | int, ...]

ONE_HERE: Final = ("not", "if", "then", "else")
LIST_HERE: Final = ("allOf", "anyOf", "oneOf")
ONE_FOR_KEYS: Final = ("additionalProperties", "unevaluatedProperties")
ONE_FOR_ITEMS: Final = ("items", "contains", "unevaluatedItems")

_JUDGED: Final[dict[str, tuple[str, ...]]] = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": (*ONE_FOR_ITEMS, "prefixItems", "minContains", "maxContains", "minItems", "maxItems", "uniqueItems"),
    "object": (
        *ONE_FOR_KEYS,
        "properties",
        "patternProperties",
        "propertyNames",
        "required",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
    ),
}
_TYPE_OF: Final = {keyword: kind for kind, keywords in _JUDGED.items() for keyword in keywords}
_REMARKS: Final = ("$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly")
_OTHERS: Final = ("type", "enum", "const", "$ref", "$defs", "$schema")
KEYWORDS: Final = frozenset((*_TYPE_OF, *ONE_HERE, *LIST_HERE, *_REMARKS, *_OTHERS))

_ONE: Final = frozenset((*ONE_HERE, *ONE_FOR_KEYS, *ONE_FOR_ITEMS, "propertyNames"))
_LIST: Final = frozenset((*LIST_HERE, "prefixItems"))
_MAP: Final = frozenset(("properties", "patternProperties", "dependentSchemas", "$defs"))
_TURNED: Final = frozenset(("not", "if"))
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a schema; `steps` lead to the place."""

    steps: Steps
    message: str


def problems_in(schema: object, steps: Steps = (), *, turned: bool = False) -> Iterator[Problem]:
    """Yield everything in a schema that this language does not have, or that would have no effect.

    `turned` says that the schema stands under `not` or `if`, where its strictness turns round.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield Problem(steps, "a schema is an object, `true` or `false`")
        return
    for keyword, value in schema.items():
        here = (*steps, keyword)
        if keyword not in KEYWORDS:
            yield Problem(here, f"unknown keyword `{keyword}` in `arguments`{_meant(keyword)}")
        yield from _problems_of(keyword, value, here, turned=turned)
        for step, inner in inner_schemas(keyword, value):
            yield from problems_in(inner, (*here, *step), turned=turned or keyword in _TURNED)
    yield from _type_problems(schema, steps)


def misplaced_in(schema: Mapping[str, object]) -> Iterator[Problem]:
    """Yield the keywords of a schema for arguments that judge no arguments: these are always an object."""
    if "type" not in schema:
        for keyword in schema:
            kind = _TYPE_OF.get(keyword, "object")
            if kind != "object":
                yield Problem(
                    (keyword,), f"`{keyword}` judges values of type `{kind}`, and the arguments of a call are an object"
                )


def inner_schemas(keyword: str, value: object) -> Iterator[tuple[Steps, object]]:
    """Yield what should be schemas in the value of a keyword, with the steps to them."""
    if keyword in _ONE:
        yield (), value
    elif keyword in _LIST and isinstance(value, list):
        for index, inner in enumerate(value):
            yield (index,), inner
    elif keyword in _MAP and isinstance(value, dict):
        for name, inner in value.items():
            yield (name,), inner


def tightened(schema: Schema, *, strict: bool = True) -> Schema:
    """Return a schema in which every keyword implies the type that it judges, with its keys in one order.

    Of the remarks only descriptions are kept: refusals say them.  Under `not` strictness turns round.  `then` has to hold wherever the condition holds by the standard, `else` wherever it
    fails by ours.
    """
    if isinstance(schema, bool):
        return schema
    tight: dict[str, Any] = {}
    for keyword, value in sorted(schema.items()):
        if (keyword in _REMARKS and keyword != "description") or keyword in {"if", "then", "else"}:
            continue
        if keyword in _ONE:
            tight[keyword] = tightened(value, strict=strict is not (keyword == "not"))
        elif keyword in _LIST:
            tight[keyword] = [tightened(inner, strict=strict) for inner in value]
        elif keyword in _MAP:
            tight[keyword] = {name: tightened(inner, strict=strict) for name, inner in sorted(value.items())}
        else:
            tight[keyword] = value
    implied = _implied(schema)
    if strict and implied and "type" not in schema:
        tight["type"] = implied[0]
    if "if" in schema:
        tight["allOf"] = [*tight.get("allOf", ()), *_branches(schema, strict=strict)]
    return tight


def _branches(schema: dict[str, Any], *, strict: bool) -> Iterator[Schema]:
    if "then" in schema:
        condition = tightened(schema["if"], strict=not strict)
        yield {"if": condition, "then": tightened(schema["then"], strict=strict)}
    if "else" in schema:
        condition = tightened(schema["if"], strict=strict)
        yield {"if": condition, "else": tightened(schema["else"], strict=strict)}


def _implied(schema: dict[str, Any]) -> list[str]:
    return sorted({_TYPE_OF[keyword] for keyword in schema if keyword in _TYPE_OF})


def _problems_of(keyword: str, value: object, here: Steps, *, turned: bool) -> Iterator[Problem]:
    match keyword, value:
        case "$ref", str() if turned:
            yield Problem(here, "`$ref` has no place under `not` and `if`; write the schema out")
        case "$ref", str() if value != "#" and not value.startswith("#/"):
            yield Problem(here, "`$ref` stays inside the document: write it like `#/$defs/name`")
        case "$schema", _ if value != _DIALECT:
            yield Problem(here, f"`arguments` is a JSON Schema of the dialect `{_DIALECT}`")
        case "pattern", str():
            yield from _pattern_problem(value, here)
        case "patternProperties", dict():
            for name in value:
                yield from _pattern_problem(name, (*here, name))
        case "format", str() if not _is_format(value):
            yield Problem(here, f"unknown format `{value}` in `arguments`")
        case _:
            pass


def _pattern_problem(pattern: str, here: Steps) -> Iterator[Problem]:
    try:
        compile_regex(pattern)
    except RegexError as error:
        yield Problem(here, f"`pattern`: {error}")


def _type_problems(schema: dict[str, Any], steps: Steps) -> Iterator[Problem]:
    if ("then" in schema or "else" in schema) and "if" not in schema:
        yield Problem(steps, "`then` and `else` mean nothing without `if`")
    implied = _implied(schema)
    given = schema.get("type")
    if given is None:
        if len(implied) > 1:
            yield Problem(
                steps, f"the keywords here judge values of the types {_words(implied)}; say which with `type`"
            )
        return
    types = given if isinstance(given, list) else [given]
    for keyword in schema:
        kind = _TYPE_OF.get(keyword)
        if kind is not None and kind not in types and not (kind == "number" and "integer" in types):
            yield Problem((*steps, keyword), f"`{keyword}` judges values of type `{kind}`, which `type` does not allow")


@lru_cache(maxsize=256)
def _is_format(name: str) -> bool:
    from jsonschema_rs import Draft202012Validator

    try:
        Draft202012Validator({"format": name}, validate_formats=True, ignore_unknown_formats=False, offline=True)
    except ValueError:
        return False
    return True


def _meant(keyword: str) -> str:
    from difflib import get_close_matches

    found = get_close_matches(keyword, sorted(KEYWORDS), n=1)
    return f"; did you mean `{found[0]}`?" if found else ""


def _words(types: list[str]) -> str:
    return " and ".join(f"`{kind}`" for kind in types)
