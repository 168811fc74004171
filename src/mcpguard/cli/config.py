"""Reads what the user has configured for themselves, from a file that nobody else can have written.

What is in it makes an agent more powerful, so it is believed only if it is certainly the user's.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from mcpguard.cli.call_text import shown
from mcpguard.errors import GuardError

MAX_CONFIG_BYTES: Final = 64 * 1024
_CONFIG_KEY: Final = "approve_without_terminal"


def may_approve_without_terminal() -> bool:
    """Whether the user's own configuration says that approvals may be given without a terminal.

    Raises:
        GuardError: the file is there, and cannot be used.
    """
    import jiter
    import platformdirs

    path = Path(platformdirs.user_config_dir("mcpguard", appauthor=False)) / "config.json"
    content = _own_file(path)
    if content is None:
        return False
    try:
        config = jiter.from_json(content, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        raise GuardError(f"{shown(str(path))}: this is no JSON: {shown(str(error))}") from None
    if not isinstance(config, dict):
        raise GuardError(f"{shown(str(path))}: expected a JSON object")
    for key in config:
        if key != _CONFIG_KEY:
            raise GuardError(f"{shown(str(path))}: unknown key `{shown(key)}`; there is only `{_CONFIG_KEY}`")
    value = config.get(_CONFIG_KEY, False)
    if not isinstance(value, bool):
        raise GuardError(f"{shown(str(path))}: `{_CONFIG_KEY}` is true or false")
    return value


def _own_file(path: Path) -> bytes | None:
    """Read a file that only we can have written; None if there is none.

    Raises:
        GuardError: others can write it, or it cannot be read.
    """
    where = shown(str(path))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GuardError(f"{where}: the file cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise GuardError(f"{where}: this is no file")
        if found.st_uid not in {os.geteuid(), 0} or stat.S_IMODE(found.st_mode) & 0o022:
            raise GuardError(f"{where}: others may write this file, so it is not believed", "chmod go-w, and own it")
        content = os.read(fd, MAX_CONFIG_BYTES + 1)
    finally:
        os.close(fd)
    if len(content) > MAX_CONFIG_BYTES:
        raise GuardError(f"{where}: a configuration has at most {MAX_CONFIG_BYTES} bytes")
    return content
