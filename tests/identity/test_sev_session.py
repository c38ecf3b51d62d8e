"""Sessions and secrets, ours and sevctl's, as the model of a platform takes them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.identity.launch_secret import (
    MOST_BYTES,
    SECRET_NAMES,
    Secret,
    SecretPacket,
    decode_table,
    encode_table,
    secret_guid,
)
from sevbuild.identity.owner_files import owner_files
from sevbuild.identity.sev_certificate import SevCertificate
from sevbuild.identity.sev_platform import OwnedGuest
from sevbuild.identity.sev_session import (
    OwnerSession,
    Session,
    TransportKeys,
    create_session,
    derive_key,
)
from sevbuild.launch.page_type import PageType
from sevbuild.launch.sev_guest import SevGuestState, SevPlatform
from sevbuild.launch.status import LaunchError, Status
from sevbuild.launch.update import LaunchUpdate
from tests.support.real import peer_program, require
from tests.support.sev_platform import own_platform
from tests.support.shared import ROOT, shared_file

OWN = own_platform()
CERTIFICATE = SevCertificate.decode(OWN.files["pdh"], "pdh")
POLICY = 0x5
MNONCE = bytes(range(16))
DATA = LaunchUpdate(0xFFFF0000, PageType.NORMAL, 32, b"firmware" * 4, "firmware")
LUKS = SECRET_NAMES["luks-key"]
OTHER = "736869e5-aaaa-4973-92ec-06879ce3da0b"


def _owner(policy: int = POLICY, seed: int = 1) -> OwnerSession:
    return create_session(CERTIFICATE, policy, Random(seed).randbytes)


def _started(owner: OwnerSession | None = None, platform: SevPlatform | None = None) -> OwnedGuest:
    owner = _owner() if owner is None else owner
    guest = OwnedGuest(OWN.pdh, platform)
    guest.launch_start(POLICY, owner.godh, owner.session)
    guest.launch_update(DATA)
    return guest


def test_keys_are_derived_as_virtee_derives_them() -> None:
    """The vector is the one of virtee/sev src/session/key.rs."""
    master = derive_key(bytes(16), "sev-master-secret", bytes(16))
    assert master.hex() == "ab4d269fcc62bedb4511d56c386ce706"
    long = derive_key(b"key", "label", b"context", 80)
    assert len(long) == 80
    assert len({long[:32], long[32:64], long[64:]}) == 3


def test_a_session_is_the_one_of_virtee() -> None:
    """Zeros all over, as in virtee/sev src/session/mod.rs."""
    zero = TransportKeys(bytes(16), bytes(16))
    session = Session.wrap(zero, 0, bytes(16), bytes(16), bytes(16))
    assert session.wrapped.hex() == "2137bc7f9bb8bd7c3e55a576a15d3454b3856b8ba27afadf46dcfee9f02c02c4"
    assert session.wrap_mac.hex() == "3176c0752738bd9d5e86689534020f528c088f16238826b000b327dee6aeed7d"
    assert (
        session.policy_mac.hex()
        == "aa7855e13839dd767cd5da7c1ff5036540c9264b7a80302931 5e55375287b4af".replace(" ", "")
    )
    assert session.unwrap(bytes(16)) == zero


def test_the_platform_takes_a_session_and_a_secret() -> None:
    owner = _owner()
    guest = _started(owner)
    blob = guest.launch_measure(MNONCE)
    table = encode_table([Secret(LUKS, b"passphrase"), Secret(OTHER, b"")])
    packet = SecretPacket.seal(table, owner.keys, blob[:32], bytes(16))
    for _ in range(2):
        plain = guest.launch_secret(packet.header, packet.payload, address=0x80D000, length=len(table))
        assert decode_table(plain, "table") == [Secret(LUKS, b"passphrase"), Secret(OTHER, b"")]
    assert guest.launch_finish()
    assert guest.state == SevGuestState.RUNNING


def test_the_same_random_numbers_make_the_same_session() -> None:
    assert _owner() == _owner()
    assert _owner() != _owner(seed=2)


@pytest.mark.parametrize("random", [bytes, lambda size: b"x" * size])
def test_keys_that_anybody_could_guess_are_refused(random: Callable[[int], bytes]) -> None:
    with pytest.raises(SevbuildError, match="a key that anybody could guess"):
        create_session(CERTIFICATE, POLICY, random)


def test_a_session_is_made_with_a_pdh_alone() -> None:
    pek = SevCertificate.decode(OWN.files["pek"], "pek")
    with pytest.raises(SevbuildError, match="a PEK, whose key agrees on nothing; a PDH's does"):
        create_session(pek, POLICY, Random(1).randbytes)


def _refused(status: Status, act: Callable[[], object]) -> None:
    with pytest.raises(LaunchError) as caught:
        act()
    assert caught.value.status == status


def _altered(data: bytes, at: int, value: int | None = None) -> bytes:
    changed = bytearray(data)
    changed[at] = changed[at] ^ 1 if value is None else value
    return bytes(changed)


OWNER = _owner()


@pytest.mark.parametrize(
    ("platform", "policy", "godh", "session", "status"),
    [
        # In the firmware's order: what is wrong from a row on is also wrong in those before it.
        ({"initialized": False}, 0x45, b"", b"", Status.INVALID_PLATFORM_STATE),
        ({}, 0x45, b"", b"", Status.INVALID_LEN),
        ({}, 0x45, b"", OWNER.session, Status.INVALID_LEN),
        ({}, 0x45, _altered(OWNER.godh, 8), _altered(OWNER.session, 70), Status.INVALID_CERTIFICATE),
        ({}, 0x45, _altered(OWNER.godh, 12), OWNER.session, Status.INVALID_CERTIFICATE),
        ({}, 0x45, _altered(OWNER.godh, 30), OWNER.session, Status.INVALID_CERTIFICATE),
        ({}, 0x45, _altered(OWNER.godh, 16), OWNER.session, Status.INVALID_CERTIFICATE),
        ({}, 0x45, OWNER.godh, _altered(OWNER.session, 70), Status.BAD_MEASUREMENT),
        ({}, 0x4, OWNER.godh, OWNER.session, Status.BAD_MEASUREMENT),
        ({"api_minor": 1}, 0x1F010045, _owner(0x1F010045).godh, _owner(0x1F010045).session, Status.POLICY_FAILURE),
        ({}, 0x45, _owner(0x45).godh, _owner(0x45).session, Status.POLICY_FAILURE),
        ({"es_enabled": False}, 0x5, OWNER.godh, OWNER.session, Status.UNSUPPORTED),
    ],
)  # fmt: skip
def test_sessions_are_refused_in_the_firmwares_order(
    platform: dict[str, bool], policy: int, godh: bytes, session: bytes, status: Status
) -> None:
    guest = OwnedGuest(OWN.pdh, SevPlatform()._replace(**platform))
    _refused(status, lambda: guest.launch_start(policy, godh, session))
    assert guest.state == SevGuestState.UNINIT


def test_no_bit_of_a_session_can_be_changed() -> None:
    for at in range(8 * 128):
        guest = OwnedGuest(OWN.pdh)
        changed = _altered(OWNER.session, at // 8, OWNER.session[at // 8] ^ 1 << at % 8)
        _refused(Status.BAD_MEASUREMENT, partial(guest.launch_start, POLICY, OWNER.godh, changed))


IGNORED = {*range(8), *range(0xA4, 0x824)}
"""The bytes of the owner's certificate that the firmware does not read."""


