"""What is said of the values of a manifest, and of none that is as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import Notice
from sevbuild.guest.guest import Guest
from sevbuild.guest.notices import firmware_notices, target_notices
from sevbuild.image.ovmf import parse_firmware
from sevbuild.manifest.profiles import load_profile
from tests.support.firmware import make_firmware, standard_firmware
from tests.support.guests import guest_of

FIRMWARE = {"path": "OVMF.fd"}


def _guest(folder: Path, **tables: Any) -> Guest:
    return guest_of(folder, firmware=FIRMWARE, **tables)


def _notices(folder: Path, **launch: Any) -> list[Notice]:
    return target_notices(_guest(folder, launch=launch).targets)


def _warnings(folder: Path, **launch: Any) -> list[tuple[str, str | None]]:
    """Return the warnings on a launch, each with its hint."""
    return [(note.message, note.hint) for note in _notices(folder, **launch) if note.level == "warning"]


def test_a_value_that_the_manifest_does_not_give_is_noted_with_its_origin(tmp_path: Path) -> None:
    def noted(**launch: Any) -> list[tuple[str, str]]:
        return [(note.where, note.message) for note in _notices(tmp_path, **launch) if note.level == "note"]

    policy, features = {"policy": 0x30000}, {"guest-features": 0x1}
    unsaid_policy = "policy 0x30000 (default of mode snp)"
    unsaid_features = "guest features 0x1 (profile qemu)"
    assert noted() == [("snp/qemu", f"{unsaid_policy}, {unsaid_features}")]
    assert noted(**features) == [("snp/qemu", unsaid_policy)]
    assert noted(**policy) == [("snp/qemu", unsaid_features)]
    assert noted(**policy, **features) == []
    assert noted(mode="sev", policy=0x3) == []


def test_a_policy_that_allows_debugging_is_warned_of_and_a_default_explained(tmp_path: Path) -> None:
    hint = "it is SEV's default; 0x3 forbids debugging and key sharing"
    message = "the host may debug this guest (nodbg is clear): it can read all of its memory"
    assert _warnings(tmp_path, mode="sev", policy=0x0) == [(message, hint)]
    assert _warnings(tmp_path, mode="sev", policy=0x2) == [(message, None)]
    assert _warnings(tmp_path, mode="sev", policy=0x3) == []
    ((_, no_hint),) = _warnings(tmp_path, policy=0xB0000)
    assert no_hint is None


@pytest.mark.parametrize(
    ("mode", "features", "warned"),
    [
        ("snp", 0x1, []),
        ("snp", 0x0, ["snp-active (bit 0) is clear; every SNP host sets it"]),
        ("sev-es", 0x0, []),
        ("sev-es", 0x1, ["snp-active (bit 0) is set in an SEV-ES guest's features"]),
        (
            "sev-es",
            0x400001,
            [
                "snp-active (bit 0) is set in an SEV-ES guest's features",
                "hosts of profile qemu never set bit-22; the digest includes it as given",
            ],
        ),
    ],
)
def test_features_that_no_host_of_the_mode_sets(
    tmp_path: Path, mode: str, features: int, warned: list[str]
) -> None:
    launch = {"mode": mode, "policy": 0x7 if mode == "sev-es" else 0x30000, "guest-features": features}
    guest = _guest(tmp_path, launch=launch)
    notices = target_notices(guest.targets)
    assert [notice.message for notice in notices] == warned
    line = guest.manifest.variants[0].document.where("launch.guest-features")
    assert {notice.where for notice in notices} <= {line}


def test_features_of_other_hosts_name_the_profiles_of_these(tmp_path: Path) -> None:
    def hint(mode: str, features: int) -> str | None:
        warnings = _warnings(tmp_path, mode=mode, **{"guest-features": features})
        (found,) = [hint for message, hint in warnings if "never set" in message]
        return found

    assert hint("snp", 0x21) == "hosts of profile qemu-snp-debugswap can set debug-swap"
    assert hint("sev-es", 0x20) == "hosts of profile qemu-es-debugswap can set debug-swap"
    assert hint("snp", 0x400001) is None
    # All of them at once is what a profile must have.
    assert hint("snp", 0x400021) is None


def test_what_a_profile_sets_itself_is_not_held_against_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nname = "mine"\nextends = "qemu"\nsummary = "x"\nas-of = "2026-01-01"\n'
        "[guest-features.snp]\ndefault = 33\nknown = 1\n"
    )
    assert _warnings(tmp_path, profile="mine.toml") == []
    ((message, _),) = _warnings(tmp_path, profile="mine.toml", **{"guest-features": 33})
    assert message.startswith("hosts of profile mine never set debug-swap")


def test_advice_is_for_the_signatures_from_low_to_high(tmp_path: Path) -> None:
    def advised(profile: str, signature: int) -> list[str | None]:
        vcpu = {"model": None, "signature": signature}
        guest = _guest(tmp_path, launch={"profile": profile}, vcpu=vcpu)
        return [note.hint for note in target_notices(guest.targets) if "GCE launches" in note.message]

    (from_genoa,) = load_profile("gce").prose.advice
    (to_milan,) = load_profile("gce-genoa").prose.advice
    assert advised("gce", from_genoa.low) == ['profile "gce-genoa" does that']
    assert advised("gce", from_genoa.low - 1) == []
    assert advised("gce-genoa", to_milan.high) == ['profile "gce" does that']
    assert advised("gce-genoa", to_milan.high + 1) == []


def test_warnings_on_a_firmware_name_its_file_and_have_bounds(tmp_path: Path) -> None:
    guest = _guest(tmp_path)
    (variant,) = guest.manifest.variants

    def told(image: bytes) -> list[tuple[str, str]]:
        notices = firmware_notices(variant, parse_firmware(image), guest.targets)
        return [(notice.where, notice.message) for notice in notices]

    assert told(standard_firmware(size=8 << 20)) == []
    size = (8 << 20) + (64 << 10)
    assert told(make_firmware(size=size)) == [("OVMF.fd", f"{size} bytes; QEMU maps at most 8 MiB as flash")]
