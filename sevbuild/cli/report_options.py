"""What `verify` takes for attestation reports, as a group of options."""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import typer

from sevbuild.cli.options import value_option
from sevbuild.errors import SevbuildError, within

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.attest.appraise import Trust

__all__ = ["ReportOptions"]

# No `from __future__ import annotations` here, for the reason that options.py gives.

ACCEPTED = "What is accepted of a report"
TRUST = "Whose report it is"
"""Groups of options in the help."""

_accepted = partial(value_option, panel=ACCEPTED)
_trust = partial(value_option, panel=TRUST)


class ReportOptions(NamedTuple):
    """What reports are held to beside what was published, and whose keys are trusted."""

    appraisal: str = _accepted("--appraisal", metavar="FILE", text="The appraisal policy: what is accepted.")
    vmpl: list[int] = typer.Option(
        [],
        "--vmpl",
        metavar="N",
        min=0,
        max=3,
        help="Accept reports asked for at this VMPL; may be repeated. Default 0.",
        show_default=False,
        rich_help_panel=ACCEPTED,
    )
    report_data: str = _accepted(
        "--report-data", metavar="HEX", text="What the 64 bytes of REPORT_DATA must be: your nonce."
    )
    report_data_sha512: str = _accepted(
        "--report-data-sha512", metavar="FILE", text="REPORT_DATA must be the SHA-512 of this file."
    )
    tpm_nonce: str = _accepted(
        "--tpm-nonce", metavar="HEX", text="What the nonce of the TPM's quote must be, in evidence of Azure."
    )
    host_data: str = _accepted("--host-data", metavar="HEX", text="What the 32 bytes of HOST_DATA must be.")
    strict: bool = typer.Option(
        False,
        "--strict",
        help="Refuse reserved fields of the signed report that are set.",
        rich_help_panel=ACCEPTED,
    )
    allow_unknown_version: bool = typer.Option(
        False,
        "--allow-unknown-version",
        help="Read reports of a version above 5 as version 5.",
        rich_help_panel=ACCEPTED,
    )
    certs: list[str] = _trust(
        "--certs",
        metavar="PATH",
        text="Certificates: a file, or a folder of them; may be repeated.",
        default=[],
    )
    root: list[str] = _trust(
        "--root", metavar="FILE", text="Trust this root in place of AMD's; may be repeated.", default=[]
    )
    crl: list[str] = _trust(
        "--crl", metavar="FILE", text="A list of revoked certificates; may be repeated.", default=[]
    )
    product: str = _trust(
        "--product",
        metavar="NAME",
        text="The product of version 2 reports, which do not say it: Milan, Genoa or Turin.",
    )
    at: str = _trust(
        "--at",
        metavar="DATE",
        text="When all must be valid, such as 2026-11-25. Default: this machine's time.",
    )

    @property
    def given(self) -> str:
        """Return the first option that was given, empty where none was."""
        names = [name for name, value in self._asdict().items() if value not in ([], "", False)]
        return f"--{names[0].replace('_', '-')}" if names else ""

    def refuse(self, file: str) -> None:
        """Raise SevbuildError where `file` is no report, and an option has no effect."""
        if self.given:
            from sevbuild.appraise.evidence import refuse_broken_json
            from sevbuild.attest.evidence import KNOWN

            refuse_broken_json(file)
            raise SevbuildError(
                f"{self.given} is for attestation reports, and {file} is no such evidence", hint=KNOWN
            )

    def policy(self, expect: str) -> "AppraisalPolicy":
        """Return the appraisal policy: the file's, with what the options say in its place.

        `expect` is a launch digest to accept beside those of the file. Raises SevbuildError.
        """
        from sevbuild.appraise.policy import read_appraisal
        from sevbuild.attest.appraisal import AppraisalPolicy

        policy = read_appraisal(self.appraisal) if self.appraisal else AppraisalPolicy()
        if self.report_data and self.report_data_sha512:
            raise SevbuildError("--report-data and --report-data-sha512 say two things of REPORT_DATA")
        if self.vmpl:
            policy = policy._replace(vmpls=tuple(dict.fromkeys(self.vmpl)))
        if self.report_data:
            policy = policy._replace(report_data=(_report_data(self.report_data),))
        if self.report_data_sha512:
            from sevbuild.appraise.verify import sha512_of

            policy = policy._replace(report_data=(sha512_of(self.report_data_sha512),))
        if self.tpm_nonce:
            policy = policy._replace(tpm_nonces=(_nonce(self.tpm_nonce),))
        if self.host_data:
            policy = policy._replace(host_data=(_hex("--host-data", self.host_data, 32),))
        if expect:
            policy = policy._replace(measurements=(*policy.measurements, _measurement(expect)))
        return policy._replace(
            strict=policy.strict or self.strict,
            unknown_versions=policy.unknown_versions or self.allow_unknown_version,
        )

    def trust(self) -> "Trust":
        """Return whose keys are trusted, and when; raises SevbuildError."""
        from sevbuild.appraise.verify import read_trust
        from sevbuild.attest.product import product_named

        with within(f"--product {self.product}"):
            product = product_named(self.product) if self.product else None
        return read_trust(self.root, self.crl, self.at, product)


def _report_data(text: str) -> bytes:
    """Return the 64 bytes that --report-data says; a digest of 32 or 48 is none, wherever it stands."""
    digits = text.lower().removeprefix("0x")
    if len(digits) in (64, 96) and set(digits) <= set("0123456789abcdef"):
        size = len(digits) // 2
        zeros = f"{64 - size} zero bytes"
        raise SevbuildError(
            f"--report-data: {size} bytes, but REPORT_DATA has 64, and a part of it proves nothing of the rest",
            hint=f"write all 128 digits: mostly the digest stands first, and {zeros} follow",
        )
    return _hex("--report-data", text, 64)


def _nonce(text: str) -> bytes:
    from sevbuild.attest.tpm_quote import parse_nonce

    with within("--tpm-nonce"):
        return parse_nonce(text)


def _measurement(text: str) -> bytes:
    from sevbuild.reference.expected import parse_digest

    digest = parse_digest(text)
    if digest is None or len(digest) != 48:
        raise SevbuildError(
            f"--expect {text[:100]}: not the launch digest of an SNP guest, 96 hexadecimal digits",
            hint="what was published is given with --against PATH, and names the target",
        )
    return digest


def _hex(flag: str, text: str, size: int) -> bytes:
    from sevbuild.documents.document import parse_hex

    with within(flag):
        return parse_hex(text, size)
