"""From a QEMU command line to a manifest."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

from sevbuild.bundle.importing.draft import Draft, placeholder_free
from sevbuild.bundle.launch import BASE_MODEL
from sevbuild.bundle.qemu import CONSOLE
from sevbuild.errors import SevbuildError
from sevbuild.launch.policy import DEFAULT_POLICIES, SevPolicy
from sevbuild.manifest.extra_args import refused_arguments
from sevbuild.manifest.machine_keys import MEMORY
from sevbuild.manifest.profiles import load_profile, profile_names
from sevbuild.manifest.qemu_options import properties, qemu_pairs
from sevbuild.manifest.vcpu_keys import MAX_VCPUS
from sevbuild.vcpu.models import CPU_MODELS, cpu_signature

__all__ = ["read_qemu"]

_OWN_PROPERTIES = ("qom-type", "id", "cbitpos", "reduced-phys-bits", "policy", "kernel-hashes", "host-data")
_DROPPED_PROPERTIES = {
    "dh-cert-file": "the session of a guest owner",
    "session-file": "the session of a guest owner",
    "handle": "the handle of a guest on the host",
    "id-block": "the ID block",
    "id-auth": "the ID authentication",
    "author-key-enabled": "the author key",
    "sev-device": "the host's device",
    "legacy-vm-type": "",
}
_SMP = ("drawers", "books", "sockets", "dies", "clusters", "modules", "cores", "threads")


class _Line:
    """Collect the options of a command line that a manifest has keys for, and the rest."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.last: dict[str, str] = {}
        self.machine: dict[str, str] = {}
        self.objects: list[dict[str, str]] = []
        self.blocks: dict[str, dict[str, str]] = {}
        self.flash: dict[str, str] = {}
        self.extra: list[list[str]] = []
        for option, value in qemu_pairs(arguments):
            self._take(option, value)

    def _take(self, option: str, value: str | None) -> None:
        if value is None:
            if option not in ("enable-kvm", *(flag[1:] for flag in CONSOLE)):
                self.extra.append([f"-{option}"])
        elif option in ("machine", "M"):
            self.machine.update(properties(value, "type"))
        elif option in ("cpu", "smp", "m", "bios", "kernel", "initrd", "append", "name", "accel", "dtb"):
            self.last[option] = value
        elif option == "pflash":
            self.flash.setdefault(str(len(self.flash)), value)
        elif option == "object" and self._is_own(properties(value, "qom-type")):
            self.objects.append(properties(value, "qom-type"))
        elif option == "drive" and properties(value, "file").get("if") == "pflash":
            drive = properties(value, "file")
            self.flash[drive.get("unit", str(len(self.flash)))] = drive.get("file", "")
        else:
            if option == "blockdev":
                block = properties(value, "driver")
                self.blocks[block.get("node-name", "")] = block
            self.extra.append([f"-{option}", value] if option else [value])

    @staticmethod
    def _is_own(entry: dict[str, str]) -> bool:
        kind = entry.get("qom-type", "")
        return kind in ("sev-guest", "sev-snp-guest", "igvm-cfg") or kind.startswith("memory-backend-")

    def object(self, *kinds: str) -> dict[str, str] | None:
        """Return the object of one of these kinds that the machine uses, else the first of them."""
        found = [entry for entry in self.objects if entry.get("qom-type") in kinds]
        used = (self.machine.get("confidential-guest-support"), self.machine.get("igvm-cfg"))
        return next((entry for entry in found if entry.get("id") in used), found[0] if found else None)

    def firmware(self) -> str | None:
        """Return the file of the firmware: `-bios`, flash unit 0, or the node that `pflash0` names."""
        if "bios" in self.last:
            return self.last["bios"]
        if "0" in self.flash:
            return self.flash["0"]
        node = self.machine.get("pflash0")
        for _ in range(8):
            block = self.blocks.get(node or "", {})
            node = block.get("file")
            path = block.get("filename") or block.get("file.filename")
            if path is not None:
                return path
        return None


