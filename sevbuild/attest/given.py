"""A certificate as evidence brings it: bytes that nobody has read yet, and where they stood."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["GivenCertificate"]


class GivenCertificate(NamedTuple):
    """The bytes of one or several certificates, DER or PEM as found; `source` says where that was."""

    source: str
    data: bytes
