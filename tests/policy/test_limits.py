"""Checks the logs of admitted calls against a model that keeps everything and counts it anew each time."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcpguard.policy.limits import EXACT_UP_TO, BucketLog, ExactLog, Log, open_log

STEPS = st.lists(st.integers(min_value=0, max_value=12), max_size=60)
WINDOWS = st.integers(min_value=1, max_value=30)
MAXIMA = st.integers(min_value=0, max_value=8)


class Diary:
    """The obvious model: every instant that was ever admitted."""

    def __init__(self) -> None:
        self.instants: list[int] = []

    def live(self, now: int, window: int) -> int:
        return sum(1 for instant in self.instants if now < instant + window)

    def wait(self, now: int, window: int, most: int) -> int | None:
        if most == 0:
            return None
        return next(wait for wait in range(window + 1) if self.live(now + wait, window) < most)


@given(STEPS, WINDOWS, MAXIMA, st.booleans())
@example([0, 0, 5, 5, 5, 5], 5, 1, True)
@example([0, 1, 9, 1, 9, 1], 10, 2, True)
def test_the_exact_log_agrees_with_a_diary(steps: list[int], window: int, most: int, at_once: bool) -> None:
    log, diary, now = ExactLog(window, most), Diary(), 0
    for step in steps:
        now += step
        fits = diary.live(now, window) < most
        assert log.fits(now, window, most) is fits
        assert log.retry_after(now, window, most) == diary.wait(now, window, most)
        assert log.remaining(now, window, most) == max(0, most - diary.live(now, window))
        if at_once:
            assert log.take(now, window, most) is fits
        elif fits:
            log.add(now)
        if fits:
            diary.instants.append(now)
    assert len(list(log.events())) <= most


@given(STEPS, st.lists(st.tuples(WINDOWS, MAXIMA), min_size=1, max_size=4), st.data())
def test_a_log_that_was_widened_for_several_limits_is_exact_for_each(
    steps: list[int], limits: list[tuple[int, int]], data: st.DataObject
) -> None:
    log: Log = ExactLog(1, 0)
    for window, most in limits:
        log = log.widened(window, most)
    assert all(log.serves(window, most) for window, most in limits)
    diary, now = Diary(), 0
    for step in steps:
        now += step
        window, most = data.draw(st.sampled_from(limits))
        fits = diary.live(now, window) < most
        assert log.fits(now, window, most) is fits
        assert log.retry_after(now, window, most) == diary.wait(now, window, most)
        if fits:
            log.add(now)
            diary.instants.append(now)


@pytest.mark.parametrize("make", [ExactLog, lambda window, _: BucketLog(window)], ids=["exact", "buckets"])
@given(steps=STEPS, window=WINDOWS, most=MAXIMA, scale=st.sampled_from([1, EXACT_UP_TO, 3 * EXACT_UP_TO + 1]))
def test_no_stretch_of_the_window_holds_more_than_was_allowed(
    make: object, steps: list[int], window: int, most: int, scale: int
) -> None:
    assert callable(make)
    window *= scale
    log: Log = make(window, most)
    admitted: list[int] = []
    now = 0
    for step in steps:
        now += step
        if log.fits(now, window, most):
            log.add(now)
            admitted.append(now)
    for start in admitted:
        assert sum(start <= instant < start + window for instant in admitted) <= most


@given(STEPS, st.lists(WINDOWS, min_size=1, max_size=3), MAXIMA, st.booleans(), st.data())
def test_buckets_of_no_width_agree_with_a_diary_whichever_window_is_asked_about(
    steps: list[int], windows: list[int], most: int, at_once: bool, data: st.DataObject
) -> None:
    log, diary, now = BucketLog(max(windows)), Diary(), 0
    for step in steps:
        now += step
        window = data.draw(st.sampled_from(windows))
        fits = diary.live(now, window) < most
        assert log.fits(now, window, most) is fits
        assert log.retry_after(now, window, most) == diary.wait(now, window, most)
        assert log.remaining(now, window, most) == max(0, most - diary.live(now, window))
        if at_once:
            assert log.take(now, window, most) is fits
        elif fits:
            log.add(now)
        if fits:
            diary.instants.append(now)


@given(STEPS, st.tuples(WINDOWS, MAXIMA), st.integers(0, 4), st.integers(1, 4), st.integers(0, 40))
def test_taken_back_an_exact_log_is_as_it_was(
    steps: list[int], limit: tuple[int, int], more: int, times: int, later: int
) -> None:
    window, most = limit
    # More is remembered than this limit asks for, as under several limits.
    log, now = ExactLog(window + 9, most + more), 0
    for step in steps:
        now += step
        log.take(now, window, most)
    asked = [(window, most), (window, most + more)]
    if times == 1:
        asked.append((window + 9, most + more))
    ask = [(now + wait, *each) for wait in sorted({0, later}) for each in asked]
    before = [(log.remaining(*each), log.retry_after(*each)) for each in ask]
    taken = sum(log.take(now, window, most) for _ in range(times))
    for _ in range(taken):
        log.take_back(now, window)
    assert [(log.remaining(*each), log.retry_after(*each)) for each in ask] == before
    assert log.is_empty() == (not steps or most == 0)


@pytest.mark.parametrize("at_once", [True, False])
def test_what_had_to_make_room_counts_again_when_that_is_taken_back(at_once: bool) -> None:
    log = ExactLog(100, 3)
    for now in (1, 2, 3):
        log.add(now)
    # A limit with a shorter window admits what the one with the longer window does not remember to be too much.
    if at_once:
        assert log.take(10, 5, 3)
    else:
        log.add(10)
    assert [instant for instant, _ in log.events()] == [2, 3, 10]
    log.take_back(10, 5)
    assert [instant for instant, _ in log.events()] == [1, 2, 3]
    assert (log.fits(100, 100, 3), log.fits(101, 100, 3)) == (False, True)


def test_where_nothing_had_to_make_room_nothing_comes_back() -> None:
    log = ExactLog(100, 3)
    log.add(1)
    assert log.take(10, 5, 1)
    log.take_back(10, 5)
    assert [instant for instant, _ in log.events()] == [1]


@pytest.mark.parametrize("make", [ExactLog, lambda window, _: BucketLog(window)], ids=["exact", "buckets"])
def test_from_an_empty_log_nothing_is_taken_back(make: object) -> None:
    assert callable(make)
    log: Log = make(10, 5)
    log.take_back(0, 10)
    assert (log.is_empty(), log.remaining(0, 10, 5)) == (True, 5)


@given(STEPS, WINDOWS, MAXIMA, st.sampled_from([1, EXACT_UP_TO, 3 * EXACT_UP_TO + 1]), st.integers(1, 4))
def test_taken_back_a_bucket_log_is_as_it_was_but_for_the_width_of_a_bucket(
    steps: list[int], window: int, most: int, scale: int, times: int
) -> None:
    window *= scale
    log, now = BucketLog(window), 0
    for step in steps:
        now += step
        log.take(now, window, most)
    before, wait = log.remaining(now, window, most), log.retry_after(now, window, most)
    taken = sum(log.take(now, window, most) for _ in range(times))
    for _ in range(taken):
        log.take_back(now, window)
    assert log.remaining(now, window, most) == before
    after = log.retry_after(now, window, most)
    assert (after is None) == (wait is None)
    assert (wait or 0) <= (after or 0) <= (wait or 0) + window // EXACT_UP_TO
    assert sum(amount for _, amount in log.events()) == log._total - log._forgotten


@pytest.mark.parametrize("make", [ExactLog, lambda window, _: BucketLog(window)], ids=["exact", "buckets"])
def test_what_others_added_since_stays_and_what_is_not_there_cannot_be_taken_back(make: object) -> None:
    assert callable(make)
    log: Log = make(10, 5)
    for now in (1, 3, 5):
        log.add(now)
    for now in (3, 3, 2, 0, 9):
        log.take_back(now, 10)
    assert [instant for instant, _ in log.events()] == [1, 5]
    assert [log.remaining(now, 10, 5) for now in (5, 11, 15)] == [3, 4, 5]


def test_an_event_stops_counting_exactly_when_the_window_has_passed() -> None:
    log = ExactLog(100, 1)
    log.add(5)
    assert (log.fits(104, 100, 1), log.fits(105, 100, 1)) == (False, True)
    assert (log.retry_after(104, 100, 1), log.retry_after(105, 100, 1)) == (1, 0)
    for fresh in (ExactLog(100, 1), BucketLog(100)):
        assert [fresh.take(now, 100, 1) for now in (5, 104, 105)] == [True, False, True]


@pytest.mark.parametrize("at_once", [True, False])
def test_arrivals_that_share_a_bucket_count_until_the_latest_of_them_is_gone(at_once: bool) -> None:
    window = 10 * EXACT_UP_TO
    log = BucketLog(window)
    for now in (100, 104, 110):  # the bucket is ten wide
        assert log.fits(now, window, 3)
        if at_once:
            assert log.take(now, window, 3)
        else:
            log.add(now)
    assert not log.fits(window + 109, window, 3)
    assert log.retry_after(window + 100, window, 3) == 10
    assert log.remaining(window + 110, window, 3) == 3


def test_the_number_of_buckets_is_bounded() -> None:
    window = 4 * EXACT_UP_TO
    log = BucketLog(window)
    for now in range(3 * window // 2):
        if now % 2:
            assert log.take(now, window, 10**9)
        else:
            assert log.fits(now, window, 10**9)
            log.add(now)
    assert len(log._buckets) <= EXACT_UP_TO + 1
    assert log.remaining(3 * window // 2 - 1, window, 10**9) <= 10**9 - window


def test_buckets_are_as_wide_as_the_longest_window_wants_them() -> None:
    log = BucketLog(EXACT_UP_TO)
    assert log.widened(4 * EXACT_UP_TO, 1) is log
    for now in range(9):
        log.add(now)
    assert [amount for _, amount in log.events()] == [5, 4]


def test_large_limits_get_buckets_and_small_ones_are_exact() -> None:
    assert isinstance(open_log(1, EXACT_UP_TO), ExactLog)
    assert isinstance(open_log(1, EXACT_UP_TO + 1), BucketLog)


def test_a_log_keeps_its_events_when_a_limit_outgrows_it() -> None:
    log: Log = ExactLog(100, 2)
    log.add(1)
    log.add(2)
    log = log.widened(50, EXACT_UP_TO + 1)
    assert isinstance(log, BucketLog)
    assert log.serves(100, 10**9)
    assert not log.serves(101, 1)
    assert log.remaining(3, 100, 5) == 3
    assert log.widened(200, 1) is log
    assert log.serves(200, 1)


def test_buckets_know_that_none_is_never() -> None:
    assert BucketLog(10).retry_after(0, 10, 0) is None
    assert not BucketLog(10).fits(0, 10, 0)
