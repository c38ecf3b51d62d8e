"""The guest owner's scripts, run: with the real tools where they are, with a stand-in everywhere."""

from __future__ import annotations

import hmac
import os
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from sevbuild.guest.guest import load_guest
from sevbuild.reference.collect import collect_values
from sevbuild.reference.document import reference_document
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import exporter, render
from tests.export.support import document, rendered, typed
from tests.support.firmware import make_firmware
from tests.support.guests import write_manifest
from tests.support.real import require

TIK = bytes(range(16))
NONCE = bytes(range(100, 116))
HOST = {"API_MAJOR": "1", "API_MINOR": "55", "BUILD_ID": "24"}


def _guest(folder: Path) -> dict[str, Any]:
    """Return the document of a guest in SEV and SEV-ES, whose files lie in the folder."""
    image = make_firmware(size=0x8000, reset=0x80B004, hash_table=(0x810C00, 0x400), fill=b"owner")
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "vmlinuz").write_bytes(b"kernel" * 1000)
    (folder / "initrd.img").write_bytes(b"initrd" * 1000)
    path = write_manifest(
        folder,
        guest={"name": "owner", "version": "1\nexit 9"},
        launch={"mode": ["sev", "sev-es"], "profile": "qemu", "policy": {"sev": 1, "sev-es": 5}, "guest-features": {"sev-es": 0}},
        firmware={"path": "OVMF.fd"},
        kernel={"path": "vmlinuz", "cmdline": "-x it's $HOME \"quiet\""},
        initrd={"path": "initrd.img"},
        vcpu={"count": [1, 3], "model": ["EPYC-Rome", "EPYC-Milan"]},
    )  # fmt: skip
    guest = load_guest(str(path))
    return reference_document(collect_values(guest, guest.measure()))


def _measurement(value: dict[str, Any]) -> str:
    """Return what an honest host reports for a target (SEV API 6.5.1: HMAC-SHA-256 with the TIK)."""
    policy = int(value["policy"], 16).to_bytes(4, "little")
    message = (
        b"\x04" + bytes(int(HOST[name]) for name in HOST) + policy + bytes.fromhex(value["digest"]) + NONCE
    )
    return b64encode(hmac.digest(TIK, message, "sha256") + NONCE).decode()


def _run(
    folder: Path, script: str, label: str, measurement: str, **more: str
) -> subprocess.CompletedProcess[str]:
    (folder / "tik.bin").write_bytes(TIK)
    (folder / "tek.bin").write_bytes(bytes(16))
    keys = {"TIK": str(folder / "tik.bin"), "TEK": str(folder / "tek.bin")}
    environment = {**os.environ, **HOST, **keys, "MEASUREMENT": measurement, "FILES": str(folder), **more}
    command = ["sh", str(folder / script), label]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


def _export(folder: Path, name: str) -> dict[str, Any]:
    of = _guest(folder)
    for path, data in render(name, typed(of), ExportOptions()).items():
        (folder / path).write_bytes(data)
    return of


def test_sevctl_computes_what_an_honest_host_reports(tmp_path: Path) -> None:
    if shutil.which("sevctl") is None:
        pytest.skip("sevctl (a crate of virtee) is not on this machine")
    of = _export(tmp_path, "sevctl")
    for value in of["values"]:
        result = _run(tmp_path, "sevctl.sh", value["label"], _measurement(value))
        assert (result.returncode, result.stdout) == (0, "the measurement is right\n"), result.stderr
    other = _run(tmp_path, "sevctl.sh", of["values"][-1]["label"], _measurement(of["values"][0]))
    assert other.returncode == 1
    assert "the measurement is wrong" in other.stderr


