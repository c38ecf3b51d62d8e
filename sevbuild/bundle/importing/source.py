"""Tell what was handed over for import, and have it read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from sevbuild.bundle.importing.draft import Draft, manifest_text
from sevbuild.bundle.importing.qemu import read_qemu
from sevbuild.bundle.importing.words import shell_commands
from sevbuild.errors import SevbuildError
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.targets import expand
from sevbuild.text import decode_text

__all__ = ["SOURCE_LIMIT", "import_data", "import_words", "write_draft"]

SOURCE_LIMIT = 16 << 20

_MEASURE = ("sev-snp-measure", "sev-snp-measure.py")


def starts_qemu(words: Sequence[str]) -> int | None:
    """Return the index after QEMU's program name in a command's words, None where there is none."""
    for index, word in enumerate(words):
        name = os.path.basename(word)
        if name.startswith("-"):
            return None
        if name.startswith("qemu-system-") or name in ("qemu-kvm", "kvm"):
            return index + 1
    return None


def import_words(words: Sequence[str]) -> Draft:
    """Return the manifest of the guest that a command's words launch or measure."""
    for index, word in enumerate(words):
        if os.path.basename(word) in _MEASURE:
            from sevbuild.bundle.importing.peer import read_measure_command

            return read_measure_command(words[index + 1 :])
    start = starts_qemu(words)
    if start is not None:
        return read_qemu(words[start:])
    if words and words[0].startswith("-"):
        return read_qemu(words)
    hint = "such as qemu-system-x86_64 ... or sev-snp-measure ..."
    raise SevbuildError("the command is neither QEMU's nor sev-snp-measure's", hint=hint)


def import_data(data: bytes) -> Draft:
    """Return the manifest of the guest in a document, by its contents.

    A libvirt domain; a JSON array of arguments; words that end in NUL, as /proc/PID/cmdline has them; or
    a shell text, of which the first command of QEMU or sev-snp-measure counts.
    """
    start = data.lstrip()[:1]
    if start == b"<" or data.startswith((b"\xef\xbb\xbf<", b"\xff\xfe", b"\xfe\xff")):
        return _domain(data)
    if b"\0" in data:
        return import_words(decode_text(data).removesuffix("\0").split("\0"))
    if start == b"[" and (words := _json_words(data)) is not None:
        return import_words(words)
    commands, unknown = shell_commands(decode_text(data))
    for command in commands:
        words = command[1:] if command[0] == "exec" and len(command) > 1 else command
        if (
            starts_qemu(words) is not None
            or words[0].startswith("-")
            or any(os.path.basename(word) in _MEASURE for word in words)
        ):
            draft = import_words(words)
            for expansion in dict.fromkeys(unknown):
                if any(expansion in word for word in words):
                    draft.note(f"UNKNOWN: {expansion} is left as the shell text writes it")
            return draft
    raise SevbuildError("there is no command of QEMU or sev-snp-measure, and no libvirt domain")


def write_draft(draft: Draft, *, source: str, directory: str = "") -> str:
    """Return the manifest of a draft; raises SevbuildError where it could not be launched."""
    text = manifest_text(draft, source=source, directory=directory)
    expand(decode_manifest(text, "the imported manifest", directory=directory or "."))
    return text


def _domain(data: bytes) -> Draft:
    from sevbuild.bundle.importing.libvirt import domain_arguments

    arguments, notes = domain_arguments(data)
    draft = read_qemu(arguments)
    for note in notes:
        draft.note(note)
    return draft


def _json_words(data: bytes) -> list[str] | None:
    try:
        words = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return (
        words if isinstance(words, list) and words and all(isinstance(word, str) for word in words) else None
    )
