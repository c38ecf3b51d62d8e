"""The search for the kernel-hashes verifier inside a compressed volume."""

from __future__ import annotations

import lzma
import time
from hashlib import shake_256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.image.guid import parse_guid
from sevbuild.image.kernel_hashes import ENTRY_GUIDS
from sevbuild.image.verifier import kernel_hash_verifier
from sevbuild.image.volumes import _search as search_stream

GUIDS = b"code".join(parse_guid(guid) for guid in ENTRY_GUIDS.values())
LZMA_GUID = parse_guid("ee4e5898-3914-4259-9d6e-dc7bd79403cf")


def _search(stream: memoryview, missing: set[bytes], budget: int) -> tuple[int, bool]:
    """Look for GUIDs in one stream; return the bytes unpacked, and whether that was all there is to do."""

    def look(window: bytes) -> bool:
        missing.difference_update([guid for guid in missing if guid in window])
        return not missing

    made, complete, satisfied = search_stream(stream, look, budget)
    return made, complete or satisfied


def _section(stream: bytes, *, offset: int = 24, size: int | None = None, kind: int = 2) -> bytes:
    """Return a GUID-defined section of a firmware volume around a compressed stream."""
    length = (24 + len(stream) if size is None else size).to_bytes(3, "little")
    return length + bytes([kind]) + LZMA_GUID + offset.to_bytes(2, "little") + b"\1\0" + stream


def _compressed(volume: bytes) -> bytes:
    """Return an LZMA stream that states its size, as edk2's tool writes it; Python's has -1 there."""
    stream = bytearray(lzma.compress(volume, lzma.FORMAT_ALONE, preset=1))
    stream[5:13] = len(volume).to_bytes(8, "little")
    return bytes(stream)


def _image(*sections: bytes) -> bytes:
    image = b"\xff" * 100 + b"".join(sections)
    return image + b"\xff" * (-len(image) % 4096)


def test_a_volume_with_the_three_guids_verifies() -> None:
    assert kernel_hash_verifier(_image(_section(_compressed(b"x" * 5000 + GUIDS)))) is True


def test_a_volume_without_them_does_not() -> None:
    assert kernel_hash_verifier(_image(_section(_compressed(b"x" * 5000)))) is False
    two = b"".join(parse_guid(guid) for guid in list(ENTRY_GUIDS.values())[:2])
    assert kernel_hash_verifier(_image(_section(_compressed(two)))) is False


def test_guids_outside_of_the_volume_prove_nothing() -> None:
    """The image that pretends: the GUIDs stand in its plain bytes, not in the code."""
    assert kernel_hash_verifier(_image(GUIDS, _section(_compressed(b"x" * 5000)))) is False


def test_every_volume_is_searched() -> None:
    image = _image(_section(_compressed(b"PEI" * 100)), _section(_compressed(GUIDS)))
    assert kernel_hash_verifier(image) is True


@pytest.mark.parametrize("cut", range(1, 17))
def test_a_guid_across_two_chunks_is_found(cut: int) -> None:
    volume = bytes((1 << 20) - cut) + GUIDS
    assert kernel_hash_verifier(_image(_section(_compressed(volume)))) is True


@pytest.mark.parametrize(
    "section",
    [
        b"",
        LZMA_GUID,
        _section(b""),
        _section(b"x" * 20),
        _section(_compressed(b"x" * 100)[:-40]),
        _section(_compressed(GUIDS), kind=3),
        _section(_compressed(GUIDS), offset=4),
        _section(_compressed(GUIDS), offset=0xFFFF),
        _section(_compressed(GUIDS), size=0xFFFFFF),
        _section(_compressed(GUIDS), size=10),
    ],
)
def test_what_cannot_be_read_cannot_tell(section: bytes) -> None:
    assert kernel_hash_verifier(_image(section)) is None


def test_the_marker_at_the_very_start_is_no_section() -> None:
    assert kernel_hash_verifier(LZMA_GUID + bytes(4080)) is None


@pytest.mark.slow
def test_bombs_and_crowds_are_bounded() -> None:
    crowd = _section(_compressed(bytes(30 << 20))) * 50
    bomb = _section(_compressed(bytes(60 << 20)))
    noise = _section(_compressed(shake_256(b"noise").digest(9 << 20)))
    huge = bytearray(_compressed(bytes(1000)))
    huge[5:13] = (1 << 40).to_bytes(8, "little")
    dictionary = bytearray(_compressed(bytes(1000)))
    dictionary[1:5] = b"\xff\xff\xff\xff"
    start = time.process_time()
    assert kernel_hash_verifier(_image(crowd)) is False
    assert kernel_hash_verifier(_image(bomb)) is None
    assert kernel_hash_verifier(_image(noise)) is None
    assert kernel_hash_verifier(_image(_section(bytes(huge)))) is None
    assert kernel_hash_verifier(_image(_section(bytes(dictionary)))) is None
    assert kernel_hash_verifier(_image(LZMA_GUID * 4000)) is None
    assert time.process_time() - start < 3


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_never_escapes(data: st.DataObject) -> None:
    image = bytearray(_image(_section(_compressed(b"x" * 2000 + GUIDS))))
    for _ in range(data.draw(st.integers(1, 8))):
        image[data.draw(st.integers(90, 300))] = data.draw(st.integers(0, 255))
    assert kernel_hash_verifier(bytes(image)) in (True, False, None)


