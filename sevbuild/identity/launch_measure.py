"""LAUNCH_MEASURE as a guest owner sees it: the 48 bytes that a platform answers with."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import NamedTuple

from sevbuild.documents.binary_text import base64_bytes, hex_bytes
from sevbuild.errors import SevbuildError
from sevbuild.launch.sev_guest import SevPlatform, launch_measurement

__all__ = [
    "BLOB_SIZE",
    "MEASURE_SIZE",
    "NONCE_SIZE",
    "MeasuredLaunch",
    "parse_nonce",
]

MEASURE_SIZE = 32
NONCE_SIZE = 16
BLOB_SIZE = MEASURE_SIZE + NONCE_SIZE
"""What the firmware returns: the measurement, and the nonce that it chose for it."""


class MeasuredLaunch(NamedTuple):
    """What a measurement is over, but for the nonce: the platform's firmware, the policy and the digest."""

    api_major: int
    api_minor: int
    build_id: int
    policy: int
    digest: bytes

    @property
    def firmware(self) -> tuple[int, int, int]:
        """Return API major, API minor and build."""
        return self.api_major, self.api_minor, self.build_id

    def measure(self, tik: bytes, nonce: bytes) -> bytes:
        """Return the measurement (32 bytes) that the owner of the TIK expects with a nonce (16 bytes)."""
        platform = SevPlatform(api_major=self.api_major, api_minor=self.api_minor, build_id=self.build_id)
        return launch_measurement(tik, platform, self.policy, self.digest, nonce)

    def blob(self, tik: bytes, nonce: bytes) -> bytes:
        """Return the measurement and the nonce, as the host hands them over."""
        return self.measure(tik, nonce) + nonce

    def has(self, measure: bytes, tik: bytes, nonce: bytes) -> bool:
        """Tell whether a measurement is the one of this launch."""
        return hmac.compare_digest(self.measure(tik, nonce), measure)


def parse_nonce(text: str) -> bytes:
    """Return a nonce that is written in hexadecimal or base64; raises SevbuildError, with known mistakes."""
    for data in (hex_bytes(text), base64_bytes(text)):
        if data is not None and len(data) == NONCE_SIZE:
            return data
    hint = "16 bytes: 32 hexadecimal digits, or base64; it is the end of what the host reports"
    if _of_text(hex_bytes(text), base64_bytes):
        hint = "these are the hexadecimal digits of base64 text: give the base64 as it is"
    elif _of_text(base64_bytes(text), hex_bytes):
        hint = "this is the base64 of hexadecimal digits: give the digits"
    elif len(base64_bytes(text) or b"") == BLOB_SIZE:
        hint = "this is measurement and nonce: give it as what the host reports"
    raise SevbuildError(f"not a nonce: {text[:100]}", hint=hint)


def _of_text(data: bytes | None, decode: Callable[[str], bytes | None]) -> bool:
    """Tell whether bytes are text of a nonce, written in the other way."""
    if data is None or not data.isascii():
        return False
    inner = decode(data.decode())
    return inner is not None and len(inner) == NONCE_SIZE
