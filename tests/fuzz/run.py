"""Runs the fuzzers in turn for as long as asked, each time with other examples; stops at the first failure and shows it.

Usage: `make fuzz`, or `python tests/fuzz/run.py [--seconds N] [--seed TEXT] [--times N] [WORDS FOR PYTEST...]`.

Between two rounds of one fuzzer the clock is looked at, so it takes up to one round longer.  What a failing round prints is
the smallest example that was found, to be kept as a test; the seed makes the same round again.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
TIMES = 5
"""How many times as many examples as in `make test` a round has: a quarter of a minute of each fuzzer, about."""


def main(words: Sequence[str]) -> int:
    """Run the fuzzers and return the exit status."""
    options = argparse.ArgumentParser(prog="tests/fuzz/run.py", description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--seconds", type=float, default=60, help="for how long (60)")
    options.add_argument("--seed", default=secrets.token_hex(4), help="what the examples come from (something new)")
    options.add_argument(
        "--times", type=int, default=TIMES, help=f"examples of a round, in times of `make test` ({TIMES})"
    )
    chosen, rest = options.parse_known_args(words)
    end_s = time.monotonic() + chosen.seconds
    fuzzers = sorted(HERE.glob("test_fuzz_*.py"))
    number = 0
    while number == 0 or time.monotonic() < end_s:
        fuzzer, seed = fuzzers[number % len(fuzzers)], f"{chosen.seed}.{number // len(fuzzers)}"
        say(f"fuzz: {fuzzer.stem}, FUZZ_SEED={seed} FUZZ_TIMES={chosen.times}")
        environment = {**os.environ, "FUZZ_SEED": seed, "FUZZ_TIMES": str(chosen.times)}
        command = [sys.executable, "-m", "pytest", "--quiet", "--no-header", str(fuzzer), *rest]
        status = subprocess.run(command, cwd=HERE.parent.parent, env=environment, check=False).returncode
        # Words for pytest may have chosen none of this fuzzer.
        if status not in (0, NOTHING_CHOSEN):
            again = f"FUZZ_SEED={seed} FUZZ_TIMES={chosen.times} {sys.executable} -m pytest {fuzzer}"
            say(f"fuzz: {fuzzer.stem} has failed; to see it again: {again}")
            return status
        number += 1
    say(f"fuzz: {number} rounds, nothing found")
    return 0


NOTHING_CHOSEN = 5
"""What pytest says if there is no test to run."""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
