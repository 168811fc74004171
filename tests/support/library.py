"""Makes the policies of the library usable in tests: with a test's own values in the place of what a user puts in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcpguard.stores.library import library

if TYPE_CHECKING:
    from support.stdio import Message

LIBRARY = {policy.name: policy for policy in library()}
PLENTY = 1_000_000


def library_policy(name: str, values: Mapping[str, str] | None = None) -> Message:
    """Return the policy `name` with every key of `values` replaced by its value, in whatever text it stands."""
    document: Message = _filled(json.loads(LIBRARY[name].path.read_text()), values or {})
    return document


def answered_by(document: Message, **terms: str) -> Message:
    """Return a policy with other terms of approvals; a program's answer counts."""
    return document | {"approval": document.get("approval", {}) | {"min_answer": "0s"} | terms}


def library_cases(name: str, values: Mapping[str, str] | None = None) -> list[Message]:
    """Return the cases of the policy `name`, with the same values in them."""
    cases: list[Message] = _filled(json.loads(LIBRARY[name].cases.read_text()), values or {})["cases"]
    return cases


def without_limits(document: Message) -> Message:
    """Return a policy whose limits are never reached."""

    def raised(value: Any) -> Any:
        match value:
            case {"window": _, "max": _}:
                return value | {"max": PLENTY}
            case dict():
                return {key: raised(item) for key, item in value.items()}
            case list():
                return [raised(item) for item in value]
            case _:
                return value

    made: Message = raised(document)
    return made


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    match value:
        case str():
            for placeholder, own in values.items():
                value = value.replace(placeholder, own)
            return value
        case dict():
            return {_filled(key, values): _filled(item, values) for key, item in value.items()}
        case list():
            return [_filled(item, values) for item in value]
        case _:
            return value
