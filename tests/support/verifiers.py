"""Evidence as verifiers take it, and what each says of it: ours, snpguest, and check of go-sev-guest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from sevbuild.appraise.verify import verify_reports
from sevbuild.attest.appraisal import AppraisalPolicy
from sevbuild.attest.appraise import Trust
from sevbuild.attest.certificate import decode_certificate
from sevbuild.attest.product import product_named
from sevbuild.errors import SevbuildError
from tests.support.amd_ca import pem
from tests.support.evidence import table
from tests.support.real import peer_program

__all__ = ["PEERS", "Asked", "Parts", "Peer", "Said", "run_check"]

NOW = datetime(2026, 7, 1, tzinfo=timezone.utc)
"""When ours is asked. A peer asks this machine's clock: nothing that it takes expires before 2029."""
_CHECKED, _MISUSED, _UNVERIFIED, _REFUSED = 0, 1, 2, 5
"""How check ends (go-sev-guest tools/check); a panic of Go's runtime ends with 2 as well."""
_PANIC_OF_RUST = 101


class Parts(NamedTuple):
    """A report and its certificates (DER or PEM), as they lie; None where one is not given.

    `vek` is given as a VLEK where `vlek` says so, whatever it is, and `signer` then as an ASVK. `behind` is
    what follows the report in place of a certificate table of these.
    """

    report: bytes
    vek: bytes | None = None
    signer: bytes | None = None
    ark: bytes | None = None
    vlek: bool = False
    behind: bytes | None = None

    @property
    def named(self) -> dict[str, bytes]:
        """The certificates that there are, by the names of snpguest's files."""
        names = ("vlek", "asvk", "ark") if self.vlek else ("vcek", "ask", "ark")
        found = zip(names, (self.vek, self.signer, self.ark), strict=True)
        return {name: data for name, data in found if data is not None}

    @property
    def whole(self) -> bytes:
        """The report and what follows it: an answer to an extended guest request."""
        if self.behind is not None:
            return self.report + self.behind
        kinds = {"asvk": "ASK"}
        return self.report + table({kinds.get(name, name.upper()): data for name, data in self.named.items()})


class Asked(NamedTuple):
    """What a verifier is asked: whether a report of this product has these values, at a time.

    `product` is the name of its chain; `unsaid` tells that the report does not say it. `roots` (a signer,
    then its root) are trusted in place of AMD's.
    """

    measurement: bytes
    product: str
    vmpl: int = 0
    policy: int = 0x30000
    unsaid: bool = False
    roots: tuple[bytes, bytes] | None = None
    at: datetime = NOW


class Said(NamedTuple):
    """What a verifier says: `verdict` is `accepts`, `refuses` or `crashes`, `why` what it prints."""

    verdict: str
    why: str = ""


class Peer(NamedTuple):
    """A verifier of others: `judge` takes what stands in a folder, where `lay` has put the parts.

    `lay` returns the report's path, and where its certificates are beside it.
    """

    name: str
    lay: Callable[[Parts, Path], tuple[str, tuple[str, ...]]]
    judge: Callable[[Path, Asked], Said]

    def ours(self, parts: Parts, asked: Asked, folder: Path) -> list[str]:
        """Return which checks of ours refuse what the peer is given, none where all is accepted.

        `input` stands for what is no evidence at all.
        """
        path, certificates = self.lay(parts, folder)
        policy = AppraisalPolicy(measurements=(asked.measurement,), vmpls=(asked.vmpl,), policy=asked.policy)
        trust = Trust(asked.at, product=product_named(asked.product) if asked.unsaid else None)
        if asked.roots is not None:
            trust = trust._replace(roots=(decode_certificate(asked.roots[1], "own root"),))
        try:
            verdicts, unjudged = verify_reports([path], policy, (), trust, certificates)
        except SevbuildError:
            return ["input"]
        if unjudged:
            return ["input"]
        (verdict,) = verdicts
        assert verdict.holds == (not verdict.failed and not verdict.missing)
        return sorted({check.name for check in (*verdict.failed, *verdict.missing)})


def _lay_folder(parts: Parts, folder: Path) -> tuple[str, tuple[str, ...]]:
    certificates = folder / "certificates"
    certificates.mkdir()
    for name, data in parts.named.items():
        ending = "pem" if data.startswith(b"-----") else "der"
        (certificates / f"{name}.{ending}").write_bytes(data)
    report = folder / "report.bin"
    report.write_bytes(parts.report)
    return str(report), (str(certificates),) if parts.named else ()


def _lay_whole(parts: Parts, folder: Path) -> tuple[str, tuple[str, ...]]:
    whole = folder / "in.bin"
    whole.write_bytes(parts.whole)
    return str(whole), ()


def _snpguest(folder: Path, asked: Asked) -> Said:
    """Return what both of snpguest's commands say, without which the other proves nothing."""
    attestation = ["attestation", "certificates", "report.bin", "-m", f"0x{asked.measurement.hex()}"]
    if asked.unsaid:
        attestation += ["-p", asked.product.lower()]
    lines = []
    for words in (["certs", "certificates"], attestation):
        result = _run([peer_program("snpguest"), "verify", *words], folder)
        if result.returncode == _PANIC_OF_RUST:
            return Said("crashes", result.stderr)
        assert result.returncode in (0, 1), (result.args, result.returncode, result.stderr)
        if result.returncode:
            return Said("refuses", result.stderr)
        lines.append(result.stdout)
    return Said("accepts", "".join(lines))


def run_check(folder: Path, config: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run go-sev-guest's check on in.bin of a folder (report, then table), configured in prototext."""
    (folder / "config.textproto").write_text(config)
    words = [peer_program("check"), "-in", "in.bin", "-config", "config.textproto", "-network=false", *more]
    result = _run(words, folder)
    assert result.returncode in (_CHECKED, _MISUSED, _UNVERIFIED, _REFUSED), result.stderr
    return result


def _check(folder: Path, asked: Asked) -> Said:
    root = "disallow_network: true"
    if asked.roots is not None:
        root += f" cabundles: {_quoted(b''.join(map(pem, asked.roots)))}"
    policy = (
        f"policy: {asked.policy} vmpl {{ value: {asked.vmpl} }} measurement: {_quoted(asked.measurement)}"
    )
    # The configuration's product line is read, and then overwritten by what the flag says or defaults to.
    config = f"root_of_trust {{ {root} }} policy {{ {policy} }}"
    result = run_check(folder, config, f"-product={asked.product}")
    if "goroutine " in result.stderr:
        return Said("crashes", result.stderr)
    return Said("refuses" if result.returncode else "accepts", result.stderr)


def _quoted(data: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    plain = {**os.environ, "RUST_BACKTRACE": "0"}
    return subprocess.run(
        words, check=False, capture_output=True, text=True, cwd=folder, env=plain, timeout=60
    )


PEERS: Mapping[str, Peer] = {
    peer.name: peer for peer in (Peer("snpguest", _lay_folder, _snpguest), Peer("check", _lay_whole, _check))
}
