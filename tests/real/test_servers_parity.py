"""Checks that under a policy that allows everything the guard changes nothing before six servers that people use.

Each has one conversation with the SDK's client in every revision that it speaks, and one with a raw client whose lines are compared
byte by byte: once directly and once through the guard, each time with a fresh state behind it.  What is left behind is compared too:
requests that arrived at a back end, files, commits.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from support import StdioPeer, allow_everything, guard_argv, servers
from support.fake_aws import (
    ASSET,
    DATASTORE,
    IMAGE_SETS,
    INSTANCE,
    MODEL,
    PATIENT,
    SERIES,
    STUDY,
    FakeAws,
    running_fake_aws,
    write_export_model,
)
from support.sdk_client import Ears, as_json, sdk_client
from support.stdio import FIRST_REPLY_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcp.client.client import Client
    from pydantic import BaseModel

    from support.sdk_client import Mode
    from support.servers import ServerCommand

pytestmark = [
    pytest.mark.real_server,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

Call: TypeAlias = tuple[str, Mapping[str, object]]

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
ROLE = "arn:aws:iam::123456789012:role/r"
GRAPH = "memory://knowledge-graph"


@dataclass(frozen=True, slots=True)
class Scene:
    """A server on a fresh state: what to ask of it, what differs between two such states, and what is there afterwards.

    `slow_calls` are made in the handshake era only: they fail, and the server takes half a second to write down why.
    """

    server: ServerCommand
    calls: Sequence[Call]
    differs: Mapping[str, str]
    left_behind: Callable[[], object]
    slow_calls: Sequence[Call] = ()


Enter: TypeAlias = Callable[["Path", "Path"], AbstractContextManager[Scene]]


@dataclass(frozen=True, slots=True)
class Subject:
    """A server: the fixture that says where it is installed, how many tools it has, and what its releases speak.

    `tells_the_time` names tools whose answers are never alike; only their form is compared.  `ends` says whether the server ends
    with its input.
    """

    name: str
    home: str
    enter: Enter
    tools: int
    modes: tuple[Mode, ...] = ("legacy", "2026-07-28")
    tells_the_time: tuple[str, ...] = ()
    ends: bool = True


@dataclass
class Conversation:
    """What was answered at every step, what the client heard meanwhile, and what is left behind."""

    answers: dict[str, Any] = field(default_factory=dict)
    ears: Ears = field(default_factory=Ears)
    left_behind: object = None


@dataclass
class Pair:
    """One conversation, had twice."""

    subject: Subject
    mode: Mode
    direct: Conversation = field(default_factory=Conversation)
    guarded: Conversation = field(default_factory=Conversation)


@dataclass(frozen=True, slots=True)
class Lines:
    """What came over stdout in two conversations with the same lines; and how the servers that end by themselves ended."""

    direct: list[str]
    guarded: list[str]
    statuses: list[int]


@contextmanager
def healthimaging_scene(home: Path, directory: Path) -> Iterator[Scene]:
    store, image = {"datastore_id": DATASTORE}, {"datastore_id": DATASTORE, "image_set_id": IMAGE_SETS[0]}
    job = store | {"data_access_role_arn": ROLE, "output_s3_uri": "s3://out/"}
    patient, study, series = {"patient_id": PATIENT}, {"study_instance_uid": STUDY}, {"series_instance_uid": SERIES}
    instance = {"sop_instance_uid": INSTANCE}
    others = {"patient_id": "nobody", "study_instance_uid": "9.9", "series_instance_uid": "9.9.9"}
    resource = {"resource_arn": "arn:aws:medical-imaging:us-east-1:1:datastore/x"}
    copied = {"sourceImageSet": {"latestVersionId": "1"}}
    changes = {"DICOMUpdates": {"updatableAttributes": "e30="}}
    calls: tuple[Call, ...] = (
        ("list_datastores", {}),
        ("get_datastore", store),
        ("create_datastore", {"datastore_name": "new"}),
        ("list_datastores", {}),
        ("start_dicom_import_job", job | {"input_s3_uri": "s3://in/"}),
        ("get_dicom_import_job", store | {"job_id": f"{2:032x}"}),
        ("list_dicom_import_jobs", store),
        ("start_dicom_export_job", job | {"job_name": "Überweisung\u2028"}),
        ("get_dicom_export_job", store | {"job_id": f"{3:032x}"}),
        ("list_dicom_export_jobs", store),
        ("search_image_sets", store),
        ("get_image_set", image),
        ("get_image_set_metadata", image),
        ("get_image_frame", image | {"image_frame_information": {"imageFrameId": "1"}}),
        ("list_image_set_versions", image),
        (
            "update_image_set_metadata",
            image | {"latest_version_id": "1", "update_image_set_metadata_updates": changes},
        ),
        ("tag_resource", resource | {"tags": {"a": "b", "c": "d"}}),
        ("untag_resource", resource | {"tag_keys": ["a"]}),
        ("list_tags_for_resource", resource),
        ("search_by_patient_id", store | patient),
        ("search_by_study_uid", store | study),
        ("search_by_series_uid", store | series),
        ("get_patient_studies", store | patient),
        ("get_patient_series", store | patient),
        ("get_study_primary_image_sets", store | study),
        ("get_series_primary_image_set", store | series),
        ("get_patient_dicomweb_studies", store | patient),
        ("remove_series_from_image_set", image | series),
        ("update_patient_study_metadata", store | others | {"patient_updates": {"a": 1}, "study_updates": {}}),
        ("bulk_update_patient_metadata", store | others | {"metadata_updates": {"a": 1.10}}),
        ("delete_instance_in_study", store | others | instance),
        ("delete_instance_in_series", store | others | instance),
        ("delete_series_by_uid", store | others),
        ("delete_image_set", image),
        ("delete_study", store | study),
        ("delete_patient_studies", store | patient),
        ("bulk_delete_by_criteria", store | {"criteria": {"DICOMPatientId": PATIENT}}),
        ("delete_datastore", store),
        ("list_datastores", {}),
    )
    slow_calls: tuple[Call, ...] = (
        ("get_datastore", {"datastore_id": "too short"}),
        ("copy_image_set", store | {"source_image_set_id": IMAGE_SETS[0], "copy_image_set_information": copied}),
        ("remove_instance_from_image_set", image | series | instance),
    )
    with running_fake_aws() as aws:
        server = servers.healthimaging_command(home, aws.url, write_export_model(directory / "models"))
        yield Scene(server, calls, {}, lambda: requests_heard_by(aws), slow_calls)


@contextmanager
def sitewise_scene(home: Path, _: Path) -> Iterator[Scene]:
    calls: tuple[Call, ...] = (
        ("list_assets", {}),
        ("create_asset_model", {"asset_model_name": "pump model"}),
        ("create_asset", {"asset_name": "pump", "asset_model_id": MODEL}),
        ("describe_asset", {"asset_id": ASSET}),
        ("describe_asset", {"asset_id": "externalId:nobody"}),
        ("update_asset", {"asset_id": ASSET, "asset_name": "old pump"}),
        ("list_assets", {}),
        ("list_associated_assets", {"asset_id": ASSET, "hierarchy_id": MODEL}),
        ("describe_asset_model", {"asset_model_id": MODEL}),
        ("list_asset_models", {}),
        ("get_asset_property_value", {"asset_id": ASSET, "property_id": MODEL}),
        ("execute_query", {"query_statement": "SELECT asset_name FROM asset"}),
        ("execute_query", {"query_statement": "DROP TABLE asset"}),
        (
            "create_gateway",
            {"gateway_name": "gate", "gateway_platform": {"greengrassV2": {"coreDeviceThingName": "t"}}},
        ),
        ("list_gateways", {}),
        ("create_bulk_import_iam_role", {"data_bucket_names": ["in"], "error_bucket_name": "errors"}),
        ("convert_unix_timestamp", {"timestamp": 1767268800}),
        ("convert_multiple_timestamps", {"timestamps": [0, 1767268800]}),
        ("delete_asset", {"asset_id": ASSET}),
    )
    with running_fake_aws() as aws:
        yield Scene(servers.sitewise_command(home, aws.url), calls, {}, lambda: requests_heard_by(aws))


@contextmanager
def filesystem_scene(home: Path, directory: Path) -> Iterator[Scene]:
    tree = directory / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "notes.txt").write_text("one\ntwo\nthree \U0001f600\n")
    (tree / "below" / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tree / "out").symlink_to("../outside")
    (directory / "outside").mkdir()
    (directory / "outside" / "file.txt").write_text("not for you")
    notes, new = str(tree / "notes.txt"), str(tree / "new" / "file.txt")
    edits = [{"oldText": "two", "newText": "zwei"}]
    calls: tuple[Call, ...] = (
        ("list_allowed_directories", {}),
        ("read_file", {"path": notes}),
        ("read_text_file", {"path": notes, "head": 2}),
        ("read_text_file", {"path": notes, "tail": 1, "head": 1}),
        ("read_text_file", {"path": "notes.txt"}),
        ("read_text_file", {"path": str(directory / "outside" / "file.txt")}),
        ("read_text_file", {"path": str(tree / "out" / "file.txt")}),
        ("read_text_file", {"path": f"{tree}/../outside/file.txt"}),
        ("read_text_file", {"path": "C:\\notes.txt"}),
        ("read_text_file", {"path": 5}),
        ("read_media_file", {"path": str(tree / "below" / "image.png")}),
        ("read_multiple_files", {"paths": [notes, str(tree / "none.txt")]}),
        ("create_directory", {"path": str(tree / "new")}),
        ("write_file", {"path": new, "content": 'with "quotes"\u2028 and a line end\r\n'}),
        ("read_file", {"path": new}),
        ("edit_file", {"path": notes, "edits": edits, "dryRun": True}),
        ("edit_file", {"path": notes, "edits": edits}),
        ("edit_file", {"path": notes, "edits": edits}),
        ("move_file", {"source": new, "destination": str(tree / "moved.txt")}),
        ("list_directory", {"path": str(tree)}),
        ("list_directory_with_sizes", {"path": str(tree), "sortBy": "size"}),
        ("directory_tree", {"path": str(tree)}),
        ("search_files", {"path": str(tree), "pattern": "**/*.txt"}),
        ("get_file_info", {"path": notes}),
    )
    server = servers.filesystem_command(home, tree)
    yield Scene(server, calls, {str(directory): "<directory>"}, lambda: files_below(directory))


@contextmanager
def memory_scene(home: Path, directory: Path) -> Iterator[Scene]:
    memory = directory / "memory.jsonl"
    ada = {"name": "Ada", "entityType": "person", "observations": ["likes numbers like 1.10"]}
    engine = {"name": "Engine", "entityType": "machine", "observations": []}
    made = {"from": "Ada", "to": "Engine", "relationType": "describes"}
    calls: tuple[Call, ...] = (
        ("read_graph", {}),
        ("create_entities", {"entities": [ada, engine]}),
        ("create_entities", {"entities": [ada]}),
        ("create_entities", {"entities": "Ada"}),
        ("create_relations", {"relations": [made]}),
        ("add_observations", {"observations": [{"entityName": "Ada", "contents": ["wrote\u2028 notes"]}]}),
        ("add_observations", {"observations": [{"entityName": "Nobody", "contents": []}]}),
        ("search_nodes", {"query": "numbers"}),
        ("open_nodes", {"names": ["Engine"]}),
        ("delete_observations", {"deletions": [{"entityName": "Ada", "observations": ["wrote\u2028 notes"]}]}),
        ("delete_relations", {"relations": [made]}),
        ("delete_entities", {"entityNames": ["Engine"]}),
        ("read_graph", {}),
    )
    yield Scene(servers.memory_command(home, memory), calls, {str(directory): "<directory>"}, memory.read_text)


@contextmanager
def git_scene(home: Path, directory: Path) -> Iterator[Scene]:
    repository = servers.new_repository(directory / "repository")
    here = {"repo_path": str(repository)}
    calls: tuple[Call, ...] = (
        ("git_status", here),
        ("git_status", {"repo_path": str(directory)}),
        ("git_diff_unstaged", here),
        ("git_diff_staged", here | {"context_lines": 0}),
        ("git_diff", here | {"target": "side"}),
        ("git_diff", here | {"target": "--output=x"}),
        ("git_log", here | {"max_count": 1}),
        ("git_log", here),
        ("git_show", here | {"revision": "HEAD"}),
        ("git_show", here | {"revision": "HEAD:notes.txt"}),
        ("git_branch", here | {"branch_type": "all"}),
        ("git_commit", here | {"message": 'ein "Gruß"\u2028'}),
        ("git_commit", here | {"message": "nothing"}),
        ("git_add", here | {"files": ["notes.txt"]}),
        ("git_add", here | {"files": ["../outside.txt"]}),
        ("git_add", here | {"files": []}),
        ("git_reset", here),
        ("git_create_branch", here | {"branch_name": "new", "base_branch": "side"}),
        ("git_checkout", here | {"branch_name": "new"}),
        ("git_log", here | {"start_timestamp": "-1"}),
    )
    yield Scene(servers.git_command(home), calls, {str(directory): "<directory>"}, lambda: everything_in(repository))


@contextmanager
def fetch_scene(home: Path, _: Path) -> Iterator[Scene]:
    with servers.running_site() as site:
        address = f"http://127.0.0.1:{site.port}"
        calls: tuple[Call, ...] = (
            ("fetch", {"url": f"{address}/page"}),
            ("fetch", {"url": f"{address}/page", "raw": True}),
            ("fetch", {"url": f"{address}/plain"}),
            ("fetch", {"url": f"{address}/long", "max_length": 50, "start_index": 9990}),
            ("fetch", {"url": f"{address}/long", "start_index": 10000}),
            ("fetch", {"url": f"{address}/long"}),
            ("fetch", {"url": f"{address}/private"}),
            ("fetch", {"url": f"{address}/nothing"}),
            ("fetch", {"url": f"{address}/to/%2Fplain"}),
            ("fetch", {"url": "http://127.0.0.1:1/"}),
            ("fetch", {"url": "no address"}),
            ("fetch", {"url": f"{address}/plain", "max_length": "7"}),
            ("fetch", {}),
        )
        differs = {f"127.0.0.1:{site.port}": "<site>"}
        yield Scene(servers.fetch_command(home), calls, differs, lambda: sorted(site.journal))


SUBJECTS = (
    Subject("HealthImaging", "healthimaging", healthimaging_scene, 39),
    Subject("SiteWise", "sitewise", sitewise_scene, 73, ("legacy",), ("get_current_timestamp",), ends=False),
    Subject("filesystem", "files_and_memory", filesystem_scene, 14, ("legacy",), ("get_file_info",)),
    Subject("memory", "files_and_memory", memory_scene, 9, ("legacy",)),
    Subject("git", "git_and_fetch", git_scene, 12),
    Subject("fetch", "git_and_fetch", fetch_scene, 1),
)
LEGACY_ONLY = [subject for subject in SUBJECTS if subject.modes == ("legacy",)]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((subject, mode), id=f"{subject.name}, {mode}") for subject in SUBJECTS for mode in subject.modes
    ],
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Have the conversation with a server alone and through the guard, at the same time."""
    subject, mode = request.param
    home = request.getfixturevalue(subject.home)
    pair = Pair(subject, mode)
    directories = tmp_path_factory.mktemp("direct"), tmp_path_factory.mktemp("guarded")

    async def both() -> None:
        async with anyio.create_task_group() as running:
            running.start_soon(converse, pair, pair.direct, home, directories[0])
            running.start_soon(converse, pair, pair.guarded, home, directories[1])

    anyio.run(both)
    return pair


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((subject, mode), id=f"{subject.name}, {mode}") for subject in SUBJECTS for mode in subject.modes
    ],
)
def lines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """Have the conversation of lines with a server alone and through the guard, until the input ends."""
    subject, mode = request.param
    home = request.getfixturevalue(subject.home)
    directories = tmp_path_factory.mktemp("direct"), tmp_path_factory.mktemp("guarded")
    with ExitStack() as stack:
        one, other = (stack.enter_context(subject.enter(home, directory)) for directory in directories)
        direct = stack.enter_context(StdioPeer(one.server.argv, env=one.server.env))
        guarded = stack.enter_context(StdioPeer(guarded_argv(other.server, directories[1]), env=other.server.env))
        for peer, scene in ((direct, one), (guarded, other)):
            speak(peer, scene, mode)
            peer.close_stdin()
        statuses = [peer.wait() for peer in (direct, guarded)] if subject.ends else []
        assert guarded.noise == []
        return Lines(heard(direct, one), heard(guarded, other), statuses)


