"""`sevbuild cpus`: the CPU models it knows."""

from __future__ import annotations

import typer

from sevbuild.cli.options import check_format
from sevbuild.cli.report import print_data, print_text
from sevbuild.cli.tables import text_table
from sevbuild.documents.json_text import json_text
from sevbuild.manifest.catalog import cpus_document

__all__ = ["cpus"]


def cpus(
    fmt: str = typer.Option("table", "--format", "-f", metavar="table|json", help="The output format."),
) -> None:
    """List the CPU models, with the signature that enters a VMSA.

    The model is that of the guest (QEMU's -cpu), not of the host.
    """
    models = cpus_document()
    if check_format(fmt, ("table", "json")) == "json":
        print_data(json_text(models))
        return
    header = ("model", "signature", "family", "model number", "stepping")
    keys = ("name", "signature", "family", "model_number", "stepping")
    print_text(text_table(header, [[str(model[key]) for key in keys] for model in models]))
