"""Find out whether an OVMF really contains the code that checks kernel hashes.

Generic builds may carry the hash area in their tables and nothing that looks at it: the digest is then
reproducible and proves nothing about the kernel. The code that does compares the three GUIDs of the hash
table's entries, so they stand in the compressed volume of the builds that have it (OvmfPkg/AmdSev) and in
no other.
"""

from __future__ import annotations

from sevbuild.image.guid import parse_guid
from sevbuild.image.kernel_hashes import ENTRY_GUIDS
from sevbuild.image.volumes import search_volumes

__all__ = ["kernel_hash_verifier"]


def kernel_hash_verifier(data: bytes) -> bool | None:
    """Tell whether the firmware checks kernel hashes; None where no compressed volume can be read.

    Work and memory are bounded whatever the bytes.
    """
    missing = {parse_guid(guid) for guid in ENTRY_GUIDS.values()}

    def look(window: bytes) -> bool:
        missing.difference_update([guid for guid in missing if guid in window])
        return not missing

    return search_volumes(data, look)
