"""Canonical order: computed for any target, built and published where something launches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sevbuild.errors import FaultsError
from sevbuild.guest.order import ORDER_HINT, is_launched, refuse_order
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of


def test_a_canonical_order_that_no_loader_replays_is_refused_with_its_profile(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "ours.toml").write_text(
        'schema = 1\nname = "ours"\nsummary = "ours"\nas-of = "2026"\nextends = "qemu"\n'
        '[launch]\nlist-loader = "ours"\n'
    )
    firmware = {"path": "OVMF.fd"}
    profiles = {"profile": ["./ours.toml", "qemu", "ec2"]}
    refuse_order(guest_of(tmp_path, firmware=firmware, launch=profiles).targets)
    guest = guest_of(tmp_path, firmware=firmware, launch={**profiles, "order": "canonical"})
    assert [is_launched(target) for target in guest.targets] == [True, False, False]
    refuse_order(guest.targets[:1])
    with pytest.raises(FaultsError) as caught:
        refuse_order(guest.targets)
    assert [(fault.path, fault.message, fault.hint) for fault in caught.value.faults] == [
        ("launch.order", f"canonical order: profile {name} names no loader that replays the list", ORDER_HINT)
        for name in ("qemu", "ec2")
    ]
