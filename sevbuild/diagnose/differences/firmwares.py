"""Two firmwares: which builds they are, their tables and SEV metadata, and which of their pages differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from sevbuild.diagnose.differences.kernels import FileChange
from sevbuild.diagnose.differences.model import Detail
from sevbuild.diagnose.differences.pages import PageRun, Pages, differing_pages, runs_text
from sevbuild.image.guid import GUID_NAMES, parse_guid
from sevbuild.image.ovmf import Firmware, Section, section_kind_name
from sevbuild.image.verifier import kernel_hash_verifier
from sevbuild.image.volumes import search_volumes
from sevbuild.text import counted

__all__ = ["Volume", "build_of", "compare_firmwares", "firmware_volumes"]

# UEFI PI specification, volume 3, 3.2.1: EFI_FIRMWARE_VOLUME_HEADER has 16 zero bytes, a GUID, the u64
# length and the signature.
_VOLUME_MARK = b"_FVH"
_MARK_AT = 0x28
_VOLUME_HEAD = 0x38
_MOST_MARKS = 1000
"""How many marks of a volume are looked at: a real image has fewer than ten."""
_STORE = parse_guid("fff12b8d-7696-4c8b-a985-2747075b4f50")
"""gEfiSystemNvDataFvGuid of edk2: the volume of the variable store."""

# What an edk2 build says of itself: PcdFirmwareVersionString and PcdFirmwareVendor as UTF-16, git's tags.
# Patterns begin with letters, which is what makes them quick over megabytes.
_VERSIONS = tuple(
    re.compile(start + rb"(?:[-+~.\w]\0){1,60}(?=\0\0)")
    for start in (
        rb"2\x000\x00[0-9]\x00[0-9]\x00\.\x00[0-9]\x00",
        rb"e\0d\0k\x002\x00-\0",
        rb"s\0t\0a\0b\0l\0e\x002\x00",
    )
)
_VENDOR = re.compile("EDK II".encode("utf-16-le") + rb"(?: \0b\0u\0i\0l\0d\0)?(?=\0\0)")
_BEFORE = re.compile(rb"(?:[\w ]\0){0,40}\Z")
_MOST_WORDS = 8
_STORE_NAME = "the variable store"


class Volume(NamedTuple):
    """A firmware volume: where it lies in the image, in bytes, and what it is called here."""

    start: int
    end: int
    name: str


def compare_firmwares(old: Firmware, new: Firmware) -> FileChange:
    """Return what differs between two firmwares (or SVSMs) that are not the same."""
    builds = build_of(old.data), build_of(new.data)
    details = (
        [] if builds[0] == builds[1] else [Detail("build", _build_text(builds[0]), _build_text(builds[1]))]
    )
    sizes = len(old.data), len(new.data)
    if sizes[0] != sizes[1]:
        details.append(Detail("size", *(f"{size} bytes" for size in sizes)))
    details += _verifier_detail(old, new)
    sections = list(_section_details(old.metadata.sections, new.metadata.sections))
    tables = list(_table_details(old, new))
    # Both end at 4 GiB: what lies at one address is compared, whatever the sizes.
    common = min(sizes)
    skip = sizes[0] - common, sizes[1] - common
    pages = differing_pages(old.data, new.data, skip)
    details += [*sections, *tables, *_page_details(old, pages, skip[0])]
    return FileChange(_title(old, new, builds, pages, (sections, tables)), tuple(details))


def build_of(data: bytes) -> tuple[str, ...]:
    """Return what a firmware says of its build: versions, then vendors, as it has them; none for most.

    Looked through are the image and, within bounds, its compressed volumes.
    """
    versions: dict[str, None] = {}
    vendors: dict[str, None] = {}

    def look(window: bytes) -> bool:
        for match in (
            match for pattern in _VERSIONS for match in islice(pattern.finditer(window), _MOST_MARKS)
        ):
            _add(versions, match[0] if _begins_word(window, match.start()) else b"")
        for match in islice(_VENDOR.finditer(window), _MOST_MARKS):
            before = _BEFORE.search(window, max(match.start() - 80, 0), match.start())
            _add(vendors, before[0] + match[0] if before is not None and before[0] else b"")
        return False

    search_volumes(data, look)
    look(data)
    return (*versions, *vendors)


def _begins_word(window: bytes, at: int) -> bool:
    """Tell whether no letter stands before a place in text of two bytes a letter."""
    return at < 2 or window[at - 1] != 0 or not 0x20 < window[at - 2] < 0x7F


def _add(found: dict[str, None], text: bytes) -> None:
    """Add a text, unless it is empty, one of very many, or the rest of one that was cut at a window's end."""
    word = text.decode("utf-16-le").strip()
    if word and len(found) < _MOST_WORDS and not any(known.endswith(word) for known in found):
        found[word] = None


def firmware_volumes(data: bytes) -> list[Volume]:
    """Return the firmware volumes of an image that lie in no other, by their place."""
    found: list[Volume] = []
    at, end = -1, 0
    for _ in range(_MOST_MARKS):
        at = data.find(_VOLUME_MARK, max(at + 1, end))
        if at < 0:
            break
        start = at - _MARK_AT
        length = int.from_bytes(data[start + 0x20 : start + 0x28], "little") if start >= end else 0
        if length >= _VOLUME_HEAD and start + length <= len(data):
            end = start + length
            found.append(Volume(start, end, _volume_name(data, start, end)))
    return found


