"""ID blocks and their authentication: layouts, vectors of others, and what the firmware reads of them."""

from __future__ import annotations

import random
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sevsnpmeasure.id_block import snp_calc_id_block

from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.identity.ecdsa import ORDER_P384
from sevbuild.identity.firmware import GivenIdBlock
from sevbuild.identity.id_auth import Author, IdAuth
from sevbuild.identity.id_block import IdBlock
from sevbuild.identity.igvm_block import given_block, id_block_header, reported_block
from sevbuild.identity.keys import load_public_key
from sevbuild.identity.signed_block import SignedBlock, author_of, sign_block
from sevbuild.igvm.headers import GuestPolicy, SnpIdBlock
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import MemorySource
from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.launch.page_type import PageType
from sevbuild.launch.snp_guest import SnpGuest, SnpGuestState
from sevbuild.launch.status import LaunchError, Status
from sevbuild.launch.update import LaunchUpdate
from tests.support.id_blocks import AUTHOR_KEY, BLOCK, ID_KEY, private_key, private_pem, signed
from tests.support.shared import shared_file

IDS = st.binary(min_size=16, max_size=16)
BLOCKS = st.builds(
    IdBlock,
    st.binary(min_size=48, max_size=48),
    st.integers(0, (1 << 64) - 1),
    IDS,
    IDS,
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 32) - 1),
)


@given(BLOCKS)
def test_a_block_is_its_96_bytes(block: IdBlock) -> None:
    data = block.encode()
    assert len(data) == 96
    assert IdBlock.decode(data, "block") == block


@pytest.mark.parametrize("size", [0, 95, 97, 4096])
def test_a_block_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SevbuildError, match=f"^block: {size} bytes; an ID block has 96$"):
        IdBlock.decode(bytes(size), "block")


@pytest.mark.parametrize("author", [False, True])
def test_an_authentication_is_its_4096_bytes(author: bool) -> None:
    auth = signed(author=author).auth
    data = auth.encode()
    assert len(data) == 4096
    assert IdAuth.decode(data, "auth") == auth
    # QEMU takes fewer bytes, for the rest is zero.
    assert IdAuth.decode(data.rstrip(b"\0").ljust(0x644, b"\0"), "auth") == auth
    assert signed(author=author) == signed(author=author), "RFC 6979: the same every time"


@given(st.binary(max_size=4200))
def test_no_bytes_crash_the_parser(data: bytes) -> None:
    with pytest.raises(SevbuildError):
        IdAuth.decode(data, "auth")


@given(st.integers(0, 4095), st.integers(1, 255), st.booleans())
def test_whatever_is_changed_is_refused_or_another_value(at: int, change: int, author: bool) -> None:
    """No two authentications are read alike: what the firmware passes over must be zero."""
    auth = signed(author=author).auth
    data = bytearray(auth.encode())
    data[at] ^= change
    try:
        found = IdAuth.decode(bytes(data), "auth")
    except SevbuildError:
        return
    # Without an author key its algorithm may be 0 or 1, as peers differ in it.
    assert found != auth or (at, change, author) == (4, 1, False)


@pytest.mark.parametrize(("size", "taken"), [(0x643, False), (0x644, True), (4096, True), (4097, False)])
def test_how_many_bytes_an_authentication_has(size: int, taken: bool) -> None:
    data = signed().auth.encode().ljust(size, b"\0")[:size]
    if taken:
        assert IdAuth.decode(data, "auth") == signed().auth
    else:
        with pytest.raises(
            SevbuildError, match=f"^auth: {size} bytes; the authentication of an ID block has 4096$"
        ):
            IdAuth.decode(data, "auth")


