"""Says what is compared: the ways from a client to the same server, and how each is started.

Knows nothing of what is measured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import BenchError

SOURCES = Path(__file__).resolve().parent
PROGRAMS = SOURCES.parent / ".cache" / "bench"
BUILD_TIMEOUT_S = 60
SERVERS = SOURCES.parent / ".cache" / "servers"
POLICY = "POLICY"
"""Stands in a contender's words where the path of a policy goes."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to the server: the words that stand before the server's own command; none for the direct way."""

    name: str
    words: tuple[str, ...]

    def command(self, server: Sequence[str], policy: Path) -> tuple[str, ...]:
        """Give the command that starts a server this way; a guard enforces `policy`."""
        return (*(str(policy) if word == POLICY else word for word in self.words), *server)


@dataclass(frozen=True, slots=True)
class Field:
    """All that is compared in one run, and `echo`, the command of the server that stands at the end of every way.

    `real` are other servers, by name, whose starts are measured. `remarks` say what is missing on this machine.
    """

    contenders: tuple[Contender, ...]
    echo: tuple[str, ...]
    real: dict[str, tuple[str, ...]]
    remarks: tuple[str, ...]


def line_up() -> Field:
    """Build the programs, and say what can be compared on this machine.

    Raises:
        BenchError: mcpguard is not installed beside this interpreter.
    """
    guard = Path(sys.executable).with_name("mcpguard")
    if not guard.is_file():
        raise BenchError(f"no mcpguard beside `{sys.executable}`; run `make bench`, which installs it")
    run = (str(guard), "run", "--policy", POLICY)
    real = real_servers()
    remarks = [f"{name}: not installed, so its start is not measured" for name, command in real.items() if not command]
    echo, relay = python("echo.py"), python("relay.py")
    try:
        echo, relay = (str(build("echo")),), (str(build("relay")),)
    except BenchError as error:
        remarks.insert(0, f"{error}: the server and the relay are Python programs, before which a guard looks cheaper")
    contenders = (
        Contender("direct", ()),
        Contender("relay", relay),
        Contender("guard", (*run, "--no-log", "--")),
        Contender("guard, log", (*run, "--")),
    )
    installed = {name: command for name, command in real.items() if command}
    return Field(contenders, echo, installed, tuple(remarks))


def real_servers() -> dict[str, tuple[str, ...]]:
    """Give the commands of servers that `make servers` has installed; an empty one for what is not there."""
    cache = Path(os.environ.get("MCPGUARD_SERVERS") or SERVERS).resolve()
    node = shutil.which("node")
    everything = cache / "everything/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    interpreter, notes = cache / "mcp1" / "bin" / "python", SOURCES.parent / "tests" / "support" / "sdk1_server.py"
    return {
        "server-everything": (node, str(everything), "stdio") if node and everything.is_file() else (),
        "Python SDK 1.x": (str(interpreter), str(notes)) if interpreter.exists() and notes.is_file() else (),
    }


def python(name: str) -> tuple[str, ...]:
    """Give the command of one of the Python programs beside this one."""
    return (sys.executable, str(SOURCES / name))


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
