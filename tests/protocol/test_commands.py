"""Commands are values: each holds what it was made with, and takes nothing else."""

from __future__ import annotations

import pytest

from mcpguard.policy.decision import Verdict
from mcpguard.protocol.commands import (
    Abandon,
    Answered,
    Consult,
    Forward,
    Hold,
    InFlight,
    Note,
    Remember,
    Replied,
    Retry,
    Settled,
    Waiting,
)
from mcpguard.protocol.wire import CLIENT

TICKET = InFlight(CLIENT, 1, "tools/call", b"{}\n", 1)
SENT = Forward(CLIENT, b"{}\n")
VERDICT = Verdict(admitted=True)


@pytest.mark.parametrize(
    ("command", "members"),
    [
        (SENT, {"to": CLIENT, "line": b"{}\n"}),
        (
            Consult(TICKET, "tool", "t", {"a": 1}, ("drift", "it changed")),
            {
                "ticket": TICKET,
                "kind": "tool",
                "method": "tools/call",
                "subject": "t",
                "arguments": {"a": 1},
                "fault": ("drift", "it changed"),
                "progress_token": None,
                "retry": None,
            },
        ),
        (Retry("s", {"one": {}}), {"state": "s", "responses": {"one": {}}}),
        (Abandon(TICKET), {"ticket": TICKET}),
        (Replied(TICKET, None), {"ticket": TICKET, "result": None}),
        (Waiting([SENT]), {"commands": [SENT]}),
        (Settled(TICKET, VERDICT), {"ticket": TICKET, "verdict": VERDICT}),
        (Answered(TICKET, "ok", 7), {"ticket": TICKET, "status": "ok", "result_bytes": 7}),
        (Note("drift", None, "x", "m", 1), {"kind": "drift", "side": None, "detail": "x", "method": "m", "id": 1}),
        (Hold(), {}),
        (Remember(silent=True), {"silent": True}),
    ],
    ids=lambda it: type(it).__name__ if not isinstance(it, dict) else "",
)
def test_a_command_holds_what_it_was_made_with_and_takes_nothing_else(
    command: object, members: dict[str, object]
) -> None:
    names = [name for name in dir(command) if not name.startswith("_")]
    assert {name: getattr(command, name) for name in names} == members
    with pytest.raises(AttributeError):
        command.more = 1  # type: ignore[attr-defined]


def test_a_request_on_its_way_has_what_few_have_only_once_it_has_it() -> None:
    made = InFlight(CLIENT, 1, "tools/call", b"{}\n", 1)
    for name in ("approval", "arguments", "charged", "rounds"):
        assert not hasattr(made, name)
