"""Sessions, measurements and secrets, ours and those of virtee's sev crate, crosswise."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from struct import pack

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sevbuild.identity.launch_measure import MeasuredLaunch
from sevbuild.identity.launch_secret import Secret, SecretPacket, decode_table, encode_table
from sevbuild.identity.sev_certificate import SevCertificate
from sevbuild.identity.sev_platform import OwnedGuest
from sevbuild.identity.sev_session import TransportKeys, create_session
from sevbuild.launch.page_type import PageType
from sevbuild.launch.sev_guest import SevPlatform
from sevbuild.launch.update import LaunchUpdate
from tests.support.real import peer_program
from tests.support.sev_platform import NAMES, OwnPlatform, own_platform
from tests.support.shared import shared_file

DATA = LaunchUpdate(0xFFFF0000, PageType.NORMAL, 32, b"firmware" * 4, "firmware")
POLICIES = [0x0, 0x5, 0x3F]
"""Without a minimum API, of which the crate reads four bits for each eight."""


def _virtee(folder: Path, *words: str, status: int = 0) -> str:
    command = [peer_program("virtee-owner"), *words]
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    assert result.returncode == status, result.stderr
    return result.stdout


def _write_chain(folder: Path, platform: OwnPlatform) -> None:
    (folder / "chain").write_bytes(b"".join(platform.files[name] for name in NAMES))


@pytest.mark.parametrize("bits", [2048, 4096])
def test_a_chain_of_our_own_holds_for_virtee(tmp_path: Path, bits: int) -> None:
    platform = own_platform(bits)
    _write_chain(tmp_path, platform)
    _virtee(tmp_path, "chain", "chain")
    changed = platform.files["pek"][:-1] + b"\1"
    _write_chain(tmp_path, platform._replace(files=platform.files | {"pdh": changed}))
    _virtee(tmp_path, "chain", "chain", status=1)


def test_a_chip_of_naples_is_none_of_rome_for_virtee_either(tmp_path: Path) -> None:
    files = {
        product: {name: shared_file(f"sev-certs/{product}/{name}.cert").read_bytes() for name in NAMES}
        for product in ("naples", "rome")
    }
    names = [("naples", name) for name in NAMES[:4]] + [("rome", name) for name in NAMES[4:]]
    (tmp_path / "chain").write_bytes(b"".join(files[product][name] for product, name in names))
    _virtee(tmp_path, "chain", "chain", status=1)
    (tmp_path / "chain").write_bytes(b"".join(files["naples"][name] for name in NAMES))
    _virtee(tmp_path, "chain", "chain")


@pytest.mark.parametrize("policy", POLICIES)
def test_our_session_opens_with_virtees_crate(tmp_path: Path, policy: int) -> None:
    platform = own_platform()
    made = create_session(SevCertificate.decode(platform.files["pdh"], "pdh"), policy, os.urandom)
    key = platform.pdh.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for name, data in (("key", key), ("godh", made.godh), ("session", made.session)):
        (tmp_path / name).write_bytes(data)
    opened = _virtee(tmp_path, "open", "key", "godh", "session", str(policy))
    assert opened == (made.keys.tek + made.keys.tik).hex() + "\n"
    _virtee(tmp_path, "open", "key", "godh", "session", str(policy ^ 1), status=1)
    (tmp_path / "session").write_bytes(
        made.session[:40] + pack("B", made.session[40] ^ 1) + made.session[41:]
    )
    _virtee(tmp_path, "open", "key", "godh", "session", str(policy), status=1)


@pytest.mark.parametrize("policy", [0x0, 0x5])
def test_the_platform_takes_what_virtees_crate_makes(tmp_path: Path, policy: int) -> None:
    platform = own_platform()
    _write_chain(tmp_path, platform)
    _virtee(tmp_path, "start", "chain", str(policy), "vm")
    guest = OwnedGuest(platform.pdh, SevPlatform(build_id=24))
    godh, session, keys = ((tmp_path / f"vm_{name}.bin").read_bytes() for name in ("godh", "session", "tk"))
    guest.launch_start(policy, godh, session)
    guest.launch_update(DATA)
    blob = guest.launch_measure(os.urandom(16))
    own = TransportKeys(keys[:16], keys[16:])
    (tmp_path / "blob").write_bytes(blob)
    table = encode_table([Secret("736869e5-84f0-4973-92ec-06879ce3da0b", os.urandom(77))])
    (tmp_path / "plain").write_bytes(table)
    _virtee(tmp_path, "secret", "vm_tk.bin", "blob", "plain", "vm")
    header, payload = ((tmp_path / f"vm_{name}.bin").read_bytes() for name in ("header", "payload"))
    plain = guest.launch_secret(header, payload, address=0, length=len(payload))
    assert plain == table
    assert decode_table(plain, "table") == decode_table(table, "table")
    # With the same IV ours is the very same packet.
    assert SecretPacket.seal(table, own, blob[:32], header[4:20]) == (header, payload)


@pytest.mark.parametrize("policy", POLICIES)
def test_our_measurement_is_virtees(tmp_path: Path, policy: int) -> None:
    keys, digest = os.urandom(32), os.urandom(32)
    blob = MeasuredLaunch(1, 55, 24, policy, digest).blob(keys[16:], os.urandom(16))
    for name, data in (("tk", keys), ("digest", digest), ("blob", blob)):
        (tmp_path / name).write_bytes(data)
    words = ("verify", "tk", str(policy), "1", "55", "24", "digest", "blob")
    _virtee(tmp_path, *words)
    _virtee(tmp_path, *words[:5], "25", *words[6:], status=1)
