"""Azure's HCL report: a report whose REPORT_DATA is a digest of what the paravisor says beside it.

Layout: Microsoft's description of confidential VMs' "runtime data", and az-cvm-vtpm, src/hcl/mod.rs.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import new
from struct import Struct
from typing import Any, NamedTuple

from sevbuild.attest.report import REPORT_SIZE, Report
from sevbuild.attest.tpm_quote import TpmQuote
from sevbuild.attest.verdict import Check, failed, not_checked, passed
from sevbuild.documents.json_input import parse_json
from sevbuild.errors import SevbuildError
from sevbuild.text import counted

__all__ = ["HclBinding", "check_binding", "check_nonce", "check_quote", "decode_hcl"]

# Magic, version, size of all, request type, status, three reserved numbers; the report; size of what follows
# with this head, version, type of report, type of hash, size of the JSON.
_HEAD = Struct("<4s7I")
_DATA = Struct("<5I")
_VERSIONS = (1, 2)
_SNP_REPORT = 2
_HASHES = {1: "sha-256", 2: "sha-384", 3: "sha-512"}
_AK = "HCLAkPub"


class HclBinding(NamedTuple):
    """What Azure's paravisor binds to a report.

    `runtime` is JSON as it is hashed with `algorithm`, `claims` what it says. `quote` is that of the virtual
    TPM, where it came along. Nothing of it is believed before `check_binding`.
    """

    runtime: bytes
    algorithm: str
    claims: dict[str, Any]
    quote: TpmQuote | None = None


def decode_hcl(data: bytes, source: str) -> tuple[bytes, HclBinding]:
    """Return the report in an HCL report, and what is bound to it.

    Raises SevbuildError for one of a TDX guest, for sizes that do not fit, and for bytes set behind its end.
    """
    start = _HEAD.size + REPORT_SIZE + _DATA.size
    if len(data) < start:
        raise SevbuildError(f"{source}: an HCL report has {start} bytes or more, not {len(data)}")
    magic, version, size, request, status, *reserved = _HEAD.unpack_from(data)
    own, data_version, kind, hash_type, length = _DATA.unpack_from(data, start - _DATA.size)
    if magic != b"HCLA" or version not in _VERSIONS or data_version != 1:
        raise SevbuildError(
            f"{source}: an HCL report of version {version}.{data_version}, where 1 and 2 are known"
        )
    if (request, kind) != (_SNP_REPORT, _SNP_REPORT):
        tdx = ": it is of a TDX guest" if kind == 4 else ""
        raise SevbuildError(f"{source}: the HCL report has no SNP report (type {request}, {kind}){tdx}")
    if status or any(reserved):
        raise SevbuildError(f"{source}: the HCL report has status {status:#x}, or reserved fields are set")
    if hash_type not in _HASHES:
        raise SevbuildError(f"{source}: hash type {hash_type} of the HCL report is none of 1 to 3")
    if own != _DATA.size + length or length > len(data) - start or size != start + length:
        raise SevbuildError(f"{source}: the sizes in the HCL report do not fit its {len(data)} bytes")
    if any(data[start + length :]):
        raise SevbuildError(f"{source}: bytes are set behind the end of the HCL report")
    runtime = data[start : start + length]
    claims = parse_json(f"{source}: runtime data", runtime)
    if not isinstance(claims, dict):
        raise SevbuildError(f"{source}: runtime data: must be an object")
    report = data[_HEAD.size : _HEAD.size + REPORT_SIZE]
    return report, HclBinding(runtime, _HASHES[hash_type], claims)


def check_binding(hcl: HclBinding, report: Report) -> Check:
    """Check that REPORT_DATA is the digest of the runtime data, and zeros behind it."""
    name = "hcl-binding"
    digest = new(hcl.algorithm.replace("-", ""), hcl.runtime).digest()
    found, wanted = report.report_data, digest.ljust(len(report.report_data), b"\0")
    said = f"{hcl.algorithm.upper()} of the runtime data"
    if found != wanted:
        rest = "" if found[: len(digest)] != digest else ", but not zeros behind it"
        return failed(name, f"REPORT_DATA is not the {said}{rest}", found.hex(), wanted.hex())
    return passed(name, f"REPORT_DATA is the {said}", found.hex(), wanted.hex())


def check_quote(hcl: HclBinding) -> Check:
    """Check that the TPM's quote is signed by the key in the runtime data, and is of the PCRs given.

    The key is the TPM's only where `check_binding` passes.
    """
    name = "tpm-quote"
    if hcl.quote is None:
        return not_checked(name, "no TPM quote came with the HCL report")
    try:
        key = hcl.quote.key_of(_key(hcl.claims))
        reason = hcl.quote.refusal(key)
    except SevbuildError as error:
        reason = error.message
    nonce = hcl.quote.extra_data.hex()
    if reason:
        return failed(name, reason, nonce)
    return passed(
        name, f"the TPM signed {counted(len(hcl.quote.selected), 'PCR')} and a nonce with {_AK}", nonce
    )


def check_nonce(hcl: HclBinding | None, nonces: Sequence[bytes]) -> Check:
    """Check that the nonce of the TPM's quote is one of those that were asked for.

    It says when the quote was made only where `check_quote` passes.
    """
    name = "tpm-nonce"
    wanted = ", ".join(nonce.hex() for nonce in nonces)
    quote = None if hcl is None else hcl.quote
    if quote is None:
        reason = "there is no TPM quote"
        return failed(name, reason, "", wanted) if nonces else not_checked(name, reason)
    found = quote.extra_data.hex()
    if not nonces:
        reason = "none was given: nothing shows that this quote is not an older one (--tpm-nonce HEX)"
        return not_checked(name, reason, found)
    if quote.extra_data in nonces:
        return passed(name, "as was asked for", found, wanted)
    return failed(name, "another than was asked for", found, wanted)


def _key(claims: dict[str, Any]) -> dict[str, Any]:
    keys = claims.get("keys")
    found = (
        [key for key in keys if isinstance(key, dict) and key.get("kid") == _AK]
        if isinstance(keys, list)
        else []
    )
    if len(found) != 1:
        raise SevbuildError(f"the runtime data has {len(found)} keys {_AK}, where one is expected")
    return found[0]
