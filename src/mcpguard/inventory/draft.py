"""Drafts a policy for the tools of a server: what each may do, how often, with which arguments, and why.

A draft is for its owner to read: every entry and rule says in a sentence what it is there for, quoting what shows it.  It loads, and a
check against the same tools finds nothing in it: a tool whose rules would not do is asked about, or refused.  No IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from pydantic import ValidationError

from mcpguard.errors import PolicyError
from mcpguard.inventory.check import check_tools
from mcpguard.inventory.guards import guards_of, worse_values
from mcpguard.inventory.pieces import Guard, Piece, Posture, Setting, joined, path_text, sentence
from mcpguard.inventory.risk import classify
from mcpguard.inventory.sensitive import Kind, Sensitive, is_too_large, sensitive_arguments
from mcpguard.inventory.tools import Prompt, Tool
from mcpguard.inventory.words import RANK, read_name, words_of
from mcpguard.policy.check import check_policy
from mcpguard.policy.compile import Policy, compile_policy
from mcpguard.policy.entries import pointer
from mcpguard.policy.model import PolicyFile

if TYPE_CHECKING:
    from mcpguard.inventory.risk import Risk
    from mcpguard.policy.decision import Category

__all__ = ["Draft", "DraftedTool", "Offered", "Own", "Posture", "draft_policy", "draft_tool"]

Treatment: TypeAlias = Literal["allow", "ask", "deny"]

_CAPS: Final[Mapping[Posture, Mapping[Category, str]]] = {
    "strict": {"read": "60/minute", "write": "30/hour", "execute": "10/minute"},
    "balanced": {"write": "30/hour", "execute": "10/minute"},
    "open": {"write": "120/hour", "execute": "10/minute", "destructive": "10/hour", "financial": "10/hour"},
}
_QUERY_CAP: Final = "60/minute"
_ALL_CALLS: Final = 300
_CALLS_OF_AN_HOUR: Final = 5
"""How many calls of the largest amount an hour may have."""
_SHORT: Final = 160
_DEEPEST: Final = 3
_ROUNDS: Final = 3

_DOES: Final[Mapping[Category, str]] = {
    "read": "Only reads",
    "write": "Changes things",
    "execute": "Runs things",
    "destructive": "Takes things away",
    "financial": "Moves money",
}
_RIGHTS: Final = frozenset(
    "iam role roles permission permissions acl grant privilege privileges credential credentials secret secrets password apikey sudo".split()
)
_SECRETS: Final = frozenset("env secret secrets credential credentials password passwords apikey keychain".split())
_ANYTHING: Final = frozenset(("shell", "code", "AWS command"))
_REACHING: Final[frozenset[Kind]] = frozenset(
    ("path", "url", "SQL", "Cypher", "GraphQL", "shell", "code", "store command", "AWS command", "S3 URI")
)
"""What makes a text lead somewhere."""
_UI: Final = "ui://"
_FILES_AND_WEB: Final = frozenset(("file", "http", "https", "data"))
_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e01ef]"
)


_PROMPT: Final = {"$comment": "The server lists it; a prompt is a text for the model."}
_SECOND_DOOR: Final = {
    "$comment": "The server lists it, and has a tool of the same name: rules on the arguments of a tool do not reach a prompt.",
    "action": "deny",
    "reason": "there is a tool for this",
}


class Own(NamedTuple):
    """Something that only the owner can say: `rule` points at its place in the draft."""

    rule: str
    what: str


@dataclass(frozen=True, slots=True)
class Offered:
    """What a server offers besides its tools: URIs, URI templates, prompts."""

    resources: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...] = ()


@dataclass(frozen=True, slots=True)
class DraftedTool:
    """One entry of a draft, by `key`, with what it was made from.

    `treatment` is what happens to calls that meet its rules; `guards` are its rules, in the order in which they stand there.
    """

    tool: Tool
    key: str
    risk: Risk
    sensitive: tuple[Sensitive, ...]
    treatment: Treatment
    entry: Piece
    guards: tuple[tuple[str, Guard], ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A drafted policy: the file as a JSON value, ready to judge, and what its owner has to look at."""

    document: Piece
    file: PolicyFile
    policy: Policy
    tools: tuple[DraftedTool, ...]
    owns: tuple[Own, ...] = field(default=())


