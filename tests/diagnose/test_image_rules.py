"""Kernels, initrds, firmware images and SVSMs as other loaders, tools and releases have them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from itertools import permutations
from pathlib import Path
from struct import pack
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.diagnose.change import SEEN, Change, Material, Start
from sevbuild.diagnose.rules.all_rules import changes_for
from sevbuild.diagnose.rules.images import code_of
from sevbuild.diagnose.rules.setup_header import patched_header, with_device_tree
from sevbuild.diagnose.settings import changed_settings
from sevbuild.diagnose.setup import LaidOut
from sevbuild.errors import SevbuildError
from sevbuild.image.kernel_hashes import KernelHashes, cmdline_digest
from sevbuild.image.ovmf import Firmware, parse_firmware
from sevbuild.launch.region_data import Contents
from tests.support.firmware import SECTIONS, standard_firmware, standard_svsm, variable_volume
from tests.support.guests import write_manifest
from tests.support.kernels import BZIMAGE
from tests.support.pe import make_uki
from tests.support.real import real_file, real_kernels
from tests.support.starts import (
    PARTS,
    by_value,
    digest,
    edited_digest,
    kernel_guest,
    profiles,
    start_of,
)


def axis_of(start: Start, axis: str) -> dict[str, Change]:
    return by_value(changes_for(start, profiles()), axis)


def hashes_after(start: Start, change: Change) -> KernelHashes:
    setup = change.apply(start.setup)
    assert isinstance(setup, LaidOut)
    assert setup.launched.kernel_hashes is not None
    return setup.launched.kernel_hashes


class Elsewhere:
    """Contents that are not held in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def read(self, start: int, end: int) -> bytes:
        return self.data[start:end]


def kernel_of(version: int = 0x20F, flags: int = 3, most: int = 0x7FFFFFFF, size: int = 0x5005) -> bytes:
    """Return a kernel with a setup header of four sectors, of which every other byte is 0x11."""
    data = bytearray(b"\x11" * size)
    data[0x1F1] = 4
    data[0x201:0x206] = b"\x66HdrS"
    data[0x206:0x208] = pack("<H", version)
    data[0x22C:0x230] = pack("<I", most)
    data[0x236:0x238] = pack("<H", flags)
    return bytes(data)


@pytest.mark.parametrize("wrap", [bytes, Elsewhere])
def test_a_header_is_written_at_its_offsets(wrap: Callable[[bytes], Contents]) -> None:
    kernel = kernel_of()
    found = b"".join(patched_header(wrap(kernel), None, 0))
    changed = {at: found[at] for at in range(len(kernel)) if found[at] != kernel[at]}
    assert changed == {
        0x210: 0xB0, 0x211: 0x91, 0x224: 0x00, 0x225: 0xFE, 0x228: 0, 0x229: 0, 0x22A: 2, 0x22B: 0,
    }  # fmt: skip
    assert len(found) == len(kernel)
    initrd = b"".join(patched_header(wrap(kernel), 0x7FFD7FFF, 0x1801))
    assert initrd[0x218:0x220] == pack("<II", 0x7FFD6000, 0x1801)


@pytest.mark.parametrize(
    ("version", "flags", "most"),
    [(0x20F, 2, 0xFFFFFFFF), (0x20F, 0, 0x12345678), (0x203, 2, 0x12345678), (0x202, 2, 0x37FFFFFF)],
)
def test_an_initrd_lies_as_high_as_kernel_and_memory_allow(version: int, flags: int, most: int) -> None:
    kernel = kernel_of(version, flags, 0x12345678)
    for limit in (0x1000000, 0xFFFFFFFF):
        found = b"".join(patched_header(kernel, limit, 0x1000))
        assert found[0x218:0x21C] == pack("<I", (min(limit, most) - 0x1000) & ~0xFFF)


def test_of_a_header_that_says_it_ends_at_once_nothing_is_known() -> None:
    kernel = bytearray(kernel_of())
    kernel[0x201] = 0
    found = b"".join(patched_header(bytes(kernel), 0xFFFFFFFF, 0x1000))
    assert found[0x218:0x21C] == pack("<I", 0x37FFE000)
    assert found[0x211] == 0x80


def test_a_device_tree_follows_the_protected_mode_part() -> None:
    kernel = kernel_of()
    found = b"".join(with_device_tree(kernel, b"tree"))
    setup = 5 * 512
    padding = -(len(kernel) - setup) % 16
    assert found == kernel + bytes(padding) + pack("<QII", 0, 2, 4) + b"tree"
    assert padding
    for write in (patched_header(BZIMAGE[:0x220], None, 0), patched_header(b"x" * 9000, None, 0)):
        with pytest.raises(SevbuildError, match="no setup header"):
            list(write)
    with pytest.raises(SevbuildError, match="no setup header"):
        list(with_device_tree(b"x" * 9000, b""))


