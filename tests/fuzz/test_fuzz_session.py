"""Lets two sides talk to a session across each other, with most of what they say well-formed and some of it not, and keeps books."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from fuzz.fuzzing import chance, examples, smallest
from fuzz.ledger import LISTEN, PASSING, SUBJECTS, Breach, Ledger
from fuzz.lines import damaged, message, noise, space
from fuzz.shown import LISTED_IN
from mcpguard.protocol import catalogue, drift, repeats, session
from mcpguard.protocol.framing import Overlong
from mcpguard.protocol.session import CAPABILITIES_KEY, VERSION_KEY
from mcpguard.protocol.wire import CLIENT, UPSTREAM
from support.conversation import Policy

if TYPE_CHECKING:
    from random import Random

    Step: TypeAlias = tuple[Any, ...]

IDS = (1, "1", 2, "2", 0, "", 3, "3", -1, 2**60, "\u2028")
SERVER_IDS = (0, 1, "1", 2)
TOOLS = ("ok", "fine", "no", "gone", "dup")
UNSEEN_NAME = "o\u200bk"
UNSEEN_TEXTS = (
    "a\u200bb",
    "\x1b[31mred\x1b[0m",
    "\u202edrow",
    "\x85",
    "\U000e0041",
    "\x1b]0;x\x07y",
    "\ud83d",
    "a\tb\nc\u200d",
)
URIS = ("file:///ok", "no", "gone")
UNKNOWN = ("known", "unknown", "Tools/call", "tools/call ", "notifications/initialized")
CLIENT_METHODS = (
    *[*SUBJECTS, *LISTED_IN, *PASSING, LISTEN, "completion/complete"] * 2,
    *["tools/call"] * 14,
    *["tools/list", "server/discover", LISTEN] * 6,
    *UNKNOWN,
)
CAPABILITIES: tuple[dict[str, Any], ...] = ({}, {"roots": {}}, {"sampling": {}, "elicitation": {}, "tasks": {}})
RULES: tuple[Policy, ...] = (
    Policy(denied={"no"}, hidden={"gone"}, methods={"known"}, server_requests={"roots/list"}),
    Policy(denied={"no", "ok", "file:///ok"}, hidden={"gone", "fine"}),
    Policy(hidden={"gone"}, methods={"known", "unknown"}, drift=True),
)
CHANCES: dict[str, int] = {
    "ask": 30,
    "answer": 26,
    "cancel": 6,
    "tell": 5,
    "reply": 4,
    "broken": 6,
    "server asks": 5,
    "server cancels": 3,
    "server tells": 4,
    "server breaks": 5,
    "noise": 2,
    "resolve": 10,
    "tick": 4,
    "reload": 2,
    "end": 1,
    "overlong": 1,
}


def test_every_request_gets_its_one_answer_and_nothing_unjudged_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Small enough to be reached within a conversation.
    monkeypatch.setattr(session, "RESERVED_FOR", 6)
    monkeypatch.setattr(catalogue, "MAX_OPEN_LISTINGS", 3)
    monkeypatch.setattr(catalogue, "MAX_REFUSED", 3)
    monkeypatch.setattr(drift, "MAX_TOOLS", 5)
    monkeypatch.setattr(repeats, "MAX_LINES", 2)
    for module in (repeats, session):
        monkeypatch.setattr(module, "MIN_BYTES", 120)
    seen: Counter[str] = Counter()
    for random in examples(300):
        start = {
            "opened": random.random() < 0.9,
            "most": random.choice((1, 3, 65_536, 65_536)),
            "patient": random.random() < 0.5,
        }
        steps: list[Step] = []
        problem = hold(start, random, steps, seen)
        if problem:
            steps = smallest(steps, lambda some, start=start: bool(replay(start, some)))  # type: ignore[misc]
            told = "\n".join(f"  {step!r}," for step in steps)
            pytest.fail(f"{replay(start, steps) or problem}\n{start!r}\n[\n{told}\n]")
    for what in ("sent", "listed", "answered", "cancelled", "withdrawn", "duplicate", "unread", "spoken for"):
        assert seen[what] > 20, f"the fuzzer has gone blind: {what} {seen[what]}"


def hold(start: dict[str, Any], random: Random, steps: list[Step], seen: Counter[str]) -> str:
    """Hold a new conversation, whose steps are added to `steps`; say what was broken in it."""
    ledger = Ledger(RULES[0], **start)
    about_lists = random.random() < 0.3
    try:
        for _ in range(random.choice((10, 60, 60, 150))):
            choose = next_list_step if about_lists and random.random() < 0.8 else next_step
            steps.append(spaced(choose(ledger, random), random))
            take(ledger, steps[-1])
        ledger.finish()
    except Exception as error:  # noqa: BLE001 - a session never raises
        return f"{type(error).__name__}: {error}"
    finally:
        seen += ledger.seen
    return ""


def replay(start: dict[str, Any], steps: list[Step]) -> str:
    """Hold a conversation again."""
    ledger = Ledger(RULES[0], **start)
    try:
        take_all(ledger, steps)
        ledger.finish()
    except Exception as error:  # noqa: BLE001 - as above
        return f"{type(error).__name__}: {error}"
    return ""


def take_all(ledger: Ledger, steps: list[Step]) -> None:
    for step in steps:
        take(ledger, step)


def take(ledger: Ledger, step: Step) -> None:
    match step:
        case ("hear", side, bytes() as line):
            ledger.hear(side, line)
        case ("hear", side, head, tail):
            ledger.hear(side, Overlong(head, tail, 10**9))
        case ("resolve", index, how, *meanwhile):
            ledger.resolve(index, how, lambda: take_all(ledger, meanwhile))
        case ("tick", seconds, sign):
            ledger.tick(seconds, sign=sign)
        case ("reload", number):
            ledger.reload(RULES[number])
        case ("silent",):
            ledger.know_silent()
        case ("end",):
            ledger.end()
        case _:
            raise Breach(f"unknown step {step!r}")


# What is said next


def spaced(step: Step, random: Random) -> Step:
    """Put white space between the tokens of some lines, or before the first."""
    if step[0] != "hear" or len(step) > 3 or random.random() < 0.85:
        return step
    return "hear", step[1], random.choice((space(step[2], random), b" " + step[2], b"\r\t" + step[2]))


def next_list_step(ledger: Ledger, random: Random) -> Step:
    """Ask for lists, get them, and call what they show."""
    kind = random.random()
    method = random.choice(
        ("tools/list", "tools/list", "tools/list", "prompts/list", "resources/list", LISTEN, "tools/call")
    )
    if kind < 0.45:
        asked = request(random, method)
        return hear(CLIENT, asked | {"id": random.choice((1, 2, 3, 10, 11))} if random.random() < 0.8 else asked)
    return hear(UPSTREAM, answer(ledger, random)) if kind < 0.95 else ("reload", random.randrange(len(RULES)))


def next_step(ledger: Ledger, random: Random) -> Step:  # noqa: PLR0912 - a table with code in it
    (kind,) = random.choices(list(CHANCES), list(CHANCES.values()))
    match kind:
        case "ask":
            return hear(CLIENT, request(random))
        case "cancel":
            id_ = nearly(some_id(ledger.open, random, IDS), random)
            return hear(CLIENT, notice("notifications/cancelled", {"requestId": id_}))
        case "tell":
            method = random.choice(
                ("notifications/initialized", "notifications/progress", "known", "unknown", "tools/call", "ping")
            )
            return hear(CLIENT, notice(method, {"name": "ok"}))
        case "reply":
            return hear(CLIENT, reply(nearly(some_id(ledger.asked, random, SERVER_IDS), random), {"roots": []}, random))
        case "broken":
            return "hear", CLIENT, damaged(random, encoded(request(random)), message(random, CLIENT))
        case "answer":
            return hear(UPSTREAM, answer(ledger, random))
        case "server asks":
            return hear(UPSTREAM, server_request(random))
        case "server cancels":
            table = ledger.asked if random.random() < 0.7 else ledger.open
            return hear(
                UPSTREAM,
                notice("notifications/cancelled", {"requestId": nearly(some_id(table, random, SERVER_IDS), random)}),
            )
        case "server tells":
            return hear(UPSTREAM, server_notice(ledger, random))
        case "server breaks":
            return "hear", UPSTREAM, damaged(random, encoded(answer(ledger, random)), message(random, UPSTREAM))
        case "noise":
            return "hear", random.choice((CLIENT, UPSTREAM)), noise(random)
        case "resolve":
            return verdict(ledger, random)
        case "tick":
            return "tick", random.choice((0.1, 1.9, 2.1, 8.1)), random.random() < 0.3
        case "reload":
            return "reload", random.randrange(len(RULES))
        case "end":
            return random.choice((("silent",), ("end",)))
        case _:
            return overlong(ledger, random)


def verdict(ledger: Ledger, random: Random) -> Step:
    """Decide about something that was asked; or admit it, and take that back, after something else has happened perhaps."""
    index, how = random.randrange(5), random.choice(("rules", "rules", "admit", "refuse", "unwritten", "unwritten"))
    if how != "unwritten" or not ledger.waiting or random.random() < 0.5:
        return "resolve", index, how
    id_ = ledger.waiting[index % len(ledger.waiting)].ticket.id
    answered = hear(random.choice((CLIENT, UPSTREAM)), reply(id_, {"content": []}, random))
    meanwhile: tuple[tuple[Step, ...], ...] = (
        (hear(CLIENT, notice("notifications/cancelled", {"requestId": id_})),),
        (hear(UPSTREAM, notice("notifications/cancelled", {"requestId": id_})),),
        (answered,),
        (answered, hear(CLIENT, request(random) | {"id": id_})),
        (("end",),),
    )
    return "resolve", index, how, *random.choice(meanwhile)


def hear(side: str, said: dict[str, Any]) -> Step:
    return "hear", side, encoded(said)


def encoded(said: dict[str, Any]) -> bytes:
    return (
        json.dumps(said, ensure_ascii="\\ud" in ascii(said), separators=(",", ":")).encode("utf-8", "surrogatepass")
        + b"\n"
    )


def some_id(table: dict[Any, Any], random: Random, otherwise: tuple[Any, ...]) -> Any:
    """Choose an id that is in flight, mostly."""
    return random.choice(list(table))[1] if table and random.random() < 0.85 else random.choice(otherwise)


def nearly(id_: Any, random: Random) -> Any:
    """Give an id, or sometimes one that a careless reader takes for it."""
    if random.random() < 0.85:
        return id_
    others: list[Any] = [str(id_), [id_], None, True, 1.0]
    if isinstance(id_, str) and id_.isdigit():
        others += [int(id_), f"{id_} ", f"0{id_}"]
    elif isinstance(id_, int):
        others += [float(id_), id_ + 2**64, -id_]
    return random.choice(others)


def notice(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def reply(id_: Any, result: dict[str, Any], random: Random) -> dict[str, Any]:
    if random.random() < 0.15:
        return {"jsonrpc": "2.0", "id": id_, "error": {"code": -1, "message": "no"}}
    return {"jsonrpc": "2.0", "id": id_, "result": result}


def request(random: Random, method: str = "") -> dict[str, Any]:
    method = method or random.choice(CLIENT_METHODS)
    params: dict[str, Any] = {}
    match method:
        case "tools/call" | "prompts/get":
            params = {
                "name": random.choice((*TOOLS, UNSEEN_NAME)),
                "arguments": random.choice(({}, {"a": [1.10, {"b": None}]}, None)),
            }
        case "completion/complete":
            params = {
                "ref": random.choice(
                    ({"type": "ref/prompt", "name": "ok"}, {"type": "ref/resource", "uri": "no"}, {"type": "x"}, 1)
                )
            }
        case "initialize":
            params = {"capabilities": random.choice(CAPABILITIES), "clientInfo": {"name": "c", "version": "1"}}
        case "subscriptions/listen":
            wanted = {
                "toolsListChanged": random.random() < 0.7,
                "resourceSubscriptions": random.sample(URIS, random.randrange(4)),
            }
            params = {"notifications": random.choice((wanted, wanted, wanted, None, []))}
        case _ if method in SUBJECTS:
            params = {"uri": random.choice(URIS)}
        case _ if method in LISTED_IN and random.random() < 0.5:
            params = {"cursor": random.choice(("a", "b", "c", "", 1))}
    if random.random() < 0.3:
        params["_meta"] = {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: random.choice(CAPABILITIES)}
    if random.random() < 0.05:
        params["task"] = {}
    if random.random() < 0.05 and params:
        params.pop(random.choice(list(params)))
    return {"jsonrpc": "2.0", "id": random.choice(IDS), "method": method, "params": params}


def answer(ledger: Ledger, random: Random) -> dict[str, Any]:
    """Answer a request in flight; sometimes as another method, sometimes one that is not."""
    id_ = some_id({key: asked for key, asked in ledger.open.items() if asked.state == "sent"}, random, IDS)
    asked = ledger.open.get((type(id_), id_))
    method = asked.reading.method if asked is not None and random.random() < 0.85 else random.choice(CLIENT_METHODS)
    result: dict[str, Any] = {"_meta": {"x": 1}} if random.random() < 0.2 else {}
    if method in LISTED_IN:
        result |= page(method, random)
    elif method == "initialize":
        result |= {
            "capabilities": random.choice(({"tools": {}}, {"tools": {"listChanged": False}, "prompts": {}})),
            "serverInfo": {"name": "s", "title": random.choice(UNSEEN_TEXTS)},
            "instructions": random.choice(UNSEEN_TEXTS),
        }
    elif method == "tools/call":
        result["content"] = [{"type": "text", "text": random.choice(("x", "\u2028", "\ufeff"))}]
    if random.random() < 0.1:
        asks = {"method": random.choice(("roots/list", "sampling/createMessage", "tools/call"))}
        result |= {
            "resultType": "input_required",
            random.choice(("inputRequests", "inputRequests", "InputRequests")): {"a": asks},
        }
    if random.random() < 0.15:
        result |= page(random.choice(list(LISTED_IN)), random)
        result[random.choice(("TOOLS", "tool\u017f", "Resources", "x"))] = [{"name": "gone"}]
    return reply(nearly(id_, random), result, random)


def page(method: str, random: Random) -> dict[str, Any]:
    """Write one page of a list; often one that was written before, often with a tool that has changed."""
    if random.random() < 0.5:
        return page(method, chance(random.randrange(6)))
    member, name_key = LISTED_IN[method]
    items = [item(name_key, random) for _ in range(random.randrange(5))]
    result: dict[str, Any] = {member: items}
    if random.random() < 0.4:
        result["nextCursor"] = random.choice(("a", "b", "c", ""))
    if random.random() < 0.1:
        result |= {"ttlMs": random.choice((1, 10**9, "x")), "cacheScope": "public"}
    return result


def item(name_key: str, random: Random) -> Any:
    """Write an item; its name may be one that may not be shown, or one that nobody sees as it is, and its texts hold anything."""
    if random.random() < 0.02:
        return random.choice((1, "gone", None, {"title": "t"}))
    names = URIS if name_key == "uri" else TOOLS
    written: dict[str, Any] = {
        name_key: random.choice(names),
        "description": random.choice(("d", "d", "", *UNSEEN_TEXTS)),
    }
    if written[name_key] == "dup" or random.random() < 0.1:
        written["size"] = random.randrange(3)
    if random.random() < 0.1:
        written["inputSchema"] = {"properties": {"title": {"type": "string", "title": random.choice(UNSEEN_TEXTS)}}}
    if random.random() < 0.1:
        written |= {"title": random.choice(UNSEEN_TEXTS), "annotations": {"title": "t", "x": 1.10}}
    if random.random() < 0.02:
        written[random.choice(("NAME", "Uri", "other"))] = "gone"
    if random.random() < 0.02:
        written[name_key] = UNSEEN_NAME
    return written


def server_request(random: Random) -> dict[str, Any]:
    method = random.choice(
        (
            "roots/list",
            "roots/list",
            "sampling/createMessage",
            "elicitation/create",
            "ping",
            "ping",
            "tasks/get",
            "known",
            "tools/call",
        )
    )
    return {"jsonrpc": "2.0", "id": random.choice(SERVER_IDS), "method": method, "params": {}}


def server_notice(ledger: Ledger, random: Random) -> dict[str, Any]:
    match random.randrange(6):
        case 0:
            return notice("notifications/message", {"level": "info", "data": "\u2029"})
        case 1:
            return notice(
                "notifications/tools/list_changed",
                random.choice(({}, {"tools": [{"name": "gone"}], "_meta": {"a": 1}})),
            )
        case 2:
            return notice("notifications/resources/updated", {"uri": random.choice(URIS)})
        case 3:
            listening = {key: asked for key, asked in ledger.open.items() if asked.reading.method == LISTEN}
            about = some_id(listening or ledger.open, random, IDS)
            return notice(
                "notifications/subscriptions/acknowledged", {"_meta": {"io.modelcontextprotocol/subscriptionId": about}}
            )
        case 4:
            asks = {"a": {"method": random.choice(("roots/list", "sampling/createMessage"))}}
            return notice("notifications/tasks", {"taskId": "1", "inputRequests": asks})
        case _:
            return notice(random.choice(("known", "unknown", "tools/list", "notifications/initialized")), {})


def overlong(ledger: Ledger, random: Random) -> Step:
    """Send what is left of a line that was too long."""
    side = random.choice((CLIENT, CLIENT, UPSTREAM))
    id_ = json.dumps(some_id(ledger.open, random, IDS)).encode()
    head = random.choice(
        (
            b'{"jsonrpc":"2.0","id":' + id_ + b',"method":"tools/call","params":{"x":"',
            b'{"jsonrpc":"2.0","id":' + id_ + b',"result":{"x":"',
        )
    )
    if side == UPSTREAM and random.random() < 0.2:
        head = b'{"jsonrpc":"2.0","result":{"x":"'
    return "hear", side, head, b'xxxx"}}\n'
