"""`mcpguard demo`, piped and on a terminal; and that it notices a guard that breaks the policy."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mcpguard.cli.app import main
from mcpguard.cli.demo import CALLS, POLICY, REASON, SNIPPET, TOOLS, Answer, Observed, broken_promises, demo
from mcpguard.errors import GuardError
from support.processes import descendants, kill_tree, wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARGV = (sys.executable, "-P", "-m", "mcpguard", "demo")
DEADLINE_S = 60.0
ESCAPE = "\x1b"


def environment(**more: str) -> dict[str, str]:
    """Return this environment without what a terminal or a CI system says about colours, and with `more`."""
    told = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    return {name: value for name, value in os.environ.items() if name not in told} | {"TERM": "xterm-256color"} | more


@dataclass(frozen=True)
class Told:
    """How a demo ended, and all it said."""

    status: int
    text: str

    @property
    def flat(self) -> str:
        """The text with every run of white space as one space, so that line breaks do not matter."""
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def piped(tmp_path_factory: pytest.TempPathFactory) -> Told:
    done = subprocess.run(
        ARGV,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment(),
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )
    assert done.stderr == ""
    return Told(done.returncode, done.stdout)


@contextmanager
def on_a_terminal(**more: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the demo on a terminal of its own; give the process and our end of the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ARGV, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**more), start_new_session=True
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        kill_tree(process.pid)
        process.wait(DEADLINE_S)
        os.close(ours)


def read_to_the_end(terminal: int) -> str:
    end = time.monotonic() + DEADLINE_S
    read = b""
    while select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
        try:
            read += os.read(terminal, 1 << 16)
        except OSError:  # EIO: the last process has closed its end
            return read.decode()
    pytest.fail(f"the demo did not end; so far it said {read.decode()!r}")


class TestPiped:
    def test_succeeds(self, piped: Told) -> None:
        assert piped.status == 0

    def test_is_plain_text_of_at_most_80_columns(self, piped: Told) -> None:
        assert ESCAPE not in piped.text
        assert max(len(line) for line in piped.text.splitlines() if "/" not in line) <= 80  # but for a path

    @pytest.mark.parametrize(
        "part",
        [
            pytest.param('"delete_patient": { "action": "deny", "reason":', id="the policy"),
            pytest.param("start_dicom_export_job 3 a minute yes delete_patient denied no", id="what the agent sees"),
            pytest.param('agent get_patient {"patient_id": "P-1001"} server P-1001: Amal Haddad', id="an allowed call"),
            pytest.param('agent delete_patient {"patient_id": "P-1003"} guard mcpguard: ', id="a denied call"),
            pytest.param("(without the guard: P-1003 deleted, with all notes and images)", id="what it prevented"),
            pytest.param(
                "server job EXP-0003 started for P-1001 agent start_dicom_export_job", id="calls below the limit"
            ),
            pytest.param(
                'agent start_dicom_export_job {"patient_id": "P-1001"} guard mcpguard: ', id="a limit reached"
            ),
            pytest.param("agent wipe_store guard Unknown tool: wipe_store (error -32602)", id="a hidden tool"),
            pytest.param('"allergic to latex"} person allow once server note 1 added', id="an approved call"),
            pytest.param('"ignore earlier notes"} person deny guard mcpguard: ', id="a call that a person denied"),
            pytest.param(
                "get_patient 1 1 delete_patient 1 0 start_dicom_export_job 4 3 add_note 2 1 wipe_store 1 0",
                id="what ran",
            ),
            pytest.param("what the policy says. Next:", id="what to do next"),
        ],
    )
    def test_tells(self, part: str, piped: Told) -> None:
        assert part in piped.flat

    def test_ends_quietly_when_nobody_reads_on(self) -> None:
        process = subprocess.Popen(
            ARGV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        try:
            assert process.stdout
            process.stdout.close()
            _, stderr = process.communicate(timeout=DEADLINE_S)
            assert stderr == b""
        finally:
            kill_tree(process.pid)
            process.wait(DEADLINE_S)


class TestOnATerminal:
    def test_is_coloured(self) -> None:
        with on_a_terminal() as (process, terminal):
            text = read_to_the_end(terminal)
            assert process.wait(DEADLINE_S) == 0
        assert f"{ESCAPE}[32m" in text

    def test_is_plain_if_the_user_wants_no_colour(self) -> None:
        with on_a_terminal(NO_COLOR="1") as (process, terminal):
            text = read_to_the_end(terminal)
            assert process.wait(DEADLINE_S) == 0
        assert ESCAPE not in text

    def test_leaves_no_process_and_no_file_behind_when_interrupted(self, tmp_path: Path) -> None:
        with on_a_terminal(TMPDIR=str(tmp_path)) as (process, terminal):
            started = both_sessions_started(process)
            process.send_signal(signal.SIGINT)
            text = read_to_the_end(terminal)
            assert process.wait(DEADLINE_S) != 0
            assert wait_until_gone(started, DEADLINE_S) == set()
        assert "Traceback" not in text
        assert list(tmp_path.iterdir()) == []


def both_sessions_started(process: subprocess.Popen[bytes]) -> set[int]:
    """Wait until a server, a guard and the guard's own server run; return every process of them."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if len(started := descendants(process.pid)) > len(("server", "guard")):
            return started
        try:
            pytest.fail(f"the demo ended with status {process.wait(0.01)} before anything could interrupt it")
        except subprocess.TimeoutExpired:
            continue
    pytest.fail("the demo did not start its servers")


