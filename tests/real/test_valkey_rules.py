"""Checks rules about arguments before a real server whose tools take the command as an argument.

Each call that tries to go around a rule is sent to the guarded server, and what is stored is read past both.  Those that a
server without a guard obeys are first shown to do the harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import StdioPeer, guard_argv, write_policy
from support.resp import ask, everything_in
from support.sdk_client import sdk_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Message
    from support.resp import Reply
    from support.sdk_client import Mode
    from support.servers import ServerCommand, Service

POLICY = Path(__file__).resolve().parents[2] / "policies" / "valkey.json"
WRITES_TO_ONE_KEY = 10
DENY_LIST = {
    "tools": {
        "valkey_write": {
            "deny_if": [
                {
                    "conditions": [
                        {
                            "path": "args.command",
                            "op": "in",
                            "value": ["DEL", "UNLINK", "GETDEL", "LTRIM", "SPOP", "FLUSHALL"],
                        }
                    ]
                }
            ]
        }
    }
}
STORED = (
    ("SET", "office:gold", "all of it"),
    ("RPUSH", "office:list", "one", "two", "three"),
    ("SADD", "office:set", "red"),
    ("HSET", "office:hash", "name", "Ada"),
    ("SET", "agent:note", "mine"),
    ("SADD", "agent:set", "red"),
)


@dataclass(frozen=True, slots=True)
class Detour:
    """A call that should not pass, and by what it is stopped.  `harms`: the server alone obeys it."""

    claim: str
    tool: str
    arguments: dict[str, object]
    code: str
    harms: bool = False


def write(claim: str, command: object, args: object, code: str = "require", *, harms: bool = False) -> Detour:
    return Detour(claim, "valkey_write", {"command": command, "args": args}, code, harms)


MINE, GOLD = ["agent:note"], ["office:gold"]
DETOURS = (
    write("a command that is not on the list", "DEL", MINE, harms=True),
    write("a command that is not on the list, and another's key", "DEL", GOLD, harms=True),
    write("unlink", "UNLINK", MINE, harms=True),
    write("getdel", "GETDEL", MINE, harms=True),
    write("trimming a list", "LTRIM", ["office:list", "1", "0"], harms=True),
    write("popping from a set", "SPOP", ["agent:set"], harms=True),
    write("expiry at once", "EXPIRE", [*MINE, "0"], harms=True),
    write("renaming over another's key", "RENAME", [*MINE, "office:gold"], harms=True),
    write("copying over another's key", "COPY", [*MINE, "office:gold", "REPLACE"], harms=True),
    write("many keys, the first of them mine", "MSET", [*MINE, "x", "office:gold", "x"], harms=True),
    write("flushing", "FLUSHALL", []),
    write("a script", "EVAL", ["redis.call('FLUSHALL')", "0"]),
    write("lower case", "del", MINE, harms=True),
    write("mixed case", "dEl", MINE, harms=True),
    write("an allowed command in lower case", "set", [*MINE, "x"], harms=True),
    write("a letter whose upper case is another's", "unl\u0131nk", MINE, harms=True),
    write("a long s", "\u017fpop", ["agent:set"], harms=True),
    write("a ligature", "\ufb02ushall", []),
    write("fullwidth letters", "\uff33\uff25\uff34", [*MINE, "x"]),
    write("a space before", " SET", [*MINE, "x"]),
    write("a space after", "SET ", [*MINE, "x"]),
    write("a line after", "SET\n", [*MINE, "x"]),
    write("a null character after", "SET\0", [*MINE, "x"]),
    write("a zero-width space within", "S\u200bET", [*MINE, "x"]),
    write("key and value within the command", "SET office:gold x", []),
    write("two lines of the wire within the command", "SET\r\nDEL office:gold", MINE),
    write("a command in quotes", '"SET"', [*MINE, "x"]),
    write("a command as JSON", '["SET"]', [*MINE, "x"]),
    write("a list for the command", ["SET"], [*MINE, "x"]),
    write("an object for the command", {"command": "SET"}, [*MINE, "x"]),
    write("a number for the command", 5, [*MINE, "x"]),
    write("null for the command", None, [*MINE, "x"]),
    Detour("no command", "valkey_write", {"args": [*MINE, "x"]}, "require"),
    Detour("no arguments", "valkey_write", {}, "require"),
    write("another's key", "SET", [*GOLD, "x"], harms=True),
    write("a prefix in upper case", "SET", ["AGENT:note", "x"], harms=True),
    write("a space before the prefix", "SET", [" agent:note", "x"], harms=True),
    write("a line before the prefix", "SET", ["office:x\nagent:note", "x"], harms=True),
    write("a line after the key", "SET", ["agent:note\n", "x"], harms=True),
    write("the prefix within", "SET", ["office:agent:note", "x"], harms=True),
    write("the prefix alone", "SET", ["agent:", "x"], harms=True),
    write("a fullwidth prefix", "SET", ["\uff41gent:note", "x"], harms=True),
    write("a fullwidth colon", "SET", ["agent\uff1anote", "x"], harms=True),
    write("a key of 200 letters", "SET", ["agent:" + "k" * 200, "x"], harms=True),
    write("arguments as JSON", "SET", '["office:gold", "x"]', harms=True),
    write("good arguments as JSON", "SET", '["agent:note", "x"]', harms=True),
    write("arguments as one line", "SET", "agent:note x"),
    write("arguments as JSON within a list", "SET", ['["agent:note"]', "x"], harms=True),
    write("arguments within a list", "SET", [["agent:note"], "x"]),
    write("a number for a key", "SET", [5, "x"]),
    write("null for the key", "SET", [None, "agent:note", "x"]),
    write("no key", "SET", []),
    write("null for the arguments", "SET", None),
    write("an object with the index for its key", "SET", {"0": "agent:note", "1": "x"}, "arguments"),
    write("a number for a value", "SET", [*MINE, 5], "arguments"),
    write("null for a value", "SET", [*MINE, None], "arguments"),
    write("a value too long", "SET", [*MINE, "x" * 10_001], "arguments", harms=True),
    write("too many values", "SADD", ["agent:set", *map(str, range(100))], "arguments", harms=True),
    *(
        Detour(
            f"another key that servers take for `{name}`: `{alias}`",
            "valkey_write",
            {"command": "SET", "args": [*MINE, "x"], alias: value},
            "require",
            harms=True,
        )
        for name, alias, value in (
            ("command", "Command", "DEL"),
            ("command", "comm_and", "DEL"),
            ("command", "-COMMAND-", "DEL"),
            ("args", "Args", GOLD),
            ("args", "_args", GOLD),
            ("args", "ARGS", GOLD),
        )
    ),
    Detour("only such a key", "valkey_write", {"Command": "DEL", "Args": GOLD}, "require"),
    Detour(
        "a key in fullwidth letters",
        "valkey_write",
        {"command": "SET", "args": [*MINE, "x"], "\uff43ommand": "DEL"},
        "arguments",
        harms=True,
    ),
    Detour(
        "a key more", "valkey_write", {"command": "SET", "args": [*MINE, "x"], "force": True}, "arguments", harms=True
    ),
    Detour(
        "everything one level deeper",
        "valkey_write",
        {"arguments": {"command": "SET", "args": [*MINE, "x"]}},
        "require",
    ),
    Detour("administration", "valkey_admin", {"command": "FLUSHALL", "confirm": True}, "denied", harms=True),
    Detour(
        "administration in other words",
        "valkey_admin",
        {"command": "config set", "args": ["maxmemory", "1"], "confirm": "yes"},
        "denied",
    ),
    Detour("a tool in upper case", "VALKEY_WRITE", {"command": "SET", "args": [*GOLD, "x"]}, "default_deny"),
    Detour("a tool with a space", "valkey_write ", {"command": "SET", "args": [*GOLD, "x"]}, "default_deny"),
    Detour(
        "documents below another's prefix",
        "add_documents",
        {"index_name": "i", "documents": [{"id": "1", "a": "b"}], "prefix": "office:"},
        "require",
        harms=True,
    ),
    Detour(
        "documents below no prefix",
        "add_documents",
        {"index_name": "i", "documents": [{"id": "office:new", "a": "b"}], "prefix": ""},
        "require",
        harms=True,
    ),
    Detour(
        "documents below the index's name",
        "add_documents",
        {"index_name": "office", "documents": [{"id": "new", "a": "b"}]},
        "require",
        harms=True,
    ),
    Detour(
        "documents below null",
        "add_documents",
        {"index_name": "office", "documents": [{"id": "new", "a": "b"}], "prefix": None},
        "require",
        harms=True,
    ),
    Detour(
        "documents as JSON",
        "add_documents",
        {"index_name": "i", "documents": '[{"id": "1", "a": "b"}]', "prefix": "agent:"},
        "arguments",
        harms=True,
    ),
    Detour(
        "documents with embeddings",
        "add_documents",
        {
            "index_name": "i",
            "documents": [{"id": "1", "a": "b"}],
            "prefix": "agent:",
            "embedding_field": "e",
            "text_fields": ["a"],
        },
        "require",
    ),
    Detour("JSON at another's key", "json_set", {"key": "office:json", "value": 1}, "require"),
    Detour("dropping an index", "manage_index", {"action": "drop", "index_name": "i"}, "require"),
    Detour("dropping an index in upper case", "manage_index", {"action": "DROP", "index_name": "i"}, "require"),
    Detour("KEYS", "valkey_read", {"command": "KEYS", "args": ["*"]}, "deny_if"),
    Detour("KEYS in lower case", "valkey_read", {"command": "keys", "args": ["*"]}, "deny_if"),
    Detour("KEYS in JSON", "valkey_read", {"command": '["KEYS"]', "args": ["*"]}, "deny_if"),
    Detour("KEYS in a list", "valkey_read", {"command": ["KEYS"], "args": ["*"]}, "deny_if"),
)


@pytest.fixture(scope="module")
def guarded(valkey_server: ServerCommand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server, for calls that cost nothing."""
    yield from started(POLICY, valkey_server, tmp_path_factory.mktemp("guarded"))


