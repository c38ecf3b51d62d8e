"""The edge to the file system."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.fs import hash_files, hash_range, path_from, read_file, read_range, read_text


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_file(str(path), 100) == b"x" * 100
    with pytest.raises(SevbuildError, match="100 bytes; the limit is 99"):
        read_file(str(path), 99)
    path.write_bytes(b"")
    assert read_file(str(path), 0) == b""


def test_pipes_are_read_to_their_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe")
    os.close(writer)
    assert read_file(f"/dev/fd/{reader}", 100) == b"from a pipe"
    os.close(reader)
    with pytest.raises(SevbuildError, match="larger than the limit of 1000 bytes"):
        read_file("/dev/zero", 1000)


@pytest.mark.parametrize(
    "call",
    [
        lambda p: read_file(p, 1),
        read_text,
        lambda p: hash_files([p]),
        lambda p: read_range(p, 0, 1),
        lambda p: hash_range(p, 0, 1),
    ],
)
def test_what_cannot_be_read_is_named(call: object, tmp_path: Path) -> None:
    assert callable(call)
    with pytest.raises(SevbuildError, match=r"cannot read .*absent: No such file or directory"):
        call(str(tmp_path / "absent"))
    with pytest.raises(SevbuildError, match="Is a directory"):
        call(str(tmp_path))


def test_text_is_utf8_with_its_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("a\r\né\n".encode())
    assert read_text(str(path)) == "a\r\né\n"
    path.write_bytes(b"a\nb\n\xff\n")
    with pytest.raises(SevbuildError, match=r"text:3: not UTF-8 text"):
        read_text(str(path))


def test_hashing_streams(tmp_path: Path) -> None:
    parts = [os.urandom(700_000), b"", os.urandom(3)]
    paths = []
    for index, part in enumerate(parts):
        paths.append(str(tmp_path / str(index)))
        Path(paths[-1]).write_bytes(part)
    state, size = hash_files(paths)
    assert (state.digest(), size) == (sha256(b"".join(parts)).digest(), 700_003)
    state, size = hash_range(paths[0], 100, 600_000)
    assert (state.digest(), size) == (sha256(parts[0][100:600_100]).digest(), 600_000)
    assert read_range(paths[0], 10, 5) == parts[0][10:15]
    assert read_range(paths[2], 1, 100) == parts[2][1:]
    with pytest.raises(SevbuildError, match="ends 1 bytes too early"):
        hash_range(paths[2], 1, 3)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for name in ("file/", "file/.", "file/./"):
        with pytest.raises(SevbuildError, match="Not a directory"):
            read_file(path_from(str(tmp_path), name), 10)
    assert read_file(path_from(str(tmp_path), "./file"), 10) == b"x"
