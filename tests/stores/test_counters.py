"""Checks what every store of counters promises; a new store is one more parameter of `store`."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from decimal import Decimal
from typing import Any

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


def test_costs_are_added_up_exactly(store: CounterStore) -> None:
    tenth = replace(due("a", 1), amount=Decimal("0.1"))
    for now in range(10):
        assert store.charge((tenth,), now * S) is CHARGED
    assert store.charge((tenth,), 10 * S) == Exhausted(tenth, 50 * S, 0)
    assert store.charge((replace(tenth, amount=2),), 10 * S) == Exhausted(replace(tenth, amount=2), None, 0)
    assert store.charge((replace(tenth, amount=0),), 10 * S) is CHARGED
    assert store.charge((tenth,), 60 * S) is CHARGED


def test_calls_and_costs_share_a_counter(store: CounterStore) -> None:
    call, costly = due("a", 5), replace(due("a", 5), amount=3)
    assert store.charge((call,), 0) is CHARGED
    assert store.charge((costly,), S) is CHARGED
    assert store.charge((costly,), 2 * S) == Exhausted(costly, 59 * S, 1)
    assert store.charge((call, replace(due("b", 1), amount=1)), 2 * S) is CHARGED
    assert store.charge((call,), 3 * S) == Exhausted(call, 57 * S, 0)


def test_a_counter_met_twice_is_charged_the_larger_amount(store: CounterStore) -> None:
    charges = (replace(due("a", 9), amount=2), replace(due("a", 5), amount=4), due("a", 7))
    assert store.charge(charges, 0) is CHARGED
    assert store.peek((due("a", 5),), 0) is CHARGED
    assert isinstance(store.peek((replace(due("a", 5), amount=2),), 0), Exhausted)


def test_each_key_has_a_counter_of_its_own(store: CounterStore) -> None:
    ann, bob = replace(due("a", 2), key="ann"), replace(due("a", 2), key="bob")
    for now in (0, S):
        assert store.charge((ann,), now) is CHARGED
    assert store.charge((ann,), 2 * S) == Exhausted(ann, 58 * S, 0)
    assert store.charge((bob,), 2 * S) is CHARGED
    assert store.charge((ann,), 60 * S) is CHARGED
    assert store.charge((replace(ann, max=9, window_s=90),), 61 * S) is CHARGED
    assert store.charge((replace(bob, max=3, amount=Decimal("1.5")),), 61 * S) is CHARGED
    assert isinstance(store.charge((replace(bob, max=3, amount=1),), 61 * S), Exhausted)
    assert store.charge((replace(bob, max=3, key="eve", amount=3),), 61 * S) is CHARGED


def test_a_calendar_counter_follows_the_time_of_day(store: CounterStore) -> None:
    day = 86_400 * S
    charge = replace(due("a", 2, 86_400), calendar=True)
    keyed = replace(charge, key="k")
    for one in (charge, keyed):
        for _ in range(2):
            assert store.charge((one,), 0, 5 * day + 1) is CHARGED
        assert store.charge((one,), 0, 6 * day - 1) == Exhausted(one, 1, 0)
        assert store.charge((one,), 0, 4 * day) == Exhausted(one, 2 * day, 0)
        assert store.charge((one,), 0, 6 * day) is CHARGED


def test_where_there_are_too_many_keys_new_ones_are_refused_and_live_ones_stay() -> None:
    store = MemoryCounters(max_keys=3)

    def charge(key: str, counter: str = "a", **more: Any) -> Charge:
        return replace(due(counter, 2), key=key, **more)

    for number, key in enumerate("xyz"):
        assert store.charge((charge(key),), number * S) is CHARGED
    assert store.charge((charge("new"),), 3 * S) == Exhausted(charge("new"), 60 * S, 0, full=True)
    assert store.charge((charge("new", "other"),), 3 * S) == Exhausted(charge("new", "other"), 60 * S, 0, full=True)
    assert store.peek((charge("new"),), 3 * S) == Exhausted(charge("new"), 60 * S, 0, full=True)
    assert store.charge((charge("x"),), 4 * S) is CHARGED
    assert isinstance(store.charge((charge("x"),), 5 * S), Exhausted)
    assert store.keys == 3
    assert store.charge((charge("new"), charge("newer", "other")), 62 * S) is CHARGED
    assert store.charge((charge("x"),), 63 * S) is CHARGED
    assert isinstance(store.charge((charge("x"),), 63 * S), Exhausted)
    assert store.charge((charge("p"), charge("q")), 200 * S) is CHARGED
    assert store.keys == 3


def test_dead_keys_make_room_one_by_one() -> None:
    store = MemoryCounters(max_keys=10)
    for now in range(10_000):
        assert store.charge((replace(due("a", 1, window_s=1), key=str(now)),), now * S // 5) is CHARGED
    assert store.keys <= 10


def test_a_million_keys_fit_in_memory_that_a_machine_has() -> None:
    store = MemoryCounters()
    tracemalloc.start()
    try:
        for number in range(20_000):
            store.charge((replace(due("a", 5), key=str(number)),), number)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / 20_000 < 400


ANY_CHARGES = st.lists(
    st.builds(
        lambda counter, most, key, amount, kind: Charge(
            f"{counter}{most}{kind}{key is not None}", "/r", 60, most, "session", kind == "calendar", key, amount
        ),
        st.sampled_from("ab"),
        st.sampled_from([0, 1, 2, 2, 100_000]),
        st.sampled_from([None, "x", "y"]),
        st.sampled_from([1, 1, 1, 0, 2, Decimal("0.5")]),
        st.sampled_from(["sliding", "calendar"]),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


@given(st.lists(st.tuples(st.integers(0, 90), ANY_CHARGES), max_size=12), st.lists(ANY_CHARGES, max_size=4), st.data())
def test_what_is_refunded_was_never_charged(
    calls: list[tuple[int, tuple[Charge, ...]]], lost: list[tuple[Charge, ...]], data: st.DataObject
) -> None:
    store, twin, now = MemoryCounters(), MemoryCounters(), 0
    for step, charges in calls:
        now += step * S
        made = [each for each in lost if store.charge(each, now, now) is CHARGED]
        for each in data.draw(st.permutations(made)):
            store.refund(each, now, now)
        assert store.charge(charges, now, now) == twin.charge(charges, now, now)
        for each in (*lost, charges):
            assert store.peek(each, now, now) == twin.peek(each, now, now)


def test_a_refunded_key_makes_room_for_another() -> None:
    store = MemoryCounters(max_keys=2)
    first, again, daily = (
        (replace(due("a", 2), key="x"),),
        (replace(due("a", 2), key="x", amount=2),),
        (replace(due("d", 2), key="x", calendar=True),),
    )
    for charges in (first, again, daily):
        assert store.charge(charges, 0) is CHARGED
        assert store.keys == 1
        store.refund(charges, 0)
        assert store.keys == 0
    store.charge(first, 0)
    store.charge(first, S)
    store.refund(first, S)
    assert store.keys == 1
    store.refund(first, S)
    assert store.keys == 1, "it was refunded already"
    assert store.charge(first, S) is CHARGED
    assert isinstance(store.charge(first, S), Exhausted)


def test_a_refund_of_what_nobody_knows_is_nothing(store: CounterStore) -> None:
    for charge in (due("a", 1), replace(due("a", 1), key="x"), replace(due("a", 1), calendar=True)):
        store.refund((charge,), 0)
        assert store.charge((charge,), 0) is CHARGED


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
