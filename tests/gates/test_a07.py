"""Canonical order is built and published only where something launches guests in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest


def _manifest(folder: Path, **launch: Any) -> Path:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    return write_manifest(folder, firmware={"path": "OVMF.fd"}, launch={"order": "canonical", **launch})


@pytest.mark.parametrize("verb", ["build", "publish"])
def test_it_is_refused_where_the_host_lays_the_launch_out_itself(tmp_path: Path, verb: str) -> None:
    result = run(verb, "-q", _manifest(tmp_path), "-o", tmp_path / "out")
    assert (result.status, result.out) == (2, "")
    assert "guest.toml:3: launch.order: canonical order: profile qemu names no loader" in result.err
    assert not (tmp_path / "out").exists()


def test_a_document_of_such_values_is_not_published_either(tmp_path: Path) -> None:
    document = tmp_path / "values.json"
    document.write_text(run("measure", "-q", "-f", "json", _manifest(tmp_path)).out)
    result = run("publish", "-q", document, "-o", tmp_path / "out")
    assert (result.status, result.out) == (2, "")
    assert "profile qemu names no loader that replays the list" in result.err
    assert not (tmp_path / "out").exists()


def test_export_of_such_values_warns(tmp_path: Path) -> None:
    """Also from a document: the digests go to a verifier, and no host has them."""
    manifest, document = _manifest(tmp_path), tmp_path / "values.json"
    document.write_text(run("measure", "-q", "-f", "json", manifest).out)
    for file, why in ((manifest, "so none has this digest"), (document, "names no loader that replays it")):
        result = run("export", file, "-f", "hex")
        assert result.status == 0
        assert "warning: " in result.err, result.err
        assert why in result.err.replace("the list", "it"), result.err


def test_a_profile_of_ones_own_must_name_a_loader_that_replays_the_list(tmp_path: Path) -> None:
    profile = 'schema = 1\nname = "ours"\nextends = "qemu"\nsummary = "ours"\nas-of = "2026"\n'
    (tmp_path / "ours.toml").write_text(profile)
    manifest = _manifest(tmp_path, profile="ours.toml")
    for verb in ("build", "publish"):
        assert run(verb, "-q", manifest, "-o", tmp_path / verb).status == 2
    (tmp_path / "ours.toml").write_text(f'{profile}[launch]\nlist-loader = "ours"\n')
    measured = run("measure", manifest)
    assert measured.status == 0
    assert "cannot boot" not in measured.err
    for verb in ("build", "publish"):
        result = run(verb, "-q", manifest, "-o", tmp_path / verb)
        assert result.status == 0, result.err
    assert run("verify", tmp_path / "build").status == 0


def test_measure_and_plan_warn_and_show_the_order(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path)
    for verb, formats in (("measure", ("table", "markdown", "json")), ("plan", ("table", "json"))):
        for fmt in formats:
            result = run(verb, "-f", fmt, manifest)
            assert result.status == 0
            assert (
                "guest.toml:3: warning: cannot boot: hosts of profile qemu launch in an order" in result.err
            )
            assert "canonical" in result.out
    (value,) = json.loads(run("measure", "-q", "-f", "json", manifest).out)["values"]
    assert value["order"] == "canonical"
    assert value["doubts"][0]["kind"] == "cannot-boot"
