"""Two kernels: their versions, the fields of their setup headers, and where the rest of them differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sevbuild.diagnose.differences.boot_header import (
    SetupHeader,
    header_fields,
    parse_setup_header,
)
from sevbuild.diagnose.differences.cmdlines import compare_lines
from sevbuild.diagnose.differences.model import Detail
from sevbuild.diagnose.differences.pages import Pages, differing_pages, runs_text
from sevbuild.diagnose.rules.contents import digest_of, read_contents
from sevbuild.errors import SevbuildError
from sevbuild.image.uki import UkiPart, read_uki
from sevbuild.kind import HEAD_SIZE, KINDS, FileKind, kind_of
from sevbuild.launch.page_type import PAGE_SIZE
from sevbuild.launch.region_data import Contents
from sevbuild.text import counted, decode_text

__all__ = ["FileChange", "compare_files", "compare_kernels", "kind_phrase"]


class FileChange(NamedTuple):
    """What differs between two files of one role, in a phrase and in detail."""

    title: str
    details: tuple[Detail, ...]


def compare_kernels(old: Contents, new: Contents) -> FileChange:
    """Return what differs between two kernels or images that are not the same."""
    heads = _head(old), _head(new)
    kinds = kind_of(heads[0]), kind_of(heads[1])
    return _images((old, new), heads, kinds) or _boot_images(old, new)


def _boot_images(old: Contents, new: Contents) -> FileChange:
    heads = _head(old), _head(new)
    kinds = kind_of(heads[0]), kind_of(heads[1])
    first, second = map(parse_setup_header, heads)
    details = [*_kind_detail(*kinds)]
    if first is None or second is None:
        details += _rest(old, new)
        return FileChange("other bytes" if kinds[0] == kinds[1] else "files of another kind", tuple(details))
    if first.version != second.version:
        details.append(Detail("version", first.version, second.version))
    fields = list(_field_details(first, second))
    versions = first.version != second.version and None not in (first.version, second.version)
    details += _size_detail(old, new)
    rest = differing_pages(old, new)
    outside = _outside_header(heads, rest, min(first.end, second.end))
    details += fields
    if outside and rest.differ:
        details.append(_pages_detail(rest.differ, rest.of, runs_text(rest.runs, 0, rest.differ)))
    if versions:
        title = f"another version: {_release(first.version)} -> {_release(second.version)}"
    elif outside or len(old) != len(new):
        title = "another build or file of the same version" if first.version else "other bytes"
    else:
        title = f"{counted(len(fields), 'field')} of the setup header: {', '.join(entry.what for entry in fields)}"
        loaders = {entry.note for entry in fields}
        if loaders and "" not in loaders:
            title += ", as a boot loader patches it"
    return FileChange(title, tuple(details))


class _Part:
    """The contents of a section of an image."""

    __slots__ = ("_image", "_part")

    def __init__(self, image: Contents, part: UkiPart) -> None:
        self._image = image
        self._part = part

    def __len__(self) -> int:
        return self._part.size

    def read(self, start: int, end: int) -> bytes | memoryview:
        """Return the bytes from `start` up to, not including, `end`."""
        return read_contents(self._image, self._part.offset + start, self._part.offset + end)


def _images(
    images: tuple[Contents, Contents], heads: tuple[bytes, bytes], kinds: tuple[FileKind | None, ...]
) -> FileChange | None:
    """Return what differs between the parts of two unified kernel images, None for other files."""
    if any(kind != KINDS["uki"] for kind in kinds):
        return None
    try:
        parts = [read_uki(head, len(image)) for head, image in zip(heads, images, strict=True)]
    except SevbuildError:
        # Nothing can be taken out of an image of several profiles.
        return None
    details: list[Detail] = []
    changed = []
    for name in ("linux", "initrd", "cmdline"):
        old, new = (
            None if part is None else _Part(image, part)
            for image, part in zip(images, (getattr(side, name) for side in parts), strict=True)
        )
        if old is None or new is None:
            if old is not new:
                changed.append(f".{name}")
                sizes = [None if part is None else f"{len(part)} bytes" for part in (old, new)]
                details.append(Detail(f".{name}", sizes[0], sizes[1]))
        elif digest_of(old) != digest_of(new):
            changed.append(f".{name}")
            # What is inside of an image is looked into no further.
            found = _boot_images(old, new) if name == "linux" else _compare_section(name, old, new)
            details.append(Detail(f".{name}", None, None, found.title))
            details += [detail._replace(what=f".{name}: {detail.what}") for detail in found.details]
    if not changed:
        return FileChange("other sections than .linux, .initrd and .cmdline", tuple(_rest(*images)))
    return FileChange(f"another {', '.join(changed)} in the image", tuple(details))


def _compare_section(name: str, old: _Part, new: _Part) -> FileChange:
    if name != "cmdline":
        return compare_files(old, new)
    lines = [decode_text(bytes(part.read(0, len(part)))) for part in (old, new)]
    found = compare_lines(*lines)
    return FileChange(found.title, found.details)


def compare_files(old: Contents, new: Contents) -> FileChange:
    """Return what differs between two files of any kind, initrds above all, that are not the same."""
    kinds = kind_of(_head(old)), kind_of(_head(new))
    details = [*_kind_detail(*kinds), *_rest(old, new)]
    if not len(old) or not len(new):
        title = "empty on one side"
    elif kinds[0] != kinds[1]:
        title = f"another kind: {kind_phrase(kinds[0])} -> {kind_phrase(kinds[1])}"
    elif len(old) != len(new):
        title = "another size"
    else:
        title = "other bytes of the same size"
    return FileChange(title, tuple(details))


def kind_phrase(kind: FileKind | None) -> str:
    """Return how a sentence calls a kind of file, and one that is not told."""
    return "a file of no known kind" if kind is None else kind.phrase


def _field_details(old: SetupHeader, new: SetupHeader) -> Iterator[Detail]:
    for field in header_fields():
        values = old.values.get(field.name), new.values.get(field.name)
        if values[0] != values[1]:
            shown = ["none" if value is None else f"{value:#x}" for value in values]
            yield Detail(f"{field.name} ({field.offset:#x})", shown[0], shown[1], field.loader)


def _outside_header(heads: tuple[bytes, bytes], pages: Pages, end: int) -> bool:
    """Tell whether anything but the fields of the setup header differs, which lie in the first page."""
    size = min(len(heads[0]), len(heads[1]), PAGE_SIZE)
    first = [bytearray(head[:size]) for head in heads]
    for head in first:
        for field in header_fields():
            if field.offset + field.size <= end:
                head[field.offset : field.offset + field.size] = bytes(field.size)
    return first[0] != first[1] or any(run.end > PAGE_SIZE for run in pages.runs)


def _rest(old: Contents, new: Contents) -> Iterator[Detail]:
    yield from _size_detail(old, new)
    pages = differing_pages(old, new)
    if pages.differ:
        yield _pages_detail(pages.differ, pages.of, runs_text(pages.runs, 0, pages.differ))


def _pages_detail(count: int, of: int, where: str) -> Detail:
    return Detail(f"{count} of {counted(of, 'page')}", None, None, where)


def _size_detail(old: Contents, new: Contents) -> Iterator[Detail]:
    if len(old) != len(new):
        yield Detail("size", f"{len(old)} bytes", f"{len(new)} bytes")


def _kind_detail(old: FileKind | None, new: FileKind | None) -> Iterator[Detail]:
    if old != new:
        yield Detail("kind", kind_phrase(old), kind_phrase(new))


def _release(version: str | None) -> str:
    return (version or "").split(" ", 1)[0]


def _head(contents: Contents) -> bytes:
    return bytes(read_contents(contents, 0, min(HEAD_SIZE, len(contents))))
