"""The demo server, spoken to by the SDK's client in both eras."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp_types import CallToolResult, TextContent, TextResourceContents

from support import StdioPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ARGV = (sys.executable, "-P", "-m", "mcpguard", "demo-server")
DEADLINE_S = 30.0

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])]


@asynccontextmanager
async def demo_server(mode: str, stderr: Path) -> AsyncIterator[Client]:
    program, *arguments = ARGV
    with stderr.open("w") as errlog:
        transport = stdio_client(StdioServerParameters(command=program, args=arguments), errlog=errlog)
        async with Client(transport, mode=mode, read_timeout_seconds=DEADLINE_S) as client:
            yield client


def text_of(result: CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


async def test_lists_tools_of_every_category_with_hints_and_descriptions(mode: str, tmp_path: Path) -> None:
    async with demo_server(mode, tmp_path / "stderr") as client:
        tools = (await client.list_tools()).tools
    hints = {tool.name: tool.annotations for tool in tools}
    read_only = {name: hint.read_only_hint for name, hint in hints.items() if hint}
    destructive = {name: hint.destructive_hint for name, hint in hints.items() if hint}
    assert [name for name, yes in read_only.items() if yes] == ["list_patients", "get_patient"]
    assert [name for name, yes in destructive.items() if yes is False] == ["add_note", "start_dicom_export_job"]
    assert [name for name, yes in destructive.items() if yes] == ["delete_patient", "wipe_store"]
    assert all(tool.description and tool.description.endswith(".") for tool in tools)


async def test_every_tool_does_what_it_says_and_is_named_on_stderr(mode: str, tmp_path: Path) -> None:
    patient = {"patient_id": "P-1001"}
    async with demo_server(mode, tmp_path / "stderr") as client:
        assert text_of(await client.call_tool("get_patient", patient)) == "P-1001: Amal Haddad, ward 4, 2 images"
        assert text_of(await client.call_tool("add_note", patient | {"text": "slept well"})) == "note 1 added to P-1001"
        assert text_of(await client.call_tool("start_dicom_export_job", patient)) == "job EXP-0001 started for P-1001"
        assert text_of(await client.call_tool("start_dicom_export_job", patient)) == "job EXP-0002 started for P-1001"
        assert text_of(await client.call_tool("delete_patient", patient)).startswith("P-1001 deleted")
        assert "P-1001" not in text_of(await client.call_tool("list_patients"))
        await client.call_tool("wipe_store")
        assert text_of(await client.call_tool("list_patients")) == "no patients"
    assert (tmp_path / "stderr").read_text().splitlines() == [
        "demo-server: ran get_patient",
        "demo-server: ran add_note",
        "demo-server: ran start_dicom_export_job",
        "demo-server: ran start_dicom_export_job",
        "demo-server: ran delete_patient",
        "demo-server: ran list_patients",
        "demo-server: ran wipe_store",
        "demo-server: ran list_patients",
    ]


async def test_every_start_has_a_store_of_its_own(mode: str, tmp_path: Path) -> None:
    for _ in range(2):
        async with demo_server(mode, tmp_path / "stderr") as client:
            assert "P-1003" in text_of(await client.call_tool("list_patients"))
            await client.call_tool("delete_patient", {"patient_id": "P-1003"})


@pytest.mark.parametrize("patient_id", ["P-9999", "everyone"], ids=["unknown", "not an id"])
async def test_a_patient_who_is_not_there_is_an_error_for_the_model(mode: str, patient_id: str, tmp_path: Path) -> None:
    async with demo_server(mode, tmp_path / "stderr") as client:
        result = await client.call_tool("delete_patient", {"patient_id": patient_id})
    assert result.is_error
    assert "delete_patient" in text_of(result)


async def test_arguments_that_do_not_fit_the_schema_run_nothing(mode: str, tmp_path: Path) -> None:
    async with demo_server(mode, tmp_path / "stderr") as client:
        await client.call_tool("delete_patient", {"patient_id": "everyone"})
    assert (tmp_path / "stderr").read_text() == ""


async def test_has_one_prompt_and_one_resource(mode: str, tmp_path: Path) -> None:
    async with demo_server(mode, tmp_path / "stderr") as client:
        [prompt] = (await client.list_prompts()).prompts
        [message] = (await client.get_prompt(prompt.name, {"patient_id": "P-1002"})).messages
        [resource] = (await client.list_resources()).resources
        [wards] = (await client.read_resource(resource.uri)).contents
    assert isinstance(message.content, TextContent)
    assert "P-1002" in message.content.text
    assert isinstance(wards, TextResourceContents)
    assert wards.text == "ward 4: surgery\nward 7: children"


def test_ends_with_status_0_when_its_input_ends(mode: str) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": mode, "io.modelcontextprotocol/clientCapabilities": {}}
    with StdioPeer(ARGV) as peer:
        if mode == "legacy":
            peer.initialize()
        else:
            peer.request("tools/list", {"_meta": meta}, deadline_s=DEADLINE_S)
        peer.close_stdin()
        assert peer.wait() == 0
        assert peer.noise == []
        assert peer.stderr_text() == ""
