"""`sevbuild export` and `sevbuild publish` as a person and a release job meet them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sevbuild.bundle.release import write_release
from sevbuild.errors import SevbuildError
from sevbuild.manifest.formats import FORMATS
from sevbuild.reference.release import make_release
from tests.bundle.test_exchange import FailingDisk
from tests.export.support import DATA, document, pem, signing_key, typed
from tests.support.cli import run
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

FLEET = ROOT / "guests" / "fleet" / "guest.toml"
HELLO = ROOT / "guests" / "hello" / "guest.toml"
MATRIX = DATA / "documents" / "matrix.json"
ONE = ["--target", "snp/qemu/EPYC-v4/vcpus1/plain"]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_fleet_is_published_in_every_format_that_applies(tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "release", tmp_path / "two"
    result = run("publish", FLEET, "-o", first)
    assert result.status == 0, result.err
    assert result.out.splitlines() == _names(first)
    left_out = {line.split(":")[0] for line in result.err.splitlines() if "not applicable: " in line}
    assert left_out == {
        "contrast", "tinfoil", "hyperbeam", "dstack", "igvm-identity", "sevctl", "virt-qemu-sev-validate"
    }  # fmt: skip
    assert len(json.loads((first / "reference-values.json").read_text())["values"]) == 960
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], check=True, cwd=first)
    sums = (first / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in sums] == [name for name in _names(first) if name != "SHA256SUMS"]
    assert run("publish", FLEET, "-o", second, "--quiet").err == ""
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }


def test_publishing_loads_no_library_for_what_it_does_not_do(tmp_path: Path) -> None:
    script = (
        "import sys; from sevbuild.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, "publish", "-q", str(HELLO), "-o", str(tmp_path / "r")]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stderr.split()
    assert not {"cryptography", "lief", "jinja2", "rich"} & set(loaded)
    assert "cbor2" in loaded


def test_formats_come_from_the_manifest_or_the_flag(tmp_path: Path) -> None:
    fw = str(ROOT / "guests" / "hello" / "hello.fd")
    manifest = write_manifest(
        tmp_path,
        firmware={"path": fw},
        publish={"formats": ["hex", "igvm-identity"], "igvm-identity": {"guest-svn": 3}},
    )
    base = ["SHA256SUMS", "reference-values.json", "release-notes.md"]
    assert run("publish", manifest, "-o", tmp_path / "a").status == 0
    assert _names(tmp_path / "a") == sorted([*base, "launch-digests.hex", "igvm-identity.json"])
    assert run("publish", manifest, "-o", tmp_path / "b", "--formats", "sha384sums, hex").status == 0
    assert _names(tmp_path / "b") == sorted([*base, "launch-digests.hex", "launch-digests.sha384"])
    result = run(
        "publish",
        manifest,
        "-o",
        tmp_path / "c",
        "--formats",
        "all",
        "--extra",
        "igvm-identity.guest-svn=0x10",
    )
    assert result.status == 0
    assert '"snp_isvsvn": 16' in (tmp_path / "c" / "igvm-identity.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--formats", "tinfoil"], "error: format tinfoil does not apply: it holds one SNP target, and here are 960"),
        (["--formats", "igvm-identity"], "error: format igvm-identity needs what the guest does not determine: guest-svn"),
        (["--formats", "korim"], "error: unknown format 'korim'"),
        (["--extra", "guest-svn=1"], "error: --extra guest-svn=1: not of the form FORMAT.KEY=VALUE"),
        (["--extra", "rvps.nmae=1"], "error: --extra rvps.nmae: format rvps has no such value"),
        (["--extra", "rvps.name"], "error: --extra rvps.name: not of the form rvps.KEY=VALUE"),
        (["--extra", "igvm-identity.guest-svn=x"], "error: --extra: guest-svn: must be an integer, got a string"),
        (["--sign", "/nonexistent"], "error: cannot read /nonexistent"),
        (["--sign", str(MATRIX)], f"error: {MATRIX} is not a private key in PEM"),
        (["--sign", ""], "error: --sign: empty"),
        (["--sign", "corim="], "error: --sign corim=: empty"),
        (["--sign", "hex=x.pem"], "error: --sign hex=x.pem: format hex cannot be signed"),
        (["--sign", "intoto=x.pem"], "error: --sign intoto=x.pem: unknown format 'intoto'"),
        (["--sign", "x=y/key.pem"], "error: cannot read x=y/key.pem"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run("publish", "-q", FLEET, "-o", tmp_path / "r", *arguments)
    assert result.status == 2
    assert result.err.startswith(message), result.err
    assert not list(tmp_path.iterdir())


def test_a_release_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert run("publish", "-q", HELLO, "-o", f"{folder}/", "--formats", "html").status == 0
    assert run("publish", "-q", HELLO, "-o", folder, "--formats", "hex").status == 0
    assert "release-notes.html" not in _names(folder)
    (folder / "mine.txt").write_text("mine")
    result = run("publish", "-q", HELLO, "-o", folder)
    assert result.status == 2
    assert result.err.startswith(f"error: {folder}: contains mine.txt, which its SHA256SUMS does not list")
    assert (folder / "mine.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    assert run("publish", "-q", HELLO, "-o", tmp_path / "file").err.startswith(
        f"error: {tmp_path}/file: not a folder"
    )
    (tmp_path / "empty").mkdir()
    assert run("publish", "-q", HELLO, "-o", tmp_path / "empty", "--formats", "hex").status == 0


@pytest.mark.parametrize("exchange", [True, False])
def test_a_failure_at_any_step_leaves_the_old_release_or_the_new(tmp_path: Path, *, exchange: bool) -> None:
    folder = tmp_path / "r"
    old, new = (make_release(typed(document(name)), ["hex"], {}).files for name in ("matrix", "owner"))

    def found() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    counting = FailingDisk(exchange=exchange)
    write_release(str(folder), old)
    write_release(str(folder), new, disk=counting)
    assert found() == new
    for step in range(len(counting.kinds)):
        write_release(str(folder), old)
        with suppress(SevbuildError):
            write_release(str(folder), new, disk=FailingDisk(step, exchange=exchange))
        assert found() in (old, new), counting.kinds[step]
    write_release(str(folder), old)
    assert found() == old
    assert [name for name in _names(tmp_path) if name != "r"] == []


def test_a_signed_release_is_the_same_twice(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(pem(signing_key()))
    for name in ("a", "b"):
        result = run(
            "publish", "-q", HELLO, "-o", tmp_path / name, "--sign", tmp_path / "key.pem", "--extra", "corim.signer-name=ACME"
        )  # fmt: skip
        assert result.status == 0, result.err
    assert {"corim.cose", "in-toto.intoto.jsonl"} <= set(_names(tmp_path / "a"))
    for name in _names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_key_for_each_format(tmp_path: Path) -> None:
    """One P-256 key signs a release; a format may have its own key, and a name with = in it is a path."""
    keys = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "a=b": ec.SECP256R1()}
    for name, curve in keys.items():
        (tmp_path / name).write_bytes(pem(signing_key(curve)))
    signer = ("--extra", "corim.signer-name=ACME")

    def files(*sign: str) -> dict[str, bytes]:
        options = [word for text in sign for word in ("--sign", text)]
        result = run("publish", HELLO, "-o", tmp_path / "r", *signer, *options)
        assert result.status == 0, result.err
        assert ("in-toto: note: signed with P-384" in result.err) == (sign[0] == f"{tmp_path}/p384")
        return {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()}

    one = files(f"{tmp_path}/p256")
    other = files(f"{tmp_path}/p384")
    assert {"corim.cose", "in-toto.intoto.jsonl", "in-toto.sigstore.json"} <= set(one)
    both = files(f"{tmp_path}/p256", f"corim={tmp_path}/p384")
    # The checksums are signed by the key of all.
    assert both.pop("SHA256SUMS.sig") != one["SHA256SUMS.sig"]
    assert both == files(f"corim={tmp_path}/p384", f"in-toto={tmp_path}/p256")
    assert both["corim.cose"] == other["corim.cose"] != one["corim.cose"]
    assert both["in-toto.intoto.jsonl"] == one["in-toto.intoto.jsonl"] != other["in-toto.intoto.jsonl"]
    alone = files(f"in-toto={tmp_path}/a=b")
    assert alone["in-toto.intoto.jsonl"] == one["in-toto.intoto.jsonl"]
    assert "corim.cose" not in alone
    assert "corim.cbor" in alone


def test_a_key_that_signs_nothing_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(pem(signing_key(ec.SECP256R1())))
    named = [f"--sign={name}={key}" for name in ("corim", "in-toto")]
    for arguments, message in (
        (["--formats", "hex", "--sign", key], "a signing key, but no format that it could sign"),
        (["--formats", "hex", named[0]], "a signing key for corim, which is not written: it is not among the formats"),
        (["--formats", "in-toto", "--sign", key, named[1]], "a signing key, but no format that it could sign"),
        (["--sign", key, "--sign", key], f"--sign {key}: one key was already given"),
        ([named[0], named[0]], f"--sign corim={key}: corim was already given"),
    ):  # fmt: skip
        result = run(
            "publish", "-q", HELLO, "-o", tmp_path / "r", "--extra", "corim.signer-name=ACME", *arguments
        )
        assert (result.status, result.err.splitlines()[0]) == (2, f"error: {message}")
        assert not (tmp_path / "r").exists()
    for sign, message in (
        (named[0], "a signing key for corim"),
        (f"--sign={key}", "format hex cannot be signed"),
    ):
        result = run("export", "-q", HELLO, "-f", "hex", sign)
        assert (result.status, result.out) == (2, "")
        assert result.err.startswith(f"error: {message}")
    assert run("export", "-q", HELLO, "-f", "in-toto", named[1]).out == run(
        "export", "-q", HELLO, "-f", "in-toto", "--sign", key
    ).out  # fmt: skip


def test_the_list_names_every_format() -> None:
    result = run("export", "--list")
    assert [line.split()[0] for line in result.out.splitlines()[1:]] == list(FORMATS)
    assert "guest-svn" in result.out


def test_the_first_file_is_printed_and_the_others_are_named() -> None:
    result = run("export", MATRIX, "--format", "rvps")
    assert json.loads(result.out)["type"] == "sample"
    assert "rvps: note: prints rvps-message.json; it also has rvps-payload.json" in result.err
    payload = run("export", MATRIX, "-q", "--format", "rvps", "--file", "rvps-payload.json", *ONE)
    assert len(json.loads(payload.out)["snp_launch_measurement"]) == 1
    assert payload.err == ""
    assert run("export", HELLO, "-q", "-f", "hex").out == run("measure", "-q", HELLO).out


def test_files_go_where_they_are_told(tmp_path: Path) -> None:
    assert run("export", MATRIX, "-q", "-f", "corim", "-o", tmp_path / "x.cbor").status == 0
    assert (tmp_path / "x.cbor").read_bytes()[:3] == bytes.fromhex("d901f5")
    assert run("export", MATRIX, "-q", "-f", "rvps", "-o", f"{tmp_path}/new/").status == 0
    assert _names(tmp_path / "new") == ["rvps-message.json", "rvps-payload.json"]
    result = run("export", MATRIX, "-q", "-f", "rvps", "-o", tmp_path / "x.json")
    assert result.err.startswith("error: format rvps has 2 files")


def test_binary_goes_to_standard_output_as_it_is() -> None:
    command = [sys.executable, "-m", "sevbuild", "export", str(MATRIX), "-f", "corim"]
    result = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    assert sha256(result.stdout).digest()
    assert result.stdout[:3] == bytes.fromhex("d901f5")


def test_binary_does_not_go_to_a_terminal() -> None:
    master, terminal = os.openpty()
    command = [sys.executable, "-m", "sevbuild", "export", str(MATRIX), "-f"]
    binary = subprocess.run(
        [*command, "corim"], check=False, stdout=terminal, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert (binary.returncode, binary.stderr.decode()) == (
        2,
        "error: corim.cbor is binary, and standard output is a terminal\n  hint: -o FILE writes it; a pipe works too\n",
    )
    text = subprocess.run([*command, "hex"], check=False, stdout=terminal, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(terminal)
    shown = os.read(master, 1 << 16)
    os.close(master)
    assert text.returncode == 0
    assert shown.startswith(json.loads(MATRIX.read_text())["values"][0]["digest"].encode())


def test_a_warning_of_a_format_is_told_by_both_verbs(tmp_path: Path) -> None:
    said = "hyperbeam: warning: HyperBEAM b2743e4 computes with 32 vCPUs"
    assert said in run("export", MATRIX, "-f", "hyperbeam").err
    assert said in run("publish", MATRIX, "-o", tmp_path / "r").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([MATRIX], "error: export requires --format NAME"),
        ([MATRIX, "-f", "rvps", "--file", "x"], "error: format rvps does not write x"),
        ([MATRIX, "-f", "hex", "--set", "vcpu.count=1"], "error: --set overrides a manifest"),
        ([MATRIX, "-f", "hex", "--target", "nope"], "error: no target matches 'nope'"),
        ([MATRIX, "-f", "contrast", *ONE, "--extra", "smt-enabled=maybe"], "error: --extra: smt-enabled: must be a boolean"),
        ([MATRIX, "-f", "contrast", *ONE, "--extra", "allowed-chip-ids=ab,cd"], "error: --extra: allowed-chip-ids[0]: must be 128"),
    ],
)  # fmt: skip
def test_bad_requests_are_one_line(arguments: list[str], message: str) -> None:
    result = run("export", "-q", *arguments)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(message), result.err


def test_what_the_guest_does_not_determine_is_given_by_flag_or_file(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("cvm-version: 1\n")
    (tmp_path / "root").write_text("33" * 32 + "\n")
    pairs = {
        "rtmr1": "11" * 48, "rtmr2": "22" * 48, "memory-mb": "4096", "gpus": "0", "disks": "3",
        "image-version": "1.2", "root": f"@{tmp_path}/root", "raw": "44" * 32, "config": f"@{tmp_path}/config.yml",
    }  # fmt: skip
    flags = [word for key, value in pairs.items() for word in ("--extra", f"{key}={value}")]
    predicate = json.loads(run("export", MATRIX, "-q", "-f", "tinfoil", *ONE, *flags).out)
    assert predicate["hashes"]["root"] == "33" * 32
    assert predicate["hashes"]["version"] == "1.2"
    assert predicate["config"] == "Y3ZtLXZlcnNpb246IDEK"
