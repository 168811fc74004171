"""Checks what an input schema is found to say about a path."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from mcpguard.inventory.inputs import Argument, find_argument, required_of
from mcpguard.policy.paths import ABSENT, parse_path


def argument(schema: dict[str, Any], path: str) -> Argument:
    return find_argument(schema, parse_path(f"args.{path}").steps)


def properties(**named: Any) -> dict[str, Any]:
    return {"type": "object", "properties": named}


TREE = {
    "type": "object",
    "properties": {"root": {"$ref": "#/$defs/node"}},
    "$defs": {
        "node": properties(name={"type": "string"}, children={"type": "array", "items": {"$ref": "#/$defs/node"}})
    },
}


@pytest.mark.parametrize(
    ("schema", "path", "types"),
    [
        pytest.param(properties(a={"type": "string"}), "a", {"string"}, id="a property"),
        pytest.param(properties(a=properties(b={"type": "null"})), "a.b", {"null"}, id="a property below"),
        pytest.param(TREE, "root.children.0.children.*.name", {"string"}, id="references"),
        pytest.param(
            properties(a={"anyOf": [{"type": "string"}, {"type": "null"}]}), "a", {"string", "null"}, id="anyOf"
        ),
        pytest.param(properties(a={"type": ["string", "boolean"]}), "a", {"string", "boolean"}, id="two types"),
        pytest.param({"oneOf": [properties(a={"const": 1}), properties(b={})]}, "a", {"integer", "number"}, id="oneOf"),
        pytest.param({"allOf": [properties(a={"type": "string"}), properties(b={})]}, "a", {"string"}, id="allOf"),
        pytest.param(
            {"allOf": [properties(a={"type": "number"}), properties(a={"type": "integer"})]},
            "a",
            {"integer"},
            id="both",
        ),
        pytest.param({"additionalProperties": {"type": "array"}}, "a", {"array"}, id="a map"),
        pytest.param(
            {"patternProperties": {"^x": {"type": "array"}}, "additionalProperties": False},
            "xy",
            {"array"},
            id="pattern",
        ),
        pytest.param(
            properties(a={"type": "array", "prefixItems": [{"const": "x"}, {"const": True}]}),
            "a.1",
            {"boolean"},
            id="place",
        ),
        pytest.param(
            properties(a={"type": "array", "items": [{"const": "x"}]}), "a.0", {"string"}, id="place, as it was"
        ),
        pytest.param(
            properties(a={"type": "array", "prefixItems": [{"const": "x"}], "items": {"const": True}}),
            "a.*",
            {"boolean", "string"},
            id="every element",
        ),
        pytest.param(
            properties(a=properties(b={"const": "x"}, c={"const": None})), "a.*", {"string", "null"}, id="every value"
        ),
        pytest.param(properties(a={"enum": ["x", None]}), "a", {"string", "null"}, id="an enum"),
    ],
)
def test_types_at_a_path(schema: dict[str, Any], path: str, types: set[str]) -> None:
    found = argument(schema, path)
    assert set(found.types) == types
    assert not found.is_open


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        pytest.param({}, "a", id="an empty schema"),
        pytest.param({"type": "object"}, "a", id="an object without properties"),
        pytest.param({"properties": {"a": {}}, "additionalProperties": True}, "b", id="additional properties"),
        pytest.param(
            {"properties": {"a": {}}, "additionalProperties": {}}, "b", id="additional properties of any kind"
        ),
        pytest.param(properties(a=True), "a.b", id="a property of any kind"),
        pytest.param(properties(a={"$ref": "other.json"}), "a.b", id="a reference to elsewhere"),
        pytest.param(properties(a={"$ref": "#/none/0"}), "a", id="a reference to nowhere"),
        pytest.param(properties(a={"$ref": "#/properties/a"}), "a", id="a reference to itself"),
        pytest.param({"properties": {"a": {}}, "then": {"properties": {"b": {}}}}, "b", id="a condition"),
        pytest.param(
            {"allOf": [{"anyOf": [{"minProperties": n} for n in range(9)]}] * 2}, "b", id="more ways than are looked at"
        ),
        pytest.param(properties(a={"type": "array"}), "a.*.b", id="elements of any kind"),
        pytest.param({"type": "object", "additionalProperties": True}, "*", id="values of any kind"),
        pytest.param(
            {"patternProperties": {"(?<=x)": {}}, "additionalProperties": False}, "a", id="a pattern of another engine"
        ),
    ],
)
def test_what_is_not_described_may_be_anything(schema: dict[str, Any], path: str) -> None:
    found = argument(schema, path)
    assert found.exists
    assert "number" in found.types
    assert "object" in found.types
    assert found.allows("x")
    assert found.values is None
    assert found.bounds == (None, None)


@pytest.mark.parametrize(
    ("schema", "path", "missing", "known"),
    [
        pytest.param(properties(a={}, b={}), "c", "c", ("a", "b"), id="another name"),
        pytest.param(properties(a=properties(b={})), "a.c", "c", ("b",), id="another name below"),
        pytest.param(properties(a={"type": "string"}), "a.b", "b", (), id="below a string"),
        pytest.param(properties(a={"type": "array", "items": {}}), "a.b", "b", (), id="a name in a list"),
        pytest.param(
            properties(a={"type": "array", "items": {"type": "string"}}), "a.*.b", "b", (), id="below elements"
        ),
        pytest.param(
            properties(a={"type": "array", "prefixItems": [{}], "items": False}), "a.1", "1", (), id="past the end"
        ),
        pytest.param(properties(a={"type": "string"}), "a.*", "*", (), id="elements of a string"),
        pytest.param({"properties": {}, "additionalProperties": False}, "a", "a", (), id="no arguments"),
        pytest.param(properties(a=False), "a", "a", (), id="forbidden"),
        pytest.param(
            {"allOf": [properties(a={}), {"additionalProperties": False}]},
            "a",
            "a",
            (),
            id="closed by another part",
        ),
    ],
)
def test_what_the_schema_does_not_have(schema: dict[str, Any], path: str, missing: str, known: tuple[str, ...]) -> None:
    found = argument(schema, path)
    assert (found.exists, found.missing, found.known) == (False, missing, known)


def test_what_is_required_all_the_way_is_required() -> None:
    inner = properties(b={}) | {"required": ["b"]}
    schema = properties(a=inner, c=inner) | {"required": ["a"]}
    assert argument(schema, "a.b").is_required
    assert not argument(schema, "c.b").is_required
    assert not argument(schema, "a.*").is_required
    assert required_of(schema) == {"a"}
    assert required_of({"type": "object", "anyOf": [{"required": ["a", "b"]}, {"required": ["b"]}]}) == {"b"}


def test_a_default_counts_where_its_object_is_given() -> None:
    inner = properties(b={"$ref": "#/$defs/x"})
    schema = properties(a=inner, c=inner) | {"required": ["a"], "$defs": {"x": {"default": 5}}}
    assert argument(schema, "a.b").default == 5
    assert argument(schema, "c.b").default is ABSENT
    assert argument(schema, "a").default is ABSENT


def test_values_of_every_alternative_together() -> None:
    schema = properties(
        a={"anyOf": [{"enum": ["x", "y"]}, {"const": "z"}, {"type": "null"}]},
        b={"anyOf": [{"const": 1}, {"type": "string"}]},
    )
    assert argument(schema, "a").values == ["x", "y", "z"]
    assert argument(schema, "b").values is None
    assert argument(properties(a={"allOf": [{"enum": [1, 2, 3]}, {"enum": [2, 3, 4]}]}), "a").values == [2, 3]


@pytest.mark.parametrize(
    ("schema", "value", "allowed"),
    [
        pytest.param({"type": "integer"}, Decimal("5.0"), True, id="a whole number"),
        pytest.param({"type": "integer"}, Decimal("5.5"), False, id="a fraction"),
        pytest.param({"type": "number", "maximum": 5}, 6, False, id="above"),
        pytest.param({"type": "number", "exclusiveMinimum": 5}, 4, False, id="below"),
        pytest.param({"type": "number", "minimum": 1, "maximum": 5}, 3, True, id="between"),
        pytest.param({"enum": [1, 2]}, Decimal("1.0"), True, id="listed"),
        pytest.param({"type": "string"}, 1, False, id="a number for a string"),
        pytest.param({"type": "array"}, [1], True, id="a list"),
        pytest.param({"type": "object"}, {}, True, id="an object"),
        pytest.param({"type": "string"}, True, False, id="a boolean for a string"),
        pytest.param({"type": 5}, "x", True, id="a type that means nothing"),
    ],
)
def test_which_values_are_allowed(schema: dict[str, Any], value: object, allowed: bool) -> None:
    assert argument(properties(a=schema), "a").allows(value) is allowed


def test_bounds_are_those_of_the_widest_alternative() -> None:
    schema = {
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": 5}, {"type": "number", "minimum": 3, "maximum": 9}]
    }
    assert argument(properties(a=schema), "a").bounds == (1, 9)
    assert argument(properties(a={"anyOf": [*schema["anyOf"], {"type": "integer"}]}), "a").bounds == (None, None)


def test_references_that_multiply_are_not_all_followed() -> None:
    deep = {f"n{n}": {"anyOf": [{"$ref": f"#/$defs/n{n + 1}"}] * 9} for n in range(40)} | {"n40": {"type": "string"}}
    assert argument({"$defs": deep, "properties": {"a": {"$ref": "#/$defs/n0"}}}, "a.b").exists
