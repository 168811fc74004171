"""Judges what happened while a case was played: what always has to hold, and what the case demands.

Knows no process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corpus import strict
from corpus.case import MODERN
from corpus.play import FENCE, HELLO
from corpus.server import expand

if TYPE_CHECKING:
    from corpus.play import Played

CLIENT_DEPTH = 128
SERVER_DEPTH = 200
RAN = "ran"
"""The kind of a problem that is worst: something ran that must never run."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not hold: which demand, and what was found instead."""

    kind: str
    found: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.found}"


def judge(played: Played) -> list[Problem]:
    """Give everything that does not hold."""
    client, problems = _messages([line.raw for line in played.to_client], SERVER_DEPTH, "client", lone_surrogates=True)
    raw_lines = [line for line in played.to_server.split(b"\n") if line.strip(b" \t\r")]
    server, server_problems = _messages(raw_lines, CLIENT_DEPTH, "server", lone_surrogates=False)
    case = played.case
    client_raw = [line.raw for line in played.to_client if not _is_ours(line.raw)]
    server_raw = [line for line in raw_lines if not _is_ours(line)]
    problems = [
        *_forbidden(played),
        *_missing_runs(played),
        *problems,
        *server_problems,
        *(Problem("waiting", missed) for missed in played.missed),
        *_wrong_answers(client, case.answers, "client", modern=played.era == MODERN),
        *_wrong_answers(server, case.server_answers, "server", modern=False),
        *_unseen(client, b"\n".join((*client_raw, b"")), case.client_sees, "client"),
        *_unseen(server, b"\n".join((*server_raw, b"")), case.server_sees, "server"),
        *_seen(b"\n".join(client_raw), client, case.client_never_sees, "client"),
        *_seen(b"\n".join(server_raw), server, case.server_never_sees, "server"),
    ]
    if not played.went_well:
        words = "the session did not go on" if case.survives else "the session did not end"
        problems.append(Problem("survives", words))
    return problems


def _is_ours(line: bytes) -> bool:
    """Whether a line belongs to a call that the runner makes to be sure, and not to the case."""
    return f'"{FENCE}'.encode() in line


def outcome(problems: list[Problem]) -> tuple[str, int]:
    """Put it into the word that `unguarded` has for it, and say how often something ran that must never run."""
    times = sum(problem.kind == RAN for problem in problems)
    return "runs" if times else "fails" if problems else "holds", times


def _messages(
    lines: list[bytes], max_depth: int, side: str, *, lone_surrogates: bool
) -> tuple[list[dict[str, Any]], list[Problem]]:
    messages, problems = [], []
    for line in lines:
        try:
            messages.append(strict.read(line, max_depth, lone_surrogates=lone_surrogates))
        except strict.Loose as loose:
            problems.append(Problem("lines", f"the {side} got {_short(line)} ({loose})"))
    return messages, problems


def _forbidden(played: Played) -> list[Problem]:
    never = {"danger", *played.case.must_not_run}
    return [
        Problem(RAN, f"{run['ran']} with {run['arguments'][:100]}")
        for run in played.ran
        if run["ran"] in never or (run["ran"] == "safe" and "FORBIDDEN" in run["arguments"])
    ]


def _missing_runs(played: Played) -> list[Problem]:
    problems = []
    for wanted in played.case.must_run:
        times = sum(_is_run(run, wanted) for run in played.ran)
        if times != 1:
            others = [run for run in played.ran if "fence" not in run["arguments"]]
            problems.append(
                Problem("must_run", f"{str(wanted)[:200]} ran {times} times; there ran {str(others)[:300]}")
            )
    return problems


def _is_run(run: dict[str, str], wanted: dict[str, str]) -> bool:
    if run["ran"] != wanted["ran"]:
        return False
    if "arguments" not in wanted:
        return True
    try:
        return bool(strict.parse(run["arguments"]) == strict.parse(wanted["arguments"]))
    except strict.Loose:
        return run["arguments"] == wanted["arguments"]


