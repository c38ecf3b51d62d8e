"""B6: what others named reaches neither terminal nor log as anything that acts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello"
MANIFEST = HELLO / "guest.toml"
VALUES = HELLO / "reference-values.json"
HOSTILE = "\x1b[31mevil\u202e\x9b2J\u2066\n::error::x\r##[error]y"
ACTS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]|(?m:^\\s*::)|##\\["
)
FIELDS: dict[str, tuple[str | int, ...]] = {
    "label": ("values", 0, "label"),
    "cpu": ("values", 0, "cpu"),
    "profile": ("values", 0, "profile"),
    "command line": ("values", 0, "cmdline"),
    "guest": ("guest", "name"),
    "version": ("guest", "version"),
    "input": ("inputs", 0, "name"),
    "unknown key": (HOSTILE,),
}


def _document(path: Path, field: str) -> Path:
    document: Any = json.loads(VALUES.read_text())
    *above, last = FIELDS[field]
    place = document
    for key in above:
        place = place[key]
    place[last] = HOSTILE
    path.write_text(json.dumps(document))
    return path


def _shown(*arguments: str | Path, **more: Any) -> str:
    """Return all that a command shows; it must show something, and end as a run may."""
    result = run(*arguments, **more)
    assert result.status in (0, 1, 2), result
    assert result.out + result.err
    return result.out + result.err


@pytest.mark.parametrize("field", FIELDS)
def test_documents_are_compared_without_their_names_acting(tmp_path: Path, field: str) -> None:
    hostile = _document(tmp_path / "values.json", field)
    shown = _shown("diff", hostile, VALUES) + _shown("verify", hostile, "--against", MANIFEST)
    shown += _shown("verify", hostile) + _shown("recompute", hostile)
    assert not ACTS.search(shown)
    if field != "unknown key":
        assert "evil" in shown


@pytest.mark.parametrize("field", ["label", "guest", "version", "input"])
def test_release_notes_show_what_they_are_made_of(tmp_path: Path, field: str) -> None:
    hostile = _document(tmp_path / "values.json", field)
    for name in ("markdown", "html"):
        result = run("export", hostile, "-f", name)
        if result.status == 0:
            assert "evil" in result.out
        assert not ACTS.search(result.out + result.err)


def test_no_export_shows_a_label_that_acts(tmp_path: Path) -> None:
    shutil.copy(HELLO / "hello.fd", tmp_path / "hello.fd")
    manifest = write_manifest(tmp_path, firmware={"path": "hello.fd"}, launch={"mode": "sev", "policy": 1})
    values = tmp_path / "sev.json"
    values.write_text(run("measure", "-q", manifest, "-f", "json").out)
    document: Any = json.loads(values.read_text())
    document["values"][0]["label"] = HOSTILE
    values.write_text(json.dumps(document))
    for name in ("sevctl", "virt-qemu-sev-validate", "hex", "in-toto"):
        result = run("export", values, "-f", name)
        assert not ACTS.search(result.out + result.err), name


def test_errors_name_files_without_their_names_acting(tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE.replace("/", "")
    folder.mkdir()
    shutil.copy(HELLO / "hello.fd", folder / "hello.fd")
    for arguments in (
        ["measure", folder / "nowhere"],
        ["verify", folder / "nowhere"],
        ["inspect", folder / "hello.fd"],
        ["diff", folder, VALUES],
        [HOSTILE],
        ["measure", MANIFEST, "--target", HOSTILE],
        ["measure", MANIFEST, "--set", HOSTILE],
        ["measure", MANIFEST, "--" + HOSTILE],
        ["publish", MANIFEST, "-o", folder / "release", "--formats", HOSTILE],
        ["profiles", HOSTILE],
        ["init", folder, "-t", HOSTILE],
    ):
        assert not ACTS.search(_shown(*arguments)), arguments


def test_a_mismatch_is_told_without_labels_acting(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "kernel").write_bytes(b"kernel")
    cmdlines = {"a\x1b[31m": "one", "b": "two"}
    path = write_manifest(
        tmp_path,
        firmware={"path": "OVMF.fd"},
        kernel={"path": "kernel", "cmdlines": cmdlines, "hashes": False},
    )
    assert not ACTS.search(_shown("check", path))
    wrong = tmp_path / "expected"
    wrong.write_text("".join(f"{'ab' * 48}  {label}\n" for label in ("\x1b[2J\u202e", "::add-mask::x")))
    assert not ACTS.search(_shown("measure", MANIFEST, "--expect", wrong))
    document = _document(tmp_path / "values.json", "label")
    assert not ACTS.search(_shown("measure", MANIFEST, "--expect", document))


def test_a_bundle_is_inspected_without_its_names_acting(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert run("build", "-q", MANIFEST, "-o", bundle).status == 0
    path = bundle / "bundle.json"
    document = json.loads(path.read_text())
    document["guest"]["version"] = HOSTILE
    document["inputs"][0]["name"] = HOSTILE
    document["targets"][0]["label"] = HOSTILE
    path.write_text(json.dumps(document))
    commands: list[list[str | Path]] = [
        ["inspect", bundle],
        ["inspect", bundle, "-f", "json"],
        ["verify", bundle],
    ]
    for arguments in commands:
        assert not ACTS.search(_shown(*arguments)), arguments


def test_a_profile_of_others_is_shown_without_acting(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        f'schema = 1\nname = "own"\nextends = "qemu"\nas-of = "2026-01"\nsummary = {json.dumps(HOSTILE)}\n'
    )
    shown = _shown("profiles", path)
    assert not ACTS.search(shown)
    assert not ACTS.search(_shown("profiles", path, "-f", "json"))


def test_an_annotation_is_one_line_that_shows_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    for field in FIELDS:
        for result in (
            run("verify", _document(tmp_path / "values.json", field), "--against", MANIFEST),
            run("measure", tmp_path / HOSTILE),
        ):
            lines = [line for line in (result.out + result.err).split("\n") if line.startswith("::")]
            assert not [line for line in lines if not re.match("::(error|warning) ?[^:]*::", line)]
            rest = [line for line in (result.out + result.err).split("\n") if line not in lines]
            assert not ACTS.search("\n".join(rest))
            assert not [line for line in lines if ACTS.search(line[2:])]
