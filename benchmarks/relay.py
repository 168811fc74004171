"""Copies bytes between its own stdio and a child's as `relay.c` does, where there is no C compiler.

Usage: `relay.py COMMAND [ARGUMENT...]`.  Gives the child's exit status.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

PIPE_BYTES = 1 << 16


def main(command: list[str]) -> int:
    """Start the command, and copy until the child has ended its output."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert child.stdin is not None
    assert child.stdout is not None
    threading.Thread(target=copy, args=(0, child.stdin.fileno()), daemon=True).start()
    copy(child.stdout.fileno(), 1)
    status = child.wait()
    return status if status >= 0 else 128 - status


def copy(source: int, target: int) -> None:
    """Copy until there is nothing more, or nobody who wants it; then tell that to who reads."""
    try:
        while chunk := os.read(source, PIPE_BYTES):
            while chunk:
                chunk = chunk[os.write(target, chunk) :]
    except OSError:
        pass
    os.close(target)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)
