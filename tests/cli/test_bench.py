"""What `bench` measures, says and refuses; and that it leaves nothing behind.  Nothing here depends on how long anything takes."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from mcpguard.proxy.linux import adopt_orphans
from support.fake_server import fake_server
from support.guard import write_policy
from support.processes import descendants, kill_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "bench.md"
DEADLINE_S = 120.0
ONCE = """\
import sys
from mcpguard.cli import trial
trial.FEWEST_STARTS = trial.MOST_STARTS = 1
from mcpguard.__main__ import main
sys.exit(main())
"""
"""The command as it is, but that it starts each way once more instead of six times, so that a test has time for more."""

SERVER = '''\
"""Knows the 2026-07-28 revision alone; words say what it ends at, and whether it asks before it answers."""
import json, sys

def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

for line in sys.stdin:
    message = json.loads(line)
    method, id_ = message["method"], message.get("id")
    if method in sys.argv:
        sys.exit(f"no {method}, please")
    if "io.modelcontextprotocol/protocolVersion" not in message.get("params", {}).get("_meta", {}):
        say(id=id_, error={"code": -32602, "message": "which revision?\\x1b[31m"})
        continue
    if "curious" in sys.argv:
        say(id=id_, method="ping")
        assert json.loads(sys.stdin.readline()) == {"jsonrpc": "2.0", "id": id_, "result": {}}
        say(id="r", method="roots/list")
        assert json.loads(sys.stdin.readline())["error"]["code"] == -32601
    info = {"io.modelcontextprotocol/serverInfo": {"name": "new", "version": "2"}}
    results = {
        "server/discover": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "_meta": info, "resultType": "complete"},
        "tools/list": {"tools": [{"name": "one", "inputSchema": {"type": "object"}}], "resultType": "complete"},
    }
    say(id=id_, result=results[method])
'''


def modern_server(*words: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", SERVER, *words]


@dataclass(frozen=True)
class Told:
    """How a run ended, and all it said."""

    status: int
    stdout: str
    stderr: str

    @property
    def flat(self) -> str:
        """The text with every run of white space as one space, so that line breaks do not matter."""
        return " ".join(self.stdout.split())

    @property
    def json(self) -> dict[str, Any]:
        """What a program reads."""
        assert (self.status, self.stderr) == (0, "")
        value = json.loads(self.stdout)
        assert isinstance(value, dict)
        return value


class Bench(Protocol):
    """Runs `bench` to its end; the words after `--` are the server's command."""

    def __call__(self, *words: str | Path, server: list[str]) -> Told: ...


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a directory for temporary files, and see that neither file nor process is left over when the test is done."""
    adopt_orphans()
    before = descendants(os.getpid())
    place = tmp_path / "workplace"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    yield place
    left = descendants(os.getpid()) - before
    for pid in left:
        kill_tree(pid)
    assert left == set()
    assert list(place.iterdir()) == []


@pytest.fixture
def bench(workplace: Path) -> Bench:
    def run(*words: str | Path, server: list[str]) -> Told:
        result = subprocess.run(
            [sys.executable, "-c", ONCE, "bench", *map(str, words), "--", *server],
            cwd=workplace.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return Told(result.returncode, result.stdout, result.stderr)

    return run


# What is said


def test_a_program_is_told_everything(bench: Bench) -> None:
    told = bench("--json", "--calls", "25", server=fake_server()).json
    assert told["server"] == {"name": "fake", "version": "1", "era": "handshake", "tools": 2}
    assert (told["policy"], told["request"]) == (None, {"method": "ping", "tool": None})
    assert told["memory"]["kind"] in ("pss", "rss")
    assert told["memory"]["bytes"] > 1 << 20
    for name, rounds, samples in (
        ("start", 1, 1),
        ("first_list", 1, 1),
        ("request_p50", 20, 25),
        ("list_p50", 20, 25),
    ):
        figure = told[name]
        assert (figure["rounds"], figure["samples"]) == (rounds, samples)
        assert figure["direct_ms"] > 0
        assert figure["guarded_ms"] > 0
        assert figure["low_ms"] <= figure["added_ms"] <= figure["high_ms"]
    assert told["request_p99"] is told["list_p99"] is None
    assert told["sentence"].endswith(".")
    assert any("allows everything" in note for note in told["notes"])
    assert any("There is no p99" in note for note in told["notes"])


def test_many_calls_have_a_p99(bench: Bench) -> None:
    told = bench("--json", "--calls", "1001", server=fake_server()).json
    assert (told["request_p99"]["rounds"], told["request_p99"]["samples"]) == (10, 1001)
    assert told["request_p99"]["direct_ms"] >= told["request_p50"]["direct_ms"]


def test_a_misspelt_tool_is_not_measured(bench: Bench) -> None:
    told = bench("--tool", "echoo", server=fake_server())
    assert (told.status, told.stdout) == (1, "")
    assert "mcpguard: the server lists no tool `echoo`; did you mean `echo`?" in told.stderr


def test_people_get_a_table_and_a_sentence(bench: Bench) -> None:
    told = bench("--calls", "6", server=fake_server())
    assert (told.status, told.stderr) == (0, "")
    assert "\x1b" not in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80
    labels = ["start", "start to first list", "ping, p50", "list of 2 tools, p50", "memory"]
    assert [label for label in labels if re.search(rf"^{label} ", told.stdout, re.MULTILINE)] == labels
    assert "each way 1 starts, 6 ping, 6 tools/list" in told.flat
    assert "a request (`ping`) that takes your server" in told.flat


def test_a_tool_that_is_named_is_called(bench: Bench, tmp_path: Path) -> None:
    record = tmp_path / "record"
    told = bench(
        "--json",
        "--calls",
        "3",
        "--tool",
        "echo",
        "--arguments",
        '{"text": "hé"}',
        server=fake_server(f"record={record}"),
    ).json
    assert told["request"] == {"method": "tools/call", "tool": "echo"}
    assert told["request_p50"]["samples"] == 3
    calls = [
        message for line in record.read_bytes().splitlines() if (message := json.loads(line))["method"] == "tools/call"
    ]
    assert [message["params"] for message in calls] == [{"name": "echo", "arguments": {"text": "hé"}}] * 12


def test_no_tool_is_called_that_is_not_named(bench: Bench, tmp_path: Path) -> None:
    record = tmp_path / "record"
    assert bench("--calls", "2", server=fake_server(f"record={record}")).status == 0
    methods = {json.loads(line)["method"] for line in record.read_bytes().splitlines()}
    assert methods == {"initialize", "notifications/initialized", "ping", "tools/list"}


def test_a_tool_that_fails_is_measured_and_that_is_said(bench: Bench) -> None:
    for tool in ("fail", "error"):
        told = bench("--json", "--calls", "1", "--tool", tool, server=fake_server()).json
        assert any("answers this call with an error" in note for note in told["notes"])


def test_arguments_that_no_pipe_holds_are_sent(bench: Bench) -> None:
    arguments = json.dumps({"text": "x" * 100_000})
    assert bench("--json", "--calls", "1", "--tool", "echo", "--arguments", arguments, server=fake_server()).json


# Servers


def test_a_server_of_the_modern_revision_alone_is_asked_in_its_own_way(bench: Bench) -> None:
    for words in ([], ["initialize"]):
        told = bench("--json", "--calls", "2", server=modern_server(*words)).json
        assert told["server"] == {"name": "new", "version": "2", "era": "2026-07-28", "tools": 1}
        assert told["request"] == {"method": "tools/list", "tool": None}
        assert told["list_p50"] == told["request_p50"]


def test_the_demo_server_is_measured_by_handshake(bench: Bench) -> None:
    told = bench("--json", "--calls", "2", server=[sys.executable, "-m", "mcpguard", "demo-server"]).json
    assert (told["server"]["era"], told["server"]["tools"]) == ("handshake", 6)


def test_a_server_that_asks_before_it_answers_is_answered(bench: Bench) -> None:
    assert bench("--json", "--calls", "1", server=modern_server("curious")).json


def test_noise_on_stdout_is_passed_over(bench: Bench) -> None:
    noise = base64.b64encode(
        b'starting...\n{"level": "info"}\n[1]\n\xff\n{"jsonrpc":"2.0","id":true,"result":{}}\n'
    ).decode()
    assert bench("--json", "--calls", "2", server=fake_server(f"unasked={noise}")).json
    arguments = json.dumps({"bytes": noise})
    assert bench("--json", "--calls", "2", "--tool", "noise", "--arguments", arguments, server=fake_server()).json


HEIR = """\
import os, sys
for line in sys.stdin:
    if b'"initialize"' in line.encode():
        if os.fork():
            print("noise", flush=True)
            os._exit(5)
        while True:
            print("more noise", flush=True)
