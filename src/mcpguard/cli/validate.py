"""Says whether policies can be used, and everything that is wrong with those that cannot."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.cli.console import counted
from mcpguard.errors import ExitCode, Finding, PolicyError
from mcpguard.policy.compile import limits_of, rules_of
from mcpguard.stores.files import LoadedPolicy, load_policy

if TYPE_CHECKING:
    from mcpguard.policy.model import Action, PolicyFile

_DONE: Final[dict[Action, str]] = {
    "allow": "allowed",
    "deny": "denied",
    "hide": "hidden",
    "require_approval": "needing approval",
}


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(readable=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with an object for each file.")
@click.pass_context
def validate(context: click.Context, files: tuple[Path, ...], *, as_json: bool) -> None:
    """Check policy files without starting anything.

    Prints one line for each good FILE with a summary of what it does, and notes on what may surprise; for each other
    one all of its errors as file:line:column: message.  Exits with 0 if every file can be used as a policy, with 3 if
    one cannot.
    """
    results = [(path, _loaded(path)) for path in files]
    if as_json:
        click.echo(json.dumps([_as_json(path, result) for path, result in results], indent=2))
    else:
        for path, result in results:
            for line in _lines(path, result):
                click.echo(line)
    if any(isinstance(result, PolicyError) for _, result in results):
        context.exit(ExitCode.POLICY)


def summary(document: PolicyFile) -> str:
    """Say in one line what a policy does: `default deny; 1 tool allowed, 1 limit`."""
    actions = Counter(tool.action for tool in document.tools.values())
    parts: list[str] = []
    for action, done in _DONE.items():
        if actions[action]:
            parts.append(f"{counted(actions[action], 'tool')} {done}" if not parts else f"{actions[action]} {done}")
    others = {
        "hidden pattern": len(document.hide),
        "rule": sum(1 for _ in rules_of(document)),
        "limit": sum(1 for _ in limits_of(document)),
        "resource pattern": len(document.resources or ()),
        "prompt pattern": len(document.prompts or ()),
        "method": len(document.methods),
    }
    parts += [counted(count, noun) for noun, count in others.items() if count]
    return f"default {document.default}; {', '.join(parts) or 'nothing named'}"


def _loaded(path: Path) -> LoadedPolicy | PolicyError:
    try:
        return load_policy(path)
    except PolicyError as error:
        return error


def _lines(path: Path, result: LoadedPolicy | PolicyError) -> list[str]:
    if isinstance(result, PolicyError):
        return [str(finding) for finding in result.findings]
    return [f"{path}: ok: {summary(result.document)}", *(f"{path}: note: {note}" for note in result.notes)]


def _as_json(path: Path, result: LoadedPolicy | PolicyError) -> dict[str, object]:
    return {
        "file": str(path),
        "ok": isinstance(result, LoadedPolicy),
        "errors": [_error_as_json(finding) for finding in result.findings] if isinstance(result, PolicyError) else [],
        "notes": [] if isinstance(result, PolicyError) else list(result.notes),
    }


def _error_as_json(finding: Finding) -> dict[str, object]:
    return {"line": finding.line, "column": finding.column, "message": finding.message, "rule": finding.rule}
