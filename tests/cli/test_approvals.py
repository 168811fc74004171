"""What a person sees of the calls that wait for them, and how they answer: the commands as processes, in front of desks that are real."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from contextlib import ExitStack, suppress
from decimal import Decimal
from fcntl import ioctl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.cli import app
from mcpguard.cli.approvals import approve, deny, pending, watch_calls
from mcpguard.cli.call_text import block, shown, written_out
from mcpguard.cli.options import RunOptions, parse_run, split_words
from mcpguard.errors import ExitCode
from mcpguard.policy.canonical import canonical
from mcpguard.proxy.desk import open_desk
from mcpguard.stores.desks import Look, Silent, Waiting, as_item, runs_directory
from support.clerk import FakeClerk, item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 60.0
PAGE = Path(__file__).parents[2] / "docs" / "approvals.md"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the commands a home of their own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("STATE", "CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


class Open(Protocol):
    """Opens the desk of a run in which these calls wait."""

    def __call__(self, *items: dict[str, Any], run: str = "run") -> FakeClerk: ...


@pytest.fixture
def run_with(stack: ExitStack) -> Open:
    def run(*items: dict[str, Any], run: str = "run") -> FakeClerk:
        clerk = FakeClerk(*items)
        stack.callback(open_desk(runs_directory(), run, clerk).close)
        return clerk

    return run


def mcpguard(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "mcpguard", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
        timeout=DEADLINE_S,
        check=False,
    )


class Terminal:
    """A command in a terminal of its own, 100 columns wide; `said` holds what it has written."""

    def __init__(
        self, stack: ExitStack, *words: str, stdin: bool = True, stdout: bool = True, typed: bytes = b""
    ) -> None:
        ours, theirs = pty.openpty()
        os.write(ours, typed)
        stack.callback(os.close, ours)
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, 100, 0, 0))
        self._fd = ours
        self.said = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mcpguard", *words],
            stdin=theirs if stdin else subprocess.DEVNULL,
            stdout=theirs if stdout else subprocess.DEVNULL,
            stderr=theirs,
            env=os.environ | {"PYTHONUTF8": "1"},
            start_new_session=True,
        )
        stack.callback(self._end)
        os.close(theirs)

    def expect(self, text: str) -> None:
        """Wait until it has said this."""
        until_s = time.monotonic() + DEADLINE_S
        while text not in self.said:
            assert self._read(until_s), f"ended without {text!r}: {self.said}"

    def type(self, data: bytes) -> None:
        os.write(self._fd, data)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; give its exit status."""
        until_s = time.monotonic() + DEADLINE_S
        while self._read(until_s):
            pass
        return self._process.wait(DEADLINE_S)

    def _read(self, until_s: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], max(0.0, until_s - time.monotonic()))
        assert ready, f"nothing more was said in time: {self.said}"
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            return False  # the other end is closed
        self.said += data.decode().replace("\r\n", "\n")
        return bool(data)

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(DEADLINE_S)


ASKED = """\
k3f9m2xq  call of create_charge
  server     uvx acme-mcp --region 'eu west'
  client     claude-code 2.1
  policy     /home/me/policy.json
  time       asked 3 s ago; the call waits for 41 s more
  asked by   /tools/create_charge/approve_if/0
             charges over 5.00 need a person
  arguments
    | {
    |   "amount": 900,
    |   "currency": "usd"
    | }
  answer     mcpguard approve k3f9m2xq   or   mcpguard deny k3f9m2xq
"""


GRANTED = "granted: this call of create_charge (k3f9m2xq), used up by one call\nthe call goes on now\n"

# The page about it


def test_the_page_shows_what_is_really_said(run_with: Open) -> None:
    page = PAGE.read_text()
    run_with(item())
    assert f"$ mcpguard pending\n{mcpguard('pending').stdout}```" in page
    assert (
        f"$ mcpguard deny k3f9m2xq --reason 'ask me on Monday'\n{mcpguard('deny', 'k3f9m2xq', '--reason', 'ask me on Monday').stdout}```"
        in page
    )
    assert "$ mcpguard approve k3f9m2xq\n" in page
    assert f"Allow this call once? [y/N] y\n{GRANTED}```" in page
    assert NO_TERMINAL.removeprefix("mcpguard: ").strip() in page


