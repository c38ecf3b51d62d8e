"""The verbs of `sevbuild id-block`, as a publisher runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from hashlib import sha384
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from sevbuild.identity.firmware import GivenIdBlock
from sevbuild.identity.id_auth import IdAuth
from sevbuild.identity.id_block import IdBlock
from sevbuild.igvm.headers import GuestPolicy, PageData
from sevbuild.launch.snp_guest import SnpGuest
from tests.support.cli import Result, run
from tests.support.guests import write_manifest
from tests.support.id_blocks import AUTHOR_KEY, ID_KEY, private_key, private_pem, public_pem
from tests.support.igvm import BSP, ID_BLOCK, SNP, write_file
from tests.support.shared import ROOT, shared_file

HELLO = ROOT / "guests" / "hello" / "hello.fd"
DIGEST = "5d83872a75b5f87c8878a2876a61f41a0f0c93170a5853f77676781a3121d44a23ce2d299acf8a1fe60b399e38f925eb"
"""The launch digest of guests/hello."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with keys and a manifest of one target."""
    monkeypatch.chdir(tmp_path)
    for name, key in (("id", ID_KEY), ("author", AUTHOR_KEY)):
        Path(f"{name}.pem").write_bytes(private_pem(key))
        Path(f"{name}.pub").write_bytes(public_pem(key))
    Path("secret.pem").write_bytes(private_pem(ID_KEY, passphrase=b"open"))
    write_manifest(tmp_path, firmware={"path": str(HELLO)}, vcpu={"model": "EPYC-Milan"})
    return tmp_path


def told(result: Result, status: int, *words: str) -> None:
    """Hold a result to its exit code, and to what standard error says."""
    assert result.status == status, result
    for word in words:
        assert word in result.err


def launched(folder: str) -> GivenIdBlock:
    """Return the block in a folder, which the firmware takes for guests/hello."""
    block, auth = (Path(folder, f"id-{name}.bin").read_bytes() for name in ("block", "auth"))
    found = IdAuth.decode(auth, folder)
    given = GivenIdBlock.of(block, auth, author_key=found.author is not None)
    guest = SnpGuest()
    guest.launch_start(0x30000, seed=bytes.fromhex(DIGEST))
    assert guest.launch_finish(identity=given).hex() == DIGEST
    return given


def test_a_block_of_a_target_is_signed() -> None:
    more = ["--author-key", "author.pem", "--family-id", "ab" * 16, "--image-id", "cd" * 16, "--guest-svn", 4]
    told(
        run("id-block", "create", "--key", "id.pem", *more, "-o", "out"),
        0,
        "wrote out/id-block.bin",
        "wrote out/id-auth.bin",
    )
    given = launched("out")
    block = IdBlock.decode(given.block, "out")
    assert block == IdBlock(bytes.fromhex(DIGEST), 0x30000, b"\xab" * 16, b"\xcd" * 16, 4)
    assert given.author_key
    first = Path("out/id-auth.bin").read_bytes()
    told(run("id-block", "create", "--key", "id.pem", *more, "-o", "out", "-q"), 0)
    assert Path("out/id-auth.bin").read_bytes() == first, "RFC 6979"


def test_a_block_of_a_launch_digest() -> None:
    words = ["--launch-digest", DIGEST, "--policy", "0x30000", "--key", "id.pem"]
    told(run("id-block", "create", *words, "-o", "."), 0)
    assert not launched(".").author_key
    told(run("id-block", "create", *words, "guest.toml"), 2, "stands in place of a file")
    told(run("id-block", "create", *words[:2], "--key", "id.pem"), 2, "an ID block has the policy beside it")
    told(
        run("id-block", "create", "--policy", "0x30000", "--key", "id.pem"),
        2,
        "--policy goes with --launch-digest",
    )
    for policy, why in (
        ("0x10000", "lacks bit 17"),
        ("x", "not a number of 64 bits"),
        ("-1", "not a number"),
    ):
        told(run("id-block", "create", *words[:2], "--policy", policy, "--key", "id.pem"), 2, "--policy", why)
    told(run("id-block", "create", "--launch-digest", "ab", *words[2:]), 2, "--launch-digest: must be 96 hex")
    told(run("id-block", "create", "--locked", *words), 2, "--locked")
    told(run("id-block", "create", "--family-id", "ab", *words), 2, "--family-id: must be 32 hex")
    told(run("id-block", "create", "--image-id", "ab", *words), 2, "--image-id: must be 32 hex")
    told(
        run("id-block", "create", "--guest-svn", 1 << 32, *words),
        2,
        "--guest-svn 4294967296: not a number of 32 bits",
    )


