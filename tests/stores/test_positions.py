"""Checks where the parts of a policy that loads are said to stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcpguard.stores.positions import positions_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("p.json", '{"version": "1",\n "tools": {\n  "a": {}}}', id="JSON"),
        pytest.param("p.yaml", "version: '1'\ntools:\n  a: {}\n", id="YAML"),
    ],
)
def test_a_part_stands_at_its_key_or_in_what_surrounds_it(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    places = positions_in(path, ["/tools/a", "/tools/a/limits/0", "/default"])
    assert places == {"/tools/a": (3, 3), "/tools/a/limits/0": (3, 3), "/default": (1, 1)}


def test_a_file_that_has_gone_bad_has_no_places(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    assert positions_in(path, []) == {}
    assert positions_in(path, ["/tools"]) == {}
    path.write_text("{")
    assert positions_in(path, ["/tools"]) == {}
