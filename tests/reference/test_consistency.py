"""What of a document contradicts the rest of it, and what it cannot tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import MismatchError
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.reference.collect import collect_values
from sevbuild.reference.consistency import UNCHECKED, check_consistent, profile_notices, verify_alone
from sevbuild.reference.document import document_text
from sevbuild.reference.igvm_file import file_values
from sevbuild.reference.model import PublishedProfile, ReferenceValues
from sevbuild.reference.read import read_reference_values
from sevbuild.reference.releases import merge_values
from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of
from tests.support.igvm import write_large
from tests.support.shared import ROOT


def _values(folder: Path, **tables: Any) -> ReferenceValues:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    (folder / "vmlinuz").write_bytes(b"kernel")
    given: dict[str, Any] = {"firmware": {"path": "OVMF.fd"}, "kernel": {"path": "vmlinuz"}} | tables
    guest = guest_of(folder, **given)
    return collect_values(guest, guest.measure())


def _changes(values: ReferenceValues) -> list[str]:
    """Return what of the first value is contradicted."""
    return [change.what for change in verify_alone(values).targets[0].changes]


def _first(values: ReferenceValues, **changes: Any) -> ReferenceValues:
    return values._replace(values=(values.values[0]._replace(**changes), *values.values[1:]))


def test_every_checked_in_document_agrees_with_itself() -> None:
    for path in sorted(ROOT.glob("guests/*/reference-values.json")):
        values = read_reference_values(path.name, path.read_bytes())
        check_consistent(path.name, values)
        assert {target.status for target in verify_alone(values).targets} == {"equal"}


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "snp/qemu/EPYC-v4/vcpus1/"},
        {"label": "snp/qemu/EPYC-v4/vcpus10"},
        {"label": "snp/qemu/EPYC-v4/vcpus1/A"},
        {"label": "snp/qemu/EPYC-v4/vcpus1/a/b"},
        {"label": " snp/qemu/EPYC-v4/vcpus1"},
        {"label": "snp/qemu/EPYC-v4/vcpus1\n"},
    ],
)
def test_a_label_is_the_target(tmp_path: Path, changes: dict[str, Any]) -> None:
    values = _values(tmp_path)
    assert _changes(values) == []
    assert _changes(_first(values, **changes)) == ["label"]
    assert _changes(_first(values, label="snp/qemu/EPYC-v4/vcpus1/a.b-c_1")) == []


def test_a_cpu_by_its_signature(tmp_path: Path) -> None:
    values = _values(tmp_path, vcpu={"model": None, "signature": 0xA00F11})
    assert _changes(values) == []
    other = "0x00a00f12"
    assert _changes(_first(values, cpu=other, label=f"snp/qemu/{other}/vcpus1")) == ["cpu"]
    # Of a model that this release does not know nothing can be said.
    assert _changes(_first(values, cpu="EPYC-Next", label="snp/qemu/EPYC-Next/vcpus1")) == []


def test_a_default_policy_is_the_default(tmp_path: Path) -> None:
    values = _values(tmp_path)
    assert _changes(_first(values, policy=0xB0000)) == ["policy, which is by default"]
    assert _changes(_first(values, policy_origin="default of mode sev")) == ["policy, which is by default"]
    assert _changes(_first(values, policy=0xB0000, policy_origin="manifest")) == []


def test_a_firmware_known_by_its_seed(tmp_path: Path) -> None:
    sections = [{"gpa": 0x800000, "size": 0x1000, "kind": "snp-sec-mem"}]
    firmware = {"seed": "ab" * 48, "metadata": {"reset": 0x80B004, "sections": sections}}
    values = _values(tmp_path, firmware=firmware, kernel=None)
    check_consistent("x", values)
    entry = values.ingredients[0]
    assert _changes(values._replace(ingredients=(entry._replace(inputs={"firmware": b"x" * 48}),))) == [
        "seed"
    ]


def test_a_profile_launches_its_modes(tmp_path: Path) -> None:
    values = _values(tmp_path, launch={"mode": "sev-es"}, kernel=None)
    profile = values.profiles[0]
    launch = profile.launch._replace(regions={"snp": profile.launch.regions["snp"]})
    values = values._replace(profiles=(profile._replace(launch=launch),))
    assert _changes(values) == ["profile qemu does not launch guests of mode sev-es"]


def test_ingredients_that_no_host_launches(tmp_path: Path) -> None:
    values = _values(tmp_path, vcpu={"count": 2})
    entry = values.ingredients[0]
    values = values._replace(
        ingredients=(entry._replace(metadata=entry.metadata._replace(reset=None)),), profiles=values.profiles
    )
    (change,) = _changes(values)
    assert change.startswith("its ingredients cannot be launched: the firmware has no SEV-ES reset block")


def test_a_line_that_only_the_target_tells_is_not_checked(tmp_path: Path) -> None:
    (tmp_path / "line").write_bytes(b"\xff {vcpus}")
    values = _values(tmp_path, kernel={"path": "vmlinuz", "cmdline-file": "line"})
    (target,) = verify_alone(values).targets
    assert target.status == UNCHECKED
    assert "the command line is not UTF-8 and depends on the target" in target.changes[0].what
    check_consistent("x", values)


def test_merged_documents_agree_with_themselves(tmp_path: Path) -> None:
    old = _values(tmp_path, guest={"version": "1"})
    new = _values(tmp_path, guest={"version": "2"}, kernel={"path": "vmlinuz", "cmdline": "quiet"})
    # The later profile gets the release in its name.
    other = new.profiles[0]._replace(as_of="later")
    merged = merge_values([("old", old), ("new", new._replace(profiles=(other,)))])
    assert [profile.name for profile in merged.profiles] == ["qemu", "qemu@2"]
    check_consistent("merged", merged)


def test_no_more_is_told_than_helps(tmp_path: Path) -> None:
    values = _values(tmp_path, vcpu={"count": "1-30"})
    values = values._replace(values=tuple(value._replace(cmdline="x") for value in values.values))
    with pytest.raises(MismatchError) as caught:
        check_consistent("values.json", values)
    assert caught.value.message == "values.json: 30 of 30 values contradict the document itself:"
    assert len(caught.value.details) == 21
    assert caught.value.details[-1] == "and 10 more targets"
    first = "snp/qemu/EPYC-v4/vcpus1: cmdline is x, the rest of the document gives empty"
    assert caught.value.details[0] == first


def test_a_profile_of_a_shipped_name_that_launches_otherwise(tmp_path: Path) -> None:
    values = _values(tmp_path)
    assert profile_notices("x", values) == []
    profile: PublishedProfile = values.profiles[0]
    other = profile.launch._replace(initial_state={})
    values = values._replace(profiles=(profile._replace(as_of="2020"),))
    assert profile_notices("x", values) == []
    values = values._replace(profiles=(profile._replace(launch=other, name="qemu@2"),))
    (notice,) = profile_notices("x", values)
    assert notice.message == "profile qemu@2 is not the one of this release: initial_state"
    values = values._replace(profiles=(profile._replace(launch=other, name="own"),))
    assert profile_notices("x", values) == []


def test_verify_warns_of_such_a_profile(tmp_path: Path) -> None:
    values = _values(tmp_path)
    profile = values.profiles[0]
    launch = profile.launch._replace(initial_state={})
    values = values._replace(profiles=(profile._replace(launch=launch),))
    path = tmp_path / "values.json"
    path.write_text(document_text(values))
    assert "warning: profile qemu is not the one of this release: initial_state" in run("verify", path).err
    assert "warning" not in run("verify", path, "-q").err


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"label": "snp/qemu/EPYC/vcpus1"}, "label"),
        ({"order": "gpa"}, "order"),
        ({"vmsa_gpa": 0x1000}, "vmsa_gpa"),
        ({"kernel_hashes": True}, "kernel_hashes"),
        ({"cmdline": "quiet"}, "cmdline"),
        ({"policy_origin": "default of snp", "policy": 0xB0000}, "policy, which is by default"),
    ],
)
def test_a_value_of_an_igvm_file(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    path = tmp_path / "a.igvm"
    write_large(str(path), 1)
    file = ForeignFile(str(path))
    measured, _ = file.measure(file.load(ForeignLaunch(("qemu",)))[0])
    values = file_values(file, measured)
    (target,) = verify_alone(values).targets
    assert (target.status, target.changes[0].what) == (UNCHECKED, "the document has no ingredients of it")
    assert what in _changes(_first(values, **changes))
    other = _first(values, profile="of-tomorrow", label="snp/of-tomorrow/-/vcpus1", order="gpa")
    assert verify_alone(other).targets[0].status == UNCHECKED


def test_a_mode_that_a_loader_does_not_launch(tmp_path: Path) -> None:
    path = tmp_path / "a.igvm"
    write_large(str(path), 1)
    file = ForeignFile(str(path))
    measured, _ = file.measure(file.load(ForeignLaunch(("igvm-reference",)))[0])
    values = _first(
        file_values(file, measured),
        mode="sev",
        label="sev/igvm-reference/-/vcpus1",
        guest_features=None,
        vmsa_gpa=None,
    )
    assert _changes(values) == ["mode"]


def test_a_selection_of_targets_is_held_alone(tmp_path: Path) -> None:
    """`verify --target` looks at these targets; what is passed on is the whole document."""
    values = _values(tmp_path, vcpu={"count": [1, 2]})
    path = tmp_path / "values.json"
    document = json.loads(document_text(values))
    document["values"][0]["cmdline"] = "x"
    path.write_text(json.dumps(document))
    assert run("verify", path, "--target", "vcpus2").status == 0
    assert run("export", path, "-f", "hex", "--target", "vcpus2").status == 1


def test_what_the_document_cannot_tell_another_one_can(tmp_path: Path) -> None:
    """A document of which nothing can be computed is still held to what was published elsewhere."""
    path, other = tmp_path / "values.json", tmp_path / "other.json"
    values = _values(tmp_path, launch={"mode": "sev"})
    path.write_text(document_text(values))
    assert run("verify", path).status == 2
    assert run("verify", path, "--against", path).status == 0
    other.write_text(document_text(_first(values, digest=b"x" * 32)))
    assert run("verify", path, "--against", other).status == 1


def test_a_line_that_is_not_utf_8_is_held_to_its_digest(tmp_path: Path) -> None:
    (tmp_path / "line").write_bytes(b"quiet \xff")
    values = _values(tmp_path, kernel={"path": "vmlinuz", "cmdline-file": "line"})
    assert (values.values[0].cmdline, values.ingredients[0].kernel[2:3]) == ("quiet \\xff", (None,))  # type: ignore[index]
    assert _changes(values) == []
    assert _changes(_first(values, cmdline=None)) == ["cmdline"]
    # Text without such bytes has one reading.
    assert _changes(_first(values, cmdline="quiet")) == ["cmdline"]
