"""Secrets for a launched guest: the table its firmware reads, and the packet that LAUNCH_SECRET takes."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from struct import Struct
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.identity.host_report import HostReport
from sevbuild.identity.sev_session import KEY_BYTES, TransportKeys, ctr
from sevbuild.image.guid import format_guid, parse_guid
from sevbuild.launch.sev_guest import FIRST_BOUND_API

__all__ = [
    "HEADER_SIZE",
    "MOST_BYTES",
    "SECRET_NAMES",
    "Secret",
    "SecretPacket",
    "decode_table",
    "encode_table",
    "packet_for",
    "secret_guid",
]

SECRET_NAMES = {"luks-key": "736869e5-84f0-4973-92ec-06879ce3da0b"}
"""Secrets that are known by a name (libvirt tools/virt-qemu-sev-validate: the key of a LUKS volume)."""

HEADER_SIZE = 52
"""The bytes of a packet's header (SEV API table 43)."""
MOST_BYTES = 0x4000
"""The most that Linux hands to the firmware at once (include/linux/psp-sev.h: SEV_FW_BLOB_MAX_SIZE)."""

_TABLE = "1e74f542-71dd-4d66-963e-ef4287ff173b"  # edk2 OvmfPkg, Linux drivers/virt/coco/efi_secret
_ENTRY = Struct("<16sI")
_BLOCK = 16
_HEADER = Struct("<I16s32s")
_CONTEXT = b"\x01"


class Secret(NamedTuple):
    """One entry of the table: a GUID by which the guest finds it, and its bytes."""

    guid: str
    data: bytes


class SecretPacket(NamedTuple):
    """What the host is given: a header in the clear, and the encrypted table."""

    header: bytes
    payload: bytes

    @classmethod
    def seal(cls, plaintext: bytes, keys: TransportKeys, measure: bytes, iv: bytes) -> SecretPacket:
        """Return the packet for a guest whose measurement (32 bytes, without the nonce) was accepted.

        Firmware before API 0.17 binds a packet to no measurement, which is empty then.

        The plaintext is whole blocks of 16 bytes; an `iv` (16 bytes) is used once. Raises SevbuildError for
        a plaintext that no firmware takes.
        """
        if not plaintext or len(plaintext) % _BLOCK:
            raise SevbuildError(f"a secret of {len(plaintext)} bytes, where whole blocks of 16 are taken")
        if len(plaintext) > MOST_BYTES:
            raise SevbuildError(f"a secret of {len(plaintext)} bytes, where Linux takes {MOST_BYTES} at most")
        payload = ctr(keys.tek, iv, plaintext)
        mac = _packet_mac(keys.tik, 0, iv, payload, len(plaintext), measure)
        return cls(_HEADER.pack(0, iv, mac), payload)

    @property
    def flags(self) -> int:
        """Return the header's first number; bit 0 says that the payload is compressed."""
        return int.from_bytes(self.header[:4], "little")

    def open(self, keys: TransportKeys, guest_length: int, measure: bytes) -> bytes | None:
        """Return the plaintext, None for a packet that was made for another session or measurement."""
        flags, iv, mac = _HEADER.unpack(self.header)
        own = _packet_mac(keys.tik, flags, iv, self.payload, guest_length, measure)
        if not hmac.compare_digest(own, mac):
            return None
        return ctr(keys.tek, iv, self.payload)


def packet_for(
    secrets: Iterable[Secret], keys: TransportKeys, host: HostReport, random: Callable[[int], bytes]
) -> SecretPacket:
    """Return the packet with these secrets for the guest that a host reported the measurement of.

    `random` gives that many random bytes. Raises SevbuildError where no measurement was reported.
    """
    if host.measure is None:
        raise SevbuildError("no measurement among what the host reports", hint="query-sev-launch-measure")
    bound = host.api_major is None or (host.api_major, host.api_minor or 0) >= FIRST_BOUND_API
    return SecretPacket.seal(encode_table(secrets), keys, host.measure if bound else b"", random(KEY_BYTES))


def _packet_mac(
    tik: bytes, flags: int, iv: bytes, payload: bytes, guest_length: int, measure: bytes
) -> bytes:
    """Return what vouches for a packet: HMAC-SHA256 with the TIK (SEV API 6.6)."""
    lengths = guest_length.to_bytes(4, "little") + len(payload).to_bytes(4, "little")
    message = _CONTEXT + flags.to_bytes(4, "little") + iv + lengths + payload + measure
    return hmac.digest(tik, message, "sha256")


def secret_guid(text: str) -> str:
    """Return the GUID that a name or a GUID's text means, in lower case; raises SevbuildError."""
    return format_guid(parse_guid(SECRET_NAMES.get(text, text)))


def encode_table(secrets: Iterable[Secret]) -> bytes:
    """Return the table of secrets, padded to whole blocks; raises SevbuildError for a GUID given twice."""
    entries = b""
    seen = set()
    for secret in secrets:
        if secret.guid in seen:
            raise SevbuildError(f"two secrets have the GUID {secret.guid}: the guest would find one of them")
        if secret.guid == _TABLE:
            raise SevbuildError(f"{secret.guid} is the GUID of the table, and of no secret in it")
        seen.add(secret.guid)
        entries += _entry(secret.guid, secret.data)
    if not entries:
        raise SevbuildError("no secret to put into the table")
    table = _entry(_TABLE, entries)
    return table + bytes(-len(table) % _BLOCK)


def decode_table(data: bytes, name: str) -> list[Secret]:
    """Return the secrets of a table, as a guest's firmware and Linux walk it; raises SevbuildError."""
    guid, entries, rest = _split(data, name)
    if guid != _TABLE:
        raise SevbuildError(f"{name}: not a table of secrets, but {guid}")
    if rest.strip(b"\0") or len(rest) >= _BLOCK:
        raise SevbuildError(f"{name}: {len(rest)} bytes after the table")
    found = []
    while entries:
        guid, secret, entries = _split(entries, name)
        found.append(Secret(guid, secret))
    return found


def _entry(guid: str, data: bytes) -> bytes:
    return _ENTRY.pack(parse_guid(guid), _ENTRY.size + len(data)) + data


def _split(data: bytes, name: str) -> tuple[str, bytes, bytes]:
    """Return GUID and contents of the first entry, and what comes after it."""
    if len(data) < _ENTRY.size:
        raise SevbuildError(f"{name}: an entry of {len(data)} bytes, which has no header")
    guid, size = _ENTRY.unpack_from(data)
    if not _ENTRY.size <= size <= len(data):
        raise SevbuildError(f"{name}: an entry says it has {size} bytes, and {len(data)} are left")
    return format_guid(guid), data[_ENTRY.size : size], data[size:]
