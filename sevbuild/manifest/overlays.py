"""The tables of a manifest as each entry of its `[[matrix]]` has them, with what `--set` puts over both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sevbuild.documents.document import Document, Table, check_type, suggest
from sevbuild.manifest.inputs import INPUT_TABLES

if TYPE_CHECKING:
    from sevbuild.manifest.settings import Step

__all__ = ["TABLES", "Setting", "apply_settings", "overlays", "read_paths"]

TABLES = ("launch", *INPUT_TABLES, "variables", "vcpu", "machine", "id-block")
"""The tables that an entry of the matrix can override."""


class Setting(NamedTuple):
    """One override: its path as written and as steps, and the value."""

    path: str
    steps: tuple[Step, ...]
    value: Any


def read_paths(settings: Mapping[str, Any]) -> list[Setting]:
    """Return settings by dotted path with their steps; raises SevbuildError for what is no path."""
    if not settings:
        # As most runs have it, which need not know how paths are read.
        return []
    from sevbuild.manifest.settings import path_steps

    return [Setting(path, path_steps(path), value) for path, value in settings.items()]


def apply_settings(
    raw: Mapping[str, Any], settings: Sequence[Setting]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a manifest's tables with all settings in them, and where the values stand that are theirs."""
    tables: Any = raw
    aliases: dict[str, str] = {}
    if not settings:
        return tables, aliases
    from sevbuild.manifest.settings import decoded_path, overridden

    for path, steps, value in settings:
        tables = overridden(tables, steps, value, path)
        aliases[decoded_path(steps)] = f"--set {path}"
    return tables, aliases


def overlays(
    document: Document, top: Table, raw: Mapping[str, Any], settings: Iterable[Setting]
) -> list[tuple[Document, Mapping[str, Any]]]:
    """Return the tables of each `[[matrix]]` entry over the manifest's own, or those alone.

    A setting overrides a key in every entry, one of `matrix[N]` in that entry.
    """
    entries = top.any("matrix")
    if entries is None:
        return [(document, raw)]
    if check_type(document, "matrix", entries, list) is None or not entries:
        document.fault("matrix", "must be a non-empty list of tables: write [[matrix]]")
        return []
    of_all = [setting for setting in settings if setting.steps[0] in TABLES]
    of_one: dict[int, list[Setting]] = {}
    for path, steps, value in settings:
        if steps[0] == "matrix" and len(steps) > 2 and isinstance(steps[1], int):
            of_one.setdefault(steps[1], []).append(Setting(path, steps[2:], value))
    found: list[tuple[Document, Mapping[str, Any]]] = []
    for index, entry in enumerate(entries):
        path = f"matrix[{index}]"
        if check_type(document, path, entry, dict) is None:
            continue
        tables, places = _laid_over(document, path, entry, raw)
        for setting in (*of_all, *of_one.get(index, ())):
            tables = _put(tables, places, setting)
        found.append((document.aliased(places), tables))
    return found


def _laid_over(
    document: Document, path: str, entry: Mapping[str, Any], raw: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the tables of one entry over the manifest's own, and where its values stand."""
    tables = dict(raw)
    places: dict[str, str] = {}
    for key, value in entry.items():
        at = f"{path}.{key}"
        if key not in TABLES:
            document.fault(at, "is not a table that an entry can override", suggest(key, TABLES))
        elif check_type(document, at, value, dict) is not None:
            below = tables.get(key)
            tables[key] = {**below, **value} if isinstance(below, dict) else value
            places.update({f"{key}.{name}": f"{at}.{name}" for name in value})
            places.update({key: at} if below is None else {})
    return tables, places


def _put(tables: dict[str, Any], places: dict[str, str], setting: Setting) -> dict[str, Any]:
    """Return tables with a setting in them, whose place then stands for all that is below it."""
    from sevbuild.manifest.settings import decoded_path, overridden

    at = decoded_path(setting.steps)
    for path in [path for path in places if path.startswith((f"{at}.", f"{at}["))]:
        del places[path]
    places[at] = f"--set {setting.path}"
    found: dict[str, Any] = overridden(tables, setting.steps, setting.value, setting.path)
    return found
