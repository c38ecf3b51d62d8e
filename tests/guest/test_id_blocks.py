"""The ID blocks of a declared guest: whose keys sign, which block of a folder is taken, what stays shut."""

from __future__ import annotations

import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import MismatchError, Notice, SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.id_block_files import BlockFile, block_paths, read_block_file, read_signed_block
from sevbuild.guest.id_blocks import IdBlocks, Passphrases, read_blocks, unsigned_block
from sevbuild.guest.igvm import igvm_file
from sevbuild.guest.manifest_files import named_files
from sevbuild.identity.id_auth import IdAuth
from sevbuild.identity.id_block import IdBlock
from sevbuild.identity.igvm_block import id_block_header
from sevbuild.identity.keys import EncryptedKeyError
from sevbuild.identity.signed_block import SignedBlock, author_of, sign_block
from sevbuild.igvm.headers import GuestPolicy, Header, PageData, PlatformType, SupportedPlatform
from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.manifest.targets import Target
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of
from tests.support.id_blocks import AUTHOR_KEY, ID_KEY, private_pem, public_pem
from tests.support.igvm import BSP, SNP, write_file

DIGEST = b"d" * 48
IDS = {"family-id": "ab" * 16, "image-id": "cd" * 16, "guest-svn": 7}
PINS = {"key-digest": ID_KEY.public.digest.hex(), "author-key-digest": AUTHOR_KEY.public.digest.hex()}
BLOCK = IdBlock(DIGEST, 0x30000, b"\xab" * 16, b"\xcd" * 16, 7)
PLAIN = sign_block(BLOCK, ID_KEY)
AUTHORED = sign_block(BLOCK, ID_KEY, author_of(ID_KEY.public, AUTHOR_KEY))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with keys in it."""
    for name, key in (("id", ID_KEY), ("author", AUTHOR_KEY)):
        (tmp_path / f"{name}.pem").write_bytes(private_pem(key))
        (tmp_path / f"{name}.pub").write_bytes(public_pem(key))
        (tmp_path / f"{name}.locked").write_bytes(private_pem(key, passphrase=name.encode()))
    (tmp_path / "author.sig").write_bytes(AUTHOR_KEY.sign(ID_KEY.public.encode()).der)
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    return tmp_path


def declared(folder: Path, block: dict[str, Any] | None, **tables: Any) -> tuple[IdBlocks, Target]:
    """Return the ID blocks of a guest, and its first target."""
    guest = guest_of(folder, **{"id-block": block}, firmware={"path": "OVMF.fd"}, **tables)
    assert guest.id_blocks is not None
    assert guest.id_blocks is guest.id_blocks
    return guest.id_blocks, guest.targets[0]


def put(folder: Path, signed: SignedBlock, name: str = "blocks") -> Path:
    """Write a block into a folder."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "id-block.bin").write_bytes(signed.block.encode())
    (place / "id-auth.bin").write_bytes(signed.auth.encode())
    return place


def checked(blocks: IdBlocks, target: Target) -> list[Notice]:
    """Return what checking the keys of a target's variant says."""
    return list(blocks.check(target.variant))


def test_a_guest_without_a_table_has_none(folder: Path) -> None:
    guest = guest_of(folder, firmware={"path": "OVMF.fd"})
    assert guest.id_blocks is None
    assert unsigned_block(guest.targets[0], DIGEST) == IdBlock(DIGEST, 0x30000)


def test_a_key_of_this_machine_signs(folder: Path) -> None:
    blocks, target = declared(folder, {"key": "id.pem", **IDS})
    assert blocks.signed(target, DIGEST) == PLAIN
    assert blocks.folder_of(target, DIGEST) is None
    assert blocks.reported(target, DIGEST) == ReportedIdBlock(
        ID_KEY.public.digest, None, b"\xab" * 16, b"\xcd" * 16, 7
    )
    assert checked(blocks, target) == []
    # Once it is read, a key is not read again.
    (folder / "id.pem").unlink()
    assert blocks.signed(target, DIGEST) == PLAIN
    assert blocks.reported(target, bytes(48)) == blocks.reported(target, DIGEST)


