"""Checks what `classify` prints, as a command of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.text import Text

from mcpguard.cli.app import app
from mcpguard.cli.classify import classify, in_brief, print_table
from mcpguard.errors import ExitCode

TOOLS: list[dict[str, Any]] = [
    {"name": "get_note", "description": "Get a note.", "inputSchema": {"type": "object"}},
    {"name": "wipe_notes", "description": "Delete every note.", "annotations": {"readOnlyHint": True}},
    {"name": "things", "inputSchema": {"properties": {"action": {"enum": ["get", "delete"]}}}},
    {"name": "no\u202ete"},
]
FORMS = {
    "the list alone": TOOLS,
    "an object": {"tools": TOOLS},
    "a result": {"tools": TOOLS, "_meta": {}},
    "an answer": {"jsonrpc": "2.0", "id": 1, "result": {"tools": TOOLS}},
}


def mcpguard(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mcpguard", *words], input=given, capture_output=True, text=True, timeout=60, check=False
    )


def write(directory: Path, value: object) -> str:
    path = directory / "list.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_a_list_is_read_from_a_file_and_from_stdin(form: object, tmp_path: Path) -> None:
    path = write(tmp_path, form)
    by_file = mcpguard("classify", path, "--json")
    assert (by_file.returncode, by_file.stderr) == (ExitCode.OK, "")
    assert mcpguard("classify", "--json", given=json.dumps(form)).stdout == by_file.stdout
    assert mcpguard("classify", "-", "--json", given=json.dumps(form)).stdout == by_file.stdout
    assert [each["name"] for each in json.loads(by_file.stdout)] == [tool["name"] for tool in TOOLS]


def test_json_has_these_keys_and_no_others(tmp_path: Path) -> None:
    result = CliRunner().invoke(classify, [write(tmp_path, TOOLS), "--json"])
    found = json.loads(result.stdout)
    assert [list(each) for each in found] == [
        ["name", "category", "severity", "confidence", "evidence", "arguments"]
    ] * len(TOOLS)
    assert found[2] == {
        "name": "things",
        "category": "destructive",
        "severity": "critical",
        "confidence": 0.9,
        "evidence": ['the argument "action" can be "delete"'],
        "arguments": [{"argument": "action", "values": {"get": "read", "delete": "destructive"}}],
    }
    assert found[0]["arguments"] == []


def test_a_table_names_the_worst_first_and_counts(tmp_path: Path) -> None:
    result = CliRunner().invoke(classify, [write(tmp_path, TOOLS)])
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["tool", "category", "severity", "sure", "evidence"]
    firsts = [line.split()[:3] for line in lines[1:] if line and not line.startswith(" ")]
    assert firsts[:4] == [
        ["things", "destructive", "critical"],
        ["wipe_notes", "destructive", "critical"],
        ["no\\u202ete", "write", "medium"],
        ["get_note", "read", "low"],
    ]
    assert "action = read: get; destructive: delete" in result.stdout
    assert "the hint readOnlyHint says that it only reads: it contradicts, and is not believed" in result.stdout
    assert lines[-1] == "4 tools: 1 read, 1 write, 2 destructive"
    assert not any(line != line.rstrip() for line in lines)


def test_an_empty_list_has_no_table(tmp_path: Path) -> None:
    assert CliRunner().invoke(classify, [write(tmp_path, [])]).stdout == "0 tools\n"


def test_colours_are_for_terminals(tmp_path: Path) -> None:
    path = write(tmp_path, TOOLS)
    coloured = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "100"}
    assert "\x1b[1;31mcritical" in CliRunner().invoke(classify, [path], env=coloured | {"NO_COLOR": ""}).stdout
    assert "31m" not in CliRunner().invoke(classify, [path], env=coloured | {"NO_COLOR": "1"}).stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("{", "this is no JSON", id="no JSON"),
        pytest.param("", "this is no JSON", id="nothing"),
        pytest.param("{}", "there are no `tools` in it", id="no tools"),
        pytest.param('{"tools": [], "nextCursor": "2"}', "this is one page of several", id="one page of several"),
        pytest.param('{"error": {"code": -1}}', "the server answered with the error", id="an error"),
        pytest.param("[{}]", "tool 1 of the list has no `name`", id="no name"),
        pytest.param('[{"name": "\\u001b"}, {"name": "\\u001b"}]', r"two tools have the name `\x1b`", id="twice"),
    ],
)
def test_what_is_no_list_is_wrong_usage(tmp_path: Path, content: str, said: str) -> None:
    result = mcpguard("classify", write(tmp_path, content))
    assert (result.returncode, result.stdout) == (ExitCode.USAGE, "")
    assert said in result.stderr
    from_stdin = mcpguard("classify", given=content)
    assert (from_stdin.returncode, from_stdin.stdout) == (ExitCode.USAGE, "")
    assert "stdin: " in from_stdin.stderr
    assert said in from_stdin.stderr


def test_a_file_that_cannot_be_read_is_wrong_usage(tmp_path: Path) -> None:
    missing = mcpguard("classify", str(tmp_path / "none.json"))
    assert (missing.returncode, missing.stdout) == (ExitCode.USAGE, "")
    assert "none.json: the file cannot be read: No such file or directory" in missing.stderr
    assert "the file cannot be read: Is a directory" in mcpguard("classify", str(tmp_path)).stderr


def test_a_list_that_is_too_long_is_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpguard.cli.tool_lists.MAX_LIST_BYTES", 10)
    result = CliRunner().invoke(app, ["classify", write(tmp_path, TOOLS)])
    assert result.exit_code == ExitCode.USAGE
    assert "a list of tools is smaller than" in result.stderr


@pytest.mark.parametrize(
    ("evidence", "brief"),
    [
        (
            [
                'the argument "action" can be "drop"',
                'the description says "drop", too',
                'the description says "manage"',
            ],
            'the argument "action" can be "drop"; the description says "drop", "manage"',
        ),
        (['the name says "get"', 'what weighs most: "get" of the name'], 'the name says "get"'),
        (['what weighs most: "list" of the description'], 'what weighs most: "list" of the description'),
        ([], ""),
    ],
)
def test_evidence_stands_on_one_line_by_where_it_was_found(evidence: list[str], brief: str) -> None:
    assert in_brief(evidence) == brief


def test_a_narrow_terminal_gets_paragraphs_and_no_broken_names() -> None:
    rows: list[list[str | Text]] = [
        ["start_dicom_export_job", "execute", Text("high"), "0.97", "the name says so, and so does the description"]
    ]

    def printed(columns: int) -> list[str]:
        console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=columns)
        print_table(console, ["tool", "category", "severity", "sure", "evidence"], rows)
        file = console.file
        assert isinstance(file, io.StringIO)
        return [line.rstrip() for line in file.getvalue().splitlines()]

    assert printed(40) == [
        "start_dicom_export_job",
        "  execute, high, sure 0.97",
        "  the name says so, and so does the",
        "  description",
    ]
    assert printed(80)[0].split() == ["tool", "category", "severity", "sure", "evidence"]
