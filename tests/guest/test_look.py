"""`check` knows what it looks at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sevbuild.guest.guest import load_guest
from sevbuild.guest.look import look_at_guest
from tests.support.cli import Result, run
from tests.support.guests import write_manifest
from tests.support.kernels import BZIMAGE, CPIO
from tests.support.pe import make_uki
from tests.support.real import newest_file, real_kernels
from tests.support.shared import ROOT

UKI = make_uki([(".linux", BZIMAGE), (".initrd", CPIO), (".cmdline", b"quiet")])
HELLO = (ROOT / "guests/hello/hello.fd").read_bytes()
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def check(folder: Path, *options: str, **files: bytes | None) -> Result:
    """Check a guest whose files have these contents; None leaves the file out."""
    contents: dict[str, bytes | None] = {"firmware": HELLO, "kernel": BZIMAGE, "initrd": CPIO, **files}
    for name, data in contents.items():
        if data is not None:
            (folder / name).write_bytes(data)
    kernel = {"path": "kernel", "cmdline": "quiet"}
    if "uki" in files:
        kernel = {"uki": "uki", "uki-as": "kernel"}
    path = write_manifest(folder, firmware={"path": "firmware"}, kernel=kernel, initrd={"path": "initrd"})
    return run("check", *options, path)


def test_a_guest_of_the_right_files_has_nothing_to_say_of_them(tmp_path: Path) -> None:
    result = check(tmp_path)
    assert result.status == 0
    assert "kernel is" not in result.err
    assert not [line for line in result.err.splitlines() if " is " in line and "initrd" in line]


def test_swapped_kernel_and_initrd_are_one_fault(tmp_path: Path) -> None:
    result = check(tmp_path, kernel=CPIO, initrd=BZIMAGE)
    assert result.status == 2
    assert result.err.count("are swapped") == 1
    assert "kernel.path" in result.err
    assert "hint" not in result.err


@pytest.mark.parametrize(
    ("files", "key", "what"),
    [
        ({"kernel": CPIO}, "kernel.path", "kernel is a cpio archive, not a Linux kernel"),
        ({"kernel": LFS}, "kernel.path", "kernel is a text document, not a Linux kernel"),
        ({"kernel": b""}, "kernel.path", "kernel is an empty file, not a Linux kernel"),
        ({"kernel": b"\x7fELF\x02"}, "kernel.path", "kernel is an ELF file, not a Linux kernel"),
        ({"kernel": b"IGVM\1\0\0\0"}, "kernel.path", "kernel is an IGVM file, not a Linux kernel"),
        ({"initrd": BZIMAGE}, "initrd.path", "initrd is a Linux kernel (bzImage), not an initrd"),
        ({"initrd": b"<html>\n"}, "initrd.path", "initrd is a text document, not an initrd"),
        ({"firmware": BZIMAGE}, "firmware.path", "firmware is a Linux kernel (bzImage), not a firmware"),
        ({"firmware": LFS}, "firmware.path", "firmware is a text document, not a firmware"),
        ({"firmware": b"IGVM\1\0\0\0"}, "firmware.path", "firmware is an IGVM file, not a firmware"),
        ({"uki": BZIMAGE}, "kernel.uki", "uki is a Linux kernel (bzImage), not a unified kernel image"),
    ],
)
def test_a_file_that_is_another_thing_is_a_fault(
    tmp_path: Path, files: dict[str, bytes | None], key: str, what: str
) -> None:
    result = check(tmp_path, **files)
    assert result.status == 2
    line = next(line for line in result.err.splitlines() if what in line)
    assert "guest.toml:" in line
    assert key in line


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"kernel": b"\x01\x02" * 999}, "is kernel a Linux kernel? it is not a bzImage"),
        ({"initrd": b"\x01\x02" * 999}, "is initrd an initrd? it is neither a cpio archive"),
        ({"kernel": UKI}, "kernel is a unified kernel image (UKI), and is measured whole as the kernel"),
    ],
)
def test_what_cannot_be_told_is_a_warning(tmp_path: Path, files: dict[str, bytes | None], what: str) -> None:
    result = check(tmp_path, **files)
    assert result.status == 0
    assert what in result.err
    assert "0 warnings" not in result.out


def test_a_firmware_that_is_no_ovmf(tmp_path: Path) -> None:
    (tmp_path / "flash").write_bytes(b"\x01" * 65536)
    path = write_manifest(tmp_path, launch={"mode": "sev"}, firmware={"path": "flash"})
    result = run("check", path)
    assert result.status == 0
    assert result.err.count("footer table") == 1


def test_a_firmware_of_one_byte(tmp_path: Path) -> None:
    result = check(tmp_path, firmware=b"\x01")
    assert result.status == 2
    assert "1 byte" in result.err


def test_all_that_is_missing_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    result = check(tmp_path, firmware=None, kernel=None, initrd=None)
    assert result.status == 2
    lines = [line for line in result.err.splitlines() if "cannot read" in line]
    names = [line.partition("cannot read ")[2].rpartition("/")[2] for line in lines]
    assert names == [f"{name}: No such file or directory" for name in ("firmware", "kernel", "initrd")]
    assert all("guest.toml:" in line for line in lines)


def test_build_says_the_same_as_warnings(tmp_path: Path) -> None:
    check(tmp_path, kernel=LFS)
    result = run("build", tmp_path / "guest.toml", "-o", tmp_path / "dist")
    assert result.status == 0
    assert "warning: kernel is a text document, not a Linux kernel" in result.err


def test_what_a_format_needs_is_said_before_it_is_published(tmp_path: Path) -> None:
    (tmp_path / "firmware").write_bytes(HELLO)
    publish = {"formats": ["hex", "igvm-identity", "tinfoil"], "tinfoil": {"gpus": 0}}
    path = write_manifest(tmp_path, firmware={"path": "firmware"}, publish=publish)
    result = run("check", path)
    assert result.status == 0
    assert "format igvm-identity needs publish.igvm-identity.guest-svn" in result.err
    assert "publish.tinfoil.rtmr1" in result.err
    assert "publish.tinfoil.gpus" not in result.err
    assert "format hex" not in result.err
    given = {"formats": ["igvm-identity"], "igvm-identity": {"guest-svn": 3}}
    path = write_manifest(tmp_path, firmware={"path": "firmware"}, publish=given)
    assert "needs" not in run("check", path).err


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    check(tmp_path)
    (tmp_path / "initrd").unlink()
    os.mkfifo(tmp_path / "initrd")
    assert look_at_guest(load_guest(str(tmp_path / "guest.toml"))) == []


def test_real_files_are_what_they_are(tmp_path: Path) -> None:
    kernel = real_kernels()[0].read_bytes()
    firmware = newest_file("usr/share/ovmf/OVMF.amdsev.fd").read_bytes()
    result = check(tmp_path, kernel=kernel, firmware=firmware)
    assert result.status == 0
    assert "0 warnings" in result.out


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ({"uki": BZIMAGE}, "a kernel that is not a UKI goes under kernel.path"),
        ({"uki": CPIO}, None),
        ({"firmware": b"IGVM\1\0\0\0"}, "an IGVM file goes under igvm.path, in place of [firmware]"),
        ({"kernel": b"IGVM\1\0\0\0"}, None),
        ({"firmware": BZIMAGE}, None),
        ({"kernel": LFS}, "a Git LFS pointer, or a server's error page?"),
        ({"initrd": BZIMAGE}, None),
    ],
)
def test_a_fault_in_a_file_has_a_hint_where_it_tells_of_a_mistake(
    tmp_path: Path, files: dict[str, bytes | None], hint: str | None
) -> None:
    check(tmp_path, **files)
    (look,) = look_at_guest(load_guest(str(tmp_path / "guest.toml")))
    assert (look.level, look.hint) == ("error", hint)
