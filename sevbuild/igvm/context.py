"""The VMSA that is measured for a VP context, where a loader passes it on through KVM's registers."""

from __future__ import annotations

from sevbuild.errors import SevbuildError
from sevbuild.igvm.headers import VpContext
from sevbuild.igvm.loaders import Loader
from sevbuild.igvm.source import data_bytes
from sevbuild.launch.mode import Mode
from sevbuild.vcpu.save_area import build_vmsa, parse_vmsa, reserved_bytes_set

__all__ = ["measured_context"]

_SNP_ACTIVE = 1
_CR0_ET = 0x10


def measured_context(context: VpContext, loader: Loader, mode: Mode, features: int) -> tuple[bytes, int]:
    """Return the VMSA page of a context and its SEV_FEATURES; raises SevbuildError where it is refused.

    `features` are those of the first vCPU, which KVM gives to all.
    """
    name = f"VP context {context.vp_index}"
    if loader.vmsa_gpa_checked and context.gpa != loader.vmsa_gpa:
        raise SevbuildError(f"{name} is at {context.gpa:#x}, not at {loader.vmsa_gpa:#x}")
    page = b"" if context.data is None else data_bytes(context.data)
    if loader.vmsa_fields is None:
        return page, features
    values = parse_vmsa(page)
    for field, value in values.items():
        number = sum(value.values()) if isinstance(value, dict) else value
        if field not in loader.vmsa_fields and (any(number) if isinstance(number, bytes) else number):
            raise SevbuildError(f"{name} sets {field}, which cannot be passed on")
    reserved = reserved_bytes_set(page)
    if reserved:
        raise SevbuildError(f"{name} sets reserved bytes at {reserved[0][0]:#x}")
    own = values["sev_features"]
    if context.vp_index == 0 and isinstance(own, int):
        if bool(own & _SNP_ACTIVE) != (mode == "snp"):
            raise SevbuildError(f"{name} has SEV_FEATURES {own:#x}, which is not for mode {mode}")
        features = own
    task, table, cr0 = values["tr"], values["ldtr"], values["cr0"]
    if isinstance(task, dict) and isinstance(table, dict) and isinstance(cr0, int):
        # sev_apply_cpu_context (QEMU 10.2 target/i386/sev.c) loads the base of TR from that of LDTR.
        values["tr"] = {**task, "base": table["base"]}
        # CR0.ET cannot be cleared (QEMU 10.2 target/i386/helper.c, cpu_x86_update_cr0).
        values["cr0"] = cr0 | _CR0_ET
    values["sev_features"] = features
    return build_vmsa(values), features
