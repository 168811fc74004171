"""Checks the library's policy for the AWS server that runs commands of the AWS CLI: it looks, and changes, reads and reveals nothing.

The server may do whatever the CLI can, against a moto server whose log tells what arrived.  It is sent to a proxy for everything else.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from support import StdioPeer, guard_argv, write_policy
from support.answers import code_of, text_of
from support.library import library_cases, library_policy, without_limits
from support.outside import Outside, running_outside
from support.servers import aws_api_command, running_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.servers import ServerCommand, Service
    from support.stdio import Message

START_S = 90.0
CONTENT = "a line of a private key"
HARMLESS = {"region", "query", "output", "color", "version"}
"""Options of every command that change neither as whom nor where it is sent."""
CASES = [case for case in library_cases("aws-api") if case.get("tool") == "call_aws"]
GOOD = [case["arguments"] for case in CASES if case["expect"] == "allow"]
BARE = re.compile("aws ec2 describe-[a-z-]+$")
BAD = [case["arguments"] for case in CASES if case["expect"] == "deny"]


OPERATIONS = """
import importlib.resources, json, re, sys
import botocore.session
session = botocore.session.get_session()
file = importlib.resources.files("awslabs.aws_api_mcp_server.core") / "data" / "api_metadata.json"
kinds = json.loads(file.read_text())
for service in sys.argv[2:]:
    model = session.get_service_model({"s3api": "s3"}.get(service, service))
    for name in model.operation_names:
        command = f"aws {service} {botocore.xform_name(name, '-')}"
        if re.search(sys.argv[1], command):
            file = " file" if model.operation_model(name).has_streaming_output else ""
            print(*command.split()[1:], str(kinds.get(model.service_name, {}).get(name, {}).get("type")) + file)
"""
"""Prints each operation that matches, by service, with what the server takes it for, and whether it writes a file."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the server's working directory, with a file in it."""
    place = tmp_path_factory.mktemp("aws-api")
    (place / "secret.txt").write_text(CONTENT)
    return place


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with running_outside(tmp_path_factory.mktemp("outside")) as outside:
        yield outside


@pytest.fixture(scope="module")
def server(aws_api: Path, moto_server: Service, outside: Outside, place: Path) -> ServerCommand:
    return aws_api_command(aws_api, moto_server.url, outside, place)


@pytest.fixture(scope="module")
def alone(server: ServerCommand) -> Iterator[StdioPeer]:
    """Yield a peer of the server without a guard."""
    with StdioPeer(server.argv, env=server.env) as peer:
        peer.initialize(deadline_s=START_S)
        yield peer


