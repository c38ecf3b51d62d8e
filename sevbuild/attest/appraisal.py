"""The appraisal policy (RFC 9334): what a relying party accepts of a report, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sevbuild.attest.product import Tcb
from sevbuild.attest.report import FirmwareVersion

__all__ = [
    "APPRAISAL_SCHEMA",
    "DEFAULT_MAXIMUM_POLICY",
    "HOST_VMPL",
    "LOWEST_VMPL",
    "AppraisalPolicy",
    "Published",
]

APPRAISAL_SCHEMA = 1
"""The version of the document's shape; a reader refuses any other."""

DEFAULT_MAXIMUM_POLICY = 0x230000
"""What a guest policy may permit where nothing else is known of it: SMT (bit 16; 17 is always one) and CXL
memory (21), but neither debugging (19) nor a migration agent (18), both of which read the guest's memory."""

LOWEST_VMPL = 3
"""The least privileged level of a guest; 0 is the most."""
HOST_VMPL = 0xFFFFFFFF
"""The VMPL of a report that the host asked for, not the guest (SNP ABI 7.3: MSG_REPORT_REQ by the host)."""


class Published(NamedTuple):
    """Which of the published targets are accepted; what is empty narrows nothing.

    `targets` are patterns of labels, as `--target` takes them.
    """

    guests: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


class AppraisalPolicy(NamedTuple):
    """What is accepted of a report; an empty tuple, mapping or None leaves a field unchecked.

    Of several values each is accepted. `policy` is the one guest policy that is accepted, `maximum_policy`
    bounds it by its bits; without either it is that of the matched target, and where none is known
    DEFAULT_MAXIMUM_POLICY. Digests are 48 bytes, family and image id 16, host data 32, report data and chip
    ids 64, nonces of a TPM's quote as many as were given.
    `required` and `waived` name checks: a required one that was not made refuses the report, a waived one
    does not.
    """

    source: str = ""
    published: Published = Published()
    measurements: tuple[bytes, ...] = ()
    vmpls: tuple[int, ...] = (0,)
    policy: int | None = None
    maximum_policy: int | None = None
    host_data: tuple[bytes, ...] = ()
    report_data: tuple[bytes, ...] = ()
    tpm_nonces: tuple[bytes, ...] = ()
    family_ids: tuple[bytes, ...] = ()
    image_ids: tuple[bytes, ...] = ()
    guest_svn: int | None = None
    id_keys: tuple[bytes, ...] = ()
    author_keys: tuple[bytes, ...] = ()
    products: tuple[str, ...] = ()
    platform_required: tuple[str, ...] = ()
    platform_forbidden: tuple[str, ...] = ()
    chip_ids: tuple[bytes, ...] = ()
    csp_ids: tuple[str, ...] = ()
    firmware_version: FirmwareVersion | None = None
    provisional_firmware: bool = False
    launch_mitigations: int = 0
    current_mitigations: int = 0
    minimum_tcb: Mapping[str, Tcb] = {}
    minimum_launch_tcb: Mapping[str, Tcb] = {}
    required: frozenset[str] = frozenset()
    waived: frozenset[str] = frozenset()
    strict: bool = False
    unknown_versions: bool = False
