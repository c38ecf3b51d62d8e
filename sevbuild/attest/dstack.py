"""An attestation of dstack, alone or within JSON: version 0 is SCALE, version 1 MessagePack.

Source: dstack-attest, src/attestation.rs and src/v1.rs.
"""

from __future__ import annotations

from sevbuild.attest.byte_reader import ByteReader
from sevbuild.attest.given import Evidence, GivenCertificate
from sevbuild.attest.json_bytes import hex_at, listed, listed_at
from sevbuild.attest.message_pack import decode_message_pack
from sevbuild.documents.json_input import JsonDocument
from sevbuild.documents.json_reader import Reader
from sevbuild.errors import SevbuildError

__all__ = ["decode_attestation", "dstack_of_json"]

_SNP = b"\0\x03"
"""Version 0 of an attestation, and in it the fourth kind of quote: AMD SEV-SNP."""
_VERSION_KEY = b"\xa7version"
"""The first key of version 1, behind one byte that says how many there are."""
_UNREAD = "configuration and event log of the guest: not read"
_MOST_CERTIFICATES = 16
_MORE = (0, 1, 3)
"""How many more bytes a size has, by the mode in its first."""


def dstack_of_json(table: Reader, source: str) -> Evidence:
    """Return the evidence of the JSON that dstack's verifier takes: the same in hexadecimal."""
    data = hex_at(table, "attestation")
    table.document.raise_faults()
    return decode_attestation(data, f"{source}: attestation")


def decode_attestation(data: bytes, source: str) -> Evidence:
    """Return the report and the certificates beside it.

    What follows them (configuration, event log) is not read. Raises SevbuildError for another
    kind of quote, and for sizes that do not fit.
    """
    if data[1:9] == _VERSION_KEY:
        return _version_1(data, source)
    if data[:2] != _SNP:
        raise SevbuildError(f"{source}: no attestation of dstack with a quote of AMD SEV-SNP")
    reader = _Reader(data, source, len(_SNP))
    report = reader.sized()
    count = reader.size()
    _check_count(count, source)
    found = tuple(GivenCertificate(f"{source}: cert_chain[{at}]", reader.sized()) for at in range(count))
    return Evidence("dstack", report, found, None, (f"{source}: {_UNREAD}",))


def _version_1(data: bytes, source: str) -> Evidence:
    document = JsonDocument(source)
    value = decode_message_pack(data, source)
    table = Reader(document, value if isinstance(value, dict) else {})
    table.integer("version", 1, 1)
    platform = table.section("platform")
    kind = platform.string("kind")
    if kind != "sev-snp":
        platform.fault("kind", f"must be sev-snp, got {kind[:40]!r}")
    document.raise_faults()
    inner = platform.section("data")
    report, chain = listed_at(inner, "report"), inner.any("cert_chain")
    if not isinstance(chain, list):
        inner.fault("cert_chain", "must be a list")
        chain = []
    _check_count(len(chain), source)
    found = [
        GivenCertificate(
            f"{source}: cert_chain[{at}]", listed(document, f"{inner.at('cert_chain')}[{at}]", one)
        )
        for at, one in enumerate(chain)
    ]
    document.raise_faults()
    return Evidence("dstack", report, tuple(found), None, (f"{source}: {_UNREAD}",))


def _check_count(count: int, source: str) -> None:
    if count > _MOST_CERTIFICATES:
        raise SevbuildError(f"{source}: {count} certificates, where {_MOST_CERTIFICATES} are the most")


class _Reader(ByteReader):
    """SCALE: sizes in their compact form, bytes behind them (docs.polkadot.com, SCALE codec)."""

    def sized(self) -> bytes:
        """Return the next bytes that have their size before them."""
        return self.take(self.size())

    def size(self) -> int:
        """Return the next size: how many bytes it has stand in its two lowest bits."""
        first = self.take(1)
        mode = first[0] & 3
        if mode == len(_MORE):
            raise self.fault("a size is greater than any that fits")
        return int.from_bytes(first + self.take(_MORE[mode]), "little") >> 2
