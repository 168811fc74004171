"""Turns signals into bytes on a pipe, so that they are waited for like everything else.

A signal that comes before they are installed ends the process as it would any other; then the supervisor ends the server.
"""

from __future__ import annotations

# All that `signal` is without its enumerations, which take 4 ms to make while a client waits.
import _signal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

STOPPING: Final = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP)


class Signals:
    """The signals of this process, as a descriptor that becomes readable."""

    def __init__(self) -> None:
        self.fd, self._wake_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._wake_fd, False)
        _signal.set_wakeup_fd(self._wake_fd, warn_on_full_buffer=False)
        for number in STOPPING:
            _signal.signal(number, self._noted)

    def wake(self) -> None:
        """Make `fd` readable, from any thread."""
        try:
            os.write(self._wake_fd, b"\0")
        except BlockingIOError:
            pass  # it is readable already

    def take(self) -> list[int]:
        """Give the numbers of the signals that have come since this was last asked."""
        try:
            return [number for number in os.read(self.fd, 4096) if number]
        except BlockingIOError:
            return []

    def _noted(self, _: int, __: object) -> None:
        """Do nothing more with a signal than that: its number is on its way through the wakeup descriptor."""
