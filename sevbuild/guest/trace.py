"""The launch plan of a target as a document: every update, and the launch digest after it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256, sha384
from typing import TYPE_CHECKING, Any

from sevbuild.guest.guest import Guest
from sevbuild.launch.mode import Mode
from sevbuild.launch.region_data import Contents, chunks
from sevbuild.launch.update import LaunchUpdate
from sevbuild.manifest.targets import Target

if TYPE_CHECKING:
    from sevbuild.guest.foreign import ForeignFile
    from sevbuild.igvm.loaded import Loaded
    from sevbuild.launch.plan import LaunchPlan

__all__ = ["ContentsDigests", "contents_digest", "file_plan_document", "plan_document", "shown_type"]

ContentsDigests = dict[tuple[bool, Contents], str]
"""Hexadecimal digests of contents that were hashed before, by whether that was with SHA-384."""


def plan_document(guest: Guest, target: Target, known: ContentsDigests | None = None) -> dict[str, Any]:
    """Return label, mode, profile, order, policy, seed and the list of updates of one target.

    Each update has index, origin, page type, GPA, length, the digest of its contents (SHA-384 for SNP,
    SHA-256 for SEV and SEV-ES, None where contents are not measured) and the running launch digest.
    `known` keeps the digests of contents for further targets of the same guest.
    """
    return {
        "label": target.label,
        "profile": target.profile.name,
        "order": target.order,
        **_document(guest.plan(target), target.guest_features, guest.trace(target), known),
    }


def file_plan_document(file: ForeignFile, loaded: Loaded) -> dict[str, Any]:
    """Return the same of what a loader made of an IGVM file."""
    return {
        "label": loaded.label,
        "profile": loaded.loader.name,
        "order": loaded.loader.order,
        **_document(loaded.plan, loaded.guest_features, file.trace(loaded.plan), {}),
    }


def _document(
    plan: LaunchPlan,
    guest_features: int | None,
    steps: Iterable[tuple[LaunchUpdate, bytes]],
    known: ContentsDigests | None,
) -> dict[str, Any]:
    return {
        "mode": plan.mode,
        "policy": hex(plan.policy),
        "guest_features": None if guest_features is None else hex(guest_features),
        "algorithm": "sha384" if plan.mode == "snp" else "sha256",
        "seed": None if plan.seed is None else plan.seed.hex(),
        "updates": _update_entries(plan.mode, steps, {} if known is None else known),
    }


def _update_entries(
    mode: Mode, steps: Iterable[tuple[LaunchUpdate, bytes]], known: ContentsDigests
) -> list[dict[str, Any]]:
    entries = []
    for index, (update, digest) in enumerate(steps):
        contents = None
        if update.data is not None:
            key = (mode == "snp", update.data)
            contents = known.get(key)
            if contents is None:
                contents = known[key] = contents_digest(mode, update.data).hex()
        entries.append(
            {
                "index": index,
                "origin": update.origin,
                "page_type": shown_type(mode, update),
                "gpa": hex(update.gpa),
                "length": hex(update.length),
                "contents_digest": contents,
                "launch_digest": digest.hex(),
            }
        )
    return entries


def contents_digest(mode: Mode, data: Contents) -> bytes:
    """Return the digest of the contents of a launch update: SHA-384 for SNP, SHA-256 for SEV and SEV-ES."""
    state = sha384() if mode == "snp" else sha256()
    for chunk in chunks(data):
        state.update(chunk)
    return state.digest()


def shown_type(mode: Mode, update: LaunchUpdate) -> str:
    """Return the page type of an update, in SEV and SEV-ES what they know in its place: the command."""
    if mode == "snp":
        return update.page_type.label
    return "vmsa" if update.page_type.label == "vmsa" else "data"
