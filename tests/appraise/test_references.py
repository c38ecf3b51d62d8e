"""What was published as named targets: of one release, of several, of others' ingredients."""

from __future__ import annotations

import json
from pathlib import Path

from sevbuild.appraise.references import foreign_targets, named_targets
from sevbuild.attest.appraisal import Published
from sevbuild.bundle.published import read_values
from tests.support.cli import run
from tests.support.shared import ROOT, shared_file

HELLO = ROOT / "guests" / "hello" / "reference-values.json"


def test_a_target_has_the_releases_in_which_it_holds(tmp_path: Path) -> None:
    for version, digit in (("1.0.0", "1"), ("1.1.0", "1"), ("1.2.0", "2")):
        document = json.loads(HELLO.read_text())
        document["guest"]["version"] = version
        document["values"][0]["digest"] = digit * 96
        del document["ingredients"], document["profiles"], document["values"][0]["ingredients"]
        (tmp_path / f"{version}.json").write_text(json.dumps(document))
    paths = [tmp_path / f"{version}.json" for version in ("1.0.0", "1.1.0", "1.2.0")]
    merged = run("merge", *paths, "-o", tmp_path / "all.json")
    assert merged.status == 0, merged.err
    _, values = read_values(str(tmp_path / "all.json"))
    assert [(one.version, one.digest.hex()[:1]) for one in named_targets(values)] == [
        ("1.0.0..1.1.0", "1"),
        ("1.2.0", "2"),
    ]
    accepted = named_targets(values, Published(releases=("1.1.0", "3.0.0")))
    assert [bool(one.refused) for one in accepted] == [False, True]
    assert [bool(one.refused) for one in named_targets(values, Published(releases=("1.2.0",)))] == [
        True,
        False,
    ]


def test_the_ingredients_of_others_name_targets() -> None:
    path = shared_file("publish/dstack/measurement.snp.ingredients.json")
    found = foreign_targets(str(path))
    assert found is not None
    (target,) = found
    assert target.name == "measurement.snp.ingredients.json, snp/qemu/EPYC-v4/vcpus2"
    assert (target.version, target.policy, target.mode) == (None, None, "snp")
    assert foreign_targets(str(HELLO)) is None
    assert foreign_targets(str(HELLO.parent)) is None
    assert foreign_targets(str(HELLO.parent / "guest.toml")) is None
