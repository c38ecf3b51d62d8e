"""What a file is, by its first bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.kind import HEAD_SIZE, KINDS, kind_of
from tests.support.firmware import make_firmware
from tests.support.kernels import BZIMAGE, CPIO
from tests.support.pe import make_uki
from tests.support.real import newest_file, real_file, real_kernels
from tests.support.shared import ROOT


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "empty"),
        (BZIMAGE, "bzimage"),
        (BZIMAGE[2:].rjust(len(BZIMAGE), b"\xea"), "bzimage"),
        (make_uki([(".linux", b"k"), (".cmdline", b"x")]), "uki"),
        (make_uki([(".text", b"k")]), "efi"),
        (CPIO, "cpio"),
        (b"\0" * 512 + CPIO, "cpio"),
        (gzip.compress(CPIO, mtime=0), "gzip"),
        (bz2.compress(CPIO), "bzip2"),
        (lzma.compress(CPIO), "xz"),
        (lzma.compress(CPIO, format=lzma.FORMAT_ALONE), "lzma"),
        (b"\x28\xb5\x2f\xfd\0", "zstd"),
        (b"\x02\x21\x4c\x18\0", "lz4"),
        (b"IGVM\x01\0\0\0", "igvm"),
        (b"\x7fELF\x02", "elf"),
        (b"\0" * 0x28 + b"_FVH", "firmware-volume"),
        (b'schema = 1\n[guest]\nname = "caf\xc3\xa9"\n', "document"),
        ("ü".encode() * 400, "document"),
    ],
)
def test_a_kind_is_told_from_the_first_bytes(data: bytes, name: str) -> None:
    assert kind_of(data) == KINDS[name]


@pytest.mark.parametrize("data", [b"\x01", b"kernel\x00\x01", b"MZ", b"MZ" * 600, make_firmware(size=0x1000)])
def test_what_is_not_told(data: bytes) -> None:
    assert kind_of(data) is None or kind_of(data) == KINDS["document"]
    assert kind_of(b"\xff" + data) is None


@given(st.binary(max_size=600), st.sampled_from([BZIMAGE, make_uki([(".linux", b"k")]), CPIO, b""]))
def test_any_bytes_have_a_kind_or_none(noise: bytes, start: bytes) -> None:
    found = kind_of(start + noise)
    assert found is None or found.name in KINDS
    assert kind_of((start + noise).ljust(HEAD_SIZE, b"\0") + noise) == kind_of(
        (start + noise).ljust(HEAD_SIZE, b"\0")
    )


def test_hello_is_no_archive() -> None:
    assert kind_of((ROOT / "guests/hello/hello.fd").read_bytes()) is None


def test_real_kernels_and_firmware() -> None:
    for kernel in real_kernels():
        assert kind_of(kernel.read_bytes()[:HEAD_SIZE]) == KINDS["bzimage"]
    for firmware in (real_file("/usr/share/ovmf/OVMF.fd"), newest_file("usr/share/ovmf/OVMF.amdsev.fd")):
        assert kind_of(firmware.read_bytes()) == KINDS["firmware-volume"]
