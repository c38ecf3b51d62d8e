"""Two launch plans side by side."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.image.kernel_hashes import KernelHashes
from sevbuild.image.ovmf import parse_firmware
from sevbuild.launch.compare import RegisterChange, Step, _anchors, compare_plans, register_changes
from sevbuild.launch.mode import Mode, Order
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.planner import GuestInputs, LaunchShape, Planner
from sevbuild.launch.update import LaunchUpdate
from sevbuild.manifest.profiles import load_profile
from sevbuild.measure.tree import LaunchTree
from sevbuild.vcpu.save_area import build_vmsa
from tests.support.firmware import make_firmware
from tests.support.launches import InPieces

SECTIONS = [(0x800000, 0x9000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]
HASHES = KernelHashes(b"k" * 32, b"i" * 32, b"c" * 32)


def _plan(
    sections: list[tuple[int, int, int]] = SECTIONS,
    *,
    size: int = 0x10000,
    hashes: KernelHashes | None = HASHES,
    profile: str = "qemu",
    mode: Mode = "snp",
    order: Order = "profile",
    vcpus: int = 1,
    signature: int = 0xA00F11,
    features: int = 1,
) -> LaunchPlan:
    image = make_firmware(size=size, sections=sections, reset=0x80B004, hash_table=(0x810C00, 0x400))
    launch = load_profile(profile).rules.launch
    shape = LaunchShape(mode, launch, order, 0x30000, vcpus, signature, features)
    return Planner().plan(GuestInputs(parse_firmware(image), None, hashes), shape)


def _unequal(first: LaunchPlan, second: LaunchPlan) -> list[tuple[str | None, str | None, tuple[str, ...]]]:
    """Return the origins and the differences of all steps that are not equal."""
    return [
        (step.first and step.first.origin, step.second and step.second.origin, step.differs)
        for step in compare_plans(first, second)
        if not step.is_equal
    ]


def test_plans_of_the_same_guest_are_equal_though_nothing_is_shared() -> None:
    steps = compare_plans(_plan(vcpus=3), _plan(vcpus=3))
    assert len(steps) == 8
    assert all(step.is_equal and not step.registers for step in steps)


def test_an_update_in_addition_stands_alone() -> None:
    """All sections behind it have other numbers, and keep their partners."""
    more = [*SECTIONS[:1], (0x80F000, 0x1000, 4), *SECTIONS[1:]]
    assert _unequal(_plan(), _plan(more)) == [
        # Its own table lists them.
        ("firmware", "firmware", ("data",)),
        (None, "section 1 (svsm-caa)", ()),
        ("section 1 (snp-secrets)", "section 2 (snp-secrets)", ("origin",)),
        ("section 2 (cpuid)", "section 3 (cpuid)", ("origin",)),
        ("section 3 (kernel-hashes)", "section 4 (kernel-hashes)", ("origin",)),
    ]
    assert [pair[::-1] for pair in ((one, two) for one, two, _ in _unequal(_plan(more), _plan()))] == [
        (one, two) for one, two, _ in _unequal(_plan(), _plan(more))
    ]


def test_what_differs_is_named() -> None:
    other = _plan(hashes=HASHES._replace(cmdline=b"x" * 32))
    assert _unequal(_plan(), other) == [("section 3 (kernel-hashes)", "section 3 (kernel-hashes)", ("data",))]
    assert _unequal(_plan(), _plan(hashes=None)) == [
        ("section 3 (kernel-hashes)", "section 3 (kernel-hashes)", ("page_type", "data"))
    ]
    assert _unequal(_plan(), _plan(size=0x20000)) == [("firmware", "firmware", ("gpa", "length", "data"))]
    longer = [(0x800000, 0xA000, 1), *SECTIONS[1:]]
    assert _unequal(_plan(), _plan(longer)) == [
        ("firmware", "firmware", ("data",)),
        ("section 0 (snp-sec-mem)", "section 0 (snp-sec-mem)", ("length",)),
    ]
    (first, *rest), vmsas = _plan().regions, _plan().vmsas
    raised = LaunchPlan("snp", 0, None, (first._replace(vmpl_permissions=(1, 0, 0)), *rest), vmsas)
    assert _unequal(_plan(), raised) == [("firmware", "firmware", ("vmpl_permissions",))]


def test_vcpus_in_addition_stand_alone() -> None:
    assert _unequal(_plan(vcpus=1), _plan(vcpus=3)) == [(None, "vmsa 1", ()), (None, "vmsa 2", ())]


def test_vmsas_differ_by_register() -> None:
    steps = [
        step for step in compare_plans(_plan(), _plan(signature=0x800F12, features=0x21)) if not step.is_equal
    ]
    assert [step.differs for step in steps] == [("data",)]
    assert steps[0].registers == [
        RegisterChange("rdx", 0xA00F11, 0x800F12),
        RegisterChange("sev_features", 0x1, 0x21),
    ]
    assert Step(steps[0].first, None).registers == []
    region = _plan().regions[0]
    assert Step(region, region._replace(data=bytes(region.length)), ("data",)).registers == []
    short = LaunchUpdate(0, PageType.VMSA, 8, b"\0" * 8, "vmsa 0")
    assert Step(short, short._replace(data=b"\1" * 8), ("data",)).registers == []


def test_segments_and_reserved_bytes_are_registers_too() -> None:
    page = build_vmsa({"cs": {"base": 0xFFFF0000, "selector": 0xF000}, "fpreg_x87": b"a" * 80})
    other = bytearray(build_vmsa({"cs": {"base": 0x1000, "selector": 0xF000}}))
    other[0x1C0:0x1C2] = b"\1\2"
    assert register_changes(page, bytes(other)) == [
        RegisterChange("cs.base", 0xFFFF0000, 0x1000),
        RegisterChange("fpreg_x87", b"a" * 80, bytes(80)),
        RegisterChange("reserved 0x1c0", b"", b"\1\2"),
    ]
    assert register_changes(page, page) == []
    with pytest.raises(SevbuildError, match="4096 bytes"):
        register_changes(page, b"")


def test_what_is_launched_in_another_order_is_alone_in_both() -> None:
    moved = _unequal(_plan(), _plan(profile="ec2"))
    assert moved[:1] == [("section 2 (cpuid)", None, ())]
    assert (None, "section 2 (cpuid)", ()) in moved
    firmware_last = _unequal(_plan(), _plan(order="canonical"))
    assert firmware_last == [("firmware", None, ()), (None, "firmware", ())]


def test_contents_in_a_file_are_compared_by_their_bytes() -> None:
    data = bytes(range(256)) * 16
    update = LaunchUpdate(0x1000, PageType.NORMAL, 4096, data, "page data")
    for contents in (InPieces(data), memoryview(data), bytes(data)):
        other = update._replace(data=contents)
        plans = [LaunchPlan("snp", 0, None, (it,), ()) for it in (update, other)]
        assert [step.differs for step in compare_plans(*plans)] == [()]
    other = update._replace(data=InPieces(data[::-1]))
    plans = [LaunchPlan("snp", 0, None, (it,), ()) for it in (update, other)]
    assert [step.differs for step in compare_plans(*plans)] == [("data",)]


updates = st.builds(
    LaunchUpdate,
    gpa=st.integers(0, 5).map(lambda page: page * 4096),
    page_type=st.sampled_from([PageType.NORMAL, PageType.ZERO, PageType.VMSA]),
    length=st.just(4096),
    data=st.sampled_from([None, bytes(4096), b"\1" * 4096]),
    origin=st.sampled_from(["firmware", "section 0", "section 1"]),
)
plans = st.lists(updates, max_size=12).map(lambda found: LaunchPlan("snp", 0, None, tuple(found), ()))


@settings(max_examples=200, deadline=None)
@given(plans, plans)
def test_each_update_is_in_one_step_and_in_its_order(first: LaunchPlan, second: LaunchPlan) -> None:
    steps = compare_plans(first, second)
    assert tuple(step.first for step in steps if step.first is not None) == first.updates
    assert tuple(step.second for step in steps if step.second is not None) == second.updates
    for step in steps:
        if step.first is None or step.second is None:
            assert step.differs == ()
            assert not step.is_equal
        else:
            changed = [
                name for name in step.first._fields if getattr(step.first, name) != getattr(step.second, name)
            ]
            assert step.differs == tuple(changed)


@settings(max_examples=100, deadline=None)
@given(plans, st.data())
def test_taking_one_update_out_leaves_the_others_equal(plan: LaunchPlan, data: st.DataObject) -> None:
    count = len(plan.updates)
    left_out = data.draw(st.integers(0, max(count - 1, 0)))
    fewer = plan._replace(regions=plan.regions[:left_out] + plan.regions[left_out + 1 :])
    steps = compare_plans(plan, fewer)
    assert sum(step.is_equal for step in steps) == len(fewer.updates)
    assert len(steps) == count


@pytest.mark.parametrize("count", [20000])
def test_many_updates_are_compared_in_little_time(count: int) -> None:
    regions = [LaunchUpdate(index * 4096, PageType.ZERO, 4096, None, "page data") for index in range(count)]
    first = LaunchPlan("snp", 0, None, tuple(regions), ())
    second = LaunchPlan("snp", 0, None, tuple(regions[1:] + regions[:1]), ())
    assert [step.is_equal for step in compare_plans(first, second)].count(False) == 2


def test_equal_steps_give_equal_digests() -> None:
    first, second = _plan(vcpus=2), _plan(vcpus=2)
    assert all(step.is_equal for step in compare_plans(first, second))
    assert LaunchTree().digest(first) == LaunchTree().digest(second)


def test_as_many_updates_as_keep_their_order_are_paired() -> None:
    regions = [LaunchUpdate(index * 4096, PageType.ZERO, 4096, None, f"at {index}") for index in range(5)]
    first = LaunchPlan("snp", 0, None, tuple(regions), ())
    for order in permutations(range(5)):
        most = max(
            size for size in range(6) for some in combinations(order, size) if list(some) == sorted(some)
        )
        second = first._replace(regions=tuple(regions[index] for index in order))
        assert sum(step.is_equal for step in compare_plans(first, second)) == most
        pairs = _anchors(range(5), order)
        assert len(pairs) == most
        assert pairs == sorted(pairs)
        assert all(index == order[other] for index, other in pairs)


def test_updates_that_are_the_same_are_paired_one_by_one() -> None:
    update = LaunchUpdate(0x1000, PageType.VMSA, 4096, bytes(4096), "vmsa")
    first, second = (LaunchPlan("snp", 0, None, (), (update,) * count) for count in (12, 11))
    steps = compare_plans(first, second)
    assert [step.is_equal for step in steps].count(True) == 11
    assert len(steps) == 12
