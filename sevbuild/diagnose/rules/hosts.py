"""What a report says of its host, as far as it makes one change likelier than another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sevbuild.diagnose.change import Change, HostFacts
from sevbuild.vcpu.save_area import SEV_FEATURE_BITS

__all__ = ["by_host"]

_RECENT = (1, 56)
"""SEV firmware of 2025 and later (major, minor); hosts of 2023 have 1.54 and before."""
_OLD = (1, 54)

_OF_OLD_HOSTS = (
    ("profile", "qemu-snp-legacy-fpu"),
    ("profile", "qemu-snp-debugswap"),
    ("profile", "ec2-rdx0"),
    ("profile", "svsm-qemu"),
    ("registers", "fpu-zero"),
    ("guest-features", "0x21"),
)
_OF_RECENT_HOSTS = (
    ("registers", "fpu-set"),
    ("guest-features", "0x201"),
    ("guest-features", "0x10001"),
    ("guest-features", "0x10201"),
)
_BELOW_OTHERS = sum(
    1 << SEV_FEATURE_BITS[name]
    for name in ("vtom", "reflect-vc", "restricted-injection", "alternate-injection")
)
"""Features of guests that run below something else: an SVSM, a paravisor."""

_STEP = 25


def by_host(changes: Sequence[Change], host: HostFacts) -> Iterator[Change]:
    """Yield changes with the weights that they have on the host of a report.

    Its CPU signature is a change of its own. The firmware tells of when the host is; a report that was asked
    for at a VMPL above 0 is of a guest with something below it.
    """
    for change in changes:
        weight = change.weight + _difference(change, host)
        yield change if weight == change.weight else change._replace(weight=weight)


def _difference(change: Change, host: HostFacts) -> int:
    key, version = (change.axis, change.value), (host.firmware or (0, 0, 0))[:2]
    difference = 0
    if host.firmware is not None and key in _OF_OLD_HOSTS:
        difference += _STEP * (version >= _RECENT) - _STEP * (version <= _OLD)
    if host.firmware is not None and key in _OF_RECENT_HOSTS:
        difference += _STEP * (version <= _OLD) - _STEP * (version >= _RECENT)
    if host.vmpl and change.axis == "guest-features" and int(change.value, 16) & _BELOW_OTHERS:
        difference -= _STEP
    return difference
