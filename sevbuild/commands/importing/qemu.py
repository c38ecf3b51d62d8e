"""From a QEMU command line to a manifest."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence

from sevbuild.commands.importing.draft import Draft, number
from sevbuild.commands.importing.hardware import read_machine, read_vcpus
from sevbuild.commands.importing.line import GUEST_OBJECTS, CommandLine
from sevbuild.commands.importing.unknown import is_known, reasons, spelled
from sevbuild.errors import SevbuildError
from sevbuild.launch.mode import Mode
from sevbuild.launch.policy import DEFAULT_POLICIES, SevPolicy
from sevbuild.manifest.profiles import load_profile, profile_names
from sevbuild.manifest.qemu_options import properties
from sevbuild.manifest.template import escape

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
_FEATURES = ("debug-swap", "secure-avic", "secure-tsc", "tsc-frequency", "vmsa-features")
"""Properties by which newer QEMUs, and AMD's, set SEV_FEATURES."""

_ON, _OFF = ("on", "yes", "true", "y"), ("off", "no", "false", "n")


def read_qemu(arguments: Sequence[str]) -> Draft:
    """Return the manifest of the guest that QEMU is started with; `arguments` follow the program's name.

    What the command line does not say is noted, and what it says in a way that cannot be known has no value.
    Raises SevbuildError for a value that cannot be read.
    """
    line, draft = CommandLine(arguments), Draft()
    named = properties(line.name, "guest").get("guest") or ""
    if named and is_known(named):
        draft.name_guest(named.partition(",")[0])
    else:
        draft.name_guest("")
        draft.note("the command line does not name the guest", "guest.name")
    draft.set("guest.version", "0", "a command line has no version")
    mode = _launch(line, draft)
    _boot(line, draft, mode)
    read_vcpus(line, draft)
    read_machine(line, draft)
    for note in line.notes:
        draft.note(note)
    return draft


def _launch(line: CommandLine, draft: Draft) -> Mode | None:
    """Say mode, profile and policy; return the mode where it is known."""
    guest = line.object(*GUEST_OBJECTS)
    starts = "firmware" if line.object("igvm-cfg") is None else "igvm"
    why = _why_no_guest(line, guest)
    if guest is None:
        draft.leave("launch.mode", why or "")
        draft.set("launch.profile", _fitting(starts, None, {})[0])
        return None
    mode, policy = _mode(guest)
    why = why or ("the policy says whether it is sev or sev-es" if mode is None else None)
    if why is None:
        draft.set("launch.mode", mode)
    else:
        draft.leave("launch.mode", why)
        draft.stand_ins["launch.mode"] = mode or "sev"
    _profile(draft, mode, guest, starts)
    if policy is None:
        draft.leave("launch.policy", f"policy={spelled(guest['policy'])}: {reasons(guest['policy'])}")
    else:
        draft.set("launch.policy", policy, None if "policy" in guest else "QEMU's default")
    _host_data(draft, guest)
    _further_properties(draft, guest, mode)
    return mode


def _mode(guest: dict[str, str]) -> tuple[Mode | None, int | None]:
    """Return mode and policy where they are known; the policy says whether a guest has encrypted state."""
    snp = guest["qom-type"] == "sev-snp-guest"
    given = guest.get("policy")
    if given is not None and not is_known(given):
        return ("snp" if snp else None), None
    policy = DEFAULT_POLICIES["snp" if snp else "sev"] if given is None else number("policy", given)
    return ("snp" if snp else "sev-es" if SevPolicy(policy).es else "sev"), policy


def _further_properties(draft: Draft, guest: dict[str, str], mode: Mode | None) -> None:
    if mode != "sev":
        draft.note("the host's kernel sets the features; the profile's are used", "launch.guest-features")
    for name in sorted(set(guest) - set(_OWN_PROPERTIES)):
        value = spelled(guest[name])
        if name in _FEATURES and value not in _OFF:
            draft.leave("launch.guest-features", f"{name}={value} of the guest object sets features")
        elif name not in _DROPPED_PROPERTIES:
            draft.note(f"{name}={value} of the guest object is not kept")
        elif _DROPPED_PROPERTIES[name]:
            draft.note(f"{name}, {_DROPPED_PROPERTIES[name]}, is not in the manifest")


def _why_no_guest(line: CommandLine, guest: dict[str, str] | None) -> str | None:
    """Return why it is not known that QEMU launches an encrypted guest, and of which kind."""
    support = line.support
    if not line.objects or (guest is None and support is None):
        return "the command line has no sev-guest and no sev-snp-guest"
    if support is None:
        return "the machine does not name its confidential-guest-support: the guest is not encrypted"
    if not is_known(support):
        return f"confidential-guest-support={spelled(support)}: {reasons(support)}"
    kinds = [entry.get("qom-type", "") for entry in line.objects if entry.get("id") == support]
    if not kinds:
        return f"confidential-guest-support={support} names no object of the command line"
    return _why_no_launch(line, kinds[0])


def _why_no_launch(line: CommandLine, kind: str) -> str | None:
    if kind not in GUEST_OBJECTS:
        return f"the confidential guest is a {kind}, which is not AMD SEV"
    others = [name for name in line.accelerators if properties(name, "accel").get("accel") != "kvm"]
    if others and len(others) == len(line.accelerators):
        return f"with accelerator {spelled(others[0])} QEMU launches no encrypted guest"
    return None


