"""Signatures as the secure processor stores them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import KEY_SIZE, ORDER_P384, EcdsaSignature, P384PublicKey

KEY = derive_private_key(7, SECP384R1())
NUMBERS = st.integers(0, (1 << 384) - 1)


@given(NUMBERS, NUMBERS, st.sampled_from([144, 512]))
def test_a_field_holds_what_was_put_into_it(r: int, s: int, size: int) -> None:
    field = EcdsaSignature(r, s).encode(size)
    assert len(field) == size
    assert EcdsaSignature.decode(field, "signature") == (r, s)


@given(st.integers(0, 511).filter(lambda at: 48 <= at < 72 or at >= 120), st.integers(1, 255))
def test_a_byte_beside_the_numbers_is_refused(at: int, value: int) -> None:
    field = bytearray(EcdsaSignature(1, 2).encode(512))
    field[at] = value
    with pytest.raises(SevbuildError, match="report: bytes beside the two 48-byte numbers are set"):
        EcdsaSignature.decode(bytes(field), "report")


def test_a_signature_holds_for_its_data_and_key_alone() -> None:
    signature = EcdsaSignature(
        *decode_dss_signature(KEY.sign(b"data", ECDSA(SHA384(), deterministic_signing=True)))
    )
    assert signature.verifies(b"data", KEY.public_key())
    assert not signature.verifies(b"date", KEY.public_key())
    assert not signature.verifies(b"data", derive_private_key(8, SECP384R1()).public_key())
    assert not EcdsaSignature(0, 0).verifies(b"data", KEY.public_key())
    # What the nature of ECDSA allows: a report's bytes are no identity.
    assert signature._replace(s=ORDER_P384 - signature.s).verifies(b"data", KEY.public_key())


def test_a_signature_over_another_digest_is_told() -> None:
    signed = KEY.sign(b"data", ECDSA(SHA256(), deterministic_signing=True))
    signature = EcdsaSignature(*decode_dss_signature(signed))
    assert signature.verifies(b"data", KEY.public_key(), SHA256())
    assert not signature.verifies(b"data", KEY.public_key())


@given(st.integers(1, ORDER_P384 - 1))
def test_a_public_key_survives_its_field(secret: int) -> None:
    key = derive_private_key(secret, SECP384R1()).public_key()
    field = P384PublicKey.of(key).encode()
    assert len(field) == KEY_SIZE
    assert P384PublicKey.decode(field, "key").public_key("key").public_numbers() == key.public_numbers()


@given(
    st.integers(0, KEY_SIZE - 1).filter(lambda at: at < 4 or 52 <= at < 76 or at >= 124), st.integers(1, 255)
)
def test_a_byte_beside_the_coordinates_is_refused(at: int, value: int) -> None:
    field = bytearray(P384PublicKey.of(KEY.public_key()).encode())
    field[at] ^= value
    with pytest.raises(SevbuildError, match="ID key: "):
        P384PublicKey.decode(bytes(field), "ID key")


def test_public_keys_that_are_none() -> None:
    with pytest.raises(SevbuildError, match="key: a public key is 1028 bytes, not 3"):
        P384PublicKey.decode(b"abc", "key")
    with pytest.raises(SevbuildError, match=r"key: its public key is no point of P-384"):
        P384PublicKey(1, 1).public_key("key")
    with pytest.raises(SevbuildError, match="a key of curve secp256r1"):
        P384PublicKey.of(derive_private_key(7, SECP256R1()).public_key())
