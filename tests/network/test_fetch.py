"""Fetching, against a server on loopback: what is refused, what is gone on with, what is kept."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.network.cache import Cache, cache_directory
from sevbuild.network.fetch import fetch
from sevbuild.output.locks import Patience
from tests.support.cli import run
from tests.support.https import Handler, Server
from tests.support.shared import ROOT

DATA = bytes(range(256)) * 4000
DIGEST = sha256(DATA).digest()


@pytest.fixture
def server(https_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the server as new, trusted, with an empty cache."""
    https_server.renew(tmp_path, monkeypatch)
    https_server.files = {"/file": DATA}
    return https_server


def _fetch(server: Server, limit: int = 1 << 30, digest: bytes = DIGEST, **more: Any) -> bytes:
    return Path(fetch(f"{server.url}/file", digest, limit, **more)).read_bytes()


def _files() -> list[str]:
    return sorted(
        path.suffix or path.parent.name for path in Path(cache_directory()).rglob("*") if path.is_file()
    )


def _part() -> Path:
    return Path(Cache(cache_directory()).part(DIGEST.hex()).path)


def test_a_file_is_fetched_once(server: Server) -> None:
    assert _fetch(server) == DATA
    assert _fetch(server) == DATA
    assert _fetch(server, offline=True) == DATA
    assert len(server.requests) == 1
    assert _files() == ["sha256"]


def test_offline_fetches_nothing(server: Server) -> None:
    with pytest.raises(SevbuildError, match="not in the cache, and --offline forbids fetching it"):
        _fetch(server, offline=True)
    assert server.requests == []


def test_other_bytes_are_refused_and_not_kept(server: Server) -> None:
    with pytest.raises(MismatchError, match=f"sha256 is {DIGEST.hex()}, the manifest pins 0000") as caught:
        _fetch(server, digest=bytes(32))
    assert caught.value.exit_code == 1
    assert _files() == []


def _short(handler: Handler) -> bool:
    handler.head(200, Content_Length=str(len(DATA)), ETag='"one"')
    handler.wfile.write(DATA[:5000])
    handler.close_connection = True
    return True


def _to_http(handler: Handler) -> bool:
    handler.head(302, Location=f"http://127.0.0.1:{handler.server.server_port}/file", Content_Length="0")
    return True


def _to_nowhere(handler: Handler) -> bool:
    handler.head(302, Content_Length="0")
    return True


def _to_file(handler: Handler) -> bool:
    handler.head(302, Location="file:///etc/passwd", Content_Length="0")
    return True


def _to_itself(handler: Handler) -> bool:
    handler.head(307, Location="/file", Content_Length="0")
    return True


def _large(handler: Handler) -> bool:
    handler.head(200, Content_Length=str(1 << 40))
    return True


def _endless(handler: Handler) -> bool:
    handler.head(200, Transfer_Encoding="chunked")
    while True:
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def _cut_chunk(handler: Handler) -> bool:
    handler.head(200, Transfer_Encoding="chunked")
    handler.wfile.write(b"10000\r\n" + bytes(100))
    handler.close_connection = True
    return True


def _hang(handler: Handler) -> bool:
    del handler
    time.sleep(8)
    return True


def _hang_in_body(handler: Handler) -> bool:
    handler.head(200, Content_Length=str(len(DATA)), ETag='"one"')
    handler.wfile.write(DATA[:5000])
    handler.wfile.flush()
    time.sleep(8)
    return True


def _drip(handler: Handler) -> bool:
    handler.head(200, Content_Length=str(len(DATA)), ETag='"one"')
    for byte in DATA[:100]:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.1)
    return True


def _drip_head(handler: Handler) -> bool:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(100):
        handler.wfile.write(b"X: y\r\n")
        handler.wfile.flush()
        time.sleep(0.1)
    return True


def _nonsense(handler: Handler) -> bool:
    handler.wfile.write(b"\x1b[31mhello\r\n\r\n")
    handler.close_connection = True
    return True


