"""Checks what paths find, and which keys could be taken for those that they name."""

from __future__ import annotations

import pytest

from mcpguard.policy.paths import ABSENT, BLOCKED, PathError, parse_path
from mcpguard.policy.rules import names_of


@pytest.mark.parametrize(
    ("path", "arguments", "found"),
    [
        pytest.param("args.a.b", {"a": {"b": 1}}, 1, id="keys"),
        pytest.param("args.a.1", {"a": [1, 2]}, 2, id="an index of a list"),
        pytest.param("args.a.1", {"a": {"1": 2}}, 2, id="digits as a key of an object"),
        pytest.param("args.a.2", {"a": [1, 2]}, ABSENT, id="past the end"),
        pytest.param("args.a.99999999999999999999999", {"a": [1]}, ABSENT, id="far past the end"),
        pytest.param("args.a.01", {"a": [1, 2]}, BLOCKED, id="no index"),
        pytest.param("args.a.b", {"a": [{"b": 1}]}, BLOCKED, id="a name in a list"),
        pytest.param("args.a.b", {"a": "{}"}, BLOCKED, id="a step into a string"),
        pytest.param("args.a.b", {"a": 0}, BLOCKED, id="a step into a number"),
        pytest.param("args.a.b", {"a": False}, BLOCKED, id="a step into a boolean"),
        pytest.param("args.a.b.c", {"a": {"b": None}}, ABSENT, id="a step into null"),
        pytest.param("args.a.b", {"a": {}}, ABSENT, id="a missing key"),
        pytest.param("args.a", {"a": None}, None, id="null at the end"),
        pytest.param("/a.b/c~1d~0e", {"a.b": {"c/d~e": 1}}, 1, id="a JSON Pointer"),
        pytest.param("/*", {"*": 1}, 1, id="no wildcard in a JSON Pointer"),
        pytest.param("/", {"": 1}, 1, id="the empty key"),
    ],
)
def test_a_path_finds_a_value_or_says_why_not(path: str, arguments: dict[str, object], found: object) -> None:
    assert parse_path(path).find(arguments) is found or parse_path(path).find(arguments) == found
    assert [value for _, value in parse_path(path).find_all(arguments)] == [found]


@pytest.mark.parametrize(
    ("path", "arguments", "found"),
    [
        pytest.param("args.a.*.b", {"a": [{"b": 1}, {}, 5]}, [1, ABSENT, BLOCKED], id="elements"),
        pytest.param("args.a.*", {"a": {"x": 1, "y": 2}}, [1, 2], id="values"),
        pytest.param("args.*.*", {"a": [1], "b": [], "c": "x"}, [1, ABSENT, BLOCKED], id="twice"),
        pytest.param("args.a.*", {"a": []}, [ABSENT], id="nothing to range over"),
        pytest.param("args.a.*", {"a": None}, [ABSENT], id="null"),
        pytest.param("args.a.*", {}, [ABSENT], id="nothing"),
        pytest.param("args.a.*", {"a": "[1]"}, [BLOCKED], id="text"),
    ],
)
def test_a_star_ranges_over_elements_and_values(path: str, arguments: dict[str, object], found: list[object]) -> None:
    assert [value for _, value in parse_path(path).find_all(arguments)] == found
    assert parse_path(path).has_many


@pytest.mark.parametrize("text", ["", "args", "args.", "a.b", "args..a", "args.a.", "/a~b", "/~2"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(PathError):
        parse_path(text)


@pytest.mark.parametrize(
    ("paths", "arguments", "alias"),
    [
        pytest.param(["args.user_id"], {"userId": 1}, (("userId",), "user_id"), id="another style"),
        pytest.param(["args.user_id"], {"user_id": 1, "USER-ID": 1}, (("USER-ID",), "user_id"), id="both"),
        pytest.param(["args.user_id"], {"user_id": 1, "userid2": 1}, None, id="another name"),
        pytest.param(["args.user_id", "args.userId"], {"userId": 1}, (("userId",), "user_id"), id="two that are alike"),
        pytest.param(["args.a.b"], {"a": {"B": 1}}, (("a", "B"), "b"), id="at its depth"),
        pytest.param(["args.a.b"], {"B": 1, "c": {"B": 1}}, None, id="only at its depth"),
        pytest.param(["args.a.*.b"], {"a": [{"b": 1}, {"_b": 1}]}, (("a", 1, "_b"), "b"), id="below a star"),
        pytest.param(["args.*.b"], {"x": {"B": 1}}, (("x", "B"), "b"), id="below a star over values"),
        pytest.param(["args.a.0.b"], {"a": [{"B": 1}]}, (("a", 0, "B"), "b"), id="below an index"),
        pytest.param(["args.a.1.b"], {"a": [{"B": 1}]}, None, id="below an index past the end"),
        pytest.param(["args.a.b"], {"a": "x"}, None, id="no object"),
        pytest.param(["args.strasse"], {"stra\u00dfe": 1}, (("stra\u00dfe",), "strasse"), id="case folding"),
    ],
)
def test_a_key_that_could_be_taken_for_a_named_one_is_found(
    paths: list[str], arguments: dict[str, object], alias: object
) -> None:
    assert names_of(map(parse_path, paths)).alias_in(arguments) == alias
