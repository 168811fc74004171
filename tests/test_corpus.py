"""Tries the corpus on the guard and on no guard, and the corpus's runner on guards that are none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from corpus.case import HANDSHAKE, MODERN, POLICIES, Case, CaseError, load_cases, make_case
from corpus.checks import judge, outcome
from corpus.lines import Line
from corpus.play import Played, Setup, command_line
from corpus.run import Result, main, play_cases
from corpus.server import TRAITS
from corpus.strict import Loose, Number, read

if TYPE_CHECKING:
    from collections.abc import Mapping

CASES = load_cases()
GUARD = f"{sys.executable} -m mcpguard run --policy {{policy}} -- {{server}}"
JOBS = 3
DEADLINE_S = 10
"""For what has to come and has not; the longest line takes about a second."""
BY_NAME = {case.name: case for case in CASES}

each_case = pytest.mark.parametrize("name", BY_NAME)


def results_of(request: pytest.FixtureRequest, test: str, setup: Setup) -> Mapping[str, list[Result]]:
    """Play, at one go, all the cases that this run of pytest asks `test` about."""
    asked = [item for item in request.session.items if getattr(item, "originalname", "") == test]
    names = [item.callspec.params["name"] for item in asked]  # type: ignore[attr-defined]
    results: dict[str, list[Result]] = {name: [] for name in names}
    for result in play_cases(setup, [BY_NAME[name] for name in results], JOBS):
        results[result.played.case.name].append(result)
    return results


@pytest.fixture(scope="session")
def guarded(request: pytest.FixtureRequest) -> Mapping[str, list[Result]]:
    return results_of(request, "test_the_guard_holds", Setup(GUARD, timeout_s=DEADLINE_S, share=True))


@pytest.fixture(scope="session")
def unguarded(request: pytest.FixtureRequest) -> Mapping[str, list[Result]]:
    return results_of(request, "test_without_a_guard_a_case_shows_what_it_says", Setup(share=True))


@each_case
def test_the_guard_holds(name: str, guarded: Mapping[str, list[Result]]) -> None:
    assert [(result.name, list(map(str, result.problems))) for result in guarded[name] if not result.good] == []


@each_case
def test_without_a_guard_a_case_shows_what_it_says(name: str, unguarded: Mapping[str, list[Result]]) -> None:
    case = BY_NAME[name]
    shown = {result.name: (result.outcome, result.times) for result in unguarded[name]}
    assert shown == dict.fromkeys(shown, (case.unguarded, case.times))


def test_every_rule_has_cases_in_both_eras_and_those_for_both_sides_in_both_directions() -> None:
    for rule in range(1, 18):
        ours = [case for case in CASES if case.rule == rule]
        assert len(ours) > 10
        assert {era for case in ours for era in case.eras} >= {HANDSHAKE, MODERN}
        assert {"-server-" in case.name for case in ours} == {True, False} or rule > 5


def test_every_trait_of_the_server_and_every_policy_is_used() -> None:
    assert {trait for case in CASES for trait in case.reads} == set(TRAITS)
    assert {case.policy for case in CASES} == {path.stem for path in POLICIES.glob("*.json")}


def test_no_two_cases_have_the_same_title() -> None:
    titles = [case.title for case in CASES]
    assert sorted(titles) == sorted(set(titles))


# The runner: guards that are none


PASSES_ALL = ("12", "13")
"""Rules whose cases are answered without a guard as well, so that no answer is waited for in vain."""


def test_a_guard_that_lets_everything_pass_fails_every_case_that_shows_something() -> None:
    cases = [case for case in CASES if case.name.startswith(PASSES_ALL)]
    results = play_cases(Setup("sh -c 'exec {server}' {policy}", share=True), cases, JOBS)
    assert {result.name for result in results if result.good} == {
        result.name for result in results if result.played.case.unguarded == "holds"
    }


REFUSES_ALL = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        answer = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}}
        print(json.dumps(answer), flush=True)
"""