@given(st.binary(max_size=0x400), st.booleans(), st.integers(0, 1 << 40))
def test_whatever_is_no_kernel_is_refused(noise: bytes, headed: bool, size: int) -> None:
    data = bytearray(noise.ljust(0x310, b"\xff"))
    if headed:
        data[0x202:0x206] = b"HdrS"
    image = bytes(data)
    for write in (patched_header(image, 0xFFFF_FFFF, size), with_device_tree(image, noise)):
        if headed:
            assert len(b"".join(write)) >= len(image)
        elif image[0x202:0x206] != b"HdrS":
            with pytest.raises(SevbuildError, match="no setup header"):
                list(write)
    code = code_of(image)
    assert code is None or image.endswith(code)


def test_each_kernel_is_hashed_when_it_is_wanted(tmp_path: Path) -> None:
    base, reads = start_of(kernel_guest(tmp_path)), list[str]()

    def kernel() -> Contents:
        reads.append("kernel")
        return kernel_of()

    start = base._replace(material=base.material._replace(kernel=kernel, dtb=b"tree"))
    found = axis_of(start, "kernel")
    applied = {name: change.apply(start.setup) for name, change in found.items()}
    assert len(applied) == 11
    assert not reads
    assert hashes_after(start, found["empty"]).kernel == sha256(b"").digest()
    wanted = sha256(b"".join(with_device_tree(kernel_of(), b"tree"))).digest()
    assert hashes_after(start, found["dtb"]).kernel == wanted
    assert (found["dtb"].weight < SEEN, found["header"].weight < SEEN) == (True, False)
    size = sum(map(len, PARTS.values()))
    pc = b"".join(patched_header(kernel_of(), 0xC0000000 - 0x28001, size))
    name = "header, 3 GiB below 4 GiB (machine pc)"
    assert hashes_after(start, found[name]).kernel == sha256(pc).digest()
    assert changed_settings(start, applied["header"], profiles()).keys() == {"kernel"}
    before = len(reads)
    assert hashes_after(start, found["dtb"])
    assert len(reads) == before
    # One that is none is no launch.
    other = base._replace(material=base.material._replace(kernel=lambda: b"none"))
    with pytest.raises(SevbuildError, match="no setup header"):
        digest(axis_of(other, "kernel")["header"].apply(other.setup))


def test_of_a_kernel_that_is_known_by_its_digest_nothing_is_written(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path))
    start = start._replace(material=start.material._replace(kernel=None))
    assert set(axis_of(start, "kernel")) == {"empty"}


def test_a_real_kernel_has_a_header_to_write() -> None:
    kernel = real_kernels()[0].read_bytes()
    found = b"".join(patched_header(kernel, 0x80000000 - 0x28001, 26 << 20))
    assert found[0x2000:] == kernel[0x2000:]
    assert found[0x210] == 0xB0
    assert found[0x218:0x220] == pack("<II", (0x7FFD7FFF - (26 << 20)) & ~0xFFF, 26 << 20)
    assert b"".join(with_device_tree(kernel, b"")).startswith(kernel)