def test_the_page_has_the_bytes_that_are_ignored() -> None:
    page = (ROOT / "docs" / "sev-guest-owner.md").read_text()
    rows = re.findall(r"^\| 0x(\w+)-0x(\w+) \| [^|]+ \| (read|ignored) \|$", page, re.MULTILINE)
    assert [int(end, 16) + 1 for _, end, _ in rows] == [*(int(start, 16) for start, *_ in rows[1:]), 2084]
    said = {
        at for start, end, word in rows if word == "ignored" for at in range(int(start, 16), int(end, 16) + 1)
    }
    assert said == IGNORED


@given(st.integers(0, 2083), st.integers(1, 255))
def test_of_the_owners_certificate_the_key_counts(at: int, change: int) -> None:
    guest = OwnedGuest(OWN.pdh)
    changed = _altered(OWNER.godh, at, OWNER.godh[at] ^ change)
    if at in IGNORED:
        guest.launch_start(POLICY, changed, OWNER.session)
    else:
        _refused(Status.INVALID_CERTIFICATE, lambda: guest.launch_start(POLICY, changed, OWNER.session))


def test_secrets_are_refused_in_the_firmwares_order() -> None:
    owner = _owner()
    guest = _started(owner)
    packet = SecretPacket.seal(bytes(32), owner.keys, bytes(32), bytes(16))
    header, payload = packet

    def secret(header: bytes, payload: bytes, address: int, length: int, status: Status) -> None:
        _refused(status, lambda: guest.launch_secret(header, payload, address=address, length=length))

    secret(b"", b"", 8, 0, Status.INVALID_ADDRESS)
    secret(b"", b"", 16, 0, Status.INVALID_LEN)
    secret(header, b"", 16, 0, Status.INVALID_LEN)
    secret(header, payload, 16, 24, Status.INVALID_LEN)
    secret(header, payload, 16, 48, Status.INVALID_LEN)
    secret(header, bytes(0x5010), 16, 0x5010, Status.INVALID_LEN)
    secret(_altered(header, 0), payload, 16, 32, Status.INVALID_GUEST_STATE)
    blob = guest.launch_measure(MNONCE)
    secret(_altered(header, 0), payload, 16, 32, Status.UNSUPPORTED)
    secret(header, payload, 16, 32, Status.BAD_MEASUREMENT)
    right = SecretPacket.seal(bytes(32), owner.keys, blob[:32], bytes(16))
    assert guest.launch_secret(*right, address=16, length=32) == bytes(32)
    guest.launch_finish()
    secret(*right, 16, 32, Status.INVALID_GUEST_STATE)
    unready = OwnedGuest(OWN.pdh, SevPlatform(initialized=False))
    _refused(Status.INVALID_PLATFORM_STATE, lambda: unready.launch_secret(*right, address=8, length=0))