def test_the_page_has_every_option_and_every_member() -> None:
    page = PAGE.read_text()
    for command in (pending, approve, deny):
        for option in command.params:
            if option.opts[0].startswith("--") and option.opts[0] != "--help":
                assert f"`{option.opts[0]}" in page, option
    assert all(f"`{member}`" in page for member in item())
    assert "`mcpguard run --notify CMD`" in page


# pending


def test_nothing_waits_where_nothing_runs() -> None:
    result = mcpguard("pending")
    assert (result.returncode, result.stdout, result.stderr) == (0, "nothing waits for approval\n", "")
    assert mcpguard("pending", "--json").stdout == "[]\n"


def test_a_call_is_shown_with_all_that_matters(run_with: Open) -> None:
    run_with(item())
    result = mcpguard("pending")
    assert (result.returncode, result.stdout, result.stderr) == (0, ASKED, "")


def test_a_program_is_told_the_same(run_with: Open) -> None:
    call = item(arguments={"text": "\u202e\u00e9\x1b"})
    run_with(call)
    result = mcpguard("pending", "--json")
    assert result.returncode == 0
    assert result.stdout.isascii()
    assert json.loads(result.stdout) == [call]


def test_all_runs_are_shown(run_with: Open) -> None:
    run_with(item("first", grant="work"), run="one")
    run_with(
        item(
            "second", kind="resource", subject="file:///a", client=None, state="later", waited_s=500, expires_in_s=130
        ),
        item("third", kind="prompt", subject="greet", state="client", expires_in_s=90_000, waited_s=7200),
        run="two",
    )
    blocks = mcpguard("pending").stdout.split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == [
        "third  get of greet",
        "second  read of file:///a",
        "first  call of create_charge",
    ]
    assert "  time       asked 2 h ago; the client asks, too; 25 h left\n" in blocks[0]
    assert "  time       asked 8 min ago; the agent was told to call again; 2 min left to approve it\n" in blocks[1]
    assert "  client     not known\n" in blocks[1]
    assert "  grant      work\n" in blocks[2]


def test_a_dead_run_is_passed_over_and_tidied_up(run_with: Open, stack: ExitStack) -> None:
    run_with(item())
    dead = stack.enter_context(socket.socket(socket.AF_UNIX))
    dead.bind(str(runs_directory() / "d.sock"))
    dead.close()
    assert mcpguard("pending").stdout == ASKED
    assert [path.name for path in runs_directory().iterdir()] == ["run.sock"]


def test_a_run_that_hangs_is_told_and_the_others_are_shown(run_with: Open, stack: ExitStack) -> None:
    run_with(item())
    hanging = stack.enter_context(socket.socket(socket.AF_UNIX))
    hanging.bind(str(runs_directory() / "h.sock"))
    hanging.listen()
    result = mcpguard("pending")
    assert (result.returncode, result.stdout) == (ExitCode.FINDINGS, ASKED)
    assert result.stderr == "mcpguard: the run h could not be asked: it did not answer within 3 s\n"


def test_a_call_that_is_not_found_may_be_one_of_a_run_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Look([waiting("other")], [Silent("h", "it did not answer within 3 s")])
    monkeypatch.setattr("mcpguard.cli.approvals.look", lambda _: found)
    error = CliRunner().invoke(app.app, ["deny", "none"]).exception
    assert getattr(error, "hint", "") == (
        "waiting: other (create_charge); the run h could not be asked: it did not answer within 3 s"
    )


def test_a_directory_that_others_may_enter_is_not_believed(run_with: Open) -> None:
    run_with(item())
    runs_directory().chmod(0o755)
    result = mcpguard("pending")
    assert (result.returncode, result.stdout) == (ExitCode.FINDINGS, "")
    assert "others may use it (mode 0755)" in result.stderr