def test_an_author_key_of_this_machine_signs(folder: Path) -> None:
    wanted = ReportedIdBlock(ID_KEY.public.digest, AUTHOR_KEY.public.digest, b"\xab" * 16, b"\xcd" * 16, 7)
    for author in (
        {"author-key": "author.pem"},
        {"author-key": "author.pub", "author-signature": "author.sig"},
        {"author-key": "author.pem", "author-signature": "author.sig"},
        {"author-key": "author.pem", **PINS},
    ):
        blocks, target = declared(folder, {"key": "id.pem", **author, **IDS})
        assert blocks.signed(target, DIGEST) == AUTHORED
        assert blocks.reported(target, DIGEST) == wanted
        assert checked(blocks, target) == []


def test_targets_of_sev_have_none(folder: Path) -> None:
    launch = {"mode": ["snp", "sev"], "policy": {"snp": 0x30000, "sev": 1}}
    for block in ({"key": "id.pem"}, {"signed": "nowhere"}):
        guest = guest_of(folder, **{"id-block": block}, firmware={"path": "OVMF.fd"}, launch=launch)
        blocks, target = guest.id_blocks, guest.targets[1]
        assert blocks is not None
        assert target.mode == "sev"
        assert blocks.signed(target, bytes(32)) is None
        assert blocks.reported(target, bytes(32)) is None
        assert blocks.folder_of(target, bytes(32)) is None


def test_a_key_known_by_its_digest_signs_nothing(folder: Path) -> None:
    blocks, target = declared(folder, {**PINS, **IDS})
    assert blocks.signed(target, DIGEST) is None
    assert blocks.folder_of(target, DIGEST) is None
    reported = blocks.reported(target, DIGEST)
    assert reported == ReportedIdBlock(
        ID_KEY.public.digest, AUTHOR_KEY.public.digest, b"\xab" * 16, b"\xcd" * 16, 7
    )
    (notice,) = checked(blocks, target)
    assert (notice.level, notice.message) == (
        "note",
        "no ID block is built: its key is known by its digest alone",
    )
    assert notice.where.endswith("guest.toml:5")
    with pytest.raises(
        SevbuildError, match=r"guest\.toml:5: id-block: names no ID key to sign with"
    ) as caught:
        blocks.sign(target.variant, BLOCK)
    assert "--key FILE" in str(caught.value.hint)


def test_who_has_no_table_signs_nothing(folder: Path) -> None:
    matrix: list[dict[str, Any]] = [
        {"vcpu": {"count": 1}},
        {"vcpu": {"count": 2}, "id-block": {"key": "id.pem"}},
    ]
    blocks, target = declared(folder, None, vcpu={"count": None}, matrix=matrix)
    assert checked(blocks, target) == []
    with pytest.raises(SevbuildError, match="names no ID key to sign with"):
        blocks.sign(target.variant, BLOCK)


