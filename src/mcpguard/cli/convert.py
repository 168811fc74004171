"""Prints a policy of Intercept in our language, and says where the two part."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.cli.console import tell
from mcpguard.errors import ExitCode, GuardError, PolicyError
from mcpguard.stores.text import Remark, printable

if TYPE_CHECKING:
    from mcpguard.convert.conditions import Json
    from mcpguard.convert.notes import Note
    from mcpguard.stores.text import Reading

_WIDTH: Final = 120


@click.command(options_metavar="")
@click.argument("file", metavar="FILE", type=click.Path(readable=False, path_type=Path))
@click.pass_context
def convert(context: click.Context, file: Path) -> None:
    """Convert a policy of Intercept.

    Reads FILE, a YAML policy of PolicyLayer's Intercept, and prints a policy for `mcpguard run`. What has no exact twin is
    written stricter; each such thing is one line on stderr, and a `$comment` beside it. Exits with 3 if Intercept would refuse
    FILE itself.
    """
    from mcpguard.stores.files import findings_in, read_yaml_file

    try:
        reading = read_yaml_file(file)
        policy, notes = _converted(file, reading)
    except PolicyError as error:
        for finding in error.findings:
            click.echo(str(finding), err=True)
        context.exit(ExitCode.POLICY)
    for finding in findings_in(file, _remarks(reading, notes)):
        click.echo(str(finding), err=True)
    if any(note.kind == "ignored" for note in notes) and _is_ours(reading):
        tell(
            f"{printable(str(file))} is a policy of mcpguard already: use it as it is, what is printed here is not the same"
        )
    click.echo(_written(policy, 0))


def _converted(file: Path, reading: Reading) -> tuple[Json, tuple[Note, ...]]:
    from pydantic import ValidationError

    from mcpguard.convert.source import SourceError, read_source
    from mcpguard.convert.translate import convert as convert_source
    from mcpguard.policy.compile import compile_policy
    from mcpguard.policy.model import PolicyFile
    from mcpguard.stores.files import findings_in

    try:
        policy, notes = convert_source(read_source(reading))
    except SourceError as error:
        raise PolicyError(findings_in(file, error.remarks)) from None
    try:
        compile_policy(PolicyFile.model_validate(policy))
    except (ValidationError, PolicyError) as error:
        raise GuardError(
            f"{file}: what comes out of it is no policy: {str(error).splitlines()[0]}",
            "this is a bug in mcpguard; please report it with the file",
        ) from error
    return policy, notes


def _is_ours(reading: Reading) -> bool:
    from pydantic import ValidationError

    from mcpguard.policy.compile import compile_policy
    from mcpguard.policy.model import PolicyFile

    try:
        compile_policy(PolicyFile.model_validate(reading.data))
    except (ValidationError, PolicyError):
        return False
    return True


def _remarks(reading: Reading, notes: tuple[Note, ...]) -> list[Remark]:
    from mcpguard.stores.wording import position_of

    return [
        Remark(position_of(note.pointer, reading, key=True), note.pointer, f"{note.kind}: {note.message}")
        for note in notes
    ]


def _written(value: object, depth: int) -> str:
    """Write JSON for people: what fits is on one line, and numbers keep all their digits."""
    line = _on_one_line(value)
    if not isinstance(value, (dict, list)) or not value or (depth and 2 * depth + len(line) <= _WIDTH):
        return line
    inner, outer = "  " * (depth + 1), "  " * depth
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_written(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{outer}}}"
    parts = [_written(item, depth + 1) for item in value]
    return "[\n" + ",\n".join(inner + part for part in parts) + f"\n{outer}]"


def _on_one_line(value: object) -> str:
    match value:
        case dict() if value:
            return "{ " + ", ".join(f"{json.dumps(key)}: {_on_one_line(item)}" for key, item in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_on_one_line, value)) + "]"
        case Decimal():
            return str(value)
        case _:
            return json.dumps(value)