def test_a_list_and_a_watch_contradict_each_other() -> None:
    assert mcpguard("pending", "--watch", "--json").returncode == ExitCode.USAGE


# What is shown of a call

HOSTILE = {
    "a new line": ("a\nb", "a\\nb"),
    "other line ends": ("\r\x0b\x0c\x85\u2028\u2029", "\\r\\u000b\\f\\u0085\\u2028\\u2029"),
    "an escape sequence": ("\x1b[2J\x9b2J", "\\u001b[2J\\u009b2J"),
    "a backspace": ("no\b\byes", "no\\b\\byes"),
    "NUL and DEL": ("\x00\x7f", "\\u0000\\u007f"),
    "bidi controls": ("\u202eabc\u202c\u2066\u2069\u200f\u061c", "\\u202eabc\\u202c\\u2066\\u2069\\u200f\\u061c"),
    "zero width": ("a\u200bb\u200cc\u200dd\ufeff\u2060\u00ad", "a\\u200bb\\u200cc\\u200dd\\ufeff\\u2060\\u00ad"),
    "tags": ("a\U000e0041", "a\\udb40\\udc41"),
    "variation selectors": ("a\ufe0f\U000e0100", "a\\ufe0f\\udb40\\udd00"),
    "letters without ink": ("\u3164\u115f\u1160\uffa0", "\\u3164\\u115f\\u1160\\uffa0"),
    "a symbol without ink": ("\u2800", "\\u2800"),
    "other spaces": ("a\u00a0b\u3000c\u2003", "a\\u00a0b\\u3000c\\u2003"),
    "private use": ("\ue000", "\\ue000"),
    "unassigned": ("\U0003fffe", "\\ud8bf\\udffe"),
    "half a pair": ("\ud83d", "\\ud83d"),
    "a mark on nothing": ("\u0301a", "\\u0301a"),
    "a mark on a digit": ("1\u0338", "1\\u0338"),
    "a tower of marks": ("e\u0301\u0302\u0303\u0304\u0305", "e\u0301\u0302\u0303\\u0304\\u0305"),
    "an enclosing mark": ("a\u20dd", "a\\u20dd"),
    "digits between letters of the other direction": ("\u05d0 1 \u05d1", "\\u05d0 1 \\u05d1"),
    "words of both directions": ("pay \u05d0", "pay \\u05d0"),
    "digits of the other direction": ("\u0661", "\\u0661"),
    "a backslash": ("\\u200b", "\\\\u200b"),
}
HARMLESS = {
    "words": "create a charge: 5 \u20ac, please!",
    "umlauts": "M\u00fcller",
    "composed on the fly": "Mu\u0308ller",
    "Chinese": "\u4f60\u597d",
    "Hindi": "\u0928\u092e\u0938\u094d\u0924\u0947",
    "Hebrew": "\u05e9\u05dc\u05d5\u05dd",
    "Arabic": "\u0645\u0631\u062d\u0628\u0627 !",
    "an emoji": "\U0001f600",
}


