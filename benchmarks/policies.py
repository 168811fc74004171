"""Says which policies the guards enforce, and with which calls they are met.

Knows nothing of processes and clocks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from client import KeyedRequest, Request

GOVERNED_TOOLS = 50
RULED_TOOLS = (1, 100, 10_000)
MOST = 1_000_000
UNREACHABLE = 1_000_000_000
"""A limit that is counted on every call and never reached."""

ARGUMENTS: dict[str, object] = {
    "amount": 250,
    "currency": "eur",
    "customer": "c_1001",
    "memo": "invoice 2026-114, ward 4",
    "items": [{"sku": "A-17", "price": 100}, {"sku": "B-4", "price": 150}],
    "dry_run": False,
    "path": "reports/2026/may.txt",
    "url": "https://api.example.com/v1/charges",
}
"""What a call is made of that rules look at; all of them let it pass, so none of them is spared."""


@dataclass(frozen=True, slots=True)
class Policies:
    """The files: with limits alone, with rules for that many tools, and with limits that count apart for each key."""

    limits: Path
    rules: dict[int, Path]
    keys: Path


def write_policies(workplace: Path) -> Policies:
    """Write every policy into `workplace`."""

    def write(name: str, policy: dict[str, object]) -> Path:
        path = workplace / f"{name}.json"
        path.write_text(json.dumps({"version": "1"} | policy))
        return path

    return Policies(
        write("limits", limits()),
        {tools: write(f"rules-{tools}", rules(tools)) for tools in RULED_TOOLS},
        write("keys", keys()),
    )


def limits() -> dict[str, object]:
    """Give a policy that names 50 tools, each with one limit of its own, and lets every other tool pass."""
    limit = {"max": UNREACHABLE, "window": "minute"}
    return {"default": "allow", "tools": {f"echo_{number}": {"rate_limit": limit} for number in range(GOVERNED_TOOLS)}}


def rules(tools: int) -> dict[str, object]:
    """Give a policy that names that many tools and denies all others; each has a rule of ten conditions of its own."""

    def conditions(number: int) -> list[dict[str, object]]:
        return [
            {"path": "args.amount", "op": "gt", "value": 0},
            {"path": "args.amount", "op": "lte", "value": 10_000 + number},
            {"path": "args.currency", "op": "in", "value": ["usd", "eur", f"x{number}"]},
            {"path": "args.customer", "op": "regex", "value": "^c_[0-9]+$"},
            {"path": "args.memo", "op": "contains", "value": "invoice"},
            {"path": "args.items.*.price", "op": "lt", "value": 1_000 + number},
            {"path": "args.dry_run", "op": "eq", "value": False},
            {"path": "args.customer", "op": "neq", "value": f"c_{number + 10_000}"},
            {"path": "args.url", "op": "host_in", "value": ["*.example.com", f"host{number}.example.org"]},
            {"path": "args.text", "op": "exists"},
        ]

    return {"tools": {f"echo_{number}": {"require": [{"conditions": conditions(number)}]} for number in range(tools)}}


def keys() -> dict[str, object]:
    """Give a policy whose only tool has two limits, one of which counts apart for each customer."""
    limit = {"max": MOST, "window": "hour"}
    return {"tools": {"echo_0": {"limits": [limit, limit | {"counter": "customer", "per": "args.customer"}]}}}


def call_with_arguments(text: str) -> Request:
    """Write a call that the rules look at."""
    return Request.of("tools/call", {"name": "echo_0", "arguments": ARGUMENTS | {"text": text}})


def call_of_customers(text: str, customers: int) -> KeyedRequest:
    """Write a call whose customer is another one each time, until all have had their turn."""
    return KeyedRequest.of("tools/call", {"name": "echo_0", "arguments": {"text": text, "customer": "KEY"}}, customers)
