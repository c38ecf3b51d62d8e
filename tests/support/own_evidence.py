"""Evidence of an authority of our own, whose signatures all hold: what a check beside them has to refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from typing import Any

from tests.support.amd_ca import ARC, Authority, Draft, amd, authority, integer, tlv
from tests.support.verifiers import Asked, Parts

__all__ = ["own_evidence"]

MEASUREMENT = bytes(range(48))
PAST = datetime(2026, 1, 1, tzinfo=timezone.utc)
FUTURE = datetime(2031, 1, 1, tzinfo=timezone.utc)
OTHER_CHIP = bytes(64 - at for at in range(64))
SPLS = {"boot loader": "1", "TEE": "2", "SNP": "3", "microcode": "8"}
_KEY_INFO_VLEK = 1 << 2
_KEY_INFO_NONE = 7 << 2


def parts_of(
    ca: Authority, vek: Draft | None = None, signer: Draft | None = None, vlek: bool = False, **fields: Any
) -> Parts:
    """Return a report of the authority with these fields, its certificates beside it but for bent ones."""
    return Parts(
        ca.report(**{"cpuid_mod_id": 1, **fields}),
        (vek or ca.vcek).der,
        (signer or (ca.asvk if vlek else ca.ask)).der,
        ca.ark.der,
        vlek=vlek,
    )


def asked_of(ca: Authority, parts: Parts, **more: Any) -> Asked:
    """Return what the plain report would hold, with the authority for a root."""
    assert parts.signer is not None
    assert parts.ark is not None
    return Asked(MEASUREMENT, ca.product.name, roots=(parts.signer, parts.ark), **more)


def tcb(ca: Authority, **moved: int) -> int:
    """Return the authority's TCB (u64), some parts moved by so much."""
    parts = {part: getattr(ca.tcb, part) + moved.get(part, 0) for part, _ in ca.product.parts}
    return sum(parts[part] << 8 * at for part, at in ca.product.parts)


def with_fields(**fields: Any) -> Callable[[Authority], Parts]:
    """Return what makes a report with these fields."""
    return lambda ca: parts_of(ca, **fields)


def with_vcek(bend: Callable[[Draft], Draft], **fields: Any) -> Callable[[Authority], Parts]:
    """Return what makes a report whose VCEK is bent."""
    return lambda ca: parts_of(ca, bend(ca.vcek), **fields)


def without_spl(number: str) -> Callable[[Authority], Parts]:
    """Return what makes a report whose VCEK does not have one of its TCB's numbers."""
    return with_vcek(lambda vcek: vcek.without(f"{ARC}.3.{number}"))


def with_spl(number: str, value: bytes) -> Callable[[Authority], Parts]:
    """Return what makes a report whose VCEK has something else for one of its TCB's numbers."""
    return with_vcek(lambda vcek: vcek.having(f"{ARC}.3.{number}", value))


def with_ask(bend: Callable[[Draft], Draft]) -> Callable[[Authority], Parts]:
    """Return what makes a report whose ASK is bent."""
    return lambda ca: parts_of(ca, signer=bend(ca.ask))


