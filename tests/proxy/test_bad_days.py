"""Every end in every state: signals, ends of input, deaths and half lines, while something else goes wrong already."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import tty
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from support import StdioPeer, allow_everything, guard_argv, write_policy
from support.fake_server import fake_server
from support.processes import descendants, kill_tree, wait_until_gone
from support.slow_client import SlowClient, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from support import Message
    from support.guards import StartGuard

GONE_S = 20.0

"""How long is waited for what is known not to come; `GONE_S` is for what does."""
STUBBORN = ("ignore-eof", "ignore-term")
STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
SIGNALS = pytest.mark.parametrize("number", STOPPING, ids=lambda number: number.name)
FLOODED = 12_000
"""More calls than are kept for a side that does not read."""

GRACES = """
import sys
from mcpguard.proxy import guard
patience = float(sys.argv.pop(1))
guard.EOF_GRACE_S = guard.DRAIN_GRACE_S = guard.SIGNAL_GRACE_S = guard.TERM_GRACE_S = guard.FLUSH_S = patience
from mcpguard.__main__ import main
main()
"""
"""A guard that gives a server and a client as many seconds for everything as its first word says."""
BRISK_S = 0.2
PATIENT_S = 600.0


def with_graces(argv: Sequence[str], patience_s: float) -> list[str]:
    return [sys.executable, "-c", GRACES, str(patience_s), *argv[argv.index("run") :]]


class Listen(Protocol):
    """Starts a brisk guard with a client that reads only when told to."""

    def __call__(self, *words: object) -> SlowClient: ...


@pytest.fixture
def listen(home: Path, tmp_path: Path, log: Path) -> Iterator[Listen]:
    assert home.is_dir()
    with ExitStack() as stack:

        def listening(*words: object) -> SlowClient:
            argv = guard_argv(allow_everything(tmp_path), *fake_server(*words), options=["--log", str(log)])
            client = stack.enter_context(SlowClient(with_graces(argv, BRISK_S), cwd=tmp_path))
            client.send(0, "initialize", {})
            assert client.receive()["id"] == 0
            assert client.call("echo") == "{}"
            return client

        yield listening


@pytest.fixture
def coming_policy(tmp_path: Path) -> Path:
    """Return a policy that is there only once somebody writes it."""
    path = tmp_path / "coming.json"
    os.mkfifo(path)
    return path


def call(id_: int | str, tool: str, **arguments: object) -> bytes:
    return request(id_, "tools/call", {"name": tool, "arguments": arguments})


def whole_tree(pid: int) -> set[int]:
    return descendants(pid) | {pid}


def errors(peer: StdioPeer) -> dict[object, str]:
    """Return the errors received, by id; whatever has an id is one, and no id has two."""
    answers = [message for message in peer.drain() if "method" not in message]
    assert max(Counter((type(answer["id"]), answer["id"]) for answer in answers).values(), default=1) == 1
    return {answer["id"]: answer["error"]["message"] for answer in answers}


def outcomes(log: Path) -> dict[str, str]:
    """Return the outcome of each admitted call; each has exactly one."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    admitted = [record["decision_id"] for record in records if record["kind"] == "decision"]
    found = [(record["decision_id"], record["status"]) for record in records if record["kind"] == "outcome"]
    assert sorted(decision for decision, _ in found) == sorted(admitted)
    return dict(found)


def close_stdin(client: SlowClient) -> None:
    os.close(client.stdin)
    client.stdin = os.open(os.devnull, os.O_RDONLY)


def close_stdout(client: SlowClient) -> None:
    os.close(client.stdout)
    client.stdout = os.open(os.devnull, os.O_RDONLY)


# A policy that cannot be had


