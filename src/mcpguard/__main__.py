"""Starts the command line: `mcpguard`, or `python -m mcpguard`."""

from __future__ import annotations

import gc
import os
import sys


def main() -> int:
    """Run the command that `sys.argv` names; give the exit status.

    `run` has its own small parser, so that a server is started before anything slow is imported; whatever is unusual about its
    options is left to the full one.
    """
    if sys.argv[1:2] == ["run"]:
        # Importing makes no garbage, and the collector would look at all of it again and again; `Guard.open` switches it on.
        gc.disable()
        from mcpguard.cli.options import parse_run

        options = parse_run(sys.argv[2:])
        if options is not None:
            from mcpguard.cli.run import run

            try:
                status = run(options)
            except Exception as error:  # noqa: BLE001 - the full command line knows how to say it
                from mcpguard.cli.app import explain

                status = explain(error)
            # The pumps wait in read(2) for good, and there is nothing left to be tidied up.
            os._exit(status)
    from mcpguard.cli.app import main as full_main

    return full_main()


if __name__ == "__main__":
    sys.exit(main())
