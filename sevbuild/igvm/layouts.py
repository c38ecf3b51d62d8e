"""The one table of how headers are laid out, by which they are both parsed and built.

Source: microsoft/igvm at e6c3ff1c (2026-06-09), igvm_defs/src/lib.rs. All numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as struct_error
from typing import Any, NamedTuple, cast

from sevbuild.igvm import headers
from sevbuild.igvm.headers import PAGE_SIZE, PARAMETER_TYPES, Header, HeaderType
from sevbuild.igvm.source import Data

__all__ = ["content_size", "decode_content", "encode_content", "header_name", "header_type"]

# The content of each header, field by field in file order: a struct code and a name. `@offset` and `@size`
# are the place of the header's data in the file, which the value holds as `data`.
_CORIM = "I compatibility_mask, I @offset, I @size, I reserved"
_PARAMETER = "I parameter_area_index, I byte_offset"
_TABLE: dict[HeaderType, tuple[type[Any], str]] = {
    HeaderType.SUPPORTED_PLATFORM: (
        headers.SupportedPlatform,
        "I compatibility_mask, B highest_vtl, B platform_type, H platform_version, Q shared_gpa_boundary",
    ),
    HeaderType.GUEST_POLICY: (headers.GuestPolicy, "Q policy, I compatibility_mask, I reserved"),
    HeaderType.RELOCATABLE_REGION: (
        headers.RelocatableRegion,
        """I compatibility_mask, H vp_index, B vtl, B flags, Q relocation_alignment, Q relocation_region_gpa,
        Q relocation_region_size, Q minimum_relocation_gpa, Q maximum_relocation_gpa""",
    ),
    HeaderType.PAGE_TABLE_RELOCATION_REGION: (
        headers.PageTableRelocation,
        "I compatibility_mask, H vp_index, B vtl, B reserved, Q gpa, Q size, Q used_size",
    ),
    HeaderType.CORIM_DOCUMENT: (headers.CorimData, _CORIM),
    HeaderType.CORIM_SIGNATURE: (headers.CorimData, _CORIM),
    HeaderType.CCA_POLICY: (
        headers.CcaPolicy,
        "I compatibility_mask, I reserved, Q req_zeroes, Q req_ones, B hash_alg, B lfa, 6s reserved2",
    ),
    HeaderType.PARAMETER_AREA: (
        headers.ParameterArea,
        "Q number_of_bytes, I parameter_area_index, I @offset",
    ),
    HeaderType.PAGE_DATA: (
        headers.PageData,
        "Q gpa, I compatibility_mask, I @offset, I flags, H data_type, H reserved",
    ),
    HeaderType.PARAMETER_INSERT: (
        headers.ParameterInsert,
        "Q gpa, I compatibility_mask, I parameter_area_index",
    ),
    HeaderType.VP_CONTEXT: (
        headers.VpContext,
        "Q gpa, I compatibility_mask, I @offset, H vp_index, H reserved",
    ),
    HeaderType.REQUIRED_MEMORY: (
        headers.RequiredMemory,
        "Q gpa, I compatibility_mask, I number_of_bytes, I flags, I reserved",
    ),
    HeaderType.SNP_ID_BLOCK: (
        headers.SnpIdBlock,
        """I compatibility_mask, B author_key_enabled, 3s reserved, 48s ld, 16s family_id, 16s image_id, I version,
        I guest_svn, I id_key_algorithm, I author_key_algorithm, 72s id_signature_r, 72s id_signature_s,
        I id_key_curve, I id_key_reserved, 72s id_key_qx, 72s id_key_qy, 72s author_signature_r,
        72s author_signature_s, I author_key_curve, I author_key_reserved, 72s author_key_qx, 72s author_key_qy""",
    ),
    HeaderType.ERROR_RANGE: (headers.ErrorRange, "Q gpa, I compatibility_mask, I size_bytes"),
    HeaderType.VBS_MEASUREMENT: (
        headers.VbsMeasurement,
        """I compatibility_mask, I version, I product_id, I module_id, I security_version, I policy_flags,
        I boot_digest_algo, I signing_algo, 64s boot_digest, 256s signature, 512s public_key""",
    ),
    **dict.fromkeys(PARAMETER_TYPES, (headers.Parameter, _PARAMETER)),
}
_ENUMS: dict[tuple[type[Any], str], Callable[[int], int]] = {
    (headers.SupportedPlatform, "platform_type"): headers.PlatformType,
    (headers.PageData, "flags"): headers.PageFlags,
    (headers.PageData, "data_type"): headers.PageDataType,
}


class _Layout(NamedTuple):
    """One row of the table, ready for use."""

    value: type[Any]
    struct: Struct
    names: tuple[str, ...]
    lengths: tuple[tuple[str, int], ...]
    enums: tuple[tuple[str, Callable[[int], int]], ...]


def _layout(value: type[Any], text: str) -> _Layout:
    fields = [field.split() for field in text.split(",")]
    names = tuple(name for _, name in fields)
    enums = tuple((name, _ENUMS[value, name]) for name in names if (value, name) in _ENUMS)
    lengths = tuple((name, int(code[:-1])) for code, name in fields if code.endswith("s"))
    return _Layout(value, Struct("<" + "".join(code for code, _ in fields)), names, lengths, enums)


_LAYOUTS: dict[int, _Layout] = {kind: _layout(*row) for kind, row in _TABLE.items()}
_KINDS: dict[type[Any], HeaderType] = {
    value: kind for kind, (value, _) in _TABLE.items() if value not in (headers.CorimData, headers.Parameter)
}


def header_type(header: Header) -> int:
    """Return the type number of a header, optional bit included."""
    if isinstance(header, headers.UnknownHeader):
        return header.type_number
    if isinstance(header, headers.CorimData | headers.Parameter):
        return header.kind
    return _KINDS[type(header)]


def header_name(type_number: int) -> str:
    """Return the name of a header type, or its number."""
    return HeaderType(type_number).name if type_number in _LAYOUTS else f"type {type_number:#x}"


def content_size(type_number: int) -> int | None:
    """Return the length every header of a known type has, None for an unknown type."""
    layout = _LAYOUTS.get(type_number)
    return None if layout is None else layout.struct.size


def decode_content(
    type_number: int, content: bytes, padding: bytes, locate: Callable[[int, int], Data | None]
) -> Header:
    """Return the header of a known type from its content, which has the right length.

    `locate` turns a file offset and a size into data. Raises ValueError for a number that its
    enumeration does not have.
    """
    layout = _LAYOUTS[type_number]
    values: dict[str, Any] = dict(zip(layout.names, layout.struct.unpack(content), strict=True))
    for name, enum in layout.enums:
        values[name] = enum(values[name])
    if "@offset" in values:
        offset = values.pop("@offset")
        size = values.pop("@size", values.get("number_of_bytes", PAGE_SIZE))
        values["data"] = locate(offset, size)
    if layout.value is headers.VpContext:
        values["padding"] = padding
    elif layout.value in (headers.CorimData, headers.Parameter):
        values["kind"] = HeaderType(type_number)
    return cast("Header", layout.value(**values))


def encode_content(header: Header, offset: int, size: int) -> bytes:
    """Return the content of a header whose data has `size` bytes at `offset` of the file.

    Raises struct.error for a value that its field cannot hold.
    """
    if isinstance(header, headers.UnknownHeader):
        return header.content
    layout = _LAYOUTS[header_type(header)]
    values = {**header._asdict(), "@offset": offset, "@size": size}
    for name, length in layout.lengths:
        if len(values[name]) != length:
            raise struct_error(f"{name} has {length} bytes, not {len(values[name])}")
    return layout.struct.pack(*(values[name] for name in layout.names))
