"""Knows what a JSON Schema of a policy can be instead, by one small change of a keyword, and what that does to the values it accepts.

Where nobody has worked out what a change does, it says so; whether a changed schema loads, it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

from mcpguard.policy.paths import MANY, Path, Step
from mcpguard.policy.schemas import inner_schemas
from mcpguard.policy.values import is_number
from mcpguard.proof.other_values import (
    Data,
    Direction,
    Steps,
    Tried,
    each_left_out,
    numbers_beside,
    replaced,
    strangers_for,
    text_of,
    texts_of,
    wider_patterns,
    without,
)

_UPPER: Final = frozenset(("maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties", "maxContains"))
_LOWER: Final = frozenset(("minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties", "minContains"))
_COUNTS: Final = frozenset(f"{which}{what}" for which in ("min", "max") for what in ("Length", "Items", "Properties"))
_WORDLESS: Final = frozenset(
    (
        "$comment",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$schema",
        "$defs",
    )
)
"""Keywords that judge nothing."""
_INNER: Final = frozenset(("properties", "patternProperties", "dependentSchemas"))
"""Objects of schemas by names: without one, others judge what it judged."""
_TURNED: Final = frozenset(("not", "if", "then", "else", "oneOf", "contains"))
"""In what they hold, looser may be stricter."""
_OPEN: Final = frozenset(("prefixItems", "minContains", "maxContains"))
_SEEN: Final = frozenset(("unevaluatedProperties", "unevaluatedItems"))
"""Keywords for what others beside them have not judged."""


def other_schemas(
    schema: object, steps: Steps, at: tuple[Step, ...], tried: Tried, *, open_: bool = False
) -> Iterator[tuple[Steps, str, Data, Direction]]:
    """Yield the changes of a schema and of those in it; the data is the whole of the outermost one.

    `at` leads to the values that it judges.  `open_` says that nobody has worked out what a change here does.
    """
    if not isinstance(schema, dict):
        return
    open_ = open_ or not _SEEN.isdisjoint(schema)
    for keyword, value in schema.items():
        here = (*steps, keyword)
        if keyword not in _WORDLESS and keyword not in _INNER:
            # What is left implies a type, or judges more than it did.
            is_open = open_ or keyword in _OPEN or (keyword == "type" and isinstance(value, list))
            yield (
                here,
                f"without {text_of(keyword)}: {text_of(value)}",
                without(schema, (keyword,)),
                _if(is_open, "looser"),
            )
        for said, changed, direction in _of_keyword(schema, keyword, value, at, tried):
            yield here, said, schema | {keyword: changed}, _if(open_, direction)
        for step, inner in inner_schemas(keyword, value):
            place = (keyword, *step)
            yield from (
                (where, said, replaced(schema, place, changed), direction)
                for where, said, changed, direction in other_schemas(
                    inner, (*steps, *place), _at(at, keyword, step), tried, open_=open_ or keyword in _TURNED
                )
            )


def _of_keyword(
    schema: Data,
    keyword: str,
    value: Any,  # noqa: ANN401 - JSON
    at: tuple[Step, ...],
    tried: Tried,
) -> Iterator[tuple[str, Any, Direction]]:
    if keyword in _UPPER | _LOWER and is_number(value):
        for more, number in numbers_beside(value):
            if number >= 0 or keyword not in _COUNTS:
                direction: Direction = "looser" if more is (keyword in _UPPER) else "stricter"
                yield f"{text_of(keyword)}: {text_of(number)} instead of {text_of(value)}", number, direction
    if keyword == "pattern":
        for said, pattern in wider_patterns(value):
            yield f'"pattern": {text_of(value)} {said}', pattern, "looser"
    if keyword == "enum":
        strangers = strangers_for("in", value, tried, Path("", at)) if _scalars(value) else []
        if strangers:
            yield f'"enum": {text_of(value)} with {texts_of(strangers)}', [*value, *strangers], "looser"
    if keyword in {"enum", "required", "type", "allOf", "anyOf", "oneOf"} and isinstance(value, list):
        direction = "looser" if keyword in {"required", "allOf"} else "either" if keyword == "oneOf" else "stricter"
        for left, member in each_left_out(value):
            yield f"{text_of(keyword)}: {text_of(value)} without {text_of(member)}", left, direction
    if (
        keyword == "properties"
        and {"additionalProperties", "unevaluatedProperties", "patternProperties"} & schema.keys()
    ):
        for name in value:
            yield f'"properties" without {text_of(name)}', without(value, (name,)), "either"


def _at(at: tuple[Step, ...], keyword: str, step: Steps) -> tuple[Step, ...]:
    match keyword:
        case "properties" | "prefixItems":
            return (*at, *map(str, step))
        case "items" | "additionalProperties":
            return (*at, MANY)
        case _:
            return at


def _if(open_: bool, direction: Direction) -> Direction:  # noqa: FBT001 - it turns one into a word
    return "either" if open_ else direction


def _scalars(values: Iterable[object]) -> bool:
    return all(isinstance(value, (str, int, Decimal)) for value in values)
