"""Checks what is taken out of the texts that people and models read, and that nothing else is touched."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.protocol import splice
from mcpguard.protocol.cleaning import (
    clean_description,
    clean_introduction,
    clean_item,
    clean_text,
    is_clean,
    may_need_cleaning,
)

ESC, BEL, ST = "\x1b", "\x07", "\x1b\\"
SINGLE = [chr(code) for code in (0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF)]
RANGES = [(0x00, 0x08), (0x0B, 0x1F), (0x80, 0x9F), (0x202A, 0x202E), (0x2060, 0x206F), (0xE0000, 0xE01EF)]
REMOVED = {*SINGLE, *(chr(code) for first, last in RANGES for code in range(first, last + 1))}

HARMLESS = [
    "plain",
    "two\nlines\tand a tab",
    "r\u00e9sum\u00e9 \u00fcber \u201cquotes\u201d \u2014 \u00a0\u2026\u20ac",
    "\u9053\u5177\u3002\u3000\u30c4\u30fc\u30eb",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
    "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\u2028 and \u2029 and \x7f",
    "[31m C:\\users\\bob \\u200b",
]


# Characters


def test_every_character_of_the_list_goes_and_no_other() -> None:
    kept = {character for character in map(chr, range(0x110000)) if clean_text(f"a{character}b") == f"a{character}b"}
    gone = {character for character in map(chr, range(0x110000)) if character not in kept}
    assert gone == REMOVED
    assert {unicodedata.category(character) for character in gone} <= {"Cc", "Cf", "Mn", "Cn"}


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_without_them_stays(text: str) -> None:
    assert clean_text(text) is text
    assert is_clean(text)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        pytest.param(f"a{ESC}[31mred{ESC}[0m", "ared", id="colours"),
        pytest.param(f"a{ESC}[?25;1 qb", "ab", id="parameters and an intermediate"),
        pytest.param(f"a{ESC}[", "a", id="an introduction at the end"),
        pytest.param(f"a{ESC}[12;", "a", id="parameters at the end"),
        pytest.param(f"a{ESC}[1\u00e9b", "a\u00e9b", id="no final character"),
        pytest.param("a\x9b31mb", "ab", id="CSI as one character"),
        pytest.param(f"a{ESC}]0;title{BEL}b", "ab", id="OSC up to BEL"),
        pytest.param(f"a{ESC}]8;;http://x{ST}link{ESC}]8;;{ST}b", "alinkb", id="OSC up to ST"),
        pytest.param(f"a{ESC}]0;t\x9cb", "ab", id="OSC up to ST as one character"),
        pytest.param(f"a\x9d0;t{BEL}b", "ab", id="OSC as one character"),
        pytest.param(f"a{ESC}]0;t{ST}b{BEL}c", "abc", id="the first of both ends"),
        pytest.param(f"a{ESC}]0;t{BEL}b{ST}c", "abc", id="the first of both ends, the other way round"),
        pytest.param(f"a{ESC}]0;never ends", "a0;never ends", id="OSC without an end is seen"),
        pytest.param(f"a{ESC}Pq#0{BEL}!{ST}b", "ab", id="DCS, which BEL does not end"),
        pytest.param(f"a{ESC}_x{ST}{ESC}^y{ST}{ESC}Xz{ST}b", "ab", id="APC, PM, SOS"),
        pytest.param("a\x90x\x9c\x98y\x9c\x9ez\x9c\x9fw\x9cb", "ab", id="the same as one character"),
        pytest.param(f"a{ESC}Pnever ends{BEL}", "anever ends", id="DCS without an end is seen"),
        pytest.param(f"a{ESC}(Bb{ESC}7c{ESC}=d{ESC}cE", "abcdE", id="other sequences"),
        pytest.param(f"a{ESC}", "a", id="ESC at the end"),
        pytest.param(f"a{ESC}\u00e9{ESC}{ESC}[mb", "a\u00e9b", id="ESC before what it does not introduce"),
        pytest.param("a\x9cb\x85c", "abc", id="stray C1 controls"),
        pytest.param("a\r\nb\x0bc\x0cd", "a\nbcd", id="CR and its kin"),
        pytest.param("\u202eevil\u202c\u2066x\u2069", "evilx", id="directions"),
        pytest.param("".join(chr(0xE0000 + ord(c)) for c in "hidden orders") + "shown", "shown", id="tags"),
        pytest.param("x\U000e0100\U000e01ef", "x", id="variation selectors"),
        pytest.param("\u200b\u2060\ufeff", "", id="nothing else"),
    ],
)
def test_what_nobody_sees_is_taken_away(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned
    assert not is_clean(text)


def test_many_beginnings_without_an_end_are_read_once() -> None:
    assert clean_text(f"{ESC}]" * 300_000) == ""
    assert clean_text(f"{ESC}]{ESC}P{BEL}" * 200_000) == ""


pieces = st.lists(
    st.one_of(
        st.sampled_from(
            [ESC, BEL, ST, f"{ESC}[", f"{ESC}]", f"{ESC}P", "\x9b", "\x9d", "\x9c", "\x90", "1;2", "m", " ", "\u00e9"]
        ),
        st.sampled_from(["\u200b", "\u00ad", "\U000e0041", "\r", "\n", "\u200d", "a", "[31m", "\\", "\ufeff"]),
        st.text(max_size=3),
    ),
    max_size=8,
).map("".join)

SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b\]|\x9d)(?:.*?(?:\x07|\x1b\\|\x9c))?"
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])(?:.*?(?:\x1b\\|\x9c))?"
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)


def expected_text(text: str) -> str:
    return "".join(character for character in SEQUENCE.sub("", text) if character not in REMOVED)


@given(pieces)
@settings(max_examples=500, deadline=None)
def test_a_cleaned_text_is_clean_and_stays_so(text: str) -> None:
    cleaned = clean_text(text)
    assert cleaned == expected_text(text)
    assert is_clean(cleaned)
    assert clean_text(cleaned) is cleaned
    assert is_clean(text) is (cleaned == text)


# The look at a line


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_line_is_looked_at_more_closely_for_every_such_character(ascii_only: bool) -> None:
    for character in REMOVED:
        line = json.dumps({"a": f"x\u00e9{character}y"}, ensure_ascii=ascii_only).encode()
        assert may_need_cleaning(line), repr(character)


@pytest.mark.parametrize("escape", ["\\u200B", "\\ufEFF", "\\uDB40\\uDC41", "\\u00Ad", "\\b", "\\f", "\\r", "\\u001B"])
def test_escapes_are_known_in_either_case(escape: str) -> None:
    assert may_need_cleaning(b'{"a":"' + escape.encode() + b'"}')
    assert may_need_cleaning(b'{"a":"\\\\' + escape.encode() + b'"}')


@pytest.mark.parametrize("text", HARMLESS)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_line_of_harmless_text_is_not(text: str, ascii_only: bool) -> None:
    line = json.dumps({"a": text, "b": 'x\\y "quoted" \\user'}, ensure_ascii=ascii_only).encode() + b"\n"
    # A backslash that is text itself is not told from one that escapes: that only costs a closer look.
    assert may_need_cleaning(line) is ("\\u200b" in text)


# What of an item is read


def cleaned(value: Any, how: Any = clean_item) -> Any:
    """Clean a value the way a line is: by what is to be changed in its text."""
    text = json.dumps(value, ensure_ascii=False)
    changes, count = how(value)
    written = splice.rewrite(text, 0, changes)[0] if changes else text
    assert (count == 0) is (not changes)
    assert (json.loads(written) == value) is (count == 0)
    return json.loads(written)


X = "x\u200b\x1b[1m"


def test_texts_of_every_kind_of_item_are_cleaned() -> None:
    item = {
        "name": X,
        "uri": X,
        "uriTemplate": X,
        "title": X,
        "description": X,
        "mimeType": X,
        "annotations": {"title": X, "description": X, "audience": [X]},
        "arguments": [{"name": X, "title": X, "description": X, "required": True}, X, None],
        "icons": [{"src": X, "title": X}],
        "_meta": {"title": X},
        "size": 1,
    }
    expected = {
        **item,
        "title": "x",
        "description": "x",
        "annotations": {"title": "x", "description": X, "audience": [X]},
        "arguments": [{"name": X, "title": "x", "description": "x", "required": True}, X, None],
    }
    assert cleaned(item) == expected
    assert clean_item(item)[1] == 5 * (len(X) - 1)


def test_a_text_that_holds_nothing_else_is_empty_then() -> None:
    assert cleaned({"description": "\u200b", "title": ""}) == {"description": "", "title": ""}


@pytest.mark.parametrize("key", ["inputSchema", "outputSchema"])
def test_texts_are_cleaned_anywhere_in_a_schema_and_neither_names_nor_data(key: str) -> None:
    texts = {"title": X, "description": X}
    clean = {"title": "x", "description": "x"}

    def schema(texts: dict[str, str]) -> dict[str, Any]:
        return {
            **texts,
            "type": "object",
            "$comment": X,
            "pattern": X,
            "required": [X, "title"],
            "enum": [{"title": X}, X],
            "const": {"description": X},
            "default": {"title": X, "properties": {"description": X}},
            "examples": [{"title": X}],
            "properties": {
                "title": {**texts, "default": X},
                "description": {"type": "string", "enum": [X], **texts},
                "enum": {**texts, "items": {**texts, "enum": [X]}},
                "default": texts,
                "properties": {**texts, "properties": {"const": texts}},
                X: {"const": X},
            },
            "patternProperties": {"title": texts, X: texts},
            "$defs": {"examples": texts},
            "definitions": {"description": texts},
            "dependentSchemas": {"title": texts},
            "dependencies": {"title": texts, "description": [X]},
            "dependentRequired": {"title": [X]},
            "items": [texts, True, {"anyOf": [texts, {"not": texts}]}],
            "prefixItems": [texts],
            "additionalProperties": texts,
            "if": texts,
            "x-of-our-own": {"deep": [{"deeper": texts}]},
        }

    assert cleaned({"name": "a", key: schema(texts)}) == {"name": "a", key: schema(clean)}


def test_a_property_that_is_no_schema_is_no_text() -> None:
    item = {"inputSchema": {"properties": {"title": X, "description": [X]}, "title": {"description": X}}}
    expected = {"inputSchema": {**item["inputSchema"], "title": {"description": "x"}}}
    assert cleaned(item) == expected


def test_members_in_another_case_are_cleaned_too() -> None:
    item = {
        "Description": X,
        "InputSchema": {"TITLE": X, "Enum": [{"title": X}], "Properties": {"title": {"Title": X}}},
    }
    expected = {
        "Description": "x",
        "InputSchema": {"TITLE": "x", "Enum": [{"title": X}], "Properties": {"title": {"Title": "x"}}},
    }
    assert cleaned(item) == expected


@pytest.mark.parametrize(
    "item", [{"title": 1, "description": [X], "inputSchema": X, "annotations": [X], "arguments": {"title": X}}]
)
def test_what_has_another_shape_stays(item: Any) -> None:
    assert cleaned(item) == item


def test_an_introduction_is_cleaned_where_it_speaks_of_the_server() -> None:
    info = {"name": X, "title": X, "description": X, "version": X}
    clean = {**info, "title": "x", "description": "x"}
    key = "io.modelcontextprotocol/serverInfo"
    result = {"instructions": X, "serverInfo": info, "_meta": {key: info, "other": X}, "capabilities": {"title": X}}
    expected = {**result, "instructions": "x", "serverInfo": clean, "_meta": {key: clean, "other": X}}
    assert cleaned(result, clean_introduction) == expected
    assert cleaned({"instructions": 1, "serverInfo": X, "_meta": [X]}, clean_introduction)


def test_of_a_prompt_its_description_is_cleaned_and_not_its_messages() -> None:
    result = {"description": X, "messages": [{"content": {"text": X, "description": X}}]}
    assert cleaned(result, clean_description) == {**result, "description": "x"}


# Laws

NAMED = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
DATA = {"enum", "const", "default", "examples"}
keys = st.sampled_from(["title", "description", "items", "x", *sorted(NAMED), *sorted(DATA)])
schemas: st.SearchStrategy[Any] = st.recursive(
    st.one_of(pieces, st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


def expected_schema(value: Any) -> Any:
    if isinstance(value, list):
        return [expected_schema(element) for element in value]
    if not isinstance(value, dict):
        return value
    written = {}
    for key, member in value.items():
        if key in DATA:
            written[key] = member
        elif key in ("title", "description") and isinstance(member, str):
            written[key] = expected_text(member)
        elif key in NAMED and isinstance(member, dict):
            written[key] = {name: expected_schema(schema) for name, schema in member.items()}
        elif key in NAMED:
            written[key] = member
        else:
            written[key] = expected_schema(member)
    return written


@given(pieces, schemas, st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_cleaned_item_is_the_same_but_for_its_texts(text: str, schema: Any, ascii_only: bool) -> None:
    item = {"name": text, "description": text, "inputSchema": schema}
    changes, count = clean_item(item)
    before = json.dumps(item, ensure_ascii=ascii_only)
    after = splice.rewrite(before, 0, changes)[0]
    expected = {**item, "description": expected_text(text), "inputSchema": expected_schema(schema)}
    assert json.loads(after) == expected
    assert (count == 0) is (expected == item)
    assert clean_item(json.loads(after)) == ({}, 0)
    assert may_need_cleaning(before.encode()) or count == 0
