"""Says what is compared: the ways from a client to the same server, and how each is started.

Knows nothing of what is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from errors import BenchError

SOURCES = Path(__file__).resolve().parent
PROGRAMS = SOURCES.parent / ".cache" / "bench"
BUILD_TIMEOUT_S = 60
GOVERNED_TOOLS = 50
UNREACHABLE = 1_000_000_000
"""A limit that is counted on every call and never reached."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to the server: the words that stand before the server's own command; none for the direct way."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """All that is compared in one run, and `server`, the command that stands at the end of every way.

    `remark` says what is missing on this machine, or is empty.
    """

    contenders: tuple[Contender, ...]
    server: tuple[str, ...]
    remark: str

    def command(self, contender: Contender, tools: int) -> tuple[str, ...]:
        """Give the command that starts `contender` before a server with that many tools."""
        return (*contender.words, *self.server, str(tools))


def line_up(workplace: Path) -> Field:
    """Build the programs, write the policy into `workplace`, and say what can be compared on this machine.

    Raises:
        BenchError: mcpguard is not installed beside this interpreter.
    """
    guard = Path(sys.executable).with_name("mcpguard")
    if not guard.is_file():
        raise BenchError(f"no mcpguard beside `{sys.executable}`; run `make bench`, which installs it")
    policy = workplace / "policy.json"
    policy.write_text(json.dumps(policy_with_limits()))
    run = (str(guard), "run", "--policy", str(policy))
    guards = (Contender("guard", (*run, "--no-log", "--")), Contender("guard, log", (*run, "--")))
    direct = Contender("direct", ())
    try:
        echo, relay = build("echo"), build("relay")
    except BenchError as error:
        server = (sys.executable, str(SOURCES / "echo.py"))
        return Field(
            (direct, *guards), server, f"{error}: the server is echo.py, and there is no relay to compare with"
        )
    return Field((direct, Contender("relay", (str(relay),)), *guards), (str(echo),), "")


def policy_with_limits() -> dict[str, object]:
    """Give a policy that names 50 tools, each with one limit of its own, and lets every other tool pass."""
    limit = {"max": UNREACHABLE, "window": "minute"}
    tools = {f"echo_{number}": {"rate_limit": limit} for number in range(GOVERNED_TOOLS)}
    return {"version": "1", "default": "allow", "tools": tools}


def environment(workplace: Path) -> dict[str, str]:
    """Give the environment for every contender: what the guard keeps for itself goes to `workplace`.

    Python may keep its byte code, as it does for a user, or each start would compile the guard anew.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {f"XDG_{kind}_HOME": str(workplace / kind.lower()) for kind in ("STATE", "DATA", "CACHE")}


def build(name: str) -> Path:
    """Compile a program unless it is newer than its source, and give its path.

    Raises:
        BenchError: there is no compiler, or it fails.
    """
    source, program = SOURCES / f"{name}.c", PROGRAMS / name
    if program.is_file() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    wanted = os.environ.get("CC", "cc")
    compiler = shutil.which(wanted)
    if compiler is None:
        raise BenchError(f"no C compiler `{wanted}`")
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-O2", "-Wall", "-Wextra", "-pthread", "-o", str(program), str(source)]
    try:
        subprocess.run(command, check=True, timeout=BUILD_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"`{wanted}` cannot compile {source.name}") from error
    return program
