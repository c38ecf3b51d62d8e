"""Every file that a manifest names: what it is of the guest, where it is named, and what it must be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sevbuild.fs import why_unreadable
from sevbuild.guest.inputs import CMDLINE_LIMIT, FIRMWARE_LIMIT, InputReader
from sevbuild.manifest.model import KernelInput, Variant
from sevbuild.manifest.url_keys import is_url

__all__ = ["FILE_LIMIT", "SVSM_LIMIT", "DeclaredFile", "declared_files", "refuse_missing"]

SVSM_LIMIT = 64 << 20
FILE_LIMIT = 8 << 30
"""What a kernel, an image or one file of an initrd can have: more than any is known to have."""


class DeclaredFile(NamedTuple):
    """One file or URL: its role, the key that names it, its pin, and the most bytes it can have.

    `pin` is None where the file has none, or only a whole of several files has one.
    """

    role: str
    key: str
    path: str
    pin: bytes | None
    limit: int


def declared_files(variant: Variant) -> Iterator[DeclaredFile]:
    """Yield the files that a variant names, in the order of a launch."""
    firmware, igvm, svsm = variant.firmware, variant.igvm, variant.svsm
    if igvm is not None and igvm.path is not None:
        yield DeclaredFile("igvm", "igvm.path", igvm.path, igvm.sha256, FILE_LIMIT)
    if firmware.path is not None:
        yield DeclaredFile("firmware", "firmware.path", firmware.path, firmware.sha256, FIRMWARE_LIMIT)
    if svsm is not None:
        yield DeclaredFile("svsm", "svsm.path", svsm.path, svsm.sha256, SVSM_LIMIT)
        if svsm.vars_path is not None:
            yield DeclaredFile("svsm-vars", "svsm.vars-path", svsm.vars_path, None, FIRMWARE_LIMIT)
    if variant.kernel is not None:
        yield from _kernel_files(variant.kernel)
    if variant.initrd is not None:
        for index, path in enumerate(variant.initrd.paths):
            pin = variant.initrd.pins[index] if variant.initrd.pins else None
            yield DeclaredFile("initrd", f"initrd.path[{index}]", path, pin, FILE_LIMIT)


def _kernel_files(kernel: KernelInput) -> Iterator[DeclaredFile]:
    if kernel.path is not None:
        role, key = ("kernel", "kernel.path") if kernel.uki_as is None else ("uki", "kernel.uki")
        yield DeclaredFile(role, key, kernel.path, kernel.sha256, FILE_LIMIT)
    for cmdline in kernel.cmdlines:
        if cmdline.path is not None:
            yield DeclaredFile("cmdline", cmdline.key, cmdline.path, None, CMDLINE_LIMIT)


def refuse_missing(variants: Sequence[Variant], reader: InputReader) -> None:
    """Raise FaultsError with every file of these variants that is not there or cannot be opened.

    What is fetched is left to the fetching, which names the server's reason.
    """
    for variant in variants:
        for declared in declared_files(variant):
            error = None if is_url(declared.path) else why_unreadable(reader.resolve(declared.path))
            if error is not None:
                variant.document.fault(declared.key, error.message, error.hint)
    for variant in variants:
        variant.document.raise_faults()
