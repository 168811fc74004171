"""Checks what `convert` prints, and the status it ends with."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mcpguard.cli.convert import convert
from mcpguard.cli.validate import validate
from mcpguard.errors import ExitCode, GuardError
from mcpguard.stores.files import load_policy

DOCS = Path(__file__).parents[2] / "docs" / "convert.md"
POLICY = """\
# Policies have comments, which get lost.
version: 1
description: notes and payments
default: deny
hide:
  - wipe_notes
tools:
  list_notes:
    rules: []
  pay:
    rules:
      - name: one payment
        conditions:
          - {path: args.amount, op: lte, value: 49999.50}
          - {path: args.currency, op: not_in, value: [btc]}
        on_deny: too much
      - name: a day's payments
        conditions: [{path: state.pay.spent, op: lte, value: 100000}]
        state: {counter: spent, window: day, increment_from: args.amount}
  "*":
    rules:
      - {name: all, rate_limit: 60/minute}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def run(path: Path) -> Result:
    return CliRunner().invoke(convert, [str(path)])


def test_the_policy_goes_to_stdout_and_is_one(policy: Path, tmp_path: Path) -> None:
    result = run(policy)
    assert result.exit_code == ExitCode.OK
    made = tmp_path / "made.json"
    made.write_text(result.stdout)
    assert CliRunner().invoke(validate, [str(made)]).exit_code == ExitCode.OK
    document = load_policy(made).document
    assert document.default == "deny"
    assert document.hide == ("wipe_notes",)
    assert document.tools["pay"].require[0].conditions[0].value == Decimal("49999.50")
    assert "49999.50" in result.stdout


def test_a_policy_that_needs_no_conversion_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    path.write_text('{"version": "1", "tools": {"pay": {"action": "deny"}}}')
    said = run(path).stderr.splitlines()
    assert said[0].endswith("ignored: `action` means nothing to Intercept; it is left out")
    assert said[1:] == [
        f"mcpguard: {path} is a policy of mcpguard already: use it as it is, what is printed here is not the same"
    ]


def test_each_thing_without_a_twin_is_one_line_on_stderr_with_its_place_and_kind(policy: Path) -> None:
    lines = run(policy).stderr.splitlines()
    starts = [line.removeprefix(f"{policy}:").split(" ")[:2] for line in lines]
    assert starts == [
        ["4:1:", "sections:"],
        ["15:13:", "comparison:"],
        ["17:9:", "counters:"],
        ["17:9:", "counting:"],
        ["22:9:", "counting:"],
    ]


def test_a_policy_with_twins_for_all_of_it_is_converted_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text('version: "1"\ndefault: "allow"\ntools:\n    get_note:\n        rules: []\n')
    result = run(path)
    assert result.stderr == ""
    assert json.loads(result.stdout)["tools"] == {"get_note": {}}


def test_what_intercept_would_refuse_is_told_with_every_error_and_its_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("version: 2\nhide: [a, a]\n")
    result = run(path)
    assert result.exit_code == ExitCode.POLICY
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f'{path}:1:10: `version` must be "1", not `2`',
        f"{path}:2:11: `a` stands in `hide` twice; Intercept refuses that",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (b"\xff", "not UTF-8"),
        (b"a: [", "wrong YAML"),
        (b"- a", "must be an object"),
        (b"null", "has nothing in it"),
    ],
)
def test_a_file_that_is_no_policy_is_refused_in_one_line(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    if content is not None:
        path.write_bytes(content)
    result = run(path)
    assert result.exit_code == ExitCode.POLICY
    assert said in result.stderr.splitlines()[0]


def test_what_comes_out_is_looked_at_before_it_is_printed(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpguard.convert.translate.convert", lambda _: ({"version": "2"}, ()))
    result = run(policy)
    assert isinstance(result.exception, GuardError)
    assert result.stdout == ""


def test_the_page_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = DOCS.read_text()
    monkeypatch.chdir(tmp_path)
    Path("intercept.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    result = run(Path("intercept.yaml"))
    assert f"```json\n{result.stdout}```" in page
    assert f"$ mcpguard convert intercept.yaml > policy.json\n{result.stderr}$" in page


def test_the_command_is_one_of_mcpguard(policy: Path) -> None:
    words = [sys.executable, "-m", "mcpguard", "convert", str(policy)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == ExitCode.OK
    assert json.loads(result.stdout)["version"] == "1"
    assert result.stderr.count("\n") == 5