@pytest.mark.parametrize(
    "guard",
    [
        pytest.param("{python} {script} {{policy}} {{server}}", id="refuses everything"),
        pytest.param("{python} -c pass {{policy}} {{server}}", id="ends at once"),
        pytest.param("/nonexistent/guard {{policy}} {{server}}", id="does not exist"),
    ],
)
def test_a_guard_that_lets_nothing_pass_is_not_tried_further(
    guard: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "guard.py"
    script.write_text(REFUSES_ALL)
    assert main(["--wrap", guard.format(python=sys.executable, script=script), "--timeout", "5"]) == 2
    assert capfd.readouterr().out == ""


def test_the_runner_reports_what_does_not_hold(capsys: pytest.CaptureFixture[str]) -> None:
    wrap = ["--wrap", "sh -c 'exec {server}' {policy}"]
    assert main(["--only", "13-denied-tool-is-not-listed"]) == 0
    assert capsys.readouterr().out == "2 plays of 1 cases: 0 do not hold\n"
    results = play_cases(Setup(wrap[1]), [BY_NAME["13-denied-tool-is-not-listed"]])
    assert [problem.kind for problem in results[0].problems] == ["client_sees", "client_never_sees"]


@pytest.mark.parametrize(
    "words", [["--only", "99"], ["--wrap", "x {server}", "--policies", "/nonexistent"]], ids=["no case", "no policy"]
)
def test_the_runner_complains_when_there_is_nothing_to_play(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "no such case" in capsys.readouterr().err


def test_results_can_be_read_by_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "06-denied-call", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {(each["case"], each["era"], each["outcome"]) for each in said} >= {("06-denied-call", HANDSHAKE, "runs")}
    assert said[0]["ran"] == [{"ran": "danger", "arguments": "{}"}]


def test_the_command_of_a_guard_is_filled_in(tmp_path: Path) -> None:
    setup = Setup("guard --policy={policy} -- {server}", tmp_path)
    words = command_line(setup, "deny", Path("/s"), Path("/r"))
    assert words[:4] == ["guard", f"--policy={tmp_path}/deny.json", "--", "env"]
    assert words[-1].endswith("server.py")
    assert command_line(Setup("sh -c '{server} | cat'"), "deny", Path("/s"), Path("/r"))[2].endswith("server.py | cat")


# The runner: what a case is


def fields(**changed: object) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "rule": 1,
        "title": "a plain title",
        "why": "A reader would be fooled.",
        "era": "both",
        "client": ["x\n"],
        "unguarded": "holds",
    }
    return {name: value for name, value in (plain | changed).items() if value is not None}


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        pytest.param({"must_hold": 1}, "unknown fields: must_hold", id="unknown field"),
        pytest.param({"why": None}, "missing fields: why", id="missing field"),
        pytest.param({"rule": Number("2")}, "`rule` is not", id="other rule"),
        pytest.param({"era": "2024"}, "`era` must be", id="unknown era"),
        pytest.param({"unguarded": "breaks"}, "`unguarded` must be", id="unknown outcome"),
        pytest.param({"policy": "../deny"}, "there is no policy", id="unknown policy"),
        pytest.param({"client": ["\u2028"]}, "single bytes", id="more than a byte"),
        pytest.param({"client": ["<metta>"]}, "unknown tokens: <metta>", id="unknown token"),
        pytest.param({"client": [{"wait": 1}]}, "unknown piece", id="unknown step"),
        pytest.param({"client": [{"exit": 1}]}, "only a server exits", id="client that exits"),
        pytest.param({"client": [{"eof": True}]}, "nothing survives", id="survives its end"),
        pytest.param({"client": [{"await": 7}]}, "within quotes", id="id that is no text"),
        pytest.param({"server": {"reads": ["sloppy"]}}, "cannot read like this: sloppy", id="unknown trait"),
        pytest.param({"server": {"says": [{"on": "start"}]}}, "has `on` and `write`", id="half an entry"),
        pytest.param({"server": {"does": []}}, "`reads` and `says`", id="unknown part of a server"),
        pytest.param({"answers": {"7": "maybe"}}, "unknown kind of answer: maybe", id="unknown answer"),
        pytest.param({"answers": {"seven": "error"}}, "no strict JSON", id="id that is no JSON"),
        pytest.param({"client_sees": [{"answer": "7", "at": "/x"}]}, "a look at a message", id="look at nothing"),
        pytest.param({"client_never_sees": [""]}, "is a list of texts", id="empty text"),
        pytest.param({"must_run": [{"arguments": "{}"}]}, "has `ran`", id="run of nothing"),
    ],
)
def test_what_is_no_case_is_an_error(changed: dict[str, object], complaint: str) -> None:
    with pytest.raises((CaseError, Loose), match=complaint.replace("`", ".").replace("../", "")):
        make_case("01-x", fields(**changed))


