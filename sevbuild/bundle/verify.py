"""Measure a bundle again from its own files, and compare all that is in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from sevbuild.bundle.artifacts import Artifact
from sevbuild.bundle.contents import (
    bundle_values,
    earlier_reference_bytes,
    reference_bytes,
    reference_values,
    target_files,
)
from sevbuild.bundle.document import BundleDocument, FileEntry, InputEntry, sums_text
from sevbuild.bundle.folder import bundle_folder, find_extra, list_folder, read_document
from sevbuild.bundle.layout import DOCUMENT, ID_BLOCK_FOLDER, MANIFEST, REFERENCE, SUMS
from sevbuild.bundle.write import primed_guest
from sevbuild.documents.document import parse_toml
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.fs import read_file, read_text
from sevbuild.guest.guest import Guest
from sevbuild.guest.inputs import HashedInput, read_hashed
from sevbuild.guest.measured import Measured
from sevbuild.guest.records import input_records
from sevbuild.guest.seed import firmware_seed
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.inputs import CMDLINE, FIRMWARE, launched_as
from sevbuild.manifest.model import Manifest
from sevbuild.manifest.path_keys import is_profile_path
from sevbuild.manifest.targets import Target
from sevbuild.progress import Progress
from sevbuild.reference.document import Fact, facts
from sevbuild.reference.model import ReferenceValues, Value

__all__ = ["Verified", "bundled_guest", "verify_bundle"]

_SUMS_LIMIT = 64 << 20
_LEAST_UPDATE = 100
"""No launch update takes fewer bytes in plan.json."""


class Verified(NamedTuple):
    """A bundle that is consistent: its document, what was measured, and the inputs that it lacks."""

    document: BundleDocument
    values: ReferenceValues
    absent: list[InputEntry]


def verify_bundle(path: str, *, progress: Progress | None = None) -> Verified:
    """Return a bundle found consistent; `path` is its folder or its bundle.json.

    Raises MismatchError naming the first file and target that differ, SevbuildError for what is no bundle
    at all. Nothing in the folder is trusted.
    """
    guest, folder, listing, bundle, hashed = _opened(path, progress)
    targets = _select(guest, bundle)
    measured = guest.measure(targets)
    _check_inputs(guest, targets, bundle)
    _check_placed_firmware(folder, bundle, hashed)
    values = _check_targets(guest, measured, bundle)
    absent = [entry for entry in bundle.absent if entry.file not in listing]
    return Verified(bundle, values, absent)


def bundled_guest(path: str, *, progress: Progress | None = None) -> Guest:
    """Return the guest of a bundle whose files are those that it lists; its targets are not measured.

    It has the targets that the bundle is of, not all that the manifest declares: inputs of others may not be
    there. `path` is its folder or its bundle.json. Raises SevbuildError as `verify_bundle` does.
    """
    guest, _, _, bundle, _ = _opened(path, progress)
    guest.targets = _select(guest, bundle)
    return guest


def _opened(
    path: str, progress: Progress | None
) -> tuple[Guest, str, Mapping[str, int], BundleDocument, Mapping[str, HashedInput]]:
    """Return a bundle: its guest, its folder, what lies there, its document, the digests of its files."""
    folder = bundle_folder(path)
    listing = list_folder(folder)
    bundle, data = read_document(folder)
    hashed = _check_files(folder, listing, bundle, data, progress)
    return primed_guest(_read_manifest(folder, bundle), hashed), folder, listing, bundle, hashed


def _check_files(
    folder: str,
    listing: Mapping[str, int],
    bundle: BundleDocument,
    data: bytes,
    progress: Progress | None,
) -> dict[str, HashedInput]:
    """Compare every file with its entry and return the digests of all, by path."""
    sums = sums_text([*bundle.files, FileEntry(DOCUMENT, "bundle", len(data), sha256(data).digest())])
    if SUMS not in listing:
        raise MismatchError(f"{folder}: {SUMS} is missing")
    found = read_file(os.path.join(folder, SUMS), _SUMS_LIMIT)
    if found != sums.encode():
        raise MismatchError(f"{folder}: {_first_difference(found, sums)}")
    extra = find_extra(dict(listing), bundle)
    if extra is not None:
        raise MismatchError(f"{folder}: {extra} is not in {DOCUMENT}")
    wanted = {entry.path: (entry.size, entry.sha256) for entry in bundle.files}
    for entry in bundle.absent:
        if entry.file is not None and entry.file in listing and entry.sha256 is not None:
            size = listing[entry.file] if entry.size is None else entry.size
            wanted[entry.file] = (size, entry.sha256)
    hashed = {}
    for path, (size, digest) in wanted.items():
        if path not in listing:
            raise _differs(bundle, path, "is missing")
        if listing[path] != size:
            raise _differs(bundle, path, f"has {listing[path]} bytes; {DOCUMENT} says {size}")
        hashed[path] = found_file = read_hashed([os.path.join(folder, path)], progress=progress)
        if found_file.sha256 != digest:
            raise _differs(
                bundle, path, f"sha256 is {found_file.sha256.hex()}; {DOCUMENT} says {digest.hex()}"
            )
    return hashed


def _first_difference(found: bytes, wanted: str) -> str:
    lines = found.decode("utf-8", "replace").splitlines()
    for line, other in zip(wanted.splitlines(), lines, strict=False):
        if line != other:
            digest, _, path = line.partition("  ")
            if path == DOCUMENT and other.endswith(f"  {DOCUMENT}"):
                return f"{DOCUMENT}: sha256 is {digest}; {SUMS} says {other[:64]}"
            return f"{SUMS}: the line for {path} does not match {DOCUMENT}"
    return f"{SUMS}: does not list the files that {DOCUMENT} lists"


def _differs(bundle: BundleDocument, path: str, how: str) -> MismatchError:
    target = next((entry.value.label for entry in bundle.targets if path in entry.files.values()), None)
    return MismatchError(f"{path}: {how}" + (f" (first target that needs it: {target})" if target else ""))


def _read_manifest(folder: str, bundle: BundleDocument) -> Manifest:
    """Return what guest.toml says; raises SevbuildError where it or a profile names a file of others."""
    files = bundle.by_path
    if MANIFEST not in files:
        raise SevbuildError(f"{folder}: the bundle has no {MANIFEST}")
    source = os.path.join(folder, MANIFEST)
    manifest = decode_manifest(read_text(source), source, directory=folder)
    for path in _named_files(manifest):
        if path not in files:
            raise SevbuildError(f"{source}: names {path[:200]!r}, which is not a file of the bundle")
    for variant in manifest.variants:
        declared = variant.id_block
        if declared is not None and (declared.signed not in (None, ID_BLOCK_FOLDER) or [*declared.files()]):
            raise SevbuildError(f"{source}: ID blocks of a bundle lie in {ID_BLOCK_FOLDER}, without keys")
        if variant.kernel is not None and variant.kernel.uki_as == "parts":
            raise SevbuildError(f"{source}: a bundle must have the parts of an image as files")
        for name in variant.profiles:
            if is_profile_path(name):
                text = read_text(os.path.join(folder, name))
                if "extends" in parse_toml(text, name):
                    raise SevbuildError(f"{folder}/{name}: a profile in a bundle must not extend another")
    return manifest


def _named_files(manifest: Manifest) -> Iterator[str]:
    for variant in manifest.variants:
        for declared in variant.inputs:
            yield from (source.name for source in declared.sources)
        yield from filter(is_profile_path, variant.profiles)


def _select(guest: Guest, bundle: BundleDocument) -> list[Target]:
    known = {target.label: target for target in guest.targets}
    files = bundle.by_path
    targets = []
    for entry in bundle.targets:
        target = known.get(entry.value.label)
        if target is None:
            raise MismatchError(f"{entry.value.label}: not a target of {MANIFEST}")
        # What is measured must not grow beyond what the bundle shows for it.
        plan = files.get(entry.files.get("plan", ""))
        every = target.mode != "sev" and target.profile.rules.launch.measured_vcpus == "all"
        if plan is None or plan.size < _LEAST_UPDATE * (target.vcpus if every else 1):
            raise MismatchError(f"{target.label}: its plan.json is missing or too short for its vCPUs")
        targets.append(target)
    return targets


def _check_inputs(guest: Guest, targets: Sequence[Target], bundle: BundleDocument) -> None:
    """Compare the inputs that were measured with those that bundle.json names."""
    measured = {
        (launched_as(record.role), record.digest): record.role for record in input_records(guest, targets)
    }
    claimed = set()
    files = bundle.by_path
    for entry in bundle.inputs:
        file = None if entry.file is None else files.get(entry.file)
        if file is not None and (file.size, file.sha256) != (entry.size, entry.sha256):
            raise MismatchError(
                f"{file.path}: the size or sha256 differs from the {entry.role} in {DOCUMENT}"
            )
        for digest in (entry.sha256, entry.seed):
            if digest is not None:
                claimed.add((launched_as(entry.role), digest))
        if entry.measured and entry.file is not None:
            digest = entry.seed or entry.sha256 or b""
            if (launched_as(entry.role), digest) not in measured:
                raise MismatchError(f"{DOCUMENT}: {entry.role} {digest.hex()} is not what was measured")
    for (kind, digest), role in measured.items():
        if (kind, digest) not in claimed:
            raise MismatchError(
                f"{DOCUMENT}: the {role} that was measured, {digest.hex()}, is not among its inputs"
            )


def _check_placed_firmware(folder: str, bundle: BundleDocument, hashed: Mapping[str, HashedInput]) -> None:
    """Check that a firmware put in the place of a seed's is the one whose seed it is."""
    for entry in bundle.inputs:
        if entry.role == "firmware" and entry.seed is not None and entry.file is not None:
            if entry.file not in hashed:
                continue
            data = read_file(os.path.join(folder, entry.file), FIRMWARE.limit)
            seed = firmware_seed(data)
            if seed != entry.seed:
                raise MismatchError(
                    f"{entry.file}: its seed is {seed.hex()}; {DOCUMENT} says {entry.seed.hex()}"
                )


