"""Pages of a file as regions: neighbours are joined, whose bytes stay where they lie."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.igvm.pages import FilePages, Piece, UpdateMaker
from sevbuild.igvm.source import MemorySource
from sevbuild.launch.page_type import PageType

FILE = b"head" + b"".join(bytes([number]) * 4096 for number in range(1, 9))
SOURCE = MemorySource(FILE)


def _offset(page: int) -> int:
    return 4 + 4096 * page


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 7), st.integers(1, 3)), min_size=1, max_size=6),
    st.lists(st.integers(0, 18 * 4096), min_size=2, max_size=6),
)
def test_pages_read_as_they_were_added(added: list[tuple[int, int]], cuts: list[int]) -> None:
    pages, expected = FilePages(SOURCE), b""
    for page, count in added:
        if page < 0:
            pages.append(0, count)
            expected += bytes(4096 * count)
        else:
            held = min(count, 8 - page)
            pages.append(_offset(page), held)
            expected += FILE[_offset(page) : _offset(page + held)]
    assert len(pages) == len(expected)
    assert pages.read(0, len(pages)) == expected
    assert pages.read(4096, 4096) == b""
    for start, end in pairwise(sorted(min(cut, len(expected)) for cut in cuts)):
        if start < end:
            assert pages.read(start, end) == expected[start:end]


def test_what_follows_is_one_run() -> None:
    def starts(*added: tuple[int, int]) -> list[int]:
        pages = FilePages(SOURCE)
        for offset, count in added:
            pages.append(offset, count)
        return list(pages._starts)

    assert starts((_offset(0), 2), (_offset(2), 1), (_offset(3), 4)) == [0]
    assert starts((0, 2), (0, 3)) == [0]
    assert starts((_offset(0), 2), (_offset(3), 1)) == [0, 2]
    assert starts((_offset(0), 2), (_offset(1), 1)) == [0, 2]
    assert starts((_offset(0), 2), (0, 1), (_offset(2), 1)) == [0, 2, 3]
    assert starts((0, 1), (_offset(0), 1), (0, 1)) == [0, 1, 2]
    assert starts((0, 1), (_offset(0), 1), (_offset(1), 1)) == [0, 1]


def test_equal_pages_have_one_key_and_others_another() -> None:
    def key(*added: tuple[int, int]) -> bytes:
        pages = FilePages(SOURCE)
        for offset, count in added:
            pages.append(offset, count)
        return pages.key

    assert key((_offset(0), 1), (_offset(1), 1)) == key((_offset(0), 2))
    keys = [
        key((_offset(0), 2)),
        key((_offset(0), 3)),
        key((_offset(1), 2)),
        key((0, 2)),
        key((0, 1), (_offset(0), 1)),
    ]
    assert len(set(keys)) == len(keys)  # fmt: skip


def _piece(gpa: int, pages: int = 1, kind: PageType = PageType.NORMAL, page: int = 0) -> Piece:
    return Piece(gpa, kind, pages, _offset(page), None, "page data")


def _made(*pieces: Piece) -> list[tuple[int, int]]:
    return [(update.gpa, update.length // 4096) for update in UpdateMaker(SOURCE).make(pieces)]


def test_neighbours_of_one_type_are_one_region() -> None:
    assert _made(_piece(0x1000, 2), _piece(0x3000, 1)) == [(0x1000, 3)]
    assert _made(_piece(0x1000, 2), _piece(0x4000, 1)) == [(0x1000, 2), (0x4000, 1)]
    assert _made(_piece(0x1000, 2), _piece(0x2000, 1)) == [(0x1000, 2), (0x2000, 1)]
    assert _made(_piece(0x1000), _piece(0x2000, 1, PageType.UNMEASURED)) == [(0x1000, 1), (0x2000, 1)]
    assert _made(_piece(0x1000), _piece(0x2000)._replace(origin="other")) == [(0x1000, 1), (0x2000, 1)]
    written = _piece(0x2000)._replace(page=b"p" * 4096)
    assert _made(_piece(0x1000), written, _piece(0x3000)) == [(0x1000, 1), (0x2000, 1), (0x3000, 1)]
    assert _made() == []


def test_contents_are_of_the_types_that_are_measured() -> None:
    maker = UpdateMaker(SOURCE)
    normal, unmeasured = maker.make([_piece(0x1000), _piece(0x2000, 1, PageType.UNMEASURED)])
    assert normal.data is not None
    assert unmeasured.data is None
    assert maker.make([_piece(0x1000)])[0] is normal
    assert maker.make([_piece(0x1000, page=1)])[0] is not normal


def test_a_file_makes_a_bounded_number_of_pages() -> None:
    most = 1 << 22
    for pieces in ([_piece(0, most, PageType.UNMEASURED)], [_piece(0, most - 1), _piece(most << 12)]):
        assert sum(pages for _, pages in _made(*pieces)) == most
        with pytest.raises(SevbuildError, match="more than 4194304 pages"):
            _made(*pieces, _piece(1 << 50))


def test_written_pages_are_told_apart_by_their_bytes() -> None:
    maker = UpdateMaker(SOURCE)
    one, other = (Piece(0x1000, PageType.NORMAL, 1, 0, bytes([number]) * 4096, "hashes") for number in (1, 2))
    made = [maker.make([piece])[0] for piece in (one, other, one)]
    assert [update.data for update in made] == [one.page, other.page, one.page]
    assert made[0] is made[2]
