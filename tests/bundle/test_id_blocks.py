"""Bundles of guests whose manifest declares an ID block: who signs it, where it goes, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from sevbuild.bundle.verify import verify_bundle
from sevbuild.errors import FaultsError, MismatchError, SevbuildError
from sevbuild.guest.guest import load_guest
from sevbuild.guest.id_block_files import read_block_file, read_signed_block
from sevbuild.guest.id_blocks import Passphrases
from sevbuild.identity.firmware import GivenIdBlock
from sevbuild.identity.id_auth import IdAuth
from sevbuild.identity.id_block import IdBlock
from sevbuild.igvm.headers import SnpIdBlock
from sevbuild.igvm.load import load
from sevbuild.igvm.loaders import LOADERS
from sevbuild.igvm.pages import UpdateMaker
from sevbuild.igvm.portable import portable_breaches
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import MemorySource
from sevbuild.launch.snp_guest import SnpGuest
from tests.bundle.support import build, contents, manifest_of
from tests.support.cli import run
from tests.support.id_blocks import AUTHOR_KEY, ID_KEY, private_key, private_pem, public_pem

IDS = {"family-id": "ab" * 16, "image-id": "cd" * 16, "guest-svn": 7}
SIGNED = {"key": "id.pem", **IDS}
AUTHORED = {**SIGNED, "author-key": "author.pem"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with keys in it."""
    for name, key in (("id", ID_KEY), ("author", AUTHOR_KEY)):
        (tmp_path / f"{name}.pem").write_bytes(private_pem(key))
        (tmp_path / f"{name}.pub").write_bytes(public_pem(key))
    (tmp_path / "secret.pem").write_bytes(private_pem(ID_KEY, passphrase=b"open"))
    return tmp_path


def declared(folder: Path, block: dict[str, Any], **tables: Any) -> Path:
    """Write a manifest of two SNP targets with an ID block."""
    return manifest_of(folder, **{"id-block": block, "kernel": None, "initrd": None, **tables})


def finish(digest: bytes, policy: int, given: GivenIdBlock) -> None:
    """Finish a launch with a block, as the firmware does; raises LaunchError."""
    guest = SnpGuest()
    guest.launch_start(policy, seed=digest)
    guest.launch_finish(identity=given)


def given_in(bundle: Path, files: dict[str, str]) -> GivenIdBlock:
    """Return what a target of a bundle is launched with."""
    block, auth = ((bundle / files[role]).read_bytes() for role in ("id_block", "id_auth"))
    return GivenIdBlock.of(block, auth, author_key=IdAuth.decode(auth, "auth").author is not None)


@pytest.mark.parametrize("block", [SIGNED, AUTHORED])
def test_each_target_has_a_block_that_launches_it(folder: Path, block: dict[str, Any]) -> None:
    bundle = folder / "dist"
    build(declared(folder, block), bundle)
    targets = json.loads((bundle / "bundle.json").read_text())["targets"]
    assert len({target["files"]["id_block"] for target in targets}) == len(targets) == 2
    values = json.loads((bundle / "reference-values.json").read_text())["values"]
    for target, value in zip(targets, values, strict=True):
        given = given_in(bundle, target["files"])
        finish(bytes.fromhex(target["digest"]), int(target["policy"], 16), given)
        assert IdBlock.decode(given.block, "block")[2:] == (b"\xab" * 16, b"\xcd" * 16, 7, 1)
        wanted = {
            "id_key_digest": ID_KEY.public.digest.hex(),
            "family_id": "ab" * 16,
            "image_id": "cd" * 16,
            "guest_svn": 7,
        }
        if block is AUTHORED:
            wanted["author_key_digest"] = AUTHOR_KEY.public.digest.hex()
        assert value["id_block"] == wanted
        assert "id_block" not in target
    assert verify_bundle(str(bundle)).values.values[0].id_block is not None
    # The same every time, and without the private key.
    build(folder / "guest.toml", folder / "again")
    assert contents(bundle) == contents(folder / "again")
    secret = ID_KEY.key.private_numbers().private_value.to_bytes(48, "big")
    pem = private_pem(ID_KEY)
    for path in bundle.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert secret not in data
            assert pem.splitlines()[1] not in data
            assert b"id.pem" not in data


