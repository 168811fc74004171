"""Checks that under a policy that allows everything the guard changes nothing: the SDK's client has one conversation with
server-everything, directly and through the guard, and both must come out alike.

The conversation uses all that the server offers: every tool, prompt, resource and template, sampling, elicitation, roots, progress,
logging, completion, subscription and cancellation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from support import StdioPeer, allow_everything, guard_argv
from support.masking import masked
from support.sdk_client import Ears, as_json, sdk_client

if TYPE_CHECKING:
    from pathlib import Path

    from mcp.client.client import Client

TOOLS: dict[str, dict[str, Any]] = {
    "echo": {"message": 'ein "Gruß"\u2028 in two lines\n'},
    "get-annotated-message": {"messageType": "error", "includeImage": True},
    "get-env": {},
    "get-resource-links": {"count": 4},
    "get-resource-reference": {"resourceType": "Blob", "resourceId": 2},
    "get-roots-list": {},
    "get-structured-content": {"location": "Chicago"},
    "get-sum": {"a": 0.1, "b": 12345678901234567},
    "get-tiny-image": {},
    "gzip-file-as-resource": {"name": "note.gz", "data": "data:text/plain,hello"},
    "simulate-research-query": {"topic": "needs a task, so it is an error without one"},
    "toggle-simulated-logging": {},
    "toggle-subscriber-updates": {},
    "trigger-elicitation-request": {},
    "trigger-long-running-operation": {"duration": 0.2, "steps": 4},
    "trigger-sampling-request": {"prompt": "say something", "maxTokens": 5},
    "trigger-url-elicitation": {"url": "https://example.com/sign-in", "elicitationId": "one"},
}
PROMPTS = {
    "simple-prompt": None,
    "args-prompt": {"city": "Köln", "state": "NRW"},
    "completable-prompt": {"department": "Sales", "name": "Eve"},
    "resource-prompt": {"resourceType": "Text", "resourceId": "3"},
}
TEMPLATES = {
    "demo://resource/dynamic/text/{resourceId}": "demo://resource/dynamic/text/1",
    "demo://resource/dynamic/blob/{resourceId}": "demo://resource/dynamic/blob/2",
}
OTHERS = (
    "handshake",
    "list of tools",
    "list of prompts",
    "list of resources",
    "list of templates",
    "resources",
    "completions",
    "ping",
    "progress",
    "after a cancellation",
)
STEPS = (*OTHERS, *(f"tool {name}" for name in TOOLS), *(f"prompt {name}" for name in PROMPTS), *TEMPLATES)

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


@dataclass
class Conversation:
    """What was answered at every step, and what the client heard meanwhile."""

    answers: dict[str, Any] = field(default_factory=dict)
    ears: Ears = field(default_factory=lambda: Ears(elicited={"name": "Ada", "check": True}))


@pytest.fixture(scope="module")
def direct(everything_server: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Conversation:
    """Return the conversation with the server alone."""
    return anyio.run(converse, everything_server, tmp_path_factory.mktemp("direct"))


@pytest.fixture(scope="module")
def guarded(everything_server: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Conversation:
    """Return the same conversation through the guard."""
    directory = tmp_path_factory.mktemp("guarded")
    argv = guard_argv(allow_everything(directory), *everything_server, options=["--no-log"])
    return anyio.run(converse, argv, directory)


@pytest.mark.parametrize("step", STEPS)
def test_the_answer_is_the_server_s_own(direct: Conversation, guarded: Conversation, step: str) -> None:
    assert masked(guarded.answers[step]) == masked(direct.answers[step])


def test_the_conversation_leaves_nothing_out(direct: Conversation) -> None:
    assert set(direct.answers) == set(STEPS)
    assert {tool["name"] for tool in direct.answers["list of tools"]["tools"]} == set(TOOLS)
    assert {prompt["name"] for prompt in direct.answers["list of prompts"]["prompts"]} == set(PROMPTS)
    templates = direct.answers["list of templates"]["resourceTemplates"]
    assert {template["uriTemplate"] for template in templates} == set(TEMPLATES)


def test_every_tool_did_its_work(direct: Conversation) -> None:
    failed = {name for name in TOOLS if direct.answers[f"tool {name}"].get("isError")}
    assert failed == {"simulate-research-query"}


def test_the_same_notifications_arrive(direct: Conversation, guarded: Conversation) -> None:
    assert notifications(guarded) == notifications(direct)
    assert {"notifications/message", "notifications/progress", "notifications/resources/updated"} <= {
        message["method"] for message in direct.ears.notifications
    }


def test_the_server_asks_the_client_for_the_same(direct: Conversation, guarded: Conversation) -> None:
    assert masked(guarded.ears.requests) == masked(direct.ears.requests)
    methods = [request["method"] for request in direct.ears.requests]
    assert set(methods) == {"roots/list", "sampling/createMessage", "elicitation/create"}


def test_this_release_of_the_server_speaks_no_later_revision(everything_server: tuple[str, ...]) -> None:
    """When this fails, a newer server is pinned: the conversation must be had in 2026-07-28 too."""
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    with StdioPeer(everything_server) as peer:
        answer = peer.request("server/discover", {"_meta": meta}, deadline_s=60)
    assert answer["error"]["code"] == types.METHOD_NOT_FOUND


async def converse(argv: tuple[str, ...] | list[str], directory: Path) -> Conversation:
    """Have the whole conversation with `argv`."""
    talk = Conversation()
    async with sdk_client(argv, mode="legacy", stderr=directory / "stderr.txt", ears=talk.ears) as client:
        await handshake(client, talk)
        await lists(client, talk)
        await tools(client, talk)
        await prompts_and_resources(client, talk)
        await cancellation(client, talk)
    return talk


async def handshake(client: Client, talk: Conversation) -> None:
    assert client.server_info is not None
    talk.answers["handshake"] = {
        "version": client.protocol_version,
        "server": as_json(client.server_info),
        "capabilities": as_json(client.server_capabilities),
        "instructions": client.instructions,
    }
    talk.answers["ping"] = as_json(await client.send_ping())
    await client.set_logging_level("debug")
    # The server asks for the roots when the handshake is done, and again whenever they change.
    await talk.ears.wait_for("Roots updated", times=1)
    await client.send_roots_list_changed()
    await talk.ears.wait_for("Roots updated", times=2)


async def lists(client: Client, talk: Conversation) -> None:
    talk.answers["list of tools"] = as_json(await client.list_tools())
    talk.answers["list of prompts"] = as_json(await client.list_prompts())
    talk.answers["list of resources"] = as_json(await client.list_resources())
    talk.answers["list of templates"] = as_json(await client.list_resource_templates())


async def tools(client: Client, talk: Conversation) -> None:
    steps: list[tuple[float, float | None]] = []

    async def remember(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - the SDK calls it so
        steps.append((progress, total))

    subscribed = "demo://resource/static/document/features.md"
    await client.subscribe_resource(subscribed)
    for name, arguments in TOOLS.items():
        callback = remember if name == "trigger-long-running-operation" else None
        try:
            result = await client.call_tool(name, arguments, progress_callback=callback)
        except MCPError as error:
            talk.answers[f"tool {name}"] = {"isError": True, "error": as_json(error.error)}
            continue
        talk.answers[f"tool {name}"] = as_json(result)
        if name == "toggle-simulated-logging":
            await talk.ears.wait_for("level")
            await client.call_tool(name, arguments)
        if name == "toggle-subscriber-updates":
            await talk.ears.wait_for("notifications/resources/updated")
            await client.call_tool(name, arguments)
    await client.unsubscribe_resource(subscribed)
    talk.answers["progress"] = steps


async def prompts_and_resources(client: Client, talk: Conversation) -> None:
    for name, arguments in PROMPTS.items():
        talk.answers[f"prompt {name}"] = as_json(await client.get_prompt(name, arguments))
    for template, uri in TEMPLATES.items():
        talk.answers[template] = as_json(await client.read_resource(uri))
    listed = (await client.list_resources()).resources
    talk.answers["resources"] = {each.uri: as_json(await client.read_resource(each.uri)) for each in listed}
    prompt = types.PromptReference(type="ref/prompt", name="completable-prompt")
    template_of_text = types.ResourceTemplateReference(type="ref/resource", uri=next(iter(TEMPLATES)))
    talk.answers["completions"] = [
        as_json(await client.complete(prompt, {"name": "department", "value": "S"})),
        as_json(await client.complete(prompt, {"name": "name", "value": ""}, {"department": "Support"})),
        as_json(await client.complete(template_of_text, {"name": "resourceId", "value": "7"})),
    ]


async def cancellation(client: Client, talk: Conversation) -> None:
    """Cancel a call that runs; the server must go on answering others."""

    async def begin(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - the SDK calls it so
        begun.set()

    async with anyio.create_task_group() as running:
        begun = anyio.Event()
        long = {"duration": 1, "steps": 5}
        running.start_soon(client.call_tool, "trigger-long-running-operation", long, None, begin)
        await begun.wait()
        running.cancel_scope.cancel()
    talk.answers["after a cancellation"] = as_json(await client.call_tool("get-sum", {"a": 1, "b": 2}))


def notifications(talk: Conversation) -> list[str]:
    """Return what was heard, without order; what the server makes up at random counts only as having come."""
    heard = []
    for message in masked(talk.ears.notifications):
        params = message.get("params", {})
        if message["method"] == "notifications/message" and "message" in str(params["data"]):
            params = "a message of the simulated log"
        if message["method"] == "notifications/progress" and params["total"] == 5:
            continue  # How many steps a cancelled call reports is a matter of time.
        heard.append(f"{message['method']} {params}")
    return sorted(heard)