def test_pinned_keys_need_not_be_there(folder: Path) -> None:
    blocks, target = declared(folder, {"key": "nope.pem", "author-key": "author.pem", **PINS})
    reported = blocks.reported(target, DIGEST)
    assert reported is not None
    assert reported.id_key_digest == ID_KEY.public.digest
    (notice,) = checked(blocks, target)
    assert (notice.level, notice.message) == (
        "note",
        "the ID key is not on this machine; key-digest stands for it",
    )
    assert notice.where.endswith("guest.toml:5")
    with pytest.raises(SevbuildError, match=r"guest\.toml:5: id-block\.key: cannot read"):
        blocks.signed(target, DIGEST)
    # One that is there, and is no key, is at fault all the same.
    (folder / "nope.pem").write_text("nope")
    with pytest.raises(SevbuildError, match=r"id-block\.key: nope\.pem: not a private key"):
        checked(blocks, target)
    blocks, target = declared(folder, {"key": "none.pem"})
    for read in (lambda: checked(blocks, target), lambda: blocks.reported(target, DIGEST)):
        with pytest.raises(SevbuildError, match=r"id-block\.key: cannot read"):
            read()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"key": "id.pem", "key-digest": "00" * 48},
            f"id-block.key-digest: {'00' * 48} is pinned; the key's is",
        ),
        (
            {"key": "id.pem", "author-key": "author.pem", "author-key-digest": "00" * 48},
            f"id-block.author-key-digest: {'00' * 48} is pinned; the key's is",
        ),
        (
            {"key": "id.pem", "author-key": "id.pub", "author-signature": "author.sig"},
            "id-block.author-signature: author.sig: not a signature of the ID key by the author key",
        ),
    ],
)
def test_a_key_that_is_not_the_pinned_one(folder: Path, block: dict[str, Any], message: str) -> None:
    blocks, target = declared(folder, block)
    for read in (lambda: blocks.signed(target, DIGEST), lambda: checked(blocks, target)):
        with pytest.raises(MismatchError) as caught:
            read()
        assert message in caught.value.message
        assert "guest.toml:5: " in caught.value.message


def test_encrypted_keys_are_unlocked(folder: Path) -> None:
    blocks, target = declared(folder, {"key": "id.locked", "author-key": "author.locked", **IDS})
    with pytest.raises(EncryptedKeyError, match=r"id-block\.key: id\.locked: the key is encrypted") as caught:
        blocks.signed(target, DIGEST)
    assert "--passphrase-env" in str(caught.value.hint)
    with pytest.raises(EncryptedKeyError, match=r"id-block\.key: id\.locked: the key is encrypted") as caught:
        blocks.reported(target, DIGEST)
    assert "id-block.key-digest stands for the key" in str(caught.value.hint)
    (notice,) = checked(blocks, target)
    assert notice.message == "a key of [id-block] is encrypted: it was not opened"
    blocks.unlock(Passphrases(b"id"))
    with pytest.raises(EncryptedKeyError, match=r"id-block\.author-key: author\.locked") as caught:
        blocks.signed(target, DIGEST)
    assert "author-signature" in str(caught.value.hint)
    with pytest.raises(EncryptedKeyError, match=r"id-block\.author-key: author\.locked") as caught:
        blocks.reported(target, DIGEST)
    assert "id-block.author-key-digest stands for the key" in str(caught.value.hint)
    blocks.unlock(Passphrases(b"id", b"author"))
    assert blocks.signed(target, DIGEST) == AUTHORED
    reported = blocks.reported(target, DIGEST)
    assert reported is not None
    assert reported.author_key_digest == AUTHOR_KEY.public.digest


@pytest.mark.parametrize(
    ("block", "passphrases", "name"),
    [
        ({"key-digest": "ab" * 48}, Passphrases(b"x"), "key"),
        ({"signed": "blocks"}, Passphrases(b"x"), "key"),
        ({"key": "id.pem"}, Passphrases(None, b"x"), "author-key"),
    ],
)
def test_a_passphrase_for_no_key(
    folder: Path, block: dict[str, Any], passphrases: Passphrases, name: str
) -> None:
    blocks, _ = declared(folder, block)
    with pytest.raises(SevbuildError) as caught:
        blocks.unlock(passphrases)
    assert caught.value.message == f"a passphrase for id-block.{name}, which the manifest does not name"
    blocks.unlock(Passphrases())


