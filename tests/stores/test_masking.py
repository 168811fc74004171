"""What of a command line is hidden before it is written down."""

from __future__ import annotations

import pytest

from mcpguard.stores.masking import MASK, mask_command

SECRET = "s3cr3t/Value+1=="  # noqa: S105 - it is made up

HIDDEN = {
    "an option": ["--api-key", SECRET],
    "an option with an equals sign": [f"--token={SECRET}"],
    "an option in camel case": ["--accessToken", SECRET],
    "an option of one word": ["--pass", SECRET],
    "an option with one dash": ["-password", SECRET],
    "a value that begins with a dash": ["--token", "-" + SECRET],
    "a variable": [f"OPENAI_API_KEY={SECRET}"],
    "a variable of one word": [f"PGPASSWORD={SECRET}"],
    "a variable with an underscore first": [f"_TOKEN={SECRET}"],
    "a variable for a container": ["docker", "run", "-e", f"GITHUB_TOKEN={SECRET}", "image"],
    "the same in one word": [f"-eAPI_KEY={SECRET}"],
    "the same with an option": [f"--env=API_KEY={SECRET}"],
    "a header": ["--header", f"Authorization: Bearer {SECRET}"],
    "a header in one word": [f"--header=Authorization: Bearer {SECRET}"],
    "a header of another name": ["-H", f"X-Api-Key: {SECRET}"],
    "a bare bearer": [f"Bearer {SECRET}"],
    "a variable for a shell": ["sh", "-c", f"TOKEN={SECRET} server"],
    "an exported variable": ["sh", "-c", f"export DB_PASSWORD={SECRET}; server"],
    "a quoted variable": ["sh", "-c", f"server --verbose PASSWORD='{SECRET} x' && true"],
    "an option for a shell": ["sh", "-c", f"server --auth-token {SECRET} --port 1"],
    "JSON": [f'{{"user": "u", "apiKey": "{SECRET}"}}'],
    "JSON within JSON": [f'{{"a": "{{\\"password\\":\\"{SECRET}\\"}}"}}'],
    "the user of a URL": [f"postgres://user:{SECRET.replace('/', '')}@host/db"],
    "a URL's query": [f"https://host/mcp?a=b&api_key={SECRET.replace('=', '')}&c=d"],
}


@pytest.mark.parametrize("words", HIDDEN.values(), ids=HIDDEN.keys())
def test_a_secret_with_a_telling_name_is_hidden(words: list[str]) -> None:
    masked = mask_command(words)
    assert len(masked) == len(words)
    assert MASK in " ".join(masked)
    assert "s3cr3t" not in " ".join(masked)


KEYS = [
    "sk-ant-api03-abcdefghijkl",
    "ghp_abcdefghijklmnop",
    "github_pat_11ABCDEFG",
    "glpat-abcdefghijkl",
    "xoxb-1234567890-abc",
    "AKIAABCDEFGHIJKLMNOP",
    "AIzaSyAbcdefghijklmnopqrstuvwx",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    "sk_live_abcdefghijkl",
    "npm_abcdefghijklmnopqrstuvwx",
    "hf_abcdefghijklmnopqrst",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_well_known_kind_of_key_is_hidden_wherever_it_stands(key: str) -> None:
    assert mask_command(["server", key, f"--x={key}"]) == ["server", MASK, f"--x={MASK}"]


PLAIN = [
    ["npx", "-y", "@modelcontextprotocol/server-filesystem", "/srv/data"],
    ["uvx", "--from", "git+https://github.com/o/r@v1.2", "server", "--port=8080"],
    ["sh", "-c", "cd /srv && exec ./server --stdio"],
    ["server", "--path", "/x", "--author", "me", "--keyboard=us", "--monkey", "x"],
    ["C:\\server.exe", "a:b", "x=y", "https://host:80/a?b=c#d", ""],
]


@pytest.mark.parametrize("words", PLAIN, ids=lambda words: words[0])
def test_everything_else_stays_as_it_is(words: list[str]) -> None:
    assert mask_command(words) == words


def test_a_telling_option_without_a_value_hides_no_other_option() -> None:
    assert mask_command(["--token", "--port", "80"]) == ["--token", "--port", "80"]


def test_a_very_long_word_takes_no_time_to_speak_of() -> None:
    long = "a" * 100_000
    assert mask_command([long, f"x {long} =", f"TOKEN={long}"]) == [long, f"x {long} =", f"TOKEN={MASK}"]
