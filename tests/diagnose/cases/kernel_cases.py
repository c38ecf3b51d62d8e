"""The bytes of kernel and initrd, and whether they were measured at all."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from typing import Any

from tests.diagnose.cases.case import Case
from tests.diagnose.cases.hosts import LEGACY_FPU
from tests.diagnose.cases.world import CMDLINE, INITRD, World, direct
from tests.support.chain import hashes

__all__ = ["CASES"]

LINE = CMDLINE.encode()
Host = Callable[[World], Mapping[str, Any]]


def _line(cmdline: bytes, **more: Any) -> Host:
    return lambda world: {"hashes": direct(world, cmdline), **more}


def _parts(make: Callable[[World], dict[str, bytes]], cmdline: bytes = LINE) -> Host:
    return lambda world: {"hashes": direct(world, cmdline, **make(world))}


def _without_initrd(world: World) -> Mapping[str, Any]:
    return {"hashes": hashes(world["kernel"], b"", LINE)}


def _ordered(*order: int) -> Callable[[World], dict[str, bytes]]:
    return lambda world: {"initrd": b"".join(world[INITRD[index]] for index in order)}


def _patched(kernel: bytes, initrd: int = 0, memory: int = 2 << 30) -> bytes:
    """Return a kernel whose setup header QEMU wrote, as it does for plain guests.

    hw/i386/x86-common.c: type of loader, heap, command line's address; with an initrd, where it lies, below
    the ACPI tables (0x28000 bytes) at the end of low memory.
    """
    data = bytearray(kernel)
    data[0x210] = 0xB0
    data[0x211] |= 0x80
    struct.pack_into("<H", data, 0x224, 0xFE00)
    struct.pack_into("<I", data, 0x228, 0x20000)
    if initrd:
        highest = min(struct.unpack_from("<I", data, 0x22C)[0], memory - 0x28000 - 1)
        struct.pack_into("<II", data, 0x218, (highest - initrd) & ~0xFFF, initrd)
    return bytes(data)


def _with_seed(kernel: bytes) -> bytes:
    """Return a kernel behind which QEMU 7.2 put the seed of the guest's random numbers."""
    padded = kernel + bytes(-len(kernel) % 16)
    return padded + struct.pack("<QII", 0, 9, 32) + random.Random(72).randbytes(32)


def _with_dtb(world: World) -> dict[str, bytes]:
    kernel, dtb = world["kernel"], world["board.dtb"]
    padded = kernel + bytes(-len(kernel) % 16)
    return {"kernel": padded + struct.pack("<QII", 0, 2, len(dtb)) + dtb}


NO_INITRD = {"initrd": None}


CASES = [
    Case(
        "kernel hashes were off",
        "kernel",
        "kata#11785, AMDSEV#142",
        "direct",
        {"kernel-hashes": "off"},
        {"hashes": None},
    ),
    Case(
        "kernel hashes were off, SEV-ES",
        "kernel",
        "AMDSEV#142",
        "sev-es",
        {"kernel-hashes": "off"},
        {"hashes": None},
    ),
    Case(
        "kernel hashes were off, plain SEV",
        "kernel",
        "AMDSEV#142, operator#143",
        "sev",
        {"kernel-hashes": "off"},
        {"hashes": None},
    ),
    Case(
        "no initrd was given",
        "kernel",
        "edk2#5830",
        "direct",
        {"initrd": "none"},
        _without_initrd,
    ),
    Case(
        "no initrd was given, plain SEV",
        "kernel",
        "edk2#5830",
        "sev",
        {"initrd": "none"},
        _without_initrd,
    ),
    Case(
        "parts of the initrd in another order",
        "kernel",
        "sev#277, oak#5059",
        "direct",
        {"initrd": "its second part first"},
        _parts(_ordered(1, 0, 2)),
    ),
    Case(
        "a part of the initrd left out",
        "kernel",
        "edk2#5830",
        "direct",
        {"initrd": "without microcode"},
        _parts(_ordered(1, 2)),
    ),
    Case(
        "parts of the initrd in another order, and a newline",
        "kernel",
        "sev#277, kata-tests#5235",
        "direct",
        {"initrd": "its parts the other way round", "cmdline": "with a newline"},
        _parts(_ordered(2, 1, 0), LINE + b"\n"),
    ),
    Case(
        "no initrd, on an older host kernel",
        "kernel",
        "edk2#5830, amd/sev-utils#8",
        "direct",
        {"initrd": "none", "profile": "qemu-snp-legacy-fpu"},
        lambda world: {**_without_initrd(world), **LEGACY_FPU},
    ),
    Case(
        "the kernel as it was before it was signed",
        "kernel",
        "sev#277",
        "direct",
        {"kernel": "the unsigned one"},
        _parts(lambda world: {"kernel": world["unsigned"]}),
        options=["--kernel", "@unsigned"],
    ),
    Case(
        "another initrd, one of those given",
        "kernel",
        "operator#143",
        "direct",
        {"initrd": "initrd.img alone"},
        _parts(lambda world: {"initrd": world["initrd.img"]}),
        options=["--initrd", "@initrd.img"],
    ),
    Case(
        "the setup header was written, without an initrd",
        "kernel",
        "oak#5059, kata#9148",
        "direct",
        {"kernel": "with its setup header written"},
        lambda world: {"hashes": hashes(_patched(world["kernel"]), b"", LINE)},
        NO_INITRD,
    ),
    Case(
        "the setup header was written, with an initrd",
        "kernel",
        "dstack#1183, oak#5059",
        "direct",
        {"kernel": "with its setup header written"},
        _parts(lambda world: {"kernel": _patched(world["kernel"], len(world.initrd))}),
    ),
    Case(
        "a device tree was appended",
        "kernel",
        "AMDESE/qemu#10",
        "direct",
        {"kernel": "with the device tree behind it"},
        _parts(_with_dtb),
        options=["--dtb", "@board.dtb"],
    ),
    Case(
        "published hashes, another count",
        "kernel",
        "sev#277",
        "dstack",
        {"vcpus": "4"},
        {"vcpus": 4},
    ),
    Case(
        "QEMU 7.2 puts a random seed behind the kernel",
        "kernel",
        "AMDESE/qemu#10, kata#6189, kata#9148",
        "direct",
        host=_parts(lambda world: {"kernel": _with_seed(world["kernel"])}),
        excludes=r"firmware or kernel hashes",
    ),
    Case(
        "a kernel that nobody has",
        "kernel",
        "trustee#1134",
        "direct",
        host=_parts(lambda world: {"kernel": world["unsigned"]}),
        excludes=r"firmware or kernel hashes",
    ),
    Case(
        "an initrd that nobody has",
        "kernel",
        "operator#143",
        "direct",
        host=_parts(lambda world: {"initrd": world.initrd + b"\0" * 512}),
        excludes=r"firmware or kernel hashes",
    ),
    Case(
        "another root hash in published ingredients",
        "kernel",
        "c8s#454",
        "dstack",
        host=lambda world: {"hashes": direct(world)},
        excludes=r"firmware or kernel hashes",
    ),
]
