"""`hex`: bare launch digests, one a line."""

from __future__ import annotations

from sevbuild.reference.export.interface import ALL_MODES, Document, Exporter, ExportOptions, values_of
from sevbuild.reference.export.text import unique

__all__ = ["EXPORTER"]


class Hex(Exporter):
    """Every launch digest once, in the order of the targets."""

    name = "hex"
    summary = "bare launch digests, one a line, for shells"
    files = ("launch-digests.hex",)
    modes = ALL_MODES

    def render(self, document: Document, options: ExportOptions) -> dict[str, bytes]:
        """Return `launch-digests.hex`."""
        del options
        lines = unique(value["digest"] for value in values_of(document, self.modes))
        return {"launch-digests.hex": "".join(f"{line}\n" for line in lines).encode()}


EXPORTER = Hex()
