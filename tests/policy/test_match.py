"""Checks which names a pattern means, which of two patterns decides, and when neither does."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.policy.match import PatternError, build_table, compile_pattern, conflicts, overlap

WILD = st.text(alphabet="ab*?", max_size=7)
NAMES = st.text(alphabet="ab*?\n", max_size=8)
SHORT_NAMES = tuple("".join(letters) for size in range(8) for letters in product("ab", repeat=size))


def obviously_matches(pattern: str, name: str) -> bool:
    """Match the way the words say it, with no thought of time."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(obviously_matches(pattern[1:], name[start:]) for start in range(len(name) + 1))
    return bool(name) and pattern[0] in {"?", name[0]} and obviously_matches(pattern[1:], name[1:])


@given(WILD, NAMES)
def test_the_fast_matcher_agrees_with_the_obvious_one(pattern: str, name: str) -> None:
    assert compile_pattern(pattern).matches(name) == obviously_matches(pattern, name)


@given(st.text(alphabet="ab*?", max_size=4), st.text(alphabet="ab*?", max_size=4))
def test_overlap_agrees_with_trying_every_short_name(a: str, b: str) -> None:
    # Two patterns of four tokens that share a name share one of at most seven characters.
    tried = any(compile_pattern(a).matches(name) and compile_pattern(b).matches(name) for name in SHORT_NAMES)
    assert overlap(compile_pattern(a), compile_pattern(b)) == tried
    assert overlap(compile_pattern(b), compile_pattern(a)) == tried


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        pytest.param("list_*", "list_", True, id="a star may stand for nothing"),
        pytest.param("list_*", "list_a/b\nc", True, id="a star crosses slashes and line breaks"),
        pytest.param("list_*", "my_list_x", False, id="the whole name has to match"),
        pytest.param("List", "list", False, id="case matters"),
        pytest.param("a?c", "ac", False, id="a question mark is one character"),
        pytest.param("a?c", "a\N{GRINNING FACE}c", True, id="any one character"),
        pytest.param(r"a\*", "a*", True, id="an escaped star is a star"),
        pytest.param(r"a\*", "ab", False, id="and no wildcard"),
        pytest.param(r"\*\?*", "*?z", True, id="escapes beside a wildcard"),
        pytest.param(r"\@read", "@read", True, id="an escaped at sign begins a name"),
        pytest.param("a@b", "a@b", True, id="an at sign further on needs no escape"),
        pytest.param("a\\\\b", "a\\b", True, id="an escaped backslash"),
        pytest.param("a.c", "abc", False, id="a dot is a dot"),
        pytest.param("", "", True, id="the empty name"),
    ],
)
def test_a_pattern_means_whole_case_sensitive_names(pattern: str, name: str, expected: bool) -> None:
    assert compile_pattern(pattern).matches(name) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a\\b", "`\\b` escapes nothing", id="an escape of a letter"),
        pytest.param("a\\", "`\\` escapes nothing", id="an escape at the end"),
        pytest.param("@reed", "for a tool of that name write `\\@reed`", id="a leading at sign"),
    ],
)
def test_what_is_no_pattern_says_why(text: str, message: str) -> None:
    with pytest.raises(PatternError) as raised:
        compile_pattern(text)
    assert message in str(raised.value)


@pytest.mark.parametrize("pattern", ["*" + "a" * 50 + "b", "*a" * 50 + "b", "*?a*?a*?a*b", "a*" * 50 + "b"])
def test_hostile_names_are_matched_in_no_time(pattern: str) -> None:
    # A matcher that backtracks would not come back from any of these.
    assert not compile_pattern(pattern).matches("a" * 100_000)


def test_a_pattern_knows_what_it_is_made_of() -> None:
    pattern = compile_pattern(r"a\*b**c?")
    assert (pattern.prefix, pattern.literals, pattern.is_exact, pattern.is_everything) == ("a*b", 4, False, False)
    assert compile_pattern("**").is_everything
    assert compile_pattern(r"\*").is_exact


@pytest.mark.parametrize(
    ("patterns", "name", "winner"),
    [
        pytest.param(["a*", "abc"], "abc", "abc", id="the exact name outranks every glob"),
        pytest.param(["*", "?*"], "x", "?*", id="the star comes last"),
        pytest.param(["a*", "*bcd"], "abcd", "*bcd", id="more literal characters"),
        pytest.param(["*b", "a*"], "ab", "a*", id="as many, and a longer literal prefix"),
        pytest.param(["*b", "a*"], "x", None, id="nothing matches"),
    ],
)
def test_the_most_specific_entry_decides_whatever_the_order(patterns: list[str], name: str, winner: str | None) -> None:
    for ordered in (patterns, patterns[::-1]):
        assert build_table((compile_pattern(text), text) for text in ordered).find(name) == winner


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        pytest.param(["a*c?", "a*?d"], [("a*c?", "a*?d")], id="equal rank and a common name"),
        pytest.param(["a*c", "a*d"], [], id="equal rank and no common name"),
        pytest.param(["a*", "b*"], [], id="different prefixes"),
        pytest.param(["*", "**"], [("*", "**")], id="the same star twice"),
        pytest.param([r"a\@b", "a@b"], [(r"a\@b", "a@b")], id="the same name in two spellings"),
        pytest.param(["a", "a*"], [], id="an exact name and a glob"),
        pytest.param(["*", "?*"], [], id="a star and something that is more specific"),
        pytest.param(["a*", "a*b"], [], id="one prefix, and more literal characters"),
        pytest.param(["a*", "*b"], [], id="as many literal characters, and a longer prefix"),
    ],
)
def test_ties_are_found_only_where_a_name_could_be_meant_by_both(
    patterns: list[str], expected: list[tuple[str, str]]
) -> None:
    found = conflicts(compile_pattern(text) for text in patterns)
    assert [(a.text, b.text) for a, b in found] == expected


@given(st.lists(WILD, unique=True, max_size=6), NAMES, st.randoms(use_true_random=False))
def test_without_conflicts_the_order_of_entries_never_matters(texts: list[str], name: str, random: Random) -> None:
    patterns = [compile_pattern(text) for text in texts]
    if conflicts(patterns):
        return
    shuffled = random.sample(patterns, len(patterns))
    assert build_table((p, p.text) for p in patterns).find(name) == build_table((p, p.text) for p in shuffled).find(
        name
    )
