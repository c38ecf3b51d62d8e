"""Every mismatch of the collection ends in its cause (docs/explain.md has the table)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.diagnose.cases.all_cases import CASES
from tests.diagnose.cases.case import ROWS, Case
from tests.diagnose.cases.judge import judged, recorded
from tests.diagnose.cases.world import GUESTS, World
from tests.support.chain import digest
from tests.support.guests import digest_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_as_it_is_declared_launches_as_the_chain_has_it(
    world: World, tmp_path: Path, name: str
) -> None:
    guest = GUESTS[name]
    assert digest_of(tmp_path, **guest.tables(world)) == digest(guest.launch(world))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mismatch_ends_in_its_cause(world: World, tmp_path: Path, case: Case) -> None:
    assert judged(case, world, tmp_path) == recorded()[case.name]


def test_the_collection_is_what_was_asked_for() -> None:
    kinds = Counter(case.kind for case in CASES)
    assert len(CASES) >= 100
    assert kinds["two causes"] >= 15
    assert kinds["not found"] >= 15
    assert {case.row for case in CASES} == set(ROWS)
    assert len({case.name for case in CASES}) == len(CASES) == len(recorded())
    ranks = [recorded()[case.name].rank for case in CASES if case.cause]
    assert ranks.count(1) >= 0.95 * len(ranks)
    assert all(1 <= rank <= 3 for rank in ranks)
