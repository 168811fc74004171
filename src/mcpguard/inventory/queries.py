"""Writes the rules for arguments in a language: queries, commands, names that end up in one.

A pattern proves nothing about a language; each rule says what has to stand behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mcpguard.inventory.pieces import (
    Guard,
    Piece,
    Setting,
    by_pattern,
    condition,
    deny,
    in_every_form,
    only,
    placed,
    rule_of,
    sentence,
)
from mcpguard.inventory.words import words_of

if TYPE_CHECKING:
    from mcpguard.inventory.sensitive import Sensitive

_ONE_READING_STATEMENT: Final = r"(?i)^\s*(select|with|values|show|describe|desc|explain)\b[^;]*;?\s*$"
_ONE_CREATE_TABLE: Final = r"(?i)^\s*create\s+table\b[^;]*;?\s*$"
_WRITES_SQL: Final = (
    r"(?i)\b(insert|update|delete|merge|create|alter|drop|truncate|grant|revoke|call|exec|execute|attach|detach|pragma|vacuum|copy|"
    r"into|load_extension|load_file|pg_read_file|dblink)\b"
)
_DESTROYS_SQL: Final = r"(?i)\b(drop|truncate|alter|grant|revoke|attach|detach|pragma|vacuum|load_extension)\b|;\s*\S"
_WRITES_CYPHER: Final = r"(?i)\b(create|merge|set|delete|detach|remove|drop|load|call|foreach)\b"
_MUTATION: Final = r"(?i)\b(mutation|subscription)\b"
_ONE_COMMAND: Final = "^[^;&|<>$`\\r\\n]*$"
_BAD_COMMANDS: Final = r"(?i)\b(rm|rmdir|mkfs|dd|fdisk|shutdown|reboot|sudo|doas|shred|truncate)\b|/dev/(sd|nvme|vd)"
_AWS_COMMAND: Final = (
    r"^aws +[a-z0-9-]+ +[a-z0-9-]+( +([^\s;&|<>$`'\x22\\]+|'[^'\\$`\r\n]*'|\x22[^\x22\\$`\r\n]*\x22))* *$"
)
"""Words, plain or wholly in quotes: no option is put together from pieces."""
_AWS_ESCAPES: Final = (
    # The CLI takes the first letters of an option for it, so far as no other begins alike.
    r"(?i)[ '\x22]--(ca|ca-[a-z-]*|cli|cli-[a-z-]*|e(n(d(p[a-z-]*)?)?)?|no?|no-[sv][a-z-]*|p(r(o(f[a-z]*)?)?)?)([ ='\x22]|$)|fileb?://|^aws +(iam|organizations|sso|secretsmanager|configure)\b|"
    r"get-secret|get-parameter|get-session|get-federation|assume-role"
)
_OPTION: Final = r"^\s*-"
_NO_IDENTIFIER: Final = r"[;()'\x22`]|--|/[*]"
_LOOKING_AT_TEXT: Final = frozenset(("lint", "validate", "format", "parse"))
_STORE_READS: Final = (
    "GET MGET GETRANGE STRLEN EXISTS TYPE TTL PTTL SCAN HGET HMGET HGETALL HKEYS HVALS HLEN HEXISTS HSCAN LRANGE LLEN LINDEX SMEMBERS "
    "SISMEMBER SCARD SSCAN ZRANGE ZREVRANGE ZRANGEBYSCORE ZSCORE ZRANK ZCARD ZCOUNT ZSCAN XRANGE XREVRANGE XLEN INFO DBSIZE PING"
).split()
_STORE_WRITES: Final = "APPEND DECR DECRBY HINCRBY HSET HSETNX INCR INCRBY LPUSH RPUSH SADD SET SETNX ZADD".split()


def guards_of_sql(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    """Let one reading statement pass, or one that creates a table, or at least none that destroys."""
    changes = setting.category in {"write", "destructive", "financial"}
    named = set(words_of(setting.tool.name))
    if not changes and not named.isdisjoint(_LOOKING_AT_TEXT):
        return
    shown = sentence(each.why)
    if changes and {"create", "table"} <= named:
        why = "one CREATE TABLE statement at a time"
        yield from by_pattern(
            each, setting, _ONE_CREATE_TABLE, f"{shown}, and the name says 'create table': nothing else may pass.", why,
            good="CREATE TABLE example (id INTEGER)", bad="DROP TABLE example",
        )  # fmt: skip
    elif changes or setting.posture == "open":
        comment = f"{shown}: one statement, and none that drops tables, changes rights or leaves the database."
        why = "one statement at a time, without DROP, TRUNCATE, ALTER, GRANT, ATTACH or PRAGMA"
        examples = ("INSERT INTO example VALUES (1)", "DROP TABLE example")
        yield deny(each, setting, ("regex", _DESTROYS_SQL), comment, why, examples=examples)
    else:
        comment = (
            f"{shown}: one statement that reads. No proof: give the server a user of the database that can only read."
        )
        why = "one reading statement at a time: SELECT, WITH, VALUES, SHOW, DESCRIBE or EXPLAIN"
        yield from by_pattern(
            each, setting, _ONE_READING_STATEMENT, comment, why, good="SELECT 1", bad="DELETE FROM example"
        )
        comment = "What begins like a reading statement can still write: WITH … DELETE, EXPLAIN ANALYZE, SELECT INTO."
        bad = "WITH gone AS (DELETE FROM example RETURNING *) SELECT * FROM gone"
        why = "the query holds a word that changes something"
        yield deny(each, setting, ("regex", _WRITES_SQL), comment, why, examples=("SELECT 1", bad))


def guards_of_graph(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    """Keep words that write out of queries."""
    if setting.category in {"write", "destructive", "financial"} or setting.posture == "open":
        return
    pattern, good, bad = (
        (_MUTATION, "{ example }", "mutation { example }")
        if each.kind == "GraphQL"
        else (_WRITES_CYPHER, "MATCH (n) RETURN n", "MATCH (n) DETACH DELETE n")
    )
    comment = f"{sentence(each.why)}: queries only read. No proof: give the server an account that can only read."
    yield deny(
        each,
        setting,
        ("regex", pattern),
        comment,
        "the query holds a word that changes something",
        examples=(good, bad),
    )


def guards_of_shell(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    """Let one plain command pass."""
    shown = sentence(each.why)
    if setting.posture == "open":
        comment = f"{shown}: the worst is refused. A list of refusals is weak; --posture balanced asks a person."
        why = "commands that destroy are not for agents"
        yield deny(each, setting, ("regex", _BAD_COMMANDS), comment, why, examples=("ls", "rm -r example"))
    else:
        comment = f"{shown}: one plain command at a time, so that a person sees what is approved."
        why = "one plain command at a time, without ; & | < > $ ` and line breaks"
        yield from by_pattern(each, setting, _ONE_COMMAND, comment, why, good="ls", bad="ls; rm -r example")


def guards_of_aws(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    """Guard a command line of the AWS CLI, which is often a string or a list of strings."""
    comment = (
        f"{sentence(each.why)}: one command each, with the server's own credentials and endpoints, "
        "and none that hands out rights or secrets."
    )
    text: Piece = {"type": "string", "pattern": _AWS_COMMAND, "not": {"pattern": _AWS_ESCAPES}}
    wanted = "one command of the AWS CLI, with the server's own credentials, and none that hands out rights or secrets"
    said = {"$comment": comment, "description": wanted}
    schema = placed(each.steps, said | in_every_form(each, setting, text))
    yield Guard(
        "arguments", schema, each, "", "aws s3api list-buckets", "aws iam create-access-key --user-name example"
    )


def guards_of_store(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    """Let the commands of a key-value store pass that read, or that add and set."""
    if setting.category == "read" and setting.posture != "open":
        comment = f"{sentence(each.why)}: these only read. KEYS is left out: it holds up every other client."
        yield from only(each, setting, _STORE_READS, comment, "only commands that read, in upper case", bad="FLUSHALL")
    elif setting.category == "write" and setting.posture == "strict":
        comment = f"{sentence(each.why)}: these add or set. DEL, EXPIRE, LTRIM and others take away."
        yield from only(
            each, setting, _STORE_WRITES, comment, "only commands that add or set, in upper case", bad="DEL"
        )
    elif setting.category == "write" and setting.posture == "balanced" and not setting.asks:
        comment = f"{sentence(each.why)}: what is not on this list, as DEL and EXPIRE, can take away, and a person approves it."
        rule = rule_of(
            [condition(each, "not_in", _STORE_WRITES)], comment, reason="this command can take something away"
        )
        yield Guard("approve_if", rule, each, "", "SET", "DEL")


def guards_of_word(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    """Keep options out of what is meant to be a name."""
    comment = f"{sentence(each.why)}."
    yield deny(
        each, setting, ("regex", _OPTION), comment, "no options here", examples=("main", "--output=/tmp/example")
    )


def guards_of_identifier(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    """Keep a name from ending, and a query from going on."""
    comment = f"{sentence(each.why)}: a name holds no quotes, brackets or semicolons, with which a query would go on."
    examples = ("example", "example); DROP TABLE example; --")
    yield deny(each, setting, ("regex", _NO_IDENTIFIER), comment, "a plain name, and nothing else", examples=examples)
