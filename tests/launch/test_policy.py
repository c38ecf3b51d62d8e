"""Policies: two families, opposite senses."""

from __future__ import annotations

from typing import Any

import pytest

from sevbuild.documents.document import Document
from sevbuild.launch.mode import Mode
from sevbuild.launch.policy import (
    DEFAULT_POLICIES,
    SEV_POLICY_BITS,
    SNP_POLICY_BITS,
    SevPolicy,
    SnpPolicy,
    decode_policy,
    policy_of,
)


def test_defaults_can_be_launched() -> None:
    for mode, policy in DEFAULT_POLICIES.items():
        checked = SnpPolicy(policy) if mode == "snp" else SevPolicy(policy)
        assert checked.fault(mode) is None
        assert checked.warning() is None


def test_debug_has_opposite_senses() -> None:
    assert "debug" in (SevPolicy(0x0).warning() or "")
    assert SevPolicy(0x1).warning() is None
    assert "debug" in (SnpPolicy(0xB0000).warning() or "")
    assert SnpPolicy(0x30000).warning() is None


@pytest.mark.parametrize(
    ("mode", "policy", "word"),
    [
        ("sev", 1 << 32, "32-bit"),
        ("sev", -1, "32-bit"),
        ("sev", 0x41, "15:6"),
        ("sev", 0x8001, "15:6"),
        ("sev", 0x5, r"sets bit 2"),
        ("sev-es", 0x1, "lacks bit 2"),
        ("sev", 0x30000, "SNP's default"),
    ],
)
def test_sev_policies_at_fault(mode: Mode, policy: int, word: str) -> None:
    fault = SevPolicy(policy).fault(mode)
    assert fault is not None
    assert word in fault[0]


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        (1 << 64, "64-bit"),
        (-1, "64-bit"),
        (0x10000, "bit 17"),
        (0x24, "bit 17"),
        (1 << 26 | 0x20000, "above 25"),
    ],
)
def test_snp_policies_at_fault(policy: int, word: str) -> None:
    fault = SnpPolicy(policy).fault("snp")
    assert fault is not None
    assert word in fault[0]


def test_hints_give_the_policy_that_was_meant() -> None:
    assert "0x5" in (SevPolicy(0x1).fault("sev-es") or ("", ""))[1]
    assert "0x20024" in (SnpPolicy(0x24).fault("snp") or ("", ""))[1]


def test_refusals_of_the_firmware() -> None:
    assert SevPolicy(0x37010001).refusal(api=(1, 54)) == "the policy requires API 1.55"
    assert SevPolicy(0x37010001).refusal(api=(1, 55)) is None
    assert SevPolicy(0x40).refusal() == "bits 15:6 must be zero"
    assert SnpPolicy(0x30138).refusal(abi=(1, 55)) == "the policy requires ABI 1.56"
    assert SnpPolicy(0x30138).refusal(abi=(2, 0)) is None
    assert SnpPolicy(0x0).refusal() == "bit 17 must be one"
    assert SnpPolicy(0x20000).refusal(host_smt=True) is not None
    assert SnpPolicy(0x230000).refusal(highest_bit=20) == "bits above 20 are reserved"


def test_every_bit_of_a_policy_has_a_name() -> None:
    assert list(SEV_POLICY_BITS.values()) == list(range(6))
    assert list(SNP_POLICY_BITS.values()) == [16, *range(18, 26)]


def test_bits_are_read_by_their_names() -> None:
    assert SevPolicy(0x5).es
    assert not SevPolicy(0x1).es
    assert SevPolicy(0x4).warning() is not None
    assert SevPolicy(0x5).warning() is None


def test_what_a_policy_can_be_at_most() -> None:
    assert SevPolicy(0).fault("sev") is None
    assert SevPolicy(0xFFFF_0001).fault("sev") is None
    assert SnpPolicy(1 << 25 | 0x30000).fault("snp") is None
    assert "above 25" in (SnpPolicy(1 << 63 | 0x20000).fault("snp") or ("", ""))[0]
    assert "lacks bit 17" in (SnpPolicy(0).fault("snp") or ("", ""))[0]


