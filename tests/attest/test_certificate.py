"""Certificates and lists of revoked ones, read: AMD's, OpenSSL's, and every byte of them bent."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.attest.certificate import (
    Certificate,
    certificates_in,
    common_name,
    decode_certificate,
    name_text,
)
from sevbuild.attest.crl import crls_in, decode_crl
from sevbuild.attest.rsa_pss import is_signed_by
from sevbuild.attest.vek import decode_vek
from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import P384PublicKey
from sevbuild.identity.rsa import RsaPublicKey
from tests.support.amd_ca import AT, amd, authority, names, pem, public, tlv
from tests.support.shared import ROOT, VECTORS, needs_vectors, shared_file

CERTIFICATES = sorted(
    str(path.relative_to(VECTORS))
    for pattern in (
        "reports/*.der",
        "reports/*.pem",
        "launch-abi/*/*cer*",
        "launch-abi/*/*.der",
        "publish/dstack/*.pem",
    )
    for path in VECTORS.glob(pattern)
)

ZERO, ONE = (bytes.fromhex(f"a0030201020201{number}") for number in ("00", "01"))
"""Version 3 and a serial number."""


def ours() -> bytes:
    """Return a VCEK of our own authority."""
    return authority().vcek.der


@needs_vectors
@pytest.mark.parametrize("name", CERTIFICATES)
def test_every_real_certificate_is_read_as_another_reader_does(name: str) -> None:
    for found in certificates_in(shared_file(name).read_bytes(), name):
        # Serial number 0, which the other reader warns of and will refuse, is made 1 for it.
        whole = found.der.replace(ZERO, ONE, 1)
        other = x509.load_der_x509_certificate(whole)
        assert (found.serial or 1) == other.serial_number
        assert (found.serial == 0) == (whole != found.der)
        assert (found.not_before, found.not_after) == (other.not_valid_before_utc, other.not_valid_after_utc)
        assert (
            common_name(found.subject)
            == other.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        )
        assert len(found.issuer) == len(list(other.issuer)) == 6
        assert found.signed.replace(ZERO, ONE, 1) == other.tbs_certificate_bytes
        assert found.signature == other.signature
        numbers = other.public_key().public_numbers()  # type: ignore[union-attr]
        if isinstance(found.public_key, RsaPublicKey):
            assert isinstance(numbers, rsa.RSAPublicNumbers)
            assert found.public_key == (numbers.n.bit_length(), numbers.e, numbers.n)
        else:
            assert isinstance(numbers, ec.EllipticCurvePublicNumbers)
            assert found.public_key == (numbers.x, numbers.y)


@pytest.mark.parametrize("name", ["vcek", "vlek", "ask", "asvk", "ark"])
def test_openssl_reads_our_own_certificates_as_this_reader_does(name: str, tmp_path: Path) -> None:
    draft = getattr(authority(), name)
    (tmp_path / "it.der").write_bytes(draft.der)
    said = subprocess.run(
        [
            "openssl",
            "x509",
            "-inform",
            "der",
            "-in",
            tmp_path / "it.der",
            "-noout",
            "-subject",
            "-serial",
            "-enddate",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = decode_certificate(draft.der, name)
    assert f"CN = {common_name(found.subject)}" in said
    assert int(said.partition("serial=")[2].split()[0], 16) == found.serial == draft.serial
    assert f"{found.not_after:%b} {found.not_after.day:>2} {found.not_after:%H:%M:%S %Y}" in said


def test_openssl_verifies_our_own_chain_and_list(tmp_path: Path) -> None:
    ca = authority()
    for name in ("ark", "ask", "vcek"):
        (tmp_path / name).write_bytes(pem(getattr(ca, name).der))
    chain = [
        "openssl",
        "verify",
        "-attime",
        str(int(AT.timestamp())),
        "-CAfile",
        "ark",
        "-untrusted",
        "ask",
        "vcek",
    ]
    done = subprocess.run(chain, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "vcek: OK\n")
    (tmp_path / "crl").write_bytes(pem(ca.crl({0x10001: AT}), "X509 CRL"))
    read = ["openssl", "crl", "-in", "crl", "-CAfile", "ark", "-text", "-noout"]
    done = subprocess.run(read, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "verify OK" in done.stderr
    assert "Serial Number: 010001" in done.stdout


def test_a_certificate_that_openssl_made_is_read(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                "key",
                "-out",
                "root",
                "-sha384",
            ),
            *(
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:48",
                "-sigopt",
                "rsa_mgf1_md:sha384",
            ),
            *("-subj", "/OU=Engineering/C=US/CN=ARK-Milan", "-days", "9000", "-set_serial", "0"),
        ],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    (found,) = certificates_in((tmp_path / "root").read_bytes(), "root")
    assert name_text(found.subject) == "OU=Engineering, C=US, CN=ARK-Milan"
    assert found.serial == 0
    assert isinstance(found.public_key, RsaPublicKey)
    assert is_signed_by(found, found.public_key)
    assert not is_signed_by(found._replace(signed=found.signed + b"\0"), found.public_key)
    # PSS of another salt, and a signature of another length.
    other = found.signature_algorithm.replace(b"\xa2\x03\x02\x01\x30", b"\xa2\x03\x02\x01\x20")
    assert not is_signed_by(found._replace(signature_algorithm=other), found.public_key)
    assert not is_signed_by(found._replace(signature=found.signature + b"\0"), found.public_key)


def test_pem_and_der_hold_one_certificate_or_several() -> None:
    one, two = ours(), authority().ask.der
    assert [found.der for found in certificates_in(one + two, "it")] == [one, two]
    text = b"Certificate:\n    Version: 3\n" + pem(one) + b"between\n" + pem(two).replace(b"\n", b"\r\n")
    found = certificates_in(text, "it")
    assert [each.der for each in found] == [one, two]
    assert [each.source for each in found] == ["it: certificate 1", "it: certificate 2"]
    key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    (single,) = certificates_in(key + pem(one), "it")
    assert single.source == "it"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "neither DER nor PEM"),
        (b"\xff\xfe", "neither DER nor PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "neither DER nor PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "has no CERTIFICATE in it"),
        (b"-----BEGIN CERTIFICATE-----\nAA*A\n-----END CERTIFICATE-----\n", "no base64"),
        (b"-----BEGIN CERTIFICATE-----\nAAAAA\n-----END CERTIFICATE-----\n", "no base64"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "tag 0x00 is where 0x30"),
        (b"0\0" * 65, "more than 64"),
        (b"0" * ((1 << 20) + 1), "are more than certificates have"),
    ],
)
def test_what_holds_no_certificate_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(SevbuildError, match=reason):
        certificates_in(data, "it")


def test_nothing_may_follow_a_certificate() -> None:
    with pytest.raises(SevbuildError, match="more follows"):
        decode_certificate(ours() + b"\0", "it")
    with pytest.raises(SevbuildError, match="it ends early"):
        certificates_in(ours() + b"\0", "it")


SHORT = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused


def bent(old: bytes, new: bytes) -> bytes:
    """Return our certificate with bytes of one length in place of others."""
    whole = ours()
    assert whole.count(old) >= 1
    assert len(old) == len(new)
    return whole.replace(old, new)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda: authority().vcek._replace(version=1).der, "no X.509 certificate of version 3"),
        (lambda: authority().vcek._replace(version=3).der, "no X.509 certificate of version 3"),
        (lambda: bent(bytes.fromhex("a003020102020100"), bytes.fromhex("a006020102020100")), "more follows"),
        (
            lambda: authority().vcek._replace(public_key=public(ec.generate_private_key(ec.SECP256R1()))).der,
            "neither of P-384 nor RSA",
        ),
        (
            lambda: authority().vcek._replace(public_key=public(rsa.generate_private_key(3, 2048))).der,
            "numbers are no RSA key of 2048 bits",
        ),
        (
            lambda: authority().vcek._replace(public_key=public(SHORT)).der,
            "an RSA key of 1024 bits",
        ),
        (lambda: bent(bytes.fromhex("03620004"), bytes.fromhex("03620104")), "unused bits"),
        (lambda: bent(bytes.fromhex("03620004"), bytes.fromhex("03620002")), "no uncompressed point"),
        (lambda: bent(bytes.fromhex("03620004"), bytes.fromhex("03620006")), "no uncompressed point"),
        (lambda: bent(b"\x03\x82\x01\x01\x00", b"\x03\x82\x01\x01\x01"), "unused bits"),
    ],
)
def test_what_amd_does_not_write_is_refused(data: object, reason: str) -> None:
    assert callable(data)
    with pytest.raises(SevbuildError, match=reason):
        decode_certificate(data(), "it")


def test_64_certificates_are_the_most() -> None:
    one = ours()
    assert len(certificates_in(one * 64, "it")) == len(certificates_in(pem(one) * 64, "it")) == 64
    for data in (one * 65, pem(one) * 65):
        with pytest.raises(SevbuildError, match="more than 64"):
            certificates_in(data, "it")
    text = b" " * ((1 << 20) - len(pem(one)))
    assert len(certificates_in(text + pem(one), "it")) == 1


def test_a_base64_that_ends_with_one_or_two_fillers_is_read() -> None:
    for fill in range(3):
        # Sizes that differ by one: the extension that grows is none that is known.
        whole = authority().vcek.having("1.2.3", b"x" * fill).der
        assert certificates_in(pem(whole), "it")[0].der == whole


def test_both_signature_algorithms_are_one() -> None:
    whole = bytearray(ours())
    salt = bytes.fromhex("a203020130")
    whole[whole.index(salt) + 4] = 0x20
    with pytest.raises(SevbuildError, match="two signature algorithms"):
        decode_certificate(bytes(whole), "it")


def test_extensions_stand_there_once_and_as_der_has_them() -> None:
    twice = bent(bytes.fromhex("060a2b060104019c78010305"), bytes.fromhex("060a2b060104019c78010306"))
    with pytest.raises(SevbuildError, match="stands there twice"):
        decode_certificate(twice, "it")
    told = authority().ask.der.replace(b"\x03\x55\x1d\x0f\x01\x01\xff", b"\x03\x55\x1d\x0f\x01\x01\x00")
    with pytest.raises(SevbuildError, match="says that it is not critical"):
        decode_certificate(told, "it")


def test_a_name_has_one_part_at_a_time() -> None:
    draft = authority().vcek
    found = decode_certificate(draft._replace(subject=(("1.2.3", "x"), ("CN", "y"))).der, "it")
    assert name_text(found.subject) == "1.2.3=x, CN=y"
    assert common_name(()) == ""
    one = names((("CN", "a"),))
    double = tlv(0x30, tlv(0x31, one[4:], one[4:]))
    whole = draft.der
    subject = names(draft.subject)
    with pytest.raises(SevbuildError):
        decode_certificate(whole.replace(subject, double.ljust(len(subject), b"\0")), "it")


def test_times_beyond_2049_have_four_digits() -> None:
    late = datetime(2051, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    assert decode_certificate(authority().vcek._replace(not_after=late).der, "it").not_after == late


@needs_vectors
def test_no_flip_of_a_bit_goes_unseen_or_ends_in_another_error() -> None:
    whole = shared_file("reports/turin-v5-oak.vcek.der").read_bytes()
    before = decode_certificate(whole, "it")
    for bit in range(0, 8 * len(whole), 7):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        with suppress(SevbuildError):
            after = decode_certificate(bytes(data), "it")
            assert after._replace(der=b"", sha256=b"") != before._replace(der=b"", sha256=b"")


@given(st.integers(0, 1 << 30))
def test_bent_certificates_are_read_or_refused(seed: int) -> None:
    draw = random.Random(seed)
    for whole, read in ((_OURS, decode_certificate), (_LIST, decode_crl)):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        with suppress(SevbuildError):
            found = read(bytes(data), "it")
            if isinstance(found, Certificate):
                decode_vek(found)


_OURS, _LIST = ours(), authority().crl({5: AT, 6: AT})


def test_a_list_says_what_it_says() -> None:
    (found,) = crls_in(authority().crl({5: AT, 7: AT}), "crl")
    assert found.issuer == amd("ARK-Milan")
    assert found.revoked == {5: AT, 7: AT}
    assert found.critical == ()
    assert crls_in(authority().crl(extensions={}), "crl")[0].revoked == {}
    # Why it was revoked (RFC 5280, 5.3.1), and who issued it (5.3.3), which must be understood.
    reason, issuer = {"2.5.29.21": (False, tlv(0x0A, b"\x01"))}, {"2.5.29.29": (True, tlv(0x30))}
    assert crls_in(authority().crl({5: AT}, entry=reason), "crl")[0].critical == ()
    assert crls_in(authority().crl({5: AT}, entry=issuer), "crl")[0].critical == ("2.5.29.29",)
    for version in (0, 2):
        with pytest.raises(SevbuildError, match="of version 2"):
            crls_in(authority().crl(version=version), "crl")
    with pytest.raises(SevbuildError, match="has no X509 CRL in it"):
        crls_in(pem(ours()), "crl")


@needs_vectors
def test_no_warning_reaches_the_user() -> None:
    # cryptography warns of serial number 0 where it reads a certificate, and will refuse it.
    program = (
        "import sys\nfrom sevbuild.attest.anchors import pinned_signer\n"
        "from sevbuild.attest.certificate import certificates_in\n"
        "(vek,) = certificates_in(sys.stdin.buffer.read(), 'vek')\n"
        "assert pinned_signer('SEV-Turin').has_signed(vek)\n"
        "vek.public_key.public_key('vek')\n"
        "assert 'cryptography.x509' not in sys.modules\n"
    )
    whole = shared_file("reports/turin-v5-oak.vcek.der").read_bytes()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        input=whole,
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    (found,) = certificates_in(whole, "vek")
    assert isinstance(found.public_key, P384PublicKey)


def test_pem_that_never_ends_is_read_in_one_pass() -> None:
    """A megabyte of beginnings in evidence took minutes, where each looked for an end of its own."""
    data = b"-----BEGIN CERTIFICATE-----\n" * 37000
    start = time.process_time()
    with pytest.raises(SevbuildError, match="no CERTIFICATE in it"):
        certificates_in(data, "it")
    assert time.process_time() - start < 5
    der = authority("Milan").vcek.der
    (found,) = certificates_in(data[:2800] + pem(der), "it")
    assert found.der == der
