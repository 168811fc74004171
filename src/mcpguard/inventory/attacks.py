"""Knows what is documented against tools of which kind, where, and which rule of a policy stops it.

The one table of it: the page `docs/attacks.md` and `mcpguard tool` both show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from mcpguard.policy.entries import pointer

if TYPE_CHECKING:
    from mcpguard.inventory.draft import DraftedTool
    from mcpguard.inventory.sensitive import Kind, Sensitive
    from mcpguard.policy.decision import Category


class Attack(NamedTuple):
    """One kind of attack, or of accident.

    It is about tools of one of the `categories`, or with an argument of one of the `kinds`; about every tool if it names neither.
    `stopped_by` is what a policy does about it, and `left` what it does not.
    """

    key: str
    name: str
    what: str
    stopped_by: str
    left: str
    title: str
    link: str
    categories: frozenset[Category] = frozenset()
    kinds: frozenset[Kind] = frozenset()

    @property
    def is_about_all(self) -> bool:
        """Whether it is about every tool."""
        return not self.categories and not self.kinds


ATTACKS: Final = (
    Attack(
        "runaway-loop",
        "Runaway loop",
        "The agent makes the same call again and again, because it fails or because its answer does not help, and pays for each.",
        '`rate_limit`: `"10/minute"`; with `cost` the sum of an argument is bounded instead of the number of calls',
        "the calls that the limit lets pass",
        "Agent loop non-termination: model retries identical failing tool calls indefinitely (anthropics/claude-code, issue 30150)",
        "https://github.com/anthropics/claude-code/issues/30150",
        categories=frozenset(("write", "execute", "financial")),
    ),
    Attack(
        "excessive-agency",
        "Destruction by misunderstanding",
        "Nobody attacks: the agent takes a request, a text it has read, or an empty answer for a reason to delete.",
        '`"action": "require_approval"`, or `"deny"`',
        "what a person approves without looking",
        "LLM06:2025 Excessive Agency (OWASP Top 10 for LLM Applications)",
        "https://github.com/OWASP/www-project-top-10-for-large-language-model-applications/blob/main/2_0_vulns/LLM06_ExcessiveAgency.md",
        categories=frozenset(("destructive", "financial", "execute")),
        kinds=frozenset(("switch", "action")),
    ),
    Attack(
        "high-impact",
        "Payments nobody has asked for",
        "An injected instruction, or a mistake, makes the agent pay, refund or order; every single call looks legitimate.",
        '`"action": "require_approval"`, `lte` on the amount, and a limit with `cost`',
        "many small payments below every bound, one approval each",
        "AI Agent Security Cheat Sheet (OWASP Cheat Sheet Series)",
        "https://github.com/OWASP/CheatSheetSeries/blob/master/cheatsheets/AI_Agent_Security_Cheat_Sheet.md",
        categories=frozenset(("financial",)),
        kinds=frozenset(("amount",)),
    ),
    Attack(
        "confused-deputy",
        "Confused deputy",
        "The server has more rights than the agent's user, and lends them: a role, a profile or a resource of somebody else is just an argument.",
        "`in` on role ARNs, the account in a `regex` on other ARNs, `deny_if` with `exists` on arguments that choose credentials",
        "rights that the server uses without being asked by an argument",
        "Cross-service confused deputy prevention (Amazon Personalize, developer guide)",
        "https://docs.aws.amazon.com/personalize/latest/dg/cross-service-confused-deputy-prevention.html",
        kinds=frozenset(("role", "ARN", "credentials", "AWS command")),
    ),
    Attack(
        "exfiltration",
        "Exfiltration through a destination",
        "A text that the agent has read tells it to export, send or upload what it can see to a place of the attacker's.",
        "`regex` on S3 URIs, `in` on buckets, `host_in` on addresses, a domain for recipients",
        "what leaves in the words of an answer, or through another server of the same agent",
        "GitHub MCP Exploited: Accessing private repositories via MCP (Invariant Labs)",
        "https://invariantlabs.ai/blog/mcp-github-vulnerability",
        kinds=frozenset(("S3 URI", "bucket", "recipient", "url")),
    ),
    Attack(
        "ssrf",
        "Server-side request forgery",
        "An address leads the server to itself, into its network, or to the cloud's metadata, where credentials lie.",
        "`require` with `host_in` and a `regex` on the scheme; addresses in strange notations are refused as unsure",
        "redirects, and names that lead to private addresses: only the server sees where it goes",
        "Server-Side Request Forgery Prevention Cheat Sheet (OWASP Cheat Sheet Series)",
        "https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html",
        kinds=frozenset(("url",)),
    ),
    Attack(
        "path-escape",
        "Files outside of what was meant",
        "A path with `..`, a symbolic link, or simply another absolute path reaches files that the server was not set up for.",
        "`require` with `under` and a `regex` for absolute paths: letters and links both have to stay inside",
        "a link that is changed between the judgement and the server's own look",
        "mcp-server-git: validate_repo_path opt-in bypass (modelcontextprotocol/servers, issue 4550)",
        "https://github.com/modelcontextprotocol/servers/issues/4550",
        kinds=frozenset(("path",)),
    ),
    Attack(
        "argument-smuggling",
        "Argument smuggling",
        "A value goes on where it should end: a second command behind `;`, an option that begins with a dash, a quote that closes a name.",
        "`regex` that lets one plain value pass, `deny_if` on dashes, quotes and brackets; keys spelled like a guarded one are refused",
        "what the one command that passes does",
        "Command Injection Vulnerability Fixed in v2.1.5 (cyanheads/git-mcp-server, issue 14)",
        "https://github.com/cyanheads/git-mcp-server/issues/14",
        kinds=frozenset(("shell", "AWS command", "word", "identifier")),
    ),
    Attack(
        "any-command",
        "Commands and code of any kind",
        "A tool that runs what it is given runs what an injected instruction gives it, with all rights of the server.",
        '`"action": "require_approval"` or `"deny"`, for commands together with a `regex` that lets one plain command pass',
        "what a person approves; run such a server in a sandbox",
        "Command Injection in runNmapScan due to exec() with unsanitized additionalFlags (PhialsBasement/nmap-mcp-server, issue 7)",
        "https://github.com/PhialsBasement/nmap-mcp-server/issues/7",
        kinds=frozenset(("shell", "code", "AWS command", "store command")),
    ),
    Attack(
        "query-that-writes",
        "Queries that write after all",
        "What is checked by its first word still writes: a second statement, `WITH … DELETE`, a function that loads code.",
        "`require` one reading statement by `regex`, and `deny_if` on the words that write",
        "what the database makes of a query: give the server a user that can only read",
        'Security: read_query "read-only" guarantee can be bypassed to write to the database (sqlite-explorer-fastmcp-mcp-server, issue 12)',
        "https://github.com/hannesrudolph/sqlite-explorer-fastmcp-mcp-server/issues/12",
        kinds=frozenset(("SQL", "Cypher", "GraphQL", "identifier")),
    ),
    Attack(
        "tool-poisoning",
        "Tool poisoning",
        "The description of a tool, which the model reads and the user does not, tells the agent to do something else as well.",
        '`"default": "deny"`, so that only tools somebody has looked at are listed; invisible characters are taken out of what the model reads',
        "instructions in plain words in the description of a tool that you allow",
        "MCP Tool Poisoning Experiments (invariantlabs-ai/mcp-injection-experiments)",
        "https://github.com/invariantlabs-ai/mcp-injection-experiments",
    ),
    Attack(
        "rug-pull",
        "Rug pull",
        "A tool is harmless when it is looked at, and another one when it is used: its server changes the definition later.",
        '`"drift": "refuse"`, which holds unless a policy says otherwise: a tool that changes during a session is refused',
        "a server that is different from its next start on; `mcpguard check` against a saved list shows new names and arguments",
        "MCP Security Notification: Tool Poisoning Attacks (Invariant Labs)",
        "https://invariantlabs.ai/blog/mcp-security-notification-tool-poisoning-attacks",
    ),
)


def rules_against(attack: Attack, drafted: DraftedTool) -> list[str]:
    """List the parts of a drafted entry that stop an attack, as JSON Pointers from the entry: `/require/0`, `/rate_limit`."""
    place = pointer("tools", drafted.key)
    found = []
    if "action" in drafted.entry and drafted.risk.category in attack.categories:
        found.append("/action")
    found += [rule.removeprefix(place) for rule, guard in drafted.guards if guard.sensitive.kind in attack.kinds]
    if "action" in drafted.entry and not found and not attack.is_about_all and drafted.treatment == "deny":
        found.append("/action")
    if attack.key == "runaway-loop" and "rate_limit" in drafted.entry:
        found.append("/rate_limit")
    return list(dict.fromkeys(found))


def attacks_on(category: Category, sensitive: Sequence[Sensitive]) -> tuple[Attack, ...]:
    """List what is documented against tools of a category with such arguments, what is special to them first."""
    kinds = {each.kind for each in sensitive}
    special = [each for each in ATTACKS if category in each.categories or not kinds.isdisjoint(each.kinds)]
    return (*special, *(each for each in ATTACKS if each.is_about_all))


def attacks_table() -> str:
    """Write the table as Markdown, for the page."""
    lines = ["| what | how it goes | what stops it | what is left | documented in |", "|---|---|---|---|---|"]
    for each in ATTACKS:
        about = ", ".join(f"`{name}`" for name in (*sorted(each.categories), *sorted(each.kinds))) or "every tool"
        source = f"[{each.title}]({each.link})"
        cells = (f"**{each.name}** ({about})", each.what, each.stopped_by, each.left, source)
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
