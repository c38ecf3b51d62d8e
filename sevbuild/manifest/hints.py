"""Hints for what people write who know the words of other tools, or forget a prefix or a quote."""

from __future__ import annotations

import re
from collections.abc import Collection

from sevbuild.documents.document import suggest
from sevbuild.launch.mode import MODES, Mode
from sevbuild.launch.policy import policy_of

__all__ = [
    "key_hint",
    "kin_of",
    "mode_hint",
    "policy_hint",
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


def policy_hint(value: int, mode: Mode) -> str | None:
    """Return the policy that the decimal digits of a faulty one are in hexadecimal, if that is one."""
    meant = int(str(value), 16) if 0 <= value < 1 << 64 else 0
    policy = policy_of(mode, meant)
    if value == meant or policy.fault(mode) is not None:
        return None
    return f"did you mean 0x{value}? without 0x it is {value:#x}"


def kin_of(raw: Collection[str]) -> tuple[str, str] | None:
    """Return which other document of ours has these keys, and what to do with it; None for a likely manifest.

    No other has a guest, so one that does is a manifest.
    """
    if "sevbuild" in raw and "input" in raw:
        return "is a lock, not a manifest", "the manifest is beside it; --lock takes a lock"
    if "page-types" in raw or "extends" in raw:
        return "is a profile, not a manifest", 'a manifest names it: profile = "./its-name.toml"'
    return None
