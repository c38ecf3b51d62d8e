"""The search finds the launch that has a digest, whatever of it is otherwise, and says what it tried."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from time import process_time

import pytest

from sevbuild.diagnose import search as search_module
from sevbuild.diagnose.change import SEEN, Change, Start
from sevbuild.diagnose.search import Found, Limits, search
from sevbuild.diagnose.setup import Body, LaidOut, Setup
from sevbuild.diagnose.statistics import statistics_document
from sevbuild.diagnose.tries import Hit, Result
from sevbuild.diagnose.variations import Tile
from sevbuild.errors import SevbuildError
from sevbuild.launch.mode import Mode
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.planner import Planner
from sevbuild.measure.tree import LaunchTree
from tests.support.near_misses import (
    FIRMWARES,
    changes_of,
    digest_of,
    laid_out,
    many_changes,
    policy_of,
    start_of,
)
from tests.support.shared import ROOT

PATIENT = Limits(budget=60, processes=1)


def _endless(start: Start) -> list[Change]:
    """Return changes that take minutes on any machine, and hundredths of a second in the first stages."""
    return [*changes_of(start), *many_changes(24)]


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
        ("one change seen in the wild", True),
        ("one change seen in the wild with 1 to 512 vCPUs", True),
    ]


def test_the_budget_ends_a_search_and_is_said() -> None:
    began = process_time()
    outcome = search([start_of()], _endless, os.urandom(48), Limits(budget=0.2, processes=1))
    assert process_time() - began < 5
    *completed, last = outcome.statistics.stages
    assert all(stage.completed for stage in completed)
    assert last.left.endswith(" launches not tried")


def test_a_stage_that_there_was_no_time_for_is_said() -> None:
    outcome = search([start_of()], changes_of, os.urandom(48), Limits(budget=0))
    (stage,) = outcome.statistics.stages
    assert (stage.launches, stage.completed) == (0, False)
    assert stage.left.startswith("about ")


def test_what_is_left_is_counted_no_longer_than_it_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_COUNTING", -1)
    one = search_module._Search([start_of()], changes_of, os.urandom(48), PATIENT)
    stage = next(search_module._stages())
    assert one._left(stage) == "some launches not tried"
    for done, said in ((0, "more than 530 launches not tried"), (530, "some launches not tried")):
        over = iter([False] * 40)
        monkeypatch.setattr(one, "_is_over", lambda over=over: next(over, True))
        one._done = done
        tiles = [Tile(0, (), (0, 0), (0, 0), 512), Tile(0, (), (0, 18), (0, 0), 0)]
        monkeypatch.setattr(one, "_tiles", lambda _, tiles=tiles, over=over: [*tiles, *(list(over) and [])])
        assert one._left(stage) == said


def test_a_stage_whose_launches_nobody_had_time_to_count_is_not_completed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_module, "_COUNTING", -1)
    outcome = search([start_of()], changes_of, os.urandom(48), Limits(budget=0.2, processes=1))
    last = outcome.statistics.stages[-1]
    assert (last.completed, last.left) == (False, "some launches not tried")


def test_no_more_explanations_are_worked_out_than_anybody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(start: Start) -> list[Change]:
        (cpu,) = [change for change in changes_of(start) if change.value == "0xa00f11"]

        def with_policy(number: int) -> Callable[[Setup], Setup]:
            return lambda setup: policy_of(0xB0000 + number)(cpu.apply(setup))

        return [cpu._replace(value=str(number), apply=with_policy(number)) for number in range(9)]

    monkeypatch.setattr(search_module, "_MOST_FOUND", 4)
    outcome = search([start_of()], alike, start_of(signature=0xA00F11).digest, PATIENT)
    assert [found.changes[0].value for found in outcome.found] == ["0", "1", "2", "3"]


def test_what_is_known_of_no_launch_is_combined_last() -> None:
    def rarely(start: Start) -> list[Change]:
        return [
            change._replace(weight=SEEN) if change.axis == "cmdline" else change
            for change in changes_of(start)
        ]

    wanted = start_of(cmdline=b"quiet", signature=0xA00F11, vcpus=70)
    outcome = search([start_of()], rarely, wanted.digest, PATIENT)
    assert _axes(outcome.found[0]) == {"cmdline", "cpu", "vcpus"}
    stages = {stage.name: stage for stage in outcome.statistics.stages}
    assert list(stages)[-1] == "two changes of any kind with 1 to 512 vCPUs"
    assert not stages["three changes seen in the wild"].every
    assert stages["two changes of any kind"].every


def test_more_starts_than_changes_are_held_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 960 targets, thousands of changes each: those of a few are at hand, and asked for again."""
    asked: list[str] = []

    def changes_for(start: Start) -> list[Change]:
        asked.append(start.label)
        return changes_of(start)

    monkeypatch.setattr(search_module, "_OPEN", 2)
    starts = [start_of(signature=number, label=str(number)) for number in range(0x900000, 0x900004)]
    wanted = start_of(signature=0x900003, cmdline=b"quiet", guest_features=0x21)
    outcome = search(starts, changes_for, wanted.digest, PATIENT)
    assert outcome.found[0].start.label == str(0x900003)
    assert _axes(outcome.found[0]) == {"cmdline", "guest-features"}
    assert len(asked) > len(starts)
    assert (
        outcome.statistics.changes
        == sum(len(changes_of(start)) for start in starts) - outcome.statistics.without_effect
    )


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


