"""ID blocks of ours in the hands of others, and theirs in ours."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from sevbuild.identity.ecdsa import ORDER_P384
from sevbuild.identity.firmware import GivenIdBlock
from sevbuild.identity.id_auth import IdAuth
from sevbuild.identity.id_block import IdBlock
from tests.support.cli import run
from tests.support.id_blocks import AUTHOR_KEY, BLOCK, ID_KEY, private_pem, public_pem, signed
from tests.support.real import peer_program, tool

PRIME = 2**384 - 2**128 - 2**96 + 2**32 - 1
BASE = (
    0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
    0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
)
"""The curve as SEC 2 (2.5.1) has it."""
Point = tuple[int, int] | None


def _add(one: Point, other: Point) -> Point:
    if one is None or other is None:
        return one or other
    if one[0] == other[0]:
        if (one[1] + other[1]) % PRIME == 0:
            return None
        slope = (3 * one[0] * one[0] - 3) * pow(2 * one[1], -1, PRIME)
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, PRIME)
    x = (slope * slope - one[0] - other[0]) % PRIME
    return x, (slope * (one[0] - x) - one[1]) % PRIME


def _times(number: int, point: Point) -> Point:
    found: Point = None
    for bit in f"{number:b}":
        found = _add(found, found)
        if bit == "1":
            found = _add(found, point)
    return found


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 72], "little")


def _verifies(message: bytes, auth: bytes, signature: int, key: int) -> bool:
    """Tell whether a signature holds by the numbers at two places of the 4096 bytes (SEC 1, 4.1.4)."""
    from hashlib import sha384

    r, s = _number(auth, signature), _number(auth, signature + 72)
    inverse = pow(s, -1, ORDER_P384)
    digest = int.from_bytes(sha384(message).digest(), "big")
    public = (_number(auth, key + 4), _number(auth, key + 76))
    point = _add(_times(digest * inverse % ORDER_P384, BASE), _times(r * inverse % ORDER_P384, public))
    return point is not None and point[0] % ORDER_P384 == r


def test_our_bytes_hold_by_arithmetic_alone() -> None:
    one = signed(author=True)
    block, auth = one.block.encode(), one.auth.encode()
    assert _verifies(block, auth, 0x040, 0x240)
    assert _verifies(auth[0x240:0x644], auth, 0x680, 0x880)
    assert not _verifies(block[:-1] + b"\1", auth, 0x040, 0x240)
    assert not _verifies(block, auth, 0x680, 0x240)


@pytest.mark.parametrize("author", [False, True])
def test_openssl_verifies_ours(tmp_path: Path, author: bool) -> None:
    one = signed(author=True)
    signature = one.auth.author.signature if author and one.auth.author else one.auth.signature
    message = one.auth.key.encode() if author else one.block.encode()
    for name, data in (
        ("message", message),
        ("sig", signature.der),
        ("key", public_pem(AUTHOR_KEY if author else ID_KEY)),
    ):
        (tmp_path / name).write_bytes(data)
    command = [*tool("openssl"), "dgst", "-sha384", "-verify", "key", "-signature", "sig", "message"]
    result = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "Verified OK\n")


@pytest.mark.parametrize(
    "form", [[], ["-traditional"], ["-outform", "DER"], ["-traditional", "-outform", "DER"]]
)
def test_keys_that_openssl_writes(tmp_path: Path, form: list[str]) -> None:
    made = subprocess.run(
        [*tool("openssl"), "ecparam", "-name", "secp384r1", "-genkey"], check=True, capture_output=True
    ).stdout
    (tmp_path / "key.pem").write_bytes(made)
    subprocess.run(
        [*tool("openssl"), "pkey", "-in", "key.pem", "-out", "form", *form], check=True, cwd=tmp_path
    )
    digests = {run("id-block", "key-digest", tmp_path / name).out for name in ("key.pem", "form")}
    assert len(digests) == 1
    assert len(digests.pop()) == 97


def test_snpguest_writes_the_same(tmp_path: Path) -> None:
    """The sev crate of virtee, which snpguest is made of."""
    program = peer_program("snpguest")
    (tmp_path / "id.pem").write_bytes(private_pem(ID_KEY))
    (tmp_path / "author.pem").write_bytes(private_pem(AUTHOR_KEY))
    command = [
        program, "generate", "id-block", "id.pem", "author.pem", b64encode(BLOCK.launch_digest).decode(),
        "-f", BLOCK.family_id.hex(), "-m", BLOCK.image_id.hex(), "-s", str(BLOCK.guest_svn), "-p", hex(BLOCK.policy),
        "-i", "block", "-a", "auth",
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    block, auth = (b64decode((tmp_path / name).read_text()) for name in ("block", "auth"))
    assert IdBlock.decode(block, "snpguest") == BLOCK
    theirs, ours = IdAuth.decode(auth, "snpguest"), signed(author=True).auth
    assert theirs.author is not None
    assert ours.author is not None
    assert (theirs.key, theirs.author.key) == (ours.key, ours.author.key)
    assert GivenIdBlock(block, auth, author_key=True).refusal() is None
    assert run("id-block", "verify", tmp_path / "block", tmp_path / "auth").status == 0
    digest = subprocess.run(
        [program, "generate", "key-digest", "id.pem"],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert digest.removeprefix("0x") == run("id-block", "key-digest", tmp_path / "id.pem").out.strip()


def test_what_cosign_signs(tmp_path: Path) -> None:
    """cosign 3 hashes with SHA-384 where the key is on P-384; cosign 2 with SHA-256, whatever the key."""
    cosign = peer_program("cosign")
    (tmp_path / "id.pem").write_bytes(private_pem(ID_KEY))
    (tmp_path / "id.pub").write_bytes(public_pem(ID_KEY))
    (tmp_path / "block").write_bytes(BLOCK.encode())
    environment = {**os.environ, "COSIGN_PASSWORD": "", "HOME": str(tmp_path)}

    def call(*words: str) -> None:
        command = [cosign, *words]
        subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, env=environment)

    call("import-key-pair", "--key", "id.pem")
    options = ["--yes", "--key", "import-cosign.key", "--tlog-upload=false"]
    listed = subprocess.run(
        [cosign, "sign-blob", "--help"], check=True, capture_output=True, text=True
    ).stdout
    options += ["--use-signing-config=false"] if "--use-signing-config" in listed else ["--new-bundle-format"]
    call("sign-blob", *options, "--bundle", "bundle.json", "block")
    signed_message = json.loads((tmp_path / "bundle.json").read_text())["messageSignature"]
    (tmp_path / "sig").write_text(signed_message["signature"])
    words = (
        "id-block",
        "attach",
        tmp_path / "block",
        "--key",
        tmp_path / "id.pub",
        "--signature",
        tmp_path / "sig",
    )
    result = run(*words)
    if signed_message["messageDigest"]["algorithm"] == "SHA2_384":
        assert result.status == 0, result.err
    else:
        assert result.status == 1
        assert "a signature over SHA-256; the firmware verifies SHA-384" in result.err
