"""The model of the SNP launch commands: states, order of checks, and what is measured."""

from __future__ import annotations

from hashlib import sha384
from typing import NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.launch.page_type import PageType
from sevbuild.launch.snp_guest import SnpGuest, SnpGuestState, SnpPlatform
from sevbuild.launch.status import LaunchError, Status
from sevbuild.launch.update import LaunchUpdate

PAGE = bytes(range(256)) * 16
NORMAL = LaunchUpdate(0x1000, PageType.NORMAL, 4096, PAGE, "page")


class Block(NamedTuple):
    """An ID block, and the status with which its signatures are refused; tests/identity has real ones."""

    launch_digest: bytes
    policy: int
    status: Status | None = None

    def refusal(self) -> tuple[Status, str] | None:
        return None if self.status is None else (self.status, "as the test has it")


def started(policy: int = 0x30000) -> SnpGuest:
    """Return a guest in LAUNCH."""
    guest = SnpGuest()
    guest.launch_start(policy)
    return guest


def page_info(
    digest: bytes, contents: bytes, kind: int, gpa: int, permissions: tuple[int, int, int] = (0, 0, 0)
) -> bytes:
    """Return SHA-384 of PAGE_INFO, field by field (SNP ABI 8.17.2)."""
    info = bytearray(0x70)
    info[0x00:0x30] = digest
    info[0x30:0x60] = contents
    info[0x60:0x62] = (0x70).to_bytes(2, "little")
    info[0x62] = kind
    info[0x65:0x68] = bytes(permissions)
    info[0x68:0x70] = gpa.to_bytes(8, "little")
    return sha384(info).digest()


@pytest.mark.parametrize("kind", PageType)
def test_what_of_a_page_is_measured(kind: PageType) -> None:
    guest = started()
    guest.launch_update(LaunchUpdate(0x1000, kind, 4096, PAGE, "page"))
    measured = kind in (PageType.NORMAL, PageType.VMSA)
    contents = (
        sha384(PAGE[:0x2F0] + bytes(16) + PAGE[0x300:]).digest()
        if kind == PageType.VMSA
        else sha384(PAGE).digest()
    )
    assert guest.launch_digest == page_info(bytes(48), contents if measured else bytes(48), kind, 0x1000)


def test_tsc_values_of_a_vmsa_do_not_enter() -> None:
    digests = set()
    for filler in (bytes(16), b"\xff" * 16):
        guest = started()
        page = PAGE[:0x2F0] + filler + PAGE[0x300:]
        guest.launch_update(LaunchUpdate(0xFFFFFFFFF000, PageType.VMSA, 4096, page, "vmsa 0"))
        digests.add(guest.launch_digest)
    assert len(digests) == 1


def test_permissions_stand_in_the_order_of_the_specification() -> None:
    guest = started()
    guest.launch_update(NORMAL._replace(vmpl_permissions=(1, 2, 15)))
    assert guest.launch_digest == page_info(bytes(48), sha384(PAGE).digest(), 1, 0x1000, (1, 2, 15))


def test_a_region_is_its_pages_one_by_one() -> None:
    """A 2 MiB page is measured as 512 small ones, so page size never changes a digest."""
    contents = b"".join(index.to_bytes(4096, "little") for index in range(512))
    whole, parts = started(), started()
    whole.launch_update(LaunchUpdate(0x200000, PageType.NORMAL, len(contents), contents, "region"))
    digest = bytes(48)
    for index in range(512):
        page = contents[index * 4096 : (index + 1) * 4096]
        parts.launch_update(LaunchUpdate(0x200000 + index * 4096, PageType.NORMAL, 4096, page, "page"))
        digest = page_info(digest, sha384(page).digest(), 1, 0x200000 + index * 4096)
    assert whole.launch_digest == parts.launch_digest == digest


def test_a_launch_from_start_to_finish() -> None:
    guest = SnpGuest()
    assert (guest.state, guest.launch_digest) == (SnpGuestState.INIT, bytes(48))
    guest.launch_start(0x30000)
    guest.launch_update(NORMAL)
    digest = guest.launch_digest
    assert guest.launch_finish(identity=Block(digest, 0x30000)) == digest
    assert guest.state == SnpGuestState.RUNNING
    for call in (
        lambda: guest.launch_start(0x30000),
        lambda: guest.launch_update(NORMAL),
        guest.launch_finish,
    ):
        with pytest.raises(LaunchError) as caught:
            call()
        # The page is no longer free, and the firmware looks at the page before it looks at the guest.
        assert caught.value.status in (Status.INVALID_GUEST_STATE, Status.INVALID_PAGE_STATE)


def test_a_seed_goes_on_where_the_firmware_ended() -> None:
    guest = SnpGuest()
    guest.launch_start(0x30000, seed=b"s" * 48)
    guest.launch_update(NORMAL)
    assert guest.launch_digest == page_info(b"s" * 48, sha384(PAGE).digest(), 1, 0x1000)


@pytest.mark.parametrize(
    ("platform", "policy", "status"),
    [
        (SnpPlatform(initialized=False), 0, Status.INVALID_PLATFORM_STATE),
        (SnpPlatform(), 0x10000, Status.POLICY_FAILURE),
        (SnpPlatform(smt=True), 0x20000, Status.POLICY_FAILURE),
        (SnpPlatform(abi=(1, 55)), 0x30138, Status.POLICY_FAILURE),
        (SnpPlatform(highest_policy_bit=20), 0x230000, Status.POLICY_FAILURE),
        (SnpPlatform(), 1 << 26 | 0x30000, Status.POLICY_FAILURE),
    ],
)
def test_starts_that_are_refused(platform: SnpPlatform, policy: int, status: Status) -> None:
    guest = SnpGuest(platform)
    with pytest.raises(LaunchError) as caught:
        guest.launch_start(policy)
    assert caught.value.status == status
    assert guest.state == SnpGuestState.INIT


