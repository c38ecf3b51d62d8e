"""What a guest can be made of, a row for each kind of input, and what a manifest declares of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from sevbuild.text import as_utf8

__all__ = [
    "CMDLINE",
    "FIRMWARE",
    "IGVM",
    "INITRD",
    "INPUT_TABLES",
    "KERNEL",
    "RECORDED_ROLES",
    "ROLES",
    "SVSM",
    "UKI",
    "VARS",
    "DeclaredInput",
    "PathSource",
    "Role",
    "Source",
    "UrlSource",
    "launched_as",
]

_LARGEST_FILE = 8 << 30
"""What a kernel, an image or one file of an initrd can have: more than any is known to have."""


class PathSource(NamedTuple):
    """A file of this machine; `name` is its path as the manifest writes it."""

    name: str

    @property
    def basename(self) -> str:
        """Return the name of the file in documents, without where it is."""
        return as_utf8(os.path.basename(self.name))


class UrlSource(NamedTuple):
    """A file that is fetched; `name` is its URL, and it must have this SHA-256 and at most `limit` bytes."""

    name: str
    sha256: bytes
    limit: int

    @property
    def basename(self) -> str:
        """Return the name of the file in documents, without what the server is asked for beside it."""
        return as_utf8(os.path.basename(self.name.partition("?")[0]))


Source = PathSource | UrlSource


class Role(NamedTuple):
    """A kind of input: the keys that declare it, and what becomes of it.

    `name` is what locks and documents call it, `as_file` what bundles and launch commands call its file where
    that is another word. `keys` of `table` in a manifest say which input it is, the first of them by a path.
    `limit` is the most bytes it can have.

    A `held` one is read into memory whole. Of a `sized` one, only the size enters a launch. A `recorded` one
    stands in reference values where it is measured: its own bytes enter the digest. A `needed` one is in
    every bundle: its digest cannot stand for it.
    """

    name: str
    table: str
    keys: tuple[str, ...]
    limit: int = _LARGEST_FILE
    as_file: str | None = None
    held: bool = False
    sized: bool = False
    recorded: bool = False
    needed: bool = False

    @property
    def launched_as(self) -> str:
        """Return the role in which it is launched: a unified image that is taken whole is the kernel."""
        return self.as_file or self.name


FIRMWARE = Role(
    "firmware", "firmware", ("path", "url", "sha256", "seed"), limit=256 << 20, held=True, recorded=True
)
IGVM = Role("igvm", "igvm", ("path", "sha256"), recorded=True, needed=True)
SVSM = Role("svsm", "svsm", ("path", "url", "sha256"), limit=64 << 20, held=True, recorded=True)
VARS = Role("svsm-vars", "svsm", ("vars-path",), limit=256 << 20, as_file="vars", sized=True)
KERNEL = Role("kernel", "kernel", ("path", "url", "sha256"), recorded=True)
UKI = Role("uki", "kernel", ("uki", "url", "sha256", "uki-as"), as_file="kernel", recorded=True)
INITRD = Role("initrd", "initrd", ("path", "url", "sha256"), recorded=True)
CMDLINE = Role("cmdline", "kernel", ("cmdline-file", "cmdline", "cmdlines"), limit=1 << 20, held=True)

ROLES = {role.name: role for role in (FIRMWARE, IGVM, SVSM, VARS, KERNEL, UKI, INITRD, CMDLINE)}
"""Every kind of input by its name, in the order of locks and documents."""

RECORDED_ROLES = tuple(role.name for role in ROLES.values() if role.recorded)
"""What an input can be of a guest in reference values."""

INPUT_TABLES = tuple(dict.fromkeys(role.table for role in ROLES.values()))
"""The tables of a manifest that name inputs."""


def launched_as(role: str) -> str:
    """Return the role in which an input is launched, by the name of its own."""
    return ROLES[role].launched_as if role in ROLES else role


class DeclaredInput(NamedTuple):
    """One input of a guest as the manifest declares it.

    `key` names it. `sources` are its files, one after the other; none where all that is known is `pin`, a
    SHA-256 or the seed of a firmware (48 bytes). Else `pin` is the SHA-256 of all of them, where one is
    given: a URL has its own. `part` names the section of an image that is launched alone; `pin` is then that
    of the image, which is an input too, but not `launched` itself. `measured` tells whether it enters the
    digest.
    """

    role: Role
    key: str
    sources: tuple[Source, ...]
    pin: bytes | None = None
    part: str = ""
    launched: bool = True
    measured: bool = True

    @property
    def name(self) -> str:
        """Return what the manifest calls it."""
        return " + ".join(source.name for source in self.sources)

    @property
    def basename(self) -> str:
        """Return what documents call it: by the files' own names, without where they are."""
        return self.part or "+".join(source.basename for source in self.sources)

    @property
    def pinned(self) -> bool:
        """Tell whether the manifest says which SHA-256 its files on this machine have."""
        return self.pin is not None and bool(self.sources) and not self.part

    def files(self) -> Iterator[tuple[str, Source]]:
        """Yield the key and the source of each file, none for a part of one."""
        for index, source in enumerate(() if self.part else self.sources):
            yield f"{self.key}[{index}]" if self.role is INITRD else self.key, source
