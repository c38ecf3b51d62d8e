"""What is written is read: documents of every profile and mode, of ready IGVM files and of foreign ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.support.cli import Result, run
from tests.support.firmware import SECTIONS, standard_firmware, standard_svsm
from tests.support.guests import write_manifest
from tests.support.igvm import write_large
from tests.support.shared import VECTORS

EXTRA = {
    "rvps": ["expiration=2027-01-01T00:00:00Z"],
    "contrast": [
        *("platform=Metal-QEMU-SNP", "product-name=Milan", "smt-enabled=true", "tsme-enabled=false"),
        *("tcb-bootloader=4", "tcb-tee=0", "tcb-snp=24", "tcb-microcode=219", "minimum-mitigation-vector=3"),
    ],
    "tinfoil": [
        *("rtmr1=" + "11" * 48, "rtmr2=" + "22" * 48, "root=" + "33" * 32, "raw=" + "44" * 32),
        *("memory-mb=4096", "gpus=1", "disks=3", "image-version=1", "config=a"),
    ],
    "go-sev-guest": ["product-line=Milan"],
    "igvm-identity": ["guest-svn=7"],
}


ONE_TARGET = ("go-sev-guest",)
"""Formats whose reader knows one launch digest."""


class Walk:
    """Take a document through every verb, and collect what was refused without being told why."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.written = 0
        schema = json.loads(run("schema", "--of", "reference-values").out)
        self.schema = Draft7Validator(schema)
        self.formats = [line.split()[0] for line in run("export", "--list").out.splitlines()[1:]]

    def expect(self, what: str, result: Result, good: Callable[[Result], bool]) -> None:
        """Note a command that did not end as it should."""
        if not good(result):
            self.failures.append(f"{what}: exit {result.status}: {(result.out + result.err)[:300]}")

    def walk(self, name: str, document: Path, against: Path) -> None:
        """Take one document, and what it is measured from, through all of them."""
        for error in self.schema.iter_errors(json.loads(document.read_text())):
            self.failures.append(f"{name}: schema: {list(error.absolute_path)}: {error.message[:200]}")
        self.expect(f"{name}: verify", run("verify", document), checked)
        self.expect(f"{name}: verify --against", run("verify", document, "--against", against), equal)
        self.expect(f"{name}: diff", run("diff", document, document), equal)
        merged = self.folder / "merged.json"
        merged.unlink(missing_ok=True)
        self.expect(f"{name}: merge", run("merge", document, document, "-o", merged), done)
        if merged.exists():
            self.expect(f"{name}: verify merged", run("verify", merged), checked)
            for error in self.schema.iter_errors(json.loads(merged.read_text())):
                self.failures.append(f"{name}: schema of merged: {error.message[:200]}")
        self.expect(f"{name}: recompute", run("recompute", document), done_or_told)
        for fmt in self.formats:
            extra = [word for pair in EXTRA.get(fmt, []) for word in ("--extra", pair)]
            if fmt in ONE_TARGET:
                labels = [value["label"] for value in json.loads(document.read_text())["values"]]
                extra += [
                    "--target",
                    next((label for label in labels if label.startswith("snp/")), labels[0]),
                ]
            result = run("export", document, "-f", fmt, *extra, "-o", f"{self.folder}/out/")
            self.expect(f"{name}: export {fmt}", result, partial(written, fmt))
            self.written += result.status == 0
        release = self.folder / "release"
        self.expect(f"{name}: publish", run("publish", document, "-o", release), done)
        again = release / "reference-values.json"
        if not again.exists() or again.read_text() != document.read_text():
            self.failures.append(f"{name}: publish changed the document")


def done(result: Result) -> bool:
    return result.status == 0


def equal(result: Result) -> bool:
    """Tell whether something was compared, and nothing differs."""
    return result.status == 0 and " equal\n" in result.out


def checked(result: Result) -> bool:
    """Tell whether a document was held to itself; one without ingredients has to say so."""
    return result.status == 0 or "none of these digests can be checked" in result.err


def done_or_told(result: Result) -> bool:
    told = result.status == 2 and any(
        reason in result.err for reason in ("ingredients", "one SHA-256 over", "no seed")
    )
    return result.status == 0 or told


def written(fmt: str, result: Result) -> bool:
    """Tell whether a format was written, or does not apply for one clear reason."""
    clear = f"error: format {fmt} does not apply: "
    return result.status == 0 or (result.status == 2 and result.err.startswith(clear))


def _inputs(folder: Path) -> None:
    image = standard_firmware()
    (folder / "OVMF.fd").write_bytes(image)
    svsm = standard_svsm()
    (folder / "svsm.bin").write_bytes(svsm)
    (folder / "kernel").write_bytes(b"kernel" * 999)
    (folder / "initrd").write_bytes(b"initrd" * 999)


def _launches() -> Iterator[tuple[str, str]]:
    """Yield each shipped profile with each of its modes."""
    for profile in json.loads(run("profiles", "--format", "json").out):
        for mode in profile["modes"]:
            yield profile["name"], mode


def _loader(profile: str) -> str:
    """Return the loader of IGVM files that a profile names, empty for none."""
    shown = json.loads(run("profiles", profile, "--format", "json").out)["values"]
    return str(next(entry["value"] for entry in shown if entry["path"] == "launch.loader"))


