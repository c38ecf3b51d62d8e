"""Keys from files, and signatures that were made elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha384
from typing import cast

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP521R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.identity.ecdsa import ORDER_P384, EcdsaSignature, P384PublicKey, sign_deterministically
from sevbuild.identity.keys import EncryptedKeyError, load_private_key, load_public_key
from sevbuild.identity.signature import Signed, matching_signature, signature_forms
from sevbuild.identity.signed_block import signed_by
from tests.support.id_blocks import AUTHOR_KEY, BLOCK, ID_KEY, private_key, private_pem, public_pem

MESSAGE = BLOCK.encode()
SIGNED = Signed("the ID block", MESSAGE, ID_KEY.public, "the ID key")
SIGNATURE = ID_KEY.sign(MESSAGE)
RAW = b"".join(number.to_bytes(48, "big") for number in SIGNATURE)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_private_keys_of_every_form(encoding: Encoding, form: PrivateFormat) -> None:
    data = ID_KEY.key.private_bytes(encoding, form, NoEncryption())
    assert load_private_key(data, "key").public == ID_KEY.public
    assert load_public_key(data, "key") == ID_KEY.public
    with pytest.raises(SevbuildError, match=r"^key: the key is not encrypted, and a passphrase was given$"):
        load_private_key(data, "key", b"secret")


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        (Encoding.PEM, PrivateFormat.PKCS8),
        (Encoding.DER, PrivateFormat.PKCS8),
        (Encoding.PEM, PrivateFormat.TraditionalOpenSSL),
    ],
)
def test_encrypted_keys(encoding: Encoding, form: PrivateFormat) -> None:
    data = ID_KEY.key.private_bytes(encoding, form, BestAvailableEncryption(b"secret"))
    assert load_private_key(data, "key", b"secret").public == ID_KEY.public
    assert load_public_key(data, "key", b"secret") == ID_KEY.public
    for load in (load_private_key, load_public_key):
        with pytest.raises(
            EncryptedKeyError, match=r"^key: the key is encrypted, and no passphrase was given$"
        ):
            load(data, "key")
        with pytest.raises(SevbuildError, match=r"^key: the passphrase does not open the key$"):
            load(data, "key", b"Secret")


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_public_keys_of_every_form(encoding: Encoding) -> None:
    data = ID_KEY.key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    assert load_public_key(data, "key") == ID_KEY.public
    with pytest.raises(SevbuildError, match=r"^key: a public key; the private half signs$"):
        load_private_key(data, "key")
    with pytest.raises(SevbuildError, match="a passphrase was given"):
        load_public_key(data, "key", b"secret")


def test_the_structure_of_a_key_is_a_public_key() -> None:
    data = ID_KEY.public.encode()
    assert len(data) == 0x404
    assert load_public_key(data, "key") == ID_KEY.public
    assert ID_KEY.public.digest == sha384(data).digest()


def test_a_key_with_the_name_of_its_curve_ahead() -> None:
    """What `openssl ecparam -name secp384r1 -genkey` writes."""
    pem = private_pem(ID_KEY, form=PrivateFormat.TraditionalOpenSSL)
    curve = b"-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n"
    assert load_private_key(curve + pem, "key").public == ID_KEY.public


def _pem(key: EllipticCurvePrivateKey | Ed25519PrivateKey, *, public: bool) -> bytes:
    if public:
        return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize(
    ("key", "message"),
    [
        (derive_private_key(5, SECP256R1()), "a key on secp256r1; ID blocks take P-384"),
        (derive_private_key(5, SECP521R1()), "a key on secp521r1; ID blocks take P-384"),
        (
            Ed25519PrivateKey.from_private_bytes(bytes(32)),
            "a key of another kind \\(ed25519\\); ID blocks take ECDSA on P-384",
        ),
    ],
)
def test_other_curves_are_refused(
    key: EllipticCurvePrivateKey | Ed25519PrivateKey, message: str, public: bool
) -> None:
    load: Callable[[bytes, str], object] = load_public_key if public else load_private_key
    with pytest.raises(SevbuildError, match=f"^key: {message}") as caught:
        load(_pem(key, public=public), "key")
    assert "ec_paramgen_curve:P-384" in str(caught.value.hint)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reading_of_keys(data: bytes) -> None:
    for load in (load_private_key, load_public_key):
        with pytest.raises(SevbuildError):
            load(data, "key")


def test_a_certificate_is_no_key() -> None:
    with pytest.raises(SevbuildError, match="not a key") as caught:
        load_public_key(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "key")
    assert "openssl x509 -pubkey" in str(caught.value.hint)


class _OldOpenSsl:
    """A key of a `cryptography` that has no RFC 6979."""

    def sign(self, _data: bytes, _algorithm: object) -> bytes:
        raise UnsupportedAlgorithm("deterministic_signing")


def test_a_machine_that_cannot_sign_deterministically() -> None:
    with pytest.raises(SevbuildError, match=r"cannot sign deterministically \(RFC 6979\)") as caught:
        sign_deterministically(cast("EllipticCurvePrivateKey", _OldOpenSsl()), b"data", hashes.SHA384())
    assert "OpenSSL 3.2" in str(caught.value.hint)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 1), (1 << 384, 5), (-1, 5)])
def test_a_point_beside_the_curve(x: int, y: int) -> None:
    with pytest.raises(SevbuildError, match="key: its public key is no point of P-384"):
        P384PublicKey(x, y).public_key("key")


FORMS = {
    "der": SIGNATURE.der,
    "big-endian": RAW,
    "little-endian": b"".join(number.to_bytes(48, "little") for number in SIGNATURE),
    "72 bytes": SIGNATURE.encode(144),
    "512 bytes": SIGNATURE.encode(512),
}


@pytest.mark.parametrize("form", FORMS)
def test_signatures_of_every_form(form: str) -> None:
    data = FORMS[form]
    texts = (data.hex(), "0x" + data.hex().upper(), b64encode(data).decode())
    urls = b64encode(data, b"-_").decode().rstrip("=")
    lines = "\n".join(texts[2][at : at + 64] for at in range(0, len(texts[2]), 64)) + "\n"
    for given_form in (data, *(text.encode() for text in (*texts, urls, lines))):
        assert matching_signature(given_form, SIGNED, "sig") == SIGNATURE
        assert signed_by(BLOCK, ID_KEY.public, given_form, "sig").auth.signature == SIGNATURE


def test_leading_zeros_of_numbers() -> None:
    """DER leaves them out, the raw forms have them."""
    for svn in range(5000):
        block = BLOCK._replace(guest_svn=svn)
        signature = ID_KEY.sign(block.encode())
        if min(signature) < 1 << 376:
            break
    else:
        raise AssertionError("no short number")
    signed = SIGNED._replace(message=block.encode())
    raw = [number.to_bytes(48, "big") for number in signature]
    for form in (signature.der, b"".join(raw), b"".join(half[::-1] for half in raw), signature.encode(512)):
        assert matching_signature(form, signed, "sig") == signature


@given(st.binary(max_size=600))
def test_no_bytes_crash_the_reading_of_signatures(data: bytes) -> None:
    with pytest.raises(SevbuildError):
        matching_signature(data, SIGNED, "sig")


@given(st.integers(0, 511), st.integers(1, 255), st.sampled_from(sorted(FORMS)))
def test_a_changed_signature_does_not_verify(at: int, change: int, form: str) -> None:
    data = bytearray(FORMS[form])
    data[at % len(data)] ^= change
    with pytest.raises(SevbuildError):
        matching_signature(bytes(data), SIGNED, "sig")


def _by(algorithm: hashes.HashAlgorithm, message: bytes = MESSAGE) -> bytes:
    return ID_KEY.key.sign(message, ECDSA(algorithm))


DIGEST = sha384(MESSAGE).digest()
AUTHORED = Signed("the ID key", ID_KEY.public.encode(), AUTHOR_KEY.public, "the author key")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_by(hashes.SHA256()), "a signature over SHA-256; the firmware verifies SHA-384"),
        (_by(hashes.SHA512()), "a signature over SHA-512; the firmware verifies SHA-384"),
        (_by(hashes.SHA384(), DIGEST), "a signature of the digest, hashed once more"),
        (_by(hashes.SHA256(), DIGEST), "a signature of the digest, hashed once more with SHA-256"),
        (
            ID_KEY.key.sign(DIGEST.hex().encode()[:48], ECDSA(Prehashed(hashes.SHA384()))),
            "a signature of the digest's hexadecimal text",
        ),
        (
            AUTHOR_KEY.sign(MESSAGE).der,
            "a signature of the ID block by the author key, not by the ID key",
        ),
        (
            AUTHOR_KEY.sign(ID_KEY.public.encode()).der,
            "a signature of the ID key by the author key, not of the ID block by the ID key",
        ),
        (private_key(9).sign(MESSAGE).der, "not a signature of the ID block by the ID key"),
        (_by(hashes.SHA384(), MESSAGE + b"\n"), "not a signature of the ID block by the ID key"),
    ],
)
def test_a_mistake_is_named(data: bytes, message: str) -> None:
    with pytest.raises(MismatchError) as caught:
        matching_signature(data, SIGNED, "sig", [AUTHORED])
    assert caught.value.message == f"sig: {message}"


def test_the_hint_says_who_signs_sha_256() -> None:
    for algorithm, said in ((hashes.SHA256(), True), (hashes.SHA512(), False)):
        with pytest.raises(MismatchError) as caught:
            matching_signature(_by(algorithm), SIGNED, "sig")
        assert ("cosign 2" in str(caught.value.hint)) is said


def test_the_smallest_numbers_are_those_of_a_signature() -> None:
    assert signature_forms(encode_dss_signature(1, 1), "sig") == (EcdsaSignature(1, 1),)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "sig: 0 bytes that are no signature on P-384"),
        (bytes(64), "sig: 64 bytes that are no signature on P-384; 64 bytes are r and s of P-256"),
        (bytes(132), "sig: 132 bytes that are no signature on P-384; 132 bytes are r and s of P-521"),
        (bytes(96), "sig: 96 bytes that are no signature on P-384"),
        (SIGNATURE.der[:-1], "sig: 103 bytes that are no signature on P-384"),
        (SIGNATURE.der + b"\0", "sig: 105 bytes that are no signature on P-384"),
        (encode_dss_signature(0, 5), "sig: 8 bytes that are no signature on P-384"),
        (encode_dss_signature(5, ORDER_P384), "sig: 56 bytes that are no signature on P-384"),
        (bytes(5000), "sig: 5000 bytes that are no signature on P-384"),
        (SIGNATURE.encode(511) + b"\1", "sig: bytes beside the two 48-byte numbers are set"),
    ],
)
def test_what_is_no_signature(data: bytes, message: str) -> None:
    with pytest.raises(SevbuildError) as caught:
        signature_forms(data, "sig")
    assert caught.value.message == message
    assert not isinstance(caught.value, MismatchError)


def test_a_field_with_more_than_the_number() -> None:
    assert EcdsaSignature.of_numbers(SIGNATURE.encode(512)) == SIGNATURE
    assert public_pem(ID_KEY).startswith(b"-----BEGIN PUBLIC KEY-----")
