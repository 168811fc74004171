"""Runs a server behind a policy: `mcpguard run`.

The order matters: the server is started first, and everything slow is imported while it boots.
"""

from __future__ import annotations

import _thread
import os

from mcpguard.proxy.upstream import occupy_standard_descriptors, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from mcpguard.cli.options import RunOptions
    from mcpguard.policy.evaluate import Policy
    from mcpguard.proxy.clerk import RunClerk
    from mcpguard.proxy.enforce import Enforcer
    from mcpguard.proxy.guard import Guard
    from mcpguard.proxy.question import Question
    from mcpguard.proxy.reload import Reloader, Signature
    from mcpguard.proxy.signals import Signals
    from mcpguard.stores.audit import DecisionLog, Recorder
    from mcpguard.stores.files import LoadedPolicy
    from mcpguard.stores.silence import SilenceMemory

    _Loaded: TypeAlias = tuple[Enforcer, LoadedPolicy, Signature, RunClerk]


def run(options: RunOptions) -> int:
    """Run the server until it, the client or a signal ends it; give the exit status.

    Raises:
        GuardError: the server cannot be started.
    """
    occupy_standard_descriptors()
    upstream = start(options.command)

    from mcpguard.protocol.framing import MAX_CLIENT_LINE_BYTES
    from mcpguard.proxy.guard import Guard
    from mcpguard.proxy.signals import Signals

    signals = Signals()
    upstream.confirm_start()

    guard = Guard(upstream, signals, max_client_line_bytes=options.max_message_bytes or MAX_CLIENT_LINE_BYTES)
    try:
        guard.begin()
        return _run(options, guard, signals, upstream.command)
    except BaseException:
        # A bug: whoever waits is told, and the server must not outlive us.
        guard.refuse("internal error")
        raise


def _run(options: RunOptions, guard: Guard, signals: Signals, command: tuple[str, ...]) -> int:
    import time
    from pathlib import Path

    import platformdirs

    from mcpguard.errors import GuardError, PolicyError
    from mcpguard.stores.silence import SilenceMemory

    # First of all, for a client may be waiting for the answer to its probe.
    memory = SilenceMemory(Path(platformdirs.user_cache_dir("mcpguard", appauthor=False)) / "silent", command)
    if memory.is_silent(time.time_ns()):
        guard.know_silent()
    # Pydantic would look through every installed package for plugins of its own: slow, and strangers' code in the guard.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "true"
    loading = _Loading(lambda: _enforcer(options, guard, command), signals.wake)
    if not guard.await_policy(loading.is_over):
        return guard.run(lambda _: None)
    try:
        enforcer, loaded, seen, clerk = loading.result()
    except PolicyError as error:
        more = len(error.findings) - 1
        rest = f" (and {more} more: mcpguard validate {options.policy})" if more else ""
        guard.stderr.say(f"{error.findings[0]}{rest}")
        guard.refuse(f"the policy cannot be used: {error.findings[0]}")
        return int(error.exit_code)
    except GuardError as error:
        guard.stderr.say(error.message + (f"; {error.hint}" if error.hint else ""))
        guard.refuse(error.message)
        return int(error.exit_code)
    guard.open(enforcer)
    from mcpguard.proxy.reload import LOOK_EVERY_S, Reloader

    reloader = Reloader(
        loaded,
        options.reload,
        seen=seen,
        apply=lambda changed: guard.replace_policy(lambda journal: enforcer.replace(changed.policy, journal)),
        tell=guard.tell,
    )
    try:
        return guard.run(_Watch(memory, guard, reloader).look, LOOK_EVERY_S if options.reload != "off" else None)
    finally:
        clerk.close()


class _Loading:
    """Does what may take long, or for ever, in a thread of its own, and wakes whoever waits for it."""

    def __init__(self, work: Callable[[], _Loaded], wake: Callable[[], None]) -> None:
        self._work = work
        self._wake = wake
        self._found: _Loaded | None = None
        self._error: BaseException | None = None
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._found = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._error = error
        self._wake()

    def is_over(self) -> bool:
        return self._found is not None or self._error is not None

    def result(self) -> _Loaded:
        if self._error is not None:
            raise self._error
        assert self._found is not None
        return self._found


