"""Says where the parts of a policy stand in its file.

For those who have something to say about a policy that loads; what is wrong with one that does not comes with its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mcpguard.stores.wording import position_of

if TYPE_CHECKING:
    from pathlib import Path

    from mcpguard.stores.text import Position, Reading


def positions_in(path: Path, rules: Iterable[str]) -> dict[str, Position]:
    """Return the place of each JSON Pointer in the policy at `path`, or of what surrounds it; none if it cannot be read."""
    wanted = set(rules)
    reading = _reading(path) if wanted else None
    if reading is None or not reading.complete or reading.remarks:
        return {}
    return {rule: position_of(rule, reading, key=True) for rule in wanted}


def _reading(path: Path) -> Reading | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    if path.suffix.lower() == ".json":
        from mcpguard.stores.json_text import read_json

        return read_json(text)
    from mcpguard.stores.yaml_text import read_yaml

    return read_yaml(text)
