"""`verify` finds and names whatever differs, and no bundle harms it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.bundle.document import BundleDocument, decode_bundle, encode_bundle
from sevbuild.errors import SevbuildError
from tests.bundle.support import build, manifest_of
from tests.support.cli import run
from tests.support.firmware import make_firmware

Change = Callable[[dict[str, Any]], object]
ONE, TWO = "snp/qemu/EPYC-v4/vcpus1", "snp/qemu/EPYC-v4/vcpus2"
FOLDER = "targets/snp_qemu_EPYC-v4_vcpus"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
    (folder / "own.toml").write_text(
        'schema = 1\nname = "own"\nsummary = "ours"\nas-of = "2026"\nextends = "qemu"\n'
    )
    build(manifest_of(folder, launch={"profile": ["qemu", "own.toml"]}), folder / "dist")
    build(folder / "guest.toml", folder / "absent", inputs="none")
    return folder


@pytest.fixture
def dist(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine / "dist", tmp_path / "dist")
    return tmp_path / "dist"


def _reseal(dist: Path, change: Change | None = None) -> None:
    """Make hashes agree again after files were changed, as whoever tampers would."""
    document = json.loads((dist / "bundle.json").read_text())
    for entry in document["files"]:
        path = dist / entry["path"]
        if path.exists():
            entry.update(size=path.stat().st_size, sha256=sha256(path.read_bytes()).hexdigest())
    if change is not None:
        change(document)
    (dist / "bundle.json").write_text(
        json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    )
    paths = sorted([entry["path"] for entry in document["files"]] + ["bundle.json"])
    lines = [
        f"{sha256((dist / path).read_bytes()).hexdigest()}  {path}\n"
        for path in paths
        if (dist / path).is_file()
    ]
    (dist / "SHA256SUMS").write_text("".join(lines))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("inputs/firmware.fd", ONE),
        ("inputs/kernel", ONE),
        ("inputs/initrd", ONE),
        ("guest.toml", ""),
        ("profiles/profile.toml", ""),
        ("reference-values.json", ""),
        (f"{FOLDER}1/plan.json", ONE),
        (f"{FOLDER}2/plan.json", TWO),
        (f"{FOLDER}1/vmsa0.bin", ONE),
        (f"{FOLDER}2/vmsa1.bin", TWO),
        (f"{FOLDER}1/kernel-hashes-page.bin", ONE),
        ("bundle.json", ""),
        ("SHA256SUMS", ""),
    ],
)
def test_one_changed_bit_is_found_and_named(dist: Path, name: str, target: str) -> None:
    path = dist / name
    data = bytearray(path.read_bytes())
    at = data.index(b'"version": "1"') + 12 if name == "bundle.json" else len(data) // 2
    data[at] ^= 1
    path.write_bytes(data)
    result = run("verify", dist)
    assert (result.status, result.out) == (1, "")
    assert name in result.err
    assert target in result.err


@pytest.mark.parametrize(
    "name", ["inputs/kernel", "reference-values.json", f"{FOLDER}2/plan.json", "SHA256SUMS"]
)
def test_missing_longer_and_extra_files_are_named(dist: Path, name: str) -> None:
    data = (dist / name).read_bytes()
    (dist / name).write_bytes(data + b"\n")
    assert run("verify", dist).status == 1
    (dist / name).unlink()
    result = run("verify", dist)
    assert (result.status, f"{name}" in result.err, "missing" in result.err) == (1, True, True)
    (dist / name).write_bytes(data)
    assert run("verify", dist).status == 0
    for extra in (name + ".more", "empty/x", "inputs/initrd-2"):
        (dist / extra).parent.mkdir(exist_ok=True)
        (dist / extra).write_bytes(b"")
        result = run("verify", dist)
        assert (result.status, extra.split("/")[0] in result.err) == (1, True)
        (dist / extra).unlink()
        shutil.rmtree(dist / "empty", ignore_errors=True)


@pytest.mark.parametrize(
    "name",
    [
        "inputs/firmware.fd",
        "inputs/kernel",
        "inputs/initrd",
        f"{FOLDER}2/plan.json",
        f"{FOLDER}1/vmsa0.bin",
        f"{FOLDER}1/kernel-hashes-page.bin",
        "reference-values.json",
    ],
)
def test_resealed_changes_are_found_by_measuring(dist: Path, name: str) -> None:
    data = bytearray((dist / name).read_bytes())
    data[0x30] ^= 1
    (dist / name).write_bytes(data)
    _reseal(dist)
    result = run("verify", dist)
    assert (result.status, result.out) == (1, "")
    assert name in result.err


def _set(*path: Any) -> Change:
    *keys, last, value = path

    def change(document: dict[str, Any]) -> None:
        found: Any = document
        for key in keys:
            found = found[key]
        found[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("targets", 1, "digest", "00" * 48), (TWO, "digest is")),
        (_set("targets", 0, "policy", "0xb0000"), (ONE, "policy is 0x30000")),
        (_set("targets", 0, "vcpus", 9), (ONE, "vcpus")),
        (_set("targets", 0, "label", "snp/qemu/EPYC-v4/vcpus9"), ("vcpus9", "not a target")),
        (_set("targets", 0, "files", {}), (ONE, "plan.json is missing")),
        (_set("targets", 1, "files", "plan", f"{FOLDER}1/vmsa0.bin"), (TWO,)),
        (_set("targets", 1, "files", "kernel", "inputs/initrd"), (TWO, "other files")),
        (_set("targets", 1, "files", "vmsa1", "inputs/initrd"), ("not the vmsa1",)),
        (lambda document: document["targets"][1]["files"].pop("vmsa1"), (TWO, "lists no vmsa1")),
        (lambda document: document["targets"].reverse(), ("reference-values.json",)),
        (_set("files", 1, "role", "kernel"), ("inputs/firmware.fd", "calls it kernel")),
        (_set("inputs", 1, "size", 5), ("inputs/kernel", "the size or sha256 differs")),
        (lambda document: document["targets"].pop(), ("reference-values.json",)),
        (_set("inputs", 0, "sha256", "00" * 32), ("firmware",)),
        (_set("inputs", 1, "name", "other"), ("reference-values.json",)),
        (lambda document: document["inputs"].pop(), ("bundle.json", "not among its inputs")),
        (_set("guest", "version", "9"), ("bundle.json",)),
    ],
)
def test_a_resealed_document_is_found_out(dist: Path, change: Change, words: tuple[str, ...]) -> None:
    _reseal(dist, change)
    result = run("verify", dist)
    assert (result.status, result.out) == (1, ""), result.err
    assert all(word in result.err for word in words), result.err


def test_a_file_of_no_target_is_found_out(dist: Path) -> None:
    (dist / "targets/zz.bin").write_bytes(b"x")
    entry = {"path": "targets/zz.bin", "role": "x", "size": 1, "sha256": sha256(b"x").hexdigest()}
    _reseal(dist, lambda document: document["files"].append(entry))
    assert "targets/zz.bin: does not belong to any target" in run("verify", dist).err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('path = "inputs/kernel"', 'path = "../kernel"'),
        ('path = "inputs/kernel"', 'path = "/etc/passwd"'),
        ('path = "inputs/kernel"', 'path = "inputs/./kernel"'),
        ('path = "inputs/kernel"', 'uki = "inputs/kernel"\nuki-as = "parts"'),
        ('"profiles/profile.toml"', '"../own.toml"'),
        ("[guest]", "[guest"),
        ('name = "test"', 'name = "test"\nmore = 1'),
    ],
)
def test_a_manifest_that_reaches_out_is_refused(dist: Path, old: str, new: str) -> None:
    text = (dist / "guest.toml").read_text()
    assert old in text
    text = text.replace(old, new)
    if "parts" in new:
        text = (
            text.replace('cmdline = "quiet vcpus={vcpus}"\n', "").partition("[initrd]")[0]
            + text[text.index("[vcpu]") :]
        )
    (dist / "guest.toml").write_text(text)
    _reseal(dist)
    result = run("verify", dist)
    assert (result.status, "guest.toml" in result.err) == (2, True), result.err


def test_a_profile_that_reaches_out_is_refused(dist: Path) -> None:
    profile = dist / "profiles/profile.toml"
    profile.write_text('extends = "../../own.toml"\n' + profile.read_text())
    _reseal(dist)
    result = run("verify", dist)
    assert (result.status, "must not extend another" in result.err) == (2, True)


def _without_manifest(dist: Path) -> None:
    (dist / "guest.toml").unlink()
    _reseal(dist, lambda document: document["files"].pop(0))


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    "harm",
    [
        lambda dist: _link(dist / "inputs/kernel"),
        lambda dist: _link(dist / "bundle.json"),
        lambda dist: (dist / "inputs/more").symlink_to(".."),
        lambda dist: os.mkfifo(dist / "inputs/pipe"),
        lambda dist: (dist / "a b").write_text(""),
        lambda dist: (dist / "\u20ac").mkdir(),
        lambda dist: (dist / "a/b/c/d/e/f").mkdir(parents=True),
        lambda dist: (dist / "bundle.json").unlink(),
        lambda dist: (dist / "bundle.json").write_text("[" * 100_000),
        lambda dist: (dist / "bundle.json").write_text('{"schema": 1, "schema": 1}'),
        lambda dist: (dist / "bundle.json").write_text('{"schema": 1.0}'),
        lambda dist: (dist / "bundle.json").write_text('{"schema": NaN}'),
        lambda dist: (dist / "bundle.json").write_text('{"schema": ' + "9" * 9999 + "}"),
        lambda dist: (dist / "bundle.json").write_bytes(b"\xff"),
        lambda dist: os.truncate(dist / "bundle.json", 1 << 40),
        _without_manifest,
    ],
)
def test_hostile_folders_are_refused(dist: Path, harm: Callable[[Path], object]) -> None:
    harm(dist)
    result = run("verify", dist)
    assert (result.status, result.out) == (2, ""), result.err


def test_a_huge_sparse_file_is_not_read(dist: Path) -> None:
    os.truncate(dist / "inputs/kernel", 1 << 40)
    assert run("verify", dist).status == 1


@pytest.mark.parametrize(
    "change",
    [
        _set("schema", 2),
        _set("schema", True),
        _set("kind", "other"),
        _set("more", 1),
        lambda document: document.pop("guest"),
        _set("guest", []),
        _set("guest", "name", 1),
        _set("files", {}),
        _set("files", 0, "path", "../x"),
        _set("files", 0, "path", "SHA256SUMS"),
        _set("files", 0, "size", -1),
        _set("files", 0, "size", True),
        _set("files", 0, "sha256", "0X" * 32),
        lambda document: document["files"].reverse(),
        lambda document: document["files"].append(document["files"][-1]),
        _set("inputs", 0, "measured", 1),
        _set("inputs", 0, "sha256", None),
        _set("inputs", 0, "file", "/x"),
        _set("targets", []),
        _set("targets", 0, "vcpus", "1"),
        _set("targets", 0, "vcpus", True),
        _set("targets", 0, "digest", "00" * 32),
        _set("targets", 0, "files", "kernel", 1),
        _set("targets", 0, "label", TWO),
        _set("targets", 0, "policy", "junk"),
        _set("targets", 0, "policy", "0x030000"),
        _set("targets", 0, "ingredients", "snp/qemu"),
        _set("targets", 0, "releases", [{"first": "1", "last": "1"}]),
        _set("inputs", 0, "role", "x" * (1 << 20 | 1)),
    ],
)
def test_malformed_documents_are_refused(dist: Path, change: Change) -> None:
    _reseal(dist, change)
    result = run("verify", dist)
    assert (result.status, result.out, "bundle.json" in result.err) == (2, "", True)


def test_left_out_inputs_are_checked_as_far_as_they_go(pristine: Path, tmp_path: Path) -> None:
    shutil.copytree(pristine / "absent", tmp_path / "absent")
    dist = tmp_path / "absent"
    assert "3 absent inputs" in run("verify", dist).out
    _reseal(dist, _set("inputs", 1, "sha256", "00" * 32))
    result = run("verify", dist)
    assert (result.status, "kernel" in result.err) == (1, True)
    shutil.rmtree(dist)
    shutil.copytree(pristine / "absent", dist)
    (dist / "inputs").mkdir(exist_ok=True)
    other = bytearray((pristine / "OVMF.fd").read_bytes())
    other[5] ^= 1
    (dist / "inputs/firmware.fd").write_bytes(other)
    assert "sha256 is" in run("verify", dist).err
    # The digest of another firmware does not make it the one whose seed this is.
    _reseal(dist, _set("inputs", 0, "sha256", sha256(other).hexdigest()))
    result = run("verify", dist)
    assert (result.status, "its seed is" in result.err) == (1, True)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        assert run("verify", path).status == 2
    assert "a folder with neither bundle.json nor reference-values.json" in run("inspect", tmp_path).err


def _document(pristine: Path) -> bytes:
    return (pristine / "dist/bundle.json").read_bytes()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just("00" * 32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=9,
)


@given(data=st.data())
def test_no_document_crashes_the_decoder(pristine: Path, data: st.DataObject) -> None:
    """Any value in the place of any other is refused, or survives a round trip."""
    document = json.loads(_document(pristine))
    found: Any = document
    while True:
        keys = list(found) if isinstance(found, dict) else list(range(len(found)))
        key = data.draw(st.sampled_from(keys))
        below = found[key]
        if not isinstance(below, dict | list) or not below or data.draw(st.booleans()):
            break
        found = below
    found[key] = data.draw(json_values)
    decoded: BundleDocument | None = None
    with contextlib.suppress(SevbuildError):
        decoded = decode_bundle(json.dumps(document).encode(), "x")
    if decoded is not None:
        assert decode_bundle(encode_bundle(decoded), "x") == decoded


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    with pytest.raises(SevbuildError):
        decode_bundle(data, "x")


def test_the_document_round_trips(pristine: Path) -> None:
    data = _document(pristine)
    assert encode_bundle(decode_bundle(data, "x")) == data


def test_a_bundle_of_a_release_that_built_canonical_order_for_anyone_still_verifies(tmp_path: Path) -> None:
    """tests/data/canonical-bundle was built by e3e929f of a firmware that is made here and left out there."""
    bundle = tmp_path / "bundle"
    shutil.copytree(Path(__file__).resolve().parents[1] / "data" / "canonical-bundle", bundle)
    (bundle / "inputs").mkdir()
    sections = [(0x1000, 0x1000, 1), (0x3000, 0x1000, 2), (0x4000, 0x1000, 3)]
    (bundle / "inputs" / "firmware.fd").write_bytes(make_firmware(sections=sections))
    result = run("verify", bundle)
    assert (result.status, result.out) == (0, f"{bundle}: consistent (1 target, 8 files)\n"), result.err
    assert run("build", "-q", bundle / "guest.toml", "-o", tmp_path / "again").status == 2
