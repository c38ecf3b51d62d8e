"""QEMU's command line as options, and its comma-separated values as properties."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sevbuild.errors import SevbuildError

__all__ = ["FLAGS", "global_property", "machine_properties", "properties", "qemu_pairs"]

FLAGS = frozenset(
    [
        "S",
        "async-teardown",
        "audio-help",
        "daemonize",
        "enable-kvm",
        "enable-sync-profile",
        "full-screen",
        "h",
        "help",
        "jitdump",
        "mem-prealloc",
        "no-acpi",
        "no-fd-bootchk",
        "no-hpet",
        "no-reboot",
        "no-shutdown",
        "no-user-config",
        "nodefaults",
        "nographic",
        "old-param",
        "only-migratable",
        "perfmap",
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
"""Options without a value (qemu-options.hx of QEMU 7.2 and 10.2); every other takes one."""

_PART = re.compile(r"((?:[^,]|,,)*)(,|\Z)", re.DOTALL)
_GLOBAL = re.compile(r"([^.=]{1,63})\.([^=]{1,63})=(.*)", re.DOTALL)


def qemu_pairs(arguments: Sequence[str]) -> Iterator[tuple[int, str, str | None]]:
    """Yield index, option without its dashes, and value; an argument that is no option as ("", argument).

    Raises SevbuildError where the last option lacks its value.
    """
    at = 0
    while at < len(arguments):
        start, word = at, arguments[at]
        at += 1
        if not word.startswith("-") or word in ("-", "--"):
            yield start, "", word
            continue
        option = word[2:] if word.startswith("--") else word[1:]
        if option in FLAGS:
            yield start, option, None
        elif at == len(arguments):
            raise SevbuildError(f"{word} is the last argument: its value is missing")
        else:
            yield start, option, arguments[at]
            at += 1


def properties(value: str, implied: str = "") -> dict[str, str]:
    """Return the properties of `a=1,b=2` or of a JSON object; the first may go without its name, `implied`.

    `,,` is a comma; a name alone is `on`; the last of two with one name counts, all as QEMU reads them.
    Nested objects of JSON are flattened with dots. Raises SevbuildError for what begins as JSON and is none.
    """
    if value.startswith("{"):
        return _of_json(value)
    found: dict[str, str] = {}
    for index, part in enumerate(_parts(value)):
        end = re.match("[^=,]*", part)
        stop = 0 if end is None else end.end()
        if part[stop : stop + 1] == "=":
            name, text = part[:stop], part[stop + 1 :]
        else:
            name, text = (implied, part) if not index and implied else (part, "on")
        if name:
            found[name] = text.replace(",,", ",")
    return found


def machine_properties(value: str) -> dict[str, str]:
    """Return the properties that `-machine` sets; QEMU takes `_` in their names for `-` (system/vl.c)."""
    return {name.replace("_", "-"): text for name, text in properties(value, "type").items()}


def global_property(value: str) -> tuple[str, str]:
    """Return driver and property that `-global` sets: `DRIVER.PROPERTY=VALUE`, or each with its name."""
    short = _GLOBAL.fullmatch(value)
    if short is not None:
        return short[1], short[2]
    found = properties(value)
    return found.get("driver", ""), found.get("property", "")


def _parts(value: str) -> Iterator[str]:
    at = 0
    while value and (match := _PART.match(value, at)) is not None:
        yield match[1]
        at = match.end()
        if not match[2]:
            return


def _of_json(value: str) -> dict[str, str]:
    import json

    try:
        document = json.loads(value, strict=False)
    except (ValueError, RecursionError):
        raise SevbuildError(f"not valid JSON: {value[:120]!r}") from None
    return dict(_flattened(document)) if isinstance(document, dict) else {}


def _flattened(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            entries = {str(index): entry for index, entry in enumerate(value)}
            yield from _flattened(entries, f"{prefix}{name}.")
        elif isinstance(value, bool):
            yield f"{prefix}{name}", "on" if value else "off"
        elif value is not None:
            yield f"{prefix}{name}", str(value)
