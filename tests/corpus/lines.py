"""Keeps the lines that come to a client, for one thread that reads and one that waits.

Knows of a line only what it seems to answer or to ask for.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from corpus import strict

if TYPE_CHECKING:
    from collections.abc import Callable


class Line:
    """A line, and what it seems to be: the answer to an id, or something with a method."""

    __slots__ = ("answers", "method", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.answers: str | None = None
        self.method: str | None = None
        try:
            message = json.loads(raw, parse_int=strict.Number)
        except (ValueError, RecursionError):
            return
        if isinstance(message, dict):
            method = message.get("method")
            self.method = method if isinstance(method, str) else None
            if "method" not in message and "id" in message:
                self.answers = strict.key(message["id"])


class Lines:
    """The lines that have come to a client, for one thread that adds and one that waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: list[Line] = []
        self.ended = False

    def begin(self) -> None:
        """From here on a new case is played."""
        with self._changed:
            self._lines = []

    def add(self, raw: list[bytes]) -> None:
        """Take lines that have come."""
        lines = [Line(each) for each in raw]
        with self._changed:
            self._lines += lines
            self._changed.notify_all()

    def end(self, rest: bytes) -> None:
        """Nothing more will come; `rest` stood behind the last LF."""
        if rest:
            self.add([rest])
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait(self, holds: Callable[[list[Line]], bool], timeout_s: float) -> bool:
        """Wait until something holds of the lines of this case, or nothing more comes; say whether it holds."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended or holds(self._lines), timeout_s)
            return holds(self._lines)

    def wait_for_answer(self, id_: str, times: int, timeout_s: float) -> bytes | None:
        """Wait until an id was answered so many times; give the last of these answers."""

        def count(lines: list[Line]) -> int:
            return sum(line.answers == id_ for line in lines)

        if not self.wait(lambda lines: count(lines) >= times, timeout_s):
            return None
        return next((line.raw for line in reversed(self.since_begin()) if line.answers == id_), None)

    def since_begin(self) -> list[Line]:
        """Give the lines of this case."""
        with self._changed:
            return list(self._lines)
