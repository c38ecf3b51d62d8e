"""`sevbuild appraisal`: the policy that a relying party holds attestation reports to."""

from __future__ import annotations

import os

import typer

from sevbuild.cli.options import VALUES_SOURCE, LockOptions
from sevbuild.cli.output import print_wrote, refuse_force
from sevbuild.cli.parser import Application
from sevbuild.cli.report import print_data
from sevbuild.errors import SevbuildError

__all__ = ["appraisal"]

appraisal = Application(
    name="appraisal", help="Start an appraisal policy: what is accepted of attestation reports."
)


@appraisal.command()
def init(
    file: str = VALUES_SOURCE,
    *,
    output: str = typer.Option(
        "appraisal.toml", "--output", "-o", metavar="FILE", help="Where to write it; - prints it."
    ),
    force: bool = typer.Option(False, "--force", help="Replace the file if it exists."),
    lock: LockOptions,
) -> None:
    """Write a commented appraisal policy that accepts the reports of what was published."""
    from sevbuild.appraise.references import named_targets
    from sevbuild.attest.appraisal_text import appraisal_text
    from sevbuild.cli.source import load_values
    from sevbuild.output.file import write_files

    if force:
        refuse_force(output)
    if output != "-" and os.path.lexists(output) and not force:
        hint = "--force replaces it; -o - prints it instead"
        raise SevbuildError(f"{output} already exists", hint=hint)
    values = load_values(file, settings=[], targets=[], lock=lock).values
    releases = values.releases or (() if values.version is None else (values.version,))
    # Where it lies on this machine is nothing to publish.
    name = os.path.basename(file.rstrip("/")) or file
    text = appraisal_text(named_targets(values), releases, name)
    if output == "-":
        print_data(text)
        return
    write_files({output: text.encode()}, replace=force)
    print_wrote(output)
