"""Measures what the guard costs: beside no guard, and beside a relay that only copies bytes.

Usage: `make bench`, or `python benchmarks/run.py [--quick] [--json | --markdown]` with mcpguard installed.  docs/performance.md says
what is measured and how to read it.

The contenders take turns within every round, each time in another order, so that what else happens on the machine meets
all of them.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from client import LIST_TOOLS, Conversation, KeyedRequest, Request, call_of, text_of
from contenders import PROGRAMS, Contender, Field, environment, line_up
from errors import BenchError
from figures import Metric, Samples, document, markdown, p50, p99, table
from policies import GOVERNED_TOOLS, RULED_TOOLS, Policies, call_of_customers, call_with_arguments, write_policies

IN_FLIGHT = 64
LISTED_TOOLS = 1000
SIZES = {"200 B": 200, "10 KB": 10_000, "1 MB": 1_000_000}
FLOOD_CALLS = 5000
"""How many calls of a flood are looked at together: every wait is bounded for that many."""
WARM_UP = 10
"""Requests without a clock before a block: while others had their turn, the caches have forgotten this contender."""

US = ("µs", 1e3)
MS = ("ms", 1e6)
MIB = ("MiB", float(1 << 20))


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: rounds, and how many requests each block of a round has; fewer rounds of what takes long.

    `memory_calls` are made before memory is looked at, `keys` are counted apart by one limit.
    """

    rounds: int
    calls: dict[str, int]
    flood_calls: int
    lists: int
    slow_rounds: int
    memory_calls: int
    keys: int


FULL = Plan(
    rounds=8,
    calls={"200 B": 300, "10 KB": 200, "1 MB": 100},
    flood_calls=3000,
    lists=20,
    slow_rounds=5,
    memory_calls=100_000,
    keys=100_000,
)
QUICK = Plan(
    rounds=4,
    calls={"200 B": 200, "10 KB": 100, "1 MB": 20},
    flood_calls=1500,
    lists=10,
    slow_rounds=1,
    memory_calls=20_000,
    keys=20_000,
)


def main(words: Sequence[str]) -> int:
    """Run the benchmark and return the exit status."""
    options = argparse.ArgumentParser(prog="benchmarks/run.py", description=(__doc__ or "").partition("\n")[0])
    options.add_argument(
        "--quick", action="store_true", help="under a minute, for a first look; there is more noise in it"
    )
    form = options.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON document with the values of all rounds, no table")
    form.add_argument("--markdown", action="store_true", help="the table in Markdown, for docs/performance.md")
    chosen = options.parse_args(words)
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="run-", dir=PROGRAMS) as directory:
            report = measure(
                QUICK if chosen.quick else FULL,
                Path(directory),
                form="json" if chosen.json else "markdown" if chosen.markdown else "text",
            )
    except (BenchError, OSError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    sys.stdout.write(report + "\n")
    return 0


def measure(plan: Plan, workplace: Path, *, form: str) -> str:
    """Measure everything and give the report.

    Raises:
        BenchError: a contender did not answer, or answered wrongly.
    """
    load = os.getloadavg()
    field = line_up()
    for remark in field.remarks:
        sys.stderr.write(f"bench: {remark}\n")
    bench = Bench(plan, field, workplace, write_policies(workplace), Samples())
    gc.disable()  # a collection would fall into somebody's turn
    for name, section in (
        ("starts", bench.measure_starts),
        ("starts of real servers", bench.measure_real_starts),
        ("lists", bench.measure_lists),
        ("calls", bench.measure_calls),
        ("policies", bench.measure_policies),
        ("keys of a limit", bench.measure_keys),
        ("memory", bench.measure_memory),
    ):
        if sys.stderr.isatty():
            sys.stderr.write(f"bench: {name}\n")
        section()
    machine = {
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_before": [round(value, 2) for value in load],
    }
    if form == "json":
        contents = {"machine": machine, "plan": asdict(plan), "remarks": list(field.remarks)}
        return json.dumps(contents | {"figures": document(bench.samples)}, indent=1)
    names = [contender.name for contender in field.contenders]
    lines = [
        f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['system']}, Python {machine['python']}, load before {load[0]:.2f}",
        f"medians of {plan.rounds} rounds, of {plan.slow_rounds} for real servers and large policies",
        *field.remarks,
        "/direct, /relay: how many times that of the direct way, and of the relay",
    ]
    if form == "markdown":
        return "\n".join([*(f"{line}  " for line in lines[:-1]), lines[-1], "", markdown(bench.samples, names)])
    return "\n".join([*lines, "", table(bench.samples, names)])