def test_every_answer_is_the_server_s_own(pair: Pair) -> None:
    direct, guarded = pair.direct.answers, pair.guarded.answers
    assert list(guarded) == list(direct)
    for step in direct:
        if step.partition(": ")[2] in pair.subject.tells_the_time:
            assert form_of(guarded[step]) == form_of(direct[step])
        else:
            assert guarded[step] == direct[step], step


def test_the_conversation_leaves_no_tool_out_and_most_do_their_work(pair: Pair) -> None:
    tools = {tool["name"] for tool in pair.direct.answers["tools"]["tools"]}
    called = [(step.partition(": ")[2], answer) for step, answer in pair.direct.answers.items() if ": " in step]
    assert len(tools) == pair.subject.tools
    assert pair.mode != "legacy" or {name for name, _ in called} == tools
    worked = {name for name, answer in called if answer.get("isError") is not True}
    assert len(worked) >= len(tools) / 2


def test_the_same_notifications_and_requests_reach_the_client(pair: Pair) -> None:
    assert pair.guarded.ears.notifications == pair.direct.ears.notifications
    assert pair.guarded.ears.requests == pair.direct.ears.requests
    heard = [message["method"] for message in pair.direct.ears.notifications + pair.direct.ears.requests]
    expected = {"memory": "notifications/resources/updated", "filesystem": "roots/list"}
    assert set(heard) == ({expected[pair.subject.name]} if pair.subject.name in expected else set())