@pytest.mark.parametrize(
    ("behave", "message", "left"),
    [
        (_short, f"the response ends after 5000 of {len(DATA)} bytes", [".json", ".part"]),
        (_to_http, "redirected to plain http, which is refused: http://127.0.0.1", []),
        (_to_file, "redirected to file:, which is refused", []),
        (_to_nowhere, "redirected without a location", []),
        (_to_itself, "more than 10 redirects", []),
        (_large, "1099511627776 bytes; the limit is 2000000 bytes", []),
        (_endless, "more than 2000000 bytes; the limit is 2000000 bytes", []),
        (_cut_chunk, "the response ends early", []),
        (_hang, "no answer, or fewer than 1024 bytes, within 1 s", []),
        (_hang_in_body, "no answer, or fewer than 1024 bytes, within 1 s", [".json", ".part"]),
        (_drip, "no answer, or fewer than 1024 bytes, within 1 s", [".json", ".part"]),
        (_drip_head, "no answer, or fewer than 1024 bytes, within 1 s", []),
        (_nonsense, "not an answer|BadStatusLine|hello", []),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_servers_should_not_do(
    server: Server,
    behave: Callable[[Handler], bool],
    message: str,
    left: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEVBUILD_FETCH_TIMEOUT", "1")
    server.behave = behave
    began = time.monotonic()
    with pytest.raises(SevbuildError, match=message) as caught:
        _fetch(server, limit=2_000_000)
    assert time.monotonic() - began < 30
    assert caught.value.exit_code == 2
    assert caught.value.message.isprintable()
    assert _files() == left


def test_a_missing_file_and_no_server(server: Server) -> None:
    with pytest.raises(SevbuildError, match="HTTP 404 Not Found"):
        fetch(f"{server.url}/absent", DIGEST, 1 << 20)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(SevbuildError, match="Connection refused"):
            fetch(f"https://127.0.0.1:{unused.getsockname()[1]}/file", DIGEST, 1 << 20)
    with pytest.raises(SevbuildError, match=r"no address for nowhere\.invalid"):
        fetch("https://nowhere.invalid/file", DIGEST, 1 << 20)


def test_a_handshake_that_hangs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    del server
    monkeypatch.setenv("SEVBUILD_FETCH_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(SevbuildError, match="in 1 s"):
            fetch(f"https://127.0.0.1:{silent.getsockname()[1]}/file", DIGEST, 1 << 20)


def test_redirects_on_https_are_followed(server: Server) -> None:
    def behave(handler: Handler) -> bool:
        if handler.path == "/file":
            handler.head(301, Location="/a b", Content_Length="0")
        return handler.path == "/file"

    server.behave = behave
    server.files["/a%20b"] = DATA
    assert _fetch(server) == DATA


def test_a_download_goes_on(server: Server) -> None:
    server.behave = _short
    with pytest.raises(SevbuildError, match="ends after"):
        _fetch(server)
    assert _part().read_bytes() == DATA[:5000]
    server.behave = None
    assert _fetch(server) == DATA
    assert server.requests[-1][1]["Range"] == "bytes=5000-"
    assert server.requests[-1][1]["If-Range"] == '"one"'
    assert len(server.requests) == 2
    assert _files() == ["sha256"]


def test_a_file_that_changed_is_fetched_from_its_start(server: Server) -> None:
    server.behave = _short
    with pytest.raises(SevbuildError, match="ends after"):
        _fetch(server)
    server.behave, server.tag = None, '"two"'
    assert _fetch(server) == DATA
    assert "Range" in server.requests[-1][1]


def test_bytes_that_do_not_belong_to_the_rest_are_fetched_anew(server: Server) -> None:
    server.behave = _short
    with pytest.raises(SevbuildError, match="ends after"):
        _fetch(server)
    _part().write_bytes(b"x" * 5000)
    server.behave = None
    assert _fetch(server) == DATA
    assert ["Range" in headers for _, headers in server.requests] == [False, True, False]


@pytest.mark.parametrize("status", [206, 416])
def test_ranges_that_servers_get_wrong(server: Server, status: int) -> None:
    server.behave = _short
    with pytest.raises(SevbuildError, match="ends after"):
        _fetch(server)

    def behave(handler: Handler) -> bool:
        if "Range" in handler.headers:
            handler.head(status, Content_Range="bytes 7-8/9", Content_Length="0")
        return "Range" in handler.headers

    server.behave = behave
    assert _fetch(server) == DATA


def test_a_part_that_is_whole_needs_no_server(server: Server) -> None:
    server.behave = _short
    with pytest.raises(SevbuildError, match="ends after"):
        _fetch(server)
    _part().write_bytes(DATA)
    asked = len(server.requests)
    assert _fetch(server) == DATA
    assert len(server.requests) == asked


def test_without_a_validator_nothing_is_kept(server: Server) -> None:
    def behave(handler: Handler) -> bool:
        handler.head(200, Content_Length=str(len(DATA)))
        handler.wfile.write(DATA[:5000])
        handler.close_connection = True
        return True

    server.behave = behave
    with pytest.raises(SevbuildError, match="ends after"):
        _fetch(server)
    assert _files() == []


SCRIPT = "import sys; from sevbuild.network.fetch import fetch; fetch(sys.argv[1], bytes.fromhex(sys.argv[2]), 1 << 30)"


def _process(server: Server) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, f"{server.url}/file", DIGEST.hex()]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "SEVBUILD_FETCH_TIMEOUT": "30"})


def test_a_killed_download_goes_on_and_is_never_an_entry(server: Server) -> None:
    reached = Event()

    def behave(handler: Handler) -> bool:
        if "Range" in handler.headers:
            return False
        handler.head(200, Content_Length=str(len(DATA)), ETag='"one"')
        handler.wfile.write(DATA[:300_000])
        handler.wfile.flush()
        reached.set()
        time.sleep(5)
        return True

    server.behave = behave
    process = _process(server)
    assert reached.wait(20)
    deadline = time.monotonic() + 10
    while not (_part().exists() and _part().stat().st_size == 300_000):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Cache(cache_directory()).has(DIGEST.hex())
    assert _fetch(server) == DATA
    assert server.requests[-1][1]["Range"] == "bytes=300000-"


def test_two_processes_at_once_fetch_once(server: Server) -> None:
    def behave(handler: Handler) -> bool:
        del handler
        time.sleep(0.5)
        return False

    server.behave = behave
    processes = [_process(server) for _ in range(3)]
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert len(server.requests) == 1
    assert _files() == ["sha256"]
    assert Path(Cache(cache_directory()).entry(DIGEST.hex())).read_bytes() == DATA


def test_a_holder_that_does_not_go_on(server: Server) -> None:
    cache = Cache(cache_directory())
    said: list[str] = []
    with (
        cache.claim(DIGEST.hex(), Patience(1)),
        pytest.raises(
            SevbuildError, match=r"process \d+ \(.*\) holds the lock and has made no progress for 0.3 s"
        ),
        cache.claim(DIGEST.hex(), Patience(0.3, said.append)),
    ):
        pass
    (words,) = said
    assert words.startswith(
        f"waiting for {cache.directory}/partial/{DIGEST.hex()}.lock, which process {os.getpid()}"
    )
    assert server.requests == []


def test_unknown_authorities_are_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SevbuildError, match=r"127\.0\.0\.1 is not trusted") as caught:
        _fetch(server)
    assert "SSL_CERT_FILE" in (caught.value.hint or "")
    monkeypatch.setenv("CURL_CA_BUNDLE", str(server.authority))
    assert _fetch(server) == DATA
    monkeypatch.setenv("SEVBUILD_CACHE", str(tmp_path / "other"))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "absent.pem"))
    with pytest.raises(SevbuildError, match=r"CURL_CA_BUNDLE names .*absent\.pem, which does not exist"):
        _fetch(server)
    (tmp_path / "empty.pem").write_text("no certificate")
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "empty.pem"))
    with pytest.raises(SevbuildError, match="cannot read certificate authorities"):
        _fetch(server)


