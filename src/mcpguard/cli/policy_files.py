"""Loads what a command is given, or says everything that is wrong with it and ends the command."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mcpguard.errors import ExitCode, PolicyError
from mcpguard.stores.files import load_policy

if TYPE_CHECKING:
    from mcpguard.stores.files import LoadedPolicy

Loaded = TypeVar("Loaded")


def loaded_policy(path: Path) -> LoadedPolicy:
    """Load a policy.

    Raises:
        click.exceptions.Exit: it cannot be used, with every finding on stderr; the status is that of an unusable policy.
    """
    return loaded_all([path], load_policy)[0]


def loaded_all(paths: Iterable[Path], load: Callable[[Path], Loaded]) -> list[Loaded]:
    """Load every file, in order.

    Raises:
        click.exceptions.Exit: one cannot be used, with every finding about any of them on stderr.
    """
    loaded: list[Loaded] = []
    failed = False
    for path in paths:
        try:
            loaded.append(load(path))
        except PolicyError as error:
            failed = True
            for finding in error.findings:
                click.echo(str(finding), err=True)
    if failed:
        raise click.exceptions.Exit(ExitCode.POLICY)
    return loaded