def test_the_same_is_left_behind(pair: Pair) -> None:
    assert pair.guarded.left_behind == pair.direct.left_behind
    assert pair.direct.left_behind


def test_every_line_is_the_server_s_own_to_the_byte(lines: Lines) -> None:
    assert lines.guarded[1:] == lines.direct[1:]
    assert json.loads(lines.guarded[0])["result"] == as_passed_on(json.loads(lines.direct[0])["result"])


def test_the_end_of_input_ends_both_with_the_same_status(lines: Lines) -> None:
    assert lines.statuses in ([0, 0], [])


@pytest.mark.parametrize("subject", LEGACY_ONLY, ids=lambda subject: subject.name)
def test_these_releases_speak_no_later_revision(
    request: pytest.FixtureRequest, subject: Subject, tmp_path: Path
) -> None:
    """When this fails, a newer server is pinned: the conversation must be had in 2026-07-28 too."""
    with (
        subject.enter(request.getfixturevalue(subject.home), tmp_path) as scene,
        StdioPeer(scene.server.argv, env=scene.server.env) as peer,
    ):
        assert "error" in peer.request("server/discover", {"_meta": META}, deadline_s=FIRST_REPLY_S)


async def converse(pair: Pair, talk: Conversation, home: Path, directory: Path) -> None:
    """Have one of the two conversations, on a fresh state."""
    mode, guarded = pair.mode, talk is pair.guarded
    with pair.subject.enter(home, directory) as scene:
        argv = guarded_argv(scene.server, directory) if guarded else scene.server.argv
        stderr = directory / "stderr.txt"
        async with sdk_client(argv, mode=mode, stderr=stderr, ears=talk.ears, env=scene.server.env) as client:
            await greet(client, talk, mode, guarded)
            await lists(client, talk)
            await calls(client, talk, scene, mode)
            await prompts_and_resources(client, talk, mode)
            await what_does_not_exist(client, talk)
        stderr.unlink()
        talk.answers = without(talk.answers, scene.differs)
        talk.left_behind = without(scene.left_behind(), scene.differs)


