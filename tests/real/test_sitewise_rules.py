"""Checks a policy for machines in a plant before the AWS server for IoT SiteWise: read everything, make no roles, delete nothing.

This server prints text on stdout before its first answer, and does not end when its input does: neither is the client's trouble.
The stand-in for AWS keeps a journal of what arrives; a refused call adds nothing to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import pytest

from support import StdioPeer, allow_everything, guard_argv, write_policy
from support.answers import code_of
from support.fake_aws import ASSET, MODEL, FakeAws, running_fake_aws
from support.processes import descendants, wait_until_gone
from support.servers import sitewise_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


READ_ONLY = 41
ROLE = "arn:aws:iam::123456789012:role/import"
READING = (
    "get_*",
    "list_*",
    "describe_*",
    "batch_get_*",
    "convert_*",
    "create_timestamp_range",
    "create_bulk_import_schema",
)
POLICY: dict[str, object] = {
    "default": "deny",
    "all_tools": {"deny_if": [{"conditions": [{"path": "args.region", "op": "not_in", "value": ["us-east-1"]}]}]},
    "tools": {name: {} for name in READING}
    | {
        "execute_query": {
            "require": [{"conditions": [{"path": "args.query_statement", "op": "regex", "value": "^SELECT [^;]*$"}]}]
        },
        "create_bulk_import_job": {
            "require": [
                {
                    "conditions": [{"path": "args.files.*.bucket", "op": "in", "value": ["measurements", "archive"]}],
                    "on_deny": "data comes from the buckets measurements and archive",
                },
                {"conditions": [{"path": "args.job_role_arn", "op": "eq", "value": ROLE}]},
            ],
            "deny_if": [{"conditions": [{"path": "args.delete_files_after_import", "op": "eq", "value": True}]}],
        },
        "delete_*": {"action": "deny", "reason": "what machines said is kept"},
        "create_bulk_import_iam_role": {"action": "deny", "reason": "roles are made by people"},
    },
}
"""Rules for all tools bite where an argument is absent too, so every good call here names its region."""

HERE = {"region": "us-east-1"}
JOB: dict[str, object] = {
    **HERE,
    "job_name": "nightly",
    "job_role_arn": ROLE,
    "files": [{"bucket": "measurements", "key": "1.parquet"}, {"bucket": "archive", "key": "2.parquet"}],
    "error_report_location": {"bucket": "errors", "prefix": "nightly/"},
    "job_configuration": {"fileFormat": {"parquet": {}}},
    "adaptive_ingestion": True,
}
FOREIGN = {"bucket": "elsewhere", "key": "1.parquet"}
IAM_ROLE: dict[str, object] = {**HERE, "data_bucket_names": ["elsewhere"], "error_bucket_name": "errors"}


@dataclass(frozen=True, slots=True)
class Detour:
    """A call that should not pass, and by what it is stopped.  `sends`: what the server alone sends to AWS for it."""

    claim: str
    tool: str
    arguments: dict[str, object]
    code: str
    sends: str = ""


def job(claim: str, code: str = "require", *, sends: str = "CreateBulkImportJob", **changed: object) -> Detour:
    return Detour(claim, "create_bulk_import_job", JOB | changed, code, sends)


def query(claim: str, text: object, sends: str = "ExecuteQuery") -> Detour:
    return Detour(claim, "execute_query", HERE | {"query_statement": text}, "require", sends)


DETOURS = (
    Detour("deleting an asset", "delete_asset", {**HERE, "asset_id": ASSET}, "denied", "DeleteAsset"),
    Detour("deleting a model", "delete_asset_model", {**HERE, "asset_model_id": MODEL}, "denied", "DeleteAssetModel"),
    Detour("deleting a gateway", "delete_gateway", {**HERE, "gateway_id": ASSET}, "denied", "DeleteGateway"),
    Detour("deleting a time series", "delete_time_series", {**HERE, "alias": "/a"}, "denied", "DeleteTimeSeries"),
    Detour("making a role", "create_bulk_import_iam_role", IAM_ROLE, "denied", "PutRolePolicy"),
    Detour("making a role, in capitals", "CREATE_BULK_IMPORT_IAM_ROLE", IAM_ROLE, "default_deny"),
    Detour(
        "making an asset",
        "create_asset",
        {**HERE, "asset_name": "mine", "asset_model_id": MODEL},
        "default_deny",
        "CreateAsset",
    ),
    Detour("storing elsewhere", "put_storage_configuration", {"storage_type": "MULTI_LAYER_STORAGE"}, "default_deny"),
    Detour("another region", "list_assets", {"region": "eu-west-1"}, "deny_if", "ListAssets"),
    Detour("no region", "list_assets", {}, "deny_if", "ListAssets"),
    Detour("a region under a second key", "list_assets", {**HERE, "Region": "eu-west-1"}, "deny_if", "ListAssets"),
    job("one foreign bucket of two", files=[{"bucket": "measurements", "key": "1"}, FOREIGN]),
    job("a foreign bucket in a text that is decoded", files=json.dumps([FOREIGN])),
    job("a bucket in another case", files=[{"bucket": "Measurements", "key": "1"}]),
    job("a bucket with a space", files=[{"bucket": "measurements ", "key": "1"}]),
    job("a bucket under a second key", sends="", files=[{"bucket": "measurements", "Bucket": "elsewhere", "key": "1"}]),
    job("no files", sends="", files=[]),
    job("files in an object", sends="", files={"0": FOREIGN}),
    job("another role", job_role_arn=f"{ROLE}-admin"),
    job("files that are deleted afterwards", "deny_if", delete_files_after_import=True),
    job("files that are deleted, in words", "deny_if", delete_files_after_import="yes"),
    job("files that are deleted, as a number", "deny_if", delete_files_after_import=1),
    query("a query that drops", "DROP TABLE asset"),
    query("a query that drops afterwards", "SELECT 1; DROP TABLE asset"),
    query("a query in a list", ["SELECT 1"], ""),
    query("a query behind a comment", "/* */ DROP TABLE asset --\nSELECT 1"),
)


@pytest.fixture(scope="module")
def aws() -> Iterator[FakeAws]:
    """Run what stands behind the guarded server."""
    with running_fake_aws() as services:
        yield services


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sitewise") / "log.jsonl"


@pytest.fixture(scope="module")
def guarded(sitewise: Path, aws: FakeAws, log: Path) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server, which would write if it were let."""
    server = sitewise_command(sitewise, aws.url)
    argv = guard_argv(write_policy(log.parent, POLICY), *server.argv, options=["--log", str(log)])
    with StdioPeer(argv, env=server.env) as peer:
        peer.initialize()
        yield peer