def test_libvirts_tool_measures_the_files_to_the_same(tmp_path: Path) -> None:
    require(shutil.which("virt-qemu-sev-validate"), "virt-qemu-sev-validate (package libvirt-clients-qemu)")
    of = _export(tmp_path, "virt-qemu-sev-validate")
    script = "virt-qemu-sev-validate.sh"
    # The program is run by the first python3 there is; its packages are the system's.
    system = {"PATH": f"/usr/bin:/bin:{os.environ['PATH']}"}
    for value in of["values"]:
        result = _run(tmp_path, script, value["label"], _measurement(value), **system)
        assert result.returncode == 0, (value["label"], result.stdout, result.stderr)
    other = _run(tmp_path, script, of["values"][-1]["label"], _measurement(of["values"][0]), **system)
    assert other.returncode == 1


@pytest.mark.parametrize("name", ["sevctl", "virt-qemu-sev-validate"])
def test_the_tool_is_called_with_each_argument_whole(tmp_path: Path, name: str) -> None:
    of = _export(tmp_path, name)
    stand_in = tmp_path / "bin" / name
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word" >&2; done\n')
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}:{os.environ['PATH']}"
    value = of["values"][-1]
    words = _run(tmp_path, f"{name}.sh", value["label"], "TQ==", PATH=path).stderr.splitlines()
    if name == "sevctl":
        at = words.index("--launch-digest")
        assert words[at + 1] == b64encode(bytes.fromhex(value["digest"])).decode()
        assert words[words.index("--policy") + 1] == value["policy"]
    else:
        assert '--cmdline=-x it\'s $HOME "quiet"' in words
        assert words[words.index("--kernel") + 1] == str(tmp_path / "vmlinuz")
        assert words[words.index("--num-cpus") + 1] == "3"


@pytest.mark.parametrize("name", ["sevctl", "virt-qemu-sev-validate"])
def test_an_unknown_label_lists_the_labels(tmp_path: Path, name: str) -> None:
    of = _export(tmp_path, name)
    result = _run(tmp_path, f"{name}.sh", "nope", "TQ==")
    assert result.returncode == 2
    assert [line.strip() for line in result.stderr.splitlines()[1:]] == [
        value["label"] for value in of["values"]
    ]


def _drop_firmware(of: dict[str, Any]) -> None:
    del of["inputs"][0]
    for entry in of["ingredients"]:
        del entry["inputs"]["firmware"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda of: of["values"][3].update(order="canonical"), "canonical order"),
        (lambda of: of["values"][3].update(profile="qemu-es-init2"), "VMSAs of profile qemu, not of qemu-es-init2"),
        (lambda of: of["values"][3].update(guest_features="0x20"), "does not support guest features"),
        (lambda of: _forget(of, role="firmware"), "which of its inputs"),
        (lambda of: of["inputs"][2].update(name="a+b"), "the initrd is not a single file"),
        (lambda of: of["inputs"][1].update(name=".linux"), "the kernel is not a single file"),
        (lambda of: _forget(of, role="svsm"), "the kernel is not a file"),
        (_drop_firmware, "the firmware is not a file"),
    ],
)  # fmt: skip
def test_what_libvirts_tool_cannot_measure_is_not_exported(change: Any, reason: str) -> None:
    of = document("owner")
    change(of)
    assert reason in str(exporter("virt-qemu-sev-validate").refusal(typed(of)))


def _forget(of: dict[str, Any], **change: Any) -> None:
    """Change the kernel's entry, and take away what says which inputs a target has."""
    of["inputs"].append({**of["inputs"].pop(1), **change})
    for value in of["values"]:
        del value["ingredients"]
    of["ingredients"] = []


def test_an_unmeasured_kernel_is_not_named() -> None:
    of = document("owner")
    for value in of["values"]:
        value["kernel_hashes"] = False
    script = rendered("virt-qemu-sev-validate", of)["virt-qemu-sev-validate.sh"].decode()
    assert "--kernel" not in script


@pytest.mark.parametrize("name", ["sevctl", "virt-qemu-sev-validate"])
def test_a_label_that_stands_for_two_releases_is_no_argument(name: str) -> None:
    values = typed(document("owner"))
    twice = values._replace(values=(*values.values, values.values[0]._replace(digest=bytes(32))))
    assert "several releases" in str(exporter(name).refusal(twice))
