"""Reports as values, for tests of what is said of them."""

from __future__ import annotations

from typing import Any

from sevbuild.attest.report import FirmwareVersion, Report
from sevbuild.identity.ecdsa import EcdsaSignature

__all__ = ["MEASUREMENT", "report"]

MEASUREMENT = b"\xaa" * 48

_TCB = 0xDB18_0000_0000_0004
_VERSION = FirmwareVersion(1, 55, 40)


def report(**changes: Any) -> Report:
    """Return a report of Milan, version 5, VMPL 0, policy 0x30000, all else zero or as `changes` say."""
    plain = Report(
        raw=bytes(1184),
        version=5,
        guest_svn=0,
        policy=0x30000,
        family_id=bytes(16),
        image_id=bytes(16),
        vmpl=0,
        signature_algo=1,
        current_tcb=_TCB,
        platform_info=0x25,
        author_key_en=False,
        mask_chip_key=False,
        signing_key=0,
        report_data=bytes(64),
        measurement=MEASUREMENT,
        host_data=bytes(32),
        id_key_digest=bytes(48),
        author_key_digest=bytes(48),
        report_id=bytes(32),
        report_id_ma=b"\xff" * 32,
        reported_tcb=_TCB,
        cpuid_fam_id=0x19,
        cpuid_mod_id=1,
        cpuid_step=1,
        chip_id=b"\xcc" * 64,
        committed_tcb=_TCB,
        current_version=_VERSION,
        committed_version=_VERSION,
        launch_tcb=_TCB,
        launch_mit_vector=3,
        current_mit_vector=7,
        signature=EcdsaSignature(1, 1),
    )
    return plain._replace(**changes)
