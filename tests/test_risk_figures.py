"""Checks that `make risk` measures and that weights can be remade, on a few tools of our own."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcpguard.inventory.risk import classify
from mcpguard.inventory.tools import Tool
from mcpguard.inventory.words import OBJECTS, PERHAPS, VERBS

ROOT = Path(__file__).parent.parent
LABELS = {"list": "read", "get": "read", "create": "write", "update": "destructive", "delete": "destructive", "run": "execute", "pay": "financial"}  # fmt: skip


def rows() -> list[dict[str, Any]]:
    return [
        {
            "server": f"server{server}",
            "name": f"{verb}_{noun}",
            "description": f"{verb.capitalize()} the {noun}.",
            "inputSchema": {"type": "object", "properties": {"id": {"type": "string"}}},
            "annotations": {"readOnlyHint": label == "read"},
            "category": None if verb in {"list", "delete"} else label,
            "derived": label if verb in {"list", "delete"} else "write?" if verb == "get" else None,
        }
        for server in range(12)
        for noun in ("note", "image")
        for verb, label in LABELS.items()
    ]


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "labelled.jsonl"
    unlabelled = {**rows()[0], "category": None, "derived": "write?"}
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows(), unlabelled]))
    return str(path)


def measure(*words: str) -> str:
    script = ROOT / "benchmarks" / "risk.py"
    result = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_the_figures_are_means_of_servers_without_and_with_hints(data: str) -> None:
    lines = measure(data).splitlines()
    assert lines[0] == "168 labelled tools of 12 servers, each judged by weights learned from other servers"
    figures = {line[:54].strip(): line[54:].split() for line in lines if line[54:].strip()}
    assert figures["read or not: accuracy, mean of servers"] == ["1.0000", "1.0000"]
    assert figures["not read, called read: all tools together"] == ["0.0000", "0.0000"]
    assert figures["destructive: precision, without update*"] == ["1.0000", "1.0000"]
    table = [line.split() for line in lines]
    assert ["write", "0", "24", "0", "0", "0"] in table
    assert ["destructive", "0", "24", "0", "24", "0"] in table


def test_other_thresholds_and_what_they_cost_are_shown(data: str) -> None:
    lines = [line.split() for line in measure(data).splitlines()]
    assert ["threshold", "accuracy", "called", "read", "of", "share", "cost"] in lines
    assert ["0.5", "1.0000", "0", "96", "0.0000", "0.00"] in lines


def test_threshold_and_words_can_be_those_of_other_servers(data: str) -> None:
    figures = {line[:54].strip(): line[54:].split() for line in measure(data, "--repeats", "1").splitlines()}
    assert figures["not read, called read, without `financial`: mean"] == ["0.0000", "0.0000"]
    assert figures[""][-5:] == ["all", "words", "words", "struck", "out"]


def test_struck_words_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    only = importlib.import_module("risk_nested").only
    before = dict(VERBS), dict(PERHAPS), dict(OBJECTS)
    with only({"get"}, set()):
        assert "get" in VERBS
        assert "delete" not in VERBS
        assert not OBJECTS
        assert classify(Tool("delete_it")).category == "write"
    assert before == (VERBS, PERHAPS, OBJECTS)
    assert classify(Tool("delete_it")).category == "destructive"


def test_errors_are_listed_and_servers_can_be_chosen(data: str) -> None:
    assert measure(data, "--only", "server1,server2").startswith("28 labelled tools of 2 servers")
    assert measure(data, "--without", "server1").startswith("154 labelled tools of 11 servers")
    assert "called read: server" not in measure(data, "--errors")


def test_weights_are_made_the_same_each_time_and_can_be_read(data: str, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        assert f"{file}: " in measure(data, "--write", "--to", str(file))
    assert files[0].read_text() == files[1].read_text()
    weights = {
        line.partition(" ")[2]: float(line.split(" ")[0])
        for line in files[0].read_text().splitlines()
        if line[0] != "#"
    }
    assert weights["word:list"] < 0 < weights["word:create"]
