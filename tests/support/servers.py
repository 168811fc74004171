"""Finds the installed servers, says how they are started, and runs the back ends that they need.

Knows of their installation only what `scripts/install-servers` leaves behind: `NAME/`, `NAME.stamp`, `NAME.missing`.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, unquote

import pytest

from support.processes import kill_tree
from support.resp import RedisError, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from support.outside import Outside

BOOT_S = 60.0
_ATTEMPTS = 3
_POLL_S = 0.05

DUMMY_AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
"""What an AWS client needs to sign requests to a fake; nobody's account, on any machine."""

GIT_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"), ("DATE", "2026-01-01T12:00:00+0000"))
} | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""Whose commits they are, and when they are made; with it, what is done alike has the same hash on every machine."""

PAGES = {
    "/robots.txt": ("text/plain", "User-agent: *\nDisallow: /private\n"),
    "/page": ("text/html", "<html><body><h1>Title</h1><p>words <b>and</b> words</p></body></html>"),
    "/plain": ("text/plain", "plain words"),
    "/long": ("text/plain", "0123456789" * 1000),
    "/private": ("text/plain", "not for robots"),
    "/secret": ("text/plain", "not for agents"),
}
"""What a `Site` serves; `/to/` and a quoted URL lead there."""


@dataclass(frozen=True, slots=True)
class Service:
    """A back end that answers on a port of this machine."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it answers, if it speaks HTTP."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How a server is started: its command line and its whole environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


@dataclass
class Site:
    """A web server on this machine.  `journal` holds host and path of every request, as they came, in their order."""

    port: int
    journal: list[str] = field(default_factory=list)


def cache_directory() -> Path:
    """Return the directory that `scripts/install-servers` fills."""
    default = Path(__file__).resolve().parents[2] / ".cache" / "servers"
    return Path(os.environ.get("MCPGUARD_SERVERS") or default).resolve()


def require_server(name: str) -> Path:
    """Return the directory of the installed server `name`, or skip the test with the reason why there is none.

    With `CI=true` the test fails instead: a skipped test proves nothing.
    """
    cache = cache_directory()
    if (cache / f"{name}.stamp").is_file():
        return cache / name
    missing = cache / f"{name}.missing"
    reason = (
        missing.read_text().strip() if missing.is_file() else f"not installed; run `scripts/install-servers {name}`"
    )
    return not_here(f"{name}: {reason}")


def require_program(name: str) -> str:
    """Return the path of the program `name`, or skip (with `CI=true`: fail) because it is not on PATH."""
    found = shutil.which(name)
    return found if found is not None else not_here(f"`{name}` is not on PATH; run `scripts/install-servers`")


def not_here(reason: str) -> NoReturn:
    """End a test that has nothing to talk to."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def aws_environment(endpoint: str) -> dict[str, str]:
    """Return this process's environment for an AWS client of `endpoint`, without anything of a real account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | DUMMY_AWS | {"AWS_ENDPOINT_URL": endpoint}


def prometheus_mcp_command(home: Path, prometheus: Service, moto: Service) -> ServerCommand:
    """Return how awslabs.prometheus-mcp-server is started against `prometheus`; it asks `moto` who it is."""
    program = home / "bin" / "awslabs.prometheus-mcp-server"
    argv = (str(program), "--url", prometheus.url, "--region", DUMMY_AWS["AWS_REGION"])
    return ServerCommand(argv, aws_environment(moto.url))


