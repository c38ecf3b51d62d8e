"""What a guest is made of, as documents record it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sevbuild.guest.records import cmdline_text, input_records, measured_inputs
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of

FIRMWARE = {"path": "OVMF.fd"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a firmware, a kernel and a command line that is no UTF-8 text."""
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "kernel").write_bytes(b"kernel")
    (tmp_path / "line").write_bytes(b"quiet \xff")
    return tmp_path


@pytest.mark.parametrize(
    ("kernel", "recorded", "text"),
    [
        ({"path": "kernel", "cmdline-file": "line"}, ["firmware", "kernel"], r"quiet \xff"),
        ({"path": "kernel", "cmdline-file": "line", "hashes": False}, ["firmware"], None),
        (None, ["firmware"], None),
    ],
)
def test_only_what_is_measured_by_its_own_bytes_is_recorded(
    folder: Path, kernel: dict[str, Any] | None, recorded: list[str], text: str | None
) -> None:
    guest = guest_of(folder, firmware=FIRMWARE, **({} if kernel is None else {"kernel": kernel}))
    (target,) = guest.targets
    assert [found.declared.role.name for found in measured_inputs(guest, target.variant)] == recorded
    assert cmdline_text(guest, target) == text


def test_a_record_says_what_its_digest_is_of(folder: Path) -> None:
    kernel = {"path": "./kernel"}
    metadata = {"sections": [{"gpa": 0, "size": 4096, "kind": 1}]}
    guest = guest_of(folder, firmware={"seed": "ab" * 48, "metadata": metadata}, kernel=kernel)
    firmware, kernel_record = input_records(guest, guest.targets)
    assert firmware == ("firmware", "", None, "seed", b"\xab" * 48)
    assert kernel_record == ("kernel", "kernel", 6, "sha256", sha256(b"kernel").digest())
