"""Nothing of a server outlives its guard under the programs that clients start most servers with: `uvx` and `npx`.

Both run offline, on packages that are made here; each stands as several processes between the guard and the server.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from support.fake_server import fake_server
from support.processes import descendants, wait_until_gone
from support.servers import require_program, require_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support import StdioPeer
    from support.guards import StartGuard

    Wrapped: TypeAlias = tuple[list[str], Mapping[str, str]]

pytestmark = pytest.mark.real_server

GONE_S = 20.0
SERVER = fake_server("ignore-eof", "ignore-term")
"""A server that nothing but SIGKILL ends."""

SCRIPT = f"""\
import os

def main():
    os.execv({SERVER[0]!r}, {SERVER!r})
"""

PROGRAM = f"""\
#!/usr/bin/env node
const [program, ...words] = {json.dumps(SERVER)};
const server = require("node:child_process").spawn(program, words, {{ stdio: "inherit" }});
server.on("exit", (code) => process.exit(code ?? 1));
"""


def wheel(directory: Path) -> Path:
    """Make the smallest package of Python with a command, `stubborn`."""
    files = {
        "stubborn.py": SCRIPT,
        "stubborn-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: stubborn\nVersion: 1\n",
        "stubborn-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "stubborn-1.dist-info/entry_points.txt": "[console_scripts]\nstubborn = stubborn:main\n",
    }
    records = [f"{name},sha256={_digest(content)},{len(content.encode())}\n" for name, content in files.items()]
    files["stubborn-1.dist-info/RECORD"] = "".join([*records, "stubborn-1.dist-info/RECORD,,\n"])
    path = directory / "stubborn-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _digest(content: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def under_uvx(home: Path, tmp_path: Path) -> Wrapped:
    """Return the command and the environment of the server under `uvx`."""
    uvx = require_server("uv") / "bin" / "uvx"
    words = ["--offline", "--no-index", "--no-config", "--python", sys.executable, "--from", str(wheel(tmp_path))]
    env = os.environ | {"HOME": str(home), "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_PYTHON_DOWNLOADS": "never"}
    return [str(uvx), *words, "stubborn"], env


@pytest.fixture
def under_npx(home: Path, tmp_path: Path) -> Wrapped:
    """Return the command and the environment of the server under `npx`; it is found from the working directory."""
    npx = require_program("npx")
    package = tmp_path / "node_modules" / "stubborn"
    package.mkdir(parents=True)
    manifest = {"name": "stubborn", "version": "1.0.0", "bin": {"stubborn": "main.js"}}
    (package / "package.json").write_text(json.dumps(manifest))
    (package / "main.js").write_text(PROGRAM)
    (package / "main.js").chmod(0o755)
    commands = tmp_path / "node_modules" / ".bin"
    commands.mkdir()
    (commands / "stubborn").symlink_to("../stubborn/main.js")
    env = os.environ | {"HOME": str(home), "npm_config_update_notifier": "false"}
    return [npx, "--offline", "--no-install", "stubborn"], env


@pytest.fixture(params=["under_uvx", "under_npx"], ids=["uvx", "npx"])
def wrapped(request: pytest.FixtureRequest) -> Wrapped:
    found: Wrapped = request.getfixturevalue(request.param)
    return found


def begun(start: StartGuard, wrapped: Wrapped) -> tuple[StdioPeer, set[int]]:
    """Start a guard, let the server start a grandchild, and return all that stands below the guard."""
    command, env = wrapped
    peer = start(server=command, env=env)
    peer.initialize()
    grandchild = int(peer.call("spawn")["result"]["content"][0]["text"])
    tree = descendants(peer.pid)
    assert grandchild in tree
    # The supervisor, the wrapper, the server and its child at the least.
    assert len(tree) >= 4
    return peer, tree


def test_nothing_of_a_wrapped_server_outlives_a_guard_that_is_killed(start: StartGuard, wrapped: Wrapped) -> None:
    peer, tree = begun(start, wrapped)
    os.kill(peer.pid, signal.SIGKILL)
    assert wait_until_gone(tree, GONE_S) == set()
    assert peer.wait() == -signal.SIGKILL


def test_nothing_of_a_wrapped_server_outlives_a_guard_that_is_ended(start: StartGuard, wrapped: Wrapped) -> None:
    peer, tree = begun(start, wrapped)
    peer.signal(signal.SIGTERM)
    assert peer.wait() == 128 + signal.SIGTERM
    assert wait_until_gone(tree, GONE_S) == set()
