"""QEMU's command line as options, and its comma-separated values as properties."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from sevbuild.errors import SevbuildError

__all__ = ["properties", "qemu_pairs", "starts_qemu"]

_FLAGS = frozenset(
    [
        "S",
        "cpu-throttle",
        "daemonize",
        "enable-kvm",
        "full-screen",
        "gdb-none",
        "h",
        "help",
        "mem-prealloc",
        "no-acpi",
        "no-fd-bootchk",
        "no-hpet",
        "no-quit",
        "no-reboot",
        "no-shutdown",
        "no-user-config",
        "nodefaults",
        "nographic",
        "nouserconfig",
        "only-migratable",
        "old-param",
        "portrait",
        "preconfig",
        "s",
        "semihosting",
        "singlestep",
        "snapshot",
        "usb",
        "version",
        "win2k-hack",
        "xen-attach",
        "xen-domid-restrict",
    ]
)
"""Options without a value (QEMU 10.2 qemu-options.hx); every other takes one."""


def starts_qemu(words: Sequence[str]) -> int | None:
    """Return the index after QEMU's program name in a command's words, None where there is none."""
    for index, word in enumerate(words):
        name = os.path.basename(word)
        if name.startswith("-"):
            return None
        if name.startswith("qemu-system-") or name in ("qemu-kvm", "kvm"):
            return index + 1
    return None


def qemu_pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each option without its dashes, and its value; an argument that is no option as ("", argument)."""
    at = 0
    while at < len(arguments):
        word = arguments[at]
        at += 1
        if not word.startswith("-") or word == "-":
            yield "", word
            continue
        option = word[2:] if word.startswith("--") else word[1:]
        if option in _FLAGS:
            yield option, None
        elif at == len(arguments):
            raise SevbuildError(f"{word} is the last word: its value is missing")
        else:
            yield option, arguments[at]
            at += 1


def properties(value: str, implied: str) -> dict[str, str]:
    """Return the properties of `a=1,b=2` or of a JSON object; the first may go without its name, `implied`.

    `,,` is a comma; a name alone is `on`, as QEMU reads it. Nested objects of JSON are flattened with dots.
    """
    if value.lstrip().startswith("{"):
        try:
            document = json.loads(value)
        except (ValueError, RecursionError):
            raise SevbuildError(f"not valid JSON: {value[:120]!r}") from None
        return dict(_flattened(document)) if isinstance(document, dict) else {}
    found: dict[str, str] = {}
    if not value:
        return found
    for index, part in enumerate(value.replace(",,", "\0").split(",")):
        name, equals, text = part.partition("=")
        if not equals:
            name, text = (implied, part) if not index else (part, "on")
        if name:
            found[name] = text.replace("\0", ",")
    return found


def _flattened(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            yield f"{prefix}{name}", "on" if value else "off"
        elif isinstance(value, str | int):
            yield f"{prefix}{name}", str(value)
