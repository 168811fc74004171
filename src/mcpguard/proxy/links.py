"""Says where paths lead on this machine: the only thing that a judgement asks of the file system."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def resolver(directory: str) -> Callable[[str], str | None]:
    """Return what gives the absolute path, without symbolic links, that a path leads to from `directory`.

    It gives None if that cannot be said: a loop of links, or a directory that may not be searched.  What does not exist is
    where it would be made.
    """
    # The server was started in this directory, and what it is called now is not what it may be called later.
    home = os.path.realpath(directory)

    def resolve(path: str) -> str | None:
        whole = os.path.join(home, path)  # noqa: PTH118 - `pathlib` would tidy the path
        try:
            return os.path.realpath(whole, strict=True)
        except (FileNotFoundError, NotADirectoryError):
            return _where_it_would_be(whole)
        except (OSError, ValueError):
            return None

    return resolve


def _where_it_would_be(path: str) -> str | None:
    real = os.path.realpath(path)
    part = ""
    for name in real.split("/")[1:]:
        part = f"{part}/{name}"
        try:
            if stat.S_ISLNK(os.lstat(part).st_mode):
                return None
        except (FileNotFoundError, NotADirectoryError):
            return real
        except (OSError, ValueError):
            return None
    return real
