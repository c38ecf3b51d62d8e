"""Which of a manifest's inputs are fetched, and what each of them must be."""

from __future__ import annotations

from sevbuild.guest.inputs import FIRMWARE_LIMIT, Download
from sevbuild.manifest.model import Manifest, Variant

__all__ = ["FILE_LIMIT", "SVSM_LIMIT", "declared_downloads"]

SVSM_LIMIT = 64 << 20
FILE_LIMIT = 8 << 30
"""What a kernel, an image or one file of an initrd can have: more than any is known to have."""


def declared_downloads(manifest: Manifest) -> dict[str, Download]:
    """Return every input that a manifest names by URL; raises FaultsError where one has two digests."""
    found: dict[str, Download] = {}
    for variant in manifest.variants:
        for key, url, pin, limit in _inputs(variant):
            if not url.startswith("https://") or pin is None:
                continue
            known = found.setdefault(url, Download(pin, limit))
            if known.sha256 != pin:
                message = f"{url} is pinned to another sha256 elsewhere in the manifest"
                variant.document.fault(f"{key}.sha256", message)
                variant.document.raise_faults()
    return found


def _inputs(variant: Variant) -> list[tuple[str, str, bytes | None, int]]:
    firmware, svsm, kernel, initrd = variant.firmware, variant.svsm, variant.kernel, variant.initrd
    inputs = [("firmware", firmware.path or "", firmware.sha256, FIRMWARE_LIMIT)]
    if svsm is not None:
        inputs.append(("svsm", svsm.path, svsm.sha256, SVSM_LIMIT))
    if kernel is not None:
        inputs.append(("kernel", kernel.path or "", kernel.sha256, FILE_LIMIT))
    if initrd is not None and initrd.pins:
        inputs += [
            ("initrd", url, pin, FILE_LIMIT) for url, pin in zip(initrd.paths, initrd.pins, strict=True)
        ]
    return inputs
