"""Where reference values come from: a manifest, measured now, or a document made before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sevbuild.cli.options import LockOptions
from sevbuild.errors import Notice, SevbuildError

if TYPE_CHECKING:
    from sevbuild.guest.guest import Guest
    from sevbuild.reference.expected import Run
    from sevbuild.reference.model import ReferenceValues

__all__ = ["Source", "load_values"]


class Source(NamedTuple):
    """Reference values, and what the manifest they were made of says of publishing.

    `extra` are values for formats, by format and key. `run` is what `--expect` compares; `guest` is the one
    that was measured, where there was one.
    """

    values: ReferenceValues
    formats: tuple[str, ...] | None
    extra: Mapping[str, Mapping[str, Any]]
    notices: list[Notice]
    run: Run
    guest: Guest | None = None


def load_values(
    path: str, *, settings: list[str], targets: list[str], lock: LockOptions, publishing: bool = False
) -> Source:
    """Return the reference values of a manifest or document, or those of them alone that `targets` picks.

    A folder means the document in it; `settings` and `lock` are for manifests. What nothing launches in its
    order is refused for `publishing`.
    """
    from sevbuild.bundle.published import is_document

    if is_document(path):
        if settings:
            raise SevbuildError("--set overrides a manifest, not a document")
        lock.refuse()
        return _from_document(path, targets=targets, publishing=publishing)
    from sevbuild.cli.expectation import measured_run, target_selection
    from sevbuild.guest.order import refuse_order
    from sevbuild.reference.collect import collect_values

    guest, held = lock.load(path, settings)
    chosen = guest.select(targets)
    if publishing:
        refuse_order(chosen)
    measured = guest.measure(chosen)
    values = collect_values(guest, measured)
    held(guest, chosen)
    run = measured_run(measured, lambda: values, target_selection(targets))
    publish = guest.manifest.publish
    if publish is None:
        return Source(values, None, {}, guest.notices, run, guest)
    return Source(values, publish.formats, publish.values, guest.notices, run, guest)


def _from_document(path: str, *, targets: Sequence[str], publishing: bool) -> Source:
    from sevbuild.bundle.published import read_consistent_values
    from sevbuild.cli.expectation import values_run
    from sevbuild.manifest.selection import select_labels

    _, values = read_consistent_values(path)
    chosen = set(select_labels(targets, [value.label for value in values.values]))
    # A document of several releases has a label once in each.
    taken = values._replace(values=tuple(value for value in values.values if value.label in chosen))
    from sevbuild.reference.orders import check_orders

    notices = check_orders(path, taken, publishing=publishing)
    return Source(taken, None, {}, notices, values_run(values, targets))
