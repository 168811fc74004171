"""Checks how servers are asked for their tools, and that nothing of them is left behind."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcpguard.errors import CommandNotExecutableError, CommandNotFoundError
from mcpguard.inventory.tools import Prompt
from mcpguard.proxy.linux import find_descendants
from mcpguard.proxy.probe import ProbeError, ask_for_all, ask_for_tools
from support.fake_server import fake_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpguard.proxy.probe import Offer

SUPPORT = Path(__file__).parent.parent / "support"

SERVER = """\
import json, sys

answers = json.loads(sys.argv[1])
for line in sys.stdin:
    message = json.loads(line)
    method = message["method"]
    if method in answers.get("fatal", []):
        sys.exit(f"no {method}, please \\x1b[31m")
    if method == "initialize":
        capabilities = answers.get("capabilities", {"tools": {}})
        result = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": {"name": "x", "version": "1"}}
    elif method == "tools/list":
        page = int((message.get("params") or {}).get("cursor", 0))
        result = {"tools": [{"name": answers.get("name", f"t{page}"), "inputSchema": {"type": "object"}}], "nextCursor": str(page + 1)}
        if page == answers.get("last", 0):
            del result["nextCursor"]
    elif method in answers.get("lists", {}):
        page = int((message.get("params") or {}).get("cursor", 0))
        pages = answers["lists"][method]
        result = dict(pages[page])
        if page + 1 < len(pages):
            result["nextCursor"] = str(page + 1)
    elif method in answers.get("refused", []):
        error = {"code": -32601, "message": f"no {method} \\x1b[31m"}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}), flush=True)
        continue
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


def server(**answers: object) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", SERVER, json.dumps({"fatal": ["server/discover"]} | answers)]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = set(find_descendants(os.getpid()))
    yield
    assert set(find_descendants(os.getpid())) <= before


def test_a_server_of_the_sdk_is_asked() -> None:
    tools = {tool.name: tool for tool in ask_for_tools([sys.executable, str(SUPPORT / "sdk_server.py")])}
    assert tools["write_note"].description == "Write a note."
    assert tools["write_note"].input_schema["required"] == ["name", "text"]


def test_a_server_that_does_not_survive_the_question_is_started_again_and_every_page_is_read() -> None:
    assert [tool.name for tool in ask_for_tools(server(last=2))] == ["t0", "t1", "t2"]


def test_a_server_without_tools_has_none() -> None:
    assert ask_for_tools(server(capabilities={})) == ()


def test_what_leaves_the_process_group_is_killed_too(tmp_path: Path) -> None:
    assert [tool.name for tool in ask_for_tools(fake_server(f"orphan={tmp_path / 'pid'}"))] == ["echo", "danger"]
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param(server(last=-1), "cannot be used: it does not end after 100 pages", id="pages without end"),
        pytest.param(
            server(last=1, name="same"), "cannot be used: two tools have the name `same`", id="the same tool twice"
        ),
        pytest.param(
            server(fatal=["server/discover", "initialize"]), "the server did not list its tools", id="an early end"
        ),
        pytest.param(server(name=5), "the server did not list its tools: 1 validation error", id="a name that is none"),
        pytest.param(["true"], "the server did not list its tools", id="no server at all"),
    ],
)
def test_a_server_that_does_not_list_its_tools_is_refused(command: list[str], said: str) -> None:
    with pytest.raises(ProbeError, match=said):
        ask_for_tools(command)


def test_its_last_words_are_told_safely() -> None:
    with pytest.raises(ProbeError) as raised:
        ask_for_tools(server(fatal=["server/discover", "initialize"]))
    assert raised.value.hint == r"its last words: no initialize, please \x1b[31m"


def test_a_silent_server_is_given_up() -> None:
    with pytest.raises(ProbeError, match=r"did not list its tools within 0\.5 seconds"):
        ask_for_tools(fake_server("silent=server/discover", "silent=initialize"), deadline_s=0.5)


def test_a_command_that_cannot_be_started_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandNotFoundError):
        ask_for_tools([str(tmp_path / "none")])
    with pytest.raises(CommandNotExecutableError):
        ask_for_tools([str(tmp_path)])
    with pytest.raises(CommandNotFoundError) as raised:
        ask_for_tools([f"{tmp_path / 'none'} --now"])
    assert "leave out the quotes" in raised.value.hint


EVERYTHING: dict[str, object] = {"tools": {}, "resources": {}, "prompts": {}}
LISTS = {
    "resources/list": [
        {"resources": [{"uri": "file:///a", "name": "a"}]},
        {"resources": [{"uri": "file:///b", "name": "b"}]},
    ],
    "resources/templates/list": [{"resourceTemplates": [{"uriTemplate": "file:///{x}", "name": "x"}]}],
    "prompts/list": [{"prompts": [{"name": "p", "description": "d", "arguments": [{"name": "a"}]}]}],
}
PROMPT = Prompt("p", "d", (("a", ""),))


def ask(command: list[str], deadline_s: float = 30, told: list[str] | None = None) -> Offer:
    return ask_for_all(command, deadline_s, (told if told is not None else []).append)


def test_everything_that_a_server_offers_is_asked_for_page_by_page() -> None:
    offer = ask(server(capabilities=EVERYTHING, lists=LISTS, last=1))
    assert [tool.name for tool in offer.tools] == ["t0", "t1"]
    assert offer.tool_list == tuple({"name": name, "inputSchema": {"type": "object"}} for name in ("t0", "t1"))
    assert offer.resources == (("file:///a", "a"), ("file:///b", "b"))
    assert offer.templates == (("file:///{x}", "x"),)
    assert offer.prompts == (PROMPT,)
    assert offer.unanswered == ()


def test_only_what_a_server_declares_is_asked_for() -> None:
    offer = ask(server(capabilities={"prompts": {}}, lists=LISTS))
    assert (offer.tools, offer.resources, offer.templates, offer.prompts) == ((), (), (), (PROMPT,))


def test_a_list_that_is_refused_is_named_and_the_others_are_given() -> None:
    lists = {name: LISTS[name] for name in ("resources/list", "prompts/list")}
    offer = ask(server(capabilities=EVERYTHING, lists=lists, refused=["resources/templates/list"]))
    assert [tool.name for tool in offer.tools] == ["t0"]
    assert (offer.resources[0], offer.prompts) == (("file:///a", "a"), (PROMPT,))
    assert offer.unanswered == (
        r"the server did not list its resource templates: no resources/templates/list \x1b[31m",
    )


def test_a_list_without_end_is_named() -> None:
    endless = LISTS | {"prompts/list": [{"prompts": []}] * 101}
    offer = ask(server(capabilities=EVERYTHING, lists=endless))
    assert offer.unanswered == ("the server did not list its prompts: it does not end after 100 pages",)


def test_a_server_that_ends_before_its_last_list_is_refused_by_that_name() -> None:
    with pytest.raises(ProbeError, match="the server did not list its resources"):
        ask(server(capabilities=EVERYTHING, fatal=["server/discover", "resources/list"]))


def test_what_is_waited_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpguard.proxy.probe.TELL_EVERY_S", 0.125)
    told: list[str] = []
    with pytest.raises(ProbeError, match=r"did not list its prompts within 1\.5 seconds"):
        ask(server(capabilities=EVERYTHING, lists={name: LISTS[name] for name in list(LISTS)[:2]}), 1.5, told)
    assert told[0].endswith(", 0.125 s of 1.5")
    assert told[-1].startswith("waiting for the server's prompts, ")
