"""A target with a setting otherwise is what a manifest declares that has it so, and costs no reading."""

from __future__ import annotations

import builtins
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.guest.igvm import igvm_file
from sevbuild.launch.compare import compare_plans
from sevbuild.manifest.model import Cpu
from sevbuild.manifest.profiles import load_profile
from sevbuild.manifest.vary import Variation
from sevbuild.vcpu.models import CPU_MODELS
from tests.support.firmware import make_firmware
from tests.support.guests import digest_of, guest_of

SECTIONS = [(0x800000, 0x9000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]
TABLES: dict[str, dict[str, Any]] = {
    "firmware": {"path": "OVMF.fd"},
    "kernel": {"path": "kernel", "cmdline-file": "line"},
    "initrd": {"path": ["initrd", "more"]},
    "variables": {"root": "/dev/vda"},
    "vcpu": {"count": 2, "model": "EPYC-v4"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the inputs of a guest."""
    folder = tmp_path_factory.mktemp("guest")
    image = make_firmware(sections=SECTIONS, reset=0x80B004, hash_table=(0x810C00, 0x400))
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "line").write_text("root={root} cpus={vcpus}")
    for name in ("kernel", "initrd", "more"):
        (folder / name).write_bytes(name.encode() * 2000)
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each file is opened."""
    counts: Counter[str] = Counter()
    plain_open, system_open = builtins.open, os.open

    def counting_open(file: Any, *more: Any, **options: Any) -> Any:
        counts[os.path.basename(str(file))] += 1
        return plain_open(file, *more, **options)

    def counting_system_open(path: Any, *more: Any, **options: Any) -> int:
        counts[os.path.basename(str(path))] += 1
        return system_open(path, *more, **options)

    monkeypatch.setattr(builtins, "open", counting_open)
    monkeypatch.setattr(os, "open", counting_system_open)
    return counts


def _declared(variation: Variation) -> dict[str, dict[str, Any]]:
    """Return the tables of a manifest that declares a variation of the guest."""
    tables = {name: dict(table) for name, table in TABLES.items()}
    launch: dict[str, Any] = {
        "mode": variation.mode,
        "profile": None if variation.profile is None else variation.profile.name,
        "order": variation.order,
        "policy": variation.policy,
        "guest-features": variation.guest_features,
    }
    tables["launch"] = {key: value for key, value in launch.items() if value is not None}
    if variation.vcpus is not None:
        tables["vcpu"]["count"] = variation.vcpus
    if variation.cpu is not None:
        tables["vcpu"]["model"] = variation.cpu.label
    if variation.kernel_hashes is not None:
        tables["kernel"]["hashes"] = variation.kernel_hashes
    if variation.cmdline is not None:
        tables["kernel"].update({"cmdline-file": None, "cmdline": variation.cmdline})
        if "{root}" not in variation.cmdline:
            tables["variables"] = {"root": None}
    return {name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items()}


cpus = st.sampled_from(["EPYC-v4", "EPYC-Milan", "EPYC-Genoa"]).map(
    lambda name: Cpu(name, CPU_MODELS[name].signature)
)
variations = st.builds(
    Variation,
    mode=st.sampled_from([None, "sev", "snp"]),
    profile=st.sampled_from([None, "qemu", "ec2", "gce"]).map(lambda name: name and load_profile(name)),
    cpu=st.none() | cpus,
    vcpus=st.none() | st.integers(1, 5),
    order=st.sampled_from([None, "profile", "canonical"]),
    policy=st.sampled_from([None, 0x30000, 0xB0000]),
    guest_features=st.sampled_from([None, 0x1, 0x21]),
    kernel_hashes=st.sampled_from([None, True, False]),
    cmdline=st.sampled_from([None, "quiet", "root={root} {cpu}"]),
).map(lambda it: it._replace(profile=None, policy=None, guest_features=None) if it.mode == "sev" else it)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(variation=variations)
def test_a_varied_target_is_that_of_a_manifest_that_declares_it(
    folder: Path, tmp_path: Path, variation: Variation
) -> None:
    for name in ("OVMF.fd", "kernel", "initrd", "more", "line"):
        if not (tmp_path / name).exists():
            (tmp_path / name).symlink_to(folder / name)
    declared = guest_of(tmp_path, **_declared(variation))
    (expected,) = declared.measure()
    guest = guest_of(tmp_path, **TABLES)
    before = guest.measure()[0].digest
    varied = guest.varied(guest.targets[0], variation)
    assert varied._replace(variant=expected.target.variant, profile=expected.target.profile) == (
        expected.target._replace(cmdline=varied.cmdline)
    )
    assert varied.order == expected.target.order
    assert guest.measure([varied])[0].digest == expected.digest
    assert all(step.is_equal for step in compare_plans(guest.plan(varied), expected.plan))
    # The guest itself is as it was.
    assert guest.measure()[0].digest == before
    assert len(guest.targets) == 1


def test_no_input_is_read_again(folder: Path, opened: Counter[str]) -> None:
    guest = guest_of(folder, **TABLES)
    guest.measure()
    inputs = {"OVMF.fd", "kernel", "initrd", "more", "line"}
    before = {name: opened[name] for name in inputs}
    assert min(before.values()) > 0
    for variation in (
        Variation(vcpus=8),
        Variation(profile=load_profile("ec2"), order="canonical"),
        Variation(mode="sev"),
        Variation(kernel_hashes=False),
        Variation(cmdline="quiet", cpu=Cpu("mine", 0x123)),
        Variation(policy=0xB0000, guest_features=0x21),
    ):
        varied = guest.varied(guest.targets[0], variation)
        guest.measure([varied])
        assert list(guest.trace(varied))
        assert {name: opened[name] for name in inputs} == before


def test_what_is_not_varied_stays(folder: Path) -> None:
    guest = guest_of(folder, **TABLES, launch={"policy": 0xB0000, "guest-features": 0x21})
    same = guest.varied(guest.targets[0], Variation())
    assert same._replace(variant=guest.targets[0].variant) == guest.targets[0]
    ec2 = guest.varied(same, Variation(profile=load_profile("ec2")))
    assert (ec2.policy, ec2.guest_features, ec2.label) == (0xB0000, 0x21, "snp/ec2/EPYC-v4/vcpus2")
    # What nothing declares goes with the profile.
    plain = guest_of(folder, **TABLES)
    other = plain.varied(plain.targets[0], Variation(profile=load_profile("qemu-snp-debugswap")))
    assert (other.guest_features, other.features_origin) == (0x21, "profile qemu-snp-debugswap")


def test_one_command_line_of_several_is_varied_alone(folder: Path) -> None:
    tables = {**TABLES, "kernel": {"path": "kernel", "cmdlines": {"a": "a={root}", "b": "b"}}}
    guest = guest_of(folder, **tables)
    varied = guest.varied(guest.targets[1], Variation(vcpus=1))
    assert varied.label == "snp/qemu/EPYC-v4/vcpus1/b"
    assert guest.kernels.cmdline(varied) == b"b"
    given_anew = guest.varied(guest.targets[1], Variation(cmdline="c"))
    assert (given_anew.label, guest.kernels.cmdline(given_anew)) == ("snp/qemu/EPYC-v4/vcpus2/b", b"c")


def test_a_guest_from_an_igvm_file_is_varied_through_its_file(tmp_path: Path, folder: Path) -> None:
    tables = {**TABLES, "launch": {"profile": "qemu-igvm"}, "igvm": {"parameters": False}}
    for name in ("OVMF.fd", "kernel", "initrd", "more", "line"):
        (tmp_path / name).symlink_to(folder / name)
    guest = guest_of(tmp_path, **tables)
    first = guest.measure()[0].digest.hex()
    (more,) = guest.measure([guest.varied(guest.targets[0], Variation(guest_features=0x21))])
    assert first != more.digest.hex()
    launch = {"profile": "qemu-igvm", "guest-features": 0x21}
    assert more.digest.hex() == digest_of(tmp_path, **{**tables, "launch": launch})
    with pytest.raises(SevbuildError, match="profile qemu does not load IGVM files"):
        guest.varied(guest.targets[0], Variation(profile=load_profile("qemu")))


def test_a_ready_file_keeps_what_it_says(tmp_path: Path, folder: Path) -> None:
    built = guest_of(folder, firmware=TABLES["firmware"], launch={"profile": "qemu-igvm"})
    (built_target,) = built.targets
    file = igvm_file(built_target, built.laid_out(built_target), built.firmware(built_target.variant))
    (tmp_path / "guest.igvm").write_bytes(file)
    guest = guest_of(tmp_path, igvm={"path": "guest.igvm"}, launch={"profile": "qemu-igvm"})
    (target,) = guest.targets
    varied = guest.varied(target, Variation(cpu=Cpu("EPYC-Milan", CPU_MODELS["EPYC-Milan"].signature)))
    assert (varied.policy, varied.policy_origin) == (target.policy, "igvm file")
    assert guest.plan(varied).policy == target.policy
    with pytest.raises(SevbuildError, match="the file's policy is"):
        guest.varied(target, Variation(policy=0x70000))


@pytest.mark.parametrize(
    ("tables", "variation", "message"),
    [
        ({}, Variation(profile=load_profile("ec2"), mode="sev-es"), "profile ec2 cannot launch sev-es"),
        ({}, Variation(policy=0), "0x0 lacks bit 17"),
        ({}, Variation(mode="sev", guest_features=1), "an SEV guest has no VMSA, so no features"),
        ({}, Variation(vcpus=0), "0 vCPUs: a guest has 1 to 4096"),
        ({}, Variation(cmdline="{absent}"), "unknown placeholder {absent}"),
        ({}, Variation(cmdline="{"), "stray brace"),
        ({"kernel": None, "initrd": None}, Variation(kernel_hashes=False), "there is no kernel"),
        ({"kernel": None, "initrd": None}, Variation(cmdline="x"), "there is no command line"),
    ],
)
def test_what_cannot_be_varied_is_refused(
    folder: Path, tables: dict[str, Any], variation: Variation, message: str
) -> None:
    given_tables = {**TABLES, **tables}
    if "kernel" in tables:
        given_tables = {"firmware": TABLES["firmware"]}
    guest = guest_of(folder, **given_tables)
    with pytest.raises(SevbuildError) as caught:
        guest.varied(guest.targets[0], variation)
    assert message in caught.value.message
