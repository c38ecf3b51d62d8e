"""Whether the files of a guest are what the manifest takes them for, by their first bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.kind import HEAD_SIZE, KINDS, FileKind, kind_of
from sevbuild.manifest.formats import FORMATS
from sevbuild.manifest.inputs import FIRMWARE, DeclaredInput
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
    "kernel": "it is not a bzImage, an EFI image or a UKI",
    "initrd": "it is neither a cpio archive nor compressed in a format that Linux unpacks",
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
        seen = list(_seen(guest, variant))
        found += _swapped(variant, seen) or _kinds(guest, variant, seen)
    return [*found, *_publishing(guest)]


class _Seen(NamedTuple):
    """A file that was looked at: its input, the key that names it, its name there, and its kind."""

    declared: DeclaredInput
    key: str
    name: str
    kind: FileKind | None

    @property
    def role(self) -> str:
        """Return the name of the input's role."""
        return self.declared.role.name


def _seen(guest: Guest, variant: Variant) -> Iterator[_Seen]:
    for declared in variant.inputs:
        for key, source in declared.files() if declared.role.name in _NOUNS else ():
            if guest.reader.is_regular(source):
                head = guest.reader.read_part(source, 0, HEAD_SIZE)
                yield _Seen(declared, key, source.name, kind_of(head))


def _swapped(variant: Variant, seen: Iterable[_Seen]) -> list[Look]:
    """Return one error where kernel and initrd stand in each other's place, which is one mistake."""
    roles = {file.role: file for file in seen}
    kernel, initrd = roles.get("kernel"), roles.get("initrd")
    if kernel is None or initrd is None or kernel.kind is None or initrd.kind is None:
        return []
    if "initrd" not in kernel.kind.roles or not initrd.kind.roles & {"kernel", "uki"}:
        return []
    message = (
        f"kernel and initrd are swapped: {kernel.name} is {kernel.kind.phrase}, "
        f"{initrd.name} is {initrd.kind.phrase}"
    )
    return [Look("error", variant, kernel.key, message)]


def _kinds(guest: Guest, variant: Variant, seen: Iterable[_Seen]) -> Iterator[Look]:
    for file in seen:
        role, kind = file.role, file.kind
        if kind is None:
            if role in _EXPECTED:
                message = f"is {file.name} {_NOUNS[role]}? {_EXPECTED[role]}"
                yield Look("warning", variant, file.key, message)
        elif kind == KINDS["uki"] and role == "kernel":
            message = f"{file.name} is {kind.phrase}, and is measured whole as the kernel"
            hint = 'uki = "..." with uki-as = "kernel" says so; uki-as = "parts" measures what is inside'
            yield Look("warning", variant, file.key, message, hint)
        elif role not in kind.roles and not _is_ovmf(guest, file.declared):
            message = f"{file.name} is {kind.phrase}, not {_NOUNS[role]}"
            yield Look("error", variant, file.key, message, _hint(role, kind))


def _is_ovmf(guest: Guest, declared: DeclaredInput) -> bool:
    """Tell whether a firmware has OVMF's table at its end, which says more than what it begins with."""
    if declared.role is not FIRMWARE:
        return False
    try:
        return bool(guest.reader.firmware(declared).entries)
    except SevbuildError:
        return False


def _hint(role: str, kind: FileKind) -> str | None:
    if role == "uki" and "kernel" in kind.roles:
        return "a kernel that is not a UKI goes under kernel.path"
    if role == "firmware" and kind == KINDS["igvm"]:
        return "an IGVM file goes under igvm.path, in place of [firmware]"
    if kind == KINDS["document"]:
        return "a Git LFS pointer, or a server's error page?"
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
