"""Our own traces, for authors of hypervisors: JSON, an object a line, each an event of one launch.

docs/replay.md describes the format, `schema.py` has it as a JSON Schema.
"""

from __future__ import annotations

from collections.abc import Callable

from sevbuild.diagnose.file_contents import FileContents
from sevbuild.diagnose.replay.events import Event, Finish, Launch, Measure, Recorded, Start, Trace, Update
from sevbuild.documents.binary_text import base64_bytes, hex_bytes
from sevbuild.documents.document import U64, check_hex, check_integer, check_type, suggest
from sevbuild.documents.json_input import JsonDocument, parse_json
from sevbuild.documents.json_reader import Reader, hex_number
from sevbuild.errors import within
from sevbuild.fs import file_size, is_regular, path_from
from sevbuild.launch.mode import Mode
from sevbuild.launch.page_type import MEASURED_CONTENTS, PAGE_SIZE, PageType
from sevbuild.launch.region_data import Contents
from sevbuild.text import encode_text

__all__ = ["CONTENTS", "OWN_EVENT", "TRACE_SCHEMA", "JsonLinesTrace", "page_types"]

TRACE_SCHEMA = 1
"""The version of the format; a launch-start says it."""

CONTENTS = ("contents", "contents_base64", "contents_file", "contents_digest")
"""The keys that say what is in a region, of which an update has one or none."""

OWN_EVENT = "x-"
"""What events begin with that an author adds for other readers."""


def page_types(mode: Mode) -> dict[str, PageType]:
    """Return what an update can be in a mode: a page type, or which of two commands of SEV."""
    if mode == "snp":
        return {kind.label: kind for kind in PageType}
    return {"data": PageType.NORMAL, "vmsa": PageType.VMSA}


class _LineDocument(JsonDocument):
    """One line, and the faults in it."""

    def __init__(self, source: str, line: int) -> None:
        super().__init__(source)
        self.line = line

    def place(self, path: str) -> tuple[str, int | None, str]:
        """Return source name, line and JSON path."""
        source, _, path = super().place(path)
        return source, self.line, path


