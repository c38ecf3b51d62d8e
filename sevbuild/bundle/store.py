"""The files of a bundle in the making: named by role, each content kept once."""

from __future__ import annotations

import os
from hashlib import sha256

from sevbuild.bundle.document import FileEntry
from sevbuild.bundle.keep import Keeper
from sevbuild.bundle.layout import INPUT_FOLDER, input_path
from sevbuild.bundle.resolve import Placed
from sevbuild.guest.guest import Guest
from sevbuild.guest.inputs import Extent, HashedInput, Range
from sevbuild.manifest.inputs import DeclaredInput
from sevbuild.output.disk import Disk

__all__ = ["Store"]


class Store:
    """A folder that inputs and made files are brought into; `mode` is `copy`, `link` or `none`."""

    def __init__(self, disk: Disk, folder: str, keeper: Keeper, mode: str) -> None:
        self.files: dict[str, FileEntry] = {}
        self._disk = disk
        self._folder = folder
        self._keeper = keeper
        self._mode = mode
        self._names: dict[tuple[str, bytes], str] = {}
        self._counts: dict[str, int] = {}
        self._parts: dict[tuple[tuple[str, ...], Range | None], str] = {}
        self._paths: dict[tuple[str, bytes], str] = {}
        self._folders: set[str] = set()

    def expect(self, guest: Guest, declared: DeclaredInput, extent: Extent) -> None:
        """Have an input kept when the guest's reader hashes it."""
        key = self._key(guest, extent)
        if key not in self._parts:
            self._make_folder(INPUT_FOLDER)
            name = f"{INPUT_FOLDER}/{declared.role.launched_as}-{len(self._parts)}.part"
            self._parts[key] = name
            guest.reader.hash_with(extent, self._keeper.work(name, always=declared.role.needed))

    def place(self, guest: Guest, declared: DeclaredInput, extent: Extent) -> Placed:
        """Give what `expect` announced its name, now that its digest is known."""
        role = declared.role.launched_as
        hashed = guest.reader.hashed(extent)
        path = self._name(role, hashed.sha256)
        if self._mode == "none" and not declared.role.needed:
            return Placed(None, hashed.sha256, hashed.size)
        temporary = os.path.join(self._folder, self._parts[self._key(guest, extent)])
        if path not in self.files:
            if os.path.lexists(temporary):
                self._disk.move(temporary, os.path.join(self._folder, path))
                self.files[path] = FileEntry(path, role, hashed.size, hashed.sha256)
            else:
                # The same source serves in another role, where it lies already.
                path = next(path for path, entry in self.files.items() if entry.sha256 == hashed.sha256)
                self._paths[role, hashed.sha256] = path
        elif os.path.lexists(temporary):
            self._disk.unlink(temporary)
        return Placed(path, hashed.sha256, hashed.size)

    def place_bytes(self, role: str, source: str, data: bytes, *, keep: bool = True) -> Placed:
        """Keep an input that was read whole, unless `keep` is False."""
        digest = sha256(data).digest()
        path = self._name(role, digest)
        if not keep:
            return Placed(None, digest, len(data))
        if path not in self.files:
            self._make_folder(INPUT_FOLDER)
            self._keeper.keep_bytes(source, path, data)
            self.files[path] = FileEntry(path, role, len(data), digest)
        return Placed(path, digest, len(data))

    def place_digest(self, role: str, digest: bytes) -> Placed:
        """Name an input that is known by its digest alone."""
        self._name(role, digest)
        return Placed(None, digest, None)

    def write(self, path: str, role: str, data: bytes) -> None:
        """Write a made file, once."""
        if path not in self.files:
            for count in range(1, path.count("/") + 1):
                self._make_folder("/".join(path.split("/")[:count]))
            self._keeper.write(path, data)
            self.files[path] = FileEntry(path, role, len(data), sha256(data).digest())

    def path_of(self, role: str, digest: bytes) -> str | None:
        """Return where an input with this role and SHA-256 is, or would be, else None."""
        return self._paths.get((role, digest))

    def hashed(self) -> dict[str, HashedInput]:
        """Return digest and size of each file by its path."""
        return {path: HashedInput(entry.sha256, entry.size) for path, entry in self.files.items()}

    def on_disk(self) -> list[str]:
        """Return the folders and files made, those within a folder before it."""
        paths = [*self.files, *self._folders]
        return [os.path.join(self._folder, path) for path in sorted(paths, reverse=True)]

    @staticmethod
    def _key(guest: Guest, extent: Extent) -> tuple[tuple[str, ...], Range | None]:
        return tuple(guest.reader.fetched_path(source) for source in extent.sources), extent.part

    def _name(self, role: str, digest: bytes) -> str:
        """Return the path of an input, by its role and in the order in which they come up."""
        path = self._names.get((role, digest))
        if path is None:
            index = self._counts.get(role, 0)
            self._counts[role] = index + 1
            path = self._names[role, digest] = input_path(role, index)
        self._paths[role, digest] = path
        return path

    def _make_folder(self, name: str) -> None:
        if name not in self._folders:
            self._disk.make_folder(os.path.join(self._folder, name))
            self._folders.add(name)
