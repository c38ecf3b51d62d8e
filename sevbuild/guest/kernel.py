"""Kernel, initrd and command line of a guest, down to the three digests that are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sevbuild.errors import Notice, SevbuildError, within
from sevbuild.guest.inputs import CMDLINE_LIMIT, HashedInput, InputReader, Range, check_pin
from sevbuild.image.kernel_hashes import EMPTY_INITRD_DIGEST, KernelHashes, cmdline_digest
from sevbuild.manifest.model import Cmdline, KernelInput, Variant
from sevbuild.manifest.targets import Target
from sevbuild.manifest.template import BUILT_IN, Template, escape, parse_template, target_values
from sevbuild.manifest.url_keys import is_url
from sevbuild.text import decode_text, encode_text

__all__ = ["KernelReader"]

KERNEL_CMDLINE_LIMIT = 2047
"""What Linux keeps of a command line on x86 (COMMAND_LINE_SIZE less the NUL)."""

_PartRanges = dict[str, tuple[int, int]]


class KernelReader:
    """The hashes of a variant's [kernel] and [initrd], each file read once.

    `notices` collects what should be known of the files read.
    """

    def __init__(self, reader: InputReader) -> None:
        self.notices: list[Notice] = []
        self._reader = reader
        self._parts: dict[str, _PartRanges] = {}
        self._lines: dict[str, bytes] = {}
        self._templates: dict[tuple[Variant, str], Template] = {}
        self._names_checked = False
        self._digests: dict[tuple[Variant, bytes], KernelHashes] = {}

    def sources(self, variant: Variant) -> dict[str, tuple[tuple[str, ...], Range | None]]:
        """Return the files, or the range of a file, that are launched as `kernel` and as `initrd`."""
        kernel, initrd = variant.kernel, variant.initrd
        if kernel is None:
            return {}
        found: dict[str, tuple[tuple[str, ...], Range | None]] = {}
        if kernel.uki_as == "parts":
            parts = self._uki(kernel)
            for part, role in ((".linux", "kernel"), (".initrd", "initrd")):
                if part in parts:
                    found[role] = ((kernel.path or "",), parts[part])
            return found
        if kernel.path is not None:
            found["kernel"] = ((kernel.path,), None)
        if initrd is not None and initrd.paths:
            found["initrd"] = (initrd.paths, None)
        return found

    def start(self, variant: Variant) -> None:
        """Begin hashing the files of a variant in the background."""
        kernel = variant.kernel
        if kernel is None:
            return
        if kernel.hashes:
            for paths, part in self.sources(variant).values():
                self._reader.start_hashing(paths, part)
            if kernel.uki_as == "parts" and kernel.sha256 is not None and kernel.path is not None:
                self._reader.start_hashing([kernel.path])
        else:
            for paths, _ in self._pinned_files(variant):
                self._reader.start_hashing(paths)

    def hashes(self, target: Target) -> KernelHashes | None:
        """Return the measured digests of a target, None where nothing of a kernel is measured."""
        kernel = target.variant.kernel
        if kernel is None:
            return None
        if not kernel.hashes:
            for paths, pin in self._pinned_files(target.variant):
                check_pin(" + ".join(paths), self._reader.hashed(paths).sha256, pin)
            return None
        cmdline = self.cmdline(target)
        key = (target.variant, cmdline)
        found = self._digests.get(key)
        if found is None:
            initrd = self.initrd_input(target.variant)
            found = self._digests[key] = KernelHashes(
                kernel=self.kernel_input(target.variant).sha256,
                initrd=EMPTY_INITRD_DIGEST if initrd is None else initrd.sha256,
                cmdline=cmdline_digest(cmdline),
            )
            self._look_at(target, cmdline)
        return found

    @staticmethod
    def _pinned_files(variant: Variant) -> Iterator[tuple[tuple[str, ...], bytes]]:
        """Yield the pinned local files that nothing else has read; a cached one is verified as it is read."""
        kernel, initrd = variant.kernel, variant.initrd
        if kernel is not None and kernel.sha256 is not None and kernel.path and not is_url(kernel.path):
            yield (kernel.path,), kernel.sha256
        if initrd is not None and initrd.sha256 is not None and initrd.paths and not is_url(initrd.paths[0]):
            yield initrd.paths, initrd.sha256

    def kernel_input(self, variant: Variant) -> HashedInput:
        """Return digest and size of the kernel; an ingredient has size -1."""
        kernel = variant.kernel
        if kernel is None:
            raise SevbuildError("the manifest has no kernel")
        if kernel.path is None:
            return HashedInput(kernel.sha256 or b"", -1)
        if kernel.uki_as == "parts":
            part = self._uki(kernel)[".linux"]
            self._check_image(kernel)
            return self._reader.hashed([kernel.path], part)
        found = self._reader.hashed([kernel.path])
        check_pin(kernel.path, found.sha256, kernel.sha256)
        return found

    def initrd_input(self, variant: Variant) -> HashedInput | None:
        """Return digest and size of the initrd, None without one; an ingredient has size -1."""
        kernel, initrd = variant.kernel, variant.initrd
        if kernel is not None and kernel.uki_as == "parts":
            part = self._uki(kernel).get(".initrd")
            self._check_image(kernel)
            return None if part is None else self._reader.hashed([kernel.path or ""], part)
        if initrd is None:
            return None
        if not initrd.paths:
            return HashedInput(initrd.sha256 or b"", -1)
        found = self._reader.hashed(initrd.paths)
        check_pin(" + ".join(initrd.paths), found.sha256, initrd.sha256)
        return found

    def cmdline(self, target: Target) -> bytes:
        """Return the command line of a target, byte for byte, without its NUL."""
        kernel, variant = target.variant.kernel, target.variant
        if kernel is not None and kernel.uki_as == "parts":
            return self._uki_line(kernel)
        if target.cmdline is None:
            return b""
        template = self.template(variant, target.cmdline)
        values = dict(variant.variables)
        values.update(target_values(target.cpu.label, target.cpu.signature, target.vcpus))
        if template.size(values) > CMDLINE_LIMIT:
            where = variant.document.where(target.cmdline.key)
            raise SevbuildError(f"{where}: the command line would have more than {CMDLINE_LIMIT} characters")
        return encode_text(template.fill(values))

    def cmdline_template(self, target: Target) -> str:
        """Return the command line with the placeholders that depend on the target left in it."""
        variant, kernel = target.variant, target.variant.kernel
        if target.cmdline is None or (kernel is not None and kernel.uki_as == "parts"):
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
                    variant.document.fault(cmdline.key, f"nothing is called {{{name}}}", hint)
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
            text = cmdline.text or ""
            if cmdline.path is not None:
                raw = self._reader.read(cmdline.path)
                if b"\0" in raw:
                    raise SevbuildError(f"{cmdline.path}: contains a NUL: the first one ends a command line")
                text = decode_text(raw)
            try:
                found = parse_template(text)
            except SevbuildError as error:
                variant.document.fault(cmdline.key, error.message, error.hint)
                variant.document.raise_faults()
                raise
            self._templates[key] = found
        return found

    def _uki_line(self, kernel: KernelInput) -> bytes:
        path = kernel.path or ""
        if path not in self._lines:
            from sevbuild.image.uki import cmdline_of

            part = self._uki(kernel).get(".cmdline")
            raw = b"" if part is None else self._reader.read_part(path, *part)
            with self._part_of(kernel):
                self._lines[path] = cmdline_of(raw)
        return self._lines[path]

    def _check_image(self, kernel: KernelInput) -> None:
        """Raise MismatchError if an image is not the pinned one: a pin is of the file, not of its parts."""
        if kernel.sha256 is not None and kernel.path is not None:
            check_pin(kernel.path, self._reader.hashed([kernel.path]).sha256, kernel.sha256)

    @contextmanager
    def _part_of(self, kernel: KernelInput) -> Iterator[None]:
        """Have what cannot be made of an image say its name, unless it is not the pinned image at all."""
        try:
            with within(kernel.path or ""):
                yield
        except SevbuildError:
            self._check_image(kernel)
            raise

    def _uki(self, kernel: KernelInput) -> _PartRanges:
        path = kernel.path or ""
        if path not in self._parts:
            from sevbuild.image.uki import HEAD_SIZE, read_uki

            head, size = self._reader.read_part(path, 0, HEAD_SIZE), self._reader.size(path)
            with self._part_of(kernel):
                parts = read_uki(head, size)
            named = {".linux": parts.linux, ".initrd": parts.initrd, ".cmdline": parts.cmdline}
            self._parts[path] = {
                name: (part.offset, part.size) for name, part in named.items() if part is not None
            }
            dropped = [name for name in parts.others if name in (".ucode", ".dtb", ".dtbauto", ".efifw")]
            if dropped:
                message = f"{', '.join(dropped)} of the image are not launched with its parts"
                self.notices.append(Notice("warning", path, message))
        return self._parts[path]

    def _look_at(self, target: Target, cmdline: bytes) -> None:
        variant, kernel = target.variant, target.variant.kernel
        if kernel is None:
            return
        where = variant.document.where
        warn = self._warn
        if kernel.uki_as == "parts":
            message = (
                "what is hashed is the .linux, .initrd and .cmdline extracted from the image, not the image"
            )
            warn(
                where("kernel.uki-as"),
                message,
                "launch exactly these parts with -kernel, -initrd and -append",
            )
        elif kernel.uki_as == "kernel":
            message = (
                "what is hashed is the whole image as the kernel; its own .cmdline is not the measured one"
            )
            warn(where("kernel.uki-as"), message, 'uki-as = "parts" measures what is inside')
        if self.kernel_input(variant).size == 0:
            warn(where("kernel.path"), "the kernel file is empty")
        initrd = self.initrd_input(variant)
        if initrd is not None and initrd.size == 0:
            warn(where("initrd.path"), "the initrd is empty")
        key = "kernel.uki" if kernel.uki_as == "parts" or target.cmdline is None else target.cmdline.key
        if cmdline.endswith((b"\n", b"\r")):
            hint = "a host that reads the line from a file without it launches something else"
            warn(where(key), "the command line ends in a newline, which is measured", hint)
        elif cmdline.endswith((b" ", b"\t")):
            warn(where(key), "the command line ends in white space, which is measured")
        if len(cmdline) > KERNEL_CMDLINE_LIMIT:
            message = f"the command line has {len(cmdline)} bytes; Linux keeps {KERNEL_CMDLINE_LIMIT} of them"
            warn(where(key), message)

    def _warn(self, where: str, message: str, hint: str | None = None) -> None:
        self.notices.append(Notice("warning", where, message, hint))
