"""Launches compared: targets paired, what differs of each pair as causes, and where the digests part."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from sevbuild.diagnose.differences.causes import (
    KERNEL_HASHES,
    LAY_OUT,
    Known,
    TargetPair,
    guest_causes,
    target_causes,
)
from sevbuild.diagnose.differences.launch_sides import LaunchSide
from sevbuild.diagnose.differences.model import DIGEST, LAUNCH, NOTE, Cause, Difference, Launches
from sevbuild.diagnose.differences.side_by_side import causes_of_steps, side_by_side
from sevbuild.errors import SevbuildError
from sevbuild.manifest.selection import LabelPatterns
from sevbuild.reference.changes import Change, Comparison
from sevbuild.reference.compare import compare_values
from sevbuild.text import counted

__all__ = ["chosen_labels", "compare_launches", "difference_of", "pair_labels"]

_PARTS = 5
_VCPUS_PART = 3
_MOST_TRACED = 16
"""How many sets of causes are followed to the step at which the digests part."""

_RANKS = (DIGEST, LAUNCH, NOTE)

Pair = tuple[str, str]
Sides = tuple[LaunchSide, LaunchSide]


def compare_launches(old: LaunchSide, new: LaunchSide, patterns: Sequence[str] = ()) -> Difference:
    """Return what tells the launches of two sides apart; `patterns` pick targets by their labels.

    Raises SevbuildError where nothing is left to be compared.
    """
    chosen = chosen_labels((old, new), patterns)
    pairs = pair_labels(*chosen)
    partner = {second: first for first, second in pairs}
    values, others = old.values(chosen[0]), new.values(chosen[1])
    # A target whose partner has another label is compared under that one.
    renamed = tuple(value._replace(label=partner.get(value.label, value.label)) for value in others.values)
    lacks = old.lacks | new.lacks | _unlike(old, new)
    comparison = compare_values(values, others._replace(values=renamed), partial=bool(patterns), silent=lacks)
    return difference_of(comparison, (old, new), pairs, _said(lacks))


def difference_of(
    comparison: Comparison, sides: Sides, pairs: Sequence[Pair], not_compared: Sequence[str] = ()
) -> Difference:
    """Return a comparison of values with its causes, and the launches of both sides beside it."""
    second = dict(pairs)
    groups: dict[tuple[tuple[Change, ...], bool], list[Pair]] = {}
    digests: dict[str, tuple[bytes, bytes]] = {}
    for target in comparison.targets:
        if target.old is not None and target.new is not None:
            digests[target.label] = (target.old, target.new)
            key = (_without_digests(target.changes), target.old == target.new)
            groups.setdefault(key, []).append((target.label, second[target.label]))
    known: Known = {}
    alike: dict[tuple[tuple[Cause, ...], bool], list[Pair]] = {}
    for (changes, same), of in groups.items():
        told = tuple(target_causes(TargetPair(of[0], sides, known, same_digest=same), changes))
        alike.setdefault((told, same), []).extend(of)
    same_digest = all(one == other for one, other in digests.values())
    labels = pairs[0] if pairs else (sides[0].labels()[0], sides[1].labels()[0])
    whole = TargetPair(labels, sides, known, same_digest=same_digest)
    roles = _roles(cause for told, _ in alike for cause in told)
    general = list(guest_causes(whole, comparison.guest, roles))
    found: dict[Cause, list[str]] = {}
    launches: list[Launches] = []
    for (told, same), of in alike.items():
        causes = list(told)
        if not same:
            pair, steps = _parted(of, sides, digests[of[0][0]], traced=len(launches) < _MOST_TRACED)
            causes = _with_steps(causes, steps, sides, general)
            launches.append(pair)
        for cause in causes:
            found.setdefault(cause, []).extend(label for label, _ in of)
    every = [
        cause._replace(targets=() if len(labels) == len(digests) else tuple(labels))
        for cause, labels in found.items()
    ]
    every += general
    alone = tuple(
        tuple(target.label for target in comparison.targets if target.status == status)
        for status in ("removed", "added")
    )
    return Difference(
        sides[0].compared,
        sides[1].compared,
        counted(len(digests), "target") if digests else "no target of the one is one of the other",
        "none" if not digests else "same" if same_digest else "different",
        tuple(sorted(every, key=lambda cause: _RANKS.index(cause.level))),
        tuple(launches),
        sum(one == other for one, other in digests.values()),
        (alone[0], alone[1]),
        tuple(not_compared),
    )


def pair_labels(old: Sequence[str], new: Sequence[str]) -> list[Pair]:
    """Return which label of the one is compared with which of the other, in the order of the old.

    The same labels are a pair. What is left is paired with what differs from it in one part that is not the
    vCPU count, and, where no label is the same, with what differs from it in as few parts as can be.
    """
    there = set(new)
    pairs = {label: label for label in old if label in there}
    left, others = (
        [label for label in old if label not in pairs],
        [label for label in new if label not in pairs],
    )
    some = bool(pairs)
    counts = range(1, 2) if some else range(1, _PARTS + 1)
    for count in counts:
        for dropped in combinations(range(_PARTS), count):
            if some and dropped == (_VCPUS_PART,):
                continue
            by_key: dict[tuple[str, ...], deque[str]] = {}
            for label in others:
                by_key.setdefault(_key(label, dropped), deque()).append(label)
            for label in left:
                same = by_key.get(_key(label, dropped))
                if same:
                    pairs[label] = same.popleft()
            taken = set(pairs.values())
            left = [label for label in left if label not in pairs]
            others = [label for label in others if label not in taken]
    return [(label, pairs[label]) for label in old if label in pairs]


class _Parted(NamedTuple):
    """Two launches, and what their steps say of them where nothing else does."""

    launches: Launches
    causes: list[Cause]


def _key(label: str, dropped: Sequence[int]) -> tuple[str, ...]:
    parts = [*label.split("/"), ""][:_PARTS]
    return tuple(part for index, part in enumerate(parts) if index not in dropped)


def chosen_labels(sides: Sides, patterns: Sequence[str]) -> list[list[str]]:
    """Return the labels of each side that these patterns pick, all for none.

    Raises SevbuildError for a pattern that picks none of either side, and where one side has none left.
    """
    labels = [side.labels() for side in sides]
    every = {label for side in labels for label in side}
    chosen = LabelPatterns(patterns, every)
    for pattern in chosen.patterns:
        if not any(chosen.matches(pattern, label) for label in every):
            raise SevbuildError(
                f"no target matches {pattern!r}", hint=f"there are {len(every)} on both sides"
            )
    found = [[label for label in side if chosen.picks(label)] for side in labels]
    for side, taken in zip(sides, found, strict=True):
        if not taken:
            flags = "".join(f" that matches --target {pattern}" for pattern in patterns)
            hint = "a pattern for the targets of each side, where they have no label in common"
            message = f"{side.compared.name}: no target{flags}"
            raise SevbuildError(message, hint=hint if flags else None)
    return found


_OF_FILES = frozenset(
    {"guest", "input", "inputs", "profile", "order", "cpu", "signature", "cmdline", "kernel_hashes"}
    | {"origins", "doubts", "id_block", "ingredients"}
)
"""What an IGVM file says in another way than a guest that a manifest declares, or not at all."""


def _unlike(old: LaunchSide, new: LaunchSide) -> frozenset[str]:
    """Return what cannot be compared because one side is an IGVM file, and the other a guest."""
    return _OF_FILES if old.of_file != new.of_file else frozenset()


_WORDS = {
    "inputs": "inputs",
    "profile": "profile",
    "order": "order",
    "cpu": "CPU model",
    "signature": "CPU signature",
    "cmdline": "command line",
    "kernel_hashes": "kernel hashes",
    "id_block": "ID block",
}
"""What a person is told that was not compared."""


def _said(lacks: frozenset[str]) -> list[str]:
    return [words for word, words in _WORDS.items() if word in lacks]


def _without_digests(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return changes less the digests, which are other ones for each target."""
    return tuple(
        change for change in changes if change.what not in ("nothing but the digest", "launch digest")
    )