def test_launch_commands_have_it(folder: Path) -> None:
    bundle = folder / "dist"
    build(declared(folder, AUTHORED, vcpu={"count": 1}), bundle)
    (target,) = json.loads((bundle / "bundle.json").read_text())["targets"]
    given, files = given_in(bundle, target["files"]), target["files"]
    arguments = json.loads((bundle / files["qemu_arguments"]).read_text())
    (guest,) = (words for words in arguments if words.startswith("sev-snp-guest"))
    properties = dict(pair.split("=", 1) for pair in guest.split(",")[1:])
    assert properties["author-key-enabled"] == "on"
    assert properties["policy"] == target["policy"]
    assert b64decode(properties["id-block"]) == given.block
    assert b64decode(properties["id-auth"]) == given.auth
    assert properties["id-auth"] in (bundle / files["launch_script"]).read_text()
    domain = (bundle / files["libvirt_domain"]).read_text()
    assert f"<idBlock>{properties['id-block']}</idBlock>" in domain
    assert f"<idAuth>{properties['id-auth']}</idAuth>" in domain
    assert "authorKey='yes'" in domain
    printed = run("qemu-args", "-q", "--target", "vcpus1", folder / "guest.toml")
    assert properties["id-auth"] in printed.out
    # Without an author there is no word of one.
    other = run(
        "qemu-args", "-q", "-f", "libvirt", "--set", "id-block.author-key=id.pem", folder / "guest.toml"
    )
    assert "authorKey='yes'" in other.out
    declared(folder, SIGNED, vcpu={"count": 1})
    plain = run("qemu-args", "-q", "-f", "libvirt", folder / "guest.toml").out
    assert "<idBlock>" in plain
    assert "authorKey" not in plain


@pytest.mark.parametrize("block", [SIGNED, AUTHORED])
@pytest.mark.parametrize("profile", ["qemu-igvm", "cloud-hypervisor-kvm"])
def test_igvm_files_of_ours_have_it(folder: Path, block: dict[str, Any], profile: str) -> None:
    """Policy and block agree, and the file has the digest in every loader that it has without."""
    bundle = folder / "dist"
    tables = {"launch": {"profile": profile}, "vcpu": {"count": 1}}
    plain = run(
        "build", "-q", "-o", folder / "plain", manifest_of(folder, kernel=None, initrd=None, **tables)
    ).out
    build(declared(folder, block, **tables), bundle)
    assert verify_bundle(str(bundle))
    (target,) = json.loads((bundle / "bundle.json").read_text())["targets"]
    assert target["digest"] == plain.strip()
    found = read_block_file(str(bundle / target["files"]["igvm"]))
    assert found.auth is not None
    assert found.author_key is (block is AUTHORED)
    given = GivenIdBlock.of(found.block, found.auth, author_key=found.author_key)
    finish(bytes.fromhex(target["digest"]), int(target["policy"], 16), given)
    assert given == given_in(bundle, target["files"])
    source = MemorySource((bundle / target["files"]["igvm"]).read_bytes())
    file = read_igvm(source)
    assert portable_breaches(file) == []
    assert isinstance([item.header for item in file.items()][-1], SnpIdBlock)
    shapes = {
        tuple(load(file, loader, UpdateMaker(source)).plan.updates[:3])
        for loader in LOADERS.values()
        if loader.launches
    }
    assert shapes
    digests = {
        line.split()[0]
        for line in run("measure", "-q", "--loader", "all", bundle / target["files"]["igvm"]).out.splitlines()
    }
    assert digests == {target["digest"]}
    for path in bundle.rglob("launch.sh"):
        # QEMU would pass over it.
        assert "id-block=" not in path.read_text()


