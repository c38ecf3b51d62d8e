"""The layout of a VMSA, the 4096-byte page that holds the registers of one encrypted vCPU."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple

from sevbuild.errors import SevbuildError

__all__ = [
    "FIELDS",
    "SEGMENT_PARTS",
    "SEV_FEATURE_BITS",
    "VMSA_SIZE",
    "Field",
    "FieldValue",
    "build_vmsa",
    "parse_vmsa",
    "reserved_bytes_set",
]

VMSA_SIZE = 4096

FieldValue = int | bytes | Mapping[str, int]
"""A register as a number, a segment as a mapping of SEGMENT_PARTS, a `bytes` field as its bytes."""


class Field(NamedTuple):
    """One field of the save area: where it is, its bytes, and what kind of value it holds.

    `kind` is `u8`, `u16`, `u32`, `u64`, `segment` or `bytes`; numbers are little-endian.
    """

    name: str
    offset: int
    size: int
    kind: str


SEGMENT_PARTS: dict[str, int] = {"selector": 2, "attributes": 2, "limit": 4, "base": 8}
"""The parts of a segment register and their bytes, in order (APM vol. 2 table B-4)."""

# APM vol. 2 table B-4, as runs of fields of one size: offset, size, names. What lies between is reserved.
_LAYOUT = (
    (0x000, 16, "es cs ss ds fs gs gdtr ldtr idtr tr"),
    (0x0A0, 8, "vmpl0_ssp vmpl1_ssp vmpl2_ssp vmpl3_ssp u_cet"),
    (0x0CA, 1, "vmpl cpl"),
    (0x0D0, 8, "efer"),
    (0x140, 8, "xss cr4 cr3 cr0 dr7 dr6 rflags rip dr0 dr1 dr2 dr3"),
    (0x1A0, 8, "dr0_addr_mask dr1_addr_mask dr2_addr_mask dr3_addr_mask"),
    (0x1D8, 8, "rsp s_cet ssp isst rax star lstar cstar sfmask kernel_gs_base"),
    (0x228, 8, "sysenter_cs sysenter_esp sysenter_eip cr2"),
    (0x268, 8, "g_pat dbgctl br_from br_to last_excp_from last_excp_to"),
    (0x2E8, 4, "pkru tsc_aux"),
    (0x2F0, 8, "tsc_scale tsc_offset reg_prot_nonce rcx rdx rbx"),
    (0x328, 8, "rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15"),
    (0x390, 8, "guest_exit_info_1 guest_exit_info_2 guest_exit_int_info guest_nrip"),
    (0x3B0, 8, "sev_features vintr_ctrl guest_exit_code virtual_tom tlb_id pcpu_id event_inj xcr0"),
    (0x400, 8, "x87_dp"),
    (0x408, 4, "mxcsr"),
    (0x40C, 2, "x87_ftw x87_fsw x87_fcw x87_fop x87_ds x87_cs"),
    (0x418, 8, "x87_rip"),
    (0x420, 80, "fpreg_x87"),
    (0x470, 256, "fpreg_xmm fpreg_ymm"),
)
_KINDS = {1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "segment"}

FIELDS: tuple[Field, ...] = tuple(
    Field(name, offset + index * size, size, _KINDS.get(size, "bytes"))
    for offset, size, names in _LAYOUT
    for index, name in enumerate(names.split())
)
"""Every known field, by ascending offset; no two overlap."""

SEV_FEATURE_BITS: dict[str, int] = {
    "snp-active": 0,
    "vtom": 1,
    "reflect-vc": 2,
    "restricted-injection": 3,
    "alternate-injection": 4,
    "debug-swap": 5,
    "prevent-host-ibs": 6,
    "btb-isolation": 7,
    "vmpl-sss": 8,
    "secure-tsc": 9,
    "vmgexit-parameter": 10,
    "pmc-virtualization": 11,
    "ibs-virtualization": 12,
    "guest-intercept-control": 13,
    "vmsa-reg-prot": 14,
    "smt-protection": 15,
    "secure-avic": 16,
    "ibpb-on-entry": 21,
    "allowed-sev-features": 63,
}
"""Bits of SEV_FEATURES by name (APM vol. 2 table B-4, offset 3B0h; 11, 13 and 21 as OpenVMM names them)."""

_BY_NAME = {field.name: field for field in FIELDS}
_SEGMENT = Struct("<HHIQ")  # SEGMENT_PARTS


def build_vmsa(values: Mapping[str, FieldValue]) -> bytes:
    """Return the 4096-byte VMSA that holds `values`; fields and segment parts not named are zero.

    Raises SevbuildError for an unknown name and for a value that its field cannot hold.
    """
    page = bytearray(VMSA_SIZE)
    for name, value in values.items():
        field = _BY_NAME.get(name)
        if field is None:
            raise SevbuildError(f"a VMSA has no field {name!r}", hint=_nearest(name, _BY_NAME))
        _, offset, size, kind = field
        if kind == "segment":
            _SEGMENT.pack_into(page, offset, *_segment(name, value))
        elif kind == "bytes":
            if not isinstance(value, bytes) or len(value) != size:
                raise SevbuildError(f"VMSA field {name} holds {size} bytes, got {_shape(value)}")
            page[offset : offset + size] = value
        else:
            page[offset : offset + size] = _number(name, value, size).to_bytes(size, "little")
    return bytes(page)


def parse_vmsa(page: bytes) -> dict[str, int | dict[str, int] | bytes]:
    """Return every field of a 4096-byte VMSA, by ascending offset; the inverse of `build_vmsa`.

    Bytes outside the fields are left to `reserved_bytes_set`. Raises SevbuildError for another size.
    """
    _check_size(page)
    values: dict[str, int | dict[str, int] | bytes] = {}
    for name, offset, size, kind in FIELDS:
        if kind == "segment":
            values[name] = dict(zip(SEGMENT_PARTS, _SEGMENT.unpack_from(page, offset), strict=True))
        elif kind == "bytes":
            values[name] = bytes(page[offset : offset + size])
        else:
            values[name] = int.from_bytes(page[offset : offset + size], "little")
    return values


def reserved_bytes_set(page: bytes) -> list[tuple[int, int]]:
    """Return the runs of non-zero bytes outside all fields, as offsets and lengths, ascending.

    APM vol. 2 table B-4 reserves those bytes. Raises SevbuildError if the page is not 4096 bytes.
    """
    _check_size(page)
    rest = bytearray(page)
    for field in FIELDS:
        rest[field.offset : field.offset + field.size] = bytes(field.size)
    runs: list[tuple[int, int]] = []
    for offset, value in enumerate(rest):
        if value and runs and sum(runs[-1]) == offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        elif value:
            runs.append((offset, 1))
    return runs


def _check_size(page: bytes) -> None:
    if len(page) != VMSA_SIZE:
        raise SevbuildError(f"a VMSA is {VMSA_SIZE} bytes, got {len(page)}")


def _segment(name: str, value: FieldValue) -> list[int]:
    if not isinstance(value, Mapping):
        raise SevbuildError(
            f"VMSA field {name} is a segment, got {_shape(value)}",
            hint=f"its parts are {', '.join(SEGMENT_PARTS)}",
        )
    for part in value:
        if part not in SEGMENT_PARTS:
            raise SevbuildError(
                f"VMSA segment {name} has no part {part!r}", hint=_nearest(part, SEGMENT_PARTS)
            )
    return [_number(f"{name}.{part}", value.get(part, 0), size) for part, size in SEGMENT_PARTS.items()]


def _number(name: str, value: FieldValue, size: int) -> int:
    if not isinstance(value, int):
        raise SevbuildError(f"VMSA field {name} holds a number, got {_shape(value)}")
    if value < 0 or value >> 8 * size:
        raise SevbuildError(f"VMSA field {name} holds {8 * size} bits, got {f'{value:#x}':.40}")
    return value


def _shape(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__


def _nearest(name: str, known: Mapping[str, object]) -> str | None:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else None
