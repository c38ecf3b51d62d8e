"""One GET over HTTPS that always ends: bounded in time, however slowly a server answers."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from sevbuild import __version__
from sevbuild.errors import SevbuildError
from sevbuild.text import visible

__all__ = ["Reply", "get", "shown"]

MAX_REDIRECTS = 10
SLOWEST = 1024
"""Bytes a second: a server that gives less over a whole window is refused."""

_REDIRECTS = (301, 302, 303, 307, 308)
_BUFFER = 256 * 1024
_SHOWN = 200


def shown(text: str) -> str:
    """Return what a server sent as it may stand in a message: printable and short."""
    return visible(text[:_SHOWN])


class _Watch:
    """A watch that shuts a connection down once a window of time has brought too little.

    Timeouts of a socket do not do that: a byte now and then restarts them, in a handshake, a header or
    a body.
    """

    def __init__(self, seconds: float) -> None:
        self.fired = False
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._count = 0
        self._connection: _Connection | None = None
        self._done = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def guard(self, connection: _Connection) -> None:
        """Watch this connection from now on."""
        self._connection = connection

    def count(self, size: int) -> None:
        """Take note of bytes of a body."""
        self._count += size
        if self._count >= SLOWEST * self._seconds:
            self._count = 0
            self._deadline = time.monotonic() + self._seconds

    def end(self) -> None:
        """Stop watching."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(max(0.0, self._deadline - time.monotonic())):
            if time.monotonic() >= self._deadline:
                self.fired = True
                connection = self._connection
                if connection is not None:
                    connection.shut_down()
                # It may have been between two sockets; then the next one is what has to go.
                self._deadline = time.monotonic() + 0.2


