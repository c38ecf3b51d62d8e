"""The VMSAs that KVM prints to the kernel log, held to those of a launch plan, field by field.

With the debug messages of sev_es_sync_vmsa on (Linux arch/x86/kvm/svm/sev.c) each launch prints them: a
heading, then rows of 16 bytes without offsets, for one vCPU after the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.launch.compare import RegisterChange, register_changes
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import chunks
from sevbuild.text import counted
from sevbuild.vcpu.save_area import FIELDS, VMSA_SIZE

__all__ = [
    "DumpComparison",
    "DumpedVmsa",
    "VcpuDifference",
    "compare_dump",
    "dump_document",
    "dump_lines",
    "read_dump",
]

_HEADING = "Virtual Machine Save Area (VMSA):"
_ROW_BYTES = 16
_SHORT_ROW = 8
"""The bytes of the last row where it is not full."""
_SIZES = (1648, 1032)
"""The size of struct sev_es_save_area (Linux arch/x86/include/asm/svm.h): today, and before the fields of the
FPU were added to it in 2022. What follows in the page is zero.
"""

# What dmesg, journalctl and syslog put before a message ends with one of these, or is a time of ISO 8601.
_PREFIX = r"(?:.*[\]:>]|\S*\d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:?\d\d)?)?[ \t]*"
_ROW = re.compile(rf"{_PREFIX}((?:[0-9a-f]{{2}} ){{0,15}}[0-9a-f]{{2}})[ \t]*")
_ENABLE = "`echo 'func sev_es_sync_vmsa +p' > /sys/kernel/debug/dynamic_debug/control` has KVM print them"


class DumpedVmsa(NamedTuple):
    """The VMSA of one vCPU as the kernel printed it: the line of its heading, and its first bytes."""

    line: int
    data: bytes


class VcpuDifference(NamedTuple):
    """What a vCPU was started with otherwise: `first` of each change is the plan's, `second` the dump's."""

    vcpu: int
    line: int
    changes: tuple[RegisterChange, ...]


class DumpComparison(NamedTuple):
    """What a dump has of a plan's VMSAs: how many each has, and where those that both have differ.

    `compared` is how many bytes of each VMSA the dump has, `not_compared` names the fields that lie behind
    these and are set in the plan.
    """

    source: str
    vcpus: int
    dumps: int
    compared: int
    differences: tuple[VcpuDifference, ...]
    not_compared: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Tell whether the host started as many vCPUs, each with these registers, as far as was printed."""
        return self.vcpus == self.dumps and not self.differences


def compare_dump(text: str, plan: LaunchPlan, source: str) -> DumpComparison:
    """Return how the VMSAs in a kernel log differ from those of a plan, which are in the same order.

    Raises SevbuildError for what is no dump, naming `source` and line, and for a plan without VMSAs.
    """
    if not plan.vmsas:
        raise SevbuildError(f"{source}: a launch in mode {plan.mode} has no VMSA to compare with")
    dumps = read_dump(text, source)
    compared = len(dumps[0].data)
    differences, behind = list[VcpuDifference](), dict[str, None]()
    for vcpu, update in enumerate(plan.vmsas[: len(dumps)]):
        page = b"" if update.data is None else b"".join(chunks(update.data))
        line, data = dumps[vcpu]
        behind.update(dict.fromkeys(_set_behind(page, compared)))
        rest = page[compared:] if compared < max(_SIZES) else bytes(VMSA_SIZE - compared)
        changes = register_changes(page, data + rest)
        if changes:
            differences.append(VcpuDifference(vcpu, line, tuple(changes)))
    counts = len(plan.vmsas), len(dumps)
    return DumpComparison(source, *counts, compared, tuple(differences), tuple(behind))


def read_dump(text: str, source: str) -> list[DumpedVmsa]:
    """Return the VMSAs in a kernel log, in the order in which they were printed; at least one.

    Raises SevbuildError for a log without any, and for a dump that is not whole: none of its rows says where
    it belongs, so one that is missing shifts all that follow.
    """
    lines = [line.rstrip("\r") for line in text.split("\n")]
    headings = [number for number, line in enumerate(lines) if _HEADING in line]
    if not headings:
        raise SevbuildError(f"{source}: no VMSA that KVM printed is in it", hint=_ENABLE)
    found = [
        DumpedVmsa(start + 1, _dumped(lines, start, end, source))
        for start, end in zip(headings, [*headings[1:], len(lines)], strict=True)
    ]
    sizes = {len(dump.data) for dump in found}
    if len(sizes) > 1:
        other = next(dump for dump in found if len(dump.data) != len(found[0].data))
        message = (
            f"{source}:{other.line}: {len(other.data)} bytes, and {len(found[0].data)} in the dump before"
        )
        raise SevbuildError(message, hint="they are of two kernels: give the log of one launch")
    return found