@pytest.mark.parametrize(("text", "seen"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_would_not_be_seen_is_written_out(text: str, seen: str) -> None:
    assert shown(text) == seen
    call = as_item(item(arguments={"a": text}))
    assert call is not None
    if text != "\ud83d":
        assert f'    |   "a": "{seen}"' in block(call, 100)


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_can_be_seen_is_left_as_it_is(text: str) -> None:
    assert shown(text) == text


def test_a_name_of_the_other_direction_is_written_out_for_its_value_comes_behind_it() -> None:
    assert written_out('{"\\u05d0":1}') == ["{", '  "\\u05d0": 1', "}"]


def test_quotes_end_no_string() -> None:
    assert written_out(json.dumps({'a": 1, "b': 'x", "y": "'})) == ["{", '  "a\\": 1, \\"b": "x\\", \\"y\\": \\""', "}"]


def test_numbers_stay_as_they_are() -> None:
    text = '[0.10,1e400,-0,123456789012345678901234567890,1E-7,{"a":[]},{},[[]]]'
    assert "".join(written_out(text)).replace(" ", "") == text


@pytest.mark.parametrize("text", ["", "{", "{}{}", "hello\x1b", '{"a":NaN}', "[" * 1000 + "]" * 1000, '"\x1b"'])
def test_what_is_no_json_is_said_to_be_none(text: str) -> None:
    (line,) = written_out(text)
    assert line == f"this is no JSON, and shown as it is: {shown(text)}"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES, st.integers(min_value=40, max_value=120))
def test_all_arguments_are_shown_whole_and_nothing_of_them_looks_like_ours(value: object, columns: int) -> None:
    call = as_item(item(arguments=value))
    assert call is not None
    lines = block(call, columns)
    begin, end = lines.index("  arguments") + 1, len(lines) - 1
    text = ""
    for line in lines[begin:end]:
        assert line.isprintable()
        assert line.startswith(("    | ", "    + "))
        assert len(line) <= columns
        assert sum(1 if character.isascii() else 2 for character in line) <= columns + 1
        text += ("\n" if line.startswith("    |") else "") + line[6:]
    assert json.loads(text) == value


@given(VALUES)
def test_what_is_written_out_is_the_same_json(value: object) -> None:
    written = json.loads("\n".join(written_out(canonical(value))), parse_float=Decimal)
    assert canonical(written) == canonical(value)


def test_a_long_argument_is_shown_in_full_and_cannot_fake_a_line(run_with: Open) -> None:
    long = ('x" ' + " " * 86 + '  "amount": 1') * 1000
    run_with(item(arguments={"amount": 900, "memo": long + "end"}))
    lines = mcpguard("pending").stdout.split("\n")
    (amount,) = [line for line in lines if line.startswith('    |   "amount"')]
    assert amount == '    |   "amount": 900,'
    assert all(len(line) <= 100 for line in lines)
    shown_text = "".join(line[6:] for line in lines if line.startswith(('    |   "memo"', "    + ")))
    assert json.loads("{" + shown_text + "}") == {"memo": long + "end"}


def test_every_field_of_a_call_is_made_harmless() -> None:
    bad = "\x1b[2J\n  time       never\u202e" + " " * 200 + "x"
    changed = {
        "kind": bad,
        "subject": bad,
        "policy": bad,
        "server": [bad, bad],
        "client": bad,
        "grant": bad,
        "state": bad,
        "remember": bad,
        "rules": [{"rule": bad, "message": bad}],
        "arguments": bad,
    }
    call = as_item(item() | changed)
    assert call is not None
    lines = block(call, 80)
    assert all(line.isprintable() and len(line) <= 80 for line in lines)
    assert sum(line.startswith("  time ") for line in lines) == 1


# watch


def looks(*found: Look) -> tuple[list[str], Callable[[], None]]:
    said: list[str] = []
    rest = iter(found)
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) < len(found)

    return said, lambda: watch_calls(lambda: next(rest), lambda text: said.append(text.split("\n", 1)[0]), wait)


def waiting(id_: str, run: str = "run") -> Waiting:
    call = as_item(item(id_))
    assert call is not None
    return Waiting(call, run)


def test_a_watch_says_what_comes_and_what_goes() -> None:
    a, b, c = waiting("a"), waiting("b"), waiting("c")
    said, watch = looks(Look([], []), Look([a], []), Look([a, b], []), Look([b], []), Look([b], []), Look([c], []))
    watch()
    gone = "gone: this call of create_charge ({}) was answered or withdrawn, or has expired"
    assert said == [
        "nothing waits for approval yet",
        "a  call of create_charge",
        "b  call of create_charge",
        gone.format("a"),
        gone.format("b"),
        "c  call of create_charge",
    ]


