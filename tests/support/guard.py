"""Says how the guard is started.

Knows nothing of what it does then.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def guard_argv(policy: Path, *server: str | Path, options: Sequence[str] = ()) -> list[str]:
    """Return the command line that runs `server` under the policy file `policy`.

    `options` are further ones of `mcpguard run`.  It is this interpreter's guard, whatever else is on PATH.
    """
    return [sys.executable, "-m", "mcpguard", "run", "--policy", str(policy), *options, "--", *map(str, server)]


def write_policy(directory: Path, policy: Mapping[str, object]) -> Path:
    """Write `policy` to a file in `directory`, with the `version` that it need not name, and return the path."""
    path = directory / "policy.json"
    path.write_text(json.dumps({"version": "1"} | dict(policy), indent=2))
    return path


def allow_everything(directory: Path) -> Path:
    """Write a policy that refuses nothing."""
    return write_policy(directory, {"default": "allow"})
