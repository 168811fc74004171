"""Checks that good policies load, and that every bad one says all that is wrong with it and where."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpguard.errors import Finding, PolicyError
from mcpguard.policy.decision import Decision, ToolCall
from mcpguard.policy.evaluate import Policy, evaluate
from mcpguard.stores.files import MAX_BYTES, LoadedPolicy, load_policy

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "policies").glob("*.json") if not path.match("*.test.json"))
DOCUMENTS = [ROOT / "docs" / "policy.md", ROOT / "README.md"]
BLOCK = re.compile(r"^ *```(json|yaml)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
SNIPPETS = [
    pytest.param(kind, text, id=f"{document.name} {number}")
    for document in DOCUMENTS
    for number, (kind, text) in enumerate(BLOCK.findall(document.read_text()), 1)
    if "version" in text
]


def load(folder: Path, content: str | bytes, name: str = "policy.json") -> LoadedPolicy:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_policy(path)


def findings(folder: Path, content: str | bytes, name: str = "policy.json") -> list[Finding]:
    with pytest.raises(PolicyError) as raised:
        load(folder, content, name)
    assert raised.value.message == str(raised.value.findings[0])
    return list(raised.value.findings)


def lines(folder: Path, content: str | bytes, name: str = "policy.json") -> list[str]:
    return [str(finding).removeprefix(f"{folder}/") for finding in findings(folder, content, name)]


def decide(policy: Policy, name: str) -> Decision:
    return evaluate(policy, ToolCall(name, {}))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_loads(path: Path) -> None:
    loaded = load_policy(path)
    assert loaded.path == path


def test_the_examples_do_what_they_show() -> None:
    policies = {path.stem: load_policy(path).policy for path in EXAMPLES}
    job = "start_dicom_export_job"
    (charge,) = decide(policies["capped-export"], job).charges
    assert (charge.counter, charge.window_s, charge.max, charge.scope) == (f"{job}_rate", 60, 10, "grant")
    (charge,) = decide(policies["rate-limit"], job).charges
    assert (charge.window_s, charge.max) == (60, 10)
    assert decide(policies["one-tool"], "get_dicom_import_job").effect == "allow"
    assert decide(policies["one-tool"], job).reasons[0].code == "default_deny"
    assert decide(policies["no-exports"], job).reasons[0].message == "exports go through the data office"
    assert decide(policies["no-exports"], "anything").effect == "allow"


def test_where_only_a_regular_file_is_read_nothing_else_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"version": "1"}')
    assert load_policy(path, regular_only=True).policy == load_policy(path).policy
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PolicyError, match="this is a pipe or a device"):
        load_policy(path, regular_only=True)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(PolicyError, match="this is a pipe or a device"):
        load_policy(path, regular_only=True)
    path.unlink()
    path.mkdir()
    with pytest.raises(PolicyError, match="this is a directory"):
        load_policy(path, regular_only=True)


@pytest.mark.parametrize(("kind", "text"), SNIPPETS)
def test_every_policy_in_the_documents_loads(tmp_path: Path, kind: str, text: str) -> None:
    path = tmp_path / f"policy.{kind}"
    path.write_text(text)
    load_policy(path)


def test_yaml_and_json_are_one_model(tmp_path: Path) -> None:
    data = {"version": "1", "hide": ["x*"], "tools": {"a": {"rate_limit": "1/minute"}, "b": {"action": "deny"}}}
    flow = load(tmp_path, json.dumps(data), "flow.yaml")
    block = load(
        tmp_path,
        'version: "1"\nhide: [x*]\ntools:\n  a:\n    rate_limit: 1/minute\n  b:\n    action: deny  # why not\n',
        "block.YML",
    )
    assert flow.policy == block.policy == load(tmp_path, json.dumps(data)).policy


def test_a_good_file_is_read_without_the_slow_readers(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text('{"version": "1", "tools": {"a": {}}}')
    program = (
        "import sys, pathlib; from mcpguard.stores.files import load_policy;"
        f"load_policy(pathlib.Path({str(tmp_path / 'policy.json')!r}));"
        "print({'json', 'difflib', 'ruamel.yaml', 'jsonschema_rs', 'mcpguard.stores.json_text'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


EVERYTHING_WRONG = """\
{
  "version": 1,
  "deafult": "deny",
  "default": "alow",
  "hide": ["a", 7, "b\\\\c"],
  "list": "everything",
  "approval": {"tll": "1h", "timeout": 45, "ttl": "1 h", "remember": "tools", "via": ["Client", 7], "min_answer": "1"},
  "all_tools": {"deny_id": []},
  "methods": {"tools/call": "allow", "x": "maybe"},
  "server_requests": {"roots/list": true},
  "tools": {
    "@read": {},
    "get": null,
    "get_x": {
      "limit": [],
      "action": "Deny",
      "require": [{"conditions": [{"path": "amount", "op": "equals", "value": 1}], "on_deny": 1}],
      "max": 3,
      "reason": ["x"],
      "rate_limit": "10/fortnight",
      "limits": [
        {"window": "minut", "max": "7"},
        {"max": -1, "window": 1.5, "per": "args.*"},
        {"counter": "/c", "window": 1, "max": 10.0, "scope": "run"}
      ]
    }
  }
}
"""


def test_everything_that_is_wrong_is_said_at_once_and_in_order(tmp_path: Path) -> None:
    window = (
        "`window` must be `second`, `minute`, `hour`, `day`, `week`, a whole number of seconds, or text like "
        "`90s`, `15m`, `6h`, `7d`, not "
    )
    time = "must be text like `150ms`, `45s`, `10m` or `2h`, not "
    assert lines(tmp_path, EVERYTHING_WRONG) == [
        'policy.json:2:14: `version` must be the string `"1"`, not the number `1`',
        "policy.json:3:3: unknown key `deafult` in a policy; did you mean `default`?",
        "policy.json:4:14: unknown default `alow`; did you mean `allow`?",
        "policy.json:5:17: an entry of `hide` must be a string, not the number `7`",
        "policy.json:5:20: `\\c` escapes nothing; `\\` goes before `*`, `?`, `@` or `\\`",
        "policy.json:6:11: unknown list `everything`; use `callable` or `all`",
        "policy.json:7:16: unknown key `tll` in `approval`; did you mean `ttl`?",
        f"policy.json:7:40: `timeout` {time}the number `45`",
        f'policy.json:7:51: `ttl` {time}the string `"1 h"`',
        "policy.json:7:70: unknown remember `tools`; did you mean `tool`?",
        "policy.json:7:87: unknown entry `Client` of `via`; did you mean `client`?",
        "policy.json:7:97: an entry of `via` must be `client` or `terminal`, not the number `7`",
        f'policy.json:7:115: `min_answer` {time}the string `"1"`',
        "policy.json:8:17: unknown key `deny_id` in `all_tools`; did you mean `deny_if`?",
        (
            "policy.json:9:15: `methods` is for methods that the protocol does not know, and it knows `tools/call`: "
            'it is governed by "tools"'
        ),
        "policy.json:9:43: unknown effect `maybe` of `x`; use `allow` or `deny`",
        "policy.json:10:37: `roots/list` must be `allow` or `deny`, not `true`",
        "policy.json:13:12: `get` must be an object, not `null`; write {} to allow it",
        "policy.json:15:7: unknown key `limit` in a tool; did you mean `limits`?",
        "policy.json:16:17: unknown action `Deny`; did you mean `deny`?",
        (
            "policy.json:17:44: a path begins with `args.`, like `args.amount`, or is a JSON Pointer, like "
            '`"/amount"`, not the string `"amount"`'
        ),
        (
            "policy.json:17:60: unknown op `equals`; use `eq`, `neq`, `in`, `not_in`, `lt`, `lte`, `gt`, `gte`, `regex`, "
            "`contains`, `exists`, `under`, `not_under`, `host_in` or `not_host_in`"
        ),
        "policy.json:17:95: `on_deny` must be a string, not the number `1`",
        "policy.json:18:7: unknown key `max` in a tool; it belongs in a limit or a rate limit",
        "policy.json:19:17: `reason` must be a string, not a list",
        (
            "policy.json:20:21: `rate_limit` must be an object or text like `10/minute` or `10/15m`, "
            'not the string `"10/fortnight"`'
        ),
        f'policy.json:22:20: {window}the string `"minut"`',
        'policy.json:22:36: `max` must be a whole number, not the string `"7"`',
        "policy.json:23:17: `max` must be 0 or more, not the number `-1`",
        f"policy.json:23:31: {window}the number `1.5`",
        "policy.json:23:43: a limit is charged once for each call, so this path takes no `*`",
        (
            "policy.json:24:21: `counter` must be a name that does not begin with `/`; "
            "leave it out for a counter of the limit's own"
        ),
        "policy.json:24:47: `max` must be a whole number, not the number `10.0`",
        "policy.json:24:62: unknown scope `run`; use `session` or `grant`",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("{}", '1:1: `version` is missing in a policy; add "version": "1"', id="no version"),
        pytest.param('{"version": "2"}', '1:13: unknown version `2`; use the string `"1"`', id="another version"),
        pytest.param("[]", "1:1: a policy must be an object, not a list", id="a list"),
        pytest.param("null", "1:1: a policy must be an object, not `null`", id="null"),
        pytest.param('{"version": "1",}', "1:16: trailing comma; take out the `,` before `}`", id="syntax"),
        pytest.param(
            '{"version": "1", "version": "1"}',
            "1:18: duplicate key `version`; the first is at line 1; keep one of them",
            id="a duplicate key",
        ),
        pytest.param(
            '{"version": "1", "tools": {"a*c?": {}, "a*?d": {}}}',
            "1:40: `a*?d` and `a*c?` can match one name and neither is more specific; "
            "write one of them with more literal characters",
            id="a tie",
        ),
        pytest.param(
            '{"version": "1", "all_tools": {"limits": [{"max": 1}]}}',
            "1:43: `window` is missing in a limit",
            id="no window",
        ),
        pytest.param(
            '{"version": "1", "tools": {"a": {"\\u001b[2J": 1}}}',
            "1:34: unknown key `\\x1b[2J` in a tool; it can have `action`, `reason`, `require`, "
            "`deny_if`, `approve_if`, `arguments`, `limits` and `rate_limit`",
            id="a terminal's escape code",
        ),
        pytest.param(
            '{"version": "1", "\\ud800": 1}',
            "1:18: half of a surrogate pair is no character; write both or neither",
            id="half a character",
        ),
        pytest.param(
            '{"version": "1", "server_requests": {"sampling": "deny"}}',
            "1:38: unknown key `sampling` in `server_requests`; "
            "it can have `sampling/createMessage`, `elicitation/create` and `roots/list`",
            id="half the name of a server request",
        ),
        pytest.param(
            '{"version": "1", "tools": {"a": {"rate_limit": {"max": 1, "window": 1, "scope": "grant"}}}}',
            "1:72: unknown key `scope` in a rate limit; it belongs in a limit",
            id="a key of another object",
        ),
        pytest.param("", '1:1: the file is empty; the smallest policy is {"version": "1"}', id="nothing"),
        pytest.param(" \n", '1:1: the file is empty; the smallest policy is {"version": "1"}', id="only white space"),
        pytest.param(b'{"version":\n"\xff"}', "2:2: the file is not UTF-8; save it as UTF-8", id="no text"),
        pytest.param(
            b"\xef\xbb\xbf{}", "1:1: the file begins with a byte order mark; save it as UTF-8 without one", id="a BOM"
        ),
        pytest.param(
            '{"version": "1", "all_tools": {"limits": [{"window": 1, "max": 1e400}]}}',
            "1:64: `max` must be a whole number, not the number `1e400`",
            id="a number beyond all bounds",
        ),
    ],
)
def test_one_thing_wrong_is_one_line(tmp_path: Path, content: str | bytes, expected: str) -> None:
    assert lines(tmp_path, content)[0] == f"policy.json:{expected}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            "version: 1\n",
            ['policy.yaml:1:10: `version` must be the string `"1"`, not the number `1`'],
            id="a number for the version",
        ),
        pytest.param(
            'version: "1"\ntools:\n  a:\n',
            ["policy.yaml:3:3: `a` must be an object, not nothing; write {} to allow it"],
            id="a tool without a value",
        ),
        pytest.param(
            'version: "1"\nx: &a 1\n',
            [
                (
                    "policy.yaml:2:1: unknown key `x` in a policy; it can have `$schema`, `version`, `description`, `default`, "
                    "`hide`, `all_tools`, `tools`, `resources`, `prompts`, `server_requests`, `methods`, "
                    "`approval`, `audit`, `list` and `drift`"
                ),
                "policy.yaml:2:4: anchors have no place in a policy; write the value out",
            ],
            id="an anchor, and what else is wrong",
        ),
        pytest.param(
            "# later\n",
            ['policy.yaml:1:1: the file is empty but for comments; the smallest policy is {"version": "1"}'],
            id="only comments",
        ),
    ],
)
def test_yaml_gets_the_same_words(tmp_path: Path, content: str, expected: list[str]) -> None:
    assert lines(tmp_path, content, "policy.yaml") == expected


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        pytest.param(
            '{"arguments": {"properties": {"memo": {"minLenght": 1}}}}',
            "1:72: unknown keyword `minLenght` in `arguments`; did you mean `minLength`?",
            id="a keyword of a schema",
        ),
        pytest.param(
            '{"deny_if": [{"conditions": [{"path": "args.a", "op": "gt", "value": "5"}]}]}',
            '1:102: `gt` compares numbers: `value` must be a number, not the string `"5"`',
            id="a value",
        ),
        pytest.param(
            '{"deny_if": [{"conditions": [{"path": "args.a", "op": "gt"}]}]}',
            "1:62: `gt` needs a `value`",
            id="no value",
        ),
        pytest.param('{"deny_if": [{}]}', "1:46: `conditions` is missing in a rule", id="no conditions"),
        pytest.param(
            '{"approve_if": [{"conditions": [], "on_deny": "x"}]}',
            "1:68: unknown key `on_deny` in an approval rule; it belongs in a rule",
            id="a key of another rule",
        ),
    ],
)
def test_what_is_wrong_with_a_rule_is_said_where_it_stands(tmp_path: Path, tool: str, expected: str) -> None:
    assert lines(tmp_path, f'{{"version": "1", "tools": {{"a": {tool}}}}}') == [f"policy.json:{expected}"]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param(
            '"resources": {"*": {"limits": [{"window": 1, "max": 1, "per": "tool"}]}}',
            "unknown key `per` in a limit of a resource or prompt; it belongs in a limit",
            id="a key where there are no arguments",
        ),
        pytest.param(
            '"prompts": {"a": {"require": []}}',
            "unknown key `require` in a resource or prompt; it belongs in a tool or `all_tools`",
            id="a rule where there are no arguments",
        ),
        pytest.param(
            '"approval": {"via": []}',
            "`via` must name who may answer: `client`, `terminal` or both",
            id="approvals by nobody",
        ),
        pytest.param(
            '"approval": {"via": "terminal"}',
            '`via` must be a list, not the string `"terminal"`',
            id="one way to answer, not in a list",
        ),
        pytest.param(
            '"approval": {"action": "deny"}',
            "unknown key `action` in `approval`; it belongs in a tool or a resource or prompt",
            id="a key of a tool",
        ),
        pytest.param(
            '"timeout": "45s"', "unknown key `timeout` in a policy; it belongs in `approval`", id="a term of approvals"
        ),
        pytest.param('"approval": true', "`approval` must be an object, not `true`", id="approvals in a word"),
        pytest.param('"prompts": {"a": null}', "`a` must be an object, not `null`; write {} to allow it", id="null"),
        pytest.param(
            '"audit": {"argument": "full"}', "unknown key `argument` in `audit`; did you mean `arguments`?", id="audit"
        ),
    ],
)
def test_what_is_wrong_with_other_sections_is_said(tmp_path: Path, parts: str, expected: str) -> None:
    (line,) = lines(tmp_path, f'{{"version": "1", {parts}}}')
    assert line.split(": ", 1)[1] == expected


def test_numbers_of_a_policy_are_exact_in_either_language(tmp_path: Path) -> None:
    rule = '{"conditions": [{"path": "args.a", "op": "eq", "value": 0.1}]}'
    text = f'{{"version": "1", "tools": {{"a": {{"require": [{rule}]}}}}}}'
    for name in ("policy.json", "policy.yaml"):
        policy = load(tmp_path, text, name).policy
        assert evaluate(policy, ToolCall("a", {"a": Decimal("0.1")})).effect == "allow"


def test_a_large_policy_loads_and_is_judged_quickly(tmp_path: Path) -> None:
    conditions = [{"path": f"args.a{number}", "op": "neq", "value": number} for number in range(10)]
    tools = {f"tool_{number}": {"deny_if": [{"conditions": conditions}]} for number in range(1000)}
    policy = load(tmp_path, json.dumps({"version": "1", "tools": tools})).policy
    ready = sum(entry._ruling is not None for entry in policy.tools.exact.values())
    assert ready == 0
    assert evaluate(policy, ToolCall("tool_7", {"a0": 0})).effect == "allow"
    assert sum(entry._ruling is not None for entry in policy.tools.exact.values()) == 1


def test_findings_say_which_rule_they_are_about(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, '{"version": "1", "tools": {"a/b": {"action": "x"}}}')
    assert (found.rule, found.line, found.column) == ("/tools/a~1b/action", 1, 46)


def test_other_suffixes_are_refused_with_those_that_are_not(tmp_path: Path) -> None:
    assert lines(tmp_path, "{}", "policy.toml") == ["policy.toml: a policy file ends in `.json`, `.yaml` or `.yml`"]


def test_what_has_no_suffix_is_first_looked_for(tmp_path: Path) -> None:
    told = "a policy file ends in `.json`, `.yaml` or `.yml`"
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("folder", "this is a directory; name the policy file in it"),
        ("mcpguard", f"there is no such file; {told}"),
        ("nul\0", f"there is no such file; {told}"),
    ):
        with pytest.raises(PolicyError) as raised:
            load_policy(tmp_path / name)
        assert [found.message for found in raised.value.findings] == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"cases": []}', "this is a cases file and no policy", id="cases"),
        pytest.param('{"tools": [{"name": "a"}]}', "this is a list of tools and no policy", id="tools"),
    ],
)
def test_another_file_in_the_place_of_a_policy_is_called_what_it_is(tmp_path: Path, text: str, message: str) -> None:
    (said,) = lines(tmp_path, text)
    assert said.startswith(f"policy.json:1:1: {message}; ")


def test_a_tool_that_is_only_its_action_is_told_how_it_is_written(tmp_path: Path) -> None:
    said = lines(tmp_path, '{"version": "1", "tools": {"a": "allow", "b": "deny", "c": "no"}}')
    assert [each.partition(", not ")[2] for each in said] == [
        'the string `"allow"`; write {} to allow it',
        'the string `"deny"`; write {"action": "deny"}',
        'the string `"no"`',
    ]


def test_a_tab_in_yaml_is_called_one(tmp_path: Path) -> None:
    said = lines(tmp_path, 'version: "1"\ntools:\n\ta: {}\n', "policy.yaml")
    assert said == ["policy.yaml:3:1: wrong YAML: a tab; YAML is indented with spaces"]


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    for name, message in (
        ("none.json", "there is no such file"),
        ("folder.json", "this is a directory; name the policy file in it"),
        ("loop.json", "the file cannot be read: too many levels of symbolic links"),
        ("nul\0.json", "no file can have this name"),
    ):
        with pytest.raises(PolicyError) as raised:
            load_policy(tmp_path / name)
        assert raised.value.findings[0].message == message
        assert raised.value.findings[0].line is None


def test_a_file_that_is_too_big_is_refused(tmp_path: Path) -> None:
    assert lines(tmp_path, b" " * (MAX_BYTES + 1)) == [
        "policy.json: the file is bigger than 16 MiB, which no policy needs"
    ]


def test_notes_say_what_may_surprise(tmp_path: Path) -> None:
    limit = {"window": "day", "max": 1, "scope": "grant"}
    tools = {name: {"limits": [limit]} for name in "abcd"}
    audit = {"arguments": "full"}
    notes = load(tmp_path, json.dumps({"version": "1", "tools": tools, "audit": audit})).notes
    some = "`/tools/a/limits/0`, `/tools/b/limits/0`, `/tools/c/limits/0` and 1 more"
    assert notes == (
        f"counters live in memory: a window of a day or more starts anew with every run ({some})",
        f"counters live in memory: the scope `grant` reaches no further than one run ({some})",
        "the decision log will hold every argument as it was sent (`/audit/arguments`)",
    )


def test_a_policy_without_surprises_has_no_notes(tmp_path: Path) -> None:
    tools = {
        "a": {"rate_limit": "1/hour"},
        "b": {"action": "require_approval"},
        "c": {"approve_if": [{"conditions": []}]},
    }
    assert load(tmp_path, json.dumps({"version": "1", "tools": tools})).notes == ()


WORDS = st.sampled_from(
    [
        "version",
        "1",
        "description",
        "default",
        "allow",
        "deny",
        "hide",
        "all_tools",
        "limits",
        "tools",
        "server_requests",
        "methods",
        "list",
        "action",
        "reason",
        "rate_limit",
        "counter",
        "window",
        "max",
        "scope",
        "minute",
        "session",
        "grant",
        "require",
        "@read",
        "a*",
        "*a",
        "a\\",
        "$comment",
        "$schema",
        "roots/list",
    ]
)
POLICY_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=20,
)
any_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def refusal(path: Path) -> list[Finding]:
    try:
        load_policy(path)
    except PolicyError as error:
        return list(error.findings)
    return []


def survives(folder: Path, content: bytes, suffix: str) -> None:
    path = folder / f"policy{suffix}"
    path.write_bytes(content)
    found = refusal(path)
    assert all(str(finding).isprintable() for finding in found)
    assert found == sorted(found, key=lambda finding: (finding.line or 0, finding.column or 0))


@any_file
@given(st.binary(max_size=60), st.sampled_from([".json", ".yaml"]))
def test_any_bytes_load_or_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    survives(tmp_path, content, suffix)


@any_file
@given(st.text(alphabet="ab:-?*&!|>'\"%@`{}[],# \n\t<1.~\\xud8\ud800\u2028", max_size=40))
def test_any_text_in_the_letters_of_yaml_loads_or_is_refused(tmp_path: Path, text: str) -> None:
    survives(tmp_path, text.encode(errors="surrogatepass"), ".yaml")


@any_file
@given(POLICY_LIKE, st.sampled_from([".json", ".yaml"]), st.booleans())
def test_anything_like_a_policy_loads_or_is_refused(tmp_path: Path, value: object, suffix: str, whole: bool) -> None:
    if whole and isinstance(value, dict):
        value = value | {"version": "1"}
    survives(tmp_path, json.dumps(value).encode(), suffix)
