"""Plays the corpus against a guard, or against a bare server, and says what does not hold.

    python3 tests/corpus/run.py
        no guard: proves of each case that it shows something, as its field `unguarded` says
    python3 tests/corpus/run.py --wrap 'mcpguard run --policy {policy} -- {server}'

Exit status: 0 everything holds, 1 something does not, 2 wrong usage, or a guard that does not even let an allowed call
pass.  README.md says more.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from corpus.case import POLICIES, Case, CaseError, load_cases
from corpus.checks import Problem, judge, outcome
from corpus.play import BARE, Setup, kind_of, play_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from corpus.play import Played

PREFLIGHT = "00-preflight"
MAX_SHOWN = 8
"""How many problems of one play are printed."""


def main(words: Sequence[str] | None = None) -> int:
    """Play what the command line asks for; give the exit status."""
    options = _options(words)
    try:
        cases = load_cases([each for each in options.only.split(",") if each])
        preflight = load_cases([PREFLIGHT])
    except CaseError as error:
        return _complain(str(error))
    if options.no_slow:
        cases = [case for case in cases if not case.slow]
    if options.policies is not None:
        cases = [case for case in cases if (options.policies / f"{case.policy}.json").is_file()]
    if not cases:
        return _complain("no such case")
    setup = Setup(options.wrap or BARE, options.policies or POLICIES, options.timeout, options.share)
    try:
        if setup.guarded:
            for result in _results(setup, preflight, 1):
                if result.problems:
                    return _complain(f"an allowed call does not even pass: {_said(result)}\n{result.played.stderr}")
        results = _results(setup, cases, options.jobs)
    except OSError as error:
        return _complain(f"{setup.command}: {error}")
    bad = [result for result in results if not result.good]
    if options.json:
        sys.stdout.write(json.dumps([result.as_json() for result in results], indent=1) + "\n")
    else:
        shown = results if options.v else bad
        sys.stdout.write("".join(f"{_said(result)}\n" for result in shown))
        sys.stdout.write(f"{len(results)} plays of {len(cases)} cases: {len(bad)} do not hold\n")
    return 1 if bad else 0


class Result:
    """What became of one play of a case."""

    def __init__(self, played: Played, setup: Setup) -> None:
        self.played = played
        self.problems: list[Problem] = judge(played)
        self.outcome, self.times = outcome(self.problems)
        shown = (self.outcome, self.times) == (played.case.unguarded, played.case.times)
        self.good = not self.problems if setup.guarded else shown

    @property
    def name(self) -> str:
        """The case and the era that it was played in."""
        return f"{self.played.case.name} [{self.played.era}]"

    def as_json(self) -> dict[str, Any]:
        """Everything about it, for programs."""
        return {
            "case": self.played.case.name,
            "era": self.played.era,
            "good": self.good,
            "outcome": self.outcome,
            "problems": [{"kind": problem.kind, "found": problem.found} for problem in self.problems],
            "ran": self.played.ran,
        }


def play_cases(setup: Setup, cases: Sequence[Case], jobs: int = 1) -> list[Result]:
    """Play cases, several at once, and judge each."""
    return _results(setup, cases, jobs)


def _results(setup: Setup, cases: Sequence[Case], jobs: int) -> list[Result]:
    # What can share a session is dealt out in one run for each job, what cannot in single plays.
    plays = [(kind_of(setup, case, era), (case, era)) for case in cases for era in case.eras]
    sharing = [play for _, play in sorted(((k, p) for k, p in plays if k), key=lambda pair: pair[0])]
    size = -(-len(sharing) // jobs) or 1
    batches = [sharing[at : at + size] for at in range(0, len(sharing), size)]
    batches += [[play] for kind, play in plays if kind is None]

    def play_batch(batch: list[tuple[Case, str]]) -> list[Result]:
        return [Result(played, setup) for played in play_all(setup, batch, lambda played: not judge(played))]

    with ThreadPoolExecutor(jobs) as pool:
        results = [result for batch in pool.map(play_batch, batches) for result in batch]
    return sorted(results, key=lambda result: result.name)


def _said(result: Result) -> str:
    case = result.played.case
    word = "ok" if result.good else "FAILED"
    lines = [
        f"{word:6} {result.name}: {result.outcome} ({result.times}); without a guard: {case.unguarded} ({case.times})"
    ]
    lines += [f"       {problem}" for problem in result.problems[:MAX_SHOWN]]
    more = len(result.problems) - MAX_SHOWN
    return "\n".join(lines + ([f"       … and {more} more"] if more > 0 else []))


def _complain(text: str) -> int:
    sys.stderr.write(f"run.py: {text}\n")
    return 2


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--wrap", metavar="COMMAND", help="the guard's command line; {server} and {policy} are filled in"
    )
    parser.add_argument("--only", metavar="A,B", default="", help="only cases whose names begin so")
    parser.add_argument("--no-slow", action="store_true", help="leave out the cases that are marked slow")
    parser.add_argument(
        "--policies",
        metavar="DIR",
        type=Path,
        help="take the policies from DIR, and leave out cases whose policy is not there",
    )
    parser.add_argument("--share", action="store_true", help="play cases in one session where they allow it: quicker")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="how many sessions at once (default: 2)")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=20, help="how long to wait for what has to come (default: 20)"
    )
    parser.add_argument("--json", action="store_true", help="print all results as JSON")
    parser.add_argument("-v", action="store_true", help="name every case")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