def draft_policy(
    tools: Sequence[Tool], posture: Posture, *, directories: Sequence[str] = (), offered: Offered | None = None
) -> Draft:
    """Draft a policy for `tools`; the agent's files are in `directories`, absolute paths."""
    drafted = [draft_tool(tool, posture, directories) for tool in tools]
    for _ in range(_ROUNDS):
        document = _document(drafted, posture, offered or Offered())
        faulty = _faulty(document, tools)
        if not faulty:
            break
        drafted = [_plain(each, posture) if each.key in faulty else each for each in drafted]
    file = PolicyFile.model_validate(document)
    owns = (
        Own(rule, f"{guard.own} (tool {each.tool.name})")
        for each in drafted
        for rule, guard in each.guards
        if guard.own
    )
    return Draft(document, file, compile_policy(file), tuple(drafted), tuple(owns))


def draft_tool(tool: Tool, posture: Posture, directories: Sequence[str] = ()) -> DraftedTool:
    """Draft the entry of one tool."""
    risk = classify(tool)
    sensitive = sensitive_arguments(tool, risk)
    key = key_of(tool.name)
    if _UNSEEN.search(tool.name):
        entry: Piece = {
            "$comment": "The name holds characters that nobody sees: such a tool can look like another, and is refused in any case.",
            "action": "deny",
        }
        return DraftedTool(tool, key, risk, sensitive, "deny", entry)
    treatment, counts, why = _treatment(tool, risk, sensitive, posture)
    if treatment == "deny":
        reason = f"this tool {_WHY_NOT[counts]}, and the policy leaves that to people"
        entry = {"$comment": f"{why}: nobody may call it.", "action": "deny", "reason": reason}
        return DraftedTool(tool, key, risk, sensitive, treatment, entry)
    setting = Setting(tool, risk.category, posture, treatment == "ask", directories)
    guards = [guard for each in sensitive for guard in guards_of(each, setting)]
    cap, said = _cap(tool, counts, posture)
    says = [part for part in ("a person approves each call" if treatment == "ask" else "", said) if part]
    entry = {"$comment": f"{why}{': ' if says else ''}{', and '.join(says)}."}
    if treatment == "ask":
        entry |= {"action": "require_approval", "reason": f"this tool {_WHY_NOT[counts]}"}
    placed: list[tuple[str, Guard]] = []
    for kind in ("require", "deny_if", "approve_if"):
        rules = [guard for guard in guards if guard.kind == kind]
        if rules:
            entry[kind] = [guard.body for guard in rules]
            placed += [(pointer("tools", key, kind, index), guard) for index, guard in enumerate(rules)]
    shapes = [guard for guard in guards if guard.kind == "arguments"]
    if shapes:
        entry["arguments"] = joined([guard.body for guard in shapes])
        placed += [(pointer("tools", key, "arguments"), guard) for guard in shapes]
    sums = [guard for guard in guards if guard.kind == "require" and guard.body["conditions"][0]["op"] == "lte"]
    if sums:
        entry["limits"] = [_sum(guard) for guard in sums]
    if cap:
        entry["rate_limit"] = cap
    drafted = DraftedTool(tool, key, risk, sensitive, treatment, entry, tuple(placed))
    return _plain(drafted, posture) if is_too_large(tool) else drafted


def _sum(guard: Guard) -> Piece:
    """Bound what the calls of an hour ask for together."""
    (condition,) = guard.body["conditions"]
    return {
        "$comment": f"Many small calls are a large one: what '{guard.sensitive.name}' adds up to in an hour.",
        "window": "hour",
        "max": _CALLS_OF_AN_HOUR * condition["value"],
        "cost": condition["path"],
    }


def key_of(name: str) -> str:
    r"""Write the name of a tool as the name of an entry: `*`, `?`, `@` and `\` lose their meaning."""
    if name == "$comment":
        return "?comment"  # a key that the language has taken
    return re.sub(r"[*?\\]|^@", r"\\\g<0>", name)


