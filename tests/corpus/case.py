"""Says what a case is, and reads one strictly: an unknown field, token or trait is an error.

README.md describes every field.  Knows no guard and no process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.server import TRAITS
from corpus.strict import Loose, Number, parse

HOME = Path(__file__).parent
CASES = HOME / "cases"
POLICIES = HOME / "policies"

HANDSHAKE = "handshake"
MODERN = "2026-07-28"
NONE = "none"
ERAS = {"both": (HANDSHAKE, MODERN), HANDSHAKE: (HANDSHAKE,), MODERN: (MODERN,), NONE: (NONE,)}

ANSWERS = frozenset(("result", "is_error", "error", "refused", "any", "none", "error or none"))
UNGUARDED = frozenset(("runs", "fails", "holds"))
_REQUIRED = frozenset(("rule", "title", "why", "era", "client", "unguarded"))
_OPTIONAL = frozenset(
    (
        "server",
        "policy",
        "declares",
        "must_not_run",
        "must_run",
        "answers",
        "server_answers",
        "client_sees",
        "client_never_sees",
        "server_sees",
        "server_never_sees",
        "survives",
        "slow",
        "alone",
        "times",
    )
)
_TOKENS = frozenset(("<meta>", "<id>", "<answer>", "<n>"))
_ONCE = frozenset(("start", "initialize", "notifications/initialized"))
"""Triggers that come once in a session."""


class CaseError(Exception):
    """A file that is no case, and why."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a client and a server write, and what has to hold then."""

    name: str
    rule: int
    title: str
    why: str
    era: str
    client: list[Any]
    unguarded: str
    reads: list[str]
    says: list[dict[str, Any]]
    policy: str
    declares: dict[str, Any]
    must_not_run: list[str]
    must_run: list[dict[str, str]]
    answers: dict[str, list[str]]
    server_answers: dict[str, list[str]]
    client_sees: list[Any]
    client_never_sees: list[str]
    server_sees: list[Any]
    server_never_sees: list[str]
    survives: bool
    slow: bool
    alone: bool
    times: int

    @property
    def begins_and_ends(self) -> bool:
        """Whether it is about the beginning or the end of a session, so that nothing can be played before or behind it."""
        return not self.survives or self.era == NONE or bool(_ONCE & {entry["on"] for entry in self.says})

    @property
    def eras(self) -> tuple[str, ...]:
        """The eras that it is played in."""
        return ERAS[self.era]


def load_cases(only: list[str] | None = None) -> list[Case]:
    """Read all cases, or those whose names begin with one of `only`.

    Raises:
        CaseError: a file is no case.
    """
    paths = sorted(CASES.glob("*.json"))
    return [load_case(path) for path in paths if not only or path.stem.startswith(tuple(only))]


def load_case(path: Path) -> Case:
    """Read one case.

    Raises:
        CaseError: with the name of the file.
    """
    try:
        return make_case(path.stem, parse(path.read_text("utf-8")))
    except (Loose, CaseError, UnicodeDecodeError) as error:
        raise CaseError(f"{path.name}: {error}") from error


def make_case(name: str, fields: Any) -> Case:
    """Make a case of the fields of its file.

    Raises:
        CaseError: a field is missing, unknown, or not what it has to be.
    """
    _demand(isinstance(fields, dict), "not an object")
    fields = _with_numbers(fields)
    unknown = fields.keys() - _REQUIRED - _OPTIONAL
    _demand(not unknown, f"unknown fields: {', '.join(sorted(unknown))}")
    missing = _REQUIRED - fields.keys()
    _demand(not missing, f"missing fields: {', '.join(sorted(missing))}")
    _demand(re.fullmatch(r"[0-9]{2}-[a-z0-9-]+", name) is not None, "the name is no `NN-slug`")
    _demand(fields["rule"] == int(name[:2]), "`rule` is not the number in the name")
    for field in ("title", "why"):
        _demand(isinstance(fields[field], str) and len(fields[field]) > 10, f"`{field}` says too little")
    _demand(fields["era"] in ERAS, f"`era` must be one of {', '.join(ERAS)}")
    _demand(fields["unguarded"] in UNGUARDED, f"`unguarded` must be one of {', '.join(sorted(UNGUARDED))}")
    policy = fields.get("policy", "deny")
    _demand((POLICIES / f"{policy}.json").is_file(), f"there is no policy `{policy}`")
    _check_steps(fields["client"])
    server = fields.get("server", {})
    _demand(isinstance(server, dict) and server.keys() <= {"reads", "says"}, "`server` has `reads` and `says`")
    reads, says = server.get("reads", []), server.get("says", [])
    strange = set(reads) - TRAITS.keys()
    _demand(not strange, f"the server cannot read like this: {', '.join(sorted(strange))}")
    for entry in says:
        _demand(isinstance(entry, dict) and entry.keys() == {"on", "write"}, "an entry of `says` has `on` and `write`")
        _check_pieces(entry["write"], exits=True)
    survives = fields.get("survives", True)
    ends = any(step == {"eof": True} for step in fields["client"])
    _demand(not (ends and survives), "nothing survives an `eof`: say `survives: false`")
    return Case(
        name=name,
        rule=fields["rule"],
        title=fields["title"],
        why=fields["why"],
        era=fields["era"],
        client=fields["client"],
        unguarded=fields["unguarded"],
        reads=reads,
        says=says,
        policy=policy,
        declares=fields.get("declares", {}),
        must_not_run=_texts(fields, "must_not_run"),
        must_run=_runs(fields.get("must_run", [])),
        answers=_answers(fields.get("answers", {})),
        server_answers=_answers(fields.get("server_answers", {})),
        client_sees=_sights(fields.get("client_sees", [])),
        client_never_sees=_texts(fields, "client_never_sees"),
        server_sees=_sights(fields.get("server_sees", [])),
        server_never_sees=_texts(fields, "server_never_sees"),
        survives=survives,
        slow=fields.get("slow", False),
        times=fields.get("times", 1 if fields["unguarded"] == "runs" else 0),
        alone=fields.get("alone", False),
    )


