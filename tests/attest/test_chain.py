"""A report held to its certificate and that to a root: AMD's real ones, and every way in which it fails."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sevbuild.attest.anchors import pinned_signer
from sevbuild.attest.certificate import Certificate, certificates_in, decode_certificate
from sevbuild.attest.chain import Chain, check_chain
from sevbuild.attest.crl import crls_in
from sevbuild.attest.product import product_named
from sevbuild.attest.report import Report, decode_report
from sevbuild.attest.vek_url import chain_url, crl_url, vcek_url
from sevbuild.attest.verdict import Check
from sevbuild.errors import SevbuildError
from tests.support.amd_ca import ARC, AT, Authority, Draft, amd, authority, integer, pem, public, tlv
from tests.support.shared import needs_vectors, shared_file

REAL_AT = datetime(2026, 7, 1, tzinfo=timezone.utc)
VALID_VLEK = datetime(2025, 6, 1, tzinfo=timezone.utc)
# What each report of ../shared/vectors has beside it, and at which time and as which product it verifies.
REAL: dict[str, tuple[str, str | None, datetime]] = {
    "genoa-v3-azure-aci": ("vcek", None, REAL_AT),
    "genoa-v3-routex": ("vcek", None, REAL_AT),
    "genoa-v5-oak": ("vcek", None, REAL_AT),
    "milan-v2-gcp-automata": ("vcek", "Milan", REAL_AT),
    "milan-v3-aws-vlek": ("vlek", None, VALID_VLEK),
    "milan-v3-azure-aci": ("vcek", None, REAL_AT),
    "milan-v3-azure-cvm": ("vcek", None, REAL_AT),
    "siena-bergamo-v5-attestation-rs": ("vcek", None, REAL_AT),
    "turin-v5-azure-aci": ("vcek", None, REAL_AT),
    "turin-v5-bitcoin-pir-a": ("vcek", None, REAL_AT),
    "turin-v5-oak": ("vcek", None, REAL_AT),
}
# Who hands out reports elsewhere in the vectors: the report, its certificate, its product, and a valid time.
ELSEWHERE = [
    ("launch-abi/go-sev-guest/attestation.bin", "launch-abi/go-sev-guest/vcek.testcer", "Milan"),
    ("launch-abi/trustee/test-report.bin", "launch-abi/trustee/test-vcek.der", "Milan"),
    ("publish/dstack/extracted-report.bin", "publish/dstack/sev_snp_vcek.pem", None),
]


def report(name: str) -> Report:
    """Return a report of the vectors."""
    return decode_report(shared_file(f"reports/{name}.report.bin").read_bytes(), name)


def certificates(name: str) -> list[Certificate]:
    """Return the certificates of a file of the vectors."""
    path = shared_file(name)
    return certificates_in(path.read_bytes(), path.name)


def vek(name: str) -> list[Certificate]:
    """Return the certificate beside a report of the vectors."""
    return certificates(f"reports/{name}.{REAL[name][0]}.der")


def real(name: str, given: Sequence[Certificate] | None = None, **more: Any) -> Chain:
    """Return the chain of a report of the vectors, with its own certificate where none is given."""
    _kind, product, at = REAL[name]
    taken = {"product": None if product is None else product_named(product), "at": at, **more}
    return check_chain(report(name), vek(name) if given is None else given, **taken)


def read(*drafts: Draft) -> list[Certificate]:
    """Return certificates of our own as a program reads them."""
    return [decode_certificate(draft.der, f"given {number}") for number, draft in enumerate(drafts, 1)]


def own(ca: Authority, given: Sequence[Draft] | None = None, raw: bytes | None = None, **more: Any) -> Chain:
    """Return the chain of a report of an authority of our own, which is the root unless something else is."""
    drafts = (ca.vcek, ca.ask) if given is None else given
    taken = {"product": None, "at": AT, "roots": read(ca.ark), **more}
    return check_chain(decode_report(ca.report() if raw is None else raw, "report"), read(*drafts), **taken)


def not_passed(chain: Chain) -> dict[str, str]:
    """Return what did not pass, but for revocation where nobody gave a list: name and outcome."""
    return {
        check.name: check.status
        for check in chain.checks
        if check.status != "pass" and (check.name, check.status) != ("revocation", "not checked")
    }


def of(chain: Chain, name: str) -> Check:
    """Return the check of this name."""
    (found,) = [check for check in chain.checks if check.name == name]
    return found


@needs_vectors
@pytest.mark.parametrize("name", REAL)
def test_each_real_report_leads_to_amds_root_by_its_certificate_alone(name: str) -> None:
    chain = real(name)
    kind, product = REAL[name][0].upper(), chain.product
    assert product is not None
    above = {"VCEK": f"SEV-{product.name}", "VLEK": f"SEV-VLEK-{product.name}"}[kind]
    assert of(chain, "chain").reason == f"SEV-{kind} <- {above} <- ARK-{product.name}, AMD's root"
    assert of(chain, "signing-key").found == of(chain, "signing-key").wanted == kind
    vlek = {"chip-id": "not checked"} if REAL[name][0] == "vlek" else {}
    assert not_passed(chain) == vlek
    assert chain.trust_anchor.startswith("AMD's ARK-")
    assert chain.ignored == ()
    assert chain.product is not None
    assert chain.product.name.lower() == name.partition("-")[0].replace("siena", "genoa")


@needs_vectors
@pytest.mark.parametrize(("raw", "certificate", "product"), ELSEWHERE)
def test_reports_of_other_projects_lead_there_too(raw: str, certificate: str, product: str | None) -> None:
    found = decode_report(shared_file(raw).read_bytes(), raw)
    given = product_named(product) if product and found.product is None else None
    assert not_passed(check_chain(found, certificates(certificate), product=given, at=REAL_AT)) == {}


@needs_vectors
def test_the_turin_certificate_of_virtee_is_valid_on_its_own() -> None:
    ca = authority("Turin")
    found = check_chain(
        decode_report(ca.report(), "report"),
        certificates("launch-abi/virtee-sev/vcek_turin.der"),
        product=None,
        at=REAL_AT,
    )
    assert set(not_passed(found)) == {"signature", "reported-tcb", "chip-id"}


@needs_vectors
def test_an_expired_certificate_is_told_at_its_date_and_nothing_else() -> None:
    chain = real("milan-v3-aws-vlek", at=REAL_AT)
    assert not_passed(chain) == {"validity": "fail", "chip-id": "not checked"}
    assert "expired on 2025-12-10" in of(chain, "validity").reason
    early = real("milan-v3-aws-vlek", at=datetime(2024, 12, 1, tzinfo=timezone.utc))
    assert "not valid before 2024-12-10" in of(early, "validity").reason


@needs_vectors
def test_a_report_of_version_2_takes_its_product_from_the_user() -> None:
    assert real("milan-v2-gcp-automata").product == product_named("Milan")
    assert of(real("milan-v2-gcp-automata"), "product").reason == "Milan, as given"
    chain = real("milan-v2-gcp-automata", product=None)
    assert not_passed(chain) == {"product": "fail"}
    # What else is read of the report is read as the certificate says it.
    assert chain.product == product_named("Milan")
    assert "--product" in of(chain, "product").reason
    assert "its certificate is of Milan" in of(chain, "product").reason
    assert not_passed(real("milan-v2-gcp-automata", product=product_named("Genoa"))) == {"product": "fail"}


@needs_vectors
def test_a_product_that_the_report_contradicts_is_refused() -> None:
    chain = real("genoa-v5-oak", product=product_named("Milan"))
    assert not_passed(chain) == {"product": "fail"}
    assert of(chain, "product").reason == "the report is of Genoa, not of Milan"


@needs_vectors
def test_a_report_without_a_certificate_says_how_to_get_it() -> None:
    name = "milan-v2-vmpl2-cocos-nocert"
    chain = check_chain(report(name), [], product=product_named("Milan"), at=REAL_AT)
    assert of(chain, "signature").status == "not checked"
    assert not [check for check in chain.checks if check.status == "pass" and check.name != "product"]
    assert chain.trust_anchor == ""
    assert chain.vek_url in of(chain, "signature").reason
    assert "sevbuild certs fetch" in of(chain, "signature").reason
    assert chain.vek_url == (
        f"https://kdsintf.amd.com/vcek/v1/Milan/{report(name).chip_id.hex()}"
        "?blSPL=03&teeSPL=00&snpSPL=14&ucodeSPL=213"
    )
    unnamed = check_chain(report(name), [], product=None, at=REAL_AT)
    assert (chain.product, unnamed.product) == (product_named("Milan"), None)
    assert unnamed.vek_url == ""
    assert "takes the product" in of(unnamed, "signature").reason


@needs_vectors
def test_the_url_of_each_product_is_as_the_key_service_has_it() -> None:
    turin = vcek_url(report("turin-v5-azure-aci"), product_named("Turin"))
    assert turin == (
        "https://kdsintf.amd.com/vcek/v1/Turin/59790fb1c39f35c1?fmcSPL=01&blSPL=01&teeSPL=01&snpSPL=04&ucodeSPL=81"
    )
    siena = report("siena-bergamo-v5-attestation-rs")
    assert siena.product is not None
    assert (vcek_url(siena, siena.product) or "").startswith("https://kdsintf.amd.com/vcek/v1/Genoa/b5f9a4c8")
    assert chain_url(siena.product, "VLEK") == "https://kdsintf.amd.com/vlek/v1/Genoa/cert_chain"
    assert crl_url(siena.product, "VCEK") == "https://kdsintf.amd.com/vcek/v1/Genoa/crl"


@needs_vectors
def test_the_vcek_of_another_chip_is_refused() -> None:
    chain = real("milan-v3-azure-aci", vek("milan-v3-azure-cvm"))
    assert not_passed(chain) == {"signature": "fail", "chip-id": "fail"}
    assert of(chain, "chip-id").reason == "the certificate is of another chip"


@needs_vectors
def test_amds_own_certificates_are_not_needed_and_not_spoken_of() -> None:
    given = vek("genoa-v5-oak") + certificates("reports/genoa_ask_ark_asvk.pem")
    assert real("genoa-v5-oak", given).ignored == ()
    other = vek("genoa-v5-oak") + vek("genoa-v3-routex")
    chain = real("genoa-v5-oak", other[::-1])
    assert not_passed(chain) == {}
    assert chain.ignored == ("genoa-v3-routex.vcek.der: SEV-VCEK: not needed",)


@needs_vectors
def test_a_root_of_amd_is_a_root_that_can_be_given() -> None:
    roots = certificates("reports/genoa_ask_ark_asvk.pem")
    chain = real("genoa-v5-oak", roots=roots)
    assert not_passed(chain) == {}
    assert chain.trust_anchor.startswith("AMD's ARK-Genoa")
    other = real("genoa-v5-oak", roots=certificates("reports/milan_ask_ark_asvk.pem"))
    assert not_passed(other) == {"chain": "fail"}
    assert other.trust_anchor == ""


@needs_vectors
def test_an_own_root_in_the_evidence_is_not_trusted() -> None:
    ca = authority("Genoa")
    chain = own(ca, (ca.vcek, ca.ask, ca.ark), roots=())
    assert not_passed(chain) == {"chain": "fail"}
    assert chain.trust_anchor == ""
    assert "not signed by AMD's SEV-Genoa" in of(chain, "chain").reason
    assert [line.partition(" (SHA")[0] for line in chain.ignored] == [
        "given 2: SEV-Genoa: not AMD's, which is pinned, and not trusted",
        "given 3: ARK-Genoa: not AMD's, which is pinned, and not trusted",
    ]


def test_another_certificate_of_a_pinned_key_is_no_forgery() -> None:
    ca, pinned = authority(), pinned_signer("SEV-Milan")
    assert pinned is not None
    numbers = rsa.RSAPublicNumbers(pinned.key.exponent, pinned.key.modulus)
    key = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    chain = own(ca, (ca.vcek, ca.ask._replace(public_key=key)), roots=())
    assert chain.ignored == ("given 2: SEV-Milan: another certificate of the key that is pinned; not needed",)


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin", "Venice"])
def test_a_root_of_ones_own_is_trusted_where_it_is_given(product: str) -> None:
    ca = authority(product)
    chain = own(ca)
    assert not_passed(chain) == {}
    assert chain.trust_anchor.startswith(f"given: ARK-{product} (SHA-256 ")
    assert of(chain, "chain").reason.endswith(f"ARK-{product}, the root that is given")
    assert of(chain, "product").reason == product
    fmc = "fmc 1, " if ca.tcb.fmc == 1 else ""
    said = f"the certificate is for this TCB: {fmc}boot-loader 4, tee 0, snp 24, microcode 219"
    assert of(chain, "reported-tcb").reason == said
    assert chain.facts is not None
    assert (chain.facts.tcb, chain.facts.hwid, chain.facts.csp_id) == (ca.tcb, ca.chip, None)
    assert not_passed(own(ca, (ca.vcek,), roots=read(ca.ask, ca.ark))) == {}
    # Without it nothing of Venice's is known, and of the others another key is.
    assert not_passed(own(ca, roots=())) == {"chain": "fail"}


def test_a_vlek_is_held_to_its_provider() -> None:
    ca = authority()
    raw = ca.report(key_info=1 << 2, chip_id=0)
    chain = own(ca, (ca.vlek, ca.asvk), raw)
    assert not_passed(chain) == {"chip-id": "not checked"}
    assert chain.facts is not None
    assert chain.facts.csp_id == "CN=cc-nowhere-1.example"
    assert chain.facts.hwid is None


@pytest.mark.parametrize(
    ("signing_key", "vlek", "reason"),
    [
        (0, True, "the report says VCEK, the certificate is a VLEK"),
        (1, False, "the report says VLEK, the certificate is a VCEK"),
        (7, False, "nobody signed the report: SIGNING_KEY is 7"),
        (2, False, "it is of no key that is known: SIGNING_KEY is 2"),
    ],
)
def test_the_key_is_of_the_kind_that_the_report_says(signing_key: int, vlek: bool, reason: str) -> None:
    ca = authority()
    given = (ca.vlek, ca.asvk) if vlek else (ca.vcek, ca.ask)
    chain = own(ca, given, ca.report(key_info=signing_key << 2))
    assert not_passed(chain) == {"signing-key": "fail", **({"chip-id": "not checked"} if vlek else {})}
    assert of(chain, "signing-key").reason == reason


def test_of_both_kinds_the_one_that_the_report_says_is_taken() -> None:
    ca = authority()
    for given in ((ca.vlek, ca.vcek, ca.ask), (ca.vcek, ca.vlek, ca.ask)):
        chain = own(ca, given)
        assert not_passed(chain) == {}
        assert [line.partition(": ")[2] for line in chain.ignored] == ["SEV-VLEK: not needed"]


def test_of_two_certificates_of_one_key_the_valid_one_is_taken() -> None:
    ca = authority()
    expired = ca.vcek._replace(not_after=AT - timedelta(days=1))
    assert not_passed(own(ca, (expired, ca.vcek, ca.ask))) == {}
    assert not_passed(own(ca, (expired, ca.ask))) == {"validity": "fail"}
    for edge in (ca.vcek._replace(not_after=AT), ca.vcek._replace(not_before=AT)):
        assert not_passed(own(ca, (expired, edge, ca.ask))) == {}


@pytest.mark.parametrize("which", ["vcek", "ask", "ark"])
@pytest.mark.parametrize("late", [True, False])
def test_every_certificate_has_to_be_valid(which: str, late: bool) -> None:
    ca = authority()
    bend = {"not_after": AT - timedelta(seconds=1)} if late else {"not_before": AT + timedelta(seconds=1)}
    drafts = {name: getattr(ca, name) for name in ("vcek", "ask", "ark")}
    drafts[which] = drafts[which]._replace(**bend)
    chain = own(ca, (drafts["vcek"], drafts["ask"]), roots=read(drafts["ark"]))
    assert not_passed(chain) == {"validity": "fail"}
    assert of(chain, "validity").wanted == "at 2026-06-01 12:00:00 UTC"
    edge = {"not_after": AT} if late else {"not_before": AT}
    drafts[which] = drafts[which]._replace(**edge)
    assert not_passed(own(ca, (drafts["vcek"], drafts["ask"]), roots=read(drafts["ark"]))) == {}


def test_all_that_is_not_valid_is_said() -> None:
    ca = authority()
    late, early = AT - timedelta(days=1), AT + timedelta(days=1)
    chain = own(ca, (ca.vcek._replace(not_after=late), ca.ask._replace(not_before=early)))
    assert of(chain, "validity").reason == (
        "SEV-Milan is not valid before 2026-06-02; SEV-VCEK expired on 2026-05-31"
    )


SPLS = {"Milan": (1, 2, 3, 8), "Turin": (1, 2, 3, 8, 9)}


@pytest.mark.parametrize(
    ("product", "number"),
    [(product, f"{ARC}.3.{number}") for product, numbers in SPLS.items() for number in numbers]
    + [("Milan", f"{ARC}.1"), ("Milan", f"{ARC}.2"), ("Milan", f"{ARC}.4")],
)
def test_an_extension_that_is_missing_is_a_failure(product: str, number: str) -> None:
    ca = authority(product)
    chain = own(ca, (ca.vcek.without(number), ca.ask))
    assert not_passed(chain) == {
        "vek-extensions": "fail",
        "reported-tcb": "not checked",
        "chip-id": "not checked",
    }
    assert f"extension {number} " in of(chain, "vek-extensions").reason
    assert "missing" in of(chain, "vek-extensions").reason


@pytest.mark.parametrize(
    ("number", "value", "reason"),
    [
        (f"{ARC}.3.1", integer(256), "256 is no byte"),
        (f"{ARC}.3.1", b"\x02\x01\xff", "-1 is no byte"),
        (f"{ARC}.3.1", integer(4) + b"\0", "more follows"),
        (f"{ARC}.3.1", b"\x04", "it ends early"),
        (f"{ARC}.1", integer(1), "structVersion): 1 is not that of Milan"),
        (f"{ARC}.2", tlv(0x16, b"Rome"), "unknown product (one of Milan, "),
        (f"{ARC}.2", integer(1), "a text is expected"),
        (f"{ARC}.4", bytes(8), "8 bytes, where Milan has 64"),
        (f"{ARC}.5", tlv(0x16, b"x"), "a VCEK of Milan has none"),
        (f"{ARC}.3.9", integer(0), "a VCEK of Milan has none"),
    ],
)
def test_an_extension_that_is_none_is_a_failure(number: str, value: bytes, reason: str) -> None:
    ca = authority()
    chain = own(ca, (ca.vcek.having(number, value), ca.ask))
    assert set(not_passed(chain)) == {"vek-extensions", "reported-tcb", "chip-id"}
    assert reason in of(chain, "vek-extensions").reason


def test_every_byte_is_a_number_of_a_tcb() -> None:
    ca = authority()
    given = (ca.vcek.having(f"{ARC}.3.1", integer(255)), ca.ask)
    assert not_passed(own(ca, given, ca.report(reported_tcb=ca.version() | 0xFF))) == {}


def test_a_stepping_in_the_products_name_is_passed_over() -> None:
    ca = authority()
    chain = own(ca, (ca.vcek.having(f"{ARC}.2", tlv(0x16, b"Milan-B0")), ca.ask))
    assert not_passed(chain) == {}
    assert chain.facts is not None
    assert chain.facts.product_name == "Milan-B0"


def test_a_vlek_with_an_identifier_of_a_chip_is_refused() -> None:
    ca = authority()
    raw = ca.report(key_info=1 << 2)
    chain = own(ca, (ca.vlek.having(f"{ARC}.4", ca.chip), ca.asvk), raw)
    assert of(chain, "vek-extensions").status == "fail"
    chain = own(ca, (ca.vlek.without(f"{ARC}.5"), ca.asvk), raw)
    assert "cspID): it is missing" in of(chain, "vek-extensions").reason


def test_a_critical_extension_that_is_not_known_is_refused() -> None:
    ca = authority()
    own_number = "1.3.6.1.4.1.99999.1"
    assert not_passed(own(ca, (ca.vcek.having(own_number, b"x"), ca.ask))) == {}
    chain = own(ca, (ca.vcek.having(own_number, b"x", critical=True), ca.ask))
    assert f"critical extension {own_number} is not known" in of(chain, "vek-extensions").reason
    between = own(ca, (ca.vcek, ca.ask.having(own_number, b"x", critical=True)))
    assert not_passed(between) == {"chain": "fail"}
    assert own_number in of(between, "chain").reason
    above = own(ca, roots=read(ca.ark.having(own_number, b"x", critical=True)))
    assert own_number in of(above, "chain").reason


@pytest.mark.parametrize("part", ["boot_loader", "tee", "snp", "microcode", "reserved"])
def test_the_certificate_is_for_the_tcb_that_the_report_says(part: str) -> None:
    ca = authority()
    places = {**dict(ca.product.parts), "reserved": 4}
    raw = ca.report(reported_tcb=ca.version() ^ 1 << 8 * places[part])
    chain = own(ca, raw=raw)
    assert not_passed(chain) == {"reported-tcb": "fail"}
    found = of(chain, "reported-tcb")
    assert (found.found, found.wanted) == (
        f"0x{ca.version() ^ 1 << 8 * places[part]:016x}",
        f"0x{ca.version():016x}",
    )


def test_a_turin_tcb_in_milans_layout_is_another_tcb() -> None:
    ca = authority("Turin")
    milan = product_named("Milan")
    swapped = sum(getattr(ca.tcb, part) << 8 * at for part, at in milan.parts)
    assert not_passed(own(ca, raw=ca.report(reported_tcb=swapped))) == {"reported-tcb": "fail"}
    # What is reserved in the certificate counts as well.
    given = (ca.vcek.having(f"{ARC}.3.7", integer(1)), ca.ask)
    assert not_passed(own(ca, given)) == {"reported-tcb": "fail"}
    assert not_passed(own(ca, given, ca.report(reported_tcb=ca.version() | 1 << 48))) == {}


def test_a_masked_chip_is_said_and_no_pass() -> None:
    ca = authority()
    chain = own(ca, raw=ca.report(chip_id=0))
    assert not_passed(chain) == {"chip-id": "not checked"}
    assert "masks CHIP_ID" in of(chain, "chip-id").reason
    none = own(ca, (), ca.report(chip_id=0))
    assert "masks CHIP_ID" in of(none, "signature").reason
    assert none.vek_url == ""


def test_all_64_bytes_of_a_chip_count_on_turin() -> None:
    ca = authority("Turin")
    longer = ca.chip.ljust(63, b"\0") + b"\x01"
    assert not_passed(own(ca, raw=ca.report(chip_id=longer))) == {"chip-id": "fail"}


def test_a_report_without_a_vlek_says_who_has_it() -> None:
    ca = authority()
    chain = own(ca, (), ca.report(key_info=1 << 2))
    assert "its provider hands it out" in of(chain, "signature").reason
    assert of(chain, "signing-key").status == "not checked"
    unsigned = own(ca, (), ca.report(key_info=7 << 2))
    assert of(unsigned, "signing-key").status == "fail"
    assert "no VCEK or VLEK is given" in of(unsigned, "signature").reason
    beside = own(ca, (ca.ask,), roots=())
    assert beside.ignored[0].startswith("given 1: SEV-Milan: not AMD's")


def test_the_signature_is_of_the_certificates_key_and_over_these_bytes() -> None:
    ca = authority()
    raw = bytearray(ca.report())
    raw[0x90] ^= 1
    chain = own(ca, raw=bytes(raw))
    assert not_passed(chain) == {"signature": "fail"}
    other = own(ca, (ca.vcek._replace(public_key=public(ec.generate_private_key(ec.SECP384R1()))), ca.ask))
    assert not_passed(other) == {"signature": "fail"}
    assert not_passed(own(ca, raw=ca.report(signature_algo=2))) == {"signature": "fail"}


def test_a_key_that_is_no_point_of_the_curve_verifies_nothing() -> None:
    ca = authority()
    whole = bytearray(ca.vcek.public_key)
    whole[-1] ^= 1
    chain = own(ca, (ca.vcek._replace(public_key=bytes(whole)), ca.ask))
    assert not_passed(chain) == {"signature": "fail"}
    assert "no point of P-384" in of(chain, "signature").reason


@pytest.mark.parametrize(
    ("which", "bend"),
    [
        ("vcek", {"subject": amd("SEV-XCEK")}),
        ("vcek", {"subject": amd("SEV-VCEK")[1:]}),
        ("vcek", {"issuer": (*amd("SEV-Milan"), ("OU", "more"))}),
        ("ask", {"issuer": amd("ARK-Milan")[1:]}),
    ],
)
def test_every_name_of_the_chain_is_amds(which: str, bend: dict[str, Any]) -> None:
    ca = authority()
    drafts = {"vcek": ca.vcek, "ask": ca.ask, "ark": ca.ark}
    drafts[which] = drafts[which]._replace(**bend)
    # An issuer's certificate has the name by which it is called.
    if which == "vcek":
        drafts["ask"] = drafts["ask"]._replace(subject=drafts["vcek"].issuer)
    if which == "ask":
        drafts["ark"] = drafts["ark"]._replace(subject=bend["issuer"], issuer=bend["issuer"])
    chain = own(ca, (drafts["vcek"], drafts["ask"]), roots=read(drafts["ark"]))
    assert "certificate-names" in not_passed(chain)
    assert of(chain, "chain").status == "pass"


def test_a_vcek_below_the_key_for_vleks_is_refused() -> None:
    ca = authority()
    draft = ca.vcek._replace(issuer=ca.vlek.issuer, signed_by=ca.vlek.signed_by)
    chain = own(ca, (draft, ca.asvk))
    assert not_passed(chain) == {"certificate-names": "fail"}
    assert of(chain, "certificate-names").reason == "the issuer is not that of a VCEK"


def test_a_certificate_of_another_product_is_refused() -> None:
    milan, genoa = authority("Milan"), authority("Genoa")
    chain = own(genoa, raw=milan.report(chip_id=genoa.chip))
    assert not_passed(chain)["product"] == "fail"
    assert of(chain, "product").reason == "the certificate is of Genoa"
    assert chain.product == milan.product
    # Its extensions and its issuer have to agree, too.
    named = own(milan, (milan.vcek.having(f"{ARC}.2", tlv(0x16, b"Genoa")), milan.ask))
    assert not_passed(named) == {"certificate-names": "fail", "product": "fail"}


def test_a_cpu_that_is_not_known_takes_a_product_from_the_user() -> None:
    ca = authority()
    raw = ca.report(cpuid_mod_id=0x77)
    chain = own(ca, raw=raw)
    assert not_passed(chain) == {"product": "fail"}
    assert "family 0x19, model 0x77" in of(chain, "product").reason
    assert not_passed(own(ca, raw=raw, product=product_named("Milan"))) == {}


def test_the_key_between_is_the_roots() -> None:
    ca, other = authority(), authority(which=1)
    assert not_passed(own(ca, (ca.vcek, other.ask))) == {"chain": "fail"}
    assert not_passed(own(ca, (ca.vcek,))) == {"chain": "fail"}
    assert not_passed(own(ca, roots=read(other.ark))) == {"chain": "fail"}
    assert not_passed(own(ca, (ca.vcek._replace(signed_by=other.ask.signed_by), ca.ask))) == {"chain": "fail"}
    # Of several of this name, the one that the root has signed, and that has signed the VCEK.
    renewed = ca.ask._replace(public_key=other.ask.public_key)
    for several in ((other.ask, ca.ask), (renewed, ca.ask), (ca.ask, renewed), (ca.ask, other.ask)):
        chain = own(ca, (ca.vcek, *several))
        assert not_passed(chain) == {}
        assert len(chain.ignored) == 1
    alone = own(ca, (ca.vcek, renewed))
    assert of(alone, "chain").reason == "given 1 is not signed by SEV-Milan (RSA-PSS, SHA-384)"
    # Of several roots, the one that the others lead to.
    forged = ca.ark._replace(public_key=other.ark.public_key)
    for roots in ((other.ark, ca.ark), (ca.ark, other.ark), (forged, ca.ark), (ca.ark, forged)):
        assert not_passed(own(ca, roots=read(*roots))) == {}


@pytest.mark.parametrize("number", ["2.5.29.15", "2.5.29.19"])
def test_the_key_between_may_sign_certificates(number: str) -> None:
    ca = authority()
    assert not_passed(own(ca, (ca.vcek, ca.ask.without(number)))) == {"chain": "fail"}
    no = {"2.5.29.15": tlv(3, b"\x01\x02"), "2.5.29.19": tlv(0x30)}[number]
    chain = own(ca, (ca.vcek, ca.ask.having(number, no, critical=True)))
    assert "is no authority" in of(chain, "chain").reason
    assert not_passed(own(ca, roots=read(ca.ark.without(number)))) == {"chain": "fail"}


def test_a_vcek_is_no_key_between() -> None:
    ca = authority()
    draft = ca.vcek._replace(subject=amd("SEV-Milan"), signed_by=ca.ark.signed_by, issuer=amd("ARK-Milan"))
    chain = own(ca, (ca.vcek, draft))
    assert of(chain, "chain").status == "fail"
    assert "has no RSA key" in of(chain, "chain").reason


def test_a_root_has_signed_itself() -> None:
    ca = authority()
    with pytest.raises(SevbuildError, match=r"it is no root: SEV-Milan is issued by ARK-Milan"):
        own(ca, roots=read(ca.ask))
    forged = ca.ark._replace(public_key=public(rsa.generate_private_key(65537, 2048)))
    assert not_passed(own(ca, roots=read(forged))) == {"chain": "fail"}


def test_another_algorithm_is_refused() -> None:
    ca = authority()
    # RSA with SHA-384 of PKCS #1 version 1.5, by the right key.
    draft = ca.vcek._replace(algorithm=bytes.fromhex("300d06092a864886f70d01010c0500"))
    assert not_passed(own(ca, (draft, ca.ask))) == {"chain": "fail"}


def test_a_list_of_revoked_certificates_is_the_roots_and_current() -> None:
    ca = authority()

    def revocation(*lists: bytes) -> Check:
        found = [crl for data in lists for crl in crls_in(data, "crl")]
        return of(own(ca, crls=found), "revocation")

    assert revocation().status == "not checked"
    assert revocation(ca.crl()).status == "pass"
    assert revocation(pem(ca.crl(), "X509 CRL")).status == "pass"
    assert revocation(ca.crl({0x99: AT})).status == "pass"
    assert "2026-07-01" in revocation(ca.crl()).reason
    for serial, name in ((0x10001, "SEV-Milan"), (0x10000, "ARK-Milan")):
        found = revocation(ca.crl({0x99: AT, serial: AT}))
        assert (found.status, found.reason) == ("fail", f"crl: {name} is revoked since 2026-06-01")
    # The key above VLEKs may be: nothing of it is used here.
    assert revocation(ca.crl({0x10101: AT})).status == "pass"
    second = timedelta(seconds=1)
    assert "stale" in revocation(ca.crl(next_update=AT - second)).reason
    assert revocation(ca.crl(next_update=AT, this_update=AT)).status == "pass"
    assert "of the future" in revocation(ca.crl(this_update=AT + second)).reason
    assert "nextUpdate" in revocation(ca.crl(next_update=None)).reason
    assert "not signed by ARK-Milan" in revocation(ca.crl(key=authority(which=1).ark.signed_by)).reason
    critical = {"2.5.29.28": (True, tlv(0x30))}
    assert "critical extension 2.5.29.28" in revocation(ca.crl(extensions=critical)).reason
    foreign = authority("Genoa").crl()
    assert revocation(foreign) == Check(
        "revocation", "fail", "no list given is of ARK-Milan", "ARK-Genoa", "ARK-Milan"
    )
    assert revocation(foreign, ca.crl()).status == "pass"
    assert revocation(ca.crl(), ca.crl(next_update=None)).status == "fail"


def test_without_a_root_no_list_is_believed() -> None:
    ca = authority("Venice")
    found = own(ca, roots=(), crls=crls_in(ca.crl(), "crl"))
    assert of(found, "revocation").status == "not checked"


def test_a_chain_is_the_same_however_its_certificates_are_ordered() -> None:
    ca = authority()
    given = read(ca.vcek, ca.vlek, ca.ask, ca.asvk, ca.ark)
    found = decode_report(ca.report(), "report")
    roots = given[-1:]
    first = check_chain(found, given, product=None, at=AT, roots=roots)
    assert not_passed(first) == {}
    assert first.product == ca.product
    turned = check_chain(found, [*given[::-1], *given], product=None, at=AT, roots=roots)
    assert turned._replace(ignored=()) == first._replace(ignored=())
    assert sorted(turned.ignored) == sorted(first.ignored)
