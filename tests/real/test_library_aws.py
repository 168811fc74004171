"""Holds the library's policies for AWS servers against the servers themselves: each fits, and does what its cases say.

What a case refuses is sent to the guarded server, and what stands behind that keeps a journal: nothing may be added to it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from support import StdioPeer, guard_argv
from support.answers import code_of, text_of
from support.fake_aws import ASSET, DATASTORE, IMAGE_SETS, PATIENT, FakeAws, running_fake_aws, write_export_model
from support.resp import ask
from support.servers import healthimaging_command, http_get, sitewise_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Message
    from support.servers import ServerCommand, Service

POLICIES = Path(__file__).resolve().parents[2] / "policies"
ROLE = "arn:aws:iam::123456789012:role/example"
STORE = {"datastore_id": DATASTORE}
IMAGE = STORE | {"image_set_id": IMAGE_SETS[0]}
EXPORT = STORE | {"data_access_role_arn": ROLE, "output_s3_uri": "s3://example-bucket/today/"}
IMPORT = EXPORT | {"input_s3_uri": "s3://example-bucket/incoming/"}
UPDATE = IMAGE | {"latest_version_id": "1", "update_image_set_metadata_updates": {"revertToVersionId": "1"}}
NEVER_LISTED = {
    "prometheus": {"GetAvailableWorkspaces"},
    "valkey": {"json_arrpop", "json_arrtrim", "valkey_admin"},
    "sitewise": {
        "create_bulk_import_iam_role",
        "create_gateway",
        "delete_asset",
        "delete_asset_model",
        "delete_computation_model",
        "delete_gateway",
        "delete_time_series",
        "put_default_encryption_configuration",
        "put_logging_options",
        "put_storage_configuration",
        "update_gateway_capability_config",
    },
    "healthimaging": {
        "bulk_delete_by_criteria",
        "create_datastore",
        "delete_datastore",
        "delete_image_set",
        "delete_instance_in_series",
        "delete_instance_in_study",
        "delete_patient_studies",
        "delete_series_by_uid",
        "delete_study",
        "remove_instance_from_image_set",
        "remove_series_from_image_set",
        "tag_resource",
        "untag_resource",
    },
}
OFFERED = {"prometheus": 5, "valkey": 12, "sitewise": 73, "healthimaging": 39}
Journal: TypeAlias = Callable[[], object]

pytestmark = pytest.mark.real_server  # The fixtures are chosen by name, where nobody sees them.


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guarded server, what stands behind it, and what the guard has written down."""

    peer: StdioPeer
    heard: Journal
    log: Path
    server: ServerCommand


@pytest.fixture(scope="module")
def aws() -> Iterator[FakeAws]:
    """Run what stands behind two of the servers."""
    with running_fake_aws() as services:
        yield services


