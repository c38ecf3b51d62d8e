"""The proposal of 2019: whoever issues the calls, and in whatever order, the digest is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.launch.batch import LaunchBatch
from sevbuild.launch.page_type import PageType
from sevbuild.launch.sev_guest import SevGuest
from sevbuild.launch.snp_guest import SnpGuest
from sevbuild.launch.status import LaunchError, Status
from sevbuild.launch.update import LaunchUpdate
from tests.support.guests import digest_of
from tests.support.shared import shared_file

VMSA_GPA = 0xFFFFFFFFF000

DATA_TYPES = [kind for kind in PageType if kind != PageType.VMSA]


def data(gpa: int, pages: int = 1, kind: PageType = PageType.NORMAL, fill: int = 1) -> LaunchUpdate:
    """Return an update of some pages, filled with one byte where contents are measured."""
    contents = bytes([fill]) * (pages * 4096) if kind == PageType.NORMAL else None
    return LaunchUpdate(gpa, kind, pages * 4096, contents, f"{kind.label} at {gpa:#x}")


def vmsa(vcpu: int) -> LaunchUpdate:
    """Return the VMSA of a vCPU, told apart by its number."""
    return LaunchUpdate(VMSA_GPA, PageType.VMSA, 4096, vcpu.to_bytes(4096, "little"), f"vmsa {vcpu}")


@st.composite
def launches(draw: st.DrawFn) -> tuple[list[LaunchUpdate], int]:
    """Draw regions that do not overlap, ascending, and a number of vCPUs."""
    gpa, found = 0, []
    for kind in draw(st.lists(st.sampled_from(DATA_TYPES), max_size=6)):
        gpa += draw(st.integers(0, 3)) * 4096
        pages = draw(st.integers(1, 4))
        found.append(data(gpa, pages, kind, draw(st.integers(0, 255))))
        gpa += pages * 4096
    return found, draw(st.integers(0, 5))


def _batched(calls: list[tuple[int, LaunchUpdate]]) -> tuple[LaunchUpdate, ...]:
    batch = LaunchBatch()
    for vcpu, update in calls:
        if vcpu < 0:
            batch.update_data(update)
        else:
            batch.update_vmsa(vcpu, update)
    return batch.finish()


def _digest(guest: SnpGuest | SevGuest, policy: int, updates: tuple[LaunchUpdate, ...]) -> bytes:
    guest.launch_start(policy)
    for update in updates:
        guest.launch_update(update)
    return guest.launch_digest


@settings(max_examples=200, deadline=None)
@given(launch=launches(), seed=st.randoms(use_true_random=False))
def test_every_permutation_has_one_digest(launch: tuple[list[LaunchUpdate], int], seed: Any) -> None:
    regions, vcpus = launch
    calls = [(-1, update) for update in regions] + [(vcpu, vmsa(vcpu)) for vcpu in range(vcpus)]
    shuffled = list(calls)
    seed.shuffle(shuffled)
    forwarded = _batched(shuffled)
    # Data by guest address, then VMSAs by vCPU number.
    assert list(forwarded) == [update for _, update in calls]
    assert _digest(SnpGuest(), 0x30000, forwarded) == _digest(SnpGuest(), 0x30000, _batched(calls))
    plain = [(vcpu, update._replace(data=update.data or bytes(update.length))) for vcpu, update in calls]
    seed.shuffle(plain)
    straight = tuple(update._replace(data=update.data or bytes(update.length)) for _, update in calls)
    assert _digest(SevGuest(), 0x5, _batched(plain)) == _digest(SevGuest(), 0x5, straight)


def test_without_the_batch_order_decides() -> None:
    there, back = (data(0x1000, fill=1), data(0x2000, fill=2)), (data(0x2000, fill=2), data(0x1000, fill=1))
    assert _digest(SnpGuest(), 0x30000, there) != _digest(SnpGuest(), 0x30000, back)
    assert _digest(SevGuest(), 0x5, there) != _digest(SevGuest(), 0x5, back)


@settings(max_examples=200, deadline=None)
@given(launch=launches(), start=st.integers(-3, 40), pages=st.integers(1, 4), position=st.integers(0, 6))
def test_overlaps_are_refused_wherever_they_come(
    launch: tuple[list[LaunchUpdate], int], start: int, pages: int, position: int
) -> None:
    regions, _ = launch
    intruder = data(max(start, 0) * 4096, pages)
    overlaps = any(other.gpa < intruder.end and intruder.gpa < other.end for other in regions)
    calls = [(-1, update) for update in regions]
    calls.insert(min(position, len(calls)), (-1, intruder))
    if not overlaps:
        assert len(_batched(calls)) == len(calls)
        return
    with pytest.raises(LaunchError, match="overlaps") as caught:
        _batched(calls)
    assert caught.value.status == Status.INVALID_PAGE_STATE


@pytest.mark.parametrize(
    ("calls", "status", "reason"),
    [
        ([(0, vmsa(0)), (0, vmsa(0))], Status.INVALID_PAGE_STATE, "vCPU 0 already has a VMSA"),
        ([(0, vmsa(0)), (2, vmsa(2))], Status.INVALID_PARAM, "vCPU 1 has no VMSA and vCPU 2 has one"),
        ([(1, vmsa(1))], Status.INVALID_PARAM, "vCPU 0 has no VMSA"),
        ([(0, data(0))], Status.INVALID_PARAM, "use update_data"),
        ([(-1, vmsa(0))], Status.INVALID_PARAM, "use update_vmsa"),
        ([(0, vmsa(0)._replace(length=8192))], Status.INVALID_LEN, "a VMSA is 4096 bytes"),
        ([(-1, data(0)._replace(length=0))], Status.INVALID_LEN, "0 bytes"),
    ],
)
def test_what_is_not_one_launch_is_refused(
    calls: list[tuple[int, LaunchUpdate]], status: Status, reason: str
) -> None:
    with pytest.raises(LaunchError, match=reason) as caught:
        _batched(calls)
    assert caught.value.status == status
    assert f"fw_error={int(status)}" in caught.value.message


def test_vcpu_numbers_count_from_zero() -> None:
    with pytest.raises(LaunchError, match="there is no vCPU -1"):
        LaunchBatch().update_vmsa(-1, vmsa(0))


def test_late_calls_are_refused() -> None:
    batch = LaunchBatch()
    assert batch.finish() == ()
    for call in (lambda: batch.update_data(data(0)), lambda: batch.update_vmsa(0, vmsa(0)), batch.finish):
        with pytest.raises(LaunchError, match="finished") as caught:
            call()
        assert caught.value.status == Status.INVALID_GUEST_STATE


GOLDENS = {
    ("snp", "qemu", "profile"): "ddc5224521617a53",
    ("snp", "qemu", "canonical"): "56f6db3a981f2954",
    ("snp", "wide", "profile"): "a13efadceef0db64",
    ("sev", "qemu", "profile"): "77f613d7bbcdf12a",
    ("sev", "qemu", "canonical"): "2f16648125d48a96",
    ("sev-es", "qemu", "profile"): "664f688c75cd5c08",
    ("sev-es", "qemu-es-debugswap", "profile"): "df998c4163406509",
    ("sev-es", "qemu-es-init2", "profile"): "13810ae661ea11e2",
}
"""Begins of digests over sev-snp-measure's AmdSev fixture, computed by independent code."""


