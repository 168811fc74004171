"""Checks, word for word, what the guard itself says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcpguard.policy.decision import Code, Verdict
from mcpguard.protocol import replies

DENIED = Verdict(admitted=False, code="denied", text="mcpguard: t denied: no. Do not retry unchanged.", rule="/tools/t")


def refusal(method: str = "tools/call", verdict: Verdict = DENIED, *, modern: bool = False, task: bool = False) -> Any:
    line = replies.refusal("1", method, "t\u2028", verdict, modern=modern, task=task)
    assert line.isascii()
    assert line.startswith(b'{"jsonrpc":"2.0","id":"1",')
    assert line.endswith(b"}\n")
    return json.loads(line)


def test_a_refused_call_is_a_result_with_one_text_and_the_decision_beside_it() -> None:
    assert refusal() == {
        "jsonrpc": "2.0",
        "id": "1",
        "result": {
            "content": [{"type": "text", "text": DENIED.text}],
            "isError": True,
            "_meta": {"mcpguard/decision": {"code": "denied", "rule": "/tools/t"}},
        },
    }


def test_on_the_newer_revision_it_is_a_complete_result() -> None:
    assert refusal(modern=True)["result"].pop("resultType") == "complete"


def test_a_limit_says_when_to_come_back_and_what_is_left() -> None:
    verdict = Verdict(admitted=False, code="rate_limited", text="later", rule="/x", retry_after_ms=0, remaining=0)
    decision = refusal(verdict=verdict)["result"]["_meta"]["mcpguard/decision"]
    assert decision == {"code": "rate_limited", "rule": "/x", "retry_after_ms": 0, "remaining": 0}


@pytest.mark.parametrize(
    ("method", "code", "number"),
    [
        ("resources/read", "denied", -32602),
        ("resources/subscribe", "denied", -32602),
        ("resources/unsubscribe", "denied", -32602),
        ("prompts/get", "denied", -32602),
        ("completion/complete", "denied", -32602),
        ("resources/read", "busy", -32602),
        ("skills/list", "denied", -32601),
        ("ping", "busy", -32603),
        ("tools/list", "internal", -32603),
    ],
)
def test_every_other_refusal_is_an_error_with_the_decision_in_its_data(method: str, code: Code, number: int) -> None:
    verdict = Verdict(admitted=False, code=code, text="no", rule="/r")
    assert refusal(method, verdict)["error"] == {
        "code": number,
        "message": "no",
        "data": {"mcpguard/decision": {"code": code, "rule": "/r"}},
    }


def test_a_refused_call_that_was_to_be_a_task_is_an_error() -> None:
    assert refusal(task=True)["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("method", "what"),
    [("tools/call", "tool"), ("prompts/get", "prompt"), ("resources/read", "resource")],
)
@pytest.mark.parametrize("modern", [False, True])
def test_what_is_hidden_does_not_exist_and_nothing_tells_otherwise(method: str, what: str, modern: bool) -> None:
    verdict = Verdict(admitted=False, text="secret", rule="/hide/0", hidden=True)
    assert refusal(method, verdict, modern=modern, task=True)["error"] == {
        "code": -32602,
        "message": f"Unknown {what}: t\u2028",
    }


def test_an_error_has_data_only_if_there_is_some() -> None:
    assert replies.error(7, -1, "no") == b'{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"no"}}\n'
    assert json.loads(replies.error(7, -1, "no", {}))["error"]["data"] == {}


def test_a_question_is_a_form_with_one_choice_that_any_client_can_show() -> None:
    params = replies.question("may it?", ["deny", "allow"])
    assert params["message"] == "may it?"
    assert params["requestedSchema"]["required"] == ["decision"]
    assert params["requestedSchema"]["properties"]["decision"]["type"] == "string"
    assert params["requestedSchema"]["properties"]["decision"]["enum"] == ["deny", "allow"]
    assert "mode" not in params
    assert json.loads(replies.ask_client("mcpguard-1", params)) == {
        "jsonrpc": "2.0",
        "id": "mcpguard-1",
        "method": "elicitation/create",
        "params": params,
    }
    assert json.loads(replies.ask_in_result(7, params, "sealed")) == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {
            "resultType": "input_required",
            "inputRequests": {"mcpguard/approval": {"method": "elicitation/create", "params": params}},
            "requestState": "sealed",
        },
    }


def test_a_question_that_is_not_to_be_answered_any_more_is_cancelled() -> None:
    assert json.loads(replies.cancelled("mcpguard-1", "too late")) == {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": "mcpguard-1", "reason": "too late"},
    }


@pytest.mark.parametrize("token", ["t", 0])
def test_progress_grows_and_stays_below_what_a_server_would_say(token: Any) -> None:
    said = [json.loads(replies.progress(token, count, "waiting")) for count in (1, 2, 9)]
    assert {message["method"] for message in said} == {"notifications/progress"}
    assert [message["params"] for message in said] == [
        {"progressToken": token, "progress": progress, "message": "waiting"} for progress in (0.001, 0.002, 0.009)
    ]


def test_a_silent_server_is_answered_for_as_one_that_does_not_know_the_method() -> None:
    assert json.loads(replies.no_probe_answer("p"))["error"] == {
        "code": -32601,
        "message": "Method not found: server/discover",
    }


def test_a_server_is_told_why_its_request_was_refused() -> None:
    assert json.loads(replies.capability_refused(0, "roots/list", "no"))["error"] == {"code": -32601, "message": "no"}
    without_text = json.loads(replies.capability_refused(0, "x\x1b", ""))["error"]["message"]
    assert without_text == "Method not found: 'x\\x1b'"


def test_the_form_in_which_a_person_chooses_is_whole() -> None:
    assert replies.question("may it pass?", ["Allow", "Deny"]) == {
        "message": "may it pass?",
        "requestedSchema": {
            "type": "object",
            "properties": {
                "decision": {
                    "type": "string",
                    "title": "Decision",
                    "description": "What becomes of the call",
                    "enum": ["Allow", "Deny"],
                }
            },
            "required": ["decision"],
        },
    }


def test_progress_is_a_notification_whose_numbers_stay_small() -> None:
    assert json.loads(replies.progress("token", 7, "it waits")) == {
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": {"progressToken": "token", "progress": 0.007, "message": "it waits"},
    }
