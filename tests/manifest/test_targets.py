"""The matrix, in a stable order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import FaultsError, SevbuildError
from sevbuild.manifest import targets as targets_module
from sevbuild.manifest.vcpu_keys import cpu_named
from tests.support.guests import guest_of

FIRMWARE = {"path": "OVMF.fd"}


def _labels(folder: Path, **tables: Any) -> list[str]:
    return [target.label for target in guest_of(folder, firmware=FIRMWARE, **tables).targets]


def test_order_is_mode_profile_cpu_count_variant(tmp_path: Path) -> None:
    labels = _labels(
        tmp_path,
        launch={"mode": ["snp", "sev"], "profile": ["qemu"]},
        vcpu={"model": None, "signature": [0xA00F11, 0x800F12], "count": [4, 1]},
        kernel={"path": "k", "cmdlines": {"b": "two", "a": "one"}},
    )
    assert labels == [
        f"{mode}/qemu/{cpu}/vcpus{count}/{name}"
        for mode in ("snp", "sev")
        for cpu in ("0x00a00f11", "0x00800f12")
        for count in (1, 4)
        for name in ("b", "a")
    ]


def test_policy_and_features_say_where_they_come_from(tmp_path: Path) -> None:
    guest = guest_of(
        tmp_path,
        firmware=FIRMWARE,
        launch={"mode": ["sev", "sev-es", "snp"], "profile": "qemu", "policy": {"sev": 3}},
    )
    found = [(t.policy, t.policy_origin, t.guest_features, t.features_origin) for t in guest.targets]
    assert found == [
        (3, "manifest", None, "mode sev has none"),
        (5, "default of mode sev-es", 0, "profile qemu"),
        (0x30000, "default of mode snp", 1, "profile qemu"),
    ]


@pytest.mark.parametrize(
    ("launch", "message", "hint"),
    [
        ({"mode": "sev-es", "profile": "ec2"}, "profile ec2 cannot launch sev-es", "qemu-es-init2"),
        ({"mode": ["snp", "sev"], "profile": ["qemu", "gce"]}, "profile gce cannot launch sev", "[[matrix]]"),
        (
            {"mode": "snp", "profile": "qemu-es-init2"},
            "profile qemu-es-init2 cannot launch snp",
            "it launches sev-es",
        ),
    ],
)
def test_combinations_that_a_profile_cannot_launch(
    tmp_path: Path, launch: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(FaultsError) as caught:
        _labels(tmp_path, launch=launch)
    (fault,) = caught.value.faults
    assert (fault.path, fault.message) == ("launch.profile", message)
    assert hint in (fault.hint or "")


def test_unequal_combinations_go_into_the_matrix(tmp_path: Path) -> None:
    labels = _labels(
        tmp_path,
        matrix=[
            {"launch": {"mode": "sev-es", "profile": "qemu"}},
            {"launch": {"profile": "ec2"}, "firmware": {"path": "ec2.fd"}},
        ],
    )
    assert labels == ["sev-es/qemu/EPYC-v4/vcpus1", "snp/ec2/EPYC-v4/vcpus1"]


def test_a_label_names_one_digest(tmp_path: Path) -> None:
    with pytest.raises(FaultsError, match="snp/qemu/EPYC-v4/vcpus1 is a target of two entries"):
        _labels(tmp_path, matrix=[{"vcpu": {"count": 1}}, {"firmware": {"path": "b.fd"}}])


def test_profiles_by_path_go_by_their_own_name(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "x.toml").write_text(
        'schema = 1\nname = "mine"\nextends = "qemu"\nsummary = "s"\nas-of = "now"\n'
    )
    assert _labels(tmp_path, launch={"profile": "profiles/x.toml"}) == ["snp/mine/EPYC-v4/vcpus1"]


def test_a_profile_at_fault_is_named_by_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        'schema = 1\nname = "mine"\nextends = "qemu"\nsumary = "s"\nas-of = "now"\n'
    )
    with pytest.raises(FaultsError) as caught:
        _labels(tmp_path, launch={"profile": "x.toml"})
    assert "x.toml:4: sumary: unknown key" in [str(fault) for fault in caught.value.faults]
    with pytest.raises(SevbuildError, match=r"cannot read .*absent\.toml"):
        _labels(tmp_path, launch={"profile": "absent.toml"})


def test_slips_of_the_pen_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_module, "MAX_TARGETS", 10)
    assert len(_labels(tmp_path, vcpu={"count": "1-10"})) == 10
    with pytest.raises(FaultsError, match="multiply to more than 10 targets"):
        _labels(tmp_path, vcpu={"count": "1-11"})


@pytest.mark.parametrize("name", ["EPYC-Milan", "0x00a00f11", "0xA00F11", str(0xA00F11)])
def test_a_cpu_is_named_by_its_model_or_its_signature(name: str) -> None:
    cpu = cpu_named(name)
    assert cpu.signature == 0xA00F11
    assert cpu.label == (name if name.startswith("EPYC") else "0x00a00f11")


@pytest.mark.parametrize("name", ["EPYC-Milann", "", "-1", "0x", "0x100000000", "4294967296", "0b1", "host"])
def test_a_name_that_no_cpu_has(name: str) -> None:
    with pytest.raises(SevbuildError, match="unknown CPU model"):
        cpu_named(name)
