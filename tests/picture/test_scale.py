"""Where a map shows what: to one scale, with breaks, and no label on another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sevbuild.picture.scale import PAGE_HEIGHT, areas_of, laid_out, spread
from tests.picture.support import PAGES, update

MIDDLES = st.lists(st.floats(0, 2000, allow_nan=False), max_size=30)


@given(MIDDLES)
def test_labels_do_not_touch_and_keep_their_order(middles: list[float]) -> None:
    wanted = sorted(middles)
    heights = [20.0 + 16 * (index % 3) for index in range(len(wanted))]
    places = spread(wanted, heights)
    bottom = 0.0
    for place, height in zip(places, heights, strict=True):
        assert place - height / 2 >= bottom - 1e-6
        bottom = place + height / 2


def test_a_label_that_nobody_pushes_is_where_it_is_wanted() -> None:
    assert spread([100.0, 200.0, 300.0], [20.0, 20.0, 20.0]) == [100.0, 200.0, 300.0]
    # Two that touch are moved apart alike, at the top of the picture only downwards.
    assert spread([100.0, 100.0], [20.0, 20.0]) == [90.0, 110.0]
    assert spread([0.0, 0.0], [20.0, 20.0]) == [10.0, 30.0]


def test_labels_that_all_want_one_place_stand_around_it() -> None:
    # So many that a walk over them for each would not end.
    count = 50_000
    places = spread([5e6] * count, [20.0] * count)
    assert places[0] == 5e6 - 10 * count + 10
    assert places[-1] == 5e6 + 10 * count - 10


@given(st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(1, 2000)), max_size=40))
def test_what_is_not_broken_is_to_scale(places: list[tuple[int, int]]) -> None:
    areas = areas_of(update("firmware", "normal", page, pages) for page, pages in places)
    blocks = laid_out(areas)
    top = 0.0
    for block in blocks:
        assert block.top == top
        top += block.height
        assert block.broken == (block.pages > (8 if block.area is None else 32))
        if not block.broken:
            assert block.height == block.pages * PAGE_HEIGHT
    assert [block.area for block in blocks if block.area is not None] == areas


def test_updates_that_touch_and_look_alike_are_one_area() -> None:
    first, second = update("page data", "normal", 16, 2), update("page data", "normal", 18, 1)
    (area,) = areas_of([second, first])
    assert (area.gpa, area.length, area.updates) == (16 * PAGES, 3 * PAGES, 2)
    assert len(areas_of([first, second._replace(page_type="zero")])) == 2
    assert len(areas_of([first, second._replace(origin="svsm")])) == 2
    assert len(areas_of([first, second._replace(gpa=19 * PAGES)])) == 2


def test_the_vmsas_of_all_vcpus_are_one_area_where_they_have_one_address() -> None:
    vmsas = [update(f"vmsa {index}", "vmsa", 1 << 36, 1) for index in range(64)]
    (area,) = areas_of(vmsas)
    assert (area.length, area.updates) == (PAGES, 64)
    apart = [vmsa._replace(gpa=vmsa.gpa + index * 2 * PAGES) for index, vmsa in enumerate(vmsas[:3])]
    assert len(areas_of(apart)) == 3


def test_very_many_areas_become_fewer() -> None:
    many = [update("page data", "normal", 2 * index, 1) for index in range(1000)]
    (area,) = areas_of(many)
    assert area.updates == 1000
    # Those that look different stay apart, however many they are.
    kinds = ("normal", "zero")
    assert len(areas_of(update("page data", kinds[index % 2], index, 1) for index in range(400))) == 400


def test_less_than_a_page_is_drawn_as_one() -> None:
    table = update("kernel-hashes", "data", 2064, 1)._replace(length=0xB0)
    (block,) = laid_out(areas_of([table]))
    assert (block.pages, block.height) == (1, PAGE_HEIGHT)
    assert laid_out([]) == []
