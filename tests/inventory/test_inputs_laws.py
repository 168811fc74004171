"""Checks what holds for every input schema, also for those that mean nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from mcpguard.inventory.inputs import find_argument, required_of
from mcpguard.policy.paths import ABSENT, MANY, Path
from mcpguard.policy.values import equal

KEYWORDS = [
    "type",
    "properties",
    "items",
    "prefixItems",
    "anyOf",
    "allOf",
    "enum",
    "const",
    "$ref",
    "required",
    "minimum",
    "a",
]
NONSENSE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["string", "object", "#", "#/properties/a", "(", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=20,
)
STEPS = st.lists(st.sampled_from(["a", "b", "0", MANY]), min_size=1, max_size=3).map(tuple)

SCALARS = st.sampled_from([0, 1, 5, "x", "y", True, None])
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "integer", "minimum": 1},
            {"type": ["boolean", "null"]},
            {"enum": ["x", 5]},
            {},
            True,
        ]
    ),
    lambda inner: (
        st.builds(
            lambda properties, required, closed: (
                {"type": "object", "properties": properties, "required": required}
                | ({} if closed is None else {"additionalProperties": closed})
            ),
            st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            st.lists(st.sampled_from("ab"), unique=True, max_size=2),
            st.none() | st.just(value=False) | inner,
        )
        | st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda first: {"type": "array", "prefixItems": first}, st.lists(inner, min_size=1, max_size=2))
        | st.builds(
            lambda key, parts: {key: parts},
            st.sampled_from(["anyOf", "allOf"]),
            st.lists(inner, min_size=1, max_size=2),
        )
    ),
    max_leaves=8,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2)


@given(st.dictionaries(st.sampled_from(KEYWORDS), NONSENSE), STEPS)
def test_no_schema_is_too_strange(schema: dict[str, Any], steps: tuple[str | None, ...]) -> None:
    found = find_argument(schema, steps)
    assert found.exists or not found.alternatives
    assert found.values is None or found.values
    assert found.allows("x") in {True, False}
    assert len(found.bounds) == 2
    required_of(schema)


@given(SCHEMAS, ARGUMENTS, STEPS)
def test_what_a_valid_call_holds_is_held_to_be_possible(
    schema: Any, arguments: dict[str, Any], steps: tuple[str | None, ...]
) -> None:
    declared = {"properties": {"a": schema, "b": schema}}
    if not Draft202012Validator(declared).is_valid(arguments):
        return
    said = find_argument(declared, steps)
    for _, value in Path("", steps).find_all(arguments):
        if isinstance(value, (str, int, bool)) and _is_declared(declared, steps):
            assert said.allows(value)
            assert said.values is None or any(equal(each, value) for each in said.values)
        if value is ABSENT:
            assert not said.is_required


def _is_declared(schema: dict[str, Any], steps: tuple[str | None, ...]) -> bool:
    # A property that a schema does not name may be there all the same: that is what a finding is for.
    return find_argument(schema, steps).exists
