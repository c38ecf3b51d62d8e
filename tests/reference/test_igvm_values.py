"""Reference values of IGVM files: what is written of any file is read, and found again in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft7Validator

from sevbuild.errors import FaultsError, SevbuildError
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch, given_kernel
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.writer import write_igvm
from sevbuild.manifest.vcpu_keys import cpu_named
from sevbuild.reference.consistency import check_consistent
from sevbuild.reference.document import document_text, reference_document
from sevbuild.reference.igvm_file import file_values, measure_again
from sevbuild.reference.model import ReferenceValues
from sevbuild.reference.narrow import Selection
from sevbuild.reference.read import decode_reference_values, read_reference_values
from sevbuild.reference.releases import at_release, merge_values
from sevbuild.reference.schema import reference_values_schema
from sevbuild.reference.verify import verify_against_file
from tests.support.cli import run
from tests.support.igvm import igvm_files, write_large


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("igvm")


def _values(path: Path, launch: ForeignLaunch | None = None) -> ReferenceValues:
    file = ForeignFile(str(path))
    launch = launch or ForeignLaunch()
    measured, _ = file.measure(file.load(launch)[0])
    return file_values(file, measured, launch.signature)


@given(igvm_files())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(place: Path, file: IgvmFile) -> None:
    path = place / "drawn.igvm"
    path.write_bytes(write_igvm(file))
    source = ForeignFile(str(path))
    # Signature and vCPUs let loaders take files that describe none.
    launch = ForeignLaunch(vcpus=2, cpu=cpu_named("EPYC-Milan"))
    measured, _ = source.measure(source.load(launch)[0])
    if not measured:
        return
    values = file_values(source, measured, launch.signature)
    text = document_text(values)
    assert not list(Draft7Validator(reference_values_schema()).iter_errors(json.loads(text)))
    assert read_reference_values("drawn", text.encode()) == values
    assert measure_again(values, ForeignFile(str(path))) == values
    check_consistent("drawn", values)


def test_documents_of_one_file_add_up(tmp_path: Path) -> None:
    path = tmp_path / "file.igvm"
    write_large(str(path), 1)
    one, other = (_values(path, ForeignLaunch((name,))) for name in ("igvm-reference", "qemu"))
    both = merge_values([("one", one), ("other", other)])
    assert [value.profile for value in both.values] == ["igvm-reference", "qemu"]
    assert (both.version, both.releases, both.inputs) == (None, (), one.inputs)
    assert merge_values([("both", both), ("one", one)]) == both
    assert at_release(both, None) is both
    with pytest.raises(SevbuildError, match="has no releases"):
        at_release(both, "1")
    write_large(str(path), 1, lambda size: b"x" * size)
    with pytest.raises(SevbuildError, match="new: the file has two launch digests of snp/igvm-reference"):
        merge_values([("old", one), ("new", _values(path, ForeignLaunch(("igvm-reference",))))])
    guest = one._replace(version="1")
    with pytest.raises(SevbuildError, match="guest: some of these are of a guest and some of an IGVM file"):
        merge_values([("file", one), ("guest", guest)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda of: of["guest"].update(version="1"), "$.values[0].signature: "),
        (lambda of: of.update(releases=["1"]), "$.releases: an IGVM file has no version"),
        (lambda of: of["values"][0].pop("doubts"), "$.values[0].doubts: must be a list"),
        (lambda of: of["values"][0].update(cpu="EPYC"), "$.values[0].cpu: unknown value 'EPYC'"),
        (lambda of: of["values"][0].update(order="profile"), "$.values[0].order: unknown value 'profile'"),
        (lambda of: of["values"][0].update(ingredients="x"), "$.values[0].ingredients: unknown key"),
        (lambda of: of["values"][0].update(vcpus=65537), "$.values[0].vcpus: must be 0x0..0x10000"),
        (lambda of: of["values"][0]["doubts"].append({"kind": "none", "reason": ""}), "doubts[0].kind: "),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "file.igvm"
    write_large(str(path), 1)
    document = reference_document(_values(path, ForeignLaunch(("qemu",))))
    change(document)
    with pytest.raises(FaultsError) as caught:
        decode_reference_values("x", document)
    assert message in str(caught.value)
    assert list(Draft7Validator(reference_values_schema()).iter_errors(document))


def test_a_kernel_beside_the_file_is_known_by_its_digests(tmp_path: Path) -> None:
    path, kernel, initrd = (tmp_path / name for name in ("file.igvm", "vmlinuz", "initrd.img"))
    write_large(str(path), 1)
    kernel.write_bytes(b"kernel")
    initrd.write_bytes(b"initrd")
    document = tmp_path / "values.json"
    flags = ["--with-kernel", str(kernel), "--with-initrd", str(initrd), "--with-cmdline", "quiet"]
    document.write_text(run("measure", "-q", path, "-f", "json", *flags).out)
    found = json.loads(document.read_text())
    assert [(entry["role"], entry["name"], entry["size"]) for entry in found["inputs"][1:]] == [
        ("kernel", "vmlinuz", 6),
        ("initrd", "initrd.img", 6),
    ]
    assert [value["cmdline"] for value in found["values"] if value["kernel_hashes"]] == ["quiet"]
    assert [value["cmdline"] for value in found["values"] if not value["kernel_hashes"]] == [None] * 5
    result = run("verify", document, "--against", path)
    assert result.status == 0
    assert "vmlinuz, initrd.img and the command line are taken as the document gives them" in result.err
    found["inputs"][1]["sha256"] = "00" * 32
    document.write_text(json.dumps(found))
    result = run("verify", document, "--against", path)
    assert (result.status, result.out.count("different")) == (1, 2), result.out


def test_a_command_line_that_is_not_utf_8_cannot_be_checked(tmp_path: Path) -> None:
    path, kernel = tmp_path / "file.igvm", tmp_path / "vmlinuz"
    write_large(str(path), 1)
    kernel.write_bytes(b"kernel")
    file, given = ForeignFile(str(path)), given_kernel(str(kernel), None, "a\udcff")
    launch = ForeignLaunch(("cloud-hypervisor-kvm",), kernel_hashes=given.hashes)
    measured, _ = file.measure(file.load(launch)[0])
    values = file_values(file, measured, None, given)
    assert values.values[0].cmdline is None
    with pytest.raises(SevbuildError) as caught:
        verify_against_file("x", values, file, Selection())
    assert "the document does not have the command line, which is not UTF-8" in str(caught.value.details)
    values = values._replace(inputs=values.inputs[:1])
    with pytest.raises(SevbuildError) as caught:
        verify_against_file("x", values, file, Selection())
    assert "the document does not have the kernel" in str(caught.value.details)


def test_a_name_that_is_not_utf_8_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a\udcff.igvm"
    write_large(str(path), 1)
    values = _values(path)
    assert values.name == "a\\xff.igvm"
    assert read_reference_values("x", document_text(values).encode()) == values


def test_a_loader_that_takes_the_file_no_longer_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file.igvm"
    write_large(str(path), 1)
    values = _values(path)
    odd = values._replace(values=(*values.values, values.values[0]._replace(profile="none", label="a")))
    document = tmp_path / "values.json"
    document.write_text(document_text(odd))
    result = run("verify", document, "--against", path)
    assert result.status == 1
    assert "not measured  a\n" in result.out
    assert "note: a: unknown loader 'none'" in result.err
    with pytest.raises(SevbuildError, match="no loader of the document takes this file"):
        measure_again(odd._replace(values=odd.values[-1:]), ForeignFile(str(path)))
    assert run("verify", document, "--against", path, "--set", "a.b=1").status == 2
