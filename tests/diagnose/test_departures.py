"""A launch that departs from its profile is that of a profile file with these values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sevbuild.diagnose.change import Change, Start
from sevbuild.diagnose.departures import Departure, departed
from sevbuild.diagnose.rules.all_rules import changes_for
from sevbuild.diagnose.setup import LaidOut
from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import load_guest
from sevbuild.image.ovmf import parse_firmware
from sevbuild.launch.page_type import PageType, page_type_word
from sevbuild.manifest.profiles import load_profile
from tests.support.firmware import SECTIONS, standard_firmware
from tests.support.guests import toml_value, write_manifest
from tests.support.starts import digest, kernel_guest, profiles, start_of

AXES = ("registers", "entry", "vmsa-gpa", "measured-vcpus", "page-types", "sections")
FURTHER = [*SECTIONS, (0x811000, 0x1000, 4), (0x812000, 0x2000, 1), (0x814000, 0x1000, 0x77)]


def start_with_every_kind(folder: Path, mode: str = "snp", profile: str = "qemu") -> Start:
    """Return a start whose firmware has sections of every kind, and one that is unknown."""
    manifest = kernel_guest(folder, launch={"mode": mode, "profile": profile}, vcpu={"count": 3}, kernel=None)
    (folder / "OVMF.fd").write_bytes(standard_firmware(sections=FURTHER, reset=0x0180B004))
    return start_of(manifest)


def profile_text(parent: str, departures: tuple[tuple[str, Departure], ...]) -> str:
    """Return a profile that departs from another one in these values."""
    tables: dict[str, Any] = {"launch": {}, "page-types": {}, "entry": {}, "initial-state": {}}
    for name, value in departures:
        first, *steps = name.split(".")
        table = tables[{"registers": "initial-state"}.get(first, first if steps else "launch")]
        for step in steps[:-1]:
            table = table.setdefault(step, {})
        written = list(value) if isinstance(value, tuple) else value
        table[steps[-1] if steps else first] = (
            page_type_word(value) if isinstance(value, PageType) else written
        )
    lines = ["schema = 1", 'name = "mine"', f'extends = "{parent}"', 'summary = "x"', 'as-of = "2026"']
    lines += [f"{name} = {toml_value(table)}" for name, table in tables.items() if table]
    return "\n".join(lines) + "\n"


def departing_changes(start: Start) -> list[tuple[Change, LaidOut]]:
    found = []
    for change in changes_for(start, profiles()):
        setup = change.apply(start.setup)
        assert isinstance(setup, LaidOut)
        if change.axis in AXES and not dict(setup.departures).keys() & {"sections-left-out"}:
            found.append((change, setup))
    return found


@pytest.mark.parametrize(("mode", "parent"), [("snp", "qemu"), ("sev-es", "qemu"), ("snp", "ec2")])
def test_a_profile_file_with_the_values_launches_the_same(mode: str, parent: str, tmp_path: Path) -> None:
    start = start_with_every_kind(tmp_path, mode, parent)
    changes = departing_changes(start)
    assert {change.axis for change, _ in changes} == ({*AXES} if mode == "snp" else {*AXES[:2], AXES[3]})
    for change, setup in changes:
        if "0x77" in dict(setup.departures).get("sections-last", ()):  # type: ignore[operator]
            # A profile names kinds, and this one has no name.
            continue
        (tmp_path / "mine.toml").write_text(profile_text(parent, setup.departures))
        manifest = write_manifest(
            tmp_path,
            launch={"mode": mode, "profile": "mine.toml"},
            vcpu={"count": 3},
            firmware={"path": "OVMF.fd"},
        )
        (measured,) = load_guest(str(manifest)).measure()
        assert measured.digest == digest(setup), change


@pytest.mark.parametrize("kind", ["cpuid", "kernel-hashes", "svsm-caa", "snp-secrets", "snp-sec-mem"])
def test_a_section_that_is_left_out_is_not_launched(kind: str, tmp_path: Path) -> None:
    start = start_with_every_kind(tmp_path)
    (change,) = (found for found in changes_for(start, profiles()) if found.value == f"no {kind}")
    setup = change.apply(start.setup)
    numbers = {"cpuid": 3, "kernel-hashes": 0x10, "svsm-caa": 4, "snp-secrets": 2, "snp-sec-mem": 1}
    kept = [section for section in FURTHER if section[2] != numbers[kind]]
    # The table is part of the image: that of the file stays, and only what is launched of it is less.
    assert isinstance(setup, LaidOut)
    launched = setup.launched.firmware
    assert [tuple(section) for section in launched.metadata.sections or ()] == kept
    assert launched is setup.launched.firmware
    assert launched.metadata.reset == 0x0180B004
    assert digest(setup) != start.digest


def test_a_firmware_without_metadata_has_no_section_to_leave_out(tmp_path: Path) -> None:
    start = start_with_every_kind(tmp_path)
    (change,) = (found for found in changes_for(start, profiles()) if found.value == "no cpuid")
    assert isinstance(start.setup, LaidOut)
    inputs = start.setup.inputs._replace(firmware=parse_firmware(standard_firmware(sections=None)))
    with pytest.raises(SevbuildError, match="no SEV metadata"):
        digest(change.apply(start.setup._replace(inputs=inputs)))


def test_profile_values_that_are_not_departed_from_stay() -> None:
    launch = load_profile("ec2").rules.launch
    found = departed(launch, (("registers.bsp.cs.attributes", 0x9B), ("registers.snp.mxcsr", 0x1F80)))
    assert found.initial_state["bsp"] == {"cs": {"attributes": 0x9B}}
    assert found.initial_state["snp"]["mxcsr"] == 0x1F80
    # Nothing of the profile itself was changed.
    assert launch == load_profile("ec2").rules.launch
    assert departed(launch, ()) == launch


def test_hashes_need_a_firmware_with_their_section(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path))
    (change,) = (found for found in changes_for(start, profiles()) if found.value == "no kernel-hashes")
    with pytest.raises(SevbuildError, match="no kernel-hashes section"):
        digest(change.apply(start.setup))
