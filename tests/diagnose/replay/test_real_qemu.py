"""The trace events of two QEMUs, as the programs themselves have them, are those that are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sevbuild.diagnose.replay.events import HostRefusal
from sevbuild.diagnose.replay.trace import parse_trace
from tests.support.launches import launching_guest
from tests.support.real import QEMU, require
from tests.support.shared import ROOT
from tests.support.traces import qemu_events, text_of

BACKPORTS = ROOT / ".cache/backports/usr"
_CONVERSIONS = {"d": r"-?\d+", "x": "[0-9a-f]+", "p": r"(?:0x[0-9a-f]+|\(nil\))", "s": r"\S+"}


@pytest.fixture(scope="module", params=["bookworm", "bookworm-backports"])
def strings(request: pytest.FixtureRequest) -> str:
    """Return the text in a program of QEMU: for it, formats stand there as they are used."""
    program = Path(QEMU or "/usr/bin/qemu-system-x86_64")
    if request.param == "bookworm-backports":
        program = BACKPORTS / "bin/qemu-system-x86_64"
    require(program.exists(), f"QEMU of {request.param}")
    return program.read_bytes().decode("latin-1")


def formats(strings: str) -> dict[str, str]:
    """Return the format of each event of SEV in a program, by its name."""
    # A format that another one ends with stands in that alone.
    return dict(re.findall(r"(?<=[\0:])(kvm_sev_\w+) ([^\0\n]*)\n\0", strings))


def expression(form: str) -> str:
    """Return what a C format prints, as an expression."""
    pieces = re.split(r"(%(?:l|ll|z)?[dxps])", form)
    return "".join(_CONVERSIONS[piece[-1]] if piece[:1] == "%" else re.escape(piece) for piece in pieces)


def test_traces_are_written_as_this_qemu_writes_them(strings: str, tmp_path: Path) -> None:
    known = formats(strings)
    assert {"kvm_sev_launch_start", "kvm_sev_launch_update_data", "kvm_sev_change_state"} <= known.keys()
    modes = ["sev", "sev-es", *(["snp"] if "kvm_sev_snp_launch_update" in known else [])]
    for mode in modes:
        folder = tmp_path / mode
        folder.mkdir()
        guest = launching_guest(folder, launch={"mode": mode}, kernel={"path": "vmlinuz"})
        for line in qemu_events(guest.plan(guest.targets[0])):
            name, _, arguments = line.partition(" ")
            assert re.fullmatch(expression(known[name]), arguments), line


def test_each_event_of_this_qemu_is_known(strings: str) -> None:
    samples = {"%d": "7", "%s": "launch-update", "%p": "0x7f00", "%x": "4096", "%lx": "4096", "%zx": "4096"}
    lines = []
    for name, form in formats(strings).items():
        arguments = re.sub(r"%(?:l|z)?[dxps]", lambda match: samples[match[0]], form)
        lines.append(f"{name} {arguments.replace('(launch-update page)', '(Zero page)')}")
    for prefix in ("", "16405@1795618788.714485:"):
        trace = parse_trace(text_of(f"{prefix}{line}" for line in sorted(lines)), "trace.log", ".")
        assert trace.unknown == {}
        read = sum(len(launch.events) for launch in trace.launches) + sum(trace.others.values())
        assert read == len(lines)


def test_what_this_qemu_says_of_a_refusal_is_read(strings: str) -> None:
    found = re.findall(r"(?<=\0)((?:%s: )?(?:SNP_)?LAUNCH_\w+ ret=%d fw_error=%d '%s')\0", strings)
    assert len(found) >= 4
    for form in found:
        said = (
            form.replace("%s:", "sev_launch:")
            .replace("ret=%d", "ret=-5")
            .replace("fw_error=%d", "fw_error=11")
        )
        text = f"kvm_sev_launch_finish \nqemu-system-x86_64: {said}\n"
        (launch,) = parse_trace(text, "trace.log", ".").launches
        refusal = launch.events[1]
        assert isinstance(refusal, HostRefusal)
        assert refusal[2:] == (-5, 11)