@pytest.fixture(scope="module")
def deny_listed(valkey_server: ServerCommand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StdioPeer]:
    """Yield a peer of the server behind a policy that names the commands it refuses."""
    directory = tmp_path_factory.mktemp("deny-listed")
    yield from started(write_policy(directory, DENY_LIST), valkey_server, directory)


@pytest.fixture
def fresh(valkey_server: ServerCommand, tmp_path: Path) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server that has used up nothing."""
    yield from started(POLICY, valkey_server, tmp_path)


@pytest.fixture(scope="module")
def alone(valkey_server: ServerCommand) -> Iterator[StdioPeer]:
    """Yield a peer of the server without a guard."""
    with StdioPeer(valkey_server.argv, env=valkey_server.env) as peer:
        peer.initialize()
        yield peer


@pytest.fixture(autouse=True)
def stored(redis: Service) -> dict[str, tuple[Reply, Reply]]:
    """Store the same every time, and return it."""
    ask(redis.port, "FLUSHALL")
    for command in STORED:
        ask(redis.port, *command)
    return everything_in(redis.port)


@pytest.mark.parametrize("detour", [detour for detour in DETOURS if detour.harms], ids=attrgetter("claim"))
def test_the_server_alone_obeys(
    alone: StdioPeer, redis: Service, stored: dict[str, tuple[Reply, Reply]], detour: Detour
) -> None:
    alone.call(detour.tool, detour.arguments)
    assert everything_in(redis.port) != stored


@pytest.mark.parametrize("detour", DETOURS, ids=attrgetter("claim"))
def test_no_way_leads_around_a_rule(
    guarded: StdioPeer, redis: Service, stored: dict[str, tuple[Reply, Reply]], detour: Detour
) -> None:
    before = commands_heard_by(redis)
    answer = guarded.call(detour.tool, detour.arguments)
    assert commands_heard_by(redis) == before
    assert everything_in(redis.port) == stored
    assert code_of(answer) == detour.code


@pytest.mark.parametrize(
    "params",
    [
        pytest.param(
            b'{"name":"valkey_write","arguments":{"command":"SET","args":["agent:note","x"],"command":"DEL"}}',
            id="a command given twice",
        ),
        pytest.param(
            b'{"name":"valkey_write","arguments":{"command":"SET","args":["agent:note","x"],"comm\\u0061nd":"DEL"}}',
            id="a command given twice, once in escapes",
        ),
        pytest.param(
            b'{"name":"valkey_read","arguments":{"command":"DBSIZE"},"name":"valkey_admin"}',
            id="a tool given twice",
        ),
        pytest.param(b'{"name":"valkey_write","arguments":["SET",["agent:note","x"]]}', id="a list of arguments"),
        pytest.param(
            b'{"name":"valkey_write","arguments":"{\\"command\\":\\"SET\\",\\"args\\":[\\"agent:note\\",\\"x\\"]}"}',
            id="arguments as JSON",
        ),
    ],
)
def test_what_no_two_readers_read_alike_is_refused(
    guarded: StdioPeer, redis: Service, stored: dict[str, tuple[Reply, Reply]], params: bytes
) -> None:
    before = commands_heard_by(redis)
    guarded.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%s}\n' % params)
    assert guarded.request("ping")["result"] == {}
    refused = [message for message in guarded.drain() if "error" in message]
    assert [message["error"]["code"] for message in refused] in ([-32600], [-32602], [-32700])
    assert commands_heard_by(redis) == before
    assert everything_in(redis.port) == stored


@pytest.mark.parametrize(
    "command",
    [
        "DEL",
        "del",
        "UNLINK",
        "unl\u0131nk",
        "getdel",
        " DEL",
        "DEL\n",
        "\uff24\uff25\uff2c",
        '["DEL"]',
        '"DEL"',
        ["DEL"],
    ],
)
def test_a_list_of_refused_commands_refuses_every_spelling_of_them(
    deny_listed: StdioPeer, redis: Service, stored: dict[str, tuple[Reply, Reply]], command: object
) -> None:
    answer = deny_listed.call("valkey_write", {"command": command, "args": GOLD})
    assert everything_in(redis.port) == stored
    assert code_of(answer) == "deny_if"


@pytest.mark.parametrize(
    ("call", "said", "reading"),
    [
        pytest.param(("SET", "agent:note", "new"), "OK", (("GET", "agent:note"), "new"), id="set"),
        pytest.param(("SET", "agent:brief", "x", "EX", "60"), "OK", (("GET", "agent:brief"), "x"), id="set for a time"),
        pytest.param(("INCRBY", "agent:count", "7"), 7, (("GET", "agent:count"), "7"), id="count"),
        pytest.param(("HSET", "agent:h", "a", "b"), 1, (("HGET", "agent:h", "a"), "b"), id="hash"),
        pytest.param(
            ("RPUSH", "agent:l", "DEL", "del"), 2, (("LINDEX", "agent:l", "0"), "DEL"), id="refused words as data"
        ),
    ],
)
def test_a_good_call_reaches_the_database(
    guarded: StdioPeer, redis: Service, call: tuple[str, ...], said: object, reading: tuple[tuple[str, ...], str]
) -> None:
    assert result_of(run(guarded, "valkey_write", *call)) == said
    question, found = reading
    assert ask(redis.port, *question) == found
    assert result_of(run(guarded, "valkey_read", *question)) == found


def test_reading_is_free_also_of_what_others_own(guarded: StdioPeer) -> None:
    assert result_of(guarded.call("valkey_read", {"command": "get", "args": GOLD})) == "all of it"
    assert result_of(guarded.call("valkey_read", {"command": "LRANGE", "args": '["office:list","0","1"]'})) == [
        "one",
        "two",
    ]
    assert result_of(guarded.call("valkey_read", {"command": "DBSIZE"})) == len(STORED)


def test_documents_are_added_below_the_prefix(guarded: StdioPeer, redis: Service) -> None:
    arguments = {"index_name": "i", "documents": [{"id": "7", "title": "Ada"}], "prefix": "agent:doc:"}
    assert structured(guarded.call("add_documents", arguments))["added"] == 1
    assert ask(redis.port, "HGET", "agent:doc:7", "title") == "Ada"


def test_a_limit_for_each_key_stops_one_and_leaves_the_others(fresh: StdioPeer, redis: Service) -> None:
    for number in range(WRITES_TO_ONE_KEY):
        assert result_of(add_one(fresh, "agent:hot")) == number + 1
    for key in ("agent:hot", "agent:HOT"):
        decision = decision_of(add_one(fresh, key))
        assert decision["code"] == "rate_limited"
        assert 0 < decision["retry_after_ms"] <= 60_000
    assert result_of(add_one(fresh, "agent:cold")) == 1
    assert ask(redis.port, "GET", "agent:hot") == str(WRITES_TO_ONE_KEY)
    assert ask(redis.port, "EXISTS", "agent:HOT") == 0


def test_refused_calls_use_up_nothing(fresh: StdioPeer) -> None:
    for _ in range(WRITES_TO_ONE_KEY + 1):
        assert code_of(fresh.call("valkey_write", {"command": "DEL", "args": ["agent:count"]})) == "require"
    assert result_of(add_one(fresh, "agent:count")) == 1


def test_the_agent_hears_what_would_pass(guarded: StdioPeer) -> None:
    answer = guarded.call("valkey_write", {"command": "set", "args": [*MINE, "x"]})
    (block,) = answer["result"]["content"]
    assert 'args.command is "set"; the rule compares exactly with' in block["text"]
    assert "only commands that add or set may be used, in upper case" in block["text"]


def test_only_what_could_be_called_is_listed(guarded: StdioPeer) -> None:
    tools = {tool["name"] for tool in guarded.request("tools/list")["result"]["tools"]}
    assert tools == {
        "add_documents",
        "aggregate",
        "json_arrappend",
        "json_get",
        "json_set",
        "manage_index",
        "search",
        "valkey_read",
        "valkey_write",
    }


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_sdk_client_is_held_to_the_same(
    valkey_server: ServerCommand, redis: Service, tmp_path: Path, mode: Mode
) -> None:
    argv = guard_argv(POLICY, *valkey_server.argv, options=["--no-log"])
    async with sdk_client(argv, mode=mode, stderr=tmp_path / "stderr.txt", env=valkey_server.env) as client:
        good = await client.call_tool("valkey_write", {"command": "SET", "args": ["agent:sdk", "there"]})
        assert not good.is_error
        assert (await client.call_tool("valkey_write", {"command": "del", "args": ["agent:sdk"]})).is_error
        assert (await client.call_tool("valkey_write", {"command": "SET", "args": [*GOLD, "x"]})).is_error
    assert ask(redis.port, "GET", "agent:sdk") == "there"
    assert ask(redis.port, "GET", "office:gold") == "all of it"


def started(policy: Path, server: ServerCommand, directory: Path) -> Iterator[StdioPeer]:
    """Run the guarded server, its handshake done."""
    argv = guard_argv(policy, *server.argv, options=["--log", str(directory / "log.jsonl")])
    with StdioPeer(argv, env=server.env) as peer:
        peer.initialize()
        yield peer


def run(peer: StdioPeer, tool: str, command: str, *args: str) -> Message:
    """Run one command through a tool."""
    return peer.call(tool, {"command": command, "args": args})


def add_one(peer: StdioPeer, key: str) -> Message:
    """Count one up at a key."""
    return run(peer, "valkey_write", "INCR", key)


def commands_heard_by(redis: Service) -> set[str]:
    """Return Redis's own counts of the commands that it ran, but for those that these tests send themselves."""
    lines = str(ask(redis.port, "INFO", "commandstats")).splitlines()
    own = ("cmdstat_info:", "cmdstat_dump:", "cmdstat_keys:", "cmdstat_pexpiretime:")
    return {line for line in lines if line.startswith("cmdstat_") and not line.startswith(own)}


def structured(answer: Message) -> Message:
    """Return what a tool of this server answered."""
    assert "result" in answer, answer
    content = answer["result"].get("structuredContent")
    assert isinstance(content, dict), answer
    return content


def result_of(answer: Message) -> object:
    """Return what the database answered to a command."""
    content = structured(answer)
    assert content["status"] == "success", content
    return content["result"]


def decision_of(answer: Message) -> Message:
    """Return the guard's decision, if it is the guard that answered."""
    decision = answer.get("result", {}).get("_meta", {}).get("mcpguard/decision")
    assert isinstance(decision, dict), answer
    assert answer["result"]["isError"] is True
    assert "structuredContent" not in answer["result"]
    return decision


def code_of(answer: Message) -> object:
    return decision_of(answer)["code"]
