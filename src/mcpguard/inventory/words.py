"""Says what the words of a tool's name and description do: read, write, execute, destroy, or move money.

A word list, and how a name falls into words.  Judges no tool: what the words of one amount to is decided in `risk`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from mcpguard.policy.decision import Category

RANK: Final[dict[Category, int]] = {"read": 0, "write": 1, "execute": 2, "financial": 3, "destructive": 4}
"""The categories from the mildest to the worst."""

MOST_CHARACTERS: Final = 256
"""What is looked at of a name; no honest one is longer."""

# Verbs wherever they stand in a name.
_VERBS: Final[dict[Category, str]] = {
    "read": """get list lists search describe read find show fetch retrieve inspect explain analyze analyse summarize summarise compare diff
        validate verify lint calculate browse explore discover detect lookup peek grep glob recommend echo paginate ping
        suggest geocode aggregate classify extract identify locate traverse enumerate poll mget hget lrange zrange smembers
        hgetall has whoami scan readonly""",
    "write": """create createorupdate undelete unresolve reindex add update set send edit put undo insert upsert append modify rename copy save store upload write assign attach associate
        untag subscribe unsubscribe follow unfollow join publish submit approve accept reopen
        restore unarchive activate configure enable clone fork register toggle reply mutate
        acknowledge unacknowledge unstar unpin unlock unmark rotate revert promote demote dismiss ban unban
        block unblock protect adjust replace reorder arrappend arrinsert hset lpush rpush sadd zadd xadd
        mset setex migrate reassign prepend populate adopt annotate provision onboard initialize amend
        reschedule unschedule snooze patch define customize
        grant alter post connect disconnect exclude include make mark initiate""",
    "execute": """execute exec run invoke launch trigger rerun retry restart reboot start stop dispatch eval spawn
        shell bash terminal click navigate hover drag press rollback install redeploy failover resume suspend
        simulate bootstrap""",
    "destructive": """delete remove destroy drop purge wipe erase truncate kill terminate revoke uninstall clear prune trim pop
        expunge evict flush unregister deregister discard overwrite del rm rmdir shred nuke decommission abort hdel srem zrem lrem xdel
        lpop rpop spop zpopmin zpopmax flushall flushdb arrpop arrtrim destroyed undeploy delist obliterate annihilate
        force expire deprovision reset cancel disable deactivate detach unlink unassign disassociate unprotect unpublish
        recreate rebase""",
    "financial": """pay refund purchase buy sell withdraw payout reimburse remit""",
}

# Verbs at the beginning or the end of a name, nouns in its middle: `check_quota` and `status_check_create`.
_PERHAPS: Final[dict[Category, str]] = {
    "read": """query check count preview view review test load open download export convert format parse render display track
        monitor wait watch audit measure translate encode decode hash filter sort rank ask answer think compute estimate tail head
        stat ls cat status details detail info information summary history stats statistics logs log docs documentation
        guide help metadata schema version versions health usage overview profile trace plan forecast predict
        lookup metrics results instructions examples reference report evaluate diagnose infer sample blame thinking sequentialthinking recognize return screenshot
        obtain determine decompile disassemble grab examine assess""",
    "write": """post checkout comment commit merge invite apply label tag link star pin share lock change move import record archive sync push pull
        close complete order schedule pause request release transfer manage control import process draft upgrade batch
        login logout authenticate schedule notify note react vote rate mute fill
        switch use capture ingest index train tune generate build compose confirm reject resend claim
        enroll scale resize allocate design resolve select transition forward produce reserve transform finish fix repair tap swipe
        place""",
    "execute": """deploy call play build""",
    "destructive": """cleanup clean empty wipeout flush shutdown burn kick teardown""",
    "financial": """charge bill trade tip donate settle deposit""",
}

# What a verb does to an object, where that differs from what it does otherwise.
_OBJECTS: Final[tuple[tuple[str, str, Category], ...]] = (
    ("format", "disk drive volume partition filesystem device storage", "destructive"),
    ("format", "date dates time datetime timestamp number currency duration", "read"),
    ("clear", "filter filters selection notification notifications highlight highlights cache", "write"),
    ("reset", "password filter filters view", "write"),
    ("stop", "tracing trace recording logging profiling profiler watching monitoring", "write"),
    ("start", "tracing trace recording profiling watching timer", "write"),
    ("force", "push", "destructive"),
    ("cancel", "subscription subscriptions invoice invoices payment payments payout", "financial"),
    ("send", "payment payments money funds invoice invoices", "financial"),
    ("transfer", "money funds balance payment payments", "financial"),
    ("capture", "payment payments", "financial"),
    ("place", "order orders trade bid", "financial"),
    ("checkout", "cart basket session order", "financial"),
    ("make", "payment payments purchase", "financial"),
    ("test", "connection", "read"),
    (
        "resolve",
        "library id ids name names host hostname domain dns address url uri path reference ref alias handle",
        "read",
    ),
    ("track", "event events", "write"),
    ("generate", "diagram command snippet changelog notes yaml", "read"),
    ("generate", "key keys token tokens password secret certificate credential credentials", "write"),
    ("log", "interaction event entry message activity time", "write"),
    ("evaluate", "script javascript js code", "execute"),
    ("capture", "screenshot screenshots", "read"),
    ("load", "into", "write"),
    ("list", "sale", "write"),
    ("open", "url browser app application page tab window website link", "write"),
    ("show", "notification notifications toast popup dialog", "write"),
    ("display", "notification notifications toast popup dialog", "write"),
    ("report", "problem issue bug abuse spam incident", "write"),
    ("return", "item items product order purchase shipment parcel goods book", "write"),
    ("extract", "zip archive tarball", "write"),
    ("translate", "document documents file files page", "write"),
)

_MONEY: Final = frozenset(
    "payment payments refund refunds payout payouts invoice invoices charge charges money funds purchase purchases".split()
)
"""What a verb that changes something makes financial."""

_PHRASES: Final = frozenset([("check", "in"), ("check", "out"), ("check", "off"), ("log", "in"), ("log", "out")])
"""Words that are another verb together: `check_in_guest`, and not `check_logged_in`."""

_CHARACTERS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_GLUED: Final = 7

GENERAL: Final = frozenset(
    "edit write modify manage configure control mutate process batch apply change handle".split()
)
"""Verbs that leave open what is done: a description may say worse."""

QUERIES: Final = frozenset("query queries search searches select promql logql traceql jql soql sosl nrql".split())
"""Objects of `run` and `execute` with which they may well only read."""

_JOINING: Final = frozenset(["and", "or", "then"])

DOUBTFUL: Final = frozenset(
    """download export load open monitor track trace log test ask answer think plan generate evaluate infer audit report render
        format convert review diagnose wait sample compute measure filter sort rank scan watch stream return""".split()
)
"""Verbs that may do more than read: what they make or start is not said."""

LOOKING_AT_TEXT: Final = frozenset("lint validate verify format parse".split())
"""Verbs by which a text in a language is looked at, and not run."""
HANDING_OVER: Final = frozenset(["download", "export"])
"""Verbs that only read if what they make is in the answer."""

AT_THE_BEGINNING: Final = frozenset("view check preview resolve convert parse render display validate query".split())
NOUNS_AT_THE_END: Final = frozenset(
    "set copy fork patch trigger start stop scan read has make list search lookup diff block post clone reply upload register grant run launch shell terminal".split()
)
_NOUNS_AFTER_A_VERB: Final = frozenset(["block", "post", "reply"])
_OFTEN_NOUNS: Final = frozenset("list lists search scan read lookup diff echo ping".split())
"""Verbs that are as often nouns, unless a name begins with them: `shopping_list_complete`."""
_ONLY_WITH_OBJECTS: Final = frozenset(["place"])
"""Words that are verbs only before certain objects: `place_order`, and not `place_details`."""


def _by_word(lists: dict[Category, str]) -> dict[str, Category]:
    return {word: category for category, words in lists.items() for word in words.split()}


PERHAPS: Final = _by_word(_PERHAPS)
VERBS: Final = {
    **{
        before + verb: category
        for verb, category in _by_word(_VERBS).items()
        if category in {"write", "execute"}
        for before in ("re", "un")
        if before + verb not in PERHAPS
    },
    **_by_word(_VERBS),
}
OBJECTS: Final = {(verb, noun): category for verb, nouns, category in _OBJECTS for noun in nouns.split()}


# Named tuples, here and next door: they are made in a fraction of the time that frozen dataclasses take.
class NameReading(NamedTuple):
    """What a name says: the verb that decides, and whether it is one wherever it stands.  No verb: no category.

    `is_sure` says that the verb is one wherever it stands, `is_at_an_end` that it is the first word or the last; `others` are the
    verbs of other categories.
    """

    words: tuple[str, ...]
    category: Category | None = None
    verb: str = ""
    noun: str = ""
    is_sure: bool = False
    is_at_an_end: bool = False
    others: tuple[str, ...] = ()


def words_of(text: str) -> tuple[str, ...]:
    """Cut a name into lower-case words, whatever the style: `get_jobs`, `get-jobs`, `getJobs`, `get.jobs`, `GET_JOBS`."""
    return _words_of(text[:MOST_CHARACTERS])


@lru_cache(maxsize=4096)
def _words_of(text: str) -> tuple[str, ...]:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return tuple([word.lower() for word in _CHARACTERS.findall(text)])


def read_name(name: str) -> NameReading:
    """Find the verb of a name."""
    words = words_of(name)
    if len(words) == 1 and len(words[0]) >= _GLUED and words[0] not in VERBS and words[0] not in PERHAPS:
        words = _unglued(words[0])
    at = _verb_at(words)
    if at is None:
        return NameReading(words)
    verb, following = words[at], words[at + 1 :]
    if at + 1 == len(words):
        following = words[:at]
    category, noun = kind_of(verb, following)
    is_sure = verb in VERBS or (at == 0 and verb in AT_THE_BEGINNING and category == "read")
    is_end = at in {0, len(words) - 1}
    joined = any(word in _JOINING for word in words)
    others = tuple(
        word
        for index, word in enumerate(words)
        if index != at
        and (other := VERBS.get(word) or (PERHAPS.get(word) if joined and words[index - 1] in _JOINING else None))
        and other != category
        and not (category == "read" and (word in _MONEY or (word in _NOUNS_AFTER_A_VERB and index == len(words) - 1)))
    )
    if category == "read" and words[at + 1 : at + 2] in {("and",), ("then",)} and len(words) > at + 2:
        done = words[at + 2]
        others = others if done in VERBS or PERHAPS.get(done) == "read" else (done, *others)
    if verb in _OFTEN_NOUNS and 0 < at < len(words) - 1:
        doing = (word for word in (words[0], words[-1]) if word != "batch" and PERHAPS.get(word, "read") != "read")
        others = (*doing, *others)
    if joined:
        for index, word in enumerate(words):
            said = VERBS.get(word) or (PERHAPS.get(word) if index and words[index - 1] in _JOINING else None)
            if said is not None and RANK[said] > RANK[category]:
                verb, category, at, is_sure = word, said, index, True
    return NameReading(words, category, verb, noun, is_sure or (category != "read" and bool(noun)), is_end, others)


def kind_of(verb: str, following: Sequence[str]) -> tuple[Category, str]:
    """Say what a verb does to what follows it, and which word of that changed its meaning, if any."""
    category = VERBS.get(verb) or PERHAPS[verb]
    if following and (verb, following[0]) in _PHRASES and "progress" not in following:
        return "write", following[0]
    for index, word in enumerate(following):
        other = OBJECTS.get((verb, word))
        is_object = index in {0, len(following) - 1}
        if other is not None and (is_object or other == "financial" or RANK[other] > RANK[category]):
            return other, word
    if category in {"write", "execute"}:
        for word in following:
            if word in _MONEY:
                return "financial", word
    return category, ""


def _verb_at(words: tuple[str, ...]) -> int | None:
    """Find the verb: the first word, the last (`server_delete`), else the first that is surely one."""
    if not words:
        return None
    last = len(words) - 1
    if words[0] in VERBS or (last and words[0] in AT_THE_BEGINNING and words[last] not in VERBS):
        return 0
    if words[last] in VERBS and words[last] not in NOUNS_AT_THE_END:
        return last
    for index, word in enumerate(words):
        if word in VERBS and word not in NOUNS_AT_THE_END:
            return index
    for index, word in enumerate(words[:last]):
        if word in _OFTEN_NOUNS and word in VERBS:
            return index
    if words[last] in VERBS:
        return last
    for index, word in enumerate(words):
        if word in VERBS:
            return index
    for index in (0, last, 1):
        if index <= last and _may_be_verb(words, index):
            return index
    return next((index for index in range(last + 1) if _may_be_verb(words, index)), None)


def _may_be_verb(words: tuple[str, ...], index: int) -> bool:
    word = words[index]
    if word in _ONLY_WITH_OBJECTS:
        return any((word, each) in OBJECTS for each in words[index + 1 :])
    return word in PERHAPS


def _unglued(word: str) -> tuple[str, ...]:
    for length in range(len(word) - 2, 2, -1):
        if word[:length] in VERBS and word[length:] not in {"s", "ed", "ing", "er", "or", "ion"}:
            return word[:length], word[length:]
    return (word,)
