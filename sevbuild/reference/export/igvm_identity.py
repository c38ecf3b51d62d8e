"""`igvm-identity`: the JSON document that igvmfilegen writes beside an SNP file (microsoft/openvmm)."""

from __future__ import annotations

from sevbuild.errors import SevbuildError
from sevbuild.launch.policy import SNP_POLICY_BITS
from sevbuild.reference.export.interface import Exporter, ExportOptions, values_of
from sevbuild.reference.export.text import ordered_json
from sevbuild.reference.model import ReferenceValues, Value

__all__ = ["EXPORTER"]

_SNP_CLASS = "7fb00ee4-a7ff-11ed-9e2f-00155d09de56"
"""The class of SNP measurements (openvmm vm/loader/igvmfilegen)."""


class IgvmIdentity(Exporter):
    """An entry of `series` a target: digest in upper-case hex, SVN, whether debugging is allowed."""

    name = "igvm-identity"
    summary = "igvmfilegen's JSON identity document"
    files = ("igvm-identity.json",)

    def missing(self, values: ReferenceValues, options: ExportOptions) -> list[str]:
        """Return the SVN's key where a target has no ID block to take it from."""
        if all(value.id_block for value in values_of(values, self.modes)):
            return []
        return super().missing(values, options)

    def render(self, values: ReferenceValues, options: ExportOptions) -> dict[str, bytes]:
        """Return `igvm-identity.json`; `debug_build` is the policy's debug bit, as igvmfilegen means it."""
        series = [
            {
                "reference": {"snp_ld": value.digest.hex().upper()},
                "endorsement": {
                    "snp_isvsvn": _guest_svn(value, options),
                    "build_info": {"debug_build": bool(value.policy >> SNP_POLICY_BITS["debug"] & 1)},
                },
            }
            for value in values_of(values, self.modes)
        ]
        return {
            "igvm-identity.json": ordered_json({"environment": {"class_id": _SNP_CLASS}, "series": series})
        }


def _guest_svn(value: Value, options: ExportOptions) -> int:
    """Return the SVN of the target's ID block, else the publisher's; two that differ are refused."""
    block, given = value.id_block, options.extra.get("guest-svn")
    if block is None:
        return int(options.extra["guest-svn"])
    if given not in (None, block.guest_svn):
        raise SevbuildError(
            f"igvm-identity: guest-svn {given}, and {block.guest_svn} in the ID block of {value.label}"
        )
    return block.guest_svn


EXPORTER = IgvmIdentity()
