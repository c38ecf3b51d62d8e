"""Two VMSAs field by field, in words: features by their bits, a CPU by the models that have its signature."""

from __future__ import annotations

from sevbuild.diagnose.differences.kernels import FileChange
from sevbuild.diagnose.differences.model import Detail
from sevbuild.launch.compare import RegisterChange, register_changes
from sevbuild.launch.policy import SEV_POLICY_BITS, SNP_POLICY_BITS
from sevbuild.text import counted
from sevbuild.vcpu.describe import feature_names
from sevbuild.vcpu.models import models_of, signature_text

__all__ = ["compare_vmsas", "features_text", "policy_text", "register_details", "signature_said"]

_NAMED = 4


def compare_vmsas(old: bytes, new: bytes) -> FileChange:
    """Return what differs between two VMSAs of 4096 bytes that are not the same."""
    changes = register_changes(old, new)
    return FileChange(_title(changes), register_details(changes))


def register_details(changes: list[RegisterChange]) -> tuple[Detail, ...]:
    """Return registers that differ as details."""
    return tuple(_detail(change) for change in changes)


def features_text(features: int | None) -> str | None:
    """Return SEV_FEATURES as a number with the names of its bits, None without any."""
    if features is None:
        return None
    return f"{features:#x} ({', '.join(feature_names(features)) or 'no bit'})"


def policy_text(policy: int, *, snp: bool) -> str:
    """Return a guest policy as a number with the names of its bits."""
    bits = SNP_POLICY_BITS if snp else SEV_POLICY_BITS
    return f"{policy:#x} ({', '.join(name for name, bit in bits.items() if policy >> bit & 1) or 'no named bit'})"


def signature_said(signature: int) -> str:
    """Return a vCPU signature with the models that have it."""
    names = models_of(signature)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return signature_text(signature) + (f" ({', '.join(names[:_NAMED])}{more})" if names else "")


def _title(changes: list[RegisterChange]) -> str:
    names = [change.name for change in changes]
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    title = f"{counted(len(names), 'field')}: {shown}"
    (only, *others) = changes
    if not others and only.name == "rdx" and all(_is_signature(value) for value in (only.first, only.second)):
        return f"another CPU signature in {title.partition(': ')[2]}"
    if all(name == "mxcsr" or name.startswith(("x87_", "fpreg_")) for name in names):
        return f"another FPU state: {title}"
    if names == ["sev_features"]:
        return "other SEV_FEATURES"
    return title


def _is_signature(value: int | bytes) -> bool:
    return isinstance(value, int) and bool(models_of(value))


def _detail(change: RegisterChange) -> Detail:
    old, new = (_said(change.name, value) for value in (change.first, change.second))
    return Detail(change.name, old, new)


def _said(name: str, value: int | bytes) -> str:
    if isinstance(value, bytes):
        return value.hex() or "0"
    if name == "sev_features":
        return features_text(value) or ""
    if name == "rdx" and models_of(value):
        return signature_said(value)
    return f"{value:#x}"