def test_no_bit_of_a_packet_can_be_changed() -> None:
    guest = _started(OWNER)
    blob = guest.launch_measure(MNONCE)
    packet = b"".join(SecretPacket.seal(b"s" * 32, OWNER.keys, blob[:32], bytes(16)))
    for at in range(8 * len(packet)):
        changed = _altered(packet, at // 8, packet[at // 8] ^ 1 << at % 8)
        status = Status.UNSUPPORTED if at == 0 else Status.BAD_MEASUREMENT
        _refused(status, partial(guest.launch_secret, changed[:52], changed[52:], address=0, length=32))


def test_old_firmware_binds_a_secret_to_no_measurement() -> None:
    owner = _owner()
    guest = _started(owner, SevPlatform(api_major=0, api_minor=16))
    guest.launch_measure(MNONCE)
    packet = SecretPacket.seal(bytes(16), owner.keys, b"", bytes(16))
    assert guest.launch_secret(*packet, address=0, length=16) == bytes(16)


SECRETS = st.lists(
    st.builds(Secret, st.uuids().map(str), st.binary(max_size=60)), min_size=1, max_size=4, unique_by=lambda one: one.guid
)  # fmt: skip


@given(SECRETS)
def test_a_table_gives_back_what_was_put_in(secrets: list[Secret]) -> None:
    table = encode_table(secrets)
    assert len(table) % 16 == 0
    assert decode_table(table, "table") == secrets


@given(SECRETS, st.integers(0, 200), st.binary(min_size=1, max_size=4))
def test_no_bent_table_breaks_the_reader(secrets: list[Secret], at: int, piece: bytes) -> None:
    table = encode_table(secrets)
    with suppress(SevbuildError):
        found = decode_table(table[:at] + piece + table[at + len(piece) :], "table")
        assert all(len(one.data) <= len(table) for one in found)


@given(st.binary(max_size=200))
def test_noise_is_no_session_but_by_its_length(data: bytes) -> None:
    if len(data) == 128:
        assert Session.decode(data, "session").encode() == data
    else:
        with pytest.raises(SevbuildError, match=f"session: {len(data)} bytes, where a session has 128"):
            Session.decode(data, "session")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: encode_table([]), "no secret to put into the table"),
        (lambda: encode_table([Secret(LUKS, b"a"), Secret(LUKS, b"b")]), "two secrets have the GUID"),
        (lambda: encode_table([Secret("1e74f542-71dd-4d66-963e-ef4287ff173b", b"")]), "is the GUID of the table"),
        (lambda: SecretPacket.seal(b"", OWNER.keys, bytes(32), bytes(16)), "a secret of 0 bytes"),
        (lambda: SecretPacket.seal(bytes(15), OWNER.keys, bytes(32), bytes(16)), "whole blocks of 16"),
        (lambda: SecretPacket.seal(bytes(MOST_BYTES + 16), OWNER.keys, bytes(32), bytes(16)), "takes 16384 at most"),
        (lambda: decode_table(bytes(19), "t"), "t: an entry of 19 bytes, which has no header"),
        (lambda: decode_table(bytes(16) + pack("<I", 21), "t"), "says it has 21 bytes, and 20 are left"),
        (lambda: decode_table(bytes(16) + pack("<I", 19), "t"), "says it has 19 bytes"),
        (lambda: decode_table(bytes(16) + pack("<I", 20), "t"), "not a table of secrets, but 00000000-"),
        (lambda: decode_table(encode_table([Secret(LUKS, b"")]) + bytes(16), "t"), "bytes after the table"),
        (lambda: decode_table(_altered(encode_table([Secret(LUKS, b"")]), 47), "t"), "8 bytes after the table"),
        (lambda: secret_guid("luks"), "not a GUID: 'luks'"),
    ],
)  # fmt: skip
def test_what_is_no_secret_is_told(act: Callable[[], object], message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        act()


def test_a_secret_is_named_by_a_word_or_a_guid() -> None:
    assert secret_guid("luks-key") == secret_guid(LUKS.upper()) == LUKS


IV = b64decode("rFR07U3TLH2YnsUj2SVZ7A==")
BLOB = b64decode("TLeA7607lZQntLjRY1/i+sbtdSZ+75zxpz4Px9hzpBLwItF5Q2o4prA++3ZZv9ZS")
ONE = (
    "AAAAAKxUdO1N0yx9mJ7FI9klWey8FSzeYQ4X8K71VzNKLU/KQsIsQxLjtbhaPUewqshX5Q==",
    "0U3e5PcXv0UW+H4tSBFKOdCYfKE1+j38Bc2fuO16mYiyI+sWx7INfn+lgYj56GL12yyinDa+lVfCCwD/2w5cPA==",
)
TWO = (
    "AAAAAKxUdO1N0yx9mJ7FI9klWeyZ3r0dOEKHUOhIRqzGYYvTJgdMtBPL1nK6GD9aGET7Ng==",
    "0U3e5PcXv0UW+H4tSBFKObWYfKE1+j38Bc2fuO16mYiyI+sWx7INfn+lgYj56GL12yyinDa+lVfCC+WWs332lpLNUX1ZI3YK7vYgtys4X+uGxEIlkIQ90v8/w8ZFmQMe",
)


def _sevctl_keys() -> TransportKeys:
    return TransportKeys(
        *(shared_file(f"launch-abi/sevctl/{name}1.bin").read_bytes() for name in ("tek", "tik"))
    )


@pytest.mark.parametrize(("guids", "expected"), [((LUKS,), ONE), ((LUKS, OTHER), TWO)], ids=["one", "two"])
def test_packets_are_those_of_sevctl(guids: tuple[str, ...], expected: tuple[str, str]) -> None:
    """The packets that tests/secretbuild.rs of virtee/sevctl 8b47f3a expects."""
    secrets = [
        Secret(guid, shared_file(f"launch-abi/sevctl/secret{number}.txt").read_bytes())
        for number, guid in enumerate(guids, start=1)
    ]
    packet = SecretPacket.seal(encode_table(secrets), _sevctl_keys(), BLOB[:32], IV)
    assert tuple(b64encode(part).decode() for part in packet) == expected
    plain = packet.open(_sevctl_keys(), len(packet.payload), BLOB[:32])
    assert plain is not None
    assert decode_table(plain, "table") == secrets


@pytest.mark.parametrize(("size", "fits"), [(16343, True), (16344, True), (16345, False)])
def test_the_largest_secret_is_the_one_of_sevctl(size: int, fits: bool) -> None:
    table = encode_table([Secret(OTHER, bytes(size))])
    assert (len(table) <= MOST_BYTES) is fits


def _sevctl(folder: Path, *words: str) -> None:
    subprocess.run([peer_program("sevctl"), *words], check=True, capture_output=True, cwd=folder)


def test_the_platform_takes_what_sevctl_makes(tmp_path: Path) -> None:
    (tmp_path / "pdh.cert").write_bytes(OWN.files["pdh"])
    _sevctl(tmp_path, "session", "--name", "guest", "pdh.cert", str(POLICY))
    godh, session = (b64decode((tmp_path / f"guest_{name}.b64").read_text()) for name in ("godh", "session"))
    keys = TransportKeys(*((tmp_path / f"guest_{name}.bin").read_bytes() for name in ("tek", "tik")))
    guest = _started(OwnerSession(godh, session, keys), SevPlatform(build_id=7))
    blob = guest.launch_measure(MNONCE)
    digest = b64encode(_digest()).decode()
    host = ("--api-major", "1", "--api-minor", "55", "--build-id", "7", "--policy", str(POLICY))
    _sevctl(
        tmp_path, "measurement", "build", *host, "--tik", "guest_tik.bin", "--launch-digest", digest,
        "--nonce", b64encode(MNONCE).decode(), "--outfile", "blob",
    )  # fmt: skip
    assert (tmp_path / "blob").read_bytes() == blob
    (tmp_path / "a").write_bytes(os.urandom(100))
    (tmp_path / "b").write_bytes(b"b")
    _sevctl(
        tmp_path, "secret", "build", "--tik", "guest_tik.bin", "--tek", "guest_tek.bin",
        "--launch-measure-blob", "blob", "--secret", f"{LUKS}:a", "--secret", f"{OTHER}:b", "header", "payload",
    )  # fmt: skip
    header, payload = ((tmp_path / name).read_bytes() for name in ("header", "payload"))
    plain = guest.launch_secret(header, payload, address=0, length=len(payload))
    assert decode_table(plain, "table") == [Secret(LUKS, (tmp_path / "a").read_bytes()), Secret(OTHER, b"b")]


def _digest() -> bytes:
    guest = _started()
    guest.launch_measure(MNONCE)
    return guest.launch_finish()


def test_the_platform_takes_what_libvirts_tool_encrypts(tmp_path: Path) -> None:
    """It verifies a measurement of the model with keys of a session of ours, and packs a secret for it."""
    require(shutil.which("virt-qemu-sev-validate", path="/usr/bin:/bin"), "virt-qemu-sev-validate")
    owner = _owner(0x3)
    image = bytes(range(256)) * 16
    guest = OwnedGuest(OWN.pdh, SevPlatform(build_id=24))
    guest.launch_start(0x3, owner.godh, owner.session)
    guest.launch_update(LaunchUpdate(0xFFFFF000, PageType.NORMAL, len(image), image, "firmware"))
    blob = guest.launch_measure(MNONCE)
    files, _ = owner_files(owner, "vm")
    for name, data in {**files, "fw": image, "key": b"open sesame"}.items():
        (tmp_path / name).write_bytes(data)
    command = [
        "/usr/bin/virt-qemu-sev-validate",
        "--measurement",
        b64encode(blob).decode(),
        "--tk",
        "vm_tk.bin",
    ]
    command += [
        "--api-major",
        "1",
        "--api-minor",
        "55",
        "--build-id",
        "24",
        "--policy",
        "3",
        "--firmware",
        "fw",
    ]
    command += ["--inject-secret", "luks-key:key", "--secret-header", "header", "--secret-payload", "payload"]
    # The program is run by the first python3 there is; its packages are the system's.
    system = {**os.environ, "PATH": "/usr/bin:/bin"}
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=system)
    assert result.returncode == 0, result.stdout + result.stderr
    header, payload = (b64decode((tmp_path / name).read_text()) for name in ("header", "payload"))
    plain = guest.launch_secret(header, payload, address=0, length=len(payload))
    assert decode_table(plain, "table") == [Secret(LUKS, b"open sesame")]
