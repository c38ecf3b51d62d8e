"""Several documents: what changed between them, and one for all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sevbuild.reference.read import read_reference_values
from sevbuild.reference.releases import at_release
from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest


def _release(folder: Path, version: str, fill: bytes = b"OVMF", **tables: Any) -> Path:
    """Write a guest's release: its documents differ where firmware, kernel or tables do."""
    image = standard_firmware(fill=fill)
    (folder / "OVMF.fd").write_bytes(image)
    if not (folder / "kernel").exists():
        (folder / "kernel").write_bytes(b"kernel")
    merged: dict[str, Any] = {
        "guest": {"name": "test", "version": version},
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdline": "quiet"},
        "vcpu": {"count": [1, 2]},
        **tables,
    }
    result = run("measure", "-q", write_manifest(folder, **merged), "--format", "json")
    assert result.status == 0, result.err
    path = folder / f"{version}.json"
    path.write_text(result.out)
    return path


def test_the_same_release_has_no_changes(tmp_path: Path) -> None:
    path = _release(tmp_path, "1.0")
    result = run("diff", path, path)
    assert (result.status, result.out) == (0, "2 targets: 2 equal\n")
    assert json.loads(run("diff", path, path, "--format", "json").out)["equal"] is True


def test_what_changed_is_named_with_its_cause(tmp_path: Path) -> None:
    old = _release(tmp_path, "1.0")
    (tmp_path / "kernel").write_bytes(b"another")
    new = _release(tmp_path, "1.1", vcpu={"count": [2, 3]}, launch={"policy": 0x20000})
    result = run("diff", old, new)
    assert result.status == 1
    lines = result.out.splitlines()
    assert "guest.version: 1.0 -> 1.1" in lines
    assert "removed  snp/qemu/EPYC-v4/vcpus1" in lines
    assert "changed  snp/qemu/EPYC-v4/vcpus2" in lines
    assert "added  snp/qemu/EPYC-v4/vcpus3" in lines
    assert "    policy: 0x30000 -> 0x20000" in lines
    causes = [line.split(":")[0].strip() for line in lines if line.startswith("    ")]
    # The digest of the measured kernel follows from the file, and is not said again.
    assert causes == ["origins.policy", "policy", "inputs.kernel"]
    document = json.loads(run("diff", old, new, "-f", "json").out)
    assert [entry["status"] for entry in document["targets"]] == ["removed", "changed", "added"]
    assert run("diff", old, new, "-f", "yaml").status == 2


def test_verify_says_which_input_differs(tmp_path: Path) -> None:
    path = _release(tmp_path, "1.0")
    manifest = tmp_path / "guest.toml"
    assert run("verify", path, "-q", "--against", manifest).out == "2 targets: 2 equal\n"
    _release(tmp_path, "1.0", fill=b"EVIL").rename(tmp_path / "evil.json")
    kept = _release(tmp_path, "1.0")
    image = standard_firmware(fill=b"EVIL")
    (tmp_path / "OVMF.fd").write_bytes(image)
    result = run("verify", kept, "-q", "--against", manifest)
    assert result.status == 1
    assert result.out.count("inputs.firmware: OVMF.fd ") == 1
    assert "seed" not in result.out
    assert "2 targets: 2 different" in result.out
    fewer = run("verify", kept, "-q", "--against", manifest, "--set", "vcpu.count=[1, 3]")
    assert "not measured  snp/qemu/EPYC-v4/vcpus2" in fewer.out
    assert "not published  snp/qemu/EPYC-v4/vcpus3" in fewer.out
    assert json.loads(run("verify", kept, "-f", "json").out)["equal"] is True


def test_a_digest_alone_that_was_altered(tmp_path: Path) -> None:
    path = _release(tmp_path, "1.0")
    document = json.loads(path.read_text())
    document["values"][0]["digest"] = "00" * 48
    path.write_text(json.dumps(document))
    result = run("verify", path, "-q", "--against", tmp_path / "guest.toml")
    assert result.status == 1
    assert "nothing but the digest: " + "00" * 48 in result.out
    assert "2 targets: 1 different, 1 equal" in result.out


def test_many_targets_that_changed_alike_are_said_once(tmp_path: Path) -> None:
    old = _release(tmp_path, "1.0", vcpu={"count": "1-80"})
    new = _release(tmp_path, "1.0", fill=b"DIFF", vcpu={"count": "1-80"}).read_text()
    other = tmp_path / "new.json"
    other.write_text(new)
    old = _release(tmp_path, "1.0", vcpu={"count": "1-80"})
    result = run("diff", old, other)
    assert "changed  and 30 more like these" in result.out
    assert result.out.count("inputs.firmware") == 1


