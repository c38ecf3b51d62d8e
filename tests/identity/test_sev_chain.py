"""Certificates of SEV platforms, real ones and ones of our own: what holds, and what is refused and why."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.identity.sev_certificate import AmdCertificate, SevCertificate, certificates_in
from sevbuild.identity.sev_chain import SevChain, verified_chain
from sevbuild.identity.sev_roots import amd_roots
from tests.support.sev_platform import NAMES, own_platform
from tests.support.shared import ROOT, shared_file

PRODUCTS = ("naples", "rome")
OWN = own_platform()


def _files(product: str) -> dict[str, bytes]:
    return {name: shared_file(f"sev-certs/{product}/{name}.cert").read_bytes() for name in NAMES}


def _chain(files: dict[str, bytes], names: tuple[str, ...] = NAMES) -> SevChain:
    data = b"".join(files[name] for name in names)
    return verified_chain(certificates_in(data, "chain"))


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize(
    "names", [NAMES, NAMES[:4], tuple(reversed(NAMES[:4])), (*NAMES, "pek", "ark")], ids=["full", "sev", "reversed", "twice"]
)  # fmt: skip
def test_a_real_chain_leads_to_amd(product: str, names: tuple[str, ...]) -> None:
    files = _files(product)
    chain = _chain(files, names)
    assert chain.product == product.capitalize()
    assert chain.pdh.raw == files["pdh"]
    assert list(chain.fingerprints) == ["PDH", "PEK", "OCA", "CEK", "ASK", "ARK"]


def test_a_naples_chip_is_no_rome_chip() -> None:
    naples, rome = (_files(product) for product in PRODUCTS)
    mixed = naples | {name: rome[name] for name in ("ask", "ark")}
    with pytest.raises(MismatchError) as caught:
        _chain(mixed)
    assert caught.value.details == ("the CEK is not signed by the ASK",)
    # Nor does one platform's PDH go with another's PEK.
    with pytest.raises(MismatchError, match="the PDH is not signed by the PEK"):
        _chain(naples | {"pdh": rome["pdh"]})


def test_the_ark_of_naples_without_its_signature_is_still_the_one() -> None:
    files = _files("naples")
    assert _chain(files | {"ark": files["ark"][:576]}).product == "Naples"
    changed = bytearray(files["ark"][:576])
    changed[4] ^= 1
    with pytest.raises(MismatchError) as caught:
        _chain(files | {"ark": bytes(changed)})
    assert caught.value.details == ("the ASK is not signed by the ARK", "the ARK is none of AMD's")


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
def test_the_roots_are_those_of_amds_x509_chains(product: str) -> None:
    pem = shared_file(f"launch-abi/trustee/{product.lower()}_ask_ark_asvk.pem").read_bytes()
    (root,) = (root for root in amd_roots() if root.product == product)
    found = {}
    for text in re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.DOTALL):
        key = x509.load_pem_x509_certificate(text).public_key()
        assert isinstance(key, RSAPublicKey)
        found[key.public_numbers().n] = key.public_numbers().e
    assert found[root.ark.key.modulus] == root.ark.key.exponent
    assert found[root.ask.key.modulus] == root.ask.key.exponent


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_roots_are_those_that_amd_publishes(product: str) -> None:
    files = _files(product)
    (root,) = (root for root in amd_roots() if root.product.lower() == product)
    assert (root.ark.raw, root.ask.raw) == (files["ark"], files["ask"])


def test_every_root_holds_and_is_the_one_the_page_names() -> None:
    page = (ROOT / "docs" / "sev-guest-owner.md").read_text()
    for root in amd_roots():
        assert root.ark.signed(root.ark)
        assert root.ark.signed(root.ask)
        assert not root.ask.signed(root.ark)
        assert f"| {root.product} | `{sha256(root.ark.body).hexdigest()}` |" in page


@pytest.mark.parametrize("rsa_owner", [False, True])
@pytest.mark.parametrize("bits", [2048, 4096])
def test_a_chain_of_our_own_holds_for_who_trusts_its_root(bits: int, rsa_owner: bool) -> None:
    platform = own_platform(bits, rsa_owner)
    trusted = [platform.root]
    assert verified_chain(platform.certificates, trusted).product == "ours"
    assert verified_chain(platform.certificates[:4], trusted).ark == platform.root.ark
    with pytest.raises(MismatchError) as caught:
        verified_chain(platform.certificates)
    assert caught.value.details == ("the ARK is none of AMD's",)
    with pytest.raises(MismatchError, match="the CEK is not signed by any ASK of AMD's"):
        verified_chain(platform.certificates[:4])


@given(st.sampled_from(NAMES), st.data())
def test_no_bit_of_a_chain_can_be_changed(name: str, data: st.DataObject) -> None:
    changed = bytearray(OWN.files[name])
    at = data.draw(st.integers(0, 8 * len(changed) - 1))
    changed[at // 8] ^= 1 << at % 8
    files = OWN.files | {name: bytes(changed)}
    with pytest.raises(SevbuildError):
        verified_chain(certificates_in(b"".join(files[one] for one in NAMES), "chain"), [OWN.root])


@given(st.binary(max_size=3000))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with pytest.raises(SevbuildError):
        list(certificates_in(data, "noise"))


@given(st.sampled_from(NAMES), st.integers(0, 2084), st.binary(max_size=4))
def test_no_bent_certificate_breaks_the_reader(name: str, at: int, piece: bytes) -> None:
    data = OWN.files[name]
    data = data[:at] + piece + data[at + len(piece) :]
    with suppress(SevbuildError):
        assert b"".join(one.raw for one in certificates_in(data, "bent")) == data


def _without(name: str) -> Callable[[], object]:
    rest = [one for one in OWN.certificates if one.title != name]
    return lambda: verified_chain(rest, [OWN.root])


def _both(name: str) -> Callable[[], object]:
    other = own_platform(2048, True)
    return lambda: verified_chain([*OWN.certificates, *certificates_in(other.files[name], name)], [OWN.root])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (_without("PDH"), "no PDH among the certificates"),
        (_without("CEK"), "no CEK among the certificates"),
        (_without("ARK"), "an ASK without its ARK"),
        (_without("ASK"), "an ARK without its ASK"),
        (_both("oca"), "OCA: two different certificates"),
        (lambda: verified_chain([]), "no PDH and no PEK and no OCA and no CEK"),
        (lambda: list(certificates_in(b"", "x")), "x: empty"),
        (lambda: SevCertificate.decode(bytes(3), "x"), "x: 3 bytes, where a certificate has 2084"),
        (lambda: AmdCertificate.decode(bytes(3), "x"), "x: 3 bytes, where a certificate of AMD's has more"),
        (lambda: list(certificates_in(OWN.files["pdh"][:-1], "x")), "x: 2083 bytes, where"),
        (lambda: list(certificates_in(OWN.files["ask"][:-1], "x")), "x: 831 bytes, where an ASK has 832"),
        (lambda: list(certificates_in(OWN.files["pdh"] + b"\n", "x")), "x, byte 2084: 1 byte, where"),
        (lambda: list(certificates_in(_bent("ark", 57, 7), "x")), "an RSA key of 2048 bits"),
        (lambda: list(certificates_in(_bent("ark", 64, 2), "x")), "its numbers are no RSA key of 2048 bits"),
        (lambda: list(certificates_in(_bent("ark", 61, 0), "x")), "an RSA key of"),
        (lambda: list(certificates_in(_bent("pdh", 12, 2), "x")), "a PDH with a key of algorithm 0x2"),
        (lambda: list(certificates_in(_bent("pdh", 16, 1), "x")), "curve 1 is not P-384"),
        (lambda: list(certificates_in(_bent("pdh", 1564, 3), "x")), "a signature by 0x1003 with algorithm 0x0"),
        (lambda: list(certificates_in(_bent("pdh", 2083, 3), "x")), "a signature that nobody is said to have made"),
    ],
)  # fmt: skip
def test_what_is_no_chain_is_told(act: Callable[[], object], message: str) -> None:
    with pytest.raises(SevbuildError, match=message) as caught:
        act()
    assert caught.value.exit_code == 2


def _bent(name: str, at: int, value: int) -> bytes:
    data = bytearray(OWN.files[name])
    data[at] = value
    return bytes(data)


def test_a_cek_as_the_host_exports_it_is_told_from_a_false_one() -> None:
    unsigned = OWN.files["cek"][:1044] + OWN.files["pdh"][-520:] * 2
    with pytest.raises(MismatchError, match="not signed by any ASK") as caught:
        verified_chain(certificates_in(b"".join([*(OWN.files[one] for one in NAMES[:3]), unsigned]), "x"))
    assert "AMD's key service has it" in str(caught.value.hint)
    files = OWN.files | {"cek": unsigned}
    with pytest.raises(MismatchError, match="the CEK is not signed by the ASK") as caught:
        verified_chain(certificates_in(b"".join(files[one] for one in NAMES), "x"), [OWN.root])
    assert "AMD's key service has it" in str(caught.value.hint)


def test_of_two_forms_of_a_cek_the_one_that_amd_signed_is_taken() -> None:
    unsigned = OWN.files["cek"][:1044] + OWN.files["pdh"][-520:] * 2
    for more in ((unsigned, OWN.files["cek"]), (OWN.files["cek"], unsigned)):
        data = b"".join([*more, *(OWN.files[name] for name in NAMES if name != "cek")])
        assert verified_chain(certificates_in(data, "x"), [OWN.root]).cek.raw == OWN.files["cek"]
    ark = OWN.files["ark"]
    data = b"".join([*(OWN.files[name] for name in NAMES), ark[:576]])
    assert verified_chain(certificates_in(data, "x"), [OWN.root]).ark.raw == ark


def test_what_lacks_only_a_cek_is_told_where_it_is() -> None:
    with pytest.raises(SevbuildError) as caught:
        _without("CEK")()
    assert "kdsintf.amd.com/cek/id" in str(caught.value.hint)


def test_files_of_real_platforms_are_read_whole() -> None:
    for product in PRODUCTS:
        for name, data in _files(product).items():
            (found,) = certificates_in(data, name)
            assert (found.title.lower(), found.raw) == (name, data)


def test_an_owners_rsa_key_has_a_size_that_is_known() -> None:
    data = bytearray(own_platform(2048, True).files["oca"])
    data[16:20] = (1024).to_bytes(4, "little")
    with pytest.raises(SevbuildError, match="oca: an RSA key of 1024 bits, where 2048 or 4096 are known"):
        list(certificates_in(bytes(data), "oca"))


FIRST, SECOND = 1044 + 8, 1044 + 520 + 8
"""Where the two signatures of a platform's certificate begin."""


