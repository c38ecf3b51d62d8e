"""Rules of the command line: bytes that tools, editors, shells and hypervisors add, drop or rewrite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice

from sevbuild.diagnose.change import Change, Edit, Start
from sevbuild.diagnose.rules.hashes import hashed, hashes_of
from sevbuild.diagnose.rules.kata import kata_lines
from sevbuild.diagnose.rules.line import Line
from sevbuild.diagnose.rules.weights import CMDLINE, SWEPT
from sevbuild.diagnose.setup import LaidOut
from sevbuild.documents.toml_text import toml_string
from sevbuild.image.kernel_hashes import cmdline_digest
from sevbuild.manifest.template import escape
from sevbuild.text import decode_text, utf8_text, visible

__all__ = ["MOST_VCPUS", "cmdline_changes", "counted_name"]

MOST_VCPUS = 512
"""Command lines are searched for every number of vCPUs up to here."""

_USUAL = frozenset((*range(1, 65), 72, 80, *range(96, 257, 16), 255, *range(288, 513, 32)))
"""Counts of vCPUs that guests have, and numbers of CPUs that hosts have."""

_MOST_TOKENS = 64
"""Of a longer line, no more tokens are looked at one by one."""

_NR_CPUS = re.compile(rb"(?<!\S)nr_cpus=[0-9]+")
_INITRD = re.compile(rb"(?<!\S)initrd=\S+")
_SHELL = "a shell takes off quotes, joins what white space parts, and drops the last newlines of $(cat FILE)"
_FILE = "an editor ends a file in a newline, which is measured where a tool takes the line from the file"
_RAW = "QEMU 10.2 target/i386/sev.c hashes -append as it is; virtee/sev 7.1 trims it"
_NUL = "QEMU 10.2 target/i386/sev.c hashes the NUL that ends the line with it"
_NR = (
    "kata-containers src/runtime/virtcontainers/qemu.go: nr_cpus is the maximum, on auto the host's CPU count"
)
_STUB = "Linux EFI stub and OVMF: initrd=initrd names what QEMU passes as -initrd"
_BRACES = "a manifest's text was taken for the line: there {{ stands for one brace"
_PLACEHOLDER = "the manifest's own {vcpus}"
_EMPTY = "an empty variable leaves the space before it and the one after it"
_OTHER = "github.com/kata-containers/tests #5235: parameters of another version"


def counted_name(count: int) -> str:
    """Return the value of a change to the manifest's own command line of another number of vCPUs."""
    return f"{{vcpus}} {count}"


def cmdline_changes(start: Start) -> Iterator[Change]:
    """Yield a change to each other command line, the likeliest first; each digest is met once.

    There are none where the line is known by its digest alone. Where no kernel is measured they are for a
    launch that measures one, and but those that were seen.
    """
    material, hashes = start.material, hashes_of(start.setup)
    if material.cmdline is None or (hashes is None and not isinstance(start.setup, LaidOut)):
        return
    seen = {cmdline_digest(material.cmdline) if hashes is None else hashes.cmdline}
    for line in _lines(material.cmdline, material.counted_cmdline):
        if line.digest not in seen and (hashes is not None or line.weight < SWEPT):
            seen.add(line.digest)
            yield _change(line, material.cmdline_key)


def _change(line: Line, key: str | None) -> Change:
    edits: tuple[Edit, ...] = ()
    written = None if line.text is None else utf8_text(line.text)
    if key is not None and written is not None:
        text = toml_string(escape(written))
        file = "kernel.cmdline-file"
        edits = (Edit(file, None), Edit("kernel.cmdline", text)) if key.endswith(file) else (Edit(key, text),)
    apply = hashed("cmdline", lambda: line.digest)
    return Change("cmdline", line.name, "body", apply, line.says, line.source, line.weight, edits)


def _lines(own: bytes, counted: Callable[[int], bytes] | None) -> Iterator[Line]:
    yield from _ends(own)
    yield from _spaces(own)
    yield from _quotes(own)
    yield from _initrd(own)
    if counted is not None:
        for count in range(1, MOST_VCPUS + 1):
            says = f"the command line of {count} vCPUs"
            weight = CMDLINE + 8 if count in _USUAL else SWEPT + 5
            yield Line.of(counted_name(count), counted(count), says, _PLACEHOLDER, weight)
    yield from _nr_cpus(own)
    yield from kata_lines(own, MOST_VCPUS)
    yield from _tokens(own)


def _ends(own: bytes) -> Iterator[Line]:
    without = own.rstrip(b"\r\n")
    says = "a command line without the newline that ends this one"
    yield Line.of("no newline", without, says, _SHELL, CMDLINE)
    yield Line.of("newline", own + b"\n", "a command line that ends in a newline", _FILE, CMDLINE)
    says = "a command line without the white space around this one"
    yield Line.of("trimmed", own.strip(), says, _RAW, CMDLINE + 1)
    yield Line.of("none", b"", "no command line", "QEMU 10.2: without -append it hashes a NUL", CMDLINE + 2)
    yield Line.of("space", own + b" ", "a command line that ends in a space", _RAW, CMDLINE + 3)
    says = "the same command line, hashed without the NUL that ends it"
    yield _bare("no NUL", own, says, CMDLINE + 3)
    yield Line.of("NUL", own + bytes(1), "a command line that ends in two NULs", _NUL, CMDLINE + 4)
    yield Line.of("space first", b" " + own, "a command line that begins with a space", _RAW, CMDLINE + 5)
    yield Line.of("CR LF", own + b"\r\n", "a command line that ends in CR and LF", _FILE, CMDLINE + 6)
    says = "a command line that ends in a newline, hashed without a NUL"
    yield _bare("newline, no NUL", own + b"\n", says, CMDLINE + 7)
    yield Line.of("newlines", own + b"\n\n", "a command line that ends in two newlines", _FILE, CMDLINE + 8)


