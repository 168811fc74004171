"""Measures what the guard costs: beside no guard, and beside a relay that only copies bytes.

Usage: `make bench`, or `python benchmarks/run.py [--quick] [--json]` with mcpguard installed.  docs/performance.md says what is
measured and how to read it.

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
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from client import LIST_TOOLS, Conversation, Request, call_of, text_of
from contenders import GOVERNED_TOOLS, PROGRAMS, Contender, Field, environment, line_up
from errors import BenchError
from figures import Metric, Samples, document, p50, p99, table

IN_FLIGHT = 64
LISTED_TOOLS = 1000
SIZES = {"200 B": 200, "10 KB": 10_000, "1 MB": 1_000_000}
WARM_UP = 10
"""Requests without a clock before a block: while others had their turn, the caches have forgotten this contender."""

US = ("µs", 1e3)
MS = ("ms", 1e6)
MIB = ("MiB", float(1 << 20))


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: rounds, and how many requests each block of a round has."""

    rounds: int
    calls: dict[str, int]
    flood_calls: int
    lists: int


FULL = Plan(rounds=8, calls={"200 B": 300, "10 KB": 200, "1 MB": 100}, flood_calls=3000, lists=20)
QUICK = Plan(rounds=4, calls={"200 B": 200, "10 KB": 100, "1 MB": 20}, flood_calls=1500, lists=10)


def main(words: Sequence[str]) -> int:
    """Run the benchmark and return the exit status."""
    options = argparse.ArgumentParser(prog="benchmarks/run.py", description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="about 10 s, for a first look; there is more noise in it")
    options.add_argument("--json", action="store_true", help="a JSON document with the values of all rounds, no table")
    chosen = options.parse_args(words)
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="run-", dir=PROGRAMS) as directory:
            report = measure(QUICK if chosen.quick else FULL, Path(directory), as_json=chosen.json)
    except (BenchError, OSError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    sys.stdout.write(report + "\n")
    return 0


def measure(plan: Plan, workplace: Path, *, as_json: bool) -> str:
    """Measure everything and give the report.

    Raises:
        BenchError: a contender did not answer, or answered wrongly.
    """
    load = os.getloadavg()
    field = line_up(workplace)
    if field.remark:
        sys.stderr.write(f"bench: {field.remark}\n")
    bench = Bench(plan, field, workplace, Samples())
    gc.disable()  # a collection would fall into somebody's turn
    bench.measure_starts()
    bench.measure_lists()
    bench.measure_calls()
    machine = {
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_before": [round(value, 2) for value in load],
    }
    if as_json:
        contents = {"machine": machine, "plan": asdict(plan), "remark": field.remark}
        return json.dumps(contents | {"figures": document(bench.samples)}, indent=1)
    names = [contender.name for contender in field.contenders]
    where = f"{machine['system']}, {machine['cpus']} CPUs, Python {machine['python']}, load before {load[0]:.2f}"
    lines = [
        f"{where}; medians of {plan.rounds} rounds",
        *([field.remark] if field.remark else []),
        "/direct, /relay: how many times that of the direct way, and of the relay",
        "",
        table(bench.samples, names),
    ]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the benchmark."""

    plan: Plan
    field: Field
    workplace: Path
    samples: Samples

    def measure_starts(self) -> None:
        """Measure the way from nothing to the first answers.

        The guard answers `initialize` before it has read its policy, so the first governed answer is measured too.
        """
        text = text_of(SIZES["200 B"])
        for contender in self.field.contenders:
            with self._start(contender, GOVERNED_TOOLS) as conversation:
                conversation.open()  # the first start after a change compiles the guard
                conversation.check_echo(text)
        for turn in range(self.plan.rounds):
            for contender in self._order(turn):
                with self._start(contender, GOVERNED_TOOLS) as conversation:
                    self.samples.add(Metric("start to initialize answer", *MS), contender.name, conversation.open())
                    conversation.check_echo(text)
                    self.samples.add(Metric("start to first call's answer", *MS), contender.name, conversation.age_ns())

    def measure_lists(self) -> None:
        """Measure a long list of tools."""
        with ExitStack() as stack:
            open_ones = self._open_all(stack, LISTED_TOOLS)
            for conversation in open_ones.values():
                conversation.check_list(LISTED_TOOLS)
            for turn in range(self.plan.rounds):
                for contender in self._order(turn):
                    times = _warm_times_ns(open_ones[contender], LIST_TOOLS, self.plan.lists)
                    self.samples.add(
                        Metric(f"tools/list, {LISTED_TOOLS:,} tools, p50", *US), contender.name, p50(times)
                    )

    def measure_calls(self) -> None:
        """Measure tool calls one by one and many at once, and what memory is used after them."""
        requests = {label: call_of(text_of(size)) for label, size in SIZES.items()}
        with ExitStack() as stack:
            open_ones = self._open_all(stack, GOVERNED_TOOLS)
            for conversation in open_ones.values():
                for size in SIZES.values():
                    conversation.check_echo(text_of(size))
            for turn in range(self.plan.rounds):
                for label, request in requests.items():
                    for contender in self._order(turn):
                        conversation = open_ones[contender]
                        times = _warm_times_ns(conversation, request, self.plan.calls[label])
                        self.samples.add(Metric(f"call, {label}, p50", *US), contender.name, p50(times))
                        self.samples.add(Metric(f"call, {label}, p99", *US), contender.name, p99(times))
                flood = requests["200 B"]
                for contender in self._order(turn):
                    conversation = open_ones[contender]
                    conversation.times_ns(flood, WARM_UP)
                    rate = conversation.per_second(flood, self.plan.flood_calls, IN_FLIGHT)
                    metric = Metric(f"calls, 200 B, {IN_FLIGHT} in flight", "per s", 1)
                    self.samples.add(metric, contender.name, rate)
            for contender, conversation in open_ones.items():
                if contender.words:  # of the direct way there is nothing but the server
                    metric = Metric("memory (PSS) after all calls", *MIB)
                    self.samples.add(metric, contender.name, conversation.pss_bytes())

    def _order(self, turn: int) -> tuple[Contender, ...]:
        contenders = self.field.contenders
        first = turn % len(contenders)
        return contenders[first:] + contenders[:first]

    def _open_all(self, stack: ExitStack, tools: int) -> dict[Contender, Conversation]:
        conversations = {
            contender: stack.enter_context(self._start(contender, tools)) for contender in self.field.contenders
        }
        for conversation in conversations.values():
            conversation.open()
        return conversations

    def _start(self, contender: Contender, tools: int) -> Conversation:
        errors = self.workplace / f"{contender.name}.stderr"
        return Conversation(contender.name, self.field.command(contender, tools), environment(self.workplace), errors)


def _warm_times_ns(conversation: Conversation, request: Request, count: int) -> list[float]:
    conversation.times_ns(request, min(WARM_UP, count // 5))
    return conversation.times_ns(request, count)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