def test_a_folder_of_blocks(folder: Path) -> None:
    """The one for digest and policy is taken, wherever it lies."""
    put(folder, AUTHORED, "blocks/one")
    other = sign_block(BLOCK._replace(policy=0xB0000), ID_KEY)
    put(folder, other, "blocks/two")
    (folder / "blocks" / "three").mkdir()
    (folder / "blocks" / "notes").write_text("x")
    for block in ({}, IDS, PINS):
        blocks, target = declared(folder, {"signed": "blocks", **block})
        assert blocks.signed(target, DIGEST) == AUTHORED
        assert blocks.folder_of(target, DIGEST) == "blocks/one"
        reported = blocks.reported(target, DIGEST)
        assert reported == ReportedIdBlock(
            ID_KEY.public.digest, AUTHOR_KEY.public.digest, b"\xab" * 16, b"\xcd" * 16, 7
        )
        assert checked(blocks, target) == []
    blocks, target = declared(folder, {"signed": "blocks"}, launch={"policy": 0xB0000})
    assert blocks.signed(target, DIGEST) == other
    assert blocks.reported(target, DIGEST) == ReportedIdBlock(
        ID_KEY.public.digest, None, b"\xab" * 16, b"\xcd" * 16, 7
    )
    # What was read once is not read again.
    shutil.rmtree(folder / "blocks")
    assert blocks.folder_of(target, DIGEST) == "blocks/two"
    put(folder, PLAIN, "alone")
    blocks, target = declared(folder, {"signed": "alone"})
    assert blocks.folder_of(target, DIGEST) == "alone"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"guest-svn": 8}, "id-block.guest-svn: 8; the block in blocks/. has 7"),
        ({"guest-svn": 0}, "id-block.guest-svn: 0; the block in blocks/. has 7"),
        ({"family-id": "00" * 16}, f"id-block.family-id: {'00' * 16}; the block in blocks/. has {'ab' * 16}"),
        ({"image-id": "00" * 16}, f"id-block.image-id: {'00' * 16}; the block in blocks/. has {'cd' * 16}"),
        ({"key-digest": "00" * 48}, f"id-block.key-digest: {'00' * 48} is pinned; the key's is "),
        ({"author-key-digest": "00" * 48}, f"{'00' * 48} is pinned; there is no such key"),
    ],
)
def test_a_block_that_says_something_else(folder: Path, block: dict[str, Any], message: str) -> None:
    put(folder, PLAIN)
    blocks, target = declared(folder, {"signed": "blocks", **block})
    for read in (blocks.signed, blocks.reported, blocks.folder_of):
        with pytest.raises(MismatchError) as caught:
            read(target, DIGEST)
        assert message in caught.value.message


def test_a_block_for_another_launch(folder: Path) -> None:
    put(folder, PLAIN)
    blocks, target = declared(folder, {"signed": "blocks"})
    with pytest.raises(MismatchError) as caught:
        blocks.signed(target, bytes(48))
    none = "blocks has no ID block for launch digest 0000000000000000... and policy 0x30000"
    assert caught.value.message == f"snp/qemu/EPYC-v4/vcpus1: {none}"
    assert "id-block payload" in str(caught.value.hint)
    blocks, target = declared(folder, {"signed": "blocks"}, launch={"policy": 0x20000})
    with pytest.raises(MismatchError, match=r"and policy 0x20000, but one for policy 0x30000$"):
        blocks.signed(target, DIGEST)


def test_what_a_folder_may_not_have(folder: Path) -> None:
    with pytest.raises(SevbuildError, match="cannot read"):
        read_blocks(str(folder / "nowhere"))
    place = put(folder, PLAIN, "blocks/a")
    twin = put(folder, PLAIN, "blocks/b")
    assert read_blocks(str(folder / "blocks"))[DIGEST, 0x30000].signed == PLAIN
    (twin / "id-auth.bin").write_bytes(AUTHORED.auth.encode())
    with pytest.raises(SevbuildError, match="blocks: a and b are two ID blocks for one launch") as caught:
        read_blocks(str(folder / "blocks"))
    assert caught.value.hint == "remove one of them"
    (twin / "id-auth.bin").write_bytes(sign_block(BLOCK._replace(guest_svn=1), ID_KEY).auth.encode())
    with pytest.raises(MismatchError, match=r"b: the signature of the ID block is not the ID key's"):
        read_blocks(str(folder / "blocks"))
    (twin / "id-auth.bin").write_bytes(bytes(4096))
    with pytest.raises(SevbuildError, match="b: ID key algorithm 0"):
        read_blocks(str(folder / "blocks"))
    (place / "id-auth.bin").unlink()
    with pytest.raises(SevbuildError, match="cannot read"):
        read_blocks(str(folder / "blocks"))
    (place / "id-block.bin").write_bytes(bytes(97))
    with pytest.raises(SevbuildError, match="97 bytes; the limit is 96"):
        read_blocks(str(folder / "blocks"))
    blocks, target = declared(folder, {"signed": "blocks"})
    with pytest.raises(SevbuildError, match=r"guest\.toml:5: id-block\.signed: "):
        checked(blocks, target)


