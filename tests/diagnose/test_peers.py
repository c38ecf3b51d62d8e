"""What is known of a launch beside its settings: which tool prints its digest, which host measures it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sevbuild.diagnose.change import Change, Start
from sevbuild.diagnose.rules.all_rules import changes_for
from sevbuild.diagnose.rules.peers import remarks_on
from sevbuild.diagnose.settings import changed_settings, settings_of
from tests.support.starts import by_value, kernel_guest, profiles, start_of


def remarks(start: Start, changes: Sequence[Change], vcpus: int) -> list[str]:
    setup = start.setup.with_vcpus(vcpus)
    for change in changes:
        setup = change.apply(setup)
    changed = changed_settings(start, setup, profiles())
    found = list(remarks_on(changed, settings_of(setup, profiles())))
    assert all(remark.source for remark in found)
    return [remark.says for remark in found]


@pytest.mark.parametrize(
    ("mode", "profile", "changes", "said"),
    [
        ("snp", "qemu", [("profile", "qemu-snp-legacy-fpu")], "0.0.5 to 0.0.8"),
        (
            "snp",
            "qemu",
            [("profile", "qemu-snp-legacy-fpu"), ("guest-features", "0x21")],
            "0.0.9 prints by default",
        ),
        ("snp", "ec2", [("guest-features", "0x21")], "0.0.9 prints by default"),
        ("snp", "qemu-snp-legacy-fpu", [("profile", "qemu")], "0.0.10 to 0.0.13"),
        ("snp", "qemu", [("registers", "fpu-zero")], "0.0.5 to 0.0.8"),
        ("snp", "ec2", [("profile", "ec2-rdx0")], "0.0.6 to 0.0.8 and 0.0.10 to 0.0.12"),
        ("snp", "ec2-rdx0", [("profile", "ec2")], "0.0.13 prints for EC2"),
        ("snp", "gce-genoa", [("profile", "gce")], "for GCE, on Genoa too"),
        ("snp", "qemu", [("cpu", "0x00000000")], "sev-snp-measure-go"),
        ("snp", "qemu", [("sections", "kernel-hashes first")], "0.0.4"),
        ("sev-es", "qemu", [("profile", "qemu-es-init2")], "0.0.10 and later"),
        ("sev-es", "qemu-es-init2", [("profile", "qemu")], "sevctl"),
        ("sev-es", "qemu-es-debugswap", [("guest-features", "0x0")], "ignores --guest-features"),
        ("snp", "qemu", [("mode", "sev-es"), ("profile", "qemu-es-init2")], "0.0.10 and later"),
    ],
)
def test_what_is_known_by_a_launch_is_said(
    mode: str, profile: str, changes: list[tuple[str, str]], said: str, tmp_path: Path
) -> None:
    tables = {} if profile.startswith("qemu") else {"kernel": None}
    manifest = kernel_guest(tmp_path, launch={"mode": mode, "profile": profile}, vcpu={"count": 2}, **tables)
    start = start_of(manifest)
    found = changes_for(start, profiles())
    told = remarks(start, [by_value(found, axis)[value] for axis, value in changes], 2)
    assert [line for line in told if said in line], told


def test_a_single_vcpu_may_be_the_only_one_that_is_measured(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path, vcpu={"count": 4}))
    assert "first vCPU alone" in remarks(start, [], 1)[0]
    assert remarks(start, [], 2) == []


def test_nothing_is_said_of_what_was_so_before(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path, launch={"profile": "qemu-snp-legacy-fpu"}))
    cpu = by_value(changes_for(start, profiles()), "cpu")
    assert remarks(start, [cpu["0x00a10f10"]], 1) == []