def forbid(path: Path) -> None:
    path.write_text('{"version": "1"}')
    path.chmod(0)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_to_what_gives_an_error(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


WITHOUT_PRIVILEGE = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    if os.geteuid() == 0
    else []
)
"""Words before a command that has to keep to the permissions of files."""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(forbid, "permission denied", id="without permission"),
        pytest.param(link_to_itself, "too many levels of symbolic links", id="a link to itself"),
        pytest.param(link_to_what_gives_an_error, "input/output error", id="a read that fails"),
    ],
)
def test_a_policy_that_cannot_be_read_ends_the_run_and_a_stubborn_server_with_it(
    home: Path, tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    policy, record = tmp_path / "policy.json", tmp_path / "record"
    make(policy)
    argv = guard_argv(policy, *fake_server(f"record={record}", "silent=initialize", *STUBBORN))
    with StdioPeer([*WITHOUT_PRIVILEGE, *argv], cwd=home) as peer:
        peer.send(request(1, "initialize", {}) + call(2, "echo"))
        tree = whole_tree(peer.pid)
        assert peer.wait() == 3
        assert set(errors(peer)) == {1, 2}
        assert peer.stderr_text().startswith(f"mcpguard: {policy}: the file cannot be read: {reason}\n")
        assert [line for line in peer.stderr_text().splitlines()[1:] if line != "end of input"] == []
        assert wait_until_gone(tree, GONE_S) == set()
    assert not record.exists() or b"tools/call" not in record.read_bytes()


# While the policy is still loading


def test_calls_of_a_client_that_has_ended_are_judged_when_the_policy_comes(
    home: Path, tmp_path: Path, coming_policy: Path
) -> None:
    record = tmp_path / "record"
    with StdioPeer(guard_argv(coming_policy, *fake_server(f"record={record}")), cwd=home) as peer:
        peer.initialize()
        allowed = [peer.post("tools/call", {"name": "echo", "arguments": {}}) for _ in range(100)]
        denied = peer.post("tools/call", {"name": "danger", "arguments": {}})
        peer.close_stdin()
        coming_policy.write_text('{"version": "1", "tools": {"echo": {}}}')
        assert peer.wait() == 0
        answers = {answer["id"]: "isError" in answer["result"] for answer in peer.drain()}
    assert answers == dict.fromkeys(allowed, False) | {denied: True}
    assert record.read_bytes().count(b'"tools/call"') == len(allowed)


def test_the_end_of_the_client_ends_the_wait_for_a_policy(home: Path, coming_policy: Path) -> None:
    with StdioPeer(with_graces(guard_argv(coming_policy, *fake_server()), BRISK_S), cwd=home) as peer:
        peer.initialize()
        held = peer.post("tools/call", {"name": "echo", "arguments": {}})
        tree = whole_tree(peer.pid)
        peer.close_stdin()
        assert peer.wait(GONE_S) == 0
        assert set(errors(peer)) == {held}
        assert wait_until_gone(tree, GONE_S) == set()


def test_the_end_of_the_server_ends_the_wait_for_a_policy(home: Path, coming_policy: Path) -> None:
    with StdioPeer(guard_argv(coming_policy, *fake_server("exit=3")), cwd=home) as peer:
        peer.send(request(1, "initialize", {}) + call(2, "echo"))
        assert peer.wait(GONE_S) == 3
        assert errors(peer) == dict.fromkeys((1, 2), "mcpguard: the server exited with status 3")


@SIGNALS
def test_a_signal_ends_the_wait_for_a_policy_also_if_the_server_never_said_anything(
    home: Path, tmp_path: Path, coming_policy: Path, number: signal.Signals
) -> None:
    record = tmp_path / "record"
    os.mkfifo(record)
    with StdioPeer(guard_argv(coming_policy, *fake_server(f"record={record}", "silent=initialize")), cwd=home) as peer:
        # In one write: that the server has heard the first shows that the second was read, too.
        peer.send(request(1, "initialize", {}) + call(2, "echo"))
        with record.open("rb") as heard:
            assert json.loads(heard.readline())["id"] == 1
            tree = whole_tree(peer.pid)
            peer.signal(number)
            assert peer.wait() == 128 + number
            assert heard.read() == b""
        told = errors(peer)
    assert told == dict.fromkeys((1, 2), f"mcpguard: the guard was stopped by signal {int(number)}")
    assert wait_until_gone(tree, GONE_S) == set()


HELD_UP = f"""
import os, sys
import platformdirs
gate, directory = sys.argv.pop(1), platformdirs.user_cache_dir

def wait_at_the_gate(*words, **more):
    os.close(os.open(gate, os.O_RDONLY))
    return directory(*words, **more)

platformdirs.user_cache_dir = wait_at_the_gate
{GRACES}"""
"""The same, which before it loads its policy waits for somebody to open a FIFO, its first word."""


def test_a_second_interrupt_is_immediate_also_while_the_policy_is_loading(home: Path, coming_policy: Path) -> None:
    argv = guard_argv(coming_policy, *fake_server(*STUBBORN))
    with StdioPeer(with_graces(argv, PATIENT_S), cwd=home) as peer:
        peer.initialize()
        tree = whole_tree(peer.pid)
        # Opens when the guard does so, too.
        with coming_policy.open("wb"):
            peer.signal(signal.SIGINT)
            peer.expect_stderr("end of input")
            peer.signal(signal.SIGINT)
            assert peer.wait() == 128 + signal.SIGINT
        assert wait_until_gone(tree, GONE_S) == set()


def test_a_second_interrupt_is_immediate_also_when_the_first_came_before_the_policy_was_looked_for(
    home: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    argv = guard_argv(allow_everything(tmp_path), *fake_server(*STUBBORN))
    words = [sys.executable, "-c", HELD_UP, str(gate), str(PATIENT_S), *argv[argv.index("run") :]]
    with StdioPeer(words, cwd=home) as peer:
        peer.initialize()
        tree = whole_tree(peer.pid)
        peer.signal(signal.SIGINT)
        gate.write_bytes(b"")
        peer.expect_stderr("end of input")
        peer.signal(signal.SIGINT)
        assert peer.wait() == 128 + signal.SIGINT
        assert wait_until_gone(tree, GONE_S) == set()


# Signals


@SIGNALS
def test_a_signal_answers_each_call_in_flight_once(start: StartGuard, log: Path, number: signal.Signals) -> None:
    peer = start()
    peer.initialize()
    ids = [peer.post("tools/call", {"name": "mute", "arguments": {}}) for _ in range(300)]
    peer.call("echo")
    tree = whole_tree(peer.pid)
    peer.signal(number)
    assert peer.wait() == 128 + number
    told = f"mcpguard: the guard was stopped by signal {int(number)}; whether `mute` took effect is unknown"
    assert errors(peer) == dict.fromkeys(ids, told)
    assert Counter(outcomes(log).values()) == {"lost": 300, "ok": 1}
    assert wait_until_gone(tree, GONE_S) == set()


@SIGNALS
def test_a_signal_answers_what_was_asked_of_a_server_that_never_said_anything(
    start: StartGuard, tmp_path: Path, log: Path, number: signal.Signals
) -> None:
    record = tmp_path / "record"
    os.mkfifo(record)
    peer = start(f"record={record}", "silent=initialize", "silent=tools/call")
    peer.send(request(1, "initialize", {}) + call("one", "echo"))
    with record.open("rb") as heard:
        assert [json.loads(heard.readline())["id"] for _ in range(2)] == [1, "one"]
        peer.signal(number)
        assert peer.wait() == 128 + number
    stopped = f"mcpguard: the guard was stopped by signal {int(number)}"
    assert errors(peer) == {1: stopped, "one": f"{stopped}; whether `echo` took effect is unknown"}
    assert list(outcomes(log).values()) == ["lost"]


# The client ends


@pytest.mark.parametrize("words", [(), STUBBORN], ids=["an obedient server", "a stubborn one"])
def test_a_client_may_end_while_its_server_floods(
    home: Path, tmp_path: Path, log: Path, words: tuple[str, ...]
) -> None:
    argv = guard_argv(allow_everything(tmp_path), *fake_server(*words), options=["--log", str(log)])
    with StdioPeer(with_graces(argv, BRISK_S), cwd=home) as peer:
        peer.initialize()
        flooding = peer.post("tools/call", {"name": "flood", "arguments": {}})
        peer.receive(method="notifications/message")
        tree = whole_tree(peer.pid)
        peer.close_stdin()
        assert peer.wait() == 0
        told = "mcpguard: the guard was stopped; whether `flood` took effect is unknown"
        # What a client does not take in time is dropped.
        assert errors(peer).items() <= {flooding: told}.items()
        assert wait_until_gone(tree, GONE_S) == set()
    assert list(outcomes(log).values()) == ["lost"]


def test_a_client_may_end_and_never_read_what_its_server_floods_it_with(listen: Listen) -> None:
    client = listen()
    client.send(1, "tools/call", {"name": "flood", "arguments": {"bytes": 4096}})
    assert client.receive()["method"] == "notifications/message"
    tree = whole_tree(client.process.pid)
    close_stdin(client)
    assert client.wait() == 0
    assert wait_until_gone(tree, GONE_S) == set()


def test_a_client_may_end_while_its_server_does_not_read(listen: Listen, tmp_path: Path) -> None:
    record = tmp_path / "record"
    client = listen(f"record={record}")
    client.call("deaf")
    # More than a pipe holds; the errors fit into one.
    client.write(b"".join(call(number, "echo", n="x" * 1000) for number in range(300)))
    tree = whole_tree(client.process.pid)
    close_stdin(client)
    assert client.ids(300) == list(range(300)), "each is answered with an error"
    assert client.wait() == 0
    assert wait_until_gone(tree, GONE_S) == set()


def ended(client: SlowClient) -> int | None:
    """Return the exit status of what should have ended by now."""
    with suppress(subprocess.TimeoutExpired):
        return client.process.wait(GONE_S)
    return None


@pytest.mark.parametrize("gone", [False, True], ids=["its input alone", "its output, too"])
def test_a_client_may_end_while_its_server_does_not_read_and_nothing_more_is_kept(listen: Listen, gone: bool) -> None:
    client = listen()
    client.call("deaf")
    data = b"".join(call(number, "echo") for number in range(2 * FLOODED))
    assert client.write_until_full(data) < len(data)
    tree = whole_tree(client.process.pid)
    close_stdin(client)
    if gone:
        close_stdout(client)
    assert ended(client) == 0
    assert wait_until_gone(tree, GONE_S) == set()


ENDS: dict[str, tuple[Callable[[SlowClient], object], int]] = {
    "the client ends": (close_stdin, 0),
    "a signal": (lambda client: client.process.terminate(), 128 + signal.SIGTERM),
    "the server dies": (lambda client: client.write(call("last", "die", signal=int(signal.SIGKILL))), 128 + 9),
}


@pytest.mark.parametrize(("end", "status"), ENDS.values(), ids=ENDS.keys())
def test_the_end_comes_also_if_a_client_does_not_read_the_errors_for_all_it_has_in_flight(
    listen: Listen, end: Callable[[SlowClient], object], status: int
) -> None:
    client = listen("ignore-eof", "ignore-term")
    client.write(b"".join(call(number, "mute") for number in range(FLOODED)))
    assert client.call("echo", {"all": "heard"}) == '{"all": "heard"}'
    tree = whole_tree(client.process.pid)
    end(client)
    assert ended(client) == status
    assert wait_until_gone(tree, GONE_S) == set()


def test_every_call_of_thousands_in_flight_is_answered_when_the_server_dies(start: StartGuard, log: Path) -> None:
    peer = start()
    peer.initialize()
    ids = [peer.post("tools/call", {"name": "mute", "arguments": {}}) for _ in range(FLOODED)]
    ids.append(peer.post("tools/call", {"name": "die", "arguments": {"signal": int(signal.SIGKILL)}}))
    assert peer.wait() == 128 + signal.SIGKILL
    told = errors(peer)
    assert sorted(map(str, told)) == sorted(map(str, ids))
    assert all("took effect is unknown" in text for text in told.values())
    assert Counter(outcomes(log).values()) == {"lost": len(ids)}


@pytest.mark.parametrize("words", [(), STUBBORN], ids=["an obedient server", "a stubborn one"])
def test_a_client_that_closes_its_output_while_calls_run_ends_the_run(
    listen: Listen, log: Path, words: tuple[str, ...]
) -> None:
    client = listen(*words)
    client.write(b"".join(call(number, "mute") for number in range(300)))
    assert client.call("echo", {"all": "heard"}) == '{"all": "heard"}'
    tree = whole_tree(client.process.pid)
    close_stdout(client)
    client.write(call("last", "unmute"))
    assert client.wait() == 0
    assert wait_until_gone(tree, GONE_S) == set()
    assert len(outcomes(log)) == 303
    assert os.read(client.stderr, 65536).replace(b"end of input\n", b"") == b""


def test_a_client_that_dies_while_calls_run_ends_the_run(listen: Listen, log: Path) -> None:
    client = listen(*STUBBORN)
    client.write(b"".join(call(number, "mute") for number in range(300)))
    assert client.call("echo", {"all": "heard"}) == '{"all": "heard"}'
    tree = whole_tree(client.process.pid)
    close_stdin(client)
    close_stdout(client)
    assert client.wait() == 0
    assert wait_until_gone(tree, GONE_S) == set()
    assert Counter(outcomes(log).values()) == {"ok": 2, "lost": 300}


# Half lines


def server_of(peer: StdioPeer) -> int:
    """Return the pid of the fake server, which has no other process between itself and the supervisor."""
    found = []
    for pid in descendants(peer.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if fake_server()[-1].encode() in words and b"run" not in words:
            found.append(pid)
    (server,) = found
    return server


def kill_server(peer: StdioPeer) -> None:
    os.kill(server_of(peer), signal.SIGKILL)


def let_server_exit(peer: StdioPeer) -> None:
    os.kill(server_of(peer), signal.SIGTERM)


HALF_ENDS: dict[str, tuple[Callable[[StdioPeer], object], int]] = {
    "the client ends": (lambda peer: peer.close_stdin(), 0),
    "a signal": (lambda peer: peer.signal(signal.SIGHUP), 128 + signal.SIGHUP),
    "the server is ended": (let_server_exit, 128 + signal.SIGTERM),
    "the server is killed": (kill_server, 128 + signal.SIGKILL),
    "the guard is killed": (lambda peer: peer.signal(signal.SIGKILL), -signal.SIGKILL),
}
AT_EVERY_END = pytest.mark.parametrize(("end", "status"), HALF_ENDS.values(), ids=HALF_ENDS.keys())


@AT_EVERY_END
def test_half_a_line_of_a_client_reaches_no_server(
    start: StartGuard, tmp_path: Path, end: Callable[[StdioPeer], object], status: int
) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}")
    peer.initialize()
    # In one write: the answer to the first shows that the half was read, too. It lacks nothing but the end of the line.
    peer.send(request(5, "ping") + call(6, "danger")[:-1])
    assert peer.receive(id=5)["result"] == {}
    tree = whole_tree(peer.pid)
    end(peer)
    assert peer.wait() == status
    assert peer.drain() == []
    assert wait_until_gone(tree, GONE_S) == set()
    assert b'"danger"' not in record.read_bytes()


@AT_EVERY_END
def test_half_a_line_of_a_server_reaches_no_client(
    start: StartGuard, end: Callable[[StdioPeer], object], status: int
) -> None:
    peer = start()
    peer.initialize()
    # It lacks nothing but the end of the line.
    half = b'{"jsonrpc":"2.0","id":"asked","result":{"content":[]}}'
    arguments = {"bytes": base64.b64encode(half).decode()}
    peer.send({"id": "asked", "method": "tools/call", "params": {"name": "say", "arguments": arguments}})
    peer.expect_stderr("said\n")
    tree = whole_tree(peer.pid)
    end(peer)
    assert peer.wait() == status
    told = errors(peer)
    if status != -signal.SIGKILL:
        assert ["`say` took effect is unknown" in text for text in told.values()] == [True]
    assert peer.noise == []
    assert wait_until_gone(tree, GONE_S) == set()


# What stdin and stdout may be

HELLO = request(1, "initialize", {}) + b"".join(call(number, "echo", n=number) for number in range(2, 502))


def ids_in(data: bytes) -> list[object]:
    return [json.loads(line)["id"] for line in data.splitlines()]


@pytest.fixture
def argv(home: Path, tmp_path: Path, log: Path) -> list[str]:
    """Return the command of a guard that allows everything."""
    assert home.is_dir()
    return guard_argv(allow_everything(tmp_path), *fake_server(), options=["--log", str(log)])


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Kill the processes that a test puts here, and all they have started."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        kill_tree(process.pid)
        process.wait(GONE_S)


def test_files_do_for_stdin_and_stdout(argv: list[str], tmp_path: Path, log: Path) -> None:
    said, answered = tmp_path / "said", tmp_path / "answered"
    said.write_bytes(HELLO + b'{"half":')
    with said.open("rb") as stdin, answered.open("wb") as stdout:
        done = subprocess.run(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=GONE_S, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert ids_in(answered.read_bytes()) == list(range(1, 502))
    assert list(outcomes(log).values()) == ["ok"] * 500


def test_nothing_does_for_stdin(argv: list[str]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=GONE_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_one_socket_does_for_stdin_and_stdout(argv: list[str], running: list[subprocess.Popen[bytes]]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(GONE_S)
        process = subprocess.Popen(argv, stdin=theirs.fileno(), stdout=theirs.fileno(), start_new_session=True)
        running.append(process)
        theirs.close()
        ours.sendall(HELLO)
        ours.shutdown(socket.SHUT_WR)
        assert ids_in(b"".join(iter(lambda: ours.recv(65536), b""))) == list(range(1, 502))
        assert process.wait(GONE_S) == 0


@pytest.mark.parametrize("end", ["end of transmission", "hangup"])
def test_a_terminal_does_for_stdin_and_stdout(
    argv: list[str], running: list[subprocess.Popen[bytes]], end: str
) -> None:
    ours, theirs = pty.openpty()
    modes = termios.tcgetattr(theirs)
    modes[tty.OFLAG] &= ~termios.OPOST
    modes[tty.LFLAG] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, start_new_session=True)
    running.append(process)
    os.close(theirs)
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        for number in range(3):
            terminal.write(call(number, "echo", n=number))
            line = b""
            while not line.endswith(b"\n"):
                line += terminal.read(65536)
            assert ids_in(line) == [number]
        if end == "end of transmission":
            terminal.write(b"\x04")
            assert process.wait(GONE_S) == 0
    assert process.wait(GONE_S) == 0


def unread_terminal() -> tuple[int, int]:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    return ours, theirs


def unread_socket() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return ours.detach(), theirs.detach()


@pytest.mark.parametrize(
    ("ends", "times"),
    [
        # How much room there is in a terminal is its own affair: not every run comes to where it is too little.
        pytest.param(unread_terminal, 4, id="a terminal"),
        pytest.param(unread_socket, 1, id="a socket with the smallest buffer"),
    ],
)
def test_a_signal_ends_a_run_whose_stdout_nobody_reads_whatever_it_is(
    argv: list[str], running: list[subprocess.Popen[bytes]], ends: Callable[[], tuple[int, int]], times: int
) -> None:
    for _ in range(times):
        with ExitStack() as stack:
            ours, theirs = ends()
            stack.callback(os.close, ours)
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=theirs, stderr=subprocess.PIPE, bufsize=0)
            running.append(process)
            os.close(theirs)
            assert process.stdin is not None
            assert process.stderr is not None
            stack.enter_context(process.stdin)
            stack.enter_context(process.stderr)
            process.stdin.write(call(1, "big", bytes=1 << 20) + call(2, "stderr", bytes=65536))
            assert select.select([process.stderr], [], [], GONE_S)[0], "the server is not kept from what it does next"
            # Some room, and less than for what would be written at once.
            for _ in range(20):
                assert os.read(ours, 101)
            process.terminate()
            assert process.wait(GONE_S) == 128 + signal.SIGTERM


# What a server may be


def test_a_server_that_goes_to_the_background_has_ended_and_is_not_left_there(
    start: StartGuard, tmp_path: Path
) -> None:
    pid_file = tmp_path / "daemon"
    peer = start(f"daemon={pid_file}", *STUBBORN)
    peer.send(request(1, "initialize", {}))
    assert peer.wait() == 0
    assert "the server exited with status 0" in peer.stderr_text()
    # What it says meanwhile in the background may still be heard.
    answers: list[Message] = [message for message in peer.drain() if "method" not in message]
    assert [answer["id"] for answer in answers] == [1]
    assert wait_until_gone([int(pid_file.read_text())], GONE_S) == set()


def test_a_limit_on_calls_holds_for_a_client_that_ends_at_once(home: Path, tmp_path: Path) -> None:
    policy = write_policy(tmp_path, {"tools": {"echo": {"rate_limit": "7/hour"}}})
    argv = guard_argv(policy, *fake_server())
    done = subprocess.run(argv, input=HELLO, cwd=home, capture_output=True, timeout=GONE_S, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert sorted(answer["id"] for answer in answers) == list(range(1, 502))
    assert sum("isError" not in answer["result"] for answer in answers) == 1 + 7
