"""Writes the rules that guard the arguments of a tool, each with why it is there and what it lets through.

Pure: a rule is a piece of a policy file.  What only the owner of a server can know (buckets, hosts, roles, directories) is a
placeholder that lets nothing of theirs through, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from mcpguard.inventory.pieces import (
    Guard,
    Setting,
    ask,
    by_pattern,
    condition,
    deny,
    is_plain,
    only,
    path_text,
    quoted,
    rule_of,
    sentence,
)
from mcpguard.inventory.queries import (
    guards_of_aws,
    guards_of_graph,
    guards_of_identifier,
    guards_of_shell,
    guards_of_sql,
    guards_of_store,
    guards_of_word,
)
from mcpguard.inventory.sensitive import Kind, Sensitive, is_required
from mcpguard.inventory.words import RANK
from mcpguard.policy.paths import ABSENT
from mcpguard.policy.places import host_of
from mcpguard.policy.values import is_number

if TYPE_CHECKING:
    from mcpguard.policy.decision import Category

DIRECTORY: Final = "/path/to/files"
HOST: Final = "example.com"
BUCKET: Final = "example-bucket"
ACCOUNT: Final = "123456789012"
ROLE: Final = f"arn:aws:iam::{ACCOUNT}:role/example"
MOST_AMOUNT: Final = 100
_ANOTHER_BUCKET: Final = "somebody-elses-bucket"
_SECRETS: Final = ("/etc/passwd", "/home/me/.ssh/id_rsa", "/var/lib/secrets")
_METADATA: Final = "http://169.254.169.254/latest/meta-data/"
_INSIDE: Final = ["localhost", "127.0.0.1", "0.0.0.0", "[::1]", "169.254.169.254", "*.internal", "*.localhost"]  # noqa: S104 - refused
_PRIVATE: Final = "(?i)^[a-z+.-]+://(10|127|169[.]254|192[.]168|172[.](1[6-9]|2[0-9]|3[01]))[.]"

_ABSOLUTE: Final = "^/.*"
_KEY_FILES: Final = r"(?i)(^|/)([.](ssh|aws|gnupg|kube|docker|netrc|npmrc|pgpass|env)|id_(rsa|ed25519|ecdsa)|shadow|credentials)(/|$|[.])"
_ADDRESS: Final = "^[^@ ,;<>]+@example[.]com$"
_S3: Final = f"^s3://{BUCKET}/.*"
_ARN: Final = f"^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:{ACCOUNT}:.+"
_SMALL_AMOUNT: Final = "^[0-9]{1,2}([.,][0-9]{1,2})?$"


def guards_of(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    """Yield the rules that guard an argument; none if the posture leaves it open, or nobody could write one."""
    write = _WRITERS.get(each.kind)
    if write is not None and path_text(each.steps) is not None:
        yield from write(each, setting)


def worse_values(each: Sensitive, most: Category) -> list[str]:
    """List the values of an action that do worse than `most`."""
    return [value for value, category in each.values.items() if RANK[category] > RANK[most]]


def _action(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    """Let the values pass that are known; those that destroy or move money are asked about, or refused."""
    if setting.posture == "open" or setting.asks:
        return
    known = list(each.values)
    worst = worse_values(each, "execute")
    mild = [value for value in known if value not in worst]
    passing = mild if setting.posture == "strict" else known
    if not passing or (not worst and each.argument.values is not None):
        return  # nothing passes, which the entry says; or the schema itself lists what may, and none of it is grave
    named = f"{quoted(mild)} of the argument '{each.name}'" if worst else f"the values of '{each.name}' that are known"
    comment = (
        f"{sentence(each.why)}: only {named} may pass."
        if passing is mild
        else f"The values of '{each.name}' that are known; nobody knows what another would do."
    )
    bad = next(iter(worst), ABSENT) if passing is mild and worst else "frobnicate"
    why = f"{each.name} is one of {', '.join(passing)}"
    if not is_required(setting.tool.input_schema, each.steps) and each.argument.default not in mild:
        given = [condition(each, "exists")]
        yield Guard("require", rule_of(given, f"Without '{each.name}', the server decides what is done.", why), each)
    yield from only(each, setting, passing, comment, why, bad=bad)
    if worst and passing is known:
        many = len(worst) > 1
        comment = f"What {quoted(worst)} {'do' if many else 'does'} cannot be taken back: a person approves it."
        why = f"{each.name} {', '.join(worst)} {'take' if many else 'takes'} something away"
        yield ask(each, setting, ("in", worst), comment, why, examples=(mild[0] if mild else ABSENT, worst[0]))


def _path(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    if setting.posture == "open":
        comment = f"{sentence(each.why)}: keys and passwords are nobody's to read or write."
        why = "files with keys and passwords stay closed"
        yield deny(
            each,
            setting,
            ("regex", _KEY_FILES),
            comment,
            why,
            examples=("/srv/files/example.txt", "/home/me/.ssh/id_rsa"),
        )
        return
    directories = list(setting.directories) or [DIRECTORY]
    own = "the directories that the agent may reach"
    comment = f"{sentence(each.why)}: files are reached in these directories only, and by absolute paths. {_LOOK}"
    why = f"paths are absolute and inside of {', '.join(directories)}"
    good, bad = f"{directories[0].rstrip('/')}/example.txt", _outside(directories)
    if is_plain(each, setting):
        conditions = [condition(each, "under", directories), condition(each, "regex", _ABSOLUTE)]
        yield Guard("require", rule_of(conditions, comment, why), each, own, good, bad)
    else:
        conditions = [condition(each, "exists"), condition(each, "not_under", directories)]
        yield Guard("deny_if", rule_of(conditions, comment, why), each, own, good, bad)
        yield from by_pattern(
            each,
            setting,
            _ABSOLUTE,
            "A relative path would begin where the server says.",
            "paths are absolute",
            good=good,
        )


def _url(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    if setting.posture == "open":
        why = "addresses of this machine, of private networks and of cloud metadata stay closed"
        comment = f"{sentence(each.why)}: from where the server runs, more can be reached than from outside."
        yield deny(each, setting, ("host_in", _INSIDE), comment, why, examples=(f"https://{HOST}/", _METADATA))
        comment = "The same for addresses of private networks, as numbers; a name that leads there is not seen."
        yield deny(each, setting, ("regex", _PRIVATE), comment, why, examples=(f"https://{HOST}/", "http://10.0.0.1/"))
        return
    default = each.argument.default
    host = host_of(default) if isinstance(default, str) else None
    hosts = [host] if host is not None else [HOST, f"*.{HOST}"]
    shown = f"the server's own default '{host}'" if host else "a placeholder"
    comment = f"{sentence(each.why)}: it may lead to these hosts only; the list is {shown}. {_LOOK}"
    why, own = f"addresses are of {', '.join(hosts)}", "the hosts that the server may be sent to"
    good, web = f"https://{hosts[0]}/", "^https?://.*"
    if is_plain(each, setting):
        conditions = [condition(each, "host_in", hosts), condition(each, "regex", web)]
        yield Guard("require", rule_of(conditions, comment, why), each, own, good, _METADATA)
    else:
        conditions = [condition(each, "exists"), condition(each, "not_host_in", hosts)]
        yield Guard("deny_if", rule_of(conditions, comment, why), each, own, good, _METADATA)
        why = "addresses begin with http:// or https://"
        yield from by_pattern(each, setting, web, "Other schemes lead to files, and elsewhere.", why, good=good)


def _listed(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    """Hold a destination, or a right, to a list that only its owner knows."""
    if setting.posture == "open":
        return
    shown = sentence(each.why)
    match each.kind:
        case "S3 URI":
            why, own = f"S3 locations are in the bucket {BUCKET}", "the buckets that data may come from and go to"
            yield from by_pattern(
                each, setting, _S3, f"{shown}: your own buckets only. {_LOOK}", why, own=own,
                good=f"s3://{BUCKET}/example/", bad=f"s3://{_ANOTHER_BUCKET}/example/",
            )  # fmt: skip
        case "bucket":
            comment, own = f"{shown}: your own buckets only. {_LOOK}", "the buckets that data may come from and go to"
            yield from only(each, setting, [BUCKET], comment, f"buckets are: {BUCKET}", own=own, bad=_ANOTHER_BUCKET)
        case "role":
            comment = f"{shown}: whoever passes a role lends its rights. {_LOOK}"
            bad = f"arn:aws:iam::{ACCOUNT}:role/administrator"
            yield from only(
                each, setting, [ROLE], comment, f"roles are: {ROLE}", own="the roles that may be passed", bad=bad
            )
        case "ARN":
            good = f"arn:aws:s3:us-east-1:{ACCOUNT}:example"
            yield from by_pattern(
                each, setting, _ARN, f"{shown}: resources of your own account only. {_LOOK}", f"ARNs are of the account {ACCOUNT}",
                own="the number of your account", good=good, bad=good.replace(ACCOUNT, "999999999999"),
            )  # fmt: skip
        case _:
            comment = f"{shown}: to addresses of your own domain only. {_LOOK}"
            yield from by_pattern(
                each, setting, _ADDRESS, comment, f"recipients are at {HOST}", own="the domain that mail may go to",
                good=f"someone@{HOST}", bad="someone@example.net",
            )  # fmt: skip


def _amount(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    comment = f"{sentence(each.why)}: a bound for one call. Look at its unit, and put your own number in."
    own = f"how much '{each.name}' may be, in the server's unit"
    if "string" in each.argument.types:
        why = f"{each.name} is less than {MOST_AMOUNT}"
        yield from by_pattern(each, setting, _SMALL_AMOUNT, comment, why, own=own, good="1", bad="100000")
        return
    low, high = each.argument.bounds
    default = each.argument.default
    most = max(MOST_AMOUNT, *(math.ceil(number) for number in (low, default) if is_number(number)), 0)
    if high is not None and high <= most:
        return
    why = f"{each.name} is at most {most}"
    good, bad = (most, most + 1)
    if is_plain(each, setting, "number"):
        yield Guard("require", rule_of([condition(each, "lte", most)], comment, why), each, own, good, bad)
    else:
        yield deny(each, setting, ("gt", most), comment, why, examples=(good, bad))._replace(own=own)


def _credentials(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    if is_required(setting.tool.input_schema, each.steps):
        return
    comment = f"{sentence(each.why)}: the server has been given its own."
    rule = rule_of(
        [condition(each, "exists")], comment, f"the server's own credentials are used: leave {each.name} out"
    )
    yield Guard("deny_if", rule, each, "", ABSENT, "example")


def _switch(each: Sensitive, setting: Setting) -> Iterator[Guard]:
    if setting.asks or setting.posture == "open":
        return
    test = ("eq", True)
    if setting.posture == "strict":
        comment = f"{sentence(each.why)}: it stays off."
        yield deny(each, setting, test, comment, f"{each.name} stays false", examples=(False, True))
    else:
        comment = f"{sentence(each.why)}: a person approves it."
        yield ask(each, setting, test, comment, f"{each.name} is set", examples=(False, True))


def _outside(directories: Sequence[str]) -> str:
    return next(
        path
        for path in (*_SECRETS, "/somewhere/else")
        if not any(path == each or path.startswith(f"{each.rstrip('/')}/") for each in directories)
    )


_LOOK: Final = "Look at it, and put your own in."
_WRITERS: Final[Mapping[Kind, Callable[[Sensitive, Setting], Iterator[Guard]]]] = {
    "action": _action,
    "path": _path,
    "url": _url,
    "SQL": guards_of_sql,
    "Cypher": guards_of_graph,
    "GraphQL": guards_of_graph,
    "shell": guards_of_shell,
    "AWS command": guards_of_aws,
    "store command": guards_of_store,
    "amount": _amount,
    "credentials": _credentials,
    "switch": _switch,
    "word": guards_of_word,
    "identifier": guards_of_identifier,
    "S3 URI": _listed,
    "bucket": _listed,
    "role": _listed,
    "ARN": _listed,
    "recipient": _listed,
}
"""Code has none: nothing tells good code from bad."""
