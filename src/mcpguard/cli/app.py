"""Holds the commands together, and turns what goes wrong into text and an exit status."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from typing import Final

import click

from mcpguard import __version__
from mcpguard.cli import options
from mcpguard.errors import ExitCode, GuardError

_HOMES: Final = {
    "approve": "approvals",
    "bench": "bench",
    "check": "check",
    "classify": "classify",
    "convert": "convert",
    "demo": "demo",
    "demo-server": "demo_server",
    "deny": "approvals",
    "diff": "diff",
    "explain": "explain",
    "init": "init",
    "pending": "approvals",
    "policies": "policies",
    "scan": "scan",
    "schema": "schema",
    "test": "test",
    "tool": "tool",
    "validate": "validate",
}
"""In which module each command is; `run` is here."""


class Commands(click.Group):
    """Imports a command when somebody asks for it, since all of them together take much longer than one."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give a command.  Where there is none of this name, all are there afterwards, so that similar names can be told."""
        if cmd_name in _HOMES:
            self._load(cmd_name)
        elif cmd_name not in self.commands:
            self._load(*_HOMES)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of all commands."""
        self._load(*_HOMES)
        return super().list_commands(ctx)

    def _load(self, *names: str) -> None:
        for name in names:
            if name not in self.commands:
                module = importlib.import_module(f"mcpguard.cli.{_HOMES[name]}")
                self.add_command(getattr(module, name.replace("-", "_")))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mcpguard", message="%(prog)s %(version)s")
def app() -> None:
    """Enforce a policy in front of any MCP server.

    Put `mcpguard run --policy policy.json --` before a server's command in your client's configuration: the client
    sees that server, less what the policy refuses.
    """


@app.command(
    name="run",
    context_settings={"allow_interspersed_args": False},
    options_metavar="--policy FILE [OPTIONS]",
    epilog="Ends with the server's own exit status (128 + n for signal n), 127 if its command cannot be found, "
    "126 if it cannot be executed, 3 if the policy cannot be used, 0 when the client has closed its end.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARG]...")
def run_command(
    command: tuple[str, ...],
    policy: str,
    grant: str | None,
    log: str | None,
    *,
    no_log: bool,
    log_optional: bool,
    max_message_bytes: int | None,
    reload: str | None,
    notify: str | None,
) -> None:
    """Run an MCP server behind a policy, over stdio.

    The server is started with your environment and working directory. Every call of a tool is judged before it reaches the
    server, and lists show only what may be called. Stdout carries the protocol alone; messages go to stderr.
    """
    from mcpguard.cli.run import run

    if log is not None and no_log:
        raise click.UsageError("--log and --no-log contradict each other.")
    program = () if notify is None else options.split_words(notify)
    if notify is not None and not program:
        raise click.UsageError(
            "--notify: this cannot be split into a program and its arguments; a quote may be missing."
        )
    status = run(
        options.RunOptions(
            policy,
            command,
            grant=grant,
            log=log,
            no_log=no_log,
            log_optional=log_optional,
            max_message_bytes=max_message_bytes,
            reload=reload or "tighten",
            notify=program,
        )
    )
    sys.stderr.flush()
    os._exit(status)


def _declare_run_options() -> None:
    """Give `run` the options of the one table that its own parser reads, too."""
    for option in options.RUN_OPTIONS:
        kinds: dict[str, click.IntRange | click.Choice[str]] = {
            "--max-message-bytes": click.IntRange(options.MIN_MESSAGE_BYTES, options.MAX_MESSAGE_BYTES),
            "--reload": click.Choice(options.RELOAD_MODES),
        }
        run_command.params.append(
            click.Option(
                [option.name],
                is_flag=not option.metavar,
                metavar=option.metavar or None,
                required=option.name == "--policy",
                type=kinds.get(option.name),
                help=option.help,
            )
        )


_declare_run_options()


def main() -> int:
    """Run a command; whatever goes wrong is told on stderr."""
    try:
        status = app.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        if error.ctx is not None and error.ctx.command is run_command and isinstance(error, click.NoSuchOption):
            click.echo(
                "The server's command comes after `--`: mcpguard run --policy FILE -- COMMAND [ARG]...", err=True
            )
        return ExitCode.USAGE
    except click.ClickException as error:
        error.show()
        return ExitCode.FINDINGS
    except click.Abort:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001 - a bug, or something that we know how to explain
        return explain(error)
    return status if isinstance(status, int) else ExitCode.OK


def explain(error: Exception) -> int:
    """Say on stderr what went wrong, in one line for what we expect to happen; give the exit status."""
    if isinstance(error, GuardError):
        click.echo(f"mcpguard: {error.message}", err=True)
        if error.hint:
            click.echo(f"mcpguard: {error.hint}", err=True)
        return int(error.exit_code)
    traceback.print_exception(error)
    click.echo("mcpguard: this is a bug in mcpguard; please report it with the lines above", err=True)
    return ExitCode.FINDINGS
