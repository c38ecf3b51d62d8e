"""Hints for what people write who know the words of other tools, or forget a prefix or a quote."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from sevbuild.launch.policy import SevPolicy, SnpPolicy
from sevbuild.launch.profile import MODES
from sevbuild.manifest.document import suggest

__all__ = [
    "digits_hint",
    "json_hint",
    "key_hint",
    "kin_of",
    "mode_hint",
    "policy_hint",
    "toml_hint",
    "type_hint",
]

_FILE = dict.fromkeys(("file", "image", "filename"), "path") | dict.fromkeys(("digest", "hash"), "sha256")
_MEANT = {
    "": {
        **dict.fromkeys(("ovmf", "bios", "uefi", "edk2"), "firmware"),
        **dict.fromkeys(("cpu", "cpus", "smp", "vcpus"), "vcpu"),
        **dict.fromkeys(("initramfs", "ramdisk"), "initrd"),
        **dict.fromkeys(("vmlinuz", "bzimage", "linux"), "kernel"),
    },
    "guest": dict.fromkeys(("id", "title"), "name"),
    "launch": {
        **dict.fromkeys(("type", "technology"), "mode"),
        **dict.fromkeys(("hypervisor", "vmm", "host"), "profile"),
        **dict.fromkeys(("features", "sev-features", "vmsa-features"), "guest-features"),
        **dict.fromkeys(("guest-policy", "snp-policy", "sev-policy"), "policy"),
    },
    "firmware": {**_FILE, **dict.fromkeys(("ovmf", "bios", "code"), "path"), "snp-ovmf-hash": "seed"},
    "igvm": _FILE,
    "svsm": {**_FILE, "vars": "vars-path", "ovmf-vars": "vars-path"},
    "kernel": {
        **_FILE,
        **dict.fromkeys(("append", "args", "bootargs", "command-line", "kernel-cmdline"), "cmdline"),
        **dict.fromkeys(("kernel", "vmlinuz", "bzimage", "linux"), "path"),
        **dict.fromkeys(("append-file", "args-file"), "cmdline-file"),
        "efi": "uki",
        "kernel-hashes": "hashes",
    },
    "initrd": {**_FILE, **dict.fromkeys(("initramfs", "ramdisk"), "path")},
    "vcpu": {
        **dict.fromkeys(("cpu", "cpu-model", "type", "name", "vcpu-type"), "model"),
        **dict.fromkeys(("cores", "cpus", "number", "smp", "vcpus"), "count"),
        **dict.fromkeys(("cpu-signature", "sig", "vcpu-sig"), "signature"),
    },
    "machine": {
        **dict.fromkeys(("mem", "ram", "size"), "memory"),
        **dict.fromkeys(("args", "extra", "qemu-args"), "extra-args"),
        **dict.fromkeys(("c-bit", "cbit"), "cbitpos"),
    },
}
"""What QEMU, libvirt, sev-snp-measure and others call it, by table of the manifest."""

_LONGEST_QUOTED = 256
"""Bits of a number that is shown in a hint."""

_NUMBER = re.compile(r"[+-]?(0[xX][0-9a-fA-F_]+|[0-9][0-9_]*)")


def key_hint(table: str, key: str, known: Collection[str]) -> str | None:
    """Return which key may be meant by one that the table does not have, None where nothing is near."""
    word = _MEANT.get(table, {}).get(key.lower().replace("_", "-"))
    if word in known:
        return f"did you mean {word}?"
    near = suggest(key, known)
    return near or _other_table(table, key, known)


def _other_table(table: str, key: str, known: Collection[str]) -> str | None:
    """Return the one table of a manifest that has a key, if this is a table of a manifest at all."""
    from sevbuild.manifest.schema import manifest_schema

    tables = manifest_schema()["properties"]
    own = tables if not table else tables.get(table, {}).get("properties", {})
    if not own or not set(known) <= set(own):
        return None
    if table and key in tables:
        return f"there is a table for it, [{key}]"
    homes = [name for name, schema in tables.items() if key in schema.get("properties", {})]
    return f"it is a key of [{homes[0]}]" if len(homes) == 1 else None


def mode_hint(word: str) -> str | None:
    """Return which mode may be meant: `sev-snp`, `SNP` and `sev-spn` are all `snp`."""
    letters = re.sub("[^a-z]", "", word.lower()).removeprefix("amd")
    rest = letters.removeprefix("sev")
    for name in ("snp", "es"):
        if rest and sorted(rest) == sorted(name):
            return f"did you mean {'snp' if name == 'snp' else 'sev-es'}?"
    if letters == "sev":
        return "did you mean sev?"
    return suggest(word, MODES) or f"known: {', '.join(MODES)}"


def type_hint(value: Any, kind: type) -> str | None:
    """Return what to write for a value of another type, where quotes are all that is wrong."""
    if isinstance(value, str) and kind is int and _NUMBER.fullmatch(value):
        return f"a number has no quotes: {value}"
    if isinstance(value, str) and kind is bool and value in ("true", "false"):
        return f"it has no quotes: {value}"
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        # A float may have been written with more digits than it has, and Python refuses to print thousands.
        short = isinstance(value, int) and value.bit_length() <= _LONGEST_QUOTED
        return f'it goes in quotes: "{value}"' if short else "it goes in quotes"
    return None


def digits_hint(text: str) -> str | None:
    """Return what is to be left out of a string that should be hexadecimal digits alone."""
    prefix = re.match("(sha(256|384|512))[:-]", text.lower())
    return None if prefix is None else f"the hexadecimal digits alone, without {prefix[0]!r}"


def policy_hint(value: int, mode: str) -> str | None:
    """Return the policy that the decimal digits of a faulty one are in hexadecimal, if that is one."""
    meant = int(str(value), 16) if 0 <= value < 1 << 64 else 0
    policy = SnpPolicy(meant) if mode == "snp" else SevPolicy(meant)
    if value == meant or policy.fault(mode) is not None:
        return None
    return f"did you mean 0x{value}? without 0x it is {value:#x}"


def kin_of(raw: Collection[str]) -> tuple[str, str] | None:
    """Return which other document of ours has these keys, and what to do with it; None for what may be a manifest.

    No other has a guest, so one that does is a manifest.
    """
    if "sevbuild" in raw and "input" in raw:
        return "is a lock, not a manifest", "the manifest is beside it; --lock takes a lock"
    if "page-types" in raw or "extends" in raw:
        return "is a profile, not a manifest", 'a manifest names it: profile = "./its-name.toml"'
    return None


def toml_hint(text: str) -> str | None:
    """Return what a text may be that is not TOML, as a manifest is."""
    start = text.lstrip()[:2]
    if start[:1] == "{":
        return "it begins as JSON does; `verify`, `diff`, `export` and `publish` read reference values"
    if start[:1] == "<" or start == "#!":
        return "`sevbuild import` makes a manifest of a libvirt domain or of a script"
    return None


def json_hint(text: str) -> str | None:
    """Return what a text may be that is not JSON, as a document of ours is."""
    if text.startswith("\ufeff"):
        return "save it as UTF-8 without a byte-order mark"
    if any(line.startswith(("[guest]", "[launch]", "schema =")) for line in text.splitlines()):
        return (
            "it reads as a manifest: `sevbuild measure -f json` makes reference values of one, "
            "`sevbuild verify FILE --against MANIFEST` holds published ones to it"
        )
    return None