def read_qemu(arguments: Sequence[str]) -> Draft:
    """Return the manifest of the guest that QEMU is started with; `arguments` follow the program's name.

    What the command line does not say is noted. Raises SevbuildError for a value that cannot be read.
    """
    line, draft = _Line(arguments), Draft()
    named = properties(line.last.get("name", ""), "guest").get("guest") or ""
    draft.name_guest(named.partition(",")[0])
    if not named:
        draft.note("the command line does not name the guest", "guest.name")
    draft.set("guest.version", "0", "a command line has no version")
    _launch(line, draft)
    _boot(line, draft)
    _vcpu(line, draft)
    _machine(line, draft)
    return draft


def _launch(line: _Line, draft: Draft) -> None:
    guest = line.object("sev-guest", "sev-snp-guest")
    if guest is None:
        draft.set("launch.mode", "snp", "UNKNOWN: the command line has no sev-guest and no sev-snp-guest")
        draft.set("launch.profile", "qemu")
        return
    if not line.machine.get("confidential-guest-support"):
        draft.note("the machine does not name its confidential-guest-support: the guest is not encrypted")
    snp = guest["qom-type"] == "sev-snp-guest"
    policy = _number(guest, "policy", DEFAULT_POLICIES["snp" if snp else "sev"])
    mode = "snp" if snp else "sev-es" if SevPolicy(policy).es else "sev"
    draft.set("launch.mode", mode)
    igvm = line.object("igvm-cfg") is not None
    _profile(draft, mode, guest, igvm=igvm)
    draft.set("launch.policy", policy, None if "policy" in guest else "QEMU's default")
    if "host-data" in guest:
        try:
            data = b64decode(guest["host-data"], validate=True)
        except ValueError:
            raise SevbuildError(f"host-data is no base64: {guest['host-data'][:80]!r}") from None
        draft.set("launch.host-data", data.hex())
    if mode != "sev":
        draft.note("the host's kernel sets the features; the profile's are taken", "launch.guest-features")
    for name, what in _DROPPED_PROPERTIES.items():
        if name in guest and what:
            draft.note(f"{name}, {what}, is not in the manifest")
    for name in sorted(set(guest) - set(_OWN_PROPERTIES) - set(_DROPPED_PROPERTIES)):
        draft.note(f"{name}={guest[name]} of the guest object is not kept")


def _profile(draft: Draft, mode: str, guest: dict[str, str], *, igvm: bool) -> None:
    """Choose the shipped profile whose launch command has the properties of this one."""
    launcher = "qemu-igvm" if igvm else "qemu"
    given = {name: guest[name] for name in ("legacy-vm-type",) if guest.get(name) == "off"}
    fitting = []
    for name in profile_names():
        profile = load_profile(name)
        if (
            profile.command.launcher == launcher
            and mode in profile.modes
            and dict(profile.command.properties) == given
        ):
            fitting.append(name)
    if not fitting:
        raise SevbuildError(
            f"no profile launches {mode} with {launcher} and {given or 'no further properties'}"
        )
    best = min(fitting, key=lambda name: (len(load_profile(name).lineage), name))
    others = [name for name in fitting if name != best]
    note = "which kernel the host runs is not known"
    draft.set("launch.profile", best, f"{note}; older ones: {', '.join(others)}" if others else note)


def _boot(line: _Line, draft: Draft) -> None:
    igvm = line.object("igvm-cfg")
    firmware = line.firmware()
    if igvm is not None:
        draft.set("igvm.path", igvm.get("file", ""))
    elif firmware is None:
        draft.set("firmware.path", "OVMF.fd", "UNKNOWN: the command line names no firmware")
    else:
        draft.set("firmware.path", firmware)
    if "1" in line.flash or "pflash1" in line.machine:
        draft.note("the variable store in flash unit 1 is not measured, and not in the manifest")
    guest = line.object("sev-guest", "sev-snp-guest") or {}
    _kernel(line, draft, guest, igvm=igvm is not None)


