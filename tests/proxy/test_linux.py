"""What only Linux has does its part there, and nothing where it cannot."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from mcpguard.proxy import linux


def test_a_widened_pipe_takes_a_quarter_of_a_megabyte_before_anybody_reads() -> None:
    out, into = os.pipe()
    try:
        os.set_blocking(into, False)
        linux.widen(into)
        assert fcntl.fcntl(out, fcntl.F_GETPIPE_SZ) == 256 * 1024
        assert os.write(into, bytes(1 << 20)) == 256 * 1024
    finally:
        os.close(out)
        os.close(into)


def test_what_is_no_pipe_is_not_widened_and_nobody_is_told(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        linux.widen(file.fileno())
        assert file.write(b"as before") == 9
