"""Loads policies with entries for risk categories, for the commands that look at a policy and do not enforce it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from mcpguard.stores.files import LoadedPolicy, load_policy

if TYPE_CHECKING:
    from pathlib import Path

_NOT_ENFORCED: Final = "mcpguard: `run` does not enforce risk categories yet, and refuses this policy"


def load_with_categories(path: Path) -> LoadedPolicy:
    """Load a policy that may have entries for risk categories, and say on stderr that these are not enforced yet.

    Raises:
        PolicyError: as `load_policy`.
    """
    loaded = load_policy(path, with_categories=True)
    if loaded.policy.categories:
        click.echo(_NOT_ENFORCED, err=True)
    return loaded
