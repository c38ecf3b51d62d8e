"""A unified kernel image, taken whole as the kernel or by its parts."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from sevbuild.diagnose.rules.contents import digest_of, read_contents
from sevbuild.errors import SevbuildError
from sevbuild.image.kernel_hashes import EMPTY_INITRD_DIGEST, KernelHashes, cmdline_digest
from sevbuild.launch.region_data import Contents

__all__ = ["image_as_kernel", "parts_of_image"]


def image_as_kernel(image: Callable[[], Contents]) -> KernelHashes:
    """Return the hashes of an image that is taken whole, without an initrd and a command line beside it."""
    return KernelHashes(digest_of(image()), EMPTY_INITRD_DIGEST, cmdline_digest(b""))


def parts_of_image(image: Callable[[], Contents]) -> KernelHashes:
    """Return the hashes of the parts of an image; raises SevbuildError for what is none."""
    data = image()
    from sevbuild.image.uki import HEAD_SIZE, cmdline_of, read_uki

    head = bytes(read_contents(data, 0, min(HEAD_SIZE, len(data))))
    if b".linux" not in head:
        # Most kernels are none, and need not be looked into.
        raise SevbuildError("the kernel is no unified kernel image")
    linux, initrd, cmdline, _ = read_uki(head, len(data))

    def part(offset: int, size: int) -> bytes:
        return bytes(read_contents(data, offset, offset + size))

    return KernelHashes(
        sha256(part(*linux)).digest(),
        EMPTY_INITRD_DIGEST if initrd is None else sha256(part(*initrd)).digest(),
        cmdline_digest(b"" if cmdline is None else cmdline_of(part(*cmdline))),
    )
