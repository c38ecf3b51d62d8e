"""Real firmware takes our kernel-hashes page, and refuses what the page does not name.

Debian's AmdSev OVMF and cloud kernel run under emulation, so nothing is encrypted and nothing measured; what
is shown is that the firmware finds the table that sevbuild lays out, and that its three hashes are the ones
it computes. A refusal is a QEMU that runs on with nothing on the serial port. Text of the boot manager would
mean that the firmware found no table, and boots unmeasured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.guests import Parts, as_launched, changed, original, page_of, place
from tests.e2e.machines import KERNEL_LINE, Qemu, boot, qemu_before_10, qemu_from_10

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("pick", [qemu_before_10, qemu_from_10]),
]

BOOT_MANAGER = b"BdsDxe"
Pick = Callable[[], Qemu]

with_and_without_initrd = pytest.mark.parametrize("initrd", [False, True], ids=["no-initrd", "initrd"])


def _refused(qemu: Qemu, folder: Path, tried: Parts, page: bytes) -> None:
    """Check that a guest is refused with this page, and boots beside it with its own."""
    own = page_of(as_launched(tried, qemu), folder / "measured-own")
    assert own != page
    with (
        boot(qemu, folder / "tried-run", place(tried, page, qemu, folder / "tried")) as refused,
        boot(qemu, folder / "own-run", place(tried, own, qemu, folder / "own")) as control,
    ):
        # Both run on the same machine at the same time: three times as long, and five seconds, is enough.
        seconds = control.wait_for(KERNEL_LINE)
        refused.wait_until(3 * seconds + 5)
        assert BOOT_MANAGER not in refused.serial, "the firmware found no table of hashes"
        assert refused.serial == b"", "the firmware went on"
        assert refused.process.poll() is None, refused.log_path.read_text()


@with_and_without_initrd
def test_the_kernel_starts_with_its_page(tmp_path: Path, pick: Pick, initrd: bool) -> None:
    qemu, parts = pick(), original(initrd=initrd)
    page = page_of(as_launched(parts, qemu), tmp_path / "measured")
    with boot(qemu, tmp_path / "run", place(parts, page, qemu, tmp_path / "guest")) as started:
        started.wait_for(KERNEL_LINE)
        assert BOOT_MANAGER not in started.serial


@pytest.mark.parametrize("what", ["cmdline", "kernel", "initrd"])
@with_and_without_initrd
def test_what_was_changed_is_refused(tmp_path: Path, pick: Pick, what: str, initrd: bool) -> None:
    qemu, parts = pick(), original(initrd=initrd)
    page = page_of(as_launched(parts, qemu), tmp_path / "measured")
    _refused(qemu, tmp_path, changed(parts, what), page)


def test_the_page_is_of_the_kernel_that_this_qemu_shows(tmp_path: Path, pick: Pick) -> None:
    qemu, parts = pick(), original(initrd=False)
    other = Qemu((), 9 if qemu.major >= 10 else 10, {})
    _refused(qemu, tmp_path, parts, page_of(as_launched(parts, other), tmp_path / "measured"))


def test_a_page_without_a_table_leads_to_the_boot_manager(tmp_path: Path, pick: Pick) -> None:
    """This is how a page in the wrong place would look: it can be told from a refusal."""
    qemu, parts = pick(), original(initrd=False)
    with boot(qemu, tmp_path / "run", place(parts, bytes(4096), qemu, tmp_path / "guest")) as started:
        started.wait_for(BOOT_MANAGER)
        assert KERNEL_LINE not in started.serial
