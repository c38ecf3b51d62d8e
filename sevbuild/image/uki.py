"""A unified kernel image (UKI), read as kernel, initrd and command line."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError

__all__ = ["HEAD_SIZE", "UkiPart", "UkiParts", "cmdline_of", "read_uki"]

HEAD_SIZE = 32 << 10
"""How many bytes from the start of the file hold its headers and section table.

ukify and objcopy write 1.5 KiB of them; this is room for 800 sections. LIEF copies what each section
says it holds, so a hostile head costs its size times its sections: 26 MB for 32 KiB, over 1 GB for 1 MiB.
"""

_NAMES = (".linux", ".initrd", ".cmdline")
# Far above the 2048 bytes Linux keeps (arch/x86 COMMAND_LINE_SIZE); the caller reads this part whole.
_CMDLINE_LIMIT = 1 << 20


class UkiPart(NamedTuple):
    """The file range of a part's contents in bytes, without the padding that follows it."""

    offset: int
    size: int


class UkiParts(NamedTuple):
    """The parts that a direct boot uses, and the names of all further sections in file order.

    A part that the image does not have is None; an empty one has size 0. Names appear once, with bytes
    outside of printable ASCII escaped.
    """

    linux: UkiPart
    initrd: UkiPart | None
    cmdline: UkiPart | None
    others: tuple[str, ...]


class _Section(NamedTuple):
    """A section header: PointerToRawData, SizeOfRawData and VirtualSize in bytes."""

    name: str
    offset: int
    raw_size: int
    virtual_size: int


def read_uki(head: bytes, file_size: int) -> UkiParts:
    """Return where the parts of a UKI lie, given the first HEAD_SIZE bytes of the file and its size.

    The contents need not be in `head`. Section names and meanings: UAPI.5 "Unified Kernel Image".
    Raises SevbuildError on anything that is no UKI of one profile with its parts within the file.
    """
    sections = _sections(head[:HEAD_SIZE])
    names = [section.name for section in sections]
    if ".profile" in names:
        hint = "a multi-profile image has a command line for each; build an image of one profile"
        raise SevbuildError("the UKI has .profile sections, which cannot be used as parts", hint=hint)
    for name in _NAMES:
        if names.count(name) > 1:
            hint = "which one boots is up to the stub; build the image with one"
            raise SevbuildError(f"the UKI has {names.count(name)} {name} sections", hint=hint)
    parts = {section.name: _part(section, file_size) for section in sections if section.name in _NAMES}
    linux, cmdline = parts.get(".linux"), parts.get(".cmdline")
    if linux is None:
        hint = "a kernel that is not a UKI goes under kernel.path; an addon has no kernel"
        raise SevbuildError("a PE image without a .linux section is not a UKI", hint=hint)
    if linux.size == 0:
        raise SevbuildError("the .linux section of the UKI is empty", hint="build the image with a kernel")
    if cmdline is not None and cmdline.size > _CMDLINE_LIMIT:
        message = f"the .cmdline section has {cmdline.size} bytes; the limit is {_CMDLINE_LIMIT} bytes"
        raise SevbuildError(message, hint="Linux keeps 2048 bytes of a command line")
    others = tuple(dict.fromkeys(name for name in names if name not in _NAMES))
    return UkiParts(linux, parts.get(".initrd"), cmdline, others)


def cmdline_of(raw: bytes) -> bytes:
    """Return the command line in the contents of a .cmdline section, without its trailing NULs.

    Some builders store the C string's NUL with it, ukify does not. The launched line is a C string
    either way, and what measures it adds the one NUL itself (QEMU 10.2 target/i386/sev.c), so a stored
    one must not count twice. All else, white space included, stays as it is. Raises SevbuildError on a
    NUL within the line: no launch passes on what follows it.
    """
    line = raw.rstrip(b"\0")
    if b"\0" in line:
        hint = "the first NUL ends a command line; build the image without it"
        raise SevbuildError("the .cmdline section contains a NUL", hint=hint)
    return line


def _part(section: _Section, file_size: int) -> UkiPart:
    """Return the file range of a section's contents.

    A file stores sections padded to its alignment; VirtualSize is the true length (PE format, section
    headers). Where it is larger than what is stored, loaders add zeros, and where it is zero they
    disagree on which of the two counts: both are refused, because neither is what a builder meant.
    """
    name, offset, raw_size, size = section
    if size > raw_size:
        hint = "loaders would fill it with zeros; rebuild the image, for example with ukify"
        raise SevbuildError(f"the {name} section has {size} bytes, of which {raw_size} are stored", hint=hint)
    if size == 0 and raw_size:
        hint = "loaders disagree on its length; rebuild the image, for example with ukify"
        raise SevbuildError(f"the {name} section stores {raw_size} bytes and declares none", hint=hint)
    if size and not offset:
        hint = "rebuild the image, for example with ukify"
        raise SevbuildError(f"the {name} section has no place in the file", hint=hint)
    if offset + size > file_size:
        message = f"the {name} section ends at {offset + size:#x}, past the end of the file at {file_size:#x}"
        raise SevbuildError(message, hint="the image is cut off: fetch or build it again")
    return UkiPart(offset, size)


def _sections(head: bytes) -> list[_Section]:
    """Return the section table of a PE image cut off after `head`, in its order."""
    from io import BytesIO

    import lief

    # The cut makes LIEF complain on stderr about contents it cannot see. Its logger is the process's,
    # and LIEF 0.15 cannot tell the level to go back to, so it stays off.
    lief.logging.disable()
    config = lief.PE.ParserConfig()
    config.parse_exports = config.parse_imports = config.parse_reloc = False
    config.parse_rsrc = config.parse_signature = False
    # A stream, because LIEF before 0.17 takes bytes for the name of a file to open.
    image = lief.PE.parse(BytesIO(head), config)
    if image is None:
        hint = "kernel.uki names a UKI, as ukify or mkosi build it; any other kernel goes under kernel.path"
        raise SevbuildError(f"not a PE image with its headers in the first {HEAD_SIZE} bytes", hint=hint)
    count = image.header.numberof_sections
    # The raw eight bytes: the stub compares these, and long names by reference ("/4") mean nothing to it.
    sections = [
        _Section(_name(section.fullname), section.offset, section.sizeof_raw_data, section.virtual_size)
        for section in image.sections
    ]
    if len(sections) != count:
        message = f"only {len(sections)} of the image's {count} sections are declared in its first {len(head)} bytes"
        raise SevbuildError(message, hint="the image is cut off, or is not a UKI")
    return sections


def _name(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("latin-1").encode("unicode_escape").decode("ascii")
