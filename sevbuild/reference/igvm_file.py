"""The reference-values document of a ready IGVM file, in the shape of a manifest's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sevbuild.guest.foreign import ForeignFile, ForeignMeasured
from sevbuild.launch.page_type import PageType
from sevbuild.launch.region_data import chunks
from sevbuild.reference.model import DOCUMENT_SCHEMA
from sevbuild.vcpu.save_area import parse_vmsa

__all__ = ["foreign_document", "foreign_value"]


def foreign_document(file: ForeignFile, measured: Sequence[ForeignMeasured]) -> dict[str, Any]:
    """Return the document: `schema`, `guest`, `inputs` and one entry of `values` a loader.

    The guest has the file's name and no version; the file is its one input.
    """
    entry = {"role": "igvm", "name": file.name, "size": file.size, "sha256": file.sha256().hex()}
    return {
        "schema": DOCUMENT_SCHEMA,
        "guest": {"name": file.name, "version": None},
        "inputs": [entry],
        "values": [foreign_value(item) for item in measured],
    }


def foreign_value(item: ForeignMeasured) -> dict[str, Any]:
    """Return the entry of one loader; what does not apply to a file is None.

    `doubts` say why the digest may not be that of a running guest.
    """
    loaded, plan = item.loaded, item.plan
    vmsas = [update for update in plan.updates if update.page_type == PageType.VMSA]
    features = None
    if vmsas and vmsas[0].data is not None:
        features = parse_vmsa(b"".join(chunks(vmsas[0].data)))["sev_features"]
    gpas = sorted({update.gpa for update in vmsas}) if plan.mode == "snp" else []
    return {
        "label": item.label,
        "mode": plan.mode,
        "profile": loaded.loader.name,
        "cpu": "-",
        "signature": None,
        "vcpus": loaded.vcpus,
        "guest_features": hex(features) if isinstance(features, int) else None,
        "policy": hex(plan.policy),
        "kernel_hashes": any(update.origin == "kernel hashes" for update in plan.regions),
        "cmdline": None,
        "order": loaded.loader.order,
        "vmsa_gpa": hex(gpas[0]) if len(gpas) == 1 else None,
        "algorithm": "sha384" if plan.mode == "snp" else "sha256",
        "digest": item.digest.hex(),
        "origins": {
            "guest_features": vmsas[0].origin if vmsas else None,
            "policy": "GUEST_POLICY" if loaded.policy_given else f"default of {plan.mode}",
        },
        "doubts": [doubt._asdict() for doubt in item.doubts],
    }
