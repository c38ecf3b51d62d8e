"""What `recompute` is given: a request in words, and a document of ours or of others."""

from __future__ import annotations

from collections.abc import Sequence

from sevbuild.documents.document import suggest
from sevbuild.documents.json_input import parse_json
from sevbuild.errors import SevbuildError, within
from sevbuild.manifest.profiles import DEFAULT_PROFILE, load_profile
from sevbuild.manifest.vcpu_keys import MAX_VCPUS, cpu_named
from sevbuild.reference.document import value_texts
from sevbuild.reference.expected import Run
from sevbuild.reference.model import ReferenceValues, Value
from sevbuild.reference.narrow import Selection
from sevbuild.reference.peers import ForeignResult, is_foreign, recompute_foreign
from sevbuild.reference.read import decode_reference_values, is_reference_document
from sevbuild.reference.recompute import Request, recompute_values
from sevbuild.reference.releases import at_release

__all__ = ["read_request", "read_selection", "recompute_document", "recomputed_run", "select_values"]


_REPLACED = {
    "counts": ("vcpus", "label", "cmdline", "digest"),
    "cpus": ("cpu", "signature", "label", "cmdline", "digest"),
    "cmdline": ("cmdline", "digest"),
}
"""What is another value in a target where a part of the request stands in place of its own."""


def read_request(vcpus: str, cpus: Sequence[str], cmdline: bytes | None) -> Request:
    """Return the request of these flags; raises SevbuildError."""
    if cmdline is not None and b"\0" in cmdline:
        raise SevbuildError("the command line contains a NUL: the first one ends it")
    counts = _counts(vcpus) if vcpus else None
    with within("--cpu"):
        chosen = tuple(cpu_named(name) for name in cpus)
    return Request(counts, chosen or None, cmdline)


def recompute_document(
    source: str, data: bytes, request: Request, select: Sequence[str], profile: str | None = None
) -> ForeignResult:
    """Return the digests that the document in `data` gives for this request.

    `profile` is for a document which names none, DEFAULT_PROFILE unless given; ours name their own.
    """
    raw = parse_json(source, data)
    selection = read_selection(select)
    if is_reference_document(raw):
        if profile is not None:
            hint = "--select profile=NAME takes those of one profile"
            raise SevbuildError(f"--profile {profile}: {source} names the profile of each value", hint=hint)
        values = decode_reference_values(source, raw)
        selected = select_values(source, values, selection)
        return ForeignResult(recompute_values(values, selected, request), [], (), values)
    if is_foreign(raw):
        named = load_profile(DEFAULT_PROFILE if profile is None else profile)
        return recompute_foreign(source, raw, request, selection, named)
    hint = "it reads reference-values.json, and what dstack, SecretVM and Contrast publish"
    raise SevbuildError(f"{source}: unknown kind of ingredients", hint=hint)


def recomputed_run(result: ForeignResult, request: Request, select: Sequence[str]) -> Run:
    """Return what was recomputed as a run, narrowed by what the request puts in place, and by `--select`.

    What `--select` picks of a document of others is one of its records, and narrows nothing of ours.
    """
    selection = read_selection(select)
    release = selection.pop("release", "")
    wanted: dict[str, list[str]] = {}
    if result.document is not None:
        replaced = {key for part, keys in _REPLACED.items() if getattr(request, part) for key in keys}
        wanted |= {key: [text] for key, text in selection.items() if key not in replaced}
    flags = [f"--select {entry}" for entry in select]
    if request.counts is not None:
        wanted["vcpus"] = [str(count) for count in request.counts]
        flags.append("--vcpus")
    if request.cpus is not None:
        wanted["cpu"] = [cpu.label for cpu in request.cpus]
        flags.append("--cpu")
    made = tuple(item.value for item in result.recomputed)

    def values() -> ReferenceValues:
        if result.document is None:
            return ReferenceValues("", "", (), made)
        if result.document.releases and not release:
            hint = f"--select release=VERSION takes one of {', '.join(result.document.releases)}"
            raise SevbuildError("what was recomputed is of several releases", hint=hint)
        document = at_release(result.document, release or result.document.version)
        return document._replace(values=made)

    pairs = [(item.label, item.digest) for item in result.recomputed]
    return Run(pairs, values, Selection((), wanted, " ".join(flags)), result.silent, has_targets=False)


def select_values(source: str, values: ReferenceValues, selection: dict[str, str]) -> list[Value]:
    """Return the values whose entries have all of the selection; raises SevbuildError for none."""
    found = []
    for value in values.values:
        said = {**value_texts(value), "release": ""}
        for key in selection:
            if key not in said:
                hint = suggest(key, said) or f"known: {', '.join(sorted(said))}"
                raise SevbuildError(f"{source}: a value has no {key!r}", hint=hint)
        if all(
            _in_release(value, values, wanted) if key == "release" else said[key] == wanted
            for key, wanted in selection.items()
        ):
            found.append(value)
    if not found:
        raise SevbuildError(f"{source}: no value matches the selection")
    return found


def _in_release(value: Value, values: ReferenceValues, wanted: str) -> bool:
    if wanted not in (values.releases or (values.version,)):
        return False
    if not values.releases:
        return True
    order = values.releases.index
    return any(order(span.first) <= order(wanted) <= order(span.last) for span in value.releases)


def read_selection(select: Sequence[str]) -> dict[str, str]:
    """Return what `--select KEY=VALUE` flags pick, by key; raises SevbuildError."""
    found = {}
    for entry in select:
        key, equals, wanted = entry.partition("=")
        if not key or not equals:
            raise SevbuildError(
                f"--select {entry}: not of the form KEY=VALUE", hint="such as --select vcpus=2"
            )
        found[key] = wanted
    return found


def _counts(text: str) -> tuple[int, ...]:
    counts: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.partition("-")
        numbers = [low, high] if dash else [low]
        if not all(number.isascii() and number.isdigit() and len(number) < 6 for number in numbers):
            raise SevbuildError(
                f"--vcpus {text}: not a number or a range", hint="such as 6, or 1-64, or 1,2,8"
            )
        first, last = int(numbers[0]), int(numbers[-1])
        if not 1 <= first <= last <= MAX_VCPUS:
            raise SevbuildError(f"--vcpus {text}: must be within 1..{MAX_VCPUS} and ascending")
        counts |= set(range(first, last + 1))
    return tuple(sorted(counts))
