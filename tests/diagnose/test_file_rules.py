"""Changes of what a loader launches from an IGVM file, and the settings of such launches."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from random import Random

import pytest

from sevbuild.diagnose.change import Change, Material, Start
from sevbuild.diagnose.departures import NOTHING
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.rules.all_rules import changes_for
from sevbuild.diagnose.rules.applying import departing
from sevbuild.diagnose.settings import changed_settings, settings_of
from sevbuild.errors import SevbuildError
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.igvm.headers import GuestPolicy, PageData, PlatformType, SupportedPlatform
from sevbuild.igvm.loaders import LOADERS
from sevbuild.image.kernel_hashes import KernelHashes, cmdline_digest
from sevbuild.launch.planner import Planner
from sevbuild.vcpu.save_area import build_vmsa, parse_vmsa
from tests.support.igvm import BSP, SNP, VMSA, write_file
from tests.support.starts import by_value, digest, profiles

PAGE = PageData(0x20000, 1, b"\xaa" * 4096)
EMPTY = PageData(0x21000, 1, b"")
ES = SupportedPlatform(2, 0, PlatformType.SEV_ES)
POLICY = GuestPolicy(0x30000, 1)


def start_of(folder: Path, loader: str = "qemu", vcpus: int = 1, signature: int | None = 0x800F12) -> Start:
    file = ForeignFile(str(write_file(folder, SNP, POLICY, PAGE, EMPTY, BSP)))
    setup = FileLaunch(file, loader, "snp", vcpus, signature)
    return Start("label", setup, digest(setup))


def axes_of(start: Start) -> dict[str, dict[str, Change]]:
    changes = changes_for(start, profiles())
    return {axis: by_value(changes, axis) for axis in {change.axis for change in changes}}


def changed(start: Start, *changes: Change) -> dict[str, tuple[str, str]]:
    setup = start.setup
    for change in changes:
        setup = change.apply(setup)
    return changed_settings(start, setup, profiles())


def test_each_loader_is_what_measuring_the_file_by_it_gives(tmp_path: Path) -> None:
    start = start_of(tmp_path)
    found = axes_of(start)["loader"]
    assert {*found, "qemu"} == {*LOADERS}
    assert isinstance(start.setup, FileLaunch)
    for name, change in found.items():
        (measured,) = start.setup.file.launches(ForeignLaunch((name,)))
        assert digest(change.apply(start.setup)) == measured.digest
    assert found["cloud-hypervisor-kvm"].edits[0].value == '"cloud-hypervisor-kvm"'


def test_of_loaders_that_launch_alike_the_own_one_is_named(tmp_path: Path) -> None:
    start = start_of(tmp_path)
    loader = axes_of(start)["loader"]
    assert changed(start, loader["igvm-reference"]) == {}
    assert changed(start, loader["igvmmeasure-native-zero"]) == {
        "loader": ("qemu", "igvmmeasure-native-zero")
    }
    assert changed(start, loader["cloud-hypervisor-kvm"]) == {"loader": ("qemu", "igvmmeasure-native-zero")}
    kvm = start_of(tmp_path, "cloud-hypervisor-kvm")
    assert changed(kvm, axes_of(kvm)["loader"]["qemu"]) == {
        "loader": ("cloud-hypervisor-kvm", "igvm-reference")
    }


def test_vcpus_that_the_file_does_not_describe_have_the_cpu(tmp_path: Path) -> None:
    start = start_of(tmp_path, vcpus=3)
    cpu = axes_of(start)["cpu"]
    assert changed(start, cpu["0x00a10f10"]) == {"cpu": ("0x00800f12", "0x00a10f10")}
    assert digest(cpu["0x00a10f10"].apply(start.setup)) != start.digest
    assert changed_settings(start, start.setup.with_vcpus(2), profiles()) == {"vcpus": ("3", "2")}
    # The file describes the only one.
    alone = start_of(tmp_path)
    assert changed(alone, cpu["0x00a10f10"]) == {}
    assert digest(cpu["0x00a10f10"].apply(alone.setup)) == alone.digest
    more = cpu["0x00a10f10"].apply(alone.setup).with_vcpus(2)
    assert changed_settings(alone, more, profiles()) == {
        "vcpus": ("1", "2"),
        "cpu": ("0x00800f12", "0x00a10f10"),
    }
    assert changed_settings(alone, alone.setup.with_vcpus(2), profiles()) == {"vcpus": ("1", "2")}
    unknown = start_of(tmp_path, signature=None)
    assert changed_settings(unknown, more, profiles())["cpu"] == ("none", "0x00a10f10")
    assert digest(cpu["0x00a10f10"].apply(unknown.setup).with_vcpus(2)) != unknown.digest


def test_registers_of_its_vmsas_are_overwritten(tmp_path: Path) -> None:
    start = start_of(tmp_path, vcpus=2)
    axes = axes_of(start)
    features = axes["guest-features"]["0x29"].apply(start.setup)
    pages = [update.data for update in features.plan(Planner()).vmsas]
    assert [parse_vmsa(bytes(page))["sev_features"] for page in pages if isinstance(page, bytes)] == [
        0x29
    ] * 2
    assert changed(start, axes["guest-features"]["0x29"]) == {"guest-features": ("0x1", "0x29")}
    fpu = axes["registers"]["fpu-set"].apply(start.setup)
    assert changed(start, axes["registers"]["fpu-set"]) == {
        "registers.bsp.mxcsr": ("0x0", "0x1f80"),
        "registers.bsp.x87-fcw": ("0x0", "0x37f"),
    }
    first, second = (update.data for update in fpu.plan(Planner()).vmsas)
    assert first == build_vmsa({**parse_vmsa(VMSA), "mxcsr": 0x1F80, "x87_fcw": 0x37F})
    # The other one starts as QEMU resets it, with that already.
    assert second == [*start.setup.plan(Planner()).vmsas][1].data
    segment = departing({"registers.bsp.cs.attributes": 0x9A})(start.setup)
    assert changed_settings(start, segment, profiles()) == {"registers.bsp.cs.attributes": ("0x0", "0x9a")}


def test_what_no_field_of_a_vmsa_has_is_kept(tmp_path: Path) -> None:
    page = bytearray(VMSA)
    page[0xF00] = 7
    vmsa = BSP._replace(data=bytes(page))
    file = ForeignFile(str(write_file(tmp_path, SNP, POLICY, vmsa)))
    setup = departing({"registers.bsp.cr0": 0x31})(FileLaunch(file, "igvmmeasure", "snp", 1))
    (found,) = (update.data for update in setup.plan(Planner()).regions)
    assert isinstance(found, bytes)
    assert (found[0xF00], parse_vmsa(found)["cr0"]) == (7, 0x31)


@pytest.mark.parametrize("loader", list(LOADERS))
def test_changes_alter_what_they_say_and_combine_in_any_order(loader: str, tmp_path: Path) -> None:
    start, planner, random = start_of(tmp_path, loader), Planner(), Random(4)
    body, tail = start.setup.body(planner), start.setup.tail(planner)
    axes = axes_of(start)
    assert {"loader", "cpu", "guest-features", "registers"} <= {*axes}
    for change in (change for changes in axes.values() for change in changes.values()):
        assert change.source
        setup = change.apply(start.setup)
        try:
            same = (setup.body(planner) == body, setup.tail(planner) == tail)
        except SevbuildError:
            continue
        assert same[1] or change.touches != "body", change
        assert same[0] or change.touches != "tail", change
    for one, other in combinations(sorted(axes), 2):
        for first in random.sample([*axes[one].values()], min(len(axes[one]), 6)):
            for second in random.sample([*axes[other].values()], min(len(axes[other]), 6)):
                forth = second.apply(first.apply(start.setup))
                assert forth == first.apply(second.apply(start.setup)), (first, second)


def test_a_mode_of_another_platform(tmp_path: Path) -> None:
    es = BSP._replace(compatibility_mask=2, data=build_vmsa({**parse_vmsa(VMSA), "sev_features": 0}))
    file = ForeignFile(
        str(write_file(tmp_path, SNP, ES, POLICY, PAGE._replace(compatibility_mask=3), BSP, es))
    )
    setup = FileLaunch(file, "qemu", "snp", 1)
    start = Start("label", setup, digest(setup))
    change = axes_of(start)["mode"]["sev-es"]
    found = change.apply(setup)
    (measured,) = file.launches(ForeignLaunch(("qemu",), mode="sev-es"))
    assert digest(found) == measured.digest
    assert changed(start, change) == {"mode": ("snp", "sev-es"), "guest-features": ("0x1", "0x0")}
    assert set(axes_of(start)["mode"]) == {"sev-es"}


def test_the_kernel_that_a_loader_is_given(tmp_path: Path) -> None:
    material = Material(b"quiet", lambda: b"kernel")
    start = start_of(tmp_path, "cloud-hypervisor-kvm")._replace(material=material)
    on = axes_of(start)["kernel-hashes"]["on"]
    found = on.apply(start.setup)
    given = KernelHashes(NOTHING.kernel, NOTHING.initrd, cmdline_digest(b"quiet"))
    assert isinstance(found, FileLaunch)
    assert found.kernel_hashes is not None
    assert found.kernel_hashes._replace(kernel=NOTHING.kernel) == given
    assert changed(start, on) == {"kernel-hashes": ("off", "on")}
    with_kernel = start._replace(setup=found, digest=digest(found))
    axes = axes_of(with_kernel)
    assert digest(axes["kernel-hashes"]["off"].apply(found)) == start.digest
    assert changed(with_kernel, axes["kernel-hashes"]["empty"]) == {"kernel-hashes": ("on", "empty")}
    assert list(changed(with_kernel, axes["cmdline"]["newline"])) == ["cmdline"]
    newline = axes["cmdline"]["newline"].apply(found)
    hashes = found.kernel_hashes._replace(cmdline=cmdline_digest(b"quiet\n"))
    assert newline == found._replace(kernel_hashes=hashes)
    # No other loader writes any, and without a kernel there is nothing to write.
    assert "kernel-hashes" not in axes_of(start_of(tmp_path)._replace(material=material))
    assert "kernel-hashes" not in axes_of(start_of(tmp_path, "cloud-hypervisor-kvm"))
    alone = start_of(tmp_path, "cloud-hypervisor-kvm")._replace(material=Material(b"quiet"))
    assert not {"kernel-hashes", "cmdline", "kernel", "initrd"} & {*axes_of(alone)}
    assert settings_of(found, ())["cmdline"] == cmdline_digest(b"quiet").hex()


def test_a_launch_without_a_vmsa_has_no_features(tmp_path: Path) -> None:
    sev = SupportedPlatform(1, 0, PlatformType.SEV)
    file = ForeignFile(str(write_file(tmp_path, sev, PAGE)))
    setup = FileLaunch(file, "qemu", "sev", 1)
    start = Start("label", setup, digest(setup))
    assert set(axes_of(start)) == {"loader"}
    assert set(settings_of(setup, profiles())) == {"mode", "loader", "firmware"}
    empty = FileLaunch(ForeignFile(str(write_file(tmp_path, SNP, POLICY, PAGE))), "igvmmeasure", "snp", 1)
    assert "guest-features" not in settings_of(empty, profiles())