def _tables(profile: str, mode: str) -> dict[str, Any]:
    """Return a guest for a profile: one that starts an SVSM brings it, and no kernel."""
    tables: dict[str, Any] = {
        "launch": {"mode": mode, "profile": profile},
        "firmware": {"path": "OVMF.fd"},
        "vcpu": {"count": [1, 2], "model": "EPYC-Milan"},
    }
    if profile == "svsm-qemu":
        return tables | {"svsm": {"path": "svsm.bin", "vars-size": 0x1000}}
    kernel = {"path": "kernel", "cmdline": "n={vcpus} of {cpu}"}
    return tables | {"kernel": kernel, "initrd": {"path": "initrd"}}


def _published(folder: Path, manifest: Path) -> Path:
    """Return the document that `publish` writes for a manifest."""
    result = run("publish", "-q", manifest, "-o", folder / "published")
    assert result.status == 0, result.err
    return folder / "published" / "reference-values.json"


@pytest.mark.slow
def test_every_profile_and_mode(tmp_path: Path) -> None:
    _inputs(tmp_path)
    walk = Walk(tmp_path)
    launches = list(_launches())
    assert len(launches) >= 24
    for profile, mode in launches:
        manifest = write_manifest(tmp_path, **_tables(profile, mode))
        walk.walk(f"{profile}/{mode}", _published(tmp_path, manifest), manifest)
    assert walk.written > 4 * len(launches)
    assert walk.failures == []


@pytest.mark.slow
def test_ready_igvm_files_are_recomputed(tmp_path: Path) -> None:
    """The file that `build` writes, in a firmware's place, under each profile that loads such files."""
    _inputs(tmp_path)
    walk = Walk(tmp_path)
    seen = 0
    for mode in ("snp", "sev-es", "sev"):
        tables = _tables("qemu-igvm", mode) | {"vcpu": {"count": 1, "model": "EPYC-Milan"}}
        bundle = tmp_path / f"bundle-{mode}"
        assert run("build", "-q", write_manifest(tmp_path, **tables), "-o", bundle).status == 0
        (tmp_path / "ready.igvm").write_bytes(next(bundle.rglob("guest.igvm")).read_bytes())
        for profile, its in _launches():
            if its != mode or not _loader(profile):
                continue
            manifest = write_manifest(
                tmp_path,
                launch={"mode": mode, "profile": profile},
                igvm={"path": "ready.igvm"},
                vcpu={"count": 1, "model": "EPYC-Milan"},
            )
            walk.walk(f"ready {profile}/{mode}", _published(tmp_path, manifest), manifest)
            seen += 1
    assert seen >= 10
    assert walk.failures == []


@pytest.mark.slow
def test_igvm_files_of_others(tmp_path: Path) -> None:
    walk = Walk(tmp_path)
    write_large(str(tmp_path / "large.igvm"), 1)
    files = [tmp_path / "large.igvm", *sorted((VECTORS / "igvm").glob("*.igvm"))]
    (tmp_path / "kernel").write_bytes(b"kernel")
    launches = (
        (),
        ("--vcpus", "5", "--model", "EPYC-Genoa"),
        ("--with-kernel", str(tmp_path / "kernel"), "--with-cmdline", "quiet"),
    )
    for path in files:
        for number, flags in enumerate(launches):
            result = run("measure", "-q", path, "-f", "json", *flags)
            if result.status:
                # Some loaders write no hashes, and some files have no room for them.
                assert "no loader can load this file" in result.err or "no vCPU uses it" in result.err
                continue
            document = tmp_path / f"{path.stem}-{number}.json"
            document.write_text(result.out)
            walk.walk(f"{path.name} {flags}", document, path)
    assert walk.written > 4 * len(files)
    assert walk.failures == []


def test_another_igvm_file_is_found(tmp_path: Path) -> None:
    """The document is held to the file: bytes that differ, and a document of something else, are told."""
    one, other = (tmp_path / name for name in ("one.igvm", "other.igvm"))
    write_large(str(one), 1)
    document = tmp_path / "values.json"
    document.write_text(run("measure", "-q", one, "-f", "json").out)
    assert equal(run("verify", document, "--against", one))
    write_large(str(other), 1, lambda size: b"x" * size)
    result = run("verify", document, "--against", other)
    assert result.status == 1, result.out + result.err
    assert "different  snp/igvm-reference/-/vcpus1" in result.out
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware(sections=SECTIONS[:3]))
    manifest = write_manifest(tmp_path, firmware={"path": "OVMF.fd"})
    assert run("verify", document, "--against", manifest).status == 2
    assert "of an IGVM file" in run("verify", document, "--against", manifest).err
    guest = tmp_path / "guest.json"
    guest.write_text(run("measure", "-q", manifest, "-f", "json").out)
    result = run("verify", guest, "--against", one)
    assert result.status == 2
    assert "of a guest" in result.err


def test_a_document_of_an_igvm_file_says_what_was_given(tmp_path: Path) -> None:
    """Signature and kernel stand in the document, where a loader took them: else nobody could check it."""
    path, kernel = tmp_path / "file.igvm", tmp_path / "vmlinuz"
    write_large(str(path), 1)
    kernel.write_bytes(b"kernel")
    flags = ["--with-kernel", str(kernel), "--with-cmdline", "quiet", "--loader", "cloud-hypervisor-kvm"]
    document = json.loads(run("measure", "-q", path, "-f", "json", *flags).out)
    assert [entry["role"] for entry in document["inputs"]] == ["igvm", "kernel"]
    assert document["values"][0]["cmdline"] == "quiet"
    flags = ["--loader", "igvm-reference", "--loader", "qemu", "--vcpus", "2", "--model", "EPYC-Milan"]
    document = json.loads(run("measure", "-q", path, "-f", "json", *flags).out)
    signatures = {value["profile"]: value["signature"] for value in document["values"]}
    assert signatures == {"igvm-reference": None, "qemu": "0x00a00f11"}
