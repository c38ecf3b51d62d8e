"""An authority of AMD's shape: every certificate, list and report of it can be bent, and is signed anew.

It writes DER of its own, since the usual builders refuse what AMD does (serial number 0) and what a test
needs (an extension that is missing, a name that is not AMD's).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sevbuild.attest.product import Product, Tcb, product_named

__all__ = ["AT", "Authority", "Draft", "Extensions", "amd", "authority", "names", "pem", "tlv"]

AT = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
"""A time at which everything here is valid unless it is bent."""
CHIP = bytes(range(1, 65))
PSS_SHA384 = bytes.fromhex(
    "304106092a864886f70d01010a3034a00f300d06096086480165030402020500"
    "a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130"
)
_KINDS = {"CN": "2.5.4.3", "C": "2.5.4.6", "L": "2.5.4.7", "ST": "2.5.4.8", "O": "2.5.4.10", "OU": "2.5.4.11"}
_SPLS = {"boot_loader": 1, "tee": 2, "snp": 3, "microcode": 8, "fmc": 9}

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Names = tuple[tuple[str, str], ...]
Extensions = Mapping[str, tuple[bool, bytes]]


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return one element of DER."""
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    count = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | count]) + size.to_bytes(count, "big") + body


def integer(number: int) -> bytes:
    """Return a whole number that is not negative."""
    return tlv(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def oid(text: str) -> bytes:
    """Return an object identifier."""
    first, second, *rest = map(int, text.split("."))
    body = b""
    for number in (40 * first + second, *rest):
        septets = [number & 0x7F]
        while number := number >> 7:
            septets.insert(0, number & 0x7F | 0x80)
        body += bytes(septets)
    return tlv(0x06, body)


def names(parts: Names) -> bytes:
    """Return a distinguished name."""
    return tlv(
        0x30,
        *(
            tlv(
                0x31,
                tlv(0x30, oid(_KINDS.get(kind, kind)), tlv(0x13 if kind == "C" else 0x0C, text.encode())),
            )
            for kind, text in parts
        ),
    )


def amd(common: str) -> Names:
    """Return a name as AMD's certificates have it."""
    return (
        ("OU", "Engineering"),
        ("C", "US"),
        ("L", "Santa Clara"),
        ("ST", "CA"),
        ("O", "Advanced Micro Devices"),
        ("CN", common),
    )


def moment(at: datetime) -> bytes:
    """Return a time, in the form that RFC 5280 has for its year."""
    if 1950 <= at.year < 2050:
        return tlv(0x17, at.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").encode())


def extensions(found: Extensions) -> bytes:
    """Return extensions; what is critical says so."""
    return tlv(
        0x30,
        *(
            tlv(0x30, oid(number), b"\x01\x01\xff" if critical else b"", tlv(0x04, value))
            for number, (critical, value) in found.items()
        ),
    )


def pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    """Return DER as PEM."""
    import base64

    body = base64.encodebytes(der)
    return f"-----BEGIN {label}-----\n".encode() + body + f"-----END {label}-----\n".encode()


class Draft(NamedTuple):
    """One certificate before it is signed; `_replace` bends it, `der` signs what it is by then."""

    subject: Names
    issuer: Names
    public_key: bytes
    signed_by: Key
    extensions: Extensions
    serial: int = 0
    not_before: datetime = datetime(2025, 1, 1, tzinfo=timezone.utc)
    not_after: datetime = datetime(2032, 1, 1, tzinfo=timezone.utc)
    algorithm: bytes = PSS_SHA384
    version: int = 2

    @property
    def der(self) -> bytes:
        """The certificate."""
        signed = tlv(
            0x30,
            tlv(0xA0, integer(self.version)),
            integer(self.serial),
            self.algorithm,
            names(self.issuer),
            tlv(0x30, moment(self.not_before), moment(self.not_after)),
            names(self.subject),
            self.public_key,
            tlv(0xA3, extensions(self.extensions)),
        )
        return sealed(signed, self.algorithm, self.signed_by)

    def without(self, *numbers: str) -> Draft:
        """Return the certificate without these extensions."""
        return self._replace(extensions={n: v for n, v in self.extensions.items() if n not in numbers})

    def having(self, number: str, value: bytes, *, critical: bool = False) -> Draft:
        """Return the certificate with an extension in place of the one of this number."""
        return self._replace(extensions={**self.extensions, number: (critical, value)})


def sealed(signed: bytes, algorithm: bytes, key: Key) -> bytes:
    """Return signed bytes with their signature."""
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed, PSS(MGF1(SHA384()), salt_length=48), SHA384())
    else:
        signature = key.sign(signed, ec.ECDSA(SHA384()))
    return tlv(0x30, signed, algorithm, tlv(0x03, b"\0", signature))


def public(key: Key) -> bytes:
    """Return a public key as certificates have it."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Authority:
    """Keys and certificates of one product, and reports that its keys sign."""

    def __init__(self, product: Product, chip: bytes, tcb: Tcb) -> None:
        self.product = product
        self.chip = chip
        self.tcb = tcb
        self._root, self._ask, self._asvk = (rsa.generate_private_key(65537, 2048) for _ in range(3))
        self.vek_key = ec.generate_private_key(ec.SECP384R1())

    @property
    def ark(self) -> Draft:
        """The root's certificate."""
        name = amd(f"ARK-{self.product.name}")
        usage: Extensions = {
            "2.5.29.15": (True, tlv(3, b"\x01\x06")),
            "2.5.29.19": (True, tlv(0x30, b"\x01\x01\xff")),
        }
        return self._above(name, self._root, usage, 0x10000)

    @property
    def ask(self) -> Draft:
        """The certificate above VCEKs."""
        return self._between(f"SEV-{self.product.name}", self._ask, 0x10001)

    @property
    def asvk(self) -> Draft:
        """The certificate above VLEKs."""
        return self._between(f"SEV-VLEK-{self.product.name}", self._asvk, 0x10101)

    @property
    def vcek(self) -> Draft:
        """The certificate of the chip's key."""
        return self._vek("VCEK", amd(f"SEV-{self.product.name}"), self._ask).having(f"{ARC}.4", self.chip)

    @property
    def vlek(self) -> Draft:
        """The certificate of a provider's key, which is the same key here."""
        return self._vek("VLEK", amd(f"SEV-VLEK-{self.product.name}"), self._asvk).having(
            f"{ARC}.5", tlv(0x16, b"CN=cc-nowhere-1.example")
        )

    def crl(self, revoked: Mapping[int, datetime] | None = None, **bent: Any) -> bytes:
        """Return the root's list; issuer, this_update, next_update, extensions, entry and key bend it."""
        next_update = bent.get("next_update", AT + timedelta(days=30))
        more = extensions(bent["entry"]) if "entry" in bent else b""
        entries = [
            tlv(0x30, integer(serial), moment(since), more) for serial, since in (revoked or {}).items()
        ]
        found = bent.get("extensions", {"2.5.29.20": (False, integer(1))})
        signed = tlv(
            0x30,
            integer(bent.get("version", 1)),
            PSS_SHA384,
            names(bent.get("issuer", amd(f"ARK-{self.product.name}"))),
            moment(bent.get("this_update", AT - timedelta(days=30))),
            b"" if next_update is None else moment(next_update),
            tlv(0x30, *entries) if entries else b"",
            tlv(0xA0, extensions(found)) if found else b"",
        )
        return sealed(signed, PSS_SHA384, bent.get("key", self._root))

    def report(self, **fields: bytes | int) -> bytes:
        """Return a report that the VEK's key has signed, with the ABI's fields in lower case as given."""
        family, model, _last = self.product.models[0]
        version = self.version()
        values: dict[str, bytes | int] = {
            "version": 3,
            "policy": 0x30000,
            "signature_algo": 1,
            "current_tcb": version,
            "reported_tcb": version,
            "committed_tcb": version,
            "launch_tcb": version,
            "report_data": b"",
            "measurement": bytes(range(48)),
            "cpuid_fam_id": family,
            "cpuid_mod_id": model,
            "cpuid_step": 1,
            "chip_id": self.chip.ljust(64, b"\0"),
            "current_version": bytes((40, 55, 1)),
            "committed_version": bytes((40, 55, 1)),
            **fields,
        }
        raw = bytearray(0x4A0)
        for name, value in values.items():
            at, size = FIELDS[name]
            data = value.to_bytes(size, "little") if isinstance(value, int) else value.ljust(size, b"\0")
            raw[at : at + size] = data
        return self.signed(raw)

    def signed(self, raw: bytes | bytearray) -> bytes:
        """Return a report signed anew by the VEK's key."""
        body = bytes(raw[:0x2A0])
        pair = decode_dss_signature(self.vek_key.sign(body, ec.ECDSA(SHA384())))
        return (body + b"".join(number.to_bytes(72, "little") for number in pair)).ljust(0x4A0, b"\0")

    def version(self) -> int:
        """Return the TCB as a u64."""
        return sum(getattr(self.tcb, part) << 8 * at for part, at in self.product.parts)

    def _above(self, subject: Names, key: rsa.RSAPrivateKey, found: Extensions, serial: int) -> Draft:
        return Draft(
            subject,
            amd(f"ARK-{self.product.name}"),
            public(key),
            self._root,
            found,
            serial,
            datetime(2020, 1, 1, tzinfo=timezone.utc),
            datetime(2045, 1, 1, tzinfo=timezone.utc),
        )

    def _between(self, common: str, key: rsa.RSAPrivateKey, serial: int) -> Draft:
        usage: Extensions = {
            "2.5.29.15": (True, tlv(3, b"\x02\x04")),
            "2.5.29.19": (True, tlv(0x30, b"\x01\x01\xff\x02\x01\0")),
        }
        return self._above(amd(common), key, usage, serial)

    def _vek(self, kind: str, issuer: Names, key: rsa.RSAPrivateKey) -> Draft:
        has_fmc = self.tcb.fmc is not None
        found = {
            f"{ARC}.1": (False, integer(int(has_fmc))),
            f"{ARC}.2": (False, tlv(0x16, self.product.name.encode())),
        }
        for part, number in self.tcb._asdict().items():
            if number is not None:
                found[f"{ARC}.3.{_SPLS[part]}"] = (False, integer(number))
        for reserved in range(5 if has_fmc else 4, 8):
            found[f"{ARC}.3.{reserved}"] = (False, integer(0))
        return Draft(amd(f"SEV-{kind}"), issuer, public(self.vek_key), key, found)


ARC = "1.3.6.1.4.1.3704.1"
FIELDS = {
    "version": (0x00, 4),
    "guest_svn": (0x04, 4),
    "policy": (0x08, 8),
    "family_id": (0x10, 16),
    "image_id": (0x20, 16),
    "vmpl": (0x30, 4),
    "signature_algo": (0x34, 4),
    "current_tcb": (0x38, 8),
    "platform_info": (0x40, 8),
    "key_info": (0x48, 4),
    "report_data": (0x50, 64),
    "measurement": (0x90, 48),
    "host_data": (0xC0, 32),
    "id_key_digest": (0xE0, 48),
    "author_key_digest": (0x110, 48),
    "report_id": (0x140, 32),
    "report_id_ma": (0x160, 32),
    "reported_tcb": (0x180, 8),
    "cpuid_fam_id": (0x188, 1),
    "cpuid_mod_id": (0x189, 1),
    "cpuid_step": (0x18A, 1),
    "chip_id": (0x1A0, 64),
    "committed_tcb": (0x1E0, 8),
    "current_version": (0x1E8, 3),
    "committed_version": (0x1EC, 3),
    "launch_tcb": (0x1F0, 8),
    "launch_mit_vector": (0x1F8, 8),
    "current_mit_vector": (0x200, 8),
}
"""Offset and size of each field of a report (SNP ABI 56860, table 23)."""


@cache
def authority(product: str = "Milan", which: int = 0) -> Authority:
    """Return an authority for a product, made once; another `which` has other keys and another chip."""
    known = product_named(product)
    chip = bytes((at + 7 * which) % 256 for at in range(1, known.hwid_size + 1))
    return Authority(known, chip, Tcb(4, 0, 24, 219, 1 if known.hwid_size == 8 else None))