def cpu_model() -> str:
    """Give the processor's name, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown CPU"


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the benchmark."""

    plan: Plan
    field: Field
    workplace: Path
    policies: Policies
    samples: Samples

    def measure_starts(self) -> None:
        """Measure the way from nothing to the first answers.

        The guard answers `initialize` before it has read its policy, so the first governed answer is measured too.
        """
        text = text_of(SIZES["200 B"])
        for contender in self.field.contenders:
            with self._start(contender) as conversation:
                conversation.open()  # the first start after a change compiles the guard
                conversation.check_echo(text)
        for turn in range(self.plan.rounds):
            for contender in self._order(turn):
                with self._start(contender) as conversation:
                    self.samples.add(Metric("start to initialize", *MS), contender.name, conversation.open())
                    conversation.check_echo(text)
                    self.samples.add(Metric("start to first call", *MS), contender.name, conversation.age_ns())

    def measure_real_starts(self) -> None:
        """Measure the same with servers that take their time, up to their lists of tools, for their tools are not ours to call."""
        for name, server in self.field.real.items():
            for contender in self.field.contenders:
                with self._start(contender, server=server) as conversation:
                    conversation.open()
            for turn in range(self.plan.slow_rounds):
                for contender in self._order(turn):
                    with self._start(contender, server=server) as conversation:
                        self.samples.add(
                            Metric(f"start to initialize, {name}", *MS), contender.name, conversation.open()
                        )
                        conversation.list_once()
                        self.samples.add(
                            Metric(f"start to list of tools, {name}", *MS), contender.name, conversation.age_ns()
                        )

    def measure_lists(self) -> None:
        """Measure a long list of tools."""
        with self._open_all(tools=LISTED_TOOLS) as open_ones:
            for conversation in open_ones.values():
                conversation.check_list(LISTED_TOOLS)
            metric = Metric(f"tools/list, {LISTED_TOOLS:,} tools, p50", *US)
            self._measure_blocks(open_ones, LIST_TOOLS, self.plan.lists, metric)

    def measure_calls(self) -> None:
        """Measure tool calls one by one and many at once."""
        requests = {label: call_of(text_of(size)) for label, size in SIZES.items()}
        with self._open_all() as open_ones:
            for conversation in open_ones.values():
                for size in SIZES.values():
                    conversation.check_echo(text_of(size))
            for label, request in requests.items():
                metrics = Metric(f"call, {label}, p50", *US), Metric(f"call, {label}, p99", *US)
                self._measure_blocks(open_ones, request, self.plan.calls[label], *metrics)
            for turn in range(self.plan.rounds):
                flood = requests["200 B"]
                for contender in self._order(turn):
                    conversation = open_ones[contender]
                    conversation.times_ns(flood, WARM_UP)
                    rate = conversation.per_second(flood, self.plan.flood_calls, IN_FLIGHT)
                    metric = Metric(f"calls, 200 B, {IN_FLIGHT} in flight", "per s", 1)
                    self.samples.add(metric, contender.name, rate)

    def measure_policies(self) -> None:
        """Measure what longer and longer policies cost, at the start and in a call."""
        request = call_with_arguments(text_of(SIZES["200 B"]))
        for tools in RULED_TOOLS:
            policy = self.policies.rules[tools]
            label = f"{tools:,} tool{'' if tools == 1 else 's'} of 10 conditions"
            for turn in range(self.plan.slow_rounds):
                for contender in self._order(turn):
                    with self._start(contender, policy=policy) as conversation:
                        conversation.open()
                        conversation.check_call(request)
                        self.samples.add(
                            Metric(f"start to first call, {label}", *MS), contender.name, conversation.age_ns()
                        )
            with self._open_all(policy=policy) as open_ones:
                metric = Metric(f"call, 200 B, {label}, p50", *US)
                self._measure_blocks(open_ones, request, self.plan.calls["200 B"], metric)

    def measure_keys(self) -> None:
        """Measure calls that are counted by a limit which has seen many keys, and what memory these take."""
        request = call_of_customers(text_of(SIZES["200 B"]), self.plan.keys)
        label = f"{self.plan.keys:,} keys of a limit"
        with self._open_all(policy=self.policies.keys) as open_ones:
            for conversation in open_ones.values():
                self._flood(conversation, request, self.plan.keys)
            self._measure_blocks(
                open_ones, request, self.plan.calls["200 B"], Metric(f"call, 200 B, {label}, p50", *US)
            )
        for contender in self.field.contenders[1:]:
            with self._start(contender, policy=self.policies.keys) as conversation:
                conversation.open()
                self._flood(conversation, request, self.plan.keys)
                self._measure_memory(contender, conversation, f"memory, {label}")

    def measure_memory(self) -> None:
        """Measure memory at the beginning and later, of one contender at a time: two guards would share pages."""
        request = call_of(text_of(SIZES["200 B"]))
        for contender in self.field.contenders[1:]:  # of the direct way there is nothing but the server
            with self._start(contender) as conversation:
                conversation.open()
                conversation.check_call(request)
                self._measure_memory(contender, conversation, "memory, after the first call")
                self._flood(conversation, request, self.plan.memory_calls)
                self._measure_memory(contender, conversation, f"memory, after {self.plan.memory_calls:,} calls")

    def _measure_memory(self, contender: Contender, conversation: Conversation, label: str) -> None:
        self.samples.add(Metric(label, *MIB), contender.name, conversation.pss_bytes())

    def _measure_blocks(
        self,
        open_ones: dict[Contender, Conversation],
        request: Request | KeyedRequest,
        count: int,
        middle: Metric,
        tail: Metric | None = None,
    ) -> None:
        for turn in range(self.plan.rounds):
            for contender in self._order(turn):
                conversation = open_ones[contender]
                conversation.times_ns(request, min(WARM_UP, count // 5))
                times = conversation.times_ns(request, count)
                self.samples.add(middle, contender.name, p50(times))
                if tail is not None:
                    self.samples.add(tail, contender.name, p99(times))

    def _flood(self, conversation: Conversation, request: Request | KeyedRequest, count: int) -> None:
        for begin in range(0, count, FLOOD_CALLS):
            conversation.per_second(request, min(FLOOD_CALLS, count - begin), IN_FLIGHT)

    def _order(self, turn: int) -> tuple[Contender, ...]:
        contenders = self.field.contenders
        first = turn % len(contenders)
        return contenders[first:] + contenders[:first]

    @contextmanager
    def _open_all(
        self, *, policy: Path | None = None, tools: int = GOVERNED_TOOLS
    ) -> Iterator[dict[Contender, Conversation]]:
        with ExitStack() as stack:
            conversations = {
                contender: stack.enter_context(self._start(contender, policy=policy, tools=tools))
                for contender in self.field.contenders
            }
            for conversation in conversations.values():
                conversation.open()
            yield conversations

    def _start(
        self,
        contender: Contender,
        *,
        policy: Path | None = None,
        tools: int = GOVERNED_TOOLS,
        server: Sequence[str] | None = None,
    ) -> Conversation:
        command = contender.command(server or (*self.field.echo, str(tools)), policy or self.policies.limits)
        errors = self.workplace / f"{contender.name}.stderr"
        return Conversation(contender.name, command, environment(self.workplace), errors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
