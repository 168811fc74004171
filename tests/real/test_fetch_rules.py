"""Checks rules about hosts before mcp-server-fetch: one host may be fetched from, by whatever name a URL hides another.

Both hosts are this machine: `localhost` is on the list, its address is not.  The web server's journal holds the host that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from support import StdioPeer, guard_argv, write_policy
from support.answers import code_of, text_of
from support.sdk_client import sdk_client
from support.servers import PAGES, Site, fetch_command, running_site

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.sdk_client import Mode
    from support.servers import ServerCommand

RULE = {"path": "args.url", "op": "host_in", "value": ["localhost", "*.example.com"]}
POLICY: Mapping[str, object] = {
    "default": "deny",
    "tools": {
        "fetch": {
            "require": [{"conditions": [RULE], "on_deny": "only localhost may be fetched from"}],
            "arguments": {"properties": {"max_length": {"maximum": 1000}}, "required": ["url"]},
        }
    },
}
SECRET_PAGE = PAGES["/secret"][1]


@dataclass(frozen=True, slots=True)
class Detour:
    """A URL of another host; `{}` stands for the port.  `fetched`: the server alone fetches it, on every machine."""

    claim: str
    url: object
    fetched: bool = True


DETOURS = (
    Detour("its address", "http://127.0.0.1:{}/secret"),
    Detour("a scheme in capitals", "HTTP://127.0.0.1:{}/secret"),
    Detour("a short address", "http://127.1:{}/secret"),
    Detour("an address as a number", "http://2130706433:{}/secret"),
    Detour("an address in hexadecimal", "http://0x7f.0.0.1:{}/secret"),
    Detour("an address in octal", "http://0177.0.0.1:{}/secret"),
    Detour("an address with a dot behind", "http://127.0.0.1.:{}/secret"),
    Detour("an address in IPv6", "http://[::ffff:127.0.0.1]:{}/secret", fetched=False),
    Detour("an address in IPv6, in hexadecimal", "http://[::ffff:7f00:1]:{}/secret", fetched=False),
    Detour("nobody's address", "http://0.0.0.0:{}/secret"),
    Detour("the good host as a user", "http://localhost@127.0.0.1:{}/secret"),
    Detour("the good host and port as a user", "http://localhost:{}@127.0.0.1:{}/secret"),
    Detour("the good host behind a hash", "http://127.0.0.1:{}/secret#@localhost/"),
    Detour("the good host behind a backslash", "http://127.0.0.1:{}\\@localhost/secret", fetched=False),
    Detour("slashes that lean the other way", "http:\\\\127.0.0.1:{}\\secret"),
    Detour("one slash", "http:/127.0.0.1:{}/secret"),
    Detour("no slash", "http:127.0.0.1:{}/secret"),
    Detour("three slashes", "http:///127.0.0.1:{}/secret"),
    Detour("white space before", " http://127.0.0.1:{}/secret"),
    Detour("a tab in the host", "http://127.0.\t0.1:{}/secret"),
    Detour("a line end in the scheme", "ht\ntp://127.0.0.1:{}/secret"),
    Detour("an escaped address", "http://127%2e0%2e0%2e1:{}/secret"),
    Detour("fullwidth digits", "http://\uff11\uff12\uff17.0.0.1:{}/secret"),
    Detour("ideographic dots", "http://127\u30020\u30020\u30021:{}/secret"),
    Detour(
        "the good host in fullwidth letters", "http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54:{}/secret"
    ),
    Detour("the good host with a dot behind", "http://localhost.:{}/secret", fetched=False),
    Detour("a host whose name ends alike", "http://notlocalhost:{}/secret", fetched=False),
    Detour("a file", "file:///etc/hostname", fetched=False),
    Detour("no scheme", "127.0.0.1:{}/secret", fetched=False),
    Detour("a list", ["http://127.0.0.1:{}/secret"], fetched=False),
    Detour("nothing", None, fetched=False),
)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site


@pytest.fixture(scope="module")
def server(git_and_fetch: Path) -> ServerCommand:
    return fetch_command(git_and_fetch)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policy(tmp_path_factory.mktemp("fetch"), POLICY)


@pytest.fixture(scope="module")
def guarded(server: ServerCommand, policy: Path) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server."""
    argv = guard_argv(policy, *server.argv, options=["--no-log"])
    with StdioPeer(argv, env=server.env) as peer:
        peer.initialize()
        yield peer


@pytest.fixture(scope="module")
def alone(server: ServerCommand) -> Iterator[StdioPeer]:
    """Yield a peer of the server without a guard."""
    with StdioPeer(server.argv, env=server.env) as peer:
        peer.initialize()
        yield peer


