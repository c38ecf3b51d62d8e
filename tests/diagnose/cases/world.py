"""The real firmware, kernel and published ingredients that the cases are made of."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tests.diagnose.cases.hosts import EC2, GCE, IGVM, SVSM, number
from tests.support.chain import Launch, hashes
from tests.support.cli import run
from tests.support.guests import write_manifest
from tests.support.kernels import newc
from tests.support.real import newest_file, real_file, real_kernels
from tests.support.shared import VECTORS, shared_file

__all__ = ["CMDLINE", "GUESTS", "Guest", "Tables", "World", "direct"]

Tables = dict[str, dict[str, Any]]

CMDLINE = "console=ttyS0 root=/dev/vda ro panic=-1"


class World:
    """A folder in which the files of every case lie, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kernel = real_kernels()[0]
        data = kernel.read_bytes()
        self._files = {
            "amdsev": newest_file("usr/share/ovmf/OVMF.amdsev.fd"),
            "generic": real_file("/usr/share/ovmf/OVMF.fd"),
            "code": real_file("/usr/share/OVMF/OVMF_CODE.fd"),
            "secboot": real_file("/usr/share/OVMF/OVMF_CODE.secboot.fd"),
            "code-4m": real_file("/usr/share/OVMF/OVMF_CODE_4M.fd"),
            "kernel": kernel,
        }
        beside = kernel.name.removeprefix("vmlinuz")
        self._write("microcode.cpio", newc({"kernel/x86/microcode/AuthenticAMD.bin": data[-40_000:]}))
        self._write("initrd.img", newc({"System.map": (kernel.parent / f"System.map{beside}").read_bytes()}))
        self._write("modules.cpio", newc({"config": (kernel.parent / f"config{beside}").read_bytes()}))
        self._write("initrd", self.initrd)
        self._write("rebuilt.fd", rebuilt(self["amdsev"]))
        self._write("rebuilt-generic.fd", rebuilt(self["generic"]))
        self._write("unsigned", _without_signature(data))
        self._write("empty", b"")
        self._write("board.dtb", struct.pack(">II", 0xD00DFEED, 72) + bytes(64))
        self._write("other.cmdline", b"console=ttyS0 root=/dev/vdb ro quiet")
        self._files["AmdSev_suffix_2024.bin"] = VECTORS / "firmware" / "AmdSev_suffix_2024.bin"
        self._files["tik"] = VECTORS / "launch-abi/sevctl/measurement/tik1.bin"

    def _write(self, name: str, data: bytes) -> None:
        self._files[name] = self.folder / name
        self._files[name].write_bytes(data)

    def path(self, name: str) -> str:
        """Return the path of a file, or of a folder of them."""
        if name not in self._files:
            self._files[name] = FOLDERS[name](self)
        return str(self._files[name])

    def __getitem__(self, name: str) -> bytes:
        """Return the bytes of a file."""
        path = self._files[name]
        if path.is_relative_to(VECTORS):
            shared_file(str(path.relative_to(VECTORS)))
        return path.read_bytes()

    @property
    def initrd(self) -> bytes:
        """Return the initrd of the guests with a direct boot, of three parts."""
        return b"".join(self[name] for name in INITRD)


def _builds(world: World) -> Path:
    """Return a folder of firmware as a host has it: several builds, and what is none."""
    folder = world.folder / "builds"
    folder.mkdir()
    for name in ("code-4m", "secboot", "generic", "rebuilt.fd", "other.cmdline"):
        os.symlink(world.path(name), folder / name)
    return folder


def _release(name: str, guest: str) -> Callable[[World], Path]:
    """Return what makes the bundle of an earlier release, with the tables of a guest of these cases."""

    def built(world: World) -> Path:
        folder = world.folder / f"{name}-manifest"
        folder.mkdir()
        tables = {**GUESTS[guest].tables(world), "guest": {"name": "test", "version": "0.9"}}
        done = run("build", write_manifest(folder, **tables), "-o", world.folder / name, "-q")
        assert done.status == 0, done.err
        return world.folder / name

    return built


