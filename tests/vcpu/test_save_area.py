"""The layout of a VMSA: against itself, against the peer's structure, and against VMSAs of others."""

from __future__ import annotations

import ctypes
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.vcpu.save_area import (
    FIELDS,
    SEGMENT_PARTS,
    SEV_FEATURE_BITS,
    VMSA_SIZE,
    Field,
    build_vmsa,
    parse_vmsa,
    reserved_bytes_set,
)
from tests.support.shared import shared_file


def _values(field: Field) -> st.SearchStrategy[Any]:
    if field.kind == "bytes":
        return st.binary(min_size=field.size, max_size=field.size)
    if field.kind == "segment":
        parts = {part: st.integers(0, (1 << 8 * size) - 1) for part, size in SEGMENT_PARTS.items()}
        return st.fixed_dictionaries(parts)
    return st.integers(0, (1 << 8 * field.size) - 1)


areas = st.fixed_dictionaries({}, optional={field.name: _values(field) for field in FIELDS})


@settings(max_examples=100, deadline=None)
@given(areas)
def test_what_is_built_is_parsed(values: dict[str, Any]) -> None:
    page = build_vmsa(values)
    assert len(page) == VMSA_SIZE
    parsed = parse_vmsa(page)
    assert {name: parsed[name] for name in values} == values
    assert build_vmsa(parsed) == page
    assert reserved_bytes_set(page) == []


def test_fields_ascend_and_do_not_overlap() -> None:
    assert len({field.name for field in FIELDS}) == len(FIELDS)
    for one, other in pairwise(FIELDS):
        assert one.offset + one.size <= other.offset
    assert FIELDS[-1].offset + FIELDS[-1].size == 0x670


def test_each_field_has_bytes_of_its_own() -> None:
    for field in FIELDS:
        value: Any = (1 << 8 * field.size) - 1
        if field.kind == "bytes":
            value = b"\xff" * field.size
        elif field.kind == "segment":
            value = {part: (1 << 8 * size) - 1 for part, size in SEGMENT_PARTS.items()}
        page = build_vmsa({field.name: value})
        assert page == bytes(field.offset) + b"\xff" * field.size + bytes(
            VMSA_SIZE - field.offset - field.size
        )


OFFSETS = {
    "es": 0x000, "cs": 0x010, "tr": 0x090, "cpl": 0x0CB, "efer": 0x0D0, "cr4": 0x148, "cr0": 0x158, "dr7": 0x160,
    "dr6": 0x168, "rflags": 0x170, "rip": 0x178, "rsp": 0x1D8, "rax": 0x1F8, "g_pat": 0x268, "pkru": 0x2E8,
    "tsc_scale": 0x2F0, "rcx": 0x308, "rdx": 0x310, "rbp": 0x328, "r15": 0x378, "sev_features": 0x3B0,
    "virtual_tom": 0x3C8, "xcr0": 0x3E8, "mxcsr": 0x408, "x87_fcw": 0x410, "fpreg_x87": 0x420, "fpreg_ymm": 0x570,
}  # fmt: skip
"""APM vol. 2 table B-4."""


def test_offsets_of_the_manual() -> None:
    known = {field.name: field.offset for field in FIELDS}
    assert {name: known[name] for name in OFFSETS} == OFFSETS


def test_the_peers_structure_has_the_same_offsets() -> None:
    from sevsnpmeasure.vmsa import SevEsSaveArea

    known = {field.name: field for field in FIELDS}
    compared = []
    for name, kind in ((entry[0], entry[1]) for entry in SevEsSaveArea._fields_):
        if name in known and not name.startswith("reserved"):
            assert getattr(SevEsSaveArea, name).offset == known[name].offset, name
            assert ctypes.sizeof(kind) == known[name].size, name
            compared.append(name)
    assert {"cs", "rip", "rdx", "sev_features", "xcr0", "mxcsr", "x87_fcw", "g_pat"} <= set(compared)
    assert len(compared) > 80


@pytest.mark.parametrize("name", ["vmsa0.bin", "vmsa1.bin"])
def test_vmsas_of_sevctl_round_trip(name: str) -> None:
    page = shared_file(f"launch-abi/sevctl/{name}").read_bytes()
    assert build_vmsa(parse_vmsa(page)) == page
    assert reserved_bytes_set(page) == []


def test_a_vmsa_reads_as_sevctl_shows_it() -> None:
    shown = json.loads(shared_file("launch-abi/sevctl/vmsa0-show.txt").read_text())
    parsed = parse_vmsa(shared_file("launch-abi/sevctl/vmsa0.bin").read_bytes())
    compared = 0
    for name, value in shown.items():
        mine = parsed.get(name)
        if isinstance(mine, dict):
            assert mine == {"attributes": value.pop("attrib"), **value}
            compared += 1
        elif mine is not None:
            assert mine == value, name
            compared += 1
    assert compared > 50


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ripp": 0}, "no field 'ripp'"),
        ({"cs": 0}, "cs is a segment"),
        ({"cs": {"limits": 0}}, "no part 'limits'"),
        ({"cs": {"limit": 1 << 32}}, "cs.limit holds 32 bits"),
        ({"rip": 1 << 64}, "rip holds 64 bits"),
        ({"rip": -1}, "rip holds 64 bits"),
        ({"rip": {}}, "rip holds a number"),
        ({"fpreg_x87": b""}, "fpreg_x87 holds 80 bytes"),
    ],
)
def test_values_that_do_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        build_vmsa(values)


@pytest.mark.parametrize("size", [0, 4095, 4097])
def test_a_vmsa_is_one_page(size: int) -> None:
    for function in (parse_vmsa, reserved_bytes_set):
        with pytest.raises(SevbuildError, match="a VMSA is 4096 bytes"):
            function(bytes(size))


def test_reserved_bytes_are_seen() -> None:
    page = bytearray(VMSA_SIZE)
    page[0xD8:0xDB] = b"abc"
    page[0xFFF] = 1
    assert reserved_bytes_set(bytes(page)) == [(0xD8, 3), (0xFFF, 1)]


def test_feature_bits_are_distinct() -> None:
    assert len(set(SEV_FEATURE_BITS.values())) == len(SEV_FEATURE_BITS)
    assert SEV_FEATURE_BITS["snp-active"] == 0
    assert SEV_FEATURE_BITS["debug-swap"] == 5


def test_runs_of_reserved_bytes_are_told_apart() -> None:
    page = bytearray(VMSA_SIZE)
    page[0xD8:0xDB] = b"abc"
    page[0xFFC:0x1000] = b"abcd"
    assert reserved_bytes_set(bytes(page)) == [(0xD8, 3), (0xFFC, 4)]


def test_parts_that_are_not_named_are_zero() -> None:
    limit = {"selector": 0, "attributes": 0, "limit": 5, "base": 0}
    assert parse_vmsa(build_vmsa({"cs": {"limit": 5}}))["cs"] == limit


def test_a_hint_names_what_was_meant_or_nothing() -> None:
    for name, hint in (("ripp", "did you mean rip?"), ("qqqqqq", None)):
        with pytest.raises(SevbuildError) as caught:
            build_vmsa({name: 0})
        assert caught.value.hint == hint


def test_bits_and_offsets_have_the_numbers_of_the_manual() -> None:
    bits = ["snp-active", "vtom", "reflect-vc", "restricted-injection", "alternate-injection", "debug-swap"]
    assert [SEV_FEATURE_BITS[name] for name in bits] == list(range(6))