def valkey_mcp_command(home: Path, redis: Service) -> ServerCommand:
    """Return how awslabs.valkey-mcp-server is started against `redis`, its tools for administrators switched on.

    What such a tool is kept from doing is then the guard's work alone.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VALKEY_"))} | {
        "VALKEY_HOST": "127.0.0.1",
        "VALKEY_PORT": str(redis.port),
        "VALKEY_ADMIN_ENABLED": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MCP_LOG_FILE": str(redis.log.with_name("valkey-mcp-server.log")),
    }
    return ServerCommand((str(home / "bin" / "awslabs.valkey-mcp-server"),), env)


def sitewise_command(home: Path, endpoint: str) -> ServerCommand:
    """Return how awslabs.aws-iot-sitewise-mcp-server is started against `endpoint`, its tools that write switched on."""
    env = aws_environment(endpoint) | {"SITEWISE_MCP_ALLOW_WRITES": "true"}
    return ServerCommand((str(home / "bin" / "awslabs.aws-iot-sitewise-mcp-server"),), env)


def healthimaging_command(home: Path, endpoint: str, models: Path) -> ServerCommand:
    """Return how awslabs.healthimaging-mcp-server is started against `endpoint`.

    `models` is a directory with what its AWS client library should know in addition.
    """
    env = aws_environment(endpoint) | {"AWS_DATA_PATH": str(models)}
    return ServerCommand((str(home / "bin" / "awslabs.healthimaging-mcp-server"),), env)


def aws_api_command(home: Path, endpoint: str, outside: Outside, directory: Path) -> ServerCommand:
    """Return how awslabs.aws-api-mcp-server is started against `endpoint`, free to change whatever it is told to.

    What it keeps, and the files that commands may name, are in `directory`.
    """
    env = outside.env(aws_environment(endpoint))
    env |= {"HOME": str(directory), "AWS_API_MCP_WORKING_DIR": str(directory), "AWS_API_MCP_TELEMETRY": "false"}
    return ServerCommand((str(home / "bin" / "awslabs.aws-api-mcp-server"),), env)


def git_command(home: Path) -> ServerCommand:
    """Return how mcp-server-git is started: for any repository, so that which ones it may touch is the guard's work alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return ServerCommand((str(home / "bin" / "mcp-server-git"),), kept | GIT_IDENTITY)


def fetch_command(home: Path) -> ServerCommand:
    """Return how mcp-server-fetch is started: for any address, also of this machine.

    It finds no Node.js.  With one, it would fetch packages from the internet to read its first page.
    """
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env = kept | {"PATH": str(home / "bin"), "NO_PROXY": "*"}
    return ServerCommand((str(home / "bin" / "mcp-server-fetch"), "--allow-private-ips"), env)


def filesystem_command(home: Path, *directories: Path) -> ServerCommand:
    """Return how npm's server-filesystem is started for `directories`."""
    return ServerCommand((*_node_script(home, "server-filesystem"), *map(str, directories)), dict(os.environ))


def memory_command(home: Path, file: Path) -> ServerCommand:
    """Return how npm's server-memory is started; it keeps its graph in `file`."""
    return ServerCommand(_node_script(home, "server-memory"), os.environ | {"MEMORY_FILE_PATH": str(file)})


def _node_script(home: Path, package: str) -> tuple[str, str]:
    script = home / "node_modules" / "@modelcontextprotocol" / package / "dist" / "index.js"
    return require_program("node"), str(script)


def git(repository: Path, *words: str) -> str:
    """Run git as nobody in particular, and return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(repository), *words]
    return subprocess.run(command, env=kept | GIT_IDENTITY, check=True, capture_output=True, text=True).stdout


def new_repository(directory: Path) -> Path:
    """Make a repository with two commits, a branch, and in the working tree a change that is staged and one that is not."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    for number in (1, 2):
        (directory / "notes.txt").write_text(f"note {number}\n")
        git(directory, "add", "notes.txt")
        git(directory, "commit", "--quiet", "--message", f"note {number}")
    git(directory, "branch", "side", "HEAD~1")
    (directory / "staged.txt").write_text("staged\n")
    git(directory, "add", "staged.txt")
    (directory / "notes.txt").write_text("note 3\n")
    return directory


