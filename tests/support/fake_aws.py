"""Stands in for the AWS services that moto lacks: HealthImaging, IoT SiteWise, and as much of IAM as makes a role.

Knows the shapes of their answers and hardly a rule: what was made can be looked at, listed and deleted.  Ids count up and
the clock stands still, so two runs of one conversation are alike.  Every request is in the journal before it is answered, also one that
nobody here can answer: what a test wants to see there, or not, has really arrived.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.stdio import Message

DATASTORE = "5d" * 16
PATIENT = "patient-7"
STUDY, SERIES, INSTANCE = "1.2.826.1", "1.2.826.1.2", "1.2.826.1.2.3"
IMAGE_SETS = ("a1" * 16, "b2" * 16)
MODEL = "3f1e0a52-0000-4000-8000-00000000000a"
ASSET = "3f1e0a52-0000-4000-8000-00000000000b"
"""What is there from the beginning."""

NOON = 1_767_268_800
_ACCOUNT = "123456789012"
_UNANSWERED = "UnknownOperationException"
_RANDOM = {"clientToken"}


@dataclass(frozen=True, slots=True)
class Heard:
    """A request that arrived: the operation's name, and what it was given by path, query and body."""

    operation: str
    arguments: Message


class MissingError(LookupError):
    """Nothing of that kind has that id."""


@dataclass
class Cabinet:
    """Everything there is, by kind and id."""

    _drawers: dict[str, dict[str, Message]] = field(default_factory=dict)
    _made: int = 0

    def number(self) -> int:
        """Count one up."""
        self._made += 1
        return self._made

    def put(self, kind: str, key: str, record: Message) -> None:
        """Keep a record."""
        self._drawers.setdefault(kind, {})[key] = record

    def get(self, kind: str, key: str) -> Message:
        """Return a record.

        Raises:
            MissingError: there is none.
        """
        try:
            return self._drawers.get(kind, {})[key]
        except KeyError:
            raise MissingError(f"{kind} {key} does not exist") from None

    def take(self, kind: str, key: str) -> Message:
        """Return a record and forget it."""
        record = self.get(kind, key)
        del self._drawers[kind][key]
        return record

    def all(self, kind: str) -> list[Message]:
        """Return all records of a kind."""
        return list(self._drawers.get(kind, {}).values())


@dataclass(frozen=True, slots=True)
class Blob:
    """An answer that is no JSON."""

    data: bytes
    content_type: str
    encoding: str = ""


