"""Decides what becomes of a policy file that changes while it is in force.

Only what provably tightens is applied under a running server: an agent with a guarded file tool must not be able to open its
own door.  A file that cannot be used leaves the policy in force as it is, and one that is being written is let rest first: half
a file can be a policy, too.
"""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING, TypeAlias

from mcpguard.errors import PolicyError
from mcpguard.policy.compare import loosened
from mcpguard.stores.files import load_policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Final

    from mcpguard.stores.files import LoadedPolicy

Signature: TypeAlias = tuple[int, ...] | None

LOOK_EVERY_S: Final = 1.0
REST_S: Final = 0.25
"""How long a changed file must have been the same before it is read: looks may follow each other at once."""


class Reloader:
    """Watches the file of the policy in force.  `mode` is `tighten`, `any` or `off`.

    `seen` is the file's signature from before `loaded` was read, so that no change falls between the two. `apply` puts
    another policy in force; `tell` says one line to the user and keeps it in the log: (event, sentence).  `clock` gives seconds
    that never go back.
    """

    def __init__(
        self,
        loaded: LoadedPolicy,
        mode: str,
        *,
        seen: Signature,
        apply: Callable[[LoadedPolicy], None],
        tell: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loaded = loaded
        self._mode = mode
        self._apply = apply
        self._tell = tell
        self._clock = clock
        self._dealt_with = self._found = seen
        self._found_s = 0.0

    def look(self) -> None:
        """Look whether the file is another one than was dealt with last; if so, and it has come to rest, apply it or say why not."""
        if self._mode == "off" or not self._rests():
            return
        unusable: PolicyError | None = None
        try:
            changed = load_policy(self._loaded.path, regular_only=True)
        except PolicyError as error:
            unusable = error
        if signature(self._loaded.path) != self._found:
            return  # it was written to while it was read: the next look finds it changed
        self._dealt_with = self._found
        if unusable is not None:
            self._tell("policy_unusable", f"{unusable.findings[0]}; the policy that was in force stays in force")
            return
        if changed.policy.digest == self._loaded.policy.digest:
            return
        found = loosened(self._loaded.document, changed.document) if self._mode == "tighten" else ()
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            self._tell(
                "policy_waits",
                f"{changed.path} has changed, and waits for the next run because it may loosen the policy: {found[0]}{more}; "
                "`--reload any` would have applied it",
            )
            return
        self._apply(changed)
        self._loaded = changed
        self._tell("policy_reloaded", f"{changed.path} has changed, and is in force")

    def _rests(self) -> bool:
        """Whether there is a change to deal with that was there at the last look, too, and for a while."""
        now, now_s = signature(self._loaded.path), self._clock()
        if now != self._found:
            self._found, self._found_s = now, now_s
            return False
        return now != self._dealt_with and now_s - self._found_s >= REST_S


def signature(path: Path) -> Signature:
    """Give what changes when a file is written to or replaced; None for what is no regular file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)
