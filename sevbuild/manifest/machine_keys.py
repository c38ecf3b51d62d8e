"""Decode the `[machine]` table: what launch commands say beside what is measured."""

from __future__ import annotations

import re

from sevbuild.documents.document import Table, check_type
from sevbuild.manifest.model import Machine

__all__ = ["MACHINE_KEYS", "MEMORY", "decode_machine"]

MEMORY = "^[1-9][0-9]{0,8}[MG]$"
"""A size as QEMU's `-m` and memory backends take it, in MiB or GiB."""

MACHINE_KEYS = ("memory", "cbitpos", "reduced-phys-bits", "extra-args")


def decode_machine(top: Table) -> Machine:
    """Return the machine, with the defaults for what the manifest does not give."""
    table = top.table("machine")
    if table is None:
        return Machine()
    memory = table.string("memory")
    if memory is not None and not re.fullmatch(MEMORY, memory):
        table.fault("memory", f'must be a size in MiB or GiB such as "2G", got {memory!r}')
    cbitpos = table.integer("cbitpos", 0, 63)
    reduced = table.integer("reduced-phys-bits", 1, 63)
    defaults = Machine()
    machine = Machine(
        memory=memory or defaults.memory,
        cbitpos=defaults.cbitpos if cbitpos is None else cbitpos,
        reduced_phys_bits=defaults.reduced_phys_bits if reduced is None else reduced,
        extra_args=_extra(table),
        given=tuple(key for key in MACHINE_KEYS if table.has(key)),
    )
    table.finish()
    return machine


def _extra(table: Table) -> tuple[str, ...]:
    document, path = table.document, table.at("extra-args")
    values = table.any("extra-args")
    if values is None or check_type(document, path, values, list) is None:
        return ()
    found: list[str] = []
    for index, value in enumerate(values):
        at = f"{path}[{index}]"
        if check_type(document, at, value, str) is None:
            continue
        if "\0" in value:
            document.fault(at, "must not contain a NUL: no argument can contain one")
        found.append(value)
    if not found or len(found) < len(values):
        return ()
    from sevbuild.manifest.extra_args import EXTRA_HINT, refused_arguments

    for index, complaint in refused_arguments(found):
        document.fault(f"{path}[{index}]", complaint, EXTRA_HINT)
    return tuple(found)
