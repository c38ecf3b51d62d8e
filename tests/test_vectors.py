"""Launch digests read on hardware or given by other tools: every vector of the shared collection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sevbuild.guest.guest import Guest
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.ovmf import Metadata, Section, parse_firmware
from sevbuild.image.svsm import Svsm
from sevbuild.launch.planner import GuestInputs, LaunchShape, Planner
from sevbuild.manifest.profiles import load_profile
from sevbuild.measure.tree import LaunchTree
from tests.support.guests import guest_of
from tests.support.shared import VECTORS, shared_file

Vector = Mapping[str, Any]


def _vectors(kind: str) -> list[Any]:
    path = VECTORS / "firmware" / "vectors.json"
    if not path.exists():
        reason = f"third-party vectors are not at {VECTORS}; set SEVBUILD_VECTORS"
        return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]
    vectors = json.loads(path.read_text())["vectors"]
    return [pytest.param(vector, id=vector["id"]) for vector in vectors if vector["kind"] == kind]


def _profile(vector: Vector) -> str:
    """Return the profile that launches like the tool that a vector is from."""
    vmm, fpu = vector.get("vmm"), vector.get("fpu", "qemu")
    if vmm == "ec2":
        return "ec2-rdx0" if vector.get("rdx") == "0x0" else "ec2"
    if vmm == "gce":
        return "gce"
    if vector["mode"] == "seves":
        return "qemu-es-init2" if fpu == "qemu" else "qemu"
    return "qemu-snp-legacy-fpu" if fpu == "none" else "qemu"


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def _gce_fake(size: int) -> bytes:
    """Return the synthetic firmware of google/gce-tcb-verifier 74582c0, testing/fakeovmf, CleanExample."""
    image = bytearray(size)
    for at in (0x800, 0xA00):
        image[at : at + 16] = b"LGTM" * 4
    sections = [(0xFF001000, 0x1000, 1), (0xFF003000, 0x1000, 3), (0xFF004000, 0x1000, 2)]
    metadata = b"ASEV" + _words(16 + 12 * len(sections), 1, len(sections))
    metadata += b"".join(_words(*section) for section in sections)
    image[: len(metadata)] = metadata
    # TDX: data offset, data size, memory base and size (u64), section type, attributes.
    regions = [
        (0x20000, 0x1E0000, 0xFFE20000, 0, 0x1E0000, 0, 0, 1),
        (0, 0x20000, 0xFFE00000, 0, 0x20000, 0, 1, 0),
        (0, 0, 0x810000, 0, 0x10000, 0, 3, 0),
        (0, 0, 0x80B000, 0, 0x2000, 0, 3, 0),
        (0, 0, 0x809000, 0, 0x2000, 0, 2, 0),
        (0, 0, 0x800000, 0, 0x6000, 0, 3, 0),
    ]
    tdx = UUID("e9eaf9f3-168e-44d5-a8eb-7f4d8738f6ae").bytes_le + b"TDVF" + _words(208, 1, len(regions))
    tdx += b"".join(_words(*region) for region in regions)
    image[0x100 : 0x100 + len(tdx)] = tdx
    entries = [
        ("e47a6535-984a-4798-865e-4685a7bf8ec2", size - 0x110),
        ("dc886566-984a-4798-a75e-5585a7bf67cc", size),
        ("00f771de-1a7e-4fcb-890e-68c77e2fb44e", 0xFF0000FF),
    ]
    table = b"".join(
        _words(value) + (22).to_bytes(2, "little") + UUID(guid).bytes_le for guid, value in entries
    )
    table += (len(table) + 18).to_bytes(2, "little") + UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
    image[size - 0x20 - len(table) : size - 0x20] = table
    return bytes(image)


def _declared(vector: Vector, folder: Path) -> Guest:
    """Return the guest of a vector, declared by a manifest."""
    mode = {"snp": "snp", "seves": "sev-es", "sev": "sev", "ovmf-hash": "snp"}[vector["mode"]]
    launch: dict[str, Any] = {"mode": mode, "profile": _profile(vector)}
    if "sev_features" in vector and mode != "sev":
        launch["guest-features"] = int(vector["sev_features"], 16)
    signature = int(vector.get("cpu_sig", "0x800f12"), 16)
    tables: dict[str, Any] = {
        "launch": launch,
        "vcpu": {"count": vector.get("vcpus", 1), "model": None, "signature": signature},
    }
    name = vector["firmware"]
    if name.startswith("gce-fake:"):
        (folder / "firmware").write_bytes(_gce_fake(int(name.split(":")[1], 16)))
        tables["firmware"] = {"path": "firmware"}
    elif name.endswith(".json"):
        document = json.loads(shared_file(f"firmware/{name}").read_text())
        sections = [
            {"gpa": int(item["GPA"], 16), "size": int(item["Size"], 16), "kind": item["SectionTypeInt"]}
            for item in document["MetadataItems"]
        ]
        metadata = {"reset": int(document["ResetEIP"], 16), "sections": sections}
        tables["firmware"] = {"seed": document["OVMFHash"], "metadata": metadata}
    else:
        tables["firmware"] = {"path": str(shared_file(f"firmware/{name}"))}
    if "seed" in vector:
        parsed = parse_firmware(shared_file(f"firmware/{name}").read_bytes()).metadata
        assert parsed.sections is not None
        assert parsed.hash_table is not None
        sections = [section._asdict() for section in parsed.sections]
        tables["firmware"] = {
            "seed": vector["seed"],
            "metadata": {
                "reset": parsed.reset,
                "hash-table": parsed.hash_table.base,
                "sections": sections,
            },
        }
    if "kernel" in vector:
        for part in ("kernel", "initrd"):
            (folder / part).write_bytes(bytes.fromhex(vector[part]))
        tables["kernel"] = {"path": "kernel", "cmdline": vector["append"]}
        tables["initrd"] = {"path": "initrd"}
    return guest_of(folder, **tables)


@pytest.mark.parametrize("vector", _vectors("digest"))
def test_a_declared_guest_has_the_published_digest(vector: Vector, tmp_path: Path) -> None:
    guest = _declared(vector, tmp_path)
    (target,) = guest.targets
    if vector["mode"] == "ovmf-hash":
        assert guest.seed(target).hex() == vector["expected"]
    else:
        (measured,) = guest.measure()
        assert measured.digest.hex() == vector["expected"]
        assert [digest for _, digest in guest.trace(target)][-1] == measured.digest


EC2_OF_2023 = {
    "edgelesssys/constellation 7cb5b83, VLEK, firmware 1.54.1": (
        2,
        "c2c84b9364fc9f0f54b04534768c860c6e0e386ad98b96e8b98eca46ac8971d05c531ba48373f054c880cfd1f4a0a84e",
    ),
    "github.com/aws/uefi issue 10, m6a.xlarge": (
        4,
        "25ac810f5c4750890fb1a158f097962e04d4d7fb640d1d08a99829cf4a70543a47cc6fb192bbe90aa713142361a66155",
    ),
}
"""vCPUs and MEASUREMENT of attestation reports of EC2 instances of 2023, which run aws/uefi image 2."""


@pytest.mark.parametrize("report", EC2_OF_2023)
def test_ec2_hosts_of_2023_started_their_vcpus_with_rdx_0(report: str, tmp_path: Path) -> None:
    vcpus, measurement = EC2_OF_2023[report]
    vector = {
        "mode": "snp",
        "vmm": "ec2",
        "firmware": "ec2_img_2.json",
        "vcpus": vcpus,
        "sev_features": "0x1",
    }
    digests = {}
    for rdx in ("0x0", "0x600"):
        (measured,) = _declared({**vector, "rdx": rdx}, tmp_path).measure()
        digests[measured.target.profile.name] = measured.digest.hex()
    assert digests["ec2-rdx0"] == measurement != digests["ec2"]


@pytest.mark.parametrize("vector", _vectors("digest-from-seed"))
def test_an_svsm_guest_has_the_digest_read_on_hardware(vector: Vector) -> None:
    sections = tuple(
        Section(int(entry["gpa"], 16), int(entry["size"], 16), entry["type"]) for entry in vector["sections"]
    )
    entry = int(vector["entry_rip"], 16)
    firmware = FirmwareSeed(bytes.fromhex(vector["seed"]), Metadata(None, None, None))
    inputs = GuestInputs(firmware, Svsm(None, entry, entry, sections), None)
    shape = LaunchShape(
        mode=vector["mode"],
        launch=load_profile(vector["profile"]).rules.launch,
        order="profile",
        policy=0x30000,
        vcpus=vector["vcpus"],
        signature=int(vector["cpu_sig"], 16),
        guest_features=int(vector["sev_features"], 16),
    )
    plan = Planner().plan(inputs, shape)
    assert LaunchTree().digest(plan).hex() == vector["expected"]
    # Without the SVSM's own registers, QEMU's values give another digest: the profile is what decides.
    other = plan._replace(vmsas=plan.vmsas[:1])
    assert LaunchTree().digest(other).hex() != vector["expected"]
