"""What a digest is that was taken for another thing: comparisons that need no search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256, sha384
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.file_contents import FileContents
from sevbuild.launch.page_type import PageType
from sevbuild.launch.region_data import chunks
from sevbuild.text import counted

if TYPE_CHECKING:
    from sevbuild.diagnose.candidates import Release
    from sevbuild.diagnose.change import Start
    from sevbuild.diagnose.launches import Launches
    from sevbuild.diagnose.starts import Subject

__all__ = ["Finding", "equal_starts", "findings"]


class Finding(NamedTuple):
    """What an expected digest is: a sentence that begins with the target it is told of.

    `whole` tells that it is the digest of a whole launch, to which the guest's may be near, `step` that it is
    one of a launch that went on. `other` is the target of the same guest that has it.
    """

    target: str
    sentence: str
    whole: bool = False
    other: Start | None = None
    step: bool = False


def equal_starts(subject: Subject, wanted: bytes) -> list[Start]:
    """Return the launches whose digest it is."""
    return [start for start in subject.starts if start.digest == wanted]


def findings(
    subject: Subject, wanted: bytes, releases: Sequence[Release], launches: Launches
) -> list[Finding]:
    """Return what a digest is, that none of the launches to start from has, the likeliest first."""
    found = [*_of_others(subject, wanted), *_of_releases(wanted, releases)]
    return found or [
        *_reversed(subject, wanted),
        *_unfinished(subject, wanted, launches),
        *_of_files(subject, wanted),
    ]


def _of_others(subject: Subject, wanted: bytes) -> Iterator[Finding]:
    for other in subject.others:
        if other.digest == wanted:
            nearest = subject.starts[0].label
            yield Finding(nearest, f"it is the digest of target {other.label} of the same guest", True, other)


def _of_releases(wanted: bytes, releases: Sequence[Release]) -> Iterator[Finding]:
    for release in releases:
        for value in release.values.values:
            if value.digest == wanted:
                spans = ", ".join(span.text() for span in value.releases)
                name = f"release {spans}" if spans else release.name
                yield Finding(value.label, f"it is the digest that {name} has of it", True)


def _reversed(subject: Subject, wanted: bytes) -> Iterator[Finding]:
    for start in (*subject.starts, *subject.others):
        if start.digest[::-1] == wanted:
            yield Finding(start.label, f"it is the digest of {start.label} with its bytes in reverse order")
            return


def _unfinished(subject: Subject, wanted: bytes, launches: Launches) -> Iterator[Finding]:
    """Yield that a digest was taken before a launch was at its end."""
    for start in (*subject.starts, *subject.others):
        run = launches.run(start.setup)
        if run.plan.seed == wanted:
            yield Finding(
                start.label,
                "it is the seed: the digest after the firmware's pages, with nothing launched after them",
            )
            return
        for step, (update, digest) in enumerate(zip(run.plan.updates, run.digests, strict=True)):
            if digest == wanted:
                left = len(run.digests) - step - 1
                where = f"step {step} ({update.origin})"
                what = f"it is the digest of {start.label} after {where}, {counted(left, 'step')} early"
                if not step and run.plan.mode == "snp":
                    what += ": the seed"
                # A launch with fewer VMSAs is that of fewer vCPUs, which says more.
                yield Finding(start.label, what, whole=update.page_type == PageType.VMSA, step=True)
                return


def _of_files(subject: Subject, wanted: bytes) -> Iterator[Finding]:
    """Yield that a digest is that of a file, and of no launch."""
    name = "SHA-256" if len(wanted) == sha256().digest_size else "SHA-384"
    for what, path in subject.files.items():
        state = sha256() if name == "SHA-256" else sha384()
        for chunk in chunks(FileContents([path])):
            state.update(chunk)
        if state.digest() == wanted:
            yield Finding(subject.starts[0].label, f"it is the {name} of {what}, and no launch digest")
            return
