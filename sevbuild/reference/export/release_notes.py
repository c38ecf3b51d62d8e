"""What release notes say in any format: digests in groups, command lines, inputs, how to verify."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sevbuild.documents.json_text import hex_text
from sevbuild.launch.label import any_vcpus
from sevbuild.picture.digests import Digest, DigestGroup
from sevbuild.reference.model import Input, ReferenceValues, Value
from sevbuild.text import counted, visible

__all__ = [
    "ELSEWHERE",
    "CommandLine",
    "NamedInput",
    "Notation",
    "ReleaseNotes",
    "command_lines",
    "release_notes",
]

ELSEWHERE = "reference-values.json has them"
"""Where to look for what is left out."""


_UNFOLDED = 16
"""So many targets are shown at a glance; where there are more, each group unfolds."""

_LINES_SHOWN = 8
_LINE_SHOWN = 4096  # bytes
_NAME_SHOWN = 200

# Short lines: they are read on a telephone too.
_CHECK_FILES = "sha256sum --check SHA256SUMS"
_VERIFY_GUEST = (_CHECK_FILES, "sevbuild verify reference-values.json \\", "  --against guest.toml")
_VERIFY_FILE = (_CHECK_FILES, "sevbuild measure guest.igvm \\", "  --expect reference-values.json")
_ABOUT_GUEST = (
    "The first command checks the files of this release, the second measures the guest again from its inputs, "
    "which guest.toml names."
)
_ABOUT_FILE = (
    "The first command checks the files of this release, the second measures the IGVM file again, called "
    "guest.igvm here."
)
_SNP = "An SNP guest is one of these if MEASUREMENT and POLICY in its attestation report are as given here."
_SEV = "An SEV or SEV-ES host reports an HMAC over the launch digest, with the key of the owner's session."


class CommandLine(NamedTuple):
    """A measured command line, None where it is too long to be shown, and whose it is, empty for all."""

    line: str | None
    of: str


class NamedInput(NamedTuple):
    """What an input is called, and its digest with the algorithm."""

    name: str
    digest: str


class ReleaseNotes(NamedTuple):
    """The parts of release notes.

    The facts of a group of targets say also what speaks against their booting. `more_lines` counts the
    command lines that are left out.
    """

    title: str
    verify: tuple[str, ...]
    about_verifying: str
    groups: tuple[DigestGroup, ...]
    folded: bool
    cmdlines: tuple[CommandLine, ...]
    more_lines: int
    inputs: tuple[NamedInput, ...]


def release_notes(values: ReferenceValues) -> ReleaseNotes:
    """Return what there is to say of reference values."""
    snp = any(value.mode == "snp" for value in values.values)
    others = any(value.mode != "snp" for value in values.values)
    about = " ".join([_ABOUT_FILE if values.of_file else _ABOUT_GUEST, *[_SNP] * snp, *[_SEV] * others])
    cmdlines = _cmdlines(values)
    return ReleaseNotes(
        title=_short(values.title()),
        verify=_VERIFY_FILE if values.of_file else _VERIFY_GUEST,
        about_verifying=about,
        groups=_groups(values),
        folded=len(values.values) > _UNFOLDED,
        cmdlines=cmdlines[:_LINES_SHOWN],
        more_lines=max(len(cmdlines) - _LINES_SHOWN, 0),
        inputs=tuple(_input(entry) for entry in values.inputs),
    )


class Notation(NamedTuple):
    """How a format writes a heading, a paragraph of plain text, and a line of code."""

    heading: Callable[[str], str]
    paragraph: Callable[[str], str]
    code: Callable[[str], str]


def command_lines(notes: ReleaseNotes, write: Notation) -> str:
    """Return the section of the command lines, empty where none is measured."""
    if not notes.cmdlines:
        return ""
    count = len(notes.cmdlines) + notes.more_lines
    parts = [write.heading(f"Command line{'s' * (count != 1)}")]
    for entry in notes.cmdlines:
        parts += [write.paragraph(f"{entry.of}:")] if entry.of else []
        too_long = f"Too long to be shown: {ELSEWHERE}."
        parts.append(write.paragraph(too_long) if entry.line is None else write.code(entry.line))
    if notes.more_lines:
        parts.append(write.paragraph(f"And {notes.more_lines} more: {ELSEWHERE}."))
    return "".join(parts)


def _groups(values: ReferenceValues) -> tuple[DigestGroup, ...]:
    found: dict[tuple[str, str, str], list[Value]] = {}
    for value in values.values:
        title = any_vcpus(value.label)
        facts = f"policy {value.policy:#x}, guest features {hex_text(value.guest_features) or 'none'}"
        facts += "".join(f"; {doubt.kind.replace('-', ' ')}: {doubt.reason}" for doubt in value.doubts or ())
        found.setdefault((title, _releases(value), facts), []).append(value)
    groups = []
    for (title, releases, facts), alike in found.items():
        name = title if len(alike) > 1 else alike[0].label
        rows = [Digest(counted(value.vcpus, "vCPU"), value.digest.hex(), value.label) for value in alike]
        groups.append(DigestGroup(_short(name) + releases, facts, rows))
    return tuple(groups)


def _releases(value: Value) -> str:
    """Return the releases that a target of a document of several belongs to, as part of its title."""
    spans = ", ".join(span.text(" to ") for span in value.releases)
    return f" ({_short(spans)})" if spans else ""


def _cmdlines(values: ReferenceValues) -> tuple[CommandLine, ...]:
    found: dict[str, list[str]] = {}
    for value in values.values:
        if value.cmdline is not None:
            found.setdefault(value.cmdline, []).append(value.label)
    lines = []
    for line, labels in found.items():
        more = len(labels) - 1
        of = f"{_short(labels[0])} and {counted(more, 'more target')}" if more else _short(labels[0])
        alone = len(found) == 1 and len(labels) == len(values.values)
        lines.append(
            CommandLine(line if len(visible(line).encode()) <= _LINE_SHOWN else None, "" if alone else of)
        )
    return tuple(lines)


def _input(entry: Input) -> NamedInput:
    name = " ".join(filter(None, (entry.role, _short(entry.name))))
    size = "" if entry.size is None else f", {entry.size} bytes"
    return NamedInput(name + size, f"{entry.algorithm}:{entry.digest.hex()}")


def _short(text: str) -> str:
    return text if len(text) <= _NAME_SHOWN else f"{text[: _NAME_SHOWN - 3]}..."
