"""Evidence as it was handed over: the bytes of a report, what came with it, and where each stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sevbuild.attest.hcl import HclBinding

__all__ = ["Evidence", "GivenCertificate"]


class GivenCertificate(NamedTuple):
    """The bytes of one or several certificates, DER or PEM as found; `source` says where that was."""

    source: str
    data: bytes


class Evidence(NamedTuple):
    """What a guest or its host handed over; nothing in it is believed yet.

    `form` is one of FORMS (attest/evidence.py), `report` has as many bytes as were there. `hcl` is what
    Azure's paravisor binds to the report, `notes` are lines on what was found and is not looked at.
    """

    form: str
    report: bytes
    certificates: tuple[GivenCertificate, ...] = ()
    hcl: HclBinding | None = None
    notes: tuple[str, ...] = ()
