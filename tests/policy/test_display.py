"""What people are shown of a JSON value is the value, and nothing in it hides."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.policy.display import readable, visible_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def parsed(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


@given(VALUES)
def test_what_is_shown_is_json_of_the_same_value(value: Any) -> None:
    assert parsed(readable(value)) == value


@given(VALUES)
def test_only_printable_characters_are_shown_and_lines_that_json_begins(value: Any) -> None:
    assert all(line.isprintable() for line in readable(value).split("\n"))


@pytest.mark.parametrize(
    ("text", "shown"),
    {
        "a newline": ("a\nb", "a\\nb"),
        "an escape sequence": ("\x1b[2K", "\\u001b[2K"),
        "another direction": ("\u202egnp.exe", "\\u202egnp.exe"),
        "a line separator": ("a\u2028b", "a\\u2028b"),
        "beyond the first plane": ("\U000e0041", "\\udb40\\udc41"),
        "what everybody reads": ("Größe 大", "Größe 大"),
        "an accent on its letter": ("e\u0301", "e\u0301"),
        "an accent on nothing": ("1\u0301", "1\\u0301"),
    }.values(),
)
def test_what_nobody_sees_is_escaped(text: str, shown: str) -> None:
    assert visible_text(text) == shown


def test_numbers_are_shown_as_exactly_as_they_came() -> None:
    assert readable({"amount": Decimal("1.10"), "n": 2**70, "list": [Decimal("1e-400")], "none": [], "empty": {}}) == (
        '{\n  "amount": 1.10,\n  "n": 1180591620717411303424,\n  "list": [\n    1E-400\n  ],\n  "none": [],\n  "empty": {}\n}'
    )
