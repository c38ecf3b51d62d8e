"""What a change is in a manifest: the lines to edit, with what stands there now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sevbuild.diagnose.answer import Line
from sevbuild.diagnose.change import AXES, Change, Edit
from sevbuild.diagnose.rules.cmdlines import counted_name
from sevbuild.documents.document import Document, parse_toml
from sevbuild.documents.toml_text import toml_line
from sevbuild.manifest.model import HEX_KEYS

__all__ = ["manifest_lines"]

_ABSENT: Any = object()
_LISTS = ("launch.mode", "launch.profile", "vcpu.model", "vcpu.signature", "vcpu.count")
"""Keys of which a list declares a target for each of its values."""


def manifest_lines(
    document: Document, changes: Sequence[Change], vcpus: int | None = None
) -> tuple[Line, ...]:
    """Return the lines of a manifest that launch a guest with these changes, and so many `vcpus` if given.

    A key of one value has another one afterwards; a list of several, which declares a target each, has it in
    addition. A pin is written where there is one.
    """
    edits: dict[str, str | None] = {}
    for change in sorted(changes, key=lambda change: AXES.index(change.axis)):
        # With the number of vCPUs a line that has it is another one by itself.
        if change.axis != "cmdline" or vcpus is None or change.value != counted_name(vcpus):
            edits.update({edit.key: edit.value for edit in change.edits})
    if vcpus is not None:
        edits["vcpu.count"] = str(vcpus)
    raw = parse_toml(document.text, document.source)
    found = (_line(document, raw, Edit(key, value)) for key, value in edits.items())
    # A text is edited from its top.
    return tuple(sorted(filter(None, found), key=lambda line: (line.file, line.line or 0)))


def _line(document: Document, raw: Mapping[str, Any], edit: Edit) -> Line | None:
    """Return the line of one edit, None where it changes nothing."""
    source, number, path = document.place(edit.key)
    if source == "--set":
        return Line("--set", None, path, None, edit.value)
    old = _value_at(raw, path)
    there = old is not _ABSENT
    if edit.value is None:
        return Line(source, number, path, _shown(edit.key, old), None) if there else None
    new = edit.value
    if not there:
        # Who pins nothing is not told to.
        return None if edit.key.endswith(".sha256") else Line(source, number, path, None, new)
    shown = _shown(edit.key, old)
    if edit.key == "vcpu.count" and isinstance(old, str):
        new = f"[{shown}, {new}]"
    elif isinstance(old, list) and edit.key in _LISTS and not new.startswith("["):
        new = _in_list(edit.key, shown, old, new)
    return None if shown == new else Line(source, number, path, shown, new)


def _in_list(key: str, shown: str, old: Sequence[Any], new: str) -> str:
    """Return a list with one value more where it lacks it, or with this one in place of its only one."""
    if len(old) < 2:
        return f"[{new}]"
    return shown if new in [_shown(key, value) for value in old] else f"{shown[:-1]}, {new}]"


def _value_at(raw: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a dotted path, `matrix[1].launch.mode` say, and a mark where nothing does."""
    at: Any = raw
    for part in _steps(path):
        try:
            at = at[part]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return at


def _steps(path: str) -> Iterable[str | int]:
    for part in path.split("."):
        name, bracket, index = part.partition("[")
        yield name
        if bracket and index.rstrip("]").isdecimal():
            yield int(index.rstrip("]"))


def _shown(key: str, value: Any) -> str:
    """Return a value as TOML, with the numbers in hexadecimal that people read so."""
    name = key.rpartition(".")[2]
    return toml_line(name, value, HEX_KEYS).partition(" = ")[2]
