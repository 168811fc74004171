"""What measured times are taken to mean, in figures and in words."""

from __future__ import annotations

import math

import pytest

from mcpguard.cli.cost import Compared, Cost, compare, duration, interval, merge_rounds, p99, percent, sentences, span

MIB = 1 << 20
AGAIN = "try again when this machine has less to do."


def compared(direct: float, added: float, noise: float, rounds: int = 20) -> Compared:
    return Compared(direct, direct + added, added, added - noise, added + noise, rounds, 1000)


REQUEST = compared(3.1, 0.04, 0.01)
START = compared(640, 9, 2)
UNSURE = compared(3.1, 0.04, 0.2)


# Sentences


def cost(
    request: Compared = REQUEST, start: Compared = START, ready: Compared | None = None, memory: int | None = 27 * MIB
) -> Cost:
    return Cost("a request (`ping`)", request, start, ready, memory)


SENTENCES = {
    "everything is measurable": (
        cost(),
        (
            "The guard adds 0.04 ms to a request (`ping`) that takes your server 3.1 ms (1.3 %), 9.0 ms to a start of 640 ms (1.4 %), "
            "and 27 MiB of memory. Below what a person or an agent notices."
        ),
    ),
    "no memory is known": (
        cost(memory=None),
        (
            "The guard adds 0.04 ms to a request (`ping`) that takes your server 3.1 ms (1.3 %) and 9.0 ms to a start of 640 ms (1.4 %). "
            "Below what a person or an agent notices."
        ),
    ),
    "tools are listed much later": (
        cost(ready=compared(640, 50, 5)),
        (
            "The guard adds 0.04 ms to a request (`ping`) that takes your server 3.1 ms (1.3 %), 9.0 ms to a start of 640 ms (1.4 %; "
            "50 ms until tools are listed), and 27 MiB of memory. Below what a person or an agent notices."
        ),
    ),
    "tools are listed hardly later": (
        cost(ready=compared(645, 10, 5)),
        (
            "The guard adds 0.04 ms to a request (`ping`) that takes your server 3.1 ms (1.3 %), 9.0 ms to a start of 640 ms (1.4 %), "
            "and 27 MiB of memory. Below what a person or an agent notices."
        ),
    ),
    "noise in requests": (
        cost(request=UNSURE),
        (
            "The guard adds 9.0 ms to a start of 640 ms (1.4 %) and 27 MiB of memory. What it adds to a request (`ping`) that takes "
            "your server 3.1 ms is not measurable here: the difference is smaller than the noise (-0.16 to +0.24 ms). Below what a "
            "person or an agent notices."
        ),
    ),
    "noise at the start": (
        cost(start=compared(640, 9, 400)),
        (
            "The guard adds 0.04 ms to a request (`ping`) that takes your server 3.1 ms (1.3 %) and 27 MiB of memory. What it adds to a "
            "start of 640 ms is not measurable here: the difference is smaller than the noise (-391 to +409 ms). Nobody notices that in "
            f"a request; at the start there is too much noise to say: {AGAIN}"
        ),
    ),
    "nothing but noise": (
        cost(request=compared(3.1, 0.04, 30), start=compared(640, 9, 400), memory=None),
        (
            "What it adds to a request (`ping`) that takes your server 3.1 ms is not measurable here: the difference is smaller than the "
            "noise (-30 to +30 ms). What it adds to a start of 640 ms is not measurable here: the difference is smaller than the noise "
            f"(-391 to +409 ms). There is too much noise to say whether anybody would notice: {AGAIN}"
        ),
    ),
    "too few rounds": (
        cost(request=compared(3.1, 0.04, 0, rounds=1), memory=None),
        (
            "The guard adds 9.0 ms to a start of 640 ms (1.4 %). What it adds to a request (`ping`) that takes your server 3.1 ms is not "
            "measurable here: 1 round cannot tell it from noise, 6 could. There is too much noise to say whether anybody would notice: "
            f"{AGAIN}"
        ),
    ),
    "a guard that seems to be quicker": (
        cost(request=compared(3.1, -0.2, 0.1), start=compared(640, -20, 5)),
        (
            "The guard adds 27 MiB of memory. A request (`ping`) was 0.20 ms quicker behind the guard, which says more about this "
            "machine than about the guard. The start was 20 ms quicker behind the guard, which says more about this machine than about "
            "the guard. Below what a person or an agent notices."
        ),
    ),
    "a start that takes longer": (
        cost(start=compared(80, 150, 20)),
        (
            "The guard adds 0.04 ms to a request (`ping`) that takes your server 3.1 ms (1.3 %), 150 ms to a start of 80 ms (188 %), and "
            "27 MiB of memory. A person may notice that at the start, once in a session, and in no request after it."
        ),
    ),
    "tools that are listed later": (
        cost(ready=compared(640, 180, 20)),
        (
            "The guard adds 0.04 ms to a request (`ping`) that takes your server 3.1 ms (1.3 %), 9.0 ms to a start of 640 ms (1.4 %; "
            "180 ms until tools are listed), and 27 MiB of memory. A person may notice that at the start, once in a session, and in no "
            "request after it."
        ),
    ),
    "requests that take longer": (
        cost(request=compared(3.1, 20, 1), memory=None),
        (
            "The guard adds 20 ms to a request (`ping`) that takes your server 3.1 ms (645 %) and 9.0 ms to a start of 640 ms (1.4 %). "
            "That is enough to be noticed by who makes many such requests."
        ),
    ),
    "everything takes longer": (
        cost(request=compared(3.1, 20, 1), start=compared(640, 12_000, 5), memory=None),
        (
            "The guard adds 20 ms to a request (`ping`) that takes your server 3.1 ms (645 %) and 12.0 s to a start of 640 ms (1,875 %). "
            "That is enough to be noticed, in many such requests as well as at the start."
        ),
    ),
}


