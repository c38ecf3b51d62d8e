"""Each change of a start is the launch that the manifest with its edits measures."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from sevbuild.diagnose.change import AXES, SEEN, HostFacts
from sevbuild.diagnose.rules.all_rules import changes_for
from sevbuild.diagnose.settings import changed_settings, settings_of
from sevbuild.diagnose.setup import Setup
from sevbuild.errors import SevbuildError
from sevbuild.launch.planner import Planner
from sevbuild.manifest.profiles import load_profile, profile_names
from sevbuild.vcpu.models import CPU_MODELS
from tests.support.starts import by_value, digest, edited_digest, kernel_guest, profiles, start_of

MODES = ["sev", "sev-es", "snp"]
SAMPLED = ("cmdline", "cpu", "guest-features")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("kernel", "order"), [(True, "profile"), (False, "profile"), (True, "canonical")])
def test_a_change_is_what_the_edited_manifest_measures(
    mode: str, kernel: bool, order: str, tmp_path: Path
) -> None:
    tables: dict[str, Any] = {} if kernel else {"kernel": None}
    launch = {"mode": mode, "order": order}
    manifest = kernel_guest(tmp_path, launch=launch, vcpu={"count": 3}, **tables)
    start = start_of(manifest)
    changes = [change for change in changes_for(start, profiles()) if change.edits]
    sampled = [change for change in changes if change.axis in SAMPLED]
    tried = [change for change in changes if change.axis not in SAMPLED]
    tried += sampled[:40] + Random(1).sample(sampled, min(len(sampled), 30))
    assert kernel or mode == "sev" or tried
    for change in tried:
        try:
            found = digest(change.apply(start.setup))
        except SevbuildError:
            with pytest.raises(SevbuildError):
                edited_digest(manifest, change.edits)
            continue
        assert found == edited_digest(manifest, change.edits), change


@pytest.mark.parametrize("mode", MODES)
def test_changes_are_told_apart_ranked_and_sourced(mode: str, tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path, launch={"mode": mode}))
    changes = changes_for(start, profiles())
    assert [change.weight for change in changes] == sorted(change.weight for change in changes)
    for axis in {change.axis for change in changes}:
        assert axis in AXES
        assert by_value(changes, axis)
    for change in changes:
        assert change.source
        assert change.says
        assert not change.says.endswith(".")


@pytest.mark.parametrize("mode", MODES)
def test_a_change_alters_what_it_says_it_touches(mode: str, tmp_path: Path) -> None:
    start, planner = start_of(kernel_guest(tmp_path, launch={"mode": mode}, vcpu={"count": 2})), Planner()
    body, tail = start.setup.body(planner), start.setup.tail(planner)
    for change in changes_for(start, profiles()):
        setup = change.apply(start.setup)
        try:
            same = (setup.body(planner) == body, setup.tail(planner) == tail)
        except SevbuildError:
            continue
        if change.touches == "body":
            assert same[1], change
        elif change.touches == "tail":
            assert same[0], change


@pytest.mark.parametrize("order", ["profile", "canonical"])
@pytest.mark.parametrize("mode", MODES)
def test_changes_of_two_axes_combine_in_any_order(mode: str, order: str, tmp_path: Path) -> None:
    launch = {"mode": mode, "order": order}
    start, random = start_of(kernel_guest(tmp_path, launch=launch, vcpu={"count": 2})), Random(2)
    changes = changes_for(start, profiles())
    axes = {axis: list(by_value(changes, axis).values()) for axis in {change.axis for change in changes}}
    for one, other in combinations(sorted(axes), 2):
        for first in random.sample(axes[one], min(len(axes[one]), 12)):
            for second in random.sample(axes[other], min(len(axes[other]), 12)):
                forth = second.apply(first.apply(start.setup))
                assert forth == first.apply(second.apply(start.setup)), (first, second)
                assert hash(forth) is not None


def test_the_own_profile_is_no_change_and_a_user_s_has_no_name_to_write(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nname = "mine"\nextends = "ec2"\nsummary = "x"\nas-of = "2026"\n'
    )
    start = start_of(kernel_guest(tmp_path, kernel=None))
    mine = load_profile("mine.toml", str(tmp_path))
    found = by_value(changes_for(start, [*profiles(), mine]), "profile")
    assert set(found) == {*profile_names(), "mine"} - {"qemu"}
    assert found["mine"].edits == ()
    assert digest(found["mine"].apply(start.setup)) == digest(found["ec2"].apply(start.setup))


def test_a_launch_in_the_order_of_an_igvm_file_has_no_other(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path, launch={"profile": "qemu-igvm"}))
    changes = changes_for(start, profiles())
    assert not by_value(changes, "order")
    sorted_one = start_of(kernel_guest(tmp_path, launch={"order": "canonical"}))
    assert set(by_value(changes_for(sorted_one, profiles()), "order")) == {"profile"}


def test_features_that_are_no_mode_s_default_stay_in_another_mode(tmp_path: Path) -> None:
    launch = {"mode": "snp", "guest-features": 0x21}
    manifest = kernel_guest(tmp_path, launch=launch, vcpu={"count": 2})
    start = start_of(manifest)
    modes = by_value(changes_for(start, profiles()), "mode")
    assert set(modes) == {"sev", "sev-es"}
    for change in modes.values():
        assert digest(change.apply(start.setup)) == edited_digest(manifest, change.edits)
    found = changed_settings(start, modes["sev-es"].apply(start.setup), profiles())
    assert found == {"mode": ("snp", "sev-es")}


def test_a_profile_comes_before_its_registers_for_a_manifest_can_name_it(tmp_path: Path) -> None:
    changes = changes_for(start_of(kernel_guest(tmp_path)), profiles())
    heaviest = max(change.weight for change in by_value(changes, "profile").values())
    assert heaviest < min(change.weight for change in by_value(changes, "registers").values())


def test_of_registers_those_are_named_that_differ(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path))
    found = by_value(changes_for(start, profiles()), "registers")
    assert found["fpu-mxcsr"].says == "X87-FCW 0x0 in the initial state of every vCPU"
    assert found["fpu-zero"].says == "MXCSR 0x0, X87-FCW 0x0 in the initial state of every vCPU"
    assert found["attributes-vmrun"].says.startswith(
        "attributes of SS 0x92, attributes of TR 0x83, attributes"
    )
    assert found["fpu-set"].says == "MXCSR 0x1f80, X87-FCW 0x37f in the initial state of every vCPU"
    says = by_value(changes_for(start, profiles()), "profile")["ec2"].says
    assert says == "the profile ec2 (Amazon EC2, SNP instances, Nitro, since the change of RDX)"
    assert all(change.says.count("(") < 2 for change in changes_for(start, profiles()))


class Other:
    """A setup of another kind."""

    mode, vcpus, counted_in_body = "snp", 1, False


def test_a_setup_of_another_kind_stays_as_it_is(tmp_path: Path) -> None:
    start, other = start_of(kernel_guest(tmp_path)), cast("Setup", Other())
    changes = changes_for(start, profiles())
    assert all(change.apply(other) is other for change in changes)
    assert changes_for(start._replace(setup=other), profiles()) == []
    with pytest.raises(TypeError, match="Other is no launch"):
        settings_of(other, profiles())


def test_every_signature_of_a_model_is_tried(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path), HostFacts(signature=0x00A20F12))
    changes = changes_for(start, profiles())
    found = {int(value, 16): change for value, change in by_value(changes, "cpu").items()}
    models = {model.signature for model in CPU_MODELS.values()}
    assert models | {0, 0x600, 0x00A20F12} <= {*found, 0x00800F12}
    assert all(found[signature].weight < SEEN for signature in models - {0x00800F12})
    # The report's own is the likeliest of all.
    assert min(found.values(), key=lambda change: change.weight) is found[0x00A20F12]


def test_all_changes_are_made_without_reading_a_file(tmp_path: Path) -> None:
    start, known = start_of(kernel_guest(tmp_path)), profiles()

    def never() -> bytes:
        raise AssertionError("a file is read before its rule is tried")

    lazy = start._replace(material=start.material._replace(kernel=never, initrd=(never, never, never)))
    assert len(changes_for(lazy, known)) > 1000


def test_a_report_s_host_makes_one_era_likelier_than_another(tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path))
    old, recent = HostFacts(firmware=(1, 54, 1)), HostFacts(firmware=(1, 58, 3))

    def weights(host: HostFacts) -> dict[tuple[str, str], int]:
        found = changes_for(start._replace(host=host), profiles())
        assert [change.weight for change in found] == sorted(change.weight for change in found)
        return {(change.axis, change.value): change.weight for change in found}

    plain, before, after = weights(HostFacts()), weights(old), weights(recent)
    assert weights(HostFacts(firmware=(1, 55, 25))) == plain
    for key in (("profile", "qemu-snp-legacy-fpu"), ("guest-features", "0x21")):
        assert before[key] < plain[key] < after[key]
    secure_tsc = ("guest-features", "0x201")
    assert after[secure_tsc] < plain[secure_tsc] < before[secure_tsc]
    assert plain == weights(HostFacts(vmpl=0))
    below, svsm = weights(HostFacts(vmpl=2)), ("guest-features", "0x29")
    assert below[svsm] < plain[svsm]
    assert below["guest-features", "0x21"] == plain["guest-features", "0x21"]