AUTH = signed(author=True).auth.encode()


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0x000, 2, "auth: ID key algorithm 2; 1 is ECDSA P-384 with SHA-384"),
        (0x003, 1, "auth: ID key algorithm 16777217; 1 is ECDSA P-384 with SHA-384"),
        (0x007, 1, "auth: author key algorithm 16777217; 1 is ECDSA P-384 with SHA-384"),
        (0x004, 0, "auth: author key algorithm 0; 1 is ECDSA P-384 with SHA-384"),
        (0x008, 1, "auth: reserved bytes in 0x8..0x3f are set"),
        (0x644, 1, "auth: reserved bytes in 0x644..0x67f are set"),
        (0xC84, 1, "auth: reserved bytes in 0xc84..0xfff are set"),
        (0xFFF, 1, "auth: reserved bytes in 0xc84..0xfff are set"),
        (0x070, 1, "auth: ID block signature: bytes beside the two 48-byte numbers are set"),
        (0x23F, 1, "auth: ID block signature: bytes beside the two 48-byte numbers are set"),
        (0x240, 3, "auth: ID key: curve 3 is not P-384, which is 2"),
        (0x244, 1, "auth: ID key: its public key is no point of P-384"),
        (0x2D4, 1, "auth: ID key: bytes beside the two 48-byte numbers are set"),
        (0x87F, 1, "auth: ID key signature: bytes beside the two 48-byte numbers are set"),
        (0x880, 1, "auth: author key: curve 1 is not P-384, which is 2"),
        (0xC83, 1, "auth: author key: bytes beside the two 48-byte numbers are set"),
    ],
)
def test_what_is_wrong_is_said(at: int, value: int, message: str) -> None:
    data = bytearray(AUTH)
    data[at] = value
    with pytest.raises(SevbuildError) as caught:
        IdAuth.decode(bytes(data), "auth")
    assert caught.value.message == message


def test_an_author_algorithm_without_an_author_is_0_or_1() -> None:
    data = bytearray(signed().auth.encode())
    data[4] = 1
    assert IdAuth.decode(bytes(data), "auth").author is None
    data[4] = 2
    with pytest.raises(SevbuildError, match="algorithm 2 without an author key"):
        IdAuth.decode(bytes(data), "auth")


def test_numbers_with_leading_zeros_are_whole() -> None:
    """sev-snp-measure#28: r or s of fewer than 48 bytes stand at the start of their field."""
    short: dict[str, SignedBlock] = {}
    for svn in range(5000):
        one = sign_block(BLOCK._replace(guest_svn=svn), ID_KEY)
        for name, number in zip("rs", one.auth.signature, strict=True):
            if number < 1 << 376:
                short.setdefault(name, one)
        if len(short) == 2:
            break
    assert set(short) == {"r", "s"}
    for name, one in short.items():
        data = one.auth.encode()
        at = 0x40 if name == "r" else 0x88
        assert not any(data[at + 47 : at + 72])
        assert launched(one).state == SnpGuestState.RUNNING
        IdAuth.decode(data, "auth")


# What launches with an ID block

PAGE = LaunchUpdate(0x1000, PageType.NORMAL, 4096, b"p" * 4096, "page")


def guest(policy: int = 0x30000) -> SnpGuest:
    """Return a guest whose launch is to be finished."""
    found = SnpGuest()
    found.launch_start(policy)
    found.launch_update(PAGE)
    return found


DIGEST = guest().launch_digest


def launched(one: SignedBlock) -> SnpGuest:
    """Return the guest that a block is for, launched from its digest with it."""
    found = SnpGuest()
    found.launch_start(one.block.policy, seed=one.block.launch_digest)
    found.launch_finish(
        identity=GivenIdBlock(one.block.encode(), one.auth.encode(), one.auth.author is not None)
    )
    return found


@pytest.mark.parametrize("author", [False, True])
def test_our_blocks_launch(author: bool) -> None:
    one = signed(BLOCK._replace(launch_digest=DIGEST), author=author)
    running = guest()
    given = GivenIdBlock.of(one.block.encode(), one.auth.encode().rstrip(b"\0"), author_key=author)
    assert running.launch_finish(identity=given) == DIGEST
    assert running.state == SnpGuestState.RUNNING


def test_qemus_sizes_are_held_to() -> None:
    for block, auth in ((bytes(95), b""), (bytes(96), bytes(4097))):
        with pytest.raises(SevbuildError, match="an ID block has 96, its authentication at most 4096"):
            GivenIdBlock.of(block, auth)


IGNORED = {
    False: ((0x004, 0x040), (0x0D0, 0x240), (0x2D4, 0x1000)),
    True: ((0x008, 0x040), (0x0D0, 0x240), (0x644, 0x680), (0x710, 0x880), (0x914, 0x1000)),
}
"""Bytes of the authentication that SNP_LAUNCH_FINISH passes over, without and with an author key.

Of those, the rest of each key (0x2D4..0x643, 0x914..0xC83) is in the key's digest, which the report has. The
same table stands in docs/id-block.md.
"""
STATUSES = ((0, 8, Status.INVALID_PARAM), (8, 0x1000, Status.BAD_SIGNATURE))