def test_a_match_ends_what_would_only_find_more_changes() -> None:
    """Other explanations of as many changes are looked for, and no longer than that."""
    wanted = start_of(signature=0xA00F11, cmdline=b"quiet")
    outcome = search([start_of()], changes_of, wanted.digest, Limits(budget=60, after_match=0, processes=1))
    assert _axes(outcome.found[0]) == {"cpu", "cmdline"}
    assert outcome.statistics.stages[-1].left
    outcome = search([start_of()], changes_of, wanted.digest, PATIENT)
    last = outcome.statistics.stages[-1]
    assert (last.changes, last.vcpus, last.completed) == (2, 0, True)


def test_explanations_are_ranked_by_how_many_settings_and_how_likely() -> None:
    """Several settings may give one launch: all are found, the likelier first, each once."""

    def more(start: Start) -> list[Change]:
        (cpu,) = [change for change in changes_of(start) if change.value == "0xa00f11"]

        def with_policy(setup: Setup) -> Setup:
            return policy_of(0xB0000)(cpu.apply(setup))

        return [
            *changes_of(start),
            cpu._replace(weight=0, value="the same"),
            cpu._replace(weight=9, axis="registers", apply=with_policy),
            Change("order", "another", "tail", policy_of(0x70000), "says", "source", 1),
        ]

    wanted = start_of(signature=0xA00F11)
    outcome = search([start_of()], more, wanted.digest, Limits(budget=60, after_match=60, processes=1))
    assert [[change.value for change in found.changes] for found in outcome.found] == [
        ["the same"],
        ["0xa00f11"],
    ]
    assert [(found.axes, found.weight) for found in outcome.found] == [(1, 0), (1, 9)]


def test_what_the_model_refuses_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    start, wanted = start_of(), start_of(signature=0xA00F11)
    for digest in (lambda *_: bytes(48), _refuse):
        monkeypatch.setattr(LaunchTree, "digest", digest)
        outcome = search([start], changes_of, wanted.digest, Limits(budget=0.5, processes=1))
        assert not outcome.found
        assert outcome.statistics.unconfirmed >= 1


def _refuse(*_: object) -> bytes:
    raise SevbuildError("no host launches this")


def test_statistics_as_a_document() -> None:
    limits = Limits(budget=2, processes=1)
    outcome = search([start_of(vcpus=1), start_of(vcpus=2)], _endless, os.urandom(48), limits)
    document = statistics_document(outcome.statistics)
    assert json.loads(json.dumps(document)) == document
    assert document["starts"] == 2
    assert document["alike"] == 1
    assert document["changes"] == len(_endless(start_of())) - document["without_effect"]
    assert document["without_effect"] == 5
    assert document["launches"] == sum(stage["launches"] for stage in document["stages"]) > 512
    assert [stage["completed"] for stage in document["stages"]][-1] is False
    assert document["stages"][0] == {
        "name": "one change seen in the wild",
        "completed": True,
        "left": "",
        "matches": 0,
        "launches": document["stages"][0]["launches"],
        "seconds": document["stages"][0]["seconds"],
        "processes": 1,
    }


def test_launches_counted_in_their_bodies_are_tried_one_by_one() -> None:
    class Counted(LaidOut):
        """A launch whose regions are others for another number of vCPUs."""

        __slots__ = ()

        @property
        def counted_in_body(self) -> bool:
            return True

        def body(self, planner: Planner) -> Body:
            firmware = FIRMWARES["one" if self.vcpus < 7 else "other"]
            return LaidOut(*self._replace(inputs=self.inputs._replace(firmware=firmware))).body(planner)

        def plan(self, planner: Planner) -> LaunchPlan:
            body, tail = self.body(planner), LaidOut(*self).plan(planner)
            return tail._replace(regions=body.regions)

    plain = start_of()
    start = plain._replace(setup=Counted(*laid_out(plain.setup)))
    wanted = start_of(vcpus=9, signature=0xA00F11, firmware=FIRMWARES["other"])
    outcome = search([start], lambda _: changes_of(start)[:6], wanted.digest, PATIENT)
    assert _axes(outcome.found[0]) == {"cpu", "vcpus"}
    assert [change.axis for change in outcome.found[0].changes] == ["cpu"]
    assert outcome.found[0].vcpus == 9


MEASURED = """
import gc, os, resource, sys
from sevbuild.diagnose.search import Limits, search
from tests.support.near_misses import many_changes, start_of
gc.disable()
outcome = search([start_of()], lambda _: many_changes(int(sys.argv[1])), os.urandom(48), Limits(budget=500))
peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(outcome.statistics.launches, max(peaks))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_launches_tried() -> None:
    """Most of them are launches of their own, not vCPUs more of one before."""
    tried = {}
    for number in (3, 24):
        result = subprocess.run(
            [sys.executable, "-c", MEASURED, str(number)],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        launches, peak = map(int, result.stdout.split())
        tried[launches] = peak
    (few, small), (many, large) = sorted(tried.items())
    assert many > 1_000_000 > 20 * few
    assert large < small + 6 * 1024


def test_tiles_and_results_are_numbers_between_processes() -> None:
    """What a worker does, and what its parent makes of that."""
    tile = Tile(3, (1, 2), (5, 7), (0, 0), 64)
    assert search_module._unpacked(search_module._packed(tile)) == tile
    result = Result(12, (Hit(0, (1, 2, 3), 9), Hit(4, (), 1)), completed=False)
    assert search_module._unpacked_result(search_module._packed_result(result)) == result
    start = start_of()
    one = search_module._Search([start], changes_of, start.digest, PATIENT)
    answer = one._work(search_module._packed(Tile(0, (), (0, 0), (0, 0), 0)))
    assert search_module._unpacked_result(answer) == Result(1, (Hit(0, (), 1),), completed=True)
