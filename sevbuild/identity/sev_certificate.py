"""Certificates of SEV and SEV-ES platforms, in AMD's two binary forms (SEV API, appendix C)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import KEY_SIZE, NUMBER_SIZE, EcdsaSignature, P384PublicKey
from sevbuild.identity.rsa import MODULUS_BITS, RsaPublicKey
from sevbuild.text import counted

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = [
    "CERTIFICATE_SIZE",
    "ECDH_SHA256",
    "PDH",
    "USAGES",
    "AmdCertificate",
    "SevCertificate",
    "SignatureSlot",
    "certificates_in",
    "curve_key",
]

CERTIFICATE_SIZE = 2084
"""The bytes of a certificate of the platform."""

USAGES = {0x1001: "OCA", 0x1002: "PEK", 0x1003: "PDH", 0x1004: "CEK"}
"""What the key of a platform's certificate is for (SEV API table 114)."""
AMD_USAGES = {0x0000: "ARK", 0x0013: "ASK"}
"""The same of AMD's own."""
PDH = 0x1003
ECDH_SHA256 = 3

_NAMES = {**USAGES, **AMD_USAGES}
_NO_USAGE = 0x1000
_VERSION = 1
_RSA_SHA256, _ECDSA_SHA256, _RSA_SHA384, _ECDSA_SHA384, _ECDH_SHA384 = 0x001, 0x002, 0x101, 0x102, 0x103
_RSA = (_RSA_SHA256, _RSA_SHA384)
_ECDSA = (_ECDSA_SHA256, _ECDSA_SHA384)
_ECDH = (ECDH_SHA256, _ECDH_SHA384)

_HEAD = Struct("<IBBHII")
_SLOT = Struct("<II512s")
_BODY_SIZE = _HEAD.size + KEY_SIZE
_AMD_HEAD = Struct("<I16s16sI16sII")
_RSA_FIELD = 512


def _digest(algorithm: int) -> HashAlgorithm:
    """Return what an algorithm hashes with: its second byte says so."""
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384

    return SHA384() if algorithm & 0x100 else SHA256()


class SignatureSlot(NamedTuple):
    """One of the two signatures of a certificate: who signed, how, and the 512-byte field."""

    usage: int
    algorithm: int
    field: bytes

    @property
    def empty(self) -> bool:
        """Tell whether nobody is said to have signed here."""
        return self.algorithm == 0 and self.usage in (_NO_USAGE, 0)


class AmdCertificate(NamedTuple):
    """An ARK or ASK: AMD's root key and the key that it signs chips with.

    `signature` is empty in the file that AMD once published for Naples, whose ARK ends before it
    (AMDESE/AMDSEV#17).
    """

    raw: bytes
    usage: int
    key_id: bytes
    signer_id: bytes
    key: RsaPublicKey
    signature: bytes

    @classmethod
    def decode(cls, raw: bytes, name: str) -> AmdCertificate:
        """Return a certificate of 832 or 1600 bytes; raises SevbuildError for anything else."""
        if len(raw) < _AMD_HEAD.size:
            raise SevbuildError(f"{name}: {counted(len(raw), 'byte')}, where a certificate of AMD's has more")
        version, key_id, signer_id, usage, reserved, exponent_bits, bits = _AMD_HEAD.unpack_from(raw)
        if version != _VERSION or usage not in AMD_USAGES or any(reserved):
            raise SevbuildError(f"{name}: not a certificate of AMD's in SEV's form")
        if bits != exponent_bits or bits not in MODULUS_BITS:
            raise SevbuildError(f"{name}: an RSA key of {bits} bits, where 2048 or 4096 are known")
        size = bits // 8
        end = _AMD_HEAD.size + 2 * size
        if len(raw) not in (end, end + size):
            raise SevbuildError(f"{name}: {len(raw)} bytes, where an {AMD_USAGES[usage]} has {end + size}")
        key = RsaPublicKey.decode(bits, raw[_AMD_HEAD.size : end - size], raw[end - size : end], name)
        return cls(raw, usage, key_id, signer_id, key, raw[end:])

    @property
    def title(self) -> str:
        """Return ARK or ASK."""
        return AMD_USAGES[self.usage]

    @property
    def body(self) -> bytes:
        """Return the bytes that are signed."""
        return self.raw[: len(self.raw) - len(self.signature)]

    @property
    def signers(self) -> list[str]:
        """Return whose signature it has: the ARK's, or nobody's."""
        return ["ARK"] if self.signature else []

    @property
    def algorithm(self) -> int:
        """Return how its key signs: what hashes is told by the key's size (Naples SHA-256, later SHA-384)."""
        return _RSA_SHA256 if self.key.bits == MODULUS_BITS[0] else _RSA_SHA384

    def signed(self, certificate: AmdCertificate | SevCertificate) -> bool:
        """Tell whether the owner of this certificate's key signed another one."""
        digest = _digest(self.algorithm)
        if isinstance(certificate, AmdCertificate):
            named = certificate.signer_id == self.key_id and certificate.algorithm == self.algorithm
            return named and self.key.verifies(certificate.signature, certificate.body, digest)
        return any(
            (slot.usage, slot.algorithm) == (self.usage, self.algorithm)
            and self.key.verifies(slot.field, certificate.body, digest)
            for slot in certificate.signatures
        )


