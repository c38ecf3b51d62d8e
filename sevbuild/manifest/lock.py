"""The lock (`guest.lock`): what a manifest's names led to when it was written, as a TOML document."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from sevbuild.documents.document import U32, Document, Table, check_hex, check_integer, check_type, parse_toml
from sevbuild.documents.toml_text import toml_key, toml_string
from sevbuild.errors import Fault, FaultsError
from sevbuild.launch.label import fold_labels, unfold_label
from sevbuild.manifest.inputs import ROLES
from sevbuild.manifest.targets import MAX_TARGETS
from sevbuild.manifest.vcpu_keys import MAX_VCPUS
from sevbuild.text import utf8_text
from sevbuild.vcpu.models import signature_text

__all__ = ["LOCK_SCHEMA", "Lock", "LockedInput", "decode_lock", "encode_lock"]

LOCK_SCHEMA = 1
"""The version of this document's shape; a reader refuses any other."""

_HEAD = "# Written by `sevbuild lock`, which also brings it up to date. Keep it beside the manifest.\n"
_LARGEST = (1 << 63) - 1
_key, _string = partial(toml_key, numbered=True), partial(toml_string, numbered=True)


class LockedInput(NamedTuple):
    """One input: its role, its name as the manifest writes it, and what it was.

    `part` is that of an image whose parts are launched. `digest` is a SHA-256, or the seed (48 bytes) of
    a firmware known by that alone; None where only the size enters a launch. `size` is None where only the
    digest is known.
    """

    role: str
    name: str
    part: str
    size: int | None
    digest: bytes | None


class Lock(NamedTuple):
    """One lock. `cmdlines` are by target label, `profiles` have a SHA-256, `cpus` a signature."""

    written_by: str
    inputs: tuple[LockedInput, ...]
    profiles: Mapping[str, bytes]
    cpus: Mapping[str, int]
    cmdlines: Mapping[str, bytes]


def encode_lock(lock: Lock) -> str:
    """Return the document: the same text for the same lock, LF at line ends."""
    parts = [
        _HEAD,
        f"schema = {LOCK_SCHEMA}\n",
        f"sevbuild = {_string(lock.written_by)}\n",
    ]
    order = {role: index for index, role in enumerate(ROLES)}
    for entry in sorted(lock.inputs, key=lambda e: (order[e.role], e.name, e.part)):
        lines = [f"\n[[input]]\nrole = {_string(entry.role)}\n"]
        lines.append(f"name = {_string(entry.name)}\n" if entry.name else "")
        lines.append(f"part = {_string(entry.part)}\n" if entry.part else "")
        lines.append("" if entry.size is None else f"size = {entry.size}\n")
        if entry.digest is not None:
            lines.append(f'{"sha256" if len(entry.digest) == 32 else "seed"} = "{entry.digest.hex()}"\n')
        parts += lines
    parts.append("\n[profiles]\n")
    parts += [f'{_key(name)} = "{digest.hex()}"\n' for name, digest in sorted(lock.profiles.items())]
    parts.append("\n[cpus]\n")
    parts += [
        f"{_key(label)} = {signature_text(signature)}\n" for label, signature in sorted(lock.cpus.items())
    ]
    labels: dict[bytes, list[str]] = {}
    for label, cmdline in lock.cmdlines.items():
        labels.setdefault(cmdline, []).append(label)
    for cmdline, of in labels.items():
        parts.append(f"\n[[cmdline]]\n{_cmdline(cmdline)}\ntargets = [\n")
        parts += [f"  {_string(label)},\n" for label in fold_labels(of)]
        parts.append("]\n")
    return "".join(parts)


def decode_lock(text: str, source: str) -> Lock:
    """Return the lock in `text`; raises FaultsError with everything that is wrong with it."""
    document = Document(source, text)
    top = Table(document, parse_toml(text, source))
    schema = top.any("schema")
    if schema != LOCK_SCHEMA or isinstance(schema, bool):
        message = f"unsupported schema version {schema!r:.40}; this release reads version {LOCK_SCHEMA}"
        hint = "`sevbuild lock` of this release rewrites it"
        raise FaultsError([Fault(*document.place("schema"), message, hint)])
    written_by = top.string("sevbuild", required=True) or ""
    inputs = [_input(table) for table in _tables(top, "input")]
    profiles = top.section("profiles")
    digests = {key: check_hex(document, profiles.at(key), profiles.any(key), 32) for key in profiles.names()}
    cpus = top.section("cpus")
    signatures = {key: check_integer(document, cpus.at(key), cpus.any(key), 0, U32) for key in cpus.names()}
    cmdlines: dict[str, bytes] = {}
    for table in _tables(top, "cmdline"):
        _read_cmdline(table, cmdlines)
    top.finish()
    document.raise_faults()
    return Lock(
        written_by,
        tuple(inputs),
        {key: digest for key, digest in digests.items() if digest is not None},
        {key: signature for key, signature in signatures.items() if signature is not None},
        cmdlines,
    )


def _tables(top: Table, key: str) -> list[Table]:
    """Return the tables of an array of tables, none where it is absent."""
    document, value = top.document, top.any(key)
    if value is None or check_type(document, key, value, list) is None:
        return []
    tables = []
    for index, entry in enumerate(value):
        path = f"{key}[{index}]"
        if check_type(document, path, entry, dict) is not None:
            tables.append(Table(document, entry, path))
    return tables


def _input(table: Table) -> LockedInput:
    role = table.choice("role", ROLES, required=True) or ""
    name, part = table.string("name") or "", table.string("part") or ""
    size = table.integer("size", 0, _LARGEST)
    digest = None
    for key, length in (("sha256", 32), ("seed", 48)):
        if table.has(key):
            digest = check_hex(table.document, table.at(key), table.any(key), length)
    if table.has("sha256") and table.has("seed"):
        table.fault("seed", "cannot be combined with sha256")
    if not any(table.has(key) for key in ("size", "sha256", "seed")):
        table.fault("sha256", "missing: a size, a sha256 or a seed")
    table.finish()
    return LockedInput(role, name, part, size, digest)


def _read_cmdline(table: Table, found: dict[str, bytes]) -> None:
    document = table.document
    text = table.string("text")
    if table.has("text") == table.has("hex"):
        table.fault("text", "give either text or hex")
    cmdline = (text or "").encode("utf-8")
    if table.has("hex"):
        digits = table.string("hex") or ""
        if len(digits) % 2 or not set(digits) <= set("0123456789abcdef"):
            table.fault("hex", "must be pairs of hexadecimal digits")
        else:
            cmdline = bytes.fromhex(digits)
    patterns = table.items("targets", lambda path, value: check_type(document, path, value, str))
    if patterns is None:
        table.fault("targets", "missing: the labels of targets")
    for index, pattern in enumerate(patterns or ()):
        labels = unfold_label(pattern, MAX_VCPUS)
        if not labels or any(label in found for label in labels):
            what = "is listed twice" if labels else "is not a label of targets"
            document.fault(f"{table.at('targets')}[{index}]", f"{pattern[:200]!r} {what}")
        if len(found) > MAX_TARGETS:
            table.fault("targets", f"there are more than {MAX_TARGETS}")
            break
        found.update(dict.fromkeys(labels, cmdline))
    table.finish()


def _cmdline(cmdline: bytes) -> str:
    text = utf8_text(cmdline)
    return f'hex = "{cmdline.hex()}"' if text is None else f"text = {_string(text)}"
