"""Launches that are known as what another tool prints, or what hosts of another kind measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

__all__ = ["Remark", "remarks_on"]


class Remark(NamedTuple):
    """What is known of a launch: it ends "this is ..."; `source` says from where."""

    says: str
    source: str


class _Known(NamedTuple):
    """A remark, with the settings of the launches that it is about.

    One of `changed` at least is another than the start's, and each of `settings` has one of those values; a
    value that ends in `*` stands for all that begin so.
    """

    changed: tuple[str, ...]
    settings: Mapping[str, tuple[str, ...]]
    remark: Remark


_RUN = "each version of virtee/sev-snp-measure was run on the same firmware"
_READ = "read in the source of that version"
_SNP, _ES = {"mode": ("snp",)}, {"mode": ("sev-es",)}
_FPU = ("profile", "mode", "registers.mxcsr", "registers.x87-fcw")
_LEGACY, _RDX0, _EC2 = ("qemu-snp-legacy-fpu",), ("ec2-rdx0",), ("ec2",)

_KNOWN = (
    _Known(
        (*_FPU, "guest-features"),
        {**_ES, "profile": ("qemu-es-init2",)},
        Remark(
            "what virtee/sev-snp-measure 0.0.10 and later and virtee/sev print for SEV-ES, whatever the host; "
            "QEMU launches so with legacy-vm-type=off alone",
            _RUN,
        ),
    ),
    _Known(
        _FPU,
        {**_ES, "profile": ("qemu",), "guest-features": ("0x0",)},
        Remark(
            "what sevctl, virt-qemu-sev-validate and virtee/sev-snp-measure up to 0.0.9 print for SEV-ES",
            _RUN,
        ),
    ),
    _Known(
        ("guest-features",),
        {**_ES, "guest-features": ("0x0",)},
        Remark(
            "what virtee/sev-snp-measure prints for SEV-ES: it ignores --guest-features in that mode", _RUN
        ),
    ),
    _Known(
        ("profile", "guest-features"),
        {**_SNP, "profile": _LEGACY, "guest-features": ("0x1",)},
        Remark("what virtee/sev-snp-measure 0.0.5 to 0.0.8 print by default", _RUN),
    ),
    _Known(
        ("profile", "guest-features"),
        {**_SNP, "profile": (*_LEGACY, *_EC2, *_RDX0), "guest-features": ("0x21",)},
        Remark("what virtee/sev-snp-measure 0.0.9 prints by default: features 0x21", _RUN),
    ),
    _Known(
        ("profile",),
        {**_SNP, "profile": ("qemu",), "guest-features": ("0x1",)},
        Remark("what virtee/sev-snp-measure 0.0.10 to 0.0.13 and virtee/sev print by default", _RUN),
    ),
    _Known(
        ("profile",),
        {"profile": _RDX0, "guest-features": ("0x1",)},
        Remark(
            "what virtee/sev-snp-measure 0.0.6 to 0.0.8 and 0.0.10 to 0.0.12, virtee/sev 7.1 and sev-snp-measure-go "
            "print for EC2",
            _RUN,
        ),
    ),
    _Known(
        ("profile",),
        {"profile": _EC2, "guest-features": ("0x1",)},
        Remark("what virtee/sev-snp-measure 0.0.13 prints for EC2", _RUN),
    ),
    _Known(
        ("profile", "vmsa-gpa"),
        {"profile": ("gce",)},
        Remark("what virtee/sev-snp-measure prints for GCE, on Genoa too", _RUN),
    ),
    _Known(
        ("profile", "registers.x87-fcw", "registers.mxcsr"),
        {"profile": ("svsm-qemu",), "registers.mxcsr": ("0x1f80",)},
        Remark("what virtee/sev-snp-measure since 0.0.10 prints for mode snp:svsm: MXCSR without FCW", _RUN),
    ),
    _Known(
        ("guest-features",),
        {"profile": ("svsm-qemu",), "guest-features": ("0x1",)},
        Remark(
            "what virtee/sev-snp-measure prints for mode snp:svsm: it ignores --guest-features there", _RUN
        ),
    ),
    _Known(
        ("sections-last",),
        {**_SNP, "sections-last": ("kernel-hashes, *",)},
        Remark(
            "an order that virtee/sev-snp-measure 0.0.4 and QEMU patches of early 2023 had: hash page first",
            "github.com/virtee/sev-snp-measure pull 12",
        ),
    ),
    _Known(
        ("cpu",),
        {"cpu": ("0x00000000",)},
        Remark("what sev-snp-measure-go prints for a vCPU type that it does not know", _READ),
    ),
    _Known(
        ("vcpus",),
        {**_SNP, "vcpus": ("1",)},
        Remark(
            "what a host measures that takes the VMSA of the first vCPU alone, however many there are",
            "github.com/coconut-svsm/svsm pull 353",
        ),
    ),
)


def remarks_on(changed: Iterable[str], settings: Mapping[str, str]) -> Iterator[Remark]:
    """Yield what is known of a launch with these settings that differs from a start in those that changed."""
    names = set(changed)
    for known in _KNOWN:
        if names.intersection(known.changed) and all(
            _is_one_of(settings.get(name, ""), values) for name, values in known.settings.items()
        ):
            yield known.remark


def _is_one_of(value: str, values: tuple[str, ...]) -> bool:
    return any(value.startswith(entry[:-1]) if entry.endswith("*") else value == entry for entry in values)
