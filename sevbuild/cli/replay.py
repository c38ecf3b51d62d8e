"""`sevbuild replay`: what a hypervisor really launched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli import options
from sevbuild.cli.report import print_data, print_line, print_notices, print_text, shown_progress
from sevbuild.cli.tables import text_table
from sevbuild.documents.json_text import json_text
from sevbuild.errors import Notice, SevbuildError, within

if TYPE_CHECKING:
    from sevbuild.diagnose.replay.replay import Planned
    from sevbuild.guest.guest import Guest

__all__ = ["replay"]

_SHOWN = 12
"""Digits of the digest after an update: as many as leave a line its origin on 80 columns."""

_GUEST_OPTIONS = "for a GUEST, and none is given"


def replay(
    trace: str = typer.Argument(..., metavar="TRACE", help="QEMU's trace events, or JSON lines of ours."),
    guest: str = typer.Argument(
        "",
        metavar="[GUEST]",
        help="What should have been launched: a manifest, a bundle or an IGVM file.",
        show_default=False,
    ),
    *,
    target: list[str] = options.TARGETS,
    launch: int | None = options.value_option(
        "--launch", metavar="N", text="Which launch of a trace that has several, from 1.", default=None
    ),
    fmt: str = options.RESULT_FORMAT,
    settings: list[str] = options.SETTINGS,
    igvm: options.IgvmOptions,
    lock: options.LockOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Run a recorded launch through a model of the secure processor, and hold it to a plan.

    Exit 1 where the two part, where a command is refused, or where the launch did not end; the first line
    says where. Without GUEST the commands alone are checked.
    """
    as_json = options.wants_json(fmt)
    from sevbuild.diagnose.replay.document import replay_document
    from sevbuild.diagnose.replay.replay import replay_launch
    from sevbuild.diagnose.replay.trace import chosen_launch, read_trace

    read = read_trace(trace)
    chosen = chosen_launch(read, launch)
    notices: list[Notice] = []
    planned = None
    if guest:
        planned, notices = _planned(guest, target, settings, igvm, lock)
    else:
        _refuse_guest_options(target, settings, igvm, lock)
    label = "" if planned is None else planned.label
    with within(label):
        found = replay_launch(read, chosen, planned)
    print_notices(notices, quiet=quiet)
    document = replay_document(found)
    if as_json:
        print_data(json_text(document))
    else:
        _print(document)
    if found.parting is not None:
        raise typer.Exit(1)


def _planned(
    guest: str,
    patterns: list[str],
    settings: list[str],
    igvm: options.IgvmOptions,
    lock: options.LockOptions,
) -> tuple[Planned, list[Notice]]:
    """Return the one plan that is meant, and what there is to say of it."""
    from sevbuild.diagnose.replay.replay import Planned

    if igvm.are_for(guest, lock, {"--set": settings}):
        from sevbuild.guest.foreign import ForeignFile

        file = ForeignFile(guest, shown_progress())
        launches = file.launches(igvm.launch()[0], patterns)
        _refuse_several(guest, [item.label for item in launches])
        return Planned(launches[0].label, launches[0].plan), file.notices
    declared, held = _declared(guest, settings, lock)
    targets = declared.select(patterns)
    _refuse_several(guest, [target.label for target in targets])
    (chosen,) = targets
    (measured,) = declared.measure(targets)
    held(declared, targets)
    return Planned(chosen.label, measured.plan), declared.notices


def _declared(path: str, settings: list[str], lock: options.LockOptions) -> tuple[Guest, Callable[..., None]]:
    """Return the guest of a manifest or of a bundle, and what holds it to its lock."""
    from sevbuild.bundle.published import bundle_at

    if bundle_at(path) is None:
        return lock.load(path, settings)
    from sevbuild.bundle.verify import bundled_guest

    if settings:
        raise SevbuildError("--set is for a manifest, not for a bundle")
    lock.refuse()
    return bundled_guest(path, progress=shown_progress()), lock.check(path, settings)


def _refuse_several(guest: str, labels: list[str]) -> None:
    if len(labels) > 1:
        shown = ", ".join(labels[:3]) + (", ..." if len(labels) > 3 else "")
        hint = "--target LABEL picks one, for an IGVM file --loader NAME as well"
        raise SevbuildError(f"{guest}: {len(labels)} targets, and one was launched: {shown}", hint=hint)


def _refuse_guest_options(
    target: list[str], settings: list[str], igvm: options.IgvmOptions, lock: options.LockOptions
) -> None:
    """Raise SevbuildError for options that have no effect without a guest."""
    given = {"--target": target, "--set": settings, **_flags(igvm), **_flags(lock)}
    for flag, value in given.items():
        if value not in ([], None, "", False):
            raise SevbuildError(f"{flag} is {_GUEST_OPTIONS}")


def _flags(group: options.IgvmOptions | options.LockOptions) -> dict[str, object]:
    return {
        f"--{name.replace('_', '-').removesuffix('-file')}": value for name, value in group._asdict().items()
    }


def _print(document: dict[str, Any]) -> None:
    print_line(document["sentence"])
    for change in (document["parting"] or {}).get("registers", ()):
        print_line(f"  {change['name']}: {change['trace']}, planned {change['plan']}")
    traced = document["trace"]
    policy = "no LAUNCH_START" if traced["policy"] is None else f"policy {traced['policy']}"
    label = "" if document["guest"] is None else f", held to {document['guest']['label']}"
    print_text("\n")
    print_line(f"mode {traced['mode']}, {policy}{label}")
    rows = [
        (
            ", ".join(map(str, update["lines"])) or "-",
            update["origin"],
            update["page_type"],
            update["gpa"] or "-",
            update["length"],
            "refused" if update["refused"] else update["contents"],
            (update["launch_digest"] or "-")[:_SHOWN],
        )
        for update in document["updates"]
    ]
    if rows:
        print_text(text_table(("line", "origin", "type", "gpa", "length", "contents", "digest"), rows))
    for refused in document["refused"]:
        print_line(f"refused: {traced['source']}:{refused['line']}: {refused['message']}")
    _print_digests(document["launch_digest"])
    for note in document["notes"]:
        print_line(f"note: {note}")


def _print_digests(digests: dict[str, Any]) -> None:
    rows = [
        (words, digests[key])
        for words, key in (
            ("issued", "issued"),
            ("planned", "planned"),
            ("issued, canonical order", "canonical"),
            ("planned, canonical order", "planned_canonical"),
        )
        if digests[key] is not None
    ]
    if rows:
        print_text("\n" + text_table(("launch digest", ""), rows))
    issued, planned, same = digests["issued"], digests["planned"], digests["same_in_canonical_order"]
    if same is None or issued is None:
        return
    if issued == planned and digests["takes_of_plan"]:
        print_line("with what is taken from the plan, the launch digest is the plan's")
    elif issued == planned:
        print_line("the launch digest is the plan's")
    elif same:
        print_line("another order: in canonical order the same contents have the plan's launch digest")
    else:
        print_line("other contents: in canonical order the launch digests differ as well")
