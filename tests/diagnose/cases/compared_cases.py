"""Another thing was compared, or the ID block and not the digest was refused."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from tests.diagnose.cases.case import Case, Report, report_with, tables_of
from tests.diagnose.cases.world import World
from tests.support.cli import run
from tests.support.guests import write_manifest
from tests.support.shared import shared_file

__all__ = ["CASES"]

SEVCTL = "launch-abi/sevctl/"
FOUR = "/o0nzDKE5XgtVnUZWPhUea/WZYrTKLExR7KCwuMdbActvpWfXTFk21KMZIAAhQny"
WITH_KERNEL = "h3auYbWQnVW7EGLWN4Hf9SN0oEYMPU2sK4bLnefWPwvDE/q1EcIWsVBbGy6pkDxA"


def _id_block(policy: int = 0x30000) -> Callable[[World, str], str]:
    """Return that the user has an ID block over the digest that was measured."""

    def written(world: World, measured: str) -> str:
        path = world.folder / f"{measured[:16]}-{policy:x}.id-block.bin"
        block = bytes.fromhex(measured) + bytes(32) + struct.pack("<IIQ", 1, 0, policy)
        path.write_bytes(block)
        return str(path)

    return written


def _bundle(world: World, folder: Path) -> str:
    """Return the bundle of the guest with a direct boot."""
    tables = tables_of(Case("", "", "", "direct"), world)
    done = run("build", write_manifest(folder, **tables), "-o", folder / "bundle", "-q")
    assert done.status == 0, done.err
    return str(folder / "bundle")


def _reference_values(world: World, folder: Path) -> str:
    """Return the reference values of that guest, in a file of their own."""
    tables = tables_of(Case("", "", "", "direct"), world)
    done = run("measure", write_manifest(folder, **tables), "-q", "--format", "json")
    assert done.status == 0, done.err
    (folder / "reference-values.json").write_text(done.out)
    return str(folder / "reference-values.json")


def _sevctl_guest(_: World) -> dict[str, dict[str, object]]:
    firmware = "OVMF.amdsev.fd_trimmed_edk2-ovmf-20220126gitbb1bba3d77-4.el9"
    return {
        "launch": {"mode": "sev-es", "profile": "qemu", "policy": 5},
        "firmware": {"path": str(shared_file(SEVCTL + firmware))},
        "vcpu": {"count": 1, "model": "EPYC-Milan"},
    }


def _sevctl_kernel(world: World) -> dict[str, dict[str, object]]:
    tables = _sevctl_guest(world)
    tables["launch"] = {"mode": "sev", "profile": "qemu", "policy": 3}
    kernel, initrd = (
        str(shared_file(f"{SEVCTL}measurement/{name}")) for name in ("vmlinuz-fake", "initrd-fake")
    )
    tables["kernel"] = {"path": kernel, "cmdline": "foo bar baz fake kernel=cmdline"}
    tables["initrd"] = {"path": initrd}
    return tables


COUNTS = {"vcpu": {"count": [1, 2, 4]}}

COMPARED = [
    Case(
        "the digest of another target",
        "compared",
        "c8s#454",
        "direct",
        host={"vcpus": 4},
        manifest=COUNTS,
        also=r"vcpus4",
    ),
    Case(
        "the digest of another target, where one was asked for",
        "compared",
        "c8s#454",
        "direct",
        {"vcpus": "4"},
        {"vcpus": 4},
        COUNTS,
        ["--target", "vcpus1"],
    ),
    Case(
        "a digest with its bytes reversed",
        "compared",
        "sev-tool#41",
        "direct",
        expected=lambda _, measured: bytes.fromhex(measured)[::-1].hex(),
        also=r"revers",
    ),
    Case(
        "a digest in base64, and more vCPUs",
        "compared",
        "virtee/sev-snp-measure#6",
        "direct",
        {"vcpus": "2"},
        {"vcpus": 2},
        expected=lambda _, measured: b64encode(bytes.fromhex(measured)).decode(),
    ),
    Case(
        "the firmware's digest alone",
        "compared",
        "aws/uefi#19",
        "generic",
        host={"sections": [], "vcpus": 0},
        also=r"firmware",
    ),
    Case(
        "the digest of an SEV-ES launch of the same guest",
        "compared",
        "AMDSEV#5, AMDSEV#212",
        "direct",
        {"mode": "sev-es"},
        {"mode": "sev-es"},
    ),
    Case(
        "the digest of a plain SEV launch of the same guest",
        "compared",
        "AMDSEV#5",
        "direct",
        {"mode": "sev"},
        {"mode": "sev"},
    ),
    Case(
        "the digest of an SEV-ES launch with more vCPUs",
        "compared",
        "AMDSEV#212",
        "direct",
        {"mode": "sev-es", "vcpus": "2"},
        {"mode": "sev-es", "vcpus": 2},
    ),
    Case(
        "the digest of an SNP launch of an SEV-ES guest",
        "compared",
        "AMDSEV#212",
        "sev-es",
        host={"mode": "snp"},
        refused=r"An SNP digest is of a guest in mode snp",
    ),
    Case(
        "a report of another image",
        "compared",
        "c8s#448",
        "direct",
        expected=Report("reports/genoa-v5-oak.report.bin"),
        excludes=r"firmware or kernel hashes",
    ),
    Case(
        "a LAUNCH_MEASURE without its TIK",
        "compared",
        "virtee/sev-snp-measure#6, AMDSEV#70",
        "sev-es",
        manifest=_sevctl_guest,
        expected=lambda *_: FOUR,
        by="virtee/sevctl",
        refused=r"LAUNCH_MEASURE",
    ),
    Case(
        "a LAUNCH_MEASURE of one of the targets",
        "compared",
        "sev-tool#44, virtee/sevctl",
        "sev-es",
        manifest=lambda world: {
            **_sevctl_guest(world),
            "vcpu": {"count": [1, 2, 4], "model": "EPYC-Milan"},
            "kernel": None,
            "initrd": None,
        },
        options=["--tik", "@tik", "--api", "1.49", "--build", "6"],
        expected=lambda *_: FOUR,
        by="virtee/sevctl",
        also=r"vcpus4",
        public=True,
    ),
    Case(
        "a LAUNCH_MEASURE with API and build in hexadecimal",
        "compared",
        "sev-tool#41, sev-tool#44, virtee/sevctl",
        "sev",
        manifest=_sevctl_kernel,
        options=["--tik", "@tik", "--api", "1.28", "--build", "28"],
        expected=lambda *_: WITH_KERNEL,
        by="virtee/sevctl",
        also=r"hexadecimal",
        public=True,
    ),
    Case(
        "a LAUNCH_MEASURE that no target has",
        "compared",
        "sev-tool#44, AMDSEV#70",
        "sev-es",
        manifest=lambda world: {**_sevctl_guest(world), "kernel": None, "initrd": None},
        options=["--tik", "@tik", "--api", "1.49", "--build", "6"],
        expected=lambda *_: FOUR,
        by="virtee/sevctl",
        excludes=r"the session or the launch digest is another",
    ),
    Case(
        "a bundle explained: more vCPUs",
        "compared",
        "c8s#394",
        "direct",
        {"vcpus": "2"},
        {"vcpus": 2},
        subject=_bundle,
    ),
    Case(
        "reference values explained: another CPU",
        "compared",
        "c8s#454",
        "direct",
        {"cpu": "0x00a00f11"},
        {"signature": 0xA00F11},
        subject=_reference_values,
    ),
    Case(
        "published ingredients explained: more vCPUs",
        "compared",
        "dstack's ingredients",
        "dstack",
        {"vcpus": "4"},
        {"vcpus": 4},
        subject=lambda *_: str(shared_file("publish/dstack/measurement.snp.ingredients.json")),
    ),
]

ID_BLOCKS = [
    Case(
        "an ID block of more vCPUs",
        "id-block",
        "kata#10889, kata#5795",
        "direct",
        {"vcpus": "4"},
        {"vcpus": 4},
        expected=_id_block(),
    ),
    Case(
        "an ID block from before DebugSwap was off",
        "id-block",
        "AMDSEV#195, AMDSEV#223",
        "direct",
        {"guest-features": "0x21"},
        {"features": 0x21},
        expected=_id_block(),
    ),
    Case(
        "an ID block of the right digest and another policy",
        "id-block",
        "AMDSEV#256, kata#10889",
        "direct",
        expected=_id_block(0x30001),
        also=r"policy",
    ),
    Case(
        "an ID block of the right digest: the key or the signature was refused",
        "id-block",
        "sev-guest#13, #19, virtee/sev-snp-measure#28, #29",
        "direct",
        expected=_id_block(),
        also=r"equal",
    ),
    Case(
        "an ID block of another line",
        "id-block",
        "kata#5795",
        "direct",
        host=lambda world: {"firmware": world["rebuilt.fd"]},
        expected=_id_block(),
        excludes=r"firmware or kernel hashes",
    ),
    Case(
        "a report of the right digest and another policy",
        "id-block",
        "AMDSEV#256",
        "direct",
        manifest={"launch": {"policy": 0x70000}},
        expected=report_with("reports/milan-v3-azure-aci.report.bin"),
        also=r"policy",
    ),
]

CASES = [*COMPARED, *ID_BLOCKS]
