"""The attestation report: 1,184 bytes that the secure processor signs for a running guest."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, NamedTuple

from sevbuild.attest.product import Product, product_of
from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import COORDINATE_SIZE, NUMBER_SIZE, EcdsaSignature

__all__ = [
    "NEWEST_VERSION",
    "OLDEST_VERSION",
    "REPORT_SIZE",
    "SIGNATURE_OFFSET",
    "SIGNING_KEYS",
    "FirmwareVersion",
    "Report",
    "decode_report",
    "encode_report",
    "reserved_set",
]

REPORT_SIZE = 0x4A0
"""The bytes of a report of every version (SNP ABI 56860, table 23)."""
SIGNATURE_OFFSET = 0x2A0
"""Where the signature begins, which is over every byte before it."""
OLDEST_VERSION = 2
NEWEST_VERSION = 5
"""The versions whose fields are known; 4 has those of 3."""
SIGNING_KEYS = {0: "VCEK", 1: "VLEK", 7: "none"}
"""What SIGNING_KEY says of the key that signed (SNP ABI table 23); other numbers are reserved."""

_FMS_VERSION = 3
_MITIGATIONS_VERSION = 5

# SNP ABI 56860, table 23, up to the signature. Every version has this layout: what an older one calls
# reserved, a newer one uses. Versions are (build, minor, major) and one reserved byte.
_LAYOUT = Struct("<IIQ16s16sIIQQII64s48s32s48s48s32s32sQBBB21s64sQ3sB3sBQQQ152s")
_FIELDS = (
    "version",
    "guest_svn",
    "policy",
    "family_id",
    "image_id",
    "vmpl",
    "signature_algo",
    "current_tcb",
    "platform_info",
    "key_info",
    "reserved_4c",
    "report_data",
    "measurement",
    "host_data",
    "id_key_digest",
    "author_key_digest",
    "report_id",
    "report_id_ma",
    "reported_tcb",
    "cpuid_fam_id",
    "cpuid_mod_id",
    "cpuid_step",
    "reserved_18b",
    "chip_id",
    "committed_tcb",
    "current_version",
    "reserved_1eb",
    "committed_version",
    "reserved_1ef",
    "launch_tcb",
    "launch_mit_vector",
    "current_mit_vector",
    "reserved_208",
)
# KEY_INFO, table 23: the bits of the u32 at 0x48.
_AUTHOR_KEY_EN = 1 << 0
_MASK_CHIP_KEY = 1 << 1
_SIGNING_KEY_SHIFT = 2
_SIGNING_KEY_MASK = 7
_KEY_INFO_RESERVED = ~0x1F


class FirmwareVersion(NamedTuple):
    """A version of the SNP firmware; a later one is greater."""

    major: int
    minor: int
    build: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.build}"


class Report(NamedTuple):
    """A report, its fields by their ABI names.

    Numbers are as they stand: what a TCB (u64) says depends on the product (`Product.tcb`), `platform_info`
    has bits (`attest/platform_info.py`). A field that the report's version does not have is None. Nothing
    here says that the report is genuine.
    """

    raw: bytes
    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    signature_algo: int
    current_tcb: int
    platform_info: int
    author_key_en: bool
    mask_chip_key: bool
    signing_key: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: int
    cpuid_fam_id: int | None
    cpuid_mod_id: int | None
    cpuid_step: int | None
    chip_id: bytes
    committed_tcb: int
    current_version: FirmwareVersion
    committed_version: FirmwareVersion
    launch_tcb: int
    launch_mit_vector: int | None
    current_mit_vector: int | None
    signature: EcdsaSignature

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        return self.raw[:SIGNATURE_OFFSET]

    @property
    def product(self) -> Product | None:
        """The product by family and model; None where the version does not say, or no product is known."""
        if self.cpuid_fam_id is None or self.cpuid_mod_id is None:
            return None
        return product_of(self.cpuid_fam_id, self.cpuid_mod_id)


def decode_report(raw: bytes, source: str, *, allow_unknown_version: bool = False) -> Report:
    """Return the fields of a report of REPORT_SIZE bytes.

    Raises SevbuildError for another size, for bytes that are set where no signature covers them (beside the
    two numbers of the signature, and behind it), and for a version that is not known. Newer versions than
    NEWEST_VERSION are read as that one where they are allowed.
    """
    if len(raw) != REPORT_SIZE:
        raise SevbuildError(f"{source}: a report is {REPORT_SIZE} bytes, not {len(raw)}")
    found = dict(zip(_FIELDS, _LAYOUT.unpack_from(raw), strict=True))
    version, key_info = found["version"], found.pop("key_info")
    _check_version(version, source, allow_unknown=allow_unknown_version)
    _check_unsigned(raw, source)
    for name in [name for name in found if name.startswith("reserved_")]:
        del found[name]
    for name in ("cpuid_fam_id", "cpuid_mod_id", "cpuid_step"):
        found[name] = found[name] if version >= _FMS_VERSION else None
    for name in ("launch_mit_vector", "current_mit_vector"):
        found[name] = found[name] if version >= _MITIGATIONS_VERSION else None
    for name in ("current_version", "committed_version"):
        found[name] = FirmwareVersion(*reversed(found[name]))
    return Report(
        raw=raw,
        author_key_en=bool(key_info & _AUTHOR_KEY_EN),
        mask_chip_key=bool(key_info & _MASK_CHIP_KEY),
        signing_key=key_info >> _SIGNING_KEY_SHIFT & _SIGNING_KEY_MASK,
        signature=EcdsaSignature.of_numbers(raw[SIGNATURE_OFFSET:]),
        **found,
    )


def encode_report(fields: Mapping[str, Any], signature: bytes) -> bytes:
    """Return the bytes of a report from its fields, as `Report` has them, and r and s of 72 bytes each.

    `key_info` stands for its three parts; fields that are absent or None, and reserved ones, are zero.
    """
    values = []
    for name, empty in zip(_FIELDS, _LAYOUT.unpack(bytes(SIGNATURE_OFFSET)), strict=True):
        value = fields.get(name)
        if isinstance(value, FirmwareVersion):
            value = bytes(reversed(value))
        values.append(empty if value is None else value)
    return (_LAYOUT.pack(*values) + signature).ljust(REPORT_SIZE, b"\0")


def reserved_set(report: Report, product: Product | None) -> list[str]:
    """Return which reserved bytes and bits are set that the signature covers, each by field or offset.

    The firmware writes zeros there. `product` tells which bytes of a TCB are reserved; without it none is.
    """
    found = dict(zip(_FIELDS, _LAYOUT.unpack_from(report.raw), strict=True))
    set_there = []
    if found["key_info"] & _KEY_INFO_RESERVED:
        set_there.append("KEY_INFO bits 31:5")
    for first, last in _reserved_spans(report.version):
        set_there += [f"0x{at:03x}" for at in range(first, last) if report.raw[at]]
    for name in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"):
        if product is not None and product.reserved(found[name]):
            set_there.append(f"{name.upper()} bits {product.reserved(found[name]):#018x}")
    return set_there


def _reserved_spans(version: int) -> list[tuple[int, int]]:
    """Return the spans of bytes that a version reserves (SNP ABI table 23), ends left out."""
    return [
        (0x4C, 0x50),
        (0x18B if version >= _FMS_VERSION else 0x188, 0x1A0),
        (0x1EB, 0x1EC),
        (0x1EF, 0x1F0),
        (0x208 if version >= _MITIGATIONS_VERSION else 0x1F8, SIGNATURE_OFFSET),
    ]


def _check_version(version: int, source: str, *, allow_unknown: bool) -> None:
    if version < OLDEST_VERSION:
        raise SevbuildError(
            f"{source}: report version {version} is none that a guest gets: {OLDEST_VERSION} is the first"
        )
    if version > NEWEST_VERSION and not allow_unknown:
        raise SevbuildError(
            f"{source}: report version {version} is newer than {NEWEST_VERSION}, the newest that is known",
            hint=f"--allow-unknown-version reads it as version {NEWEST_VERSION}",
        )


def _check_unsigned(raw: bytes, source: str) -> None:
    """Check that what no signature covers is zero: anyone on the way could have put it there."""
    padding = NUMBER_SIZE - COORDINATE_SIZE
    for number, name in enumerate("RS"):
        end = SIGNATURE_OFFSET + NUMBER_SIZE * (number + 1)
        if any(raw[end - padding : end]):
            raise SevbuildError(f"{source}: bytes above the {COORDINATE_SIZE} of SIGNATURE.{name} are set")
    for at in range(SIGNATURE_OFFSET + 2 * NUMBER_SIZE, REPORT_SIZE):
        if raw[at]:
            raise SevbuildError(
                f"{source}: byte 0x{at:03x} is set, where a report has zeros that no signature covers"
            )