class JsonLinesTrace:
    """A trace of ours as it is read, line by line; files it names are relative to `folder`."""

    def __init__(self, source: str, folder: str) -> None:
        self._source = source
        self._folder = folder
        self._mode: dict[str | None, Mode] = {}
        self._readers: dict[str, Callable[[Reader, int, Mode], Event]] = {
            "launch-start": self._start,
            "launch-update": self._update,
            "launch-measure": self._measure,
            "launch-finish": self._finish,
        }
        self.recorded: list[Recorded] = []
        self.unknown: dict[str, int] = {}

    def add(self, number: int, line: str) -> None:
        """Take one line; raises SevbuildError for what is no event."""
        if not line.strip():
            return
        value = parse_json(self._source, encode_text(line), line=number)
        document = _LineDocument(self._source, number)
        if not isinstance(value, dict):
            document.fault("", "must be an object")
            document.raise_faults()
        reader = Reader(document, value)
        name = reader.name("event")
        document.raise_faults()
        if name.startswith(OWN_EVENT):
            self.unknown[name] = self.unknown.get(name, 0) + 1
            return
        owner = reader.string("guest", required=False) or None
        if name not in self._readers:
            known = f"one of {', '.join(self._readers)}; {OWN_EVENT}NAME is passed over"
            document.fault("event", f"unknown event {name[:80]!r}", suggest(name, self._readers) or known)
            document.raise_faults()
        # What is no launch of any mode is still looked at: the secure processor refuses it.
        event = self._readers[name](reader, number, self._mode.get(owner, "snp"))
        reader.finish()
        document.raise_faults()
        if isinstance(event, Start):
            self._mode[owner] = event.mode
        self.recorded.append(Recorded(event, owner))

    def trace(self, launches: tuple[Launch, ...]) -> Trace:
        """Return the trace as a whole."""
        return Trace(self._source, "json-lines", launches, {}, self.unknown)

    @staticmethod
    def _start(reader: Reader, line: int, _mode: Mode) -> Event:
        reader.integer("schema", TRACE_SCHEMA, TRACE_SCHEMA)
        modes: tuple[Mode, ...] = ("sev", "sev-es", "snp")
        start = Start(line, reader.word("mode", modes), _number(reader, "policy") or 0)
        if not start.is_possible:
            reader.fault("policy", f"an SEV policy has 32 bits, got {start.policy:#x}")
        return start

    @staticmethod
    def _measure(reader: Reader, line: int, mode: Mode) -> Event:
        if mode == "snp":
            reader.fault(
                "event", "an SNP guest is not measured by a command of its own", "leave the line out"
            )
        return Measure(line)

    def _update(self, reader: Reader, line: int, mode: Mode) -> Event:
        kinds = page_types(mode)
        kind = kinds.get(reader.word("page_type", kinds), PageType.NORMAL)
        # Where SEV puts a region enters no digest, and not every hypervisor knows it there.
        gpa = _number(reader, "gpa", required=mode == "snp")
        data, digest = self._contents(reader, mode)
        if kind not in MEASURED_CONTENTS and (data is not None or digest is not None):
            key = next(key for key in CONTENTS if reader.has(key))
            reader.fault(key, f"not measured of a {kind.label} page", "leave it out")
        length = _number(reader, "length", required=False)
        if length is None and data is not None:
            length = len(data)
        if length is None and kind == PageType.VMSA:
            length = PAGE_SIZE
        if length is None:
            reader.fault("length", "missing: an integer is required")
        vcpu = None
        if reader.has("vcpu"):
            vcpu = reader.integer("vcpu", 0, 0xFFFF)
            if kind != PageType.VMSA:
                reader.fault("vcpu", "only a VMSA belongs to a vCPU")
        permissions = _permissions(reader) if reader.has("vmpl_permissions") else None
        return Update((line,), kind, length or 0, gpa, None, vcpu, data, digest, permissions)

    def _contents(self, reader: Reader, mode: Mode) -> tuple[Contents | None, bytes | None]:
        """Return the contents of a region, or their digest, as far as it has one of these."""
        given = [key for key in CONTENTS if reader.has(key)]
        if len(given) > 1:
            reader.fault(given[1], f"{given[0]} says it already")
        data = _bytes(reader, "contents", hex_bytes, "hexadecimal digits")
        if data is None:
            data = _bytes(reader, "contents_base64", base64_bytes, "base64")
        if reader.has("contents_file"):
            return self._file(reader), None
        if reader.any("contents_offset") is not None:
            reader.fault("contents_offset", "only contents_file has one")
        size = 48 if mode == "snp" else 32
        digest = reader.string("contents_digest", required=False)
        if not digest:
            return data, None
        return data, check_hex(reader.document, reader.at("contents_digest"), digest, size)

    def _file(self, reader: Reader) -> Contents | None:
        name = reader.name("contents_file")
        offset = _number(reader, "contents_offset", required=False) or 0
        path = path_from(self._folder, name)
        if not name or not is_regular(path):
            reader.fault("contents_file", f"no such file: {name}" if name else "must name a file")
            return None
        with within(reader.document.where("contents_file")):
            has = file_size(path)
            size = _number(reader, "length", required=False)
            size = has - offset if size is None else size
            if 0 < size <= has - offset:
                return FileContents([path], offset, size)
        reader.fault("contents_file", f"{name} has {has:#x} bytes, not {size:#x} at {offset:#x}")
        return None

    @staticmethod
    def _finish(reader: Reader, line: int, mode: Mode) -> Event:
        digest = reader.string("launch_digest", required=False)
        size = 48 if mode == "snp" else 32
        return Finish(
            line,
            _bytes(reader, "id_block", base64_bytes, "base64"),
            _bytes(reader, "id_auth", base64_bytes, "base64"),
            reader.boolean("author_key", required=False),
            check_hex(reader.document, reader.at("launch_digest"), digest, size) if digest else None,
        )


def _bytes(reader: Reader, key: str, decode: Callable[[str], bytes | None], what: str) -> bytes | None:
    if not reader.has(key):
        return None
    text = reader.string(key)
    data = decode(text)
    if isinstance(reader.any(key), str) and not data:
        reader.fault(key, f"must be {what}")
    return data


def _number(reader: Reader, key: str, *, required: bool = True) -> int | None:
    """Return a number that is written as an integer, or as a hex string; None where it is absent."""
    value = reader.any(key)
    if isinstance(value, str):
        return hex_number(reader, key, value, U64)
    if value is None and not required:
        return None
    if value is None:
        reader.fault(key, "missing: an integer or a hex string is required")
        return None
    return check_integer(reader.document, reader.at(key), value, 0, U64)


def _permissions(reader: Reader) -> tuple[int, int, int] | None:
    value = reader.any("vmpl_permissions")
    path = reader.at("vmpl_permissions")
    entries = check_type(reader.document, path, value, list)
    if entries is None:
        return None
    masks = [
        check_integer(reader.document, f"{path}[{index}]", mask, 0, 0xFF)
        for index, mask in enumerate(entries[:4])
    ]
    if len(masks) != 3:
        reader.fault("vmpl_permissions", "must be a list of three masks: of VMPL1, VMPL2 and VMPL3")
        return None
    first, second, third = (mask or 0 for mask in masks)
    return first, second, third
