"""A3: what is expected is the whole value and the whole set of targets, on both sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import (
    PageData,
    PageDataType,
    PageFlags,
    PlatformType,
    SupportedPlatform,
    VpContext,
)
from sevbuild.igvm.writer import write_igvm
from sevbuild.vcpu.save_area import build_vmsa
from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest

ONE, TWO = "snp/qemu/EPYC-v4/vcpus1", "snp/qemu/EPYC-v4/vcpus2"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return the manifest of a guest of two targets with a kernel."""
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "kernel").write_bytes(b"kernel")
    return write_manifest(
        tmp_path,
        firmware={"path": "OVMF.fd"},
        kernel={"path": "kernel", "cmdline": "quiet"},
        vcpu={"count": [1, 2]},
    )


@pytest.fixture
def published(manifest: Path) -> Path:
    """Return the document that was published of it."""
    path = manifest.parent / "values.json"
    path.write_text(run("measure", "-q", manifest, "--format", "json").out)
    return path


@pytest.fixture
def lines(manifest: Path) -> Path:
    """Return the list that was published of it."""
    path = manifest.parent / "lines"
    path.write_text(run("measure", "-q", manifest).out)
    return path


def test_a_guest_turned_to_debug_is_not_what_was_published(manifest: Path, published: Path) -> None:
    assert run("measure", "-q", manifest, "--expect", published).status == 0
    result = run("measure", "-q", manifest, "--expect", published, "--set", "launch.policy=0xb0000")
    assert (result.status, result.out) == (1, "")
    assert "policy: expected 0x30000, measured 0xb0000" in result.err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("profile", "ec2"),
        ("signature", "0x00a00f11"),
        ("vcpus", 3),
        ("policy", "0xb0000"),
        ("guest_features", "0x21"),
        ("kernel_hashes", False),
        ("vmsa_gpa", "0xffffffff0000"),
        ("cpu", "EPYC"),
        ("cmdline", "loud"),
    ],
)
def test_every_launch_value_of_a_document_counts(
    manifest: Path, published: Path, key: str, value: Any
) -> None:
    document = json.loads(published.read_text())
    assert document["values"][1][key] != value
    document["values"][1][key] = value
    published.write_text(json.dumps(document))
    assert run("build", "-q", manifest, "-o", manifest.parent / "dist").status == 0
    for verb in (
        ["measure", "-q", manifest, "--expect"],
        ["verify", "-q", manifest.parent / "dist", "--against"],
    ):
        result = run(*verb, published)
        assert result.status == 1, result.err
        assert f"different  {TWO}" in result.err
        assert ONE not in result.err


def test_the_order_and_the_name_of_the_guest_count(manifest: Path, published: Path) -> None:
    result = run("measure", "-q", manifest, "--expect", published, "--set", "guest.name=other")
    assert result.status == 1
    assert "guest.name: expected test, measured other" in result.err
    document = json.loads(published.read_text())
    for entry in (*document["values"], *document["ingredients"]):
        entry["order"] = "canonical"
    published.write_text(json.dumps(document))
    result = run("measure", "-q", manifest, "--expect", published)
    assert result.status == 1
    assert "order: expected canonical, measured profile" in result.err


@pytest.mark.parametrize("name", ["values.json", "lines"])
def test_what_is_missing_on_either_side_is_a_mismatch(
    manifest: Path, published: Path, lines: Path, name: str
) -> None:
    expected = {published.name: published, lines.name: lines}[name]
    fewer = run("measure", "-q", manifest, "--expect", expected, "--set", "vcpu.count=1")
    assert (fewer.status, fewer.out) == (1, "")
    assert f"not measured  {TWO}" in fewer.err
    # What the run was narrowed by counts for what is published too; --set is nothing of the kind.
    assert "--target vcpus1" in fewer.err
    more = run("measure", "-q", manifest, "--expect", expected, "--set", "vcpu.count=[1, 2, 4]")
    assert more.status == 1
    assert "not published  snp/qemu/EPYC-v4/vcpus4" in more.err


@pytest.mark.parametrize("name", ["values.json", "lines"])
def test_target_narrows_both_sides(manifest: Path, published: Path, lines: Path, name: str) -> None:
    expected = {published.name: published, lines.name: lines}[name]
    for pattern, count in ((TWO, 1), ("vcpus2", 1), ("snp/qemu/*", 2)):
        result = run("measure", "-q", manifest, "--expect", expected, "--target", pattern)
        assert (result.status, len(result.out.splitlines())) == (0, count), result.err
    for pattern in ("vcpus3", "sev*"):
        assert run("measure", "-q", manifest, "--expect", expected, "--target", pattern).status == 2


def test_a_selection_that_takes_nothing_of_what_is_published_is_a_fault(
    manifest: Path, published: Path, lines: Path
) -> None:
    for expected in (published, lines):
        flags = ["--set", "vcpu.count=3", "--target", "snp/qemu/EPYC-v4/vcpus3", "--expect", expected]
        result = run("measure", "-q", manifest, *flags)
        assert (result.status, result.out) == (2, "")
        assert "no target is published there that matches --target snp/qemu/EPYC-v4/vcpus3" in result.err


