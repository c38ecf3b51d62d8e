"""Two files of one role, compared in the way of that role."""

from __future__ import annotations

from collections import Counter

from sevbuild.diagnose.differences.firmwares import compare_firmwares
from sevbuild.diagnose.differences.kernels import FileChange, compare_files, compare_kernels
from sevbuild.diagnose.differences.model import Detail
from sevbuild.diagnose.rules.contents import digest_of
from sevbuild.errors import SevbuildError
from sevbuild.image.ovmf import parse_firmware
from sevbuild.launch.region_data import Contents, chunks

__all__ = ["input_change"]

_HELD = ("firmware", "svsm")


def input_change(role: str, old: list[Contents] | None, new: list[Contents] | None) -> FileChange | None:
    """Return what differs between two inputs that are not the same, None where a file is not at hand.

    An initrd may be several files, which are concatenated.
    """
    if old is None or new is None:
        return None
    if len(old) > 1 or len(new) > 1:
        return _parts_change(old, new)
    (first,), (second,) = old, new
    if role in _HELD:
        return _firmware_change(b"".join(chunks(first)), b"".join(chunks(second)))
    return compare_kernels(first, second) if role == "kernel" else compare_files(first, second)


def _firmware_change(old: bytes, new: bytes) -> FileChange:
    try:
        return compare_firmwares(parse_firmware(old), parse_firmware(new))
    except SevbuildError:
        # What launches is no OVMF that could be taken apart.
        return compare_files(old, new)


def _parts_change(old: list[Contents], new: list[Contents]) -> FileChange:
    """Return what differs between files of several parts, each known by its digest."""
    digests = [[digest_of(part) for part in side] for side in (old, new)]
    shown = [", ".join(digest.hex()[:16] for digest in side) for side in digests]
    details = [Detail("parts, by digest", shown[0], shown[1])]
    if Counter(digests[0]) == Counter(digests[1]):
        return FileChange("the same parts in another order", tuple(details))
    if len(old) != len(new):
        return FileChange(f"{len(old)} parts -> {len(new)}", tuple(details))
    for number, (first, second) in enumerate(zip(old, new, strict=True)):
        if digests[0][number] != digests[1][number]:
            found = compare_files(first, second)
            details.append(Detail(f"part {number}", None, None, found.title))
            details += [detail._replace(what=f"part {number}: {detail.what}") for detail in found.details]
    return FileChange("other bytes of a part", tuple(details))
