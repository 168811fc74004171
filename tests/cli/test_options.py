"""What the small parser of `run` understands, and what it leaves to the full one."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from mcpguard.cli import app
from mcpguard.cli.options import MAX_MESSAGE_BYTES, MIN_MESSAGE_BYTES, RUN_OPTIONS, RunOptions, parse_run

P = ["--policy", "p"]
END = ["--", "server", "a"]

UNDERSTOOD = {
    "the least": ([*P, "--", "server"], {"command": ("server",)}),
    "a value behind an equals sign": (["--policy=p", *END], {}),
    "an equals sign within a value": (["--policy", "a=b", *END], {"policy": "a=b"}),
    "two equals signs": (["--policy=a=b", *END], {"policy": "a=b"}),
    "a grant": ([*P, "--grant", "g", *END], {"grant": "g"}),
    "a log": ([*P, "--log=l", *END], {"log": "l"}),
    "no log": ([*P, "--no-log", *END], {"no_log": True}),
    "an optional log": (["--log-optional", *P, *END], {"log_optional": True}),
    "the smallest size": ([*P, "--max-message-bytes", str(MIN_MESSAGE_BYTES), *END], {"max_message_bytes": 1024}),
    "the largest size": ([*P, f"--max-message-bytes={MAX_MESSAGE_BYTES}", *END], {"max_message_bytes": 1 << 30}),
    "a way to reload": ([*P, "--reload", "any", *END], {"reload": "any"}),
    "no reload": ([*P, "--reload=off", *END], {"reload": "off"}),
    "options of the server": (
        [*P, "--", "server", "--policy", "x", "--", "--log"],
        {"command": ("server", "--policy", "x", "--", "--log")},
    ),
    "an empty argument of the server": ([*P, "--", "server", ""], {"command": ("server", "")}),
}


def fields(options: RunOptions) -> dict[str, object]:
    return {name: getattr(options, name) for name in RunOptions.__slots__}


@pytest.mark.parametrize(("words", "told"), UNDERSTOOD.values(), ids=UNDERSTOOD.keys())
def test_usual_words_are_understood(words: list[str], told: dict[str, object]) -> None:
    options = parse_run(words)
    assert options is not None
    assert fields(options) == fields(RunOptions("p", ("server", "a"))) | told


UNUSUAL = {
    "nothing": [],
    "no command": P,
    "an empty command": [*P, "--"],
    "a command without a name": [*P, "--", ""],
    "no end of the options": [*P, "server"],
    "no policy": END,
    "a policy without a name": ["--policy=", *END],
    "a policy that is an empty word": ["--policy", "", *END],
    "a policy without a value": ["--policy", *END],
    "a value that looks like an option": ["--policy", "--log", *END],
    "an option twice": [*P, *P, *END],
    "a flag twice": [*P, "--no-log", "--no-log", *END],
    "a flag with a value": [*P, "--no-log=yes", *END],
    "an unknown option": [*P, "--polizy", "p", *END],
    "a shortened option": ["--pol", "p", *END],
    "a short option": [*P, "-h", *END],
    "help": ["--help"],
    "an option at the very end": ["--policy"],
    "a log and no log": [*P, "--log", "l", "--no-log", *END],
    "another way to reload": [*P, "--reload", "always", *END],
    "a size of nothing": [*P, "--max-message-bytes", "0", *END],
    "a size too small": [*P, "--max-message-bytes", "1023", *END],
    "a size too large": [*P, "--max-message-bytes", str(MAX_MESSAGE_BYTES + 1), *END],
    "a size of very many digits": [*P, "--max-message-bytes", "9" * 5000, *END],
    "a negative size": [*P, "--max-message-bytes", "-5", *END],
    "a size with a unit": [*P, "--max-message-bytes", "8M", *END],
    "a size in other digits": [*P, "--max-message-bytes", "\u0662\u0662\u0662\u0662", *END],
    "a size in superscript": [*P, "--max-message-bytes", "1024\u00b2", *END],
    "a size with underscores": [*P, "--max-message-bytes", "8_388_608", *END],
}


@pytest.mark.parametrize("words", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_everything_unusual_is_left_to_the_full_parser(words: list[str]) -> None:
    assert parse_run(words) is None


@pytest.mark.parametrize("words", [words for words, _ in UNDERSTOOD.values()], ids=UNDERSTOOD.keys())
def test_both_parsers_understand_the_same(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[RunOptions] = []

    def run(options: RunOptions) -> int:
        found.append(options)
        raise SystemExit(0)

    monkeypatch.setattr("mcpguard.cli.run.run", run)
    CliRunner().invoke(app.app, ["run", *words], standalone_mode=False)
    options = parse_run(words)
    assert options is not None
    assert [fields(each) for each in found] == [fields(options)]


def test_every_option_is_in_the_help_text() -> None:
    text = " ".join(CliRunner().invoke(app.app, ["run", "--help"]).output.split())
    for option in RUN_OPTIONS:
        assert f"{option.name} {option.metavar}".strip() in text
        assert " ".join(option.help.split()) in text
