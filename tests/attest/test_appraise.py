"""Appraisals by keys of our own, in the shape of AMD's: what certificates and policy say together."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from sevbuild.attest.appraisal import AppraisalPolicy
from sevbuild.attest.appraise import Origin, Trust, appraise_report
from sevbuild.attest.certificate import decode_certificate
from sevbuild.attest.check_names import CHECKS
from sevbuild.attest.crl import decode_crl
from sevbuild.attest.named_target import NamedTarget
from sevbuild.attest.product import product_named
from sevbuild.attest.report import decode_report
from sevbuild.attest.result import Verdict
from sevbuild.attest.verdict import failed, passed
from tests.support.amd_ca import AT, authority

MEASUREMENT = bytes(range(48))
TARGET = NamedTarget("acme-guest", "1.4.0", "snp/qemu/EPYC-Milan/vcpus8", "snp", MEASUREMENT, 0x30000)
VLEK = 1 << 2
"""KEY_INFO of a report that a VLEK has signed."""


def appraised(
    policy: AppraisalPolicy | None = None,
    *,
    product: str = "Milan",
    trust: dict[str, Any] | None = None,
    origin: Origin | None = None,
    certificates: tuple[str, ...] = ("vcek", "ask"),
    **fields: Any,
) -> Verdict:
    """Return the verdict on a report with these fields, whose root is given as trusted."""
    home = authority(product)
    given = [decode_certificate(getattr(home, name).der, f"{name}.der") for name in certificates]
    root = decode_certificate(home.ark.der, "ark.der")
    plain = Trust(AT, roots=(root,))
    return appraise_report(
        decode_report(home.report(**fields), "report.bin"),
        given,
        policy or AppraisalPolicy(),
        [TARGET],
        plain._replace(**(trust or {})),
        origin or Origin("report.bin"),
    )


def wrong(found: Verdict) -> list[str]:
    """Return the checks that failed, and those that are required and were not made."""
    return [check.name for check in (*found.failed, *found.missing)]


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_report_of_each_product_holds(product: str, version: int) -> None:
    found = appraised(product=product, version=version)
    assert wrong(found) == []
    assert found.holds
    assert found.target == TARGET
    assert found.trust_anchor.startswith(f"given: ARK-{product} ")
    assert found.at == AT
    names = [check.name for check in found.checks]
    assert names == sorted(names, key=list(CHECKS).index)
    assert len(set(names)) == len(names)


def test_a_vlek_names_a_provider_and_no_chip() -> None:
    of_vlek: dict[str, Any] = {"certificates": ("vlek", "asvk"), "key_info": VLEK, "chip_id": b""}
    found = appraised(**of_vlek)
    assert wrong(found) == []
    assert "chip-id" not in found.required
    unchecked = {check.name: check.found for check in found.unchecked}
    assert unchecked["csp-id"] == "CN=cc-nowhere-1.example"
    assert wrong(appraised(AppraisalPolicy(csp_ids=("CN=cc-nowhere-1.example",)), **of_vlek)) == []
    assert wrong(appraised(AppraisalPolicy(csp_ids=("x", "y")), **of_vlek)) == ["csp-id"]
    assert wrong(appraised(AppraisalPolicy(chip_ids=(b"\1" * 64,)), **of_vlek)) == ["chip-id"]
    # A VLEK for a report that a chip's own key is to have signed.
    swapped = appraised(certificates=("vlek", "asvk"))
    assert "signing-key" in wrong(swapped)


def test_a_chip_of_a_list_or_none() -> None:
    chip = authority("Milan").chip.ljust(64, b"\0")
    assert wrong(appraised(AppraisalPolicy(chip_ids=(b"\1" * 64, chip)))) == []
    other = appraised(AppraisalPolicy(chip_ids=(b"\1" * 64,)))
    assert wrong(other) == ["chip-id"]
    (check,) = other.failed
    assert check.reason == "not an accepted chip"
    masked = appraised(AppraisalPolicy(chip_ids=(chip,)), chip_id=b"")
    assert [check.reason for check in masked.failed] == [
        "not an accepted chip: the host masks CHIP_ID, or a VLEK signed the report"
    ]
    assert wrong(appraised(chip_id=b"")) == ["chip-id"]
    assert wrong(appraised(AppraisalPolicy(waived=frozenset({"chip-id"})), chip_id=b"")) == []
    # What fails of the certificate is said, and not the list.
    swapped = appraised(AppraisalPolicy(chip_ids=(b"\1" * 64,)), chip_id=b"\1" * 64)
    assert [check.reason for check in swapped.failed] == ["the certificate is of another chip"]


def test_a_product_of_a_list() -> None:
    assert wrong(appraised(AppraisalPolicy(products=("Genoa", "Milan")))) == []
    refused = appraised(AppraisalPolicy(products=("Genoa", "Turin")))
    assert [(check.name, check.reason) for check in refused.failed] == [("product", "Milan is not accepted")]


def test_a_version_2_report_needs_its_product() -> None:
    old: dict[str, Any] = {"version": 2, "cpuid_fam_id": 0, "cpuid_mod_id": 0, "cpuid_step": 0}
    assert wrong(appraised(**old)) == ["product"]
    assert wrong(appraised(trust={"product": product_named("Milan")}, **old)) == []
    assert "product" in wrong(appraised(trust={"product": product_named("Genoa")}, **old))


def test_revocation_is_required_where_that_is_asked_for() -> None:
    strict = AppraisalPolicy(required=frozenset({"revocation"}))
    assert wrong(appraised(strict)) == ["revocation"]
    crl = decode_crl(authority("Milan").crl(), "crl")
    assert wrong(appraised(strict, trust={"crls": (crl,)})) == []
    revoked = decode_crl(authority("Milan").crl({0x10001: AT}), "crl")
    assert wrong(appraised(trust={"crls": (revoked,)})) == ["revocation"]


def test_time_is_what_is_given() -> None:
    late = datetime(2050, 1, 1, tzinfo=timezone.utc)
    assert wrong(appraised(trust={"at": late})) == ["validity"]
    assert not appraised(trust={"at_given": False}).at_given


def test_a_root_of_nobody_is_none() -> None:
    found = appraised(trust={"roots": ()})
    assert "chain" in wrong(found)
    assert found.trust_anchor == ""


def test_what_a_report_came_in_is_part_of_the_verdict() -> None:
    origin = Origin(
        "x", "hcl", (passed("hcl-binding", "bound"), failed("tpm-quote", "not signed")), ("a note",)
    )
    found = appraised(origin=origin, certificates=("vcek", "ask", "asvk"))
    assert (found.source, found.form) == ("x", "hcl")
    assert wrong(found) == ["tpm-quote"]
    assert found.notes[0] == "a note"
    assert [note for note in found.notes if note.startswith("ignored: asvk.der: SEV-VLEK-Milan")]
    (data,) = (check for check in found.checks if check.name == "report-data")
    assert "Azure binds its runtime data in it" in data.reason
    asked = appraised(AppraisalPolicy(report_data=(b"\1" * 64,)), origin=origin)
    assert "report-data" in wrong(asked)


@pytest.mark.parametrize("name", ["tpm-quote", "hcl-binding", "csp-id"])
def test_a_required_check_that_cannot_be_made_is_missing(name: str) -> None:
    assert wrong(appraised(AppraisalPolicy(required=frozenset({name})))) == [name]
