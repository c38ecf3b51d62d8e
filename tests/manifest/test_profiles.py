"""Profiles are data, and every value of a shipped one says where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli

from sevbuild.errors import FaultsError, SevbuildError
from sevbuild.launch.page_type import PageType
from sevbuild.manifest.catalog import cpus_document, profile_document, profiles_document
from sevbuild.manifest.profiles import PROFILE_DIRECTORY, load_profile, profile_names
from tests.manifest.test_profile_pins import PINS

NAMES = sorted(PINS["shipped"])
HEADINGS = {"schema", "name", "summary", "as-of", "extends", "sources"}


def _leaves(value: Any, path: str = "") -> list[str]:
    if isinstance(value, Mapping):
        return [
            leaf for key, entry in value.items() for leaf in _leaves(entry, f"{path}.{key}" if path else key)
        ]
    return [path]


def test_the_shipped_profiles_are_these() -> None:
    assert profile_names() == NAMES
    assert [entry["name"] for entry in profiles_document()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_departure_cites_a_source_of_its_own(name: str) -> None:
    raw = tomli.loads((Path(PROFILE_DIRECTORY) / f"{name}.toml").read_text())
    sources = raw["sources"]
    used = set()
    for path in _leaves({key: value for key, value in raw.items() if key not in HEADINGS}):
        prefix = path
        while prefix and prefix not in sources:
            prefix = prefix.rpartition(".")[0]
        assert prefix, f"{name}: {path} has no source"
        used.add(prefix)
    assert used == set(sources), "a source for nothing"
    assert raw["name"] == name
    assert raw["as-of"]


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_the_whole_has_a_source(name: str) -> None:
    document = profile_document(name)
    for value in document["values"]:
        assert value["source"], value
        assert "no source given" not in value["source"], value
    assert document["extends"] == (None if name == "qemu" else load_profile(name).prose.extends)
    if name != "qemu":
        assert any(value["differs"] for value in document["values"])


@pytest.mark.parametrize(
    ("name", "differing"),
    [
        ("qemu-es-init2", {"launch.modes": "['sev-es']", "command.properties.legacy-vm-type": "off", "initial-state.sev-es.mxcsr": "0x1f80", "initial-state.sev-es.x87-fcw": "0x37f"}),
        ("qemu-es-debugswap", {"launch.modes": "['sev-es']", "guest-features.sev-es.default": "0x20", "guest-features.sev-es.known": "0x20"}),
        ("qemu-snp-debugswap", {"launch.modes": "['snp']", "guest-features.snp.default": "0x21", "guest-features.snp.known": "0x21", "guest-features.snp.newer": "0x0"}),
        ("qemu-snp-legacy-fpu", {"launch.modes": "['snp']", "guest-features.snp.newer": "0x0", "initial-state.snp.mxcsr": "0x0", "initial-state.snp.x87-fcw": "0x0"}),
        ("ec2-rdx0", {"initial-state.rdx": "0x0"}),
    ],
)  # fmt: skip
def test_what_differs_from_the_parent(name: str, differing: dict[str, str]) -> None:
    values = profile_document(name)["values"]
    assert {value["path"]: str(value["value"]) for value in values if value["differs"]} == differing


def test_values_that_published_digests_rest_on() -> None:
    """Shipped values never change: a new era of hosts is a new name."""
    qemu, gce, genoa, ec2 = (load_profile(name).rules.launch for name in ("qemu", "gce", "gce-genoa", "ec2"))
    assert (qemu.vmsa_gpa, gce.vmsa_gpa, genoa.vmsa_gpa) == (0xFFFFFFFFF000, 0xFFFFFFFFF000, 0xFFFFFFFFFF000)
    assert load_profile("qemu").rules.modes == ("sev", "sev-es", "snp")
    assert qemu.page_type("snp-sec-mem") == PageType.ZERO
    assert qemu.page_type("0x77") == PageType.ZERO
    assert gce.page_type("snp-sec-mem") == PageType.UNMEASURED
    assert ec2.sections_last == ("cpuid",)
    assert load_profile("svsm-qemu").rules.launch.regions["snp"] == ("firmware", "svsm", "sections")
    # The CPU model enters a digest through RDX alone, and is only a label elsewhere.
    assert "vcpu-signature" in qemu.vcpu_state("sev-es", "ap").values()
    assert "vcpu-signature" in qemu.vcpu_state("snp", "bsp").values()
    assert "vcpu-signature" not in ec2.vcpu_state("snp", "bsp").values()
    prose = load_profile("qemu").prose
    assert prose.source("initial-state.snp.mxcsr") == prose.sources["initial-state.snp.mxcsr"]
    assert prose.source("nothing.at.all") is None


def test_gce_profiles_point_at_each_other() -> None:
    (advice,) = load_profile("gce").prose.advice
    assert (advice.low, advice.high, advice.profile) == (0xA10F00, 0xFFFFFFFF, "gce-genoa")
    (advice,) = load_profile("gce-genoa").prose.advice
    assert (advice.low, advice.high, advice.profile) == (0, 0xA10EFF, "gce")


HEAD = 'schema = 1\nname = "mine"\nsummary = "s"\nas-of = "now"\n'


def _own(folder: Path, body: str, head: str = HEAD) -> str:
    (folder / "own.toml").write_text(head + body)
    return str(folder / "own.toml")


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    path = _own(tmp_path, 'extends = "qemu"\n[initial-state]\nrdx = 7\n[initial-state.ap]\nrsi = "entry"\n')
    profile = load_profile(path)
    assert profile.prose.lineage == ("qemu", "mine")
    assert profile.rules.launch.vcpu_state("snp", "bsp")["rdx"] == 7
    assert profile.rules.launch.vcpu_state("snp", "ap")["rsi"] == "entry"
    assert profile.prose.sources["initial-state.rdx"] == f"{path}, no source given"
    assert profile.prose.sources["initial-state.cr4"].startswith("Linux")
    changed = {value["path"] for value in profile_document(path)["values"] if value["differs"]}
    assert changed == {"initial-state.rdx", "initial-state.ap.rsi"}


def test_a_profile_extends_another_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.toml").write_text(HEAD + 'extends = "ec2"\n[entry]\nbsp = 16\n')
    path = _own(tmp_path, 'extends = "sub/base.toml"\n[entry]\nbsp = 32\n')
    assert load_profile(path).rules.launch.entry["bsp"] == 32
    assert [value["parent_value"] for value in profile_document(path)["values"] if value["differs"]] == [
        "0x10"
    ]
    assert load_profile("own.toml", str(tmp_path)).prose.lineage == ("qemu", "ec2", "mine", "mine")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("", "launch: missing: a table is required"),
        ('extends = "qemu"\nextra = 1\n', "own.toml:6: extra: unknown key"),
        ('extends = "qemu"\n[launch]\nmodes = ["sev2"]\n', "own.toml:7: launch.modes[0]: unknown value 'sev2'"),
        ('extends = "qemu"\n[launch.regions]\nsnp = ["sections"]\n', "own.toml:7: launch.regions.snp: must begin with the firmware"),
        ('extends = "qemu"\n[launch.regions]\nsev = ["firmware", "sections"]\n', "own.toml:7: launch.regions.sev[1]: unknown value 'sections'"),
        ('extends = "qemu"\n[launch]\nvmsa-gpa = 17\n', "own.toml:7: launch.vmsa-gpa: must be a multiple of 4096, got 0x11"),
        ('extends = "qemu"\n[launch]\nmeasured-vcpus = "none"\n', "own.toml:7: launch.measured-vcpus: unknown value 'none'"),
        ('extends = "qemu"\n[page-types]\ncpuid = "vmsa"\n', "own.toml:7: page-types.cpuid: unknown value 'vmsa'"),
        ('extends = "qemu"\n[entry]\nap = "nowhere"\n', "own.toml:7: entry.ap: unknown value 'nowhere'"),
        ('extends = "qemu"\n[initial-state]\nrxx = 1\n', "own.toml:7: initial-state.rxx: is not a register of the save area"),
        ('extends = "qemu"\n[initial-state]\nfpreg-x87 = 1\n', "own.toml:7: initial-state.fpreg-x87: is not a register of the save area"),
        ('extends = "qemu"\n[initial-state]\nrdx = "cpu"\n', "own.toml:7: initial-state.rdx: unknown value 'cpu'"),
        ('extends = "qemu"\n[initial-state]\nmxcsr = 0x100000000\n', "own.toml:7: initial-state.mxcsr: must be 0x0..0xffffffff, got 0x100000000"),
        ('extends = "qemu"\n[initial-state]\ncs = 1\n', "own.toml:7: initial-state.cs: must be a table, got an integer"),
        ('extends = "qemu"\n[initial-state.snp]\ncs = { size = 1 }\n', "own.toml:7: initial-state.snp.cs.size: unknown key"),
        ('extends = "qemu"\n[initial-state.bsp]\nrxx = 1\n', "own.toml:7: initial-state.bsp.rxx: is not a register of the save area"),
        ('extends = "qemu"\n[guest-features]\nsnp = {}\n', ""),
        ('extends = "qemu"\nadvice = [1]\n', "own.toml:6: advice[0]: must be a table"),
        ('extends = "qemu"\n[[advice]]\nfrom = 1\n', "own.toml:7: advice[0].from: unknown key"),
        ('extends = "qemu"\nsources = { a = 1 }\n', "own.toml:6: sources: must be a table of strings"),
        ("extends = 5\n", "own.toml:5: extends: must be a string: a profile's name or a path to one"),
    ],
)  # fmt: skip
def test_a_profile_is_decoded_or_its_fault_is_told(
    tmp_path: Path, body: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _own(tmp_path, body)
    if not fault:
        load_profile("own.toml")
        return
    with pytest.raises(FaultsError) as caught:
        load_profile("own.toml")
    assert any(str(found).endswith(fault) for found in caught.value.faults), [
        str(f) for f in caught.value.faults
    ]


@pytest.mark.parametrize("missing", ["schema", "name", "summary", "as-of"])
def test_headings_are_required(tmp_path: Path, missing: str) -> None:
    head = "".join(f"{line}\n" for line in HEAD.splitlines() if not line.startswith(missing))
    path = _own(tmp_path, 'extends = "qemu"\n', head)
    expected = "must be 1, the version of profiles" if missing == "schema" else f"{missing}: missing"
    with pytest.raises(FaultsError, match=expected):
        load_profile(path)


def test_a_root_must_be_whole(tmp_path: Path) -> None:
    with pytest.raises(FaultsError) as caught:
        load_profile(_own(tmp_path, ""))
    missing = {fault.path for fault in caught.value.faults}
    assert missing == {"launch", "page-types", "guest-features", "entry", "initial-state"}


def test_profiles_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(HEAD + 'extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text(HEAD + 'extends = "a.toml"\n')
    with pytest.raises(SevbuildError, match="does not end"):
        load_profile(str(tmp_path / "a.toml"))
    for index in range(10):
        (tmp_path / f"c{index}.toml").write_text(HEAD + f'extends = "c{index + 1}.toml"\n')
    with pytest.raises(SevbuildError, match="does not end"):
        load_profile(str(tmp_path / "c0.toml"))


def test_an_ancestor_by_path_has_a_name_of_its_own_too(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(HEAD.replace("mine", "qemu") + 'extends = "qemu"\n')
    (tmp_path / "mine.toml").write_text(HEAD + 'extends = "base.toml"\n')
    with pytest.raises(FaultsError, match=r"base\.toml:2: name: qemu is a shipped profile"):
        load_profile(str(tmp_path / "mine.toml"))
    # The shipped document itself, by its path, is no other.
    assert load_profile(f"{PROFILE_DIRECTORY}/qemu.toml")._asdict() == load_profile("qemu")._asdict()


@pytest.mark.parametrize("parent", ["~/base.toml", "./", "https://example.org/base.toml"])
def test_a_parent_that_is_no_path(tmp_path: Path, parent: str) -> None:
    (tmp_path / "mine.toml").write_text(HEAD + f'extends = "{parent}"\n')
    with pytest.raises(SevbuildError):
        load_profile(str(tmp_path / "mine.toml"))


def test_names_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SevbuildError, match="unknown profile 'qmeu'") as caught:
        load_profile("qmeu")
    assert caught.value.hint == "did you mean qemu?"
    for name in ("", "..", "a\0b"):
        with pytest.raises(SevbuildError):
            load_profile(name, str(tmp_path))


def test_cpus_are_listed_with_family_model_and_signature() -> None:
    models = {model["name"]: model for model in cpus_document()}
    assert models["EPYC-Milan"] == {
        "name": "EPYC-Milan",
        "family": 25,
        "model_number": 1,
        "stepping": 1,
        "signature": "0x00a00f11",
    }
