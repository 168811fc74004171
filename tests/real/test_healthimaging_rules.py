"""Checks a policy for patient data before the AWS server for medical images: exports capped, buckets and roles on lists, nothing deleted.

The stand-in for AWS keeps a journal of what arrives; a refused call adds nothing to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import StdioPeer, guard_argv, write_policy
from support.answers import code_of
from support.fake_aws import (
    DATASTORE,
    IMAGE_SETS,
    INSTANCE,
    PATIENT,
    SERIES,
    STUDY,
    FakeAws,
    running_fake_aws,
    write_export_model,
)
from support.sdk_client import sdk_client
from support.servers import healthimaging_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sdk_client import Mode
    from support.servers import ServerCommand

CAPPED = Path(__file__).resolve().parents[2] / "policies" / "capped-export.json"
EXPORTS_A_MINUTE = 10
ROLE, OTHER_ROLE = "arn:aws:iam::123456789012:role/exports", "arn:aws:iam::123456789012:role/admin"
ON_THE_LIST = {
    "require": [
        {
            "conditions": [
                {"path": "args.output_s3_uri", "op": "regex", "value": "^s3://(exports|research)/[A-Za-z0-9/_-]*$"}
            ],
            "on_deny": "exports go to the buckets exports and research",
        },
        {"conditions": [{"path": "args.data_access_role_arn", "op": "in", "value": [ROLE]}]},
    ]
}
POLICY: dict[str, object] = {
    "default": "deny",
    "tools": {
        "get_*": {},
        "list_*": {},
        "search_*": {},
        "start_dicom_export_job": ON_THE_LIST | {"limits": [{"counter": "jobs", "window": "hour", "max": 1000}]},
        "start_dicom_import_job": ON_THE_LIST
        | {
            "arguments": {"properties": {"input_s3_uri": {"pattern": "^s3://incoming/"}}, "required": ["input_s3_uri"]},
            "limits": [{"counter": "jobs", "window": "hour", "max": 1000}],
        },
        "delete_*": {"action": "deny", "reason": "images are kept for ten years"},
        "bulk_delete_*": {"action": "deny", "reason": "images are kept for ten years"},
        "remove_*": {"action": "deny", "reason": "images are kept for ten years"},
    },
}
STORE = {"datastore_id": DATASTORE}
IMAGE = STORE | {"image_set_id": IMAGE_SETS[0]}
EXPORT: dict[str, object] = {**STORE, "data_access_role_arn": ROLE, "output_s3_uri": "s3://exports/today/"}
IMPORT: dict[str, object] = EXPORT | {"input_s3_uri": "s3://incoming/today/"}
DESTRUCTIVE: Mapping[str, Mapping[str, object]] = {
    "delete_image_set": IMAGE,
    "remove_series_from_image_set": IMAGE | {"series_instance_uid": SERIES},
    "remove_instance_from_image_set": IMAGE | {"series_instance_uid": SERIES, "sop_instance_uid": INSTANCE},
    "delete_instance_in_study": STORE | {"study_instance_uid": STUDY, "sop_instance_uid": INSTANCE},
    "delete_instance_in_series": STORE | {"series_instance_uid": SERIES, "sop_instance_uid": INSTANCE},
    "delete_series_by_uid": STORE | {"series_instance_uid": SERIES},
    "delete_study": STORE | {"study_instance_uid": STUDY},
    "delete_patient_studies": STORE | {"patient_id": PATIENT},
    "bulk_delete_by_criteria": STORE | {"criteria": {"DICOMPatientId": PATIENT}},
    "delete_datastore": STORE,
}
UNNAMED: Mapping[str, Mapping[str, object]] = {
    "create_datastore": {"datastore_name": "mine"},
    "copy_image_set": STORE | {"source_image_set_id": IMAGE_SETS[0], "copy_image_set_information": {}},
    "update_image_set_metadata": IMAGE | {"latest_version_id": "1", "update_image_set_metadata_updates": {}},
    "bulk_update_patient_metadata": STORE | {"patient_id": PATIENT, "metadata_updates": {}},
    "tag_resource": {"resource_arn": "arn:aws:x", "tags": {"a": "b"}},
}


@dataclass(frozen=True, slots=True)
class Detour:
    """A job that should not start, and by what it is stopped.  `starts`: the server alone starts it as it is asked."""

    claim: str
    tool: str
    arguments: dict[str, object]
    code: str
    starts: bool = True


def export(claim: str, code: str = "require", *, starts: bool = True, **changed: object) -> Detour:
    return Detour(claim, "start_dicom_export_job", EXPORT | changed, code, starts)


def imported(claim: str, code: str, *, starts: bool = True, **changed: object) -> Detour:
    return Detour(claim, "start_dicom_import_job", IMPORT | changed, code, starts)


DETOURS = (
    export("another bucket", output_s3_uri="s3://elsewhere/today/"),
    export("a bucket whose name begins alike", output_s3_uri="s3://exports-of-others/today/"),
    export("a bucket below the name", output_s3_uri="s3://exports.example.com/today/"),
    export("a bucket in another case", output_s3_uri="s3://Exports/today/"),
    export("a scheme in another case", output_s3_uri="S3://elsewhere/today/"),
    export("a good bucket as a user", output_s3_uri="s3://exports@elsewhere/today/"),
    export("a good bucket after a line", output_s3_uri="s3://elsewhere/\ns3://exports/today/"),
    export("a good bucket before a line", output_s3_uri="s3://exports/\n"),
    export("a way out of the bucket", output_s3_uri="s3://exports/../elsewhere/"),
    export("a space before", output_s3_uri=" s3://exports/today/"),
    export("fullwidth letters", output_s3_uri="s3://\uff45xports/today/"),
    export("a list for a bucket", output_s3_uri=["s3://exports/today/"], starts=False),
    export("an object for a bucket", output_s3_uri={"uri": "s3://exports/"}, starts=False),
    export("null for a bucket", output_s3_uri=None, starts=False),
    export("the bucket under a second key", outputS3Uri="s3://elsewhere/today/"),
    export("the bucket under a key in capitals", OUTPUT_S3_URI="s3://elsewhere/today/"),
    export("another role", data_access_role_arn=OTHER_ROLE),
    export("the role in another case", data_access_role_arn=ROLE.upper()),
    export("the role with a space", data_access_role_arn=f"{ROLE} "),
    export("the role under a second key", dataAccessRoleArn=OTHER_ROLE),
    export("two roles", data_access_role_arn=[ROLE, OTHER_ROLE], starts=False),
    imported("an import from another bucket", "arguments", input_s3_uri="s3://elsewhere/"),
    imported("an import to another bucket", "require", output_s3_uri="s3://elsewhere/"),
    imported("an import without a source", "arguments", input_s3_uri=None, starts=False),
    imported("an import with a second source", "arguments", inputS3Uri="s3://elsewhere/"),
    Detour("a tool in capitals", "START_DICOM_EXPORT_JOB", EXPORT, "default_deny", starts=False),
    Detour("a tool with a space", "start_dicom_export_job ", EXPORT, "default_deny", starts=False),
)


@pytest.fixture(scope="module")
def aws() -> Iterator[FakeAws]:
    """Run what stands behind the guarded server."""
    with running_fake_aws() as services:
        yield services


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("healthimaging")


@pytest.fixture(scope="module")
def models(directory: Path) -> Path:
    return write_export_model(directory / "models")


@pytest.fixture(scope="module")
def log(directory: Path) -> Path:
    return directory / "log.jsonl"


@pytest.fixture(scope="module")
def guarded(healthimaging: Path, models: Path, aws: FakeAws, directory: Path, log: Path) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server."""
    yield from started(write_policy(directory, POLICY), healthimaging_command(healthimaging, aws.url, models), log)