_Counts: TypeAlias = "Category | Literal['rights', 'secrets', 'anything']"
_WHY_NOT: Final[Mapping[_Counts, str]] = {
    "read": "reads",
    "write": "changes things",
    "execute": "runs things",
    "destructive": "takes things away",
    "financial": "moves money",
    "rights": "hands out rights or secrets",
    "secrets": "shows secrets",
    "anything": "runs commands or code of any kind",
}
_LIKE: Final[Mapping[_Counts, Category]] = {
    "read": "read",
    "write": "write",
    "execute": "execute",
    "destructive": "destructive",
    "financial": "financial",
    "anything": "execute",
    "rights": "destructive",
    "secrets": "read",
}
"""As which category each counts where limits are concerned."""


def _treatment(
    tool: Tool, risk: Risk, sensitive: Sequence[Sensitive], posture: Posture
) -> tuple[Treatment, _Counts, str]:
    """Say what happens to calls of a tool, as what it counts, and why."""
    counts: _Counts = risk.category
    why = f"{_DOES[risk.category]}, for {_evidence(risk)}"
    named = set(words_of(tool.name))
    anything = next((each for each in sensitive if each.kind in _ANYTHING), None)
    if anything is not None:
        counts, why = "anything", f"Runs anything, for {_plain_quotes(anything.why)} of any kind"
    elif risk.category in {"write", "execute"} and (rights := sorted(_RIGHTS & named)):
        counts, why = "rights", f"Hands out rights or secrets, for the name says '{rights[0]}'"
    elif risk.category == "read" and (secrets := sorted(_SECRETS & named)):
        counts, why = "secrets", f"Shows secrets, for the name says '{secrets[0]}'"
    elif risk.category in {"destructive", "financial"} and posture != "open":
        mildest = _mildest(tool, risk, sensitive)
        if mildest is not None:
            return "allow", mildest, f"Does several things, for {_evidence(risk)}, and rules tell them apart"
    if counts in {"read", "write", "execute"} or posture == "open":
        return "allow", counts, why
    return ("deny" if posture == "strict" else "ask"), counts, why


def _mildest(tool: Tool, risk: Risk, sensitive: Sequence[Sensitive]) -> Category | None:
    """Say what a tool can do without those values of one argument that alone make it dangerous; None if it is by more than these."""
    actions = [each for each in sensitive if each.kind == "action" and path_text(each.steps) is not None]
    if len(actions) != 1 or len(risk.arguments) != 1:
        return None
    if read_name(tool.name).category in {"destructive", "financial"} or any("Hint" in each for each in risk.evidence):
        return None
    (action,) = actions
    mild = set(action.values) - set(worse_values(action, "execute"))
    if not mild or len(mild) == len(action.values):
        return None
    return max((action.values[value] for value in mild), key=RANK.__getitem__)


def _cap(tool: Tool, counts: _Counts, posture: Posture) -> tuple[str, str]:
    """Give the rate limit of a tool, and its words; both empty for none."""
    cap = _CAPS[posture].get(_LIKE[counts], "")
    if not cap and counts == "read" and read_name(tool.name).category == "execute" and posture != "open":
        return _QUERY_CAP, "queries cost the server, and 60 of them a minute are many"
    if not cap:
        return "", ""
    number, _, window = cap.partition("/")
    return cap, f"{number} calls {'an' if window == 'hour' else 'a'} {window} stop a loop"


def _evidence(risk: Risk) -> str:
    """Quote what shows best what a tool does."""
    first = risk.evidence[0]
    weighs = "what weighs most: "
    if first.startswith(weighs):
        first = f"so it seems by {first.removeprefix(weighs)}"
    return _plain_quotes(first)


def _plain_quotes(text: str) -> str:
    text = text.replace('"', "'")
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def _plain(each: DraftedTool, posture: Posture) -> DraftedTool:
    """Draft a tool without rules, because those that it would have do not fit: a person is asked, or nobody may call it."""
    why = "Its arguments cannot be guarded by rules that fit its schema, or are too many"
    if posture == "strict":
        entry: Piece = {
            "$comment": f"{why}: nobody may call it.",
            "action": "deny",
            "reason": "write rules for it first",
        }
        return DraftedTool(each.tool, each.key, each.risk, each.sensitive, "deny", entry)
    entry = {"$comment": f"{why}: a person approves each call.", "action": "require_approval"}
    return DraftedTool(each.tool, each.key, each.risk, each.sensitive, "ask", entry)


