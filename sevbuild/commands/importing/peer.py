"""From a sev-snp-measure command to a manifest with the same launch digest."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import NoReturn

from sevbuild.commands.importing.draft import Draft
from sevbuild.commands.importing.unknown import is_known, reasons, spelled
from sevbuild.commands.launch import BASE_MODEL
from sevbuild.errors import SevbuildError
from sevbuild.launch.mode import Mode
from sevbuild.manifest.inputs import FIRMWARE
from sevbuild.manifest.template import escape
from sevbuild.vcpu.models import CPU_MODELS, cpu_signature

__all__ = ["read_measure_command"]

_MODES: Mapping[str, Mode] = {
    "sev": "sev",
    "seves": "sev-es",
    "snp": "snp",
    "snp:ovmf-hash": "snp",
    "snp:svsm": "snp",
}
_QEMU = "QEMU"
_PROFILES: Mapping[str, Mapping[str, str]] = {
    "sev": {_QEMU: "qemu"},
    "seves": {_QEMU: "qemu-es-init2"},
    "snp": {_QEMU: "qemu", "ec2": "ec2", "gce": "gce"},
    "snp:ovmf-hash": {_QEMU: "qemu", "ec2": "ec2", "gce": "gce"},
    "snp:svsm": {_QEMU: "svsm-qemu"},
}
"""The profile that launches as that tool measures, by its mode and --vmm-type."""

_NOTES = {
    "seves": "that tool has the FPU state of legacy-vm-type=off; QEMU's default is profile qemu",
    "snp:svsm": (
        "that tool's digests of an SVSM lack the FPU control word since 0.0.9; hardware's are computed"
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SevbuildError(f"sev-snp-measure: {message}")


class _Known(tuple[str, ...]):
    """A choice of some words; what is not known may be any of them."""

    __slots__ = ()

    def __contains__(self, word: object) -> bool:
        return super().__contains__(word) or (isinstance(word, str) and not is_known(word))


def _number(text: str) -> int | str:
    return int(text, 0) if is_known(text) else text


def _decimal(text: str) -> int | str:
    return int(text) if is_known(text) else text


def _parser() -> _Parser:
    """Return a parser of every option of sev-snp-measure 0.0.13, abbreviations included."""
    parser = _Parser(prog="sev-snp-measure", add_help=False)
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("--mode", choices=_Known(_MODES), required=True)
    parser.add_argument("--vcpus", type=_decimal)
    parser.add_argument("--vcpu-type", choices=_Known(CPU_MODELS))
    parser.add_argument("--vcpu-sig", type=_number)
    for name in ("family", "model", "stepping"):
        parser.add_argument(f"--vcpu-{name}", type=_decimal)
    parser.add_argument("--vmm-type", choices=_Known(_PROFILES["snp"]), default=_QEMU)
    parser.add_argument("--ovmf", required=True)
    for name in ("kernel", "initrd", "append", "snp-ovmf-hash", "svsm", "vars-file"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--guest-features", type=_number)
    parser.add_argument("--output-format", choices=["hex", "base64"], default="hex")
    parser.add_argument("--dump-vmsa", action="store_true")
    parser.add_argument("--vars-size", type=_decimal)
    return parser


def read_measure_command(arguments: Sequence[str]) -> Draft:
    """Return the manifest of the guest that sev-snp-measure (0.0.13) is called for.

    `arguments` follow the program's name. Where that tool and hardware differ, hardware is followed and the
    note says so. Raises SevbuildError for what the tool itself refuses, and for targets that cannot exist.
    """
    parsed = _parser().parse_args(list(arguments))
    if not is_known(parsed.mode):
        hint = "the mode says what all the rest means: write it into the text"
        raise SevbuildError(
            f"sev-snp-measure: --mode {spelled(parsed.mode)}: {reasons(parsed.mode)}", hint=hint
        )
    mode, draft = _MODES[parsed.mode], Draft()
    draft.name_guest("imported")
    draft.note("a measuring command does not name the guest", "guest.name")
    draft.set("guest.version", "0", "a measuring command has no version")
    draft.set("launch.mode", mode)
    _profile(parsed, draft)
    draft.note("a measuring command does not say; the mode's default is used", "launch.policy")
    features = 1 if parsed.guest_features is None else parsed.guest_features
    if parsed.mode == "snp":
        draft.set("launch.guest-features", features)
    elif parsed.guest_features is not None:
        draft.note(f"that tool ignores --guest-features in mode {parsed.mode}", "launch.guest-features")
    _firmware(parsed, draft)
    _kernel(parsed, draft)
    _vcpu(parsed, mode, draft)
    if parsed.dump_vmsa:
        draft.note("`sevbuild measure --dump-vmsa DIR` writes the VMSAs")
    if parsed.output_format == "base64":
        draft.note("`sevbuild measure --format base64` prints as this command did")
    return draft


def _profile(parsed: argparse.Namespace, draft: Draft) -> None:
    # Which hypervisor launches an SVSM that tool does not ask.
    vmm = _QEMU if parsed.mode == "snp:svsm" else parsed.vmm_type
    profile = _PROFILES[parsed.mode].get(vmm)
    if profile is None and is_known(vmm):
        mode = _MODES[parsed.mode]
        raise SevbuildError(f"sev-snp-measure: --vmm-type {vmm} does not launch {mode} guests")
    draft.set("launch.profile", profile or vmm, None if profile is None else _NOTES.get(parsed.mode))


def _firmware(parsed: argparse.Namespace, draft: Draft) -> None:
    if parsed.mode == "snp:ovmf-hash":
        draft.note("`sevbuild plan --seed` prints what this command printed")
    if parsed.mode == "snp:svsm":
        if not parsed.svsm:
            raise SevbuildError("sev-snp-measure: mode snp:svsm requires --svsm")
        draft.set("svsm.path", parsed.svsm)
        if parsed.vars_file:
            draft.set("svsm.vars-path", parsed.vars_file)
        elif parsed.vars_size:
            draft.set("svsm.vars-size", parsed.vars_size)
        else:
            raise SevbuildError("sev-snp-measure: mode snp:svsm requires --vars-size or --vars-file")
    if not parsed.snp_ovmf_hash or parsed.mode != "snp":
        draft.set("firmware.path", parsed.ovmf)
        return
    from sevbuild.fs import read_file
    from sevbuild.image.ovmf import parse_firmware

    if not is_known(parsed.ovmf):
        draft.leave("firmware.path", f"--ovmf {spelled(parsed.ovmf)}: {reasons(parsed.ovmf)}")
        draft.note(
            f"--snp-ovmf-hash {parsed.snp_ovmf_hash} would stand for it, with its metadata", "firmware.path"
        )
        return
    metadata = parse_firmware(read_file(parsed.ovmf, FIRMWARE.limit)).metadata
    draft.set("firmware.seed", parsed.snp_ovmf_hash, f"the metadata is that of {parsed.ovmf}")
    table: dict[str, object] = {
        "sections": [{"gpa": s.gpa, "size": s.size, "kind": s.kind} for s in metadata.sections or ()]
    }
    if metadata.reset is not None:
        table["reset"] = metadata.reset
    if metadata.hash_table is not None:
        table["hash-table"] = metadata.hash_table.base
    draft.set("firmware.metadata", table)


def _kernel(parsed: argparse.Namespace, draft: Draft) -> None:
    for option in ("initrd", "append"):
        if getattr(parsed, option) and parsed.kernel is None:
            raise SevbuildError(f"sev-snp-measure: --kernel required when using --{option}")
    if parsed.mode in ("snp:svsm", "snp:ovmf-hash"):
        if parsed.kernel:
            draft.note(f"that tool ignores --kernel in mode {parsed.mode}")
    elif parsed.kernel:
        draft.set("kernel.path", parsed.kernel)
        draft.set("kernel.cmdline", escape(parsed.append or ""))
        if parsed.initrd:
            draft.set("initrd.path", parsed.initrd)


def _vcpu(parsed: argparse.Namespace, mode: Mode, draft: Draft) -> None:
    needed = mode != "sev" and parsed.mode != "snp:ovmf-hash"
    if parsed.vcpus is None and needed:
        raise SevbuildError(f"sev-snp-measure: missing --vcpus N in guest mode {parsed.mode!r}")
    unmeasured = "the command does not say, and it enters no digest of this mode"
    draft.set(
        "vcpu.count",
        1 if parsed.vcpus is None else parsed.vcpus,
        unmeasured if parsed.vcpus is None else None,
    )
    numbers = [parsed.vcpu_family, parsed.vcpu_model, parsed.vcpu_stepping]
    unread = [value for value in (*numbers, parsed.vcpu_sig) if isinstance(value, str)]
    if unread:
        why = f"the CPU's numbers are {spelled(unread[0])}: {reasons(unread[0])}"
        draft.leave("vcpu.model", why)
    elif parsed.vcpu_family:
        if None in numbers:
            raise SevbuildError("sev-snp-measure: --vcpu-family needs --vcpu-model and --vcpu-stepping")
        draft.set("vcpu.signature", cpu_signature(*numbers))
    elif parsed.vcpu_sig:
        draft.set("vcpu.signature", parsed.vcpu_sig)
    elif parsed.vcpu_type:
        draft.set("vcpu.model", parsed.vcpu_type)
    elif needed and parsed.vmm_type == _QEMU:
        raise SevbuildError(
            f"sev-snp-measure: missing --vcpu-type or --vcpu-sig or --vcpu-family in mode {parsed.mode!r}"
        )
    else:
        draft.set("vcpu.model", BASE_MODEL, unmeasured)
