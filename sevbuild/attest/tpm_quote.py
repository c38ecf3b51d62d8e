"""A quote of a TPM 2.0: what it signs of its PCRs (TPM 2.0 part 2, 10.12.8 TPMS_ATTEST)."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from sevbuild.attest.byte_reader import ByteReader
from sevbuild.documents.binary_text import base64_bytes, hex_bytes
from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["NONCE_LIMIT", "TpmQuote", "decode_quote", "parse_nonce"]

_MAGIC = 0xFF544347
_ATTEST_QUOTE = 0x8018
_SHA256 = 0x000B
_MOST_BITS = 8192
NONCE_LIMIT = 64
"""The bytes of the longest nonce that a quote takes (TPM 2.0 part 2, 10.4.3 TPM2B_DATA, with SHA-512)."""


class TpmQuote(NamedTuple):
    """A quote: the bytes signed, their signature (RSASSA with SHA-256), and the PCRs that it is said of.

    `extra_data` is what the caller gave it (a nonce), `selected` are the numbers of the PCRs in the bank of
    SHA-256, `pcr_digest` is over them.
    """

    message: bytes
    signature: bytes
    pcrs: tuple[bytes, ...]
    extra_data: bytes
    selected: tuple[int, ...]
    pcr_digest: bytes

    def key_of(self, jwk: dict[str, Any]) -> RSAPublicKey:
        """Return the RSA key of a JWK (RFC 7517); raises SevbuildError where it is none."""
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

        parts = [base64_bytes(jwk[part]) if isinstance(jwk.get(part), str) else None for part in ("e", "n")]
        e, n = (int.from_bytes(part or b"", "big") for part in parts)
        if jwk.get("kty") != "RSA" or not 2048 <= n.bit_length() <= _MOST_BITS or e != 65537 or not n & 1:
            raise SevbuildError("the TPM's key is no RSA key of 2048 bits or more with the exponent 65537")
        return RSAPublicNumbers(e, n).public_key()

    def refusal(self, key: RSAPublicKey) -> str:
        """Return why this is no quote by the owner of the key of these PCRs, empty where it is."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            key.verify(self.signature, self.message, PKCS1v15(), SHA256())
        except InvalidSignature:
            return "the quote was not signed by the TPM's key in the runtime data"
        if not self.selected:
            return "the quote is of no PCR"
        if max(self.selected) >= len(self.pcrs):
            return f"the quote is of PCR {max(self.selected)}, where {len(self.pcrs)} are given"
        values = b"".join(self.pcrs[number] for number in self.selected)
        if sha256(values).digest() != self.pcr_digest:
            return "the quote is of other PCR values than those given"
        return ""


def parse_nonce(text: str) -> bytes:
    """Return a nonce that is written in hexadecimal digits; raises SevbuildError for anything else."""
    nonce = hex_bytes(text)
    if nonce is None or len(nonce) > NONCE_LIMIT:
        raise SevbuildError(
            f"must be 1 to {NONCE_LIMIT} bytes in hexadecimal digits, got {text[: 2 * NONCE_LIMIT + 3]!r}"
        )
    return nonce


def decode_quote(message: bytes, signature: bytes, pcrs: tuple[bytes, ...], source: str) -> TpmQuote:
    """Return a quote; raises SevbuildError where the bytes are no TPMS_ATTEST of one."""
    reader = ByteReader(message, source)
    if reader.number(4) != _MAGIC or reader.number(2) != _ATTEST_QUOTE:
        raise SevbuildError(f"{source}: no quote of a TPM")
    _sized(reader)
    extra_data = _sized(reader)
    # Clock, reset and restart counts, whether it is safe; firmware version.
    reader.take(8 + 4 + 4 + 1 + 8)
    if (reader.number(4), reader.number(2)) != (1, _SHA256):
        raise SevbuildError(f"{source}: the quote is not of the bank of SHA-256 alone")
    bits = reader.take(reader.number(1))
    selected = tuple(at for at in range(8 * len(bits)) if bits[at // 8] >> at % 8 & 1)
    digest = _sized(reader)
    reader.finish()
    return TpmQuote(message, signature, pcrs, extra_data, selected, digest)


def _sized(reader: ByteReader) -> bytes:
    """Return the next bytes that have their size before them (TPM2B)."""
    return reader.take(reader.number(2))
