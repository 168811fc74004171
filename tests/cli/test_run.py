"""How `mcpguard run` starts, what it writes down, and what it remembers."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import StdioPeer, allow_everything, guard_argv, write_policy
from support.fake_server import fake_server
from support.processes import descendants, wait_until_gone

if TYPE_CHECKING:
    from support.guards import StartGuard


def records(log: Path, kind: str | None = None) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.read_bytes().splitlines()]
    return [record for record in found if kind is None or record["kind"] == kind]


def text_of(answer: dict[str, Any]) -> str:
    text = answer["result"]["content"][0]["text"]
    assert isinstance(text, str)
    return text


# The way to the first answer


def test_nothing_slow_and_nothing_that_is_rarely_needed_is_loaded_before_the_first_answer() -> None:
    late = ["dataclasses", "inspect", "json", "re", "typing", "pydantic", "click", "mcpguard.proxy.enforce"]
    late += [f"mcpguard.protocol.{name}" for name in ("inquiry", "rules", "salvage", "seals")]
    # Without `site`, in which other packages may load what they like.
    program = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "import mcpguard.cli.run, mcpguard.proxy.guard, mcpguard.proxy.signals\n"
        f"print(*({set(late)!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


# A policy that cannot be used

BAD_POLICIES = {
    "invalid JSON": ('{\n  "version": "1",\n  oops\n}', r":3:3: "),
    "a wrong key": ('{\n  "version": "1",\n  "tool": {}\n}', r":3:3: "),
    "a wrong value": ('{"version": "1", "default": "alow"}', r":1:29: "),
    "empty": ("", r":1:1: "),
    "missing": (None, r": there is no such file"),
}


@pytest.mark.parametrize(("content", "place"), BAD_POLICIES.values(), ids=BAD_POLICIES.keys())
def test_a_bad_policy_ends_the_run_with_one_line_and_no_call_reaches_the_server(
    home: Path, tmp_path: Path, content: str | None, place: str
) -> None:
    policy, record = tmp_path / "bad.json", tmp_path / "record"
    if content is not None:
        policy.write_text(content)
    argv = guard_argv(policy, *fake_server(f"record={record}", "silent=initialize"))
    with StdioPeer(argv, cwd=home) as peer:
        peer.send({"id": 1, "method": "initialize", "params": {}})
        peer.send({"id": 2, "method": "tools/call", "params": {"name": "echo", "arguments": {}}})
        peer.send({"id": 3, "method": "ping"})
        tree = descendants(peer.pid)
        assert peer.wait() == 3
        answers = {answer["id"]: answer["error"]["message"] for answer in peer.drain() if "error" in answer}
        said = peer.stderr_text()
    assert set(answers) >= {1, 2}
    assert all(text.startswith("mcpguard: the policy cannot be used: ") for text in answers.values())
    assert len(said.splitlines()) == 1
    assert re.match(rf"mcpguard: {re.escape(str(policy))}{place}", said), said
    assert wait_until_gone(tree, 20) == set()
    assert not record.exists() or b"tools/call" not in record.read_bytes()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_policy_ends_the_run(home: Path, tmp_path: Path) -> None:
    path = write_policy(tmp_path, {})
    path.chmod(0)
    with StdioPeer(guard_argv(path, *fake_server()), cwd=home) as peer:
        assert peer.wait() == 3
        assert "the file cannot be read: permission denied" in peer.stderr_text()


def test_a_directory_is_no_policy(tmp_path: Path, home: Path) -> None:
    directory = tmp_path / "policies.json"
    directory.mkdir()
    with StdioPeer(guard_argv(directory, *fake_server()), cwd=home) as peer:
        assert peer.wait() == 3
        assert "this is a directory" in peer.stderr_text()


# The order of things


@pytest.fixture
def slow_policy(tmp_path: Path) -> Path:
    """Return a policy that is there only once somebody writes it."""
    path = tmp_path / "policy.json"
    os.mkfifo(path)
    return path


def test_nothing_governed_is_forwarded_before_the_policy_is_there(home: Path, slow_policy: Path) -> None:
    record = home / "record"
    with StdioPeer(guard_argv(slow_policy, *fake_server(f"record={record}")), cwd=home) as peer:
        assert peer.initialize()["result"]["serverInfo"]["name"] == "fake"
        assert peer.request("ping")["result"] == {}
        first = peer.post("tools/call", {"name": "echo", "arguments": {}})
        second = peer.post("tools/call", {"name": "danger", "arguments": {}})
        third = peer.post("ping")
        assert b"tools/call" not in record.read_bytes()
        slow_policy.write_text('{"version": "1", "tools": {"echo": {}}}')
        assert text_of(peer.receive(id=first)) == "{}"
        assert peer.receive(id=second)["result"]["isError"] is True
        assert peer.receive(id=third)["result"] == {}
    assert record.read_bytes().count(b"tools/call") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_the_wait_for_a_policy(home: Path, slow_policy: Path, number: signal.Signals) -> None:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    both = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "echo", "arguments": {}}},
    ]
    with StdioPeer(guard_argv(slow_policy, *fake_server()), cwd=home) as peer:
        # In one write: the answer to the first shows that the second was read, too.
        peer.send("".join(json.dumps(message) + "\n" for message in both).encode())
        peer.receive(id=1)
        tree = descendants(peer.pid)
        peer.signal(number)
        assert peer.wait() == 128 + number
        assert f"stopped by signal {int(number)}" in peer.receive(id=2)["error"]["message"]
        assert wait_until_gone(tree, 20) == set()


BLOCKER = """
import os, sys

