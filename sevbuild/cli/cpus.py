"""`sevbuild cpus`: the CPU models it knows."""

from __future__ import annotations

from sevbuild.cli import options
from sevbuild.cli.report import print_data, print_text
from sevbuild.cli.tables import text_table
from sevbuild.documents.json_text import json_text
from sevbuild.manifest.catalog import cpus_document

__all__ = ["cpus"]


def cpus(fmt: str = options.TABLE_FORMAT) -> None:
    """List the CPU models, with the signature that enters a VMSA.

    The model is that of the guest (QEMU's -cpu), not of the host.
    """
    models = cpus_document()
    if options.wants_json(fmt, "table"):
        print_data(json_text(models))
        return
    header = ("model", "signature", "family", "model number", "stepping")
    keys = ("name", "signature", "family", "model_number", "stepping")
    print_text(text_table(header, [[str(model[key]) for key in keys] for model in models]))