DIRECT = Observed(
    tools=tuple(TOOLS),
    answers=(
        Answer("P-1001: Amal Haddad"),
        Answer("P-1003 deleted"),
        *(Answer(f"job EXP-000{number} started") for number in range(1, 5)),
        Answer("note 1 added"),
        Answer("note 2 added"),
        Answer("store wiped"),
    ),
    ran=Counter(tool for tool, _ in CALLS),
)
GUARDED = Observed(
    tools=("list_patients", "get_patient", "add_note", "start_dicom_export_job"),
    answers=(
        DIRECT.answers[0],
        Answer(f"mcpguard: delete_patient denied: {REASON}", is_error=True, code="denied"),
        *DIRECT.answers[2:5],
        Answer("mcpguard: wait", is_error=True, code="rate_limited", retry_after_ms=59_000),
        Answer("note 1 added"),
        Answer("mcpguard: add_note denied", is_error=True, code="approval_denied"),
        Answer("Unknown tool: wipe_store", is_error=True, error=-32602),
    ),
    ran=Counter(get_patient=1, start_dicom_export_job=3, add_note=1),
    asked=("may this pass? allergic to latex", "may this pass? ignore earlier notes"),
)


SEEN = "the agent sees the allowed tools, and only those"
ALLOWED = "an allowed call gets the server's own answer"
DENIED = "a denied call is refused with the reason from the policy"
LIMITED = "the fourth export within a minute has to wait"
HIDDEN = "a hidden tool is answered as one that does not exist"
ASKED = "a person is asked about both notes, and shown what they say"
APPROVED = "what the person allows runs"
REFUSED = "what the person denies is refused"
RUN = "through the guard only the permitted calls run"


def with_answer(number: int, answer: Answer) -> Observed:
    return replace(GUARDED, answers=(*GUARDED.answers[:number], answer, *GUARDED.answers[number + 1 :]))


class TestBrokenPromises:
    def test_a_guard_that_obeys_breaks_none(self) -> None:
        assert broken_promises(DIRECT, GUARDED) == ()

    @pytest.mark.parametrize(
        ("guarded", "promise"),
        [
            pytest.param(replace(GUARDED, tools=tuple(TOOLS)), SEEN, id="forbidden tools listed"),
            pytest.param(replace(GUARDED, tools=GUARDED.tools[1:]), SEEN, id="allowed tool not listed"),
            pytest.param(with_answer(0, Answer("P-1001: someone else")), ALLOWED, id="answer altered"),
            pytest.param(with_answer(1, DIRECT.answers[1]), DENIED, id="denied call passed"),
            pytest.param(with_answer(1, replace(GUARDED.answers[1], text="no")), DENIED, id="reason missing"),
            pytest.param(with_answer(4, GUARDED.answers[5]), "three exports pass", id="limit too early"),
            pytest.param(with_answer(5, DIRECT.answers[5]), LIMITED, id="limit not kept"),
            pytest.param(with_answer(5, replace(GUARDED.answers[5], retry_after_ms=0)), LIMITED, id="no time to wait"),
            pytest.param(with_answer(8, DIRECT.answers[8]), HIDDEN, id="hidden tool answered"),
            pytest.param(replace(GUARDED, asked=GUARDED.asked[:1]), ASKED, id="asked once"),
            pytest.param(replace(GUARDED, asked=("?", "?")), ASKED, id="asked without the arguments"),
            pytest.param(with_answer(6, GUARDED.answers[7]), APPROVED, id="approved call refused"),
            pytest.param(with_answer(7, DIRECT.answers[7]), REFUSED, id="denied call passed, against the person"),
            pytest.param(replace(GUARDED, ran=GUARDED.ran + Counter(["wipe_store"])), RUN, id="hidden tool ran"),
            pytest.param(replace(GUARDED, ran=Counter(["get_patient"])), RUN, id="allowed tool did not run"),
        ],
    )
    def test_names_the_one_that_is_broken(self, guarded: Observed, promise: str) -> None:
        assert broken_promises(DIRECT, guarded) == (promise,)

    def test_a_server_that_runs_nothing_proves_nothing(self) -> None:
        assert broken_promises(replace(DIRECT, ran=Counter()), GUARDED) == ("without the guard every call runs",)

    def test_make_the_demo_say_so_and_fail(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("mcpguard.cli.demo.observe", lambda: (DIRECT, DIRECT))
        monkeypatch.setattr("sys.argv", ["mcpguard", "demo"])
        assert main() == 1
        said = capsys.readouterr().out
        assert "did NOT do what the policy says" in said
        assert RUN in said
        assert "Next:" not in said

    def test_a_guard_that_does_not_start_is_an_error_with_its_last_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dies = (sys.executable, "-c", "import sys; print('no such policy', file=sys.stderr)")
        monkeypatch.setattr("mcpguard.cli.demo.PROGRAM", dies)
        result = CliRunner().invoke(demo)
        assert isinstance(result.exception, GuardError)
        assert result.exception.exit_code == 1
        assert result.exception.hint == "no such policy"


def test_what_is_meant_to_be_copied_is_json() -> None:
    assert json.loads(POLICY)["version"] == "1"
    assert json.loads(SNIPPET)["mcpServers"]
