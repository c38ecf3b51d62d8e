"""What loaders write into the setup header of a Linux kernel for x86, and append to it."""

from __future__ import annotations

from collections.abc import Iterator

from sevbuild.diagnose.rules.contents import pieces_from, read_contents
from sevbuild.errors import SevbuildError
from sevbuild.launch.region_data import Contents, chunks

__all__ = ["initrd_limits", "patched_header", "with_device_tree"]

# Linux Documentation/arch/x86/boot.rst: the fields, little-endian. Written as by QEMU 10.2
# hw/i386/x86-common.c, x86_load_linux, for guests that are not encrypted.
_SETUP_SECTORS, _MAGIC = 0x1F1, (0x202, b"HdrS")
_LOADER_TYPE = (0x210, 1, 0xB0)
_LOAD_FLAGS, _CAN_USE_HEAP = 0x211, 0x80
_RAMDISK_IMAGE, _RAMDISK_SIZE = 0x218, 0x21C
_HEAP_END = (0x224, 2, 0xFE00)
_CMDLINE_AT = (0x228, 4, 0x20000)
_INITRD_MAX, _XLOAD_FLAGS, _VERSION = 0x22C, 0x236, 0x206
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
    head = bytearray(read_contents(kernel, 0, min(_HEAD, len(kernel))))
    at, magic = _MAGIC
    if head[at : at + 4] != magic or len(head) < 0x268:
        raise SevbuildError("the kernel has no setup header")
    most = _most(head)
    for offset, size, value in (_LOADER_TYPE, _HEAP_END, _CMDLINE_AT):
        head[offset : offset + size] = value.to_bytes(size, "little")
    head[_LOAD_FLAGS] |= _CAN_USE_HEAP
    if limit is not None:
        address = max(min(most, limit) - initrd_size, 0) & ~0xFFF
        head[_RAMDISK_IMAGE : _RAMDISK_IMAGE + 4] = address.to_bytes(4, "little")
        head[_RAMDISK_SIZE : _RAMDISK_SIZE + 4] = initrd_size.to_bytes(4, "little")
    yield bytes(head)
    yield from pieces_from(kernel, len(head))


def _most(head: bytes | bytearray) -> int:
    """Return the highest address that a kernel says an initrd may have."""
    version = int.from_bytes(head[_VERSION : _VERSION + 2], "little")
    flags = int.from_bytes(head[_XLOAD_FLAGS : _XLOAD_FLAGS + 2], "little")
    if version >= 0x20C and flags & 2:
        # It can be loaded above 4 GiB; the field has 32 bits.
        return 0xFFFFFFFF
    return int.from_bytes(head[_INITRD_MAX : _INITRD_MAX + 4], "little") if version >= 0x203 else 0x37FFFFFF


def with_device_tree(kernel: Contents, dtb: bytes) -> Iterator[bytes | memoryview]:
    """Yield a kernel with a device tree appended as setup_data, after its protected-mode part.

    Raises SevbuildError for what has no setup header.
    """
    head = bytes(read_contents(kernel, 0, min(_HEAD, len(kernel))))
    at, magic = _MAGIC
    if head[at : at + 4] != magic:
        raise SevbuildError("the kernel has no setup header")
    setup_size = ((head[_SETUP_SECTORS] or 4) + 1) * 512
    yield from chunks(kernel)
    yield bytes(-(len(kernel) - setup_size) % 16)
    # struct setup_data: next, type SETUP_DTB, len.
    yield bytes(8) + (2).to_bytes(4, "little") + len(dtb).to_bytes(4, "little")
    yield dtb
