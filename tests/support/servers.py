"""Finds the installed servers, and runs the back ends that they need.

Knows of their installation only what `scripts/install-servers` leaves behind: `NAME/`, `NAME.stamp`, `NAME.missing`.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

import pytest

from support.processes import kill_tree
from support.resp import RedisError, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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
