"""Checks the library's policies before the real servers of files, repositories, web pages and memories, and before the one of everything.

Every case that comes with a policy holds in a run as it does in `mcpguard test`: what is refused the guard answers and no server hears, and
what is allowed the server answers.  Its effects are looked at besides.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from support import StdioPeer, guard_argv, write_policy
from support.answers import code_of, text_of
from support.library import LIBRARY, answered_by, library_cases, library_policy, without_limits
from support.outside import running_outside
from support.servers import (
    ServerCommand,
    fetch_command,
    filesystem_command,
    git,
    git_command,
    memory_command,
    new_repository,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.outside import Outside
    from support.stdio import Message

DOCUMENTS = {"docs.example.com": "words from the house", "example.net": "a stranger's words"}
LISTED = {
    "filesystem": 14,
    "git": 12,
    "fetch": 1,
    "memory": 9,
    "everything": 10,
}
"""How many tools a list shows; of the 13 of everything, two are hidden and one is denied."""


@dataclass(frozen=True)
class Place:
    """A server in a place of its own.

    `values` is what a user would put into the policy.  What is in `kept` may never change, and `outside` is whom it could reach.
    """

    name: str
    server: ServerCommand
    directory: Path
    values: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[Path, ...] = ()
    outside: Outside | None = None

    @contextmanager
    def guarded(self, *, limits: bool = False, capabilities: Mapping[str, object] | None = None) -> Iterator[StdioPeer]:
        """Start the server behind its policy: with the limits and a person, or without both."""
        document = library_policy(self.name, self.values)
        document = answered_by(document) if limits else without_limits(answered_by(document, timeout="0s"))
        policy = write_policy(self.directory, document)
        argv = guard_argv(policy, *self.server.argv, options=["--no-log"])
        with StdioPeer(argv, env=self.server.env, cwd=self.directory) as peer:
            peer.initialize(capabilities=capabilities or {})
            yield peer

    def untouched(self) -> dict[str, object]:
        """Return what may never change, with its content and the time of its last change."""
        paths = [path for top in self.kept for path in sorted(top.rglob("*"))]
        return {str(path): (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths}


@pytest.fixture
def filesystem(files_and_memory: Path, tmp_path: Path) -> Place:
    """Let the server into the directory above the agreed one."""
    inside, other = tmp_path / "above" / "mine", tmp_path / "above" / "mine-too"
    for directory in (inside / "notes", inside / ".git" / "hooks", other, tmp_path / "above" / "other"):
        directory.mkdir(parents=True)
    (inside / "notes" / "today.md").write_text("one\n")
    (inside / "a.txt").write_text("a\n")
    (other / "notes.md").write_text("none of the agent's business")
    values = {"/path/to/your/directory": str(inside), "/path/to/your/other": str(other)}
    server = filesystem_command(files_and_memory, tmp_path / "above")
    return Place("filesystem", server, tmp_path, values, (other, inside / ".git"))


@pytest.fixture
def repositories(git_and_fetch: Path, tmp_path: Path) -> Place:
    """Make two repositories, of which one is below the agreed directory."""
    new_repository(tmp_path / "agreed" / "mine")
    other = new_repository(tmp_path / "other")
    values = {"/path/to/your/repositories": str(tmp_path / "agreed"), "/path/to/your/other": str(other)}
    return Place("git", git_command(git_and_fetch), tmp_path, values, (other,))


@pytest.fixture
def web(git_and_fetch: Path, tmp_path: Path) -> Iterator[Place]:
    """Let the server fetch from two hosts, of which one is agreed."""
    with running_outside(tmp_path, DOCUMENTS) as outside:
        command = fetch_command(git_and_fetch)
        server = ServerCommand(command.argv, outside.env(command.env))
        yield Place("fetch", server, tmp_path, outside=outside)


@pytest.fixture
def memory(files_and_memory: Path, tmp_path: Path) -> Place:
    return Place("memory", memory_command(files_and_memory, tmp_path / "memory.jsonl"), tmp_path)


@pytest.fixture
def everything(everything_server: tuple[str, ...], tmp_path: Path) -> Place:
    return Place("everything", ServerCommand(everything_server, dict(os.environ)), tmp_path)


@pytest.fixture(params=["filesystem", "repositories", "web", "memory", "everything"])
def place(request: pytest.FixtureRequest) -> Place:
    """Yield each server."""
    found: Place = request.getfixturevalue(request.param)
    return found


def effect_of(peer: StdioPeer, case: Message) -> str:
    """Make the call of a case, and say in its words what became of it."""
    if "tool" not in case:
        method, params = (
            ("resources/read", {"uri": case["resource"]})
            if "resource" in case
            else ("prompts/get", {"name": case["prompt"], "arguments": {"city": "Rome"}})
        )
        error = peer.request(method, params).get("error", {})
        if not error.get("message", "").startswith("mcpguard: "):
            return "hide" if "prompt" in case and error else "allow"
        return "approve" if "approv" in error["message"] else "deny"
    answer = peer.call(case["tool"], case.get("arguments", {}))
    decision = answer.get("result", {}).get("_meta", {}).get("mcpguard/decision")
    match decision:
        case {"code": "approval_expired" | "approval_required"}:
            return "approve"
        case dict():
            return "deny"
        case _ if answer.get("error", {}).get("message", "").startswith("Unknown tool"):
            return "hide"
        case _:
            return "allow"


def test_every_case_of_the_policy_holds_before_its_server_and_lists_show_what_may_be_called(place: Place) -> None:
    """Without time that passes; long operations are not waited for."""
    cases = [case for case in library_cases(place.name, place.values) if "sequence" not in case]
    cases = [case for case in cases if not takes_long(case)]
    untouched = place.untouched()
    with place.guarded() as peer:
        tools = {tool["name"] for tool in peer.request("tools/list")["result"]["tools"]}
        became = [effect_of(peer, case) for case in cases]
    assert [case for case, effect in zip(cases, became, strict=True) if effect != case["expect"]] == []
    assert place.untouched() == untouched
    entries = library_policy(place.name)["tools"]
    assert tools == {name for name, entry in entries.items() if entry.get("action") not in {"deny", "hide"}}
    assert len(tools) == LISTED[place.name]
    if place.outside:
        hosts = {line.removesuffix(":443") for line in place.outside.journal if line.endswith(":443")}
        assert hosts == {"docs.example.com", "api.docs.example.com"}


def takes_long(case: Message) -> bool:
    """Whether the server would need seconds for it, or the internet."""
    allowed = case["expect"] == "allow"
    return allowed and case.get("tool") in {"trigger-long-running-operation", "gzip-file-as-resource"}


def test_the_first_sequence_of_the_policy_holds_before_its_server(place: Place) -> None:
    """Up to the step for which time would have to pass, and without what a person is asked about."""
    sequences = [case["sequence"] for case in library_cases(place.name, place.values) if "sequence" in case]
    steps = next(steps for steps in sequences if not any(step["expect"] == "approve" for step in steps))
    with place.guarded(limits=True) as peer:
        for step in steps:
            if "after" in step:
                break
            for _ in range(step.get("times", 1)):
                assert effect_of(peer, step) == step["expect"], step
    assert step.get("after")


def test_the_policy_fits_the_server(place: Place) -> None:
    policy = write_policy(place.directory, library_policy(place.name, place.values))
    words = [sys.executable, "-m", "mcpguard", "check", str(policy), "--", *place.server.argv]
    said = subprocess.run(words, env=dict(place.server.env), capture_output=True, text=True, timeout=120, check=True)
    assert ": no findings, checked against " in said.stdout


def test_placeholders_let_nothing_of_the_users_through(filesystem: Place, repositories: Place) -> None:
    own = {"/path/to/your/other": "/path/to/your/another"}
    for place, tool, arguments in (
        (filesystem, "read_text_file", {"path": str(filesystem.directory / "above" / "mine" / "a.txt")}),
        (repositories, "git_status", {"repo_path": str(repositories.directory / "agreed" / "mine")}),
    ):
        with Place(place.name, place.server, place.directory, own).guarded() as peer:
            assert code_of(peer.call(tool, arguments)) == "require"


def test_files_are_written_and_changed_only_by_way_of_a_person(filesystem: Place) -> None:
    inside = filesystem.directory / "above" / "mine"
    change = {"path": str(inside / "a.txt"), "edits": [{"oldText": "a", "newText": "b"}]}
    with filesystem.guarded(limits=True, capabilities={"elicitation": {}}) as peer:
        text_of(peer.call("write_file", {"path": str(inside / "new.txt"), "content": "words"}))
        assert (inside / "new.txt").read_text() == "words"
        assert "+b" in text_of(peer.call("edit_file", change | {"dryRun": True}))
        assert (inside / "a.txt").read_text() == "a\n"
        move = {"source": str(inside / "a.txt"), "destination": str(inside / "b.txt")}
        assert answered(peer, "deny", "edit_file", change) == "approval_denied"
        assert answered(peer, "deny", "move_file", move) == "approval_denied"
        assert (inside / "a.txt").read_text() == "a\n"
        assert answered(peer, "allow once", "edit_file", change) is None
        assert (inside / "a.txt").read_text() == "b\n"
        assert answered(peer, "allow once", "move_file", move) is None
        assert (inside / "b.txt").read_text() == "b\n"


def test_a_commit_is_made_and_a_branch_is_switched_to_by_way_of_a_person(repositories: Place) -> None:
    mine = repositories.directory / "agreed" / "mine"
    where = {"repo_path": str(mine)}
    with repositories.guarded(limits=True, capabilities={"elicitation": {}}) as peer:
        text_of(peer.call("git_add", where | {"files": ["notes.txt"]}))
        text_of(peer.call("git_commit", where | {"message": "third note"}))
        text_of(peer.call("git_create_branch", where | {"branch_name": "agent/try"}))
        assert git(mine, "log", "--format=%s").splitlines()[0] == "third note"
        assert answered(peer, "deny", "git_checkout", where | {"branch_name": "agent/try"}) == "approval_denied"
        assert git(mine, "branch", "--show-current") == "main\n"
        assert answered(peer, "allow once", "git_checkout", where | {"branch_name": "agent/try"}) is None
        assert git(mine, "branch", "--show-current") == "agent/try\n"


def test_what_is_remembered_is_forgotten_only_by_way_of_a_person(memory: Place) -> None:
    file = memory.directory / "memory.jsonl"
    entity = {"name": "Ada", "entityType": "person", "observations": ["writes notes"]}
    with memory.guarded(limits=True, capabilities={"elicitation": {}}) as peer:
        text_of(peer.call("create_entities", {"entities": [entity]}))
        before = file.read_text()
        assert "Ada" in before
        key = entity | {"name": "Key", "observations": ["ghp_" + "Example00" * 4]}
        assert code_of(peer.call("create_entities", {"entities": [key]})) == "deny_if"
        assert answered(peer, "deny", "delete_entities", {"entityNames": ["Ada"]}) == "approval_denied"
        assert file.read_text() == before
        assert answered(peer, "allow once", "delete_entities", {"entityNames": ["Ada"]}) is None
        assert file.read_text() == ""


def test_pages_come_from_the_agreed_host_alone(web: Place) -> None:
    assert web.outside is not None
    with StdioPeer(web.server.argv, env=web.server.env) as alone:
        alone.initialize()
        said = alone.call("fetch", {"url": "https://example.net/page"})
        assert DOCUMENTS["example.net"] in text_of(said)
    with web.guarded(limits=True) as peer:
        before = list(web.outside.journal)
        assert code_of(peer.call("fetch", {"url": "https://example.net/page"})) == "require"
        assert web.outside.journal == before
        assert DOCUMENTS["docs.example.com"] in text_of(peer.call("fetch", {"url": "https://docs.example.com/page"}))
    assert web.outside.journal[-1] == "docs.example.com/page"


def test_everything_shows_what_is_callable_readable_and_askable(everything: Place) -> None:
    with everything.guarded(capabilities={"sampling": {}, "elicitation": {}, "roots": {}}) as peer:
        uris = [resource["uri"] for resource in peer.request("resources/list")["result"]["resources"]]
        assert uris
        assert all(uri.startswith("demo://resource/static/document/") for uri in uris)
        assert {prompt["name"] for prompt in peer.request("prompts/list")["result"]["prompts"]} == {
            "simple-prompt",
            "args-prompt",
        }
        tools = {tool["name"] for tool in peer.request("tools/list")["result"]["tools"]}
        assert tools.isdisjoint({"get-env", "toggle-simulated-logging", "trigger-sampling-request", "get-roots-list"})
        assert "get-sum" in tools
        environment = peer.call("get-env")
        assert code_of(environment) == "denied"
        assert "PATH" not in json.dumps(environment)


def answered(peer: StdioPeer, choice: str, tool: str, arguments: Mapping[str, object]) -> object:
    """Call a tool as somebody who chooses this in the guard's form; return by what the call was refused, if it was."""
    call = peer.post("tools/call", {"name": tool, "arguments": dict(arguments)})
    asked = peer.receive(method="elicitation/create")
    peer.send({"id": asked["id"], "result": {"action": "accept", "content": {"decision": choice}}})
    result: Message = peer.receive(id=call)["result"]
    decision = result.get("_meta", {}).get("mcpguard/decision", {})
    return decision.get("code")


def test_every_policy_for_a_local_server_is_here() -> None:
    assert LISTED.keys() <= LIBRARY.keys()
