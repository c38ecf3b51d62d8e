"""Rules of the kernel: its hashes as a whole, and what loaders write into a kernel before they measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from sevbuild.diagnose.change import Change, Edit, Material, Start
from sevbuild.diagnose.departures import KERNEL_HASHES as HASHES_DEPARTURE
from sevbuild.diagnose.departures import NOTHING, Later
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.rules.applying import departing, hashing
from sevbuild.diagnose.rules.contents import digest_of, digest_of_pieces
from sevbuild.diagnose.rules.hashes import hashed, hashes_of
from sevbuild.diagnose.rules.initrds import joined_digest
from sevbuild.diagnose.rules.setup_header import initrd_limits, patched_header, with_device_tree
from sevbuild.diagnose.rules.unified import image_as_kernel, parts_of_image
from sevbuild.diagnose.rules.weights import KERNEL, KERNEL_HASHES, SWEPT
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.igvm.loaders import loader_named
from sevbuild.image.kernel_hashes import KernelHashes, cmdline_digest
from sevbuild.launch.region_data import Contents

__all__ = ["kernel_changes", "kernel_hashes_changes"]

_OFF = "github.com/AMDESE/AMDSEV issues 93, 142 and 262: kernel-hashes=on was left out, or an ordinary OVMF"
_ON = "QEMU 10.2 qapi/qom.json: kernel-hashes=on measures what -kernel, -initrd and -append give"
_EMPTY = "QEMU 10.2 target/i386/sev.c: what an empty -kernel, no -initrd and no -append are hashed to"
_ZEROS = "an IGVM file has the page of the table written, with zeros where no kernel is measured"
_NO_KERNEL = "an empty file is given as the kernel"
_HEADER = (
    "QEMU 10.2 hw/i386/x86-common.c writes the setup header of plain guests; no QEMU release measured that, "
    "hand-made digests and other loaders do"
)
_DTB = "QEMU hw/i386/x86-common.c: -dtb appends a setup_data entry to the kernel"
_UKI = "the manifest's uki-as: the whole image as the kernel, or the parts inside of it"


def kernel_hashes_changes(start: Start) -> Iterator[Change]:
    """Yield the changes of the hashes as a whole; those of nothing need a kernel that is measured."""
    setup, material = start.setup, start.material
    if isinstance(setup, FileLaunch):
        yield from _of_loader(setup, material)
    if not isinstance(setup, LaidOut):
        return
    if setup.inputs.kernel_hashes is None:
        if material.kernel is not None and material.cmdline is not None:
            on = Later(partial(_hashes, material))
            apply, edit = hashing(HASHES_DEPARTURE, on), Edit("kernel.hashes", None)
            says, weight = "the hashes of the kernel", KERNEL_HASHES - 1
            yield Change("kernel-hashes", "on", "body", apply, says, _ON, weight, (edit,))
        return
    off: tuple[Edit, ...] = (Edit("kernel.hashes", "false"),)
    for value, says, source, weight, edits in (
        ("off", "no kernel hashes", _OFF, KERNEL_HASHES, off),
        ("empty", "the kernel hashes of nothing", _EMPTY, KERNEL_HASHES + 5, ()),
        ("zeros", "no kernel hashes, and zeros on their page", _ZEROS, SWEPT + 10, ()),
    ):
        apply = departing({HASHES_DEPARTURE: value})
        yield Change("kernel-hashes", value, "body", apply, says, source, weight, edits)
    for value, says, compute, edits in _images(material):
        apply = hashing(HASHES_DEPARTURE, Later(compute))
        yield Change("kernel-hashes", value, "body", apply, says, _UKI, KERNEL_HASHES + 6, edits)


def _of_loader(setup: FileLaunch, material: Material) -> Iterator[Change]:
    """Yield the changes of the hashes that a loader writes of a kernel it is given itself."""
    if loader_named(setup.loader).hash_page is None:
        return
    if setup.kernel_hashes is not None:
        found = [
            ("off", None, "no kernel hashes", _OFF),
            ("empty", NOTHING, "the kernel hashes of nothing", _EMPTY),
        ]
    else:
        if material.kernel is None:
            return
        found = [("on", _hashes(material), "the hashes of the kernel", _ON)]
    for rank, (value, hashes, says, source) in enumerate(found):
        yield Change("kernel-hashes", value, "body", _given(hashes), says, source, KERNEL_HASHES + rank)


def _given(hashes: KernelHashes | None) -> Callable[[Setup], Setup]:
    def apply(setup: Setup) -> Setup:
        return setup._replace(kernel_hashes=hashes) if isinstance(setup, FileLaunch) else setup

    return apply


def _hashes(material: Material) -> KernelHashes:
    """Return the hashes of a kernel that is not measured."""
    kernel = b"" if material.kernel is None else material.kernel()
    return KernelHashes(
        digest_of(kernel), joined_digest(material.initrd), cmdline_digest(material.cmdline or b"")
    )


def _images(
    material: Material,
) -> Iterator[tuple[str, str, Callable[[], KernelHashes], tuple[Edit, ...]]]:
    """Yield how else a unified kernel image can be taken."""
    if material.image is not None:
        says = "the whole unified kernel image as the kernel"
        edits = (Edit("kernel.uki-as", '"kernel"'),)
        yield "image", says, partial(image_as_kernel, material.image), edits
    elif material.kernel is not None and not material.initrd and not material.cmdline:
        says = "the parts inside of the unified kernel image"
        edits = (Edit("kernel.uki-as", '"parts"'),)
        yield "parts", says, partial(parts_of_image, material.kernel), edits


def kernel_changes(start: Start) -> Iterator[Change]:
    """Yield the changes of the kernel's digest: of nothing, with a device tree, with a header written."""
    if hashes_of(start.setup) is None:
        return
    for value, compute, says, source, weight in _kernels(start.material):
        apply = hashed("kernel", compute)
        yield Change("kernel", value, "body", apply, says, source, weight)


def _kernels(material: Material) -> Iterator[tuple[str, Callable[[], bytes], str, str, int]]:
    yield "empty", lambda: NOTHING.kernel, "an empty kernel", _NO_KERNEL, KERNEL + 5
    if material.kernel is None:
        return
    kernel, dtb = material.kernel, material.dtb
    if dtb is not None:
        says = "a kernel with the device tree appended"
        yield "dtb", lambda: digest_of_pieces(with_device_tree(kernel(), dtb)), says, _DTB, KERNEL
    says = "a kernel whose setup header was written as for a plain guest"
    yield "header", lambda: _patched(kernel, None, 0), f"{says}, without an initrd", _HEADER, SWEPT + 300
    if material.initrd:
        initrd = material.initrd
        for rank, (limit, memory) in enumerate(initrd_limits()):
            compute = partial(_patched_for, kernel, limit, initrd)
            yield f"header, {memory}", compute, f"{says} with {memory}", _HEADER, SWEPT + 301 + rank


def _patched_for(
    kernel: Callable[[], Contents], limit: int, initrd: tuple[Callable[[], Contents], ...]
) -> bytes:
    return _patched(kernel, limit, sum(len(part()) for part in initrd))


def _patched(kernel: Callable[[], Contents], limit: int | None, initrd_size: int) -> bytes:
    return digest_of_pieces(patched_header(kernel(), limit, initrd_size))
