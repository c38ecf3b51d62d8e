"""The label of a target: `mode/profile/CPU/vcpusN`, and last the name of one of several command lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sevbuild.errors import SevbuildError
from sevbuild.launch.mode import Mode

__all__ = [
    "LABEL_KEYS",
    "NO_CPU",
    "any_vcpus",
    "cmdline_name",
    "fold_labels",
    "label_parts",
    "target_label",
    "unfold_label",
]

LABEL_KEYS = ("mode", "profile", "cpu", "vcpus")
"""What each part of a label tells; a fifth has no key of its own."""

NO_CPU = "-"
"""The CPU of a launch whose vCPUs an IGVM file describes."""

_VCPUS = "vcpus"
_RUN = rf"(.*/{_VCPUS})([0-9]{{1,5}})(?:-([0-9]{{1,5}}))?(/.*)?"


def target_label(mode: Mode, profile: str, cpu: str, vcpus: int, cmdline: str | None = None) -> str:
    """Return the label of a target; `cmdline` names its command line where there are several."""
    label = f"{mode}/{profile}/{cpu}/{_VCPUS}{vcpus}"
    return f"{label}/{cmdline}" if cmdline else label


def cmdline_name(label: str, own: str) -> str | None:
    """Return the name of the command line in a label that begins as `own` does, empty where it has none.

    None where it begins otherwise, or ends in `/`.
    """
    if label == own:
        return ""
    start, _, name = label.partition(f"{own}/")
    return None if start or not name else name


def label_parts(label: str) -> dict[str, str]:
    """Return what a label tells, by the keys of LABEL_KEYS; those of the parts that it has."""
    told = dict(zip(LABEL_KEYS, label.split("/"), strict=False))
    if "vcpus" in told:
        told["vcpus"] = told["vcpus"].removeprefix(_VCPUS)
    return told


def any_vcpus(label: str) -> str:
    """Return a label with N in place of the vCPU count, as targets have in common that differ in it alone."""
    return re.sub(rf"/{_VCPUS}[0-9]+(?=/|$)", f"/{_VCPUS}N", label)


def fold_labels(labels: Iterable[str]) -> list[str]:
    """Return labels with runs of vCPU counts as `vcpus1-64`; raises SevbuildError for what is no label."""
    runs: dict[tuple[str, str], list[list[int]]] = {}
    for label in labels:
        match = re.fullmatch(_RUN, label, re.DOTALL)
        if match is None:
            raise SevbuildError(f"{label!r} is not the label of a target")
        count, spans = int(match[2]), runs.setdefault((match[1], match[4] or ""), [])
        if spans and spans[-1][1] == count - 1:
            spans[-1][1] = count
        else:
            spans.append([count, count])
    return [
        f"{start}{first}{f'-{last}' if last > first else ''}{end}"
        for (start, end), spans in runs.items()
        for first, last in spans
    ]


def unfold_label(pattern: str, most: int) -> Sequence[str]:
    """Return the labels that `vcpus1-64` stands for, none for what is no label, or has over `most` vCPUs."""
    match = re.fullmatch(_RUN, pattern, re.DOTALL)
    if match is None:
        return ()
    first = int(match[2])
    last = int(match[3] or first)
    if not 1 <= first <= last <= most:
        return ()
    return [f"{match[1]}{count}{match[4] or ''}" for count in range(first, last + 1)]
