"""`sevbuild certs`: the certificates of attestation reports, from AMD's key service and on this machine."""

from __future__ import annotations

import os
from typing import Any

import typer

from sevbuild.cli import options
from sevbuild.cli.output import protect, write_outputs
from sevbuild.cli.parser import Application
from sevbuild.cli.report import print_data, print_line, print_message, print_text
from sevbuild.errors import SevbuildError, within

__all__ = ["certs"]

REPORTS: Any = typer.Argument(
    ..., metavar="REPORT...", help="Attestation reports, in any form; - is standard input."
)

certs = Application(
    name="certs", help="Fetch the certificates of attestation reports from AMD's key service, or list them."
)


@certs.command()
def fetch(
    reports: list[str] = REPORTS,
    *,
    product: str = options.value_option(
        "--product",
        metavar="NAME",
        text="The product, where a report does not name it: Milan, Genoa (also Siena and Bergamo) or Turin.",
    ),
    output: str = options.value_option(
        "--output",
        "-o",
        metavar="FOLDER",
        text="Also write the VCEK, the ASK and the ARK there, as snpguest reads them.",
    ),
    crl: str = options.value_option(
        "--crl", metavar="FILE", text="Also fetch the product's list of revoked certificates, to this file."
    ),
    quiet: bool = options.QUIET,
) -> None:
    """Fetch the VCEK of each report, and print the file.

    `verify` finds it there. This is the one verb that asks AMD's key service; SEVBUILD_KEY_SERVICE names a
    mirror of it. What was fetched before is not fetched again.
    """
    from sevbuild.appraise.evidence import evidence_at
    from sevbuild.appraise.fetch_certificates import fetch_crl, fetch_folder, fetch_vek, product_to_ask_for
    from sevbuild.attest.product import product_named
    from sevbuild.attest.report import decode_report

    if len(reports) > 1 and (output or crl):
        raise SevbuildError("--output and --crl are for one report")

    def tell(text: str) -> None:
        if not quiet:
            print_message(text)

    with within(f"--product {product}"):
        given = product_named(product) if product else None
    for path in reports:
        name = "stdin" if path == "-" else path
        report = decode_report(evidence_at(path).report, name, allow_unknown_version=True)
        with within(name):
            named = product_to_ask_for(report, given)
            fetched = fetch_vek(report, named, tell)
        tell(f"fetched from {fetched.url}" if fetched.url else "it was fetched before")
        print_line(fetched.path)
        files = {}
        if output:
            found = fetch_folder(fetched.certificate, named, tell)
            files = {os.path.join(output, name): data for name, data in found.items()}
        if crl:
            files[crl] = fetch_crl(named, tell)
        write_outputs(files, protect(documents=reports), folders=True, quiet=quiet)


@certs.command(name="list")
def list_certificates(
    fmt: str = options.TABLE_FORMAT,
) -> None:
    """List the certificates that were fetched."""
    from sevbuild.appraise.stores import kept_veks
    from sevbuild.cli.tables import text_table
    from sevbuild.documents.json_text import json_text

    as_json = options.wants_json(fmt, "table")
    kept = kept_veks()
    if as_json:
        print_data(json_text([one._asdict() for one in kept]))
        return
    rows = [
        (one.product or "-", one.chip[:16] or "-", one.tcb or "-", one.not_after[:10] or "damaged", one.path)
        for one in kept
    ]
    print_text(text_table(("product", "chip", "tcb", "valid until", "file"), rows))
