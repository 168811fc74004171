"""Checks which values are equal for Go, which compares their printed texts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.convert.go_values import equals, printed
from support.intercept import equal, printed_double

CASES: dict[str, tuple[Any, tuple[object, ...], bool]] = {
    "text": ("main", ("main",), True),
    "text that is a number": ("5", ("5", 5), True),
    "text that is a fraction": ("0.5", ("0.5", Decimal("0.5")), True),
    "text that no number prints as": ("05", ("05",), True),
    "text of more digits than a double has": ("0.12345678901234567891", ("0.12345678901234567891",), True),
    "text that a number prints as only beyond a million": ("1000000", ("1000000",), True),
    "text with an exponent": ("1e+06", ("1e+06",), False),
    "text that is zero": ("0", ("0",), False),
    "text that looks like a list": ("[a b]", ("[a b]",), False),
    "text that looks like an object": ("map[a:1]", ("map[a:1]",), False),
    "text that is a truth": ("true", ("true", True), True),
    "text that is nil": ("<nil>", ("<nil>", None), True),
    "a number": (5, (5, "5"), True),
    "a large number": (1000000, (1000000, "1000000"), True),
    "a double": (Decimal("5.0"), (Decimal("5.0"), "5"), True),
    "a large double": (Decimal("1e6"), (Decimal("1e6"),), False),
    "a truth": (False, (False, "false"), True),
    "null": (None, (None, "<nil>"), True),
    "a list": (["a", 5], (["a", 5],), False),
    "an object": ({"a": None}, ({"a": None},), False),
}


@pytest.mark.parametrize(("value", "same", "complete"), CASES.values(), ids=CASES.keys())
def test_what_equals_a_value_is_known(value: Any, same: tuple[object, ...], complete: bool) -> None:
    found = equals(value)
    assert found is not None
    assert list(map(repr, found.values)) == list(map(repr, same))
    assert found.complete is complete


@pytest.mark.parametrize("value", [[1000000], [0], {"a": [0]}, [[Decimal("0.0")]]])
def test_a_list_with_numbers_that_print_otherwise_in_a_call_has_no_equal(value: Any) -> None:
    assert equals(value) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_printed_as_the_model_prints_it(number: float) -> None:
    text = printed(Decimal(repr(number)))
    assert text is None or text == printed_double(number)


@given(st.text(alphabet="0123456789.-e+", max_size=8), st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_said_to_equal_a_text_does(text: str, number: float) -> None:
    for value in (text, printed_double(number)):
        found = equals(value)
        assert found is not None
        assert all(equal(float(same) if isinstance(same, (int, Decimal)) else same, value) for same in found.values)
