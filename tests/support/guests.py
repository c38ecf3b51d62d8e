"""Manifests of throw-away guests, from keyword arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sevbuild.guest.guest import Guest, load_guest

__all__ = ["digest_of", "digests_of", "guest_of", "toml_value", "write_manifest"]

BASE: dict[str, dict[str, Any]] = {
    "guest": {"name": "test", "version": "1"},
    "launch": {"mode": "snp", "profile": "qemu"},
    "vcpu": {"count": 1, "model": "EPYC-v4"},
}


def toml_value(value: Any) -> str:
    """Return a value as TOML; strings as JSON writes them, which TOML reads alike."""
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{json.dumps(key)} = {toml_value(entry)}" for key, entry in value.items())
            + " }"
        )
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(entry) for entry in value) + "]"
    if isinstance(value, bytes):
        return json.dumps(value.hex())
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_manifest(folder: Path, **tables: dict[str, Any] | list[Any] | None) -> Path:
    """Write a manifest whose tables are laid over a one-vCPU SNP guest, and return its path.

    A key that is None takes one of that guest away.
    """
    merged: dict[str, Any] = {name: dict(table) for name, table in BASE.items()}
    for name, table in tables.items():
        if isinstance(table, dict):
            laid = {**merged.get(name, {}), **table}
            merged[name] = {key: value for key, value in laid.items() if value is not None}
        elif table is not None:
            merged[name] = table
    lines = ["schema = 1"]
    lines += [f"{name} = {toml_value(table)}" for name, table in merged.items()]
    path = folder / "guest.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def guest_of(folder: Path, **tables: dict[str, Any] | list[Any] | None) -> Guest:
    """Return the guest that such a manifest declares."""
    return load_guest(str(write_manifest(folder, **tables)))


def digests_of(folder: Path, **tables: dict[str, Any] | list[Any] | None) -> dict[str, str]:
    """Return the launch digests of such a guest by label."""
    measured = guest_of(folder, **tables).measure()
    return {item.target.label: item.digest.hex() for item in measured}


def digest_of(folder: Path, **tables: dict[str, Any] | list[Any] | None) -> str:
    """Return the launch digest of such a guest's only target."""
    (digest,) = digests_of(folder, **tables).values()
    return digest
