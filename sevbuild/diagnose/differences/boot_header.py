"""The setup header of an x86 Linux kernel: its fields by name, and who writes each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["HEADER_END", "HeaderField", "SetupHeader", "header_fields", "parse_setup_header"]

HEADER_END = 0x202 + 0xFF
"""Where the longest setup header ends: its length is a byte that counts from 0x202."""

_START = 0x1F1
_MAGIC_AT = 0x202
_LENGTH_AT = 0x201
_SECTOR = 512
_LONGEST_VERSION = 256

READ, MODIFIED, WRITTEN = "", "boot loaders change it", "boot loaders write it"


class HeaderField(NamedTuple):
    """One field: its offset in the file, its bytes, and what boot loaders do to it; empty for nothing."""

    name: str
    offset: int
    size: int
    loader: str


# Linux Documentation/arch/x86/boot.rst, "Details of Header Fields" (protocol 2.15): name, offset, size, and
# whether boot loaders read, modify or write it.
_FIELDS = (
    HeaderField("setup_sects", 0x1F1, 1, READ),
    HeaderField("root_flags", 0x1F2, 2, MODIFIED),
    HeaderField("syssize", 0x1F4, 4, READ),
    HeaderField("ram_size", 0x1F8, 2, READ),
    HeaderField("vid_mode", 0x1FA, 2, MODIFIED),
    HeaderField("root_dev", 0x1FC, 2, MODIFIED),
    HeaderField("boot_flag", 0x1FE, 2, READ),
    HeaderField("jump", 0x200, 2, READ),
    HeaderField("header", 0x202, 4, READ),
    HeaderField("version", 0x206, 2, READ),
    HeaderField("realmode_swtch", 0x208, 4, MODIFIED),
    HeaderField("start_sys_seg", 0x20C, 2, READ),
    HeaderField("kernel_version", 0x20E, 2, READ),
    HeaderField("type_of_loader", 0x210, 1, WRITTEN),
    HeaderField("loadflags", 0x211, 1, MODIFIED),
    HeaderField("setup_move_size", 0x212, 2, MODIFIED),
    HeaderField("code32_start", 0x214, 4, MODIFIED),
    HeaderField("ramdisk_image", 0x218, 4, WRITTEN),
    HeaderField("ramdisk_size", 0x21C, 4, WRITTEN),
    HeaderField("bootsect_kludge", 0x220, 4, READ),
    HeaderField("heap_end_ptr", 0x224, 2, WRITTEN),
    HeaderField("ext_loader_ver", 0x226, 1, WRITTEN),
    HeaderField("ext_loader_type", 0x227, 1, WRITTEN),
    HeaderField("cmd_line_ptr", 0x228, 4, WRITTEN),
    HeaderField("initrd_addr_max", 0x22C, 4, READ),
    HeaderField("kernel_alignment", 0x230, 4, MODIFIED),
    HeaderField("relocatable_kernel", 0x234, 1, READ),
    HeaderField("min_alignment", 0x235, 1, READ),
    HeaderField("xloadflags", 0x236, 2, READ),
    HeaderField("cmdline_size", 0x238, 4, READ),
    HeaderField("hardware_subarch", 0x23C, 4, WRITTEN),
    HeaderField("hardware_subarch_data", 0x240, 8, WRITTEN),
    HeaderField("payload_offset", 0x248, 4, READ),
    HeaderField("payload_length", 0x24C, 4, READ),
    HeaderField("setup_data", 0x250, 8, WRITTEN),
    HeaderField("pref_address", 0x258, 8, READ),
    HeaderField("init_size", 0x260, 4, READ),
    HeaderField("handover_offset", 0x264, 4, READ),
    HeaderField("kernel_info_offset", 0x268, 4, READ),
)


class SetupHeader(NamedTuple):
    """A setup header: its fields as numbers, where it ends, and where the real-mode code ends (in bytes).

    `version` is what the kernel says of itself, None where it does not.
    """

    values: Mapping[str, int]
    end: int
    setup_end: int
    version: str | None


def header_fields() -> tuple[HeaderField, ...]:
    """Return the fields by ascending offset; no two overlap."""
    return _FIELDS


def parse_setup_header(head: bytes) -> SetupHeader | None:
    """Return the setup header in the first bytes of a kernel, None where it has none.

    A field beyond the end of an old, shorter header is left out. The version lies in the real-mode code, of
    which `head` should hold 32 KiB.
    """
    if head[_MAGIC_AT : _MAGIC_AT + 4] != b"HdrS" or len(head) < HEADER_END:
        return None
    end = min(_MAGIC_AT + head[_LENGTH_AT], HEADER_END)
    values = {
        field.name: int.from_bytes(head[field.offset : field.offset + field.size], "little")
        for field in _FIELDS
        if field.offset + field.size <= end or field.offset < _MAGIC_AT + 4
    }
    # boot.rst: for backwards compatibility, 0 setup sectors are 4.
    setup_end = ((values["setup_sects"] or 4) + 1) * _SECTOR
    return SetupHeader(values, end, setup_end, _version(head, values.get("kernel_version", 0)))


def _version(head: bytes, offset: int) -> str | None:
    start = _SECTOR + offset
    if not offset or start >= len(head):
        return None
    text = head[start : start + _LONGEST_VERSION].split(b"\0", 1)[0]
    return text.decode("utf-8", "backslashreplace") or None
