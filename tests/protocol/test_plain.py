"""The short way of plain lines: it reads what the long way reads, or nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcpguard.policy.decision import Verdict
from mcpguard.protocol.commands import Note
from mcpguard.protocol.plain import read_answer, read_call
from mcpguard.protocol.wire import CLIENT, UPSTREAM, Malformed, decode
from support.conversation import Conversation, Policy, call, ended, modern, request, result, to_client, to_server

if TYPE_CHECKING:
    from mcpguard.protocol.wire import Message, Side

META = '"_meta":{"progressToken":1}'


def line(text: str) -> bytes:
    return text.encode() + b"\n"


def a_call(params: str = '"name":"ok","arguments":{"a":"x"}', id_: str = "1", more: str = "") -> bytes:
    return line(f'{{"jsonrpc":"2.0","id":{id_},"method":"tools/call","params":{{{params}}}{more}}}')


def an_answer(members: str = '"content":[{"type":"text","text":"x"}]', id_: str = "1", more: str = "") -> bytes:
    return line(f'{{"jsonrpc":"2.0","id":{id_},"result":{{{members}}}{more}}}')


PLAIN_CALLS = {
    "a string": a_call(),
    "no arguments": a_call('"name":"ok","arguments":{}'),
    "numbers, lists, objects": a_call('"name":"ok","arguments":{"a":1.50,"b":[1,{"c":null}],"d":true}'),
    "meta": a_call(f'"name":"ok","arguments":{{"a":"x"}},{META}'),
    "a string for an id": a_call(id_='"x"'),
    "a long string": a_call('"name":"ok","arguments":{"a":"%s"}' % ("x1e999" * 1024)),
    "another order": line(
        '{"params":{"arguments":{"a":"x"},"name":"ok"},"method":"tools/call","id":1,"jsonrpc":"2.0"}'
    ),
    "a line separator": a_call('"name":"ok","arguments":{"a":"\u2028 and \u0085"}'),
    "a carriage return": a_call('"name":"ok",\r"arguments":{"a":"x"}'),
    "a dash": a_call('"name":"ok","arguments":{"a":"\u2013"}'),
}
OTHER_CALLS = {
    "another method": a_call().replace(b"tools/call", b"tools/list"),
    "an older version": a_call().replace(b"2.0", b"1.0"),
    "no arguments at all": a_call('"name":"ok"'),
    "arguments of null": a_call('"name":"ok","arguments":null'),
    "a list for arguments": a_call('"name":"ok","arguments":[]'),
    "a string for arguments": a_call('"name":"ok","arguments":"x"'),
    "a number for a name": a_call('"name":1,"arguments":{}'),
    "a list for params": line('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1,2]}'),
    "another member": a_call('"name":"ok","arguments":{},"task":{}'),
    "one more beside meta": a_call(f'"name":"ok","arguments":{{}},{META},"task":{{}}'),
    "another member of the envelope": a_call(more=',"x":1'),
    "a name in capitals": a_call('"name":"ok","arguments":{},"NAME":"no"'),
    "a method in capitals": a_call(more=',"METHOD":"x"'),
    "a result as well": a_call(more=',"result":{}'),
    "no id": line('{"jsonrpc":"2.0","method":"tools/call","params":{"name":"ok","arguments":{}}}'),
    "a boolean for an id": a_call(id_="true"),
    "null for an id": a_call(id_="null"),
    "a fraction for an id": a_call(id_="1.0"),
    "a huge id": a_call(id_="9" * 300),
    "a huge number": a_call('"name":"ok","arguments":{"a":1e999}'),
    "a huge number in meta": a_call('"name":"ok","arguments":{},"_meta":{"a":1e999}'),
    "a long number": a_call('"name":"ok","arguments":{"a":%s}' % ("1" * 401)),
    "great depth": a_call('"name":"ok","arguments":{"a":%s}' % ("[" * 127 + "]" * 127)),
    "a name twice": a_call('"name":"no","name":"ok","arguments":{}'),
    "a batch": b"[" + a_call()[:-1] + b"]\n",
    "four of a list": b"[1,2,3,4]\n",
    "no JSON": b"noise\n",
    "a long line with a number": a_call('"name":"ok","arguments":{"a":"%s","b":1}' % ("x" * 1024)),
    "a long line with a huge number": a_call('"name":"ok","arguments":{"a":"%s","b":1e999}' % ("x" * 1024)),
    "a long line that is deep": a_call(f'"name":"ok","arguments":{{"a":"{"x" * 1024}","b":{"[" * 127 + "]" * 127}}}'),
    "a long line of another method": a_call('"name":"tools/call","arguments":{"a":"%s"}' % ("x" * 1024)).replace(
        b'"method":"tools', b'"method":"x'
    ),
    "a long line with more members": a_call('"name":"ok","arguments":{"a":"%s"},"task":{}' % ("x" * 1024)),
    "a long line that says late what it is": a_call('"name":"ok","arguments":{"a":"%s"}' % ("x" * 1024)).replace(
        b'"jsonrpc"', b" " * 200 + b'"jsonrpc"'
    ),
    "a long batch": b"[" + a_call('"name":"ok","arguments":{"a":"%s"}' % ("x" * 1024))[:-1] + b"]\n",
    "a long line that is no JSON": a_call('"name":"ok","arguments":{"a":"%s"}' % ("x" * 1024))[:-3] + b"\n",
    "a long line with a name that is a number": a_call('"name":1,"arguments":{"a":"%s"}' % ("x" * 1024)),
}
PLAIN_ANSWERS = {
    "text": an_answer(),
    "nothing": an_answer('"content":[]'),
    "an error of the tool": an_answer('"content":[],"isError":true'),
    "structured content": an_answer('"content":[],"structuredContent":{"a":[1.5,2]},"isError":false'),
    "a long string": an_answer('"content":[{"type":"text","text":"%s"}]' % ("x1e999" * 1024)),
    "numbers": an_answer('"content":[{"type":"text","text":"x","annotations":{"priority":0.5}}]'),
    "a line separator": an_answer('"content":[{"type":"text","text":"\u2029"}]'),
    "a carriage return": an_answer('"content":[]').replace(b',"result"', b',\r"result"'),
}
OTHER_ANSWERS = {
    "a request for input": an_answer('"content":[],"resultType":"input_required","inputRequests":{}'),
    "a task": an_answer('"task":{"taskId":"1"}'),
    "a list": an_answer('"tools":[]'),
    "content that is no list": an_answer('"content":1'),
    "blocks that are no objects": an_answer('"content":[1]'),
    "content of text": an_answer('"content":"x"'),
    "an error": line('{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}'),
    "a list for a result": line('{"jsonrpc":"2.0","id":1,"result":[1]}'),
    "another member of the envelope": an_answer(more=',"x":1'),
    "a method": an_answer(more=',"method":"x"'),
    "an older version": an_answer().replace(b"2.0", b"1.0"),
    "a boolean for an id": an_answer(id_="true"),
    "a fraction for an id": an_answer(id_="1.0"),
    "a huge number": an_answer('"content":[{"type":"text","size":1e999}]'),
    "a lone surrogate": an_answer('"content":[{"type":"text","text":"\\ud800"}]'),
    "a long line with a number": an_answer('"content":[{"type":"text","text":"%s","n":1}]' % ("x" * 1024)),
    "a long line with a huge number": an_answer('"content":[{"type":"text","text":"%s","n":1e999}]' % ("x" * 1024)),
    "a long line with structured content": an_answer(
        '"content":[{"type":"text","text":"%s"}],"structuredContent":{}' % ("x" * 1024)
    ),
    "a long list": an_answer('"tools":["%s"]' % ("x" * 1024)),
    "a long line with another member": an_answer('"content":[{"type":"text","text":"%s"}],"task":{}' % ("x" * 1024)),
    "a long line whose content is none": an_answer('"content":["%s"]' % ("x" * 1024)),
    "a long line with a fraction for an id": an_answer(
        '"content":[{"type":"text","text":"%s"}]' % ("x" * 1024), id_="1.0"
    ),
    "a long batch": b"[" + an_answer('"content":[{"type":"text","text":"%s"}]' % ("x" * 1024))[:-1] + b"]\n",
}


def long_way(data: bytes, side: Side) -> Message | None:
    try:
        return decode(data, side)
    except Malformed:
        return None


def same_refusal(data: bytes, side: Side, parsed: dict[str, Any]) -> bool:
    """Say whether `decode` makes the same of a line whether it is given what was parsed of it or not."""
    outcomes: list[tuple[object, ...]] = []
    for given_ in (None, parsed):
        try:
            message = decode(data, side, given_)
            outcomes.append((message.id, message.method, message.params, message.result, message.line))
        except Malformed as refused:
            outcomes.append((refused.reason, refused.code, refused.id, refused.shape))
    return outcomes[0] == outcomes[1]


def check_call(data: bytes) -> bool:
    """Check that a call is read as `decode` reads it, if it is read at all; say whether it is."""
    short = read_call(data)
    if not isinstance(short, tuple):
        assert short is None or same_refusal(data, CLIENT, short)
        return False
    message = long_way(data, CLIENT)
    assert message is not None
    id_, name, arguments, meta, forwarded = short
    assert (type(id_), id_, message.method, forwarded) == (type(message.id), message.id, "tools/call", message.line)
    assert message.params == {"name": name, "arguments": arguments} | ({} if meta is None else {"_meta": meta})
    return True


def check_answer(data: bytes) -> bool:
    short = read_answer(data)
    if not isinstance(short, tuple):
        assert short is None or same_refusal(data, UPSTREAM, short)
        return False
    message = long_way(data, UPSTREAM)
    assert message is not None
    id_, members, forwarded = short
    assert (type(id_), id_, message.method, forwarded) == (type(message.id), message.id, None, message.line)
    assert message.result == members
    assert set(members) <= {"content", "isError", "structuredContent", "_meta"}
    return True


@pytest.mark.parametrize("data", PLAIN_CALLS.values(), ids=PLAIN_CALLS.keys())
def test_a_plain_call_is_read(data: bytes) -> None:
    assert check_call(data)


@pytest.mark.parametrize("data", OTHER_CALLS.values(), ids=OTHER_CALLS.keys())
def test_any_other_line_of_a_client_is_not(data: bytes) -> None:
    assert not check_call(data)


@pytest.mark.parametrize("data", PLAIN_ANSWERS.values(), ids=PLAIN_ANSWERS.keys())
def test_a_plain_answer_is_read(data: bytes) -> None:
    assert check_answer(data)


@pytest.mark.parametrize("data", OTHER_ANSWERS.values(), ids=OTHER_ANSWERS.keys())
def test_any_other_line_of_a_server_is_not(data: bytes) -> None:
    assert not check_answer(data)


PIECES = [
    *(
        b'"name":"no"',
        b',"name":"ok"',
        b'"arguments":',
        b'"_meta":{}',
        b',"NAME":"x"',
        b',"task":{}',
        b"1e309",
        b"1e9999",
        b"-0.0",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b'"',
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"null",
        b"true",
        b"0",
        b" ",
        b"\r",
        b"\t",
        b"\x85",
    ),
    *(
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xff",
        b"\x00",
        b'"id":2,',
        b'"method":"ping",',
        b'"result":{}',
        b'"content":[]',
        b'"isError":1',
    ),
    *(b'"resultType":"input_required"', b"\xef\xbb\xbf", b"9" * 310, b"[" * 130, "\u017f".encode(), "\u212a".encode()),
]


@st.composite
def lines_like(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """Draw a line that was good, or nearly, with up to three places changed."""
    data = draw(st.sampled_from(originals))[:-1]
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        data = data[:start] + draw(st.sampled_from([b"", *PIECES])) + data[end:]
    return data.replace(b"\n", b"") + b"\n"


@given(lines_like([*PLAIN_CALLS.values(), *OTHER_CALLS.values()]))
@example(a_call())
def test_a_call_is_read_as_the_long_way_reads_it_or_not_at_all(data: bytes) -> None:
    check_call(data)


@given(lines_like([*PLAIN_ANSWERS.values(), *OTHER_ANSWERS.values()]))
@example(an_answer())
def test_an_answer_is_read_as_the_long_way_reads_it_or_not_at_all(data: bytes) -> None:
    check_answer(data)


# In a session


def test_a_plain_conversation_goes_the_short_way() -> None:
    talk = Conversation(shortcuts=True)
    assert talk.client(call(1, "ok")) == [to_server(call(1, "ok"))]
    assert talk.client(modern(call("1", "ok"))) == [to_server(modern(call("1", "ok")))]
    assert talk.session.in_flight == 2
    assert talk.server(result("1", content=[])) == [to_client(result("1", content=[])), ended("ok")]
    failed = result(1, content=[], isError=True)
    assert talk.server(failed) == [to_client(failed), ended("tool_error")]
    assert (talk.carried, talk.session.in_flight, talk.session.seen_requests) == (4, 0, 2)


def short(talk: Conversation, message: dict[str, Any]) -> object:
    return talk.session.carry_call(json.dumps(message).encode() + b"\n", talk.now_ns, talk.admit, None)


def test_what_the_short_way_is_not_for_has_not_happened_there() -> None:
    talk = Conversation(Policy(denied={"no"}), most=2, shortcuts=True)
    assert short(talk, call(1, "no")) is None
    assert talk.session.seen_requests == 0
    talk.client(call(1, "ok"))
    assert short(talk, call(1, "ok")) is None  # the id is in flight
    talk.client(call(2, "ok"))
    assert short(talk, call(3, "ok")) is None  # too many are
    assert talk.session.carry_answer(b'{"jsonrpc":"2.0","id":"1","result":{"content":[]}}\n') is None  # nearly that id
    talk.client({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}})
    assert talk.session.carry_answer(b'{"jsonrpc":"2.0","id":2,"result":{"content":[]}}\n') is None
    talk.ends()
    assert short(talk, call(4, "ok")) is None
    assert talk.session.carry_answer(b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}\n') is None


def test_before_the_policy_is_there_nothing_goes_the_short_way() -> None:
    assert short(Conversation(held=True), call(1, "ok")) is None


def test_a_tool_that_could_be_either_of_two_does_not_go_the_short_way() -> None:
    talk = Conversation(shortcuts=True)
    talk.client(request(1, "tools/list"))
    talk.server(result(1, tools=[{"name": "two", "x": 1}, {"name": "two", "x": 2}]))
    assert short(talk, call(2, "two")) is None
    assert short(talk, call(3, "one")) is not None


def test_while_a_probe_waits_answers_take_the_long_way_which_looks_at_it() -> None:
    talk = Conversation(shortcuts=True)
    talk.client(modern(request(1, "server/discover")))
    talk.client(call(2, "ok"))
    assert ("silent", True) in talk.server(result(2, content=[]))


def test_an_id_that_was_reserved_is_free_again_also_on_the_short_way() -> None:
    talk = Conversation(shortcuts=True)
    talk.client(call("x", "ok"))
    talk.client({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "x"}})
    for number in range(10_001):
        talk.client(call(number, "ok"))
        talk.server(result(number, content=[]))
    assert talk.client(call("x", "ok")) == [to_server(call("x", "ok"))]


def test_an_admission_is_what_the_verdict_says() -> None:
    talk = Conversation(shortcuts=True)
    talk.policy.judge = lambda _: Verdict(admitted=False, text="mcpguard: no")  # type: ignore[method-assign,assignment]
    assert short(talk, call(1, "ok")) is None
    assert not any(isinstance(command, Note) for command in talk.session.receive(CLIENT, a_call(), 0))