async def greet(client: Client, talk: Conversation, mode: Mode, guarded: bool) -> None:
    capabilities = as_json(client.server_capabilities)
    talk.answers["handshake"] = {
        "version": client.protocol_version,
        "server": client.server_info and as_json(client.server_info),
        "capabilities": capabilities if guarded else as_passed_on({"capabilities": capabilities})["capabilities"],
        "instructions": client.instructions,
    }
    if mode == "legacy":
        talk.answers["ping"] = await said(client.send_ping())
        talk.answers["logging"] = await said(client.set_logging_level("debug"))
        talk.answers["subscription"] = await said(client.subscribe_resource(GRAPH))


async def lists(client: Client, talk: Conversation) -> None:
    talk.answers["tools"] = await said(client.list_tools())
    talk.answers["prompts"] = await said(client.list_prompts())
    talk.answers["resources"] = await said(client.list_resources())
    talk.answers["templates"] = await said(client.list_resource_templates())


async def calls(client: Client, talk: Conversation, scene: Scene, mode: Mode) -> None:
    """Make the calls of the scene, one of each other tool with the least that its schema asks for, and some at once."""
    slow = scene.slow_calls if mode == "legacy" else ()
    made = {name for name, _ in (*scene.calls, *scene.slow_calls)}
    others = [
        (tool["name"], {name: least(schema) for name, schema in required(tool["inputSchema"])})
        for tool in talk.answers["tools"]["tools"]
        if tool["name"] not in made
    ]
    for number, (name, arguments) in enumerate([*slow, *scene.calls, *others]):
        talk.answers[f"{number}: {name}"] = await said(client.call_tool(name, dict(arguments)))
    async with anyio.create_task_group() as running:
        for number in range(5):
            running.start_soon(call_once_more, client, talk, f"at once {number}", scene.calls[0])
    talk.answers = dict(sorted(talk.answers.items()))


