"""Every report of hardware among the vectors, with the certificates that lie beside it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cache, partial
from typing import NamedTuple

from sevbuild.attest.certificate import certificates_in
from sevbuild.attest.evidence import read_evidence
from sevbuild.attest.report import decode_report
from tests.support.shared import shared_file
from tests.support.verifiers import NOW, Asked, Parts

__all__ = ["REPORTS", "Vector", "as_it_lies", "chain_of", "hardware_report", "vectors"]

IN_TIME = datetime(2025, 6, 1, tzinfo=timezone.utc)
"""When the VLEK was valid."""


class Vector(NamedTuple):
    """A report of the vectors: files that hold it and its certificate, and the product of its chain.

    `report` may be evidence of any form. `vek` is empty where there is none, or where the evidence has it.
    """

    report: str
    vek: str
    product: str
    at: datetime = NOW


def _beside(name: str, product: str, kind: str = "vcek") -> Vector:
    return Vector(f"reports/{name}.report.bin", f"reports/{name}.{kind}.der", product)


REPORTS: dict[str, Vector] = {
    "genoa-v3-azure-aci": _beside("genoa-v3-azure-aci", "Genoa"),
    "genoa-v3-routex": _beside("genoa-v3-routex", "Genoa"),
    "genoa-v5-oak": _beside("genoa-v5-oak", "Genoa"),
    "milan-v2-gcp-automata": _beside("milan-v2-gcp-automata", "Milan"),
    "milan-v2-vmpl2-cocos-nocert": Vector("reports/milan-v2-vmpl2-cocos-nocert.report.bin", "", "Milan"),
    "milan-v3-aws-vlek": _beside("milan-v3-aws-vlek", "Milan", "vlek"),
    "milan-v3-aws-vlek in its time": _beside("milan-v3-aws-vlek", "Milan", "vlek")._replace(at=IN_TIME),
    "milan-v3-azure-aci": _beside("milan-v3-azure-aci", "Milan"),
    "milan-v3-azure-cvm": _beside("milan-v3-azure-cvm", "Milan"),
    "siena-bergamo-v5-attestation-rs": _beside("siena-bergamo-v5-attestation-rs", "Genoa"),
    "turin-v5-azure-aci": _beside("turin-v5-azure-aci", "Turin"),
    "turin-v5-bitcoin-pir-a": _beside("turin-v5-bitcoin-pir-a", "Turin"),
    "turin-v5-oak": _beside("turin-v5-oak", "Turin"),
    "azure-hcl-evidence-v1": Vector("reports/azure-hcl-evidence-v1.json", "", "Milan"),
    "azure-hcl-evidence-v2": Vector("reports/azure-hcl-evidence-v2.json", "", "Milan"),
    "trustee-evidence": Vector("reports/trustee-evidence.json", "", "Genoa"),
    "go-sev-guest": Vector(
        "launch-abi/go-sev-guest/attestation.bin", "launch-abi/go-sev-guest/vcek.testcer", "Milan"
    ),
    "trustee": Vector("launch-abi/trustee/test-report.bin", "launch-abi/trustee/test-vcek.der", "Milan"),
    "trustee-invalid-legacy": Vector(
        "launch-abi/trustee/test-report.bin", "launch-abi/trustee/test-vcek-invalid-legacy.der", "Milan"
    ),
    "trustee-invalid-new": Vector(
        "launch-abi/trustee/test-report.bin", "launch-abi/trustee/test-vcek-invalid-new.der", "Milan"
    ),
    "trustee-published": Vector("publish/trustee/snp-test-report.bin", "", "Milan"),
    "virtee-sev": Vector(
        "launch-abi/virtee-sev/report_milan.hex", "launch-abi/virtee-sev/vcek_milan.der", "Milan"
    ),
    "virtee-sev-turin-vcek": Vector(
        "reports/turin-v5-oak.report.bin", "launch-abi/virtee-sev/vcek_turin.der", "Turin"
    ),
    "dstack": Vector("publish/dstack/sev_snp_attestation.bin", "publish/dstack/sev_snp_vcek.pem", "Milan"),
    "dstack-extracted": Vector(
        "publish/dstack/extracted-report.bin", "publish/dstack/sev_snp_vcek.pem", "Milan"
    ),
    "dstack-json": Vector("publish/dstack/sev-snp-attestation.json", "", "Milan"),
    "veraison-json": Vector("publish/veraison/sevsnp-tsm-report.json", "", "Genoa"),
}
"""Each report of the vectors by a name of its own. sevsnp-tsm-report.cbor has that of the JSON beside it."""


@cache
def chain_of(product: str) -> dict[str, bytes]:
    """Return AMD's certificates (DER) of a product by what they are: ask, ark, asvk."""
    path = shared_file(f"reports/{product.lower()}_ask_ark_asvk.pem")
    found = certificates_in(path.read_bytes(), path.name)
    return {name: one.der for name, one in zip(("ask", "ark", "asvk"), found, strict=True)}


@cache
def hardware_report(name: str) -> tuple[Parts, Asked]:
    """Return a report of hardware with all that verifiers may need, taken out of the form it lies in."""
    vector = REPORTS[name]
    evidence = read_evidence(shared_file(vector.report).read_bytes(), name)
    report = decode_report(evidence.report, name)
    veks = [certificates_in(shared_file(vector.vek).read_bytes(), name)[0]] if vector.vek else []
    veks += [
        one
        for given in evidence.certificates
        for one in certificates_in(given.data, given.source)
        if dict(one.subject).get("CN", "") in ("SEV-VCEK", "SEV-VLEK")
    ]
    chain = chain_of(vector.product)
    vlek = vector.vek.endswith(".vlek.der")
    parts = Parts(
        evidence.report,
        veks[0].der if veks else None,
        chain["asvk" if vlek else "ask"],
        chain["ark"],
        vlek=vlek,
    )
    unsaid = report.product is None
    return parts, Asked(
        report.measurement, vector.product, report.vmpl, report.policy, unsaid=unsaid, at=vector.at
    )


def as_it_lies(name: str) -> tuple[Parts, Asked]:
    """Return a vector as its file lies, certificates beside it where the file has none."""
    parts, asked = hardware_report(name)
    lying = shared_file(REPORTS[name].report).read_bytes()
    return parts._replace(report=lying, behind=b""), asked


def vectors() -> dict[str, Callable[[], tuple[Parts, Asked]]]:
    """Return what makes each vector: taken apart, and as its file lies where that is no bare report."""
    made: dict[str, Callable[[], tuple[Parts, Asked]]] = {
        name: partial(hardware_report, name) for name in REPORTS
    }
    for name, vector in REPORTS.items():
        if not vector.report.endswith(".bin") or name == "dstack":
            made[f"{name}, as it lies"] = partial(as_it_lies, name)
    made["veraison-json, its table"] = _veraison
    return made


def _veraison() -> tuple[Parts, Asked]:
    """Return the one certificate table of the vectors, in which the certificates are PEM."""
    parts, asked = hardware_report("veraison-json")
    document = json.loads(shared_file(REPORTS["veraison-json"].report).read_text())
    return parts._replace(behind=urlsafe_b64decode(document["auxblob"] + "==")), asked
