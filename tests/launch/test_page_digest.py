"""The digest chain against ten lines that anyone can read, and the promise to hash each byte once."""

from __future__ import annotations

from hashlib import sha384

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.launch import page_digest
from sevbuild.launch.page_digest import INITIAL_DIGEST, PageHasher, extend
from sevbuild.launch.page_type import PageType
from sevbuild.launch.region_data import chunks
from sevbuild.launch.update import LaunchUpdate


def naive(data: bytes, gpa: int) -> bytes:
    """Return the digest after NORMAL pages, in the most literal way."""
    digest = bytes(48)
    for start in range(0, len(data), 4096):
        contents = sha384(data[start : start + 4096]).digest()
        middle = b"\x70\x00\x01\x00\x00\x00\x00\x00"
        digest = sha384(digest + contents + middle + (gpa + start).to_bytes(8, "little")).digest()
    return digest


# Pages of one byte, pages alike but for one byte that no sample meets, and noise.
pages = st.one_of(
    st.integers(0, 255).map(lambda byte: bytes([byte]) * 4096),
    st.integers(0, 255).map(lambda byte: bytes([byte]) * 100 + b"\x01" + bytes([byte]) * 3995),
    st.randoms(use_true_random=False).map(lambda noise: noise.randbytes(4096)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(pages, min_size=1, max_size=20), st.booleans())
def test_the_chain_is_what_the_specification_says(contents: list[bytes], as_view: bool) -> None:
    data = b"".join(contents)
    shown = memoryview(b"xx" + data)[2:] if as_view else data
    update = LaunchUpdate(0x7000, PageType.NORMAL, len(data), shown, "pages")
    hasher = PageHasher()
    assert extend(INITIAL_DIGEST, update, hasher) == naive(data, 0x7000)
    hasher.remember(shown)
    assert extend(INITIAL_DIGEST, update, hasher) == naive(data, 0x7000)


def test_a_region_larger_than_a_chunk() -> None:
    data = b"".join(index.to_bytes(4096, "little") for index in range(600))
    update = LaunchUpdate(0, PageType.NORMAL, len(data), data, "pages")
    assert extend(INITIAL_DIGEST, update, PageHasher()) == naive(data, 0)


class _Counted:
    """Count the bytes of pages that are hashed; PAGE_INFO is shorter than a page."""

    def __init__(self) -> None:
        self.pages = 0

    def __call__(self, data: bytes | memoryview) -> object:
        self.pages += len(data) >= 4096
        return sha384(data)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> _Counted:
    """Return a counter that stands for SHA-384 in the module."""
    counter = _Counted()
    monkeypatch.setattr(page_digest, "sha384", counter)
    return counter


def test_uniform_pages_are_hashed_once_per_fill(counted: _Counted) -> None:
    data = bytes(4096 * 50) + b"\xff" * (4096 * 50) + bytes(4096 * 10)
    extend(INITIAL_DIGEST, LaunchUpdate(0, PageType.NORMAL, len(data), data, "padding"), PageHasher())
    assert counted.pages == 2


def test_what_is_remembered_is_hashed_once(counted: _Counted) -> None:
    data = b"".join(index.to_bytes(4096, "big") for index in range(300))
    update = LaunchUpdate(0, PageType.NORMAL, len(data), data, "pages")
    hasher = PageHasher()
    hasher.remember(data)
    first = extend(INITIAL_DIGEST, update, hasher)
    assert extend(INITIAL_DIGEST, update, hasher) == first
    hasher.remember(data)
    extend(first, update._replace(gpa=1 << 30), hasher)
    assert counted.pages == 300


def test_a_vmsa_that_many_vcpus_share_is_hashed_once(counted: _Counted) -> None:
    hasher = PageHasher()
    for _ in range(10):
        extend(INITIAL_DIGEST, LaunchUpdate(0, PageType.VMSA, 4096, bytes(range(256)) * 16, "vmsa"), hasher)
    assert counted.pages == 1


def test_pages_whose_contents_are_not_measured_are_not_hashed(counted: _Counted) -> None:
    extend(INITIAL_DIGEST, LaunchUpdate(0, PageType.ZERO, 1 << 24, None, "zeros"), PageHasher())
    assert counted.pages == 0


class Stored:
    """Bytes that are read piece by piece; what is read is noted."""

    def __init__(self, data: bytes) -> None:
        self.data, self.pieces = data, list[int]()

    def __len__(self) -> int:
        return len(self.data)

    def read(self, start: int, end: int) -> bytes:
        assert 0 <= start < end <= len(self.data)
        self.pieces.append(end - start)
        return self.data[start:end]


def test_what_is_not_in_memory_has_the_same_digest() -> None:
    data = b"".join(index.to_bytes(4096, "little") for index in range(600))
    stored = Stored(data)
    update = LaunchUpdate(0x7000, PageType.NORMAL, len(data), stored, "pages")
    assert extend(INITIAL_DIGEST, update, PageHasher()) == naive(data, 0x7000)
    assert stored.pieces == [256 * 4096, 256 * 4096, 88 * 4096]  # each byte is read once
    hasher = PageHasher()
    hasher.remember(stored)
    assert extend(INITIAL_DIGEST, update, hasher) == naive(data, 0x7000)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 5])
def test_chunks_are_all_bytes_in_order(size: int) -> None:
    stored = Stored(b"".join(index.to_bytes(4, "little") for index in range(size // 4 + 1))[:size])
    assert b"".join(chunks(stored)) == stored.data
    whole, rest = divmod(size, 1 << 20)
    assert stored.pieces == [1 << 20] * whole + [rest] * bool(rest)
    assert list(chunks(stored.data)) == [stored.data]
