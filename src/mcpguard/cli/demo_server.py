"""Plays a small hospital store as a real MCP server, for `mcpguard demo` and for trying a policy by hand.

Everything is kept in memory and starts the same every time.  Knows nothing of policies: it runs whatever reaches it.
"""

# Without `from __future__ import annotations`: the SDK reads the annotations of the tools when it makes their
# schemas, and these name things that exist only inside `build_server`.

import functools
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ParamSpec

import click

from mcpguard import __version__

if TYPE_CHECKING:
    from mcp.server import MCPServer

# INVARIANT: one line on stderr for each tool that ran is this and the tool's name; `mcpguard demo` counts them.
RAN = "demo-server: ran "

_P = ParamSpec("_P")

_WARDS = {"4": "surgery", "7": "children"}
_PATIENTS = {
    "P-1001": "Amal Haddad, ward 4, 2 images",
    "P-1002": "Jonas Berg, ward 4, 5 images",
    "P-1003": "Mei Tanaka, ward 7, 1 image",
}


@click.command("demo-server", short_help="Serve a make-believe hospital store over MCP.")
def demo_server() -> None:
    """Serve a small make-believe hospital store over MCP, to try a policy on.

    It speaks MCP on stdin and stdout, and says on stderr which tools really ran:

    \b
        mcpguard run --policy policy.json -- mcpguard demo-server
    """  # noqa: D301 -- click's mark for a paragraph that keeps its lines
    # The SDK reads stdin in a thread that no exception can interrupt: let Ctrl-C end the process itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.stdin.isatty():
        click.echo("demo-server: speaks MCP on stdin and stdout; Ctrl-D ends it", err=True)
    build_server(ran=lambda tool: click.echo(RAN + tool, err=True)).run("stdio")


def build_server(ran: Callable[[str], None]) -> "MCPServer[object]":
    """Return the server with a store of its own; `ran` is told the name of every tool that runs."""
    # Half a second of imports that only this command should pay for.
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp_types import ToolAnnotations
    from pydantic import Field

    server: MCPServer[object] = MCPServer(
        "hospital-store",
        title="Hospital store (make-believe)",
        instructions="Patient records and image exports of a make-believe hospital. Look a patient up before a change.",
        version=__version__,
        log_level="ERROR",
    )
    patients = dict(_PATIENTS)
    notes: list[str] = []
    jobs: list[str] = []
    PatientId = Annotated[  # noqa: N806 -- a type
        str, Field(description="Id of one patient, such as P-1001.", pattern=r"^P-\d{4}$")
    ]

    def tool(hints: ToolAnnotations) -> Callable[[Callable[_P, str]], Callable[_P, str]]:
        def add(function: Callable[_P, str]) -> Callable[_P, str]:
            @functools.wraps(function)
            def counted(*args: _P.args, **kwargs: _P.kwargs) -> str:
                ran(function.__name__)
                return function(*args, **kwargs)

            server.add_tool(counted, annotations=hints)
            return function

        return add

    def found(patient_id: str) -> str:
        if patient_id not in patients:
            message = f"no patient {patient_id}"
            raise ToolError(message)
        return patients[patient_id]

    @tool(ToolAnnotations(read_only_hint=True, open_world_hint=False))
    def list_patients() -> str:
        """List the id, name and ward of every patient. Changes nothing."""
        return "\n".join(f"{patient}: {record}" for patient, record in patients.items()) or "no patients"

    @tool(ToolAnnotations(read_only_hint=True, open_world_hint=False))
    def get_patient(patient_id: PatientId) -> str:
        """Get the record of one patient. Changes nothing."""
        return f"{patient_id}: {found(patient_id)}"

    @tool(ToolAnnotations(destructive_hint=False, idempotent_hint=False, open_world_hint=False))
    def add_note(
        patient_id: PatientId, text: Annotated[str, Field(description="The note.", min_length=1, max_length=500)]
    ) -> str:
        """Add a note to the record of one patient. Notes that are already there stay."""
        found(patient_id)
        notes.append(f"{patient_id}: {text}")
        return f"note {len(notes)} added to {patient_id}"

    @tool(ToolAnnotations(destructive_hint=False, idempotent_hint=False, open_world_hint=True))
    def start_dicom_export_job(patient_id: PatientId) -> str:
        """Start a job that exports all images of one patient as DICOM files, and return the job's id."""
        found(patient_id)
        jobs.append(patient_id)
        return f"job EXP-{len(jobs):04} started for {patient_id}"

    @tool(ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False))
    def delete_patient(patient_id: PatientId) -> str:
        """Delete one patient with all notes and images. This cannot be undone."""
        found(patient_id)
        del patients[patient_id]
        notes[:] = [note for note in notes if not note.startswith(patient_id)]
        return f"{patient_id} deleted, with all notes and images"

    @tool(ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False))
    def wipe_store() -> str:
        """Delete every patient, note and image of the hospital. This cannot be undone."""
        patients.clear()
        notes.clear()
        return "store wiped: no patients left"

    @server.prompt(title="Hand a patient over")
    def hand_over(patient_id: PatientId) -> str:
        """Ask for a short summary of one patient for the next shift."""
        return f"Read the record of {patient_id} with get_patient and sum it up in three sentences for the next shift."

    @server.resource("hospital://wards", title="Wards", mime_type="text/plain")
    def wards() -> str:
        """List the wards of the hospital."""
        return "\n".join(f"ward {number}: {name}" for number, name in _WARDS.items())

    return server
