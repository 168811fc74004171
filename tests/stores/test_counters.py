"""Checks what every store of counters promises; a new store is one more parameter of `store`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.policy.decision import Charge, Scope
from mcpguard.stores.counters import CHARGED, CounterStore, Exhausted, MemoryCounters

S = 1_000_000_000


@pytest.fixture(params=[MemoryCounters], ids=["memory"])
def store(request: pytest.FixtureRequest) -> CounterStore:
    counters: CounterStore = request.param()
    return counters


def due(counter: str, most: int, window_s: int = 60, scope: Scope = "session", rule: str = "/r") -> Charge:
    return Charge(counter, rule, window_s, most, scope)


def test_a_charge_fits_until_the_maximum_and_again_when_the_window_has_passed(store: CounterStore) -> None:
    charges = (due("a", 2),)
    assert store.charge(charges, 0) is CHARGED
    assert store.charge(charges, 10 * S) is CHARGED
    assert store.charge(charges, 20 * S) == Exhausted(charges[0], 40 * S, 0)
    assert store.charge(charges, 60 * S) is CHARGED


def test_a_refused_charge_costs_nothing(store: CounterStore) -> None:
    charges = (due("a", 1),)
    store.charge(charges, 0)
    for now in range(1, 60):
        assert isinstance(store.charge(charges, now * S), Exhausted)
    assert store.charge(charges, 60 * S) is CHARGED


def test_a_maximum_of_zero_is_never(store: CounterStore) -> None:
    assert store.charge((due("a", 0),), 0) == Exhausted(due("a", 0), None, 0)


def test_no_charges_are_always_made(store: CounterStore) -> None:
    assert store.charge((), 0) is CHARGED
    assert store.peek((), 0) is CHARGED


def test_a_peek_answers_what_a_charge_would_and_spends_nothing(store: CounterStore) -> None:
    charges = (due("a", 1),)
    assert store.peek(charges, 0) is CHARGED
    assert store.peek(charges, 0) is CHARGED
    assert store.charge(charges, 0) is CHARGED
    assert store.peek(charges, S) == store.charge(charges, S) == Exhausted(charges[0], 59 * S, 0)


def test_all_charges_are_made_or_none(store: CounterStore) -> None:
    store.charge((due("full", 1),), 0)
    assert isinstance(store.charge((due("free", 1), due("full", 1)), 0), Exhausted)
    assert store.charge((due("free", 1),), 0) is CHARGED


@pytest.mark.parametrize("turned", [False, True], ids=["in order", "turned round"])
def test_of_several_that_fail_the_longest_wait_is_told(store: CounterStore, *, turned: bool) -> None:
    short, long, never = due("short", 1, 60), due("long", 1, 3600), due("never", 0)
    assert store.charge((short, long), 0) is CHARGED
    charges = (long, short) if turned else (short, long)
    assert store.charge(charges, S) == Exhausted(long, 3599 * S, 0)
    assert store.charge((never, *charges), S) == Exhausted(never, None, 0)


def test_a_counter_met_twice_is_charged_once_against_the_smaller_maximum(store: CounterStore) -> None:
    strict, mild = due("a", 2, rule="/strict"), due("a", 5, rule="/mild")
    assert store.charge((mild, strict), 0) is CHARGED
    assert store.charge((strict, mild), 0) is CHARGED
    assert store.charge((mild, strict), 0) == Exhausted(strict, 60 * S, 0)
    for _ in range(3):
        assert store.charge((mild,), 0) is CHARGED
    assert store.charge((mild,), 0) == Exhausted(mild, 60 * S, 0)


def test_counters_of_two_scopes_are_two(store: CounterStore) -> None:
    assert store.charge((due("a", 1, scope="session"), due("a", 1, scope="grant")), 0) is CHARGED
    assert isinstance(store.charge((due("a", 1, scope="grant"),), 0), Exhausted)


def test_counters_survive_a_policy_with_other_limits(store: CounterStore) -> None:
    for now in range(3):
        assert store.charge((due("a", 3),), now * S) is CHARGED
    assert store.peek((due("a", 2),), 3 * S) == Exhausted(due("a", 2), 58 * S, 0)
    assert store.peek((due("a", 3, window_s=2),), 3 * S) is CHARGED
    assert store.charge((due("a", 4, window_s=3600),), 3 * S) is CHARGED
    assert store.charge((due("a", 4, window_s=3600),), 60 * S) == Exhausted(due("a", 4, window_s=3600), 3540 * S, 0)


def test_counters_survive_a_limit_that_is_too_large_to_be_remembered_call_by_call(store: CounterStore) -> None:
    store.charge((due("a", 2),), 0)
    store.charge((due("a", 2),), S)
    assert store.charge((due("a", 100_000),), 2 * S) is CHARGED
    assert isinstance(store.charge((due("a", 3),), 3 * S), Exhausted)
    assert store.charge((due("a", 3),), 61 * S) is CHARGED


CHARGES = st.lists(
    st.builds(
        Charge,
        st.sampled_from("abc"),
        st.just("/r"),
        st.just(5),
        st.integers(0, 4),
        st.sampled_from(["session", "grant"]),
    ),
    max_size=4,
).map(tuple)


@given(st.lists(st.tuples(st.integers(0, 3), CHARGES), max_size=40))
def test_any_calls_are_judged_as_by_a_list_of_everything_that_was_admitted(
    calls: list[tuple[int, tuple[Charge, ...]]],
) -> None:
    store, now = MemoryCounters(), 0
    admitted: list[tuple[str, str, int]] = []
    for step, charges in calls:
        now += step * S
        full = [
            charge
            for charge in charges
            if sum((s, c) == (charge.scope, charge.counter) and now < t + 5 * S for s, c, t in admitted) >= charge.max
        ]
        peeked = store.peek(charges, now)
        answer = store.charge(charges, now)
        assert peeked == answer
        assert (answer is CHARGED) == (not full)
        if answer is CHARGED:
            admitted += {(charge.scope, charge.counter, now) for charge in charges}
        else:
            assert isinstance(answer, Exhausted)
            assert answer.charge in full
            assert answer.remaining == 0
