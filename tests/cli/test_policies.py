"""Checks the command that lists and prints the library, here and in a wheel; and that every policy of the library holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mcpguard.cli.policies import policies
from mcpguard.cli.test import test as judge_cases
from mcpguard.errors import ExitCode
from mcpguard.policy.check import check_policy
from mcpguard.policy.model import RISK_CATEGORIES
from mcpguard.stores.files import load_policy
from mcpguard.stores.library import LibraryPolicy, library

ROOT = Path(__file__).parents[2]
LIBRARY = library()
PAGE = ROOT / "policies" / "README.md"
RULES = ("require", "deny_if", "approve_if")


def run(*words: str) -> Result:
    return CliRunner().invoke(policies, words)


@pytest.fixture(params=LIBRARY, ids=lambda policy: policy.name)
def policy(request: pytest.FixtureRequest) -> LibraryPolicy:
    """Yield each policy of the library."""
    found: LibraryPolicy = request.param
    return found


def test_the_list_names_each_policy_its_server_and_what_it_does() -> None:
    head, *lines = run().stdout.splitlines()
    assert head.split("  ")[0] == "name"
    for each in LIBRARY:
        (line,) = (line for line in lines if line.startswith(f"{each.name} "))
        assert f" {each.server} {each.version} " in line
        assert each.about[:30] in line


def test_the_list_as_json() -> None:
    listed = json.loads(run("--json").stdout)
    assert [each["name"] for each in listed] == [each.name for each in LIBRARY]
    assert [*listed[0]] == ["name", "server", "version", "about", "description", "file", "cases"]
    assert Path(listed[0]["file"]).is_file()
    assert Path(listed[0]["cases"]).is_file()


def test_a_policy_is_printed_byte_for_byte_and_so_are_its_cases(policy: LibraryPolicy) -> None:
    assert run(policy.name).stdout_bytes == policy.path.read_bytes()
    assert run(policy.name, "--cases").stdout_bytes == policy.cases.read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["gti"], "did you mean `git`?", id="a slip"),
        pytest.param(["mcp-server-git"], "did you mean `git`?", id="the server's name"),
        pytest.param(["one-tool"], "there are `aws-api`, ", id="an example"),
        pytest.param(["../policies/git"], "there is no policy", id="a path"),
        pytest.param(["--cases"], "name the policy", id="the cases of nothing"),
        pytest.param(["git", "--json"], "--json is for the list", id="a policy as JSON"),
    ],
)
def test_what_is_not_there_is_wrong_usage(words: list[str], said: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert said in result.stderr


def test_every_case_of_the_library_holds(policy: LibraryPolicy) -> None:
    """They notice every small change of it, too."""
    result = CliRunner().invoke(judge_cases, [str(policy.path), "--mutate"])
    assert result.exit_code == ExitCode.OK, result.stdout
    holding, noticed = result.stdout.splitlines()
    assert holding.endswith(" cases hold")
    assert " changes are noticed" in noticed


def test_every_policy_of_the_library_is_reviewed_denies_by_default_and_has_no_findings(policy: LibraryPolicy) -> None:
    loaded = load_policy(policy.path)
    assert loaded.document.default == "deny"
    assert [each for each in check_policy(loaded.document) if each.severity != "note"] == []
    assert policy.server
    assert policy.about


def test_every_entry_rule_and_limit_of_the_library_has_its_reason(policy: LibraryPolicy) -> None:
    document = json.loads(policy.path.read_text())
    assert [place for place, part in parts_of(document) if not part.get("$comment")] == []


def test_no_entry_of_the_library_goes_by_what_a_tool_seems_to_be(policy: LibraryPolicy) -> None:
    assert not RISK_CATEGORIES.keys() & json.loads(policy.path.read_text())["tools"].keys()


def test_the_page_has_every_policy_in_its_table(policy: LibraryPolicy) -> None:
    assert f"| `{policy.name}` | {policy.server} {policy.version} |" in PAGE.read_text()


def parts_of(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each entry, rule and limit with where it stands; a limit in short has no place for a comment."""
    entries = {
        f"/{section}/{name}": entry
        for section in ("tools", "resources", "prompts")
        for name, entry in document.get(section, {}).items()
        if name != "$comment"
    }
    yield from entries.items()
    for place, entry in (*entries.items(), ("/all_tools", document.get("all_tools", {}))):
        for key in (*RULES, "limits"):
            for index, part in enumerate(entry.get(key, ())):
                yield f"{place}/{key}/{index}", part


def test_the_wheel_has_the_library_and_nothing_else_of_the_policies(tmp_path: Path) -> None:
    """It is built as `pip wheel` does it, but without an environment of its own, which would be fetched."""
    built = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])",
            tmp_path,
        ],
        cwd=ROOT,
        timeout=60,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert built.returncode == 0
    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    names = {path.name for path in (place / "mcpguard" / "library").iterdir()}
    assert names == {path.name for each in LIBRARY for path in (each.path, each.cases)}
    words = [sys.executable, "-m", "mcpguard", "policies"]
    env = os.environ | {"PYTHONPATH": str(place)}

    def said(*more: str) -> bytes:
        return subprocess.run(
            [*words, *more], cwd=tmp_path, env=env, timeout=60, check=True, capture_output=True
        ).stdout

    assert {each["file"] for each in json.loads(said("--json"))} == {
        str(place / "mcpguard" / "library" / each.path.name) for each in LIBRARY
    }
    assert said("git") == (ROOT / "policies" / "git.json").read_bytes()
