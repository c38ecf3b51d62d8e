"""The 48 bytes of an SEV or SEV-ES launch that are no digest: compared with keys, never searched."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.diagnose.answer import Answer, Expectation, Explanation
from sevbuild.diagnose.starts import Subject
from sevbuild.diagnose.wanted import Wanted
from sevbuild.errors import SevbuildError
from sevbuild.identity.launch_measure import BLOB_SIZE, MEASURE_SIZE, MeasuredLaunch
from sevbuild.identity.measure_mistakes import Claim, mistakes
from sevbuild.identity.sev_session import TransportKeys

__all__ = ["Platform", "explain_measurement", "is_measurement"]

_SEV = frozenset({"sev", "sev-es"})

_EXCLUDED = (
    "no policy, no reading of API and build, no order of the bytes and no target of the guest gives this "
    "measurement under this TIK: the session or the launch digest is another"
)


class Platform(NamedTuple):
    """What a measurement is made under beside the digest: the TIK, and the firmware's API and build."""

    tik: bytes
    api_major: int
    api_minor: int
    build_id: int


def is_measurement(subject: Subject, wanted: Wanted) -> bool:
    """Tell whether a measurement and its nonce were given: by their size, and the modes of the guest."""
    digest = wanted.digest
    return (
        wanted.kind == "digest" and digest is not None and len(digest) == BLOB_SIZE and subject.modes <= _SEV
    )


def explain_measurement(subject: Subject, wanted: Wanted, platform: Platform | None) -> Answer:
    """Return whether a measurement is of the guest, or by which mistake it is not.

    Raises SevbuildError without a platform: nothing can be told of it then.
    """
    answer = wanted.digest or b""
    if platform is None:
        modes = " and ".join(sorted(subject.modes))
        message = (
            f"{wanted.source}: {BLOB_SIZE} bytes in mode {modes} are the answer to LAUNCH_MEASURE, an HMAC and a "
            "nonce, which cannot be searched"
        )
        hint = (
            "--tik FILE --api X.Y --build N compares them; `virsh domlaunchsecinfo` and query-sev have API and "
            "build. An SNP digest is of a guest in mode snp: --set launch.mode=snp"
        )
        raise SevbuildError(message, hint=hint)
    measure, nonce = answer[:MEASURE_SIZE], answer[MEASURE_SIZE:]
    digests = {start.label: start.digest for start in subject.starts}
    expected = Expectation(answer, wanted.source, wanted.kind)
    launches = {label: _launch(subject, label, digest, platform) for label, digest in digests.items()}
    for label, launch in launches.items():
        if launch.has(measure, platform.tik, nonce):
            sentence = f"equal: it is the measurement of {label}, under this TIK and firmware"
            notes = ("a measurement under a TIK of zeros proves nothing",) if not any(platform.tik) else ()
            return Answer("equal", subject.title, expected, sentence, notes=(*subject.notes, *notes))
    told = {
        label: mistakes(Claim(measure, nonce, TransportKeys(b"", platform.tik), launch, digests))
        for label, launch in launches.items()
    }
    nearest = min(filter(told.get, told), key=lambda label: len(told[label]), default=None)
    if nearest is not None:
        found = Explanation(nearest, f"{nearest}: {'; '.join(told[nearest])}")
        return Answer("found", subject.title, expected, found.sentence, also=(found,), notes=subject.notes)
    return Answer(
        "not-found",
        subject.title,
        expected,
        f"not found: it is no measurement of {subject.title}",
        notes=subject.notes,
        excluded=(_EXCLUDED,),
        not_covered=("another launch digest: an HMAC tells nothing of what it is over",),
        next=(
            "the TIK of the session that this guest was launched with",
            "the launch digest as the host has it: `query-sev-attestation-report`, or a trace for `sevbuild replay`",
        ),
    )


def _launch(subject: Subject, label: str, digest: bytes, platform: Platform) -> MeasuredLaunch:
    return MeasuredLaunch(
        platform.api_major, platform.api_minor, platform.build_id, subject.policies[label], digest
    )
