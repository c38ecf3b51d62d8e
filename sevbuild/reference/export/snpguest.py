"""`snpguest`: a script around `snpguest verify` (virtee/snpguest 0.11.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevbuild.errors import SevbuildError
from sevbuild.reference.accepted import Accepted
from sevbuild.reference.export.interface import Exporter, ExportOptions
from sevbuild.reference.export.owner import unfit_labels
from sevbuild.reference.export.text import shell_word
from sevbuild.reference.export.unsaid import unsaid_warning
from sevbuild.text import visible

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.launch.id_block import ReportedIdBlock
    from sevbuild.reference.model import ReferenceValues

__all__ = ["EXPORTER"]

_SAID = frozenset({"measurements", "host_data", "report_data", "id_keys", "author_keys"})

_HEAD = """#!/bin/sh
# Verify an attestation report of {title} with snpguest 0.11, and name its target.
# Usage: sh THIS CERTIFICATES REPORT [MODEL]
#   CERTIFICATES: a folder with ark.pem, ask.pem or asvk.pem, and vcek.pem or vlek.pem
#   MODEL: milan, genoa, bergamo, siena or turin, of a version 2 report alone
# Exit 0: verified; 1: not; 2: called otherwise.
set -eu
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    sed -n '2,6s/^# \\{{0,1\\}}//p' "$0" >&2
    exit 2
fi
certificates=$1
report=$2
model=${{3-}}

verify() {{
    snpguest verify attestation ${{model:+--processor-model "$model"}} "$@" "$certificates" "$report"
}}

snpguest verify certs "$certificates" || exit 1
verify || exit 1
"""

_CASE = """if verify {arguments} >/dev/null 2>&1; then
    printf '%s\\n' {label}
    exit 0
fi
"""

_TAIL = """echo "signed, but of none of these targets:" >&2
verify {arguments} >&2 || true
exit 1
"""


class SnpGuest(Exporter):
    """A script that tries each accepted launch digest with the fields that snpguest compares."""

    name = "snpguest"
    summary = "a relying party's script around `snpguest verify`"
    files = ("snpguest.sh",)
    appraises = True

    def refusal(self, values: ReferenceValues) -> str | None:
        """Return why there is no such script."""
        snp = [value for value in values.values if value.mode == "snp"]
        return super().refusal(values) or (None if values.releases else unfit_labels(snp))

    def warnings(self, _values: ReferenceValues, options: ExportOptions, /) -> list[str]:
        """Return what snpguest does not look at, asked for or not."""
        never = "the guest policy (debugging!), the VMPL, validity dates, and whether the root is AMD's"
        return [f"snpguest does not look at {never}", *unsaid_warning(options.appraisal, _SAID, "snpguest")]

    def render(self, values: ReferenceValues, options: ExportOptions) -> dict[str, bytes]:
        """Return `snpguest.sh`; raises SevbuildError where nothing is accepted."""
        cases = _cases(values, options.appraisal)
        if not cases:
            raise SevbuildError("snpguest: the appraisal policy accepts no target")
        text = _HEAD.format(title=visible(values.title()))
        text += "".join(
            _CASE.format(arguments=arguments, label=shell_word(label)) for label, arguments in cases
        )
        text += _TAIL.format(arguments=cases[0][1])
        return {"snpguest.sh": text.encode("utf-8", "backslashreplace")}


def _cases(values: ReferenceValues, policy: AppraisalPolicy) -> list[tuple[str, str]]:
    """Return what is printed of each accepted launch, and the arguments that hold a report to it."""
    launches = [
        (visible(f"{values.title()}, {value.label}"), value.digest, value.id_block)
        for value in Accepted(values, policy.published).snp_values()
    ]
    launches += [(f"launch digest {digest.hex()}", digest, None) for digest in policy.measurements]
    return [
        (label, " ".join(f"--{flag} 0x{data.hex()}" for flag, data in fields))
        for label, digest, block in launches
        for fields in _combinations(digest, block, policy)
    ]


def _combinations(
    digest: bytes, block: ReportedIdBlock | None, policy: AppraisalPolicy
) -> list[list[tuple[str, bytes]]]:
    """Return the arguments of each combination of accepted values: snpguest takes one value of a field."""
    of_block = (block.id_key_digest, block.author_key_digest) if block is not None else (None, None)
    choices: list[tuple[str, tuple[bytes, ...]]] = [
        ("host-data", policy.host_data),
        ("report-data", policy.report_data),
        ("id-key-digest", policy.id_keys or tuple(filter(None, of_block[:1]))),
        ("author-key-digest", policy.author_keys or tuple(filter(None, of_block[1:]))),
    ]
    found = [[("measurement", digest)]]
    for flag, accepted in choices:
        if accepted:
            found = [[*fields, (flag, data)] for fields in found for data in accepted]
    return found


EXPORTER = SnpGuest()
