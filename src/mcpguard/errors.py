"""Names what can go wrong, and the exit status each of it ends a command with.

Knows nothing of terminals: turning an error into text is the command line's job.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit statuses of every command.

    `run` ends with the server's own status instead (128 + n for a signal) once the server has run;
    126 and 127 are a shell's own words for a command that cannot be executed or found (POSIX, 2.8.2).
    """

    OK = 0
    FINDINGS = 1
    USAGE = 2
    POLICY = 3
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127


class GuardError(Exception):
    """Something could not do its job.  `hint` says what the user can do next, in one line."""

    exit_code = ExitCode.FINDINGS

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Finding:
    """One error of a policy: what is wrong and where; `str()` gives the line `file:line:column: message`.

    `rule` is a JSON Pointer (RFC 6901) into the policy.  `line` and `column` count from 1, columns in characters; both
    are None where no place in the text is to blame.  `file` is empty as long as nobody has said where the policy is
    from.
    """

    message: str
    rule: str = ""
    file: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.message}" if place else self.message


class PolicyError(GuardError):
    """A policy cannot be used.

    `findings` holds every error, in the order of their positions if they come from a file; `message` is
    the first of them.
    """

    exit_code = ExitCode.POLICY

    def __init__(self, findings: tuple[Finding, ...], hint: str = "") -> None:
        super().__init__(str(findings[0]), hint)
        self.findings = findings


class CommandNotFoundError(GuardError):
    """The server's command does not exist."""

    exit_code = ExitCode.NOT_FOUND


class CommandNotExecutableError(GuardError):
    """The server's command exists and cannot be executed."""

    exit_code = ExitCode.NOT_EXECUTABLE
