"""Checks which patterns are said to be weaker than they look."""

from __future__ import annotations

import pytest

from mcpguard.policy.weak_patterns import weaknesses


@pytest.mark.parametrize(
    ("pattern", "codes"),
    [
        pytest.param("^a|b$", ["regex-alternation"], id="an anchor on each side of a bar"),
        pytest.param("^a$|b", ["regex-alternation"], id="one branch without anchors"),
        pytest.param("^(a|b)$", [], id="a bar inside a group"),
        pytest.param("^a$|^b$", [], id="every branch with anchors"),
        pytest.param(r"^a\|b$", [], id="an escaped bar"),
        pytest.param("^[a|b]$", [], id="a bar in a class"),
        pytest.param("^[]|]$", [], id="a bracket that opens a class"),
        pytest.param(r"^[^\]|]$", [], id="an escaped bracket in a class"),
        pytest.param("(?m)^a$", ["regex-multiline"], id="anchors of lines"),
        pytest.param("(?im:^a$)", ["regex-multiline"], id="anchors of lines in a group"),
        pytest.param("(?i)^a$", [], id="another flag"),
        pytest.param("a", ["regex-unanchored"], id="no anchors"),
        pytest.param("^a", ["regex-unanchored"], id="no end"),
        pytest.param("a$", ["regex-unanchored"], id="no beginning"),
        pytest.param("^a.*", [], id="an end that is said to be open"),
        pytest.param(".*a.*", [], id="both ends said to be open"),
        pytest.param(r"\Aa\z", [], id="other anchors"),
        pytest.param(r"^\^a\$", ["regex-unanchored"], id="escaped anchors are none"),
        pytest.param("^https://api.example.com/", ["regex-unanchored", "regex-dot"], id="a host"),
        pytest.param(r"^api\.example.com$", ["regex-dot"], id="the last dot of a host"),
        pytest.param(r"^api.example\.com$", ["regex-dot"], id="the first dot of a host"),
        pytest.param(r"^api\.example\.com$", [], id="a host written well"),
        pytest.param("^[a-z]+.comment$", [], id="an ending that is only the beginning of a word"),
        pytest.param("^a.*com$", [], id="a dot that is meant"),
    ],
)
def test_weaknesses_of_a_pattern_that_lets_through(pattern: str, codes: list[str]) -> None:
    assert [code for code, _ in weaknesses(pattern, accepts=True)] == codes


def test_a_pattern_that_refuses_may_be_found_anywhere() -> None:
    assert not list(weaknesses("password", accepts=False))
    assert [code for code, _ in weaknesses("^a|b", accepts=False)] == ["regex-alternation"]


@pytest.mark.parametrize(
    ("pattern", "said"), [("^a", "how a text ends"), ("a$", "how a text begins"), ("a", "what is around it")]
)
def test_it_is_said_which_anchor_is_missing(pattern: str, said: str) -> None:
    ((_, why),) = weaknesses(pattern, accepts=True)
    assert said in why
