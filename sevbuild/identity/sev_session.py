"""A guest owner's session with a secure processor: two keys, wrapped so that only one chip has them."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.documents.binary_text import base64_bytes, hex_bytes
from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import ORDER_P384, P384PublicKey
from sevbuild.identity.sev_certificate import PDH, SevCertificate
from sevbuild.text import counted

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = [
    "KEYS_SIZE",
    "KEY_BYTES",
    "SESSION_SIZE",
    "OwnerSession",
    "Session",
    "TransportKeys",
    "create_session",
    "ctr",
    "derive_key",
    "read_key",
    "read_keys",
    "shared_secret",
]

KEY_BYTES = 16
"""The bytes of a key, a nonce and an initialisation vector."""
KEYS_SIZE = 2 * KEY_BYTES
SESSION_SIZE = 128
"""The bytes of a session as LAUNCH_START takes it."""

_SESSION = Struct("<16s32s16s32s32s")
_EXTRA_BYTES = 8
_SECRET_BYTES = 48 + _EXTRA_BYTES
"""So many random bytes make a private key without favour for any (FIPS 186-5 A.2.1)."""


class TransportKeys(NamedTuple):
    """The two keys of a session: TEK encrypts secrets, TIK vouches for measurements and secrets.

    As one file, `tk.bin`, the TEK comes first.
    """

    tek: bytes
    tik: bytes


def read_key(data: bytes, name: str) -> bytes:
    """Return the key (16 bytes) in a file's contents: as it is, or in hexadecimal digits or base64."""
    text = data.decode("ascii", "replace")
    for found in (data, hex_bytes(text), base64_bytes(text)):
        if found is not None and len(found) == KEY_BYTES:
            return found
    hint = "a file of 32 bytes with both keys is given with --tk" if len(data) == KEYS_SIZE else None
    raise SevbuildError(f"{name}: {counted(len(data), 'byte')}, where a key has {KEY_BYTES}", hint=hint)


def read_keys(data: bytes, name: str) -> TransportKeys:
    """Return both keys in a file's contents, TEK and then TIK, as sev-tool's tmp_tk.bin has them."""
    if len(data) != KEYS_SIZE:
        raise SevbuildError(f"{name}: {counted(len(data), 'byte')}, where TEK and TIK have {KEYS_SIZE}")
    if hex_bytes(data.decode("ascii", "replace")) is not None:
        hint = "--tik or --tek takes it"
        raise SevbuildError(f"{name}: the hexadecimal digits of one key, where two keys are", hint=hint)
    return TransportKeys(data[:KEY_BYTES], data[KEY_BYTES:])


class Session(NamedTuple):
    """What LAUNCH_START is given beside the owner's public key (SEV API table 33)."""

    nonce: bytes
    wrapped: bytes
    iv: bytes
    wrap_mac: bytes
    policy_mac: bytes

    @classmethod
    def decode(cls, raw: bytes, name: str) -> Session:
        """Return the session in SESSION_SIZE bytes; raises SevbuildError for another number of them."""
        if len(raw) != SESSION_SIZE:
            raise SevbuildError(f"{name}: {len(raw)} bytes, where a session has {SESSION_SIZE}")
        return cls(*_SESSION.unpack(raw))

    def encode(self) -> bytes:
        """Return the SESSION_SIZE bytes."""
        return _SESSION.pack(*self)

    @classmethod
    def wrap(cls, keys: TransportKeys, policy: int, shared: bytes, nonce: bytes, iv: bytes) -> Session:
        """Return the session that hands keys over under a shared secret (48 bytes), bound to a policy."""
        kek, kik = _wrapping_keys(shared, nonce)
        wrapped = ctr(kek, iv, keys.tek + keys.tik)
        return cls(nonce, wrapped, iv, hmac.digest(kik, wrapped, "sha256"), _policy_mac(keys.tik, policy))

    def unwrap(self, shared: bytes) -> TransportKeys | None:
        """Return the keys, None where they were wrapped under another shared secret, or altered."""
        kek, kik = _wrapping_keys(shared, self.nonce)
        if not hmac.compare_digest(hmac.digest(kik, self.wrapped, "sha256"), self.wrap_mac):
            return None
        both = ctr(kek, self.iv, self.wrapped)
        return TransportKeys(both[:KEY_BYTES], both[KEY_BYTES:])

    def is_for(self, policy: int, tik: bytes) -> bool:
        """Tell whether the session, of which this is the TIK, is for a guest of this policy (u32)."""
        return hmac.compare_digest(_policy_mac(tik, policy), self.policy_mac)


class OwnerSession(NamedTuple):
    """What a guest owner has made: the certificate and the session for the host, and the keys to keep."""

    godh: bytes
    session: bytes
    keys: TransportKeys


def create_session(pdh: SevCertificate, policy: int, random: Callable[[int], bytes]) -> OwnerSession:
    """Return a new session for the platform with this PDH and a guest of this policy (u32).

    `random` gives that many random bytes. Nothing here says whose PDH it is: `verified_chain` does.
    """
    secret = int.from_bytes(random(_SECRET_BYTES), "big") % (ORDER_P384 - 1) + 1
    keys = TransportKeys(random(KEY_BYTES), random(KEY_BYTES))
    if not any(keys.tek) or not any(keys.tik) or keys.tek == keys.tik:
        raise SevbuildError("the source of random numbers gave a key that anybody could guess")
    from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, derive_private_key

    private = derive_private_key(secret, SECP384R1())
    if pdh.usage != PDH or not isinstance(pdh.key, P384PublicKey):
        raise SevbuildError(f"a {pdh.title}, whose key agrees on nothing; a PDH's does")
    shared = shared_secret(private, pdh.key, "the platform's PDH")
    session = Session.wrap(keys, policy, shared, random(KEY_BYTES), random(KEY_BYTES))
    godh = SevCertificate.owner_key(P384PublicKey.of(private.public_key()))
    return OwnerSession(godh.raw, session.encode(), keys)


def shared_secret(private: EllipticCurvePrivateKey, peer: P384PublicKey, name: str) -> bytes:
    """Return the x coordinate (48 bytes, big-endian) that both sides of a key agreement come to."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDH

    return private.exchange(ECDH(), peer.public_key(name))


def _policy_mac(tik: bytes, policy: int) -> bytes:
    """Return what binds a session to a policy (SEV API 6.2.1)."""
    return hmac.digest(tik, policy.to_bytes(4, "little"), "sha256")


def derive_key(key: bytes, label: str, context: bytes = b"", size: int = KEY_BYTES) -> bytes:
    """Return `size` bytes derived from a key: counter mode of SP 800-108 with HMAC-SHA256 (SEV API 2.4)."""
    bits = (8 * size).to_bytes(4, "little")
    found = b""
    for counter in range(1, -(-size // 32) + 1):
        message = counter.to_bytes(4, "little") + f"{label}\0".encode() + context + bits
        found += hmac.digest(key, message, "sha256")
    return found[:size]


def ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Return data encrypted, or decrypted, by AES-128 in counter mode."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CTR

    context = Cipher(AES(key), CTR(iv)).encryptor()
    return context.update(data) + context.finalize()


def _wrapping_keys(shared: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """Return the key that encrypts the transport keys, and the one that vouches for them."""
    master = derive_key(shared, "sev-master-secret", nonce)
    return derive_key(master, "sev-kek"), derive_key(master, "sev-kik")