def test_merged_values_say_which_releases_they_are_of(tmp_path: Path) -> None:
    one = _release(tmp_path, "1.0")
    two = _release(tmp_path, "1.1")
    three = _release(tmp_path, "1.2", fill=b"NEW!")
    four = _release(tmp_path, "1.3")
    result = run("merge", one, two, three, four, "-o", tmp_path / "all.json")
    assert (result.status, result.out) == (0, "")
    document = json.loads((tmp_path / "all.json").read_text())
    assert document["guest"] == {"name": "test", "version": "1.3"}
    assert document["releases"] == ["1.0", "1.1", "1.2", "1.3"]
    spans = [value["releases"] for value in document["values"] if value["vcpus"] == 1]
    assert spans == [
        [{"first": "1.0", "last": "1.1"}, {"first": "1.3", "last": "1.3"}],
        [{"first": "1.2", "last": "1.2"}],
    ]
    assert [entry["name"] for entry in document["ingredients"]] == ["snp/qemu", "snp/qemu@1.2"]
    assert len(document["inputs"]) == 3
    merged = read_reference_values("all", (tmp_path / "all.json").read_bytes())
    for version, path in (("1.0", one), ("1.2", three)):
        alone = read_reference_values("one", path.read_bytes())
        assert {value.digest for value in at_release(merged, version).values} == {
            value.digest for value in alone.values
        }
    assert run("verify", tmp_path / "all.json").out == "4 targets: 4 equal\n"
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    assert run("verify", "-q", tmp_path / "all.json", "--against", tmp_path / "guest.toml").status == 0
    same = run("diff", tmp_path / "all.json", tmp_path / "all.json", "--release", "1.0..1.1")
    assert run("diff", "--release", "1.0..1.1", tmp_path / "all.json") == same
    for words in ([], ["--release", "1.0"], ["--release", "1.0.."], ["--release", "..1.1"]):
        one_side = run("diff", tmp_path / "all.json", *words)
        assert (one_side.status, "diff requires NEW" in one_side.err) == (2, True)
    assert same.out == "guest.version: 1.0 -> 1.1\n2 targets: 2 equal\nsame launch values\n"
    absent = run("diff", tmp_path / "all.json", one, "--release", "9..1.0")
    assert absent.err.startswith(f"error: {tmp_path / 'all.json'}: ")
    assert "has no release '9'" in absent.err
    # The one that is of one release alone is taken as it is.
    assert run("diff", one, tmp_path / "all.json", "--release", "1.1") == same
    assert run("diff", tmp_path / "all.json", one, "--release", "1.1").out.startswith(
        "guest.version: 1.1 -> 1.0\n"
    )
    assert run("diff", one, one, "--release", "1.1").status == 2
    lines = run("recompute", tmp_path / "all.json", "--select", "release=1.2").out.splitlines()
    assert [line.partition("vcpus")[2] for line in lines] == ["1  (1.2)", "2  (1.2)"]
    lines = run("recompute", tmp_path / "all.json", "--select", "vcpus=1").out.splitlines()
    assert lines[0].endswith("vcpus1  (1.0..1.1, 1.3)")


def test_merging_in_steps_is_merging_at_once(tmp_path: Path) -> None:
    files = [
        _release(tmp_path, "1.0"),
        _release(tmp_path, "1.1", fill=b"NEW!"),
        _release(tmp_path, "1.2", fill=b"NEWER"),
    ]
    at_once = run("merge", *files).out
    first = tmp_path / "first.json"
    first.write_text(run("merge", *files[:2]).out)
    assert run("merge", first, files[2]).out == at_once


def test_two_documents_of_one_release_add_up(tmp_path: Path) -> None:
    some = _release(tmp_path, "1.0").rename(tmp_path / "some.json")
    more = _release(tmp_path, "1.0", vcpu={"count": [2, 4]})
    document = json.loads(run("merge", some, more).out)
    assert [value["vcpus"] for value in document["values"]] == [1, 2, 4]
    assert document["releases"] == ["1.0"]


def test_contradictions_are_errors(tmp_path: Path) -> None:
    one = _release(tmp_path, "1.0").rename(tmp_path / "one.json")
    two = _release(tmp_path, "1.0", fill=b"DIFF").rename(tmp_path / "two.json")
    result = run("merge", one, two)
    assert (result.status, result.out) == (2, "")
    assert "two.json: release 1.0 has two launch digests of snp/qemu/EPYC-v4/vcpus1" in result.err
    policy = _release(tmp_path, "1.0", launch={"policy": 0x20000})
    assert "release 1.0 has two settings of" in run("merge", one, policy).err
    other = _release(tmp_path, "2.0", guest={"name": "other", "version": "2.0"})
    assert "reference values of other; the others are of test" in run("merge", one, other).err
    assert "merge requires at least two documents" in run("merge", one).err


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([{"first": "1.1", "last": "1.0"}], "$.values[0].releases[0].first: must follow"),
        ([{"first": "1.0", "last": "1.1"}] * 2, "$.values[0].releases[1].first: must follow"),
        ([{"first": "1.0", "last": "9"}], "$.values[0].releases[0].last: unknown value '9'"),
        ([{"first": "1.0", "last": "1.1", "x": 1}], "$.values[0].releases[0].x: unknown key"),
    ],
)
def test_ranges_that_cannot_be(tmp_path: Path, spans: list[dict[str, str]], message: str) -> None:
    document = json.loads(run("merge", _release(tmp_path, "1.0"), _release(tmp_path, "1.1")).out)
    document["values"][0]["releases"] = spans
    path = tmp_path / "merged.json"
    path.write_text(json.dumps(document))
    result = run("verify", path)
    assert result.status == 2
    assert message in result.err


def test_a_label_stands_once_in_a_release(tmp_path: Path) -> None:
    """Of two entries one would be taken, and nobody told which."""
    path = tmp_path / "merged.json"
    document = json.loads(run("merge", _release(tmp_path, "1.0"), _release(tmp_path, "1.1")).out)
    other = {**document["values"][0], "releases": [{"first": "1.1", "last": "1.1"}]}
    document["values"].insert(0, other)
    path.write_text(json.dumps(document))
    for words in (["verify", path], ["diff", path, path], ["export", path, "-f", "hex"]):
        result = run(*words)
        assert result.status == 2
        assert "$.values[0].releases: 'snp/qemu/EPYC-v4/vcpus1' appears twice in release 1.1" in result.err
    document["values"][1]["releases"] = [{"first": "1.0", "last": "1.0"}]
    path.write_text(json.dumps(document))
    assert run("verify", path).status == 0
