"""Write a folder of small files: it is complete or absent, and takes the place of nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from sevbuild.errors import SevbuildError
from sevbuild.output.disk import Disk
from sevbuild.output.exchange import staging
from sevbuild.output.locks import Patience

__all__ = ["write_folder"]


def write_folder(
    path: str,
    files: Mapping[str, bytes],
    *,
    private: Collection[str] = (),
    disk: Disk | None = None,
    patience: Patience | None = None,
) -> None:
    """Write these files, by name, into a new folder; those that are `private` only this user can read.

    Raises SevbuildError where something with an entry in it is there already.
    """
    disk = Disk() if disk is None else disk

    def check(place: str, _: str) -> None:
        if os.path.lexists(place) and not (os.path.isdir(place) and not os.listdir(place)):
            raise SevbuildError(f"{path} already exists", hint="name another folder, or remove this one")

    with staging(disk, os.path.realpath(path), check, patience) as made:
        paths = []
        for name, data in files.items():
            paths.append(os.path.join(made.folder, name))
            descriptor = (disk.create_private if name in private else disk.create)(paths[-1])
            try:
                disk.append(descriptor, data)
            finally:
                disk.close(descriptor)
        disk.sync(made.folder, paths)
        made.publish()
