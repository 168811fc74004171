"""Seals what a client has to bring back with the next round of a request, and takes it apart again (2026-07-28, patterns/mrtr).

A state goes through the hands of the client, which may be lied to, or lie: what is not as it was given out is no state of ours.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict, dataclass
from typing import Final, Literal

from mcpguard.policy.canonical import packed
from mcpguard.protocol import splice
from mcpguard.protocol.replies import QUESTION_KEY

_MAC_CHARS: Final = 64


class ForgedError(Exception):
    """A state was not given out by this run, or is not what was given out."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What a client brings back.

    `kind` says what the round was for: "ask" a person about the call, or more input for a call that was "admitted".  `binding` is the
    digest of the call that it belongs to, `nonce` is good for one presentation, `expires_ns` is an instant of the guard's clock, `rounds`
    counts the rounds of an admitted call, `question` names what a person was asked, and `state` is the server's own.
    """

    kind: Literal["ask", "admitted"]
    binding: str
    nonce: str
    expires_ns: int
    rounds: int = 0
    question: str = ""
    state: str | None = None

    def write(self, key: bytes) -> str:
        """Write it as text that needs no escapes, with HMAC-SHA-256 (RFC 2104) by `key`."""
        text = urlsafe_b64encode(json.dumps(asdict(self), separators=(",", ":")).encode()).decode()
        return _mac(key, text) + text


def read_seal(key: bytes, text: str) -> Seal:
    """Take apart what `Seal.write` has written.

    Raises:
        ForgedError: it has not, with this key.
    """
    mac, body = text[:_MAC_CHARS], text[_MAC_CHARS:]
    if not text.isascii() or not hmac.compare_digest(mac, _mac(key, body)):
        raise ForgedError
    try:
        return Seal(**json.loads(urlsafe_b64decode(body)))
    except (ValueError, TypeError) as error:
        raise ForgedError from error


def binding_of(method: str, subject: str, arguments: object, definition: bytes | None, policy_digest: str) -> str:
    """Digest a call, so that only the same call has the same: its method, what it is about, its arguments by their exact values, the
    tool as its server describes it, and the policy in force.
    """
    parts = [method, subject, arguments, None if definition is None else definition.decode(), policy_digest]
    return hashlib.sha256(packed(parts)).hexdigest()


def next_round(line: bytes, state: str | None, *, others: bool) -> bytes:
    """Write a client's line as its server is to get it: with the server's own state, None for none.

    Our question's answer is taken out of `inputResponses`; if there are no `others`, the whole member.
    """
    changes: dict[str, splice.Change] = {
        "requestState": None if state is None else json.dumps(state),
        "inputResponses": {QUESTION_KEY: None} if others else None,
    }
    return splice.rewrite_line(line, {"params": changes})


def _mac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