def _demand(holds: object, otherwise: str) -> None:
    if not holds:
        raise CaseError(otherwise)


def _with_numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """Give the fields with plain numbers, except where a number's writing matters."""

    def plain(value: Any) -> Any:
        if isinstance(value, Number):
            return int(value.text) if value.text.lstrip("-").isdecimal() else float(value.text)
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items()}
        return [plain(each) for each in value] if isinstance(value, list) else value

    return {name: each if name.endswith("_sees") else plain(each) for name, each in fields.items()}


def _check_steps(steps: Any) -> None:
    _demand(isinstance(steps, list), "`client` is a list of steps")
    for step in steps:
        if isinstance(step, dict) and step.keys() == {"await"}:
            _id_key(step["await"])
        elif isinstance(step, dict) and step.keys() == {"await_method"}:
            _demand(isinstance(step["await_method"], str), "`await_method` names a method")
        elif isinstance(step, dict) and step.keys() == {"bytewise"}:
            _check_pieces([step["bytewise"]], exits=False)
        elif step != {"eof": True}:
            _check_pieces([step], exits=False)


def _check_pieces(pieces: Any, *, exits: bool) -> None:
    _demand(isinstance(pieces, list), "not a list of pieces")
    for piece in pieces:
        match piece:
            case str():
                _demand(all(ord(char) < 256 for char in piece), f"not a text of single bytes: {piece[:60]!r}")
                strange = set(re.findall(r"<[a-z]+>", piece)) - _TOKENS
                _demand(not strange, f"unknown tokens: {', '.join(strange)}")
            case list():
                _check_pieces(piece, exits=False)
            case {"repeat": [str(text), int()], **rest}:
                _demand(not rest and text, "`repeat` has a text and how often")
                _check_pieces([text], exits=False)
            case {"json": dict(), **rest}:
                _demand(not rest, "`json` stands alone")
            case {"exit": int(), **rest}:
                _demand(exits and not rest, "only a server exits")
            case _:
                raise CaseError(f"unknown piece: {str(piece)[:60]}")


def _id_key(text: Any) -> None:
    _demand(isinstance(text, str), "an id is written as JSON text, within quotes")
    _demand(isinstance(parse(text), str | Number | None), f"no id: {text}")


def _texts(fields: dict[str, Any], field: str) -> list[str]:
    value = fields.get(field, [])
    _demand(
        isinstance(value, list) and all(isinstance(each, str) and each for each in value),
        f"`{field}` is a list of texts",
    )
    return list(value)


def _runs(value: Any) -> list[dict[str, str]]:
    _demand(isinstance(value, list), "`must_run` is a list")
    for each in value:
        keys = each.keys() if isinstance(each, dict) else ()
        _demand(
            "ran" in keys and set(keys) <= {"ran", "arguments"},
            "an entry of `must_run` has `ran` and perhaps `arguments`",
        )
    return list(value)


def _answers(value: Any) -> dict[str, list[str]]:
    _demand(isinstance(value, dict), "answers are an object")
    answers = {}
    for id_, kinds in value.items():
        _id_key(id_)
        answers[id_] = [str(kind) for kind in (kinds if isinstance(kinds, list) else [kinds])]
        for kind in answers[id_]:
            _demand(kind in ANSWERS or re.fullmatch(r"-[0-9]+", kind), f"unknown kind of answer: {kind}")
    return answers


def _sights(value: Any) -> list[Any]:
    _demand(isinstance(value, list), "what is seen is a list")
    sights = []
    for each in value:
        if isinstance(each, dict) and each.keys() & {"answer", "method"}:
            _demand(
                len(each) == 3 and "at" in each and bool(each.keys() & {"is", "has", "absent"}),
                "a look at a message has `answer` or `method`, `at`, and `is`, `has` or `absent`",
            )
            sights.append(each)
        else:
            plain = _with_numbers({"piece": each})["piece"]
            _check_pieces([plain], exits=False)
            sights.append(plain)
    return sights