def test_the_parts_of_an_initrd_in_every_order(tmp_path: Path) -> None:
    manifest = kernel_guest(tmp_path)
    start = start_of(manifest)
    found = axis_of(start, "initrd")
    data = list(PARTS.values())
    orders = {
        order
        for size in (1, 2, 3)
        for order in permutations(range(3), size)
        if size == 3 or list(order) == sorted(order)
    } - {(0, 1, 2)}
    names = {"parts " + ", ".join(str(part + 1) for part in order): order for order in orders}
    assert set(found) == {*names, "none", "padded"}
    for name, order in names.items():
        wanted = sha256(b"".join(data[part] for part in order)).digest()
        assert hashes_after(start, found[name]).initrd == wanted
        assert digest(found[name].apply(start.setup)) == edited_digest(manifest, found[name].edits)
    urls = start._replace(material=start.material._replace(initrd_names=("https://x/1", "b", "c")))
    assert axis_of(urls, "initrd")["parts 2, 1, 3"].edits == ()
    padded = b"".join(part.ljust(-(-len(part) // 4) * 4, b"\0") for part in data)
    assert hashes_after(start, found["padded"]).initrd == sha256(padded).digest()
    assert digest(found["none"].apply(start.setup)) == edited_digest(manifest, found["none"].edits)


@pytest.mark.parametrize(("count", "orders"), [(1, 0), (2, 3), (4, 4 + 4 + 23), (5, 5 + 5 + 119), (6, 0)])
def test_no_more_than_five_parts_change_places(count: int, orders: int, tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path))
    parts = tuple(partial(bytes, 3 + number) for number in range(count))
    material = start.material._replace(initrd=parts)
    changes = axis_of(start._replace(material=material), "initrd")
    assert len([name for name in changes if name.startswith("parts")]) == orders
    assert all(not change.edits for name, change in changes.items() if name.startswith("parts"))


def test_parts_in_two_orders_read_what_they_share_once(tmp_path: Path) -> None:
    start, reads = start_of(kernel_guest(tmp_path)), list[int]()

    def part(number: int) -> Callable[[], bytes]:
        def read() -> bytes:
            reads.append(number)
            return b"x%d" % number

        return read

    material = start.material._replace(initrd=tuple(map(part, range(3))))
    changes = axis_of(start._replace(material=material), "initrd")
    for name in ("parts 2, 1, 3", "parts 2, 3, 1", "parts 2"):
        assert hashes_after(start, changes[name])
    assert reads == [1, 0, 2, 2, 0]


def test_without_an_initrd_there_is_none_to_take_away(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path, initrd=None))
    assert axis_of(start, "initrd") == {}


def test_an_image_is_taken_whole_or_by_its_parts(tmp_path: Path) -> None:
    sections = [(".linux", b"kernel"), (".initrd", b"initrd"), (".cmdline", b"quiet\n")]
    image = make_uki(sections)
    (tmp_path / "image.efi").write_bytes(image)
    tables = {"initrd": None, "kernel": {"uki": "image.efi", "uki-as": "parts"}}
    manifest = kernel_guest(tmp_path, **tables)
    start = start_of(manifest)._replace(
        material=Material(
            b"quiet", lambda: b"kernel", (lambda: b"initrd",), image=lambda: image, cmdline_key=None
        )
    )
    change = axis_of(start, "kernel-hashes")["image"]
    assert digest(change.apply(start.setup)) == edited_digest(manifest, change.edits)
    whole = kernel_guest(tmp_path, initrd=None, kernel={"uki": "image.efi", "uki-as": "kernel"})
    start = start_of(whole)._replace(material=Material(b"", lambda: image))
    change = axis_of(start, "kernel-hashes")["parts"]
    assert digest(change.apply(start.setup)) == edited_digest(whole, change.edits)
    assert set(changed_settings(start, change.apply(start.setup), profiles())) == {
        "kernel",
        "initrd",
        "cmdline",
    }
    bare = make_uki([(".linux", b"kernel")])
    start = start._replace(material=Material(b"", lambda: bare))
    found = hashes_after(start, axis_of(start, "kernel-hashes")["parts"])
    assert found == KernelHashes(sha256(b"kernel").digest(), sha256(b"").digest(), cmdline_digest(b""))
    start = start._replace(material=Material(b"", lambda: BZIMAGE))
    with pytest.raises(SevbuildError, match="no unified kernel image"):
        digest(axis_of(start, "kernel-hashes")["parts"].apply(start.setup))


def test_the_code_of_a_flash_image(tmp_path: Path) -> None:
    manifest = kernel_guest(tmp_path)
    code = standard_firmware()
    whole = variable_volume(0x8000) + code
    (tmp_path / "OVMF.fd").write_bytes(whole)
    start = start_of(manifest)
    change = axis_of(start, "firmware")["code"]
    (tmp_path / "OVMF.fd").write_bytes(code)
    assert digest(change.apply(start.setup)) == edited_digest(manifest, ())
    assert changed_settings(start, change.apply(start.setup), profiles()) == {
        "firmware": (sha256(whole).hexdigest(), sha256(code).hexdigest())
    }
    # It is the code alone already.
    assert axis_of(start_of(manifest), "firmware") == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"OVMF" * 4096,
        variable_volume(0x8000),
        variable_volume(0x8001) + bytes(4096),
        variable_volume(0)[:0x2C] + bytes(4096),
        variable_volume(0x8000, str(UUID(int=0))) + bytes(4096),
    ],
)
def test_what_begins_with_no_variables_has_no_code_of_its_own(data: bytes) -> None:
    assert code_of(data) is None


