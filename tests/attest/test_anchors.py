"""AMD's keys that are pinned, held to AMD's certificates."""

from __future__ import annotations

import pytest

from sevbuild.attest.amd_keys import KEYS
from sevbuild.attest.anchors import amd_name, is_amd_name, pinned_signer
from sevbuild.attest.certificate import Certificate, certificates_in, common_name
from sevbuild.identity.sev_roots import amd_roots
from tests.support.shared import needs_vectors, shared_file

PRODUCTS = ("Milan", "Genoa", "Turin")


def certificates_of(product: str) -> dict[str, Certificate]:
    """Return AMD's certificates above a product's VEKs by common name."""
    path = shared_file(f"reports/{product.lower()}_ask_ark_asvk.pem")
    return {common_name(one.subject): one for one in certificates_in(path.read_bytes(), path.name)}


@needs_vectors
@pytest.mark.parametrize("product", PRODUCTS)
def test_each_pinned_key_is_that_of_a_certificate_that_its_root_signed(product: str) -> None:
    found = certificates_of(product)
    assert set(found) == {f"ARK-{product}", f"SEV-{product}", f"SEV-VLEK-{product}"}
    root = pinned_signer(f"ARK-{product}")
    assert root is not None
    for name, certificate in found.items():
        signer = pinned_signer(name)
        assert signer is not None
        assert signer.sha256 == certificate.sha256
        assert signer.key == certificate.public_key
        assert (signer.serial, signer.not_before, signer.not_after) == (
            certificate.serial,
            certificate.not_before,
            certificate.not_after,
        )
        assert is_amd_name(certificate.subject, name)
        assert sorted(signer.subject) == sorted(certificate.subject)
        assert sorted(signer.issuer) == sorted(certificate.issuer)
        assert root.has_signed(certificate)


def test_nine_keys_are_pinned_each_once() -> None:
    names = [row[0] for row in KEYS]
    assert sorted(names) == sorted(
        f"{kind}{name}" for name in PRODUCTS for kind in ("ARK-", "SEV-", "SEV-VLEK-")
    )
    moduli = {row[5] for row in KEYS}
    assert len(moduli) == len({row[4] for row in KEYS}) == len(KEYS)
    assert all(int(modulus, 16).bit_length() == 4096 for modulus in moduli)


@pytest.mark.parametrize("name", ["ARK-Venice", "ARK-milan", "", "SEV-VCEK"])
def test_no_other_name_has_a_pinned_key(name: str) -> None:
    assert pinned_signer(name) is None


def test_a_name_of_amd_has_all_its_parts_and_no_other() -> None:
    whole = amd_name("ARK-Milan")
    assert is_amd_name(whole[::-1], "ARK-Milan")
    assert not is_amd_name(whole, "ARK-Genoa")
    assert not is_amd_name(whole[1:], "ARK-Milan")
    assert not is_amd_name((*whole, ("OU", "Engineering")), "ARK-Milan")
    assert not is_amd_name((*whole[:-1], ("CN", "ARK-Milan"), ("CN", "ARK-Milan")), "ARK-Milan")


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_roots_of_sev_platforms_have_the_same_keys(product: str) -> None:
    # Two sources: virtee/sev, and Trustee.
    (found,) = [root for root in amd_roots() if root.product == product]
    for name, key in ((f"ARK-{product}", found.ark.key), (f"SEV-{product}", found.ask.key)):
        signer = pinned_signer(name)
        assert signer is not None
        assert signer.key == key
