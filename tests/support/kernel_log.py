"""VMSAs as KVM prints them to the kernel log."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["HEADING", "vmsa_log", "vmsa_rows"]

HEADING = "Virtual Machine Save Area (VMSA):"


def vmsa_rows(page: bytes, size: int = 1648) -> list[str]:
    """Return the rows of one VMSA: 16 bytes each, no offsets, no characters."""
    return [page[start : min(start + 16, size)].hex(" ") for start in range(0, size, 16)]


def vmsa_log(
    pages: Iterable[bytes], size: int = 1648, prefix: str = "", row_prefix: str | None = None
) -> str:
    """Return the log of a launch whose vCPUs start with these pages; a prefix stands before each line."""
    rows = prefix if row_prefix is None else row_prefix
    lines = list[str]()
    for page in pages:
        lines.append(f"{prefix}{HEADING}")
        lines += [f"{rows}{row}" for row in vmsa_rows(page, size)]
    return "".join(f"{line}\n" for line in lines)
