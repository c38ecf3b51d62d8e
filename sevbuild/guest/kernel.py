"""Kernel, initrd and command line of a guest, down to the three digests that are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sevbuild.errors import Notice, SevbuildError, within
from sevbuild.guest.inputs import Extent, FoundInput, InputReader, Range, check_pin
from sevbuild.image.kernel_hashes import EMPTY_INITRD_DIGEST, KernelHashes, cmdline_digest
from sevbuild.manifest.inputs import CMDLINE, IGVM, INITRD, KERNEL, DeclaredInput, Role
from sevbuild.manifest.model import Cmdline, DirectBoot, Variant
from sevbuild.manifest.targets import Target
from sevbuild.manifest.template import BUILT_IN, Template, escape, parse_template, target_values
from sevbuild.text import decode_text, encode_text

__all__ = ["KernelReader"]

KERNEL_CMDLINE_LIMIT = 2047
"""What Linux keeps of a command line on x86 (COMMAND_LINE_SIZE less the NUL)."""


class KernelReader:
    """The hashes of a variant's [kernel] and [initrd], each file read once.

    `notices` collects what should be known of the files read.
    """

    def __init__(self, reader: InputReader) -> None:
        self.notices: list[Notice] = []
        self._reader = reader
        self._parts: dict[str, dict[str, Range]] = {}
        self._lines: dict[str, bytes] = {}
        self._templates: dict[tuple[Variant, str], Template] = {}
        self._names_checked = False
        self._digests: dict[tuple[Variant, bytes], KernelHashes] = {}

    def extent(self, declared: DeclaredInput) -> Extent | None:
        """Return the bytes of an input, None for a part that its image does not have."""
        if not declared.part:
            return Extent(declared.sources)
        part = self._parts_of(declared).get(declared.part)
        return None if part is None else Extent(declared.sources, part)

    def found(self, declared: DeclaredInput) -> FoundInput | None:
        """Return size and digest of an input, None for a part that its image does not have."""
        extent = self.extent(declared)
        return None if extent is None else self._reader.found(declared, extent.part)

    def start(self, variant: Variant) -> None:
        """Begin hashing the inputs of a variant whose digests are measured or pinned."""
        for declared in variant.inputs:
            if declared.role.held or declared.role.sized or not declared.sources:
                continue
            hashed = declared.launched and declared.measured and declared.role is not IGVM
            extent = self.extent(declared) if hashed or declared.pinned else None
            if extent is not None:
                self._reader.start_hashing(extent)

    def hashes(self, target: Target) -> KernelHashes | None:
        """Return the measured digests of a target, None where nothing of a kernel is measured."""
        variant, kernel = target.variant, target.variant.kernel
        for declared in variant.inputs:
            # Nothing else has them read; what is fetched is verified when it is read.
            if declared.pinned and not declared.measured:
                self.found(declared)
        if kernel is None or not kernel.hashes:
            return None
        cmdline = self.cmdline(target)
        key = (variant, cmdline)
        found = self._digests.get(key)
        if found is None:
            found = self._digests[key] = KernelHashes(
                kernel=self._digest(variant, KERNEL) or b"",
                initrd=self._digest(variant, INITRD) or EMPTY_INITRD_DIGEST,
                cmdline=cmdline_digest(cmdline),
            )
            self._look_at(target, kernel, cmdline)
        return found

    def launched(self, variant: Variant, role: Role) -> FoundInput | None:
        """Return what is launched in a role, None without it."""
        declared = variant.declared(role)
        return None if declared is None else self.found(declared)

    def cmdline(self, target: Target) -> bytes:
        """Return the command line of a target, byte for byte, without its NUL."""
        variant = target.variant
        image = _image_in_parts(variant)
        if image is not None:
            return self._line_of(image)
        if target.cmdline is None:
            return b""
        template = self.template(variant, target.cmdline)
        values = dict(variant.variables)
        values.update(target_values(target.cpu.label, target.cpu.signature, target.vcpus))
        if template.size(values) > CMDLINE.limit:
            where = variant.document.where(target.cmdline.key)
            raise SevbuildError(f"{where}: the command line would have more than {CMDLINE.limit} characters")
        return encode_text(template.fill(values))

    def cmdline_template(self, target: Target) -> str:
        """Return the command line with the placeholders that depend on the target left in it."""
        variant = target.variant
        if target.cmdline is None or _image_in_parts(variant) is not None:
            return escape(decode_text(self.cmdline(target)))
        return self.template(variant, target.cmdline).bind(variant.variables)

    def check_names(self, variants: Sequence[Variant]) -> None:
        """Raise unknown placeholders and unused variables as faults of the manifest; look once a run."""
        if self._names_checked:
            return
        used: set[str] = set()
        for variant in variants:
            for cmdline in variant.kernel.cmdlines if variant.kernel else ():
                names = self.template(variant, cmdline).names
                used |= names
                for name in sorted(names - set(variant.variables) - set(BUILT_IN)):
                    from sevbuild.documents.document import suggest

                    hint = suggest(name, [*variant.variables, *BUILT_IN]) or "declare it under [variables]"
                    variant.document.fault(cmdline.key, f"unknown placeholder {{{name}}}", hint)
        for variant in variants:
            for name in variant.variables:
                if name not in used:
                    variant.document.fault(f"variables.{name}", "no command line uses it")
        for variant in variants:
            variant.document.raise_faults()
        self._names_checked = True

    def template(self, variant: Variant, cmdline: Cmdline) -> Template:
        """Return a declared command line, read from its file where it has one."""
        key = (variant, cmdline.key)
        found = self._templates.get(key)
        if found is None:
            text, declared = cmdline.text or "", variant.declared(CMDLINE)
            if declared is not None:
                raw = self._reader.read(declared.sources[0], CMDLINE.limit)
                if b"\0" in raw:
                    raise SevbuildError(f"{declared.name}: contains a NUL: the first one ends a command line")
                text = decode_text(raw)
            try:
                found = parse_template(text)
            except SevbuildError as error:
                variant.document.fault(cmdline.key, error.message, error.hint)
                variant.document.raise_faults()
                raise
            self._templates[key] = found
        return found

    def _digest(self, variant: Variant, role: Role) -> bytes | None:
        found = self.launched(variant, role)
        return None if found is None else found.digest

    def _line_of(self, image: DeclaredInput) -> bytes:
        if image.name not in self._lines:
            from sevbuild.image.uki import cmdline_of

            part = self._parts_of(image).get(".cmdline")
            raw = b"" if part is None else self._reader.read_part(image.sources[0], *part)
            with self._part_of(image):
                self._lines[image.name] = cmdline_of(raw)
        return self._lines[image.name]

    @contextmanager
    def _part_of(self, image: DeclaredInput) -> Iterator[None]:
        """Have what cannot be made of an image say its name, unless it is not the pinned image at all."""
        try:
            with within(image.name):
                yield
        except SevbuildError:
            if image.pin is not None:
                check_pin(image.name, self._reader.hashed(Extent(image.sources)).sha256, image.pin)
            raise

    def _parts_of(self, image: DeclaredInput) -> dict[str, Range]:
        """Return where the parts of an image lie in it; `image` may be any part of it."""
        if image.name not in self._parts:
            from sevbuild.image.uki import HEAD_SIZE, read_uki

            (source,) = image.sources
            head, size = self._reader.read_part(source, 0, HEAD_SIZE), self._reader.size(source)
            with self._part_of(image):
                parts = read_uki(head, size)
            named = {".linux": parts.linux, ".initrd": parts.initrd, ".cmdline": parts.cmdline}
            self._parts[image.name] = {
                name: (part.offset, part.size) for name, part in named.items() if part is not None
            }
            dropped = [name for name in parts.others if name in (".ucode", ".dtb", ".dtbauto", ".efifw")]
            if dropped:
                message = f"{', '.join(dropped)} of the image are not launched with its parts"
                self.notices.append(Notice("warning", image.name, message))
        return self._parts[image.name]

    def _look_at(self, target: Target, kernel: DirectBoot, cmdline: bytes) -> None:
        variant = target.variant

        def warn(key: str, message: str, hint: str | None = None) -> None:
            self.notices.append(Notice("warning", variant.document.where(key), message, hint))

        if kernel.uki_as == "parts":
            message = (
                "what is hashed is the .linux, .initrd and .cmdline extracted from the image, not the image"
            )
            warn("kernel.uki-as", message, "launch exactly these parts with -kernel, -initrd and -append")
        elif kernel.uki_as == "kernel":
            message = (
                "what is hashed is the whole image as the kernel; its own .cmdline is not the measured one"
            )
            warn("kernel.uki-as", message, 'uki-as = "parts" measures what is inside')
        for role, empty in ((KERNEL, "the kernel file is empty"), (INITRD, "the initrd is empty")):
            found = self.launched(variant, role)
            if found is not None and found.size == 0:
                warn(f"{role.table}.path", empty)
        key = target.cmdline.key if target.cmdline and kernel.uki_as != "parts" else "kernel.uki"
        if cmdline.endswith((b"\n", b"\r")):
            hint = "a host that reads the line from a file without it launches something else"
            warn(key, "the command line ends in a newline, which is measured", hint)
        elif cmdline.endswith((b" ", b"\t")):
            warn(key, "the command line ends in white space, which is measured")
        if len(cmdline) > KERNEL_CMDLINE_LIMIT:
            message = f"the command line has {len(cmdline)} bytes; Linux keeps {KERNEL_CMDLINE_LIMIT} of them"
            warn(key, message)


def _image_in_parts(variant: Variant) -> DeclaredInput | None:
    """Return the image whose parts are launched, None for any other guest."""
    return next((declared for declared in variant.inputs if not declared.launched), None)
