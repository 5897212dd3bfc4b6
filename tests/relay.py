"""A server in front of another on loopback: with TLS, as Azure puts it before an app, or with altered answers. Not a test itself."""

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: The path that was asked, the body of the question; status, headers and body of the answer -> what is answered in their place.
Alter = Callable[[str, bytes, int, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


def certificate(folder: Path) -> Path:
    """Write a certificate for 127.0.0.1, valid for a day, with its key, and return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file = folder / "loopback.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + pem)
    return file


def as_it_is(
    path: str, question: bytes, status: int, headers: dict[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """Alter nothing."""
    return status, headers, body


@contextmanager
def before(port: int | Callable[[], int], alter: Alter = as_it_is, certified: Path | None = None) -> Iterator[str]:
    """Relay to a port of loopback until the block ends; yields the address as host:port.

    Args:
        port: of the server that answers, or what chooses one for each request.
        alter: its answers.
        certified: file of a certificate, for TLS.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.relay()

        def do_POST(self) -> None:
            self.relay()

        def relay(self) -> None:
            question = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = HTTPConnection("127.0.0.1", port() if callable(port) else port, timeout=60)
            try:
                connection.request(self.command, self.path, question, dict(self.headers))
                found = connection.getresponse()
                status, headers, body = found.status, dict(found.getheaders()), found.read()
            except OSError:
                status, headers, body = 503, {}, b"nobody is there"
            finally:
                connection.close()
            status, headers, body = alter(self.path, question, status, headers, body)
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that have left."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if certified:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certified)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
