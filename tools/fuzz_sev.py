"""What the owner of an SEV guest reads of others, for the fuzzer."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from random import Random

from sevbuild.identity.host_report import read_host_report
from sevbuild.identity.launch_secret import Secret, SecretPacket, decode_table, encode_table
from sevbuild.identity.sev_certificate import SevCertificate
from sevbuild.identity.sev_chain import read_certificates, verified_chain
from sevbuild.identity.sev_platform import OwnedGuest
from sevbuild.identity.sev_session import OwnerSession, create_session
from tests.support.sev_platform import NAMES, own_platform
from tools.fuzz_targets import Target

__all__ = ["sev_targets"]

_GUID = "736869e5-84f0-4973-92ec-06879ce3da0b"
_POLICY = 0x5


def chain(data: bytes) -> None:
    """Read a platform's certificates, and hold them to a root key."""
    verified_chain(read_certificates(data, "input"), [own_platform().root])


def session(data: bytes) -> None:
    """Start a launch with what a guest owner gave the host: the certificate, then the session."""
    guest = OwnedGuest(own_platform().pdh)
    guest.launch_start(_POLICY, data[:2084], data[2084:])


def secret(data: bytes) -> None:
    """Take a packet of secrets, which the host hands over, and read the table in it."""
    guest = OwnedGuest(own_platform().pdh)
    guest.launch_start(_POLICY, _owner().godh, _owner().session)
    guest.launch_measure(bytes(16))
    guest.launch_secret(data[:52], data[52:], address=0, length=len(data) - 52)


def table(data: bytes) -> None:
    """Read a table of secrets as a guest does."""
    secrets = decode_table(data, "input")
    size = int.from_bytes(data[16:20], "little")
    if secrets and len({one.guid for one in secrets}) == len(secrets):
        # What pads a table is no part of it.
        assert encode_table(secrets)[:size] == data[:size]  # noqa: S101 - it is a finding


def host(data: bytes) -> None:
    """Read what a host reports of a launch."""
    read_host_report(data, "input")


@cache
def _owner() -> OwnerSession:
    pdh = SevCertificate.decode(own_platform().files["pdh"], "pdh")
    return create_session(pdh, _POLICY, Random(1).randbytes)


def sev_targets() -> list[Target]:
    """Return the parsers with valid inputs for each."""
    files = own_platform().files
    whole = b"".join(files[name] for name in NAMES)
    capabilities = {
        "pdh": b64encode(files["pdh"]).decode(),
        "cert-chain": b64encode(b"".join(files[name] for name in NAMES[1:])).decode(),
    }
    owner = _owner()
    guest = OwnedGuest(own_platform().pdh)
    guest.launch_start(_POLICY, owner.godh, owner.session)
    blob = guest.launch_measure(bytes(16))
    secrets = encode_table([Secret(_GUID, b"secret" * 9)])
    packet = SecretPacket.seal(secrets, owner.keys, blob[:32], bytes(16))
    text = b64encode(blob).decode()
    query = {"api-major": 1, "api-minor": 55, "build-id": 24, "policy": 5}
    hosts = (
        blob,
        text.encode(),
        json.dumps({"return": {"data": text}}).encode() + b"\n" + json.dumps({"return": query}).encode(),
        f"sev-measurement: {text}\nsev-api-major  : 1\nsev-policy     : 5\n".encode(),
    )
    chains = (whole, b64encode(whole), json.dumps({"return": capabilities}).encode())
    return [
        Target("sev-chain", chain, chains, text=False),
        Target("sev-session", session, (owner.godh + owner.session,), text=False),
        Target("sev-secret", secret, (packet.header + packet.payload,), text=False),
        Target("sev-table", table, (secrets,), text=False),
        Target("sev-host", host, hosts, text=False),
    ]
