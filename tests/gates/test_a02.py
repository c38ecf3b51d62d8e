"""A2: JSON is read strictly wherever it is compared, and of a merged document one release counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import make_firmware
from tests.support.guests import write_manifest

Document = dict[str, Any]


def _guest(folder: Path, version: str = "1", cmdline: str = "quiet") -> Path:
    sections = [(0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]
    (folder / "OVMF.fd").write_bytes(make_firmware(sections=sections, hash_table=(0x810C00, 0x400)))
    (folder / "kernel").write_bytes(b"kernel")
    return write_manifest(
        folder,
        guest={"version": version},
        firmware={"path": "OVMF.fd"},
        kernel={"path": "kernel", "cmdline": cmdline},
        vcpu={"count": [1, 2]},
    )


def _publish(folder: Path, **given: str) -> Path:
    path = folder / f"{given.get('version', '1')}.json"
    path.write_text(run("measure", "-q", _guest(folder, **given), "--format", "json").out)
    return path


def _twice(document: Document) -> str:
    document["values"].append(document["values"][0])
    return json.dumps(document)


def _nameless(document: Document) -> str:
    document["values"][0]["label"] = ""
    return json.dumps(document)


def _later(document: Document) -> str:
    return json.dumps({**document, "schema": 99})


def _doubled(document: Document) -> str:
    text = json.dumps(document)
    digest = f'"digest": "{document["values"][0]["digest"]}"'
    assert digest in text
    return text.replace(digest, f'"digest": "{"00" * 48}", {digest}', 1)


def _more(document: Document) -> str:
    document["values"][0]["note"] = "x"
    return json.dumps(document)


def _no_number(document: Document) -> str:
    document["profiles"][0]["initial_state"]["gdtr"]["base"] = ""
    return json.dumps(document)


def _no_signature(document: Document) -> str:
    document["values"][0]["signature"] = ""
    return json.dumps(document)


def _no_seed(document: Document) -> str:
    document["ingredients"][0]["seed"] = ""
    return json.dumps(document)


@pytest.mark.parametrize(
    "change", [_twice, _nameless, _later, _doubled, _more, _no_number, _no_signature, _no_seed]
)
def test_a_document_that_can_be_read_in_two_ways_is_compared_in_none(
    tmp_path: Path, change: Callable[[Document], str]
) -> None:
    path = _publish(tmp_path)
    manifest = tmp_path / "guest.toml"
    assert run("build", "-q", manifest, "-o", tmp_path / "dist").status == 0
    verbs = [
        ["measure", manifest, "--expect"],
        ["verify", tmp_path / "dist", "--against"],
        ["verify", tmp_path / "dist", "--expect"],
        ["recompute", path.rename(tmp_path / "values.json"), "--expect"],
    ]
    document = json.loads((tmp_path / "values.json").read_text())
    assert [run(*verb, tmp_path / "values.json").status for verb in verbs] == [0, 0, 0, 0]
    (tmp_path / "bad.json").write_text(change(document))
    assert [run(*verb, tmp_path / "bad.json").status for verb in verbs] == [2, 2, 2, 2]


def test_of_a_merged_document_the_release_of_the_guest_counts(tmp_path: Path) -> None:
    old, new = _publish(tmp_path, version="1"), _publish(tmp_path, version="2", cmdline="loud")
    merged = tmp_path / "merged.json"
    assert run("merge", old, new, "-o", merged).status == 0
    first = _guest(tmp_path, version="1")
    assert run("measure", "-q", first, "--expect", merged).status == 0
    assert run("build", "-q", first, "-o", tmp_path / "dist").status == 0
    assert run("verify", tmp_path / "dist", "--against", merged).status == 0
    # Release 2 does not count for release 1, though it stands last.
    assert run("measure", "-q", _guest(tmp_path, version="1", cmdline="loud"), "--expect", merged).status == 1
    assert run("measure", "-q", _guest(tmp_path, version="2", cmdline="loud"), "--expect", merged).status == 0


def test_a_version_that_a_merged_document_does_not_have_is_a_fault(tmp_path: Path) -> None:
    old, new = _publish(tmp_path, version="1"), _publish(tmp_path, version="2", cmdline="loud")
    merged = tmp_path / "merged.json"
    assert run("merge", old, new, "-o", merged).status == 0
    third = _guest(tmp_path, version="3", cmdline="loud")
    result = run("measure", "-q", third, "--expect", merged)
    assert (result.status, result.out) == (2, ""), result.err
    assert "--release takes one of 1, 2" in result.err
    assert run("measure", "-q", third, "--expect", merged, "--release", "2").status == 0
    assert run("measure", "-q", third, "--expect", merged, "--release", "1").status == 1
    assert run("measure", "-q", third, "--expect", merged, "--release", "4").status == 2
    # A release is one of a document's.
    assert run("measure", "-q", third, "--release", "2").status == 2
    lines = tmp_path / "lines"
    lines.write_text(run("measure", "-q", third).out)
    assert run("measure", "-q", third, "--expect", lines, "--release", "2").status == 2
