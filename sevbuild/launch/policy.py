"""Guest policies: two families of bits with opposite ideas of `debug`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sevbuild.documents.document import Document, Table, check_integer
from sevbuild.launch.mode import Mode

__all__ = [
    "DEFAULT_POLICIES",
    "SEV_POLICY_BITS",
    "SNP_HIGHEST_BIT",
    "SNP_PERMISSIONS",
    "SNP_POLICY_BITS",
    "SNP_READABLE",
    "SevPolicy",
    "SnpPolicy",
    "decode_policy",
    "policy_of",
    "version_text",
]

SEV_POLICY_BITS = {"nodbg": 0, "noks": 1, "es": 2, "nosend": 3, "domain": 4, "sev": 5}
"""Bits of the SEV policy, u32 (SEV API 2.1); 15:6 must be zero, 23:16 and 31:24 are the minimum API."""

SNP_POLICY_BITS = {
    "smt": 16,
    "migrate-ma": 18,
    "debug": 19,
    "single-socket": 20,
    "cxl-allow": 21,
    "mem-aes-256-xts": 22,
    "rapl-dis": 23,
    "ciphertext-hiding-dram": 24,
    "page-swap-disable": 25,
}
"""Bits of the SNP policy, u64 (SNP ABI 4.3); bit 17 must be one, 7:0 and 15:8 are the minimum ABI."""

SNP_PERMISSIONS = ("smt", "migrate-ma", "debug", "cxl-allow")
"""Bits of the SNP policy that permit something when they are set; the others demand something."""

SNP_READABLE = 1 << SNP_POLICY_BITS["debug"] | 1 << SNP_POLICY_BITS["migrate-ma"]
"""What lets a guest's memory be read from outside it."""

SNP_MUST_BE_ONE = 1 << 17
SNP_HIGHEST_BIT = 25

DEFAULT_POLICIES: Mapping[Mode, int] = {"sev": 0x1, "sev-es": 0x5, "snp": 0x30000}
"""What QEMU launches with when nothing is said (QEMU 10.2 qapi/qom.json); SEV-ES adds the ES bit."""


class SevPolicy(int):
    """An SEV or SEV-ES guest policy: `nodbg` set means no debugging."""

    __slots__ = ()

    @property
    def es(self) -> bool:
        """Tell whether the guest is an SEV-ES guest."""
        return bool(self >> SEV_POLICY_BITS["es"] & 1)

    @property
    def api(self) -> tuple[int, int]:
        """The minimum API: major and minor."""
        return self >> 16 & 0xFF, self >> 24 & 0xFF

    def refusal(self, *, api: tuple[int, int] | None = None) -> str | None:
        """Return why LAUNCH_START refuses the policy for a guest owner's session, else None."""
        if api is not None and self.api > api:
            return f"the policy requires API {version_text(self.api)}"
        if self & 0xFFC0:
            return "bits 15:6 must be zero"
        return None

    def fault(self, mode: Mode) -> tuple[str, str] | None:
        """Return why no `mode` guest can be launched with this policy, and a hint; else None."""
        if self < 0 or self >> 32:
            return (
                f"{int(self):#x} is not a 32-bit {mode} policy",
                "SNP policies are 64-bit, SEV policies 32-bit",
            )
        if self & 0xFFC0:
            return f"{int(self):#x} sets bits 15:6, which must be zero", "see docs/manifest.md, launch.policy"
        if mode == "sev-es" and not self.es:
            return f"{int(self):#x} lacks bit 2 (es)", f"{int(self) | 4:#x} is the same policy for SEV-ES"
        if mode == "sev" and self.es:
            return f"{int(self):#x} sets bit 2 (es)", 'say mode = "sev-es", or clear the bit'
        if int(self) == DEFAULT_POLICIES["snp"]:
            return f"{int(self):#x} is SNP's default policy: here it would mean API 3.0", "SEV's is 0x1"
        return None

    def warning(self) -> str | None:
        """Return what should not ship in this policy, else None."""
        if not self >> SEV_POLICY_BITS["nodbg"] & 1:
            return "the host may debug this guest (nodbg is clear): it can read all of its memory"
        return None


