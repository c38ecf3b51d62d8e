"""Which of a manifest's inputs are fetched, and what each of them must be."""

from __future__ import annotations

from sevbuild.guest.declared import declared_files
from sevbuild.guest.inputs import Download
from sevbuild.manifest.model import Manifest
from sevbuild.manifest.url_keys import is_url

__all__ = ["declared_downloads"]


def declared_downloads(manifest: Manifest) -> dict[str, Download]:
    """Return every input that a manifest names by URL; raises FaultsError where one has two digests."""
    found: dict[str, Download] = {}
    for variant in manifest.variants:
        for declared in declared_files(variant):
            if declared.pin is None or not is_url(declared.path):
                continue
            known = found.setdefault(declared.path, Download(declared.pin, declared.limit))
            if known.sha256 != declared.pin:
                message = f"{declared.path} is pinned to another sha256 elsewhere in the manifest"
                variant.document.fault(f"{declared.key.partition('.')[0]}.sha256", message)
                variant.document.raise_faults()
    return found
