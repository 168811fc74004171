"""Prints the JSON Schema of the policy file, for editors."""

from __future__ import annotations

import json

import click

from mcpguard.policy.model import RISK_CATEGORIES, PolicyFile


@click.command()
def schema() -> None:
    """Print the JSON Schema (2020-12) of a policy file.

    Save it and name it under "$schema" in a policy: editors then complete the keys and mark what is wrong.
    """
    click.echo(json.dumps(policy_schema(), indent=2, ensure_ascii=False))


def policy_schema() -> dict[str, object]:
    """Return the schema: every policy that loads is valid, and contradictions between entries it cannot see."""
    described = _tidied(PolicyFile.model_json_schema())
    # Editors complete the names of categories; they mean the same as any other key.
    named: dict[str, object] = described["properties"]["tools"]["properties"]  # type: ignore[index]
    named |= {
        name: {"$ref": "#/$defs/Tool", "description": f"What holds for the tools of the risk category {category}."}
        for name, category in RISK_CATEGORIES.items()
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described, "title": "mcpguard policy"}


def _tidied(schema: dict[str, object]) -> dict[str, object]:
    # An absent key is not null, and titles made from the names of keys say nothing that the keys do not say.
    tidy = {}
    for key, value in schema.items():
        if (key == "default" and value is None) or (key == "title" and isinstance(value, str)):
            continue
        tidy[key] = _tidied(value) if isinstance(value, dict) else value
    return tidy
