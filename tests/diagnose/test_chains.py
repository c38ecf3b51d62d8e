"""Launch digests put together from bodies and VMSAs are those of the secure processor's model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.diagnose import chains
from sevbuild.diagnose.chains import BodyChains, Steps, matching, state_digest, steps_of
from sevbuild.diagnose.setup import Body, Tail
from sevbuild.launch.mode import Mode
from sevbuild.launch.page_digest import PageHasher, extend
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.update import LaunchUpdate
from sevbuild.measure.tree import LaunchTree

GPA = 0xFFFFFFFFF000
POLICIES: dict[Mode, int] = {"snp": 0x30000, "sev-es": 5, "sev": 1}


def _page(number: int) -> bytes:
    return bytes((number, 1)) * 2048


def _update(gpa: int, pages: int, fill: int, kind: PageType = PageType.NORMAL) -> LaunchUpdate:
    data = b"".join(_page(fill + number) for number in range(pages)) if kind == PageType.NORMAL else None
    return LaunchUpdate(gpa << 12, kind, pages << 12, data, "here")


def _digest(body: Body, tail: Tail, vcpus: int) -> bytes:
    """Return what the model says."""
    pages = list(tail.pages)
    while tail.further is not None and len(pages) < vcpus:
        pages.append(tail.further)
    vmsas = [LaunchUpdate(tail.gpa, PageType.VMSA, 4096, page, "vmsa") for page in pages]
    plan = LaunchPlan(body.mode, POLICIES[body.mode], body.seed, body.regions, tuple(vmsas))
    return LaunchTree().digest(plan)


REGIONS = st.lists(
    st.one_of(
        st.builds(_update, st.just(0), st.integers(1, 3), st.integers(0, 3)),
        st.builds(_update, st.just(0), st.integers(1, 2), st.just(0), st.just(PageType.UNMEASURED)),
        st.builds(_update, st.just(0), st.just(70), st.integers(0, 1)),
    ),
    max_size=5,
)


def _placed(regions: Sequence[LaunchUpdate]) -> tuple[LaunchUpdate, ...]:
    return tuple(region._replace(gpa=number << 24) for number, region in enumerate(regions))


@given(
    st.lists(
        st.tuples(st.sampled_from(["snp", "sev-es", "sev"]), REGIONS, st.booleans()), min_size=1, max_size=6
    )
)
def test_a_body_has_the_state_of_the_model_whatever_came_before(
    drawn: list[tuple[Mode, list[LaunchUpdate], bool]],
) -> None:
    bodies = BodyChains()
    for mode, regions, seeded in drawn:
        kept = [region for region in regions if mode == "snp" or region.data is not None]
        body = Body(mode, bytes(range(48)) if seeded and mode == "snp" else None, _placed(kept))
        assert state_digest(bodies.state(body)) == _digest(body, Tail(GPA, (), None), 0)


def test_a_large_region_is_chained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The firmware comes first in most launches, and others may lie between two of them."""
    pages: list[int] = []

    def counting(digest: bytes, update: LaunchUpdate, hasher: PageHasher) -> bytes:
        pages.append(update.length >> 12)
        return extend(digest, update, hasher)

    monkeypatch.setattr(chains, "extend", counting)
    monkeypatch.setattr(chains, "_MOST_LARGE", 2)
    bodies = BodyChains()
    one, other, third = (_update(fill << 12, 64, fill) for fill in (1, 2, 3))
    small = _update(0x100, 1, 7)
    for regions in ((one, small), (other, small), (one,), (other, small), (one, small)):
        bodies.state(Body("snp", None, regions))
    assert pages.count(64) == 2
    # No more than two are kept.
    bodies.state(Body("snp", None, (third,)))
    bodies.state(Body("snp", None, (one,)))
    assert pages.count(64) == 4


TAILS = st.builds(
    Tail,
    st.sampled_from([GPA, 0x1000]),
    st.lists(st.integers(0, 3).map(_page), max_size=3).map(tuple),
    st.one_of(st.none(), st.integers(4, 5).map(_page)),
)


@given(st.sampled_from(["snp", "sev-es"]), TAILS, st.integers(1, 6), st.integers(0, 6), st.integers(0, 12))
def test_a_match_is_the_launch_of_the_model(
    mode: Mode, tail: Tail, first: int, more: int, vcpus: int
) -> None:
    body = Body(mode, None, (_update(1, 2, 3),))
    counts = range(first, first + more + 1)
    wanted = _digest(body, tail, vcpus)
    state = BodyChains().state(body)
    other = Steps((b"other".ljust(64, b"\0"),), None)
    tried, found = matching(state, [other, steps_of(mode, tail), other], counts, wanted)
    alike = [count for count in counts if _digest(body, tail, count) == wanted]
    assert found == ([(1, alike[0])] if alike else [])
    distinct = len({_digest(body, tail, count) for count in counts})
    assert tried == 2 + distinct


def test_the_state_of_a_body_is_left_as_it_is() -> None:
    state = BodyChains().state(Body("sev-es", None, (_update(1, 2, 3),)))
    before = state_digest(state)
    for _ in range(2):
        assert matching(state, [Steps((_page(1),), _page(2))], range(1, 9), before) == (8, [])
        assert state_digest(state) == before


def test_mode_sev_has_its_digest_without_vmsas() -> None:
    body = Body("sev", None, (_update(1, 2, 3),))
    state = BodyChains().state(body)
    assert matching(state, [Steps((), None)], range(3, 4), state_digest(state)) == (1, [(0, 3)])
    assert (chains.digest_size("snp"), chains.digest_size("sev"), chains.digest_size("sev-es")) == (
        48,
        32,
        32,
    )
