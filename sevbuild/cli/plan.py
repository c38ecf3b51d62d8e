"""`sevbuild plan`: what is launched, step by step."""

from __future__ import annotations

import sys
from typing import Any

import typer

from sevbuild.cli.options import MANIFEST, QUIET, SETTINGS, TARGETS, check_format, read_settings
from sevbuild.cli.report import print_notices
from sevbuild.cli.tables import json_text, text_table
from sevbuild.guest.guest import Guest, load_guest
from sevbuild.guest.trace import plan_document
from sevbuild.manifest.targets import Target

__all__ = ["register"]

FORMATS = ("table", "json")


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def plan(
        manifest: str = MANIFEST,
        target: list[str] = TARGETS,
        fmt: str = typer.Option(
            "table", "--format", "-f", metavar="|".join(FORMATS), help="How to print it."
        ),
        seed: bool = typer.Option(False, "--seed", help="Print only the digest after the firmware alone."),
        settings: list[str] = SETTINGS,
        quiet: bool = QUIET,
    ) -> None:
        """Print each launch update of a target, and the launch digest as it stands after it."""
        check_format(fmt, FORMATS)
        guest = load_guest(manifest, settings=read_settings(settings))
        targets = guest.select(target)
        text = _seeds(guest, targets) if seed else _plans(fmt, guest, targets)
        print_notices(guest.notices, quiet=quiet)
        sys.stdout.write(text)


def _seeds(guest: Guest, targets: list[Target]) -> str:
    seeds = [(guest.seed(target).hex(), target.label) for target in targets]
    return "".join(f"{seed}  {label}\n" if len(seeds) > 1 else f"{seed}\n" for seed, label in seeds)


def _plans(fmt: str, guest: Guest, targets: list[Target]) -> str:
    documents = [plan_document(guest, target) for target in targets]
    if fmt == "json":
        return json_text(documents[0] if len(documents) == 1 else documents)
    return "\n".join(_table(document) for document in documents)


def _table(document: dict[str, Any]) -> str:
    features = document["guest_features"]
    head = f"{document['label']}: order {document['order']}, policy {document['policy']}"
    head += "" if features is None else f", guest features {features}"
    head += "" if document["seed"] is None else f"\ngoes on from seed {document['seed']}"
    rows = [
        (
            str(update["index"]),
            update["origin"],
            update["page_type"],
            update["gpa"],
            update["length"],
            (update["contents_digest"] or "-")[:16],
            update["launch_digest"],
        )
        for update in document["updates"]
    ]
    header = ("#", "origin", "type", "gpa", "length", "contents", "launch digest after it")
    return f"{head}\n{text_table(header, rows)}"
