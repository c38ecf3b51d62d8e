"""What a format is: a name, what it needs, whether it applies to a guest, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sevbuild.attest.appraisal import AppraisalPolicy
from sevbuild.errors import Notice
from sevbuild.launch.mode import MODES, Mode
from sevbuild.manifest.formats import FORMATS

if TYPE_CHECKING:
    from sevbuild.reference.export.signing import SigningKey
    from sevbuild.reference.model import ReferenceValues, Value

__all__ = ["ALL_MODES", "RECOMPUTED_PROFILE", "ExportOptions", "Exporter", "values_of"]

ALL_MODES = MODES

RECOMPUTED_PROFILE = "qemu"
"""The profile whose launches verifiers of others recompute: they know the register state of no other host."""


class ExportOptions(NamedTuple):
    """What a publisher gives: values by key (`--extra`, `[publish.FORMAT]`), and a private key.

    `key` is for the formats that can be signed, `appraisal` for those that appraise. `prefix` stands before
    a key in `--extra`, where several formats are written.
    """

    extra: Mapping[str, Any] = {}
    key: SigningKey | None = None
    prefix: str = ""
    appraisal: AppraisalPolicy = AppraisalPolicy()

    def flag(self, key: str, value: str = "VALUE") -> str:
        """Return the flag that gives a value, as hints show it."""
        return f"--extra {self.prefix}{key}={value}"


class Exporter(Protocol):
    """A format that reference values can be written in. Nothing here reads a file or a clock.

    `files` are the names of all that it may write, now or in an earlier version: a release that is there is
    known as one by them. `modes` are those whose targets the format can express; `signs` tells whether a
    private key is of use. One that `appraises` says what a relying party accepts: it takes an appraisal
    policy, and is part of a release only where it is asked for.
    """

    name: str
    summary: str
    files: tuple[str, ...]
    modes: tuple[Mode, ...] = ("snp",)
    signs: bool = False
    appraises: bool = False

    def refusal(self, values: ReferenceValues) -> str | None:
        """Return why the format does not apply to this guest, else None."""
        if values_of(values, self.modes):
            return None
        return f"no target has mode {' or '.join(self.modes)}"

    def missing(self, _values: ReferenceValues, options: ExportOptions, /) -> list[str]:
        """Return the keys that the format needs for this guest and nobody gave."""
        return [key.name for key in FORMATS[self.name] if key.required and key.name not in options.extra]

    def notes(self, values: ReferenceValues, _options: ExportOptions, /) -> list[str]:
        """Return what a publisher should know of the files that `render` returns."""
        total, taken = len(values.values), len(values_of(values, self.modes))
        if taken == total:
            return []
        return [f"holds {taken} of {total} targets, those of mode {' or '.join(self.modes)}"]

    def warnings(self, _values: ReferenceValues, _options: ExportOptions, /) -> list[str]:
        """Return why those who read the files may refuse them, or compute another digest from them."""
        return []

    def notices(self, values: ReferenceValues, options: ExportOptions) -> list[Notice]:
        """Return all that a publisher is told of the files."""
        found = [Notice("note", self.name, text) for text in self.notes(values, options)]
        return found + [Notice("warning", self.name, text) for text in self.warnings(values, options)]

    def render(self, values: ReferenceValues, options: ExportOptions, /) -> dict[str, bytes]:
        """Return file contents by name; raises SevbuildError where the options do not suffice."""
        ...


def values_of(values: ReferenceValues, modes: Sequence[Mode]) -> list[Value]:
    """Return the values of targets with one of these modes, in their order."""
    return [value for value in values.values if value.mode in modes]