def _enforcer(options: RunOptions, guard: Guard, command: tuple[str, ...]) -> _Loaded:
    """Load the policy and open the log.  Gives the file's signature as well, from before it was read.

    Raises:
        PolicyError: the policy cannot be used.
        LogError: the log cannot be opened, and is not optional.
    """
    import time
    from pathlib import Path

    from mcpguard.policy.evaluate import closed_sections
    from mcpguard.proxy.approval import Approvals
    from mcpguard.proxy.clerk import RunClerk
    from mcpguard.proxy.enforce import Enforcer
    from mcpguard.proxy.guard import boot_clock
    from mcpguard.proxy.links import resolver
    from mcpguard.proxy.reload import signature
    from mcpguard.stores.counters import MemoryCounters
    from mcpguard.stores.files import load_policy
    from mcpguard.stores.masking import mask_command

    seen = signature(Path(options.policy))
    loaded = load_policy(Path(options.policy))
    session_id = os.urandom(8).hex()
    recorder, log = _log(options, guard, session_id, command, loaded.policy)
    closed = closed_sections(loaded.policy)
    if closed:
        guard.stderr.say(
            f"{options.policy} closes {', '.join(closed)} (default: deny); what it names is open, all else is refused"
        )
    clerk = RunClerk(
        guard.relay,
        guard.session,
        {
            "policy": str(Path(options.policy).absolute()),
            "server": mask_command(command),
            "grant": options.grant,
        },
        name=session_id,
        program=options.notify,
        complain=guard.stderr.say,
    )

    def record(question: Question, status: str, now_ns: int, by: str) -> None:
        enforcer.record_approval(question, status, now_ns, by)

    approvals = Approvals(guard.session, prepare_terminal=clerk.open, announce=clerk.announce, record=record)
    enforcer = Enforcer(
        loaded.policy,
        MemoryCounters(),
        clock=boot_clock,
        wall_clock=time.time_ns,
        session_id=session_id,
        parties=guard.session,
        recorder=recorder,
        log=log,
        log_optional=options.log_optional,
        complain=guard.stderr.say,
        resolve=resolver(str(Path.cwd())),
        approvals=approvals,
    )
    return enforcer, loaded, seen, clerk


def _log(
    options: RunOptions, guard: Guard, session_id: str, command: tuple[str, ...], policy: Policy
) -> tuple[Recorder | None, DecisionLog | None]:
    if options.no_log:
        return None, None
    import time
    from pathlib import Path

    import platformdirs

    from mcpguard.stores.audit import DecisionLog, LogError, Recorder, default_log_path, installation_key
    from mcpguard.stores.masking import mask_command

    try:
        if options.log is not None:
            path = Path(options.log)
        else:
            directory = Path(platformdirs.user_log_dir("mcpguard", appauthor=False))
            path = default_log_path(directory, session_id, time.time_ns())
        key = installation_key(Path(platformdirs.user_data_dir("mcpguard", appauthor=False)))
        log = DecisionLog(path)
    except LogError as error:
        if not options.log_optional:
            error.hint = "choose another file with --log, or go without one with --no-log or --log-optional"
            raise
        guard.stderr.say(f"{error.message}; going on without it")
        return None, None
    recorder = Recorder(
        key,
        {
            "session_id": session_id,
            "grant": options.grant,
            "policy": {"path": str(Path(options.policy).absolute()), "digest": policy.digest},
        },
        command=mask_command(command),
    )
    return recorder, log


class _Watch:
    """Looks after what changes during a run: the policy file, and what it finds out about its server for the runs after it."""

    def __init__(self, memory: SilenceMemory, guard: Guard, reloader: Reloader) -> None:
        self._memory = memory
        self._guard = guard
        self._reloader = reloader
        self._remembered = self._compared = False

    def look(self, silent: bool) -> None:  # noqa: FBT001 - a callback with one fact
        import time

        self._reloader.look()
        server = self._guard.session.server
        if silent and not self._remembered:
            self._remembered = True
            self._memory.remember(server, time.time_ns())
        elif server is not None and not self._compared:
            self._compared = True
            self._memory.compare(server)
