"""Write a bundle: everything that is needed to launch what was measured, and to measure it again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from hashlib import sha256

from sevbuild.bundle.contents import bundle_values, reference_bytes, reference_values, target_files
from sevbuild.bundle.document import (
    DOCUMENT_LIMIT,
    BundleDocument,
    FileEntry,
    TargetEntry,
    encode_bundle,
    sums_text,
)
from sevbuild.bundle.folder import refuse_foreign
from sevbuild.bundle.keep import Keeper
from sevbuild.bundle.layout import DOCUMENT, MANIFEST, REFERENCE, SUMS
from sevbuild.bundle.stage import Staged, stage_inputs
from sevbuild.bundle.store import Store
from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.inputs import Extent, HashedInput, InputWork
from sevbuild.guest.measured import Measured
from sevbuild.guest.order import refuse_order
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.inputs import PathSource
from sevbuild.manifest.model import Manifest
from sevbuild.manifest.targets import Target
from sevbuild.output.disk import Disk
from sevbuild.output.exchange import staging
from sevbuild.output.locks import Patience
from sevbuild.progress import Progress, metering

__all__ = ["build_bundle", "primed_guest"]


def build_bundle(
    guest: Guest,
    output: str,
    *,
    targets: Sequence[Target] | None = None,
    inputs: str = "copy",
    disk: Disk | None = None,
    check: Callable[[Sequence[Measured[Target]]], object] | None = None,
    patience: Patience | None = None,
) -> BundleDocument:
    """Measure a guest and write its bundle to the folder `output`, whole or not at all.

    `inputs` come along as a `copy`, as reflinks or hard links where those work (`link`), or by hash alone
    (`none`). `check` is called with what was measured, when everything was read and before anything is in
    its place; what it raises leaves the folder as it was. A bundle that is there is exchanged for the new
    one; any other folder with something in it is refused. Raises SevbuildError.
    """
    disk = Disk() if disk is None else disk
    chosen = guest.targets if targets is None else targets
    refuse_order(chosen)
    place = os.path.realpath(output)
    with staging(disk, place, refuse_foreign, patience) as stage:
        keeper = Keeper(disk, stage.folder, inputs, guest.reader.progress, shown=place)
        try:
            store = Store(disk, stage.folder, keeper, inputs)
            staged = stage_inputs(guest, chosen, store, firmware=inputs != "none")
            if check is not None:
                check(staged.measured)
            bundle = _describe(staged, store, stage.folder, guest.reader.progress)
            data = encode_bundle(bundle)
            if len(data) > DOCUMENT_LIMIT:
                hint = "build fewer targets into each bundle, with --target or separate manifests"
                raise SevbuildError(
                    f"{DOCUMENT} would have {len(data)} bytes; the limit is {DOCUMENT_LIMIT} bytes", hint=hint
                )
            store.write(DOCUMENT, "bundle", data)
            store.write(SUMS, "sums", sums_text(list(store.files.values())).encode())
        finally:
            # What still reads must not write into a folder that is being removed.
            keeper.cancel()
            guest.reader.settle()
        disk.sync(stage.folder, store.on_disk())
        stage.publish()
    return bundle


def primed_guest(manifest: Manifest, hashed: dict[str, HashedInput]) -> Guest:
    """Return the guest that a bundle's manifest declares; files hashed before are not read again."""
    guest = Guest(manifest)
    for path, known in hashed.items():
        guest.reader.hash_with(Extent((PathSource(path),)), _known(known))
    return guest


def _known(hashed: HashedInput) -> InputWork:
    return lambda _paths, _part, _each: hashed


def _describe(staged: Staged, store: Store, folder: str, progress: Progress | None) -> BundleDocument:
    """Write what is made for the targets, from the bundle's own manifest, and return bundle.json."""
    source = os.path.join(folder, MANIFEST)
    guest = primed_guest(decode_manifest(staged.manifest, source, directory=folder), store.hashed())
    labels = [item.label for item in staged.measured]
    measured = guest.measure(guest.select(labels))
    for before, after in zip(staged.measured, measured, strict=True):
        if before.digest != after.digest:
            # Firmware and SVSM were read twice, the others once.
            hint = "an input may have changed in the meantime"
            raise SevbuildError(
                f"{before.label}: the bundle's files give a different launch digest", hint=hint
            )
    kept: dict[tuple[str, bytes], str] = {}
    reference = reference_values(guest, measured, staged.inputs)
    entries: list[TargetEntry] = []
    targets = target_files(guest, measured, staged.inputs)
    with metering(progress, "bundle", unit="targets") as meter:
        for value, target in zip(bundle_values(reference), targets, strict=True):
            for artifact in target.made:
                # What several targets have in common lies with the first of them.
                key = (artifact.name, sha256(artifact.data).digest())
                path = kept.setdefault(key, f"{target.folder}/{artifact.name}")
                store.write(path, artifact.role, artifact.data)
                target.files[artifact.role] = path
            entries.append(TargetEntry(value, target.files))
            meter(len(entries), len(measured))
    store.write(REFERENCE, "reference_values", reference_bytes(reference))
    listed: list[FileEntry] = sorted(store.files.values())
    manifest = guest.manifest
    return BundleDocument(
        manifest.name, manifest.version, tuple(staged.inputs), tuple(listed), tuple(entries)
    )
