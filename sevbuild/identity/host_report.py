"""What a host says of a launch, in the words of QEMU, libvirt, sevctl and sev-tool."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sevbuild.documents.binary_text import base64_bytes, hex_bytes
from sevbuild.documents.json_input import parse_json
from sevbuild.errors import SevbuildError
from sevbuild.identity.launch_measure import BLOB_SIZE, MEASURE_SIZE

__all__ = ["HostReport", "merged_reports", "read_host_report"]


class HostReport(NamedTuple):
    """What a host said; None is what it did not say. Only the measurement proves anything.

    `measure` has 32 bytes, `nonce` 16.
    """

    measure: bytes | None = None
    nonce: bytes | None = None
    api_major: int | None = None
    api_minor: int | None = None
    build_id: int | None = None
    policy: int | None = None


_NUMBERS = {"api-major": 0xFF, "api-minor": 0xFF, "build-id": 0xFF, "policy": 0xFFFFFFFF}
"""What QEMU's query-sev and libvirt's domlaunchsecinfo call the numbers (there with `sev-` before), and the
largest of each."""
_LINE = re.compile(r"(sev-[a-z-]+)\s*:\s*(\S+)\s*")
_FORMS = (
    "known are query-sev-launch-measure and query-sev (JSON), `virsh domlaunchsecinfo`, base64 or hexadecimal "
    "digits of measurement and nonce, and their 48 bytes"
)


def read_host_report(data: bytes, source: str) -> HostReport:
    """Return what the contents of a file say of a launch; raises SevbuildError.

    Known are the answers of QEMU to `query-sev-launch-measure` and `query-sev`, one or several; the lines of
    `virsh domlaunchsecinfo`; measurement and nonce in base64 (sevctl), in hexadecimal digits (sev-tool, which
    may have the measurement alone) or as they are.
    """
    text = data.decode("ascii", "replace").strip()
    if text.startswith("{"):
        return _from_qmp(data, source)
    lines = [_LINE.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    said = [(line[1].removeprefix("sev-"), line[2]) for line in lines if line is not None]
    if said and len(said) == len(lines):
        return _from_libvirt(said, source)
    # A measurement in base64 has as many letters as the digits of one without its nonce.
    blob = hex_bytes(text) or base64_bytes(text) or data
    if len(blob) == MEASURE_SIZE and blob != data:
        return HostReport(blob)
    if len(blob) != BLOB_SIZE:
        raise SevbuildError(f"{source}: not what a host reports of a launch", hint=_FORMS)
    return HostReport(blob[:MEASURE_SIZE], blob[MEASURE_SIZE:])


def merged_reports(reports: list[tuple[str, HostReport]]) -> HostReport:
    """Return what several reports say together; raises SevbuildError where two contradict each other."""
    found: dict[str, Any] = {}
    said: dict[str, str] = {}
    for source, report in reports:
        for name, value in report._asdict().items():
            if value is None:
                continue
            if found.setdefault(name, value) != value:
                what = name.replace("_", "-")
                hint = "they are of two launches, or of two hosts"
                raise SevbuildError(f"{source}: another {what} than in {said[name]}", hint=hint)
            said.setdefault(name, source)
    return HostReport(**found)


def _from_qmp(data: bytes, source: str) -> HostReport:
    lines = [line for line in data.splitlines() if line.strip()]
    whole = all(line.strip().startswith(b"{") and line.strip().endswith(b"}") for line in lines)
    reports = []
    for text in lines if whole else [data]:
        value = parse_json(source, text)
        answer = value.get("return", value) if isinstance(value, dict) else None
        # What else a monitor says: its greeting, an event, the empty answer to a command.
        if isinstance(answer, dict) and set(answer) & {"data", *_NUMBERS}:
            reports.append((source, _from_answer(answer, source)))
    if not reports:
        raise SevbuildError(f"{source}: no answer to query-sev-launch-measure or query-sev", hint=_FORMS)
    return merged_reports(reports)


def _from_answer(answer: dict[str, Any], source: str) -> HostReport:
    numbers: dict[str, Any] = {}
    for name, most in _NUMBERS.items():
        number = answer.get(name)
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
            raise SevbuildError(f"{source}: {name}: not a number from 0 to {most}")
        numbers[name.replace("-", "_")] = number
    text = answer.get("data")
    return _with_blob(text, source, numbers)


def _from_libvirt(lines: list[tuple[str, str]], source: str) -> HostReport:
    numbers: dict[str, Any] = {}
    blob: str | None = None
    for name, value in lines:
        if name == "measurement":
            blob = value
        elif name in _NUMBERS:
            if not value.isdecimal() or len(value) > 10 or int(value) > _NUMBERS[name]:
                raise SevbuildError(f"{source}: sev-{name}: not a number from 0 to {_NUMBERS[name]}")
            numbers[name.replace("-", "_")] = int(value)
    return _with_blob(blob, source, numbers)


def _with_blob(text: Any, source: str, numbers: dict[str, Any]) -> HostReport:
    if text is None:
        return HostReport(**numbers)
    blob = base64_bytes(text) if isinstance(text, str) else None
    if blob is None or len(blob) != BLOB_SIZE:
        raise SevbuildError(f"{source}: its measurement is not the base64 of {BLOB_SIZE} bytes")
    return HostReport(blob[:MEASURE_SIZE], blob[MEASURE_SIZE:], **numbers)
