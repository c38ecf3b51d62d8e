"""A manifest in the making: what a command says, and what it does not."""

from __future__ import annotations

import os
import re
from typing import Any

from sevbuild.commands.importing.unknown import is_known, reasons, spelled
from sevbuild.commands.launch import BASE_MODEL
from sevbuild.documents.toml_text import toml_line
from sevbuild.errors import SevbuildError
from sevbuild.manifest.incomplete import incomplete_line
from sevbuild.manifest.model import HEX_KEYS
from sevbuild.manifest.profiles import DEFAULT_PROFILE
from sevbuild.text import visible

__all__ = ["Draft", "manifest_text", "number"]

_ORDER = ("guest", "launch", "firmware", "igvm", "svsm", "kernel", "initrd", "vcpu", "machine")
_PATHS = ("path", "vars-path", "uki", "cmdline-file")
_GUEST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")
_STAND_INS: dict[str, Any] = {
    "firmware.path": "unknown",
    "firmware.seed": "00" * 48,
    "igvm.path": "unknown",
    "initrd.path": "unknown",
    "kernel.path": "unknown",
    "launch.mode": "snp",
    "launch.profile": DEFAULT_PROFILE,
    "svsm.path": "unknown",
    "svsm.vars-path": "unknown",
    "svsm.vars-size": 4096,
    "vcpu.count": 1,
    "vcpu.model": BASE_MODEL,
}
"""Values that could stand where a manifest must have one; what it may lack needs none."""

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")


class Draft:
    """The tables of a manifest, and a note on every value that the command does not say.

    `notes` maps a dotted key to what should be known of it; "" is of the whole. `unknown` maps a key without
    a value to the reasons; `stand_ins` to values that could be there, so that the rest can be checked.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Any]] = {name: {} for name in _ORDER}
        self.notes: list[tuple[str, str]] = []
        self.unknown: dict[str, list[str]] = {}
        self.stand_ins: dict[str, Any] = {}

    def set(self, key: str, value: Any, note: str | None = None) -> None:
        """Give the value of `table.key`, with what should be known of it; none if part of it is unknown."""
        table, _, name = key.partition(".")
        if isinstance(value, str) and not is_known(value):
            self.leave(key, f"{spelled(value)}: {reasons(value)}")
        else:
            self.tables[table][name] = value
        if note is not None:
            self.note(note, key)

    def leave(self, key: str, why: str) -> None:
        """Leave `table.key` without a value, and say why: the manifest is incomplete until it has one."""
        table, _, name = key.partition(".")
        self.tables[table].pop(name, None)
        if why not in self.unknown.setdefault(key, []):
            self.unknown[key].append(why)
        self.stand_ins.setdefault(key, _STAND_INS.get(key))

    def note(self, note: str, key: str = "") -> None:
        """Say what the command does not, or what is not kept of it."""
        note = spelled(note)
        if (key, note) not in self.notes:
            self.notes.append((key, note))

    def name_guest(self, name: str) -> None:
        """Name the guest after what the command calls it, as far as a manifest's name can."""
        found = "".join(char if char in _GUEST else "-" for char in spelled(name).lower()).lstrip("._-")
        self.set("guest.name", found or "imported")


def number(name: str, text: str) -> int:
    """Return a number as C reads it: decimal, hexadecimal after 0x, octal after 0.

    Raises SevbuildError for what is none, or not below 2^64.
    """
    if not _NUMBER.fullmatch(text) or len(text) > 40:
        raise SevbuildError(f"{name}: not a number: {spelled(text)[:80]!r}")
    octal = text[0] == "0" and text[1:].isdigit()
    try:
        found = int(text, 8 if octal else 0)
    except ValueError:
        raise SevbuildError(f"{name}: not a number: {text[:80]!r}") from None
    if found >= 1 << 64:
        raise SevbuildError(f"{name}: {text[:80]} is out of range")
    return found


def manifest_text(draft: Draft, *, source: str, directory: str = "", stand_ins: bool = False) -> str:
    """Return the manifest as TOML, each note above its key; relative paths start from `directory`.

    What is not known has a line that keeps the manifest incomplete, or with `stand_ins` a value that could be
    there. Raises SevbuildError for a value that TOML, which is UTF-8, cannot hold.
    """
    lines = [f"# Imported from {visible(source)}."]
    lines += [f"# {visible(note)}" for key, note in draft.notes if not key]
    lines += ["schema = 1"]
    for name in _ORDER:
        table = draft.tables[name]
        noted = [(key.partition(".")[2], note) for key, note in draft.notes if key.partition(".")[0] == name]
        left = [key.partition(".")[2] for key in draft.unknown if key.startswith(f"{name}.")]
        if not (table or noted or left):
            continue
        lines += ["", f"[{name}]"]
        for key, note in noted:
            if key not in table:
                lines.append(f"# {visible(note)}" if key in ("", *left) else f"# {key}: {visible(note)}")
        for key in left:
            value = draft.stand_ins[f"{name}.{key}"]
            if not stand_ins:
                lines += [incomplete_line(key, visible(why)) for why in draft.unknown[f"{name}.{key}"]]
            elif value is not None:
                lines.append(_line(key, value))
        for key, value in table.items():
            lines += [f"# {visible(note)}" for about, note in noted if about == key]
            lines.append(_line(key, _moved(value, directory) if key in _PATHS else value))
    return "\n".join(lines) + "\n"


def _moved(path: Any, directory: str) -> Any:
    if not isinstance(path, str) or os.path.isabs(path):
        return path
    moved = os.path.relpath(path, directory) if directory else path
    # A manifest refuses a path that looks like a shell's home folder.
    return f"./{moved}" if moved.startswith("~") else moved


def _line(key: str, value: Any) -> str:
    """Return `key = value`; raises SevbuildError for text that is not UTF-8."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and any(0xD800 <= ord(char) <= 0xDFFF for char in text):
            hint = "put the bytes into a file and name it with cmdline-file"
            named = "an argument" if isinstance(value, list) else key
            raise SevbuildError(f"{named}: not UTF-8, so no manifest can hold it", hint=hint)
    return toml_line(key, value, HEX_KEYS)
