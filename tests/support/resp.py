"""Asks a Redis directly, past every server and guard: what is really stored.

Speaks RESP2 as far as tests need it (https://redis.io/docs/latest/develop/reference/protocol-spec/).
"""

from __future__ import annotations

import socket
from typing import BinaryIO, TypeAlias

ASK_S = 20.0

Reply: TypeAlias = str | int | list["Reply"] | None
"""What Redis answers.  Bytes that are not UTF-8 show as escapes."""


class RedisError(Exception):
    """Redis refused a command; or what answers is no Redis."""


def ask(port: int, *words: str) -> Reply:
    """Send one command over a connection of its own and return the answer.

    Raises:
        RedisError: it was refused.
        OSError: nobody answers.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=ASK_S) as connection:
        connection.sendall(b"*%d\r\n" % len(words) + b"".join(_bulk(word.encode()) for word in words))
        with connection.makefile("rb") as stream:
            return _reply(stream)


def everything_in(port: int) -> dict[str, tuple[Reply, Reply]]:
    """Return every key, with its value as Redis itself would save it and the moment when it ends, or -1."""
    keys = ask(port, "KEYS", "*")
    assert isinstance(keys, list)
    return {str(key): (ask(port, "DUMP", str(key)), ask(port, "PEXPIRETIME", str(key))) for key in keys}


def _bulk(word: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(word), word)


def _reply(stream: BinaryIO) -> Reply:
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        problem = f"the connection ended after {line!r}"
        raise RedisError(problem)
    kind, rest = line[:1], line[1:-2].decode(errors="backslashreplace")
    match kind:
        case b"+":
            return rest
        case b":":
            return int(rest)
        case b"$":
            size = int(rest)
            return None if size < 0 else stream.read(size + 2)[:size].decode(errors="backslashreplace")
        case b"*":
            return [_reply(stream) for _ in range(int(rest))]
        case _:
            raise RedisError(rest)
