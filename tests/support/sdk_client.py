"""Connects the SDK's own client to a command over stdio, and remembers what it hears beside the answers.

The era is always named: `legacy` for the handshake, else a revision; a client that probes would hide which one was spoken.
"""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import anyio
import mcp_types as types
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from support.stdio import FIRST_REPLY_S, REPLY_S, Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from mcp.client.session import ClientRequestContext, IncomingMessage
    from pydantic import BaseModel

Mode: TypeAlias = Literal["legacy", "2026-07-28"]
ROOT = types.Root(uri="file:///srv/notes", name="notes")  # type: ignore[arg-type]
CONVERSATION_S = 180.0


@dataclass
class Ears:
    """What a client heard: notifications and the server's requests, as JSON, in the order of their arrival.

    `elicited` is the content that the person at this client enters into every form, unless `answer` says what they do with each;
    they think about it until `gate` opens, if there is one.
    """

    elicited: Mapping[str, str | int | float | bool | list[str]] = field(default_factory=dict)
    notifications: list[Message] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)
    answer: Callable[[types.ElicitRequestParams], types.ElicitResult] | None = None
    gate: anyio.Event | None = None
    _news: anyio.Event = field(default_factory=anyio.Event)

    async def wait_for_questions(self, times: int) -> None:
        """Wait until the server, or whoever speaks for it, has asked so many times."""
        with anyio.move_on_after(FIRST_REPLY_S):
            while len(self.requests) < times:
                self._news = anyio.Event()
                await self._news.wait()
            return
        problem = f"{times} questions did not come within {FIRST_REPLY_S} s; heard {self.requests}"
        raise AssertionError(problem)

    async def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until so many notifications have come whose JSON holds `text`."""
        with anyio.move_on_after(REPLY_S):
            while sum(text in json.dumps(message) for message in self.notifications) < times:
                self._news = anyio.Event()
                await self._news.wait()
            return
        problem = f"{text!r} did not come {times} times within {REPLY_S} s; heard {self.notifications}"
        raise AssertionError(problem)

    async def hear(self, message: IncomingMessage) -> None:
        """Remember a notification."""
        if isinstance(message, Exception):
            raise message
        self.notifications.append(as_json(message))
        self._news.set()

    async def sample(
        self,
        context: ClientRequestContext,  # noqa: ARG002 - the SDK calls it so
        params: types.CreateMessageRequestParams,
    ) -> types.CreateMessageResult:
        """Answer a request for a completion as a model would."""
        self.requests.append({"method": "sampling/createMessage", "params": as_json(params)})
        text = types.TextContent(type="text", text="a model's words")
        return types.CreateMessageResult(role="assistant", content=text, model="none", stop_reason="endTurn")

    async def elicit(
        self,
        context: ClientRequestContext,  # noqa: ARG002 - the SDK calls it so
        params: types.ElicitRequestParams,
    ) -> types.ElicitResult:
        """Answer a question as a person would."""
        self.requests.append({"method": "elicitation/create", "params": as_json(params)})
        self._news.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is not None:
            return self.answer(params)
        return types.ElicitResult(action="accept", content=dict(self.elicited))

    async def list_roots(self, context: ClientRequestContext) -> types.ListRootsResult:  # noqa: ARG002 - the SDK's signature
        """Answer with one root."""
        self.requests.append({"method": "roots/list"})
        return types.ListRootsResult(roots=[ROOT])


@asynccontextmanager
async def sdk_client(
    argv: Sequence[str],
    *,
    mode: Mode,
    stderr: Path,
    ears: Ears | None = None,
    env: Mapping[str, str] | None = None,
    elicits: bool = True,
) -> AsyncIterator[Client]:
    """Connect to `argv` and yield a client that can sample, elicit and list roots; what the process says is in `stderr`.

    With `elicits` false it cannot elicit, and declares so.  `env` is the whole environment; the whole conversation is bounded.
    """
    ears = ears or Ears()
    parameters = StdioServerParameters(
        command=argv[0], args=list(argv[1:]), env=dict(os.environ if env is None else env)
    )
    with stderr.open("a") as errlog, anyio.fail_after(CONVERSATION_S):
        async with Client(
            stdio_client(parameters, errlog=errlog),
            mode=mode,
            cache=None,
            read_timeout_seconds=FIRST_REPLY_S,
            message_handler=ears.hear,
            sampling_callback=ears.sample,
            elicitation_callback=ears.elicit if elicits else None,
            list_roots_callback=ears.list_roots,
        ) as client:
            yield client


def as_json(value: BaseModel) -> Any:
    """Return what stood on the wire."""
    return value.model_dump(mode="json", by_alias=True, exclude_unset=True)


async def journal(client: Client) -> list[str]:
    """Return the names of the tools that ran."""
    content = (await client.call_tool("journal", {})).structured_content
    assert isinstance(content, dict)
    ran = content["result"]
    assert isinstance(ran, list)
    return ran


def text_of(result: types.CallToolResult) -> str:
    """Return the text of a result that is one text block."""
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text
