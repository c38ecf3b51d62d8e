"""Two files that a guest is made of, or one and what a guest has in its place: none has a launch digest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sevbuild.diagnose.differences.input_files import input_change
from sevbuild.diagnose.differences.model import DIGEST, Cause, Compared, Difference
from sevbuild.diagnose.differences.things import NOUNS
from sevbuild.diagnose.file_contents import FileContents
from sevbuild.errors import SevbuildError, within
from sevbuild.fs import read_file
from sevbuild.guest.inputs import read_hashed
from sevbuild.launch.region_data import Contents
from sevbuild.manifest.inputs import FIRMWARE
from sevbuild.vcpu.save_area import VMSA_SIZE

if TYPE_CHECKING:
    from sevbuild.diagnose.differences.kernels import FileChange
    from sevbuild.diagnose.differences.launch_sides import LaunchSide
    from sevbuild.diagnose.differences.things import Thing

__all__ = ["PLURALS", "compare_parts", "compare_with_guest"]

PLURALS = {"firmware": "firmwares", "kernel": "kernels", "initrd": "initrds", "vmsa": "VMSAs"}


def compare_parts(paths: tuple[str, str], kind: str) -> Difference:
    """Return what tells two firmwares, kernels, initrds or VMSAs apart: they have no launch digest."""
    compared = Compared(paths[0], kind), Compared(paths[1], kind)
    subject = f"these are two {PLURALS[kind]}"
    hashed = [read_hashed([path]) for path in paths]
    if hashed[0].sha256 == hashed[1].sha256:
        return Difference(*compared, subject, "none")
    change = _CHANGES[kind](*paths)
    old, new = (f"{entry.size} bytes, sha256 {entry.sha256.hex()}" for entry in hashed)
    cause = Cause(kind, f"{kind}: {change.title}", DIGEST, old, new, details=change.details)
    return Difference(*compared, subject, "none", (cause,))


def compare_with_guest(thing: Thing, side: LaunchSide, *, guest_first: bool) -> Difference:
    """Return what tells a file from the only one that a guest has in its role; raises SevbuildError."""
    role, name = thing.kind, side.compared.name
    found = side.inputs(role)
    if not found:
        raise SevbuildError(f"{name} has no {role}, which {thing.name} is")
    if len(found) > 1:
        places = ", ".join(known.where for known in found)
        message = f"{name} has {len(found)} {PLURALS[role]}: which of them {thing.name} is to be is not said"
        raise SevbuildError(message, hint=f"give the file of one, as named at {places}")
    (known,) = found
    compared = Compared(thing.name, role), side.compared
    subject = f"these are {NOUNS[role]} and that of {name}"
    hashed = read_hashed([thing.path])
    if known.digest is None or len(known.digest) != len(hashed.sha256):
        raise SevbuildError(f"{known.where}: known by its seed alone, which no file has")
    pair = compared[::-1] if guest_first else compared
    if hashed.sha256 == known.digest:
        return Difference(*pair, subject, "none")
    files: list[Contents] = [FileContents([thing.path])]
    change = input_change(role, *((known.contents, files) if guest_first else (files, known.contents)))
    title, details = (role, ()) if change is None else (f"{role}: {change.title}", change.details)
    said = f"sha256 {hashed.sha256.hex()}", f"{known.name} sha256 {known.digest.hex()}"
    where = "", known.where
    old, new = said[::-1] if guest_first else said
    first, second = where[::-1] if guest_first else where
    return Difference(
        *pair, subject, "none", (Cause(role, title, DIGEST, old, new, (first, second), details),)
    )


def _firmwares(old: str, new: str) -> FileChange:
    from sevbuild.diagnose.differences.firmwares import compare_firmwares
    from sevbuild.image.ovmf import parse_firmware

    parsed = []
    for path in (old, new):
        with within(path):
            parsed.append(parse_firmware(read_file(path, FIRMWARE.limit)))
    return compare_firmwares(*parsed)


def _kernels(old: str, new: str) -> FileChange:
    from sevbuild.diagnose.differences.kernels import compare_kernels

    return compare_kernels(FileContents([old]), FileContents([new]))


def _initrds(old: str, new: str) -> FileChange:
    from sevbuild.diagnose.differences.kernels import compare_files

    return compare_files(FileContents([old]), FileContents([new]))


def _vmsas(old: str, new: str) -> FileChange:
    from sevbuild.diagnose.differences.registers import compare_vmsas

    return compare_vmsas(read_file(old, VMSA_SIZE), read_file(new, VMSA_SIZE))


_CHANGES: dict[str, Callable[[str, str], FileChange]] = {
    "firmware": _firmwares,
    "kernel": _kernels,
    "initrd": _initrds,
    "vmsa": _vmsas,
}