def test_a_bare_digest_says_that_it_was_all(manifest: Path, lines: Path) -> None:
    digest = lines.read_text().split()[0]
    flags = ["--target", ONE, "--expect"]
    assert run("measure", manifest, *flags, digest).status == 0
    assert "only the digest was compared" in run("measure", manifest, *flags, digest).err
    (manifest.parent / "one").write_text(f"{digest}\n")
    assert "only the digest was compared" in run("measure", manifest, *flags, manifest.parent / "one").err
    assert "only labels and digests were compared" in run("measure", manifest, "--expect", lines).err


def test_a_bundle_is_held_to_the_whole_set(manifest: Path, published: Path) -> None:
    part = manifest.parent / "part"
    assert run("build", "-q", manifest, "-o", part, "--target", TWO).status == 0
    for flag in ("--against", "--expect"):
        result = run("verify", "-q", part, flag, published)
        assert result.status == 1
        assert f"not measured  {ONE}" in result.err
        narrowed = run("verify", "-q", part, flag, published, "--target", "vcpus2")
        assert (narrowed.status, f"matches {published}\n" in narrowed.out) == (0, True)
        assert run("verify", "-q", part, flag, published, "--target", "vcpus1").status == 2
    # Without anything to compare with there is nothing to narrow.
    assert run("verify", "-q", part, "--target", "vcpus2").status == 2


def test_reference_values_are_held_to_part_of_a_manifest(manifest: Path, published: Path) -> None:
    flags = ["--against", manifest, "--set", "vcpu.count=[1, 3]"]
    assert run("verify", "-q", published, *flags).status == 1
    narrowed = run("verify", "-q", published, *flags, "--target", "vcpus1")
    assert (narrowed.status, narrowed.out) == (0, "1 target: 1 equal\n")
    assert run("verify", "-q", published, *flags, "--target", "vcpus3").status == 2
    assert run("verify", "-q", published, *flags, "--target", "vcpus2").status == 2
    assert run("verify", "-q", published, "--target", "vcpus2").out == "1 target: 1 equal\n"


def test_what_narrows_recomputing_narrows_what_it_is_compared_with(published: Path, lines: Path) -> None:
    for expected in (published, lines):
        assert run("recompute", published, "--expect", expected).status == 0
        for flags in (["--vcpus", "2"], ["--select", "vcpus=2"], ["--select", f"label={TWO}"]):
            result = run("recompute", published, *flags, "--expect", expected)
            assert (result.status, len(result.out)) == (0, 97), result.err
        assert run("recompute", published, "--cpu", "EPYC-v4", "--expect", expected).status == 0
        assert run("recompute", published, "--cpu", "EPYC-Milan", "--expect", expected).status == 2
        assert run("recompute", published, "--vcpus", "1-3", "--expect", expected).status == 1
        assert run("recompute", published, "--cmdline", "loud", "--expect", expected).status == 1
    document = json.loads(published.read_text())
    document["values"].pop()
    (published.parent / "fewer.json").write_text(json.dumps(document))
    # Two-sided: nobody asked for less than the document has.
    assert run("recompute", published.parent / "fewer.json", "--expect", published).status == 1
    # A list does not say what the run was narrowed by.
    assert run("recompute", published, "--select", "policy=0x30000", "--expect", lines).status == 2
    assert run("recompute", published, "--select", "policy=0x30000", "--expect", published).status == 0


def test_loaders_and_counts_narrow_what_an_igvm_file_is_compared_with(tmp_path: Path) -> None:
    vmsa = build_vmsa({"rip": 0xFFF0, "sev_features": 1})
    path = tmp_path / "guest.igvm"
    path.write_bytes(
        write_igvm(
            IgvmFile(
                1,
                [
                    SupportedPlatform(1, 0, PlatformType.SEV_SNP, 1, 0),
                    PageData(0xFFFFF000, 1, b"code".ljust(4096, b"\0"), PageFlags(0), PageDataType.NORMAL),
                    VpContext(0xFFFFFFFFF000, 1, vmsa, 0, 0, bytes(4)),
                ],
            )
        )
    )
    for name, fmt in (("all.json", "json"), ("lines", "hex")):
        expected = tmp_path / name
        expected.write_text(run("measure", "-q", path, "--format", fmt).out)
        assert len(run("measure", "-q", path).out.splitlines()) > 2
        assert run("measure", "-q", path, "--expect", expected).status == 0
        loader = ["--loader", "qemu", "--loader", "igvm-reference"]
        assert run("measure", "-q", path, "--expect", expected, *loader).status == 0
        assert run("measure", "-q", path, "--expect", expected, "--vcpus", "1").status == 0
        flags = ["--loader", "qemu", "--vcpus", "2", "--model", "EPYC-v4", "--expect", expected]
        missing = run("measure", "-q", path, *flags)
        assert (missing.status, "no target is published there" in missing.err) == (2, True), missing.err
    document = json.loads((tmp_path / "all.json").read_text())
    document["values"].pop()
    (tmp_path / "all.json").write_text(json.dumps(document))
    assert run("measure", "-q", path, "--expect", tmp_path / "all.json").status == 1
