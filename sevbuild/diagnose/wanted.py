"""What was expected: a launch digest, and what is known of the host that measured it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from sevbuild.diagnose.change import HostFacts
from sevbuild.documents.binary_text import base64_bytes, hex_bytes
from sevbuild.errors import SevbuildError
from sevbuild.fs import file_starts_with, is_regular, read_file, read_standard_input
from sevbuild.identity.id_block import BLOCK_SIZE, IdBlock
from sevbuild.text import counted, utf8_text, visible

if TYPE_CHECKING:
    from sevbuild.attest.report import Report
    from sevbuild.reference.model import ReferenceValues

__all__ = ["DIGEST_SIZES", "Kind", "Wanted", "read_wanted", "wanted_of_bytes", "wanted_of_report"]

Kind = Literal["digest", "report", "id-block", "reference-values"]

DIGEST_SIZES = (48, 32)
"""The bytes of a launch digest: of SNP, of SEV and SEV-ES."""

_STANDARD_INPUT = "stdin"
_LIMIT = 1 << 20
"""No file with a digest or an ID block in it is larger."""
_HINT = (
    "a launch digest has 96 hexadecimal digits (64 for SEV and SEV-ES), or is given in base64; a path is that of "
    "an attestation report, an ID block, reference values or a list of digests"
)
_SHOWN = 100
"""The most of a word that a message repeats."""
_PREFIXES = ("sha384:", "sha256:", "sha384-", "sha256-", "0x")


class Wanted(NamedTuple):
    """What was expected.

    `digests` are by the label of a target, under the empty label where no label is said. `source` is what
    messages call it. `host` is what a report says beside the digest, `values` are those of one of our
    documents, and `notes` what is to be known.
    """

    kind: Kind
    source: str
    digests: Mapping[str, bytes]
    host: HostFacts = HostFacts()
    notes: tuple[str, ...] = ()
    values: ReferenceValues | None = None

    @property
    def digest(self) -> bytes | None:
        """Return the digest that is of no target in particular, None where each has a label."""
        return self.digests.get("")


def read_wanted(text: str) -> Wanted:
    """Return what a word of the command line says is expected: a digest as it stands, or a path.

    Raises SevbuildError for anything that is neither, naming the size of bytes that are no launch digest.
    """
    from sevbuild.bundle.published import bundle_at

    if text != "-" and not os.path.lexists(text) and bundle_at(text) is None:
        return _of_words(text)
    from sevbuild.appraise.evidence import evidence_at, holds_evidence

    if text == "-":
        return _of_standard_input()
    if holds_evidence(text):
        return wanted_of_report(evidence_at(text).report, text)
    if _has_id_block(text):
        from sevbuild.guest.id_block_files import read_block_file

        return _of_block(IdBlock.decode(read_block_file(text).block, text), text)
    if is_regular(text) and os.path.getsize(text) <= _LIMIT:
        found = wanted_of_bytes(read_file(text, _LIMIT), text)
        if found is not None:
            return found
    return _of_document(text)


def _has_id_block(path: str) -> bool:
    """Tell whether a path is a folder with an ID block, or an IGVM file, which may have one."""
    if os.path.isdir(path):
        from sevbuild.guest.id_blocks import BLOCK_FILE

        return os.path.isfile(os.path.join(path, BLOCK_FILE))
    return is_regular(path) and file_starts_with(path, b"IGVM")


def _of_standard_input() -> Wanted:
    from sevbuild.attest.evidence import EVIDENCE_LIMIT, is_evidence, read_evidence

    data = read_standard_input(EVIDENCE_LIMIT)
    found = None if is_evidence(data) else wanted_of_bytes(data, _STANDARD_INPUT)
    if found is not None:
        return found
    return wanted_of_report(read_evidence(data, _STANDARD_INPUT).report, _STANDARD_INPUT)


def _of_words(text: str) -> Wanted:
    data = _decoded(text)
    found = None if data is None else _of_binary(data, "the digest given")
    if found is not None:
        return found
    shown = visible(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
    digits = hex_bytes(text)
    if digits is not None:
        raise SevbuildError(f"{shown}: {counted(len(digits), 'byte')}, not a launch digest", hint=_HINT)
    raise SevbuildError(f"{shown}: no such file, and not a launch digest", hint=_HINT)


def _decoded(text: str) -> bytes | None:
    """Return the bytes of hexadecimal digits or base64, None for other text."""
    word = text.strip()
    for prefix in _PREFIXES:
        if word.lower().startswith(prefix):
            word = word[len(prefix) :]
            break
    return hex_bytes(word) or base64_bytes(word) or None


def _of_binary(data: bytes, source: str) -> Wanted | None:
    """Return what bytes say that are a digest, an ID block or a report by their size; None for others."""
    if len(data) in DIGEST_SIZES:
        return Wanted("digest", source, {"": data})
    if len(data) == BLOCK_SIZE:
        return _of_block(IdBlock.decode(data, source), source)
    from sevbuild.attest.report import REPORT_SIZE

    return wanted_of_report(data, source) if len(data) == REPORT_SIZE else None


def wanted_of_bytes(data: bytes, source: str) -> Wanted | None:
    """Return what the contents of a file are that is no document, None for what may be one."""
    if not data.strip():
        raise SevbuildError(f"{source}: empty", hint=_HINT)
    text = utf8_text(data)
    if text is None or "\0" in text:
        found = _of_binary(data, source)
        if found is None:
            raise SevbuildError(f"{source}: {counted(len(data), 'byte')}, not a launch digest", hint=_HINT)
        return found
    raw = _decoded(text)
    return None if raw is None else _of_binary(raw, source)


def _of_block(block: IdBlock, source: str) -> Wanted:
    notes = ("an ID block says which launch is allowed to finish, not which one was measured",)
    return Wanted("id-block", source, {"": block.launch_digest}, HostFacts(policy=block.policy), notes)


def wanted_of_report(raw: bytes, source: str) -> Wanted:
    """Return what a report says: the digest that was measured, and on what host."""
    from sevbuild.attest.report import decode_report

    report = decode_report(raw, source, allow_unknown_version=True)
    notes = ["the report's signature was not verified: `sevbuild verify` does that"]
    if not any(report.measurement):
        hint = "the guest was not launched as an SNP guest, or the report is made up"
        raise SevbuildError(f"{source}: the MEASUREMENT of the report is all zeros", hint=hint)
    signature = _signature(report)
    if signature is None:
        notes.append(f"a report of version {report.version} does not name the host's CPU")
    host = HostFacts(signature, report.policy, report.vmpl, report.current_version, report.host_data)
    return Wanted("report", source, {"": report.measurement}, host, tuple(notes))


def _signature(report: Report) -> int | None:
    """Return the signature of the host's CPU, None where the report's version does not say."""
    from sevbuild.vcpu.models import cpu_signature

    family, model, stepping = report.cpuid_fam_id, report.cpuid_mod_id, report.cpuid_step
    if family is None or model is None or stepping is None:
        return None
    try:
        return cpu_signature(family, model, stepping)
    except SevbuildError:
        # Numbers that no CPU has: the report is not to be trusted in this, and the digest is looked for.
        return None


def _of_document(path: str) -> Wanted:
    from sevbuild.appraise.references import foreign_targets
    from sevbuild.bundle.published import read_expected

    if path.endswith(".toml"):
        hint = f"`sevbuild diff GUEST {path}` compares two manifests"
        raise SevbuildError(f"{path}: a manifest, and not what was expected of one", hint=hint)
    others = foreign_targets(path)
    if others is not None:
        return Wanted("reference-values", path, {target.label: target.digest for target in others})
    expected = read_expected(path, "EXPECTED")
    if expected.digest is not None:
        return Wanted("digest", expected.source, {"": expected.digest})
    if expected.digests is not None:
        return Wanted("reference-values", expected.source, dict(expected.digests))
    values = expected.values
    if values is None:
        raise SevbuildError(f"{expected.source}: nothing is expected")
    if values.releases:
        hint = (
            "`sevbuild diff OLD NEW --release VERSION` compares one of them; name the document of one release"
        )
        raise SevbuildError(f"{expected.source}: a document of {len(values.releases)} releases", hint=hint)
    digests = {value.label: value.digest for value in values.values}
    return Wanted("reference-values", expected.source, digests, values=values)
