"""Signals as bytes on a pipe."""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

import pytest

from mcpguard.proxy.signals import STOPPING, Signals

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def signals() -> Iterator[Signals]:
    numbers = STOPPING
    before = [signal.getsignal(number) for number in numbers]
    made = Signals()
    yield made
    os.close(signal.set_wakeup_fd(-1))
    os.close(made.fd)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


@pytest.mark.parametrize("number", STOPPING, ids=lambda number: signal.Signals(number).name)
def test_a_signal_is_readable_until_it_is_taken(signals: Signals, number: int) -> None:
    assert not is_readable(signals.fd)
    signal.raise_signal(number)
    assert is_readable(signals.fd)
    assert signals.take() == [number]
    assert signals.take() == []


def test_a_wake_up_is_no_signal_and_never_waits(signals: Signals) -> None:
    for _ in range(100_000):
        signals.wake()
    assert is_readable(signals.fd)
    while is_readable(signals.fd):
        assert signals.take() == []