async def call_once_more(client: Client, talk: Conversation, step: str, call: Call) -> None:
    talk.answers[step] = await said(client.call_tool(call[0], dict(call[1])))


async def prompts_and_resources(client: Client, talk: Conversation, mode: Mode) -> None:
    for prompt in talk.answers["prompts"].get("prompts", []):
        arguments = {each["name"]: "words" for each in prompt.get("arguments", [])}
        talk.answers[f"prompt {prompt['name']}"] = await said(client.get_prompt(prompt["name"], arguments))
    for resource in talk.answers["resources"].get("resources", []):
        talk.answers[f"resource {resource['uri']}"] = await said(client.read_resource(resource["uri"]))
    if mode == "legacy":
        talk.answers["no subscription"] = await said(client.unsubscribe_resource(GRAPH))


async def what_does_not_exist(client: Client, talk: Conversation) -> None:
    talk.answers["no tool"] = await said(client.call_tool("nobody", {}))
    talk.answers["no prompt"] = await said(client.get_prompt("nobody", {}))
    talk.answers["no resource"] = await said(client.read_resource("nowhere://at/all"))
    prompt = types.PromptReference(type="ref/prompt", name="nobody")
    talk.answers["no completion"] = await said(client.complete(prompt, {"name": "a", "value": "b"}))


