"""Puts the policies that have test cases beside them into the wheel, as `mcpguard/library/`."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CASES = ".test.json"


class Library(BuildHookInterface[Any]):
    """Names the files; an editable installation finds them in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add each policy and its cases to what the wheel holds."""
        if version == "editable":
            return
        policies = Path(self.root) / "policies"
        for cases in sorted(policies.glob(f"*{CASES}")):
            for file in (cases, policies / f"{cases.name.removesuffix(CASES)}.json"):
                build_data["force_include"][str(file)] = f"mcpguard/library/{file.name}"