def _kernel(line: _Line, draft: Draft, guest: dict[str, str], *, igvm: bool) -> None:
    kernel = line.last.get("kernel")
    if kernel is None:
        for option in ("initrd", "append"):
            if option in line.last:
                draft.note(f"-{option} without -kernel does nothing, and is not kept")
        return
    draft.set("kernel.path", kernel)
    draft.set("kernel.cmdline", placeholder_free(line.last.get("append", "")))
    if igvm:
        draft.set(
            "kernel.hashes",
            False,
            "with an IGVM file QEMU measures no kernel: its hashes are in the file, or nowhere",
        )
    elif guest.get("kernel-hashes") not in ("on", "yes", "true", "y"):
        draft.set("kernel.hashes", False, "kernel-hashes is not on: nothing of the kernel is measured")
    if "initrd" in line.last:
        draft.set("initrd.path", line.last["initrd"])
    if "dtb" in line.last:
        draft.note("-dtb is appended to the kernel before it is hashed: the manifest's kernel must be both")


def _vcpu(line: _Line, draft: Draft) -> None:
    given = line.last.get("smp")
    count = 1 if given is None else _count(given)
    draft.set("vcpu.count", count, "QEMU's default" if given is None else None)
    if _number(properties(given or "", "cpus"), "maxcpus", count) > count:
        draft.note("vCPUs that are plugged later (maxcpus) are not measured", "vcpu.count")
    # The name comes first and has no key of its own, so `model` is always the number.
    name, *rest = line.last.get("cpu", "").split(",")
    given_numbers = {}
    flags = []
    for part in rest:
        key, _, value = part.partition("=")
        if key in _NUMBERS:
            given_numbers[key] = _parsed(f"-cpu {key}", value)
        elif part:
            flags.append(part)
    base = CPU_MODELS.get(name)
    if base is None and len(given_numbers) < len(_NUMBERS):
        what = (
            f"-cpu {name} depends on the host"
            if name in ("host", "max")
            else f"the CPU is {name or 'not given'}"
        )
        note = f"UNKNOWN: {what}; give its model or its signature (CPUID Fn0000_0001_EAX)"
        draft.set("vcpu.model", BASE_MODEL, note)
    elif given_numbers:
        own = {} if base is None else {"family": base.family, "model": base.model, "stepping": base.stepping}
        draft.set("vcpu.signature", cpu_signature(**{**own, **given_numbers}))
    else:
        draft.set("vcpu.model", name)
    if flags:
        draft.note(f"features of -cpu are in no launch digest and are not kept: {', '.join(flags)}", "vcpu")


_NUMBERS = ("family", "model", "stepping")


def _count(value: str) -> int:
    smp = properties(value, "cpus")
    numbers = {name: _number(smp, name, 0) for name in ("cpus", "maxcpus", *_SMP)}
    product = 1
    for name in _SMP:
        product *= numbers[name] or 1
    count = numbers["cpus"] or numbers["maxcpus"] or product
    if not 1 <= count <= MAX_VCPUS:
        raise SevbuildError(f"-smp {value}: no guest has {count} vCPUs")
    return count


def _machine(line: _Line, draft: Draft) -> None:
    memory = properties(line.last.get("m", ""), "size").get("size")
    if memory is None:
        draft.note("the command line does not say how much", "machine.memory")
    else:
        draft.set("machine.memory", _memory(memory))
    guest: dict[str, Any] = line.object("sev-guest", "sev-snp-guest") or {}
    for name in ("cbitpos", "reduced-phys-bits"):
        if name in guest:
            draft.set(f"machine.{name}", _number(guest, name, 0))
        else:
            draft.note("the command line does not say it; the default is taken", f"machine.{name}")
    extra = [words for words in line.extra if not list(refused_arguments(words))]
    for words in line.extra:
        if words not in extra:
            draft.note(f"UNKNOWN: {' '.join(words)} is not kept: it may say something that is measured")
    if extra:
        draft.set("machine.extra-args", [word for words in extra for word in words])


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


def _number(table: dict[str, str], name: str, default: int) -> int:
    return _parsed(name, table[name]) if name in table else default


def _parsed(name: str, text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        raise SevbuildError(f"{name}: not a number: {text[:80]!r}") from None
    if not 0 <= number < 1 << 64:
        raise SevbuildError(f"{name}: {text[:80]} is out of range")
    return number
