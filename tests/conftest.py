"""Gives every test asyncio as its backend, and real servers to those that ask for one.

A test that asks for a real server, directly or through another fixture, is marked `real_server`.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from support import servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.servers import ServerCommand, Service

pytest_plugins = ["support.guards"]

REAL_SERVERS = {
    "aws_api",
    "everything_server",
    "files_and_memory",
    "git_and_fetch",
    "healthimaging",
    "mcp1_python",
    "moto_server",
    "prometheus",
    "prometheus_server",
    "redis",
    "sitewise",
    "valkey_server",
}


def pytest_configure() -> None:
    """Ignore no signal that a shell ignores for what it runs in the background: children would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a real server before `-m` chooses among them."""
    for item in items:
        if REAL_SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("real_server")


@pytest.fixture(scope="session", autouse=True)
def _private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the guard remembers between runs, its logs and its findings, out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STATE", "CACHE", "CONFIG", "DATA"):
            patch.setenv(f"XDG_{name}_HOME", str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio, the only backend that the guard's users have."""
    return "asyncio"


@pytest.fixture(scope="session")
def everything_server() -> tuple[str, ...]:
    """Return the command line of npm's server-everything over stdio."""
    home = servers.require_server("everything")
    script = home / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
    return (servers.require_program("node"), str(script), "stdio")


@pytest.fixture(scope="session")
def mcp1_python() -> Path:
    """Return a Python interpreter with the SDK's last 1.x release, which knows only the handshake era."""
    return servers.require_server("mcp1") / "bin" / "python"


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run Debian's Prometheus; it scrapes itself, so `up` is 1."""
    home = servers.require_server("prometheus")
    with servers.running_prometheus(home, tmp_path_factory.mktemp("prometheus")) as service:
        yield service


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run moto, which answers as AWS would."""
    with servers.running_moto(servers.require_server("moto"), tmp_path_factory.mktemp("moto")) as service:
        yield service


@pytest.fixture(scope="session")
def prometheus_server(prometheus: Service, moto_server: Service) -> ServerCommand:
    """Return how awslabs.prometheus-mcp-server is started here."""
    home = servers.require_server("awslabs-prometheus")
    return servers.prometheus_mcp_command(home, prometheus, moto_server)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run Debian's Redis, with nothing in it that lasts."""
    with servers.running_redis(servers.require_server("redis"), tmp_path_factory.mktemp("redis")) as service:
        yield service


@pytest.fixture(scope="session")
def valkey_server(redis: Service) -> ServerCommand:
    """Return how awslabs.valkey-mcp-server is started here."""
    return servers.valkey_mcp_command(servers.require_server("awslabs-valkey"), redis)


@pytest.fixture(scope="session")
def healthimaging() -> Path:
    """Return where awslabs.healthimaging-mcp-server is installed."""
    return servers.require_server("awslabs-healthimaging")


@pytest.fixture(scope="session")
def sitewise() -> Path:
    """Return where awslabs.aws-iot-sitewise-mcp-server is installed."""
    return servers.require_server("awslabs-sitewise")


@pytest.fixture(scope="session")
def aws_api() -> Path:
    """Return where awslabs.aws-api-mcp-server is installed."""
    return servers.require_server("awslabs-aws-api")


@pytest.fixture(scope="session")
def git_and_fetch() -> Path:
    """Return where mcp-server-git and mcp-server-fetch are installed."""
    servers.require_program("git")
    return servers.require_server("git-and-fetch")


@pytest.fixture(scope="session")
def files_and_memory() -> Path:
    """Return where npm's server-filesystem and server-memory are installed."""
    servers.require_program("node")
    return servers.require_server("files-and-memory")