def _with_header(*, dictionary: int | None = None, unpacked: int | None = None) -> bytes:
    stream = bytearray(_compressed(GUIDS + bytes(2 << 20)))
    if dictionary is not None:
        stream[1:5] = dictionary.to_bytes(4, "little")
    if unpacked is not None:
        stream[5:13] = unpacked.to_bytes(8, "little")
    return _section(bytes(stream))


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (_with_header(dictionary=64 << 20), True),
        (_with_header(dictionary=(64 << 20) + 1), None),
        (_with_header(dictionary=65 << 20), None),
        (_with_header(unpacked=64 << 20), True),
        (_with_header(unpacked=(64 << 20) + 1), None),
        (_with_header(unpacked=1 << 56), None),
    ],
)
def test_a_volume_states_sizes_that_are_bounded(section: bytes, expected: bool | None) -> None:
    assert kernel_hash_verifier(_image(section)) is expected


def test_a_section_may_fill_the_image() -> None:
    section = _section(_compressed(b"x" * 5000 + GUIDS))
    assert kernel_hash_verifier(section) is True
    assert kernel_hash_verifier(section[:-1]) is None


def test_a_section_may_be_long_and_its_data_far_from_its_head() -> None:
    noise = shake_256(b"noise").digest(70_000)
    assert kernel_hash_verifier(_image(_section(_compressed(noise + GUIDS)))) is True
    stream = _compressed(b"x" * 5000 + GUIDS)
    far = _section(bytes(600 - 24) + stream, offset=600)
    assert kernel_hash_verifier(_image(far)) is True


def test_what_stands_at_the_start_does_not_end_the_search() -> None:
    assert kernel_hash_verifier(LZMA_GUID + bytes(100) + _section(_compressed(GUIDS))) is True


def test_input_and_output_are_bounded_in_all() -> None:
    verifies = _section(_compressed(GUIDS))
    short = _section(_compressed(b"x") + bytes(5 << 20))
    long = _section(_compressed(b"x") + bytes(6 << 20))
    assert kernel_hash_verifier(_image(short, verifies)) is True
    assert kernel_hash_verifier(_image(long, verifies)) is False
    large = _section(_compressed(bytes(30 << 20)))
    assert kernel_hash_verifier(_image(large, verifies)) is True
    assert kernel_hash_verifier(_image(large, _section(_compressed(bytes(30 << 20) + GUIDS)))) is False
    # Eight sections are looked at.
    none = _section(_compressed(b"x"))
    assert kernel_hash_verifier(_image(*[none] * 7, verifies)) is True
    assert kernel_hash_verifier(_image(*[none] * 8, verifies)) is False


def test_no_more_is_decompressed_than_is_left() -> None:
    stream = memoryview(_compressed(bytes(100_000)))
    for budget in (0, 1, 1000, 99_999):
        assert _search(stream, {b"?" * 16}, budget) == (budget, False)
    assert _search(stream, {b"?" * 16}, 100_001) == (100_000, True)


def test_a_marker_too_near_the_start_has_no_section_before_it() -> None:
    """Three bytes before the marker are no head: read from the end of the image they would be one."""
    stream = _compressed(GUIDS)
    section = _section(stream)
    image = bytearray(section[1:] + bytes(100))
    image[-1] = section[0]
    assert kernel_hash_verifier(bytes(image)) is None


def test_a_stream_that_breaks_off_is_not_read_to_its_end() -> None:
    """What was decompressed before the damage holds no GUID; what comes after could."""
    stream = bytearray(_compressed(bytes(2 << 20) + shake_256(b"noise").digest(50_000)))
    stream[3000:3100] = b"\xff" * 100
    assert _search(memoryview(bytes(stream)), {b"?" * 16}, 40 << 20)[1] is False
    assert kernel_hash_verifier(_image(_section(bytes(stream)))) is None


def test_a_volume_that_is_cut_off_or_fed_in_part_is_searched_as_far_as_it_goes() -> None:
    noise = shake_256(b"noise").digest(200_000)
    whole = _compressed(noise + GUIDS + noise)
    assert _search(memoryview(whole)[:1000], {b"?" * 16}, 40 << 20)[1] is False
    assert (
        _search(memoryview(whole)[:300_000], {parse_guid(next(iter(ENTRY_GUIDS.values())))}, 40 << 20)[1]
        is True
    )


def test_a_guid_across_two_chunks_of_many_is_found() -> None:
    volume = bytes((3 << 20) - 20) + b"x" * 12 + GUIDS
    assert kernel_hash_verifier(_image(_section(_compressed(volume)))) is True
    for chunk in (1, 2, 3, 5):
        volume = shake_256(b"noise").digest((chunk << 20) - 8) + GUIDS
        assert kernel_hash_verifier(_image(_section(_compressed(volume)))) is True


def test_no_more_is_decompressed_than_is_left_whatever_is_left_of_the_input() -> None:
    zeros = memoryview(_compressed(bytes(3 << 20)))
    noise = memoryview(_compressed(shake_256(b"noise").digest(300_000)))
    for stream, budget in ((zeros, (1 << 20) + 1000), (zeros, 2 << 20), (noise, 1000), (noise, 200_000)):
        assert _search(stream, {b"?" * 16}, budget) == (budget, False)


def test_a_stream_of_a_head_alone_ends_the_search() -> None:
    assert _search(memoryview(_compressed(b"x" * 1000))[:13], {b"?" * 16}, 1000) == (0, False)
