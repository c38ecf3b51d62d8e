"""The SNP digest chain: PAGE_INFO after PAGE_INFO (SNP ABI 8.17.2)."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha384

from sevbuild.launch.page_type import MEASURED_CONTENTS, PAGE_SIZE, PageType
from sevbuild.launch.region_data import Contents, chunks
from sevbuild.launch.update import LaunchUpdate

__all__ = ["INITIAL_DIGEST", "PageHasher", "extend", "page_info_ends"]

INITIAL_DIGEST = bytes(48)

_NO_CONTENTS = bytes(48)
_PAGE_INFO_LENGTH = b"\x70\x00"  # the u16 LENGTH field: PAGE_INFO is 0x70 bytes
_CHUNK_PAGES = 256
_VMSA_TSC = slice(0x2F0, 0x300)  # GUEST_TSC_SCALE and GUEST_TSC_OFFSET are taken as zero when measured


class PageHasher:
    """The digests of page contents, each byte hashed once a run.

    Uniform pages (flash padding, zeros) are hashed once per fill value. A single page is remembered by
    its bytes, so the VMSA that all application processors share costs one hash. A larger region is
    remembered only after `remember`, because most regions are launched once.
    """

    __slots__ = ("_pages", "_regions", "_uniform")

    def __init__(self) -> None:
        self._uniform: dict[int, bytes] = {}
        self._pages: dict[bytes, bytes] = {}
        self._regions: dict[Contents, list[bytes]] = {}

    def remember(self, data: Contents) -> None:
        """Keep the page digests of `data`, which is launched at more than one place."""
        self._regions.setdefault(data, [])

    def contents(self, data: Contents, first: int, last: int) -> list[bytes]:
        """Return the SHA-384 of each page from `first` up to, not including, `last` (48 bytes each)."""
        # As a key, bytes are read once more than they are hashed here: not where nothing is kept.
        kept = self._regions.get(data) if self._regions else None
        if kept is None:
            return self._hash(data, first, last)
        if not kept:
            pages = len(data) // PAGE_SIZE
            for start in range(0, pages, _CHUNK_PAGES):
                kept.extend(self._hash(data, start, min(start + _CHUNK_PAGES, pages)))
        return kept[first:last]

    def vmsa(self, data: Contents) -> bytes:
        """Return the CONTENTS of a VMSA page (48 bytes)."""
        page = b"".join(chunks(data))
        digest = self._pages.get(page)
        if digest is None:
            masked = page
            if any(page[_VMSA_TSC]):
                masked = page[: _VMSA_TSC.start] + bytes(16) + page[_VMSA_TSC.stop :]
            digest = self._pages[page] = sha384(masked).digest()
        return digest

    def _hash(self, data: Contents, first: int, last: int) -> list[bytes]:
        if not isinstance(data, bytes | memoryview):
            data, first, last = data.read(first * PAGE_SIZE, last * PAGE_SIZE), 0, last - first
        view = memoryview(data)
        uniform = self._uniform
        digests = []
        for start in range(first * PAGE_SIZE, last * PAGE_SIZE, PAGE_SIZE):
            page = view[start : start + PAGE_SIZE]
            fill = page[0]
            # Two samples keep the copy off pages that cannot be uniform.
            if fill == page[-1] == page[2048] and bytes(page).count(fill) == PAGE_SIZE:
                if fill not in uniform:
                    uniform[fill] = sha384(page).digest()
                digests.append(uniform[fill])
            else:
                digests.append(sha384(page).digest())
        return digests


def page_info_ends(update: LaunchUpdate, hasher: PageHasher) -> Iterator[bytes]:
    """Yield what follows the launch digest in the PAGE_INFO of each page, 64 bytes, with ascending GPA.

    The next launch digest is the SHA-384 of both, so that a page launched many times is hashed once. `update`
    has a positive whole number of pages; a 2 MiB page is measured as 512 of these.
    """
    kind, gpa, data = update.page_type, update.gpa, update.data
    # LENGTH u16, PAGE_TYPE u8, IMI_PAGE u8, reserved u8, VMPL1..3 permissions u8 each.
    middle = _PAGE_INFO_LENGTH + bytes((kind, 0, 0, *update.vmpl_permissions))
    if kind not in MEASURED_CONTENTS or data is None:
        for page_gpa in range(gpa, update.end, PAGE_SIZE):
            yield _NO_CONTENTS + middle + page_gpa.to_bytes(8, "little")
        return
    if kind == PageType.VMSA:
        yield hasher.vmsa(data) + middle + gpa.to_bytes(8, "little")
        return
    pages = update.length // PAGE_SIZE
    for first in range(0, pages, _CHUNK_PAGES):
        for contents in hasher.contents(data, first, min(first + _CHUNK_PAGES, pages)):
            yield contents + middle + gpa.to_bytes(8, "little")
            gpa += PAGE_SIZE


def extend(digest: bytes, update: LaunchUpdate, hasher: PageHasher) -> bytes:
    """Return the 48-byte launch digest after `update`, page by page."""
    for end in page_info_ends(update, hasher):
        digest = sha384(digest + end).digest()
    return digest