def test_blocks_that_were_signed_elsewhere(folder: Path) -> None:
    manifest = declared(folder, {"signed": "blocks", **IDS, "key-digest": ID_KEY.public.digest.hex()})
    told = run("build", "-q", "-o", folder / "dist", manifest)
    assert (told.status, "cannot read" in told.err) == (2, True)
    assert run("id-block", "payload", "-q", "-o", folder / "blocks", manifest).status == 0
    for path in (folder / "blocks").glob("*/id-block.bin"):
        path.with_suffix(".sig").write_bytes(ID_KEY.sign(path.read_bytes()).der)
    assert run("id-block", "attach", "-q", folder / "blocks", "--key", folder / "id.pub").status == 0
    build(manifest, folder / "dist")
    verify_bundle(str(folder / "dist"))
    assert (folder / "dist" / "id-blocks").is_dir()
    # The bundle is the one that the key on this machine makes.
    build(declared(folder, SIGNED), folder / "other")
    assert contents(folder / "dist") == contents(folder / "other")
    assert run("check", declared(folder, {"signed": "blocks"})).status == 0


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"guest-svn": 8}, "id-block.guest-svn: 8; the block in blocks/"),
        ({"family-id": "00" * 16}, "id-block.family-id: " + "00" * 16),
        ({"image-id": "00" * 16}, "id-block.image-id: " + "00" * 16),
        ({"key-digest": "00" * 48}, "id-block.key-digest: " + "00" * 48 + " is pinned; the key's is "),
        ({"author-key-digest": "00" * 48}, "is pinned; there is no such key"),
    ],
)
def test_a_block_that_is_not_the_declared_one(folder: Path, block: dict[str, Any], message: str) -> None:
    assert run("id-block", "create", "-q", "-o", folder / "blocks", declared(folder, SIGNED)).status == 0
    manifest = declared(folder, {"signed": "blocks", **block})
    with pytest.raises(MismatchError) as caught:
        build(manifest, folder / "dist")
    assert message in caught.value.message
    assert not (folder / "dist").exists()


def test_a_block_for_another_launch(folder: Path) -> None:
    assert run("id-block", "create", "-q", "-o", folder / "blocks", declared(folder, SIGNED)).status == 0
    policy = declared(folder, {"signed": "blocks"}, launch={"policy": 0xB0000})
    with pytest.raises(MismatchError, match=r"and policy 0xb0000, but one for policy 0x30000$"):
        build(policy, folder / "dist")
    other = declared(folder, {"signed": "blocks"}, vcpu={"count": 3})
    with pytest.raises(MismatchError, match="has no ID block for launch digest") as caught:
        build(other, folder / "dist")
    assert "id-block payload" in str(caught.value.hint)


def test_a_folder_with_a_block_that_does_not_hold(folder: Path) -> None:
    assert run("id-block", "create", "-q", "-o", folder / "blocks", declared(folder, SIGNED)).status == 0
    manifest = declared(folder, {"signed": "blocks"})
    first, second = sorted((folder / "blocks").iterdir())
    shutil.copytree(first, folder / "blocks" / "copy")
    build(manifest, folder / "dist")
    auth = folder / "blocks" / "copy" / "id-auth.bin"
    found = read_signed_block(str(folder / "blocks" / "copy"))
    other = found.auth._replace(signature=found.auth.signature._replace(s=found.auth.signature.s ^ 1))
    auth.write_bytes(other.encode())
    with pytest.raises(MismatchError, match="copy: the signature of the ID block is not the ID key's"):
        build(manifest, folder / "dist")
    shutil.copy(second / "id-auth.bin", auth)
    with pytest.raises(MismatchError, match="the signature of the ID block is not the ID key's"):
        build(manifest, folder / "dist")
    run(
        "id-block",
        "create",
        "-q",
        "-o",
        folder / "blocks" / "copy",
        "--guest-svn",
        9,
        "--target",
        "vcpus1",
        declared(folder, SIGNED),
    )
    manifest = declared(folder, {"signed": "blocks"})
    with pytest.raises(SevbuildError, match="are two ID blocks for one launch"):
        build(manifest, folder / "dist")


@pytest.mark.parametrize("role", ["id_block", "id_auth"])
def test_a_bundle_whose_block_was_changed(folder: Path, role: str) -> None:
    bundle = folder / "dist"
    build(declared(folder, SIGNED, vcpu={"count": 1}), bundle)
    document = json.loads((bundle / "bundle.json").read_text())
    path = document["targets"][0]["files"][role]
    data = bytearray((bundle / path).read_bytes())
    data[0x50] ^= 1
    _put(bundle, path, bytes(data))
    with pytest.raises(SevbuildError) as caught:
        verify_bundle(str(bundle))
    assert "ID block" in caught.value.message


def test_a_bundle_signed_by_another(folder: Path) -> None:
    """Whoever signs a bundle anew with a key of his own gives it other reference values."""
    bundle = folder / "dist"
    build(declared(folder, SIGNED, vcpu={"count": 1}), bundle)
    files = json.loads((bundle / "bundle.json").read_text())["targets"][0]["files"]
    (folder / "other.pem").write_bytes(private_pem(private_key(77)))
    run(
        "id-block",
        "create",
        "-q",
        "-o",
        folder / "blocks",
        declared(folder, {**SIGNED, "key": "other.pem"}, vcpu={"count": 1}),
    )
    _put(bundle, files["id_auth"], (folder / "blocks" / "id-auth.bin").read_bytes())
    with pytest.raises(MismatchError, match=r"id-block\.key-digest: .* is pinned; the key's is"):
        verify_bundle(str(bundle))


