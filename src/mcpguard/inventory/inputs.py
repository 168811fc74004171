"""Says what an input schema allows at a path: which types, which values, and whether they have to be there.

Where a schema is open, or says what is not understood here, the answer is that anything may stand there: no finding is built on a
guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mcpguard.inventory.alternatives import (
    TYPES,
    Alternative,
    Schema,
    allows,
    expanded,
    high_of,
    list_in,
    listed,
    low_of,
    properties_of,
    strings_in,
    types_of,
)
from mcpguard.policy.paths import ABSENT, MANY, Step, index_of

if TYPE_CHECKING:
    from mcpguard.policy.values import Number

_MOST_WAYS: Final = 256


@dataclass(frozen=True, slots=True)
class Argument:
    """What a schema says about the values at a place.

    `is_open`: something may stand there that the schema does not describe.  `is_required`: no valid call leaves it out.
    `default` is `ABSENT` if there is none.  If nothing may stand there, `missing` is the step that leads nowhere, and `known` are
    the keys that lead on.
    """

    alternatives: tuple[Alternative, ...]
    is_open: bool = False
    is_required: bool = False
    default: object = ABSENT
    missing: str = ""
    known: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether anything may stand there."""
        return self.is_open or bool(self.alternatives)

    @property
    def types(self) -> frozenset[str]:
        """The JSON types of the values there; `number` never stands without `integer`."""
        if self.is_open:
            return TYPES
        return frozenset().union(*map(types_of, self.alternatives))

    @property
    def values(self) -> list[object] | None:
        """All values there, `null` left out; None if they are not listed."""
        if self.is_open:
            return None
        found: list[object] = []
        for alternative in self.alternatives:
            values = listed(alternative)
            if values is None:
                if types_of(alternative) == {"null"}:
                    continue
                return None
            found += [value for value in values if value is not None]
        return found or None

    def allows(self, value: object) -> bool:
        """Whether some valid argument equals the value, by types, lists of values and bounds."""
        return self.is_open or any(allows(alternative, value) for alternative in self.alternatives)

    @property
    def bounds(self) -> tuple[Number | None, Number | None]:
        """The least and the greatest number there, or None where nothing bounds it."""
        if self.is_open:
            return None, None
        numeric = [each for each in self.alternatives if "integer" in types_of(each)]
        lows = [low for each in numeric if (low := low_of(each)) is not None]
        highs = [high for each in numeric if (high := high_of(each)) is not None]
        low = min(lows) if len(lows) == len(numeric) and lows else None
        return low, max(highs) if len(highs) == len(numeric) and highs else None


def find_argument(schema: Schema, steps: Sequence[Step]) -> Argument:
    """Return what `schema` says about the arguments that `steps` lead to."""
    here: tuple[Alternative, ...] = tuple(expanded(schema, schema))
    is_open, is_required = False, True
    default: object = ABSENT
    for index, step in enumerate(steps):
        parent_given, is_required = (
            is_required,
            is_required and step is not MANY and all(_requires(each, step) for each in here),
        )
        found = [_taken(each, step) for each in here]
        is_open = is_open or any(each is None for each in found)
        below = [inner for each in found for inner in each or ()]
        ahead = tuple(each for inner in below for each in expanded(inner, schema))[:_MOST_WAYS]
        if not ahead and not is_open:
            missing = "*" if step is MANY else step
            known = {key for each in here for part in each for key in properties_of(part)} - {missing}
            return Argument((), missing=missing, known=tuple(sorted(known)))
        last = index == len(steps) - 1
        default = _default(below, schema) if last and parent_given else ABSENT
        here = ahead
    return Argument(here, is_open, is_required and not is_open, default)


def required_of(schema: Schema) -> frozenset[str]:
    """Return the arguments that every valid call has."""
    alternatives = list(expanded(schema, schema))
    keys = {key for each in alternatives for part in each for key in strings_in(part.get("required"))}
    return frozenset(key for key in keys if all(_requires(each, key) for each in alternatives))


def _taken(alternative: Alternative, step: Step) -> list[object] | None:
    """Return the schemas behind a step; None if anything may stand there, empty if nothing may."""
    types = types_of(alternative)
    index = None if step is MANY else index_of(step)
    found: list[object] = []
    is_open = False
    if "object" in types:
        inner = _values_below(alternative) if step is MANY else _below(alternative, step)
        is_open = inner is None
        found += inner or ()
    if "array" in types and (step is MANY or index is not None):
        inner = _items(alternative, index)
        # A schema that names properties and no type is about objects.
        if inner is None and not any("properties" in part and "type" not in part for part in alternative):
            is_open = True
        found += inner or ()
    return None if is_open else found


def _below(alternative: Alternative, key: str) -> list[object] | None:
    found: list[object] = []
    is_described = False
    general: list[object] = []
    for part in alternative:
        properties, patterns, others = (
            properties_of(part),
            part.get("patternProperties"),
            part.get("additionalProperties"),
        )
        mine = [properties[key]] if key in properties else []
        mine += (
            [inner for pattern, inner in patterns.items() if _finds(pattern, key)]
            if isinstance(patterns, Mapping)
            else []
        )
        found += mine
        is_described = is_described or "properties" in part
        if not mine and others is False:
            return []
        if not mine and others is not None:
            general.append(others)
    if found:
        return [{"allOf": found}] if len(found) > 1 else found
    if general:
        return None if any(each is True or each == {} for each in general) else general
    return [] if is_described else None


def _values_below(alternative: Alternative) -> list[object] | None:
    found: list[object] = []
    for part in alternative:
        others = part.get("additionalProperties")
        if others is True:
            return None
        found += properties_of(part).values()
        found += [others] if isinstance(others, Mapping) else []
        patterns = part.get("patternProperties")
        found += patterns.values() if isinstance(patterns, Mapping) else ()
    return found or None


def _items(alternative: Alternative, index: int | None) -> list[object] | None:
    found: list[object] = []
    for part in alternative:
        items = part.get("items")
        first = list_in(part.get("prefixItems")) or list_in(items)
        rest = part.get("additionalItems") if isinstance(items, list) else items
        if index is None:
            found += [*first, *([] if rest is None else [rest])]
        elif index < len(first):
            found.append(first[index])
        elif rest is not None:
            found.append(rest)
    return found or None


def _requires(alternative: Alternative, key: str) -> bool:
    return types_of(alternative) == {"object"} and any(key in strings_in(part.get("required")) for part in alternative)


def _default(schemas: Iterable[object], root: Schema) -> object:
    for schema in schemas:
        for alternative in expanded(schema, root):
            for part in alternative:
                if "default" in part:
                    return part["default"]
    return ABSENT


def _finds(pattern: str, key: str) -> bool:
    from mcpguard.policy.patterns import RegexError, compile_regex

    try:
        return compile_regex(pattern)(key)
    except RegexError:
        return True
