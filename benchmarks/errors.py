"""Names what keeps a benchmark from having a result."""

from __future__ import annotations


class BenchError(Exception):
    """Something could not be started, did not answer in time, or answered wrongly: there is nothing to compare."""
