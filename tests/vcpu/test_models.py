"""CPU models and vCPU signatures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.vcpu.models import CPU_MODELS, cpu_signature, decode_signature, models_of

SIGNATURES = {
    "EPYC": 0x800F12,
    "EPYC-IBPB": 0x800F12,
    "EPYC-v5": 0x800F12,
    "EPYC-Rome": 0x830F10,
    "EPYC-Rome-v5": 0x830F10,
    "EPYC-Milan": 0xA00F11,
    "EPYC-Milan-v3": 0xA00F11,
    "EPYC-Genoa": 0xA10F10,
    "EPYC-Genoa-v2": 0xA10F10,
    "EPYC-Turin": 0xB00F00,
    "Dhyana": 0x900F01,
}
"""Read from QEMU 10.2 target/i386/cpu.c; test_reset_state.py reads them from a running QEMU."""


@pytest.mark.parametrize("name", SIGNATURES)
def test_each_model_has_its_signature(name: str) -> None:
    assert CPU_MODELS[name].signature == SIGNATURES[name]
    assert CPU_MODELS[name].name == name


def test_versions_of_a_model_share_its_signature() -> None:
    for name, model in CPU_MODELS.items():
        base = "-".join(part for part in name.split("-") if part != "IBPB" and not part.startswith("v"))
        assert model.signature == CPU_MODELS[base].signature
        assert name in models_of(model.signature)
    assert models_of(0) == []


@given(st.integers(0, 0x10E), st.integers(0, 0xFF), st.integers(0, 0xF))
def test_signatures_round_trip(family: int, model: int, stepping: int) -> None:
    # Below family 15 the extended model is not part of the encoding.
    signature = cpu_signature(family, model, stepping)
    assert 0 <= signature <= 0xFFFFFFFF
    assert decode_signature(signature) == (family, model, stepping)


def test_the_peer_encodes_alike() -> None:
    from sevsnpmeasure.vcpu_types import CPU_SIGS
    from sevsnpmeasure.vcpu_types import cpu_sig as peer

    for model in CPU_MODELS.values():
        assert model.signature == peer(model.family, model.model, model.stepping)
    for name, signature in CPU_SIGS.items():
        assert CPU_MODELS[name].signature == signature


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (0x10F, 0, 0), (25, 256, 0), (25, 0, 16), (25, -1, 0)])
def test_numbers_out_of_range(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(SevbuildError):
        cpu_signature(*numbers)


@pytest.mark.parametrize("signature", [-1, 1 << 32])
def test_signatures_out_of_range(signature: int) -> None:
    with pytest.raises(SevbuildError):
        decode_signature(signature)


def test_every_family_round_trips() -> None:
    for family in range(0x10F):
        assert decode_signature(cpu_signature(family, 0x31, 2)) == (family, 0x31, 2)
    assert cpu_signature(15, 0, 0) == 0xF00
    assert cpu_signature(16, 0, 0) == 0x100F00


def test_signatures_that_are_decoded_by_the_manual() -> None:
    assert decode_signature(0xFFFFFFFF) == (0x10E, 0xFF, 0xF)
    assert decode_signature(0) == (0, 0, 0)
    # The extended family counts where the base family is 15 alone.
    assert decode_signature(0x0FF00600) == (6, 0, 0)
    # Reserved bits take no part.
    assert decode_signature(0xA00F00 | 0xF000F000) == decode_signature(0xA00F00)
