"""Checks where paths are said to lead."""

from __future__ import annotations

from pathlib import Path

from mcpguard.proxy.links import resolver


def test_links_are_followed_and_relative_paths_begin_at_the_directory(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    resolve = resolver(str(tmp_path))
    home = str(tmp_path.resolve())
    assert resolve(".") == home
    assert resolve("link/x/../y") == f"{home}/real/y"
    assert resolve("link/../z") == f"{home}/z"
    assert resolve("/") == "/"


def test_what_does_not_exist_is_where_it_would_be_made(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "deeper")
    (tmp_path / "file").write_text("")
    resolve = resolver(str(tmp_path))
    home = str(tmp_path.resolve())
    assert resolve("none/at/all") == f"{home}/none/at/all"
    assert resolve("dangling") == f"{home}/nowhere/deeper"
    assert resolve("file/below") == f"{home}/file/below"
    assert resolve("none/../file") == f"{home}/file"


def test_what_leads_in_a_circle_or_has_no_name_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    resolve = resolver(str(tmp_path))
    assert resolve("loop") is None
    assert resolve("loop/x") is None
    assert resolve("none/../loop") is None
    assert resolve("a\0b") is None
