"""`diff` names the cause and not the symptom: a table of realistic changes, each with what it must say."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sevbuild.igvm.headers import GuestPolicy, Header, PageData
from sevbuild.vcpu.save_area import build_vmsa, parse_vmsa
from tests.support.cli import run
from tests.support.firmware import SECTIONS, standard_firmware
from tests.support.guests import write_manifest
from tests.support.id_blocks import ID_KEY, private_pem
from tests.support.igvm import BSP, SNP, VMSA, write_file
from tests.support.kernels import CPIO, boot_image
from tests.support.real import newest_file, real_file, real_kernels

LINE = "console=tty0 console=ttyS0 root=/dev/vda1"
TARGET = "snp/qemu/EPYC-v4/vcpus1"


def guest(folder: Path, files: dict[str, bytes] | None = None, **tables: Any) -> Path:
    """Write a guest with firmware, kernel and initrd, some of it another; return its manifest."""
    folder.mkdir(exist_ok=True)
    contents = {"OVMF.fd": standard_firmware(), "vmlinuz": boot_image(), "initrd": CPIO, **(files or {})}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    laid: dict[str, Any] = {
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "vmlinuz", "cmdline": LINE},
        "initrd": {"path": "initrd"},
    }
    for name, table in tables.items():
        laid[name] = {**laid.get(name, {}), **table} if table is not None else None
    return write_manifest(folder, **{name: table for name, table in laid.items() if table is not None})


class Row(NamedTuple):
    """Hold one change: both sides, and every cause that must be told, as kind and start of the title.

    `digest` is what becomes of the launch digest; `details` must all stand among those of the first cause,
    and `words` in the text.
    """

    make: Callable[[Path], tuple[Any, ...]]
    causes: tuple[tuple[str, str], ...]
    digest: str = "different"
    details: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    level: str = "digest"


def _both(files: dict[str, bytes] | None = None, **tables: Any) -> Callable[[Path], tuple[Any, ...]]:
    """Return what writes a guest, and the same with other files and tables."""
    return lambda folder: (guest(folder / "a"), guest(folder / "b", files, **tables))


def _cmdline(text: str) -> Callable[[Path], tuple[Any, ...]]:
    return _both(kernel={"cmdline": text})


def _patched(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def _initrds(first: bytes, second: bytes, **tables: Any) -> Callable[[Path], tuple[Any, ...]]:
    def make(folder: Path) -> tuple[Any, ...]:
        return guest(folder / "a", {"initrd": first}), guest(folder / "b", {"initrd": second}, **tables)

    return make


def _parts(folder: Path) -> tuple[Any, ...]:
    files = {"one": CPIO, "two": gzip.compress(CPIO, mtime=0)}
    return (
        guest(folder / "a", files, initrd={"path": ["one", "two"]}),
        guest(folder / "b", files, initrd={"path": ["two", "one"]}),
    )


def _values(verb: str) -> Callable[[Path], tuple[Any, ...]]:
    """Return what publishes a guest, and changes its manifest and a page of its firmware afterwards."""

    def make(folder: Path) -> tuple[Any, ...]:
        first = guest(folder / "a")
        out = folder / "out"
        if verb == "measure":
            out.write_text(run("measure", first, "-f", "json").out)
        elif verb == "plan":
            out.write_text(run("plan", first, "-f", "json").out)
        else:
            assert run(verb, first, "-o", out).status == 0
        files = {"OVMF.fd": _patched(standard_firmware(), 0x3000)}
        return out, guest(folder / "b", files, kernel={"cmdline": f"{LINE} quiet"})

    return make


def _lock(folder: Path) -> tuple[Any, ...]:
    manifest = guest(folder / "a")
    assert run("lock", manifest).status == 0
    (folder / "a" / "initrd").write_bytes(CPIO + b"0")
    return folder / "a" / "guest.lock", manifest


def _igvm(folder: Path, name: str, *headers: Header, vmsa: bytes = VMSA) -> Path:
    start: list[Header] = [SNP, GuestPolicy(0x30000, 1)]
    return write_file(folder, *start, *headers, BSP._replace(data=vmsa), name=name)


def _igvm_page(folder: Path) -> tuple[Any, ...]:
    pages = [PageData(0x1000 * number, 1, bytes([number]) * 4096) for number in range(1, 9)]
    other = [*pages[:4], pages[4]._replace(data=b"x" * 4096), *pages[5:]]
    return _igvm(folder, "a.igvm", *pages), _igvm(folder, "b.igvm", *other), "--loader", "qemu"


def _igvm_register(folder: Path) -> tuple[Any, ...]:
    page = PageData(0x1000, 1, b"\1" * 4096)
    vmsa = build_vmsa({**parse_vmsa(VMSA), "rip": 0x1234})
    return _igvm(folder, "a.igvm", page), _igvm(folder, "b.igvm", page, vmsa=vmsa), "--loader", "qemu"


def _igvm_loader(folder: Path) -> tuple[Any, ...]:
    # Loaders have orders of their own for what comes after the registers, and what lies below.
    pages = [PageData(0x1000 * number, 1, bytes([number]) * 4096) for number in (2, 1)]
    file = write_file(folder, SNP, GuestPolicy(0x30000, 1), pages[0], BSP, pages[1])
    found = []
    for loader in ("qemu", "igvmmeasure"):
        path = folder / f"{loader}.json"
        path.write_text(run("plan", file, "--loader", loader, "-f", "json").out)
        found.append(path)
    return tuple(found)


def _igvm_policy(folder: Path) -> tuple[Any, ...]:
    page = PageData(0x1000, 1, b"\1" * 4096)
    other = write_file(folder, SNP, GuestPolicy(0xB0000, 1), page, BSP, name="b.igvm")
    return _igvm(folder, "a.igvm", page), other, "--loader", "qemu"


def _vmsas(folder: Path) -> tuple[Any, ...]:
    manifests = guest(folder / "a"), guest(folder / "b", vcpu={"model": "EPYC-Milan"})
    for number, path in enumerate(manifests):
        assert run("measure", path, "--dump-vmsa", folder / str(number)).status == 0
    return folder / "0" / "vmsa0.bin", folder / "1" / "vmsa0.bin"


def _own_profile(folder: Path) -> tuple[Any, ...]:
    found = []
    for name, value in (("a", 0x600), ("b", 0x700)):
        (folder / name).mkdir()
        text = (
            'schema = 1\nextends = "qemu"\nname = "own"\nsummary = "s"\nas-of = "today"\n'
            f"[initial-state]\nrdx = {value:#x}\n[sources]\n"
            f'"initial-state.rdx" = "read on host {name}"\n'
        )
        (folder / name / "own.toml").write_text(text)
        found.append(guest(folder / name, launch={"profile": "./own.toml"}))
    return tuple(found)


def _id_block(folder: Path) -> tuple[Any, ...]:
    found = []
    for name, svn in (("a", 1), ("b", 2)):
        (folder / name).mkdir()
        (folder / name / "id.pem").write_bytes(private_pem(ID_KEY))
        table: dict[str, Any] = {"id-block": {"key": "id.pem", "guest-svn": svn}}
        found.append(guest(folder / name, None, **table))
    return tuple(found)


def _real_builds(folder: Path) -> tuple[Any, ...]:
    builds = (newest_file("usr/share/ovmf/OVMF.amdsev.fd"), real_file("/usr/share/ovmf/OVMF.fd"))
    found = []
    for name, build in zip("ab", builds, strict=True):
        nothing = {"kernel": None, "initrd": None}
        found.append(guest(folder / name, {"OVMF.fd": build.read_bytes()}, **nothing))
    return tuple(found)


def _real_page(folder: Path) -> tuple[Any, ...]:
    image = newest_file("usr/share/ovmf/OVMF.amdsev.fd").read_bytes()
    return (
        guest(folder / "a", {"OVMF.fd": image}),
        guest(folder / "b", {"OVMF.fd": _patched(image, 0x123456)}),
    )


def _code_alone(folder: Path) -> tuple[Any, ...]:
    del folder
    return real_file("/usr/share/ovmf/OVMF.fd"), real_file("/usr/share/OVMF/OVMF_CODE.fd")


def _real_kernel(folder: Path) -> tuple[Any, ...]:
    image = max(real_kernels()).read_bytes()
    (folder / "one").write_bytes(image)
    (folder / "other").write_bytes(image[:0x210] + b"\xb0" + image[0x211:])
    return folder / "one", folder / "other"


STANDARD = standard_firmware()
TABLE = {
    "one page of the firmware": Row(
        _both({"OVMF.fd": _patched(STANDARD, 0x3000)}),
        (("firmware", "firmware: 1 page of 16; tables and SEV metadata are alike"),),
        details=("1 of 16 pages", "in the image"),
        words=("0xffff3000", "a/guest.toml:5", "the launches part at step 0, firmware"),
    ),
    "the kernel-hashes section at the end": Row(
        _both({"OVMF.fd": standard_firmware(sections=[SECTIONS[3], *SECTIONS[:3]])}),
        (("firmware", "firmware: the same SEV metadata sections in another order"),),
        details=("order of the sections",),
    ),
    "another reset address": Row(
        _both({"OVMF.fd": standard_firmware(reset=0x80C004)}),
        (("firmware", "firmware: other footer table entry SEV-ES reset block"),),
        details=("footer table entry SEV-ES reset block",),
    ),
    "another build of Debian's": Row(
        _real_builds,
        (("firmware", "firmware: another build, of another size"),),
        details=("build", "size", "verifies kernel hashes", "section kernel-hashes"),
        words=("2026.08+ds-2",),
    ),
    "one page of Debian's build": Row(
        _real_page,
        (("firmware", "firmware: 1 page of 1024; tables and SEV metadata are alike"),),
        details=("1 of 1024 pages", "in the volume at 0x84000"),
    ),
    "the firmware without its variable store": Row(
        _code_alone,
        (("firmware", "firmware: the first is the other with its variable store before it"),),
        digest="none",
    ),
    "a newline at the end of the command line": Row(
        _cmdline(f"{LINE}\n"),
        (("cmdline", "command line: a newline at the end added"),),
        details=("white space at the end",),
        words=("root=/dev/vda1\\n", "a/guest.toml:6"),
    ),
    "a doubled space": Row(
        _cmdline(LINE.replace(" root", "  root")),
        (("cmdline", "command line: white space alone, before root=/dev/vda1"),),
        words=("console=ttyS0␣␣root=/dev/vda1",),
    ),
    "a tab for a space": Row(
        _cmdline(LINE.replace(" root", "\troot")),
        (("cmdline", "command line: white space alone, before root=/dev/vda1"),),
        words=("␣ -> \\t",),
    ),
    "consoles in another order": Row(
        _cmdline("console=ttyS0 console=tty0 root=/dev/vda1"),
        (("cmdline", "command line: the same words in another order"),),
        words=("place 2 -> place 1",),
    ),
    "nr_cpus": Row(
        lambda folder: (
            guest(folder / "a", kernel={"cmdline": f"{LINE} nr_cpus=4"}),
            guest(folder / "b", kernel={"cmdline": f"{LINE} nr_cpus=8"}),
        ),
        (("cmdline", "command line: 1 word changed"),),
        words=("nr_cpus=4 -> nr_cpus=8",),
    ),
    "a word that a loader adds": Row(
        _cmdline(f"{LINE} initrd=initrd"),
        (("cmdline", "command line: 1 word added"),),
        words=("none -> initrd=initrd",),
    ),
    "a byte of the kernel's setup header": Row(
        _both({"vmlinuz": boot_image(patched={0x211: 0x80})}),
        (("kernel", "kernel: 1 field of the setup header: loadflags (0x211), as a boot loader patches it"),),
        details=("loadflags (0x211)",),
        words=("0x0 -> 0x80",),
    ),
    "Debian's kernel as a loader patches it": Row(
        _real_kernel,
        (
            (
                "kernel",
                "kernel: 1 field of the setup header: type_of_loader (0x210), as a boot loader patches it",
            ),
        ),
        digest="none",
    ),
    "another kernel version": Row(
        _both({"vmlinuz": boot_image("6.1.0-20-amd64 (debian)")}),
        (("kernel", "kernel: another version: 6.1.0-18-amd64 -> 6.1.0-20-amd64"),),
        details=("version",),
    ),
    "a byte of the kernel's code": Row(
        _both({"vmlinuz": boot_image(patched={0x3000: 1})}),
        (("kernel", "kernel: another build or file of the same version"),),
        details=("1 of 4 pages",),
    ),
    "parts of the initrd swapped": Row(_parts, (("initrd", "initrd: the same parts in another order"),)),
    "an initrd compressed otherwise": Row(
        _initrds(gzip.compress(CPIO, mtime=0), b"\x28\xb5\x2f\xfd" + bytes(99)),
        (("initrd", "initrd: another kind: gzip data -> zstd data"),),
        details=("kind", "size"),
    ),
    "no initrd": Row(
        lambda folder: (guest(folder / "a"), guest(folder / "b", initrd=None)),
        (("initrd", "initrd removed"),),
    ),
    "the vCPU count": Row(
        _both(vcpu={"count": 4}),
        (("setting", "vCPU count"),),
        words=("vCPU count: 1 -> 4", "guest.toml:4", "vmsa 1"),
    ),
    "the CPU model": Row(
        _both(vcpu={"model": "EPYC-Milan"}),
        (("setting", "CPU model"),),
        words=("EPYC-v4 (0x00800f12) -> EPYC-Milan (0x00a00f11)", "rdx: "),
    ),
    "another hypervisor": Row(
        _both(launch={"profile": "ec2"}),
        (("profile", "profile"),),
        details=("initial-state.rdx", "launch.sections-last", "initial-state.snp.mxcsr"),
        words=("issue 19: a c6a.xlarge",),
    ),
    "an era of the host's kernel": Row(
        _both(launch={"profile": "qemu-snp-legacy-fpu"}),
        (("profile", "profile"),),
        details=("initial-state.snp.mxcsr", "initial-state.snp.x87-fcw"),
    ),
    "a profile that sets other features": Row(
        _both(launch={"profile": "qemu-snp-debugswap"}),
        (("profile", "profile"),),
        details=("guest-features.snp.default",),
        words=("0x21 (snp-active, debug-swap)",),
    ),
    "guest features": Row(
        _both(launch={"guest-features": 0x21}),
        (("setting", "guest features (SEV_FEATURES)"),),
        words=("0x1 (snp-active) -> 0x21 (snp-active, debug-swap)", "(profile qemu, ", "guest.toml:3)"),
    ),
    "a value of one's own profile": Row(
        _own_profile,
        (("profile", "profile"),),
        details=("initial-state.rdx",),
        words=("0x600 -> 0x700  (read on host a; read on host b)",),
    ),
    "the policy alone": Row(
        _both(launch={"policy": 0xB0000}),
        (("setting", "policy"),),
        digest="same",
        words=("enters no launch digest:", "0x30000 (smt) -> 0xb0000 (smt, debug)"),
        level="launch",
    ),
    "host data alone": Row(
        _both(launch={"host-data": "07" * 32}),
        (("setting", "host data"),),
        digest="same",
        words=("enters no launch digest:",),
        level="launch",
    ),
    "the SVN of an ID block": Row(
        _id_block,
        (("setting", "ID block guest svn"),),
        digest="same",
        words=("enters no launch digest:", "1 -> 2", "guest.toml:8"),
        level="launch",
    ),
    "another version of the guest": Row(
        _both(guest={"version": "2"}),
        (("name", "guest.version"),),
        digest="same",
        words=("only called or written otherwise:",),
        level="note",
    ),
    "the mode": Row(
        _both(launch={"mode": "sev-es"}),
        (("setting", "mode"),),
        details=("policy", "guest features (SEV_FEATURES)"),
    ),
    "canonical order": Row(_both(launch={"order": "canonical"}), (("setting", "order of the launch"),)),
    "kernel hashes off": Row(_both(kernel={"hashes": False}), (("setting", "kernel hashes"),)),
    "two changes at once": Row(
        _both(kernel={"cmdline": f"{LINE} quiet"}, vcpu={"count": 2}),
        (("cmdline", "command line: 1 word added"), ("setting", "vCPU count")),
    ),
    "a page of an IGVM file": Row(
        _igvm_page,
        (("launch-update", "contents of page data"), ("igvm", "igvm")),
        words=("0x5000",),
    ),
    "a register of an IGVM file": Row(
        _igvm_register,
        (("registers", "registers of vp context 0"), ("igvm", "igvm")),
        details=("rip",),
    ),
    "the policy of an IGVM file": Row(
        _igvm_policy,
        (("setting", "policy"), ("igvm", "igvm")),
        digest="same",
        level="launch",
    ),
    "the loader of an IGVM file": Row(
        _igvm_loader,
        (("profile", "loader"),),
        details=("order",),
        words=("loader: qemu -> igvmmeasure",),
    ),
    "a register of two VMSAs": Row(
        _vmsas,
        (("vmsa", "vmsa: another CPU signature in rdx"),),
        digest="none",
        details=("rdx",),
    ),
    "a lock and a changed file": Row(_lock, (("initrd", "initrd"),), digest="none", words=("guest.lock:",)),
    "a release and a manifest": Row(
        _values("publish"),
        (("firmware", "firmware"), ("cmdline", "command line: 1 word added")),
    ),
    "a bundle and a manifest": Row(
        _values("build"),
        (("firmware", "firmware: 1 page of 16"), ("cmdline", "command line: 1 word added")),
        details=("1 of 16 pages",),
    ),
    "reference values and a manifest": Row(
        _values("measure"),
        (("firmware", "firmware"), ("cmdline", "command line: 1 word added")),
        words=("$.values[*].cmdline",),
    ),
    "a plan and a manifest": Row(
        _values("plan"),
        (
            ("launch-update", "contents of firmware"),
            ("launch-update", "contents of section 3 (kernel-hashes)"),
        ),
        words=("another kernel, initrd or command line", "not compared, for one side lacks it: inputs"),
    ),
}


REAL = ("another build of Debian's", "one page of Debian's build", "the firmware without its variable store")
"""What unpacks builds of megabytes."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in REAL else ()) for name in TABLE]
)
def test_diff_names_the_cause(name: str, tmp_path: Path) -> None:
    row = TABLE[name]
    words = row.make(tmp_path)
    told = run("diff", *words, "--format", "json")
    found = json.loads(told.out)
    shown = [cause for cause in found["causes"] if cause["level"] == row.level]
    assert [(cause["kind"], cause["title"]) for cause in shown] == [
        (kind, cause["title"] if cause["title"].startswith(title) else title)
        for (kind, title), cause in zip(row.causes, [*shown, *shown, *shown], strict=False)
    ]
    others = [cause for cause in found["causes"] if cause["level"] == "digest" and cause not in shown]
    assert others == []
    assert {entry["what"] for entry in shown[0]["details"]} >= set(row.details)
    assert found["digest"] == row.digest
    same = row.level == "note"
    assert (told.status, found["same"]) == (0 if same else 1, same)
    text = run("diff", *words)
    assert text.status == told.status
    assert text.out.startswith(f"{'no' if row.digest == 'none' else row.digest} digest: ")
    for word in row.words:
        assert word in text.out
    # The other way round it is the same cause, with the sides exchanged.
    back = json.loads(run("diff", words[1], words[0], *words[2:], "--format", "json").out)
    assert sorted(cause["kind"] for cause in back["causes"]) == sorted(
        cause["kind"] for cause in found["causes"]
    )
    assert (back["digest"], back["same"]) == (found["digest"], found["same"])


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 30


@pytest.mark.parametrize("name", TABLE)
def test_what_is_compared_with_itself_is_the_same(name: str, tmp_path: Path) -> None:
    for path in TABLE[name].make(tmp_path)[:2]:
        told = run("diff", path, path, "--format", "json")
        found = json.loads(told.out)
        assert (told.status, found["same"], found["causes"], found["launches"]) == (0, True, [], [])
        assert found["digest"] in ("same", "none")