def test_a_bundle_that_names_a_key(folder: Path) -> None:
    bundle = folder / "dist"
    build(declared(folder, SIGNED, vcpu={"count": 1}), bundle)
    text = (bundle / "guest.toml").read_text()
    _put(bundle, "guest.toml", text.replace('signed = "id-blocks"', 'key = "../id.pem"').encode())
    with pytest.raises(SevbuildError, match="ID blocks of a bundle lie in id-blocks, without keys"):
        verify_bundle(str(bundle))


def _put(bundle: Path, path: str, data: bytes) -> None:
    """Put other bytes in a bundle, with the digests that go with them."""
    from hashlib import sha256

    (bundle / path).write_bytes(data)
    document = json.loads((bundle / "bundle.json").read_text())
    for entry in document["files"]:
        if entry["path"] == path:
            entry["sha256"], entry["size"] = sha256(data).hexdigest(), len(data)
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    (bundle / "bundle.json").write_text(text)
    sums = (bundle / "SHA256SUMS").read_text().splitlines()
    known = {line.partition("  ")[2] for line in sums}
    lines = [f"{sha256((bundle / name).read_bytes()).hexdigest()}  {name}" for name in sorted(known)]
    (bundle / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def test_a_pinned_key_needs_not_be_there(folder: Path) -> None:
    pins = {"key-digest": ID_KEY.public.digest.hex(), "author-key-digest": AUTHOR_KEY.public.digest.hex()}
    manifest = declared(folder, {**AUTHORED, **pins})
    before = run("measure", "-q", "-f", "json", manifest).out
    for name in ("id.pem", "author.pem"):
        (folder / name).unlink()
    assert run("measure", "-q", "-f", "json", manifest).out == before
    checked = run("check", manifest)
    assert (checked.status, "key-digest stands for it" in checked.err) == (0, True)
    told = run("build", "-q", "-o", folder / "dist", manifest)
    assert (told.status, "id-block.key: cannot read" in told.err) == (2, True)


def test_a_key_that_is_known_by_its_digest_alone(folder: Path) -> None:
    manifest = declared(folder, {"key-digest": ID_KEY.public.digest.hex(), **IDS})
    build(manifest, folder / "dist")
    verified = verify_bundle(str(folder / "dist"))
    assert verified.values.values[0].id_block is not None
    assert not (folder / "dist" / "id-blocks").exists()
    checked = run("check", manifest)
    assert "no ID block is built: its key is known by its digest alone" in checked.err


def test_an_encrypted_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = declared(folder, {"key": "secret.pem"})
    monkeypatch.setenv("ID_PASS", "open")
    told = run("build", "-q", "-o", folder / "dist", manifest)
    assert (told.status, "id-block.key: secret.pem: the key is encrypted" in told.err) == (2, True)
    assert "--passphrase-env" in told.err
    told = run("measure", "-q", "-f", "json", manifest)
    assert (told.status, "id-block.key-digest stands for the key" in told.err) == (2, True)
    assert run("build", "-q", "-o", folder / "dist", "--passphrase-env", "ID_PASS", manifest).status == 0
    assert run("verify", "-q", folder / "dist").status == 0
    words = ("qemu-args", "-q", "--target", "vcpus1", manifest)
    assert run(*words).status == 2
    assert "id-block=" in run(*words, "--passphrase-env", "ID_PASS").out
    checked = run("check", manifest)
    assert (checked.status, "a key of [id-block] is encrypted: it was not opened" in checked.err) == (0, True)
    # What opens nothing is refused, not ignored.
    told = run("build", "-q", "-o", folder / "dist", "--passphrase-env", "ID_PASS", declared(folder, SIGNED))
    assert (told.status, "the key is not encrypted" in told.err) == (2, True)


def test_a_passphrase_without_a_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ID_PASS", "open")
    told = run("build", "-q", "-o", folder / "dist", "--passphrase-env", "ID_PASS", manifest_of(folder))
    assert (told.status, "a passphrase, but no key that it opens" in told.err) == (2, True)
    for words, block in (
        ("--author-passphrase-env", {"key": "secret.pem"}),
        ("--passphrase-env", {"key-digest": "ab" * 48}),
    ):
        told = run("build", "-q", "-o", folder / "dist", words, "ID_PASS", declared(folder, block))
        assert told.status == 2
        assert "which the manifest does not name" in told.err


def test_an_encrypted_author_key(folder: Path) -> None:
    (folder / "author.pem").write_bytes(private_pem(AUTHOR_KEY, passphrase=b"sesame"))
    guest = load_guest(
        str(declared(folder, {"key": "secret.pem", "author-key": "author.pem"}, vcpu={"count": 1}))
    )
    assert guest.id_blocks is not None
    guest.id_blocks.unlock(Passphrases(b"open", b"sesame"))
    (item,) = guest.measure()
    signed = guest.id_blocks.signed(item.target, item.digest)
    assert signed is not None
    assert signed.auth.author is not None
    assert signed.auth.author.key == AUTHOR_KEY.public


def test_an_author_who_signed_elsewhere(folder: Path) -> None:
    (folder / "author.sig").write_bytes(AUTHOR_KEY.sign(ID_KEY.public.encode()).der)
    block = {"key": "id.pem", "author-key": "author.pub", "author-signature": "author.sig"}
    build(declared(folder, block), folder / "dist")
    build(declared(folder, {"key": "id.pem", "author-key": "author.pem"}), folder / "other")
    assert contents(folder / "dist") == contents(folder / "other")
    (folder / "author.sig").write_bytes(AUTHOR_KEY.sign(private_key(5).public.encode()).der)
    with pytest.raises(
        MismatchError, match=r"id-block\.author-signature: author\.sig: not a signature of the ID key"
    ):
        build(declared(folder, block), folder / "dist")
    with pytest.raises(SevbuildError, match=r"id-block\.author-key: author\.pub: a public key") as caught:
        build(declared(folder, {"key": "id.pem", "author-key": "author.pub"}), folder / "dist")
    assert "author-signature" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("block", "tables", "message"),
    [
        ({"guest-svn": 1}, {}, "id-block: does not say who signs the ID blocks"),
        ({"key": "k", "signed": "s"}, {}, "id-block.signed: cannot be combined with key"),
        ({"signed": "s", "author-key": "a"}, {}, "id-block.author-key: requires key"),
        ({"key": "k", "author-signature": "s"}, {}, "id-block.author-signature: requires author-key"),
        ({"key": "k", "author-key-digest": "ab" * 48}, {}, "id-block.author-key-digest: requires author-key"),
        ({"key": "k", "family-id": "ab"}, {}, "id-block.family-id: must be 32 hexadecimal digits"),
        ({"key": "k", "guest-svn": 1 << 32}, {}, "id-block.guest-svn: must be 0x0..0xffffffff"),
        ({"key": "k", "passphrase": "x"}, {}, "id-block.passphrase: unknown key"),
        ({"key": "~/k"}, {}, "begins with ~"),
        (5, {}, "id-block: must be a table"),
        (
            SIGNED,
            {"launch": {"mode": "sev", "policy": None}},
            "no target is an SNP guest, and only those take an ID block",
        ),
        (
            SIGNED,
            {"launch": {"profile": "ec2"}},
            "there is no launch command for profile ec2",
        ),
    ],
)
def test_what_a_manifest_may_not_say(folder: Path, block: Any, tables: dict[str, Any], message: str) -> None:
    with pytest.raises(FaultsError) as caught:
        load_guest(str(declared(folder, block, **tables)))
    assert message in caught.value.message
    assert re.search(r"guest\.toml:\d+: ", caught.value.message)