async def said(answer: Awaitable[BaseModel]) -> Any:
    """Return an answer, or the error that stands in its place."""
    try:
        return as_json(await answer)
    except MCPError as error:
        return {"error": as_json(error.error)}


def speak(peer: StdioPeer, scene: Scene, mode: Mode) -> None:
    """Say the same lines in either era, and wait for what comes of each."""
    meta = {"_meta": META} if mode != "legacy" else {}
    if mode == "legacy":
        peer.initialize()
        peer.request("ping")
        peer.request("logging/setLevel", {"level": "info"})
        peer.notify("notifications/cancelled", {"requestId": 77, "reason": "never asked"})
    else:
        peer.request("server/discover", meta, deadline_s=FIRST_REPLY_S)
        subscription = peer.post("subscriptions/listen", meta | {"notifications": {"toolsListChanged": True}})
        peer.receive()
        peer.notify("notifications/cancelled", meta | {"requestId": subscription})
    for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
        peer.request(method, meta)
    for name, arguments in scene.calls[:5]:
        peer.request("tools/call", meta | {"name": name, "arguments": arguments})
    peer.request("tools/call", meta | {"name": "nobody"})
    peer.request("prompts/get", meta | {"name": "nobody"})
    peer.request("resources/read", meta | {"uri": "nowhere://at/all"})
    peer.request("no/such/method", meta)


