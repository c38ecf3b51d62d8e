"""Launches that are the same have the same settings, and others are told apart by what was changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from sevbuild.diagnose.change import Change, Start
from sevbuild.diagnose.rules.all_rules import changes_for
from sevbuild.diagnose.rules.applying import departing
from sevbuild.diagnose.settings import changed_settings, setting_label, settings_of
from sevbuild.errors import SevbuildError
from sevbuild.launch.page_type import PageType
from sevbuild.manifest.profiles import load_profile
from tests.support.starts import by_value, digest, kernel_guest, profiles, start_of


def changed(start: Start, *changes: Change, vcpus: int | None = None) -> dict[str, tuple[str, str]]:
    setup = start.setup if vcpus is None else start.setup.with_vcpus(vcpus)
    for change in changes:
        setup = change.apply(setup)
    return changed_settings(start, setup, profiles())


def test_the_settings_of_a_launch(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path))
    found = settings_of(start.setup, profiles())
    assert {name: value for name, value in found.items() if len(value) < 20} == {
        "mode": "snp",
        "profile": "qemu",
        "kernel-hashes": "on",
        "vcpus": "1",
        "guest-features": "0x1",
        "cpu": "0x00800f12",
    }
    assert found["sections"].startswith("snp-sec-mem at 0x800000, 0x2000 bytes, snp-secrets at 0x80d000")
    assert {len(found[name]) for name in ("firmware", "kernel", "initrd", "cmdline")} == {64}
    sev = settings_of(start_of(kernel_guest(tmp_path, launch={"mode": "sev"})).setup, profiles())
    assert set(found) - set(sev) == {"vcpus", "guest-features", "cpu", "sections"}


def test_what_was_changed_is_said_by_the_name_of_the_setting(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path, vcpu={"count": 2}))
    changes = changes_for(start, profiles())
    axes = {axis: by_value(changes, axis) for axis in {change.axis for change in changes}}
    assert changed(start) == {}
    assert changed(start, vcpus=4) == {"vcpus": ("2", "4")}
    assert changed(start, axes["cpu"]["0x00a10f10"]) == {"cpu": ("0x00800f12", "0x00a10f10")}
    assert changed(start, axes["guest-features"]["0x21"]) == {"guest-features": ("0x1", "0x21")}
    assert changed(start, axes["profile"]["ec2"]) == {"profile": ("qemu", "ec2")}
    assert changed(start, axes["kernel-hashes"]["off"]) == {"kernel-hashes": ("on", "off")}
    assert changed(start, axes["kernel-hashes"]["empty"]) == {"kernel-hashes": ("on", "empty")}
    assert changed(start, axes["order"]["canonical"]) == {"order": ("profile", "canonical")}
    assert changed(start, axes["kernel-hashes"]["zeros"]) == {
        "kernel-hashes": ("on", "off"),
        "page-types.kernel-hashes-absent": ("zero", "normal"),
    }
    assert list(changed(start, axes["cmdline"]["trimmed"])) == ["cmdline"]
    # What a mode has by default is no cause of its own.
    assert changed(start, axes["mode"]["sev-es"]) == {"mode": ("snp", "sev-es")}
    assert changed(start, axes["mode"]["sev"]) == {"mode": ("snp", "sev")}
    found = changed(start, axes["mode"]["sev-es"], axes["guest-features"]["0x20"])
    assert found == {"mode": ("snp", "sev-es"), "guest-features": ("0x1", "0x20")}


def test_a_profile_that_launches_the_same_is_no_change(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path))
    profile = by_value(changes_for(start, profiles()), "profile")
    # It has other features by default, and nothing else.
    assert changed(start, profile["qemu-snp-debugswap"]) == {}
    es = start_of(kernel_guest(tmp_path, launch={"mode": "sev-es"}))
    assert changed(es, by_value(changes_for(es, profiles()), "profile")["qemu-es-debugswap"]) == {}


def test_single_values_are_said_as_the_profile_that_has_them(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path, vcpu={"count": 2}))
    roles = ("bsp", "ap")
    fpu = departing({f"registers.{role}.{name}": 0 for role in roles for name in ("mxcsr", "x87-fcw")})
    found = fpu(start.setup)
    known = profiles()
    assert changed_settings(start, found, known) == {"profile": ("qemu", "qemu-snp-legacy-fpu")}
    profile = by_value(changes_for(start, known), "profile")
    assert settings_of(found, known) == settings_of(profile["qemu-snp-legacy-fpu"].apply(start.setup), known)
    one = departing({f"registers.{role}.mxcsr": 0 for role in roles})(start.setup)
    assert changed_settings(start, one, known) == {"registers.mxcsr": ("0x1f80", "0x0")}
    ap = departing({"registers.ap.mxcsr": 0})(start.setup)
    assert changed_settings(start, ap, known) == {"registers.ap.mxcsr": ("0x1f80", "0x0")}
    # The word of a profile for the CPU signature, and the number itself.
    zero = departing({f"registers.{role}.rdx": 0 for role in roles})(start.setup)
    assert changed_settings(start, zero, known) == {"cpu": ("0x00800f12", "0x00000000")}


def test_values_that_no_profile_has_are_said_one_by_one(tmp_path: Path) -> None:
    start, known = start_of(kernel_guest(tmp_path, vcpu={"count": 2})), profiles()

    def said(**values: int | str | PageType | tuple[str, ...]) -> dict[str, tuple[str, str]]:
        named = {name.replace("__", ".").replace("_", "-"): value for name, value in values.items()}
        return changed_settings(start, departing(named)(start.setup), known)

    assert said(vmsa_gpa=0x7FFFFFFF000) == {"vmsa-gpa": ("0xfffffffff000", "0x7fffffff000")}
    assert said(page_types__snp_sec_mem=PageType.NORMAL) == {"page-types.snp-sec-mem": ("zero", "normal")}
    # Nothing of this firmware is of that kind.
    assert said(page_types__svsm_caa=PageType.NORMAL) == {}
    assert said(sections_last=("cpuid",)) == {
        "sections-last": (
            "snp-sec-mem, snp-secrets, cpuid, kernel-hashes",
            "snp-sec-mem, snp-secrets, kernel-hashes, cpuid",
        )
    }
    # They are the last already.
    assert said(sections_last=("kernel-hashes",)) == {}
    assert said(entry__ap=0xFFFFFFF0) == {"entry.ap": ("0x80b004", "0xfffffff0")}
    # With one VMSA measured, any number of vCPUs is the launch of one.
    assert said(measured_vcpus="bsp") == {"vcpus": ("2", "1")}
    assert said(sections_left_out=("cpuid",)).keys() == {"sections"}


def test_with_another_profile_its_own_value_is_what_a_departure_is_from(tmp_path: Path) -> None:
    start, known = start_of(kernel_guest(tmp_path, kernel=None)), profiles()
    profile = by_value(changes_for(start, known), "profile")["ec2"]
    found = departing({"registers.bsp.mxcsr": 0x1F80})(profile.apply(start.setup))
    assert changed_settings(start, found, known) == {
        "profile": ("qemu", "ec2"),
        "registers.mxcsr": ("0x0", "0x1f80"),
    }
    back = start._replace(setup=found, digest=digest(found))
    assert changed_settings(back, profile.apply(start.setup), known) == {"registers.mxcsr": ("0x1f80", "0x0")}
    assert changed_settings(back, start.setup, known)["profile"] == ("ec2", "qemu")


@pytest.mark.parametrize("mode", ["sev", "sev-es", "snp"])
def test_other_settings_are_other_launches_and_the_reverse(mode: str, tmp_path: Path) -> None:
    start, known = start_of(kernel_guest(tmp_path, launch={"mode": mode}, vcpu={"count": 2})), profiles()
    changes = changes_for(start, known)
    random = Random(3)
    by_digest: dict[bytes, dict[str, str]] = {}
    tries: Sequence[Sequence[Change]] = [[change] for change in changes if change.axis != "cmdline"]
    pairs = [random.sample(changes, 2) for _ in range(150)]
    seen: dict[tuple[tuple[str, tuple[str, str]], ...], bytes] = {}
    for tried in (*tries, *pairs):
        if len({change.axis for change in tried}) < len(tried):
            continue
        setup = start.setup
        for change in tried:
            setup = change.apply(setup)
        try:
            found = digest(setup)
        except SevbuildError:
            continue
        settings = by_digest.setdefault(found, settings_of(setup, known))
        if not {change.axis for change in tried} & {"order"}:
            assert settings == settings_of(setup, known), [change.value for change in tried]
        said = tuple(sorted(changed_settings(start, setup, known).items()))
        assert seen.setdefault(said, found) == found, said
        assert (found == start.digest) == (not said) or said[0][0] == "order", said
    assert all(setting_label(name) for settings in by_digest.values() for name in settings)


def test_what_a_person_calls_a_setting() -> None:
    assert setting_label("cpu") == "CPU signature"
    assert setting_label("page-types.cpuid") == "page type of cpuid sections"
    assert setting_label("entry.ap") == "entry of the further vCPUs"
    assert setting_label("registers.mxcsr") == "mxcsr of every vCPU"
    assert setting_label("registers.bsp.cs.attributes") == "cs.attributes of the first vCPU"


def test_a_profile_of_the_user_s_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nname = "mine"\nextends = "qemu"\nsummary = "x"\nas-of = "2026"\n'
        "[launch]\nvmsa-gpa = 0x7ffffffff000\n"
    )
    manifest = kernel_guest(tmp_path, launch={"profile": "mine.toml"})
    start = start_of(manifest)
    known = [*profiles(), load_profile("mine.toml", str(tmp_path))]
    assert settings_of(start.setup, known)["profile"] == "mine"
    qemu = by_value(changes_for(start, known), "profile")["qemu"]
    assert changed_settings(start, qemu.apply(start.setup), known) == {"profile": ("mine", "qemu")}


def test_the_profile_that_others_extend_is_named_before_these(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path))
    found = by_value(changes_for(start, profiles()), "profile")["cloud-hypervisor-kvm"].apply(start.setup)
    assert changed_settings(start, found, profiles()) == {"profile": ("qemu", "qemu-igvm")}


def test_a_profile_that_nobody_else_knows_is_its_own_base(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nname = "mine"\nextends = "qemu"\nsummary = "x"\nas-of = "2026"\n'
        "[entry]\nbsp = 0xffaea000\nap = 0xffaea000\n"
    )
    start = start_of(kernel_guest(tmp_path, launch={"profile": "mine.toml"}))
    assert changed_settings(start, start.setup.with_vcpus(2), profiles()) == {"vcpus": ("1", "2")}
    assert settings_of(start.setup, profiles())["profile"] == "mine"
