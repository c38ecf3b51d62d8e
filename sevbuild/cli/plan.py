"""`sevbuild plan`: what is launched, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli import options
from sevbuild.cli.output import FORCE, protect
from sevbuild.cli.pictures import OUTPUT, PICTURES, Output
from sevbuild.cli.report import print_digests, print_notices, shown_progress
from sevbuild.cli.tables import text_table
from sevbuild.documents.json_text import json_text
from sevbuild.errors import SevbuildError
from sevbuild.guest.trace import file_plan_document, plan_document
from sevbuild.text import visible

if TYPE_CHECKING:
    from sevbuild.guest.protected import Protected
    from sevbuild.picture.plan_page import PlanPicture

__all__ = ["plan"]

FORMATS = ("table", "json", *PICTURES)


def plan(
    manifest: str = options.MANIFEST_OR_IGVM,
    *,
    target: list[str] = options.TARGETS,
    fmt: str = options.format_option(*FORMATS),
    output: str = OUTPUT,
    force: bool = FORCE,
    seed: bool = typer.Option(False, "--seed", help="Print only the digest after the firmware."),
    settings: list[str] = options.SETTINGS,
    igvm: options.IgvmOptions,
    lock: options.LockOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Print each launch update of a target, and the launch digest as it stands after it.

    html is a page of all targets with their memory maps, svg the map alone.
    """
    options.check_format(fmt, FORMATS)
    if seed and (output or fmt in PICTURES):
        raise SevbuildError("--seed prints digests alone", hint="leave out --format and -o")
    sink = Output(output, force=force, quiet=quiet)
    if igvm.are_for(manifest, lock, {"--set": settings, "--seed": seed}):
        from sevbuild.guest.foreign import ForeignFile

        file = ForeignFile(manifest, shown_progress())
        measured = file.launches(igvm.launch()[0], target)
        print_notices(file.notices, quiet=quiet)
        protected = protect(documents=[manifest])
        if fmt in PICTURES:
            from sevbuild.guest.pictured import file_picture

            sink.put(_picture(fmt, file_picture(file, measured)), protected)
        else:
            _put(fmt, [file_plan_document(file, item.target) for item in measured], sink, protected)
        return
    guest, held = lock.load(manifest, settings)
    targets = guest.select(target)
    if seed:
        seeds = [(target.label, guest.seed(target)) for target in targets]
        held(guest, targets)
        print_notices(guest.notices, quiet=quiet)
        print_digests(seeds)
        return
    drawn, documents = None, []
    if fmt in PICTURES:
        from sevbuild.guest.pictured import guest_picture

        drawn = guest_picture(guest, targets)
    else:
        documents = [plan_document(guest, target) for target in targets]
    held(guest, targets)
    print_notices(guest.notices, quiet=quiet)
    protected = protect(given=settings)
    protected.add_guest(manifest, guest)
    protected.add_lock(manifest, lock.lock_file)
    if drawn is not None:
        sink.put(_picture(fmt, drawn), protected)
    else:
        _put(fmt, documents, sink, protected)


def _picture(fmt: str, drawn: PlanPicture) -> str:
    from sevbuild.picture.plan_page import map_document, plan_page

    return plan_page(drawn) if fmt == "html" else map_document(drawn)


def _put(fmt: str, documents: list[dict[str, Any]], sink: Output, protected: Protected) -> None:
    if fmt == "json":
        sink.put(json_text(documents[0] if len(documents) == 1 else documents), protected)
    else:
        sink.put("\n".join(_table(document) for document in documents), protected, data=False)


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
