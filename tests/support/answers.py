"""Reads answers to tool calls as a test wants them: what a tool said, or by what the guard refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.stdio import Message


def text_of(answer: Message) -> str:
    """Return the text of an answer that is no refusal."""
    assert answer["result"].get("isError") is not True, answer
    text = answer["result"]["content"][0]["text"]
    assert isinstance(text, str)
    return text


def code_of(answer: Message) -> object:
    """Return by what a call was refused, if it is the guard that answered."""
    decision = answer.get("result", {}).get("_meta", {}).get("mcpguard/decision")
    assert isinstance(decision, dict), answer
    assert answer["result"]["isError"] is True
    return decision["code"]
