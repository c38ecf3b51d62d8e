"""The register state a vCPU starts with, from a profile's values to a VMSA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.vcpu.save_area import build_vmsa

__all__ = ["SYMBOLS", "InitialState", "initial_vmsa"]

RegisterValue = int | str
InitialState = Mapping[str, RegisterValue | Mapping[str, RegisterValue]]
"""Save-area fields to values; a value is a number or one of SYMBOLS, a segment a mapping of its parts."""

SYMBOLS = {
    "vcpu-signature": "CPUID Fn0000_0001_EAX of the guest's CPU model",
    "guest-features": "SEV_FEATURES of the target",
    "entry": "the address the vCPU starts at",
    "entry-low": "its low 16 bits, as a real-mode instruction pointer",
    "entry-high": "the rest of its low 32 bits, as a real-mode code segment base",
}
"""What a profile may write where the value depends on the target."""


class _Known(NamedTuple):
    """A choice of some words; what is not known may be any of them."""

    entry: int
    signature: int
    guest_features: int

    def resolve(self, value: RegisterValue) -> int:
        if isinstance(value, int):
            return value
        if value == "vcpu-signature":
            return self.signature
        if value == "guest-features":
            return self.guest_features
        if value == "entry":
            return self.entry
        if value == "entry-low":
            return self.entry & 0xFFFF
        if value == "entry-high":
            return self.entry & 0xFFFF0000
        raise SevbuildError(f"unknown initial register value {value!r}", hint=f"known: {', '.join(SYMBOLS)}")


def initial_vmsa(state: InitialState, *, entry: int, signature: int, guest_features: int) -> bytes:
    """Return the 4096-byte VMSA of one vCPU that starts at `entry`.

    Fields that `state` does not name are zero.
    """
    known = _Known(entry, signature, guest_features)
    return build_vmsa(
        {
            name: (
                {part: known.resolve(value[part]) for part in value}
                if isinstance(value, Mapping)
                else known.resolve(value)
            )
            for name, value in state.items()
        }
    )
