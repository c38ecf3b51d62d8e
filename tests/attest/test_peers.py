"""Side by side with `snpguest verify` and go-sev-guest's `check`: disagreements are listed with reasons.

Inputs are every hardware report, and 200 that are bent, drawn from one seed. Where a peer is not on this
machine, what we say of each input is tested all the same (docs/peers.md says how to get them).
"""

from __future__ import annotations

import os
import random
import subprocess
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from sevbuild.attest.appraisal import AppraisalPolicy
from sevbuild.attest.appraise import Origin, Trust, appraise_report
from sevbuild.attest.certificate import certificates_in
from sevbuild.attest.evidence import read_evidence
from sevbuild.attest.product import product_named
from sevbuild.attest.report import decode_report
from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import ORDER_P384
from tests.support.amd_ca import authority
from tests.support.evidence import table
from tests.support.real import peer_program
from tests.support.shared import shared_file

SEED = 20261125
BENT = 200

PRODUCTS = {
    "turin-v5-oak": "Turin",
    "turin-v5-azure-aci": "Turin",
    "turin-v5-bitcoin-pir-a": "Turin",
    "genoa-v5-oak": "Genoa",
    "genoa-v3-routex": "Genoa",
    "genoa-v3-azure-aci": "Genoa",
    "siena-bergamo-v5-attestation-rs": "Genoa",
    "milan-v3-azure-aci": "Milan",
    "milan-v3-azure-cvm": "Milan",
    "milan-v3-aws-vlek": "Milan",
    "milan-v2-gcp-automata": "Milan",
}
SAME_PRODUCT = {"Genoa": "genoa-v3-routex", "Milan": "milan-v3-azure-cvm", "Turin": "turin-v5-azure-aci"}
OTHER_PRODUCT = {"Genoa": "milan-v3-azure-aci", "Milan": "turin-v5-oak", "Turin": "genoa-v5-oak"}

DISAGREEMENTS = {
    ("snpguest", "as it is: milan-v3-aws-vlek"): (
        "it looks at no date of validity: this VLEK expired on 2025-12-10"
    ),
    ("snpguest", "a bit behind the signature"): "bytes that nobody signed, which it does not read",
    ("snpguest", "a reserved bit of a TCB"): (
        "it verifies what it writes anew of what it has read, in which these bytes are zero"
    ),
    ("snpguest", "a root of one's own"): "it takes whichever root lies in the folder",
    ("check", "as it is: siena-bergamo-v5-attestation-rs"): "it does not know the model of Siena and Bergamo",
    ("check", "as it is: milan-v2-gcp-automata"): "it wants a stepping, which version 2 does not say",
    (
        "check",
        "a report of Turin",
    ): "it does not know extension 3.9 (fmcSPL), and reads TCBs as Milan has them",
}
"""(peer, kind of input): why a peer of docs/peers.md says another thing than we do."""


class Input(NamedTuple):
    """One report with its certificates (DER); `kind` is what was done to it, `name` tells inputs apart."""

    kind: str
    name: str
    product: str
    report: bytes
    vek: bytes
    signer: bytes
    root: bytes
    vlek: bool = False
    bent_table: bytes = b""

    @property
    def table(self) -> bytes:
        """The certificate table with these certificates."""
        return self.bent_table or table(
            {"VLEK" if self.vlek else "VCEK": self.vek, "ASK": self.signer, "ARK": self.root}
        )


@cache
def hardware(name: str) -> Input:
    """Return a report of hardware as it is."""
    vlek = "vlek" in name
    product = PRODUCTS[name]
    chain = certificates_in(shared_file(f"reports/{product.lower()}_ask_ark_asvk.pem").read_bytes(), name)
    ask, ark, asvk = (one.der for one in chain)
    vek = shared_file(f"reports/{name}.{'vlek' if vlek else 'vcek'}.der").read_bytes()
    report = shared_file(f"reports/{name}.report.bin").read_bytes()
    return Input(f"as it is: {name}", name, product, report, vek, asvk if vlek else ask, ark, vlek)


