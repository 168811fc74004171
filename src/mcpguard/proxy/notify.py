"""Tells a program of the user's that a call waits for a person.

The program is the one that the command line of `run` names, never one of a policy.  It is started without a shell, hears of the call on its
stdin, and can say nothing: our stdout belongs to the protocol.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from mcpguard.proxy import linux

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MOST_AT_ONCE: Final = 4
PATIENCE_S: Final = 10.0
"""How long the program may take before it is killed, with everything in its process group."""


class Notifier:
    """Runs `command` for each call.  `complain` is told in a sentence what goes wrong, each kind of it once; any thread may call it."""

    def __init__(
        self, command: Sequence[str], complain: Callable[[str], None], *, patience_s: float = PATIENCE_S
    ) -> None:
        self._command = list(command)
        self._complain = complain
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._running = 0
        self._said: set[str] = set()

    def notify(self, item: Mapping[str, Any]) -> None:
        """Hand the description of a call to the program, as a line of JSON.  Waits for nothing and never raises.

        `item` must not be changed afterwards.
        """
        with self._lock:
            full = self._running >= MOST_AT_ONCE
            self._running += not full
        if full:
            self._say_once(
                "full",
                f"is not started for every call, for it runs {MOST_AT_ONCE} times already; `mcpguard pending` shows them all",
            )
            return
        try:
            threading.Thread(target=self._run, args=(item,), name="mcpguard notify", daemon=True).start()
        except RuntimeError:
            self._finish()
            self._say_once("start", "cannot be started: there can be no more threads")

    def _run(self, item: Mapping[str, Any]) -> None:
        try:
            self._run_program(item)
        except Exception as error:  # noqa: BLE001 - nobody waits for this thread who could be told
            self._say_once("start", f"cannot be started: {str(getattr(error, 'strerror', None) or error).lower()}")
        finally:
            self._finish()

    def _run_program(self, item: Mapping[str, Any]) -> None:
        # Here, where it keeps nobody waiting.
        import json
        import os
        import signal
        import subprocess

        line = json.dumps(item).encode("ascii") + b"\n"
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=linux.inherited_environment(),
            start_new_session=True,
        )
        with process:
            try:
                process.communicate(line, timeout=self._patience_s)
                slow = False
            except subprocess.TimeoutExpired:
                slow = True
            finally:
                if process.returncode is None:
                    # It has not been waited for, so the number of its group is nobody else's.
                    os.killpg(process.pid, signal.SIGKILL)
        if slow:
            self._say_once("slow", f"was killed, for it took longer than {self._patience_s:g} s")
        elif process.returncode < 0:
            self._say_once("status", f"was ended by signal {-process.returncode}")
        elif process.returncode:
            self._say_once("status", f"ended with status {process.returncode}")

    def _finish(self) -> None:
        with self._lock:
            self._running -= 1

    def _say_once(self, kind: str, sentence: str) -> None:
        with self._lock:
            is_new = kind not in self._said
            self._said.add(kind)
        if is_new:
            from mcpguard.stores.text import printable

            self._complain(f"`{printable(self._command[0])}` {sentence}")
