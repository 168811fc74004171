"""Starts the guard in front of a fake server, in a home of its own: fixtures for every test."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Protocol

import pytest

from mcpguard.proxy.linux import adopt_orphans
from support import StdioPeer, allow_everything, guard_argv, write_policy
from support.fake_server import fake_server
from support.processes import descendants

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


class StartGuard(Protocol):
    """Starts a guard; the words are those of the fake server, unless there is another `server`."""

    def __call__(
        self,
        *words: object,
        server: Sequence[str] | None = None,
        policy: Mapping[str, object] | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> StdioPeer: ...


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the guard and everything it starts an empty home; kill whatever is left of it, also what lost its parent."""
    adopt_orphans()
    before = descendants(os.getpid())
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("HOME", str(place))
    for name in ("STATE", "CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(place / name.lower()))
    yield place
    for pid in descendants(os.getpid()) - before:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return where the guards of `start` keep their decision log."""
    return tmp_path / "decisions.jsonl"


@pytest.fixture
def start(home: Path, tmp_path: Path, log: Path) -> Iterator[StartGuard]:
    """Start guards in `home`; they and all they started are killed when the test is over."""
    assert home.is_dir()
    with ExitStack() as stack:

        def start_guard(
            *words: object,
            server: Sequence[str] | None = None,
            policy: Mapping[str, object] | None = None,
            options: Sequence[str] = (),
            env: Mapping[str, str] | None = None,
        ) -> StdioPeer:
            path = allow_everything(tmp_path) if policy is None else write_policy(tmp_path, policy)
            where = () if "--no-log" in options or "--log" in options else ("--log", str(log))
            command = fake_server(*words) if server is None else server
            return stack.enter_context(
                StdioPeer(guard_argv(path, *command, options=(*where, *options)), env=env, cwd=tmp_path)
            )

        yield start_guard
