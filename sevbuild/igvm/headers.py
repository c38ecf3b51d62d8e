"""Every variable header of an IGVM file: its type, its section and its fields.

Source: microsoft/igvm at e6c3ff1c (2026-06-09), igvm_defs/src/lib.rs. All numbers are little-endian.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import NamedTuple

from sevbuild.igvm.source import Data

__all__ = [
    "OPTIONAL_BIT",
    "PAGE_SIZE",
    "PARAMETER_TYPES",
    "VMSA_PLATFORMS",
    "CcaPolicy",
    "CorimData",
    "ErrorRange",
    "GuestPolicy",
    "Header",
    "HeaderType",
    "PageData",
    "PageDataType",
    "PageFlags",
    "PageTableRelocation",
    "Parameter",
    "ParameterArea",
    "ParameterInsert",
    "PlatformType",
    "RelocatableRegion",
    "RequiredMemory",
    "Section",
    "SnpIdBlock",
    "SupportedPlatform",
    "UnknownHeader",
    "VbsMeasurement",
    "VpContext",
    "section_of",
]

PAGE_SIZE = 4096
OPTIONAL_BIT = 1 << 31
"""Set in a type that a loader which does not know it may ignore (IGVM_VHT_OPTIONAL_BIT)."""


class HeaderType(IntEnum):
    """The known header types (IGVM_VHT_*). 0x306 is reserved and 0x304 to 0x313 else complete."""

    SUPPORTED_PLATFORM = 0x001
    GUEST_POLICY = 0x101
    RELOCATABLE_REGION = 0x102
    PAGE_TABLE_RELOCATION_REGION = 0x103
    CORIM_DOCUMENT = 0x104
    CORIM_SIGNATURE = 0x105
    CCA_POLICY = 0x106
    PARAMETER_AREA = 0x301
    PAGE_DATA = 0x302
    PARAMETER_INSERT = 0x303
    VP_CONTEXT = 0x304
    REQUIRED_MEMORY = 0x305
    VP_COUNT_PARAMETER = 0x307
    SRAT = 0x308
    MADT = 0x309
    MMIO_RANGES = 0x30A
    SNP_ID_BLOCK = 0x30B
    MEMORY_MAP = 0x30C
    ERROR_RANGE = 0x30D
    COMMAND_LINE = 0x30E
    SLIT = 0x30F
    PPTT = 0x310
    VBS_MEASUREMENT = 0x311
    DEVICE_TREE = 0x312
    ENVIRONMENT_INFO_PARAMETER = 0x313


class Section(IntEnum):
    """The three parts of the variable headers, in order."""

    PLATFORM = 0
    INITIALIZATION = 1
    DIRECTIVE = 2


class PlatformType(IntEnum):
    """The platforms (IgvmPlatformType)."""

    NATIVE = 0
    VSM_ISOLATION = 1
    SEV_SNP = 2
    TDX = 3
    SEV = 4
    SEV_ES = 5
    CCA = 6


VMSA_PLATFORMS = (PlatformType.SEV_SNP, PlatformType.SEV_ES)
"""The platforms whose VP contexts are VMSAs; NATIVE and SEV have registers in a layout of their own."""


class PageDataType(IntEnum):
    """What a page of data is (IgvmPageDataType)."""

    NORMAL = 0
    SECRETS = 1
    CPUID_DATA = 2
    CPUID_XF = 3


class PageFlags(IntFlag):
    """The flags of a page of data (IgvmPageDataFlags)."""

    IS_2MB_PAGE = 1
    UNMEASURED = 2
    SHARED = 4


class SupportedPlatform(NamedTuple):
    """A platform; `compatibility_mask` is the one bit by which later headers name it."""

    compatibility_mask: int
    highest_vtl: int
    platform_type: PlatformType
    platform_version: int = 1
    shared_gpa_boundary: int = 0


class GuestPolicy(NamedTuple):
    """A guest policy (u64; for SEV and SEV-ES its low 32 bits)."""

    policy: int
    compatibility_mask: int
    reserved: int = 0


class RelocatableRegion(NamedTuple):
    """A region that a loader may move."""

    compatibility_mask: int
    vp_index: int
    vtl: int
    flags: int
    relocation_alignment: int
    relocation_region_gpa: int
    relocation_region_size: int
    minimum_relocation_gpa: int
    maximum_relocation_gpa: int


class PageTableRelocation(NamedTuple):
    """The region whose page tables a loader rebuilds when it moves others."""

    compatibility_mask: int
    vp_index: int
    vtl: int
    reserved: int
    gpa: int
    size: int
    used_size: int


class CorimData(NamedTuple):
    """A CoRIM document or its signature; `kind` tells which."""

    kind: HeaderType
    compatibility_mask: int
    data: Data | None
    reserved: int = 0


class CcaPolicy(NamedTuple):
    """The policy of an Arm CCA realm."""

    compatibility_mask: int
    reserved: int
    req_zeroes: int
    req_ones: int
    hash_alg: int
    lfa: int
    reserved2: bytes = bytes(6)


class ParameterArea(NamedTuple):
    """Memory that the loader fills in; `data` are initial contents, None for zeros."""

    number_of_bytes: int
    parameter_area_index: int
    data: Data | None = None


class PageData(NamedTuple):
    """One page to import; `data` is None for a page of zeros without file data."""

    gpa: int
    compatibility_mask: int
    data: Data | None = None
    flags: PageFlags = PageFlags(0)
    data_type: PageDataType = PageDataType.NORMAL
    reserved: int = 0


class ParameterInsert(NamedTuple):
    """A parameter area to import as unmeasured pages, lowest GPA first."""

    gpa: int
    compatibility_mask: int
    parameter_area_index: int


class Parameter(NamedTuple):
    """A value or a table asked of the loader at an offset of a parameter area; `kind` tells which."""

    kind: HeaderType
    parameter_area_index: int
    byte_offset: int = 0


class VpContext(NamedTuple):
    """The initial registers of one virtual processor: for SNP and SEV-ES a VMSA page.

    `padding` follows in the file; some tools fill it with something other than zeros.
    """

    gpa: int
    compatibility_mask: int
    data: Data | None
    vp_index: int
    reserved: int = 0
    padding: bytes = bytes(4)


class RequiredMemory(NamedTuple):
    """Memory that must be there; never measured."""

    gpa: int
    compatibility_mask: int
    number_of_bytes: int
    flags: int = 0
    reserved: int = 0


class ErrorRange(NamedTuple):
    """Shared pages for error reports; never measured."""

    gpa: int
    compatibility_mask: int
    size_bytes: int


class SnpIdBlock(NamedTuple):
    """An ID block with its signatures and public keys; integers are little-endian in 72 bytes.

    The policy is not among the fields; it is the GUEST_POLICY header's.
    """

    compatibility_mask: int
    author_key_enabled: int
    reserved: bytes
    ld: bytes
    family_id: bytes
    image_id: bytes
    version: int
    guest_svn: int
    id_key_algorithm: int
    author_key_algorithm: int
    id_signature_r: bytes
    id_signature_s: bytes
    id_key_curve: int
    id_key_reserved: int
    id_key_qx: bytes
    id_key_qy: bytes
    author_signature_r: bytes
    author_signature_s: bytes
    author_key_curve: int
    author_key_reserved: int
    author_key_qx: bytes
    author_key_qy: bytes


class VbsMeasurement(NamedTuple):
    """The signed digest of a VBS guest."""

    compatibility_mask: int
    version: int
    product_id: int
    module_id: int
    security_version: int
    policy_flags: int
    boot_digest_algo: int
    signing_algo: int
    boot_digest: bytes
    signature: bytes
    public_key: bytes


class UnknownHeader(NamedTuple):
    """A header of an unknown, optional type, kept as it is; `type_number` has OPTIONAL_BIT set."""

    type_number: int
    content: bytes
    padding: bytes = b""


Header = (
    SupportedPlatform
    | GuestPolicy
    | RelocatableRegion
    | PageTableRelocation
    | CorimData
    | CcaPolicy
    | ParameterArea
    | PageData
    | ParameterInsert
    | Parameter
    | VpContext
    | RequiredMemory
    | ErrorRange
    | SnpIdBlock
    | VbsMeasurement
    | UnknownHeader
)

PARAMETER_TYPES = frozenset(
    {
        HeaderType.VP_COUNT_PARAMETER,
        HeaderType.SRAT,
        HeaderType.MADT,
        HeaderType.MMIO_RANGES,
        HeaderType.MEMORY_MAP,
        HeaderType.COMMAND_LINE,
        HeaderType.SLIT,
        HeaderType.PPTT,
        HeaderType.DEVICE_TREE,
        HeaderType.ENVIRONMENT_INFO_PARAMETER,
    }
)
"""The types whose content is an IGVM_VHS_PARAMETER."""


def section_of(type_number: int) -> Section | None:
    """Return the section that a type belongs to, None outside all of their ranges."""
    number = type_number & ~OPTIONAL_BIT
    if 0x001 <= number <= 0x100:
        return Section.PLATFORM
    if 0x101 <= number <= 0x200:
        return Section.INITIALIZATION
    return Section.DIRECTIVE if 0x301 <= number <= 0x400 else None
