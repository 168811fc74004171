"""Checks that a guard in front of a server enforces rules on arguments, schemas, costs and keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.guards import StartGuard

Json = dict[str, Any]


def said(answer: Json) -> str:
    assert answer["result"]["isError"] is True
    (block,) = answer["result"]["content"]
    return str(block["text"])


def decision(answer: Json) -> Json:
    found: Json = answer["result"]["_meta"]["mcpguard/decision"]
    return found


def test_conditions_are_enforced_and_a_refusal_says_what_was_wrong(start: StartGuard, log: Path) -> None:
    policy = {
        "tools": {
            "echo": {
                "require": [{"conditions": [{"path": "args.branch", "op": "eq", "value": "main"}]}],
                "deny_if": [
                    {
                        "conditions": [{"path": "args.amount", "op": "gt", "value": 10000}],
                        "on_deny": "charges over 100.00 need a person",
                    }
                ],
                "arguments": {"properties": {"memo": {"maxLength": 5}}},
            }
        },
        "audit": {"arguments": "keys"},
    }
    with start(policy=policy) as peer:
        peer.initialize()
        assert "error" not in peer.call("echo", {"branch": "main", "amount": 10000})
        text = said(peer.call("echo", {"branch": "Main"}))
        assert 'args.branch is "Main"; the rule compares exactly with "main"' in text
        large = peer.call("echo", {"branch": "main", "amount": 10000.01})
        assert said(large) == "mcpguard: echo denied: charges over 100.00 need a person. Do not retry unchanged."
        assert decision(large) == {"code": "deny_if", "rule": "/tools/echo/deny_if/0"}
        assert decision(peer.call("echo", {"branch": "main", "memo": "too long"}))["rule"] == "/tools/echo/arguments"
        assert "could be taken for" in said(peer.call("echo", {"branch": "main", "Branch": "x"}))
        assert decision(peer.request("tools/call", {"name": "echo"}))["code"] == "require"
        peer.close_stdin()
        peer.wait()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    shapes = [record["arguments"] for record in records if record["kind"] == "decision" and record["tool"] == "echo"]
    assert shapes[0] == {"amount": None, "branch": None}


def test_costs_are_added_up_and_keys_are_counted_apart(start: StartGuard, log: Path) -> None:
    limits = [{"counter": "spend", "window": "day", "max": 1, "cost": "args.n", "per": "args.who", "align": "calendar"}]
    with start(policy={"tools": {"echo": {"limits": limits}}}) as peer:
        peer.initialize()
        for _ in range(10):
            assert "isError" not in peer.call("echo", {"n": 0.1, "who": "ann"})["result"]
        assert decision(peer.call("echo", {"n": 0.1, "who": " ANN"}))["code"] == "rate_limited"
        assert "isError" not in peer.call("echo", {"n": 1, "who": "bob"})["result"]
        assert decision(peer.call("echo", {"n": -1, "who": "bob"}))["code"] == "arguments"
        peer.close_stdin()
        peer.wait()
    text = log.read_text()
    assert '"amount"' not in text
    assert "bob" not in text.casefold()


def test_paths_are_followed_through_links_from_where_the_guard_was_started(start: StartGuard, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "out").symlink_to("/etc")
    rule = {"conditions": [{"path": "args.path", "op": "under", "value": "data"}]}
    with start(policy={"tools": {"echo": {"require": [rule]}}}) as peer:
        peer.initialize()
        for path in ("data/a", str(tmp_path / "data" / "a"), "data/../data/b"):
            assert "isError" not in peer.call("echo", {"path": path})["result"]
        for path in ("data/out/passwd", "/etc/passwd", "data/../x", "~/x"):
            assert decision(peer.call("echo", {"path": path}))["code"] == "require"