def _roles(causes: Iterable[Cause]) -> set[str]:
    """Return the roles of inputs that targets say more of than the guest as a whole."""
    kinds: set[str] = set()
    for cause in causes:
        # Where a kernel is not measured, no document has it among its inputs.
        kinds |= {"kernel", "initrd"} if cause.title == KERNEL_HASHES else {cause.kind}
    return kinds


def _with_steps(
    causes: list[Cause], steps: Sequence[Cause], sides: Sides, general: Sequence[Cause]
) -> list[Cause]:
    """Return causes, with those that the launch updates alone tell: where a side does not say its inputs."""
    silent = any(side.of_file or "inputs" in side.lacks for side in sides)
    explained = _explained(causes)
    if not silent and (explained or _explained(general)):
        return causes
    if not explained:
        if not steps and not any(cause.level == DIGEST for cause in general):
            return [_UNKNOWN, *causes]
        return [*steps, *causes]
    if any(cause.kind == "profile" or cause.title in LAY_OUT for cause in causes):
        return causes
    # What VMSAs hold follows from settings, which both sides say.
    return [*(cause for cause in steps if cause.kind != "registers" and "vmsa" not in cause.title), *causes]


_UNKNOWN = Cause("unknown", "nothing that both sides say, but the digest", DIGEST, None, None)


def _explained(causes: Sequence[Cause]) -> bool:
    return any(cause.level == DIGEST and cause.kind != "igvm" for cause in causes)


def _parted(of: Sequence[Pair], sides: Sides, digests: tuple[bytes, bytes], *, traced: bool) -> _Parted:
    alike = tuple(of[1:])
    traces = [side.trace(label) for side, label in zip(sides, of[0], strict=True)] if traced else [None, None]
    old, new = traces
    if old is None or new is None:
        return _Parted(Launches(of[0], digests, alike=alike), [])
    launches = side_by_side(of[0], old, new)._replace(alike=alike)
    return _Parted(launches, causes_of_steps(launches))