def _dstack_cmdline(world: World) -> Path:
    path = world.folder / "dstack.cmdline"
    path.write_text(_dstack()["base_cmdline"])
    return path


FOLDERS: Mapping[str, Callable[[World], Path]] = {
    "builds": _builds,
    "release": _release("release", "generic"),
    "ec2-image-2": _release("ec2-image-2", "ec2"),
    "dstack.cmdline": _dstack_cmdline,
}

INITRD = ("microcode.cpio", "initrd.img", "modules.cpio")


def rebuilt(firmware: bytes) -> bytes:
    """Return firmware as another build of the same source is: a date of its own within the volumes."""
    at = len(firmware) // 2
    return firmware[:at] + b"Nov 25 2026 14:00:00" + firmware[at + 20 :]


def _without_signature(kernel: bytes) -> bytes:
    """Return a kernel without its Authenticode signature, as a distribution has it before it is signed."""
    # PE: the fifth entry of the data directory of a PE32+ image is the table of certificates, at the end.
    entry = struct.unpack_from("<I", kernel, 0x3C)[0] + 24 + 112 + 4 * 8
    at, size = struct.unpack_from("<II", kernel, entry)
    assert at + size == len(kernel), "the kernel is not signed"
    return kernel[:entry] + bytes(8) + kernel[entry + 8 : at]


class Guest(NamedTuple):
    """A guest as its publisher declares it, and the launch that the manifest describes, by the chain."""

    tables: Callable[[World], Tables]
    launch: Callable[[World], Launch]


