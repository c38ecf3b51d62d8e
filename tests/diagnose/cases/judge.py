"""What `sevbuild explain` says of a case, and whether that is its cause."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tests.diagnose.cases.case import Case, expected_of, launch_of, tables_of
from tests.diagnose.cases.world import World
from tests.support.chain import digest
from tests.support.cli import run
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

__all__ = ["RECORD", "Verdict", "judged", "recorded"]

RECORD = ROOT / "tests" / "data" / "explain-cases.json"
"""The rank and the stage of each case as they were last recorded (tools/explain_cases.py)."""

NOT_FOUND_BUDGET = 5.0
"""Seconds for what is not there: enough for what the exclusion rests on, on a busy machine too."""

BUDGET = 10.0
"""Seconds for what can be found: a worker of the suite has one processor, where 5 s are promised on two."""

HASHED = {"cmdline": 0, "initrd": 1, "kernel": 2}
"""Settings that are digests of the table of kernel hashes, by their place in it."""

NUMBERS = ("cpu", "guest-features", "vcpus", "vmsa-gpa")


class Verdict(NamedTuple):
    """Where among the explanations the true cause is, from 1, and the stage of the search that found one.

    0 and no stage where nothing is to be found: how far a search without an end comes is a matter of time.
    """

    rank: int
    stage: str


def recorded() -> dict[str, Verdict]:
    """Return the verdicts that docs/explain.md shows."""
    return {name: Verdict(*entry) for name, entry in json.loads(RECORD.read_text()).items()}


def judged(case: Case, world: World, folder: Path) -> Verdict:
    """Return the verdict on a case; raises AssertionError where what is said is not what is true."""
    measured = expected_of(case, world, folder)
    wanted = case.expected(world, measured) if case.expected else measured
    subject = (
        case.subject(world, folder) if case.subject else write_manifest(folder, **tables_of(case, world))
    )
    options = [world.path(word[1:]) if word.startswith("@") else word for word in case.options]
    budget = BUDGET if case.cause else NOT_FOUND_BUDGET
    begin = _processor_seconds()
    done = run("explain", subject, wanted, *options, "--budget", budget, "--format", "json")
    seconds = _processor_seconds() - begin
    if case.refused:
        assert done.status == 2, done.err
        assert re.search(case.refused, done.err), done.err
        return Verdict(0, "")
    assert done.status in (0, 1), done.err
    answer = json.loads(done.out)
    if not case.cause:
        return _without_cause(case, answer)
    assert done.status == 0, f"not found: {json.dumps(answer['excluded'])}"
    true = _true_settings(case, world)
    given = [_plain(entry["settings"]) for entry in answer["explanations"]]
    ranks = [rank for rank, settings in enumerate(given, 1) if _is(settings, true)]
    assert ranks, f"the cause is {true}, explained are {given[:4]}"
    assert ranks[0] <= 3, f"the cause is {true}, before it are {given[: ranks[0] - 1]}"
    assert seconds < 2 * 5, f"answered after {seconds:.1f} s of a processor"
    stages = answer["statistics"].get("stages", [])
    return Verdict(ranks[0], next((stage["name"] for stage in stages if stage["matches"]), ""))


def _processor_seconds() -> float:
    """Return the time that this process and those that it started had a processor."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _without_cause(case: Case, answer: Mapping[str, Any]) -> Verdict:
    if case.also:
        said = [answer["sentence"], *(entry["sentence"] for entry in answer["also"]), *answer["notes"]]
        assert any(re.search(case.also, sentence) for sentence in said), said
        assert answer["result"] != "not-found", said
        return Verdict(0, "")
    assert answer["result"] == "not-found", [entry["settings"] for entry in answer["explanations"]]
    assert any(re.search(case.excludes, sentence) for sentence in answer["excluded"]), answer["excluded"]
    assert answer["next"], "it is not said what to get next"
    return Verdict(0, "")


def _plain(settings: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {name: values["expected"] for name, values in settings.items()}


def _true_settings(case: Case, world: World) -> dict[str, Sequence[str] | None]:
    """Return the cause with the digests of files in place of the words for them; None where words must do."""
    launch = launch_of(case, world)
    found: dict[str, Sequence[str] | None] = {}
    for name, value in case.cause.items():
        if name in HASHED and launch.hashes is not None:
            found[name] = [launch.hashes[HASHED[name]].hex()]
        elif name == "firmware":
            # Reference values know a firmware by its seed alone.
            seed = launch.seed.hex() if launch.seed else digest(launch._replace(sections=[], measured=0))
            found[name] = [seed, sha256(launch.firmware).hexdigest()]
        else:
            found[name] = None if name in ("sections", "sections-last") else [value]
    return found


def _is(settings: Mapping[str, str], true: Mapping[str, Sequence[str] | None]) -> bool:
    """Tell whether settings are the true ones; numbers are compared as numbers."""
    if settings.keys() != true.keys():
        return False
    for name, values in true.items():
        given = settings[name]
        if values is None or given in values:
            continue
        if name not in NUMBERS or int(given, 0) not in {int(value, 0) for value in values}:
            return False
    return True
