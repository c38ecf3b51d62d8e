"""`sevbuild plan`: what is launched, step by step."""

from __future__ import annotations

from typing import Any

import typer

from sevbuild.cli import options
from sevbuild.cli.report import print_data, print_digests, print_notices, print_text, shown_progress
from sevbuild.cli.tables import text_table
from sevbuild.documents.json_text import json_text
from sevbuild.guest.trace import file_plan_document, plan_document
from sevbuild.text import visible

__all__ = ["plan"]

FORMATS = ("table", "json")


def plan(
    manifest: str = options.MANIFEST_OR_IGVM,
    *,
    target: list[str] = options.TARGETS,
    fmt: str = options.format_option(*FORMATS),
    seed: bool = typer.Option(False, "--seed", help="Print only the digest after the firmware."),
    settings: list[str] = options.SETTINGS,
    igvm: options.IgvmOptions,
    lock: options.LockOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Print each launch update of a target, and the launch digest as it stands after it."""
    options.check_format(fmt, FORMATS)
    if igvm.are_for(manifest, lock, {"--set": settings, "--seed": seed}):
        from sevbuild.guest.foreign import ForeignFile

        file = ForeignFile(manifest, shown_progress())
        measured = file.launches(igvm.launch()[0], target)
        print_notices(file.notices, quiet=quiet)
        _print(fmt, [file_plan_document(file, item.target) for item in measured])
        return
    guest, held = lock.load(manifest, settings)
    targets = guest.select(target)
    seeds = [(target.label, guest.seed(target)) for target in targets] if seed else []
    documents = [] if seed else [plan_document(guest, target) for target in targets]
    held(guest, targets)
    print_notices(guest.notices, quiet=quiet)
    if seed:
        print_digests(seeds)
    else:
        _print(fmt, documents)


def _print(fmt: str, documents: list[dict[str, Any]]) -> None:
    if fmt == "json":
        print_data(json_text(documents[0] if len(documents) == 1 else documents))
    else:
        print_text("\n".join(_table(document) for document in documents))


def _table(document: dict[str, Any]) -> str:
    features = document["guest_features"]
    line = f"{document['label']}: order {document['order']}, policy {document['policy']}"
    head = [line if features is None else f"{line}, guest features {features}"]
    head += [] if document["seed"] is None else [f"goes on from seed {document['seed']}"]
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
    heading = "".join(f"{visible(line)}\n" for line in head)
    return f"{heading}{text_table(header, rows)}"
