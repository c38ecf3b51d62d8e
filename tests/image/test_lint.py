"""The lint tells a publisher what a firmware is good for, before a digest is published."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sevbuild.image.lint import describe_firmware, lint_firmware
from sevbuild.image.ovmf import parse_firmware
from tests.support.firmware import RESET, make_firmware, words

SECTIONS = [(0x800000, 0x9000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]
GOOD: dict[str, Any] = {"sections": SECTIONS, "reset": 0x80B004, "hash_table": (0x810C00, 0x400)}


def _findings(verifier: bool | None = True, **more: Any) -> dict[str, list[str]]:
    firmware = parse_firmware(make_firmware(**{**GOOD, **more}))
    found: dict[str, list[str]] = {}
    for finding in lint_firmware(firmware, verifier=verifier):
        found.setdefault(finding.topic, []).append(f"{finding.level}: {finding.message}")
    return found


def test_a_good_firmware_has_nothing_but_ok() -> None:
    assert _findings() == {
        "snp": ["ok: boots SNP"],
        "smp": ["ok: starts several vCPUs under SEV-ES and SNP (at 0x80b004)"],
        "kernel-hashes": ["ok: measured direct boot (SEV, SEV-ES and SNP); verifies kernel hashes"],
    }


@pytest.mark.parametrize(
    ("topic", "message", "options"),
    [
        ("snp", "error: cannot boot SNP: it has no SEV metadata", {"sections": None}),
        ("snp", "warning: SNP guests lack a page: no section of kind snp-secrets", {"sections": SECTIONS[:1] + SECTIONS[2:]}),
        ("snp", "warning: SNP guests lack a page: no section of kind snp-secrets or cpuid", {"sections": SECTIONS[:1]}),
        ("snp", "warning: 2 sections of kind snp-secrets; one is usual", {"sections": [*SECTIONS, (0x900000, 0x1000, 2)]}),
        ("snp", "warning: SNP guests lack a page: no section of kind cpuid", {"sections": SECTIONS[:2] + SECTIONS[3:]}),
        ("snp", "warning: 2 sections of kind cpuid; one is usual", {"sections": [*SECTIONS, (0x900000, 0x1000, 3)]}),
        ("sections", "error: cannot be launched: sections 0 and 4 overlap at 0x801000", {"sections": [*SECTIONS, (0x801000, 0x1000, 1)]}),
        ("sections", "error: cannot be launched: section 4 at 0x900000 is empty", {"sections": [*SECTIONS, (0x900000, 0, 1)]}),
        ("sections", "warning: section 4 has the unknown kind 0x7; QEMU launches it as zero pages", {"sections": [*SECTIONS, (0x900000, 0x1000, 7)]}),
        ("sections", "error: section 4 (snp-sec-mem) overlaps the firmware itself", {"sections": [*SECTIONS, (0xFFFFE000, 0x1000, 1)]}),
        ("smp", "warning: one vCPU only under SEV-ES and SNP: it has no SEV-ES reset block", {"reset": None}),
        ("smp", "warning: one vCPU only under SEV-ES and SNP: it has a reset block with address 0", {"reset": 0}),
        ("kernel-hashes", "warning: no measured direct boot: no area for kernel hashes", {"hash_table": None}),
        ("kernel-hashes", "warning: no measured direct boot: the area for kernel hashes is empty (base 0x0, 0 bytes)", {"hash_table": (0, 0)}),
        ("kernel-hashes", "warning: no measured direct boot: the area for kernel hashes is empty (base 0x810c00, 175 bytes)", {"hash_table": (0x810C00, 175)}),
        ("kernel-hashes", "error: the kernel-hashes table at 0x810ff0 crosses the end of its page", {"hash_table": (0x810FF0, 0x400)}),
        ("kernel-hashes", "warning: no measured direct boot under SNP: no kernel-hashes section has the table", {"sections": SECTIONS[:3]}),
        ("kernel-hashes", "ok: measured direct boot (SEV and SEV-ES); verifies kernel hashes", {"sections": None}),
        ("image", "warning: 69632 bytes is not a multiple of 64 KiB: QEMU's -bios refuses it", {"size": 0x11000}),
        ("image", "warning: 8454144 bytes; QEMU maps at most 8 MiB as flash", {"size": (8 << 20) + 0x10000}),
        ("image", "warning: the footer table has several entries of the SEV-ES reset block; the last one counts", {"extra_entries": [(RESET, words(1))]}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(topic: str, message: str, options: dict[str, Any]) -> None:
    assert message in _findings(**options)[topic]


def test_a_firmware_that_only_pretends_to_verify() -> None:
    (message,) = _findings(verifier=False)["kernel-hashes"]
    assert message.startswith(
        "warning: advertises an area for kernel hashes but contains nothing that verifies"
    )
    (message,) = _findings(verifier=None)["kernel-hashes"]
    assert message.startswith("warning: measured direct boot (SEV, SEV-ES and SNP), if it verifies")


def test_an_image_without_a_table() -> None:
    found = [finding.message for finding in lint_firmware(parse_firmware(bytes(0x10000)), verifier=None)]
    assert "no footer table: is this an OVMF?" in found


def test_a_description_is_json_with_hex_strings() -> None:
    description = describe_firmware(parse_firmware(make_firmware(**GOOD, secret=(0x810800, 0x400))))
    assert json.loads(json.dumps(description)) == description
    assert description["kind"] == "firmware"
    assert description["size"] == 0x10000
    assert description["gpa"] == "0xffff0000"
    assert description["reset"] == "0x80b004"
    assert description["hash_table"] == {"base": "0x810c00", "size": "0x400"}
    assert description["secret"] == {"base": "0x810800", "size": "0x400"}
    assert description["svsm_entry"] is None
    assert description["sections"][3] == {
        "index": 3,
        "gpa": "0x810000",
        "size": "0x1000",
        "kind": "kernel-hashes",
    }
    assert [entry["name"] for entry in description["entries"]] == [
        "SEV metadata offset",
        "SEV launch secret area",
        "SEV kernel-hashes area",
        "SEV-ES reset block",
    ]
    assert describe_firmware(parse_firmware(bytes(4096)))["sections"] is None


def _moved(kind: int, gpa: int = 0x810000, size: int = 0x1000) -> list[tuple[int, int, int]]:
    return [*SECTIONS[:3], (gpa, size, kind)]


@pytest.mark.parametrize("table", [(0x810000, 0x400), (0x810F50, 176)])
def test_a_hash_table_may_lie_anywhere_in_its_page(table: tuple[int, int]) -> None:
    assert _findings(hash_table=table) == _findings()


@pytest.mark.parametrize(
    "options",
    [
        {"sections": _moved(4)},
        {"sections": _moved(0x11)},
        {"sections": _moved(0x10, gpa=0x811000)},
        {"sections": _moved(0x10), "hash_table": (0x811000, 0x400)},
        {"sections": _moved(0x10), "hash_table": (0x80FFF0, 0x400)},
        {"sections": _moved(0x10), "hash_table": (0x810F60, 0x400)},
    ],
)
def test_a_section_of_another_kind_or_place_has_no_table(options: dict[str, Any]) -> None:
    message = "warning: no measured direct boot under SNP: no kernel-hashes section has the table"
    assert message in _findings(**options)["kernel-hashes"]


def test_neighbours_of_the_firmware_do_not_overlap_it() -> None:
    assert "sections" not in _findings(sections=[*SECTIONS, (0xFFFE0000, 0x10000, 1)])
    for section in ((0xFFFE0000, 0x11000, 1), (0xFFFF0000, 0x1000, 1), (0xFFFFF000, 0x1000, 1)):
        message = "error: section 4 (snp-sec-mem) overlaps the firmware itself"
        assert message in _findings(sections=[*SECTIONS, section])["sections"]


def test_eight_mebibytes_are_not_too_many() -> None:
    assert "image" not in _findings(size=8 << 20)


def test_every_unknown_kind_is_named() -> None:
    sections = [*SECTIONS, (0x900000, 0x1000, 7), (0x901000, 0x1000, 8)]
    assert [message[:40] for message in _findings(sections=sections)["sections"]] == [
        "warning: section 4 has the unknown kind ",
        "warning: section 5 has the unknown kind ",
    ]


def test_each_guid_that_is_there_twice_is_named_once() -> None:
    twice = [(RESET, words(1)), (RESET, words(2))]
    assert len(_findings(extra_entries=twice)["image"]) == 1
