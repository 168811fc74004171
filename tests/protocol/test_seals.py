"""What a client brings back is what was given out, or nothing: the laws of seals, bindings and rounds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mcpguard.policy.canonical import canonical
from mcpguard.protocol.replies import QUESTION_KEY
from mcpguard.protocol.seals import ForgedError, Seal, binding_of, next_round, read_seal
from mcpguard.protocol.wire import CLIENT, decode

KEY = bytes(range(32))
MAC_CHARS = 64
KINDS: st.SearchStrategy[Literal["ask", "admitted"]] = st.sampled_from(("ask", "admitted"))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
ANY_TEXT = st.text(max_size=8) | st.just("\ud800")
SEALS = st.builds(
    Seal,
    kind=KINDS,
    binding=ANY_TEXT,
    nonce=ANY_TEXT,
    expires_ns=st.integers(0, 1 << 63),
    rounds=st.integers(0, 20),
    question=ANY_TEXT,
    state=st.none() | ANY_TEXT,
)
NUMBERS = (
    st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.sampled_from((Decimal(1), Decimal("1.0"), Decimal("1e0"), 10**30, Decimal("1e30"), 1))
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.tuples(
    st.sampled_from(("tools/call", "resources/read", "prompts/get")),
    ANY_TEXT,
    st.none() | st.dictionaries(ANY_TEXT, VALUES, max_size=3),
    st.none() | TEXTS.map(str.encode),
    ANY_TEXT,
)


def sealed_by(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest() + text


@given(SEALS, st.binary(min_size=1, max_size=80))
def test_a_seal_survives_its_way_through_a_client(seal: Seal, key: bytes) -> None:
    text = seal.write(key)
    assert read_seal(key, text) == seal
    # It stands in a line of JSON as it is.
    assert json.dumps(text) == f'"{text}"'


@given(SEALS, st.data())
def test_a_seal_with_one_character_changed_is_refused(seal: Seal, data: st.DataObject) -> None:
    text = seal.write(KEY)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters())
    assume(other != text[at])
    with pytest.raises(ForgedError):
        read_seal(KEY, text[:at] + other + text[at + 1 :])


@given(SEALS, st.data())
def test_a_seal_that_was_cut_or_made_longer_is_refused(seal: Seal, data: st.DataObject) -> None:
    text = seal.write(KEY)
    start, end = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))
    assume((start, end) != (0, len(text)))
    more = data.draw(st.text(min_size=1, max_size=4))
    for other in (text[start:end], text + more, more + text, text[:MAC_CHARS] + more + text[MAC_CHARS:]):
        with pytest.raises(ForgedError):
            read_seal(KEY, other)


@given(SEALS, st.binary(max_size=40))
def test_a_seal_of_another_key_is_refused(seal: Seal, key: bytes) -> None:
    assume(key.ljust(64, b"\0") != KEY.ljust(64, b"\0"))
    with pytest.raises(ForgedError):
        read_seal(key, seal.write(KEY))


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ForgedError):
        read_seal(KEY, text)


@pytest.mark.parametrize("text", ["", "\xe9" * 80, "0" * MAC_CHARS, "\ud800", "a" * (MAC_CHARS - 1)])
def test_what_is_no_seal_at_all_is_refused(text: str) -> None:
    with pytest.raises(ForgedError):
        read_seal(KEY, text)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("a", id="no base64"),
        pytest.param(base64.urlsafe_b64encode(b"{").decode(), id="no JSON"),
        pytest.param(base64.urlsafe_b64encode(b"\xff").decode(), id="no text"),
        pytest.param(base64.urlsafe_b64encode(b"[]").decode(), id="no object"),
        pytest.param(base64.urlsafe_b64encode(b"{}").decode(), id="a member missing"),
        pytest.param(base64.urlsafe_b64encode(b'{"x":1}').decode(), id="a foreign member"),
    ],
)
def test_what_the_key_has_signed_and_is_no_seal_is_refused(body: str) -> None:
    with pytest.raises(ForgedError):
        read_seal(KEY, sealed_by(KEY, body))


# What a seal is bound to


def written(call: tuple[Any, ...]) -> tuple[Any, ...]:
    """Write a call so that two of them are equal if and only if they are the same call."""
    method, subject, arguments, definition, policy = call
    return method, subject, canonical(arguments), definition, policy


@given(CALLS, CALLS)
def test_two_calls_share_a_binding_only_if_they_are_the_same(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert (binding_of(*one) == binding_of(*other)) is (written(one) == written(other))


@given(CALLS, CALLS, st.integers(0, 4))
def test_every_part_of_a_call_counts(one: tuple[Any, ...], other: tuple[Any, ...], part: int) -> None:
    mixed = (*one[:part], other[part], *one[part + 1 :])
    assert (binding_of(*one) == binding_of(*mixed)) is (written(one) == written(mixed))


def bound(arguments: str) -> str:
    return binding_of("tools/call", "t", json.loads(arguments, parse_float=Decimal), b"{}", "digest")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"n":1,"m":2}', '{ "m" : 2.0, "n" : 1e0 }'),
        ('{"n":1.10}', '{"n":1.1}'),
        ('{"n":"\\u0061"}', '{"n":"a"}'),
        ('{"n":1e30}', '{"n":1000000000000000000000000000000}'),
    ],
)
def test_arguments_of_the_same_value_are_the_same_arguments(one: str, other: str) -> None:
    assert bound(one) == bound(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{}", '{"n":null}'),
        ('{"n":1}', '{"n":"1"}'),
        ('{"n":1}', '{"n":true}'),
        ('{"n":0}', '{"n":false}'),
        ('{"n":9007199254740993}', '{"n":9007199254740992}'),
        ('{"n":0.1}', '{"n":0.1000000000000000055511151231257827}'),
        ('{"n":["ab"]}', '{"n":["a","b"]}'),
        ('{"n":"a"}', '{"N":"a"}'),
        ('{"n":"\u00e9"}', '{"n":"e\u0301"}'),
        ('{"n":[1,2]}', '{"n":[2,1]}'),
    ],
)
def test_arguments_of_another_value_are_other_arguments(one: str, other: str) -> None:
    assert bound(one) != bound(other)


def test_a_tool_that_no_list_has_shown_is_another_than_one_that_is_nothing() -> None:
    assert binding_of("tools/call", "t", {}, None, "") != binding_of("tools/call", "t", {}, b"", "")


# How the server gets the next round

OUR_ANSWER = {QUESTION_KEY: {"action": "accept"}}


def line_with(responses: dict[str, Any] | None, state: str | None, before: str, after: str) -> bytes:
    """Write a retry as no encoder of ours would, with other members around the two."""
    members = [f'"name" : {json.dumps(before)}', '"arguments":{"requestState":"not this","n": 1.10}']
    if responses is not None:
        members.append(f'"inputResponses": {json.dumps(responses)}')
    if state is not None:
        members.append(f'"requestState" :{json.dumps(state)}')
    members.append(f'"_meta":{{"inputResponses":{json.dumps(after)}}}')
    return f'{{"id": 7,"params":{{{",".join(members)}}},"method":"tools/call","jsonrpc":"2.0"}}\n'.encode()


RESPONSES = st.none() | st.dictionaries(TEXTS, st.just({"action": "decline"}), max_size=2).flatmap(
    lambda others: st.sampled_from((others, others | OUR_ANSWER, OUR_ANSWER | others))
)
PLAIN = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=6)


@given(
    RESPONSES,
    st.tuples(st.none() | PLAIN, st.none() | ANY_TEXT),
    st.booleans(),
    st.tuples(PLAIN, PLAIN),
)
def test_the_next_round_differs_in_the_two_members_alone(
    responses: dict[str, Any] | None,
    states: tuple[str | None, str | None],
    others: bool,
    around: tuple[str, str],
) -> None:
    (old, new), (before, after) = states, around
    line = line_with(responses, old, before, after)
    expected = responses
    if not others:
        expected = None
    elif responses is not None:
        expected = {key: value for key, value in responses.items() if key != QUESTION_KEY}
    rewritten = next_round(line, new, others=others)
    given_out, kept = json.loads(rewritten), json.loads(line)
    assert given_out["params"].pop("requestState", None) == new
    assert given_out["params"].pop("inputResponses", None) == expected
    for member in ("requestState", "inputResponses"):
        kept["params"].pop(member, None)
    assert given_out == kept
    # Whatever else it holds has every byte that it had.
    for piece in (f'"name" : {json.dumps(before)}', '"arguments":{"requestState":"not this","n": 1.10}'):
        assert piece.encode() in rewritten
    assert f'"_meta":{{"inputResponses":{json.dumps(after)}}}'.encode() in rewritten
    assert rewritten.startswith(b'{"id": 7,"params":{')
    assert rewritten.endswith(b'"jsonrpc":"2.0"}\n')
    if new is None or new.isascii():
        decode(rewritten, CLIENT)


def test_a_state_of_the_server_s_comes_back_to_it_letter_by_letter() -> None:
    line = line_with({"one": {}}, "sealed", "a", "b")
    for state in ('a"\\\n\u2028\u00e9', "", "\ud800"):
        rewritten = next_round(line, state, others=True)
        assert json.loads(rewritten)["params"]["requestState"] == state
        assert rewritten.count(b"\n") == 1
