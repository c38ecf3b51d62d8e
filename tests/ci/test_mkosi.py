"""The post-output script for mkosi, on an image that ukify made of a real kernel and a real stub."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.actions import Runner
from tests.support.guests import digests_of
from tests.support.peer import peer_digest
from tests.support.real import newest_file, real_kernels, require
from tests.support.shared import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "mkosi"
CMDLINE = "console=ttyS0 root=/dev/vda2 ro"


class Image(NamedTuple):
    """Hold where mkosi's environment lies, and the parts that went into its image."""

    source: Path
    output: Path
    kernel: Path
    initrd: Path


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """Return a UKI in an output folder, as mkosi leaves it to its scripts."""
    require(importlib.util.find_spec("pefile"), "pefile")
    source, output = tmp_path / "source", tmp_path / "output"
    for folder in (source, output):
        folder.mkdir()
    kernel, initrd = source / "vmlinuz", source / "initrd"
    shutil.copy(real_kernels()[0], kernel)
    # Odd sizes: what a section is padded with must not count.
    initrd.write_bytes(b"070701 an initrd " * 5003)
    (source / "os-release").write_text("ID=web\nVERSION_ID=1\n")
    stub = newest_file("usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    command = [
        sys.executable,
        newest_file("usr/lib/systemd/ukify"),
        "build",
        "--stub",
        stub,
        "--linux",
        kernel,
    ]
    command += ["--initrd", initrd, "--cmdline", CMDLINE, "--os-release", f"@{source / 'os-release'}"]
    command += ["--uname", "6.1.0", "--output", output / "web.efi"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, cwd=source)
    (output / "web").write_bytes(b"not an image")
    shutil.copy(EXAMPLE / "guest.toml", source)
    shutil.copy(newest_file("usr/share/ovmf/OVMF.amdsev.fd"), source)
    return Image(source, output, kernel, initrd)


def _run(image: Image, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the script with what mkosi gives it: see its manual, "Scripts", and the table of variables."""
    runner = Runner(folder)
    runner.provide()
    env = {**os.environ, "SRCDIR": str(image.source), "OUTPUTDIR": str(image.output), "IMAGE_ID": "web"}
    env["PATH"] = f"{runner.temp / 'sevbuild' / 'bin'}:{env['PATH']}"
    command = [str(EXAMPLE / "mkosi.postoutput")]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=image.source, env={**env, **more}
    )


def test_a_real_image_has_the_digest_of_its_parts(image: Image, tmp_path: Path) -> None:
    """The digest of the image's parts is that of the files they came from, here and by sev-snp-measure."""
    (tmp_path / "run").mkdir()
    result = _run(image, tmp_path / "run")
    assert result.returncode == 0, result.stderr
    document = json.loads((image.output / "web.reference-values.json").read_text())
    digests = {value["label"]: value["digest"] for value in document["values"]}
    parts: dict[str, Any] = {
        "launch": {"mode": "snp", "profile": "qemu", "policy": 0x30000, "guest-features": 0x1},
        "firmware": {"path": "OVMF.amdsev.fd"},
        "kernel": {"path": "vmlinuz", "cmdline": CMDLINE},
        "initrd": {"path": "initrd"},
        "vcpu": {"count": [1, 2], "model": "EPYC-Milan"},
    }
    assert digests == digests_of(image.source, **parts)
    for count in (1, 2):
        peer = peer_digest(
            image.source,
            "snp",
            firmware="OVMF.amdsev.fd",
            vcpus=count,
            signature=0xA00F11,
            kernel="vmlinuz",
            initrd="initrd",
            append=CMDLINE,
        )
        assert digests[f"snp/qemu/EPYC-Milan/vcpus{count}"] == peer
    assert {value["cmdline"] for value in document["values"]} == {CMDLINE}
    # Nothing of where it was built is in it.
    assert str(tmp_path) not in json.dumps(document)


def test_links_to_the_image_do_not_count(image: Image, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (image.output / "web.efi").rename(image.output / "web_1.0.efi")
    (image.output / "web.efi").symlink_to("web_1.0.efi")
    assert _run(image, tmp_path / "run").returncode == 0
    assert (image.output / "web_1.0.reference-values.json").exists()


def test_no_image_two_images_and_a_bad_one(tmp_path: Path) -> None:
    image = Image(tmp_path / "source", tmp_path / "output", Path(), Path())
    for name in ("source", "output", "a", "b", "c"):
        (tmp_path / name).mkdir()
    shutil.copy(EXAMPLE / "guest.toml", image.source)
    (image.source / "OVMF.amdsev.fd").write_bytes((ROOT / "guests" / "hello" / "hello.fd").read_bytes())
    none = _run(image, tmp_path / "a")
    (image.output / "web.efi").write_bytes(b"MZ is not enough")
    bad = _run(image, tmp_path / "b")
    (image.output / "other.efi").write_bytes(b"MZ")
    two = _run(image, tmp_path / "c")
    assert (none.returncode, bad.returncode, two.returncode) == (1, 2, 1)
    assert "0 UKIs in" in none.stderr
    assert "not a PE image" in bad.stderr
    assert "2 UKIs in" in two.stderr
    assert not list(image.output.glob("*.json"))
