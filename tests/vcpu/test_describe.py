"""A VMSA in words."""

from __future__ import annotations

import json
from hashlib import sha384

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.vcpu.describe import describe_vmsa, feature_names, looks_like_vmsa
from sevbuild.vcpu.save_area import build_vmsa

PAGE = build_vmsa(
    {"efer": 0x1000, "rflags": 2, "rdx": 0xA00F11, "sev_features": 0x21, "cs": {"selector": 0xF000}}
)


def test_a_vmsa_is_known_by_what_every_vcpu_needs() -> None:
    assert looks_like_vmsa(PAGE)
    for data in (
        PAGE[:-1],
        bytes(4096),
        b"\xff" * 4096,
        build_vmsa({"efer": 0x1000}),
        build_vmsa({"rflags": 2}),
    ):
        assert not looks_like_vmsa(data)


def test_a_description_is_json() -> None:
    description = describe_vmsa(PAGE)
    assert json.loads(json.dumps(description)) == description
    assert description["kind"] == "vmsa"
    assert description["sha384"] == sha384(PAGE).hexdigest()
    assert description["sev_features"] == ["snp-active", "debug-swap"]
    assert "EPYC-Milan" in description["cpu_models"]
    fields = {field["name"]: field["value"] for field in description["fields"]}
    assert fields["rdx"] == "0xa00f11"
    assert fields["cs"] == {"selector": "0xf000", "attributes": "0x0", "limit": "0x0", "base": "0x0"}
    assert fields["fpreg_x87"] == "00" * 80


def test_reserved_bytes_are_reported() -> None:
    page = bytearray(PAGE)
    page[0xD8] = 1
    assert describe_vmsa(bytes(page))["reserved"] == [{"offset": "0xd8", "length": 1}]


@given(st.integers(0, (1 << 64) - 1))
def test_every_feature_bit_has_a_name(features: int) -> None:
    assert len(feature_names(features)) == features.bit_count()


def test_bits_without_a_name_are_numbered() -> None:
    assert feature_names(1 << 40 | 1) == ["snp-active", "bit-40"]


@pytest.mark.parametrize(
    ("efer", "rflags", "is_one"),
    [
        (0xFFFF_FFFF, 0x3F_FFFF, True),
        (0x1_0000_1000, 2, False),
        (0x1000, 0x40_0002, False),
        (0x1000, 1, False),
        (0x1, 2, False),
    ],
)
def test_registers_of_a_vmsa_fit_the_processor(efer: int, rflags: int, is_one: bool) -> None:
    assert looks_like_vmsa(build_vmsa({"efer": efer, "rflags": rflags})) is is_one
