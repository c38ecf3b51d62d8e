"""What is read of a kernel and its initrd and when, and what becomes of its command line."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import FaultsError, MismatchError, SevbuildError
from sevbuild.guest.guest import Guest, load_guest
from sevbuild.guest.igvm import igvm_file
from sevbuild.guest.inputs import HashedInput
from sevbuild.manifest.inputs import CMDLINE
from tests.support.firmware import standard_firmware, standard_svsm
from tests.support.guests import guest_of, write_manifest
from tests.support.pe import make_uki

FIRMWARE = {"path": "OVMF.fd"}
PARTS = [(".linux", b"kernel" * 99), (".initrd", b"initrd" * 99), (".cmdline", b"quiet {x} ")]
UKI = make_uki(PARTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with every kind of input."""
    files = {
        "OVMF.fd": standard_firmware(),
        "svsm.bin": standard_svsm(),
        "vars.fd": bytes(0x4000),
        "kernel": PARTS[0][1],
        "initrd": PARTS[1][1],
        "image.efi": UKI,
        "line": b"quiet",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def _begun(guest: Guest) -> list[str]:
    """Return the roles of the files that are hashed as soon as a guest is known to be there."""
    (variant,) = guest.manifest.variants
    begun: list[str] = []

    def noting(role: str) -> Any:
        def work(*_: object) -> HashedInput:
            begun.append(role)
            return HashedInput(bytes(32), 1)

        return work

    for declared in variant.inputs:
        extent = guest.kernels.extent(declared)
        assert extent is not None
        guest.reader.hash_with(extent, noting(declared.part or declared.role.name))
    guest.kernels.start(variant)
    guest.reader.settle()
    return sorted(begun)


@pytest.mark.parametrize(
    ("tables", "begun"),
    [
        ({}, []),
        ({"kernel": {"path": "kernel", "cmdline-file": "line"}}, ["kernel"]),
        ({"kernel": {"path": "kernel"}, "initrd": {"path": "initrd"}}, ["initrd", "kernel"]),
        ({"kernel": {"sha256": "ab" * 32}, "initrd": {"path": "initrd"}}, ["initrd"]),
        ({"kernel": {"path": "kernel", "hashes": False}}, []),
        ({"kernel": {"path": "kernel", "hashes": False, "sha256": "ab" * 32}}, ["kernel"]),
        ({"kernel": {"uki": "image.efi", "uki-as": "kernel"}}, ["uki"]),
        ({"kernel": {"uki": "image.efi", "uki-as": "parts"}}, [".initrd", ".linux"]),
        (
            {"kernel": {"uki": "image.efi", "uki-as": "parts", "sha256": sha256(UKI).hexdigest()}},
            [".initrd", ".linux", "uki"],
        ),
        ({"launch": {"profile": "svsm-qemu"}, "svsm": {"path": "svsm.bin", "vars-path": "vars.fd"}}, []),
    ],
)
def test_only_what_is_measured_or_pinned_is_hashed_in_the_background(
    folder: Path, tables: dict[str, Any], begun: list[str]
) -> None:
    assert _begun(guest_of(folder, firmware=FIRMWARE, **tables)) == begun


def test_a_ready_igvm_file_is_not_hashed_before_it_is_loaded(folder: Path) -> None:
    built = guest_of(folder, firmware=FIRMWARE, launch={"profile": "qemu-igvm"})
    (target,) = built.targets
    file = igvm_file(target, built.laid_out(target), built.firmware(target.variant))
    (folder / "guest.igvm").write_bytes(file)
    assert _begun(guest_of(folder, igvm={"path": "guest.igvm"}, launch={"profile": "qemu-igvm"})) == []


def test_a_pinned_kernel_is_held_to_its_pin_where_it_is_not_measured(folder: Path) -> None:
    kernel = {"path": "kernel", "hashes": False, "sha256": sha256(PARTS[0][1]).hexdigest()}
    guest_of(folder, firmware=FIRMWARE, kernel=kernel).measure()
    (folder / "kernel").write_bytes(b"another")
    with pytest.raises(MismatchError, match="kernel: sha256 is"):
        guest_of(folder, firmware=FIRMWARE, kernel=kernel).measure()


def test_a_command_line_has_the_size_that_a_file_of_one_can_have(folder: Path) -> None:
    def line(count: int) -> bytes:
        kernel, variables = {"path": "kernel", "cmdline": "{x}{x}"}, {"x": "y" * (count // 2)}
        guest = guest_of(folder, firmware=FIRMWARE, kernel=kernel, variables=variables)
        return guest.kernels.cmdline(guest.targets[0])

    assert line(CMDLINE.limit) == b"y" * CMDLINE.limit
    with pytest.raises(SevbuildError, match=rf"guest\.toml:6: .* more than {CMDLINE.limit} characters"):
        line(CMDLINE.limit + 2)


@pytest.mark.parametrize(
    ("tables", "template"),
    [
        ({}, ""),
        ({"kernel": {"path": "kernel"}}, ""),
        (
            {"kernel": {"path": "kernel", "cmdline": "n={vcpus} {x} {{}}"}, "variables": {"x": "quiet"}},
            "n={vcpus} quiet {{}}",
        ),
        # What stands in an image is a text, not a template.
        ({"kernel": {"uki": "image.efi", "uki-as": "parts"}}, "quiet {{x}} "),
    ],
)
def test_a_template_has_the_placeholders_that_differ_by_target(
    folder: Path, tables: dict[str, Any], template: str
) -> None:
    guest = guest_of(folder, firmware=FIRMWARE, **tables)
    assert guest.kernels.cmdline_template(guest.targets[0]) == template


def test_an_unknown_placeholder_has_a_hint_at_what_was_meant(folder: Path) -> None:
    def hint(text: str) -> str | None:
        kernel = {"path": "kernel", "cmdline": "{root}" + text}
        with pytest.raises(FaultsError) as caught:
            guest_of(folder, firmware=FIRMWARE, kernel=kernel, variables={"root": "x"}).measure()
        (fault,) = caught.value.faults
        return fault.hint

    assert hint("{rot}") == "did you mean root?"
    assert hint("{cpus}") == "did you mean vcpus?"
    assert hint("{unlike}") == "declare it under [variables]"


def test_of_what_is_no_image_its_pin_is_told_first(folder: Path) -> None:
    (folder / "image.efi").write_bytes(b"text")
    kernel = {"uki": "image.efi", "uki-as": "parts"}
    for pin in ({}, {"sha256": sha256(b"text").hexdigest()}):
        with pytest.raises(SevbuildError, match=r"image\.efi: not a PE image"):
            guest_of(folder, firmware=FIRMWARE, kernel={**kernel, **pin}).measure()
    with pytest.raises(MismatchError, match=r"image\.efi: sha256 is"):
        guest_of(folder, firmware=FIRMWARE, kernel={**kernel, "sha256": "ab" * 32}).measure()


@pytest.mark.parametrize(
    ("kernel", "line"),
    [
        (['path = "kernel"', 'cmdline = "quiet "'], 2),
        (['path = "kernel"', "[kernel.cmdlines]", 'debug = "quiet "'], 3),
        (['uki-as = "kernel"', 'uki = "image.efi"', 'cmdline = "quiet "'], 3),
        (['uki-as = "parts"', 'uki = "image.efi"'], 2),
    ],
)
def test_white_space_at_the_end_is_told_where_the_line_comes_from(
    folder: Path, kernel: list[str], line: int
) -> None:
    path = write_manifest(folder, firmware=FIRMWARE)
    above = path.read_text() + "[kernel]\n"
    path.write_text(above + "\n".join(kernel))
    guest = load_guest(str(path))
    guest.measure()
    (notice,) = [notice for notice in guest.notices if "ends in white space" in notice.message]
    assert notice.where == f"{path}:{above.count(chr(10)) + line}"
