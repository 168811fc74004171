"""Lists the policies that come along, and prints one of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mcpguard.cli.classify import new_console, print_table
from mcpguard.stores.library import library
from mcpguard.stores.text import printable
from mcpguard.stores.wording import closest

if TYPE_CHECKING:
    from mcpguard.stores.library import LibraryPolicy


@click.command(options_metavar="[--cases | --json]", short_help="List or print the reviewed policies.")
@click.argument("name", required=False)
@click.option("--cases", is_flag=True, help="Print the test cases of the policy NAME instead.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON, with an object for each policy.")
def policies(name: str | None, *, cases: bool, as_json: bool) -> None:
    """List the reviewed policies for real servers, or print the policy NAME.

    A policy is printed byte for byte, so that `mcpguard policies git > policy.json` is one that can be used once your own values are
    put in; its description says which. Its test cases prove it: `mcpguard policies git --cases > policy.test.json`.
    """
    if name is None and cases:
        raise click.UsageError("--cases: name the policy; `mcpguard policies` lists them.")
    if name is not None and as_json:
        raise click.UsageError("--json is for the list; a policy is JSON already.")
    found = library()
    if name is not None:
        policy = _named(name, found)
        click.echo((policy.cases if cases else policy.path).read_bytes(), nl=False)
    elif as_json:
        click.echo(json.dumps([_as_json(policy) for policy in found], indent=2))
    else:
        print_table(
            new_console(),
            ["name", "reviewed for", "what it does"],
            [[each.name, f"{each.server} {each.version}", each.about] for each in found],
        )


def _named(name: str, found: tuple[LibraryPolicy, ...]) -> LibraryPolicy:
    by_name = {policy.name: policy for policy in found}
    if name not in by_name:
        meant = next((each.name for each in found if name == each.server), "") or closest(name, by_name)
        hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(f'`{each}`' for each in by_name)}"
        raise click.UsageError(f"there is no policy `{printable(name)}` in the library; {hint}")
    return by_name[name]


def _as_json(policy: LibraryPolicy) -> dict[str, str]:
    return {
        "name": policy.name,
        "server": policy.server,
        "version": policy.version,
        "about": policy.about,
        "description": policy.description,
        "file": str(policy.path),
        "cases": str(policy.cases),
    }