def _check_targets(
    guest: Guest, measured: Sequence[Measured[Target]], bundle: BundleDocument
) -> ReferenceValues:
    """Make again what is made for targets, compare it with the bundle's files, and return the values."""
    files = bundle.by_path
    reference = reference_values(guest, measured, bundle.inputs)
    _check_values(bundle_values(reference), bundle)
    if (reference.name, reference.version) != (bundle.name, bundle.version):
        raise MismatchError(f"{DOCUMENT}: guest is not the one in {MANIFEST}")
    roles = _fixed_roles(guest.manifest)
    expected = {entry.value.label: entry.files for entry in bundle.targets}

    for target in target_files(guest, measured, bundle.inputs):
        listed = expected[target.label]
        for artifact in target.made:
            path = listed.get(artifact.role, "")
            found = files.get(path)
            if found is None:
                raise MismatchError(f"{target.label}: {DOCUMENT} lists no {artifact.role} for it")
            if found.role != artifact.role or not _is(found.sha256, artifact):
                raise MismatchError(f"{path}: not the {artifact.role} of {target.label}")
            target.files[artifact.role] = path
        if target.files != listed:
            raise MismatchError(f"{target.label}: {DOCUMENT} lists other files for it")
        for role, path in listed.items():
            roles.setdefault(path, set()).add(role)
    forms = [reference_bytes(reference), earlier_reference_bytes(reference)]
    if guest.id_blocks is None:
        # Nothing was said of the block in a ready IGVM file.
        values = tuple(value._replace(id_block=None) for value in reference.values)
        forms.append(reference_bytes(reference._replace(values=values)))
    if REFERENCE not in files or files[REFERENCE].sha256 not in [sha256(data).digest() for data in forms]:
        raise MismatchError(f"{REFERENCE}: not the reference values of what was measured")
    _check_roles(bundle, roles)
    return reference