@pytest.fixture(scope="module")
def alone(sitewise: Path) -> Iterator[tuple[StdioPeer, FakeAws]]:
    """Yield a peer of the server without a guard, and what stands behind it."""
    with running_fake_aws() as services:
        server = sitewise_command(sitewise, services.url)
        with StdioPeer(server.argv, env=server.env) as peer:
            peer.initialize()
            yield peer, services


@pytest.mark.parametrize("detour", [each for each in DETOURS if each.sends], ids=attrgetter("claim"))
def test_the_server_alone_does_as_it_is_told(alone: tuple[StdioPeer, FakeAws], detour: Detour) -> None:
    peer, services = alone
    before = len(services.heard())
    peer.call(detour.tool, detour.arguments)
    assert detour.sends in services.heard()[before:]


@pytest.mark.parametrize("detour", DETOURS, ids=attrgetter("claim"))
def test_no_way_leads_around_a_rule(guarded: StdioPeer, aws: FakeAws, detour: Detour) -> None:
    before = aws.heard()
    answer = guarded.call(detour.tool, detour.arguments)
    assert aws.heard() == before
    assert code_of(answer) == detour.code


def test_no_tool_that_writes_is_listed_or_passes(
    guarded: StdioPeer, aws: FakeAws, alone: tuple[StdioPeer, FakeAws]
) -> None:
    every = {tool["name"] for tool in alone[0].request("tools/list")["result"]["tools"]}
    listed = {tool["name"] for tool in guarded.request("tools/list")["result"]["tools"]}
    assert len(every) == 73
    assert len(listed) == READ_ONLY + len({"create_bulk_import_job"})
    before = aws.heard()
    for tool in sorted(every - listed):
        assert code_of(guarded.call(tool, HERE)) in {"denied", "default_deny"}
    assert aws.heard() == before


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        pytest.param("list_assets", {}, ("ListAssets", "turbine"), id="assets"),
        pytest.param("describe_asset", {"asset_id": ASSET}, ("DescribeAsset", "turbine"), id="an asset"),
        pytest.param("list_asset_models", {}, ("ListAssetModels", "turbine model"), id="models"),
        pytest.param(
            "get_asset_property_value",
            {"asset_id": ASSET, "property_id": MODEL},
            ("GetAssetPropertyValue", "21.5"),
            id="a value",
        ),
        pytest.param(
            "execute_query",
            {"query_statement": "SELECT asset_name FROM asset"},
            ("ExecuteQuery", "turbine"),
            id="a query",
        ),
        pytest.param("create_bulk_import_job", JOB, ("CreateBulkImportJob", "PENDING"), id="an import"),
    ],
)
def test_a_good_call_arrives(
    guarded: StdioPeer, aws: FakeAws, tool: str, arguments: dict[str, object], expected: tuple[str, str]
) -> None:
    operation, found = expected
    before = len(aws.heard())
    result = guarded.call(tool, HERE | arguments)["result"]
    assert result["isError"] is False
    assert found in result["content"][0]["text"]
    assert operation in aws.heard()[before:]


def test_the_text_before_the_first_answer_is_kept_from_the_client_and_counted(
    alone: tuple[StdioPeer, FakeAws], guarded: StdioPeer, log: Path
) -> None:
    assert len(alone[0].noise) == 1
    assert alone[0].noise[0].startswith(b"Registered 41 read-only tools")
    assert guarded.noise == []
    events = [record for line in log.read_text().splitlines() if (record := json.loads(line))["kind"] == "event"]
    assert [(event["event"], event["direction"]) for event in events] == [("noise", "server_to_client")]


def test_a_server_that_does_not_end_with_its_input_is_gone_with_its_guard(
    sitewise: Path, tmp_path: Path, aws: FakeAws
) -> None:
    server = sitewise_command(sitewise, aws.url)
    with StdioPeer(guard_argv(allow_everything(tmp_path), *server.argv, options=["--no-log"]), env=server.env) as peer:
        peer.initialize()
        pids = descendants(peer.pid)
        assert pids
        peer.close_stdin()
        assert peer.wait() == 0
        assert wait_until_gone(pids, 0) == set()
        assert peer.noise == []