@contextmanager
def running_site() -> Iterator[Site]:
    """Serve `PAGES` on the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers.get("host", "").rpartition(":")[0]
            site.journal.append(f"{host}{self.path}")
            if self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("location", unquote(self.path.removeprefix("/to/")))
                self.end_headers()
                return
            kind, text = PAGES.get(self.path, ("text/plain", ""))
            self.send_response(200 if self.path in PAGES else 404)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Site(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running_prometheus(home: Path, directory: Path) -> Iterator[Service]:
    """Run a Prometheus that scrapes itself every second, until it has a first sample of itself."""

    def command(port: int) -> list[str]:
        target = {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        config = directory / "prometheus.yml"
        # JSON is YAML.
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [target]}))
        storage = directory / f"tsdb-{port}"
        program = home / "usr" / "bin" / "prometheus"
        flags = (f"--config.file={config}", f"--storage.tsdb.path={storage}", f"--web.listen-address=127.0.0.1:{port}")
        return [str(program), *flags]

    def has_scraped_itself(port: int) -> bool:
        answer = json.loads(http_get(port, f"/api/v1/query?query={quote('up == 1')}"))
        return bool(answer["data"]["result"])

    with _running("prometheus", command, has_scraped_itself, directory, dict(os.environ)) as service:
        yield service


@contextmanager
def running_moto(home: Path, directory: Path) -> Iterator[Service]:
    """Run a moto server, which answers as the AWS services would."""

    def command(port: int) -> list[str]:
        return [str(home / "bin" / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]

    def answers(port: int) -> bool:
        return bool(http_get(port, "/moto-api/data.json"))

    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | DUMMY_AWS
    with _running("moto", command, answers, directory, env) as service:
        yield service


@contextmanager
def running_redis(home: Path, directory: Path) -> Iterator[Service]:
    """Run an empty Redis on the loopback interface, which forgets everything when it ends."""
    data = directory / "data"
    data.mkdir()
    flags = {"--bind": "127.0.0.1", "--save": "", "--appendonly": "no", "--daemonize": "no", "--dir": str(data)}

    def command(port: int) -> list[str]:
        program = home / "usr" / "bin" / "redis-server"
        return [str(program), "--port", str(port), *(word for flag in flags.items() for word in flag)]

    def is_this_one(port: int) -> bool:
        with suppress(RedisError):
            return ask(port, "CONFIG", "GET", "dir") == ["dir", str(data)]
        return False

    libraries = ":".join(sorted({str(path.parent) for path in home.glob("**/lib/*-linux-*/*.so*")}))
    with _running("redis", command, is_this_one, directory, os.environ | {"LD_LIBRARY_PATH": libraries}) as service:
        yield service


def http_get(port: int, path: str) -> bytes:
    """Fetch `path` from this machine, past any proxy; raise OSError or HTTPException unless the answer is 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOOT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != http.client.OK:
        problem = f"{path} answered {response.status}"
        raise http.client.HTTPException(problem)
    return body


@contextmanager
def _running(
    name: str,
    command: Callable[[int], Sequence[str]],
    is_ready: Callable[[int], bool],
    directory: Path,
    env: Mapping[str, str],
) -> Iterator[Service]:
    """Run `command` on a free port and wait until `is_ready`.

    The port may be taken between choosing it and using it; then the process ends at once, and another is tried.
    """
    log = directory / f"{name}.log"
    for _ in range(_ATTEMPTS):
        service = Service(_free_port(), log)
        with log.open("ab") as output:
            process = subprocess.Popen(
                command(service.port),
                env=env,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            if _became_ready(process, is_ready, service):
                yield service
                return
        finally:
            kill_tree(process.pid)
            process.wait(BOOT_S)
    pytest.fail(f"{name} did not start: {_tail(log)}", pytrace=False)


def _became_ready(process: subprocess.Popen[bytes], is_ready: Callable[[int], bool], service: Service) -> bool:
    """Poll until the service is ready; the pause between two polls is a wait for the process to end."""
    end = time.monotonic() + BOOT_S
    while time.monotonic() < end:
        with suppress(OSError, http.client.HTTPException):
            if is_ready(service.port):
                return True
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
            return False
    pytest.fail(f"not ready after {BOOT_S} s: {_tail(service.log)}", pytrace=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
