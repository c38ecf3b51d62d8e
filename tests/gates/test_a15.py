"""A pinned input that differs is a mismatch wherever it is found, and a refused launch keeps its status."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.launch.status import Status
from tests.support.cli import run
from tests.support.firmware import SECTIONS, standard_firmware
from tests.support.guests import guest_of, write_manifest
from tests.support.pe import make_uki

UKI = make_uki([(".linux", b"kernel"), (".initrd", b"initrd"), (".cmdline", b"quiet")])
PIN = sha256(UKI).hexdigest()


def _firmware(folder: Path) -> dict[str, str]:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    return {"path": "OVMF.fd"}


@pytest.mark.parametrize(
    "tables",
    [
        {"firmware": {"path": "damaged", "sha256": PIN}},
        {"kernel": {"uki": "damaged", "uki-as": "parts", "sha256": PIN}},
        {"kernel": {"path": "damaged", "hashes": False, "sha256": PIN}},
        {"kernel": {"path": "OVMF.fd", "hashes": False}, "initrd": {"path": "damaged", "sha256": PIN}},
        {"firmware": None, "launch": {"profile": "qemu-igvm"}, "igvm": {"path": "damaged", "sha256": PIN}},
    ],
    ids=["firmware", "uki-as-parts", "kernel-unmeasured", "initrd-unmeasured", "igvm"],
)
@pytest.mark.parametrize("verb", ["measure", "check", "plan"])
def test_a_pinned_input_that_differs_is_a_mismatch(tmp_path: Path, tables: dict[str, Any], verb: str) -> None:
    firmware = _firmware(tmp_path)
    (tmp_path / "damaged").write_bytes(b"neither image nor firmware")
    result = run(verb, "-q", write_manifest(tmp_path, **{"firmware": firmware, **tables}))
    assert (result.status, result.out) == (1, "")
    assert f"the manifest pins {PIN}" in result.err


def test_a_damaged_image_in_the_cache_is_a_mismatch_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEVBUILD_CACHE", str(tmp_path / "cache"))
    entry = tmp_path / "cache" / "sha256" / PIN
    entry.parent.mkdir(parents=True)
    entry.write_bytes(UKI[:100])
    url = "https://example.invalid/image.efi"
    kernel = {"url": url, "uki-as": "parts", "sha256": PIN}
    manifest = write_manifest(tmp_path, firmware=_firmware(tmp_path), kernel=kernel)
    result = run("measure", "-q", "--offline", manifest)
    assert result.status == 1
    assert result.err.count(url) == 1


def test_the_status_of_a_refused_launch_reaches_library_callers(tmp_path: Path) -> None:
    # A section over the firmware's own pages: the secure processor refuses the second update.
    overlap = [(0xFFFF0000, 0x1000, 1), *SECTIONS[1:]]
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware(sections=overlap))
    for order in ("profile", "canonical"):
        guest = guest_of(tmp_path, firmware={"path": "OVMF.fd"}, launch={"order": order})
        with pytest.raises(SevbuildError) as caught:
            guest.measure()
        assert getattr(caught.value, "status", None) == Status.INVALID_PAGE_STATE
        assert caught.value.message.startswith("snp/qemu/EPYC-v4/vcpus1: ")
        assert str(caught.value) == caught.value.message
