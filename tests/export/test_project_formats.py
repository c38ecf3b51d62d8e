"""Formats of projects: field for field, and against what they published."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from typing import Any

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import exporter, render
from tests.export.support import document, rendered, typed
from tests.support.shared import shared_file


def _json(name: str, of: dict[str, Any], **extra: Any) -> Any:
    (data,) = rendered(name, of, **extra).values()
    return json.loads(data)


def test_dstacks_own_document_comes_out() -> None:
    """What dstack published, key by key and in its order, from the reference values of the same guest."""
    published = json.loads(shared_file("publish/dstack/measurement.snp.ingredients.json").read_text())
    ours = _json("dstack", document("hardware"))
    assert ours == published
    assert list(ours) == list(published)
    report = shared_file("publish/dstack/extracted-report.bin").read_bytes()
    assert document("hardware")["values"][0]["digest"] == report[0x90:0xC0].hex()


def test_several_targets_are_a_list_of_records() -> None:
    records = _json("dstack", document("matrix"))
    assert [(record["vcpu_type"], record["vcpus"]) for record in records[::2]] == [
        ("EPYC-v4", 1), ("EPYC-v4", 2), ("EPYC-Milan", 1), ("EPYC-Milan", 2)
    ]  # fmt: skip
    assert [record["base_cmdline"] for record in records[1:4:2]] == ["maxcpus=1", "maxcpus=2"]


def test_hyperbeams_record_has_the_digests_of_the_launch() -> None:
    of = document("matrix")
    records = _json("hyperbeam", of)["snp_trusted"]
    assert len(records) == len(of["values"])
    for record, value in zip(records, of["values"], strict=True):
        assert set(record) == {
            "vcpus", "vcpu_type", "vmm_type", "guest_features", "firmware", "kernel", "initrd", "append"
        }  # fmt: skip
        assert record["append"] == sha256(value["cmdline"].encode() + b"\0").hexdigest()
        assert record["kernel"] == of["inputs"][1]["sha256"]
        assert (record["vmm_type"], record["vcpus"]) == (1, value["vcpus"])


def _without(of: dict[str, Any], *path: str) -> dict[str, Any]:
    entry: Any = of["ingredients"][0]
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = None
    return of


@pytest.mark.parametrize("name", ["dstack", "hyperbeam"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda of: of["values"][0].update(kernel_hashes=False), "no kernel is measured"),
        (lambda of: of["values"][0].update(profile="ec2"), "profile qemu, not of ec2"),
        (lambda of: of["values"][0].update(order="canonical"), "canonical order"),
        (lambda of: of["values"][0].update(cpu="0x00a00f11"), "0x00a00f11"),
        (lambda of: of["values"][0].pop("ingredients"), "no ingredients"),
        (lambda of: _without(of, "seed"), "no ingredients"),
        (lambda of: _without(of, "hash_table"), "hash table"),
        (
            lambda of: [of["ingredients"][0]["kernel"].pop(key) for key in ("cmdline", "cmdline_sha256")],
            "not UTF-8",
        ),
    ],
)
def test_what_those_verifiers_cannot_recompute_is_not_exported(name: str, change: Any, reason: str) -> None:
    of = document("hardware")
    change(of)
    assert reason in str(exporter(name).refusal(typed(of)))


def test_bounds_of_dstacks_readers() -> None:
    of = document("hardware")
    of["values"][0]["vcpus"] = 513
    assert "512 vCPUs" in str(exporter("dstack").refusal(typed(of)))


def _warnings(name: str, of: dict[str, Any]) -> list[str]:
    notices = exporter(name).notices(typed(of), ExportOptions())
    return [notice.message for notice in notices if notice.level == "warning"]


def test_dstack_refuses_what_a_warning_names() -> None:
    """What dstack published passes its checks; each of these is an error in validate_measurement_input."""
    assert _warnings("dstack", document("hardware")) == []
    refused = "dstack refuses a command line without dstack.rootfs_hash= and 64 hexadecimal digits"
    good = "dstack.rootfs_hash=" + "0a" * 32
    for line, warnings in (
        ("quiet", [refused]),
        (f"quiet {good}", []),
        (f"{good[:-1]}", [refused]),
        (f"{good}0", [refused]),
        (f"x{good}", [refused]),
        (f"dstack.rootfs_hash=0x{'0a' * 32}", [refused]),
        (f"dstack.rootfs_hash=none {good}", [refused]),
        (f"{good}\tquiet", []),
    ):
        of = document("hardware")
        of["values"][0]["cmdline"] = line
        assert _warnings("dstack", of) == warnings, line
    for model, known in (
        ("EPYC-v4", True),
        ("EPYC-v5", False),
        ("EPYC-Genoa-v1", True),
        ("EPYC-Turin", False),
    ):
        of = document("hardware")
        of["values"][0]["cpu"] = model
        assert _warnings("dstack", of) == ([] if known else [f"dstack does not know CPU model {model}"])
    of = document("hardware")
    of["values"][0]["guest_features"] = "0x0"
    assert _warnings("dstack", of) == ["dstack refuses guest features 0x0"]


def test_secretvm_computes_with_one_signature() -> None:
    of = document("matrix")
    of["values"] = of["values"][:4]  # EPYC-v4
    about_lists = (
        "a list is for SecretVM; dstack takes one target, with dstack.rootfs_hash= in its command line"
    )
    assert _warnings("dstack", of) == [about_lists]
    (listed, other) = _warnings("dstack", document("matrix"))
    assert listed == about_lists
    assert other == (
        "SecretVM computes with CPU signature 0x800f12 and guest features 0x1 alone: no match for "
        "snp/qemu/EPYC-Milan/vcpus1/plain, snp/qemu/EPYC-Milan/vcpus1/smp, snp/qemu/EPYC-Milan/vcpus2/plain, 1 more"
    )
    of["values"][0]["guest_features"] = "0x21"
    assert _warnings("dstack", of)[1].endswith("no match for snp/qemu/EPYC-v4/vcpus1/plain")
    # A single record is dstack's, for which the signature is no matter: a note.
    of["values"] = of["values"][:1]
    assert exporter("dstack").notes(typed(of), ExportOptions()) == _secretvm_alone(
        "snp/qemu/EPYC-v4/vcpus1/plain"
    )
    assert exporter("dstack").notes(typed(document("hardware")), ExportOptions()) == []


def _secretvm_alone(label: str) -> list[str]:
    return [
        f"SecretVM computes with CPU signature 0x800f12 and guest features 0x1 alone: no match for {label}"
    ]


def test_hyperbeam_computes_with_32_vcpus_of_one_model() -> None:
    of = document("hardware")
    (warning,) = _warnings("hyperbeam", of)
    assert warning == (
        "HyperBEAM b2743e4 computes with 32 vCPUs, EPYC-v4 and guest features 0x1 whatever a record says: "
        "no match for snp/qemu/EPYC-v4/vcpus2"
    )
    of["values"][0]["vcpus"] = 32
    assert _warnings("hyperbeam", of) == []
    of["values"][0]["cpu"] = "EPYC-v3"
    assert len(_warnings("hyperbeam", of)) == 1
    of["values"][0]["cpu"] = "EPYC-v2"
    assert "vcpu_type has no number for EPYC-v2" in str(exporter("hyperbeam").refusal(typed(of)))


def test_contrast_holds_one_vcpu_and_the_reset_address() -> None:
    of = document("matrix")
    entries = _json("contrast", of)["snp"]
    assert [entry["TrustedMeasurement"] for entry in entries] == [
        value["digest"] for value in of["values"] if value["vcpus"] == 1
    ]
    assert set(entries[0]) == {
        "Platform", "ProductName", "TrustedMeasurement", "APEIP", "CPUs", "MinimumTCB", "GuestPolicy",
        "PlatformInfo", "MinimumMitigationVector", "AllowedChipIDs",
    }  # fmt: skip
    assert entries[0]["APEIP"] == "0080b004"
    assert entries[0]["GuestPolicy"] == {
        "ABIMinor": 0, "ABIMajor": 0, "SMT": True, "MigrateMA": False, "Debug": False, "SingleSocket": False,
        "CXLAllowed": False, "MemAES256XTS": False, "RAPLDis": False, "CipherTextHidingDRAM": False,
        "PageSwapDisable": False,
    }  # fmt: skip
    assert exporter("contrast").notes(typed(of), ExportOptions())[0].startswith("holds 4 of 8 targets")
    single = {**of, "values": of["values"][:1]}
    assert exporter("contrast").notes(typed(single), ExportOptions()) == []


def test_contrast_computes_with_the_cpu_of_the_product() -> None:
    of = document("matrix")
    single = [value for value in of["values"] if value["vcpus"] == 1]
    for product, signature, count in (("Milan", "0x00a00f11", 2), ("Genoa", "0x00a10f10", 4)):
        found = exporter("contrast").warnings(typed(of), ExportOptions({"product-name": product}))
        others = [value for value in single if value["signature"] != signature]
        assert len(found) == len(others) == count
        for warning, value in zip(found, others, strict=True):
            assert f"EPYC-{product} ({signature})" in warning
            assert value["label"] in warning
    assert exporter("contrast").warnings(typed(of), ExportOptions()) == []


def test_contrast_is_refused_what_it_cannot_extend() -> None:
    with pytest.raises(SevbuildError, match="'Turin' is not known"):
        rendered("contrast", document("matrix"), product_name="Turin")
    of = document("matrix")
    for value in of["values"]:
        value["profile"] = "ec2"
    assert "under profile qemu" in str(exporter("contrast").refusal(typed(of)))
    assert "AP reset address" in str(
        exporter("contrast").refusal(typed(_without(document("matrix"), "reset")))
    )


def test_tinfoils_predicate_has_its_fields() -> None:
    of = document("matrix")
    of["values"] = of["values"][:1]
    predicate = _json("tinfoil", of)
    assert set(predicate) == {"snp_measurement", "tdx_measurement", "vm_shape", "cmdline", "hashes", "config"}
    assert set(predicate["vm_shape"]) == {"cpus", "memory_mb", "gpus", "disks"}
    assert set(predicate["hashes"]) == {"version", "root", "initrd", "kernel", "raw"}
    assert predicate["hashes"]["kernel"] == of["inputs"][1]["sha256"]
    assert b64decode(predicate["config"]) == b"cvm-version: 0.4.1\n"
    del of["values"][0]["ingredients"]
    of["inputs"].append({**of["inputs"][1], "sha256": "00" * 32})
    assert "does not have one of each" in str(exporter("tinfoil").refusal(typed(of)))
    # What is known by a seed is no file.
    firmware, kernel, initrd, _ = of["inputs"]
    del kernel["sha256"]
    of.update(inputs=[firmware, {**kernel, "seed": "00" * 48}, initrd], ingredients=[])
    assert "does not have one of each" in str(exporter("tinfoil").refusal(typed(of)))
    of["values"][0]["kernel_hashes"] = False
    assert "no kernel is measured" in str(exporter("tinfoil").refusal(typed(of)))


def test_the_igvm_identity_is_in_upper_case() -> None:
    of = document("matrix")
    of["values"][1]["policy"] = "0xb0000"
    identity = _json("igvm-identity", of)
    assert identity["environment"] == {"class_id": "7fb00ee4-a7ff-11ed-9e2f-00155d09de56"}
    assert [entry["reference"]["snp_ld"].lower() for entry in identity["series"]] == [
        value["digest"] for value in of["values"]
    ]
    assert identity["series"][0]["reference"]["snp_ld"].isupper()
    assert [entry["endorsement"]["build_info"]["debug_build"] for entry in identity["series"][:2]] == [
        False,
        True,
    ]
    assert {entry["endorsement"]["snp_isvsvn"] for entry in identity["series"]} == {7}


def test_the_svn_is_the_id_blocks_where_there_is_one() -> None:
    of = document("hardware")
    of["values"][0]["id_block"] = {
        "id_key_digest": "aa" * 48,
        "family_id": "00" * 16,
        "image_id": "00" * 16,
        "guest_svn": 9,
    }
    (data,) = render("igvm-identity", typed(of), ExportOptions()).values()
    assert json.loads(data)["series"][0]["endorsement"]["snp_isvsvn"] == 9
    with pytest.raises(SevbuildError, match="guest-svn 7, and 9 in the ID block"):
        rendered("igvm-identity", of)
