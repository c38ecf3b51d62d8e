"""From a profile's values to a VMSA."""

from __future__ import annotations

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.vcpu.reset import SYMBOLS, InitialState, initial_vmsa
from sevbuild.vcpu.save_area import build_vmsa


def test_symbols_stand_for_what_the_target_brings() -> None:
    state: InitialState = {
        "rip": "entry-low",
        "cs": {"base": "entry-high", "limit": 5},
        "rax": "entry",
        "rdx": "vcpu-signature",
        "sev_features": "guest-features",
        "rbx": 7,
    }
    assert set(SYMBOLS) == {"entry-low", "entry-high", "entry", "vcpu-signature", "guest-features"}
    page = initial_vmsa(state, entry=0x1_2345_6789, signature=0xA00F11, guest_features=0x21)
    assert page == build_vmsa(
        {
            "rip": 0x6789,
            "cs": {"base": 0x23450000, "limit": 5},
            "rax": 0x1_2345_6789,
            "rdx": 0xA00F11,
            "sev_features": 0x21,
            "rbx": 7,
        }
    )


def test_an_unknown_symbol_is_an_error() -> None:
    with pytest.raises(SevbuildError, match="unknown initial register value 'entrance'"):
        initial_vmsa({"rip": "entrance"}, entry=0, signature=0, guest_features=0)