def test_a_ready_igvm_file_has_its_own(folder: Path) -> None:
    tables: dict[str, Any] = {"launch": {"profile": "qemu-igvm", "policy": None}, "igvm": {"path": "x.igvm"}}
    manifest = declared(folder, SIGNED, firmware=None, **tables)
    with pytest.raises(FaultsError, match=r"id-block: cannot be combined with igvm\.path"):
        load_guest(str(manifest))


def test_the_block_of_a_ready_igvm_file_is_published(folder: Path) -> None:
    tables: dict[str, Any] = {"launch": {"profile": "qemu-igvm"}, "vcpu": {"count": 1}}
    built = declared(folder, AUTHORED, **tables)
    build(built, folder / "first")
    (file,) = (folder / "first").glob("targets/*/guest.igvm")
    published = json.loads(run("measure", "-q", "-f", "json", built).out)["values"][0]["id_block"]
    ready = {"launch": {"mode": "snp", "profile": "qemu-igvm", "policy": None}, "igvm": {"path": str(file)}}
    manifest = manifest_of(folder, firmware=None, kernel=None, initrd=None, vcpu={"count": 1}, **ready)
    (value,) = json.loads(run("measure", "-q", "-f", "json", manifest).out)["values"]
    assert value["id_block"] == published
    build(manifest, folder / "dist")
    verify_bundle(str(folder / "dist"))
    # Releases that said nothing of it made bundles too.
    text = (folder / "dist" / "reference-values.json").read_text()
    document = json.loads(text)
    del document["values"][0]["id_block"]
    _put(
        folder / "dist",
        "reference-values.json",
        (json.dumps(document, indent=2, sort_keys=True) + "\n").encode(),
    )
    verify_bundle(str(folder / "dist"))
    # Where the manifest declares one, that is no older form.
    document = json.loads((folder / "first" / "reference-values.json").read_text())
    del document["values"][0]["id_block"]
    _put(
        folder / "first",
        "reference-values.json",
        (json.dumps(document, indent=2, sort_keys=True) + "\n").encode(),
    )
    with pytest.raises(MismatchError, match="not the reference values of what was measured"):
        verify_bundle(str(folder / "first"))


