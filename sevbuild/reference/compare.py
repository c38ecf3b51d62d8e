"""What differs between two sets of reference values, target by target, and because of what."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sevbuild.image.kernel_hashes import cmdline_digest
from sevbuild.manifest.template import parse_template, target_values
from sevbuild.reference.changes import DIFFERENCE, NOTE, Change, Comparison, TargetChange, changed, leaves
from sevbuild.reference.document import reference_document
from sevbuild.reference.input_changes import ingredient_role, input_changes
from sevbuild.reference.model import ReferenceValues
from sevbuild.text import encode_text

__all__ = ["compare_values"]

_NOT_SETTINGS = ("label", "digest", "ingredients", "algorithm", "releases")
_FOLLOWS = {
    "seed": ("inputs.firmware", "inputs.svsm"),
    "kernel.sha256": ("inputs.kernel",),
    "kernel.initrd_sha256": ("inputs.initrd",),
    "kernel.cmdline_sha256": ("cmdline", "kernel.cmdline"),
    "kernel.cmdline": ("cmdline",),
}
"""What is no cause of its own where another value of its differs."""

_LINES = ("kernel.cmdline", "kernel.cmdline_sha256")


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
    guest = [*_guest_changes(old, new), *input_changes(old, new, partial=partial)]
    return Comparison(tuple(_spoken(guest, silent)), tuple(targets))


def _guest_changes(old: ReferenceValues, new: ReferenceValues) -> Iterator[Change]:
    # A file that nobody declared has its own name for a guest's: renamed, it is the same.
    undeclared = old.version is None and new.version is None
    names = [{"name": side.name, "version": side.version} for side in (old, new)]
    for change in changed("guest.", *names):
        yield change._replace(level=NOTE) if undeclared else change


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
    """Yield what differs in two targets' ingredients; another spelling of the same command line is a note."""
    for change in causes:
        same = change.what in _LINES and all(
            _is_line(change.what, text, entry) for text, entry in ((change.old, first), (change.new, second))
        )
        yield change._replace(level=NOTE) if same and first["cmdline"] == second["cmdline"] else change


def _is_line(what: str, text: str | None, entry: Mapping[str, Any]) -> bool:
    """Tell whether an ingredient comes to the command line that a value has."""
    line = entry["cmdline"]
    if text is None or line is None:
        # Only a line without placeholders has a digest among the ingredients.
        return text is None and what == "kernel.cmdline_sha256"
    if what == "kernel.cmdline_sha256":
        return bool(text == cmdline_digest(encode_text(line)).hex())
    values = target_values(entry["cpu"], int(entry["signature"] or "0", 16), entry["vcpus"])
    return bool(parse_template(text).fill(values) == line)


def _spoken(changes: Iterable[Change], silent: Collection[str]) -> Iterator[Change]:
    for change in changes:
        if change.what not in silent and re.split("[. ]", change.what)[0] not in silent:
            yield change


class _Side:
    """One document, and its parts by name."""

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
            # Of a firmware that one side knows by its seed, that is what the other's ingredients say.
            known = [(change.old, second["seed"]), (change.new, first["seed"])]
            seeded = role == "firmware" and any(mine == theirs is not None for mine, theirs in known)
            level = NOTE if seeded else DIFFERENCE
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
