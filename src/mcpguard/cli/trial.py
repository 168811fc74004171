"""Runs a server as it is and behind the guard, asks both the same in turns, and keeps the times.

What they mean, `cost` says; what is printed of them, `bench`.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias

from mcpguard.cli.cost import CERTAIN_FROM, Compared, compare, merge_rounds, p99
from mcpguard.errors import GuardError
from mcpguard.protocol.replies import DECISION_KEY
from mcpguard.proxy.linux import FINDS_DESCENDANTS, find_descendants, memory_of, title_of
from mcpguard.proxy.stopwatch import (
    DISCOVER,
    EOF_GRACE_S,
    INITIALIZE,
    INITIALIZED,
    Conversation,
    EndedError,
    Request,
)
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from mcpguard.proxy.stopwatch import Answer

    class Progress(Protocol):
        """Is told what is being done."""

        def show(self, text: str) -> None:
            """Hear what comes next."""

        def wait(self, waited_s: float) -> None:
            """Hear that an answer takes its time."""


Way: TypeAlias = Literal["direct", "guarded"]
WAYS: Final[tuple[Way, Way]] = ("direct", "guarded")
_NAMES: Final[Mapping[Way, str]] = {"direct": "the server", "guarded": "the server behind the guard"}
_HOW: Final[Mapping[Way, str]] = {"direct": "direct", "guarded": "behind the guard"}

FEWEST_STARTS, MOST_STARTS = CERTAIN_FROM, 10
STARTS_S: Final = 20.0
"""How long starts are repeated, when those that certainty takes are done sooner."""
ROUNDS: Final = 20
MOST_REQUESTS: Final = 1000
REQUESTS_S: Final = 10.0
"""How long one kind of request is repeated, unless it is said how often."""
WARM_UPS: Final = 10
"""How many requests are made before the first that counts: while the other had its turn, caches have forgotten this one."""
_WARM_UP_S: Final = 1.0
_GUARD_GRACE_S: Final = 6.0
"""How long the guard may take to end: it ends its own server by ever stronger means."""
_SUPERVISOR: Final = "mcpg-supervisor"
_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"

NOT_JUDGED: Final = (
    "`ping` passes the guard unjudged. What a call costs that is judged and written down, --tool measures, with a tool of yours that "
    "may be called often."
)
NO_LIST: Final = "The server does not list its tools."
ANSWERED_WITH_ERROR: Final = "The server answers this call with an error; one that succeeds may take longer."


class TrialError(GuardError):
    """There is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured: the server's command, the guard's policy, and the tool to call, if any.

    `calls` is how many requests of each kind are made, each way; None for as many as there is time for.
    """

    command: tuple[str, ...]
    policy: Path
    tool: str | None
    arguments: dict[str, object]
    calls: int | None
    timeout_s: float

    def call(self, *, modern: bool) -> Request:
        """Write the call that is to be measured."""
        return Request("tools/call", {"name": self.tool, "arguments": self.arguments}, modern=modern)

    def refuse_to_call(self, why: str) -> NoReturn:
        """Give up a call that the policy refuses: its time says nothing of the server, and it is not made directly, either.

        Raises:
            TrialError: always.
        """
        raise TrialError(
            f"the policy refuses the call that is to be measured: {printable(why)}",
            "name another tool or other arguments, make fewer calls with --calls, or leave out --tool",
        )


@dataclass(slots=True)
class Times:
    """What was measured of one thing, in milliseconds: by way, and in rounds that both ways have had."""

    rounds: dict[Way, list[list[float]]] = field(default_factory=lambda: {way: [] for way in WAYS})

    @property
    def samples(self) -> int:
        """How many there are, each way."""
        return sum(map(len, self.rounds["direct"]))

    def compare_p50(self) -> Compared | None:
        """Compare the medians of the rounds; None without any."""
        direct, guarded = ([statistics.median(times) for times in self.rounds[way]] for way in WAYS)
        return compare(direct, guarded, self.samples) if direct else None

    def compare_p99(self) -> Compared | None:
        """Compare the 99th percentiles; None if there are too few times for any certainty."""
        direct, guarded = (merge_rounds(self.rounds[way]) for way in WAYS)
        if len(direct) < CERTAIN_FROM:
            return None
        return compare([p99(times) for times in direct], [p99(times) for times in guarded], self.samples)


@dataclass(slots=True)
class Measured:
    """What a trial has found.

    `method` is that of the request that was repeated; `lists` are the very times in `requests` if that was `tools/list`, and None if
    the server has no tools.  `ready` is the start up to the first list.  `memory` is that of the guard and its supervisor.
    """

    modern: bool = False
    server: dict[str, str | None] = field(default_factory=dict)
    tools: int | None = None
    method: str = ""
    start: Times = field(default_factory=Times)
    ready: Times = field(default_factory=Times)
    requests: Times = field(default_factory=Times)
    lists: Times | None = None
    memory: tuple[str, int] | None = None
    notes: list[str] = field(default_factory=list)


def measure(plan: Plan, workplace: Path, progress: Progress) -> Measured:
    """Measure everything; the guard's log goes into `workplace`.

    Raises:
        GuardError: the server, or the guard before it, could not be started, or did not do its part.
    """
    trial = _Trial(plan, workplace, progress)
    trial.meet()
    # A collection would fall into somebody's turn.
    gc.collect()
    gc.disable()
    try:
        trial.start_again_and_again()
        trial.ask_again_and_again()
    finally:
        gc.enable()
    return trial.found


class _Trial:
    """One run of the benchmark."""

    def __init__(self, plan: Plan, workplace: Path, progress: Progress) -> None:
        self.found = Measured()
        self._plan = plan
        self._progress = progress
        run = ("run", "--policy", str(plan.policy.absolute()), "--log", str(workplace / "decisions.jsonl"), "--")
        self._commands: dict[Way, Sequence[str]] = {
            "direct": plan.command,
            "guarded": (*_guard(), *run, *plan.command),
        }
        self._list = Request("tools/list", {})

    def meet(self) -> None:
        """Find out what the server speaks and offers, and let it and the guard fill the caches of this machine."""
        self._progress.show("first start, direct")
        opened = self._introduce_twice()
        self._list = Request("tools/list", {}, modern=self.found.modern)
        capabilities = opened.get("capabilities")
        if isinstance(capabilities, dict) and isinstance(capabilities.get("tools"), dict):
            self.found.lists = Times()
        meta = opened.get("_meta")
        told = opened.get("serverInfo") or (meta.get(_SERVER_INFO) if isinstance(meta, dict) else None)
        info = told if isinstance(told, dict) else {}
        self.found.server = {key: info[key] if isinstance(info.get(key), str) else None for key in ("name", "version")}
        self._progress.show("first start, behind the guard")
        with self._start("guarded") as conversation:
            listed = self._open("guarded", conversation, counted=False)
        self._find_the_tool(listed)

    def start_again_and_again(self) -> None:
        """Take the time of starts, all but the last one of each way."""
        begin_s = time.monotonic()
        turn = 0
        while turn < FEWEST_STARTS - 1 or (turn < MOST_STARTS - 1 and time.monotonic() - begin_s < STARTS_S):
            for way in _order(turn):
                self._progress.show(f"start {turn + 1}, {_HOW[way]}")
                with self._start(way) as conversation:
                    self._open(way, conversation)
            turn += 1

    def ask_again_and_again(self) -> None:
        """Start both once more, and take the time of requests."""
        self._progress.show("the last start, of both")
        with self._start("direct") as direct, self._start("guarded") as guarded:
            both: dict[Way, Conversation] = {"direct": direct, "guarded": guarded}
            for way in WAYS:
                self._open(way, both[way])
            self._choose(both)
            if self.found.memory is None and FINDS_DESCENDANTS:
                supervisors = [pid for pid in find_descendants(guarded.pid) if title_of(pid) == _SUPERVISOR]
                self.found.memory = memory_of([guarded.pid, *supervisors])

    def _introduce_twice(self) -> dict[str, Any]:
        try:
            with self._start("direct") as conversation:
                return self._introduce(conversation, (INITIALIZE, DISCOVER))
        except EndedError as error:
            # Some servers end at what they do not know.
            try:
                with self._start("direct") as conversation:
                    return self._introduce(conversation, (DISCOVER,))
            except GuardError:
                raise error from None

    def _introduce(self, conversation: Conversation, openings: Sequence[Request]) -> dict[str, Any]:
        """Ask in the one era, then in the other; give what the server says of itself.

        Raises:
            TrialError: it takes part in neither.
        """
        problem = ""
        for opening in openings:
            answer = conversation.ask(opening)
            if answer.result is not None:
                self.found.modern = opening is DISCOVER
                return answer.result
            problem = problem or f"its answer to `{opening.method}`: {answer.problem}"
        raise TrialError("the server opens a session neither by `initialize` nor by `server/discover`", problem)

    def _find_the_tool(self, listed: Answer | None) -> None:
        """See that the name of the tool that is to be called is not a misspelt one: servers may have tools that they do not list.

        Raises:
            TrialError: it has none of this name, and one of almost this name.
        """
        from mcpguard.inventory.check import guess

        result = (listed.result if listed is not None else None) or {}
        tools = result.get("tools")
        if self._plan.tool is None or not isinstance(tools, list) or result.get("nextCursor"):
            return
        names = [str(tool.get("name")) for tool in tools if isinstance(tool, dict)]
        meant = "" if self._plan.tool in names else guess(self._plan.tool, names)
        if meant:
            name = printable(self._plan.tool)
            raise TrialError(f"the server lists no tool `{name}`; did you mean `{printable(meant)}`?")

    def _open(self, way: Way, conversation: Conversation, *, counted: bool = True) -> Answer | None:
        """Open a session, and take the time until it is open, and until tools are listed; give that list."""
        found = self.found
        opened = conversation.ask(DISCOVER if found.modern else INITIALIZE)
        if opened.result is None:
            raise TrialError(f"{_NAMES[way]} did not open a session this time: {opened.problem}")
        if not found.modern:
            conversation.tell(INITIALIZED)
        listed = conversation.ask(self._list) if found.lists is not None else None
        if counted:
            found.start.rounds[way].append([opened.age_ns / 1e6])
            if listed is not None:
                found.ready.rounds[way].append([listed.age_ns / 1e6])
        return listed

    def _choose(self, both: Mapping[Way, Conversation]) -> None:
        """Choose what can be repeated safely, and repeat it: what the user has named, or what changes nothing."""
        found, plan = self.found, self._plan
        if found.lists is not None:
            tools = (both["direct"].ask(self._list).result or {}).get("tools")
            if isinstance(tools, list):
                found.tools = len(tools)
            else:
                found.notes.append(NO_LIST)
                found.lists, found.ready = None, Times()
        ping = Request("ping", {})
        if plan.tool is not None:
            request = plan.call(modern=found.modern)
        elif not found.modern and all(both[way].ask(ping).result is not None for way in WAYS):
            request = ping
            found.notes.append(NOT_JUDGED)
        elif found.lists is not None:
            request = self._list
        else:
            raise TrialError(
                "the server answers no request that can be repeated safely",
                "name a tool that may be called often: --tool NAME",
            )
        found.method = request.method
        self._repeat(both, request, found.requests)
        if request is self._list:
            found.lists = found.requests
        elif found.lists is not None:
            self._repeat(both, self._list, found.lists)

    def _repeat(self, both: Mapping[Way, Conversation], request: Request, times: Times) -> None:
        """Make one request again and again, in rounds: the ways take turns, and who begins changes."""
        each_s = self._warm_up(both, request)
        wanted = self._plan.calls or max(ROUNDS, min(MOST_REQUESTS, int(REQUESTS_S / each_s / len(WAYS))))
        rounds = min(ROUNDS, wanted)
        for turn in range(rounds):
            # The first rounds take what cannot be divided evenly.
            count = wanted // rounds + (turn < wanted % rounds)
            for way in _order(turn):
                self._progress.show(f"{request.method}, round {turn + 1} of {rounds}, {_HOW[way]}")
                ask = both[way].ask
                answers = [ask(request) for _ in range(count)]
                times.rounds[way].append([answer.took_ns / 1e6 for answer in answers])
                self._look_at(request, answers)

    def _warm_up(self, both: Mapping[Way, Conversation], request: Request) -> float:
        """Make some requests that do not count; give how long one took, in seconds.

        The guard comes first: what it refuses, the server is not asked directly.
        """
        self._progress.show(f"{request.method}, before the first round")
        most = min(WARM_UPS, self._plan.calls or WARM_UPS)
        took_s: list[float] = []
        begin_s = time.monotonic()
        while len(took_s) < len(WAYS) * most and (not took_s or time.monotonic() - begin_s < _WARM_UP_S):
            for way in reversed(WAYS):
                answer = both[way].ask(request)
                self._look_at(request, [answer])
                took_s.append(answer.took_ns / 1e9)
        return statistics.median(took_s)

    def _look_at(self, request: Request, answers: Sequence[Answer]) -> None:
        if request.method != "tools/call":
            return
        for answer in answers:
            refusal = _refusal(answer)
            if refusal is not None:
                self._plan.refuse_to_call(refusal)
            failed = answer.result is None or answer.result.get("isError") is True
            if failed and ANSWERED_WITH_ERROR not in self.found.notes:
                self.found.notes.append(ANSWERED_WITH_ERROR)

    def _start(self, way: Way) -> Conversation:
        return Conversation(
            self._commands[way],
            _NAMES[way],
            self._plan.timeout_s,
            eof_grace_s=_GUARD_GRACE_S if way == "guarded" else EOF_GRACE_S,
            waiting=self._progress.wait,
        )


def _guard() -> Sequence[str]:
    """Give the words that a user starts the guard with."""
    script = Path(sys.executable).with_name("mcpguard")
    return (str(script),) if os.access(script, os.X_OK) else (sys.executable, "-P", "-m", "mcpguard")


def _order(turn: int) -> tuple[Way, Way]:
    return WAYS if turn % 2 == 0 else (WAYS[1], WAYS[0])


def _refusal(answer: Answer) -> str | None:
    """Give what the guard says if it has refused a call; None if the answer is the server's."""
    error = answer.message.get("error")
    if isinstance(error, dict):
        data = error.get("data")
        return str(error.get("message")) if isinstance(data, dict) and DECISION_KEY in data else None
    result = answer.result or {}
    meta, content = result.get("_meta"), result.get("content")
    if not isinstance(meta, dict) or DECISION_KEY not in meta:
        return None
    first = content[0] if isinstance(content, list) and content else None
    return str(first.get("text")) if isinstance(first, dict) else ""
