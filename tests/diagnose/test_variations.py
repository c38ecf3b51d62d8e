"""Every set of changes that go together is a try of exactly one tile."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.diagnose.change import SEEN, Change, Start, Touches
from sevbuild.diagnose.kept import Kept
from sevbuild.diagnose.setup import Setup
from sevbuild.diagnose.variations import NONE, Part, Tile, Variations, bands
from sevbuild.errors import SevbuildError
from tests.support.near_misses import laid_out, start_of

START = start_of()
SIDES: tuple[Touches, ...] = ("both", "body", "tail")


def _other(setup: Setup) -> Setup:
    own = laid_out(setup)
    return own._replace(shape=own.shape._replace(policy=own.shape.policy + 1))


def _same(setup: Setup) -> Setup:
    return setup


def _change(axis: int, touches: Touches, weight: int) -> Change:
    return Change(f"axis {axis}", str(weight), touches, _other, "says", "source", weight)


def _space(changes: Iterable[Change], start: Start = START) -> Variations:
    given = list(changes)
    return Variations(0, start, [start.setup.vcpus], lambda _: given, Kept(9))


def _subsets(space: Variations, tile: Tile) -> list[tuple[int, ...]]:
    """Return the sets of changes that a tile tries."""
    bodies = [()] if tile.body == NONE else [(index,) for index in range(*tile.body)]
    tails = [()] if tile.tail == NONE else [(index,) for index in range(*tile.tail)]
    every = [tuple(sorted((*tile.made, *body, *tail))) for body in bodies for tail in tails]
    return [one for one in every if len({space.changes[index].axis for index in one}) == len(one)]


def _weight(space: Variations, tile: Tile) -> int:
    first = [side[0] for side in (tile.body, tile.tail) if side != NONE]
    return sum(space.changes[index].weight for index in (*tile.made, *first))


_CHANGES = st.lists(
    st.builds(
        _change,
        st.integers(0, 4),
        st.sampled_from(SIDES),
        st.one_of(st.integers(-9, 40), st.integers(SEEN - 2, SEEN + 2)),
    ),
    max_size=12,
)


@given(_CHANGES, st.integers(0, 4), st.sampled_from(["all", "seen", "rest"]))
def test_the_tiles_of_all_bands_cover_each_set_of_changes_once(
    changes: list[Change], number: int, kind: str
) -> None:
    space = _space(changes)
    part = Part(number, 0, kind)  # type: ignore[arg-type]
    tried: Counter[tuple[int, ...]] = Counter()
    for low, high in bands([space], part):
        for weight, tile in space.tiles(part, (low, high), lambda: False):
            assert weight == _weight(space, tile)
            assert low < weight <= high
            tried.update(_subsets(space, tile))
    wanted = set()
    for one in combinations(range(len(changes)), number):
        made = [space.changes[index] for index in one]
        known = all(change.weight < SEEN for change in made)
        if len({change.axis for change in made}) == number and kind in ("all", "seen" if known else "rest"):
            wanted.add(one)
    assert tried == Counter(wanted)


def test_a_band_ends_before_the_next_begins() -> None:
    space = _space([_change(1, "body", -7), _change(2, "tail", 30), _change(3, "both", 45)])
    found = list(bands([space], Part(2, 0)))
    assert found[0] == (-15, -1)
    assert found[-1][1] == 90
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert list(bands([space], Part(1, 0))) == [(-sys.maxsize, sys.maxsize)]


def test_whoever_has_enough_of_tiles_gets_no_more() -> None:
    space = _space([_change(number, "body", number) for number in range(200)])
    assert sum(1 for _ in space.tiles(Part(2, 0), (-1, 1000), lambda: True)) == 0


def test_what_has_no_effect_or_is_refused_is_dropped_and_counted() -> None:
    def refuse(setup: Setup) -> Setup:
        raise SevbuildError(f"no {setup.mode}")

    changes = [
        _change(1, "tail", 3),
        _change(2, "body", 2)._replace(apply=_same),
        _change(3, "both", 1)._replace(apply=refuse),
    ]
    space = _space(changes)
    assert not len(space.changes)
    space.open()
    space.open()
    assert [change.axis for change in space.changes] == ["axis 1"]
    assert (space.without_effect, space.refused) == (1, 1)


def test_an_axis_of_several_sides_is_one_of_both() -> None:
    space = _space([_change(1, "tail", 3), _change(1, "body", 2), _change(2, "body", 1)])
    space.open()
    assert [change.weight for change in space.changes] == [2, 3, 1]
    assert (space.both, space.body, space.tail) == (range(2), range(2, 3), range(3, 3))


@pytest.mark.parametrize(("tile", "size"), [((NONE, NONE, 0), 1), (((3, 5), (7, 10), 64), 2 * 3 * 64)])
def test_how_large_a_tile_is(tile: tuple[tuple[int, int], tuple[int, int], int], size: int) -> None:
    assert Tile(0, (1,), *tile).size == size
