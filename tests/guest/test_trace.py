"""A launch plan as a document: the digest of each update's contents, and the launch digest after it."""

from __future__ import annotations

from hashlib import sha256, sha384
from pathlib import Path
from typing import Any

import pytest

from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.guest.guest import Guest
from sevbuild.guest.trace import ContentsDigests, file_plan_document, plan_document
from sevbuild.igvm.headers import GuestPolicy, PageData
from sevbuild.launch.region_data import chunks
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of
from tests.support.igvm import BSP, SNP, VMSA, write_file


def _guest(folder: Path, **tables: Any) -> Guest:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    (folder / "kernel").write_bytes(b"kernel")
    return guest_of(folder, **{"firmware": {"path": "OVMF.fd"}, "kernel": {"path": "kernel"}, **tables})


@pytest.mark.parametrize("mode", ["snp", "sev-es", "sev"])
def test_a_plan_document_is_the_plan_and_ends_in_the_launch_digest(tmp_path: Path, mode: str) -> None:
    guest = _guest(tmp_path, launch={"mode": mode}, vcpu={"count": 2})
    (target,) = guest.targets
    document = plan_document(guest, target)
    plan, hasher = guest.plan(target), sha384 if mode == "snp" else sha256
    assert (document["label"], document["profile"], document["order"]) == (target.label, "qemu", "profile")
    assert (document["mode"], document["algorithm"]) == (mode, hasher().name)
    assert (document["policy"], document["seed"]) == (hex(plan.policy), None)
    assert document["guest_features"] == {"snp": "0x1", "sev-es": "0x0", "sev": None}[mode]
    assert [entry["index"] for entry in document["updates"]] == [*range(len(plan.updates))]
    for entry, update in zip(document["updates"], plan.updates, strict=True):
        assert (entry["origin"], entry["gpa"], entry["length"]) == (
            update.origin,
            hex(update.gpa),
            hex(update.length),
        )
        contents = None if update.data is None else hasher(b"".join(chunks(update.data))).hexdigest()
        assert entry["contents_digest"] == contents
    assert document["updates"][-1]["launch_digest"] == guest.measure()[0].digest.hex()
    types = [entry["page_type"] for entry in document["updates"]]
    vmsas = [] if mode == "sev" else ["vmsa", "vmsa"]
    regions = ["normal", "zero", "secrets", "cpuid", "normal"] if mode == "snp" else ["data", "data"]
    assert types == regions + vmsas


def test_digests_of_contents_are_kept_for_further_targets(tmp_path: Path) -> None:
    guest = _guest(tmp_path, launch={"mode": ["snp", "sev"]})
    known: ContentsDigests = {}
    for target in guest.targets:
        assert plan_document(guest, target, known) == plan_document(guest, target)
    image = standard_firmware()
    assert (known[True, image], known[False, image]) == (sha384(image).hexdigest(), sha256(image).hexdigest())
    # What is known is taken as it is.
    known[True, image] = "known"
    assert plan_document(guest, guest.targets[0], known)["updates"][0]["contents_digest"] == "known"


def test_a_seed_stands_where_the_firmware_was(tmp_path: Path) -> None:
    sections = [{"gpa": 0x800000, "size": 0x1000, "kind": 1}]
    firmware = {"seed": "ab" * 48, "metadata": {"sections": sections}}
    guest = _guest(tmp_path, firmware=firmware, kernel=None, vcpu={"count": 1})
    document = plan_document(guest, guest.targets[0])
    assert document["seed"] == "ab" * 48
    assert document["updates"][0]["origin"] != "firmware"


def test_what_a_loader_makes_of_a_file_is_such_a_document_too(tmp_path: Path) -> None:
    page = PageData(0x20000, 1, b"\xaa" * 4096)
    empty = page._replace(gpa=0x30000, data=None)
    file = ForeignFile(str(write_file(tmp_path, SNP, GuestPolicy(0xB0000, 1), page, empty, BSP)))
    (item,) = file.launches(ForeignLaunch(["cloud-hypervisor-kvm"]))
    document = file_plan_document(file, item.target)
    assert document["label"] == "snp/cloud-hypervisor-kvm/-/vcpus1"
    assert (document["profile"], document["order"]) == ("cloud-hypervisor-kvm", "file")
    assert (document["policy"], document["guest_features"]) == ("0xb0000", "0x1")
    digests = [entry["contents_digest"] for entry in document["updates"]]
    assert digests == [sha384(b"\xaa" * 4096).hexdigest(), None, sha384(VMSA).hexdigest()]
    assert document["updates"][-1]["launch_digest"] == item.digest.hex()
