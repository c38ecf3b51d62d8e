"""Launch digests over firmware of our own, checked in: a change of one needs a reason in the changelog.

The values were made by this program when every vector of `test_vectors.py` held, and those that the peer
can express are compared with it in `test_differential.py`. SEVBUILD_REMAKE_GOLDENS=1 writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.firmware import make_firmware
from tests.support.guests import digests_of

GOLDENS = Path(__file__).parent / "data" / "digests.json"

SECTIONS = [
    (0x800000, 0x9000, 1),
    (0x80A000, 0x3000, 1),
    (0x80D000, 0x1000, 2),
    (0x80E000, 0x1000, 3),
    (0x80F000, 0x1000, 4),
    (0x810000, 0x1000, 0x10),
    (0x811000, 0xF000, 1),
]
CPUS = {"model": ["EPYC-v4", "EPYC-Milan"], "count": [1, 3]}

CASES: dict[str, dict[str, Any]] = {
    "sev": {"launch": {"mode": "sev", "profile": "qemu"}},
    "sev-es": {"launch": {"mode": "sev-es", "profile": ["qemu", "qemu-es-init2", "qemu-es-debugswap"]}},
    "snp": {
        "launch": {
            "mode": "snp",
            "profile": [
                "qemu",
                "qemu-snp-debugswap",
                "qemu-snp-legacy-fpu",
                "ec2",
                "ec2-rdx0",
                "gce",
                "gce-genoa",
            ],
        }
    },
    "snp-firmware-only": {
        "launch": {"mode": "snp", "profile": ["qemu", "ec2", "gce"]},
        "kernel": None,
        "initrd": None,
    },
    "canonical": {"launch": {"mode": ["sev", "sev-es", "snp"], "profile": "qemu", "order": "canonical"}},
    "features": {
        "launch": {"mode": "snp", "profile": "qemu", "guest-features": ["snp-active", "secure-tsc"]}
    },
    "variants": {
        "kernel": {"path": "kernel", "cmdlines": {"a": "cpus={vcpus} {cpu}", "b": "sig={cpu_signature}"}}
    },
    "unmeasured": {"kernel": {"path": "kernel", "hashes": False}, "initrd": None},
}


def _measure(case: dict[str, Any], folder: Path) -> dict[str, str]:
    image = make_firmware(
        size=0x8000, sections=SECTIONS, reset=0x80B004, hash_table=(0x810C00, 0x400), fill=b"sevbuild"
    )
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "kernel").write_bytes(b"kernel" * 1000)
    (folder / "initrd").write_bytes(b"initrd" * 1000)
    tables: dict[str, Any] = {
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdline": "console=ttyS0 quiet"},
        "initrd": {"path": "initrd"},
        "vcpu": CPUS,
    }
    return digests_of(folder, **{**tables, **case})


@pytest.mark.parametrize("name", CASES)
def test_digests_do_not_change(name: str, tmp_path: Path) -> None:
    measured = _measure(CASES[name], tmp_path)
    if os.environ.get("SEVBUILD_REMAKE_GOLDENS") == "1":
        known = json.loads(GOLDENS.read_text()) if GOLDENS.exists() else {}
        known[name] = measured
        GOLDENS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    assert measured == json.loads(GOLDENS.read_text())[name]


def test_goldens_are_those_of_the_cases() -> None:
    assert sorted(json.loads(GOLDENS.read_text())) == sorted(CASES)


def test_unlike_launches_have_unlike_digests() -> None:
    """Guard against a golden file that pins nothing: what should differ does."""
    known = json.loads(GOLDENS.read_text())
    labels = {(name, label): digest for name, digests in known.items() for label, digest in digests.items()}
    # On the clouds the model is a label, in mode sev the vCPUs are; everything else is its own digest.
    told_apart = {
        key: digest
        for key, digest in labels.items()
        if not key[1].startswith(("sev/", "snp/ec2", "snp/gce")) and key[0] != "unmeasured"
    }
    assert len(set(told_apart.values())) == len(told_apart)
    # An unmeasured kernel leaves no trace.
    assert known["unmeasured"].items() <= known["snp-firmware-only"].items()
    assert len({digest for (name, label), digest in labels.items() if label.startswith("snp/ec2/")}) == 4
