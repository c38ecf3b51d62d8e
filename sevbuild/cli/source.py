"""Where reference values come from: a manifest, measured now, or a document made before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sevbuild.cli.options import LockOptions, read_settings
from sevbuild.errors import Notice, SevbuildError
from sevbuild.fs import read_file, read_range

__all__ = ["Source", "load_values"]

_LIMIT = 256 << 20


class Source(NamedTuple):
    """Hold a document, and what the manifest it was made of says of publishing."""

    document: dict[str, Any]
    formats: tuple[str, ...] | None
    values: Mapping[str, Mapping[str, Any]]
    notices: list[Notice]


def load_values(path: str, *, settings: list[str], targets: list[str], lock: LockOptions) -> Source:
    """Return the reference values of a manifest or document; `targets` takes those alone that these patterns pick.

    A file that starts with a brace is a document, since no manifest does; `settings` and `lock` are for manifests.
    """
    if path != "-" and read_range(path, 0, 64).lstrip().startswith(b"{"):
        if settings:
            raise SevbuildError("--set overrides a manifest; a document is what it is")
        lock.refuse()
        return _from_document(path, targets=targets)
    from sevbuild.guest.guest import load_guest
    from sevbuild.reference.measured import measured_document

    held = lock.check(path, settings)
    guest = load_guest(path, settings=read_settings(settings), network=lock.network())
    chosen = guest.select(targets)
    document = measured_document(guest, chosen)
    held(guest, chosen)
    publish = guest.manifest.publish
    if publish is None:
        return Source(document, None, {}, guest.notices)
    return Source(document, publish.formats, publish.values, guest.notices)


def _from_document(path: str, *, targets: list[str]) -> Source:
    from sevbuild.reference.measured import read_document

    document = read_document(path, read_file(path, _LIMIT))
    if targets:
        from sevbuild.manifest.selection import select_labels

        chosen = set(select_labels(targets, [value["label"] for value in document["values"]]))
        # A document of several releases has a label once in each.
        taken = [value for value in document["values"] if value["label"] in chosen]
        document = {**document, "values": taken}
    return Source(document, None, {}, [])
