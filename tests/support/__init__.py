"""Holds what tests share: a raw peer, an SDK client, real servers, and the guard's command line.

Holds no assertion about the guard: what it should do stands in the tests.
"""

from support.guard import allow_everything, guard_argv, write_policy
from support.stdio import Message, PeerError, StdioPeer

__all__ = ["Message", "PeerError", "StdioPeer", "allow_everything", "guard_argv", "write_policy"]