def _wrong_answers(
    messages: list[dict[str, Any]], expected: dict[str, list[str]], side: str, *, modern: bool
) -> list[Problem]:
    came: dict[str, list[dict[str, Any]]] = {}
    for message in messages:
        if "method" not in message:
            came.setdefault(strict.key(message.get("id")), []).append(message)
    wanted = {strict.key(strict.parse(id_)): kinds for id_, kinds in expected.items()}
    problems = []
    for id_, answers in came.items():
        if id_ not in wanted and not id_.startswith((f'"{FENCE}', f'"{HELLO}"')):
            problems.append(Problem("answers", f"the {side} got an answer to {id_}: {_short(_text(answers[0]))}"))
        elif id_ not in wanted and len(answers) > 1:
            problems.append(Problem("answers", f"the {side} got {len(answers)} answers to {id_}"))
    for id_, kinds in wanted.items():
        answers = came.get(id_, [])
        fits = len(answers) == len(kinds) and all(
            _is_kind(answer, kind, modern=modern) for answer, kind in zip(answers, kinds, strict=True)
        )
        nothing = not answers and kinds in (["none"], ["error or none"])
        if not (fits or nothing):
            got = ", ".join(_short(_text(answer)) for answer in answers) or "nothing"
            problems.append(Problem("answers", f"to {id_} the {side} should get {', '.join(kinds)}; it got {got}"))
    return problems


def _is_kind(answer: dict[str, Any], kind: str, *, modern: bool) -> bool:
    error, result = answer.get("error"), answer.get("result")
    is_error = isinstance(result, dict) and result.get("isError") is True
    match kind:
        case "any":
            return True
        case "error" | "error or none":
            return isinstance(error, dict)
        case "result":
            return isinstance(result, dict) and not is_error
        case "is_error":
            return is_error and _is_one_text(result, modern=modern)
        case "refused":
            return isinstance(error, dict) or (is_error and _is_one_text(result, modern=modern))
        case "none":
            return False
        case _:
            return isinstance(error, dict) and error.get("code") == strict.Number(kind)


def _is_one_text(result: Any, *, modern: bool) -> bool:
    """Whether a refusal reaches the model in every client: one block of text and nothing structured."""
    content = result.get("content")
    return (
        isinstance(content, list)
        and len(content) == 1
        and isinstance(content[0], dict)
        and content[0].get("type") == "text"
        and isinstance(content[0].get("text"), str)
        and "structuredContent" not in result
        and (not modern or result.get("resultType") == "complete")
    )


def _unseen(messages: list[dict[str, Any]], raw: bytes, sights: list[Any], side: str) -> list[Problem]:
    problems = []
    for sight in sights:
        if isinstance(sight, dict) and "at" in sight:
            found = [_at(message, sight["at"]) for message in messages if _is_meant(message, sight)]
            good = [_fits(one, sight) for one in found]
            if not good or not all(good):
                shown = "; ".join(_short(_text(one[0])) if one else "nothing" for one in found) or "no such message"
                problems.append(Problem(f"{side}_sees", f"{_short(_text(sight))}: found {shown}"))
        elif b"".join(expand(sight, {})) not in raw:
            problems.append(Problem(f"{side}_sees", f"{_short(_text(sight))} did not come"))
    return problems


def _fits(found: tuple[Any, ...], sight: dict[str, Any]) -> bool:
    if "has" in sight:
        return bool(found) and isinstance(found[0], str) and sight["has"] in found[0]
    return found == (() if "absent" in sight else (sight["is"],))


def _is_meant(message: dict[str, Any], sight: dict[str, Any]) -> bool:
    if "method" in sight:
        return bool(message.get("method") == sight["method"])
    return "method" not in message and strict.key(message.get("id")) == strict.key(strict.parse(sight["answer"]))


def _at(value: Any, pointer: str) -> tuple[Any, ...]:
    """Give what a JSON Pointer points at, in a tuple; an empty one if there is nothing."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return ()
    return (value,)


def _seen(raw: bytes, messages: list[dict[str, Any]], never: list[str], side: str) -> list[Problem]:
    if not never:
        return []
    theirs = [message for message in messages if not str(message.get("id")).startswith(FENCE)]
    read = [text for message in theirs for text in strict.texts(message)]
    return [
        Problem(f"{side}_never_sees", json.dumps(text))
        for text in never
        if text.encode("utf-8", "surrogatepass") in raw or any(text in each for each in read)
    ]


def _text(value: object) -> bytes:
    return json.dumps(value, default=repr).encode()


def _short(line: bytes) -> str:
    shown = ascii(line)[2:-1]
    return shown if len(shown) <= 240 else f"{shown[:160]} … {shown[-80:]}"