def finish(block: bytes, auth: bytes, *, author: bool) -> Status | None:
    """Return the status with which a launch is finished, None for success."""
    running = guest()
    try:
        running.launch_finish(identity=GivenIdBlock(block, auth, author))
    except LaunchError as error:
        assert running.state == SnpGuestState.LAUNCH
        return error.status
    return None


@pytest.mark.parametrize("author", [False, True])
def test_each_of_a_thousand_changes_to_what_is_read_is_refused(author: bool) -> None:
    chance = random.Random(9)
    one = signed(BLOCK._replace(launch_digest=DIGEST), author=author)
    block, auth = one.block.encode(), one.auth.encode()
    ignored = {at for start, end in IGNORED[author] for at in range(start, end)}
    # Every byte that is read, and further ones of them up to a thousand.
    places = [("block", at) for at in range(96)] + [("auth", at) for at in range(4096) if at not in ignored]
    changes = [*places, *chance.choices(places, k=1000 - len(places))]
    assert len(changes) >= 1000
    for part, at in changes:
        data = bytearray(block if part == "block" else auth)
        data[at] ^= chance.randrange(1, 256)
        pair = (bytes(data), auth) if part == "block" else (block, bytes(data))
        status = finish(*pair, author=author)
        if part == "block":
            wanted = (
                Status.BAD_MEASUREMENT
                if at < 48
                else Status.POLICY_FAILURE
                if at >= 88
                else Status.BAD_SIGNATURE
            )
        else:
            wanted = next(status for start, end, status in STATUSES if start <= at < end)
        assert status == wanted, (part, hex(at))