@pytest.mark.parametrize(
    ("name", "at", "links"),
    [
        ("oca", FIRST, ["the OCA is not signed by itself"]),
        ("pek", SECOND, ["the PEK is not signed by the OCA"]),
        ("pek", FIRST, ["the PEK is not signed by the CEK"]),
        ("pdh", FIRST, ["the PDH is not signed by the PEK"]),
        ("cek", FIRST, ["the CEK is not signed by the ASK"]),
        ("ask", -1, ["the ASK is not signed by the ARK"]),
        ("ark", -1, ["the ARK is not signed by itself"]),
        ("pek", 4, ["the PEK is not signed by the OCA", "the PEK is not signed by the CEK"]),
        ("cek", 4, ["the CEK is not signed by the ASK"]),
        ("ask", 4, ["the ASK is not signed by the ARK"]),
        ("ask", 20, ["the ASK is not signed by the ARK"]),
    ],
)
@pytest.mark.parametrize("rsa_owner", [False, True])
def test_each_link_is_held_alone(name: str, at: int, links: list[str], rsa_owner: bool) -> None:
    platform = own_platform(2048, rsa_owner)
    data = bytearray(platform.files[name])
    data[at] ^= 1
    files = platform.files | {name: bytes(data)}
    with pytest.raises(MismatchError) as caught:
        verified_chain(certificates_in(b"".join(files[one] for one in NAMES), "x"), [platform.root])
    assert list(caught.value.details) == links