@pytest.fixture(scope="module")
def on_prometheus(
    prometheus_server: ServerCommand, prometheus: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    """Guard a server that asks Prometheus, which counts the requests that it serves."""

    def heard() -> object:
        lines = http_get(prometheus.port, "/metrics").decode().splitlines()
        return [each for each in lines if each.startswith("prometheus_http_requests_total") and "/metrics" not in each]

    yield from guarded("prometheus", prometheus_server, heard, tmp_path_factory)


@pytest.fixture(scope="module")
def on_valkey(
    valkey_server: ServerCommand, redis: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    """Guard a server that works on Redis, which counts the commands that it runs."""

    def heard() -> object:
        lines = str(ask(redis.port, "INFO", "commandstats")).splitlines()
        return [each for each in lines if not each.startswith("cmdstat_info:")]

    yield from guarded("valkey", valkey_server, heard, tmp_path_factory)


@pytest.fixture(scope="module")
def on_sitewise(sitewise: Path, aws: FakeAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Guard a server for machines, which would write if it were let."""
    yield from guarded("sitewise", sitewise_command(sitewise, aws.url), aws.heard, tmp_path_factory)


@pytest.fixture(scope="module")
def on_healthimaging(healthimaging: Path, aws: FakeAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Guard a server for medical images."""
    models = write_export_model(tmp_path_factory.mktemp("models"))
    server = healthimaging_command(healthimaging, aws.url, models)
    yield from guarded("healthimaging", server, aws.heard, tmp_path_factory)


@pytest.fixture(params=[*OFFERED])
def name(request: pytest.FixtureRequest) -> str:
    """Yield the name of each policy."""
    return str(request.param)


@pytest.fixture
def server(name: str, request: pytest.FixtureRequest) -> Guarded:
    """Return the guarded server that the policy is for."""
    found: Guarded = request.getfixturevalue(f"on_{name}")
    return found


def test_it_fits_the_server_as_it_is_today(name: str, server: Guarded) -> None:
    policy = str(POLICIES / f"{name}.json")
    words = [sys.executable, "-m", "mcpguard", "check", policy, "--", *server.server.argv]
    done = subprocess.run(words, env=dict(server.server.env), capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == f"{policy}: no findings, checked against {OFFERED[name]} tools\n", done.stderr
    assert done.returncode == 0


def test_what_is_refused_whatever_the_arguments_is_not_listed(name: str, server: Guarded) -> None:
    listed = {tool["name"] for tool in server.peer.request("tools/list")["result"]["tools"]}
    assert listed.isdisjoint(NEVER_LISTED[name])
    assert len(listed) == OFFERED[name] - len(NEVER_LISTED[name])


def test_no_case_that_is_refused_reaches_what_stands_behind_the_server(name: str, server: Guarded) -> None:
    before = server.heard()
    refused = [case for case in cases_of(name) if case["expect"] == "deny"]
    assert len(refused) > len(NEVER_LISTED[name])
    numbers = [server.peer.post("tools/call", params_of(case)) for case in refused]
    for case, number in zip(refused, numbers, strict=True):
        answer = server.peer.receive(id=number)
        if "/default" not in case["because"]:
            assert code_of(answer) in {"denied", "require", "deny_if", "arguments"}, case
        else:
            assert code_of(answer) == "default_deny", case
    assert server.heard() == before


@pytest.mark.parametrize("name", ["sitewise", "healthimaging"])
def test_what_a_person_refuses_does_not_arrive(name: str, server: Guarded) -> None:
    before = server.heard()
    asked = [case for case in cases_of(name) if case["expect"] == "approve"]
    for case in asked:
        assert code_of(answered_by(server.peer, params_of(case), "deny")) == "approval_denied", case
    assert server.heard() == before


@pytest.mark.parametrize(
    ("name", "tool", "arguments", "operation"),
    [
        ("sitewise", "update_asset", {"asset_id": ASSET, "asset_name": "pump"}, "UpdateAsset"),
        ("healthimaging", "update_image_set_metadata", UPDATE, "UpdateImageSetMetadata"),
    ],
    ids=["a change to an asset", "a change to a patient's record"],
)
def test_what_a_person_approves_arrives_once(
    server: Guarded, aws: FakeAws, tool: str, arguments: dict[str, Any], operation: str
) -> None:
    before = len(aws.heard())
    text_of(answered_by(server.peer, {"name": tool, "arguments": arguments}, "allow once"))
    assert aws.heard()[before:] == [operation]


@pytest.mark.parametrize(
    ("tool", "arguments", "operation"),
    [
        ("list_assets", {}, "ListAssets"),
        ("describe_asset", {"asset_id": ASSET, "region": "us-east-1"}, "DescribeAsset"),
        ("execute_query", {"query_statement": "SELECT asset_name FROM asset"}, "ExecuteQuery"),
        ("create_asset_model", {"asset_model_name": "pump"}, "CreateAssetModel"),
        (
            "create_buffered_ingestion_job",
            {
                "job_name": "nightly",
                "job_role_arn": ROLE,
                "files": [{"bucket": "example-bucket", "key": "1.parquet"}],
                "error_report_location": {"bucket": "example-bucket", "prefix": "errors/"},
                "job_configuration": {"fileFormat": {"parquet": {}}},
            },
            "CreateBulkImportJob",
        ),
    ],
    ids=["a list", "an asset", "a query", "a new model", "an import"],
)
def test_a_good_call_reaches_the_plant(
    on_sitewise: Guarded, aws: FakeAws, tool: str, arguments: dict[str, Any], operation: str
) -> None:
    before = len(aws.heard())
    assert '"success": true' in text_of(on_sitewise.peer.call(tool, arguments))
    assert aws.heard()[before:] == [operation]


@pytest.mark.parametrize(
    ("tool", "arguments", "operation"),
    [
        ("list_datastores", {}, "ListDatastores"),
        ("search_by_patient_id", STORE | {"patient_id": PATIENT}, "SearchImageSets"),
        ("get_patient_studies", STORE | {"patient_id": PATIENT}, "SearchImageSets"),
        ("get_image_set", IMAGE, "GetImageSet"),
        ("get_image_set_metadata", IMAGE, "GetImageSetMetadata"),
        ("get_image_frame", IMAGE | {"image_frame_information": {"imageFrameId": "1"}}, "GetImageFrame"),
    ],
    ids=["a list", "a search", "a search that says get", "an image set", "a record", "a picture"],
)
def test_a_good_call_reaches_the_images(
    on_healthimaging: Guarded, aws: FakeAws, tool: str, arguments: dict[str, Any], operation: str
) -> None:
    before = len(aws.heard())
    text_of(on_healthimaging.peer.call(tool, arguments))
    assert aws.heard()[before:] == [operation]


def test_an_import_is_started_and_looked_at(on_healthimaging: Guarded, aws: FakeAws) -> None:
    before = len(aws.heard())
    started = on_healthimaging.peer.call("start_dicom_import_job", IMPORT)["result"]["structuredContent"]
    found = on_healthimaging.peer.call("get_dicom_import_job", STORE | {"job_id": started["job_id"]})
    assert found["result"]["structuredContent"]["job_properties"]["output_s3_uri"] == IMPORT["output_s3_uri"]
    assert aws.heard()[before:] == ["StartDICOMImportJob", "GetDICOMImportJob"]


def test_the_eleventh_export_of_a_minute_does_not_arrive(on_healthimaging: Guarded, aws: FakeAws) -> None:
    before = len(aws.heard())
    for _ in range(10):
        text_of(on_healthimaging.peer.call("start_dicom_export_job", EXPORT))
    answer = on_healthimaging.peer.call("start_dicom_export_job", EXPORT)
    assert code_of(answer) == "rate_limited"
    assert answer["result"]["_meta"]["mcpguard/decision"]["rule"] == "/tools/start_dicom_export_job/limits/0"
    assert aws.heard()[before:] == ["StartDICOMExportJob"] * 10


def test_the_log_holds_a_hash_of_what_was_asked_about_a_patient_and_no_value(on_healthimaging: Guarded) -> None:
    on_healthimaging.peer.call("get_patient_series", STORE | {"patient_id": PATIENT})
    on_healthimaging.peer.call("delete_patient_studies", STORE | {"patient_id": PATIENT})
    text = on_healthimaging.log.read_text()
    records = [json.loads(line) for line in text.splitlines()]
    decisions = {record["tool"]: record for record in records if record["kind"] == "decision"}
    allowed, denied = decisions["get_patient_series"], decisions["delete_patient_studies"]
    assert (allowed["effect"], denied["effect"]) == ("allow", "deny")
    assert allowed["args_digest"]
    assert denied["args_digest"]
    assert not {key for record in records for key in record if key.startswith("arg")} - {"args_digest"}
    assert PATIENT not in text


def guarded(name: str, server: ServerCommand, heard: Journal, factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Run a server behind its policy, with a client whose user answers at once."""
    directory = factory.mktemp(name)
    document = json.loads((POLICIES / f"{name}.json").read_text())
    policy = directory / f"{name}.json"
    policy.write_text(json.dumps(document | {"approval": {"min_answer": "0s"}}))
    log = directory / "log.jsonl"
    with StdioPeer(guard_argv(policy, *server.argv, options=["--log", str(log)]), env=server.env) as peer:
        peer.initialize(capabilities={"elicitation": {"form": {}}})
        yield Guarded(peer, heard, log, server)


def cases_of(name: str) -> list[Message]:
    """Return the cases of a policy that are one call of a tool."""
    cases: list[Message] = json.loads((POLICIES / f"{name}.test.json").read_text())["cases"]
    return [case for case in cases if "tool" in case]


def params_of(case: Message) -> Message:
    return {"name": case["tool"], "arguments": case.get("arguments", {})}


def answered_by(peer: StdioPeer, params: Message, choice: str) -> Message:
    """Make a call that a person is asked about, who chooses this."""
    number = peer.post("tools/call", params)
    question = peer.receive(method="elicitation/create")
    peer.send({"id": question["id"], "result": {"action": "accept", "content": {"decision": choice}}})
    return peer.receive(id=number)
