"""Whether the files of a guest are what the manifest takes them for, by their first bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.guest.declared import DeclaredFile, declared_files
from sevbuild.guest.guest import Guest
from sevbuild.kind import HEAD_SIZE, KINDS, FileKind, kind_of
from sevbuild.manifest.formats import FORMATS
from sevbuild.manifest.model import Variant

__all__ = ["Look", "look_at_guest"]

_NOUNS = {
    "firmware": "a firmware",
    "igvm": "an IGVM file",
    "kernel": "a Linux kernel",
    "uki": "a unified kernel image",
    "initrd": "an initrd",
}
"""What each role is called; files of other roles can be anything."""

_EXPECTED = {
    "kernel": "it is no bzImage, no EFI image and no UKI",
    "initrd": "it is neither a cpio archive nor compressed in a way that Linux unpacks",
}
"""What is said of a file of no kind known here; lint and loaders say it of firmware, IGVM files and UKIs."""


class Look(NamedTuple):
    """One thing that was seen: `level` is error or warning, `variant` and `key` say where it is declared.

    An error is a file that is certainly another thing than it is declared as; no launch of it can be meant.
    """

    level: str
    variant: Variant
    key: str
    message: str
    hint: str | None = None


def look_at_guest(guest: Guest) -> list[Look]:
    """Return what is wrong with the files of a guest, and with what its `[publish]` leaves open.

    Reads 32 KiB of each file; a pipe is not looked at.
    """
    found: list[Look] = []
    for variant in guest.manifest.variants:
        kinds = [(declared, _kind(guest, declared)) for declared in declared_files(variant)]
        found += _swapped(variant, kinds) or _kinds(guest, variant, kinds)
    return [*found, *_publishing(guest)]


class _Unseen:
    """The kind of a file that was not looked at."""


_Kind = FileKind | None | _Unseen


def _kind(guest: Guest, declared: DeclaredFile) -> _Kind:
    if declared.role not in _NOUNS or not guest.reader.is_regular(declared.path):
        return _Unseen()
    return kind_of(guest.reader.read_part(declared.path, 0, HEAD_SIZE))


def _swapped(variant: Variant, kinds: list[tuple[DeclaredFile, _Kind]]) -> list[Look]:
    """Return one error where kernel and initrd stand in each other's place, which is one mistake."""
    roles = {declared.role: (declared, kind) for declared, kind in kinds}
    kernel, initrd = roles.get("kernel"), roles.get("initrd")
    if kernel is None or initrd is None:
        return []
    mine, theirs = kernel[1], initrd[1]
    if not (isinstance(mine, FileKind) and isinstance(theirs, FileKind)):
        return []
    if "initrd" not in mine.roles or not theirs.roles & {"kernel", "uki"}:
        return []
    message = (
        f"kernel and initrd are swapped: {kernel[0].path} is {mine.phrase}, "
        f"{initrd[0].path} is {theirs.phrase}"
    )
    return [Look("error", variant, kernel[0].key, message)]


def _kinds(guest: Guest, variant: Variant, kinds: Iterable[tuple[DeclaredFile, _Kind]]) -> Iterator[Look]:
    for declared, kind in kinds:
        if isinstance(kind, _Unseen):
            continue
        if kind is None:
            if declared.role in _EXPECTED:
                message = f"is {declared.path} {_NOUNS[declared.role]}? {_EXPECTED[declared.role]}"
                yield Look("warning", variant, declared.key, message)
        elif kind == KINDS["uki"] and declared.role == "kernel":
            message = f"{declared.path} is {kind.phrase}, and is measured whole as the kernel"
            hint = 'uki = "..." with uki-as = "kernel" says so; uki-as = "parts" measures what is inside'
            yield Look("warning", variant, declared.key, message, hint)
        elif declared.role not in kind.roles and not _is_ovmf(guest, declared):
            message = f"{declared.path} is {kind.phrase}, not {_NOUNS[declared.role]}"
            yield Look("error", variant, declared.key, message, _hint(declared.role, kind))


def _is_ovmf(guest: Guest, declared: DeclaredFile) -> bool:
    """Tell whether a firmware has OVMF's table at its end, which says more than what it begins with."""
    if declared.role != "firmware":
        return False
    try:
        return bool(guest.reader.firmware(declared.path).entries)
    except SevbuildError:
        return False


def _hint(role: str, kind: FileKind) -> str | None:
    if role == "uki" and "kernel" in kind.roles:
        return "a kernel that is no UKI goes under kernel.path"
    if role == "firmware" and kind == KINDS["igvm"]:
        return "an IGVM file goes under igvm.path, in place of [firmware]"
    if kind == KINDS["document"]:
        return "a pointer of Git LFS, or the error page of a server?"
    return None


def _publishing(guest: Guest) -> Iterator[Look]:
    """Yield what the formats named in `[publish]` need and no guest determines."""
    publish = guest.manifest.publish
    if publish is None:
        return
    variant = guest.manifest.variants[0]
    for name in publish.formats or ():
        given = publish.values.get(name, {})
        missing = [key.name for key in FORMATS[name] if key.required and key.name not in given]
        if missing:
            keys = ", ".join(f"publish.{name}.{key}" for key in missing)
            hint = f"or `publish --extra {name}.{missing[0]}=VALUE` gives it"
            yield Look("warning", variant, "publish.formats", f"format {name} needs {keys}", hint)