def test_of_several_modes_the_snp_targets_have_one(folder: Path) -> None:
    launch = {"mode": ["snp", "sev-es"], "policy": {"snp": 0x30000, "sev-es": 5}}
    build(declared(folder, SIGNED, launch=launch, vcpu={"count": 1}), folder / "dist")
    targets = json.loads((folder / "dist" / "bundle.json").read_text())["targets"]
    assert ["id_block" in target["files"] for target in targets] == [True, False]
    verify_bundle(str(folder / "dist"))


def test_each_entry_of_a_matrix_can_have_its_own(folder: Path) -> None:
    matrix = [{"vcpu": {"count": 1}}, {"vcpu": {"count": 2}, "id-block": {"guest-svn": 9}}]
    build(declared(folder, SIGNED, vcpu={"count": None}, matrix=matrix), folder / "dist")
    values = verify_bundle(str(folder / "dist")).values.values
    assert [value.id_block.guest_svn for value in values if value.id_block] == [7, 9]
    lone: list[dict[str, Any]] = [{"vcpu": {"count": 1}}, {"vcpu": {"count": 2}, "id-block": SIGNED}]
    manifest = manifest_of(folder, kernel=None, initrd=None, vcpu={"count": None}, matrix=lone)
    build(manifest, folder / "dist")
    values = verify_bundle(str(folder / "dist")).values.values
    assert [value.id_block is None for value in values] == [True, False]
    assert run("check", manifest).status == 0


def test_equal_launches_share_a_block(folder: Path) -> None:
    """Two command lines that fill to one text are two targets of one digest."""
    kernel = {"cmdline": None, "cmdlines": {"a": "quiet", "b": "{x}"}}
    build(
        declared(folder, SIGNED, kernel=kernel, variables={"x": "quiet"}, vcpu={"count": 1}), folder / "dist"
    )
    targets = json.loads((folder / "dist" / "bundle.json").read_text())["targets"]
    assert len({target["digest"] for target in targets}) == 1
    assert len({target["files"]["id_block"] for target in targets}) == 1
    verify_bundle(str(folder / "dist"))


def test_measure_opens_no_key(folder: Path) -> None:
    manifest = declared(folder, {"key": "nope.pem"})
    assert run("measure", "-q", manifest).status == 0
    guest = load_guest(str(manifest))
    assert guest.id_blocks is not None
    with pytest.raises(SevbuildError, match=r"id-block\.key: cannot read"):
        guest.check_inputs()


def test_exports_have_it(folder: Path) -> None:
    manifest = declared(folder, AUTHORED)
    written = run("export", "--format", "igvm-identity", manifest)
    assert [entry["endorsement"]["snp_isvsvn"] for entry in json.loads(written.out)["series"]] == [7, 7]
    assert run("publish", "-q", "-o", folder / "release", manifest).status == 0
    corim = (folder / "release" / "corim.cbor").read_bytes()
    for digest in (ID_KEY.public.digest, AUTHOR_KEY.public.digest):
        assert digest in corim


def test_a_key_is_not_written_over(folder: Path) -> None:
    manifest = declared(folder, SIGNED)
    told = run("export", "-q", "--format", "hex", "-o", folder / "id.pem", manifest)
    assert (told.status, "a key or signature of the guest" in told.err) == (2, True)