def dump_lines(comparison: DumpComparison) -> list[str]:
    """Return what a person reads of a comparison; the first line says whether there is a difference."""
    dumps, vcpus = comparison.dumps, comparison.vcpus
    lines = [_verdict(comparison)]
    if dumps != vcpus:
        lines.append(
            f"the log has {counted(dumps, 'VMSA')}, the plan {counted(vcpus, 'vCPU')}: "
            "another vCPU count, or the log of more or less than one launch"
        )
    for difference in comparison.differences:
        lines.append(f"vCPU {difference.vcpu} ({comparison.source}:{difference.line})")
        lines += [f"  {_change_line(change)}" for change in difference.changes]
    if comparison.not_compared:
        lines.append(
            f"not compared, for the kernel prints {comparison.compared} bytes: "
            f"{', '.join(comparison.not_compared)}"
        )
    return lines


def dump_document(comparison: DumpComparison) -> dict[str, Any]:
    """Return the same as JSON; numbers are hex strings, the bytes of a field their digits."""
    return {
        "source": comparison.source,
        "equal": comparison.equal,
        "vcpus": {"guest": comparison.vcpus, "dump": comparison.dumps},
        "compared_bytes": comparison.compared,
        "not_compared": list(comparison.not_compared),
        "differences": [
            {
                "vcpu": difference.vcpu,
                "line": difference.line,
                "registers": [
                    {"name": change.name, "guest": _shown(change.first), "dump": _shown(change.second)}
                    for change in difference.changes
                ],
            }
            for difference in comparison.differences
        ],
    }


def _dumped(lines: Sequence[str], start: int, end: int, source: str) -> bytes:
    """Return the bytes of the rows below a heading; what stands behind them is no row."""
    rows = list(takewhile(bool, map(_row, lines[start + 1 : end])))
    data = b"".join(rows)
    whole = len(data) in _SIZES and all(len(row) == _ROW_BYTES for row in rows[:-1])
    if whole:
        return data
    behind = start + 1 + len(rows)
    if any(len(_row(line)) >= _SHORT_ROW for line in lines[behind:end]):
        message = (
            f"{source}:{behind + 1}: a line between the rows of the VMSA that begins in line {start + 1}"
        )
        raise SevbuildError(message, hint="give the rows as the kernel printed them, without other messages")
    had = f"{counted(len(rows), 'row')} with {counted(len(data), 'byte')}"
    message = f"{source}:{start + 1}: {had}; KVM prints a VMSA in 103 rows, 1648 bytes (1032 before 2022)"
    hint = "a row that was lost shifts all that follow: a larger log_buf_len keeps them"
    raise SevbuildError(message, hint=hint)


def _row(line: str) -> bytes:
    """Return the bytes of a row, none for any other line."""
    match = _ROW.fullmatch(line)
    return b"" if match is None else bytes.fromhex(match[1])


def _set_behind(page: bytes, compared: int) -> list[str]:
    """Return the fields that are set in a page and lie behind what a dump has of it."""
    return [
        field.name
        for field in FIELDS
        if field.offset >= compared and any(page[field.offset : field.offset + field.size])
    ]


def _verdict(comparison: DumpComparison) -> str:
    if comparison.equal:
        return f"{comparison.source}: the host started each vCPU with the registers of the plan"
    if not comparison.differences:
        return f"{comparison.source}: another number of vCPUs, each with the registers of the plan"
    names = dict.fromkeys(
        change.name for difference in comparison.differences for change in difference.changes
    )
    where = ", ".join(str(difference.vcpu) for difference in comparison.differences[:8])
    more = ", ..." if len(comparison.differences) > 8 else ""
    return f"{comparison.source}: registers differ: {', '.join(names)} (vCPU {where}{more})"


def _change_line(change: RegisterChange) -> str:
    return f"{change.name}: the plan has {_shown(change.first)}, the host {_shown(change.second)}"


def _shown(value: int | bytes) -> str:
    return value.hex() or "0x0" if isinstance(value, bytes) else f"{value:#x}"
