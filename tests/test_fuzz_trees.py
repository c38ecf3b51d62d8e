"""The fuzzer's trees stay documents: what is refused then is refused by a decoder, not by the grammar."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
import tomli

from tests.support.shared import ROOT
from tools.fuzz_trees import bend_json, bend_toml

MANIFESTS = sorted(ROOT.glob("guests/*/guest.toml")) + sorted(ROOT.glob("templates/init/*.toml"))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_bent_manifest_is_toml_and_seldom_the_same(path: Path) -> None:
    seed = path.read_bytes()
    chance = Random(7)
    bent = [tomli.loads(bend_toml(chance, seed).decode("utf-8", "surrogatepass")) for _ in range(300)]
    assert sum(tree == tomli.loads(seed.decode()) for tree in bent) < 100


def test_a_bent_document_is_json_and_seldom_the_same() -> None:
    seed = (ROOT / "guests/hello/reference-values.json").read_bytes()
    chance = Random(7)
    bent = [json.loads(bend_json(chance, seed)) for _ in range(300)]
    assert sum(tree == json.loads(seed) for tree in bent) < 100