@pytest.fixture
def capped(healthimaging: Path, models: Path, aws: FakeAws, tmp_path: Path) -> Iterator[StdioPeer]:
    """Yield a peer of the server behind the example policy, with nothing used up."""
    yield from started(CAPPED, healthimaging_command(healthimaging, aws.url, models), tmp_path / "log.jsonl")


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_eleventh_export_of_a_minute_never_arrives(
    healthimaging: Path, models: Path, tmp_path: Path, mode: Mode
) -> None:
    with running_fake_aws() as aws:
        server = healthimaging_command(healthimaging, aws.url, models)
        argv = guard_argv(CAPPED, *server.argv, options=["--no-log"])
        async with sdk_client(argv, mode=mode, stderr=tmp_path / "stderr.txt", env=server.env) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["start_dicom_export_job"]
            for number in range(EXPORTS_A_MINUTE):
                result = await client.call_tool("start_dicom_export_job", EXPORT | {"job_name": f"job-{number}"})
                assert not result.is_error
                assert result.structured_content is not None
                assert result.structured_content["job_status"] == "SUBMITTED"
            refused = await client.call_tool("start_dicom_export_job", EXPORT | {"job_name": "one too many"})
        assert refused.is_error
        assert refused.structured_content is None
        assert refused.meta is not None
        assert refused.meta["mcpguard/decision"]["code"] == "rate_limited"
        assert 0 < refused.meta["mcpguard/decision"]["retry_after_ms"] <= 60_000
        assert aws.heard() == ["StartDICOMExportJob"] * EXPORTS_A_MINUTE
        assert [each.arguments["jobName"] for each in aws.journal] == [f"job-{n}" for n in range(EXPORTS_A_MINUTE)]


def test_of_thirty_exports_at_once_ten_arrive(capped: StdioPeer, aws: FakeAws) -> None:
    before = len(aws.heard())
    params = {"name": "start_dicom_export_job", "arguments": EXPORT}
    answers = [capped.receive(id=number) for number in [capped.post("tools/call", params) for _ in range(30)]]
    refused = [answer for answer in answers if answer["result"]["isError"]]
    assert [code_of(answer) for answer in refused] == ["rate_limited"] * 20
    assert aws.heard()[before:] == ["StartDICOMExportJob"] * EXPORTS_A_MINUTE


