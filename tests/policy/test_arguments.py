"""Checks what a JSON Schema in a policy accepts, and which ones do not load."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mcpguard.errors import PolicyError
from mcpguard.policy.arguments import compile_schema
from mcpguard.policy.compile import compile_policy
from mcpguard.policy.decision import ToolCall
from mcpguard.policy.evaluate import evaluate
from mcpguard.policy.model import PolicyFile

Json = dict[str, object]


def document(schema: object) -> PolicyFile:
    return PolicyFile.model_validate({"version": "1", "tools": {"t": {"arguments": schema}}})


def accepts(schema: Json, arguments: Json) -> bool:
    return evaluate(compile_policy(document(schema)), ToolCall("t", arguments)).effect == "allow"


def of(schema: Json) -> Json:
    return {"properties": {"x": schema}}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        pytest.param({"minLength": 2}, ["ab"], ["a", 5, None, ["a", "b"]], id="a keyword of strings"),
        pytest.param({"pattern": "^a+$"}, ["aa"], ["b", 5], id="a pattern"),
        pytest.param({"maximum": 5}, [5, Decimal("4.9")], [6, "5", True], id="a keyword of numbers"),
        pytest.param({"minItems": 1}, [[1]], [[], "a", {}], id="a keyword of lists"),
        pytest.param({"required": ["a"]}, [{"a": 1}], [{}, [], "a"], id="a keyword of objects"),
        pytest.param({"format": "date"}, ["2026-01-31"], ["2026-13-31", 5], id="a format"),
        pytest.param({"type": ["string", "null"], "minLength": 2}, ["ab", None], ["a", 5], id="a type that is given"),
        pytest.param({"type": "integer", "minimum": 1}, [1, Decimal("1.0")], [0, Decimal("1.5"), "1"], id="integers"),
        pytest.param({"not": {"pattern": "rm"}}, ["ls"], ["rm", 5, ["rm"]], id="under not, doubt is refused too"),
        pytest.param({"not": {"not": {"minLength": 2}}}, ["ab"], ["a", 5], id="twice not"),
        pytest.param(
            {"if": {"pattern": "^a"}, "then": {"minLength": 3}}, ["abc", "b"], ["a", 5], id="then, where if may hold"
        ),
        pytest.param(
            {"if": {"pattern": "^a"}, "else": {"minLength": 3}}, ["a", "bcd"], ["b", 5], id="else, where if may fail"
        ),
        pytest.param({"anyOf": [{"minLength": 2}, {"minimum": 3}]}, ["ab", 3], ["a", 2, None], id="anyOf"),
        pytest.param({"items": {"minLength": 2}}, [["ab"], []], [["a"], [5], "ab"], id="items"),
        pytest.param({"prefixItems": [{"const": 1}]}, [[1, 2]], [[2]], id="prefixItems"),
        pytest.param({"enum": ["a", 1]}, ["a", 1, Decimal("1.0")], ["A", "1"], id="enum"),
        pytest.param({"additionalProperties": False}, [{}], [{"a": 1}, 5], id="no other properties"),
        pytest.param({"allOf": [True, {"type": "string"}]}, ["a"], [5], id="true is a schema"),
    ],
)
def test_a_keyword_implies_the_type_that_it_judges(schema: Json, good: list[object], bad: list[object]) -> None:
    for value in good:
        assert accepts(of(schema), {"x": value}), value
    for value in bad:
        assert not accepts(of(schema), {"x": value}), value


def test_a_reference_stays_inside_the_document() -> None:
    schema: Json = {"properties": {"x": {"$ref": "#/$defs/a~1b"}}, "$defs": {"a/b": {"minLength": 2}}}
    assert accepts(schema, {"x": "ab"})
    assert not accepts(schema, {"x": 5})


def test_the_dialect_may_be_named_and_remarks_may_stand_anywhere() -> None:
    schema: Json = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "t",
        "properties": {"x": {"$comment": "c", "description": "d", "default": 1}},
    }
    assert accepts(schema, {"x": "anything"})


@pytest.mark.parametrize(
    ("schema", "place", "words"),
    [
        pytest.param({"minLenght": 1}, "/minLenght", "did you mean `minLength`?", id="an unknown keyword"),
        pytest.param({"qqqqq": 1}, "/qqqqq", "unknown keyword `qqqqq` in `arguments`", id="a very unknown keyword"),
        pytest.param(of({"foo": 1}), "/properties/x/foo", "unknown keyword `foo`", id="deeper"),
        pytest.param({"$id": "x"}, "/$id", "unknown keyword `$id`", id="an id"),
        pytest.param({"$ref": "http://x/y"}, "/$ref", "stays inside the document", id="a reference to elsewhere"),
        pytest.param({"$ref": "#/$defs/a"}, "", "does not exist", id="a reference to nothing"),
        pytest.param({"not": {"$ref": "#"}}, "/not/$ref", "write the schema out", id="a reference under not"),
        pytest.param(
            {"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema", "of the dialect", id="dialect"
        ),
        pytest.param(of({"pattern": "("}), "/properties/x/pattern", "linear engine", id="no pattern"),
        pytest.param(
            {"patternProperties": {"(": {}}}, "/patternProperties/(", "linear engine", id="no pattern as a key"
        ),
        pytest.param(of({"format": "nonsense"}), "/properties/x/format", "unknown format `nonsense`", id="a format"),
        pytest.param(of({"minLength": -1}), "/properties/x/minLength", "less than the minimum", id="a wrong value"),
        pytest.param({"properties": 5}, "/properties", "`arguments`", id="properties that are none"),
        pytest.param({"allOf": 5}, "/allOf", "`arguments`", id="a list that is none"),
        pytest.param(of({"minLength": 1, "minimum": 1}), "/properties/x", "say which with `type`", id="two types"),
        pytest.param(
            of({"type": "number", "minLength": 1}), "/properties/x/minLength", "does not allow", id="the other type"
        ),
        pytest.param({"then": {}}, "", "mean nothing without `if`", id="then without if"),
        pytest.param({"properties": {"x": 5}}, "/properties/x", "a schema is an object", id="no schema"),
        pytest.param({"minItems": 3}, "/minItems", "the arguments of a call are an object", id="not of an object"),
    ],
)
def test_a_schema_that_says_something_else_than_it_seems_is_refused(schema: Json, place: str, words: str) -> None:
    with pytest.raises(PolicyError) as raised:
        compile_policy(document(schema))
    (found,) = raised.value.findings
    assert found.rule == f"/tools/t/arguments{place}"
    assert words in found.message


DESCRIBED: Json = {
    "type": "object",
    "description": "a parcel",
    "required": ["to"],
    "additionalProperties": False,
    "properties": {
        "to": {"anyOf": [{"pattern": "^a"}, {"$ref": "#/$defs/town"}], "description": "a town that we know"},
        "size": {"type": "integer", "maximum": 9},
        "description": {"maxLength": 3},
        "label": {"if": {"type": "string"}, "then": {"pattern": "^[a-z]+$", "description": "small letters"}},
        "note": {"not": {"pattern": "x", "description": "what is not wanted"}, "description": "no x"},
        "route": {"type": "array", "items": {"$ref": "#/$defs/town"}},
    },
    "$defs": {"town": {"enum": ["Rome", "Oslo"], "description": "Rome or Oslo"}},
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "the arguments: a parcel"),
        ({"to": "Rome", "other": 1}, "the arguments: a parcel"),
        ({"to": "Rome", "description": "long"}, 'args.description: "long" is longer than 3 characters'),
        ({"to": "Bonn"}, "args.to: a town that we know"),
        ({"to": "Rome", "size": 10}, "args.size: 10 is greater than the maximum of 9"),
        ({"to": "Rome", "label": "A"}, "args.label: small letters"),
        ({"to": "Rome", "note": "axa"}, "args.note: no x"),
        ({"to": "Rome", "route": ["Oslo", "Bonn"]}, "args.route.1: Rome or Oslo"),
        ({"to": "Rome", "size": 9, "label": "a", "note": "a", "route": []}, ""),
    ],
)
def test_what_a_schema_describes_is_told_in_its_words(arguments: Json, said: str) -> None:
    assert compile_schema(DESCRIBED).problem_in(arguments) == said


@pytest.mark.parametrize(
    ("name", "said"), [("0", "args.0: a number"), ("-1", "args.-1: a number"), ("01", "args.1: "), ("+1", "args.1: ")]
)
def test_properties_whose_names_are_numbers_are_judged_as_others(name: str, said: str) -> None:
    shape = compile_schema({"properties": {name: {"type": "integer", "description": "a number"}}})
    assert shape.problem_in({name: []}).startswith(said)
    assert not shape.problem_in({name: 1})


def test_one_problem_is_told() -> None:
    shape = compile_schema({"required": ["b"], "properties": {"memo": {"minLength": 10}}})
    assert shape.problem_in({"memo": "x", "b": 1}) == 'args.memo: "x" is shorter than 10 characters'
    assert shape.problem_in({"memo": "x" * 500}).startswith('the arguments: "b" is a required property')
    assert shape.problem_in({"memo": "x" * 10, "b": 1}) == ""
    assert shape.problem_in({"memo": "\ud800", "b": 1}) == "the arguments are no Unicode text"
    assert len(compile_schema({"properties": {"a": {"const": 1}}}).problem_in({"a": "x" * 500})) < 200


@pytest.mark.parametrize(
    ("schema", "arguments", "alias"),
    [
        pytest.param({"required": ["user_id"]}, {"user_id": 1, "userId": 1}, "args.userId", id="required"),
        pytest.param({"dependentRequired": {"a_b": ["c_d"]}}, {"CD": 1}, "args.CD", id="dependentRequired"),
        pytest.param({"dependentSchemas": {"a_b": {}}}, {"AB": 1}, "args.AB", id="dependentSchemas"),
        pytest.param({"dependentSchemas": {"a": of({})}}, {"X": 1}, "args.X", id="inside dependentSchemas"),
        pytest.param({"allOf": [of({})]}, {"X": 1}, "args.X", id="allOf"),
        pytest.param({"not": {"required": ["x"]}}, {"X": 1}, "args.X", id="not"),
        pytest.param(of(of({})), {"x": {"X": 1}}, "args.x.X", id="deeper"),
        pytest.param(of({"items": of({})}), {"x": [{}, {"X": 1}]}, "args.x.1.X", id="items"),
        pytest.param(of({"prefixItems": [of({})]}), {"x": [{"X": 1}]}, "args.x.0.X", id="prefixItems"),
        pytest.param({"additionalProperties": of({})}, {"y": {"X": 1}}, "args.y.X", id="additionalProperties"),
        pytest.param({"patternProperties": {"^y": of({})}}, {"y": {"X": 1}}, "args.y.X", id="patternProperties"),
        pytest.param({"properties": {"x": {"$ref": "#"}}}, {"x": {"x": {"X": 1}}}, "args.x.x.X", id="a recursive one"),
        pytest.param({"$ref": "#/allOf/0", "allOf": [of({})]}, {"X": 1}, "args.X", id="a reference into a list"),
    ],
)
def test_a_key_that_could_be_taken_for_a_property_is_refused(schema: Json, arguments: Json, alias: str) -> None:
    assert compile_schema(schema).problem_in(arguments).startswith(f"{alias} could be taken for")


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (of({}), {"y": {"X": 1}, "z": [{"X": 1}]}),
        (of({"prefixItems": [of({})]}), {"x": [{}, {"X": 1}]}),
        (of({"items": True}), {"x": [{"X": 1}]}),
    ],
)
def test_keys_elsewhere_are_nobodys_alias(schema: Json, arguments: Json) -> None:
    assert not compile_schema(schema).problem_in(arguments)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            {"required": ["b"], "properties": {"x": {"minLength": 3}, "y": {"minLength": 3}}},
            {"properties": {"y": {"minLength": 3}, "x": {"minLength": 3}}, "required": ["b"]},
        ),
        (of({"minLength": 3, "pattern": "^b"}), of({"pattern": "^b", "minLength": 3})),
    ],
)
def test_the_order_of_keys_does_not_change_what_is_told(one: Json, other: Json) -> None:
    wrong: Json = {"x": "a", "y": "a"}
    assert compile_schema(one).problem_in(wrong) == compile_schema(other).problem_in(wrong) != ""


def test_many_problems_take_no_longer_than_one() -> None:
    shape = compile_schema(of({"items": {"type": "integer"}}))
    assert shape.problem_in({"x": ["a"] * 200_000}) == 'args.x.0: "a" is not of type "integer"'


def test_what_is_remembered_of_a_recursive_schema_does_not_grow_with_the_arguments() -> None:
    shape = compile_schema({"properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}})
    value: Json = {}
    for _ in range(40):
        value = {"l": value, "r": {"l": {}}}
    assert not shape.problem_in(value)
    assert len(shape._keys._known) <= 2
