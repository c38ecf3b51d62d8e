"""How origins and page types look: colours for the one, patterns for the other, each in light and in dark."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MAP_STYLE", "ORIGINS", "PATTERNS", "Origin", "Pattern", "origin_of"]


class Origin(NamedTuple):
    """Where regions come from: the word of the legend, and the fill in light and in dark."""

    says: str
    light: str
    dark: str


class Pattern(NamedTuple):
    """How a page type is hatched: what the legend says of it, and the strokes of one tile of 8 by 8."""

    says: str
    strokes: str


ORIGINS = {
    "firmware": Origin("firmware", "#a9cbf2", "#2b5c94"),
    "svsm": Origin("SVSM", "#d3bdf0", "#644a91"),
    "section": Origin("section of the metadata", "#f5d598", "#7d5a16"),
    "kernel-hashes": Origin("kernel hashes", "#a8dcb8", "#2c6e43"),
    "vmsa": Origin("VMSAs", "#f2b8b5", "#8c3b38"),
    "file": Origin("page data of the IGVM file", "#b4dcdf", "#27666c"),
    "other": Origin("other", "#d9d9d9", "#565656"),
}
"""By the words of CSS classes. The text on them has 4.5:1 in both."""

PATTERNS = {
    "normal": Pattern("contents, type and address are measured", ""),
    "data": Pattern("contents are measured", ""),
    "vmsa": Pattern("the registers of a vCPU, measured", "M2 0V8M6 0V8"),
    "zero": Pattern("zeroed; type and address are measured", "M1.2 2h1.6M5.2 6h1.6"),
    "unmeasured": Pattern("only type and address are measured", "M-1 9L9 -1"),
    "secrets": Pattern("keys of the guest; type, address measured", "M0 0L8 8M8 0L0 8"),
    "cpuid": Pattern("CPUID values; type, address measured", "M0 2H8M0 6H8"),
}
"""By page type, as plans spell it; SEV and SEV-ES have none but `data` and `vmsa`."""

_PREFIXES = (
    ("firmware", "firmware"),
    ("svsm", "svsm"),
    ("kernel-hashes", "kernel-hashes"),
    ("section", "section"),
    ("vmsa", "vmsa"),
    ("page data", "file"),
)


def origin_of(origin: str, page_type: str) -> str:
    """Return the class of an update's origin, one of ORIGINS."""
    if page_type == "vmsa":
        return "vmsa"
    if origin.endswith("(kernel-hashes)"):
        return "kernel-hashes"
    return next((kind for prefix, kind in _PREFIXES if origin.startswith(prefix)), "other")


def _variables(shade: str) -> str:
    return "".join(f"--o-{name}:{getattr(origin, shade)};" for name, origin in ORIGINS.items())


MAP_STYLE = (
    f".map{{--ink:#1b1f24;--soft:#57606a;--paper:#fff;{_variables('light')}}}"
    f"@media(prefers-color-scheme:dark){{.map{{--ink:#e6edf3;--soft:#9da7b1;--paper:#0d1117;{_variables('dark')}}}}}"
    f"@media print{{.map{{--ink:#1b1f24;--soft:#57606a;--paper:#fff;{_variables('light')}}}}}"
    + "".join(f".map .o-{name}{{fill:var(--o-{name})}}" for name in ORIGINS)
    + ".map{font-family:system-ui,sans-serif;print-color-adjust:exact;-webkit-print-color-adjust:exact}"
    ".map text{fill:var(--ink);font-size:13px}"
    ".map .small{fill:var(--soft);font-size:11.5px}"
    ".map .edge{fill:none;stroke:var(--ink);stroke-width:1}"
    ".map .hatch path{fill:none;stroke:var(--ink);stroke-width:1.1}"
    ".map .gap{fill:none;stroke:var(--soft);stroke-width:1;stroke-dasharray:2 3}"
    ".map .tear{fill:var(--paper);stroke:var(--ink);stroke-width:1}"
    ".map .lead{fill:none;stroke:var(--soft);stroke-width:.8}"
    ".map .paper{fill:var(--paper)}"
    ".map .mark{fill:none;stroke:var(--ink);stroke-width:3.5}"
)
"""What a map needs of a style sheet, alone or within a page."""
