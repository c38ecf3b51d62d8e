"""What people get wrong first, a line each: the error says what is wrong, and its hint what to write (E5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.igvm import sample_files
from tests.support.kernels import BZIMAGE
from tests.support.shared import ROOT

DIGEST = "5d83872a75b5f87c8878a2876a61f41a0f0c93170a5853f77676781a3121d44a23ce2d299acf8a1fe60b399e38f925eb"
HELLO = ROOT / "guests" / "hello"
MANIFEST = """schema = 1
guest = { name = "hello", version = "1.0" }
[launch]
mode = "snp"
profile = "qemu"
policy = 0x30000
[firmware]
path = "hello.fd"
[vcpu]
count = 1
model = "EPYC-Milan"
"""


def _change(old: str, new: str) -> bytes:
    assert old in MANIFEST
    return MANIFEST.replace(old, new).encode()


MANIFESTS = [
    (_change('"snp"', '"sev-spn"'), "guest.toml:4: launch.mode: unknown value 'sev-spn'", "did you mean snp?"),
    (_change('"snp"', '"sev-snp"'), "guest.toml:4: launch.mode: unknown value 'sev-snp'", "did you mean snp?"),
    (_change('"snp"', '"SEV_ES"'), "guest.toml:4: launch.mode: unknown value 'SEV_ES'", "did you mean sev-es?"),
    (b"\xef\xbb\xbf" + MANIFEST.encode(), "guest.toml:1: not valid TOML: begins with a byte-order mark", "save it as UTF-8 without a byte-order mark"),
    (MANIFEST.encode("utf-16"), "guest.toml:1: not UTF-8 text", "it looks like UTF-16: save it as UTF-8"),
    (_change("0x30000", "30000"), "guest.toml:6: launch.policy: 0x7530 lacks bit 17", "did you mean 0x30000? without 0x it is 0x7530"),
    (_change("0x30000", '"0x30000"'), "guest.toml:6: launch.policy: must be an integer, got a string", "a number is written without quotes: 0x30000"),
    (_change("count = 1", 'count = "1"'), "guest.toml:10: vcpu.count: must be a number or a range", "a number is written without quotes: 1"),
    (_change("schema = 1", 'schema = "1"'), "guest.toml:1: schema: must be an integer, got a string", "a number is written without quotes: 1"),
    (_change('"1.0"', "1.0"), "guest.toml:2: guest.version: must be a string, got a float", "put it in quotes"),
    (_change('"hello.fd"', f'"hello.fd"\nsha256 = "sha256:{"0" * 64}"'), "guest.toml:9: firmware.sha256: must be 64 hexadecimal digits", "give only the hexadecimal digits, without 'sha256:'"),
    (_change("[vcpu]", '[kernel]\nappend = "x"\n[vcpu]'), "guest.toml:10: kernel.append: unknown key", "did you mean cmdline?"),
    (_change("model =", "cpu ="), "guest.toml:11: vcpu.cpu: unknown key", "did you mean model?"),
    (_change("model =", "modle ="), "guest.toml:11: vcpu.modle: unknown key", "did you mean model?"),
    (b'{"schema": 1}', "guest.toml:1: not valid TOML", "it looks like JSON; `verify`"),
    (b"<domain/>", "guest.toml:1: not valid TOML", "`sevbuild import`"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message", "hint"), MANIFESTS, ids=[row[1] for row in MANIFESTS])
def test_a_file_that_is_no_manifest_has_its_hint(
    tmp_path: Path, data: bytes, message: str, hint: str
) -> None:
    path = tmp_path / "guest.toml"
    path.write_bytes(data)
    _told(tmp_path, ["measure", str(path)], message, hint)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["measure", "--ovmf", "x.fd"], "no such option: --ovmf", "--set firmware.path=FILE"),
        (["measure", "--append", "x"], "no such option: --append", "--set kernel.cmdline=TEXT"),
        (["measure", "--vcpu-type", "EPYC-v4"], "no such option: --vcpu-type", "--set vcpu.model=NAME"),
        (["measure", "guest.toml", "--vcpus", "4"], "--vcpus is for IGVM files", "--set vcpu.count=N"),
        (["measure", "guest.toml", "--set", "launch.mode=sev-spn"], "--set: launch.mode: unknown value 'sev-spn'", "did you mean snp?"),
        (["measure", "guest.toml", "--set", "launch.policy=30000"], "--set: launch.policy: 0x7530 lacks", "did you mean 0x30000?"),
        (["measure", "guest.toml", "--expect", DIGEST[:16]], f"--expect {DIGEST[:16]}: no such file, and 16 digits", "96 hexadecimal digits"),
        (["measure", "guest.toml", "--expect", f"sha384:{DIGEST}"], f"--expect sha384:{DIGEST}: no such file", "give only the hexadecimal digits, without 'sha384:'"),
        (["measure", "vmlinuz"], "vmlinuz is a Linux kernel (bzImage), not a manifest", "`sevbuild inspect`"),
        (["lock", "guest.igvm"], "guest.igvm is an IGVM file, not a manifest", "under igvm.path"),
        (["export", "guest.igvm", "-f", "hex"], "guest.igvm is an IGVM file, not a manifest", "`measure -f json` turns it into reference values"),
        (["measure", "folder"], "cannot read folder: Is a directory", "a manifest is a file"),
        (["measure", "."], "cannot read .: Is a directory", "a manifest is a file, such as ./guest.toml"),
        (["verify", "values.json", "values.json"], "unexpected argument: 'values.json'", "`sevbuild verify values.json --against values.json`"),
        (["verify", "guest.toml"], "guest.toml:1: not valid JSON: expecting value", "it looks like a manifest"),
        (["diff", "guest.toml", "vmlinuz"], "guest.toml has no kernel, which vmlinuz is", None),
        (["verify", "guest.igvm"], "guest.igvm: an IGVM file, not a JSON document", "`sevbuild measure -f json`"),
        (["verify", "marked.json"], "marked.json:1: not valid JSON: unexpected UTF-8 BOM", "save it as UTF-8 without a byte-order mark"),
        (["publish", "guest.toml", "-o", "out", "--formats", "contrast"], "format contrast needs", "give --extra contrast.platform=VALUE"),
        (["export", "guest.toml", "--format", "contrast"], "format contrast needs", "give --extra platform=VALUE"),
        (["publish", "guest.toml", "-o", "out", "--extra", "expiration=x"], "--extra expiration=x: not of the form FORMAT.KEY=VALUE", "--extra rvps.expiration=VALUE"),
        (["publish", "guest.toml", "-o", "out", "--extra", "rvps.expire=x"], "--extra rvps.expire: format rvps has no such value", "did you mean rvps.expiration?"),
        (["publish", "guest.toml", "-o", "out", "--extra", "rvps.name"], "--extra rvps.name: not of the form rvps.KEY=VALUE", None),
        (["publish", "guest.toml", "-o", "out", "--format", "rvps"], "--format rvps: unknown value", "--formats rvps"),
        (["publish", "guest.toml", "-o", "out", "--formats", "rpvs"], "unknown format 'rpvs'", "did you mean rvps?"),
    ],
)  # fmt: skip
def test_of_a_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str, hint: str | None
) -> None:
    (tmp_path / "guest.toml").write_text(MANIFEST)
    (tmp_path / "hello.fd").write_bytes((HELLO / "hello.fd").read_bytes())
    (tmp_path / "vmlinuz").write_bytes(BZIMAGE)
    (tmp_path / "guest.igvm").write_bytes(sample_files()[0])
    values = (HELLO / "reference-values.json").read_bytes()
    (tmp_path / "values.json").write_bytes(values)
    (tmp_path / "marked.json").write_bytes(b"\xef\xbb\xbf" + values)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    _told(tmp_path, words, message, hint)


def test_publish_notes_its_own_syntax(tmp_path: Path) -> None:
    published = run("publish", HELLO / "guest.toml", "-o", tmp_path / "out", "--formats", "rvps")
    assert "(--extra rvps.expiration=" in published.err
    exported = run("export", HELLO / "guest.toml", "--format", "rvps")
    assert "(--extra expiration=" in exported.err


def test_a_part_is_offered_only_where_it_would_match(tmp_path: Path) -> None:
    path = tmp_path / "guest.toml"
    path.write_text(MANIFEST.replace("count = 1", "count = [1, 2]"))
    (tmp_path / "hello.fd").write_bytes((HELLO / "hello.fd").read_bytes())
    assert run("publish", path, "-o", tmp_path / "release").status == 0
    part = run("measure", path, "--set", "vcpu.count=2", "--expect", tmp_path / "release")
    assert (part.status, part.err.splitlines()[-1].partition(": ")[2]) == (
        1,
        "to compare only a part: --target vcpus2; --set does not narrow",
    )
    other = ["--set", "vcpu.count=2", "--set", "launch.policy=0xb0000"]
    differs = run("measure", path, *other, "--expect", tmp_path / "release")
    assert differs.status == 1
    assert "--target" not in differs.err


def _told(folder: Path, words: Sequence[str], message: str, hint: str | None) -> None:
    """Check that a command ends with 2, printed nothing, and has an error with this hint right below it."""
    result = run(*words)
    assert (result.status, result.out) == (2, "")
    lines = result.err.replace(f"{folder}/", "").splitlines()
    (at,) = [index for index, line in enumerate(lines) if line.startswith(f"error: {message}")]
    # Nothing else is there but what the manifest leaves open, which is told before.
    assert all(line.startswith(("error: ", "  hint: ")) for line in lines if ": note: " not in line)
    following = lines[at + 1 : at + 2]
    if hint is None:
        assert not following
    else:
        assert following[0].startswith("  hint: ")
        assert hint in following[0]
