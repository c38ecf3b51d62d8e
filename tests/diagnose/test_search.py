"""The search finds the launch that has a digest, whatever of it is otherwise, and says what it tried."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from sevbuild.diagnose.change import Change, Start
from sevbuild.diagnose.search import Found, Limits, search
from sevbuild.launch.mode import Mode
from tests.support.near_misses import FIRMWARES, changes_of, digest_of, start_of

PATIENT = Limits(budget=60, processes=1)


def _axes(found: Found) -> set[str]:
    counted = {"vcpus"} if found.vcpus != found.start.setup.vcpus else set()
    return {change.axis for change in found.changes} | counted


@pytest.mark.parametrize(
    ("there", "axes"),
    [
        ({}, set()),
        ({"vcpus": 2}, {"vcpus"}),
        ({"vcpus": 512}, {"vcpus"}),
        ({"signature": 0xA00F11}, {"cpu"}),
        ({"guest_features": 0x21}, {"guest-features"}),
        ({"profile": "qemu-snp-legacy-fpu"}, {"profile"}),
        ({"cmdline": b"quiet"}, {"cmdline"}),
        ({"cmdline": None}, {"kernel-hashes"}),
        ({"firmware": FIRMWARES["other"]}, {"firmware"}),
        ({"signature": 0xA00F11, "vcpus": 17}, {"cpu", "vcpus"}),
        ({"signature": 0xA00F11, "guest_features": 0x21}, {"cpu", "guest-features"}),
        ({"cmdline": b"quiet", "signature": 0}, {"cpu", "cmdline"}),
        ({"cmdline": b"quiet", "profile": "gce"}, {"cmdline", "profile"}),
        ({"firmware": FIRMWARES["other"], "profile": "gce"}, {"firmware", "profile"}),
        ({"firmware": FIRMWARES["other"], "cmdline": b"quiet"}, {"firmware", "cmdline"}),
        ({"signature": 0xA00F11, "cmdline": b"quiet", "vcpus": 300}, {"cpu", "cmdline", "vcpus"}),
        (
            {"signature": 0xA00F11, "cmdline": b"quiet", "profile": "qemu-snp-legacy-fpu"},
            {"cpu", "cmdline", "profile"},
        ),
        (
            {"signature": 0xA00F11, "cmdline": b"quiet", "firmware": FIRMWARES["other"], "vcpus": 3},
            {"cpu", "cmdline", "firmware", "vcpus"},
        ),
    ],
)
def test_the_settings_that_are_others_are_found(there: dict[str, object], axes: set[str]) -> None:
    wanted = start_of(**there)  # type: ignore[arg-type]
    outcome = search([start_of()], changes_of, wanted.digest, PATIENT)
    first = outcome.found[0]
    assert _axes(first) == axes
    assert first.axes == len(axes)
    assert first.vcpus == wanted.setup.vcpus
    assert digest_of(first.setup) == wanted.digest
    assert all(digest_of(found.setup) == wanted.digest for found in outcome.found)
    assert [found.axes for found in outcome.found] == sorted(found.axes for found in outcome.found)
    assert outcome.statistics.unconfirmed == 0


@pytest.mark.parametrize(
    "there",
    [
        {"firmware": FIRMWARES["other"]},
        {"firmware": FIRMWARES["other"], "vcpus": 9},
        {"firmware": FIRMWARES["other"], "signature": 0xA00F11},
        {"firmware": FIRMWARES["other"], "cmdline": b"quiet"},
    ],
)
def test_what_somebody_named_comes_before_all_else(there: dict[str, object]) -> None:
    def suspecting(start: Start) -> list[Change]:
        return [
            change._replace(weight=-1000) if change.axis == "firmware" else change
            for change in changes_of(start)
        ]

    wanted = start_of(**there)  # type: ignore[arg-type]
    first = search([start_of()], suspecting, wanted.digest, PATIENT).found[0]
    assert _axes(first) == {"cpu" if axis == "signature" else axis for axis in there}
    assert digest_of(first.setup) == wanted.digest


@pytest.mark.parametrize("mode", ["sev", "sev-es"])
def test_the_other_modes_are_searched(mode: Mode) -> None:
    wanted = start_of(mode, cmdline=b"quiet", vcpus=1 if mode == "sev" else 5)
    outcome = search([start_of(mode)], changes_of, wanted.digest, PATIENT)
    assert _axes(outcome.found[0]) == ({"cmdline"} if mode == "sev" else {"cmdline", "vcpus"})


def test_what_is_not_near_is_not_found() -> None:
    outcome = search([start_of()], lambda _: changes_of(start_of())[:4], os.urandom(48), PATIENT)
    assert not outcome.found
    assert all(stage.completed for stage in outcome.statistics.stages)
    assert [(stage.name, stage.every) for stage in outcome.statistics.stages] == [
        ("one change", True),
        ("one change, 1 to 512 vCPUs", True),
        ("two changes known of launches", True),
        ("two changes known of launches, 1 to 512 vCPUs", True),
    ]


def test_the_budget_ends_a_search_and_is_said() -> None:
    outcome = search([start_of()], changes_of, os.urandom(48), Limits(budget=0.2, processes=1))
    *completed, last = outcome.statistics.stages
    assert all(stage.completed for stage in completed)
    assert last.left.endswith(" launches not tried")
    assert outcome.statistics.seconds < 1


def test_many_starts_are_searched_the_nearest_reported() -> None:
    starts = [
        start_of(vcpus=count, signature=signature, label=f"{signature:#x}/{count}")
        for signature in (0x800F12, 0xA00F11)
        for count in (1, 2, 4)
    ]
    wanted = start_of(vcpus=4, signature=0xA00F11, cmdline=b"quiet")
    outcome = search(starts, changes_of, wanted.digest, PATIENT)
    assert outcome.found[0].start.label == "0xa00f11/4"
    assert _axes(outcome.found[0]) == {"cmdline"}
    assert outcome.statistics.alike == 4


@pytest.mark.parametrize("processes", [2, 3])
def test_the_number_of_processes_changes_nothing(processes: int) -> None:
    def found(limits: Limits) -> Sequence[tuple[str, tuple[Change, ...], int]]:
        outcome = search([start_of()], lambda _: changes, wanted.digest, limits)
        return [(entry.start.label, entry.changes, entry.vcpus) for entry in outcome.found]

    changes = changes_of(start_of())
    wanted = start_of(signature=0xA00F11, cmdline=b"quiet", firmware=FIRMWARES["other"], vcpus=3)
    alone = found(Limits(budget=60, after_match=30, processes=1))
    assert len(alone) == 1
    assert found(Limits(budget=60, after_match=30, processes=processes)) == alone
