"""Find a format by name, and write reference values in it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sevbuild.documents.document import suggest
from sevbuild.errors import SevbuildError
from sevbuild.manifest.formats import FORMATS
from sevbuild.reference.export.interface import Exporter, ExportOptions

if TYPE_CHECKING:
    from sevbuild.reference.model import ReferenceValues

__all__ = ["appraising_formats", "exporter", "render", "signed_formats"]


def exporter(name: str) -> Exporter:
    """Return the exporter of a format; raises SevbuildError for an unknown name."""
    if name not in FORMATS:
        hint = suggest(name, FORMATS) or "`sevbuild export --list` names them"
        raise SevbuildError(f"unknown format {name!r}", hint=hint)
    # Only what is asked for is imported: some formats bring libraries.
    found: Exporter = import_module(f"sevbuild.reference.export.{name.replace('-', '_')}").EXPORTER
    return found


def signed_formats() -> list[str]:
    """Return the names of the formats that can be signed."""
    return [name for name in FORMATS if exporter(name).signs]


def appraising_formats() -> list[str]:
    """Return the names of the formats that say what a relying party accepts."""
    return [name for name in FORMATS if exporter(name).appraises]


def render(name: str, values: ReferenceValues, options: ExportOptions) -> dict[str, bytes]:
    """Return the files of one format by name.

    Raises SevbuildError where the format does not apply to the guest, and where it needs what nobody gave:
    then the message names every missing key.
    """
    found = exporter(name)
    reason = found.refusal(values)
    if reason is not None:
        raise SevbuildError(f"format {name} does not apply: {reason}")
    missing = found.missing(values, options)
    if missing:
        hint = f"give {options.flag(missing[0])}, or the key under [publish.{name}]; nothing is invented"
        raise SevbuildError(
            f"format {name} needs what the guest does not determine: {', '.join(missing)}", hint=hint
        )
    if options.key is not None and not found.signs:
        raise SevbuildError(f"format {name} cannot be signed", hint=f"{' and '.join(signed_formats())} can")
    return found.render(values, options)