def test_blocks_of_published_values() -> None:
    """One for each digest and policy, in folders; the ids are those that were published."""
    values = run(
        "measure",
        "-q",
        "-f",
        "json",
        "--set",
        "vcpu.count=1-2",
        "--set",
        'id-block.key="id.pem"',
        "--set",
        "id-block.guest-svn=9",
    )
    Path("values.json").write_text(values.out)
    told(run("id-block", "create", "values.json", "--key", "id.pem", "-o", "out"), 0)
    folders = [f"snp_qemu_EPYC-Milan_vcpus{count}" for count in (1, 2)]
    assert sorted(os.listdir("out")) == folders
    assert IdBlock.decode(launched(f"out/{folders[0]}").block, "out").guest_svn == 9
    result = run("id-block", "create", "values.json", "--key", "id.pem", "-f", "qemu")
    told(result, 2, "2 ID blocks: --format qemu shows one")
    one = run("id-block", "create", "values.json", "--key", "id.pem", "-f", "qemu", "--target", "vcpus1")
    assert one.out.startswith("id-block=")
    assert one.out.count("\n") == 1
    listed = json.loads(run("id-block", "create", "values.json", "--key", "id.pem", "-f", "json").out)
    assert [entry["targets"] for entry in listed["blocks"]] == [
        ["snp/qemu/EPYC-Milan/vcpus1"],
        ["snp/qemu/EPYC-Milan/vcpus2"],
    ]


def test_blocks_of_values_that_have_none_yet(tmp_path: Path) -> None:
    launch = {"mode": ["snp", "sev"], "policy": {"snp": 0x30000, "sev": 1}}
    write_manifest(tmp_path, firmware={"path": str(HELLO)}, vcpu={"model": "EPYC-Milan"}, launch=launch)
    Path("values.json").write_text(run("measure", "-q", "-f", "json").out)
    told(run("id-block", "create", "-q", "values.json", "--key", "id.pem", "-o", "out"), 0)
    assert IdBlock.decode(launched("out").block, "out") == IdBlock(bytes.fromhex(DIGEST), 0x30000)


def test_only_snp_guests_have_one(tmp_path: Path) -> None:
    write_manifest(tmp_path, firmware={"path": str(HELLO)}, launch={"mode": "sev"})
    told(
        run("id-block", "create", "--key", "id.pem"),
        2,
        "no SNP target, and only those have an ID block",
        "sevbuild session",
    )


def test_keys_that_are_wanting() -> None:
    told(run("id-block", "create"), 2, "there is no ID key to sign with")
    told(run("id-block", "create", "--author-key", "author.pem"), 2, "--author-key requires --key")
    told(
        run("id-block", "create", "--key", "id.pem", "--author-signature", "x"),
        2,
        "--author-signature requires --author-key",
    )
    told(run("id-block", "create", "--key", "id.pub"), 2, "id.pub: a public key; the private half signs")
    told(run("id-block", "create", "--key", "nope.pem"), 2, "cannot read nope.pem")
    told(
        run("id-block", "create", "--set", f"id-block.key-digest={'ab' * 48}"),
        2,
        "names no ID key to sign with",
    )
    told(
        run("id-block", "create", "--key", "secret.pem"),
        2,
        "secret.pem: the key is encrypted, and no passphrase was given",
    )


def test_words_that_would_be_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ID_PASS", "open")
    author = ("--author-passphrase-env", "ID_PASS")
    told(
        run("id-block", "create", "--key", "id.pem", *author),
        2,
        "a passphrase for --author-key, which is not given",
    )
    told(run("id-block", "payload", "--author", "--key", "id.pem", *author), 2, "are for an author key")
    told(run("id-block", "create", "--key", "id.pem", "-o", "-"), 2, "-o -: an ID block is two files")
    told(
        run("id-block", "create", "--set", "id-block.key=id.pem", *author),
        2,
        "which the manifest does not name",
    )
    assert not Path("-").exists()


def test_a_document_of_several_releases() -> None:
    for version, policy in (("1", "0x30000"), ("2", "0x20000")):
        more = ("--set", f"guest.version={version}", "--set", f"launch.policy={policy}")
        Path(f"{version}.json").write_text(run("measure", "-q", "-f", "json", *more).out)
    Path("both.json").write_text(run("merge", "1.json", "2.json").out)
    told(run("id-block", "create", "both.json", "--key", "id.pem"), 2, "both.json: has several releases")


