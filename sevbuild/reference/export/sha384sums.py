"""`sha384sums`: `DIGEST  LABEL` lines, the shape of sha384sum."""

from __future__ import annotations

from sevbuild.reference.export.interface import Exporter, ExportOptions, values_of
from sevbuild.reference.model import ReferenceValues
from sevbuild.text import visible

__all__ = ["EXPORTER"]


class Sha384Sums(Exporter):
    """A line a target; SEV and SEV-ES digests are SHA-256 and have no place here."""

    name = "sha384sums"
    summary = "SNP launch digests as `DIGEST  LABEL` lines"
    files = ("launch-digests.sha384",)

    def render(self, values: ReferenceValues, _options: ExportOptions) -> dict[str, bytes]:
        """Return `launch-digests.sha384`."""
        lines = [f"{value.digest.hex()}  {visible(value.label)}\n" for value in values_of(values, self.modes)]
        return {"launch-digests.sha384": "".join(lines).encode("utf-8", "backslashreplace")}


EXPORTER = Sha384Sums()
