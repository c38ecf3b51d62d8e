"""vCPUs, CPU model and memory of a QEMU command line."""

from __future__ import annotations

from sevbuild.commands.importing.draft import Draft, number
from sevbuild.commands.importing.line import GUEST_OBJECTS, CommandLine
from sevbuild.commands.importing.unknown import is_known, reasons, spelled
from sevbuild.errors import SevbuildError
from sevbuild.manifest.machine_keys import MEMORY
from sevbuild.manifest.qemu_options import global_property
from sevbuild.manifest.vcpu_keys import MAX_VCPUS
from sevbuild.vcpu.models import CPU_MODELS, cpu_signature

__all__ = ["read_machine", "read_vcpus"]

_LEVELS = ("drawers", "books", "sockets", "dies", "clusters", "modules", "cores", "threads")
_TOTALS: tuple[str, ...] = ("cpus", "maxcpus")
_NUMBERS = ("family", "model", "stepping")
_OF_THE_HOST = ("host", "host-model", "host-passthrough", "max", "maximum")
"""CPUs that are another one on each host; those with a hyphen are libvirt's modes."""


def read_vcpus(line: CommandLine, draft: Draft) -> None:
    """Say how many vCPUs are launched, and which CPU they are."""
    smp = {name[4:]: text for name, text in line.machine.items() if name.startswith("smp.")}
    _count(smp, draft)
    for device in line.cpu_devices:
        draft.leave("vcpu.count", f"-device {device} adds a vCPU before the launch")
    _cpu(line, draft)


def _count(smp: dict[str, str], draft: Draft) -> None:
    key = "vcpu.count"
    open_ended = [spelled(name) for name in smp if not is_known(name)]
    # QEMU: cpus, else maxcpus, else the product of the levels (hw/core/machine-smp.c).
    deciding = [name for name in _TOTALS if name in smp][:1] or [name for name in _LEVELS if name in smp]
    unknown = [name for name in deciding if not is_known(smp[name])]
    if open_ended:
        draft.leave(key, f"-smp {open_ended[0]} may say any number")
        return
    if unknown:
        value = smp[unknown[0]]
        draft.leave(key, f"-smp {unknown[0]}={spelled(value)}: {reasons(value)}")
        return
    count = 1
    for name in deciding:
        count *= number(f"-smp {name}", smp[name])
    if not 1 <= count <= MAX_VCPUS:
        raise SevbuildError(f"-smp: a guest cannot have {count} vCPUs")
    draft.set(key, count, None if deciding else "QEMU's default")
    most = smp.get("maxcpus", "0")
    if not is_known(most) or number("-smp maxcpus", most) > count:
        draft.note("vCPUs that are hot-plugged later (maxcpus) are not measured", key)
    if any(name in smp for name in _LEVELS) and deciding[0] not in _LEVELS:
        draft.note("the topology given by -smp is not measured, and not kept", "vcpu")


def _cpu(line: CommandLine, draft: Draft) -> None:
    # The name comes first and has no key of its own, so `model` is always the number.
    name, *rest = (line.cpu or "").split(",")
    given: dict[str, str] = {}
    flags = []
    for part in rest:
        key, _, value = part.partition("=")
        if key in _NUMBERS:
            given[key] = value
        elif part:
            flags.append(spelled(part))
    why = _why_no_cpu(line, name, given, rest)
    if why is not None:
        draft.leave("vcpu.model", why)
    elif given:
        base = CPU_MODELS.get(name)
        own = {} if base is None else {"family": base.family, "model": base.model, "stepping": base.stepping}
        numbers = {key: number(f"-cpu {key}", value) for key, value in given.items()}
        draft.set("vcpu.signature", cpu_signature(**{**own, **numbers}))
    else:
        draft.set("vcpu.model", name)
    flags += [spelled(value) for value in line.cpu_globals if global_property(value)[1] not in _NUMBERS]
    if flags:
        draft.note(
            f"features of -cpu do not enter a launch digest and are not kept: {', '.join(flags)}", "vcpu"
        )


