"""SVSM and IGVM: files with their vCPUs, and what loaders and tools make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.diagnose.cases.case import Case, tables_of
from tests.diagnose.cases.hosts import number
from tests.diagnose.cases.world import World
from tests.support.cli import run
from tests.support.guests import write_manifest
from tests.support.shared import shared_file

__all__ = ["CASES"]


def _igvm(name: str) -> Any:
    """Return that an IGVM file is explained: one of the vectors, or that of the case's bundle."""

    def made(world: World, folder: Path) -> str:
        if name:
            return str(shared_file(name))
        tables = tables_of(Case("", "", "", "igvm"), world)
        bundle = folder / "bundle"
        done = run("build", write_manifest(folder, **tables), "-o", bundle, "-q")
        assert done.status == 0, done.err
        (path,) = bundle.rglob("*.igvm")
        return str(path)

    return made


ALL_LOADERS = "igvm/snp_all_v1.igvm"

CASES = [
    Case(
        "an SVSM with two vCPUs, as it was read on hardware",
        "igvm",
        "virtee/sev-snp-measure#31, #54",
        "svsm",
        {"vcpus": "2"},
        {"vcpus": 2},
        published="4ae03ca013690e956bc1eb16bc1c6465788dba64ad88a650db09216fa9cdddf06167bfce810eba8988108e71458dd68b",
        public=True,
    ),
    Case(
        "an SVSM on a host with DebugSwap",
        "igvm",
        "svsm#365",
        "svsm",
        {"guest-features": "0x21"},
        {"features": 0x21},
    ),
    Case(
        "an SVSM with two vCPUs on a host with DebugSwap",
        "igvm",
        "svsm#349, svsm#365",
        "svsm",
        {"guest-features": "0x21", "vcpus": "2"},
        {"features": 0x21, "vcpus": 2},
    ),
    Case(
        "MXCSR without FCW, as sev-snp-measure has it since 0.0.10",
        "igvm",
        "virtee/sev-snp-measure#54",
        "svsm",
        {"registers.mxcsr": "0x1f80"},
        {"vmsa": {0x408: number(0x1F80, 4)}},
    ),
    Case(
        "another build of the SVSM",
        "igvm",
        "svsm#599",
        "svsm",
        host={"seed": bytes(range(48)), "vcpus": 2},
        excludes=r"firmware",
    ),
    Case(
        "vCPUs that the file does not describe",
        "igvm",
        "svsm#349, svsm#353, microsoft/kata-containers#551",
        "igvm",
        {"vcpus": "4"},
        {
            "vmsa": {0x310: number(0x800F12)},
            "bsp": {0x310: number(0)},
            "reset": 0xFFFFFFF0,
            "vcpus": 4,
        },
        subject=_igvm(""),
        options=["--loader", "qemu", "--cpu", "EPYC-v4"],
    ),
    Case(
        "vCPUs that the file does not describe, on another CPU",
        "igvm",
        "svsm#1029, kata#13874",
        "igvm",
        {"vcpus": "2", "cpu": "0x00a00f11"},
        {
            "vmsa": {0x310: number(0xA00F11)},
            "bsp": {0x310: number(0)},
            "reset": 0xFFFFFFF0,
            "vcpus": 2,
        },
        subject=_igvm(""),
        options=["--loader", "qemu", "--cpu", "EPYC-v4"],
    ),
    Case(
        "igvmmeasure prints for no loader",
        "igvm",
        "svsm#599, svsm#294",
        "igvm",
        {"loader": "igvmmeasure"},
        published="a354da2f9b6500fecd29c41a6489e76a876b3f5a755e4b793e9c5e0a309f46a18960c956c93107a63c12313b71ec79ae",
        subject=_igvm(ALL_LOADERS),
        options=["--loader", "qemu"],
        public=True,
    ),
    Case(
        "igvmmeasure --native-zero, as Vanadium launches",
        "igvm",
        "svsm#1029",
        "igvm",
        {"loader": "igvmmeasure-native-zero"},
        published="7e1cb49f3ce3dde12848920e7b583dbae18f90cfc7898887a74df5a96ad5d285af3c85234fba92ea7e14c547c76b5b8e",
        subject=_igvm(ALL_LOADERS),
        options=["--loader", "qemu"],
        public=True,
    ),
    Case(
        "the igvm crate's digest of a file with a zero page",
        "igvm",
        "microsoft/igvm#36",
        "igvm",
        {"loader": "igvm-reference"},
        published="889a19386c82e2219bded3e92a764e8c00c29b966d04a662bca6cfdfec647b9051995653390783846557913263d71c4f",
        subject=_igvm("igvm/openvmm_snp_vector.igvm"),
        options=["--loader", "igvmmeasure"],
        public=True,
    ),
    Case(
        "the digest of another IGVM file",
        "igvm",
        "svsm#599",
        "igvm",
        published="85cd597d07b79eef0011853f0b6d115a8732f030c6a30847ee3cf34d39c6ee83197e95b6921cf96f24b108bf3e7a9f7b",
        subject=_igvm(ALL_LOADERS),
        options=["--loader", "qemu"],
        excludes=r"file",
        public=True,
    ),
]
