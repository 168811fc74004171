"""Checks what is drafted for which tool, and that drafts load, fit and do what their cases say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from mcpguard.inventory.cases import example_arguments, lexical, text_for
from mcpguard.inventory.draft import Draft, Offered, Posture, draft_policy
from mcpguard.inventory.pieces import joined
from mcpguard.inventory.tools import Prompt, Tool, parse_tools
from mcpguard.policy.decision import ToolCall
from mcpguard.policy.evaluate import evaluate
from support.drafts import faults_of, read_cases, without_cases

if TYPE_CHECKING:
    from pathlib import Path

Schema = dict[str, Any]

POSTURES: tuple[Posture, ...] = get_args(Posture)
TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT, "minItems": 1}
NUMBER: Schema = {"type": "number"}
MAYBE: Schema = {"anyOf": [TEXT, {"type": "null"}], "default": None}


def inputs(*required: str, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def tool(name: str, schema: Schema | None = None, description: str = "", **more: Any) -> Tool:
    (one,) = parse_tools([{"name": name, "description": description, "inputSchema": schema or {}, **more}])
    return one


def entry(one: Tool, posture: Posture = "balanced", *directories: str) -> Schema:
    (drafted,) = draft_policy([one], posture, directories=directories).tools
    return drafted.entry


def bare(value: Any) -> Any:
    """Take the comments and the sentences out."""
    if isinstance(value, dict):
        return {
            key: bare(item)
            for key, item in value.items()
            if key not in {"$comment", "reason", "on_deny", "description"}
        }
    return [bare(item) for item in value] if isinstance(value, list) else value


def rule(*conditions: tuple[Any, ...]) -> Schema:
    return {"conditions": [dict(zip(("path", "op", "value"), condition, strict=False)) for condition in conditions]}


def outcome(draft: Draft, name: str, arguments: Schema) -> str:
    decision = evaluate(draft.policy, ToolCall(name, arguments, lexical))
    return "ask" if decision.reasons and decision.reasons[0].code == "approval_required" else decision.effect


CATEGORIES: dict[str, tuple[str, Schema, Schema, Schema]] = {
    "reading": ("get_dicom_import_job", {"rate_limit": "60/minute"}, {}, {}),
    "writing": ("add_note", {"rate_limit": "30/hour"}, {"rate_limit": "30/hour"}, {"rate_limit": "120/hour"}),
    "running": (
        "start_dicom_export_job", {"rate_limit": "10/minute"}, {"rate_limit": "10/minute"}, {"rate_limit": "10/minute"}
    ),
    "destroying": (
        "delete_patient", {"action": "deny"}, {"action": "require_approval"}, {"rate_limit": "10/hour"}
    ),
    "paying": ("refund_charge", {"action": "deny"}, {"action": "require_approval"}, {"rate_limit": "10/hour"}),
    "handing out rights": ("create_iam_role", {"action": "deny"}, {"action": "require_approval"}, {"rate_limit": "10/hour"}),
    "showing secrets": ("get_env", {"action": "deny"}, {"action": "require_approval"}, {}),
    "running a query": ("execute_query_in_promql", {"rate_limit": "60/minute"}, {"rate_limit": "60/minute"}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "strict", "balanced", "is_open"), CATEGORIES.values(), ids=CATEGORIES.keys())
def test_what_a_tool_can_do_decides_how_it_is_drafted(
    name: str, strict: Schema, balanced: Schema, is_open: Schema
) -> None:
    assert [bare(entry(tool(name), posture)) for posture in POSTURES] == [strict, balanced, is_open]


def test_what_is_not_named_is_denied_unless_the_draft_is_open() -> None:
    drafts = [draft_policy([tool("get_it")], posture).document for posture in POSTURES]
    assert [each["default"] for each in drafts] == ["deny", "deny", "allow"]
    assert bare(drafts[2]["all_tools"]) == {"limits": [{"window": "minute", "max": 300}]}


def test_every_entry_and_every_rule_says_why() -> None:
    one = tool("read_file", inputs("path", path=TEXT))
    found = entry(one)
    assert found["$comment"] == "Only reads, for the name says 'read'."
    assert found["require"][0]["$comment"].startswith("The argument is called 'path': ")
    assert entry(tool("frob"))["$comment"].startswith("Changes things, for its words are those of")


RULES: dict[str, tuple[Tool, Schema]] = {
    "a path": (
        tool("read_file", inputs("path", path=TEXT)),
        {"require": [rule(("args.path", "under", ["/srv/docs"]), ("args.path", "regex", "^/.*"))]},
    ),
    "a list of paths": (
        tool("read_multiple_files", inputs("paths", paths=TEXTS)),
        {"require": [rule(("args.paths.*", "under", ["/srv/docs"]), ("args.paths.*", "regex", "^/.*"))]},
    ),
    "a path that may be left out": (
        tool("list_things", inputs(directory=MAYBE)),
        {
            "deny_if": [rule(("args.directory", "exists"), ("args.directory", "not_under", ["/srv/docs"]))],
            "arguments": {"properties": {"directory": {"anyOf": [{"type": "string", "pattern": "^/.*"}, {"type": "null"}]}}},
        },
    ),
    "a path inside of an object in a list": (
        tool("list_all", inputs("jobs", jobs={"type": "array", "items": inputs("file_path", file_path=TEXT)})),
        {"require": [rule(("args.jobs.*.file_path", "under", ["/srv/docs"]), ("args.jobs.*.file_path", "regex", "^/.*"))]},
    ),
    "the ends of a move": (
        tool("get_file_diff", inputs("source", source=TEXT)),
        {"require": [rule(("args.source", "under", ["/srv/docs"]), ("args.source", "regex", "^/.*"))]},
    ),
    "an address": (
        tool("fetch", inputs("url", url={"type": "string", "format": "uri"})),
        {"require": [rule(("args.url", "host_in", ["example.com", "*.example.com"]), ("args.url", "regex", "^https?://.*"))]},
    ),
    "an address with a default": (
        tool("fetch", inputs(url={"type": "string", "default": "https://docs.example.org/start"})),
        {
            "deny_if": [rule(("args.url", "exists"), ("args.url", "not_host_in", ["docs.example.org"]))],
            "arguments": {"properties": {"url": {"anyOf": [{"type": "string", "pattern": "^https?://.*"}, {"type": "null"}]}}},
        },
    ),
    "a key with a dot": (
        tool("fetch", inputs("page.url", **{"page.url": TEXT})),
        {"require": [rule(("/page.url", "host_in", ["example.com", "*.example.com"]), ("/page.url", "regex", "^https?://.*"))]},
    ),
    "a bucket, a role and a location": (
        tool("start_export", inputs("role_arn", "bucket_name", "output_s3_uri", role_arn=TEXT, bucket_name=TEXT, output_s3_uri=TEXT)),
        {
            "require": [
                rule(("args.bucket_name", "in", ["example-bucket"])),
                rule(("args.output_s3_uri", "regex", "^s3://example-bucket/.*")),
                rule(("args.role_arn", "in", ["arn:aws:iam::123456789012:role/example"])),
            ],
            "rate_limit": "10/minute",
        },
    ),
    "a bucket that is only described": (
        tool("start_import", inputs("files", files={
            "type": "array", "items": {"type": "object", "additionalProperties": True},
            "description": 'Files, each with "bucket" and "key".',
        })),
        {"require": [rule(("args.files.*.bucket", "in", ["example-bucket"]))], "rate_limit": "10/minute"},
    ),
    "an ARN": (
        tool("tag_resource", inputs("resource_arn", resource_arn=TEXT)),
        {
            "require": [rule(("args.resource_arn", "regex", "^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:123456789012:.+"))],
            "rate_limit": "30/hour",
        },
    ),
    "recipients": (
        tool("send_email", inputs("to", to=TEXTS, subject=TEXT)),
        {"require": [rule(("args.to.*", "regex", "^[^@ ,;<>]+@example[.]com$"))], "rate_limit": "30/hour"},
    ),
    "credentials": (
        tool("list_it", inputs(profile={**MAYBE, "description": "AWS profile to use"})),
        {"deny_if": [rule(("args.profile", "exists"))]},
    ),
    "a switch that destroys": (
        tool("create_job", inputs(delete_afterwards={"type": "boolean", "default": False})),
        {
            "approve_if": [rule(("args.delete_afterwards", "exists"), ("args.delete_afterwards", "eq", True))],
            "rate_limit": "30/hour",
        },
    ),
    "an option in disguise": (
        tool("git_show", inputs("revision", revision=TEXT)),
        {"deny_if": [rule(("args.revision", "regex", r"^\s*-"))]},
    ),
    "a name of a table": (
        tool("describe_table", inputs("table_name", table_name=TEXT)),
        {"deny_if": [rule(("args.table_name", "regex", r"[;()'\x22`]|--|/[*]"))]},
    ),
    "an action whose values are known and harmless": (
        tool("notes", inputs("action", action={"enum": ["get", "create"]})),
        {"rate_limit": "30/hour"},
    ),
    "an action one of whose values destroys": (
        tool("notes", inputs("action", action={"enum": ["get", "create", "delete"]})),
        {
            "require": [rule(("args.action", "in", ["get", "create", "delete"]))],
            "approve_if": [rule(("args.action", "in", ["delete"]))],
            "rate_limit": "30/hour",
        },
    ),
    "an action that may be left out": (
        tool("notes", inputs(action={"enum": ["get", "delete"], "default": "delete"})),
        {
            "require": [rule(("args.action", "exists"))],
            "deny_if": [rule(("args.action", "exists"), ("args.action", "not_in", ["get", "delete"]))],
            "approve_if": [rule(("args.action", "exists"), ("args.action", "in", ["delete"]))],
        },
    ),
    "several actions at once": (
        tool("notes", inputs("actions", actions={"type": "array", "items": {"enum": ["get", "delete"]}})),
        {
            "require": [rule(("args.actions.*", "in", ["get", "delete"]))],
            "approve_if": [rule(("args.actions.*", "in", ["delete"]))],
        },
    ),
    "an action beside a name that destroys": (
        tool("delete_notes", inputs("action", action={"enum": ["get", "delete"]})),
        {"action": "require_approval"},
    ),
    "an action beside a hint that it destroys": (
        tool("notes", inputs("action", action={"enum": ["get", "create"]}), annotations={"destructiveHint": True}),
        {"action": "require_approval"},
    ),
    "commands": (
        tool("run_shell", inputs("command", command=TEXT)),
        {"action": "require_approval", "require": [rule(("args.command", "regex", "^[^;&|<>$`\\r\\n]*$"))], "rate_limit": "10/minute"},
    ),
    "code": (tool("run_code", inputs("code", code=TEXT)), {"action": "require_approval", "rate_limit": "10/minute"}),
    "an amount": (
        tool("send_payment", inputs("amount", amount=NUMBER)),
        {
            "action": "require_approval",
            "require": [rule(("args.amount", "lte", 100))],
            "limits": [{"window": "hour", "max": 500, "cost": "args.amount"}],
        },
    ),
    "an amount that may be left out": (
        tool("add_budget", inputs(amount={"type": "integer", "default": 250})),
        {"deny_if": [rule(("args.amount", "exists"), ("args.amount", "gt", 250))], "rate_limit": "30/hour"},
    ),
    "an amount in words": (
        tool("add_budget", inputs("amount", amount=TEXT)),
        {"require": [rule(("args.amount", "regex", "^[0-9]{1,2}([.,][0-9]{1,2})?$"))], "rate_limit": "30/hour"},
    ),
    "an amount that the schema bounds": (
        tool("add_budget", inputs("amount", amount={"type": "integer", "maximum": 20})),
        {"rate_limit": "30/hour"},
    ),
    "GraphQL": (
        tool("run_graphql", inputs("graphql", graphql=TEXT)),
        {"deny_if": [rule(("args.graphql", "regex", r"(?i)\b(mutation|subscription)\b"))], "rate_limit": "10/minute"},
    ),
    "Cypher": (
        tool("run_cypher", inputs("cypher", cypher=TEXT)),
        {
            "deny_if": [rule(("args.cypher", "regex", r"(?i)\b(create|merge|set|delete|detach|remove|drop|load|call|foreach)\b"))],
            "rate_limit": "10/minute",
        },
    ),
    "an action or a list of actions": (
        tool("notes", inputs("action", action={"anyOf": [{"enum": ["delete"]}, {"type": "array", "items": {"enum": ["get"]}}]})),
        {"action": "require_approval"},
    ),
    "an action of an open schema": (
        tool("notes", {"type": "object", "properties": {"action": {"description": "one of: get, delete"}}}), {"action": "require_approval"},
    ),
    "an argument that the server cannot do without": (
        tool("list_it", inputs("aws_profile", aws_profile=TEXT)), {},
    ),
    "a query that is looked at": (tool("lint_sql", inputs("sql", sql=TEXT)), {}),
    "the path of something that is no file": (
        tool("get_value", inputs("path", path={"type": "string", "default": "$"})), {},
    ),
    "the path of a file elsewhere": (tool("get_blob", inputs("owner", "path", owner=TEXT, path=TEXT)), {}),
    "a list of values": (tool("get_page", inputs("url", url={"enum": ["https://a.example/"]})), {}),
    "a filter": (tool("list_pages", inputs("contains_url", contains_url=TEXT)), {}),
}  # fmt: skip


@pytest.mark.parametrize(("one", "expected"), RULES.values(), ids=RULES.keys())
def test_arguments_that_deserve_a_rule_get_it(one: Tool, expected: Schema) -> None:
    assert bare(entry(one, "balanced", "/srv/docs")) == expected


@pytest.mark.parametrize("posture", POSTURES)
@pytest.mark.parametrize("one", [one for one, _ in RULES.values()], ids=RULES.keys())
def test_a_draft_loads_fits_and_does_what_its_cases_say(one: Tool, posture: Posture, tmp_path: Path) -> None:
    draft = draft_policy([one], posture, directories=["/srv/docs"])
    assert faults_of(draft, [one], tmp_path / "policy.json") == []
    assert without_cases(draft) == []


STORE = "Execute a Valkey command."
AWS = "Execute AWS CLI commands."
SQL = {"type": "string", "description": "SQL query to execute"}
JUDGED: dict[str, tuple[Tool, Posture, dict[str, str]]] = {
    "queries that read": (
        tool("read_query", inputs("query", query=SQL), "Execute a SELECT query."), "balanced",
        {
            "SELECT 1": "allow", "  select a, b from c where d like '%x%';": "allow", "WITH a AS (SELECT 1) SELECT * FROM a": "allow",
            "DELETE FROM a": "deny", "SELECT 1; DROP TABLE a": "deny", "WITH a AS (DELETE FROM b RETURNING *) SELECT * FROM a": "deny",
            "/* */ DROP TABLE a": "deny", "SELECT load_extension('x')": "deny", "SELECT * INTO OUTFILE '/x' FROM a": "deny",
            "EXPLAIN ANALYZE DELETE FROM a": "deny", "": "deny",
        },
    ),
    "queries that make tables": (
        tool("create_table", inputs("query", query=SQL), "Create a table."), "balanced",
        {"CREATE TABLE a (b INT)": "allow", "create  table a(b)": "allow", "DROP TABLE a": "deny", "CREATE TABLE a(b); DROP TABLE c": "deny"},
    ),
    "queries that write": (
        tool("write_query", inputs("query", query=SQL), "Insert, update or delete rows."), "balanced",
        {"DELETE FROM a": "ask", "DROP TABLE a": "deny", "UPDATE a SET b = 1; SELECT 2": "deny", "PRAGMA x": "deny"},
    ),
    "commands of a store that read": (
        tool("valkey_read", inputs("command", command=TEXT), "Execute a read-only Valkey command."), "balanced",
        {"GET": "allow", "HGETALL": "allow", "get": "deny", "SET": "deny", "FLUSHALL": "deny", "KEYS": "deny"},
    ),
    "commands of a store that write": (
        tool("valkey_write", inputs("command", command=TEXT), STORE), "balanced",
        {"SET": "allow", "DEL": "ask", "del": "ask", "FLUSHALL": "ask"},
    ),
    "commands of a store that write, strictly": (
        tool("valkey_write", inputs("command", command=TEXT), STORE), "strict", {"SET": "allow", "DEL": "deny"},
    ),
    "commands of the AWS CLI": (
        tool("call_aws", inputs("cli_command", cli_command={"anyOf": [TEXT, TEXTS]}), AWS), "balanced",
        {
            "aws s3api list-buckets --region eu-west-1": "ask", "aws s3 ls --endpoint-url http://x": "deny", "aws s3 ls --profile admin": "deny",
            "aws iam create-user --user-name x": "deny", "aws sts assume-role --role-arn x": "deny", "aws sts get-caller-identity": "ask",
            "aws secretsmanager get-secret-value --secret-id x": "deny", "aws lambda invoke --payload fileb://x": "deny",
            "aws s3 ls; rm -r x": "deny", "rm -r x": "deny", "aws s3 ls --no-sign-request": "deny",
            "aws s3 ls --e http://x": "deny", "aws s3 ls --p admin": "deny", "aws s3 ls --prof=admin": "deny", "aws s3 ls '--profile' admin": "deny",
            'aws s3 ls --pro"file" admin': "deny", "aws s3 ls --pro\\file admin": "deny", "aws s3 ls ''--profile admin": "deny",
            "aws ec2 describe-vpcs --query 'Vpcs[0]' --no-paginate": "ask", "aws logs get-log-events --end-time 7 --prefix a": "ask",
        },
    ),
    "paths under an open draft": (
        tool("read_file", inputs("path", path=TEXT)), "open",
        {"/srv/a.txt": "allow", "/home/me/.ssh/id_rsa": "deny", "/a/.env": "deny", "/a/.env.local": "deny", "/etc/shadow": "deny", "/a/environment": "allow"},
    ),
    "addresses under an open draft": (
        tool("fetch", inputs("url", url=TEXT)), "open",
        {
            "https://example.org/": "allow", "http://localhost:8080/": "deny", "http://169.254.169.254/latest/": "deny", "http://10.1.2.3/": "deny",
            "http://172.20.0.1/": "deny", "http://192.168.1.1/": "deny", "http://0x7f.1/": "deny", "http://a.internal/": "deny", "data:text/plain,a": "deny",
        },
    ),
    "commands under an open draft": (
        tool("run_shell", inputs("command", command=TEXT)), "open", {"ls -l": "allow", "ls; rm -rf /": "deny", "sudo ls": "deny"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("one", "posture", "judged"), JUDGED.values(), ids=JUDGED.keys())
def test_the_rules_of_a_draft_judge_as_they_should(
    one: Tool, posture: Posture, judged: dict[str, str], tmp_path: Path
) -> None:
    draft = draft_policy([one], posture)
    properties: Schema = one.input_schema["properties"]  # type: ignore[assignment]
    (name,) = properties
    assert {text: outcome(draft, one.name, {name: text}) for text in judged} == judged
    assert faults_of(draft, [one], tmp_path / "policy.json") == []


def test_a_list_of_commands_is_judged_command_by_command() -> None:
    one = tool("call_aws", inputs("cli_command", cli_command={"anyOf": [TEXT, TEXTS]}), AWS)
    draft = draft_policy([one], "balanced")
    assert outcome(draft, "call_aws", {"cli_command": ["aws s3 ls", "aws ec2 describe-instances"]}) == "ask"
    assert outcome(draft, "call_aws", {"cli_command": ["aws s3 ls", "aws iam list-users"]}) == "deny"


def test_without_a_directory_no_file_is_reached_and_the_owner_is_told() -> None:
    draft = draft_policy([tool("read_file", inputs("path", path=TEXT))], "balanced")
    assert outcome(draft, "read_file", {"path": "/srv/a"}) == "deny"
    assert [(own.rule, own.what) for own in draft.owns] == [
        ("/tools/read_file/require/0", "the directories that the agent may reach (tool read_file)")
    ]


def test_a_name_stands_for_itself_whatever_it_holds(tmp_path: Path) -> None:
    tools = [
        tool(name) for name in ("get_*", "@read", "a?b\\c", "$comment", "get_x", "del\u202eete", "a/b~c", "🔥", "a.b")
    ]
    draft = draft_policy(tools, "balanced")
    assert [*draft.document["tools"]] == [
        "get_\\*", "\\@read", "a\\?b\\\\c", "?comment", "get_x", "del\u202eete", "a/b~c", "🔥", "a.b"
    ]  # fmt: skip
    assert draft.document["tools"]["del\u202eete"]["action"] == "deny"
    assert faults_of(draft, tools, tmp_path / "policy.json") == []


def test_pages_that_a_tool_shows_itself_with_may_be_read() -> None:
    shown = tool("show_map", _meta={"ui": {"resourceUri": "ui://maps/map.html"}})
    others = [tool("show_more", _meta={"ui/resourceUri": "ui://more"}), tool("get_it", _meta={"tags": []})]
    for posture in ("strict", "balanced"):
        resources = draft_policy([shown, *others], posture).document["resources"]
        assert resources == {
            "ui://*": {"$comment": "Pages in which clients show the results of 'show_map' and 1 more."}
        }
    assert "resources" not in draft_policy(others[1:], "balanced").document
    assert "resources" not in draft_policy([shown], "open").document
    denied = tool("delete_map", _meta={"ui": {"resourceUri": "ui://maps/map.html"}})
    assert "resources" not in draft_policy([denied], "strict").document


def test_resources_and_prompts_that_the_server_lists_may_be_read() -> None:
    offered = Offered(
        ("hospital://wards", "ui://a", "x\u202e://y", "a://b*"),
        ("hospital://ward/{id}", "file:///{path}", "https://{host}/", "{all}", "odd"),
        (Prompt("hand_over", "", (("patient_id", "The patient, like P-1001."),)), Prompt("x\u202ey")),
    )
    document = draft_policy([tool("get_it")], "balanced", offered=offered).document
    assert [*document["resources"]] == ["hospital://wards", "a://b\\*", "hospital://ward/*"]
    assert [*document["prompts"]] == ["hand_over"]


def test_a_prompt_is_no_way_around_the_rules_of_a_tool_of_the_same_name() -> None:
    tools = [tool("fetch", inputs("url", url=TEXT)), tool("get_it"), tool("delete_it")]
    offered = Offered(prompts=tuple(map(Prompt, ("fetch", "get_it", "delete_it", "other"))))
    document = draft_policy(tools, "balanced", offered=offered).document
    actions = {name: entry.get("action", "allow") for name, entry in document["prompts"].items()}
    assert actions == {"fetch": "deny", "get_it": "allow", "delete_it": "deny", "other": "allow"}


@pytest.mark.parametrize(
    ("argument", "described", "action"),
    [
        ("url", "", "deny"),
        ("file_path", "", "deny"),
        ("sql", "", "deny"),
        ("topic", "What it is about.", "allow"),
        ("style", "", "allow"),
    ],
)
def test_a_prompt_that_leads_somewhere_is_left_to_its_owner(argument: str, described: str, action: str) -> None:
    offered = Offered(prompts=(Prompt("summarize", "Sum it up.", ((argument, described),)),))
    draft = draft_policy([tool("get_it")], "balanced", offered=offered)
    assert draft.document["prompts"]["summarize"].get("action", "allow") == action


def test_a_tool_whose_rules_do_not_fit_is_asked_about_or_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = tool("read_file", inputs("path", path=TEXT))
    monkeypatch.setattr("mcpguard.inventory.draft.joined", lambda _: {"properties": {"x": {"pattern": "("}}})
    optional = tool("list_all", inputs(directory=MAYBE))
    drafts = {posture: draft_policy([one, optional], posture) for posture in POSTURES}
    assert [draft.document["tools"]["list_all"].get("action") for draft in drafts.values()] == [
        "deny", "require_approval", None
    ]  # fmt: skip
    assert drafts["balanced"].document["tools"]["read_file"]["require"]
    for draft in drafts.values():
        assert faults_of(draft, [one, optional], tmp_path / "policy.json") == []


def test_a_tool_with_more_arguments_than_are_looked_at_is_asked_about(tmp_path: Path) -> None:
    one = tool("get_it", inputs(**{f"a{index}": TEXT for index in range(400)}, z_path=TEXT))
    draft = draft_policy([one], "balanced")
    assert bare(draft.document["tools"]["get_it"]) == {"action": "require_approval"}
    assert faults_of(draft, [one], tmp_path / "policy.json") == []


def test_rules_that_a_check_finds_fault_with_are_not_drafted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = tool("read_file", inputs("path", path=TEXT))
    for pattern in ("/unanchored", "("):
        monkeypatch.setattr("mcpguard.inventory.guards._ABSOLUTE", pattern)
        draft = draft_policy([one], "balanced")
        assert bare(draft.document["tools"]["read_file"]) == {"action": "require_approval"}
        assert faults_of(draft, [one], tmp_path / "policy.json") == []


def test_a_sequence_shows_the_call_that_is_too_many() -> None:
    one = tool("start_job", inputs("id", id={"type": "string", "pattern": r"^P-\d{4}$"}))
    (case,) = read_cases(draft_policy([one], "balanced"))
    steps = case["sequence"]
    assert [(step["expect"], step.get("times", 1)) for step in steps] == [("allow", 10), ("deny", 1)]
    assert steps[-1]["because"] == ["/tools/start_job/rate_limit"]
    assert steps[0]["arguments"] == {"id": "P-1111"}


EXAMPLES: dict[str, tuple[Schema, Schema | None]] = {
    "nothing": ({}, {}),
    "what is asked for": (inputs("a", a=TEXT, b=TEXT), {"a": "example"}),
    "a value of the list": (inputs("a", a={"enum": ["x", "y"]}), {"a": "x"}),
    "a reference": (inputs("a", a={"$ref": "#/$defs/x"}) | {"$defs": {"x": {"type": "integer"}}}, {"a": 1}),
    "a reference to elsewhere": (inputs("a", a={"$ref": "https://example.com/x"}), None),
    "a reference to nowhere": (inputs("a", a={"$ref": "#/$defs/x"}), None),
    "a reference into a value": (inputs("a", a={"$ref": "#/required/0"}), None),
    "a schema that is none": ({"type": "strange"}, None),
    "what nobody can give": (inputs("a", a={"type": "string", "pattern": "^(x|y)z+q$"}), None),
    "a word of the description": (
        inputs("a", a={"type": "string", "pattern": "^(x|y)z+q$", "description": "Such as `xzzq`."}), {"a": "xzzq"}
    ),
    "a pattern of another engine": (inputs("a", a={"type": "string", "pattern": "(?=z)q"}), None),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "expected"), EXAMPLES.values(), ids=EXAMPLES.keys())
def test_examples_of_arguments_are_valid_or_there_are_none(schema: Schema, expected: Schema | None) -> None:
    assert example_arguments(schema) == expected


def test_a_schema_that_is_too_deep_has_no_examples() -> None:
    schema: Schema = {}
    for _ in range(50):
        schema = {"properties": {"a": schema}}
    assert example_arguments(schema) is None


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^P-\d{4}$", "P-1111"),
        ("^[a-z]+$", "a"),
        ("^[^a]x$", "-x"),
        (r"^a.\w$", "aaa"),
        ("^(a|b)c$", None),
        ("(", None),
    ],
)
def test_simple_patterns_have_a_text(pattern: str, text: str | None) -> None:
    assert text_for(pattern) == text


def test_schemas_about_one_argument_hold_together() -> None:
    one, other = {"properties": {"a": {"minLength": 1}}}, {"properties": {"b": {"minLength": 2}}}
    assert joined([one, other]) == {"properties": {"a": {"minLength": 1}, "b": {"minLength": 2}}}
    assert joined([one, one]) == {"allOf": [one, one]}
    assert joined([one]) == one
