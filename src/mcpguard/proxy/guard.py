"""Supervises one run: the signals, the deadlines, and the end of the server, the client or both.

Knows when things end and in which order they are taken down; not what is said.
"""

from __future__ import annotations

import _signal
import _thread
import gc
import select
import sys
import time

from mcpguard.protocol.session import Session
from mcpguard.proxy import linux
from mcpguard.proxy.relay import Relay
from mcpguard.proxy.stderr import Stderr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from mcpguard.protocol.commands import Command
    from mcpguard.proxy.enforce import Enforcer
    from mcpguard.proxy.records import Journal
    from mcpguard.proxy.signals import Signals
    from mcpguard.proxy.upstream import Upstream

EOF_GRACE_S: Final = 1.5
"""How long a server may take to end after its stdin was closed, with nothing in flight."""
DRAIN_GRACE_S: Final = 3.0
"""The same with requests in flight: their answers still reach the client."""
SIGNAL_GRACE_S: Final = 1.0
"""The same after a signal: whoever sends one often sends SIGKILL 2 s later."""
CLOSED_GRACE_S: Final = 0.7
"""How long a server that has closed its input or output may take to end before everybody who waits is told."""
TERM_GRACE_S: Final = 0.6
KILL_GRACE_S: Final = 0.5
ORPHANED_STDOUT_S: Final = 0.25
"""How long the output of a server that has ended is still read while something else holds it open."""
LAST_WORDS_S: Final = 0.3
FLUSH_S: Final = 5.0
"""How long a client that is there may take to read the last answers of a server that has ended."""
LOADING_GRACE_S: Final = 0.6
"""How long a policy may still take to load once the server has ended: what is wrong with it is better known than not."""
_HANG_UP: Final = getattr(select, "POLLRDHUP", 0)
_SWITCH_S: Final = sys.getswitchinterval()
_BOOT_SWITCH_S: Final = 0.0005
_QUICK_ANSWER_S: Final = 0.01


def boot_clock() -> int:
    """Nanoseconds of a clock that never goes back and counts sleep."""
    return time.clock_gettime_ns(_BOOT_CLOCK)