def test_a_watch_does_not_take_a_silent_run_for_an_ended_one() -> None:
    a, silent = waiting("a"), Silent("run", "it did not answer within 3 s")
    said, watch = looks(Look([a], []), Look([], [silent]), Look([], [silent]), Look([a], []), Look([], []))
    watch()
    assert said == [
        "a  call of create_charge",
        "the run run could not be asked: it did not answer within 3 s",
        "gone: this call of create_charge (a) was answered or withdrawn, or has expired",
    ]


def test_a_watch_in_a_terminal_goes_on_until_it_is_interrupted(run_with: Open, stack: ExitStack) -> None:
    clerk = run_with()
    terminal = Terminal(stack, "pending", "--watch")
    terminal.expect("nothing waits for approval yet")
    clerk.items = {"k3f9m2xq": item()}
    terminal.expect(ASKED)
    clerk.items = {}
    terminal.expect("gone: this call of create_charge (k3f9m2xq)")
    terminal.signal(signal.SIGINT)
    assert terminal.wait() == 128 + signal.SIGINT
    assert "Traceback" not in terminal.said


# approve


def test_a_person_approves_in_a_terminal(run_with: Open, stack: ExitStack) -> None:
    clerk = run_with(item())
    terminal = Terminal(stack, "approve", "k3f9m2xq")
    terminal.expect("Allow this call once? [y/N] ")
    assert terminal.said.startswith(ASKED)
    assert clerk.heard == []
    terminal.type(b"y\n")
    assert terminal.wait() == 0
    assert terminal.said.endswith(GRANTED)
    assert clerk.heard == [("approve", "k3f9m2xq", False)]


@pytest.mark.parametrize("typed", [b"\n", b"n\n", b"no\n"])
def test_anything_but_yes_approves_nothing(run_with: Open, stack: ExitStack, typed: bytes) -> None:
    clerk = run_with(item())
    terminal = Terminal(stack, "approve", "k3f9m2xq")
    terminal.expect("[y/N] ")
    terminal.type(typed)
    assert terminal.wait() == ExitCode.FINDINGS
    assert "not approved; the call waits on" in terminal.said
    assert "mcpguard deny k3f9m2xq" in terminal.said
    assert clerk.heard == []


def test_the_end_of_the_input_approves_nothing(run_with: Open, stack: ExitStack) -> None:
    clerk = run_with(item())
    terminal = Terminal(stack, "approve", "k3f9m2xq")
    terminal.expect("[y/N] ")
    terminal.type(b"\x04")
    assert terminal.wait() == 128 + signal.SIGINT
    assert clerk.heard == []


def test_what_was_typed_before_the_question_is_no_answer(run_with: Open, stack: ExitStack) -> None:
    clerk = run_with(item())
    terminal = Terminal(stack, "approve", "k3f9m2xq", typed=b"y\ny\ny\n")
    terminal.expect("[y/N] ")
    terminal.type(b"n\n")
    assert terminal.wait() == ExitCode.FINDINGS
    assert clerk.heard == []


def test_yes_beforehand_still_shows_what_is_granted(run_with: Open, stack: ExitStack) -> None:
    clerk = run_with(item())
    terminal = Terminal(stack, "approve", "--yes", "k3f9m2xq")
    assert terminal.wait() == 0
    assert terminal.said.startswith(ASKED)
    assert "[y/N]" not in terminal.said
    assert clerk.heard == [("approve", "k3f9m2xq", False)]


def test_the_agent_has_to_call_again_where_nobody_waits_any_more(run_with: Open, stack: ExitStack) -> None:
    run_with(item(state="later"))
    terminal = Terminal(stack, "approve", "--yes", "k3f9m2xq")
    assert terminal.wait() == 0
    assert terminal.said.endswith("\ntell the agent to call again with the same arguments within 10 min\n")