class SnpPolicy(int):
    """An SNP guest policy: `debug` set means debugging allowed."""

    __slots__ = ()

    @property
    def abi(self) -> tuple[int, int]:
        """The minimum ABI: major and minor."""
        return self >> 8 & 0xFF, self & 0xFF

    def refusal(
        self,
        *,
        abi: tuple[int, int] | None = None,
        host_smt: bool = False,
        highest_bit: int = SNP_HIGHEST_BIT,
    ) -> str | None:
        """Return why SNP_LAUNCH_START refuses the policy on such a platform, else None."""
        if not self & SNP_MUST_BE_ONE:
            return "bit 17 must be one"
        if host_smt and not self >> SNP_POLICY_BITS["smt"] & 1:
            return "the policy forbids SMT and the host runs with it"
        if abi is not None and self.abi > abi:
            return f"the policy requires ABI {version_text(self.abi)}"
        if self >> (highest_bit + 1):
            return f"bits above {highest_bit} are reserved"
        return None

    def fault(self, mode: Mode) -> tuple[str, str] | None:
        """Return why no `mode` guest can be launched with this policy, and a hint; else None."""
        if self < 0 or self >> 64:
            return f"{int(self):#x} is not a 64-bit {mode} policy", "the default is 0x30000"
        if not self & SNP_MUST_BE_ONE:
            return (
                f"{int(self):#x} lacks bit 17, which must be one",
                f"{int(self) | SNP_MUST_BE_ONE:#x} has it",
            )
        if self >> (SNP_HIGHEST_BIT + 1):
            return (
                f"{int(self):#x} sets bits above {SNP_HIGHEST_BIT}, which must be zero",
                "the default is 0x30000",
            )
        return None

    def warning(self) -> str | None:
        """Return what should not ship in this policy, else None."""
        if self >> SNP_POLICY_BITS["debug"] & 1:
            return "the host may debug this guest (debug is set): it can read all of its memory"
        return None


def policy_of(mode: Mode, policy: int) -> SnpPolicy | SevPolicy:
    """Return the policy of a guest as the secure processor reads it in a mode."""
    return SnpPolicy(policy) if mode == "snp" else SevPolicy(policy)


def version_text(version: tuple[int, int]) -> str:
    """Return a minimum ABI or API, major and minor, as policies are written with it."""
    return f"{version[0]}.{version[1]}"


def decode_policy(document: Document, path: str, value: Any, mode: Mode) -> int | None:
    """Return the policy that a document gives as a number or as a table of named bits, None with a fault.

    Whether such a guest can be launched is not looked at.
    """
    if not isinstance(value, Mapping):
        return check_integer(document, path, value, 0, (1 << 64) - 1)
    if not value:
        document.fault(path, "must not be empty")
        return None
    table = Table(document, value, path)
    snp = mode == "snp"
    policy = SNP_MUST_BE_ONE if snp else 0
    for name, bit in (SNP_POLICY_BITS if snp else SEV_POLICY_BITS).items():
        policy |= (table.boolean(name) or False) << bit
    if mode == "sev-es" and not table.has("es"):
        policy |= 1 << SEV_POLICY_BITS["es"]
    key = "abi" if snp else "api"
    version = table.string(key)
    if version is not None:
        # Few policies have one, and every start would pay for base64.
        from sevbuild.documents.binary_text import dotted_bytes

        numbers = dotted_bytes(version)
        if numbers is None or len(numbers) != 2:
            table.fault(key, f'must look like "1.55", got {version!r}')
        else:
            policy |= numbers[0] << 8 | numbers[1] if snp else numbers[0] << 16 | numbers[1] << 24
    table.finish()
    return policy
