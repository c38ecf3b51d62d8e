"""The lint of a guest says of its firmware what matters to the targets that it is launched for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sevbuild.guest.lint import lint_guest
from tests.support.firmware import RESET, SECTIONS, make_firmware, standard_firmware, words
from tests.support.guests import guest_of

FIRMWARE = {"path": "OVMF.fd"}
WORST = {
    "image": "several entries of the SEV-ES reset block",
    "snp": "SNP guests lack a page",
    "sections": "overlaps the firmware itself",
    "smp": "one vCPU only under SEV-ES and SNP",
    "kernel-hashes": "no measured direct boot",
}
"""What is said of a firmware with a fault of every topic."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a firmware that is good for nothing, and a kernel."""
    sections = [SECTIONS[0], (0xFFFFF000, 0x1000, 1)]
    resets = [(RESET, words(0)), (RESET, words(0))]
    image = make_firmware(sections=sections, reset=None, extra_entries=resets)
    (tmp_path / "OVMF.fd").write_bytes(image)
    (tmp_path / "kernel").write_bytes(b"\x01\x02" * 99)
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "vcpus", "kernel", "topics"),
    [
        ("sev", 1, None, ["image"]),
        ("sev", 2, None, ["image"]),
        ("sev-es", 1, None, ["image"]),
        ("sev-es", 2, None, ["image", "smp"]),
        ("snp", 1, None, ["image", "snp", "sections"]),
        ("snp", 2, None, ["image", "snp", "sections", "smp"]),
        ("sev", 1, {"path": "kernel"}, ["image", "kernel-hashes"]),
        ("sev", 1, {"path": "kernel", "hashes": False}, ["image"]),
    ],
)
def test_a_firmware_is_judged_for_its_targets(
    folder: Path, mode: str, vcpus: int, kernel: dict[str, Any] | None, topics: list[str]
) -> None:
    tables = {} if kernel is None else {"kernel": kernel}
    guest = guest_of(folder, firmware=FIRMWARE, launch={"mode": mode}, vcpu={"count": vcpus}, **tables)
    notices = [notice for notice in lint_guest(guest) if notice.where == "OVMF.fd"]
    assert [topic for topic, said in WORST.items() if any(said in it.message for it in notices)] == topics
    assert len(notices) == len(topics)
    assert {notice.level for notice in notices} == {"warning"}


def test_each_entry_of_the_matrix_is_judged_for_its_own_targets(folder: Path) -> None:
    matrix = [{"launch": {"mode": "sev"}}, {"launch": {"mode": "sev-es"}, "vcpu": {"count": 2}}]
    messages = [notice.message for notice in lint_guest(guest_of(folder, firmware=FIRMWARE, matrix=matrix))]
    assert [WORST["image"] in messages[0], WORST["smp"] in messages[1]] == [True, True]
    assert len(messages) == 2


def test_what_is_good_or_was_said_before_is_not_said(folder: Path) -> None:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    assert lint_guest(guest_of(folder, firmware=FIRMWARE, vcpu={"count": 2})) == []
    (folder / "OVMF.fd").write_bytes(standard_firmware(size=0x11000))
    guest = guest_of(folder, firmware=FIRMWARE)
    guest.measure()
    assert len([notice for notice in guest.notices if "multiple of 64 KiB" in notice.message]) == 1
    assert lint_guest(guest) == []


def test_a_firmware_that_is_known_by_its_seed_is_not_judged(folder: Path) -> None:
    metadata = {"sections": [{"gpa": 0, "size": 4096, "kind": 1}]}
    assert lint_guest(guest_of(folder, firmware={"seed": "ab" * 48, "metadata": metadata})) == []