class _Connection(http.client.HTTPSConnection):
    """A connection whose handshake is a step of its own, so that a watch can end it."""

    def __init__(self, host: str, port: int, server: str, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._server = server
        self._tls = context
        self._kept: socket.socket | None = None

    def connect(self) -> None:
        """Connect, through a proxy's tunnel if one is set, and shake hands."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._kept = self._tls.wrap_socket(
            self.sock, server_hostname=self._server, do_handshake_on_connect=False
        )
        self._kept.do_handshake()

    def shut_down(self) -> None:
        """End whatever waits for this connection, from another thread."""
        # A reply outlives its connection object's own socket, so that one is kept.
        for sock in (self.sock, self._kept):
            if sock is not None:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Reply:
    """The head of an answer, and its body to be read."""

    def __init__(self, response: http.client.HTTPResponse, watch: _Watch) -> None:
        self.status = response.status
        self.reason = shown(response.reason)
        self._response = response
        self._watch = watch

    def header(self, name: str) -> str:
        """Return a header, empty where it is absent."""
        return self._response.getheader(name) or ""

    def length(self) -> int | None:
        """Return the length of the body where the head gives it."""
        return self._response.length

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives; it may end before its length."""
        while chunk := self._response.read1(_BUFFER):
            self._watch.count(len(chunk))
            yield chunk
        # What the watch shuts down reads as an end.
        if self._watch.fired:
            raise TimeoutError


@contextmanager
def get(url: str, headers: Mapping[str, str], seconds: float) -> Iterator[Reply]:
    """Give the answer to a GET after redirects, which must stay on HTTPS.

    `seconds` is what connecting and the head may take together, and the window in which a body must bring
    at least SLOWEST bytes a second. Proxies and certificate authorities come from the environment. Whatever
    the network does, here or while the body is read, is raised as a SevbuildError.
    """
    watch = _Watch(seconds)
    connection: _Connection | None = None
    response: http.client.HTTPResponse | None = None
    host = urlsplit(url).hostname
    try:
        context = _tls_context()
        at = url
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(at)
            host = parts.hostname
            connection = _connect(parts, context, seconds)
            watch.guard(connection)
            response = _ask(connection, parts, headers)
            if response.status not in _REDIRECTS:
                yield Reply(response, watch)
                return
            response.close()
            connection.close()
            at = _redirected(url, at, response)
        raise SevbuildError(f"{url}: more than {MAX_REDIRECTS} redirects")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _fault(url, host or "", error, watch, seconds) from None
    finally:
        watch.end()
        for opened in (response, connection):
            if opened is not None:
                opened.close()


def _ask(connection: _Connection, parts: SplitResult, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fixed = {
        "User-Agent": f"sevbuild/{__version__}",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    connection.request("GET", target, headers={**fixed, **headers})
    return connection.getresponse()


def _redirected(url: str, at: str, response: http.client.HTTPResponse) -> str:
    # Servers send characters that must not stand in a URL; percent signs that do are left alone.
    location = quote(response.getheader("Location") or "", safe="!#$%&'()*+,/:;=?@[]~")
    if not location:
        raise SevbuildError(f"{url}: redirected without a location")
    to = urljoin(at, location)
    parts = urlsplit(to)
    if parts.scheme != "https":
        what = "plain http" if parts.scheme == "http" else f"{shown(parts.scheme)}:"
        raise SevbuildError(f"{url}: redirected to {what}, which is refused: {shown(to)}")
    if not parts.hostname:
        raise SevbuildError(f"{url}: redirected to a URL without a host: {shown(to)}")
    return to


def _connect(parts: SplitResult, context: ssl.SSLContext, seconds: float) -> _Connection:
    from urllib.request import getproxies, proxy_bypass

    host, port = parts.hostname or "", parts.port or 443
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy or proxy_bypass(f"{host}:{port}"):
        return _Connection(host, port, host, context, seconds)
    via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if via.scheme != "http" or not via.hostname:
        hint = "HTTPS_PROXY must be of the form http://[USER:PASSWORD@]HOST:PORT"
        raise SevbuildError(f"unusable proxy: {via.scheme}://{via.hostname or ''}", hint=hint)
    connection = _Connection(via.hostname, via.port or 80, host, context, seconds)
    tunnel = {}
    if via.username is not None:
        from base64 import b64encode

        user = f"{unquote(via.username)}:{unquote(via.password or '')}"
        tunnel["Proxy-Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
    connection.set_tunnel(host, port, headers=tunnel)
    return connection


def _tls_context() -> ssl.SSLContext:
    named = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    bundle = None
    if not any(named.values()):
        # What other clients take; OpenSSL itself knows only the two names above.
        for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            bundle = bundle or os.environ.get(name) or None
            named[name] = os.environ.get(name)
    for name, path in named.items():
        if path and not any(os.path.exists(entry) for entry in path.split(os.pathsep)):
            raise SevbuildError(f"{name} names {path}, which does not exist")
    directory = bundle if bundle and os.path.isdir(bundle) else None
    try:
        context = ssl.create_default_context(cafile=None if directory else bundle, capath=directory)
    except (ssl.SSLError, OSError):
        raise SevbuildError(f"cannot read certificate authorities from {bundle}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _fault(url: str, host: str, error: Exception, watch: _Watch, seconds: float) -> SevbuildError:
    if watch.fired or isinstance(error, TimeoutError):
        least = int(SLOWEST * seconds)
        return SevbuildError(
            f"{url}: no answer, or fewer than {least} bytes, within {seconds:g} s",
            hint="SEVBUILD_FETCH_TIMEOUT sets the seconds; run again to resume",
        )
    message, hint = f"{url}: {shown(str(error)) or type(error).__name__}", "run again to resume"
    if isinstance(error, ssl.SSLCertVerificationError):
        message = f"{url}: {host} is not trusted: {error.verify_message}"
        hint = "SSL_CERT_FILE or SSL_CERT_DIR names the certificate authorities to trust"
    elif isinstance(error, ssl.SSLError):
        message = f"{url}: TLS failed: {shown(error.reason or str(error))}"
    elif isinstance(error, socket.gaierror):
        message = f"{url}: no address for {host}: {error.strerror}"
    elif isinstance(error, http.client.IncompleteRead):
        message = f"{url}: the response ends early"
    elif isinstance(error, OSError):
        message = f"{url}: {shown(error.strerror or str(error))}"
    return SevbuildError(message, hint=hint)