Reply: TypeAlias = dict[str, Any] | Blob
Work: TypeAlias = Callable[[Cabinet, dict[str, Any]], Reply]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: where it is reached, and what it does."""

    name: str
    method: str
    path: str
    work: Work

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return what stands in the path, if this is the operation that is wanted."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        found = re.fullmatch(f"{pattern}/?", path) if method == self.method else None
        return {name: unquote(text) for name, text in found.groupdict().items()} if found else None


class FakeAws:
    """The services, as they answer on one port of this machine."""

    def __init__(self) -> None:
        self.journal: list[Heard] = []
        self._cabinet = _furnished()
        self._turn = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        """Where they answer."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def heard(self) -> list[str]:
        """Return the names of the operations that arrived so far, in their order."""
        with self._turn:
            return [heard.operation for heard in self.journal]

    def serve(self) -> None:
        """Answer until `stop`."""
        self._server.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Do what a request asks for; return status, headers and body."""
        url = urlsplit(target)
        given: dict[str, Any] = dict(parse_qsl(url.query)) | _read(body)
        with self._turn:
            operation, named = _wanted(method, url.path, given)
            given |= named
            name = operation.name if operation else f"{method} {url.path}"
            self.journal.append(Heard(name, {key: value for key, value in given.items() if key not in _RANDOM}))
            if operation is None:
                return _problem(404, _UNANSWERED, f"nobody answers {name} here")
            try:
                return _written(operation.work(self._cabinet, given))
            except MissingError as error:
                return _problem(404, "ResourceNotFoundException", str(error))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        aws = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # An answer in two packets waits for the client's delayed acknowledgement.

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, data = aws.answer(self.command, self.path, body)
                # Nothing that says when, or by which Python, it was answered: some tools hand the headers on.
                self.send_response_only(status)
                for name, value in {**headers, "content-length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the library calls them so

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def running_fake_aws() -> Iterator[FakeAws]:
    """Run the services, with nothing in them but what is there from the beginning."""
    aws = FakeAws()
    thread = threading.Thread(target=aws.serve, daemon=True)
    thread.start()
    try:
        yield aws
    finally:
        aws.stop()
        thread.join()


def write_export_model(directory: Path) -> Path:
    """Write what boto3 has to know to start export jobs, and return the value for `AWS_DATA_PATH`.

    The HealthImaging server offers them, but the AWS client library that it is installed with may not know the operations:
    then such a call fails before anything is sent.  This is the library's own way of adding to what it knows.
    """
    folder = directory / "medical-imaging" / "2023-07-19"
    folder.mkdir(parents=True)
    (folder / "service-2.sdk-extras.json").write_text(json.dumps({"version": 1.0, "merge": _EXPORT_MODEL}))
    return directory


# HealthImaging


def _create_datastore(cabinet: Cabinet, given: Message) -> Message:
    key = f"{cabinet.number():032x}"
    cabinet.put("datastore", key, _datastore(key, given["datastoreName"]))
    return {"datastoreId": key, "datastoreStatus": "CREATING"}


def _datastore(key: str, name: str) -> Message:
    times = {"createdAt": NOON, "updatedAt": NOON}
    arn = f"arn:aws:medical-imaging:us-east-1:{_ACCOUNT}:datastore/{key}"
    return {"datastoreId": key, "datastoreName": name, "datastoreStatus": "ACTIVE", "datastoreArn": arn} | times


def _get_datastore(cabinet: Cabinet, given: Message) -> Message:
    return {"datastoreProperties": cabinet.get("datastore", given["datastoreId"])}


def _list_datastores(cabinet: Cabinet, _: Message) -> Message:
    return {"datastoreSummaries": cabinet.all("datastore")}


def _delete_datastore(cabinet: Cabinet, given: Message) -> Message:
    return {
        "datastoreId": cabinet.take("datastore", given["datastoreId"])["datastoreId"],
        "datastoreStatus": "DELETING",
    }


def _start_job(kind: str, cabinet: Cabinet, given: Message) -> Message:
    cabinet.get("datastore", given["datastoreId"])
    key = f"{cabinet.number():032x}"
    kept = ("datastoreId", "dataAccessRoleArn", "inputS3Uri", "outputS3Uri")
    job = {name: given[name] for name in kept if name in given} | {"jobId": key, "jobName": given.get("jobName", "job")}
    cabinet.put(kind, key, job | {"jobStatus": "COMPLETED", "submittedAt": NOON, "endedAt": NOON})
    return {"datastoreId": given["datastoreId"], "jobId": key, "jobStatus": "SUBMITTED", "submittedAt": NOON}


def _get_job(kind: str, cabinet: Cabinet, given: Message) -> Message:
    return {"jobProperties": cabinet.get(kind, given["jobId"])}


def _list_jobs(kind: str, cabinet: Cabinet, given: Message) -> Message:
    return {"jobSummaries": [job for job in cabinet.all(kind) if job["datastoreId"] == given["datastoreId"]]}


def _search_image_sets(cabinet: Cabinet, given: Message) -> Message:
    tags = {"DICOMPatientId": PATIENT, "DICOMStudyInstanceUID": STUDY, "DICOMSeriesInstanceUID": SERIES}
    wanted = [value.items() for each in given.get("filters", []) for value in each["values"]]
    found = [
        {"imageSetId": each["imageSetId"], "version": 1, "createdAt": NOON, "updatedAt": NOON, "DICOMTags": tags}
        for each in cabinet.all("image set")
        if all(items <= tags.items() for items in wanted)
    ]
    return {"imageSetsMetadataSummaries": found}


def _image_set(key: str) -> Message:
    state = {"versionId": "1", "latestVersionId": "1", "imageSetState": "ACTIVE", "imageSetWorkflowStatus": "CREATED"}
    return {"datastoreId": DATASTORE, "imageSetId": key, "createdAt": NOON, "updatedAt": NOON} | state


def _get_image_set(cabinet: Cabinet, given: Message) -> Message:
    return cabinet.get("image set", given["imageSetId"])


def _image_set_metadata(cabinet: Cabinet, given: Message) -> Blob:
    cabinet.get("image set", given["imageSetId"])
    series = {SERIES: {"DICOM": {"Modality": "CT"}, "Instances": {INSTANCE: {"DICOM": {}, "ImageFrames": []}}}}
    study = {"DICOM": {"StudyInstanceUID": STUDY}, "Series": series}
    text = json.dumps({"SchemaVersion": "1.1", "Patient": {"DICOM": {"PatientID": PATIENT}}, "Study": study})
    return Blob(gzip.compress(text.encode(), mtime=0), "application/json", "gzip")


def _image_set_versions(cabinet: Cabinet, given: Message) -> Message:
    return {"imageSetPropertiesList": [cabinet.get("image set", given["imageSetId"])]}


def _delete_image_set(cabinet: Cabinet, given: Message) -> Message:
    return cabinet.take("image set", given["imageSetId"]) | {
        "imageSetState": "DELETED",
        "imageSetWorkflowStatus": "DELETED",
    }


def _copy_image_set(cabinet: Cabinet, given: Message) -> Message:
    key = f"{cabinet.number():032x}"
    cabinet.put("image set", key, _image_set(key))
    source = cabinet.get("image set", given["sourceImageSetId"])
    return {
        "datastoreId": given["datastoreId"],
        "sourceImageSetProperties": source,
        "destinationImageSetProperties": cabinet.get("image set", key),
    }


def _image_frame(cabinet: Cabinet, given: Message) -> Blob:
    cabinet.get("image set", given["imageSetId"])
    return Blob(b"\x00\x01\xff a frame", "application/octet-stream")


def _tags(cabinet: Cabinet, given: Message) -> Message:
    try:
        return {"tags": cabinet.get("tags", given["resourceArn"])}
    except MissingError:
        return {"tags": {}}


def _tag(cabinet: Cabinet, given: Message) -> Message:
    cabinet.put("tags", given["resourceArn"], _tags(cabinet, given)["tags"] | given["tags"])
    return {}


def _untag(cabinet: Cabinet, given: Message) -> Message:
    left = {name: value for name, value in _tags(cabinet, given)["tags"].items() if name != given["tagKeys"]}
    cabinet.put("tags", given["resourceArn"], left)
    return {}


# IoT SiteWise: assets and their models are handled alike.


def _thing(kind: str, key: str, given: Message) -> Message:
    arn = f"arn:aws:iotsitewise:us-east-1:{_ACCOUNT}:{kind}/{key}"
    return {"key": key, "arn": arn, "name": given[f"{kind}Name"], "assetModelId": given.get("assetModelId", MODEL)}


def _create_thing(kind: str, cabinet: Cabinet, given: Message) -> Message:
    key = str(UUID(int=cabinet.number()))
    cabinet.put(kind, key, _thing(kind, key, given))
    return {f"{kind}Id": key, f"{kind}Arn": cabinet.get(kind, key)["arn"], f"{kind}Status": {"state": "CREATING"}}


def _describe_thing(kind: str, cabinet: Cabinet, given: Message) -> Message:
    thing = cabinet.get(kind, given[f"{kind}Id"])
    lists: Message = {f"{kind}Properties": [], f"{kind}Hierarchies": [], f"{kind}CompositeModels": []}
    times = {f"{kind}CreationDate": NOON, f"{kind}LastUpdateDate": NOON}
    names = {f"{kind}Id": thing["key"], f"{kind}Arn": thing["arn"], f"{kind}Name": thing["name"]}
    rest = {f"{kind}Description": "", f"{kind}Status": {"state": "ACTIVE"}}
    return {"assetModelId": thing["assetModelId"]} | names | lists | times | rest


def _list_things(kind: str, cabinet: Cabinet, _: Message) -> Message:
    state = {"status": {"state": "ACTIVE"}, "hierarchies": [], "description": ""}
    times = {"creationDate": NOON, "lastUpdateDate": NOON}
    summaries = [{"id": each["key"]} | each | times | state for each in cabinet.all(kind)]
    return {f"{kind}Summaries": summaries}


def _update_thing(kind: str, cabinet: Cabinet, given: Message) -> Message:
    key = given[f"{kind}Id"]
    cabinet.put(kind, key, cabinet.get(kind, key) | {"name": given[f"{kind}Name"]})
    return {f"{kind}Id": key, f"{kind}Status": {"state": "UPDATING"}}


def _delete_thing(kind: str, cabinet: Cabinet, given: Message) -> Message:
    return {f"{kind}Id": cabinet.take(kind, given[f"{kind}Id"])["key"], f"{kind}Status": {"state": "DELETING"}}


def _list_associated(_: Cabinet, __: Message) -> Message:
    return {"assetSummaries": []}


def _execute_query(_: Cabinet, __: Message) -> Message:
    columns = [{"name": "asset_name", "type": {"scalarType": "STRING"}}]
    return {"columns": columns, "rows": [{"data": [{"scalarValue": "turbine"}]}]}


def _latest_value(_: Cabinet, __: Message) -> Message:
    value = {
        "value": {"doubleValue": 21.5},
        "timestamp": {"timeInSeconds": NOON, "offsetInNanos": 0},
        "quality": "GOOD",
    }
    return {"propertyValue": value}


def _put_values(_: Cabinet, __: Message) -> Message:
    return {"errorEntries": []}


def _list_time_series(_: Cabinet, __: Message) -> Message:
    return {"TimeSeriesSummaries": []}


def _delete_time_series(_: Cabinet, __: Message) -> Message:
    return {}


def _create_gateway(cabinet: Cabinet, given: Message) -> Message:
    key = str(UUID(int=cabinet.number()))
    cabinet.put("gateway", key, {"gatewayId": key, "gatewayName": given["gatewayName"]})
    return {"gatewayId": key, "gatewayArn": f"arn:aws:iotsitewise:us-east-1:{_ACCOUNT}:gateway/{key}"}


def _list_gateways(cabinet: Cabinet, _: Message) -> Message:
    times = {"creationDate": NOON, "lastUpdateDate": NOON}
    return {"gatewaySummaries": [each | times for each in cabinet.all("gateway")]}


def _delete_gateway(cabinet: Cabinet, given: Message) -> Message:
    cabinet.take("gateway", given["gatewayId"])
    return {}


def _storage(_: Cabinet, given: Message) -> Message:
    kind = given.get("storageType", "SITEWISE_DEFAULT_STORAGE")
    return {"storageType": kind, "configurationStatus": {"state": "ACTIVE"}, "lastUpdateDate": NOON}


def _create_bulk_job(cabinet: Cabinet, given: Message) -> Message:
    key = str(UUID(int=cabinet.number()))
    cabinet.put("bulk job", key, {"id": key, "name": given["jobName"], "status": "PENDING"})
    return {"jobId": key, "jobName": given["jobName"], "jobStatus": "PENDING"}


def _list_bulk_jobs(cabinet: Cabinet, _: Message) -> Message:
    return {"jobSummaries": cabinet.all("bulk job")}


# IAM, which speaks forms and XML


def _create_role(_: Cabinet, given: Message) -> Blob:
    name = given["RoleName"]
    arn = f"<Arn>arn:aws:iam::{_ACCOUNT}:role/{name}</Arn><CreateDate>2026-01-01T12:00:00Z</CreateDate>"
    role = f"<Role><Path>/</Path><RoleName>{name}</RoleName><RoleId>AROA</RoleId>{arn}</Role>"
    return _xml("CreateRole", role)


def _put_role_policy(_: Cabinet, __: Message) -> Blob:
    return _xml("PutRolePolicy", "")


def _xml(action: str, result: str) -> Blob:
    metadata = "<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>"
    text = f"<{action}Response><{action}Result>{result}</{action}Result>{metadata}</{action}Response>"
    return Blob(text.encode(), "text/xml")


def _crud(kind: str, path: str) -> tuple[Operation, ...]:
    name, one = kind[0].upper() + kind[1:], f"{path}/{{{kind}Id}}"
    return (
        Operation(f"Create{name}", "POST", path, partial(_create_thing, kind)),
        Operation(f"Describe{name}", "GET", one, partial(_describe_thing, kind)),
        Operation(f"List{name}s", "GET", path, partial(_list_things, kind)),
        Operation(f"Update{name}", "PUT", one, partial(_update_thing, kind)),
        Operation(f"Delete{name}", "DELETE", one, partial(_delete_thing, kind)),
    )


def _jobs(kind: str) -> tuple[Operation, ...]:
    store = "datastore/{datastoreId}"
    return (
        Operation(f"StartDICOM{kind}Job", "POST", f"/startDICOM{kind}Job/{store}", partial(_start_job, kind)),
        Operation(f"GetDICOM{kind}Job", "GET", f"/getDICOM{kind}Job/{store}/job/{{jobId}}", partial(_get_job, kind)),
        Operation(f"ListDICOM{kind}Jobs", "GET", f"/listDICOM{kind}Jobs/{store}", partial(_list_jobs, kind)),
    )


def _image_sets(**works: Work) -> tuple[Operation, ...]:
    one = "/datastore/{datastoreId}/imageSet/{imageSetId}"
    return tuple(
        Operation(name, "POST", f"{one}/{name[0].lower()}{name[1:]}", answer) for name, answer in works.items()
    )


_OPERATIONS = (
    Operation("CreateDatastore", "POST", "/datastore", _create_datastore),
    Operation("ListDatastores", "GET", "/datastore", _list_datastores),
    Operation("GetDatastore", "GET", "/datastore/{datastoreId}", _get_datastore),
    Operation("DeleteDatastore", "DELETE", "/datastore/{datastoreId}", _delete_datastore),
    *_jobs("Import"),
    *_jobs("Export"),
    Operation("SearchImageSets", "POST", "/datastore/{datastoreId}/searchImageSets", _search_image_sets),
    *_image_sets(
        GetImageSet=_get_image_set,
        GetImageSetMetadata=_image_set_metadata,
        GetImageFrame=_image_frame,
        ListImageSetVersions=_image_set_versions,
        UpdateImageSetMetadata=_get_image_set,
        DeleteImageSet=_delete_image_set,
    ),
    Operation(
        "CopyImageSet", "POST", "/datastore/{datastoreId}/imageSet/{sourceImageSetId}/copyImageSet", _copy_image_set
    ),
    Operation("ListTagsForResource", "GET", "/tags/{resourceArn}", _tags),
    Operation("TagResource", "POST", "/tags/{resourceArn}", _tag),
    Operation("UntagResource", "DELETE", "/tags/{resourceArn}", _untag),
    *_crud("asset", "/assets"),
    *_crud("assetModel", "/asset-models"),
    Operation("ListAssociatedAssets", "GET", "/assets/{assetId}/hierarchies", _list_associated),
    Operation("ExecuteQuery", "POST", "/queries/execution", _execute_query),
    Operation("GetAssetPropertyValue", "GET", "/properties/latest", _latest_value),
    Operation("BatchPutAssetPropertyValue", "POST", "/properties", _put_values),
    Operation("ListTimeSeries", "GET", "/timeseries", _list_time_series),
    Operation("DeleteTimeSeries", "POST", "/timeseries/delete", _delete_time_series),
    Operation("CreateGateway", "POST", "/20200301/gateways", _create_gateway),
    Operation("ListGateways", "GET", "/20200301/gateways", _list_gateways),
    Operation("DeleteGateway", "DELETE", "/20200301/gateways/{gatewayId}", _delete_gateway),
    Operation("DescribeStorageConfiguration", "GET", "/configuration/account/storage", _storage),
    Operation("PutStorageConfiguration", "POST", "/configuration/account/storage", _storage),
    Operation("CreateBulkImportJob", "POST", "/jobs", _create_bulk_job),
    Operation("ListBulkImportJobs", "GET", "/jobs", _list_bulk_jobs),
)
_ACTIONS = {
    "CreateRole": Operation("CreateRole", "POST", "/", _create_role),
    "PutRolePolicy": Operation("PutRolePolicy", "POST", "/", _put_role_policy),
}


def _furnished() -> Cabinet:
    cabinet = Cabinet()
    cabinet.put("datastore", DATASTORE, _datastore(DATASTORE, "images"))
    for key in IMAGE_SETS:
        cabinet.put("image set", key, _image_set(key))
    cabinet.put("assetModel", MODEL, _thing("assetModel", MODEL, {"assetModelName": "turbine model"}))
    cabinet.put("asset", ASSET, _thing("asset", ASSET, {"assetName": "turbine", "assetModelId": MODEL}))
    return cabinet


def _wanted(method: str, path: str, given: Message) -> tuple[Operation | None, dict[str, str]]:
    if path == "/" and "Action" in given:
        return _ACTIONS.get(given["Action"]), {}
    for operation in _OPERATIONS:
        named = operation.match(method, path)
        if named is not None:
            return operation, named
    return None, {}


def _read(body: bytes) -> Message:
    """Read a body as JSON, or else as a form."""
    try:
        value = json.loads(body)
    except ValueError:
        return dict(parse_qsl(body.decode(errors="replace")))
    return value if isinstance(value, dict) else {"body": value}


def _written(reply: Reply) -> tuple[int, dict[str, str], bytes]:
    match reply:
        case Blob():
            encoding = {"content-encoding": reply.encoding} if reply.encoding else {}
            return 200, {"content-type": reply.content_type} | encoding, reply.data
        case _:
            return 200, {"content-type": "application/json"}, json.dumps(reply).encode()


def _problem(status: int, kind: str, message: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"content-type": "application/json", "x-amzn-errortype": kind}
    return status, headers, json.dumps({"message": message}).encode()


def _members(shapes: Message, *, uri: tuple[str, ...] = (), query: tuple[str, ...] = ()) -> Message:
    """Write an input or output of the AWS client library's model."""
    places = {name: {"location": "uri", "locationName": name} for name in uri}
    places |= {name: {"location": "querystring", "locationName": name} for name in query}
    members = {name: {"shape": shape} | places.get(name, {}) for name, shape in shapes.items()}
    return {"type": "structure", "required": list(uri), "members": members}


