"""Patterns about paths, and the paths with `..` that get past them."""

from __future__ import annotations

import posixpath

import pytest

from mcpguard.policy.patterns import compile_regex
from mcpguard.policy.traversal import path_into, path_out_of


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("^/srv/docs/.*", "/srv/docs/../x"),
        ("^/srv/docs/.*$", "/srv/docs/../x"),
        ("/srv/docs", "/srv/docs/../x"),
        (r"^/srv/docs/.+\.md$", "/srv/docs/../x.md"),
        (r"^\/srv\/docs\/.*\.(md|txt)$", None),
        ("^/srv/docs/[a-z./]{1,99}$", "/srv/docs/../x"),
        ("^/srv/docs/[a-z]+[.]md$", None),
        ("^/srv/docs$", None),
        (r"^/srv/docs/[^.]+", "/srv/docs/x/../../x"),
        (r"^/srv/\w+/.*", "/srv/x/../../x"),
        ("^/.*", None),
        ("^//.*", None),
        ("^s3://bucket/.*", None),
        ("^https://docs.example.com/.*", None),
        ("docs/.*", None),
        ("^/srv/docs?/.*", "/srv/doc/../x"),
        ("", None),
    ],
)
def test_a_pattern_that_accepts_is_left_upwards(pattern: str, path: str | None) -> None:
    assert path_out_of(pattern) == path
    if path is not None:
        assert compile_regex(pattern)(path)
        assert ".." not in posixpath.normpath(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("^/etc/", "/x/../etc/x"),
        ("^/etc/.*$", "/x/../etc/x"),
        ("^/etc", "/x/../etc/x"),
        (r"^/srv/.*\.key$", "/x/../srv/x.key"),
        ("/etc/", None),
        ("^/etc/passwd$", None),
        ("^/", None),
        ("^s3://", None),
    ],
)
def test_a_pattern_that_refuses_is_entered_by_another_way(pattern: str, path: str | None) -> None:
    assert path_into(pattern) == path
    if path is not None:
        assert not compile_regex(pattern)(path)
        assert compile_regex(pattern)(posixpath.normpath(path))
