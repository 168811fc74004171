"""Remembers which servers say nothing to `server/discover`, so that a client need not wait for the same silence twice.

One small file for each server, named by a hash of its command line; losing one costs a client some seconds, nothing else, so
whatever goes wrong here is taken for "not known".
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEPT_NS: Final = 7 * 86_400 * 1_000_000_000


class SilenceMemory:
    """What is known about the server with this command line.  Instants are nanoseconds of the wall clock."""

    def __init__(self, directory: Path, command: Sequence[str]) -> None:
        name = hashlib.sha256("\0".join(command).encode("utf-8", "surrogateescape")).hexdigest()
        self._path = directory / f"{name}.json"

    def is_silent(self, now_ns: int) -> bool:
        """Whether an earlier run found the server silent, at most 7 days ago."""
        found = self._read()
        at = found.get("found_ns")
        return isinstance(at, int) and 0 <= now_ns - at <= KEPT_NS

    def remember(self, server_info: object, now_ns: int) -> None:
        """Keep the finding, with the `serverInfo` that it was made with (None: not known yet)."""
        draft = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps({"found_ns": now_ns, "server": server_info}), encoding="utf-8")
            draft.replace(self._path)
        except OSError:
            return

    def compare(self, server_info: object) -> None:
        """Forget the finding if the server has introduced itself as another one than it was made with."""
        found = self._read()
        if not found or found.get("server") == server_info:
            return
        if found.get("server") is None:
            self.remember(server_info, found["found_ns"])
            return
        try:
            self._path.unlink()
        except OSError:
            return

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) and isinstance(found.get("found_ns"), int) else {}
