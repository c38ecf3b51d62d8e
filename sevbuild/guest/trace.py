"""The launch plan of a target as a document: every update, and the launch digest after it."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256, sha384
from typing import Any

from sevbuild.guest.guest import Guest
from sevbuild.launch.page_type import MEASURED_CONTENTS
from sevbuild.launch.update import LaunchUpdate
from sevbuild.manifest.targets import Target

__all__ = ["plan_document"]


def plan_document(guest: Guest, target: Target) -> dict[str, Any]:
    """Return label, mode, profile, order, policy, seed and the list of updates of one target.

    Each update has index, origin, page type, GPA, length, the digest of its contents (SHA-384 for SNP,
    SHA-256 for SEV and SEV-ES, None where contents are not measured) and the running launch digest.
    """
    plan = guest.plan(target)
    steps: Iterator[tuple[LaunchUpdate, bytes]] = guest.trace(target)
    hasher = sha384 if target.mode == "snp" else sha256
    known: dict[int, str] = {}
    updates = []
    for index, (update, digest) in enumerate(steps):
        contents = None
        if update.data is not None and update.page_type in MEASURED_CONTENTS:
            contents = known.get(id(update.data))
            if contents is None:
                contents = known[id(update.data)] = hasher(update.data).hexdigest()
        updates.append(
            {
                "index": index,
                "origin": update.origin,
                "page_type": update.page_type.label if target.mode == "snp" else _command(update),
                "gpa": hex(update.gpa),
                "length": hex(update.length),
                "contents_digest": contents,
                "launch_digest": digest.hex(),
            }
        )
    return {
        "label": target.label,
        "mode": target.mode,
        "profile": target.profile.name,
        "order": target.variant.order,
        "policy": hex(target.policy),
        "guest_features": None if target.guest_features is None else hex(target.guest_features),
        "algorithm": "sha384" if target.mode == "snp" else "sha256",
        "seed": None if plan.seed is None else plan.seed.hex(),
        "updates": updates,
    }


def _command(update: LaunchUpdate) -> str:
    """Return what SEV and SEV-ES know in place of a page type: the command."""
    return "vmsa" if update.page_type.label == "vmsa" else "data"
