"""Says what the guard costs in front of one server: `mcpguard bench`."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.cli.console import report_console
from mcpguard.cli.cost import Compared, Cost, duration, percent, sentences, span
from mcpguard.cli.policy_files import loaded_policy
from mcpguard.cli.trial import MOST_REQUESTS, REQUESTS_S, Measured, Plan, measure
from mcpguard.policy.decision import ToolCall
from mcpguard.policy.evaluate import evaluate
from mcpguard.protocol.wire import CLIENT, Malformed, decode
from mcpguard.proxy.leftovers import no_leftovers
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOW_EVERYTHING: Final = '{"version": "1", "default": "allow"}\n'
TIMEOUT_S: Final = 60.0
_TOLD_AFTER_S: Final = 2.0
_FEWEST_COLUMNS, _MOST_COLUMNS = 60, 100


@click.command(
    context_settings={"allow_interspersed_args": False},
    options_metavar="[--policy FILE] [--tool NAME --arguments JSON] [OPTIONS]",
    epilog="Exit status: 0 if it was measured, 1 if the server could not be, 2 for wrong usage, 3 if the policy cannot be used, "
    "127 if the command cannot be found, 126 if it cannot be executed, 128 + n after signal n.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARG]...")
@click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(readable=False, path_type=Path),
    help="The policy that the guard enforces.  Default: one that allows everything.",
)
@click.option(
    "--tool",
    metavar="NAME",
    help="Measure calls of this tool.  They are really made: name one that may be called often.",
)
@click.option("--arguments", metavar="JSON", help="The arguments of these calls: a JSON object.  Default: {}.")
@click.option(
    "--calls",
    metavar="N",
    type=click.IntRange(1, 1_000_000),
    help=f"Make N requests of each kind, each way.  Default: as many as take {REQUESTS_S:g} s, at most {MOST_REQUESTS:,}.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=TIMEOUT_S,
    help=f"How long any answer may take, the first one included.  Default: {TIMEOUT_S:g}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(
    *,
    command: tuple[str, ...],
    policy: Path | None,
    tool: str | None,
    arguments: str | None,
    calls: int | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Measure what the guard costs in front of your own server.

    Starts COMMAND several times, as it is and behind `mcpguard run`, and asks both in turns. By default that is a request that changes
    nothing: `ping`, or `tools/list` where there is no ping. A tool is called only if you name it. Afterwards everything is ended.
    """
    if arguments is not None and tool is None:
        raise click.UsageError("--arguments are those of a --tool.")
    given = _arguments(arguments)
    with no_leftovers(), tempfile.TemporaryDirectory(prefix="mcpguard-bench-") as directory:
        everything = Path(directory, "policy.json")
        everything.write_text(ALLOW_EVERYTHING)
        plan = Plan(command, policy or everything, tool, given, calls, timeout_s)
        _check_policy(plan)
        with _Progress() as progress:
            measured = measure(plan, Path(directory), progress)
    report = _report(plan, policy, measured)
    if as_json:
        click.echo(json.dumps(_as_json(report), indent=2))
    else:
        _print(report)


# What is asked for


