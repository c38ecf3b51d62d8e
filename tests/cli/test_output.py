"""What verbs write, where they must not, and what they say of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bundle.support import manifest_of
from tests.support.cli import run
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello" / "hello.fd"


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a manifest in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.fd").write_bytes(HELLO.read_bytes())
    write_manifest(tmp_path, firmware={"path": "hello.fd"})
    return Path("guest.toml")


def _documents(guest: Path) -> list[str]:
    names = ["one.json", "two.json"]
    for name, version in zip(names, ("1.0.0", "2.0.0"), strict=True):
        found = run("measure", "-q", guest, "-f", "json", "--set", f"guest.version={version}")
        Path(name).write_text(found.out)
    return names


@pytest.mark.parametrize(
    ("words", "wrote"),
    [
        (["lock", "guest.toml"], ["guest.lock"]),
        (["lock", "guest.toml", "-o", "other.lock"], ["other.lock"]),
        (["export", "guest.toml", "-f", "hex", "-o", "digests"], ["digests"]),
        (["export", "guest.toml", "-f", "rvps", "-o", "new/"], ["new/rvps-message.json", "new/rvps-payload.json"]),
        (["publish", "guest.toml", "-o", "release", "--formats", "hex"], ["release/"]),
        (["publish", "guest.toml", "-o", "release/", "--formats", "hex"], ["release/"]),
        (["build", "guest.toml", "-o", "dist"], ["dist/"]),
        (["measure", "guest.toml", "--dump-vmsa", "vmsas"], ["vmsas/vmsa0.bin"]),
        (["init", "sub/new.toml", "-t", "hello"], ["sub/new.toml", "sub/hello.fd"]),
        (["import", "command.sh", "-o", "imported.toml"], ["imported.toml"]),
        (["merge", "one.json", "two.json", "-o", "all.json"], ["all.json"]),
    ],
)  # fmt: skip
def test_what_was_written_is_said_once(guest: Path, words: list[str], wrote: list[str]) -> None:
    _documents(guest)
    Path("command.sh").write_text(
        "sev-snp-measure --mode snp --vcpus 1 --vcpu-type EPYC-v4 --ovmf hello.fd\n"
    )
    result = run(*words)
    assert result.status == 0, result.err
    lines = [line for line in result.err.splitlines() if line.startswith("wrote ")]
    assert lines == [f"wrote {path}" for path in wrote]
    for path in wrote:
        assert Path(path).exists()
    if words[0] not in ("lock", "init", "merge"):
        again = [*words, "--force"] if words[0] == "import" else words
        assert run(*again, "--quiet").err == ""


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["lock", "guest.toml", "-o", "hello.fd"], "hello.fd"),
        (["export", "guest.toml", "-f", "hex", "-o", "guest.lock"], "guest.lock"),
        (["export", "guest.toml", "-f", "hex", "--lock", "held.lock", "-o", "held.lock"], "held.lock"),
        (["export", "one.json", "-f", "hex", "-o", "one.json"], "one.json"),
        (["export", "guest.toml", "-f", "rvps", "--extra", "name=@name", "--file", "rvps-message.json", "-o", "name"], "name"),
        (["merge", "one.json", "two.json", "-o", "two.json"], "two.json"),
    ],
)  # fmt: skip
def test_force_writes_all_the_same(guest: Path, words: list[str], path: str) -> None:
    _documents(guest)
    Path("name").write_text("acme")
    assert run("lock", guest).status == run("lock", guest, "-o", "held.lock").status == 0
    before = Path(path).read_bytes()
    result = run(*words)
    assert (result.status, result.out) == (2, "")
    assert f"error: {path} is " in result.err
    assert Path(path).read_bytes() == before
    assert run(*words, "--force").status == 0
    assert Path(path).read_bytes() != before


def test_a_signing_key_stays(guest: Path) -> None:
    from tests.export.support import pem, signing_key

    Path("key.pem").write_bytes(pem(signing_key()))
    words = ["export", guest, "-f", "corim", "--extra", "signer-name=x", "--file", "corim.cose"]
    result = run(*words, "--sign", "corim=key.pem", "-o", "key.pem")
    assert (result.status, Path("key.pem").read_bytes()) == (2, pem(signing_key()))
    assert "error: key.pem is a signing key: it is not replaced" in result.err


def test_a_vmsa_takes_no_inputs_place(tmp_path: Path) -> None:
    manifest_of(tmp_path, kernel={"path": "vmsa0.bin", "cmdline": "x"})
    (tmp_path / "vmsa0.bin").write_bytes(b"a kernel of this name")
    result = run("measure", "-q", tmp_path / "guest.toml", "--target", "vcpus1", "--dump-vmsa", tmp_path)
    assert (result.status, result.out) == (2, "")
    assert "is an input of the guest, kernel.path" in result.err
    assert (tmp_path / "vmsa0.bin").read_bytes() == b"a kernel of this name"


@pytest.mark.parametrize(
    "words",
    [
        ["lock", "guest.toml", "--check"],
        ["lock", "guest.toml", "-o", "-"],
        ["export", "guest.toml", "-f", "hex"],
        ["merge", "one.json", "two.json"],
        ["import", "guest.toml"],
        ["init", "-"],
    ],
)
def test_force_without_a_file_is_refused(guest: Path, words: list[str]) -> None:
    assert guest.exists()
    result = run(*words, "--force")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("error: --force replaces a file, but none is written")


def test_a_lock_called_like_a_manifest_is_still_brought_up_to_date(guest: Path) -> None:
    for _ in range(2):
        assert run("lock", guest, "-o", "locked.toml").status == 0
    assert run("measure", "-q", guest, "--lock", "locked.toml").status == 0


def test_a_manifest_of_another_name_is_one_too(guest: Path) -> None:
    Path("other").write_text(guest.read_text())
    assert "other is a manifest" in run("lock", guest, "-o", "other").err
    # Neither what is no TOML nor what is too large to be one.
    for text in ("[guest", "\xff" * 10, "x" * (17 << 20)):
        Path("notes").write_text(text, encoding="latin-1")
        assert run("lock", guest, "-o", "notes").status == 0


def test_init_and_import_make_nothing_where_something_is(guest: Path) -> None:
    Path("dangling").symlink_to("elsewhere")
    Path("command.sh").write_text(
        "sev-snp-measure --mode snp --vcpus 1 --vcpu-type EPYC-v4 --ovmf hello.fd\n"
    )
    for words in (["init", "dangling"], ["import", "command.sh", "-o", "dangling"]):
        result = run(*words)
        assert result.status == 2
        assert "dangling already exists" in result.err
        assert not Path("elsewhere").exists()
    assert guest.exists()


def test_a_release_is_told_by_its_document(guest: Path) -> None:
    """A document of a later version makes no release that this one may replace."""
    assert run("publish", "-q", guest, "-o", "release", "--formats", "hex").status == 0
    path = Path("release/reference-values.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    from hashlib import sha256

    names = ["launch-digests.hex", "reference-values.json", "release-notes.md"]
    lines = [f"{sha256(Path('release', name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    Path("release/SHA256SUMS").write_text("".join(lines))
    result = run("publish", "-q", guest, "-o", "release", "--formats", "hex")
    assert result.status == 2
    assert f"cannot replace the release that is there: {path.absolute()}: $.schema is 99" in result.err
    # Faults name the file themselves.
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 1, "more": 1}))
    lines[1] = f"{sha256(path.read_bytes()).hexdigest()}  {names[1]}\n"
    Path("release/SHA256SUMS").write_text("".join(lines))
    faults = run("publish", "-q", guest, "-o", "release", "--formats", "hex").err
    assert f"error: {path.absolute()}: $.more: unknown key" in faults
    assert "hint: name a new or empty folder" in faults
    Path("release/SHA256SUMS").write_text("nonsense\n")
    assert "SHA256SUMS is not that of a release" in run("publish", "-q", guest, "-o", "release").err