_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Guard:
    """One run of the guard, from the started server to its exit status."""

    def __init__(
        self, upstream: Upstream, signals: Signals, *, max_client_line_bytes: int, client: tuple[int, int] = (0, 1)
    ) -> None:
        self.stderr = Stderr()
        self.session = Session(now_ns=boot_clock())
        self._upstream = upstream
        self._signals = signals
        self._relay = Relay(
            self.session,
            client,
            (upstream.stdout_fd, upstream.stdin_fd),
            max_client_line_bytes=max_client_line_bytes,
            clock=boot_clock,
            wake=signals.wake,
        )
        self._stderr_ended = _thread.allocate_lock()
        self._interrupts = 0
        self._stop_signal = 0
        self._client_fd = client[0]
        self._hung_up_ns = 0

    def begin(self) -> None:
        """Start the pumps: from now on everything flows that no policy governs."""
        # Imports hold the interpreter's lock; until they are done it changes hands more often, for the pumps' sake.
        sys.setswitchinterval(_BOOT_SWITCH_S)
        # Should anybody end the supervisor, its orphans are ours.
        linux.adopt_orphans()
        linux.keep_freed_memory()
        self._relay.start()
        self._stderr_ended.acquire()
        _thread.start_new_thread(self._copy_stderr, ())
        # A quick server answers within some milliseconds: its first answer need not compete with our imports.
        self._wait_until(lambda: self._relay.heard_upstream, _QUICK_ANSWER_S)
        # Where nothing pre-empts us (SCHED_RR, one CPU), whoever reads it would wait for the imports behind us.
        linux.let_others_run()
        for pipe_fd in (self._upstream.stdin_fd, self._upstream.stdout_fd):
            linux.widen(pipe_fd)

    def open(self, enforcer: Enforcer) -> None:
        """Give the policy: from now on everything flows that it allows."""
        from mcpguard.proxy.records import Journal

        sys.setswitchinterval(_SWITCH_S)
        # What is loaded by now stays; the collector, which the start is spared, need not walk through it either.
        gc.freeze()
        gc.enable()
        self._relay.open(enforcer, Journal())

    def know_silent(self) -> None:
        """Earlier runs found that the server says nothing to `server/discover`."""
        self._relay.know_silent()

    def replace_policy(self, apply: Callable[[Journal], list[Command]]) -> None:
        """Let `apply` put another policy in force, and tell the client that lists may have changed."""
        self._relay.replace(apply)

    @property
    def relay(self) -> Relay:
        """What carries this run's lines."""
        return self._relay

    def tell(self, event: str, sentence: str) -> None:
        """Say something to the user, and keep it in the log."""
        from mcpguard.protocol.commands import Note

        self.stderr.say(sentence)
        self._relay.note(Note(event, None, sentence))

    def await_policy(self, is_there: Callable[[], bool]) -> bool:
        """Wait until the policy is there, or found to be unusable, and see to everything else meanwhile.

        False if the run is over before: by a signal, or because a side has ended and the policy did not come soon after.
        """
        ended_ns = 0
        while not is_there():
            if self._stop_signal:
                return False
            left_s = None
            if self._server_is_gone() or self._client_is_gone():
                ended_ns = ended_ns or boot_clock()
                grace_s = LOADING_GRACE_S if self._server_is_gone() else DRAIN_GRACE_S
                left_s = grace_s - (boot_clock() - ended_ns) / 1e9
                if left_s <= 0:
                    return False
            self._relay.tick()
            waits = [wait for wait in (self._until_deadline(), left_s) if wait is not None]
            self._wait(min(waits, default=None))
        return True

    def _client_is_gone(self) -> bool:
        return self._relay.client_ended or self._relay.to_client.broken or self._hung_up_ns > 0

    def _server_is_gone(self) -> bool:
        relay, upstream = self._relay, self._upstream
        ended = relay.upstream_ended or relay.to_upstream.broken or bool(self.session.ended)
        return ended or upstream.status is not None or upstream.is_lost

    def refuse(self, reason: str) -> None:
        """End at once, for there is no policy to go by: everything in flight gets an answer, and the server is taken down."""
        relay = self._relay
        relay.end(reason)
        self._hear_client_out()
        self._finish(LAST_WORDS_S)

    def run(self, on_change: Callable[[bool], None], look_every_s: float | None = None) -> int:
        """Wait until the run is over, and give its exit status.

        `on_change` is called when something has changed, and every `look_every_s` seconds, with whether the server was found
        to be silent to `server/discover`.
        """
        relay = self._relay
        while True:
            # Look first: what was to wake us may have woken an earlier, shorter wait.
            on_change(relay.silent)
            if self._stop_signal:
                return self._stop(128 + self._stop_signal, SIGNAL_GRACE_S, SIGNAL_GRACE_S)
            if relay.client_ended or relay.to_client.broken:
                return self._stop(0, EOF_GRACE_S, DRAIN_GRACE_S)
            hung_up_s = self._since_hang_up_s()
            if hung_up_s > DRAIN_GRACE_S:
                # Its pump has not come to its end: it waits for a side that does not read.
                return self._stop(0, 0.0, 0.0)
            if self._server_is_gone():
                return self._upstream_gone()
            relay.tick()
            until_patience_ends_s = DRAIN_GRACE_S - hung_up_s if self._hung_up_ns else None
            waits = [wait for wait in (self._until_deadline(), look_every_s, until_patience_ends_s) if wait is not None]
            self._wait(min(waits, default=None))

    def _since_hang_up_s(self) -> float:
        return (boot_clock() - self._hung_up_ns) / 1e9 if self._hung_up_ns else 0.0

    def _until_deadline(self) -> float | None:
        deadline_ns = self._relay.deadline_ns
        return None if deadline_ns is None else max(0.0, (deadline_ns - boot_clock()) / 1e9)

    def _wait(self, timeout_s: float | None) -> None:
        """Wait for a signal, a wake-up or news of the server; take note of what came."""
        poll = select.poll()
        poll.register(self._signals.fd, select.POLLIN)
        if self._upstream.report_fd >= 0:
            poll.register(self._upstream.report_fd, select.POLLIN)
        if not self._hung_up_ns:
            # Its pump reads it, unless that waits for somebody else.
            poll.register(self._client_fd, _HANG_UP)
        for fd, events in poll.poll(None if timeout_s is None else timeout_s * 1000 + 1):
            if fd == self._client_fd and events & (_HANG_UP | select.POLLHUP | select.POLLERR | select.POLLNVAL):
                self._hung_up_ns = boot_clock()
        for number in self._signals.take():
            self._interrupts += number == _signal.SIGINT
            self._stop_signal = self._stop_signal or number
        self._upstream.collect()

    def _wait_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait, in short pieces, until `done`; False if it takes longer, or an impatient user sends a second SIGINT."""
        end_ns = boot_clock() + int(timeout_s * 1e9)
        while not done():
            left_s = (end_ns - boot_clock()) / 1e9
            if left_s <= 0 or self._interrupts > 1:
                return False
            self._wait(min(left_s, 0.05))
        return True

    def _stop(self, status: int, idle_grace_s: float, drain_grace_s: float) -> int:
        """Close the server's stdin, pass its last answers on, then end its tree by ever stronger means."""
        upstream, relay = self._upstream, self._relay
        signals_before = self._stop_signal
        if relay.client_ended or relay.to_client.broken:
            relay.withdraw_waiting()
        _thread.start_new_thread(relay.to_upstream.close, (drain_grace_s,))
        begun_ns = boot_clock()

        exited_ns = 0

        def ended() -> bool:
            nonlocal exited_ns
            upstream.collect()
            if upstream.status is None and not upstream.is_lost:
                return False
            exited_ns = exited_ns or boot_clock()
            return relay.upstream_ended or boot_clock() - exited_ns > ORPHANED_STDOUT_S * 1e9

        def enough() -> bool:
            waited_s = (boot_clock() - begun_ns) / 1e9
            hurried = self._stop_signal != signals_before and waited_s > TERM_GRACE_S
            return ended() or hurried or (waited_s > idle_grace_s and not relay.in_flight)

        self._wait_until(enough, drain_grace_s)
        if upstream.signal(_signal.SIGTERM):
            self._wait_until(lambda: ended() and not upstream.has_descendants(), TERM_GRACE_S)
        relay.end(f"the guard was stopped{f' by signal {self._stop_signal}' if self._stop_signal else ''}")
        # What was read of the client by now gets its answer, too.
        self._wait_until(lambda: not relay.client_busy, LAST_WORDS_S)
        self._finish(0.5)
        return 128 + self._stop_signal if self._stop_signal and not status else status

    def _upstream_gone(self) -> int:
        """The server ended, or neither reads nor writes any more: everybody who waits gets an answer, nothing of it stays."""
        upstream, relay = self._upstream, self._relay
        if upstream.status is None and not upstream.is_lost and not self.session.ended:
            self._wait_until(lambda: upstream.status is not None, CLOSED_GRACE_S)
        if upstream.status is not None:
            self._wait_until(lambda: relay.upstream_ended, ORPHANED_STDOUT_S)
        if self.session.ended:
            reason = self.session.ended
        elif upstream.is_lost:
            reason = "the server's supervisor was ended, and so is the server"
        elif upstream.status is None:
            reason = f"the server closed its {'output' if relay.upstream_ended else 'input'}"
        elif upstream.status > 128:
            reason = f"the server was ended by signal {upstream.status - 128}"
        else:
            reason = f"the server exited with status {upstream.status}"
        relay.end(reason)
        self._hear_client_out()
        if upstream.status is None:
            upstream.signal(_signal.SIGTERM)
            self._wait_until(lambda: upstream.status is not None, TERM_GRACE_S)
        self._finish(FLUSH_S)
        self.stderr.say(reason)
        return upstream.status if upstream.status is not None else 1

    def _hear_client_out(self) -> None:
        """Let what was read of the client by now get its answer, and the first question of a client that has said nothing yet."""
        relay = self._relay
        self._wait_until(
            lambda: relay.client_ended or (self.session.seen_requests > 0 and not relay.client_busy), LAST_WORDS_S
        )

    def _finish(self, flush_s: float) -> None:
        """Kill whatever is left of the server's tree, and let the client take what is left for it."""
        end_ns = boot_clock() + int(KILL_GRACE_S * 1e9)
        # Again and again, and however impatient the user is: what dies may have started something just before.
        while self._upstream.signal(_signal.SIGKILL) and boot_clock() < end_ns:
            self._wait(0.02)
        self._upstream.let_go()
        self._wait_until(lambda: self._upstream.report_fd < 0, LAST_WORDS_S)
        self._relay.write_counts()
        self._stderr_ended.acquire(timeout=LAST_WORDS_S)
        self._relay.to_client.close(flush_s)

    def _copy_stderr(self) -> None:
        try:
            self.stderr.pass_on(self._upstream.stderr_fd, self._relay.see_sign_of_life)
        except OSError:
            pass  # as good as its end
        finally:
            self._stderr_ended.release()
