"""Says what a client's request is about, for whoever judges it.

Knows the parameters of the methods that a policy governs, and no policy.
"""

from __future__ import annotations

from mcpguard.protocol.commands import Retry
from mcpguard.protocol.wire import Malformed, refuse_lookalikes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

    from mcpguard.protocol.wire import Id

    Subject: TypeAlias = tuple[str, str, dict[str, Any] | None]
    """What is asked for: its kind (tool, resource, prompt), its name or URI, and the arguments of a tool or prompt."""


def _tool(params: dict[str, Any]) -> Subject:
    name, arguments = params.get("name"), params.get("arguments")
    if type(name) is not str:
        raise Malformed("`name` of a tool call must be a string")
    if arguments is None:
        return "tool", name, {}
    if type(arguments) is not dict:
        raise Malformed("`arguments` of a tool call must be an object")
    return "tool", name, arguments


def _resource(params: dict[str, Any]) -> Subject:
    uri = params.get("uri")
    if type(uri) is not str:
        raise Malformed("`uri` must be a string")
    return "resource", uri, None


def _prompt(params: dict[str, Any]) -> Subject:
    name = params.get("name")
    if type(name) is not str:
        raise Malformed("`name` of a prompt must be a string")
    arguments = params.get("arguments")
    if arguments is not None and type(arguments) is not dict:
        raise Malformed("`arguments` of a prompt must be an object")
    return "prompt", name, arguments or {}


def _completion(params: dict[str, Any]) -> Subject:
    ref = params.get("ref")
    if type(ref) is not dict:
        raise Malformed("`ref` must be an object")
    refuse_lookalikes(ref, frozenset(("type", "name", "uri")))
    kind, name, uri = ref.get("type"), ref.get("name"), ref.get("uri")
    if kind == "ref/prompt" and type(name) is str and uri is None:
        return "prompt", name, None
    if kind == "ref/resource" and type(uri) is str and name is None:
        return "resource", uri, None
    raise Malformed("`ref` must name a prompt (`ref/prompt`, `name`) or a resource (`ref/resource`, `uri`)")


def retry_of(params: dict[str, Any]) -> Retry | None:
    """Give what a request carries of an earlier round (2026-07-28, patterns/mrtr); None if nothing.

    Raises:
        Malformed: `requestState` is no string, or `inputResponses` no object.
    """
    state, responses = params.get("requestState"), params.get("inputResponses")
    if state is None and responses is None:
        return None
    if state is not None and type(state) is not str:
        raise Malformed("`requestState` must be a string")
    if responses is not None and type(responses) is not dict:
        raise Malformed("`inputResponses` must be an object")
    return Retry(state, responses or {})


def progress_token_of(params: dict[str, Any]) -> Id | None:
    """Give the token under which the client wants to hear of progress, None if it does not."""
    meta = params.get("_meta")
    token = meta.get("progressToken") if type(meta) is dict else None
    return token if type(token) is str or type(token) is int else None


JUDGED: Final[dict[str, Callable[[dict[str, Any]], Subject]]] = {
    "tools/call": _tool,
    "resources/read": _resource,
    "resources/subscribe": _resource,
    "resources/unsubscribe": _resource,
    "prompts/get": _prompt,
    "completion/complete": _completion,
}
"""The methods that are judged one by one, each with the function that reads its parameters (raises `Malformed`)."""
