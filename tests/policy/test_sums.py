"""Checks sums in sliding and calendar windows against a model that keeps everything."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.policy.limits import EXACT_UP_TO, NS_PER_S, BucketLog, ExactLog
from mcpguard.policy.sums import Amount, CalendarSum, SlidingSum, exact, summing

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = st.lists(st.tuples(st.integers(0, 9), st.one_of(st.integers(0, 5), st.fractions(0, 5))), max_size=50)


@settings(deadline=None)
@given(STEPS, st.integers(1, 20), st.integers(0, 9))
def test_a_sliding_sum_agrees_with_a_diary(steps: list[tuple[int, Amount]], window: int, most: int) -> None:
    sliding, diary, now = SlidingSum(window), list[tuple[int, Amount]](), 0

    def live(now: int) -> Amount:
        return sum((amount for at, amount in diary if now < at + window), Fraction(0))

    for step, amount in steps:
        now += step
        fits = live(now) + amount <= most
        assert sliding.fits(now, window, most, amount) is fits
        assert sliding.remaining(now, window, most) == int(max(0, most - live(now)))
        wait = sliding.retry_after(now, window, most, amount)
        if amount > most:
            assert wait is None
        else:
            assert wait == next(wait for wait in range(window + 1) if live(now + wait) + amount <= most)
        if fits:
            sliding.add(now, amount)
            diary.append((now, amount))


@settings(deadline=None)
@given(STEPS, st.integers(1, 20), st.integers(0, 9), st.sampled_from([1, EXACT_UP_TO]), st.integers(0, 9))
def test_taken_back_a_sliding_sum_is_as_it_was_but_for_the_width_of_a_place(
    steps: list[tuple[int, Amount]], window: int, most: int, scale: int, amount: int
) -> None:
    window *= scale
    sliding, now = SlidingSum(window), 0
    for step, each in steps:
        now += step
        if sliding.fits(now, window, most, each):
            sliding.add(now, each)
    before, wait = sliding.remaining(now, window, most), sliding.retry_after(now, window, most, amount)
    for each in (Fraction(amount, 3), amount):
        sliding.add(now, each)
    for each in (Fraction(amount, 3), amount):
        sliding.take_back(now, window, each)
    assert sliding.remaining(now, window, most) == before
    after = sliding.retry_after(now, window, most, amount)
    assert (after is None) == (wait is None)
    assert (wait or 0) <= (after or 0) <= (wait or 0) + window // EXACT_UP_TO


@given(st.lists(st.tuples(st.integers(-90, 90), st.integers(0, 5)), max_size=30), st.integers(0, 9), st.integers(1, 5))
def test_taken_back_a_calendars_sum_is_as_it_was_and_never_less(
    steps: list[tuple[int, int]], most: int, amount: int
) -> None:
    calendar, now, latest, window = CalendarSum(), 10**4, 0, 60
    for step, each in steps:
        now = max(0, now + step)
        latest = max(latest, now)
        if not calendar.fits(now, window, most, each):
            continue
        before = calendar.remaining(now, window, 99), calendar.retry_after(now, window, most, amount)
        calendar.add(now, each)
        calendar.take_back(now, window, each)
        after = calendar.remaining(now, window, 99), calendar.retry_after(now, window, most, amount)
        # A clock that was set back since leaves the charge as it is.
        assert after == before or (now // window < latest // window and after[0] == before[0] - each)


def test_sums_are_exact() -> None:
    sliding = SlidingSum(10**12)
    for now in range(1000):
        sliding.add(now * 10**8, exact(Decimal("0.1")))
    sliding.add(10**11, exact(Decimal("1e-300")))
    assert not sliding.fits(10**11, 10**12, 100, 0)
    assert sliding.fits(10**11, 10**12, 101, exact(Decimal("0.9")))
    assert exact(5) == 5


def test_a_log_of_calls_becomes_a_sum_of_them() -> None:
    window = 10 * EXACT_UP_TO
    for log in (ExactLog(window, 5), BucketLog(window)):
        for now in (0, 4, 100):
            log.add(now)
        sliding = summing(log, window)
        assert isinstance(sliding, SlidingSum)
        assert summing(sliding, window) is sliding
        assert sliding.remaining(100, window, 5) == 2
        assert [amount for _, amount in summing(sliding, window).events()] == [2, 1]
        assert sliding.remaining(window + 4, window, 5) == 4
        assert sliding.serves(window, 10**9)
        assert not sliding.serves(window + 1, 1)
        assert sliding.widened(window + 1, 1) is sliding
        assert sliding.serves(window + 1, 1)


def test_arrivals_that_share_a_place_count_until_the_latest_of_them_is_gone() -> None:
    window = 10 * EXACT_UP_TO
    sliding = SlidingSum(window)
    for now in (0, 4, 10):  # a place is ten wide
        sliding.add(now, 1)
    assert not sliding.fits(window + 9, window, 3, 1)
    assert sliding.fits(window + 10, window, 3, 1)


def test_a_shorter_window_counts_less() -> None:
    sliding = SlidingSum(100)
    sliding.add(0, 2)
    sliding.add(50, 3)
    assert sliding.remaining(60, 20, 10) == 7
    assert sliding.remaining(60, 100, 10) == 5


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("seconds", "last", "first"),
    [
        pytest.param(60, "2026-03-01T10:00:59", "2026-03-01T10:01:00", id="a minute"),
        pytest.param(3600, "2026-03-01T10:59:59", "2026-03-01T11:00:00", id="an hour"),
        pytest.param(86_400, "2026-02-28T23:59:59", "2026-03-01T00:00:00", id="a day"),
        pytest.param(604_800, "2026-03-01T23:59:59", "2026-03-02T00:00:00", id="a week, from Monday"),
    ],
)
def test_a_calendar_window_ends_with_the_calendars(seconds: int, last: str, first: str) -> None:
    window = seconds * 10**9
    present = CalendarSum()
    assert present.fits(at(last), window, 2, 2)
    present.add(at(last), 2)
    assert not present.fits(at(last), window, 2)
    assert present.retry_after(at(last), window, 2) == 10**9
    assert present.retry_after(at(last), window, 2, 3) is None
    assert present.remaining(at(last), window, 3) == 1
    assert present.fits(at(first), window, 2)
    assert present.retry_after(at(first), window, 2) == 0


def test_a_wall_clock_that_is_set_back_keeps_the_window() -> None:
    window = 86_400 * 10**9
    present = CalendarSum()
    assert present.fits(at("2026-03-02T01:00:00"), window, 1)
    present.add(at("2026-03-02T01:00:00"))
    assert not present.fits(at("2026-03-01T23:00:00"), window, 1)
    assert present.retry_after(at("2026-03-01T23:00:00"), window, 1) == 25 * 3600 * 10**9
    assert present.fits(at("2026-03-03T00:00:00"), window, 1)


def test_a_calendar_serves_every_limit() -> None:
    present = CalendarSum()
    assert present.serves(1, 1)
    assert present.widened(1, 1) is present
    assert not list(present.events())
    assert summing(present, 1) is present


@pytest.mark.parametrize(
    "make",
    [lambda: SlidingSum(60 * NS_PER_S), CalendarSum, lambda: BucketLog(60 * NS_PER_S)],
    ids=["sliding", "calendar", "buckets"],
)
def test_what_was_taken_back_is_gone(make: Callable[[], SlidingSum | CalendarSum | BucketLog]) -> None:
    log = make()
    assert log.is_empty()
    assert log.fits(5, 60 * NS_PER_S, 3)
    log.add(5)
    assert not log.is_empty()
    log.take_back(5, 60 * NS_PER_S)
    assert log.is_empty()