def test_a_passphrase_by_environment_or_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ID_PASS", "open")
    told(run("id-block", "create", "--key", "secret.pem", "--passphrase-env", "ID_PASS", "-o", "a"), 0)
    for text in (b"open", b"open\n", b"open\r\nmore"):
        end, start = os.pipe()
        os.write(start, text)
        os.close(start)
        told(run("id-block", "create", "--key", "secret.pem", "--passphrase-fd", end, "-o", "b"), 0)
        os.close(end)
    assert launched("a") == launched("b")
    create = ("id-block", "create", "--key", "secret.pem")
    monkeypatch.setenv("ID_PASS", "")
    told(run(*create, "--passphrase-env", "ID_PASS"), 2, "--passphrase-env ID_PASS: the variable is empty")
    told(run(*create, "--passphrase-env", "ID_NONE"), 2, "--passphrase-env ID_NONE: the variable is not set")
    told(
        run(*create, "--passphrase-env", "A", "--passphrase-fd", 3),
        2,
        "--passphrase-env cannot be combined with --passphrase-fd",
    )
    told(run(*create, "--passphrase-fd", 999), 2, "cannot read --passphrase-fd 999")
    told(run(*create, "--passphrase-fd", 1 << 64), 2, "not the number of a file descriptor")
    with open(os.devnull, "rb") as nothing:
        told(
            run(*create, "--passphrase-fd", nothing.fileno()), 2, "a line of 1 to 4096 bytes is a passphrase"
        )
    monkeypatch.setenv("ID_PASS", "shut")
    told(run(*create, "--passphrase-env", "ID_PASS"), 2, "secret.pem: the passphrase does not open the key")
    told(
        run("id-block", "create", "--key", "id.pem", "--passphrase-env", "ID_PASS"),
        2,
        "id.pem: the key is not encrypted",
    )


# Signed elsewhere


def test_payload_and_attach() -> None:
    hexadecimal = run("id-block", "payload").out
    told(
        run("id-block", "payload", "-o", "signing", "--digest"),
        0,
        "wrote signing/id-block.bin",
        "wrote signing/id-block.sha384",
    )
    block = Path("signing/id-block.bin").read_bytes()
    assert hexadecimal == f"{block.hex()}\n"
    assert Path("signing/id-block.sha384").read_bytes() == sha384(block).digest()
    assert run("id-block", "payload", "--digest").out == f"{sha384(block).hexdigest()}\n"
    told(
        run("id-block", "payload", "--author", "--key", "id.pub", "-o", "signing"),
        0,
        "wrote signing/id-key.bin",
    )
    field = Path("signing/id-key.bin").read_bytes()
    assert field == ID_KEY.public.encode()
    assert (
        run("id-block", "payload", "--author", "--key", "id.pem", "--digest").out
        == f"{ID_KEY.public.digest.hex()}\n"
    )
    Path("signing/id-block.sig").write_bytes(ID_KEY.sign(block).der)
    told(run("id-block", "attach", "signing", "--key", "id.pub"), 0, "wrote signing/id-auth.bin")
    assert not launched("signing").author_key
    Path("author.sig").write_bytes(AUTHOR_KEY.sign(field).encode(144))
    author = ("--author-key", "author.pub", "--author-signature", "author.sig")
    told(run("id-block", "attach", "signing/id-block.bin", "--key", "id.pub", *author), 0)
    assert launched("signing").author_key
    # The field of a key is a public key too.
    told(run("id-block", "attach", "signing", "--key", "signing/id-key.bin", *author), 0)
    told(run("id-block", "attach", "signing", "--key", "id.pub", "--author-key", "author.pem"), 0)
    assert launched("signing").author_key


def test_a_payload_goes_into_a_pipe() -> None:
    for more, size in (([], 96), (["--digest"], 48)):
        command = [sys.executable, "-m", "sevbuild", "id-block", "payload", "-o", "-", *more]
        result = subprocess.run(command, check=True, capture_output=True)
        assert len(result.stdout) == size
        assert result.stdout.hex() == run("id-block", "payload", *more).out.strip()


