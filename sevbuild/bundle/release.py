"""Put a release in its place: a flat folder with a list of checksums, exchanged as bundles are."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sevbuild.bundle.disk import Disk
from sevbuild.bundle.exchange import staging
from sevbuild.errors import SevbuildError
from sevbuild.fs import read_text

__all__ = ["write_release"]


def write_release(
    output: str, files: Mapping[str, bytes], checksums: str, *, disk: Disk | None = None
) -> None:
    """Write a folder of these files whole or not at all; an earlier release there is exchanged for it.

    `checksums` names the file among them that lists the others in `HEX  NAME` lines. A folder that holds
    anything its own such file does not list is none of ours, and is not replaced: SevbuildError.
    """
    disk = Disk() if disk is None else disk
    output = output.rstrip("/") or output
    if os.path.islink(output):
        raise SevbuildError(f"{output}: not a folder")
    place = os.path.realpath(output)
    with staging(disk, place) as stage:
        _check_replaceable(place, checksums)
        paths = []
        for name, data in files.items():
            paths.append(os.path.join(stage.folder, name))
            descriptor = disk.create(paths[-1])
            try:
                disk.append(descriptor, data)
            finally:
                disk.close(descriptor)
        disk.sync(stage.folder, paths)
        stage.publish()


def _check_replaceable(path: str, checksums: str) -> None:
    """Raise SevbuildError for a folder that was not written before."""
    if not os.path.lexists(path):
        return
    if os.path.islink(path) or not os.path.isdir(path):
        raise SevbuildError(f"{path}: not a folder")
    try:
        names = set(os.listdir(path))
    except OSError as error:
        raise SevbuildError(f"cannot read {path}: {error.strerror or error}") from None
    listed = {checksums}
    if checksums in names:
        lines = read_text(os.path.join(path, checksums)).splitlines()
        listed |= {line.partition("  ")[2] for line in lines}
    foreign = sorted(names - listed)
    if foreign:
        hint = "name a folder that is new, empty, or was written by an earlier run"
        raise SevbuildError(f"{path}: holds {foreign[0]}, which {checksums} there does not list", hint=hint)