"""


def test_an_heir_that_goes_on_writing_does_not_hide_that_the_server_has_ended(bench: Bench) -> None:
    told = bench("--timeout", "5", server=[sys.executable, "-I", "-S", "-c", HEIR])
    assert told.status == 1
    assert re.search(r"^mcpguard: the server (ended with status 5|took longer than 5 s)", told.stderr)


def test_a_server_that_floods_stderr_is_measured(bench: Bench) -> None:
    arguments = json.dumps({"bytes": 1 << 20})
    assert bench("--json", "--calls", "2", "--tool", "stderr", "--arguments", arguments, server=fake_server()).json


def test_nothing_is_left_of_a_server_that_does_not_go(bench: Bench, tmp_path: Path) -> None:
    server = fake_server("ignore-eof", "ignore-term", f"orphan={tmp_path / 'orphan'}")
    assert bench("--json", "--calls", "1", "--tool", "spawn", server=server).json


FAILURES = {
    "ends at once": (["exit=3"], [], "mcpguard: the server ended with status 3 before it had answered\n"),
    "ends at a call": (
        [],
        ["--tool", "exit", "--arguments", '{"status": 7}'],
        "mcpguard: the server ended with status 7 before it had answered\n",
    ),
    "is killed by a call, and an heir holds its output": (
        [],
        ["--tool", "leave_and_die", "--arguments", '{"path": "/dev/null", "signal": 9}'],
        "mcpguard: the server was ended by signal 9 before it had answered\n",
    ),
    "closes its output": (
        [],
        ["--tool", "close_stdout"],
        "mcpguard: the server closed its input or output before it had answered\n",
    ),
    "never opens a session": (
        ["silent=initialize"],
        ["--timeout", "0.5"],
        "mcpguard: the server took longer than 0.5 s for answering `initialize`\n",
    ),
    "never answers a call": (
        [],
        ["--tool", "mute", "--timeout", "3"],
        "mcpguard: the server behind the guard took longer than 3 s for answering `tools/call`\n",
    ),
}


@pytest.mark.parametrize(("words", "options", "said"), FAILURES.values(), ids=FAILURES.keys())
def test_a_server_that_does_not_do_its_part_is_named_with_what_it_did(
    bench: Bench, words: list[str], options: list[str], said: str
) -> None:
    told = bench(*options, server=fake_server(*words))
    assert (told.status, told.stdout) == (1, "")
    assert told.stderr.startswith(said)


def test_the_last_words_of_a_server_are_told(bench: Bench) -> None:
    told = bench(server=modern_server("initialize", "server/discover"))
    assert told.status == 1
    assert told.stderr == (
        "mcpguard: the server ended with status 1 before it had answered\n"
        "mcpguard: its last words: no initialize, please\n"
    )


def test_a_server_that_opens_no_session_is_quoted(bench: Bench) -> None:
    script = SERVER.replace('"io.modelcontextprotocol/protocolVersion" not in', '"nothing" not in')
    told = bench(server=[sys.executable, "-I", "-S", "-c", script])
    assert told.status == 1
    assert told.stderr == (
        "mcpguard: the server opens a session neither by `initialize` nor by `server/discover`\n"
        "mcpguard: its answer to `initialize`: which revision?\\x1b[31m\n"
    )


# What cannot be measured


STATUSES = {
    "no such command": ([], ["/nowhere/server"], 127, "cannot find the server's command"),
    "a directory": ([], ["/"], 126, "cannot execute the server's command"),
    "no command": ([], [], 2, "Missing argument"),
    "arguments of no tool": (["--arguments", "{}"], ["cat"], 2, "--arguments are those of a --tool"),
    "arguments that are no JSON": (["--tool", "x", "--arguments", "{"], ["cat"], 2, "this is no JSON"),
    "arguments that are no object": (["--tool", "x", "--arguments", "[]"], ["cat"], 2, "a JSON object"),
    "no calls": (["--calls", "0"], ["cat"], 2, "--calls"),
    "no time": (["--timeout", "0"], ["cat"], 2, "--timeout"),
    "no such policy": (["--policy", "nowhere.json"], ["cat"], 3, "nowhere.json"),
}


@pytest.mark.parametrize(("options", "server", "status", "said"), STATUSES.values(), ids=STATUSES.keys())
def test_what_cannot_be_measured_has_the_status_that_other_commands_give_it(
    bench: Bench, options: list[str], server: list[str], status: int, said: str
) -> None:
    told = bench(*options, server=server)
    assert (told.status, told.stdout) == (status, "")
    assert said in told.stderr


POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "not named": ({}, "the policy refuses the call that is to be measured"),
    "denied": ({"tools": {"echo": {"action": "deny", "reason": "not today"}}}, "not today"),
    "hidden": ({"default": "allow", "hide": ["echo"]}, "the policy refuses the call"),
    "refused by its arguments": (
        {"tools": {"echo": {"require": [{"conditions": [{"path": "args.n", "op": "lt", "value": 1}]}]}}},
        "args.n is 1.5",
    ),
}


@pytest.mark.parametrize(("policy", "said"), POLICIES.values(), ids=POLICIES.keys())
def test_a_call_that_the_policy_refuses_is_not_made(
    bench: Bench, tmp_path: Path, policy: dict[str, Any], said: str
) -> None:
    record = tmp_path / "record"
    path = write_policy(tmp_path, policy)
    told = bench(
        "--policy", path, "--tool", "echo", "--arguments", '{"n": 1.5}', server=fake_server(f"record={record}")
    )
    assert (told.status, told.stdout) == (1, "")
    assert said in told.stderr
    assert not record.exists()


def test_a_limit_that_is_reached_is_said(bench: Bench, tmp_path: Path) -> None:
    path = write_policy(tmp_path, {"tools": {"echo": {"rate_limit": "6/hour"}}})
    within = bench("--json", "--policy", path, "--tool", "echo", "--calls", "3", server=fake_server()).json
    assert (within["policy"], within["server"]["tools"]) == (str(path), 2)
    beyond = bench("--policy", path, "--tool", "echo", "--calls", "4", server=fake_server())
    assert beyond.status == 1
    assert "allows 6 per hour" in beyond.stderr
    assert "make fewer calls with --calls" in beyond.stderr


def test_a_server_without_tools_is_measured_by_its_answer_to_a_ping(bench: Bench) -> None:
    script = (
        SERVER.replace('"io.modelcontextprotocol/protocolVersion" not in', '"nothing" in')
        .replace(
            "results = {",
            'results = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": 5}, "ping": {},',
        )
        .replace("    say(id=id_, result=results[method])", "    id_ is None or say(id=id_, result=results[method])")
    )
    told = bench("--json", "--calls", "2", server=[sys.executable, "-I", "-S", "-c", script]).json
    assert told["server"] == {"name": None, "version": None, "era": "handshake", "tools": None}
    assert (told["first_list"], told["list_p50"]) == (None, None)


# Being interrupted, and being watched


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_nothing_behind(workplace: Path, tmp_path: Path, number: signal.Signals) -> None:
    # The guard's server does not answer this call, and goes neither by itself nor by TERM.
    record = tmp_path / "record"
    server = fake_server("ignore-eof", "ignore-term", f"record={record}")
    process = subprocess.Popen(
        [sys.executable, "-m", "mcpguard", "bench", "--tool", "mute", "--", *server],
        cwd=workplace.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_start(process, record)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.wait(DEADLINE_S)
    assert process.returncode == 128 + number
    assert "Traceback" not in stderr


EARLY = """\
import signal, sys
from mcpguard.proxy import stopwatch
from mcpguard.__main__ import main