SIGNED: Mapping[str, Callable[[Authority], Parts]] = {
    "nothing": with_fields(),
    "a VLEK": lambda ca: parts_of(ca, ca.vlek, vlek=True, key_info=_KEY_INFO_VLEK),
    "a VCEK that expired": with_vcek(lambda vcek: vcek._replace(not_after=PAST)),
    "a VCEK that is not valid yet": with_vcek(lambda vcek: vcek._replace(not_before=FUTURE)),
    "an ASK that expired": with_ask(lambda ask: ask._replace(not_after=PAST)),
    "an ASK that is no authority": with_ask(lambda ask: ask.having("2.5.29.19", tlv(0x30), critical=True)),
    "an ASK of another name": with_ask(lambda ask: ask._replace(subject=amd("SEV-Other"))),
    "a VLEK for SIGNING_KEY 0": lambda ca: parts_of(ca, ca.vlek, ca.asvk),
    "a VCEK for SIGNING_KEY 1": with_fields(vlek=False, key_info=_KEY_INFO_VLEK),
    "SIGNING_KEY 7, which is none": with_fields(key_info=_KEY_INFO_NONE),
    "a VCEK of another HWID": with_vcek(lambda vcek: vcek.having(f"{ARC}.4", OTHER_CHIP)),
    "a VCEK without HWID": with_vcek(lambda vcek: vcek.without(f"{ARC}.4")),
    "a CHIP_ID of zeros": with_fields(chip_id=bytes(64)),
    **{f"a VCEK without its {name} number": without_spl(spl) for name, spl in SPLS.items()},
    **{f"a VCEK of another {name} number": with_spl(spl, integer(99)) for name, spl in SPLS.items()},
    "a number of two octets": with_spl("2", tlv(2, b"\x01\x00")),
    "a VCEK of another product": with_vcek(lambda vcek: vcek.having(f"{ARC}.2", tlv(0x16, b"Genoa"))),
    "a critical extension that nobody knows": with_vcek(
        lambda vcek: vcek.having("1.2.3.4", tlv(0x05), critical=True)
    ),
    "an extension that is no DER": with_spl("1", b"\x02"),
    "a subject that is not AMD's": with_vcek(lambda vcek: vcek._replace(subject=(("CN", "SEV-VCEK"),))),
    "a subject that is no VCEK's": with_vcek(lambda vcek: vcek._replace(subject=amd("SEV-OTHER"))),
    "REPORTED_TCB above CURRENT_TCB": lambda ca: parts_of(
        ca, current_tcb=tcb(ca, snp=-1), committed_tcb=tcb(ca, snp=-1)
    ),
    "COMMITTED_TCB above CURRENT_TCB": lambda ca: parts_of(ca, committed_tcb=tcb(ca, snp=1)),
    "COMMITTED_TCB below REPORTED_TCB": lambda ca: parts_of(ca, committed_tcb=tcb(ca, snp=-1)),
    "REPORTED_TCB below both": lambda ca: parts_of(
        ca, committed_tcb=tcb(ca, snp=1), current_tcb=tcb(ca, snp=1)
    ),
    "a reserved byte of a TCB": lambda ca: parts_of(ca, launch_tcb=tcb(ca) | 1 << 24),
    "firmware that is not committed": with_fields(committed_version=bytes((39, 55, 1))),
    **{f"version {number}": with_fields(version=number) for number in (0, 1, 4, 5, 6, 255)},
    "version 2 with a model": with_fields(version=2),
    "no product of family and model": with_fields(cpuid_mod_id=0x70),
    "the model of another product": with_fields(cpuid_mod_id=0x11),
    "SIGNATURE_ALGO 0": with_fields(signature_algo=0),
    "SIGNATURE_ALGO 2": with_fields(signature_algo=2),
    "a reserved bit of KEY_INFO": with_fields(key_info=1 << 9),
    "a mitigation in version 3": with_fields(launch_mit_vector=1),
    "a debug policy": with_fields(policy=0xB0000),
    "a policy with a migration agent": with_fields(policy=0x70000),
    "a policy without bit 17": with_fields(policy=0x10000),
    "a policy of a bit that nobody knows": with_fields(policy=0x30000 | 1 << 40),
    "a policy that asks for less": with_fields(policy=0x20000),
    "VMPL 1": with_fields(vmpl=1),
    "VMPL 0xffffffff, the host's": with_fields(vmpl=0xFFFFFFFF),
    "a bit of PLATFORM_INFO that nobody knows": with_fields(platform_info=1 << 40),
    "a platform with SMT against the policy": with_fields(policy=0x20000, platform_info=1),
    "another measurement": with_fields(measurement=bytes(48)),
}
"""What is bent of a report that our own authority signed, by what it is."""
ASKED = {"a platform with SMT against the policy": {"policy": 0x20000}}
"""What is asked in place of what the plain report holds."""


def own_evidence() -> dict[str, Callable[[], tuple[Parts, Asked]]]:
    """Return what makes each: bent reports whose root is trusted, and one whose root is not."""
    ca = authority("Milan")

    def made(name: str) -> tuple[Parts, Asked]:
        parts = SIGNED[name](ca)
        return parts, asked_of(ca, parts, **ASKED.get(name, {}))

    def untrusted() -> tuple[Parts, Asked]:
        return parts_of(ca), Asked(MEASUREMENT, "Milan")

    found: dict[str, Callable[[], tuple[Parts, Asked]]] = {
        f"own: {name}": partial(made, name) for name in SIGNED
    }
    return {**found, "own root, which nobody trusts": untrusted}