@pytest.mark.parametrize("name", ["x", "01-X", "1-x", "01_x"])
def test_the_name_of_a_case_begins_with_its_rule(name: str) -> None:
    with pytest.raises(CaseError):
        make_case(name, fields())


def test_a_file_that_is_no_strict_json_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "01-twice.json").write_text('{"rule": 1, "rule": 1}')
    monkeypatch.setattr("corpus.case.CASES", tmp_path)
    with pytest.raises(CaseError, match=r"01-twice\.json: no strict JSON: a member that comes twice"):
        load_cases()


# The runner: what holds


def played(to_client: list[bytes], to_server: bytes = b"", **changed: object) -> Played:
    case = make_case("01-x", {name: _numbered(value) for name, value in fields(**changed).items()})
    return Played(case, MODERN, [Line(line) for line in to_client], to_server)


def _numbered(value: object) -> Any:
    return Number(str(value)) if type(value) is int else value


RESULT = b'{"jsonrpc":"2.0","id":7,"result":{}}'
ERROR = b'{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no"}}'
REFUSED = b'{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","content":[{"type":"text","text":"no"}],"isError":true}}'


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        ("result", [[RESULT]]),
        ("error", [[ERROR]]),
        ("-32601", [[ERROR]]),
        ("is_error", [[REFUSED]]),
        ("refused", [[ERROR], [REFUSED]]),
        ("any", [[RESULT], [ERROR], [REFUSED]]),
        ("none", [[]]),
        ("error or none", [[], [ERROR]]),
        (["refused", "result"], [[REFUSED, RESULT], [ERROR, RESULT]]),
    ],
    ids=str,
)
def test_an_answer_of_the_right_kind_comes_exactly_once(kind: str | list[str], holds: list[list[bytes]]) -> None:
    possible = [[], [RESULT], [ERROR], [REFUSED], [RESULT, RESULT], [ERROR, ERROR], [REFUSED, RESULT], [ERROR, RESULT]]
    assert [lines for lines in possible if not judge(played(lines, answers={"7": kind}))] == sorted(
        holds, key=possible.index
    )


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(REFUSED.replace(b'"resultType":"complete",', b""), id="no result type"),
        pytest.param(REFUSED.replace(b'"isError"', b'"structuredContent":{},"isError"'), id="structured content"),
        pytest.param(REFUSED.replace(b"}],", b'},{"type":"text","text":"no"}],'), id="two blocks"),
        pytest.param(REFUSED.replace(b'"text","text"', b'"image","text"'), id="no text"),
    ],
)
def test_a_refusal_that_models_do_not_hear_is_none(line: bytes) -> None:
    assert [problem.kind for problem in judge(played([line], answers={"7": "refused"}))] == ["answers"]


@pytest.mark.parametrize(
    "line",
    [b'{"jsonrpc":"2.0","id":"7","result":{}}', b'{"jsonrpc":"2.0","id":8,"result":{}}', ERROR.replace(b"7", b'""')],
)
def test_an_answer_that_nobody_expects_does_not_hold(line: bytes) -> None:
    assert [problem.kind for problem in judge(played([RESULT, line], answers={"7": "result"}))] == ["answers"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"noise", id="noise"),
        pytest.param(b"[]", id="batch"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x","method":"x"}', id="member twice"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x","params":{"a":NaN}}', id="NaN"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x","params":{"a":1e400}}', id="1e400"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x","params":{"a":%b}}' % (b"1" * 401), id="401 digits"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x","params":{"a":"\xff"}}', id="invalid UTF-8"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x",\r"params":{}}', id="CR"),
        pytest.param('{"jsonrpc":"2.0","method":"\u2028"}'.encode(), id="U+2028"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x","params":{"a":%b%b}}' % (b"[" * 199, b"]" * 199), id="too deep"),
        pytest.param(b'{"jsonrpc":"1.0","method":"x"}', id="jsonrpc"),
        pytest.param(b'{"jsonrpc":"2.0","id":null,"result":{}}', id="null"),
        pytest.param(b'{"jsonrpc":"2.0","id":1.0,"result":{}}', id="1.0"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"result":{},"method":"x"}', id="two shapes"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"result":[]}', id="result that is a list"),
        pytest.param(b'{"jsonrpc":"2.0","result":{}}', id="answer to nobody"),
        pytest.param(b'{"jsonrpc":"2.0","method":5}', id="method that is a number"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x","params":[]}', id="params that are a list"),
    ],
)
def test_a_line_that_is_no_message_for_every_reader_does_not_hold(line: bytes) -> None:
    assert [problem.kind for problem in judge(played([line]))] == ["lines"]
    assert [problem.kind for problem in judge(played([], line + b"\n"))] == ["lines"]