class _Proxy(BaseHTTPRequestHandler):
    """Carry one tunnel, as an HTTP proxy does."""

    seen: list[tuple[str, str]] = []  # noqa: RUF012 - shared by its instances on purpose

    def do_CONNECT(self) -> None:
        self.seen.append((self.path, self.headers.get("Proxy-Authorization", "")))
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            back = Thread(target=self._pump, args=(far, self.connection), daemon=True)
            back.start()
            self._pump(self.connection, far)
            back.join(5)
        self.close_connection = True

    @staticmethod
    def _pump(source: socket.socket, to: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


def test_proxies_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    proxy = HTTPServer(("127.0.0.1", 0), _Proxy)
    thread = Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:s%20cret@127.0.0.1:{proxy.server_port}")
        assert _fetch(server) == DATA
        assert _Proxy.seen == [(f"127.0.0.1:{server.port}", "Basic bWU6cyBjcmV0")]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("SEVBUILD_CACHE", str(tmp_path / "other"))
        assert _fetch(server) == DATA
        assert len(_Proxy.seen) == 1
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:secret@127.0.0.1:1")
    monkeypatch.setenv("SEVBUILD_CACHE", str(tmp_path / "third"))
    with pytest.raises(SevbuildError, match=r"unusable proxy: socks5://127\.0\.0\.1$"):
        _fetch(server)


@pytest.mark.parametrize("value", ["x", "-1", "0", "nan", "inf"])
def test_settings_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SEVBUILD_FETCH_TIMEOUT", value)
    with pytest.raises(SevbuildError, match="SEVBUILD_FETCH_TIMEOUT must be a positive number"):
        _fetch(server)


def test_the_environment_sets_the_limit(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVBUILD_FETCH_LIMIT", "1000")
    with pytest.raises(SevbuildError, match=f"{len(DATA)} bytes; the limit is 1000"):
        _fetch(server)


def test_a_cache_that_cannot_be_written(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVBUILD_CACHE", "/dev/null/cache")
    with pytest.raises(SevbuildError, match="cannot write /dev/null/cache: Not a directory"):
        _fetch(server)


def test_a_full_disk_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        del descriptor, data
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sevbuild.network.fetch.os.write", full)
    with pytest.raises(SevbuildError, match=r"cannot write .*\.(part|json): No space left on device"):
        _fetch(server)


def test_progress_is_told(server: Server) -> None:
    from contextlib import contextmanager

    seen: list[tuple[int, int | None]] = []

    @contextmanager
    def progress(name: str, *, unit: str = "bytes") -> Iterator[Callable[[int, int | None], None]]:
        assert (name, unit) == (f"{server.url}/file", "bytes")
        yield lambda have, total: seen.append((have, total))

    assert _fetch(server, progress=progress) == DATA
    assert seen[0] == (0, len(DATA))
    assert seen[-1] == (len(DATA), len(DATA))


@pytest.mark.parametrize("how", ["hard link", "link", "folder"])
def test_what_is_planted_in_a_shared_cache_is_not_written_to(
    server: Server, tmp_path: Path, how: str
) -> None:
    """Names in the cache are known beforehand: a download in the making has to be found again."""
    server.behave = _short
    with pytest.raises(SevbuildError):
        _fetch(server)
    server.behave = None
    cache = Cache(cache_directory())
    part = Path(cache.part(DIGEST.hex()).path)
    assert part.stat().st_size
    part.unlink()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    if how == "hard link":
        os.link(victim, part)
    elif how == "link":
        part.symlink_to(victim)
    else:
        part.mkdir()
        with pytest.raises(SevbuildError, match=rf"cannot write {part}: Is a directory"):
            _fetch(server)
        return
    assert _fetch(server) == DATA
    assert "Range" not in server.requests[-1][1]
    assert victim.read_bytes() == b"precious"


def test_the_cache_is_listed_verified_and_cleared(server: Server, tmp_path: Path) -> None:
    assert run("cache", "path").out == f"{tmp_path / 'cache'}\n"
    assert run("cache", "list").out.splitlines() == ["sha256  size  state"]
    _fetch(server)
    other = sha256(b"other").digest()
    server.files["/other"] = b"other"
    server.behave = _short
    with pytest.raises(SevbuildError):
        fetch(f"{server.url}/other", other, 1 << 30)
    listed = run("cache", "list").out
    assert f"{DIGEST.hex()}  {len(DATA)}  complete\n" in listed
    assert f"{other.hex()}  5000     part of {server.url}/other\n" in listed
    assert f'"sha256": "{DIGEST.hex()}"' in run("cache", "list", "-f", "json").out
    (tmp_path / "cache" / "sha256" / "mine").write_text("not of the cache")
    assert run("cache", "clean", "00" * 32).out == "removed 0 files, 0 bytes\n"
    with Cache(cache_directory()).claim(other.hex(), Patience(1)):
        assert run("cache", "clean").out == f"removed 1 file, {len(DATA)} bytes\n"
    assert run("cache", "clean", other.hex()).out == "removed 1 file, 5000 bytes\n"
    assert run("cache", "clean", "xyz").status == 2
    assert (tmp_path / "cache" / "sha256" / "mine").exists()


def test_a_cache_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sha256").write_text("no folder")
    monkeypatch.setenv("SEVBUILD_CACHE", str(tmp_path))
    assert "cannot read" in run("cache", "list").err
    (tmp_path / "sha256").unlink()
    (tmp_path / "sha256" / DIGEST.hex()).mkdir(parents=True)
    result = run("cache", "clean")
    assert (result.status, result.out) == (2, "")
    assert "cannot clean" in result.err


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff", '{"url": 1}', "[" * 9999])
def test_notes_of_a_part_that_are_damaged(server: Server, text: str) -> None:
    server.behave = _short
    with pytest.raises(SevbuildError, match="ends after"):
        _fetch(server)
    _part().with_suffix(".json").write_text(text, encoding="latin-1")
    server.behave = None
    assert _fetch(server) == DATA
    assert "Range" not in server.requests[-1][1]


def test_the_platforms_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SEVBUILD_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == str(tmp_path / "sevbuild")
