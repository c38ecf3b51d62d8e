"""Tables of a launch: its steps with the digest after each, and its VMSAs by field."""

from __future__ import annotations

from collections.abc import Sequence

from sevbuild.picture.launches import Launch, Register, SaveArea, Target, Update
from sevbuild.picture.markup import code, escape, scrolled_table
from sevbuild.text import counted

__all__ = ["save_area_tables", "steps_table"]

_NAMED = 3
"""So many targets that end at a step are named there; the others are counted."""


def steps_table(launch: Launch, targets: Sequence[Target], caption: str) -> str:
    """Return the updates of a launch in order; where a target ends, the digest is said to be its."""
    ends: dict[int, list[Target]] = {}
    for target in targets:
        ends.setdefault(target.steps, []).append(target)
    rows = []
    if launch.seed:
        rows.append(
            f'<tr><td></td><th scope="row">the seed</th><td colspan="4">of the firmware</td>'
            f"<td>{code(launch.seed, 'hex')}</td></tr>\n"
        )
    for index, update in enumerate(launch.updates):
        rows.append(_row(index, update, ends.get(index + 1, [])))
    header = ("#", "Origin", "Type", "GPA", "Length", "Contents", "Launch digest after it")
    return scrolled_table(caption, header, rows, "steps")


def save_area_tables(areas: Sequence[SaveArea]) -> str:
    """Return the fields of VMSAs with the origin of each value, of all but the first what differs from it.

    The sources of the origins stand below, numbered. There is one VMSA at least.
    """
    first, *others = areas
    sources: dict[str, int] = {}
    parts = [
        _fields(
            f"{first.title}: fields that are not zero, or that are given a value", first.registers, sources
        )
    ]
    for area in others:
        differing = _differing(first, area)
        parts.append(_fields(f"{area.title}: as {first.title}, but for", differing, sources))
    listed = "".join(f"<li>{escape(source)}</li>\n" for source in sources)
    said = f'<div class="weak small"><p>Sources:</p>\n<ol>\n{listed}</ol></div>\n' if listed else ""
    return "".join(parts) + said


def _fields(caption: str, registers: Sequence[Register], sources: dict[str, int]) -> str:
    rows = []
    for register in registers:
        source = ""
        if register.source:
            source = f" [{sources.setdefault(register.source, len(sources) + 1)}]"
        rows.append(
            f'<tr><th scope="row">{escape(register.name)}</th><td>{code(register.value)}</td>'
            f"<td>{escape(register.origin)}{source}</td></tr>\n"
        )
    return scrolled_table(caption, ("Field", "Value", "From"), rows, "fields")


def _differing(first: SaveArea, area: SaveArea) -> list[Register]:
    """Return the fields that are not as in the first VMSA; one that only the first has is zero."""
    values = {register.name: register.value for register in first.registers}
    found = [register for register in area.registers if values.get(register.name) != register.value]
    names = {register.name for register in area.registers}
    return found + [Register(name, "zero", "nothing is said") for name in values if name not in names]


def _row(index: int, update: Update, ends: Sequence[Target]) -> str:
    contents = code(update.contents, "hex") if update.contents else "not measured"
    ended = "".join(f"<br>launch digest of {escape(text)}" for text in _endings(ends))
    of = ' class="end"' if ends else ""
    return (
        f"<tr{of}><td>{index}</td>"
        f'<th scope="row">{escape(update.origin)}</th><td>{escape(update.page_type)}</td>'
        f'<td class="fixed">{code(hex(update.gpa))}</td><td class="fixed">{code(hex(update.length))}</td>'
        f"<td>{contents}</td>"
        f"<td>{code(update.digest, 'hex')}{ended}</td></tr>\n"
    )


def _endings(targets: Sequence[Target]) -> list[str]:
    names = [target.label for target in targets[:_NAMED]]
    more = len(targets) - len(names)
    return [*names, counted(more, "more target")] if more else names
