"""What is remembered about servers that say nothing to a probe, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcpguard.stores.silence import KEPT_NS, SilenceMemory

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000 * 10**9
ONE = {"name": "one", "version": "1"}


@pytest.fixture
def memory(tmp_path: Path) -> SilenceMemory:
    return SilenceMemory(tmp_path / "silent", ["server", "--stdio"])


def test_nothing_is_known_at_first(memory: SilenceMemory) -> None:
    assert not memory.is_silent(NOW)
    memory.compare(ONE)
    assert not memory.is_silent(NOW)


def test_a_finding_is_kept_for_seven_days(memory: SilenceMemory) -> None:
    memory.remember(ONE, NOW)
    assert memory.is_silent(NOW)
    assert memory.is_silent(NOW + KEPT_NS)
    assert not memory.is_silent(NOW + KEPT_NS + 1)
    assert not memory.is_silent(NOW - 1), "the clock was set back: made in the future"


def test_another_command_line_is_another_server(tmp_path: Path, memory: SilenceMemory) -> None:
    memory.remember(ONE, NOW)
    for command in (["server"], ["server", "--stdio", ""], ["server --stdio"], ["server", "--stdio", "\udce9"]):
        assert not SilenceMemory(tmp_path / "silent", command).is_silent(NOW)
    assert SilenceMemory(tmp_path / "silent", ["server", "--stdio"]).is_silent(NOW)


def test_the_same_server_leaves_the_finding(memory: SilenceMemory) -> None:
    memory.remember(ONE, NOW)
    memory.compare(dict(ONE))
    assert memory.is_silent(NOW)


def test_another_server_ends_it(memory: SilenceMemory) -> None:
    memory.remember(ONE, NOW)
    memory.compare(ONE | {"version": "2"})
    assert not memory.is_silent(NOW)


def test_a_server_unknown_when_found_is_filled_in_and_the_days_count_from_the_finding(memory: SilenceMemory) -> None:
    memory.remember(None, NOW)
    memory.compare(ONE)
    assert memory.is_silent(NOW + KEPT_NS)
    assert not memory.is_silent(NOW + KEPT_NS + 1)
    memory.compare(ONE | {"name": "two"})
    assert not memory.is_silent(NOW)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"found_ns": "x"}', b"\xff", b"[" * 100_000, b'{"found_ns": 1e400}'],
    ids=["empty", "cut", "a list", "null", "text", "not UTF-8", "too deep", "no whole number"],
)
def test_a_broken_file_counts_as_not_known(memory: SilenceMemory, tmp_path: Path, content: bytes) -> None:
    memory.remember(ONE, NOW)
    (file,) = (tmp_path / "silent").iterdir()
    file.write_bytes(content)
    assert not memory.is_silent(NOW)
    memory.compare(ONE)
    memory.remember(ONE, NOW)
    assert memory.is_silent(NOW)


def test_a_place_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    memory = SilenceMemory(tmp_path / "file" / "silent", ["server"])
    memory.remember(ONE, NOW)
    assert not memory.is_silent(NOW)
    memory.compare(ONE)
