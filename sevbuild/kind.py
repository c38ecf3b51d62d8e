"""What kind of file this is, told by its first bytes: a kernel, an image, an archive, a firmware."""

from __future__ import annotations

from struct import Struct, error
from typing import NamedTuple

__all__ = ["HEAD_SIZE", "KINDS", "FileKind", "another_thing", "kind_of"]

HEAD_SIZE = 32 << 10
"""How many bytes from the start of a file tell its kind: a PE image's headers are the longest."""


class FileKind(NamedTuple):
    """One kind of file: `phrase` is how a sentence calls it, `roles` what it can be of a guest."""

    name: str
    phrase: str
    roles: frozenset[str]


def _kind(name: str, phrase: str, *roles: str) -> FileKind:
    return FileKind(name, phrase, frozenset(roles))


KINDS = {
    kind.name: kind
    for kind in (
        _kind("uki", "a unified kernel image (UKI)", "uki"),
        _kind("bzimage", "a Linux kernel (bzImage)", "kernel"),
        _kind("efi", "an EFI image", "kernel"),
        _kind("elf", "an ELF file"),
        _kind("cpio", "a cpio archive", "initrd"),
        _kind("gzip", "gzip data", "initrd"),
        _kind("zstd", "zstd data", "initrd"),
        _kind("xz", "xz data", "initrd"),
        _kind("lz4", "lz4 data", "initrd"),
        _kind("lzma", "lzma data", "initrd"),
        _kind("lzo", "lzo data", "initrd"),
        _kind("bzip2", "bzip2 data", "initrd"),
        _kind("igvm", "an IGVM file", "igvm"),
        _kind("firmware-volume", "a UEFI firmware image", "firmware"),
        _kind("qcow2", "a qcow2 disk image"),
        _kind("squashfs", "a squashfs image"),
        _kind("document", "a text document"),
        _kind("empty", "an empty file"),
    )
}
"""Every kind that is told, by name."""

# Where each stands: Linux Documentation/arch/x86/boot.rst (the real-mode header, HdrS at 0x202, and the boot
# flag at 0x1fe), lib/decompress.c (the formats the kernel unpacks an initramfs from), init/initramfs.c (newc,
# crc), UEFI PI volume 3, 3.2.1 (_FVH at 0x28), the formats' own descriptions for the rest.
_MAGICS = (
    (0, b"IGVM", "igvm"),
    (0, b"\x7fELF", "elf"),
    (0, b"070701", "cpio"),
    (0, b"070702", "cpio"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x02\x21\x4c\x18", "lz4"),
    (0, b"]\0\0", "lzma"),
    (0, b"\x89LZO\0\r\n\x1a\n", "lzo"),
    (0, b"BZh", "bzip2"),
    (0, b"QFI\xfb", "qcow2"),
    (0, b"hsqs", "squashfs"),
    (0x28, b"_FVH", "firmware-volume"),
)
_BOOT_FLAG = (0x1FE, b"\x55\xaa")
_HEADER = (0x202, b"HdrS")


def kind_of(head: bytes) -> FileKind | None:
    """Return the kind of a file by its first HEAD_SIZE bytes, None for one that is not told.

    A file of a kind may still be damaged: nothing but its mark is looked at.
    """
    if not head:
        return KINDS["empty"]
    head = head[:HEAD_SIZE]
    return KINDS.get(_image_name(head) or _marked_name(head) or _text_name(head))


def another_thing(head: bytes) -> str | None:
    """Return what a file is that could not be read as text, as an error says it; None where it may be text.

    An empty file and a text document are what such a reader expects, and it says more of them itself.
    """
    kind = kind_of(head)
    return None if kind in (None, KINDS["empty"], KINDS["document"]) else kind.phrase


def _image_name(head: bytes) -> str:
    """Return which image that firmware or a boot loader starts this is, empty for none."""
    sections = _pe_sections(head)
    if sections is not None and b".linux" in sections:
        return "uki"
    # Most kernels are EFI images as well, and are launched as kernels.
    if _has(head, *_BOOT_FLAG) and _has(head, *_HEADER):
        return "bzimage"
    return "" if sections is None else "efi"


def _marked_name(head: bytes) -> str:
    for offset, magic, name in _MAGICS:
        if _has(head, offset, magic):
            return name
    # An initramfs may begin with zeros, which the kernel passes over (init/initramfs.c: unpack_to_rootfs).
    return "cpio" if head.lstrip(b"\0")[:6] in (b"070701", b"070702") else ""


def _has(head: bytes, offset: int, magic: bytes) -> bool:
    return head[offset : offset + len(magic)] == magic


def _pe_sections(head: bytes) -> set[bytes] | None:
    """Return the section names of a PE image, None for a file that is none (PE format, 3.3 and 4)."""
    if head[:2] != b"MZ":
        return None
    try:
        (at,) = Struct("<I").unpack_from(head, 0x3C)
        if head[at : at + 4] != b"PE\0\0":
            return None
        count, size = Struct("<2xH12xH").unpack_from(head, at + 4)
    except error:
        return None
    table = at + 24 + size
    names = (head[table + 40 * index : table + 40 * index + 8] for index in range(count))
    return {name.rstrip(b"\0") for name in names if name}


def _text_name(head: bytes) -> str:
    # A cut at a fixed place may go through a character of up to four bytes.
    for end in range(len(head), len(head) - (4 if len(head) == HEAD_SIZE else 1), -1):
        try:
            text = head[:end].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return "document" if all(letter.isprintable() or letter in "\n\r\t" for letter in text) else ""
    return ""
