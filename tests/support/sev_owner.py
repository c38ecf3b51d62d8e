"""A guest of an owner: what was published of it, and what an honest host reports of its launch."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from sevbuild.identity.launch_measure import MeasuredLaunch
from tests.support.cli import run
from tests.support.firmware import make_firmware
from tests.support.guests import write_manifest

__all__ = ["NONCE", "POLICY", "blob_of", "libvirt_lines", "publish_guest"]

POLICY = 0x7
NONCE = bytes(range(100, 116))
API = (1, 55, 24)


def publish_guest(folder: Path, *, modes: tuple[str, ...] = ("sev-es",)) -> list[dict[str, Any]]:
    """Write a release of a guest into `folder`/release and return its values."""
    image = make_firmware(size=0x8000, reset=0x80B004, hash_table=(0x810C00, 0x400), fill=b"owner")
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "vmlinuz").write_bytes(b"kernel" * 1000)
    policies = {"sev": 0x3, "sev-es": POLICY}
    path = write_manifest(
        folder,
        guest={"name": "owner", "version": "1.0.0"},
        launch={"mode": list(modes), "profile": "qemu", "policy": {mode: policies[mode] for mode in modes}},
        firmware={"path": "OVMF.fd"},
        kernel={"path": "vmlinuz", "cmdline": "quiet"},
        vcpu={"count": [1, 2], "model": ["EPYC-Milan"]},
    )
    assert run("publish", "-q", path, "-o", folder / "release").status == 0
    values: list[dict[str, Any]] = json.loads((folder / "release" / "reference-values.json").read_text())[
        "values"
    ]
    return values


def blob_of(value: dict[str, Any], tik: bytes, **changes: Any) -> bytes:
    """Return measurement and nonce of a launched target."""
    launch = MeasuredLaunch(*API, int(value["policy"], 16), bytes.fromhex(value["digest"]))
    return launch._replace(**changes).blob(tik, NONCE)


def libvirt_lines(blob: bytes, policy: int = POLICY) -> str:
    """Return what `virsh domlaunchsecinfo` prints."""
    return (
        f"sev-measurement: {b64encode(blob).decode()}\nsev-api-major  : {API[0]}\nsev-api-minor  : {API[1]}\n"
        f"sev-build-id   : {API[2]}\nsev-policy     : {policy}\n"
    )