def _operation_model(name: str, method: str, path: str) -> Message:
    http = {"method": method, "requestUri": path, "responseCode": 200}
    shapes = {"input": {"shape": f"{name}Request"}, "output": {"shape": f"{name}Response"}, "errors": []}
    return {"name": name, "http": http} | shapes


_JOB = {"datastoreId": "DatastoreId", "jobId": "JobId", "jobStatus": "JobStatus", "submittedAt": "Date"}
_JOB_DETAILS = {"jobName": "JobName", "dataAccessRoleArn": "RoleArn", "outputS3Uri": "S3Uri", "endedAt": "Date"}
_EXPORT_INPUT = {
    "datastoreId": "DatastoreId",
    "dataAccessRoleArn": "RoleArn",
    "outputS3Uri": "S3Uri",
    "jobName": "JobName",
    "clientToken": "ClientToken",
    "studyInstanceUID": "Message",
    "seriesInstanceUID": "Message",
    "sopInstanceUID": "Message",
    "submittedBefore": "Message",
    "submittedAfter": "Message",
}
_EXPORT_MODEL = {
    "operations": {
        each.name: _operation_model(each.name, each.method, each.path) for each in _OPERATIONS if "Export" in each.name
    },
    "shapes": {
        "StartDICOMExportJobRequest": _members(_EXPORT_INPUT, uri=("datastoreId",)),
        "StartDICOMExportJobResponse": _members(_JOB),
        "GetDICOMExportJobRequest": _members(
            {"datastoreId": "DatastoreId", "jobId": "JobId"}, uri=("datastoreId", "jobId")
        ),
        "GetDICOMExportJobResponse": _members({"jobProperties": "DICOMExportJobProperties"}),
        "DICOMExportJobProperties": _members(_JOB | _JOB_DETAILS),
        "ListDICOMExportJobsRequest": _members(
            {"datastoreId": "DatastoreId", "jobStatus": "JobStatus", "nextToken": "NextToken"},
            uri=("datastoreId",),
            query=("jobStatus", "nextToken"),
        ),
        "ListDICOMExportJobsResponse": _members({"jobSummaries": "DICOMExportJobSummaries", "nextToken": "NextToken"}),
        "DICOMExportJobSummaries": {"type": "list", "member": {"shape": "DICOMExportJobProperties"}},
    },
}
