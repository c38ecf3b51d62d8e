"""AMD's key service over HTTPS: small answers, and patience where it asks for some."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit, urlunsplit

from sevbuild.environment import positive_number
from sevbuild.errors import SevbuildError
from sevbuild.network.fetch import TIMEOUT
from sevbuild.network.https import Reply, get, shown
from sevbuild.text import counted

__all__ = ["VARIABLE", "ask"]

VARIABLE = "SEVBUILD_KEY_SERVICE"
"""What names a mirror of the service in the environment, by the URL that stands for its own."""
LIMIT = 1 << 20
TRIES = 5
LONGEST_WAIT = 60.0
"""Seconds: a service that asks for more is not waited for."""

_BUSY = (429, 503)


def ask(
    url: str,
    *,
    tell: Callable[[str], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> bytes:
    """Return what the service has at a URL, at most LIMIT bytes.

    Where it is busy (429 or 503) it is asked again, TRIES times in all: after as long as it says in
    Retry-After, or after 1, 2, 4 and 8 seconds. `tell` is told of each wait. Raises SevbuildError.
    """
    seconds = positive_number("SEVBUILD_FETCH_TIMEOUT", TIMEOUT)
    place = _place(url)
    tried = 0
    while True:
        tried += 1
        with get(place, {}, seconds) as reply:
            if reply.status == 200:
                return _body(reply, place)
            answer = f"{place}: HTTP {reply.status} {reply.reason}".rstrip()
            if reply.status not in _BUSY:
                raise SevbuildError(answer, hint=_hint(reply.status))
            wait = _wait(reply, 2.0 ** (tried - 1))
        if wait > LONGEST_WAIT:
            raise SevbuildError(f"{answer}, and asks to wait {wait:g} s", hint="try again then")
        if tried == TRIES:
            raise SevbuildError(f"{answer}, {counted(TRIES, 'time')}", hint="try again later")
        if tell is not None:
            tell(f"{answer}; asking again in {wait:g} s")
        sleep(wait)


def _place(url: str) -> str:
    """Return where a URL of the service is asked for: there, or at the mirror that the environment names."""
    mirror = os.environ.get(VARIABLE)
    if not mirror:
        return url
    parts = urlsplit(mirror)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise SevbuildError(f"{VARIABLE} must be a URL as https://HOST[:PORT][/PATH], got {shown(mirror)!r}")
    asked = urlsplit(url)
    return urlunsplit(("https", parts.netloc, parts.path.rstrip("/") + asked.path, asked.query, ""))


def _body(reply: Reply, url: str) -> bytes:
    body = bytearray()
    for chunk in reply.chunks():
        body += chunk
        if len(body) > LIMIT:
            raise SevbuildError(f"{url}: more than {LIMIT} bytes, which no certificate has")
    length = reply.length()
    if length:
        raise SevbuildError(f"{url}: the response ends {length} bytes early", hint="run again")
    return bytes(body)


def _wait(reply: Reply, otherwise: float) -> float:
    """Return how many seconds the service asks to wait (RFC 9110, 10.2.3), `otherwise` where it does not."""
    text = reply.header("Retry-After").strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return otherwise
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def _hint(status: int) -> str | None:
    return "no key of this chip and TCB is known there" if status == 404 else None
