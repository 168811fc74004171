"""Checks how single values of a policy are read, and which are none."""

from __future__ import annotations

import pytest

from mcpguard.policy.notation import span_words, window_seconds, window_words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("second", 1, id="a word"),
        pytest.param("week", 604_800, id="the longest word"),
        pytest.param("90s", 90, id="seconds"),
        pytest.param("15m", 900, id="minutes"),
        pytest.param("6h", 21_600, id="hours"),
        pytest.param("7d", 604_800, id="days"),
        pytest.param("0s", None, id="no time at all"),
        pytest.param("s", None, id="a unit without a number"),
        pytest.param("", None, id="nothing"),
        pytest.param("60", None, id="a number without a unit"),
        pytest.param("1.5h", None, id="a fraction"),
        pytest.param("-1s", None, id="a negative number"),
        pytest.param("1 s", None, id="a space"),
        pytest.param("minutes", None, id="a plural"),
        pytest.param("\N{ARABIC-INDIC DIGIT ONE}s", None, id="digits of another script"),
        pytest.param("9" * 10 + "s", None, id="more digits than time has"),
    ],
)
def test_a_window_is_a_word_or_a_whole_number_with_a_unit(text: str, seconds: int | None) -> None:
    assert window_seconds(text) == seconds


@pytest.mark.parametrize("word", ["second", "minute", "hour", "day", "week"])
def test_a_window_that_has_a_word_is_told_by_it(word: str) -> None:
    seconds = window_seconds(word)
    assert seconds is not None
    assert window_words(seconds) == word
    assert window_words(seconds + 1) == f"{seconds + 1} seconds"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (61, "61 seconds"),
        (7200, "2 hours"),
        (86_400, "1 day"),
        (1_209_600, "2 weeks"),
    ],
)
def test_a_stretch_of_time_is_written_in_its_largest_unit(seconds: int, words: str) -> None:
    assert span_words(seconds) == words
