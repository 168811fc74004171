"""Says with which words `mcpguard explain` is asked about the call of a case.

Knows nothing of what becomes of the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpguard.cli.json_lines import json_line

if TYPE_CHECKING:
    from mcpguard.proof.cases import Case


def explain_words(case: Case, file: str | None = None, more: tuple[str, ...] = ()) -> list[str]:
    """Give the words behind `mcpguard explain`, or those behind the policy if no `file` is given.

    `more` are options that stand behind the others.
    """
    named = [] if file is None else [file]
    if case.resource:
        options = ["--resource", case.resource]
    elif case.prompt:
        options = ["--prompt", case.prompt]
    else:
        named.append(case.tool)
        options = ["--args", json_line(case.arguments)] if case.arguments else []
        options += ["--category", case.category] if case.category else []
    options += more
    # A name that looks like an option stands behind everything that is one.
    return [*options, "--", *named] if any(word.startswith("-") for word in named) else [*named, *options]
