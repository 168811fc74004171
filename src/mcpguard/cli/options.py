"""Lists the options of `run`, for its own parser and for the help text alike.

Imported before the server is started, so it imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class Option:
    """One option: a flag if `metavar` is empty, else it takes a value."""

    __slots__ = ("help", "metavar", "name")

    def __init__(self, name: str, metavar: str, text: str) -> None:
        self.name = name
        self.metavar = metavar
        self.help = text

    @property
    def key(self) -> str:
        """The name under which its value is kept."""
        return self.name.removeprefix("--").replace("-", "_")


RELOAD_MODES: Final = ("tighten", "any", "off")
MIN_MESSAGE_BYTES: Final = 1024
MAX_MESSAGE_BYTES: Final = 1 << 30

RUN_OPTIONS: Final = (
    Option("--policy", "FILE", "The policy to enforce, JSON or YAML."),
    Option(
        "--grant", "NAME", "The name under which runs share counters and approvals; it is written to the decision log."
    ),
    Option(
        "--log", "FILE", "Append the decision log to FILE.  Default: a file of its own for each run, kept for 30 days."
    ),
    Option("--no-log", "", "Keep no decision log."),
    Option("--log-optional", "", "Let calls pass although the decision log cannot be written."),
    Option(
        "--max-message-bytes",
        "N",
        "Refuse longer messages of the client.  Default: 8388608 (8 MiB).",
    ),
    Option(
        "--reload",
        "MODE",
        "What a change of the policy file does to a run: `tighten` applies it if it provably only tightens, `any` always, `off` never.  "
        "Default: tighten.",
    ),
    Option(
        "--notify",
        "CMD",
        "Start this program, without a shell, for every call that waits for a person; it reads the call as a line of JSON.",
    ),
)


class RunOptions:
    """What `run` was told."""

    __slots__ = ("command", "grant", "log", "log_optional", "max_message_bytes", "no_log", "notify", "policy", "reload")

    def __init__(
        self,
        policy: str,
        command: tuple[str, ...],
        *,
        grant: str | None = None,
        log: str | None = None,
        no_log: bool = False,
        log_optional: bool = False,
        max_message_bytes: int | None = None,
        reload: str = "tighten",
        notify: tuple[str, ...] = (),
    ) -> None:
        self.policy = policy
        self.command = command
        self.grant = grant
        self.log = log
        self.no_log = no_log
        self.log_optional = log_optional
        self.max_message_bytes = max_message_bytes
        self.reload = reload
        self.notify = notify


def parse_run(words: list[str]) -> RunOptions | None:
    """Read the words after `run`; None if anything about them is unusual, which the full parser then puts into words."""
    by_name = {option.name: option for option in RUN_OPTIONS}
    values: dict[str, str | bool] = {}
    at = 0
    while at < len(words) and words[at] != "--":
        name, equals, value = words[at].partition("=")
        option = by_name.get(name)
        at += 1
        if option is None or option.key in values:
            return None
        if not option.metavar:
            if equals:
                return None
            values[option.key] = True
            continue
        if not equals:
            if at >= len(words) or words[at].startswith("-"):
                return None
            value = words[at]
            at += 1
        if not value:
            return None
        values[option.key] = value
    command = tuple(words[at + 1 :])
    if "policy" not in values or not command or not command[0] or ("log" in values and "no_log" in values):
        return None
    size = values.get("max_message_bytes")
    if size is not None:
        if not (
            isinstance(size, str) and size.isascii() and size.isdigit() and len(size) <= len(str(MAX_MESSAGE_BYTES))
        ):
            return None
        if not MIN_MESSAGE_BYTES <= int(size) <= MAX_MESSAGE_BYTES:
            return None
    reload = values.get("reload", "tighten")
    program = split_words(_text(values, "notify") or "")
    if reload not in RELOAD_MODES or ("notify" in values and not program):
        return None
    return RunOptions(
        str(values["policy"]),
        command,
        grant=_text(values, "grant"),
        log=_text(values, "log"),
        no_log="no_log" in values,
        log_optional="log_optional" in values,
        max_message_bytes=int(size) if size is not None else None,
        reload=str(reload),
        notify=program,
    )


def split_words(text: str) -> tuple[str, ...]:
    """Split a command as a shell would, quotes and backslashes understood and nothing else; empty if it names no program."""
    if text.isascii() and text.isprintable() and not any(mark in text for mark in "'\"\\"):
        return tuple(text.split())
    # Not for the plain words that most commands are: it takes as long to import as all of ours.
    import shlex

    try:
        words = tuple(shlex.split(text))
    except ValueError:
        return ()
    return words if words and words[0] else ()


def _text(values: dict[str, str | bool], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) else None