def test_keys_are_files_of_the_guest(folder: Path) -> None:
    guest = guest_of(
        folder,
        **{"id-block": {"key": "id.pem", "author-key": "author.pub", "author-signature": "author.sig"}},
        firmware={"path": "OVMF.fd"},
    )
    found = dict(named_files(guest))
    for key, name in (("key", "id.pem"), ("author-key", "author.pub"), ("author-signature", "author.sig")):
        assert found[f"a key or signature of the guest, id-block.{key}"] == str(folder / name)


def test_check_looks_at_keys(folder: Path) -> None:
    guest = guest_of(folder, **{"id-block": {"key": "id.locked"}}, firmware={"path": "OVMF.fd"})
    guest.check_inputs()
    assert any("it was not opened" in notice.message for notice in guest.notices)
    guest = guest_of(folder, **{"id-block": {"key": "OVMF.fd"}}, firmware={"path": "OVMF.fd"})
    with pytest.raises(SevbuildError, match=r"id-block\.key: "):
        guest.check_inputs()


# Blocks from files


def test_a_block_from_a_file_or_a_folder(folder: Path) -> None:
    place = put(folder, PLAIN)
    block, auth = str(place / "id-block.bin"), str(place / "id-auth.bin")
    bare = BlockFile(block, PLAIN.block.encode(), auth, PLAIN.auth.encode())
    for words in ((str(place),), (block,), (block, auth), (str(place), auth)):
        assert read_block_file(*words) == bare
        assert read_signed_block(*words) == PLAIN
    renamed = folder / "renamed"
    renamed.write_bytes(PLAIN.block.encode())
    # What lies beside a block of another name is not taken for its own.
    shutil.copy(auth, folder / "id-auth.bin")
    assert read_block_file(str(renamed)) == BlockFile(str(renamed), PLAIN.block.encode(), "", None)
    with pytest.raises(SevbuildError, match=r"renamed: there is no id-auth\.bin beside it") as caught:
        read_signed_block(str(renamed))
    assert "id-block attach" in str(caught.value.hint)
    (place / "id-auth.bin").write_bytes(bytes(4096))
    with pytest.raises(SevbuildError, match=r"^[^:]*blocks/id-auth\.bin: ID key algorithm 0"):
        read_signed_block(str(place))
    (place / "id-auth.bin").unlink()
    assert read_block_file(str(place)).auth is None


def test_a_block_in_base64(folder: Path) -> None:
    for name, data in (("b", PLAIN.block.encode()), ("a", PLAIN.auth.encode())):
        text = b64encode(data)
        (folder / name).write_bytes(b"\n".join(text[at : at + 64] for at in range(0, len(text), 64)) + b"\n")
    assert read_signed_block(str(folder / "b"), str(folder / "a")) == PLAIN
    (folder / "b").write_bytes(b"A")
    with pytest.raises(SevbuildError, match="b: 1 bytes; an ID block has 96"):
        read_block_file(str(folder / "b"))
    (folder / "b").write_bytes(bytes(9000))
    with pytest.raises(SevbuildError, match="9000 bytes; the limit is 8192 bytes"):
        read_block_file(str(folder / "b"))