def flipped(data: bytes, bit: int) -> bytes:
    found = bytearray(data)
    found[bit // 8] ^= 1 << bit % 8
    return bytes(found)


def reserved_bytes(product: str) -> set[int]:
    """Return where a report of a product has the bytes of its TCBs that no part uses."""
    used = {at for _, at in product_named(product).parts}
    return {field + at for field in (0x38, 0x180, 0x1E0, 0x1F0) for at in range(8) if at not in used}


def mirrored(report: bytes) -> bytes:
    """Return a report with the other signature of the same bytes, (R, n - S)."""
    number = int.from_bytes(report[0x2E8:0x330], "little")
    return report[:0x2E8] + (ORDER_P384 - number).to_bytes(72, "little") + report[0x330:]


SPANS = {
    "a bit of the signed report": (0x000, 0x2A0),
    "a bit of R or S": (0x2A0, 0x2D0),
    "a bit of the padding of R or S": (0x2D0, 0x2E8),
    "a bit behind the signature": (0x330, 0x4A0),
}


def bent(draw: random.Random, base: Input) -> Input:
    """Return one input that is bent in a way that is drawn."""
    kind = draw.choice(
        [*SPANS, *SPANS, "a bit of the VEK", "a bit of the VEK", "VEK", "report", "S", "table", "own"]
    )
    if kind in SPANS:
        first, last = SPANS[kind]
        bit = draw.randrange(8 * first, 8 * last)
        kind = "a reserved bit of a TCB" if bit // 8 in reserved_bytes(base.product) else kind
        return base._replace(kind=kind, report=flipped(base.report, bit))
    if kind == "a bit of the VEK":
        return base._replace(kind=kind, vek=flipped(base.vek, draw.randrange(8 * len(base.vek))))
    if kind == "VEK":
        way = draw.choice(["another chip", "another product"])
        other = hardware((SAME_PRODUCT if way == "another chip" else OTHER_PRODUCT)[base.product])
        return base._replace(kind=f"the VEK of {way}", vek=other.vek, vlek=other.vlek)
    if kind == "report":
        way, report = draw.choice(
            [
                ("a report that is cut", base.report[: -draw.randrange(1, 64)]),
                ("a report of version 1", b"\1" + base.report[1:]),
                ("a report of version 6", b"\6" + base.report[1:]),
            ]
        )
        return base._replace(kind=way, report=report)
    if kind == "table":
        return base._replace(
            kind="a bit of the table's head", bent_table=flipped(base.table, draw.randrange(8 * 24 * 4))
        )
    return base._replace(kind="the other S", report=mirrored(base.report)) if kind == "S" else own(base)


def own(base: Input) -> Input:
    """Return a report of the same product whose certificates lead to a root that nobody knows."""
    made = authority(base.product)
    return Input(
        "a root of one's own",
        "own",
        base.product,
        made.report(),
        made.vcek.der,
        made.ask.der,
        made.ark.der,
    )


@cache
def inputs() -> tuple[Input, ...]:
    """Return every report of hardware, and then what is bent."""
    plain = [hardware(name) for name in PRODUCTS]
    draw = random.Random(SEED)
    bases = [hardware(name) for name in ("genoa-v5-oak", "milan-v3-azure-aci", "turin-v5-oak")]
    return (*plain, *(bent(draw, draw.choice(bases)) for _ in range(BENT)))


LENIENT = AppraisalPolicy(
    vmpls=(0, 1, 2, 3), maximum_policy=0x2F0000, waived=frozenset({"measurement"}), provisional_firmware=True
)
"""What both peers leave to a policy is accepted: only what they check as well is compared."""


def accepted(found: Input, *, as_files: bool) -> bool:
    """Tell whether we verify an input, its certificates as files or in a table behind the report."""
    from datetime import datetime, timezone

    at = datetime.now(timezone.utc)
    try:
        if as_files:
            raw = found.report
            certificates = [
                one for der in (found.vek, found.signer, found.root) for one in certificates_in(der, "x")
            ]
        else:
            evidence = read_evidence(found.report + found.table, "x")
            raw = evidence.report
            certificates = [
                one for given in evidence.certificates for one in certificates_in(given.data, "x")
            ]
        report = decode_report(raw, "x")
        product = product_named(found.product) if report.product is None else None
        return appraise_report(
            report, certificates, LENIENT, [], Trust(at, product=product), Origin("x")
        ).holds
    except SevbuildError:
        return False


def snpguest(found: Input, folder: Path, program: str) -> bool:
    """Tell whether both steps of `snpguest verify` succeed."""
    names = ("vlek", "asvk", "ark") if found.vlek else ("vcek", "ask", "ark")
    for name in ("vlek", "asvk", "vcek", "ask"):
        (folder / f"{name}.pem").unlink(missing_ok=True)
    for name, der in zip(names, (found.vek, found.signer, found.root), strict=True):
        text = b64encode(der).decode()
        (folder / f"{name}.pem").write_text(
            f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
        )
    (folder / "report.bin").write_bytes(found.report)
    model = ["--processor-model", found.product.lower()] if found.report[:1] == b"\2" else []
    steps = (["certs", "."], ["attestation", ".", "report.bin", *model])
    return all(
        subprocess.run([program, "verify", *step], check=False, capture_output=True, cwd=folder).returncode
        == 0
        for step in steps
    )


def check(found: Input, folder: Path, program: str) -> bool:
    """Tell whether go-sev-guest's check succeeds, without a network and with a policy that permits all."""
    (folder / "in.bin").write_bytes(found.report + found.table)
    (folder / "c.textproto").write_text(
        f'root_of_trust {{ product_line: "{found.product}" disallow_network: true }}\n'
        "policy { policy: 0x2F0000 permit_provisional_firmware: true }\n"
    )
    command = [program, "-in", "in.bin", "-config", "c.textproto", "-network=false", "-quiet"]
    environment = {**os.environ, "HOME": str(folder)}
    result = subprocess.run(command, check=False, capture_output=True, cwd=folder, env=environment)
    return result.returncode == 0


PEERS = {"snpguest": (snpguest, True), "check": (check, False)}


def disagreements(peer: str, folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield the kind of each input of which a peer says another thing than we, and what we say."""
    judge, as_files = PEERS[peer]
    program = peer_program(peer)
    for found in inputs():
        if as_files and found.bent_table:
            continue
        ours = accepted(found, as_files=as_files)
        if judge(found, folder, program) != ours:
            turin = peer == "check" and found.product == "Turin"
            yield "a report of Turin" if turin else found.kind, ours


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_every_disagreement_is_listed(peer: str, tmp_path: Path) -> None:
    found = Counter(disagreements(peer, tmp_path))
    listed = {kind for name, kind in DISAGREEMENTS if name == peer}
    assert {kind for kind, _ in found} == listed, found
    # A kind is one where we are always the stricter, or always the more lenient.
    assert len(found) == len(listed), found


def test_what_we_say_of_each_input() -> None:
    """As they are all verify but one, whose key has expired; of what is bent, the other S alone."""
    ours = Counter(
        (found.kind, accepted(found, as_files=as_files)) for found in inputs() for as_files in (True, False)
    )
    expired = "as it is: milan-v3-aws-vlek"
    held = {kind for kind, holds in ours if holds}
    assert held == {f"as it is: {name}" for name in PRODUCTS if name != "milan-v3-aws-vlek"} | {
        "the other S",
        "a bit of the table's head",
    }
    assert {kind for kind, holds in ours if not holds} >= {expired, *SPANS, "a root of one's own"}
    kinds = {found.kind for found in inputs()}
    assert sum(count for (kind, _), count in ours.items() if not kind.startswith("as it is")) == 2 * BENT
    assert len(kinds) == len(PRODUCTS) + 14
