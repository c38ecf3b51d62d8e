"""A document on its own is held to all that its ingredients and profiles tell, and says what they do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest

OTHER = "qemu-snp-debugswap"
Edit = Callable[[dict[str, Any]], Any]


def _document(folder: Path, mode: Any = "snp", **tables: Any) -> Path:
    """Write a guest with a kernel and two vCPU counts, and the document of it."""
    image = standard_firmware()
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "kernel").write_bytes(b"kernel")
    (folder / "initrd").write_bytes(b"initrd")
    given: dict[str, Any] = {
        "launch": {"mode": mode},
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdlines": {"plain": "n={vcpus} of {cpu}", "other": "quiet"}},
        "initrd": {"path": "initrd"},
        "vcpu": {"count": [1, 2], "model": ["EPYC-Milan", "EPYC-Genoa"]},
    }
    manifest = write_manifest(folder, **(given | tables))
    path = folder / "values.json"
    path.write_text(run("measure", "-q", manifest, "-f", "json").out)
    return path


def _refused(folder: Path, path: Path, label: str) -> None:
    """Check that the document is a mismatch for every verb that would pass it on, and that none writes."""
    result = run("verify", path)
    assert result.status == 1, result.out + result.err
    assert f"different  {label}\n" in result.out
    whole = json.loads(path.read_text())
    for words in (
        ["export", path, "-f", "hex", "-o", folder / "hex"],
        ["publish", path, "-o", folder / "release"],
        ["merge", path, path, "-o", folder / "merged"],
        ["export", path, "-f", "hex", "-o", folder / "hex", "--target", whole["values"][-1]["label"]],
    ):
        result = run(*words)
        assert (result.status, result.out) == (1, ""), (words, result)
        assert f"\n  {label}: " in result.err
    assert not [name for name in ("hex", "release", "merged") if (folder / name).exists()]


EDITS: dict[str, Edit] = {
    "another vCPU count": lambda of: of["values"][0].update(label="snp/qemu/EPYC-Milan/vcpus64/plain"),
    "another mode": lambda of: of["values"][0].update(label="sev-es/qemu/EPYC-Milan/vcpus1/plain"),
    "another profile": lambda of: of["values"][0].update(
        profile=OTHER, label=f"snp/{OTHER}/EPYC-Milan/vcpus1/plain"
    ),
    "another CPU": lambda of: of["values"][0].update(cpu="EPYC", label="snp/qemu/EPYC/vcpus1/plain"),
    "another signature": lambda of: of["values"][0].update(
        cpu="0x00a20f12", label="snp/qemu/0x00a20f12/vcpus1/plain"
    ),
    "another line": lambda of: of["values"][0].update(cmdline="n=1 of EPYC-Milan debug"),
    "no line": lambda of: of["values"][0].update(cmdline=None),
    "no kernel": lambda of: of["values"][0].update(kernel_hashes=False, cmdline=None),
    "another VMSA address": lambda of: of["values"][0].update(vmsa_gpa="0xffffffffff000"),
    "no VMSA address": lambda of: of["values"][0].update(vmsa_gpa=None),
    "another order": lambda of: of["values"][0].update(order="canonical"),
    "no features": lambda of: of["values"][0].update(guest_features=None),
    "other features": lambda of: of["values"][0].update(guest_features="0x21"),
    "debugging by default": lambda of: of["values"][0].update(policy="0xb0000"),
    "a policy that no processor takes": lambda of: of["values"][0].update(policy="0x0"),
    "another digest": lambda of: of["values"][0].update(digest="ab" * 48),
    "a kernel that is no input": lambda of: of["ingredients"][0]["inputs"].pop("initrd"),
    "another digest of the line": lambda of: of["ingredients"][0]["kernel"].update(cmdline_sha256="00" * 32),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_contradiction_is_a_mismatch(tmp_path: Path, edit: Edit) -> None:
    path = _document(tmp_path)
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    _refused(tmp_path, path, document["values"][0]["label"])


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value.update(label="sev/qemu/EPYC-Milan/vcpus8/plain"),
        lambda value: value.update(signature="0x00800f12"),
        lambda value: value.update(cmdline="debug"),
        lambda value: value.update(vmsa_gpa="0xfffffffff000"),
        lambda value: value.update(guest_features="0x0"),
        lambda value: value.update(kernel_hashes=False),
    ],
)
def test_a_value_whose_digest_nothing_tells_can_contradict_too(tmp_path: Path, edit: Edit) -> None:
    path = _document(tmp_path, mode="sev")
    document = json.loads(path.read_text())
    edit(document["values"][0])
    path.write_text(json.dumps(document))
    _refused(tmp_path, path, document["values"][0]["label"])


@pytest.mark.parametrize("mode", ["sev", "sev-es"])
def test_the_digest_of_a_line_is_held_to_the_line_where_no_digest_is_computed(
    tmp_path: Path, mode: str
) -> None:
    path = _document(tmp_path, mode=mode, kernel={"path": "kernel", "cmdline": "quiet"})
    document = json.loads(path.read_text())
    document["ingredients"][0]["kernel"]["cmdline_sha256"] = "00" * 32
    path.write_text(json.dumps(document))
    _refused(tmp_path, path, document["values"][0]["label"])


@pytest.mark.parametrize("mode", ["sev", "sev-es", "canonical", "igvm"])
def test_nothing_checked_is_no_pass(tmp_path: Path, mode: str) -> None:
    """`verify` ends with 2 where no digest was computed; nothing that passes the document on refuses it."""
    if mode == "igvm":
        bundle = tmp_path / "bundle"
        tables: dict[str, Any] = {
            "launch": {"profile": "qemu-igvm"},
            "vcpu": {"count": 1, "model": "EPYC-Milan"},
        }
        _document(tmp_path, **tables)
        assert run("build", "-q", tmp_path / "guest.toml", "-o", bundle, "--target", "plain").status == 0
        (tmp_path / "a.igvm").write_bytes(next(bundle.rglob("guest.igvm")).read_bytes())
        path = tmp_path / "values.json"
        path.write_text(run("measure", "-q", tmp_path / "a.igvm", "-f", "json").out)
    elif mode == "canonical":
        # As a loader of IGVM files replays it.
        path = _document(tmp_path, launch={"profile": "qemu-igvm"})
    else:
        path = _document(tmp_path, mode=mode)
    count = len(json.loads(path.read_text())["values"])
    result = run("verify", path)
    assert result.status == 2, result
    assert result.out.endswith(f"{count} targets: {count} not checked\n")
    against = "FILE.igvm" if mode == "igvm" else "guest.toml"
    wanted = f"none of these digests can be checked without the inputs: --against {against}\n"
    assert result.err.endswith(wanted), result.err
    assert json.loads(run("verify", path, "-f", "json").out)["targets"][0]["status"] == "unchecked"
    assert run("export", path, "-f", "hex").status == 0
    assert run("publish", "-q", path, "-o", tmp_path / "release").status == 0
    assert run("merge", path, path).status == 0


def test_what_is_not_checked_is_counted(tmp_path: Path) -> None:
    path = _document(tmp_path, mode=["snp", "sev"])
    result = run("verify", path)
    assert (result.status, result.out.splitlines()[-1]) == (0, "16 targets: 8 equal, 8 not checked")
    document = json.loads(path.read_text())
    document["values"][-1]["cmdline"] = "debug"
    path.write_text(json.dumps(document))
    _refused(tmp_path, path, document["values"][-1]["label"])
