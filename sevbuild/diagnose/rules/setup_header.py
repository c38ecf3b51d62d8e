"""What loaders write into the setup header of a Linux kernel for x86, and append to it."""

from __future__ import annotations

from collections.abc import Iterator

from sevbuild.diagnose.differences.boot_header import SetupHeader, header_fields, parse_setup_header
from sevbuild.diagnose.rules.contents import pieces_from, read_contents
from sevbuild.errors import SevbuildError
from sevbuild.launch.region_data import Contents

__all__ = ["initrd_limits", "patched_header", "with_device_tree"]

_FIELDS = {field.name: field for field in header_fields()}

# Written as by QEMU 10.2 hw/i386/x86-common.c, x86_load_linux, for guests that are not encrypted.
_VALUES = {"type_of_loader": 0xB0, "heap_end_ptr": 0xFE00, "cmd_line_ptr": 0x20000}
_CAN_USE_HEAP = 0x80
_ABOVE_4G = 2
_LOWEST_MOST = 0x37FFFFFF
_HEAD = 8192
"""All that is written lies in the first bytes of the file, which QEMU reads as the header."""

_ACPI_DATA = 0x28000
_MEMORY = (
    (0x80000000, "2 GiB or more below 4 GiB (machine q35)"),
    (0xC0000000, "3 GiB below 4 GiB (machine pc)"),
    (0x40000000, "1 GiB of memory"),
    (0x20000000, "512 MiB of memory"),
    (0x10000000, "256 MiB of memory"),
    (0x60000000, "1.5 GiB of memory"),
    (0x30000000, "768 MiB of memory"),
    (0x18000000, "384 MiB of memory"),
)


def initrd_limits() -> Iterator[tuple[int, str]]:
    """Yield the memory below 4 GiB, less the ACPI tables, in bytes, and how a guest with it is called."""
    for below, name in _MEMORY:
        yield below - _ACPI_DATA - 1, name


def patched_header(kernel: Contents, limit: int | None, initrd_size: int) -> Iterator[bytes | memoryview]:
    """Yield a kernel as it is once its header was written; `limit` is what memory allows an initrd.

    None stands for no initrd. Raises SevbuildError for what has no setup header.
    """
    head, header = _head(kernel)
    values = {**_VALUES, "loadflags": header.values.get("loadflags", 0) | _CAN_USE_HEAP}
    if limit is not None:
        address = max(min(_most(header), limit) - initrd_size, 0) & ~0xFFF
        values |= {"ramdisk_image": address, "ramdisk_size": initrd_size & 0xFFFFFFFF}
    for name, value in values.items():
        _, offset, size, _ = _FIELDS[name]
        head[offset : offset + size] = value.to_bytes(size, "little")
    yield bytes(head)
    yield from pieces_from(kernel, len(head))


def _most(header: SetupHeader) -> int:
    """Return the highest address that a kernel says an initrd may have (protocol 2.12, 2.03 and before)."""
    version = header.values.get("version", 0)
    if version >= 0x20C and header.values.get("xloadflags", 0) & _ABOVE_4G:
        # The field of the address has 32 bits.
        return 0xFFFFFFFF
    return header.values.get("initrd_addr_max", _LOWEST_MOST) if version >= 0x203 else _LOWEST_MOST


def with_device_tree(kernel: Contents, dtb: bytes) -> Iterator[bytes | memoryview]:
    """Yield a kernel with a device tree appended as setup_data, after its protected-mode part.

    Raises SevbuildError for what has no setup header.
    """
    _, header = _head(kernel)
    yield from pieces_from(kernel, 0)
    yield bytes(-(len(kernel) - header.setup_end) % 16)
    # struct setup_data: next, type SETUP_DTB, len.
    yield bytes(8) + (2).to_bytes(4, "little") + len(dtb).to_bytes(4, "little")
    yield dtb


def _head(kernel: Contents) -> tuple[bytearray, SetupHeader]:
    head = bytearray(read_contents(kernel, 0, min(_HEAD, len(kernel))))
    header = parse_setup_header(bytes(head))
    if header is None:
        raise SevbuildError("the kernel has no setup header")
    return head, header
