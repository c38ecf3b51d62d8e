"""Targets are picked by whole labels, whole parts and globs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.manifest.selection import LabelPatterns, select_labels
from tests.support.cli import run
from tests.support.shared import ROOT

LABELS = [
    "snp/qemu/EPYC-v4/vcpus1",
    "snp/qemu/EPYC-v4/vcpus2",
    "snp/qemu/EPYC-v4/vcpus2/debug",
    "snp/qemu-sp/EPYC-v4/vcpus12",
    "sev-es/qemu/EPYC-v4/vcpus2",
]
FLEET = ROOT / "guests" / "fleet" / "guest.toml"


@pytest.mark.parametrize(
    ("pattern", "picked"),
    [
        # A label stands for itself, though it is a part of another one as well.
        ("snp/qemu/EPYC-v4/vcpus2", [1]),
        ("vcpus2", [1, 2, 4]),
        ("qemu/EPYC-v4", [0, 1, 2, 4]),
        ("snp/qemu", [0, 1, 2]),
        ("snp/qemu/*", [0, 1, 2]),
        ("snp/*", [0, 1, 2, 3]),
        ("*/debug", [2]),
        ("vcpus1*", [0, 3]),
        ("qemu/*/vcpus[12]", [0, 1, 2, 4]),
        ("*", [0, 1, 2, 3, 4]),
        ("snp/qemu/*/vcpus?", [0, 1, 2]),
    ],
)
def test_a_pattern_picks_the_labels_that_it_matches(pattern: str, picked: list[int]) -> None:
    assert select_labels([pattern], LABELS) == [LABELS[index] for index in picked]


def test_each_is_taken_once_in_the_order_of_the_patterns() -> None:
    assert select_labels([LABELS[1], "snp/qemu/*", LABELS[1]], LABELS) == [LABELS[1], LABELS[0], LABELS[2]]
    assert select_labels([], [*LABELS, LABELS[0]]) == LABELS
    assert not LabelPatterns(["a"], ["a"]).picks("a/b")
    assert LabelPatterns(["a"], []).picks("a/b")
    assert LabelPatterns([], []).picks("a")


@pytest.mark.parametrize(
    "pattern", ["vcpus", "vcpus3", "EPYC", "s?", "VCPUS2", "snp//EPYC-v4", "/", "[", "vcpus2/"]
)
def test_what_picks_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(SevbuildError, match="no target matches") as found:
        select_labels(["snp/*", pattern], LABELS)
    assert found.value.hint


def test_hints_name_what_is_near() -> None:
    for pattern, hint in (
        ("vcpu2", "did you mean vcpus2?"),
        ("snp/qemu/EPYC-v3/vcpus1", f"did you mean {LABELS[0]}?"),
    ):
        with pytest.raises(SevbuildError) as found:
            select_labels([pattern], LABELS)
        assert found.value.hint == hint
    with pytest.raises(SevbuildError) as found:
        select_labels(["x"], LABELS)
    assert found.value.hint == f"there are 5, such as {LABELS[0]}"


def test_verbs_take_patterns(tmp_path: Path) -> None:
    lines = run("measure", FLEET).out.splitlines()
    wanted = [line for line in lines if line.endswith("/vcpus2") and "/EPYC-Milan" in line]
    document = tmp_path / "values.json"
    document.write_text(run("measure", FLEET, "-f", "json").out)
    flags = ["--target", "EPYC-Milan*/vcpus2"]
    assert len(wanted) == 6
    assert run("measure", FLEET, *flags).out.splitlines() == wanted
    exported = run("export", "-q", document, "-f", "hex", *flags).out.split()
    assert exported == list(dict.fromkeys(line.split()[0] for line in wanted))
    seeds = run("plan", FLEET, "--seed", *flags).out.splitlines()
    assert [line.split()[1] for line in seeds] == [line.split()[1] for line in wanted]
    for verb in (["measure", FLEET], ["plan", FLEET], ["export", document, "-f", "hex"]):
        wrong = run(*verb, "--target", "vcpus4096")
        assert (wrong.status, wrong.out) == (2, "")
        assert "error: no target matches 'vcpus4096'" in wrong.err
