"""An HTTPS server on loopback that can do what servers should not, with certificates of its own making."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["PROXIES", "Handler", "Server"]

PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "http_proxy")
"""What sends requests by another way."""


class Handler(BaseHTTPRequestHandler):
    """Serve the server's `files`, with ETag and ranges, unless its `behave` does something else."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        """Answer one request."""
        self.server.owner.requests.append((self.path, dict(self.headers)))
        behave = self.server.owner.behave
        if behave is None or not behave(self):
            self.file()

    def file(self) -> None:
        """Answer with the file of this path, or the rest of it."""
        data = self.server.owner.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        tag, start = self.server.owner.tag, 0
        if "Range" in self.headers and self.headers.get("If-Range") == tag:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(data[start:])

    def head(self, status: int, **headers: str) -> None:
        """Send a head; underscores in names of headers are dashes."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Keep quiet of clients that hang up."""


class Server:
    """Run the server; `url` is where it is, `authority` the certificate to trust."""

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.behave: Callable[[Handler], bool] | None = None
        self.tag = '"one"'
        self.authority = folder / "authority.pem"
        certificate = _certificates(folder, self.authority)
        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.owner = self  # type: ignore[attr-defined]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = int(self._server.server_address[1])
        self.url = f"https://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def renew(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        """Be as new, trusted, asked without a proxy, and with an empty cache in a folder."""
        self.files, self.requests, self.behave, self.tag = {}, [], None, '"one"'
        for name in (*PROXIES, "SSL_CERT_DIR"):
            patch.delenv(name, raising=False)
        patch.setenv("SSL_CERT_FILE", str(self.authority))
        patch.setenv("SEVBUILD_CACHE", str(folder / "cache"))
        patch.setenv("SEVBUILD_FETCH_TIMEOUT", "10")

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _certificates(folder: Path, authority: Path) -> Path:
    """Write the authority's certificate, and return a file with the server's key and certificate."""
    now = dt.datetime.now(dt.timezone.utc)
    key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "throw-away authority")])

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey, *more: Any) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=1))
        builder = builder.not_valid_after(now + dt.timedelta(days=1))
        for extension, critical in more:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(key, hashes.SHA256())

    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    # Python 3.13 verifies by RFC 5280 to the letter: both ends of a chain name the key.
    known = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)
    basic = x509.BasicConstraints(ca=True, path_length=None)
    root = build(name, key.public_key(), (basic, True), (usage, True), (known, False))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    leaf = build(subject, server_key.public_key(), (address, False), (signer, False))
    pem = serialization.Encoding.PEM
    authority.write_bytes(root.public_bytes(pem))
    private = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate = folder / "server.pem"
    certificate.write_bytes(private + leaf.public_bytes(pem))
    return certificate