def _arguments(text: str | None) -> dict[str, object]:
    import jiter

    try:
        value = jiter.from_json((text or "{}").encode(), catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        raise click.UsageError(f"--arguments: this is no JSON: {printable(str(error))}.") from None
    if not isinstance(value, dict):
        raise click.UsageError("--arguments: the arguments of a call are a JSON object, like '{\"amount\": 5}'.")
    return value


def _check_policy(plan: Plan) -> None:
    """Look, before anything is started, whether the policy can be used, and allows the call that is to be measured."""
    from mcpguard.proxy.links import resolver

    loaded = loaded_policy(plan.policy)
    if plan.tool is None:
        return
    try:
        # As the guard will read it: numbers are exact there.
        arguments = decode(plan.call(modern=False).line(0)[:-1], CLIENT).params["arguments"]
    except Malformed as malformed:
        raise click.UsageError(f"--arguments: the guard refuses to read this: {printable(malformed.reason)}.") from None
    decision = evaluate(loaded.policy, ToolCall(plan.tool, arguments, resolver(str(Path.cwd()))))
    if decision.effect != "allow":
        plan.refuse_to_call(decision.reasons[0].message if decision.reasons else f"{decision.entry} hides it")


# Being watched, and being interrupted


class _Progress:
    """Says on a terminal what is being done, on one line that is gone at the end; elsewhere nothing."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._text = ""
        self._width = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")

    def show(self, text: str) -> None:
        """Say what comes next."""
        self._text = text
        self._write(text)

    def wait(self, waited_s: float) -> None:
        """Say that it takes its time."""
        if waited_s >= _TOLD_AFTER_S:
            self._write(f"{self._text}: waiting for an answer, {waited_s:.0f} s")

    def _write(self, text: str) -> None:
        if self._shown:
            line = f"mcpguard bench: {text}"[: shutil.get_terminal_size().columns - 1] if text else ""
            sys.stderr.write(f"\r{line.ljust(self._width)}" + ("" if line else "\r"))
            sys.stderr.flush()
            self._width = len(line)


# Saying what was found


@dataclass(frozen=True, slots=True)
class Report:
    """What is printed, for people or for programs; `policy` is None for the one that allows everything."""

    plan: Plan
    policy: Path | None
    measured: Measured
    start: Compared
    ready: Compared | None
    request_p50: Compared
    request_p99: Compared | None
    list_p50: Compared | None
    list_p99: Compared | None
    sentence: str
    notes: tuple[str, ...]


def _report(plan: Plan, policy: Path | None, measured: Measured) -> Report:
    start, request = measured.start.compare_p50(), measured.requests.compare_p50()
    assert start is not None
    assert request is not None
    ready, request_p99, lists = measured.ready.compare_p50(), measured.requests.compare_p99(), measured.lists
    notes = []
    if policy is None:
        notes.append("Measured with a temporary policy that allows everything; --policy FILE takes yours.")
    notes += measured.notes
    if sys.dont_write_bytecode:
        notes.append(
            "PYTHONDONTWRITEBYTECODE is set: the guard may be compiled anew at every start, which takes longest."
        )
    if request_p99 is None:
        notes.append("There is no p99: that takes more requests each way; --calls 1000 is enough.")
    what = f"a call of `{printable(plan.tool)}`" if plan.tool is not None else f"a request (`{measured.method}`)"
    memory = None if measured.memory is None else measured.memory[1]
    return Report(
        plan=plan,
        policy=policy,
        measured=measured,
        start=start,
        ready=ready,
        request_p50=request,
        request_p99=request_p99,
        list_p50=None if lists is None else lists.compare_p50(),
        list_p99=None if lists is None else lists.compare_p99(),
        sentence=sentences(Cost(what, request, start, ready, memory)),
        notes=tuple(notes),
    )


def _as_json(report: Report) -> dict[str, object]:
    measured = report.measured
    era = "2026-07-28" if measured.modern else "handshake"
    return {
        "server": {**measured.server, "era": era, "tools": measured.tools},
        "policy": None if report.policy is None else str(report.policy),
        "request": {"method": measured.method, "tool": report.plan.tool},
        "start": _compared_as_json(report.start),
        "first_list": _compared_as_json(report.ready),
        "request_p50": _compared_as_json(report.request_p50),
        "request_p99": _compared_as_json(report.request_p99),
        "list_p50": _compared_as_json(report.list_p50),
        "list_p99": _compared_as_json(report.list_p99),
        "memory": None if measured.memory is None else {"kind": measured.memory[0], "bytes": measured.memory[1]},
        "sentence": report.sentence,
        "notes": list(report.notes),
        "machine": _machine(),
    }


def _compared_as_json(compared: Compared | None) -> dict[str, object] | None:
    if compared is None:
        return None
    return {
        "direct_ms": round(compared.direct, 6),
        "guarded_ms": round(compared.guarded, 6),
        "added_ms": round(compared.added, 6),
        "low_ms": round(compared.low, 6),
        "high_ms": round(compared.high, 6),
        "measurable": compared.is_measurable,
        "rounds": compared.rounds,
        "samples": compared.samples,
    }


def _machine() -> dict[str, object]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": cpus,
        "python": platform.python_version(),
    }


def _print(report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    console = report_console(columns=(_FEWEST_COLUMNS, _MOST_COLUMNS))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for head in ("direct", "guarded", "added", "", "between"):
        table.add_column(head, justify="right", no_wrap=True)
    for label, compared in _rows(report):
        sure = compared.is_measurable
        table.add_row(
            label,
            duration(compared.direct),
            duration(compared.guarded),
            Text(_signed(compared.added), style="" if sure else "dim"),
            Text(percent(compared) if sure else "noise", style="dim"),
            Text(span(compared.low, compared.high), style="dim"),
        )
    measured = report.measured
    if measured.memory is not None:
        kind, size = measured.memory
        table.add_row(f"memory ({kind.upper()})", "", "", f"+{size / (1 << 20):.0f} MiB")
    console.print(table)
    console.print(_samples(report), style="dim")
    console.print()
    console.print(report.sentence, style="bold")
    for note in report.notes:
        console.print(note, style="dim")


def _rows(report: Report) -> Iterator[tuple[str, Compared]]:
    measured = report.measured
    tools = (
        "tools/list" if measured.tools is None else f"list of {measured.tools} tool{'' if measured.tools == 1 else 's'}"
    )
    rows = {"start": report.start, "start to first list": report.ready}
    if measured.lists is not measured.requests:
        request = measured.method if report.plan.tool is None else "call"
        rows |= {f"{request}, p50": report.request_p50, f"{request}, p99": report.request_p99}
    rows |= {f"{tools}, p50": report.list_p50, f"{tools}, p99": report.list_p99}
    yield from ((label, compared) for label, compared in rows.items() if compared is not None)


def _samples(report: Report) -> str:
    """Say how much was measured."""
    measured = report.measured
    counts = {"starts": measured.start.samples, measured.method: measured.requests.samples}
    if measured.lists is not None:
        counts["tools/list"] = measured.lists.samples
    counted = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return f"each way {counted}; `between` holds with 95 % certainty"


def _signed(ms: float) -> str:
    return f"{'+' if ms >= 0 else '-'}{duration(abs(ms))}"
