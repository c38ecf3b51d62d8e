"""JSON of the verbs that write or recompute: what is on disk, what was measured, under the usual names."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest

KEYS = {"schema", "guest", "written", "inputs", "values", "notices"}


def _guest(folder: Path, **tables: Any) -> Path:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    (folder / "vmlinuz").write_bytes(b"kernel")
    given: dict[str, Any] = {
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "vmlinuz"},
        "vcpu": {"count": [1, 2]},
    }
    return write_manifest(folder, **(given | tables))


def _written(result: dict[str, Any]) -> dict[str, int]:
    """Return the files that a result lists, each of them held to what is there."""
    for entry in result["written"]:
        data = Path(entry["path"]).read_bytes()
        assert (len(data), sha256(data).hexdigest()) == (entry["size"], entry["sha256"]), entry
    return {entry["path"]: entry["size"] for entry in result["written"]}


def _files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def test_a_release_is_told_as_json(tmp_path: Path) -> None:
    manifest, output = _guest(tmp_path), tmp_path / "release"
    done = run("publish", manifest, "-o", output, "-f", "json")
    result = json.loads(done.out)
    assert set(result) == KEYS
    assert set(_written(result)) == _files(output)
    document = json.loads(run("measure", "-q", manifest, "-f", "json").out)
    assert {key: result[key] for key in ("guest", "inputs", "values")} == {
        key: document[key] for key in ("guest", "inputs", "values")
    }
    # What a person is told stands in it as well.
    for notice in result["notices"]:
        assert f"{notice['where']}: {notice['level']}: {notice['message']}" in done.err
    assert {"note", "warning"} >= {notice["level"] for notice in result["notices"]} != set()
    quiet = run("publish", "-q", output, "-o", tmp_path / "again", "-f", "json")
    assert quiet.err == ""
    assert json.loads(quiet.out)["values"] == document["values"]


def test_a_bundle_is_told_as_json(tmp_path: Path) -> None:
    manifest, output = _guest(tmp_path), tmp_path / "bundle"
    result = json.loads(run("build", "-q", manifest, "-o", output, "-f", "json").out)
    assert set(result) == KEYS
    assert set(_written(result)) == _files(output)
    document = json.loads((output / "reference-values.json").read_text())
    assert (result["guest"], result["inputs"]) == (document["guest"], document["inputs"])
    for entry, value in zip(result["values"], document["values"], strict=True):
        assert all((output / path).exists() for path in entry.pop("files").values())
        del value["ingredients"]
        assert entry == value


def test_inputs_of_a_bundle_known_by_their_digests(tmp_path: Path) -> None:
    manifest = _guest(tmp_path)
    result = json.loads(run("build", "-q", manifest, "-o", tmp_path / "b", "--no-copy", "-f", "json").out)
    assert [entry["role"] for entry in result["inputs"]] == ["firmware", "kernel"]
    assert _written(result)


def test_recomputed_digests_are_told_as_json(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    path.write_text(run("measure", "-q", _guest(tmp_path), "-f", "json").out)
    document = json.loads(path.read_text())
    result = json.loads(run("recompute", path, "--vcpus", "2,3", "-f", "json").out)
    assert set(result) == KEYS
    assert (result["written"], result["guest"], result["inputs"]) == (
        [],
        document["guest"],
        document["inputs"],
    )
    two, three = result["values"]
    assert (two["published"], two["digest"]) == (document["values"][1]["digest"],) * 2
    assert (three["published"], three["label"]) == (None, "snp/qemu/EPYC-v4/vcpus3")
    for key in set(two) - {"published"}:
        assert two[key] == document["values"][1][key]
    assert set(document["values"][1]) - set(two) == {"origins"}


def test_recomputed_digests_of_several_releases(tmp_path: Path) -> None:
    documents = []
    for version in ("1", "2"):
        manifest = _guest(
            tmp_path,
            guest={"version": version},
            kernel={"path": "vmlinuz", "cmdline": version},
            vcpu={"count": 1},
        )
        documents.append(tmp_path / f"{version}.json")
        documents[-1].write_text(run("measure", "-q", manifest, "-f", "json").out)
    merged = tmp_path / "merged.json"
    assert run("merge", *documents, "-o", merged).status == 0
    values = json.loads(run("recompute", merged, "-f", "json").out)["values"]
    assert [value["releases"] for value in values] == [
        [{"first": version, "last": version}] for version in ("1", "2")
    ]
    assert [value["published"] == value["digest"] for value in values] == [True, True]


def test_a_document_that_says_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    document = json.loads(run("measure", "-q", _guest(tmp_path), "-f", "json").out)
    document["values"][0]["digest"] = "ab" * 48
    path.write_text(json.dumps(document))
    done = run("recompute", "-q", path, "-f", "json")
    (notice,) = json.loads(done.out)["notices"]
    assert (notice["level"], notice["message"]) == ("warning", f"the document itself says {'ab' * 48}")
    assert "warning: snp/qemu/EPYC-v4/vcpus1: the document itself says" in done.err


def test_ingredients_of_others_are_told_as_json(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    path.write_text(run("measure", "-q", _guest(tmp_path, vcpu={"count": 1}), "-f", "json").out)
    exported = tmp_path / "dstack.json"
    assert run("export", "-q", path, "-f", "dstack", "-o", exported).status == 0
    result = json.loads(run("recompute", "-q", exported, "-f", "json").out)
    assert (result["guest"], result["inputs"]) == (None, [])
    (value,) = result["values"]
    assert value["digest"] == json.loads(path.read_text())["values"][0]["digest"]
    # It says nothing of a policy.
    assert not {"policy", "origins"} & set(value)


def test_locks_are_told_as_json(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = _guest(tmp_path / "one"), _guest(tmp_path / "two", guest={"version": "2"})
    result = json.loads(run("lock", one, "-f", "json").out)
    assert set(result) == {"schema", "manifests"}
    (entry,) = result["manifests"]
    assert set(entry) == (KEYS - {"schema"}) | {"manifest", "exit_code", "error"}
    assert set(_written(entry)) == {str(tmp_path / "one" / "guest.lock")}
    document = json.loads(run("measure", "-q", one, "-f", "json").out)
    assert (entry["guest"], entry["inputs"]) == (document["guest"], document["inputs"])
    (tmp_path / "none.lock").write_bytes((tmp_path / "one" / "guest.lock").read_bytes())
    done = run("lock", "--check", one, two, tmp_path / "none.toml", "-f", "json")
    entries = json.loads(done.out)["manifests"]
    assert [item["exit_code"] for item in entries] == [0, 1, 2]
    assert done.status == 2
    assert [item["written"] for item in entries] == [[], [], []]
    assert entries[0]["error"] is None
    assert "does not exist" in entries[1]["error"]
    assert "cannot read" in entries[2]["error"]


def test_a_lock_of_parts(tmp_path: Path) -> None:
    from tests.support.pe import make_uki

    (tmp_path / "image.efi").write_bytes(make_uki([(".linux", b"kernel"), (".cmdline", b"quiet")]))
    sections = [{"gpa": 0x810000, "size": 0x1000, "kind": "kernel-hashes"}]
    metadata = {"reset": 0x80B004, "hash-table": 0x810C00, "sections": sections}
    manifest = _guest(
        tmp_path,
        firmware={"seed": "ab" * 48, "metadata": metadata},
        kernel={"uki": "image.efi", "uki-as": "parts"},
    )
    (entry,) = json.loads(run("lock", manifest, "-f", "json").out)["manifests"]
    assert [(item["role"], item.get("part")) for item in entry["inputs"]] == [
        ("firmware", None),
        ("kernel", ".linux"),
    ]
    assert entry["inputs"][0]["seed"] == "ab" * 48


@pytest.mark.parametrize("verb", ["lock", "publish", "build", "recompute"])
def test_another_format_is_refused_before_anything_is_done(tmp_path: Path, verb: str) -> None:
    path = tmp_path / "values.json"
    manifest = _guest(tmp_path)
    path.write_text(run("measure", "-q", manifest, "-f", "json").out)
    before = _files(tmp_path)
    output = [] if verb in ("lock", "recompute") else ["-o", tmp_path / "out"]
    result = run(verb, path if verb == "recompute" else manifest, *output, "--format", "table")
    assert (result.status, result.out) == (2, "")
    assert result.err == "error: --format table: unknown value\n  hint: one of text, json\n"
    assert _files(tmp_path) == before


def test_a_lock_that_is_printed_is_no_json(tmp_path: Path) -> None:
    result = run("lock", _guest(tmp_path), "-o", "-", "-f", "json")
    assert (result.status, result.out) == (2, "")
    assert "-o - prints the lock itself" in result.err
