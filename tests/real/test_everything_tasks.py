"""Checks what the SDK's client cannot do: tasks in both directions, and answers that are alike to the order of their members.

A raw client has one conversation with server-everything, directly and through the guard, under a policy that allows everything.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support import Message, StdioPeer, allow_everything, guard_argv
from support.masking import masked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CAPABILITIES = {
    "roots": {"listChanged": True},
    "sampling": {},
    "elicitation": {"form": {}, "url": {}},
    "tasks": {"requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}}},
}
CLIENT_TASK = {
    "taskId": "client-task",
    "status": "working",
    "ttl": None,
    "createdAt": "2026-01-01T00:00:00Z",
    "lastUpdatedAt": "2026-01-01T00:00:00Z",
}
ACCEPTED = {"action": "accept", "content": {"name": "Ada", "interpretation": "technical"}}
SAMPLED = {"role": "assistant", "content": {"type": "text", "text": "words"}, "model": "none"}


class Client:
    """A client that does at once whatever the server asks of it, and writes everything down."""

    def __init__(self, peer: StdioPeer) -> None:
        self.answers: list[Message] = []
        self.asked: list[Message] = []
        self.heard: list[Message] = []
        self._peer = peer

    def request(self, method: str, params: Mapping[str, object] | None = None) -> Any:
        """Send a request, serve the server until the answer comes, and return its result or error."""
        number = self._peer.post(method, params)
        while True:
            message = self._peer.receive(deadline_s=60)
            if "method" not in message:
                assert message["id"] == number
                self.answers.append(message)
                return message.get("result", message.get("error"))
            if "id" in message:
                self.asked.append(message)
                self._peer.send({"id": message["id"], "result": self._do(message["method"], message.get("params", {}))})
            else:
                self.heard.append(message)

    def _do(self, method: str, params: Message) -> Mapping[str, object]:
        match method:
            case "roots/list":
                return {"roots": []}
            case "sampling/createMessage":
                return SAMPLED
            case "elicitation/create" if "task" in params:
                return {"task": CLIENT_TASK}
            case "elicitation/create" | "tasks/result":
                return ACCEPTED
            case "tasks/get":
                return CLIENT_TASK | {"status": "completed"}
            case _:
                pytest.fail(f"the server asked for {method}")


@pytest.fixture(scope="module")
def direct(everything_server: tuple[str, ...]) -> Client:
    """Return what was said with the server alone."""
    return converse(everything_server)


@pytest.fixture(scope="module")
def guarded(everything_server: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Return what was said through the guard."""
    policy = allow_everything(tmp_path_factory.mktemp("tasks"))
    return converse(guard_argv(policy, *everything_server, options=["--no-log"]))


def test_every_answer_is_the_server_s_own_in_the_order_of_its_members(direct: Client, guarded: Client) -> None:
    for own, through in zip(direct.answers, guarded.answers, strict=True):
        assert json.dumps(masked(through["result"])) == json.dumps(masked(own["result"]))
        assert through["id"] == own["id"]


def test_the_client_is_asked_for_the_same_under_the_same_ids(direct: Client, guarded: Client) -> None:
    assert masked(guarded.asked) == masked(direct.asked)
    assert {message["method"] for message in direct.asked} == {
        "roots/list",
        "sampling/createMessage",
        "elicitation/create",
        "tasks/get",
        "tasks/result",
    }


def test_the_same_notifications_arrive(direct: Client, guarded: Client) -> None:
    # In any order, also of members: the guard writes `list_changed` anew.
    through, own = (
        sorted(json.dumps(masked(each), sort_keys=True) for each in talk.heard) for talk in (guarded, direct)
    )
    assert through == own


def test_the_tasks_came_to_their_ends(direct: Client) -> None:
    texts = [json.dumps(message) for message in direct.answers]
    assert sum("# Research Report: snakes (technical)" in text for text in texts) == 1
    assert sum('"status": "cancelled"' in text for text in texts) >= 1
    assert sum("[COMPLETED] User provided" in text for text in texts) == 1
    assert not any("error" in message or message["result"].get("isError") for message in direct.answers)


def converse(argv: Sequence[str]) -> Client:
    """Have the whole conversation with `argv`."""
    with StdioPeer(argv) as peer:
        client = Client(peer)
        client.answers.append(peer.initialize(capabilities=CAPABILITIES))
        for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
            client.request(method, {})
        client.request("tools/call", {"name": "trigger-sampling-request-async", "arguments": {"prompt": "say"}})
        client.request("tools/call", {"name": "trigger-elicitation-request-async", "arguments": {}})
        research = {"name": "simulate-research-query", "arguments": {"topic": "snakes", "ambiguous": True}}
        task = client.request("tools/call", research | {"task": {"ttl": 60000}})["task"]
        client.request("tasks/get", {"taskId": task["taskId"]})
        client.request("tasks/result", {"taskId": task["taskId"]})
        client.request("tasks/get", {"taskId": task["taskId"]})
        given_up = client.request("tools/call", research | {"task": {"ttl": 60000}})["task"]
        client.request("tasks/cancel", {"taskId": given_up["taskId"]})
        client.request("tasks/list", {})
        return client
