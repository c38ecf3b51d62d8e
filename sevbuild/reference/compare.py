"""What differs between two sets of reference values, target by target, and because of what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sevbuild.reference.document import reference_document
from sevbuild.reference.model import ReferenceValues

__all__ = ["Change", "Comparison", "TargetChange", "compare_values"]

_NOT_SETTINGS = ("label", "digest", "ingredients", "algorithm", "releases")
_FOLLOWS = {
    "seed": ("inputs.firmware", "inputs.svsm"),
    "kernel.sha256": ("inputs.kernel", "inputs.uki"),
    "kernel.initrd_sha256": ("inputs.initrd", "inputs.uki"),
    "kernel.cmdline_sha256": ("cmdline", "kernel.cmdline", "inputs.uki"),
    "kernel.cmdline": ("cmdline",),
}
"""What is no cause of its own where another value of its differs."""


class Change(NamedTuple):
    """Name one value that differs, in words for people; `old` or `new` is None where there is none."""

    what: str
    old: str | None
    new: str | None


class TargetChange(NamedTuple):
    """Hold what became of one target: `equal`, `changed`, `added` or `removed`; digests in hex."""

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
        """Tell whether nothing differs."""
        return not self.guest and all(target.status == "equal" for target in self.targets)

    def document(self) -> dict[str, Any]:
        """Return the comparison as JSON has it."""
        return {
            "equal": self.equal,
            "guest": [change._asdict() for change in self.guest],
            "targets": [
                {**target._asdict(), "changes": [change._asdict() for change in target.changes]}
                for target in self.targets
            ],
        }


def compare_values(old: ReferenceValues, new: ReferenceValues) -> Comparison:
    """Return what differs between two documents of one release each."""
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
        found = [*_changed("", _settings(first), _settings(second)), *causes[names]]
        changes = tuple(_without_effects(found))
        same = first["digest"] == second["digest"] and not changes
        if not same and not changes:
            changes = (Change("nothing but the digest", first["digest"], second["digest"]),)
        status = "equal" if same else "changed"
        targets.append(TargetChange(label, status, first["digest"], second["digest"], changes))
    guest = [
        *_changed("guest.", before.document["guest"], after.document["guest"]),
        *_changed("input ", before.named, after.named),
    ]
    return Comparison(tuple(guest), tuple(targets))


class _Side:
    """Hold one document, and its parts by name."""

    def __init__(self, values: ReferenceValues) -> None:
        self.document = reference_document(values)
        self.values = {entry["label"]: entry for entry in self.document["values"]}
        self.profiles = {entry["name"]: entry for entry in self.document["profiles"]}
        self.ingredients = {entry["name"]: entry for entry in self.document["ingredients"]}
        self.inputs: dict[tuple[str, str], str] = {}
        self.named: dict[str, str] = {}
        for entry in self.document["inputs"]:
            digest = entry.get("sha256", entry.get("seed"))
            self.inputs[entry["role"], digest] = f"{entry['name']} {digest}".strip()
            key = f"{entry['role']} {entry['name']}".strip()
            number = sum(name == key or name.startswith(f"{key} #") for name in self.named)
            self.named[f"{key} #{number + 1}" if number else key] = digest

    def causes(self, mine: str | None, other: _Side, theirs: str | None) -> Iterator[Change]:
        """Yield what differs between ingredients of this document and of another."""
        # Documents of the first releases have no ingredients: there is nothing to compare.
        if mine is None or theirs is None:
            return
        first, second = self.ingredients[mine], other.ingredients[theirs]
        yield from _changed("", self._flat(first), other._flat(second))
        launch = (self.profiles[first["profile"]], other.profiles[second["profile"]])
        skipped = ("name", "as_of")
        yield from _changed(
            "profile ",
            *({key: value for key, value in _leaves(entry) if key not in skipped} for entry in launch),
        )

    def _flat(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        shown = {role: self.inputs.get((role, digest), digest) for role, digest in entry["inputs"].items()}
        flat = dict(_leaves({**entry, "inputs": shown}))
        for key in ("name", "profile", "mode", "order"):
            flat.pop(key)
        return flat


def _settings(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in _leaves(entry) if key not in _NOT_SETTINGS}


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            yield from _leaves(entry, f"{prefix}{key}.")
        else:
            yield prefix + key, entry


def _changed(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for key in sorted({*old, *new}):
        first, second = old.get(key), new.get(key)
        if first != second:
            yield Change(prefix + key, _text(first), _text(second))


def _without_effects(found: list[Change]) -> Iterator[Change]:
    names = {change.what for change in found}
    for change in found:
        if not any(cause in names for cause in _FOLLOWS.get(change.what, ())):
            yield change


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(
            " ".join(str(part) for part in entry.values()) if isinstance(entry, Mapping) else str(entry)
            for entry in value
        )
    return str(value)
