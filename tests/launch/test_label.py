"""A label is built, read and folded in one way."""

from __future__ import annotations

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.launch.label import (
    NO_CPU,
    any_vcpus,
    cmdline_name,
    fold_labels,
    label_parts,
    target_label,
    unfold_label,
)
from sevbuild.launch.mode import MODES, mode_named

OWN = target_label("snp", "qemu", "EPYC-v4", 2)


def test_a_label_has_four_parts_or_the_name_of_a_command_line() -> None:
    assert OWN == "snp/qemu/EPYC-v4/vcpus2"
    assert target_label("snp", "qemu", NO_CPU, 1, "debug") == "snp/qemu/-/vcpus1/debug"
    assert label_parts(f"{OWN}/debug") == {"mode": "snp", "profile": "qemu", "cpu": "EPYC-v4", "vcpus": "2"}
    assert label_parts("snp/qemu") == {"mode": "snp", "profile": "qemu"}
    assert any_vcpus(f"{OWN}/debug") == "snp/qemu/EPYC-v4/vcpusN/debug"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        (OWN, ""),
        (f"{OWN}/debug", "debug"),
        (f"{OWN}/", None),
        (f"{OWN}0", None),
        (f"x/{OWN}/debug", None),
    ],
)
def test_the_name_of_the_command_line_follows_what_the_target_is(label: str, name: str | None) -> None:
    assert cmdline_name(label, OWN) == name


def test_runs_of_vcpu_counts_fold_and_unfold() -> None:
    labels = [target_label("snp", "qemu", "EPYC-v4", count, "debug") for count in (1, 2, 3, 5)]
    folded = fold_labels(labels)
    assert folded == ["snp/qemu/EPYC-v4/vcpus1-3/debug", "snp/qemu/EPYC-v4/vcpus5/debug"]
    assert [label for entry in folded for label in unfold_label(entry, 5)] == labels
    assert unfold_label(folded[1], 4) == ()
    assert unfold_label("snp/qemu", 4) == ()
    with pytest.raises(SevbuildError, match="is not the label of a target"):
        fold_labels(["snp/qemu"])


def test_each_gap_begins_a_run_of_its_own() -> None:
    labels = [target_label("snp", "qemu", NO_CPU, count) for count in (1, 2, 4, 5, 6, 9)]
    assert fold_labels(labels) == ["snp/qemu/-/vcpus1-2", "snp/qemu/-/vcpus4-6", "snp/qemu/-/vcpus9"]


def test_a_run_counts_from_one_upward() -> None:
    assert unfold_label("snp/qemu/-/vcpus1-1", 1) == ["snp/qemu/-/vcpus1"]
    for pattern in ("snp/qemu/-/vcpus0", "snp/qemu/-/vcpus0-2", "snp/qemu/-/vcpus3-2"):
        assert unfold_label(pattern, 9) == ()


def test_modes_have_names() -> None:
    assert [mode_named(mode) for mode in MODES] == ["sev", "sev-es", "snp"]
    with pytest.raises(SevbuildError, match="unknown mode") as caught:
        mode_named("tdx")
    assert caught.value.hint == "one of sev, sev-es, snp"
