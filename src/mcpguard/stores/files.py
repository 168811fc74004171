"""Loads a policy, or another file that people write, or says everything that is wrong with it and where.

A good JSON file is read by a fast parser only; positions are worked out in a second, slower reading when there is
something to report.
"""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import jiter
from pydantic import ValidationError

from mcpguard.errors import Finding, PolicyError
from mcpguard.policy.compile import Policy, compile_policy, limits_of
from mcpguard.policy.model import PlainLimit, PolicyFile
from mcpguard.stores.text import Position, Remark, printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcpguard.stores.text import Reading
    from mcpguard.stores.wording import Vocabulary

T = TypeVar("T")
MAX_BYTES: Final = 16 * 1024 * 1024
_DAY_S: Final = 86_400
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy that can be used, and what it was made from.

    `notes` are remarks for the user about a policy without errors, one line each.
    """

    policy: Policy
    document: PolicyFile
    path: Path
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileKind(Generic[T]):
    """What a file is about.

    `make` turns its data into what it is read for, or raises a `ValidationError` or a `PolicyError` whose findings have a `rule`.
    `vocabulary` is asked for only where something is wrong, and `smallest` is a file with nothing in it.
    """

    noun: str
    file: str
    smallest: str
    make: Callable[[object], T]
    vocabulary: Callable[[], Vocabulary]


def load_policy(path: Path, *, regular_only: bool = False) -> LoadedPolicy:
    """Load the policy at `path`; the suffix says what it is written in.

    A pipe is waited for, unless `regular_only`: then nothing is read but a regular file, and nothing is waited for.

    Raises:
        PolicyError: with every error of the file, in the order of their positions.
    """
    # A large policy is hundreds of thousands of objects that all stay: looking for garbage among them takes three times
    # as long as making them.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        document, policy = load_file(path, _POLICY, regular_only=regular_only)
    finally:
        if was_enabled:
            gc.enable()
    return LoadedPolicy(policy, document, path, tuple(_notes(document)))


def load_file(path: Path, kind: FileKind[T], *, regular_only: bool = False) -> T:
    """Load a file of any kind; the suffix says what it is written in.

    Raises:
        PolicyError: with every error of the file, in the order of their positions.
    """
    suffix = path.suffix.lower()
    if suffix not in {".json", ".yaml", ".yml"}:
        raise _refusal(path, _no_such_suffix(path, kind))
    content = _content(path, kind, regular_only=regular_only)
    if suffix == ".json":
        try:
            data = jiter.from_json(content, catch_duplicate_keys=True, allow_inf_nan=False, float_mode="decimal")
        except ValueError as error:
            raise _explained(path, kind, _read(path, kind, content, suffix), str(error)) from None
    else:
        reading = _read(path, kind, content, suffix)
        if reading.remarks:
            raise _explained(path, kind, reading)
        data = reading.data
    try:
        return kind.make(data)
    except (ValidationError, PolicyError):
        raise _explained(path, kind, _read(path, kind, content, suffix)) from None


def read_yaml_file(path: Path) -> Reading:
    """Read a YAML file whatever it is about; what is wrong with its YAML is in the `remarks`.

    Raises:
        PolicyError: it cannot be read, or is empty.
    """
    return _read(path, _POLICY, _content(path, _POLICY, regular_only=False), ".yaml")


def findings_in(path: Path, remarks: Iterable[Remark]) -> tuple[Finding, ...]:
    """Give remarks on a file in the order of their positions, safe to print."""
    return tuple(
        Finding(printable(message), printable(rule), printable(str(path)), *position)
        for position, rule, message in sorted(set(remarks))
    )


def _policy(data: object) -> tuple[PolicyFile, Policy]:
    document = PolicyFile.model_validate(data)
    return document, compile_policy(document)


def _words_of_policies() -> Vocabulary:
    from mcpguard.stores.wording import OF_POLICIES

    return OF_POLICIES


_POLICY: Final = FileKind("policy", "policy file", '{"version": "1"}', _policy, _words_of_policies)


def _content(path: Path, kind: FileKind[T], *, regular_only: bool) -> bytes:
    try:
        with open(path, "rb", opener=_open_at_once if regular_only else None) as file:
            if regular_only and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _refusal(
                    path, f"this is a pipe or a device; during a run, a {kind.noun} is read from a regular file only"
                )
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _refusal(path, "there is no such file") from None
    except IsADirectoryError:
        raise _refusal(path, f"this is a directory; name the {kind.file} in it") from None
    except OSError as error:
        raise _refusal(path, f"the file cannot be read: {(error.strerror or 'unknown error').lower()}") from None
    except ValueError:
        raise _refusal(path, "no file can have this name") from None
    if len(content) > MAX_BYTES:
        raise _refusal(path, f"the file is bigger than {MAX_BYTES // 1024 // 1024} MiB, which no {kind.noun} needs")
    if not content.strip():
        raise _refusal(path, f"the file is empty; {_smallest(kind)}", line=1, column=1)
    return content


def _no_such_suffix(path: Path, kind: FileKind[T]) -> str:
    told = f"a {kind.file} ends in `.json`, `.yaml` or `.yml`"
    if os.path.isdir(path):  # noqa: PTH112 - raises nothing, whatever the name
        return f"this is a directory; name the {kind.file} in it"
    return told if os.path.exists(path) else f"there is no such file; {told}"  # noqa: PTH110


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _read(path: Path, kind: FileKind[T], content: bytes, suffix: str) -> Reading:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise _refusal(path, "the file is not UTF-8; save it as UTF-8", line=line, column=column) from None
    if suffix == ".json":
        from mcpguard.stores.json_text import read_json

        return read_json(text, kind.noun)
    from mcpguard.stores.yaml_text import read_yaml

    reading = read_yaml(text, kind.noun)
    if not reading.places and not reading.remarks:
        raise _refusal(path, f"the file is empty but for comments; {_smallest(kind)}", line=1, column=1)
    return reading


def _smallest(kind: FileKind[T]) -> str:
    return f"the smallest {kind.noun} is {kind.smallest}"


def _explained(path: Path, kind: FileKind[T], reading: Reading, otherwise: str = "") -> PolicyError:
    from mcpguard.stores.wording import position_of, remarks_on

    remarks = list(reading.remarks)
    if reading.complete:
        mistaken = _mistaken(kind, reading.data)
        if mistaken:
            return _refusal(path, mistaken, line=1, column=1)
        try:
            kind.make(reading.data)
        except ValidationError as error:
            remarks += remarks_on(error, reading, kind.vocabulary())
        except PolicyError as error:
            remarks += [
                Remark(position_of(found.rule, reading, key=True), found.rule, found.message)
                for found in error.findings
            ]
    if not remarks:
        remarks = [Remark(Position(1, 1), "", otherwise or f"the {kind.noun} cannot be used")]
    return PolicyError(findings_in(path, remarks))


def _mistaken(kind: FileKind[T], data: object) -> str:
    """Say what a file is that was taken for another; empty if that does not show."""
    if not isinstance(data, dict):
        return ""
    tools, wants_policy = data.get("tools"), kind.noun == _POLICY.noun
    if "version" in data:
        return "" if wants_policy or "cases" in data else f"this is a policy and no {kind.noun}"
    if isinstance(tools, list) and tools and all(isinstance(each, dict) and "name" in each for each in tools):
        return f"this is a list of tools and no {kind.noun}; `mcpguard init --list` drafts a policy for it"
    if wants_policy and isinstance(data.get("cases"), list):
        return "this is a cases file and no policy; name the policy that it is about"
    return ""


def _refusal(path: Path, message: str, *, line: int | None = None, column: int | None = None) -> PolicyError:
    return PolicyError((Finding(message, "", printable(str(path)), line, column),))


def _notes(document: PolicyFile) -> Iterator[str]:
    limits = list(limits_of(document))
    long = [rule for rule, limit in limits if limit.window >= _DAY_S]
    if long:
        yield f"counters live in memory: a window of a day or more starts anew with every run ({_some(long)})"
    granted = [rule for rule, limit in limits if isinstance(limit, PlainLimit) and limit.scope == "grant"]
    if granted:
        yield f"counters live in memory: the scope `grant` reaches no further than one run ({_some(granted)})"
    if document.audit.arguments == "full":
        yield "the decision log will hold every argument as it was sent (`/audit/arguments`)"


def _some(rules: list[str]) -> str:
    shown = ", ".join(f"`{printable(rule)}`" for rule in rules[:_SHOWN])
    return shown if len(rules) <= _SHOWN else f"{shown} and {len(rules) - _SHOWN} more"