@pytest.mark.parametrize("author", [False, True])
def test_what_is_ignored_launches_and_is_refused_by_us(author: bool) -> None:
    one = signed(BLOCK._replace(launch_digest=DIGEST), author=author)
    for start, end in IGNORED[author]:
        for at in {start, (start + end) // 2, end - 1}:
            data = bytearray(one.auth.encode())
            data[at] ^= 0x81
            assert finish(one.block.encode(), bytes(data), author=author) is None
            # Whoever wrote it meant something else: nothing of ours takes it.
            with pytest.raises(SevbuildError):
                IdAuth.decode(bytes(data), "auth")


def test_the_order_of_checks() -> None:
    """Digest, policy, both algorithms, the ID key's signature, the author key's."""
    one = signed(BLOCK._replace(launch_digest=DIGEST), author=True)
    auth = bytearray(one.auth.encode())
    auth[0x880 + 4] ^= 1
    assert finish(one.block.encode(), bytes(auth), author=True) == Status.BAD_SIGNATURE
    auth[4] = 9
    assert finish(one.block.encode(), bytes(auth), author=True) == Status.INVALID_PARAM
    policy = one.block._replace(policy=0x20000)
    assert finish(policy.encode(), bytes(auth), author=True) == Status.POLICY_FAILURE
    both = policy._replace(launch_digest=bytes(48))
    assert finish(both.encode(), bytes(auth), author=True) == Status.BAD_MEASUREMENT
    assert finish(one.block.encode(), bytes(auth), author=False) is None


def test_a_signature_with_the_other_s_is_as_good() -> None:
    """What ECDSA allows: (r, n - s) verifies too, so the bytes of an authentication are no identity."""
    one = signed(BLOCK._replace(launch_digest=DIGEST))
    other = one.auth._replace(signature=one.auth.signature._replace(s=ORDER_P384 - one.auth.signature.s))
    assert finish(one.block.encode(), other.encode(), author=False) is None


def test_signatures_that_do_not_hold_are_told_apart() -> None:
    one = signed(author=True)
    one.refuse_unverified("here")
    with pytest.raises(MismatchError, match=r"^here: the signature of the ID block is not the ID key's$"):
        one._replace(block=BLOCK._replace(guest_svn=8)).refuse_unverified("here")
    stranger = author_of(private_key(3).public, AUTHOR_KEY)
    with pytest.raises(MismatchError, match=r"^here: the signature of the ID key is not the author key's$"):
        SignedBlock(BLOCK, one.auth._replace(author=stranger)).refuse_unverified("here")


# Blocks of others

SEV_DIGEST = (
    "a14d638341e5674628fe1e02fbedebe5e5ab4faf1dd72d8966068e615bb99efd13d214b35c231715b38e263dc6059745"
)
"""What virtee/sev signs in tests/id-block.rs, with policy 0x30000; its key digests follow (base64)."""
SEV_ID_KEY_DIGEST = "WfssaG36T+9J84M5qndckAUcKNVzg93DuvO160sUlt87DbvcuuX+J2d6ZEggdz/i"
SEV_AUTHOR_KEY_DIGEST = "7tgRafsMteDsNHlPEo/U4MSkb2fGWhrfqB/LJLzAiMJyNpt//D6ytq9qQoShs2xf"


def test_the_vectors_of_the_sev_crate() -> None:
    data = shared_file("launch-abi/virtee-sev/test_auth_block.bin").read_bytes()
    auth = IdAuth.decode(data, "test_auth_block.bin")
    assert auth.encode() == data
    assert auth.author is not None
    for name, found in (("test_id_sig.bin", auth.signature), ("test_auth_sig.bin", auth.author.signature)):
        assert shared_file(f"launch-abi/virtee-sev/{name}").read_bytes() == found.encode(512)
    block = IdBlock(bytes.fromhex(SEV_DIGEST), 0x30000)
    assert launched(SignedBlock(block, auth)).state == SnpGuestState.RUNNING
    assert auth.key.digest == b64decode(SEV_ID_KEY_DIGEST)
    assert auth.author.key.digest == b64decode(SEV_AUTHOR_KEY_DIGEST)


@pytest.mark.parametrize("name", ["snp_all_v1_signed", "snp_all_v2_signed"])
def test_signed_igvm_files_of_igvmmeasure(name: str) -> None:
    folder = shared_file("igvm/signed")
    file = read_igvm(MemorySource((folder / f"{name}.igvm").read_bytes()))
    headers = [item.header for item in file.items()]
    (header,) = [one for one in headers if isinstance(one, SnpIdBlock)]
    (policy,) = [one.policy for one in headers if isinstance(one, GuestPolicy)]
    given = given_block(header, policy)
    author = name == "snp_all_v1_signed"
    assert given.author_key is author
    found = SignedBlock(IdBlock.decode(given.block, name), IdAuth.decode(given.auth, name))
    assert launched(found).state == SnpGuestState.RUNNING
    assert found.auth.key == load_public_key((folder / "id_key_pub.pem").read_bytes(), "key")
    if author:
        assert found.auth.author is not None
        assert found.auth.author.key == load_public_key((folder / "author_key_pub.pem").read_bytes(), "key")
    # Our header for the same block differs in the algorithm of an author who is not there, if at all.
    ours = id_block_header(found, header.compatibility_mask)
    assert ours == header._replace(author_key_algorithm=ours.author_key_algorithm)


@given(BLOCKS, st.booleans())
def test_a_header_of_ours_comes_to_the_same_block(block: IdBlock, author: bool) -> None:
    one = SignedBlock(block, signed(author=author).auth)
    given = given_block(id_block_header(one, 1), block.policy)
    assert given == (one.block.encode(), one.auth.encode(), author)


@pytest.mark.parametrize("author", [False, True])
def test_what_a_report_shows_of_a_header(author: bool) -> None:
    wanted = ReportedIdBlock(
        ID_KEY.public.digest, AUTHOR_KEY.public.digest if author else None, b"f" * 16, b"i" * 16, 7
    )
    assert reported_block(id_block_header(signed(author=author))) == wanted


def test_sev_snp_measure_writes_the_same(tmp_path: Path) -> None:
    (tmp_path / "id.pem").write_bytes(private_pem(ID_KEY))
    (tmp_path / "author.pem").write_bytes(private_pem(AUTHOR_KEY))
    text = snp_calc_id_block(DIGEST, str(tmp_path / "id.pem"), str(tmp_path / "author.pem"))
    first, id_line, author_line = text.splitlines()
    block_text, auth_text = (part.partition("=")[2] for part in first.split(","))
    ours = sign_block(IdBlock(DIGEST, 0x30000), ID_KEY, author_of(ID_KEY.public, AUTHOR_KEY))
    block, auth = b64decode(block_text), b64decode(auth_text)
    assert block == ours.block.encode()
    assert finish(block, auth, author=True) is None
    theirs = IdAuth.decode(auth, "theirs")
    # Signatures differ by their nonce alone.
    assert theirs.author is not None
    assert ours.auth.author is not None
    assert (theirs.key, theirs.author.key) == (ours.auth.key, ours.auth.author.key)
    assert b64decode(id_line.partition(": ")[2]) == ID_KEY.public.digest
    assert b64decode(author_line.partition(": ")[2]) == AUTHOR_KEY.public.digest
    swapped = theirs._replace(
        signature=ours.auth.signature, author=Author(ours.auth.author.signature, theirs.author.key)
    )
    assert swapped.encode() == ours.auth.encode()