def test_several_blocks_are_attached_at_once() -> None:
    told(run("id-block", "payload", "--set", "vcpu.count=1-3", "-o", "signing"), 0)
    places = sorted(Path("signing").iterdir())
    assert len(places) == 3
    for place in places:
        (place / "id-block.sig").write_bytes(ID_KEY.sign((place / "id-block.bin").read_bytes()).der)
    result = run(
        "id-block", "attach", "signing", "--key", "id.pub", "--signature", places[0] / "id-block.sig"
    )
    told(result, 2, "--signature is of one ID block, and there are 3")
    # One that does not verify leaves all of them as they were.
    good = (places[2] / "id-block.sig").read_bytes()
    (places[2] / "id-block.sig").write_bytes(private_key(5).sign(b"x").der)
    told(
        run("id-block", "attach", "signing", "--key", "id.pub"),
        1,
        "not a signature of the ID block by the ID key",
    )
    assert not list(Path("signing").rglob("id-auth.bin"))
    (places[2] / "id-block.sig").write_bytes(good)
    told(run("id-block", "attach", "signing", "--key", "id.pub"), 0)
    assert len(list(Path("signing").rglob("id-auth.bin"))) == 3
    launched(str(places[0]))


def test_what_does_not_attach() -> None:
    told(run("id-block", "payload", "-o", "signing"), 0)
    block = Path("signing/id-block.bin").read_bytes()
    signature = Path("signing/id-block.sig")
    attach = ("id-block", "attach", "signing", "--key", "id.pub")
    told(run(*attach), 2, "cannot read signing/id-block.sig")
    signature.write_bytes(ID_KEY.key.sign(block, ECDSA(SHA256())))
    told(run(*attach), 1, "a signature over SHA-256; the firmware verifies SHA-384", "cosign 2 and most KMS")
    signature.write_bytes(b"junk")
    told(run(*attach), 2, "4 bytes that are no signature on P-384")
    signature.write_bytes(AUTHOR_KEY.sign(block).der)
    author = ("--author-key", "author.pem")
    told(run(*attach, *author), 1, "a signature of the ID block by the author key, not by the ID key")
    os.mkdir("empty")
    told(run("id-block", "attach", "empty", "--key", "id.pub"), 2, "there is no id-block.bin in it")
    told(
        run("id-block", "attach", "id.pub", "--key", "id.pub", "--signature", "id.pub"),
        2,
        "an ID block has 96",
    )
    assert not Path("signing/id-auth.bin").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--author"], "--author requires the ID key"),
        (
            ["--author", "guest.toml", "--key", "id.pub"],
            "the author key signs the ID key, whatever the guest",
        ),
        (
            ["--author", "--guest-svn", "1", "--key", "id.pub"],
            "the author key signs the ID key, whatever the guest",
        ),
        (["--key", "id.pub"], "--key is for --author"),
        (["--passphrase-env", "X"], "--key is for --author"),
        (["-o", "-", "--set", "vcpu.count=1-2"], "-o -: 2 ID blocks"),
    ],
)
def test_payloads_that_are_refused(words: list[str], why: str) -> None:
    told(run("id-block", "payload", *words), 2, why)


def test_nothing_of_ours_is_written_over() -> None:
    os.mkdir("out")
    os.symlink("../id.pem", "out/id-auth.bin")
    told(run("id-block", "create", "--key", "id.pem", "-o", "out"), 2, "is an input of this command")
    assert Path("id.pem").read_bytes() == private_pem(ID_KEY)


# Looking at blocks


@pytest.fixture
def signed() -> str:
    """Return the folder of a signed block."""
    words = ("--key", "id.pem", "--author-key", "author.pem", "--guest-svn", 4)
    assert run("id-block", "create", *words, "-o", "out").status == 0
    return "out"


