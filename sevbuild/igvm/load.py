"""What a loader makes of an IGVM file: a launch plan, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sevbuild.errors import SevbuildError
from sevbuild.igvm import headers
from sevbuild.igvm.context import measured_context
from sevbuild.igvm.doubt import Doubt
from sevbuild.igvm.file import X64, IgvmFile, ReadHeaders
from sevbuild.igvm.headers import PAGE_SIZE, Header, HeaderType
from sevbuild.igvm.layouts import header_name, header_type
from sevbuild.igvm.loaded import Loaded, LoadRequest
from sevbuild.igvm.loaders import Loader
from sevbuild.igvm.pages import Piece, UpdateMaker
from sevbuild.igvm.platforms import PLATFORM_MODES, choose_platform
from sevbuild.igvm.scan import Item
from sevbuild.igvm.source import data_bytes
from sevbuild.image.kernel_hashes import hash_table
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.policy import DEFAULT_POLICIES
from sevbuild.launch.update import LaunchUpdate

__all__ = ["load"]

_U32, _U64 = (1 << 32) - 1, (1 << 64) - 1
_TYPES = {
    headers.PageDataType.SECRETS: PageType.SECRETS,
    headers.PageDataType.CPUID_DATA: PageType.CPUID,
    headers.PageDataType.CPUID_XF: PageType.CPUID,
}


def load(file: IgvmFile, loader: Loader, maker: UpdateMaker, request: LoadRequest | None = None) -> Loaded:
    """Return the launch plan of a file that was read; raises SevbuildError with the loader's reason.

    `maker` is that of the file's source; loads that share it share equal updates.
    """
    return _Load(file, loader, LoadRequest() if request is None else request).run(maker)


class _Load:
    def __init__(self, file: IgvmFile, loader: Loader, request: LoadRequest) -> None:
        self._file, self._loader, self._request = file, loader, request
        self._doubts: dict[Doubt, None] = {}
        if not isinstance(file.headers, ReadHeaders):
            raise TypeError("a file is loaded after it was written and read")
        if file.architecture != X64:
            raise SevbuildError("the file is for AArch64")
        if request.kernel_hashes is not None and loader.hash_page is None:
            hint = "cloud-hypervisor-kvm does; elsewhere hashes stand in the file or nowhere"
            raise SevbuildError("it writes no kernel hashes of its own", hint=hint)
        self._platform = choose_platform(file, loader, request.mode)
        self._mode = PLATFORM_MODES[self._platform.platform_type]
        self._mask = self._platform.compatibility_mask
        self._policy: int | None = None
        self._kinds = {item.compatibility_mask: item.platform_type for item in file.platforms}
        self._contexts: list[headers.VpContext] = []
        self._id_blocks: list[headers.SnpIdBlock] = []
        self._areas: dict[int, int] = {}
        self._hashes_placed = request.kernel_hashes is None

    def run(self, maker: UpdateMaker) -> Loaded:
        loader = self._loader
        pieces: Iterable[Piece] = self._pieces()
        if loader.order == "buffered":
            pieces = _buffered(pieces)
        elif loader.order == "gpa":
            pieces = sorted(pieces, key=lambda piece: piece.gpa)
        regions = maker.make(pieces)
        if self._policy is None and loader.needs_policy:
            raise SevbuildError("the file has no GUEST_POLICY for its platform")
        if len(self._id_blocks) > 1 and loader.launches:
            raise SevbuildError(f"the file has {len(self._id_blocks)} ID blocks")
        vcpus, last = self._vcpus()
        policy = DEFAULT_POLICIES[self._mode] if self._policy is None else self._policy
        plan = LaunchPlan(self._mode, policy, None, regions, maker.make(last))
        if not loader.several_contexts and len(self._contexts) > 1:
            self._doubt("not-established", f"what it makes of {len(self._contexts)} VP contexts")
        first = self._file.platforms[0]
        if loader.first_platform and first != self._platform:
            wanted = self._platform.platform_type.name
            reason = f"in a debug build, which asserts that {wanted} is the file's first platform"
            self._doubt("cannot-boot", reason)
        return Loaded(
            loader=loader,
            plan=plan,
            vcpus=vcpus,
            contexts=len(self._contexts),
            vmsas=plan.vmsas if loader.vmsas_last else self._own(regions),
            policy_given=self._policy is not None,
            id_blocks=tuple(self._id_blocks),
            doubts=tuple(self._doubts),
        )

    def _own(self, regions: Iterable[LaunchUpdate]) -> tuple[LaunchUpdate, ...]:
        """Return the VMSAs among regions that are those of the platform, by vCPU."""
        order = {_origin(context): context.vp_index for context in self._contexts}
        found = [update for update in regions if update.page_type == PageType.VMSA and update.origin in order]
        return tuple(sorted(found, key=lambda update: order[update.origin]))

    def _doubt(self, kind: str, reason: str) -> None:
        self._doubts[Doubt(kind, reason)] = None

    def _pieces(self) -> Iterator[Piece]:
        """Yield what is launched, in file order, and note everything else."""
        for item in self._file.items():
            header = item.header
            self._check_handled(item)
            if isinstance(header, headers.GuestPolicy):
                self._note_policy(header)
            elif isinstance(header, headers.ParameterArea):
                self._areas[header.parameter_area_index] = header.number_of_bytes // PAGE_SIZE
            elif isinstance(header, headers.VpContext):
                yield from self._vp_context(header)
            elif isinstance(header, headers.PageData):
                yield from self._pages(header, item)
            elif isinstance(header, headers.ParameterInsert):
                yield from self._insert(header)
            elif isinstance(header, headers.SnpIdBlock) and self._ours(header):
                self._id_blocks.append(header)
        if not self._hashes_placed:
            gpa = self._loader.hash_page or 0
            yield Piece(gpa, PageType.NORMAL, 1, 0, self._hash_page(bytes(PAGE_SIZE)), "kernel hashes")

    def _ours(self, header: Header) -> bool:
        """Tell whether a header is for the platform; one without a mask is for all."""
        return bool(getattr(header, "compatibility_mask", self._mask) & self._mask)

    def _check_handled(self, item: Item) -> None:
        kind, handled = header_type(item.header), self._loader.handled
        if self._loader.filtered and not self._ours(item.header):
            return
        if isinstance(item.header, headers.UnknownHeader):
            self._doubt(
                "cannot-boot", "the igvm crate, by which it reads files, refuses unknown optional headers"
            )
        if handled is None or kind in handled or kind == HeaderType.SUPPORTED_PLATFORM:
            return
        if self._loader.unhandled_refused:
            raise SevbuildError(
                f"header {item.place.number}, {header_name(kind)}, stops it, whatever its mask"
            )
        self._doubt("cannot-boot", f"header {header_name(kind)} stops it")

    def _note_policy(self, header: headers.GuestPolicy) -> None:
        if not self._ours(header):
            return
        choice, held = self._loader.policy, self._policy
        if held is None or choice == "last" or (choice == "nonzero" and not held):
            # A policy of SEV and SEV-ES has 32 bits, the header's field 64.
            self._policy = header.policy & (_U64 if self._mode == "snp" else _U32)

    def _vp_context(self, header: headers.VpContext) -> Iterator[Piece]:
        """Yield the page of a context at its place, if it is launched there; note those of the platform."""
        loader, ours = self._loader, self._ours(header)
        kind = self._kinds[header.compatibility_mask]
        if ours and self._mode == "sev" and loader.launches:
            raise SevbuildError("a guest of platform SEV has no VP context")
        if header.data is None or kind not in headers.VMSA_PLATFORMS or not (ours or loader.other_vmsas):
            return
        if ours:
            self._contexts.append(header)
        if not loader.vmsas_last:
            # An SEV guest has no VMSA; a tool that adds the page all the same adds it as data.
            page_type = PageType.NORMAL if self._mode == "sev" else PageType.VMSA
            gpa = header.gpa if loader.vmsa_gpa is None else loader.vmsa_gpa
            origin = _origin(header) if ours else f"{PLATFORM_MODES[kind]} {_origin(header)}"
            yield Piece(gpa, page_type, 1, 0, data_bytes(header.data), origin)

    def _insert(self, header: headers.ParameterInsert) -> Iterator[Piece]:
        if not self._ours(header):
            return
        loader, index = self._loader, header.parameter_area_index
        pages = self._areas[index]
        area = loader.hash_page
        if self._request.kernel_hashes is not None and area is not None:
            end = header.gpa + pages * PAGE_SIZE
            if header.gpa <= area < end:
                raise SevbuildError(f"parameter area {index} lies over the kernel hashes at {area:#x}")
        pages = pages if loader.insert_pages is None else min(loader.insert_pages, pages)
        if self._mode == "snp":
            yield Piece(header.gpa, PageType.UNMEASURED, pages, 0, None, f"parameter area {index}")

    def _pages(self, header: headers.PageData, item: Item) -> Iterator[Piece]:
        loader = self._loader
        page_type = self._page_type(header) if self._ours(header) else None
        if page_type is None:
            return
        pages = item.run
        if header.flags & headers.PageFlags.IS_2MB_PAGE:
            per_page = loader.huge_pages if not item.data_offset else 1 if loader.huge_data else None
            if per_page is None:
                # Who knows the empty ones and not these stops at them: igvmmeasure asserts 2 MiB of data.
                what = "a 2 MiB page with 4 KiB of data stops it"
                if loader.huge_pages is None:
                    what = "what it makes of a 2 MiB page is not known"
                raise SevbuildError(f"header {item.place.number}: {what}")
            pages *= per_page
        likeness = (
            int(header.flags),
            int(header.data_type),
            header.compatibility_mask,
            bool(item.data_offset),
        )
        piece = Piece(
            header.gpa, page_type, pages, item.data_offset, None, "page data", item.place.number, likeness
        )
        area = loader.hash_page
        if self._hashes_placed or area is None or not 0 <= area - header.gpa < pages * PAGE_SIZE:
            yield piece
        else:
            yield from self._with_hashes(piece, header, area)

    def _with_hashes(self, piece: Piece, header: headers.PageData, area: int) -> Iterator[Piece]:
        """Yield a run of pages with the kernel hashes written into one, which then is of type normal."""
        before = (area - piece.gpa) // PAGE_SIZE
        if piece.page_type == PageType.CPUID:
            raise SevbuildError(f"the page at {area:#x} is of type cpuid: it writes no hashes into that")
        step = PAGE_SIZE if piece.offset else 0
        page = bytes(PAGE_SIZE)
        if isinstance(header.data, tuple):
            page = header.data.source.read(piece.offset + before * step, PAGE_SIZE)
        if before:
            yield piece._replace(pages=before)
        yield Piece(area, PageType.NORMAL, 1, 0, self._hash_page(page), "kernel hashes")
        self._hashes_placed = True
        after = piece.pages - before - 1
        if after:
            offset = piece.offset + (before + 1) * step
            yield piece._replace(gpa=area + PAGE_SIZE, pages=after, offset=offset)

    def _hash_page(self, page: bytes) -> bytes:
        """Return a page with the kernel-hashes table in it, and zeros from there to its end."""
        hashes, offset = self._request.kernel_hashes, self._loader.hash_offset
        table = b"" if hashes is None else hash_table(hashes)
        return page[:offset] + table.ljust(PAGE_SIZE - offset, b"\0")

    def _page_type(self, header: headers.PageData) -> PageType | None:
        """Return the type that pages are launched as, None for those that are left out."""
        loader, flags, kind = self._loader, header.flags, header.data_type
        if flags & headers.PageFlags.SHARED and not loader.shared_launched:
            return None
        if self._mode != "snp":
            return self._sev_page(header)
        if kind in _TYPES:
            if (
                kind == headers.PageDataType.CPUID_XF
                and loader.handled is not None
                and not loader.unhandled_refused
            ):
                self._doubt("cannot-boot", "a page of type CPUID_XF stops it")
            if kind == headers.PageDataType.CPUID_DATA and loader.cpuid_needs_data and header.data is None:
                self._doubt("cannot-boot", "it reads a table from the CPUID page, which has no data")
            return _TYPES[kind]
        if flags & headers.PageFlags.UNMEASURED:
            return PageType.UNMEASURED
        return PageType.NORMAL if header.data is not None else loader.zero_page

    def _sev_page(self, header: headers.PageData) -> PageType | None:
        loader = self._loader
        if header.data_type in _TYPES and loader.launches:
            reason = f"a {header.data_type.name} page cannot be launched in mode {self._mode}"
            raise SevbuildError(reason)
        unmeasured = header.flags & headers.PageFlags.UNMEASURED and not loader.sev_unmeasured
        missing = header.data is None and not loader.sev_zero_pages
        return None if unmeasured or missing else PageType.NORMAL

    def _vcpus(self) -> tuple[int, list[Piece]]:
        """Return the number of vCPUs, and the VMSAs that come after all regions."""
        loader, wanted = self._loader, self._request.vcpus
        if not loader.vmsas_last:
            described = len({context.vp_index for context in self._contexts})
            vcpus = self._default_vcpus(described) if wanted is None else wanted
            if vcpus < described:
                raise SevbuildError(f"the file describes {described} vCPUs, the launch has {vcpus}")
            return vcpus, []
        by_index: dict[int, headers.VpContext] = {}
        for context in self._contexts:
            if context.vp_index in by_index:
                raise SevbuildError(f"the file describes vCPU {context.vp_index} twice")
            by_index[context.vp_index] = context
        vcpus = self._default_vcpus(max(by_index, default=-1) + 1) if wanted is None else wanted
        if max(by_index, default=-1) >= vcpus and loader.reset_profile:
            reason = f"the file describes vCPU {max(by_index)}, the launch has {vcpus}"
            raise SevbuildError(reason, hint=f"--vcpus {max(by_index) + 1}")
        return vcpus, [] if self._mode == "sev" else list(self._vmsas(vcpus, by_index))

    def _default_vcpus(self, described: int) -> int:
        if self._mode == "sev":
            return 1
        if not described and self._loader.launches:
            self._doubt("cannot-boot", "the file describes no vCPU, and none was asked for")
        return described

    def _vmsas(self, vcpus: int, contexts: dict[int, headers.VpContext]) -> Iterator[Piece]:
        features = 1 if self._mode == "snp" else 0
        for index in range(vcpus):
            context = contexts.get(index)
            if context is not None and context.data is not None:
                page, features = measured_context(context, self._loader, self._mode, features)
                origin = _origin(context)
                gpa = context.gpa
            elif not self._loader.reset_profile:
                raise SevbuildError(f"the file does not describe vCPU {index}: how it starts is not known")
            elif self._request.reset_state is None:
                raise SevbuildError(
                    f"the file does not describe vCPU {index}: it starts in the reset state of its CPU model",
                    hint="name it: --cpu EPYC-Milan",
                )
            else:
                page, origin, gpa = self._request.reset_state(features), f"reset state {index}", 0
            gpa = gpa if self._loader.vmsa_gpa is None else self._loader.vmsa_gpa
            yield Piece(gpa, PageType.VMSA, 1, 0, page, origin)


def _origin(context: headers.VpContext) -> str:
    return f"vp context {context.vp_index}"


def _buffered(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Reorder as a loader that holds the last run of pages back until it ends, and nothing else."""
    held: list[Piece] = []
    number = gpa = -1
    likeness: tuple[int, ...] = ()
    for piece in pieces:
        if not piece.likeness:
            yield piece
            continue
        if (piece.number, piece.gpa, piece.likeness) != (number, gpa, likeness):
            yield from held
            held = []
        held.append(piece)
        number, gpa = piece.number + piece.pages, piece.gpa + piece.pages * PAGE_SIZE
        likeness = piece.likeness
    yield from held
