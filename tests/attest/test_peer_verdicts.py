"""Our verdicts beside those of snpguest and of go-sev-guest's check, on one and the same input.

tests/data/peer-verdicts.toml lists every input on which they differ, with the reason. One that is not listed
fails, and so does one that is listed and no longer found. Without the peers ours are held to the list alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import tomli

from sevbuild.attest.check_names import CHECKS
from tests.support.cli import run
from tests.support.hardware import hardware_report, vectors
from tests.support.mutated_evidence import MUTATIONS, mutants
from tests.support.own_evidence import own_evidence
from tests.support.shared import ROOT, needs_vectors
from tests.support.verifiers import PEERS, Asked, Parts, Peer, run_check

LIST = ROOT / "tests" / "data" / "peer-verdicts.toml"
VERDICTS = ("accepts", "refuses", "crashes")


class Difference(NamedTuple):
    """What a peer says of inputs of one name, and which checks of ours refuse them (none: we accept)."""

    peer: str
    input: str
    says: str
    ours: tuple[str, ...]

    def __str__(self) -> str:
        ours = ", ".join(self.ours)
        return f"{self.peer} {self.says} {self.input!r}; ours " + (f"fail: {ours}" if ours else "accepts")


def listed() -> dict[Difference, str]:
    """Return each listed difference with its reason."""
    entries = tomli.loads(LIST.read_text())["difference"]
    found = {
        Difference(entry["peer"], name, entry["says"], tuple(entry["ours"])): entry["reason"]
        for entry in entries
        for name in entry["inputs"]
    }
    assert len(found) == sum(len(entry["inputs"]) for entry in entries), "a difference is listed twice"
    return found


def inputs(peer: str) -> Iterator[tuple[str, Parts, Asked]]:
    """Yield everything that a peer is given: vectors, what is drawn of them, and reports of our own root."""
    for name, make in vectors().items():
        yield name, *make()
    for name, parts, asked in mutants():
        if peer in MUTATIONS[name].peers:
            yield name, parts, asked
    for name, make in own_evidence().items():
        yield name, *make()


def differs(peer: Peer, name: str, parts: Parts, asked: Asked, folder: Path) -> Difference | None:
    """Return how a peer and we differ on an input, None where both say the same; a crash is no answer."""
    ours = peer.ours(parts, asked, folder)
    said = peer.judge(folder, asked).verdict
    if said == ("refuses" if ours else "accepts"):
        return None
    return Difference(peer.name, name, said, tuple(ours))


@needs_vectors
@pytest.mark.parametrize("name", PEERS)
def test_every_difference_is_listed_with_its_reason(name: str, tmp_path: Path) -> None:
    found = Counter[Difference]()
    for number, (kind, parts, asked) in enumerate(inputs(name)):
        folder = tmp_path / str(number)
        folder.mkdir()
        difference = differs(PEERS[name], kind, parts, asked, folder)
        if difference is not None:
            found[difference] += 1
    known = {each for each in listed() if each.peer == name}
    assert sorted(map(str, found.keys() - known)) == [], "not listed"
    assert sorted(map(str, known - found.keys())) == [], "listed, and no longer found"


@needs_vectors
@pytest.mark.parametrize("name", PEERS)
def test_ours_are_what_the_list_says(name: str, tmp_path: Path) -> None:
    """Each listed answer of ours is one that we give, whether or not the peer is here."""
    wanted = {(each.input, each.ours) for each in listed() if each.peer == name}
    names = {kind for kind, _ in wanted}
    given = set()
    for number, (kind, parts, asked) in enumerate(inputs(name)):
        if kind in names:
            folder = tmp_path / str(number)
            folder.mkdir()
            given.add((kind, tuple(PEERS[name].ours(parts, asked, folder))))
    assert wanted - given == set()


@needs_vectors
def test_inputs_are_as_many_as_are_promised() -> None:
    drawn = [name for name, _, _ in mutants()]
    assert len(drawn) == 200
    assert drawn == [name for name, _, _ in mutants()]
    assert set(drawn) == set(MUTATIONS)
    # The same input twice would count for one.
    each = {(name, parts.whole, tuple(parts.named.items())) for name, parts, _ in mutants()}
    assert len(each) > 180


def test_the_list_names_peers_inputs_and_checks_that_there_are() -> None:
    names = {*vectors(), *MUTATIONS, *own_evidence()}
    for each, reason in listed().items():
        assert each.peer in PEERS, each
        assert each.input in names, each
        assert each.says in VERDICTS, each
        assert set(each.ours) <= {*CHECKS, "input"}, each
        assert list(each.ours) == sorted(each.ours), each
        assert (each.says == "accepts") == bool(each.ours) or each.says == "crashes", each
        assert len(reason) > 20, each


@needs_vectors
def test_check_takes_the_product_of_a_version_2_report_from_a_flag_alone(tmp_path: Path) -> None:
    parts, asked = hardware_report("milan-v2-gcp-automata")
    PEERS["check"].lay(parts, tmp_path)
    config = 'root_of_trust { disallow_network: true product_line: "Milan" }'
    config += f" policy {{ policy: {asked.policy} }}"
    refused = run_check(tmp_path, config)
    assert "product stepping number 0x0 is not 0x1" in refused.stderr
    assert run_check(tmp_path, config, "-product=Milan").returncode == 0


@needs_vectors
@pytest.mark.parametrize(
    ("peer", "name", "status"),
    [
        ("snpguest", "genoa-v5-oak", 0),
        ("snpguest", "milan-v3-aws-vlek", 1),
        ("snpguest", "own: a debug policy", 1),
        ("snpguest", "own root, which nobody trusts", 1),
        ("check", "dstack", 0),
        ("check", "veraison-json, its table", 0),
        ("check", "turin-v5-oak", 0),
        ("check", "own: version 6", 2),
    ],
)
def test_the_command_line_says_the_same(peer: str, name: str, status: int, tmp_path: Path) -> None:
    parts, asked = {**vectors(), **own_evidence()}[name]()
    path, certificates = PEERS[peer].lay(parts, tmp_path)
    words = ["--expect", asked.measurement.hex(), "--vmpl", str(asked.vmpl), "--at", f"{asked.at:%Y-%m-%d}"]
    for place in certificates:
        words += ["--certs", place]
    if asked.roots is not None:
        root = tmp_path / "root.der"
        root.write_bytes(asked.roots[1])
        words += ["--root", str(root)]
    assert run("verify", path, *words).status == status