def _document(drafted: Sequence[DraftedTool], posture: Posture, offered: Offered) -> Piece:
    is_open = posture == "open"
    document: Piece = {
        "$comment": f"A draft ({posture}), made from what the server says of itself. Read it, put your own values in, and keep what you would sign.",
        "version": "1",
        "default": "allow" if is_open else "deny",
    }
    if is_open:
        document["all_tools"] = {
            "$comment": "A loop around any tool is stopped, also around those that the server adds later.",
            "limits": [{"window": "minute", "max": _ALL_CALLS}],
        }
    document["tools"] = {each.key: each.entry for each in drafted}
    if not is_open:
        document |= _sections(drafted, offered)
    return document


def _sections(drafted: Sequence[DraftedTool], offered: Offered) -> Piece:
    """Open the resources that a tool shows itself with, and what the server lists besides its tools."""
    resources: Piece = {}
    shown = [each.tool.name for each in drafted if each.treatment != "deny" and _refers_to_ui(each.tool.meta)]
    if shown:
        more = f" and {len(shown) - 1} more" if len(shown) > 1 else ""
        resources["ui://*"] = {"$comment": f"Pages in which clients show the results of '{shown[0]}'{more}."}
    sections: Piece = {}
    for uri in _literals(offered):
        resources.setdefault(uri, {"$comment": "The server lists it; resources are only read."})
    if resources:
        sections["resources"] = resources
    if offered.prompts:
        ruled = {each.tool.name for each in drafted if each.guards or each.treatment != "allow"}
        sections["prompts"] = {
            key_of(each.name): dict(_SECOND_DOOR) if each.name in ruled else _prompt(each)
            for each in offered.prompts
            if not _UNSEEN.search(each.name)
        }
    return sections


def _prompt(prompt: Prompt) -> Piece:
    """Open a prompt, unless one of its arguments leads somewhere: no rule of a policy looks at those."""
    properties = {name: {"type": "string", "description": described} for name, described in prompt.arguments}
    alike = Tool(prompt.name, prompt.description, {"type": "object", "properties": properties})
    reach = next((each for each in sensitive_arguments(alike, classify(alike)) if each.kind in _REACHING), None)
    if reach is None:
        return dict(_PROMPT)
    comment = f"{sentence(reach.why)}, and no rule looks at the arguments of prompts: look at it before you open it."
    return {"$comment": comment, "action": "deny", "reason": "nobody has looked at where this prompt leads"}


def _literals(offered: Offered) -> Iterator[str]:
    """Yield resources as entries: what is listed, and what templates make; nothing that leads to any file or web page."""
    for uri in offered.resources:
        if uri and not uri.startswith(_UI) and not _UNSEEN.search(uri):
            yield key_of(uri)
    for template in offered.templates:
        prefix, brace, _ = template.partition("{")
        scheme = prefix.partition(":")[0].lower()
        if brace and "://" in prefix and scheme not in _FILES_AND_WEB and not _UNSEEN.search(prefix):
            yield f"{key_of(prefix)}*"


def _refers_to_ui(value: object, depth: int = 0) -> bool:
    if isinstance(value, str):
        return value.startswith(_UI)
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return any(_refers_to_ui(inner, depth + 1) for inner in value.values())
    return False


def _faulty(document: Piece, tools: Sequence[Tool]) -> set[str]:
    """Name the entries with which the draft could not be used, or in which a check finds something."""
    try:
        file = PolicyFile.model_validate(document)
        policy = compile_policy(file)
    except PolicyError as error:
        rules = [finding.rule for finding in error.findings]
    except ValidationError as error:
        rules = [pointer(*map(str, found["loc"])) for found in error.errors()]
    else:
        rules = [finding.rule for finding in (*check_policy(file), *check_tools(file, policy, tools))]
    return {
        key
        for key in document["tools"]
        for place in [pointer("tools", key)]
        if any(rule == place or rule.startswith(f"{place}/") for rule in rules)
    }
