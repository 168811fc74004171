"""Stands in for the internet, as a proxy: a few hosts answer over HTTPS, and nothing else does.

Who is sent here by its environment reaches nobody by name but what a test has put here.
"""

from __future__ import annotations

import datetime as dt
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SERVICE_REFERENCE = "servicereference.us-east-1.amazonaws.com"
"""What awslabs.aws-api-mcp-server cannot start without: where AWS says which operations only read."""
HOSTS = {SERVICE_REFERENCE: "[]"}
_REFUSAL = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"
_PATIENCE_S = 30.0
_DAY = dt.timedelta(days=1)


@dataclass
class Outside:
    """A proxy on this machine.

    `journal` holds the hosts that somebody wanted to reach, and below them the pages that were asked for.  `authority` is whom its
    clients have to trust.
    """

    port: int
    authority: Path
    journal: list[str] = field(default_factory=list)

    def env(self, others: Mapping[str, str]) -> dict[str, str]:
        """Return an environment that sends a program here, whatever `others` say of proxies; this machine it still reaches."""
        kept = {name: value for name, value in others.items() if not name.lower().endswith("_proxy")}
        trusted = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(self.authority))
        url = f"http://127.0.0.1:{self.port}"
        proxies = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), url)
        return kept | trusted | proxies | dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")


@contextmanager
def running_outside(directory: Path, hosts: Mapping[str, str] = HOSTS) -> Iterator[Outside]:
    """Run the proxy; each of the hosts has one text on all of its pages.  The certificate is made in `directory`."""
    authority = directory / "authority.pem"
    authority.write_bytes(_certificate(hosts))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)

    class Handler(StreamRequestHandler):
        timeout = _PATIENCE_S

        def handle(self) -> None:
            with suppress(OSError):
                self.serve()

        def serve(self) -> None:
            method, target = self.rfile.readline().decode("latin-1").split(" ")[:2]
            while self.rfile.readline().strip():
                pass
            outside.journal.append(target)
            host = target.removesuffix(":443")
            if method != "CONNECT" or host not in hosts:
                self.wfile.write(_REFUSAL)
                return
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            with context.wrap_socket(self.connection, server_side=True) as inside:
                page = inside.recv(1 << 16).split(b" ")[1].decode("latin-1")
                outside.journal.append(f"{host}{page}")
                body = hosts[host].encode()
                head = f"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
                inside.sendall(head.encode() + body)

    class Server(ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        outside = Outside(server.server_address[1], authority)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield outside
        finally:
            server.shutdown()
            thread.join()


def _certificate(hosts: Mapping[str, str]) -> bytes:
    """Make a key, and a certificate for the hosts that it signs itself, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the outside")])
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - _DAY, now + _DAY)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(encoding)
