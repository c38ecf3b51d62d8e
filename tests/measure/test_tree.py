"""Prefixes are replayed once, and sharing changes no digest."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha384
from typing import Any

import pytest

from sevbuild.image.kernel_hashes import KernelHashes
from sevbuild.image.ovmf import parse_firmware
from sevbuild.launch import page_digest
from sevbuild.launch.page_digest import PageHasher
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.planner import GuestInputs, LaunchShape, Planner
from sevbuild.launch.sev_guest import SevGuest
from sevbuild.launch.snp_guest import SnpGuest
from sevbuild.launch.status import LaunchError
from sevbuild.launch.update import LaunchUpdate
from sevbuild.manifest.profiles import load_profile
from sevbuild.measure.tree import LaunchTree
from tests.support.firmware import standard_firmware

NOISE = b"".join(index.to_bytes(4096, "big") for index in range(16))
FIRMWARE = parse_firmware(standard_firmware(fill=NOISE))
INPUTS = GuestInputs(FIRMWARE, None, KernelHashes(b"k" * 32, b"i" * 32, b"c" * 32))


def _shape(**more: Any) -> LaunchShape:
    shape = LaunchShape("snp", load_profile("qemu").rules.launch, "profile", 0x30000, 1, 0xA00F11, 1)
    return shape._replace(**more)


def _alone(plan: LaunchPlan) -> bytes:
    """Replay a plan by itself, without a tree."""
    guest = SnpGuest() if plan.mode == "snp" else SevGuest()
    guest.launch_start(plan.policy)
    for update in plan.updates:
        guest.launch_update(update)
    return guest.launch_digest


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[LaunchUpdate]:
    """Return the list of updates that reach a model of the secure processor."""
    seen: list[LaunchUpdate] = []
    for model in (SnpGuest, SevGuest):
        original = model.launch_update

        def spy(self: Any, update: LaunchUpdate, original: Any = original) -> None:
            seen.append(update)
            original(self, update)

        monkeypatch.setattr(model, "launch_update", spy)
    return seen


def _plans(planner: Planner, shapes: Sequence[LaunchShape]) -> list[LaunchPlan]:
    return [planner.plan(INPUTS, shape) for shape in shapes]


def test_a_matrix_costs_one_step_a_vmsa(launched: list[LaunchUpdate]) -> None:
    launch = load_profile("qemu").rules.launch
    shapes = [_shape(launch=launch, vcpus=count) for count in range(1, 65)]
    plans = _plans(Planner(), shapes)
    tree = LaunchTree()
    digests = [tree.digest(plan) for plan in plans]
    assert len(set(digests)) == 64
    # The regions, then 64 VMSAs, and the lone boot processor of the guest with one vCPU.
    assert len(launched) == len(plans[0].regions) + 65
    assert [origin for _, _, _, _, origin, _ in launched].count("firmware") == 1
    assert digests == [_alone(plan) for plan in plans]


def test_profiles_share_what_they_launch_alike(launched: list[LaunchUpdate]) -> None:
    planner = Planner()
    shapes = [
        _shape(launch=load_profile(name).rules.launch, vcpus=2)
        for name in ("qemu", "ec2", "qemu-snp-legacy-fpu")
    ]
    plans = _plans(planner, shapes)
    tree = LaunchTree()
    digests = [tree.digest(plan) for plan in plans]
    assert sum(update.origin == "firmware" for update in launched) == 1
    assert digests == [_alone(plan) for plan in plans]


def test_models_that_are_only_labels_share_their_vmsas(launched: list[LaunchUpdate]) -> None:
    launch = load_profile("ec2").rules.launch
    plans = _plans(
        Planner(), [_shape(launch=launch, signature=signature, vcpus=3) for signature in (1, 2, 3)]
    )
    tree = LaunchTree()
    assert len({tree.digest(plan) for plan in plans}) == 1
    assert sum(update.origin.startswith("vmsa") for update in launched) == 3


def test_policies_share_and_are_each_checked(launched: list[LaunchUpdate]) -> None:
    planner = Planner()
    launch = load_profile("qemu").rules.launch
    tree = LaunchTree()
    first = tree.digest(planner.plan(INPUTS, _shape(launch=launch)))
    count = len(launched)
    assert tree.digest(planner.plan(INPUTS, _shape(launch=launch, policy=0x20000))) == first
    assert len(launched) == count
    with pytest.raises(LaunchError, match="bit 17"):
        tree.digest(planner.plan(INPUTS, _shape(launch=launch, policy=0x10000)))


def test_sev_and_sev_es_share_the_firmware(launched: list[LaunchUpdate]) -> None:
    planner = Planner()
    launch = load_profile("qemu").rules.launch
    plans = [
        planner.plan(INPUTS, _shape(launch=launch, mode="sev", policy=0x1)),
        planner.plan(INPUTS, _shape(launch=launch, mode="sev-es", policy=0x5, guest_features=0)),
    ]
    tree = LaunchTree()
    digests = [tree.digest(plan) for plan in plans]
    assert sum(update.origin == "firmware" for update in launched) == 1
    assert digests == [_alone(plan) for plan in plans]
    assert [len(digest) for digest in digests] == [32, 32]


def test_a_primed_tree_goes_on_from_there(launched: list[LaunchUpdate]) -> None:
    planner = Planner()
    tree = LaunchTree()
    tree.prime(LaunchPlan("snp", 0x30000, None, (planner.firmware_update(FIRMWARE),), ()))
    assert [update.origin for update in launched] == ["firmware"]
    plan = planner.plan(INPUTS, _shape())
    assert tree.digest(plan) == _alone(plan)
    assert sum(update.origin == "firmware" for update in launched) == 2  # the second one is _alone's


def test_bytes_at_two_places_are_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Planner()
    launch = load_profile("qemu").rules.launch
    plans = [planner.plan(INPUTS, _shape(launch=launch, order=order)) for order in ("profile", "canonical")]
    hashed: list[int] = []

    def counted(data: Any) -> Any:
        hashed.append(len(data))
        return sha384(data)

    monkeypatch.setattr(page_digest, "sha384", counted)
    tree = LaunchTree()
    tree.announce(plans)
    digests = [tree.digest(plan) for plan in plans]
    # 16 pages of firmware, the hash page at its two places, and one VMSA.
    assert sum(size == 4096 for size in hashed) == 16 + 1 + 1
    monkeypatch.undo()
    assert digests == [_alone(plan) for plan in plans]
    assert digests[0] != digests[1]


def test_a_trace_ends_in_the_digest() -> None:
    plan = Planner().plan(INPUTS, _shape(vcpus=3))
    tree = LaunchTree()
    trace = list(tree.trace(plan))
    assert [update for update, _ in trace] == list(plan.updates)
    assert trace[-1][1] == tree.digest(plan)
    assert len({digest for _, digest in trace}) == len(trace)


def test_a_trace_leaves_nothing_to_be_launched_again(launched: list[LaunchUpdate]) -> None:
    plan = Planner().plan(INPUTS, _shape(vcpus=3))
    tree = LaunchTree()
    last = [digest for _, digest in tree.trace(plan)][-1]
    count = len(launched)
    assert tree.digest(plan) == last
    assert len(launched) == count


@pytest.mark.parametrize("number", [4096, 4097])
def test_updates_in_any_number_have_one_digest(number: int) -> None:
    """A file can make a million of them: above a number no context is kept for each."""
    updates = tuple(
        LaunchUpdate(index * 0x1000, PageType.ZERO, 0x1000, None, "zeros") for index in range(number)
    )
    plan = LaunchPlan("snp", 0x30000, None, updates, ())
    expected = _alone(plan)
    tree = LaunchTree()
    assert tree.digest(plan) == expected
    trace = list(tree.trace(plan))
    assert [update for update, _ in trace] == list(updates)
    assert trace[-1][1] == expected


def test_only_what_stands_at_two_places_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(PageHasher, "remember", lambda _, data: kept.append(data))
    planner = Planner()
    listed = planner.plan(INPUTS, _shape())
    LaunchTree().announce([listed, planner.plan(INPUTS, _shape(vcpus=2))])
    assert kept == []
    sorted_ = planner.plan(INPUTS, _shape(order="canonical"))
    LaunchTree().announce([listed, sorted_])
    # The firmware comes after the sections there; of these only the page of hashes has contents.
    assert {id(data) for data in kept} == {id(up.data) for up in listed.regions if up.data is not None}
    plain = planner.plan(INPUTS, _shape(mode="sev", policy=1))
    kept.clear()
    LaunchTree().announce([plain, plain._replace(regions=plain.regions[::-1])])
    assert kept == []  # a plain SEV digest has no pages
