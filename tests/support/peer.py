"""Run sev-snp-measure 0.0.13 in this process, on the same guest as a manifest of ours."""

from __future__ import annotations

from pathlib import Path

from sevsnpmeasure import guest, vmm_types
from sevsnpmeasure.sev_mode import SevMode

__all__ = ["peer_digest"]

_MODES = {
    "sev": SevMode.SEV,
    "sev-es": SevMode.SEV_ES,
    "snp": SevMode.SEV_SNP,
    "snp:svsm": SevMode.SEV_SNP_SVSM,
}


def peer_digest(
    folder: Path,
    mode: str,
    *,
    firmware: str = "OVMF.fd",
    vmm: str = "QEMU",
    vcpus: int = 1,
    signature: int = 0x800F12,
    features: int = 0x1,
    kernel: str = "",
    initrd: str = "",
    append: str = "",
    svsm: str = "",
    vars_size: int = 0,
) -> str:
    """Return the peer's launch digest in hex; file names are relative to `folder`, empty for none."""

    def path(name: str) -> str:
        return str(folder / name) if name else ""

    digest: bytes = guest.calc_launch_digest(
        _MODES[mode],
        vcpus,
        signature,
        path(firmware),
        path(kernel),
        path(initrd),
        append,
        features,
        vmm_type=vmm_types.VMMType[vmm],
        svsm_file=path(svsm),
        ovmf_vars_size=vars_size,
    )
    return digest.hex()
