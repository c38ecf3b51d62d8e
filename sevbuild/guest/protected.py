"""Files whose place no output takes unasked: what a run is made of, and any manifest."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from sevbuild.errors import SevbuildError
from sevbuild.fs import read_text
from sevbuild.guest.declared import declared_files
from sevbuild.guest.guest import Guest
from sevbuild.guest.locking import lock_path
from sevbuild.manifest.document import parse_toml
from sevbuild.manifest.path_keys import is_profile_path
from sevbuild.manifest.profiles import profile_files
from sevbuild.manifest.url_keys import is_url

__all__ = ["Protected"]

_MANIFEST_TABLES = ("guest", "launch", "firmware", "igvm", "matrix")
_LARGEST_MANIFEST = 16 << 20


class Protected:
    """Know files by device and inode, so that no link hides one."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], str] = {}

    def add(self, what: str, paths: Iterable[str]) -> None:
        """Know files as `what`; one that is not there needs no protection."""
        for path in paths:
            try:
                status = os.stat(path)
            except (OSError, ValueError):
                continue
            if stat.S_ISREG(status.st_mode):
                self._known.setdefault((status.st_dev, status.st_ino), what)

    def add_guest(self, manifest: str, guest: Guest) -> None:
        """Know a manifest, and the inputs and profiles that it names."""
        if manifest != "-":
            self.add("the manifest", [manifest])
        for variant in guest.manifest.variants:
            for declared in declared_files(variant):
                if not is_url(declared.path):
                    self.add(f"an input of the guest, {declared.key}", [guest.reader.resolve(declared.path)])
            for name in filter(is_profile_path, variant.profiles):
                files = profile_files(name, guest.manifest.directory)
                self.add(f"a profile of the guest, {name} or what it extends", files)

    def add_lock(self, manifest: str, path: str = "") -> None:
        """Know the lock at `path`, without one that of a manifest."""
        if path or manifest != "-":
            self.add("the lock", [path or lock_path(manifest)])

    def refuse(self, paths: Iterable[str], *, hint: str) -> None:
        """Raise SevbuildError if one of these paths leads to a file that is known, or to any manifest."""
        for path in paths:
            try:
                status = os.stat(path)
            except (OSError, ValueError):
                continue
            what = self._known.get((status.st_dev, status.st_ino))
            if what is None and stat.S_ISREG(status.st_mode) and _is_manifest(path, status.st_size):
                what = "a manifest"
            if what is not None:
                raise SevbuildError(f"{path} is {what}: it is not replaced", hint=hint)


def _is_manifest(path: str, size: int) -> bool:
    if size > _LARGEST_MANIFEST:
        return False
    try:
        text = read_text(path)
    except SevbuildError:
        return False
    try:
        raw = parse_toml(text, path)
    except SevbuildError:
        # One that is being edited is still somebody's.
        return path.endswith(".toml")
    return any(table in raw for table in _MANIFEST_TABLES)