def test_a_firmware_takes_policies_up_to_its_own() -> None:
    for api in ((1, 55), (1, 56), (2, 0)):
        assert SevPolicy(0x37010001).refusal(api=api) is None
        assert SnpPolicy(0x30137).refusal(abi=api) is None
    for api in ((1, 54), (0, 255)):
        assert "API 1.55" in (SevPolicy(0x37010001).refusal(api=api) or "")
        assert "ABI 1.55" in (SnpPolicy(0x30137).refusal(abi=api) or "")
    assert SnpPolicy(1 << 20 | 0x20000).refusal(highest_bit=20) is None
    assert SnpPolicy(1 << 25 | 0x20000).refusal() is None
    assert SnpPolicy(1 << 26 | 0x20000).refusal() == "bits above 25 are reserved"


def test_a_policy_is_of_the_family_of_its_mode() -> None:
    assert isinstance(policy_of("snp", 0x30000), SnpPolicy)
    for mode in ("sev", "sev-es"):
        assert isinstance(policy_of(mode, 0x5), SevPolicy)


def decoded(value: Any, mode: Mode) -> tuple[int | None, list[tuple[str, str]]]:
    """Return the policy that `value` is decoded to, and the faults with their paths."""
    document = Document("guest.toml", "")
    policy = decode_policy(document, "launch.policy", value, mode)
    return policy, [(fault.path, fault.message) for fault in document.faults]


@pytest.mark.parametrize("mode", ["snp", "sev", "sev-es"])
@pytest.mark.parametrize("policy", [0, 1, (1 << 64) - 1])
def test_a_number_is_a_policy_as_it_stands(policy: int, mode: Mode) -> None:
    assert decoded(policy, mode) == (policy, [])


@pytest.mark.parametrize("policy", [-1, 1 << 64, True, "0x1"])
def test_a_policy_is_a_number_of_64_bits_or_a_table(policy: Any) -> None:
    found, faults = decoded(policy, "snp")
    assert found is None
    assert [path for path, _message in faults] == ["launch.policy"]


def test_a_table_names_the_bits_that_are_set() -> None:
    assert decoded({}, "snp") == (None, [("launch.policy", "must not be empty")])
    for name, bit in SNP_POLICY_BITS.items():
        assert decoded({name: True}, "snp") == (1 << 17 | 1 << bit, [])
        assert decoded({name: False}, "snp") == (1 << 17, [])
    for name, bit in SEV_POLICY_BITS.items():
        assert decoded({name: True}, "sev") == (1 << bit, [])
        assert decoded({name: False}, "sev") == (0, [])


def test_an_es_guest_has_its_bit_unless_it_is_cleared() -> None:
    assert decoded({"nodbg": True}, "sev-es") == (0x5, [])
    assert decoded({"es": True}, "sev-es") == (0x4, [])
    assert decoded({"es": False}, "sev-es") == (0, [])


@pytest.mark.parametrize(
    ("version", "snp", "sev"),
    [
        ("1.55", 0x20137, 0x37010000),
        ("255.254", 0x2FFFE, 0xFEFF0000),
        ("254.255", 0x2FEFF, 0xFFFE0000),
        ("0.1", 0x20001, 0x01000000),
        ("001.055", 0x20137, 0x37010000),
    ],
)
def test_the_least_firmware_has_two_places_in_two_orders(version: str, snp: int, sev: int) -> None:
    assert decoded({"abi": version}, "snp") == (snp, [])
    assert decoded({"api": version}, "sev") == (sev, [])


@pytest.mark.parametrize(
    "version", ["155", "1.256", "256.1", "1.x", "x.1", "1.0055", "1.", ".5", "1.\u00b2", "1.5.5"]
)
def test_the_least_firmware_is_two_numbers_of_a_byte(version: str) -> None:
    message = f'must look like "1.55", got {version!r}'
    assert decoded({"abi": version}, "snp") == (1 << 17, [("launch.policy.abi", message)])


def test_keys_of_the_other_family_are_refused() -> None:
    assert [path for path, _message in decoded({"api": "1.55"}, "snp")[1]] == ["launch.policy.api"]
    assert [path for path, _message in decoded({"abi": "1.55"}, "sev")[1]] == ["launch.policy.abi"]
