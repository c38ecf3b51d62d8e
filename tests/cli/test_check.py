"""`check`: several manifests, and findings for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

HELLO = ROOT / "guests/hello/guest.toml"
FIRMWARE = str(ROOT / "guests/hello/hello.fd")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Return a manifest without a firmware where it says one is."""
    (tmp_path / "broken").mkdir()
    return write_manifest(tmp_path / "broken", firmware={"path": "missing.fd"})


@pytest.fixture
def doubtful(tmp_path: Path) -> Path:
    """Return a manifest with a policy that should not ship."""
    (tmp_path / "doubtful").mkdir()
    launch = {"policy": 0xB0000, "mode": "snp", "profile": "qemu"}
    return write_manifest(tmp_path / "doubtful", launch=launch, firmware={"path": FIRMWARE})


def test_the_manifest_is_guest_toml_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(HELLO.parent)
    for verb in ("check", "measure", "plan", "lock --check"):
        assert run(*verb.split()).status == 0, verb
    monkeypatch.chdir(tmp_path)
    result = run("measure")
    assert result.status == 2
    assert "cannot read guest.toml: No such file or directory" in result.err
    assert "sevbuild init guest.toml" in result.err


def test_every_manifest_is_tried_and_the_highest_code_counts(broken: Path, tmp_path: Path) -> None:
    stale = tmp_path / "guest.toml"
    stale.write_text(HELLO.read_text().replace("hello.fd", FIRMWARE))
    assert run("check", HELLO, HELLO).out.count("1 target, ") == 2
    result = run("check", "-q", broken, HELLO)
    assert result.status == 2
    assert "missing.fd" in result.err
    assert f"{HELLO}: 1 target" in result.out
    # Without a lock of its own it is a mismatch, whatever stands around it.
    assert run("check", "-q", "--locked", HELLO, stale, HELLO).status == 1


def test_a_lock_holds_one_manifest() -> None:
    result = run("check", "--lock", HELLO.with_name("guest.lock"), HELLO, HELLO)
    assert result.status == 2
    assert "--lock names the lock of a single manifest" in result.err


def test_strict_takes_warnings_for_errors(doubtful: Path) -> None:
    assert run("check", "-q", doubtful).status == 0
    result = run("check", "-q", "--strict", doubtful, HELLO)
    assert result.status == 2
    assert "guest.toml: 1 warning under --strict" in result.err
    assert run("check", "--strict", HELLO).status == 0


def test_findings_as_json(broken: Path, doubtful: Path) -> None:
    result = run("check", "-f", "json", broken, doubtful, HELLO)
    assert result.status == 2
    document = json.loads(result.out)
    first, second, third = document["manifests"]
    assert [entry["exit_code"] for entry in (first, second, third)] == [2, 0, 0]
    (fault,) = [finding for finding in first["findings"] if finding["level"] == "error"]
    assert (fault["rule"], fault["file"], fault["key"]) == ("fault", str(broken), "firmware.path")
    assert fault["line"] == broken.read_text().splitlines().index('firmware = { "path" = "missing.fd" }') + 1
    (warning,) = [finding for finding in second["findings"] if finding["level"] == "warning"]
    assert (warning["file"], "debug" in warning["message"]) == (str(doubtful), True)
    assert (third["targets"], third["findings"]) == (1, [])


def test_a_stale_lock_and_a_manifest_from_a_pipe_are_findings(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, firmware={"path": FIRMWARE})
    document = json.loads(run("check", "-f", "json", "--locked", path).out)
    ((finding, *_),) = [entry["findings"] for entry in document["manifests"]]
    assert (finding["level"], finding["rule"]) == ("error", "mismatch")
    document = json.loads(run("check", "-f", "json", "-", stdin="schema = 1\n[guest]\nnme = 1\n").out)
    findings = document["manifests"][0]["findings"]
    assert document["manifests"][0]["targets"] is None
    assert all(entry["file"] is None and entry["message"].startswith("stdin:") for entry in findings)


def test_findings_as_sarif(monkeypatch: pytest.MonkeyPatch, broken: Path, doubtful: Path) -> None:
    monkeypatch.chdir(broken.parent)
    result = run("check", "-f", "sarif", "guest.toml", doubtful)
    assert result.status == 2
    document = json.loads(result.out)
    assert document["version"] == "2.1.0"
    (one,) = document["runs"]
    rules = [rule["id"] for rule in one["tool"]["driver"]["rules"]]
    uris = set()
    for entry in one["results"]:
        assert rules[entry["ruleIndex"]] == entry["ruleId"]
        assert entry["level"] in ("error", "warning", "note")
        assert entry["message"]["text"]
        for place in entry.get("locations", ()):
            uris.add(place["physicalLocation"]["artifactLocation"]["uri"])
            assert place["physicalLocation"]["region"]["startLine"] > 0
    assert uris == {"guest.toml", f"file://{doubtful}"}


def test_names_of_others_stay_harmless_in_findings(tmp_path: Path) -> None:
    folder = tmp_path / "a b\x1b[31m"
    folder.mkdir()
    path = write_manifest(folder, firmware={"path": "x\u202efd"})
    results = [run("check", "-f", fmt, path) for fmt in ("json", "sarif")]
    for result in results:
        assert result.status == 2
        assert "\x1b" not in result.out + result.err
        assert "\u202e" not in result.out + result.err
    uri = json.loads(results[1].out)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert uri["artifactLocation"]["uri"].endswith("/a%20b%1B%5B31m/guest.toml")
