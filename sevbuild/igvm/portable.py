"""The rules by which one file has one launch digest in every loader, and where a file breaks them."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.igvm import headers
from sevbuild.igvm.context import measured_context
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import PAGE_SIZE, HeaderType
from sevbuild.igvm.layouts import header_name, header_type
from sevbuild.igvm.loaders import KVM_VMSA_GPA, LOADERS
from sevbuild.igvm.platforms import PLATFORM_MODES
from sevbuild.igvm.scan import Item
from sevbuild.igvm.source import data_bytes

__all__ = ["Breach", "portable_breaches"]

# What is launched, in the order that every loader keeps: one acts on inserts ahead of pages, others launch
# VMSAs last.
_RANKS: dict[int, int] = {
    HeaderType.PARAMETER_INSERT: 1,
    HeaderType.PAGE_DATA: 2,
    HeaderType.VP_CONTEXT: 3,
}
_CHOOSY = [loader for loader in LOADERS.values() if loader.vmsa_fields is not None]
_HANDLED = frozenset.intersection(
    *(loader.handled for loader in LOADERS.values() if loader.handled is not None)
)


class Breach(NamedTuple):
    """A rule that a file breaks, what breaks it, and the first header that does."""

    rule: str
    reason: str
    header: int


class _Check:
    """One measured platform under the rules; it sees the headers that are for it, in file order."""

    def __init__(self, platform: headers.SupportedPlatform) -> None:
        self.breaches: dict[str, Breach] = {}
        self.platform = platform
        self.mode = PLATFORM_MODES[platform.platform_type]
        self.rank = 0
        self.next_gpa = 0
        self.first_page: int | None = None
        self.inserts: list[tuple[int, int, int]] = []
        self.areas: dict[int, int] = {}
        self.contexts: list[int] = []
        self.features = 0

    def breach(self, key: str, rule: str, reason: str, number: int) -> None:
        self.breaches.setdefault(key, Breach(rule, reason, number))

    def header(self, item: Item) -> None:
        header, number = item.header, item.place.number
        kind = header_type(header)
        rank = _RANKS.get(kind, self.rank)
        if rank < self.rank:
            reason = f"{header_name(kind)} stands after headers that should follow it"
            self.breach(f"order {rank}", "order", reason, number)
        self.rank = max(rank, self.rank)
        if isinstance(header, headers.PageData):
            self.pages(header, item)
        elif isinstance(header, headers.ParameterArea):
            self.areas[header.parameter_area_index] = header.number_of_bytes
        elif isinstance(header, headers.ParameterInsert):
            size = self.areas[header.parameter_area_index]
            self.inserts.append((number, header.gpa, size))
        elif isinstance(header, headers.VpContext):
            self.context(header, number)

    def pages(self, header: headers.PageData, item: Item) -> None:
        number = item.place.number
        if header.gpa < self.next_gpa:
            self.breach("ascending", "order", "page data does not ascend by GPA", number)
        self.next_gpa = header.gpa + item.run * PAGE_SIZE
        if self.first_page is None or header.gpa < self.first_page:
            self.first_page = header.gpa
        flags = header.flags
        if flags & headers.PageFlags.SHARED:
            self.breach("shared", "page flags", "a page is shared: only some loaders leave it out", number)
        if flags & headers.PageFlags.IS_2MB_PAGE:
            self.breach("2mb", "page flags", "a page has the 2 MiB flag", number)
        if header.data is None and header.data_type == headers.PageDataType.NORMAL and not flags:
            reason = "a page of zeros has no data: loaders differ in its page type"
            self.breach("zero", "zero pages", reason, number)
        if header.data_type == headers.PageDataType.CPUID_XF:
            self.breach("xf", "directives", "a page of type CPUID_XF stops a loader", number)
        if self.mode != "snp" and flags & headers.PageFlags.UNMEASURED:
            reason = "an unmeasured page: in SEV and SEV-ES only igvmmeasure adds it"
            self.breach("unmeasured", "page flags", reason, number)

    def context(self, header: headers.VpContext, number: int) -> None:
        if header.vp_index != len(self.contexts):
            reason = f"VP context {header.vp_index} is number {len(self.contexts)} of its platform"
            self.breach("contexts", "VP contexts", reason, number)
        self.contexts.append(header.vp_index)
        if self.mode == "sev":
            self.breach("sev", "VP contexts", "a guest of platform SEV has none: QEMU refuses it", number)
            return
        if header.gpa != KVM_VMSA_GPA:
            reason = (
                f"VP context {header.vp_index} is at {header.gpa:#x}, KVM measures it at {KVM_VMSA_GPA:#x}"
            )
            self.breach("gpa", "VP contexts", reason, number)
            return
        for loader in _CHOOSY:
            try:
                page, self.features = measured_context(header, loader, self.mode, self.features)
            except SevbuildError as error:
                self.breach("context", "VP contexts", f"{error.message}: {loader.summary} refuses it", number)
            else:
                reason = f"{loader.summary} measures other registers than VP context {header.vp_index} has"
                if header.data is not None and page != data_bytes(header.data):
                    self.breach("registers", "VP contexts", reason, number)

    def finish(self) -> None:
        for number, gpa, size in self.inserts:
            if size > PAGE_SIZE:
                reason = f"a parameter area has {size // PAGE_SIZE} pages: some loaders launch one"
                self.breach("area", "parameter areas", reason, number)
            if self.first_page is not None and gpa > self.first_page:
                reason = f"a parameter area at {gpa:#x} lies above page data: a loader sorts by GPA"
                self.breach("above", "parameter areas", reason, number)


def portable_breaches(file: IgvmFile) -> list[Breach]:
    """Return where a file that was read breaks the rules, by header; none means one digest everywhere.

    Of several platforms each is held against the rules by itself: a loader takes one of them.
    """
    checks = [_Check(platform) for platform in file.platforms if platform.platform_type in PLATFORM_MODES]
    found: dict[str, Breach] = {}
    if not checks:
        found["none"] = Breach("platforms", "the file has no platform that is measured here", 0)
    vmsas: dict[int, int] = {}
    for item in file.items():
        header, number = item.header, item.place.number
        kind, mask = header_type(header), getattr(header, "compatibility_mask", None)
        if kind not in _HANDLED and kind != HeaderType.SUPPORTED_PLATFORM:
            # Whatever platform it is for: QEMU meets every header.
            found.setdefault("handled", Breach("directives", f"{header_name(kind)} stops a loader", number))
        for check in checks:
            ours = check.platform.compatibility_mask
            if mask is None or mask & ours:
                check.header(item)
                if (
                    isinstance(header, headers.VpContext)
                    and check.platform.platform_type in headers.VMSA_PLATFORMS
                ):
                    vmsas.setdefault(ours, number)
    if len(vmsas) > 1:
        reason = "VMSAs of several platforms: igvmmeasure adds them all, in every mode"
        found["vmsas"] = Breach("platforms", reason, max(vmsas.values()))
    for check in checks:
        check.finish()
        for key, breach in check.breaches.items():
            # What several platforms break is said once, where it is broken first.
            found[key] = min(found.get(key, breach), breach, key=lambda breach: breach.header)
    return sorted(found.values(), key=lambda breach: (breach.header, breach.rule))
