"""Makes a million calls through one guard: nothing may be lost, come twice or come wrong, and nothing may pile up.

Usage: `make soak`, or `python benchmarks/soak.py [--calls N] [--seed N] [--log FILE]` with mcpguard installed.

Of every kind that a guard meets, in both eras of the protocol, and up to 256 in flight.  Every so often all of them are waited
for, and then memory, descriptors and threads of the guard are looked at: after the first fifth of the run they may not grow.
The decision log is written as in any run, to a temporary directory, and counted at the end; where there is no room for it, it goes
to /dev/null.  No timing is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from contenders import environment
from mixture import ADMITTED, JUDGED, POLICY, Mixture, Sent, is_right, was_admitted

SOURCES = Path(__file__).resolve().parent
WORKPLACES = SOURCES.parent / ".cache" / "soak"
LOG_BYTES_A_CALL = 2000
IN_FLIGHT = (64, 128, 256)
IN_FLIGHT_CHANGES_EVERY = 5000
SAMPLES = 50
WARM_UP = 0.2
"""Which part of the samples counts for nothing: caches and pools fill up, and windows of limits for the first time."""
JUDGED_FROM_CALLS = 200_000
"""In fewer calls, noise is larger than any leak worth finding."""
GROWTH_PER_100_000_CALLS = 128 * 1024
GROWTH_IN_ALL = 8 * 1024 * 1024
PARTS = 8
PATIENCE_S = 60.0
END_S = 15
OPENING_BYTES = 1_000_000
OPENING_AT_ONCE = 8
OPENING_ROUNDS = 3
_HEAD = b'{"jsonrpc":"2.0","id":'
_QUESTION = b'{"jsonrpc":"2.0","id":"s'
_NOTICE = b'{"jsonrpc":"2.0","method":'
_SHOWN_FAULTS = 10


class SoakError(Exception):
    """The guard does not go on: it has ended, or keeps a request waiting for too long."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The guard at a moment at which nothing is in flight.  Memory in bytes; None where the system does not say."""

    calls: int
    pss: int | None
    rss: int | None
    descriptors: int | None
    threads: int | None


