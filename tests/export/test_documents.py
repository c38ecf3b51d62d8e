"""The documents that the formats are tested on are what measuring their guests gives."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sevbuild.guest.guest import load_guest
from sevbuild.reference.collect import collect_values
from sevbuild.reference.document import reference_document
from tests.export.support import DATA, document
from tests.support.firmware import make_firmware
from tests.support.guests import write_manifest

SECTIONS = [
    (0x800000, 0x9000, 1),
    (0x80A000, 0x3000, 1),
    (0x80D000, 0x1000, 2),
    (0x80E000, 0x1000, 3),
    (0x80F000, 0x1000, 4),
    (0x810000, 0x1000, 0x10),
    (0x811000, 0xF000, 1),
]


def _seeded() -> dict[str, Any]:
    """Return the guest of dstack's published ingredients, from what the document says of it."""
    of = document("hardware")
    (entry,), (value,) = of["ingredients"], of["values"]
    sections = [
        {"gpa": int(section["gpa"], 16), "size": int(section["size"], 16), "kind": section["number"]}
        for section in entry["sections"]
    ]
    numbers = {"reset": int(entry["reset"], 16), "hash-table": int(entry["hash_table"], 16)}
    return {
        "guest": {"name": "dstack", "version": "1"},
        "launch": {"mode": "snp", "profile": "qemu", "policy": 0x30000, "guest-features": 1},
        "firmware": {"seed": entry["seed"], "metadata": {"sections": sections, **numbers}},
        "kernel": {"sha256": entry["kernel"]["sha256"], "cmdline": value["cmdline"]},
        "initrd": {"sha256": entry["kernel"]["initrd_sha256"]},
        "vcpu": {"count": 2, "model": "EPYC-v4"},
    }


def _matrix() -> dict[str, Any]:
    return {
        "guest": {"name": "matrix", "version": "1.0 <beta> & more"},
        "launch": {"mode": "snp", "profile": "qemu", "policy": 0x30000, "guest-features": 1},
        "firmware": {"path": "OVMF.fd"},
        "kernel": {
            "path": "kernel",
            "cmdlines": {"plain": "console=ttyS0 it's quiet", "smp": "maxcpus={vcpus}"},
        },
        "initrd": {"path": "initrd"},
        "vcpu": {"count": [1, 2], "model": ["EPYC-v4", "EPYC-Milan"]},
    }


def _owner() -> dict[str, Any]:
    return {
        **_matrix(),
        "guest": {"name": "owner", "version": "2"},
        "launch": {
            "mode": ["sev", "sev-es"],
            "profile": "qemu",
            "policy": {"sev": 1, "sev-es": 5},
            "guest-features": {"sev-es": 0},
        },
        "kernel": {"path": "kernel", "cmdline": "console=ttyS0 it's quiet"},
        "vcpu": {"count": [1, 3], "model": ["EPYC-Rome"]},
    }


@pytest.mark.parametrize("name", ["hardware", "matrix", "owner"])
def test_documents_do_not_change(tmp_path: Path, name: str) -> None:
    tables = {"hardware": _seeded, "matrix": _matrix, "owner": _owner}[name]()
    image = make_firmware(
        size=0x8000, sections=SECTIONS, reset=0x80B004, hash_table=(0x810C00, 0x400), fill=b"sevbuild"
    )
    (tmp_path / "OVMF.fd").write_bytes(image)
    (tmp_path / "kernel").write_bytes(b"kernel" * 1000)
    (tmp_path / "initrd").write_bytes(b"initrd" * 1000)
    guest = load_guest(str(write_manifest(tmp_path, **tables)))
    measured = reference_document(collect_values(guest, guest.measure()))
    if os.environ.get("SEVBUILD_REMAKE_GOLDENS") == "1":
        text = json.dumps(measured, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (DATA / "documents" / f"{name}.json").write_text(text)
    assert measured == document(name)