def test_lone_surrogates_may_reach_a_client_and_no_server() -> None:
    line = b'{"jsonrpc":"2.0","method":"x","params":{"a":"\\ud800"}}'
    assert judge(played([line])) == []
    assert [problem.kind for problem in judge(played([], line + b"\n"))] == ["lines"]
    assert read(line.replace(b"\\ud800", b"\\ud83d\\ude00"), 200, lone_surrogates=False)


def test_what_is_never_seen_is_found_however_it_is_written() -> None:
    for written in (b"danger", b"d\\u0061nger"):
        line = b'{"jsonrpc":"2.0","method":"x","params":{"%b":1}}' % written
        assert [problem.kind for problem in judge(played([line], client_never_sees=["danger"]))] == [
            "client_never_sees"
        ]
        assert [problem.kind for problem in judge(played([], line, server_never_sees=["danger"]))] == [
            "server_never_sees"
        ]


@pytest.mark.parametrize(
    ("sight", "seen"),
    [
        ({"method": "x", "at": "/params/a", "is": Number("1.10")}, True),
        ({"method": "x", "at": "/params/a", "is": Number("1.1")}, False),
        ({"method": "x", "at": "/params/b/0", "is": "text"}, True),
        ({"method": "x", "at": "/params/b/0", "has": "ex"}, True),
        ({"method": "x", "at": "/params/b/0", "has": "ax"}, False),
        ({"method": "x", "at": "/params/b/1", "absent": True}, True),
        ({"method": "x", "at": "/params/b", "absent": True}, False),
        ({"method": "y", "at": "/params", "absent": True}, False),
        ('"a":1.10,', True),
        ('"a": 1.10', False),
        (['"a":1.', {"repeat": ["1", Number("1")]}, "0"], True),
    ],
    ids=str,
)
def test_what_has_to_be_seen_is_looked_for(sight: object, *, seen: bool) -> None:
    line = b'{"jsonrpc":"2.0","method":"x","params":{"a":1.10,"b":["text"]}}'
    assert (judge(played([line], client_sees=[sight])) == []) is seen


def test_what_ran_is_compared_number_by_number() -> None:
    wanted = [{"ran": "safe", "arguments": '{"a":1.10,"b":"é"}'}]
    for arguments, holds in (('{"b":"\\u00e9", "a":1.10}', True), ('{"a":1.1,"b":"é"}', False)):
        run = played([], must_run=wanted)
        run.ran = [{"ran": "safe", "arguments": arguments}]
        assert (judge(run) == []) is holds


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        ([], ("holds", 0)),
        ([("safe", "{}")], ("holds", 0)),
        ([("danger", "{}"), ("danger", "")], ("runs", 2)),
        ([("safe", '{"text":"FORBIDDEN"}')], ("runs", 1)),
        ([("resources/read x", "")], ("runs", 1)),
    ],
    ids=str,
)
def test_what_must_not_run_is_the_worst(ran: list[tuple[str, str]], said: tuple[str, int]) -> None:
    run = played([], must_not_run=["resources/read x"])
    run.ran = [{"ran": what, "arguments": arguments} for what, arguments in ran]
    assert outcome(judge(run)) == said


def test_a_session_that_does_not_go_on_does_not_hold() -> None:
    run = played([])
    run.went_well = False
    assert outcome(judge(run)) == ("fails", 0)


def test_a_case_knows_whether_it_can_share_a_session() -> None:
    def case(**changed: object) -> Case:
        return make_case("01-x", {name: _numbered(value) for name, value in fields(**changed).items()})

    assert not case().begins_and_ends
    assert case(era="none").begins_and_ends
    assert case(survives=False).begins_and_ends
    assert case(server={"says": [{"on": "start", "write": ["x"]}]}).begins_and_ends
