"""How the commands hang together, and how what goes wrong becomes text and a status."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mcpguard import __version__
from mcpguard.cli.app import app, explain
from mcpguard.errors import CommandNotFoundError, GuardError


def mcpguard(*words: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mcpguard", *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


def every_command() -> dict[str, click.Command]:
    context = click.Context(app)
    found = {name: app.get_command(context, name) for name in app.list_commands(context)}
    assert len(found) == 19
    return {name: command for name, command in found.items() if command is not None}


def test_the_version_is_told() -> None:
    assert mcpguard("--version").stdout == f"mcpguard {__version__}\n"


def test_every_command_has_a_line_of_help() -> None:
    listed = CliRunner().invoke(app, ["--help"]).output
    for name, command in every_command().items():
        if not command.hidden:
            assert name in listed
            assert command.get_short_help_str()


USAGE = {
    "no policy": (["run", "--", "cat"], "Missing option '--policy'"),
    "no command": (["run", "--policy", "p"], "Missing argument"),
    "an unknown option": (["run", "--polizy", "p", "--", "cat"], "The server's command comes after `--`"),
    "a log and no log": (["run", "--policy", "p", "--log", "l", "--no-log", "--", "cat"], "contradict"),
    "a size too small": (["run", "--policy", "p", "--max-message-bytes", "1", "--", "cat"], "1024"),
    "an unknown command": (["runn"], "Did you mean 'run'?"),
    "one that sounds like others": (["sca"], "Did you mean one of: 'scan', 'schema'?"),
}


@pytest.mark.parametrize(("words", "said"), USAGE.values(), ids=USAGE.keys())
def test_wrong_usage_is_explained_on_stderr(words: list[str], said: str) -> None:
    result = mcpguard(*words)
    assert result.returncode == 2
    assert result.stdout == ""
    assert said in result.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    script = f"{sys.executable} -m mcpguard schema; echo $? >&2"
    result = subprocess.run(
        ["/bin/sh", "-c", f"({script}) | true"], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in result.stderr


def test_what_we_expect_to_happen_is_told_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(CommandNotFoundError("cannot find it", "look elsewhere")) == 127
    assert capsys.readouterr().err == "mcpguard: cannot find it\nmcpguard: look elsewhere\n"
    assert explain(GuardError("no")) == 1
    assert capsys.readouterr().err == "mcpguard: no\n"


def test_a_bug_is_called_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(ZeroDivisionError()) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "ZeroDivisionError" in shown.err
    assert "this is a bug in mcpguard" in shown.err


HELP = """\
from click.testing import CliRunner
from mcpguard.cli.app import app

for name in CliRunner().invoke(app, ["--help"]).output.partition("Commands:")[2].split("\\n"):
    if name.strip():
        name = name.split()[0]
        short, long = (CliRunner().invoke(app, [name, option]) for option in ("-h", "--help"))
        assert (short.exit_code, long.exit_code) == (0, 0), name
        assert short.output == long.output
        print(name)
"""


def test_every_command_takes_help() -> None:
    # In a process of its own: a command keeps the help option that it is first asked for, by whatever test.
    result = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=60, check=False)
    assert result.stderr == ""
    assert {"run", "scan", "init", "test"} <= set(result.stdout.split())


def test_a_policy_that_may_not_be_read_is_an_unusable_policy_and_no_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.access", lambda *_, **__: False)  # as it is for everybody but root
    path = tmp_path / "policy.json"
    path.write_text('{"version": "1"}')

    def unreadable(*_: object, **__: object) -> object:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("mcpguard.stores.files.open", unreadable, raising=False)
    for words in (
        ["validate"],
        ["check"],
        ["test"],
        ["convert"],
        ["explain", "--prompt", "p"],
        ["diff", str(path)],
        ["scan", "--policy", str(path), "--", "true"],
        ["bench", "--policy", str(path), "--", "true"],
    ):
        given = words if "--policy" in words else [*words, str(path)]
        result = CliRunner().invoke(app, given)
        assert (result.exit_code, "cannot be read: permission denied" in result.output) == (3, True), given
