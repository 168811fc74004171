"""Drafts policies for real servers, and has them judged as their owners would: they load, fit, and do what their cases say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from mcpguard.inventory.cases import draft_cases
from mcpguard.inventory.draft import Draft, Posture, draft_policy
from mcpguard.inventory.tools import Tool, parse_tools
from mcpguard.proof.cases import CasesFile
from mcpguard.proof.judge import Surroundings
from mcpguard.proof.noticing import completed
from mcpguard.proof.survivors import survey
from mcpguard.proxy.links import resolver
from support.drafts import faults_of, without_cases
from support.fake_aws import running_fake_aws
from support.servers import (
    ServerCommand,
    fetch_command,
    filesystem_command,
    git_command,
    healthimaging_command,
    memory_command,
    sitewise_command,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

POSTURES = get_args(Posture)
MOST_UNNOTICED = 2
"""Of up to 600: two rules may stand for one another."""
MCPGUARD = [sys.executable, "-m", "mcpguard"]


def listed(command: ServerCommand, directory: Path) -> tuple[Tool, ...]:
    """Ask a server for its tools, as `mcpguard scan --save` does."""
    file = directory / "list.json"
    words = [*MCPGUARD, "scan", "--save", str(file), "--json", "--timeout", "120", "--", *command.argv]
    subprocess.run(words, env=dict(command.env), stdout=subprocess.DEVNULL, timeout=180, check=True)
    return parse_tools(json.loads(file.read_text()))


def drafts(tools: Sequence[Tool], directory: Path) -> dict[str, Draft]:
    """Draft in every posture, and make sure that every draft is as it should be."""
    found = {}
    for posture in POSTURES:
        found[posture] = draft = draft_policy(tools, posture, directories=[str(directory)])
        assert faults_of(draft, tools, directory / "policy.json") == []
        assert without_cases(draft) == []
        assert len(unnoticed(draft, tools, directory)) <= MOST_UNNOTICED
        assert not [each.tool.name for each in draft.tools if "cannot be guarded" in each.entry["$comment"]]
    return found


def unnoticed(draft: Draft, tools: Sequence[Tool], directory: Path) -> list[str]:
    """Name the small changes of a draft that the cases written with it in a directory do not notice there."""
    here = Surroundings(resolver(str(directory)))
    written = completed(draft.policy, draft_cases(draft)["cases"], tools, here)
    cases = CasesFile.model_validate({"cases": written}).cases
    return [str(mutant) for mutant in survey(draft.policy.document, cases, here).survivors]


def names(draft: Draft, action: str) -> set[str]:
    return {name for name, entry in draft.document["tools"].items() if entry.get("action", "allow") == action}


def test_prometheus_is_read_with_the_servers_own_credentials(prometheus_server: ServerCommand, tmp_path: Path) -> None:
    draft = drafts(listed(prometheus_server, tmp_path), tmp_path)["balanced"]
    assert names(draft, "allow") == set(draft.document["tools"])
    for entry in draft.document["tools"].values():
        assert entry["deny_if"][0]["conditions"] == [{"path": "args.profile", "op": "exists"}]
    assert draft.document["tools"]["ExecuteRangeQuery"]["rate_limit"] == "60/minute"


def test_valkey_commands_are_held_to_lists(valkey_server: ServerCommand, tmp_path: Path) -> None:
    found = drafts(listed(valkey_server, tmp_path), tmp_path)
    tools = found["balanced"].document["tools"]
    assert "GET" in tools["valkey_read"]["require"][0]["conditions"][0]["value"]
    assert tools["valkey_write"]["approve_if"][0]["conditions"][0]["op"] == "not_in"
    assert tools["manage_index"]["approve_if"][0]["conditions"][0]["value"] == ["drop"]
    assert names(found["balanced"], "require_approval") == {"json_arrpop", "json_arrtrim", "valkey_admin"}
    assert names(found["strict"], "deny") == {"json_arrpop", "json_arrtrim", "valkey_admin"}


def test_sitewise_reads_and_a_person_makes_roles(sitewise: Path, tmp_path: Path) -> None:
    with running_fake_aws() as aws:
        tools = listed(sitewise_command(sitewise, aws.url), tmp_path)
    draft = drafts(tools, tmp_path)["balanced"]
    asked = names(draft, "require_approval")
    assert "create_bulk_import_iam_role" in asked
    assert {name for name in draft.document["tools"] if name.startswith("delete_")} <= asked
    job = draft.document["tools"]["create_bulk_import_job"]
    assert job["require"][0]["conditions"][0]["path"] == "args.files.*.bucket"
    assert job["approve_if"][0]["conditions"][-1]["path"] == "args.delete_files_after_import"


def test_exports_of_images_are_rare_and_go_to_listed_buckets(healthimaging: Path, tmp_path: Path) -> None:
    with running_fake_aws() as aws:
        tools = listed(healthimaging_command(healthimaging, aws.url, tmp_path), tmp_path)
    found = drafts(tools, tmp_path)
    entries = found["balanced"].document["tools"]
    assert entries["start_dicom_export_job"]["rate_limit"] == "10/minute"
    assert {"args.output_s3_uri", "args.data_access_role_arn"} == {
        rule["conditions"][0]["path"] for rule in entries["start_dicom_export_job"]["require"]
    }
    assert [*entries["get_dicom_import_job"]] == ["$comment"]
    assert found["strict"].document["tools"]["get_dicom_import_job"]["rate_limit"] == "60/minute"
    assert "delete_patient_studies" in names(found["balanced"], "require_approval")


def test_git_stays_in_its_repository_and_takes_no_options(git_and_fetch: Path, tmp_path: Path) -> None:
    entries = drafts(listed(git_command(git_and_fetch), tmp_path), tmp_path)["balanced"].document["tools"]
    for entry in entries.values():
        assert entry["require"][0]["conditions"][0] == {
            "path": "args.repo_path",
            "op": "under",
            "value": [str(tmp_path)],
        }
    assert entries["git_show"]["deny_if"][0]["conditions"][0]["path"] == "args.revision"
    assert entries["git_reset"]["action"] == "require_approval"


def test_fetch_goes_where_its_owner_says(git_and_fetch: Path, tmp_path: Path) -> None:
    found = drafts(listed(fetch_command(git_and_fetch), tmp_path), tmp_path)
    assert found["balanced"].document["tools"]["fetch"]["require"][0]["conditions"][0]["op"] == "host_in"
    assert [own.rule for own in found["balanced"].owns] == ["/tools/fetch/require/0"]
    assert "169.254.169.254" in found["open"].document["tools"]["fetch"]["deny_if"][0]["conditions"][0]["value"]


def test_files_are_reached_where_the_owner_says(files_and_memory: Path, tmp_path: Path) -> None:
    entries = drafts(listed(filesystem_command(files_and_memory, tmp_path), tmp_path), tmp_path)["balanced"].document[
        "tools"
    ]
    unguarded = {name for name, entry in entries.items() if "require" not in entry}
    assert unguarded == {"list_allowed_directories"}
    assert {rule["conditions"][0]["path"] for rule in entries["move_file"]["require"]} == {
        "args.source",
        "args.destination",
    }


def test_what_is_remembered_is_not_forgotten_without_a_person(files_and_memory: Path, tmp_path: Path) -> None:
    found = drafts(listed(memory_command(files_and_memory, tmp_path / "graph"), tmp_path), tmp_path)
    assert names(found["balanced"], "require_approval") == {
        "delete_entities",
        "delete_observations",
        "delete_relations",
    }


def test_a_server_of_everything_is_drafted(everything_server: tuple[str, ...], tmp_path: Path) -> None:
    import os

    found = drafts(listed(ServerCommand(everything_server, dict(os.environ)), tmp_path), tmp_path)
    assert names(found["balanced"], "require_approval") == {"get-env"}
