"""What a comparison is narrowed to: what narrows a run narrows both sides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.launch.label import LABEL_KEYS, label_parts
from sevbuild.manifest.selection import LabelPatterns

if TYPE_CHECKING:
    from sevbuild.reference.model import ReferenceValues

__all__ = ["Selection", "narrow_labels", "narrow_values"]


class Selection(NamedTuple):
    """What narrows a run: patterns of labels, and by key of a value the texts it may have.

    `flags` are the flags that said so, for messages. A selection without either takes everything.
    """

    patterns: tuple[str, ...] = ()
    wanted: Mapping[str, Collection[str]] = {}
    flags: str = ""

    @property
    def everything(self) -> bool:
        """Tell whether nothing is left out."""
        return not self.patterns and not self.wanted


def narrow_values(
    values: ReferenceValues, selection: Selection, measured: Iterable[str] = ()
) -> ReferenceValues:
    """Return the part of a document that a selection takes, with the ingredients and inputs it needs.

    `measured` are the labels of the other side: a pattern that is one of them stands for it alone. Inputs
    that no ingredients of the document name are kept. The document may be left without any value.
    """
    if selection.everything:
        return values
    from sevbuild.reference.document import value_texts
    from sevbuild.reference.input_changes import attributed

    labels = LabelPatterns(selection.patterns, {*measured, *(value.label for value in values.values)})
    found = []
    for value in values.values:
        if not labels.picks(value.label):
            continue
        said = value_texts(value) if selection.wanted else {}
        if all(said.get(key, "null") in texts for key, texts in selection.wanted.items()):
            found.append(value)
    taken = values.only(tuple(found))
    return taken._replace(inputs=tuple(attributed(values, taken.ingredients)))


def narrow_labels(
    labels: Collection[str], selection: Selection, measured: Iterable[str] = (), *, source: str
) -> list[str]:
    """Return the labels that a selection takes; raises SevbuildError for what no label tells."""
    for key in selection.wanted:
        if key not in (*LABEL_KEYS, "label"):
            message = f"{source}: a list of labels does not say {key}, by which the run is narrowed"
            raise SevbuildError(message, hint="a document of `measure --format json` does")
    patterns = LabelPatterns(selection.patterns, {*measured, *labels})
    return [label for label in labels if patterns.picks(label) and _has(label, selection.wanted)]


def _has(label: str, wanted: Mapping[str, Collection[str]]) -> bool:
    # What `recompute` prints after a label is the releases where it holds.
    told = {**label_parts(label.partition("  (")[0]), "label": label}
    return all(told.get(key) in texts for key, texts in wanted.items())
