"""Targets picked by their labels: a whole label, a glob, or whole parts of one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from typing import Protocol, TypeVar

from sevbuild.errors import SevbuildError

__all__ = ["LabelPatterns", "patterns_for", "select", "select_labels"]


class Labelled(Protocol):
    """Something with a label: a target, or what became of one."""

    @property
    def label(self) -> str:
        """Return the label."""


Item = TypeVar("Item", bound=Labelled)

_GLOB = frozenset("*?[")


class LabelPatterns:
    """Patterns that pick labels, as `--target` takes them.

    A pattern that is one of the labels in `exact` picks that label alone. Any other picks the labels that it
    matches as a glob (`*` matches `/` too), and those that have it as whole parts that follow one another:
    `vcpus2`, `qemu/EPYC-*`. Without patterns every label is picked.
    """

    def __init__(self, patterns: Sequence[str], exact: Collection[str]) -> None:
        self.patterns = tuple(dict.fromkeys(patterns))
        self._exact = exact

    def picks(self, label: str) -> bool:
        """Tell whether any pattern picks a label."""
        return not self.patterns or any(self.matches(pattern, label) for pattern in self.patterns)

    def matches(self, pattern: str, label: str) -> bool:
        """Tell whether one pattern picks a label."""
        if pattern == label or pattern in self._exact:
            return pattern == label
        words, parts = pattern.split("/"), label.split("/")
        runs = [parts[start : start + len(words)] for start in range(len(parts) - len(words) + 1)]
        if not _GLOB & set(pattern):
            return words in runs
        # Most runs name whole labels: what makes a glob of a pattern is not loaded for them.
        from fnmatch import fnmatchcase

        return fnmatchcase(label, pattern) or any(all(map(fnmatchcase, run, words)) for run in runs)


def select_labels(patterns: Sequence[str], labels: Iterable[str]) -> list[str]:
    """Return the labels that these patterns pick, each once, in the order of the patterns; all for none.

    Raises SevbuildError for a pattern that picks none.
    """
    known = dict.fromkeys(labels)
    if not patterns:
        return list(known)
    chosen = LabelPatterns(patterns, known.keys())
    found: dict[str, None] = {}
    for pattern in chosen.patterns:
        picked = [pattern] if pattern in known else [name for name in known if chosen.matches(pattern, name)]
        if not picked:
            raise SevbuildError(f"no target matches {pattern!r}", hint=_hint(pattern, list(known)))
        found.update(dict.fromkeys(picked))
    return list(found)


def select(patterns: Sequence[str], items: Iterable[Item]) -> list[Item]:
    """Return what these patterns pick by its label, as `select_labels` does; no two items have one label."""
    by_label = {item.label: item for item in items}
    return [by_label[label] for label in select_labels(patterns, by_label)]


def patterns_for(labels: Collection[str], among: Collection[str]) -> list[str]:
    """Return the shortest patterns that pick these of all labels, the labels themselves for want of one."""
    wanted = set(labels)
    split = [label.split("/") for label in labels]
    common = [parts[0] if len(set(parts)) == 1 else "*" for parts in zip(*split, strict=False)]
    candidates = [part for part in common if part != "*"]
    candidates += ["/".join(common[start:end]) for start, end in combinations(range(len(common) + 1), 2)]
    for pattern in candidates:
        if pattern in among or pattern.startswith("*/") or set(pattern) <= {"*", "/"}:
            continue
        chosen = LabelPatterns([pattern], among)
        if {label for label in among if chosen.picks(label)} == wanted:
            return [pattern]
    return list(labels)


def _hint(pattern: str, labels: Sequence[str]) -> str | None:
    from sevbuild.documents.document import suggest

    if not labels:
        return None
    words = labels if "/" in pattern else sorted({part for label in labels for part in label.split("/")})
    return suggest(pattern, words) or f"there are {len(labels)}, such as {labels[0]}"