class Wait:
    def find_spec(self, name, path=None, target=None):
        if name in {"click", "pydantic", "platformdirs", "mcp", "anyio", "rich", "ruamel"}:
            gate = os.open(os.environ["GATE"], os.O_RDONLY)
            os.read(gate, 1)
            os.close(gate)
        return None

sys.meta_path.insert(0, Wait())
"""


def test_the_server_is_started_and_answers_before_anything_slow_is_imported(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKER)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setenv("GATE", str(gate))
    monkeypatch.setenv("PYTHONPATH", str(site))
    with StdioPeer(guard_argv(allow_everything(tmp_path), *fake_server()), cwd=home) as peer:
        assert peer.initialize()["result"]["serverInfo"]["name"] == "fake"
        call = peer.post("tools/call", {"name": "echo", "arguments": {}})
        # Held open from here on, with more in it than there are imports to wait: each takes one byte, and goes on.
        held = os.open(gate, os.O_RDWR)
        os.write(held, b"x" * 4096)
        assert text_of(peer.receive(id=call)) == "{}"
        os.close(held)


# The decision log


def test_a_decision_is_in_the_log_before_the_call_reaches_the_server(start: StartGuard, log: Path) -> None:
    peer = start()
    peer.initialize()
    for number in range(3):
        seen = map(json.loads, text_of(peer.call("read_file", {"path": str(log), "n": number})).splitlines())
        decisions = [(record["effect"], record["request_id"]) for record in seen if record["kind"] == "decision"]
        assert decisions == [("allow", 1002 + earlier) for earlier in range(number + 1)]


OUTCOMES = {
    "echo": "ok",
    "fail": "tool_error",
    "error": "error",
    "task": "task",
}


@pytest.mark.parametrize(("tool", "status"), OUTCOMES.items(), ids=OUTCOMES.keys())
def test_an_outcome_follows_its_decision(start: StartGuard, log: Path, tool: str, status: str) -> None:
    peer = start()
    peer.initialize()
    peer.call(tool)
    peer.close_stdin()
    assert peer.wait() == 0
    decision, outcome = records(log)
    assert (decision["kind"], outcome["kind"], outcome["status"]) == ("decision", "outcome", status)
    assert decision["decision_id"] == outcome["decision_id"]
    assert outcome["duration_ms"] >= 0
    assert outcome["result_bytes"] > 0


def test_a_cancelled_call_is_recorded_once(start: StartGuard, log: Path) -> None:
    peer = start()
    peer.initialize()
    call = peer.post("tools/call", {"name": "mute", "arguments": {}})
    peer.notify("notifications/cancelled", {"requestId": call})
    peer.call("unmute")
    peer.close_stdin()
    assert peer.wait() == 0
    assert [record["status"] for record in records(log, "outcome") if record["request_id"] == call] == ["cancelled"]


def test_a_record_says_who_asked_what_of_whom_and_why(start: StartGuard, log: Path, tmp_path: Path) -> None:
    policy = {"default": "allow", "tools": {"echo": {"limits": [{"window": "minute", "max": 1, "counter": "c"}]}}}
    peer = start("--api-key=hunter2", policy=policy, options=["--grant", "nightly"])
    peer.initialize()
    peer.call("echo", {"a": 1})
    peer.call("echo", {"a": 1})
    peer.close_stdin()
    assert peer.wait() == 0
    allowed, _, denied = records(log)
    assert allowed["kind"] == denied["kind"] == "decision"
    assert (allowed["effect"], denied["effect"]) == ("allow", "deny")
    assert [charge["counter"] for charge in allowed["charges"]] == ["c"]
    assert (denied["charges"], denied["code"]) == ([], "rate_limited")
    assert denied["reasons"] == ["/tools/echo/limits/0"]
    for record in (allowed, denied):
        assert record["grant"] == "nightly"
        assert record["policy"]["path"] == str(tmp_path / "policy.json")
        assert re.fullmatch(r"[0-9a-f]{16,}|sha256:[0-9a-f]{64}", record["policy"]["digest"])
        assert record["server"]["command"] == [*fake_server(), "--api-key=***"]
        assert record["server"]["info"] == {"name": "fake", "version": "1"}
        assert record["client"] == {"name": "raw-peer", "version": "1"}
        assert (record["direction"], record["method"], record["tool"]) == ("client_to_server", "tools/call", "echo")
        assert record["decision_id"].startswith(record["session_id"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
    assert allowed["args_digest"] == denied["args_digest"]
    assert [record["request_id"] for record in (allowed, denied)] == [1002, 1003]


def test_the_log_is_only_its_owners_to_read(start: StartGuard, log: Path) -> None:
    log.touch(mode=0o644)
    peer = start()
    peer.initialize()
    peer.call("echo")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_without_a_file_named_each_run_has_one_of_its_own(home: Path, tmp_path: Path) -> None:
    directory = home / "state" / "mcpguard" / "log"
    directory.mkdir(parents=True)
    old, kept, foreign = (directory / name for name in ("decisions-old.jsonl", "decisions-kept.jsonl", "mine.jsonl"))
    now = time.time()
    for path, days in ((old, 31), (kept, 29), (foreign, 365)):
        path.touch()
        os.utime(path, (now, now - days * 86_400))
    argv = guard_argv(allow_everything(tmp_path), *fake_server())
    for _ in range(2):
        with StdioPeer(argv, cwd=home) as peer:
            peer.initialize()
            peer.call("echo")
            peer.close_stdin()
            assert peer.wait() == 0
    assert not old.exists()
    assert kept.exists()
    assert foreign.exists()
    fresh = sorted(set(directory.iterdir()) - {kept, foreign})
    assert len(fresh) == 2
    assert all(len(records(path)) == 2 for path in fresh)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in fresh)
    assert len({records(path)[0]["session_id"] for path in fresh}) == 2


HOSTILE = [
    'x\n{"kind":"decision","effect":"allow"}',
    "\x1b[2J\x9b31m",
    "a\u2028b\u202e\u0085",
    "\ud7ff\U0001f600",
    'q"\\',
]


@pytest.mark.parametrize("name", HOSTILE, ids=["a line end", "ANSI", "Unicode line ends", "beyond ASCII", "quotes"])
def test_no_name_forges_a_line(start: StartGuard, log: Path, name: str) -> None:
    peer = start(policy={"default": "allow", "tools": {"danger": {"action": "deny"}}})
    peer.initialize()
    peer.call(name)
    peer.request(f"method {name}")
    peer.request("resources/read", {"uri": name})
    peer.send({"id": name, "method": "tools/call", "params": {"name": "danger", "arguments": {}}})
    peer.close_stdin()
    assert peer.wait() == 0
    raw = log.read_bytes()
    assert raw.isascii()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", raw)
    found = records(log)
    assert len(found) == raw.count(b"\n") == 7
    assert found[0]["tool"] == name
    assert [record["request_id"] for record in found if record["tool"] == "danger"] == [name]


def test_no_argument_appears_in_the_log(start: StartGuard, log: Path) -> None:
    patient = "patient-4711"
    inner = json.dumps(patient)
    peer = start(policy={"default": "allow", "tools": {"danger": {"action": "deny"}}})
    peer.initialize()
    for tool in ("echo", "danger", "fail"):
        peer.call(tool, {"a": patient, patient: [patient]})
    for line in (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{%s:1,%s:2}}}\n',
        b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{%s:%s x}}}\n',
        b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo","arguments":%s}, "x":%s \n',
        b'{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"NAME":%s,"arguments":%s}}\n',
    ):
        peer.send(line % (inner.encode(), inner.encode()))
        peer.receive()
    peer.close_stdin()
    assert peer.wait() == 0
    assert patient.encode() not in log.read_bytes()
    assert len(records(log, "decision")) == 3
    assert len(records(log, "event")) == 4
    assert patient not in peer.stderr_text()


def test_equal_arguments_have_one_digest_and_every_installation_its_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digests(log: Path) -> list[str]:
        argv = guard_argv(allow_everything(tmp_path), *fake_server(), options=["--log", str(log)])
        with StdioPeer(argv, cwd=home) as peer:
            peer.initialize()
            for arguments in (
                b'{"a":5,"b":[1.5]}',
                b'{ "b":[15e-1], "a":5.0 }',
                b'{"b":[1.5],"\\u0061":50e-1}',
                b'{"a":6}',
            ):
                peer.send(
                    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":%s}}\n'
                    % arguments
                )
                peer.receive(id=1)
            peer.close_stdin()
            assert peer.wait() == 0
        return [record["args_digest"] for record in records(log, "decision")]

    here = digests(tmp_path / "one.jsonl")
    assert len(here) == 4
    assert len(set(here)) == 2
    assert here[:3] == here[:1] * 3
    assert digests(tmp_path / "two.jsonl") == here, "the key is kept"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    elsewhere = digests(tmp_path / "three.jsonl")
    assert set(elsewhere).isdisjoint(here)


def test_a_client_that_describes_itself_oddly_is_served(start: StartGuard, log: Path) -> None:
    peer = start()
    info = {"name": "n" * 100_000, "version": 1.5}
    peer.send({"id": 1, "method": "initialize", "params": {"clientInfo": info, "capabilities": {}}})
    peer.receive(id=1)
    assert text_of(peer.call("echo")) == "{}"
    assert records(log)[0]["client"]["version"] == "1.5"
    assert log.stat().st_size < 20_000


# A log that cannot be written


def limited(argv: list[str], home: Path) -> StdioPeer:
    """Start a guard that may write 4,096 bytes to a file."""
    script = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); os.execv(sys.argv[1], sys.argv[1:])"
    return StdioPeer([sys.executable, "-c", script, *argv], cwd=home)


def test_a_call_that_cannot_be_written_down_is_refused(home: Path, tmp_path: Path) -> None:
    log, record = tmp_path / "log.jsonl", home / "record"
    log.write_bytes(b"x" * 3000 + b"\n")
    os.mkfifo(record)
    heard = os.open(record, os.O_RDWR | os.O_NONBLOCK)
    options = ["--log", str(log)]
    argv = guard_argv(allow_everything(tmp_path), *fake_server(f"record={record}"), options=options)
    with limited(argv, home) as peer:
        peer.initialize()
        answers = [peer.call("echo", {"n": number}) for number in range(8)]
        refused = [answer for answer in answers if answer["result"].get("isError")]
        passed = [text_of(answer) for answer in answers if not answer["result"].get("isError")]
        assert refused
        assert all("the decision log cannot be written" in text_of(answer) for answer in refused)
        assert peer.request("ping")["result"] == {}
        peer.expect_stderr("calls are refused until it can be")
        forwarded = re.findall(rb'"arguments":(\{"n":\d\})', os.read(heard, 65536))
        assert [json.loads(text) for text in passed] == [json.loads(line) for line in forwarded]
    os.close(heard)
    assert log.stat().st_size <= 4096


def test_a_full_disk_refuses_every_call(home: Path, tmp_path: Path) -> None:
    argv = guard_argv(allow_everything(tmp_path), *fake_server(), options=["--log", "/dev/full"])
    with StdioPeer(argv, cwd=home) as peer:
        peer.initialize()
        for _ in range(3):
            answer = peer.call("exit", {"status": 1})
            assert answer["result"]["isError"] is True
            assert answer["result"]["_meta"]["mcpguard/decision"]["code"] == "internal"
        peer.close_stdin()
        assert peer.wait() == 0
        assert peer.stderr_text().count("no space left on device") == 1


def test_with_an_optional_log_calls_pass_all_the_same(home: Path, tmp_path: Path) -> None:
    for log in ("/dev/full", str(tmp_path / "no" / "such" / "directory")):
        options = ["--log", log, "--log-optional"]
        with StdioPeer(guard_argv(allow_everything(tmp_path), *fake_server(), options=options), cwd=home) as peer:
            peer.initialize()
            assert text_of(peer.call("echo")) == "{}"
            peer.expect_stderr("going on without it")


def test_a_log_that_cannot_be_opened_ends_the_run_and_no_call_passes(home: Path, tmp_path: Path) -> None:
    record = home / "record"
    options = ["--log", str(tmp_path / "no" / "such" / "directory")]
    argv = guard_argv(allow_everything(tmp_path), *fake_server(f"record={record}"), options=options)
    with StdioPeer(argv, cwd=home) as peer:
        call = peer.post("tools/call", {"name": "echo", "arguments": {}})
        assert peer.wait() == 1
        assert "cannot open the decision log" in peer.receive(id=call)["error"]["message"]
        assert "--log-optional" in peer.stderr_text()
    assert not record.exists() or b"tools/call" not in record.read_bytes()


def test_without_a_log_nothing_is_written_anywhere(start: StartGuard, home: Path, log: Path) -> None:
    peer = start(options=["--no-log"])
    peer.initialize()
    assert text_of(peer.call("echo")) == "{}"
    peer.close_stdin()
    assert peer.wait() == 0
    assert not log.exists()
    assert list(home.iterdir()) == []


# Servers that say nothing to a probe


FROM_THE_GUARD = "Method not found: server/discover"
UNKNOWN_SERVER_S = 8
"""How long a server that says nothing at all is waited for, if nothing is known about it."""


def probe(argv: list[str], home: Path) -> str:
    """Ask, shake hands, and return what the answer to the first question says."""
    with StdioPeer(argv, cwd=home) as peer:
        discover = peer.post("server/discover", {})
        peer.initialize()
        answer = peer.receive(id=discover)
        assert answer["error"]["code"] == -32601
        peer.close_stdin()
        assert peer.wait() == 0
    text = answer["error"]["message"]
    assert isinstance(text, str)
    return text


def test_a_server_that_is_silent_to_a_probe_is_remembered_until_it_is_another(home: Path, tmp_path: Path) -> None:
    server, memory = tmp_path / "server", home / "cache" / "mcpguard" / "silent"

    def install(*words: object) -> None:
        server.write_text("#!/bin/sh\nexec " + " ".join(fake_server(*words)) + "\n")
        server.chmod(0o755)

    argv = guard_argv(allow_everything(tmp_path), server, options=["--no-log"])
    install("silent=server/discover", "name=one")
    assert probe(argv, home) == FROM_THE_GUARD
    (finding,) = memory.iterdir()
    kept = finding.read_bytes()

    install("silent=server/discover", "silent=initialize")
    with StdioPeer(argv, cwd=home) as peer:
        # Nothing that this server does could tell the guard that it is silent.
        assert (
            peer.request("server/discover", {}, deadline_s=UNKNOWN_SERVER_S - 2)["error"]["message"] == FROM_THE_GUARD
        )
    assert finding.read_bytes() == kept, "only the first finding counts"

    install("name=two")
    with StdioPeer(argv, cwd=home) as peer:
        peer.initialize()
        peer.call("echo")
        peer.close_stdin()
        assert peer.wait() == 0
    assert not finding.exists()
    assert probe(argv, home) == "unknown here"


def test_a_late_answer_to_a_probe_is_dropped(start: StartGuard, log: Path) -> None:
    peer = start("silent=server/discover")
    discover = peer.post("server/discover", {})
    peer.initialize()
    assert peer.receive(id=discover)["error"]["code"] == -32601
    late = json.dumps({"jsonrpc": "2.0", "id": discover, "result": {}}).encode() + b"\n"
    peer.call("noise", {"bytes": base64.b64encode(late).decode()})
    peer.close_stdin()
    assert peer.wait() == 0
    assert peer.drain() == []
    assert [record["event"] for record in records(log, "event")] == ["silent_server", "unmatched_answer"]


# Bugs


def test_a_bug_while_starting_leaves_no_server_behind(home: Path, tmp_path: Path) -> None:
    script = (
        "from mcpguard.cli import run\n"
        "def broken(*_): raise ZeroDivisionError\n"
        "run._enforcer = broken\n"
        "from mcpguard.__main__ import main\nmain()"
    )
    argv = guard_argv(allow_everything(tmp_path), *fake_server("ignore-eof", "ignore-term"))
    with StdioPeer([sys.executable, "-c", script, *argv[argv.index("run") :]], cwd=home) as peer:
        call = peer.post("tools/call", {"name": "echo", "arguments": {}})
        assert peer.wait() == 1
        assert peer.receive(id=call)["error"]["message"] == "mcpguard: internal error"
        assert "this is a bug in mcpguard" in peer.stderr_text()


def test_the_full_parser_runs_a_server_as_well(home: Path, tmp_path: Path) -> None:
    argv = guard_argv(allow_everything(tmp_path), *fake_server())
    argv.remove("--")
    result = subprocess.run(
        argv,
        input=b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
        cwd=home,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert json.loads(result.stdout) == {"jsonrpc": "2.0", "id": 1, "result": {}}