def test_a_block_is_shown_in_every_form(signed: str) -> None:
    block, auth = (Path(signed, f"id-{name}.bin").read_bytes() for name in ("block", "auth"))
    text = run("id-block", "show", signed).out
    assert f"launch digest       {DIGEST}" in text
    assert ID_KEY.public.digest.hex() in text
    assert AUTHOR_KEY.public.digest.hex() in text
    lines = run("id-block", "show", signed, "-f", "base64").out.splitlines()
    assert [b64decode(line) for line in lines] == [block, auth]
    (qemu,) = run("id-block", "show", signed, "-f", "qemu").out.splitlines()
    assert qemu == f"id-block={lines[0]},id-auth={lines[1]},author-key-enabled=on"
    libvirt = run("id-block", "show", signed, "-f", "libvirt").out
    assert f"<idBlock>{lines[0]}</idBlock>\n<idAuth>{lines[1]}</idAuth>\n" in libvirt
    assert "authorKey='yes'" in libvirt
    (entry,) = json.loads(run("id-block", "show", signed, "-f", "json").out)["blocks"]
    assert (entry["launch_digest"], entry["guest_svn"], entry["policy"]) == (DIGEST, 4, "0x30000")
    # As snpguest writes them: base64 in files of any name.
    for name, line in zip(("b", "a"), lines, strict=True):
        Path(name).write_text(line + "\n")
    assert run("id-block", "show", "b", "a").out == text.replace("\n", "\n")
    told(run("id-block", "show", "b"), 2, "there is no id-auth.bin beside it")
    told(run("id-block", "show", "id.pem"), 2, "id.pem: ", "an ID block has 96")


def test_a_block_is_verified(signed: str) -> None:
    wanted = [
        "--launch-digest", DIGEST, "--policy", "0x30000", "--guest-svn", 4, "--family-id", "00" * 16, "--image-id", "00" * 16,
        "--key-digest", ID_KEY.public.digest.hex(), "--author-key-digest", AUTHOR_KEY.public.digest.hex(),
    ]  # fmt: skip
    result = run("id-block", "verify", signed, *wanted)
    told(result, 0)
    assert "not checked" not in result.out
    assert result.out.splitlines()[-1] == "out/id-block.bin: 12 pass, 0 fail"
    alone = run("id-block", "verify", signed)
    told(alone, 0)
    said = "5 pass, 0 fail, not checked: launch-digest, policy, family-id, image-id, guest-svn, id-key, author-key"
    assert alone.out.endswith(f"out/id-block.bin: {said}\n")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--launch-digest", "00" * 48], "launch-digest"),
        (["--policy", "0x20000"], "policy"),
        (["--guest-svn", "5"], "guest-svn"),
        (["--family-id", "01" * 16], "family-id"),
        (["--image-id", "01" * 16], "image-id"),
        (["--key-digest", "00" * 48], "id-key"),
        (["--author-key-digest", "00" * 48], "author-key"),
    ],
)
def test_what_does_not_hold_is_named(signed: str, words: list[str], name: str) -> None:
    result = run("id-block", "verify", signed, *words, "-f", "json")
    told(result, 1, f"error: out/id-block.bin: {name}: does not hold")
    failed = [check["name"] for check in json.loads(result.out)["checks"] if check["status"] == "fail"]
    assert failed == [name]
    told(run("id-block", "verify", signed, words[0], "x"), 2, "x")


def test_a_block_is_held_to_what_was_published(signed: str) -> None:
    keys = ("--set", "id-block.key=id.pem", "--set", "id-block.author-key=author.pem")
    for name, more in (
        ("with", [*keys, "--set", "id-block.guest-svn=4"]),
        ("other", [*keys]),
        ("without", []),
    ):
        Path(f"{name}.json").write_text(run("measure", "-q", "-f", "json", *more).out)
    result = run("id-block", "verify", signed, "--against", "with.json")
    told(result, 0)
    assert "the launch digest is that of snp/qemu/EPYC-Milan/vcpus1 in with.json" in result.out
    assert result.out.splitlines()[-1] == "out/id-block.bin: 13 pass, 0 fail"
    told(run("id-block", "verify", signed, "--against", "other.json"), 1, "guest-svn: does not hold")
    # An author whom nobody published is none to trust.
    Path("lone.json").write_text(
        run(
            "measure", "-q", "-f", "json", "--set", "id-block.key=id.pem", "--set", "id-block.guest-svn=4"
        ).out
    )
    told(
        run("id-block", "verify", signed, "--against", "lone.json"),
        1,
        "error: out/id-block.bin: author-key: does not",
    )
    assert run("id-block", "create", "-q", "--key", "id.pem", "--guest-svn", 4, "-o", "lone").status == 0
    lone = run("id-block", "verify", "lone", "--against", "lone.json")
    assert "there is no author key, as wanted" in lone.out
    assert lone.out.endswith("lone/id-block.bin: 12 pass, 0 fail\n")
    assert "author-key" not in run("id-block", "verify", "lone").out
    # What is asked for on the command line comes first.
    told(run("id-block", "verify", signed, "--against", "other.json", "--guest-svn", 4), 0)
    plain = run("id-block", "verify", signed, "--against", "without.json")
    told(plain, 0)
    assert plain.out.splitlines()[-1].endswith(
        "not checked: family-id, image-id, guest-svn, id-key, author-key"
    )
    foreign = run("id-block", "verify", signed, "--against", ROOT / "tests" / "data" / "none.json")
    told(foreign, 2, "none.json")
    Path("foreign.json").write_text(run("measure", "-q", "-f", "json", "--set", "vcpu.count=2").out)
    told(
        run("id-block", "verify", signed, "--against", "foreign.json"),
        1,
        "out/id-block.bin: target: does not hold",
    )


