"""Equal JSON values share one text; different ones never do."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.policy.canonical import canonical, packed


def parsed(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


EQUAL = {
    "order of keys": ('{"a":1,"b":{"c":2,"d":3}}', '{"b":{"d":3,"c":2},"a":1}'),
    "white space": ('{"a":[1,2]}', ' { "a" : [ 1 , 2 ] } '),
    "whole numbers": ("5", "5.0"),
    "powers": ("5", "5e0"),
    "large powers": ("1e21", "1" + "0" * 21),
    "small powers": ("0.00001", "1e-5"),
    "fractions": ("1.5", "15e-1"),
    "trailing zeros": ("1.10", "1.1"),
    "zeros": ("0", "-0.0"),
    "zero powers": ("0e500", "0"),
    "escapes": ('"a"', '"\\u0061"'),
    "the largest double": ("1.7976931348623157e308", "17976931348623157" + "0" * 292),
}
DIFFERENT = {
    "a number and its text": ("5", '"5"'),
    "a number and a boolean": ("1", "true"),
    "null and nothing": ('{"a":null}', "{}"),
    "order of items": ("[1,2]", "[2,1]"),
    "nesting": ("[[1],2]", "[1,[2]]"),
    "one double, two numbers": ("9007199254740993", "9007199254740992"),
    "a last digit": ("0.1", "0.1000000000000000055511151231257827"),
    "Unicode forms": ('"\u00e9"', '"e\u0301"'),
    "signs": ("1", "-1"),
    "a key that imitates a structure": ('{"a\\":1,\\"b":2}', '{"a":1,"b":2}'),
}


@pytest.mark.parametrize(("one", "other"), EQUAL.values(), ids=EQUAL.keys())
def test_equal_values_share_one_text(one: str, other: str) -> None:
    assert canonical(parsed(one)) == canonical(parsed(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_different_values_have_different_texts(one: str, other: str) -> None:
    assert canonical(parsed(one)) != canonical(parsed(other))


NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**300), max_value=10**300)
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(VALUES)
def test_the_text_is_ascii_json_of_the_same_value(value: Any) -> None:
    text = canonical(value)
    assert text.isascii()
    assert "\n" not in text
    assert canonical(parsed(text)) == text


@given(NUMBERS, NUMBERS)
def test_numbers_share_a_text_exactly_if_they_are_equal(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (Decimal(one) == Decimal(other))


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers()))
def test_the_order_of_keys_never_matters(value: dict[str, int]) -> None:
    assert canonical(value) == canonical(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [{1, 2}, b"a", object(), [1, {2}]], ids=["a set", "bytes", "an object", "within"])
def test_what_is_no_json_raises(value: object) -> None:
    with pytest.raises(TypeError, match="not a JSON value"):
        canonical(value)


@given(VALUES, VALUES)
def test_packed_bytes_are_equal_exactly_if_the_texts_are(one: Any, other: Any) -> None:
    assert packed(one) == packed(parsed(canonical(one)))
    assert (packed(one) == packed(other)) == (canonical(one) == canonical(other))


@pytest.mark.parametrize(("one", "other"), [*EQUAL.values(), *DIFFERENT.values()])
def test_packed_bytes_tell_apart_what_the_texts_do(one: str, other: str) -> None:
    assert (packed(parsed(one)) == packed(parsed(other))) == (canonical(parsed(one)) == canonical(parsed(other)))


def test_a_lone_surrogate_packs_like_nothing_else() -> None:
    assert len({packed("\ud83d\ude00"), packed("\U0001f600"), packed("\ud83d"), packed("\ufffd")}) == 4


def test_only_json_values_are_packed() -> None:
    with pytest.raises(TypeError):
        packed({"a": object()})
