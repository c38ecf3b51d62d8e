"""A manifest of published ingredients measures to what the hardware reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.guests import digest_of
from tests.support.shared import shared_file

MEASUREMENT = slice(0x90, 0xC0)
"""Where an attestation report has the launch digest (SNP ABI table 23)."""


def _tables() -> dict[str, Any]:
    document = json.loads(shared_file("publish/dstack/measurement.snp.ingredients.json").read_text())
    sections = [
        {"gpa": section["gpa"], "size": section["size"], "kind": section["section_type"]}
        for section in document["ovmf_sections"]
    ]
    metadata = {
        "reset": document["sev_es_reset_eip"],
        "hash-table": document["sev_hashes_table_gpa"],
        "sections": sections,
    }
    return {
        "launch": {"mode": "snp", "profile": "qemu", "guest-features": document["guest_features"]},
        "firmware": {"seed": document["ovmf_hash"], "metadata": metadata},
        "kernel": {"sha256": document["kernel_hash"], "cmdline": document["base_cmdline"]},
        "initrd": {"sha256": document["initrd_hash"]},
        "vcpu": {"count": document["vcpus"], "model": document["vcpu_type"]},
    }


def _reported() -> str:
    return shared_file("publish/dstack/extracted-report.bin").read_bytes()[MEASUREMENT].hex()


def test_published_ingredients_give_the_measurement_of_the_hardware_report(tmp_path: Path) -> None:
    assert digest_of(tmp_path, **_tables()) == _reported()


def _swap_sections(tables: dict[str, Any]) -> None:
    tables["firmware"]["metadata"]["sections"].sort(key=lambda section: section["gpa"])


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("firmware", "seed", "11" * 48),
        ("kernel", "sha256", "22" * 32),
        ("kernel", "cmdline", "console=ttyS0"),
        ("initrd", "sha256", "33" * 32),
        ("vcpu", "count", 3),
        ("vcpu", "model", "EPYC-Milan"),
        ("launch", "guest-features", 0x21),
        ("launch", "profile", "qemu-snp-legacy-fpu"),
    ],
)
def test_every_ingredient_enters(tmp_path: Path, table: str, key: str, value: Any) -> None:
    tables = _tables()
    assert tables[table][key] != value
    tables[table][key] = value
    assert digest_of(tmp_path, **tables) != _reported()


@pytest.mark.parametrize(("key", "value"), [("reset", 0x80B008), ("hash-table", 0x810C80)])
def test_every_ingredient_of_the_firmware_enters(tmp_path: Path, key: str, value: int) -> None:
    tables = _tables()
    tables["firmware"]["metadata"][key] = value
    assert digest_of(tmp_path, **tables) != _reported()


def test_sections_launch_in_the_order_listed(tmp_path: Path) -> None:
    tables = _tables()
    _swap_sections(tables)
    assert digest_of(tmp_path, **tables) != _reported()
