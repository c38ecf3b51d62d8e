"""Files and earlier releases that somebody suspects: each is a change of what the guest is launched with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, NamedTuple

from sevbuild.diagnose.change import Change, Edit
from sevbuild.diagnose.rules.hashes import hashed, hashes_of
from sevbuild.diagnose.rules.images import with_firmware
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.documents.toml_text import toml_string
from sevbuild.errors import SevbuildError, within
from sevbuild.fs import read_file
from sevbuild.guest.inputs import read_hashed
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.kernel_hashes import cmdline_digest
from sevbuild.image.ovmf import LARGEST, Firmware, parse_firmware
from sevbuild.manifest.inputs import CMDLINE, FIRMWARE
from sevbuild.manifest.template import escape
from sevbuild.text import counted, decode_text, encode_text

if TYPE_CHECKING:
    from sevbuild.diagnose.change import Start
    from sevbuild.reference.model import ReferenceValues, Value

__all__ = ["Asked", "Candidates", "Release", "find_candidates"]

HashAxis = Literal["kernel", "initrd", "cmdline"]
_PAGE = 4096
_MOST_VISITED = 20_000
"""The files of a folder that are looked at."""
_MOST_BYTES = 2 << 30
"""The bytes of firmware images that are held: some hundreds of them."""
_DEEPEST = 8
_FIRST = -1
"""The weight of what somebody named: it is likelier than anything that nobody did."""


class Asked(NamedTuple):
    """What is suspected, by path; `firmware` may be folders of images, `releases` folders of releases."""

    firmware: Sequence[str] = ()
    kernel: Sequence[str] = ()
    initrd: Sequence[str] = ()
    cmdline: Sequence[str] = ()
    releases: Sequence[str] = ()


class Release(NamedTuple):
    """One release, bundle or document that was read: what sentences call it, and its values."""

    name: str
    values: ReferenceValues


class Candidates(NamedTuple):
    """What became of the suspects: changes, the releases that were read, and what of them is to be known."""

    changes: tuple[Change, ...] = ()
    releases: tuple[Release, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_firmware(self) -> bool:
        """Tell whether another firmware is among them."""
        return any(change.axis == "firmware" for change in self.changes)


def find_candidates(
    asked: Asked,
    starts: Sequence[Start],
    folder: str = ".",
    published: Release | None = None,
) -> Candidates:
    """Return the changes that suspects are; raises SevbuildError where none of a kind could be taken.

    `folder` is that from which a manifest's paths begin. `published` is what was expected, where that is a
    document that tells what its digests were made of.

    What could not be read is among the notes, and so is a file that the guest has already.
    """
    found = _Found(starts, folder)
    for flag, paths, take in (
        ("--firmware", asked.firmware, found.firmware),
        ("--kernel", asked.kernel, partial(found.hashed, "kernel")),
        ("--initrd", asked.initrd, partial(found.hashed, "initrd")),
        ("--cmdline", asked.cmdline, found.cmdline),
        ("--releases", asked.releases, found.release),
    ):
        found.take(flag, paths, take)
    if published is not None:
        source, values = published
        found.ingredients(_title(source, values), source, values)
    return Candidates(tuple(found.changes.values()), tuple(found.releases), tuple(found.notes))


class _Found:
    """What is collected: changes by axis and value, so that a file that lies in two places is one."""

    def __init__(self, starts: Sequence[Start], folder: str) -> None:
        self.changes: dict[tuple[str, str], Change] = {}
        self.releases: list[Release] = []
        self.notes: list[str] = []
        self._own = {value for start in starts for value in _own(start.setup)}
        self._setups = [start.setup for start in starts]
        # Where the hashes of one are off, they may be on.
        self._has_kernel = any(start.material.kernel or hashes_of(start.setup) for start in starts)
        self._in_files: set[bytes] = set()
        self._folder = folder
        self._taken = 0

    def take(self, flag: str, paths: Sequence[str], read: Callable[[str], None]) -> None:
        """Read the suspects of one option; raises SevbuildError where it comes to nothing."""
        if not paths:
            return
        if flag in ("--kernel", "--initrd", "--cmdline") and not self._has_kernel:
            hint = "declare it with --set kernel.path=FILE, and its hashes are measured"
            raise SevbuildError(f"{flag}: this guest has no kernel that is measured", hint=hint)
        if flag == "--firmware" and not any(isinstance(setup, LaidOut) for setup in self._setups):
            raise SevbuildError(f"{flag}: the firmware of this guest is inside its IGVM file")
        before, self._taken = len(self.notes), 0
        for path in paths:
            try:
                read(path)
            except SevbuildError as error:
                self.notes.append(f"{flag}: {error.message}")
        if not self._taken:
            details = self.notes[before:]
            raise SevbuildError(f"{flag}: no usable candidate:", details=details)

    def firmware(self, path: str) -> None:
        """Take a firmware image, or every one of a folder."""
        if not os.path.isdir(path):
            self._image(path)
            return
        passed, size, name = 0, 0, ""
        for name in _files_below(path):
            try:
                length = os.path.getsize(name)
                if not length or length % _PAGE or length > LARGEST:
                    passed += 1
                    continue
                size += length
                if size > _MOST_BYTES:
                    self.notes.append(f"{path}: the images before {name} were taken, for their size")
                    break
                self._image(name, in_folder=True)
            except _NoImageError:
                passed += 1
            except (SevbuildError, OSError) as error:
                self.notes.append(f"{name}: {error}")
        if not name:
            self.notes.append(f"{path}: no file is in it, down to {_DEEPEST} folders")
        if passed:
            self.notes.append(f"{path}: {counted(passed, 'file')} passed over, which are no firmware")

    def hashed(self, axis: HashAxis, path: str) -> None:
        """Take a kernel or an initrd, of which nothing but the SHA-256 is launched."""
        digest = read_hashed([path]).sha256
        self._add(axis, digest, path, _hashed(axis, digest), self._edits(axis, path, digest))

    def cmdline(self, path: str) -> None:
        """Take a command line: as it stands, and without the line end that editors write."""
        line = read_file(path, CMDLINE.limit)
        if b"\0" in line:
            raise SevbuildError(f"{path}: contains a NUL: the first one ends a command line")
        lines = {path: (line, self._line_edits(path, None))}
        trimmed = line.removesuffix(b"\n").removesuffix(b"\r")
        if trimmed != line:
            without = (trimmed, self._line_edits(path, trimmed))
            lines = {f"{path} without its line end": without, **lines}
        for name, (text, edits) in lines.items():
            digest = cmdline_digest(text)
            self._add("cmdline", digest, name, _hashed("cmdline", digest), edits)

    def _line_edits(self, path: str, text: bytes | None) -> tuple[Edit, ...]:
        """Return the edits that make a manifest have the line of a file, or this text of it."""
        if text is None:
            return Edit("kernel.cmdline", None), Edit("kernel.cmdline-file", self._path(path))
        # A manifest reads a file as it stands, line end and all.
        written = toml_string(escape(decode_text(text)))
        return Edit("kernel.cmdline", written), Edit("kernel.cmdline-file", None)

    def release(self, path: str) -> None:
        """Take what a release, a bundle or a document tells, or each of those in a folder."""
        for name in _documents_in(path):
            try:
                self._release(name)
            except SevbuildError as error:
                self.notes.append(f"--releases: {error.message}")

    def _release(self, path: str) -> None:
        from sevbuild.bundle.published import read_values

        source, values = read_values(path)
        title = _title(source, values)
        self.releases.append(Release(title, values))
        self._taken += 1
        self._bundled(path, title)
        self.ingredients(title, source, values)

    def _bundled(self, path: str, title: str) -> None:
        """Take the firmware images in a bundle: of a file all is known that a launch depends on."""
        from sevbuild.bundle.folder import bundle_folder, read_document
        from sevbuild.bundle.published import bundle_at

        if bundle_at(path) is None:
            return
        folder = bundle_folder(path)
        for entry in read_document(folder)[0].inputs:
            file = os.path.join(folder, entry.file or "")
            if entry.role != FIRMWARE.name or entry.file is None or not os.path.isfile(file):
                continue
            data = read_file(file, LARGEST)
            if sha256(data).digest() != entry.sha256:
                self.notes.append(f"{file}: not the file that the bundle lists")
                continue
            with within(file):
                change = partial(with_firmware, parse_firmware(data))
            self._add("firmware", sha256(data).digest(), title, change, (), source=file)
            self._in_files.add(entry.sha256 or b"")

    def ingredients(self, title: str, source: str, values: ReferenceValues) -> None:
        """Take what published launches were made of, as far as the document at `source` tells."""
        entries = {entry.name: entry for entry in values.ingredients}
        for value in values.values:
            entry = entries.get(value.ingredients or "")
            if entry is None:
                continue
            name = _of_release(title, value)
            if entry.seed is not None and entry.order == "profile" and entry.svsm is None:
                seed = FirmwareSeed(entry.seed, entry.metadata)
                own = self._own | self._in_files
                if entry.inputs.get(FIRMWARE.name) not in own:
                    self._add("firmware", entry.seed, name, partial(with_firmware, seed), (), source=source)
            if entry.kernel is not None:
                digests: dict[HashAxis, bytes | None] = {
                    "kernel": entry.kernel.kernel,
                    "initrd": entry.kernel.initrd,
                    "cmdline": _line_of(value) or entry.kernel.cmdline_sha256,
                }
                for axis, digest in digests.items():
                    if digest is not None:
                        self._add(axis, digest, name, _hashed(axis, digest), (), source=source)

    def _image(self, path: str, *, in_folder: bool = False) -> None:
        data = read_file(path, LARGEST)
        with within(path):
            image = parse_firmware(data)
        if in_folder and not image.entries:
            raise _NoImageError(path)
        digest = sha256(data).digest()
        self._add(
            "firmware", digest, path, partial(with_firmware, image), self._edits("firmware", path, digest)
        )

    def _add(
        self,
        axis: str,
        digest: bytes,
        name: str,
        apply: Callable[[Setup], Setup],
        edits: tuple[Edit, ...],
        *,
        source: str = "a file that was named",
    ) -> None:
        self._taken += 1
        value = digest.hex()
        if digest in self._own:
            if edits:
                self.notes.append(f"{name}: the {axis} that the guest has already")
            return
        known = self.changes.setdefault(
            (axis, value),
            Change(
                axis=axis,
                value=value,
                touches="both" if axis == "firmware" else "body",
                apply=apply,
                says=f"the {_NAMES[axis]} {name}" if edits else f"the {_NAMES[axis]} of {name}",
                source=source,
                weight=_FIRST,
                edits=edits,
            ),
        )
        if known.edits != edits and edits:
            self.notes.append(f"{name}: the same as {known.says}")

    def _edits(self, table: str, path: str, digest: bytes) -> tuple[Edit, ...]:
        return Edit(f"{table}.path", self._path(path)), Edit(f"{table}.sha256", toml_string(digest.hex()))

    def _path(self, path: str) -> str:
        """Return a path as a manifest writes it."""
        return toml_string(path if os.path.isabs(path) else os.path.relpath(path, self._folder))


_NAMES = {"firmware": "firmware", "kernel": "kernel", "initrd": "initrd", "cmdline": "command line"}


class _NoImageError(SevbuildError):
    """A file of a folder that is no firmware image: there are many, and each is worth no word."""


def _own(setup: Setup) -> Iterator[bytes]:
    """Yield the digests that a launch has already: of a firmware its SHA-256, or its seed."""
    if isinstance(setup, LaidOut):
        firmware = setup.inputs.firmware
        yield sha256(firmware.data).digest() if isinstance(firmware, Firmware) else firmware.seed
    hashes = hashes_of(setup)
    if hashes is not None:
        yield from hashes


def _hashed(axis: HashAxis, digest: bytes) -> Callable[[Setup], Setup]:
    return hashed(axis, lambda: digest)


def _files_below(folder: str) -> Iterator[str]:
    """Yield the files of a folder and of those in it, in the order of their names, no more than a bound."""
    count = 0
    for above, folders, names in os.walk(folder):
        folders.sort()
        if above.removeprefix(folder).count(os.sep) >= _DEEPEST:
            folders.clear()
        for name in sorted(names):
            count += 1
            if count > _MOST_VISITED:
                raise SevbuildError(f"{folder}: more than {_MOST_VISITED} files; name a folder inside it")
            path = os.path.join(above, name)
            if os.path.isfile(path):
                yield path


def _documents_in(path: str) -> Iterable[str]:
    """Return the path itself where it is something published, else what is published in the folder."""
    from sevbuild.bundle.layout import REFERENCE
    from sevbuild.bundle.published import bundle_at

    if not os.path.isdir(path) or bundle_at(path) is not None:
        return [path]
    if os.path.isfile(os.path.join(path, REFERENCE)):
        return [path]
    names = [os.path.join(path, name) for name in sorted(os.listdir(path))]
    found = [
        name for name in names if (os.path.isdir(name) and _is_published(name)) or name.endswith(".json")
    ]
    return found or [path]


def _is_published(folder: str) -> bool:
    from sevbuild.bundle.layout import DOCUMENT, REFERENCE

    return any(os.path.isfile(os.path.join(folder, name)) for name in (DOCUMENT, REFERENCE))


def _title(source: str, values: ReferenceValues) -> str:
    return source if values.version is None else f"release {values.version}"


def _of_release(title: str, value: Value) -> str:
    """Return what a sentence calls the release that a value is of."""
    if not value.releases:
        return title
    return f"release {', '.join(span.text() for span in value.releases)}"


def _line_of(value: Value) -> bytes | None:
    return None if value.cmdline is None else cmdline_digest(encode_text(value.cmdline))
