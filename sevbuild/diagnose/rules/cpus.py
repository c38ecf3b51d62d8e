"""Rules of the vCPU signature, which is in RDX of every vCPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sevbuild.diagnose.change import Change, Edit, Start
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.rules.weights import CPU, SWEPT
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.documents.toml_text import toml_string
from sevbuild.vcpu.models import CPU_MODELS, cpu_signature, decode_signature, models_of, signature_text

__all__ = ["cpu_changes"]

_MODELS = "QEMU 10.2 target/i386/cpu.c, builtin_x86_defs and x86_cpu_reset: RDX is the model's signature"
_HOST = "the report itself: family, model and stepping of the host, which -cpu host gives a guest"
_REPORTS = "family, model and stepping in public reports of such hosts, which -cpu host gives a guest"
_SWEPT = "QEMU 10.2 target/i386/cpu.c: family=, model= and stepping= override those of a model"


class _Known(NamedTuple):
    """A signature that no model of QEMU has, and where it is from."""

    signature: int
    name: str
    source: str
    weight: int


_OTHERS = (
    _Known(
        0,
        "no CPU signature: RDX 0",
        "github.com/fortanix/salmiac pull 66: signature 0 was hard-coded; virtee/sev-snp-measure up to 0.0.12 for EC2",
        CPU + 10,
    ),
    _Known(
        0x600,
        "what KVM falls back to at a reset: RDX 0x600",
        "Linux arch/x86/kvm/x86.c kvm_vcpu_reset: without CPUID at that time; github.com/aws/uefi issue 19",
        CPU + 11,
    ),
    _Known(
        0xA10F11,
        "a Genoa host, stepping 1",
        "github.com/LIT-Protocol/sev-snp-utils #11 and #12: a host's stepping is not the model's",
        CPU + 12,
    ),
    _Known(0xB00F21, "a Turin host", _REPORTS, CPU + 13),
    _Known(0xAA0F02, "a Bergamo or Siena host", _REPORTS, CPU + 14),
    _Known(0xB10F10, "a Turin Dense host", _REPORTS, CPU + 15),
    _Known(
        0x60FB1, "qemu64, QEMU's default model", "QEMU 10.2 target/i386/cpu.c: -cpu is left out", CPU + 17
    ),
)

_STEPPINGS = range(4)


def cpu_changes(start: Start) -> Iterator[Change]:
    """Yield a change to each signature: the host's, those of models and of others, other steppings."""
    setup, host = start.setup, start.host.signature
    if setup.mode == "sev" or not isinstance(setup, LaidOut | FileLaunch):
        return
    own = setup.shape.signature if isinstance(setup, LaidOut) else setup.signature
    seen = set() if own is None else {own}
    if host is not None and host not in seen:
        seen.add(host)
        yield _change(host, "the signature of the host in the report", _HOST, CPU - 10)
    for rank, signature in enumerate(dict.fromkeys(model.signature for model in CPU_MODELS.values())):
        if signature not in seen:
            seen.add(signature)
            yield _change(signature, f"the model {models_of(signature)[0]}", _MODELS, CPU + rank)
    for signature, name, source, weight in _OTHERS:
        if signature not in seen:
            seen.add(signature)
            yield _change(signature, name, source, weight)
    known = sorted(seen | {model.signature for model in CPU_MODELS.values()})
    for signature in known:
        family, model, _ = decode_signature(signature)
        for stepping in _STEPPINGS if family > 0xF else ():
            other = cpu_signature(family, model, stepping)
            if other not in seen:
                seen.add(other)
                yield _change(other, f"stepping {stepping} of that model", _SWEPT, SWEPT + stepping)


def _change(signature: int, name: str, source: str, weight: int) -> Change:
    def apply(setup: Setup) -> Setup:
        if isinstance(setup, LaidOut):
            return setup._replace(shape=setup.shape._replace(signature=signature))
        # Of a file's vCPUs, those that it does not describe start so.
        return setup._replace(signature=signature) if isinstance(setup, FileLaunch) else setup

    text = signature_text(signature)
    return Change(
        "cpu", text, "tail", apply, f"CPU signature {text} ({name})", source, weight, _edits(signature)
    )


def _edits(signature: int) -> tuple[Edit, ...]:
    models = models_of(signature)
    key, value = ("model", toml_string(models[0])) if models else ("signature", signature_text(signature))
    others = [other for other in ("model", "signature", "family", "model-number", "stepping") if other != key]
    return (*(Edit(f"vcpu.{other}", None) for other in others), Edit(f"vcpu.{key}", value))
