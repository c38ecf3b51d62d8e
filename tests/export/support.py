"""Documents, options and a signing key for the tests of formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import render
from sevbuild.reference.export.signing import load_signing_key
from sevbuild.reference.model import ReferenceValues
from sevbuild.reference.read import decode_reference_values

__all__ = ["DATA", "EXTRA", "document", "fitting", "pem", "rendered", "signing_key", "typed"]

DATA = Path(__file__).resolve().parents[1] / "data" / "export"

EXTRA: dict[str, dict[str, Any]] = {
    "rvps": {"expiration": "2027-01-01T00:00:00Z"},
    "corim": {"entity-name": "ACME", "entity-uri": "https://acme.example", "signer-name": "ACME release"},
    "contrast": {
        "platform": "Metal-QEMU-SNP",
        "product-name": "Milan",
        "tcb-bootloader": 4,
        "tcb-tee": 0,
        "tcb-snp": 24,
        "tcb-microcode": 219,
        "smt-enabled": True,
        "tsme-enabled": False,
        "minimum-mitigation-vector": 3,
        "allowed-chip-ids": (bytes(range(64)),),
    },
    "tinfoil": {
        "rtmr1": b"\x11" * 48,
        "rtmr2": b"\x22" * 48,
        "memory-mb": 4096,
        "gpus": 1,
        "disks": 3,
        "image-version": "0.4.1",
        "root": b"\x33" * 32,
        "raw": b"\x44" * 32,
        "config": "cvm-version: 0.4.1\n",
    },
    "igvm-identity": {"guest-svn": 7},
    "go-sev-guest": {"product-line": "Genoa"},
}

_OF_ONE_TARGET = ("tinfoil", "go-sev-guest")


def document(name: str) -> dict[str, Any]:
    """Return one of the reference-values documents kept for these tests."""
    found: dict[str, Any] = json.loads((DATA / "documents" / f"{name}.json").read_text())
    return found


def fitting(name: str) -> dict[str, Any]:
    """Return a document that a format applies to."""
    of = document("owner" if name in ("sevctl", "virt-qemu-sev-validate") else "matrix")
    return {**of, "values": of["values"][:1]} if name in _OF_ONE_TARGET else of


def typed(of: dict[str, Any]) -> ReferenceValues:
    """Return the reference values of a document."""
    return decode_reference_values("x", of)


def signing_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """Return a private key that everyone knows, P-384 unless said."""
    return ec.derive_private_key(0x5EB1D, curve or ec.SECP384R1())


def pem(key: Any) -> bytes:
    """Return a private key as PEM."""
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded


def rendered(
    fmt: str, of: dict[str, Any] | ReferenceValues, /, *, key: bytes | None = None, **extra: Any
) -> dict[str, bytes]:
    """Return the files of a format with the options of EXTRA, and these laid over them."""
    given = {word.replace("_", "-"): value for word, value in extra.items()}
    signer = None if key is None else load_signing_key(key)
    values = of if isinstance(of, ReferenceValues) else typed(of)
    return render(fmt, values, ExportOptions({**EXTRA.get(fmt, {}), **given}, signer))
