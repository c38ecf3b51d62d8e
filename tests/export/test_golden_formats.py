"""Every format of every document, byte for byte; what does not apply says why."""

from __future__ import annotations

import os

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.manifest.formats import FORMATS
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import exporter, render
from tests.export.support import DATA, EXTRA, document, fitting, pem, rendered, signing_key, typed

DOCUMENTS = ("hardware", "matrix", "owner")
SIGNED = ("corim", "in-toto")

REFUSALS = {
    ("hardware", "in-toto"): "no input is a file",
    ("hardware", "contrast"): "no target has it",
    ("matrix", "tinfoil"): "one SNP target, and here are 8",
    ("hardware", "sevctl"): "no target has mode sev or sev-es",
    ("hardware", "virt-qemu-sev-validate"): "no target has mode sev or sev-es",
    ("matrix", "sevctl"): "no target has mode sev or sev-es",
    ("matrix", "virt-qemu-sev-validate"): "no target has mode sev or sev-es",
    ("owner", "tinfoil"): "here are 0",
    ("matrix", "go-sev-guest"): "its check takes one launch digest, and 8 targets are accepted",
    **{
        ("owner", name): "no target has mode snp"
        for name in (
            "sha384sums",
            "rvps",
            "corim",
            "contrast",
            "hyperbeam",
            "dstack",
            "igvm-identity",
            "go-sev-guest",
            "trustee-policy",
            "snpguest",
        )
    },
}


@pytest.mark.parametrize("of", DOCUMENTS)
@pytest.mark.parametrize("name", FORMATS)
def test_files_do_not_change(name: str, of: str) -> None:
    if (of, name) in REFUSALS:
        with pytest.raises(SevbuildError, match=REFUSALS[of, name]):
            rendered(name, document(of))
        return
    files = rendered(name, document(of), key=pem(signing_key()) if name in SIGNED else None)
    assert files == rendered(name, document(of), key=pem(signing_key()) if name in SIGNED else None)
    folder = DATA / "golden" / of / name
    if os.environ.get("SEVBUILD_REMAKE_GOLDENS") == "1":
        folder.mkdir(parents=True, exist_ok=True)
        for path, data in files.items():
            (folder / path).write_bytes(data)
    assert files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(files) <= set(exporter(name).files)
    for path, data in files.items():
        assert path.startswith("corim") or (data.endswith(b"\n") and b"\r" not in data)


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_invented(name: str) -> None:
    """Without one of the values it needs, a format names the key and writes nothing."""
    of = fitting(name)
    for key in FORMATS[name]:
        if key.required:
            given = {word: value for word, value in EXTRA[name].items() if word != key.name}
            with pytest.raises(SevbuildError, match=f"does not determine: {key.name}$"):
                render(name, typed(of), ExportOptions(given))
    everything = {key.name: EXTRA[name][key.name] for key in FORMATS[name] if key.required}
    assert render(name, typed(of), ExportOptions(everything))


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in SIGNED])
def test_what_cannot_be_signed_is_not(name: str) -> None:
    of = fitting(name)
    with pytest.raises(SevbuildError, match="cannot be signed"):
        rendered(name, of, key=pem(signing_key()))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_describes_itself(name: str) -> None:
    found = exporter(name)
    assert found.name == name
    assert found.summary
    assert set(found.modes) <= {"sev", "sev-es", "snp"}
    assert all(key.meaning.endswith(".") for key in FORMATS[name])


def test_an_unknown_format_is_named_with_the_nearest() -> None:
    with pytest.raises(SevbuildError, match="unknown format 'korim'") as caught:
        exporter("korim")
    assert caught.value.hint == "did you mean corim?"


def test_a_mixed_guest_says_how_many_targets_a_format_holds() -> None:
    matrix, owner = typed(document("matrix")), typed(document("owner"))
    mixed = matrix._replace(values=matrix.values + owner.values)
    notes = exporter("sha384sums").notes(mixed, ExportOptions())
    assert notes == ["holds 8 of 12 targets, those of mode snp"]
    assert exporter("hex").notes(mixed, ExportOptions()) == []
    assert len(rendered("sha384sums", mixed)["launch-digests.sha384"].splitlines()) == 8