class Soak:
    """One run: a guard, what was asked of it, and what is wrong with its answers."""

    def __init__(
        self, command: Sequence[str], environ: dict[str, str], errors: Path, *, seed: int, patience_s: float
    ) -> None:
        """Start the guard; what it writes to stderr goes to the file `errors`."""
        self._patience_s = patience_s
        self.faults: list[str] = []
        self.found: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.notices = 0
        self.mixture = Mixture(seed)
        self._pending: dict[bytes, Sent] = {}
        self._last: dict[str, Any] = {}
        self._cancelled: set[bytes] = set()
        self._outgoing = bytearray()
        self._incoming = bytearray()
        with errors.open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                env=environ,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._writes, self._reads = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._writes, False)
        self._poll = select.poll()
        self._poll.register(self._reads, select.POLLIN)

    def open(self) -> None:
        """Do the handshake, and have more of the largest requests and results at once than come later: memory for them is kept."""
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"roots": {}},
            "clientInfo": {"name": "soak", "version": "1"},
        }
        hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        self._pending[b"0"] = Sent(b"0", b"", "initialize", b"", is_modern=False)
        self._outgoing += json.dumps(hello).encode() + b"\n"
        self._outgoing += b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
        self.wait_for_all()
        for _ in range(OPENING_ROUNDS):
            for kind in ("echo", "big"):
                for _ in range(OPENING_AT_ONCE):
                    self.send(self.mixture.make(kind, OPENING_BYTES))
                self.wait_for_all()

    def send(self, sent: Sent) -> None:
        """Send a request, as soon as the guard takes it."""
        if sent.kind == "cancelled":
            self._cancelled.add(sent.id_)
        else:
            self._pending[sent.id_] = sent
        self._outgoing += sent.data

    def run(self, calls: int) -> Iterator[Sample]:
        """Make so many calls; yield what the guard is like, `SAMPLES` times."""
        every = max(1, calls // SAMPLES)
        room = IN_FLIGHT[0]
        yield self.sample(0)
        for number in range(1, calls + 1):
            if number % IN_FLIGHT_CHANGES_EVERY == 0:
                room = IN_FLIGHT[number // IN_FLIGHT_CHANGES_EVERY % len(IN_FLIGHT)]
            self.send(self.mixture.draw())
            if len(self._pending) >= room or len(self._outgoing) > 1 << 16:
                self.exchange(room)
            if number % every == 0:
                self.wait_for_all()
                yield self.sample(number)

    def exchange(self, room: int) -> None:
        """Write and read until fewer than `room` requests wait, and little is left to write."""
        while len(self._pending) >= room or len(self._outgoing) > 1 << 16:
            self._step()

    def wait_for_all(self) -> None:
        """Write and read until nothing is left to write, and nothing waits."""
        while self._pending or self._outgoing:
            self._step()

    def counts(self) -> dict[str, int]:
        """Ask the server how often it was called, tool by tool."""
        self._outgoing += b'{"jsonrpc":"2.0","id":"end","method":"tools/call","params":{"name":"counts"}}\n'
        self._pending[b'"end"'] = Sent(b'"end"', b"", "counts", b"", is_modern=False)
        self.wait_for_all()
        counts: dict[str, int] = json.loads(self._last["result"]["content"][0]["text"])
        return counts

    def end(self) -> int:
        """Close the guard's input and give its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired as error:
            raise SoakError(f"the guard still runs {END_S} s after the end of its input") from error

    def kill(self) -> int:
        """End the guard if it still runs, and let go of its pipes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.poll() is None:
            self._process.kill()
        with suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait(END_S)

    def sample(self, calls: int) -> Sample:
        """Look at the guard."""
        pid = self._process.pid
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            memory = {
                name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in rollup[1:])
            }
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names are enough
            threads = len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - as above
        except OSError:
            return Sample(calls, None, None, None, None)
        return Sample(calls, memory.get("Pss"), memory.get("Rss"), descriptors, threads)

    def fault(self, kind: str, shown: object) -> None:
        """Count a fault; the first ones are shown."""
        self.found[kind] += 1
        if len(self.faults) < _SHOWN_FAULTS:
            self.faults.append(f"{kind}: {shown!r}"[:400])

    def _step(self) -> None:
        """Write what the guard takes, read what it has said."""
        wanted = select.POLLOUT if self._outgoing else 0
        self._poll.register(self._writes, wanted)
        ready = dict(self._poll.poll(self._patience_s * 1000))
        if not ready:
            for sent in self._pending.values():
                self.fault("lost", sent.data)
            raise SoakError(f"{len(self._pending)} requests have waited for {self._patience_s:g} s")
        if self._outgoing and ready.get(self._writes):
            try:
                del self._outgoing[: os.write(self._writes, self._outgoing[: 1 << 16])]
            except BlockingIOError:
                pass
            except OSError as error:
                raise SoakError("the guard does not read any more") from error
        if ready.get(self._reads):
            self._read()

    def _read(self) -> None:
        chunk = os.read(self._reads, 1 << 20)
        if not chunk:
            for sent in self._pending.values():
                self.fault("lost", sent.data)
            raise SoakError(f"the guard has ended, and {len(self._pending)} requests wait")
        *lines, rest = (bytes(self._incoming) + chunk).split(b"\n") if b"\n" in chunk else (self._incoming + chunk,)
        self._incoming = bytearray(rest)
        for line in lines:
            self._take(bytes(line))

    def _take(self, line: bytes) -> None:
        if line.startswith(_QUESTION):
            id_ = json.loads(line)["id"]
            self._outgoing += f'{{"jsonrpc":"2.0","id":"{id_}","result":{{"roots":[]}}}}\n'.encode()
            return
        if line.startswith(_NOTICE):
            self.notices += 1
            return
        if not line.startswith(_HEAD):
            self.fault("wrong", line)
            return
        id_ = line[len(_HEAD) : line.index(b",", len(_HEAD))]
        sent = self._pending.pop(id_, None)
        if sent is None:
            # A call that was cancelled may have been answered before; but once only.
            if id_ not in self._cancelled:
                self.fault("twice, or never asked for", line)
            self._cancelled.discard(id_)
            return
        if sent.kind in ("initialize", "counts"):
            self._last = json.loads(line)
            return
        if not is_right(sent, line):
            self.fault(f"wrong answer to {sent.kind}", line)
        admitted = sent.kind in ADMITTED or bool(sent.right) or was_admitted(sent, line)
        self.answered[sent.kind if admitted else f"{sent.kind} refused"] += 1


def main(words: Sequence[str]) -> int:
    """Run the soak and return the exit status: 1 if anything is wrong."""
    options = argparse.ArgumentParser(prog="benchmarks/soak.py", description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--calls", type=int, default=1_000_000, help="how many calls (1000000)")
    options.add_argument("--seed", type=int, default=1, help="what they are drawn from (1)")
    options.add_argument(
        "--log", help="where the decision log goes, if not to a temporary directory; it is not counted"
    )
    options.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds of silence that mean loss (60)")
    options.add_argument(
        "--spoil", choices=["wrong", "lost"], help="let the server do one thing wrong, to see it noticed"
    )
    chosen = options.parse_args(words)
    WORKPLACES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=WORKPLACES) as directory:
        workplace = Path(directory)
        log = log_in(workplace, chosen.calls, chosen.log)
        try:
            problems = soak(chosen, workplace, log)
        except KeyboardInterrupt:
            return 130
        for problem in problems:
            sys.stderr.write(f"soak: {problem}\n")
        if not problems:
            held = f", in a log of {log.stat().st_size >> 20} MiB" if log.parent == workplace else ""
            sys.stdout.write(f"{chosen.calls} calls, nothing wrong{held}\n")
    return 1 if problems else 0


def log_in(workplace: Path, calls: int, wanted: str | None) -> Path:
    """Say where the decision log goes."""
    if wanted is not None:
        return Path(wanted)
    if shutil.disk_usage(workplace).free < 2 * calls * LOG_BYTES_A_CALL:
        sys.stderr.write("soak: there is no room for the decision log, so it goes to /dev/null and is not counted\n")
        return Path(os.devnull)
    return workplace / "decisions.jsonl"


def soak(chosen: argparse.Namespace, workplace: Path, log: Path) -> list[str]:
    """Make the calls, print the table, and give what is wrong, one line each."""
    policy, errors = workplace / "policy.json", workplace / "stderr"
    policy.write_text(json.dumps(POLICY))
    guard = [sys.executable, "-m", "mcpguard", "run", "--policy", str(policy), "--log", str(log), "--"]
    server = [sys.executable, "-I", "-S", str(SOURCES / "soak_server.py"), *([chosen.spoil] if chosen.spoil else [])]
    environ = environment(workplace)
    run = Soak([*guard, *server], environ, errors, seed=chosen.seed, patience_s=chosen.patience)
    samples: list[Sample] = []
    counts: dict[str, int] = {}
    stopped = ""
    try:
        run.open()
        samples += run.run(chosen.calls)
        counts = run.counts()
        status = run.end()
    except SoakError as error:
        stopped = str(error)
        status = run.kill()
    finally:
        run.kill()
    show(samples)
    problems = [f"{count} x {kind}" for kind, count in run.found.items()]
    problems += run.faults
    if stopped:
        return [stopped, *problems, *errors.read_text(errors="replace").splitlines()[-10:]]
    problems += miscounted(run, counts)
    if log.parent == workplace:
        problems += misrecorded(run, log)
    if status != 0 or "Traceback" in errors.read_text(errors="replace"):
        problems += [
            f"the guard has ended with status {status}",
            *errors.read_text(errors="replace").splitlines()[-10:],
        ]
    return problems + growth(samples)


def miscounted(run: Soak, counts: dict[str, int]) -> list[str]:
    """Compare what the server has got with what the client was told."""
    sent, answered = run.mixture.sent, run.answered
    right = {tool: answered[tool] for tool in ("big", "limited", "burst", "keyed", "ask", "stray")}
    right["echo"] = sent["echo"] + sent["cancelled"]
    right["notifications/progress"] = run.mixture.notifications
    right["notice"] = run.notices
    wrong = [
        f"the server has counted {counts.get(what, 0)} of {what}, not {count}"
        for what, count in right.items()
        if counts.get(what, 0) != count
    ]
    known = {*right, "notifications/initialized", "notifications/cancelled"}
    return wrong + [f"{count} of {what} have reached the server" for what, count in counts.items() if what not in known]


def misrecorded(run: Soak, log: Path) -> list[str]:
    """Compare the decision log with what was asked: one decision about each, and one outcome of each that was admitted."""
    found: Counter[bytes] = Counter()
    with log.open("rb") as file:
        for line in file:
            kind = line.split(b'"kind":"', 1)[1].split(b'"', 1)[0]
            admitted = kind == b"decision" and b'"effect":"allow"' in line
            found[kind + b" allow" if admitted else kind] += 1
    sent, answered = run.mixture.sent, run.answered
    # The server's own questions are judged, too; `counts` is the last call of all.
    allowed = 1 + answered["ask"] + sum(count for kind, count in answered.items() if kind in JUDGED) + sent["cancelled"]
    refused = sum(
        count for kind, count in answered.items() if kind.removesuffix(" refused") in JUDGED - ADMITTED
    ) - sum(answered[kind] for kind in ("limited", "burst", "keyed"))
    right = {b"decision allow": allowed, b"outcome": allowed, b"decision": refused}
    return [
        f"the log holds {found[kind]} of {kind.decode()}, not {count}"
        for kind, count in right.items()
        if found[kind] != count
    ]


def growth(samples: Sequence[Sample]) -> list[str]:
    """Say what has grown after the warm-up."""
    settled = samples[int(len(samples) * WARM_UP) :]
    first, last = settled[0], settled[-1]
    grown = [
        f"{what} have gone from {before} to {after}"
        for what, before, after in (
            ("descriptors", first.descriptors, last.descriptors),
            ("threads", first.threads, last.threads),
        )
        if before != after
    ]
    slope = slope_of(settled)
    if last.calls >= JUDGED_FROM_CALLS and slope is not None and slope > GROWTH_PER_100_000_CALLS:
        grown.append(f"memory grows by {slope / 1024:.0f} KiB in 100,000 calls")
    if first.rss is not None and last.rss is not None and last.rss - first.rss > GROWTH_IN_ALL:
        grown.append(f"memory has grown by {(last.rss - first.rss) >> 20} MiB")
    return grown


def slope_of(samples: Sequence[Sample]) -> float | None:
    """Give how much memory grows in 100,000 calls: the median over an eighth of the samples each; None if there is nothing to say.

    What leaks grows in each of them; a table that is doubled once does so in one. RSS, for the share of a process in what others use
    too changes with the others.
    """
    points = [(sample.calls, sample.rss) for sample in samples if sample.rss is not None]
    stride = max(1, (len(points) - 1) // PARTS)
    marks = points[::stride]
    slopes = [
        100_000 * (after - before) / (later - earlier)
        for (earlier, before), (later, after) in pairwise(marks)
        if later > earlier
    ]
    return median(slopes) if slopes else None


def show(samples: Sequence[Sample]) -> None:
    """Print the table: ten of the samples, and the slope."""
    if not samples:
        return
    step = max(1, (len(samples) - 1) // 10)
    shown = [*samples[:-1:step], samples[-1]]
    rows = [("calls", "PSS KiB", "RSS KiB", "descriptors", "threads")]
    rows += [
        (str(sample.calls), kib(sample.pss), kib(sample.rss), text_of(sample.descriptors), text_of(sample.threads))
        for sample in shown
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        sys.stdout.write("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + "\n")
    slope = slope_of(samples[int(len(samples) * WARM_UP) :])
    if slope is not None:
        note = "" if samples[-1].calls >= JUDGED_FROM_CALLS else " (too few calls to judge)"
        sys.stdout.write(f"RSS after the first fifth: {slope / 1024:+.0f} KiB in 100,000 calls{note}\n")


def kib(size: int | None) -> str:
    """Write a size."""
    return "-" if size is None else str(size // 1024)


def text_of(number: int | None) -> str:
    """Write a number."""
    return "-" if number is None else str(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