def _set(name: str, at: int, value: int) -> Callable[[str], None]:
    def change(folder: str) -> None:
        path = Path(folder, f"id-{name}.bin")
        data = bytearray(path.read_bytes())
        data[at] = value
        path.write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (_set("block", 0x50, 2), "version, id-key-signature, launch-finish"),
        (_set("block", 0x5A, 1), "launchable-policy, id-key-signature, launch-finish"),
        (_set("auth", 0x40, 1), "id-key-signature, launch-finish"),
        (_set("auth", 0x680, 1), "author-key-signature, launch-finish"),
        (_set("auth", 0x10, 1), "authentication"),
    ],
)
def test_a_damaged_block(signed: str, change: Callable[[str], None], names: str) -> None:
    change(signed)
    told(run("id-block", "verify", signed), 1, f"error: out/id-block.bin: {names}:")
    assert run("id-block", "show", signed).status in (1, 2)


def test_without_an_authentication_little_is_checked(signed: str) -> None:
    os.unlink("out/id-auth.bin")
    result = run("id-block", "verify", signed)
    told(result, 0)
    assert "authentication, id-key-signature" in result.out.splitlines()[-1]
    told(run("id-block", "create", "--key", "id.pem", "-o", "out", "-q"), 0)
    told(run("id-block", "verify", signed, "--author-key-digest", "00" * 48), 1, "author-key: does not hold")


def test_the_block_in_an_igvm_file() -> None:
    file = shared_file("igvm/signed/snp_all_v1_signed.igvm")
    result = run(
        "id-block",
        "verify",
        file,
        "--key-digest",
        run("id-block", "key-digest", file.parent / "id_key_pub.pem").out.strip(),
    )
    told(result, 0)
    assert "author-key-signature  pass" in result.out
    assert (
        f"id key digest       {run('id-block', 'key-digest', file.parent / 'id_key_pub.pem').out}"
        in run("id-block", "show", file).out
    )
    told(run("id-block", "show", shared_file("igvm/snp_all_v1.igvm")), 2, "no ID blocks in the file")
    told(run("id-block", "show", file, "a"), 2, "has the authentication of its ID block")


@pytest.mark.parametrize("policies", [0, 2])
def test_the_policy_of_a_block_in_an_igvm_file(tmp_path: Path, policies: int) -> None:
    page = PageData(0x1000, 1, bytes(4096))
    write_file(tmp_path, SNP, *[GuestPolicy(0x30000, 1)] * policies, page, BSP, ID_BLOCK)
    told(run("id-block", "verify", "guest.igvm"), 2, f"{policies} guest policies beside the ID block")


def test_digests_of_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = ID_KEY.public.digest
    for name in ("id.pem", "id.pub"):
        assert run("id-block", "key-digest", name).out == f"{digest.hex()}\n"
    several = run("id-block", "key-digest", "id.pub", "author.pub", "-f", "base64").out.splitlines()
    assert [b64decode(line.split()[0]) for line in several] == [digest, AUTHOR_KEY.public.digest]
    monkeypatch.setenv("ID_PASS", "open")
    assert (
        run("id-block", "key-digest", "secret.pem", "--passphrase-env", "ID_PASS").out == f"{digest.hex()}\n"
    )
    told(run("id-block", "key-digest", "secret.pem"), 2, "the key is encrypted")
    told(
        run("id-block", "key-digest", "id.pem", "--author-passphrase-env", "ID_PASS"),
        2,
        "are for an author key",
    )
    told(run("id-block", "key-digest", "guest.toml"), 2, "guest.toml: not a key")


@pytest.mark.parametrize("verb", ["create", "payload", "attach", "show", "verify", "key-digest"])
def test_help_fits_a_terminal(verb: str) -> None:
    result = run("id-block", verb, "--help")
    assert result.status == 0
    assert max(map(len, result.out.splitlines())) <= 80
