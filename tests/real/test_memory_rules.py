"""Checks a policy before npm's server-memory: an agent remembers and adds, and forgets nothing.

The graph is a file; a refused call leaves it as it was, to the byte.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support import StdioPeer, guard_argv, write_policy
from support.answers import code_of
from support.servers import memory_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


GRAPH = "memory://knowledge-graph"
ADA = {"name": "Ada", "entityType": "person", "observations": ["writes notes"]}
ENGINE = {"name": "Engine", "entityType": "machine", "observations": ["computes"]}
BETWEEN = {"from": "Ada", "to": "Engine", "relationType": "describes"}
REMEMBERED = "\n".join(
    json.dumps(each, separators=(",", ":"))
    for each in ({"type": "entity", **ADA}, {"type": "entity", **ENGINE}, {"type": "relation", **BETWEEN})
)
POLICY: Mapping[str, object] = {
    "default": "deny",
    "tools": {
        "open_nodes": {},
        "search_nodes": {},
        "create_relations": {},
        "create_entities": {
            "require": [
                {"conditions": [{"path": "args.entities.*.entityType", "op": "in", "value": ["person", "note"]}]}
            ],
            "limits": [{"window": "hour", "max": 3, "per": "args.entities.0.name"}],
        },
        "add_observations": {
            "arguments": {"properties": {"observations": {"maxItems": 2}}, "required": ["observations"]}
        },
        "delete_*": {"action": "deny", "reason": "memory is kept"},
    },
}
FORGETTING: Mapping[str, dict[str, object]] = {
    "delete_entities": {"entityNames": ["Ada"]},
    "delete_observations": {"deletions": [{"entityName": "Ada", "observations": ["writes notes"]}]},
    "delete_relations": {"relations": [BETWEEN]},
}
MACHINE = {"name": "Mill", "entityType": "machine", "observations": []}
NOTE = {"name": "Note", "entityType": "note", "observations": []}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory") / "memory.jsonl"


@pytest.fixture
def memory(file: Path) -> Path:
    """Make the graph what it was; the server reads the file anew for every call."""
    file.write_text(REMEMBERED)
    return file


@pytest.fixture(scope="module")
def alone(files_and_memory: Path, file: Path) -> Iterator[StdioPeer]:
    """Yield a peer of the server without a guard."""
    server = memory_command(files_and_memory, file)
    with StdioPeer(server.argv, env=server.env) as peer:
        peer.initialize()
        yield peer


@pytest.fixture(scope="module")
def guarded(files_and_memory: Path, file: Path) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server."""
    server = memory_command(files_and_memory, file)
    argv = guard_argv(write_policy(file.parent, POLICY), *server.argv, options=["--no-log"])
    with StdioPeer(argv, env=server.env) as peer:
        peer.initialize()
        yield peer


@pytest.mark.parametrize("tool", FORGETTING)
def test_the_server_alone_forgets(alone: StdioPeer, memory: Path, tool: str) -> None:
    assert "isError" not in alone.call(tool, FORGETTING[tool])["result"]
    assert len(memory.read_text()) < len(REMEMBERED)


def test_nothing_is_forgotten_or_changed_by_a_refused_call(guarded: StdioPeer, memory: Path) -> None:
    refused: list[tuple[str, Mapping[str, object], str]] = [
        *((tool, arguments, "denied") for tool, arguments in FORGETTING.items()),
        ("Delete_entities", FORGETTING["delete_entities"], "default_deny"),
        ("delete_entities ", FORGETTING["delete_entities"], "denied"),
        ("read_graph", {}, "default_deny"),
        ("create_entities", {"entities": [MACHINE]}, "require"),
        ("create_entities", {"entities": [NOTE, MACHINE]}, "require"),
        ("create_entities", {"entities": json.dumps([MACHINE])}, "require"),
        ("create_entities", {"entities": [NOTE | {"EntityType": "machine"}]}, "require"),
        ("create_entities", {"entities": [NOTE | {"entityType": "Person"}]}, "require"),
        ("create_entities", {"entities": []}, "require"),
        ("add_observations", {"observations": [{"entityName": "Ada", "contents": []}] * 3}, "arguments"),
        ("add_observations", {}, "arguments"),
    ]
    for tool, arguments, code in refused:
        assert code_of(guarded.call(tool, arguments)) == code, (tool, arguments)
        assert memory.read_text() == REMEMBERED


def test_a_resource_is_no_way_around_a_tool_that_is_closed(guarded: StdioPeer) -> None:
    assert guarded.request("resources/list")["result"]["resources"] == []
    for method in ("resources/read", "resources/subscribe"):
        assert guarded.request(method, {"uri": GRAPH})["error"]["message"].startswith("mcpguard: ")


def test_a_resource_that_is_named_can_be_read_and_followed(
    files_and_memory: Path, memory: Path, tmp_path: Path
) -> None:
    server = memory_command(files_and_memory, memory)
    policy = write_policy(tmp_path, {**POLICY, "resources": {GRAPH: {}}})
    with StdioPeer(guard_argv(policy, *server.argv, options=["--no-log"]), env=server.env) as peer:
        peer.initialize()
        (contents,) = peer.request("resources/read", {"uri": GRAPH})["result"]["contents"]
        assert [entity["name"] for entity in json.loads(contents["text"])["entities"]] == ["Ada", "Engine"]
        assert peer.request("resources/subscribe", {"uri": GRAPH})["result"] == {}
        peer.call("create_relations", {"relations": [BETWEEN | {"relationType": "loves"}]})
        assert peer.receive(method="notifications/resources/updated")["params"]["uri"] == GRAPH


def test_what_may_be_added_is_remembered(guarded: StdioPeer, memory: Path) -> None:
    assert guarded.call("create_entities", {"entities": [NOTE]})["result"]["structuredContent"] == {"entities": [NOTE]}
    guarded.call("add_observations", {"observations": [{"entityName": "Note", "contents": ["kept"]}]})
    assert guarded.call("search_nodes", {"query": "kept"})["result"]["structuredContent"]["entities"] == [
        NOTE | {"observations": ["kept"]}
    ]
    assert memory.read_text().startswith(REMEMBERED.splitlines()[0])
    assert '"kept"' in memory.read_text()


def test_a_limit_for_each_name_leaves_the_others(guarded: StdioPeer, memory: Path) -> None:
    often, other = NOTE | {"name": "Often"}, NOTE | {"name": "Other"}
    for _ in range(3):
        assert "isError" not in guarded.call("create_entities", {"entities": [often]})["result"]
    before = memory.read_text()
    assert code_of(guarded.call("create_entities", {"entities": [often]})) == "rate_limited"
    assert memory.read_text() == before
    assert guarded.call("create_entities", {"entities": [other]})["result"]["structuredContent"] == {
        "entities": [other]
    }
