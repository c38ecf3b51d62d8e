"""What a bundle's own guest says must be in it: `build` writes this, `verify` compares with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sevbuild.bundle.artifacts import Artifact, Artifacts
from sevbuild.bundle.document import InputEntry
from sevbuild.bundle.layout import target_folders
from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.measured import Measured
from sevbuild.guest.record import InputRecord
from sevbuild.manifest.inputs import CMDLINE, launched_as
from sevbuild.manifest.model import Variant
from sevbuild.manifest.targets import Target
from sevbuild.reference.collect import collect_values
from sevbuild.reference.document import document_text
from sevbuild.reference.model import ReferenceValues, Value

__all__ = [
    "TargetFiles",
    "bundle_values",
    "earlier_reference_bytes",
    "measured_records",
    "reference_bytes",
    "reference_values",
    "target_files",
]


class TargetFiles(NamedTuple):
    """What a target has in a bundle: the paths of its files by role, and its own folder for what is made.

    `made` yields that, file by file. The path of each goes among `files` before the next one is asked for.
    """

    label: str
    folder: str
    files: dict[str, str]
    made: Iterator[Artifact]


def reference_values(
    guest: Guest, measured: Sequence[Measured[Target]], inputs: Sequence[InputEntry]
) -> ReferenceValues:
    """Return what `measure --format json` prints, with the inputs as the publisher named them."""
    records = measured_records(inputs)
    published = {
        entry.seed: entry.sha256 for entry in inputs if entry.seed is not None and entry.sha256 is not None
    }
    return collect_values(guest, measured, records=records, published=published)


def measured_records(inputs: Sequence[InputEntry]) -> list[InputRecord]:
    """Return the inputs that enter a digest, as the reference values of the bundle have them."""
    return [
        InputRecord(entry.role, entry.name, entry.size, "sha256", entry.sha256)
        if entry.sha256 is not None
        else InputRecord(entry.role, entry.name, entry.size, "seed", entry.seed or b"")
        for entry in inputs
        if entry.measured
    ]


def bundle_values(values: ReferenceValues) -> list[Value]:
    """Return the values as bundle.json repeats them, without what reference-values.json alone has."""
    return [value._replace(ingredients=None, id_block=None, doubts=None) for value in values.values]


def reference_bytes(values: ReferenceValues) -> bytes:
    """Return the bytes of reference-values.json."""
    return document_text(values).encode()


def earlier_reference_bytes(values: ReferenceValues) -> bytes:
    """Return the bytes as releases wrote them that had no word on what cannot boot."""
    return reference_bytes(
        values._replace(values=tuple(value._replace(doubts=None) for value in values.values))
    )


def target_files(
    guest: Guest, measured: Sequence[Measured[Target]], inputs: Sequence[InputEntry]
) -> Iterator[TargetFiles]:
    """Yield what each target has in a bundle.

    `guest` is that of the bundle's own manifest, so that its paths are those in the bundle.
    """
    folders = target_folders(item.label for item in measured)
    if len(folders) != len(measured):
        raise SevbuildError("two targets have the same label", hint="do two profiles have the same name?")
    artifacts = Artifacts(guest)
    for item in measured:
        folder = folders[item.label]
        files = {**_input_files(item.target.variant, inputs), **_id_block_files(guest, item)}
        yield TargetFiles(item.label, folder, files, artifacts.made_for(item, files, folder))


def _input_files(variant: Variant, inputs: Sequence[InputEntry]) -> dict[str, str]:
    """Return where the inputs of a bundle's own variant are, or would be if they were not left out."""
    files = {}
    for declared in variant.inputs:
        role = declared.role.launched_as
        path = declared.sources[0].name if declared.sources else _left_out(inputs, role, declared.pin)
        if path is not None and declared.role is not CMDLINE:
            files[role] = path
    return files


def _id_block_files(guest: Guest, measured: Measured[Target]) -> dict[str, str]:
    """Return where the ID block of a target is in the bundle, and its authentication."""
    blocks = guest.id_blocks
    place = None if blocks is None else blocks.folder_of(measured.target, measured.digest)
    if place is None:
        return {}
    from sevbuild.guest.id_blocks import AUTH_FILE, BLOCK_FILE

    return {"id_block": f"{place}/{BLOCK_FILE}", "id_auth": f"{place}/{AUTH_FILE}"}


def _left_out(inputs: Sequence[InputEntry], role: str, digest: bytes | None) -> str | None:
    """Return where an input known by its digest would be."""
    for entry in inputs:
        known = entry.seed if role == "firmware" else entry.sha256
        if role in (entry.role, launched_as(entry.role)) and known == digest and entry.file is not None:
            return entry.file
    return None
