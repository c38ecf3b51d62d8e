"""Where two launches part, and in what the step differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sevbuild.diagnose.answer import Parting, Run
from sevbuild.diagnose.launches import Launches
from sevbuild.diagnose.parting import parting
from sevbuild.diagnose.starts import subject_of_guest
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.kernel_hashes import KernelHashes, hash_page, hash_table
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.update import LaunchUpdate
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of
from tests.support.launches import InPieces


def update(origin: str, gpa: int = 0x1000, data: Any = b"\0" * 4096, kind: Any = PageType.NORMAL) -> Any:
    return LaunchUpdate(gpa, kind, len(data) if data is not None else 4096, data, origin)


def run_of(*updates: LaunchUpdate) -> Run:
    return Launches().run_of(LaunchPlan("snp", 0x30000, None, updates, ()))


def differs(first: LaunchUpdate, second: LaunchUpdate) -> tuple[str, ...]:
    found = parting(run_of(first), run_of(second))
    assert found is not None
    return found.differs


def test_equal_launches_do_not_part() -> None:
    assert parting(run_of(update("a")), run_of(update("other name"))) is None


def test_what_a_step_differs_in() -> None:
    plain = update("a", data=b"\1" * 8192)
    assert differs(plain, update("a", data=b"\1" * 8191 + b"\2")) == (
        "contents differ in 1 of 2 pages, the first at offset 0x1000",
    )
    assert differs(update("a"), update("a", data=b"\1" * 4096)) == ("contents differ",)
    assert differs(update("a"), update("a", data=InPieces(b"\1" * 4096))) == ("contents differ",)
    assert differs(plain, update("b", data=b"\1" * 4096)) == (
        "length: 0x2000 -> 0x1000",
        "contents differ",
        "origin: a -> b",
    )
    assert differs(update("a"), update("a", gpa=0x2000)) == ("address: 0x1000 -> 0x2000",)
    assert differs(
        update("a", data=None, kind=PageType.ZERO), update("a", data=None, kind=PageType.SECRETS)
    ) == ("page type: zero -> secrets",)


def test_which_hash_of_a_kernel_is_another() -> None:
    hashes = KernelHashes(b"\1" * 32, b"\2" * 32, b"\3" * 32)
    for changed, words in (
        ({"kernel": b"\4" * 32}, "the kernel"),
        ({"initrd": b"\4" * 32, "cmdline": b"\5" * 32}, "the initrd and the command line"),
    ):
        pages = [
            update("hashes", data=hash_page(found, 0x1C00)) for found in (hashes, hashes._replace(**changed))
        ]
        assert differs(*pages) == (f"contents differ: the hash of {words}",)
        other = bytearray(pages[0].data)
        other[0] ^= 1
        assert differs(pages[0], update("hashes", data=bytes(other))) == ("contents differ",)
        tables = [
            LaunchUpdate(0x1000, PageType.NORMAL, 176, hash_table(found), "table")
            for found in (hashes, hashes._replace(**changed))
        ]
        plans = [LaunchPlan("sev", 1, None, (table,), ()) for table in tables]
        found = parting(*map(Launches().run_of, plans))
        assert found is not None
        assert found.differs == (f"contents differ: the hash of {words}",)


def test_what_is_in_one_of_them_alone_or_moved() -> None:
    first, second, third = (
        update(name, gpa=0x1000 * at, data=bytes([at]) * 4096) for at, name in enumerate("abc", 1)
    )
    found = parting(run_of(first, second, third), run_of(second, third))
    assert found is not None
    assert (found.step, found.origin) == (0, "b")
    assert found.differs == (
        "a is in the guest's launch alone",
        "b comes later in the guest's launch, at step 1",
    )
    moved = parting(run_of(first, second, third), run_of(first, third, second))
    assert moved is not None
    assert moved.step == 1
    assert moved.differs == (
        "b comes later in the expected launch, at step 2",
        "c comes later in the guest's launch, at step 2",
    )
    ends = parting(run_of(first), run_of(first, second))
    assert ends is not None
    assert ends.differs == ("b is in the expected launch alone",)
    assert (len(ends.guest), len(ends.expected)) == (1, 2)


def test_a_launch_with_more_of_the_same() -> None:
    vmsas = [update(f"vmsa {at}", gpa=0xFFFFFFFFF000, kind=PageType.VMSA) for at in range(5)]
    found = parting(run_of(*vmsas[:2]), run_of(*vmsas))
    assert found is not None
    assert (found.step, found.differs) == (2, ("vmsa 2 is in the expected launch alone",))


def test_a_long_launch_keeps_its_last_rows() -> None:
    many = [update(str(at), gpa=0x1000 * at) for at in range(1, 100)]
    found = parting(run_of(*many), run_of(*many, update("last", gpa=0x200000)))
    assert found is not None
    assert [row.step for row in found.expected] == list(range(36, 100))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_seed_is_the_step_of_the_firmware(tmp_path: Path, *, swapped: bool) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    guest = guest_of(tmp_path, firmware={"path": "OVMF.fd"})
    (start,) = subject_of_guest(guest, []).starts
    launches = Launches()
    own = launches.run(start.setup)
    setup: Any = start.setup
    metadata = setup.inputs.firmware.metadata
    same = launches.run(
        setup._replace(inputs=setup.inputs._replace(firmware=FirmwareSeed(own.digests[0], metadata)))
    )
    assert parting(own, same) is None
    other = launches.run(
        setup._replace(inputs=setup.inputs._replace(firmware=FirmwareSeed(b"\7" * 48, metadata)))
    )
    sides = (other, own) if swapped else (own, other)
    found = parting(*sides)
    assert isinstance(found, Parting)
    assert (found.step, found.origin) == (0, "firmware")
    assert found.differs == ("the pages of the firmware differ",)
    third = launches.run(
        setup._replace(inputs=setup.inputs._replace(firmware=FirmwareSeed(b"\6" * 48, metadata)))
    )
    both = parting(other, third)
    assert both is not None
    assert (both.step, both.origin) == (0, "firmware")
