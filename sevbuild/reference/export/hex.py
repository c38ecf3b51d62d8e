"""`hex`: bare launch digests, one a line."""

from __future__ import annotations

from sevbuild.reference.export.interface import ALL_MODES, Exporter, ExportOptions
from sevbuild.reference.export.text import unique
from sevbuild.reference.model import ReferenceValues

__all__ = ["EXPORTER"]


class Hex(Exporter):
    """Every launch digest once, in the order of the targets."""

    name = "hex"
    summary = "bare launch digests, one a line, for shells"
    files = ("launch-digests.hex",)
    modes = ALL_MODES

    def render(self, values: ReferenceValues, _options: ExportOptions) -> dict[str, bytes]:
        """Return `launch-digests.hex`."""
        lines = unique(value.digest.hex() for value in values.values)
        return {"launch-digests.hex": "".join(f"{line}\n" for line in lines).encode()}


EXPORTER = Hex()