def _why_no_cpu(line: CommandLine, name: str, given: dict[str, str], rest: list[str]) -> str | None:
    """Return why the signature of the CPU is not known, None where it is."""
    doubts = [
        f"-global {spelled(value)} changes the CPU's numbers"
        for value in line.cpu_globals
        if global_property(value)[1] in _NUMBERS or not is_known("".join(global_property(value)))
    ]
    doubts += [
        f"-cpu {spelled(part)} may say any number: {reasons(part)}"
        for part in rest
        if not is_known(part.partition("=")[0])
    ]
    doubts += [
        f"-cpu {k}={spelled(text)}: {reasons(text)}" for k, text in given.items() if not is_known(text)
    ]
    if doubts:
        return doubts[0]
    if len(given) == len(_NUMBERS) or name in CPU_MODELS:
        return None
    ask = "give its model or its signature (CPUID Fn0000_0001_EAX)"
    if not is_known(name):
        return f"-cpu {spelled(name)}: {reasons(name)}"
    if name in _OF_THE_HOST:
        return f"-cpu {name} depends on the host; {ask}"
    return f"the CPU is {name or 'not given'}; {ask}"


def read_machine(line: CommandLine, draft: Draft) -> None:
    """Say memory, the host's numbers and the arguments that can be kept."""
    _size(line, draft)
    guest: dict[str, str] = line.object(*GUEST_OBJECTS) or {}
    for name in ("cbitpos", "reduced-phys-bits"):
        value = guest.get(name)
        if value is None:
            draft.note("the command line does not say; the default is used", f"machine.{name}")
        elif is_known(value):
            draft.set(f"machine.{name}", number(name, value))
        else:
            draft.leave(f"machine.{name}", f"{name}={spelled(value)}: {reasons(value)}")
    kind = line.machine.get("type", "q35")
    if kind != "q35":
        draft.note(f"machine type {kind} is not measured; launch commands say q35")
    if not line.accelerators:
        draft.note("the command line names no accelerator; launch commands say kvm")
    for name in line.accelerators:
        if name != "kvm":
            draft.note(f"-accel {name} is not kept; launch commands say kvm")
    _extra(line, draft)


def _size(line: CommandLine, draft: Draft) -> None:
    memory = {name[7:]: text for name, text in line.machine.items() if name.startswith("memory.")}
    size = memory.pop("size", None)
    if size is None:
        draft.note("the command line does not say how much", "machine.memory")
    elif is_known(size):
        draft.set("machine.memory", _memory(size))
    else:
        draft.leave("machine.memory", f"-m {spelled(size)}: {reasons(size)}")
    if memory:
        draft.note("memory that is hot-plugged later is not measured, and not kept", "machine.memory")


def _extra(line: CommandLine, draft: Draft) -> None:
    kept = [word for words in line.extra for word in words]
    if not line.doubts:
        if kept:
            draft.set("machine.extra-args", kept)
        return
    for doubt in line.doubts:
        draft.leave("machine.extra-args", doubt)
    if kept:
        import json

        draft.note(f"those that can be kept are {json.dumps(kept, ensure_ascii=False)}", "machine.extra-args")


def _memory(text: str) -> str:
    """Return a size in MiB or GiB; QEMU takes a bare number for MiB."""
    digits, unit = (text, "M") if text.isdigit() else (text[:-1], text[-1:].upper())
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19 and unit in tuple("BKMGT")):
        raise SevbuildError(f"-m {text}: not a size", hint=f"a manifest's is {MEMORY}")
    if unit in ("M", "G"):
        return f"{int(digits)}{unit}"
    size = int(digits) * {"B": 1, "K": 1 << 10, "T": 1 << 40}[unit]
    if size % (1 << 20):
        raise SevbuildError(f"-m {text}: not a multiple of 1 MiB")
    return f"{size >> 20}M"