def heard(peer: StdioPeer, scene: Scene) -> list[str]:
    """Return the lines that are messages, as they came."""
    return [without(line.decode(), scene.differs) for line in peer.lines if line not in peer.noise]


def guarded_argv(server: ServerCommand, directory: Path) -> list[str]:
    """Return the command line of the server behind a guard that allows everything."""
    policies = directory / "policy"
    policies.mkdir()
    return guard_argv(allow_everything(policies), *server.argv, options=["--no-log"])


def as_passed_on(greeting: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a client should get of a server's greeting: the guard can always say that a list has changed."""
    capabilities = {
        name: value | {"listChanged": True} if name in {"tools", "prompts", "resources"} else value
        for name, value in greeting["capabilities"].items()
    }
    return {**greeting, "capabilities": capabilities}


def without(value: Any, differs: Mapping[str, str]) -> Any:
    """Return JSON with each text that differs replaced by the word for it."""
    text = json.dumps(value, ensure_ascii=False)
    for one, word in differs.items():
        text = text.replace(one, word)
    return json.loads(text)


def form_of(value: Any) -> Any:
    """Return JSON with only the kinds of its values."""
    match value:
        case dict():
            return {name: form_of(each) for name, each in value.items()}
        case list():
            return [form_of(each) for each in value]
        case _:
            return type(value).__name__


def required(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, schema["properties"][name]) for name in schema.get("required", [])]


def least(schema: Mapping[str, Any]) -> object:
    """Return a value of the type that a schema asks for."""
    values = {"string": "x", "integer": 1, "number": 1.5, "boolean": False, "array": [], "object": {}}
    return values.get(schema.get("type", "string"), "x")


def requests_heard_by(aws: FakeAws) -> list[object]:
    return [[heard.operation, heard.arguments] for heard in aws.journal]


def files_below(directory: Path) -> dict[str, str]:
    """Return the files that the server may have touched, and what is in them; the guard's policy is none."""
    found = sorted(path for path in directory.rglob("*") if path.is_file() and path.parent.name != "policy")
    return {str(path.relative_to(directory)): path.read_bytes().hex() for path in found}


def everything_in(repository: Path) -> list[str]:
    """Return what git can tell about a repository."""
    questions = (
        ("log", "--all", "--format=%H %an %ae %ad %s"),
        ("status", "--porcelain", "--branch"),
        ("for-each-ref",),
        ("ls-files", "--stage"),
    )
    return [servers.git(repository, *words) for words in questions]
