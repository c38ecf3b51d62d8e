"""What differs between two sets of reference values, target by target, and because of what."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sevbuild.reference.changes import DIFFERENCE, NOTE, Change, changed, leaves
from sevbuild.reference.document import reference_document
from sevbuild.reference.input_changes import ingredient_role, input_changes
from sevbuild.reference.model import ReferenceValues

__all__ = ["Comparison", "TargetChange", "compare_values"]

_NOT_SETTINGS = ("label", "digest", "ingredients", "algorithm", "releases")
_FOLLOWS = {
    "seed": ("inputs.firmware", "inputs.svsm"),
    "kernel.sha256": ("inputs.kernel", "inputs.uki"),
    "kernel.initrd_sha256": ("inputs.initrd", "inputs.uki"),
    "kernel.cmdline_sha256": ("cmdline", "kernel.cmdline", "inputs.uki"),
    "kernel.cmdline": ("cmdline",),
}
"""What is no cause of its own where another value of its differs."""


class TargetChange(NamedTuple):
    """Hold what became of one target; digests in hex.

    `status` is `equal`, `alike` (launched the same, and written otherwise), `changed`, `added` or `removed`.
    """

    label: str
    status: str
    old: str | None
    new: str | None
    changes: tuple[Change, ...]


class Comparison(NamedTuple):
    """Hold what differs of guest and inputs, and every target in the order of the old, then of the new."""

    guest: tuple[Change, ...]
    targets: tuple[TargetChange, ...]

    @property
    def equal(self) -> bool:
        """Tell whether nothing differs, not even a name."""
        return not self.guest and all(target.status == "equal" for target in self.targets)

    @property
    def same_launch(self) -> bool:
        """Tell whether every target is launched the same."""
        guest = any(change.level == DIFFERENCE for change in self.guest)
        return not guest and all(target.status in ("equal", "alike") for target in self.targets)

    def document(self) -> dict[str, Any]:
        """Return the comparison as JSON has it."""
        return {
            "equal": self.equal,
            "same_launch_values": self.same_launch,
            "guest": [change._asdict() for change in self.guest],
            "targets": [
                {**target._asdict(), "changes": [change._asdict() for change in target.changes]}
                for target in self.targets
            ],
        }


def compare_values(
    old: ReferenceValues, new: ReferenceValues, *, partial: bool = False, silent: Collection[str] = ()
) -> Comparison:
    """Return what differs between two documents of one release each.

    `partial` documents hold some of their targets alone, and `silent` names what one of them says nothing of:
    a setting, `guest` or `input`.
    """
    before, after = _Side(old), _Side(new)
    causes: dict[tuple[str | None, str | None], list[Change]] = {}
    targets = []
    for label in dict.fromkeys([*before.values, *after.values]):
        first, second = before.values.get(label), after.values.get(label)
        if first is None or second is None:
            status = "added" if first is None else "removed"
            digests = (
                None if first is None else first["digest"],
                None if second is None else second["digest"],
            )
            targets.append(TargetChange(label, status, *digests, ()))
            continue
        names = (first.get("ingredients"), second.get("ingredients"))
        if names not in causes:
            causes[names] = list(before.causes(names[0], after, names[1]))
        found = [*changed("", _settings(first), _settings(second)), *_causes(causes[names], first, second)]
        targets.append(_target(label, first, second, [*_without_effects([*_spoken(found, silent)])]))
    guest = [
        *changed("guest.", before.document["guest"], after.document["guest"]),
        *input_changes(old, new, partial=partial),
    ]
    return Comparison(tuple(_spoken(guest, silent)), tuple(targets))


def _target(
    label: str, first: Mapping[str, Any], second: Mapping[str, Any], changes: list[Change]
) -> TargetChange:
    differs = any(change.level == DIFFERENCE for change in changes)
    if first["digest"] != second["digest"] and not differs:
        changes.append(Change("nothing but the digest", first["digest"], second["digest"]))
        differs = True
    status = "changed" if differs else "alike" if changes else "equal"
    return TargetChange(label, status, first["digest"], second["digest"], tuple(changes))


def _causes(causes: list[Change], first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Change]:
    """Yield what differs of two targets' ingredients; a template that comes to the same line is a note."""
    same_line = first["cmdline"] == second["cmdline"]
    for change in causes:
        template = change.what == "kernel.cmdline"
        # Only a line without placeholders has a digest among the ingredients.
        template |= change.what == "kernel.cmdline_sha256" and None in (change.old, change.new)
        yield change._replace(level=NOTE) if same_line and template else change


def _spoken(changes: Iterable[Change], silent: Collection[str]) -> Iterator[Change]:
    for change in changes:
        if change.what not in silent and re.split("[. ]", change.what)[0] not in silent:
            yield change


class _Side:
    """Hold one document, and its parts by name."""

    def __init__(self, values: ReferenceValues) -> None:
        self.document = reference_document(values)
        self.values = {entry["label"]: entry for entry in self.document["values"]}
        self.profiles = {entry["name"]: entry for entry in self.document["profiles"]}
        self.ingredients = {entry["name"]: entry for entry in self.document["ingredients"]}
        self.names = {
            (ingredient_role(record.role), record.digest.hex()): record.name for record in values.inputs
        }

    def causes(self, mine: str | None, other: _Side, theirs: str | None) -> Iterator[Change]:
        """Yield what differs between ingredients of this document and of another."""
        # Documents of the first releases have no ingredients: there is nothing to compare.
        if mine is None or theirs is None:
            return
        first, second = self.ingredients[mine], other.ingredients[theirs]
        for change in changed("", _flat(first), _flat(second)):
            section, _, role = change.what.partition(".")
            if section != "inputs":
                yield change
                continue
            seeds = (change.old == second["seed"], change.new == first["seed"])
            level = NOTE if role == "firmware" and any(seeds) else DIFFERENCE
            yield Change(change.what, self._input(role, change.old), other._input(role, change.new), level)
        launch = (self.profiles[first["profile"]], other.profiles[second["profile"]])
        skipped = ("name", "as_of")
        yield from changed(
            "profile ",
            *({key: value for key, value in leaves(entry) if key not in skipped} for entry in launch),
        )

    def _input(self, role: str, digest: str | None) -> str | None:
        name = self.names.get((role, digest or ""), "")
        return digest if digest is None else f"{name} {digest}".strip()


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in leaves(entry) if key not in ("name", "profile", "mode", "order")}


def _settings(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in leaves(entry) if key not in _NOT_SETTINGS}


def _without_effects(found: list[Change]) -> Iterator[Change]:
    levels = {change.what: change.level for change in found}
    for change in found:
        causes = [levels[cause] for cause in _FOLLOWS.get(change.what, ()) if cause in levels]
        # What is launched the same explains no difference.
        if DIFFERENCE not in causes and change.level not in causes:
            yield change
