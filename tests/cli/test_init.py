"""Checks what `init` writes, where, and over what it never writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mcpguard.cli.app import app
from mcpguard.cli.init import directories_for
from mcpguard.cli.json_lines import json_lines
from mcpguard.errors import ExitCode
from mcpguard.proxy.linux import find_descendants
from support.fake_server import fake_server

MCPGUARD = [sys.executable, "-m", "mcpguard"]
DEMO = [*MCPGUARD, "demo-server"]
PAGE = Path(__file__).parents[2] / "docs" / "init.md"
TEXT = {"type": "string"}
LIST = {
    "tools": [
        {"name": "get_it", "inputSchema": {}},
        {
            "name": "read_file",
            "inputSchema": {"type": "object", "properties": {"path": TEXT}, "required": ["path"]},
        },
        {"name": "del\u202eete", "inputSchema": {}},
    ]
}


def init(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MCPGUARD, "init", *words], capture_output=True, text=True, timeout=120, check=False, cwd=cwd
    )


@pytest.fixture
def tools(tmp_path: Path) -> str:
    path = tmp_path / "list.json"
    path.write_text(json.dumps(LIST))
    return str(path)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def without_comments(value: Any) -> Any:
    return (
        {key: without_comments(item) for key, item in value.items() if key != "$comment"}
        if isinstance(value, dict)
        else value
    )


def test_a_draft_for_a_server_is_written_with_its_cases(tmp_path: Path) -> None:
    result = init("-o", str(tmp_path / "policy.json"), "--", *DEMO)
    assert (result.returncode, result.stdout) == (ExitCode.OK, "")
    assert result.stderr.splitlines() == [
        f"mcpguard: starting {sys.executable}",
        f"mcpguard: wrote {tmp_path}/policy.json: a balanced draft for 6 tools: 2 read, 1 write, 1 execute, 2 destructive",
        f"mcpguard: wrote {tmp_path}/policy.test.json: 10 cases of what it lets pass and what it stops",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.json", "policy.test.json"]
    policy = without_comments(read(tmp_path / "policy.json"))
    assert policy["tools"]["list_patients"] == {}
    assert policy["tools"]["start_dicom_export_job"] == {"rate_limit": "10/minute"}
    assert policy["tools"]["delete_patient"]["action"] == "require_approval"
    assert (policy["resources"], policy["prompts"]) == ({"hospital://wards": {}}, {"hand_over": {}})
    cases = read(tmp_path / "policy.test.json")["cases"]
    assert cases[0] == {
        "tool": "delete_patient",
        "arguments": {"patient_id": "P-1001"},
        "expect": "approve",
        "because": ["/tools/delete_patient/action"],
    }
    assert [step.get("times") for step in cases[2]["sequence"]] == [10, None]


@pytest.mark.parametrize("posture", ["strict", "balanced", "open"])
def test_the_cases_notice_every_small_change_of_the_draft(posture: str, tmp_path: Path) -> None:
    policy = str(tmp_path / "policy.json")
    assert init("--posture", posture, "-o", policy, "--", *DEMO).returncode == ExitCode.OK
    told = CliRunner().invoke(app, ["test", policy, "--mutate"])
    noticed = re.search(r"(\d+) of (\d+) changes are noticed$", told.stdout.rstrip())
    assert noticed is not None, told.stdout
    assert noticed[1] == noticed[2] != "0"
    assert told.exit_code == ExitCode.OK


@pytest.mark.parametrize("posture", ["strict", "balanced", "open"])
def test_what_is_written_is_valid_and_fits_the_server(posture: str, tmp_path: Path) -> None:
    policy = str(tmp_path / "policy.json")
    assert init("--posture", posture, "-o", policy, "--", *DEMO).returncode == ExitCode.OK
    assert CliRunner().invoke(app, ["validate", policy]).exit_code == ExitCode.OK
    checked = CliRunner().invoke(app, ["check", policy, "--", *DEMO])
    assert checked.stdout == f"{policy}: no findings, checked against 6 tools\n"


def test_without_a_file_the_policy_goes_to_stdout(tools: str, tmp_path: Path) -> None:
    result = init("--list", tools, cwd=tmp_path)
    assert result.returncode == ExitCode.OK
    policy = json.loads(result.stdout)
    assert policy["tools"]["read_file"]["require"][0]["conditions"][0]["value"] == [str(tmp_path)]
    assert result.stderr.splitlines() == [
        "mcpguard: look at these before you use it, and put your own values in:",
        "  /tools/read_file/require/0: the directories that the agent may reach (tool read_file)",
    ]
    assert "\u202e" not in result.stdout
    assert '"del\\u202eete"' in result.stdout


def test_what_the_owner_has_to_put_in_is_told_with_its_place(tools: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    result = init("--list", tools, "-o", str(policy), cwd=Path("/"))
    place = re.search(rf"^  {re.escape(str(policy))}:(\d+):(\d+): the directories", result.stderr, re.MULTILINE)
    assert place is not None
    assert "under" in "".join(policy.read_text().splitlines()[int(place[1]) : int(place[1]) + 4])
    assert "/path/to/files is no directory: until you name yours, no file can be reached" in result.stderr


def test_many_places_are_not_all_listed(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    reader = LIST["tools"][1]
    path.write_text(json.dumps([{**reader, "name": f"read_file_{index}"} for index in range(25)]))
    result = init("--list", str(path), cwd=tmp_path)
    assert "  and 5 more; each says so in its `$comment`" in result.stderr


@pytest.mark.parametrize("there", ["policy.json", "policy.test.json"])
def test_a_file_that_is_there_is_not_written_over_without_force(there: str, tools: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("mine")
    words = ["--list", tools, "-o", str(tmp_path / "policy.json")]
    result = init(*words)
    assert (result.returncode, result.stdout) == (ExitCode.USAGE, "")
    assert f"{there} is there already, and stays as it is; --force writes over it" in result.stderr
    assert (tmp_path / there).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"list.json", there})
    assert init(*words, "--force").returncode == ExitCode.OK
    assert read(tmp_path / "policy.json")["version"] == "1"
    assert "cases" in read(tmp_path / "policy.test.json")


def test_a_file_that_comes_meanwhile_is_not_written_over(
    tools: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcpguard.cli.init.check_places", lambda *_, **__: None)
    policy = tmp_path / "policy.json"
    policy.write_text("mine")
    result = CliRunner().invoke(app, ["init", "--list", tools, "-o", str(policy)])
    assert result.exit_code == ExitCode.USAGE
    assert "is there already" in result.stderr
    assert policy.read_text() == "mine"


def test_a_file_system_without_links_is_written_to_as_well(
    tools: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("mcpguard.cli.saving.Path.hardlink_to", refuse)
    words = ["init", "--list", tools, "-o", str(tmp_path / "policy.json")]
    assert CliRunner().invoke(app, words).exit_code == ExitCode.OK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.json", "policy.json", "policy.test.json"]
    monkeypatch.setattr("mcpguard.cli.init.check_places", lambda *_, **__: None)
    assert CliRunner().invoke(app, words).exit_code == ExitCode.USAGE


def test_what_cannot_be_written_is_told_and_leaves_nothing(
    tools: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mcpguard.cli.saving.Path.chmod", full)
    result = CliRunner().invoke(app, ["init", "--list", tools, "-o", str(tmp_path / "policy.json")])
    assert result.exit_code == ExitCode.FINDINGS
    assert "cannot be written: No space left on device" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["list.json"]


USAGE = {
    "neither a server nor a list": ([], "give the server's command after `--`, or --list LIST.json, and not both"),
    "a server and a list": (["--list", "x", "--", "cat"], "and not both"),
    "another kind of file": (["-o", "policy.yaml", "--", "cat"], "let the name end in `.json`"),
    "no directory": (["-o", "/none/such/policy.json", "--", "cat"], "there is no directory /none/such"),
    "no such posture": (["--posture", "loose", "--", "cat"], "'loose' is not one of"),
    "no such list": (["--list", "/none/such"], "the file cannot be read"),
}


@pytest.mark.parametrize(("words", "said"), USAGE.values(), ids=USAGE.keys())
def test_wrong_usage_starts_nothing(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["init", *words])
    assert result.exit_code == ExitCode.USAGE
    assert said in result.stderr
    assert "starting" not in result.stderr


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "policy.json").mkdir()
    result = CliRunner().invoke(app, ["init", "--force", "-o", str(tmp_path / "policy.json"), "--", "cat"])
    assert (result.exit_code, "is a directory; name a file" in result.stderr) == (ExitCode.USAGE, True)


ENDS = {
    "no such command": (["/none/such"], ExitCode.NOT_FOUND, "cannot find the server's command `/none/such`"),
    "a dying server": (fake_server("exit=3"), ExitCode.FINDINGS, "the server did not list its tools"),
}


@pytest.mark.parametrize(("server", "status", "said"), ENDS.values(), ids=ENDS.keys())
def test_a_server_that_does_not_do_its_part_leaves_no_file(
    server: list[str], status: int, said: str, tmp_path: Path
) -> None:
    result = init("-o", str(tmp_path / "policy.json"), "--", *server)
    assert (result.returncode, result.stdout, [*tmp_path.iterdir()]) == (status, "", [])
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_the_server_is_ended(tmp_path: Path) -> None:
    import os

    before = set(find_descendants(os.getpid()))
    assert init("--", *fake_server("ignore-term"), cwd=tmp_path).returncode == ExitCode.OK
    assert set(find_descendants(os.getpid())) <= before


def test_files_are_where_the_command_says_or_else_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs, code = tmp_path / "docs", tmp_path / "code"
    docs.mkdir()
    code.mkdir()
    monkeypatch.chdir(code)
    assert directories_for(["npx", "-y", "server", str(docs)]) == (str(docs),)
    assert directories_for(["server", "--repository", str(docs), f"{docs}/../docs"]) == (str(docs),)
    assert directories_for(["server", "../docs", str(code)]) == (str(docs), str(code))
    assert directories_for(["uv", "--directory", str(docs), "run", "server"]) == (str(code),)
    assert directories_for(["server", "/none/such", "docs"]) == (str(code),)
    assert directories_for(["server", "/"]) == ()
    monkeypatch.setenv("HOME", str(code))
    assert directories_for(["server"]) == ()
    strange = tmp_path / "100%"
    strange.mkdir()
    assert directories_for(["server", str(strange)]) == ()


def test_json_is_written_for_people_and_means_the_same() -> None:
    value = {
        "a": [1, 2.5, None, True],
        "b" * 30: {"c": ["d" * 20] * 10},
        "e": [{"f": "g" * 60}] * 2,
        "é\u202e\n": {},
        "": [],
    }
    text = json_lines(value)
    assert json.loads(text) == value
    assert max(map(len, text.splitlines())) <= 112
    assert "\u202e" not in text
    assert "é" in text


def test_the_example_of_the_page_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```(?:json|console)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    command, _, output = blocks[0].partition("\n")
    assert command == "$ mcpguard init -o policy.json -- mcpguard demo-server"
    monkeypatch.chdir(tmp_path)
    result = init("-o", "policy.json", "--", *DEMO)
    assert result.stderr.replace(sys.executable, "mcpguard") == output
    assert Path("policy.json").read_text() == blocks[1]
    assert Path("policy.test.json").read_text().startswith(blocks[2].partition('    { "tool": "wipe_store"')[0])