@pytest.mark.parametrize("typed", ["K3F9M2XQ", "  k3f9m2xq\n", "\tK3f9M2xq "])
def test_an_id_may_be_typed_carelessly(run_with: Open, stack: ExitStack, typed: str) -> None:
    clerk = run_with(item())
    assert Terminal(stack, "approve", "--yes", typed).wait() == 0
    assert clerk.heard == [("approve", "k3f9m2xq", False)]


def test_the_run_that_asked_is_answered(run_with: Open, stack: ExitStack) -> None:
    one, two = run_with(item("first"), run="one"), run_with(item("second"), run="two")
    assert Terminal(stack, "approve", "--yes", "second").wait() == 0
    assert mcpguard("deny", "first").returncode == 0
    assert (one.heard, two.heard) == ([("deny", "first", "")], [("approve", "second", False)])


def test_an_id_that_is_not_there_is_told_with_those_that_are(run_with: Open, stack: ExitStack) -> None:
    for words in (("approve", "--yes", "none\x1b"), ("deny", "none\x1b")):
        terminal = Terminal(stack, *words)
        assert terminal.wait() == ExitCode.FINDINGS
        assert terminal.said == (
            "mcpguard: no call waits under the id `none\\u001b`\n"
            "mcpguard: nothing waits for approval; a call that waited may have expired\n"
        )
    run_with(item(subject="x\x1b" * 100), run="one")
    run_with(item("other"), run="two")
    result = mcpguard("deny", "none")
    assert result.returncode == ExitCode.FINDINGS
    assert "waiting: k3f9m2xq (x\\u001bx\\u001b" in result.stderr
    assert "…), other (create_charge)\n" in result.stderr


def test_an_id_of_two_runs_is_no_id(run_with: Open) -> None:
    clerks = [run_with(item(), run=name) for name in ("one", "two")]
    result = mcpguard("deny", "k3f9m2xq")
    assert result.returncode == ExitCode.FINDINGS
    assert "two runs have a call with the id `k3f9m2xq`" in result.stderr
    assert [clerk.heard for clerk in clerks] == [[], []]


def test_what_the_run_refuses_is_told(run_with: Open, stack: ExitStack) -> None:
    clerk = run_with(item())
    terminal = Terminal(stack, "approve", "k3f9m2xq")
    terminal.expect("[y/N] ")
    clerk.items = {}
    terminal.type(b"y\n")
    assert terminal.wait() == ExitCode.FINDINGS
    assert "mcpguard: nothing waits for an approval `k3f9m2xq`\n" in terminal.said
    assert "granted" not in terminal.said


def test_a_run_that_ends_meanwhile_is_told(stack: ExitStack) -> None:
    desk = open_desk(runs_directory(), "run", FakeClerk(item()))
    terminal = Terminal(stack, "approve", "k3f9m2xq")
    terminal.expect("[y/N] ")
    desk.close()
    terminal.type(b"y\n")
    assert terminal.wait() == ExitCode.FINDINGS
    assert "mcpguard: the run has ended in the meantime\n" in terminal.said


# Approving more than a call


def test_a_tool_is_approved_where_the_policy_lets_it(run_with: Open, stack: ExitStack) -> None:
    clerk = run_with(item(remember="tool"))
    terminal = Terminal(stack, "approve", "--tool", "k3f9m2xq")
    terminal.expect(
        "Allow later calls of create_charge that the same rules ask about, until this run of mcpguard ends? [y/N] "
    )
    terminal.type(b"y\n")
    assert terminal.wait() == 0
    assert "granted: later calls of create_charge that the same rules ask about" in terminal.said
    assert clerk.heard == [("approve", "k3f9m2xq", True)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (item(), "the policy `/home/me/policy.json` lets an approval cover one call only"),
        (item(kind="resource", remember="tool"), "--tool is about calls of tools, and this is a resource"),
    ],
    ids=["a policy that does not", "a resource"],
)
def test_a_tool_is_not_approved_where_that_cannot_be(
    run_with: Open, stack: ExitStack, call: dict[str, Any], said: str
) -> None:
    clerk = run_with(call)
    terminal = Terminal(stack, "approve", "--tool", "--yes", "k3f9m2xq")
    assert terminal.wait() == ExitCode.FINDINGS
    assert terminal.said.startswith(f"mcpguard: {said}\n")
    assert clerk.heard == []