def _volume_name(data: bytes, start: int, end: int) -> str:
    if data[start + 16 : start + 32] == _STORE:
        return _STORE_NAME
    if end == len(data):
        return "the volume with the reset vector and the tables"
    return f"the volume at {start:#x}"


def _title(
    old: Firmware,
    new: Firmware,
    builds: tuple[tuple[str, ...], tuple[str, ...]],
    pages: Pages,
    found: tuple[list[Detail], list[Detail]],
) -> str:
    sections, tables = found
    if builds[0] and builds[1] and builds[0] != builds[1]:
        return f"another build: {builds[0][0]} -> {builds[1][0]}"
    if len(old.data) != len(new.data):
        return "another build, of another size" if pages.differ else _longer(old, new)
    if sections:
        kinds = [sorted(side.metadata.sections or ()) for side in (old, new)]
        alike = kinds[0] == kinds[1]
        return "the same SEV metadata sections in another order" if alike else "other SEV metadata sections"
    if tables:
        return f"other {tables[0].what}"
    return f"{counted(pages.differ, 'page')} of {pages.of}; tables and SEV metadata are alike"


def _longer(old: Firmware, new: Firmware) -> str:
    """Return what one of two images has before all that the other has."""
    longer, word = (old, "first") if len(old.data) > len(new.data) else (new, "second")
    more = abs(len(old.data) - len(new.data))
    store = any(volume.name == _STORE_NAME for volume in firmware_volumes(longer.data[:more]))
    return f"the {word} is the other with {'its variable store' if store else f'{more} bytes'} before it"


def _build_text(words: tuple[str, ...]) -> str | None:
    return ", ".join(words) or None


def _verifier_detail(old: Firmware, new: Firmware) -> Iterator[Detail]:
    words = {None: "unknown", True: "yes", False: "no"}
    verifies = [words[kernel_hash_verifier(side.data)] for side in (old, new)]
    if verifies[0] != verifies[1]:
        yield Detail("verifies kernel hashes", *verifies)


def _section_details(old: tuple[Section, ...] | None, new: tuple[Section, ...] | None) -> Iterator[Detail]:
    if old is None or new is None:
        if old is not new:
            yield Detail(
                "SEV metadata", *("none" if side is None else _sections(side) for side in (old, new))
            )
        return
    if sorted(old) == sorted(new):
        moved = [index for index, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]
        if moved:
            yield Detail("order of the sections", _sections(old), _sections(new))
        return
    before, after = list(old), list(new)
    for section in old:
        if section in after:
            before.remove(section)
            after.remove(section)
    for section in before:
        same = next((other for other in after if other.kind == section.kind), None)
        if same is not None:
            after.remove(same)
        yield Detail(_kind(section), _place(section), None if same is None else _place(same))
    for section in after:
        yield Detail(_kind(section), None, _place(section))


def _sections(sections: Iterable[Section]) -> str:
    return ", ".join(section_kind_name(section.kind) for section in sections)


def _kind(section: Section) -> str:
    return f"section {section_kind_name(section.kind)}"


def _place(section: Section) -> str:
    return f"{section.size:#x} bytes at {section.gpa:#x}"


def _table_details(old: Firmware, new: Firmware) -> Iterator[Detail]:
    before, after = _entries(old), _entries(new)
    for guid in dict.fromkeys([*before, *after]):
        if before.get(guid) != after.get(guid):
            name = GUID_NAMES.get(guid, guid)
            yield Detail(f"footer table entry {name}", _data(before.get(guid)), _data(after.get(guid)))


def _entries(firmware: Firmware) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in firmware.entries:
        # QEMU takes the first it meets on its way down.
        found.setdefault(entry.guid, entry.data)
    return found


def _data(data: bytes | None) -> str | None:
    if data is None:
        return None
    if len(data) in (4, 8):
        return " ".join(f"{int.from_bytes(data[at : at + 4], 'little'):#x}" for at in range(0, len(data), 4))
    return data[:32].hex() + ("..." if len(data) > 32 else "")


def _page_details(old: Firmware, pages: Pages, skip: int) -> Iterator[Detail]:
    """Yield the pages that differ, by the volume of the old firmware that they lie in."""
    if not pages.differ:
        return
    yield Detail(f"{pages.differ} of {counted(pages.of, 'page')}", None, None)
    volumes = firmware_volumes(old.data)
    starts = [0, *(volume.end for volume in volumes)]
    ends = [*(volume.start for volume in volumes), len(old.data)]
    between = "outside of any volume" if volumes else "the image"
    gaps = [Volume(start, end, between) for start, end in zip(starts, ends, strict=True) if start < end]
    runs_in: dict[str, list[PageRun]] = {}
    for volume in [*volumes, *gaps]:
        for run in pages.runs:
            start, end = max(run.start + skip, volume.start), min(run.end + skip, volume.end)
            if start < end:
                runs_in.setdefault(volume.name, []).append(PageRun(start, end))
    for name, runs in runs_in.items():
        where = f"in {name}" if name.startswith("the") else name
        yield Detail(where, None, None, runs_text(runs, old.gpa))
