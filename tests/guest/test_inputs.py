"""What a reader of inputs reads, when, and what it says of files that are not what they should be."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from sevbuild.errors import FaultsError, MismatchError, SevbuildError
from sevbuild.guest.inputs import Extent, HashedInput, InputReader, Network, Range, read_hashed
from sevbuild.manifest.inputs import CMDLINE, FIRMWARE, INITRD, KERNEL, DeclaredInput, PathSource, UrlSource
from sevbuild.progress import Meter
from tests.support.firmware import standard_firmware
from tests.support.guests import digest_of, guest_of
from tests.support.pe import make_uki

UKI = make_uki([(".linux", b"kernel"), (".cmdline", b"quiet")])


class Shown:
    """Progress that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int | None]] = []

    @contextmanager
    def __call__(self, name: str, *, unit: str = "bytes") -> Iterator[Meter]:
        assert unit == "bytes"
        yield lambda have, total: self.told.append((name, have, total))


def _kernel(*names: str) -> DeclaredInput:
    return DeclaredInput(KERNEL, "kernel.path", tuple(PathSource(name) for name in names))


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UrlSource:
    """Return an image that is in the cache, from where nothing is fetched."""
    digest = sha256(UKI).digest()
    (tmp_path / "cache" / "sha256").mkdir(parents=True)
    (tmp_path / "cache" / "sha256" / digest.hex()).write_bytes(UKI)
    monkeypatch.setenv("SEVBUILD_CACHE", str(tmp_path / "cache"))
    return UrlSource("https://example.org/image.efi", digest, 1 << 20)


def _offline(folder: Path) -> InputReader:
    return InputReader(str(folder), Network(offline=True))


def test_the_pin_of_an_image_is_of_all_of_it_where_its_parts_are_measured(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "image.efi").write_bytes(UKI)
    kernel = {"uki": "image.efi", "uki-as": "parts"}
    pinned = {**kernel, "sha256": sha256(UKI).hexdigest()}
    firmware = {"path": "OVMF.fd"}
    assert digest_of(tmp_path, firmware=firmware, kernel=pinned) == digest_of(
        tmp_path, firmware=firmware, kernel=kernel
    )


def test_what_needs_no_hashing_is_known_from_the_start(tmp_path: Path, cached: UrlSource) -> None:
    reader = _offline(tmp_path)
    (tmp_path / "kernel").write_bytes(b"kernel")
    assert reader.is_found(DeclaredInput(KERNEL, "kernel.sha256", (), bytes(32)))
    assert reader.is_found(DeclaredInput(CMDLINE, "kernel.cmdline-file", (PathSource("line"),)))
    kernel, fetched = _kernel("kernel"), DeclaredInput(KERNEL, "kernel.url", (cached,))
    for declared in (kernel, fetched):
        assert not reader.is_found(declared)
        reader.found(declared)
        assert reader.is_found(declared)


def test_whether_a_url_is_known_is_told_without_fetching_it(tmp_path: Path, cached: UrlSource) -> None:
    elsewhere = cached._replace(sha256=bytes(32))
    assert not _offline(tmp_path).is_found(DeclaredInput(INITRD, "initrd.url", (PathSource("a"), elsewhere)))


def test_a_firmware_that_is_not_the_pinned_one_is_told_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(b"text")
    declared = DeclaredInput(FIRMWARE, "firmware.path", (PathSource("OVMF.fd"),), sha256(b"text").digest())
    with pytest.raises(SevbuildError) as malformed:
        _offline(tmp_path).firmware(declared)
    # A file is named as it was opened.
    assert malformed.value.message.startswith(f"{tmp_path / 'OVMF.fd'}: not a firmware image")
    with pytest.raises(MismatchError, match=r"^OVMF\.fd: sha256 is"):
        _offline(tmp_path).firmware(declared._replace(pin=bytes(32)))


def test_a_firmware_by_url_is_called_by_its_url(tmp_path: Path, cached: UrlSource) -> None:
    with pytest.raises(SevbuildError, match=rf"^{cached.name}: not a firmware image"):
        _offline(tmp_path).firmware(DeclaredInput(FIRMWARE, "firmware.url", (cached,)))


def test_work_that_has_begun_is_waited_for_and_holds_no_exit_up(tmp_path: Path) -> None:
    reader, ended = _offline(tmp_path), threading.Event()
    go_on = threading.Event()

    def work(_paths: Sequence[str], _part: Range | None, _each: list[bytes] | None) -> HashedInput:
        go_on.wait(10)
        ended.set()
        return HashedInput(bytes(32), 0)

    extent, before = Extent((PathSource("kernel"),)), set(threading.enumerate())
    reader.hash_with(extent, work)
    reader.start_hashing(extent)
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon
    threading.Timer(0.05, go_on.set).start()
    reader.settle()
    assert ended.is_set()
    assert not thread.is_alive()


def test_an_error_of_the_background_is_raised_where_the_digest_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(9))
    with pytest.raises(SevbuildError, match=r"cannot read .*absent: No such file"):
        _offline(tmp_path).hashed(Extent((PathSource("absent"),)))
    with pytest.raises(SevbuildError, match="ends 2 bytes too early"):
        _offline(tmp_path).hashed(Extent((PathSource("short"),), (1, 10)))


def test_no_part_of_a_damaged_copy_in_the_cache_is_used(tmp_path: Path, cached: UrlSource) -> None:
    reader = _offline(tmp_path)
    assert reader.read_part(cached, 0, 2) == b"MZ"
    assert reader.size(cached) == len(UKI)
    (tmp_path / "cache" / "sha256" / cached.sha256.hex()).write_bytes(UKI[:-1] + b"x")
    with pytest.raises(MismatchError, match="its copy in the cache was damaged"):
        _offline(tmp_path).read_part(cached, 0, 2)
    with pytest.raises(SevbuildError, match="not in the cache"):
        _offline(tmp_path).size(cached)


def test_to_read_a_part_of_a_file_is_not_to_hash_it(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"kernel")
    reader = _offline(tmp_path)
    assert reader.read_part(PathSource("kernel"), 1, 3) == b"ern"
    assert reader.size(PathSource("kernel")) == 6
    assert not reader.is_found(_kernel("kernel"))


@pytest.mark.parametrize(("part", "data"), [(None, b"0123456789"), ((2, 5), b"23456"), ((0, 4), b"0123")])
def test_progress_is_out_of_the_bytes_that_are_read(tmp_path: Path, part: Range | None, data: bytes) -> None:
    path, shown, pieces = str(tmp_path / "kernel"), Shown(), []
    Path(path).write_bytes(b"0123456789")
    expected = HashedInput(sha256(data).digest(), len(data))
    assert read_hashed([path], part, progress=shown) == expected
    assert shown.told == [(path, len(data), len(data))]
    assert read_hashed([path], part, progress=shown, write=lambda it: pieces.append(bytes(it))) == expected
    assert b"".join(pieces) == data


def test_every_file_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    guest = guest_of(tmp_path, firmware={"path": "OVMF.fd"}, kernel={"path": "kernel"})
    with pytest.raises(FaultsError) as missing:
        guest.measure()
    assert [fault.path for fault in missing.value.faults] == ["firmware.path", "kernel.path"]
