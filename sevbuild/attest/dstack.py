"""An attestation of dstack: SCALE (dstack-attest, src/attestation.rs), alone or within JSON."""

from __future__ import annotations

from sevbuild.attest.given import Evidence, GivenCertificate
from sevbuild.attest.json_bytes import hex_at
from sevbuild.documents.json_reader import Reader
from sevbuild.errors import SevbuildError

__all__ = ["decode_attestation", "dstack_of_json"]

_SNP = b"\0\x03"
"""Version 0 of an attestation, and in it the fourth kind of quote: AMD SEV-SNP."""
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
    if data[:2] != _SNP:
        raise SevbuildError(f"{source}: no attestation of dstack with a quote of AMD SEV-SNP")
    reader = _Reader(data, source)
    report = reader.sized()
    count = reader.size()
    if count > _MOST_CERTIFICATES:
        raise SevbuildError(f"{source}: {count} certificates, where {_MOST_CERTIFICATES} are the most")
    found = tuple(GivenCertificate(f"{source}: cert_chain[{at}]", reader.sized()) for at in range(count))
    rest = len(data) - reader.at
    note = f"{source}: configuration and event log of the guest, {rest} bytes: not read"
    return Evidence("dstack", report, found, None, (note,))


class _Reader:
    """SCALE: sizes in their compact form, bytes behind them (docs.polkadot.com, SCALE codec)."""

    def __init__(self, data: bytes, source: str) -> None:
        self.data, self.source, self.at = data, source, len(_SNP)

    def sized(self) -> bytes:
        """Return the next bytes that have their size before them."""
        return self._take(self.size())

    def size(self) -> int:
        """Return the next size: how many bytes it has stand in its two lowest bits."""
        first = self._take(1)
        mode = first[0] & 3
        if mode == len(_MORE):
            raise SevbuildError(f"{self.source}: a size is greater than any that fits")
        return int.from_bytes(first + self._take(_MORE[mode]), "little") >> 2

    def _take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise SevbuildError(f"{self.source}: it ends early")
        self.at += size
        return self.data[self.at - size : self.at]
