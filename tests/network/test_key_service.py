"""AMD's key service, for which a server on loopback stands in: patience, and its end."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.network import key_service
from sevbuild.network.key_service import LONGEST_WAIT, TRIES, VARIABLE, ask
from tests.support.https import Handler, Server

URL = "https://kdsintf.amd.com/vcek/v1/Milan/00ff?blSPL=04&teeSPL=00"
PLACE = "/vcek/v1/Milan/00ff?blSPL=04&teeSPL=00"


@pytest.fixture
def server(https_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the server as new, asked instead of AMD's."""
    https_server.renew(tmp_path, monkeypatch)
    https_server.files = {PLACE: b"a certificate"}
    monkeypatch.setenv(VARIABLE, https_server.url)
    return https_server


class Busy:
    """A service that is busy for some requests, and the waits that it asks for."""

    def __init__(self, server: Server, times: int, status: int = 429, after: str = "") -> None:
        self.waits: list[float] = []
        self.told: list[str] = []
        self.left = times
        server.behave = self._behave
        self._status, self._after = status, after

    def ask(self) -> bytes:
        return ask(URL, tell=self.told.append, sleep=self.waits.append)

    def _behave(self, handler: Handler) -> bool:
        if self.left == 0:
            return False
        self.left -= 1
        handler.head(
            self._status, Content_Length="0", **({"Retry_After": self._after} if self._after else {})
        )
        return True


def test_what_the_service_has_is_returned(server: Server) -> None:
    assert ask(URL) == b"a certificate"
    assert [path for path, _headers in server.requests] == [PLACE]


def test_a_mirror_may_be_in_a_folder(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{server.url}/amd/")
    server.files = {f"/amd{PLACE}": b"kept"}
    assert ask(URL) == b"kept"


@pytest.mark.parametrize(
    "mirror", ["http://127.0.0.1", "127.0.0.1", "https:///x", "https://a/?b", "https://a/#b"]
)
def test_a_mirror_is_a_url_over_https(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, mirror)
    with pytest.raises(SevbuildError, match=f"{VARIABLE} must be a URL"):
        ask(URL)


def test_without_a_mirror_amds_own_place_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "ftp://nowhere")
    with pytest.raises(SevbuildError, match="unusable proxy"):
        ask(URL)


def test_nobody_has_to_be_told_of_a_wait(server: Server) -> None:
    busy = Busy(server, 1)
    assert ask(URL, sleep=busy.waits.append) == b"a certificate"
    assert busy.waits == [1.0]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_after_what_it_says(server: Server, status: int) -> None:
    busy = Busy(server, 3, status, "7")
    assert busy.ask() == b"a certificate"
    assert busy.waits == [7.0] * 3
    assert busy.told[0].startswith(f"{server.url}{PLACE}: HTTP {status}")
    assert busy.told[0].endswith("asking again in 7 s")


def test_one_that_says_nothing_gets_ever_more_time(server: Server) -> None:
    busy = Busy(server, TRIES - 1)
    assert busy.ask() == b"a certificate"
    assert busy.waits == [1.0, 2.0, 4.0, 8.0]
    assert len(server.requests) == TRIES


@pytest.mark.parametrize("after", ["soon", "-1", "1.5", "Wed, 99 Nov 2026"])
def test_what_is_no_time_is_passed_over(server: Server, after: str) -> None:
    busy = Busy(server, 1, after=after)
    assert busy.ask() == b"a certificate"
    assert busy.waits == [1.0]


def test_it_may_name_a_date(server: Server) -> None:
    busy = Busy(
        server, 1, after=format_datetime(datetime.now(timezone.utc) + timedelta(seconds=30), usegmt=True)
    )
    assert busy.ask() == b"a certificate"
    assert 20 < busy.waits[0] <= 30
    busy = Busy(server, 1, after="Sun, 06 Nov 1994 08:49:37 -0000")
    assert busy.ask() == b"a certificate"
    assert busy.waits == [0.0]


def test_patience_ends(server: Server) -> None:
    busy = Busy(server, TRIES + 3, after="1")
    with pytest.raises(SevbuildError, match=f"HTTP 429 Too Many Requests, {TRIES} times"):
        busy.ask()
    assert len(server.requests) == TRIES
    assert len(busy.waits) == TRIES - 1


def test_a_long_wait_is_the_users(server: Server) -> None:
    busy = Busy(server, 1, after=str(int(LONGEST_WAIT) + 1))
    with pytest.raises(SevbuildError, match=r"asks to wait 61 s") as caught:
        busy.ask()
    assert caught.value.hint == "try again then"
    assert (len(server.requests), busy.waits) == (1, [])


def test_what_it_does_not_have_is_said(server: Server) -> None:
    server.files = {}
    with pytest.raises(SevbuildError, match="HTTP 404 Not Found") as caught:
        ask(URL)
    assert "no key of this chip" in (caught.value.hint or "")
    Busy(server, 1, 500)
    with pytest.raises(SevbuildError, match="HTTP 500"):
        ask(URL)
    assert len(server.requests) == 2


def test_a_long_or_short_answer_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(handler: Handler) -> bool:
        handler.head(200, Content_Length="100")
        handler.wfile.write(b"half")
        return True

    server.behave = short
    with pytest.raises(SevbuildError, match="the response ends"):
        ask(URL)
    server.behave = None
    monkeypatch.setattr(key_service, "LIMIT", 5)
    with pytest.raises(SevbuildError, match="more than 5 bytes"):
        ask(URL)
