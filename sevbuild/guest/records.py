"""What each target was made of, by basename, size and digest."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from sevbuild.guest.guest import Guest
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.manifest.lock import ROLES
from sevbuild.manifest.model import Variant
from sevbuild.manifest.targets import Target
from sevbuild.manifest.url_keys import is_url
from sevbuild.text import as_utf8

__all__ = ["INPUT_ROLES", "InputRecord", "cmdline_text", "file_name", "input_records", "launched_as"]

INPUT_ROLES = tuple(role for role in ROLES if role not in ("svsm-vars", "cmdline"))
"""What an input can be of a guest, in the order of documents: what enters a digest by its own bytes."""


class InputRecord(NamedTuple):
    """One input: `size` is None where only the digest is known; `algorithm` is sha256 or seed."""

    role: str
    name: str
    size: int | None
    algorithm: str
    digest: bytes


def input_records(guest: Guest, targets: Iterable[Target]) -> list[InputRecord]:
    """Return the inputs of these targets, each once, ordered by role and name."""
    found: dict[InputRecord, None] = {}
    for variant in dict.fromkeys(target.variant for target in targets):
        for record in _variant_records(guest, variant):
            found[record] = None
    return sorted(found, key=lambda record: (INPUT_ROLES.index(record.role), record.name, record.digest))


def file_name(path: str | None) -> str:
    """Return the name of an input in documents: that of its file, without where it is."""
    # Of a URL, what the server is asked for beside the file is no part of its name.
    path = path or ""
    return as_utf8(os.path.basename(path.partition("?")[0] if is_url(path) else path))


def launched_as(role: str) -> str:
    """Return the role in which an input is launched: a unified image that is taken whole is the kernel."""
    return "kernel" if role == "uki" else role


def cmdline_text(guest: Guest, target: Target) -> str | None:
    """Return the command line of a target for a document, None without a measured kernel."""
    kernel = target.variant.kernel
    if kernel is None or not kernel.hashes:
        return None
    return guest.kernels.cmdline(target).decode("utf-8", "backslashreplace")


def _variant_records(guest: Guest, variant: Variant) -> list[InputRecord]:
    records = []
    if variant.ready_igvm is not None:
        file = guest.igvm.hashed(variant)
        records.append(InputRecord("igvm", file_name(variant.ready_igvm), file.size, "sha256", file.sha256))
    else:
        records.append(_firmware_record(guest, variant))
    svsm = guest.svsm(variant)
    if svsm is not None and svsm.data is not None and variant.svsm is not None:
        name = file_name(variant.svsm.path)
        digest = guest.reader.digest(variant.svsm.path, svsm.data)
        records.append(InputRecord("svsm", name, len(svsm.data), "sha256", digest))
    kernel, initrd = variant.kernel, variant.initrd
    if kernel is not None and kernel.hashes:
        if kernel.uki_as is not None:
            whole = guest.reader.hashed([kernel.path or ""])
            records.append(InputRecord("uki", file_name(kernel.path), whole.size, "sha256", whole.sha256))
        if kernel.uki_as != "kernel":
            hashed = guest.kernels.kernel_input(variant)
            name = ".linux" if kernel.uki_as else file_name(kernel.path)
            records.append(InputRecord("kernel", name, _size(hashed.size), "sha256", hashed.sha256))
        loaded = guest.kernels.initrd_input(variant)
        if loaded is not None:
            paths = initrd.paths if initrd is not None else (".initrd",)
            name = "+".join(file_name(path) for path in paths)
            records.append(InputRecord("initrd", name, _size(loaded.size), "sha256", loaded.sha256))
    return records


def _firmware_record(guest: Guest, variant: Variant) -> InputRecord:
    firmware = guest.firmware(variant)
    if isinstance(firmware, FirmwareSeed):
        return InputRecord("firmware", "", None, "seed", firmware.seed)
    name = file_name(variant.firmware.path)
    digest = guest.reader.digest(variant.firmware.path or "", firmware.data)
    return InputRecord("firmware", name, len(firmware.data), "sha256", digest)


def _size(size: int) -> int | None:
    return None if size < 0 else size