def test_the_key_that_would_allow_it_is_named(run_with: Open, stack: ExitStack) -> None:
    run_with(item())
    terminal = Terminal(stack, "approve", "--tool", "--yes", "k3f9m2xq")
    terminal.wait()
    assert '"approval": {"remember": "tool"}' in terminal.said


# Whether there is a person

NO_TERMINAL = "mcpguard: calls are approved by a person in a terminal; here, stdin or stdout is none\n"


def test_nothing_is_approved_without_a_terminal(run_with: Open, stack: ExitStack) -> None:
    clerk = run_with(item())
    result = mcpguard("approve", "--yes", "k3f9m2xq")
    assert (result.returncode, result.stdout, result.stderr) == (ExitCode.FINDINGS, "", NO_TERMINAL)
    for half in ("stdin", "stdout"):
        terminal = Terminal(stack, "approve", "--yes", "k3f9m2xq", stdin=half == "stdin", stdout=half == "stdout")
        assert (terminal.wait(), terminal.said) == (ExitCode.FINDINGS, NO_TERMINAL)
    assert clerk.heard == []


@pytest.fixture
def config(place: Path) -> Path:
    path = place / "config" / "mcpguard" / "config.json"
    path.parent.mkdir(parents=True)
    return path


def test_the_users_own_configuration_may_allow_it(run_with: Open, config: Path) -> None:
    clerk = run_with(item())
    config.write_text('{"approve_without_terminal": true}')
    config.chmod(0o644)
    result = mcpguard("approve", "--yes", "k3f9m2xq")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(ASKED)
    assert clerk.heard == [("approve", "k3f9m2xq", False)]


CONFIGS = {
    "empty": ("", "this is no JSON"),
    "no JSON": ("approve_without_terminal: true", "this is no JSON"),
    "a key twice": ('{"approve_without_terminal": false, "approve_without_terminal": true}', "this is no JSON"),
    "no object": ("true", "expected a JSON object"),
    "an unknown key": (
        '{"approve_without_terminal": true, "approve\\u001b": true}',
        "unknown key `approve\\u001b`; there is only `approve_without_terminal`",
    ),
    "a number": ('{"approve_without_terminal": 1}', "`approve_without_terminal` is true or false"),
    "a text": ('{"approve_without_terminal": "true"}', "`approve_without_terminal` is true or false"),
    "null": ('{"approve_without_terminal": null}', "`approve_without_terminal` is true or false"),
    "much too long": (" " * 70_000, "at most 65536 bytes"),
    "false": ('{"approve_without_terminal": false}', "by a person in a terminal"),
    "nothing": ("{}", "by a person in a terminal"),
}


@pytest.mark.parametrize(("text", "said"), CONFIGS.values(), ids=CONFIGS.keys())
def test_a_configuration_that_does_not_say_so_clearly_allows_nothing(
    run_with: Open, config: Path, text: str, said: str
) -> None:
    clerk = run_with(item())
    config.write_text(text)
    config.chmod(0o600)
    result = CliRunner().invoke(app.app, ["approve", "--yes", "k3f9m2xq"])
    assert said in getattr(result.exception, "message", "")
    assert clerk.heard == []


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602, 0o777])
def test_a_configuration_that_others_may_write_is_refused(run_with: Open, config: Path, mode: int) -> None:
    clerk = run_with(item())
    config.write_text('{"approve_without_terminal": true}')
    config.chmod(mode)
    result = mcpguard("approve", "--yes", "k3f9m2xq")
    assert (result.returncode, result.stdout) == (ExitCode.FINDINGS, "")
    assert f"{config}: others may write this file" in result.stderr
    assert clerk.heard == []


