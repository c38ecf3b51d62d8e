"""Tell what was handed over for import, and have it read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence

from sevbuild.commands.importing.draft import Draft, manifest_text
from sevbuild.commands.importing.qemu import read_qemu
from sevbuild.commands.importing.script import Run, runs
from sevbuild.commands.importing.unknown import is_known, reasons, spelled
from sevbuild.errors import SevbuildError
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.targets import expand
from sevbuild.text import decode_text

__all__ = ["SOURCE_LIMIT", "import_data", "import_words", "write_draft"]

SOURCE_LIMIT = 16 << 20

_MEASURE = ("sev-snp-measure", "sev-snp-measure.py")
_WRAPPERS = frozenset(
    [
        "builtin", "chroot", "chrt", "command", "doas", "env", "exec", "ionice", "nice", "nohup", "numactl", "prlimit",
        "python", "python3", "runuser", "setsid", "stdbuf", "strace", "su", "sudo", "systemd-run", "taskset", "timeout",
    ]
)  # fmt: skip
"""Programs that run the command among their arguments."""

_ASKED = frozenset(["-h", "-help", "--help", "-version", "--version", "help", "?"])
"""Words by which a command asks what QEMU has, and launches nothing."""

_TELLING = frozenset(["bios", "kernel", "machine", "M", "object"])

Reader = Callable[[Sequence[str]], Draft]


def import_words(words: Sequence[str]) -> Draft:
    """Return the manifest of the guest that a command's words launch or measure."""
    if any("\0" in word for word in words):
        raise SevbuildError("an argument contains a NUL, which no program can be given")
    found = _program(words, range(len(words))) if words else None
    if found is None:
        hint = "such as qemu-system-x86_64 ... or sev-snp-measure ..."
        raise SevbuildError("the command is neither QEMU nor sev-snp-measure", hint=hint)
    reader, start = found
    return reader(words[start:])


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
    return _script(decode_text(data))


def write_draft(draft: Draft, *, source: str, directory: str = "") -> str:
    """Return the manifest of a draft; raises SevbuildError where it could not be launched."""
    whole = manifest_text(draft, source=source, directory=directory, stand_ins=True)
    expand(decode_manifest(whole, "the imported manifest", directory=directory or "."))
    return manifest_text(draft, source=source, directory=directory)


def _program(words: Sequence[str], places: Sequence[int]) -> tuple[Reader, int] | None:
    """Return who reads a command, and the index after the program's name; it stands at one of `places`."""
    if words[0].startswith("-"):
        return read_qemu, 0
    for at in places:
        name = os.path.basename(words[at])
        if name in _MEASURE:
            from sevbuild.commands.importing.peer import read_measure_command

            return read_measure_command, at + 1
        if name.startswith("qemu-system-") or name == "qemu-kvm" or (name == "kvm" and not at):
            return read_qemu, at + 1
    return None


def _script(text: str) -> Draft:
    """Return the manifest of the first command of a shell text that launches or measures a guest."""
    found = [(run, *program) for run in runs(text) if (program := _program_of(run)) is not None]
    if not found:
        raise SevbuildError("there is no command of QEMU or sev-snp-measure, and no libvirt domain")
    if all(not start for *_, start in found):
        # Options without a program, a line each or all on one: they are one command's.
        words = [word for run, *_ in found for word in run.words]
        found = [(found[0][0]._replace(words=words), read_qemu, 0)]
    (run, reader, start), *others = found
    try:
        draft = reader(run.words[start:])
    except SevbuildError as error:
        raise error.reworded(spelled).within(f"line {run.line}") from None
    for note in run.notes:
        draft.note(note)
    if start and not is_known(run.words[start - 1]):
        name = run.words[start - 1]
        draft.note(f"the program is {spelled(name)}, taken for QEMU: {reasons(name)}")
    if others:
        lines = ", ".join(str(other.line) for other, *_ in others)
        draft.note(f"the command of line {run.line} is used; there are more, on line {lines}")
    return draft


def _program_of(run: Run) -> tuple[Reader, int] | None:
    words = run.words
    if any(word in _ASKED or word.endswith(",help") for word in words):
        return None
    wrapped = os.path.basename(words[0]) in _WRAPPERS
    found = _program(words, range(len(words)) if wrapped else [0])
    options = {word.lstrip("-") for word in words[1:] if word.startswith("-")}
    if found is None and not is_known(words[0]) and _TELLING & options:
        return read_qemu, 1
    return found


def _domain(data: bytes) -> Draft:
    from sevbuild.commands.importing.libvirt import domain_arguments

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
