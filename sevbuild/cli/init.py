"""`sevbuild init`: a commented manifest to start from."""

from __future__ import annotations

import typer

from sevbuild.cli.output import print_wrote, refuse_force
from sevbuild.cli.report import print_data

__all__ = ["init"]


def init(
    path: str = typer.Argument("guest.toml", metavar="[PATH]", help="Where to write it; - prints it."),
    template: str = typer.Option(
        "snp", "--template", "-t", metavar="NAME", help="hello, snp, sev-es, fleet, ec2 or gce."
    ),
    force: bool = typer.Option(False, "--force", help="Replace the file if it exists."),
) -> None:
    """Write a commented manifest."""
    from sevbuild.guest.starter import read_template, write_template

    if force:
        refuse_force(path)
    if path == "-":
        print_data(read_template(template))
        return
    for written in write_template(template, path, force=force):
        print_wrote(written)