def start_and_be_interrupted(command, real=stopwatch.start, number=int(sys.argv.pop(1))):
    upstream = real(command)
    upstream.confirm_start()
    signal.raise_signal(number)
    return upstream

stopwatch.start = start_and_be_interrupted
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_while_a_server_is_being_started_leaves_nothing_behind(
    workplace: Path, number: signal.Signals
) -> None:
    process = subprocess.run(
        [sys.executable, "-c", EARLY, str(int(number)), "bench", "--", *fake_server("ignore-eof", "ignore-term")],
        cwd=workplace.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert process.returncode == 128 + number
    assert "Traceback" not in process.stderr


def wait_for_start(process: subprocess.Popen[str], record: Path) -> None:
    """Wait until a server has heard something."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if record.exists() and record.read_bytes():
            return
        try:
            pytest.fail(f"it ended with status {process.wait(0.01)} before anything could interrupt it")
        except subprocess.TimeoutExpired:
            continue
    pytest.fail("it did not start its server")


def test_a_terminal_is_told_what_is_being_done_on_one_line_that_is_gone_at_the_end(workplace: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ONCE, "bench", "--calls", "1", "--", *fake_server()],
        cwd=workplace.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        said = read_to_the_end(ours)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        os.close(ours)
    assert "\n" not in said
    shown = [text.rstrip() for text in said.split("\r")]
    assert "mcpguard bench: first start, direct" in shown
    assert "mcpguard bench: ping, round 1 of 1, behind the guard" in shown
    assert shown[-2:] == ["", ""]


def read_to_the_end(terminal: int) -> str:
    end = time.monotonic() + DEADLINE_S
    read = b""
    while select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
        try:
            read += os.read(terminal, 1 << 16)
        except OSError:  # EIO: the last process has closed its end
            return read.decode()
    pytest.fail(f"it did not end; so far it said {read.decode()!r}")


# The page


def test_every_key_and_every_option_is_documented(bench: Bench) -> None:
    page = PAGE.read_text()
    told = bench("--json", "--calls", "1", server=fake_server()).json
    keys = set(re.findall(r"^\| `([a-z0-9_]+)` \|", page, re.MULTILINE))
    assert keys == set(told) | set(told["start"])
    from mcpguard.cli.bench import bench as command

    options = {name for option in command.params for name in option.opts if name.startswith("--")}
    assert {name for name in options if f"`{name}" not in page} == set()