@pytest.mark.parametrize(("given", "said"), SENTENCES.values(), ids=SENTENCES.keys())
def test_a_sentence_claims_what_was_measured_and_no_more(given: Cost, said: str) -> None:
    assert sentences(given) == said


# Figures


def test_differences_are_taken_within_a_round() -> None:
    # The machine became ten times as slow half way through; the guard did not.
    found = compare([1.0, 1.0, 1.0, 10.0, 10.0, 10.0], [1.5, 1.6, 1.4, 10.5, 10.6, 10.4], samples=60)
    assert found.added == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.4, 0.6))
    assert (found.rounds, found.samples) == (6, 60)
    assert found.is_measurable


@pytest.mark.parametrize(
    ("low", "high", "rounds", "measurable"),
    [
        pytest.param(0.1, 0.2, 6, True, id="slower for certain"),
        pytest.param(-0.2, -0.1, 6, True, id="quicker for certain"),
        pytest.param(-0.1, 0.2, 6, False, id="either"),
        pytest.param(0.0, 0.2, 6, False, id="perhaps nothing"),
        pytest.param(0.1, 0.2, 5, False, id="too few rounds"),
    ],
)
def test_what_may_be_noise_is_not_measurable(low: float, high: float, rounds: int, *, measurable: bool) -> None:
    assert Compared(1, 1, 0.15, low, high, rounds, rounds).is_measurable is measurable


@pytest.mark.parametrize(("count", "left_out"), [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (10, 1), (12, 2), (20, 5)])
def test_the_interval_leaves_out_as_many_as_the_sign_test_does(count: int, left_out: int) -> None:
    assert interval([float(each) for each in reversed(range(count))]) == (left_out, count - 1 - left_out)


@pytest.mark.parametrize("count", range(6, 60))
def test_the_interval_is_the_shortest_that_misses_the_truth_in_one_of_twenty_runs(count: int) -> None:
    outside = int(interval([float(each) for each in range(count)])[0])
    missed = [2 * sum(math.comb(count, each) for each in range(out + 1)) / 2**count for out in range(count // 2)]
    assert missed[outside] <= 0.05 < missed[outside + 1]


def test_rounds_are_joined_until_a_p99_can_be_told() -> None:
    rounds = [[1.0] * 60, [2.0] * 60, [3.0] * 60, [4.0] * 60, [5.0] * 60]
    assert [len(merged) for merged in merge_rounds(rounds)] == [120, 180]
    assert [time for merged in merge_rounds(rounds) for time in merged] == [time for times in rounds for time in times]
    assert [len(merged) for merged in merge_rounds([[1.0] * 60])] == [60]


def test_the_p99_is_what_99_of_100_do_not_exceed() -> None:
    assert p99([float(each) for each in range(1, 101)]) == 99
    assert p99([float(each) for each in range(1, 202)]) == 199


# Words for numbers


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0.0021, "0.002 ms"),
        (0.04, "0.04 ms"),
        (0.5, "0.50 ms"),
        (3.14, "3.1 ms"),
        (27.2, "27 ms"),
        (640.4, "640 ms"),
        (-5, "-5.0 ms"),
        (61_250, "61.2 s"),
    ],
)
def test_times_have_the_digits_that_mean_something(ms: float, said: str) -> None:
    assert duration(ms) == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.16, 0.24, "-0.16 to +0.24 ms"),
        (-0.001, 5, "-0.0 to +5.0 ms"),
        (0.001, 0.002, "+0.001 to +0.002 ms"),
        (-20_000, 5, "-20.0 to +0.0 s"),
    ],
)
def test_both_ends_of_a_span_have_the_same_digits(low: float, high: float, said: str) -> None:
    assert span(low, high) == said


def test_shares_have_a_digit_behind_the_point_while_they_are_small() -> None:
    assert percent(compared(3.1, 0.04, 0)) == "1.3 %"
    assert percent(compared(1, 12.3, 0)) == "1,230 %"