def test_the_server_alone_does_as_it_is_told(healthimaging: Path, models: Path) -> None:
    with running_fake_aws() as aws:
        server = healthimaging_command(healthimaging, aws.url, models)
        with StdioPeer(server.argv, env=server.env) as alone:
            alone.initialize()
            for detour in DETOURS:
                before = len(aws.heard())
                if detour.starts:
                    alone.call(detour.tool, detour.arguments)
                    assert len(aws.heard()) == before + 1, detour.claim
            before = len(aws.heard())
            for tool in ("remove_series_from_image_set", "delete_patient_studies", "delete_datastore"):
                alone.call(tool, DESTRUCTIVE[tool])
            done = aws.heard()[before:]
    assert done == [
        "GetImageSet",
        "UpdateImageSetMetadata",
        "SearchImageSets",
        "DeleteImageSet",
        "DeleteImageSet",
        "DeleteDatastore",
    ]


@pytest.mark.parametrize("detour", DETOURS, ids=attrgetter("claim"))
def test_no_way_leads_around_a_rule(guarded: StdioPeer, aws: FakeAws, detour: Detour) -> None:
    before = aws.heard()
    answer = guarded.call(detour.tool, detour.arguments)
    assert aws.heard() == before
    assert code_of(answer) == detour.code


@pytest.mark.parametrize("tool", [*DESTRUCTIVE, *UNNAMED])
def test_what_destroys_or_changes_never_arrives(guarded: StdioPeer, aws: FakeAws, tool: str) -> None:
    before = aws.heard()
    answer = guarded.call(tool, {**DESTRUCTIVE, **UNNAMED}[tool])
    assert aws.heard() == before
    assert code_of(answer) == ("denied" if tool in DESTRUCTIVE else "default_deny")


@pytest.mark.parametrize(
    ("tool", "arguments", "operation"),
    [
        pytest.param("start_dicom_export_job", EXPORT, "StartDICOMExportJob", id="an export"),
        pytest.param("start_dicom_import_job", IMPORT, "StartDICOMImportJob", id="an import"),
        pytest.param("search_by_patient_id", STORE | {"patient_id": PATIENT}, "SearchImageSets", id="a search"),
        pytest.param("get_image_set", IMAGE, "GetImageSet", id="an image set"),
        pytest.param("list_datastores", {}, "ListDatastores", id="a list"),
    ],
)
def test_a_good_call_arrives_as_it_was_asked(
    guarded: StdioPeer, aws: FakeAws, tool: str, arguments: dict[str, Any], operation: str
) -> None:
    before = len(aws.heard())
    assert guarded.call(tool, arguments)["result"]["isError"] is False
    (heard,) = aws.journal[before:]
    assert heard.operation == operation
    for name, sent in (("output_s3_uri", "outputS3Uri"), ("data_access_role_arn", "dataAccessRoleArn")):
        assert heard.arguments.get(sent) == arguments.get(name)


def test_a_job_that_was_started_can_be_looked_at(guarded: StdioPeer) -> None:
    started_job = guarded.call("start_dicom_import_job", IMPORT)["result"]["structuredContent"]
    found = guarded.call("get_dicom_import_job", STORE | {"job_id": started_job["job_id"]})
    assert found["result"]["structuredContent"]["job_properties"]["input_s3_uri"] == IMPORT["input_s3_uri"]


def test_only_what_could_be_called_is_listed(guarded: StdioPeer) -> None:
    tools = [tool["name"] for tool in guarded.request("tools/list")["result"]["tools"]]
    jobs = {"start_dicom_export_job", "start_dicom_import_job"}
    assert len(tools) == 22
    assert {tool for tool in tools if not tool.startswith(("get_", "list_", "search_"))} == jobs


def test_the_agent_hears_where_exports_may_go(guarded: StdioPeer) -> None:
    answer = guarded.call("start_dicom_export_job", EXPORT | {"output_s3_uri": "s3://elsewhere/"})
    assert "exports go to the buckets exports and research" in answer["result"]["content"][0]["text"]


def test_the_log_names_no_patient(guarded: StdioPeer, log: Path) -> None:
    assert guarded.call("get_patient_studies", STORE | {"patient_id": PATIENT})["result"]["isError"] is False
    guarded.call("delete_patient_studies", STORE | {"patient_id": PATIENT})
    text = log.read_text()
    assert '"tool":"get_patient_studies"' in text
    assert '"tool":"delete_patient_studies"' in text
    assert PATIENT not in text


def started(policy: Path, server: ServerCommand, log: Path) -> Iterator[StdioPeer]:
    """Run the guarded server, its handshake done."""
    with StdioPeer(guard_argv(policy, *server.argv, options=["--log", str(log)]), env=server.env) as peer:
        peer.initialize()
        yield peer
