"""What differs between two sets of reference values, target by target, and because of what."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from sevbuild.image.kernel_hashes import cmdline_digest
from sevbuild.manifest.inputs import launched_as
from sevbuild.manifest.template import parse_template, target_values
from sevbuild.reference.changes import DIFFERENCE, NOTE, Change, Comparison, TargetChange, changed
from sevbuild.reference.document import Fact, facts
from sevbuild.reference.input_changes import input_changes
from sevbuild.reference.model import Ingredients, PublishedProfile, ReferenceValues, Value
from sevbuild.text import encode_text

__all__ = ["compare_values"]

_NOT_SETTINGS = ("label", "digest", "ingredients", "algorithm", "releases")
_NAMING = ("name", "profile", "mode", "order")
"""What names ingredients, or stands in the value that names them."""

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
            digests = (None if first is None else first.digest, None if second is None else second.digest)
            targets.append(TargetChange(label, status, *digests, ()))
            continue
        names = (first.ingredients, second.ingredients)
        if names not in causes:
            causes[names] = list(before.causes(names[0], after, names[1]))
        settings = changed("", _without(_NOT_SETTINGS, first), _without(_NOT_SETTINGS, second))
        found = [*settings, *_causes(causes[names], first, second)]
        targets.append(_target(first, second, [*_without_effects([*_spoken(found, silent)])]))
    guest = [*_guest_changes(old, new), *input_changes(old, new, partial=partial)]
    return Comparison(tuple(_spoken(guest, silent)), tuple(targets))


def _guest_changes(old: ReferenceValues, new: ReferenceValues) -> Iterator[Change]:
    # A file that nobody declared has its own name for a guest's: renamed, it is the same.
    undeclared = old.of_file and new.of_file
    names = [{"name": side.name, "version": side.version} for side in (old, new)]
    for change in changed("guest.", *names):
        yield change._replace(level=NOTE) if undeclared else change


def _target(first: Value, second: Value, changes: list[Change]) -> TargetChange:
    differs = any(change.level == DIFFERENCE for change in changes)
    if first.digest != second.digest and not differs:
        changes.append(Change("nothing but the digest", first.digest.hex(), second.digest.hex()))
        differs = True
    status = "changed" if differs else "alike" if changes else "equal"
    return TargetChange(first.label, status, first.digest, second.digest, tuple(changes))


def _causes(causes: list[Change], first: Value, second: Value) -> Iterator[Change]:
    """Yield what differs in two targets' ingredients; another spelling of the same command line is a note."""
    for change in causes:
        same = change.what in _LINES and all(
            _is_line(change.what, text, value) for text, value in ((change.old, first), (change.new, second))
        )
        yield change._replace(level=NOTE) if same and first.cmdline == second.cmdline else change


def _is_line(what: str, text: str | None, value: Value) -> bool:
    """Tell whether an ingredient comes to the command line that a value has."""
    if text is None or value.cmdline is None:
        # Only a line without placeholders has a digest among the ingredients.
        return text is None and what == "kernel.cmdline_sha256"
    if what == "kernel.cmdline_sha256":
        return text == cmdline_digest(encode_text(value.cmdline)).hex()
    filled = parse_template(text).fill(target_values(value.cpu, value.signature or 0, value.vcpus))
    return filled == value.cmdline


def _spoken(changes: Iterable[Change], silent: Collection[str]) -> Iterator[Change]:
    for change in changes:
        if change.what not in silent and re.split("[. ]", change.what)[0] not in silent:
            yield change


class _Side:
    """One document, and its parts by name."""

    def __init__(self, values: ReferenceValues) -> None:
        self.values = {value.label: value for value in values.values}
        self.profiles = {profile.name: profile for profile in values.profiles}
        self.ingredients = {entry.name: entry for entry in values.ingredients}
        self.names = {(launched_as(record.role), record.digest): record.name for record in values.inputs}

    def causes(self, mine: str | None, other: _Side, theirs: str | None) -> Iterator[Change]:
        """Yield what differs between ingredients of this document and of another."""
        # Documents of the first releases have no ingredients: there is nothing to compare.
        if mine is None or theirs is None:
            return
        first, second = self.ingredients[mine], other.ingredients[theirs]
        for change in changed("", *(_without(_NAMING, entry) for entry in (first, second))):
            section, _, role = change.what.partition(".")
            if section != "inputs":
                yield change
                continue
            old, new = first.inputs.get(role), second.inputs.get(role)
            # Of a firmware that one side knows by its seed, that is what the other's ingredients say.
            known = ((old, second.seed), (new, first.seed))
            seeded = role == "firmware" and any(digest == seed is not None for digest, seed in known)
            level = NOTE if seeded else DIFFERENCE
            yield Change(change.what, self._input(role, old), other._input(role, new), level)
        launch = (self.profiles[first.profile], other.profiles[second.profile])
        yield from changed("profile ", *(_without(("name", "as_of"), profile) for profile in launch))

    def _input(self, role: str, digest: bytes | None) -> str | None:
        return None if digest is None else f"{self.names.get((role, digest), '')} {digest.hex()}".strip()


def _without(keys: Collection[str], part: Value | Ingredients | PublishedProfile) -> dict[str, Fact]:
    return {key: fact for key, fact in facts(part).items() if key not in keys}


def _without_effects(found: list[Change]) -> Iterator[Change]:
    levels = {change.what: change.level for change in found}
    for change in found:
        causes = [levels[cause] for cause in _FOLLOWS.get(change.what, ()) if cause in levels]
        # What is launched the same explains no difference.
        if DIFFERENCE not in causes and change.level not in causes:
            yield change