def test_what_follows_the_variables_can_be_no_firmware(tmp_path: Path) -> None:
    manifest = kernel_guest(tmp_path)
    broken = bytearray(standard_firmware())
    broken[-50:-48] = b"\xff\xff"
    data = variable_volume(0x8000) + standard_firmware()
    (tmp_path / "OVMF.fd").write_bytes(data)
    start = start_of(manifest)
    setup = start.setup
    assert isinstance(setup, LaidOut)
    assert isinstance(setup.inputs.firmware, Firmware)
    image = setup.inputs.firmware._replace(data=variable_volume(0x8000) + bytes(broken))
    start = start._replace(setup=setup._replace(inputs=setup.inputs._replace(firmware=image)))
    assert axis_of(start, "firmware") == {}


def test_debian_s_images_are_variables_and_code() -> None:
    whole = real_file("/usr/share/ovmf/OVMF.fd").read_bytes()
    assert code_of(whole) == real_file("/usr/share/OVMF/OVMF_CODE.fd").read_bytes()


def svsm_guest(folder: Path, firmware: bytes) -> Path:
    (folder / "OVMF.fd").write_bytes(firmware)
    (folder / "svsm.bin").write_bytes(standard_svsm())
    return write_manifest(
        folder,
        launch={"profile": "svsm-qemu"},
        firmware={"path": "OVMF.fd"},
        svsm={"path": "svsm.bin", "vars-size": 0x84000},
        vcpu={"count": 2},
    )


def test_an_svsm_lies_below_another_variable_store(tmp_path: Path) -> None:
    manifest = svsm_guest(tmp_path, standard_firmware())
    start = start_of(manifest)
    found = axis_of(start, "svsm")
    assert set(found) == {"0x20000 below", "0x0 below"}
    for change in found.values():
        assert digest(change.apply(start.setup)) == edited_digest(manifest, change.edits)
        assert changed_settings(start, change.apply(start.setup), profiles()).keys() == {"svsm"}
    assert axis_of(start, "cpu")
    # Sections are those of the SVSM.
    assert "no kernel-hashes" not in axis_of(start, "sections")
    left_out = axis_of(start, "sections")["no cpuid"].apply(start.setup)
    assert isinstance(left_out, LaidOut)
    assert left_out.launched.svsm is not None
    assert [section.kind for section in left_out.launched.svsm.sections] == [1, 2]


def test_below_another_image_an_svsm_keeps_its_distance(tmp_path: Path) -> None:
    code = standard_firmware()
    manifest = svsm_guest(tmp_path, variable_volume(0x8000) + code)
    start = start_of(manifest)
    firmware, svsm = axis_of(start, "firmware")["code"], axis_of(start, "svsm")["0x0 below"]
    both = svsm.apply(firmware.apply(start.setup))
    assert both == firmware.apply(svsm.apply(start.setup))
    (tmp_path / "OVMF.fd").write_bytes(code)
    assert digest(firmware.apply(start.setup)) == edited_digest(manifest, ())
    assert digest(both) == edited_digest(manifest, svsm.edits)


def test_a_seed_can_have_the_sections_of_another_era(tmp_path: Path) -> None:
    sections = [{"gpa": gpa, "size": size, "kind": kind} for gpa, size, kind in SECTIONS]
    metadata = {"reset": 0x80B004, "hash-table": 0x810C00, "sections": sections}
    manifest = write_manifest(tmp_path, firmware={"seed": "07" * 48, "metadata": metadata})
    start = start_of(manifest)
    found = axis_of(start, "sections")
    layouts = [name for name in found if "2024-08" in name]
    assert len(layouts) == 4
    for name in layouts:
        assert digest(found[name].apply(start.setup)) == edited_digest(manifest, found[name].edits)
        settings = changed_settings(start, found[name].apply(start.setup), profiles())
        assert settings.keys() == {"sections"}
    assert axis_of(start, "firmware") == {}
    left_out = found["no cpuid"].apply(start.setup)
    assert isinstance(left_out, LaidOut)
    assert [section.kind for section in left_out.launched.firmware.metadata.sections or ()] == [1, 2, 0x10]
    # Of a file the sections are known.
    file = parse_firmware(standard_firmware())
    assert isinstance(start.setup, LaidOut)
    of_file = start.setup._replace(inputs=start.setup.inputs._replace(firmware=file))
    assert all(found[name].apply(of_file) == of_file for name in layouts)
    (tmp_path / "file").mkdir()
    assert not [
        name for name in axis_of(start_of(kernel_guest(tmp_path / "file")), "sections") if "2024" in name
    ]
