"""What is expected of a measurement, and whether it is so: a digest, a list with labels, or a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.text import utf8_text

if TYPE_CHECKING:
    from sevbuild.reference.changes import Comparison
    from sevbuild.reference.model import ReferenceValues
    from sevbuild.reference.narrow import Selection

__all__ = ["Expected", "Run", "compare_expected", "expected_release", "parse_digest", "parse_expected"]

_SIZES = (96, 64)


class Expected(NamedTuple):
    """One of three: a bare digest, digests by label, or reference values.

    `source` is what messages call it.
    """

    source: str
    digest: bytes | None = None
    digests: Mapping[str, bytes] | None = None
    values: ReferenceValues | None = None


class Run(NamedTuple):
    """What was measured, and what narrowed the measuring.

    `digests` are labels and launch digests. `values` makes the typed values of the same targets, which only
    a document is compared with. `silent` names what they say nothing of: a setting, `guest` or `input`.
    `has_targets` tells whether `--target` would narrow it.
    """

    digests: Sequence[tuple[str, bytes]]
    values: Callable[[], ReferenceValues]
    selection: Selection
    silent: Sequence[str] = ()
    has_targets: bool = True


def parse_digest(text: str) -> bytes | None:
    """Return a launch digest that is written in hex, None for any other text."""
    digits = text.strip().lower().removeprefix("0x")
    known = len(digits) in _SIZES and set(digits) <= set("0123456789abcdef")
    return bytes.fromhex(digits) if known else None


def parse_expected(source: str, data: bytes) -> Expected:
    """Return what the contents of a file expect; raises SevbuildError.

    A JSON document is read as strictly as any of ours. `DIGEST  LABEL` lines are those of `measure`; a line
    that begins with `#` is a comment.
    """
    if data.lstrip()[:1] == b"{":
        from sevbuild.reference.read import read_reference_values

        return Expected(source, values=read_reference_values(source, data))
    text = utf8_text(data)
    if text is None:
        raise SevbuildError(f"{source}: not a list of digests")
    found: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, label = line.strip().partition(" ")
        digest = parse_digest(word)
        label = label.strip()
        if digest is None:
            hint = "64 or 96 hexadecimal digits"
            if source.endswith(".toml"):
                hint = (
                    f"`sevbuild measure {source} --expect PATH` compares a manifest with what was published"
                )
            raise SevbuildError(f"{source}:{number}: not a launch digest: {word[:100]}", hint=hint)
        if label in found:
            raise SevbuildError(f"{source}:{number}: {label or 'a lone digest'} is listed twice")
        found[label] = digest
    if not found or ("" in found and len(found) > 1):
        raise SevbuildError(f"{source}: neither one digest nor `DIGEST  LABEL` lines")
    return Expected(source, digest=found[""]) if "" in found else Expected(source, digests=found)


def compare_expected(expected: Expected, run: Run, release: str = "") -> Comparison:
    """Return what differs of a run from what is expected of it; what narrowed the run narrows both sides.

    `release` names one of a document of several, where it is not to be the one of the guest's version.
    Raises SevbuildError where there is nothing to compare, or no telling what with.
    """
    if release and expected.values is None:
        raise SevbuildError(
            f"{expected.source}: not a document of several releases, which --release requires"
        )
    for label, count in Counter(label for label, _ in run.digests).items():
        if count > 1:
            hint = "take one of them: --release of a document, --select in recompute"
            raise SevbuildError(f"{label}: {count} digests have this label", hint=hint)
    if expected.digest is not None:
        if len(run.digests) != 1:
            hint = (
                "give a document or `DIGEST  LABEL` lines, or choose one target: --target, --loader, --select"
            )
            raise SevbuildError(f"one expected digest for {len(run.digests)} targets", hint=hint)
        ((label, _),) = run.digests
        return _compare_digests({label: expected.digest}, dict(run.digests))
    if expected.digests is not None:
        return _compare_lists(expected.source, expected.digests, run)
    return _compare_documents(expected, run, release)


def expected_release(
    values: ReferenceValues, version: str | None, release: str, source: str
) -> ReferenceValues:
    """Return what a document says of one release: the one asked for, else that of the guest's version."""
    from sevbuild.reference.releases import at_release

    if release or not values.releases:
        return at_release(values, release or values.version)
    if version not in values.releases:
        has = (
            "none has the guest" if version is None else f"{version!r}, the guest's version, is none of them"
        )
        message = f"{source}: a document of {len(values.releases)} releases, but {has}"
        raise SevbuildError(message, hint=f"--release takes one of {', '.join(values.releases)}")
    return at_release(values, version)


def _compare_documents(expected: Expected, run: Run, release: str) -> Comparison:
    from sevbuild.reference.compare import compare_values
    from sevbuild.reference.narrow import narrow_values

    measured = run.values()
    labels = [label for label, _ in run.digests]
    if expected.values is None:
        raise SevbuildError(f"{expected.source}: nothing is expected")
    values = expected_release(expected.values, measured.version, release, expected.source)
    values = narrow_values(values, run.selection, labels)
    _check_some(expected.source, run, len(values.values))
    partial = not run.selection.everything
    return compare_values(values, measured, partial=partial, silent=run.silent)


def _compare_lists(source: str, digests: Mapping[str, bytes], run: Run) -> Comparison:
    from sevbuild.reference.narrow import narrow_labels

    measured = dict(run.digests)
    labels = narrow_labels(digests.keys(), run.selection, measured, source=source)
    _check_some(source, run, len(labels))
    return _compare_digests({label: digests[label] for label in labels}, measured)


def _compare_digests(wanted: Mapping[str, bytes], measured: Mapping[str, bytes]) -> Comparison:
    from sevbuild.reference.changes import Change, Comparison, TargetChange

    targets = []
    for label in dict.fromkeys([*wanted, *measured]):
        old, new = wanted.get(label), measured.get(label)
        if old is None or new is None:
            status, changes = "added" if old is None else "removed", []
        else:
            status = "equal" if old == new else "changed"
            changes = [] if old == new else [Change("launch digest", old.hex(), new.hex())]
        targets.append(TargetChange(label, status, old, new, tuple(changes)))
    return Comparison((), tuple(targets))


def _check_some(source: str, run: Run, published: int) -> None:
    """Raise SevbuildError where either side has no target: nothing would be compared."""
    matching = "" if run.selection.everything else f" that matches {run.selection.flags or 'the selection'}"
    if not run.digests:
        raise SevbuildError(f"nothing was measured{matching}")
    if not published:
        hint = "what narrows the run narrows both sides" if matching else None
        raise SevbuildError(f"{source}: no target is published there{matching}", hint=hint)
