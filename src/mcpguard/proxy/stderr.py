"""Passes a server's stderr on, and the guard's own words, without ever waiting for a reader for long."""

from __future__ import annotations

import _thread
import os

from mcpguard.proxy.outlet import is_writable, unblocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_PIECE_BYTES: Final = 4096
_PATIENCE_MS: Final = 200
"""How long a reader is waited for, once; a reader that let it pass is not waited for again until it reads."""


class Stderr:
    """Our stderr, shared by the server's stderr and the guard's own lines: what nobody reads is dropped and counted."""

    def __init__(self, fd: int = 2) -> None:
        # Not the descriptor itself: others may write to the same pipe, and fill it between our look and our write.
        self._fd, _ = unblocked(fd)
        self._lock = _thread.allocate_lock()
        self._stuck = False
        self._dropped = 0

    def say(self, text: str) -> None:
        """Write one line of the guard's own."""
        self._write(f"mcpguard: {text}\n".encode("utf-8", "backslashreplace"))

    def pass_on(self, fd: int, on_first_byte: Callable[[], None]) -> None:
        """Copy what comes from `fd` until it ends; say then, to a reader who is back, what was dropped since that was last said."""
        first = True
        while chunk := os.read(fd, 65536):
            if first:
                on_first_byte()
                first = False
            self._write(chunk)
        with self._lock:
            if self._stuck and is_writable(self._fd):
                self._stuck = False
                self._say_dropped()

    @property
    def dropped(self) -> int:
        """How many bytes found no reader."""
        return self._dropped

    def _write(self, data: bytes) -> None:
        with self._lock:
            for start in range(0, len(data), _PIECE_BYTES):
                piece = data[start : start + _PIECE_BYTES]
                if not is_writable(self._fd, 0 if self._stuck else _PATIENCE_MS):
                    self._stuck = True
                    self._dropped += len(data) - start
                    return
                try:
                    if self._stuck:
                        self._say_dropped()
                        self._stuck = not is_writable(self._fd)
                        if self._stuck:
                            self._dropped += len(data) - start
                            return
                    os.write(self._fd, piece)
                except OSError:
                    self._dropped += len(data) - start
                    return

    def _say_dropped(self) -> None:
        try:
            os.write(self._fd, b"\nmcpguard: %d bytes of stderr were dropped: nobody read them\n" % self._dropped)
        except OSError:
            return