@pytest.mark.parametrize(("mode", "profile", "order"), GOLDENS)
def test_canonical_order_of_a_real_table(tmp_path: Path, mode: str, profile: str, order: str) -> None:
    if profile == "wide":
        (tmp_path / "wide.toml").write_text(
            'schema = 1\nname = "wide"\nextends = "qemu"\nsummary = "52-bit VMSA address"\nas-of = "test"\n'
            "launch.vmsa-gpa = 0xffffffffff000\n"
        )
        profile = "wide.toml"
    (tmp_path / "empty").touch()
    digest = digest_of(
        tmp_path,
        launch={"mode": mode, "profile": profile, "order": order},
        firmware={"path": str(shared_file("firmware/AmdSev_suffix.bin"))},
        kernel={"path": "empty"},
        initrd={"path": "empty"},
        vcpu={"model": "EPYC-v4", "count": 1},
    )
    assert digest.startswith(GOLDENS[mode, profile.removesuffix(".toml"), order])


def test_a_batch_takes_any_length_that_there_is() -> None:
    byte = data(0)._replace(length=1, data=b"x")
    assert _batched([(-1, byte)]) == (byte,)
    with pytest.raises(LaunchError) as caught:
        LaunchBatch().update_data(data(0)._replace(length=-4096))
    assert caught.value.status == Status.INVALID_LEN