@pytest.fixture(scope="module")
def guarded(server: ServerCommand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server; no limit is reached."""
    policy = write_policy(tmp_path_factory.mktemp("policy"), without_limits(library_policy("aws-api")))
    with StdioPeer(guard_argv(policy, *server.argv, options=["--no-log"]), env=server.env) as peer:
        peer.initialize(deadline_s=START_S)
        yield peer


def arrived(moto: Service) -> list[str]:
    """Return the requests that have reached AWS."""
    return [line for line in moto.log.read_text().splitlines() if "HTTP/1.1" in line]


def run(peer: StdioPeer, *commands: str) -> list[Message]:
    """Run one command, or a list of them, and return what became of each."""
    command: object = commands[0] if len(commands) == 1 else commands
    answer = peer.call("call_aws", {"cli_command": command})
    text_of(answer)
    done: list[Message] = answer["result"]["structuredContent"]["result"]
    return done


def words_of(aws_api: Path, table: str) -> set[str]:
    """Ask the server's own AWS CLI for the names in a table."""
    program = f"from awscli.clidriver import create_clidriver as c; print(*{table})"
    done = subprocess.run([aws_api / "bin" / "python", "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_server_alone_changes_and_destroys(alone: StdioPeer, moto_server: Service) -> None:
    run(alone, "aws s3api create-bucket --bucket lab-bucket", "aws s3 rb s3://lab-bucket")
    made, gone = arrived(moto_server)[-2:]
    assert "PUT /lab-bucket " in made
    assert "DELETE /lab-bucket " in gone


@pytest.mark.parametrize(
    ("command", "found"),
    [
        pytest.param("aws cloudformation describe-stacks --stack-name file://secret.txt", CONTENT, id="a file"),
        pytest.param("aws cloudformation describe-stacks --stack-name 'file://secret.txt'", CONTENT, id="quotes"),
        pytest.param("aws iam create-access-key --user-name nobody", "nobody", id="a key for another user"),
        pytest.param(
            "aws sts assume-role --role-arn arn:aws:iam::123456789012:role/admin --role-session-name lab",
            "SecretAccessKey",
            id="another role",
        ),
        pytest.param("aws s3 ls --prof admin", "The config profile (admin)", id="another profile, in short"),
        pytest.param('aws s3 ls --pro"file" admin', "The config profile (admin)", id="another profile, in quotes"),
    ],
)
def test_the_server_alone_reveals_what_it_is_asked_for(alone: StdioPeer, command: str, found: str) -> None:
    assert found in json.dumps(run(alone, command))


@pytest.mark.parametrize("option", ["--endpoint-url ", "--e ", "--end", "--endpoint-url="])
def test_the_server_alone_sends_requests_to_whoever_listens_on_this_machine(alone: StdioPeer, option: str) -> None:
    spelled = {"--end": "--end "}.get(option, option)
    with running_site() as site:
        run(alone, f"aws s3 ls {spelled}http://127.0.0.1:{site.port}")
        assert site.journal == ["127.0.0.1/"]


def test_what_the_library_refuses_reaches_nobody(guarded: StdioPeer, moto_server: Service, outside: Outside) -> None:
    before = arrived(moto_server), list(outside.journal)
    for arguments in BAD:
        assert code_of(guarded.call("call_aws", arguments)) == "arguments", arguments
    assert (arrived(moto_server), outside.journal) == before
    assert len(BAD) > 100


def test_what_the_library_allows_is_understood_by_the_server_and_reaches_aws(
    guarded: StdioPeer, moto_server: Service
) -> None:
    for arguments in (each for each in GOOD if not BARE.match(str(each["cli_command"]))):
        before = len(arrived(moto_server))
        answer = guarded.call("call_aws", arguments)
        text_of(answer)
        done = answer["result"]["structuredContent"]["result"]
        assert [each for each in done if "Error while validating" in str(each.get("error"))] == [], arguments
        assert len(arrived(moto_server)) > before, arguments


def test_a_list_runs_if_all_of_it_is_good_and_not_at_all_if_one_is_not(
    guarded: StdioPeer, moto_server: Service
) -> None:
    first, second = run(guarded, "aws sts get-caller-identity", "aws s3 ls")
    assert "123456789012" in first["response"]["as_json"]
    assert second["error"] == ""
    before = arrived(moto_server)
    commands = ["aws sts get-caller-identity", "aws s3 mb s3://lab-other"]
    assert code_of(guarded.call("call_aws", {"cli_command": commands})) == "arguments"
    assert arrived(moto_server) == before


def test_no_operation_that_passes_changes_anything_or_writes_a_file(aws_api: Path) -> None:
    """By what the server's own lists say of it; operations that are too new for these are described as reads by their names."""
    (form, operations, *_) = library_policy("aws-api")["tools"]["call_aws"]["arguments"]["$defs"]["command"]["allOf"]
    services = {str(each["cli_command"]).split()[1] for each in GOOD if isinstance(each["cli_command"], str)}
    services.remove("ec2")  # each of its operations is named, and its model takes long to load
    words = [aws_api / "bin" / "python", "-c", OPERATIONS, operations["pattern"], *sorted(services)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = [line.split() for line in done.stdout.splitlines()]
    assert len(found) > 200
    assert [each for each in found if each[2:] not in (["ReadOnly"], ["Unknown"], ["None"])] == []
    assert form["pattern"].startswith("^aws ")


def test_every_operation_that_is_named_exists(aws_api: Path) -> None:
    named = {match.group().split()[-1] for each in GOOD if (match := BARE.match(str(each["cli_command"])))}
    assert len(named) > 10
    assert named <= words_of(aws_api, "c()._get_command_table()['ec2']._get_command_table()")


def test_every_option_of_every_command_is_refused_but_for_the_harmless_ones(
    aws_api: Path, guarded: StdioPeer, moto_server: Service
) -> None:
    """The CLI itself says which there are; it takes their first letters for them."""
    options = words_of(aws_api, "c()._get_argument_table()")
    assert options > HARMLESS | {"endpoint-url", "profile", "no-sign-request"}
    before = arrived(moto_server)
    for option in options - HARMLESS:
        for letters in range(1, len(option) + 1):
            for command in (f"aws s3 ls --{option[:letters]}", f"aws s3 ls --{option[:letters]} 1 --region us-east-1"):
                assert code_of(guarded.call("call_aws", {"cli_command": command})) == "arguments", command
    assert arrived(moto_server) == before


def test_only_commands_are_offered(guarded: StdioPeer) -> None:
    assert [tool["name"] for tool in guarded.request("tools/list")["result"]["tools"]] == ["call_aws"]
    assert code_of(guarded.call("suggest_aws_commands", {"query": "list my buckets"})) == "denied"


def test_the_cap_bites_and_the_server_may_ask_its_user(
    aws_api: Path, moto_server: Service, outside: Outside, tmp_path: Path
) -> None:
    """The server's own list of commands that need consent makes it ask; it does so under the id 0."""
    own = tmp_path / ".aws" / "aws-api-mcp" / "mcp-security-policy.json"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps({"policy": {"denyList": [], "elicitList": ["aws s3api list-buckets"]}}))
    server = aws_api_command(aws_api, moto_server.url, outside, tmp_path)
    policy = write_policy(tmp_path, library_policy("aws-api"))
    with StdioPeer(guard_argv(policy, *server.argv, options=["--no-log"]), env=server.env) as peer:
        peer.initialize(capabilities={"elicitation": {}}, deadline_s=START_S)
        before = arrived(moto_server)
        for answer in (False, True):
            call = peer.post("tools/call", {"name": "call_aws", "arguments": {"cli_command": "aws s3api list-buckets"}})
            asked = peer.receive(method="elicitation/create")
            assert "aws s3api list-buckets" in asked["params"]["message"]
            peer.send({"id": asked["id"], "result": {"action": "accept", "content": {"answer": answer}}})
            (done,) = peer.receive(id=call)["result"]["structuredContent"]["result"]
            assert ("User rejected" in str(done.get("error"))) is not answer
        assert len(arrived(moto_server)) == len(before) + 1
        for _ in range(18):
            run(peer, "aws sts get-caller-identity")
        before = arrived(moto_server)
        assert code_of(peer.call("call_aws", {"cli_command": "aws sts get-caller-identity"})) == "rate_limited"
        assert arrived(moto_server) == before