def _bare(name: str, text: bytes, says: str, weight: int) -> Line:
    """Return a line that is hashed without the NUL that ends it, as no manifest can say."""
    return Line(name, sha256(text).digest(), None, says, _NUL, weight)


def _spaces(own: bytes) -> Iterator[Line]:
    single = re.sub(rb"\s+", b" ", own)
    says = "a command line with one space for any white space of this one"
    yield Line.of("single spaces", single, says, _SHELL, CMDLINE + 3)
    yield Line.of(
        "single spaces, trimmed", single.strip(), f"{says}, and none around it", _SHELL, CMDLINE + 3
    )
    plain = re.sub(rb"[\t\n]", b" ", own.replace(b"\r", b""))
    says = "a command line with spaces for the line ends and tabs of this one"
    yield Line.of("plain spaces", plain, says, _SHELL, CMDLINE + 4)
    yield Line.of("plain spaces, trimmed", plain.strip(), f"{says}, and none around it", _SHELL, CMDLINE + 4)
    if b" " in own:
        says = "a command line with two spaces for each of this one"
        yield Line.of("double spaces", own.replace(b" ", b"  "), says, _EMPTY, SWEPT)
    for number, match in enumerate(islice(re.finditer(rb"(?<=\S) (?=\S)", own), _MOST_TOKENS)):
        says = f"a command line with two spaces after {_word(own[: match.start()].split(b' ')[-1])}"
        text = own[: match.start()] + b" " + own[match.start() :]
        yield Line.of(f"two spaces, {number + 1}", text, says, _EMPTY, CMDLINE + 9)


def _quotes(own: bytes) -> Iterator[Line]:
    for name, quote in (("double", b'"'), ("single", b"'")):
        says = f"a command line without its {name} quotes"
        yield Line.of(f"no {name} quotes", own.replace(quote, b""), says, _SHELL, CMDLINE + 4)
        says = f"a command line in {name} quotes"
        yield Line.of(f"{name} quotes", quote + own + quote, says, _SHELL, CMDLINE + 9)
    braces = own.replace(b"{", b"{{").replace(b"}", b"}}")
    says = "a command line with its braces as the manifest writes them, twice"
    yield Line.of("double braces", braces, says, _BRACES, CMDLINE + 9)
    says = "a command line without its backslashes"
    yield Line.of("no backslashes", re.sub(rb"\\(.)", rb"\1", own), says, _SHELL, CMDLINE + 9)


def _initrd(own: bytes) -> Iterator[Line]:
    says = "a command line that ends in initrd=initrd"
    yield Line.of("initrd=initrd", _joined(own, b"initrd=initrd"), says, _STUB, CMDLINE + 5)
    says = "a command line that begins with initrd=initrd"
    yield Line.of("initrd=initrd first", _joined(b"initrd=initrd", own), says, _STUB, CMDLINE + 6)
    for match in islice(_INITRD.finditer(own), _MOST_TOKENS):
        says = f"a command line without {_word(match[0])}"
        yield Line.of(f"no {_word(match[0])}", _without(own, match), says, _STUB, CMDLINE + 5)


def _nr_cpus(own: bytes) -> Iterator[Line]:
    """Yield the lines with each nr_cpus: replaced where there is one, else added at the end."""
    match = _NR_CPUS.search(own)
    if match is not None:
        yield Line.of("no nr_cpus", _without(own, match), "a command line without nr_cpus", _NR, CMDLINE + 8)
    for count in range(1, MOST_VCPUS + 1):
        word = b"nr_cpus=%d" % count
        if match is None:
            text, weight = _joined(own, word), SWEPT + 100
        else:
            text = own[: match.start()] + word + own[match.end() :]
            weight = CMDLINE + 8 if count in _USUAL else SWEPT + 5
        yield Line.of(f"nr_cpus={count}", text, f"a command line with nr_cpus={count}", _NR, weight)


def _tokens(own: bytes) -> Iterator[Line]:
    """Yield the lines that are without one of this line's words."""
    for number, match in enumerate(islice(re.finditer(rb"\S+", own), _MOST_TOKENS)):
        says = f"a command line without {_word(match[0])}"
        yield Line.of(f"no word {number + 1}", _without(own, match), says, _OTHER, SWEPT + 50)


def _without(own: bytes, match: re.Match[bytes]) -> bytes:
    """Return a line without a word, and without the space that parts it from what is before or after it."""
    before, after = own[: match.start()], own[match.end() :]
    if after.startswith(b" "):
        return before + after[1:]
    return before.removesuffix(b" ") + after


def _joined(first: bytes, second: bytes) -> bytes:
    return b" ".join(part for part in (first, second) if part)


def _word(word: bytes) -> str:
    return visible(decode_text(word))
