"""Published ingredients: a digest in place of a file."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.image.ovmf import Metadata

__all__ = ["FirmwareSeed"]


class FirmwareSeed(NamedTuple):
    """The SNP digest after the firmware's pages (48 bytes) and the metadata a launch goes on with."""

    seed: bytes
    metadata: Metadata