@pytest.mark.parametrize("detour", [each for each in DETOURS if each.fetched], ids=attrgetter("claim"))
def test_the_server_alone_fetches_from_the_other_host(alone: StdioPeer, site: Site, detour: Detour) -> None:
    assert SECRET_PAGE in text_of(alone.call("fetch", {"url": filled(detour.url, site), "raw": True}))
    assert site.journal[-1].endswith("/secret")


@pytest.mark.parametrize("detour", DETOURS, ids=attrgetter("claim"))
def test_no_url_leads_to_another_host(guarded: StdioPeer, site: Site, detour: Detour) -> None:
    before = list(site.journal)
    answer = guarded.call("fetch", {"url": filled(detour.url, site)})
    assert site.journal == before
    assert code_of(answer) == "require"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param({"url": "{good}", "URL": "{other}"}, "require", id="a second key"),
        pytest.param({"url": "{good}", "max_length": 1001}, "arguments", id="too much"),
        pytest.param({"url": "{good}", "max_length": "7"}, "arguments", id="a number as text"),
        pytest.param({"url": "{good}", "maxLength": 100000}, "arguments", id="too much under a second key"),
        pytest.param({"Url": "{good}"}, "require", id="a key in another case"),
    ],
)
def test_an_argument_that_others_may_read_otherwise_is_refused(
    guarded: StdioPeer, site: Site, arguments: dict[str, object], code: str
) -> None:
    before = list(site.journal)
    urls = {"{good}": f"http://localhost:{site.port}/plain", "{other}": f"http://127.0.0.1:{site.port}/secret"}
    answer = guarded.call("fetch", {name: urls.get(str(value), value) for name, value in arguments.items()})
    assert site.journal == before
    assert code_of(answer) == code


@pytest.mark.parametrize(
    ("path", "found"),
    [
        pytest.param("/plain", "plain words", id="text"),
        pytest.param("/page", "words", id="a page"),
        pytest.param("/plain?to=http://127.0.0.1/#@127.0.0.1", "", id="another host in the query"),
    ],
)
def test_the_good_host_is_fetched_from(guarded: StdioPeer, site: Site, path: str, found: str) -> None:
    before = len(site.journal)
    answer = guarded.call("fetch", {"url": f"http://LOCALHOST:{site.port}{path}"})
    assert found in answer["result"]["content"][0]["text"]
    assert {request.partition("/")[0] for request in site.journal[before:]} == {"localhost"}


def test_where_a_page_redirects_to_is_the_server_s_own_business(guarded: StdioPeer, site: Site) -> None:
    """The guard judges what is asked for, and sees no request of the server: who may be redirected is for the server to say."""
    before = len(site.journal)
    target = quote(f"http://127.0.0.1:{site.port}/secret", safe="")
    answer = guarded.call("fetch", {"url": f"http://localhost:{site.port}/to/{target}"})
    assert SECRET_PAGE in text_of(answer)
    assert site.journal[before:][-1] == "127.0.0.1/secret"


def test_a_prompt_is_no_way_around_a_rule_for_a_tool(guarded: StdioPeer, alone: StdioPeer, site: Site) -> None:
    params = {"name": "fetch", "arguments": {"url": f"http://127.0.0.1:{site.port}/secret"}}
    assert SECRET_PAGE in str(alone.request("prompts/get", params)["result"])
    before = list(site.journal)
    assert guarded.request("prompts/list")["result"]["prompts"] == []
    assert guarded.request("prompts/get", params)["error"]["message"].startswith("mcpguard: ")
    assert site.journal == before


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_sdk_client_is_held_to_the_same(
    server: ServerCommand, policy: Path, site: Site, tmp_path: Path, mode: Mode
) -> None:
    argv = guard_argv(policy, *server.argv, options=["--no-log"])
    before = len(site.journal)
    async with sdk_client(argv, mode=mode, stderr=tmp_path / "stderr.txt", env=server.env) as client:
        good = await client.call_tool("fetch", {"url": f"http://localhost:{site.port}/plain"})
        assert not good.is_error
        assert (await client.call_tool("fetch", {"url": f"http://127.0.0.1:{site.port}/plain"})).is_error
    assert site.journal[before:] == ["localhost/robots.txt", "localhost/plain"]


def filled(url: object, site: Site) -> object:
    """Return a URL with the port in the place of `{}`."""
    match url:
        case str():
            return url.replace("{}", str(site.port))
        case list():
            return [filled(each, site) for each in url]
        case _:
            return url
