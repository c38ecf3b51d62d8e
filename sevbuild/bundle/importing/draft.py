"""A manifest in the making: what a command says, and what it does not."""

from __future__ import annotations

import json
import os
from typing import Any

from sevbuild.errors import SevbuildError
from sevbuild.text import visible, visible_toml

__all__ = ["Draft", "manifest_text", "placeholder_free"]

_ORDER = ("guest", "launch", "firmware", "igvm", "svsm", "kernel", "initrd", "vcpu", "machine")
_PATHS = ("path", "vars-path", "uki", "cmdline-file")
_HEX = ("policy", "guest-features", "signature", "reset", "hash-table", "gpa", "size")
_GUEST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


class Draft:
    """Hold the tables of a manifest, and a note on every value that the command does not say.

    `notes` maps a dotted key to what should be known of it; "" is of the whole.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Any]] = {name: {} for name in _ORDER}
        self.notes: list[tuple[str, str]] = []

    def set(self, key: str, value: Any, note: str | None = None) -> None:
        """Give the value of `table.key`, with what should be known of it."""
        table, _, name = key.partition(".")
        self.tables[table][name] = value
        if note is not None:
            self.note(note, key)

    def note(self, note: str, key: str = "") -> None:
        """Say what the command does not, or what is not kept of it."""
        if (key, note) not in self.notes:
            self.notes.append((key, note))

    def name_guest(self, name: str) -> None:
        """Name the guest after what the command calls it, as far as a manifest's name can."""
        found = "".join(char if char in _GUEST else "-" for char in name.lower()).lstrip("._-")
        self.set("guest.name", found or "imported")


def placeholder_free(cmdline: str) -> str:
    """Return a command line as a manifest writes it: a brace stands for itself when written twice."""
    return cmdline.replace("{", "{{").replace("}", "}}")


def manifest_text(draft: Draft, *, source: str, directory: str = "") -> str:
    """Return the manifest as TOML, each note above its key; relative paths start from `directory`.

    Raises SevbuildError for a value that TOML, which is UTF-8, cannot hold.
    """
    lines = [f"# Imported from {visible(source)}."]
    lines += [f"# {visible(note)}" for key, note in draft.notes if not key]
    lines += ["schema = 1"]
    for name in _ORDER:
        table = draft.tables[name]
        if not table and not any(key.startswith(f"{name}.") for key, _ in draft.notes):
            continue
        lines += ["", f"[{name}]"]
        notes = [
            (key.partition(".")[2], note)
            for key, note in draft.notes
            if key.partition(".")[0] == name and key
        ]
        lines += [
            f"# {key}: {visible(note)}".replace("# : ", "# ") for key, note in notes if key not in table
        ]
        for key, value in table.items():
            lines += [f"# {visible(note)}" for noted, note in notes if noted == key]
            moved = _moved(value, directory) if key in _PATHS else value
            lines.append(f"{key} = {_toml(key, moved)}")
    return "\n".join(lines) + "\n"


def _moved(path: Any, directory: str) -> Any:
    if not directory or not isinstance(path, str) or os.path.isabs(path):
        return path
    return os.path.relpath(path, directory)


def _toml(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:#x}" if key in _HEX else str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml("", entry) for entry in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(name, entry)}" for name, entry in value.items()) + " }"
    text = str(value)
    if any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        hint = "put the bytes into a file and name it with cmdline-file"
        raise SevbuildError(f"{key or 'an argument'}: not UTF-8, so no manifest can hold it", hint=hint)
    return visible_toml(json.dumps(text, ensure_ascii=False))