def test_a_configuration_that_is_no_file_is_refused(config: Path) -> None:
    os.mkfifo(config)
    assert "this is no file" in mcpguard("approve", "--yes", "k3f9m2xq").stderr
    config.unlink()
    config.mkdir()
    assert "this is no file" in mcpguard("approve", "--yes", "k3f9m2xq").stderr


# deny


def test_a_call_is_denied_without_a_terminal(run_with: Open) -> None:
    clerk = run_with(item())
    result = mcpguard("deny", " K3F9M2XQ ", "--reason", " too m\u00fcch ")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "denied: this call of create_charge (k3f9m2xq); the agent is told now\n"
    assert clerk.heard == [("deny", "k3f9m2xq", "too m\u00fcch")]


def test_a_denial_that_nobody_waits_for_says_so(run_with: Open) -> None:
    clerk = run_with(item(state="later"))
    assert mcpguard("deny", "k3f9m2xq").stdout.endswith("; a call again asks you again\n")
    assert clerk.heard == [("deny", "k3f9m2xq", "")]


@pytest.mark.parametrize("reason", ["a\nb", "\x1b[2J", "\u202e", "x" * 301], ids=["lines", "ANSI", "bidi", "long"])
def test_a_reason_that_is_no_plain_line_is_wrong_usage(run_with: Open, reason: str) -> None:
    clerk = run_with(item())
    result = mcpguard("deny", "k3f9m2xq", "--reason", reason)
    assert result.returncode == ExitCode.USAGE
    assert "a reason" in result.stderr
    assert clerk.heard == []


# The program that is to be told

NOTIFY = {
    "one word": ("notify-send", ("notify-send",)),
    "words": ("  notify-send  --urgency=critical call ", ("notify-send", "--urgency=critical", "call")),
    "quotes": ("sh -c 'cat > \"/tmp/a b\"'", ("sh", "-c", 'cat > "/tmp/a b"')),
    "a backslash": ("a\\ b c", ("a b", "c")),
    "what a shell would read": ("a $HOME *.x ~ #b | c; d", ("a", "$HOME", "*.x", "~", "#b", "|", "c;", "d")),
    "other letters": ("h\u00e9 \u00e0", ("h\u00e9", "\u00e0")),
    "white space that is none": ("a\u00a0b", ("a\u00a0b",)),
}
NO_PROGRAM = {
    "nothing": "",
    "white space": "  ",
    "an open quote": "a 'b",
    "an empty name": "'' a",
    "a backslash": "a\\",
}


@pytest.mark.parametrize(("text", "words"), NOTIFY.values(), ids=NOTIFY.keys())
def test_a_program_is_split_into_words_by_both_parsers(
    text: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["--policy", "p", "--notify", text, "--", "server"]
    options = parse_run(line)
    assert options is not None
    found: list[RunOptions] = []

    def run(options: RunOptions) -> int:
        found.append(options)
        raise SystemExit(0)

    monkeypatch.setattr("mcpguard.cli.run.run", run)
    CliRunner().invoke(app.app, ["run", *line], standalone_mode=False)
    assert [options.notify, *(each.notify for each in found)] == [words, words]


@pytest.mark.parametrize("text", NO_PROGRAM.values(), ids=NO_PROGRAM.keys())
def test_what_names_no_program_is_wrong_usage(text: str) -> None:
    assert parse_run(["--policy", "p", f"--notify={text}", "--", "server"]) is None
    result = CliRunner().invoke(app.app, ["run", "--policy", "p", f"--notify={text}", "--", "server"])
    assert result.exit_code == ExitCode.USAGE
    assert "--notify: " in result.stderr


@given(st.text(st.characters(codec="ascii", exclude_characters="'\"\\")))
def test_plain_words_are_split_as_a_shell_would(text: str) -> None:
    import shlex

    assert split_words(text) == tuple(shlex.split(text))


def test_no_program_is_told_by_default() -> None:
    options = parse_run(["--policy", "p", "--", "server"])
    assert options is not None
    assert options.notify == ()