def direct(world: World, cmdline: bytes = CMDLINE.encode(), **parts: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the kernel hashes of the guests with a direct boot; `parts` are other bytes than theirs."""
    return hashes(parts.get("kernel", world["kernel"]), parts.get("initrd", world.initrd), cmdline)


def _direct_tables(world: World, **launch: Any) -> Tables:
    return {
        "launch": {"mode": "snp", "profile": "qemu", **launch},
        "firmware": {"path": world.path("amdsev")},
        "kernel": {"path": world.path("kernel"), "cmdline": CMDLINE},
        "initrd": {"path": [world.path(name) for name in INITRD]},
    }


def _plain_tables(world: World, firmware: str = "code", profile: str = "qemu", **vcpu: Any) -> Tables:
    launch = {"mode": "snp", "profile": profile}
    return {"launch": launch, "firmware": {"path": world.path(firmware)}, "vcpu": vcpu}


def _document(name: str) -> Any:
    return json.loads(shared_file(name).read_text())


def _seeded(seed: str, sections: list[Any], reset: int, table: int | None, profile: str) -> Tables:
    """Return the tables of a guest whose firmware is known by its seed; sections are (GPA, size, kind)."""
    rows = [dict(zip(("gpa", "size", "kind"), section, strict=True)) for section in sections]
    metadata: dict[str, Any] = {"reset": reset, "sections": rows}
    if table is not None:
        metadata["hash-table"] = table
    return {"launch": {"mode": "snp", "profile": profile}, "firmware": {"seed": seed, "metadata": metadata}}


def _ec2(image: str) -> Guest:
    """Return a guest of Amazon EC2 with one of the firmware images of aws/uefi."""

    @cache
    def known() -> tuple[str, list[Any], int]:
        document = _document(f"firmware/{image}")
        rows = document["MetadataItems"]
        sections = [(int(row["GPA"], 16), int(row["Size"], 16), row["SectionTypeInt"]) for row in rows]
        return document["OVMFHash"], sections, int(document["ResetEIP"], 16)

    def launch(_: World) -> Launch:
        seed, sections, reset = known()
        return Launch(seed=bytes.fromhex(seed), sections=sections, reset=reset, **EC2)

    return Guest(lambda _: _seeded(*known(), None, "ec2"), launch)


@cache
def _dstack() -> dict[str, Any]:
    document: dict[str, Any] = _document("publish/dstack/measurement.snp.ingredients.json")
    document["sections"] = [
        (row["gpa"], row["size"], row["section_type"]) for row in document["ovmf_sections"]
    ]
    return document


def _dstack_tables(_: World) -> Tables:
    known = _dstack()
    reset, table = known["sev_es_reset_eip"], known["sev_hashes_table_gpa"]
    tables = _seeded(known["ovmf_hash"], known["sections"], reset, table, "qemu")
    tables["kernel"] = {"sha256": known["kernel_hash"], "cmdline": known["base_cmdline"]}
    tables["initrd"] = {"sha256": known["initrd_hash"]}
    tables["vcpu"] = {"count": known["vcpus"], "model": known["vcpu_type"]}
    return tables


def _dstack_launch(_: World) -> Launch:
    known = _dstack()
    return Launch(
        seed=bytes.fromhex(known["ovmf_hash"]),
        sections=known["sections"],
        reset=known["sev_es_reset_eip"],
        table=known["sev_hashes_table_gpa"],
        hashes=(
            sha256(known["base_cmdline"].encode() + b"\0").digest(),
            bytes.fromhex(known["initrd_hash"]),
            bytes.fromhex(known["kernel_hash"]),
        ),
        vcpus=known["vcpus"],
    )


@cache
def _svsm() -> dict[str, Any]:
    vectors = _document("firmware/vectors.json")["vectors"]
    found: dict[str, Any] = next(vector for vector in vectors if vector["id"] == "svsm-2-HW")
    found["rows"] = [(int(row["gpa"], 16), int(row["size"], 16), row["type"]) for row in found["sections"]]
    return found


def _svsm_tables(world: World) -> Tables:
    """A seed after OVMF and SVSM, so that the profile names neither, and the entry point by its number."""
    known = _svsm()
    profile = world.folder / "svsm-entry.toml"
    profile.write_text(
        'schema = 1\nname = "svsm-entry"\nextends = "svsm-qemu"\nsummary = "One build of COCONUT-SVSM"\n'
        'as-of = "2024-03"\n[launch.regions]\nsnp = ["firmware", "sections"]\n'
        f"[entry]\nbsp = {known['entry_rip']}\nap = {known['entry_rip']}\n"
    )
    return _seeded(known["seed"], known["rows"], 0x80B004, None, str(profile))


def _svsm_launch(_: World) -> Launch:
    known = _svsm()
    vmsa = {**SVSM["vmsa"], 0x178: number(int(known["entry_rip"], 16))}
    return Launch(seed=bytes.fromhex(known["seed"]), sections=known["rows"], reset=0, fpu=False, vmsa=vmsa)


def _of(mode: str) -> Guest:
    return Guest(
        lambda world: _direct_tables(world, mode=mode),
        lambda world: Launch(mode=mode, firmware=world["amdsev"], hashes=direct(world)),
    )


GUESTS: Mapping[str, Guest] = {
    "direct": _of("snp"),
    "sev-es": _of("sev-es"),
    "sev": _of("sev"),
    "plain": Guest(_plain_tables, lambda world: Launch(firmware=world["code"])),
    "generic": Guest(
        lambda world: _plain_tables(world, "generic"), lambda world: Launch(firmware=world["generic"])
    ),
    "suffix": Guest(
        lambda world: _plain_tables(world, "AmdSev_suffix_2024.bin", count=2),
        lambda world: Launch(firmware=world["AmdSev_suffix_2024.bin"], vcpus=2),
    ),
    "ec2": _ec2("ec2_img_2.json"),
    "ec2-1": _ec2("ec2_img_1.json"),
    "gce": Guest(
        lambda world: _plain_tables(world, profile="gce"), lambda world: Launch(firmware=world["code"], **GCE)
    ),
    "dstack": Guest(_dstack_tables, _dstack_launch),
    "svsm": Guest(_svsm_tables, _svsm_launch),
    "igvm": Guest(
        lambda world: _direct_tables(world, profile="qemu-igvm"),
        lambda world: Launch(firmware=world["amdsev"], hashes=direct(world), **IGVM),
    ),
}
