"""Writes everything that the guard itself says, in both eras of the protocol.

Decides no call and reads no line: what it says, and to whom, it is told.
"""

from __future__ import annotations

from mcpguard.protocol.wire import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, encode, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from mcpguard.policy.decision import Verdict
    from mcpguard.protocol.wire import Id

DECISION_KEY: Final = "mcpguard/decision"
"""Where a refusal carries its machine-readable part: in `_meta` of a result, at the top of an error's `data`."""

SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"
"""Where a notification names the `subscriptions/listen` that it belongs to (2026-07-28, patterns/subscriptions)."""

COMPLETE: Final = "complete"


def error(id_: Id, code: int, message: str, data: dict[str, Any] | None = None) -> bytes:
    """Answer a request with an error."""
    body: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return encode({"jsonrpc": "2.0", "id": id_, "error": body})


def refusal(id_: Id, method: str, subject: str, verdict: Verdict, *, modern: bool, task: bool) -> bytes:
    """Say that a request is refused.

    A refused tool call is a result with `isError` and one text block, which is what reaches the model word for word in every
    client; a task-augmented call (2025-11-25, `params.task`) and every other method get an error. `modern` results carry
    `resultType` (2026-07-28). What is hidden is answered as the protocol answers for what does not exist.
    """
    if verdict.hidden:
        what = {"tools/call": "tool", "prompts/get": "prompt"}.get(method, "resource")
        return error(id_, INVALID_PARAMS, f"Unknown {what}: {subject}")
    decision: dict[str, Any] = {"code": verdict.code, "rule": verdict.rule}
    if verdict.retry_after_ms is not None:
        decision["retry_after_ms"] = verdict.retry_after_ms
    if verdict.remaining is not None:
        decision["remaining"] = verdict.remaining
    if method == "tools/call" and not task:
        return tool_error(id_, verdict.text, decision, modern=modern)
    if method in _WITH_SUBJECT:
        code = INVALID_PARAMS
    else:
        code = INTERNAL_ERROR if verdict.code in ("busy", "internal") else METHOD_NOT_FOUND
    return error(id_, code, verdict.text, {DECISION_KEY: decision})


_WITH_SUBJECT: Final = frozenset(
    (
        "tools/call",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "prompts/get",
        "completion/complete",
    )
)


def tool_error(id_: Id, text: str, decision: dict[str, Any], *, modern: bool) -> bytes:
    """A result with `isError` and one text block: no `structuredContent`, or some clients would show only that."""
    result: dict[str, Any] = {"resultType": COMPLETE} if modern else {}
    result["content"] = [{"type": "text", "text": text}]
    result["isError"] = True
    result["_meta"] = {DECISION_KEY: decision}
    return encode({"jsonrpc": "2.0", "id": id_, "result": result})


def no_probe_answer(id_: Id) -> bytes:
    """Answer a `server/discover` in the name of a server that says nothing to it: clients fall back to `initialize`."""
    return error(id_, METHOD_NOT_FOUND, "Method not found: server/discover")


def capability_refused(id_: Id, method: str, text: str) -> bytes:
    """Answer a server's request that its client shall not see."""
    return error(id_, METHOD_NOT_FOUND, text or f"Method not found: {printable(method)}")


def cancelled(id_: Id, reason: str) -> bytes:
    """Withdraw a request of our own."""
    return encode(
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id_, "reason": reason}}
    )


def progress(token: Id, count: int, message: str) -> bytes:
    """Say that a call still waits.  The numbers grow, as they must, and stay below those that a server would begin with."""
    params = {"progressToken": token, "progress": count / 1000, "message": message}
    return encode({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})


def question(message: str, choices: list[str]) -> dict[str, Any]:
    """The parameters of an `elicitation/create` in which a person chooses one of `choices`.

    Without `mode`, which clients before 2025-11-25 do not know: then it is a form.
    """
    choice = {"type": "string", "title": "Decision", "description": "What becomes of the call", "enum": choices}
    schema = {"type": "object", "properties": {CHOICE: choice}, "required": [CHOICE]}
    return {"message": message, "requestedSchema": schema}


def ask_client(id_: str, params: dict[str, Any]) -> bytes:
    """Ask the client's user, as a request of our own (up to 2025-11-25)."""
    return encode({"jsonrpc": "2.0", "id": id_, "method": "elicitation/create", "params": params})


def ask_in_result(id_: Id, params: dict[str, Any], state: str) -> bytes:
    """Ask the client's user in the answer to the request that it is about (2026-07-28, patterns/mrtr)."""
    requests = {QUESTION_KEY: {"method": "elicitation/create", "params": params}}
    result = {"resultType": "input_required", "inputRequests": requests, "requestState": state}
    return encode({"jsonrpc": "2.0", "id": id_, "result": result})


CHOICE: Final = "decision"
"""The field of our form."""
QUESTION_KEY: Final = "mcpguard/approval"
"""The key of our question among the `inputRequests` of an answer."""


def list_changed(kind: str, subscription: Id | None = None) -> bytes:
    """Say that the list of `kind` (tools, prompts, resources) may show something else, if need be on a subscription."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"}
    if subscription is not None:
        message["params"] = {"_meta": {SUBSCRIPTION_KEY: subscription}}
    return encode(message)