def test_the_places_of_blocks(folder: Path) -> None:
    assert block_paths(str(folder / "id.pem")) == [str(folder / "id.pem")]
    with pytest.raises(SevbuildError, match=r"there is no id-block\.bin in it") as caught:
        block_paths(str(folder))
    assert "id-block payload" in str(caught.value.hint)
    places = [put(folder, PLAIN, name) for name in ("blocks", "blocks/b", "blocks/a")]
    (folder / "blocks" / "c").mkdir()
    wanted = [str(places[index] / "id-block.bin") for index in (0, 2, 1)]
    assert block_paths(str(folder / "blocks")) == wanted


PAGE = PageData(0x1000, 1, bytes(4096))


def test_a_block_in_an_igvm_file(folder: Path) -> None:
    for signed in (PLAIN, AUTHORED):
        path = write_file(folder, SNP, GuestPolicy(0x30000, 1), PAGE, BSP, id_block_header(signed))
        found = read_block_file(str(path))
        author = signed.auth.author is not None
        assert found == BlockFile(str(path), signed.block.encode(), str(path), signed.auth.encode(), author)
        assert IdAuth.decode(found.auth or b"", "x") == signed.auth
        with pytest.raises(
            SevbuildError, match="is an IGVM file, and has the authentication of its ID block"
        ):
            read_block_file(str(path), str(path))


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([GuestPolicy(0x30000, 1)], "no ID blocks in the file"),
        (
            [GuestPolicy(0x30000, 1), id_block_header(PLAIN), id_block_header(PLAIN)],
            "2 ID blocks in the file",
        ),
        ([id_block_header(PLAIN)], "0 guest policies beside the ID block"),
        (
            [GuestPolicy(1, 1), GuestPolicy(2, 1), id_block_header(PLAIN)],
            "2 guest policies beside the ID block",
        ),
    ],
)
def test_igvm_files_without_a_block_of_their_own(folder: Path, headers: list[Header], message: str) -> None:
    policies = [header for header in headers if isinstance(header, GuestPolicy)]
    blocks = [header for header in headers if not isinstance(header, GuestPolicy)]
    path = write_file(folder, SNP, *policies, PAGE, BSP, *blocks)
    with pytest.raises(SevbuildError) as caught:
        read_block_file(str(path))
    assert caught.value.message.startswith(f"{path}: {message}")
    assert ("[id-block]" in str(caught.value.hint)) is message.startswith("no ")


def test_the_policy_is_that_of_the_blocks_platform(folder: Path) -> None:
    es = SupportedPlatform(2, 0, PlatformType.SEV_ES)
    policies = [GuestPolicy(0x5, 2), GuestPolicy(0x30000, 1)]
    path = write_file(folder, SNP, es, *policies, PAGE, BSP, id_block_header(PLAIN))
    assert read_signed_block(str(path)) == PLAIN


def test_what_a_report_shows_of_a_ready_file(folder: Path) -> None:
    built = guest_of(folder, launch={"profile": "qemu-igvm"}, firmware={"path": "OVMF.fd"})
    (target,) = built.targets
    (item,) = built.measure()
    signed = sign_block(BLOCK._replace(launch_digest=item.digest), ID_KEY, AUTHORED.auth.author)
    wanted = ReportedIdBlock(ID_KEY.public.digest, AUTHOR_KEY.public.digest, b"\xab" * 16, b"\xcd" * 16, 7)
    for header, reported in ((None, None), (id_block_header(signed), wanted)):
        data = igvm_file(target, built.laid_out(target), built.firmware(target.variant), header)
        (folder / "ready.igvm").write_bytes(data)
        ready = _ready(folder)
        assert ready.igvm.reported(ready.targets[0]) == reported
        assert ready.measure()[0].digest == item.digest


def _ready(folder: Path) -> Guest:
    return guest_of(folder, launch={"profile": "qemu-igvm"}, igvm={"path": "ready.igvm"})
