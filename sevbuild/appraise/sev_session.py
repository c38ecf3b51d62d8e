"""What a guest owner has in files: certificates, keys, what a host reported and what was published."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sevbuild.bundle.published import read_expected
from sevbuild.documents.binary_text import base64_bytes
from sevbuild.documents.document import parse_hex
from sevbuild.errors import MismatchError, SevbuildError, file_errors, within
from sevbuild.fs import read_file, read_standard_input
from sevbuild.identity.host_report import HostReport, merged_reports, read_host_report
from sevbuild.identity.launch_measure import MeasuredLaunch
from sevbuild.identity.measure_mistakes import ZERO_TIK, Claim, mistakes
from sevbuild.identity.sev_certificate import AmdCertificate, SevCertificate
from sevbuild.identity.sev_chain import read_certificates
from sevbuild.identity.sev_session import TransportKeys, read_key, read_keys
from sevbuild.manifest.selection import select_labels
from sevbuild.text import counted

__all__ = [
    "OwnedTarget",
    "Verified",
    "measured_launch",
    "owned_targets",
    "read_chain",
    "read_host",
    "read_transport_keys",
    "verify_launch",
]

_LIMIT = 1 << 20
"""No file of these is larger."""
_MODES = ("sev", "sev-es")
_DIGEST_SIZE = 32


class OwnedTarget(NamedTuple):
    """A published launch digest in mode sev or sev-es, and the policy it was published with.

    `name` is guest, version and label as far as they are known; a bare digest has no policy.
    """

    name: str
    digest: bytes
    policy: int | None


def read_chain(paths: Iterable[str]) -> list[AmdCertificate | SevCertificate]:
    """Return the certificates in files, and in the `.cert` files of folders; raises SevbuildError."""
    found: list[AmdCertificate | SevCertificate] = []
    for path in paths:
        names = [path]
        if os.path.isdir(path):
            names = [os.path.join(path, name) for name in _named(path, ".cert")]
            if not names:
                raise SevbuildError(f"{path}: a folder without a certificate (*.cert)")
        for name in names:
            found += read_certificates(_read(name), name)
    return found


def read_host(paths: Iterable[str]) -> HostReport:
    """Return what a host said in these files together; `-` is standard input."""
    reports = []
    for path in paths:
        source = "stdin" if path == "-" else path
        reports.append((source, read_host_report(_read(path), source)))
    return merged_reports(reports)


def read_transport_keys(session: str, tik: str, tek: str, tk: str) -> TransportKeys:
    """Return the keys in files, or in the folder `session` of one session; empty is what is not given.

    The TEK is empty where only a TIK is given. Raises SevbuildError where no TIK is.
    """
    if sum(map(bool, (session, tik or tek, tk))) != 1:
        hint = "--session DIR, or --tik FILE (and --tek FILE), or --tk FILE"
        raise SevbuildError("give the keys of one session", hint=hint)
    if tk:
        return read_keys(_read(tk), tk)
    if session:
        tik, tek = (_only(session, ending) for ending in ("tik.bin", "tek.bin"))
    if not tik:
        raise SevbuildError("--tek without --tik, which is what a measurement is made under")
    return TransportKeys(read_key(_read(tek), tek) if tek else b"", read_key(_read(tik), tik))


def owned_targets(source: str, patterns: Sequence[str], release: str) -> list[OwnedTarget]:
    """Return the SEV and SEV-ES targets of what was published, or a digest given in hexadecimal or base64.

    Raises SevbuildError where there are none.
    """
    raw = None if os.path.lexists(source) else base64_bytes(source)
    if raw is not None and len(raw) == _DIGEST_SIZE:
        source = raw.hex()
    expected = read_expected(source, "--against")
    if expected.digest is not None:
        if patterns or release:
            raise SevbuildError("--target and --release choose from a document, and this is a digest")
        return [OwnedTarget("the launch digest given", _sev_digest(expected.digest), None)]
    if expected.values is not None:
        from sevbuild.appraise.references import named_targets
        from sevbuild.reference.releases import at_release

        values = at_release(expected.values, release) if release else expected.values
        targets = named_targets(values)
        chosen = set(select_labels(patterns, [target.label for target in targets]))
        found = [
            OwnedTarget(target.name, target.digest, target.policy)
            for target in targets
            if target.label in chosen and target.mode in _MODES
        ]
    else:
        listed = expected.digests or {}
        chosen = set(select_labels(patterns, listed))
        found = [
            OwnedTarget(label, digest, None)
            for label, digest in listed.items()
            if label in chosen and len(digest) == _DIGEST_SIZE
        ]
    if not found:
        hint = "an SNP guest is verified by its attestation report: `sevbuild verify REPORT --against ...`"
        raise SevbuildError(f"{source}: no target in mode sev or sev-es", hint=hint)
    return found


class Verified(NamedTuple):
    """A measurement that holds: which targets it is of, and all that it is over.

    SEV measures no vCPUs, so that several targets can be launched alike.
    """

    targets: tuple[OwnedTarget, ...]
    launch: MeasuredLaunch
    measure: bytes
    nonce: bytes


def measured_launch(target: OwnedTarget, host: HostReport, policy: int | None) -> MeasuredLaunch:
    """Return what the measurement of a target is over, on the firmware that a host reports.

    `policy` is what the guest's session is bound to, None where that is the published one. Raises
    SevbuildError where a number is not known.
    """
    numbers = {name: getattr(host, name) for name in ("api_major", "api_minor", "build_id")}
    lacking = [f"--{name.replace('_', '-')}" for name, number in numbers.items() if number is None]
    if lacking:
        hint = "or what the host answers to query-sev, or prints for `virsh domlaunchsecinfo`"
        raise SevbuildError(f"the host's firmware is not known: {', '.join(lacking)}", hint=hint)
    policy = target.policy if policy is None else policy
    if policy is None:
        raise SevbuildError(f"{target.name} has no policy: --policy", hint="the one of the session")
    return MeasuredLaunch(**numbers, policy=policy, digest=target.digest)


def verify_launch(
    host: HostReport, keys: TransportKeys, targets: Sequence[OwnedTarget], policy: int | None
) -> Verified:
    """Return of which of these targets a host's measurement is.

    Raises MismatchError where it is of none, with the mistake that would explain it, and always for a TIK of
    zeros; SevbuildError where the host reported no measurement.
    """
    if host.measure is None:
        raise SevbuildError("no measurement among what the host reports", hint="query-sev-launch-measure")
    if host.nonce is None:
        raise SevbuildError("a measurement without its nonce: --nonce", hint="its last 16 bytes of 48")
    if keys.tik == ZERO_TIK:
        raise MismatchError(
            "a TIK of zeros proves nothing: whoever runs the host can make any measurement under it",
            hint="launch the guest with a session that `sevbuild session create` makes",
        )
    launches = [(target, measured_launch(target, host, policy)) for target in targets]
    right = next((launch for _, launch in launches if launch.has(host.measure, keys.tik, host.nonce)), None)
    if right is not None:
        alike = tuple(target for target, launch in launches if launch == right)
        return Verified(alike, right, host.measure, host.nonce)
    digests = {target.name: target.digest for target, _ in launches}
    found = mistakes(Claim(host.measure, host.nonce, keys, launches[0][1], digests))
    details = [f"found: {text}" for text in found]
    if host.policy is not None and host.policy not in {launch.policy for _, launch in launches}:
        details.append(f"the host reports policy {host.policy:#x}")
    hint = None if found else _NO_CAUSE
    one = launches[0][0].name if len(launches) == 1 else f"any of {len(launches)} targets"
    message = f"the measurement is not that of {one}"
    raise MismatchError(f"{message}:" if details else message, details=details, hint=hint)


_NO_CAUSE = (
    "no one mistake explains it: another firmware, kernel, initrd or command line, another CPU model or "
    "number of vCPUs, a measurement of an earlier launch, keys of another session"
)


def _sev_digest(digest: bytes) -> bytes:
    with within("--against", hint="96 digits are an SNP launch digest; SEV's and SEV-ES's has 64"):
        return parse_hex(digest.hex(), _DIGEST_SIZE)


def _read(path: str) -> bytes:
    return read_standard_input(_LIMIT) if path == "-" else read_file(path, _LIMIT)


def _named(folder: str, ending: str) -> list[str]:
    with file_errors("read", folder):
        return [name for name in sorted(os.listdir(folder)) if name.endswith(ending)]


def _only(folder: str, ending: str) -> str:
    """Return the one file of a folder whose name ends so."""
    names = _named(folder, ending)
    if len(names) != 1:
        hint = f"{', '.join(names)}: give one with --{ending[:3]}" if names else "`session create` writes one"
        raise SevbuildError(f"{folder}: {counted(len(names), 'file')} named *{ending}", hint=hint)
    return os.path.join(folder, names[0])
