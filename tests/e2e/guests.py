"""A guest of real software, harmless changes to it, and the page that sevbuild makes for it."""

from __future__ import annotations

import json
from pathlib import Path
from struct import pack_into, unpack_from
from typing import NamedTuple

from sevbuild.image.ovmf import parse_firmware
from tests.e2e.machines import Qemu, needed
from tests.support.cli import run
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

__all__ = [
    "MEMORY",
    "Parts",
    "as_launched",
    "changed",
    "firmware_path",
    "hash_page_of",
    "original",
    "page_of",
    "place",
]

MEMORY = 0x80000000
"""2 GiB, of which QEMU counts the address of the initrd."""

CMDLINE = "console=ttyS0 earlyprintk=ttyS0 panic=-1"


class Parts(NamedTuple):
    """Hold what a measured direct boot is made of; `initrd` is None where there is none."""

    kernel: bytes
    initrd: bytes | None
    cmdline: str


def firmware_path() -> Path:
    """Return the OVMF that verifies kernel hashes, from Debian's newest suite or installed."""
    installed = Path("/usr/share/ovmf/OVMF.amdsev.fd")
    unpacked = ROOT / ".cache" / "newest" / "usr" / "share" / "ovmf" / "OVMF.amdsev.fd"
    return needed(installed if installed.exists() else unpacked, f"the AmdSev OVMF ({unpacked})")


def original(*, initrd: bool) -> Parts:
    """Return Debian's cloud kernel, with or without an initrd."""
    folder = ROOT / ".cache" / "kernel" / "boot"
    kernels = sorted(folder.glob("vmlinuz-*"))
    path = needed(kernels[-1] if kernels else folder / "vmlinuz-*", f"Debian's cloud kernel in {folder}")
    return Parts(path.read_bytes(), _initrd() if initrd else None, CMDLINE)


def _initrd() -> bytes:
    """Return a cpio archive (newc) of nothing but its trailer, whose name is padded to four bytes."""
    name = b"TRAILER!!!\0"
    header = b"070701" + b"00000000" * 11 + b"%08x" % len(name) + b"00000000"
    return (header + name).ljust(512, b"\0")


def changed(parts: Parts, what: str) -> Parts:
    """Return the guest with one bit of its kernel, initrd or command line changed, so that it still boots.

    The kernel's bit is in the last character of its version string, which only tools read (boot protocol,
    offset 0x20e). The initrd's is in the padding after the name of its trailer; a guest that had none gets
    one instead. The command line's makes `panic=-1` `panic=-0`.
    """
    kernel, initrd, cmdline = parts
    if what == "cmdline":
        assert ord(cmdline[-1]) ^ ord("0") == 1
        return parts._replace(cmdline=cmdline[:-1] + "0")
    if what == "initrd":
        if initrd is None:
            return parts._replace(initrd=_initrd())
        padding = initrd.index(b"TRAILER!!!\0") + len(b"TRAILER!!!\0")
        assert padding % 4
        return parts._replace(initrd=_flip(initrd, padding))
    start = unpack_from("<H", kernel, 0x20E)[0] + 0x200
    end = kernel.index(b"\0", start)
    assert kernel[start:end].decode("ascii")[0].isdigit()
    return parts._replace(kernel=_flip(kernel, end - 1))


def _flip(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def as_launched(parts: Parts, qemu: Qemu) -> Parts:
    """Return the guest as this QEMU shows it to a firmware that runs outside of SEV.

    Before 10.0 that is a kernel whose setup header QEMU has filled in (hw/i386/x86.c, x86_load_linux);
    under SEV it leaves the file as it is, and from 10.0 on it also offers the file as it is.
    """
    if qemu.major >= 10:
        return parts
    kernel = bytearray(parts.kernel)
    kernel[0x210] = 0xB0  # type_of_loader
    kernel[0x211] |= 0x80  # loadflags: CAN_USE_HEAP
    pack_into("<H", kernel, 0x224, 0xFE00)  # heap_end_ptr
    pack_into("<I", kernel, 0x228, 0x20000)  # cmd_line_ptr
    if parts.initrd is not None:
        address = (MEMORY - 0x28001 - len(parts.initrd)) & ~0xFFF
        pack_into("<II", kernel, 0x218, address, len(parts.initrd))  # ramdisk_image, ramdisk_size
    return parts._replace(kernel=bytes(kernel))


def page_of(parts: Parts, folder: Path) -> bytes:
    """Return the kernel-hashes page of a guest, from a manifest of it written to `folder`."""
    folder.mkdir(parents=True)
    (folder / "kernel").write_bytes(parts.kernel)
    initrd = None
    if parts.initrd is not None:
        (folder / "initrd").write_bytes(parts.initrd)
        initrd = {"path": "initrd"}
    return hash_page_of(
        write_manifest(
            folder,
            firmware={"path": str(firmware_path())},
            kernel={"path": "kernel", "cmdline": parts.cmdline},
            initrd=initrd,
        )
    )


def hash_page_of(manifest: Path) -> bytes:
    """Return the 4096-byte kernel-hashes page in the bundle that `sevbuild build` makes of the manifest."""
    bundle = manifest.parent / "bundle"
    result = run("build", "--quiet", manifest, "-o", bundle)
    assert result.status == 0, result.err
    (target,) = json.loads((bundle / "bundle.json").read_text())["targets"]
    page = (bundle / str(target["files"]["kernel_hashes_page"])).read_bytes()
    assert len(page) == 4096
    return page


def place(parts: Parts, page: bytes, qemu: Qemu, folder: Path) -> list[str]:
    """Write a guest to `folder` and return QEMU's arguments that launch it with this page in its memory."""
    folder.mkdir(parents=True)
    sections = parse_firmware(firmware_path().read_bytes()).metadata.sections or ()
    (gpa,) = [section.gpa for section in sections if section.kind == 0x10]
    (folder / "page").write_bytes(page)
    (folder / "kernel").write_bytes(parts.kernel)
    arguments = [
        # The random seed that 7.2 adds to the kernel for its own machine types would change the kernel again.
        "-machine", "q35" if qemu.major >= 10 else "pc-q35-7.1",
        "-cpu", "max", "-m", str(MEMORY >> 20), "-bios", str(firmware_path()),
        "-kernel", str(folder / "kernel"), "-append", parts.cmdline,
        "-device", f"loader,file={folder / 'page'},addr={gpa:#x},force-raw=on",
    ]  # fmt: skip
    if parts.initrd is not None:
        (folder / "initrd").write_bytes(parts.initrd)
        arguments += ["-initrd", str(folder / "initrd")]
    return arguments
