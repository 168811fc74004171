"""Checks what tools are taken for, and what is said to show it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from mcpguard.inventory.risk import SEVERITIES, Category, Severity, classify, judge
from mcpguard.inventory.signs import signs_of
from mcpguard.inventory.tools import Tool
from mcpguard.inventory.weights import WEIGHTS_FILE, load_weights

TEXT = {"type": "string"}


def tool(name: str, description: str = "", hints: dict[str, object] | None = None, **arguments: Any) -> Tool:
    schema = {"type": "object", "properties": arguments} if arguments else {}
    return Tool(name, description, schema, annotations=hints or {})


NAMES: dict[str, Category] = {
    "list_posts": "read",
    "check_rate_limiter": "read",
    "format_date": "read",
    "get_import_job": "read",
    "list_deleted_items": "read",
    "billing_quota_check": "read",
    "acme_bucket_list": "read",
    "resolve_library_id": "read",
    "resolve_support_case": "write",
    "select_option": "write",
    "messages_mark_as_read": "write",
    "check_in_visitor": "write",
    "check_in_progress": "read",
    "log_out": "write",
    "open_url": "write",
    "report_bug": "write",
    "return_parcel": "write",
    "sync_search_index": "write",
    "packing_list_complete": "write",
    "list_boat_for_sale": "write",
    "order_get_by_id": "read",
    "wiki_find_post": "read",
    "place_details": "read",
    "detect_and_blur_faces": "write",
    "search_and_filter_rooms": "read",
    "acme_create_deny_list": "write",
    "decompile_class": "read",
    "capture_screenshot": "read",
    "download_model": "write",
    "ask_assistant": "write",
    "range_format": "write",
    "copy_image_set": "write",
    "post_message": "write",
    "upload_file": "write",
    "stop_tracing": "write",
    "get_or_create_user": "write",
    "undelete_item": "write",
    "unresolve_thread": "write",
    "generate_api_key": "write",
    "clear_search_filter": "write",
    "tag_resource": "write",
    "start_dicom_export_job": "execute",
    "run_pipeline": "execute",
    "pods_exec": "execute",
    "deploy_stack": "execute",
    "executequery": "execute",
    "delete_gateway": "destructive",
    "get_and_delete": "destructive",
    "server_delete": "destructive",
    "format_disk": "destructive",
    "clear_all_data": "destructive",
    "json_arrpop": "destructive",
    "search_then_purge": "destructive",
    "reset": "destructive",
    "cancel_import": "destructive",
    "detach_policy": "destructive",
    "unprotect_branch": "destructive",
    "disable_user": "destructive",
    "send_payment": "financial",
    "create_refund": "financial",
    "transfer_funds": "financial",
    "cancel_subscription": "financial",
    "place_limit_order": "financial",
}


@pytest.mark.parametrize(("name", "category"), NAMES.items(), ids=NAMES.keys())
def test_a_name_tells_the_category(name: str, category: Category) -> None:
    risk = classify(Tool(name))
    assert (risk.category, risk.severity) == (category, SEVERITIES[category])


@pytest.mark.parametrize(
    ("category", "severity"),
    [("read", "low"), ("write", "medium"), ("execute", "high"), ("destructive", "critical"), ("financial", "critical")],
)
def test_every_category_has_its_severity(category: Category, severity: Severity) -> None:
    assert SEVERITIES[category] == severity


@pytest.mark.parametrize("name", ["", "x", "frobnicate", "удалить", "\x00", "___", "🔥", "42"], ids=ascii)
def test_what_nothing_is_known_of_does_not_only_read(name: str) -> None:
    risk = classify(Tool(name))
    assert risk.category == "write"
    assert risk.evidence


def test_letters_that_look_like_others_are_read_as_those() -> None:
    assert classify(Tool("\uff44\uff45\uff4c\uff45\uff54\uff45_all")).category == "destructive"


@pytest.mark.parametrize(
    ("given", "category", "quoted"),
    [
        pytest.param(tool("users", "List all users."), "read", '"list"', id="of a name without a verb"),
        pytest.param(tool("users", "Lists and deletes users."), "destructive", '"delete"', id="with a second verb"),
        pytest.param(
            tool("get_user", "Permanently deletes the user."),
            "destructive",
            '"deletes"',
            id="against a name that reads",
        ),
        pytest.param(tool("get_user", "Create a user."), "write", '"create"', id="another against its name"),
        pytest.param(tool("delete_user", "Get a user."), "destructive", '"delete"', id="which makes nothing better"),
        pytest.param(
            tool("update_user", "Replaces the user. This cannot be undone."), "destructive", "undone", id="of no return"
        ),
        pytest.param(tool("archive", "Not destructive: move a note."), "write", '"archive"', id="that denies it"),
        pytest.param(tool("fetch_page", "Does not delete anything."), "read", '"fetch"', id="with a denied verb"),
        pytest.param(tool("manage_user", "Manages users."), "destructive", "manage", id="that leaves it open"),
        pytest.param(tool("tables", "Table lifecycle."), "destructive", "lifecycle", id="that says it in a noun"),
        pytest.param(
            tool("retire", "Retire it: its notes will be deleted."), "destructive", "will be deleted", id="of a loss"
        ),
        pytest.param(tool("rows", "Cannot contain any destructive words."), "write", "its words", id="of no loss"),
        pytest.param(tool("download_model", "Get the address of a model."), "read", '"get"', id="of a doubtful verb"),
        pytest.param(
            tool("model", "Fetch and import a model."), "write", '"import", too', id="with a verb that is joined"
        ),
        pytest.param(tool("run_query", "Run a PromQL query."), "read", "promql", id="of a language that only reads"),
        pytest.param(tool("run_query", "Runs a query."), "execute", '"run"', id="of no language"),
        pytest.param(tool("run_query", "Run a JQL query."), "read", "jql", id="of another that only reads"),
        pytest.param(tool("rooms", "Returns a plan of all rooms."), "read", '"returns"', id="of what is returned"),
        pytest.param(
            tool("stock", "Sells it, and returns the receipt."), "financial", '"sells"', id="of more than that"
        ),
        pytest.param(tool("tooltip", "Get tooltip texts."), "read", '"get"', id="of what is named"),
        pytest.param(tool("hover", "Get hover texts."), "read", '"get"', id="of what is named by a verb"),
        pytest.param(tool("hover", "Get hover texts.", force=TEXT), "execute", '"hover"', id="of that and of more"),
        pytest.param(tool("ships", "Get a ship. Be sure to add a flag."), "read", '"get"', id="for the caller to do"),
        pytest.param(
            tool("web_search_opinion", "Records an opinion."), "write", '"records"', id="of a search that has been"
        ),
        pytest.param(tool("sync_search_index", "Get the index."), "read", '"get"', id="of a name that may be a noun"),
        pytest.param(
            tool("load_atlas", "Load an atlas into memory."), "write", '"load"', id="of what goes into something"
        ),
        pytest.param(
            tool("download_invoice", "Download one. Its content comes as base64."),
            "read",
            '"download"',
            id="of what is in the answer",
        ),
        pytest.param(
            tool("download_invoice", "Download one. Its content comes as base64.", target=TEXT),
            "write",
            "may do more than read",
            id="of what is written",
        ),
        pytest.param(
            tool("render_plan", "Render the plan to an image file."),
            "write",
            '"to an image file"',
            id="of a file that is made",
        ),
        pytest.param(tool("check_mirror", "Trigger a check."), "execute", '"trigger"', id="of what is set off"),
        pytest.param(
            tool("validate_script", "Validate a script.", sql=TEXT),
            "read",
            '"validate"',
            id="of a text that is not run",
        ),
        pytest.param(
            tool("verify_host", "Verify a host.", command=TEXT), "execute", '"command"', id="of a command that is run"
        ),
        pytest.param(tool("me", "Get my account, including groups."), "read", '"get"', id="with its parts named"),
        pytest.param(tool("lend", "Lend a read-only copy."), "write", '"lend"', id="of a thing that can only be read"),
        pytest.param(
            tool("acme_read_log_trigger", "Read a trigger."), "read", '"read"', id="of a word that is a noun there"
        ),
        pytest.param(
            tool("query_range", "Run it.", query=TEXT, start=TEXT, end=TEXT, step=TEXT),
            "read",
            "query",
            id="of a range",
        ),
    ],
)
def test_a_description_tells(given: Tool, category: Category, quoted: str) -> None:
    risk = classify(given)
    assert risk.category == category
    assert quoted in " ".join(risk.evidence).lower()


@pytest.mark.parametrize(
    ("given", "category", "quoted"),
    [
        pytest.param(tool("run", sql=TEXT), "execute", 'the argument "sql" takes SQL of any kind', id="SQL"),
        pytest.param(
            tool("list_rows", "List rows.", query={"type": "string", "description": "The SQL to run."}),
            "execute",
            'the argument "query" takes SQL of any kind',
            id="SQL by its description",
        ),
        pytest.param(
            tool("list_rows", sql_text=TEXT), "execute", 'the argument "sql_text" takes SQL of any kind', id="SQL first"
        ),
        pytest.param(
            tool("query_postgres", query=TEXT), "execute", 'the argument "query" takes SQL of any kind', id="a database"
        ),
        pytest.param(tool("query", "Run a read-only SQL query.", sql=TEXT), "read", '"read-only"', id="SQL that reads"),
        pytest.param(
            tool("query", "Run SQL; read-only by default.", sql=TEXT), "execute", "SQL of any kind", id="not always"
        ),
        pytest.param(
            tool("console", code=TEXT, command={"type": ["string", "null"]}),
            "execute",
            'the argument "command" takes commands of any kind',
            id="commands before code",
        ),
        pytest.param(
            tool("evaluate", code={"anyOf": [{"type": "string"}, {"type": "null"}]}),
            "execute",
            'the argument "code" takes code of any kind',
            id="code that is run",
        ),
        pytest.param(tool("lookup_country", code=TEXT), "read", 'the name says "lookup"', id="a code that is none"),
        pytest.param(tool("lookup", command={"type": "integer"}), "read", 'the name says "lookup"', id="a number"),
        pytest.param(
            tool("download_report", output_path=TEXT), "write", 'the argument "output_path" says where', id="a file"
        ),
        pytest.param(
            tool("write_note", command=TEXT), "write", 'the name says "write"', id="commands of a plain name"
        ),
        pytest.param(
            tool("image", "Check an image.", create_rule={"type": "boolean"}),
            "write",
            'the argument "create_rule" is rarely one',
            id="one that does something",
        ),
        pytest.param(
            tool("report", "Show a report.", overwrite=TEXT), "write", 'the argument "overwrite" is rarely', id="one that insists"
        ),
        pytest.param(
            tool("notes", "Show notes.", operation=TEXT), "write", '"operation" chooses what is done', id="actions of no list"
        ),
    ],
)  # fmt: skip
def test_an_argument_tells(given: Tool, category: Category, quoted: str) -> None:
    risk = classify(given)
    assert risk.category == category
    assert quoted in " | ".join(risk.evidence)


READS_AND_DELETES = {"get": "read", "delete": "destructive"}


@pytest.mark.parametrize(
    ("argument", "schema", "values"),
    [
        pytest.param("action", {"enum": ["get", "delete"]}, READS_AND_DELETES, id="an enumeration"),
        pytest.param("action", {"enum": ["get", "delete", "sing"]}, READS_AND_DELETES | {"sing": "write"}, id="unknown"),
        pytest.param("action", {"enum": ["a", "b", "c", "wipe"]}, dict.fromkeys("abc", "write") | {"wipe": "destructive"}, id="one bad"),
        pytest.param("action", {"enum": [None, 5, "get", "delete"]}, READS_AND_DELETES, id="values of other types"),
        pytest.param("action", {"$ref": "#/$defs/Action"}, READS_AND_DELETES, id="a reference"),
        pytest.param("operation", {"anyOf": [{"$ref": "#/$defs/Action"}, {"type": "null"}]}, READS_AND_DELETES, id="or null"),
        pytest.param("op", {"oneOf": [{"const": "get"}, {"const": "delete"}]}, READS_AND_DELETES, id="constants"),
        pytest.param("actions", {"type": "array", "items": {"enum": ["get", "delete"]}}, READS_AND_DELETES, id="a list of them"),
        pytest.param("action", {"type": "string", "description": "What to do: `get` or `delete`."}, READS_AND_DELETES, id="quoted"),
        pytest.param("action", {"type": "string", "description": "Action to perform: get, delete"}, READS_AND_DELETES, id="told"),
        pytest.param("method", {"enum": ["GET", "PUT", "DELETE"]}, {"GET": "read", "PUT": "write", "DELETE": "destructive"}, id="HTTP"),
        pytest.param("sql_verb", {"enum": ["SELECT", "ALTER", "DROP"]}, {"SELECT": "read", "ALTER": "write", "DROP": "destructive"}, id="SQL"),
        pytest.param("action", {"enum": ["get_run_logs", "list-jobs", "deleteRun"]}, {"get_run_logs": "read", "list-jobs": "read", "deleteRun": "destructive"}, id="of several words"),
    ],
)  # fmt: skip
def test_the_values_of_an_argument_that_chooses_are_told_apart(
    argument: str, schema: dict[str, Any], values: dict[str, Category]
) -> None:
    definitions = {"Action": {"enum": ["get", "delete"]}}
    given = Tool("things", "", {"$defs": definitions, "properties": {argument: schema}})
    risk = classify(given)
    assert [(choice.argument, choice.values) for choice in risk.arguments] == [(argument, values)]
    assert risk.category == "destructive"
    worst = next(value for value, category in values.items() if category == "destructive")
    assert risk.evidence[0] == f'the argument "{argument}" can be "{worst}"'


def test_the_description_of_the_tool_may_list_the_values() -> None:
    given = tool(
        "manage_index", 'Manage indices.\n\nArgs:\n    action (str): "create", "drop" or "info"\n', action=TEXT
    )
    assert classify(given).arguments[0].values == {"create": "write", "drop": "destructive", "info": "read"}


def test_an_argument_within_the_one_that_wraps_them_is_found() -> None:
    given = tool("things", params={"type": "object", "properties": {"action": {"enum": ["get", "delete"]}}})
    assert classify(given).arguments[0].argument == "params.action"


def test_a_tool_whose_every_value_reads_only_reads() -> None:
    risk = classify(tool("things", action={"enum": ["get", "list"]}))
    assert (risk.category, risk.evidence[0]) == ("read", 'every value of the argument "action" reads')


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"enum": ["red", "green"]}, id="no verbs"),
        pytest.param({"type": "string", "description": 'Filter by action, "create" or "delete"'}, id="a filter"),
        pytest.param({"type": "string", "description": 'A command, for example "get"'}, id="an example"),
        pytest.param({"$ref": "#/nowhere"}, id="a reference to nothing"),
        pytest.param({"$ref": "elsewhere.json"}, id="a reference to elsewhere"),
        pytest.param({"enum": "delete"}, id="an enumeration that is none"),
    ],
)
def test_what_is_no_choice_of_actions_is_not_taken_for_one(schema: dict[str, Any]) -> None:
    assert classify(tool("list_things", action=schema)).arguments == ()


@pytest.mark.parametrize(
    ("name", "hints", "category", "said"),
    [
        pytest.param("delete_user", {"readOnlyHint": True}, "destructive", "readOnlyHint says that it only reads", id="a lie"),
        pytest.param("delete_user", {"destructiveHint": False}, "destructive", "destructiveHint says that it does not", id="another"),
        pytest.param("list_users", {"destructiveHint": True}, "destructive", "against its name", id="worse than its name"),
        pytest.param("list_users", {"readOnlyHint": False}, "write", "against its name", id="a little worse"),
        pytest.param("add_user", {"destructiveHint": True}, "destructive", "destructiveHint says that it destroys", id="worse"),
        pytest.param("pay", {"destructiveHint": True}, "financial", 'the name says "pay"', id="no worse than it is"),
        pytest.param("list_users", {"readOnlyHint": True, "destructiveHint": True}, "destructive", "destroys", id="at odds"),
        pytest.param("list_users", {"readOnlyHint": "no", "destructiveHint": 1}, "read", 'the name says "list"', id="no hints"),
        pytest.param("list_users", {"title": "Delete users"}, "destructive", 'the title says "delete"', id="a title"),
    ],
)  # fmt: skip
def test_hints_make_a_tool_worse_and_never_better(
    name: str, hints: dict[str, object], category: Category, said: str
) -> None:
    risk = classify(tool(name, hints=hints))
    assert risk.category == category
    assert said in " | ".join(risk.evidence)


def test_a_title_beside_the_name_counts_too() -> None:
    assert classify(Tool("get_it", title="Erase it")).category == "destructive"
    assert classify(Tool("delete_it", title="Get it")).category == "destructive"


def test_words_that_weigh_are_named() -> None:
    risk = classify(tool("widget", "Shows the widget that is current.", limit={"type": "integer"}))
    assert risk.category == "read"
    assert any(reason.startswith("what weighs most: ") for reason in classify(Tool("list_widgets")).evidence)


def test_the_weights_say_how_they_were_made_and_can_be_read() -> None:
    lines = Path(WEIGHTS_FILE).read_text().splitlines()
    assert lines[0].startswith("# ")
    assert any("--write" in line for line in lines if line.startswith("#"))
    weights = load_weights()
    assert weights["word:list"] < 0 < weights["word:create"]
    assert "" in weights


def test_a_thousand_tools_take_no_time_to_speak_of() -> None:
    """A guard against work that grows: a hundred times what is promised."""
    schema = {"properties": {f"argument_{number}": TEXT for number in range(12)}}
    tools = [Tool(f"get_thing_{number}", "Get one of the things by its id. " * 8, schema) for number in range(1000)]
    start = process_time()
    for each in tools:
        classify(each)
    assert process_time() - start < 10


def test_what_is_said_to_speak_for_a_change_stands_in_the_tool() -> None:
    risk = classify(tool("download_model", "Download and import a model."))
    assert risk.category == "write"
    assert risk.evidence[:2] == (
        'the name says "download", which may do more than read',
        'the description says "import", too',
    )


def test_the_threshold_decides() -> None:
    given = tool("things", "The things of a place.")
    signs = signs_of(given)
    categories = [judge(given, signs, 0.0, {}, too_likely).category for too_likely in (0.4, 0.6)]
    assert categories == ["write", "read"]


def test_the_classifier_is_light_to_import() -> None:
    script = "import sys, mcpguard.inventory.risk; print(*sorted({'pydantic', 'rich', 'mcp', 'click', 'numpy', 'json'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.split() == []
