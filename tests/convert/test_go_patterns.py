"""Checks that patterns of Go find in our engine what they find in Go, by tables of what RE2 says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.convert.go_patterns import PatternProblem, translate
from mcpguard.policy.patterns import compile_regex

SAME = [
    "^feat/[a-z0-9-]+$",
    r"^[\w.-]+@example\.com$",
    "é+|a.b",
    r"(a|b)*?c{2,3}",
    r"^\d{4}-\d\d$",
    r"\/x\.y",
    "[^<>]",
]
WRITTEN = {
    r"\s": r"[\x09-\x0a\x0c-\x0d ]",
    r"\S": r"[^\x09-\x0a\x0c-\x0d ]",
    r"[\S]": r"[\x00-\x08\x0b\x0e-\x1f!-\u{10ffff}]",
    r"\bDROP\b": r"(?-u:\b)DROP(?-u:\b)",
    "(?i)ok": "[Oo][Kk\\u{212a}]",
    "(?i:a)b": "(?:[Aa])b",
    "a(?i)b|c": "a[Bb]|[Cc]",
    r"(?i)\w": r"[0-9A-Z_a-z\u{17f}\u{212a}]",
    "(?m)^a$": "(?m:^)a(?m:$)",
    "(?s).": "(?s:.)",
    "(?U)a*": "a*",
    "(?i-s)a": "[Aa]",
    r"\Aa\z": "^a$",
    r"\A*a": "(?:^)*a",
    "(?P<n>a)(?<m>b)": "(?:a)(?:b)",
    r"\Qa.b\E+": r"a\.b+",
    r"x\Q": "x",
    r"\Qa*": r"a\*",
    "a{,3}": r"a\{,3\}",
    "a{02}": r"a\{02\}",
    "{": r"\{",
    r"\<": "<",
    "[[:alpha:]_]": "[A-Za-z_]",
    "[[:^digit:]]": r"[\x00-/:-\u{10ffff}]",
    "[a&&b]": r"[a\x26\x26b]",
    "[!--]": r"[!-\x2d]",
    "[]a]": r"[\x5da]",
    r"\x{1F600}": "\N{GRINNING FACE}",
    r"\a\v": r"\x07\x0b",
    "(?i)1": "1",
    "(?i)\N{CJK UNIFIED IDEOGRAPH-4E00}": "\N{CJK UNIFIED IDEOGRAPH-4E00}",
}
WITHOUT = {
    "a**": "repeats what cannot be repeated",
    "*a": "repeats what cannot be repeated",
    "a|*": "repeats what cannot be repeated",
    "(": "no `)`",
    ")": "a `)` too many",
    "[a": "ends too early",
    "[": "ends too early",
    "\\": "ends too early",
    "[z-a]": "goes backwards",
    r"\p{L}": r"`\p`",
    r"\1": r"`\1`",
    r"\é": r"`\é`",
    r"[\b]": r"`\b`",
    "(?=a)": "begins with `(?=`",
    "(?i-)a": "a group `(?i-`",
    "(?P<a": "no `>`",
    "(?P<a!>b)": "a group `(?a!`",
    "[[:vowel:]]": "`[:vowel:]`",
    "a{1001}": "too often",
    "a{3,2}": "too often",
    "(?i)é": "not ASCII",
    "(?i)[\\x{100}-\\x{10000}]": "not ASCII",
    r"\x{}": r"`\x` without a number",
    r"\x{110000}": "no character",
    r"\x{d800}": "no character",
    "(a{1000}){1000}": "the engine here",
    r"[^\x00-\x{10FFFF}]": "without characters",
    "(" * 102 + ")" * 102: "nested too deeply",
}
FOUND = [
    (r"^\s$", "\x0b", False),
    (r"^\s$", "\N{NO-BREAK SPACE}", False),
    (r"^\s$", "\f", True),
    (r"\bfoo", "éfoo", True),
    (r"é\b ", "é ", False),
    (r"^.$", "\r", True),
    (r"^.$", "\n", False),
    (r"a$", "a\n", False),
    (r"(?m)a$", "a\nb", True),
    (r"^\d$", "\N{ARABIC-INDIC DIGIT THREE}", False),
    (r"(?i)k", "\N{KELVIN SIGN}", True),
    (r"(?i)[^a-k]", "\N{KELVIN SIGN}", False),
    (r"(?i)[^a-k]", "K", False),
    (r"^[^a]$", "\n", True),
]


@pytest.mark.parametrize("pattern", SAME)
def test_a_pattern_that_means_the_same_stays_as_it_is(pattern: str) -> None:
    assert translate(pattern) == pattern


@pytest.mark.parametrize(("pattern", "written"), WRITTEN.items(), ids=WRITTEN.keys())
def test_what_means_something_else_is_written_out(pattern: str, written: str) -> None:
    assert translate(pattern) == written


@pytest.mark.parametrize(("pattern", "why"), WITHOUT.items(), ids=[key[:20] for key in WITHOUT])
def test_a_pattern_without_a_counterpart_is_refused_and_says_why(pattern: str, why: str) -> None:
    with pytest.raises(PatternProblem, match=re.escape(why)):
        translate(pattern)


@pytest.mark.parametrize(("pattern", "text", "is_found"), FOUND)
def test_a_pattern_finds_what_it_finds_in_go(pattern: str, text: str, is_found: bool) -> None:
    assert compile_regex(translate(pattern))(text) is is_found


PIECES = st.recursive(
    st.sampled_from(
        ["a", "b", "-", ".", r"\.", r"\d", r"\w", r"\s", r"\b", "^", "$", "[a-c]", "[^b-]", r"[\d.]", r"\-"]
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,1}"])).map(lambda two: f"(?:{two[0]}){two[1]}"),
    ),
    max_leaves=6,
)


@given(PIECES, st.text(alphabet="abc-. 1\n\r\x0bé_", max_size=6))
def test_what_python_writes_alike_is_found_alike(pattern: str, text: str) -> None:
    python = pattern.replace("$", r"\Z").replace(r"\s", r"[\t\n\f\r ]")
    assert compile_regex(translate(pattern))(text) is (re.search(python, text, re.ASCII) is not None)
