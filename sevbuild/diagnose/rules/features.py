"""Rules of SEV_FEATURES: what was seen in the wild, then every single bit."""

from __future__ import annotations

from collections.abc import Iterator

from sevbuild.diagnose.change import Change, Edit, Start, Touches
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.rules.applying import departing, side_of_vmsas
from sevbuild.diagnose.rules.weights import FEATURES, SWEPT
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.vcpu.describe import feature_names
from sevbuild.vcpu.save_area import SEV_FEATURE_BITS

__all__ = ["feature_changes"]

_SNP = 1 << SEV_FEATURE_BITS["snp-active"]

_SEEN = (
    (0x1, "Linux 6.11 and later: SNP_ACTIVE alone; the default of virtee/sev and virtee/sev-snp-measure"),
    (0x21, "SNP hosts of 2024 that set DebugSwap: github.com/AMDESE/AMDSEV issue 195; sev-snp-measure 0.0.9"),
    (0x0, "KVM_SEV_ES_INIT sets none; github.com/fortanix/salmiac pull 66"),
    (0x20, "Linux 6.6 and 6.7: DebugSwap for every SEV-ES guest (commits d1f85fbe836e, 5abf6dceb066)"),
    (0x201, "SecureTSC: Linux 6.18; github.com/virtee/snphost pull 193"),
    (0x221, "SecureTSC beside DebugSwap"),
    (0x10001, "SecureAVIC: patches for Linux and QEMU of 2025"),
    (0x10201, "SecureAVIC and SecureTSC: patches for Linux and QEMU of 2025"),
    (0x10221, "SecureAVIC and SecureTSC beside DebugSwap"),
    (0x29, "COCONUT-SVSM since 2025-12: restricted injection and DebugSwap always (tools/igvmbuilder)"),
    (0x9, "COCONUT-SVSM: restricted injection"),
    (0x5, "ReflectVC: paravisors below guests that do not know of them"),
    (0x3, "vTOM: OpenVMM and Hyper-V"),
    (0x23, "vTOM and DebugSwap: OpenVMM"),
    (0x2B, "vTOM, restricted injection and DebugSwap: OpenVMM"),
    (0x33, "vTOM, alternate injection and DebugSwap: OpenVMM"),
    (0x11, "alternate injection: igvmbuilder --alt-injection"),
    (0x31, "alternate injection and DebugSwap: igvmbuilder --alt-injection"),
)
"""Values (u64) that a host, a tool or a file is known to have, the likeliest first, and the sources."""

_BIT = "not seen in the wild: a bit of APM vol. 2 table B-4, offset 3B0h"


def feature_changes(start: Start) -> Iterator[Change]:
    """Yield a change to each value seen in the wild, then to each that has a single further bit."""
    setup = start.setup
    own = _own(setup)
    if own is None:
        return
    seen, side = {own}, side_of_vmsas(setup)
    for rank, (features, source) in enumerate(_SEEN):
        if features not in seen:
            seen.add(features)
            unfit = 40 if bool(features & _SNP) != (setup.mode == "snp") else 0
            yield _change(features, source, FEATURES + rank + unfit - (0 if unfit else 10), side)
    base = _SNP if setup.mode == "snp" else 0
    for bit in range(64):
        for features in (base | 1 << bit, own ^ 1 << bit):
            if features not in seen:
                seen.add(features)
                weight = SWEPT + (100 if bit in SEV_FEATURE_BITS.values() else 200) + bit
                yield _change(features, _BIT, weight, side)


def _own(setup: Setup) -> int | None:
    """Return SEV_FEATURES of a launch, None without a VMSA."""
    if setup.mode == "sev":
        return None
    if isinstance(setup, LaidOut):
        return setup.shape.guest_features
    return setup.loaded.guest_features if isinstance(setup, FileLaunch) else None


def _change(features: int, source: str, weight: int, touches: Touches) -> Change:
    of_file = departing({f"registers.{role}.sev-features": features for role in ("bsp", "ap")})

    def apply(setup: Setup) -> Setup:
        if isinstance(setup, LaidOut):
            return setup._replace(shape=setup.shape._replace(guest_features=features))
        return of_file(setup)

    text, names = f"{features:#x}", ", ".join(feature_names(features)) or "none"
    says, edits = f"SEV_FEATURES {text} ({names})", (Edit("launch.guest-features", text),)
    return Change("guest-features", text, touches, apply, says, source, weight, edits)