@pytest.mark.parametrize(
    ("platform", "policy"), [(SnpPlatform(abi=(1, 55)), 0x30137), (SnpPlatform(smt=True), 0x30000)]
)
def test_starts_that_are_not(platform: SnpPlatform, policy: int) -> None:
    SnpGuest(platform).launch_start(policy)


@pytest.mark.parametrize(
    ("update", "status"),
    [
        (NORMAL._replace(gpa=0x1010), Status.INVALID_ADDRESS),
        (NORMAL._replace(gpa=-4096), Status.INVALID_ADDRESS),
        (NORMAL._replace(gpa=1 << 52), Status.INVALID_ADDRESS),
        (NORMAL._replace(length=0), Status.INVALID_LEN),
        (NORMAL._replace(length=-4096), Status.INVALID_LEN),
        (NORMAL._replace(gpa=-1), Status.INVALID_ADDRESS),
        (NORMAL._replace(gpa=1 << 53), Status.INVALID_ADDRESS),
        (NORMAL._replace(length=100), Status.INVALID_LEN),
        (NORMAL._replace(length=8192), Status.INVALID_PARAM),
        (NORMAL._replace(data=None), Status.INVALID_PARAM),
        (NORMAL._replace(gpa=0x5000), Status.INVALID_PAGE_STATE),
        (NORMAL._replace(page_type=cast("PageType", 7)), Status.INVALID_PARAM),
        (NORMAL._replace(page_type=PageType.VMSA, length=8192, data=PAGE * 2), Status.INVALID_LEN),
        # Two faults: the page comes before the type.
        (NORMAL._replace(gpa=0x5000, page_type=cast("PageType", 7)), Status.INVALID_PAGE_STATE),
    ],
)
def test_updates_that_are_refused_change_nothing(update: LaunchUpdate, status: Status) -> None:
    guest = started()
    guest.launch_update(LaunchUpdate(0x4000, PageType.ZERO, 0x3000, None, "zeros"))
    before = guest.launch_digest
    with pytest.raises(LaunchError) as caught:
        guest.launch_update(update)
    assert caught.value.status == status
    assert caught.value.command == "SNP_LAUNCH_UPDATE (page)"
    assert guest.launch_digest == before
    guest.launch_update(NORMAL)


def test_updates_need_a_platform_and_a_started_guest() -> None:
    with pytest.raises(LaunchError) as caught:
        SnpGuest(SnpPlatform(initialized=False)).launch_update(NORMAL)
    assert caught.value.status == Status.INVALID_PLATFORM_STATE
    with pytest.raises(LaunchError) as caught:
        SnpGuest().launch_update(NORMAL)
    assert caught.value.status == Status.INVALID_GUEST_STATE


@pytest.mark.parametrize(
    ("digest", "policy", "refused", "status"),
    [
        (bytes(48), 0x20000, Status.BAD_SIGNATURE, Status.BAD_MEASUREMENT),
        (b"", 0, None, Status.BAD_MEASUREMENT),
        (None, 0x20000, Status.BAD_SIGNATURE, Status.POLICY_FAILURE),
        (None, 0x30000, Status.BAD_SIGNATURE, Status.BAD_SIGNATURE),
        (None, 0x30000, Status.INVALID_PARAM, Status.INVALID_PARAM),
    ],
)
def test_an_id_block_for_another_guest(
    digest: bytes | None, policy: int, refused: Status | None, status: Status
) -> None:
    guest = started()
    guest.launch_update(NORMAL)
    block = Block(guest.launch_digest if digest is None else digest, policy, refused)
    with pytest.raises(LaunchError) as caught:
        guest.launch_finish(identity=block)
    assert caught.value.status == status
    assert guest.state == SnpGuestState.LAUNCH


def test_a_fork_goes_its_own_way() -> None:
    guest = started()
    guest.launch_update(NORMAL)
    twin = guest.fork(policy=0x20000)
    twin.launch_update(NORMAL._replace(gpa=0x9000))
    assert guest.launch_digest != twin.launch_digest
    guest.launch_update(NORMAL._replace(gpa=0x9000))
    assert guest.launch_digest == twin.launch_digest
    assert guest.launch_finish(identity=Block(guest.launch_digest, 0x30000))
    assert twin.launch_finish(identity=Block(twin.launch_digest, 0x20000))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), max_size=12))
def test_a_page_is_launched_once(regions: list[tuple[int, int]]) -> None:
    guest = started()
    taken: set[int] = set()
    for start, pages in regions:
        wanted = set(range(start, start + pages))
        update = LaunchUpdate(start * 4096, PageType.ZERO, pages * 4096, None, "zeros")
        if wanted & taken:
            with pytest.raises(LaunchError) as caught:
                guest.launch_update(update)
            assert caught.value.status == Status.INVALID_PAGE_STATE
        else:
            guest.launch_update(update)
            taken |= wanted


def test_all_vmsas_share_one_synthetic_address() -> None:
    guest = started()
    for vcpu in range(3):
        guest.launch_update(LaunchUpdate(0xFFFFFFFFF000, PageType.VMSA, 4096, PAGE, f"vmsa {vcpu}"))
    assert guest.launch_finish()


def test_neighbours_are_kept_as_one_extent() -> None:
    """A launch page by page stays as quick as one in large regions, in whatever order."""
    guest = started()
    for gpa in (0x1000, 0x9000, 0x3000, 0x2000, 0x8000, 0xA000, 0x5000):
        guest.launch_update(NORMAL._replace(gpa=gpa))
    assert guest._extents == [(0x1000, 0x4000), (0x5000, 0x6000), (0x8000, 0xB000)]