class SevCertificate(NamedTuple):
    """A certificate of a platform: PDH, PEK, OCA or CEK, with up to two signatures.

    `api` is the version of the firmware that wrote it. A guest owner's half of a session is one, too.
    """

    raw: bytes
    api: tuple[int, int]
    usage: int
    algorithm: int
    key: P384PublicKey | RsaPublicKey
    signatures: tuple[SignatureSlot, SignatureSlot]

    @classmethod
    def decode(cls, raw: bytes, name: str) -> SevCertificate:
        """Return a certificate of CERTIFICATE_SIZE bytes; raises SevbuildError for anything else.

        Bytes that no signature covers must be zero: two files of one certificate would be two things else.
        Those beside the key are signed and may be anything: what `sevctl generate` (0.6.2) makes has some.
        """
        if len(raw) != CERTIFICATE_SIZE:
            raise SevbuildError(f"{name}: {len(raw)} bytes, where a certificate has {CERTIFICATE_SIZE}")
        version, major, minor, reserved, usage, algorithm = _HEAD.unpack_from(raw)
        if version != _VERSION or reserved or usage not in USAGES:
            raise SevbuildError(f"{name}: not a certificate of an SEV platform")
        title = USAGES[usage]
        known = _ECDH if usage == PDH else (*_ECDSA, *_RSA) if title == "OCA" else _ECDSA
        if algorithm not in known:
            raise SevbuildError(f"{name}: a {title} with a key of algorithm {algorithm:#x}")
        field = raw[_HEAD.size : _BODY_SIZE]
        key = _rsa_key(field, name) if algorithm in _RSA else curve_key(field, name)
        slots = tuple(SignatureSlot(*_SLOT.unpack_from(raw, _BODY_SIZE + at * _SLOT.size)) for at in range(2))
        for slot in slots:
            _check_slot(slot, f"{name}: {title}")
        return cls(raw, (major, minor), usage, algorithm, key, (slots[0], slots[1]))

    @classmethod
    def owner_key(cls, key: P384PublicKey) -> SevCertificate:
        """Return the certificate in which a guest owner hands over one half of a key agreement.

        It is that of a PDH without a signature, as LAUNCH_START takes it (SEV API 6.2.1).
        """
        body = _HEAD.pack(_VERSION, 0, 0, 0, PDH, ECDH_SHA256) + key.encode()
        return cls.decode(body + 2 * _SLOT.pack(_NO_USAGE, 0, b""), "the guest owner's key")

    @property
    def title(self) -> str:
        """Return PDH, PEK, OCA or CEK."""
        return USAGES[self.usage]

    @property
    def body(self) -> bytes:
        """Return the bytes that are signed."""
        return self.raw[:_BODY_SIZE]

    @property
    def signers(self) -> list[str]:
        """Return whose signatures it says it has."""
        return [_NAMES[slot.usage] for slot in self.signatures if not slot.empty]

    def signed(self, certificate: SevCertificate) -> bool:
        """Tell whether the owner of this certificate's key signed another one."""
        for slot in certificate.signatures:
            if (slot.usage, slot.algorithm) != (self.usage, self.algorithm):
                continue
            if isinstance(self.key, RsaPublicKey):
                holds = self.key.verifies(slot.field, certificate.body, _digest(self.algorithm))
            else:
                signature = EcdsaSignature.decode(slot.field, certificate.title)
                key = self.key.public_key(self.title)
                holds = signature.verifies(certificate.body, key, _digest(self.algorithm))
            if holds:
                return True
        return False


def certificates_in(data: bytes, name: str) -> Iterator[AmdCertificate | SevCertificate]:
    """Yield the certificates that stand one after the other in a file.

    `sevctl export` writes PDH, PEK, OCA and CEK so, and with `--full` ASK and ARK; the host's cert_chain is
    PEK, OCA and CEK, AMD's ask_ark is the other two. Raises SevbuildError for bytes that are none.
    """
    if not data:
        raise SevbuildError(f"{name}: empty")
    at = 0
    while at < len(data):
        size = _size_at(data, at)
        shown = name if size >= len(data) else f"{name}, byte {at}"
        piece = data[at : at + size]
        yield (AmdCertificate if _is_amd(piece) else SevCertificate).decode(piece, shown)
        at += size


def curve_key(field: bytes, name: str) -> P384PublicKey:
    """Return the P-384 key in the KEY_SIZE bytes of a certificate; those behind the key are not looked at."""
    used = field[: 4 + 2 * NUMBER_SIZE]
    return P384PublicKey.decode(used.ljust(KEY_SIZE, b"\0"), name)


def _is_amd(data: bytes) -> bool:
    """Tell whether bytes are meant as a certificate of AMD's: the two forms differ in where the usage is."""
    return len(data) < _AMD_HEAD.size or _HEAD.unpack_from(data)[4] not in USAGES


def _size_at(data: bytes, at: int) -> int:
    """Return how many bytes the certificate at an offset takes; all that is left where that is not told."""
    head = data[at : at + _AMD_HEAD.size]
    if not _is_amd(head):
        return CERTIFICATE_SIZE
    left = len(data) - at
    if len(head) < _AMD_HEAD.size:
        return left
    size = 3 * (_AMD_HEAD.unpack(head)[6] // 8)
    return min(left, _AMD_HEAD.size + size) if size else left


def _rsa_key(field: bytes, name: str) -> RsaPublicKey:
    """Return the key in a field of KEY_SIZE bytes: bits (u32), exponent and modulus of 512 bytes each."""
    bits = int.from_bytes(field[:4], "little")
    return RsaPublicKey.decode(bits, field[4 : 4 + _RSA_FIELD], field[4 + _RSA_FIELD :], name)


def _check_slot(slot: SignatureSlot, name: str) -> None:
    if slot.empty:
        if any(slot.field):
            raise SevbuildError(f"{name}: bytes of a signature that nobody is said to have made")
        return
    if slot.usage not in _NAMES or slot.algorithm not in (*_RSA, *_ECDSA):
        raise SevbuildError(f"{name}: a signature by {slot.usage:#x} with algorithm {slot.algorithm:#x}")
    if slot.algorithm in _ECDSA:
        EcdsaSignature.decode(slot.field, name)
