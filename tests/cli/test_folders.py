"""A folder stands for the document in it, wherever a document is meant."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a manifest, its release, its bundle and a list of its digests."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    manifest = write_manifest(folder, firmware={"path": "OVMF.fd"}, vcpu={"count": [1, 2]})
    assert run("publish", "-q", manifest, "-o", folder / "release").status == 0
    assert run("build", "-q", manifest, "-o", folder / "bundle").status == 0
    (folder / "lines").write_text(run("measure", "-q", manifest).out)
    return folder


@pytest.mark.parametrize("name", ["release", "bundle"])
def test_a_folder_is_the_document_in_it(made: Path, name: str, tmp_path: Path) -> None:
    folder, document = made / name, made / name / "reference-values.json"
    manifest = made / "guest.toml"
    assert run("measure", "-q", manifest, "--expect", folder) == run("measure", "-q", manifest)
    assert run("recompute", folder).out == run("recompute", document).out != ""
    assert run("diff", folder, document).out == "2 targets: 2 equal\n"
    assert run("export", folder, "-f", "hex").out == run("export", document, "-f", "hex").out != ""
    assert run("merge", folder, document).out == run("merge", document, document).out != ""
    assert run("publish", "-q", folder, "-o", tmp_path / "again", "--formats", "hex").status == 0
    assert (tmp_path / "again" / "reference-values.json").read_text() == document.read_text()
    for other in ("release", "bundle", "lines", "release/reference-values.json"):
        result = run("verify", "-q", folder, "--expect", made / other)
        assert (result.status, result.out.splitlines()[-1].split(": ")[1]) == (0, f"matches {made / other}")
        if other != "lines":
            assert run("verify", "-q", folder, "--against", made / other).out == result.out


def test_a_release_is_verified_alone_and_against(made: Path) -> None:
    release = made / "release"
    assert run("verify", release).out == "2 targets: 2 equal\n"
    assert run("verify", "-q", release, "--against", made / "guest.toml").out == "2 targets: 2 equal\n"
    narrowed = run("verify", "-q", release, "--against", made / "bundle", "--target", "vcpus1")
    assert narrowed.out.splitlines()[-1].endswith(f"matches {made / 'bundle'} (1 of 2 targets)")
    digest = (made / "lines").read_text().split()[0]
    assert run("verify", "-q", release, "--target", "vcpus1", "--expect", digest).status == 0
    assert run("verify", "-q", release, "--target", "vcpus2", "--expect", digest).status == 1
    assert run("verify", "-q", release, "--expect", digest).status == 2
    assert run("verify", "-q", release, "--set", "vcpu.count=1").status == 2
    assert run("verify", "-q", release, "--against", made / "bundle", "--set", "vcpu.count=1").status == 2


def test_a_release_of_a_merged_document_is_chosen(made: Path, tmp_path: Path) -> None:
    release = made / "release"
    manifest = made / "guest.toml"
    (tmp_path / "next.json").write_text(
        run(
            "measure",
            "-q",
            manifest,
            "-f",
            "json",
            "--set",
            "guest.version=2",
            "--set",
            "launch.policy=0x20000",
        ).out
    )
    merged = tmp_path / "merged.json"
    assert run("merge", release, tmp_path / "next.json", "-o", merged).status == 0
    assert run("verify", merged).out == "4 targets: 4 equal\n"
    assert run("verify", merged, "--release", "1").out == "2 targets: 2 equal\n"
    assert run("verify", merged, "--release", "3").status == 2
    assert run("verify", release, "--release", "2").status == 2
    assert run("verify", "-q", merged, "--release", "1", "--against", release).status == 0
    assert run("verify", "-q", merged, "--release", "2", "--against", release).status == 1
    assert run("verify", "-q", merged, "--against", release).status == 2
    assert run("verify", "-q", release, "--against", merged).status == 0
    assert run("verify", "-q", release, "--release", "2", "--against", merged).status == 1
    assert run("verify", "-q", merged, "--against", manifest).status == 0
    assert run("verify", "-q", merged, "--release", "2", "--against", manifest).status == 1
    assert run("recompute", "-q", merged, "--expect", release).status == 2
    assert run("recompute", "-q", merged, "--select", "release=1", "--expect", release).status == 0
    assert run("recompute", "-q", release, "--expect", merged).status == 0
    assert run("recompute", "-q", release, "--expect", merged, "--release", "2").status == 1
    shown = run("inspect", merged).out
    assert "reference values of test 2, 2 releases: 1, 2" in shown
    assert "snp/qemu/EPYC-v4/vcpus2 (2)" in shown


def test_inspect_shows_a_document(made: Path) -> None:
    shown = run("inspect", made / "release")
    assert shown == run("inspect", made / "release" / "reference-values.json")
    assert shown.out.startswith("reference-values.json: reference values of test 1\n\ninputs\n")
    assert (made / "lines").read_text().split()[0] in shown.out
    document = json.loads(run("inspect", made / "release", "--format", "json").out)
    assert (document["kind"], len(document["values"])) == ("reference-values", 2)
    assert run("inspect", made / "bundle").out.startswith("bundle: bundle of test 1\n")


def test_what_is_neither_is_refused(made: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments in (
        ["verify", empty],
        ["diff", empty, made / "release"],
        ["inspect", empty],
        ["export", empty, "-f", "hex"],
        ["recompute", empty],
        ["measure", made / "guest.toml", "-q", "--expect", empty],
    ):
        result = run(*arguments)
        assert (result.status, result.out) == (2, "")
        assert result.err == f"error: {empty}: a folder with neither bundle.json nor reference-values.json\n"
    # A bundle that lost what lists its files is no release: none of them would be looked at.
    shutil.copytree(made / "bundle", tmp_path / "bundle")
    (tmp_path / "bundle" / "bundle.json").unlink()
    result = run("verify", tmp_path / "bundle")
    assert (result.status, "like a bundle, but no bundle.json" in result.err) == (2, True)


def test_the_document_of_a_bundle_is_the_one_it_lists(made: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(made / "bundle", bundle)
    document = bundle / "reference-values.json"
    document.write_text(document.read_text().replace("0x30000", "0xb0000"))
    for arguments in (
        ["diff", bundle, made / "release"],
        ["measure", "-q", made / "guest.toml", "--expect", bundle],
    ):
        result = run(*arguments)
        assert result.status == 2
        assert f"{document}: not the file that bundle.json lists" in result.err
    document.unlink()
    assert f"{bundle}: a bundle without reference-values.json" in run("diff", bundle, bundle).err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ab", "--expect ab: no such file, and 2 digits are not a launch digest"),
        ("0x" + "ab" * 24, "48 digits are not a launch digest"),
        ("nowhere.json", "cannot read nowhere.json"),
        ("xyz", "cannot read xyz"),
    ],
)
def test_what_cannot_be_expected(made: Path, text: str, message: str) -> None:
    result = run("measure", "-q", made / "guest.toml", "--expect", text)
    assert (result.status, result.out) == (2, "")
    assert message in result.err


def test_a_manifest_is_no_list(made: Path) -> None:
    result = run("verify", "-q", made / "bundle", "--against", made / "guest.toml")
    assert result.status == 2
    assert f"`sevbuild measure {made / 'guest.toml'} --expect PATH`" in result.err


def test_verbs_without_a_file_take_the_manifest_that_lies_there(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    for arguments in (["measure", "-q"], ["plan", "-q"], ["check", "-q"], ["export", "-q", "-f", "hex"]):
        assert run(*arguments) == run(*arguments, "guest.toml")
        assert run(*arguments).status == 0
    assert (
        run("publish", "-q", "-o", tmp_path / "r").out
        == run("publish", "-q", "guest.toml", "-o", tmp_path / "s").out
    )
    monkeypatch.chdir(tmp_path)
    for arguments in (["measure"], ["publish", "-o", "x"], ["export", "-f", "hex"], ["lock"]):
        assert run(*arguments).err.startswith("error: cannot read guest.toml")


def test_several_manifests_have_a_lock_each(made: Path, tmp_path: Path) -> None:
    for name in ("OVMF.fd", "guest.toml"):
        shutil.copy(made / name, tmp_path / name)
    shutil.copy(made / "guest.toml", tmp_path / "other.toml")
    paths = [tmp_path / "guest.toml", tmp_path / "nowhere.toml", tmp_path / "other.toml"]
    result = run("lock", *paths)
    assert (result.status, result.out) == (2, "")
    assert result.err.count("wrote ") == 2
    assert "cannot read" in result.err
    assert run("lock", "--check", paths[0], paths[2]).status == 0
    (tmp_path / "other.toml").write_text(
        (tmp_path / "other.toml").read_text().replace("EPYC-v4", "EPYC-Milan")
    )
    assert run("lock", "--check", paths[0], paths[2]).status == 1
    assert "does not exist" in run("lock", "--check", *paths).err
    assert "share one lock" in run("lock", paths[0], paths[0]).err
    assert "--output names the lock of a single manifest" in run("lock", paths[0], paths[2], "-o", "x").err