def _profile(draft: Draft, mode: Mode | None, guest: dict[str, str], starts: str) -> None:
    """Choose the shipped profile whose launch command has the properties of this one."""
    legacy = guest.get("legacy-vm-type", "")
    if not is_known(legacy):
        draft.leave("launch.profile", f"legacy-vm-type={spelled(legacy)}: {reasons(legacy)}")
        return
    given = {"legacy-vm-type": "off"} if legacy in _OFF else {}
    fitting = _fitting(starts, mode, given)
    if not fitting:
        raise SevbuildError(
            f"no profile launches {mode} from its {starts} with {given or 'no further properties'}"
        )
    best, *others = fitting
    note = "which kernel the host runs is not known"
    draft.set("launch.profile", best, f"{note}; older ones: {', '.join(others)}" if others else note)


def _fitting(starts: str, mode: Mode | None, given: dict[str, str]) -> list[str]:
    """Return the shipped profiles with such a launch command, those that others extend first.

    Where the mode is not known it is SEV or SEV-ES, and whoever launches the one launches the other.
    """
    profiles = [load_profile(name) for name in profile_names()]
    fitting = [
        profile
        for profile in profiles
        if profile.prose.command.starts == starts
        and (mode or "sev-es") in profile.rules.modes
        and dict(profile.prose.command.properties) == given
    ]
    return [profile.name for profile in sorted(fitting, key=lambda profile: len(profile.prose.lineage))]


def _host_data(draft: Draft, guest: dict[str, str]) -> None:
    given = guest.get("host-data")
    if given is None:
        return
    if not is_known(given):
        draft.leave("launch.host-data", f"host-data={spelled(given)}: {reasons(given)}")
        return
    try:
        draft.set("launch.host-data", b64decode(given, validate=True).hex())
    except ValueError:
        raise SevbuildError(f"host-data is not base64: {given[:80]!r}") from None


def _boot(line: CommandLine, draft: Draft, mode: Mode | None) -> None:
    igvm = line.object("igvm-cfg")
    if igvm is None:
        _firmware(line, draft, mode)
    elif not igvm.get("file"):
        draft.leave("igvm.path", "the command line names no IGVM file")
    else:
        draft.set("igvm.path", igvm["file"])
        if line.machine.get("firmware") or line.flash or "pflash0" in line.machine:
            draft.note("with an IGVM file QEMU launches no firmware of its own: it is not kept")
    if "1" in line.flash or "pflash1" in line.machine:
        draft.note("the variable store in flash unit 1 is not measured, and not in the manifest")
    if line.machine.get("shim"):
        draft.note(f"-shim {line.machine['shim']} is not measured, and not kept")
    _kernel(line, draft, igvm=igvm is not None)


def _firmware(line: CommandLine, draft: Draft, mode: Mode | None) -> None:
    """Say the firmware: flash unit 0 wins over `-bios` (hw/i386/pc_sysfw.c), but for SNP in AMD's trees."""
    bios, key = line.machine.get("firmware"), "firmware.path"
    units = [unit for unit in line.flash if not is_known(unit)]
    try:
        flash = line.flash_file()
    except SevbuildError as error:
        draft.leave(key, error.message)
        return
    if units:
        draft.leave(key, f"a flash of unit {spelled(units[0])}: {reasons(units[0])}")
    elif flash is None and not bios:
        draft.leave(key, "the command line names no firmware")
    elif flash is None:
        draft.set(key, bios)
    elif bios and mode != "snp":
        draft.set(
            key, flash[0], f"flash unit 0 takes precedence over -bios {spelled(bios)}, which is not used"
        )
    elif bios:
        why = f"QEMU takes flash unit 0, {spelled(flash[0])}, AMD's trees take -bios {spelled(bios)}"
        draft.leave(key, why)
    else:
        draft.set(key, flash[0])
    if flash is not None and not (bios and mode == "snp"):
        path, form = flash
        form = form or ("qcow2" if path.endswith(".qcow2") else "raw")
        if form != "raw":
            why = f"flash {spelled(path)} is not measured as the file is, with {spelled(form)}: name a raw image"
            draft.leave(key, why)


def _kernel(line: CommandLine, draft: Draft, *, igvm: bool) -> None:
    kernel = line.machine.get("kernel")
    if not kernel:
        for option in ("initrd", "append"):
            if line.machine.get(option):
                draft.note(f"-{option} without -kernel does nothing, and is not kept")
        return
    draft.set("kernel.path", kernel)
    draft.set("kernel.cmdline", escape(line.machine.get("append", "")))
    hashed = _kernel_hashes(line, draft, igvm=igvm)
    if line.machine.get("initrd"):
        draft.set("initrd.path", line.machine["initrd"])
    dtb = line.machine.get("dtb")
    if dtb and hashed:
        why = f"-dtb is appended to {spelled(kernel)} before it is hashed: name a file that holds both"
        draft.leave("kernel.path", why)
    elif dtb:
        draft.note(f"-dtb {dtb} is not measured, and not kept")


def _kernel_hashes(line: CommandLine, draft: Draft, *, igvm: bool) -> bool:
    """Say whether the kernel is measured, and return whether it may be."""
    key, guest = "kernel.hashes", line.object(*GUEST_OBJECTS)
    given = "" if guest is None else guest.get("kernel-hashes", "off")
    if igvm:
        note = "with an IGVM file QEMU measures no kernel: its hashes are in the file, or nowhere"
        draft.set(key, False, note)
        return False
    if guest is None:
        draft.leave(key, "there is no guest object to say kernel-hashes")
    elif not is_known(given):
        draft.leave(key, f"kernel-hashes={spelled(given)}: {reasons(given)}")
    elif given in _OFF:
        draft.set(key, False, "kernel-hashes is not on: nothing of the kernel is measured")
        return False
    elif given not in _ON:
        raise SevbuildError(f"kernel-hashes={given[:80]}: neither on nor off")
    return True
