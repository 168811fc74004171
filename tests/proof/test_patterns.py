"""Checks the reading of regular expressions against two engines: Python's, and the one that the guard judges by."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mcpguard.policy.patterns import compile_regex
from mcpguard.proof.patterns import found_in, texts_beside, texts_for

PIECES = st.sampled_from(
    ["a", "b", ".", "x", "[a-b]", "[^a]", "\\d", "\\w", "\\.", "\\b", "-", "[a-z-]", "\\s", "^", "$"]
)
PATTERNS = st.recursive(
    PIECES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4).map("".join)
        | st.builds(lambda one, other: f"({one}|{other})", inner, inner)
        | st.builds(
            lambda one, count: f"(?:{one}){count}", inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?"])
        )
    ),
    max_leaves=6,
)
TEXTS = st.text(st.sampled_from("abxAB.-1 _"), max_size=7)


@given(PATTERNS, TEXTS)
def test_a_pattern_is_found_where_others_find_it(pattern: str, text: str) -> None:
    found = found_in(pattern, text)
    assume(found is not None)
    assert found is bool(re.search(pattern, text, re.ASCII)) is compile_regex(pattern)(text)


@given(PATTERNS)
def test_texts_at_the_borders_are_on_their_sides(pattern: str) -> None:
    finds = compile_regex(pattern)
    assert all(map(finds, texts_for(pattern)))
    assert not any(map(finds, texts_beside(pattern)))


@pytest.mark.parametrize(
    ("pattern", "found", "beside"),
    [
        ("^(get|list)_x$", ["get_x", "list_x"], ["xget_x", "get_xx", "getx"]),
        (r"@example\.com$", ["@example.com"], ["@examplexcom", "@example.comx"]),
        (r"(?i)\b(drop|delete)\b", ["drop", "delete"], ["xdrop", "dropx"]),
        ("^[0-9]{3}$", ["111"], ["11", "111x"]),
        ("^arn:aws[a-z-]*:.+", ["arn:aws:a"], ["xarn:aws:a", "arn:aws:"]),
    ],
)
def test_every_alternative_and_every_anchor_has_a_text(pattern: str, found: list[str], beside: list[str]) -> None:
    assert set(found) <= set(texts_for(pattern))
    assert set(beside) <= set(texts_beside(pattern))


@pytest.mark.parametrize("pattern", ["\\p{L}", "(?<n>a)", "a++", "[[a]]", "(", "a{2000}", "\u00e9", "[a&&b]", "(?=a)"])
def test_what_is_not_read_is_not_said(pattern: str) -> None:
    assert found_in(pattern, "a") is None
    assert texts_for(pattern) == ()


def test_time_does_not_explode() -> None:
    assert found_in("^(a|a)*(a+)+$", "a" * 500 + "b") is False
    assert found_in("a", "\u00e9") is None