def _is(digest: bytes, artifact: Artifact) -> bool:
    """Tell whether a file is what this release makes, or what was made of the same target before."""
    if digest == sha256(artifact.data).digest():
        return True
    return artifact.earlier is not None and digest == sha256(artifact.earlier()).digest()


def _check_roles(bundle: BundleDocument, roles: Mapping[str, set[str]]) -> None:
    for path, found in bundle.by_path.items():
        if path not in roles:
            raise MismatchError(f"{path}: does not belong to any target")
        if found.role not in roles[path]:
            raise MismatchError(f"{path}: {DOCUMENT} calls it {_shown(found.role)}")


def _fixed_roles(manifest: Manifest) -> dict[str, set[str]]:
    """Return the files that the guest has whatever its targets, with what bundle.json calls them."""
    roles = {MANIFEST: {"manifest"}, REFERENCE: {"reference_values"}}
    for variant in manifest.variants:
        for declared in variant.inputs:
            if declared.role is CMDLINE:
                roles[declared.name] = {"cmdline"}
        for name in variant.profiles:
            if is_profile_path(name):
                roles[name] = {"profile"}
    return roles


def _check_values(values: Sequence[Value], bundle: BundleDocument) -> None:
    for value, entry in zip(values, bundle.targets, strict=True):
        found, said = facts(value), facts(entry.value)
        for key in ("digest", *found):
            if found[key] != said[key]:
                one, other = _shown(found[key]), _shown(said[key])
                raise MismatchError(f"{value.label}: {key} is {one}; {DOCUMENT} says {other}")


def _shown(said: Fact) -> str:
    return str(said)[:200]
